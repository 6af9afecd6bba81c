"""Who may try: rates, places, and who makes room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.admission import Admission
from chatnet.core.limits import MAX_SOURCES, LinkLimits

LIMITS = LinkLimits(source_connects_per_minute=60, source_connects_burst=5, source_unauthenticated=3)


def rates_only(burst: int = 5) -> Admission:
    limits = LinkLimits(source_connects_per_minute=60, source_connects_burst=burst, source_unauthenticated=10**6)
    return Admission(limits, 10**6)


def test_a_source_has_so_many_connections_at_once_and_then_a_rate() -> None:
    admission = rates_only(burst=5)
    assert [admission.admit(n, "192.0.2.1", 0.0)[0] for n in range(7)] == [True] * 5 + [False] * 2
    assert not admission.admit("soon", "192.0.2.1", 0.9)[0]
    assert admission.admit("later", "192.0.2.1", 1.0)[0]
    assert admission.admit("other", "192.0.2.2", 0.0)[0]


def test_neighbours_in_one_64_are_one_source() -> None:
    admission = rates_only(burst=5)
    assert sum(admission.admit(n, f"2001:db8::{n:x}", 0.0)[0] for n in range(1, 10)) == 5
    assert admission.admit("other", "2001:db8:0:1::1", 0.0)[0]


@pytest.mark.parametrize(
    ("hosts", "shares"),
    [
        ("192.0.2.{}", 2),
        ("2001:db8:0:00{:02x}::1", 2),
        ("2001:db8:0:{:02x}00::1", 4),
        ("10.{}.0.1", 200),
        ("2001:db8:{}::1", 200),
    ],
)
def test_a_network_and_a_site_have_sums_of_their_own(hosts: str, shares: int) -> None:
    admission = rates_only(burst=5)
    admitted = sum(admission.admit((n, m), hosts.format(n), 0.0)[0] for n in range(200) for m in range(5))
    assert admitted == 5 * shares
    admission = Admission(LinkLimits(source_unauthenticated=3), 10**6)
    assert sum(admission.admit((n, m), hosts.format(n), 0.0)[0] for n in range(200) for m in range(5)) == 3 * shares


def test_a_source_has_so_many_unproven_places() -> None:
    admission = Admission(LIMITS, 100)
    assert [admission.admit(n, "192.0.2.1", 0.0)[0] for n in range(4)] == [True, True, True, False]
    admission.done(1)
    assert admission.admit("next", "192.0.2.1", 0.0)[0]
    assert len(admission) == 3


@pytest.mark.parametrize(("loopback", "admitted"), [("free", 50), ("counted", 3)])
def test_loopback_is_counted_only_where_that_is_asked(loopback: str, admitted: int) -> None:
    admission = Admission(LinkLimits(source_unauthenticated=3, loopback=loopback), 100)
    assert sum(admission.admit(n, "127.0.0.1", 0.0)[0] for n in range(50)) == admitted


def test_when_all_places_are_taken_the_oldest_of_the_greediest_goes() -> None:
    admission = Admission(LIMITS, 4)
    for ticket, host in enumerate(["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.3"]):
        assert admission.admit(ticket, host, 0.0) == (True, None)
    assert admission.admit("new", "192.0.2.4", 0.0) == (True, 1)
    assert len(admission) == 4
    admission.done(1)  # its line is lost later: it counts no second time
    assert len(admission) == 4


def test_one_site_with_many_addresses_is_the_greediest() -> None:
    admission = Admission(LIMITS, 4)
    for ticket, host in enumerate(["192.0.2.1", "198.51.100.1", "2001:db8:0:1::1", "2001:db8:0:2::1"]):
        assert admission.admit(ticket, host, 0.0) == (True, None)
    assert admission.admit("more", "2001:db8:0:3::1", 0.0) == (True, 2)


def test_a_refused_one_makes_nobody_go() -> None:
    admission = Admission(LIMITS, 3)
    for ticket in range(3):
        admission.admit(ticket, "192.0.2.1", 0.0)
    assert admission.admit("more", "192.0.2.1", 0.0) == (False, None)
    assert len(admission) == 3


def test_what_was_never_admitted_can_end_too() -> None:
    admission = Admission(LIMITS, 3)
    admission.done("nobody")
    assert len(admission) == 0


def test_the_rates_of_a_bounded_number_of_sources_are_remembered() -> None:
    admission = rates_only(burst=1)
    admission.admit("first", "192.0.2.1", 0.0)
    for n in range(MAX_SOURCES):
        admission.admit(n, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)
    assert {len(buckets._buckets) for buckets in admission._rates._buckets.values()} <= {0, 41, MAX_SOURCES}
    assert admission.admit("again", "192.0.2.1", 0.0)[0]  # forgotten, as the one that was quiet longest


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 30)), max_size=60))
def test_places_are_counted_right_whatever_comes_and_goes(steps: list[tuple[int, bool, float]]) -> None:
    admission = Admission(LIMITS, 6)
    inside: dict[int, str] = {}
    now = 0.0
    for number, (host_number, comes, wait) in enumerate(steps):
        now += wait
        host = f"192.0.2.{host_number}"
        if comes:
            admitted, evicted = admission.admit(number, host, now)
            if evicted is not None:
                del inside[evicted]  # it was inside
            if admitted:
                inside[number] = host
        elif inside:
            ticket = next(iter(inside))
            del inside[ticket]
            admission.done(ticket)
        assert len(admission) == len(inside) <= 6
        assert all(list(inside.values()).count(one) <= 3 for one in inside.values())
