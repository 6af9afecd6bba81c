"""Background work of transfers: messages and coroutines that nobody awaits, owned so that ``stop`` can cancel them."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import BACKGROUND_TASKS
from chatnet.core.messages import Message
from chatnet.net.background import BackgroundTasks
from chatnet.net.link import Link, LinkUser


class TransferLinks(Protocol):
    """The ways to the others."""

    async def send(self, peer: PeerID, message: Message) -> None:
        """Queue a message on the chat link, dialled if there is none, once that is not congested.

        Raises Unreachable, or another ChatnetError.
        """

    async def connect(self, peer: bytes) -> None:
        """See to an open chat link, dialled if there is none.  Raises ChatnetError."""

    async def dial_file(self, peer: PeerID, fid: bytes, token: bytes, user: LinkUser) -> Link:
        """An open link of role ``file`` that serves ``user``.  Raises ChatnetError."""


class TransferTasks:
    """Background tasks, counted for each peer so that a flood can be held back; ``stop`` cancels them."""

    log = Logger("chatnet.transfers")

    def __init__(self, clock: Any, links: TransferLinks) -> None:
        self._clock = clock
        self._links = links
        self._tasks = BackgroundTasks(self.log)
        self._going: dict[PeerID, set[Deferred[None]]] = {}
        self._unread: dict[PeerID, Link] = {}

    def stop(self) -> None:
        self._tasks.stop()

    def send(self, peer: PeerID, message: Message) -> None:
        """Send on the chat link, without waiting; if it cannot be, the file link's end will tell."""
        self.spawn(peer, self._links.send(peer, message))

    def spawn(self, peer: PeerID, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` by itself, counted for ``peer``; its failure has a line in the log."""
        going = self._tasks.spawn(work, f"working on transfers with {short_text(peer)}")
        self._going.setdefault(peer, set()).add(going)
        going.addCallback(lambda _: self._over(peer, going))

    def throttle(self, link: Link) -> None:
        """Read no further while too much is under way with its peer: a flood stays with who sends it."""
        if len(self._going.get(link.peer, ())) >= BACKGROUND_TASKS:
            link.pause_reading("background")
            self._unread[link.peer] = link

    def _over(self, peer: PeerID, going: Deferred[None]) -> None:
        those = self._going[peer]
        those.discard(going)
        if not those:
            del self._going[peer]
        if len(those) < BACKGROUND_TASKS // 2 and peer in self._unread:
            self._unread.pop(peer).resume_reading("background")

    async def send_pages(self, peer: PeerID, pages: Iterable[Message]) -> None:
        for page in pages:
            await self._links.send(peer, page)
            await deferLater(self._clock, 0)  # a hundred pages are not one turn's work


async def done(work: Deferred[Any]) -> None:
    await work
