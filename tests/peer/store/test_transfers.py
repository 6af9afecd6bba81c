"""Transfers and their files, and what is forgotten of them."""

from __future__ import annotations

import sqlite3

import pytest
import pytest_twisted

from chatnet.core.events import TransferState
from chatnet.peer.store.transfers import FileRow, TransferRow
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
