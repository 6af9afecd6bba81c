"""Helpers for timers that may have fired already."""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall


def cancel_timer(timer: IDelayedCall | None) -> None:
    """Cancel ``timer`` unless there is none, or it was called or cancelled before."""
    if timer is not None and timer.active():
        timer.cancel()
