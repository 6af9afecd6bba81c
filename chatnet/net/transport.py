"""TLS on the socket itself: the transport under every accepted and dialled connection.

Twisted's own TLS passes every record through memory buffers, which costs more than the cipher.
Here Twisted still accepts, connects, owns and closes the socket; OpenSSL reads and writes it,
driven by the reactor.  To the protocol above it is a transport like Twisted's: consumer, producer,
orderly and abrupt end.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, IReadWriteDescriptor, ITransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatnet.net.turn_budget import TurnBudget

RECORD_HEAD = 5  # bytes: kind, version, length
RECORD_BYTES = 16_384  # what one TLS record holds; OpenSSL then keeps no rest of it back
PIECE_BYTES = 65_536  # given to OpenSSL at once; with more than this unsent a push producer waits
MAX_LATE_STEPS = 32  # of OpenSSL's handshake when it is over: a listener's two tickets take 6
RECORDS_AT_ONCE = 4  # given upwards in one call
EARLY_BYTES = 16_384  # that may wait before hands are shaken: an honest side says about 4,000 and waits, in
EARLY_RECORDS = 32  # about five; OpenSSL does not return while records come: 131,000 crumbs of a hello are 0.3 s
STEPS_PER_TURN = 16  # records taken before the other connections have their turn: 256 KiB, half a millisecond
PIECES_PER_TURN = 4  # given, the same bytes


class UpperProtocol(Protocol):
    """The protocol that this transport carries."""

    def makeConnection(self, transport: Any) -> object: ...

    def handshakeCompleted(self) -> object:
        """Called when the other side's key is proven; no byte comes before this."""

    def dataReceived(self, data: bytes) -> object: ...

    def connectionLost(self, reason: Failure) -> object: ...


class TLSFault(ConnectionLost):
    """The other side does not speak TLS as we do; the text is OpenSSL's reason."""

    def __str__(self) -> str:
        return str(self.args[0])


@implementer(IReadWriteDescriptor, ITransport, IConsumer, IPushProducer)
class SocketTLS:
    """``connection`` on ``socket_transport``, Twisted's transport of a stream socket.

    The reactor calls ``doRead`` and ``doWrite``, which return why the connection is over, if it is.
    Its owner, the protocol of ``socket_transport``, calls ``begin`` and ``lost``.  Handshakes and
    ends have their share of each of the reactor's ``turns``, those of connections that come ``first``
    before the others.
    """

    log = Logger("chatnet.transport")

    def __init__(
        self,
        connection: SSL.Connection,
        socket_transport: Any,
        above: UpperProtocol,
        turns: TurnBudget,
        first: bool = False,
    ) -> None:
        self._tls = connection
        self._socket = socket_transport
        self._reactor = socket_transport.reactor
        self._above = above
        self._turns = turns
        self._first = first
        self._handshake_done = False  # the handshake is over
        self._queued = False  # until then: its next step waits for its turn
        self._paused = False  # the protocol wants nothing
        self._closing = False  # say goodbye when all is sent; what still comes is dropped
        self._close_sent = False  # goodbye is said
        self._closed = False  # nothing more in either direction
        self._read_waits = False  # OpenSSL has to write before it can read on, or
        self._write_waits = False  # the other way round: half a key update
        self._fault: Exception | None = None  # met in ``write``, whose caller must not see it
        self._late_steps = 0
        self._offered: bytes | memoryview = b""  # refused once: OpenSSL wants the same bytes again
        self._unsent: list[bytes | memoryview] = []  # behind it, in pieces
        self._unsent_bytes = 0  # of both
        self._producer: Any = None
        self._pulling = False  # the producer writes once each time it is asked
        self._producer_paused = False
        self._written = False  # something, since the producer was asked
        self._asking = False  # the producer writes just now, and may be asked for more before that is sent

    # --- the life of the connection ---

    def begin(self, dialled: bool) -> None:
        """Take the socket over from its transport and start the handshake."""
        self._socket.stopReading()
        if dialled:
            self._tls.set_connect_state()
            self._reactor.addWriter(self)  # the socket's transport takes this back if it was closed as it connected
        else:
            self._tls.set_accept_state()
        self._reactor.addReader(self)
        self._above.makeConnection(self)

    def loseConnection(self) -> None:
        """Send what was written, say goodbye, and wait for the other side's; drop what still comes."""
        if not self._handshake_done:
            self.abortConnection()
        elif not self._closed and not self._closing:
            self._closing = True
            self.resumeProducing()
            self._write_on()

    def abortConnection(self) -> None:
        """Cut at once; nothing is delivered any more, ``connectionLost`` follows in a later turn."""
        if not self._closed:
            self._stop()
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._socket.abortConnection()

    def lost(self, reason: Failure) -> None:
        """Clean up after the socket is closed, and tell the protocol above."""
        self._stop()
        above, producer, self._producer = self._above, self._producer, None
        del self._above, self._tls  # a cycle would keep OpenSSL's buffers until the next collection
        if producer is not None:
            producer.stopProducing()
        above.connectionLost(reason)

    def getHandle(self) -> SSL.Connection:
        return self._tls

    def getPeer(self) -> Any:
        return self._socket.getPeer()

    def getHost(self) -> Any:
        return self._socket.getHost()

    def _stop(self) -> None:
        self._closed = True
        self._offered, self._unsent, self._unsent_bytes = b"", [], 0

    def _queue_up(self) -> None:
        """Queue the next step of the handshake, which runs when it is its turn."""
        if not self._queued:
            self._queued = True
            self._turns.run(self._reactor, self._step, self._first)

    def _step(self) -> None:
        self._queued = False
        if self._closed:
            return
        try:
            why = self._shake_hands() or (self._receive() if self._handshake_done else None)
        except Exception as error:
            self.log.failure("internal error while handshaking")
            why = error
        if why is not None:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._stop()
            self._socket.connectionLost(Failure(why))

    def _shake_hands(self) -> Exception | None:
        if _is_flood(self._socket.getHandle()):
            return TLSFault("TLS: a handshake in too many pieces")
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self._reactor.removeWriter(self)
            self._reactor.addReader(self)
        except SSL.WantWriteError:
            self._reactor.removeReader(self)
            self._reactor.addWriter(self)
        except SSL.Error as error:
            return _why(error)
        else:
            self._handshake_done = True
            self._tls.set_info_callback(self._on_info)
            self._read_on()
            self._write_on()  # what was written meanwhile
            self._above.handshakeCompleted()
        return None

    def _on_info(self, connection: SSL.Connection, where: int, value: int) -> None:
        """End reading after too many key updates.

        OpenSSL does not return while they come, and nobody else would have a turn.
        """
        if where & SSL.SSL_CB_LOOP:
            self._late_steps += 1
            if self._late_steps > MAX_LATE_STEPS:
                connection.set_shutdown(SSL.RECEIVED_SHUTDOWN)  # reading ends here, as a loss

    def _say_goodbye(self) -> Exception | None:
        if self._close_sent:
            return None
        try:
            heard = self._tls.shutdown()
        except SSL.WantWriteError:
            return None
        except SSL.Error as error:
            return _why(error)
        self._close_sent = True
        return CONNECTION_DONE if heard else None

    # --- for the reactor ---

    def fileno(self) -> int:
        return int(self._socket.fileno())

    def logPrefix(self) -> str:
        return str(self._socket.logPrefix())

    def connectionLost(self, reason: Failure) -> None:
        self._stop()
        self._turns.run(self._reactor, lambda: self._socket.connectionLost(reason), self._first)

    def doRead(self) -> Any:
        if self._closed:
            return None
        if not self._handshake_done:
            return self._queue_up()
        if self._write_waits:
            self._write_waits = False
            self._reactor.addWriter(self)
        return self._receive()

    def doWrite(self) -> Any:
        if self._closed or self._fault is not None:
            return self._fault
        if not self._handshake_done:
            return self._queue_up()
        if self._read_waits:
            self._read_waits = False
            self._read_on()
        for _ in range(PIECES_PER_TURN):
            while self._unsent_bytes < PIECE_BYTES and self._ask_for_more():
                pass  # what is written meanwhile leaves together: a small file would be three records
            if not self._unsent_bytes:
                break
            if not self._send_next():
                return self._fault
        else:
            return None
        if self._closing and self._producer is None and not self._close_sent and not self._closed:
            return self._say_goodbye()
        self._reactor.removeWriter(self)
        return None

    # --- in ---

    def pauseProducing(self) -> None:
        """Deliver nothing until ``resumeProducing``."""
        if self._handshake_done and not self._closing and not self._closed:
            self._paused = True
            self._reactor.removeReader(self)

    def resumeProducing(self) -> None:
        self._paused = False
        self._read_on()

    def stopProducing(self) -> None:
        self.loseConnection()

    def _read_on(self) -> None:
        if not self._closed and not self._paused and not self._read_waits:
            self._reactor.addReader(self)

    def _receive(self) -> Exception | None:
        """Receive a turn's share, some records at once: a call upwards costs more than joining them."""
        for _ in range(STEPS_PER_TURN // RECORDS_AT_ONCE):
            if self._closed or self._paused:
                break
            records: list[bytes] = []
            blocked, why = self._take(records)
            if records and not self._closing:
                self._above.dataReceived(records[0] if len(records) == 1 else b"".join(records))
            if why is not None and not self._closed:
                if why is CONNECTION_DONE:
                    self._say_goodbye()
                return why
            if blocked:
                break
        return None

    def _take(self, records: list[bytes]) -> tuple[bool, Exception | None]:
        """Read up to one batch.  Return whether no more is there now, and why the connection is over."""
        try:
            while len(records) < RECORDS_AT_ONCE:
                records.append(self._tls.recv(RECORD_BYTES))
        except SSL.WantReadError:
            return True, None
        except SSL.WantWriteError:
            self._read_waits = True
            self._reactor.removeReader(self)
            self._reactor.addWriter(self)
            return True, None
        except SSL.Error as error:
            return True, _why(error)
        return False, None

    # --- out ---

    def write(self, data: bytes) -> None:
        """Send at once if nothing waits, but for what a producer was asked for; queue what the socket does not take."""
        if self._closed or not data or (self._closing and self._producer is None):
            return
        at_once = not self._unsent_bytes and self._handshake_done and not self._asking
        if at_once and len(data) <= PIECE_BYTES:
            self._offered = data
        elif len(data) <= PIECE_BYTES:
            self._unsent.append(data)
        else:
            view = memoryview(data)
            self._unsent += [view[at : at + PIECE_BYTES] for at in range(0, len(view), PIECE_BYTES)]
        self._written = True
        self._unsent_bytes += len(data)
        if at_once:
            self._send_next()
        if not self._asking and (self._unsent_bytes or self._pulling):
            self._write_on()
        waits = self._producer is None or self._pulling or self._producer_paused
        if self._unsent_bytes > PIECE_BYTES and not waits:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if self._producer is not None:
            raise RuntimeError(f"{producer} cannot be registered: {self._producer} still is")
        if self._closed:
            producer.stopProducing()
            return
        self._producer, self._pulling, self._producer_paused = producer, not streaming, False
        if self._pulling:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self._producer, self._pulling = None, False
        if self._closing:
            self._write_on()

    def _write_on(self) -> None:
        if not self._closed and not self._write_waits:
            self._reactor.addWriter(self)

    def _ask_for_more(self) -> bool:
        """Whether the producer wrote something, now that all is sent."""
        if self._producer is None or not (self._pulling or self._producer_paused):
            return False
        self._producer_paused = self._written = False
        self._asking = True
        try:
            self._producer.resumeProducing()
        finally:
            self._asking = False
        return self._written

    def _send_next(self) -> bool:
        """Whether the socket took one more piece."""
        if not self._offered:
            self._offered = self._gathered()
        try:
            self._tls.send(self._offered)
        except SSL.WantWriteError:
            return False
        except SSL.WantReadError:
            self._write_waits = True
            self._reactor.removeWriter(self)
            return False
        except SSL.Error as error:
            self._fault = _why(error)
            return False
        self._unsent_bytes -= len(self._offered)
        self._offered = b""
        return True

    def _gathered(self) -> bytes | memoryview:
        """Return the next piece to send; small ones that had to wait are joined."""
        count, size = 1, len(self._unsent[0])
        while count < len(self._unsent) and size + len(self._unsent[count]) <= PIECE_BYTES:
            size += len(self._unsent[count])
            count += 1
        pieces, self._unsent[:count] = self._unsent[:count], []
        return pieces[0] if count == 1 else b"".join(pieces)


def _is_flood(line: socket.socket) -> bool:
    """Whether more waits there than any handshake has to say."""
    try:
        waiting = line.recv(EARLY_BYTES, socket.MSG_PEEK)
    except OSError:
        return False  # nothing waits, or OpenSSL will find out
    at = records = 0
    while at < len(waiting) and records <= EARLY_RECORDS:
        at += RECORD_HEAD + int.from_bytes(waiting[at + 3 : at + RECORD_HEAD], "big")
        records += 1
    return records > EARLY_RECORDS or len(waiting) == EARLY_BYTES


def _why(error: SSL.Error) -> Exception:
    """Return the reason for the reactor.  An end without a goodbye is a loss like any other."""
    if isinstance(error, SSL.ZeroReturnError):
        return CONNECTION_DONE
    if isinstance(error, SSL.SysCallError):
        return CONNECTION_LOST
    reasons = error.args[0] if error.args else []
    return TLSFault(f"TLS: {reasons[-1][2]}" if reasons else "TLS failed")
