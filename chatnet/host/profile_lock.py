"""A lock that allows one process for each profile; the kernel releases it when the process ends in any way."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from chatnet.core.errors import LocalError, system_reason

# What a network file system says that cannot lock a directory.
_NO_LOCKS = frozenset({errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


class ProfileLock:
    """``flock`` on the directory ``data`` with key and database, and on the file ``path``, with our pid for people.

    The directory is what nobody else may use: a lock file that is removed, or another state directory, lets no
    second process in.  The file keeps apart two profiles that would share a log, programs of version 0.1.0, and
    processes on a file system that cannot lock a directory.

    Taken in ``startService``: the program forks before it, and the pid must be the last one's.  The
    descriptors are closed in programs that we start, so none of them keeps the profile locked.
    """

    def __init__(self, path: Path, data: Path, name: str) -> None:
        self._path = path
        self._data = data
        self._name = name
        self._descriptors: list[int] = []  # of the directory, where it can be locked, and of the file

    @property
    def held(self) -> bool:
        return bool(self._descriptors)

    def acquire(self) -> None:
        """Lock both the directory and the file; their directories must exist.

        Raises LocalError("twin") when another process has one of them, LocalError("no-lock") when the file cannot
        be used.
        """
        if self._descriptors:
            return
        taken: list[int] = []
        try:
            taken += self._lock_directory()
            taken.append(self._lock_file())
        except BaseException:
            for descriptor in taken:
                os.close(descriptor)
            raise
        self._descriptors = taken

    def release(self) -> None:
        """Release both locks; the file stays, so that nobody locks a file that is about to vanish."""
        if not self._descriptors:
            return
        os.ftruncate(self._descriptors[-1], 0)
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def _lock_directory(self) -> list[int]:
        """Lock the directory, and return its descriptor; none where the file system cannot lock it.

        Raises LocalError.
        """
        try:
            descriptor = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise self._no_lock("open", self._data, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise self._twin() from None
        except OSError as error:
            os.close(descriptor)
            if error.errno in _NO_LOCKS:
                return []
            raise self._no_lock("lock", self._data, error) from error
        return [descriptor]

    def _lock_file(self) -> int:
        while True:
            descriptor = self._opened(os.O_CREAT)
            try:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise self._twin() from None
                except OSError as error:
                    raise self._no_lock("lock", self._path, error) from error
                if self._is_current(descriptor):
                    self._note_pid(descriptor)
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # the profile was removed between our open and our lock: again

    def _opened(self, flags: int = 0) -> int:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o600)
        except OSError as error:
            raise self._no_lock("open", self._path, error) from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise LocalError("no-lock", f"{self._path} is not a file. Move it away.")
        return descriptor

    def _note_pid(self, descriptor: int) -> None:
        """Write our process id into the lock file, for people; a full disk may have no room for it."""
        os.ftruncate(descriptor, 0)
        with suppress(OSError):
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)

    def _twin(self) -> LocalError:
        """Return the error that another process has this profile."""
        pid = self._pid()
        whose = f" (pid {pid})" if pid.isdigit() else ""
        return LocalError("twin", f"{self._name} is already running here{whose}.")

    def _pid(self) -> str:
        """Return the id of the process that holds the lock file; empty if none does, or the file was removed."""
        try:
            descriptor = self._opened()
        except LocalError:
            return ""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return ""  # what stands in it is of a process that has ended
        except BlockingIOError:
            return os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        except OSError:
            return ""
        finally:
            os.close(descriptor)

    def _no_lock(self, what: str, path: Path, error: OSError) -> LocalError:
        return LocalError("no-lock", f"cannot {what} {path}: {system_reason(error)}.")

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file that we locked is still the one that others will find."""
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False
