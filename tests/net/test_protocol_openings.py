"""What ``docs/protocol.md`` says about how a link begins and ends, tried with what no link of ours says."""

from __future__ import annotations

import io
import socket
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import pytest_twisted
from OpenSSL import SSL
from twisted.internet.threads import deferToThread
from twisted.protocols.basic import FileSender

from chatnet.core import messages as m
from chatnet.core.framing import Framer, frame
from chatnet.core.limits import MAX_FRAME
from tests.net.test_link import say
from tests.net.test_tls import context, ours, two_certificates
from tests.support.links import Station, hello, new_identity
from tests.support.wire import decode

SECONDS = 10
CONNECTION_RESET = 104
HELLO = m.encode(hello())


class RawDialler:
    """A program that says what it is told to, with calls that block: for a thread."""

    def __init__(self, port: int, made: SSL.Context) -> None:
        self.ended = ""
        self._line = socket.create_connection(("127.0.0.1", port))
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", SECONDS, 0))
        self._tls = SSL.Connection(made, self._line)
        self._tls.set_connect_state()

    def exchange(self, bodies: tuple[bytes, ...]) -> list[bytes]:
        """Shake hands, say these frames at once and read to the end; returns the bodies that came."""
        framer, heard = Framer(MAX_FRAME), []
        try:
            self._tls.do_handshake()
            self._tls.sendall(b"".join(frame(body) for body in bodies))
            while True:
                framer.feed(self._tls.recv(65_536))
                heard += list(iter(framer.next_frame, None))
        except SSL.ZeroReturnError:
            self.ended = "close_notify"
        except SSL.SysCallError as error:
            self.ended = "reset" if error.args[0] == CONNECTION_RESET else "cut"
        except SSL.Error as error:
            self.ended = f"alert: {error.args[0][-1][2]}"
        finally:
            self._line.close()
        return heard


async def visit(bob: Station, *bodies: bytes, made: SSL.Context | None = None) -> tuple[list[Any], str]:
    """What a listener answers to these first frames, and how the connection ends."""
    raw = RawDialler(bob.listener.port, made or ours(new_identity()))
    heard = await deferToThread(raw.exchange, bodies)
    return [decode("chat" if number else "from-listener", body) for number, body in enumerate(heard)], raw.ended


@pytest_twisted.async_yield_fixture
async def bob(stations):
    made = stations()
    made.listen()
    yield made


@pytest_twisted.ensureDeferred
async def test_frames_before_welcome_are_read_behind_it(bob: Station) -> None:
    said, ended = await visit(bob, HELLO, m.encode(say("early")), m.encode(m.Ping(7)), m.encode(m.Bye()))
    assert [type(message) for message in said] == [m.Welcome, m.Pong]
    assert said[1].n == 7
    assert ended == "close_notify"
    assert bob.user.messages == [say("early")]
    await bob.user.until(lambda: len(bob.user.ends) == 1)
    assert bob.user.ends[0].code == "bye"


@pytest.mark.parametrize(
    ("bodies", "code"),
    [
        pytest.param((m.encode(m.Bye()),), m.UNKNOWN_MESSAGE, id="bye in place of hello"),
        pytest.param((m.encode(m.Ping(1)), HELLO), m.UNKNOWN_MESSAGE, id="ping before hello"),
        pytest.param(
            (msgspec.msgpack.encode([*msgspec.msgpack.decode(HELLO)[:6], None, None, None, None, 1]),),
            m.UNKNOWN_MESSAGE,
            id="a surplus field in hello",
        ),
        pytest.param((m.encode(hello("ring")),), m.ROLE_UNKNOWN, id="a role of the future"),
        pytest.param(
            (m.encode(m.Hello(m.VersionRange(2, 3), [], "ring", b"i" * 16, "carol")),),
            m.VERSION_UNKNOWN,
            id="a version of the future, which is looked at before the role",
        ),
        pytest.param(
            (m.encode(m.Hello(m.VersionRange(2, 0), [], "chat", b"i" * 16, "carol")),),
            m.VERSION_UNKNOWN,
            id="versions in the wrong order",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_hello_gets_its_code_and_no_strike(bob: Station, bodies: tuple[bytes, ...], code: str) -> None:
    said, ended = await visit(bob, *bodies)
    assert [(type(message), message.code) for message in said] == [(m.Error, code)]
    assert ended == "close_notify"
    assert bob.factory.strikes == 0
    assert bob.user.links == []


@pytest_twisted.ensureDeferred
async def test_an_error_in_place_of_hello_is_an_end_without_an_answer(bob: Station) -> None:
    assert await visit(bob, m.encode(m.Error("stopping", "no"))) == ([], "close_notify")
    assert bob.user.links == []


@pytest_twisted.ensureDeferred
async def test_fields_of_another_role_are_passed_over(bob: Station) -> None:
    said, _ = await visit(bob, m.encode(hello(since=b"c", fid=b"f" * 16, token=b"t" * 32)), m.encode(m.Bye()))
    assert [type(message) for message in said] == [m.Welcome]


@pytest_twisted.ensureDeferred
async def test_a_pong_that_answers_nothing_is_ignored(bob: Station) -> None:
    said, ended = await visit(bob, HELLO, m.encode(m.Pong(2**53)), m.encode(m.Ping(2**53)), m.encode(m.Bye()))
    assert [type(message) for message in said] == [m.Welcome, m.Pong]
    assert ended == "close_notify"


@pytest_twisted.ensureDeferred
async def test_a_second_hello_ends_the_link(bob: Station) -> None:
    said, _ = await visit(bob, HELLO, HELLO)
    assert [(type(message), getattr(message, "code", "")) for message in said] == [
        (m.Welcome, ""),
        (m.Error, m.UNKNOWN_MESSAGE),
    ]


FAULTS: dict[str, tuple[Callable[[], SSL.Context], str]] = {
    "no ALPN": (lambda: ours(new_identity(), alpn=[]), "reset"),
    "two certificates": (two_certificates, "reset"),
    "TLS 1.2": (lambda: ours(new_identity(), newest=SSL.TLS1_2_VERSION), "alert: tlsv1 alert protocol version"),
    "no certificate": (context, "alert: tlsv13 alert certificate required"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest_twisted.ensureDeferred
async def test_how_a_cut_looks(bob: Station, fault: str) -> None:
    """The program cuts by a reset; what the TLS library finds it says by an alert first."""
    made, ended = FAULTS[fault]
    assert await visit(bob, made=made()) == ([], ended)


@pytest.mark.parametrize("fault", FAULTS)
@pytest_twisted.ensureDeferred
async def test_whoever_says_hello_into_a_cut_may_see_any_form_of_it(bob: Station, fault: str) -> None:
    """A write after the reset fails before the alert is read: a reader takes all forms alike."""
    made, ended = FAULTS[fault]
    said, seen = await visit(bob, HELLO, made=made())
    assert said == []
    assert seen in {ended, "reset", "cut"}


@pytest.mark.parametrize("word", [m.Bye(), m.Error("busy", "later")])
@pytest_twisted.ensureDeferred
async def test_bye_or_error_amid_ones_own_raw_bytes_ends_them(stations, word: m.Message) -> None:
    """The side that sends raw bytes can say no frame: it stops, and answers by the end of TLS alone."""
    alice, bob = stations(), stations()
    link = await alice.dial(bob.listen(), bob.peer, hello(m.ROLE_FILE))
    await bob.user.until(lambda: len(bob.user.links) == 1)
    there = bob.user.links[0]
    there.expect_raw(1 << 30, lambda data: there.send_frames(frame(m.encode(word))))
    sending = FileSender().beginFileTransfer(Endless(), link.consumer)
    sending.addErrback(lambda failure: None)
    await alice.user.until(lambda: len(alice.user.ends) == 1)
    assert alice.user.ends[0].by_remote
    assert alice.user.ends[0].code == ("bye" if isinstance(word, m.Bye) else "busy")
    await bob.user.until(lambda: len(bob.user.ends) == 1)
    assert bob.user.ends[0].code == "lost"


class Endless(io.RawIOBase):
    def read(self, size: int = -1) -> bytes:
        return b"r" * size
