"""Budgets: sums at every level, and nothing lost or left over."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.budgets import Budget, Budgets, Claimant, Level, PeerBudgets, Shares, sources_of

SHARES = Shares(all=10, strangers=6, key=3, address=2)


def stranger(key: int, host: str = "192.0.2.1") -> Claimant:
    return Claimant(bytes([key]), host, known=False)


def friend(key: int) -> Claimant:
    return Claimant(bytes([key]), "192.0.2.1", known=True)


@pytest.mark.parametrize(
    ("host", "sources"),
    [
        ("192.0.2.7", ["192.0.2.7", "192.0.2.0/24"]),
        ("::ffff:192.0.2.7", ["192.0.2.7", "192.0.2.0/24"]),
        ("2001:db8:1:234::5", ["2001:db8:1:234::/64", "2001:db8:1:200::/56", "2001:db8:1::/48"]),
        ("fe80::1%eth0", ["fe80::/64", "fe80::/56", "fe80::/48"]),
        ("unix", ["unix"]),
    ],
)
def test_the_sources_of_an_address_from_the_narrowest(host: str, sources: list[str]) -> None:
    assert [source for _, source in sources_of(host)] == sources


def test_a_key_has_its_share_also_when_it_is_known() -> None:
    budget = Budget(SHARES)
    assert budget.take("a", friend(1), 3) is None
    assert budget.take("b", friend(1)) is Level.KEY
    assert budget.take("b", friend(2)) is None


def test_many_keys_of_one_address_have_one_share() -> None:
    budget = Budget(SHARES)
    assert [budget.take(n, stranger(n)) for n in range(3)] == [None, None, Level.ADDRESS]


def test_a_network_has_twice_and_a_site_four_times_the_share_of_an_address() -> None:
    budget = Budget(Shares(all=100, strangers=100, key=1, address=2))
    of_24 = [budget.take(n, stranger(n, f"192.0.2.{n}")) for n in range(5)]
    assert of_24 == [None] * 4 + [Level.NETWORK]
    of_48 = [budget.take(n, stranger(n, f"2001:db8:1:{n << 8:x}::1")) for n in range(10, 19)]
    assert of_48 == [None] * 8 + [Level.SITE]


def test_all_strangers_together_leave_room_for_who_is_known() -> None:
    budget = Budget(SHARES)
    taken = [budget.take(n, stranger(n, f"198.51.{n}.1")) for n in range(7)]
    assert taken == [None] * 6 + [Level.STRANGERS]
    assert budget.take("friend", friend(99), 3) is None
    assert budget.take("another", friend(98), 2) is Level.ALL


def test_loopback_is_no_source_unless_it_is_counted() -> None:
    free, counted = Budget(SHARES), Budget(SHARES, count_loopback=True)
    assert [free.take(n, stranger(n, "127.0.0.1")) for n in range(3)] == [None] * 3
    assert [counted.take(n, stranger(n, "127.0.0.1")) for n in range(3)] == [None, None, Level.ADDRESS]


def test_what_is_refused_costs_nothing_and_is_counted() -> None:
    budget = Budget(SHARES)
    assert budget.take("a", stranger(1), 3) is Level.ADDRESS
    assert budget.held() == 0
    assert budget.refused["address"] == 1


def test_a_holder_gives_back_all_that_it_took_from_the_accounts_it_took_it_from() -> None:
    budget = Budget(SHARES)
    budget.take("a", stranger(1))
    budget.take("a", friend(1))  # a person here has accepted it meanwhile
    assert (budget.held(), budget.held(Level.STRANGERS)) == (2, 2)
    budget.release("a")
    budget.release("a")
    assert (budget.held(), budget.held(Level.STRANGERS), budget.fullest(Level.ADDRESS)) == (0, 0, 0)


def test_what_a_restart_finds_is_charged_also_above_the_share() -> None:
    budget = Budget(SHARES)
    budget.charge("kept", stranger(1), 50)
    assert budget.take("new", friend(2)) is Level.ALL
    budget.release("kept")
    assert budget.take("new", friend(2)) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 5), st.integers(0, 3), st.booleans(), st.integers(1, 4)),
        max_size=60,
    )
)
def test_no_sum_is_ever_above_its_share_and_nothing_stays(steps: list[tuple[int, int, int, bool, int]]) -> None:
    budget = Budget(SHARES)
    holders = set()
    for holder, key, host, known, amount in steps:
        if holder in holders and amount == 4:
            budget.release(holder)
            holders.discard(holder)
        elif budget.take(holder, Claimant(bytes([key]), f"192.0.{host}.1", known), amount) is None:
            holders.add(holder)
        for level in Level:
            assert budget.fullest(level) <= SHARES.of(level)
    for holder in holders:
        budget.release(holder)
    assert all(budget.fullest(level) == 0 for level in Level)
    assert not budget._sums


@pytest.mark.parametrize("name", PeerBudgets.__dataclass_fields__)
def test_shares_fit_each_other(name: str) -> None:
    shares: Shares = getattr(PeerBudgets(), name)
    assert 0 < shares.key <= shares.all
    assert 0 < shares.address <= shares.strangers <= shares.all


def test_a_peer_has_one_budget_for_each_row_of_the_table() -> None:
    table = PeerBudgets()
    budgets = Budgets(table)
    assert {name: budget.shares for name, budget in budgets.all().items()} == {
        item.name: getattr(table, item.name) for item in fields(table)
    }
