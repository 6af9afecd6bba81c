"""A budget in each reactor turn for handshakes and closes of connections.

A handshake costs a millisecond, an end a tenth of one, and a reactor does in one turn whatever is
ready: when a herd comes, or a cable is pulled, that is thousands.  What finds its turn's share
spent waits for the next turns: what belongs to known people first, then the others in the order of
coming, and when nothing of these waits, whoever has no place yet.  Who has shaken hands does not wait
with them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from chatnet.core.limits import TURN_SHARE_SECONDS

Work = Callable[[], None]


class TurnBudget:
    """Shared by all connections of one program."""

    def __init__(self) -> None:
        self._first: deque[Work] = deque()
        self._waiting: deque[Work] = deque()
        self._last: deque[Work] = deque()
        self._left = TURN_SHARE_SECONDS  # of the present turn
        self._begun = False  # the present turn

    def run(self, clock: IReactorTime, work: Work, first: bool = False) -> None:
        """Do ``work`` now if this turn has time for it, else when it is its turn; ``first``: before the others."""
        self._begin(clock)
        if self._left <= 0 or self._first or (self._waiting and not first):
            (self._first if first else self._waiting).append(work)
        else:
            self._do(clock, work)

    def run_last(self, clock: IReactorTime, work: Work) -> None:
        """Do ``work`` in a later turn, when nothing else waits."""
        self._begin(clock)
        self._last.append(work)

    def _begin(self, clock: IReactorTime) -> None:
        if not self._begun:
            self._begun, self._left = True, TURN_SHARE_SECONDS
            clock.callLater(0, self._go_on, clock)

    def _go_on(self, clock: IReactorTime) -> None:
        """Do what waits, as long as the share of the reactor's turn lasts; the rest follows in the next turn."""
        self._begun, self._left = False, TURN_SHARE_SECONDS
        if self._next() is not None:
            self._begun = True
            clock.callLater(0, self._go_on, clock)
        while self._left > 0 and (queue := self._next()) is not None:
            self._do(clock, queue.popleft())

    def _next(self) -> deque[Work] | None:
        return self._first or self._waiting or self._last or None

    def _do(self, clock: IReactorTime, work: Work) -> None:
        began = clock.seconds()
        try:
            work()
        finally:
            self._left -= clock.seconds() - began
