"""Where connections come in: ports, who may try, and a link for each.

Binding is synchronous, so that a busy port can stop the program with one plain line before
anything else has begun.
"""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, cast

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IReactorSocket
from twisted.internet.task import deferLater
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core.admission import Admission
from chatnet.core.errors import LocalError
from chatnet.core.known_sources import KnownSources
from chatnet.core.limits import FAREWELLS_PER_TURN, LINKS_CLOSING
from chatnet.core.messages import STRUCK
from chatnet.core.meters import Spread
from chatnet.core.strikes import refusal
from chatnet.net.entrance import Arrived, Entrance
from chatnet.net.link import First, Link, LinkSettings, LinkUser
from chatnet.net.tls import TLS

BACKLOG = 1024  # a herd after a restart waits in the kernel, not in retries
_OTHER_KIND = "this kind of endpoint cannot be used; use tcp:, unix: or systemd:"


class LinkFactory:
    """A link for each connection that is admitted, in the order of ``core.admission``.

    ``reserved`` places beside the ``unauthenticated`` ones are for connections of the sources that ``known`` has.
    """

    log = Logger("chatnet.listening")

    def __init__(
        self,
        settings: LinkSettings,
        user: LinkUser,
        unauthenticated: int,
        send_buffer_bytes: int = 0,
        *,
        reserved: int = 0,
        known: KnownSources | None = None,
    ) -> None:
        self._settings = settings
        self._user = user
        self._admission = Admission(settings.limits, unauthenticated, reserved, known)
        self.send_buffer_bytes = send_buffer_bytes
        self.links: set[Link] = set()  # every connection that has not ended, open or not
        self.refusals: Counter[str] = Counter()  # before anybody was heard, by reason
        self.says_farewell = False  # the program ends: all links close at once, and none is cut for another
        self._closing: dict[Link, None] = {}  # in order, the oldest first

    # --- for the entrance ---

    def arrive(self, arrived: Arrived) -> bool:
        arrival = self._admission.arrive(arrived, arrived.host, self._settings.clock.seconds())
        arrived.is_first = arrival.is_first
        self._cut(arrival.dropped)
        if not arrival.admitted:
            self.refusals["source-limit"] += 1
            self.log.info("refused {host}: too many connections from there", host=arrived.host)
        return arrival.admitted

    def let_in(self) -> Arrived | None:
        turn = self._admission.next()
        if turn is None:
            return None
        self._cut(turn.evicted)
        arrived = cast(Arrived, turn.ticket)
        link = arrived.link = Link(self._settings, self._user, (arrived.host, arrived.port))
        link.put_first(First.SOURCE, arrived.is_first)
        self.links.add(link)
        link.on_proven = partial(self._proven, arrived)
        link.on_closing = self._is_closing
        link.when_gone().addCallback(self._ended, arrived, link)
        return arrived

    @property
    def waiting(self) -> int:
        return self._admission.waiting

    def turn_away(self) -> None:
        for arrived in self._admission.drain():
            cast(Arrived, arrived).refuse()

    # --- what is counted ---

    @property
    def unproven(self) -> int:
        """How many have not proven a key and said hello yet."""
        return len(self._admission)

    @property
    def fullness(self) -> float:
        """How full the places of those are, of all or of one source; 1 is full."""
        return self._admission.fullness

    @property
    def handshakes(self) -> Spread:
        """Seconds that they took, dialled ones too."""
        return self._settings.handshakes

    @property
    def strikes(self) -> int:
        """How many were given, on dialled links too."""
        return self._settings.strikes.given

    def _cut(self, arrived: Hashable | None) -> None:
        """Close a connection that has lost its place, or the wait for one, to another."""
        if isinstance(arrived, Arrived):
            self.refusals["not-served" if arrived.link is None else "evicted"] += 1
            if arrived.link is None:
                arrived.refuse()
            else:
                arrived.link.abort("busy", "too many connections are waiting")

    def _proven(self, arrived: Arrived, link: Link) -> None:
        self._admission.done(arrived)
        link.put_first(First.SOURCE, False)
        ban_seconds = self._settings.strikes.ban_seconds(link.peer, self._settings.clock.seconds())
        if ban_seconds:
            self.refusals[STRUCK] += 1
            raise refusal(ban_seconds)

    def _is_closing(self, link: Link) -> None:
        """Note that a link is closing, because it was refused or has lost its place.

        It counts nowhere else any more.  At most LINKS_CLOSING such links wait for their end: the oldest is cut.
        """
        self._closing[link] = None
        if len(self._closing) > LINKS_CLOSING and not self.says_farewell:
            next(iter(self._closing)).abort("closed", "too many links were closing")

    def _ended(self, _: object, arrived: Arrived, link: Link) -> None:
        self._admission.done(arrived)
        arrived.link = None  # which would be a cycle
        self._closing.pop(link, None)
        self.links.discard(link)


class Listener:
    """The open ports of one program; its owner calls ``close``."""

    def __init__(self, reactor: Any, tls: TLS, factory: LinkFactory) -> None:
        self._reactor = reactor
        self._factory = factory
        self._entrance = Entrance(reactor, tls, factory, factory.send_buffer_bytes)
        self.ports: list[IListeningPort] = []

    def listen(self, endpoints: tuple[str, ...]) -> None:
        """Bind every endpoint string; raises CannotListenError, with nothing left open."""
        try:
            for description in endpoints:
                self._add(bound(serverFromString(self._reactor, description), self._entrance))
        except BaseException:
            self._drop_ports()
            raise

    def listen_everywhere(self, port: int) -> None:
        """Listen on IPv4 and IPv6, each on a port of its own with the same number; 0 chooses one.

        One dual-stack port would make every IPv4 client look like a neighbour in one /64.
        Raises CannotListenError, with nothing left open.
        """
        attempts = 8 if port == 0 else 1
        for attempt in range(attempts):
            try:
                self._add(self._reactor.listenTCP(port, self._entrance, backlog=BACKLOG))
                six = self._listen_ipv6(self.port)
                if six is not None:
                    self._add(six)
                return
            except CannotListenError:
                self._drop_ports()
                if attempt == attempts - 1:
                    raise

    @property
    def port(self) -> int:
        """The number of the first port."""
        return cast(int, getattr(self.ports[0].getHost(), "port", 0))

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """``(interface, port)`` of every port; the interface may be the unspecified address."""
        hosts: list[Any] = [port.getHost() for port in self.ports]
        return tuple((host.host, host.port) for host in hosts if hasattr(host, "host"))

    def stop_accepting(self) -> Deferred[Any]:
        """Close the ports; links live on."""
        ports, self.ports = self.ports, []
        self._entrance.close()
        return gatherResults([_as_deferred(port.stopListening()) for port in ports], consumeErrors=True)

    async def close(self, farewell: Callable[[Link], None]) -> None:
        """Close the ports, say ``farewell`` to every link, some in each turn, and wait until all are gone."""
        self._factory.says_farewell = True
        await self.stop_accepting()
        for number, link in enumerate(tuple(self._factory.links), 1):
            farewell(link)
            if number % FAREWELLS_PER_TURN == 0:
                await deferLater(self._reactor, 0)
        while self._factory.links:
            await next(iter(self._factory.links)).when_gone()

    def _add(self, port: IListeningPort) -> None:
        if isinstance(port, Port):
            self.ports.append(port)
        if not isinstance(port, Port) or port.factory is not self._entrance:
            # ssl: and haproxy: put a factory of their own before ours, and stdio: accepts nothing.
            raise LocalError("listen", _OTHER_KIND)
        self._entrance.guard(port)

    def _listen_ipv6(self, port: int) -> IListeningPort | None:
        if not socket.has_ipv6:
            return None
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.setblocking(False)
            try:
                bound.bind(("::", port))
                bound.listen(BACKLOG)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise CannotListenError("::", port, error) from None
                return None  # a machine without IPv6
            adopting = IReactorSocket(self._reactor)
            return adopting.adoptStreamPort(bound.fileno(), socket.AF_INET6, self._entrance)

    def _drop_ports(self) -> None:
        for port in self.ports:
            port.stopListening()
        self.ports = []


def bound(endpoint: Any, factory: Any) -> IListeningPort:
    """Return the port of an endpoint whose listening needs no waiting, as all of Twisted's own do.

    Raises LocalError("listen") otherwise.
    """
    outcome: list[Any] = []
    endpoint.listen(factory).addBoth(outcome.append)
    if not outcome:
        raise LocalError("listen", _OTHER_KIND)
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return cast(IListeningPort, outcome[0])


def _as_deferred(result: Any) -> Deferred[Any]:
    if isinstance(result, Deferred):
        return result
    done: Deferred[Any] = Deferred()
    done.callback(result)
    return done
