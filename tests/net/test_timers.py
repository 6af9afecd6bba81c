from __future__ import annotations

from twisted.internet.task import Clock

from chatnet.net.timers import KeyedTimers, cancel_timer


def test_a_timer_is_cancelled_whatever_became_of_it() -> None:
    clock, called = Clock(), []
    waiting = clock.callLater(5, called.append, "late")
    over = clock.callLater(1, called.append, "in time")
    clock.advance(2)
    for timer in (waiting, waiting, over, None):
        cancel_timer(timer)
    clock.advance(10)
    assert called == ["in time"]


def test_each_key_has_one_timer_and_none_is_left() -> None:
    clock, called = Clock(), []
    timers = KeyedTimers(clock, called.append)
    for key in "aab":
        timers.arm(key)
    timers.arm("c", 5)
    timers.arm("c")  # it is due already
    clock.advance(0)
    assert called == ["a", "b"]
    timers.arm("a")  # again
    clock.pump([0, 5])
    assert called == ["a", "b", "a", "c"]
    timers.arm("d")
    timers.stop()
    clock.advance(10)
    assert clock.getDelayedCalls() == []
    assert "d" not in called
