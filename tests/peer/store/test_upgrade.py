"""The database of version 0.1.0, opened by the present program."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest
import pytest_twisted

from chatnet.core.errors import StoreFailed
from chatnet.core.events import MessageKind, MessageState, TransferState
from chatnet.core.identity import chat_with
from chatnet.host.database import Database
from chatnet.peer.store.conversations import Conversation, OpenTabRow
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.schema import MIGRATIONS
from chatnet.peer.store.search_query import understand_query

FIRST_RELEASE = 6  # the schema's version in 0.1.0
FIRST_RELEASE_DIGEST = "729ce2444f31713deca491c1b6b69e2f868b6f94949f81ff61467b7259a3689a"
ME, BOB, EVE = b"m" * 32, b"b" * 32, b"e" * 32
TALK, OTHER = b"T" * 32, b"O" * 32
ODD_PATH = b"/d\xff/a\xfe.txt"  # not UTF-8


def id16(n: int) -> bytes:
    return n.to_bytes(16, "big")


def fill(connection: sqlite3.Connection) -> None:
    """What a peer of version 0.1.0 has stored: two conversations, a message that waits, a file that came."""
    connection.executemany(
        "INSERT INTO history (conversation, peer, sender, id, kind, sent_ms, stored_ms, body, state, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (TALK, BOB, ME, id16(1), "text", 10, 11, "hello bob", "delivered", ""),
            (TALK, BOB, BOB, id16(2), "text", 20, 21, "hello yourself", "received", ""),
            (OTHER, EVE, ME, id16(3), "text", 30, 31, "too late", "expired", "not taken for 30 days"),
            (TALK, BOB, BOB, id16(4), "file", 40, 41, "a.txt", "received", "/dl/bob/a.txt"),
            (TALK, BOB, ME, id16(5), "text", 50, 51, "are you there?", "waiting", ""),
        ],
    )
    connection.execute("INSERT INTO outbox (n, peer, id, since_ms) VALUES (5, ?, ?, 51)", (BOB, id16(5)))
    connection.executemany(
        "INSERT INTO conversation (conversation, peer, name, read_n, unread, last_ms) VALUES (?, ?, ?, ?, ?, ?)",
        [(TALK, BOB, "bob", 1, 2, 51), (OTHER, EVE, "eve", 0, 0, 31)],
    )
    connection.executemany(
        "INSERT INTO tab (peer, place, draft) VALUES (?, ?, ?)", [(EVE, 1, ""), (BOB, 0, "half a tho")]
    )
    connection.execute(
        "INSERT INTO transfer (peer, fid, outgoing, title, total_files, total_bytes, state, code, reason, saved_to,"
        " offered_ms, ended_ms, directory, person) VALUES (?, ?, 0, 'a.txt', 1, 9, 'done', '', '', ?, 40, 45, ?, '')",
        (BOB, id16(4), ODD_PATH, b"/d\xff"),
    )


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    return tmp_path / "chatnet.db"


def contents(file: Path) -> bytes:
    return file.read_bytes()


async def opened(path: Path, migrations: tuple[str, ...] = MIGRATIONS) -> Database:
    from twisted.internet import reactor

    database = Database(path, migrations, reactor)
    await database.open()
    return database


@pytest_twisted.async_yield_fixture
async def upgraded(old_file: Path):
    old = await opened(old_file, MIGRATIONS[:FIRST_RELEASE])
    await old.run(fill)
    await old.close()
    database = await opened(old_file)
    yield PeerStore(database)
    await database.close()


def test_the_migrations_of_the_first_release_do_not_change() -> None:
    """A script that was released has run on databases that exist."""
    assert hashlib.sha256("\n".join(MIGRATIONS[:FIRST_RELEASE]).encode()).hexdigest() == FIRST_RELEASE_DIGEST


@pytest_twisted.ensureDeferred
async def test_messages_are_read_back_after_the_upgrade(upgraded: PeerStore) -> None:
    rows, more = await upgraded.messages.history(BOB, None, 10)
    assert not more
    assert [(row.n, row.chat, row.sender, row.id, row.kind, row.body, row.state) for row in rows] == [
        (1, BOB, ME, id16(1), MessageKind.TEXT, "hello bob", MessageState.DELIVERED),
        (2, BOB, BOB, id16(2), MessageKind.TEXT, "hello yourself", MessageState.RECEIVED),
        (4, BOB, BOB, id16(4), MessageKind.FILE, "a.txt", MessageState.RECEIVED),
        (5, BOB, ME, id16(5), MessageKind.TEXT, "are you there?", MessageState.WAITING),
    ]
    assert [row.n for row in await upgraded.messages.outbox(BOB, 0, 10)] == [5]
    assert [row.n for row in (await upgraded.search.find(understand_query("hello"))).rows] == [2, 1]
    again = await upgraded.messages.resend(ME, chat_with(EVE), 3, MessageState.WAITING, 100)
    assert again is not None
    assert (again.chat, again.id, again.state) == (EVE, id16(3), MessageState.WAITING)


@pytest_twisted.ensureDeferred
async def test_chats_tabs_and_read_marks_are_read_back_after_the_upgrade(upgraded: PeerStore) -> None:
    bob, eve = chat_with(BOB), chat_with(EVE)
    assert await upgraded.conversations.all() == [
        Conversation(bob, "bob", 1, 2, 51, accepted=True),
        Conversation(eve, "eve", 0, 0, 31),
    ]
    assert await upgraded.conversations.written_to(ME) == {bob, eve}
    assert await upgraded.conversations.tabs() == [OpenTabRow(bob, "half a tho", True), OpenTabRow(eve, "", True)]
    assert await upgraded.conversations.mark_read(ME, bob, 2) == 1
    await upgraded.conversations.set_tabs([eve])
    await upgraded.conversations.set_draft(bob, "")
    assert await upgraded.conversations.tabs() == [OpenTabRow(eve, "", True)]


@pytest_twisted.ensureDeferred
async def test_paths_are_read_back_byte_for_byte_after_the_upgrade(upgraded: PeerStore) -> None:
    (row,) = await upgraded.transfers.all()
    assert (row.peer, row.fid, row.state) == (BOB, id16(4), TransferState.DONE)
    assert (row.saved_to, row.directory) == (ODD_PATH, b"/d\xff")


@pytest_twisted.ensureDeferred
async def test_the_first_release_refuses_an_upgraded_file(old_file: Path) -> None:
    database = await opened(old_file)
    await database.close()
    before = contents(old_file)
    with pytest.raises(StoreFailed) as refused:
        await opened(old_file, MIGRATIONS[:FIRST_RELEASE])
    assert refused.value.code == "newer"
    assert contents(old_file) == before
