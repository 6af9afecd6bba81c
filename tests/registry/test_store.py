"""Claims: first come, for ever, on the disk before they are told.  The list: a little behind."""

from __future__ import annotations

import sqlite3

import pytest
import pytest_twisted

from chatnet.core.directory.changelog import EpochSpan
from chatnet.core.directory.directory import Binding, SavedChange, SavedDirectory
from chatnet.core.errors import Refused
from chatnet.core.limits import EPOCHS_KEPT
from chatnet.core.messages import ListEntry
from chatnet.core.records import SignedRecord, endpoint
from chatnet.host.database import Database
from chatnet.registry.store import MIGRATIONS, RegistryStore

CAROL, DAVE = b"c" * 32, b"d" * 32


@pytest_twisted.async_yield_fixture
async def store(tmp_path):
    from twisted.internet import reactor

    database = Database(tmp_path / "registry.db", MIGRATIONS, reactor)
    await database.open()
    yield RegistryStore(database)
    await database.close()


def rows(path) -> list[tuple]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT name, peer, first_ms, last_ms FROM name ORDER BY name").fetchall()
    finally:
        connection.close()


@pytest_twisted.ensureDeferred
async def test_a_claim_is_on_the_disk_when_it_is_told(store, tmp_path):
    assert await store.claim("carol", CAROL, 100) == Binding("carol", CAROL)
    assert rows(tmp_path / "registry.db") == [("carol", CAROL, 100, 100)]
    assert await store.load() == [Binding("carol", CAROL)]


@pytest_twisted.ensureDeferred
async def test_the_network_of_a_claim_is_remembered(store):
    assert await store.claim("carol", CAROL, 100, "192.0.2.0/24") == Binding("carol", CAROL, "192.0.2.0/24")
    assert await store.claim("carol", CAROL, 200, "198.51.100.0/24") == Binding("carol", CAROL, "192.0.2.0/24")
    assert await store.load() == [Binding("carol", CAROL, "192.0.2.0/24")]


@pytest_twisted.ensureDeferred
async def test_names_of_a_database_before_networks_have_none(tmp_path):
    from twisted.internet import reactor

    for migrations in (MIGRATIONS[:2], MIGRATIONS):
        database = Database(tmp_path / "registry.db", migrations, reactor)
        await database.open()
        if migrations is not MIGRATIONS:
            await database.run(
                lambda connection: connection.execute("INSERT INTO name VALUES ('carol', ?, 1, 2)", (CAROL,))
            )
        else:
            assert await RegistryStore(database).load() == [Binding("carol", CAROL)]
        await database.close()
    assert rows(tmp_path / "registry.db") == [("carol", CAROL, 1, 2)]


@pytest_twisted.ensureDeferred
async def test_the_first_key_keeps_its_name(store):
    # All at once: the first one is not committed yet when the others are asked for.
    first = store.claim("carol", CAROL, 100)
    again = store.claim("carol", CAROL, 200)
    taken = store.claim("carol", DAVE, 300)
    bound = store.claim("karol", CAROL, 400)
    assert await first == await again == Binding("carol", CAROL)
    with pytest.raises(Refused) as refusal:
        await taken
    assert refusal.value.code == "name-taken"
    with pytest.raises(Refused) as refusal:
        await bound
    assert refusal.value.code == "key-bound"
    assert await store.load() == [Binding("carol", CAROL)]


@pytest_twisted.ensureDeferred
async def test_times_are_written_behind_a_claim_or_by_flush(store, tmp_path):
    await store.claim("carol", CAROL, 100)
    store.seen(CAROL, 150)
    store.seen(CAROL, 160)
    store.seen(b"?" * 32, 170)  # unknown here: nothing to write
    await store.claim("dave", DAVE, 200)
    assert (await store.load())[0] == Binding("carol", CAROL)  # behind the write in the queue
    assert rows(tmp_path / "registry.db") == [("carol", CAROL, 100, 160), ("dave", DAVE, 200, 200)]
    store.seen(DAVE, 250)
    await store.flush()
    assert rows(tmp_path / "registry.db")[1] == ("dave", DAVE, 200, 250)


@pytest_twisted.ensureDeferred
async def test_settings_share_the_file(store):
    assert await store.get("cursor") is None
    await store.put("cursor", "17")
    assert await store.get("cursor") == "17"


# --- who was here -------------------------------------------------------------------------------

RECORD = SignedRecord(b"k" * 32, b"payload", b"s" * 64)
EPOCH = b"e" * 16


def row(revision: int, peer: bytes, present: bool = True) -> SavedChange:
    entry = ListEntry(peer, "somebody", [endpoint("10.0.0.2", 4000), endpoint("fd00::1", 4000)], 7, 1)
    return SavedChange(revision, peer, entry if present else None, RECORD, 7)


@pytest_twisted.ensureDeferred
async def test_the_list_comes_back_as_it_was_kept(store):
    assert await store.load_list() == SavedDirectory([], 0, [])
    await store.keep_list(SavedDirectory([EpochSpan(EPOCH, 2)], 0, [row(1, CAROL), row(2, DAVE)]))
    await store.keep_list(SavedDirectory([EpochSpan(EPOCH, 3)], 0, [row(3, CAROL, present=False)]))
    assert await store.load_list() == SavedDirectory(
        [EpochSpan(EPOCH, 3)], 0, [row(2, DAVE), row(3, CAROL, present=False)]
    )


@pytest_twisted.ensureDeferred
async def test_forgotten_departures_are_kept_no_longer(store):
    left = [row(1, CAROL, present=False), row(2, DAVE, present=False)]
    await store.keep_list(SavedDirectory([EpochSpan(EPOCH, 2)], 0, left))
    await store.keep_list(SavedDirectory([EpochSpan(EPOCH, 3)], 1, [row(3, b"n" * 32)]))
    assert await store.load_list() == SavedDirectory([EpochSpan(EPOCH, 3)], 1, [left[1], row(3, b"n" * 32)])


@pytest_twisted.ensureDeferred
async def test_a_whole_list_takes_the_place_of_what_was_kept(store):
    await store.keep_list(SavedDirectory([EpochSpan(EPOCH, 2)], 0, [row(1, CAROL), row(2, DAVE)]))
    await store.keep_list(SavedDirectory([EpochSpan(EPOCH, 9)], 8, [row(2, DAVE)], whole=True))
    assert (await store.load_list()).rows == [row(2, DAVE)]


@pytest_twisted.ensureDeferred
async def test_the_starts_before_are_remembered_but_not_for_ever(store):
    spans = [EpochSpan(number.to_bytes(16, "big"), number) for number in range(EPOCHS_KEPT + 5)]
    for span in spans:
        await store.keep_list(SavedDirectory([span], 0, []))
    assert (await store.load_list()).spans == spans[5:]
