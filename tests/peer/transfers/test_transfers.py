"""Offers, answers, bytes and endings between two peers, over real links."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from blake3 import blake3
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from chatnet.core import messages
from chatnet.core.errors import LocalError, Refused
from chatnet.core.events import FileRule, RuleKind, Transfer, TransferState
from chatnet.core.framing import frame
from chatnet.core.limits import BACKGROUND_TASKS, PROGRESS_SECONDS, WRITE_CHUNK_BYTES, PeerLimits
from chatnet.core.messages import (
    Accept,
    Cancel,
    Decline,
    DialMe,
    End,
    File,
    Offer,
    OfferedFile,
    Reject,
    Resume,
    Verified,
    encode,
)
from chatnet.peer.files import filesystem as filesystem_module
from chatnet.peer.files.download import GROUP_FILES
from chatnet.peer.files.part_files import PARTIAL
from tests.peer.transfers.parties import Party, acquainted
from tests.support.links import Recorder, Station, hello

MIB = 1_048_576


@pytest_twisted.async_yield_fixture
async def parties(tmp_path: Path):
    from twisted.internet import reactor

    started: list[Party] = []

    async def make(count: int = 2, limits: PeerLimits | None = None, **options: Any) -> list[Party]:
        for _ in range(count):
            party = Party(reactor, tmp_path / f"party{len(started)}", limits, **options)
            (tmp_path / f"party{len(started)}").mkdir()
            await party.start()
            started.append(party)
        acquainted(*started)
        return started

    yield make
    for party in started:
        await party.stop()
    for party in started:
        assert list(party.downloads.glob(f"{PARTIAL}/*")) == []


def write(folder: Path, name: str, data: bytes) -> bytes:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return os.fsencode(path)


def landed(party: Party) -> dict[str, bytes]:
    """What lies in the person's folder."""
    home = party.downloads / "dave"
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


async def offered(alice: Party, bob: Party, *paths: bytes) -> Transfer:
    offer = await alice.transfers.offer(bob.peer, paths)
    await bob.see(TransferState.OFFERED, fid=offer.fid)
    return offer


def quick(low: float, high: float) -> float:
    """No waiting for the next try."""
    return 0.02


def sparse(folder: Path, size: int) -> bytes:
    path = folder / "large"
    with path.open("wb") as made:
        made.truncate(size)
    return os.fsencode(path)


async def both_end(alice: Party, bob: Party, fid: bytes) -> tuple[Transfer, Transfer]:
    return await alice.end(fid), await bob.end(fid)


# --- the good way ---


@pytest.mark.parametrize(
    "size", [0, 1, WRITE_CHUNK_BYTES - 1, WRITE_CHUNK_BYTES, WRITE_CHUNK_BYTES + 1, MIB - 1, MIB, 5 * MIB + 7]
)
@pytest_twisted.ensureDeferred
async def test_a_file_arrives_whole(parties, tmp_path: Path, size: int) -> None:
    alice, bob = await parties()
    data = os.urandom(size)
    offer = await offered(alice, bob, write(tmp_path, "video.mkv", data))
    assert (offer.title, offer.total_bytes, offer.state) == ("video.mkv", size, TransferState.WAITING)
    taken = await bob.transfers.accept(offer.fid)
    assert taken.state is TransferState.QUEUED
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, there.state) == (TransferState.DONE, TransferState.DONE)
    assert here.done_bytes == there.done_bytes == size
    assert here.done_files == there.done_files == 1
    assert there.saved_to == os.fsencode(bob.downloads / "dave" / "video.mkv")
    assert landed(bob) == {"video.mkv": data}
    for party in (alice, bob):
        (row,) = await party.store.transfers.all()
        assert row.state is TransferState.DONE
    (file,) = await bob.store.transfers.files(alice.peer, offer.fid)
    assert (file.done, file.final) == (True, there.saved_to)


@pytest_twisted.ensureDeferred
async def test_the_states_come_in_order(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    offer = await offered(alice, bob, write(tmp_path, "a", os.urandom(3 * MIB)))
    await bob.transfers.accept(offer.fid)
    await both_end(alice, bob, offer.fid)
    for party in (alice, bob):
        seen = [t.state for t in party.told]
        assert list(dict.fromkeys(seen)) == [
            *([TransferState.WAITING] if party is alice else []),
            TransferState.OFFERED,
            TransferState.QUEUED,
            TransferState.RUNNING,
            TransferState.CHECKING,
            TransferState.DONE,
        ]
        assert seen == sorted(seen, key=list(TransferState).index)


@pytest_twisted.ensureDeferred
async def test_files_and_a_folder_in_one_offer(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    sent = {f"photos/{n % 7}/{n}.jpg": os.urandom(n * 37) for n in range(200)}
    sent["photos/large.bin"] = os.urandom(2 * MIB)
    for name, data in sent.items():
        write(tmp_path / "from", name, data)
    note = write(tmp_path / "from", "note.txt", b"note")
    offer = await offered(alice, bob, os.fsencode(tmp_path / "from" / "photos"), note)
    assert offer.title == "photos/ and 1 more"
    assert offer.total_files == 202
    await bob.transfers.accept(offer.fid)
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, there.state) == (TransferState.DONE, TransferState.DONE)
    assert there.done_files == here.done_files == 202
    assert landed(bob) == sent | {"note.txt": b"note"}
    assert there.saved_to == os.fsencode(bob.downloads / "dave")
    assert all(file.done for file in await bob.store.transfers.files(alice.peer, offer.fid))


@pytest_twisted.ensureDeferred
async def test_an_offer_of_many_pages(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(2_500):
        (folder / f"{n:05d}-with-a-longer-name").touch()
    offer = await offered(alice, bob, os.fsencode(folder))
    assert offer.total_files == 2_500
    await bob.transfers.accept(offer.fid)
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, there.state) == (TransferState.DONE, TransferState.DONE)
    assert sum(isinstance(m, Offer) for m in bob.heard) >= 3
    assert len(landed(bob)) == 2_500


@pytest_twisted.ensureDeferred
async def test_who_cannot_be_dialled_dials(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    alice.dials_files = False
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    await bob.transfers.accept(offer.fid)
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, there.state) == (TransferState.DONE, TransferState.DONE)
    assert landed(bob) == {"a": b"hello"}
    assert any(isinstance(m, DialMe) for m in bob.heard)


@pytest_twisted.ensureDeferred
async def test_both_ways_at_once(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    one, two = os.urandom(3 * MIB), os.urandom(3 * MIB)
    there = await offered(alice, bob, write(tmp_path, "one", one))
    back = await offered(bob, alice, write(tmp_path, "two", two))
    await bob.transfers.accept(there.fid)
    await alice.transfers.accept(back.fid)
    for fid in (there.fid, back.fid):
        assert {t.state for t in await both_end(alice, bob, fid)} == {TransferState.DONE}
    assert landed(bob) == {"one": one}
    assert landed(alice) == {"two": two}


@pytest_twisted.ensureDeferred
async def test_turns_are_waited_for_and_taken(parties, tmp_path: Path) -> None:
    alice, bob = await parties(limits=PeerLimits(transfers_per_peer=1, offers_pending=5))
    offers = [await offered(alice, bob, write(tmp_path, str(n), os.urandom(MIB))) for n in range(4)]
    running = 0
    for offer in offers:
        await bob.transfers.accept(offer.fid)
    for offer in offers:
        await both_end(alice, bob, offer.fid)
    states: dict[bytes, TransferState] = {}
    for told in bob.told:
        states[told.fid] = told.state
        running = max(running, sum(s in (TransferState.RUNNING, TransferState.CHECKING) for s in states.values()))
    assert set(states.values()) == {TransferState.DONE}
    assert running == 1


@pytest_twisted.ensureDeferred
async def test_a_sender_whose_turn_has_not_come_keeps_the_link(parties, tmp_path: Path) -> None:
    alice, bob, carol = await parties(3, PeerLimits(transfers=1, file_link_seconds=0.5))
    first = await offered(alice, bob, write(tmp_path, "first", os.urandom(8 * MIB)))
    second = await offered(alice, carol, write(tmp_path, "second", b"hello"))
    await bob.transfers.accept(first.fid)
    await carol.transfers.accept(second.fid)
    await both_end(alice, bob, first.fid)
    here, there = await both_end(alice, carol, second.fid)
    assert (here.state, there.state) == (TransferState.DONE, TransferState.DONE)


# --- answers ---


@pytest_twisted.ensureDeferred
async def test_refused(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    assert (await bob.transfers.refuse(offer.fid)).reason == "you refused it"
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, here.code, here.reason) == (TransferState.DECLINED, messages.DECLINED, "they refused it")
    assert there.state is TransferState.DECLINED
    with pytest.raises(LocalError) as caught:
        await bob.transfers.accept(offer.fid)
    assert caught.value.code == "ended"
    assert not bob.downloads.exists()


@pytest_twisted.ensureDeferred
async def test_nobody_there(parties, tmp_path: Path) -> None:
    (alice,) = await parties(1)
    waiting = await alice.transfers.offer(b"x" * 32, [write(tmp_path, "a", b"")])
    assert alice.transfers.snapshot() == (waiting,)
    assert waiting.state is TransferState.WAITING
    assert [row.state for row in await alice.store.transfers.all()] == [TransferState.WAITING]


@pytest_twisted.ensureDeferred
async def test_unknown_numbers_are_errors(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    for method in (bob.transfers.accept, bob.transfers.refuse, bob.transfers.cancel):
        with pytest.raises(LocalError) as caught:
            await method(b"f" * 16)
        assert caught.value.code == "unknown-transfer"
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    with pytest.raises(LocalError):
        await alice.transfers.accept(offer.fid)


@pytest_twisted.ensureDeferred
async def test_too_little_space_is_said_and_the_offer_stands(parties, tmp_path: Path) -> None:
    free = [100]

    def space(fd: int) -> Any:
        return SimpleNamespace(f_bavail=free[0], f_frsize=MIB, f_files=0)

    alice, bob = await parties(space=space)
    offer = await offered(alice, bob, write(tmp_path, "video.mkv", b"hello"))
    with pytest.raises(LocalError) as caught:
        await bob.transfers.accept(offer.fid)
    assert caught.value.code == messages.NO_SPACE
    assert caught.value.text.startswith(
        '"video.mkv" needs 4.0 KiB beside the 256.0 MiB that stay free; 100.0 MiB free in '
    )
    free[0] = 1000
    await bob.transfers.accept(offer.fid)
    assert (await bob.end(offer.fid)).state is TransferState.DONE


@pytest.mark.parametrize(("count", "size"), [(2, 2 * MIB), (400, 3_000)])
@pytest_twisted.ensureDeferred
async def test_a_full_disk_holds_it_and_both_are_told(parties, tmp_path: Path, count: int, size: int) -> None:
    free = [1000]

    def space(fd: int) -> Any:
        if (bob.downloads / "dave" / "p").exists():
            return SimpleNamespace(f_bavail=free[0], f_frsize=MIB, f_files=0)
        return SimpleNamespace(f_bavail=1000, f_frsize=MIB, f_files=0)

    alice, bob = await parties(space=space)
    free[0] = 0
    sent = {f"p/{n:03d}": b"\xff" * size for n in range(count)}  # no frame begins so
    for name, data in sent.items():
        write(tmp_path, name, data)
    offer = await offered(alice, bob, os.fsencode(tmp_path / "p"))
    await bob.transfers.accept(offer.fid)
    here = await alice.see(TransferState.PAUSED, fid=offer.fid)
    there = await bob.see(TransferState.PAUSED, fid=offer.fid)
    assert (here.code, here.reason) == (messages.NO_SPACE, "too little space on their disk")
    assert (there.code, there.reason) == (messages.NO_SPACE, "too little space on this disk")
    assert (here.paused_here, there.paused_here) == (False, True)
    assert 0 < len(landed(bob)) < count
    free[0] = 1000
    await bob.transfers.resume(offer.fid)
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, there.state) == (TransferState.DONE, TransferState.DONE)
    assert landed(bob) == sent


@pytest_twisted.ensureDeferred
async def test_offers_are_limited(parties, tmp_path: Path) -> None:
    await parties(1)
    alice, bob = await parties(1, PeerLimits(offers_pending=2, offers_per_minute=3))
    path = write(tmp_path, "a", b"")
    one, two = [await offered(alice, bob, path) for _ in range(2)]
    three = await alice.transfers.offer(bob.peer, [path])
    assert (await alice.end(three.fid)).code == messages.TOO_MANY
    assert bob.turned_down == [(three.fid, "a", "it is more than is taken of them at a time")]
    await bob.transfers.refuse(one.fid)
    four = await offered(alice, bob, path)
    await bob.transfers.refuse(four.fid)
    await bob.transfers.refuse(two.fid)
    assert len(bob.transfers.snapshot()) == 3


@pytest_twisted.ensureDeferred
async def test_many_offers_at_once_wait_for_answers_at_their_sender(parties, tmp_path: Path) -> None:
    alice, bob = await parties(limits=PeerLimits(offers_pending=2))
    path = write(tmp_path, "a", b"")
    offers = [await alice.transfers.offer(bob.peer, [path]) for _ in range(5)]
    for number, offer in enumerate(offers):
        await bob.see(TransferState.OFFERED, fid=offer.fid)
        states = [one.state for one in alice.transfers.snapshot()]
        assert states.count(TransferState.WAITING) >= len(offers) - number - 2
        await bob.transfers.refuse(offer.fid)
        assert (await alice.end(offer.fid)).code == messages.DECLINED
    assert bob.turned_down == []


@pytest_twisted.ensureDeferred
async def test_of_offers_that_a_rule_refuses_so_many_are_told_a_minute(parties, tmp_path: Path) -> None:
    await parties(1, PeerLimits(offers_per_minute=100))
    alice, bob = await parties(1, PeerLimits(offers_per_minute=3))
    await bob.transfers.set_rule(alice.peer, FileRule(RuleKind.REFUSE))
    path = write(tmp_path, "a", b"")
    offers = [await alice.transfers.offer(bob.peer, [path]) for _ in range(6)]
    for offer in offers:
        assert (await alice.end(offer.fid)).state is TransferState.DECLINED
    assert [told[1:] for told in bob.turned_down] == [("a", "your rule refuses what they offer")] * 3
    assert {told[0] for told in bob.turned_down} <= {offer.fid for offer in offers}


@pytest_twisted.ensureDeferred
async def test_an_honest_sender_is_slowed_and_not_refused(parties, tmp_path: Path) -> None:
    """More offers a minute than the limit wait for their time; each is answered and done before the next."""
    alice, bob = await parties(limits=PeerLimits(offers_per_minute=120), uniform=quick)
    began = alice.reactor.seconds()
    for number in range(124):
        offer = await offered(alice, bob, write(tmp_path, str(number), b"hello"))
        await bob.transfers.accept(offer.fid)
        assert {t.state for t in await both_end(alice, bob, offer.fid)} == {TransferState.DONE}
    assert alice.reactor.seconds() - began > 1.0
    assert len(landed(bob)) == 124


# --- endings ---


@pytest.mark.parametrize("who", ["sender", "receiver"])
@pytest.mark.parametrize("when", ["offered", "running"])
@pytest_twisted.ensureDeferred
async def test_cancelled(parties, tmp_path: Path, who: str, when: str) -> None:
    alice, bob = await parties()
    path = tmp_path / "large"
    with path.open("wb") as sparse:
        sparse.truncate(512 * MIB)
    offer = await offered(alice, bob, os.fsencode(path))
    if when == "running":
        await bob.transfers.accept(offer.fid)
        await bob.until(lambda: (t := bob.latest()) is not None and t.done_bytes > 0)
    party = alice if who == "sender" else bob
    mine = await party.transfers.cancel(offer.fid)
    assert (mine.state, mine.reason) == (TransferState.CANCELLED, "you cancelled it")
    other = await (bob if who == "sender" else alice).end(offer.fid)
    assert (other.state, other.code, other.reason) == (TransferState.CANCELLED, messages.USER, "they cancelled it")
    if when == "running":
        assert landed(bob) == {}
    assert (await party.transfers.cancel(offer.fid)).state is TransferState.CANCELLED


@pytest_twisted.ensureDeferred
async def test_cancelled_and_forgotten_it_still_clears_up_before_the_end(parties, tmp_path: Path) -> None:
    go_on, calls = threading.Event(), []

    def space(fd: int) -> Any:
        calls.append(fd)
        if len(calls) == 2:  # the file's beginning, in the disk's thread
            go_on.wait(300)
        return SimpleNamespace(f_bavail=10_000, f_frsize=MIB, f_files=0)

    alice, bob = await parties(space=space)
    offer = await offered(alice, bob, write(tmp_path, "a", bytes(16 * MIB)))
    await bob.transfers.accept(offer.fid)
    await bob.until(lambda: len(calls) == 2)
    await bob.transfers.cancel(offer.fid)
    forgetting = Deferred.fromCoroutine(bob.transfers.forget_ended())
    go_on.set()
    await bob.transfers.stop()  # no turn of the reactor lies between
    await forgetting
    assert list((bob.downloads / PARTIAL).iterdir()) == []


@pytest.mark.parametrize("change", ["touched", "gone"])
@pytest_twisted.ensureDeferred
async def test_a_source_that_changed_since_it_was_offered(parties, tmp_path: Path, change: str) -> None:
    alice, bob = await parties()
    path = write(tmp_path, "a", b"hello")
    offer = await offered(alice, bob, path)
    if change == "touched":
        os.utime(path, ns=(0, 0))
    else:
        os.unlink(path)
    await bob.transfers.accept(offer.fid)
    here, there = await both_end(alice, bob, offer.fid)
    code = messages.CHANGED if change == "touched" else messages.UNREADABLE
    assert (here.state, here.code) == (there.state, there.code) == (TransferState.FAILED, code)
    assert "here" in here.reason or "since it was offered: send it again" in here.reason
    assert "there" in there.reason
    assert landed(bob) == {}


@pytest.mark.parametrize("change", ["shorter", "longer"])
@pytest_twisted.ensureDeferred
async def test_a_source_that_changes_while_it_is_sent(parties, tmp_path: Path, change: str) -> None:
    alice, bob = await parties()
    path = tmp_path / "large"
    with path.open("wb") as sparse:
        sparse.truncate(64 * MIB)
    offer = await offered(alice, bob, os.fsencode(path))
    await bob.transfers.accept(offer.fid)
    await alice.see(TransferState.RUNNING)
    os.truncate(path, 63 * MIB if change == "shorter" else 65 * MIB)
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, here.code) == (there.state, there.code) == (TransferState.FAILED, messages.CHANGED)
    assert landed(bob) == {}


@pytest_twisted.ensureDeferred
async def test_a_connection_that_nobody_makes(parties, tmp_path: Path) -> None:
    alice, bob = await parties(limits=PeerLimits(file_link_seconds=0.1), uniform=quick)
    alice.dials_files = bob.dials_files = False
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    await bob.transfers.accept(offer.fid)
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, here.code) == (there.state, there.code) == (TransferState.FAILED, messages.LATE)
    assert TransferState.BROKEN in [t.state for t in bob.told]


# --- strangers ---


ANY_RATE = PeerLimits(frames_per_second=10**6, frames_burst=10**6)


class Stranger(Station):
    """A peer that speaks the protocol by hand."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor, Recorder(), ANY_RATE)

    async def greet(self, bob: Party) -> None:
        self.bob = bob
        self.chat = await self.dial(bob.port, bob.peer)  # type: ignore[arg-type]

    async def offer(self, *files: OfferedFile, fid: bytes = b"F" * 16) -> None:
        self.chat.send(Offer(fid, list(files), False))
        await self.bob.see(TransferState.OFFERED, fid=fid)

    async def heard(self, kind: type) -> Any:
        await self.user.until(lambda: any(isinstance(m, kind) for m in self.user.messages))
        return next(m for m in reversed(self.user.messages) if isinstance(m, kind))

    async def until_heard(self, message: messages.Message) -> None:
        await self.user.until(lambda: message in self.user.messages)

    async def file_link(self, token: bytes, fid: bytes = b"F" * 16) -> Any:
        return await self.dial(self.bob.port, self.bob.peer, hello(messages.ROLE_FILE, fid=fid, token=token))  # type: ignore[arg-type]


@pytest_twisted.async_yield_fixture
async def stranger():
    from twisted.internet import reactor

    made = Stranger(reactor)
    yield made
    await made.close()


async def until_accepted(stranger: Stranger, bob: Party, *files: OfferedFile) -> Any:
    await stranger.greet(bob)
    await stranger.offer(*files)
    await bob.transfers.accept(b"F" * 16)
    accept = await stranger.heard(Accept)
    return await stranger.file_link(accept.token)


def write_raw(link: Any, data: bytes) -> None:
    link.transport.write(data)


@pytest_twisted.ensureDeferred
async def test_a_flipped_byte_gets_no_name(parties, stranger) -> None:
    (bob,) = await parties(1)
    data = os.urandom(2 * MIB)
    link = await until_accepted(stranger, bob, OfferedFile(["a"], len(data), 0))
    link.send(File(0, 0, len(data)))
    write_raw(link, b"\x00" + data[1:] if data[0] else b"\x01" + data[1:])
    link.send(End(0, blake3(data).digest()))
    assert await stranger.heard(Reject) == Reject(0, messages.DIGEST)
    ended = await bob.end()
    assert (ended.state, ended.code) == (TransferState.FAILED, messages.DIGEST)
    assert landed(bob) == {}


@pytest_twisted.ensureDeferred
async def test_the_hand_made_sender_is_served_when_it_is_right(parties, stranger) -> None:
    (bob,) = await parties(1)
    data = b"hello"
    link = await until_accepted(stranger, bob, OfferedFile(["a"], 5, 0))
    write_raw(link, frame(encode(File(0, 0, 5))) + data + frame(encode(End(0, blake3(data).digest()))))
    assert await stranger.heard(Verified) == Verified(b"F" * 16)
    assert landed(bob) == {"a": b"hello"}
    (row,) = await bob.store.transfers.all()
    assert row.state is TransferState.DONE  # committed before it was said


@pytest.mark.parametrize(
    "wrong",
    [
        [File(1, 0, 5)],
        [File(0, 1, 4)],
        [File(0, 0, 6)],
        [End(0, bytes(32))],
        [Verified(b"F" * 16)],
        [Reject(0, "digest")],
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_wrong_word_on_a_file_link_ends_it(parties, stranger, wrong: list[messages.Message]) -> None:
    (bob,) = await parties(1)
    link = await until_accepted(stranger, bob, OfferedFile(["a"], 5, 0))
    for message in wrong:
        link.send(message)
    ended = await bob.end()
    assert (ended.state, ended.code) == (TransferState.FAILED, messages.BAD_FRAME)
    assert ended.reason == "the other side broke the protocol"
    assert landed(bob) == {}


@pytest_twisted.ensureDeferred
async def test_only_the_expected_link_comes_in_and_only_once(parties, stranger) -> None:
    (bob,) = await parties(1)
    await stranger.greet(bob)
    await stranger.offer(OfferedFile(["a"], 5, 0))
    with pytest.raises(Refused):
        await stranger.file_link(bytes(32))
    await bob.transfers.accept(b"F" * 16)
    token = (await stranger.heard(Accept)).token
    with pytest.raises(Refused):
        await stranger.file_link(bytes(32))
    with pytest.raises(Refused):
        await stranger.file_link(token, b"G" * 16)
    await stranger.file_link(token)
    with pytest.raises(Refused):
        await stranger.file_link(token)


@pytest_twisted.ensureDeferred
async def test_an_offer_that_is_said_again_is_the_one_that_is_known(parties, stranger) -> None:
    """Its sender may have lost the link behind it: it hears how the offer stands, also when that was forgotten."""
    (bob,) = await parties(1)
    await stranger.greet(bob)
    await stranger.offer(OfferedFile(["a"], 5, 0))
    stranger.chat.send(Offer(b"F" * 16, [OfferedFile(["b"], 5, 0)], True))
    stranger.chat.send(Offer(b"F" * 16, [OfferedFile(["c"], 5, 0)], False))
    await stranger.chat.confirmed()
    assert [t.title for t in bob.transfers.snapshot()] == ["a"]
    await bob.transfers.refuse(b"F" * 16)
    await stranger.until_heard(Decline(b"F" * 16, messages.DECLINED))
    for forgotten in (False, True):
        if forgotten:
            await bob.transfers.forget_ended()
        stranger.user.messages.clear()
        stranger.chat.send(Offer(b"F" * 16, [OfferedFile(["a"], 5, 0)], False))
        assert await stranger.heard(Decline) == Decline(b"F" * 16, messages.DECLINED)
    assert bob.transfers.snapshot() == ()


@pytest_twisted.ensureDeferred
async def test_the_number_of_somebody_elses_offer_is_declined(parties, stranger, tmp_path: Path) -> None:
    alice, bob = await parties()
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    await stranger.greet(bob)
    stranger.chat.send(Offer(offer.fid, [OfferedFile(["b"], 5, 0)], True))
    stranger.chat.send(Offer(offer.fid, [OfferedFile(["c"], 5, 0)], False))
    assert await stranger.heard(Decline) == Decline(offer.fid, messages.CONFLICT)
    assert [t.title for t in bob.transfers.snapshot()] == ["a"]


@pytest.mark.parametrize("stored", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_number_that_was_shown_is_never_that_of_another_offer(parties, stranger, stored: bool) -> None:
    """Also when the first one is withdrawn and forgotten, and even if the store had dropped it."""
    (bob,) = await parties(1)
    await stranger.greet(bob)
    await stranger.offer(OfferedFile(["a"], 5, 0))
    stranger.chat.send(Cancel(b"F" * 16, messages.USER))
    await bob.see(TransferState.CANCELLED, fid=b"F" * 16)
    await bob.transfers.forget_ended()
    if not stored:
        await bob.database.run(lambda connection: connection.execute("DELETE FROM transfer"))
    stranger.chat.send(Offer(b"F" * 16, [OfferedFile(["b"], 5, 0)], False))
    answer = Cancel(b"F" * 16, messages.USER) if stored else Decline(b"F" * 16, messages.DECLINED)
    await stranger.until_heard(answer)
    assert bob.transfers.snapshot() == ()


@pytest_twisted.ensureDeferred
async def test_an_offer_that_waits_for_its_time_loses_its_number_to_one_that_came_meanwhile(
    parties, stranger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = await parties()
    slow = {stranger.peer}
    rate = bob.transfers._offers._rate
    monkeypatch.setattr(rate, "take", lambda peer, now: peer not in slow)
    monkeypatch.setattr(rate, "delay", lambda peer, now: 0.02)
    await stranger.greet(bob)
    stranger.chat.send(Offer(b"F" * 16, [OfferedFile(["b"], 5, 0)], False))
    await stranger.chat.confirmed()
    alice.transfers._random = lambda size: b"F" * size
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    slow.clear()
    assert await stranger.heard(Decline) == Decline(offer.fid, messages.CONFLICT)
    assert [(t.title, t.peer) for t in bob.transfers.snapshot()] == [("a", alice.peer)]


@pytest_twisted.ensureDeferred
async def test_somebody_elses_transfer_is_not_theirs_to_end(parties, stranger, tmp_path: Path) -> None:
    alice, bob = await parties()
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    await stranger.greet(bob)
    stranger.chat.send(Cancel(offer.fid, messages.USER))
    stranger.chat.send(Decline(offer.fid, messages.DECLINED))
    stranger.chat.send(Accept(b"X" * 16, bytes(32), [], False))
    assert await stranger.heard(Cancel) == Cancel(b"X" * 16, messages.LOST)
    assert bob.latest(offer.fid).state is TransferState.OFFERED


@pytest_twisted.ensureDeferred
async def test_hostile_names_are_shown_and_stored_cleaned(parties, stranger) -> None:
    (bob,) = await parties(1)
    link = await until_accepted(stranger, bob, OfferedFile(["..", "..", "\x1b[2Jphoto\u202egpj.exe"], 5, 0))
    shown = bob.told[0]
    assert shown.names == ("folder/folder/[2Jphotogpj.exe",)
    assert "program" in shown.warning
    write_raw(link, frame(encode(File(0, 0, 5))) + b"hello" + frame(encode(End(0, blake3(b"hello").digest()))))
    await stranger.heard(Verified)
    assert landed(bob) == {"folder/folder/[2Jphotogpj.exe": b"hello"}


@pytest_twisted.ensureDeferred
async def test_a_reader_that_stops_costs_no_memory(parties, stranger, tmp_path: Path) -> None:
    """What waits for a receiver that does not read is bounded, whatever the file's size."""
    (alice,) = await parties(1)
    path = tmp_path / "large"
    with path.open("wb") as sparse:
        sparse.truncate(512 * MIB)
    port = stranger.listen()
    alice.others[stranger.peer] = SimpleNamespace(port=port)  # type: ignore[assignment]
    offer = await alice.transfers.offer(stranger.peer, [os.fsencode(path)])
    offered = await stranger.heard(Offer)
    stranger.user.on_message = lambda link, message: link.pause_reading() if isinstance(message, File) else None
    chat = next(link for link in stranger.user.links if link.role == messages.ROLE_CHAT)
    chat.send(Accept(offered.fid, b"T" * 32, [messages.Want(0, 0)], False))
    await stranger.heard(File)
    now = await quiet(alice)
    assert 0 < now < 32 * MIB  # the kernel's buffers, and nothing else
    await alice.transfers.cancel(offer.fid)


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        (lambda fid: Resume(fid), 2_000),
        (lambda fid: Accept(fid, b"T" * 32, [], False), 2_000),
        (lambda fid: Offer(fid, [OfferedFile(["a"], 1, 0)], False), 2_000 - PeerLimits().offers_pending),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_flood_of_questions_waits_with_who_sends_it(parties, stranger, question: Any, answers: int) -> None:
    (bob,) = await parties(1, limits=ANY_RATE)  # what waits is bounded without the rate, too
    top = 0
    received = bob.received
    await stranger.greet(bob)
    link = bob.chats[stranger.peer]
    line = bob.transfers._tasks.lines[stranger.peer]

    def watched(link: Any, message: messages.Message) -> None:
        nonlocal top
        received(link, message)
        top = max(top, line.waiting + bob.database.waiting)

    def slowly() -> None:
        if link.is_open:
            link.resumeProducing()  # one is said, as if a slow reader had taken something
            link.pauseProducing()
            bob.reactor.callLater(0.002, slowly)

    bob.received = watched  # type: ignore[method-assign]
    slowly()
    for number in range(2_000):
        stranger.chat.send(question(number.to_bytes(16, "big")))
    await stranger.user.until(lambda: sum(isinstance(m, Cancel | Decline) for m in stranger.user.messages) == answers)
    assert BACKGROUND_TASKS // 2 < top <= BACKGROUND_TASKS + 5  # the offers that are taken are stored too
    assert stranger.chat.is_open


@pytest_twisted.ensureDeferred
async def test_a_disk_that_waits_stops_the_reading(parties, tmp_path: Path) -> None:
    """What has come and is not written is bounded, whatever the file's size."""
    go_on = threading.Event()
    calls = []

    def space(fd: int) -> Any:
        calls.append(fd)
        if len(calls) == 2:  # the first file's beginning, in the disk's thread
            go_on.wait(300)
        return SimpleNamespace(f_bavail=10_000, f_frsize=MIB, f_files=0)

    alice, bob = await parties(space=space)
    path = tmp_path / "large"
    with path.open("wb") as sparse:
        sparse.truncate(64 * MIB)
    offer = await offered(alice, bob, os.fsencode(path))
    await bob.transfers.accept(offer.fid)
    await bob.see(TransferState.RUNNING)
    try:
        await quiet(bob)
        waiting = bob.transfers.snapshot()[0].done_bytes
        assert abs(waiting - bob.limits.write_ahead_bytes) <= WRITE_CHUNK_BYTES
    finally:
        go_on.set()
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, there.state) == (TransferState.DONE, TransferState.DONE)


@pytest_twisted.ensureDeferred
async def test_the_next_group_comes_while_one_is_settled_and_no_more(
    parties, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, syncs = threading.Event(), []

    def syncfs(folder: int) -> None:
        syncs.append(folder)
        go_on.wait(300)

    monkeypatch.setattr(filesystem_module, "_syncfs", syncfs)
    alice, bob = await parties()
    size, groups = 5_000, 20
    sent = {f"p/{n:04d}": b"%04d" % n * (size // 4) for n in range(groups * GROUP_FILES)}
    for name, data in sent.items():
        write(tmp_path, name, data)
    offer = await offered(alice, bob, os.fsencode(tmp_path / "p"))
    await bob.transfers.accept(offer.fid)
    await bob.see(TransferState.RUNNING)
    try:
        partial = bob.downloads / PARTIAL
        while len(os.listdir(partial)) < 2 * GROUP_FILES:
            await deferLater(bob.reactor, 0.05)
        await quiet(bob)
        assert len(os.listdir(partial)) <= 2 * GROUP_FILES + bob.limits.write_ahead_bytes // size
        assert (len(syncs), landed(bob)) == (1, {})
    finally:
        go_on.set()
    here, there = await both_end(alice, bob, offer.fid)
    assert (here.state, there.state) == (TransferState.DONE, TransferState.DONE)
    assert landed(bob) == sent
    assert len(syncs) == groups


async def quiet(party: Party) -> int:
    """Wait until the first transfer makes no progress; how many bytes it has done."""
    before = -1
    while (now := party.transfers.snapshot()[0].done_bytes) != before:
        before = now
        await deferLater(party.reactor, 0.2)
    return now


@pytest_twisted.ensureDeferred
async def test_progress_is_told_a_few_times_a_second(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    path = tmp_path / "large"
    with path.open("wb") as sparse:
        sparse.truncate(128 * MIB)
    offer = await offered(alice, bob, os.fsencode(path))
    began = alice.reactor.seconds()
    await bob.transfers.accept(offer.fid)
    await both_end(alice, bob, offer.fid)
    most = (alice.reactor.seconds() - began) / PROGRESS_SECONDS + 1
    for party in (alice, bob):
        running = [t for t in party.told if t.state is TransferState.RUNNING]
        assert 2 <= len(running) <= most + 1
        speeds = [t for t in running if t.bytes_per_second]
        assert speeds
        assert all(t.seconds_left is not None and t.seconds_left >= 0 for t in speeds)


@pytest_twisted.ensureDeferred
async def test_a_receiver_that_has_the_beginning_gets_the_rest(parties, stranger, tmp_path: Path) -> None:
    (alice,) = await parties(1)
    alice.others[stranger.peer] = SimpleNamespace(port=stranger.listen())  # type: ignore[assignment]
    data = os.urandom(MIB)
    offer = await alice.transfers.offer(stranger.peer, [write(tmp_path, "a", data)])
    got = bytearray()

    def on_message(link: Any, message: messages.Message) -> None:
        if isinstance(message, File):
            link.expect_raw(message.length, got.extend)
        elif isinstance(message, End):
            link.send(Verified(offer.fid))

    stranger.user.on_message = on_message
    await stranger.heard(Offer)
    stranger.user.links[0].send(Accept(offer.fid, b"T" * 32, [messages.Want(0, 1000)], False))
    assert await stranger.heard(File) == File(0, 1000, MIB - 1000)
    assert await stranger.heard(End) == End(0, blake3(data).digest())
    assert bytes(got) == data[1000:]
    assert (await alice.end()).state is TransferState.DONE


@pytest_twisted.ensureDeferred
async def test_a_receiver_may_give_up_before_the_senders_turn_has_come(parties, stranger, tmp_path: Path) -> None:
    """Its REJECT was answered as an offence."""
    (alice,) = await parties(1, PeerLimits(transfers_per_peer=1))
    alice.others[stranger.peer] = SimpleNamespace(port=stranger.listen())  # type: ignore[assignment]
    stranger.user.on_message = lambda link, message: link.pause_reading() if isinstance(message, File) else None
    fids: list[bytes] = []
    for name in ("first", "second"):
        offer = await alice.transfers.offer(stranger.peer, [write(tmp_path, name, os.urandom(8 * MIB))])
        fids.append(offer.fid)
        await stranger.user.until(lambda: sum(isinstance(m, Offer) for m in stranger.user.messages) == len(fids))
        accept = Accept(offer.fid, os.urandom(32), [messages.Want(0, 0)], False)
        next(link for link in stranger.user.links if link.role == messages.ROLE_CHAT).send(accept)
        await stranger.user.until(lambda: len(stranger.user.links) == 1 + len(fids))
    await stranger.heard(File)
    stranger.user.links[-1].send(Reject(0, messages.UNWRITABLE))
    ended = await alice.end(fids[1])
    assert (ended.state, ended.code) == (TransferState.FAILED, messages.UNWRITABLE)
    await alice.transfers.cancel(fids[0])


@pytest_twisted.ensureDeferred
async def test_an_offer_that_broke_off_is_in_nobodys_way(parties, stranger) -> None:
    (bob,) = await parties(1)
    await stranger.greet(bob)
    stranger.chat.send(Offer(b"E" * 16, [OfferedFile(["half"], 5, 0)], True))
    await stranger.offer(OfferedFile(["a"], 5, 0))
    assert [t.title for t in bob.transfers.snapshot()] == ["a"]


@pytest_twisted.ensureDeferred
async def test_into_a_folder_of_ones_choice(parties, tmp_path: Path) -> None:
    alice, bob = await parties()
    offer = await offered(alice, bob, write(tmp_path, "a", b"hello"))
    with pytest.raises(LocalError) as caught:
        await bob.transfers.accept(offer.fid, os.fsencode(tmp_path / "nowhere"))
    assert caught.value.code == "no-such-folder"
    (tmp_path / "there").mkdir()
    await bob.transfers.accept(offer.fid, os.fsencode(tmp_path / "there"))
    assert (await bob.end(offer.fid)).saved_to == os.fsencode(tmp_path / "there" / "a")
    assert (tmp_path / "there" / "a").read_bytes() == b"hello"


@pytest_twisted.ensureDeferred
async def test_who_ends_it_leaves_the_other_time_to_hear_why(parties, stranger) -> None:
    (bob,) = await parties(1, PeerLimits(close_seconds=0.4))
    link = await until_accepted(stranger, bob, OfferedFile(["a"], 5, 0))
    gone = link.when_gone()
    began = bob.reactor.seconds()
    await bob.transfers.cancel(b"F" * 16)
    assert await stranger.heard(Cancel) == Cancel(b"F" * 16, messages.USER)
    await gone
    assert bob.reactor.seconds() - began >= 0.39


@pytest_twisted.ensureDeferred
async def test_a_cancelled_file_flows_no_further(parties, stranger, tmp_path: Path) -> None:
    (alice,) = await parties(1, PeerLimits(close_seconds=1))
    alice.others[stranger.peer] = SimpleNamespace(port=stranger.listen())  # type: ignore[assignment]
    path = tmp_path / "large"
    with path.open("wb") as sparse:
        sparse.truncate(1024 * MIB)
    offer = await alice.transfers.offer(stranger.peer, [os.fsencode(path)])
    got = [0]

    def count(data: bytes) -> None:
        got[0] += len(data)

    stranger.user.on_message = lambda link, message: (
        link.expect_raw(message.length, count) if isinstance(message, File) else None
    )
    await stranger.heard(Offer)
    stranger.user.links[0].send(Accept(offer.fid, b"T" * 32, [messages.Want(0, 0)], False))
    await stranger.heard(File)
    link = next(link for link in stranger.user.links if link.role == messages.ROLE_FILE)
    await alice.until(lambda: (t := alice.latest()) is not None and t.done_bytes > 0)
    await alice.transfers.cancel(offer.fid)
    at_cancel = alice.transfers.snapshot()[0].done_bytes
    await link.when_gone()
    assert got[0] <= at_cancel
    assert alice.transfers.snapshot()[0].done_bytes == at_cancel


# --- who asks too soon, or too late ---


@pytest_twisted.ensureDeferred
async def test_offer_cancel_and_question_at_once_give_the_outcome_that_the_person_caused(parties, stranger) -> None:
    (bob,) = await parties(1)
    await stranger.greet(bob)
    fids = [bytes([number]) * 16 for number in range(1, 61)]
    for fid in fids:
        stranger.chat.send(Offer(fid, [OfferedFile(["a"], 5, 0)], False))
        stranger.chat.send(Cancel(fid, messages.USER))
        stranger.chat.send(Resume(fid))
    await stranger.user.until(lambda: len(stranger.user.messages) == len(fids))
    assert stranger.user.messages == [Cancel(fid, messages.USER) for fid in fids]
    half = b"H" * 16
    stranger.user.messages.clear()
    stranger.chat.send(Offer(half, [OfferedFile(["a"], 5, 0)], True))
    stranger.chat.send(Cancel(half, messages.USER))
    stranger.chat.send(Resume(half))
    await stranger.user.until(lambda: len(stranger.user.messages) == 1)
    assert stranger.user.messages == [Cancel(half, messages.USER)]


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        (messages.Pause(b"F" * 16, messages.PAUSED), Decline(b"F" * 16, messages.DECLINED)),
        (Resume(b"F" * 16), Decline(b"F" * 16, messages.DECLINED)),
        (DialMe(b"F" * 16), Decline(b"F" * 16, messages.DECLINED)),
        (messages.Pause(b"X" * 16, messages.PAUSED), Cancel(b"X" * 16, messages.LOST)),
    ],
)
@pytest.mark.parametrize("forgotten", [False, True])
@pytest_twisted.ensureDeferred
async def test_every_word_about_what_has_ended_is_answered(
    parties, stranger, word: messages.Message, answer: messages.Message, forgotten: bool
) -> None:
    (bob,) = await parties(1)
    await stranger.greet(bob)
    await stranger.offer(OfferedFile(["a"], 5, 0))
    await bob.transfers.refuse(b"F" * 16)
    await stranger.until_heard(Decline(b"F" * 16, messages.DECLINED))
    if forgotten:
        await bob.transfers.forget_ended()
    stranger.user.messages.clear()
    stranger.chat.send(word)
    await stranger.until_heard(answer)


@pytest_twisted.ensureDeferred
async def test_an_outcome_is_told_on_each_link_to_who_never_asks_until_it_is_heard(
    parties, stranger, tmp_path: Path
) -> None:
    """A program of version 0.1.0 asks nothing about an offer that waits for its person."""
    (alice,) = await parties(1)
    alice.others[stranger.peer] = SimpleNamespace(port=stranger.listen())  # type: ignore[assignment]
    offer = await alice.transfers.offer(stranger.peer, [write(tmp_path, "a", b"hello")])
    await stranger.heard(Offer)
    alice.others.clear()  # so that the stranger dials
    stranger.user.links[0].abort()
    await alice.until(lambda: alice.chats == {})
    await alice.transfers.cancel(offer.fid)
    outcome = Cancel(offer.fid, messages.USER)
    for processed in (False, True):
        stranger.user.messages.clear()
        link = await stranger.dial(alice.port, alice.peer)  # type: ignore[arg-type]
        if not processed:
            link.pause_reading()  # it is on its way, and never read
        else:
            await Deferred.fromCoroutine(stranger.until_heard(outcome)).addTimeout(10, alice.reactor)
        await deferLater(alice.reactor, 0.1)
        link.abort()
        await alice.until(lambda: alice.chats == {})
    assert not alice.transfers.waits_for(stranger.peer)
    stranger.user.messages.clear()
    link = await stranger.dial(alice.port, alice.peer)  # type: ignore[arg-type]
    await deferLater(alice.reactor, 0.1)
    assert stranger.user.messages == []
