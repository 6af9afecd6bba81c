"""What a person is told while they look elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.console.alerts import BELL, alert_sequence
from chatnet.core.choices import Choice
from chatnet.core.events import AlertContent, AlertRules, MessageAdded, MessageState
from chatnet.core.limits import ALERT_SECONDS
from tests.support.scripted_peer import ScriptedPeer, furnished, key_of, somebody
from tests.support.typist import Typist, new_clock

BOB, DAVE, ERIN = key_of("bob"), key_of("dave"), key_of("erin")
XTERM = {"TERM": "xterm-256color"}
NINE, SEVEN = "\x1b]9;chatnet: hi\x1b\\", "\x1b]777;notify;chatnet;hi\x1b\\"


# --- on the screen -----------------------------------------------------------------------------------


@pytest.fixture
def away(console: Typist) -> Iterator[Typist]:
    """The terminal is not in focus."""
    console.press("focus out")
    return console


def told(console: Typist) -> list[str]:
    """The notices since the last call, as OSC 777 has them; those of the bell alone are empty."""
    sequences, console.memory.alerts = console.memory.alerts, []
    return [re.search("777;notify;chatnet;(.*?)\x1b|$", one)[1] or "" for one in sequences]


def test_only_out_of_focus(console: Typist) -> None:
    console.peer.hear(BOB, "one")
    console.wait(2)
    assert told(console) == []
    console.press("focus out")
    console.peer.hear(BOB, "two")
    console.wait(0.1)
    assert told(console) == ["bob: 1 new message"]
    console.press("focus in")
    console.peer.hear(BOB, "three")
    console.wait(2 * ALERT_SECONDS)
    assert told(console) == []


def test_focus_is_no_text_and_no_key(console: Typist) -> None:
    console.type("half")
    console.press("focus out", "begin paste", "a", "focus in", "b", "end paste")
    assert console.view.input.text == "halfab"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("off", []),
        ("bell", [""]),
        ("count", ["1 new message"]),
        ("name", ["bob: 1 new message"]),
        ("text", ["bob: lunch, today?"]),
    ],
)
def test_what_a_notice_says(away: Typist, content: str, words: list[str]) -> None:
    away.type(f"/notify {content}<enter>")
    away.press("focus out")
    away.peer.hear(BOB, "lunch; today?")
    away.wait(0.1)
    assert told(away) == words


def test_one_in_five_seconds_and_the_others_together(away: Typist) -> None:
    away.type("/notify text<enter>")
    away.press("focus out")
    away.peer.hear(BOB, "one")
    away.wait(0.2)
    for number in range(1_000):
        away.peer.hear(DAVE if number else ERIN, f"flood {number}")
    away.wait(1)
    assert told(away) == ["bob: one"]
    away.wait(ALERT_SECONDS)
    assert told(away) == ["erin and others: 1,000 new messages"]
    away.wait(10 * ALERT_SECONDS)
    assert told(away) == []


def test_an_offer_is_told_with_its_title_in_quotes(away: Typist) -> None:
    away.type("/notify text<enter>")
    away.press("focus out")
    away.peer.offered(BOB, "plans.pdf", 10)
    away.wait(0.1)
    assert told(away) == ['bob: offers "plans.pdf"']


def test_an_offer_that_a_rule_refused_is_not_told(away: Typist) -> None:
    away.press("focus out")
    offer = away.peer.offered(BOB, "plans.pdf", 10)
    (row,) = (row for row in away.peer.rows[BOB] if row.id == offer.fid)
    away.wait(0.1)
    told(away)
    away.wait(10)
    away.peer.emit(MessageAdded(msgspec.structs.replace(row, n=row.n + 1, state=MessageState.REFUSED)))
    away.wait(10)
    assert told(away) == []


def test_nothing_of_a_request_is_told(away: Typist) -> None:
    """What a stranger sends makes a request, and never a message of a person."""
    away.peer.ask("eve", "let me in", offers=1)
    away.wait(2 * ALERT_SECONDS)
    stranger = away.peer.stored(key_of("nobody known"), "hello")
    away.peer.emit(msgspec_added(stranger))
    away.wait(2 * ALERT_SECONDS)
    assert told(away) == []


def msgspec_added(message: object) -> object:
    from chatnet.core.events import MessageAdded

    return MessageAdded(message)  # type: ignore[arg-type]


def test_what_we_write_ourselves_is_not_told(away: Typist) -> None:
    away.type("/msg bob hello<enter>")
    away.press("focus out")
    away.wait(2 * ALERT_SECONDS)
    assert told(away) == []


def test_what_was_seen_meanwhile_is_not_told(away: Typist) -> None:
    away.peer.hear(BOB, "one")
    away.wait(0.1)
    away.peer.hear(BOB, "two")
    away.press("focus in")
    away.press("focus out")
    away.wait(2 * ALERT_SECONDS)
    assert told(away) == ["bob: 1 new message"]


# --- the rules ---------------------------------------------------------------------------------------


def test_notify_tells_and_keeps(console: Typist) -> None:
    console.type("/notify<enter>")
    assert "While you look elsewhere, the bell rings, and a notice says from whom (/notify name)." in words(console)
    console.type("/notify Text<enter>")
    assert console.calls("set_alerts") == [("set_alerts", AlertRules(AlertContent.TEXT))]
    assert "/notify auto gives the choice back." in words(console)
    console.type("/notify auto<enter>")
    assert console.calls("set_alerts")[1:] == [("set_alerts", AlertRules())]
    console.type("/notify loud<enter>")
    assert "/notify [off|bell|count|name|text|auto]" in words(console)


def words(console: Typist) -> str:
    return " ".join(" ".join(console.lines()[-5:]).split())


def test_nothing_is_told_of_who_is_muted(away: Typist) -> None:
    away.type("/mute bob<enter>")
    assert away.calls("set_alerts") == [("set_alerts", AlertRules(None, (BOB,)))]
    away.type("/mute dave<enter>")
    away.type("/unmute dave<enter>")
    away.type("/notify<enter>")
    assert "Never of: bob." in words(away)
    away.press("focus out")
    away.peer.hear(BOB, "one")
    away.wait(2 * ALERT_SECONDS)
    assert told(away) == []
    away.peer.hear(DAVE, "one")
    away.wait(0.1)
    assert told(away) == ["dave: 1 new message"]
    away.type("/unmute bob<enter>")
    assert "Notices tell of bob again." in words(away)
    away.press("focus out")
    away.wait(ALERT_SECONDS)
    away.peer.hear(BOB, "two")
    away.wait(0.1)
    assert told(away) == ["bob: 1 new message"]


def test_rules_of_the_last_time_hold() -> None:
    clock = new_clock()
    peer = furnished(clock)
    peer.alerts = AlertRules(AlertContent.COUNT, (DAVE,))
    console = Typist(peer, clock=clock)
    console.press("focus out")
    console.peer.hear(DAVE, "one")
    console.peer.hear(BOB, "two")
    console.wait(0.1)
    assert told(console) == ["1 new message"]
    console.close()


@pytest.mark.parametrize(
    ("kept", "expected"), [(None, ["bob: 1 new message"]), (AlertContent.TEXT, ["bob: lunch?"])], ids=str
)
def test_what_was_kept_wins_over_the_file(kept: AlertContent | None, expected: list[str]) -> None:
    console = started(kept, Choice(None, AlertContent.NAME))
    console.peer.hear(BOB, "lunch?")
    console.wait(0.1)
    assert told(console) == expected
    console.close()


def test_the_command_line_wins_over_what_was_kept() -> None:
    console = started(AlertContent.TEXT, Choice(AlertContent.OFF, AlertContent.NAME))
    console.peer.hear(BOB, "secret")
    console.type("/mute dave<enter>")  # chooses no other content
    console.press("focus out")
    console.peer.hear(BOB, "secret")
    console.wait(2 * ALERT_SECONDS)
    assert told(console) == []
    console.type("/notify<enter>")
    assert "While you look elsewhere, nothing is told (/notify off). Never of: dave." in words(console)
    assert "/notify auto" not in words(console)
    console.close()


def test_a_choice_holds_at_once_and_says_when_it_does_not_last() -> None:
    console = started(AlertContent.TEXT, Choice(AlertContent.OFF, AlertContent.NAME))
    console.type("/notify text<enter>")
    until = "This holds until you quit: --notify or CHATNET_NOTIFY says something else at each start."
    assert until in words(console)
    console.press("focus out")
    console.peer.hear(BOB, "lunch?")
    console.wait(0.1)
    assert told(console) == ["bob: lunch?"]
    console.type("/notify off<enter>")
    assert "/notify auto gives the choice back." in words(console)
    console.type("/notify auto<enter>")
    assert "(/notify name)" in words(console)
    console.close()


def started(kept: AlertContent | None, alerts: Choice[AlertContent]) -> Typist:
    """A console out of focus, in whose profile ``kept`` was chosen before."""
    clock = new_clock()
    peer = furnished(clock)
    peer.alerts = AlertRules(kept)
    console = Typist(peer, clock=clock, alerts=alerts)
    console.press("focus out")
    return console


# --- the sequences -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "sequence"),
    [
        (XTERM, BELL + NINE + SEVEN),
        ({"TERM": "rxvt-unicode-256color"}, BELL + SEVEN),
        ({"TERM": "foot"}, BELL + SEVEN),
        ({**XTERM, "VTE_VERSION": "7800"}, BELL + SEVEN),
        ({**XTERM, "TERM_PROGRAM": "iTerm.app"}, BELL + NINE),
        ({"TERM": "xterm-kitty"}, BELL + NINE),
        ({**XTERM, "WT_SESSION": "1"}, BELL + NINE),
        ({"TERM": "linux"}, BELL),
        ({"TERM": "dumb"}, BELL),
        ({"TERM": "vt220"}, BELL),
        ({}, BELL),
        ({"TERM": "screen-256color", "STY": "1.pts"}, BELL),
        ({"TERM": "screen-256color"}, BELL),
        (
            {"TERM": "screen-256color", "TMUX": "/tmp/tmux", "VTE_VERSION": "7800"},
            f"{BELL}\x1bPtmux;\x1b\x1b]777;notify;chatnet;hi\x1b\x1b\\\x1b\\",
        ),
        (
            {"TERM": "tmux-256color", "KITTY_WINDOW_ID": "1"},
            f"{BELL}\x1bPtmux;\x1b\x1b]9;chatnet: hi\x1b\x1b\\\x1b\\",
        ),
    ],
)
def test_each_terminal_gets_what_it_knows(environ: dict[str, str], sequence: str) -> None:
    assert alert_sequence("hi", environ, is_utf8=True) == sequence
    assert alert_sequence("", environ, is_utf8=True) == BELL


@given(st.text(), st.booleans(), st.sampled_from([XTERM, {**XTERM, "TMUX": "x"}]))
def test_whatever_the_text_it_is_one_harmless_sequence(text: str, is_utf8: bool, environ: dict[str, str]) -> None:
    sequence = alert_sequence(text, environ, is_utf8)
    if "TMUX" in environ:
        sequence = re.sub(
            "\x1bPtmux;(.*?)(?<!\x1b)\x1b\\\\", lambda found: found[1].replace("\x1b\x1b", "\x1b"), sequence, flags=re.S
        )
    pattern = "\a(\x1b\\]9;chatnet: ([^\x1b]*)\x1b\\\\\x1b\\]777;notify;chatnet;([^\x1b;]*)\x1b\\\\)?"
    found = re.fullmatch(pattern, sequence)
    assert found is not None
    shown = found[2] or ""
    assert shown.isprintable()
    assert len(shown) <= 121
    assert is_utf8 or shown.isascii()


def test_a_text_cannot_be_the_progress_of_a_terminal() -> None:
    """``OSC 9 ; 4 ; …`` sets a progress bar in some terminals."""
    assert "]9;4" not in alert_sequence("4;1;50", XTERM, is_utf8=True)


def test_names_and_texts_are_cleaned(away: Typist) -> None:
    away.peer.put_people(somebody("eve\x1b]0;x\a", away.peer.now_ms(), peer=ERIN))
    away.type("/notify text<enter>")
    away.press("focus out")
    away.peer.hear(ERIN, "\x1b]9;4;1;50\x1b\\\x07\u202e\x9c")
    away.wait(0.1)
    (sequence,) = away.memory.alerts
    assert sequence.count("\x1b") == 4
    assert sequence.count("\a") == 1
    assert "\x9c" not in sequence
    assert "\u202e" not in sequence
    assert isinstance(away.peer, ScriptedPeer)
