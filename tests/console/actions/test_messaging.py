"""Texts that are typed and sent, and those that cannot be."""

from __future__ import annotations

import pytest

from chatnet.core import limits
from chatnet.core.errors import LocalError, StoreFailed
from chatnet.core.events import MessageState
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB, ECHO = key_of("bob"), key_of("echo")


def test_a_message_is_shown_at_once_with_what_becomes_of_it(console: Typist) -> None:
    console.type("/msg echo<enter>hello<enter>")
    assert console.calls("say") == [("say", ECHO, "hello")]
    row = next(line for line in console.lines() if "you  hello" in line)
    assert "·" in row
    assert "waiting" in row
    console.wait(0.35)
    assert any("→" in line and "sent" in line for line in console.lines() if "you  hello" in line)
    console.wait(0.25)
    row = next(line for line in console.lines() if "you  hello" in line)
    assert "✓" in row
    assert "waiting" not in row
    assert "sent" not in row
    console.wait(0.5)
    assert "echo hello" in console.screen()


def test_alt_enter_makes_a_line_and_enter_sends_all(console: Typist) -> None:
    console.type("/msg bob<enter>one<meta enter>two")
    lines = console.lines()
    assert lines[-3].startswith("bob> one")
    assert lines[-2].startswith("     two")
    console.type("<enter>")
    assert console.calls("say")[-1] == ("say", BOB, "one\ntwo")


def test_a_refused_message_says_so_with_the_reason(console: Typist) -> None:
    console.type("/msg bob hi<enter>")
    console.peer.set_state(console.peer.rows[BOB][-1], MessageState.REFUSED, "not accepted")
    console.settle()
    (row,) = [line for line in console.lines() if "refused: not accepted" in line]
    assert row.count("✗") == 1  # at its start


def test_too_long_says_the_sizes_and_the_text_stays(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.paste("x" * 61_000)
    console.type("<enter>")
    assert "60 KiB is too long for a message (limit 16 KiB). Alt-s sends it as a file." in console.screen()
    assert console.view.input.text == "x" * 61_000
    assert console.calls("say") == []


@pytest.mark.parametrize("error", [StoreFailed("disk-full", "The disk is full."), LocalError("too-long", "Too long.")])
def test_what_was_not_stored_stands_in_the_input_again(console: Typist, error: StoreFailed) -> None:
    console.type("/msg bob<enter>")
    console.peer.fail_next = error
    console.type("precious<enter>")
    assert f"Not sent: {error.text}" in console.screen()
    assert console.view.input.text == "precious"


def test_what_was_not_stored_does_not_overwrite_what_was_typed_since(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.view.input.put("next")
    console.peer.fail_next = StoreFailed("disk-full", "The disk is full.")
    console.console.actions._say(BOB, "precious", console.view.input)
    console.settle()
    assert console.view.input.text == "next"
    console.type("<up>")
    assert console.view.input.text == "precious"


def test_unknown_commands_are_not_sent_and_stay(console: Typist) -> None:
    console.type("/msg bob<enter>/snd x<enter>")
    assert "No command /snd. Did you mean /send? (//snd … sends it as text)" in console.screen()
    assert console.view.input.text == "/snd x"
    assert console.calls("say") == []
    console.type("<ctrl u>//snd x<enter>/say /y<enter>")
    assert [call[2] for call in console.calls("say")] == ["/snd x", "/y"]


def test_text_without_a_person_is_not_sent_and_stays(console: Typist) -> None:
    console.type("hello<enter>")
    assert "Nobody is chosen here" in console.screen()
    assert console.view.input.text == "hello"


def test_msg_to_somebody_unknown_guesses(console: Typist) -> None:
    console.type("/msg hiedi yo<enter>")
    assert "Nobody here is called hiedi. Did you mean heidi?" in console.screen()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("/msg nobody hi", "Nobody here is called nobody."),
        ("/send bob nothing.bin", "no file 'nothing.bin'"),
        ("/trust mallory AAAAAAAA", "These are not the first 16 characters."),
        ("/limit sideways", "/limit [up|down RATE|off]"),
        ("/say", "/say TEXT"),
    ],
)
def test_a_command_that_cannot_be_done_stands_in_the_input_again(console: Typist, typed: str, words: str) -> None:
    console.type(f"{typed}<enter>")
    assert words in console.screen()
    assert console.view.input.text == typed


def test_a_message_that_is_too_long_for_msg_opens_nothing_and_stays(console: Typist) -> None:
    console.type("/msg bob ")
    console.paste("x" * 20_000)
    console.type("<enter>")
    assert "is too long for a message" in console.screen()
    assert console.view.chat is None
    assert console.view.input.text == "/msg bob " + "x" * 20_000


def test_a_paste_that_would_hold_up_the_program_is_refused(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.paste("x" * limits.MAX_PASTE_CHARS)
    assert len(console.view.input.text) == limits.MAX_PASTE_CHARS
    console.paste("y")
    assert "too many for the input" in console.words() + console.screen()
    assert len(console.view.input.text) == limits.MAX_PASTE_CHARS
