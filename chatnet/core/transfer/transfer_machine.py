"""The states of a transfer and the steps between them.

    OFFERED --accepted--> QUEUED --started--> RUNNING --complete--> CHECKING --verified--> DONE
       | declined            |                   |                     |
       v                     +---- cancelled: CANCELLED, failed: FAILED (from everywhere)
    DECLINED

    QUEUED, RUNNING, CHECKING --broken--> BROKEN --resumed--> QUEUED
    these and BROKEN ---------paused--> PAUSED --broken (released)--> BROKEN, --resumed--> QUEUED
    BROKEN, PAUSED, QUEUED --verified--> DONE: the receiver had everything already

The receiver sends ACCEPT when its own turn has come; the sender then connects at once and begins
when it has its turn.  So QUEUED is waiting for either.
"""

from __future__ import annotations

from enum import IntFlag, StrEnum

from chatnet.core import messages
from chatnet.core.events import TransferState

# --- states -----------------------------------------------------------------------------------


class Step(StrEnum):
    """What may happen to a transfer."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    STARTED = "started"
    COMPLETE = "complete"  # the last byte was sent, or has come
    VERIFIED = "verified"
    CANCELLED = "cancelled"
    FAILED = "failed"
    BROKEN = "broken"  # its link is gone
    PAUSED = "paused"
    RESUMED = "resumed"


class PausedBy(IntFlag):
    """Which sides hold a transfer; both may."""

    NOBODY = 0
    HERE = 1
    THERE = 2


_ENDINGS = {Step.CANCELLED: TransferState.CANCELLED, Step.FAILED: TransferState.FAILED}
_OPEN = tuple(state for state in TransferState if not state.ended)
_UNDER_WAY = (TransferState.QUEUED, TransferState.RUNNING, TransferState.CHECKING)
_HALTED = (TransferState.BROKEN, TransferState.PAUSED)

TABLE: dict[tuple[TransferState, Step], TransferState] = {
    (TransferState.OFFERED, Step.ACCEPTED): TransferState.QUEUED,
    (TransferState.OFFERED, Step.DECLINED): TransferState.DECLINED,
    (TransferState.QUEUED, Step.STARTED): TransferState.RUNNING,
    (TransferState.RUNNING, Step.COMPLETE): TransferState.CHECKING,
    (TransferState.CHECKING, Step.VERIFIED): TransferState.DONE,
    **{(state, Step.BROKEN): TransferState.BROKEN for state in (*_UNDER_WAY, TransferState.PAUSED)},
    **{(state, Step.PAUSED): TransferState.PAUSED for state in (*_UNDER_WAY, TransferState.BROKEN)},
    **{(state, Step.RESUMED): TransferState.QUEUED for state in _HALTED},
    **{(state, Step.VERIFIED): TransferState.DONE for state in (*_HALTED, TransferState.QUEUED)},
    **{(state, step): ending for state in _OPEN for step, ending in _ENDINGS.items()},
}


def after(state: TransferState, step: Step) -> TransferState | None:
    """The state that follows; None where the step has come too late or too early and changes nothing.

    Both sides may speak at the same moment (a cancel crosses a verified): that is no error.
    """
    return TABLE.get((state, step))


def ending_of(code: str) -> Step:
    """The step that a CANCEL with this code means: a person's wish, or a fault."""
    return Step.CANCELLED if code == messages.USER else Step.FAILED
