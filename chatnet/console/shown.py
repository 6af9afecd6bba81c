"""Remembers what the screen showed when it was last drawn, since keys and commands decide about that and nothing newer.

An event may come between the moment at which a person reads and the one at which they press a key.  The panes say
which questions they have drawn and where, the model says what an event has changed, and the actions ask here
before they decide.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any, NamedTuple

from chatnet.core.events import Transfer
from chatnet.core.limits import COMPARED_SECONDS, QUESTION_SECONDS

MOST_SEEN = 1_000  # questions that are remembered after they have left the screen

# What changes in a transfer while it goes on; all the rest was offered, and is what a person answers.
PROGRESS = frozenset(
    {"done_files", "done_bytes", "bytes_per_second", "seconds_left", "state", "code", "reason", "saved_to"}
    | {"resumed_from", "paused_here"}
)
_OFFERED = tuple(name for name in Transfer.__struct_fields__ if name not in PROGRESS)


class Subject(Enum):
    """The kinds of things that a person decides about."""

    NAME = auto()  # whose key a name stands for
    NAMED = auto()  # whether somebody has this name: letters may be the beginning of another one, or of two
    NEW_KEY = auto()  # another key that uses a person's name
    NUMBER = auto()  # the sixty digits of a person
    CODE = auto()  # the six digits of a person
    OFFER = auto()  # the newest offer in a chat
    TRANSFER = auto()
    ENDED = auto()  # which transfers have ended
    FAILED = auto()  # the newest message of ours in a chat that has failed
    CHOSEN_PERSON = auto()  # of the list of people
    CHOSEN_TRANSFER = auto()  # of the list of transfers
    QUESTION = auto()  # what is asked before something is done
    PICKER = auto()  # to whom the chosen files would be offered


class Place(NamedTuple):
    """The place of a question.  The question itself is any value that differs when something else is asked."""

    subject: Subject
    of: str | bytes = b""  # the name, the key, the fid


def offer_question(transfer: Transfer) -> tuple[Any, ...]:
    """Return the question that an offer asks."""
    return tuple(getattr(transfer, name) for name in _OFFERED)


class ShownQuestions:
    """Remembers the last frame, and what has changed since.  Times are seconds of one clock."""

    def __init__(self) -> None:
        self._changed: set[Place] = set()  # by an event, not drawn since
        self._drawn: Mapping[Place, object] = {}  # a frame that the terminal has not taken yet
        self._drawn_changes: set[Place] = set()  # which it shows
        self._frame: Mapping[Place, object] = {}  # the last one that it has
        self._fresh: dict[Place, float] = {}  # changes that came on the screen a moment ago
        self._seen: OrderedDict[Place, tuple[object, float]] = OrderedDict()

    # --- what happens ---------------------------------------------------------------------------

    def changed(self, place: Place) -> None:
        """Note that something else stands at ``place``, without the user having done something."""
        self._changed.add(place)

    def drawn(self, frame: Mapping[Place, object]) -> None:
        """Note that a frame with these questions was made; it counts when the terminal has it."""
        self._drawn = frame
        self._drawn_changes |= self._changed
        self._changed.clear()

    def taken(self, now: float) -> None:
        """Note that the terminal has the frame that was made last."""
        self._frame = self._drawn
        self._fresh = {place: at for place, at in self._fresh.items() if now - at < QUESTION_SECONDS}
        self._fresh |= dict.fromkeys(self._drawn_changes, now)
        self._drawn_changes.clear()
        for place, question in self._frame.items():
            self._seen[place] = (question, now)
            self._seen.move_to_end(place)
        while len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)

    # --- what may be decided --------------------------------------------------------------------

    def is_settled(self, *places: Place, now: float) -> bool:
        """Whether what stands at these places has been on the screen since long enough, if it has changed at all."""
        return self.unsettled(now).isdisjoint(places)

    def unsettled(self, now: float) -> set[Place]:
        """Return what has changed and has not been on the screen for long enough."""
        fresh = {place for place, at in self._fresh.items() if now - at < QUESTION_SECONDS}
        return self._changed | self._drawn_changes | fresh

    def shows(self, place: Place, question: object) -> bool:
        """Whether the last frame asked this there."""
        return place in self._frame and self._frame[place] == question

    def has_shown(self, place: Place, question: object) -> bool:
        """Whether this was the last question that a frame has asked there."""
        return place in self._seen and self._seen[place][0] == question

    def compared(self, place: Place, now: float) -> Any:
        """Return the digits that were on the screen there at most COMPARED_SECONDS ago; None without such."""
        question, at = self._seen.get(place, (None, 0.0))
        return question if now - at <= COMPARED_SECONDS else None
