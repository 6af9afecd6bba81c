"""A registry and its peers over real sockets and real TLS."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from chatnet.core import messages
from chatnet.core.directory.directory import Directory, SavedDirectory
from chatnet.core.errors import ChatnetError, Refused
from chatnet.core.framing import frame
from chatnet.core.identity import short_text
from chatnet.core.known_sources import KnownSources
from chatnet.core.limits import RegistryLimits
from chatnet.core.messages import ROLE_REGISTRY, ListPage, Lookup, Say, Welcome
from chatnet.core.records import endpoint, verify_record
from chatnet.net.dialling import Dialler
from chatnet.net.identity import Identity
from chatnet.net.link import Link
from chatnet.net.tls import TLS
from chatnet.registry import service
from chatnet.registry.protocol import EARLY_AT_ONCE, RegistryProtocol
from chatnet.registry.service import RegistryService
from tests.support.guests import Guest
from tests.support.links import Recorder, hello, new_identity, settings_for

LOOPBACK = ("tcp:0:interface=127.0.0.1",)
PATIENT = RegistryLimits(replace_seconds=3600)
HASTY = RegistryLimits(replace_seconds=1e-9)


class House:
    """Registries and guests of one test, all closed at its end."""

    def __init__(self, reactor: Any, directory: Path) -> None:
        self.reactor = reactor
        self.database = directory / "chatnet.db"
        self.identity = new_identity()
        self.guests: list[Guest] = []
        self.registries: list[RegistryService] = []

    def open(
        self, limits: RegistryLimits = HASTY, database: Path | None = None, features: tuple[str, ...] = ()
    ) -> RegistryService:
        registry = RegistryService(
            self.reactor, self.identity, database or self.database, limits, LOOPBACK, features=features
        )
        registry.startService()
        self.registries.append(registry)
        return registry

    def copy(self) -> Path:
        """What is on the disk at this moment, in a place of its own."""
        place = self.database.parent / "copy"
        place.mkdir()
        for file in self.database.parent.glob(f"{self.database.name}*"):
            shutil.copy(file, place)
        return place / self.database.name

    async def shut(self, registry: RegistryService) -> None:
        self.registries.remove(registry)
        await registry.stopService()

    def guest(self, name: str, identity: Identity | None = None, seq: int = 1) -> Guest:
        guest = Guest(self.reactor, name, identity, seq)
        self.guests.append(guest)
        return guest

    async def joined(self, registry: RegistryService, *names: str) -> list[Guest]:
        """Guests with these names, each knowing all."""
        guests = [self.guest(name) for name in names]
        for guest in guests:
            await guest.join(registry.port)
        for guest in guests:
            await guest.sees(*names)
        return guests

    async def close(self) -> None:
        for guest in self.guests:
            await guest.close()
        for registry in self.registries:
            await registry.stopService()


@pytest_twisted.async_yield_fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    from twisted.internet import reactor

    house = House(reactor, tmp_path)
    yield house
    await house.close()


async def refusal(attempt: Awaitable[object]) -> tuple[str, str, int]:
    """Code, text and seconds of the registry's no."""
    try:
        await attempt
    except Refused as error:
        return error.code, error.text, error.retry_after_s
    except ChatnetError as error:
        return error.code, error.text, -1
    raise AssertionError("it was let in")


async def closed(registry: RegistryService) -> None:
    """Wait until nothing of the links is left that the registry is closing."""
    for link in registry.links:
        if not link.is_open:
            await link.when_gone()


# --- the list -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_everybody_sees_everybody(house: House) -> None:
    registry = house.open()
    guests = await house.joined(registry, "alice", "bob", "carol")
    assert registry.present == 3
    assert [guest.pages[0].reset for guest in guests] == [True] * 3
    assert not any(page.reset for guest in guests for page in guest.pages[1:])
    entry = guests[0].list[guests[2].peer]
    assert (entry.name, entry.endpoints, entry.seq) == ("carol", [endpoint("127.0.0.1", 40_000)], 1)


@pytest_twisted.ensureDeferred
async def test_a_welcome_names_what_the_registry_can_do_and_no_more(house: House) -> None:
    plain, able = house.open(), house.open(database=house.database.with_name("other.db"), features=("serving", "pass"))
    guest = house.guest("alice")
    link = await guest.join(plain.port, guest.greeting(features=["pass", "resume"]))
    assert isinstance(link.greeting, Welcome)
    assert (link.greeting.features, link.features) == ([], frozenset())
    link = await guest.join(able.port, guest.greeting(features=["pass", "resume"]))
    assert isinstance(link.greeting, Welcome)
    assert (link.greeting.features, link.features) == (["pass", "serving"], {"pass"})
    assert {there.features for there in able.links} == {frozenset({"pass"})}


@pytest_twisted.ensureDeferred
async def test_who_dials_before_the_names_are_read_is_answered_then(house: House) -> None:
    registry = house.open()
    assert not registry.serving.called
    await house.guest("alice").join(registry.port)
    assert registry.serving.called


def test_of_many_who_dialled_before_some_are_answered_in_each_turn() -> None:
    class Turning(Clock):
        def callLater(self, delay: float, call: Callable[..., object], *args: object, **kw: object) -> Any:
            return super().callLater(delay or 1, call, *args, **kw)

    clock, nobody, limits = Turning(), Recorder(), RegistryLimits(keep_seconds=60)
    no_store: Any = None
    settings = settings_for(clock)
    dialler = Dialler(clock, TLS(new_identity()), settings)
    directory = Directory(b"e" * 16, limits)
    protocol = RegistryProtocol(clock, lambda: 0, directory, no_store, limits, b"i" * 16, dialler, KnownSources())
    answered: list[Failure] = []
    for number in range(EARLY_AT_ONCE + 1):
        link = Link(settings, nobody, ("127.0.0.1", number))
        asked = Deferred.fromCoroutine(protocol.answer(link, hello(ROLE_REGISTRY, name="me")))
        asked.addErrback(answered.append)  # for that name is reserved
    protocol.begin([], SavedDirectory([], 0, []))
    assert len(answered) == EARLY_AT_ONCE
    clock.advance(1)
    assert len(answered) == EARLY_AT_ONCE + 1
    protocol.stop()
    assert clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_who_says_goodbye_or_is_cut_off_leaves_the_list(house: House) -> None:
    registry = house.open()
    alice, bob, carol = await house.joined(registry, "alice", "bob", "carol")
    bob.link.leave()
    await alice.sees("alice", "carol")
    carol.link.abort()
    await alice.sees("alice")
    assert registry.present == 1


@pytest_twisted.ensureDeferred
async def test_new_addresses_are_told(house: House) -> None:
    registry = house.open()
    alice, bob = await house.joined(registry, "alice", "bob")
    bob.announce(endpoint("10.0.0.7", 41_000), endpoint("224.0.0.1", 41_000))
    await alice.until(lambda: alice.list[bob.peer].seq == 2)
    assert alice.list[bob.peer].endpoints == [endpoint("127.0.0.1", 41_000), endpoint("10.0.0.7", 41_000)]


@pytest_twisted.ensureDeferred
async def test_who_returns_with_a_cursor_gets_what_changed(house: House) -> None:
    registry = house.open()
    alice, bob, _ = await house.joined(registry, "alice", "bob", "carol")
    alice.link.leave()
    await alice.link.when_gone()
    bob.link.leave()
    await bob.link.when_gone()
    seen = len(alice.pages)
    await alice.join(registry.port)
    await alice.sees("alice", "carol")
    assert not any(page.reset for page in alice.pages[seen:])
    assert alice.pages[seen].left == [bob.peer]


# --- restarts -----------------------------------------------------------------------------------


async def back(guest: Guest, registry: RegistryService) -> list[ListPage]:
    """What a guest is told that returns with its cursor, up to the end of the list."""
    seen = len(guest.pages)
    await guest.join(registry.port)
    await guest.until(lambda: len(guest.pages) > seen and not guest.pages[-1].more)
    return guest.pages[seen:]


def is_nothing_new(page: ListPage) -> bool:
    return not (page.reset or page.joined or page.left)


@pytest_twisted.ensureDeferred
async def test_a_restart_is_no_news_to_who_comes_back(house: House) -> None:
    first = house.open()
    alice, bob = await house.joined(first, "alice", "bob")
    await house.shut(first)
    assert [guest.ends[-1].code for guest in (alice, bob)] == [messages.STOPPING] * 2
    second = house.open()
    for guest in (alice, bob):
        assert all(map(is_nothing_new, await back(guest, second)))
    told = len(alice.pages)
    carol = house.guest("carol")
    await carol.join(second.port)
    await carol.sees("alice", "bob", "carol")
    await alice.sees("alice", "bob", "carol")
    assert [entry.name for page in alice.pages[told:] for entry in page.joined] == ["carol"]


@pytest_twisted.ensureDeferred
async def test_a_list_that_is_read_in_parts_is_no_news_either(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "RESTORED_AT_ONCE", 1)
    first = house.open()
    guests = await house.joined(first, "alice", "bob", "carol")
    await house.shut(first)
    second = house.open()
    for guest in guests:
        assert all(map(is_nothing_new, await back(guest, second)))
    assert second.present == 3


@pytest_twisted.ensureDeferred
async def test_a_restarted_registry_knows_the_names_and_the_records(house: House) -> None:
    first = house.open()
    alice, bob = await house.joined(first, "alice", "bob")
    await house.shut(first)
    second = house.open()
    code, text, _ = await refusal(house.guest("bob").join(second.port))
    assert (code, text) == (messages.NAME_TAKEN, "The name bob belongs to another key. Choose another name.")
    await alice.join(second.port)
    alice.link.send(Lookup(bob.peer))
    await alice.until(lambda: bool(alice.found))
    assert alice.found[0].record == bob.record()


@pytest_twisted.ensureDeferred
async def test_who_does_not_come_back_leaves_after_the_time_of_grace(house: House) -> None:
    first = house.open()
    alice, _ = await house.joined(first, "alice", "bob")
    await house.shut(first)
    second = house.open(dataclasses.replace(HASTY, grace_seconds=0.2))
    pages = await back(alice, second)
    await alice.sees("alice")
    assert not any(page.reset for page in pages)
    assert second.present == 1


@pytest_twisted.ensureDeferred
async def test_after_a_crash_who_knows_what_was_lost_begins_again_and_the_others_do_not(house: House) -> None:
    first = house.open(dataclasses.replace(HASTY, keep_seconds=3600))
    alice, bob = await house.joined(first, "alice", "bob")
    bob.link.leave()
    await alice.sees("alice")
    await bob.link.when_gone()
    await first.flush()
    carol = house.guest("carol")
    await carol.join(first.port)
    await alice.sees("alice", "carol")
    second = house.open(dataclasses.replace(HASTY, grace_seconds=0.2), house.copy())  # as a crash would leave it
    assert (await back(alice, second))[0].reset
    await alice.sees("alice")
    pages = await back(bob, second)
    assert not any(page.reset for page in pages)
    await bob.sees("alice", "bob")
    await carol.join(second.port)
    for guest in (alice, bob, carol):
        await guest.sees("alice", "bob", "carol")


# --- records ------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_signed_record_can_be_looked_up(house: House) -> None:
    registry = house.open()
    alice, bob = await house.joined(registry, "alice", "bob")
    alice.link.send(Lookup(bob.peer))
    alice.link.send(Lookup(b"n" * 32))
    await alice.until(lambda: len(alice.found) == 2)
    assert alice.found[0].record == bob.record()
    assert verify_record(bob.record(), bob.peer).name == "bob"
    assert (alice.found[1].peer, alice.found[1].record) == (b"n" * 32, None)


@pytest_twisted.ensureDeferred
async def test_too_many_look_ups_wait_and_are_answered(house: House) -> None:
    registry = house.open(dataclasses.replace(HASTY, lookups_per_second=200, lookups_burst=2))
    (alice,) = await house.joined(registry, "alice")
    for _ in range(6):
        alice.link.send(Lookup(alice.peer))
    await alice.until(lambda: len(alice.found) >= 2)
    assert len(alice.found) < 6
    await alice.until(lambda: len(alice.found) == 6)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda guest, other: {"record": None}, "has a record"),
        (lambda guest, other: {"record": other.record()}, "another key"),
        (lambda guest, other: {"name": "mallory"}, "another name"),
        (lambda guest, other: {"record": guest.record()._replace(signature=b"s" * 64)}, "does not hold"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_record_that_does_not_hold_binds_no_name(
    house: House, change: Callable[[Guest, Guest], dict[str, Any]], text: str
) -> None:
    registry = house.open()
    alice, bob = house.guest("alice"), house.guest("bob")
    code, said, _ = await refusal(alice.join(registry.port, alice.greeting(**change(alice, bob))))
    assert code == messages.BAD_RECORD
    assert text in said
    await house.guest("alice").join(registry.port)
    await house.guest("mallory").join(registry.port)


@pytest_twisted.ensureDeferred
async def test_an_older_record_ends_the_link(house: House) -> None:
    registry = house.open()
    (alice,) = await house.joined(registry, "alice")
    alice.announce(endpoint("10.0.0.7", 41_000))
    alice.seq = 0
    alice.announce(endpoint("10.0.0.8", 41_000))
    await alice.until(lambda: bool(alice.ends))
    assert alice.ends[0].code == messages.BAD_RECORD
    await closed(registry)
    assert registry.present == 0


@pytest_twisted.ensureDeferred
async def test_an_operator_can_free_a_name_whose_key_is_lost(house: House) -> None:
    registry = house.open()
    (alice,) = await house.joined(registry, "alice")
    other = house.guest("alice")
    assert (await refusal(other.join(registry.port)))[0] == messages.NAME_TAKEN
    await house.shut(registry)
    with contextlib.closing(sqlite3.connect(house.database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM name WHERE name = 'alice'")
    registry = house.open()
    await other.join(registry.port)
    await other.until(lambda: other.peer in other.list and other.list[other.peer].name == "alice")
    assert (await refusal(alice.join(registry.port)))[0] == messages.NAME_TAKEN


# --- refusals -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_names_that_cannot_be_had(house: House) -> None:
    registry = house.open()
    alice = house.guest("alice")
    await alice.join(registry.port)
    assert (await refusal(house.guest("alice").join(registry.port)))[0] == messages.NAME_TAKEN
    code, text, _ = await refusal(house.guest("x y").join(registry.port))
    assert (code, text[:23]) == (messages.BAD_NAME, "'x y' cannot be a name:")
    alice.link.leave()
    await alice.link.when_gone()
    code, text, _ = await refusal(house.guest("alicia", alice.identity).join(registry.port))
    assert code == messages.KEY_BOUND
    assert "alice" in text


@pytest.mark.parametrize("role", [messages.ROLE_CHAT, messages.ROLE_FILE, messages.ROLE_PROBE])
@pytest_twisted.ensureDeferred
async def test_a_registry_carries_nothing(house: House, role: str) -> None:
    registry = house.open()
    assert (await refusal(house.guest("alice").join(registry.port, hello(role, "alice"))))[0] == messages.ROLE_UNKNOWN
    alice = house.guest("alice")
    await alice.join(registry.port)
    alice.link.send(Say(b"c" * 32, b"i" * 16, 0, "hello"))
    await alice.until(lambda: bool(alice.ends))
    assert alice.ends[0].code == messages.UNKNOWN_MESSAGE


@pytest_twisted.ensureDeferred
async def test_a_full_registry_says_when_to_come_again(house: House) -> None:
    registry = house.open(dataclasses.replace(PATIENT, connections=1))
    alice = house.guest("alice")
    await alice.join(registry.port)
    code, _, seconds = await refusal(house.guest("bob").join(registry.port))
    assert (code, seconds) == (messages.BUSY, 60)
    alice.link.leave()
    await alice.link.when_gone()
    await closed(registry)
    assert registry.links == ()
    await house.guest("bob").join(registry.port)


@pytest_twisted.ensureDeferred
async def test_new_names_of_one_source_are_counted_and_known_ones_are_not(house: House) -> None:
    registry = house.open(dataclasses.replace(HASTY, new_names_per_hour=2, loopback="counted"))
    alice, _ = await house.joined(registry, "alice", "bob")
    code, _, seconds = await refusal(house.guest("carol").join(registry.port))
    assert code == messages.BUSY
    assert 0 < seconds <= 1800
    await alice.join(registry.port)


@pytest_twisted.ensureDeferred
async def test_the_operator_is_told_once_when_the_names_run_out(house: House) -> None:
    with capturedLogs() as events:
        registry = house.open(dataclasses.replace(HASTY, claims=5))
        await house.joined(registry, *(f"n{number}" for number in range(5)))
        code, text, seconds = await refusal(house.guest("sixth").join(registry.port))
        found = {measure.name: measure.value for measure in registry.meter.measures()}
        await house.shut(registry)
        again = house.open(dataclasses.replace(HASTY, claims=5))
        await again.serving
    lines = [formatEvent(event) for event in events]
    assert [line for line in lines if "of the names" in line] == [
        f"{percent} % of the names are taken (claims=5): when all are, no new peer is let in" for percent in (80, 100)
    ]
    assert (code, seconds) == (messages.BUSY, 3600)
    assert "ask its operator" in text
    assert found["registry_full"]["claims"] == 1.0
    assert found["registry_refused_names"]["all"] == 1


@pytest_twisted.ensureDeferred
async def test_a_registry_remembers_which_network_has_names(house: House) -> None:
    limits = dataclasses.replace(HASTY, claims=10, loopback="counted")
    registry = house.open(limits)
    await house.joined(registry, *(f"n{number}" for number in range(9)))
    await house.shut(registry)
    registry = house.open(limits)
    code, text, _ = await refusal(house.guest("tenth").join(registry.port))
    assert code == messages.BUSY
    assert "yours has some" in text


@pytest_twisted.ensureDeferred
async def test_without_the_disk_no_name_is_given_and_known_peers_are_served(house: House) -> None:
    registry = house.open()
    alice, _ = await house.joined(registry, "alice", "bob")
    await registry._database.close()
    code, _, seconds = await refusal(house.guest("carol").join(registry.port))
    assert code == messages.STORE
    assert seconds > 0
    alice.link.leave()
    await alice.link.when_gone()
    await alice.join(registry.port)
    await alice.sees("alice", "bob")


# --- one key, one place -------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_newer_link_of_the_same_key_replaces_the_older(house: House) -> None:
    registry = house.open(HASTY)
    alice, bob = await house.joined(registry, "alice", "bob")
    again = house.guest("alice", alice.identity, seq=2)
    await again.join(registry.port)
    await alice.until(lambda: bool(alice.ends))
    assert alice.ends[0].code == messages.REPLACED
    await bob.until(lambda: bob.list[alice.peer].seq == 2)
    await closed(registry)
    assert registry.present == 2
    bob_again = house.guest("carol")
    await bob_again.join(registry.port)
    await bob_again.sees("alice", "bob", "carol")


@pytest_twisted.ensureDeferred
async def test_two_users_of_one_key_do_not_chase_each_other(house: House) -> None:
    registry = house.open(PATIENT)
    alice, _ = await house.joined(registry, "alice", "bob")
    code, _, seconds = await refusal(house.guest("alice", alice.identity).join(registry.port))
    assert code == messages.BUSY
    assert 0 < seconds <= 3600
    assert alice.link.is_open


# --- what it writes down ------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_log_has_a_line_for_each_event_and_the_bytes_that_went_through(house: House) -> None:
    with capturedLogs() as events:
        registry = house.open()
        alice, bob = await house.joined(registry, "alice", "bob")
        port = bob.link.transport.getHost().port
        await refusal(house.guest("bob").join(registry.port))
        bob.link.leave()
        await alice.sees("alice")
        await house.shut(registry)
    lines = [formatEvent(event) for event in events]
    key = short_text(bob.peer)
    assert f"bound bob to {key}" in lines
    assert f"registered bob {key} 127.0.0.1:{port}" in lines
    assert f"left bob {key} 127.0.0.1:{port}: bye" in lines
    assert any(line.startswith("refused registry") and line.endswith("name-taken") for line in lines)
    traffic = [line.split() for line in lines if line.startswith("traffic:")][-1]
    assert int(traffic[3]) > 100
    assert int(traffic[6]) > 100


@pytest_twisted.ensureDeferred
async def test_a_stopped_registry_is_gone(house: House) -> None:
    registry = house.open()
    (alice,) = await house.joined(registry, "alice")
    port = registry.port
    stopped: Deferred[None] = registry.stopService()
    house.registries.remove(registry)
    await stopped
    assert alice.ends[0].code == messages.STOPPING
    code, _, _ = await refusal(house.guest("bob").join(port))
    assert code == "connection-refused"


# --- what its operator sees and changes ---------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_happens_is_counted(house: House) -> None:
    registry = house.open()
    alice, bob = await house.joined(registry, "alice", "bob")
    await refusal(house.guest("bob").join(registry.port))
    bob.link.leave()
    await alice.sees("alice")
    found = {measure.name.removeprefix("registry_"): measure.value for measure in registry.meter.measures()}
    assert [found[name] for name in ("peers", "peers_presumed", "joins", "leaves")] == [1, 0, 2, 1]
    assert found["refusals"] == {messages.NAME_TAKEN: 1}
    assert [sum(found[name].counts) > 0 for name in ("push_seconds", "handshake_seconds")] == [True, True]
    assert found["queue"] == {"untold": 0, "slow": 0, "store": 0}
    assert all(count > 100 for count in found["bytes"].values())


@pytest_twisted.ensureDeferred
async def test_a_key_that_breaks_the_protocol_is_refused_and_told_when_to_come_again(house: House) -> None:
    registry = house.open()
    (alice,) = await house.joined(registry, "alice")
    mallory = house.guest("mallory")
    for _ in range(3):
        link = await mallory.join(registry.port)
        link.send_frames(frame(b"\xc1"))
        await link.when_gone()
    code, text, rest = await refusal(mallory.join(registry.port))
    assert code == messages.STRUCK
    assert text == "your program broke the protocol too often; it may come again in 10 minutes"
    assert 590 <= rest <= 600
    found = {measure.name.removeprefix("registry_"): measure.value for measure in registry.meter.measures()}
    assert (found["refusals"], found["strikes"]) == ({messages.STRUCK: 1}, 3)
    assert alice.link.is_open
    await house.guest("bob").join(registry.port)  # nobody else is meant


@pytest_twisted.ensureDeferred
async def test_an_older_record_is_no_strike(house: House) -> None:
    registry = house.open()
    (alice,) = await house.joined(registry, "alice")
    alice.announce(endpoint("10.0.0.7", 41_000))
    await alice.until(lambda: any(one.seq == alice.seq for one in alice.list.values()))
    alice.seq -= 1
    for _ in range(4):
        assert (await refusal(alice.join(registry.port)))[0] == messages.BAD_RECORD
    alice.seq += 2
    await alice.join(registry.port)


@pytest_twisted.ensureDeferred
async def test_few_open_files_make_less_room_and_are_logged(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(service.resource, "getrlimit", lambda what: asked[-1] if asked else (512, 1_024))
    monkeypatch.setattr(service.resource, "setrlimit", lambda what, pair: asked.append(pair))
    with capturedLogs() as events:
        registry = house.open()
    assert asked[-1] == (1_024, 1_024)
    assert (registry._limits.connections, registry._limits.unauthenticated) == (386, 42)
    warned = (
        "too few open files are allowed: 11280 are needed for 10000 peers, "
        "there is room for 386 peers and 42 handshakes at a time"
    )
    assert warned in [formatEvent(event) for event in events]
    with capturedLogs() as events:
        registry.change_limits(dataclasses.replace(HASTY, connections=2, unauthenticated=100))
    lines = [formatEvent(event) for event in events]
    assert lines == ["limits changed: unauthenticated 42 -> 100 (after a restart), connections 386 -> 2"]
    await house.joined(registry, "alice")


@pytest_twisted.ensureDeferred
async def test_limits_change_while_it_serves_where_that_is_safe(house: House) -> None:
    registry = house.open()
    await house.joined(registry, "alice", "bob")
    with capturedLogs() as events:
        registry.change_limits(dataclasses.replace(HASTY, connections=2, push_seconds=1.0))
        registry.change_limits(dataclasses.replace(HASTY, connections=2))
    lines = [formatEvent(event) for event in events]
    assert "limits changed: connections 10000 -> 2, push_seconds 0.02 -> 1.0 (after a restart)" in lines
    assert "limits changed: none" in lines
    code, text, _ = await refusal(house.guest("carol").join(registry.port))
    assert (code, text) == (messages.BUSY, "This registry is full: 2 peers are connected.")
    assert HASTY.connections == 10_000
