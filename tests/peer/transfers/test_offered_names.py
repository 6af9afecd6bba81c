"""What an offer holds is told on both sides, and can be looked at before it is accepted."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest
import pytest_twisted

from chatnet.core import limits, messages
from chatnet.core.errors import LocalError
from chatnet.core.events import OfferDetails, OfferedName, TransferState
from chatnet.core.messages import OfferedFile, OfferRest
from chatnet.core.text import SafeText
from chatnet.core.transfer.offers import offer_pages
from chatnet.peer.store.transfers import OfferedRow
from chatnet.peer.transfers.offered_names import first_renamed, shown_names
from tests.peer.transfers.parties import Party
from tests.peer.transfers.test_transfers import (
    Stranger,
    both_end,
    landed,
    offered,
    parties,
    quick,
    stranger,
    write,
)

__all__ = ["parties", "stranger"]  # the fixtures

DETAILS = OfferDetails(empty_folders=2, executables=1, links=2, specials=1)


def folder(place: Path) -> bytes:
    """A file, a program, two links, a FIFO, two empty folders."""
    write(place, "photos/a.jpg", b"a")
    write(place, "photos/.hidden/run.sh", b"#!")
    (place / "photos" / ".hidden" / "run.sh").chmod(0o755)
    (place / "photos" / "link").symlink_to(place)
    (place / "photos" / "dead").symlink_to("nowhere")
    os.mkfifo(place / "photos" / "pipe")
    (place / "photos" / "empty" / "inner").mkdir(parents=True)
    (place / "photos" / "void").mkdir()
    return os.fsencode(place / "photos")


def folders(party: Party) -> set[str]:
    home = party.downloads / "dave"
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_dir()}


async def offer_many(stranger: Stranger, paths: list[list[str]]) -> None:
    for page in offer_pages(b"F" * 16, [OfferedFile(path, 1, 0) for path in paths]):
        stranger.chat.send(page)
    await stranger.bob.see(TransferState.OFFERED, fid=b"F" * 16)


async def names(party: Party, fid: bytes, start: int = 0, limit: int = 100) -> list[str]:
    page = await party.transfers.offered_names(fid, start, limit)
    return [name.path + ("/" if name.is_folder else "") for name in page.names]


@pytest_twisted.ensureDeferred
async def test_what_is_not_sent_or_changes_is_told_on_both_sides_before_consent(parties, tmp_path: Path) -> None:
    """B2, B3."""
    alice, bob = await parties()
    offer = await offered(alice, bob, folder(tmp_path))
    there = bob.latest(offer.fid)
    assert there is not None
    assert offer.details == DETAILS
    assert there.details == OfferDetails(empty_folders=2, renamed=1, executables=1, links=2, specials=1)
    assert (offer.total_folders, there.total_folders) == (5, 5)
    assert await names(alice, offer.fid) == [
        "photos/a.jpg",
        "photos/.hidden/run.sh",
        "photos/empty/inner/",
        "photos/void/",
    ]
    page = await bob.transfers.offered_names(offer.fid, 1, 2)
    assert page.total == 4
    assert page.names == (
        OfferedName(SafeText("photos/hidden/run.sh"), SafeText("photos/.hidden/run.sh"), 2, False),
        OfferedName(SafeText("photos/empty/inner"), SafeText(""), 0, True),
    )
    assert not bob.downloads.exists()
    await bob.transfers.accept(offer.fid)
    ends = await both_end(alice, bob, offer.fid)
    assert [end.state for end in ends] == [TransferState.DONE] * 2
    assert ends[1].details == there.details
    assert landed(bob) == {"photos/a.jpg": b"a", "photos/hidden/run.sh": b"#!"}
    assert folders(bob) == {"photos", "photos/hidden", "photos/empty", "photos/empty/inner", "photos/void"}
    assert not os.access(bob.downloads / "dave" / "photos" / "hidden" / "run.sh", os.X_OK)


@pytest.mark.parametrize("old", ["sender", "receiver"])
@pytest_twisted.ensureDeferred
async def test_a_program_without_the_feature_gets_and_makes_an_offer_of_files(parties, tmp_path: Path, old) -> None:
    alice, bob = await parties()
    (alice if old == "sender" else bob).features = (messages.RESUME, messages.SKIP)
    offer = await offered(alice, bob, folder(tmp_path))
    await alice.until(lambda: alice.latest(offer.fid).details.unsent_folders == 2)  # type: ignore[union-attr]
    assert not any(isinstance(message, OfferRest) for message in bob.heard)
    there = bob.latest(offer.fid)
    assert there is not None
    assert there.details == OfferDetails(renamed=1)
    assert await names(bob, offer.fid) == ["photos/a.jpg", "photos/hidden/run.sh"]
    await bob.transfers.accept(offer.fid)
    assert [end.state for end in await both_end(alice, bob, offer.fid)] == [TransferState.DONE] * 2
    assert folders(bob) == {"photos", "photos/hidden"}
    await alice.restart()
    (again,) = alice.transfers.snapshot()
    assert again.details.unsent_folders == 2
    transfer = alice.transfers._table.known(offer.fid)
    transfer.is_rest_unknown = False  # as when it is said once more, to a newer program
    assert transfer.snapshot().details == DETAILS


@pytest_twisted.ensureDeferred
async def test_it_outlives_restarts_of_both_sides(parties, tmp_path: Path) -> None:
    alice, bob = await parties(uniform=quick)
    offer = await offered(alice, bob, folder(tmp_path))
    shown = bob.latest(offer.fid)
    assert shown is not None
    await bob.restart()
    await alice.restart()
    (there,) = bob.transfers.snapshot()
    assert (there.details, there.total_folders) == (shown.details, shown.total_folders)
    assert "photos/void/" in await names(bob, offer.fid)
    await bob.transfers.accept(offer.fid)
    alice.wake(bob.peer)
    assert [end.state for end in await both_end(alice, bob, offer.fid)] == [TransferState.DONE] * 2
    assert "photos/empty/inner" in folders(bob)


@pytest_twisted.ensureDeferred
async def test_an_offer_that_never_came_comes_with_its_rest_after_a_restart(parties, tmp_path: Path) -> None:
    alice, bob = await parties(uniform=quick)
    hear, bob.transfers.received = bob.transfers.received, lambda link, message: None
    offer = await alice.transfers.offer(bob.peer, [folder(tmp_path)])
    await bob.until(lambda: any(isinstance(message, OfferRest) for message in bob.heard))
    bob.transfers.received = hear
    await alice.restart()
    there = await bob.see(TransferState.OFFERED, fid=offer.fid)
    assert there.details.empty_folders == 2
    assert there.details.links == 2


@pytest_twisted.ensureDeferred
async def test_the_names_of_a_large_offer_are_not_loaded_whole(parties, stranger, tmp_path: Path, monkeypatch) -> None:
    """C12: a page is unpacked at a time, and looking holds nothing that the budgets do not know."""
    (bob,) = await parties(1)
    await stranger.greet(bob)
    await offer_many(stranger, [["d", f"{number:05d}"] for number in range(2_500)])
    (offer,) = bob.transfers.snapshot()
    unpacked: list[int] = []
    decompress = zlib.decompress

    def counted(page: bytes) -> bytes:
        unpacked.append(len(page))
        return bytes(decompress(page))

    monkeypatch.setattr("chatnet.core.transfer.offers.zlib.decompress", counted)
    assert await names(bob, offer.fid, 2_000, 2) == ["d/02000", "d/02001"]
    assert len(unpacked) == 1
    assert len(await names(bob, offer.fid, 0, 10**9)) == limits.OFFERED_NAMES_PAGE
    assert bob.transfers._table.known(offer.fid).files == ()


@pytest_twisted.ensureDeferred
async def test_the_next_name_that_changes_is_found_in_any_page(parties, stranger) -> None:
    (bob,) = await parties(1)
    await stranger.greet(bob)
    paths = [["d", f"{number:05d}"] for number in range(2_500)]
    paths[1_700:1_710] = [[".git", f"{number:05d}"] for number in range(10)]
    paths[2_400] = ["d", "a:b"]
    await offer_many(stranger, paths)
    (offer,) = bob.transfers.snapshot()
    assert offer.details.renamed == 2
    assert await bob.transfers.next_renamed(offer.fid, 0) == 1_700
    assert await bob.transfers.next_renamed(offer.fid, 1_701) == 2_400  # the folder counts with its first file
    assert await bob.transfers.next_renamed(offer.fid, 2_401) is None


@pytest_twisted.ensureDeferred
async def test_names_that_are_not_there_are_refused(parties, stranger) -> None:
    (bob,) = await parties(1)
    await stranger.greet(bob)
    await stranger.offer(OfferedFile(["a"], 1, 0))
    (offer,) = bob.transfers.snapshot()
    await bob.transfers.refuse(offer.fid)
    await bob.end(offer.fid)
    for fid, code in ((offer.fid, "ended"), (bytes(16), "unknown-transfer")):
        with pytest.raises(LocalError) as caught:
            await bob.transfers.offered_names(fid, 0, 10)
        assert caught.value.code == code


@pytest.mark.parametrize("pages", ["rest alone", "not empty"])
@pytest_twisted.ensureDeferred
async def test_an_offer_that_contradicts_itself_is_declined(parties, stranger: Stranger, pages: str) -> None:
    (bob,) = await parties(1)
    await stranger.greet(bob)
    fid = b"F" * 16
    if pages == "not empty":
        stranger.chat.send(messages.Offer(fid, [OfferedFile(["a", "f"], 1, 0)], True))
    stranger.chat.send(OfferRest(fid, [["a"]], messages.NotSent(0, 0, 0), 0, False))
    assert await stranger.heard(messages.Decline) == messages.Decline(fid, messages.BAD_FRAME)
    assert bob.transfers.snapshot() == ()
    assert bob.transfers._held._budgets.offers.held() == 0


def test_rows_say_what_changes() -> None:
    rows = [OfferedRow(("a", "b")), OfferedRow((".a", "b:c"), 3), OfferedRow((".a",), is_folder=True)]
    assert [(name.path, name.original) for name in shown_names(rows, outgoing=False)] == [
        ("a/b", ""),
        ("a/b_c", ".a/b:c"),
        ("a", ".a"),
    ]
    assert [name.path for name in shown_names(rows, outgoing=True)] == ["a/b", ".a/b:c", ".a"]
    assert first_renamed(rows, ()) == 1
    assert first_renamed([OfferedRow((".a", "b"))], (".a", "a")) is None
