"""Timers and a clock that is set while they wait."""

from __future__ import annotations

import time

import pytest
from twisted.internet.base import ReactorBase
from twisted.internet.selectreactor import SelectReactor

from chatnet.host.monotonic_reactor import make_steady, steady_seconds

DAY = 86_400.0


def test_it_shows_the_time_of_day_at_first() -> None:
    assert abs(steady_seconds()() - time.time()) < 1


@pytest.mark.parametrize("step", [-3650 * DAY, -3600.0, 3600.0, 3650 * DAY])
def test_a_step_of_the_clock_moves_no_timer(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    reactor = SelectReactor()
    make_steady(reactor)
    fired: list[str] = []
    honest, began = time.time, time.monotonic()
    late = reactor.callLater(5, fired.append, "late")
    reactor.callLater(0.05, fired.append, "soon")
    monkeypatch.setattr(time, "time", lambda: honest() + step)
    monkeypatch.setattr(ReactorBase, "seconds", staticmethod(time.time))  # it keeps the one it found when imported
    while not fired and time.monotonic() - began < 5:
        reactor.runUntilCurrent()
        reactor.doSelect(0.01)
    assert fired == ["soon"]
    assert 0.04 < time.monotonic() - began < 2
    assert 2 < late.getTime() - reactor.seconds() < 5.1
    late.cancel()
    for reader in reactor.removeAll():
        reader.connectionLost(None)
