"""A small web server on a port of its own, on this machine only unless it is told otherwise.

``twisted.web`` is imported only where such a port is opened.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure

from chatnet.core.limits import WEB_CONNECTIONS, WEB_SECONDS
from chatnet.net.bind_errors import cannot_listen
from chatnet.net.listening import bound
from chatnet.net.timers import cancel_timer

if TYPE_CHECKING:
    from twisted.web.resource import IResource
    from twisted.web.server import Site

LOOPBACK = ":interface=127.0.0.1"
MISDIRECTED = 421  # RFC 9110, section 15.5.20


def on_loopback(endpoint: str) -> str:
    """Return ``endpoint``, on 127.0.0.1 only unless it names an interface."""
    return endpoint + LOOPBACK if re.match(r"tcp:(?!.*interface=)", endpoint) else endpoint


def any_host(host: str) -> bool:
    """Return True: this is the check of a site that may be asked for under every name."""
    return True


def own_host(host: str) -> bool:
    """Return whether a site of this machine is asked for: by an address, as localhost, or by the machine's host name.

    A foreign web page has a domain of its own in its Host header, wherever that points, and never an address.
    """
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.lower() in ("localhost", socket.gethostname().lower())
    return True


class _BriefConnection(ProtocolWrapper):
    """A connection that is cut when its time is over."""

    _timer: IDelayedCall | None = None

    def connectionMade(self) -> None:
        super().connectionMade()  # type: ignore[no-untyped-call]
        cut: Any = self.transport
        self._timer = self.factory.reactor.callLater(WEB_SECONDS, cut.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        cancel_timer(self._timer)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]


class _FewConnections(WrappingFactory):
    """A site with a few short connections at a time; more are closed at once."""

    noisy = False
    protocol = _BriefConnection

    def __init__(self, reactor: Any, site: Site) -> None:
        super().__init__(site)  # type: ignore[no-untyped-call]
        self.reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if len(self.protocols) >= WEB_CONNECTIONS:
            return None
        return super().buildProtocol(addr)

    def cut_all(self) -> None:
        for one in tuple(self.protocols):
            one.transport.abortConnection()


class WebPort:
    """One port and the site that is served there, to a few connections at a time.

    ``endpoint`` is a server endpoint string; ``tcp:`` without an interface means 127.0.0.1.
    ``make_site`` is called when the port is opened.  ``usual_port`` is the number that is proposed
    where the given one is not permitted.
    """

    def __init__(self, reactor: Any, endpoint: str, make_site: Callable[[], Site], usual_port: int) -> None:
        self._reactor = reactor
        self._endpoint = on_loopback(endpoint)
        self._make_site = make_site
        self._usual_port = usual_port
        self._port: IListeningPort | None = None
        self._connections: _FewConnections | None = None

    def open(self) -> None:
        """Bind the port.  Raises CannotListen, or LocalError for a kind of endpoint that takes its time."""
        self._connections = _FewConnections(self._reactor, self._make_site())
        try:
            self._port = bound(serverFromString(self._reactor, self._endpoint), self._connections)
        except CannotListenError as error:
            raise cannot_listen(error, self._endpoint, self._usual_port) from None

    @property
    def address(self) -> Any:
        """Return where it listens, once it is open: ``host`` and ``port``, or the name of a unix socket."""
        assert self._port is not None
        return self._port.getHost()

    def close(self) -> Deferred[Any]:
        """Stop listening, and cut who is connected; fires when the port is free."""
        if self._connections is not None:
            self._connections.cut_all()
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening if port is not None else lambda: None)


def quiet_site(pages: Mapping[bytes, IResource], is_expected_host: Callable[[str], bool] = any_host) -> Site:
    """Return a site with ``pages`` below its root and nothing else, which logs no request and shows no traceback.

    ``is_expected_host`` is asked about the name in each request's Host header, without its port; a
    request for another name is refused before any page sees it.  A page that trusts whoever
    reaches this machine needs that: a foreign web page can have a name of its own point here
    (DNS rebinding).
    """
    from twisted.web.pages import errorPage, notFound
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Root(Resource):
        def getChildWithDefault(self, path: bytes, request: Any) -> Any:
            host = request.getRequestHostname().decode("ascii", "replace")
            if not is_expected_host(host):
                return errorPage(MISDIRECTED, "Misdirected Request", "This server is not known by that name.")
            return super().getChildWithDefault(path, request)  # type: ignore[no-untyped-call]

        def getChild(self, path: bytes, request: Any) -> Any:
            return notFound()

    class QuietSite(Site):
        noisy = False
        displayTracebacks = False

        def log(self, request: Any) -> None:
            """Log nothing: requests are too many to be of interest."""

    root = Root()  # type: ignore[no-untyped-call]
    for path, page in pages.items():
        root.putChild(path, page)
    return QuietSite(root)  # type: ignore[no-untyped-call]
