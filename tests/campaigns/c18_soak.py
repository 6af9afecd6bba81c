"""C18: an hour of C20.

The rounds of C20 for so many seconds, in which only one peer of each set is ever killed.  Memory and
descriptors of all processes are looked at every 10 s; the figures are their slopes, of processes that
lived for ten minutes or more.  What holds at the end of each round of C20 holds here too.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from tests.campaigns.c20_pauses import GATE, endure
from tests.campaigns.harness import Case, Figures, main

NAME = "c18_soak"
SIZES = {"soak": 3_600}
UNIT = "seconds"
BY_HAND = True  # once in a release: no part of any other size

SETS = 4
SAMPLE_SECONDS = 10.0
LEAST_LIFE_SECONDS = 600.0


def run(case: Case) -> Figures:
    end = time.monotonic() + case.n
    shape = replace(GATE, sets=SETS, killed=1)
    least = min(LEAST_LIFE_SECONDS, case.n / 3)
    return endure(case, shape, lambda _: time.monotonic() < end, SAMPLE_SECONDS, least)


if __name__ == "__main__":
    main(sys.modules[__name__])
