"""How often something may come from one source: a rate for each address, and sums for networks and sites.

No clock: time is handed in.
"""

from __future__ import annotations

from collections import Counter

from chatnet.core.bucket import Buckets
from chatnet.core.budgets import SOURCE_SHARES, counted_sources
from chatnet.core.limits import MAX_SOURCES


class SourceRates:
    """Token buckets of sources: an address has ``rate_per_s`` and ``burst``, wider sources a multiple of both.

    Of each kind of source the ``MAX_SOURCES`` used latest are remembered.  ``count_loopback``: addresses of
    this machine are sources like any other.
    """

    def __init__(self, rate_per_s: float, burst: float, *, count_loopback: bool = False) -> None:
        self.refused: Counter[str] = Counter({level.value: 0 for level in SOURCE_SHARES})
        self._count_loopback = count_loopback
        self._buckets = {
            level: Buckets(rate_per_s * share, burst * share, MAX_SOURCES) for level, share in SOURCE_SHARES.items()
        }

    def take(self, host: str, now: float) -> bool:
        """Take one token at every source of ``host``, or none where one of them has no more."""
        sources = counted_sources(host, self._count_loopback)
        for level, source in sources:
            if self._buckets[level].delay(source, now) > 0:
                self.refused[level.value] += 1
                return False
        for level, source in sources:
            self._buckets[level].take(source, now)
        return True

    def delay(self, host: str, now: float) -> float:
        """Return the seconds until ``take`` would succeed if nobody else takes any."""
        sources = counted_sources(host, self._count_loopback)
        return max((self._buckets[level].delay(source, now) for level, source in sources), default=0.0)
