from __future__ import annotations

from twisted.internet.task import Clock

from chatnet.net.timers import cancel_timer


def test_a_timer_is_cancelled_whatever_became_of_it() -> None:
    clock, called = Clock(), []
    waiting = clock.callLater(5, called.append, "late")
    over = clock.callLater(1, called.append, "in time")
    clock.advance(2)
    for timer in (waiting, waiting, over, None):
        cancel_timer(timer)
    clock.advance(10)
    assert called == ["in time"]
