"""Properties of a network address: its text form, the kind of network it belongs to, and the source it counts for.

An address is a text ("192.0.2.1", "fe80::1%eth0") or 4 or 16 bytes.  IPv4-mapped IPv6 is unmapped
before any rule looks at it.
"""

from __future__ import annotations

import ipaddress

_MAPPED = b"\x00" * 10 + b"\xff\xff"
_LOOPBACK_NETWORK = 127  # 127.0.0.0/8
_LOOPBACK_IPV6 = b"\x00" * 15 + b"\x01"
_THIS_NETWORK = b"\x00"  # 0.0.0.0/8: some systems take any of it for themselves


def host_port(host: str, port: int) -> str:
    """Return ``host:port`` as people write it: an IPv6 address in brackets, a name or an IPv4 address without."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unmapped(ip: bytes) -> bytes:
    """Return the IPv4 address in an IPv4-mapped one, and every other address as it is."""
    return ip[12:] if len(ip) == 16 and ip.startswith(_MAPPED) else ip


def is_loopback_ip(ip: bytes) -> bool:
    """Whether the 4 or 16 bytes are an address of this machine's loopback interface."""
    ip = unmapped(ip)
    return ip[0] == _LOOPBACK_NETWORK if len(ip) == 4 else ip == _LOOPBACK_IPV6


def is_loopback(host: str) -> bool:
    """Return whether an address in text is a loopback address; False for what is no address, as a name or ``unix``."""
    try:
        return is_loopback_ip(ipaddress.ip_address(host.partition("%")[0]).packed)
    except ValueError:
        return False


def is_dialable_ip(ip: bytes) -> bool:
    """Whether one peer could be behind it: not unspecified, multicast, broadcast, link-local, reserved."""
    address = ipaddress.ip_address(unmapped(ip))
    if address.is_unspecified or address.is_multicast or address.is_link_local:
        return False
    if address.version == 6:
        return not address.is_reserved or address.is_loopback
    return not address.is_reserved and not address.packed.startswith(_THIS_NETWORK)
