"""Nothing waits for ever: whatever ends a link or a dial, what is unfinished is tried again (faults A)."""

from __future__ import annotations

import errno
import shutil
from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted

from chatnet.core import messages
from chatnet.core.events import MessageState, RegistryPhase
from chatnet.core.identity import chat_with
from chatnet.core.limits import PeerLimits
from chatnet.core.link_policy import DIAL_CODES, REMOTE_CODES
from chatnet.core.messages import Ack, Message
from chatnet.net import interfaces
from chatnet.net.link import Link, LinkEnd
from tests.support.village import START, Village, Villager

DELIVERED, REFUSED, WAITING = MessageState.DELIVERED, MessageState.REFUSED, MessageState.WAITING
EXPIRED = MessageState.EXPIRED
DAY_SECONDS = 86_400.0


async def said(village: Village, one: Villager, other: Villager, text: str) -> None:
    await village.done(one.door.say(chat_with(other.peer), text))
    await village.until(lambda: text in other.texts(one.peer) and one.states(other.peer)[-1] is DELIVERED)


def now(one: Villager) -> float:
    return one.machine.seconds()


# --- A1: a link that ends while something waits --------------------------------------------------


@pytest.mark.parametrize("seconds", [0.8, 3.0, 9.0, 25.0])
@pytest_twisted.ensureDeferred
async def test_a_receiver_that_stands_still_at_the_first_dial_gets_it(village: Village, seconds: float) -> None:
    """It publishes several addresses, so that several dials wait for it; all are answered at once."""
    ann, bob = village.villager("ann"), village.villager("bob")
    bob.ports = (4000, 4001, 4002)
    for one in (ann, bob):
        one.start()
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"})
    village.freeze(bob)
    await village.done(ann.door.say(chat_with(bob.peer), "are you there?"))
    await village.pass_time(seconds, step=0.1)
    village.thaw(bob.machine.host)
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED], within=60)
    assert bob.texts(ann.peer) == ["are you there?"]
    await village.pass_time(5)
    assert len(village.net.lines(ann.machine.host, bob.machine.host)) == 1


LISTED = pytest.mark.parametrize("listed", [True, False], ids=["listed", "unlisted"])


async def sent_and_unread(village: Village, listed: bool) -> tuple[Villager, Villager, Link, Link]:
    """Ann has sent a message that bob does not read; both ends of their link."""
    ann, bob = await village.people("ann", "bob")
    await said(village, ann, bob, "before")
    await village.pass_time(3)  # the registry has proven the addresses, and tells nothing more of bob
    if not listed:
        ann.node.roster.listed.discard(bob.peer)
    here, there = ann.node.links.links[bob.peer], bob.node.links.links[ann.peer]
    there.pause_reading("test")
    await village.done(ann.door.say(chat_with(bob.peer), "after"))
    await village.until(lambda: ann.states(bob.peer)[-1] is MessageState.SENT)
    return ann, bob, here, there


@LISTED
@pytest.mark.parametrize("code", [*sorted(set(REMOTE_CODES) - {"lost", "timeout", "bye"}), "full-moon"])
@pytest_twisted.ensureDeferred
async def test_whatever_code_ends_a_link_what_waits_is_delivered(village: Village, code: str, listed: bool) -> None:
    ann, bob, _, there = await sent_and_unread(village, listed)
    there.close(code, "a test")
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED] * 2, within=60)
    assert bob.texts(ann.peer) == ["before", "after"]


@LISTED
@pytest.mark.parametrize("way", ["bye", "cut", "silence", "idle", "ours"])
@pytest_twisted.ensureDeferred
async def test_however_a_link_ends_what_waits_is_delivered(village: Village, way: str, listed: bool) -> None:
    ann, bob, here, there = await sent_and_unread(village, listed)
    {
        "bye": there.leave,
        "cut": lambda: village.net.cut(ann.machine.host, bob.machine.host),
        "silence": lambda: None,
        "idle": here.leave,
        "ours": lambda: here.close(messages.REPLACED, "a test"),
    }[way]()
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED] * 2, within=60)
    assert bob.texts(ann.peer) == ["before", "after"]


@LISTED
@pytest.mark.parametrize("code", [*sorted(set(DIAL_CODES) - {"stopped", "elsewhere"}), "full-moon"])
@pytest_twisted.ensureDeferred
async def test_whatever_ends_a_dial_what_waits_is_delivered(
    village: Village, code: str, listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.pass_time(3)  # the registry has proven the addresses, and tells nothing more of bob
    if not listed:
        ann.node.roster.listed.discard(bob.peer)
    dial, failures = ann.node.links.dial_chat, [code] * 3

    async def failing(peer: Any) -> Link:
        if failures:
            raise messages_error(failures.pop())
        return await dial(peer)

    monkeypatch.setattr(ann.node.links, "dial_chat", failing)
    await village.done(ann.door.say(chat_with(bob.peer), "hello"))
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED], within=60)
    assert failures == []


def messages_error(code: str) -> Exception:
    from chatnet.core.errors import Refused, WrongKey

    return WrongKey("another key", b"") if code == "wrong-key" else Refused(code, "a test")


@pytest_twisted.ensureDeferred
async def test_the_reason_and_the_next_try_are_told(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    key = bob.peer
    village.net.gone.add(bob.machine.host)  # it stays in the list, and nothing reaches it
    await village.done(ann.door.say(chat_with(key), "hello"))
    await village.until(lambda: ann.people[key].waiting_code == "unreachable", within=20)
    next_try_ms = ann.people[key].next_try_ms
    assert next_try_ms is not None
    assert 0 < next_try_ms - (START + now(ann)) * 1000 <= 20_000
    village.net.replug(bob.machine.host)
    await village.until(lambda: ann.states(key) == [DELIVERED], within=60)
    await village.until(lambda: (ann.people[key].waiting_code, ann.people[key].next_try_ms) == ("", None))


@pytest_twisted.ensureDeferred
async def test_while_somebody_listed_is_waited_for_a_try_comes_every_twenty_seconds(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    key, tries = bob.peer, []
    village.net.gone.add(bob.machine.host)
    dial = ann.node.links.dial_chat

    async def counted(peer: Any) -> Link:
        tries.append(now(ann))
        return await dial(peer)

    ann.node.links.dial_chat = counted  # type: ignore[method-assign]
    await village.done(ann.door.say(chat_with(key), "hello"))
    await village.pass_time(70)  # before the registry misses it
    assert len(tries) >= 4
    assert max(after - before for before, after in pairwise(tries)) <= 20 + 6


@pytest_twisted.ensureDeferred
async def test_for_what_waits_no_more_nobody_is_dialled(village: Village) -> None:
    ann = village.villager("ann", limits=PeerLimits(expire_days=20 / 86_400, expire_check_seconds=5.0)).start()
    bob = village.villager("bob").start()
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"})
    key, tries = bob.peer, []
    village.net.gone.add(bob.machine.host)
    dial = ann.node.links.dial_chat

    async def counted(peer: Any) -> Link:
        tries.append(now(ann))
        return await dial(peer)

    ann.node.links.dial_chat = counted  # type: ignore[method-assign]
    await village.done(ann.door.say(chat_with(key), "hello"))
    await village.until(lambda: ann.states(key) == [EXPIRED], within=40)
    tried = len(tries)
    assert tried > 1
    await village.pass_time(30)
    assert len(tries) == tried
    assert (ann.people[key].waiting_code, ann.people[key].next_try_ms) == ("", None)


@pytest_twisted.ensureDeferred
async def test_the_safety_net_finds_what_the_rules_have_lost(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    village.needs_rescue = True
    ann.node.contacts.wake = lambda peer: None  # type: ignore[method-assign]
    ann.node.contacts.came_online = lambda peer: None  # type: ignore[method-assign]
    await village.done(ann.door.say(chat_with(bob.peer), "hello"))
    await village.pass_time(30)
    assert ann.states(bob.peer) == [WAITING]
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED], within=40)


# --- A3: the same key in two places --------------------------------------------------------------


async def two_places(village: Village) -> tuple[Villager, Villager, Villager]:
    """Carol's profile copied to a second machine, and both run; bob knows her."""
    carol, bob = await village.people("carol", "bob")
    await said(village, carol, bob, "hello")
    copy = village.villager("carol", "copy")
    await carol.stop()
    for here, there in ((carol.roots.data, copy.roots.data), (carol.roots.state, copy.roots.state)):
        shutil.copytree(here, there)
    carol.start()
    await village.until(lambda: carol.phase is RegistryPhase.UP)
    copy.start()
    return carol, copy, bob


def gave_way(one: Villager) -> bool:
    return one.state is not None and one.state.code == "elsewhere" and one.phase is RegistryPhase.REFUSED


@pytest_twisted.ensureDeferred
async def test_of_two_instances_one_gives_way_and_says_so(village: Village) -> None:
    carol, copy, bob = await two_places(village)
    await village.until(lambda: gave_way(carol) or gave_way(copy), within=180, step=0.1)
    away, here = (carol, copy) if gave_way(carol) else (copy, carol)
    await village.until(lambda: here.phase is RegistryPhase.UP, within=30)
    changes = len(carol.phases) + len(copy.phases)
    await village.pass_time(120)
    assert (gave_way(away), here.phase) == (True, RegistryPhase.UP)
    assert len(carol.phases) + len(copy.phases) == changes
    assert any("carol also runs somewhere else" in notice for notice in away.notices)
    await village.done(away.door.say(chat_with(bob.peer), "from afar"))
    await village.until(lambda: away.people[bob.peer].waiting_code == "elsewhere")
    await village.done(away.door.take_over())
    await village.until(lambda: away.phase is RegistryPhase.UP and gave_way(here), within=60, step=0.1)
    await village.until(lambda: away.states(bob.peer)[-1] is DELIVERED, within=60)
    await village.pass_time(120)
    assert (away.phase, gave_way(here)) == (RegistryPhase.UP, True)


@pytest_twisted.ensureDeferred
async def test_on_the_chat_link_too_one_instance_gives_way(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    for number in range(2):
        await said(village, ann, bob, f"hello {number}")
        (link,) = bob.node.links.links.values()
        link.close(messages.REPLACED, "another instance took its place")
        await village.until(lambda: not ann.node.links.links)
    await village.done(ann.door.say(chat_with(bob.peer), "still here?"))
    await village.until(lambda: ann.people[bob.peer].waiting_code == "elsewhere")
    await village.pass_time(130)
    assert ann.states(bob.peer)[-1] is WAITING
    assert any("ann also runs somewhere else" in notice for notice in ann.notices)
    await village.done(ann.door.take_over())
    await village.until(lambda: ann.states(bob.peer)[-1] is DELIVERED)


# --- A5: nothing is shown longer than it is known ------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_within_seconds_it_is_told_that_somebody_does_not_answer(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await said(village, ann, bob, "hello")
    await village.until(lambda: ann.people[bob.peer].rtt_ms is not None)
    village.freeze(bob)
    await village.done(ann.door.say(chat_with(bob.peer), "are you there?"))
    said_ms = (START + now(ann)) * 1000
    await village.until(lambda: ann.people[bob.peer].unanswered_since_ms is not None, within=8)
    since_ms = ann.people[bob.peer].unanswered_since_ms
    assert since_ms is not None
    assert abs(since_ms - said_ms) < 1500
    assert ann.people[bob.peer].rtt_ms is None
    await village.until(lambda: not ann.people[bob.peer].linked, within=20)
    assert ann.states(bob.peer)[-1] is WAITING
    await village.until(lambda: ann.people[bob.peer].waiting_code == "silence")
    village.thaw(bob.machine.host)
    await village.until(lambda: ann.states(bob.peer)[-1] is DELIVERED, within=60)
    await village.until(lambda: ann.people[bob.peer].unanswered_since_ms is None)


@pytest_twisted.ensureDeferred
async def test_of_a_link_that_is_only_open_it_is_told_after_its_next_ping(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await said(village, ann, bob, "hello")
    village.freeze(bob)
    await village.until(lambda: ann.people[bob.peer].unanswered_since_ms is not None, within=45, step=0.1)
    village.thaw(bob.machine.host)
    await village.until(lambda: ann.people[bob.peer].unanswered_since_ms is None, within=5)
    assert ann.people[bob.peer].linked


# --- A10: exceptions that are not ours -----------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_lack_of_descriptors_ends_no_dialling(village: Village, caplog: pytest.LogCaptureFixture) -> None:
    ann, bob = await village.people("ann", "bob")
    dial, shortage = ann.node.links.dial, [OSError(errno.EMFILE, "too many open files")] * 3

    async def short(*about: Any) -> Link:
        if shortage:
            raise shortage.pop()
        return await dial(*about)

    ann.node.links.dial = short  # type: ignore[method-assign]
    await village.done(ann.door.say(chat_with(bob.peer), "hello"))
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED], within=60)
    assert shortage == []


@pytest_twisted.ensureDeferred
async def test_a_part_that_fails_does_not_keep_the_others_from_hearing_of_a_link(village: Village) -> None:
    class Broken:
        def waits_for(self, peer: object) -> bool:
            return False

        def link_up(self, link: Link) -> None:
            raise KeyError("a defect")

        def link_down(self, link: Link, end: LinkEnd) -> None:
            raise KeyError("a defect")

    ann, bob = await village.people("ann", "bob")
    ann.node.contacts._waiters.insert(0, Broken())
    await said(village, ann, bob, "hello")
    village.net.cut(ann.machine.host, bob.machine.host)
    await said(village, ann, bob, "again")


# --- A11: old evidence against new ---------------------------------------------------------------


@pytest.mark.parametrize("dialler", ["ann", "bob"])
@pytest.mark.parametrize("goer", ["ann", "bob"])
@pytest_twisted.ensureDeferred
async def test_a_half_open_link_gives_way_to_a_proven_dial(village: Village, dialler: str, goer: str) -> None:
    """Whoever had dialled it, and whichever of the two PeerIDs is the smaller one."""
    ann, bob = await village.people("ann", "bob")
    both = {"ann": ann, "bob": bob}
    first, second = (ann, bob) if dialler == "ann" else (bob, ann)
    await said(village, first, second, "hello")
    gone = both[goer]
    stays = ann if gone is bob else bob
    village.net.unplug(gone.machine.host)
    gone.node.links.links[stays.peer].abort()  # it knows that its old connection is dead; the other does not
    village.net.replug(gone.machine.host)
    await village.settle()
    assert stays.node.links.open_link(gone.peer) is not None
    began = now(gone)
    await village.done(gone.door.say(chat_with(stays.peer), "I am back"))
    await village.until(lambda: gone.states(stays.peer)[-1] is DELIVERED, within=10)
    assert now(gone) - began < 6
    await village.done(stays.door.say(chat_with(gone.peer), "welcome"))
    await village.until(lambda: stays.states(gone.peer)[-1] is DELIVERED, within=10)


# --- A12: waiting is measured --------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_message_written_while_the_clock_was_wrong_does_not_expire_when_it_is_set(village: Village) -> None:
    ann, bob = village.villager("ann"), village.villager("bob")
    ann.wall_offset = -40 * DAY_SECONDS
    ann.start()
    bob.start()
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"})
    await said(village, ann, bob, "hello")
    peer = bob.peer
    await bob.stop()
    await village.until(lambda: ann.online == set())
    await village.done(ann.door.say(chat_with(peer), "for later"))
    ann.wall_offset = 0.0
    for _ in range(3):  # it is looked for every hour
        village.advance(3_600)
        await village.done(ann.door.history(chat_with(peer)))
    assert ann.states(peer) == [DELIVERED, WAITING]
    await ann.stop()
    ann.wall_offset = 40 * DAY_SECONDS
    ann.start()
    await village.until(lambda: peer in ann.people and ann.people[peer].waiting == 1)
    page = await village.done(ann.door.history(chat_with(peer)))
    assert [row.state for row in page.messages] == [DELIVERED, WAITING]
    for _ in range(25):  # seven days of the stop count, and these do
        village.advance(DAY_SECONDS)
        await village.done(ann.door.history(chat_with(peer)))
    page = await village.done(ann.door.history(chat_with(peer)))
    assert [row.state for row in page.messages] == [DELIVERED, EXPIRED]


# --- A13: what is stored is acknowledged ---------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_is_stored_is_acknowledged_also_by_who_has_blocked_us_since(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await said(village, ann, bob, "hello")
    (link,) = bob.node.links.links.values()
    send = link.send

    def deaf(message: Message) -> None:
        if not isinstance(message, Ack):
            send(message)

    link.send = deaf  # type: ignore[method-assign]
    await village.done(ann.door.say(chat_with(bob.peer), "stored there"))
    await village.until(lambda: bob.texts(ann.peer) == ["hello", "stored there"])
    await village.done(bob.door.block(ann.peer, True))
    village.net.cut(ann.machine.host, bob.machine.host)
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED, DELIVERED], within=30)
    await village.done(ann.door.say(chat_with(bob.peer), "new"))
    await village.until(lambda: ann.states(bob.peer)[-1] is REFUSED)
    assert bob.texts(ann.peer) == ["hello", "stored there"]


# --- A15: deadlines side by side -----------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_stop_with_five_frozen_peers_and_a_frozen_registry_takes_five_seconds(village: Village) -> None:
    ann, *others = await village.people("ann", "bob", "carol", "dave", "eve", "frank")
    for one in others:
        await said(village, ann, one, "hello")
    for one in others:
        village.freeze(one)
    village.net.freeze(village.registry_machine.host)
    began = now(ann)
    await ann.stop()
    assert now(ann) - began <= 5.0


# --- D7: own addresses ---------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_peer_whose_addresses_change_tells_the_registry(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatnet.core.records import endpoint
    from chatnet.peer import node

    ann, bob = await village.people("ann", "bob")
    before = bob.node.roster.entries[ann.peer].seq
    added = endpoint("127.0.0.77", 4000)
    published = node.published_endpoints
    monkeypatch.setattr(node, "published_endpoints", lambda bound: [*published(bound), added])
    await village.pass_time(8)
    assert bob.node.roster.entries[ann.peer].seq == before  # it was not looked for without a change
    present = interfaces.own_addresses()
    monkeypatch.setattr(ann.node.address_watch, "_read", lambda: present | {("127.0.0.77", 8)})
    await village.until(lambda: added in bob.node.roster.entries[ann.peer].endpoints, within=8)
    assert bob.node.roster.entries[ann.peer].seq > before
    assert RegistryPhase.LOST not in ann.phases
