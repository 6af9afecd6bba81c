"""Waits between tries: within bounds for ever, and spread."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.backoff import obeyed, online_wait, peer_wait, registry_wait

UNIFORM = random.Random(7).uniform


def longest(low: float, high: float) -> float:
    assert low <= high
    return high


def shortest(low: float, high: float) -> float:
    assert low <= high
    return low


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_registry_is_tried_within_half_a_minute_however_long_it_is_away(failures: int, listed: int) -> None:
    assert 0.0 <= registry_wait(failures, listed, shortest) <= registry_wait(failures, listed, longest) <= 30.0


@pytest.mark.parametrize(("listed", "window"), [(0, 1.0), (50, 1.0), (1_000, 10.0), (5_000, 30.0), (100_000, 30.0)])
def test_the_first_try_is_spread_over_a_window_for_the_size_of_the_herd(listed: int, window: float) -> None:
    assert registry_wait(0, listed, shortest) == 0.0
    assert registry_wait(0, listed, longest) == window


def test_later_tries_wait_longer_and_never_less_than_a_second() -> None:
    waits = [registry_wait(failures, 10, longest) for failures in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[0] == 6.0
    assert waits[-1] == 30.0
    assert all(registry_wait(failures, 10, shortest) == 1.0 for failures in range(1, 12))


def test_what_the_other_side_asked_for_is_obeyed_and_spread() -> None:
    assert obeyed(10.0, shortest) == 8.0
    assert obeyed(10.0, longest) == 12.0


@given(st.integers(0, 10**6), st.floats(1.0, 10_000.0))
def test_a_peer_is_tried_within_the_cap(failures: int, cap: float) -> None:
    assert 0.5 == peer_wait(failures, cap, shortest) <= peer_wait(failures, cap, longest) <= max(cap, 0.5)


def test_a_peer_waits_double_each_time() -> None:
    assert [peer_wait(failures, 900.0, longest) for failures in range(11)] == [
        2.0,
        4.0,
        8.0,
        16.0,
        32.0,
        64.0,
        128.0,
        256.0,
        512.0,
        900.0,
        900.0,
    ]


@pytest.mark.parametrize(("listed", "most"), [(0, 0.1), (10, 0.1), (200, 1.0), (100_000, 5.0)])
def test_who_comes_online_is_not_met_by_all_at_once(listed: int, most: float) -> None:
    assert online_wait(listed, shortest) == 0.0
    assert online_wait(listed, longest) == most


def test_a_herd_comes_back_without_a_peak() -> None:
    """5,000 peers lose one registry that is back after 5 s."""
    tries: Counter[int] = Counter()
    last = 0.0
    for _ in range(5_000):
        now, failures = registry_wait(0, 5_000, UNIFORM), 0
        while now < 5.0:
            tries[int(now)] += 1
            failures += 1
            now += registry_wait(failures, 5_000, UNIFORM)
        tries[int(now)] += 1
        last = max(last, now)
    assert max(tries.values()) < 400
    assert last < 40.0
