"""How long the frames of all links may hold the reactor before everything else has its turn.

A frame can cost milliseconds (a page of an offer with a thousand names), and a reactor does in one turn
whatever is ready: with many links that flood, that is a second.  A link that finds the share of the turn
spent goes on in one of the next turns, in the order of coming.  Links of known people and those of the others
go on by turns, so that many strangers are no more than one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from twisted.internet.interfaces import IReactorTime

from chatnet.core.limits import FRAMES_SHARE_SECONDS


class FrameShare:
    """Shared by all links of one program.  Times are seconds of the reactor's clock."""

    def __init__(self) -> None:
        self._since = float("-inf")  # of the present share
        self._spent = 0.0
        self._known: deque[Callable[[], None]] = deque()
        self._others: deque[Callable[[], None]] = deque()
        self._known_begin = True  # the next turn
        self._is_due = False  # a turn for those that wait, with a share of its own

    def has_time(self, now: float) -> bool:
        """Whether frames may be handled now.

        The next turn has another share; while nobody waits for it, the next share begins after twice its time.
        """
        if not self._is_due and now - self._since >= 2 * FRAMES_SHARE_SECONDS:
            self._since, self._spent = now, 0.0
        return self._spent < FRAMES_SHARE_SECONDS

    def spend(self, seconds: float) -> bool:
        """Note how long frames have taken, and return whether there is time for another one."""
        self._spent += seconds
        return self._spent < FRAMES_SHARE_SECONDS

    def wait(self, clock: IReactorTime, go_on: Callable[[], None], known: bool = False) -> None:
        """Call ``go_on`` in a later turn, behind those of its kind that wait already."""
        (self._known if known else self._others).append(go_on)
        if not self._is_due:
            self._is_due = True
            clock.callLater(0, self._next_turn, clock)

    def _next_turn(self, clock: IReactorTime) -> None:
        self._since, self._spent = clock.seconds(), 0.0
        try:
            for waiting in self._order():
                if self._spent >= FRAMES_SHARE_SECONDS:
                    break
                waiting.popleft()()
        finally:
            self._is_due = bool(self._known or self._others)
            if self._is_due:
                clock.callLater(0, self._next_turn, clock)

    def _order(self) -> Iterator[deque[Callable[[], None]]]:
        """Yield whose turn it is, once for each that waits now: one of either kind while there are both."""
        kinds = (self._known, self._others) if self._known_begin else (self._others, self._known)
        self._known_begin = not self._known_begin
        left = [len(kind) for kind in kinds]
        while any(left):
            for number, kind in enumerate(kinds):
                if left[number]:
                    left[number] -= 1
                    yield kind
