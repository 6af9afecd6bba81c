"""A key that breaks the protocol is left alone for a while; its owner and the others are told."""

from __future__ import annotations

import os

import pytest_twisted

from chatnet.core.framing import frame
from chatnet.core.identity import conversation_of
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import Say
from chatnet.peer.metering import PeerMeter
from tests.support.village import Village, Villager

NOTICE = "The program of mallory broke the protocol too often. It is left alone for a minute."
SHORT = PeerLimits(strike_seconds=60)


async def strict_ann_and_mallory(village: Village) -> tuple[Villager, Villager]:
    village.dishonest = True
    ann, mallory = village.villager("ann", limits=SHORT).start(), village.villager("mallory").start()
    await village.until(lambda: ann.online == {"mallory"} and mallory.online == {"ann"})
    return ann, mallory


async def parted(village: Village, one: Villager, other: Villager) -> None:
    await village.until(lambda: not village.net.lines(one.machine.host, other.machine.host))


@pytest_twisted.ensureDeferred
async def test_one_id_with_many_texts_is_a_minute_alone(village: Village) -> None:
    ann, mallory = await strict_ann_and_mallory(village)
    meter = PeerMeter(ann.door, ann.door.budgets)
    meter.startService()
    await village.done(mallory.door.say(ann.chat, "hello"))
    await village.until(lambda: ann.texts(mallory.peer) == ["hello"])
    link, id = mallory.node.links.links[ann.peer], os.urandom(16)
    for text in ("one", "two", "three", "four", "five", "six"):
        link.send(Say(conversation_of(ann.peer, mallory.peer), id, 1, text))
    await parted(village, ann, mallory)
    assert ann.texts(mallory.peer) == ["hello", "one"]
    assert ann.notices.count(NOTICE) == 1
    await village.done(mallory.door.say(ann.chat, "let me in"))
    await village.done(ann.door.say(mallory.chat, "I hear you"))
    await village.pass_time(45)
    assert ann.texts(mallory.peer) == ["hello", "one", "I hear you"]
    assert mallory.texts(ann.peer) == ["hello", "let me in"]
    assert any("your program broke the protocol too often" in text for text in mallory.notices)
    assert any("its program broke the protocol too often" in text for text in ann.notices)
    assert next(one.value for one in meter.measures() if one.name == "peer_struck") == 1
    meter.stopService()
    await village.until(lambda: "let me in" in ann.texts(mallory.peer), within=60)
    await village.until(lambda: "I hear you" in mallory.texts(ann.peer), within=60)


@pytest_twisted.ensureDeferred
async def test_who_says_nonsense_thrice_is_not_dialled_for_a_while(village: Village) -> None:
    ann, mallory = await strict_ann_and_mallory(village)
    for number in range(3):
        await village.done(ann.door.say(mallory.chat, f"{number}"))
        await village.until(lambda: ann.peer in mallory.node.links.links)
        mallory.node.links.links[ann.peer].send_frames(frame(b"\xc1"))
        await parted(village, ann, mallory)
    assert NOTICE in ann.notices
    await village.done(ann.door.say(mallory.chat, "are you well again?"))
    await village.pass_time(45)
    assert "are you well again?" not in mallory.texts(ann.peer)
    await village.until(lambda: "are you well again?" in mallory.texts(ann.peer), within=60)
