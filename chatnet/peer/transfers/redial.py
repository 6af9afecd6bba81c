"""Dialling again those with whom something is unfinished, with growing waits, until there is a link."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.interfaces import IDelayedCall

from chatnet.core.backoff import Uniform, peer_wait
from chatnet.core.errors import ChatnetError
from chatnet.core.identity import PeerID
from chatnet.net.timers import cancel_timer


class Redial:
    """One timer a peer.  ``waits`` tells whether there is anything to do, ``go`` does it over an open
    link, ``connect`` sees to one, ``spawn`` owns what runs by itself.
    """

    def __init__(
        self,
        clock: Any,
        cap_seconds: float,
        uniform: Uniform,
        *,
        connect: Callable[[PeerID], Coroutine[Any, Any, None]],
        waits: Callable[[PeerID], bool],
        go: Callable[[PeerID], None],
        spawn: Callable[[PeerID, Coroutine[Any, Any, None]], None],
    ) -> None:
        self.linked: set[PeerID] = set()
        self._clock = clock
        self._cap = cap_seconds
        self._uniform = uniform
        self._connect = connect
        self._waits = waits
        self._go = go
        self._hold = spawn
        self._failures: dict[PeerID, int] = {}
        self._timers: dict[PeerID, IDelayedCall] = {}
        self._dialling: set[PeerID] = set()
        self._stopped = False

    def up(self, peer: PeerID) -> None:
        """A link is open."""
        self.linked.add(peer)
        self._failures.pop(peer, None)
        self._put_off(peer)

    def down(self, peer: PeerID) -> None:
        """It is gone."""
        self.linked.discard(peer)
        self.later(peer)

    def failed(self, peer: PeerID) -> None:
        """A try was in vain."""
        self._failures[peer] = self._failures.get(peer, 0) + 1
        self.later(peer)

    def later(self, peer: PeerID) -> None:
        """The next try, after a wait that grows with the failures."""
        self.after(peer, peer_wait(self._failures.get(peer, 0), self._cap, self._uniform))

    def after(self, peer: PeerID, seconds: float) -> None:
        """The next try, so much later."""
        self._put_off(peer)
        if not self._stopped and self._waits(peer):
            self._timers[peer] = self._clock.callLater(seconds, self.now, peer)

    def is_due(self, peer: PeerID) -> bool:
        """Whether a try is to come."""
        return peer in self._timers

    def now(self, peer: PeerID) -> None:
        """Try at once."""
        self._put_off(peer)
        if self._stopped or not self._waits(peer):
            self._failures.pop(peer, None)
        elif peer in self.linked:
            self._go(peer)
        elif peer not in self._dialling:
            self._dialling.add(peer)
            self._hold(peer, self._dial(peer))

    def stop(self) -> None:
        """No timer is left."""
        self._stopped = True
        for peer in tuple(self._timers):
            self._put_off(peer)

    async def _dial(self, peer: PeerID) -> None:
        try:
            await self._connect(peer)
        except ChatnetError:
            self.failed(peer)
        finally:
            self._dialling.discard(peer)

    def _put_off(self, peer: PeerID) -> None:
        cancel_timer(self._timers.pop(peer, None))
