"""The facts of the info column as a page, where the window has no room for the column."""

from __future__ import annotations

from collections.abc import Callable

import urwid

from chatnet.console.overlays.page import Page
from chatnet.console.panes.base import PaneContext
from chatnet.console.widgets.base import Block


class InfoPage(Page):
    """What ``about`` gives, as it is now; F6 and Esc close it."""

    def __init__(self, scene: PaneContext, about: Callable[[], Block], close: Callable[[], None]) -> None:
        super().__init__("What is known", (), scene.signs, close)
        self._about = about
        self._rows: Block = about()

    def count(self) -> int:
        return len(self._rows)

    def block(self, index: int) -> Block:
        return [self._rows[index]]

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        self._rows = self._about()
        return super().draw(cols, rows, focus)

    def key(self, key: str) -> str | None:
        return super().key("esc" if key in ("f6", "meta i") else key)
