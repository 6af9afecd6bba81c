"""SIGHUP, from the first line of a program on: it never ends one that is starting.

Imported before everything else, so it imports little.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any


class EarlyHangup:
    """The handler while a program starts: notes that a signal came, and whether it started in a terminal."""

    def __init__(self) -> None:
        self.came = False
        self.in_terminal = is_at_terminal()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True

    @property
    def lost_terminal(self) -> bool:
        """Whether one came because the terminal was closed."""
        return self.came and self.in_terminal and not is_at_terminal()


def is_at_terminal() -> bool:
    """Whether standard input is a terminal that is still there."""
    try:
        os.tcgetpgrp(0)
    except OSError:
        return False
    return True


def note_hangups() -> None:
    """Note SIGHUP from now on; one that is ignored, as under nohup, stays ignored."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, EarlyHangup())


def handle_hangups(reactor: Any, handle: Callable[[], object]) -> EarlyHangup:
    """Call ``handle`` in the reactor's thread for each SIGHUP from now on, and return what was noted until now."""
    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(handle))
    return before if isinstance(before, EarlyHangup) else EarlyHangup()
