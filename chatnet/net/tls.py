"""The TLS configuration of all connections, and the check of the other side's key.

Mutual TLS 1.3 with raw identities: no authority, no host name, no resumption.  The certificate
is an envelope; the key in it is proven by the handshake itself (RFC 8446, CertificateVerify),
and who that key belongs to is decided in ``proven_peer`` after the handshake, not in the verify
callback, which resumption would skip and which must not raise.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    ISystemHandle,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from chatnet.core.errors import RemoteError, WrongKey
from chatnet.core.identity import PeerID, peer_id_of, same_id, short_text
from chatnet.core.messages import ALPN
from chatnet.net.certificate import certificate_of
from chatnet.net.identity import Identity
from chatnet.net.transport import SocketTLS, UpperProtocol
from chatnet.net.turn_budget import TurnBudget

# AES first: every processor since 2012 has instructions for it.
MODE_ENABLE_PARTIAL_WRITE = 1  # openssl/ssl.h; pyOpenSSL sets it and does not name it
CIPHERS = b"TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"


@implementer(IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator)
class TLS:
    """Makes the connections of one identity, for either side.

    ``twisted.internet.ssl.CertificateOptions`` cannot say this: verifying there wants an
    authority, and without verifying it asks a client for no certificate.
    """

    def __init__(self, identity: Identity) -> None:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 30 kB less for each idle connection
        context.clear_mode(MODE_ENABLE_PARTIAL_WRITE)  # four records of a piece in one call
        context.set_tls13_ciphersuites(CIPHERS)
        context.use_certificate(certificate_of(identity.private_key))
        context.use_privatekey(identity.private_key)
        # VERIFY_PEER alone lets in a client that has no certificate.
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _single_certificate)
        context.set_verify_depth(0)
        context.set_alpn_protos([ALPN])
        context.set_alpn_select_callback(_select_alpn)
        self._context = context
        self.turns = TurnBudget()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)

    def wrap(self, factory: Factory, dialling: bool, send_buffer_bytes: int = 0) -> TLSFactory:
        """Wrap ``factory`` in this TLS; ``send_buffer_bytes`` is the kernel's for each, 0 its own choice."""
        return TLSFactory(self, factory, dialling, send_buffer_bytes)

    def connection(self, on: socket.socket) -> SSL.Connection:
        return SSL.Connection(self._context, on)


class TLSFactory(Factory):
    """Puts TLS under the protocols of another factory."""

    noisy = False

    def __init__(self, tls: TLS, factory: Factory, dialling: bool, send_buffer_bytes: int) -> None:
        self.tls = tls
        self.dialling = dialling
        self.send_buffer_bytes = send_buffer_bytes
        self.memory = TLSMemoryBIOFactory(tls, dialling, factory)
        self._factory = factory

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        protocol: Any = self._factory.buildProtocol(addr)
        return None if protocol is None else self.protocol_for(protocol, first=self.dialling)

    def protocol_for(self, above: Any, first: bool) -> Protocol:
        """Return TLS under one protocol, which is made already; ``first``: its handshake has its turn before others."""
        return _TLSSwitch(self, above, first)

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        self._factory.doStop()


class _TLSSwitch(Protocol):
    """What Twisted's transport sees: it puts TLS between that transport and the protocol above.

    On a socket OpenSSL works by itself; any other transport carries Twisted's TLS.
    """

    def __init__(self, factory: TLSFactory, above: UpperProtocol, first: bool) -> None:
        self._factory = factory
        self._above = above
        self._first = first

    def connectionMade(self) -> None:
        factory, transport = self._factory, cast(Any, self.transport)
        handle = transport.getHandle() if ISystemHandle.providedBy(transport) else None
        if isinstance(handle, socket.socket):
            with suppress(OSError):  # some systems refuse on a socket that is cut already
                if handle.family in (socket.AF_INET, socket.AF_INET6):
                    handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if factory.send_buffer_bytes:
                    handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, factory.send_buffer_bytes)
            on_socket = SocketTLS(
                factory.tls.connection(handle), transport, self._above, factory.tls.turns, self._first
            )
            self._lost = on_socket.lost
            on_socket.begin(factory.dialling)
        else:
            in_memory: Any = factory.memory.protocol(factory.memory, self._above)
            self._received, self._lost = in_memory.dataReceived, in_memory.connectionLost
            in_memory.makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        self._received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost(reason)


def proven_peer(connection: SSL.Connection, expected: PeerID | None, *, dialled: bool) -> tuple[PeerID, bytes]:
    """Return the PeerID and raw public key that the handshake proved. This is the only pin check.

    ``dialled``: this side dialled.  Raises WrongKey if ``expected`` is another, RemoteError("bad-handshake") if
    the handshake is not one of ours.  The context enforces most of the latter too: an edit there must not switch it
    off.
    """
    certificate = connection.get_peer_certificate()
    if certificate is None or connection.get_protocol_version() < SSL.TLS1_3_VERSION:
        raise RemoteError("bad-handshake", "no certificate, or not TLS 1.3")
    if connection.get_alpn_proto_negotiated() != ALPN:
        raise RemoteError("bad-handshake", "another protocol than chatnet/1")
    # OpenSSL verifies the first certificate alone and never looks at a surplus one.  The chain that it
    # keeps holds the first one at the dialler, and not at the listener.
    if len(connection.get_peer_cert_chain() or ()) != int(dialled):
        raise RemoteError("bad-handshake", "more than one certificate")
    public = certificate.to_cryptography().public_key()
    if not isinstance(public, Ed25519PublicKey):
        raise RemoteError("bad-handshake", "the key is not Ed25519")
    raw = public.public_bytes_raw()
    peer = peer_id_of(raw)
    if expected is not None and not same_id(peer, expected):
        raise WrongKey(f"the key {short_text(peer)} answered, expected was {short_text(expected)}", peer)
    return peer, raw


def _single_certificate(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Accept a certificate that stands alone: a chain has no meaning here, and a longer one is not ours."""
    return depth == 0


def _select_alpn(connection: SSL.Connection, offered: list[bytes]) -> Any:
    return ALPN if ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS  # whose type pyOpenSSL keeps private
