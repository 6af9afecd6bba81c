"""From where known people come: the latest addresses of each, and nothing of those who are forgotten."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.known_sources import KnownSources
from chatnet.core.limits import MAX_ENDPOINTS, MAX_KNOWN_KEYS, MAX_PROVEN_SOURCES

ANN, BOB = b"a" * 32, b"b" * 32


@pytest.mark.parametrize(
    ("learnt", "same", "other"),
    [
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
        ("192.0.2.1", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"),
        ("fe80::1%eth0", "fe80::2", "fe80:0:0:1::1"),
        ("unix", "unix", "127.0.0.1"),
    ],
)
def test_a_source_is_an_ipv4_address_or_an_ipv6_64(learnt: str, same: str, other: str) -> None:
    known = KnownSources()
    assert same not in known
    known.learn(ANN, [learnt])
    assert same in known
    assert other not in known


def test_of_the_proven_ones_the_latest_are_kept() -> None:
    known = KnownSources()
    for n in range(MAX_PROVEN_SOURCES + 1):
        known.learn(ANN, [f"192.0.2.{n}"])
    assert [n for n in range(9) if f"192.0.2.{n}" in known] == [1, 2, 3, 4]
    known.learn(ANN, ["192.0.2.1"])
    known.learn(ANN, ["192.0.2.9"])
    assert [n for n in range(10) if f"192.0.2.{n}" in known] == [1, 3, 4, 9]


def test_a_list_replaces_what_it_gave_and_nothing_that_was_proven() -> None:
    known = KnownSources()
    known.learn(ANN, ["192.0.2.1"], ["198.51.100.1", "198.51.100.2"])
    for n in range(9):
        known.learn(ANN, listed=[f"10.0.{n}.{m}" for m in range(99)])
    assert "192.0.2.1" in known
    assert "198.51.100.1" not in known
    assert sum(f"10.0.{n}.{m}" in known for n in range(9) for m in range(99)) == MAX_ENDPOINTS + 1


def test_a_source_of_two_keys_stays_until_both_are_forgotten() -> None:
    known = KnownSources()
    known.learn(ANN, ["192.0.2.1"], ["192.0.2.1"])
    known.learn(BOB, ["192.0.2.1"])
    known.forget(ANN)
    known.forget(ANN)
    assert "192.0.2.1" in known
    known.forget(BOB)
    assert "192.0.2.1" not in known


def test_a_bounded_number_of_keys_is_remembered_those_that_were_learnt_about_latest() -> None:
    known = KnownSources()
    known.learn(ANN, ["192.0.2.1"])
    known.learn(BOB, ["192.0.2.2"])
    for n in range(MAX_KNOWN_KEYS - 2):
        known.learn(n.to_bytes(32, "big"), [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"])
    known.learn(ANN, ["192.0.2.1"])
    known.learn(b"c" * 32, ["192.0.2.3"])
    assert [host in known for host in ("192.0.2.1", "192.0.2.2", "192.0.2.3")] == [True, False, True]


@given(st.lists(st.tuples(st.sampled_from([ANN, BOB]), st.integers(0, 5), st.booleans()), max_size=40))
def test_what_is_learnt_and_forgotten_leaves_nothing_behind(steps: list[tuple[bytes, int, bool]]) -> None:
    known = KnownSources()
    for key, n, forgotten in steps:
        if forgotten:
            known.forget(key)
        else:
            known.learn(key, [f"192.0.2.{n}"], [f"198.51.100.{n}"])
            assert f"192.0.2.{n}" in known
            assert f"198.51.100.{n}" in known
    known.forget(ANN)
    known.forget(BOB)
    assert not any(f"{net}.{n}" in known for net in ("192.0.2", "198.51.100") for n in range(6))
