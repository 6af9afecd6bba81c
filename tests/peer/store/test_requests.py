"""What strangers sent first, in the store."""

from __future__ import annotations

import pytest
import pytest_twisted

from chatnet.core.events import MessageKind, MessageState
from chatnet.core.identity import chat_with
from chatnet.core.messages import Say
from chatnet.core.requests import request_bytes
from chatnet.host.database import Database
from chatnet.peer.store.history_rows import NewMessage
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.requests import Source
from chatnet.peer.store.schema import MIGRATIONS
from chatnet.peer.store.search_query import understand_query
from tests.peer.store.rows import BOB, EVE, OTHER, TALK, again, hear, id16, say

FROM = Source("192.0.2.7", "eve")
BEFORE = next(n for n, script in enumerate(MIGRATIONS) if "CREATE TABLE request" in script)


def ask(store, n: int, body: str, peer=EVE, conversation=OTHER, source=FROM):
    said = Say(conversation, id16(n), 500 + n, body)
    return store.messages.add_incoming(peer, [said], 1000 + n, None, source).addCallback(lambda became: became[0])


def offer_of_eve(store, n: int, title: str):
    about = (OTHER, chat_with(EVE), EVE, id16(n), MessageKind.FILE, 1000 + n, 1000 + n, title, MessageState.RECEIVED)
    return store.messages.add_file_row(NewMessage(*about), FROM)


@pytest_twisted.ensureDeferred
async def test_a_summary_has_sums_and_a_first_line(database, store) -> None:
    await ask(store, 1, "let me in")
    await ask(store, 2, "pl\N{LATIN SMALL LETTER E WITH ACUTE}ase")
    await offer_of_eve(store, 3, "a.txt")
    await hear(store, 4)
    for present in (store, await again(database)):
        found = await present.requests.summary(10)
        assert (found.rest, found.rest_bytes) == (0, 0)
        (eve,) = found.latest
        assert eve[:5] == (EVE, "192.0.2.7", "eve", 2, 1)
        assert eve.bytes == request_bytes(9) + request_bytes(7) + request_bytes(5)
        assert eve[6:] == ("let me in", 1001, 1003, 3, 0, 3)
        assert [row.chat for row in await present.conversations.all()] == [chat_with(BOB)]


@pytest_twisted.ensureDeferred
async def test_a_summary_is_bounded_and_knows_the_sums_of_the_others(store) -> None:
    for n in range(5):
        await ask(store, n, "x" * n, bytes([n]) * 32, bytes([100 + n]) * 32)
    found = await store.requests.summary(2)
    assert [row.peer[0] for row in found.latest] == [4, 3]
    assert (found.rest, found.rest_bytes) == (3, sum(request_bytes(n) for n in range(3)))


@pytest_twisted.ensureDeferred
async def test_a_source_stays_where_the_first_came_from(store) -> None:
    await ask(store, 1, "one")
    await ask(store, 2, "two", source=Source("203.0.113.9", "mallory"))
    (eve,) = (await store.requests.summary(1)).latest
    assert (eve.host, eve.name) == ("192.0.2.7", "mallory")


@pytest_twisted.ensureDeferred
async def test_accepted_is_for_good(database, store) -> None:
    await ask(store, 1, "let me in")
    await store.requests.accept(chat_with(EVE))
    store = await again(database)
    assert (await store.requests.summary(1)).latest == []
    (eve,) = await store.conversations.all()
    assert (eve.chat, eve.accepted, eve.unread) == (EVE, True, 1)


@pytest_twisted.ensureDeferred
async def test_what_comes_behind_an_acceptance_is_no_request(database, store) -> None:
    await ask(store, 1, "let me in")
    accepting = store.requests.accept(chat_with(EVE))
    behind = [ask(store, 2, "please"), offer_of_eve(store, 3, "a.txt")]  # they wait for their turn
    await accepting
    for stored in behind:
        await stored
    store = await again(database)
    assert (await store.requests.summary(1)).latest == []
    (eve,) = await store.conversations.all()
    assert (eve.chat, eve.accepted, eve.unread) == (EVE, True, 3)


@pytest_twisted.ensureDeferred
async def test_who_was_accepted_is_a_person_whatever_row_is_left_of_the_request(database, store) -> None:
    await ask(store, 1, "let me in")
    await database.run(lambda c: c.execute("UPDATE conversation SET accepted = 1"))
    assert [row.chat for row in await store.conversations.all()] == [chat_with(EVE)]
    await store.requests.delete([EVE])
    assert len((await store.messages.history(EVE, None, 10))[0]) == 1


@pytest_twisted.ensureDeferred
async def test_what_is_deleted_is_found_no_more_and_its_numbers_are_not_given_again(database, store) -> None:
    await hear(store, 1, "apples of bob")
    await ask(store, 2, "apples of eve")
    assert len((await store.search.find(understand_query("apples"))).rows) == 2
    await ask(store, 3, "more apples of eve, not in the index yet")
    await offer_of_eve(store, 4, "apples.txt")
    await store.requests.delete([EVE])
    store = await again(database)
    assert (await store.requests.summary(1)).latest == []
    assert await store.messages.history(EVE, None, 10) == ([], False)
    (row,) = (await store.search.find(understand_query("apples"))).rows
    assert row.sender == BOB
    assert (await hear(store, 5, "pears")).message.n == 5
    assert [row.n for row in (await store.search.find(understand_query("pears"))).rows] == [5]
    left = await database.read(lambda c: c.execute("SELECT count(*) FROM conversation").fetchone())
    assert left == (1,)


@pytest_twisted.ensureDeferred
async def test_they_may_come_again(store) -> None:
    await ask(store, 1, "let me in")
    await store.requests.delete([EVE])
    assert (await ask(store, 1, "let me in")).outcome == "stored"
    assert len((await store.requests.summary(1)).latest) == 1


@pytest_twisted.ensureDeferred
async def test_known_people_are_never_deleted(store) -> None:
    await hear(store, 1)
    await say(store, 2)
    await ask(store, 3, "from bob, who was a stranger", BOB, TALK)
    await store.requests.accept(chat_with(BOB))
    await store.requests.delete([BOB])
    assert len((await store.messages.history(BOB, None, 10))[0]) == 3


@pytest_twisted.ensureDeferred
async def test_all_strangers_are_known_and_deleted_one_by_one(store) -> None:
    for n in range(5):
        await ask(store, n, "x", bytes([n]) * 32, bytes([100 + n]) * 32)
    assert sorted(peer[0] for peer in await store.requests.peers()) == [0, 1, 2, 3, 4]
    await store.requests.delete([bytes([n]) * 32 for n in range(4)])
    assert [row.peer[0] for row in (await store.requests.summary(9)).latest] == [4]


@pytest_twisted.ensureDeferred
async def test_a_block_deletes_in_the_same_commit(database, store) -> None:
    await ask(store, 1, "let me in")
    await store.pins.set_blocked(EVE, True, 5, is_requester=True)
    store = await again(database)
    assert await store.pins.blocked() == {EVE}
    assert (await store.requests.summary(1)).latest == []
    assert (await store.messages.history(EVE, None, 10))[0] == []


@pytest_twisted.ensureDeferred
async def test_a_block_of_somebody_listed_keeps_what_was_shown(store) -> None:
    await ask(store, 1, "hello")
    await store.pins.set_blocked(EVE, True, 5)
    assert (await store.requests.summary(1)).latest == []
    assert len((await store.messages.history(EVE, None, 10))[0]) == 1


@pytest_twisted.ensureDeferred
async def test_what_is_kept_of_a_blocked_requester_is_a_request_when_the_block_ends(database, store) -> None:
    await ask(store, 1, "hello")
    await store.pins.set_blocked(EVE, True, 5)
    made = await store.pins.set_blocked(EVE, False, 6, is_requester=True)
    store = await again(database)
    assert (await store.requests.summary(9)).latest == [made]
    assert made[:5] == (EVE, "", "", 1, 0)
    await store.requests.delete([EVE])
    assert (await store.messages.history(EVE, None, 10))[0] == []


@pytest.mark.parametrize("kept", ["nothing", "accepted"])
@pytest_twisted.ensureDeferred
async def test_no_request_is_made_when_the_block_ends(store, kept: str) -> None:
    if kept == "accepted":
        await ask(store, 1, "hello")
        await store.requests.accept(chat_with(EVE))
    await store.pins.set_blocked(EVE, True, 5)
    assert await store.pins.set_blocked(EVE, False, 6, is_requester=True) is None
    assert (await store.requests.summary(9)).latest == []


@pytest_twisted.ensureDeferred
async def test_free_bytes_are_those_of_the_disk(store) -> None:
    assert (await store.free_bytes()) > 0


@pytest_twisted.ensureDeferred
async def test_an_upgrade_makes_requests_of_those_who_never_stood_in_a_list(tmp_path) -> None:
    from twisted.internet import reactor

    old = Database(tmp_path / "old.db", MIGRATIONS[:BEFORE], reactor)
    await old.open()
    wanda, mine, sid, tom = b"w" * 32, b"m" * 32, b"s" * 32, b"t" * 32
    nora = b"n" * 32  # who never said anything

    def fill(connection) -> None:
        rows = [(BOB, BOB), (EVE, EVE), (wanda, wanda), (wanda, mine), (sid, sid), (tom, tom)]
        for number, (peer, sender) in enumerate(rows):
            conversation = peer[::-1] + b"-"
            connection.execute(
                "INSERT OR IGNORE INTO conversation (conversation, chat) VALUES (?, ?)", (conversation, peer)
            )
            connection.execute(
                "INSERT INTO history (conversation, chat, sender, id, kind, sent_ms, stored_ms, body, state)"
                " VALUES (?, ?, ?, ?, 'text', 1, 1, 'hi', 'received')",
                (conversation, peer, sender, id16(number)),
            )
        connection.execute("INSERT INTO conversation (conversation, chat) VALUES (x'00', ?)", (nora,))
        connection.execute("INSERT INTO pin (name, peer, first_ms, current) VALUES ('bob', ?, 1, 1)", (BOB,))
        connection.execute("INSERT INTO block VALUES (?, 1)", (sid,))
        connection.execute(
            "INSERT INTO transfer (peer, fid, outgoing, title, total_files, total_bytes, state, code, reason, saved_to,"
            " offered_ms) VALUES (?, x'00', 0, 'a', 1, 1, 'paused', '', '', x'', 1)",
            (tom,),
        )

    await old.run(fill)
    await old.close()
    database = Database(tmp_path / "old.db", MIGRATIONS, reactor)
    await database.open()
    store = PeerStore(database)
    assert {row.chat: row.accepted for row in await store.conversations.all()} == {
        BOB: True,
        wanda: False,
        sid: False,
        tom: True,
        nora: False,
    }
    assert [row.peer for row in (await store.requests.summary(9)).latest] == [EVE]
    await database.close()
