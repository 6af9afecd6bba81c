"""The states of a transfer, and the words for how it ended."""

from __future__ import annotations

import itertools

import pytest

from chatnet.core import messages
from chatnet.core.events import ENDED, TransferState
from chatnet.core.transfer.reasons import reason_of
from chatnet.core.transfer.transfer_machine import Step, after, ending_of

# --- states ---


def test_the_good_way_leads_to_done() -> None:
    state: TransferState | None = TransferState.OFFERED
    for step in (Step.ACCEPTED, Step.STARTED, Step.COMPLETE, Step.VERIFIED):
        assert state is not None
        state = after(state, step)
    assert state is TransferState.DONE


def test_whatever_is_open_can_be_cancelled_and_can_fail() -> None:
    for state in set(TransferState) - ENDED:
        assert after(state, Step.CANCELLED) is TransferState.CANCELLED
        assert after(state, Step.FAILED) is TransferState.FAILED


def test_nothing_moves_what_has_ended() -> None:
    assert [after(state, step) for state, step in itertools.product(ENDED, Step)] == [None] * len(ENDED) * len(Step)


def test_an_answer_that_comes_twice_changes_nothing() -> None:
    assert after(TransferState.QUEUED, Step.ACCEPTED) is None
    assert after(TransferState.RUNNING, Step.DECLINED) is None


# --- words ---


@pytest.mark.parametrize(
    ("code", "sender", "receiver"),
    [
        (messages.CHANGED, "a file changed while it was sent: send it again", "a file changed there"),
        (messages.NO_SPACE, "too little space on their disk", "too little space on this disk"),
        (messages.DECLINED, "they refused it", "you refused it"),
        (messages.DIGEST, "it arrived damaged", "what arrived is not what was sent"),
        (messages.LOST, "the connection broke", "the connection broke"),
    ],
)
def test_each_side_reads_its_own_words(code: str, sender: str, receiver: str) -> None:
    for by_me in (True, False):
        assert reason_of(code, True, by_me).startswith(sender)
        assert reason_of(code, False, by_me).startswith(receiver)


def test_a_cancel_says_who() -> None:
    assert reason_of(messages.USER, True, True) == "you cancelled it"
    assert reason_of(messages.USER, True, False) == "they cancelled it"
    assert ending_of(messages.USER) is Step.CANCELLED
    assert ending_of(messages.CHANGED) is Step.FAILED


def test_an_unknown_code_has_words_too() -> None:
    assert reason_of("moon-phase", False, False) == "they ended it (moon-phase)"
    assert reason_of("", False, False) == ""


# --- breaking off ---


@pytest.mark.parametrize("state", [TransferState.QUEUED, TransferState.RUNNING, TransferState.CHECKING])
def test_what_breaks_off_or_is_held_waits_for_its_turn_again(state: TransferState) -> None:
    for step, rest in ((Step.BROKEN, TransferState.BROKEN), (Step.PAUSED, TransferState.PAUSED)):
        assert after(state, step) is rest
        assert after(rest, Step.RESUMED) is TransferState.QUEUED
        assert after(rest, Step.VERIFIED) is TransferState.DONE
    assert after(TransferState.PAUSED, Step.BROKEN) is TransferState.BROKEN


def test_an_offer_without_an_answer_does_not_break_off() -> None:
    assert after(TransferState.OFFERED, Step.BROKEN) is None
    assert after(TransferState.OFFERED, Step.PAUSED) is None
    assert after(TransferState.OFFERED, Step.VERIFIED) is None
