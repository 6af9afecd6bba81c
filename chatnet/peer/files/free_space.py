"""Whether a file system has room for what comes, beside the reserve that stays free for everybody else."""

from __future__ import annotations

from chatnet.core import messages
from chatnet.core.errors import LocalError
from chatnet.core.text import shown_path
from chatnet.core.transfer.offers import size_text
from chatnet.peer.files.filesystem import Filesystem


def check_space(filesystem: Filesystem, folder: int, path: bytes, size: int) -> None:
    """Look whether ``size`` more bytes fit below ``folder``, an open descriptor; ``path`` names it in words.

    Waits for the disk.  Raises LocalError("no-space") with what is needed and what is free.
    """
    space = filesystem.space(folder)
    free = space.f_bavail * space.f_frsize - filesystem.reserve_bytes
    if free < size:
        where = shown_path(path, 200)
        raise LocalError(messages.NO_SPACE, f"needs {size_text(size)}, {size_text(max(0, free))} free in {where}")
