"""The list of people beside the conversation: any number of them, drawn only where seen."""

from __future__ import annotations

import urwid

from chatnet.console.panes.base import PaneContext
from chatnet.console.shown import Place, Subject
from chatnet.console.widgets.base import LazyList
from chatnet.console.widgets.text import Markup, cut, width
from chatnet.core.events import Person

REQUESTS = b"requests"  # stands for the row that leads to them, where others stand for a person


class PeopleList(LazyList):
    """The way to the requests, if there are any; who is online; the others.

    ``/``, or a letter that does nothing here, narrows it down to names with some letters.  What is selected is a
    person and no row: others may come and go above.
    """

    def __init__(self, scene: PaneContext) -> None:
        super().__init__()
        self.scene = scene
        self.filter: str | None = None
        self.here: bytes | None = None  # whose tab is shown
        self._chosen: bytes | None = None  # once somebody has selected: a person, or REQUESTS
        self._drawn: list[bytes | None] = []  # who stood in each row
        self._found: list[bytes] = []
        self._found_for: tuple[str, int] = ("", -1)
        self._shown: tuple[object, ...] = ()

    def refresh(self) -> None:
        """Draw again if something that is shown here has changed."""
        requests = len(self.scene.model.requests)
        shown = (self.scene.model.roster.version, self.here, self.filter, self.selected, requests)
        if shown != self._shown:
            self._shown = shown
            self.changed()

    # --- what stands where ---------------------------------------------------------------------

    def count(self) -> int:
        if self.filter is not None:
            return 1 + len(self._matches())
        roster = self.scene.model.roster
        offline = len(roster.offline)
        return self._above() + 1 + len(roster.online) + (1 + offline if offline else 0)

    def _above(self) -> int:
        """Return how many rows are above the first heading."""
        return 1 if self.scene.model.requests and self.filter is None else 0

    def leads_to_requests(self, index: int) -> bool:
        """Whether this is the row that stands for all requests."""
        return index < self._above()

    def peer_at(self, index: int) -> bytes | None:
        """Return the key of the person in a row; None for a heading."""
        index -= self._above()
        if index <= 0:
            return None
        if self.filter is not None:
            found = self._matches()
            return found[index - 1] if index <= len(found) else None
        roster = self.scene.model.roster
        online = len(roster.online)
        if index <= online:
            return roster.online[index - 1]
        if index == online + 1 or index - online - 2 >= len(roster.offline):
            return None
        return roster.offline[index - online - 2]

    def can_select(self, index: int) -> bool:
        return self._at(index) is not None

    def chosen(self) -> Person | None:
        """Return the person who is selected, or None."""
        return self.scene.model.roster.people.get(self._chosen) if self._chosen is not None else None

    @property
    def requests_chosen(self) -> bool:
        """Whether the row that leads to the requests is selected."""
        return self._chosen == REQUESTS

    def _at(self, index: int) -> bytes | None:
        """Return what a row selects; None for a heading."""
        return REQUESTS if self.leads_to_requests(index) else self.peer_at(index)

    def _index_of(self, chosen: bytes) -> int | None:
        """Return the index of the row of a person, or of the requests; None if there is no such row now."""
        if chosen == REQUESTS:
            return 0 if self._above() else None
        roster = self.scene.model.roster
        person = roster.people.get(chosen)
        if person is None:
            return None
        if self.filter is not None:
            found = self._matches()
            return found.index(chosen) + 1 if chosen in found else None
        online, offline = roster.online.index((person.name, chosen)), roster.offline.index((person.name, chosen))
        if online is not None:
            return self._above() + 1 + online
        return self._above() + 2 + len(roster.online) + offline if offline is not None else None

    def select(self, index: int, direction: int = 1) -> None:
        super().select(index, direction)
        self._chosen = self._at(self.selected)

    def begin(self) -> None:
        """Select somebody, because the list has the keyboard focus now."""
        self._follow()
        self.select(max(self._above() + 1, self.selected) if self._chosen is None else self.selected)

    def _follow(self) -> None:
        """Select the row in which what was chosen stands now."""
        index = self._index_of(self._chosen) if self._chosen is not None else None
        if index is not None:
            self.selected = index

    # --- drawing, keys and mouse ---------------------------------------------------------------

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        self._follow()
        canvas = super().draw(cols, rows, focus)
        self._drawn = [self._at(index) for index in range(self.top, self.top + rows)]
        chosen = self._at(self.selected)
        if self._chosen not in (None, chosen):
            self.scene.model.shown.changed(Place(Subject.CHOSEN_PERSON))  # the one who was selected is gone
        if focus or self._chosen is not None:
            self._chosen = chosen
        self.shows = {Place(Subject.CHOSEN_PERSON): chosen} if focus else {}
        return canvas

    def key(self, key: str) -> str | None:
        self._follow()
        return super().key(key)

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if event != "mouse press" or button in (4, 5):
            return super().mouse(event, button, col, row)
        clicked = self._drawn[row] if row < len(self._drawn) else None
        index = self._index_of(clicked) if clicked is not None else None
        if button != 1 or index is None:
            return False
        self.select(index)
        self.on_click(index)
        return True

    def _matches(self) -> list[bytes]:
        roster = self.scene.model.roster
        wanted = (self.filter or "", roster.version)
        if wanted != self._found_for:
            letters = wanted[0].lower()
            both = (roster.online, roster.offline)
            peers = (order[i] for order in both for i in range(len(order)))
            self._found = [peer for peer in peers if letters in roster.people[peer].name]
            self._found_for = wanted
        return self._found

    # --- one row -------------------------------------------------------------------------------

    def markup(self, index: int, cols: int) -> Markup:
        roster, signs = self.scene.model.roster, self.scene.signs
        if self.leads_to_requests(index):
            return ("person", f" Requests ({len(self.scene.model.requests)})")
        peer = self.peer_at(index)
        index -= self._above()
        if peer is None:
            if self.filter is not None:
                return [("key", "/ "), ("text", self.filter or f"letters{signs.ellipsis}")]
            word, number = ("ONLINE", len(roster.online)) if index == 0 else ("OFFLINE", len(roster.offline))
            return ("group", _justify(word, str(number), cols))
        person = roster.people[peer]
        news = person.unread if peer != self.here else 0
        attribute = "person" if person.online else "person.offline"
        if peer == self.here:
            attribute = "tab.here"
        elif news or person.new_key is not None:
            attribute = "person.news"
        sign = signs.online if person.online else signs.offline
        right = self._right(person, news, cols)
        mark = f" {signs.verified}" if person.verified else ""
        name = cut(person.name, max(1, cols - 3 - width(mark) - width(right) - (1 if right else 0)), signs)
        return (attribute, _justify(f"{sign} {name}{mark}", right, cols))

    def _right(self, person: Person, news: int, cols: int) -> str:
        signs = self.scene.signs
        parts = []
        if person.blocked:
            parts.append("blocked" if cols >= 24 else signs.failed)
        if person.waiting:
            parts.append(f"{signs.queued}{person.waiting}")
        if news:
            parts.append(str(news))
        if person.new_key is not None:
            parts.append(signs.alarm if cols < 24 else f"key{signs.alarm}")
        if cols >= 24 and person.unanswered_since_ms is not None:
            parts.append("no answer")
        elif not parts and cols >= 24 and person.linked and person.rtt_ms is not None:
            parts.append(f"{person.rtt_ms} ms")
        return " ".join(parts)

    # --- the filter ----------------------------------------------------------------------------

    def begin_filter(self, before: str, key: str) -> bool:
        """Open the filter with the letters ``before`` and ``key``; False if the key is no letter of a name."""
        if len(key) != 1 or not key.isprintable() or key in " /":
            return False
        self.filter = before + key
        self.select(1)
        return True

    def type(self, key: str) -> bool:
        """Handle a key while the filter is open, and return whether it was for the filter."""
        if self.filter is None:
            return False
        if key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and key.isprintable() and key != "/":
            self.filter += key
        else:
            return False
        self.select(1)
        return True


def _justify(left: str, right: str, cols: int) -> str:
    """Return ``left`` after a space and ``right`` before a space, as far apart as they can be."""
    gap = cols - 2 - width(left) - width(right)
    return f" {left}{' ' * max(0, gap)}{right}"
