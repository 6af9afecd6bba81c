"""A token bucket: a rate in tokens a second, and a burst after a quiet time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class TokenBucket:
    """Fills with ``rate_per_s`` tokens a second up to ``burst``; full at the start.

    Times are seconds of any clock that does not go backwards; a step back counts as no time.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_upto")

    def __init__(self, rate_per_s: float, burst: float, now: float) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._upto = now

    def take(self, now: float, n: float = 1) -> bool:
        """Take ``n`` tokens if they are all there, else none, and return whether they were taken."""
        self._fill(now)
        if self._tokens < n:
            return False
        self._tokens -= n
        return True

    def spend(self, now: float, n: float = 1) -> float:
        """Take ``n`` tokens, there or not, and return the seconds until what is owed then is paid back."""
        self._fill(now)
        self._tokens -= n
        if self._tokens >= 0:
            return 0.0
        return -self._tokens / self._rate if self._rate > 0 else float("inf")

    def delay(self, now: float, n: float = 1) -> float:
        """Return the seconds until ``n`` tokens are there if nobody takes any; infinity for more than fit in."""
        self._fill(now)
        if self._tokens >= n:
            return 0.0
        if n > self._burst or self._rate <= 0:
            return float("inf")
        return (n - self._tokens) / self._rate

    def _fill(self, now: float) -> None:
        if now > self._upto:
            self._tokens = min(self._burst, self._tokens + (now - self._upto) * self._rate)
            self._upto = now


class Buckets:
    """A bucket for each key, e.g. each source; of those the ``most`` used latest are remembered."""

    def __init__(self, rate_per_s: float, burst: float, most: int) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._most = most
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def take(self, key: Hashable, now: float, n: float = 1) -> bool:
        return self._of(key, now).take(now, n)

    def spend(self, key: Hashable, now: float, n: float = 1) -> float:
        return self._of(key, now).spend(now, n)

    def delay(self, key: Hashable, now: float, n: float = 1) -> float:
        return self._of(key, now).delay(now, n)

    def _of(self, key: Hashable, now: float) -> TokenBucket:
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(self._rate, self._burst, now)
            if len(self._buckets) >= self._most:
                self._buckets.popitem(last=False)
        self._buckets[key] = bucket
        return bucket
