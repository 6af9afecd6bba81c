"""TLS on sockets, over socket pairs and loopback: every split, every cut, every end."""

from __future__ import annotations

import io
import os
import socket
from collections.abc import Callable

import pytest
import pytest_twisted
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher
from twisted.protocols.basic import FileSender
from twisted.python.failure import Failure
from zope.interface import implementer

from chatnet.net import turn_budget as turns
from chatnet.net.tls import TLS, proven_peer
from chatnet.net.transport import EARLY_BYTES, PIECE_BYTES, RECORD_BYTES, RECORDS_AT_ONCE, SocketTLS
from tests.support.links import new_identity

HERE, THERE = TLS(new_identity()), TLS(new_identity())


def turn() -> Deferred[None]:
    from twisted.internet import reactor

    return deferLater(reactor, 0, lambda: None)


async def until(condition: Callable[[], bool]) -> None:
    """Turn the reactor until ``condition``; what waits for the kernel takes a few of them."""
    from twisted.internet import reactor

    deadline = reactor.seconds() + 10
    while not condition():
        assert reactor.seconds() < deadline, "it did not come about"
        await turn()


@implementer(IHandshakeListener)
class End(Protocol):
    """A protocol above the transport that writes down what happens to it."""

    def __init__(self, at_handshake: Callable[[End], object] = lambda end: None) -> None:
        self.story: list[str] = []
        self.got = bytearray()
        self.reason = None
        self.at_handshake = at_handshake
        self.at_data: Callable[[bytes], object] = lambda data: None

    def connectionMade(self) -> None:
        self.story.append("made")

    def handshakeCompleted(self) -> None:
        self.story.append("shaken")
        self.at_handshake(self)

    def dataReceived(self, data: bytes) -> None:
        if self.story[-1] != "data":
            self.story.append("data")
        self.got += data
        self.at_data(data)

    def connectionLost(self, reason) -> None:
        self.story.append("lost")
        self.reason = reason

    @property
    def shaken(self) -> bool:
        return "shaken" in self.story

    @property
    def lost(self) -> bool:
        return "lost" in self.story


class Puppet(Protocol):
    """The other side: TLS in memory, and the test decides which bytes go when."""

    def __init__(self, connection: SSL.Connection | None = None) -> None:
        self.tls = connection
        self.raw = bytearray()
        self.out = bytearray()  # not yet sent
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.raw += data
        if self.tls is not None:
            self.tls.bio_write(data)

    def connectionLost(self, reason) -> None:
        self.lost = True

    def shake(self) -> bool:
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            return False
        finally:
            self.drain()
        return True

    def heard(self) -> bytes:
        try:
            return self.tls.recv(RECORD_BYTES)
        except SSL.WantReadError:
            return b""

    def drain(self) -> None:
        try:
            while True:
                self.out += self.tls.bio_read(65_536)
        except SSL.Error:
            pass

    def send(self, count: int | None = None) -> None:
        count = len(self.out) if count is None else count
        self.transport.write(bytes(self.out[:count]))
        del self.out[:count]

    async def finish_handshake(self) -> None:
        while not self.shake():
            self.send()
            await turn()
        self.send()


class Only(Factory):
    """Gives out the one protocol it was made for."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self.only = protocol

    def buildProtocol(self, addr):
        return self.only


def joined(*factories: Factory) -> None:
    """A socket pair with a protocol of a factory at each end."""
    from twisted.internet import reactor

    for end, factory in zip(socket.socketpair(), factories, strict=True):
        end.setblocking(False)
        reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)
        end.close()  # adopted: the reactor has its own copy


def pair(here: End | None = None, there: End | None = None) -> tuple[End, End]:
    """Two ends over TLS: ``here`` listens, ``there`` has dialled."""
    here, there = here or End(), there or End()
    joined(HERE.wrap(Only(here), dialling=False), THERE.wrap(Only(there), dialling=True))
    return here, there


async def open_pair(here: End | None = None, there: End | None = None) -> tuple[End, End]:
    here, there = pair(here, there)
    await until(lambda: here.shaken and there.shaken)
    return here, there


def puppet_client(end: End) -> Puppet:
    """A puppet that has dialled ``end``."""
    connection = THERE.clientConnectionForTLS(None)
    connection.set_connect_state()
    puppet = Puppet(connection)
    joined(HERE.wrap(Only(end), dialling=False), Only(puppet))
    return puppet


async def open_puppet(end: End) -> Puppet:
    puppet = puppet_client(end)
    await puppet.finish_handshake()
    await until(lambda: end.shaken)
    return puppet


def drop(*ends: End) -> None:
    for end in ends:
        end.transport.abortConnection()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture(autouse=True)
def faults():
    """What the log says went wrong: nothing may."""
    events: list[dict] = []

    def observe(event):
        if "log_failure" in event or event.get("isError"):
            events.append(event)

    globalLogPublisher.addObserver(observe)
    yield events
    globalLogPublisher.removeObserver(observe)
    assert events == []


# --- opening ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["tcp", "unix"])
@pytest_twisted.ensureDeferred
async def test_two_ends_talk_through_endpoints(way, tmp_path):
    from twisted.internet import reactor

    here, there = End(), End()
    listening = f"unix:{tmp_path}/socket" if way == "unix" else "tcp:0:interface=127.0.0.1"
    port = await serverFromString(reactor, listening).listen(HERE.wrap(Only(here), False, send_buffer_bytes=40_000))
    dialled = f"unix:{tmp_path}/socket" if way == "unix" else f"tcp:127.0.0.1:{port.getHost().port}"
    await clientFromString(reactor, dialled).connect(THERE.wrap(Only(there), dialling=True))
    await until(lambda: here.shaken and there.shaken)
    assert isinstance(here.transport, SocketTLS)
    seen = [proven_peer(end.transport.getHandle(), None, dialled=end is there) for end in (here, there)]
    assert seen[0] != seen[1]
    here.transport.write(b"from here")
    there.transport.writeSequence([b"from ", b"there"])
    await until(lambda: here.got == b"from there" and there.got == b"from here")
    assert here.story == there.story == ["made", "shaken", "data"]
    on = here.transport.getHandle()  # options of the socket are asked through pyOpenSSL
    assert on.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == 80_000  # the kernel doubles it
    if way == "tcp":
        assert on.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert here.transport.getPeer() == there.transport.getHost()
    drop(here)
    await until(lambda: here.lost and there.lost)
    await port.stopListening()


@pytest.mark.parametrize("dialled", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_handshake_that_comes_byte_by_byte(dialled):
    end = End()
    if dialled:
        connection = HERE.serverConnectionForTLS(None)
        connection.set_accept_state()
        puppet = Puppet(connection)
        joined(THERE.wrap(Only(end), dialling=True), Only(puppet))
    else:
        puppet = puppet_client(end)
    count, done = 0, False
    while not (done and end.shaken):
        done = done or puppet.shake()
        if puppet.out:
            count += 1
            puppet.send(1)
        await turn()
    assert count > 500
    puppet.tls.send(b"and then this")
    puppet.drain()
    while puppet.out:
        puppet.send(1)
        await turn()
    await until(lambda: end.got == b"and then this")
    assert end.story == ["made", "shaken", "data"]
    drop(end)
    await until(lambda: end.lost)


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 600, os.urandom(2_000), b"\x16\x03\x01\x40\x00" + b"a" * 300],
    ids=["http", "zeros", "random", "record"],
)
@pytest.mark.parametrize("dialled", [False, True])
@pytest_twisted.ensureDeferred
async def test_hostile_bytes_end_the_connection_and_nothing_else(garbage, dialled):
    end, puppet = End(), Puppet()
    joined((THERE if dialled else HERE).wrap(Only(end), dialling=dialled), Only(puppet))
    puppet.transport.write(garbage)
    for _ in range(20):
        await turn()
    puppet.transport.loseConnection()
    await until(lambda: end.lost and puppet.lost)
    assert end.story == ["made", "lost"]
    assert end.reason.check(ConnectionLost)


@pytest_twisted.ensureDeferred
async def test_a_fault_says_what_it_was():
    end, puppet = End(), Puppet()
    joined(HERE.wrap(Only(end), dialling=False), Only(puppet))
    puppet.transport.write(b"GET / HTTP/1.1\r\n\r\n")
    await until(lambda: end.lost)
    assert end.reason.getErrorMessage() == "TLS: http request"


@pytest_twisted.ensureDeferred
async def test_a_client_without_a_certificate_is_not_let_in():
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_alpn_protos([b"chatnet/1"])
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    end, puppet = End(), Puppet(connection)
    joined(HERE.wrap(Only(end), dialling=False), Only(puppet))
    await puppet.finish_handshake()  # of its side, which in TLS 1.3 is over first
    await until(lambda: end.lost)
    assert end.story == ["made", "lost"]
    assert puppet.raw  # the alert was sent


@pytest_twisted.ensureDeferred
async def test_cut_at_every_point_of_the_handshake():
    before, ends = open_descriptors(), []
    first = len(await _cut_after(10**6, 0, ends))
    second = len(await _cut_after(first, 10**6, ends))
    for count in range(0, first, 11):
        await _cut_after(count, 0, ends)
    for count in range(0, second, 7):
        await _cut_after(first, count, ends)
    await until(lambda: all(end.lost for end in ends))
    assert len(ends) > 100
    assert all(end.story == ["made", "lost"] for end in ends if not end.shaken)
    assert sum(end.shaken for end in ends) == 1  # the one whose second flight was whole
    assert open_descriptors() <= before  # the test before may have been closing some


async def _cut_after(first: int, second: int, ends: list[End]) -> bytes:
    """Dial, send so many bytes of each flight, cut; the last flight, whole, is returned."""
    end = End()
    ends.append(end)
    puppet = puppet_client(end)
    puppet.shake()
    flight = bytes(puppet.out)
    puppet.send(min(first, len(flight)))
    if second or first >= len(flight):
        await until(lambda: end.lost or puppet.shake())
        flight = bytes(puppet.out) if second else flight
        puppet.send(min(second, len(puppet.out)))
    await turn()
    puppet.transport.loseConnection()
    await until(lambda: end.lost and puppet.lost)
    return flight


@pytest_twisted.ensureDeferred
async def test_nothing_is_delivered_behind_a_refusal_in_the_handshake():
    end = End(at_handshake=lambda end: end.transport.abortConnection())
    puppet = puppet_client(end)
    puppet.shake()
    puppet.send()
    await until(puppet.shake)
    puppet.tls.send(b"take this")
    puppet.drain()
    puppet.send()  # the end of the handshake and the bytes in one
    await until(lambda: end.lost)
    assert end.story == ["made", "shaken", "lost"]
    assert end.reason.check(ConnectionAborted)


@pytest_twisted.ensureDeferred
async def test_abort_before_the_handshake_is_over():
    here, there = pair()
    there.transport.abortConnection()
    there.transport.abortConnection()
    there.transport.write(b"nobody hears this")
    await until(lambda: here.lost and there.lost)
    assert here.story == there.story == ["made", "lost"]


@pytest_twisted.ensureDeferred
async def test_what_is_written_before_the_handshake_comes_after_it():
    here, there = pair()
    there.transport.write(b"early")
    await until(lambda: bool(here.got))
    assert here.story == ["made", "shaken", "data"]
    drop(here)
    await until(lambda: here.lost and there.lost)


@pytest_twisted.ensureDeferred
async def test_there_is_no_renegotiation():
    here, there = await open_pair()
    with pytest.raises(SSL.Error):
        here.transport.getHandle().renegotiate()
    there.transport.write(b"still here")
    await until(lambda: here.got == b"still here")
    drop(here)
    await until(lambda: here.lost and there.lost)


# --- key updates, which nobody of us sends ------------------------------------------------------


class Rekeyer:
    """A puppet's own records, made by hand from its secret: TLS in memory cannot send key updates."""

    def __init__(self) -> None:
        self.secret = b""
        tls = TLS(new_identity())
        tls._context.set_keylog_callback(self._log)
        self.connection = tls.clientConnectionForTLS(None)
        self.connection.set_connect_state()
        self.number = 0

    def _log(self, connection: SSL.Connection, line: bytes) -> None:
        label, _, secret = line.split()
        if label == b"CLIENT_TRAFFIC_SECRET_0":
            self.secret = bytes.fromhex(secret.decode())

    def _derived(self, label: bytes, size: int) -> bytes:
        info = size.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0"
        return HKDFExpand(SHA256(), size, info).derive(self.secret)

    def record(self, kind: int, content: bytes) -> bytes:
        header = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2, "big")
        nonce = int.from_bytes(self._derived(b"iv", 12), "big") ^ self.number
        self.number += 1
        key = AESGCM(self._derived(b"key", 16))
        return header + key.encrypt(nonce.to_bytes(12, "big"), content + bytes([kind]), header)

    def update(self) -> bytes:
        record = self.record(HANDSHAKE, KEY_UPDATE)
        self.renew()
        return record

    def renew(self) -> None:
        self.secret, self.number = self._derived(b"traffic upd", 32), 0


HANDSHAKE, DATA = 22, 23
KEY_UPDATE = b"\x18\0\0\x01\0"


async def open_rekeyer(end: End) -> tuple[Puppet, Rekeyer]:
    rekeyer = Rekeyer()
    puppet = Puppet(rekeyer.connection)
    joined(HERE.wrap(Only(end), dialling=False), Only(puppet))
    await puppet.finish_handshake()
    await until(lambda: end.shaken)
    return puppet, rekeyer


@pytest_twisted.ensureDeferred
async def test_a_few_key_updates_are_followed():
    end = End()
    puppet, rekeyer = await open_rekeyer(end)
    for number in range(3):
        puppet.transport.write(rekeyer.update() + rekeyer.record(DATA, b"%d" % number))
    await until(lambda: end.got == b"012")
    drop(end)
    await until(lambda: end.lost)


@pytest_twisted.ensureDeferred
async def test_a_flood_of_key_updates_is_cut_and_holds_nobody_up():
    end = End()
    puppet, rekeyer = await open_rekeyer(end)
    puppet.transport.write(b"".join(rekeyer.update() for _ in range(100)) + rekeyer.record(DATA, b"behind it"))
    await until(lambda: end.lost)
    assert end.story == ["made", "shaken", "lost"]


@pytest_twisted.ensureDeferred
async def test_half_a_key_update_holds_our_bytes_back_without_a_loop(monkeypatch):
    end = End()
    puppet, rekeyer = await open_rekeyer(end)
    puppet.transport.write(rekeyer.record(HANDSHAKE, KEY_UPDATE[:4]))
    for _ in range(10):
        await turn()
    asked = []
    do_write = end.transport.doWrite
    monkeypatch.setattr(end.transport, "doWrite", lambda: asked.append(1) or do_write())
    end.transport.write(b"hello")
    for _ in range(20):
        await turn()
    assert len(asked) <= 1
    puppet.transport.write(rekeyer.record(HANDSHAKE, KEY_UPDATE[4:]))
    rekeyer.renew()
    puppet.transport.write(rekeyer.record(DATA, b"go on"))
    await until(lambda: puppet.heard() == b"hello")
    assert end.got == b"go on"
    drop(end)
    await until(lambda: end.lost)


# --- closing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["here", "there", "both"])
@pytest_twisted.ensureDeferred
async def test_an_orderly_close_delivers_what_was_written(first):
    here, there = await open_pair()
    content = os.urandom(3_000_000)
    if first != "there":
        here.transport.write(content)
        here.transport.loseConnection()
    if first != "here":
        there.transport.write(b"" if first == "both" else content)
        there.transport.loseConnection()
    await until(lambda: here.lost and there.lost)
    assert here.story.count("lost") == there.story.count("lost") == 1
    if first != "both":
        assert (there if first == "here" else here).got == content
        assert here.reason.check(ConnectionDone)
        assert there.reason.check(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_what_comes_after_we_closed_is_dropped():
    end = End()
    puppet = await open_puppet(end)
    end.transport.pauseProducing()
    end.transport.loseConnection()
    puppet.tls.send(b"too late")
    puppet.tls.shutdown()
    puppet.drain()
    puppet.send()
    await until(lambda: end.lost)
    assert end.got == b""
    assert end.reason.check(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_a_mute_other_side_holds_the_close_until_it_is_cut():
    end = End()
    puppet = await open_puppet(end)
    end.transport.loseConnection()
    for _ in range(20):
        await turn()
    assert not end.lost
    end.transport.abortConnection()
    await until(lambda: end.lost and puppet.lost)
    assert end.story == ["made", "shaken", "lost"]


@pytest_twisted.ensureDeferred
async def test_an_end_without_goodbye_is_a_loss():
    end = End()
    puppet = await open_puppet(end)
    puppet.tls.send(b"last words")
    puppet.drain()
    puppet.send()
    puppet.transport.loseConnection()
    await until(lambda: end.lost)
    assert end.got == b"last words"
    assert end.reason.check(ConnectionLost)


@pytest_twisted.ensureDeferred
async def test_a_broken_record_is_a_loss():
    end = End()
    puppet = await open_puppet(end)
    puppet.tls.send(b"words")
    puppet.drain()
    puppet.out[-1] ^= 1
    puppet.send()
    await until(lambda: end.lost)
    assert end.story == ["made", "shaken", "lost"]


@pytest_twisted.ensureDeferred
async def test_abort_while_bytes_arrive_stops_them_at_once():
    here, there = await open_pair()
    here.at_data = lambda data: here.transport.abortConnection()
    there.transport.write(b"x" * 1_000_000)
    await until(lambda: here.lost and there.lost)
    assert len(here.got) <= RECORDS_AT_ONCE * RECORD_BYTES
    assert there.story.count("lost") == 1


@pytest_twisted.ensureDeferred
async def test_writing_to_a_side_that_has_gone_is_noticed_later_and_once():
    here, there = await open_pair()
    there.transport.abortConnection()
    await until(lambda: there.lost)
    for _ in range(100):
        here.transport.write(b"y" * PIECE_BYTES)
        assert not here.lost  # never within the caller's own turn
    await until(lambda: here.lost)
    here.transport.write(b"z")
    here.transport.loseConnection()
    here.transport.abortConnection()
    here.transport.pauseProducing()
    here.transport.resumeProducing()
    await turn()
    assert here.story.count("lost") == 1


@pytest_twisted.ensureDeferred
async def test_the_reactor_may_end_it_first():
    here, there = await open_pair()
    here.transport.connectionLost(Failure(ConnectionLost()))  # what disconnectAll does at the stop
    assert here.lost
    await until(lambda: there.lost)
    assert (here.story.count("lost"), there.story.count("lost")) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_in_a_herd_few_shake_hands_in_a_turn_and_who_has_does_not_wait(monkeypatch: pytest.MonkeyPatch):
    speaking, hearing = await open_pair()
    monkeypatch.setattr(turns, "TURN_SHARE_SECONDS", 1e-9)  # any handshake takes longer
    pairs = [pair() for _ in range(40)]
    done, most = 0, 0
    while done < len(pairs):
        hearing.got.clear()
        speaking.transport.write(b"x")
        await turn()
        await turn()
        assert hearing.got == b"x"
        before, done = done, sum(here.shaken for here, _ in pairs)
        most = max(most, done - before)
    assert 1 <= most <= 2  # one in each of two turns
    drop(speaking, *(end for both in pairs for end in both))


def crumbled(flight: bytes, size: int) -> bytes:
    """The handshake message in ``flight``, a record by itself, in records of ``size`` bytes."""
    pieces = [flight[at : at + size] for at in range(5, len(flight), size)]
    return b"".join(flight[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)


async def answered_hello(size: int) -> tuple[End, bytes]:
    """What a listener answers to a ClientHello in records of ``size`` bytes."""
    end = End()
    puppet = puppet_client(end)
    await turn()
    puppet.shake()
    puppet.out[:] = crumbled(bytes(puppet.out), size)
    puppet.send()
    await until(lambda: bool(puppet.raw) or end.lost)
    end.transport.abortConnection()
    return end, bytes(puppet.raw)


@pytest_twisted.ensureDeferred
async def test_a_hello_may_come_in_pieces():
    _, answer = await answered_hello(200)
    assert answer.startswith(b"\x16")


@pytest_twisted.ensureDeferred
async def test_a_hello_in_crumbs_is_cut():
    end, answer = await answered_hello(1)
    assert answer == b""
    assert "too many pieces" in end.reason.getErrorMessage()


@pytest_twisted.ensureDeferred
async def test_more_than_any_handshake_has_to_say_is_cut():
    end = End()
    puppet = puppet_client(end)
    puppet.transport.write(b"\x16\x03\x01\x3f\xff" + bytes(EARLY_BYTES))
    await until(lambda: end.lost)
    assert "too many pieces" in end.reason.getErrorMessage()


@pytest_twisted.ensureDeferred
async def test_of_many_that_end_together_few_do_in_a_turn(monkeypatch: pytest.MonkeyPatch):
    pairs = [await open_pair() for _ in range(20)]
    monkeypatch.setattr(turns, "TURN_SHARE_SECONDS", 1e-9)
    for _, there in pairs:
        there.transport.abortConnection()
    await until(lambda: all(there.lost for _, there in pairs))
    gone, most = sum(here.lost for here, _ in pairs), 0
    while gone < len(pairs):
        for here, _ in pairs:
            here.transport.write(b"to nobody")
            here.transport.loseConnection()
        await turn()
        before, gone = gone, sum(here.lost for here, _ in pairs)
        most = max(most, gone - before)
    assert most == 1
    assert all(here.story.count("lost") == 1 for here, _ in pairs)


@pytest_twisted.ensureDeferred
async def test_two_hundred_connections_leave_no_descriptor():
    before = open_descriptors()
    for number in range(200):
        here, there = await open_pair()
        if number % 2:
            here.transport.loseConnection()
        else:
            there.transport.abortConnection()
        await until(lambda here=here, there=there: here.lost and there.lost)
        assert (here.story.count("lost"), there.story.count("lost")) == (1, 1)
    assert open_descriptors() <= before  # the test before may have been closing some


# --- bytes -----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_tiny_and_large_writes_arrive_in_order():
    here, there = await open_pair()
    sent = bytearray()
    for size in [1, 2, 3, 0, RECORD_BYTES, RECORD_BYTES + 1, 1, PIECE_BYTES, PIECE_BYTES + 1, 5_000_000, *range(300)]:
        data = os.urandom(size)
        sent += data
        here.transport.write(data)
        there.transport.write(data)
    await until(lambda: len(here.got) == len(there.got) == len(sent))
    assert here.got == there.got == sent
    drop(here)
    await until(lambda: here.lost and there.lost)


@pytest_twisted.ensureDeferred
async def test_a_small_write_is_one_record_and_a_large_one_full_ones():
    end = End()
    puppet = await open_puppet(end)
    for _ in range(5):
        await turn()
    del puppet.raw[:]  # the handshake
    end.transport.write(b"small")
    end.transport.write(b"x" * PIECE_BYTES)
    overhead = 5 + 1 + 16  # header, type, tag
    wanted = [5 + overhead] + [RECORD_BYTES + overhead] * (PIECE_BYTES // RECORD_BYTES)
    await until(lambda: len(puppet.raw) >= sum(wanted))
    records = []
    while puppet.raw:
        records.append(5 + int.from_bytes(puppet.raw[3:5], "big"))
        del puppet.raw[: records[-1]]
    assert records == wanted
    drop(end)
    await until(lambda: end.lost)


@pytest_twisted.ensureDeferred
async def test_small_writes_that_had_to_wait_leave_together():
    end = End()
    puppet = await open_puppet(end)
    puppet.transport.pauseProducing()
    end.transport.write(b"x" * 4_000_000)
    for _ in range(10_000):
        end.transport.write(b"tiny")
    del puppet.raw[:]
    puppet.transport.resumeProducing()
    await until(lambda: len(puppet.raw) > 4_000_000 and not end.transport._unsent_bytes)
    await turn()
    records = 0
    while puppet.raw:
        del puppet.raw[: 5 + int.from_bytes(puppet.raw[3:5], "big")]
        records += 1
    assert records < 300
    drop(end)
    await until(lambda: end.lost)


@pytest_twisted.ensureDeferred
async def test_what_producers_write_when_they_are_asked_leaves_together():
    end = End()
    puppet = await open_puppet(end)
    for _ in range(5):
        await turn()
    del puppet.raw[:]  # the handshake
    sent = b""
    for number in range(100):
        end.transport.write(head := b"%d" % number)
        await FileSender().beginFileTransfer(io.BytesIO(b"x" * 100), end.transport)
        sent += head + b"x" * 100
    await until(lambda: len(puppet.raw) >= len(sent) and not end.transport._unsent_bytes)
    await turn()
    records = 0
    while puppet.raw:
        del puppet.raw[: 5 + int.from_bytes(puppet.raw[3:5], "big")]
        records += 1
    assert records < 10
    drop(end)
    await until(lambda: end.lost)


@pytest_twisted.ensureDeferred
async def test_a_paused_end_delivers_nothing_until_it_resumes():
    here, there = await open_pair()
    here.at_data = lambda data: here.transport.pauseProducing()
    there.transport.write(b"x" * 100_000)
    await until(lambda: bool(here.got))
    for _ in range(20):
        await turn()
    assert len(here.got) <= RECORDS_AT_ONCE * RECORD_BYTES
    here.at_data = lambda data: None
    here.transport.resumeProducing()
    await until(lambda: len(here.got) == 100_000)
    drop(here)
    await until(lambda: here.lost and there.lost)


class Spout:
    """A push producer without end."""

    def __init__(self, end: End) -> None:
        self.end = end
        self.paused = self.stopped = False
        self.sent = 0

    def pour(self) -> None:
        while not self.paused and not self.stopped and self.sent < 20_000_000:
            self.sent += 10_000
            self.end.transport.write(b"p" * 10_000)

    def pauseProducing(self) -> None:
        assert not self.paused
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self.pour()

    def stopProducing(self) -> None:
        self.stopped = True


@pytest_twisted.ensureDeferred
async def test_a_push_producer_waits_for_a_reader_that_stops():
    here, there = await open_pair()
    there.transport.pauseProducing()
    spout = Spout(here)
    here.transport.registerProducer(spout, True)
    with pytest.raises(RuntimeError):
        here.transport.registerProducer(spout, True)
    spout.pour()
    assert spout.paused
    assert here.transport._unsent_bytes <= PIECE_BYTES + 10_000
    for _ in range(20):
        await turn()
    assert spout.paused
    held = spout.sent
    there.transport.resumeProducing()
    await until(lambda: len(there.got) == 20_000_000)
    assert spout.sent > held
    drop(there)
    await until(lambda: here.lost)
    assert spout.stopped


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, 3_000_001])
@pytest_twisted.ensureDeferred
async def test_a_pull_producer_feeds_it_to_the_end(size):
    content = os.urandom(size)
    here, there = await open_pair()
    for _ in range(2):
        await FileSender().beginFileTransfer(io.BytesIO(content), here.transport)
    await until(lambda: len(there.got) == 2 * size)
    assert there.got == 2 * content
    drop(here)
    await until(lambda: here.lost and there.lost)


@pytest_twisted.ensureDeferred
async def test_a_pull_producer_is_asked_no_faster_than_the_reader_reads():
    here, there = await open_pair()
    there.transport.pauseProducing()
    source = io.BytesIO(b"x" * 30_000_000)
    sending = FileSender().beginFileTransfer(source, here.transport)
    for _ in range(200):
        await turn()
    assert source.tell() < 10_000_000
    assert here.transport._unsent_bytes <= PIECE_BYTES
    drop(there)
    with pytest.raises(Exception, match="stop producing"):
        await sending
    await until(lambda: here.lost)


@pytest_twisted.ensureDeferred
async def test_a_pull_producer_that_has_nothing_yet_is_not_asked_in_a_loop():
    class Slow:
        asked = 0

        def resumeProducing(self) -> None:
            self.asked += 1

        def stopProducing(self) -> None:
            pass

    here, there = await open_pair()
    slow = Slow()
    here.transport.registerProducer(slow, False)
    for _ in range(20):
        await turn()
    before = slow.asked
    assert before <= 2  # at once, and when the socket was found writable
    here.transport.write(b"now")
    await until(lambda: slow.asked > before)
    for _ in range(20):
        await turn()
    assert slow.asked == before + 1
    drop(here)
    await until(lambda: here.lost and there.lost)


@pytest_twisted.ensureDeferred
async def test_a_producer_still_registered_ends_before_the_close():
    here, there = await open_pair()
    content = os.urandom(2_000_000)
    sending = FileSender().beginFileTransfer(io.BytesIO(content), here.transport)
    here.transport.loseConnection()
    await sending
    await until(lambda: here.lost and there.lost)
    assert there.got == content
    assert there.reason.check(ConnectionDone)


# --- where there is no socket ----------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_other_transports_carry_twisteds_tls():
    here, there = End(), End()
    ends = []
    for tls, end, dialling in ((HERE, here, False), (THERE, there, True)):
        below = tls.wrap(Only(end), dialling).buildProtocol(None)
        ends.append((below, StringTransport()))
    for below, transport in ends:
        below.makeConnection(transport)
    there.at_handshake = lambda end: end.transport.write(b"in memory")
    (one, one_out), (two, two_out) = ends
    for _ in range(10):
        await turn()
        for below, transport in ((two, one_out), (one, two_out)):
            data = transport.value()
            transport.clear()
            if data:
                below.dataReceived(data)
    assert here.got == b"in memory"
    for below, _ in ends:
        below.connectionLost(Failure(ConnectionDone()))
    assert here.story == ["made", "shaken", "data", "lost"]
