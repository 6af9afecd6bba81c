"""The states of a transfer, the steps between them, and why it ended.

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
from chatnet.core.text import SafeText, safe_line

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


# --- endings, in words ------------------------------------------------------------------------

# By code: for the side where it happened, then for the other one.
_AT_SENDER = {
    messages.CHANGED: (
        "a file changed while it was sent: send it again",
        "a file changed there while it was sent: ask for it again",
    ),
    messages.UNREADABLE: ("a file can no longer be read here", "a file can no longer be read there"),
}
_AT_RECEIVER = {
    messages.DECLINED: ("you refused it", "they refused it"),
    messages.NO_SPACE: ("too little space on this disk", "too little space on their disk"),
    messages.UNWRITABLE: ("it cannot be written here: look at the download folder", "it cannot be written there"),
    messages.TOO_MANY: (
        "they made more offers than are taken at a time",
        "they take no more offers at present: wait for an answer to those that are open",
    ),
    messages.STORE: ("the database could not keep it", "it could not be kept there: offer it again later"),
    messages.CONFLICT: ("it used the number of another transfer", "its number is in use there: offer it again"),
    messages.DIGEST: (
        "what arrived is not what was sent: nothing was kept of it",
        "it arrived damaged and was not kept: send it again",
    ),
}
_AT_EITHER = {
    messages.USER: ("you cancelled it", "they cancelled it"),
    messages.BAD_FRAME: ("the other side broke the protocol", "this side broke the protocol"),
    messages.PAUSED: ("you paused it", "they paused it"),
    messages.STOPPING: ("the program was ended here", "the program was ended there"),
}
_BETWEEN = {
    messages.LOST: "the connection broke before it was complete",
    messages.LATE: "no connection for it came in time",
}


def reason_of(code: str, outgoing: bool, by_me: bool) -> SafeText:
    """Why a transfer ended, for the person at this side; empty for an empty code.

    ``by_me`` says which side found it; it decides only where the code leaves that open.
    """
    if not code:
        return safe_line("")
    if code in _BETWEEN:
        return safe_line(_BETWEEN[code])
    for place, here in ((_AT_SENDER, outgoing), (_AT_RECEIVER, not outgoing), (_AT_EITHER, by_me)):
        if code in place:
            return safe_line(place[code][0 if here else 1])
    return safe_line(f"they ended it ({code})")


def ending_of(code: str) -> Step:
    """The step that a CANCEL with this code means: a person's wish, or a fault."""
    return Step.CANCELLED if code == messages.USER else Step.FAILED
