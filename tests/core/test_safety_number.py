"""The number that two people compare."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from chatnet.core.identity import PeerID
from chatnet.core.safety_number import safety_number

IDS = st.binary(min_size=32, max_size=32).map(PeerID)
ONE, OTHER = PeerID(b"\1" * 32), PeerID(b"\2" * 32)


@settings(max_examples=10)
@given(IDS, IDS)
def test_a_safety_number_has_60_digits_and_two_equal_views(one: PeerID, other: PeerID) -> None:
    number = safety_number(one, other)
    assert number == safety_number(other, one)
    assert re.fullmatch(r"\d{5}( \d{5}){11}", number)


def test_each_half_of_a_safety_number_belongs_to_one_key() -> None:
    """Somebody in the middle must meet each half by itself, not their sum."""
    third = PeerID(b"\3" * 32)

    def halves(a: PeerID, b: PeerID) -> set[str]:
        number = safety_number(a, b)
        return {number[:35], number[36:]}

    shared = halves(ONE, OTHER) & halves(ONE, third)
    assert len(shared) == 1
    assert len(halves(ONE, OTHER) | halves(OTHER, third)) == 3
