"""Dials addresses back, so that an address in the list is proven by its key.

Only the address that the registry itself has seen is dialled, never one that only a record
claims: the list must not be aimed at others, nor we by who registers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core import messages
from chatnet.core.budgets import sources_of
from chatnet.core.dialrules import LOWEST_PORT
from chatnet.core.errors import Refused
from chatnet.core.fair_queue import FairQueue
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import RegistryLimits
from chatnet.core.messages import ROLE_PROBE, VERSION, Hello, Message, VersionRange, Welcome
from chatnet.core.records import Endpoint
from chatnet.net.dialling import Dialler
from chatnet.net.link import Link, LinkEnd


class Prober:
    """A LinkUser of its probes.  ``reached`` hears of those that answered, many at a time.

    The last word counts: another ``want`` for a peer takes the place of one that waits.
    """

    log = Logger("chatnet.probing")

    def __init__(
        self,
        clock: Any,
        dialler: Dialler,
        limits: RegistryLimits,
        instance: bytes,
        name: str,
        features: Iterable[str],
        reached: Callable[[list[tuple[PeerID, Endpoint]]], None],
    ) -> None:
        self._clock = clock
        self._dialler = dialler
        self._limits = limits
        self._hello = Hello(VersionRange(VERSION, VERSION), sorted(features), ROLE_PROBE, instance, name)
        self._reached = reached
        self._wanted: dict[PeerID, Endpoint] = {}
        self._queue: FairQueue[PeerID] = FairQueue()  # many keys of one network do not hold up the others
        self._resting: dict[PeerID, IDelayedCall] = {}  # probed a moment ago
        self._running: dict[PeerID, Deferred[Any]] = {}
        self._last: OrderedDict[PeerID, float] = OrderedDict()  # when each was probed, the oldest first
        self._answered: list[tuple[PeerID, Endpoint]] = []
        self._telling: IDelayedCall | None = None
        self._stopped = False

    def want(self, peer: PeerID, at: Endpoint) -> None:
        """Find out, when its turn comes, whether ``peer`` answers at the address that we have seen."""
        if self._stopped or self._limits.probe == "off" or at.port < LOWEST_PORT:
            return
        waits = peer in self._wanted
        self._wanted[peer] = at
        if not waits:
            self._let_queue(peer)

    def forget(self, peer: PeerID) -> None:
        """Forget ``peer``, which is gone."""
        self._wanted.pop(peer, None)
        self._queue.discard(peer)
        resting = self._resting.pop(peer, None)
        if resting is not None:
            resting.cancel()

    def stop(self) -> None:
        """Stop: nothing of ours is under way afterwards."""
        self._stopped = True
        for peer in tuple(self._wanted):
            self.forget(peer)
        for probe in tuple(self._running.values()):
            probe.cancel()
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    # --- one after the other --------------------------------------------------------------------

    def _let_queue(self, peer: PeerID) -> None:
        """Queue a probe, once the last one of that key is long enough ago."""
        now, spacing = self._clock.seconds(), self._limits.probe_seconds
        while self._last and now - next(iter(self._last.values())) >= spacing:
            self._last.popitem(last=False)
        rest = self._last[peer] + spacing - now if peer in self._last else 0.0
        if rest > 0:
            self._resting[peer] = self._clock.callLater(rest, self._rested, peer)
            return
        self._queue.put(peer, sources_of(self._wanted[peer].host)[-1])
        self._go_on()

    def _rested(self, peer: PeerID) -> None:
        del self._resting[peer]
        self._let_queue(peer)

    def _go_on(self) -> None:
        while self._queue and len(self._running) < self._limits.probes_at_once and not self._stopped:
            peer = self._queue.pop()
            at = self._wanted.pop(peer)
            if peer not in self._running:
                self._last[peer] = self._clock.seconds()
                self._last.move_to_end(peer)
                probe = self._running[peer] = Deferred.fromCoroutine(self._probe(peer, at))
                probe.addTimeout(self._limits.probe_timeout_seconds, self._clock)
                probe.addErrback(self._not_reached, peer, at)
                probe.addBoth(self._over, peer)

    async def _probe(self, peer: PeerID, at: Endpoint) -> None:
        link = await self._dialler.dial_host(at.host, at.port, self, self._hello, peer)
        try:
            self._answered.append((peer, at))
            if self._telling is None and not self._stopped:
                self._telling = self._clock.callLater(self._limits.proofs_seconds, self._tell)
            link.leave()
            await link.when_gone()
        finally:
            link.abort()

    def _not_reached(self, failure: Failure, peer: PeerID, at: Endpoint) -> None:
        self.log.debug(
            "{peer} does not answer at {at}: {why}", peer=short_text(peer), at=str(at), why=failure.getErrorMessage()
        )

    def _over(self, _: object, peer: PeerID) -> None:
        del self._running[peer]
        self._go_on()

    def _tell(self) -> None:
        self._telling = None
        answered, self._answered = self._answered, []
        self._reached(answered)

    # --- LinkUser -------------------------------------------------------------------------------

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        raise Refused(messages.ROLE_UNKNOWN, "a probe dials, it does not listen")

    def opened(self, link: Link) -> None:
        """Do nothing: the dial tells of it."""

    def received(self, link: Link, message: Message) -> None:
        """Ignore a message: a probe is greeted, and that is all."""

    def lost(self, link: Link, end: LinkEnd) -> None:
        """Do nothing: the probe waits for the end by itself."""
