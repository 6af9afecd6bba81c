"""Sizes, times and states as people read them."""

from __future__ import annotations

import msgspec
import pytest

from chatnet.console.widgets.theme import ASCII, UNICODE, palette
from chatnet.console.widgets.wording import (
    age_text,
    amount_text,
    bar_text,
    clock_text,
    count_text,
    details_text,
    left_text,
    message_state,
    short_rate,
    size_text,
    transfer_state,
    waiting_text,
    warning_text,
)
from chatnet.core.events import MessageState, OfferDetails, TransferState
from chatnet.core.link_policy import End
from chatnet.core.text import safe_text
from tests.support.scripted_peer import ScriptedPeer, key_of, somebody
from tests.support.typist import new_clock


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1_500_000_000, "1.4 GiB"),
        (8 * 2**30, "8.0 GiB"),
        (2**20 - 1, "1.0 MiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_times_and_rates() -> None:
    assert [left_text(s) for s in (0, 11.4, 725, 10937)] == ["0:00", "0:11", "12:05", "3:02:17"]
    assert [age_text(s) for s in (-1, 40, 700, 9000, 200_000)] == ["0 s", "40 s", "11 min", "2 h", "2 d"]
    assert [short_rate(r) for r in (0, 500, 48 * 2**20)] == ["0", "500", "48M"]
    assert bar_text(1, 2, 4, ASCII) == "##--"
    assert bar_text(0, 0, 2, ASCII) == "##"


def test_every_state_has_a_sign_and_the_uncommon_ones_a_word() -> None:
    peer = ScriptedPeer(new_clock())
    peer.people = {key_of("bob"): somebody("bob", 0)}
    for signs in (ASCII, UNICODE):
        seen = set()
        for state in MessageState:
            sign, word, attribute = message_state(peer.stored(key_of("bob"), "x", mine=True, state=state), signs)
            assert bool(word) is (state not in (MessageState.RECEIVED, MessageState.DELIVERED))
            assert any(attribute == row[0] for row in palette("dark"))
            seen.add((sign, word))
        assert len(seen) == len(MessageState)
        transfer = peer.offered(key_of("bob"), "x", 10)
        words = {
            transfer_state(peer.change_transfer(transfer.fid, state=state), "bob", signs)[0] for state in TransferState
        }
        assert len(words) == len(TransferState)
        told = {
            (TransferState.CANCELLED, "user", "she changed her mind"): "she changed her mind",
            (TransferState.CANCELLED, "no-space", "they cancelled it"): "cancelled: they cancelled it",
            (TransferState.DECLINED, "declined", "she does not want it"): "you refused it",
            (TransferState.DECLINED, "too-many", "they refused it"): "you refused it: they refused it",
        }
        for (state, code, reason), text in told.items():
            changed = peer.change_transfer(transfer.fid, state=state, code=code, reason=safe_text(reason))
            assert transfer_state(changed, "bob", signs)[0] == f"{signs.failed} {text}"
        partly = peer.change_transfer(transfer.fid, state=TransferState.DONE, reason=safe_text("1 of 2 not sent"))
        assert transfer_state(partly, "bob", signs)[0].endswith("digest verified; 1 of 2 not sent")


NOW_MS = 1_795_000_000_000


def test_why_something_waits() -> None:
    """Fault A5: never "online" beside "waiting" without a reason."""
    listed = somebody("bob", NOW_MS)
    assert waiting_text(listed, NOW_MS) == ""  # it is being dialled for the first time
    refused = msgspec.structs.replace(listed, waiting_code="unreachable", next_try_ms=NOW_MS + 12_000)
    assert waiting_text(refused, NOW_MS) == "waiting: nobody answers at bob's addresses. Next try in 12 s."
    elsewhere = msgspec.structs.replace(listed, waiting_code="elsewhere")
    assert waiting_text(elsewhere, NOW_MS).startswith("waiting: you also run somewhere else")
    mute = msgspec.structs.replace(listed, linked=True, unanswered_since_ms=NOW_MS - 9_000)
    assert waiting_text(mute, NOW_MS).startswith(f"bob does not answer since {clock_text(NOW_MS - 9_000, True)}.")
    assert waiting_text(msgspec.structs.replace(listed, linked=True), NOW_MS) == ""


@pytest.mark.parametrize("end", [end for end in End if end is not End.CANCELLED])
def test_every_reason_has_words(end: End) -> None:
    code = end.name.lower().replace("_", "-")
    person = msgspec.structs.replace(somebody("bob", NOW_MS), waiting_code=code)
    text = waiting_text(person, NOW_MS)
    assert text.startswith("waiting: ")
    assert "{" not in text


@pytest.mark.parametrize(
    ("count", "one", "many", "text"),
    [
        (0, "file", "", "0 files"),
        (1, "file", "", "1 file"),
        (1024, "file", "", "1,024 files"),
        (2, "person", "people", "2 people"),
    ],
)
def test_a_count_agrees_with_its_word(count: int, one: str, many: str, text: str) -> None:
    assert count_text(count, one, many) == text


@pytest.mark.parametrize(
    ("files", "folders", "text"),
    [
        (1, 0, ""),
        (2, 0, "2 files"),
        (1, 3, "1 file in 3 folders"),
        (1_500, 46_511, "1,500 files in 46,511 folders"),
        (3, 1, "3 files in 1 folder"),
    ],
)
def test_how_much_an_offer_is(files: int, folders: int, text: str) -> None:
    peer = ScriptedPeer(new_clock())
    transfer = peer.offered(key_of("bob"), "title", 10, files=files, folders=folders)
    assert amount_text(transfer) == text


@pytest.mark.parametrize(
    ("details", "outgoing", "words"),
    [
        (OfferDetails(), False, ""),
        (OfferDetails(empty_folders=2), True, ""),
        (OfferDetails(links=1), False, "1 link is not sent."),
        (OfferDetails(links=3, unsent_folders=2), True, "3 links and 2 empty folders are not sent."),
        (
            OfferDetails(links=1, specials=2, unreadable=1000),
            False,
            "1 link, 2 special files and 1,000 unreadable items are not sent.",
        ),
        (OfferDetails(unreadable=1), True, ""),  # its warning says so
        (OfferDetails(renamed=1), False, "1 name will change here (Alt-v shows which)."),
        (OfferDetails(renamed=2), True, "2 names cannot be sent as they are and go out changed."),
        (OfferDetails(executables=1), False, "1 executable file is saved without that permission."),
    ],
)
def test_what_an_offer_has_beside_files(details: OfferDetails, outgoing: bool, words: str) -> None:
    peer = ScriptedPeer(new_clock())
    peer.people = {key_of("bob"): somebody("bob", 0)}
    transfer = peer.offered(key_of("bob"), "p/", 1, mine=outgoing, files=3, folders=4, details=details)
    assert details_text(transfer, "Alt-v") == words


@pytest.mark.parametrize(
    ("details", "outgoing", "words"),
    [
        (OfferDetails(links=1), False, "1 link was not sent."),
        (OfferDetails(links=3), True, "3 links were not sent."),
        (OfferDetails(renamed=1), False, "1 name was changed."),
        (OfferDetails(renamed=2), True, "2 names could not be sent as they are and went out changed."),
        (OfferDetails(executables=1), False, "1 executable file was saved without that permission."),
        (OfferDetails(executables=2), True, "2 executable files arrived without that permission."),
    ],
)
def test_of_what_has_arrived_it_says_what_was(details: OfferDetails, outgoing: bool, words: str) -> None:
    peer = ScriptedPeer(new_clock())
    peer.people = {key_of("bob"): somebody("bob", 0)}
    offer = peer.offered(key_of("bob"), "p/", 1, mine=outgoing, files=3, folders=4, details=details)
    assert details_text(peer.change_transfer(offer.fid, state=TransferState.DONE), "Alt-v") == words
    assert details_text(peer.change_transfer(offer.fid, state=TransferState.DECLINED), "Alt-v") == ""


def test_a_warning_goes_once_the_offer_has_ended() -> None:
    peer = ScriptedPeer(new_clock())
    offer = peer.offered(key_of("bob"), "run.sh", 1)
    assert "it is a program" in warning_text(offer)
    assert "it is a program" in warning_text(peer.change_transfer(offer.fid, state=TransferState.RUNNING))
    assert warning_text(peer.change_transfer(offer.fid, state=TransferState.DONE)) == ""


def test_empty_folders_are_counted_with_the_others() -> None:
    peer, details = ScriptedPeer(new_clock()), OfferDetails(empty_folders=1)
    offer = peer.offered(key_of("bob"), "p/", 1, files=1200, folders=4, details=details)
    assert amount_text(offer) == "1,200 files in 4 folders, 1 of them empty"
