"""A real terminal's settings, on a pty: taken, and given back whole."""

from __future__ import annotations

import os
import pty
import re
import signal
import termios
import time
from collections.abc import Iterator
from typing import Any, TextIO

import pyte
import pytest

from chatnet.console.app import Console
from chatnet.console.shown import Place, Subject, offer_question
from chatnet.console.theme_choice import ThemeChoice
from chatnet.core.choices import Theme
from chatnet.core.limits import TERMINAL_BACKLOG_BYTES
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


def opened(terminal: Terminal, clock: Any, theme: ThemeChoice | None = None) -> Console:
    environ = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
    console = Console(
        furnished(clock), clock, input=terminal.input, output=terminal.output, theme=theme, environ=environ
    )
    console.startService()
    for call, args, kwargs in clock.whenRunningHooks:
        call(*args, **kwargs)
    clock.pump([0.02] * 10)
    return console


TAKEN = ("\x1b[?1049h", "\x1b[?2004h", "\x1b[?1004h", "\x1b[?1000h", "\x1b[?7l")
_UNKNOWN = re.compile(r"\x1b\[\?\d+\$p|\x1b\[[<>=][\d;]*[a-zA-Z]|\x1b\[\?[\d;]*[a-gi-km-zA-Z]")  # to pyte
GIVEN_BACK = ("\x1b[?1049l", "\x1b[?2004l", "\x1b[?1004l", "\x1b[?1000l", "\x1b[?25h", "\x1b[?7h")


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


def test_out_of_focus_the_terminal_is_told(terminal: Terminal) -> None:
    clock = new_clock()
    console = opened(terminal, clock)
    terminal.written()
    notice = "\a\x1b]9;chatnet: bob: 1 new message\x1b\\\x1b]777;notify;chatnet;bob: 1 new message\x1b\\"
    for report, notices in ((b"\x1b[O", 1), (b"\x1b[I", 0)):
        os.write(terminal.ours, report)
        for reader in list(clock.readers):
            reader.doRead()
        clock.pump([0.02] * 5)
        console._api.hear(key_of("bob"), "hello")  # type: ignore[attr-defined]
        clock.pump([0.5] * 30)
        written = terminal.written()
        assert written.count(notice) == notices
        assert written.count("\x1b]9;") == notices
    console.stopService()


# --- a terminal that nobody reads ---


@pytest.fixture
def deadline() -> Iterator[None]:
    """A write that waits for the reader would wait for ever."""

    def late(*_: object) -> None:
        raise AssertionError("a write to the terminal waits")

    former = signal.signal(signal.SIGALRM, late)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


def stalled(terminal: Terminal, clock: Any) -> Console:
    """A console whose terminal has taken all that it can, with bob's pane in front."""
    console = opened(terminal, clock)
    console.actions.view.show(console.actions.view.open(key_of("bob")))  # type: ignore[union-attr]
    for number in range(3_000):
        hear(console, clock, f"{number} " + "many words " * 6)
        if console._loop.is_behind:  # type: ignore[union-attr]
            return console
    raise AssertionError("the terminal takes everything")


def hear(console: Console, clock: Any, text: str) -> None:
    console._api.hear(key_of("bob"), text)  # type: ignore[attr-defined]
    clock.pump([0.04] * 2)


def read_on(terminal: Terminal, clock: Any) -> str:
    """As a reactor does: everything that the terminal gets from now on."""
    written = terminal.written()
    while clock.writers:
        for writer in list(clock.writers):
            writer.doWrite()
        written += terminal.written()
    clock.pump([0.04] * 5)
    return written + terminal.written()


def test_a_terminal_that_nobody_reads_holds_up_nothing(terminal: Terminal, deadline: None) -> None:
    clock = new_clock()
    screen = pyte.Screen(80, 24)
    stream = pyte.Stream(screen)
    console = stalled(terminal, clock)
    for number in range(500):
        hear(console, clock, f"unseen {number}")
    assert console._writer is not None
    assert len(console._writer._left) < TERMINAL_BACKLOG_BYTES
    assert os.get_blocking(terminal.output.fileno())  # the shell has the same open file
    stream.feed(_UNKNOWN.sub("", read_on(terminal, clock)))
    assert any("unseen 499" in line for line in screen.display)
    shown = [line.rstrip() for line in screen.display]
    console.redraw()
    clock.pump([0.04] * 2)
    stream.feed(_UNKNOWN.sub("", read_on(terminal, clock)))
    assert [line.rstrip() for line in screen.display] == shown  # nothing of the frames left out is missing
    console.stopService()


def test_only_what_could_be_seen_is_read(terminal: Terminal, deadline: None) -> None:
    clock = new_clock()
    console = stalled(terminal, clock)
    marks = [call for call in console._api.calls if call[0] == "mark_read"]  # type: ignore[attr-defined]
    hear(console, clock, "unseen")
    assert [call for call in console._api.calls if call[0] == "mark_read"] == marks  # type: ignore[attr-defined]
    read_on(terminal, clock)
    assert [call for call in console._api.calls if call[0] == "mark_read"] != marks  # type: ignore[attr-defined]
    console.stopService()


def test_a_frame_that_the_terminal_has_not_taken_asks_nothing(terminal: Terminal, deadline: None) -> None:
    clock = new_clock()
    console = stalled(terminal, clock)
    offer = console._api.offered(key_of("bob"), "a.txt", 10)  # type: ignore[attr-defined]
    clock.pump([0.04] * 30)
    shown, place = console.model.shown, Place(Subject.OFFER, key_of("bob"))
    assert not shown.shows(place, offer_question(offer))
    assert not shown.is_settled(place, now=clock.seconds())
    read_on(terminal, clock)
    assert shown.shows(place, offer_question(offer))
    assert not shown.is_settled(place, now=clock.seconds())
    clock.pump([0.04] * 15)
    assert shown.is_settled(place, now=clock.seconds())
    console.stopService()


def test_the_title_follows_when_the_terminal_reads_again(terminal: Terminal, deadline: None) -> None:
    clock = new_clock()
    console = stalled(terminal, clock)
    console._api.hear(key_of("dave"), "hello")  # type: ignore[attr-defined]
    for _ in range(3):
        clock.pump([0.5] * 2)
    unread = console.model.unread()
    written = read_on(terminal, clock)
    clock.pump([0.5] * 4)
    assert f"carol ({unread}) — chatnet" in written + read_on(terminal, clock)
    console.stopService()


def test_whole_again_although_nobody_reads_it(terminal: Terminal, deadline: None) -> None:
    before = terminal.settings()
    clock = new_clock()
    console = stalled(terminal, clock)
    began = time.monotonic()
    console.stopService()
    assert time.monotonic() - began < 1.0
    assert terminal.settings() == before
    assert os.get_blocking(terminal.output.fileno())
    assert not clock.writers
    written = terminal.written()
    assert all(mode in written for mode in GIVEN_BACK)


def test_a_terminal_that_goes_while_it_is_behind_ends_the_program(terminal: Terminal, deadline: None) -> None:
    clock = new_clock()
    console = stalled(terminal, clock)
    (writer,) = clock.writers
    os.close(terminal.ours)
    writer.doWrite()
    assert console._api.quits == 1  # type: ignore[attr-defined]
    assert console._loop is None
    terminal.ours = os.open("/dev/null", os.O_RDONLY)


WHITE_ON_BLUE = "\x1b[0;97;44m"  # the header in the themes dark and light


@pytest.mark.parametrize(
    ("no_color", "told", "has_color"),
    [
        ("", None, True),
        ("", Theme.LIGHT, True),
        ("", Theme.MONO, False),
        ("1", None, False),
        ("1", Theme.DARK, True),
    ],
)
def test_no_color_holds_unless_a_theme_with_colors_is_asked_for(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, no_color: str, told: Theme | None, has_color: bool
) -> None:
    """As no-color.org has it."""
    monkeypatch.setenv("NO_COLOR", no_color)
    console = opened(terminal, new_clock(), ThemeChoice({"NO_COLOR": no_color}, told))
    written = terminal.written()
    assert "carol" in written
    assert (WHITE_ON_BLUE in written) is has_color
    console.stopService()


@pytest.mark.parametrize(
    ("term", "header"),
    [
        ("xterm-256color", WHITE_ON_BLUE),
        ("screen-256color", WHITE_ON_BLUE),  # tmux
        ("linux", "\x1b[0;1;37;44m"),
    ],
)
def test_a_bright_color_is_bold_only_on_the_linux_console(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, term: str, header: str
) -> None:
    """Elsewhere bold may leave the color as it is: bold red on Tango has a contrast of 2."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = opened(terminal, new_clock(), ThemeChoice({}))
    assert header in terminal.written()
    console.stopService()
