"""A network in memory: machines with an address and a clock each, lines between them, cuts.

A machine stands in for the reactor: its time is its own clock, its ports and connections are
ends of lines here; threads report back through the real reactor, which also carries the bytes,
a piece a turn.  A line can be a pair of real sockets instead (``sockets``): then programs speak over
the transport of production, which a line in memory does not reach.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IConnector, IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.socketline import SocketEnd, socket_pair

PIECE_BYTES = 65_536  # that cross a line in one turn of the reactor
FULL_BYTES = 262_144  # on one line, before its writer is asked to wait


class MemoryNet:
    """All machines, by address; ``reactor`` is the real one.

    sockets: every line is a pair of real sockets on that reactor, and none is in memory.
    """

    def __init__(self, reactor: Any, sockets: bool = False) -> None:
        self.reactor = reactor
        self.sockets = sockets
        self.ports: dict[tuple[str, int], _Port] = {}
        self.ends: list[_End | SocketEnd] = []
        self.frozen: set[str] = set()
        self.gone: set[str] = set()  # without a cable: nothing arrives there, nobody is told

    def machine(self, host: str) -> Machine:
        return Machine(self, host)

    @property
    def quiet(self) -> bool:
        """Whether nothing is on its way."""
        return not any(end.due for end in self.ends)

    def line(
        self, dialler: Machine, here: tuple[str, int], listener: Machine, there: tuple[str, int]
    ) -> tuple[_End | SocketEnd, _End | SocketEnd]:
        """The ends of a new line, the dialler's first; they have no protocols yet."""
        mine: Any
        theirs: Any
        if self.sockets:
            dialled, accepted = socket_pair()
            mine = SocketEnd(self, dialler, here, there, dialled)
            theirs = SocketEnd(self, listener, there, here, accepted)
        else:
            mine, theirs = _End(self, here, there), _End(self, there, here)
        mine.other, theirs.other = theirs, mine
        self.ends += [mine, theirs]
        return mine, theirs

    def lines(self, one: str, other: str) -> list[_End | SocketEnd]:
        """The ends at ``one`` of the open lines that lead to ``other``."""
        return [end for end in self.ends if end.host[0] == one and end.peer[0] == other and not end.over]

    def cut(self, one: str, other: str) -> None:
        """Every line between two machines breaks, and both ends hear of it."""
        for end in self.lines(one, other):
            end.broken(Failure(ConnectionLost("cut")))
            end.other.broken(Failure(ConnectionLost("cut")))

    def freeze(self, host: str) -> None:
        """The machine stops as if by SIGSTOP: it reads nothing, what it is sent waits."""
        self.frozen.add(host)
        self._push()

    def thaw(self, host: str) -> None:
        self.frozen.discard(host)
        self._push()

    def unplug(self, host: str) -> None:
        """Its present lines carry nothing more, and the others are not told; new ones are possible after ``replug``."""
        self.gone.add(host)
        for end in self.ends:
            if host in (end.host[0], end.peer[0]):
                end.severed = True
        self._push()

    def replug(self, host: str) -> None:
        self.gone.discard(host)

    def _push(self) -> None:
        for end in self.ends:
            end.push()


@implementer(IReactorTime)
class Machine:
    """What the code of one program takes for its reactor."""

    running = True

    def __init__(self, net: MemoryNet, host: str) -> None:
        self.net = net
        self.host = host
        self.clock = Clock()
        self.stops = 0
        self._next_port = 30_000

    # --- time and threads ---

    def seconds(self) -> float:
        return self.clock.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> IDelayedCall:
        return self.clock.callLater(delay, callable, *args, **kwargs)

    def getDelayedCalls(self) -> list[IDelayedCall]:
        return list(self.clock.getDelayedCalls())

    def callFromThread(self, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        self.net.reactor.callFromThread(callable, *args, **kwargs)

    def stop(self) -> None:
        self.stops += 1

    def advance(self, seconds: float) -> None:
        if self.host not in self.net.frozen:
            self.clock.advance(seconds)

    # --- lines ---

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> _Port:
        at = (interface or self.host, port or self._free_port())
        if at in self.net.ports:
            raise CannotListenError(at[0], at[1], OSError(errno.EADDRINUSE, "already in use"))
        self.net.ports[at] = _Port(self, at, factory)
        factory.doStart()
        return self.net.ports[at]

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> _Connector:
        connector = _Connector(self, (host, port), factory, timeout)
        connector.connect()
        return connector

    def _free_port(self) -> int:
        self._next_port += 1
        return self._next_port


def _transport(end: _End | SocketEnd, protocol: Any, *ignored: object) -> _End | SocketEnd:
    """Stands for Twisted's ``tcp.Server``."""
    end.begin(protocol)
    return end


class _Port(Port):
    """Stands for one of Twisted's, so that the entrance of a program keeps what it accepts as in production."""

    transport: Any = staticmethod(_transport)
    factory: Any

    def __init__(self, machine: Machine, at: tuple[str, int], factory: Any) -> None:
        super().__init__(at[1], factory, interface=at[0], reactor=machine)
        self.machine = machine
        self._at = at

    def accept(self, end: _End | SocketEnd) -> None:
        """The same as ``doRead`` does for each connection."""
        protocol = self.factory.buildProtocol(end.getPeer())
        if protocol is None:
            end.close()
        else:
            protocol.makeConnection(self.transport(end, protocol, end.getPeer(), self, 0, self.machine))

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", *self._at)

    def startListening(self) -> None:
        """It listens from the beginning."""

    def stopListening(self, connDone: object = None) -> Deferred[None]:
        if self.machine.net.ports.pop(self._at, None) is self:
            self.factory.doStop()
        return succeed(None)


@implementer(IConnector)
class _Connector:
    """One dial: answered a turn later, or never when the machine there is out of reach."""

    def __init__(self, machine: Machine, to: tuple[str, int], factory: Any, timeout: float) -> None:
        self._machine = machine
        self._to = to
        self._factory = factory
        self._timeout = machine.callLater(timeout, self._fail, TimeoutError())
        self._over = False

    def connect(self) -> None:
        self._factory.doStart()
        self._factory.startedConnecting(self)
        self._machine.net.reactor.callLater(0, self._answer)

    def stopConnecting(self) -> None:
        self._fail(UserError())

    def disconnect(self) -> None:
        self.stopConnecting()

    def getDestination(self) -> IPv4Address:
        return IPv4Address("TCP", *self._to)

    def _answer(self) -> None:
        net = self._machine.net
        if self._over or {self._to[0], self._machine.host} & net.gone:
            return
        port = net.ports.get(self._to)
        if port is None:
            self._fail(ConnectionRefusedError())
            return
        self._over = True
        self._timeout.cancel()
        here = (self._machine.host, self._machine._free_port())
        mine, theirs = net.line(self._machine, here, port.machine, self._to)
        port.accept(theirs)
        mine.begin(self._factory.buildProtocol(IPv4Address("TCP", *self._to)))
        mine.protocol.makeConnection(mine)

    def _fail(self, error: Exception) -> None:
        if not self._over:
            self._over = True
            if self._timeout.active():
                self._timeout.cancel()
            self._factory.clientConnectionFailed(self, Failure(error))
            self._factory.doStop()


@implementer(ITCPTransport)
class _End:
    """One side of a line: the transport of its protocol; ``_waiting`` is on its way to this side."""

    disconnecting = False

    def __init__(self, net: MemoryNet, host: tuple[str, int], peer: tuple[str, int]) -> None:
        self.host = host
        self.peer = peer
        self.severed = False
        self.over = False
        self.protocol: Any = None
        self.other: _End
        self._net = net
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._ended: Failure | None = None  # the other side closed, behind what waits
        self._paused = False
        self._pushing = False
        self._producer: Any = None
        self._producer_paused = False

    def begin(self, protocol: Any) -> None:
        """What came so far, and what comes, is for ``protocol``."""
        self.protocol = protocol
        self.push()

    def close(self) -> None:
        """As of an accepted socket that gets no protocol."""
        self.loseConnection()

    # --- transport ---

    def write(self, data: bytes) -> None:
        if self.over or self.disconnecting or self.severed or not data:
            return
        self.other._waiting.append(bytes(data))
        self.other._waiting_bytes += len(data)
        if self._producer is not None and not self._producer_paused and self.other._waiting_bytes > FULL_BYTES:
            self._producer_paused = True
            self._producer.pauseProducing()
        self.other.push()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        if not self.over and not self.disconnecting:
            self.disconnecting = True
            if self._producer is None:
                self._close()

    def abortConnection(self) -> None:
        if not self.over:
            self.disconnecting = True
            if not self.severed:
                self.other._end(Failure(ConnectionLost("reset")))
            self._net.reactor.callLater(0, self.broken, Failure(ConnectionAborted()))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert self._producer is None
        assert streaming
        if self.over:
            producer.stopProducing()
            return
        self._producer = producer
        self._producer_paused = False

    def unregisterProducer(self) -> None:
        self._producer = None
        if self.disconnecting and not self.over:
            self._close()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self.push()

    def stopProducing(self) -> None:
        self.loseConnection()

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", *self.host)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", *self.peer)

    def setTcpNoDelay(self, enabled: bool) -> None: ...

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None: ...

    def getTcpKeepAlive(self) -> bool:
        return False

    def loseWriteConnection(self) -> None:
        self.loseConnection()

    # --- the line ---

    @property
    def due(self) -> bool:
        """Whether something for this side is on its way and can arrive, or the program will let it in."""
        return not self._held and (self.protocol is None or bool(self._waiting or self._ended))

    @property
    def _held(self) -> bool:
        return self.over or self.severed or self._paused or self.host[0] in self._net.frozen

    def push(self) -> None:
        if not self._pushing and self.protocol is not None and self.due:
            self._pushing = True
            self._net.reactor.callLater(0, self._arrive)

    def broken(self, reason: Failure) -> None:
        """The line is over on this side."""
        if self.protocol is None and not self.disconnecting:
            self._end(reason)  # it is told once it is let in
            return
        if self.over:
            return
        self.over = True
        self._net.ends.remove(self)
        if self._producer is not None:
            self._producer.stopProducing()
            self._producer = None
        if self.protocol is not None:
            self.protocol.connectionLost(reason)

    def _close(self) -> None:
        """All is written: the other side sees the end behind it."""
        if not self.severed:
            self.other._end(Failure(ConnectionDone()))
        self._net.reactor.callLater(0, self.broken, Failure(ConnectionDone()))

    def _end(self, reason: Failure) -> None:
        self._ended = self._ended or reason
        self.push()

    def _arrive(self) -> None:
        self._pushing = False
        if self._held:
            return
        data = b""
        while self._waiting and len(data) < PIECE_BYTES:
            data += self._waiting.popleft()
        self._waiting_bytes -= len(data)
        other = self.other
        if other._producer is not None and other._producer_paused and self._waiting_bytes <= FULL_BYTES // 2:
            other._producer_paused = False
            other._producer.resumeProducing()
        if data:
            self.protocol.dataReceived(data)
        if not self._waiting and self._ended is not None and not self.over:
            self.broken(self._ended)
        self.push()
