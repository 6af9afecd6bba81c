"""Measures how long something has waited, by a clock that cannot jump.

The waiting clock of a profile shows milliseconds.  It begins with the time of day; while the program runs
it goes with a monotonic clock, and it is saved hourly and at the stop.  The time in between, when the
program did not run, is taken from the wall clock: never negative, and at most MAX_OFF_MS for each stop.
A message remembers what the clock showed when it was stored, so that the difference is how long it has
waited, however often the time of day was set meanwhile.

Source: fault A12; decisions.md 13.
"""

from __future__ import annotations

from chatnet.core.limits import MAX_OFF_MS


class WaitingTime:
    """The waiting clock, as one start of the program knows it.

    saved: what ``save`` gave last, in the former start; empty at the first start.
    wall_ms: the time of day.
    now: seconds of the monotonic clock.
    """

    def __init__(self, saved: str, wall_ms: int, now: float) -> None:
        shown_ms, saved_wall_ms = _parse(saved, wall_ms)
        self._began = now
        self._shown_ms = shown_ms + min(max(wall_ms - saved_wall_ms, 0), MAX_OFF_MS)

    def ms(self, now: float) -> int:
        """Return what the clock shows at ``now``, in milliseconds; it never falls."""
        return self._shown_ms + round(max(now - self._began, 0.0) * 1000)

    def save(self, wall_ms: int, now: float) -> str:
        """Return what the next start needs to go on counting."""
        return f"{self.ms(now)} {wall_ms}"


def _parse(saved: str, wall_ms: int) -> tuple[int, int]:
    """Return what the clock showed and the time of day then; both are now where ``saved`` cannot be read."""
    shown, _, at = saved.partition(" ")
    if shown.isdecimal() and at.isdecimal():
        return int(shown), int(at)
    return wall_ms, wall_ms
