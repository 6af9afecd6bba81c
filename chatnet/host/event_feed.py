"""Delivers the events of one program to its subscribers, in order and in a later turn of the reactor.

So nobody is called back from within a call of its own, and a subscriber that raises is logged and
does not keep an event from the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatnet.core.events import Event, Snapshot
from chatnet.core.limits import EVENTS_PER_TURN, TURN_SHARE_SECONDS

Listener = Callable[[Event], None]
Emitted = Event | Callable[[], Event]  # an event, or what makes it when it is delivered


class EventFeedSubscription:
    """One subscriber: ``snapshot`` is the state at the beginning, and ``listener`` hears what changes it."""

    def __init__(self, feed: EventFeed, snapshot: Snapshot, listener: Listener) -> None:
        self.snapshot = snapshot
        self.listener: Listener | None = listener
        self._feed = feed

    def cancel(self) -> None:
        """Deliver nothing more, not even what was emitted before and is still on its way."""
        self.listener = None
        self._feed.forget(self)


class EventFeed:
    """Takes events by ``emit`` and delivers some of them in each turn of the reactor.

    These are at most EVENTS_PER_TURN, and no more begin once TURN_SHARE_SECONDS have passed.
    """

    log = Logger("chatnet.feed")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._subscriptions: list[EventFeedSubscription] = []
        self._waiting: deque[tuple[Emitted, tuple[EventFeedSubscription, ...]]] = deque()
        self._scheduled = False

    def subscribe(self, snapshot: Snapshot, listener: Listener) -> EventFeedSubscription:
        """Call ``listener`` with each event that is emitted from now on; ``snapshot`` holds what was before."""
        subscription = EventFeedSubscription(self, snapshot, listener)
        self._subscriptions.append(subscription)
        return subscription

    def forget(self, subscription: EventFeedSubscription) -> None:
        """Deliver nothing to ``subscription`` that is emitted from now on."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def emit(self, event: Emitted) -> None:
        """Deliver ``event``, in a later turn, to those who are subscribed now.

        An event that is costly to make is made then, in the turn's share of time; or at once while EVENTS_PER_TURN
        wait, so that whoever emits faster than it is delivered is held back by the work.
        """
        if not self._subscriptions:
            return
        if not isinstance(event, Event) and len(self._waiting) >= EVENTS_PER_TURN:
            event = event()
        self._waiting.append((event, tuple(self._subscriptions)))
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._deliver)

    def _deliver(self) -> None:
        began = self._clock.seconds()
        for _ in range(min(len(self._waiting), EVENTS_PER_TURN)):
            if self._clock.seconds() - began > TURN_SHARE_SECONDS:
                break
            emitted, subscriptions = self._waiting.popleft()
            event = emitted if isinstance(emitted, Event) else emitted()
            for subscription in subscriptions:
                if subscription.listener is None:
                    continue
                try:
                    subscription.listener(event)
                except Exception:
                    self.log.failure("a subscriber failed on {kind}", kind=type(event).__name__)
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            self._clock.callLater(0, self._deliver)
