"""The waiting clock never falls and never jumps, whatever is done to the time of day."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.limits import MAX_OFF_MS
from chatnet.core.waiting_time import WaitingTime

DAY_MS = 86_400_000


def test_it_goes_with_the_monotonic_clock_while_the_program_runs() -> None:
    clock = WaitingTime("", 5_000_000, 100.0)
    assert clock.ms(100.0) == 5_000_000
    assert clock.ms(103.5) == 5_003_500
    assert clock.ms(99.0) == 5_000_000


def test_it_goes_on_at_the_next_start_with_the_time_between() -> None:
    saved = WaitingTime("", 1_000_000, 0.0).save(1_060_000, 60.0)
    assert saved == "1060000 1060000"
    assert WaitingTime(saved, 1_070_000, 7.0).ms(8.0) == 1_071_000


def test_a_clock_that_was_set_back_counts_as_no_time() -> None:
    assert WaitingTime("60000 1060000", 1_000, 0.0).ms(0.0) == 60_000


def test_a_clock_that_was_forty_days_back_counts_as_seven() -> None:
    """Fault A12: a message typed while the clock was wrong does not expire when it is set."""
    assert WaitingTime("60000 1060000", 1_060_000 + 40 * DAY_MS, 0.0).ms(0.0) == 60_000 + 7 * DAY_MS


def test_what_cannot_be_read_begins_anew() -> None:
    for saved in ("", "x y", "5", "-1 2", "1 2 3"):
        assert WaitingTime(saved, 1_000, 0.0).ms(0.0) == 1_000


@given(
    st.lists(
        st.tuples(st.integers(0, 100 * DAY_MS), st.integers(0, 10**6), st.integers(0, 100 * DAY_MS)),
        min_size=1,
        max_size=8,
    )
)
def test_it_never_falls_and_each_stop_adds_seven_days_at_most(starts: list[tuple[int, int, int]]) -> None:
    saved, shown = "0 0", 0
    for wall_ms, seconds, wall_at_stop_ms in starts:
        clock = WaitingTime(saved, wall_ms, 0.0)
        assert shown <= clock.ms(0.0) <= shown + MAX_OFF_MS
        shown = clock.ms(float(seconds))
        assert shown == clock.ms(0.0) + seconds * 1000
        saved = clock.save(wall_at_stop_ms, float(seconds))
