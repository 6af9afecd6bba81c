"""Two programs' links on loopback: real sockets, real TLS, no reactor imported at load."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred

from chatnet.core.identity import PeerID
from chatnet.core.known_sources import KnownSources
from chatnet.core.limits import LinkLimits, PeerLimits
from chatnet.core.messages import ROLE_CHAT, VERSION, Hello, Message, VersionRange, Welcome
from chatnet.net.dialling import Dialler
from chatnet.net.identity import Identity
from chatnet.net.link import Link, LinkEnd, LinkSettings
from chatnet.net.listening import LinkFactory, Listener
from chatnet.net.pulse import Pulse
from chatnet.net.tls import TLS


def new_identity() -> Identity:
    return Identity(Ed25519PrivateKey.generate(), made=True)


def hello(role: str = ROLE_CHAT, name: str = "carol", features: Sequence[str] = (), **fields: Any) -> Hello:
    return Hello(VersionRange(VERSION, VERSION), list(features), role, os.urandom(16), name, **fields)


def settings_for(reactor: Any, limits: LinkLimits | None = None, queue_bytes: int = 1_000_000) -> LinkSettings:
    return LinkSettings(limits or PeerLimits(), queue_bytes, Pulse(reactor), lambda: 0.5)


class Recorder:
    """A LinkUser that agrees to everybody and writes down what comes."""

    def __init__(
        self,
        refuse: Exception | None = None,
        on_message: Callable[[Link, Message], None] | None = None,
        features: Sequence[str] = (),
    ) -> None:
        self.refuse = refuse
        self.features = features
        self.on_message = on_message
        self.links: list[Link] = []
        self.messages: list[Message] = []
        self.ends: list[LinkEnd] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    async def answer(self, link: Link, greeting: Hello) -> Welcome:
        if self.refuse is not None:
            raise self.refuse
        return Welcome(VERSION, list(self.features), os.urandom(16), "bob")

    def opened(self, link: Link) -> None:
        self.links.append(link)
        self._look()

    def received(self, link: Link, message: Message) -> None:
        self.messages.append(message)
        if self.on_message is not None:
            self.on_message(link, message)
        self._look()

    def lost(self, link: Link, end: LinkEnd) -> None:
        self.ends.append(end)
        self._look()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that happened here makes ``condition`` true."""
        if not condition():
            waiting: Deferred[None] = Deferred()
            self._waiting.append((condition, waiting))
            await waiting

    def _look(self) -> None:
        for condition, waiting in tuple(self._waiting):
            if condition():
                self._waiting.remove((condition, waiting))
                waiting.callback(None)


class Station:
    """One program on loopback: listens and dials with one key."""

    def __init__(
        self,
        reactor: Any,
        user: Recorder | None = None,
        limits: LinkLimits | None = None,
        identity: Identity | None = None,
        known: KnownSources | None = None,
        **settings: Any,
    ) -> None:
        self.reactor = reactor
        self.identity = identity or new_identity()
        self.tls = TLS(self.identity)
        self.user = user or Recorder()
        self.settings = settings_for(reactor, limits, **settings)
        self.factory = LinkFactory(self.settings, self.user, unauthenticated=32, reserved=16, known=known)
        self.listener = Listener(reactor, self.tls, self.factory)
        self.dialler = Dialler(reactor, self.tls, self.settings)
        self.dialled: list[Link] = []

    @property
    def peer(self) -> PeerID:
        return self.identity.peer_id

    def listen(self) -> int:
        self.listener.listen(("tcp:0:interface=127.0.0.1",))
        return self.listener.port

    async def dial(self, port: int, expected: PeerID | None, greeting: Hello | None = None) -> Link:
        link = await self.dialler.dial_host("127.0.0.1", port, self.user, greeting or hello(), expected)
        self.dialled.append(link)
        return link

    async def close(self) -> None:
        for link in self.dialled:
            link.abort()
        await self.listener.close(lambda link: link.abort())
