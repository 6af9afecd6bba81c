"""Decides which of the waiting transfers may run, and which may be offered: so many in all, and with one person."""

from __future__ import annotations

from collections.abc import Sequence

from chatnet.core.limits import PeerLimits
from chatnet.core.transfer.transfer_machine import Phase, TransferMachine


def has_turn(peer: bytes, running: Sequence[bytes], limits: PeerLimits) -> bool:
    """Whether one more transfer with ``peer`` may run, beside those with the peers ``running``, the same way."""
    return len(running) < limits.transfers and running.count(peer) < limits.transfers_per_peer


def next_to_offer(machines: Sequence[TransferMachine], limits: PeerLimits) -> TransferMachine | None:
    """Return the transfer to offer next of those with one peer, in the order of their making; None while none may be.

    No more are unanswered at a time than the other side takes, so that none is refused for being one too many.
    The files of one are looked at and the offer is made before the next one follows.
    """
    unanswered = [machine for machine in machines if machine.awaits_answer]
    if len(unanswered) >= limits.offers_pending or any(one.phase is Phase.PREPARING for one in unanswered):
        return None
    return next((machine for machine in machines if machine.waits_to_be_offered), None)


def needs_contact(machines: Sequence[TransferMachine], limits: PeerLimits) -> bool:
    """Whether the transfers with one peer need a chat link.

    One that waits for answers to those before it needs none: whoever gives them makes the link.
    """
    others = any(machine.needs_contact for machine in machines if not machine.waits_to_be_offered)
    return others or next_to_offer(machines, limits) is not None
