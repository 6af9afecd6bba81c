"""What happens after a dial or a chat link has ended, and which of two links to one person stays.

Three tables, each total:

* ``TABLE``: every way a dial or a link can end, times what waits for the person, gives what is done next.
* ``ADMISSION``: what is known of the link that is there, times whether it answers, gives what a listener
  does with a new link of the same person.
* ``OPENING``: the same for a link that we have dialled and that the other side has just welcomed.

``Replacements`` counts how often another instance of our own key took our place (fault A3).
Everything here is pure: times are handed in, in seconds; ``uniform(low, high)`` gives chance.

Source: faults A1, A3 and A11; docs/protocol.md, "One link a person".
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum

from chatnet.core import messages
from chatnet.core.backoff import Uniform, obeyed, peer_wait
from chatnet.core.errors import Refused, RemoteError, Unreachable, WrongKey
from chatnet.core.limits import MAX_SOURCES, REPLACEMENTS, REPLACEMENTS_SECONDS

# --- how a dial or a link ends ------------------------------------------------------------------


class End(Enum):
    """Every way in which a dial to a person, or a chat link, can end."""

    # A dial that came to nothing here.
    NO_ADDRESS = "no address of the person is known"
    NOT_DIALABLE = "no address of the person may be dialled from here"
    TOO_SOON = "the addresses were dialled a moment ago"
    UNREACHABLE = "nobody answers at any address"
    WRONG_KEY = "another key answers at the person's address"
    CANCELLED = "the dial was cancelled, because the program stops"
    FOREIGN = "the dial ended with an exception that is not ours"
    # The other side, or we, said why, before or after the link was open.
    BAD_FRAME = "one side sent what cannot be read"
    UNKNOWN_MESSAGE = "one side sent a message that the other side's version does not know"
    INTERNAL_ERROR = "one side met an internal error"
    BAD_RECORD = "the other side does not take our record"
    BAD_NAME = "the other side does not take our name"
    NAME_TAKEN = "the name is bound to another key"
    KEY_BOUND = "the key is bound to another name"
    VERSION = "the two programs have no version in common"
    ROLE = "the other side does not know this kind of link"
    BUSY = "the other side has reached a limit"
    REFUSED_AS_REPLACED = "the other side says that another link is there"
    NOT_EXPECTED = "the other side does not expect us"
    STOPPING = "the other program is ending"
    SELF = "the address leads to our own key"
    SLOW = "one side did not read in time"
    STORE = "one side's disk takes nothing"
    STRUCK = "one side broke the protocol too often"
    UNANSWERED = "the other side takes no more until a person there has answered"
    UNKNOWN_CODE = "the other side gave a code that this version does not know"
    # A link that was open.
    BYE = "the other side said goodbye"
    IDLE = "we closed the link because nothing was said on it"
    REPLACED_BY_US = "a newer link of ours took its place"
    REPLACED_BY_OTHER = "the other side closed it, because another link took its place"
    ELSEWHERE = "another instance of our own key took our place"
    LOST = "the connection broke"
    SILENCE = "nothing was heard for too long"


class Waiting(Enum):
    """What waits for a person when a dial or a link has ended."""

    NOTHING = "nothing"
    UNLISTED = "something, for a person whom the registry's list does not name now"
    LISTED = "something, for a person in the registry's list"


class Action(Enum):
    """What is done next."""

    REDIAL = "dial again after a wait that grows"
    OBEY = "dial again when the other side allows it, and not before the wait that grows"
    USE_LINK = "use the link that is there; when there is none after that wait, dial again"
    STOP = "stop until a person decides"
    NOTHING = "do nothing"


class Cap(Enum):
    """Which limit bounds the wait that grows."""

    QUICK = "retry_listed_seconds"
    SLOW = "retry_cap_seconds"
    NONE = ""


class Reason(Enum):
    """Why a row says what it says; the reasons of rows that do nothing are shown in the tests' report."""

    MAY_ANSWER = "the person is in the list and may answer at any moment"
    MAY_RETURN = "the person is away and may return"
    NO_REMEDY = "only another program or another configuration can change it, so that it is tried rarely"
    ASKED_TO_WAIT = "the other side, or a rule of ours, says when"
    OTHER_LINK = "another link to the person is there or about to open"
    TWO_INSTANCES = "two instances would replace each other for ever"
    NOTHING_WAITS = "nothing waits for the person: the next message dials"
    PROGRAM_STOPS = "the program stops; what waits is in the store and is dialled for at the next start"


@dataclass(frozen=True)
class Row:
    """One row of ``TABLE``."""

    action: Action
    cap: Cap
    reason: Reason


_QUICK = Row(Action.REDIAL, Cap.QUICK, Reason.MAY_ANSWER)
_SLOW = Row(Action.REDIAL, Cap.SLOW, Reason.MAY_RETURN)
_RARE = Row(Action.REDIAL, Cap.SLOW, Reason.NO_REMEDY)
_OBEY_QUICK = Row(Action.OBEY, Cap.QUICK, Reason.ASKED_TO_WAIT)
_OBEY_SLOW = Row(Action.OBEY, Cap.SLOW, Reason.ASKED_TO_WAIT)
_USE_QUICK = Row(Action.USE_LINK, Cap.QUICK, Reason.OTHER_LINK)
_USE_SLOW = Row(Action.USE_LINK, Cap.SLOW, Reason.OTHER_LINK)
_STOP = Row(Action.STOP, Cap.NONE, Reason.TWO_INSTANCES)
_IDLE = Row(Action.NOTHING, Cap.NONE, Reason.NOTHING_WAITS)
_ENDING = Row(Action.NOTHING, Cap.NONE, Reason.PROGRAM_STOPS)

# For each end: the row when nothing waits, when something waits for an unlisted person, for a listed one.
_ROWS: dict[End, tuple[Row, Row, Row]] = {
    End.NO_ADDRESS: (_IDLE, _SLOW, _QUICK),
    End.NOT_DIALABLE: (_IDLE, _SLOW, _QUICK),
    End.TOO_SOON: (_IDLE, _OBEY_SLOW, _OBEY_QUICK),
    End.UNREACHABLE: (_IDLE, _SLOW, _QUICK),
    End.WRONG_KEY: (_IDLE, _SLOW, _QUICK),
    End.CANCELLED: (_ENDING, _ENDING, _ENDING),
    End.FOREIGN: (_IDLE, _SLOW, _QUICK),
    End.BAD_FRAME: (_IDLE, _RARE, _RARE),
    End.UNKNOWN_MESSAGE: (_IDLE, _RARE, _RARE),
    End.INTERNAL_ERROR: (_IDLE, _OBEY_SLOW, _OBEY_QUICK),
    End.BAD_RECORD: (_IDLE, _RARE, _RARE),
    End.BAD_NAME: (_IDLE, _RARE, _RARE),
    End.NAME_TAKEN: (_IDLE, _RARE, _RARE),
    End.KEY_BOUND: (_IDLE, _RARE, _RARE),
    End.VERSION: (_IDLE, _RARE, _RARE),
    End.ROLE: (_IDLE, _RARE, _RARE),
    End.BUSY: (_IDLE, _OBEY_SLOW, _OBEY_QUICK),
    End.REFUSED_AS_REPLACED: (_IDLE, _USE_SLOW, _USE_QUICK),
    End.NOT_EXPECTED: (_IDLE, _SLOW, _QUICK),
    End.STOPPING: (_IDLE, _OBEY_SLOW, _OBEY_QUICK),
    End.SELF: (_IDLE, _RARE, _RARE),
    End.SLOW: (_IDLE, _SLOW, _QUICK),
    End.STORE: (_IDLE, _OBEY_SLOW, _OBEY_QUICK),
    End.STRUCK: (_IDLE, _OBEY_SLOW, _OBEY_QUICK),
    End.UNANSWERED: (_IDLE, _OBEY_SLOW, _OBEY_QUICK),
    End.UNKNOWN_CODE: (_IDLE, _OBEY_SLOW, _OBEY_QUICK),
    End.BYE: (_IDLE, _SLOW, _QUICK),
    End.IDLE: (_IDLE, _SLOW, _QUICK),
    End.REPLACED_BY_US: (_IDLE, _USE_SLOW, _USE_QUICK),
    End.REPLACED_BY_OTHER: (_IDLE, _USE_SLOW, _USE_QUICK),
    End.ELSEWHERE: (_STOP, _STOP, _STOP),
    End.LOST: (_IDLE, _SLOW, _QUICK),
    End.SILENCE: (_IDLE, _SLOW, _QUICK),
}
TABLE: dict[tuple[End, Waiting], Row] = {
    (end, waiting): row
    for end, rows in _ROWS.items()
    for waiting, row in zip((Waiting.NOTHING, Waiting.UNLISTED, Waiting.LISTED), rows, strict=True)
}

# The codes of ERROR, which both sides can give before and after a link is open.
_SAID: dict[str, End] = {
    messages.BAD_FRAME: End.BAD_FRAME,
    messages.UNKNOWN_MESSAGE: End.UNKNOWN_MESSAGE,
    messages.INTERNAL_ERROR: End.INTERNAL_ERROR,
    messages.BAD_RECORD: End.BAD_RECORD,
    messages.BAD_NAME: End.BAD_NAME,
    messages.NAME_TAKEN: End.NAME_TAKEN,
    messages.KEY_BOUND: End.KEY_BOUND,
    messages.VERSION_UNKNOWN: End.VERSION,
    messages.ROLE_UNKNOWN: End.ROLE,
    messages.BUSY: End.BUSY,
    messages.NOT_EXPECTED: End.NOT_EXPECTED,
    messages.STOPPING: End.STOPPING,
    messages.SELF: End.SELF,
    messages.SLOW: End.SLOW,
    messages.STORE: End.STORE,
    messages.STRUCK: End.STRUCK,
    messages.UNANSWERED: End.UNANSWERED,
}
# The codes with which a dial fails: those of ERROR, and the dialler's own.
DIAL_CODES: dict[str, End] = {
    **_SAID,
    messages.REPLACED: End.REFUSED_AS_REPLACED,
    "no-address": End.NO_ADDRESS,
    "not-dialable": End.NOT_DIALABLE,
    "too-soon": End.TOO_SOON,
    "connection-refused": End.UNREACHABLE,
    "timed-out": End.UNREACHABLE,
    "timeout": End.UNREACHABLE,
    "unreachable": End.UNREACHABLE,
    "lost": End.UNREACHABLE,
    "silence": End.UNREACHABLE,
    "closed": End.UNREACHABLE,
    "bye": End.UNREACHABLE,
    "wrong-key": End.WRONG_KEY,
    "stopped": End.CANCELLED,
    "elsewhere": End.ELSEWHERE,
    "internal": End.FOREIGN,
}
# The codes with which a link ends that the other side has ended, or the line.
REMOTE_CODES: dict[str, End] = {
    **_SAID,
    messages.REPLACED: End.REPLACED_BY_OTHER,
    "bye": End.BYE,
    "lost": End.LOST,
    "timeout": End.SILENCE,
}
# The codes with which a link ends that we have ended.
LOCAL_CODES: dict[str, End] = {
    **_SAID,
    messages.REPLACED: End.REPLACED_BY_US,
    "closed": End.IDLE,
    "lost": End.LOST,
    "silence": End.SILENCE,
    "timeout": End.SILENCE,
    "wrong-key": End.WRONG_KEY,
    messages.TOO_MANY: End.BAD_FRAME,
}


def dial_end(error: BaseException) -> End:
    """Return the row of a failed dial: ``UNKNOWN_CODE`` for a code of the future, ``FOREIGN`` for an error not ours."""
    if isinstance(error, (Unreachable, WrongKey, Refused, RemoteError)):
        return DIAL_CODES.get(error.code, End.UNKNOWN_CODE)
    return End.FOREIGN


def link_end(code: str, by_remote: bool) -> End:
    """Return the row of an ended link: ``UNKNOWN_CODE`` for a code of the future."""
    return (REMOTE_CODES if by_remote else LOCAL_CODES).get(code, End.UNKNOWN_CODE)


@dataclass(frozen=True)
class Step:
    """What is done next, in ``seconds`` from now; ``seconds`` is 0 where nothing is timed."""

    action: Action
    reason: Reason
    seconds: float = 0.0


def next_step(
    end: End, waiting: Waiting, failures: int, retry_after_s: float, caps: Callable[[Cap], float], uniform: Uniform
) -> Step:
    """Return the step that follows an end.

    failures: dials and short-lived links in a row before and with this one, from 0.
    retry_after_s: the seconds that the other side, or a rule of ours, asked to wait; 0: none.
    caps: the longest wait in seconds for a Cap.
    """
    row = TABLE[end, waiting]
    return Step(row.action, row.reason, _WAITS[row.action](failures, retry_after_s, caps(row.cap), uniform))


def _grow(failures: int, retry_after_s: float, cap_seconds: float, uniform: Uniform) -> float:
    return peer_wait(failures, cap_seconds, uniform)


def _obey(failures: int, retry_after_s: float, cap_seconds: float, uniform: Uniform) -> float:
    return max(peer_wait(failures, cap_seconds, uniform), obeyed(retry_after_s, uniform))


def _no_wait(failures: int, retry_after_s: float, cap_seconds: float, uniform: Uniform) -> float:
    return 0.0


_WAITS: dict[Action, Callable[[int, float, float, Uniform], float]] = {
    Action.REDIAL: _grow,
    Action.OBEY: _obey,
    Action.USE_LINK: _grow,
    Action.STOP: _no_wait,
    Action.NOTHING: _no_wait,
}


# --- which of two links stays -------------------------------------------------------------------


class Present(Enum):
    """How the link that is there relates to a new one of the same person."""

    ABSENT = "there is none, or it is closing"
    OTHER_INSTANCE = "it leads to another start of the other program"
    CROSSED_OLD_STAYS = "the two were dialled from opposite sides, and by the smaller PeerID's rule the old one stays"
    CROSSED_NEW_STAYS = "the two were dialled from opposite sides, and by the smaller PeerID's rule the new one stays"
    SAME_WAY = "the same side dialled both"


class Proof(Enum):
    """What the link that is there has proven since the new one came."""

    UNASKED = "it was not asked yet"
    ANSWERS = "it answered a ping"
    MUTE = "it did not answer within PROVE_SECONDS, or it is gone"


class Verdict(Enum):
    TAKE = "the new link takes the place"
    ASK = "ask the old link for a sign of life first"
    KEEP = "the old link stays, and the new one is refused as replaced"


@dataclass(frozen=True)
class LinkFacts:
    """What decides between two links of one person."""

    instance: bytes
    dialled: bool  # by this side


def relation(present: LinkFacts | None, new: LinkFacts, mine_is_smaller: bool) -> Present:
    """Return how ``present`` (None: no open link) relates to ``new``; ``mine_is_smaller`` compares the two PeerIDs."""
    if present is None:
        return Present.ABSENT
    if present.instance != new.instance:
        return Present.OTHER_INSTANCE
    if present.dialled == new.dialled:
        return Present.SAME_WAY
    # The link that the smaller PeerID dialled stays: ours stays exactly when ours is the smaller one.
    return Present.CROSSED_OLD_STAYS if present.dialled == mine_is_smaller else Present.CROSSED_NEW_STAYS


# A listener's answer to HELLO.  The new link's key is proven, so that an old one that is mute gives way.
ADMISSION: dict[tuple[Present, Proof], Verdict] = {
    (Present.ABSENT, Proof.UNASKED): Verdict.TAKE,
    (Present.ABSENT, Proof.ANSWERS): Verdict.TAKE,
    (Present.ABSENT, Proof.MUTE): Verdict.TAKE,
    (Present.OTHER_INSTANCE, Proof.UNASKED): Verdict.TAKE,
    (Present.OTHER_INSTANCE, Proof.ANSWERS): Verdict.TAKE,
    (Present.OTHER_INSTANCE, Proof.MUTE): Verdict.TAKE,
    (Present.CROSSED_OLD_STAYS, Proof.UNASKED): Verdict.ASK,
    (Present.CROSSED_OLD_STAYS, Proof.ANSWERS): Verdict.KEEP,
    (Present.CROSSED_OLD_STAYS, Proof.MUTE): Verdict.TAKE,
    (Present.CROSSED_NEW_STAYS, Proof.UNASKED): Verdict.TAKE,
    (Present.CROSSED_NEW_STAYS, Proof.ANSWERS): Verdict.TAKE,
    (Present.CROSSED_NEW_STAYS, Proof.MUTE): Verdict.TAKE,
    (Present.SAME_WAY, Proof.UNASKED): Verdict.ASK,
    (Present.SAME_WAY, Proof.ANSWERS): Verdict.KEEP,
    (Present.SAME_WAY, Proof.MUTE): Verdict.TAKE,
}
# A dialler, once the other side has said WELCOME: the other side has decided, and only two links that
# were welcomed at the same moment on both sides are left to the smaller PeerID's rule.
OPENING: dict[Present, Verdict] = {
    Present.ABSENT: Verdict.TAKE,
    Present.OTHER_INSTANCE: Verdict.TAKE,
    Present.CROSSED_OLD_STAYS: Verdict.KEEP,
    Present.CROSSED_NEW_STAYS: Verdict.TAKE,
    Present.SAME_WAY: Verdict.TAKE,
}


# --- another instance of our own key ------------------------------------------------------------


class Replacements:
    """Counts how often another instance of our key took our place, for each program that told us so.

    At the second time within REPLACEMENTS_SECONDS the two would go on for ever: this instance gives way
    until a person takes it back.
    """

    def __init__(self) -> None:
        self._times: OrderedDict[Hashable, list[float]] = OrderedDict()

    def add(self, by: Hashable, now: float) -> bool:
        """Note a replacement that the program ``by`` told us of; True when it was one too many."""
        times = [then for then in self._times.pop(by, []) if now - then < REPLACEMENTS_SECONDS]
        self._times[by] = [*times, now][-REPLACEMENTS:]
        while len(self._times) > MAX_SOURCES:
            self._times.popitem(last=False)
        return len(self._times[by]) >= REPLACEMENTS

    def clear(self) -> None:
        """Count from zero again, because the user has taken the place back."""
        self._times.clear()
