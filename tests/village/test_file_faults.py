"""Transfers whose words are lost, whose disks are full, whose files change: each ends, or waits for a person."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater

from chatnet.core import messages
from chatnet.core.errors import LocalError, StoreFailed
from chatnet.core.events import FileRule, MessageKind, MessageState, RegistryPhase, RuleKind, TransferState
from chatnet.core.identity import PeerID
from chatnet.peer.files.filesystem import Filesystem
from chatnet.peer.store.messages import MessageRows
from chatnet.peer.store.transfers import FileRow, TransferRows
from chatnet.peer.transfers import sender
from tests.support.village import Village, Villager
from tests.village.test_files import LARGE, is_in, made, offered, parts, received, running

MIB = 1_048_576
BACK = 60  # seconds in which everything is known once both are there


def disk(one: Villager, free_mib: list[int]) -> None:
    """What this one's disk says that it has, from now on; the reserve comes on top."""

    def space(fd: int) -> Any:
        return SimpleNamespace(f_bavail=free_mib[0] + 256, f_frsize=MIB, f_files=0)

    one.node.transfers._executor.downloads._filesystem = Filesystem(os.urandom, space, 256 * MIB)


async def away(village: Village, one: Villager, other: Villager) -> None:
    """``one`` quits, and ``other`` knows."""
    await one.stop()
    await village.until(lambda: one.name not in other.online)


# --- a program that is killed between two commits ---


def killed_before(monkeypatch: pytest.MonkeyPatch, commit: str) -> None:
    """Nobody lives to see this ``commit`` of the store, or what follows it."""
    monkeypatch.setattr(MessageRows, commit, lambda *_: Deferred())


async def file_rows(village: Village, one: Villager, other: Villager) -> list[tuple[str, MessageState, str]]:
    page = await village.done(one.door.history(other.chat))
    return [(row.body, row.state, row.reason) for row in page.messages]


@pytest_twisted.ensureDeferred
async def test_an_offer_whose_row_was_not_stored_has_one_after_a_start(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await village.people("ann", "bob")
    with monkeypatch.context() as killing:
        killed_before(killing, "add_file_row")
        fid = await offered(village, ann, bob, made(village, "a.txt", 10))
        await village.settle()
        assert await file_rows(village, ann, bob) == await file_rows(village, bob, ann) == []
        await bob.stop()
        await ann.stop()
    for _ in range(2):  # a second start changes nothing
        ann.start()
        bob.start()
        await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"})
        assert await file_rows(village, ann, bob) == [("a.txt", MessageState.SENT, "")]
        assert await file_rows(village, bob, ann) == [("a.txt", MessageState.RECEIVED, "")]
        assert bob.people[ann.peer].unread == 1
        await bob.stop()
        await ann.stop()
    ann.start()
    bob.start()
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"})
    await village.done(bob.door.refuse(fid))
    await village.until(lambda: is_in(TransferState.DECLINED, fid, ann))
    assert await file_rows(village, ann, bob) == [("a.txt", MessageState.REFUSED, "they refused it")]


@pytest_twisted.ensureDeferred
async def test_the_end_of_a_transfer_that_its_row_has_missed_is_there_after_a_start(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await village.people("ann", "bob")
    taken, refused = [await offered(village, ann, bob, made(village, name, 10)) for name in ("a.txt", "b.txt")]
    with monkeypatch.context() as killing:
        killed_before(killing, "set_file_state")
        await village.done(bob.door.accept(taken))
        await village.done(bob.door.refuse(refused))
        await village.until(lambda: is_in(TransferState.DONE, taken, ann, bob))
        await village.until(lambda: is_in(TransferState.DECLINED, refused, ann, bob))
        await village.settle()
        saved_to = os.fsdecode(bob.transfers[taken].saved_to)
        for one in (ann, bob):
            await one.stop()
    for one in (ann, bob):
        one.start()
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"})
    assert await file_rows(village, ann, bob) == [
        ("a.txt", MessageState.DELIVERED, ""),
        ("b.txt", MessageState.REFUSED, "they refused it"),
    ]
    assert await file_rows(village, bob, ann) == [
        ("a.txt", MessageState.RECEIVED, saved_to),
        ("b.txt", MessageState.REFUSED, "you refused it"),
    ]


@pytest_twisted.ensureDeferred
async def test_a_strangers_offer_whose_row_was_not_stored_is_a_request_after_a_start(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bob,) = await village.people("bob")
    eve = await village.stranger("eve", bob)
    with monkeypatch.context() as killing:
        killed_before(killing, "add_file_row")
        transfer = await village.done(eve.door.offer(bob.chat, (made(village, "a.txt", 10),)))
        await village.until(lambda: bob.node.transfers._table.find(eve.peer, transfer.fid))
        await village.settle()
        assert bob.requests == ()
        await bob.stop()
    bob.start()
    await village.until(lambda: bob.requests)
    (request,) = bob.requests
    assert (request.peer, request.offers, request.first_line) == (eve.peer, 1, "a.txt")
    await village.until(lambda: bob.phase is RegistryPhase.UP)
    await village.done(bob.door.accept_request(eve.peer))
    await village.until(lambda: is_in(TransferState.OFFERED, transfer.fid, bob))


# --- words that do not arrive ---


@pytest_twisted.ensureDeferred
async def test_an_offer_that_died_with_its_link_arrives(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.connect(bob.peer))
    taken = await village.done(ann.door.offer(bob.chat, (made(village, "a.txt", 10),)))
    village.net.cut(ann.machine.host, bob.machine.host)
    await village.until(lambda: taken.fid in bob.transfers, within=BACK)
    assert is_in(TransferState.OFFERED, taken.fid, ann, bob)
    assert list(bob.transfers) == [taken.fid]


@pytest_twisted.ensureDeferred
async def test_an_offer_to_who_was_killed_before_reading_it_arrives(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.connect(bob.peer))
    village.freeze(bob)
    transfer = await village.done(ann.door.offer(bob.chat, (made(village, "a.txt", 10),)))
    village.net.cut(ann.machine.host, bob.machine.host)
    village.thaw(bob.machine.host)
    await bob.stop()
    bob.start()
    await village.until(lambda: transfer.fid in bob.transfers, within=BACK)


@pytest_twisted.ensureDeferred
async def test_nobody_is_answered_before_all_transfers_are_recalled(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that comes amid a start: what is not yet read from the disk is not lost."""
    ann, bob = await village.people("ann", "bob")
    fids = [await offered(village, ann, bob, made(village, f"{name}.txt", 10)) for name in "abc"]
    await ann.stop()
    whole = TransferRows.files

    async def slow(self: TransferRows, peer: PeerID, fid: bytes) -> list[FileRow]:
        await deferLater(ann.machine, 3.0)
        return await whole(self, peer, fid)

    monkeypatch.setattr(TransferRows, "files", slow)
    ann.start()
    await village.until(lambda: set(ann.transfers) >= set(fids), within=BACK)
    await village.pass_time(BACK)
    assert all(is_in(TransferState.OFFERED, fid, ann, bob) for fid in fids)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("who", ["sender", "receiver"])
async def test_a_clock_that_was_set_gives_no_offer_up(village: Village, who: str) -> None:
    """How long an offer has waited is measured by what cannot jump, as for messages (A12)."""
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    wrong = ann if who == "sender" else bob
    await wrong.stop()
    wrong.wall_offset = 40 * 86_400
    wrong.start()
    await village.until(lambda: fid in wrong.transfers, within=BACK)
    await village.pass_time(BACK)
    assert is_in(TransferState.OFFERED, fid, ann, bob)


@pytest_twisted.ensureDeferred
async def test_a_refusal_reaches_who_was_away(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    await away(village, ann, bob)
    await village.done(bob.door.refuse(fid))
    await village.pass_time(30)
    ann.start()
    await village.until(lambda: fid in ann.transfers and is_in(TransferState.DECLINED, fid, ann), within=BACK)
    assert ann.transfers[fid].reason == "they refused it"


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("by_sender", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_cancel_reaches_who_was_away(village: Village, by_sender: bool, restart: bool) -> None:
    """Also if the one that cancelled ended before it could say so."""
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    one, other = (ann, bob) if by_sender else (bob, ann)
    await away(village, other, one)
    await village.done(one.door.cancel(fid))
    if restart:
        await one.stop()
        one.start()
    other.start()
    await village.until(lambda: fid in other.transfers and is_in(TransferState.CANCELLED, fid, other), within=BACK)
    assert other.transfers[fid].reason == "they cancelled it"


@pytest.mark.parametrize("by_sender", [True, False])
@pytest_twisted.ensureDeferred
async def test_one_pauses_and_the_other_cancels(village: Village, by_sender: bool) -> None:
    """Each while the other is away; then they meet."""
    ann, bob = await village.people("ann", "bob")
    fid = await running(village, ann, bob)
    one, other = (ann, bob) if by_sender else (bob, ann)
    await village.done(one.door.pause(fid))
    await village.until(lambda: is_in(TransferState.PAUSED, fid, ann, bob))
    await away(village, one, other)
    await village.done(other.door.cancel(fid))
    one.start()
    await village.until(lambda: fid in one.transfers and is_in(TransferState.CANCELLED, fid, ann, bob), within=BACK)
    await village.until(lambda: parts(bob) == [], within=BACK)


@pytest_twisted.ensureDeferred
async def test_what_was_forgotten_is_still_said(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    await away(village, ann, bob)
    await village.done(bob.door.refuse(fid))
    await village.done(bob.door.forget_ended())
    await bob.stop()
    bob.start()
    ann.start()
    await village.until(lambda: fid in ann.transfers and is_in(TransferState.DECLINED, fid, ann), within=BACK)
    assert fid not in bob.transfers
    assert bob.node.transfers.snapshot() == ()


# --- disks ---


@pytest_twisted.ensureDeferred
async def test_what_a_part_holds_counts_as_free(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    free = [1000]
    disk(bob, free)
    fid = await running(village, ann, bob)
    await village.until(lambda: bob.transfers[fid].done_bytes > 8 * MIB, step=0.005)
    free[0] = 1  # the rest of the disk is full; the part has all its space
    village.net.cut(ann.machine.host, bob.machine.host)
    await village.until(lambda: is_in(TransferState.BROKEN, fid, ann, bob))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=BACK)
    assert (bob.roots.downloads / "ann" / "large.bin").stat().st_size == LARGE


@pytest_twisted.ensureDeferred
async def test_a_full_disk_is_said_and_it_goes_on_by_itself(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    free = [30]
    disk(bob, free)
    (village.directory / "two").mkdir()
    for name in ("a", "b"):
        made(village, f"two/{name}", 20 * MIB)
    with pytest.raises(LocalError) as refused:
        await village.done(bob.door.accept(await offered(village, ann, bob, os.fsencode(village.directory / "two"))))
    assert refused.value.text.startswith('"two/ (2)" needs 40.0 MiB beside the 256.0 MiB that stay free; 286.0 MiB')
    (fid,) = bob.transfers
    free[0] = 50
    await village.done(bob.door.accept(fid))
    await village.until(lambda: bob.transfers[fid].done_bytes > 0, step=0.005)
    free[0] = 1
    await village.until(lambda: is_in(TransferState.PAUSED, fid, ann, bob))
    assert [one.transfers[fid].code for one in (ann, bob)] == [messages.NO_SPACE] * 2
    with pytest.raises(LocalError) as again:
        await village.done(bob.door.resume(fid))
    assert again.value.code == messages.NO_SPACE
    assert "needs 20.0 MiB" in again.value.text
    assert "257.0 MiB free" in again.value.text
    await village.pass_time(20)
    assert is_in(TransferState.PAUSED, fid, ann, bob)
    free[0] = 50
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=BACK)


@pytest_twisted.ensureDeferred
async def test_an_ending_that_met_a_full_disk_is_written_later(village: Village, monkeypatch: Any) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    store, full, saved = bob.node.store.transfers, [True], []
    update = store.update

    def update_if_there_is_space(*which: Any, **changes: Any) -> Any:
        if not full[0]:
            saved.append(changes["state"])
            return update(*which, **changes)
        error = StoreFailed("no-space", "the disk is full")
        bob.machine.callLater(0, bob.node.watch.failed, error)
        return fail(error)

    monkeypatch.setattr(store, "update", update_if_there_is_space)
    await village.done(bob.door.cancel(fid))
    await village.until(lambda: is_in(TransferState.CANCELLED, fid, ann, bob))
    await village.pass_time(10)
    full[0] = False
    await village.until(lambda: saved, within=30, step=0.1)
    await bob.stop()
    bob.start()
    await village.until(lambda: bob.door._node is not None)
    await village.pass_time(5)
    (transfer,) = bob.node.transfers.snapshot()
    assert (transfer.state, transfer.code) == (TransferState.CANCELLED, messages.USER)
    assert transfer.reason == "you cancelled it"  # its own store says so, and nobody had to be asked


# --- files and machines ---


@pytest_twisted.ensureDeferred
async def test_files_that_cannot_be_sent_are_named_and_the_others_arrive(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    (village.directory / "many").mkdir()
    for number in range(200):
        made(village, f"many/{number:03}", 1000 + number)
    fid = await offered(village, ann, bob, os.fsencode(village.directory / "many"))
    (village.directory / "many" / "007").unlink()
    (village.directory / "many" / "100").write_bytes(b"another")
    os.utime(village.directory / "many" / "150", ns=(0, 0))
    await village.done(bob.door.accept(fid))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=BACK)
    named = '3 of 200 not sent: "many/007" (cannot be read), "many/100" (changed), "many/150" (changed)'
    for one in (ann, bob):
        assert one.transfers[fid].reason == named
        assert one.transfers[fid].done_files == 197
        await village.until(lambda one=one: named in [row.reason for row in one.rows.values()])
    assert len(received(bob)) == 197
    assert parts(bob) == []


@pytest_twisted.ensureDeferred
async def test_a_file_that_becomes_shorter_on_its_way_does_not_take_the_others_along(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    (village.directory / "two").mkdir()
    made(village, "two/a", LARGE)
    made(village, "two/b", 1000)
    fid = await offered(village, ann, bob, os.fsencode(village.directory / "two"))
    await village.done(bob.door.accept(fid))
    await village.until(lambda: bob.transfers[fid].done_bytes > MIB, step=0.005)
    os.truncate(village.directory / "two" / "a", 1000)
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=BACK)
    assert [path.name for path in received(bob)] == ["b"]
    for one in (ann, bob):
        assert one.transfers[fid].reason == '1 of 2 not sent: "two/a" (changed)'


@pytest_twisted.ensureDeferred
async def test_towards_a_program_that_cannot_skip_one_ends_it_all(village: Village, monkeypatch: Any) -> None:
    monkeypatch.setattr("chatnet.peer.node.FEATURES", frozenset({messages.RESUME}))
    ann, bob = await village.people("ann", "bob")
    (village.directory / "two").mkdir()
    for name in "ab":
        made(village, f"two/{name}", 1000)
    fid = await offered(village, ann, bob, os.fsencode(village.directory / "two"))
    (village.directory / "two" / "b").unlink()
    await village.done(bob.door.accept(fid))
    await village.until(lambda: is_in(TransferState.FAILED, fid, ann, bob))
    assert {one.transfers[fid].code for one in (ann, bob)} == {messages.UNREADABLE}


@pytest_twisted.ensureDeferred
async def test_a_short_lack_of_descriptors_is_waited_out(village: Village, monkeypatch: Any) -> None:
    ann, bob = await village.people("ann", "bob")
    lacks = [3]
    open_sources, dial_file = sender.open_sources, ann.node.dial_file

    def sources(wanted: Any) -> Any:
        if lacks[0]:
            lacks[0] -= 1
            raise LocalError(messages.BUSY, os.strerror(errno.EMFILE))
        return open_sources(wanted)

    dials = [2]

    async def dial(*args: Any) -> Any:
        if dials[0]:
            dials[0] -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return await dial_file(*args)

    monkeypatch.setattr(sender, "open_sources", sources)
    monkeypatch.setattr(ann.node, "dial_file", dial)
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    await village.done(bob.door.accept(fid))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=BACK, step=0.1)
    assert lacks == dials == [0]


# --- what people see ---


@pytest_twisted.ensureDeferred
async def test_the_senders_row_is_there_however_fast_the_receiver_is(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(bob.door.set_rule(ann.peer, FileRule(RuleKind.AUTO)))
    transfer = await village.done(ann.door.offer(bob.chat, (made(village, "a.txt", 10),)))
    await village.until(lambda: is_in(TransferState.DONE, transfer.fid, ann), within=BACK)
    for one, state in ((ann, MessageState.DELIVERED), (bob, MessageState.RECEIVED)):
        await village.until(
            lambda one=one, state=state: (
                [(row.kind, row.state) for row in one.rows.values()] == [(MessageKind.FILE, state)]
            )
        )


@pytest_twisted.ensureDeferred
async def test_the_sixth_offer_of_a_minute_is_slowed_and_not_refused(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    for number in range(7):
        transfer = await village.done(ann.door.offer(bob.chat, (made(village, f"{number}.txt", 10),)))
        await village.until(lambda fid=transfer.fid: fid in bob.transfers, within=30, step=0.1)
        await village.done(bob.door.accept(transfer.fid))
        await village.until(lambda fid=transfer.fid: is_in(TransferState.DONE, fid, ann, bob), within=BACK)
    assert len(received(bob)) == 7


@pytest_twisted.ensureDeferred
async def test_the_speed_is_that_of_this_run(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    limit = 4 * MIB
    await village.done(ann.door.set_speed_limits(limit, None))
    fid = await running(village, ann, bob)
    await village.until(lambda: bob.transfers[fid].done_bytes > LARGE // 3, within=BACK)
    village.net.cut(ann.machine.host, bob.machine.host)
    await village.until(lambda: is_in(TransferState.BROKEN, fid, ann, bob))
    await village.until(lambda: is_in(TransferState.RUNNING, fid, ann, bob), within=BACK)
    for _ in range(10):
        await village.pass_time(0.5, step=0.05)
        for one in (ann, bob):
            speed = one.transfers[fid].bytes_per_second
            assert speed is None or speed < 2 * limit
    assert bob.transfers[fid].resumed_from > 0
    await village.done(ann.door.set_speed_limits(None, None))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=BACK)
