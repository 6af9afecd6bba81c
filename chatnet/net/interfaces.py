"""The addresses of this machine's own network interfaces (the ``ifaddr`` package reads them)."""

from __future__ import annotations

import ipaddress

import ifaddr

from chatnet.core.addresses import is_dialable_ip
from chatnet.core.dialrules import Network
from chatnet.core.limits import MAX_ENDPOINTS
from chatnet.core.records import Endpoint, endpoint


def own_networks() -> list[Network]:
    """The networks that our interfaces are in, loopback among them."""
    found: list[Network] = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            host = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            found.append(ipaddress.ip_network((host.partition("%")[0], ip.network_prefix), strict=False))
    return found


def published_endpoints(bound: tuple[tuple[str, int], ...]) -> list[Endpoint]:
    """What a record says for ports bound at ``(interface, port)``: at most MAX_ENDPOINTS.

    A port on all addresses gives those of the interfaces, without loopback and link-local ones;
    a port on one address gives that.
    """
    found: list[Endpoint] = []
    for host, port in bound:
        address = ipaddress.ip_address(host)
        if not address.is_unspecified:
            found.append(endpoint(host, port))
            continue
        for adapter in ifaddr.get_adapters():
            for ip in adapter.ips:
                text = ip.ip if isinstance(ip.ip, str) else ip.ip[0].partition("%")[0]
                own = ipaddress.ip_address(text)
                if own.version == address.version and not own.is_loopback and is_dialable_ip(own.packed):
                    found.append(Endpoint(own.packed, port))
    if not found:  # a machine without any network: the registry adds the address it sees
        found = [endpoint("127.0.0.1", port) for _, port in bound[:1]]
    return list(dict.fromkeys(found))[:MAX_ENDPOINTS]
