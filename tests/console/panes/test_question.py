"""What destroys something asks first, and only an answer that was meant for the question does it."""

from __future__ import annotations

import pytest

from chatnet.core.events import TransferState
from chatnet.core.identity import short_text
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB, DAVE, ECHO = key_of("bob"), key_of("dave"), key_of("echo")
ASKED = f"Block bob, key {short_text(BOB)}?"


def footer(console: Typist) -> str:
    return " ".join(" ".join(console.lines()[-6:]).split())


# --- the list of people -----------------------------------------------------------------------------


@pytest.mark.parametrize("keys", ["bo", "b o"])
def test_letters_find_somebody_and_block_nobody(console: Typist, keys: str) -> None:
    """``bo`` to find bob, while bob is selected and a transfer of his runs."""
    console.peer.change_transfer(next(iter(console.peer.transfers)), state=TransferState.RUNNING, done_bytes=300)
    console.type("<f2>")
    for part in keys.split():
        console.type(part)
    assert console.calls("block") == []
    assert "/ bo" in console.screen()
    assert ASKED not in console.screen()
    assert "● bob" in console.screen()
    assert "● dave" not in console.screen()
    console.type("<enter>")
    assert console.view.chat == BOB


def test_a_letter_that_does_nothing_begins_the_filter(console: Typist) -> None:
    console.type("<f2>judy<enter>")
    assert console.view.chat == key_of("judy")


def test_a_name_that_begins_with_b_and_y_is_no_answer(console: Typist) -> None:
    """``by`` typed at once: nobody has read the question."""
    console.type("<f2>")
    console.type("by")
    assert console.calls("block") == []
    assert "/ by" in console.screen()


def test_letters_behind_the_key_of_the_picker_offer_nothing(console: Typist) -> None:
    console.type("<f2>")
    console.type("ss")
    assert "Send to bob" in console.screen()
    assert console.calls("offer") == []
    console.type("s")
    assert len(console.calls("offer")) == 1


# --- the answers ------------------------------------------------------------------------------------


def test_b_asks_with_name_and_key_and_says_what_ends(console: Typist) -> None:
    console.type("<f2>")
    console.type("b")
    assert ASKED in footer(console)
    assert '1 transfer with bob ends: "video.mkv".' in footer(console)
    assert "[y block] [n do not]" in console.lines()[-1]
    console.type("y")
    assert console.calls("block") == [("block", BOB, True)]
    assert "b again ends it." in footer(console)
    console.type("b")
    assert console.calls("block")[1:] == [("block", BOB, False)], "the end of a block destroys nothing"


@pytest.mark.parametrize("key", ["n", "<esc>", "<up>", "<f2>", "<ctrl c>"])
def test_all_else_says_no(console: Typist, key: str) -> None:
    console.type("<f2>")
    console.type("b")
    assert ASKED in footer(console)
    console.type(key)
    assert ASKED not in console.screen()
    console.type("y")
    assert console.calls("block") == []


def test_no_leaves_the_list_and_another_key_does_what_it_does(console: Typist) -> None:
    console.type("/block bob<enter>")
    assert ASKED in footer(console)
    console.type("half a sentence")
    assert console.view.input.text == "half a sentence"
    console.type("<ctrl u><f2>")
    console.type("b")
    console.type("n")
    assert console.view.people.filter is None
    console.type("<enter>")
    assert console.view.chat == BOB


def test_an_answer_that_comes_too_early_does_nothing_and_the_question_stays(console: Typist) -> None:
    console.type("/block bob<enter>y")
    assert console.calls("block") == []
    assert ASKED in footer(console)
    console.type("y")
    assert console.calls("block") == [("block", BOB, True)]


def test_a_question_that_has_changed_is_read_again(console: Typist) -> None:
    console.type("/block dave<enter>")
    console.wait(1)
    console.peer.offered(DAVE, "plans.pdf", 10)
    console.settle()
    console.press("y")
    assert console.calls("block") == []
    assert '1 transfer with dave ends: "plans.pdf".' in footer(console)
    console.type("y")
    assert console.calls("block") == [("block", DAVE, True)]


def test_a_question_that_is_not_whole_in_view_is_not_answered(console: Typist) -> None:
    for number in range(2):
        console.peer.offered(BOB, "\u6f22" * 40 + f"{number}.pdf", 10)
    console.type("/block bob<enter>")
    console.resize(20, 12)
    console.wait(1)
    console.press("y")
    assert console.calls("block") == []
    console.resize(80, 24)
    console.wait(1)
    console.type("y")
    assert console.calls("block") == [("block", BOB, True)]


def test_both_answers_can_be_clicked(console: Typist) -> None:
    console.type("/block bob<enter>")
    console.wait(1)
    console.click("[n do not]")
    assert ASKED not in console.screen()
    assert console.calls("block") == []
    console.type("<f2>")
    console.type("b")
    console.click("[y block]")
    assert console.calls("block") == [], "too early to have been read"
    assert ASKED in footer(console)
    console.wait(1)
    console.click("[y block]")
    assert console.calls("block") == [("block", BOB, True)]


def test_a_click_elsewhere_says_no(console: Typist) -> None:
    console.type("/block bob<enter>")
    console.wait(1)
    console.click("● erin")
    assert ASKED not in console.screen()


def test_a_terminal_that_has_not_shown_the_question_gets_no_answer(
    console: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.type("/block bob<enter>")
    console.wait(1)
    monkeypatch.setattr(type(console.console._loop), "is_behind", property(lambda self: True))
    console.press("y")
    assert console.calls("block") == []


@pytest.mark.parametrize("size", [(40, 10), (50, 14), (80, 24), (140, 40)])
@pytest.mark.parametrize("over", ["", "/requests<enter>", "/verify bob<enter>", "<f1>"])
def test_question_and_answers_are_in_view(console: Typist, size: tuple[int, int], over: str) -> None:
    console.resize(*size)
    console.type("/block bob<enter>")
    if over:
        console.view.ask(None)
        console.type(over)
        console.type("<f4>" if over == "<f1>" else "")
        console.console.actions._block(console.console.model.roster.people[BOB], True)  # type: ignore[union-attr]
        console.settle()
    assert ASKED in footer(console)
    assert "video.mkv" in footer(console)
    assert "[y block] [n do not]" in console.lines()[-1]


# --- each act ---------------------------------------------------------------------------------------


def test_block_alone_says_whom(console: Typist) -> None:
    console.type("/msg dave<enter>/block<enter>")
    assert f"Block dave, key {short_text(DAVE)}?" in footer(console)
    console.type("y")
    assert console.calls("block") == [("block", DAVE, True)]


def test_block_by_letters_says_who_that_is(console: Typist) -> None:
    console.type("/block wal<enter>")
    assert "Block walter, key" in footer(console)


def test_cancelling_says_what_is_lost_and_what_has_ended_is_not_cancelled(console: Typist) -> None:
    fid = next(iter(console.peer.transfers))
    console.peer.change_transfer(fid, state=TransferState.RUNNING, done_bytes=100)
    console.type("<f4>")
    console.type("c")
    assert f'Cancel 1, "video.mkv" from bob, key {short_text(BOB)}? What has come of it is deleted.' in footer(console)
    console.peer.change_transfer(fid, state=TransferState.RUNNING, done_bytes=200)  # its progress is no other question
    console.settle()
    console.press("y")
    console.settle()
    assert console.calls("cancel") == []
    console.type("y")
    assert console.calls("cancel") == [("cancel", fid)]


def test_progress_does_not_hold_up_the_answer(console: Typist) -> None:
    fid = next(iter(console.peer.transfers))
    console.peer.change_transfer(fid, state=TransferState.RUNNING, done_bytes=100)
    console.type("<f4>")
    console.type("c")
    for done in range(200, 2_000, 100):
        console.peer.change_transfer(fid, done_bytes=done)
        console.wait(0.05)
    console.press("y")
    assert console.calls("cancel") == [("cancel", fid)]


def test_a_transfer_that_ends_under_the_question_is_told(console: Typist) -> None:
    fid = next(iter(console.peer.transfers))
    console.type("/msg bob<enter>")
    console.type("/cancel<enter>")
    console.peer.change_transfer(fid, state=TransferState.DONE)
    console.type("y")
    assert console.calls("cancel") == []
    assert "It has ended meanwhile." in footer(console)


@pytest.mark.parametrize("typed", ["<f10>", "<ctrl d>", "/quit<enter>"])
def test_leaving_with_transfers_asks(console: Typist, typed: str) -> None:
    transfer = console.peer.offered(BOB, "a", 10**9)
    console.peer.change_transfer(transfer.fid, state=TransferState.RUNNING)
    console.settle()
    console.type(typed)
    assert "Quit? 1 transfer is under way and will go on next time." in footer(console)
    console.type("n")
    assert console.peer.quits == 0
    console.type(typed)
    console.type("y")
    assert console.peer.quits == 1


def test_a_slash_in_the_list_of_transfers_keeps_what_was_typed(console: Typist) -> None:
    console.type("<f4>/say a long thought<esc>")
    console.type("<esc>")
    console.view.focus_on = console.view.tab.pane.context
    console.type("/")
    assert console.view.input.text == "/"
    assert "Up brings back what was typed here." in footer(console)
    console.type("<up>")
    assert console.view.input.text == "/say a long thought"


@pytest.mark.parametrize("size", [(40, 10), (80, 24)])
def test_a_long_title_leaves_name_key_and_answers_in_view(console: Typist, size: tuple[int, int]) -> None:
    console.peer.offered(DAVE, "x" * 200, 10)
    console.peer.offered(DAVE, "y" * 200, 10)
    console.resize(*size)
    console.type("/block dave<enter>")
    assert f"Block dave, key {short_text(DAVE)}?" in footer(console)
    assert "2 transfers with dave end:" in footer(console)
    assert "[y block] [n do not]" in console.lines()[-1]


def test_a_paste_says_no(console: Typist) -> None:
    console.type("/msg erin<enter>")
    console.type("/block bob<enter>")
    console.paste("some words")
    assert ASKED not in console.screen()
    assert console.view.input.text == "some words"
    console.type("y")
    assert console.calls("block") == []
