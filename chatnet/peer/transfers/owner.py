"""What the parts of the transfers need of each other and of the node."""

from __future__ import annotations

from typing import Protocol

from chatnet.core.events import Transfer
from chatnet.core.identity import PeerID
from chatnet.core.text import SafeText
from chatnet.core.transfer.transfer_events import Effect, Input
from chatnet.net.link import Link, LinkUser
from chatnet.peer.transfers.managed import ManagedTransfer


class TransferOwner(Protocol):
    """Who has the machines: every part reports to it what happened to a transfer."""

    def give(self, transfer: ManagedTransfer, event: Input) -> tuple[Effect, ...]:
        """Hand ``event`` to the transfer's machine and carry out what it asks for; nothing once all is stopped."""


class TransferLinks(Protocol):
    """The ways to the others; the node has them."""

    async def dial_file(self, peer: PeerID, fid: bytes, token: bytes, user: LinkUser) -> Link:
        """Return an open link of role ``file`` that serves ``user``.  Raises ChatnetError."""

    def wake(self, peer: PeerID) -> None:
        """See that there is a chat link in time, because something waits for ``peer`` (see ``Transfers.waits_for``)."""


class TransferListener(Protocol):
    """Who hears of transfers, and knows people; the node has it."""

    def transfer_changed(self, transfer: Transfer) -> None:
        """Called with a new or changed transfer, once it is in the store."""

    def folder_of(self, peer: bytes) -> str:
        """Return the name of a person's folder, and of the person."""

    def receiver(self, peer: PeerID) -> PeerID:
        """Return the key that an offer for ``peer`` may be made to now.

        Raises LocalError: unknown-peer, held, blocked.
        """

    def admit_offer(self, link: Link, fid: bytes, title: str) -> bool:
        """Whether there is room for one more offer of the person at ``link``; it is charged if there is."""

    async def check_space(self, peer: PeerID) -> None:
        """Look whether the disk has space for an offer of ``peer``.  Raises StoreFailed."""

    def offer_dropped(self, peer: PeerID, fid: bytes) -> None:
        """Called when an offer that was admitted is not stored after all."""

    def offer_turned_down(self, link: Link, fid: bytes, title: SafeText, reason: SafeText) -> None:
        """Called when an offer of the person at ``link`` was declined without anybody being asked."""

    def offer_accepted(self, peer: PeerID) -> None:
        """Called when a person here, or the rule that they made, took an offer of ``peer``."""

    def is_stranger(self, peer: PeerID) -> bool:
        """Whether nobody here has written to this key, accepted anything of it, or verified it."""
