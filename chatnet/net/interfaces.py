"""The addresses of this machine's own network interfaces (the ``ifaddr`` package reads them)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import ifaddr
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core.addresses import is_dialable_ip
from chatnet.core.dialrules import Network
from chatnet.core.errors import LocalError, system_reason
from chatnet.core.limits import ADDRESS_WATCH_SECONDS, MAX_ENDPOINTS
from chatnet.core.records import Endpoint, endpoint
from chatnet.net.timers import cancel_timer


def _adapters() -> list[Any]:
    """Return all interfaces of this machine.  Raises LocalError("interfaces"), as without free file descriptors."""
    try:
        return list(ifaddr.get_adapters())
    except OSError as error:
        raise LocalError(
            "interfaces", f"the addresses of this machine cannot be read: {system_reason(error)}"
        ) from None


def own_networks() -> list[Network]:
    """Return the networks that our interfaces are in, loopback among them.  Raises LocalError("interfaces")."""
    found: list[Network] = []
    for adapter in _adapters():
        for ip in adapter.ips:
            host = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            found.append(ipaddress.ip_network((host.partition("%")[0], ip.network_prefix), strict=False))
    return found


def own_addresses() -> frozenset[tuple[str, int]]:
    """Return the addresses of our interfaces with their prefix lengths, by which a change is seen.

    Raises LocalError("interfaces").
    """
    return frozenset((str(ip.ip), ip.network_prefix) for adapter in _adapters() for ip in adapter.ips)


class AddressWatch:
    """Tells when the addresses of this machine have changed; looks every ADDRESS_WATCH_SECONDS.

    changed: called after each change, also of addresses that no record names.
    read: gives the present addresses; it may raise LocalError, as without free file descriptors, and is
        then asked again at the next look.
    """

    log = Logger("chatnet.interfaces")

    def __init__(
        self,
        clock: Any,
        changed: Callable[[], None],
        read: Callable[[], frozenset[tuple[str, int]]] = own_addresses,
    ) -> None:
        self._clock = clock
        self._changed = changed
        self._read = read
        self._known: frozenset[tuple[str, int]] | None = None  # not read yet, for a lack of descriptors
        try:
            self._known = read()
        except LocalError as error:
            self.log.warn("{why}", why=error.text)
        self._timer: IDelayedCall | None = clock.callLater(ADDRESS_WATCH_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        cancel_timer(self._timer)

    def _look(self) -> None:
        self._timer = self._clock.callLater(ADDRESS_WATCH_SECONDS, self._look)
        try:
            now = self._read()
            if now != self._known:
                self._known = now
                self.log.info("the addresses of this machine have changed")
                self._changed()
        except LocalError as error:
            self.log.warn("{why}", why=error.text)
        except Exception:
            self.log.failure("internal error while looking at the addresses of this machine")


def published_endpoints(bound: tuple[tuple[str, int], ...]) -> list[Endpoint]:
    """Return the endpoints of a record for ports bound at ``(interface, port)``: at most MAX_ENDPOINTS.

    A port on all addresses gives those of the interfaces, without loopback and link-local ones;
    a port on one address gives that.  Raises LocalError("interfaces").
    """
    found: list[Endpoint] = []
    for host, port in bound:
        address = ipaddress.ip_address(host)
        if not address.is_unspecified:
            found.append(endpoint(host, port))
            continue
        for adapter in _adapters():
            for ip in adapter.ips:
                text = ip.ip if isinstance(ip.ip, str) else ip.ip[0].partition("%")[0]
                own = ipaddress.ip_address(text)
                if own.version == address.version and not own.is_loopback and is_dialable_ip(own.packed):
                    found.append(Endpoint(own.packed, port))
    if not found:  # a machine without any network: the registry adds the address it sees
        found = [endpoint("127.0.0.1", port) for _, port in bound[:1]]
    return list(dict.fromkeys(found))[:MAX_ENDPOINTS]
