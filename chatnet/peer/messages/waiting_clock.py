"""The waiting clock of this profile: read at the start, saved hourly and at the stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatnet.core.waiting_time import WaitingTime
from chatnet.peer.store.peer_store import PeerStore

SETTING = "waiting-clock"


class WaitingClock:
    """Measures waiting in milliseconds over restarts.  ``wall_ms`` is the time of day."""

    def __init__(self, clock: Any, store: PeerStore, wall_ms: Callable[[], int], saved: str) -> None:
        self._clock = clock
        self._store = store
        self._wall_ms = wall_ms
        self._time = WaitingTime(saved, wall_ms(), clock.seconds())

    @classmethod
    async def recall(cls, clock: Any, store: PeerStore, wall_ms: Callable[[], int]) -> WaitingClock:
        """Return the clock as the former process left it.  Raises StoreFailed."""
        return cls(clock, store, wall_ms, await store.settings.get(SETTING) or "")

    def ms(self) -> int:
        """Return what the clock shows now, in milliseconds."""
        return self._time.ms(self._clock.seconds())

    async def save(self) -> None:
        """Keep what it shows, for the next start.  Raises StoreFailed."""
        await self._store.settings.put(SETTING, self._time.save(self._wall_ms(), self._clock.seconds()))
