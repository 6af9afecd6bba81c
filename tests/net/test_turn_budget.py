"""What fits into a turn of the reactor is done in it, and the rest in order, whatever fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatnet.core.limits import TURN_SHARE_SECONDS
from chatnet.net.turn_budget import TurnBudget


class Setting:
    """A reactor's turns and time, in which each piece of work takes ``cost`` seconds."""

    def __init__(self, cost: float) -> None:
        self.turns = TurnBudget()
        self.due: list[Callable[[], None]] = []
        self.done: list[int] = []
        self._cost = cost
        self._now = 0.0

    def seconds(self) -> float:
        return self._now

    def callLater(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        assert delay == 0
        self.due.append(lambda: call(*args))

    def run(self, number: int, first: bool = False) -> None:
        clock: Any = self
        self.turns.run(clock, lambda: self._work(number), first)

    def run_last(self, number: int) -> None:
        clock: Any = self
        self.turns.run_last(clock, lambda: self._work(number))

    def turn(self) -> int:
        """What is due; how much was done in it."""
        before, (due, self.due) = len(self.done), (self.due, [])
        for call in due:
            call()
        return len(self.done) - before

    def _work(self, number: int) -> None:
        self._now += self._cost
        self.done.append(number)
        if number < 0:
            raise ValueError("a defect")


def test_what_fits_is_done_at_once_and_the_rest_in_order() -> None:
    here = Setting(cost=0.4 * TURN_SHARE_SECONDS)
    for number in range(10):
        here.run(number)
    assert here.done == [0, 1, 2]
    assert [here.turn() for _ in range(4)] == [3, 3, 1, 0]
    assert here.done == list(range(10))
    assert here.due == []


def test_a_turn_that_did_its_share_of_what_waited_takes_nothing_new() -> None:
    here = Setting(cost=TURN_SHARE_SECONDS)
    here.run(0)
    here.run(1)
    here.turn()
    here.run(2)
    assert here.done == [0, 1]
    here.turn()
    assert here.done == [0, 1, 2]


def test_a_share_is_of_one_turn() -> None:
    here = Setting(cost=TURN_SHARE_SECONDS)
    for number in range(5):
        here.run(number)
        assert here.done[-1] == number
        here.turn()


def test_a_defect_costs_the_others_nothing() -> None:
    here = Setting(cost=TURN_SHARE_SECONDS)
    for number in (0, -1, 2):
        here.run(number)
    with pytest.raises(ValueError, match="a defect"):
        here.turn()
    here.turn()
    assert here.done == [0, -1, 2]


def test_what_comes_first_waits_for_nothing_else() -> None:
    here = Setting(cost=TURN_SHARE_SECONDS)
    for number in range(3):
        here.run(number)
    for number in (10, 11):
        here.run(number, first=True)
    assert here.done == [0]
    for _ in range(4):
        here.turn()
    assert here.done == [0, 10, 11, 1, 2]


def test_what_comes_first_is_done_at_once_while_the_others_wait_and_the_turn_has_time() -> None:
    here = Setting(cost=0.6 * TURN_SHARE_SECONDS)
    for number in range(4):
        here.run(number)
    assert here.done == [0, 1]
    here.run(10, first=True)
    here.turn()
    assert here.done == [0, 1, 10, 2]
    here.turn()
    assert here.done == [0, 1, 10, 2, 3]


def test_the_last_have_a_later_turn_in_which_nothing_else_waits() -> None:
    here = Setting(cost=0.6 * TURN_SHARE_SECONDS)
    here.run_last(100)
    assert here.done == []
    for number in range(3):
        here.run(number)
    assert here.done == [0, 1]
    assert [here.turn() for _ in range(3)] == [2, 0, 0]
    assert here.done == [0, 1, 2, 100]
    assert here.due == []


def test_the_last_may_ask_again_within_their_turn() -> None:
    here = Setting(cost=0.6 * TURN_SHARE_SECONDS)
    for number in range(100, 103):
        here.run_last(number)
    assert [here.turn() for _ in range(3)] == [2, 1, 0]
    assert here.done == [100, 101, 102]
