"""Which strangers may try: limits on those who have not proven a key yet.

A source is an IPv4 address or an IPv6 /64.  Pure: time is handed in.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Hashable

from chatnet.core.addresses import is_loopback
from chatnet.core.bucket import TokenBucket
from chatnet.core.limits import MAX_SOURCES, LinkLimits


def source_of(host: str) -> str:
    """The source an address belongs to; anything that is not an IP address is a source by itself."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Admission:
    """Counts the connections that are still unproven; ``ticket`` is the caller's name for one."""

    def __init__(self, limits: LinkLimits, unauthenticated: int) -> None:
        self._limits = limits
        self._total = unauthenticated
        self._waiting: OrderedDict[Hashable, str] = OrderedDict()
        self._by_source: Counter[str] = Counter()
        self._rates: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def admit(self, ticket: Hashable, host: str, now: float) -> tuple[bool, Hashable | None]:
        """Whether the connection may try, and which older one must go for it."""
        source = source_of(host)
        counted = self._limits.loopback == "counted" or not is_loopback(host)
        if counted:
            if not self._rate(source, now).take(now):
                return False, None
            if self._by_source[source] >= self._limits.source_unauthenticated:
                return False, None
        evicted = self._evict() if len(self._waiting) >= self._total else None
        self._waiting[ticket] = source
        self._by_source[source] += 1
        return True, evicted

    def done(self, ticket: Hashable) -> None:
        """It has proven its key and said hello, or is gone."""
        source = self._waiting.pop(ticket, None)
        if source is not None:
            self._by_source[source] -= 1
            if not self._by_source[source]:
                del self._by_source[source]

    def _evict(self) -> Hashable:
        """The oldest of the source that has the most: whoever floods pays for it."""
        greediest = self._by_source.most_common(1)[0][0]
        victim = next(ticket for ticket, source in self._waiting.items() if source == greediest)
        self.done(victim)
        return victim

    def _rate(self, source: str, now: float) -> TokenBucket:
        bucket = self._rates.pop(source, None)
        if bucket is None:
            limits = self._limits
            bucket = TokenBucket(limits.source_connects_per_minute / 60, limits.source_connects_burst, now)
            while len(self._rates) >= MAX_SOURCES:
                self._rates.popitem(last=False)
        self._rates[source] = bucket
        return bucket
