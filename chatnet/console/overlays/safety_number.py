"""The sheet with the digits that two people compare; it says so when they are no longer the right ones."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import urwid

from chatnet.console.overlays.page import Page
from chatnet.console.panes.base import PaneContext
from chatnet.console.shown import Place, Subject
from chatnet.console.widgets.text import Markup
from chatnet.core.events import SafetyNumber

GROUPS_A_LINE = 4


class SafetyNumberSheet(Page):
    """``number`` is what is compared, ``me`` our name.

    It watches the person: when another key has come for the name, or another name for the key, it says so, strikes
    the digits, and stays like that.
    """

    def __init__(self, scene: PaneContext, number: SafetyNumber, me: str, close: Callable[[], None]) -> None:
        super().__init__(f"Verify {number.name}", (), scene.signs, close)
        self._scene, self._number, self._me = scene, number, me
        self._is_void = False

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        if not self._is_void and not self._holds():
            self._is_void = self._to_start = True
        self._lines = self._void_lines() if self._is_void else self._valid_lines()
        canvas = super().draw(cols, rows, focus)
        digits = {index for index, text in enumerate(self._lines) if text in self._digits()}
        in_view = digits <= set(self.in_view) or self._is_void
        shown = msgspec.structs.replace(self._number, digits="") if self._is_void else self._number
        self.shows = {Place(Subject.NUMBER, self._number.peer): shown} if in_view else {}
        return canvas

    def _holds(self) -> bool:
        """Whether the digits are still those that are to be compared with this person."""
        person = self._scene.model.roster.people.get(self._number.peer)
        if person is None or person.name != self._number.name:
            return False
        return (person.new_key or person.peer) == self._number.key

    def _digits(self) -> list[Markup]:
        groups = self._number.digits.split()
        if self._is_void:
            groups = ["-" * len(group) for group in groups]
        return [
            [("text", "    "), ("key", "  ".join(groups[start : start + GROUPS_A_LINE]))]
            for start in range(0, len(groups), GROUPS_A_LINE)
        ]

    def _void_lines(self) -> list[Markup]:
        name, alarm = self._number.name, self._scene.signs.alarm
        return [
            ("state.error", f"{alarm} ANOTHER KEY HAS COME SINCE {alarm}  The digits that stood here are void."),
            "",
            *self._digits(),
            "",
            ("state.error", f"Compare again, from the first digit on: close this, then type /verify {name}"),
            ("text", "What was compared until now says nothing about the key that uses the name now."),
        ]

    def _valid_lines(self) -> list[Markup]:
        name, is_new = self._number.name, self._number.key != self._number.peer
        whose = f"{name}'s NEW key" if is_new else f"{name}'s key"
        quicker: list[Markup] = [
            "",
            [("text", "Quicker, with six digits, while both are here:  "), ("key", f"/verify {name} live")],
        ]
        return [
            ("text", f"The number of {whose} and yours:"),
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
                ("text", "All the same:  "),
                ("key", f"/verify {name} same"),
                ("text", ", which also takes the new key" if is_new else ""),
            ],
            ("state.error", "One is different:  somebody is between you. Send nothing, and tell each other."),
            *([] if is_new else quicker),
        ]
