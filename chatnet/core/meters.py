"""Counters of a program: nearly free while it runs, read when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Spread:
    """How many values fell below each of ``bounds``, and their sum; the last count is of those above all."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def cumulated(self) -> list[tuple[str, int]]:
        """Return how many values were at most each bound, as Prometheus words it."""
        pairs, so_far = [], 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            so_far += count
            pairs.append((bound, so_far))
        return pairs


class Measure(NamedTuple):
    """One quantity under its name (with its unit, as Prometheus has them) and in plain words.

    ``value``: a number; numbers by the value of ``label``; or a Spread.
    """

    name: str
    words: str
    value: float | Mapping[str, float] | Spread
    rises: bool = False  # it only ever rises: a counter
    label: str = ""
