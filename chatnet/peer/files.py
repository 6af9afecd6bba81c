"""Files on disk, sent and received, safely; every function may wait for the disk.

Sent: what was offered is opened without following links, and is what was offered still when its
last byte was sent.  Received: bytes go into a part file with a name of our own making; a final
name appears only whole, verified and durable, never over something that exists, and never outside
the folder that was opened at the start (security: everything is reached from its descriptor).
"""

from __future__ import annotations

import contextlib
import ctypes
import difflib
import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from blake3 import blake3

from chatnet.core import messages
from chatnet.core.errors import LocalError, RemoteError
from chatnet.core.limits import MAX_OFFER_FILES, MAX_PATH_PART_BYTES, MAX_PATH_PARTS
from chatnet.core.messages import OfferedFile
from chatnet.core.text import SafeName, safe_file_name, safe_line
from chatnet.core.transfer import size_text

PARTIAL = ".partial"
PART_NAME = re.compile(r"[0-9a-f]{32}\.part")
PART_DAYS = 7
SMALL_BYTES = 1_048_576  # smaller files share one sync
GROUP_FILES = 64  # so many of them
NUMBERS = 999  # "name (2).ext" to "name (999).ext"
HASH_BYTES = 1_048_576

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

# --- what is sent -------------------------------------------------------------------------------


class Mark(NamedTuple):
    """By which a file is known to be the same and unchanged."""

    device: int
    inode: int
    size: int
    mtime_ns: int


class SourceFile(NamedTuple):
    """One file as it was when it was offered."""

    path: str
    offered: OfferedFile
    mark: Mark


@dataclass(frozen=True)
class Gathered:
    """What there is to offer; ``warning`` tells what of it had to be left out."""

    files: list[SourceFile]
    warning: str


def mark_of(status: os.stat_result) -> Mark:
    return Mark(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def gather(paths: Sequence[str]) -> Gathered:
    """The regular files at and below ``paths``, folders in order; links inside folders are not followed.

    Raises LocalError: no-such-file, unreadable, empty, too-many, too-deep.
    """
    files: list[SourceFile] = []
    unread: list[str] = []
    for given in paths:
        path = os.path.abspath(os.path.expanduser(given))
        try:
            status = os.stat(path)
        except (OSError, ValueError) as error:
            raise _not_there(path, error) from None
        name = wire_name(os.path.basename(path) or "files")
        real = os.path.realpath(path)
        if stat.S_ISDIR(status.st_mode):
            _walk(real, [name], files, unread)
        elif not stat.S_ISREG(status.st_mode):
            raise LocalError(messages.UNREADABLE, f"'{safe_line(name)}' is neither a file nor a folder")
        elif not os.access(real, os.R_OK):
            raise LocalError(messages.UNREADABLE, f"cannot read '{safe_line(name)}' (permission denied)")
        else:
            files.append(_source(real, [name], status))
    if not files:
        raise LocalError("empty", "there is no file in it" if not unread else f"cannot read '{safe_line(unread[0])}'")
    warning = ""
    if unread:
        more = f" and {len(unread) - 1} more" if len(unread) > 1 else ""
        warning = f"cannot read '{safe_line(unread[0], 80)}'{more}; the other {len(files)} files are offered"
    return Gathered(files, warning)


def _walk(top: str, parts: list[str], files: list[SourceFile], unread: list[str]) -> None:
    pending = [(top, parts)]
    while pending:
        folder, here = pending.pop()
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            unread.append(here[-1])
            continue
        below = []
        for entry in entries:
            inside = [*here, wire_name(entry.name)]
            if entry.is_dir(follow_symlinks=False):
                below.append((entry.path, inside))
            elif entry.is_file(follow_symlinks=False):
                if len(inside) > MAX_PATH_PARTS:
                    raise LocalError("too-deep", f"folders more than {MAX_PATH_PARTS - 1} deep cannot be offered")
                if len(files) >= MAX_OFFER_FILES:
                    raise LocalError(messages.TOO_MANY, f"one offer holds at most {MAX_OFFER_FILES:,} files")
                try:
                    status = entry.stat(follow_symlinks=False)
                except OSError:
                    unread.append(inside[-1])
                    continue
                if os.access(entry.path, os.R_OK, follow_symlinks=True):
                    files.append(_source(entry.path, inside, status))
                else:
                    unread.append(inside[-1])
        pending.extend(reversed(below))


def _source(path: str, parts: list[str], status: os.stat_result) -> SourceFile:
    mark = mark_of(status)
    return SourceFile(path, OfferedFile(parts, mark.size, max(0, mark.mtime_ns // 1_000_000)), mark)


def wire_name(name: str) -> str:
    """A name of this disk as UTF-8 that fits into an offer; bytes that are no UTF-8 become U+FFFD."""
    text = os.fsencode(name).decode("utf-8", "replace")
    return text.encode()[:MAX_PATH_PART_BYTES].decode("utf-8", "ignore")


def _not_there(path: str, error: OSError | ValueError) -> LocalError:
    folder, name = os.path.split(path)
    shown = safe_line(wire_name(name))
    if not isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return LocalError(messages.UNREADABLE, f"cannot read '{shown}' ({os.strerror(error.errno or 0).lower()})")
    near: list[str] = []
    with contextlib.suppress(OSError, ValueError):
        near = difflib.get_close_matches(name, os.listdir(folder), n=1)
    hint = f" Did you mean {safe_line(wire_name(near[0]))}?" if near else ""
    return LocalError("no-such-file", f"no file '{shown}' in {safe_line(wire_name(folder))}.{hint}")


class Source:
    """An open file on its way out: what ``FileSender`` reads from.

    ``read`` never raises (FileSender would never fire): it ends early, and ``trouble`` holds the
    code of what went wrong.
    """

    def __init__(self, file: SourceFile, offset: int = 0) -> None:
        """Open it, and hash what the other side has already.  LocalError(unreadable | changed)."""
        self.trouble = ""
        self.digest = blake3()
        self._mark = file.mark
        self._left = file.mark.size - offset
        try:
            self._fd = os.open(file.path, _READ)
        except OSError as error:
            raise LocalError(messages.UNREADABLE, os.strerror(error.errno or 0)) from None
        try:
            if not self._is_the_same():
                raise LocalError(messages.CHANGED, "it is not the file that was offered")
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            self._hash_head(offset)
        except OSError as error:
            self.close()
            raise LocalError(messages.UNREADABLE, os.strerror(error.errno or 0)) from None
        except LocalError:
            self.close()
            raise

    def read(self, count: int) -> bytes:
        """The next bytes, at most ``count``; empty at the end, or when something is wrong."""
        if self.trouble or not self._left:
            return b""
        try:
            data = os.read(self._fd, min(count, self._left))
        except OSError:
            self.trouble = messages.UNREADABLE
            return b""
        if not data:
            self.trouble = messages.CHANGED  # it became shorter
        self._left -= len(data)
        return data

    def finish(self) -> bytes:
        """The digest of the whole file.  LocalError(changed | unreadable) if it is not what was offered."""
        if not self.trouble and not self._is_the_same():
            self.trouble = messages.CHANGED
        if self.trouble or self._left:
            raise LocalError(self.trouble or messages.LOST, "the file was not sent to its end")
        return self.digest.digest()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _is_the_same(self) -> bool:
        status = os.fstat(self._fd)
        return stat.S_ISREG(status.st_mode) and mark_of(status) == self._mark

    def _hash_head(self, offset: int) -> None:
        while offset:
            data = os.read(self._fd, min(HASH_BYTES, offset))
            if not data:
                raise LocalError(messages.CHANGED, "it became shorter")
            self.digest.update(data)
            offset -= len(data)


def open_sources(wanted: Sequence[tuple[SourceFile, int]]) -> list[Source]:
    """Several files from their offsets, all or none."""
    opened: list[Source] = []
    try:
        for file, offset in wanted:
            opened.append(Source(file, offset))
    except LocalError:
        for source in opened:
            source.close()
        raise
    return opened


# --- what is received -----------------------------------------------------------------------------

Space = Callable[[int], os.statvfs_result]
Link = Callable[[str, str, int, int], None]  # existing name, new name, their folders


@dataclass(frozen=True)
class Ground:
    """How this machine's disk is reached; a test gives its own."""

    random: Callable[[int], bytes] = os.urandom
    space: Space = os.fstatvfs
    reserve_bytes: int = 0
    link: Link = lambda old, new, src, dst: os.link(old, new, src_dir_fd=src, dst_dir_fd=dst, follow_symlinks=False)


@dataclass
class _Part:
    """A file that is on its way in."""

    index: int
    file: OfferedFile
    name: str
    fd: int
    inode: tuple[int, int]
    written: int = 0


class Landing:
    """Where the files of one accepted offer go.  Used by one thread at a time.

    Its methods raise LocalError(no-space | unwritable | digest), or RemoteError for more bytes
    than were offered.  ``done_files`` counts what stands under final names; ``saved_to`` is told
    by ``finish``.
    """

    def __init__(
        self, downloads: str, person: str, directory: str, files: Sequence[OfferedFile], ground: Ground
    ) -> None:
        """Open ``directory``, or ``downloads/person`` if it is empty; look whether there is space for all."""
        self.index = 0  # of the file that came last
        self.done_files = 0
        self.placed: list[tuple[int, str]] = []  # index and path of those, until their reader takes them
        self.saved_to = ""
        self._files = files
        self._ground = ground
        self._part: _Part | None = None
        self._digest = blake3()
        self._whole: list[_Part] = []  # verified small files that wait for their common sync
        self._made: dict[tuple[str, ...], str] = {}  # an offered folder -> the name it got here
        self._last: tuple[OfferedFile, str] | None = None
        self._open: tuple[tuple[str, ...], int] | None = None  # the folder that was used last
        self._fds: list[int] = []
        with self._disk_errors():
            try:
                self._reach(downloads, person, directory)
                self._check_space(sum(file.size for file in files))
            except BaseException:
                self.close()
                raise

    def begin(self, index: int) -> None:
        """A new part file for the offered file ``index``."""
        self.index, file = index, self._files[index]
        with self._disk_errors():
            self._check_space(file.size)
            name = self._ground.random(16).hex() + ".part"
            fd = os.open(name, _NEW, 0o600, dir_fd=self._parts)
            status = os.fstat(fd)
            self._part = _Part(index, file, name, fd, (status.st_dev, status.st_ino))
            self._digest = blake3()
            if file.size >= SMALL_BYTES:  # a full disk is told now and not at the end
                os.posix_fallocate(fd, 0, file.size)

    def write(self, chunks: Sequence[bytes]) -> None:
        """The next bytes of the part; they are hashed as they are written."""
        part = self._part
        assert part is not None
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        part.written += len(data)
        if part.written > part.file.size:
            raise RemoteError(messages.BAD_FRAME, "more bytes than were offered")
        with self._disk_errors(), memoryview(data) as view:
            at = 0
            while at < len(view):
                at += os.write(part.fd, view[at:])
        self._digest.update(data)

    def end(self, digest: bytes) -> None:
        """The part is complete: with the right digest it gets its final name, small ones in groups."""
        part = self._part
        assert part is not None
        if part.written != part.file.size or self._digest.digest() != digest:
            raise LocalError(messages.DIGEST, "the digest is not the one that was sent")
        self._part = None
        self._whole.append(part)
        with self._disk_errors():
            if part.file.size >= SMALL_BYTES:
                os.fsync(part.fd)
            os.close(part.fd)
            part.fd = -1
            if part.file.size >= SMALL_BYTES or len(self._whole) >= GROUP_FILES:
                self._settle()

    def finish(self) -> None:
        """Everything has come: what still waits gets its final name too."""
        with self._disk_errors():
            self._settle()
        if self._last is not None:
            self.saved_to = self._where(*self._last)

    def discard(self) -> None:
        """Remove what has no final name yet."""
        part, self._part = self._part, None
        for left in [*self._whole, *([part] if part else [])]:
            if left.fd >= 0:
                os.close(left.fd)
            with contextlib.suppress(OSError):
                os.unlink(left.name, dir_fd=self._parts)
        self._whole.clear()

    def close(self) -> None:
        """Let go of the folders; to be called once, at the end."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None
        while self._fds:
            os.close(self._fds.pop())

    # --- folders ---

    def _reach(self, downloads: str, person: str, directory: str) -> None:
        if directory:
            try:
                target = self._keep(os.open(os.path.realpath(os.path.expanduser(directory)), _FOLDER))
            except (FileNotFoundError, NotADirectoryError):
                raise LocalError("no-such-folder", f"there is no folder '{safe_line(directory)}'") from None
            self._place = os.path.realpath(os.path.expanduser(directory))
        os.makedirs(downloads, mode=0o700, exist_ok=True)
        root = os.path.realpath(downloads)
        home = self._keep(os.open(root, _FOLDER))
        if not directory:
            name = safe_file_name(person, "peer")
            target = self._keep(_folder(home, name))
            self._place = os.path.join(root, name)
        # A part lies on the file system of its final name, or it could not be linked to it.
        near = home if os.fstat(home).st_dev == os.fstat(target).st_dev else target
        self._target = target
        self._parts = self._keep(_folder(near, PARTIAL))

    def _keep(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def _check_space(self, size: int) -> None:
        space = self._ground.space(self._target)
        free = space.f_bavail * space.f_frsize - self._ground.reserve_bytes
        if free < size:
            place = safe_line(wire_name(self._place))
            raise LocalError(messages.NO_SPACE, f"needs {size_text(size)}, {size_text(max(0, free))} free in {place}")

    def _folder_of(self, path: tuple[str, ...]) -> int:
        """The descriptor of an offered folder, made anew in this transfer: never one that was there."""
        if self._open is not None and self._open[0] == path:
            return self._open[1]
        fd = os.dup(self._target)
        try:
            for depth in range(1, len(path) + 1):
                name = self._made.get(path[:depth])
                if name is None:
                    name = self._made[path[:depth]] = _make_folder(fd, safe_file_name(path[depth - 1], "folder"))
                child = os.open(name, _FOLDER, dir_fd=fd)
                os.close(fd)
                fd = child
        except BaseException:
            os.close(fd)
            raise
        if self._open is not None:
            os.close(self._open[1])
        self._open = (path, fd)
        return fd

    # --- final names ---

    def _settle(self) -> None:
        if not self._whole:
            return
        if any(part.file.size < SMALL_BYTES for part in self._whole):
            _sync_all(self._parts, [part.name for part in self._whole])
        touched: set[tuple[str, ...]] = set()
        while self._whole:
            part = self._whole[0]
            folder = tuple(part.file.path[:-1])
            fd = self._folder_of(folder)
            name = self._give_name(part, fd)
            self._whole.pop(0)
            with contextlib.suppress(FileNotFoundError):  # a rename took it away
                os.unlink(part.name, dir_fd=self._parts)
            touched.add(folder)
            self.done_files += 1
            self._last = (part.file, name)
            self.placed.append((part.index, os.path.join(self._place, *self._names_of(part.file), name)))
        for folder in touched:
            os.fsync(self._folder_of(folder))
        if any(touched):
            os.fsync(self._target)

    def _give_name(self, part: _Part, folder: int) -> str:
        wanted = safe_file_name(part.file.path[-1])
        for name in _numbered(wanted):
            try:
                self._ground.link(part.name, name, self._parts, folder)
            except FileExistsError:
                continue
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if not _move(part.name, name, self._parts, folder):
                    continue
                return name  # a copy has an inode of its own
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if (status.st_dev, status.st_ino) != part.inode:
                os.unlink(name, dir_fd=folder)
                raise LocalError(messages.UNWRITABLE, "somebody exchanged the part file")
            return name
        raise LocalError(messages.UNWRITABLE, f"there are {NUMBERS} files of that name already")

    def _names_of(self, file: OfferedFile) -> list[str]:
        """The names that the folders of an offered file have got here."""
        return [self._made[tuple(file.path[:depth])] for depth in range(1, len(file.path))]

    def _where(self, file: OfferedFile, name: str) -> str:
        """The file if there was one, the folder if all were in one, else where they lie side by side."""
        if len(self._files) == 1:
            return os.path.join(self._place, *self._names_of(file), name)
        tops = {(other.path[0], len(other.path) > 1) for other in self._files}
        if tops == {(file.path[0], True)}:
            return os.path.join(self._place, self._made[(file.path[0],)])
        return self._place

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            code = messages.NO_SPACE if error.errno in _FULL else messages.UNWRITABLE
            raise LocalError(code, f"cannot write there ({os.strerror(error.errno or 0).lower()})") from error


def remove_orphans(downloads: str, now: float | None = None) -> int:
    """Remove part files that nobody wrote to for a week; how many."""
    before = (time.time() if now is None else now) - PART_DAYS * 86_400
    removed = 0
    try:
        root = os.open(os.path.realpath(downloads), _FOLDER)
    except OSError:
        return 0
    try:
        parts = os.open(PARTIAL, _FOLDER, dir_fd=root)
    except OSError:
        return 0
    finally:
        os.close(root)
    try:
        for name in os.listdir(parts):
            with contextlib.suppress(OSError):
                status = os.stat(name, dir_fd=parts, follow_symlinks=False)
                if PART_NAME.fullmatch(name) and stat.S_ISREG(status.st_mode) and status.st_mtime < before:
                    os.unlink(name, dir_fd=parts)
                    removed += 1
    finally:
        os.close(parts)
    return removed


def _folder(parent: int, name: str) -> int:
    """The folder ``name``, made if it is not there; OSError if a link or a file has that name."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, _FOLDER, dir_fd=parent)


def _make_folder(parent: int, wanted: SafeName) -> str:
    for name in _numbered(wanted):
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
            return name
    raise LocalError(messages.UNWRITABLE, f"there are {NUMBERS} folders of that name already")


def _numbered(name: SafeName) -> Iterator[str]:
    yield name
    stem, extension = os.path.splitext(name)
    for number in range(2, NUMBERS + 1):
        yield f"{stem} ({number}){extension}"


def _move(old: str, new: str, source: int, folder: int) -> bool:
    """Without hard links: rename without replacing, else copy into a new file.  False if ``new`` exists."""
    renameat2 = getattr(_libc(), "renameat2", None)
    if renameat2 is not None:
        no_replace = 1
        if renameat2(source, os.fsencode(old), folder, os.fsencode(new), no_replace) == 0:
            return True
        if ctypes.get_errno() == errno.EEXIST:
            return False
    try:
        copy = os.open(new, _NEW, 0o600, dir_fd=folder)
    except FileExistsError:
        return False
    try:
        original = os.open(old, _READ, dir_fd=source)
        try:
            while data := os.read(original, HASH_BYTES):
                view = memoryview(data)
                while view:
                    view = view[os.write(copy, view) :]
            os.fsync(copy)
        finally:
            os.close(original)
    except OSError:
        os.unlink(new, dir_fd=folder)
        raise
    finally:
        os.close(copy)
    return True


def _sync_all(folder: int, names: Sequence[str]) -> None:
    """Make these files durable: by one call for the file system if there is one, else one by one."""
    syncfs = getattr(_libc(), "syncfs", None)
    if syncfs is not None and len(names) > 1 and syncfs(folder) == 0:
        return
    for name in names:
        fd = os.open(name, _READ, dir_fd=folder)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
