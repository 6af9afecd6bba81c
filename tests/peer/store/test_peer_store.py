"""What no part of the store has for itself: our own number, and a disk that is full."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults

from chatnet.core.errors import StoreFailed
from chatnet.host.database import Database
from chatnet.peer.store.peer_store import PeerStore
from tests.peer.store.rows import BOB, again, say


@pytest_twisted.ensureDeferred
async def test_seq_rises_also_over_restarts(store, database):
    assert await gatherResults([store.next_seq() for _ in range(3)]) == [1, 2, 3]
    store = await again(database)
    assert await store.next_seq() == 4
    assert await store.next_seq(at_least=1000) == 1000
    assert await store.next_seq(at_least=3) == 1001
    assert await store.next_seq(at_least=3, step=50) == 1051


@pytest_twisted.ensureDeferred
async def test_a_full_disk_is_told_and_the_probe_sees_its_end(store: PeerStore, database: Database) -> None:
    await say(store, 1, "before it was full")
    failures: list[StoreFailed] = []
    database.on_failure = failures.append
    await database.read(lambda c: c.execute(f"PRAGMA max_page_count = {c.execute('PRAGMA page_count').fetchone()[0]}"))
    with pytest.raises(StoreFailed) as full:
        await say(store, 2, "x" * 16_000)
    assert full.value.code == "no-space"
    with pytest.raises(StoreFailed):
        await store.probe()
    assert [failure.code for failure in failures] == ["no-space", "no-space"]
    assert [row.body for row in (await store.messages.history(BOB, None, 9))[0]] == ["before it was full"]
    await database.read(lambda c: c.execute("PRAGMA max_page_count = 1000000"))
    await store.probe()
    await say(store, 2, "x" * 16_000)
    assert await store.settings.get("probe") is None
    assert len(failures) == 2
