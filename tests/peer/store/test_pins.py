"""Whose a name is, and what goes along with a new key."""

from __future__ import annotations

import pytest_twisted
from twisted.internet.defer import gatherResults

from chatnet.core.events import FileRule, MessageKind, MessageState, RuleKind, TransferState
from chatnet.core.messages import Say
from chatnet.peer.store.conversations import OpenTabRow
from chatnet.peer.store.history_rows import NewMessage
from chatnet.peer.store.pins import Pin, TakenKey
from chatnet.peer.store.requests import Source
from chatnet.peer.store.search_query import understand_query
from chatnet.peer.store.transfers import TransferRow
from tests.peer.store.rows import (
    ANOTHER,
    BOB,
    BY_NUMBER,
    EVE,
    ME,
    NOT,
    OTHER,
    REGISTRY,
    TALK,
    again,
    hear,
    id16,
    say,
)

THIRD = b"3" * 32


@pytest_twisted.ensureDeferred
async def test_the_first_key_of_a_name_stays_until_another_is_trusted(store, database):
    assert await store.pins.add("bob", BOB, 10) == Pin(BOB, "bob", 10, NOT, 0, True)
    assert await store.pins.add("bob", EVE, 20) == Pin(BOB, "bob", 10, NOT, 0, True)
    assert await store.pins.all() == [Pin(BOB, "bob", 10, NOT, 0, True)]
    assert await store.pins.take_key("bob", BOB, EVE, BY_NUMBER, OTHER, 30, 0) == TakenKey([], 0, 0, 0)
    store = await again(database)
    assert await store.pins.all() == [
        Pin(BOB, "bob", 10, NOT, 0, False),
        Pin(EVE, "bob", 30, BY_NUMBER, 0, True),
    ]
    assert await store.pins.add("bob", BOB, 40) == Pin(EVE, "bob", 30, BY_NUMBER, 0, True)
    await store.pins.take_key("bob", EVE, BOB, NOT, TALK, 50, 0)
    assert [pin.current for pin in await store.pins.all()] == [True, False]


@pytest_twisted.ensureDeferred
async def test_with_a_new_key_goes_the_history_and_what_waited(store, database):
    """B16: rows keep their numbers, and the order in which they were stored."""
    await store.pins.add("bob", BOB, 10)
    await store.pins.add_unwanted_key(EVE, 15)
    for n, state in ((3, MessageState.WAITING), (1, MessageState.HELD), (2, MessageState.HELD), (4, MessageState.HELD)):
        await say(store, n, f"text {n}", state)
    await store.messages.delivered(BOB, [id16(3)])
    await store.messages.refused(BOB, id16(4), "no")
    await hear(store, 9, "from the old key")
    for released in ([1, 2], []):
        taken = await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 7)
        assert [(row.id, row.chat, row.conversation, row.state) for row in taken.released] == [
            (id16(n), EVE, OTHER, MessageState.WAITING) for n in released
        ]
        assert (taken.waiting, taken.read_n, taken.unread) == (len(released), 0, 1)
    store = await again(database)
    rows, _ = await store.messages.history(EVE, None, 10)
    assert [(row.n, row.id, row.sender, row.state) for row in rows] == [
        (1, id16(3), ME, MessageState.DELIVERED),
        (2, id16(1), ME, MessageState.WAITING),
        (3, id16(2), ME, MessageState.WAITING),
        (4, id16(4), ME, MessageState.REFUSED),
        (5, id16(9), BOB, MessageState.RECEIVED),
    ]
    assert [row.id for row in await store.messages.outbox(EVE, 0, 10)] == [id16(1), id16(2)]
    assert await store.messages.outbox(BOB, 0, 10) == []
    assert (await store.messages.history(BOB, None, 10))[0] == []
    assert await store.pins.unwanted_keys() == set()
    assert [(one.chat, one.unread, one.accepted) for one in await store.conversations.all()] == [(EVE, 1, True)]
    assert await store.conversations.mark_read(ME, EVE, 5) == 0
    assert await store.conversations.written_to(ME) == {EVE}
    assert await database.run(waiting_since) == [7, 7]


def waiting_since(connection):
    return [since for (since,) in connection.execute("SELECT since_ms FROM outbox ORDER BY n")]


@pytest_twisted.ensureDeferred
async def test_what_was_refused_can_be_sent_to_the_new_key(store):
    await store.pins.add("bob", BOB, 10)
    row = await say(store, 1)
    await store.messages.refused(BOB, id16(1), "no")
    await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    sent = await store.messages.resend(ME, EVE, row.n, MessageState.WAITING, 0)
    assert (sent.n, sent.id, sent.conversation) == (row.n, id16(1), OTHER)
    assert [one.n for one in await store.messages.outbox(EVE, 0, 10)] == [row.n]


@pytest_twisted.ensureDeferred
async def test_an_id_that_the_other_conversation_has_is_made_anew(store):
    """An older version copied what waited, and left the id in the conversation with the old key."""
    await store.pins.add("bob", BOB, 10)
    await say(store, 1, "copied", peer=EVE, conversation=OTHER)
    await store.messages.refused(EVE, id16(1), "sent to the new key instead")
    await say(store, 1, "waits")
    await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    (row,) = await store.messages.outbox(EVE, 0, 10)
    assert (row.body, row.conversation) == ("waits", OTHER)
    assert row.id != id16(1)
    assert [n for n in await store.messages.delivered(EVE, [row.id])] == [row.n]


@pytest_twisted.ensureDeferred
async def test_what_the_new_key_said_before_is_in_the_same_chat(store):
    """It had written while it was a stranger; nothing that is unread counts as read."""
    await store.pins.add("bob", BOB, 10)
    await hear(store, 1, "early")
    theirs = (await hear(store, 2, "who is there?", peer=EVE, conversation=OTHER)).message
    last = (await hear(store, 3, "late")).message
    await store.conversations.mark_read(ME, BOB, last.n)
    taken = await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    assert (taken.read_n, taken.unread) == (0, 1)
    rows, _ = await store.messages.history(EVE, None, 10)
    assert [row.body for row in rows] == ["early", "who is there?", "late"]
    assert await store.conversations.mark_read(ME, EVE, theirs.n) == 1


@pytest_twisted.ensureDeferred
async def test_a_message_of_the_old_key_that_comes_again_is_known(store):
    await store.pins.add("bob", BOB, 10)
    await hear(store, 1)
    await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    assert (await hear(store, 1)).outcome == "duplicate"
    assert (await hear(store, 2)).message.chat == BOB  # a new one is of somebody who is not this person any more
    assert [row.id for row in (await store.messages.history(EVE, None, 9))[0]] == [id16(1)]


@pytest_twisted.ensureDeferred
async def test_a_search_in_the_chat_finds_what_was_said_with_each_key(store):
    await store.pins.add("bob", BOB, 10)
    await hear(store, 1, "apples")
    await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    await hear(store, 2, "more apples", peer=EVE, conversation=OTHER)
    await hear(store, 3, "apples of a stranger")
    query = understand_query("apples")
    assert [row.body for row in (await store.search.find(query, EVE)).rows] == ["more apples", "apples"]
    await store.pins.take_key("bob", EVE, THIRD, NOT, THIRD, 30, 0)
    assert [row.body for row in (await store.search.find(query, THIRD)).rows] == ["more apples", "apples"]
    assert [row.body for row in (await store.search.find(query, BOB)).rows] == ["apples of a stranger"]
    assert (await store.search.find(query, EVE)).rows == []


@pytest_twisted.ensureDeferred
async def test_the_name_comes_back_to_its_first_key(store):
    await store.pins.add("bob", BOB, 10)
    await hear(store, 1, "apples")
    await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    await say(store, 2, "waits", peer=EVE, conversation=OTHER)
    await store.pins.take_key("bob", EVE, BOB, NOT, TALK, 30, 0)
    assert [row.conversation for row in await store.messages.outbox(BOB, 0, 9)] == [TALK]
    assert [row.body for row in (await store.search.find(understand_query("apples"), BOB)).rows] == ["apples"]
    assert [one.chat for one in await store.conversations.all()] == [BOB]


@pytest_twisted.ensureDeferred
async def test_two_tabs_become_one_with_both_drafts(store):
    await store.pins.add("bob", BOB, 10)
    await store.conversations.set_tabs([ME, BOB, EVE])
    await store.conversations.set_draft(BOB, "half a tho")
    await store.conversations.set_draft(EVE, "another")
    await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    assert await store.conversations.tabs() == [
        OpenTabRow(ME, "", True),
        OpenTabRow(EVE, "half a tho\nanother", True),
    ]


@pytest_twisted.ensureDeferred
async def test_a_stranger_who_was_taken_for_the_person_is_no_request(store):
    await store.pins.add("bob", BOB, 10)
    await store.messages.add_incoming(EVE, [Say(OTHER, id16(1), 1, "hi")], 1, None, Source("192.0.2.1", "bob"))
    await hear(store, 2)
    await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    assert await store.requests.peers() == []
    # The old key is a stranger from now on; refusing it takes nothing of the person's history.
    await store.messages.add_incoming(BOB, [Say(TALK, id16(3), 1, "me again")], 1, None, Source("192.0.2.1", ""))
    (request,) = (await store.requests.summary(9)).latest
    assert (request.peer, request.messages, request.first_line) == (BOB, 1, "me again")
    await store.requests.delete([BOB])
    assert [row.id for row in (await store.messages.history(EVE, None, 9))[0]] == [id16(1), id16(2)]


@pytest_twisted.ensureDeferred
async def test_transfers_go_along(store):
    about = (b"f" * 16, True, "a.txt", 1, 1, TransferState.OFFERED, "", "", b"", 5, None)
    await store.transfers.add(TransferRow(BOB, *about), [])
    await store.messages.add_file_row(
        NewMessage(TALK, BOB, ME, b"f" * 16, MessageKind.FILE, 5, 5, "a.txt", MessageState.SENT)
    )
    await store.pins.add("bob", BOB, 10)
    await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    assert [row.peer for row in await store.transfers.all()] == [EVE]
    # Its row is found by the conversation that the offer belongs to now: none is made a second time.
    row = await store.messages.add_file_row(
        NewMessage(OTHER, EVE, ME, b"f" * 16, MessageKind.FILE, 5, 5, "a.txt", MessageState.SENT)
    )
    assert row is None


@pytest_twisted.ensureDeferred
async def test_what_was_stored_for_the_old_key_behind_the_commit_goes_along(store):
    await store.pins.add("bob", BOB, 10)
    read = (await hear(store, 1)).message
    await store.conversations.mark_read(ME, BOB, read.n)
    await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    await hear(store, 2, "apples")
    about = (b"f" * 16, True, "a.txt", 1, 1, TransferState.WAITING, "", "", b"", 5, None)
    await store.transfers.add(TransferRow(BOB, *about), [])
    await store.messages.add_file_row(
        NewMessage(TALK, BOB, ME, b"f" * 16, MessageKind.FILE, 5, 5, "a.txt", MessageState.WAITING)
    )
    await store.conversations.set_tabs([BOB])
    await store.pins.move_late_rows(BOB, EVE, OTHER)
    rows, _ = await store.messages.history(EVE, None, 10)
    assert [(row.body, row.conversation) for row in rows] == [("ho", TALK), ("apples", TALK), ("a.txt", OTHER)]
    assert [(one.chat, one.read_n, one.unread) for one in await store.conversations.all()] == [(EVE, read.n, 1)]
    assert [row.peer for row in await store.transfers.all()] == [EVE]
    assert await store.conversations.tabs() == [OpenTabRow(EVE, "", True)]
    assert [row.body for row in (await store.search.find(understand_query("apples"), EVE)).rows] == ["apples"]


@pytest_twisted.ensureDeferred
async def test_the_rule_for_offers_is_that_of_a_key(store):
    auto, refuse = FileRule(RuleKind.AUTO), FileRule(RuleKind.REFUSE)
    await store.pins.add("bob", BOB, 10)
    await store.transfers.set_file_rule(BOB, auto)
    await store.transfers.set_file_rule(EVE, refuse)
    await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    assert await store.transfers.file_rules() == {EVE: refuse}


@pytest_twisted.ensureDeferred
async def test_more_waits_than_one_statement_takes(store):
    await gatherResults([say(store, n) for n in range(10_050)])
    taken = await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, 20, 0)
    assert taken.waiting == 10_050
    rows = await store.messages.outbox(EVE, 0, 20_000)
    assert [(row.id, row.conversation) for row in rows] == [(id16(n), OTHER) for n in range(10_050)]


@pytest_twisted.ensureDeferred
async def test_registry_pins(store):
    assert await store.pins.registry_pin("127.0.0.1:9900") is None
    await store.pins.pin_registry("127.0.0.1:9900", REGISTRY, 10)
    assert await store.pins.registry_pin("127.0.0.1:9900") == REGISTRY
    await store.pins.pin_registry("127.0.0.1:9900", ANOTHER, 20)
    assert await store.pins.registry_pin("127.0.0.1:9900") == ANOTHER
