"""Which addresses may stand in the list, so that the list cannot aim peers at others.

Addresses are 4 or 16 bytes.  IPv4-mapped IPv6 is unmapped before any rule looks at it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from chatnet.core.limits import MAX_ENDPOINTS
from chatnet.core.records import Endpoint

_MAPPED = b"\x00" * 10 + b"\xff\xff"
_LOOPBACK_NETWORK = 127  # 127.0.0.0/8
_LOOPBACK_IPV6 = b"\x00" * 15 + b"\x01"
_THIS_NETWORK = b"\x00"  # 0.0.0.0/8: some systems take any of it for themselves


def unmapped(ip: bytes) -> bytes:
    """The IPv4 address in an IPv4-mapped one; every other as it is."""
    return ip[12:] if len(ip) == 16 and ip.startswith(_MAPPED) else ip


def is_loopback_ip(ip: bytes) -> bool:
    ip = unmapped(ip)
    return ip[0] == _LOOPBACK_NETWORK if len(ip) == 4 else ip == _LOOPBACK_IPV6


def is_dialable_ip(ip: bytes) -> bool:
    """Whether one peer could be behind it: not unspecified, multicast, broadcast, link-local, reserved."""
    address = ipaddress.ip_address(unmapped(ip))
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    if address.version == 6:
        return not address.is_reserved or address.is_loopback
    return not address.is_reserved and not address.packed.startswith(_THIS_NETWORK)


def listed_endpoints(claimed: Iterable[Endpoint], observed_ip: bytes) -> list[Endpoint]:
    """What the list says about a peer: where it was seen, then what its record claims.

    The observed address comes with the port of the record's first endpoint.  Loopback addresses
    are believed only of a peer that came over loopback: on another machine they would mean that
    machine.
    """
    claims = [Endpoint(unmapped(ip), port) for ip, port in claimed]
    seen = unmapped(observed_ip)
    local = is_loopback_ip(seen)
    endpoints = dict.fromkeys([Endpoint(seen, claims[0].port), *claims] if claims else [])
    fit = [e for e in endpoints if is_dialable_ip(e.ip) and (local or not is_loopback_ip(e.ip))]
    return fit[: MAX_ENDPOINTS + 1]
