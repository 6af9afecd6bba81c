"""Claims: first come, for ever, on the disk before they are told."""

from __future__ import annotations

import sqlite3

import pytest
import pytest_twisted

from chatnet.core.errors import Refused
from chatnet.net.database import Database
from chatnet.registry.store import MIGRATIONS, Claim, RegistryStore

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
    assert await store.claim("carol", CAROL, 100) == Claim("carol", CAROL, 100)
    assert rows(tmp_path / "registry.db") == [("carol", CAROL, 100, 100)]
    assert await store.load() == [Claim("carol", CAROL, 100)]


@pytest_twisted.ensureDeferred
async def test_the_first_key_keeps_its_name(store):
    # All at once: the first one is not committed yet when the others are asked for.
    first = store.claim("carol", CAROL, 100)
    again = store.claim("carol", CAROL, 200)
    taken = store.claim("carol", DAVE, 300)
    bound = store.claim("karol", CAROL, 400)
    assert await first == await again == Claim("carol", CAROL, 100)
    with pytest.raises(Refused) as refusal:
        await taken
    assert refusal.value.code == "name-taken"
    with pytest.raises(Refused) as refusal:
        await bound
    assert refusal.value.code == "key-bound"
    assert await store.load() == [Claim("carol", CAROL, 100)]


@pytest_twisted.ensureDeferred
async def test_times_are_written_behind_a_claim_or_by_flush(store, tmp_path):
    await store.claim("carol", CAROL, 100)
    store.seen(CAROL, 150)
    store.seen(CAROL, 160)
    store.seen(b"?" * 32, 170)  # unknown here: nothing to write
    await store.claim("dave", DAVE, 200)
    assert (await store.load())[0] == Claim("carol", CAROL, 100)  # behind the write in the queue
    assert rows(tmp_path / "registry.db") == [("carol", CAROL, 100, 160), ("dave", DAVE, 200, 200)]
    store.seen(DAVE, 250)
    await store.flush()
    assert rows(tmp_path / "registry.db")[1] == ("dave", DAVE, 200, 250)


@pytest_twisted.ensureDeferred
async def test_settings_share_the_file(store):
    assert await store.get("cursor") is None
    await store.put("cursor", "17")
    assert await store.get("cursor") == "17"
