"""Ports: bound at once or not at all, who may try, and nobody left at the end."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from chatnet.core.errors import LocalError
from chatnet.core.limits import PeerLimits
from chatnet.net import listening
from chatnet.net.entrance import Arrived
from chatnet.net.link import Link
from chatnet.net.listening import LinkFactory
from tests.support.links import Recorder, Station, hello, settings_for


class Caller(Protocol):
    """Connects, and says nothing."""

    def __init__(self) -> None:
        self.lost: Deferred[None] = Deferred()

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)


async def call(bob: Station, port: int) -> Caller:
    return await connectProtocol(TCP4ClientEndpoint(bob.reactor, "127.0.0.1", port), Caller())


def taken_port() -> socket.socket:
    busy = socket.socket()
    busy.bind(("127.0.0.1", 0))
    busy.listen()
    return busy


# --- binding ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_busy_port_is_told_at_once_and_nothing_is_left_open(stations):
    bob = stations()
    with taken_port() as busy:
        busy_port = busy.getsockname()[1]
        with pytest.raises(CannotListenError):
            bob.listener.listen(("tcp:0:interface=127.0.0.1", f"tcp:{busy_port}:interface=127.0.0.1"))
        assert bob.listener.ports == []
        with pytest.raises(CannotListenError):
            bob.listener.listen_everywhere(busy_port)
        assert bob.listener.ports == []


@pytest_twisted.ensureDeferred
async def test_everywhere_is_both_families_on_one_number(stations):
    bob, alice = stations(), stations()
    bob.listener.listen_everywhere(0)
    hosts = dict(bob.listener.addresses)
    assert hosts["0.0.0.0"] == bob.listener.port > 0
    if "::" not in hosts:
        pytest.skip("this machine has no IPv6")
    assert hosts["::"] == bob.listener.port
    for host in ("127.0.0.1", "::1"):
        link = await alice.dialler.dial_host(host, bob.listener.port, alice.user, hello(), bob.peer)
        alice.dialled.append(link)
    assert [link.remote[0] for link in bob.user.links] == ["127.0.0.1", "::1"]


@pytest_twisted.ensureDeferred
async def test_several_endpoints_and_a_unix_socket(stations, tmp_path: Path):
    bob = stations()
    bob.listener.listen(("tcp:0:interface=127.0.0.1", f"unix:{tmp_path / 'socket'}"))
    assert len(bob.listener.ports) == 2
    assert bob.listener.addresses == (("127.0.0.1", bob.listener.port),)
    alice = stations()
    link = await alice.dialler.dial(
        UNIXClientEndpoint(bob.reactor, str(tmp_path / "socket")), ("unix", 0), alice.user, hello(), bob.peer
    )
    alice.dialled.append(link)
    assert bob.user.links[0].peer == alice.peer


@pytest_twisted.ensureDeferred
async def test_an_endpoint_that_would_pass_the_entrance_is_refused(stations):
    bob = stations()
    with pytest.raises(LocalError) as refused:
        bob.listener.listen(("tcp:0:interface=127.0.0.1", "haproxy:tcp:0:interface=127.0.0.1"))
    assert (refused.value.code, refused.value.text) == (
        "listen",
        "this kind of endpoint cannot be used; use tcp:, unix: or systemd:",
    )
    assert bob.listener.ports == []


# --- who may try --------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_too_many_from_one_source_are_closed_before_tls(stations):
    bob = stations(limits=PeerLimits(source_unauthenticated=2, loopback="counted"))
    port = bob.listen()
    callers = [await call(bob, port) for _ in range(3)]
    await callers[2].lost
    assert len(bob.factory.links) == 2
    assert not callers[0].lost.called
    for caller in callers[:2]:
        caller.transport.abortConnection()
        await caller.lost


@pytest_twisted.ensureDeferred
async def test_a_proven_link_takes_no_place_among_the_unproven(stations):
    limits = PeerLimits(source_unauthenticated=1, loopback="counted")
    bob, alice = stations(limits=limits), stations()
    port = bob.listen()
    for _ in range(3):
        await alice.dial(port, bob.peer)
    assert len(bob.factory.links) == 3


@pytest.mark.parametrize(("says_farewell", "cut"), [(False, 1), (True, 0)])
def test_of_links_that_are_closing_the_oldest_is_cut(stations, monkeypatch, says_farewell, cut):
    monkeypatch.setattr(listening, "LINKS_CLOSING", 2)
    factory = stations().factory
    factory.says_farewell = says_farewell
    links = []
    for _ in range(3):
        arrived = Arrived(None)
        assert factory.arrive(arrived)
        assert factory.let_in() is arrived
        links.append(arrived.link)
    for link in links:
        link.on_closing(link)
    assert [link.gone.called for link in links] == [bool(cut), False, False]
    assert len(factory._closing) == len(factory.links) == 3 - cut
    for link in links:
        link.abort()
    assert len(factory._closing) == len(factory.links) == 0


@pytest_twisted.ensureDeferred
async def test_when_all_places_are_taken_the_oldest_makes_room(stations):
    bob = stations()
    port = bob.listen()
    callers = [await call(bob, port) for _ in range(32)]
    assert not any(caller.lost.called for caller in callers)
    alice = stations()
    link = await alice.dial(port, bob.peer)
    await callers[0].lost
    assert link.is_open
    assert not callers[1].lost.called
    for caller in callers[1:]:
        caller.transport.abortConnection()
        await caller.lost


@pytest.mark.parametrize(
    ("address", "remote"),
    [
        (IPv4Address("TCP", "192.0.2.1", 5), ("192.0.2.1", 5)),
        (IPv6Address("TCP", "::ffff:192.0.2.1", 5), ("192.0.2.1", 5)),
        (IPv6Address("TCP", "2001:db8::1", 5), ("2001:db8::1", 5)),
        (None, ("unix", 0)),
    ],
)
def test_a_mapped_address_is_shown_and_counted_as_what_it_is(address: Any, remote: tuple[str, int]) -> None:
    from twisted.internet.task import Clock

    factory = LinkFactory(settings_for(Clock()), Recorder(), 4)
    arrived = Arrived(address)
    assert factory.arrive(arrived)
    assert factory.let_in() is arrived
    assert arrived.link is not None
    assert arrived.link.remote == remote


# --- times --------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_time_for_hello_begins_when_the_handshake_is_over(stations):
    """Nobody pays in the second wait for the first: a slow handshake, then HELLO at once."""
    from twisted.internet.task import Clock

    clock = Clock()
    bob, alice = stations(), stations()
    bob.settings.pulse.clock = clock  # bob's time stands still but where we move it
    port = bob.listen()
    started: list[Link] = []
    let_in = bob.factory.let_in

    def watched() -> Arrived | None:
        arrived = let_in()
        assert arrived is not None
        link = arrived.link
        assert link is not None
        started.append(link)
        authenticated = link.handshakeCompleted

        def later() -> None:
            clock.advance(9.0)  # the handshake took so long
            authenticated()
            link.beat(clock.seconds())

        link.handshakeCompleted = later  # type: ignore[method-assign]
        return arrived

    bob.factory.let_in = watched
    link = await alice.dial(port, bob.peer)
    assert link.is_open
    assert started[0].is_open


# --- closing ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_closing_says_farewell_to_every_link_open_or_not(stations):
    bob, alice = stations(), stations()
    port = bob.listen()
    await alice.dial(port, bob.peer)
    silent = await call(bob, port)
    await bob.listener.close(lambda link: link.close("stopping", "the program ends"))
    assert bob.factory.links == set()
    assert bob.listener.ports == []
    await silent.lost
    await alice.user.until(lambda: len(alice.user.ends) == 1)
    assert (alice.user.ends[0].code, alice.user.ends[0].by_remote) == ("stopping", True)


@pytest_twisted.ensureDeferred
async def test_farewells_are_said_some_in_each_turn(stations, monkeypatch: pytest.MonkeyPatch):
    from twisted.internet import reactor

    monkeypatch.setattr(listening, "FAREWELLS_PER_TURN", 2)
    bob, alice = stations(), stations()
    port = bob.listen()
    for _ in range(5):
        await alice.dial(port, bob.peer)
    told: list[Link] = []

    def farewell(link: Link) -> None:
        told.append(link)
        link.close("stopping", "the program ends")

    closing = Deferred.fromCoroutine(bob.listener.close(farewell))
    most = 0
    while not closing.called:
        before = len(told)
        await deferLater(reactor, 0)
        most = max(most, len(told) - before)
    assert (most, len(told), len(set(told))) == (2, 5, 5)
    await closing


@pytest_twisted.ensureDeferred
async def test_who_stops_accepting_keeps_the_links(stations):
    bob, alice = stations(), stations()
    port = bob.listen()
    link = await alice.dial(port, bob.peer)
    await bob.listener.stop_accepting()
    with socket.socket() as late, pytest.raises(ConnectionRefusedError):
        late.connect(("127.0.0.1", port))
    link.ping()
    assert link.is_open
    assert bob.user.links[0].is_open


@pytest_twisted.ensureDeferred
async def test_a_long_reason_is_cut_and_arrives(stations):
    bob, alice = stations(), stations()
    await alice.dial(bob.listen(), bob.peer)
    bob.user.links[0].close("busy", "ä" * 150)
    await alice.user.until(lambda: len(alice.user.ends) == 1)
    assert alice.user.ends[0].text == "ä" * 100
