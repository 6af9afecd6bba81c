"""The contract can fail: each thing that a peer must not do is noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock

from chatnet.core.errors import CannotListen, LocalError, StoreFailed, TooSoon
from chatnet.core.events import Event, PeopleChanged, PersonGone
from chatnet.core.identity import chat_with
from tests.support.contract import CALLS, Recorder, code_of, codes_of, everything
from tests.support.scripted_peer import ScriptedPeer, key_of, somebody

BOB = chat_with(key_of("bob"))


class Unheard(Event, frozen=True):
    """An event that the contract knows nothing of."""


class Defective(ScriptedPeer):
    """A peer of which a test replaces one call."""

    def __init__(self, clock: MemoryReactorClock) -> None:
        super().__init__(clock)
        self.put_people(somebody("bob", self.now_ms()))

    def tell(self, event: Event) -> None:
        """At once, amid whatever is called."""
        for subscription in self._subscriptions:
            self._tell(subscription, event)


def recorded() -> tuple[Defective, Recorder]:
    peer = Defective(MemoryReactorClock())
    return peer, Recorder(peer)


def outcome(work: Deferred[Any]) -> Any:
    results: list[Any] = []
    work.addBoth(results.append)
    return results[0]


def test_codes_and_classes_are_read_from_the_docstrings() -> None:
    assert codes_of("say") == {"too-long", "empty", "unknown-peer", "blocked", "StoreFailed"}
    assert codes_of("connect") == {"unknown-peer", "Unreachable", "WrongKey", "Refused"}
    assert codes_of("export") == {"unknown-peer", "relative-path", "exists", "unwritable", "bad-format"}
    assert codes_of("quit") == frozenset()
    assert {"say", "say: empty", "MessageAdded", "PersonGone", "subscribe"} <= everything()
    assert CALLS.keys() <= everything()


def test_a_failure_is_named_by_its_class_or_its_code() -> None:
    assert code_of(LocalError("empty", "x")) == "empty"
    assert code_of(CannotListen("in-use", "x")) == "CannotListen"
    assert code_of(TooSoon("x", 1)) == "Unreachable"
    assert code_of(StoreFailed("no-space", "x")) == "StoreFailed"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda: fail(LocalError("unheard-of", "x")), "of which its docstring says nothing"),
        (lambda: fail(ValueError("x")), "fails with"),
        (lambda: fail(LocalError("empty", "")), "fails without words"),
        (lambda: succeed(None), "gives None"),
        (lambda: None, "gives no Deferred"),
    ],
)
def test_a_wrong_answer_is_noticed(answer: Callable[[], Any], says: str) -> None:
    peer, recorder = recorded()
    peer.say = lambda chat, body: answer()  # type: ignore
    with pytest.raises(AssertionError, match=says):
        outcome(recorder.api.say(BOB, "hello")).raiseException()
    assert recorder.seen == set()


def test_what_was_seen_is_noted() -> None:
    _, recorder = recorded()
    outcome(recorder.api.say(BOB, "hello"))
    outcome(recorder.api.say(BOB, ""))
    assert recorder.seen == {"say", "say: empty"}


def test_an_event_amid_a_call_is_noticed() -> None:
    peer, recorder = recorded()
    peer.speed_limits = lambda: succeed(peer.tell(PersonGone(BOB)))  # type: ignore
    recorder.api.speed_limits().addErrback(lambda failure: None)
    with pytest.raises(AssertionError, match="amid a call"):
        recorder.check_snapshot()


def test_an_event_that_nobody_has_entered_is_noticed() -> None:
    peer, recorder = recorded()
    peer.tell(Unheard())
    with pytest.raises(AssertionError, match="Unheard is not in the contract"):
        recorder.check_snapshot()


def test_a_change_that_is_not_told_is_noticed() -> None:
    peer, recorder = recorded()
    recorder.check_snapshot()
    peer.people[BOB] = msgspec.structs.replace(peer.people[BOB], unread=1)
    with pytest.raises(AssertionError, match="people"):
        recorder.check_snapshot()
    peer.tell(PeopleChanged((peer.people[BOB],)))
    recorder.check_snapshot()
