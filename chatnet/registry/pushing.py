"""Telling every subscriber what changed: soon, gathered, and never more than it takes.

A subscriber is a link and a place in the shared change log.  Nothing is queued for one whose
transport asks to wait; when that is drained it goes on from its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from chatnet.core.changelog import Reader
from chatnet.core.directory import Directory

TURN_SECONDS = 0.01  # of telling at a stretch; then the other connections have their turn


class Subscriber(Protocol):
    """What a pusher needs of a link."""

    congested: bool

    @property
    def is_open(self) -> bool: ...

    def send_frames(self, frames: bytes) -> None: ...

    def on_drained(self, callback: Callable[[], None] | None) -> None: ...


class Pusher:
    """The first change after a quiet time is told in the next turn; what follows within
    ``push_seconds`` is gathered, so that a storm of logins costs each subscriber a few writes."""

    def __init__(self, clock: IReactorTime, directory: Directory, push_seconds: float) -> None:
        self._clock = clock
        self._directory = directory
        self._push_seconds = push_seconds
        self._readers: dict[Subscriber, Reader] = {}
        self._untold: deque[Subscriber] = deque()  # those that this round has still to visit
        self._again = False  # something changed since the round began
        self._next: IDelayedCall | None = None
        self._quiet_since = float("-inf")

    def add(self, link: Subscriber, reader: Reader) -> None:
        """A new subscriber: it is told at once what it does not know."""
        self._readers[link] = reader
        link.on_drained(partial(self._tell, link))
        self._tell(link)

    def discard(self, link: Subscriber) -> None:
        if self._readers.pop(link, None) is not None:
            link.on_drained(None)

    def changed(self) -> None:
        """The directory changed."""
        if self._untold:
            self._again = True
        elif self._next is None:
            wait = self._quiet_since + self._push_seconds - self._clock.seconds()
            self._next = self._clock.callLater(max(0.0, wait), self._begin)

    def stop(self) -> None:
        """Tell nobody anything more."""
        for link in tuple(self._readers):
            self.discard(link)
        self._untold.clear()
        self._again = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        self._untold.extend(self._readers)
        self._go_on()

    def _go_on(self) -> None:
        self._next = None
        until = self._clock.seconds() + TURN_SECONDS
        while self._untold:
            self._tell(self._untold.popleft())
            if self._untold and self._clock.seconds() >= until:
                self._next = self._clock.callLater(0, self._go_on)
                return
        self._quiet_since = self._clock.seconds()
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
