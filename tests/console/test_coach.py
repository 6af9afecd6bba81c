"""The bottom line names what can be done now."""

from __future__ import annotations

from typing import Any

import pytest

from chatnet.console.coach import OpenPage, Situation, hints
from chatnet.console.keymap import Context
from chatnet.core.events import MessageState, RegistryPhase, TransferState
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB, DAVE = key_of("bob"), key_of("dave")


def coach(console: Typist) -> str:
    return console.lines()[-1]


@pytest.mark.parametrize(
    ("outgoing", "changes", "named", "not_named"),
    [
        (False, {}, ["y accept", "n refuse"], ["p pause", "r resume", "c cancel"]),
        (True, {}, ["c cancel"], ["y accept", "p pause", "r resume"]),
        (True, {"state": TransferState.WAITING}, ["c cancel"], ["y accept", "p pause", "r resume"]),
        (True, {"state": TransferState.RUNNING}, ["p pause", "c cancel"], ["r resume", "y accept"]),
        (False, {"state": TransferState.QUEUED}, ["p pause", "c cancel"], ["r resume"]),
        (True, {"state": TransferState.BROKEN, "code": "timeout"}, ["r resume", "p pause", "c cancel"], ["y accept"]),
        (True, {"state": TransferState.PAUSED, "code": "paused", "paused_here": True}, ["r resume"], ["p pause"]),
        (True, {"state": TransferState.PAUSED, "code": "paused"}, ["p pause", "c cancel"], ["r resume"]),
        (False, {"state": TransferState.PAUSED, "code": "space"}, ["r resume", "c cancel"], ["y accept"]),
        (False, {"state": TransferState.DONE}, ["x clear finished"], ["c cancel", "p pause", "r resume"]),
    ],
)
def test_the_keys_of_a_transfer_are_those_that_do_something(
    console: Typist, outgoing: bool, changes: dict[str, Any], named: list[str], not_named: list[str]
) -> None:
    """Fault C20: ``p``, ``r`` and ``l`` were never named."""
    transfer = console.peer.offered(BOB, "video.mkv", 10**9, mine=outgoing)
    console.peer.change_transfer(transfer.fid, **changes)
    console.settle()
    console.type("<f4><home>")
    for piece in (*named, "l speed", "Enter open"):
        assert piece in coach(console), piece
    for piece in not_named:
        assert piece not in coach(console), piece
    console.resize(50, 14)
    assert named[0] in coach(console)


def test_an_unanswered_person_leaves_pause_resume_and_cancel(console: Typist) -> None:
    transfer = console.peer.offered(BOB, "video.mkv", 10**9, mine=True)
    console.peer.change_person(BOB, unanswered_since_ms=console.peer.now_ms())
    console.peer.change_transfer(transfer.fid, state=TransferState.BROKEN, code="timeout")
    console.settle()
    console.type("<f4><home>")
    assert coach(console).startswith(" r resume  p pause  c cancel  Enter open  l speed")


def test_the_selected_transfer_decides(console: Typist) -> None:
    console.peer.transfers.clear()
    first = console.peer.offered(BOB, "a", 10, mine=True)
    console.peer.change_transfer(first.fid, state=TransferState.RUNNING)
    console.peer.offered(BOB, "b", 10)
    console.settle()
    console.type("<f4><home>")
    assert "y accept" in coach(console)
    console.type("<down>")
    assert "y accept" not in coach(console)
    assert "p pause" in coach(console)


def test_a_command_is_run_and_not_sent(console: Typist) -> None:
    console.type("/msg bob<enter>")
    assert "Enter send" in coach(console)
    console.type("/wh")
    assert coach(console).startswith(" Enter run  Tab complete")
    console.type("<ctrl u>//say")
    assert "Enter send" in coach(console)


def test_what_the_registry_needs_is_named_in_the_first_tab(console: Typist) -> None:
    console.peer.put_registry(RegistryPhase.LOST, "connection refused", "refused-connection", 8)
    console.settle()
    assert coach(console).startswith(" /reconnect try now")
    console.peer.put_registry(RegistryPhase.REFUSED, "elsewhere", "elsewhere")
    console.settle()
    assert coach(console).startswith(" /takeover take your place here")
    console.peer.put_registry(RegistryPhase.UP)
    console.peer.ask("mallory", "hello")
    console.settle()
    assert coach(console).startswith(" /requests read them")


def test_a_message_that_was_not_taken_can_be_sent_again(console: Typist) -> None:
    message = console.peer.stored(DAVE, "well?", mine=True)
    console.type("/msg dave<enter>")
    assert "/resend" not in coach(console)
    console.peer.set_state(message, MessageState.REFUSED, "no")
    console.settle()
    assert "/resend send it again" in coach(console)
    console.peer.change_person(DAVE, blocked=True)
    console.settle()
    assert "/unblock take messages again" in coach(console)


def test_a_page_names_its_own_keys_and_hides_those_of_what_is_below() -> None:
    page = OpenPage([("a", "all the same")], enter_shows="QR code", goes_on=True)
    named = [("a", "all the same"), ("Enter", "QR code"), ("Esc", "back"), ("PgDn", "more")]
    assert hints(Situation(Context.TRANSFERS, typed="/whois", page=page)) == named
    assert hints(Situation(Context.PEOPLE, page=OpenPage())) == [("Esc", "back")]


def test_while_a_request_is_read_enter_reads_none() -> None:
    assert hints(Situation(Context.REQUESTS))[:2] == [("Enter", "read"), ("a", "accept")]
    assert hints(Situation(Context.REQUESTS, reads_request=True))[0] == ("a", "accept")
