"""A real terminal's settings, on a pty: taken, and given back whole."""

from __future__ import annotations

import os
import pty
import re
import termios
from collections.abc import Iterator
from typing import Any, TextIO

import pyte
import pytest

from chatnet.console.app import Console
from tests.support.scripted_peer import furnished, key_of
from tests.support.typist import new_clock


class Terminal:
    """Both ends of a pty."""

    def __init__(self) -> None:
        self.ours, theirs = pty.openpty()
        os.set_blocking(self.ours, False)
        self.input: TextIO = os.fdopen(theirs, "r", encoding="utf-8")
        self.output: TextIO = os.fdopen(os.dup(theirs), "w", encoding="utf-8")
        termios.tcsetwinsize(self.ours, (24, 80))

    def settings(self) -> Any:
        return termios.tcgetattr(self.input.fileno())

    def written(self) -> str:
        """What was sent to the terminal since the last call."""
        found = b""
        while True:
            try:
                found += os.read(self.ours, 65_536)
            except BlockingIOError:
                return found.decode()

    def close(self) -> None:
        self.input.close()
        self.output.close()
        os.close(self.ours)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm-256color")
    one = Terminal()
    yield one
    one.close()


def opened(terminal: Terminal, clock: Any) -> Console:
    console = Console(furnished(clock), clock, input=terminal.input, output=terminal.output)
    console.startService()
    for call, args, kwargs in clock.whenRunningHooks:
        call(*args, **kwargs)
    clock.pump([0.02] * 10)
    return console


TAKEN = ("\x1b[?1049h", "\x1b[?2004h", "\x1b[?1000h", "\x1b[?7l")
_UNKNOWN = re.compile(r"\x1b\[\?\d+\$p|\x1b\[[<>=][\d;]*[a-zA-Z]|\x1b\[\?[\d;]*[a-gi-km-zA-Z]")  # to pyte
GIVEN_BACK = ("\x1b[?1049l", "\x1b[?2004l", "\x1b[?1000l", "\x1b[?25h", "\x1b[?7h")


def test_the_terminal_is_whole_again(terminal: Terminal) -> None:
    before = terminal.settings()
    console = opened(terminal, new_clock())
    during, written = terminal.settings(), terminal.written()
    assert all(mode in written for mode in TAKEN)
    assert "Welcome, carol" in written
    assert "carol (2) — chatnet" in written
    for key in (termios.VINTR, termios.VQUIT, termios.VSTART, termios.VSTOP, termios.VSUSP):
        assert during[6][key] in (b"\x00", 0)
    console.stopService()
    assert terminal.settings() == before
    written = terminal.written()
    assert all(mode in written for mode in GIVEN_BACK)


def test_a_row_that_the_terminal_counts_longer_stays_a_row(terminal: Terminal) -> None:
    """Emoji with a skin colour: two columns to urwid, four to a terminal that draws each part."""
    clock = new_clock()
    console = opened(terminal, clock)
    screen = pyte.Screen(80, 24)
    stream = pyte.Stream(screen)
    bob = key_of("bob")
    console.actions.view.show(console.actions.view.open(bob))  # type: ignore[union-attr]
    console._api.hear(bob, "👋🏽" * 60)  # type: ignore[attr-defined]
    clock.pump([0.02] * 10)
    stream.feed(_UNKNOWN.sub("", terminal.written()))
    assert sum(screen.buffer[row][col].data == "👋" for row in range(24) for col in range(80)) > 20
    assert [screen.buffer[row][20].data for row in range(2, 21)] == ["│"] * 19
    console.stopService()


def test_whole_again_also_when_the_start_fails(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    before = terminal.settings()
    monkeypatch.setattr("chatnet.console.app.free_the_signal_keys", lambda screen, input: 1 / 0)
    opened(terminal, new_clock())
    assert terminal.settings() == before
    written = terminal.written()
    assert all(mode in written for mode in GIVEN_BACK)
    assert "the console could not be opened (ZeroDivisionError" in written[written.rindex("\x1b[?1049l") :]


def test_whole_again_when_nobody_stops_the_service(terminal: Terminal) -> None:
    before = terminal.settings()
    console = opened(terminal, new_clock())
    console._give_back()  # what atexit calls
    assert terminal.settings() == before
    console.stopService()


def test_a_terminal_that_is_gone_ends_the_program(terminal: Terminal) -> None:
    import urwid

    clock = new_clock()
    console = opened(terminal, clock)
    assert console._loop is not None
    console._loop._failed(urwid.InputClosedError("gone"))
    assert console._api.quits == 1  # type: ignore[attr-defined]
    assert console._loop is None
