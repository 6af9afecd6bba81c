"""Pushes changes of the list to every subscriber: soon, gathered, and no faster than it reads.

A subscriber is a link and a place in the shared change log.  Nothing is queued for one whose
transport asks to wait; when that is drained it goes on from its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatnet.core.directory.changelog import Reader
from chatnet.core.directory.directory import Directory
from chatnet.core.meters import Spread

TURN_SECONDS = 0.01  # of telling at a stretch; then the other connections have their turn
LOOK_EVERY = 8  # subscribers told of changes between two looks at the clock
STORM_CHANGES = 32  # gathered for one round: so many are news that can wait a little
STORM_REST = 4.0  # times the work of a round: then telling takes a fifth of a storm
STORM_REST_SECONDS = 0.5  # and no longer than this


class Subscriber(Protocol):
    """A link, as a pusher uses it."""

    congested: bool

    @property
    def is_open(self) -> bool: ...

    def send_frames(self, frames: bytes) -> None: ...

    def on_drained(self, callback: Callable[[], None] | None) -> None: ...


class Pusher:
    """The first change after a quiet time is told in the next turn; what follows within
    ``push_seconds`` is gathered, in a storm of logins longer, so that it costs each subscriber a
    few writes.  Newcomers come first, all of a turn with the same pages."""

    def __init__(self, clock: IReactorTime, directory: Directory, push_seconds: float) -> None:
        self._clock = clock
        self._directory = directory
        self._push_seconds = push_seconds
        self._readers: dict[Subscriber, Reader] = {}
        self._new: deque[Subscriber] = deque()
        self._untold: deque[Subscriber] = deque()  # those that this round has still to visit
        self._again = False  # something changed since the round began
        self._round: IDelayedCall | None = None  # the next one begins
        self._turn: IDelayedCall | None = None  # the present one goes on
        self._rest_until = float("-inf")
        self._told_upto = 0  # the revision at which the last round began
        self._gathered = 0  # changes since the one before
        self._worked = 0.0  # seconds that the round has taken so far
        self._changed_at: float | None = None  # the first change that no round has begun for
        self._round_changed_at = 0.0
        self.seconds = Spread()  # from the first change of a round until all were told

    def add(self, link: Subscriber, reader: Reader) -> None:
        """Add a new subscriber, which is told in the next turn what it does not know."""
        self._readers[link] = reader
        link.on_drained(partial(self._tell, link))
        self._new.append(link)
        self._take_turn()

    def discard(self, link: Subscriber) -> None:
        if self._readers.pop(link, None) is not None:
            link.on_drained(None)

    def depths(self) -> tuple[int, int]:
        """Return how many are to be told in this turn and the next, and how many do not take what they are told."""
        return len(self._new) + len(self._untold), sum(link.congested for link in self._readers)

    def changed(self) -> None:
        """Schedule a round of telling all subscribers, because the directory changed."""
        if self._changed_at is None:
            self._changed_at = self._clock.seconds()
        if self._untold:
            self._again = True
        elif self._round is None:
            self._round = self._clock.callLater(max(0.0, self._rest_until - self._clock.seconds()), self._begin)

    def stop(self) -> None:
        """Tell nobody anything more."""
        for link in tuple(self._readers):
            self.discard(link)
        self._new.clear()
        self._untold.clear()
        self._again = False
        for timer in (self._round, self._turn):
            if timer is not None:
                timer.cancel()
        self._round = self._turn = None

    def _begin(self) -> None:
        self._round = None
        self._untold.extend(self._readers)
        self._round_changed_at, self._changed_at = self._changed_at or self._clock.seconds(), None
        self._gathered = self._directory.revision - self._told_upto
        self._told_upto = self._directory.revision
        self._worked = 0.0
        if self._turn is None:
            self._go_on()

    def _take_turn(self) -> None:
        if self._turn is None:
            self._turn = self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        began = now = self._clock.seconds()
        in_round = bool(self._untold)
        while (self._new or self._untold) and now < began + TURN_SECONDS:
            if self._new:
                self._tell(self._new.popleft())
            else:
                for _ in range(min(LOOK_EVERY, len(self._untold))):
                    self._tell(self._untold.popleft())
            now = self._clock.seconds()
        self._worked += now - began
        if self._new or self._untold:
            self._take_turn()
        if in_round and not self._untold:
            self._round_over(now)

    def _round_over(self, now: float) -> None:
        rest = self._push_seconds
        if self._gathered >= STORM_CHANGES:
            rest = max(rest, min(STORM_REST * self._worked, STORM_REST_SECONDS))
        self._rest_until = now + rest
        self.seconds.add(now - self._round_changed_at)
        if self._again:
            self._again = False
            self.changed()

    def _tell(self, link: Subscriber) -> None:
        reader = self._readers.get(link)
        while reader is not None and link.is_open and not link.congested:
            page = self._directory.next_page(reader)
            if page is None:
                return
            link.send_frames(page)
