"""A link that is meant to stay: what follows each way in which an attempt or a link can end."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from chatnet.core.errors import ChatnetError, Refused, Unreachable, WrongKey
from chatnet.core.messages import Ping
from chatnet.net.link import Link, LinkEnd, LinkUser
from chatnet.net.persistent_link import LinkLost, PersistentLink
from tests.support.shortage import no_descriptors

STEADY = 60.0
GONE = LinkEnd("lost", "the line broke", by_remote=True)


class FakeLink:
    """As much of a link as is asked of it."""

    def __init__(self) -> None:
        self.left = 0
        self.gone: Deferred[LinkEnd] = Deferred()

    def leave(self) -> None:
        self.left += 1

    def when_gone(self) -> Deferred[LinkEnd]:
        return self.gone


@dataclass
class Policy:
    """Waits 10 s after no failure, 20 after one and so on; some codes are final."""

    asked: list[tuple[int, str]] = field(default_factory=list)
    steady_seconds: float = STEADY

    def wait_seconds(self, failures: int, error: ChatnetError) -> float | None:
        self.asked.append((failures, error.code))
        if isinstance(error, WrongKey) or error.code == "name-taken":
            return None
        return 10.0 + 10.0 * failures


class Owner:
    """Dials when the test says so, and writes down what it is told."""

    def __init__(self) -> None:
        self.clock, self.policy = Clock(), Policy()
        self.persistent = PersistentLink(self.clock, self.policy, self, "the registry")
        self.dials: list[Deferred[Link]] = []
        self.told: list[Any] = []
        self.started: list[Any] = []

    def start(self) -> Deferred[Any]:
        starting = Deferred.fromCoroutine(self.persistent.start())
        starting.addBoth(self.started.append)
        return starting

    def stop(self) -> list[Any]:
        stopped: list[Any] = []
        Deferred.fromCoroutine(self.persistent.stop()).addBoth(stopped.append)
        return stopped

    def answer(self) -> FakeLink:
        """The present attempt succeeds."""
        link = FakeLink()
        self.persistent.opened(cast(Link, link))
        self.dials[-1].callback(cast(Link, link))
        return link

    def fail(self, error: Exception) -> None:
        """The present attempt fails."""
        self.dials[-1].errback(error)

    def lose(self, link: FakeLink, end: LinkEnd = GONE) -> None:
        self.persistent.lost(cast(Link, link), end)
        link.gone.callback(end)

    # --- PersistentLinkOwner ---

    async def dial(self, user: LinkUser) -> Link:
        assert user is self.persistent
        self.dials.append(Deferred())
        return await self.dials[-1]

    def opened(self, link: Link) -> None:
        self.told.append("opened")

    def received(self, link: Link, message: Any) -> None:
        self.told.append(message)

    def lost(self, link: Link, end: LinkEnd) -> None:
        self.told.append(f"lost: {end.code}")

    def waiting(self, error: ChatnetError, wait_seconds: float) -> None:
        self.told.append((error.code, wait_seconds))

    def gave_up(self, error: ChatnetError) -> None:
        self.told.append(f"gave up: {error.code}")


@pytest.fixture
def owner() -> Iterator[Owner]:
    owner = Owner()
    yield owner
    owner.stop()
    assert owner.clock.getDelayedCalls() == [], "a timer has outlived the link"


@pytest.fixture
def critical() -> Iterator[list[str]]:
    lines: list[str] = []

    def observe(event: Any) -> None:
        if event["log_namespace"].startswith("chatnet.net.retry"):
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


REFUSED = Unreachable("connection-refused", "connection refused")


def test_a_link_that_opens_is_told_and_stays(owner: Owner) -> None:
    owner.start()
    assert (owner.told, owner.started) == ([], [])
    link = owner.answer()
    assert owner.started == [None]
    owner.persistent.received(cast(Link, link), Ping(1))
    owner.clock.advance(10_000)
    assert owner.told == ["opened", Ping(1)]
    assert len(owner.dials) == 1
    assert cast(Any, owner.persistent.link) is link


def test_an_attempt_that_fails_is_made_again_after_the_wait_of_the_policy(owner: Owner) -> None:
    owner.start()
    for failures in (1, 2, 3):
        owner.fail(REFUSED)
        assert owner.policy.asked[-1] == (failures, "connection-refused")
        owner.clock.advance(10.0 + 10.0 * failures - 0.1)
        assert len(owner.dials) == failures
        owner.clock.advance(0.1)
        assert len(owner.dials) == failures + 1
    assert owner.started == [None]
    assert owner.told == [("connection-refused", 20.0), ("connection-refused", 30.0), ("connection-refused", 40.0)]
    owner.answer()
    assert owner.told[-1] == "opened"


def test_the_loss_of_a_steady_link_counts_as_no_failure(owner: Owner) -> None:
    owner.start()
    owner.fail(REFUSED)
    owner.clock.advance(20)
    link = owner.answer()
    owner.clock.advance(STEADY)
    owner.lose(link)
    assert owner.told[-2:] == ["lost: lost", ("lost", 10.0)]
    owner.clock.advance(10)
    owner.fail(REFUSED)
    assert [failures for failures, _ in owner.policy.asked] == [1, 0, 1]


def test_a_link_that_does_not_hold_counts_as_one(owner: Owner) -> None:
    owner.start()
    for failures in range(3):
        link = owner.answer()
        owner.clock.advance(STEADY - 1)
        owner.lose(link)
        assert owner.policy.asked[-1] == (failures, "lost")
        owner.clock.advance(10.0 + 10.0 * failures)


def test_what_the_other_side_asked_at_the_end_reaches_the_policy(owner: Owner) -> None:
    errors: list[ChatnetError] = []
    owner.policy.wait_seconds = lambda failures, error: errors.append(error) or 1.0  # type: ignore[method-assign, func-returns-value]
    owner.start()
    owner.lose(owner.answer(), LinkEnd("busy", "come again", True, 30))
    (error,) = errors
    assert isinstance(error, LinkLost)
    assert (error.code, error.text, error.retry_after_s) == ("busy", "come again", 30)


@pytest.mark.parametrize("error", [WrongKey("another key", b"k" * 32), Refused("name-taken", "it is taken")])
def test_after_a_final_answer_nothing_is_tried_until_somebody_asks(owner: Owner, error: ChatnetError) -> None:
    owner.start()
    owner.fail(error)
    (failure,) = owner.started
    assert isinstance(failure, Failure)
    assert failure.value is error
    assert owner.told == [f"gave up: {error.code}"]
    owner.clock.advance(100_000)
    assert len(owner.dials) == 1
    owner.persistent.retry_now()
    owner.answer()
    assert owner.told[-1] == "opened"


def test_a_final_answer_may_also_end_a_link(owner: Owner) -> None:
    owner.start()
    owner.lose(owner.answer(), LinkEnd("name-taken", "it is taken", True))
    assert owner.told == ["opened", "lost: name-taken", "gave up: name-taken"]
    assert owner.started == [None]
    assert owner.clock.getDelayedCalls() == []


def test_a_lack_of_descriptors_does_not_end_the_attempts(owner: Owner, critical: list[str]) -> None:
    """The system's own OSError: the attempts go on, and succeed afterwards."""
    seen: list[OSError] = []

    async def dial(user: LinkUser) -> Link:
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as error:
            seen.append(error)
            raise
        return await Owner.dial(owner, user)

    owner.dial = dial  # type: ignore[method-assign]
    with no_descriptors():
        owner.start()
        for wait in (20, 30, 40):
            owner.clock.advance(wait)
    assert [error.errno for error in seen] == [errno.EMFILE] * 4
    assert owner.told == [("internal", 20.0), ("internal", 30.0), ("internal", 40.0), ("internal", 50.0)]
    assert critical == ["internal error while dialling the registry"] * 4
    assert owner.started == [None]
    owner.clock.advance(50)
    owner.answer()
    assert owner.told[-1] == "opened"


@pytest.mark.parametrize("defect", [ZeroDivisionError("by zero"), CancelledError(), KeyError()])
def test_no_exception_ends_the_attempts(owner: Owner, critical: list[str], defect: Exception) -> None:
    owner.start()
    owner.fail(defect)
    assert owner.told == [("internal", 20.0)]
    owner.clock.advance(20)
    assert len(owner.dials) == 2
    assert critical == ["internal error while dialling the registry"]


def test_an_owner_that_fails_over_the_loss_of_its_link_is_connected_again(owner: Owner) -> None:
    def lost(link: Link, end: LinkEnd) -> None:
        raise ZeroDivisionError

    owner.lost = lost  # type: ignore[method-assign]
    owner.start()
    link = owner.answer()
    with pytest.raises(ZeroDivisionError):
        owner.lose(link)
    owner.clock.advance(10)
    assert len(owner.dials) == 2


def test_retry_now_does_not_wait_and_is_nothing_while_there_is_a_link_or_an_attempt(owner: Owner) -> None:
    owner.persistent.retry_now()
    assert owner.dials == []  # not started
    owner.start()
    owner.persistent.retry_now()
    assert len(owner.dials) == 1
    owner.fail(REFUSED)
    owner.persistent.retry_now()
    assert len(owner.dials) == 2
    owner.answer()
    owner.persistent.retry_now()
    owner.clock.advance(1_000)  # nor does the former wait bring one
    assert len(owner.dials) == 2


def test_a_link_that_is_lost_within_its_attempt_is_dialled_once_more(owner: Owner) -> None:
    """The owner had more to do after the link was open, and the link ended meanwhile."""
    owner.start()
    link = FakeLink()
    owner.persistent.opened(cast(Link, link))
    owner.lose(link)
    assert owner.told == ["opened", "lost: lost"]
    owner.dials[-1].callback(cast(Link, link))
    assert owner.told == ["opened", "lost: lost", ("lost", 10.0)]
    assert owner.started == [None]
    owner.clock.advance(10)
    assert len(owner.dials) == 2


def test_of_two_addresses_that_answer_only_one_is_the_link(owner: Owner) -> None:
    owner.start()
    second = FakeLink()
    first = owner.answer()
    owner.persistent.opened(cast(Link, second))
    owner.persistent.received(cast(Link, second), Ping(1))
    owner.lose(second)
    assert owner.told == ["opened"]
    assert cast(Any, owner.persistent.link) is first


def test_a_stop_says_goodbye_and_waits_for_the_end(owner: Owner) -> None:
    owner.start()
    link = owner.answer()
    stopped = owner.stop()
    assert (link.left, stopped) == (1, [])
    owner.persistent.received(cast(Link, link), Ping(1))
    owner.lose(link)
    assert stopped == [None]
    owner.persistent.retry_now()
    owner.clock.advance(1_000)
    assert owner.told == ["opened"]
    assert len(owner.dials) == 1


def test_a_stop_ends_an_attempt_and_whoever_waits_for_it(owner: Owner, critical: list[str]) -> None:
    owner.start()
    assert owner.stop() == [None]
    assert owner.dials[-1].called
    assert [failure.type for failure in owner.started] == [CancelledError]
    assert owner.told == critical == []


def test_a_stop_ends_a_wait(owner: Owner) -> None:
    owner.start()
    owner.fail(REFUSED)
    assert owner.stop() == [None]
    owner.clock.advance(1_000)
    assert len(owner.dials) == 1


def test_a_link_that_opens_after_the_stop_is_left(owner: Owner) -> None:
    owner.start()
    owner.stop()
    late = FakeLink()
    owner.persistent.opened(cast(Link, late))
    assert (late.left, owner.told, owner.persistent.link) == (1, [], None)


def test_who_waits_for_the_first_attempt_may_go(owner: Owner) -> None:
    starting = owner.start()
    starting.cancel()
    (failure,) = owner.started
    assert failure.type is CancelledError
    owner.answer()
    assert owner.told == ["opened"]
