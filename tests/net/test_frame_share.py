"""The frames of all links share a turn of the reactor, and each link comes to its turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatnet.core.limits import FRAMES_SHARE_SECONDS
from chatnet.net.frame_share import FrameShare


class Turns:
    """A reactor whose turns are made by hand."""

    def __init__(self) -> None:
        self.calls: list[tuple[Callable[..., None], tuple[Any, ...]]] = []

    def seconds(self) -> float:
        return 100.0

    def callLater(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        assert delay == 0
        self.calls.append((call, args))

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call, args in calls:
            call(*args)


def test_a_share_is_spent_and_there_is_another_one_later() -> None:
    share = FrameShare()
    assert share.has_time(100.0)
    assert share.spend(FRAMES_SHARE_SECONDS / 2)
    assert not share.spend(FRAMES_SHARE_SECONDS)
    assert not share.has_time(100.0 + FRAMES_SHARE_SECONDS)
    assert share.has_time(100.0 + 2.1 * FRAMES_SHARE_SECONDS)


def test_those_that_wait_go_on_in_the_order_of_coming_as_far_as_a_turn_has_time() -> None:
    share, clock, done = FrameShare(), Turns(), []

    def dear(name: str) -> None:
        done.append(name)
        share.spend(0.6 * FRAMES_SHARE_SECONDS)

    for name in "abcde":
        share.wait(clock, lambda name=name: dear(name))  # type: ignore[misc]
    turns = []
    while len(done) < 5:
        clock.turn()
        turns.append("".join(done))
    assert turns == ["ab", "abcd", "abcde"]


def test_who_waits_again_stands_behind_the_others() -> None:
    share, clock, done = FrameShare(), Turns(), []

    def greedy(name: str) -> None:
        done.append(name)
        share.spend(FRAMES_SHARE_SECONDS)
        if len(done) < 6:
            share.wait(clock, lambda: greedy(name))

    for name in "abc":
        share.wait(clock, lambda name=name: greedy(name))  # type: ignore[misc]
    for _ in range(6):
        clock.turn()
    assert "".join(done) == "abcabc"


def test_known_people_and_the_others_go_on_by_turns() -> None:
    share, clock, done = FrameShare(), Turns(), []

    def dear(name: str) -> None:
        done.append(name)
        share.spend(FRAMES_SHARE_SECONDS / 3)

    for name in "abcdefgh":
        share.wait(clock, lambda name=name: dear(name))  # type: ignore[misc]
    for name in "KL":
        share.wait(clock, lambda name=name: dear(name), known=True)  # type: ignore[misc]
    turns = []
    while len(done) < 10:
        before = len(done)
        clock.turn()
        turns.append("".join(done[before:]))
    assert turns == ["KaL", "bcd", "efg", "h"]


def test_a_known_flood_leaves_the_others_their_turns() -> None:
    share, clock, done = FrameShare(), Turns(), []

    def dear(name: str, known: bool) -> None:
        done.append(name)
        share.spend(FRAMES_SHARE_SECONDS)
        share.wait(clock, lambda: dear(name, known), known)

    share.wait(clock, lambda: dear("K", True), known=True)
    share.wait(clock, lambda: dear("a", False))
    for _ in range(6):
        clock.turn()
    assert "".join(done) == "KaKaKa"


def test_a_turn_that_lasts_long_has_one_share() -> None:
    share, clock = FrameShare(), Turns()
    assert share.has_time(100.0)
    assert not share.spend(FRAMES_SHARE_SECONDS)
    share.wait(clock, lambda: None)
    assert not share.has_time(101.0)
    clock.turn()
    assert share.has_time(101.0)


def test_a_defect_of_one_keeps_nobody_else_waiting() -> None:
    share, clock, done = FrameShare(), Turns(), []
    share.wait(clock, lambda: 1 // 0)
    share.wait(clock, lambda: done.append("other"))
    with pytest.raises(ZeroDivisionError):
        clock.turn()
    clock.turn()
    assert done == ["other"]


def test_nothing_runs_while_nobody_waits() -> None:
    share, clock = FrameShare(), Turns()
    share.wait(clock, lambda: None)
    clock.turn()
    assert clock.calls == []
