"""Files that are received; every function may wait for the disk.

Bytes go into a part file (``part_files``); a final name (``final_names``) appears only whole, verified and
durable, never over something that exists, and never outside the folder that was opened at the
start (security: everything is reached from its descriptor).

A file's way, each step in the journal before the next, so that a process killed anywhere finds out
where it was:

    bytes ... synced ... bytes ... synced ... digest right: whole | linked to its name | done | part removed
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from blake3 import blake3

from chatnet.core import messages
from chatnet.core.errors import LocalError, NoSpace, RemoteError, system_reason
from chatnet.core.limits import WRITE_BACK_BYTES
from chatnet.core.messages import OfferedFile, Want
from chatnet.core.text import safe_file_name, shown_path
from chatnet.core.transfer.offers import FolderCount
from chatnet.peer.files.filesystem import (
    FOLDER,
    DownloadTarget,
    Filesystem,
    digest_at,
    digest_of,
    disk_name,
    is_there,
    opened_folder,
    sync_all,
    write_chunks,
)
from chatnet.peer.files.final_names import FinalNames
from chatnet.peer.files.free_space import SpaceShare
from chatnet.peer.files.journal import Journal
from chatnet.peer.files.niceties import FULL
from chatnet.peer.files.part_files import STEM_BYTES, PartFile, parts_of
from chatnet.peer.files.source import PASSING_ERRORS

SMALL_BYTES = 1_048_576  # smaller files share one sync
GROUP_FILES = 64  # so many of them
SYNC_BYTES = 1_572_864  # written since the last mark: the next one is due
UNMARKED_BYTES = 2_621_440  # nothing is written beyond; with what waits for it, less than 4 MiB are sent again


@dataclass(frozen=True)
class Former:
    """What the journal says of one file; ``like`` is another one that may have the same content."""

    synced: int = 0
    digest: bytes = b""
    final: bytes = b""  # the folder, or with ``done`` the path
    done: bool = False
    like: bytes = b""


@dataclass(frozen=True)
class Mark:
    """So much of a part is written, and shall be certain; ``fd`` is its own descriptor of the part."""

    part: PartFile
    fd: int
    count: int


@dataclass
class _Candidate:
    """A file of before, to be compared with the digest that comes."""

    index: int
    file: OfferedFile
    path: bytes
    digest: bytes


class _DiskErrors:
    """What the disk refuses is raised as LocalError; three times for each small file, so it is no generator."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            text = f"cannot write there ({system_reason(error)})"
            if error.errno in FULL:
                raise NoSpace(text) from error
            code = messages.BUSY if error.errno in PASSING_ERRORS else messages.UNWRITABLE
            raise LocalError(code, text) from error


_DISK_ERRORS = _DiskErrors()


class Download:
    """The files of one accepted offer, on the disk.

    Used by one thread at a time, but for ``sync`` and ``settle``, of which one may run beside the others.

    Its methods raise LocalError(no-space | unwritable | digest), StoreFailed of the journal, or
    RemoteError for more bytes than were offered.  ``wants`` says what is missing; ``done_files``
    counts what stands under final names; ``saved_to`` is told by ``finish``, which also leaves in
    ``mismatched`` the files of before that were not the same after all.
    """

    def __init__(
        self,
        place: DownloadTarget,
        files: Sequence[OfferedFile],
        filesystem: Filesystem,
        former: Mapping[int, Former],
        journal: Journal,
        empty_folders: Sequence[tuple[str, ...]] = (),
    ) -> None:
        """Open the folders, settle what was under way, and look whether there is space for the rest."""
        self.index = 0  # of the file that came last
        self.done_files = 0
        self.saved_to = b""
        self.wants: list[Want] = []
        self.mismatched: list[int] = []
        self._files = files
        self._empty_folders = empty_folders
        self._filesystem = filesystem
        self._nice = filesystem.niceties
        self._former = former
        self._journal = journal
        self._part: PartFile | None = None
        self._likeness: _Candidate | None = None
        self._same: list[_Candidate] = []  # those that are, and wait for their common note
        self._digest = blake3()
        self._whole: list[PartFile] = []  # verified files that wait for their names, small ones for a common sync
        self._group: list[PartFile] = []  # of those, the ones whose turn it is
        self._settling = threading.Lock()  # the group, names and notes belong to one thread at a time
        self._unnoted: list[tuple[PartFile, bytes]] = []  # named, and the journal does not know it yet
        self._last: tuple[OfferedFile, bytes] | None = None
        with _DISK_ERRORS, contextlib.ExitStack() as opened:
            self._reach(place, opened)
            self._look()
            self._space.promise({want.file: self._missing_bytes(want) for want in self._to_come()}, self._folders())
            self._opened = opened.pop_all()

    @property
    def wanted_bytes(self) -> int:
        return sum(self._files[want.file].size - want.offset for want in self.wants)

    @property
    def unmarked(self) -> int:
        """Bytes of the present part that are written, and not certain to be there after a crash."""
        part = self._part
        return part.written - part.synced if part is not None else 0

    def begin(self, index: int, offset: int = 0) -> None:
        """Begin the offered file ``index``, whose bytes follow from ``offset`` on."""
        self.index, file = index, self._files[index]
        with _DISK_ERRORS:
            if offset and self._former[index].like:
                self._likeness = _Candidate(index, file, self._former[index].like, b"")
                self._likeness.digest = digest_of(self._likeness.path, file.size)
                return
            missing = self._missing_bytes(Want(index, offset))
            if file.size >= SMALL_BYTES:
                self._space.look()
            if offset:
                self._part, self._digest = self._parts.reopened(index, file, offset)
            else:
                self._part, self._digest = self._parts.new(index, file), blake3()
            # A full disk is told now and not at the end.
            if file.size >= SMALL_BYTES and self._nice.allocate(self._part.fd, file.size):
                self._space.taken(index, missing, look=False)

    def write(self, chunks: Sequence[bytes]) -> None:
        """Write the next bytes of the part, and hash them."""
        part = self._part
        if part is None:
            raise RemoteError(messages.BAD_FRAME, "bytes of a file that is here")
        count = sum(map(len, chunks))
        if part.written + count > part.file.size:
            raise RemoteError(messages.BAD_FRAME, "more bytes than were offered")
        self._space.taken(part.index, count)
        with _DISK_ERRORS:
            write_chunks(part.fd, chunks)
        part.written += count
        for chunk in chunks:
            self._digest.update(chunk)
        part.write_back(WRITE_BACK_BYTES, self._filesystem)

    def next_mark(self) -> Mark | None:
        """Return what ``sync`` is to make certain now, or None.

        Call this between two steps, and pass the result to ``sync``.
        """
        part = self._part
        if part is None or self.unmarked < SYNC_BYTES or part.written == part.file.size:
            return None
        try:
            return Mark(part, os.dup(part.fd), part.written)
        except OSError:  # too many open files: another time
            return None

    def sync(self, mark: Mark) -> None:
        """Make the bytes up to ``mark`` certain; beside the other steps, in a thread of its own."""
        with _DISK_ERRORS:
            try:
                self._nice.sync_data(mark.fd)
            finally:
                os.close(mark.fd)
            self._note_synced(mark.part, mark.count)

    @property
    def due(self) -> bool:
        """Whether a whole group waits for ``settle``."""
        return len(self._whole) >= GROUP_FILES or len(self._same) >= GROUP_FILES

    def settle(self) -> None:
        """Make the next group certain, and give it its final names.

        This runs beside the other steps, in a thread of its own.
        """
        with _DISK_ERRORS, self._settling:
            self._note_same()
            self._settle_group()

    def end(self, digest: bytes) -> None:
        """End the file, which is complete.

        With the right digest it gets its final name; a small one gets it in ``settle``.
        """
        if self._likeness is not None:
            self._compare(self._likeness, digest)
            return
        part = self._part
        assert part is not None
        if part.written != part.file.size or self._digest.digest() != digest:
            raise LocalError(messages.DIGEST, "the digest is not the one that was sent")
        with _DISK_ERRORS:
            self._nice.set_time(part.fd, part.file.mtime_ms)
            self._filesystem.share_file(part.fd)
            if part.file.size >= SMALL_BYTES:
                self._nice.sync_file(part.fd)
            part.digest = digest
            self._part = None
            self._space.settled(part.index)
            os.close(part.fd)
            part.fd = -1
            self._whole.append(part)
            if part.file.size >= SMALL_BYTES:
                self._settle()

    def skip(self, index: int) -> None:
        """Remove all of the file ``index``, which does not come, or came in vain."""
        part, self._part, self._likeness = self._part, None, None
        self._space.settled(index)
        with _DISK_ERRORS:
            if part is not None:
                os.close(part.fd)
            self._parts.remove(self._parts.name_of(index))
        self._journal.reset([index])

    def finish(self) -> None:
        """Finish, as everything has come: what still waits gets its final name too, and the empty folders are made."""
        with _DISK_ERRORS:
            self._note_same()
            self._settle()
            for folder in self._empty_folders:
                self._names.make_empty_folder(folder)
            self._note_placed()
        if self._last is not None:
            self.saved_to = self._where(*self._last)

    def hold(self) -> None:
        """Hold the download, which goes on another time: what is here stays, as far as the disk takes it."""
        part, self._part = self._part, None
        try:
            with contextlib.suppress(OSError, LocalError):
                self._note_same()
                self._settle()
                self._note_placed()
            if part is not None and part.written > part.synced:
                with contextlib.suppress(OSError):
                    self._nice.sync_data(part.fd)
                    self._note_synced(part, part.written)
        finally:
            if part is not None:
                os.close(part.fd)

    def discard(self) -> None:
        """Remove what has no final name yet."""
        if self._part is not None:
            os.close(self._part.fd)
            self._part = None
        self._whole.clear()
        self._group.clear()
        self._parts.remove_all()

    def close(self) -> None:
        """Let go of the folders; to be called once, at the end."""
        self._opened.close()

    # --- what there is from before ---

    def _look(self) -> None:
        """Find out what is missing, and name the files that were about to get their names when the process ended."""
        names, corrupt = self._parts.names(), []
        former = [(index, self._former.get(index, Former())) for index in range(len(self._files))]
        for index, file in former:
            if file.final and not file.like:
                self._learn(index, file)
        for index, was in former:
            size, name = self._files[index].size, self._parts.name_of(index)
            if was.done:
                self.done_files += 1
                self._last = (self._files[index], was.final)
            elif was.digest and self._completed(index, was):
                continue
            elif was.like and is_there(was.like, size):
                self._learn(index, Former(final=was.like, done=True))
                self.wants.append(Want(index, size))
                continue
            elif was.synced and not was.digest and name in names and self._parts.can_go_on(index, was.synced):
                self.wants.append(Want(index, was.synced))
                continue
            else:
                self.wants.append(Want(index, 0))
                if was.digest:  # it was whole, and is not any more
                    corrupt.append(index)
            if name in names:
                self._parts.remove(name)
        if corrupt:
            self._journal.reset(corrupt)
        self._settle()
        if not self.wants:
            self.finish()

    def _learn(self, index: int, was: Former) -> None:
        self._names.learn(self._files[index], os.path.dirname(was.final) if was.done else was.final)

    def _completed(self, index: int, was: Former) -> bool:
        """Whether a verified file was linked to its name, or can be now."""
        file, name = self._files[index], self._parts.name_of(index)
        try:
            status = os.stat(name, dir_fd=self._parts.folder, follow_symlinks=False)
        except FileNotFoundError:
            inode = None
        else:
            inode = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
                if status.st_size != file.size or digest_at(name, self._parts.folder) != was.digest:
                    return False
                self._whole.append(PartFile(index, file, name, -1, inode, file.size, file.size, was.digest))
                return True
        found = self._names.find(file, inode, was.digest)
        if found is None:
            return False
        self._names.touched.add(tuple(file.path[:-1]))
        self._take([(PartFile(index, file, name, -1, inode or (0, 0)), self._path(file, found))])
        return True

    def _compare(self, likeness: _Candidate, digest: bytes) -> None:
        self._likeness = None
        if likeness.digest != digest:
            self.mismatched.append(likeness.index)
            return
        self._same.append(likeness)

    def _note_same(self) -> None:
        same = self._same[:]
        if same:
            self._journal.placed([(likeness.index, likeness.path) for likeness in same])
        del self._same[: len(same)]
        for likeness in same:
            self._count(likeness.file, likeness.path)

    # --- folders and space ---

    def _reach(self, place: DownloadTarget, opened: contextlib.ExitStack) -> None:
        def keep(fd: int) -> int:
            opened.callback(os.close, fd)
            return fd

        if place.directory:
            path = os.path.realpath(place.directory)
            try:
                target = keep(os.open(path, FOLDER))
            except (FileNotFoundError, NotADirectoryError):
                shown = shown_path(place.directory, 200)
                raise LocalError(messages.NO_FOLDER, f"There is no folder '{shown}'.") from None
        else:
            os.makedirs(place.downloads, exist_ok=True)
            root = os.path.realpath(place.downloads)
            home = keep(os.open(root, FOLDER))
            name = disk_name(safe_file_name(place.person, "peer"))
            target, path = keep(opened_folder(home, name, self._filesystem)), os.path.join(root, os.fsencode(name))
        self._target = target
        stem = place.stem or self._filesystem.random(STEM_BYTES).hex()
        self._parts = parts_of(place, target, stem)
        opened.callback(self._parts.close)
        self._names = FinalNames(target, path, self._filesystem)
        opened.callback(self._names.close)
        self._space = SpaceShare(self._filesystem, target, path, self._names.made)
        opened.callback(self._space.close)

    def _to_come(self) -> list[Want]:
        """Return the files of which more than the digest is wanted."""
        return [want for want in self.wants if not want.offset or want.offset < self._files[want.file].size]

    def _folders(self) -> int:
        folders = FolderCount()
        for want in self._to_come():
            folders.add(self._files[want.file].path)
        empty = self._empty_folders if self.wants else ()
        for folder in empty:
            folders.add(folder)
        return folders.count + len(empty)

    def _missing_bytes(self, want: Want) -> int:
        """Return how many bytes the disk still has to give: a part may have all its space already."""
        size = self._files[want.file].size
        return size - (max(want.offset, self._parts.held_bytes(want.file, size)) if want.offset else 0)

    # --- from part to file ---

    def _note_synced(self, part: PartFile, count: int) -> None:
        self._journal.synced(part.index, part.name, count)
        part.synced = count

    def _settle(self) -> None:
        """Make all files that are whole certain, and give them their names."""
        with self._settling:
            while self._group or self._whole:
                self._settle_group()

    def _settle_group(self) -> None:
        """Make as many files certain as share a sync, and name them.  Others may come to be whole meanwhile."""
        group = self._group
        if not group:  # else it failed, and is tried again
            group += self._whole[:GROUP_FILES]
            del self._whole[: len(group)]
        if not group:
            return
        if any(part.file.size < SMALL_BYTES for part in group):
            self._space.look()
            if sync_all(self._filesystem, self._parts.folder, [part.name for part in group]):
                self._names.are_certain(self._parts.folder)
        whole = []
        for part in group:
            whole.append((part.index, part.name, part.digest, self._names.path_of(part.file)))
        self._names.make_certain()
        self._journal.whole(whole, [(part.index, path) for part, path in self._unnoted])
        self._forget_parts()
        named: list[tuple[PartFile, bytes]] = []
        try:
            for part in group:
                name = self._names.give(part, self._parts.folder)
                named.append((part, self._path(part.file, name)))
        finally:
            del group[: len(named)]
            self._take(named)

    def _path(self, file: OfferedFile, name: str) -> bytes:
        return os.path.join(self._names.path_of(file), os.fsencode(name))

    def _take(self, named: Sequence[tuple[PartFile, bytes]]) -> None:
        """Note files that have their names; they are synced and recorded with the next files that are whole."""
        for part, path in named:
            self._unnoted.append((part, path))
            self._count(part.file, path)

    def _note_placed(self) -> None:
        """Store which files have their names now."""
        self._names.make_certain()
        if self._unnoted:
            self._journal.placed([(part.index, path) for part, path in self._unnoted])
            self._forget_parts()

    def _forget_parts(self) -> None:
        """Remove the parts of the files that are named and noted."""
        noted, self._unnoted = self._unnoted, []
        for part, _ in noted:
            self._nice.remove_part(partial(self._parts.remove, part.name))  # unless a rename took it away

    def _count(self, file: OfferedFile, path: bytes) -> None:
        self.done_files += 1
        self._last = (file, path)

    def _where(self, file: OfferedFile, path: bytes) -> bytes:
        """Return the file if there was one, the folder if all were in one, else where they lie side by side."""
        tops = {(other.path[0], len(other.path) > 1) for other in self._files}
        if len(self._files) > 1 and tops != {(file.path[0], True)}:
            return self._names.path
        for _ in file.path[1:] if len(self._files) > 1 else ():
            path = os.path.dirname(path)
        return path
