"""Which connections may try that have not proven a key yet, and in which order.

Every connection that is accepted arrives, waits, gets a place, and is done when it has proven its key and said
hello.  Those of known sources come first, the oldest of them foremost, and have places that nobody else can take;
of one known source only a few at a time, since it may be shared with an attacker.  All others are strangers: the
newest gets the next place.  When more come than can be served, somebody always has to be left waiting, and whoever
has waited longest has most probably given up.

Places and rates are counted for every source of an address (``budgets.sources_of``).  Pure: time is handed in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from typing import NamedTuple

from chatnet.core.budgets import SOURCE_SHARES, Budget, Claimant, Shares, Sources, greediest, sources_of
from chatnet.core.known_sources import KnownSources
from chatnet.core.limits import KNOWN_SOURCE_PLACES, WAITING_FOR_EACH_PLACE, LinkLimits
from chatnet.core.source_rates import SourceRates


class Arrival(NamedTuple):
    """The answer to a connection that arrived.

    ``admitted``: it may wait for a place.  ``is_first``: it does so before all strangers.  ``dropped``: the ticket of a
    connection, waiting or not, that has to be closed for it.
    """

    admitted: bool
    is_first: bool = False
    dropped: Hashable | None = None


class Turn(NamedTuple):
    """The ticket that has got a place, and the one that has lost its place to it."""

    ticket: Hashable
    evicted: Hashable | None = None


class Admission:
    """The connections that are still unproven; ``ticket`` is the caller's name for one.

    Strangers have ``unauthenticated`` places, connections of ``known`` sources ``reserved`` ones beside.
    """

    def __init__(
        self, limits: LinkLimits, unauthenticated: int, reserved: int = 0, known: KnownSources | None = None
    ) -> None:
        counted = limits.loopback == "counted"
        self._places = unauthenticated
        self._known = known if known is not None else KnownSources()
        strangers = Shares(unauthenticated, unauthenticated, unauthenticated, address=limits.source_unauthenticated)
        self._budget = Budget(strangers, count_loopback=counted)
        reserve = Shares(reserved, reserved, reserved, address=KNOWN_SOURCE_PLACES)
        self._reserve = Budget(reserve, count_loopback=counted)
        self._rates = SourceRates(
            limits.source_connects_per_minute / 60, limits.source_connects_burst, count_loopback=counted
        )
        # All of these have the oldest first.
        self._reserved: dict[Hashable, Sources] = {}  # who has a place of the reserve, or waits for a turn with it
        self._first: OrderedDict[Hashable, None] = OrderedDict()  # of these, who waits
        self._waiting: OrderedDict[Hashable, Sources] = OrderedDict()  # strangers
        self._placed: dict[Hashable, Sources] = {}  # strangers

    def __len__(self) -> int:
        """Return how many connections have a place."""
        return len(self._placed) + len(self._reserved) - len(self._first)

    @property
    def fullness(self) -> float:
        """How full the places of strangers are, of all or of one source; 1 is full."""
        return min(1.0, self._budget.fullness())

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._first) + len(self._waiting)

    def arrive(self, ticket: Hashable, host: str, now: float) -> Arrival:
        """Admit a connection that was accepted, which then waits for its turn, or refuse it."""
        who, sources = Claimant(b"", host, known=False), sources_of(host)
        if not self._rates.take(host, now) or not SOURCE_SHARES.keys().isdisjoint(self._budget.lacking(who)):
            return Arrival(admitted=False)
        if host in self._known:
            lacking = self._reserve.lacking(who)
            others = greediest(self._reserved, sources) if lacking else []
            if not lacking or (others and SOURCE_SHARES.keys().isdisjoint(lacking)):
                dropped = others[0] if others else None
                self.done(dropped)
                self._reserve.charge(ticket, who)
                self._reserved[ticket] = sources
                self._first[ticket] = None
                return Arrival(admitted=True, is_first=True, dropped=dropped)
        self._budget.charge(ticket, who)
        self._waiting[ticket] = sources
        dropped = next(iter(self._waiting)) if len(self._waiting) > self._places * WAITING_FOR_EACH_PLACE else None
        self.done(dropped)
        return Arrival(admitted=True, dropped=dropped)

    def next(self) -> Turn | None:
        """Give the next of those who wait a place; None when nobody waits."""
        if self._first:
            return Turn(self._first.popitem(last=False)[0])
        if not self._waiting:
            return None
        evicted = greediest(self._placed)[0] if len(self._placed) >= self._places else None
        self.done(evicted)  # whoever floods pays for it
        ticket, sources = self._waiting.popitem()
        self._placed[ticket] = sources
        return Turn(ticket, evicted)

    def done(self, ticket: Hashable) -> None:
        """Forget a connection that has proven its key and said hello, or is gone."""
        self._reserved.pop(ticket, None)
        self._first.pop(ticket, None)
        self._waiting.pop(ticket, None)
        self._placed.pop(ticket, None)
        self._budget.release(ticket)
        self._reserve.release(ticket)

    def drain(self) -> Iterator[Hashable]:
        """Yield everybody who waits; none of them gets a place any more."""
        for ticket in (*self._first, *self._waiting):
            self.done(ticket)
            yield ticket
