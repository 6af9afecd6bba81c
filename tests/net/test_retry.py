"""A loop goes on after any exception, one attempt at a time, and ends with its owner."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher

from chatnet.core.errors import Unreachable
from chatnet.core.limits import FALLBACK_RETRY_SECONDS
from chatnet.net.retry import Retry


class Work:
    """Attempts that end as the test says."""

    def __init__(self, waits: float | None = 5.0) -> None:
        self.clock = Clock()
        self.waits = waits
        self.attempts: list[Deferred[None]] = []
        self.errors: list[BaseException] = []
        self.retry = Retry(self.clock, "working", self._attempt, self._failed)

    async def _attempt(self) -> None:
        attempt: Deferred[None] = Deferred()
        self.attempts.append(attempt)
        await attempt

    def _failed(self, error: BaseException) -> float | None:
        self.errors.append(error)
        return self.waits


@pytest.fixture
def failures():
    """The tracebacks that were logged."""
    found: list[str] = []

    def see(event) -> None:
        if event.get("log_level") is LogLevel.critical:
            found.append(event["log_format"].format(**event))

    globalLogPublisher.addObserver(see)
    yield found
    globalLogPublisher.removeObserver(see)


def test_after_a_failure_the_next_attempt_comes_in_time(failures) -> None:
    work = Work()
    work.retry.now()
    work.attempts[0].errback(Unreachable("timed-out", "nobody"))
    assert (work.retry.is_running, work.retry.is_due, work.retry.seconds_left) == (False, True, 5.0)
    work.clock.advance(4.9)
    assert len(work.attempts) == 1
    work.clock.advance(0.1)
    assert len(work.attempts) == 2
    assert failures == []


@pytest.mark.parametrize("error", [OSError(24, "too many open files"), KeyError("a defect"), MemoryError()])
def test_an_exception_that_is_not_ours_is_logged_and_ends_nothing(error: Exception, failures) -> None:
    work = Work()
    work.retry.now()
    work.attempts[0].errback(error)
    assert work.errors == [error]
    assert failures == ["internal error while working"]
    work.clock.advance(5)
    work.attempts[1].callback(None)
    assert not work.retry.is_alive


def test_a_defect_in_the_policy_ends_nothing_either(failures) -> None:
    clock = Clock()
    tries: list[float] = []

    async def attempt() -> None:
        tries.append(clock.seconds())
        raise Unreachable("timed-out", "nobody")

    def failed(error: BaseException) -> float:
        raise KeyError("a defect")

    Retry(clock, "working", attempt, failed).now()
    clock.advance(FALLBACK_RETRY_SECONDS)
    assert tries == [0, FALLBACK_RETRY_SECONDS]
    assert failures == ["internal error after working"] * 2


def test_no_wait_is_the_end() -> None:
    work = Work(waits=None)
    work.retry.now()
    work.attempts[0].errback(Unreachable("timed-out", "nobody"))
    assert not work.retry.is_alive


def test_there_is_one_attempt_at_a_time() -> None:
    work = Work()
    work.retry.now()
    work.retry.now()
    work.retry.later(1)
    work.clock.advance(2)
    assert len(work.attempts) == 1


def test_an_attempt_that_ends_at_once_may_begin_anew() -> None:
    clock, done = Clock(), []

    async def attempt() -> None:
        done.append(1)

    retry = Retry(clock, "working", attempt, lambda error: None)
    retry.now()
    retry.now()
    assert len(done) == 2
    assert not retry.is_alive


def test_now_takes_the_place_of_later_and_cancel_of_both() -> None:
    work = Work()
    work.retry.later(10)
    work.retry.now()
    assert (len(work.attempts), work.retry.is_due) == (1, False)
    work.attempts[0].callback(None)
    work.retry.later(10)
    work.retry.cancel()
    work.clock.advance(20)
    assert len(work.attempts) == 1


def test_a_stop_leaves_nothing() -> None:
    work = Work()
    work.retry.now()
    work.retry.stop()
    assert work.errors == []
    work.retry.now()
    work.retry.later(1)
    assert work.clock.getDelayedCalls() == []
    assert len(work.attempts) == 1
