"""Files that are received; every function may wait for the disk.

Bytes go into a part file with a name of our own making; a final name appears only whole, verified
and durable, never over something that exists, and never outside the folder that was opened at the
start (security: everything is reached from its descriptor).

A file's way, each step in the journal before the next, so that a process killed anywhere finds out
where it was:

    bytes ... synced ... bytes ... synced ... digest right: whole | linked to its name | done | part removed
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from blake3 import blake3

from chatnet.core import messages
from chatnet.core.errors import LocalError, RemoteError
from chatnet.core.messages import OfferedFile, Want
from chatnet.core.text import SafeName, safe_file_name, safe_line
from chatnet.core.transfer import size_text
from chatnet.peer.files import HASH_BYTES, wire_name
from chatnet.peer.journal import Journal, NoJournal

PARTIAL = ".partial"
PART_NAME = re.compile(r"[0-9a-f]{32}\.part")
PART_DAYS = 30  # the parts of what is under way are known; these were left by a lost database
STEM_BYTES = 8  # of our own randomness, in the names of one transfer's parts
SMALL_BYTES = 1_048_576  # smaller files share one sync
GROUP_FILES = 64  # so many of them
SYNC_BYTES = 2_621_440  # with what waits for the disk beside it, less than 4 MiB are sent again
NUMBERS = 999  # "name (2).ext" to "name (999).ext"
LATEST_MS = 4_102_444_800_000  # times of files from 2100 on are no times

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_AGAIN = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

Space = Callable[[int], os.statvfs_result]
Link = Callable[[str, str, int, int], None]  # existing name, new name, their folders


@dataclass(frozen=True)
class Ground:
    """How this machine's disk is reached; a test gives its own."""

    random: Callable[[int], bytes] = os.urandom
    space: Space = os.fstatvfs
    reserve_bytes: int = 0
    link: Link = lambda old, new, src, dst: os.link(old, new, src_dir_fd=src, dst_dir_fd=dst, follow_symlinks=False)


@dataclass(frozen=True)
class Former:
    """What the journal says of one file; ``like`` is another one that may have the same content."""

    synced: int = 0
    digest: bytes = b""
    final: str = ""  # the folder, or with ``done`` the path
    done: bool = False
    like: str = ""


@dataclass(frozen=True)
class Place:
    """Where the files of an offer go: ``directory``, or ``downloads/person`` if that is empty.

    ``stem`` begins the names of the parts; an empty one is made.
    """

    downloads: str
    person: str
    directory: str = ""
    stem: str = ""


@dataclass
class _Part:
    """A file that is on its way in."""

    index: int
    file: OfferedFile
    name: str
    fd: int
    inode: tuple[int, int]
    written: int = 0
    synced: int = 0
    digest: bytes = b""


@dataclass
class _Likeness:
    """A file of before, to be compared with the digest that comes."""

    index: int
    file: OfferedFile
    path: str
    digest: bytes


class Landing:
    """The files of one accepted offer, on the disk.  Used by one thread at a time.

    Its methods raise LocalError(no-space | unwritable | digest), StoreFailed of the journal, or
    RemoteError for more bytes than were offered.  ``wants`` says what is missing; ``done_files``
    counts what stands under final names; ``saved_to`` is told by ``finish``, which also leaves in
    ``unlike`` the files of before that were not the same after all.
    """

    def __init__(
        self,
        place: Place,
        files: Sequence[OfferedFile],
        ground: Ground,
        former: Mapping[int, Former] | None = None,
        journal: Journal | None = None,
    ) -> None:
        """Open the folders, settle what was under way, and look whether there is space for the rest."""
        self.index = 0  # of the file that came last
        self.done_files = 0
        self.placed: list[tuple[int, str]] = []  # index and path of those, until their reader takes them
        self.saved_to = ""
        self.wants: list[Want] = []
        self.unlike: list[int] = []
        self._files = files
        self._ground = ground
        self._former = former or {}
        self._journal = journal or NoJournal()
        self._stem = place.stem or ground.random(STEM_BYTES).hex()
        self._part: _Part | None = None
        self._likeness: _Likeness | None = None
        self._same: list[_Likeness] = []  # those that are, and wait for their common note
        self._digest = blake3()
        self._whole: list[_Part] = []  # verified small files that wait for their common sync
        self._made: dict[tuple[str, ...], str] = {}  # an offered folder -> the name it got here
        self._last: tuple[OfferedFile, str] | None = None
        self._open: tuple[tuple[str, ...], int] | None = None  # the folder that was used last
        self._fds: list[int] = []
        with self._disk_errors():
            try:
                self._reach(place)
                self._look()
                self._check_space(sum(files[want.file].size - want.offset for want in self.wants))
            except BaseException:
                self.close()
                raise

    @property
    def wanted_bytes(self) -> int:
        return sum(self._files[want.file].size - want.offset for want in self.wants)

    def begin(self, index: int, offset: int = 0) -> None:
        """The bytes of the offered file ``index`` follow, from ``offset`` on."""
        self.index, file = index, self._files[index]
        with self._disk_errors():
            if offset and self._former[index].like:
                self._likeness = _Likeness(index, file, self._former[index].like, b"")
                self._likeness.digest = _digest_of(self._likeness.path, file.size)
                return
            self._check_space(file.size - offset)
            self._part = self._reopened(index, offset) if offset else self._new_part(index)
            if file.size >= SMALL_BYTES:  # a full disk is told now and not at the end
                os.posix_fallocate(self._part.fd, 0, file.size)

    def write(self, chunks: Sequence[bytes]) -> None:
        """The next bytes of the part; they are hashed as they are written."""
        part = self._part
        if part is None:
            raise RemoteError(messages.BAD_FRAME, "bytes of a file that is here")
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        part.written += len(data)
        if part.written > part.file.size:
            raise RemoteError(messages.BAD_FRAME, "more bytes than were offered")
        with self._disk_errors():
            with memoryview(data) as view:
                at = 0
                while at < len(view):
                    at += os.write(part.fd, view[at:])
            self._digest.update(data)
            if part.written - part.synced >= SYNC_BYTES and part.written < part.file.size:
                self._sync(part)
                self._check_space(0)

    def end(self, digest: bytes) -> None:
        """The file is complete: with the right digest it gets its final name, small ones in groups."""
        if self._likeness is not None:
            self._compare(self._likeness, digest)
            return
        part = self._part
        assert part is not None
        if part.written != part.file.size or self._digest.digest() != digest:
            raise LocalError(messages.DIGEST, "the digest is not the one that was sent")
        with self._disk_errors():
            if 0 < part.file.mtime_ms < LATEST_MS:
                os.utime(part.fd, ns=(part.file.mtime_ms * 1_000_000,) * 2)
            if part.file.size >= SMALL_BYTES:
                os.fsync(part.fd)
            part.digest = digest
            self._part = None
            self._whole.append(part)
            os.close(part.fd)
            part.fd = -1
            if part.file.size >= SMALL_BYTES or len(self._whole) >= GROUP_FILES:
                self._settle()

    def finish(self) -> None:
        """Everything has come: what still waits gets its final name too."""
        with self._disk_errors():
            self._note_same()
            self._settle()
        if self._last is not None:
            self.saved_to = self._where(*self._last)

    def hold(self) -> None:
        """It goes on another time: what is here stays, as far as the disk takes it."""
        part, self._part = self._part, None
        try:
            with contextlib.suppress(OSError, LocalError):
                self._note_same()
                self._settle()
            if part is not None and part.written > part.synced:
                with contextlib.suppress(OSError):
                    self._sync(part)
        finally:
            if part is not None:
                os.close(part.fd)

    def discard(self) -> None:
        """Remove what has no final name yet."""
        if self._part is not None:
            os.close(self._part.fd)
            self._part = None
        self._whole.clear()
        _remove_parts(self._parts, self._stem)

    def close(self) -> None:
        """Let go of the folders; to be called once, at the end."""
        if self._open is not None:
            os.close(self._open[1])
            self._open = None
        while self._fds:
            os.close(self._fds.pop())

    # --- what there is from before ---

    def _look(self) -> None:
        """What is missing; what was about to be named when the process ended gets its name now."""
        parts = {name for name in os.listdir(self._parts) if name.startswith(self._stem)}
        former = [(index, self._former.get(index, Former())) for index in range(len(self._files))]
        for index, file in former:
            if file.final and not file.like:
                self._learn(index, file)
        for index, was in former:
            size, name = self._files[index].size, self._part_name(index)
            if was.done:
                self.done_files += 1
                self._last = (self._files[index], was.final)
            elif was.digest and self._completed(index, was):
                continue
            elif was.like and _is_there(was.like, size):
                self._learn(index, Former(final=was.like, done=True))
                self.wants.append(Want(index, size))
                continue
            elif was.synced and name in parts and self._is_ours(name, was.synced):
                self.wants.append(Want(index, was.synced))
                continue
            else:
                self.wants.append(Want(index, 0))
            if name in parts:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._parts)
        self._settle()
        if not self.wants:
            self.finish()

    def _learn(self, index: int, was: Former) -> None:
        """Which names the folders of an offered file have got here."""
        offered = self._files[index].path[:-1]
        names = os.path.relpath(os.path.dirname(was.final) if was.done else was.final, self._place).split(os.sep)
        if offered and len(names) == len(offered) and os.pardir not in names:
            for depth, name in enumerate(names, 1):
                self._made.setdefault(tuple(offered[:depth]), name)

    def _completed(self, index: int, was: Former) -> bool:
        """Whether a verified file was linked to its name, or can be now."""
        file, name = self._files[index], self._part_name(index)
        try:
            status = os.stat(name, dir_fd=self._parts, follow_symlinks=False)
        except FileNotFoundError:
            inode = None
        else:
            inode = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                if status.st_size != file.size or _digest_at(name, self._parts) != was.digest:
                    return False
                self._whole.append(_Part(index, file, name, -1, inode, file.size, file.size, was.digest))
                return True
        found = self._find(file, inode, was.digest)
        if found is None:
            return False
        self._note([(_Part(index, file, name, -1, inode or (0, 0)), found)])
        return True

    def _find(self, file: OfferedFile, inode: tuple[int, int] | None, digest: bytes) -> str | None:
        """The final name that the process before this one gave, but could not note."""
        folder = self._folder_of(tuple(file.path[:-1]))
        for name in _numbered(safe_file_name(file.path[-1])):
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return None
            if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
                continue
            if (status.st_dev, status.st_ino) == inode or (inode is None and _digest_at(name, folder) == digest):
                return name
        return None

    def _is_ours(self, name: str, count: int) -> bool:
        """A part that can be written on: nobody else's name for another file."""
        status = os.stat(name, dir_fd=self._parts, follow_symlinks=False)
        return _is_own_part(status) and status.st_size >= count

    def _reopened(self, index: int, offset: int) -> _Part:
        """The part of before, cut to what is certain, and hashed from its start."""
        name, file = self._part_name(index), self._files[index]
        fd = os.open(name, _AGAIN, dir_fd=self._parts)
        try:
            status = os.fstat(fd)
            if not _is_own_part(status):
                raise LocalError(messages.UNWRITABLE, "somebody exchanged the part file")
            os.ftruncate(fd, offset)
            self._digest = blake3()
            while data := os.read(fd, HASH_BYTES):
                self._digest.update(data)
        except BaseException:
            os.close(fd)
            raise
        return _Part(index, file, name, fd, (status.st_dev, status.st_ino), offset, offset)

    def _compare(self, likeness: _Likeness, digest: bytes) -> None:
        self._likeness = None
        if likeness.digest != digest:
            self.unlike.append(likeness.index)
            return
        self._same.append(likeness)
        if len(self._same) >= GROUP_FILES:
            self._note_same()

    def _note_same(self) -> None:
        same, self._same = self._same, []
        if same:
            self._journal.placed([(likeness.index, likeness.path) for likeness in same])
        for likeness in same:
            self._count(likeness.index, likeness.file, likeness.path)

    # --- parts ---

    def _part_name(self, index: int) -> str:
        return f"{self._stem}{index:016x}.part"

    def _new_part(self, index: int) -> _Part:
        name = self._part_name(index)
        try:
            fd = os.open(name, _NEW, 0o600, dir_fd=self._parts)
        except FileExistsError:  # of a process before this one, from before its first mark
            os.unlink(name, dir_fd=self._parts)
            fd = os.open(name, _NEW, 0o600, dir_fd=self._parts)
        status = os.fstat(fd)
        self._digest = blake3()
        return _Part(index, self._files[index], name, fd, (status.st_dev, status.st_ino))

    def _sync(self, part: _Part) -> None:
        os.fdatasync(part.fd)
        self._journal.synced(part.index, part.name, part.written)
        part.synced = part.written

    # --- folders ---

    def _reach(self, place: Place) -> None:
        if place.directory:
            try:
                target = self._keep(os.open(_real(place.directory), _FOLDER))
            except (FileNotFoundError, NotADirectoryError):
                raise LocalError("no-such-folder", f"There is no folder '{safe_line(place.directory)}'.") from None
            self._place = _real(place.directory)
        os.makedirs(place.downloads, mode=0o700, exist_ok=True)
        root = os.path.realpath(place.downloads)
        home = self._keep(os.open(root, _FOLDER))
        if not place.directory:
            name = safe_file_name(place.person, "peer")
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
                child = self._child(fd, path[:depth])
                os.close(fd)
                fd = child
        except BaseException:
            os.close(fd)
            raise
        if self._open is not None:
            os.close(self._open[1])
        self._open = (path, fd)
        return fd

    def _child(self, parent: int, path: tuple[str, ...]) -> int:
        name = self._made.get(path)
        if name is not None:
            with contextlib.suppress(FileNotFoundError):  # somebody took it away meanwhile
                return os.open(name, _FOLDER, dir_fd=parent)
        name = self._made[path] = _make_folder(parent, safe_file_name(path[-1], "folder"))
        return os.open(name, _FOLDER, dir_fd=parent)

    # --- final names ---

    def _settle(self) -> None:
        if not self._whole:
            return
        if any(part.file.size < SMALL_BYTES for part in self._whole):
            _sync_all(self._parts, [part.name for part in self._whole])
        whole = []
        for part in self._whole:
            self._folder_of(tuple(part.file.path[:-1]))
            whole.append((part.index, part.name, part.digest, self._path_of(part.file)))
        self._journal.whole(whole)
        named: list[tuple[_Part, str]] = []
        try:
            for part in self._whole:
                named.append((part, self._give_name(part, self._folder_of(tuple(part.file.path[:-1])))))
        finally:
            del self._whole[: len(named)]
            self._note(named)

    def _note(self, named: Sequence[tuple[_Part, str]]) -> None:
        """These have their names, for certain; their parts are needed no more."""
        touched = {tuple(part.file.path[:-1]) for part, _ in named}
        for folder in touched:
            os.fsync(self._folder_of(folder))
        if any(touched):
            os.fsync(self._target)
        placed = [(part.index, os.path.join(self._path_of(part.file), name)) for part, name in named]
        if placed:
            self._journal.placed(placed)
        for (part, _), (index, path) in zip(named, placed, strict=True):
            with contextlib.suppress(FileNotFoundError):  # a rename took it away
                os.unlink(part.name, dir_fd=self._parts)
            self._count(index, part.file, path)

    def _count(self, index: int, file: OfferedFile, path: str) -> None:
        self.done_files += 1
        self._last = (file, path)
        self.placed.append((index, path))

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

    def _path_of(self, file: OfferedFile) -> str:
        """The folder that it lies in."""
        return os.path.join(self._place, *self._names_of(file))

    def _where(self, file: OfferedFile, path: str) -> str:
        """The file if there was one, the folder if all were in one, else where they lie side by side."""
        tops = {(other.path[0], len(other.path) > 1) for other in self._files}
        if len(self._files) > 1 and tops != {(file.path[0], True)}:
            return self._place
        for _ in file.path[1:] if len(self._files) > 1 else ():
            path = os.path.dirname(path)
        return path

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            code = messages.NO_SPACE if error.errno in _FULL else messages.UNWRITABLE
            raise LocalError(code, f"cannot write there ({os.strerror(error.errno or 0).lower()})") from error


def remove_parts(place: Place) -> None:
    """The parts of a transfer that has ended, wherever they lie."""
    if not place.stem:
        return
    for parent in (place.downloads, place.directory):
        with contextlib.suppress(OSError):
            if parent:
                root = os.open(_real(parent), _FOLDER)
                try:
                    parts = os.open(PARTIAL, _FOLDER, dir_fd=root)
                finally:
                    os.close(root)
                try:
                    _remove_parts(parts, place.stem)
                finally:
                    os.close(parts)


def remove_orphans(downloads: str, keep: Collection[str] = (), now: float | None = None) -> int:
    """Remove parts that nobody wrote to for a month, but those with the stems ``keep``; how many."""
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
                known = not PART_NAME.fullmatch(name) or name[: 2 * STEM_BYTES] in keep
                if not known and stat.S_ISREG(status.st_mode) and status.st_mtime < before:
                    os.unlink(name, dir_fd=parts)
                    removed += 1
    finally:
        os.close(parts)
    return removed


def _remove_parts(folder: int, stem: str) -> None:
    for name in os.listdir(folder):
        if name.startswith(stem):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)


def _real(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))


def _is_own_part(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()


def _is_there(path: str, size: int) -> bool:
    try:
        status = os.stat(path, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == size > 0


def _digest_of(path: str, size: int) -> bytes:
    """Of a file of before; of nothing if it is there no more, which is nobody's digest."""
    try:
        return _digest_at(path, None) if _is_there(path, size) else b""
    except OSError:
        return b""


def _digest_at(name: str, folder: int | None) -> bytes:
    digest = blake3()
    fd = os.open(name, _READ, dir_fd=folder)
    try:
        while data := os.read(fd, HASH_BYTES):
            digest.update(data)
    finally:
        os.close(fd)
    return digest.digest()


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
