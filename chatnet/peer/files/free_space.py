"""Whether a file system has room for what comes, beside the reserve that stays free for everybody else."""

from __future__ import annotations

from chatnet.core.errors import NoSpace
from chatnet.core.text import shown_path
from chatnet.core.transfer.offers import size_text
from chatnet.peer.files.filesystem import Filesystem
from chatnet.peer.files.niceties import Nicety

ENOUGH = 2**63 - 1  # bytes, where nobody knows how much is free


def free_bytes(filesystem: Filesystem, folder: int) -> int:
    """Return what a transfer may take below ``folder``, an open descriptor; negative when others took of the reserve.

    A file system that does not know its free space has enough.
    """
    try:
        space = filesystem.space(folder)
    except OSError as error:
        filesystem.niceties.note(Nicety.FREE_SPACE, error)
        return ENOUGH
    return space.f_bavail * space.f_frsize - filesystem.reserve_bytes


def check_space(filesystem: Filesystem, folder: int, path: bytes, size: int) -> None:
    """Look whether ``size`` more bytes fit below ``folder``, an open descriptor; ``path`` names it in words.

    Waits for the disk.  Raises NoSpace with what is needed, what stays free and what is free.
    """
    free, reserve = free_bytes(filesystem, folder), filesystem.reserve_bytes
    if free < size:
        kept = f" beside the {size_text(reserve)} that stay free" if reserve else ""
        where = shown_path(path, 200)
        raise NoSpace(f"needs {size_text(size)}{kept}; {size_text(max(0, free + reserve))} free in {where}", size)
