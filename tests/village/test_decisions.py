"""A decision is about what was shown: between the two a hostile registry or a sender changes what it would be about."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted

from chatnet.core.events import FileRule, MessageState, RuleKind, SafetyNumber, TransferState, VerifiedLevel
from chatnet.core.identity import PeerID, chat_with, prefix_text
from chatnet.core.messages import ListEntry, ListPage
from chatnet.core.records import endpoint
from chatnet.peer.api import PeerApi
from tests.support.decisions import DECIDES_ABOUT, DECIDES_NOTHING
from tests.support.links import new_identity
from tests.support.village import Village, Villager
from tests.village.test_files import made
from tests.village.test_trust import failure

BY_CODE, BY_NUMBER = VerifiedLevel.BY_CODE, VerifiedLevel.BY_NUMBER
FIRST, SECOND = new_identity().peer_id, new_identity().peer_id  # keys that the registry makes up


def pushed(village: Village, to: Villager, name: str, key: PeerID, left: tuple[PeerID, ...] = ()) -> None:
    """The registry says that ``key`` is ``name`` now."""
    assert village.registry is not None
    (link,) = (link for link in village.registry.links if link.peer == to.peer)
    entry = ListEntry(key, name, [endpoint("127.0.0.99", 4000)], 2**40)
    link.send(ListPage(False, False, [entry], list(left), b""))


async def another_key(village: Village, ann: Villager, old: PeerID, key: PeerID) -> None:
    """A push puts ``key`` under the name of ``old``, whom ann has talked to."""
    pushed(village, ann, "bob", key)
    await village.until(lambda: ann.people[old].new_key == key)


async def talked(village: Village) -> tuple[Villager, PeerID]:
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.say(bob.chat, "hello"))
    await village.until(lambda: ann.states(bob.peer) == [MessageState.DELIVERED])
    await village.pass_time(6)  # the registry has proven bob's address, and says nothing more of itself
    return ann, bob.peer


def test_every_call_says_what_it_decides_about() -> None:
    """A new one belongs in one of the tables, and what decides is tested below and in the console's test."""
    about = {"peer", "fid", "chat", "n", "key"}
    methods = {
        name
        for name, method in inspect.getmembers(PeerApi, inspect.isfunction)
        if not name.startswith("_") and about & set(inspect.signature(method).parameters)
    }
    assert methods == DECIDES_ABOUT.keys() | DECIDES_NOTHING
    assert not DECIDES_ABOUT.keys() & DECIDES_NOTHING
    tested = {case for case in CASES if case != "confirm a code"} | set(BY_KEY) | set(BY_FID) | REQUESTS
    assert DECIDES_ABOUT.keys() == tested


# --- keys that a registry can replace -------------------------------------------------------------


async def verify_by_number(village: Village, ann: Villager, old: PeerID) -> tuple[SafetyNumber, Callable[[], Any]]:
    shown: SafetyNumber = await village.done(ann.door.safety_number(old))
    return shown, lambda: ann.door.confirm(old, BY_NUMBER, shown.name, shown.key)


@pytest_twisted.ensureDeferred
async def test_sixty_digits_of_one_key_do_not_verify_the_next_one(village: Village) -> None:
    """The registry pushes another key while two people read the digits of the first one."""
    ann, old = await talked(village)
    shown, same = await verify_by_number(village, ann, old)
    assert shown.key == old
    await another_key(village, ann, old, FIRST)
    await village.done(ann.door.say(chat_with(old), "held"))
    assert await failure(village, same()) == "another-key"
    await village.pass_time(5)
    assert ann.people[old].new_key == FIRST
    assert FIRST not in ann.people
    assert ann.node.roster.verified(FIRST) is VerifiedLevel.NOT
    assert ann.states(old)[-1] is MessageState.HELD
    # The same with the digits of the new key, while a third one comes, and while the new one goes.
    _, same = await verify_by_number(village, ann, old)
    await another_key(village, ann, old, SECOND)
    assert await failure(village, same()) == "another-key"
    shown, same = await verify_by_number(village, ann, old)
    pushed(village, ann, "robert", SECOND)
    await village.until(lambda: ann.people[old].new_key is None)
    assert await failure(village, same()) == "another-key"


@pytest_twisted.ensureDeferred
async def test_digits_that_were_compared_under_one_name_do_not_verify_another_one(village: Village) -> None:
    """Mallory shows her own key; then the registry, which names nobody whom ann knows, calls her alice."""
    ann, mallory = await village.people("ann", "mallory")
    _, same = await verify_by_number(village, ann, mallory.peer)
    pushed(village, ann, "alice", mallory.peer)
    await village.until(lambda: ann.people[mallory.peer].name == "alice")
    assert await failure(village, same()) == "another-name"
    assert ann.node.roster.verified(mallory.peer) is VerifiedLevel.NOT
    assert not ann.node.roster.is_pinned(mallory.peer)


async def trust_case(village: Village, ann: Villager, old: PeerID) -> None:
    await another_key(village, ann, old, FIRST)
    await another_key(village, ann, old, SECOND)
    assert await failure(village, ann.door.trust(old, prefix_text(FIRST))) == "wrong-prefix"
    assert ann.people[old].new_key == SECOND


async def keep_case(village: Village, ann: Villager, old: PeerID) -> None:
    await another_key(village, ann, old, FIRST)
    await another_key(village, ann, old, SECOND)
    assert await failure(village, ann.door.keep_key(old, FIRST)) == "another-key"
    assert ann.people[old].new_key == SECOND
    assert ann.node.roster.unwanted == set()


async def number_case(village: Village, ann: Villager, old: PeerID) -> None:
    _, same = await verify_by_number(village, ann, old)
    await another_key(village, ann, old, FIRST)
    assert await failure(village, same()) == "another-key"


async def code_case(village: Village, ann: Villager, old: PeerID) -> None:
    first = await village.done(ann.door.check_live(old))
    second = await village.done(ann.door.check_live(old))
    confirm = ann.door.confirm
    assert await failure(village, confirm(old, BY_CODE, "bob", old, first)) == "another-code"
    assert await failure(village, confirm(old, BY_CODE, "robert", old, second)) == "another-name"
    await another_key(village, ann, old, FIRST)
    assert await failure(village, confirm(old, BY_CODE, "bob", FIRST, second)) == "another-key"
    await village.done(confirm(old, BY_CODE, "bob", old, second))
    assert ann.node.roster.verified(old) is BY_CODE
    assert ann.node.roster.verified(FIRST) is VerifiedLevel.NOT


CASES: dict[str, Callable[[Village, Villager, PeerID], Awaitable[None]]] = {
    "trust": trust_case,
    "keep_key": keep_case,
    "confirm": number_case,
    "confirm a code": code_case,
}


@pytest.mark.parametrize("case", CASES)
@pytest_twisted.ensureDeferred
async def test_a_decision_about_a_key_is_refused_when_another_one_has_come(village: Village, case: str) -> None:
    ann, old = await talked(village)
    await CASES[case](village, ann, old)


# --- calls that are given the key itself ----------------------------------------------------------

BY_KEY = ("block", "set_rule", "check_live", "say", "offer", "offer_text", "resend")
REQUESTS = {"accept_request", "refuse_request"}  # tests/village/test_requests.py: a request is its key alone


@pytest.mark.parametrize("call", BY_KEY)
@pytest_twisted.ensureDeferred
async def test_what_is_decided_about_a_key_stays_with_it_when_another_one_has_come(village: Village, call: str) -> None:
    ann, old = await talked(village)
    await another_key(village, ann, old, FIRST)
    chat, roster, rule = chat_with(old), ann.node.roster, FileRule(RuleKind.AUTO)
    if call == "block":
        await village.done(ann.door.block(old, True))
        assert roster.blocked == {old}
    elif call == "set_rule":
        await village.done(ann.door.set_rule(old, rule))
        assert await village.done(ann.door.rule(old)) == rule
        assert await village.done(ann.door.rule(FIRST)) == FileRule()
    elif call == "check_live":
        await village.done(ann.door.check_live(old))
        assert [event.peer for event in ann.codes] == [old]
    elif call == "say":
        row = await village.done(ann.door.say(chat, "for the bob I know"))
        assert (row.chat, row.state) == (chat, MessageState.HELD)
    elif call == "resend":
        (row,) = ann.rows.values()
        assert await failure(village, ann.door.resend(chat, row.n)) == "not-failed"
        assert await failure(village, ann.door.resend(chat_with(FIRST), row.n)) == "not-failed"
    elif call == "offer":
        assert await failure(village, ann.door.offer(chat, (made(village, "a", 10),))) == "held"
    else:
        assert await failure(village, ann.door.offer_text(chat, "text", "a.txt")) == "held"


# --- offers ---------------------------------------------------------------------------------------

BY_FID = ("accept", "refuse", "cancel", "pause", "resume")


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("call", BY_FID)
@pytest_twisted.ensureDeferred
async def test_a_fid_that_was_shown_never_names_another_offer(village: Village, call: str, forgotten: bool) -> None:
    """It is withdrawn, and somebody else offers other files under its id; also when the list was cleared.

    ``tests/peer/transfers/test_transfers.py`` has the same for its own sender.
    """
    ann, bob, carol = await village.people("ann", "bob", "carol")
    shown = await village.done(bob.door.offer(ann.chat, (made(village, "plan.txt", 10),)))
    await village.until(lambda: shown.fid in ann.transfers)
    await village.done(bob.door.cancel(shown.fid))
    await village.until(lambda: ann.transfers[shown.fid].state is TransferState.CANCELLED)
    if forgotten:
        await village.pass_time(5)  # the other side knows how it ended
        await village.done(ann.door.forget_ended())
    carol.node.transfers._random = lambda size: shown.fid[:size]
    again = await village.done(carol.door.offer(ann.chat, (made(village, "virus.exe", 10),)))
    assert again.fid == shown.fid
    await village.until(lambda: carol.transfers[shown.fid].state is TransferState.DECLINED)
    decided = getattr(ann.door, call)(shown.fid)
    if call == "cancel" and not forgotten:
        assert (await village.done(decided)).title == shown.title  # it has ended, and stays what it is
    else:
        assert await failure(village, decided) == ("unknown-transfer" if forgotten else "ended")
    assert [transfer.title for transfer in ann.node.transfers.snapshot()] == ([] if forgotten else ["plan.txt"])
    assert not (ann.roots.downloads / "carol").exists()
