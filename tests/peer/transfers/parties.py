"""Two peers with transfers only: real links, real TLS, real stores, on loopback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from chatnet.core import messages
from chatnet.core.errors import Refused, Unreachable
from chatnet.core.events import Transfer, TransferState
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import Hello, Message, Welcome
from chatnet.host.database import Database
from chatnet.net.link import Link, LinkEnd
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.schema import MIGRATIONS
from chatnet.peer.transfers.manager import Transfers
from tests.support.links import Station, hello


class Party:
    """One peer.  ``told`` are the transfers it heard of; ``said`` the messages it sent on chat links."""

    def __init__(self, reactor: Any, folder: Path, limits: PeerLimits | None = None, **options: Any) -> None:
        self.limits = limits or PeerLimits()
        self.folder = folder
        self.told: list[Transfer] = []
        self.heard: list[Message] = []
        self.links: list[Link] = []
        self.ends: list[LinkEnd] = []
        self.others: dict[bytes, Party] = {}
        self.strangers: set[bytes] = set()
        self.unadmitted: set[bytes] = set()  # for whose offers there is no room among the requests
        self.turned_down: list[tuple[bytes, str, str]] = []
        self.dials_files = True
        self.dialling: dict[bytes, Any] = {}
        self.stopped = False
        self.features = (messages.RESUME, messages.SKIP, messages.OFFER_REST)
        self.reactor = reactor
        self.chats: dict[bytes, Link] = {}
        self.database = Database(folder / "peer.db", MIGRATIONS, reactor)
        self.store = PeerStore(self.database)
        self.station = Station(reactor, self, self.limits)  # type: ignore[arg-type]
        self.options = options
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    @property
    def peer(self) -> bytes:
        return self.station.peer

    @property
    def downloads(self) -> Path:
        return self.folder / "down"

    async def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        await self.database.open()
        self.transfers = Transfers(
            self.reactor,
            self.limits,
            self.store,
            os.fsencode(self.downloads),
            self,
            self,
            wall_ms=lambda: int(self.reactor.seconds() * 1000),
            waiting_ms=lambda: int(self.reactor.seconds() * 1000),
            **self.options,
        )
        await self.transfers.start()
        self.port = self.station.listen()

    async def stop(self) -> None:
        self.stopped = True
        for timer in self.dialling.values():
            timer.cancel()
        self.dialling.clear()
        await self.transfers.stop()
        await self.station.close()
        await self.database.close()

    async def restart(self) -> None:
        """A new process with the same key and disk, to be found at another port."""
        await self.stop()
        self.told.clear()
        self.chats.clear()
        self.database = Database(self.folder / "peer.db", MIGRATIONS, self.reactor)
        self.store = PeerStore(self.database)
        self.station = Station(self.reactor, self, self.limits, self.station.identity)  # type: ignore[arg-type]
        self.stopped = False
        await self.start()

    # --- TransferListener ---

    def receiver(self, peer: bytes) -> bytes:
        return peer

    def admit_offer(self, link: Link, fid: bytes, title: str) -> bool:
        return link.peer not in self.unadmitted

    async def check_space(self, peer: bytes) -> None:
        pass

    def offer_accepted(self, peer: bytes) -> None:
        self.strangers.discard(peer)

    def offer_dropped(self, peer: bytes, fid: bytes) -> None:
        pass

    def offer_turned_down(self, link: Link, fid: bytes, title: str, reason: str) -> None:
        self.turned_down.append((fid, title, reason))

    # --- TransferLinks ---

    def wake(self, peer: bytes) -> None:
        if peer not in self.dialling:
            self.dialling[peer] = self.reactor.callLater(0.02, self._dial, peer)

    def _dial(self, peer: bytes) -> None:
        del self.dialling[peer]
        if peer not in self.chats and not self.stopped and self.transfers.waits_for(peer):  # type: ignore[arg-type]
            dialling = Deferred.fromCoroutine(self.connect(peer))
            dialling.addErrback(lambda failure: self.wake(peer))

    async def connect(self, peer: bytes) -> None:
        if peer in self.chats and self.chats[peer].is_open:
            return
        if peer not in self.others:
            raise Unreachable("refused-connection", "nobody there")
        greeting = hello(features=self.features)
        self.chats[peer] = await self.station.dial(self.others[peer].port, peer, greeting)  # type: ignore[arg-type]

    async def dial_file(self, peer: bytes, fid: bytes, token: bytes, user: Any) -> Link:
        if not self.dials_files:
            raise Unreachable("refused-connection", "a wall stands before it")
        greeting = hello(messages.ROLE_FILE, features=self.features, fid=fid, token=token)
        port = self.others[peer].port
        link = await self.station.dialler.dial_host("127.0.0.1", port, user, greeting, peer)  # type: ignore[arg-type]
        self.station.dialled.append(link)
        return link

    # --- LinkUser ---

    async def answer(self, link: Link, greeting: Hello) -> Welcome:
        expected = self.transfers.expects(link.peer, greeting.fid, greeting.token)
        if greeting.role == messages.ROLE_FILE and not expected:
            raise Refused(messages.NOT_EXPECTED, "not expected")
        return Welcome(messages.VERSION, list(self.features), os.urandom(16), "peer")

    def opened(self, link: Link) -> None:
        self.links.append(link)
        if link.role == messages.ROLE_CHAT:
            self.chats[link.peer] = link
            self.transfers.link_up(link)
        elif not link.dialled:
            assert isinstance(link.greeting, Hello)
            self.transfers.file_link_opened(link, link.greeting.fid)
        self._look()

    def received(self, link: Link, message: Message) -> None:
        if link.role == messages.ROLE_CHAT:
            self.heard.append(message)
            self.transfers.received(link, message)
        else:
            self.transfers.file_received(link, message)
        self._look()

    def lost(self, link: Link, end: LinkEnd) -> None:
        self.ends.append(end)
        if link.role == messages.ROLE_FILE:
            self.transfers.file_link_lost(link, end)
        elif self.chats.get(link.peer) is link:
            del self.chats[link.peer]
            self.transfers.link_down(link, end)
        self._look()

    # --- TransferListener ---

    def transfer_changed(self, transfer: Transfer) -> None:
        self.told.append(transfer)
        self._look()

    def folder_of(self, peer: bytes) -> str:
        return "dave"

    def is_stranger(self, peer: bytes) -> bool:
        return peer in self.strangers

    # --- waiting ---

    def latest(self, fid: bytes | None = None) -> Transfer | None:
        return next((t for t in reversed(self.told) if fid in (None, t.fid)), None)

    async def until(self, condition: Callable[[], bool]) -> None:
        if not condition():
            waiting: Deferred[None] = Deferred()
            self._waiting.append((condition, waiting))
            await waiting.addTimeout(20, self.reactor)

    async def see(self, *states: TransferState, fid: bytes | None = None) -> Transfer:
        """The latest transfer (with ``fid``), once it is in one of ``states``."""

        def there() -> bool:
            latest = self.latest(fid)
            return latest is not None and latest.state in states

        await self.until(there)
        latest = self.latest(fid)
        assert latest is not None
        return latest

    async def end(self, fid: bytes | None = None) -> Transfer:
        return await self.see(*(state for state in TransferState if state.ended), fid=fid)

    def _look(self) -> None:
        for condition, waiting in tuple(self._waiting):
            if condition():
                self._waiting.remove((condition, waiting))
                waiting.callback(None)


def acquainted(*parties: Party) -> None:
    for one in parties:
        one.others = {other.peer: other for other in parties if other is not one}
