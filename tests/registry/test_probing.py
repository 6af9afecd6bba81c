"""The dial back: only where a peer was seen, only with its own key, not often, told in few pushes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from chatnet.core.errors import Unreachable
from chatnet.core.identity import PeerID
from chatnet.core.limits import RegistryLimits
from chatnet.core.messages import ROLE_PROBE, Hello
from chatnet.core.records import Endpoint, endpoint
from chatnet.registry.probing import Prober
from chatnet.registry.service import RegistryService
from tests.support.guests import Guest
from tests.support.links import Recorder, Station, new_identity

QUICK = RegistryLimits(proofs_seconds=0.01, replace_seconds=1e-9)
HERE = endpoint("127.0.0.1", 4000)
LINE = ("tcp:0:interface=127.0.0.1",)


class PhoneBook:
    """A dialler whose dials are answered by hand."""

    def __init__(self) -> None:
        self.dials: list[tuple[str, int, PeerID, Deferred[Any]]] = []
        self.cancelled = 0

    def dial_host(self, host: str, port: int, user: object, hello: Hello, expected: PeerID) -> Deferred[Any]:
        assert hello.role == ROLE_PROBE
        answer: Deferred[Any] = Deferred(self._cancel)
        self.dials.append((host, port, expected, answer))
        return answer

    def _cancel(self, _: object) -> None:
        self.cancelled += 1

    def refuse(self, index: int) -> None:
        self.dials[index][3].errback(Unreachable("connection-refused", "nobody"))

    def greet(self, index: int) -> None:
        self.dials[index][3].callback(AnsweredLink())


class AnsweredLink:
    """A link on which both have said goodbye."""

    def leave(self) -> None: ...

    def abort(self) -> None: ...

    def when_gone(self) -> Deferred[None]:
        gone: Deferred[None] = Deferred()
        gone.callback(None)
        return gone


class Desk:
    """A prober without a network."""

    def __init__(self, **limits: Any) -> None:
        self.clock, self.book = Clock(), PhoneBook()
        self.told: list[list[tuple[PeerID, Endpoint]]] = []
        self.prober = Prober(
            self.clock,
            self.book,
            RegistryLimits(**limits),
            bytes(16),
            "registry",
            (),
            self.told.append,  # type: ignore[arg-type]
        )


def peer(n: int) -> PeerID:
    return PeerID(n.to_bytes(32, "big"))


def test_at_most_some_at_a_time_and_nothing_is_left_at_the_end() -> None:
    desk = Desk(probes_at_once=16)
    for n in range(40):
        desk.prober.want(peer(n), HERE)
    assert len(desk.book.dials) == 16
    desk.book.refuse(3)
    desk.book.greet(5)
    assert len(desk.book.dials) == 18
    desk.prober.stop()
    assert desk.book.cancelled == 16
    assert len(desk.book.dials) == 18
    assert desk.clock.getDelayedCalls() == []


def test_who_does_not_answer_in_time_gives_the_place_free() -> None:
    desk = Desk(probes_at_once=1, probe_timeout_seconds=5.0)
    desk.prober.want(peer(1), HERE)
    desk.prober.want(peer(2), HERE)
    desk.clock.advance(4.9)
    assert len(desk.book.dials) == 1
    desk.clock.advance(0.2)
    assert [dial[2] for dial in desk.book.dials] == [peer(1), peer(2)]
    desk.clock.advance(60)
    assert desk.told == []
    assert desk.clock.getDelayedCalls() == []


def test_one_key_is_dialled_once_a_minute_wherever_it_says_to_be() -> None:
    desk = Desk(probe_seconds=60.0)
    for port in range(4000, 4010):
        desk.prober.want(peer(1), endpoint("127.0.0.1", port))
        desk.prober.forget(peer(1))  # it goes, and comes again
        desk.clock.advance(1)
    desk.prober.want(peer(1), endpoint("127.0.0.1", 5000))
    assert [dial[1] for dial in desk.book.dials] == [4000]
    desk.clock.advance(49.9)
    assert len(desk.book.dials) == 1
    desk.clock.advance(0.2)
    assert [dial[1] for dial in desk.book.dials] == [4000, 5000]
    desk.prober.stop()


def test_who_left_is_not_dialled() -> None:
    desk = Desk(probes_at_once=1)
    for n in range(3):
        desk.prober.want(peer(n), HERE)
    desk.prober.forget(peer(1))
    desk.book.refuse(0)
    assert [dial[2] for dial in desk.book.dials] == [peer(0), peer(2)]


def test_many_keys_of_one_network_do_not_hold_up_another() -> None:
    desk = Desk(probes_at_once=1)
    for n in range(50):
        desk.prober.want(peer(n), endpoint(f"192.0.2.{n + 1}", 4000))
    desk.prober.want(peer(100), endpoint("198.51.100.1", 4000))
    desk.prober.want(peer(101), endpoint("203.0.113.1", 4000))
    for index in range(3):
        desk.book.refuse(index)
    assert [dial[2] for dial in desk.book.dials] == [peer(n) for n in (0, 101, 100, 1)]
    desk.prober.stop()
    assert len(desk.prober._queue) == 0


def test_answers_are_told_together() -> None:
    desk = Desk(probes_at_once=1000, proofs_seconds=1.0)
    for n in range(1000):
        desk.prober.want(peer(n), HERE)
        desk.book.greet(n)
        desk.clock.advance(0.001)
    desk.clock.advance(1)
    assert [len(batch) for batch in desk.told] == [1000]


def test_nothing_is_dialled_below_1024_or_when_it_is_off() -> None:
    desk, off = Desk(), Desk(probe="off")
    desk.prober.want(peer(1), endpoint("127.0.0.1", 1023))
    off.prober.want(peer(1), HERE)
    assert desk.book.dials == off.book.dials == []
    desk.prober.want(peer(1), endpoint("127.0.0.1", 1024))
    assert len(desk.book.dials) == 1
    desk.prober.stop()


# --- over real sockets -----------------------------------------------------------------------


class Quarter:
    """A registry, guests, and listening stations, all closed at the end."""

    def __init__(self, reactor: Any, registry: RegistryService) -> None:
        self.reactor = reactor
        self.registry = registry
        self.guests: list[Guest] = []
        self.stations: list[Station] = []

    def listening(self, user: Recorder | None = None) -> Station:
        station = Station(self.reactor, user)
        station.listen()
        self.stations.append(station)
        return station

    async def guest(self, name: str, station: Station, *endpoints: Endpoint) -> Guest:
        """Registered with a station's key; ``endpoints`` go before the station's own."""
        guest = Guest(self.reactor, name, station.identity)
        guest.endpoints = [*endpoints, endpoint("127.0.0.1", station.listener.port)]
        self.guests.append(guest)
        await guest.join(self.registry.port)
        return guest


@pytest_twisted.async_yield_fixture
async def quarter(tmp_path: Any) -> AsyncIterator[Quarter]:
    from twisted.internet import reactor

    registry = RegistryService(reactor, new_identity(), tmp_path / "chatnet.db", QUICK, LINE)
    registry.startService()
    quarter = Quarter(reactor, registry)
    yield quarter
    for guest in quarter.guests:
        await guest.close()
    for station in quarter.stations:
        await station.close()
    await registry.stopService()


async def marked(guest: Guest, peer: PeerID) -> None:
    from twisted.internet import reactor

    seen = guest.until(lambda: peer in guest.list and guest.list[peer].proven == 1)
    await Deferred.fromCoroutine(seen).addTimeout(10, reactor)  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_an_address_with_its_key_is_marked_and_the_entry_came_before(quarter: Quarter) -> None:
    station = quarter.listening()
    alice = await quarter.guest("alice", station)
    await marked(alice, alice.peer)
    assert [page.joined[0].proven for page in alice.pages if page.joined] == [0, 1]
    await station.user.until(lambda: len(station.user.ends) == 1)
    assert [link.role for link in station.user.links] == [ROLE_PROBE]


@pytest_twisted.ensureDeferred
async def test_another_key_at_the_address_proves_nothing(quarter: Quarter) -> None:
    find_open, mine = quarter.listening(), quarter.listening()
    mallory = await quarter.guest("mallory", mine, endpoint("127.0.0.1", find_open.listener.port))
    bob = await quarter.guest("bob", find_open)
    await marked(bob, bob.peer)
    assert mallory.list[mallory.peer].proven == 0
    assert [link.role for link in find_open.user.links] == [ROLE_PROBE]  # bob's own; mallory's went no further than TLS


@pytest_twisted.ensureDeferred
async def test_an_address_that_only_a_record_claims_is_never_dialled(
    quarter: Quarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoy = quarter.listening()
    connections: list[object] = []
    monkeypatch.setattr(decoy.factory, "arrive", connections.append)
    station = quarter.listening()
    alice = Guest(quarter.reactor, "alice", station.identity)
    quarter.guests.append(alice)
    alice.endpoints = [
        endpoint("127.0.0.1", station.listener.port),
        endpoint("127.0.0.1", decoy.listener.port),
        endpoint("192.0.2.7", 4000),
    ]
    await alice.join(quarter.registry.port)
    await marked(alice, alice.peer)
    assert connections == []


@pytest.mark.parametrize("same_address", [True, False])
@pytest_twisted.ensureDeferred
async def test_a_mark_stays_with_its_address(quarter: Quarter, same_address: bool) -> None:
    station = quarter.listening()
    alice = await quarter.guest("alice", station)
    await marked(alice, alice.peer)
    other = endpoint("10.0.0.7", 4000)
    alice.announce(*([*alice.endpoints, other] if same_address else [other]))
    await alice.until(lambda: other in alice.list[alice.peer].endpoints)
    assert alice.list[alice.peer].proven == int(same_address)
