"""Links over real TLS on loopback: opening, refusing, closing, raw bytes, back-pressure."""

from __future__ import annotations

import io
import os
import socket

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.protocols.basic import FileSender

from chatnet.core import message_bounds
from chatnet.core.errors import Refused, Unreachable, WrongKey
from chatnet.core.framing import frame
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import ROLE_FILE, Ack, Check, End, File, Found, Lookup, Nack, Ping, Pong, Resume, Say, encode
from chatnet.core.roles import ROLES, Role
from chatnet.net.link import First
from tests.support.links import Recorder, hello


def say(body: str, number: int = 0) -> Say:
    return Say(b"c" * 32, number.to_bytes(16, "big"), 1, body)


@pytest_twisted.ensureDeferred
async def test_two_programs_exchange_a_message(stations):
    alice, bob = stations(), stations()
    link = await alice.dial(bob.listen(), bob.peer)
    link.send(say("hello"))
    await bob.user.until(lambda: len(bob.user.messages) == 1)
    bob.user.links[0].send(Ack([b"i" * 16]))
    await alice.user.until(lambda: len(alice.user.messages) == 1)
    assert bob.user.messages == [say("hello")]
    assert bob.user.links[0].peer == alice.peer
    assert link.peer == bob.peer
    assert (link.name, bob.user.links[0].name) == ("bob", "carol")


@pytest_twisted.ensureDeferred
async def test_another_key_than_expected_gets_no_byte(stations):
    alice, bob, mallory = stations(), stations(), stations()
    with pytest.raises(WrongKey) as caught:
        await alice.dial(mallory.listen(), bob.peer)
    assert caught.value.seen == mallory.peer
    for link in tuple(mallory.factory.links):
        await link.gone
    assert mallory.user.messages == []
    assert mallory.user.links == []


@pytest_twisted.ensureDeferred
async def test_a_refusal_reaches_the_dialler_in_words(stations):
    alice = stations()
    bob = stations(Recorder(refuse=Refused("name-taken", "The name carol belongs to another key.", 7)))
    with pytest.raises(Refused) as caught:
        await alice.dial(bob.listen(), bob.peer)
    assert (caught.value.code, caught.value.retry_after_s) == ("name-taken", 7)
    assert bob.user.ends == []  # what was never open does not end


@pytest_twisted.ensureDeferred
async def test_nobody_listening(stations):
    alice = stations()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable) as caught:
            await alice.dial(unused.getsockname()[1], None)
    assert caught.value.code == "connection-refused"


@pytest_twisted.ensureDeferred
async def test_each_reason_to_come_first_holds_by_itself(stations):
    bob, alice = stations(), stations()
    link = await alice.dial(bob.listen(), bob.peer)
    there = bob.user.links[0]
    for why, holds, first in (
        (First.SOURCE, True, True),
        (First.KEY, True, True),
        (First.SOURCE, False, True),
        (First.KEY, False, False),
    ):
        there.put_first(why, holds)
        assert there.comes_first is first
    link.put_first(First.KEY, False)
    assert link.comes_first  # it was dialled


@pytest_twisted.ensureDeferred
async def test_the_first_of_several_addresses_that_opens_stays(stations):
    alice, bob, mallory = stations(), stations(), stations()
    addresses = [("127.0.0.1", mallory.listen()), ("127.0.0.1", bob.listen())]
    failed = []
    link = await alice.dialler.dial_any(
        addresses, alice.user, hello(), bob.peer, 5.0, lambda address, error: failed.append(address)
    )
    alice.dialled.append(link)
    assert link.peer == bob.peer
    assert failed == addresses[:1]


@pytest_twisted.ensureDeferred
async def test_goodbye_and_close_say_why(stations):
    alice, bob = stations(), stations()
    port = bob.listen()
    first = await alice.dial(port, bob.peer)
    first.leave()
    await bob.user.until(lambda: len(bob.user.ends) == 1)
    second = await alice.dial(port, bob.peer)
    second.close("busy", "come back later", 3)
    await bob.user.until(lambda: len(bob.user.ends) == 2)
    assert [(end.code, end.by_remote) for end in bob.user.ends] == [("bye", True), ("busy", True)]
    await alice.user.until(lambda: len(alice.user.ends) == 2)
    assert [end.code for end in alice.user.ends] == ["closed", "busy"]


@pytest_twisted.ensureDeferred
async def test_many_frames_in_one_write_arrive_in_order(stations):
    alice, bob = stations(), stations()
    link = await alice.dial(bob.listen(), bob.peer)
    link.send_frames(b"".join(frame(encode(say("x", n))) for n in range(1000)))
    await bob.user.until(lambda: len(bob.user.messages) == 1000)
    assert [int.from_bytes(m.id, "big") for m in bob.user.messages] == list(range(1000))


@pytest_twisted.ensureDeferred
async def test_a_paused_link_delivers_nothing_until_it_resumes(stations):
    alice, bob = stations(), stations()
    link = await alice.dial(bob.listen(), bob.peer)
    link.send(say("first"))
    await bob.user.until(lambda: len(bob.user.messages) == 1)
    bob.user.links[0].pause_reading()
    link.send(say("second"))
    await deferLater(alice.reactor, 0.05, lambda: None)
    assert len(bob.user.messages) == 1
    bob.user.links[0].resume_reading()
    await bob.user.until(lambda: len(bob.user.messages) == 2)


@pytest.mark.parametrize("size", [0, 1, 65_536, 1_000_003])
@pytest_twisted.ensureDeferred
async def test_raw_bytes_between_two_frames(stations, size):
    content, got = os.urandom(size), bytearray()

    def take(link, message):
        if isinstance(message, File):
            link.expect_raw(message.length, got.extend)

    alice, bob = stations(), stations(Recorder(on_message=take))
    link = await alice.dial(bob.listen(), bob.peer, hello(ROLE_FILE, fid=b"f" * 16, token=b"t" * 32))
    link.send(File(0, 0, size))
    if size:
        await FileSender().beginFileTransfer(io.BytesIO(content), link.consumer)
    link.send(End(0, b"d" * 32))
    await bob.user.until(lambda: len(bob.user.messages) == 2)
    assert bytes(got) == content
    assert bob.user.messages == [File(0, 0, size), End(0, b"d" * 32)]


@pytest_twisted.ensureDeferred
async def test_a_reader_that_does_not_read_is_dropped_with_bounded_memory(stations):
    alice, bob = stations(queue_bytes=100_000), stations()
    link = await alice.dial(bob.listen(), bob.peer)
    bob.user.links[0].pause_reading()
    for number in range(4000):
        link.send(say("y" * 16_000, number))
    await alice.user.until(lambda: bool(alice.user.ends))
    assert alice.user.ends[0].code == "slow"


@pytest_twisted.ensureDeferred
async def test_a_silent_stranger_is_cut_by_the_handshake_timer(stations):
    from twisted.internet import reactor

    bob = stations(limits=PeerLimits(handshake_seconds=0.2))
    gone: Deferred[None] = Deferred()

    class Silent(Protocol):
        def connectionLost(self, reason):
            gone.callback(None)

    from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", bob.listen()), Silent())
    await gone
    assert bob.factory.links == set()


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, os.urandom(512), b"\x16\x03\x01\xff\xff" + b"a" * 300],
    ids=["http", "zeros", "random", "tls-lie"],
)
@pytest_twisted.ensureDeferred
async def test_hostile_bytes_cost_a_connection_and_nothing_else(stations, garbage):
    from twisted.internet import reactor
    from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol

    alice, bob = stations(), stations(limits=PeerLimits(handshake_seconds=0.5))
    port = bob.listen()
    gone: Deferred[None] = Deferred()

    class Hostile(Protocol):
        def connectionMade(self):
            self.transport.write(garbage)

        def connectionLost(self, reason):
            gone.callback(None)

    await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), Hostile())
    await gone
    link = await alice.dial(port, bob.peer)
    link.send(say("still here"))
    await bob.user.until(lambda: len(bob.user.messages) == 1)


@pytest_twisted.ensureDeferred
async def test_a_frame_that_cannot_be_drops_the_link(stations):
    alice, bob = stations(), stations()
    link = await alice.dial(bob.listen(), bob.peer)
    link.send_frames(frame(b"\xc1"))
    await alice.user.until(lambda: bool(alice.user.ends))
    await bob.user.until(lambda: bool(bob.user.ends))
    assert alice.user.ends[0].code == "bad-frame"
    assert bob.user.ends[0].code == "bad-frame"


@pytest.mark.parametrize(
    "idle", [Pong(7), Ping(7), Ack([bytes(16)]), Nack(bytes(16), "conflict"), Resume(bytes(16)), Check(2, bytes(16))]
)
@pytest_twisted.ensureDeferred
async def test_frames_that_do_nothing_hold_the_reading_up(stations, idle):
    alice, bob = stations(), stations(limits=PeerLimits(frames_per_second=0.001, frames_burst=5))
    link = await alice.dial(bob.listen(), bob.peer)
    link.send(say("before"))
    for _ in range(10):
        link.send(idle)
    link.send(say("behind"))
    while not bob.user.links or not (
        "frames" in bob.user.links[0]._paused_by or "behind" in [getattr(one, "body", "") for one in bob.user.messages]
    ):
        await deferLater(alice.reactor, 0)
    assert "frames" in bob.user.links[0]._paused_by
    assert len(bob.user.messages) in (1, 1 + 6)  # what the link answers itself is not delivered
    assert "behind" not in [getattr(message, "body", "") for message in bob.user.messages]


@pytest_twisted.ensureDeferred
async def test_who_floods_without_a_break_is_told_and_parted_with(stations, monkeypatch):
    monkeypatch.setattr(message_bounds, "FLOOD_SECONDS", 0.2)
    alice, bob = stations(), stations(limits=PeerLimits(frames_per_second=50, frames_burst=5))
    link = await alice.dial(bob.listen(), bob.peer)
    for _ in range(1_000):
        link.send(Pong(7))
    await alice.user.until(lambda: bool(alice.user.ends))
    assert (alice.user.ends[0].code, alice.user.ends[0].retry_after_s) == ("busy", 60)


@pytest_twisted.ensureDeferred
async def test_answers_are_no_frames_that_do_nothing(stations):
    alice, bob = stations(), stations(limits=PeerLimits(frames_per_second=0.001, frames_burst=1))
    bob.user.on_message = lambda link, message: link.send(say("again")) if isinstance(message, Say) else None
    link = await alice.dial(bob.listen(), bob.peer)
    alice.user.on_message = lambda link, message: link.send(Ack([bytes(16)]))
    for number in range(20):
        link.send(say("one", number))
    await bob.user.until(lambda: sum(isinstance(message, Ack) for message in bob.user.messages) == 20)


@pytest_twisted.ensureDeferred
async def test_a_quiet_link_pings_and_a_dead_one_ends(stations):
    quick = PeerLimits(ping_seconds=0.5, silence_seconds=2.5)
    alice, bob = stations(limits=quick), stations(limits=quick)
    link = await alice.dial(bob.listen(), bob.peer)
    link.ping()
    heard = link.bytes_in
    await deferLater(alice.reactor, 3.2, lambda: None)
    assert link.is_open
    assert link.bytes_in > heard
    assert link.rtt_ms is not None
    link.transport.pauseProducing()
    bob.user.links[0].transport.pauseProducing()
    await alice.user.until(lambda: bool(alice.user.ends))
    assert alice.user.ends[0].code == "silence"


@pytest_twisted.ensureDeferred
async def test_what_was_processed_there_is_known_and_what_was_not_is_not(stations):
    alice, bob = stations(), stations()
    link = await alice.dial(bob.listen(), bob.peer)
    link.send(say("one"))
    first, second = link.confirmed(), link.confirmed()
    assert await first is True
    assert [message.body for message in bob.user.messages] == ["one"]
    assert await second is True
    bob.user.links[0].pause_reading()
    link.send(say("two", 1))
    heard: list[bool] = []
    link.confirmed().addCallback(heard.append)
    await deferLater(alice.reactor, 0.1, lambda: None)
    assert heard == []
    link.abort()
    assert heard == [False]
    assert await link.confirmed() is False
    assert [message.body for message in bob.user.messages] == ["one"]


@pytest_twisted.ensureDeferred
async def test_a_role_that_only_the_table_knows_has_its_messages_and_its_silence(stations, monkeypatch):
    row = Role.of("ring", (Lookup,), (Found,), ping_seconds=0.4, silence_seconds=1.0)
    monkeypatch.setitem(ROLES, "ring", row)
    alice, bob = stations(), stations()
    link = await alice.dial(bob.listen(), bob.peer, hello("ring"))
    link.send(Lookup(bytes(32)))
    await bob.user.until(lambda: len(bob.user.messages) == 1)
    there = bob.user.links[0]
    there.send(Found(bytes(32), None))
    await alice.user.until(lambda: len(alice.user.messages) == 1)
    assert alice.user.messages == [Found(bytes(32), None)]
    there.pause_reading()  # bob hears alice's pings no more, and says nothing that would answer them
    there._write = lambda data: None
    await alice.user.until(lambda: len(alice.user.ends) == 1)
    assert (alice.user.ends[0].code, alice.user.ends[0].text) == ("silence", "nothing heard for 1 s")


@pytest_twisted.ensureDeferred
async def test_the_other_side_of_a_role_may_not_say_what_is_ours_to_say(stations, monkeypatch):
    monkeypatch.setitem(ROLES, "ring", Role.of("ring", (Lookup,), (Found,)))
    alice, bob = stations(), stations()
    await alice.dial(bob.listen(), bob.peer, hello("ring"))
    await bob.user.until(lambda: len(bob.user.links) == 1)
    bob.user.links[0].send(Lookup(bytes(32)))
    await alice.user.until(lambda: len(alice.user.ends) == 1)
    assert alice.user.ends[0].code == "unknown-message"
    assert alice.user.messages == []


@pytest_twisted.ensureDeferred
async def test_a_role_without_a_row_is_refused(stations):
    alice, bob = stations(), stations()
    with pytest.raises(Refused) as caught:
        await alice.dial(bob.listen(), bob.peer, hello("ring"))
    assert caught.value.code == "role"
    assert bob.user.links == []


@pytest_twisted.ensureDeferred
async def test_the_features_of_a_link_are_those_that_both_sides_named(stations):
    alice, bob = stations(), stations(Recorder(features=["resume", "cluster", "shown/abc"]))
    link = await alice.dial(bob.listen(), bob.peer, hello(features=["ring", "shown/abc", "resume"]))
    await bob.user.until(lambda: len(bob.user.links) == 1)
    assert link.features == bob.user.links[0].features == {"resume", "shown/abc"}


@pytest_twisted.ensureDeferred
async def test_a_side_that_names_no_feature_has_none_in_common(stations):
    alice, bob = stations(), stations(Recorder(features=["resume"]))
    link = await alice.dial(bob.listen(), bob.peer)
    assert link.features == frozenset()
