"""Rules for which addresses a peer dials and how often, so that a registry cannot direct it at a third party.

An address that answered with the expected key in this run has proven that it wants to be there;
the spacing and the rate are for the others.  Pure: time is handed in.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from chatnet.core.addresses import is_dialable_ip
from chatnet.core.bucket import TokenBucket
from chatnet.core.limits import MAX_SOURCES, PeerLimits
from chatnet.core.records import Endpoint

LOWEST_PORT = 1024
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def may_dial(endpoint: Endpoint, own_networks: Sequence[Network], loopback: bool) -> bool:
    """Whether the address is of a kind that a list may name.

    ``own_networks`` are those of our interfaces; private addresses (LAN, VPN) are dialled only by
    who is in a private network himself.  ``loopback``: the registry itself is on loopback.
    """
    if len(endpoint.ip) not in (4, 16) or endpoint.port < LOWEST_PORT or not is_dialable_ip(endpoint.ip):
        return False
    address = ipaddress.ip_address(endpoint.ip)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return False
    if address.is_loopback:
        return loopback
    if address.is_private:
        return any(net.version == address.version and _is_private(net) for net in own_networks)
    return True


def _is_private(network: Network) -> bool:
    """Return whether a network is private, not counting loopback and link-local ones, which every machine has."""
    return network.is_private and not network.is_loopback and not network.is_link_local


def preferred(endpoints: Iterable[Endpoint], own_networks: Sequence[Network], proven: int = 0) -> list[Endpoint]:
    """Return ``endpoints`` in the order to dial in: the first ``proven``, which the registry has reached, come first.

    So an address that somebody only claims is dialled last.  Within both parts the nearest come first: our own
    machine, our own networks, then the rest in the given order.
    """
    given = list(endpoints)

    def distance(endpoint: Endpoint) -> int:
        address = ipaddress.ip_address(endpoint.ip)
        if address.is_loopback:
            return 0
        return 1 if any(address in net for net in own_networks if net.version == address.version) else 2

    return sorted(given[:proven], key=distance) + sorted(given[proven:], key=distance)


class DialRules:
    """Counts the dials to addresses that have not proven their key."""

    def __init__(self, limits: PeerLimits, now: float) -> None:
        self._spacing = limits.dial_spacing_seconds
        self._rate = TokenBucket(limits.dials_per_minute / 60, limits.dials_per_minute, now)
        self._last: OrderedDict[Endpoint, float] = OrderedDict()
        self._proven: OrderedDict[Endpoint, None] = OrderedDict()

    def wait(self, endpoint: Endpoint, now: float) -> float:
        """Return the seconds until this address may be dialled; 0 takes the turn."""
        if endpoint in self._proven:
            return 0.0
        spacing = self._last.get(endpoint, float("-inf")) + self._spacing - now
        if spacing > 0:
            return spacing
        if not self._rate.take(now):
            return self._rate.delay(now)
        self._last[endpoint] = now
        self._last.move_to_end(endpoint)
        while len(self._last) > MAX_SOURCES:
            self._last.popitem(last=False)
        return 0.0

    def proven(self, endpoint: Endpoint) -> None:
        """Note that the expected key answered at this endpoint."""
        self._proven[endpoint] = None
        self._proven.move_to_end(endpoint)
        while len(self._proven) > MAX_SOURCES:
            self._proven.popitem(last=False)

    def disproven(self, endpoint: Endpoint) -> None:
        """Note that nobody, or another key, answered there."""
        self._proven.pop(endpoint, None)
