"""Which time a row shows, and one draft made of two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.chats import came_late, joined_drafts, written_ms
from chatnet.core.limits import MAX_DRAFT_CHARS

DAY_MS = 86_400_000
NOW = 1_795_000_000_000
TIMES = st.integers(0, 2**53)


@pytest.mark.parametrize(
    ("sent_ms", "before_ms", "shown_ms"),
    [
        (NOW, None, NOW),
        (NOW - 60_000, NOW - 5, NOW - 60_000),  # written before the row above, which came first
        (NOW - 30 * DAY_MS, NOW, NOW - 30 * DAY_MS),
        (NOW - 30 * DAY_MS - 1, NOW, NOW),
        (NOW - 40 * DAY_MS, NOW - 20 * DAY_MS, NOW - 40 * DAY_MS),  # nothing was said for long
        (NOW - 40 * DAY_MS, None, NOW),
        (NOW + 1, NOW, NOW),
        (2**53, None, NOW),
        (0, NOW, NOW),
        (0, None, NOW),
    ],
)
def test_the_time_of_writing_is_shown_where_it_can_be(sent_ms: int, before_ms: int | None, shown_ms: int) -> None:
    """B13."""
    assert written_ms(sent_ms, NOW, before_ms) == shown_ms


@given(TIMES, TIMES, st.none() | TIMES)
def test_no_sender_puts_a_row_into_the_future_or_long_before_the_row_above(
    sent_ms: int, stored_ms: int, before_ms: int | None
) -> None:
    shown_ms = written_ms(sent_ms, stored_ms, before_ms)
    assert shown_ms in (sent_ms, stored_ms)
    assert shown_ms <= stored_ms
    assert shown_ms == stored_ms or shown_ms >= (stored_ms if before_ms is None else before_ms) - 30 * DAY_MS


def test_a_minute_is_late() -> None:
    assert not came_late(NOW, NOW + 59_999)
    assert came_late(NOW, NOW + 60_000)


def test_two_drafts_are_one() -> None:
    assert joined_drafts("", "") == ""
    assert joined_drafts("a", "") == joined_drafts("", "a") == joined_drafts("a", "a") == "a"
    assert joined_drafts("a", "b") == "a\nb"
    assert len(joined_drafts("a" * MAX_DRAFT_CHARS, "b")) == MAX_DRAFT_CHARS
