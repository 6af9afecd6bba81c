"""Conversations: what is unread, their names and their order; tabs and drafts."""

from __future__ import annotations

import pytest_twisted

from chatnet.core.events import MessageState
from chatnet.host.database import Database
from chatnet.peer.store.conversations import Conversation, OpenTabRow
from chatnet.peer.store.peer_store import PeerStore
from tests.peer.store.rows import BOB, EVE, ME, OTHER, TALK, again, hear, offer, say


@pytest_twisted.ensureDeferred
async def test_unread_counts_what_came_behind_the_mark(store, database):
    heard = [(await hear(store, n)).message for n in range(3)]
    await hear(store, 2)  # a duplicate counts once
    await say(store, 50)
    await store.messages.add_file_row(offer(BOB, 60, "a.txt", 2000, MessageState.RECEIVED))
    assert await store.conversations.all() == [Conversation(BOB, "", 0, 4, 2000)]
    assert await store.conversations.mark_read(ME, BOB, heard[1].n) == 2
    assert await store.conversations.mark_read(ME, BOB, heard[0].n) == 2  # never back
    store = await again(database)
    assert await store.conversations.all() == [Conversation(BOB, "", heard[1].n, 2, 2000)]
    last = (await store.messages.history(BOB, None, 1))[0][0].n
    assert await store.conversations.mark_read(ME, BOB, last) == 0
    await hear(store, 4)
    assert (await store.conversations.all())[0].unread == 1
    assert await store.conversations.mark_read(ME, EVE, 5) == 0  # no such conversation
    assert len(await store.conversations.all()) == 1


@pytest_twisted.ensureDeferred
async def test_conversations_have_names_and_an_order(store):
    await store.conversations.touch(TALK, BOB, "bob", 10)
    await hear(store, 1, peer=EVE, conversation=OTHER)
    assert [(c.chat, c.name, c.last_ms) for c in await store.conversations.all()] == [(EVE, "", 1001), (BOB, "bob", 10)]
    await store.pins.add("eve", EVE, 1)
    await store.conversations.touch(TALK, BOB, "bobby", 5000)
    await store.conversations.touch(TALK, BOB, "bobby", 6)  # a clock that went back
    assert [(c.chat, c.name, c.last_ms) for c in await store.conversations.all()] == [
        (BOB, "bobby", 5000),
        (EVE, "eve", 1001),
    ]


@pytest_twisted.ensureDeferred
async def test_tabs_and_drafts_stay(store: PeerStore, database: Database) -> None:
    await store.conversations.set_tabs([BOB, EVE])
    await store.conversations.set_draft(EVE, "half a thou")
    await store.conversations.set_draft(ME, "to myself")
    await database.close()
    await database.open()
    assert await store.conversations.tabs() == [
        OpenTabRow(BOB, "", True),
        OpenTabRow(EVE, "half a thou", True),
        OpenTabRow(ME, "to myself", False),
    ]
    await store.conversations.set_tabs([EVE])
    await store.conversations.set_draft(ME, "")
    assert await store.conversations.tabs() == [OpenTabRow(EVE, "half a thou", True)]
