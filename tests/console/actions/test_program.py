"""Help, facts about the program, and leaving it."""

from __future__ import annotations

import pytest

from chatnet.core.events import TransferState, VerifiedLevel
from chatnet.core.identity import grouped_text
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB = key_of("bob")


def test_facts_on_request(console: Typist) -> None:
    console.peer.change_person(BOB, address="192.0.2.20:50412")
    console.type("/myid<enter>")
    assert grouped_text(key_of("carol")) in console.screen().replace("\n", "")
    console.type("<esc>/log<enter>")
    assert "/home/carol/.local/state/chatnet/carol/log" in console.screen()
    console.type("/version<enter>")
    assert "chatnet 0." in console.screen()
    console.type("/whois bob<enter>")
    assert grouped_text(BOB)[:30] in console.screen()
    for fact in (
        "not verified, online, reached at 192.0.2.20:34194, linked with 192.0.2.20:50412.",
        "Offers from bob wait for your answer.",
    ):
        assert fact in console.all_words()
    console.peer.change_person(BOB, linked=False, blocked=True, verified=VerifiedLevel.BY_CODE)
    console.type("/whois bob<enter>")
    assert ", verified, blocked, online, reached at 192.0.2.20:34194. Offers" in console.all_words()
    console.type("/help send<enter>")
    assert "/send [WHO] PATH" in console.screen()
    console.type("<esc>/peers al<enter>")
    assert "/ al" in console.screen()
    console.type("<esc>/net<enter>/mouse<enter>")
    assert console.memory.mouse is False
    console.type("<meta m><ctrl l>")
    assert console.memory.mouse is True
    assert console.memory.cleared >= 1


def test_ctrl_c_twice_within_two_seconds_quits(console: Typist) -> None:
    console.type("<ctrl c>")
    assert "Press again to quit" in console.screen()
    console.wait(2.5)
    console.type("<ctrl c>")
    assert console.peer.quits == 0
    console.type("<ctrl c>")
    assert console.peer.quits == 1


@pytest.mark.parametrize("typed", ["<f10>", "<ctrl d>", "/quit<enter>"])
def test_one_key_quits_when_nothing_is_lost(console: Typist, typed: str) -> None:
    console.type(typed)
    assert console.peer.quits == 1


def test_quitting_asks_when_a_transfer_runs(console: Typist) -> None:
    transfer = console.peer.offered(BOB, "a", 10**9)
    console.peer.change_transfer(transfer.fid, state=TransferState.RUNNING)
    console.settle()
    console.type("<f10>")
    assert console.peer.quits == 0
    assert "1 transfer is under way" in console.screen()
    console.type("<f10>")
    assert console.peer.quits == 1


def test_ctrl_d_in_a_text_deletes_and_ctrl_z_does_not_stop(console: Typist) -> None:
    console.type("abc<ctrl a><ctrl d>")
    assert console.view.input.text == "bc"
    console.type("<ctrl z>")
    assert "Not stopped" in console.screen()
    assert console.peer.quits == 0


def test_help_comes_without_the_old_words_and_goes_to_where_one_was(console: Typist) -> None:
    console.type("/nothing<enter>")
    assert "No command /nothing." in console.screen()
    console.type("<f1>")
    assert "No command /nothing." not in console.screen()
    console.type("<f1>")
    assert console.view.overlay is None
    assert console.view.input.text == "/nothing"
    console.type("<ctrl u>/msg bob<enter><f5>")
    picker = console.view.overlay
    console.type("<f1>")
    assert "type to search" in console.screen()
    console.type("<esc>")
    assert console.view.overlay is picker


def test_leaving_says_what_becomes_of_what_is_typed(console: Typist) -> None:
    console.type("/msg bob<enter>half a thought<ctrl d>")
    assert "Ctrl-D quits when the input is empty" in console.screen()
    console.type("<ctrl c>")
    assert "Press again to quit (what you typed here is kept for next time)." in console.screen()
    console.type("<f10>")
    assert "Quit? What you typed here is kept for next time." in console.screen()
    assert console.calls("quit") == []
    console.type("<f10>")
    assert len(console.calls("quit")) == 1
