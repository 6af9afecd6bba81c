"""One timer for all links: thousands of connections must not be thousands of timers.

A deadline is therefore met up to ``PULSE_SECONDS`` late.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatnet.core.limits import PULSE_SECONDS


class Beating(Protocol):
    def beat(self, now: float) -> None:
        """Look at the clock; ``now`` is in seconds of the pulse's clock."""


class Pulse:
    """Calls ``beat`` of its members; runs only while it has some."""

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self._members: set[Beating] = set()
        self._next: IDelayedCall | None = None

    def add(self, member: Beating) -> None:
        self._members.add(member)
        if self._next is None:
            self._next = self.clock.callLater(PULSE_SECONDS, self._beat)

    def discard(self, member: Beating) -> None:
        self._members.discard(member)
        if not self._members and self._next is not None:
            self._next.cancel()
            self._next = None

    def _beat(self) -> None:
        self._next = self.clock.callLater(PULSE_SECONDS, self._beat)
        now = self.clock.seconds()
        for member in tuple(self._members):
            member.beat(now)
