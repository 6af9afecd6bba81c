"""Messages in the history and in the outbox, and what becomes of the second time of each."""

from __future__ import annotations

import pytest_twisted
from twisted.internet.defer import gatherResults

from chatnet.core.events import MessageKind, MessageState
from chatnet.core.messages import Say
from chatnet.peer.store.history_rows import NewMessage
from chatnet.peer.store.peer_store import PeerStore
from tests.peer.store.rows import BOB, EVE, ME, OTHER, TALK, again, hear, id16, offer, say


@pytest_twisted.ensureDeferred
async def test_a_message_waits_in_the_outbox_until_it_is_delivered(store, database):
    sent = await gatherResults([say(store, n, f"line {n}") for n in range(5)])
    assert [m.n for m in sent] == sorted(m.n for m in sent)
    await say(store, 9, peer=EVE, conversation=OTHER)
    store = await again(database)
    assert await store.messages.outbox(BOB, 0, 100) == sent
    assert await store.messages.outbox(BOB, sent[1].n, 2) == sent[2:4]
    assert await store.messages.waiting() == {BOB: 5, EVE: 1}
    changed = await store.messages.delivered(BOB, [id16(3), id16(0), id16(77)])
    assert changed == [sent[0].n, sent[3].n]
    rows, _ = await store.messages.history(BOB, None, 9)
    delivered = {n: MessageState.DELIVERED for n in changed}
    assert rows == [row._replace(state=delivered.get(row.n, row.state)) for row in sent]
    assert await store.messages.delivered(BOB, [id16(3)]) == []  # a second ack changes nothing
    assert await store.messages.delivered(EVE, [id16(1)]) == []  # nor does somebody else's
    assert [m.id for m in await store.messages.outbox(BOB, 0, 100)] == [id16(1), id16(2), id16(4)]


@pytest_twisted.ensureDeferred
async def test_a_refused_message_leaves_the_outbox_with_its_reason(store):
    message = await say(store, 1)
    refused = await store.messages.refused(BOB, id16(1), "not accepted")
    assert refused == message._replace(state=MessageState.REFUSED, reason="not accepted")
    assert await store.messages.outbox(BOB, 0, 9) == []
    assert await store.messages.refused(BOB, id16(1), "once more") is None
    assert (await store.messages.history(BOB, None, 9))[0] == [refused]


@pytest_twisted.ensureDeferred
async def test_many_of_ours_are_stored_at_once_in_their_order(store):
    talks = [(BOB, TALK), (EVE, OTHER)]
    many = [
        NewMessage(talk, peer, ME, id16(n), MessageKind.TEXT, n, n, f"{n}", MessageState.WAITING)
        for n, (peer, talk) in enumerate(talks * 100)
    ]
    rows = await gatherResults([store.messages.add_outgoing(message) for message in many])
    assert [row.n for row in rows] == list(range(rows[0].n, rows[0].n + 200))
    assert [NewMessage(*row[1:-1]) for row in rows] == many
    assert await store.messages.outbox(BOB, 0, 200) == rows[::2]
    assert await store.messages.outbox(EVE, 0, 200) == rows[1::2]
    assert [(talk.chat, talk.unread, talk.last_ms) for talk in await store.conversations.all()] == [
        (EVE, 0, 199),
        (BOB, 0, 198),
    ]


@pytest_twisted.ensureDeferred
async def test_many_of_theirs_are_stored_at_once_and_each_is_answered(store):
    (known,) = await store.messages.add_incoming(BOB, [Say(TALK, id16(50), 1, "known")], 10)
    said = [Say(TALK, id16(n), n, f"{n}") for n in range(100) if n != 50]
    again = [Say(TALK, id16(7), 0, "7"), Say(TALK, id16(7), 0, "other"), Say(TALK, id16(50), 0, "known")]
    became = await store.messages.add_incoming(BOB, [*said, *again], 20)
    assert [one.outcome for one in became] == ["stored"] * 99 + ["duplicate", "conflict", "duplicate"]
    assert [one.message.body for one in became] == [say.body for say in said] + ["7", "7", "known"]
    rows, _ = await store.messages.history(BOB, None, 200)
    assert rows == [known.message, *(one.message for one in became[:99])]
    (talk,) = await store.conversations.all()
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
    assert await store.messages.history(BOB, None, 10) == ([first.message], False)
    # The same id from another sender, or in another conversation, is another message.
    assert (await hear(store, 1, peer=EVE, conversation=OTHER)).outcome == "stored"
    assert (await say(store, 1)).n > first.message.n


@pytest_twisted.ensureDeferred
async def test_history_is_paged_from_the_end(store):
    await gatherResults([hear(store, n) for n in range(10)] + [hear(store, 99, peer=EVE, conversation=OTHER)])
    page, more = await store.messages.history(BOB, None, 4)
    assert ([m.id for m in page], more) == ([id16(n) for n in (6, 7, 8, 9)], True)
    page, more = await store.messages.history(BOB, page[0].n, 4)
    assert ([m.id for m in page], more) == ([id16(n) for n in (2, 3, 4, 5)], True)
    page, more = await store.messages.history(BOB, page[0].n, 2)
    assert ([m.id for m in page], more) == ([id16(0), id16(1)], False)
    assert await store.messages.history(BOB, page[0].n, 4) == ([], False)


@pytest_twisted.ensureDeferred
async def test_an_offer_has_a_row_that_changes_but_never_waits(store):
    row = await store.messages.add_file_row(offer(ME, 7, "photos/ (312)", 5, MessageState.WAITING))
    assert row.kind is MessageKind.FILE
    assert await store.messages.add_file_row(offer(ME, 7, "else", 6, MessageState.SENT)) is None  # it has one
    changed = await store.messages.set_file_state(id16(7), MessageState.REFUSED, "declined")
    assert changed == row._replace(state=MessageState.REFUSED, reason="declined")
    assert await store.messages.waiting() == {}
    assert await store.messages.set_file_state(id16(8), MessageState.SENT) is None
    await say(store, 9)
    assert await store.messages.set_file_state(id16(9), MessageState.SENT) is None  # a message is no offer
    find_open = await store.messages.add_file_row(offer(BOB, 10, "photos", 5, MessageState.RECEIVED))
    assert await hear(store, 10, "photos") == ("conflict", find_open)  # nor an offer a message


@pytest_twisted.ensureDeferred
async def test_the_questions_of_a_large_history_use_an_index(database):
    def plans(connection) -> list[str]:
        questions = (
            ("SELECT * FROM history WHERE chat = ? AND n < ? ORDER BY n DESC LIMIT 9", (BOB, 9)),
            ("SELECT COUNT(*) FROM history WHERE chat = ? AND n > ? AND sender != ?", (BOB, 9, ME)),
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


@pytest_twisted.ensureDeferred
async def test_expired_rows_leave_the_outbox_and_come_back_with_their_id(store: PeerStore) -> None:
    old, sent, new = [
        await say(store, n, body, at_ms=at_ms) for n, body, at_ms in ((1, "old", 10), (2, "sent", 10), (3, "new", 100))
    ]
    (gone,) = await store.messages.expire(50, {sent.n}, "nobody took it")
    assert (gone.n, gone.state, gone.reason) == (old.n, MessageState.EXPIRED, "nobody took it")
    assert [row.n for row in await store.messages.outbox(BOB, 0, 10)] == [sent.n, new.n]
    assert await store.messages.resend(ME, EVE, old.n, MessageState.WAITING, 200) is None
    assert await store.messages.resend(ME, BOB, new.n, MessageState.WAITING, 200) is None
    waits = await store.messages.resend(ME, BOB, old.n, MessageState.WAITING, 200)
    assert waits is not None
    assert (waits.n, waits.id, waits.state, waits.reason) == (old.n, old.id, MessageState.WAITING, "")
    assert [row.n for row in await store.messages.outbox(BOB, 0, 10)] == [old.n, sent.n, new.n]
    assert [row.n for row in await store.messages.expire(150, (), "")] == [sent.n, new.n]  # it waits since 200 now
    assert await store.messages.waiting() == {BOB: 1}


@pytest_twisted.ensureDeferred
async def test_an_offer_that_was_not_taken_has_one_row_with_the_reason_which_counts_as_read(store):
    refused = offer(BOB, 12, "photos/ and more", 5, MessageState.REFUSED)
    row = await store.messages.add_refused_offer(refused, "your rule")
    assert (row.state, row.reason) == (MessageState.REFUSED, "your rule")
    assert await store.messages.add_refused_offer(refused, "another") is None
    page, _ = await store.messages.history(refused.chat, None, 10)
    assert page == [row]
    assert [one.unread for one in await store.conversations.all()] == [0]
