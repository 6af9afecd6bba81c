"""The short code: equal for two, different for three, none for who breaks the order."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from chatnet.core.errors import LocalError, Unreachable
from chatnet.core.identity import PeerID
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import Check, CheckStep, Message
from chatnet.peer.trust.short_code import ShortCodes

LOW, HIGH, MALLORY = PeerID(b"\x01" * 32), PeerID(b"\x02" * 32), PeerID(b"\x03" * 32)
LIMITS = PeerLimits()
Send = Callable[[PeerID, Message], Awaitable[None]]


class Side:
    """One person's program; what it sends waits in ``sent`` until the test carries it."""

    def __init__(self, clock: Clock, me: PeerID, seed: int) -> None:
        self.me = me
        self.sent: list[tuple[PeerID, Check]] = []
        self.shown: list[tuple[PeerID, str, bool]] = []
        self.broken: list[PeerID] = []
        self.line_down = False
        self.short_codes = ShortCodes(
            clock,
            LIMITS,
            me,
            send=self._send,
            ready=lambda peer, code, asked: self.shown.append((peer, code, asked)),
            broken=self.broken.append,
            random_bytes=random.Random(seed).randbytes,
        )

    def _send(self, peer: PeerID, message: Message) -> Deferred[None]:
        if self.line_down:
            raise Unreachable("lost", "the line is down")
        assert isinstance(message, Check)
        self.sent.append((peer, message))
        return succeed(None)

    def begin(self, peer: PeerID) -> list[Any]:
        """What comes of it, once it has come: a code, or an error."""
        outcome: list[Any] = []
        Deferred.fromCoroutine(self.short_codes.begin(peer, "somebody")).addBoth(
            lambda result: outcome.append(result.value if isinstance(result, Failure) else result)
        )
        return outcome

    def hear(self, peer: PeerID, *checks: Check) -> None:
        for check in checks:
            Deferred.fromCoroutine(self.short_codes.received(peer, check))

    def take(self) -> list[Check]:
        sent, self.sent = self.sent, []
        return [check for _, check in sent]


def carry(one: Side, other: Side) -> None:
    """Everything between two, in turn, until there is nothing more."""
    while one.sent or other.sent:
        other.hear(one.me, *one.take())
        one.hear(other.me, *other.take())


@pytest.fixture
def clock() -> Any:
    clock = Clock()
    yield clock
    clock.advance(LIMITS.check_seconds)
    assert clock.getDelayedCalls() == []


@pytest.fixture
def ann(clock: Clock) -> Side:
    return Side(clock, LOW, 1)


@pytest.fixture
def bob(clock: Clock) -> Side:
    return Side(clock, HIGH, 2)


def test_both_see_the_same_six_digits(ann: Side, bob: Side) -> None:
    outcome = ann.begin(HIGH)
    assert not ann.short_codes.shown(HIGH)
    carry(ann, bob)
    (code,) = outcome
    assert len(code) == 6
    assert code.isdigit()
    assert ann.shown == [(HIGH, code, True)]
    assert bob.shown == [(LOW, code, False)]
    assert ann.short_codes.shown(HIGH)
    assert bob.short_codes.shown(LOW)


def test_every_code_is_another(ann: Side, bob: Side) -> None:
    for _ in range(3):
        ann.begin(HIGH)
        carry(ann, bob)
    assert len({code for _, code, _ in ann.shown}) == 3


def test_who_is_in_the_middle_shows_two_codes(clock: Clock, ann: Side, bob: Side) -> None:
    """Mallory is bob to ann and ann to bob, with a key of her own, and passes on what she can."""
    same = 0
    for seed in range(40):
        one, other = Side(clock, LOW, 100 + seed), Side(clock, HIGH, 200 + seed)
        to_ann, to_bob = Side(clock, MALLORY, 300 + seed), Side(clock, MALLORY, 300 + seed)
        one.begin(MALLORY)
        to_bob.begin(HIGH)
        carry(one, to_ann)
        other.hear(MALLORY, *to_bob.take())
        to_bob.hear(HIGH, *other.take())
        other.hear(MALLORY, *to_bob.take())
        ((_, seen, _),), ((_, heard, _),) = one.shown, other.shown
        same += seen == heard
    assert same == 0


def test_a_relay_of_the_very_bytes_shows_two_codes(clock: Clock, ann: Side, bob: Side) -> None:
    ann.begin(MALLORY)
    bob.hear(MALLORY, *ann.take())
    ann.hear(MALLORY, *bob.take())
    bob.hear(MALLORY, *ann.take())
    ((_, seen, _),), ((_, heard, _),) = ann.shown, bob.shown
    assert seen != heard


@pytest.mark.parametrize("byte", [0, 7, 15])
def test_a_broken_commitment_shows_no_code(ann: Side, bob: Side, byte: int) -> None:
    ann.begin(HIGH)
    bob.hear(LOW, *ann.take())
    ann.hear(HIGH, *bob.take())
    (reveal,) = ann.take()
    value = bytearray(reveal.value)
    value[byte] ^= 1
    bob.hear(LOW, Check(CheckStep.REVEAL, bytes(value)), reveal)
    assert bob.shown == []
    assert bob.broken == [LOW]
    assert not bob.short_codes.shown(LOW)


@pytest.mark.parametrize(
    "steps",
    [
        [Check(CheckStep.NONCE, bytes(16))],
        [Check(CheckStep.REVEAL, bytes(16))],
        [Check(CheckStep.COMMIT, bytes(32)), Check(CheckStep.NONCE, bytes(16))],
        [Check(CheckStep.COMMIT, bytes(32)), Check(CheckStep.REVEAL, bytes(16))],
    ],
)
def test_steps_out_of_order_show_nothing(ann: Side, steps: list[Check]) -> None:
    ann.hear(HIGH, *steps)
    assert ann.shown == []
    assert [check.step for check in ann.take()] == ([CheckStep.NONCE] if steps[0].step == CheckStep.COMMIT else [])


def test_a_nonce_counts_once(ann: Side) -> None:
    outcome = ann.begin(HIGH)
    ann.hear(HIGH, Check(CheckStep.NONCE, bytes(16)), Check(CheckStep.NONCE, b"x" * 16))
    assert [check.step for check in ann.take()] == [CheckStep.COMMIT, CheckStep.REVEAL]
    assert len(ann.shown) == len(outcome) == 1


def test_some_a_day_whoever_begins(clock: Clock, ann: Side, bob: Side) -> None:
    ann.begin(HIGH)
    carry(ann, bob)
    bob.begin(LOW)
    carry(ann, bob)
    clock.advance(3600)
    ann.begin(HIGH)
    carry(ann, bob)
    assert len(ann.shown) == LIMITS.checks_per_day == 3
    (refused,) = ann.begin(HIGH)
    assert isinstance(refused, LocalError)
    assert refused.code == "too-often"
    ann.hear(HIGH, Check(CheckStep.COMMIT, bytes(32)))  # bob's program does not count
    assert ann.take() == []
    assert ann.begin(MALLORY) == []  # another person has a count of his own
    ann.take()
    clock.advance(86_400 - 3600)
    outcome = ann.begin(HIGH)
    carry(ann, bob)
    assert isinstance(outcome[0], str)


def test_nobody_there(clock: Clock, ann: Side) -> None:
    outcome = ann.begin(HIGH)
    clock.advance(LIMITS.check_seconds - 1)
    assert outcome == []
    clock.advance(1)
    assert outcome[0].code == "check-late"
    ann.hear(HIGH, Check(CheckStep.NONCE, bytes(16)))  # too late
    assert ann.shown == []


def test_a_reveal_that_comes_too_late(clock: Clock, ann: Side, bob: Side) -> None:
    ann.begin(HIGH)
    bob.hear(LOW, *ann.take())
    ann.hear(HIGH, *bob.take())
    clock.advance(LIMITS.check_seconds)
    bob.hear(LOW, *ann.take())
    assert bob.shown == []


@pytest.mark.parametrize("reveal_first", [True, False])
def test_both_begin_at_once_and_get_one_code(ann: Side, bob: Side, reveal_first: bool) -> None:
    mine, find_open = ann.begin(HIGH), bob.begin(LOW)
    first, second = (ann, bob) if reveal_first else (bob, ann)
    sent = first.take(), second.take()
    second.hear(first.me, *sent[0])
    first.hear(second.me, *sent[1])
    carry(ann, bob)
    assert mine == find_open
    assert ann.shown == [(HIGH, mine[0], True)]
    assert bob.shown == [(LOW, mine[0], True)]
    for _ in range(2):  # it was one attempt for each
        ann.begin(HIGH)
        carry(ann, bob)
    assert len(ann.shown) == len(bob.shown) == 3


def test_a_line_that_breaks_is_told(ann: Side, bob: Side) -> None:
    ann.line_down = True
    assert isinstance(ann.begin(HIGH)[0], Unreachable)
    ann.line_down = False
    outcome = ann.begin(HIGH)
    bob.hear(LOW, *ann.take())
    ann.line_down = True
    ann.hear(HIGH, *bob.take())
    assert isinstance(outcome[0], Unreachable)
    assert ann.shown == []


def test_one_check_at_a_time(ann: Side, bob: Side) -> None:
    outcome, second = ann.begin(HIGH), ann.begin(HIGH)
    assert second[0].code == "check-failed"
    bob.hear(LOW, *ann.take())
    joined = bob.begin(LOW)  # theirs is on its way: the same one
    carry(ann, bob)
    assert joined == outcome
    assert ann.shown == [(HIGH, outcome[0], True)]
    assert bob.shown == [(LOW, outcome[0], True)]


def test_the_end_of_the_program_ends_it(clock: Clock, ann: Side) -> None:
    outcome = ann.begin(HIGH)
    ann.short_codes.stop()
    assert outcome[0].code == "stopped"
    assert clock.getDelayedCalls() == []
