"""Which keys are left alone, and for how long."""

from __future__ import annotations

import pytest

from chatnet.core.errors import BadFrame
from chatnet.core.framing import Framer
from chatnet.core.identity import PeerID
from chatnet.core.limits import MAX_SOURCES, MAX_TEXT_BYTES, LinkLimits
from chatnet.core.messages import STRUCK
from chatnet.core.strikes import Strikes, in_words, refusal
from tests.support.wire import decode

LIMITS = LinkLimits(strikes=3, strike_seconds=600)
MALLORY, CAROL = PeerID(b"m" * 32), PeerID(b"c" * 32)


def struck(*times: float, limits: LinkLimits = LIMITS) -> Strikes:
    strikes = Strikes(limits)
    for then in times:
        strikes.add(MALLORY, then)
    return strikes


def test_three_in_ten_minutes_are_ten_minutes() -> None:
    strikes = struck(0, 100, 599)
    assert strikes.ban_seconds(MALLORY, 599) == 600
    assert strikes.ban_seconds(MALLORY, 1198.5) == 1
    assert strikes.ban_seconds(MALLORY, 1199) == 0


@pytest.mark.parametrize("times", [(), (0,), (0, 1), (0, 1, 600), (0, 600, 1200, 1800)])
def test_fewer_or_slower_ones_are_nothing(times: tuple[float, ...]) -> None:
    assert struck(*times).ban_seconds(MALLORY, times[-1] if times else 0) == 0


def test_another_key_is_not_meant() -> None:
    assert struck(0, 0, 0).ban_seconds(CAROL, 0) == 0


def test_a_key_begins_without_strikes_after_its_ban() -> None:
    strikes = struck(0, 0, 0)
    strikes.add(MALLORY, 600)
    assert strikes.ban_seconds(MALLORY, 600) == 0
    strikes.add(MALLORY, 601)
    strikes.add(MALLORY, 602)
    assert strikes.ban_seconds(MALLORY, 602) == 600


def test_who_goes_on_meanwhile_waits_longer() -> None:
    assert struck(0, 0, 0, 300).ban_seconds(MALLORY, 300) == 600


def test_memory_is_bounded_and_the_latest_are_remembered() -> None:
    strikes = struck(0, 0, 0)
    for number in range(MAX_SOURCES - 1):
        strikes.add(PeerID(number.to_bytes(32, "big")), 1)
    for _ in range(1000):
        strikes.add(CAROL, 2)
    assert strikes.ban_seconds(MALLORY, 2) == 0  # the oldest made room
    assert strikes.ban_seconds(CAROL, 2) == 600
    assert len(strikes._times) == MAX_SOURCES
    assert max(map(len, strikes._times.values())) == LIMITS.strikes
    assert strikes.given == 3 + MAX_SOURCES - 1 + 1000


def test_the_refusal_says_what_happened_and_when_to_come_again() -> None:
    no = refusal(541)
    assert (no.code, no.retry_after_s) == (STRUCK, 541)
    assert no.text == "your program broke the protocol too often; it may come again in 10 minutes"
    assert len(no.text) <= MAX_TEXT_BYTES
    assert in_words(60) == in_words(1) == "a minute"


def test_what_no_honest_program_sends() -> None:
    framer = Framer(100)
    framer.feed(b"\0\0\0\0")
    with pytest.raises(BadFrame):
        framer.next_frame()
    with pytest.raises(BadFrame):
        decode("chat", b"\xc1")
