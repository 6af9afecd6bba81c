"""What lasts: found again, written out, sent again, expired, restored, and through a full disk."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import datetime
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from chatnet.core.errors import LocalError, StoreFailed
from chatnet.core.events import (
    AlertContent,
    AlertRules,
    AlertsChanged,
    Event,
    MessageState,
    SpeedLimits,
    SpeedLimitsChanged,
    StoreChanged,
    Tab,
    TabsRestored,
)
from chatnet.core.limits import MUTED, PeerLimits
from tests.support.village import Village, Villager

DELIVERED, EXPIRED, WAITING = MessageState.DELIVERED, MessageState.EXPIRED, MessageState.WAITING


async def said(village: Village, one: Villager, other: Villager, *texts: str) -> None:
    for text in texts:
        await village.done(one.door.say(other.chat, text))
    await village.until(lambda: one.states(other.peer)[-1:] == [DELIVERED] and texts[-1] in other.texts(one.peer))


def fill_disk(villager: Villager, full: bool) -> Deferred[None]:
    def job(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages if full else 1_000_000}")

    return villager.node.store._database.read(job)  # in no transaction that could fail with others


@pytest_twisted.ensureDeferred
async def test_search_in_one_conversation_and_everywhere(village: Village) -> None:
    ann, bob, eve = await village.people("ann", "bob", "eve")
    await said(village, ann, bob, "the red house", "the blue house")
    await said(village, eve, ann, "a red car")
    bodies = lambda page: [message.body for message in page.messages]  # noqa: E731
    assert bodies(await village.done(ann.door.search("red"))) == ["a red car", "the red house"]
    assert bodies(await village.done(ann.door.search("red", bob.chat))) == ["the red house"]
    assert bodies(await village.done(ann.door.search("red", sender=eve.peer))) == ["a red car"]
    assert bodies(await village.done(ann.door.search("hou", sender=ann.peer))) == ["the blue house", "the red house"]
    page = await village.done(ann.door.search("house", limit=1))
    assert bodies(page) == ["the blue house"]
    assert bodies(await village.done(ann.door.search("house", before_n=page.before_n))) == ["the red house"]
    with pytest.raises(LocalError):
        await village.done(ann.door.search('"'))


HOSTILE = "\x9b\u202e\u2066\ufdd0\U000e0041\u200b"


@pytest_twisted.ensureDeferred
async def test_export_writes_all_and_overwrites_nothing(village: Village, tmp_path: Path) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.say(bob.chat, "\x1b[2Jzero"))
    await said(village, bob, ann, HOSTILE, "three")
    await said(village, ann, bob, "one\ntwo")
    await said(village, bob, ann, "你好")
    former = os.umask(0)
    try:
        text, data = tmp_path / "out.txt", tmp_path / "out.json"
        exported = await village.done(ann.door.export(bob.chat, os.fsencode(text)))
        await village.done(ann.door.export(bob.chat, os.fsencode(data), "json"))
    finally:
        os.umask(former)
    assert (exported.path, exported.messages) == (os.fsencode(text), 5)
    assert [path.stat().st_mode & 0o777 for path in (text, data)] == [0o600, 0o600]
    lines = text.read_text("utf-8").splitlines()
    assert [line[20:] for line in lines if not line.startswith(" ")][3:] == ["you: one", "bob: 你好"]
    assert lines[4] == "    two"
    assert not any(c in file.read_text("utf-8") for c in ("\x1b", *HOSTILE) for file in (text, data))
    rows = json.loads(data.read_text("utf-8"))
    assert [(row["from"], row["text"]) for row in rows] == [
        ("you", "\x1b[2Jzero"),
        ("bob", HOSTILE),
        ("bob", "three"),
        ("you", "one\ntwo"),
        ("bob", "你好"),
    ]
    for file, form, code in (
        (text, "text", "exists"),
        (tmp_path / "no" / "x", "text", "unwritable"),
        (data, "pdf", "bad-format"),
    ):
        with pytest.raises(LocalError) as refusal:
            await village.done(ann.door.export(bob.chat, os.fsencode(file), form))
        assert refusal.value.code == code
        if code == "unwritable":
            assert refusal.value.text.endswith("x cannot be written: no such file or directory. Choose another place.")
    assert text.read_text("utf-8").splitlines() == lines


@pytest_twisted.ensureDeferred
async def test_an_export_says_when_it_was_written_and_that_it_came_late(village: Village, tmp_path: Path) -> None:
    """B13: written while the other one was away; the order is that of arrival."""
    ann, bob = await village.people("ann", "bob")
    await said(village, ann, bob, "before")
    await bob.stop()
    written = await village.done(ann.door.say(bob_chat := next(iter(ann.rows.values())).chat, "while you were away"))
    await village.pass_time(600)
    bob.start()
    await village.until(lambda: [row.body for row in bob.added] == ["while you were away"], within=120)
    (late,) = bob.added
    assert late.sent_ms == written.sent_ms
    assert late.stored_ms - late.sent_ms >= 600_000
    text, data = tmp_path / "out.txt", tmp_path / "out.json"
    await village.done(bob.door.export(ann.chat, os.fsencode(text)))
    await village.done(bob.door.export(ann.chat, os.fsencode(data), "json"))
    before, line = text.read_text("utf-8").splitlines()
    assert "arrived" not in before
    assert line == f"{stamp(late.sent_ms)} ann: while you were away  (arrived {stamp(late.stored_ms)})"
    rows = json.loads(data.read_text("utf-8"))
    assert [row["late"] for row in rows] == [False, True]
    times = [datetime.fromisoformat(rows[1][key]).timestamp() for key in ("time", "arrived")]
    assert times == [late.sent_ms / 1000, late.stored_ms / 1000]
    # Who wrote it sees when they did.
    await village.done(ann.door.export(bob_chat, os.fsencode(tmp_path / "own.txt")))
    assert "arrived" not in (tmp_path / "own.txt").read_text("utf-8")


def stamp(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000):%Y-%m-%d %H:%M:%S}"


@pytest_twisted.ensureDeferred
async def test_a_message_expires_and_goes_out_after_all(village: Village) -> None:
    ann = village.villager("ann", limits=PeerLimits(expire_days=2.0, loopback="free")).start()
    bob = village.villager("bob").start()
    await village.until(lambda: {"bob"} <= ann.online and {"ann"} <= bob.online)
    await said(village, ann, bob, "hello")
    peer = bob.peer
    await bob.stop()
    await village.until(lambda: "bob" not in ann.online)
    late = await village.done(ann.door.say(peer, "are you there?"))
    village.advance(2 * 86_400 - 3_700)
    await village.done(ann.door.history(peer))  # behind the look for what is old
    assert ann.states(peer) == [DELIVERED, WAITING]
    for _ in range(3):  # it is looked for every hour
        village.advance(3_600)
        await village.done(ann.door.history(peer))
    await village.until(lambda: ann.states(peer) == [DELIVERED, EXPIRED])
    assert ann.rows[late.n].reason == "not taken for 2 days"
    await village.until(lambda: ann.people[peer].waiting == 0)
    bob.start()
    await village.until(lambda: "bob" in ann.online, within=120)
    with pytest.raises(LocalError) as refusal:
        await village.done(ann.door.resend(peer, late.n - 1))
    assert refusal.value.code == "not-failed"
    await village.done(ann.door.resend(peer, late.n))
    await village.until(lambda: ann.states(peer) == [DELIVERED, DELIVERED], within=60)
    assert [message.body for message in bob.added if not message.mine] == ["are you there?"]


@pytest_twisted.ensureDeferred
async def test_what_expired_is_not_sent_although_it_was_read_ahead(village: Village) -> None:
    limits = PeerLimits(expire_days=20 / 86_400, expire_check_seconds=5.0, send_window=1, awaited_silence_seconds=75.0)
    ann, bob = village.villager("ann", limits=limits).start(), village.villager("bob").start()
    await village.until(lambda: {"bob"} <= ann.online and {"ann"} <= bob.online)
    await said(village, ann, bob, "hello")
    village.freeze(bob)
    for text in ("on its way", "too late", "this too"):
        await village.done(ann.door.say(bob.chat, text))
    await village.until(lambda: ann.states(bob.peer)[2:] == [EXPIRED, EXPIRED], within=40)
    village.thaw(bob.machine.host)
    await village.until(lambda: ann.states(bob.peer)[1] is DELIVERED, within=40)
    await village.pass_time(10)
    assert ann.states(bob.peer) == [DELIVERED, DELIVERED, EXPIRED, EXPIRED]
    assert [message.body for message in bob.added] == ["hello", "on its way"]


@pytest_twisted.ensureDeferred
async def test_tabs_and_drafts_are_there_after_a_restart(village: Village) -> None:
    ann, bob, eve = await village.people("ann", "bob", "eve")
    await village.done(ann.door.set_tabs((eve.chat, bob.chat)))
    await village.done(ann.door.set_draft(bob.chat, "half a tho"))
    restored = (Tab(eve.chat, ""), Tab(bob.chat, "half a tho"))
    assert ann.door.subscribe(lambda event: None).snapshot.tabs == restored
    await ann.stop()
    ann.start()
    heard: list[Event] = []
    ann.door.subscribe(heard.append)
    await village.until(lambda: any(isinstance(event, TabsRestored) for event in heard))
    assert [event.tabs for event in heard if isinstance(event, TabsRestored)] == [restored]


@pytest_twisted.ensureDeferred
async def test_what_is_told_to_who_looks_elsewhere_is_kept(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    assert ann.door.subscribe(lambda event: None).snapshot.alerts == AlertRules()
    rules = AlertRules(AlertContent.COUNT, (bob.peer,))
    assert await village.done(ann.door.set_alerts(rules)) == rules
    assert ann.door.subscribe(lambda event: None).snapshot.alerts == rules
    too_many = AlertRules(muted=tuple(number.to_bytes(32) for number in range(MUTED + 1)))
    with pytest.raises(LocalError, match="can be muted"):
        await village.done(ann.door.set_alerts(too_many))
    await ann.stop()
    ann.start()
    heard: list[Event] = []
    ann.door.subscribe(heard.append)
    await village.until(lambda: any(isinstance(event, TabsRestored) for event in heard))
    assert [event.alerts for event in heard if isinstance(event, AlertsChanged)] == [rules]


@pytest_twisted.ensureDeferred
async def test_rules_that_a_newer_program_has_kept_are_none(village: Village) -> None:
    (ann,) = await village.people("ann")
    await village.done(ann.node.store.settings.put("alerts", '{"content": "by-pigeon"}'))
    await ann.stop()
    ann.start()
    await village.until(lambda: ann.door.subscribe(lambda event: None).snapshot.me is not None)
    assert ann.door.subscribe(lambda event: None).snapshot.alerts == AlertRules()


@pytest_twisted.ensureDeferred
async def test_speed_limits_are_told_when_they_change_and_after_a_restart(village: Village) -> None:
    (ann,) = await village.people("ann")
    heard: list[Event] = []
    ann.door.subscribe(heard.append)
    limits = await village.done(ann.door.set_speed_limits(2_000_000, None))
    assert limits == SpeedLimits(2_000_000, None)
    await village.until(lambda: SpeedLimitsChanged(limits) in heard)
    assert ann.door.subscribe(lambda event: None).snapshot.speed_limits == limits
    with pytest.raises(LocalError):
        await village.done(ann.door.set_speed_limits(1, None))
    await ann.stop()
    ann.start()
    heard.clear()
    assert ann.door.subscribe(heard.append).snapshot.speed_limits == SpeedLimits()
    await village.until(lambda: SpeedLimitsChanged(limits) in heard)


@pytest_twisted.ensureDeferred
async def test_a_receiver_with_a_full_disk_loses_nothing_and_goes_on_by_itself(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await said(village, ann, bob, "before")
    states: list[StoreChanged] = []
    bob.door.subscribe(lambda event: states.append(event) if isinstance(event, StoreChanged) else None)
    await village.done(fill_disk(bob, True))
    texts = [f"{number} {'x' * 16_000}" for number in range(5)]
    for text in texts:
        await village.done(ann.door.say(bob.chat, text))
    await village.until(lambda: bool(states), within=30)
    assert not states[0].ok
    assert "The disk is full" in states[0].text
    assert bob.door.subscribe(lambda event: None).snapshot.store_trouble == states[0].text
    with pytest.raises(StoreFailed):
        await village.done(bob.door.say(ann.chat, "y" * 16_000))
    await village.pass_time(30)
    assert ann.states(bob.peer).count(DELIVERED) < 6  # what was not stored was not acknowledged
    assert [state.ok for state in states] == [False]
    await village.done(fill_disk(bob, False))
    await village.until(lambda: states[-1].ok, within=10)
    await village.until(lambda: ann.states(bob.peer) == [DELIVERED] * 6, within=120)
    assert [message.body for message in bob.added if not message.mine] == ["before", *texts]
    assert bob.door.subscribe(lambda event: None).snapshot.store_trouble == ""


@pytest_twisted.ensureDeferred
async def test_a_sender_with_a_full_disk_notes_what_was_delivered_later(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await said(village, ann, bob, "before")
    peer = bob.peer
    await bob.stop()
    await village.until(lambda: "bob" not in ann.online)
    for number in range(3):
        await village.done(ann.door.say(peer, f"{number}"))
    quick = ann.node.store._database.read(lambda c: c.execute("PRAGMA busy_timeout = 50").fetchall())
    await village.done(quick)
    with sqlite3.connect(ann.roots.of("ann").database) as lock:
        lock.execute("BEGIN IMMEDIATE")  # nobody else can write
        failing = ann.door.say(peer, "not stored")
        with pytest.raises(StoreFailed):
            await village.done(failing)
        bob.start()
        await village.pass_time(20)
        lock.rollback()
    await village.until(lambda: ann.states(peer) == [DELIVERED] * 4, within=120)
    assert [message.body for message in bob.added if not message.mine] == ["0", "1", "2"]
