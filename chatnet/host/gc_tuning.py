"""Keeps the garbage collector from scanning long-lived objects again and again.

A full collection looks at every object that can be part of a cycle: with 10,000 links a million of
them, a stall of a third of a second, and one each time they have become a quarter more.  Nearly all
of them go by their reference counts, cycle or none.  So what survives a full collection that took
noticeably long is left out of those that follow, which come sooner than usual, so that none is long; and
so is what a program is made of at its start, modules for the most part: 60,000 objects, 30 ms.
The price: a cycle that becomes garbage after that is never found.  These are few, the dials that
were under way at such a moment.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

NOTICEABLE_SECONDS = 0.005
FULL = 2  # the generation of a full collection
STEPS_TO_FULL = 1  # collections of the one before it that a full one waits for; usual is 10: 40 ms, half a storm


def freeze_long_lived(clock: Callable[[], float] = time.perf_counter) -> Callable[[], None]:
    """Freeze what lives long in this process; return how to stop it and have everything looked at again."""
    began = 0.0
    usual = gc.get_threshold()
    young, middle, _ = usual

    def collecting(phase: str, about: dict[str, int]) -> None:
        nonlocal began
        if about["generation"] != FULL:
            return
        if phase == "start":
            began = clock()
        elif clock() - began >= NOTICEABLE_SECONDS:
            gc.freeze()

    def stop() -> None:
        gc.callbacks.remove(collecting)
        gc.set_threshold(*usual)
        gc.unfreeze()

    gc.freeze()
    gc.callbacks.append(collecting)
    gc.set_threshold(young, middle, STEPS_TO_FULL)
    return stop
