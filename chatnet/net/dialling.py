"""Opening a link: several addresses of one key, tried with a stagger; the first that opens stays.

Source of the stagger: RFC 8305 (happy eyeballs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectionRefusedError, TimeoutError, UserError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory

from chatnet.core import messages
from chatnet.core.addresses import host_port
from chatnet.core.errors import ChatnetError, Refused, RemoteError, Unreachable, WrongKey
from chatnet.core.identity import PeerID
from chatnet.core.messages import Hello
from chatnet.core.strikes import in_words
from chatnet.net.link import Link, LinkSettings, LinkUser
from chatnet.net.timers import cancel_timer
from chatnet.net.tls import TLS


class _OneLink(Factory):
    """Hands out the link that was made for this dial."""

    noisy = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def buildProtocol(self, addr: object) -> Link:
        return self._link


class Dialler:
    """Dials for one program, with its key."""

    def __init__(self, reactor: Any, tls: TLS, settings: LinkSettings) -> None:
        self._reactor = reactor
        self._tls = tls
        self._settings = settings

    async def dial(
        self,
        endpoint: IStreamClientEndpoint,
        remote: tuple[str, int],
        user: LinkUser,
        hello: Hello,
        expected: PeerID | None,
        made: Callable[[Link], None] = lambda link: None,
    ) -> Link:
        """Return an open link to the key ``expected`` (None: whoever answers).

        ``made`` is called with it before it is open.  Raises WrongKey, Refused (with the other's code), RemoteError or
        Unreachable.  A dial that is cancelled closes its connection.
        """
        ban_seconds = self._settings.strikes.ban_seconds(expected, self._settings.clock.seconds()) if expected else 0
        if ban_seconds:
            text = f"its program broke the protocol too often; it is dialled again in {in_words(ban_seconds)}"
            raise Refused(messages.STRUCK, text, ban_seconds)
        link = Link(self._settings, user, remote, hello, expected)
        made(link)
        connecting = endpoint.connect(self._tls.wrap(_OneLink(link), dialling=True))
        try:
            await connecting
        except (ConnectError, UserError, OSError) as error:
            raise Unreachable(*explain(error)) from None
        try:
            return await link.opening
        finally:
            if not link.is_open:
                link.abort()

    async def dial_host(
        self,
        host: str,
        port: int,
        user: LinkUser,
        hello: Hello,
        expected: PeerID | None,
        made: Callable[[Link], None] = lambda link: None,
    ) -> Link:
        """Open a link as ``dial`` does, to a host name or an address."""
        return await self.dial(self.endpoint(host, port), (host, port), user, hello, expected, made)

    def endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        seconds = self._settings.limits.connect_seconds
        if ":" in host:
            return TCP6ClientEndpoint(self._reactor, host, port, timeout=seconds)
        if host.replace(".", "").isdigit():
            return TCP4ClientEndpoint(self._reactor, host, port, timeout=seconds)
        return HostnameEndpoint(self._reactor, host, port, timeout=seconds)

    async def dial_any(
        self,
        addresses: Sequence[tuple[str, int]],
        user: LinkUser,
        hello: Hello,
        expected: PeerID,
        stagger_seconds: float,
        tried: Callable[[tuple[str, int], ChatnetError], None] = lambda address, error: None,
    ) -> Link:
        """Return the first link that opens; the others are cut.  ``tried`` is called with each failure.

        Raises the most telling failure: WrongKey, then Refused, then Unreachable with one clause
        for each address, then an exception that is not ours.
        """
        addresses = tuple(dict.fromkeys(addresses))  # one that is named twice fails once
        if not addresses:
            raise Unreachable("no-address", "no address is known")
        won: Deferred[Link] = Deferred()
        failures: dict[tuple[str, int], Exception] = {}
        links: list[Link] = []
        attempts: list[Deferred[None]] = []
        wake: Deferred[None] = Deferred()

        def nudge() -> None:
            if not wake.called:
                wake.callback(None)

        async def attempt(address: tuple[str, int]) -> None:
            try:
                link = await self.dial_host(*address, user, hello, expected, links.append)
            except Exception as error:  # one that is not ours must not keep us waiting for the others
                failures[address] = error
                if isinstance(error, ChatnetError):
                    tried(address, error)
                if len(failures) == len(addresses) and not won.called:
                    won.errback(_most_telling(failures))
            else:
                link.has_siblings = any(one is not link and one.said_hello for one in links)
                link.leave() if won.called else won.callback(link)
            nudge()

        try:
            for address in addresses:
                wake = Deferred()
                attempts.append(Deferred.fromCoroutine(attempt(address)))
                timer = self._reactor.callLater(stagger_seconds, nudge)
                try:
                    await wake
                finally:
                    cancel_timer(timer)
                if won.called:
                    break
            return await won
        finally:
            won.addErrback(lambda failure: None)  # cancelled before anybody waited for it
            for pending in attempts:
                pending.addErrback(lambda failure: None)
                pending.cancel()


def explain(error: BaseException) -> tuple[str, str]:
    """Return ``(code, words)`` of a failed connect."""
    if isinstance(error, ConnectionRefusedError):
        return "connection-refused", "connection refused"
    if isinstance(error, (TimeoutError, UserError)):
        return "timed-out", "timed out"
    text = str(error) or type(error).__name__
    return "unreachable", text.rstrip(".").lower()[:120]


def _most_telling(failures: dict[tuple[str, int], Exception]) -> Exception:
    for kind in (WrongKey, Refused, RemoteError):
        for error in failures.values():
            if isinstance(error, kind):
                return error
    unreachable = {address: error for address, error in failures.items() if isinstance(error, ChatnetError)}
    if not unreachable:
        return next(iter(failures.values()))
    clauses = [f"{host_port(*address)} {error.text}" for address, error in unreachable.items()]
    return Unreachable(next(iter(unreachable.values())).code, ", ".join(clauses))
