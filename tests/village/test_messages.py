"""Messages between villagers: in order, exactly once, whoever was away, whatever crossed."""

from __future__ import annotations

import os

import pytest
import pytest_twisted

from chatnet.core.errors import LocalError
from chatnet.core.events import MessageState, RegistryPhase
from chatnet.core.identity import conversation_of
from chatnet.core.limits import RegistryLimits
from chatnet.core.messages import Say
from tests.support.village import Village, Villager

DELIVERED = MessageState.DELIVERED


async def befriend(village: Village, one: Villager, other: Villager, word: str = "hello") -> None:
    """Both know each other's key, and have a link; the other one takes more of the first."""
    await village.done(one.door.say(other.chat, word))
    await village.until(lambda: word in other.texts(one.peer) and one.states(other.peer) == [DELIVERED])
    other.node.people.accept(one.peer)


@pytest_twisted.ensureDeferred
async def test_the_first_words_to_somebody_stay_in_order(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    words = [f"word {number}" for number in range(10)]
    for word in words:
        ann.door.say(bob.chat, word)
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED] * 10)
    assert bob.texts(ann.peer) == words
    assert ann.texts(bob.peer) == words


@pytest_twisted.ensureDeferred
async def test_both_ways_in_order_and_exactly_once(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await befriend(village, ann, bob)
    await befriend(village, bob, ann, "hi")
    there, back = [f"there {i}" for i in range(150)], [f"back {i}" for i in range(150)]
    for one, other in zip(there, back, strict=True):
        ann.door.say(bob.chat, one)
        bob.door.say(ann.chat, other)
    await village.until(lambda: ann.states(bob.peer) == bob.states(ann.peer) == [DELIVERED] * 151, within=30)
    assert [m.body for m in bob.added if not m.mine] == ["hello", *there]
    assert [m.body for m in ann.added if not m.mine] == ["hi", *back]
    page = await village.done(bob.door.history(ann.chat, limit=200))
    assert len(page.messages) == 200
    assert page.more


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_said(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    for peer, body, code in (
        (bob.peer, " \n", "empty"),
        (bob.peer, "é" * 8193, "too-long"),
        (bytes(32), "x", "unknown-peer"),
    ):
        with pytest.raises(LocalError) as refusal:
            await village.done(ann.door.say(peer, body))
        assert refusal.value.code == code
    assert ann.added == []


@pytest_twisted.ensureDeferred
async def test_dials_that_cross_settle_on_one_link(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    rounds = 25
    for number in range(rounds):
        ann.door.say(bob.chat, f"ann {number}")
        bob.door.say(ann.chat, f"bob {number}")
        await village.until(lambda n=number: len(ann.texts(bob.peer)) == len(bob.texts(ann.peer)) == 2 * n + 2)
        await village.until(
            lambda n=number: ann.states(bob.peer) == bob.states(ann.peer) == [DELIVERED] * (n + 1), within=60
        )
        await village.until(lambda: len(village.net.lines(ann.machine.host, bob.machine.host)) == 1)
        (of_ann,), (of_bob,) = ann.node.links.links.values(), bob.node.links.links.values()
        assert of_ann.dialled is not of_bob.dialled
        village.net.cut(ann.machine.host, bob.machine.host)
        await village.until(lambda: not ann.node.links.links and not bob.node.links.links)
    assert [m.body for m in bob.added if not m.mine] == [f"ann {n}" for n in range(rounds)]
    assert [m.body for m in ann.added if not m.mine] == [f"bob {n}" for n in range(rounds)]


@pytest_twisted.ensureDeferred
async def test_a_link_that_breaks_loses_and_doubles_nothing(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await befriend(village, ann, bob)
    said = []
    for number in range(60):
        said.append(f"line {number}")
        ann.door.say(bob.chat, said[-1])
        if number % 7 == 3:
            await village.until(lambda: ann.node.links.links, within=60)
            village.net.cut(ann.machine.host, bob.machine.host)
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED] * 61, within=120)
    assert [m.body for m in bob.added] == ["hello", *said]


@pytest_twisted.ensureDeferred
async def test_what_waits_goes_out_when_the_other_is_back(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await befriend(village, ann, bob)
    key = bob.peer
    await bob.stop()
    await village.until(lambda: ann.online == set())
    await village.done(ann.door.say(key, "for later"))
    await village.pass_time(3600, step=5)
    assert ann.states(key) == [DELIVERED, MessageState.WAITING]
    assert ann.people[key].waiting == 1
    bob.start()
    await village.until(lambda: ann.states(key) == [DELIVERED] * 2, within=15)
    assert bob.texts(ann.peer) == ["for later"]
    await village.until(lambda: ann.people[key].waiting == 0)


@pytest_twisted.ensureDeferred
async def test_what_waits_outlives_a_restart_of_the_sender(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await befriend(village, ann, bob)
    key = bob.peer
    await bob.stop()
    await village.until(lambda: ann.online == set())
    await village.done(ann.door.say(key, "for later"))
    await ann.stop()
    ann.start()
    await village.until(lambda: key in ann.people and ann.people[key].waiting == 1)
    bob.start()
    await village.until(lambda: bob.texts(ann.peer) == ["for later"], within=15)
    page = await village.done(ann.door.history(key))
    await village.until(lambda: ann.people[key].waiting == 0)
    assert [row.body for row in page.messages] == ["hello", "for later"]


@pytest_twisted.ensureDeferred
async def test_without_the_registry_the_last_list_leads_to_the_others(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await befriend(village, ann, bob)
    key = bob.peer
    await ann.stop()
    await village.shut_registry()
    ann.start()
    await village.until(lambda: ann.phase is RegistryPhase.LOST)
    assert ann.online == set()  # nobody says that bob is here
    assert ann.people[key].last_seen_ms is not None
    await village.done(ann.door.say(key, "by the last list"))
    await village.until(lambda: ann.states(key) == [DELIVERED], within=15)
    await bob.stop()
    await village.done(ann.door.say(key, "while nobody is there"))
    await village.pass_time(10)
    assert ann.states(key) == [DELIVERED, MessageState.WAITING]
    bob.start()
    await village.until(lambda: ann.states(key) == [DELIVERED] * 2, within=90)
    assert bob.texts(ann.peer) == ["while nobody is there"]


@pytest.mark.parametrize("has_left", [False, True])
@pytest_twisted.ensureDeferred
async def test_what_waits_is_dialled_for_at_the_start_without_a_registry(village: Village, has_left: bool) -> None:
    ann, bob = await village.people("ann", "bob")
    await befriend(village, ann, bob)
    key = bob.peer
    if not has_left:
        await village.shut_registry()
    await bob.stop()
    if has_left:
        await village.until(lambda: ann.online == set())
        await village.shut_registry()
    await village.done(ann.door.say(key, "for later"))
    await ann.stop()
    bob.start()
    await village.until(lambda: bob.phase is RegistryPhase.LOST)
    ann.start()
    await village.until(lambda: ann.phase is RegistryPhase.LOST)
    await village.until(lambda: bob.texts(ann.peer) == ["for later"], within=15)
    assert (ann.online, bob.online) == ({"bob"}, {"ann"})  # by the link


@pytest_twisted.ensureDeferred
async def test_who_left_while_the_registry_was_away_is_not_online_at_the_start(village: Village) -> None:
    ann, bob, carol = await village.people("ann", "bob", "carol")
    await village.shut_registry()
    await carol.stop()
    await ann.stop()
    ann.start()
    await village.until(lambda: ann.phase is RegistryPhase.LOST)
    await village.pass_time(60)
    assert ann.online == set()
    assert sorted(person.name for person in ann.people.values()) == ["bob", "carol"]
    village.open_registry()
    await village.until(lambda: ann.phase is bob.phase is RegistryPhase.UP, within=60)
    grace = RegistryLimits().grace_seconds
    await village.until(lambda: ann.online == {"bob"}, within=grace + 5, step=0.5)


@pytest_twisted.ensureDeferred
async def test_an_idle_link_is_put_down_and_comes_back_for_the_next_message(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await befriend(village, ann, bob)
    await village.pass_time(500, step=1)
    assert ann.people[bob.peer].linked
    await village.pass_time(110, step=1)
    assert not ann.people[bob.peer].linked
    assert not bob.people[ann.peer].linked
    assert ann.online == {"bob"}
    assert not village.net.lines(ann.machine.host, bob.machine.host)
    await village.done(bob.door.say(ann.chat, "still there?"))
    await village.until(lambda: ann.texts(bob.peer) == ["hello", "still there?"], within=5)
    await village.until(lambda: ann.people[bob.peer].linked and bob.people[ann.peer].linked)


@pytest_twisted.ensureDeferred
async def test_a_peer_that_stops_reading_gets_it_once_he_goes_on(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await befriend(village, ann, bob)
    village.freeze(bob)
    key, host = bob.peer, bob.machine.host
    await village.done(ann.door.say(key, "are you there?"))
    await village.pass_time(80)
    assert ann.online == set()
    assert ann.states(key) == [DELIVERED, MessageState.WAITING]
    village.thaw(host)
    await village.until(lambda: ann.states(key) == [DELIVERED] * 2, within=60)
    assert bob.texts(ann.peer) == ["hello", "are you there?"]


@pytest_twisted.ensureDeferred
async def test_a_message_for_another_conversation_is_not_taken(village: Village) -> None:
    ann, mallory, carol = await village.people("ann", "mallory", "carol")
    await befriend(village, mallory, ann)
    link = mallory.node.links.links[ann.peer]
    wrong = conversation_of(ann.peer, carol.peer)
    await village.done(mallory.door.say(ann.chat, "a"))
    link.send(Say(wrong, os.urandom(16), 0, "as if from carol"))
    await village.done(mallory.door.say(ann.chat, "b"))
    await village.until(lambda: ann.texts(mallory.peer) == ["hello", "a", "b"])
    assert ann.texts(carol.peer) == []
    assert link.is_open


@pytest_twisted.ensureDeferred
async def test_one_id_with_two_texts_is_refused_and_the_first_stays(village: Village) -> None:
    village.dishonest = True
    ann, mallory = await village.people("ann", "mallory")
    await befriend(village, mallory, ann)
    (row,) = mallory.rows.values()
    link = mallory.node.links.links[ann.peer]
    link.send(Say(conversation_of(ann.peer, mallory.peer), row.id, row.sent_ms, "hello, changed"))
    link.send(Say(conversation_of(ann.peer, mallory.peer), row.id, row.sent_ms, "hello"))
    await village.done(mallory.door.say(ann.chat, "next"))
    await village.until(lambda: ann.texts(mallory.peer) == ["hello", "next"])
    assert link.is_open
    page = await village.done(ann.door.history(mallory.chat))
    assert [row.body for row in page.messages] == ["hello", "next"]


@pytest_twisted.ensureDeferred
async def test_every_row_tells_its_chat_and_who_wrote_it(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await befriend(village, ann, bob)
    await village.done(bob.door.say(ann.chat, "hi"))
    await village.until(lambda: ann.texts(bob.peer) == ["hello", "hi"])
    for one, other in ((ann, bob), (bob, ann)):
        told = [(row.chat, row.sender, row.mine) for _, row in sorted(one.rows.items())]
        page = await village.done(one.door.history(other.chat))
        assert told == [(row.chat, row.sender, row.mine) for row in page.messages]
        assert told == [(other.peer, ann.peer, one is ann), (other.peer, bob.peer, one is bob)]
