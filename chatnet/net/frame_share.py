"""How long the frames of all links may hold the reactor before everything else has its turn.

A frame can cost milliseconds (a page of an offer with a thousand names), and a reactor does in one turn
whatever is ready: with many links that flood, that is a second.  A link that finds the share of the turn
spent goes on in one of the next turns, in the order of coming.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime

from chatnet.core.limits import FRAMES_SHARE_SECONDS


class FrameShare:
    """Shared by all links of one program.  Times are seconds of the reactor's clock."""

    def __init__(self) -> None:
        self._since = float("-inf")  # of the present share
        self._spent = 0.0
        self._waiting: deque[Callable[[], None]] = deque()

    def has_time(self, now: float) -> bool:
        """Whether frames may be handled now.  After twice the share's time there is another one."""
        if now - self._since >= 2 * FRAMES_SHARE_SECONDS:
            self._since, self._spent = now, 0.0
        return self._spent < FRAMES_SHARE_SECONDS

    def spend(self, seconds: float) -> bool:
        """Frames have taken so long; whether there is time for another one."""
        self._spent += seconds
        return self._spent < FRAMES_SHARE_SECONDS

    def wait(self, clock: IReactorTime, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` in a later turn, behind those that wait already."""
        if not self._waiting:
            clock.callLater(0, self._next_turn, clock)
        self._waiting.append(go_on)

    def _next_turn(self, clock: IReactorTime) -> None:
        self._since, self._spent = clock.seconds(), 0.0
        ready, self._waiting = self._waiting, deque()
        while ready and self._spent < FRAMES_SHARE_SECONDS:
            ready.popleft()()
        if ready and not self._waiting:
            clock.callLater(0, self._next_turn, clock)
        self._waiting.extendleft(reversed(ready))
