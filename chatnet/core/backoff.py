"""Waiting times before the next attempt.  The caller passes the random function ``uniform(low, high)``.

Source: docs/architecture.md, "Reconnection"; the figures come from simulations of a herd of 1,000
and 5,000 peers that lose one registry.
"""

from __future__ import annotations

from collections.abc import Callable

Uniform = Callable[[float, float], float]


def registry_wait(failures: int, listed: int, uniform: Uniform) -> float:
    """Return the seconds before the next try, after ``failures`` of them in a row.

    ``listed`` is the length of the last known list: a small net does not wait for a herd that is
    not there.
    """
    window = min(max(listed / 100, 1.0), 30.0)
    if failures == 0:
        return uniform(0.0, window)
    return uniform(1.0, min(30.0, max(4.0, window) * 1.5 ** min(failures, 16)))  # a float ends at 1.5**1750


def obeyed(retry_after_s: float, uniform: Uniform) -> float:
    """Return the seconds to wait that the other side asked for, spread by up to a fifth."""
    return retry_after_s * uniform(0.8, 1.2)


def peer_wait(failures: int, cap_seconds: float, uniform: Uniform) -> float:
    """Return the seconds before a peer that did not answer is dialled again: 2, 4, 8 … with full jitter."""
    return uniform(0.5, min(cap_seconds, 2.0 * 2 ** min(failures, 16)))


def online_wait(listed: int, uniform: Uniform) -> float:
    """Return the seconds after somebody came online before what waits for them is tried."""
    return uniform(0.0, min(max(listed / 200, 0.1), 5.0))
