"""Which addresses may stand in the list, so that the list cannot aim peers at others."""

from __future__ import annotations

from collections.abc import Iterable

from chatnet.core.addresses import is_dialable_ip, is_loopback_ip, unmapped
from chatnet.core.limits import MAX_ENDPOINTS
from chatnet.core.records import Endpoint


def listed_endpoints(claimed: Iterable[Endpoint], observed_ip: bytes) -> list[Endpoint]:
    """Return the addresses of a peer in the list: where it was seen, then what its record claims.

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
