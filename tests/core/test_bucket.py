from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.bucket import Buckets, TokenBucket


def test_it_gives_the_burst_at_once_and_then_the_rate() -> None:
    bucket = TokenBucket(rate_per_s=2, burst=3, now=100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.delay(100.0) == 0.5
    assert not bucket.take(100.25)
    assert bucket.take(100.5)
    assert not bucket.take(100.5)


def test_a_quiet_time_fills_it_up_to_the_burst_and_no_further() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=5, now=0.0)
    assert bucket.take(0.0, 5)
    assert [bucket.take(1000.0) for _ in range(6)] == [True] * 5 + [False]


def test_all_of_them_or_none() -> None:
    bucket = TokenBucket(rate_per_s=1, burst=4, now=0.0)
    assert not bucket.take(0.0, 5)
    assert bucket.take(0.0, 4)
    assert bucket.delay(0.0, 5) == math.inf
    assert bucket.delay(0.0, 4) == 4.0


def test_a_clock_that_steps_back_counts_as_standing() -> None:
    bucket = TokenBucket(rate_per_s=1, burst=1, now=50.0)
    assert bucket.take(50.0)
    assert not bucket.take(10.0)
    assert not bucket.take(50.5)
    assert bucket.take(51.0)


@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 50),
    steps=st.lists(st.floats(0, 2), max_size=200),
)
def test_it_never_gives_more_than_burst_and_rate_allow(rate: float, burst: int, steps: list[float]) -> None:
    bucket = TokenBucket(rate, burst, now=0.0)
    now, given_out = 0.0, 0
    for step in steps:
        now += step
        given_out += bucket.take(now)
        assert given_out <= burst + rate * now + 1e-6


@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 20),
    taken=st.integers(0, 20),
    n=st.integers(1, 20),
)
def test_after_the_delay_the_tokens_are_there(rate: float, burst: int, taken: int, n: int) -> None:
    bucket = TokenBucket(rate, burst, now=0.0)
    bucket.take(0.0, min(taken, burst))
    wait = bucket.delay(0.0, n)
    if math.isinf(wait):
        assert n > burst
    else:
        assert bucket.take(wait + 1e-9 * (1 + wait), n)


def test_each_key_has_its_own_and_the_least_used_is_forgotten() -> None:
    buckets = Buckets(rate_per_s=0.1, burst=1, most=2)
    assert buckets.take("a", 0.0)
    assert not buckets.take("a", 0.0)
    assert buckets.take("b", 0.0)
    assert buckets.delay("a", 0.0) == 10.0
    assert buckets.take("c", 0.0)
    assert not buckets.take("a", 0.0)
    assert buckets.take("b", 0.0)


def test_what_is_spent_beyond_is_owed() -> None:
    bucket = TokenBucket(10, 5, 0.0)
    assert [bucket.spend(0.0) for _ in range(7)] == [0.0] * 5 + [pytest.approx(0.1), pytest.approx(0.2)]
    assert not bucket.take(0.2)
    assert bucket.spend(0.2, 0) == pytest.approx(0.0)
    assert bucket.take(0.31)
