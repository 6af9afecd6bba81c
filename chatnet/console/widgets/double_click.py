"""The double click: urwid's mouse events do not tell of one."""

from __future__ import annotations

from chatnet.core.limits import DOUBLE_CLICK_SECONDS


class DoubleClick:
    """Remembers what was clicked last, and when."""

    def __init__(self) -> None:
        self._last: tuple[object, float] = (None, 0.0)

    def is_second(self, what: object, now: float) -> bool:
        """Whether this click on ``what`` at ``now`` (seconds) ends a double click."""
        last, at = self._last
        double = bool(last == what and now - at <= DOUBLE_CLICK_SECONDS)
        self._last = (None, 0.0) if double else (what, now)
        return double
