"""Starts queued transfers within the limits for all and for each peer, each way."""

from __future__ import annotations

from collections.abc import Callable

from chatnet.core.limits import PeerLimits
from chatnet.core.transfer.queue import has_turn
from chatnet.core.transfer.transfer_events import TurnGranted
from chatnet.peer.transfers.managed import ManagedTransfer
from chatnet.peer.transfers.owner import TransferOwner

TOKEN_BYTES = 32


class Turns:
    """Gives ``TurnGranted`` in the order of asking."""

    def __init__(self, limits: PeerLimits, owner: TransferOwner, random_bytes: Callable[[int], bytes]) -> None:
        self._limits = limits
        self._owner = owner
        self._random = random_bytes
        self._asking: dict[ManagedTransfer, None] = {}  # in order
        self._having: dict[ManagedTransfer, None] = {}

    def ask(self, transfer: ManagedTransfer) -> None:
        """Ask for a turn, because the transfer wants to run."""
        self._asking[transfer] = None
        self._grant()

    def free(self, transfer: ManagedTransfer) -> None:
        """Free the turn of a transfer that does not run, and does not want to."""
        self._asking.pop(transfer, None)
        self._having.pop(transfer, None)
        self._grant()

    def _grant(self) -> None:
        for transfer in tuple(self._asking):
            outgoing = transfer.info.outgoing
            running = [one.peer for one in self._having if one.info.outgoing is outgoing]
            if transfer in self._asking and has_turn(transfer.peer, running, self._limits):
                del self._asking[transfer]
                self._having[transfer] = None
                self._owner.give(transfer, TurnGranted(self._random(TOKEN_BYTES)))
