"""A changed key taken or kept, keys compared, people blocked: between real services."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from chatnet.core.errors import LocalError
from chatnet.core.events import MessageState, RegistryPhase, Tab, TransferState, VerifiedLevel
from chatnet.core.identity import PeerID, chat_with, key_text, prefix_text, short_text
from chatnet.core.safety_number import safety_number
from tests.support.village import Village, Villager
from tests.village.test_files import is_in, made, offered, parts, running
from tests.village.test_keys import impostor_of_bob

DELIVERED, HELD, REFUSED, WAITING = (
    MessageState.DELIVERED,
    MessageState.HELD,
    MessageState.REFUSED,
    MessageState.WAITING,
)


async def failure(village: Village, work: Deferred[Any]) -> str:
    with pytest.raises(LocalError) as caught:
        await village.done(work)
    return caught.value.code


async def held_texts(village: Village, *texts: str) -> tuple[Villager, PeerID, Villager]:
    """Ann, bob's old key, and who uses the name now; ann's texts are held."""
    ann, _, impostor = await impostor_of_bob(village)
    key = next(PeerID(peer) for peer in ann.people)
    await village.until(lambda: ann.people[key].new_key == impostor.peer)
    for text in texts:
        row = await village.done(ann.door.say(key, text))
        assert row.state is HELD
    return ann, key, impostor


def tabs_of(one: Villager) -> tuple[Tab, ...]:
    return one.door.subscribe(lambda event: None).snapshot.tabs


def prefix(one: Villager) -> str:
    return key_text(one.peer)[:16]


@pytest_twisted.ensureDeferred
async def test_a_new_key_gets_what_was_held_in_its_order_once(village: Village) -> None:
    ann, key, new = await held_texts(village, "one", "two", "three")
    for wrong in ("", "A" * 16, short_text(new.peer), prefix(new)[:15], key_text(key)[:16], prefix(new) + "A"):
        assert await failure(village, ann.door.trust(key, wrong)) == "wrong-prefix"
    assert new.added == []
    await village.done(ann.door.trust(key, prefix_text(new.peer).lower()))
    await village.until(lambda: ann.states(new.peer) == [DELIVERED] * 4)  # the first one by the old key
    assert new.texts(ann.peer) == ["one", "two", "three"]
    assert ann.states(key) == []
    await village.until(lambda: key not in ann.people and ann.people[new.peer].waiting == 0)
    bob = ann.people[new.peer]
    assert (bob.name, bob.new_key, bob.verified) == ("bob", None, VerifiedLevel.NOT)
    assert await failure(village, ann.door.trust(new.peer, prefix(new))) == "no-new-key"
    await village.done(ann.door.say(new.chat, "four"))
    await village.until(lambda: new.texts(ann.peer) == ["one", "two", "three", "four"])


@pytest_twisted.ensureDeferred
async def test_what_is_typed_while_the_key_is_taken_goes_too(village: Village) -> None:
    ann, key, new = await held_texts(village, "one")
    taking = ann.door.trust(key, prefix(new))
    saying = ann.door.say(key, "two")
    await village.done(taking)
    await village.done(saying)
    await village.until(lambda: new.texts(ann.peer) == ["one", "two"])
    await village.until(lambda: key not in ann.people)
    await village.until(lambda: ann.states(new.peer) == [DELIVERED] * 3)


@pytest.mark.parametrize("commits", [0, 1])
@pytest_twisted.ensureDeferred
async def test_killed_while_it_takes_a_key(village: Village, commits: int) -> None:
    """Before the commit nothing has happened, behind it all has: never half of it."""
    ann, key, new = await held_texts(village, "one", "two")
    address = new.peer
    await village.done(ann.door.set_tabs((chat_with(key),)))
    await village.done(ann.door.set_draft(chat_with(key), "half a tho"))
    take, deaths = ann.node.store.pins.take_key, []

    def dying(*arguments: Any) -> Deferred[Any]:
        if commits:
            take(*arguments)
        deaths.append(Deferred.fromCoroutine(ann.stop()))
        return Deferred()

    ann.node.store.pins.take_key = dying  # type: ignore[method-assign]
    ann.door.trust(key, prefix(new)).addErrback(lambda _: None)
    await village.until(lambda: bool(deaths) and deaths[0].called)
    ann.start()
    await village.until(lambda: ann.phase is RegistryPhase.UP and len(ann.people) >= 1)
    if commits:
        await village.until(lambda: new.texts(ann.peer) == ["one", "two"])
        await village.until(lambda: ann.people[address].name == "bob" and ann.people[address].waiting == 0)
        assert key not in ann.people
    else:
        assert tabs_of(ann) == (Tab(chat_with(key), "half a tho"),)
        await village.until(lambda: key in ann.people and ann.people[key].new_key == address)
        assert ann.people[key].waiting == 2
        assert new.added == []
        await village.done(ann.door.trust(key, prefix(new)))
        await village.until(lambda: new.texts(ann.peer) == ["one", "two"])
    page = await village.done(ann.door.history(chat_with(address)))
    assert [row.body for row in page.messages][-2:] == ["one", "two"]
    assert (await village.done(ann.door.history(chat_with(key)))).messages == ()
    assert tabs_of(ann) == (Tab(chat_with(address), "half a tho"),)


@pytest_twisted.ensureDeferred
async def test_one_person_stays_one_with_all_that_was_said(village: Village) -> None:
    """B16: what was refused can be sent to the new key, and a second start shows the same."""
    ann, key, new = await held_texts(village, "one")
    refused = next(row for row in ann.rows.values() if row.state is HELD)
    await ann.node.store.messages.refused(key, refused.id, "no")
    ann.node.outbox.changed(key)
    await village.done(ann.door.trust(key, prefix(new)))
    await village.until(lambda: key not in ann.people and ann.people[new.peer].name == "bob")
    await village.done(ann.door.resend(new.chat, refused.n))
    await village.until(lambda: new.texts(ann.peer) == ["one"])
    before = (await village.done(ann.door.history(new.chat))).messages
    assert [row.n for row in before] == sorted(ann.rows)
    found = (await village.done(ann.door.search("one", new.chat))).messages
    assert [row.n for row in found] == [refused.n]
    peer = new.peer
    await ann.stop()
    ann.start()
    await village.until(lambda: ann.phase is RegistryPhase.UP and peer in ann.people)
    assert key not in ann.people
    assert ann.people[peer].name == "bob"
    after = (await village.done(ann.door.history(chat_with(peer)))).messages
    assert [(row.n, row.body) for row in after] == [(row.n, row.body) for row in before]


@pytest_twisted.ensureDeferred
async def test_a_client_that_has_not_heard_of_it_spoils_no_tab(village: Village) -> None:
    ann, key, new = await held_texts(village)
    await village.done(ann.door.set_tabs((chat_with(key),)))
    await village.done(ann.door.set_draft(chat_with(key), "half a tho"))
    await village.done(ann.door.trust(key, prefix(new)))
    await village.done(ann.door.set_tabs((chat_with(key), new.chat)))
    await village.done(ann.door.set_draft(chat_with(key), "half"))
    assert tabs_of(ann) == (Tab(new.chat, "half a tho"),)


@pytest_twisted.ensureDeferred
async def test_offers_go_along_and_what_was_agreed_with_the_old_key_ends(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    asked = await offered(village, ann, bob, made(village, "a.txt", 10))
    theirs = await offered(village, bob, ann, made(village, "b.txt", 10))
    broken = await running(village, ann, bob)
    key = bob.peer
    await bob.stop()
    await village.shut_registry()
    (village.directory / "registry.db").unlink()
    village.open_registry()
    await village.until(lambda: ann.phase is RegistryPhase.UP, within=60)
    new = village.villager("bob", place="other").start()
    await village.until(lambda: ann.people[key].new_key is not None)
    await village.done(ann.door.trust(key, prefix(new)))
    await village.until(lambda: asked in new.transfers)
    await village.done(new.door.accept(asked))
    await village.until(lambda: is_in(TransferState.DONE, asked, ann, new))
    await village.until(lambda: ann.transfers[theirs].state.ended and ann.transfers[broken].state.ended)
    assert {transfer.peer for transfer in ann.transfers.values()} == {new.peer}
    assert new.transfers.keys() == {asked}
    rows = (await village.done(ann.door.history(new.chat))).messages
    assert sorted(row.body for row in rows) == ["a.txt", "b.txt", "large.bin"]
    peer = new.peer
    await ann.stop()
    ann.start()
    await village.until(lambda: peer in ann.people and len(ann.transfers) == 3)
    assert all(transfer.state.ended and transfer.peer == peer for transfer in ann.transfers.values())


@pytest_twisted.ensureDeferred
async def test_what_was_held_goes_at_once_when_the_rival_leaves_the_list(village: Village) -> None:
    ann, bob, impostor = await impostor_of_bob(village)
    key = next(PeerID(peer) for peer in ann.people)
    await village.until(lambda: ann.people[key].new_key == impostor.peer)
    for root in (bob.roots.data, bob.roots.state):  # the name is taken: the key comes under another
        (root / "bob").rename(root / "robert")
    robert = village.villager("robert", place="bob").start()
    await village.until(lambda: robert.online == {"ann", "bob"} and ann.people[key].online)
    row = await village.done(ann.door.say(key, "for the real bob"))
    await village.pass_time(5)
    assert (row.state, ann.states(key), robert.added) == (HELD, [DELIVERED, HELD], [])
    await impostor.stop()
    await village.until(lambda: ann.states(key) == [DELIVERED] * 2, within=5)
    assert robert.texts(ann.peer) == ["for the real bob"]
    assert ann.people[key].new_key is None


@pytest_twisted.ensureDeferred
async def test_keeping_the_old_key_releases_to_it_alone(village: Village) -> None:
    ann, key, new = await held_texts(village, "for the real bob")
    await village.done(ann.door.keep_key(key, new.peer))
    await village.until(lambda: ann.people[key].new_key is None)
    assert ann.states(key) == [DELIVERED, WAITING]
    await village.pass_time(60)
    assert new.added == []
    assert await failure(village, ann.door.keep_key(key, new.peer)) == "no-new-key"
    # It holds over a restart, and does not ask again.
    await ann.stop()
    ann.start()
    await village.until(lambda: key in ann.people and ann.people[key].online is False and ann.phase is RegistryPhase.UP)
    assert ann.people[key].new_key is None
    # The old key comes back and gets it.
    await new.stop()
    await village.shut_registry()
    (village.directory / "registry.db").unlink()
    village.open_registry()
    bob = village.villagers[1].start()
    await village.until(lambda: [row.body for row in bob.added] == ["for the real bob"], within=90)


@pytest_twisted.ensureDeferred
async def test_a_kept_key_can_be_replaced_after_all(village: Village) -> None:
    ann, key, new = await held_texts(village, "one")
    await village.done(ann.door.keep_key(key, new.peer))
    await village.done(ann.door.trust(key, prefix(new)))
    await village.until(lambda: new.texts(ann.peer) == ["one"])
    await village.until(lambda: ann.people[new.peer].name == "bob")
    await ann.stop()
    ann.start()
    await village.until(lambda: new.peer in ann.people and ann.people[new.peer].online)
    assert ann.people[new.peer].name == "bob"


async def new_key_of_verified_bob(village: Village) -> tuple[Villager, PeerID, Villager]:
    """Ann, who has verified bob's old key, this key, and who uses the name now."""
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.say(bob.chat, "hello"))
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED])
    old = bob.peer
    shown, theirs = [await village.done(one.door.safety_number(other)) for one, other in ((ann, old), (bob, ann.peer))]
    assert shown.digits == theirs.digits
    assert (shown.peer, shown.name, shown.key) == (old, "bob", old)
    await village.done(ann.door.confirm(old, VerifiedLevel.BY_NUMBER, "bob", old))
    await village.until(lambda: ann.people[old].verified is VerifiedLevel.BY_NUMBER)
    await bob.stop()
    await village.shut_registry()
    (village.directory / "registry.db").unlink()
    village.open_registry()
    await village.until(lambda: ann.phase is RegistryPhase.UP, within=60)
    new = village.villager("bob", place="other").start()
    await village.until(lambda: new.online == {"ann"})
    await village.until(lambda: ann.people[old].new_key == new.peer)
    await village.done(ann.door.say(old, "held"))
    return ann, old, new


@pytest_twisted.ensureDeferred
async def test_a_verified_person_needs_the_number(village: Village) -> None:
    ann, old, new = await new_key_of_verified_bob(village)
    assert await failure(village, ann.door.trust(old, prefix(new))) == "verified"
    shown = await village.done(ann.door.safety_number(old))
    assert (shown.key, shown.digits) == (new.peer, safety_number(ann.peer, new.peer))
    await village.pass_time(30)
    assert new.added == []
    await village.done(ann.door.confirm(old, VerifiedLevel.BY_NUMBER, shown.name, shown.key))
    await village.until(lambda: new.texts(ann.peer) == ["held"])
    await village.until(lambda: ann.people[new.peer].verified is VerifiedLevel.BY_NUMBER)
    # The mark is on disk.
    peer = new.peer
    await ann.stop()
    ann.start()
    await village.until(lambda: peer in ann.people)
    assert ann.people[peer].verified is VerifiedLevel.BY_NUMBER


@pytest.mark.parametrize("restarts", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_key_of_somebody_verified_that_was_not_kept_is_taken_by_its_number(
    village: Village, restarts: bool
) -> None:
    ann, old, new = await new_key_of_verified_bob(village)
    await village.done(ann.door.keep_key(old, new.peer))
    if restarts:
        await ann.stop()
        ann.start()
    await village.until(lambda: old in ann.people and ann.people[old].other_key == new.peer)
    await village.until(lambda: ann.people[old].new_key is None)
    assert await failure(village, ann.door.trust(old, prefix(new))) == "verified"
    shown = await village.done(ann.door.safety_number(old))
    assert (shown.name, shown.key, shown.digits) == ("bob", new.peer, safety_number(ann.peer, new.peer))
    assert await failure(village, ann.door.confirm(old, VerifiedLevel.BY_NUMBER, "bob", old)) == "another-key"
    await village.pass_time(5)
    assert new.added == []
    await village.done(ann.door.confirm(old, VerifiedLevel.BY_NUMBER, shown.name, shown.key))
    await village.until(lambda: new.texts(ann.peer) == ["held"])
    await village.until(lambda: old not in ann.people)
    bob = ann.people[new.peer]
    assert (bob.name, bob.verified, bob.new_key, bob.other_key) == ("bob", VerifiedLevel.BY_NUMBER, None, None)


@pytest_twisted.ensureDeferred
async def test_of_somebody_not_verified_the_kept_key_is_compared(village: Village) -> None:
    ann, key, new = await held_texts(village)
    await village.done(ann.door.keep_key(key, new.peer))
    shown = await village.done(ann.door.safety_number(key))
    assert (shown.key, shown.digits) == (key, safety_number(ann.peer, key))


@pytest_twisted.ensureDeferred
async def test_a_live_code_on_both_screens(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    confirm = ann.door.confirm(bob.peer, VerifiedLevel.BY_CODE, "bob", bob.peer, "123456")
    assert await failure(village, confirm) == "no-check"
    code = await village.done(ann.door.check_live(bob.peer))
    await village.until(lambda: bool(bob.codes) and bool(ann.codes))
    assert [(event.peer, event.code, event.asked) for event in ann.codes] == [(bob.peer, code, True)]
    assert [(event.peer, event.code, event.asked) for event in bob.codes] == [(ann.peer, code, False)]
    for one, other in ((ann, bob), (bob, ann)):
        await village.done(one.door.confirm(other.peer, VerifiedLevel.BY_CODE, other.name, other.peer, code))
        await village.until(lambda one=one, other=other: one.people[other.peer].verified is VerifiedLevel.BY_CODE)


@pytest_twisted.ensureDeferred
async def test_nobody_at_the_other_end_of_a_live_code(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.connect(bob.peer))
    village.freeze(bob)
    late = ann.door.check_live(bob.peer)
    await village.pass_time(61)
    assert await failure(village, late) == "check-late"
    village.thaw(bob.machine.host)


@pytest_twisted.ensureDeferred
async def test_a_block_takes_nothing_and_tells_nothing(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(bob.door.block(ann.peer, True))
    await village.until(lambda: bob.people[ann.peer].blocked)
    await village.done(ann.door.say(bob.chat, "are you there?"))
    await village.until(lambda: ann.states(bob.peer) == [REFUSED])
    (row,) = ann.rows.values()
    assert row.reason == "bob did not take it."
    assert not ann.people[bob.peer].blocked
    transfer = await village.done(ann.door.offer(bob.chat, (made(village, "a.txt", 10),)))
    await village.until(lambda: ann.transfers[transfer.fid].state is TransferState.DECLINED)
    said = [ann.transfers[transfer.fid].reason, row.reason, *ann.notices]
    assert not any("block" in text for text in said)
    assert (bob.added, bob.transfers) == ([], {})
    assert await failure(village, bob.door.say(ann.chat, "no")) == "blocked"
    assert await failure(village, bob.door.offer(ann.chat, (made(village, "b.txt", 10),))) == "blocked"

    await bob.stop()
    bob.start()
    await village.until(lambda: ann.peer in bob.people and bob.people[ann.peer].blocked)
    await village.done(bob.door.block(ann.peer, False))
    await village.until(lambda: ann.online == {"bob"} and not bob.people[ann.peer].blocked)
    await village.done(ann.door.say(bob.chat, "and now?"))
    await village.until(lambda: bob.texts(ann.peer) == ["and now?"])
    await offered(village, ann, bob, made(village, "c.txt", 10))


@pytest.mark.parametrize("blocker", ["the sender", "the receiver"])
@pytest_twisted.ensureDeferred
async def test_a_block_ends_what_runs_and_the_other_sees_a_cancelled_transfer(village: Village, blocker: str) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await running(village, ann, bob)
    waiting = await offered(village, ann, bob, made(village, "waits.txt", 10))
    one, other = (ann, bob) if blocker == "the sender" else (bob, ann)
    await village.done(one.door.block(other.peer, True))
    await village.until(lambda: is_in(TransferState.CANCELLED, fid, ann, bob))
    await village.until(lambda: all(side.transfers[waiting].state.ended for side in (ann, bob)))
    told = other.transfers[fid]
    assert told.code == "user"
    assert "block" not in told.reason
    await village.until(lambda: parts(bob) == [])
    assert not (bob.roots.downloads / "ann" / "large.bin").exists()


@pytest_twisted.ensureDeferred
async def test_a_blocked_person_gets_no_code(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(bob.door.block(ann.peer, True))
    late = ann.door.check_live(bob.peer)
    await village.pass_time(61)
    assert await failure(village, late) == "check-late"
    assert bob.codes == []
