"""Final names: of the folders and files of one offer, never over something that exists.

Everything is reached from the descriptor of the folder that was opened at the start.  Every
function may wait for the disk, and raises OSError where nothing else is said.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator

from chatnet.core import messages
from chatnet.core.errors import LocalError
from chatnet.core.limits import RANDOM_TRIES
from chatnet.core.messages import OfferedFile
from chatnet.core.text import SafeName, safe_file_name
from chatnet.peer.files.filesystem import FOLDER, NEW, Filesystem, copy, digest_at, disk_name
from chatnet.peer.files.niceties import LACKING, Nicety
from chatnet.peer.files.part_files import PartFile

NUMBERS = 999  # "name (2).ext" to "name (999).ext"

_NO_LINKS = LACKING | {errno.EMLINK, errno.EXDEV}


class FinalNames:
    """Below ``target``, an open folder whose path is ``path``."""

    def __init__(self, target: int, path: bytes, filesystem: Filesystem) -> None:
        self.path = path
        self._target = target
        self._filesystem = filesystem
        self._made: dict[tuple[str, ...], str] = {}  # an offered folder -> the name it got here
        # The offered folder and a clean name -> the numbers of it that are known to be taken.
        self._taken: Counter[tuple[tuple[str, ...], str]] = Counter()
        self._open: tuple[tuple[str, ...], int, bytes] | None = None  # the folder that was used last, and its path
        self.touched: set[tuple[str, ...]] = set()  # offered folders that hold names which a crash could take

    def close(self) -> None:
        if self._open is not None:
            os.close(self._open[1])
            self._open = None

    def made(self) -> int:
        """Return how many offered folders have got their names here."""
        return len(self._made)

    def folder_of(self, file: OfferedFile) -> int:
        """Return the descriptor of its folder, made in this transfer: never one that was there before."""
        path = tuple(file.path[:-1])
        if self._open is not None and self._open[0] == path:
            return self._open[1]
        fd = self._descended(path)
        self.close()
        names = (self._made[path[:depth]] for depth in range(1, len(path) + 1))
        self._open = (path, fd, os.path.join(self.path, *map(os.fsencode, names)))
        return fd

    def _descended(self, path: tuple[str, ...]) -> int:
        fd = os.dup(self._target)
        try:
            for depth in range(1, len(path) + 1):
                child = self._child(fd, path[:depth])
                os.close(fd)
                fd = child
        except BaseException:
            os.close(fd)
            raise
        return fd

    def are_certain(self, folder: int) -> None:
        """Note that the whole file system of ``folder`` was synced, and with it all names that were given there."""
        if os.fstat(folder).st_dev == os.fstat(self._target).st_dev:
            self.touched.clear()

    def make_certain(self) -> None:
        """Bring every name that was given so far to the disk, those of new folders too."""
        touched, self.touched = self.touched, set()
        for path in touched:
            fd = self._descended(path)
            try:
                self._filesystem.niceties.sync_folder(fd)
            finally:
                os.close(fd)

    def path_of(self, file: OfferedFile) -> bytes:
        """Return the path of its folder, which is made if it is not there."""
        self.folder_of(file)
        assert self._open is not None
        return self._open[2]

    def make_empty_folder(self, path: tuple[str, ...]) -> None:
        """See that the offered folder ``path`` is there, with nothing in it.

        An empty folder that has its name already is the one, so that it is not made twice after a crash.
        """
        parent = self._descended(path[:-1])
        try:
            name = disk_name(safe_file_name(path[-1], "folder"))
            if not _is_empty_folder(parent, name):
                self.touched.add(path[:-1])
                self._make_folder(parent, path[:-1], name)
        finally:
            os.close(parent)

    def learn(self, file: OfferedFile, folder: bytes) -> None:
        """Learn from a file of this offer that lies in ``folder`` already which names its folders have got."""
        offered = file.path[:-1]
        names = os.fsdecode(os.path.relpath(folder, self.path)).split(os.sep)
        if offered and len(names) == len(offered) and os.pardir not in names:
            for depth, name in enumerate(names, 1):
                self._made.setdefault(tuple(offered[:depth]), name)

    def give(self, part: PartFile, parts: int) -> str:
        """Give a part of the folder ``parts`` its final name, and return it.  Raises LocalError(unwritable)."""
        folder = self.folder_of(part.file)
        for name in self._free_names(tuple(part.file.path[:-1]), disk_name(safe_file_name(part.file.path[-1]))):
            try:
                copied = self._link(part, name, parts, folder)
            except FileExistsError:
                continue
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if not copied and not self._is_the_part(status, part, name, folder):
                os.unlink(name, dir_fd=folder)
                raise LocalError(messages.UNWRITABLE, "somebody exchanged the part file")
            self.touched.add(tuple(part.file.path[:-1]))
            return name
        raise LocalError(messages.UNWRITABLE, "there are too many files of that name already")

    def find(self, file: OfferedFile, inode: tuple[int, int] | None, digest: bytes) -> str | None:
        """Return the final name that the process before this one gave, but could not note; None if there is none."""
        folder = self.folder_of(file)
        for name in _numbered(disk_name(safe_file_name(file.path[-1]))):
            try:
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                return None
            if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
                continue
            if (status.st_dev, status.st_ino) == inode or (inode is None and digest_at(name, folder) == digest):
                return name
        return _name_of(inode, folder) if inode is not None else None

    def _is_the_part(self, status: os.stat_result, part: PartFile, name: str, folder: int) -> bool:
        """Return whether a file is the part, by its inode; or by its content where inodes change with the name."""
        if not stat.S_ISREG(status.st_mode):
            return False
        return (status.st_dev, status.st_ino) == part.inode or digest_at(name, folder) == part.digest

    def _link(self, part: PartFile, name: str, parts: int, folder: int) -> bool:
        """Give a part its name, and return whether the file there is a copy.

        Raises FileExistsError if the name is taken.
        """
        try:
            self._filesystem.link(part.name, name, parts, folder)
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._filesystem.niceties.note(Nicety.LINK, error)
        try:
            self._filesystem.rename(part.name, name, parts, folder)
            return False
        except FileExistsError:
            raise
        except OSError as error:
            elsewhere = error.errno == errno.EXDEV
            if not elsewhere:
                self._filesystem.niceties.note(Nicety.RENAME, error)
        return self._take(part, name, parts, folder, elsewhere)

    def _take(self, part: PartFile, name: str, parts: int, folder: int, elsewhere: bool) -> bool:
        """Keep the name with an empty file, and put the whole one in its place: it is never half there."""
        whole = part.name
        if elsewhere:
            whole, source, parts = f".{part.name}", parts, folder
            with contextlib.suppress(FileNotFoundError):  # of a process that ended here
                os.unlink(whole, dir_fd=folder)
            copy(self._filesystem, part.name, whole, source, folder)
        try:
            os.close(os.open(name, NEW, 0o600, dir_fd=folder))
            try:
                os.rename(whole, name, src_dir_fd=parts, dst_dir_fd=folder)
            except BaseException:
                os.unlink(name, dir_fd=folder)
                raise
        except BaseException:
            if elsewhere:
                os.unlink(whole, dir_fd=folder)
            raise
        return elsewhere

    def _child(self, parent: int, path: tuple[str, ...]) -> int:
        name = self._made.get(path)
        if name is not None:
            with contextlib.suppress(FileNotFoundError):  # somebody took it away meanwhile
                return os.open(name, FOLDER, dir_fd=parent)
        self.touched.add(path[:-1])
        wanted = disk_name(safe_file_name(path[-1], "folder"))
        name = self._made[path] = self._make_folder(parent, path[:-1], wanted)
        return os.open(name, FOLDER, dir_fd=parent)

    def _make_folder(self, parent: int, path: tuple[str, ...], wanted: SafeName) -> str:
        for name in self._free_names(path, wanted):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=parent)
                fd = os.open(name, FOLDER, dir_fd=parent)
                try:
                    self._filesystem.share_folder(fd)
                finally:
                    os.close(fd)
                return name
        raise LocalError(messages.UNWRITABLE, "there are too many folders of that name already")

    def _free_names(self, path: tuple[str, ...], name: SafeName) -> Iterator[str]:
        """Yield names in an offered folder for ``name``, of which none is tried twice in one transfer."""
        key = path, name
        for candidate in _numbered(name, self._taken[key] + 1):
            yield candidate  # whoever asks for another found it taken
            self._taken[key] += 1
        stem, extension = os.path.splitext(name)
        for _ in range(RANDOM_TRIES):
            yield f"{stem} ({self._filesystem.random(4).hex()}){extension}"


def _is_empty_folder(parent: int, name: SafeName) -> bool:
    try:
        fd = os.open(name, FOLDER, dir_fd=parent)
    except OSError:
        return False
    try:
        return not os.listdir(fd)
    finally:
        os.close(fd)


def _name_of(inode: tuple[int, int], folder: int) -> str | None:
    """Return the name that a file with this inode has in a folder whose numbers are all taken: a random one.

    None without one.
    """
    with os.scandir(folder) as found:
        named = (entry for entry in found if entry.inode() == inode[1])
        return next((entry.name for entry in named if entry.stat(follow_symlinks=False).st_dev == inode[0]), None)


def _numbered(name: SafeName, first: int = 1) -> Iterator[str]:
    stem, extension = os.path.splitext(name)
    for number in range(first, NUMBERS + 1):
        yield f"{stem} ({number}){extension}" if number > 1 else name
