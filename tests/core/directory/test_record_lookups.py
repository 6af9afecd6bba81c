"""Look-ups of records are few, whatever a registry says."""

from __future__ import annotations

from chatnet.core.directory.record_lookups import RecordLookups
from chatnet.core.identity import PeerID
from chatnet.core.limits import LOOKUP_SECONDS, LOOKUPS_BURST, LOOKUPS_PER_SECOND, MAX_SOURCES

BOB = PeerID(b"b" * 32)


def somebody(number: int) -> PeerID:
    return PeerID(number.to_bytes(32, "big"))


def test_one_person_is_asked_for_once_at_a_time_and_not_too_often() -> None:
    lookups = RecordLookups(0.0)
    assert lookups.ask(BOB, 0.0)
    assert not lookups.ask(BOB, 1000.0)  # no answer yet
    assert lookups.answered(BOB)
    assert not lookups.answered(BOB)
    assert lookups.ask(BOB, 1000.0)
    lookups.answered(BOB)
    assert not lookups.ask(BOB, 1000.0 + LOOKUP_SECONDS / 2)
    assert lookups.ask(BOB, 1000.0 + LOOKUP_SECONDS)
    lookups.new_link()
    assert not lookups.answered(BOB)
    assert lookups.ask(BOB, 1000.0 + 2 * LOOKUP_SECONDS)


def test_all_people_together_have_a_rate() -> None:
    lookups = RecordLookups(0.0)
    assert sum(lookups.ask(somebody(n), 0.0) for n in range(1000)) == LOOKUPS_BURST
    assert sum(lookups.ask(somebody(n), 1.0) for n in range(1000, 2000)) == LOOKUPS_PER_SECOND


def test_what_is_remembered_is_bounded() -> None:
    lookups = RecordLookups(0.0)
    for number in range(MAX_SOURCES + 50):
        lookups.ask(somebody(number), number)
    assert len(lookups._last) == MAX_SOURCES
