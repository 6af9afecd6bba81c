"""Checks whether a file system has room for a transfer, beside the reserve and what other transfers may still write.

All downloads of a peer share one ``SpaceAccount``: each notes what it may still write, so that several
together never take more than one of them could.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from chatnet.core.errors import NoSpace
from chatnet.core.limits import DISK_BLOCK_BYTES, FREE_INODES, SPACE_LOOK_BYTES
from chatnet.core.text import shown_path
from chatnet.core.transfer.offers import size_text
from chatnet.peer.files.niceties import Nicety

if TYPE_CHECKING:
    from chatnet.peer.files.filesystem import Filesystem

ENOUGH = 2**63 - 1  # where nobody knows how much is free


class Room(NamedTuple):
    """Bytes, and inodes: one for each file and folder."""

    bytes: int
    inodes: int


def free_room(filesystem: Filesystem, folder: int) -> Room:
    """Return the room for a transfer below ``folder``, an open descriptor; negative when others took of the reserve.

    A file system that does not know its free space, or makes inodes as they are needed, has enough.
    """
    try:
        space = filesystem.space(folder)
    except OSError as error:
        filesystem.niceties.note(Nicety.FREE_SPACE, error)
        return Room(ENOUGH, ENOUGH)
    free = space.f_bavail * space.f_frsize - filesystem.reserve_bytes
    return Room(free, space.f_favail - FREE_INODES if space.f_files else ENOUGH)


def has_space(filesystem: Filesystem, folder: int, lacking: NoSpace | None) -> bool:
    """Whether there is room now for what a download lacked; if that is not known, whether there is any."""
    free, others = free_room(filesystem, folder), filesystem.account.promised(os.fstat(folder).st_dev)
    needed = Room(lacking.needed, lacking.inodes) if lacking is not None else Room(0, 0)
    return free.bytes - others.bytes >= needed.bytes and free.inodes - others.inodes >= needed.inodes


class SpaceAccount:
    """What the downloads that are open may still write, by file system.

    For any thread; who notes something that depends on what others noted holds ``lock``.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self._shares: dict[SpaceShare, tuple[int, Room]] = {}

    def promised(self, device: int, but: SpaceShare | None = None) -> Room:
        """Return the sum on one file system, without the share ``but``."""
        rooms = [room for share, (where, room) in tuple(self._shares.items()) if where == device and share is not but]
        return Room(sum(room.bytes for room in rooms), sum(room.inodes for room in rooms))

    def note(self, share: SpaceShare, device: int, room: Room) -> None:
        """Note what one download may still write."""
        self._shares[share] = device, room

    def close(self, share: SpaceShare) -> None:
        """Remove a share that writes no more."""
        self._shares.pop(share, None)


class SpaceShare:
    """What one download may still write below ``folder``, an open descriptor; ``path`` names it in words.

    ``made`` says how many of its folders are there already.  For any thread.
    """

    def __init__(self, filesystem: Filesystem, folder: int, path: bytes, made: Callable[[], int]) -> None:
        self._filesystem = filesystem
        self._account = filesystem.account
        self._folder = folder
        self._path = path
        self._made = made
        self._device = os.fstat(folder).st_dev
        self._due: dict[int, int] = {}  # by file: bytes that are not on the disk yet
        self._sum = 0
        self._folders = 0
        self._unlooked = 0  # bytes of small files since the last look

    def promise(self, due: Mapping[int, int], folders: int) -> None:
        """Promise so many bytes of each file, in ``folders`` folders.  Raises NoSpace as ``look`` does."""
        self._due, self._folders = dict(due), folders
        self._sum = sum(due.values())
        self.look()

    def look(self) -> None:
        """Look whether everything fits that is to come, beside the other downloads; waits for the disk.

        Raises NoSpace with what is needed, what stays free and what is free.
        """
        with self._account.lock:  # of two that look at once one is told
            self._unlooked = 0
            free = free_room(self._filesystem, self._folder)
            others, mine = self._account.promised(self._device, self), self._room()
            if mine.bytes <= free.bytes - others.bytes and mine.inodes <= free.inodes - others.inodes:
                self._account.note(self, self._device, mine)
                return
        raise self._lacking(mine, free, others)

    def taken(self, index: int, count: int, look: bool = True) -> None:
        """Note that ``count`` more bytes of a file are about to be on the disk.

        Raises NoSpace as ``look`` does, which is called before every few MiB unless ``look`` is False.
        """
        count = min(count, self._due.get(index, 0))
        if not count:
            return
        self._unlooked += count
        if look and self._unlooked >= SPACE_LOOK_BYTES:
            self.look()
        with self._account.lock:
            self._due[index] -= count
            self._sum -= count
            self._account.note(self, self._device, self._room())

    def settled(self, index: int) -> None:
        """Give back what was promised for this file: nothing more comes of it."""
        with self._account.lock:
            self._sum -= self._due.pop(index, 0)
            self._account.note(self, self._device, self._room())

    def close(self) -> None:
        """Give the share back, because the download is closed."""
        self._account.close(self)

    def _room(self) -> Room:
        inodes = len(self._due) + max(0, self._folders - self._made())
        return Room(self._sum + DISK_BLOCK_BYTES * inodes, inodes)

    def _lacking(self, mine: Room, free: Room, others: Room) -> NoSpace:
        where = shown_path(self._path, 200)
        if mine.bytes <= free.bytes - others.bytes:
            left = max(0, free.inodes - others.inodes)
            text = f"needs room for {mine.inodes:,} files and folders; the disk has room for {left:,} more"
            return NoSpace(f"{text} in {where}", mine.bytes, mine.inodes, few_inodes=True)
        reserve = self._filesystem.reserve_bytes
        kept = [f"the {size_text(reserve)} that stay free"] if reserve else []
        kept += [f"{size_text(others.bytes)} of other transfers"] if others.bytes else []
        beside = f" beside {' and '.join(kept)}" if kept else ""
        shown = size_text(max(0, free.bytes + reserve))
        return NoSpace(f"needs {size_text(mine.bytes)}{beside}; {shown} free in {where}", mine.bytes, mine.inodes)
