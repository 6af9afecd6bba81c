"""Transfers and their files, and what is forgotten of them."""

from __future__ import annotations

import sqlite3

import pytest
import pytest_twisted

from chatnet.core.events import OfferDetails, TransferState
from chatnet.core.limits import OFFER_OVERHEAD, OFFER_PAGE_OVERHEAD
from chatnet.core.messages import OfferedFile
from chatnet.core.transfer.offers import packed, packed_pages
from chatnet.peer.store.transfers import FileRow, OfferedRow, TransferRow
from tests.peer.store.rows import BOB, EVE, again, id16

OFFER = TransferRow(BOB, id16(1), False, "photos/ (2)", 2, 30, TransferState.OFFERED, "", "", b"", 100, None)

FILES = [
    FileRow(0, ("photos", "a.jpg"), 10, 1, part="0a.part"),
    FileRow(1, ("photos", "b\u202egpj.exe"), 20, 2, source=b"/home/m/\xff.jpg"),  # a path that is no text
]


@pytest_twisted.ensureDeferred
async def test_a_transfer_and_its_files_survive(store, database):
    await store.transfers.add(OFFER, FILES)
    with pytest.raises(sqlite3.IntegrityError):
        await store.transfers.add(OFFER._replace(title="again"), [])
    changed = await store.transfers.update(BOB, id16(1), state=TransferState.RUNNING, saved_to=b"/d/\xff")
    assert changed == OFFER._replace(state=TransferState.RUNNING, saved_to=b"/d/\xff")
    await store.transfers.file_synced(BOB, id16(1), 1, "0b.part", 15)
    await store.transfers.files_done(BOB, id16(1), [(0, b"a (2).jpg")])
    store = await again(database)
    assert await store.transfers.all() == [changed]
    assert await store.transfers.files(BOB, id16(1)) == [
        FILES[0]._replace(part="", synced=10, final=b"a (2).jpg", done=True),
        FILES[1]._replace(part="0b.part", synced=15),
    ]
    assert await store.transfers.update(EVE, id16(1), state=TransferState.DONE) is None
    with pytest.raises(TypeError):
        store.transfers.update(BOB, id16(1), peer=EVE)


@pytest_twisted.ensureDeferred
async def test_ended_transfers_are_forgotten_but_their_ids_stay_known(store):
    await store.transfers.add(OFFER, FILES)
    await store.transfers.add(OFFER._replace(fid=id16(2), offered_ms=50), FILES)
    await store.transfers.add(OFFER._replace(peer=EVE), [])  # the same id from somebody else is another one
    assert [(row.peer, row.fid) for row in await store.transfers.all()] == [
        (BOB, id16(2)),
        (BOB, id16(1)),
        (EVE, id16(1)),
    ]
    await store.transfers.update(BOB, id16(1), state=TransferState.FAILED, code="lost", reason="gone", ended_ms=200)
    await store.transfers.forget_ended()
    assert [(row.peer, row.fid) for row in await store.transfers.all()] == [(BOB, id16(2)), (EVE, id16(1))]
    assert await store.transfers.files(BOB, id16(1)) == []
    assert await store.transfers.files(BOB, id16(2)) == FILES
    with pytest.raises(sqlite3.IntegrityError):
        await store.transfers.add(OFFER, FILES)


@pytest_twisted.ensureDeferred
async def test_what_came_before_is_found_by_path_size_and_time(store):
    """And only as much as the offer is held in memory: 10,000 files a round had added 8 MB each."""
    old = [FileRow(0, ("p", "a"), 10, 1), FileRow(1, ("p", "b"), 20, 2), FileRow(2, ("c",), 30, 3)]
    for number in (1, 2, 3):
        await store.transfers.add(OFFER._replace(fid=id16(number)), old)
        await store.transfers.files_done(BOB, id16(number), [(0, b"/a%d" % number), (2, b"/c%d" % number)])
    await store.transfers.add(OFFER._replace(fid=id16(4), outgoing=True), old)
    await store.transfers.files_done(BOB, id16(4), [(0, b"/sent")])
    await store.transfers.add(OFFER._replace(peer=EVE), old)
    await store.transfers.files_done(EVE, id16(1), [(0, b"/eve")])
    new = [FileRow(0, ("c",), 30, 3), FileRow(1, ("p", "b"), 20, 2), FileRow(2, ("p", "a"), 10, 1)]
    await store.transfers.add(OFFER._replace(fid=id16(5)), new)
    assert await store.transfers.received_like(BOB, id16(5)) == {2: b"/a3"}  # the newest; not done, and no folder

    def forgotten(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM transfer WHERE fid = ?", (id16(6),))

    for changed in (new[2]._replace(size=11), new[2]._replace(mtime_ms=2), new[2]._replace(path=("p", "A"))):
        await store.transfers.add(OFFER._replace(fid=id16(6)), [changed])
        assert await store.transfers.received_like(BOB, id16(6)) == {}
        await store.transfers.update(BOB, id16(6), state=TransferState.FAILED)
        await store.transfers._database.run(forgotten)
    assert await store.transfers.received_like(BOB, id16(9)) == {}


async def names(store, start: int, limit: int) -> tuple[list[str], int]:
    rows, total = await store.transfers.offered_rows(BOB, id16(1), start, limit)
    return ["/".join(row.path) + ("/" if row.is_folder else "") for row in rows], total


@pytest.mark.parametrize("accepted", [False, True])
@pytest_twisted.ensureDeferred
async def test_names_of_an_offer_are_read_a_page_at_a_time(store, accepted):
    """C12: from packed pages before it is accepted, from rows afterwards; the empty folders stand behind the files."""
    files = [OfferedFile(["p", f"{number:04d}"], number, 0) for number in range(2_500)]
    folders = [("e", f"{number:04d}") for number in range(1_500)]
    pages = [packed(files[:1_000]), packed(files[1_000:1_001]), packed(files[1_001:])]
    offer = OFFER._replace(total_files=2_500)
    await store.transfers.add(offer, [], pages, packed_pages(folders))
    if accepted:
        await store.transfers.unpack(BOB, id16(1))
    every = ["/".join(file.path) for file in files] + ["/".join(path) + "/" for path in folders]
    for start, limit in (
        (0, 3),
        (998, 5),
        (1_000, 1),
        (1_001, 200),
        (2_400, 200),
        (2_499, 2),
        (2_500, 10),
        (3_990, 20),
    ):
        assert await names(store, start, limit) == (every[start : start + limit], 4_000)
    assert await names(store, 4_000, 10) == ([], 4_000)
    assert await store.transfers.empty_folders(BOB, id16(1)) == folders
    rows, _ = await store.transfers.offered_rows(BOB, id16(1), 7, 1)
    assert rows == [OfferedRow(("p", "0007"), 7)]
    assert await store.transfers.offered_rows(EVE, id16(1), 0, 10) == ([], 0)


@pytest_twisted.ensureDeferred
async def test_the_numbers_beside_the_files_survive_and_the_folders_go_with_the_end(store, database):
    details = OfferDetails(2, 1, 3, 4, 5, 6, 7)
    await store.transfers.add(OFFER._replace(details=details), [], [packed([])], packed_pages([("a",), ("b",)]))
    store = await again(database)
    (row,) = await store.transfers.all()
    assert row.details == details
    held = await store.transfers.held()
    assert held[BOB, id16(1)] > OFFER_OVERHEAD + 2 * OFFER_PAGE_OVERHEAD
    await store.transfers.update(BOB, id16(1), details=OfferDetails(), state=TransferState.CANCELLED)
    assert (await store.transfers.find(BOB, id16(1))).details == OfferDetails()
    assert await store.transfers.empty_folders(BOB, id16(1)) == []
