"""One timer for the deadlines of all links, so that thousands of connections need no thousands of timers.

A deadline is therefore met up to ``PULSE_SECONDS`` late.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatnet.core.limits import BEATS_PER_TURN, PULSE_SECONDS


class Beating(Protocol):
    def beat(self, now: float) -> None:
        """Look at the clock; ``now`` is in seconds of the pulse's clock."""


class Pulse:
    """Calls ``beat`` of its members, some in each turn; runs only while it has some."""

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._members: set[Beating] = set()
        self._due: list[Beating] = []  # those that this beat has still to visit
        self._next: IDelayedCall | None = None

    def add(self, member: Beating) -> None:
        self._members.add(member)
        if self._next is None:
            self._next = self.clock.callLater(PULSE_SECONDS, self._begin, self.clock.seconds() + PULSE_SECONDS)

    def discard(self, member: Beating) -> None:
        self._members.discard(member)
        if not self._members and self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self, due: float) -> None:
        """Begin a beat that was due at ``due``: the next is a second after that, or from now where that is past."""
        self._due = list(self._members)
        self._go_on(max(due + PULSE_SECONDS, self.clock.seconds()))

    def _go_on(self, next_due: float) -> None:
        now = self.clock.seconds()
        rest = 0.0 if len(self._due) > BEATS_PER_TURN else max(0.0, next_due - now)
        again = self._go_on if len(self._due) > BEATS_PER_TURN else self._begin
        self._next = self.clock.callLater(rest, again, next_due)
        due, self._due = self._due[-BEATS_PER_TURN:], self._due[:-BEATS_PER_TURN]
        for member in due:
            if member in self._members:
                member.beat(now)
