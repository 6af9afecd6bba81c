"""The entrance: connections that were accepted and have no link yet.

A link with its TLS costs half a millisecond to make, to take a connection from the kernel a tenth of that.  So
all connections are taken as they come, since the kernel's queue knows no other order, and links are made for them in
the order of ``core.admission``, as far as the turns of the reactor have time for it.  Whoever waits is an open
socket and nothing more.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ServerFactory

from chatnet.core.budgets import UNIX
from chatnet.core.limits import ACCEPTS_PER_TURN
from chatnet.net.link import Link
from chatnet.net.tls import TLS


class Arrived:
    """One accepted connection: where it comes from, its socket until it is let in, and then its link."""

    def __init__(self, addr: IAddress | None) -> None:
        host, self.port = getattr(addr, "host", UNIX), getattr(addr, "port", 0)
        self.host = host.removeprefix("::ffff:") if "." in host else host
        self.is_first = False  # it comes from a known source
        self.link: Link | None = None
        self.socket: socket.socket | None = None
        self.make_transport: Callable[[Any], Any] | None = None  # Twisted's, around a protocol

    def makeConnection(self, transport: object) -> None:
        """Do nothing: Twisted takes this for the protocol, which the connection does not have yet."""

    def refuse(self) -> None:
        """Close the connection without a link."""
        if self.socket is not None:
            self.socket.close()


class Links(Protocol):
    """Decides which connections get a link, and makes these links."""

    def arrive(self, arrived: Arrived) -> bool:
        """Whether the connection may wait for its turn."""

    def let_in(self) -> Arrived | None:
        """Make the link of the next that waits; None when nobody does."""

    @property
    def waiting(self) -> int:
        """How many wait."""

    def turn_away(self) -> None:
        """Refuse everybody who waits."""


class Entrance(ServerFactory):
    """The factory of ports: puts TLS under each link that is made.  Its owner calls ``close`` when it ends.

    ``send_buffer_bytes`` is the kernel's for each connection, 0 its own choice.
    """

    noisy = False

    def __init__(self, reactor: Any, tls: TLS, links: Links, send_buffer_bytes: int = 0) -> None:
        self._reactor = reactor
        self._turns = tls.turns
        self._tls = tls.wrap(self, dialling=False, send_buffer_bytes=send_buffer_bytes)
        self._links = links
        self._ports: list[Any] = []
        self._accepting = False  # in this turn
        self._asked = False  # for a turn in which the next is let in

    def guard(self, port: Any) -> None:
        """Keep what ``port`` accepts, one of Twisted's with this factory, until it is let in."""
        port.transport = partial(self._keep, port.transport)
        self._ports.append(port)

    def close(self) -> None:
        """Turn away whoever waits."""
        self._ports = []
        self._links.turn_away()

    # --- called by the port for each connection, in this order ---

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if not self._accepting:
            self._accepting = True
            self._reactor.callLater(0, self._next_turn)
        arrived = Arrived(addr)
        return arrived if self._links.arrive(arrived) else None

    def _keep(
        self, server: Any, accepted: socket.socket, arrived: Arrived, client: Any, port: Any, number: int, reactor: Any
    ) -> Arrived:
        """Keep an accepted connection; called in place of ``server``, the class of the port's transports."""
        arrived.socket = accepted
        arrived.make_transport = lambda protocol: server(accepted, protocol, client, port, number, reactor)
        if arrived.is_first:
            self._turns.run(self._reactor, self._let_in, first=True)
        else:
            self._ask()
        return arrived

    def _next_turn(self) -> None:
        """Set how many connections Twisted accepts in a turn.

        By itself it takes as many as came last, and 20 more if these were all that it might take.
        """
        self._accepting = False
        for port in self._ports:
            port.numberAccepts = ACCEPTS_PER_TURN

    # --- letting in ---

    def _ask(self) -> None:
        if not self._asked and self._links.waiting:
            self._asked = True
            self._turns.run_last(self._reactor, self._let_next_in)

    def _let_next_in(self) -> None:
        self._asked = False
        try:
            self._let_in()
        finally:
            self._ask()

    def _let_in(self) -> None:
        arrived = self._links.let_in()
        if arrived is not None and arrived.link is not None and arrived.make_transport is not None:
            protocol = self._tls.protocol_for(arrived.link, first=arrived.is_first)
            transport = arrived.make_transport(protocol)
            arrived.socket = arrived.make_transport = None  # the transport's from now on
            protocol.makeConnection(transport)
