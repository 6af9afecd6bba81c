"""How fast transfers go: the speed that is measured, and the limit that a person set."""

from __future__ import annotations

from collections import deque

PACE_BURST_SECONDS = 0.1  # what a limit lets through at once after a rest
RATE_SECONDS = 5.0  # the speed is that of the last seconds: steady enough to read, quick enough to believe


class Rate:
    """Bytes per second over the last few seconds; the time, in seconds, is handed in."""

    def __init__(self, now: float, total: int = 0) -> None:
        self._marks: deque[tuple[float, int]] = deque([(now, total)])

    def mark(self, now: float, total: int) -> None:
        """Note that ``total`` bytes have gone by now; call it a few times a second."""
        self._marks.append((now, total))
        while len(self._marks) > 2 and now - self._marks[1][0] >= RATE_SECONDS:
            self._marks.popleft()

    @property
    def per_second(self) -> float | None:
        """None before there is anything to divide by."""
        (then, before), (now, total) = self._marks[0], self._marks[-1]
        return (total - before) / (now - then) if now > then else None

    def seconds_left(self, left: int) -> float | None:
        speed = self.per_second
        return left / speed if speed else None


class Pace:
    """A limit of bytes a second that may change at any time; the time, in seconds, is handed in."""

    def __init__(self) -> None:
        self.rate: int | None = None
        self._free_at = 0.0

    def spend(self, now: float, count: int) -> None:
        """Note that ``count`` bytes go now."""
        if self.rate:
            self._free_at = max(self._free_at, now - PACE_BURST_SECONDS) + count / self.rate

    def delay(self, now: float) -> float:
        """Return the seconds until the next bytes may go."""
        if not self.rate:
            self._free_at = 0.0
            return 0.0
        return max(0.0, self._free_at - now)
