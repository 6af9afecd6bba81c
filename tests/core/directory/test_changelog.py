from __future__ import annotations

import random
from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatnet.core.directory.changelog import Change, ChangeLog, EpochSpan, Reader
from chatnet.core.framing import Framer
from chatnet.core.identity import PeerID
from chatnet.core.limits import MAX_FRAME, MAX_PAGE_ENTRIES
from chatnet.core.messages import ListEntry, ListPage
from chatnet.core.records import Endpoint, endpoint
from tests.support.wire import decode

EPOCH = b"e" * 16
LOOPBACK = endpoint("127.0.0.1", 4000)
OUTSIDE = endpoint("10.0.0.2", 4000)


def peer(n: int) -> PeerID:
    return PeerID(n.to_bytes(32, "big"))


def entry(n: int, seq: int = 0, endpoints: list[Endpoint] | None = None) -> ListEntry:
    return ListEntry(peer(n), f"peer{n}", [OUTSIDE] if endpoints is None else endpoints, seq)


def page_in(data: bytes) -> ListPage:
    framer = Framer(MAX_FRAME)
    framer.feed(data)
    body = framer.next_frame()
    assert body is not None
    assert framer.next_frame() is None
    return cast(ListPage, decode("from-registry", body))


class Subscriber:
    """A peer's list, kept as the wire says."""

    def __init__(self, log: ChangeLog, local: bool = True, since: bytes | None = None) -> None:
        self.log = log
        self.reader: Reader = log.reader(since, local)
        self.list: dict[bytes, ListEntry] = {}
        self.cursor = since
        self.complete = False
        self.pages: list[ListPage] = []

    def read(self) -> bool:
        data = self.log.next_page(self.reader)
        if data is None:
            return False
        page = page_in(data)
        self.pages.append(page)
        if page.reset:
            self.list.clear()
        self.list.update((e.peer, e) for e in page.joined)
        for gone in page.left:
            self.list.pop(gone, None)
        self.complete = not page.more
        self.cursor = page.cursor if self.complete else None
        return True

    def read_all(self) -> Subscriber:
        while self.read():
            pass
        return self

    def come_again(self, log: ChangeLog) -> None:
        self.log = log
        self.reader = log.reader(self.cursor, self.reader.local)


def many(count: int, log: ChangeLog) -> ChangeLog:
    for n in range(count):
        log.put(peer(n), entry(n))
    return log


def names(subscriber: Subscriber) -> set[str]:
    return {e.name for e in subscriber.list.values()}


def test_an_empty_list_is_told_too() -> None:
    newcomer = Subscriber(ChangeLog(EPOCH, 10)).read_all()
    assert [(p.reset, p.more, p.joined, p.left) for p in newcomer.pages] == [(True, False, [], [])]


def test_a_newcomer_gets_the_list_and_then_the_changes() -> None:
    log = many(3, ChangeLog(EPOCH, 10))
    subscriber = Subscriber(log).read_all()
    assert names(subscriber) == {"peer0", "peer1", "peer2"}
    log.remove(peer(1))
    log.put(peer(3), entry(3))
    log.put(peer(0), entry(0, seq=7))
    subscriber.read_all()
    assert [len(subscriber.pages[0].joined), len(subscriber.pages[1].joined), subscriber.pages[1].left] == [
        3,
        2,
        [peer(1)],
    ]
    assert subscriber.list[peer(0)].seq == 7
    assert names(subscriber) == {"peer0", "peer2", "peer3"}


def test_changes_between_two_reads_are_told_as_one_state() -> None:
    log = ChangeLog(EPOCH, 10)
    subscriber = Subscriber(log).read_all()
    for seq in range(100):
        log.put(peer(1), entry(1, seq))
    log.put(peer(2), entry(2))
    log.remove(peer(2))
    subscriber.read_all()
    assert len(subscriber.pages) == 2
    assert subscriber.pages[1].joined == [entry(1, 99)]
    assert subscriber.pages[1].left == [peer(2)]


def test_what_changes_nothing_is_no_change() -> None:
    log = many(2, ChangeLog(EPOCH, 10))
    subscriber = Subscriber(log).read_all()
    assert not log.put(peer(1), entry(1))
    log.remove(peer(77))
    assert not log.waiting(subscriber.reader)
    assert log.next_page(subscriber.reader) is None


def test_who_returns_with_a_cursor_gets_only_what_changed() -> None:
    log = many(50, ChangeLog(EPOCH, 10))
    subscriber = Subscriber(log).read_all()
    log.remove(peer(4))
    log.put(peer(60), entry(60))
    subscriber.come_again(log)
    subscriber.read_all()
    last = subscriber.pages[-1]
    assert (last.reset, last.joined, last.left) == (False, [entry(60)], [peer(4)])


def test_who_returns_and_missed_nothing_is_told_so() -> None:
    log = many(5, ChangeLog(EPOCH, 10))
    subscriber = Subscriber(log).read_all()
    subscriber.come_again(log)
    subscriber.read_all()
    last = subscriber.pages[-1]
    assert (last.reset, last.more, last.joined, last.left) == (False, False, [], [])


@pytest.mark.parametrize(
    "cursor",
    [b"", b"x" * 24, EPOCH, EPOCH + (999).to_bytes(8, "big"), EPOCH + b"\xff" * 8, b"f" * 16 + (3).to_bytes(8, "big")],
)
def test_an_unknown_cursor_means_a_snapshot(cursor: bytes) -> None:
    subscriber = Subscriber(many(5, ChangeLog(EPOCH, 10)), since=cursor).read_all()
    assert subscriber.pages[0].reset
    assert len(subscriber.list) == 5


def test_who_stayed_away_for_too_many_departures_begins_again() -> None:
    log = many(10, ChangeLog(EPOCH, departures=3))
    early, late = Subscriber(log).read_all(), Subscriber(log).read_all()
    forgotten = [log.remove(peer(n)) for n in range(3)]
    late.read_all()
    assert forgotten == [None, None, None]
    assert log.remove(peer(3)) == peer(0)
    early.read_all()
    late.read_all()
    assert early.pages[1].reset
    assert not any(p.reset for p in late.pages[1:])
    assert names(early) == names(late) == {f"peer{n}" for n in range(4, 10)}


def test_a_snapshot_does_not_speak_of_those_who_left_before() -> None:
    log = many(10, ChangeLog(EPOCH, 100))
    for n in range(8):
        log.remove(peer(n))
    newcomer = Subscriber(log).read_all()
    assert [page.left for page in newcomer.pages] == [[]]
    assert names(newcomer) == {"peer8", "peer9"}


def test_pages_fit_into_a_frame_and_say_whether_more_come() -> None:
    log = ChangeLog(EPOCH, 10)
    fat = [endpoint(f"2001:db8::{n}", 65535) for n in range(1, 8)]
    for n in range(3000):
        log.put(peer(n), entry(n, 2**53, fat)._replace(name=f"{n:032}"))
    newcomer = Subscriber(log).read_all()
    assert len(newcomer.list) == 3000
    assert [p.reset for p in newcomer.pages] == [True] + [False] * (len(newcomer.pages) - 1)
    assert [p.more for p in newcomer.pages] == [True] * (len(newcomer.pages) - 1) + [False]
    assert all(len(p.joined) <= MAX_PAGE_ENTRIES for p in newcomer.pages)


def test_readers_share_the_very_same_bytes() -> None:
    log = many(2000, ChangeLog(EPOCH, 10))
    one, two = log.reader(None, True), log.reader(None, True)
    pages_of_one = list(iter(lambda: log.next_page(one), None))
    log.put(peer(5000), entry(5000))
    pages_of_two = list(iter(lambda: log.next_page(two), None))
    assert len(pages_of_one) > 2
    assert [a is b for a, b in zip(pages_of_one[:-1], pages_of_two[:-1], strict=True)] == [True] * (
        len(pages_of_one) - 1
    )
    log.put(peer(5001), entry(5001))
    three = log.reader(log.cursor(log.head - 1), True)
    assert log.next_page(two) is log.next_page(three)


def test_loopback_addresses_are_for_those_on_the_same_machine() -> None:
    log = ChangeLog(EPOCH, 10)
    log.put(peer(1), entry(1, endpoints=[LOOPBACK, OUTSIDE]))
    log.put(peer(2), entry(2, endpoints=[LOOPBACK]))
    inside, outside = Subscriber(log, local=True).read_all(), Subscriber(log, local=False).read_all()
    assert inside.list[peer(1)].endpoints == [LOOPBACK, OUTSIDE]
    assert outside.list[peer(1)].endpoints == [OUTSIDE]
    assert outside.list[peer(2)].endpoints == []


def test_who_left_and_is_forgotten_is_in_no_page_that_was_shared_before() -> None:
    log = many(9, ChangeLog(EPOCH, departures=1, page_entries=3))
    Subscriber(log).read_all()
    log.remove(peer(0))
    assert log.remove(peer(1)) == peer(0)
    assert names(Subscriber(log).read_all()) == {f"peer{n}" for n in range(2, 9)}


def test_a_page_shared_in_mid_snapshot_hides_no_departure_from_who_needs_it() -> None:
    log = ChangeLog(EPOCH, departures=2, page_entries=4)
    slow, early = Subscriber(log), Subscriber(log)
    for n in (9, 10, 8):
        log.put(peer(n), entry(n))
    log.remove(peer(10))
    for n in (2, 0):
        log.put(peer(n), entry(n))
    early.read()
    log.remove(peer(9))
    log.remove(peer(8))
    slow.read()
    log.remove(peer(2))
    assert names(slow.read_all()) == names(early.read_all()) == {"peer0"}


def test_somebody_comes_and_goes_again_and_again() -> None:
    log = many(2, ChangeLog(EPOCH, departures=5))
    subscriber = Subscriber(log).read_all()
    for _ in range(3):
        log.remove(peer(1))
        assert names(subscriber.read_all()) == {"peer0"}
        log.put(peer(1), entry(1))
        assert names(subscriber.read_all()) == {"peer0", "peer1"}


def test_a_list_that_churns_for_long_stays_small() -> None:
    chance = random.Random(1)
    log = ChangeLog(EPOCH, departures=20, page_bytes=2_000)
    present: set[int] = set()
    for step in range(20_000):
        n = chance.randrange(300)
        if step % 3 == 0 and present:
            present.discard(n)
            log.remove(peer(n))
        else:
            present.add(n)
            log.put(peer(n), entry(n, step))
    newcomer = Subscriber(log).read_all()
    assert names(newcomer) == {f"peer{n}" for n in present}
    assert len(newcomer.pages) <= 25  # 10 if all were full


# --- every interleaving ------------------------------------------------------------------------

PEERS = st.integers(0, 11)
READERS = st.integers(0, 3)
STEPS = st.one_of(
    st.tuples(st.just("put"), PEERS, st.integers(0, 2)),
    st.tuples(st.just("remove"), PEERS, st.just(0)),
    st.tuples(st.just("read"), READERS, st.just(0)),
    st.tuples(st.just("again"), READERS, st.just(0)),  # the connection broke: back with the last cursor
    st.tuples(st.just("alien"), READERS, st.just(0)),  # back with a cursor of another registry
)


@settings(max_examples=400)
@given(
    departures=st.integers(1, 6),
    page_entries=st.integers(1, 8),
    steps=st.lists(STEPS, min_size=20, max_size=150),
)
def test_whatever_happens_everybody_ends_with_the_same_list(
    departures: int, page_entries: int, steps: list[tuple[str, int, int]]
) -> None:
    log = ChangeLog(EPOCH, departures, page_entries=page_entries)
    truth: dict[bytes, ListEntry] = {}
    subscribers = [Subscriber(log, local=bool(n % 2)) for n in range(4)]

    def put(n: int, seq: int) -> None:
        there = entry(n, seq, [LOOPBACK, OUTSIDE] if n % 2 else [OUTSIDE])
        truth[peer(n)] = there
        log.put(peer(n), there)

    def remove(n: int, _: int) -> None:
        truth.pop(peer(n), None)
        log.remove(peer(n))

    def alien(n: int, _: int) -> None:
        subscribers[n].cursor = b"another registry's"
        subscribers[n].come_again(log)

    actions: dict[str, Callable[[int, int], object]] = {
        "put": put,
        "remove": remove,
        "read": lambda n, _: subscribers[n].read(),
        "again": lambda n, _: subscribers[n].come_again(log),
        "alien": alien,
    }
    for action, n, seq in steps:
        actions[action](n, seq)
        assert len(log._revisions) <= len(truth) + departures

    outside = {p: e._replace(endpoints=[OUTSIDE]) for p, e in truth.items()}
    for subscriber in [*subscribers, Subscriber(log), Subscriber(log, local=False)]:
        subscriber.read_all()
        assert subscriber.complete
        assert subscriber.list == (truth if subscriber.reader.local else outside)
        assert not log.waiting(subscriber.reader)


def test_a_proven_loopback_address_says_nothing_to_other_machines() -> None:
    log = ChangeLog(EPOCH, 10)
    log.put(peer(1), entry(1, endpoints=[LOOPBACK, OUTSIDE])._replace(proven=1))
    log.put(peer(2), entry(2, endpoints=[OUTSIDE, LOOPBACK])._replace(proven=1))
    inside, outside = Subscriber(log), Subscriber(log, local=False)
    for one in (inside, outside):
        while one.read():
            pass
    assert [inside.list[peer(n)].proven for n in (1, 2)] == [1, 1]
    assert [(outside.list[peer(n)].endpoints, outside.list[peer(n)].proven) for n in (1, 2)] == [
        ([OUTSIDE], 0),
        ([OUTSIDE], 1),
    ]


# --- restarts ----------------------------------------------------------------------------------


class Disk:
    """What was kept of a log, as a store keeps it: each row the latest of its peer."""

    def __init__(self) -> None:
        self.spans: list[EpochSpan] = []
        self.floor = 0
        self.rows: dict[PeerID, Change] = {}

    @property
    def upto(self) -> int:
        return self.spans[-1].upto if self.spans else -1

    def keep(self, log: ChangeLog) -> None:
        own = bool(self.spans) and self.spans[-1].epoch == log.span.epoch
        whole = log.has_forgotten(self.upto)
        if whole:
            self.rows.clear()
        for change in log.kept_since(0 if whole else self.upto):
            self.rows[change.peer] = change
        self.spans[-1 if own else len(self.spans) :] = [log.span]
        self.floor = log.floor
        self.rows = {p: c for p, c in self.rows.items() if c.inside is not None or c.revision > log.floor}

    def log(self, number: int, departures: int, page_entries: int) -> ChangeLog:
        log = ChangeLog(number.to_bytes(16, "big"), departures, page_entries=page_entries)
        rows = sorted((change.revision, change.peer, change.inside) for change in self.rows.values())
        half = len(rows) // 2
        for part in (rows[:half], rows[half:]):
            log.restore(self.spans, self.floor, part)
        return log


def restarted(log: ChangeLog, number: int = 1) -> ChangeLog:
    disk = Disk()
    disk.keep(log)
    return disk.log(number, 10, MAX_PAGE_ENTRIES)


def test_after_a_restart_a_cursor_from_before_is_understood() -> None:
    first = many(50, ChangeLog(EPOCH, 10))
    early, late = Subscriber(first).read_all(), Subscriber(first)
    first.remove(peer(4))
    late.read_all()
    second = restarted(first)
    for n in range(50):
        second.put(peer(n), entry(n)) if n != 4 else second.remove(peer(4))
    for subscriber in (early, late):
        subscriber.come_again(second)
        subscriber.read_all()
        assert not subscriber.pages[-1].reset
        assert not subscriber.pages[-1].joined
        assert len(subscriber.list) == 49
    assert (early.pages[-1].left, late.pages[-1].left) == ([peer(4)], [])


def test_a_revision_that_was_not_kept_is_not_taken_for_a_new_one() -> None:
    first = many(3, ChangeLog(EPOCH, 10))
    second = restarted(first)
    first.put(peer(7), entry(7))
    subscriber = Subscriber(first).read_all()
    for n in range(10, 20):
        second.put(peer(n), entry(n))
    subscriber.come_again(second)
    subscriber.read_all()
    assert subscriber.pages[1].reset
    assert names(subscriber) == {f"peer{n}" for n in (0, 1, 2, *range(10, 20))}


def test_what_was_forgotten_before_a_restart_is_forgotten_after_it() -> None:
    first = many(5, ChangeLog(EPOCH, departures=1))
    subscriber = Subscriber(first).read_all()
    first.remove(peer(1))
    assert first.remove(peer(2)) == peer(1)
    subscriber.come_again(restarted(first))
    subscriber.read_all()
    assert subscriber.pages[-1].reset
    assert names(subscriber) == {"peer0", "peer3", "peer4"}


def test_nothing_kept_is_an_empty_log() -> None:
    log = Disk().log(1, 10, MAX_PAGE_ENTRIES)
    log.put(peer(1), entry(1))
    assert names(Subscriber(log).read_all()) == {"peer1"}


def test_who_left_and_was_forgotten_before_it_was_kept_is_not_back_after_a_restart() -> None:
    disk = Disk()
    log = many(3, disk.log(0, 1, MAX_PAGE_ENTRIES))
    disk.keep(log)
    log.remove(peer(1))
    log.remove(peer(2))  # with one departure remembered, peer 1's is forgotten
    subscriber = Subscriber(log).read_all()
    disk.keep(log)
    log = disk.log(1, 1, MAX_PAGE_ENTRIES)
    log.put(peer(1), entry(1))
    subscriber.come_again(log)
    assert names(subscriber.read_all()) == {"peer0", "peer1"}


RESTARTS = st.one_of(
    STEPS,
    st.tuples(st.just("keep"), st.just(0), st.just(0)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),  # what was not kept is lost
    st.tuples(st.just("grace"), st.just(0), st.just(0)),
)


@settings(max_examples=600)
@given(
    departures=st.integers(1, 3),
    page_entries=st.integers(1, 8),
    steps=st.lists(RESTARTS, min_size=20, max_size=150),
)
def test_restarts_at_any_moment_leave_nobody_with_another_list(
    departures: int, page_entries: int, steps: list[tuple[str, int, int]]
) -> None:
    disk = Disk()
    log = disk.log(0, departures, page_entries)
    restarts = 0
    truth: dict[bytes, ListEntry] = {}  # who is here
    presumed: set[PeerID] = set()  # and who is only listed
    subscribers = [Subscriber(log) for _ in range(4)]

    def grace() -> None:
        while presumed:
            log.remove(presumed.pop())

    for action, n, seq in steps:
        if action == "put":
            truth[peer(n)] = there = entry(n, seq)
            presumed.discard(peer(n))
            log.put(peer(n), there)
        elif action == "remove":
            truth.pop(peer(n), None)
            presumed.discard(peer(n))
            log.remove(peer(n))
        elif action == "read":
            subscribers[n].read()
        elif action == "again":
            subscribers[n].come_again(log)
        elif action == "alien":
            subscribers[n].cursor = b"another registry's"
            subscribers[n].come_again(log)
        elif action == "keep":
            disk.keep(log)
        elif action == "grace":
            grace()
        else:
            restarts += 1
            log = disk.log(restarts, departures, page_entries)
            truth.clear()
            presumed = {p for p, change in disk.rows.items() if change.inside is not None}
            for subscriber in subscribers:
                subscriber.come_again(log)
        assert len(log._revisions) <= len(truth) + len(presumed) + departures

    grace()
    for subscriber in [*subscribers, Subscriber(log)]:
        subscriber.read_all()
        assert subscriber.complete
        assert subscriber.list == truth
