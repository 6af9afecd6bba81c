"""Dialling again those with whom something is unfinished, with growing waits, until there is a link."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core.backoff import Uniform, online_wait, peer_wait
from chatnet.core.errors import ChatnetError
from chatnet.core.identity import PeerID
from chatnet.net.background import BackgroundTasks
from chatnet.net.timers import cancel_timer


class Redial:
    """One timer a peer.  ``waits`` tells whether there is anything to do, ``connect`` sees to a link."""

    log = Logger("chatnet.redial")

    def __init__(
        self,
        clock: Any,
        cap_seconds: float,
        uniform: Uniform,
        connect: Callable[[PeerID], Coroutine[Any, Any, None]],
        waits: Callable[[PeerID], bool],
    ) -> None:
        self._clock = clock
        self._cap = cap_seconds
        self._uniform = uniform
        self._connect = connect
        self._waits = waits
        self._tasks = BackgroundTasks(self.log)
        self._linked: set[PeerID] = set()
        self._failures: dict[PeerID, int] = {}
        self._timers: dict[PeerID, IDelayedCall] = {}
        self._dialling: set[PeerID] = set()
        self._stopped = False

    def stop(self) -> None:
        """No timer and no dial is left."""
        self._stopped = True
        self._tasks.stop()
        for peer in tuple(self._timers):
            self._put_off(peer)

    def wake(self, peer: PeerID) -> None:
        """Something begins to wait for ``peer``."""
        if peer not in self._linked and peer not in self._timers:
            self._now(peer) if not self._failures.get(peer) else self._later(peer)

    def came_online(self, peer: PeerID, listed: int) -> None:
        """A sign of life of ``peer``: one early try."""
        if peer not in self._linked:
            self._after(peer, online_wait(listed, self._uniform))

    def link_up(self, peer: PeerID) -> None:
        """A link is open."""
        self._linked.add(peer)
        self._failures.pop(peer, None)
        self._put_off(peer)

    def link_down(self, peer: PeerID) -> None:
        """It is gone."""
        self._linked.discard(peer)
        self._later(peer)

    def _later(self, peer: PeerID) -> None:
        self._after(peer, peer_wait(self._failures.get(peer, 0), self._cap, self._uniform))

    def _after(self, peer: PeerID, seconds: float) -> None:
        self._put_off(peer)
        if not self._stopped and self._waits(peer):
            self._timers[peer] = self._clock.callLater(seconds, self._now, peer)

    def _now(self, peer: PeerID) -> None:
        self._put_off(peer)
        if not self._stopped and self._waits(peer) and peer not in self._linked | self._dialling:
            self._dialling.add(peer)
            self._tasks.spawn(self._dial(peer), "dialling again")

    async def _dial(self, peer: PeerID) -> None:
        try:
            await self._connect(peer)
        except ChatnetError:
            self._failures[peer] = self._failures.get(peer, 0) + 1
            self._later(peer)
        finally:
            self._dialling.discard(peer)

    def _put_off(self, peer: PeerID) -> None:
        cancel_timer(self._timers.pop(peer, None))
