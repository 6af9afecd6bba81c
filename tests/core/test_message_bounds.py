"""Every message that somebody may send is bounded in what it costs; and frames that do nothing have a rate."""

from __future__ import annotations

import dataclasses

import pytest

from chatnet.core import limits
from chatnet.core.budgets import PeerBudgets
from chatnet.core.limits import FLOOD_SECONDS, MOST_AWAITED, LinkLimits, PeerLimits, RegistryLimits
from chatnet.core.message_bounds import ANSWERS, BOUNDS, FRAMES, NOTHING, FrameAllowance
from chatnet.core.messages import (
    Ack,
    Announce,
    Bye,
    Check,
    Decline,
    Error,
    File,
    ListPage,
    Lookup,
    Message,
    Nack,
    Offer,
    Ping,
    Pong,
    Resume,
    Say,
    Verified,
)
from chatnet.core.roles import DECODERS

SENDABLE = {kind for decoder in DECODERS.values() for kind in decoder.kinds}
LIMITS = LinkLimits(frames_per_second=2, frames_burst=3)


def known_bounds() -> set[str]:
    tables = (PeerLimits, RegistryLimits, PeerBudgets)
    fields = {field.name for table in tables for field in dataclasses.fields(table)}
    return fields | {name for name in vars(limits) if name.isupper()}


def test_every_message_of_every_role_names_what_bounds_it() -> None:
    assert set(BOUNDS) == SENDABLE


@pytest.mark.parametrize("kind", sorted(BOUNDS, key=lambda kind: kind.__name__))
def test_each_bound_is_a_limit_a_budget_or_a_constant(kind: type[Message]) -> None:
    assert {bound for bound in BOUNDS[kind] if bound != NOTHING} <= known_bounds()
    assert BOUNDS[kind].processor != NOTHING


def test_what_comes_first_and_what_ends_a_link_is_bounded_by_the_rate_of_connections() -> None:
    assert {BOUNDS[kind].processor for kind in (Bye, Error)} == {"source_connects_per_minute"}


def test_what_is_counted_elsewhere_is_not_counted_here() -> None:
    for kind in (Say, File, Lookup, Announce):
        allowance = FrameAllowance(LIMITS, 0.0)
        assert [allowance.heard(kind, 0.0) for _ in range(100)] == [0.0] * 100


@pytest.mark.parametrize(
    "kind", sorted((kind for kind in BOUNDS if BOUNDS[kind].processor == FRAMES), key=lambda kind: kind.__name__)
)
def test_frames_that_do_nothing_have_a_rate(kind: type[Message]) -> None:
    allowance = FrameAllowance(LIMITS, 0.0)
    assert [allowance.heard(kind, 0.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 1.0]
    assert allowance.heard(kind, 10.0) == 0.0


@pytest.mark.parametrize(("answer", "question"), list(ANSWERS.items()))
def test_an_answer_is_free_as_often_as_something_was_said(answer: type[Message], question: type[Message]) -> None:
    allowance = FrameAllowance(LIMITS, 0.0)
    for _ in range(50):
        allowance.said(question)
    assert [allowance.heard(answer, 0.0) for _ in range(50)] == [0.0] * 50
    assert [allowance.heard(answer, 0.0) > 0 for _ in range(4)] == [False, False, False, True]


def test_what_we_answer_earns_nothing() -> None:
    allowance = FrameAllowance(LIMITS, 0.0)
    for kind in (Pong, Ack, Nack, Decline, Resume, Check, Verified):
        for _ in range(50):
            allowance.said(kind)
    assert [allowance.heard(kind, 0.0) > 0 for kind in (Ping, Offer, Resume, Ack)] == [False, False, False, True]


def test_a_flood_without_a_break_is_noticed() -> None:
    allowance = FrameAllowance(LIMITS, 0.0)
    now = 0.0
    while not allowance.is_flood(now):
        now += allowance.heard(Ping, now)  # as a link does that rests
        assert now <= 2 + FLOOD_SECONDS
    assert now >= FLOOD_SECONDS
    assert allowance.heard(Ping, now + 10) == 0.0
    assert not allowance.is_flood(now + 10)


def test_a_burst_now_and_then_is_no_flood() -> None:
    allowance = FrameAllowance(LIMITS, 0.0)
    for second in range(0, 600, 5):
        for _ in range(LIMITS.frames_burst + 2):
            allowance.heard(Ping, second)
        assert not allowance.is_flood(second)


def test_what_is_awaited_is_bounded() -> None:
    allowance = FrameAllowance(LIMITS, 0.0)
    for _ in range(2 * MOST_AWAITED):
        allowance.said(Say)
    assert sum(allowance.heard(Ack, 0.0) == 0 for _ in range(2 * MOST_AWAITED)) == MOST_AWAITED + LIMITS.frames_burst


def test_a_registry_that_pushes_every_change_is_no_flood() -> None:
    """It pushes up to 50 pages a second, whoever causes them."""
    allowance = FrameAllowance(PeerLimits(), 0.0)
    for number in range(50 * 90):
        assert allowance.heard(ListPage, number / 50) == 0
        assert not allowance.is_flood(number / 50)
