"""What follows each way in which an attempt at the registry, or the link to it, can end.

``TABLE`` is total: every code that a registry can give, every failure of a dial, every way a link ends,
and every exception that is not ours has its row.  A code of the future has a row of its own.
Pure: times are in seconds; ``uniform(low, high)`` gives chance.

Source: faults A3 and A10; docs/architecture.md, "Reconnection".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from chatnet.core import messages
from chatnet.core.backoff import Uniform, obeyed, registry_wait
from chatnet.core.errors import ChatnetError, LocalError, StoreFailed, WrongKey


class Action(Enum):
    """What is done next."""

    RETRY = "try again after a wait that grows"
    OBEY = "try again when the registry asked for it; where it asked for nothing, as RETRY"
    NEWER_RECORD = "as OBEY, with a record of a higher number"
    FINAL = "stop until a person decides"
    NOTHING = "do nothing"


class RegistryEnd(Enum):
    """Every way in which an attempt, or the link, can end."""

    # An attempt that came to nothing here, or on the way.
    UNREACHABLE = "nobody answers at the registry's address"
    WRONG_KEY = "another key answers there than the one that was remembered"
    STORE_FAILED = "our own disk does not take the record"
    CANCELLED = "the attempt was cancelled, because the program stops"
    FOREIGN = "the attempt ended with an exception that is not ours"
    # The registry said why.
    NAME_TAKEN = "the name belongs to another key"
    KEY_BOUND = "the key belongs to another name"
    BAD_NAME = "the registry takes no such name"
    VERSION = "the two programs have no version in common"
    BAD_RECORD = "the registry knows a newer record of ours"
    BUSY = "the registry has reached a limit"
    STOPPING = "the registry is ending"
    STORE = "the registry's disk takes nothing"
    STRUCK = "the registry does not take us for a while"
    ROLE = "a peer answers at the registry's address"
    SELF = "our own program answers there"
    NOT_EXPECTED = "the registry does not expect us"
    BAD_FRAME = "one side sent what cannot be read"
    UNKNOWN_MESSAGE = "one side sent a message that the other side's version does not know"
    INTERNAL_ERROR = "one side met an internal error"
    SLOW = "one side did not read in time"
    TOO_MANY = "the list is longer than a peer takes"
    UNKNOWN_CODE = "the registry gave a code that this version does not know"
    # A link that was open.
    REPLACED = "another instance of our key took our place, for the first time in a while"
    ELSEWHERE = "another instance of our key took our place again"
    BYE = "the registry said goodbye"
    CLOSED = "we closed the link"
    LOST = "the connection broke"
    SILENCE = "nothing was heard for too long"


class Reason(Enum):
    """Why a row says what it says; the reasons of rows that end the tries are shown in the tests' report."""

    MAY_RETURN = "the registry may answer again at any moment"
    ASKED_TO_WAIT = "the registry says when"
    RECORD_IS_OLD = "the record was right but for its number"
    ANSWER_STANDS = "the same question would have the same answer"
    KEY_DIFFERS = "joining would trust a key that nobody has vouched for"
    TWO_INSTANCES = "two instances would replace each other for ever"
    PROGRAM_STOPS = "the program stops"


@dataclass(frozen=True)
class Row:
    """One row of ``TABLE``."""

    action: Action
    reason: Reason


_RETRY = Row(Action.RETRY, Reason.MAY_RETURN)
_OBEY = Row(Action.OBEY, Reason.ASKED_TO_WAIT)
_FINAL = Row(Action.FINAL, Reason.ANSWER_STANDS)

TABLE: dict[RegistryEnd, Row] = {
    RegistryEnd.UNREACHABLE: _RETRY,
    RegistryEnd.WRONG_KEY: Row(Action.FINAL, Reason.KEY_DIFFERS),
    RegistryEnd.STORE_FAILED: _RETRY,
    RegistryEnd.CANCELLED: Row(Action.NOTHING, Reason.PROGRAM_STOPS),
    RegistryEnd.FOREIGN: _RETRY,
    RegistryEnd.NAME_TAKEN: _FINAL,
    RegistryEnd.KEY_BOUND: _FINAL,
    RegistryEnd.BAD_NAME: _FINAL,
    RegistryEnd.VERSION: _FINAL,
    RegistryEnd.BAD_RECORD: Row(Action.NEWER_RECORD, Reason.RECORD_IS_OLD),
    RegistryEnd.BUSY: _OBEY,
    RegistryEnd.STOPPING: _OBEY,
    RegistryEnd.STORE: _OBEY,
    RegistryEnd.STRUCK: _OBEY,
    RegistryEnd.ROLE: _OBEY,
    RegistryEnd.SELF: _OBEY,
    RegistryEnd.NOT_EXPECTED: _OBEY,
    RegistryEnd.BAD_FRAME: _OBEY,
    RegistryEnd.UNKNOWN_MESSAGE: _OBEY,
    RegistryEnd.INTERNAL_ERROR: _OBEY,
    RegistryEnd.SLOW: _OBEY,
    RegistryEnd.TOO_MANY: _OBEY,
    RegistryEnd.UNKNOWN_CODE: _OBEY,
    RegistryEnd.REPLACED: _OBEY,
    RegistryEnd.ELSEWHERE: Row(Action.FINAL, Reason.TWO_INSTANCES),
    RegistryEnd.BYE: _OBEY,
    RegistryEnd.CLOSED: _RETRY,
    RegistryEnd.LOST: _RETRY,
    RegistryEnd.SILENCE: _RETRY,
}

# Every code of an error or of an ended link; one that is not here is a code of the future.
CODES: dict[str, RegistryEnd] = {
    messages.NAME_TAKEN: RegistryEnd.NAME_TAKEN,
    messages.KEY_BOUND: RegistryEnd.KEY_BOUND,
    messages.BAD_NAME: RegistryEnd.BAD_NAME,
    messages.VERSION_UNKNOWN: RegistryEnd.VERSION,
    messages.BAD_RECORD: RegistryEnd.BAD_RECORD,
    messages.BUSY: RegistryEnd.BUSY,
    messages.STOPPING: RegistryEnd.STOPPING,
    messages.STORE: RegistryEnd.STORE,
    messages.STRUCK: RegistryEnd.STRUCK,
    messages.UNANSWERED: RegistryEnd.BUSY,  # a word of peers, with a time like that
    messages.ROLE_UNKNOWN: RegistryEnd.ROLE,
    messages.SELF: RegistryEnd.SELF,
    messages.NOT_EXPECTED: RegistryEnd.NOT_EXPECTED,
    messages.BAD_FRAME: RegistryEnd.BAD_FRAME,
    messages.UNKNOWN_MESSAGE: RegistryEnd.UNKNOWN_MESSAGE,
    messages.INTERNAL_ERROR: RegistryEnd.INTERNAL_ERROR,
    messages.SLOW: RegistryEnd.SLOW,
    messages.TOO_MANY: RegistryEnd.TOO_MANY,
    messages.REPLACED: RegistryEnd.REPLACED,
    "wrong-key": RegistryEnd.WRONG_KEY,
    "connection-refused": RegistryEnd.UNREACHABLE,
    "timed-out": RegistryEnd.UNREACHABLE,
    "unreachable": RegistryEnd.UNREACHABLE,
    "no-address": RegistryEnd.UNREACHABLE,
    "stopped": RegistryEnd.CANCELLED,
    "timeout": RegistryEnd.SILENCE,
    "silence": RegistryEnd.SILENCE,
    "lost": RegistryEnd.LOST,
    "bye": RegistryEnd.BYE,
    "closed": RegistryEnd.CLOSED,
}


def registry_end(code: str, *, again: bool) -> RegistryEnd:
    """Return the row for a code; ``again``: another instance has taken our place once too often."""
    end = CODES.get(code, RegistryEnd.UNKNOWN_CODE)
    return RegistryEnd.ELSEWHERE if end is RegistryEnd.REPLACED and again else end


def attempt_end(error: BaseException) -> RegistryEnd:
    """Return the row for a failed attempt: ``FOREIGN`` for an exception that is not ours."""
    if isinstance(error, WrongKey):
        return RegistryEnd.WRONG_KEY
    if isinstance(error, StoreFailed):
        return RegistryEnd.STORE_FAILED
    if isinstance(error, LocalError) or not isinstance(error, ChatnetError):
        return RegistryEnd.FOREIGN
    return registry_end(error.code, again=False)


@dataclass(frozen=True)
class Step:
    """What is done next, in ``seconds`` from now; ``seconds`` is 0 where nothing is timed."""

    action: Action
    reason: Reason
    seconds: float = 0.0


def next_step(end: RegistryEnd, failures: int, listed: int, retry_after_s: float, uniform: Uniform) -> Step:
    """Return the step that follows an end.

    failures: attempts and short-lived links in a row that ended before, from 0.
    listed: the length of the last known list, by which the wait is spread.
    retry_after_s: the seconds that the registry asked to wait; 0: none.
    """
    row = TABLE[end]
    return Step(row.action, row.reason, _WAITS[row.action](failures, listed, retry_after_s, uniform))


def _grow(failures: int, listed: int, retry_after_s: float, uniform: Uniform) -> float:
    return registry_wait(failures, listed, uniform)


def _obey(failures: int, listed: int, retry_after_s: float, uniform: Uniform) -> float:
    return obeyed(retry_after_s, uniform) if retry_after_s else registry_wait(failures, listed, uniform)


def _no_wait(failures: int, listed: int, retry_after_s: float, uniform: Uniform) -> float:
    return 0.0


_WAITS = {
    Action.RETRY: _grow,
    Action.OBEY: _obey,
    Action.NEWER_RECORD: _obey,
    Action.FINAL: _no_wait,
    Action.NOTHING: _no_wait,
}
