"""One setting that is chosen while a program runs, kept in a small file until the next start."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from chatnet.core.limits import KEPT_CHOICE_BYTES
from chatnet.host.private_files import make_private_directories, make_private_file


class KeptChoice:
    """The word in ``file``, which need not exist."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def get(self) -> str:
        """Return the choice; empty when there is none, or when the file is not one that ``put`` has written."""
        try:
            with open(self._file, "rb", opener=_open_at_once) as file:
                is_ours = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                return file.read(KEPT_CHOICE_BYTES).decode("ascii", "replace").strip() if is_ours else ""
        except OSError:
            return ""

    def put(self, choice: str) -> None:
        """Keep ``choice`` in place of the one before, or with an empty one forget that.  Raises OSError."""
        if not choice:
            self._file.unlink(missing_ok=True)
            return
        new = self._file.with_name(f"{self._file.name}.{os.getpid()}")
        make_private_directories(self._file.parent)
        make_private_file(new)
        try:
            new.write_text(f"{choice}\n", encoding="ascii")
            os.replace(new, self._file)
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting, whatever has the name: a pipe would wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
