"""A lock that allows one process for each profile; the kernel releases it when the process ends in any way."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from chatnet.core.errors import LocalError


class ProfileLock:
    """``flock`` on the file ``lock`` of a profile, with our pid inside for people.

    Taken in ``startService``: twistd forks before it, and the pid must be the last one's.  The
    descriptor is closed in programs that we start, so none of them keeps the profile locked.
    """

    def __init__(self, path: Path, name: str, remedy: str = "A second peer needs another --name.") -> None:
        self._path = path
        self._name = name
        self._remedy = remedy
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        return self._descriptor is not None

    def acquire(self) -> None:
        """Take the lock; its directory must exist.  Fails with LocalError("twin") when it is taken."""
        if self._descriptor is not None:
            return
        while True:
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            except OSError as error:
                raise LocalError("no-lock", f"cannot open {self._path} ({error.strerror}).") from error
            try:
                self._take(descriptor)
                if self._is_current(descriptor):
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                    self._descriptor = descriptor
                    return
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # the profile was removed between our open and our lock: again

    def release(self) -> None:
        """Give it back; the file stays, so that nobody locks a file that is about to vanish."""
        if self._descriptor is None:
            return
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = None

    def _take(self, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
            whose = f" (pid {pid})" if pid.isdigit() else ""
            raise LocalError("twin", f"{self._name} is already running here{whose}. {self._remedy}") from None
        except OSError as error:
            raise LocalError("no-lock", f"cannot lock {self._path} ({error.strerror}).") from error

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file that we locked is still the one that others will find."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False
