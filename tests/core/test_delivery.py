"""The outbox for one person: the table is total, and whatever happens, everything arrives in order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, combinations
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatnet.core.delivery import (
    TABLE,
    Await,
    Contact,
    Do,
    Effect,
    Input,
    MarkDelivered,
    MarkRefused,
    Nothing,
    Outgoing,
    Phase,
    Read,
    ReadLater,
    Send,
    TellSent,
    TellWaiting,
)
from chatnet.core.limits import READY_ROWS


class Row(NamedTuple):
    n: int
    id: bytes
    body: str


def row(n: int, body: str = "hello") -> Row:
    return Row(n, b"%16d" % n, body)


def rows(*numbers: int) -> list[Row]:
    return [row(n) for n in numbers]


OBSTACLES = [phase for phase in Phase if phase is not Phase.OPEN]
INPUTS: dict[Input, Callable[[Outgoing[Row]], list[Effect[Row]]]] = {
    Input.STORED: lambda out: out.stored(rows(7)),
    Input.RESENT: lambda out: out.resent(3),
    Input.CHANGED: lambda out: out.changed(),
    Input.LINK_UP: lambda out: out.link_up(),
    Input.LINK_DOWN: lambda out: out.link_down(),
    Input.CONGESTED: lambda out: out.congested(),
    Input.WRITTEN: lambda out: out.written(),
    Input.ACKNOWLEDGED: lambda out: out.acknowledged([row(1).id]),
    Input.REFUSED: lambda out: out.refused(row(1).id, "not-accepted"),
    Input.ROWS_READ: lambda out: out.rows_read(0, rows(1, 2)),
    Input.READ_FAILED: lambda out: out.read_failed(),
    Input.TIMER: lambda out: out.timer(),
    Input.STORE_DOWN: lambda out: out.store_works(False),
    Input.STORE_UP: lambda out: out.store_works(True),
    Input.KEY_HELD: lambda out: out.key_held(True),
    Input.KEY_RELEASED: lambda out: out.key_held(False),
    Input.STOP: lambda out: out.stop(),
}
IDLE_ROWS = [
    pytest.param(phase, event, why, id=f"{phase.name}-{event.name}: {why.value}")
    for (phase, event), why in TABLE.items()
    if isinstance(why, Nothing)
]


def behind(*obstacles: Phase) -> Outgoing[Row]:
    out: Outgoing[Row] = Outgoing(window=4)
    for obstacle in OBSTACLES:
        out._note(obstacle, obstacle in obstacles)
    return out


def linked(*stored: int, window: int = 4) -> Outgoing[Row]:
    """With an open link, and these rows in the store, read and sent."""
    out: Outgoing[Row] = Outgoing(window)
    assert out.link_up() == [Read(0, READY_ROWS)]
    out.rows_read(0, rows(*stored))
    out.written()
    return out


# --- the table ----------------------------------------------------------------------------------


def test_the_table_is_total() -> None:
    assert set(TABLE) == {(phase, event) for phase in Phase for event in Input}
    assert set(INPUTS) == set(Input)


def test_every_operation_is_used() -> None:
    used = {do for found in TABLE.values() if not isinstance(found, Nothing) for do in found}
    assert used == set(Do)


def test_exactly_the_pairs_that_are_called_impossible_never_meet() -> None:
    met = set()
    for some in chain.from_iterable(combinations(OBSTACLES, count) for count in range(len(OBSTACLES) + 1)):
        for event, give in INPUTS.items():
            out = behind(*some)
            give(out)
            met.add((out.phase, event))
    impossible = {pair for pair, why in TABLE.items() if why is Nothing.IMPOSSIBLE}
    assert met == set(TABLE) - impossible


@pytest.mark.parametrize(("phase", "event", "why"), IDLE_ROWS)
def test_a_row_that_does_nothing_has_a_reason_that_fits(phase: Phase, event: Input, why: Nothing) -> None:
    assert why is Nothing.IMPOSSIBLE or phase is {
        Nothing.STOPPED: Phase.STOPPED,
        Nothing.IN_STORE: Phase.STORE_DOWN,
        Nothing.UNDECIDED: Phase.HELD,
        Nothing.NO_LINK: Phase.UNLINKED,
        Nothing.ON_LINK: Phase.UNLINKED,
        Nothing.ON_DRAIN: Phase.FULL,
    }.get(why)


@pytest.mark.parametrize("event", list(Input))
def test_nothing_is_sent_unless_the_phase_is_open(event: Input) -> None:
    for some in chain.from_iterable(combinations(OBSTACLES, count) for count in range(len(OBSTACLES) + 1)):
        out = behind(*some)
        out._ready.extend(rows(1, 2))
        effects = INPUTS[event](out)
        sends = any(isinstance(effect, Send | Read) for effect in effects)
        assert not sends or out.phase is Phase.OPEN


@pytest.mark.parametrize("event", [Input.STORED, Input.RESENT, Input.CHANGED, Input.TIMER, Input.READ_FAILED])
def test_without_a_link_something_that_begins_to_wait_asks_for_one(event: Input) -> None:
    assert Contact() in INPUTS[event](behind(Phase.UNLINKED))


@pytest.mark.parametrize("held", [True, False])
def test_an_obstacle_hides_nothing_of_what_is_under_way(held: bool) -> None:
    """What was sent before the disk failed, or a new key came, is shown, settled and put back as ever."""

    def blocked() -> Outgoing[Row]:
        out = linked()
        out.stored(rows(1, 2))
        assert (out.key_held(True) if held else out.store_works(False)) == []
        return out

    assert blocked().written() == [TellSent(rows(1, 2))]
    assert blocked().congested() == [TellSent(rows(1, 2))]
    assert blocked().link_down() == [TellWaiting(rows(1, 2))]
    assert blocked().link_up() == [TellWaiting(rows(1, 2))]
    assert blocked().acknowledged([row(1).id]) == [MarkDelivered([row(1).id])]
    assert blocked().refused(row(2).id, "not-accepted") == [MarkRefused(row(2).id, "not-accepted")]


FULL_INPUTS: dict[str, tuple[Callable[[Outgoing[Row]], list[Effect[Row]]], list[Effect[Row]]]] = {
    "stored": (lambda out: out.stored(rows(9)), [Send(rows(9))]),
    "resent": (lambda out: out.resent(1), [Read(0, READY_ROWS)]),
    "changed": (lambda out: out.changed(), [Read(0, READY_ROWS)]),
    "store up": (lambda out: out.store_works(True), [Read(0, READY_ROWS)]),
    "key released": (lambda out: out.key_held(False), [Read(0, READY_ROWS)]),
}


@pytest.mark.parametrize("name", FULL_INPUTS)
def test_what_happens_while_the_transport_is_full_goes_on_when_it_drains(name: str) -> None:
    out = linked(1)
    out.congested()
    happens, follows = FULL_INPUTS[name]
    assert happens(out) == []
    assert out.written() == follows


def test_what_is_settled_while_the_transport_is_full() -> None:
    out = linked(1, 2)
    out.congested()
    assert out.acknowledged([row(1).id]) == [MarkDelivered([row(1).id])]
    assert out.refused(row(2).id, "not-accepted") == [MarkRefused(row(2).id, "not-accepted"), Await(False)]


def test_rows_that_were_read_while_the_transport_is_full_go_when_it_drains() -> None:
    out: Outgoing[Row] = Outgoing(4)
    out.link_up()
    out.congested()
    assert out.rows_read(0, rows(1)) == []
    assert out.written() == [Send(rows(1)), Await(True)]


def test_a_reading_that_fails_while_the_transport_is_full_is_tried_again() -> None:
    out: Outgoing[Row] = Outgoing(4)
    out.link_up()
    out.congested()
    assert out.read_failed() == [ReadLater()]
    assert out.timer() == []
    assert out.written() == [Read(0, READY_ROWS)]


@pytest.mark.parametrize("obstacle", [Phase.STORE_DOWN, Phase.HELD])
def test_when_an_obstacle_is_gone_a_link_is_asked_for(obstacle: Phase) -> None:
    event = Input.STORE_UP if obstacle is Phase.STORE_DOWN else Input.KEY_RELEASED
    assert Contact() in INPUTS[event](behind(obstacle, Phase.UNLINKED))
    assert Read(0, READY_ROWS) in INPUTS[event](behind(obstacle))


# --- single ways --------------------------------------------------------------------------------


def test_a_message_on_an_idle_link_goes_at_once() -> None:
    out = linked()
    assert out.stored(rows(1)) == [Send(rows(1)), Await(True)]
    assert out.written() == [TellSent(rows(1))]
    assert out.acknowledged([row(1).id]) == [MarkDelivered([row(1).id]), Await(False)]


def test_a_batch_leaves_together_and_the_window_holds_the_rest() -> None:
    out = linked()
    assert out.stored(rows(1, 2, 3, 4, 5, 6)) == [Send(rows(1, 2, 3, 4)), Await(True)]
    assert out.written() == [TellSent(rows(1, 2, 3, 4))]
    assert out.acknowledged([row(1).id, row(3).id]) == [MarkDelivered([row(1).id, row(3).id]), Send(rows(5, 6))]


def test_large_messages_leave_in_pieces() -> None:
    out = linked()
    large = [row(n, "x" * 16_384) for n in range(1, 4)] + [row(4, "x" * 40_000)]
    out._window = 9
    assert out.stored([*large, row(5)]) == [Send(large), Await(True)]
    assert out.written() == [TellSent(large), Send(rows(5))]


def test_a_congested_transport_is_waited_for() -> None:
    out = linked()
    out.stored(rows(1))
    assert out.congested() == [TellSent(rows(1))]
    assert out.stored(rows(2)) == []
    assert out.written() == [Send(rows(2))]


def test_a_link_that_is_lost_puts_back_what_was_under_way() -> None:
    out = linked(1, 2)
    assert out.link_down() == [TellWaiting(rows(1, 2))]
    assert out.link_up() == [Read(0, READY_ROWS)]
    assert out.rows_read(0, rows(1, 2)) == [Send(rows(1, 2)), Await(True)]


def test_a_link_that_took_the_place_of_another_begins_anew() -> None:
    out = linked(1)
    assert out.link_up() == [TellWaiting(rows(1)), Read(0, READY_ROWS)]


def test_one_that_dies_of_being_written_to_shows_nothing_as_sent() -> None:
    out = linked()
    out.stored(rows(1))
    assert out.link_down() == [TellWaiting(rows(1))]
    assert out.written() == []


def test_what_was_acknowledged_before_it_was_shown_as_sent_is_not_shown_as_sent() -> None:
    out = linked()
    out.stored(rows(1, 2))
    out.acknowledged([row(1).id])
    assert out.written() == [TellSent(rows(2))]


def test_a_refused_message_is_settled_and_the_rest_goes_on() -> None:
    out = linked(1, 2, 3, 4, 5)
    assert out.refused(row(2).id, "not-accepted") == [MarkRefused(row(2).id, "not-accepted"), Send(rows(5))]
    assert out.refused(row(2).id, "not-accepted") == []


def test_ids_that_are_not_under_way_cost_the_disk_nothing() -> None:
    assert linked(1).acknowledged([b"another" * 2]) == []


def test_rows_of_a_reading_that_is_out_of_date_are_read_again() -> None:
    out: Outgoing[Row] = Outgoing(4)
    out.link_up()
    assert out.changed() == []  # while the first reading is under way, also from row 0
    assert out.rows_read(0, rows(1)) == [Read(0, READY_ROWS)]
    assert out.rows_read(0, rows(2)) == [Send(rows(2)), Await(True)]


def test_a_row_that_is_sent_again_is_read_again_and_others_are_not_sent_twice() -> None:
    out = linked(2, 4)
    assert out.resent(1) == [Read(0, READY_ROWS)]
    assert out.rows_read(0, rows(1, 2, 4)) == [Send(rows(1))]


def test_a_reading_that_fails_is_tried_again() -> None:
    out: Outgoing[Row] = Outgoing(4)
    out.link_up()
    assert out.read_failed() == [ReadLater()]
    assert out.timer() == [Read(0, READY_ROWS)]
    out.read_failed()
    out.link_down()
    assert out.timer() == [Contact()]


def test_while_the_disk_takes_nothing_nothing_goes_out() -> None:
    out = linked(1)
    out.store_works(False)
    assert out.stored(rows(2)) == []
    assert out.acknowledged([row(1).id]) == [MarkDelivered([row(1).id]), Await(False)]
    assert out.store_works(True) == [Read(0, READY_ROWS)]


def test_while_a_new_key_is_undecided_nothing_goes_out() -> None:
    out = linked()
    assert out.key_held(True) == []
    assert out.stored(rows(1)) == []
    assert out.key_held(False) == [Read(0, READY_ROWS)]


def test_a_flood_is_read_ahead_within_bounds() -> None:
    out = linked()
    out.congested()
    out.stored([row(n) for n in range(1, 3 * READY_ROWS)])
    assert len(out._ready) == READY_ROWS


def test_the_keepalive_of_a_new_link_learns_anew_what_waits() -> None:
    out = linked(1)
    out.link_up()
    assert out.rows_read(0, rows(1)) == [Send(rows(1)), Await(True)]


# --- everything arrives -------------------------------------------------------------------------


class World:
    """A store, a link and a receiver around the machine; things happen when the test says so."""

    def __init__(self) -> None:
        self.out: Outgoing[Row] = Outgoing(window=3)
        self.outbox: dict[int, Row] = {}
        self.link = 0  # which one is open; 0: none
        self.links = 0
        self.reads: list[int] = []
        self.wire: list[Row] = []  # sent on the present link, not yet received
        self.arrived: list[int] = []
        self.asked = self.timer = self.failing = self.full = False
        self.stored = 0
        self.awaiting = False

    def do(self, effects: list[Effect[Row]]) -> None:
        for effect in effects:
            match effect:
                case Send(sent):
                    assert self.link
                    assert self.out.phase is Phase.OPEN
                    assert [one.n for one in sent] == sorted(one.n for one in sent)
                    self.wire += sent
                    self.do(self.out.congested() if self.full else self.out.written())
                case Read(after_n, _):
                    self.reads.append(after_n)
                case ReadLater():
                    self.timer = True
                case Contact():
                    self.asked = True
                case Await(something):
                    self.awaiting = something
                case MarkDelivered(ids):
                    if not self.failing:
                        for n in [n for n, one in self.outbox.items() if one.id in ids]:
                            del self.outbox[n]
                case _:
                    pass

    def store(self) -> None:
        if not self.failing:
            self.stored += 1
            stored = row(self.stored)
            self.outbox[stored.n] = stored
            self.do(self.out.stored([stored]))

    def connect(self) -> None:
        self.links += 1
        self.link, self.wire, self.asked, self.full, self.awaiting = self.links, [], False, False, False
        self.do(self.out.link_up())

    def cut(self) -> None:
        if self.link:
            self.link, self.wire, self.awaiting = 0, [], False
            self.asked = True  # what the link policy says of a link that ends while something waits
            self.do(self.out.link_down())

    def read(self) -> None:
        if self.reads:
            after = self.reads.pop()
            found = [one for n, one in sorted(self.outbox.items()) if n > after][:READY_ROWS]
            self.do(self.out.read_failed() if self.failing else self.out.rows_read(after, found))

    def receive(self) -> None:
        if self.wire:
            one = self.wire.pop(0)
            if one.n not in self.arrived:
                self.arrived.append(one.n)
            self.do(self.out.acknowledged([one.id]))

    def lose_ack(self) -> None:
        if self.wire:
            one = self.wire.pop(0)
            if one.n not in self.arrived:
                self.arrived.append(one.n)
            self.cut()

    def break_disk(self) -> None:
        self.failing = True
        self.do(self.out.store_works(False))

    def mend_disk(self) -> None:
        self.failing = False
        self.do(self.out.store_works(True))

    def hold(self) -> None:
        self.do(self.out.key_held(True))

    def release(self) -> None:
        self.do(self.out.key_held(False))

    def fill(self) -> None:
        if self.link:
            self.full = True
            self.do(self.out.congested())

    def drain(self) -> None:
        if self.link and self.full:
            self.full = False
            self.do(self.out.written())

    def ring(self) -> None:
        if self.timer:
            self.timer = False
            self.do(self.out.timer())

    def settle(self) -> None:
        """Everything runs again: what is asked for is done."""
        self.mend_disk()
        self.release()
        self.drain()
        for _ in range(10 * self.stored + 10):
            if self.asked and not self.link:
                self.connect()
            self.read()
            self.receive()
            self.ring()


HAPPENINGS = [
    name
    for name in vars(World)
    if not name.startswith("_") and name not in ("do", "settle") and callable(getattr(World, name))
]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(HAPPENINGS), max_size=60))
def test_whatever_happens_everything_arrives_once_and_in_order(happenings: list[str]) -> None:
    world = World()
    for name in happenings:
        getattr(world, name)()
        assert len(world.out.under_way) <= 3
        assert world.awaiting == bool(world.out.under_way and world.link)
    world.settle()
    assert world.outbox == {}
    assert world.arrived == sorted(world.arrived)
    assert not world.awaiting
