"""A link is asked in time, given up in time, and never shown as better than it is known to be."""

from __future__ import annotations

import pytest

from chatnet.core.keepalive import Beat, KeepAlive
from chatnet.core.limits import STOPPED_SECONDS, LinkLimits

LIMITS = LinkLimits()


def fresh(jitter: float = 0.5) -> KeepAlive:
    return KeepAlive(LIMITS, jitter, 0.0)


def beats(link: KeepAlive, first: int, last: int) -> list[tuple[int, Beat]]:
    """What is asked for from one second to another; pings are sent."""
    found = []
    for now in range(first, last + 1):
        what = link.beat(now)
        if what is Beat.PING:
            link.pinged(now)
            link.said(now)
        if what is not Beat.NOTHING:
            found.append((now, what))
    return found


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 24), (0.5, 30), (0.75, 33)])
def test_a_quiet_link_is_pinged_and_given_up(jitter: float, seconds: int) -> None:
    assert beats(fresh(jitter), 1, 75) == [(seconds, Beat.PING), (75, Beat.GIVE_UP)]


def test_a_link_that_answers_lives_for_ever() -> None:
    link = fresh()
    for now in range(1, 400):
        if link.beat(now) is Beat.PING:
            number = link.pinged(now)
            link.said(now)
            link.heard(now + 0.25)
            assert link.pong(number, now + 0.25)
    assert link.rtt_ms == 250
    assert link.unanswered_since(400) is None


def test_a_link_that_only_says_is_asked_too() -> None:
    link = fresh()
    for now in range(1, 75):
        link.said(now)
        if link.beat(now) is Beat.PING:
            link.pinged(now)
            assert now == 30
    assert link.beat(75) is Beat.GIVE_UP


def test_something_unacknowledged_shortens_the_times() -> None:
    link = fresh()
    assert beats(link, 1, 12) == []
    link.heard(10)
    link.awaits(True, 12)
    assert beats(link, 13, 32) == [(17, Beat.PING), (32, Beat.GIVE_UP)]


def test_what_is_heard_meanwhile_counts() -> None:
    link = fresh()
    link.awaits(True, 0)
    link.heard(4)
    assert beats(link, 5, 24) == [(9, Beat.PING), (24, Beat.GIVE_UP)]


def test_a_transport_that_takes_bytes_again_shows_life() -> None:
    link = fresh()
    link.awaits(True, 0)
    link.moved(15)
    assert Beat.GIVE_UP not in [what for _, what in beats(link, 1, 34)]
    assert link.beat(35) is Beat.GIVE_UP


def test_after_the_acknowledgement_the_long_times_hold() -> None:
    link = fresh()
    link.awaits(True, 0)
    link.heard(3)
    link.awaits(False, 3)
    assert beats(link, 4, 77) == [(30, Beat.PING)]


def test_more_that_waits_does_not_begin_the_time_anew() -> None:
    link = fresh()
    link.awaits(True, 0)
    link.awaits(True, 4)
    assert beats(link, 1, 20) == [(5, Beat.PING), (20, Beat.GIVE_UP)]


def test_a_proof_of_life_is_due_in_time() -> None:
    link = fresh()
    assert beats(link, 1, 10) == []
    link.ask(10, 2.0)
    assert link.beat(11) is Beat.NOTHING
    assert link.beat(12) is Beat.GIVE_UP
    link = fresh()
    assert beats(link, 1, 10) == []
    number = link.ask(10, 2.0)
    link.heard(11)
    assert link.pong(number, 11)
    assert link.beat(12) is Beat.NOTHING
    assert link.rtt_ms == 1000


def test_only_the_answer_to_the_last_ping_tells_the_round_trip() -> None:
    link = fresh()
    first = link.pinged(0)
    second = link.pinged(1)
    assert not link.pong(first, 2)
    assert link.pong(second, 3)
    assert not link.pong(second, 4)
    assert link.rtt_ms == 2000


def test_while_we_do_not_read_nobody_is_silent() -> None:
    link = fresh()
    link.awaits(True, 0)
    link.pause()
    assert beats(link, 1, 100) == []
    assert link.unanswered_since(100) is None
    link.resume(100)
    assert beats(link, 101, 120) == [(105, Beat.PING), (120, Beat.GIVE_UP)]


def test_a_program_that_stood_still_itself_gives_nobody_up() -> None:
    link = fresh()
    link.awaits(True, 0)
    assert link.beat(1) is Beat.NOTHING
    late = round(1 + STOPPED_SECONDS + 30)
    assert link.beat(late) is Beat.NOTHING
    assert link.unanswered_since(late) is None
    assert beats(link, late + 1, late + 20) == [(late + 5, Beat.PING), (late + 20, Beat.GIVE_UP)]


def test_since_when_nothing_is_answered() -> None:
    """Fault A5: told within seconds, with the time from which on nothing is known."""
    link = fresh()
    link.heard(100)
    assert link.unanswered_since(170) is None  # nothing was asked
    link.awaits(True, 170)
    assert link.unanswered_since(174) is None
    assert link.unanswered_since(175) == 170
    link.pinged(175)
    assert link.unanswered_since(180) == 170
    link.heard(181)
    assert link.unanswered_since(185) is None
    assert link.unanswered_since(186) == 181  # the message is still not acknowledged
    link.awaits(False, 187)
    assert link.unanswered_since(300) is None


def test_an_unanswered_ping_is_told_too() -> None:
    link = fresh()
    link.pinged(30)
    assert link.unanswered_since(34) is None
    assert link.unanswered_since(35) == 30
    link.awaits(True, 36)
    link.awaits(False, 37)
    assert link.unanswered_since(38) == 30
