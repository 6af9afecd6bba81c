"""The entrance: whoever comes is taken at once, and let in by order, on real sockets."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chatnet.core.known_sources import KnownSources
from chatnet.core.limits import ACCEPTS_PER_TURN, WAITING_FOR_EACH_PLACE, PeerLimits
from chatnet.net.link import Link
from tests.support.links import Station, hello

COUNTED = PeerLimits(loopback="counted")


class HeldTurns:
    """The turns of a station in which nobody is let in until ``go_on``."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._turns = station.tls.turns
        self.held: list[tuple[Callable[..., None], Any]] = []
        self._turns.run_last = self._hold  # type: ignore[method-assign]

    def _hold(self, clock: Any, work: Callable[[], None]) -> None:
        self.held.append((work, clock))

    def go_on(self) -> None:
        del self._turns.run_last  # type: ignore[method-assign]
        for work, clock in self.held:
            self._turns.run_last(clock, work)


def call(port: int, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), source_address=(source, 0))


async def turn(station: Station, until: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if until():
            return
        await deferLater(station.reactor, 0)
    pytest.fail("it never came to that")


def is_closed(caller: socket.socket) -> bool:
    caller.setblocking(False)
    try:
        return caller.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest_twisted.ensureDeferred
async def test_whoever_waits_is_taken_from_the_kernel_and_has_no_link(stations):
    bob = stations(limits=COUNTED)
    port, turns = bob.listen(), HeldTurns(bob)
    callers = [call(port, f"127.0.{n}.1") for n in range(3)]
    await turn(bob, lambda: bob.factory.waiting == 3)
    assert bob.factory.links == set()
    turns.go_on()
    await turn(bob, lambda: len(bob.factory.links) == 3)
    assert bob.factory.unproven == 3
    for caller in callers:
        caller.close()


@pytest_twisted.ensureDeferred
async def test_the_newest_stranger_is_let_in_before_the_others(stations):
    bob = stations(limits=COUNTED)
    port, turns = bob.listen(), HeldTurns(bob)
    made: list[str] = []
    begun = Link.connectionMade

    def noted(link: Link) -> None:
        made.append(link.remote[0])
        begun(link)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Link, "connectionMade", noted)
        callers = []
        for n in range(3):
            callers.append(call(port, f"127.0.{n}.1"))
            await turn(bob, lambda n=n: bob.factory.waiting == n + 1)
        turns.go_on()
        await turn(bob, lambda: len(made) == 3)
    assert made == ["127.0.2.1", "127.0.1.1", "127.0.0.1"]
    for caller in callers:
        caller.close()


@pytest_twisted.ensureDeferred
async def test_somebody_known_is_let_in_while_nobody_else_is(stations):
    known = KnownSources()
    bob, alice = stations(limits=COUNTED, known=known), stations()
    known.learn(alice.peer, ["127.0.0.1"])
    port, turns = bob.listen(), HeldTurns(bob)
    callers = [call(port, f"127.1.{n}.1") for n in range(40)]
    await turn(bob, lambda: bob.factory.waiting == 40)
    link = await alice.dial(port, bob.peer, hello())
    assert link.is_open
    assert [one.peer for one in bob.factory.links] == [alice.peer]
    turns.go_on()
    for caller in callers:
        caller.close()


@pytest_twisted.ensureDeferred
async def test_the_source_counts_until_the_key_is_proven(stations):
    known = KnownSources()
    bob, alice, carol = stations(limits=COUNTED, known=known), stations(), stations()
    known.learn(carol.peer, ["127.0.0.1"])
    port = bob.listen()
    with call(port, "127.0.0.1"), call(port, "127.0.9.1"):
        await turn(bob, lambda: len(bob.factory.links) == 2)
        assert {link.remote[0]: link.comes_first for link in bob.factory.links} == {
            "127.0.0.1": True,
            "127.0.9.1": False,
        }
        dialled = await alice.dial(port, bob.peer)
        assert dialled.comes_first
        assert [link.comes_first for link in bob.user.links] == [False]


@pytest_twisted.ensureDeferred
async def test_when_too_many_wait_the_oldest_is_closed(stations):
    bob = stations(limits=COUNTED)
    port, _ = bob.listen(), HeldTurns(bob)
    first = call(port, "127.0.1.1")
    await turn(bob, lambda: bob.factory.waiting == 1)
    most, callers = 32 * WAITING_FOR_EACH_PLACE, []
    for n in range(1, most):
        callers.append(call(port, f"127.1.{n}.1"))
        await turn(bob, lambda n=n: bob.factory.waiting == n + 1)
    assert not is_closed(first)
    callers.append(call(port, "127.2.1.1"))
    await turn(bob, lambda: bob.factory.refusals["not-served"] == 1)
    await turn(bob, lambda: is_closed(first))
    assert bob.factory.waiting == most
    for caller in (first, *callers):
        caller.close()


@pytest_twisted.ensureDeferred
async def test_who_waits_when_the_ports_close_is_turned_away(stations):
    bob = stations(limits=COUNTED)
    port, turns = bob.listen(), HeldTurns(bob)
    caller = call(port, "127.0.1.1")
    await turn(bob, lambda: bob.factory.waiting == 1)
    await bob.listener.stop_accepting()
    await turn(bob, lambda: is_closed(caller))
    turns.go_on()
    assert (bob.factory.waiting, bob.factory.links) == (0, set())
    caller.close()


@pytest_twisted.ensureDeferred
async def test_a_port_takes_as_many_in_a_turn_as_there_is_time_for(stations):
    bob = stations(limits=COUNTED)
    port = bob.listen()
    HeldTurns(bob)
    bob.listener.ports[0].numberAccepts = 10 * ACCEPTS_PER_TURN
    caller = call(port, "127.0.1.1")
    await turn(bob, lambda: bob.factory.waiting == 1)
    await turn(bob, lambda: bob.listener.ports[0].numberAccepts == ACCEPTS_PER_TURN)
    caller.close()


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_has_the_same_entrance(stations, tmp_path: Path):
    bob = stations()
    bob.listener.listen((f"unix:{tmp_path / 'socket'}",))
    turns = HeldTurns(bob)
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(tmp_path / "socket"))
        await turn(bob, lambda: bob.factory.waiting == 1)
        turns.go_on()
        await turn(bob, lambda: [link.remote for link in bob.factory.links] == [("unix", 0)])


@pytest_twisted.ensureDeferred
async def test_a_link_that_is_gone_leaves_no_cycle(stations, monkeypatch):
    """The collector spares what lives long: a cycle with a link in it would never go."""
    monkeypatch.setattr(Link, "log", Logger("quiet", observer=lambda event: None))  # else events keep it
    bob, alice = stations(), stations()
    port = bob.listen()
    link = await alice.dial(port, bob.peer, hello())
    theirs = weakref.ref(bob.user.links.pop())
    gc.disable()
    try:
        link.abort()
        await turn(bob, lambda: theirs() is None)
    finally:
        gc.enable()
