"""What a search finds in the history, and how the index follows it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
import pytest_twisted

from chatnet.core import limits
from chatnet.core.events import MessageKind, MessageState
from chatnet.core.messages import Say
from chatnet.host.database import Database
from chatnet.peer.store.history_rows import NewMessage, StoredMessage
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.schema import MIGRATIONS
from chatnet.peer.store.search_query import understand_query

ME, BOB, EVE = b"m" * 32, b"b" * 32, b"e" * 32
TALK, OTHER = b"T" * 32, b"O" * 32
DAY_MS = 86_400_000
WAITING, EXPIRED, REFUSED = MessageState.WAITING, MessageState.EXPIRED, MessageState.REFUSED


async def say(store: PeerStore, n: int, body: str, at_ms: int = 1000, peer: bytes = BOB) -> StoredMessage:
    talk = TALK if peer == BOB else OTHER
    message = NewMessage(talk, peer, ME, n.to_bytes(16), MessageKind.TEXT, at_ms, at_ms, body, WAITING)
    return await store.messages.add_outgoing(message)


async def hear(store: PeerStore, n: int, body: str, at_ms: int = 1000, peer: bytes = BOB) -> None:
    talk = TALK if peer == BOB else OTHER
    await store.messages.add_incoming(peer, [Say(talk, n.to_bytes(16), at_ms, body)], at_ms)


async def found(store: PeerStore, typed: str, *where: object, **more: object) -> list[str]:
    page = await store.search.find(understand_query(typed), *where, **more)  # type: ignore[arg-type]
    return [row.body for row in page.rows]


@pytest_twisted.ensureDeferred
async def test_words_are_found_whole_or_begun_in_any_case_and_accent(store: PeerStore) -> None:
    await say(store, 1, "The Café is closed")
    await hear(store, 2, "cafeteria?")
    await hear(store, 3, "我们明天见面 👋", peer=EVE)
    assert await found(store, "cafe") == ["cafeteria?", "The Café is closed"]
    assert await found(store, "cafe ") == ["The Café is closed"]
    assert await found(store, "closed CAFÉ") == ["The Café is closed"]
    assert await found(store, '"café is" closed') == ["The Café is closed"]
    assert await found(store, '"is café"') == []
    assert await found(store, "明天") == ["我们明天见面 👋"]
    assert await found(store, "👋", BOB) == []
    assert await found(store, "👋", EVE) == ["我们明天见面 👋"]


@pytest_twisted.ensureDeferred
async def test_who_said_it_where_and_since_when(store: PeerStore) -> None:
    await hear(store, 1, "ship it", at_ms=1 * DAY_MS)
    await say(store, 2, "ship ahoy", at_ms=9 * DAY_MS)
    await hear(store, 3, "a ship", at_ms=10 * DAY_MS, peer=EVE)
    assert await found(store, "ship") == ["a ship", "ship ahoy", "ship it"]
    assert await found(store, "ship", BOB) == ["ship ahoy", "ship it"]
    assert await found(store, "ship", BOB, BOB.__eq__) == ["ship it"]
    assert await found(store, "ship", None, ME.__eq__) == ["ship ahoy"]
    assert await found(store, "ship", since_ms=9 * DAY_MS) == ["a ship", "ship ahoy"]
    assert await found(store, "ship", BOB, since_ms=10 * DAY_MS) == []


@pytest_twisted.ensureDeferred
async def test_a_clock_that_was_wrong_for_hours_hides_nothing(store: PeerStore) -> None:
    await hear(store, 1, "early word", at_ms=100 * DAY_MS)
    await hear(store, 2, "wrong word", at_ms=100 * DAY_MS - 3_600_000)
    assert await found(store, "word", since_ms=100 * DAY_MS) == ["early word"]


@pytest_twisted.ensureDeferred
async def test_pages_meet_without_gap_or_overlap(store: PeerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatnet.peer.store.search_index.SEARCH_ROWS", 7)
    for n in range(40):
        await hear(store, n, f"word {n} {'rare' if n % 10 == 0 else ''}", peer=BOB if n % 2 else EVE)
    query, rows, before, pages = understand_query("word rare"), [], None, 0
    while pages == 0 or before is not None:
        page = await store.search.find(query, None, EVE.__eq__, None, before, 2)
        rows += [row.body for row in page.rows]
        before, pages = page.before_n, pages + 1
    assert rows == ["word 30 rare", "word 20 rare", "word 10 rare", "word 0 rare"]
    piece = understand_query("😀")
    page = await store.search.find(piece)  # nothing among the first seven: the page says where to go on
    assert (page.rows, page.before_n) == ([], 34)


@pytest_twisted.ensureDeferred
async def test_what_was_undone_is_not_found_and_what_follows_is(store: PeerStore, database: Database) -> None:
    await say(store, 1, "first")

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO history (conversation, chat, sender, id, kind, sent_ms, stored_ms, body, state)"
            " VALUES (?, ?, ?, ?, 'text', 1, 1, 'undone', 'received')",
            (TALK, BOB, BOB, b"x" * 16),
        )
        raise ValueError("undone")

    with pytest.raises(ValueError, match="undone"):
        await database.run(broken)
    await say(store, 2, "second")
    assert await found(store, "undone") == []
    assert await found(store, "second") == ["second"]
    await database.close()
    await database.open()
    await say(store, 3, "third")
    assert await found(store, "third") == ["third"]
    assert await found(store, "first") == ["first"]


@pytest_twisted.ensureDeferred
async def test_a_database_of_the_first_step_is_found_in_after_its_migration(tmp_path: Path) -> None:
    from twisted.internet import reactor

    without = next(i for i, script in enumerate(MIGRATIONS) if "history_text" in script)
    database = Database(tmp_path / "old.db", MIGRATIONS[:without], reactor)
    await database.open()

    def fill(connection: sqlite3.Connection) -> None:
        rows = [(TALK, BOB, ME, n.to_bytes(16), n * 1000, f"old number{n}") for n in range(limits.INDEX_ROWS + 10)]
        connection.executemany(
            "INSERT INTO history (conversation, peer, sender, id, kind, sent_ms, stored_ms, body, state)"
            " VALUES (?, ?, ?, ?, 'text', 1, ?, ?, 'waiting')",
            rows,
        )
        connection.execute("INSERT INTO outbox SELECT n, peer, id FROM history")

    await database.run(fill)
    await database.close()
    database = Database(tmp_path / "old.db", MIGRATIONS, reactor)
    await database.open()
    store = PeerStore(database)
    assert await found(store, f"number{limits.INDEX_ROWS + 5}") == [f"old number{limits.INDEX_ROWS + 5}"]
    assert await found(store, "number7 ") == ["old number7"]
    expired = await store.messages.expire(2500, (), "old")  # since when each waits came with it
    assert [row.body for row in expired] == ["old number0", "old number1", "old number2"]
    await database.close()


@pytest_twisted.ensureDeferred
async def test_many_rows_are_indexed_before_anybody_searches(store: PeerStore, database: Database) -> None:
    for n in range(limits.INDEX_ROWS + 1):
        store.messages.add_incoming(BOB, [Say(TALK, n.to_bytes(16), 1, f"word{n}")], 1)
    (indexed,) = await database.read(lambda connection: connection.execute("SELECT n FROM indexed").fetchone())
    assert indexed >= limits.INDEX_ROWS - 1
