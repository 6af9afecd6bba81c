"""Charges unanswered offers to the budgets of a peer until each is answered or given up."""

from __future__ import annotations

from collections.abc import Callable

from chatnet.core import messages
from chatnet.core.budgets import Budgets, Claimant, Level
from chatnet.core.identity import PeerID
from chatnet.core.limits import PeerLimits
from chatnet.net.link import Link


class HeldOffers:
    """Charges offers by peer and fid, page by page, while they come and until a person has answered."""

    def __init__(self, budgets: Budgets, limits: PeerLimits, is_stranger: Callable[[PeerID], bool]) -> None:
        self._budgets = budgets
        self._limits = limits
        self._is_stranger = is_stranger

    def take(self, link: Link, fid: bytes, size_bytes: int, entries: int, of: int) -> str:
        """Charge a page of an offer that now has ``of`` files and folders in all.

        Returns the code with which the offer is declined, and then nothing of it is charged any more;
        empty if it fits.
        """
        who = Claimant(link.peer, link.remote[0], not self._is_stranger(link.peer))
        holder = (link.peer, fid)
        if not who.known and of > self._limits.stranger_offer_files:
            lacking: Level | None = Level.KEY
            self._budgets.offered_files.refuse(Level.KEY)
        else:
            lacking = self._budgets.offers.take(holder, who, size_bytes)
            lacking = lacking or self._budgets.offered_files.take(holder, who, entries)
        if lacking is None:
            return ""
        self.release(link.peer, fid)
        return messages.TOO_MANY if lacking is Level.KEY else messages.STORE

    def recall(self, peer: PeerID, fid: bytes, size_bytes: int, entries: int) -> None:
        """Charge an offer of a former process, whether or not it fits; nobody knows its address any more."""
        who = Claimant(peer, "", not self._is_stranger(peer))
        self._budgets.offers.charge((peer, fid), who, size_bytes)
        self._budgets.offered_files.charge((peer, fid), who, entries)

    def sender_accepted(self, peer: PeerID, fid: bytes) -> None:
        """Count the offer no longer among those of strangers, because its sender was accepted."""
        who = Claimant(peer, "", known=True)
        self._budgets.offers.recharge((peer, fid), who)
        self._budgets.offered_files.recharge((peer, fid), who)

    def release(self, peer: PeerID, fid: bytes) -> None:
        """Release what the offer holds, because it was answered or is given up."""
        self._budgets.offers.release((peer, fid))
        self._budgets.offered_files.release((peer, fid))
