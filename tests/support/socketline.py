"""One side of a line between two machines of the village that is a real socket, as in production.

Twisted's own ``tcp.Connection`` stands on it, registered with the real reactor, so that
``chatnet.net.tls`` finds a socket there and ``SocketTLS`` reads and writes it.  Time is that of the
machine, and the net decides when the machine reads and writes.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from tests.support.memorynet import Machine, MemoryNet


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of one TCP connection over loopback: who dialled, and who accepted."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        dialled = socket.create_connection(door.getsockname())
        accepted, _ = door.accept()
        return dialled, accepted


class SocketEnd(Connection):
    """The transport of one side, until its protocol is known the accepted or dialled socket alone."""

    def __init__(
        self, net: MemoryNet, machine: Machine, host: tuple[str, int], peer: tuple[str, int], on: socket.socket
    ) -> None:
        self._line = _LineReactor(net.reactor, machine)
        super().__init__(on, None, self._line)  # type: ignore[arg-type]
        self.host = host
        self.peer = peer
        self.severed = False
        self.over = False
        self.other: SocketEnd
        self.logstr = f"{host[0]},{peer[0]}"
        self._net = net

    def begin(self, protocol: Any) -> None:
        """Read for ``protocol``."""
        self.protocol = protocol
        self.push()
        self.connected = 1
        self.startReading()  # type: ignore[no-untyped-call]  # Twisted has no annotation there

    def close(self) -> None:
        """As of an accepted socket that gets no protocol."""
        self.over = True
        self._net.ends.remove(self)
        self.socket.close()

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", *self.host)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", *self.peer)

    def connectionLost(self, reason: Failure) -> None:
        if not self.over:
            self.over = True
            self._net.ends.remove(self)
            super().connectionLost(reason)

    # --- the line ---

    @property
    def due(self) -> bool:
        """Whether the reactor has something to do here: bytes that can be read, or can be written.

        Also while the program has not let it in yet, and will.
        """
        if self.protocol is None:
            return not self.over and not self._held
        wanted = (select.POLLIN if self._line.readers else 0) | (select.POLLOUT if self._line.writers else 0)
        if self.over or self._held or not wanted:
            return False
        poll = select.poll()
        poll.register(self.socket, wanted)
        return bool(poll.poll(0))

    @property
    def _held(self) -> bool:
        return self.severed or self.host[0] in self._net.frozen

    def push(self) -> None:
        """Read and write, or stop, as the net says now."""
        self._line.hold(self._held)

    def broken(self, reason: Failure) -> None:
        """Nothing crosses the socket any more; what reads there finds out as it would in production."""
        if not self.over:
            with suppress(OSError):  # the other side is gone already
                self.socket.shutdown(socket.SHUT_RDWR)


class _LineReactor:
    """What one end, and the TLS on it, take for their reactor: the real one's sockets, its machine's clock.

    While the line is held nobody is called, whatever the socket has; it is remembered who would be.
    """

    def __init__(self, reactor: Any, machine: Machine) -> None:
        self.readers: set[Any] = set()
        self.writers: set[Any] = set()
        self._reactor = reactor
        self._machine = machine
        self._held = False

    def hold(self, held: bool) -> None:
        self._held = held
        for one in self.readers:
            (self._reactor.removeReader if held else self._reactor.addReader)(one)
        for one in self.writers:
            (self._reactor.removeWriter if held else self._reactor.addWriter)(one)

    def addReader(self, reader: Any) -> None:
        self.readers.add(reader)
        if not self._held:
            self._reactor.addReader(reader)

    def addWriter(self, writer: Any) -> None:
        self.writers.add(writer)
        if not self._held:
            self._reactor.addWriter(writer)

    def removeReader(self, reader: Any) -> None:
        self.readers.discard(reader)
        self._reactor.removeReader(reader)

    def removeWriter(self, writer: Any) -> None:
        self.writers.discard(writer)
        self._reactor.removeWriter(writer)

    def seconds(self) -> float:
        return self._machine.seconds()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> IDelayedCall:
        return self._machine.callLater(delay, callable, *args, **kwargs)
