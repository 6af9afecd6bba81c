"""Whether a file system has room for what comes, beside the reserve that stays free for everybody else."""

from __future__ import annotations

from chatnet.core import messages
from chatnet.core.errors import LocalError
from chatnet.core.text import shown_path
from chatnet.core.transfer.offers import size_text
from chatnet.peer.files.filesystem import Filesystem
from chatnet.peer.files.niceties import Nicety


def check_space(filesystem: Filesystem, folder: int, path: bytes, size: int) -> None:
    """Look whether ``size`` more bytes fit below ``folder``, an open descriptor; ``path`` names it in words.

    Waits for the disk.  Raises LocalError("no-space") with what is needed, what is free,
    and what of that stays free for others.  A file system that does not know its free space has enough.
    """
    try:
        space = filesystem.space(folder)
    except OSError as error:
        filesystem.niceties.note(Nicety.FREE_SPACE, error)
        return
    free, reserve = space.f_bavail * space.f_frsize, filesystem.reserve_bytes
    if free - reserve < size:
        kept = f" beside the {size_text(reserve)} that stay free" if reserve else ""
        where = shown_path(path, 200)
        raise LocalError(messages.NO_SPACE, f"needs {size_text(size)}{kept}; {size_text(free)} free in {where}")
