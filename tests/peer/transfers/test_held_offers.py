"""What unanswered offers hold: bounded by sums, released when they end, not loaded at a start."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from chatnet.core import messages
from chatnet.core.budgets import Budgets, Level, PeerBudgets, Shares
from chatnet.core.events import FileRule, RuleKind, TransferState
from chatnet.core.limits import OFFER_OVERHEAD, PeerLimits
from chatnet.core.messages import Accept, Cancel, Decline, Offer, OfferedFile, OfferRest, Resume
from chatnet.core.transfer.offers import ALL_SENT, Rest, offer_pages
from tests.peer.transfers.parties import Party
from tests.peer.transfers.test_transfers import Stranger, landed, offered, parties, stranger, write

__all__ = ["parties", "stranger"]  # the fixtures

ROOMY = PeerBudgets()
FID = b"F" * 16


def fid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def files(count: int, folder: str = "p") -> list[OfferedFile]:
    """Of names that cannot be packed."""
    return [OfferedFile([folder, token_hex(100)], 0, 0) for _ in range(count)]


def budgets_of(**shares: int) -> Budgets:
    return Budgets(replace(ROOMY, offers=ROOMY.offers._replace(**shares)))


def held(budgets: Budgets) -> tuple[int, int]:
    """Bytes, and files and folders."""
    return budgets.offers.held(), budgets.offered_files.held()


async def pages_of(bob: Party) -> int:
    """Rows of the store that hold offered files, packed or not."""

    def job(connection: Any) -> int:
        (pages,) = connection.execute("SELECT count(*) FROM offer_page").fetchone()
        (rows,) = connection.execute("SELECT count(*) FROM transfer_file").fetchone()
        return int(pages + rows)

    return await bob.database.read(job)


async def deleted(bob: Party, fid: bytes) -> None:
    """What the refusal of a request does to the rows of its offers."""

    def job(connection: Any) -> None:
        connection.execute("DELETE FROM transfer WHERE fid = ?", (fid,))

    await bob.database.run(job)


async def say(stranger: Stranger, number: int, offer: list[OfferedFile]) -> None:
    for page in offer_pages(fid(number), offer):
        stranger.chat.send(page)


@pytest_twisted.ensureDeferred
async def test_an_offer_is_charged_page_by_page_and_decoded_when_it_is_accepted(parties, tmp_path: Path) -> None:
    budgets = budgets_of()
    alice, bob = await parties(budgets=budgets)
    sent = {f"p/{n:04d}": b"hello" for n in range(1_500)}
    for name, data in sent.items():
        write(tmp_path, name, data)
    offer = await offered(alice, bob, os.fsencode(tmp_path / "p"))
    transfer = bob.transfers._table.known(offer.fid)
    assert transfer.files == ()
    size, entries = held(budgets)
    assert entries == 1_501
    assert OFFER_OVERHEAD + 1_500 * 8 < size < OFFER_OVERHEAD + 1_500 * 30
    assert budgets.offers.held(Level.KEY, alice.peer) == size
    assert (transfer.snapshot().total_folders, alice.latest(offer.fid).total_folders) == (1, 1)
    await bob.transfers.accept(offer.fid)
    assert held(budgets) == (0, 0)
    assert (await bob.end(offer.fid)).state is TransferState.DONE
    assert landed(bob) == sent


@pytest.mark.parametrize("how", ["refused", "cancelled", "taken back"])
@pytest_twisted.ensureDeferred
async def test_what_ends_unaccepted_leaves_nothing(parties, stranger, how: str) -> None:
    budgets = budgets_of()
    (bob,) = await parties(1, budgets=budgets)
    await stranger.greet(bob)
    await stranger.offer(*files(50))
    assert await pages_of(bob) == 1
    if how == "refused":
        await bob.transfers.refuse(FID)
    elif how == "cancelled":
        await bob.transfers.cancel(FID)
    else:
        stranger.chat.send(Cancel(FID, messages.USER))
    await bob.end(FID)
    await bob.store.transfers.find(stranger.peer, FID)  # behind whatever was to be written
    assert held(budgets) == (0, 0)
    assert await pages_of(bob) == 0


@pytest.mark.parametrize(
    ("shares", "code"),
    [
        ({"key": 100_000}, messages.TOO_MANY),
        ({"all": 100_000}, messages.STORE),
        ({"strangers": 100_000}, messages.STORE),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_does_not_fit_is_declined_when_its_page_comes(parties, stranger, shares: Any, code: str) -> None:
    budgets = budgets_of(**shares)
    (bob,) = await parties(1, budgets=budgets)
    bob.strangers.add(stranger.peer)
    await stranger.greet(bob)
    await say(stranger, 1, files(700))
    await bob.see(TransferState.OFFERED, fid=fid(1))
    first = held(budgets)
    assert 70_000 < first[0] < 100_000
    await say(stranger, 2, files(700))
    await stranger.until_heard(Decline(fid(2), code))
    assert held(budgets) == first
    await bob.transfers.refuse(fid(1))
    await say(stranger, 3, files(700))
    await bob.see(TransferState.OFFERED, fid=fid(3))


@pytest_twisted.ensureDeferred
async def test_what_follows_a_declined_page_is_passed_over_and_the_next_offer_is_not(parties, stranger) -> None:
    (bob,) = await parties(1, PeerLimits(offers_pending=1))
    await stranger.greet(bob)
    await say(stranger, 1, files(1))
    await bob.see(TransferState.OFFERED, fid=fid(1))
    stranger.chat.send(Offer(fid(2), files(1), True))
    stranger.chat.send(Offer(fid(2), files(1), True))
    stranger.chat.send(OfferRest(fid(2), [], ALL_SENT, 1, False))
    stranger.chat.send(Resume(fid(2)))
    await stranger.until_heard(Cancel(fid(2), messages.LOST))
    assert stranger.user.messages.count(Decline(fid(2), messages.TOO_MANY)) == 1
    await bob.transfers.refuse(fid(1))
    stranger.chat.send(Offer(fid(3), files(1), True))
    stranger.chat.send(OfferRest(fid(3), [], ALL_SENT, 1, False))
    await bob.see(TransferState.OFFERED, fid=fid(3))


@pytest_twisted.ensureDeferred
async def test_the_smallest_offer_is_charged_what_its_objects_take(parties, stranger) -> None:
    budgets = budgets_of(all=2 * OFFER_OVERHEAD)
    (bob,) = await parties(1, budgets=budgets)
    await stranger.greet(bob)
    await stranger.offer(OfferedFile(["a"], 0, 0))
    await say(stranger, 2, [OfferedFile(["a"], 0, 0)])
    await stranger.until_heard(Decline(fid(2), messages.STORE))


@pytest_twisted.ensureDeferred
async def test_strangers_offer_fewer_files_and_have_a_share_of_all(parties, stranger) -> None:
    limits = PeerLimits(offers_pending=10, offers_per_minute=100)
    budgets = Budgets(replace(ROOMY, offered_files=Shares(all=5_000, strangers=1_500, key=5_000, address=1_000)))
    (bob,) = await parties(1, limits, budgets=budgets)
    await stranger.greet(bob)
    await say(stranger, 1, files(1_000))  # and a folder; bob knows them
    await bob.see(TransferState.OFFERED, fid=fid(1))
    bob.strangers.add(stranger.peer)
    await say(stranger, 2, files(1_000))
    await stranger.until_heard(Decline(fid(2), messages.TOO_MANY))
    await say(stranger, 3, files(999))
    await bob.see(TransferState.OFFERED, fid=fid(3))
    await say(stranger, 4, files(999))
    await stranger.until_heard(Decline(fid(4), messages.STORE))
    assert budgets.offered_files.held(Level.STRANGERS) == 1_000


@pytest_twisted.ensureDeferred
async def test_an_offer_whose_next_page_never_comes_is_dropped(parties, stranger) -> None:
    budgets = budgets_of()
    (bob,) = await parties(1, PeerLimits(offer_page_seconds=0.1), budgets=budgets)
    await stranger.greet(bob)
    first, last = Offer(FID, files(100), True), Offer(FID, files(100), False)
    stranger.chat.send(first)
    await bob.until(lambda: first in bob.heard)
    assert held(budgets)[1] == 1 + len(first.files)
    await deferLater(bob.reactor, 0.15, lambda: None)
    assert held(budgets) == (0, 0)
    assert bob.transfers.snapshot() == ()
    stranger.chat.send(last)  # an honest sender that was slow: it hears that the offer is not here, and says it again
    await stranger.until_heard(Cancel(FID, messages.LOST))
    await stranger.offer(*files(10))
    assert bob.latest(FID).total_files == 10


@pytest.mark.parametrize("end", ["link", "other", "cancel"])
@pytest_twisted.ensureDeferred
async def test_an_offer_that_breaks_off_holds_nothing(parties, stranger, end: str) -> None:
    budgets = budgets_of()
    (bob,) = await parties(1, budgets=budgets)
    await stranger.greet(bob)
    half = Offer(fid(1), files(5), True)
    stranger.chat.send(half)
    await bob.until(lambda: half in bob.heard)
    assert held(budgets)[1] == 6
    if end == "link":
        stranger.chat.abort()
        await bob.until(lambda: bool(bob.ends))
    elif end == "other":
        await stranger.offer(OfferedFile(["a"], 1, 0))
        await bob.transfers.refuse(FID)
    else:
        stranger.chat.send(Cancel(fid(1), messages.USER))
        await bob.until(lambda: Cancel(fid(1), messages.USER) in bob.heard)
    assert held(budgets) == (0, 0)


@pytest_twisted.ensureDeferred
async def test_a_refuse_rule_is_looked_at_on_the_first_page(parties, stranger) -> None:
    budgets = budgets_of()
    (bob,) = await parties(1, budgets=budgets)
    await bob.transfers.set_rule(stranger.peer, FileRule(RuleKind.REFUSE))
    await stranger.greet(bob)
    stranger.chat.send(Offer(FID, files(5), True))
    await stranger.until_heard(Decline(FID, messages.DECLINED))
    stranger.chat.send(Offer(FID, files(5), False))
    stranger.chat.send(Offer(fid(2), files(5), False))
    await stranger.until_heard(Decline(fid(2), messages.DECLINED))
    assert held(budgets) == (0, 0)
    assert bob.transfers.snapshot() == ()
    assert await pages_of(bob) == 0


@pytest_twisted.ensureDeferred
async def test_two_files_with_one_path_are_declined(parties, stranger) -> None:
    """F8: without a strike, since programs of version 0.1.0 say so when somebody sends two files of one name."""
    budgets = budgets_of()
    (bob,) = await parties(1, budgets=budgets)
    await stranger.greet(bob)
    for number in range(5):
        stranger.chat.send(Offer(fid(number), [OfferedFile(["a"], 1, 0), OfferedFile(["a"], 2, 0)], False))
        await stranger.until_heard(Decline(fid(number), messages.BAD_FRAME))
    await stranger.offer(OfferedFile(["a"], 1, 0))
    assert [transfer.total_files for transfer in bob.transfers.snapshot()] == [1]


@pytest_twisted.ensureDeferred
async def test_a_start_loads_no_files_of_an_open_offer(parties, stranger) -> None:
    (bob,) = await parties(1, budgets=budgets_of())
    bob.strangers.add(stranger.peer)
    await stranger.greet(bob)
    offer = [*(OfferedFile(["p", "q", f"{n}.exe"], 3, 0) for n in range(7)), *files(900, "p")]
    await say(stranger, 7, offer)
    await bob.see(TransferState.OFFERED, fid=fid(7))
    before, size = bob.latest(fid(7)), bob.options["budgets"].offers.held()
    assert "program" in before.warning
    again = bob.options["budgets"] = budgets_of()
    await bob.restart()
    (transfer,) = bob.transfers.snapshot()
    assert transfer == before
    assert (transfer.total_folders, len(transfer.names)) == (2, 5)
    assert bob.transfers._table.known(fid(7)).files == ()
    assert 0.8 * size < again.offers.held(Level.STRANGERS) <= size
    assert again.offered_files.held(Level.KEY, stranger.peer) == 909
    await bob.transfers.refuse(fid(7))
    assert held(again) == (0, 0)
    assert await pages_of(bob) == 0


@pytest_twisted.ensureDeferred
async def test_an_offer_that_an_older_version_stored_is_summed_up_once(parties, tmp_path: Path) -> None:
    alice, bob = await parties(budgets=budgets_of())
    write(tmp_path, "p/run.exe", b"hello")
    write(tmp_path, "p/q/a", b"hello")
    offer = await offered(alice, bob, os.fsencode(tmp_path / "p"))
    before = bob.latest(offer.fid)
    await bob.store.transfers.unpack(alice.peer, offer.fid)  # as rows, like versions before

    def forget(connection: Any) -> None:
        connection.execute("UPDATE transfer SET names = x'', warning = '', folders = 0")

    await bob.database.run(forget)
    bob.options["budgets"] = budgets_of()
    await bob.restart()
    (after,) = bob.transfers.snapshot()
    assert after == before
    assert held(bob.options["budgets"])[1] == 4
    assert held(bob.options["budgets"])[0] > 0
    alice.others, bob.others = {bob.peer: bob}, {alice.peer: alice}
    await bob.transfers.accept(offer.fid)
    assert (await bob.end(offer.fid)).state is TransferState.DONE
    assert landed(bob) == {"p/run.exe": b"hello", "p/q/a": b"hello"}


@pytest_twisted.ensureDeferred
async def test_an_automatic_rule_counts_what_the_disk_gives(parties, tmp_path: Path) -> None:
    """F3: "1,500 files, 0 B" were taken by any rule."""
    alice, bob = await parties()
    for number in range(30):
        write(tmp_path, f"p/{number}/a", b"")
    await bob.transfers.set_rule(alice.peer, FileRule(RuleKind.AUTO, 60 * 4_096))
    offer = await offered(alice, bob, os.fsencode(tmp_path / "p"))
    assert bob.latest(offer.fid).state is TransferState.OFFERED
    await bob.transfers.set_rule(alice.peer, FileRule(RuleKind.AUTO, 61 * 4_096))
    two = await alice.transfers.offer(bob.peer, [os.fsencode(tmp_path / "p")])
    assert (await alice.end(two.fid)).state is TransferState.DONE


@pytest_twisted.ensureDeferred
async def test_a_whole_offer_for_which_there_is_no_room_holds_nothing(parties, stranger) -> None:
    budgets = budgets_of()
    (bob,) = await parties(1, budgets=budgets)
    bob.unadmitted.add(stranger.peer)
    await stranger.greet(bob)
    await say(stranger, 1, files(700))
    await stranger.until_heard(Decline(fid(1), messages.TOO_MANY))
    assert held(budgets) == (0, 0)


@pytest_twisted.ensureDeferred
async def test_what_somebody_offered_as_a_stranger_makes_room_for_strangers_once_they_are_known(
    parties, stranger
) -> None:
    budgets = budgets_of()
    (bob,) = await parties(1, budgets=budgets)
    bob.strangers.add(stranger.peer)
    await stranger.greet(bob)
    await stranger.offer(*files(50))
    before = held(budgets)
    assert budgets.offered_files.held(Level.STRANGERS) == before[1]
    bob.transfers.sender_accepted(stranger.peer)
    assert held(budgets) == before
    assert budgets.offers.held(Level.STRANGERS) == budgets.offered_files.held(Level.STRANGERS) == 0


@pytest_twisted.ensureDeferred
async def test_an_offer_that_was_deleted_is_declined_when_its_sender_asks_or_repeats_it(parties, stranger) -> None:
    """LOST would ask the sender to repeat it, again and again."""
    (bob,) = await parties(1)
    await stranger.greet(bob)
    await stranger.offer(OfferedFile(["a"], 1, 0))
    await deleted(bob, FID)
    bob.transfers.forget_offers(stranger.peer)
    stranger.chat.send(Resume(FID))
    await stranger.until_heard(Decline(FID, messages.DECLINED))
    stranger.user.messages.clear()
    stranger.chat.send(Offer(FID, [OfferedFile(["a"], 1, 0)], False))
    await stranger.until_heard(Decline(FID, messages.DECLINED))
    assert Cancel(FID, messages.LOST) not in stranger.user.messages


@pytest_twisted.ensureDeferred
async def test_who_is_taken_by_a_rule_is_no_stranger_any_more(parties, stranger) -> None:
    (bob,) = await parties(1)
    bob.strangers.add(stranger.peer)
    await bob.transfers.set_rule(stranger.peer, FileRule(RuleKind.AUTO))
    await stranger.greet(bob)
    await say(stranger, 1, [OfferedFile(["a"], 1, 0)])
    await stranger.heard(Accept)
    assert stranger.peer not in bob.strangers


@pytest_twisted.ensureDeferred
async def test_empty_folders_are_charged_like_files(parties, stranger) -> None:
    """B2: what stands behind the files is held, limited, kept over a start and given back with them."""
    budgets = budgets_of()
    (bob,) = await parties(1, budgets=budgets)
    bob.strangers.add(stranger.peer)
    await stranger.greet(bob)
    many = [[token_hex(100)] for _ in range(500)]
    for page in offer_pages(fid(1), files(600), Rest(many)):
        stranger.chat.send(page)
    await stranger.until_heard(Decline(fid(1), messages.TOO_MANY))
    assert held(budgets) == (0, 0)
    for page in offer_pages(fid(2), files(300), Rest(many)):
        stranger.chat.send(page)
    await bob.see(TransferState.OFFERED, fid=fid(2))
    size, entries = held(budgets)
    assert entries == 300 + 1 + 500
    assert size > OFFER_OVERHEAD + 800 * 100
    again = bob.options["budgets"] = budgets_of()
    await bob.restart()
    assert again.offered_files.held() == entries
    assert 0.9 * size < again.offers.held() <= size
    await bob.transfers.refuse(fid(2))
    await bob.end(fid(2))
    assert held(again) == (0, 0)
