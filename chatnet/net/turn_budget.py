"""A budget in each reactor turn for handshakes and closes of connections.

A handshake costs a millisecond, an end a tenth of one, and a reactor does in one turn whatever is
ready: when a herd comes, or a cable is pulled, that is thousands.  What finds its turn's share
spent waits for the next turns, in the order of coming; who has shaken hands does not wait with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from chatnet.core.limits import CROWD, TURN_SHARE_SECONDS


class TurnBudget:
    """Shared by all connections of one program; ``on_crowded`` hears when many wait, and when few do again."""

    def __init__(self) -> None:
        self.on_crowded: Callable[[bool], None] | None = None
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = TURN_SHARE_SECONDS  # of the present turn
        self._begun = False  # the present turn
        self._crowded = False

    def run(self, clock: IReactorTime, work: Callable[[], None]) -> None:
        """Do ``work`` now if this turn has time for it, else when it is its turn."""
        if not self._begun:
            self._begun, self._left = True, TURN_SHARE_SECONDS
            clock.callLater(0, self._go_on, clock)
        if self._waiting or self._left <= 0:
            self._waiting.append(work)
            self._look()
        else:
            self._do(clock, work)

    def _go_on(self, clock: IReactorTime) -> None:
        """The next turn of the reactor."""
        self._begun, self._left = bool(self._waiting), TURN_SHARE_SECONDS
        if self._begun:
            clock.callLater(0, self._go_on, clock)
        while self._waiting and self._left > 0:
            self._do(clock, self._waiting.popleft())
        self._look()

    def _do(self, clock: IReactorTime, work: Callable[[], None]) -> None:
        began = clock.seconds()
        try:
            work()
        finally:
            self._left -= clock.seconds() - began

    def _look(self) -> None:
        crowded = len(self._waiting) >= CROWD
        if crowded is not self._crowded:
            self._crowded = crowded
            if self.on_crowded is not None:
                self.on_crowded(crowded)
