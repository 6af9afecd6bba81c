"""Who may try: rates, places, and who makes room."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.admission import Admission
from chatnet.core.known_sources import KnownSources
from chatnet.core.limits import KNOWN_SOURCE_PLACES, MAX_SOURCES, WAITING_FOR_EACH_PLACE, LinkLimits

LIMITS = LinkLimits(source_connects_per_minute=60, source_connects_burst=5, source_unauthenticated=3)


def admit(admission: Admission, ticket: Hashable, host: str, now: float = 0.0) -> tuple[bool, Hashable | None]:
    """Let one come and have its turn at once; whether it may try, and which older one must go for it."""
    if not admission.arrive(ticket, host, now).admitted:
        return False, None
    turn = admission.next()
    assert turn is not None
    assert turn.ticket == ticket
    return True, turn.evicted


def rates_only(burst: int = 5) -> Admission:
    limits = LinkLimits(source_connects_per_minute=60, source_connects_burst=burst, source_unauthenticated=10**6)
    return Admission(limits, 10**6)


def test_a_source_has_so_many_connections_at_once_and_then_a_rate() -> None:
    admission = rates_only(burst=5)
    assert [admit(admission, n, "192.0.2.1", 0.0)[0] for n in range(7)] == [True] * 5 + [False] * 2
    assert not admit(admission, "soon", "192.0.2.1", 0.9)[0]
    assert admit(admission, "later", "192.0.2.1", 1.0)[0]
    assert admit(admission, "other", "192.0.2.2", 0.0)[0]


def test_neighbours_in_one_64_are_one_source() -> None:
    admission = rates_only(burst=5)
    assert sum(admit(admission, n, f"2001:db8::{n:x}", 0.0)[0] for n in range(1, 10)) == 5
    assert admit(admission, "other", "2001:db8:0:1::1", 0.0)[0]


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
    admitted = sum(admit(admission, (n, m), hosts.format(n), 0.0)[0] for n in range(200) for m in range(5))
    assert admitted == 5 * shares
    admission = Admission(LinkLimits(source_unauthenticated=3), 10**6)
    assert sum(admit(admission, (n, m), hosts.format(n), 0.0)[0] for n in range(200) for m in range(5)) == 3 * shares


def test_a_source_has_so_many_unproven_places() -> None:
    admission = Admission(LIMITS, 100)
    assert [admit(admission, n, "192.0.2.1", 0.0)[0] for n in range(4)] == [True, True, True, False]
    admission.done(1)
    assert admit(admission, "next", "192.0.2.1", 0.0)[0]
    assert len(admission) == 3


@pytest.mark.parametrize(("loopback", "admitted"), [("free", 50), ("counted", 3)])
def test_loopback_is_counted_only_where_that_is_asked(loopback: str, admitted: int) -> None:
    admission = Admission(LinkLimits(source_unauthenticated=3, loopback=loopback), 100)
    assert sum(admit(admission, n, "127.0.0.1", 0.0)[0] for n in range(50)) == admitted


def test_when_all_places_are_taken_the_oldest_of_the_greediest_goes() -> None:
    admission = Admission(LIMITS, 4)
    for ticket, host in enumerate(["192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.3"]):
        assert admit(admission, ticket, host, 0.0) == (True, None)
    assert admit(admission, "new", "192.0.2.4", 0.0) == (True, 1)
    assert len(admission) == 4
    admission.done(1)  # its line is lost later: it counts no second time
    assert len(admission) == 4


def test_one_site_with_many_addresses_is_the_greediest() -> None:
    admission = Admission(LIMITS, 4)
    for ticket, host in enumerate(["192.0.2.1", "198.51.100.1", "2001:db8:0:1::1", "2001:db8:0:2::1"]):
        assert admit(admission, ticket, host, 0.0) == (True, None)
    assert admit(admission, "more", "2001:db8:0:3::1", 0.0) == (True, 2)


def test_a_refused_one_makes_nobody_go() -> None:
    admission = Admission(LIMITS, 3)
    for ticket in range(3):
        admit(admission, ticket, "192.0.2.1", 0.0)
    assert admit(admission, "more", "192.0.2.1", 0.0) == (False, None)
    assert len(admission) == 3


def test_what_was_never_admitted_can_end_too() -> None:
    admission = Admission(LIMITS, 3)
    admission.done("nobody")
    assert len(admission) == 0


def test_the_rates_of_a_bounded_number_of_sources_are_remembered() -> None:
    admission = rates_only(burst=1)
    admit(admission, "first", "192.0.2.1", 0.0)
    for n in range(MAX_SOURCES):
        admit(admission, n, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0)
    assert {len(buckets._buckets) for buckets in admission._rates._buckets.values()} <= {0, 41, MAX_SOURCES}
    assert admit(admission, "again", "192.0.2.1", 0.0)[0]  # forgotten, as the one that was quiet longest


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["comes", "turn", "goes"])), max_size=60))
def test_nobody_is_lost_and_no_limit_exceeded_whatever_comes_and_goes(steps: list[tuple[int, str]]) -> None:
    known = KnownSources()
    known.learn(b"k" * 32, ["192.0.2.4", "192.0.2.5"])
    admission = Admission(LinkLimits(source_unauthenticated=9), 2, 3, known)
    inside: dict[int, bool] = {}
    placed: set[int] = set()
    for number, (host_number, step) in enumerate(steps):
        if step == "comes":
            arrival = admission.arrive(number, f"192.0.2.{host_number}", 0.0)
            inside[number] = arrival.is_first
            gone: Any = arrival.dropped
        elif step == "turn":
            turn: Any = admission.next()
            gone = turn.evicted if turn else None
            placed |= {turn.ticket} if turn else set()
        else:
            gone = next(iter(inside), None)
            admission.done(gone)
        if gone is not None:
            del inside[gone]  # it was inside
            placed.discard(gone)
        assert len(admission) == len(placed) <= 5
        assert admission.waiting == len(inside) - len(placed) <= 3 + 2 * WAITING_FOR_EACH_PLACE
        assert sum(inside.values()) <= 3
        assert sum(not inside[one] for one in placed) <= 2


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 30)), max_size=60))
def test_places_are_counted_right_whatever_comes_and_goes(steps: list[tuple[int, bool, float]]) -> None:
    admission = Admission(LIMITS, 6)
    inside: dict[int, str] = {}
    now = 0.0
    for number, (host_number, comes, wait) in enumerate(steps):
        now += wait
        host = f"192.0.2.{host_number}"
        if comes:
            admitted, evicted = admit(admission, number, host, now)
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


# --- the order ----------------------------------------------------------------------------------

HOME = "203.0.113.9"


def with_home(unauthenticated: int = 4, reserved: int = 4, **limits: Any) -> Admission:
    """Somebody known comes from HOME."""
    known = KnownSources()
    known.learn(b"k" * 32, [HOME])
    return Admission(LinkLimits(**limits), unauthenticated, reserved, known)


def order(admission: Admission) -> list[Hashable]:
    """Who has a turn, in this order."""
    found = []
    while (turn := admission.next()) is not None:
        found.append(turn.ticket)
    return found


def test_the_newest_stranger_has_the_next_place() -> None:
    admission = with_home()
    for n in range(4):
        assert admission.arrive(n, f"192.0.{n}.1", 0.0) == (True, False, None)
    assert (len(admission), admission.waiting) == (0, 4)
    assert order(admission) == [3, 2, 1, 0]
    assert (len(admission), admission.waiting) == (4, 0)


def test_known_sources_come_first_the_oldest_of_them_foremost() -> None:
    admission = with_home()
    for n in range(2):
        admission.arrive(n, f"192.0.{n}.1", 0.0)
    assert [admission.arrive(f"known {n}", HOME, 0.0) for n in range(2)] == [(True, True, None)] * 2
    admission.arrive(2, "192.0.2.1", 0.0)
    assert order(admission) == ["known 0", "known 1", 2, 1, 0]


def test_strangers_neither_take_nor_clear_the_places_of_known_sources() -> None:
    admission = with_home(unauthenticated=4)
    for n in range(4):
        admit(admission, n, f"192.0.{n}.1")
    assert admit(admission, "known", HOME) == (True, None)
    for n in range(4, 50):
        assert admit(admission, n, f"192.0.{n}.1") == (True, n - 4)
    assert len(admission) == 5
    admission.done("known")
    assert len(admission) == 4


@pytest.mark.parametrize(("reserved", "firsts"), [(99, KNOWN_SOURCE_PLACES), (3, 3), (0, 0)])
def test_a_known_source_has_so_many_reserved_places_and_then_those_of_strangers(reserved: int, firsts: int) -> None:
    admission = with_home(unauthenticated=100, reserved=reserved)
    assert [admission.arrive(n, HOME, 0.0).is_first for n in range(20)] == [True] * firsts + [False] * (20 - firsts)
    assert order(admission) == [*range(firsts), *reversed(range(firsts, 20))]
    if firsts:
        admission.done(0)
        assert admission.arrive("next", HOME, 0.0).is_first


def test_all_known_sources_share_the_reserve_and_their_networks_have_twice_the_share() -> None:
    known = KnownSources()
    hosts = [f"203.0.113.{n}" for n in range(50)]
    for n, host in enumerate(hosts):
        known.learn(n.to_bytes(32, "big"), [host])
    admission = Admission(LinkLimits(), 100, 64, known)
    assert sum(admission.arrive(host, host, 0.0).is_first for host in hosts) == 2 * KNOWN_SOURCE_PLACES


def test_the_greediest_known_source_makes_room_for_another_one_also_while_it_waits() -> None:
    known = KnownSources()
    hosts = [f"203.0.{n}.1" for n in range(9)]
    known.learn(b"k" * 32, hosts[:4], hosts[4:])
    admission = Admission(LinkLimits(), 4, 4, known)
    for n in range(3):
        admission.arrive(n, hosts[0], 0.0)
    admission.arrive("one", hosts[1], 0.0)
    assert admission.next() == (0, None)
    assert admission.arrive("another", hosts[2], 0.0) == (True, True, 0)  # it had its place
    assert admission.arrive("more", hosts[3], 0.0) == (True, True, 1)  # it waited
    assert not admission.arrive("no more modest", hosts[2], 0.0).is_first
    assert admission.arrive("modest", hosts[4], 0.0) == (True, True, 2)
    assert order(admission) == ["one", "another", "more", "modest", "no more modest"]


def test_rates_hold_for_known_sources_too() -> None:
    admission = with_home(source_connects_per_minute=60, source_connects_burst=3)
    assert [admission.arrive(n, HOME, 0.0).admitted for n in range(5)] == [True] * 3 + [False] * 2


def test_when_too_many_wait_the_stranger_that_has_waited_longest_goes() -> None:
    admission = with_home(unauthenticated=1)
    admission.arrive("known", HOME, 0.0)
    most = WAITING_FOR_EACH_PLACE
    arrivals = [admission.arrive(n, f"192.0.{n}.1", 0.0) for n in range(most + 2)]
    assert [one.dropped for one in arrivals] == [None] * most + [0, 1]
    assert admission.waiting == most + 1
    assert order(admission) == ["known", *reversed(range(2, most + 2))]


def test_those_who_wait_count_for_their_source() -> None:
    admission = with_home(source_unauthenticated=3)
    assert [admission.arrive(n, "192.0.2.1", 0.0).admitted for n in range(4)] == [True, True, True, False]
    admission.done(1)
    assert admission.arrive("next", "192.0.2.1", 0.0).admitted
    assert order(admission) == ["next", 2, 0]


def test_who_is_turned_away_has_no_turn_any_more() -> None:
    admission = with_home()
    admission.arrive(0, "192.0.2.1", 0.0)
    admission.arrive("known", HOME, 0.0)
    assert list(admission.drain()) == ["known", 0]
    assert admission.next() is None
    assert admission.fullness == len(admission) == admission.waiting == 0
