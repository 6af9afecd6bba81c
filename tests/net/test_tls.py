"""Hostile handshakes, either way: none of them delivers a byte."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from chatnet.core.errors import ChatnetError, RemoteError, WrongKey
from chatnet.core.framing import Framer, frame
from chatnet.core.limits import MAX_FRAME
from chatnet.core.messages import ALPN, ROLE_CHAT, Hello, Say, Welcome, encode
from chatnet.net.certificate import certificate_of
from chatnet.net.entrance import Arrived
from chatnet.net.identity import Identity
from chatnet.net.link import Link, LinkEnd
from chatnet.net.listening import LinkFactory, Listener
from chatnet.net.tls import TLS
from tests.support.links import Recorder, Station, hello, new_identity
from tests.support.wire import decode

EARLY = frame(encode(hello(ROLE_CHAT))) + frame(encode(Say(b"c" * 32, b"i" * 16, 1, "too early")))


# --- contexts of others -------------------------------------------------------------------------


def context(
    key: Any = None,
    certificate: x509.Certificate | None = None,
    alpn: list[bytes] | None = None,
    newest: int | None = None,
) -> SSL.Context:
    """What another program might bring: no certificate unless given, and no rule about ours."""
    made = SSL.Context(SSL.TLS_METHOD)
    if key is not None:
        assert certificate is not None
        made.use_certificate(certificate)
        made.use_privatekey(key)
    offered = [ALPN] if alpn is None else alpn
    if offered:
        made.set_alpn_protos(offered)
        made.set_alpn_select_callback(
            lambda _, names: offered[0] if offered[0] in names else SSL.NO_OVERLAPPING_PROTOCOLS
        )
    if newest is not None:
        made.set_max_proto_version(newest)
    return made


def envelope(key: Any, days: tuple[int, int] = (2020, 2040)) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "chatnet")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(days[0], 1, 1))
        .not_valid_after(dt.datetime(days[1], 1, 1))
        .sign(key, hashes.SHA256() if not hasattr(key, "private_bytes_raw") else None)
    )


def ours(identity: Identity, **others: Any) -> SSL.Context:
    return context(identity.private_key, certificate_of(identity.private_key), **others)


def p256() -> SSL.Context:
    key = ec.generate_private_key(ec.SECP256R1())
    return context(key, envelope(key))


def rsa_key() -> SSL.Context:
    key = rsa.generate_private_key(65537, 2048)
    return context(key, envelope(key))


def two_certificates() -> SSL.Context:
    """The first is right, so that OpenSSL never looks at the second."""
    made = ours(new_identity())
    made.add_extra_chain_cert(certificate_of(new_identity().private_key))
    return made


def the_same_certificate_twice() -> SSL.Context:
    identity = new_identity()
    made = ours(identity)
    made.add_extra_chain_cert(certificate_of(identity.private_key))
    return made


def stolen_certificate() -> SSL.Context:
    """A victim's certificate with another private key.

    The format of EC keys carries the public key beside the private one, and OpenSSL compares only
    the public ones, so this loads; whoever has the private key is proven by the handshake alone.
    """

    def der(tag: int, body: bytes) -> bytes:
        length = bytes([len(body)]) if len(body) < 128 else bytes([0x81, len(body)])
        return bytes([tag]) + length + body

    victim, thief = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    public = victim.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    scalar = thief.private_numbers().private_value.to_bytes(32, "big")
    curve = der(6, bytes.fromhex("2a8648ce3d030107"))
    split = der(0x30, der(2, b"\1") + der(4, scalar) + der(0xA0, curve) + der(0xA1, der(3, b"\0" + public)))
    return context(crypto.load_privatekey(crypto.FILETYPE_ASN1, split), envelope(victim))


# --- other programs -----------------------------------------------------------------------------


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class Creator:
    def __init__(self, made: SSL.Context) -> None:
        self._context = made

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        return SSL.Connection(self._context, None)

    serverConnectionForTLS = clientConnectionForTLS


class Stranger(Protocol):
    """Writes at once, so that its bytes come with the end of its handshake."""

    def __init__(self, first_words: bytes) -> None:
        self.got = b""
        self.lost: Deferred[None] = Deferred()
        self.heard: Deferred[bytes] = Deferred()
        self._first_words = first_words

    def connectionMade(self) -> None:
        cast(Any, self.transport).write(self._first_words)

    def dataReceived(self, data: bytes) -> None:
        self.got += data
        if not self.heard.called:
            self.heard.callback(data)

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)


class Strangers(Factory):
    noisy = False

    def __init__(self, first_words: bytes) -> None:
        self.made: list[Stranger] = []
        self._first_words = first_words

    def buildProtocol(self, addr: object) -> Stranger:
        self.made.append(Stranger(self._first_words))
        return self.made[-1]


class Watched(LinkFactory):
    """Keeps every link that it made, and how it ended."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.made: list[Link] = []

    def let_in(self) -> Arrived | None:
        arrived = super().let_in()
        assert arrived is not None
        assert arrived.link is not None
        self.made.append(arrived.link)
        return arrived


class Door(Recorder):
    """Notes who was asked about, too."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Hello] = []

    async def answer(self, link: Link, greeting: Hello) -> Welcome:
        self.asked.append(greeting)
        return await super().answer(link, greeting)


class Bob(Station):
    def __init__(self, reactor: Any) -> None:
        self.door = Door()
        super().__init__(reactor, self.door)
        self.watched = Watched(self.settings, self.door, 32)
        self.factory = self.watched
        self.listener = Listener(reactor, self.tls, self.factory)


@pytest_twisted.async_yield_fixture
async def bob():
    from twisted.internet import reactor

    made = Bob(reactor)
    yield made
    await made.close()


@pytest_twisted.async_yield_fixture
async def alice():
    from twisted.internet import reactor

    made = Station(reactor)
    yield made
    await made.close()


async def attack(bob: Bob, made: SSL.Context) -> tuple[Stranger, LinkEnd]:
    """The stranger, when it was thrown out, and how that looked from inside."""
    tcp = TCP4ClientEndpoint(bob.reactor, "127.0.0.1", bob.listen())
    stranger: Stranger = await wrapClientTLS(Creator(made), tcp).connect(Strangers(EARLY))
    await stranger.lost
    (link,) = bob.watched.made
    return stranger, await link.when_gone()


# --- the other side dials -----------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_stranger_that_does_all_right_is_let_in(bob):
    """The same stranger with nothing wrong: so the refusals below are for what is wrong with it."""
    identity = new_identity()
    tcp = TCP4ClientEndpoint(bob.reactor, "127.0.0.1", bob.listen())
    stranger = await wrapClientTLS(Creator(ours(identity)), tcp).connect(Strangers(EARLY))
    await bob.door.until(lambda: len(bob.door.messages) == 1)
    await stranger.heard
    framer = Framer(MAX_FRAME)
    framer.feed(stranger.got)
    assert isinstance(decode("from-listener", framer.next_frame()), Welcome)
    assert bob.watched.made[0].peer == identity.peer_id
    assert bob.watched.made[0].public_key == identity.public_key
    stranger.transport.abortConnection()
    await stranger.lost


@pytest_twisted.ensureDeferred
async def test_nothing_in_the_envelope_is_believed(bob):
    """An expired certificate is as good as any: who that is, its key says."""
    identity = new_identity()
    expired = context(identity.private_key, envelope(identity.private_key, (1990, 1991)))
    tcp = TCP4ClientEndpoint(bob.reactor, "127.0.0.1", bob.listen())
    stranger = await wrapClientTLS(Creator(expired), tcp).connect(Strangers(EARLY))
    await bob.door.until(lambda: len(bob.door.messages) == 1)
    assert bob.watched.made[0].peer == identity.peer_id
    stranger.transport.abortConnection()
    await stranger.lost


HOSTILE: dict[str, tuple[Callable[[], SSL.Context], str]] = {
    "no certificate": (context, "lost"),
    "TLS 1.2": (lambda: ours(new_identity(), newest=SSL.TLS1_2_VERSION), "lost"),
    "another ALPN": (lambda: ours(new_identity(), alpn=[b"http/1.1"]), "bad-handshake"),
    "no ALPN": (lambda: ours(new_identity(), alpn=[]), "bad-handshake"),
    "RSA": (rsa_key, "bad-handshake"),
    "P-256": (p256, "bad-handshake"),
    "a certificate without its key": (stolen_certificate, "lost"),
    "two certificates": (two_certificates, "bad-handshake"),
    "one certificate twice": (the_same_certificate_twice, "bad-handshake"),
}


@pytest.mark.parametrize("what", list(HOSTILE))
@pytest_twisted.ensureDeferred
async def test_a_hostile_dialler_is_cut_and_what_it_wrote_is_not_delivered(bob, what):
    made, code = HOSTILE[what]
    stranger, end = await attack(bob, made())
    assert end.code == code
    assert stranger.got == b""
    assert bob.door.asked == []
    assert bob.door.links == bob.door.messages == []
    assert bob.watched.made[0].bytes_in == 0
    assert bob.watched.made[0].peer == b""
    assert bob.factory.links == set()


class Clinging(Protocol):
    """Shakes hands, and never says goodbye."""

    def __init__(self, made: SSL.Context) -> None:
        self.lost: Deferred[None] = Deferred()
        self._tls = SSL.Connection(made, None)
        self._tls.set_connect_state()

    def connectionMade(self) -> None:
        self._go_on()

    def dataReceived(self, data: bytes) -> None:
        self._tls.bio_write(data)
        self._go_on()

    def connectionLost(self, reason: object = None) -> None:
        self.lost.callback(None)

    def _go_on(self) -> None:
        with suppress(SSL.WantReadError):
            self._tls.do_handshake()
        with suppress(SSL.WantReadError):
            cast(Any, self.transport).write(self._tls.bio_read(1 << 16))


@pytest_twisted.ensureDeferred
async def test_a_refused_dialler_cannot_cling_to_the_connection(bob):
    tcp = TCP4ClientEndpoint(bob.reactor, "127.0.0.1", bob.listen())
    stranger = await connectProtocol(tcp, Clinging(ours(new_identity(), alpn=[])))
    await stranger.lost.addTimeout(10, bob.reactor)
    (link,) = bob.watched.made
    assert (await link.when_gone()).code == "bad-handshake"


# --- the other side listens ---------------------------------------------------------------------


async def visit(alice: Station, made: SSL.Context, expected: Any) -> tuple[ChatnetError, Strangers]:
    strangers = Strangers(frame(encode(Welcome(1, [], b"i" * 16, "mallory"))))
    port = alice.reactor.listenTCP(0, TLSMemoryBIOFactory(Creator(made), False, strangers), interface="127.0.0.1")
    try:
        with pytest.raises(ChatnetError) as caught:
            await alice.dial(port.getHost().port, expected)
        for stranger in strangers.made:
            await stranger.lost
    finally:
        await port.stopListening()
    return caught.value, strangers


@pytest.mark.parametrize("what", [what for what in HOSTILE if what not in ("no certificate", "another ALPN")])
@pytest_twisted.ensureDeferred
async def test_a_hostile_listener_hears_nothing_from_us(alice, what):
    made, code = HOSTILE[what]
    error, strangers = await visit(alice, made(), None)
    assert [stranger.got for stranger in strangers.made] == [b""]
    assert isinstance(error, RemoteError) == (code == "bad-handshake")
    assert alice.user.links == alice.user.messages == []


@pytest_twisted.ensureDeferred
async def test_another_key_than_the_expected_hears_nothing_and_says_nothing(alice):
    mallory, expected = new_identity(), new_identity().peer_id
    error, strangers = await visit(alice, ours(mallory), expected)
    assert isinstance(error, WrongKey)
    assert error.seen == mallory.peer_id
    assert [stranger.got for stranger in strangers.made] == [b""]
    assert alice.user.links == alice.user.messages == []


# --- resumption ---------------------------------------------------------------------------------


def handshake_bytes(client_context: SSL.Context, server: SSL.Connection, session: Any) -> tuple[int, Any, Any]:
    """Bytes of a handshake that offers ``session``, the session afterwards, and the two ends.

    The ends must be kept: OpenSSL forgets the session of a connection that is freed without a shutdown.
    """
    client = SSL.Connection(client_context)
    client.set_connect_state()
    server.set_accept_state()
    if session is not None:
        client.set_session(session)
    total = 0
    for _ in range(6):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                data = one.bio_read(1 << 16)
            except SSL.WantReadError:
                continue
            total += len(data)
            other.bio_write(data)
    with pytest.raises(SSL.WantReadError):
        client.recv(1)  # takes the tickets in, if there are any
    return total, client.get_session(), (client, server)


def handshakes(server: Callable[[], SSL.Connection]) -> tuple[int, int]:
    """Bytes of a first handshake, and of a second that offers the session of the first."""
    identity = new_identity()
    client = ours(identity)
    first, session, kept = handshake_bytes(client, server(), None)
    second, _, _ = handshake_bytes(client, server(), session)
    assert kept
    return first, second


def test_no_handshake_is_shortened_by_an_earlier_one() -> None:
    tls = TLS(new_identity())
    first, second = handshakes(lambda: tls.serverConnectionForTLS(cast(Any, None)))
    assert second >= first


def test_with_tickets_it_would_be() -> None:
    """The measure above can fail: a server that has OpenSSL's usual settings."""
    identity = new_identity()
    usual = ours(identity)
    usual.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    usual.set_session_id(b"chatnet")
    first, second = handshakes(lambda: SSL.Connection(usual, None))
    assert second < first
