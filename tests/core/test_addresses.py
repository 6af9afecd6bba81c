"""How addresses are written, and where they lead."""

from __future__ import annotations

import pytest

from chatnet.core.addresses import host_port, is_dialable_ip, is_loopback, is_loopback_ip
from chatnet.core.records import endpoint


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "0.1.2.3",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "240.0.0.1",
        "169.254.10.1",
        "::",
        "ff02::1",
        "fe80::1",
    ],
)
def test_addresses_that_are_nobody(host: str) -> None:
    assert not is_dialable_ip(endpoint(host, 1).ip)


@pytest.mark.parametrize("host", ["10.0.0.1", "192.168.1.5", "8.8.8.8", "127.0.0.1", "::1", "fd00::9", "2001:db8::1"])
def test_addresses_that_may_be_somebody(host: str) -> None:
    assert is_dialable_ip(endpoint(host, 1).ip)


@pytest.mark.parametrize("host", ["0.0.0.0", "224.0.0.1", "169.254.0.1", "255.255.255.255"])
def test_a_mapped_address_is_judged_by_what_it_means(host: str) -> None:
    assert not is_dialable_ip(b"\0" * 10 + b"\xff\xff" + endpoint(host, 1).ip)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)
    assert is_loopback_ip(endpoint(host, 1).ip)


@pytest.mark.parametrize("host", ["192.0.2.1", "::2", "::ffff:192.0.2.1", "localhost", "unix", ""])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "port", "shown"),
    [
        ("192.0.2.1", 9900, "192.0.2.1:9900"),
        ("chat.example.org", 1, "chat.example.org:1"),
        ("2001:db8::1", 65535, "[2001:db8::1]:65535"),
        ("fe80::1%eth0", 9900, "[fe80::1%eth0]:9900"),
    ],
)
def test_a_host_and_a_port_as_people_write_them(host: str, port: int, shown: str) -> None:
    assert host_port(host, port) == shown
