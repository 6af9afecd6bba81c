"""The names of an offer as people look at them before they answer it."""

from __future__ import annotations

from collections.abc import Sequence

from chatnet.core.events import OfferedName
from chatnet.core.limits import SHOWN_PATH_CHARS
from chatnet.core.text import SafeText, gets_other_name, safe_line
from chatnet.core.transfer.offers import FolderCount, clean_folder, clean_path
from chatnet.peer.store.transfers import OfferedRow


def shown_names(rows: Sequence[OfferedRow], outgoing: bool) -> tuple[OfferedName, ...]:
    """Return files and empty folders for the screen; those that come in with the names that they get here."""
    return tuple(_shown(row, outgoing) for row in rows)


def _shown(row: OfferedRow, outgoing: bool) -> OfferedName:
    offered = safe_line("/".join(row.path), SHOWN_PATH_CHARS)
    if outgoing or not any(map(gets_other_name, row.path)):
        return OfferedName(offered, SafeText(""), row.size, row.is_folder)
    saved = clean_folder(row.path) if row.is_folder else clean_path(row.path)
    return OfferedName(safe_line("/".join(saved), SHOWN_PATH_CHARS), offered, row.size, row.is_folder)


def first_renamed(rows: Sequence[OfferedRow], above: Sequence[str]) -> int | None:
    """Return the index of the first row with a name that changes and that the path before it did not have; or None.

    ``above`` is the path before the first row.
    """
    folders = FolderCount()
    folders.add(above)
    for index, row in enumerate(rows):
        new = [row.path[depth - 1] for depth in folders.add(row.path)]
        if any(map(gets_other_name, (*new, row.path[-1]))):
            return index
    return None
