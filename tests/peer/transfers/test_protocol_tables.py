"""The tables of section 9 in ``docs/protocol.md``, asked of a whole peer over real links.

The tables are made from the rules; here it shows that the peer around the rules says nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from blake3 import blake3
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from chatnet.core import messages as m
from chatnet.core.events import TransferState
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import (
    Accept,
    Cancel,
    Decline,
    DialMe,
    End,
    File,
    Offer,
    OfferedFile,
    Pause,
    Resume,
    Skip,
    Verified,
    Want,
)
from chatnet.core.transfer.incoming import IncomingTransfer
from chatnet.core.transfer.outgoing import OutgoingTransfer
from tests.core.transfer.test_protocol_tables import TABLES
from tests.peer.transfers.parties import Party
from tests.peer.transfers.test_transfers import MIB, parties, write, write_raw  # noqa: F401
from tests.support.links import Recorder, Station, hello

FEATURES = (m.RESUME, m.SKIP)
FID, TOKEN, NEW_TOKEN = b"F" * 16, b"T" * 32, b"N" * 32
FILE = OfferedFile(["a"], 5, 0)
SLOW = {"uniform": lambda low, high: high}  # what broke off stays so for two seconds


class Other(Station):
    """The other side, by hand; ``fid`` is that of the transfer which it speaks of."""

    fid = FID

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor, Recorder(features=FEATURES))

    async def greet(self, party: Party) -> None:
        self.party = party
        self.chat = await self.dial(party.port, party.peer, hello(features=FEATURES))  # type: ignore[arg-type]

    async def heard(self, kind: type, count: int = 1) -> Any:
        await self.user.until(lambda: sum(isinstance(one, kind) for one in self.user.messages) >= count)
        return next(one for one in reversed(self.user.messages) if isinstance(one, kind))

    async def file_link(self, token: bytes) -> Any:
        greeting = hello(m.ROLE_FILE, features=FEATURES, fid=self.fid, token=token)
        return await self.dial(self.party.port, self.party.peer, greeting)  # type: ignore[arg-type]

    async def answers(self, word: m.Message) -> list[m.Message]:
        """What comes over the chat link until the word is processed there."""
        self.user.messages.clear()
        self.chat.send(word)
        assert await self.chat.confirmed()
        return list(self.user.messages)


@pytest_twisted.async_yield_fixture
async def other():
    from twisted.internet import reactor

    made = Other(reactor)
    yield made
    await made.close()


def state_of(party: Party, fid: bytes) -> str:
    return str(TABLES.name_of(party.transfers._table.known(fid).machine))


def rows(kind: Any, happenings: list[Any]) -> dict[tuple[str, str], tuple[str, str]]:
    """(what happens, state) -> what the side does, and how it stands then."""
    return {
        (happening.label, state.name): TABLES.answer(state, happening.event)
        for happening in happenings
        for state in TABLES.states(kind)
    }


def words(does: str, code: str) -> list[str]:
    """The words on the chat link in a cell of the table."""
    parts = [part.replace("with its code", f"`{code}`") for part in does.split(", ")]
    return [
        part for part in parts if part.split(" ")[0] in ("RESUME", "PAUSE", "CANCEL", "DECLINE", "VERIFIED", "OFFER")
    ]


# --- at the receiver ----------------------------------------------------------------------------

AT_RECEIVER = rows(IncomingTransfer, TABLES.FROM_SENDER)
SENDERS_WORDS: dict[str, m.Message] = {
    "DIALME": DialMe(FID),
    "CANCEL `user`": Cancel(FID, m.USER),
    "CANCEL, any other code": Cancel(FID, m.CHANGED),
    "PAUSE": Pause(FID, m.PAUSED),
    "RESUME, or OFFER again": Resume(FID),
    "OFFER": Offer(FID, [FILE], False),
    "ACCEPT": Accept(FID, NEW_TOKEN, [Want(0, 0)], False),
    "DECLINE": Decline(FID, m.DECLINED),
    "VERIFIED": Verified(FID),
}


async def offered(bob: Party, other: Other) -> None:
    other.chat.send(Offer(FID, [FILE], False))
    await bob.see(TransferState.OFFERED, fid=FID)


async def queued(bob: Party, other: Other) -> None:
    other.chat.send(Offer(b"E" * 16, [FILE], False))
    await bob.see(TransferState.OFFERED, fid=b"E" * 16)
    await bob.transfers.accept(b"E" * 16)
    await offered(bob, other)
    await bob.transfers.accept(FID)


async def calling(bob: Party, other: Other) -> None:
    await offered(bob, other)
    await bob.transfers.accept(FID)
    other.token = (await other.heard(Accept)).token


async def linked(bob: Party, other: Other) -> None:
    await calling(bob, other)
    other.link = await other.file_link(other.token)
    await bob.until(lambda: state_of(bob, FID) == "linked")


async def running(bob: Party, other: Other) -> None:
    await linked(bob, other)
    other.link.send(File(0, 0, 5))
    write_raw(other.link, b"he")
    await bob.see(TransferState.RUNNING, fid=FID)


async def broken(bob: Party, other: Other) -> None:
    await linked(bob, other)
    other.link.abort()
    await bob.see(TransferState.BROKEN, fid=FID)


async def paused_here(bob: Party, other: Other) -> None:
    await calling(bob, other)
    await bob.transfers.pause(FID)
    await other.heard(Pause)


async def paused_there(bob: Party, other: Other) -> None:
    await calling(bob, other)
    await other.answers(Pause(FID, m.PAUSED))


async def paused_both(bob: Party, other: Other) -> None:
    await paused_there(bob, other)
    await bob.transfers.pause(FID)
    await other.heard(Pause)


async def done(bob: Party, other: Other) -> None:
    await linked(bob, other)
    other.link.send(File(0, 0, 5))
    write_raw(other.link, b"hello")
    other.link.send(End(0, blake3(b"hello").digest()))
    await other.heard(Verified)
    other.link.leave()
    await bob.end(FID)


async def failed(bob: Party, other: Other) -> None:
    await linked(bob, other)
    other.link.send(File(0, 0, 5))
    write_raw(other.link, b"hello")
    other.link.send(End(0, bytes(32)))
    await other.heard(Cancel)


async def declined(bob: Party, other: Other) -> None:
    await offered(bob, other)
    await bob.transfers.refuse(FID)
    await other.heard(Decline)


async def cancelled(bob: Party, other: Other) -> None:
    await calling(bob, other)
    await bob.transfers.cancel(FID)
    await other.heard(Cancel)


Setup = Callable[[Party, Other], Awaitable[None]]
RECEIVERS: dict[str, Setup] = {
    name.replace("_", " "): setup
    for name, setup in {
        "offered": offered,
        "queued": queued,
        "calling": calling,
        "linked": linked,
        "running": running,
        "broken": broken,
        "paused_here": paused_here,
        "paused_there": paused_there,
        "paused_both": paused_both,
        "done": done,
        "declined": declined,
        "cancelled": cancelled,
        "failed": failed,
    }.items()
}


def as_words(answers: list[m.Message]) -> list[str]:
    return [TABLES.said(one) for one in answers if not isinstance(one, Accept)]


@pytest.mark.parametrize("word", sorted(SENDERS_WORDS))
@pytest.mark.parametrize("state", sorted(RECEIVERS))
@pytest_twisted.ensureDeferred
async def test_what_a_receiver_answers(parties, other, state: str, word: str) -> None:  # noqa: F811
    (bob,) = await parties(1, PeerLimits(transfers_per_peer=1, close_seconds=0.1), **SLOW)
    await other.greet(bob)
    await RECEIVERS[state](bob, other)
    assert state_of(bob, FID) == state
    code = bob.transfers._table.known(FID).machine.code
    label = "RESUME, or OFFER again" if word == "OFFER" else word
    does, then = AT_RECEIVER[label, state]
    answers = await other.answers(SENDERS_WORDS[word])
    if "looks at its disk" in does:
        assert (await other.heard(Accept)).token != other.token
    else:
        assert as_words(answers) == words(does, code)
        assert state_of(bob, FID) == (then or state)
        again = [one for one in answers if isinstance(one, Accept)]
        assert bool(again) is ("the same ACCEPT" in does)
        assert all(one.token == other.token for one in again)
    if "cuts the file link" in does:
        await other.link.when_gone()


# --- at the sender ------------------------------------------------------------------------------

AT_SENDER = rows(OutgoingTransfer, TABLES.FROM_RECEIVER)
RECEIVERS_WORDS: dict[str, Callable[[bytes], m.Message]] = {
    "ACCEPT, another token": lambda fid: Accept(fid, NEW_TOKEN, [Want(0, 0)], False),
    "ACCEPT, the token of the one before": lambda fid: Accept(fid, TOKEN, [Want(0, 0)], False),
    "DECLINE": lambda fid: Decline(fid, m.DECLINED),
    "CANCEL `user`": lambda fid: Cancel(fid, m.USER),
    "CANCEL `declined`": lambda fid: Cancel(fid, m.DECLINED),
    "CANCEL `lost`": lambda fid: Cancel(fid, m.LOST),
    "CANCEL, any other code": lambda fid: Cancel(fid, m.NO_SPACE),
    "PAUSE": lambda fid: Pause(fid, m.PAUSED),
    "RESUME": Resume,
    "VERIFIED on the chat link": Verified,
    "DIALME": DialMe,
}


async def s_offered(alice: Party, other: Other) -> None:
    """The offer is there; its pages are no longer on their way."""
    await other.heard(Offer)
    assert await other.chat.confirmed()


async def s_calling(alice: Party, other: Other) -> None:
    del alice.others[other.peer]  # nobody answers there
    await s_offered(alice, other)
    other.chat.send(Accept(other.fid, TOKEN, [Want(0, 0)], False))
    await other.heard(DialMe)


async def s_running(alice: Party, other: Other) -> None:
    await s_offered(alice, other)
    other.chat.send(Accept(other.fid, TOKEN, [Want(0, 0)], False))
    await other.heard(File)
    other.link = other.user.links[-1]


async def s_broken(alice: Party, other: Other) -> None:
    await s_running(alice, other)
    other.link.abort()
    await alice.see(TransferState.BROKEN, fid=other.fid)


async def s_paused_here(alice: Party, other: Other) -> None:
    await s_calling(alice, other)
    await alice.transfers.pause(other.fid)
    await other.heard(Pause)


async def s_paused_there(alice: Party, other: Other) -> None:
    await s_calling(alice, other)
    await other.answers(Pause(other.fid, m.PAUSED))


async def s_paused_both(alice: Party, other: Other) -> None:
    await s_paused_there(alice, other)
    await alice.transfers.pause(other.fid)
    await other.heard(Pause)


def s_ended(word: Callable[[bytes], m.Message]) -> Setup:
    async def setup(alice: Party, other: Other) -> None:
        await s_calling(alice, other)
        await other.answers(word(other.fid))

    return setup


async def s_cancelled(alice: Party, other: Other) -> None:
    await s_calling(alice, other)
    await alice.transfers.cancel(other.fid)
    await other.heard(Cancel)


SENDERS: dict[str, Setup] = {
    "offered": s_offered,
    "calling": s_calling,
    "running": s_running,
    "broken": s_broken,
    "paused here": s_paused_here,
    "paused there": s_paused_there,
    "paused both": s_paused_both,
    "done": s_ended(Verified),
    "declined": s_ended(lambda fid: Decline(fid, m.DECLINED)),
    "cancelled": s_cancelled,
    "failed": s_ended(lambda fid: Cancel(fid, m.NO_SPACE)),
}


@pytest.mark.parametrize(
    ("state", "word"),
    [(state, word) for state in sorted(SENDERS) for word in sorted(RECEIVERS_WORDS)],
)
@pytest_twisted.ensureDeferred
async def test_what_a_sender_answers(parties, other, tmp_path: Path, state: str, word: str) -> None:  # noqa: F811
    (alice,) = await parties(1, PeerLimits(close_seconds=0.1), **SLOW)
    alice.others[other.peer] = SimpleNamespace(port=other.listen())
    await other.greet(alice)
    other.user.on_message = lambda link, message: link.pause_reading() if isinstance(message, File) else None
    other.fid = (await alice.transfers.offer(other.peer, [write(tmp_path, "a", os.urandom(8 * MIB))])).fid
    await SENDERS[state](alice, other)
    assert state_of(alice, other.fid) == state
    code = alice.transfers._table.known(other.fid).machine.code
    does, then = AT_SENDER[word, state]
    answers = await other.answers(RECEIVERS_WORDS[word](other.fid))
    assert [one for one in as_words(answers) if one != "DIALME"] == words(does, code)
    assert state_of(alice, other.fid) == (then or state)
    await alice.transfers.cancel(other.fid)


# --- dials that cross ---------------------------------------------------------------------------


class LateAnswer:
    """The other side's listener, which answers no HELLO before ``go``; ``link`` fires with what says one."""

    def __init__(self, other: Other) -> None:
        self.link: Deferred[Any] = Deferred()
        self.go: Deferred[None] = Deferred()
        self._answer = other.user.answer
        other.user.answer = self.answer  # type: ignore[method-assign]

    async def answer(self, link: Any, greeting: m.Hello) -> m.Welcome:
        self.link.callback(link)
        await self.go
        return await self._answer(link, greeting)


@pytest_twisted.ensureDeferred
async def test_of_two_dials_that_cross_the_second_is_not_expected(parties, other) -> None:  # noqa: F811
    (bob,) = await parties(1)
    bob.others[other.peer] = SimpleNamespace(port=other.listen())
    late = LateAnswer(other)
    await other.greet(bob)
    await calling(bob, other)
    other.chat.send(DialMe(FID))
    await late.link
    link = await other.file_link(other.token)
    await bob.until(lambda: state_of(bob, FID) == "linked")
    late.go.callback(None)
    await other.user.until(lambda: [end.code for end in other.user.ends] == [m.NOT_EXPECTED])
    assert link.is_open
    assert state_of(bob, FID) == "linked"
    link.abort()  # as a sender does that has given its dial up
    assert (await other.heard(Accept, 2)).token != other.token


@pytest_twisted.ensureDeferred
async def test_a_sender_cuts_its_dial_when_it_says_dialme(parties, other, tmp_path: Path) -> None:  # noqa: F811
    (alice,) = await parties(1, PeerLimits(dial_me_seconds=0.2))
    alice.others[other.peer] = SimpleNamespace(port=other.listen())
    late = LateAnswer(other)
    await other.greet(alice)
    other.fid = (await alice.transfers.offer(other.peer, [write(tmp_path, "a", b"hello")])).fid
    await s_offered(alice, other)
    other.chat.send(Accept(other.fid, TOKEN, [Want(0, 0)], False))
    dialled = await late.link
    await other.heard(DialMe)
    late.go.callback(None)
    await dialled.when_gone()
    assert state_of(alice, other.fid) == "calling"
    await other.file_link(TOKEN)
    assert await other.heard(File) == File(0, 0, 5)


# --- without the feature words ------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_hold_is_not_told_without_resume_and_ends_with_the_next_accept(
    parties,  # noqa: F811
    other,
    tmp_path: Path,
) -> None:
    (alice,) = await parties(1, PeerLimits(close_seconds=0.1), **SLOW)
    alice.others[other.peer] = SimpleNamespace(port=other.listen())
    other.party = alice
    other.chat = await other.dial(alice.port, alice.peer, hello(features=()))
    other.user.on_message = lambda link, message: link.pause_reading() if isinstance(message, File) else None
    other.fid = (await alice.transfers.offer(other.peer, [write(tmp_path, "a", os.urandom(8 * MIB))])).fid
    await s_running(alice, other)
    await alice.transfers.pause(other.fid)
    accept = Accept(other.fid, NEW_TOKEN, [Want(0, 0)], False)
    assert await other.answers(accept) == []
    assert state_of(alice, other.fid) == "paused here"
    await alice.transfers.resume(other.fid)
    other.chat.send(accept)
    await other.heard(File)
    assert state_of(alice, other.fid) == "running"
    await alice.transfers.cancel(other.fid)


@pytest_twisted.ensureDeferred
async def test_a_pause_without_its_word_is_taken_and_a_skip_is_not(parties, other) -> None:  # noqa: F811
    (bob,) = await parties(1)
    other.party = bob
    other.chat = await other.dial(bob.port, bob.peer, hello(features=()))
    await calling(bob, other)
    assert await other.answers(Pause(FID, m.PAUSED)) == []
    assert state_of(bob, FID) == "paused there"
    await other.answers(Resume(FID))
    token = (await other.heard(Accept)).token
    link = await other.dial(bob.port, bob.peer, hello(m.ROLE_FILE, features=(), fid=FID, token=token))
    link.send(Skip(0, m.CHANGED))
    assert (await link.when_gone()).code == m.BAD_FRAME


# --- files that are skipped ----------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_every_want_skipped_is_done_where_another_file_is_final(parties, other) -> None:  # noqa: F811
    (bob,) = await parties(1, PeerLimits(close_seconds=0.1))
    await other.greet(bob)
    other.chat.send(Offer(FID, [OfferedFile(["a"], MIB, 0), OfferedFile(["b"], 5, 0)], False))
    await bob.see(TransferState.OFFERED, fid=FID)
    await bob.transfers.accept(FID)
    link = await other.file_link((await other.heard(Accept)).token)
    link.send(File(0, 0, MIB))
    write_raw(link, bytes(MIB))
    link.send(End(0, blake3(bytes(MIB)).digest()))
    for _ in range(500):
        if any(path.name == "a" for path in bob.downloads.rglob("*")):
            break
        await deferLater(bob.reactor, 0.01)
    link.abort()
    again = await other.heard(Accept, 2)
    assert [want.file for want in again.wants] == [1]
    link = await other.file_link(again.token)
    link.send(Skip(1, m.CHANGED))
    await other.heard(Verified)
    link.leave()
    assert (await bob.end(FID)).state is TransferState.DONE


@pytest_twisted.ensureDeferred
async def test_a_sender_waits_for_verified_when_it_has_skipped_all_that_was_wanted(
    parties,  # noqa: F811
    other,
    tmp_path: Path,
) -> None:
    (alice,) = await parties(1, PeerLimits(close_seconds=0.1))
    alice.others[other.peer] = SimpleNamespace(port=other.listen())
    await other.greet(alice)
    paths = [write(tmp_path, name, b"hello") for name in "ab"]
    other.fid = (await alice.transfers.offer(other.peer, paths)).fid
    await s_offered(alice, other)
    (tmp_path / "b").unlink()
    other.chat.send(Accept(other.fid, TOKEN, [Want(1, 0)], False))
    assert await other.heard(Skip) == Skip(1, m.UNREADABLE)
    assert state_of(alice, other.fid) == "running"
    other.user.links[-1].send(Verified(other.fid))
    assert (await alice.end(other.fid)).state is TransferState.DONE
