"""Counts protocol violations of proven keys, and refuses a key for a while after too many.

A strike is for what no honest program sends, whatever its version and however its messages cross
with ours: a frame that cannot be, one message id with two texts.  A message that is only unknown here
is none: it may be that of a newer version.  Pure: time is handed in.
"""

from __future__ import annotations

import math
from collections import OrderedDict

from chatnet.core.errors import Refused
from chatnet.core.identity import PeerID
from chatnet.core.limits import MAX_SOURCES, LinkLimits
from chatnet.core.messages import STRUCK


class Strikes:
    """The strikes of each key; of the keys the ``MAX_SOURCES`` struck latest are remembered."""

    def __init__(self, limits: LinkLimits) -> None:
        self._limits = limits
        self._times: OrderedDict[PeerID, list[float]] = OrderedDict()  # the latest ``strikes`` of them
        self.given = 0  # in all

    def add(self, peer: PeerID, now: float) -> None:
        times = [then for then in self._times.pop(peer, ()) if now - then < self._limits.strike_seconds]
        if len(self._times) >= MAX_SOURCES:
            self._times.popitem(last=False)
        self._times[peer] = [*times, now][-self._limits.strikes :]
        self.given += 1

    def ban_seconds(self, peer: PeerID, now: float) -> int:
        """Return the seconds for which ``peer`` is still refused; 0 for who may come."""
        times = self._times.get(peer, [])
        if len(times) < self._limits.strikes:
            return 0
        return max(0, math.ceil(times[-1] + self._limits.strike_seconds - now))


def refusal(ban_seconds: int) -> Refused:
    """Return the refusal that is sent to a peer that is banned for ``ban_seconds``."""
    return Refused(
        STRUCK, f"your program broke the protocol too often; it may come again in {in_words(ban_seconds)}", ban_seconds
    )


def in_words(seconds: int) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes > 1 else "a minute"
