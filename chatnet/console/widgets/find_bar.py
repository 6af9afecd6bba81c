"""The row in which F3 asks what to find."""

from __future__ import annotations

from typing import Any

import urwid

from chatnet.console.widgets.input import readline_keys
from chatnet.console.widgets.text import beside, line, width
from chatnet.console.widgets.theme import Signs
from chatnet.core.identity import ChatID

_PROMPT = " find> "


class _Editor(urwid.Edit):
    _command_map = readline_keys()  # one key empties it, whatever was pasted


class FindBar(urwid.Widget):
    """Takes the place of the input; remembers what was found, the newest first."""

    no_cache = ("render",)  # what it shows is told to it, not to urwid
    _sizing = frozenset([urwid.Sizing.FLOW])
    _selectable = True

    def __init__(self, chat: ChatID, signs: Signs) -> None:
        super().__init__()
        self.chat = chat
        self.asked = ""  # the text that was looked for
        self.found: list[int] = []  # rows
        self.before_n: int | None = None  # where to look on; None: that was all
        self.at = -1
        self.searching = False
        self._signs = signs
        self._editor = _Editor(wrap="clip")

    @property
    def text(self) -> str:
        return str(self._editor.edit_text)

    def begin(self) -> None:
        """Look for what stands here now."""
        self.asked, self.found, self.before_n, self.at = self.text, [], None, -1

    def insert(self, text: str) -> None:
        self._editor.insert_text(" ".join(text.split()))
        self._invalidate()

    def keypress(self, size: Any, key: str) -> str | None:
        self._invalidate()
        result: str | None = self._editor.keypress((max(1, size[0] - len(_PROMPT)),), key)
        return result

    def mouse_event(self, size: Any, event: str, button: int, col: int, row: int, focus: bool) -> bool:
        return True

    def rows(self, size: Any, focus: bool = False) -> int:
        return 1

    def render(self, size: Any, focus: bool = False) -> Any:
        (cols,) = size
        facts = self._facts()
        room = max(1, cols - len(_PROMPT) - width(facts))
        editor = self._editor.render((room,), focus)
        parts: list[tuple[urwid.Canvas, int]] = [
            (line(("prompt", _PROMPT), len(_PROMPT)), len(_PROMPT)),
            (editor, room),
        ]
        if facts:
            parts.append((line(("text.soft", facts), width(facts)), width(facts)))
        return beside(parts)

    def _facts(self) -> str:
        if self.searching:
            return f" looking{self._signs.ellipsis} "
        if self.asked != self.text or not self.asked:
            return ""
        if not self.found:
            return " nothing found "
        more = "+" if self.before_n is not None else ""
        return f" {self.at + 1} of {len(self.found)}{more} " if self.at >= 0 else f" {len(self.found)}{more} found "
