"""What an offer holds, to be looked at before it is answered: a list of any length, of which some pages are here."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

import urwid

from chatnet.console.panes.base import PaneContext
from chatnet.console.widgets.base import Box, LazyList
from chatnet.console.widgets.text import Markup, cut, cut_inside, line, stack, width
from chatnet.console.widgets.wording import size_text
from chatnet.core.events import OfferedName, OfferedNames, Transfer
from chatnet.core.limits import NAMES_PAGES_KEPT, OFFERED_NAMES_PAGE
from chatnet.core.text import quoted, safe_line

_ABOUT_ROWS = {20: 6, 8: 3, 0: 0}  # rows about the name that is chosen, by the rows that the page has at least


class ContentsSource(Protocol):
    """Who asks the peer for the names."""

    def load_contents(self, view: ContentsView, page: int) -> None:
        """Bring page number ``page`` to ``ContentsView.put``; ``ContentsView.failed`` if it cannot be had."""

    def find_renamed(self, view: ContentsView, start: int) -> None:
        """Choose the next name from number ``start`` on that changes, or else the first that does."""

    def close_contents(self) -> None:
        """Put the page away."""


class _Rows(LazyList):
    def __init__(self, view: ContentsView) -> None:
        super().__init__()
        self._view = view

    def count(self) -> int:
        return self._view.total

    def markup(self, index: int, cols: int) -> Markup:
        return self._view.row(index, cols)


class ContentsView(Box):
    """The files of ``transfer`` and behind them its empty folders; only pages that were in view are loaded."""

    def __init__(self, transfer: Transfer, scene: PaneContext, source: ContentsSource) -> None:
        super().__init__()
        self.transfer = transfer
        self.total = transfer.total_files + transfer.details.empty_folders
        self._scene, self._source = scene, source
        self._pages: OrderedDict[int, tuple[OfferedName, ...]] = OrderedDict()
        self._asked: set[int] = set()  # pages that are on their way, or did not come
        self._failed: set[int] = set()  # of these the ones that did not come
        self._lacking: set[int] = set()  # pages that the drawing under way has missed
        self._rows = _Rows(self)

    # --- the names -----------------------------------------------------------------------------

    def put(self, page: int, found: OfferedNames) -> None:
        """Store a page of names that has come, and draw the list again."""
        self._pages[page] = found.names
        self._asked.discard(page)
        if len(self._pages) > NAMES_PAGES_KEPT:
            self._pages.popitem(last=False)
        self.total = found.total
        self.changed()

    def failed(self, page: int) -> None:
        """Note that a page cannot be had now; the next key asks for it again."""
        self._failed.add(page)

    def choose(self, number: int) -> None:
        """Bring a name into view."""
        self._rows.select(number)
        self.changed()

    def is_all_in_view(self) -> bool:
        return self.total <= self._list_size()[1]

    def changed(self) -> None:
        self._rows.changed()
        super().changed()

    def name(self, number: int) -> OfferedName | None:
        """Return the name with this number.

        While its page is not here, return None and note that the page is needed.
        """
        page, index = divmod(number, OFFERED_NAMES_PAGE)
        names = self._pages.get(page)
        if names is None:
            self._lacking.add(page)
            return None
        self._pages.move_to_end(page)
        return names[index] if index < len(names) else None

    # --- drawing -------------------------------------------------------------------------------

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        canvas = self._drawn(cols, rows)
        lacking = self._lacking - self._asked
        self._asked |= lacking
        for page in sorted(lacking):
            self._source.load_contents(self, page)
        return canvas if lacking <= self._asked else self._drawn(cols, rows)  # some may have come at once

    def _drawn(self, cols: int, rows: int) -> urwid.Canvas:
        self._lacking.clear()
        about_rows = _about_rows(rows)
        place = f"{min(self._rows.selected + 1, self.total):,} of {self.total:,} "
        title = quoted(cut(safe_line(self.transfer.title), max(8, cols - width(place) - 8), self._scene.signs))
        head = line([("group", f" {title}  "), ("text.soft", place)], cols)
        self._rows.changed()
        parts = [head, self._rows.render((cols, max(1, rows - 1 - about_rows)), True)]
        if about_rows:
            parts.append(self._about(cols, about_rows))
        return stack(parts, cols, rows)

    def row(self, number: int, cols: int) -> Markup:
        """Return the row of a name: its size, mark and path."""
        name, signs = self.name(number), self._scene.signs
        if name is None:
            return ("text.soft", f" {signs.ellipsis:>9}")
        size = "folder" if name.is_folder else size_text(name.size)
        sign = signs.alarm if name.original else " "
        start = f" {size:>9} {sign} "
        path = name.path + ("/" if name.is_folder else "")
        return [("time", start), ("state.wait" if name.original else "text", cut(path, cols - width(start), signs))]

    def _about(self, cols: int, rows: int) -> urwid.Canvas:
        """Draw the whole of the chosen name, and how the sender calls it if that is different."""
        name = self.name(self._rows.selected)
        if name is None:
            return stack([], cols, rows)
        if not name.original:
            return stack(self._whole("", name.path, "text", cols, rows), cols, rows)
        half = rows // 2
        offered = self._whole("offered as ", name.original, "text", cols, half)
        saved = self._whole("saved as   ", name.path, "state.wait", cols, half)
        return stack(offered + saved, cols, rows)

    def _whole(self, what: str, path: str, look: str, cols: int, rows: int) -> list[urwid.Canvas]:
        """Draw a path in at most ``rows`` full rows; blanks in it do not break it."""
        room = max(1, cols - len(what) - 2)
        rest = cut_inside(path, room * rows, self._scene.signs)
        lines: list[urwid.Canvas] = []
        while rest and len(lines) < rows:
            end, _ = urwid.calc_text_pos(rest, 0, len(rest), room)
            lines.append(line([("text.soft", f" {what}"), (look, rest[:end])], cols))
            what, rest = " " * len(what), rest[end:]
        return lines

    # --- keys and mouse ------------------------------------------------------------------------

    def key(self, key: str) -> str | None:
        self._asked -= self._failed
        self._failed.clear()
        self.changed()
        if key in ("esc", "enter"):
            self._source.close_contents()
        elif key == "c":
            self._source.find_renamed(self, self._rows.selected + 1)
        else:
            return self._rows.keypress(self._list_size(), key)
        return None

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if event == "mouse press" and button in (4, 5):
            self.choose(self._rows.selected + (-3 if button == 4 else 3))
            return True
        handled = row > 0 and self._rows.mouse_event(self._list_size(), event, button, col, row - 1, True)
        self.changed()
        return handled

    def _list_size(self) -> tuple[int, int]:
        cols, rows = self.size
        return cols, max(1, rows - 1 - _about_rows(rows))


def _about_rows(rows: int) -> int:
    return next(about for least, about in _ABOUT_ROWS.items() if rows >= least)
