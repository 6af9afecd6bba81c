"""Transfers that lose their links, their processes or their files, and go on or say why not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from blake3 import blake3
from twisted.internet.defer import fail
from twisted.internet.task import deferLater

from chatnet.core import messages
from chatnet.core.errors import LocalError, StoreFailed
from chatnet.core.events import FileRule, RuleKind, SpeedLimits, TransferState
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import Accept, File
from chatnet.peer.files.download import SYNC_BYTES
from chatnet.peer.files.part_files import PARTIAL
from tests.peer.transfers.parties import Party
from tests.peer.transfers.test_transfers import MIB, both_end, landed, offered, parties, quick, write

__all__ = ["parties"]  # the fixture

DONE = (TransferState.DONE, TransferState.DONE)
SLOW = 24 * MIB  # bytes a second: slow enough to be met on the way


async def under_way(alice: Party, bob: Party, path: bytes, least: int = SYNC_BYTES + MIB) -> bytes:
    """The fid of a transfer of which more than one mark has been made."""
    await alice.transfers.set_speed_limits(SLOW, None)
    offer = await offered(alice, bob, path)
    await bob.transfers.accept(offer.fid)
    await bob.until(lambda: (t := bob.latest(offer.fid)) is not None and t.done_bytes > least)
    return offer.fid


async def see_done(alice: Party, bob: Party, fid: bytes) -> None:
    await alice.transfers.set_speed_limits(None, None)
    here, there = await both_end(alice, bob, fid)
    assert (here.state, there.state) == DONE, (here, there)
    assert list((bob.downloads / PARTIAL).iterdir()) == []


def offsets(party: Party) -> list[int]:
    """From where the first file was wanted, in each ACCEPT that this party was sent."""
    return [message.wants[0].offset for message in party.heard if isinstance(message, Accept) and message.wants]


@pytest.mark.parametrize("what", [messages.ROLE_FILE, messages.ROLE_CHAT, "both"])
@pytest_twisted.ensureDeferred
async def test_a_broken_link_mends_itself(parties, tmp_path: Path, what: str) -> None:
    alice, bob = await parties(uniform=quick)
    data = os.urandom(16 * MIB)
    fid = await under_way(alice, bob, write(tmp_path, "a", data))
    for link in list(bob.links):
        if what in ("both", link.role):
            link.abort()
    await see_done(alice, bob, fid)
    assert landed(bob) == {"a": data}
    if what != messages.ROLE_CHAT:
        assert len(set(offsets(alice))) == 2
        assert offsets(alice)[1] >= SYNC_BYTES
        assert bob.latest(fid).resumed_from == alice.latest(fid).resumed_from == offsets(alice)[1]


@pytest.mark.parametrize("who", ["sender", "receiver", "both"])
@pytest_twisted.ensureDeferred
async def test_a_restart_goes_on_where_it_was(parties, tmp_path: Path, who: str) -> None:
    alice, bob = await parties(uniform=quick)
    data = os.urandom(16 * MIB)
    fid = await under_way(alice, bob, write(tmp_path, "a", data))
    for party in {"sender": [alice], "receiver": [bob], "both": [alice, bob]}[who]:
        await party.restart()
    await see_done(alice, bob, fid)
    assert landed(bob) == {"a": data}
    assert bob.latest(fid).resumed_from >= SYNC_BYTES


@pytest_twisted.ensureDeferred
async def test_a_folder_goes_on_in_the_same_folder(parties, tmp_path: Path) -> None:
    alice, bob = await parties(uniform=quick)
    sent = {f"photos/{n:03d}.jpg": os.urandom(n * 37) for n in range(100)} | {"photos/z": os.urandom(16 * MIB)}
    for name, data in sent.items():
        write(tmp_path / "from", name, data)
    fid = await under_way(alice, bob, os.fsencode(tmp_path / "from" / "photos"))
    await bob.restart()
    await see_done(alice, bob, fid)
    assert landed(bob) == sent
    assert len(landed(bob)) == bob.latest(fid).total_files == bob.latest(fid).done_files


@pytest_twisted.ensureDeferred
async def test_a_flipped_byte_in_the_part_is_found(parties, tmp_path: Path) -> None:
    alice, bob = await parties(uniform=quick)
    fid = await under_way(alice, bob, write(tmp_path, "a", os.urandom(16 * MIB)))
    await bob.stop()
    (part,) = (bob.downloads / PARTIAL).iterdir()
    with part.open("r+b") as opened:
        first = opened.read(1)
        opened.seek(0)
        opened.write(bytes([first[0] ^ 1]))
    await bob.restart()
    here, there = await both_end(alice, bob, fid)
    assert (here.state, here.code) == (there.state, there.code) == (TransferState.FAILED, messages.DIGEST)
    assert landed(bob) == {}


@pytest_twisted.ensureDeferred
async def test_a_corrupt_whole_part_is_fetched_again_and_goes_on_like_others(parties, tmp_path: Path) -> None:
    alice, bob = await parties(uniform=quick)
    data = os.urandom(16 * MIB)
    fid = await under_way(alice, bob, write(tmp_path, "a", data))
    await bob.transfers.stop()
    (part,) = (bob.downloads / PARTIAL).iterdir()
    part.write_bytes(bytes(len(data)))  # as if it was killed on the way to the name, and then the disk
    whole = [(0, part.name, blake3(data).digest(), os.fsencode(bob.downloads / "dave"))]
    await bob.store.transfers.files_whole(alice.peer, fid, whole)
    await bob.restart()
    await bob.until(lambda: (t := bob.latest(fid)) is not None and t.done_bytes > SYNC_BYTES + MIB)
    assert bob.latest(fid).resumed_from == 0
    await bob.restart()
    await see_done(alice, bob, fid)
    assert landed(bob) == {"a": data}
    assert bob.latest(fid).resumed_from >= SYNC_BYTES


@pytest_twisted.ensureDeferred
async def test_a_source_that_changed_meanwhile_is_said(parties, tmp_path: Path) -> None:
    alice, bob = await parties(uniform=quick)
    path = write(tmp_path, "a", os.urandom(16 * MIB))
    fid = await under_way(alice, bob, path)
    await bob.stop()
    os.utime(path, ns=(0, 0))
    await bob.restart()
    here, there = await both_end(alice, bob, fid)
    assert (here.state, here.code) == (there.state, there.code) == (TransferState.FAILED, messages.CHANGED)
    assert landed(bob) == {}


@pytest.mark.parametrize("who", ["sender", "receiver"])
@pytest_twisted.ensureDeferred
async def test_an_unanswered_offer_survives(parties, tmp_path: Path, who: str) -> None:
    alice, bob = await parties(uniform=quick)
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    for link in list(alice.chats.values()):
        link.leave()
    await alice.until(lambda: alice.chats == {})
    await (alice if who == "sender" else bob).restart()
    assert [t.state for p in (alice, bob) for t in p.transfers.snapshot()] == [TransferState.OFFERED] * 2
    assert bob.transfers.snapshot()[0].names == ("a",)
    await bob.transfers.accept(offer.fid)
    await see_done(alice, bob, offer.fid)


@pytest_twisted.ensureDeferred
async def test_an_answer_to_who_is_away_waits(parties, tmp_path: Path) -> None:
    alice, bob = await parties(uniform=quick)
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    await alice.stop()
    await bob.until(lambda: bob.chats == {})
    away, bob.others = bob.others, {}
    await bob.transfers.accept(offer.fid)
    await bob.see(TransferState.BROKEN)
    bob.others = away
    await alice.restart()
    await see_done(alice, bob, offer.fid)


@pytest_twisted.ensureDeferred
async def test_a_lost_last_word_is_asked_for(parties, tmp_path: Path) -> None:
    """The receiver has it all, the sender never heard so."""
    alice, bob = await parties(uniform=quick)
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    await bob.transfers.accept(offer.fid)
    await both_end(alice, bob, offer.fid)
    await alice.store.transfers.update(bob.peer, offer.fid, state=TransferState.RUNNING)
    await bob.transfers.forget_ended()
    await alice.restart()
    assert (await alice.end(offer.fid)).state is TransferState.DONE
    assert landed(bob) == {"a": b"hello"}


@pytest_twisted.ensureDeferred
async def test_an_end_that_the_store_did_not_take_is_found_again(parties, tmp_path: Path) -> None:
    alice, bob = await parties(uniform=quick)
    update = bob.store.transfers.update

    def full(*which: Any, **changes: Any) -> Any:
        if changes["state"] is TransferState.DONE:
            return fail(StoreFailed("no-space", "the disk is full"))
        return update(*which, **changes)

    bob.store.transfers.update = full  # type: ignore[method-assign]
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    await bob.transfers.accept(offer.fid)
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, there.state) == DONE
    assert landed(bob) == {"a": b"hello"}
    await bob.restart()
    assert [row.state for row in await bob.store.transfers.all()] != [TransferState.DONE]
    assert (await bob.end(offer.fid)).state is TransferState.DONE
    assert [row.state for row in await bob.store.transfers.all()] == [TransferState.DONE]
    assert landed(bob) == {"a": b"hello"}


@pytest_twisted.ensureDeferred
async def test_a_sender_that_has_forgotten_says_so(parties, tmp_path: Path) -> None:
    alice, bob = await parties(uniform=quick)
    fid = await under_way(alice, bob, write(tmp_path, "a", os.urandom(16 * MIB)))
    await alice.stop()
    (alice.folder / "peer.db").unlink()
    await alice.restart()
    ended = await bob.end(fid)
    assert (ended.state, ended.code) == (TransferState.FAILED, messages.LOST)
    patience = bob.reactor.seconds() + 10
    while list((bob.downloads / PARTIAL).iterdir()):  # removed in a thread, of which no event tells
        assert bob.reactor.seconds() < patience
        await deferLater(bob.reactor, 0.02)


@pytest.mark.parametrize("who", ["sender", "receiver"])
@pytest_twisted.ensureDeferred
async def test_paused_and_let_go(parties, tmp_path: Path, who: str) -> None:
    alice, bob = await parties(uniform=quick)
    data = os.urandom(16 * MIB)
    fid = await under_way(alice, bob, write(tmp_path, "a", data))
    holder, other = (alice, bob) if who == "sender" else (bob, alice)
    held = await holder.transfers.pause(fid)
    assert (held.state, held.reason, held.paused_here) == (TransferState.PAUSED, "you paused it", True)
    seen = await other.see(TransferState.PAUSED, fid=fid)
    assert (seen.reason, seen.paused_here) == ("they paused it", False)
    with pytest.raises(LocalError) as caught:
        await other.transfers.resume(fid)
    assert caught.value.code == "paused-there"
    for party in (alice, bob):  # it holds over a restart
        await party.restart()
    await alice.connect(bob.peer)
    await deferLater(alice.reactor, 0.2)
    assert {p.transfers.snapshot()[0].state for p in (alice, bob)} == {TransferState.PAUSED}
    await holder.transfers.resume(fid)
    await see_done(alice, bob, fid)
    assert landed(bob) == {"a": data}


@pytest_twisted.ensureDeferred
async def test_cancelled_while_paused_leaves_nothing(parties, tmp_path: Path) -> None:
    alice, bob = await parties(uniform=quick)
    fid = await under_way(alice, bob, write(tmp_path, "a", os.urandom(16 * MIB)))
    await bob.transfers.pause(fid)
    await alice.see(TransferState.PAUSED, fid=fid)
    await alice.transfers.cancel(fid)
    assert (await bob.end(fid)).state is TransferState.CANCELLED
    while list((bob.downloads / PARTIAL).iterdir()):
        await deferLater(bob.reactor, 0.01)


@pytest.mark.parametrize("way", ["up", "down"])
@pytest_twisted.ensureDeferred
async def test_a_speed_limit_holds_and_can_be_changed(parties, tmp_path: Path, way: str) -> None:
    alice, bob = await parties()
    limited = alice if way == "up" else bob
    rate = 4 * MIB
    await limited.transfers.set_speed_limits(*((rate, None) if way == "up" else (None, rate)))
    offer = await offered(alice, bob, write(tmp_path, "a", os.urandom(64 * MIB)))
    await bob.transfers.accept(offer.fid)
    await bob.see(TransferState.RUNNING)
    began = bob.reactor.seconds()
    before = bob.transfers.snapshot()[0].done_bytes
    await deferLater(bob.reactor, 1.0)
    passed = bob.reactor.seconds() - began
    done = bob.transfers.snapshot()[0].done_bytes - before
    assert 0.5 * rate * passed < done < 1.3 * rate * passed + MIB
    assert await limited.transfers.set_speed_limits(None, None) == SpeedLimits(None, None)
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, there.state) == DONE
    assert bob.reactor.seconds() - began < 10


@pytest_twisted.ensureDeferred
async def test_a_limit_that_comes_while_a_file_runs(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    path = tmp_path / "large"
    with path.open("wb") as sparse:
        sparse.truncate(4096 * MIB)
    offer = await offered(alice, bob, os.fsencode(path))
    await bob.transfers.accept(offer.fid)
    await bob.until(lambda: (t := bob.latest()) is not None and t.done_bytes > 0)
    await alice.transfers.set_speed_limits(MIB, None)
    await deferLater(bob.reactor, 0.5)  # what was on its way arrives
    before = bob.transfers.snapshot()[0].done_bytes
    await deferLater(bob.reactor, 1.0)
    assert 0 < bob.transfers.snapshot()[0].done_bytes - before < 3 * MIB
    with pytest.raises(LocalError) as caught:
        await alice.transfers.set_speed_limits(1000, None)
    assert caught.value.code == "too-slow"
    await alice.transfers.cancel(offer.fid)
    await bob.end(offer.fid)


@pytest_twisted.ensureDeferred
async def test_rules(parties, tmp_path: Path) -> None:
    alice, bob = await parties(limits=PeerLimits(offers_per_minute=20))
    small, large = write(tmp_path, "small", b"hello"), write(tmp_path, "large", b"x" * 2000)
    await bob.transfers.set_rule(alice.peer, FileRule(RuleKind.AUTO, 5000))  # and 4 KiB for the file
    one = await alice.transfers.offer(bob.peer, [small])
    assert (await alice.end(one.fid)).state is TransferState.DONE
    two = await offered(alice, bob, large)
    assert bob.latest(two.fid).state is TransferState.OFFERED
    await bob.transfers.set_rule(alice.peer, FileRule(RuleKind.AUTO))
    await bob.restart()
    assert bob.transfers.rule(alice.peer) == FileRule(RuleKind.AUTO)
    three = await alice.transfers.offer(bob.peer, [large])
    assert (await alice.end(three.fid)).state is TransferState.DONE
    await bob.transfers.set_rule(alice.peer, FileRule(RuleKind.REFUSE))
    four = await alice.transfers.offer(bob.peer, [small])
    ended = await alice.end(four.fid)
    assert (ended.state, ended.code) == (TransferState.DECLINED, messages.DECLINED)


@pytest_twisted.ensureDeferred
async def test_the_time_of_a_file_is_kept(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    path = write(tmp_path, "a", b"hello")
    os.utime(path, ns=(0, 1_234_567_890_123_000_000))
    offer = await offered(alice, bob, path)
    await bob.transfers.accept(offer.fid)
    await both_end(alice, bob, offer.fid)
    assert (bob.downloads / "dave" / "a").stat().st_mtime_ns == 1_234_567_890_123_000_000


@pytest_twisted.ensureDeferred
async def test_a_folder_that_comes_again_is_not_sent_again(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    sent = {f"p/{n}": os.urandom(1000 + n) for n in range(20)}
    for name, data in sent.items():
        write(tmp_path / "from", name, data)
    folder = tmp_path / "from" / "p"
    first = await offered(alice, bob, os.fsencode(folder))
    await bob.transfers.accept(first.fid)
    await both_end(alice, bob, first.fid)
    (folder / "new").write_bytes(b"new")
    wrong = bob.downloads / "dave" / "p" / "7"  # looks the same, and is not
    wrong.write_bytes(bytes(len(sent["p/7"])))
    bytes_before = bob.transfers.snapshot()[0].done_bytes
    got: list[Any] = []
    received = bob.received
    bob.received = lambda link, message: (got.append(message), received(link, message))  # type: ignore[method-assign]
    again = await offered(alice, bob, os.fsencode(folder))
    await bob.transfers.accept(again.fid)
    here, there = await both_end(alice, bob, again.fid)
    assert (here.state, there.state) == DONE
    moved = [message for message in got if isinstance(message, File) and message.length]
    assert sorted(message.length for message in moved) in ([3, len(sent["p/7"])], [3, 3, len(sent["p/7"])])
    assert bytes_before == sum(map(len, sent.values()))
    assert landed(bob) == sent | {"p/new": b"new", "p/7": bytes(len(sent["p/7"])), "p/7 (2)": sent["p/7"]}
