"""Which calls to the file system a transfer needs, and which it can do without.

File systems differ: one has no hard links, another refuses to set times, a third cannot sync a folder.
A call that is a nicety may fail as one that is lacking: that is noted in the log, once per kind and process,
and the transfer goes on.  Whatever else fails, fails: a full disk, a broken one, a missing right to write.

Every call that ``chatnet/peer/files`` makes stands in one of the two tables, which a test holds against the code.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Mapping
from enum import Enum
from typing import ParamSpec

from twisted.logger import Logger

from chatnet.core.errors import system_reason
from chatnet.core.limits import LATEST_FILE_MS

P = ParamSpec("P")

# How a file system says that it does not have a call, or not for this kind of file.
LACKING = frozenset(
    {errno.EPERM, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOTTY}
    | {errno.ENODEV, errno.ESPIPE}
)
# How a disk says that it is full, or broken: no nicety hides these.
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
SERIOUS = FULL | {errno.EIO, errno.EROFS, errno.ENXIO}


class Nicety(Enum):
    """A call that may be lacking; the value says what that means, for the log."""

    TIMES = "received files keep the time of their arrival"
    MODE = "received files and folders can be opened by their owner alone"
    SYNC_FILE = "a received file may be lost with the machine's power, although it was told to be here"
    SYNC_FOLDER = "a received file's name may be lost with the machine's power, although it was told to be here"
    SYNC_ALL = "files are synced one by one"
    ALLOCATE = "a disk that is too full is noticed when it is full, and not before"
    LINK = "a file gets its name by renaming"
    RENAME = "a file gets its name over an empty file that keeps the name for it"
    WRITE_BACK = "what is received goes to the disk when it is synced, and not before"
    READ_AHEAD = "the disk is not told that a file is read from its beginning to its end"
    FREE_SPACE = "how much space is free is not known, and taken for enough"
    REMOVE_PART = "a part that is needed no more stays until it is a month old"


# The calls of the operating system behind each nicety.
NICETIES: Mapping[Nicety, tuple[str, ...]] = {
    Nicety.TIMES: ("utime",),
    Nicety.MODE: ("fchmod",),
    Nicety.SYNC_FILE: ("fsync", "fdatasync"),
    Nicety.SYNC_FOLDER: ("fsync",),
    Nicety.SYNC_ALL: ("syncfs",),
    Nicety.ALLOCATE: ("posix_fallocate",),
    Nicety.LINK: ("link",),
    Nicety.RENAME: ("renameat2",),
    Nicety.WRITE_BACK: ("sync_file_range",),
    Nicety.READ_AHEAD: ("posix_fadvise",),
    Nicety.FREE_SPACE: ("fstatvfs",),
    Nicety.REMOVE_PART: ("unlink",),
}

# What nothing can replace, and why.
NECESSITIES: Mapping[str, str] = {
    "open": "there is no file without it",
    "close": "a descriptor that stays open would be one too few later",
    "dup": "the folders below are reached from a descriptor of their own; a mark that gets none waits for the next",
    "read": "it is the file",
    "write": "it is the file",
    "writev": "it is the file",
    "ftruncate": "a part goes on from what is certain",
    "mkdir": "the offered folders",
    "makedirs": "the download folder",
    "listdir": "the parts that are there",
    "scandir": "the files of an offered folder",
    "stat": "links, devices and files of others are told apart by it",
    "fstat": "links, devices and files of others are told apart by it",
    "access": "an unreadable file is named before it is offered",
    "rename": "the last way to a final name",
    "unlink": "a half copy must not stay under a final name; of what is needed no more see REMOVE_PART",
}


class Niceties:
    """The calls that may be lacking, for one process; may be used from any thread."""

    log = Logger("chatnet.files")

    def __init__(self) -> None:
        self._noted: set[Nicety] = set()

    def attempt(self, nicety: Nicety, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether ``call`` worked.  Raises the OSError that it ends with, unless that means that it is lacking."""
        try:
            call(*args, **kwargs)
        except OSError as error:
            if error.errno not in LACKING:
                raise
            self.note(nicety, error)
            return False
        return True

    def note(self, nicety: Nicety, error: OSError) -> None:
        """Log that a nicety is lacking, if that was not logged yet."""
        if nicety not in self._noted:
            self._noted.add(nicety)
            self.log.warn(
                "this file system does not do {call} ({reason}): {meaning}",
                call=" or ".join(NICETIES[nicety]),
                reason=system_reason(error),
                meaning=nicety.value,
            )

    def set_time(self, fd: int, mtime_ms: int) -> None:
        """Set the time that a file had where it came from, if it is a valid one.

        A failure is only noted, once for each kind.
        """
        if 0 < mtime_ms < LATEST_FILE_MS:
            self.set_time_ns(fd, mtime_ms * 1_000_000)

    def set_time_ns(self, fd: int, mtime_ns: int) -> None:
        try:
            os.utime(fd, ns=(mtime_ns, mtime_ns))
        except OverflowError:  # more seconds than this system's own numbers hold
            self.note(Nicety.TIMES, OSError(errno.EINVAL, "overflow"))
        except OSError as error:
            self.note(Nicety.TIMES, error)

    def set_mode(self, fd: int, mode: int) -> None:
        """Set who may open it, beside what the system has set, such as that a folder passes its group on."""
        self.attempt(Nicety.MODE, _set_mode, fd, mode)

    def sync_file(self, fd: int) -> None:
        """Bring a file and what is said about it to the disk."""
        self.attempt(Nicety.SYNC_FILE, os.fsync, fd)

    def sync_data(self, fd: int) -> None:
        """Bring a file's bytes to the disk, and what is needed to read them."""
        self.attempt(Nicety.SYNC_FILE, os.fdatasync, fd)

    def sync_folder(self, fd: int) -> None:
        """Bring the names in a folder to the disk."""
        self.attempt(Nicety.SYNC_FOLDER, os.fsync, fd)

    def allocate(self, fd: int, size: int) -> bool:
        """Take the space for a whole file at once; return False where that is lacking.

        OSError(ENOSPC, EDQUOT or EFBIG) when there is not so much.
        """
        return self.attempt(Nicety.ALLOCATE, os.posix_fallocate, fd, 0, size)

    def remove_part(self, remove: Callable[[], object]) -> None:
        """Remove a part that is not needed any more; a failure is only noted."""
        try:
            remove()
        except OSError as error:
            self.note(Nicety.REMOVE_PART, error)


def _set_mode(fd: int, mode: int) -> None:
    os.fchmod(fd, (stat.S_IMODE(os.fstat(fd).st_mode) & ~0o777) | mode)
