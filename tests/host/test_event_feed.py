"""Events to subscribers: in order, later, in slices, and a failing one silences nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from chatnet.core.events import Event, PersonGone, Snapshot
from chatnet.core.limits import EVENTS_PER_TURN
from chatnet.host.event_feed import EventFeed

NOTHING = cast(Snapshot, None)


def event(number: int) -> Event:
    return PersonGone(number.to_bytes(32, "big"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def feed(clock: Clock) -> EventFeed:
    return EventFeed(clock)


@pytest.fixture
def failures() -> Iterator[list[Any]]:
    """What was logged as a failure."""
    logged: list[Any] = []

    def observe(entry: dict[str, Any]) -> None:
        if "log_failure" in entry:
            logged.append(entry["log_failure"])

    globalLogPublisher.addObserver(observe)
    yield logged
    globalLogPublisher.removeObserver(observe)


def test_nobody_is_called_back_from_within_his_own_call(feed: EventFeed, clock: Clock) -> None:
    heard: list[Event] = []
    feed.subscribe(NOTHING, heard.append)
    feed.emit(event(1))
    assert heard == []
    clock.advance(0)
    assert heard == [event(1)]


def test_every_subscriber_hears_everything_in_order(feed: EventFeed, clock: Clock) -> None:
    first: list[Event] = []
    second: list[Event] = []
    feed.subscribe(NOTHING, first.append)
    feed.subscribe(NOTHING, second.append)
    for number in range(10):
        feed.emit(event(number))
    clock.advance(0)
    assert first == second == [event(number) for number in range(10)]


def test_who_comes_later_hears_only_what_is_emitted_from_then_on(feed: EventFeed, clock: Clock) -> None:
    early: list[Event] = []
    late: list[Event] = []
    feed.subscribe(NOTHING, early.append)
    feed.emit(event(1))
    feed.subscribe(NOTHING, late.append)
    feed.emit(event(2))
    clock.advance(0)
    assert early == [event(1), event(2)]
    assert late == [event(2)]


def test_who_cancels_hears_nothing_more_not_even_what_is_on_its_way(
    feed: EventFeed, clock: Clock, failures: list[Any]
) -> None:
    heard: list[Event] = []
    subscription = feed.subscribe(NOTHING, heard.append)
    feed.emit(event(1))
    subscription.cancel()
    subscription.cancel()
    clock.advance(0)
    assert heard == failures == []
    feed.emit(event(2))
    assert clock.getDelayedCalls() == []


def test_one_may_cancel_another_within_an_event(feed: EventFeed, clock: Clock) -> None:
    heard: list[Event] = []
    feed.subscribe(NOTHING, lambda _: other.cancel())
    other = feed.subscribe(NOTHING, heard.append)
    feed.emit(event(1))
    clock.advance(0)
    assert heard == []


def test_a_subscriber_that_fails_is_logged_and_silences_nobody(
    feed: EventFeed, clock: Clock, failures: list[Any]
) -> None:
    def failing(_: Event) -> None:
        raise RuntimeError("a defect of a subscriber")

    heard: list[Event] = []
    feed.subscribe(NOTHING, failing)
    feed.subscribe(NOTHING, heard.append)
    for number in (1, 2):
        feed.emit(event(number))
    clock.advance(0)
    assert heard == [event(1), event(2)]
    assert [failure.type for failure in failures] == [RuntimeError] * 2


class TurnBudget(Clock):
    """Counts the turns that are asked for."""

    asked = 0

    def callLater(self, when: float, what: Any, *args: Any, **kwargs: Any) -> Any:
        self.asked += 1
        return super().callLater(when, what, *args, **kwargs)


def test_a_storm_of_events_takes_several_turns() -> None:
    clock = TurnBudget()
    feed = EventFeed(clock)
    heard: list[Event] = []
    feed.subscribe(NOTHING, heard.append)
    storm = [event(number) for number in range(2 * EVENTS_PER_TURN + 1)]
    for one in storm:
        feed.emit(one)
    assert clock.asked == 1
    clock.advance(0)
    assert heard == storm
    assert clock.asked == 3
    assert clock.getDelayedCalls() == []


def test_what_is_emitted_within_an_event_comes_behind_it(feed: EventFeed, clock: Clock) -> None:
    heard: list[Event] = []

    def answer(one: Event) -> None:
        heard.append(one)
        if one == event(1):
            feed.emit(event(3))

    feed.subscribe(NOTHING, answer)
    feed.emit(event(1))
    feed.emit(event(2))
    while clock.getDelayedCalls():
        clock.advance(0)
    assert heard == [event(1), event(2), event(3)]


def test_events_that_are_costly_to_make_are_made_a_few_in_each_turn(feed: EventFeed, clock: Clock) -> None:
    heard: list[Event] = []

    def costly(number: int) -> Event:
        clock.rightNow += 0.004
        return event(number)

    turns: list[int] = []
    call_later = clock.callLater

    def counted(*call: Any) -> Any:
        turns.append(len(heard))
        return call_later(*call)

    clock.callLater = counted  # type: ignore[method-assign, assignment]
    feed.subscribe(NOTHING, heard.append)
    for number in range(10):
        feed.emit(lambda number=number: costly(number))
    feed.emit(event(10))
    assert heard == []
    clock.advance(0)
    assert turns == [0, 3, 6, 9]
    assert heard == [event(number) for number in range(11)]


def test_what_makes_events_does_not_pile_up(feed: EventFeed, clock: Clock) -> None:
    made: list[int] = []

    def making(number: int) -> Event:
        made.append(number)
        return event(number)

    heard: list[Event] = []
    feed.subscribe(NOTHING, heard.append)
    for number in range(EVENTS_PER_TURN + 2):
        feed.emit(lambda number=number: making(number))
    assert made == [EVENTS_PER_TURN, EVENTS_PER_TURN + 1]
    clock.advance(0)
    assert heard == [event(number) for number in range(EVENTS_PER_TURN + 2)]
