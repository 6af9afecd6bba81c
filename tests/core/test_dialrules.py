"""Where a list may aim us, and how often."""

from __future__ import annotations

import ipaddress

import pytest

from chatnet.core.dialrules import DialRules, may_dial, preferred
from chatnet.core.limits import MAX_SOURCES, PeerLimits
from chatnet.core.records import Endpoint, endpoint

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"), ipaddress.ip_network("fe80::/64")]
PUBLIC = [*LOOPBACK, ipaddress.ip_network("8.8.8.0/24"), ipaddress.ip_network("2600::/64")]
LAN = [*LOOPBACK, ipaddress.ip_network("192.168.1.0/24"), ipaddress.ip_network("fd00::/64")]
LIMITS = PeerLimits(dials_per_minute=6, dial_spacing_seconds=5.0)
HERE, THERE = endpoint("203.0.113.1", 4000), endpoint("8.8.8.8", 4000)


@pytest.mark.parametrize("networks", [PUBLIC, LAN, LOOPBACK, []])
@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "0.9.9.9", "224.0.0.1", "255.255.255.255", "240.0.0.1", "169.254.1.1", "::", "ff02::1", "fe80::1"],
)
def test_nobody_lives_there(host: str, networks: list[ipaddress.IPv4Network]) -> None:
    assert not may_dial(endpoint(host, 4000), networks, loopback=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "8.8.8.8", "10.0.0.1", "169.254.1.1"])
def test_a_mapped_address_is_never_dialled(host: str) -> None:
    mapped = Endpoint(b"\0" * 10 + b"\xff\xff" + endpoint(host, 1).ip, 4000)
    assert not may_dial(mapped, LAN, loopback=True)


@pytest.mark.parametrize("host", ["8.8.8.8", "2600::1"])
def test_public_addresses(host: str) -> None:
    for networks in (PUBLIC, LAN, LOOPBACK, []):
        assert may_dial(endpoint(host, 4000), networks, loopback=False)


@pytest.mark.parametrize("host", ["192.168.1.7", "10.0.0.1", "172.16.0.1", "fd00::7"])
def test_private_addresses_only_from_a_private_network(host: str) -> None:
    assert may_dial(endpoint(host, 4000), LAN, loopback=False)
    assert not may_dial(endpoint(host, 4000), PUBLIC, loopback=False)
    assert not may_dial(endpoint(host, 4000), LOOPBACK, loopback=True)
    assert not may_dial(endpoint(host, 4000), [], loopback=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1"])
def test_loopback_only_where_it_is_asked(host: str) -> None:
    assert may_dial(endpoint(host, 4000), [], loopback=True)
    assert not may_dial(endpoint(host, 4000), LAN, loopback=False)


@pytest.mark.parametrize(("port", "allowed"), [(0, False), (1, False), (22, False), (1023, False), (1024, True)])
def test_low_ports_are_other_programs(port: int, allowed: bool) -> None:
    assert may_dial(Endpoint(THERE.ip, port), PUBLIC, loopback=False) is allowed


@pytest.mark.parametrize("length", [0, 3, 5, 15, 17])
def test_what_is_no_address(length: int) -> None:
    assert not may_dial(Endpoint(b"\1" * length, 4000), LAN, loopback=True)


def test_the_nearest_first_and_otherwise_the_given_order() -> None:
    far, other, near, mine = (endpoint(h, 4000) for h in ("203.0.113.9", "8.8.8.8", "192.168.1.9", "127.0.0.1"))
    assert preferred([far, other, near, mine], LAN) == [mine, near, far, other]


def test_what_the_registry_has_reached_comes_before_what_is_only_claimed() -> None:
    far, near, mine = endpoint("8.8.8.8", 4000), endpoint("192.168.1.7", 4000), endpoint("127.0.0.1", 4000)
    assert preferred([far, mine, near], LAN, proven=1) == [far, mine, near]
    assert preferred([far, near, mine], LAN, proven=2) == [near, far, mine]
    assert preferred([far, near], LAN, proven=7) == [near, far]


def test_one_address_has_its_spacing_whoever_it_is_said_to_be() -> None:
    rules = DialRules(LIMITS, 0.0)
    assert rules.wait(HERE, 0.0) == 0.0
    assert rules.wait(HERE, 1.0) == 4.0
    assert rules.wait(Endpoint(HERE.ip, 4001), 1.0) == 0.0
    assert rules.wait(HERE, 5.0) == 0.0
    assert rules.wait(HERE, 5.0) == 5.0


def test_all_unproven_addresses_share_a_rate() -> None:
    rules = DialRules(LIMITS, 0.0)
    waits = [rules.wait(Endpoint(HERE.ip, port), 0.0) for port in range(4000, 4008)]
    assert waits[:6] == [0.0] * 6
    assert all(wait == pytest.approx(10.0) for wait in waits[6:])
    assert rules.wait(Endpoint(HERE.ip, 4006), 10.0) == 0.0


def test_a_proven_address_is_free_until_another_answers() -> None:
    rules = DialRules(LIMITS, 0.0)
    rules.proven(HERE)
    assert [rules.wait(HERE, 0.0) for _ in range(50)] == [0.0] * 50
    rules.disproven(HERE)
    rules.disproven(THERE)
    assert rules.wait(HERE, 0.0) == 0.0
    assert rules.wait(HERE, 0.0) == 5.0


def test_a_refused_turn_costs_nothing() -> None:
    rules = DialRules(LIMITS, 0.0)
    rules.wait(HERE, 0.0)
    for _ in range(20):
        rules.wait(HERE, 1.0)
    assert [rules.wait(Endpoint(HERE.ip, port), 1.0) for port in range(4001, 4006)] == [0.0] * 5


def test_a_bounded_number_of_addresses_is_remembered() -> None:
    rules = DialRules(PeerLimits(dials_per_minute=10**9), 0.0)
    for n in range(MAX_SOURCES + 100):
        one = Endpoint(n.to_bytes(4, "big"), 4000)
        rules.wait(one, 0.0)
        rules.proven(one)
    assert len(rules._last) == len(rules._proven) == MAX_SOURCES
