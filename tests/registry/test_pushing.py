from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.task import Clock

from chatnet.core.directory.directory import Directory
from chatnet.core.framing import PREFIX_BYTES
from chatnet.core.identity import PeerID
from chatnet.core.limits import RegistryLimits
from chatnet.core.messages import ListPage
from chatnet.core.records import RecordFields, SignedRecord, endpoint
from chatnet.registry.pushing import STORM_CHANGES, STORM_REST, TURN_SECONDS, Pusher
from tests.support.wire import decode

HERE = endpoint("127.0.0.1", 4000)
PUSH_SECONDS = 0.02


class Reading:
    """A subscriber that takes ``room`` frames and then asks to wait; each takes ``seconds`` of the clock."""

    def __init__(
        self,
        clock: Clock,
        room: int = 1_000_000,
        seconds: float = 0.0,
        name: str = "",
        told: list[str] | None = None,
    ) -> None:
        self._name = name
        self._told = [] if told is None else told
        self.congested = False
        self.is_open = True
        self.pages: list[ListPage] = []
        self._clock = clock
        self._room = room
        self._seconds = seconds
        self._drained: Callable[[], None] | None = None

    def send_frames(self, frames: bytes) -> None:
        assert not self.congested
        self._clock.rightNow += self._seconds
        self._told.append(self._name)
        self.pages.append(cast(ListPage, decode("from-registry", frames[PREFIX_BYTES:])))
        self._room -= 1
        self.congested = self._room <= 0

    def on_drained(self, callback: Callable[[], None] | None) -> None:
        self._drained = callback

    def drain(self, room: int) -> None:
        self._room = room
        self.congested = False
        if self._drained is not None:
            self._drained()

    @property
    def known(self) -> set[str]:
        names: dict[bytes, str] = {}
        for page in self.pages:
            if page.reset:
                names.clear()
            names.update((entry.peer, entry.name) for entry in page.joined)
            for gone in page.left:
                names.pop(gone, None)
        return set(names.values())


class Setting:
    def __init__(self) -> None:
        self.clock = Clock()
        self.directory = Directory(b"e" * 16, RegistryLimits())
        self.pusher = Pusher(self.clock, self.directory, PUSH_SECONDS)

    def join(self, name: str) -> None:
        fields = RecordFields(1, name, [HERE], 1, 0)
        record = SignedRecord(b"k" * 32, b"", b"s" * 64)
        self.directory.join(record, fields, PeerID(name.encode().ljust(32, b"-")), HERE.ip)
        self.pusher.changed()

    def subscriber(
        self, room: int = 1_000_000, seconds: float = 0.0, name: str = "", told: list[str] | None = None
    ) -> Reading:
        reading = Reading(self.clock, room, seconds, name, told)
        self.pusher.add(reading, self.directory.reader(None, local=True))
        self.clock.advance(0)
        return reading


def test_a_newcomer_is_told_the_list_in_the_next_turn() -> None:
    here = Setting()
    here.join("carol")
    assert here.subscriber().known == {"carol"}


def test_newcomers_of_one_turn_share_their_pages() -> None:
    here = Setting()
    newcomers = [Reading(here.clock) for _ in range(3)]
    for number, reading in enumerate(newcomers):
        here.join(f"peer{number}")
        here.pusher.add(reading, here.directory.reader(None, local=True))
    here.clock.advance(0)
    assert [len(reading.pages) for reading in newcomers] == [1] * 3
    assert all(len(reading.known) == 3 for reading in newcomers)


def test_newcomers_come_before_those_who_wait_for_changes() -> None:
    here = Setting()
    told: list[str] = []
    here.subscriber(seconds=TURN_SECONDS, name="old", told=told)
    here.join("carol")
    newcomer = Reading(here.clock, name="new", told=told)
    here.pusher.add(newcomer, here.directory.reader(None, local=True))
    told.clear()
    here.clock.advance(0)
    assert told == ["new", "old"]


def test_in_a_storm_the_next_round_waits_in_proportion_to_the_last() -> None:
    here = Setting()
    work = 0.05
    reading = here.subscriber(seconds=work)
    for n in range(STORM_CHANGES):
        here.join(f"peer{n}")
    here.clock.advance(PUSH_SECONDS)
    told = len(reading.pages)
    here.join("late")
    here.clock.advance(STORM_REST * work * 0.9)
    assert len(reading.pages) == told
    here.clock.advance(STORM_REST * work * 0.1)
    assert "late" in reading.known
    here.clock.advance(PUSH_SECONDS)
    here.join("later")  # the storm is over
    here.clock.advance(0)
    assert "later" in reading.known


def test_the_first_change_is_told_in_the_next_turn_and_what_follows_is_gathered() -> None:
    here = Setting()
    reading = here.subscriber()
    here.join("carol")
    assert reading.known == set()
    here.clock.advance(0)
    assert reading.known == {"carol"}
    for n in range(50):
        here.join(f"peer{n}")
    here.clock.advance(PUSH_SECONDS / 2)
    assert reading.known == {"carol"}
    here.clock.advance(PUSH_SECONDS / 2)
    assert len(reading.known) == 51
    assert len(reading.pages) == 3
    assert here.clock.getDelayedCalls() == []


def test_who_takes_nothing_has_nothing_queued_and_goes_on_from_its_place() -> None:
    here = Setting()
    quick, slow = here.subscriber(), here.subscriber(room=1)
    for n in range(30):
        here.join(f"peer{n}")
        here.clock.advance(PUSH_SECONDS)
    assert len(quick.pages) == 31
    assert len(slow.pages) == 1
    slow.drain(room=100)
    assert slow.known == quick.known
    assert len(slow.pages) == 2
    here.join("late")
    here.clock.advance(PUSH_SECONDS)
    assert "late" in slow.known


def test_a_long_list_goes_out_as_it_drains() -> None:
    here = Setting()
    for n in range(3000):
        here.join(f"peer{n}")
    slow = here.subscriber(room=1)
    while slow.congested:
        sent = len(slow.pages)
        slow.drain(room=1)
        if len(slow.pages) == sent:
            break
    assert len(slow.pages) > 3
    assert len(slow.known) == 3000
    assert not slow.pages[-1].more


def test_a_long_round_gives_the_others_their_turn_and_ends_with_what_came_meanwhile() -> None:
    here = Setting()
    many = [here.subscriber(seconds=TURN_SECONDS / 4) for _ in range(20)]
    told: list[bool] = []

    def another_turn() -> None:
        told.extend(reading.known == {"carol"} for reading in many)
        here.join("dave")

    here.join("carol")
    here.clock.callLater(0, another_turn)
    here.clock.advance(0)
    assert any(told)
    assert not all(told)
    for _ in range(20):
        here.clock.advance(PUSH_SECONDS)
    assert all(reading.known == {"carol", "dave"} for reading in many)
    assert here.clock.getDelayedCalls() == []


def test_who_is_gone_is_told_nothing() -> None:
    here = Setting()
    gone, closing, stays = here.subscriber(), here.subscriber(), here.subscriber()
    here.join("carol")
    here.pusher.discard(gone)
    closing.is_open = False
    here.clock.advance(PUSH_SECONDS)
    gone.drain(room=1)
    assert [gone.known, closing.known, stays.known] == [set(), set(), {"carol"}]


def test_stopped_it_leaves_no_timer() -> None:
    here = Setting()
    reading = here.subscriber()
    here.join("carol")
    here.pusher.stop()
    assert here.clock.getDelayedCalls() == []
    reading.drain(room=1)
    assert reading.known == set()
