"""What a peer counts about itself."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

import pytest_twisted

from chatnet.core.budgets import PeerBudgets
from chatnet.core.events import MessageState, TransferState
from chatnet.peer.metering import PeerMeter
from tests.support.village import Village


def numbers(meter: PeerMeter) -> dict[str, Any]:
    return {measure.name.removeprefix("peer_"): measure.value for measure in meter.measures()}


@pytest_twisted.ensureDeferred
async def test_links_messages_and_what_waits_are_counted(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    meter = PeerMeter(ann.door, ann.door.budgets)
    meter.startService()
    ann.door.say(bob.chat, "hello")
    await village.until(lambda: ann.states(bob.peer) == [MessageState.DELIVERED])
    bob.door.say(ann.chat, "hi")
    await village.until(lambda: "hi" in ann.texts(bob.peer))
    await village.settle()
    found = numbers(meter)
    assert (found["links"], found["waiting"]) == (1, 0)
    assert found["messages"] == {"in": 1, "out": 1}
    assert found["bytes"] == {"in": 2, "out": 5}
    assert found["budget_full"]["links"] == 1 / 2  # one of the two places that a key has
    assert set(found["budget_full"]) == {item.name for item in fields(PeerBudgets)}
    assert found["budget_refusals"]["links.strangers"] == 0
    assert found["transfers"] == dict.fromkeys(map(str, TransferState), 0)
    village.freeze(bob)
    ann.door.say(bob.chat, "are you there?")
    await village.until(lambda: numbers(meter)["waiting"] == 1)
    meter.stopService()
    ann.door.say(bob.chat, "no")
    await village.settle()
    assert numbers(meter)["messages"] == {"in": 1, "out": 2}


@pytest_twisted.ensureDeferred
async def test_the_bytes_of_a_file_are_counted_once_it_is_done(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    path = village.directory / "a.txt"
    path.write_bytes(bytes(1000))
    sent, received = PeerMeter(ann.door, ann.door.budgets), PeerMeter(bob.door, bob.door.budgets)
    sent.startService()
    received.startService()
    offer = await village.done(ann.door.offer(bob.chat, (os.fsencode(path),)))
    await village.until(lambda: offer.fid in bob.transfers)
    await village.settle()
    assert numbers(sent)["bytes"] == numbers(received)["bytes"] == {"in": 0, "out": 0}
    await village.done(bob.door.accept(offer.fid))
    await village.until(lambda: ann.transfers[offer.fid].state is bob.transfers[offer.fid].state is TransferState.DONE)
    await village.settle()
    assert numbers(sent)["bytes"] == {"in": 0, "out": 1000}
    assert numbers(received)["bytes"] == {"in": 1000, "out": 0}
    sent.stopService()
    received.stopService()
    again = PeerMeter(ann.door, ann.door.budgets)
    again.startService()
    assert numbers(again)["bytes"] == {"in": 0, "out": 0}
    again.stopService()
