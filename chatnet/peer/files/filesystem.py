"""How this machine's disk is reached: folders and files by descriptors, never through a link.

Every function may wait for the disk, and raises OSError where nothing else is said.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from blake3 import blake3

from chatnet.core.limits import WRITE_BACK_BYTES
from chatnet.core.text import SafeName
from chatnet.host.umask import process_umask
from chatnet.peer.files.free_space import SpaceAccount
from chatnet.peer.files.niceties import Niceties, Nicety
from chatnet.peer.files.source import HASH_BYTES

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
AGAIN = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Space = Callable[[int], os.statvfs_result]
Link = Callable[[str, str, int, int], None]  # existing name, new name, their folders
Rename = Callable[[str, str, int, int], None]  # the same; raises FileExistsError instead of replacing
WriteBack = Callable[[int, int, int, int], None]  # descriptor; begin and end of a window; begin of the one before

CHUNKS_AT_ONCE = 256  # written by one call; the system takes 1,024 (IOV_MAX)

_NO_REPLACE = 1  # RENAME_NOREPLACE, linux/fs.h
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4  # SYNC_FILE_RANGE_..., linux/fs.h


def rename(old: str, new: str, source: int, folder: int) -> None:
    """Rename without replacing anything.  Raises OSError(ENOSYS) where the system has no such call."""
    renameat2 = getattr(_libc(), "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if renameat2(source, os.fsencode(old), folder, os.fsencode(new), _NO_REPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write_back(fd: int, start: int, end: int, before: int) -> None:
    """Begin to bring the bytes from ``start`` to ``end`` to the disk, and wait for those from ``before`` to ``start``.

    So no more than two such windows are ever on their way, and whoever commits beside it waits behind no more
    (``sync_file_range(2)``).  It makes nothing certain: that is ``fdatasync``'s.  Does nothing where the system has
    no such call, or the file system does not know it.
    """
    call = getattr(_libc(), "sync_file_range", None)
    if call is not None and end > start:
        call(fd, ctypes.c_int64(start), ctypes.c_int64(end - start), _WRITE)
        if start > before:
            call(fd, ctypes.c_int64(before), ctypes.c_int64(start - before), _WAIT_BEFORE | _WRITE | _WAIT_AFTER)


def known_space(fd: int) -> os.statvfs_result:
    """Return ``fstatvfs``.  Raises OSError(ENOSYS) for a file system that knows no sizes, and answers with zeros."""
    space = os.fstatvfs(fd)
    if space.f_blocks == 0:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    return space


@dataclass(frozen=True)
class Filesystem:
    """What of it differs from machine to machine; a test gives its own."""

    random: Callable[[int], bytes] = os.urandom
    space: Space = known_space
    reserve_bytes: int = 0
    link: Link = lambda old, new, src, dst: os.link(old, new, src_dir_fd=src, dst_dir_fd=dst, follow_symlinks=False)
    rename: Rename = rename
    write_back: WriteBack = write_back
    umask: int = field(default_factory=process_umask)  # what received files and folders withhold from others
    niceties: Niceties = field(default_factory=Niceties, compare=False)
    account: SpaceAccount = field(default_factory=SpaceAccount, compare=False)

    def share_file(self, fd: int) -> None:
        """Give a received file the mode of a new one; no program is ever made of it."""
        self.niceties.set_mode(fd, 0o600 | (0o666 & ~self.umask))

    def share_folder(self, fd: int) -> None:
        """Give a folder that was just made for received files the mode of a new one."""
        self.niceties.set_mode(fd, 0o700 | (0o777 & ~self.umask))  # whatever the umask, files are to come into it


@dataclass(frozen=True)
class DownloadTarget:
    """Where the files of an offer go: ``directory``, or ``downloads/person`` if that is empty.

    ``stem`` begins the names of the parts; an empty one is made.
    """

    downloads: bytes
    person: str
    directory: bytes = b""
    stem: str = ""


def disk_name(name: SafeName) -> SafeName:
    """Return ``name`` as it is given to the system: its bytes are UTF-8 in every locale, as those of sent names."""
    return cast(SafeName, os.fsdecode(name.encode()))


def opened_folder(parent: int, name: str, shared: Filesystem | None = None) -> int:
    """Open the folder ``name``, made if it is not there.  Raises OSError if a link or a file has that name.

    A new one is for its owner alone, or with ``shared`` for whom the umask lets in.
    """
    is_new = True
    try:
        os.mkdir(name, 0o700, dir_fd=parent)
    except FileExistsError:
        is_new = False
    fd = os.open(name, FOLDER, dir_fd=parent)
    try:
        if is_new and shared is not None:
            shared.share_folder(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd


def is_own_file(status: os.stat_result) -> bool:
    """Return whether it is a regular file of ours that has one name."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()


def is_there(path: bytes, size: int) -> bool:
    """Return whether there is a file of this size, with something in it."""
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size > 0


def digest_of(path: bytes, size: int) -> bytes:
    """Return the digest of a file that was received before, or b'' if it is gone, which is no file's digest."""
    try:
        return digest_at(path, None) if is_there(path, size) else b""
    except OSError:
        return b""


def digest_at(name: str | bytes, folder: int | None) -> bytes:
    digest = blake3()
    fd = os.open(name, READ, dir_fd=folder)
    try:
        while data := os.read(fd, HASH_BYTES):
            digest.update(data)
    finally:
        os.close(fd)
    return digest.digest()


def write_all(fd: int, data: bytes) -> None:
    with memoryview(data) as view:
        at = 0
        while at < len(view):
            at += os.write(fd, view[at:])


def write_chunks(fd: int, chunks: Sequence[bytes]) -> None:
    """Write chunks one behind the other, without joining them first: that would be one more copy of all that comes."""
    for start in range(0, len(chunks), CHUNKS_AT_ONCE):
        some = chunks[start : start + CHUNKS_AT_ONCE]
        written = os.writev(fd, some)
        if written < sum(map(len, some)):
            write_all(fd, b"".join(some)[written:])


def copy(filesystem: Filesystem, old: str, new: str, source: int, folder: int) -> None:
    """Copy into a new file ``new``, durably; nothing is left of it if that fails."""
    made = os.open(new, NEW, 0o600, dir_fd=folder)
    try:
        original = os.open(old, READ, dir_fd=source)
        try:
            status = os.fstat(original)
            before = start = at = 0
            while data := os.read(original, WRITE_BACK_BYTES):
                write_all(made, data)
                at += len(data)
                filesystem.write_back(made, start, at, before)
                before, start = start, at
            filesystem.niceties.set_time_ns(made, status.st_mtime_ns)
            filesystem.niceties.set_mode(made, stat.S_IMODE(status.st_mode))
            filesystem.niceties.sync_file(made)
        finally:
            os.close(original)
    except BaseException:
        os.unlink(new, dir_fd=folder)
        raise
    finally:
        os.close(made)


def sync_all(filesystem: Filesystem, folder: int, names: Sequence[str]) -> bool:
    """Make these files durable: by one call for the file system if there is one, else one by one.

    Returns whether it was the whole file system.
    """
    if len(names) > 1 and filesystem.niceties.attempt(Nicety.SYNC_ALL, _syncfs, folder):
        return True
    for name in names:
        fd = os.open(name, READ, dir_fd=folder)
        try:
            filesystem.niceties.sync_file(fd)
        finally:
            os.close(fd)
    return False


def _syncfs(folder: int) -> None:
    syncfs = getattr(_libc(), "syncfs", None)
    if syncfs is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if syncfs(folder):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
