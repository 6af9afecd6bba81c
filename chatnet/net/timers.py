"""Helpers for timers that may have fired already, and timers of which there is one for each key."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall

Key = TypeVar("Key", bound=Hashable)


def cancel_timer(timer: IDelayedCall | None) -> None:
    """Cancel ``timer`` unless there is none, or it was called or cancelled before."""
    if timer is not None and timer.active():
        timer.cancel()


class KeyedTimers(Generic[Key]):
    """At most one timer for each key, which calls ``work`` with the key."""

    def __init__(self, clock: Any, work: Callable[[Key], None]) -> None:
        self._clock = clock
        self._work = work
        self._timers: dict[Key, IDelayedCall] = {}

    def arm(self, key: Key, seconds: float = 0.0) -> None:
        """Call ``work`` once in so many seconds, 0 for the next turn; nothing changes if that is due already."""
        if key not in self._timers:
            self._timers[key] = self._clock.callLater(seconds, self._fire, key)

    def stop(self) -> None:
        """Stop: no timer is left."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _fire(self, key: Key) -> None:
        del self._timers[key]
        self._work(key)
