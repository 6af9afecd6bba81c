"""The console as a service: failures are told, limits hold, and the terminal is given back."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any

import pytest
from twisted.logger import Logger

from chatnet.console.app import Console
from chatnet.core import limits
from tests.support.scripted_peer import furnished, key_of
from tests.support.typist import MemoryScreen, Typist, new_clock

BOB, ECHO = key_of("bob"), key_of("echo")


def test_an_exception_becomes_a_line_and_nothing_is_lost(console: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(peer: bytes, body: str) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(console.peer, "say", broken)
    console.type("/msg bob<enter>precious<enter>")
    assert "That did not work (RuntimeError)" in console.screen()
    assert console.view.input.text == "precious"
    assert "Traceback" not in console.screen()


def test_an_exception_in_a_key_handler_becomes_a_line(console: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.view, "show", lambda index: 1 / 0)
    console.type("<meta 2>abc")
    assert "Something went wrong in the console (ZeroDivisionError)" in console.screen()
    assert console.view.input.text == "abc"


def test_a_screen_that_cannot_be_drawn_says_so_and_comes_back(console: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(console.view.header, "draw", lambda *size: 1 / 0)
        console.wait(1.1)
        assert "could not be drawn (ZeroDivisionError)" in console.screen()
    console.wait(1.1)
    assert "chatnet  carol" in console.screen()


def test_a_failure_that_only_the_log_would_see_is_told_on_the_screen(console: Typist) -> None:
    try:
        raise KeyError("x")
    except KeyError:
        Logger("chatnet.peer").failure("internal error while testing")
    console.wait(0.1)
    assert "Something went wrong inside; the rest goes on. /log says where to read more." in console.screen()


def test_what_is_no_failure_stays_in_the_log(console: Typist) -> None:
    Logger("chatnet.peer").error("the registry is away")
    console.wait(0.1)
    assert "went wrong" not in console.screen()


# --- leaving ----------------------------------------------------------------------------------


def test_stopping_ends_the_subscription_the_timers_and_the_screen() -> None:
    clock = new_clock()
    peer = furnished(clock)
    console = Typist(peer, clock=clock)
    assert peer.listeners() == 1
    assert console.memory.started
    console.close()
    assert peer.listeners() == 0
    assert not console.memory.started
    peer.hear(BOB, "too late")
    clock.advance(10)


def test_a_failure_at_the_start_leaves_the_peer_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = new_clock()
    peer = furnished(clock)
    screen = MemoryScreen((80, 24))
    monkeypatch.setattr(screen, "hook_event_loop", lambda *args: 1 / 0)
    console = Console(peer, clock, input=sys.stdin, output=sys.stdout, screen=screen)
    console.startService()
    for call, args, kwargs in clock.whenRunningHooks:
        call(*args, **kwargs)
    assert "the console could not be opened" in capsys.readouterr().out
    assert peer.listeners() == 0
    assert peer.quits == 0
    assert not screen.started
    console.stopService()


def test_limits_hold_for_what_is_kept(console: Typist) -> None:
    for i in range(limits.LIVE_MESSAGES * 2):
        console.peer.stored(ECHO, f"old {i}")
    console.type("/msg echo<enter>")
    for _ in range(60):
        console.type("<pgup>")
    chat_rows = console.view.tab.pane.chat_rows
    assert len(chat_rows.rows) > limits.LIVE_MESSAGES
    console.type("<meta end>")
    assert len(chat_rows.rows) <= limits.LIVE_MESSAGES + limits.HISTORY_PAGE
    assert "old 999" in console.screen()


def test_a_name_before_a_path_that_nobody_has_is_said(console: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # which is named in the sentence, and decides where that is wrapped
    console.type("/msg bob<enter>/send echoo /dev/null<enter>")
    assert "Nobody here is called echoo either." in console.words()


def test_drawing_takes_a_fifth_of_the_time_and_half_for_keys(console: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    draws: list[float] = []

    def slow(size: Any, canvas: Any) -> None:
        draws.append(console.clock.seconds())
        console.clock.rightNow += 0.1

    monkeypatch.setattr(console.memory, "draw_screen", slow)
    for _ in range(100):
        console.peer.hear(BOB, "news")
        console.clock.advance(0.01)
    assert len(draws) >= 3
    assert all(later - earlier > 0.499 for earlier, later in pairwise(draws))
    draws.clear()
    for _ in range(100):
        console.memory.feed(["x"])
        console.clock.advance(0.01)
    assert len(draws) >= 5
    assert all(later - earlier > 0.199 for earlier, later in pairwise(draws))
