"""Peers as a registry sees them: a key, a name, a signed record, and the list they are told."""

from __future__ import annotations

from typing import Any

from chatnet.core.identity import PeerID
from chatnet.core.messages import ROLE_REGISTRY, Announce, Found, Hello, ListEntry, ListPage, Message
from chatnet.core.records import Endpoint, SignedRecord, endpoint, sign_record
from chatnet.net.dialling import Dialler
from chatnet.net.identity import Identity
from chatnet.net.link import Link
from chatnet.net.tls import TLS
from tests.support.links import Recorder, hello, new_identity, settings_for


class Guest(Recorder):
    """Signs in at a registry on 127.0.0.1 and keeps the list; its starter calls ``close``."""

    def __init__(self, reactor: Any, name: str, identity: Identity | None = None, seq: int = 1) -> None:
        super().__init__(on_message=self._take)
        self.name = name
        self.identity = identity or new_identity()
        self.seq = seq
        self.endpoints = [endpoint("127.0.0.1", 40_000)]
        self.list: dict[bytes, ListEntry] = {}
        self.cursor: bytes | None = None
        self.pages: list[ListPage] = []
        self.found: list[Found] = []
        self.dialled: list[Link] = []
        self._dialler = Dialler(reactor, TLS(self.identity), settings_for(reactor))

    @property
    def peer(self) -> PeerID:
        return self.identity.peer_id

    @property
    def link(self) -> Link:
        return self.dialled[-1]

    @property
    def names(self) -> set[str]:
        """Everybody in the list, itself too."""
        return {entry.name for entry in self.list.values()}

    def record(self) -> SignedRecord:
        return sign_record(self.identity.public_key, self.identity.sign, self.name, self.endpoints, self.seq, 0)

    def greeting(self, **changes: Any) -> Hello:
        fields: dict[str, Any] = {"name": self.name, "record": self.record(), "since": self.cursor} | changes
        return hello(ROLE_REGISTRY, **fields)

    async def join(self, port: int, greeting: Hello | None = None) -> Link:
        """An open link; raises Refused with the registry's reason."""
        link = await self._dialler.dial_host("127.0.0.1", port, self, greeting or self.greeting(), None)
        self.dialled.append(link)
        return link

    def announce(self, *endpoints: Endpoint) -> None:
        self.endpoints = list(endpoints)
        self.seq += 1
        self.link.send(Announce(self.record()))

    async def sees(self, *names: str) -> None:
        """Wait until the list is complete and holds exactly these."""
        await self.until(lambda: self.names == set(names) and not self.pages[-1].more)

    async def close(self) -> None:
        for link in self.dialled:
            link.abort()
            await link.when_gone()

    def _take(self, link: Link, message: Message) -> None:
        if isinstance(message, ListPage):
            if message.reset:
                self.list.clear()
            self.list.update((entry.peer, entry) for entry in message.joined)
            for gone in message.left:
                self.list.pop(gone, None)
            self.cursor = message.cursor
            self.pages.append(message)
        elif isinstance(message, Found):
            self.found.append(message)
