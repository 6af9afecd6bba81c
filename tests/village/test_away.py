"""Somebody who is away can be written to and sent files: what is meant for them waits, and says so."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
import pytest_twisted

from chatnet.core import messages
from chatnet.core.events import FileRule, MessageKind, MessageState, RegistryPhase, RuleKind, TransferState
from chatnet.core.identity import ChatID, chat_with, key_text
from chatnet.core.limits import PeerLimits
from chatnet.core.transfer import queue
from chatnet.core.transfer.queue import next_to_offer
from chatnet.core.transfer.transfer_machine import TransferMachine
from chatnet.peer.files import disk_threads
from chatnet.peer.files.source import SourceFile, trouble_of
from chatnet.peer.transfers import executor, offering
from tests.support.village import Village, Villager
from tests.village.test_files import is_in, made, offered


async def left_alone(village: Village, limits: PeerLimits | None = None) -> tuple[Villager, Villager, ChatID]:
    """Two who have seen each other, of whom the second is gone; and the chat with that one."""
    ann, dave = (village.villager(name, limits=limits).start() for name in ("ann", "dave"))
    await village.until(lambda: ann.online == {"dave"} and dave.online == {"ann"})
    chat = dave.chat
    await dave.stop()
    await village.until(lambda: ann.online == set())
    return ann, dave, chat


async def file_rows(village: Village, one: Villager, chat: ChatID) -> list[tuple[MessageState, str]]:
    page = await village.done(one.door.history(chat))
    return [(row.state, row.reason) for row in page.messages if row.kind is MessageKind.FILE]


# --- whoever was seen can be written to -----------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True])
@pytest_twisted.ensureDeferred
async def test_whoever_was_seen_can_be_written_to(village: Village, restart: bool) -> None:
    ann, dave, chat = await left_alone(village)
    await village.until(lambda: chat in ann.people and ann.people[chat].remembered)
    if restart:
        await ann.stop()
        ann.start()
        await village.until(lambda: chat in ann.people and not ann.people[chat].online)
    person = ann.people[chat]
    assert (person.name, person.remembered, person.last_seen_ms is not None) == ("dave", True, True)
    await village.done(ann.door.say(chat, "call me"))
    await village.until(lambda: ann.people[chat].waiting == 1)
    assert ann.states(chat) == [MessageState.WAITING]
    assert not ann.people[chat].remembered  # somebody to whom one has written
    dave.start()
    await village.until(lambda: dave.texts(ann.peer) == ["call me"], within=60)
    await village.until(lambda: ann.states(chat) == [MessageState.DELIVERED])


# --- files wait like messages ---------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_file_waits_over_a_restart_and_goes_when_they_come(village: Village) -> None:
    ann, dave, chat = await left_alone(village)
    waiting = await village.done(ann.door.offer(chat, (made(village, "a.txt", 10),)))
    assert waiting.state is TransferState.WAITING
    await village.until(lambda: [row.state for row in ann.rows.values()] == [MessageState.WAITING])
    await ann.stop()
    ann.start()
    await village.until(lambda: waiting.fid in ann.transfers)
    assert is_in(TransferState.WAITING, waiting.fid, ann)
    dave.start()
    await village.until(lambda: waiting.fid in dave.transfers, within=60)
    await village.until(lambda: is_in(TransferState.OFFERED, waiting.fid, ann, dave))
    assert await file_rows(village, ann, chat) == [(MessageState.SENT, "")]
    await village.done(dave.door.accept(waiting.fid))
    await village.until(lambda: is_in(TransferState.DONE, waiting.fid, ann, dave))
    await village.settle()
    assert [state for state, _ in await file_rows(village, ann, chat)] == [MessageState.DELIVERED]


@pytest_twisted.ensureDeferred
async def test_what_waits_can_be_cancelled_and_nobody_hears_of_it(village: Village) -> None:
    ann, dave, chat = await left_alone(village)
    waiting = await village.done(ann.door.offer(chat, (made(village, "a.txt", 10),)))
    await village.done(ann.door.cancel(waiting.fid))
    await village.until(lambda: is_in(TransferState.CANCELLED, waiting.fid, ann))
    assert not ann.node.transfers.waits_for(chat)
    dave.start()
    await village.until(lambda: ann.online == {"dave"})
    await village.pass_time(30)
    assert dave.transfers == {}
    assert await file_rows(village, ann, chat) == [(MessageState.REFUSED, "you cancelled it")]


@pytest.mark.parametrize("offline", [False, True])
@pytest_twisted.ensureDeferred
async def test_what_nobody_took_expires_like_a_message(village: Village, offline: bool) -> None:
    """Also while the program runs, and also an offer that was made and not answered."""
    limits = PeerLimits(expire_days=0.01, expire_check_seconds=100.0)
    if offline:
        ann, _, chat = await left_alone(village, limits)
        fid = (await village.done(ann.door.offer(chat, (made(village, "a.txt", 10),)))).fid
    else:
        ann, dave = (village.villager(name, limits=limits).start() for name in ("ann", "dave"))
        await village.until(lambda: ann.online == {"dave"} and dave.online == {"ann"})
        chat, fid = dave.chat, await offered(village, ann, dave, made(village, "a.txt", 10))
    await village.pass_time(600)
    assert not ann.transfers[fid].state.ended
    await village.pass_time(500)
    assert (ann.transfers[fid].state, ann.transfers[fid].code) == (TransferState.FAILED, messages.EXPIRED)
    if not offline:
        await village.until(lambda: dave.transfers[fid].state is TransferState.FAILED)
    assert await file_rows(village, ann, chat) == [(MessageState.REFUSED, "it waited too long")]


@pytest.mark.parametrize("is_gone", [True, False])
@pytest_twisted.ensureDeferred
async def test_nobody_is_asked_to_take_a_file_that_is_not_there_any_more(village: Village, is_gone: bool) -> None:
    ann, dave, chat = await left_alone(village)
    path = made(village, "a.txt", 10)
    waiting = await village.done(ann.door.offer(chat, (path,)))
    os.unlink(path)
    if not is_gone:
        made(village, "a.txt", 20)
    dave.start()
    await village.until(lambda: ann.transfers[waiting.fid].state is TransferState.FAILED, within=60)
    reason = (
        "a file can no longer be read here" if is_gone else "a file has changed since it was offered: send it again"
    )
    assert ann.transfers[waiting.fid].reason == reason
    await village.pass_time(10)
    assert dave.transfers == {}
    assert await file_rows(village, ann, chat) == [(MessageState.REFUSED, reason)]


@pytest.mark.parametrize("ends", ["answers", "stops"])
@pytest_twisted.ensureDeferred
async def test_a_disk_that_does_not_answer_is_in_nobodys_way(
    village: Village, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """A network share whose server is gone: the offer says so, others are made, and it follows, or ends with a stop."""
    ann, dave = await village.people("ann", "dave")
    answer = threading.Event()

    def look(files: Sequence[SourceFile]) -> str:
        if files[0].offered.path == ["share.txt"]:
            answer.wait(60)
        return trouble_of(files)

    monkeypatch.setattr(executor, "trouble_of", look)
    monkeypatch.setattr(disk_threads, "STOP_SECONDS", 0.2)
    share, local = [
        (await village.done(ann.door.offer(dave.chat, (made(village, name, 10),)))).fid
        for name in ("share.txt", "local.txt")
    ]
    try:
        await village.until(lambda: ann.transfers[share].code == messages.SLOW_DISK, within=30)
        assert ann.transfers[share].state is TransferState.WAITING
        assert ann.transfers[share].reason == "a disk here does not answer: it is offered once it does"
        await village.until(lambda: local in dave.transfers)
        await village.done(dave.door.accept(local))
        await village.until(lambda: is_in(TransferState.DONE, local, ann, dave))
        if ends == "answers":
            answer.set()
            await village.until(lambda: share in dave.transfers)
            assert is_in(TransferState.OFFERED, share, ann, dave)
            assert ann.transfers[share].reason == ""
            assert [row.body for row in ann.added if row.kind is MessageKind.FILE] == ["share.txt", "local.txt"]
        else:
            await ann.stop()
    finally:
        answer.set()


@pytest_twisted.ensureDeferred
async def test_of_a_folder_the_files_that_are_there_still_arrive(village: Village) -> None:
    ann, dave, chat = await left_alone(village)
    (village.directory / "many").mkdir()
    made(village, "many/a.txt", 10)
    made(village, "many/b.txt", 10)
    waiting = await village.done(ann.door.offer(chat, (os.fsencode(village.directory / "many"),)))
    (village.directory / "many" / "a.txt").unlink()
    dave.start()
    await village.until(lambda: waiting.fid in dave.transfers, within=60)
    await village.done(dave.door.accept(waiting.fid))
    await village.until(lambda: is_in(TransferState.DONE, waiting.fid, ann, dave))
    for one in (ann, dave):
        assert one.transfers[waiting.fid].reason == '1 of 2 not sent: "many/a.txt" (cannot be read)'
    assert [path.name for path in (dave.roots.downloads / "ann").rglob("*") if path.is_file()] == ["b.txt"]


@pytest_twisted.ensureDeferred
async def test_what_waits_goes_to_the_new_key_that_a_person_takes(village: Village) -> None:
    """As messages do, and as the same offer."""
    ann, dave, old = await left_alone(village)
    await village.done(ann.door.say(old, "hello"))
    waiting = await village.done(ann.door.offer(old, (made(village, "a.txt", 10),)))
    await village.shut_registry()
    (village.directory / "registry.db").unlink()
    village.open_registry()
    await village.until(lambda: ann.phase is RegistryPhase.UP, within=60)
    new = village.villager("dave", place="other").start()
    await village.until(lambda: new.online == {"ann"} and ann.people[old].new_key == new.peer)
    await village.pass_time(30)
    assert new.transfers == {}
    await village.done(ann.door.trust(old, key_text(new.peer)[:16]))
    await village.until(lambda: [one.title for one in new.transfers.values()] == ["a.txt"])
    await village.done(new.door.accept(waiting.fid))
    await village.until(lambda: is_in(TransferState.DONE, waiting.fid, ann, new))
    assert ann.transfers[waiting.fid].peer == new.peer
    assert await file_rows(village, ann, old) == []
    assert await file_rows(village, ann, new.peer) == [(MessageState.DELIVERED, "")]
    await village.until(lambda: new.texts(ann.peer) == ["a.txt", "hello"] or new.texts(ann.peer) == ["hello", "a.txt"])
    dave.start()
    await village.pass_time(60)
    assert dave.transfers == {}


# --- an honest sender is slowed, not refused --------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_six_files_one_after_the_other_are_slowed_and_not_refused(village: Village) -> None:
    ann, dave = await village.people("ann", "dave")
    for number in range(6):
        fid = await offered(village, ann, dave, made(village, f"{number}.txt", 10))
        await village.done(dave.door.accept(fid))
        await village.until(lambda fid=fid: is_in(TransferState.DONE, fid, ann, dave))


@pytest_twisted.ensureDeferred
async def test_many_files_at_once_come_as_they_are_answered(village: Village) -> None:
    """Those that waited, too; no more are unanswered than are taken, so that none is refused."""
    ann, dave, chat = await left_alone(village)
    fids = [
        (await village.done(ann.door.offer(chat, (made(village, f"{number}.txt", 10),)))).fid for number in range(8)
    ]
    dave.start()
    for number, fid in enumerate(fids):
        await village.until(lambda fid=fid: fid in dave.transfers, within=120)
        waiting = [other for other in fids if ann.transfers[other].state is TransferState.WAITING]
        assert len(waiting) >= len(fids) - number - PeerLimits().offers_pending
        await village.done(dave.door.accept(fid) if number % 2 else dave.door.refuse(fid))
    for number, fid in enumerate(fids):
        state = TransferState.DONE if number % 2 else TransferState.DECLINED
        await village.until(lambda fid=fid, state=state: is_in(state, fid, ann, dave))
        assert ann.transfers[fid].code == ("" if number % 2 else messages.DECLINED)


@pytest_twisted.ensureDeferred
async def test_a_link_that_comes_or_goes_costs_the_same_however_many_files_wait(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The waiting transfers are counted once for all of them, and not once for each."""
    ann, dave, chat = await left_alone(village)
    for number in range(20):
        await village.done(ann.door.offer(chat, (made(village, f"{number}.txt", 10),)))
    counted: list[int] = []

    def count(machines: Sequence[TransferMachine], limits: PeerLimits) -> TransferMachine | None:
        counted.append(len(machines))
        return next_to_offer(machines, limits)

    monkeypatch.setattr(offering, "next_to_offer", count)
    monkeypatch.setattr(queue, "next_to_offer", count)
    dave.start()
    await village.until(lambda: len(dave.transfers) == PeerLimits().offers_pending, within=60)
    await village.settle()
    assert 0 < counted.count(20) < 20
    counted.clear()
    village.net.cut(ann.machine.host, dave.machine.host)
    await village.until(lambda: counted)
    await village.settle()
    assert counted.count(20) < 20


@pytest_twisted.ensureDeferred
async def test_what_waits_for_answers_keeps_no_link(village: Village) -> None:
    ann, dave = await village.people("ann", "dave")
    for number in range(4):
        await village.done(ann.door.offer(dave.chat, (made(village, f"{number}.txt", 10),)))
    await village.until(lambda: len(dave.transfers) == 3)
    await village.pass_time(700)
    assert not ann.node.links.links
    assert sorted(one.state for one in ann.transfers.values()) == ["offered"] * 3 + ["waiting"]
    await village.done(dave.door.refuse(next(iter(dave.transfers))))
    await village.until(lambda: len(dave.transfers) == 4, within=60)


# --- a refused offer leaves a row on both sides -----------------------------------------------------


async def refused_rows(village: Village, one: Villager, other: Villager, count: int = 1) -> list[str]:
    """The reasons of the refused offers in a chat, once there are so many."""

    def refused() -> list[str]:
        rows = [row for row in one.rows.values() if row.chat == other.chat and row.kind is MessageKind.FILE]
        return [row.reason for row in rows if row.state is MessageState.REFUSED]

    await village.until(lambda: len(refused()) >= count)
    return refused()


@pytest_twisted.ensureDeferred
async def test_a_refusal_by_a_person_has_a_row_on_both_sides(village: Village) -> None:
    ann, dave = await village.people("ann", "dave")
    fid = await offered(village, ann, dave, made(village, "a.txt", 10))
    await village.done(dave.door.refuse(fid))
    assert await refused_rows(village, ann, dave) == ["they refused it"]
    assert await refused_rows(village, dave, ann) == ["you refused it"]


@pytest_twisted.ensureDeferred
async def test_a_refusal_by_a_rule_has_a_row_on_both_sides_and_calls_nobody(village: Village) -> None:
    ann, dave = await village.people("ann", "dave")
    await village.done(dave.door.set_rule(ann.peer, FileRule(RuleKind.REFUSE)))
    (village.directory / "many").mkdir()
    for number in range(1_500):
        (village.directory / "many" / f"{number}").touch()
    await village.done(ann.door.offer(dave.chat, (made(village, "a.txt", 10),)))
    await village.done(ann.door.offer(dave.chat, (os.fsencode(village.directory / "many"),)))
    assert await refused_rows(village, ann, dave, 2) == ["they refused it"] * 2
    assert await refused_rows(village, dave, ann, 2) == ["your rule refuses what they offer"] * 2
    assert [row.body for row in dave.rows.values()] == ["a.txt", "many/ and more"]
    assert dave.transfers == {}
    assert dave.people[ann.peer].unread == 0
    page = await village.done(dave.door.history(ann.chat))
    assert [row.reason for row in page.messages] == ["your rule refuses what they offer"] * 2


@pytest_twisted.ensureDeferred
async def test_a_refusal_for_want_of_room_has_a_row_on_both_sides(village: Village) -> None:
    ann = village.villager("ann").start()
    dave = village.villager("dave", limits=replace(PeerLimits(), offers_pending=1)).start()
    await village.until(lambda: ann.online == {"dave"} and dave.online == {"ann"})
    await offered(village, ann, dave, made(village, "a.txt", 10))
    await village.done(ann.door.offer(dave.chat, (made(village, "b.txt", 10),)))
    assert (await refused_rows(village, ann, dave))[0].startswith("they take no more of you at a time")
    assert await refused_rows(village, dave, ann) == ["it is more than is taken of them at a time"]


@pytest_twisted.ensureDeferred
async def test_what_a_blocked_person_offers_leaves_no_row_here(village: Village) -> None:
    ann, dave = await village.people("ann", "dave")
    await village.done(dave.door.block(ann.peer, True))
    await village.done(ann.door.offer(dave.chat, (made(village, "a.txt", 10),)))
    assert await refused_rows(village, ann, dave) == ["they refused it"]
    await village.pass_time(5)
    assert dave.rows == {}


@pytest_twisted.ensureDeferred
async def test_what_a_key_of_no_list_offers_and_a_rule_refuses_leaves_no_row_here(village: Village) -> None:
    (dave,) = await village.people("dave")
    eve = await village.stranger("eve", dave)
    await village.done(eve.door.say(dave.chat, "hello"))
    await village.until(lambda: dave.requests)
    await village.done(dave.door.set_rule(eve.peer, FileRule(RuleKind.REFUSE)))
    await village.done(eve.door.offer(dave.chat, (made(village, "a.txt", 10),)))
    await village.until(lambda: [one.state for one in eve.transfers.values()] == [TransferState.DECLINED])
    await village.pass_time(5)
    assert dave.rows == {}
    page = await village.done(dave.door.history(chat_with(eve.peer)))
    assert [row.kind for row in page.messages] == [MessageKind.TEXT]
