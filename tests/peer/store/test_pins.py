"""Whose a name is, and what goes along with a new key."""

from __future__ import annotations

import pytest_twisted
from twisted.internet.defer import gatherResults

from chatnet.core.events import MessageState
from chatnet.peer.store.pins import Pin
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


@pytest_twisted.ensureDeferred
async def test_the_first_key_of_a_name_stays_until_another_is_trusted(store, database):
    assert await store.pins.add("bob", BOB, 10) == Pin(BOB, "bob", 10, NOT, 0, True)
    assert await store.pins.add("bob", EVE, 20) == Pin(BOB, "bob", 10, NOT, 0, True)
    assert await store.pins.all() == [Pin(BOB, "bob", 10, NOT, 0, True)]
    assert await store.pins.take_key("bob", BOB, EVE, BY_NUMBER, OTHER, ME, 30, "") == ([], [])
    store = await again(database)
    assert await store.pins.all() == [
        Pin(BOB, "bob", 10, NOT, 0, False),
        Pin(EVE, "bob", 30, BY_NUMBER, 0, True),
    ]
    assert await store.pins.add("bob", BOB, 40) == Pin(EVE, "bob", 30, BY_NUMBER, 0, True)
    await store.pins.take_key("bob", EVE, BOB, NOT, TALK, ME, 50, "")
    assert [pin.current for pin in await store.pins.all()] == [True, False]


@pytest_twisted.ensureDeferred
async def test_with_a_new_key_goes_what_waited_in_its_order_once(store, database):
    await store.pins.add("bob", BOB, 10)
    await store.pins.add_unwanted_key(EVE, 15)
    for n, state in ((3, MessageState.WAITING), (1, MessageState.HELD), (2, MessageState.HELD)):
        await say(store, n, f"text {n}", state)
    await store.messages.delivered(BOB, [id16(3)])
    await hear(store, 9)
    for expected in ([1, 2], []):
        former, moved = await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, ME, 20, "to the new key")
        assert [(row.id, row.state, row.reason) for row in former] == [
            (id16(n), MessageState.REFUSED, "to the new key") for n in expected
        ]
        assert [(row.id, row.body, row.chat, row.state) for row in moved] == [
            (id16(n), f"text {n}", EVE, MessageState.WAITING) for n in expected
        ]
    store = await again(database)
    assert [row.id for row in await store.messages.outbox(EVE, 0, 10)] == [id16(1), id16(2)]
    assert await store.messages.outbox(BOB, 0, 10) == []
    assert await store.pins.unwanted_keys() == set()


@pytest_twisted.ensureDeferred
async def test_more_waits_than_one_statement_takes(store):
    await gatherResults([say(store, n) for n in range(10_050)])
    former, moved = await store.pins.take_key("bob", BOB, EVE, NOT, OTHER, ME, 20, "")
    assert [row.id for row in moved] == [row.id for row in former] == [id16(n) for n in range(10_050)]


@pytest_twisted.ensureDeferred
async def test_registry_pins(store):
    assert await store.pins.registry_pin("127.0.0.1:9900") is None
    await store.pins.pin_registry("127.0.0.1:9900", REGISTRY, 10)
    assert await store.pins.registry_pin("127.0.0.1:9900") == REGISTRY
    await store.pins.pin_registry("127.0.0.1:9900", ANOTHER, 20)
    assert await store.pins.registry_pin("127.0.0.1:9900") == ANOTHER
