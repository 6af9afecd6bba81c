"""Speed measured and limited, whose turn it is, and what is offered next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.limits import PeerLimits
from chatnet.core.transfer.incoming import IncomingTransfer
from chatnet.core.transfer.outgoing import OutgoingTransfer
from chatnet.core.transfer.queue import has_turn, needs_contact, next_to_offer
from chatnet.core.transfer.speed import Pace, Rate
from chatnet.core.transfer.transfer_machine import Phase, TransferMachine


def test_speed_is_that_of_the_last_seconds() -> None:
    rate = Rate(100.0)
    assert rate.per_second is None
    assert rate.seconds_left(10) is None
    for second in range(1, 11):
        rate.mark(100.0 + second, second * 1000)
    assert rate.per_second == pytest.approx(1000)
    assert rate.seconds_left(5000) == pytest.approx(5)
    for second in range(11, 31):
        rate.mark(100.0 + second, 10_000)
    assert rate.per_second == 0
    assert rate.seconds_left(1) is None


def test_speed_holds_few_marks() -> None:
    rate = Rate(0.0)
    for tick in range(10_000):
        rate.mark(tick / 4, tick)
    assert len(rate._marks) < 30


def test_turns_are_counted_for_each_and_for_all() -> None:
    limits = PeerLimits(transfers_per_peer=2, transfers=3)
    a, b, c = b"a", b"b", b"c"
    assert has_turn(a, [a], limits)
    assert not has_turn(a, [a, a], limits)
    assert has_turn(b, [a, a], limits)
    assert not has_turn(c, [a, a, b], limits)


@given(st.integers(1_000, 10**9), st.lists(st.integers(1, 100_000), min_size=2, max_size=50))
def test_a_limit_is_kept_over_any_sequence(rate: int, chunks: list[int]) -> None:
    pace, now = Pace(), 100.0
    pace.rate = rate
    for chunk in chunks:
        now += pace.delay(now)
        pace.spend(now, chunk)
    # All but the last were paid for before it went, less what a rest lets through at once.
    assert sum(chunks[:-1]) <= rate * (now - 100.0 + 0.1) * 1.001 + 1


def test_a_limit_that_is_lifted_forgets_its_debt() -> None:
    pace = Pace()
    pace.rate = 10
    pace.spend(0.0, 1_000)
    assert pace.delay(0.0) > 90
    pace.rate = None
    assert pace.delay(0.0) == 0
    pace.rate = 10
    assert pace.delay(0.0) == 0


def standing(*phases: Phase) -> list[TransferMachine]:
    return [OutgoingTransfer(bytes([number]) * 16, PeerLimits(), phase) for number, phase in enumerate(phases)]


def test_so_many_offers_to_one_person_are_unanswered_and_the_next_ones_wait_in_their_order() -> None:
    limits = PeerLimits(offers_pending=2)
    machines = standing(Phase.OFFERED, Phase.WAITING, Phase.RUNNING, Phase.WAITING, Phase.DONE)
    assert next_to_offer(machines, limits) is machines[1]
    machines[1].phase = Phase.PREPARING
    assert next_to_offer(machines, limits) is None
    machines[0].phase = Phase.DECLINED
    assert next_to_offer(machines, limits) is None  # one after the other
    machines[1].phase = Phase.OFFERED
    assert next_to_offer(machines, limits) is machines[3]
    theirs = IncomingTransfer(b"t" * 16, limits)
    assert next_to_offer([theirs, theirs, theirs, machines[3]], limits) is machines[3]


def test_what_waits_for_answers_needs_no_link() -> None:
    limits = PeerLimits(offers_pending=1)
    offered, waiting = standing(Phase.OFFERED, Phase.WAITING)
    assert needs_contact([waiting], limits)
    assert needs_contact([offered, waiting], limits)  # the offer is not known to be there
    offered.confirmed = True  # type: ignore[attr-defined]
    assert not needs_contact([offered, waiting], limits)
    offered.phase = Phase.DONE
    assert needs_contact([offered, waiting], limits)
