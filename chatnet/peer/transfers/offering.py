"""Lets the transfers that wait here be offered: so many unanswered to one peer, and so many a minute."""

from __future__ import annotations

from typing import Any

from chatnet.core.bucket import Buckets
from chatnet.core.identity import PeerID
from chatnet.core.limits import OFFER_PACE, PeerLimits
from chatnet.core.transfer.queue import next_to_offer
from chatnet.core.transfer.transfer_events import OfferGranted
from chatnet.net.timers import KeyedTimers
from chatnet.peer.transfers.owner import TransferOwner
from chatnet.peer.transfers.table import TransferTable

OFFERED_TO = 10_000  # peers whose rate of our offers is remembered


class Offering:
    """Gives ``OfferGranted`` to the transfers with each peer, one after the other.

    A program of version 0.1.0 declines for good what is more than the offers of a minute, so that we wait here.
    """

    def __init__(self, clock: Any, limits: PeerLimits, table: TransferTable, owner: TransferOwner) -> None:
        self._clock = clock
        self._limits = limits
        self._table = table
        self._owner = owner
        rate_per_s = OFFER_PACE * limits.offers_per_minute / 60
        self._rate = Buckets(rate_per_s, limits.offers_per_minute, OFFERED_TO)
        self._timers = KeyedTimers(clock, self._grant)

    def ask(self, peer: PeerID) -> None:
        """Look in the next turn what may be offered to ``peer``, once however many transfers ask."""
        self._timers.arm(peer)

    def made(self, peer: PeerID) -> None:
        """Count an offer that is made to ``peer``, or made again."""
        self._rate.spend(peer, self._clock.seconds())

    def stop(self) -> None:
        """Stop: no timer is left."""
        self._timers.stop()

    def _grant(self, peer: PeerID) -> None:
        of_peer = self._table.of_peer(peer)
        following = next_to_offer([one.machine for one in of_peer], self._limits)
        if following is None:
            return
        if seconds := self._rate.delay(peer, self._clock.seconds()):
            self._timers.arm(peer, seconds)
            return
        transfer = self._table.find(peer, following.fid)
        if transfer is not None:
            self._owner.give(transfer, OfferGranted())
