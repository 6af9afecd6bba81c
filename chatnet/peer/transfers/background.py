"""Background work of transfers, counted for each peer so that a flood stays with who sends it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import BACKGROUND_TASKS
from chatnet.net.background import BackgroundTasks
from chatnet.net.link import Link
from chatnet.peer.transfers.chat_line import ChatLine


class TransferTasks:
    """Owns the work that nobody awaits, and the chat links that transfers talk on."""

    log = Logger("chatnet.transfers")

    def __init__(self, clock: Any) -> None:
        self.lines: dict[PeerID, ChatLine] = {}
        self._clock = clock
        self._tasks = BackgroundTasks(self.log)
        self._running: Counter[PeerID] = Counter()
        self._unread: dict[PeerID, Link] = {}

    def stop(self) -> None:
        """Cancel everything that still runs."""
        self._tasks.stop()

    def spawn(self, peer: PeerID, work: Coroutine[Any, Any, None], what: str) -> Deferred[None]:
        """Run ``work`` by itself, counted for ``peer``; ``what`` says what it does, for the log."""
        self._running[peer] += 1
        running = self._tasks.spawn(work, f"{what} ({short_text(peer)})")
        return running.addCallback(lambda _: self._over(peer))

    # --- chat links -----------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """Talk on this link from now on."""
        self._unread.pop(link.peer, None)
        self.lines[link.peer] = ChatLine(self._clock, link, self._tasks, lambda: self._read_on(link.peer))

    def link_down(self, link: Link) -> bool:
        """Talk on this link no more; return False when another one has taken its place already."""
        line = self.lines.get(link.peer)
        if line is None or line.link is not link:
            return False
        del self.lines[link.peer]
        self._unread.pop(link.peer, None)
        return True

    # --- back-pressure --------------------------------------------------------------------------

    def throttle(self, link: Link) -> None:
        """Read no further while too much is under way with this peer."""
        if self._under_way(link.peer) >= BACKGROUND_TASKS:
            link.pause_reading("background")
            self._unread[link.peer] = link

    def _over(self, peer: PeerID) -> None:
        self._running[peer] -= 1
        if not self._running[peer]:
            del self._running[peer]
        self._read_on(peer)

    def _read_on(self, peer: PeerID) -> None:
        if peer in self._unread and self._under_way(peer) < BACKGROUND_TASKS // 2:
            self._unread.pop(peer).resume_reading("background")

    def _under_way(self, peer: PeerID) -> int:
        line = self.lines.get(peer)
        return self._running[peer] + (line.waiting if line is not None else 0)
