"""How long something has waited, measured by what cannot jump.

The waiting clock of a profile counts milliseconds.  While the program runs it goes with a monotonic
clock; it is saved hourly and at the stop.  The time in between, when the program did not run, is taken
from the wall clock: never negative, and at most MAX_OFF_MS for each stop.  A message remembers what the
clock showed when it was stored, so that the difference is how long it has waited, however often the
time of day was set meanwhile.

Source: fault A12; decisions.md 13.
"""

from __future__ import annotations

from chatnet.core.limits import MAX_OFF_MS


class WaitingTime:
    """The waiting clock, as one start of the program knows it.

    saved: what ``save`` gave last, in the former start; empty at the first start, or where it cannot be read.
    wall_ms: the time of day.
    now: seconds of the monotonic clock.
    """

    def __init__(self, saved: str, wall_ms: int, now: float) -> None:
        counted_ms, saved_wall_ms = _parse(saved, wall_ms)
        self._began = now
        self._counted_ms = counted_ms + min(max(wall_ms - saved_wall_ms, 0), MAX_OFF_MS)

    def ms(self, now: float) -> int:
        """What the clock shows at ``now``, in milliseconds; it never falls."""
        return self._counted_ms + round(max(now - self._began, 0.0) * 1000)

    def save(self, wall_ms: int, now: float) -> str:
        """What the next start needs to go on counting."""
        return f"{self.ms(now)} {wall_ms}"


def _parse(saved: str, wall_ms: int) -> tuple[int, int]:
    """The count and the time of day in ``saved``; a clock that begins now where it says nothing."""
    counted, _, at = saved.partition(" ")
    if counted.isdecimal() and at.isdecimal():
        return int(counted), int(at)
    return 0, wall_ms
