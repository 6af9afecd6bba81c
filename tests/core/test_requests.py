"""What strangers hold until a person decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.budgets import Budgets, Claimant, Level, PeerBudgets
from chatnet.core.limits import MAX_BODY_BYTES
from chatnet.core.requests import RequestLedger, request_bytes

MIB = 1_048_576


def stranger(n: int, host: str = "") -> Claimant:
    return Claimant(n.to_bytes(32, "big"), host or f"198.{n >> 8}.{n & 255}.1", known=False)


def ledger(table: PeerBudgets | None = None) -> tuple[RequestLedger, Budgets]:
    budgets = Budgets(table or PeerBudgets())
    return RequestLedger(budgets.requests, budgets.request_bytes, budgets.requesters), budgets


def id16(n: int) -> bytes:
    return n.to_bytes(16, "big")


def test_a_stranger_has_twenty_messages_of_the_usual_length() -> None:
    some, budgets = ledger()
    taken = [some.take(stranger(1), id16(n), request_bytes(100)) for n in range(21)]
    assert taken == [None] * 20 + [Level.KEY]
    assert budgets.requests.held() == 20
    assert budgets.requests.refused["key"] == 1


def test_twenty_of_the_longest_messages_fit_into_the_bytes_of_a_key() -> None:
    some, budgets = ledger()
    assert [some.take(stranger(1), id16(n), request_bytes(MAX_BODY_BYTES)) for n in range(20)] == [None] * 20
    assert budgets.request_bytes.held() <= MIB


def test_the_bytes_of_a_key_are_bounded() -> None:
    some, _ = ledger()
    assert some.take(stranger(1), id16(1), MIB) is None
    assert some.take(stranger(1), id16(2), 1) is Level.KEY


def test_the_hundred_and_first_stranger_has_no_room_until_one_goes() -> None:
    some, _ = ledger()
    taken = [some.take(stranger(n), id16(0), 600) for n in range(101)]
    assert taken[:100] == [None] * 100
    assert taken[100] is not None
    some.release(stranger(7).key)
    assert some.take(stranger(100), id16(0), 600) is None


def test_an_address_has_a_fifth_of_the_strangers() -> None:
    some, _ = ledger()
    taken = [some.take(stranger(n, "192.0.2.1"), id16(0), 600) for n in range(21)]
    assert taken == [None] * 20 + [Level.ADDRESS]


@pytest.mark.parametrize("ids", [None, {id16(1), id16(2)}])
def test_what_is_released_is_free_and_the_stranger_gone(ids: set[bytes] | None) -> None:
    some, budgets = ledger()
    for n in (1, 2):
        some.take(stranger(1), id16(n), 600)
    assert some.held(stranger(1).key) == {id16(1), id16(2)}
    some.release(stranger(1).key, ids)
    assert not some.holds(stranger(1).key, id16(1))
    assert [budget.held() for budget in budgets.all().values()] == [0] * 6


def test_what_came_since_is_not_released() -> None:
    some, budgets = ledger()
    some.take(stranger(1), id16(1), 600)
    held = some.held(stranger(1).key)
    some.take(stranger(1), id16(2), 600)
    some.release(stranger(1).key, held)
    assert some.held(stranger(1).key) == {id16(2)}
    assert (budgets.requests.held(), budgets.requesters.held()) == (1, 1)


def test_a_restart_charges_what_is_there_even_if_it_does_not_fit() -> None:
    some, budgets = ledger()
    some.recall(stranger(1, "192.0.2.1"), 30, 3 * MIB)
    assert budgets.requests.held(Level.ADDRESS, "192.0.2.1") == 30
    assert some.take(stranger(1), id16(1), 600) is Level.KEY
    some.release(stranger(1).key)
    assert budgets.request_bytes.held() == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30), st.booleans()), max_size=200))
def test_sums_are_those_of_what_is_held(steps: list[tuple[int, int, bool]]) -> None:
    some, budgets = ledger()
    present: set[tuple[bytes, bytes]] = set()
    for key, number, takes in steps:
        who, id = stranger(key), id16(number)
        if not takes:
            some.give_back(who.key, id)
            present.discard((who.key, id))
        elif not some.holds(who.key, id) and some.take(who, id, 700) is None:
            present.add((who.key, id))
    assert budgets.requests.held() == len(present)
    assert budgets.request_bytes.held() == 700 * len(present)
    assert budgets.requesters.held() == len({key for key, _ in present})
