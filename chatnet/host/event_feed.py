"""Events on their way to the subscribers: in order, each a reactor turn later.

Nobody is called back from within his own call, and a subscriber that fails is logged and does
not silence the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from chatnet.core.events import Event, Snapshot
from chatnet.core.limits import EVENTS_PER_TURN

Listener = Callable[[Event], None]


class EventFeedSubscription:
    """One subscriber: the state at the beginning, then events until ``cancel``."""

    def __init__(self, feed: EventFeed, snapshot: Snapshot, listener: Listener) -> None:
        self.snapshot = snapshot
        self.listener: Listener | None = listener
        self._feed = feed

    def cancel(self) -> None:
        self.listener = None
        self._feed.forget(self)


class EventFeed:
    """See the module."""

    log = Logger("chatnet.feed")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._subscriptions: list[EventFeedSubscription] = []
        self._waiting: deque[tuple[Event, tuple[EventFeedSubscription, ...]]] = deque()
        self._scheduled = False

    def subscribe(self, snapshot: Snapshot, listener: Listener) -> EventFeedSubscription:
        """``listener`` hears what is emitted from now on; ``snapshot`` holds what was before."""
        subscription = EventFeedSubscription(self, snapshot, listener)
        self._subscriptions.append(subscription)
        return subscription

    def forget(self, subscription: EventFeedSubscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def emit(self, event: Event) -> None:
        """Tell everybody who is subscribed now."""
        if not self._subscriptions:
            return
        self._waiting.append((event, tuple(self._subscriptions)))
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._deliver)

    def _deliver(self) -> None:
        for _ in range(min(len(self._waiting), EVENTS_PER_TURN)):
            event, subscriptions = self._waiting.popleft()
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
