"""What a peer keeps, and what it does with the second time of everything."""

from __future__ import annotations

import sqlite3

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults

from chatnet.core.events import MessageKind, MessageState, TransferState
from chatnet.core.messages import ListEntry, Say
from chatnet.core.records import Endpoint, SignedRecord
from chatnet.host.database import Database
from chatnet.peer.store.peer_store import (
    MIGRATIONS,
    Conversation,
    FileRow,
    NewMessage,
    PeerStore,
    Pin,
    SavedList,
    TransferRow,
)

ME, BOB, EVE = b"m" * 32, b"b" * 32, b"e" * 32
TALK, OTHER = b"T" * 32, b"O" * 32
REGISTRY, ANOTHER = b"R" * 32, b"A" * 32


def id16(n: int) -> bytes:
    return n.to_bytes(16, "big")


def entry(peer: bytes, seq: int, name: str = "bob", port: int = 1000) -> ListEntry:
    return ListEntry(peer, name, [Endpoint(b"\x7f\x00\x00\x01", port), Endpoint(b"\xfe" * 16, 2)], seq)


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


async def again(database) -> PeerStore:
    """The store after a restart."""
    await database.close()
    await database.open()
    return PeerStore(database)


def say(store, n: int, body: str = "hi", state=MessageState.WAITING, peer=BOB, conversation=TALK):
    at_ms = 1000 + n
    message = NewMessage(conversation, peer, ME, id16(n), MessageKind.TEXT, at_ms, at_ms, body, state)
    return store.add_outgoing(message)


def hear(store, n: int, body: str = "ho", peer=BOB, conversation=TALK):
    said = Say(conversation, id16(n), 500 + n, body)
    return store.add_incoming(peer, [said], 1000 + n).addCallback(lambda became: became[0])


def offer(sender, n: int, title: str, at_ms: int, state) -> NewMessage:
    return NewMessage(TALK, BOB, sender, id16(n), MessageKind.FILE, at_ms, at_ms, title, state)


# --- settings, pins, list ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_seq_rises_also_over_restarts(store, database):
    assert await gatherResults([store.next_seq() for _ in range(3)]) == [1, 2, 3]
    store = await again(database)
    assert await store.next_seq() == 4
    assert await store.next_seq(at_least=1000) == 1000
    assert await store.next_seq(at_least=3) == 1001
    assert await store.next_seq(at_least=3, step=50) == 1051


@pytest_twisted.ensureDeferred
async def test_the_first_key_of_a_name_stays_until_another_is_trusted(store, database):
    assert await store.add_pin("bob", BOB, 10) == Pin(BOB, "bob", 10, 0, 0, True)
    assert await store.add_pin("bob", EVE, 20) == Pin(BOB, "bob", 10, 0, 0, True)
    assert await store.pins() == [Pin(BOB, "bob", 10, 0, 0, True)]
    assert await store.take_key("bob", BOB, EVE, 2, OTHER, ME, 30, "") == ([], [])
    store = await again(database)
    assert await store.pins() == [Pin(BOB, "bob", 10, 0, 0, False), Pin(EVE, "bob", 30, 2, 0, True)]
    assert await store.add_pin("bob", BOB, 40) == Pin(EVE, "bob", 30, 2, 0, True)
    await store.take_key("bob", EVE, BOB, 0, TALK, ME, 50, "")
    assert [pin.current for pin in await store.pins()] == [True, False]


@pytest_twisted.ensureDeferred
async def test_with_a_new_key_goes_what_waited_in_its_order_once(store, database):
    await store.add_pin("bob", BOB, 10)
    await store.add_unwanted_key(EVE, 15)
    for n, state in ((3, MessageState.WAITING), (1, MessageState.HELD), (2, MessageState.HELD)):
        await say(store, n, f"text {n}", state)
    await store.delivered(BOB, [id16(3)])
    await hear(store, 9)
    for expected in ([1, 2], []):
        former, moved = await store.take_key("bob", BOB, EVE, 0, OTHER, ME, 20, "to the new key")
        assert [(row.id, row.state, row.reason) for row in former] == [
            (id16(n), MessageState.REFUSED, "to the new key") for n in expected
        ]
        assert [(row.id, row.body, row.chat, row.state) for row in moved] == [
            (id16(n), f"text {n}", EVE, MessageState.WAITING) for n in expected
        ]
    store = await again(database)
    assert [row.id for row in await store.outbox(EVE, 0, 10)] == [id16(1), id16(2)]
    assert await store.outbox(BOB, 0, 10) == []
    assert await store.unwanted_keys() == set()


@pytest_twisted.ensureDeferred
async def test_more_waits_than_one_statement_takes(store):
    await gatherResults([say(store, n) for n in range(10_050)])
    former, moved = await store.take_key("bob", BOB, EVE, 0, OTHER, ME, 20, "")
    assert [row.id for row in moved] == [row.id for row in former] == [id16(n) for n in range(10_050)]


@pytest_twisted.ensureDeferred
async def test_registry_pins(store):
    assert await store.registry_pin("127.0.0.1:9900") is None
    await store.pin_registry("127.0.0.1:9900", REGISTRY, 10)
    assert await store.registry_pin("127.0.0.1:9900") == REGISTRY
    await store.pin_registry("127.0.0.1:9900", ANOTHER, 20)
    assert await store.registry_pin("127.0.0.1:9900") == ANOTHER


@pytest_twisted.ensureDeferred
async def test_the_list_survives_and_changes(store, database):
    assert await store.load_list() == SavedList(None, b"", 0, [])
    assert await store.save_list(REGISTRY, True, [entry(BOB, 1), entry(EVE, 1, "eve")], [], b"one", 10) == []
    await store.save_list(REGISTRY, False, [entry(BOB, 2, port=2000)], [EVE, b"?" * 32], b"two", 20)
    store = await again(database)
    assert await store.load_list() == SavedList(REGISTRY, b"two", 20, [entry(BOB, 2, port=2000)])


@pytest_twisted.ensureDeferred
async def test_a_new_snapshot_replaces_the_list_but_not_by_older_entries(store):
    await store.save_list(REGISTRY, True, [entry(BOB, 5), entry(EVE, 1, "eve")], [], b"one", 10)
    assert await store.save_list(REGISTRY, True, [entry(BOB, 4, port=9)], [], b"two", 20) == [BOB]
    assert await store.load_list() == SavedList(REGISTRY, b"two", 20, [entry(BOB, 5)])
    assert await store.save_list(REGISTRY, False, [entry(BOB, 5, port=9)], [], b"three", 30) == []
    assert (await store.load_list()).entries == [entry(BOB, 5, port=9)]
    # Another registry's list has nothing to do with the former.
    assert await store.save_list(ANOTHER, False, [entry(BOB, 1)], [], b"x", 40) == []
    assert await store.load_list() == SavedList(ANOTHER, b"x", 40, [entry(BOB, 1)])


@pytest_twisted.ensureDeferred
async def test_a_verified_record_holds_against_older_ones_and_older_entries(store):
    new, old = SignedRecord(b"k" * 32, b"new", b"s" * 64), SignedRecord(b"k" * 32, b"old", b"s" * 64)
    await store.add_pin("bob", BOB, 10)
    assert await store.record(BOB) is None
    assert await store.save_record(BOB, new, 7) is True
    assert await store.save_record(BOB, old, 6) is False
    assert await store.save_record(BOB, new, 7) is True
    assert await store.record(BOB) == new
    assert (await store.pins())[0].seq == 7
    assert await store.save_list(REGISTRY, True, [entry(BOB, 6)], [], b"", 10) == [BOB]
    assert (await store.load_list()).entries == []


@pytest_twisted.ensureDeferred
async def test_ten_thousand_entries(store):
    entries = [ListEntry(n.to_bytes(32, "big"), f"n{n}", [Endpoint(b"\x7f\x00\x00\x01", 1)], 1) for n in range(10_000)]
    await store.save_list(REGISTRY, True, entries, [], b"c", 1)
    await store.save_list(REGISTRY, True, entries[1:], [], b"d", 2)
    assert (await store.load_list()).entries == entries[1:]


# --- messages ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_message_waits_in_the_outbox_until_it_is_delivered(store, database):
    sent = await gatherResults([say(store, n, f"line {n}") for n in range(5)])
    assert [m.n for m in sent] == sorted(m.n for m in sent)
    await say(store, 9, peer=EVE, conversation=OTHER)
    store = await again(database)
    assert await store.outbox(BOB, 0, 100) == sent
    assert await store.outbox(BOB, sent[1].n, 2) == sent[2:4]
    assert await store.waiting() == {BOB: 5, EVE: 1}
    changed = await store.delivered(BOB, [id16(3), id16(0), id16(77)])
    assert changed == [sent[0].n, sent[3].n]
    rows, _ = await store.history(TALK, None, 9)
    delivered = {n: MessageState.DELIVERED for n in changed}
    assert rows == [row._replace(state=delivered.get(row.n, row.state)) for row in sent]
    assert await store.delivered(BOB, [id16(3)]) == []  # a second ack changes nothing
    assert await store.delivered(EVE, [id16(1)]) == []  # nor does somebody else's
    assert [m.id for m in await store.outbox(BOB, 0, 100)] == [id16(1), id16(2), id16(4)]


@pytest_twisted.ensureDeferred
async def test_a_refused_message_leaves_the_outbox_with_its_reason(store):
    message = await say(store, 1)
    refused = await store.refused(BOB, id16(1), "not accepted")
    assert refused == message._replace(state=MessageState.REFUSED, reason="not accepted")
    assert await store.outbox(BOB, 0, 9) == []
    assert await store.refused(BOB, id16(1), "once more") is None
    assert (await store.history(TALK, None, 9))[0] == [refused]


@pytest_twisted.ensureDeferred
async def test_a_settled_message_does_not_wait_again(store):
    message = await say(store, 1, state=MessageState.HELD)
    assert await store.set_state(message.n, MessageState.SENT) == message._replace(state=MessageState.SENT)
    assert (await store.outbox(BOB, 0, 9))[0].state is MessageState.SENT
    await store.delivered(BOB, [id16(1)])
    assert await store.set_state(message.n, MessageState.SENT) is None  # told late
    other = await say(store, 2)
    expired = await store.set_state(other.n, MessageState.EXPIRED, "30 days")
    assert expired == other._replace(state=MessageState.EXPIRED, reason="30 days")
    assert await store.waiting() == {}
    assert [m.state for m in (await store.history(TALK, None, 9))[0]] == [MessageState.DELIVERED, MessageState.EXPIRED]
    assert await store.set_state(999, MessageState.EXPIRED) is None


@pytest_twisted.ensureDeferred
async def test_many_of_ours_are_stored_at_once_in_their_order(store):
    talks = [(BOB, TALK), (EVE, OTHER)]
    many = [
        NewMessage(talk, peer, ME, id16(n), MessageKind.TEXT, n, n, f"{n}", MessageState.WAITING)
        for n, (peer, talk) in enumerate(talks * 100)
    ]
    rows = await gatherResults([store.add_outgoing(message) for message in many])
    assert [row.n for row in rows] == list(range(rows[0].n, rows[0].n + 200))
    assert [NewMessage(*row[1:-1]) for row in rows] == many
    assert await store.outbox(BOB, 0, 200) == rows[::2]
    assert await store.outbox(EVE, 0, 200) == rows[1::2]
    assert [(talk.chat, talk.unread, talk.last_ms) for talk in await store.conversations()] == [
        (EVE, 0, 199),
        (BOB, 0, 198),
    ]


@pytest_twisted.ensureDeferred
async def test_many_of_theirs_are_stored_at_once_and_each_is_answered(store):
    (known,) = await store.add_incoming(BOB, [Say(TALK, id16(50), 1, "known")], 10)
    said = [Say(TALK, id16(n), n, f"{n}") for n in range(100) if n != 50]
    again = [Say(TALK, id16(7), 0, "7"), Say(TALK, id16(7), 0, "other"), Say(TALK, id16(50), 0, "known")]
    became = await store.add_incoming(BOB, [*said, *again], 20)
    assert [one.outcome for one in became] == ["stored"] * 99 + ["duplicate", "conflict", "duplicate"]
    assert [one.message.body for one in became] == [say.body for say in said] + ["7", "7", "known"]
    rows, _ = await store.history(TALK, None, 200)
    assert rows == [known.message, *(one.message for one in became[:99])]
    (talk,) = await store.conversations()
    assert (talk.unread, talk.last_ms) == (100, 20)


@pytest_twisted.ensureDeferred
async def test_a_message_comes_in_once_and_its_first_body_stays(store, database):
    first = hear(store, 1, "\x1b[31m original \x00")
    same = hear(store, 1, "\x1b[31m original \x00")
    forged = hear(store, 1, "another")
    first, same, forged = await gatherResults([first, same, forged])
    assert first.outcome == "stored"
    assert first.message.body == "\x1b[31m original \x00"
    assert (first.message.sent_ms, first.message.stored_ms) == (501, 1001)
    assert first.message.state is MessageState.RECEIVED
    assert same == ("duplicate", first.message)
    assert forged == ("conflict", first.message)
    store = await again(database)
    assert (await hear(store, 1, "another")).outcome == "conflict"
    assert await store.history(TALK, None, 10) == ([first.message], False)
    # The same id from another sender, or in another conversation, is another message.
    assert (await hear(store, 1, peer=EVE, conversation=OTHER)).outcome == "stored"
    assert (await say(store, 1)).n > first.message.n


@pytest_twisted.ensureDeferred
async def test_history_is_paged_from_the_end(store):
    await gatherResults([hear(store, n) for n in range(10)] + [hear(store, 99, peer=EVE, conversation=OTHER)])
    page, more = await store.history(TALK, None, 4)
    assert ([m.id for m in page], more) == ([id16(n) for n in (6, 7, 8, 9)], True)
    page, more = await store.history(TALK, page[0].n, 4)
    assert ([m.id for m in page], more) == ([id16(n) for n in (2, 3, 4, 5)], True)
    page, more = await store.history(TALK, page[0].n, 2)
    assert ([m.id for m in page], more) == ([id16(0), id16(1)], False)
    assert await store.history(TALK, page[0].n, 4) == ([], False)


@pytest_twisted.ensureDeferred
async def test_an_offer_has_a_row_that_changes_but_never_waits(store):
    row = await store.add_file_row(offer(ME, 7, "photos/ (312)", 5, MessageState.WAITING))
    assert row.kind is MessageKind.FILE
    assert await store.add_file_row(offer(ME, 7, "else", 6, MessageState.SENT)) == row
    changed = await store.set_file_state(id16(7), MessageState.REFUSED, "declined")
    assert changed == row._replace(state=MessageState.REFUSED, reason="declined")
    assert await store.waiting() == {}
    assert await store.set_file_state(id16(8), MessageState.SENT) is None
    await say(store, 9)
    assert await store.set_file_state(id16(9), MessageState.SENT) is None  # a message is no offer
    find_open = await store.add_file_row(offer(BOB, 10, "photos", 5, MessageState.RECEIVED))
    assert await hear(store, 10, "photos") == ("conflict", find_open)  # nor an offer a message


# --- conversations -------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_unread_counts_what_came_behind_the_mark(store, database):
    heard = [(await hear(store, n)).message for n in range(3)]
    await hear(store, 2)  # a duplicate counts once
    await say(store, 50)
    await store.add_file_row(offer(BOB, 60, "a.txt", 2000, MessageState.RECEIVED))
    assert await store.conversations() == [Conversation(BOB, "", 0, 4, 2000)]
    assert await store.mark_read(BOB, heard[1].n) == 2
    assert await store.mark_read(BOB, heard[0].n) == 2  # never back
    store = await again(database)
    assert await store.conversations() == [Conversation(BOB, "", heard[1].n, 2, 2000)]
    last = (await store.history(TALK, None, 1))[0][0].n
    assert await store.mark_read(BOB, last) == 0
    await hear(store, 4)
    assert (await store.conversations())[0].unread == 1
    assert await store.mark_read(EVE, 5) == 0  # no such conversation
    assert len(await store.conversations()) == 1


@pytest_twisted.ensureDeferred
async def test_conversations_have_names_and_an_order(store):
    await store.touch_conversation(TALK, BOB, "bob", 10)
    await hear(store, 1, peer=EVE, conversation=OTHER)
    assert [(c.chat, c.name, c.last_ms) for c in await store.conversations()] == [(EVE, "", 1001), (BOB, "bob", 10)]
    await store.add_pin("eve", EVE, 1)
    await store.touch_conversation(TALK, BOB, "bobby", 5000)
    await store.touch_conversation(TALK, BOB, "bobby", 6)  # a clock that went back
    assert [(c.chat, c.name, c.last_ms) for c in await store.conversations()] == [
        (BOB, "bobby", 5000),
        (EVE, "eve", 1001),
    ]


@pytest_twisted.ensureDeferred
async def test_the_questions_of_a_large_history_use_an_index(database):
    def plans(connection) -> list[str]:
        questions = (
            ("SELECT * FROM history WHERE conversation = ? AND n < ? ORDER BY n DESC LIMIT 9", (TALK, 9)),
            ("SELECT COUNT(*) FROM history WHERE conversation = ? AND n > ? AND sender = ?", (TALK, 9, BOB)),
            ("SELECT MAX(n) FROM history WHERE id = ? AND kind = 'file'", (id16(1),)),
            (
                "SELECT * FROM outbox JOIN history USING (n) WHERE outbox.peer = ? AND outbox.n > ? ORDER BY outbox.n",
                (BOB, 1),
            ),
            ("SELECT peer, COUNT(*) FROM outbox GROUP BY peer", ()),
        )
        return [row[3] for sql, values in questions for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]

    found = await database.read(plans)
    assert len(found) >= 5
    assert not [plan for plan in found if "TEMP B-TREE" in plan or plan.startswith("SCAN history")]


# --- transfers -----------------------------------------------------------------------------------

OFFER = TransferRow(BOB, id16(1), False, "photos/ (2)", 2, 30, TransferState.OFFERED, "", "", "", 100, None)
FILES = [
    FileRow(0, ("photos", "a.jpg"), 10, 1, part="0a.part"),
    FileRow(1, ("photos", "b\u202egpj.exe"), 20, 2, source="/home/m/\udcff.jpg"),  # a path that is no text
]


@pytest_twisted.ensureDeferred
async def test_a_transfer_and_its_files_survive(store, database):
    await store.add_transfer(OFFER, FILES)
    with pytest.raises(sqlite3.IntegrityError):
        await store.add_transfer(OFFER._replace(title="again"), [])
    changed = await store.update_transfer(BOB, id16(1), state=TransferState.RUNNING, saved_to="/d/\udcff")
    assert changed == OFFER._replace(state=TransferState.RUNNING, saved_to="/d/\udcff")
    await store.file_synced(BOB, id16(1), 1, "0b.part", 15)
    await store.files_done(BOB, id16(1), [(0, "a (2).jpg")])
    store = await again(database)
    assert await store.transfers() == [changed]
    assert await store.transfer_files(BOB, id16(1)) == [
        FILES[0]._replace(part="", synced=10, final="a (2).jpg", done=True),
        FILES[1]._replace(part="0b.part", synced=15),
    ]
    assert await store.update_transfer(EVE, id16(1), state=TransferState.DONE) is None
    with pytest.raises(TypeError):
        store.update_transfer(BOB, id16(1), peer=EVE)


@pytest_twisted.ensureDeferred
async def test_ended_transfers_are_forgotten_but_their_ids_stay_known(store):
    await store.add_transfer(OFFER, FILES)
    await store.add_transfer(OFFER._replace(fid=id16(2), offered_ms=50), FILES)
    await store.add_transfer(OFFER._replace(peer=EVE), [])  # the same id from somebody else is another one
    assert [(row.peer, row.fid) for row in await store.transfers()] == [(BOB, id16(2)), (BOB, id16(1)), (EVE, id16(1))]
    await store.update_transfer(BOB, id16(1), state=TransferState.FAILED, code="lost", reason="gone", ended_ms=200)
    await store.forget_ended()
    assert [(row.peer, row.fid) for row in await store.transfers()] == [(BOB, id16(2)), (EVE, id16(1))]
    assert await store.transfer_files(BOB, id16(1)) == []
    assert await store.transfer_files(BOB, id16(2)) == FILES
    with pytest.raises(sqlite3.IntegrityError):
        await store.add_transfer(OFFER, FILES)
