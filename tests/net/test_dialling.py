"""Dialling: the first address that opens stays, the most telling failure is told, nothing is left behind."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError, TimeoutError, UserError
from twisted.internet.task import deferLater
from twisted.logger import globalLogPublisher

from chatnet.core.errors import ChatnetError, Refused, Unreachable, WrongKey
from chatnet.core.limits import PeerLimits
from chatnet.net.dialling import explain
from tests.support.links import Recorder, Station, hello


@contextmanager
def closed_port() -> Iterator[tuple[str, int]]:
    """An address where nobody listens, as long as it is held."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()


@contextmanager
def silent_port() -> Iterator[tuple[str, int]]:
    """An address that takes connections and says nothing."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield held.getsockname()


async def dial_any(alice: Station, addresses: list[tuple[str, int]], bob: Station, stagger: float = 5.0) -> Any:
    failed: list[tuple[str, int]] = []

    def tried(address: tuple[str, int], error: ChatnetError) -> None:
        failed.append(address)

    link = await alice.dialler.dial_any(addresses, alice.user, hello(), bob.peer, stagger, tried)
    alice.dialled.append(link)
    return link, failed


async def all_gone(station: Station) -> None:
    for link in tuple(station.factory.links):
        await link.when_gone()


@pytest_twisted.ensureDeferred
async def test_a_failed_address_makes_way_at_once(stations):
    alice, bob = stations(), stations()
    port = bob.listen()
    with closed_port() as closed:
        link, failed = await dial_any(alice, [closed, ("127.0.0.1", port)], bob, stagger=60.0)
    assert link.remote == ("127.0.0.1", port)
    assert failed == [closed]


@pytest_twisted.ensureDeferred
async def test_a_silent_address_delays_the_next_by_the_stagger_only(stations):
    alice, bob = stations(), stations()
    port = bob.listen()
    with silent_port() as silent:
        link, failed = await dial_any(alice, [silent, ("127.0.0.1", port)], bob, stagger=0.05)
    assert link.remote == ("127.0.0.1", port)
    assert failed == []  # it was cut, which says nothing about the address


@pytest_twisted.ensureDeferred
async def test_only_one_link_stays_of_many_that_open(stations):
    alice, bob = stations(), stations()
    bob.listener.listen(("tcp:0:interface=127.0.0.1",) * 5)
    link, _ = await dial_any(alice, list(bob.listener.addresses), bob, stagger=0.0)
    assert link.is_open
    surplus = [other for other in tuple(bob.factory.links) if other not in bob.user.links[:1]]
    for other in surplus:
        await other.when_gone()
    assert len([other for other in bob.factory.links if other.is_open]) == 1


@pytest_twisted.ensureDeferred
async def test_the_most_telling_failure_is_told(stations):
    alice, bob, mallory = stations(), stations(), stations()
    refusing = stations(Recorder(refuse=Refused("busy", "full", 9)))
    wrong = ("127.0.0.1", mallory.listen())
    with closed_port() as closed:
        with pytest.raises(WrongKey) as caught:
            await dial_any(alice, [closed, wrong, closed], bob)
        assert caught.value.seen == mallory.peer
        with pytest.raises(Refused) as refused:
            await dial_any(alice, [closed, ("127.0.0.1", refusing.listen())], refusing)
    assert (refused.value.code, refused.value.retry_after_s) == ("busy", 9)
    await all_gone(mallory)


@pytest_twisted.ensureDeferred
async def test_every_unreachable_address_has_its_clause(stations):
    alice, bob = stations(), stations()
    with closed_port() as one, closed_port() as other, pytest.raises(Unreachable) as caught:
        await dial_any(alice, [one, other], bob)
    assert caught.value.code == "connection-refused"
    assert caught.value.text == ", ".join(f"{host}:{port} connection refused" for host, port in (one, other))


@pytest_twisted.ensureDeferred
async def test_an_address_that_is_named_twice_fails_once(stations):
    alice, bob = stations(), stations()
    with closed_port() as closed, pytest.raises(Unreachable) as caught:
        await dial_any(alice, [closed] * 3, bob)
    assert caught.value.text.count("refused") == 1


@pytest_twisted.ensureDeferred
async def test_without_an_address_there_is_nothing_to_try(stations):
    alice, bob = stations(), stations()
    with pytest.raises(Unreachable) as caught:
        await dial_any(alice, [], bob)
    assert caught.value.code == "no-address"


@pytest.mark.parametrize("several", [False, True], ids=["one", "several"])
@pytest_twisted.ensureDeferred
async def test_a_cancelled_dial_leaves_nothing_behind(stations, several):
    alice, bob = stations(), stations()
    timers = set(alice.reactor.getDelayedCalls())
    with silent_port() as silent, silent_port() as another:
        if several:
            dial = alice.dialler.dial_any([silent, another], alice.user, hello(), bob.peer, 0.0)
        else:
            dial = alice.dialler.dial_host(*silent, alice.user, hello(), bob.peer)
        dialling = Deferred.fromCoroutine(dial)
        await deferLater(alice.reactor, 0.05)  # long enough to be in the midst of it
        dialling.cancel()
        with pytest.raises((CancelledError, ChatnetError)):
            await dialling
        await deferLater(alice.reactor, 0)
    assert set(alice.reactor.getDelayedCalls()) <= timers
    assert alice.user.links == []


@pytest.mark.parametrize("stagger", [0.0, 60.0])
@pytest_twisted.ensureDeferred
async def test_a_dial_that_is_cancelled_leaves_no_error_that_nobody_takes(stations, stagger: float):
    """Also while the next address waits for its turn, when nobody listens to the outcome yet."""
    alice, bob = stations(), stations()
    complaints: list[Any] = []
    observer = lambda event: complaints.append(event) if "log_failure" in event else None  # noqa: E731
    globalLogPublisher.addObserver(observer)
    try:
        with silent_port() as silent, silent_port() as another:
            addresses = [silent] if stagger else [silent, another]
            dialling = Deferred.fromCoroutine(alice.dialler.dial_any(addresses, alice.user, hello(), bob.peer, stagger))
            await deferLater(alice.reactor, 0.05)
            dialling.cancel()
            with pytest.raises((CancelledError, ChatnetError)):
                await dialling
            await deferLater(alice.reactor, 0)
        del dialling
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observer)
    assert complaints == []


@pytest_twisted.ensureDeferred
async def test_a_listener_that_never_answers_is_given_up(stations):
    class Undecided(Recorder):
        async def answer(self, link, greeting):
            return await Deferred()

    alice = stations(limits=PeerLimits(hello_seconds=0.5))
    bob = stations(Undecided())
    with pytest.raises(ChatnetError) as caught:
        await alice.dial(bob.listen(), bob.peer)
    assert caught.value.code == "timeout"


@pytest_twisted.ensureDeferred
async def test_whoever_answers_is_taken_when_nobody_is_expected(stations):
    alice, bob = stations(), stations()
    link = await alice.dial(bob.listen(), None)
    assert link.peer == bob.peer


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("192.0.2.1", "TCP4ClientEndpoint"),
        ("2001:db8::1", "TCP6ClientEndpoint"),
        ("chat.example.org", "HostnameEndpoint"),
        ("localhost", "HostnameEndpoint"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_endpoints_by_the_look_of_the_host(stations, host, kind):
    assert type(stations().dialler.endpoint(host, 4000)).__name__ == kind


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConnectionRefusedError(), "connection-refused", "connection refused"),
        (TimeoutError(), "timed-out", "timed out"),
        (UserError(), "timed-out", "timed out"),
        (OSError("No route to host."), "unreachable", "no route to host"),
        (OSError("x" * 500), "unreachable", "x" * 120),
        (OSError(), "unreachable", "oserror"),
    ],
)
def test_a_failed_connect_in_words(error: Exception, code: str, words: str) -> None:
    assert explain(error) == (code, words)
