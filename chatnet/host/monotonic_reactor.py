"""A monotonic clock for the reactor, since Twisted uses the time of day, which can be set.

A step of the clock would fire every timer at once, or none for as long as it went back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

# It counts a suspended machine's time too, so that links which died meanwhile are seen at once.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_seconds() -> Callable[[], float]:
    """Return a clock that shows the time of day as it is now, and from here on never steps."""
    offset = time.time() - time.clock_gettime(_CLOCK)
    return lambda: offset + time.clock_gettime(_CLOCK)


def make_steady(reactor: Any) -> None:
    """Give ``reactor`` such a clock; timers that wait already keep their time."""
    reactor.seconds = steady_seconds()
