"""Part files, which hold the received bytes of a file until it gets its name.  Their names are of our own making.

Every function may wait for the disk, and raises OSError where nothing else is said.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Collection
from dataclasses import dataclass

from blake3 import blake3

from chatnet.core import messages
from chatnet.core.errors import LocalError
from chatnet.core.messages import OfferedFile
from chatnet.peer.files.filesystem import AGAIN, FOLDER, NEW, DownloadTarget, Filesystem, is_own_file, opened_folder
from chatnet.peer.files.source import HASH_BYTES

PARTIAL = ".partial"
PART_NAME = re.compile(r"[0-9a-f]{32}\.part")
PART_DAYS = 30  # the parts of what is under way are known; these were left by a lost database
STEM_BYTES = 8  # of our own randomness, in the names of one transfer's parts


@dataclass
class PartFile:
    """A file that is on its way in; ``fd`` is -1 while it is closed."""

    index: int
    file: OfferedFile
    name: str
    fd: int
    inode: tuple[int, int]
    written: int = 0
    synced: int = 0
    digest: bytes = b""
    sent_on: tuple[int, int] = (0, 0)  # where the last window that is on its way to the disk begins and ends

    def write_back(self, window: int, filesystem: Filesystem) -> None:
        """Send what was written on its way to the disk, once it is a ``window``; waits for the window before."""
        before, start = self.sent_on
        if self.written - start >= window:
            filesystem.write_back(self.fd, start, self.written, before)
            self.sent_on = (start, self.written)


class PartFiles:
    """Those of one transfer, in the folder ``.partial`` of ``parent``."""

    def __init__(self, parent: int, stem: str) -> None:
        self.folder = opened_folder(parent, PARTIAL)
        self._stem = stem

    def close(self) -> None:
        os.close(self.folder)

    def name_of(self, index: int) -> str:
        return f"{self._stem}{index:016x}.part"

    def names(self) -> set[str]:
        return {name for name in os.listdir(self.folder) if name.startswith(self._stem)}

    def new(self, index: int, file: OfferedFile) -> PartFile:
        name = self.name_of(index)
        try:
            fd = os.open(name, NEW, 0o600, dir_fd=self.folder)
        except FileExistsError:  # of a process before this one, from before its first mark
            os.unlink(name, dir_fd=self.folder)
            fd = os.open(name, NEW, 0o600, dir_fd=self.folder)
        status = os.fstat(fd)
        return PartFile(index, file, name, fd, (status.st_dev, status.st_ino))

    def can_go_on(self, index: int, count: int) -> bool:
        """Whether there is a part with so much that can be written on: nobody else's name for another file."""
        status = os.stat(self.name_of(index), dir_fd=self.folder, follow_symlinks=False)
        return is_own_file(status) and status.st_size >= count

    def held_bytes(self, index: int, size: int) -> int:
        """Return how much of ``size`` bytes the disk has given to this part already; nothing when there is none."""
        try:
            status = os.stat(self.name_of(index), dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return 0
        return min(size, status.st_blocks * 512)

    def reopened(self, index: int, file: OfferedFile, offset: int) -> tuple[PartFile, blake3]:
        """Open the part of before again, and return it, hashed up to what is certain.

        What lies behind is written over; it is not cut, since others could take the space.
        """
        name, digest = self.name_of(index), blake3()
        fd = os.open(name, AGAIN, dir_fd=self.folder)
        try:
            status = os.fstat(fd)
            if not is_own_file(status):
                raise LocalError(messages.UNWRITABLE, "somebody exchanged the part file")
            if status.st_size > file.size:
                os.ftruncate(fd, file.size)
            left = offset
            while left and (data := os.read(fd, min(HASH_BYTES, left))):
                digest.update(data)
                left -= len(data)
        except BaseException:
            os.close(fd)
            raise
        return PartFile(
            index, file, name, fd, (status.st_dev, status.st_ino), offset, offset, sent_on=(offset, offset)
        ), digest

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.folder)

    def remove_all(self) -> None:
        _remove_all(self.folder, self._stem)


def parts_of(place: DownloadTarget, target: int, stem: str) -> PartFiles:
    """Return where the parts of a transfer lie whose files get their names in the open folder ``target``.

    That is the usual download folder, unless it lies on another file system, from which a part could not be linked,
    or cannot be written at all, which a folder that the user chose has not to wait for.
    """
    try:
        return _usual_parts(place, target, stem) or PartFiles(target, stem)
    except OSError:
        if not place.directory:
            raise
        return PartFiles(target, stem)


def _usual_parts(place: DownloadTarget, target: int, stem: str) -> PartFiles | None:
    home = os.open(os.path.realpath(place.downloads), FOLDER)
    try:
        if os.fstat(home).st_dev != os.fstat(target).st_dev:
            return None
        if place.directory and not os.access(PARTIAL, os.W_OK | os.X_OK, dir_fd=home):
            os.close(opened_folder(home, PARTIAL))  # made if it is not there; else it cannot be written
            if not os.access(PARTIAL, os.W_OK | os.X_OK, dir_fd=home):
                return None
        return PartFiles(home, stem)
    finally:
        os.close(home)


def remove_parts(place: DownloadTarget) -> None:
    """Remove the parts of a transfer that has ended, wherever they lie."""
    if not place.stem:
        return
    for parent in (place.downloads, place.directory):
        with contextlib.suppress(OSError):
            if parent:
                folder = _parts_below(os.path.realpath(parent))
                try:
                    _remove_all(folder, place.stem)
                finally:
                    os.close(folder)


def remove_orphans(downloads: bytes, keep: Collection[str] = (), now: float | None = None) -> int:
    """Remove parts that nobody wrote to for a month, but those with the stems ``keep``, and return how many."""
    before = (time.time() if now is None else now) - PART_DAYS * 86_400
    removed = 0
    try:
        folder = _parts_below(os.path.realpath(downloads))
    except OSError:
        return 0
    try:
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                known = not PART_NAME.fullmatch(name) or name[: 2 * STEM_BYTES] in keep
                if not known and stat.S_ISREG(status.st_mode) and status.st_mtime < before:
                    os.unlink(name, dir_fd=folder)
                    removed += 1
    finally:
        os.close(folder)
    return removed


def _parts_below(parent: bytes) -> int:
    root = os.open(parent, FOLDER)
    try:
        return os.open(PARTIAL, FOLDER, dir_fd=root)
    finally:
        os.close(root)


def _remove_all(folder: int, stem: str) -> None:
    for name in os.listdir(folder):
        if name.startswith(stem):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=folder)
