"""The sheet with the digits that two people compare; it says so when they are no longer the right ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec
import urwid

from chatnet.console.overlays.page import Page
from chatnet.console.panes.base import PaneContext
from chatnet.console.shown import Place, Subject
from chatnet.console.widgets.base import Block
from chatnet.console.widgets.text import Markup, Row, Rule
from chatnet.core.events import SafetyNumber

GROUPS_A_LINE = 4


class Comparing(Protocol):
    """What can be done about the digits of the person with the key ``peer``."""

    def number_is_same(self, peer: bytes) -> None:
        """Called when the digits are the same on both screens."""

    def compare_by_code(self, peer: bytes) -> None:
        """Called to compare six digits instead."""

    def compare_again(self, peer: bytes) -> None:
        """Called when other digits are the right ones now."""


class SafetyNumberSheet(Page):
    """``number`` is what is compared, ``me`` our name.

    It watches the person: when another key has come for the name, or another name for the key, it says so, strikes
    the digits, and stays like that.  What it offers is done by a key, or by a click on its row.
    """

    def __init__(
        self, scene: PaneContext, number: SafetyNumber, me: str, comparing: Comparing, close: Callable[[], None]
    ) -> None:
        super().__init__(f"Verify {number.name}", (), scene.signs, close)
        self._scene, self._number, self._me, self._comparing = scene, number, me, comparing
        self._is_void = False
        self._drawn_size = (0, 0)
        self._ways: dict[str, Callable[[bytes], None]] = {}  # by the stroke, what can be done now
        self._rows: dict[str, Row | Rule] = {}  # by the stroke, the row that names it

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        if (cols, rows) != self._drawn_size:
            self._drawn_size, self._to_start = (cols, rows), True  # the digits stay in view
        if not self._is_void and not self._holds():
            self._is_void = self._to_start = True
        self._lines = self._void_lines() if self._is_void else self._valid_lines()
        self.keys = [("v", "compare again")] if self._is_void else [("a", "all the same"), ("l", "six digits")]
        if self._is_new and not self._is_void:
            self.keys = self.keys[:1]
        self._rows = {}
        does = {
            "a": self._comparing.number_is_same,
            "l": self._comparing.compare_by_code,
            "v": self._comparing.compare_again,
        }
        self._ways = {stroke: does[stroke] for stroke, _ in self.keys}
        canvas = super().draw(cols, rows, focus)
        digits = {index for index, text in enumerate(self._lines) if text in self._digits()}
        in_view = digits <= set(self.in_view) or self._is_void
        shown = msgspec.structs.replace(self._number, digits="") if self._is_void else self._number
        self.shows = {Place(Subject.NUMBER, self._number.peer): shown} if in_view else {}
        return canvas

    def block(self, index: int) -> Block:
        text, rows = self._lines[index], super().block(index)
        if isinstance(text, list) and text and text[0][0] == "key":
            self._rows[text[0][1]] = rows[0]
        return rows

    def key(self, key: str) -> str | None:
        if key in self._ways:
            self._ways[key](self._number.peer)
            return None
        return super().key(key)

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if event == "mouse press" and button == 1 and row > 0:
            found = self.at_row(row - 1, self.size[1] - 1)
            stroke = next((stroke for stroke, drawn in self._rows.items() if drawn is found), "")
            return stroke in self._ways and self.key(stroke) is None
        return super().mouse(event, button, col, row)

    @property
    def _is_new(self) -> bool:
        """Whether the digits are those of another key than the person's."""
        return self._number.key != self._number.peer

    @property
    def _is_rejected(self) -> bool:
        """Whether the digits are those of a new key that was not kept."""
        person = self._scene.model.roster.people.get(self._number.peer)
        return self._is_new and person is not None and person.new_key is None

    def _holds(self) -> bool:
        """Whether the digits are still those that are to be compared with this person."""
        person = self._scene.model.roster.people.get(self._number.peer)
        if person is None or person.name != self._number.name:
            return False
        return person.compared_key == self._number.key

    def _digits(self) -> list[Markup]:
        groups = self._number.digits.split()
        if self._is_void:
            groups = ["-" * len(group) for group in groups]
        return [
            [("text", "    "), ("key", "  ".join(groups[start : start + GROUPS_A_LINE]))]
            for start in range(0, len(groups), GROUPS_A_LINE)
        ]

    def _void_lines(self) -> list[Markup]:
        alarm = self._scene.signs.alarm
        return [
            ("state.error", f"{alarm} ANOTHER KEY HAS COME SINCE {alarm}  The digits that stood here are void."),
            "",
            *self._digits(),
            "",
            [("key", "v"), ("state.error", "   compare again, from the first digit on")],
            ("text", "What was compared until now says nothing about the key that uses the name now."),
        ]

    def _valid_lines(self) -> list[Markup]:
        name, is_new = self._number.name, self._is_new
        whose = f"{name}'s NEW key" if is_new else f"{name}'s key"
        rejected = ("state.error", "You decided to keep the old key. Esc leaves it so.")
        quicker: list[Markup] = [
            [
                ("key", "l"),
                ("text", "   Six digits instead, while both are here"),
                ("text.soft", f"   also: /verify {name} live"),
            ],
        ]
        return [
            ("text", f"The number of {whose} and yours:"),
            *([rejected] if self._is_rejected else []),
            "",
            *self._digits(),
            "",
            (
                "text",
                f"Ask {name} to type /verify {self._me}, and read the digits to each other, side by side or"
                " by phone: both screens must show the same sixty.",
            ),
            "",
            [
                ("key", "a"),
                ("text", f"   All are the same: {name} is verified{', and the new key taken' if is_new else ''}"),
                ("text.soft", f"   later: /verify {name} same"),
            ],
            *([] if is_new else quicker),
            "",
            ("state.error", "One is different:  somebody is between you. Send nothing, and tell each other."),
        ]
