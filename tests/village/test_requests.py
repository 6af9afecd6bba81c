"""What strangers send first: kept apart, bounded, answered by a person."""

from __future__ import annotations

import os

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from chatnet.core.budgets import Level
from chatnet.core.errors import LocalError
from chatnet.core.events import MessageState, RegistryPhase, TransferState
from chatnet.core.identity import grouped_text, short_text
from chatnet.core.limits import PeerLimits
from tests.support.village import Village, Villager

DELIVERED = MessageState.DELIVERED


def limits(*changes: str) -> PeerLimits:
    some = PeerLimits()
    for change in changes:
        some = some.changed(change)
    return some


async def say_all(village: Village, one: Villager, other: Villager, count: int) -> list[str]:
    texts = [f"message {number}" for number in range(count)]
    for text in texts:
        await village.done(one.door.say(other.chat, text))
    return texts


def delivered(one: Villager, other: Villager) -> int:
    return one.states(other.peer).count(DELIVERED)


async def found(village: Village, one: Villager, text: str) -> list[str]:
    return [row.body for row in (await village.done(one.door.search(text))).messages]


@pytest_twisted.ensureDeferred
async def test_a_stranger_makes_a_request_and_nothing_else_that_is_told(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await village.done(eve.door.say(bob.chat, "let me in\nplease"))
    await village.until(lambda: bob.requests)
    (request,) = bob.requests
    assert (request.peer, request.key, request.name) == (eve.peer, grouped_text(eve.peer), "eve")
    assert (request.messages, request.offers, request.more) == (1, 0, False)
    assert request.first_line.startswith("let me in")
    assert request.first_ms == request.last_ms > 0
    await village.until(lambda: delivered(eve, bob) == 1)
    await village.settle()
    assert (bob.people, bob.added, bob.transfers) == ({}, [], {})
    page = await village.done(bob.door.history(eve.chat))
    assert [row.body for row in page.messages] == ["let me in\nplease"]


@pytest_twisted.ensureDeferred
async def test_the_21st_message_waits_at_its_sender_and_comes_once_somebody_accepts(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    texts = await say_all(village, eve, bob, 25)
    await village.until(lambda: bob.requests and bob.requests[0].more)
    await village.until(lambda: eve.people[bob.peer].waiting_code == "unanswered")
    await village.until(lambda: delivered(eve, bob) == 20, within=100)
    await village.pass_time(200)
    assert bob.requests[0].messages == 20
    assert delivered(eve, bob) == 20
    await village.done(bob.door.accept_request(eve.peer))
    await village.until(lambda: bob.texts(eve.peer) == texts, within=100)
    await village.until(lambda: delivered(eve, bob) == 25)
    assert bob.requests == ()
    assert bob.people[eve.peer].name == f"?{short_text(eve.peer)}"
    assert bob.people[eve.peer].unread == 25
    assert [budget.held() for budget in (bob.node.budgets.requests, bob.node.budgets.requesters)] == [0, 0]
    # It is for good.
    await bob.stop()
    bob.start()
    await village.until(lambda: eve.peer in bob.people)
    assert bob.people[eve.peer].unread == 25
    assert bob.requests == ()
    texts += [f"more {number}" for number in range(30)]
    for text in texts[25:]:
        await village.done(eve.door.say(bob.chat, text))
    await village.until(lambda: delivered(eve, bob) == 55, within=200)


@pytest_twisted.ensureDeferred
async def test_who_writes_while_they_are_accepted_is_a_person_after_a_restart(village: Village, monkeypatch) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await village.done(eve.door.say(bob.chat, "let me in"))
    await village.until(lambda: delivered(eve, bob) == 1)
    rows = bob.node.store.messages
    real, accepting = rows.add_incoming, []

    def add_behind(*arguments: object) -> object:
        accepting.append(bob.door.accept_request(eve.peer))
        return real(*arguments)

    monkeypatch.setattr(rows, "add_incoming", add_behind)
    await village.done(eve.door.say(bob.chat, "please"))
    await village.until(lambda: accepting)
    monkeypatch.undo()
    await village.done(accepting[0])
    await village.until(lambda: bob.texts(eve.peer) == ["let me in", "please"])
    await bob.stop()
    bob.start()
    await village.until(lambda: eve.peer in bob.people)
    assert bob.requests == ()
    assert bob.people[eve.peer].unread == 2


@pytest_twisted.ensureDeferred
async def test_who_is_accepted_stays_a_person_if_the_link_ends_meanwhile(village: Village, monkeypatch) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await village.done(eve.door.say(bob.chat, "let me in"))
    await village.until(lambda: delivered(eve, bob) == 1)
    rows, peer = bob.node.store.messages, eve.peer
    real, waiting = rows.history, []

    def late(*arguments: object) -> Deferred:
        waiting.append(Deferred().addCallback(lambda _: real(*arguments)))
        return waiting[-1]

    monkeypatch.setattr(rows, "history", late)
    accepting = bob.door.accept_request(peer)
    await village.until(lambda: waiting)
    await eve.stop()
    await village.until(lambda: not bob.node.links.links)
    await village.settle()
    waiting[0].callback(None)
    await village.done(accepting)
    await village.until(lambda: bob.texts(peer) == ["let me in"] and peer in bob.people)
    assert not bob.node.roster.is_stranger(peer)
    assert bob.people[peer].unread == 1


@pytest_twisted.ensureDeferred
async def test_who_has_no_room_waits_until_the_requests_are_cleared(village: Village) -> None:
    bob = village.villager("bob", limits=limits("requesters.strangers=2")).start()
    strangers = [await village.stranger(name, bob) for name in ("eve", "mallory", "trudy")]
    for one in strangers:
        await village.done(one.door.say(bob.chat, f"I am {one.name}"))
    eve, mallory, trudy = strangers
    await village.until(lambda: len(bob.requests) == 2)
    await village.until(lambda: trudy.people[bob.peer].waiting_code == "busy")
    assert [request.peer for request in bob.requests] == [eve.peer, mallory.peer]
    await village.done(bob.door.clear_requests())
    await village.until(lambda: bob.requests == ())
    assert await found(village, bob, "I am") == []
    await village.until(lambda: [request.peer for request in bob.requests] == [trudy.peer], within=100)
    await village.until(lambda: delivered(trudy, bob) == 1)


@pytest_twisted.ensureDeferred
async def test_as_many_are_loaded_as_the_budget_has_and_who_is_listed_by_now_is_not_cleared(village: Village) -> None:
    (bob,) = await village.people("bob")
    strangers = [await village.stranger(name, bob) for name in ("eve", "mallory", "trudy")]
    for one in strangers:
        await village.done(one.door.say(bob.chat, f"I am {one.name}"))
        await village.until(lambda one=one: delivered(one, bob) == 1)
    eve, _, trudy = strangers
    await bob.stop()
    bob.limits = limits("requesters.all=1")
    bob.start()
    await village.until(lambda: bob.phase is RegistryPhase.UP)
    assert [request.peer for request in bob.requests] == [trudy.peer]
    await eve.stop()
    eve.registry = bob.registry
    eve.start()
    await village.until(lambda: bob.online == {"eve"})
    await village.done(bob.door.clear_requests())
    await village.until(lambda: bob.requests == ())
    assert await found(village, bob, "I am") == ["I am eve"]


@pytest_twisted.ensureDeferred
async def test_one_network_has_a_share_also_after_a_restart(village: Village) -> None:
    limited = limits("requesters.address=1", "loopback=counted")  # a /24 has twice as much
    bob = village.villager("bob", limits=limited).start()
    strangers = [await village.stranger(name, bob) for name in ("eve", "mallory", "trudy")]
    for one in strangers[:2]:
        await village.done(one.door.say(bob.chat, "hello"))
        await village.until(lambda one=one: delivered(one, bob) == 1)
    await bob.stop()
    bob.start()
    await village.until(lambda: len(bob.requests) == 2)
    assert bob.node.budgets.requesters.fullest(Level.NETWORK) == 2
    trudy = strangers[2]
    await village.done(trudy.door.say(bob.chat, "hello"))
    await village.until(lambda: bob.node.budgets.requesters.refused["network"] > 0)
    await village.until(lambda: trudy.people[bob.peer].waiting_code == "busy")


@pytest_twisted.ensureDeferred
async def test_requests_are_there_after_a_restart_and_still_counted(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await say_all(village, eve, bob, 19)
    await village.until(lambda: delivered(eve, bob) == 19)
    before = bob.requests
    await bob.stop()
    bob.start()
    await village.until(lambda: bob.phase is not None and bob.requests)
    assert bob.requests == before
    assert bob.node.budgets.requests.held(Level.KEY, eve.peer) == 19
    assert bob.node.budgets.request_bytes.held() == before[0].bytes
    assert bob.people == {}
    for _ in range(2):
        await village.done(eve.door.say(bob.chat, "again"))
    await village.until(lambda: delivered(eve, bob) == 20, within=100)
    await village.until(lambda: bob.requests[0].more, within=100)


@pytest_twisted.ensureDeferred
async def test_who_is_refused_is_not_told_and_may_come_again(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await village.done(eve.door.say(bob.chat, "let me in"))
    await village.until(lambda: delivered(eve, bob) == 1)
    assert await found(village, bob, "let me") == ["let me in"]
    await village.done(bob.door.refuse_request(eve.peer))
    await village.until(lambda: bob.requests == ())
    assert await found(village, bob, "let me") == []
    assert (await village.done(bob.door.history(eve.chat))).messages == ()
    assert bob.node.budgets.requests.held() == 0
    with pytest.raises(LocalError) as refusal:
        await village.done(bob.door.refuse_request(eve.peer))
    assert refusal.value.code == "no-request"
    assert eve.states(bob.peer) == [DELIVERED]
    await village.done(eve.door.say(bob.chat, "please"))
    await village.until(lambda: [request.first_line for request in bob.requests] == ["please"])


@pytest_twisted.ensureDeferred
async def test_a_block_frees_what_was_held_and_can_be_ended(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await village.done(eve.door.say(bob.chat, "let me in"))
    await village.until(lambda: bob.requests)
    await village.done(bob.door.block(eve.peer, True))
    await village.until(lambda: bob.requests == () and bob.people[eve.peer].blocked)
    assert bob.node.budgets.requests.held() == 0
    assert (await village.done(bob.door.history(eve.chat))).messages == ()
    await village.done(eve.door.say(bob.chat, "really"))
    await village.until(lambda: eve.states(bob.peer)[-1] is MessageState.REFUSED)
    await village.done(bob.door.block(eve.peer, False))
    await village.until(lambda: bob.people == {})
    await village.done(eve.door.say(bob.chat, "sorry"))
    await village.until(lambda: bob.requests)


@pytest_twisted.ensureDeferred
async def test_what_an_older_version_kept_of_a_blocked_stranger_is_a_request_once_the_block_ends(
    village: Village,
) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await village.done(eve.door.say(bob.chat, "let me in"))
    await village.until(lambda: delivered(eve, bob) == 1)
    await village.done(bob.node.store.pins.set_blocked(eve.peer, True, 5))
    await bob.stop()
    bob.start()
    await village.until(lambda: eve.peer in bob.people and bob.people[eve.peer].blocked)
    assert bob.requests == ()
    await village.done(bob.door.block(eve.peer, False))
    await village.until(lambda: [request.first_line for request in bob.requests] == ["let me in"])
    await village.until(lambda: bob.people == {})
    assert bob.node.budgets.requests.held(Level.KEY, eve.peer) == 1
    await village.done(bob.door.block(eve.peer, False))
    assert bob.node.budgets.requests.held(Level.KEY, eve.peer) == 1
    await village.done(bob.door.clear_requests())
    await village.until(lambda: bob.requests == ())
    assert await found(village, bob, "let me in") == []
    assert bob.node.budgets.requests.held() == 0


@pytest_twisted.ensureDeferred
async def test_below_the_reserve_of_the_disk_only_known_people_are_read(village: Village) -> None:
    bob = village.villager("bob", limits=limits("free_bytes_reserve=1000000000000000000")).start()
    ann = village.villager("ann").start()
    await village.until(lambda: bob.online == {"ann"} and ann.online == {"bob"})
    eve = await village.stranger("eve", bob)
    await village.done(bob.door.say(ann.chat, "hello ann"))
    await village.done(ann.door.say(bob.chat, "hello bob"))
    await village.done(eve.door.say(bob.chat, "let me in"))
    await village.until(lambda: "hello bob" in bob.texts(ann.peer))
    await village.until(lambda: eve.people[bob.peer].waiting_code == "store")
    assert bob.requests == ()
    assert delivered(eve, bob) == 0
    assert bob.node.budgets.requests.held() == 0
    waiting = await offered(village, eve, bob)  # behind the message: nothing of a stranger is read
    mia = await village.stranger("mia", bob)
    fid = await offered(village, mia, bob)
    await village.until(lambda: mia.transfers[fid].state is TransferState.DECLINED)
    assert mia.transfers[fid].code == "store"
    assert eve.transfers[waiting].state is TransferState.WAITING
    assert bob.node.budgets.requests.held() == 0


@pytest_twisted.ensureDeferred
async def test_known_people_are_not_counted(village: Village) -> None:
    (bob, ann) = await village.people("bob", "ann")
    await village.done(bob.door.say(ann.chat, "write as much as you like"))
    await village.until(lambda: ann.added)
    await say_all(village, ann, bob, 60)
    await village.until(lambda: delivered(ann, bob) == 60)
    assert bob.node.budgets.requests.held() == 0


@pytest_twisted.ensureDeferred
async def test_somebody_of_the_list_is_shown_at_once_and_counted_until_answered(village: Village) -> None:
    bob, ann = await village.people("bob", "ann")
    texts = await say_all(village, ann, bob, 22)
    await village.until(lambda: ann.people[bob.peer].waiting_code == "unanswered")
    await village.until(lambda: delivered(ann, bob) == 20, within=100)
    assert bob.requests == ()
    assert bob.people[ann.peer].unread == 20
    assert bob.people[ann.peer].more_waits
    assert bob.texts(ann.peer) == texts[:20]
    assert bob.node.budgets.requests.held(Level.KEY, ann.peer) == 20
    await bob.stop()
    bob.start()
    await village.until(lambda: ann.peer in bob.people and bob.people[ann.peer].unread == 20)
    assert bob.node.budgets.requests.held(Level.KEY, ann.peer) == 20
    await village.done(bob.door.say(ann.chat, "I am back"))
    await village.until(lambda: delivered(ann, bob) == 22, within=100)
    assert not bob.people[ann.peer].more_waits
    assert bob.node.budgets.requests.held() == 0


@pytest.mark.parametrize("deed", ["accept", "write"])
@pytest.mark.parametrize("order", ["before", "behind"])
@pytest_twisted.ensureDeferred
async def test_what_is_stored_just_before_or_behind_a_decision_is_told_once(
    village: Village, monkeypatch, deed: str, order: str
) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await village.done(eve.door.say(bob.chat, "let me in"))
    await village.until(lambda: delivered(eve, bob) == 1)
    rows, door, chat, deciding = bob.node.store.messages, bob.door, eve.chat, []
    real = rows.add_incoming

    def decide() -> None:
        deciding.append(door.accept_request(chat) if deed == "accept" else door.say(chat, "who are you?"))

    def meanwhile(*arguments: object) -> object:
        if order == "behind":
            decide()
        storing = real(*arguments)
        if order == "before":
            decide()
        return storing

    monkeypatch.setattr(rows, "add_incoming", meanwhile)
    await village.done(eve.door.say(bob.chat, "please"))
    await village.until(lambda: deciding)
    monkeypatch.undo()
    await village.done(deciding[0])
    await village.pass_time(1)
    assert sorted(row.body for row in bob.added if not row.mine) == ["let me in", "please"]
    assert bob.people[eve.peer].unread == 2


@pytest.mark.parametrize("happens", ["a list comes", "bob writes"])
@pytest_twisted.ensureDeferred
async def test_what_somebody_of_the_list_sends_is_told_once(village: Village, monkeypatch, happens: str) -> None:
    bob, ann = await village.people("bob", "ann")
    rows, requests = bob.node.store.messages, bob.node.requests
    real, done = rows.add_incoming, []

    def meanwhile(*arguments: object) -> object:
        storing = real(*arguments)
        if happens == "a list comes":
            requests.list_changed({ann.peer})
        else:
            bob.node.people.accept(ann.peer)
        done.append(storing)
        return storing

    monkeypatch.setattr(rows, "add_incoming", meanwhile)
    await village.done(ann.door.say(bob.chat, "hello"))
    await village.until(lambda: done and bob.added)
    await village.pass_time(1)
    assert [row.body for row in bob.added] == ["hello"]
    assert bob.people[ann.peer].unread == 1


@pytest_twisted.ensureDeferred
async def test_a_stranger_that_comes_into_the_list_is_shown_as_a_person(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await village.done(eve.door.say(bob.chat, "not listed yet"))
    await village.until(lambda: bob.requests)
    await eve.stop()
    eve.registry = bob.registry
    eve.start()
    await village.until(lambda: bob.requests == () and bob.texts(eve.peer) == ["not listed yet"])
    await village.until(lambda: bob.people[eve.peer].unread == 1)
    assert bob.people[eve.peer].name == "eve"
    assert bob.node.budgets.requests.held(Level.KEY, eve.peer) == 1


@pytest_twisted.ensureDeferred
async def test_a_message_to_a_stranger_accepts(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await village.done(eve.door.say(bob.chat, "let me in"))
    await village.until(lambda: bob.requests)
    await village.done(bob.door.say(eve.chat, "who are you?"))
    await village.until(lambda: bob.requests == () and len(bob.texts(eve.peer)) == 2)
    assert bob.node.budgets.requests.held() == 0
    await village.until(lambda: "who are you?" in eve.texts(bob.peer))


@pytest_twisted.ensureDeferred
async def test_a_stranger_cannot_begin_to_compare_codes(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    eve.door.check_live(bob.peer).addErrback(lambda failure: failure.trap(LocalError))
    await village.until(lambda: bob.node.links.links)
    await village.pass_time(120)
    assert (bob.codes, bob.notices, bob.people) == ([], [], {})


# --- offers -----------------------------------------------------------------------------------


async def offered(village: Village, one: Villager, other: Villager) -> bytes:
    path = village.directory / "a.txt"
    path.write_bytes(bytes(1000))
    return bytes((await village.done(one.door.offer(other.chat, (os.fsencode(path),)))).fid)


@pytest_twisted.ensureDeferred
async def test_an_offer_of_a_stranger_stands_in_the_requests(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    fid = await offered(village, eve, bob)
    await village.until(lambda: bob.requests)
    (request,) = bob.requests
    assert (request.messages, request.offers, request.first_line) == (0, 1, "a.txt")
    await village.settle()
    assert (bob.transfers, bob.people, bob.added) == ({}, {}, [])
    await bob.stop()
    bob.start()
    await village.until(lambda: bob.requests == (request,))
    assert bob.transfers == {}
    assert bob.door.subscribe(lambda event: None).snapshot.transfers == ()
    await village.done(bob.door.accept_request(eve.peer))
    await village.until(lambda: fid in bob.transfers)
    assert bob.transfers[fid].state is TransferState.OFFERED
    await village.done(bob.door.accept(fid))
    await village.until(lambda: eve.transfers[fid].state is TransferState.DONE, within=60)


@pytest_twisted.ensureDeferred
async def test_an_offer_that_is_accepted_accepts_its_sender(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    fid = await offered(village, eve, bob)
    await village.until(lambda: bob.requests)
    await village.done(bob.door.accept(fid))
    await village.until(lambda: bob.requests == () and eve.peer in bob.people)
    await village.until(lambda: fid in bob.transfers and bob.transfers[fid].state is TransferState.DONE)


@pytest_twisted.ensureDeferred
async def test_a_refused_request_takes_its_offers_along(village: Village) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    fid = await offered(village, eve, bob)
    await village.until(lambda: bob.requests)
    await village.done(bob.door.refuse_request(eve.peer))
    await village.until(lambda: bob.requests == ())
    with pytest.raises(LocalError):
        await village.done(bob.door.accept(fid))
    assert await village.done(bob.node.store.transfers.find(eve.peer, fid)) is None
    assert eve.transfers[fid].state is TransferState.OFFERED


@pytest.mark.parametrize("decide", ["refuse", "clear", "block"])
@pytest.mark.parametrize("step", ["looking for space", "storing"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_left_of_an_offer_that_is_being_stored(
    village: Village, monkeypatch, decide: str, step: str
) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    await village.done(eve.door.say(bob.chat, "let me in"))
    await village.until(lambda: delivered(eve, bob) == 1)
    store, door = bob.node.store, bob.door
    owner, name = (store, "free_bytes") if step == "looking for space" else (store.transfers, "add")
    real, deciding = getattr(owner, name), []

    def meanwhile(*arguments: object) -> object:
        working = real(*arguments)
        if not deciding:
            ways = {"refuse": door.refuse_request, "block": lambda peer: door.block(peer, True)}
            deciding.append(door.clear_requests() if decide == "clear" else ways[decide](eve.peer))
        return working

    monkeypatch.setattr(owner, name, meanwhile)
    fid = await offered(village, eve, bob)
    await village.until(lambda: deciding)
    await village.done(deciding[0])
    await village.pass_time(1)
    peer, chat = eve.peer, eve.chat
    await eve.stop()
    for _ in range(2):  # also after a restart
        store = bob.node.store
        assert await village.done(store.transfers.find(peer, fid)) is None
        assert (await village.done(store.requests.summary(9))).latest == []
        assert await village.done(store.conversations.all()) == []
        assert (await village.done(bob.door.history(chat))).messages == ()
        assert (bob.requests, bob.transfers, bob.node.budgets.requests.held()) == ((), {}, 0)
        assert bob.node.budgets.offers.held() == 0
        await bob.stop()
        bob.start()
        await village.until(lambda: bob.phase is RegistryPhase.UP)


@pytest_twisted.ensureDeferred
async def test_offers_count_like_messages(village: Village) -> None:
    bob = village.villager("bob", limits=limits("requests.key=2")).start()
    eve = await village.stranger("eve", bob)
    await say_all(village, eve, bob, 1)
    await offered(village, eve, bob)
    await village.until(lambda: bob.requests and bob.requests[0].offers == 1)
    fid = await offered(village, eve, bob)
    await village.until(lambda: eve.transfers[fid].state is TransferState.DECLINED)
    assert eve.transfers[fid].code == "too-many"
