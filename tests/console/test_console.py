"""The console as a service: failures are told, limits hold, and the terminal is given back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest
import urwid
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


@pytest.mark.parametrize("size", [(50, 14), (80, 24), (140, 40)])
def test_a_warning_about_the_start_stands_in_the_first_tab_and_in_the_last_line(size: tuple[int, int]) -> None:
    text = "config /c line 2: hedless is no key that is known, and was passed over. Did you mean headless?"
    console = Typist(size=size, warnings=(text,))
    assert "hedless is no key" in console.all_words()
    console.wait(60)
    console.type("<page down>" * 3)
    assert "Did you mean headless?" in console.all_words()
    console.close()


def test_of_several_warnings_the_last_line_has_one() -> None:
    console = Typist(warnings=("The one.", "The other."))
    assert console.lines()[-1].strip() == "The one. 1 more in the first tab."
    assert "The other." in console.screen()
    console.close()


@pytest.fixture
def encoding() -> Iterator[Callable[[str], None]]:
    """Sets what urwid takes for the encoding of the terminal."""
    before = urwid.util.get_encoding()
    yield urwid.set_encoding
    urwid.set_encoding(before)


def test_ascii_signs_because_of_the_locale_are_said() -> None:
    console = Typist(environ={"LC_ALL": "C"})
    assert "The locale is not UTF-8, so the console uses ASCII signs. Start with LC_ALL=C.UTF-8." in console.all_words()
    console.close()


def test_ascii_signs_that_were_asked_for_are_not() -> None:
    console = Typist(ascii_only=True, environ={"LC_ALL": "C"})
    assert "locale" not in console.all_words()
    console.close()


def test_what_cannot_be_typed_is_said_at_the_start(encoding: Callable[[str], None]) -> None:
    encoding("ascii")
    console = Typist(environ={"LC_ALL": "C"})
    assert "what ascii has no character for is shown as ? and cannot be typed." in console.all_words()
    console.close()


def typed_bytes(typed: bytes) -> list[str]:
    """The keys that urwid makes of bytes from the terminal."""
    keys: list[str] = []
    codes = list(typed)
    while codes:
        made, codes = urwid.display.escape.process_keyqueue(codes, False)
        keys += [key for key in made if isinstance(key, str)]
    return keys


@pytest.mark.parametrize(
    ("name", "typed", "sent"),
    [
        ("ascii", "café".encode(), "caf"),
        ("ascii", b"\x1b\xc3\xa9ok", "ok"),
        ("utf-8", "café".encode(), "café"),
        ("utf-8", "café".encode("latin-1") + b" ok", "caf ok"),
        ("iso8859-1", "café".encode("latin-1"), "café"),
        ("iso8859-15", "5 €".encode("iso8859-15"), "5 €"),
        ("cp1253", b"a\xd2b", "ab"),  # a byte that stands for nothing there
        ("gbk", "中".encode("gbk") + b"\xd7 ok", "中 ok"),
    ],
)
def test_bytes_that_are_no_character_are_left_out_and_said(
    console: Typist, encoding: Callable[[str], None], name: str, typed: bytes, sent: str
) -> None:
    encoding(name)
    for paste in (False, True):
        keys = typed_bytes(typed)
        console.type("/msg bob<enter>")
        console.press(*(("begin paste", *keys, "end paste") if paste else keys))
        assert ("was left out. Start with LC_ALL=C.UTF-8." in console.all_words()) is (
            sent != typed.decode(name, "replace")
        )
        console.press("enter")
        assert console.calls("say")[-1] == ("say", BOB, sent)
