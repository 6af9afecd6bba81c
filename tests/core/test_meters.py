from __future__ import annotations

from chatnet.core.meters import Spread


def test_a_spread_counts_what_is_at_most_each_bound() -> None:
    spread = Spread((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 3.0):
        spread.add(value)
    assert spread.cumulated() == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert spread.total == 3.65
