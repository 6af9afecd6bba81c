"""Work that nobody waits for: its failures are seen, and it ends with its owner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import Logger, LogLevel, formatEvent, globalLogPublisher

from chatnet.core.errors import LocalError
from chatnet.net.background import BackgroundTasks


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture
def tasks() -> BackgroundTasks:
    return BackgroundTasks(Logger("test.background"))


async def wait_for(waiting: Deferred[Any], done: list[Any]) -> None:
    done.append(await waiting)


def words(events: list[Any]) -> list[tuple[LogLevel, str]]:
    return [(event["log_level"], formatEvent(event)) for event in events if event["log_namespace"] == "test.background"]


def test_work_runs_to_its_end_and_is_told(tasks: BackgroundTasks, logged: list[Any]) -> None:
    waiting: Deferred[int] = Deferred()
    done: list[Any] = []
    running = tasks.spawn(wait_for(waiting, done), "counting")
    running.addCallback(done.append)
    assert done == []
    waiting.callback(7)
    assert done == [7, None]
    assert words(logged) == []


def test_an_error_of_ours_is_one_line(tasks: BackgroundTasks, logged: list[Any]) -> None:
    waiting: Deferred[int] = Deferred()
    done: list[Any] = []
    tasks.spawn(wait_for(waiting, done), "counting").addCallback(done.append)
    waiting.errback(LocalError("x", "there are no numbers\x1b[2J"))
    assert done == [None]
    assert words(logged) == [(LogLevel.info, "counting failed: there are no numbers\ufffd[2J")]


def test_any_other_exception_has_its_traceback_in_the_log(tasks: BackgroundTasks, logged: list[Any]) -> None:
    async def broken() -> None:
        raise ZeroDivisionError("by zero")

    done: list[Any] = []
    tasks.spawn(broken(), "counting").addCallback(done.append)
    assert done == [None]
    ((level, text),) = words(logged)
    assert (level, text) == (LogLevel.critical, "internal error while counting")
    (failure,) = [event["log_failure"] for event in logged if event["log_namespace"] == "test.background"]
    assert failure.type is ZeroDivisionError


def test_all_that_runs_ends_with_its_owner_and_without_a_word(tasks: BackgroundTasks, logged: list[Any]) -> None:
    ended: list[Any] = []
    never: list[Deferred[int]] = [Deferred(), Deferred()]
    for waiting in never:
        tasks.spawn(wait_for(waiting, []), "waiting").addCallback(ended.append)
    tasks.stop()
    assert ended == [None, None]
    assert words(logged) == []
    tasks.stop()  # nothing is left to cancel


def test_one_of_them_can_be_cancelled_alone(tasks: BackgroundTasks) -> None:
    first, second = [], []
    waiting: Deferred[int] = Deferred()
    running = tasks.spawn(wait_for(Deferred(), []), "waiting").addCallback(first.append)
    tasks.spawn(wait_for(waiting, second), "waiting")
    running.cancel()
    waiting.callback(1)
    assert (first, second) == ([None], [1])
