"""Today's code opens what version 0.1.0 left on the disk: ``tests/fixtures/v0.1.0``, made by its programs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from chatnet.core.events import MessageKind, MessageState, TransferState
from chatnet.core.identity import chat_with
from chatnet.host.database import Database
from chatnet.net.identity import load_or_make_identity
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.schema import MIGRATIONS
from chatnet.registry import store as registry

OLD = Path(__file__).parent.parent / "fixtures" / "v0.1.0"
FILE_BYTES, SYNCED_BYTES = 999_991, 65_536


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy that may be changed, readable by us alone, which git does not keep."""
    place = Path(shutil.copytree(OLD, tmp_path / "old"))
    for path in (place, *place.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return place


@pytest_twisted.ensureDeferred
async def test_a_peers_history_waiting_message_draft_and_transfer_are_there(old: Path) -> None:
    me = load_or_make_identity(old / "carol")
    assert (old / "carol" / "identity.key").read_bytes() == (OLD / "carol" / "identity.key").read_bytes()
    database = Database(old / "carol" / "chatnet.db", MIGRATIONS, reactor)
    await database.open()
    try:
        store = PeerStore(database)
        pins = {pin.name: pin.peer for pin in await store.pins.all()}
        assert sorted(pins) == ["bob", "eve"]
        bob, eve = pins["bob"], pins["eve"]
        found = {row.name: row for row in await store.conversations.all()}
        assert {row.chat for row in found.values()} == {bob, eve}
        rows = []
        for friend in (bob, eve):
            page, more = await store.messages.history(chat_with(friend), None, 100)
            assert not more
            rows += [row for row in page if row.kind == MessageKind.TEXT]
        texts = [(row.chat, row.sender == me.peer_id, row.body, row.state) for row in rows]
        assert texts == [
            (bob, True, "hello bob", MessageState.DELIVERED),
            (bob, False, "hello carol \N{WAVING HAND SIGN}", MessageState.RECEIVED),
            (eve, True, "hello eve", MessageState.DELIVERED),
            (eve, True, "for later", MessageState.WAITING),
        ]
        assert await store.messages.waiting() == {eve: 1}
        assert {tab.chat: tab.draft for tab in await store.conversations.tabs()} == {bob: "half a tho", eve: ""}
        (transfer,) = await store.transfers.all()
        assert (transfer.peer, transfer.outgoing, transfer.state) == (bob, False, TransferState.PAUSED)
        (file,) = await store.transfers.files(bob, transfer.fid)
        assert (file.path, file.size, file.synced) == (("notes.txt",), FILE_BYTES, SYNCED_BYTES)
        assert (old / "downloads" / ".partial" / file.part).stat().st_size == SYNCED_BYTES
    finally:
        await database.close()


@pytest_twisted.ensureDeferred
async def test_a_registrys_names_and_list_are_there(old: Path) -> None:
    database = Database(old / "registry" / "chatnet.db", registry.MIGRATIONS, reactor)
    await database.open()
    try:
        store = registry.RegistryStore(database)
        claims = {claim.name: claim.peer for claim in await store.load()}
        assert sorted(claims) == ["bob", "carol", "eve"]
        assert claims["carol"] == load_or_make_identity(old / "carol").peer_id
        kept = await store.load_list()
        assert {row.peer for row in kept.rows} <= set(claims.values())
        assert kept.rows
    finally:
        await database.close()
