"""The list on disk: when it is written, and who leaves after a restart."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from chatnet.core.directory.directory import Directory, SavedDirectory
from chatnet.core.identity import PeerID
from chatnet.core.limits import RegistryLimits
from chatnet.core.records import RecordFields, SignedRecord, endpoint
from chatnet.host.database import Database
from chatnet.registry.snapshots import LEAVE_AT_ONCE, SnapshotWriter
from chatnet.registry.store import MIGRATIONS, RegistryStore

LIMITS = RegistryLimits()
HERE = endpoint("127.0.0.1", 4000)


@contextlib.contextmanager
def told_failures() -> Iterator[list[Failure]]:
    """The failures that are logged meanwhile."""
    told: list[Failure] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            told.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        yield told
    finally:
        globalLogPublisher.removeObserver(observe)


class Setting:
    """A registry's list, its keeper, and a clock that stands still; the store is a real one."""

    def __init__(self, store: RegistryStore, epoch: bytes = b"e" * 16) -> None:
        self.store = store
        self.clock = Clock()
        self.directory = Directory(epoch, LIMITS)
        self.left = 0
        self.keeper = SnapshotWriter(self.clock, self.directory, store, LIMITS, self._left)

    def join(self, number: int, name: str = "") -> None:
        record = SignedRecord(b"k" * 32, b"", b"s" * 64)
        fields = RecordFields(1, name or f"peer{number}", [HERE], 1, 0)
        self.directory.join(record, fields, PeerID(number.to_bytes(32, "big")), HERE.ip)
        self.keeper.changed()

    async def kept(self) -> list[str]:
        """The names on disk; what was asked for before is done by then."""
        return [row.entry.name for row in (await self.store.load_list()).rows if row.entry is not None]

    def _left(self) -> None:
        self.left += 1
        self.keeper.changed()


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path) -> AsyncIterator[RegistryStore]:
    from twisted.internet import reactor

    database = Database(tmp_path / "registry.db", MIGRATIONS, reactor)
    await database.open()
    yield RegistryStore(database)
    await database.close()


@pytest_twisted.ensureDeferred
async def test_changes_are_gathered_and_written_behind(store: RegistryStore) -> None:
    here = Setting(store)
    here.keeper.begin(SavedDirectory([], 0, []))
    here.join(1)
    here.join(2)
    assert await here.kept() == []
    here.clock.advance(LIMITS.keep_seconds)
    assert await here.kept() == ["peer1", "peer2"]
    here.join(3)
    here.clock.advance(LIMITS.keep_seconds)
    assert await here.kept() == ["peer1", "peer2", "peer3"]
    assert here.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_an_unchanged_list_has_its_new_epoch_kept_too(store: RegistryStore) -> None:
    for epoch in (b"1" * 16, b"2" * 16):
        here = Setting(store, epoch)
        here.keeper.begin(await store.load_list())
        here.clock.advance(LIMITS.keep_seconds)
    assert [span.epoch for span in (await store.load_list()).spans] == [b"1" * 16, b"2" * 16]


@pytest_twisted.ensureDeferred
async def test_a_full_disk_is_tried_again(tmp_path: Path) -> None:
    from twisted.internet import reactor

    database = Database(tmp_path / "registry.db", MIGRATIONS, reactor)
    here = Setting(RegistryStore(database))
    here.keeper.begin(SavedDirectory([], 0, []))
    here.join(1)
    here.clock.advance(LIMITS.keep_seconds)  # the database is not open: as good as a full disk
    await database.open()
    assert await here.kept() == []
    here.clock.advance(LIMITS.keep_seconds)
    assert await here.kept() == ["peer1"]
    await database.close()


@pytest_twisted.ensureDeferred
async def test_a_defect_does_not_end_the_writing(store: RegistryStore) -> None:
    here = Setting(store)
    here.keeper.begin(SavedDirectory([], 0, []))
    with told_failures() as failures:
        here.join(1, name="\ud800")  # cannot be encoded; no name that was checked is like that
        here.clock.advance(LIMITS.keep_seconds)
        assert await here.kept() == []
    assert [type(failure.value) for failure in failures] == [UnicodeEncodeError]
    here.join(1)
    here.clock.advance(LIMITS.keep_seconds)
    assert await here.kept() == ["peer1"]
    await here.keeper.flush()


@pytest_twisted.ensureDeferred
async def test_who_does_not_come_back_leaves_some_in_each_turn(store: RegistryStore) -> None:
    before, after = Setting(store), Setting(store, b"f" * 16)
    for number in range(LEAVE_AT_ONCE + 2):
        before.join(number)
    after.keeper.begin(before.directory.changed_since(-1))
    after.join(0)
    after.clock.advance(LIMITS.grace_seconds - 0.1)
    assert after.directory.presumed == LEAVE_AT_ONCE + 1
    after.clock.advance(0.1)
    assert (len(after.directory), after.directory.presumed, after.left) == (1, 0, 2)


@pytest_twisted.ensureDeferred
async def test_stopped_it_leaves_no_timer_and_flush_writes_the_rest(store: RegistryStore) -> None:
    before, after = Setting(store), Setting(store, b"f" * 16)
    before.join(1)
    after.keeper.begin(before.directory.changed_since(-1))
    after.join(2)
    after.keeper.stop()
    assert after.clock.getDelayedCalls() == []
    after.join(3)
    assert after.clock.getDelayedCalls() == []
    flushed: Deferred[None] = Deferred.fromCoroutine(after.keeper.flush())
    await flushed
    assert await after.kept() == ["peer1", "peer2", "peer3"]
