"""Limits on connections that have not proven a key yet.

Places and rates are counted for every source of an address (``budgets.sources_of``).  Pure: time is handed in.
"""

from __future__ import annotations

from collections.abc import Hashable

from chatnet.core.budgets import SOURCE_SHARES, Budget, Claimant, Shares, Sources, greediest, sources_of
from chatnet.core.limits import LinkLimits
from chatnet.core.source_rates import SourceRates


class Admission:
    """Counts the connections that are still unproven; ``ticket`` is the caller's name for one."""

    def __init__(self, limits: LinkLimits, unauthenticated: int) -> None:
        counted = limits.loopback == "counted"
        shares = Shares(unauthenticated, unauthenticated, unauthenticated, address=limits.source_unauthenticated)
        self._budget = Budget(shares, count_loopback=counted)
        self._rates = SourceRates(
            limits.source_connects_per_minute / 60, limits.source_connects_burst, count_loopback=counted
        )
        self._waiting: dict[Hashable, Sources] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def fullness(self) -> float:
        """How full it is, of all or of one source; 1 is full."""
        return self._budget.fullness()

    def admit(self, ticket: Hashable, host: str, now: float) -> tuple[bool, Hashable | None]:
        """Whether the connection may try, and which older one must go for it."""
        who = Claimant(b"", host, known=False)
        lacking = self._budget.lacking(who)
        if not self._rates.take(host, now) or not SOURCE_SHARES.keys().isdisjoint(lacking):
            return False, None
        evicted = self._evict() if lacking else None
        self._waiting[ticket] = sources_of(host)
        self._budget.charge(ticket, who)
        return True, evicted

    def done(self, ticket: Hashable) -> None:
        """It has proven its key and said hello, or is gone."""
        self._waiting.pop(ticket, None)
        self._budget.release(ticket)

    def _evict(self) -> Hashable:
        """The oldest of the source that has the most: whoever floods pays for it."""
        victim = greediest(self._waiting)[0]
        self.done(victim)
        return victim
