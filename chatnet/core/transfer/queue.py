"""Decides which of the waiting transfers may run, within limits for all and for one person, each way."""

from __future__ import annotations

from collections.abc import Sequence

from chatnet.core.limits import PeerLimits


def has_turn(peer: bytes, running: Sequence[bytes], limits: PeerLimits) -> bool:
    """Whether one more transfer with ``peer`` may run, beside those with the peers ``running``, the same way."""
    return len(running) < limits.transfers and running.count(peer) < limits.transfers_per_peer
