"""A page over the pane that is read and closed: lines with a QR code, or a long text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import segno
import urwid

from chatnet.console.widgets.base import Block, Scroller
from chatnet.console.widgets.text import Markup, Row, line, stack, wrapped
from chatnet.console.widgets.theme import UNICODE, Signs
from chatnet.core.text import SafeText

QR_BORDER = 2  # modules of quiet zone; more than that is in the dark around it
_HALVES = {(0, 0): " ", (1, 0): "▀", (0, 1): "▄", (1, 1): "█"}


def qr_rows(text: str) -> list[str]:
    """Return a QR code in half blocks, each character with two modules above each other.

    Dark is drawn, light is blank.
    """
    code = segno.make(text, error="l", micro=False)
    modules = [list(row) for row in code.matrix_iter(border=QR_BORDER)]
    if len(modules) % 2:
        modules.append([0] * len(modules[0]))
    pairs = zip(modules[::2], modules[1::2], strict=True)
    return ["".join(_HALVES[top & 1, bottom & 1] for top, bottom in zip(*pair, strict=True)) for pair in pairs]


class Page(Scroller):
    """``lines`` are rows; ``qr``, if not empty, is drawn as a QR code.

    It stands below them where the window has room for all.  Where it has room for the code alone, without the title
    too, Enter shows that, and the lines again.
    """

    keys: Sequence[tuple[str, str]] = ()  # what can be done here besides reading: stroke and word, for the footer

    def __init__(
        self, title: str, lines: Sequence[Markup], signs: Signs, close: Callable[[], None], qr: str = ""
    ) -> None:
        super().__init__()
        self._title = title
        self._lines = lines
        self._close = close
        self._qr = qr_rows(qr) if qr and signs is UNICODE else []
        self._qr_alone = False  # it is shown, in place of all else
        self._room = 0  # rows, as drawn last
        self._to_start = True

    @property
    def enter_shows(self) -> str:
        """What Enter shows instead, "QR code" or "text"; empty where it closes the page."""
        if not self._has_room_for_qr() or self._has_room_for_all():
            return ""
        return "text" if self._qr_alone else "QR code"

    def _has_room_for_qr(self) -> bool:
        return bool(self._qr) and len(self._qr[0]) + 1 <= self.size[0] and len(self._qr) <= self._room

    def _has_room_for_all(self) -> bool:
        height = 1 + sum(Row("", 1, text).canvas(self.size[0]).rows() for text in self._lines)
        return self._has_room_for_qr() and height + len(self._qr) <= self._room

    def count(self) -> int:
        return len(self._lines) + bool(self._qr)

    def block(self, index: int) -> Block:
        if index < len(self._lines):
            return [Row("", 1, self._lines[index])]
        if self._has_room_for_all():
            return self._code()
        if self._has_room_for_qr():
            return [Row("", 1, [("key", "Enter"), ("text", " shows the same as a QR code")])]
        needed = f"{len(self._qr[0]) + 1}×{len(self._qr) + 2}"
        return [Row("", 1, ("text.soft", f"(a window of {needed} has room for a QR code)"))]

    def _code(self) -> Block:
        return [Row(" ", 1, ("qr", row)) for row in self._qr]

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        self.size, self._room = (cols, max(1, rows - 1)), rows
        self._qr_alone = self._qr_alone and bool(self.enter_shows)
        if self._qr_alone:
            return stack([row.canvas(cols) for row in self._code()], cols, rows)
        self.count()
        if self._to_start:
            self._from_top(*self.size)
            self._to_start = False
        head = line([("group", f" {self._title}"), ("text.soft", "   Esc closes")], cols)
        return urwid.CanvasCombine([(head, None, False), (super().draw(*self.size, focus), None, False)])

    def key(self, key: str) -> str | None:
        height = max(1, self.size[1] - 1)
        steps = {"up": -1, "down": 1, "page up": -height, "page down": height}
        if key in steps:
            self.scroll(steps[key])
        elif key == "home":
            self._to_start = True
            self.changed()
        elif key == "end":
            self.to_end()
        elif key == "enter" and self.enter_shows:
            self._qr_alone = not self._qr_alone
            self._to_start = True
            self.changed()
        elif key in ("esc", "enter"):
            self._close()
        else:
            return key
        return None


class TextPage(Page):
    """A text of any length: where its rows begin is looked for once, and a row is made when it comes into view."""

    def __init__(self, title: str, text: SafeText, signs: Signs, close: Callable[[], None]) -> None:
        super().__init__(title, (), signs, close)
        self._text = text
        self._wrapped: tuple[int, list[tuple[int, int]]] = (0, [])

    def count(self) -> int:
        return len(self._rows())

    def block(self, index: int) -> Block:
        start, end = self._rows()[index]
        return [Row("", 1, ("text", self._text[start:end]))]

    def _rows(self) -> list[tuple[int, int]]:
        cols = max(2, min(Row.TEXT_COLS, self.size[0] - 1))
        if self._wrapped[0] != cols:
            self._wrapped = cols, [*wrapped(self._text, cols)]
            self._to_start = True
        return self._wrapped[1]
