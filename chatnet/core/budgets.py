"""Budgets: how much of one resource a key, a source, all strangers, and all together may hold.

A limit for each key bounds nothing by itself, since keys cost nothing to make.  A budget bounds the
sum: each holder is charged in units of what the resource costs here (places, bytes of memory, bytes
on disk) at every level that it belongs to, and gets nothing once one of them is used up.

``PeerBudgets`` is the table of all budgets of a peer, shown and changed as the limits are: one number
by ``NAME.LEVEL=VALUE``.  Somebody is known once a person here wrote to them or accepted
them; everybody else is a stranger.  No I/O, no clock.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, Self, TypeVar

from chatnet.core.addresses import is_loopback

MIB = 1_048_576
UNIX = "unix"  # the host of whoever comes over a unix socket
SOURCES_REMEMBERED = 1_024  # addresses whose sources are in the cache: 600 KB.  Here, since limits.py imports this file


class Level(StrEnum):
    """At which sum a holder met its limit."""

    ALL = "all"
    STRANGERS = "strangers"
    KEY = "key"
    ADDRESS = "address"  # an IPv4 address, an IPv6 /64
    NETWORK = "network"  # an IPv4 /24, an IPv6 /56: twice what an address has
    SITE = "site"  # an IPv6 /48: four times what an address has


# What each kind of source has, in shares of an address: a customer's /56 or an office's /24, and a whole /48.
SOURCE_SHARES = {Level.ADDRESS: 1, Level.NETWORK: 2, Level.SITE: 4}


class Shares(NamedTuple):
    """How much each level may hold.  ``strangers`` and below hold for strangers, ``key`` for everybody."""

    all: int
    strangers: int
    key: int
    address: int

    def of(self, level: Level) -> int:
        """Return the most that one sum at ``level`` may be."""
        if level in SOURCE_SHARES:
            return self.address * SOURCE_SHARES[level]
        return int(getattr(self, level))

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self._asdict().items())


class Claimant(NamedTuple):
    """Who asks for a share: a proven key, the host that it comes from, and whether a person here knows it."""

    key: bytes
    host: str
    known: bool


Account = tuple[Level, Hashable]  # a level, and the key or source that the sum belongs to
Accounts = tuple[Account, ...]


class Budget:
    """The holders of one resource, and the sums of what they hold.

    A holder is anything hashable: a link, the id of an offer.  ``count_loopback``: addresses of this
    machine are sources like any other.
    """

    def __init__(self, shares: Shares, *, count_loopback: bool = False) -> None:
        self.shares = shares
        self._count_loopback = count_loopback
        self._held: dict[Hashable, tuple[Accounts, int]] = {}
        self._sums: Counter[Account] = Counter()
        self.refused: Counter[str] = Counter({level.value: 0 for level in Level})

    def lacks(self, who: Claimant, amount: int = 1) -> Level | None:
        """Return the first level at which ``who`` cannot have ``amount`` more; None if it fits everywhere."""
        return next(iter(self.lacking(who, amount)), None)

    def lacking(self, who: Claimant, amount: int = 1) -> tuple[Level, ...]:
        """Return every level at which ``who`` cannot have ``amount`` more."""
        return self._lacking(self._accounts(who), amount)

    def take(self, holder: Hashable, who: Claimant, amount: int = 1) -> Level | None:
        """Charge ``amount`` more to ``holder``, or charge nothing and return the level that lacks it.

        A holder stays in the accounts of its first charge, whatever becomes of ``who`` meanwhile.
        """
        accounts, _ = self._held.get(holder) or (self._accounts(who), 0)
        lacking = self._lacking(accounts, amount)
        if lacking:
            self.refuse(lacking[0])
            return lacking[0]
        self.charge(holder, who, amount)
        return None

    def refuse(self, level: Level) -> None:
        """Count a refusal that the owner decided about by ``lacking``."""
        self.refused[level.value] += 1

    def charge(self, holder: Hashable, who: Claimant, amount: int = 1) -> None:
        """Charge what is there already, such as what a restart finds, whether or not it fits."""
        accounts, held = self._held.get(holder) or (self._accounts(who), 0)
        self._held[holder] = accounts, held + amount
        for account in accounts:
            self._sums[account] += amount

    def recharge(self, holder: Hashable, who: Claimant) -> None:
        """Charge what ``holder`` holds to the accounts of ``who`` as they are now; nothing if it holds nothing."""
        _, amount = self._held.get(holder, ((), 0))
        if amount:
            self.release(holder)
            self.charge(holder, who, amount)

    def release(self, holder: Hashable) -> None:
        """Free what ``holder`` held; do nothing if it held nothing."""
        accounts, amount = self._held.pop(holder, ((), 0))
        for account in accounts:
            self._sums[account] -= amount
            if not self._sums[account]:
                del self._sums[account]

    def held(self, level: Level = Level.ALL, name: Hashable = None) -> int:
        """Return the sum at one level: the whole one, or that of the key, address, network or site ``name``."""
        return self._sums[level, name]

    def fullest(self, level: Level) -> int:
        """Return the greatest sum at a level: that of the key or the source that holds most."""
        return max((amount for (at, _), amount in self._sums.items() if at is level), default=0)

    def fullness(self) -> float:
        """Return how full the fullest level is, of all, of all strangers, of one key or of one source; 1 is full."""
        return max((self.fullest(level) / self.shares.of(level) for level in Level), default=0.0)

    def _lacking(self, accounts: Accounts, amount: int) -> tuple[Level, ...]:
        return tuple(level for level, name in accounts if self._sums[level, name] + amount > self.shares.of(level))

    def _accounts(self, who: Claimant) -> Accounts:
        everybody: Accounts = ((Level.KEY, who.key), (Level.ALL, None))
        if who.known:
            return everybody
        return (*everybody, (Level.STRANGERS, None), *counted_sources(who.host, self._count_loopback))


Sources = tuple[tuple[Level, str], ...]  # a level and the source at it, the narrowest first
Member = TypeVar("Member", bound=Hashable)


def counted_sources(host: str, count_loopback: bool) -> Sources:
    """Return the sources whose sums hold for ``host``: none for this machine and its unix sockets.

    With ``count_loopback``, these are counted as well.  There is no source either for "", a host that is not known any
    more.
    """
    if not host:
        return ()
    return () if not count_loopback and (is_loopback(host) or host == UNIX) else sources_of(host)


def greediest(members: Mapping[Member, Sources], newcomer: Sources = ()) -> list[Member]:
    """Return the members of the source that has most of them: of the widest sources, then of narrower ones within.

    With ``newcomer``, the sources of a member that wants the place of another one, return only members of a source that
    has more of them than the newcomer's own source of the same width.  They come in the order of ``members``.
    """
    left = list(members)
    for depth in range(-1, -len(SOURCE_SHARES) - 1, -1):
        count = Counter(_source_at(members[one], depth) for one in left)
        most = max(count.values(), default=0)
        sources = {source for source, number in count.items() if number == most}
        if newcomer:
            own = _source_at(newcomer, depth)
            if own in sources:
                sources = {own}  # within its own source it may still be the most modest one
            else:
                newcomer = ()
        left = [one for one in left if _source_at(members[one], depth) in sources]
    return [] if newcomer else left


def _source_at(sources: Sources, depth: int) -> str:
    """Return the source at ``depth``, counted from the widest, -1, on; the narrowest if there are fewer levels."""
    return sources[max(depth, -len(sources))][1]


@lru_cache(SOURCES_REMEMBERED)  # asked several times about each connection
def sources_of(host: str) -> Sources:
    """Return the sources that an address belongs to, the narrowest first.

    Anything that is not an IP address is a source by itself.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ((Level.ADDRESS, host),)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if isinstance(address, ipaddress.IPv4Address):
        text = str(address)
        return ((Level.ADDRESS, text), (Level.NETWORK, f"{text.rpartition('.')[0]}.0/24"))
    return tuple(
        (level, _prefix(address, bits)) for level, bits in ((Level.ADDRESS, 64), (Level.NETWORK, 56), (Level.SITE, 48))
    )


def _prefix(address: ipaddress.IPv6Address, bits: int) -> str:
    rest = 128 - bits
    return f"{ipaddress.IPv6Address(int(address) >> rest << rest)}/{bits}"


# --- the table --------------------------------------------------------------------------------


def _of(unit: str, reason: str) -> dict[str, str]:
    return {"unit": unit, "reason": reason}


@dataclass(frozen=True)
class PeerBudgets:
    """What other people may hold of a peer's resources."""

    links: Shares = field(
        default=Shares(all=256, strangers=64, key=2, address=8),
        metadata=_of("places", "links; somebody known always gets in, and a quiet stranger's link is closed for them"),
    )
    offers: Shares = field(
        default=Shares(all=32 * MIB, strangers=16 * MIB, key=4 * MIB, address=8 * MIB),
        metadata=_of("bytes of memory", "offers that are unanswered, or of which pages are missing"),
    )
    offered_files: Shares = field(
        default=Shares(all=400_000, strangers=4_000, key=100_000, address=2_000),
        metadata=_of("files and folders", "in offers that are unanswered, or of which pages are missing"),
    )
    requests: Shares = field(
        default=Shares(all=2_000, strangers=2_000, key=20, address=400),
        metadata=_of("messages", "from people who stand in no list and whom nobody here has written to or accepted"),
    )
    request_bytes: Shares = field(
        default=Shares(all=32 * MIB, strangers=32 * MIB, key=MIB, address=8 * MIB),
        metadata=_of("bytes on disk", "held by messages of such people"),
    )
    requesters: Shares = field(
        default=Shares(all=100, strangers=100, key=1, address=20),
        metadata=_of("people", "who sent such messages: as many as a person can look through"),
    )

    def levels(self, name: str) -> tuple[str, ...]:
        """Return the levels of a budget, the whole first; empty if there is no such budget."""
        return Shares._fields if name in {item.name for item in fields(self)} else ()

    def changed(self, name: str, level: str, value: int) -> Self:
        """Return a copy of the table with one number of one budget changed."""
        shares: Shares = getattr(self, name)
        changes: dict[str, Any] = {name: shares._replace(**{level: value})}
        return replace(self, **changes)

    def rows(self) -> Iterator[str]:
        """Yield one line a budget: name, shares, unit, reason."""
        for item in fields(self):
            unit, reason = item.metadata["unit"], item.metadata["reason"]
            yield f"{item.name:<30} {getattr(self, item.name)} {unit}: {reason}"


class Budgets:
    """The budgets of one peer, one for each row of the table: made once, and shared by all its parts."""

    def __init__(self, table: PeerBudgets, *, count_loopback: bool = False) -> None:
        self.links = Budget(table.links, count_loopback=count_loopback)
        self.offers = Budget(table.offers, count_loopback=count_loopback)
        self.offered_files = Budget(table.offered_files, count_loopback=count_loopback)
        self.requests = Budget(table.requests, count_loopback=count_loopback)
        self.request_bytes = Budget(table.request_bytes, count_loopback=count_loopback)
        self.requesters = Budget(table.requesters, count_loopback=count_loopback)

    def all(self) -> dict[str, Budget]:
        """Return each budget by its name."""
        return dict(vars(self))
