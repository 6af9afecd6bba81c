"""The last list of a registry, and signed records."""

from __future__ import annotations

import pytest_twisted

from chatnet.core.messages import ListEntry
from chatnet.core.records import Endpoint, SignedRecord
from chatnet.peer.store import peer_list
from chatnet.peer.store.peer_list import SavedList
from tests.peer.store.rows import ANOTHER, BOB, EVE, REGISTRY, again, entry


@pytest_twisted.ensureDeferred
async def test_the_list_survives_and_changes(store, database):
    assert await store.peer_list.load() == SavedList(None, b"", 0, [], [])
    assert await store.peer_list.save(REGISTRY, True, [entry(BOB, 1), entry(EVE, 1, "eve")], [], b"one", 10) == []
    await store.peer_list.save(REGISTRY, False, [entry(BOB, 2, port=2000)], [EVE, b"?" * 32], b"two", 20)
    store = await again(database)
    saved = await store.peer_list.load()
    assert saved == SavedList(REGISTRY, b"two", 20, [entry(BOB, 2, port=2000)], [(entry(EVE, 1, "eve"), 20)])


@pytest_twisted.ensureDeferred
async def test_a_new_snapshot_replaces_the_list_whatever_the_numbers_were(store):
    await store.peer_list.save(REGISTRY, True, [entry(BOB, 5), entry(EVE, 1, "eve")], [], b"one", 10)
    assert await store.peer_list.save(REGISTRY, True, [entry(BOB, 4, port=9)], [], b"two", 20) == []
    former = [(entry(EVE, 1, "eve"), 20)]
    assert await store.peer_list.load() == SavedList(REGISTRY, b"two", 20, [entry(BOB, 4, port=9)], former)
    assert await store.peer_list.save(REGISTRY, False, [entry(BOB, 5, port=9)], [], b"three", 30) == []
    assert (await store.peer_list.load()).entries == [entry(BOB, 5, port=9)]
    # Another registry's list has nothing to do with the former.
    assert await store.peer_list.save(ANOTHER, False, [entry(BOB, 1)], [], b"x", 40) == []
    assert await store.peer_list.load() == SavedList(ANOTHER, b"x", 40, [entry(BOB, 1)], former)


@pytest_twisted.ensureDeferred
async def test_who_left_is_remembered_until_they_are_back_or_their_name_is_another_s(store, monkeypatch):
    await store.peer_list.save(REGISTRY, True, [entry(BOB, 1), entry(EVE, 1, "eve")], [], b"one", 10)
    await store.peer_list.save(REGISTRY, False, [], [BOB], b"two", 20)
    await store.peer_list.save(REGISTRY, False, [], [EVE], b"three", 30)
    assert [(one.name, at) for one, at in (await store.peer_list.load()).former] == [("bob", 20), ("eve", 30)]
    await store.peer_list.save(REGISTRY, False, [entry(EVE, 2, "eve")], [], b"four", 40)
    assert [one.name for one, _ in (await store.peer_list.load()).former] == ["bob"]
    await store.peer_list.save(REGISTRY, False, [entry(b"?" * 32, 1, "bob")], [], b"five", 50)
    assert (await store.peer_list.load()).former == []
    monkeypatch.setattr(peer_list, "PEOPLE_REMEMBERED", 1)
    await store.peer_list.save(REGISTRY, False, [], [EVE], b"six", 60)
    await store.peer_list.save(REGISTRY, False, [], [b"?" * 32], b"seven", 70)
    assert [at for _, at in (await store.peer_list.load()).former] == [70]


@pytest_twisted.ensureDeferred
async def test_a_verified_record_holds_against_older_ones_and_older_entries(store):
    new, old = SignedRecord(b"k" * 32, b"new", b"s" * 64), SignedRecord(b"k" * 32, b"old", b"s" * 64)
    await store.pins.add("bob", BOB, 10)
    assert await store.peer_list.record(BOB) is None
    assert await store.peer_list.save_record(BOB, new, 7) is True
    assert await store.peer_list.save_record(BOB, old, 6) is False
    assert await store.peer_list.save_record(BOB, new, 7) is True
    assert await store.peer_list.record(BOB) == new
    assert (await store.pins.all())[0].seq == 7
    assert await store.peer_list.save(REGISTRY, True, [entry(BOB, 6)], [], b"", 10) == [BOB]
    assert (await store.peer_list.load()).entries == []


@pytest_twisted.ensureDeferred
async def test_ten_thousand_entries(store):
    entries = [ListEntry(n.to_bytes(32, "big"), f"n{n}", [Endpoint(b"\x7f\x00\x00\x01", 1)], 1) for n in range(10_000)]
    await store.peer_list.save(REGISTRY, True, entries, [], b"c", 1)
    await store.peer_list.save(REGISTRY, True, entries[1:], [], b"d", 2)
    assert (await store.peer_list.load()).entries == entries[1:]
