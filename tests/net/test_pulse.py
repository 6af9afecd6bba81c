"""One timer for all, and none when there is nobody."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock

from chatnet.core.limits import BEATS_PER_TURN, PULSE_SECONDS
from chatnet.net.pulse import Pulse


class Member:
    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.beats: list[float] = []
        self._then = then

    def beat(self, now: float) -> None:
        self.beats.append(now)
        self._then()


def test_all_members_beat_by_one_timer() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    members = [Member() for _ in range(1000)]
    for member in members:
        pulse.add(member)
    assert len(clock.getDelayedCalls()) == 1
    clock.pump([PULSE_SECONDS] * 3)
    assert all(member.beats == [PULSE_SECONDS, 2 * PULSE_SECONDS, 3 * PULSE_SECONDS] for member in members)
    assert len(clock.getDelayedCalls()) == 1


def test_no_timer_without_members() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    assert clock.getDelayedCalls() == []
    one, other = Member(), Member()
    pulse.add(one)
    pulse.add(other)
    pulse.discard(one)
    pulse.discard(one)
    assert len(clock.getDelayedCalls()) == 1
    pulse.discard(other)
    assert clock.getDelayedCalls() == []
    pulse.add(one)
    clock.advance(PULSE_SECONDS)
    assert one.beats == [PULSE_SECONDS]


def test_a_member_may_leave_within_its_beat() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    member = Member(lambda: pulse.discard(member))
    pulse.add(member)
    clock.advance(PULSE_SECONDS)
    clock.advance(PULSE_SECONDS)
    assert len(member.beats) == 1
    assert clock.getDelayedCalls() == []


def test_a_member_may_bring_another_within_its_beat() -> None:
    clock = Clock()
    pulse = Pulse(clock)
    late = Member()
    pulse.add(Member(lambda: pulse.add(late)))
    clock.pump([PULSE_SECONDS] * 2)
    assert late.beats == [2 * PULSE_SECONDS]


class TurnBudget(Clock):
    """A clock that counts its turns, as a reactor has them."""

    turns = 0

    def turn(self) -> None:
        """Everything that is due now, and not what that makes due."""
        self.turns += 1
        due = [call for call in self.getDelayedCalls() if call.getTime() <= self.seconds()]
        for call in due:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


def test_thousands_beat_in_several_turns_and_each_once_a_second() -> None:
    clock = TurnBudget()
    pulse = Pulse(clock)
    members = [Member() for _ in range(2 * BEATS_PER_TURN + 1)]
    for member in members:
        pulse.add(member)
    for second in (1, 2):
        clock.rightNow = second * PULSE_SECONDS
        for turn in (1, 2, 3):
            clock.turn()
            beaten = sum(len(member.beats) == second for member in members)
            assert beaten == min(turn * BEATS_PER_TURN, len(members))
        assert len(clock.getDelayedCalls()) == 1
    for member in members:
        pulse.discard(member)
    assert clock.getDelayedCalls() == []


def test_who_left_between_two_turns_beats_no_more() -> None:
    clock = TurnBudget()
    pulse = Pulse(clock)
    members = [Member() for _ in range(BEATS_PER_TURN + 1)]
    for member in members:
        pulse.add(member)
    clock.rightNow = PULSE_SECONDS
    clock.turn()
    (waiting,) = [member for member in members if not member.beats]
    pulse.discard(waiting)
    clock.turn()
    assert waiting.beats == []
