"""A text that is sent as a file, since it is too long for a message.

The file stays for as long as somebody may want to have it again.
"""

from __future__ import annotations

import contextlib
import os

from chatnet.core import messages
from chatnet.core.errors import LocalError, system_reason
from chatnet.core.text import safe_file_name, shown_path
from chatnet.peer.files.filesystem import NEW, disk_name, write_all


def write_text(folder: bytes, name: str, text: str) -> bytes:
    """Write ``text`` into the new file ``name`` in ``folder``, and return the file's path.

    The folder is made if it is not there.  Only the owner may read either.  Waits for the disk.  Raises
    LocalError("unwritable").
    """
    path = os.path.join(folder, os.fsencode(disk_name(safe_file_name(name, "message.txt"))))
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        fd = os.open(path, NEW, 0o600)
        try:
            write_all(fd, text.encode("utf-8", "replace"))
        except BaseException:
            os.unlink(path)
            raise
        finally:
            os.close(fd)
    except OSError as error:
        reason = system_reason(error)
        raise LocalError(messages.UNWRITABLE, f"{shown_path(path)} cannot be written ({reason})") from error
    return path
