"""A store in a database of its own."""

from __future__ import annotations

import pytest
import pytest_twisted

from chatnet.host.database import Database
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.schema import MIGRATIONS


@pytest_twisted.async_yield_fixture
async def database(tmp_path):
    from twisted.internet import reactor

    database = Database(tmp_path / "peer.db", MIGRATIONS, reactor)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def store(database):
    return PeerStore(database)
