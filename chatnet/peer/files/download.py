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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from blake3 import blake3

from chatnet.core import messages
from chatnet.core.errors import LocalError, NoSpace, RemoteError
from chatnet.core.limits import WRITE_BACK_BYTES
from chatnet.core.messages import OfferedFile, Want
from chatnet.core.text import safe_file_name, shown_path
from chatnet.peer.files.filesystem import (
    FOLDER,
    DownloadTarget,
    Filesystem,
    digest_at,
    digest_of,
    is_there,
    opened_folder,
    sync_all,
    write_all,
)
from chatnet.peer.files.final_names import FinalNames
from chatnet.peer.files.free_space import check_space
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


class Download:
    """The files of one accepted offer, on the disk.  Used by one thread at a time, but for ``sync``.

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
    ) -> None:
        """Open the folders, settle what was under way, and look whether there is space for the rest."""
        self.index = 0  # of the file that came last
        self.done_files = 0
        self.placed: list[tuple[int, bytes]] = []  # index and path of those, until their reader takes them
        self.saved_to = b""
        self.wants: list[Want] = []
        self.mismatched: list[int] = []
        self._files = files
        self._filesystem = filesystem
        self._nice = filesystem.niceties
        self._former = former
        self._journal = journal
        self._part: PartFile | None = None
        self._likeness: _Candidate | None = None
        self._same: list[_Candidate] = []  # those that are, and wait for their common note
        self._digest = blake3()
        self._whole: list[PartFile] = []  # verified small files that wait for their common sync
        self._unnoted: list[tuple[PartFile, bytes]] = []  # named, and the journal does not know it yet
        self._last: tuple[OfferedFile, bytes] | None = None
        with self._disk_errors(), contextlib.ExitStack() as opened:
            self._reach(place, opened)
            self._look()
            self._check_space(sum(map(self._missing_bytes, self.wants)))
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
        """The bytes of the offered file ``index`` follow, from ``offset`` on."""
        self.index, file = index, self._files[index]
        with self._disk_errors():
            if offset and self._former[index].like:
                self._likeness = _Candidate(index, file, self._former[index].like, b"")
                self._likeness.digest = digest_of(self._likeness.path, file.size)
                return
            if offset:
                self._check_space(self._missing_bytes(Want(index, offset)))
                self._part, self._digest = self._parts.reopened(index, file, offset)
            else:
                if file.size >= SMALL_BYTES:
                    self._check_space(file.size)
                self._part, self._digest = self._parts.new(index, file), blake3()
            if file.size >= SMALL_BYTES:  # a full disk is told now and not at the end
                self._nice.allocate(self._part.fd, file.size)

    def write(self, chunks: Sequence[bytes]) -> None:
        """The next bytes of the part; they are hashed as they are written."""
        part = self._part
        if part is None:
            raise RemoteError(messages.BAD_FRAME, "bytes of a file that is here")
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if part.written + len(data) > part.file.size:
            raise RemoteError(messages.BAD_FRAME, "more bytes than were offered")
        with self._disk_errors():
            write_all(part.fd, data)
        part.written += len(data)
        self._digest.update(data)
        part.write_back(WRITE_BACK_BYTES, self._filesystem)

    def next_mark(self) -> Mark | None:
        """What ``sync`` is to make certain now, if anything; to be asked between two steps, and passed to it."""
        part = self._part
        if part is None or self.unmarked < SYNC_BYTES or part.written == part.file.size:
            return None
        try:
            return Mark(part, os.dup(part.fd), part.written)
        except OSError:  # too many open files: another time
            return None

    def sync(self, mark: Mark) -> None:
        """Make it certain; beside the other steps, in a thread of its own."""
        with self._disk_errors():
            try:
                self._nice.sync_data(mark.fd)
            finally:
                os.close(mark.fd)
            self._note_synced(mark.part, mark.count)

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
            self._nice.set_time(part.fd, part.file.mtime_ms)
            if part.file.size >= SMALL_BYTES:
                self._nice.sync_file(part.fd)
            part.digest = digest
            self._part = None
            self._whole.append(part)
            os.close(part.fd)
            part.fd = -1
            if part.file.size >= SMALL_BYTES or len(self._whole) >= GROUP_FILES:
                self._settle()

    def skip(self, index: int) -> None:
        """The file ``index`` does not come, or came in vain: nothing of it stays."""
        part, self._part, self._likeness = self._part, None, None
        with self._disk_errors():
            if part is not None:
                os.close(part.fd)
            self._parts.remove(self._parts.name_of(index))
        self._journal.reset([index])

    def finish(self) -> None:
        """Everything has come: what still waits gets its final name too."""
        with self._disk_errors():
            self._note_same()
            self._settle()
            self._note_placed()
        if self._last is not None:
            self.saved_to = self._where(*self._last)

    def hold(self) -> None:
        """It goes on another time: what is here stays, as far as the disk takes it."""
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
        self._parts.remove_all()

    def close(self) -> None:
        """Let go of the folders; to be called once, at the end."""
        self._opened.close()

    # --- what there is from before ---

    def _look(self) -> None:
        """What is missing; what was about to be named when the process ended gets its name now."""
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
        self._take([(PartFile(index, file, name, -1, inode or (0, 0)), found)])
        return True

    def _compare(self, likeness: _Candidate, digest: bytes) -> None:
        self._likeness = None
        if likeness.digest != digest:
            self.mismatched.append(likeness.index)
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
            os.makedirs(place.downloads, mode=0o700, exist_ok=True)
            root = os.path.realpath(place.downloads)
            home = keep(os.open(root, FOLDER))
            name = safe_file_name(place.person, "peer")
            target, path = keep(opened_folder(home, name)), os.path.join(root, os.fsencode(name))
        self._target = target
        stem = place.stem or self._filesystem.random(STEM_BYTES).hex()
        self._parts = parts_of(place, target, stem)
        opened.callback(self._parts.close)
        self._names = FinalNames(target, path, self._filesystem)
        opened.callback(self._names.close)

    def _check_space(self, size: int) -> None:
        check_space(self._filesystem, self._target, self._names.path, size)

    def _missing_bytes(self, want: Want) -> int:
        """What the disk has yet to give for it: a part may have got all its space already."""
        size = self._files[want.file].size
        return size - (max(want.offset, self._parts.held_bytes(want.file, size)) if want.offset else 0)

    # --- from part to file ---

    def _note_synced(self, part: PartFile, count: int) -> None:
        self._journal.synced(part.index, part.name, count)
        part.synced = count

    def _settle(self) -> None:
        """Those that are whole become certain, and get their names."""
        if not self._whole:
            return
        if any(part.file.size < SMALL_BYTES for part in self._whole):
            self._check_space(0)
            if sync_all(self._filesystem, self._parts.folder, [part.name for part in self._whole]):
                self._names.are_certain(self._parts.folder)
        whole = []
        for part in self._whole:
            self._names.folder_of(part.file)
            whole.append((part.index, part.name, part.digest, self._names.path_of(part.file)))
        self._names.make_certain()
        self._journal.whole(whole, [(part.index, path) for part, path in self._unnoted])
        self._forget_parts()
        named: list[tuple[PartFile, str]] = []
        try:
            for part in self._whole:
                named.append((part, self._names.give(part, self._parts.folder)))
        finally:
            del self._whole[: len(named)]
            self._take(named)

    def _take(self, named: Sequence[tuple[PartFile, str]]) -> None:
        """These have their names.  That becomes certain, and is written down, with the next that are whole."""
        for part, name in named:
            path = os.path.join(self._names.path_of(part.file), os.fsencode(name))
            self._unnoted.append((part, path))
            self._count(part.index, part.file, path)

    def _note_placed(self) -> None:
        """Write down now what has its name."""
        self._names.make_certain()
        if self._unnoted:
            self._journal.placed([(part.index, path) for part, path in self._unnoted])
            self._forget_parts()

    def _forget_parts(self) -> None:
        """The parts of what is named and noted are needed no more."""
        noted, self._unnoted = self._unnoted, []
        for part, _ in noted:
            self._nice.remove_part(partial(self._parts.remove, part.name))  # unless a rename took it away

    def _count(self, index: int, file: OfferedFile, path: bytes) -> None:
        self.done_files += 1
        self._last = (file, path)
        self.placed.append((index, path))

    def _where(self, file: OfferedFile, path: bytes) -> bytes:
        """The file if there was one, the folder if all were in one, else where they lie side by side."""
        tops = {(other.path[0], len(other.path) > 1) for other in self._files}
        if len(self._files) > 1 and tops != {(file.path[0], True)}:
            return self._names.path
        for _ in file.path[1:] if len(self._files) > 1 else ():
            path = os.path.dirname(path)
        return path

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            text = f"cannot write there ({os.strerror(error.errno or 0).lower()})"
            if error.errno in FULL:
                raise NoSpace(text) from error
            code = messages.BUSY if error.errno in PASSING_ERRORS else messages.UNWRITABLE
            raise LocalError(code, text) from error
