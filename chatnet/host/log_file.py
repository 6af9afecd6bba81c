"""The file of a log: rotated if it is a regular file of ours, otherwise only written to.

Twisted's ``LogFile`` sets the mode of whatever its path leads to, a device too, and takes all rights from
every file that another thread makes meanwhile (it changes the umask of the process).
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from chatnet.core.limits import LOG_FILES
from chatnet.host.private_files import make_private, make_private_file


class RotatingFile:
    """Appends to ``path``; above ``rotate_bytes`` it becomes ``path.1``, that ``path.2``, and the oldest goes.

    A ``private`` file is made so that only its owner may open it.  What is reached through a link, or is no regular
    file, is neither rotated nor given a mode.  Raises OSError.
    """

    def __init__(self, path: Path, rotate_bytes: int, private: bool) -> None:
        self._path = path
        self._rotate_bytes = rotate_bytes
        self._private = private
        self._descriptor = -1
        self._open()

    def write(self, data: bytes) -> None:
        if self._rotates and self._size >= self._rotate_bytes:
            self.rotate()
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            self._size += written
            view = view[written:]

    def rotate(self) -> None:
        """Begin a new file; the older ones move on by one number."""
        mode = stat.S_IMODE(os.fstat(self._descriptor).st_mode)
        self.close()
        for number in range(LOG_FILES - 1, 0, -1):
            older = self._path if number == 1 else self._numbered(number - 1)
            with suppress(FileNotFoundError):
                os.replace(older, self._numbered(number))
        self._open()
        if not self._private:
            os.fchmod(self._descriptor, mode)  # the new file is ours, and its owner chose that mode

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.close()

    def _open(self) -> None:
        if self._private and not make_private_file(self._path):
            make_private(self._path)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600 if self._private else 0o666)
        status = os.fstat(self._descriptor)
        self._size = status.st_size
        self._rotates = stat.S_ISREG(status.st_mode) and not self._path.is_symlink()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
