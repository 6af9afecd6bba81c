"""A key is taken in the place of another while something is under way with the old one: between real services."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from chatnet.core.events import AlertRules, FileRule, MessageState, RuleKind, Tab, TransferState
from chatnet.core.identity import key_text
from chatnet.core.messages import ListEntry, ListPage
from chatnet.core.records import endpoint
from chatnet.core.transfer.transfer_machine import Phase
from chatnet.peer.transfers import manager
from tests.support.village import PEER_PORT, Village, Villager
from tests.village.test_files import made, offered
from tests.village.test_trust import failure, tabs_of


async def rival_of_bob(village: Village) -> tuple[Villager, Villager, Villager]:
    """Ann has written to bob, who is linked; the list has given his name to another key since, carol's."""
    ann, bob, new = await village.people("ann", "bob", "carol")
    await village.done(ann.door.say(bob.chat, "hello"))
    await village.until(lambda: ann.states(bob.peer) == [MessageState.DELIVERED])
    await list_rival(village, ann, bob, new)
    return ann, bob, new


async def list_rival(village: Village, ann: Villager, bob: Villager, new: Villager) -> None:
    await village.shut_registry()
    await village.pass_time(1)
    entry = ListEntry(new.peer, "bob", [endpoint(new.machine.host, PEER_PORT)], 2 * 10**9)
    ann.node.list_page(ListPage(joined=[entry], left=[bob.peer], more=False, cursor=b"c", reset=False))
    await village.until(lambda: ann.people[bob.peer].new_key == new.peer)


def take(ann: Villager, bob: Villager, new: Villager) -> Deferred[None]:
    return ann.door.trust(bob.peer, key_text(new.peer)[:16])


async def take_while(village: Village, ann: Villager, bob: Villager, new: Villager, *under_way: Any) -> None:
    """Take the key; ``under_way`` begins while the disk is still about to take that in."""
    ann.node.store._database.run(lambda connection: time.sleep(0.5))
    taking = take(ann, bob, new)
    begun = [begin() for begin in under_way]
    for work in (taking, *begun):
        await village.done(work)
    await village.pass_time(2)


async def restarted(village: Village, ann: Villager) -> None:
    await ann.stop()
    ann.start()
    await village.until(lambda: ann.has_begun, within=60)
    await village.pass_time(5)


@contextmanager
def slow_look(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Until what is given is called, files are looked at before they are offered."""
    go_on, prepare = threading.Event(), manager.prepare

    def slowly(paths: tuple[bytes, ...]) -> manager.Prepared:
        go_on.wait(300)
        return prepare(paths)

    with monkeypatch.context() as patch:
        patch.setattr(manager, "prepare", slowly)
        try:
            yield go_on.set
        finally:
            go_on.set()


# --- what is stored for the old key behind the commit ----------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_the_old_key_says_meanwhile_is_in_the_chat(village: Village) -> None:
    ann, bob, new = await rival_of_bob(village)
    await take_while(village, ann, bob, new, lambda: bob.door.say(ann.chat, "late"))
    await village.until(lambda: bob.states(ann.peer) == [MessageState.DELIVERED])
    assert ann.texts(new.peer) == ["hello", "late"]
    assert {row.chat for row in ann.rows.values()} == {new.chat}
    assert ann.people[new.peer].unread == 1
    former = bob.chat
    await bob.stop()
    await restarted(village, ann)
    page = await village.done(ann.door.history(new.chat))
    assert [row.body for row in page.messages] == ["hello", "late"]
    assert (await village.done(ann.door.history(former))).messages == ()
    assert ann.people[new.peer].unread == 1


@pytest_twisted.ensureDeferred
async def test_an_offer_that_is_cancelled_meanwhile_stays_so(village: Village) -> None:
    ann, bob, new = await village.people("ann", "bob", "carol")
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    await list_rival(village, ann, bob, new)
    await take_while(village, ann, bob, new, lambda: ann.door.cancel(fid))
    assert (ann.transfers[fid].state, new.transfers) == (TransferState.CANCELLED, {})
    await restarted(village, ann)
    assert {one.peer: one.state for one in ann.transfers.values()} == {new.peer: TransferState.CANCELLED}
    assert new.transfers == {}


@pytest_twisted.ensureDeferred
async def test_an_offer_that_is_refused_meanwhile_stays_so(village: Village) -> None:
    ann, bob, new = await village.people("ann", "bob", "carol")
    await village.done(ann.door.say(bob.chat, "hello"))
    fid = await offered(village, bob, ann, made(village, "a.txt", 10))
    await list_rival(village, ann, bob, new)
    await take_while(village, ann, bob, new, lambda: ann.door.refuse(fid))
    await restarted(village, ann)
    assert [one.state for one in ann.transfers.values()] == [TransferState.DECLINED]


@pytest_twisted.ensureDeferred
async def test_a_tab_that_is_opened_meanwhile_is_that_of_the_new_key(village: Village) -> None:
    ann, bob, new = await rival_of_bob(village)
    await take_while(village, ann, bob, new, lambda: ann.door.set_tabs((bob.chat,)))
    assert tabs_of(ann) == (Tab(new.chat, "", True),)


# --- what was decided about the old key --------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_rule_for_the_files_of_the_old_key_ends(village: Village) -> None:
    ann, bob, new = await rival_of_bob(village)
    old, next_key = bob.peer, new.peer
    await village.done(ann.door.set_rule(old, FileRule(RuleKind.AUTO)))
    await village.done(take(ann, bob, new))
    for one in (bob, new):
        await village.done(one.door.offer(ann.chat, (made(village, f"{one.name}.txt", 10),)))
    await village.until(lambda: [one.title for one in ann.transfers.values()] == ["carol.txt"])
    await village.until(lambda: [one.offers for one in ann.requests] == [1])
    await village.pass_time(5)
    assert ann.only_transfer().state is TransferState.OFFERED
    assert list(ann.roots.downloads.rglob("*.txt")) == []
    await restarted(village, ann)
    assert [ann.node.transfers.rule(key).kind for key in (old, next_key)] == [RuleKind.ASK] * 2


@pytest_twisted.ensureDeferred
async def test_who_is_muted_stays_so(village: Village) -> None:
    ann, bob, new = await rival_of_bob(village)
    await village.done(ann.door.set_alerts(AlertRules(muted=(ann.peer, bob.peer))))
    await village.done(take(ann, bob, new))
    snapshot = ann.door.subscribe(lambda event: None).snapshot
    await village.until(lambda: ann.node.alerts.rules.muted == (ann.peer, new.peer))
    assert snapshot.me is not None
    peers = ann.peer, new.peer
    await restarted(village, ann)
    assert ann.node.alerts.rules.muted == peers


@pytest_twisted.ensureDeferred
async def test_the_addresses_of_the_old_key_are_not_those_of_somebody_known(village: Village) -> None:
    ann, bob, new = await rival_of_bob(village)
    assert bob.machine.host in ann.node.known_sources
    await village.done(take(ann, bob, new))
    assert bob.machine.host not in ann.node.known_sources
    assert new.machine.host in ann.node.known_sources


@pytest_twisted.ensureDeferred
async def test_what_was_kept_of_the_old_key_as_a_stranger_is_no_request(village: Village) -> None:
    ann, bob, new = await village.people("ann", "bob", "carol")
    await village.done(bob.door.say(ann.chat, "hello"))
    await village.until(lambda: ann.texts(bob.peer) == ["hello"])
    assert ann.door.budgets()["requests"].held() == 1
    await list_rival(village, ann, bob, new)
    await village.done(take(ann, bob, new))
    await village.pass_time(1)
    assert ann.node.requests.all() == ()
    assert ann.door.budgets()["requests"].held() == 0
    assert await failure(village, ann.door.accept_request(bob.peer)) == "no-request"
    await village.done(bob.door.say(ann.chat, "it is me"))  # that is one
    await village.until(lambda: [(one.peer, one.messages) for one in ann.requests] == [(bob.peer, 1)])


# --- the chat with the old key -------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_is_for_the_chat_that_was_goes_to_the_new_key(village: Village) -> None:
    """A client may not have heard of the new key yet, or keep the chat in a dialog."""
    ann, bob, new = await rival_of_bob(village)
    await village.done(take(ann, bob, new))
    row = await village.done(ann.door.say(bob.chat, "for bob"))
    transfer = await village.done(ann.door.offer(bob.chat, (made(village, "a.txt", 10),)))
    assert (row.chat, transfer.peer) == (new.chat, new.peer)
    await village.until(lambda: sorted(new.texts(ann.peer)) == ["a.txt", "for bob"])
    await village.pass_time(5)
    assert (bob.texts(ann.peer), bob.transfers) == (["hello"], {})


@pytest_twisted.ensureDeferred
async def test_an_old_key_that_is_a_person_again_has_a_chat_of_its_own(village: Village) -> None:
    ann, bob, new = await rival_of_bob(village)
    await village.done(take(ann, bob, new))
    await village.done(bob.door.say(ann.chat, "it is me"))
    await village.until(lambda: bool(ann.requests))
    await village.done(ann.door.accept_request(bob.peer))
    await village.done(ann.door.set_tabs((bob.chat, new.chat)))
    await village.done(ann.door.set_draft(bob.chat, "half a tho"))
    assert tabs_of(ann) == (Tab(bob.chat, "half a tho"), Tab(new.chat, ""))
    await village.done(ann.door.say(bob.chat, "are you?"))
    await village.until(lambda: bob.texts(ann.peer) == ["hello", "it is me", "are you?"])


# --- transfers -------------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_an_offer_that_is_being_prepared_is_made_to_the_new_key(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, new = await rival_of_bob(village)
    await village.done(ann.door.keep_key(bob.peer, new.peer))  # or nothing could be offered
    with slow_look(monkeypatch) as go_on:
        offering = ann.door.offer(bob.chat, (made(village, "a.txt", 10),))
        await village.done(take(ann, bob, new))
        go_on()
        transfer = await village.done(offering)
    assert transfer.peer == new.peer
    await village.until(lambda: transfer.fid in new.transfers)
    assert bob.transfers == {}


@pytest_twisted.ensureDeferred
async def test_an_offer_that_is_being_stored_is_made_to_the_new_key(village: Village) -> None:
    ann, bob, new = await rival_of_bob(village)
    await village.done(ann.door.keep_key(bob.peer, new.peer))
    await take_while(village, ann, bob, new, lambda: ann.door.offer(bob.chat, (made(village, "a.txt", 10),)))
    await village.until(lambda: [one.title for one in new.transfers.values()] == ["a.txt"])
    assert ann.only_transfer().peer == new.peer
    assert bob.transfers == {}
    page = await village.done(ann.door.history(new.chat))
    assert [row.body for row in page.messages] == ["hello", "a.txt"]


@pytest.mark.parametrize("moment", ["prepared", "stored"])
@pytest_twisted.ensureDeferred
async def test_an_offer_that_is_being_made_to_somebody_who_is_blocked_is_not_made(
    village: Village, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.say(bob.chat, "hello"))
    with slow_look(monkeypatch) as go_on:
        offering = ann.door.offer(bob.chat, (made(village, "a.txt", 10),))
        if moment == "prepared":
            await village.done(ann.door.block(bob.peer, True))
            go_on()
        else:
            go_on()
            await village.until(lambda: bool(ann.node.transfers._unstored))
            ann.node.transfers.end_all_with(bob.peer)
    assert await failure(village, offering) == "blocked"
    await village.pass_time(5)
    assert (ann.transfers, bob.transfers) == ({}, {})
    assert await village.done(ann.node.store.transfers.all()) == []


@pytest_twisted.ensureDeferred
async def test_what_ends_with_the_old_key_needs_no_link_to_it(village: Village) -> None:
    """The link with the old key is open, and that is no link with the new one."""
    ann, bob, new = await village.people("ann", "bob", "carol")
    await village.done(ann.door.say(bob.chat, "hello"))
    fid = await offered(village, bob, ann, made(village, "a.txt", 10))
    await list_rival(village, ann, bob, new)
    await village.done(take(ann, bob, new))
    machine = ann.node.transfers._table.known(fid).machine
    assert machine.phase is Phase.DECLINED
    await village.until(lambda: machine.told and machine.linked)


@pytest_twisted.ensureDeferred
async def test_what_the_old_key_has_heard_the_new_one_has_not(village: Village) -> None:
    ann, bob, new = await village.people("ann", "bob", "carol")
    await village.done(ann.door.say(bob.chat, "hello"))
    await village.done(ann.door.connect(new.peer))
    await list_rival(village, ann, bob, new)
    await village.done(ann.door.keep_key(bob.peer, new.peer))
    village.freeze(bob)
    village.freeze(new)
    transfer = await village.done(ann.door.offer(bob.chat, (made(village, "a.txt", 10),)))
    managed = ann.node.transfers._table.known(transfer.fid)
    assert isinstance(managed, manager.Outgoing)
    await village.until(lambda: managed.machine.phase is Phase.OFFERED)
    await village.done(take(ann, bob, new))
    await village.until(lambda: managed.machine.phase is Phase.OFFERED)
    village.thaw(bob.machine.host)
    await village.until(lambda: transfer.fid in {one.fid for one in bob.node.transfers.snapshot()})
    await village.pass_time(1)
    assert (managed.machine.linked, managed.machine.confirmed) == (True, False)
    village.thaw(new.machine.host)
    await village.until(lambda: managed.machine.confirmed and transfer.fid in new.transfers)


@pytest_twisted.ensureDeferred
async def test_the_log_says_that_a_transfer_is_not_in_the_store(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    await ann.node.store.transfers.delete(bob.peer, fid)
    with capturedLogs() as events:
        await village.done(ann.door.cancel(fid))
        text = "a transfer with {peer} is not in the store"
        await village.until(lambda: any(event.get("log_format") == text for event in events))
