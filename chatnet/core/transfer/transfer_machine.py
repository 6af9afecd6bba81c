"""What both sides of a transfer have in common: phases, the form of the tables, outcomes and their telling.

    WAITING --> OFFERED --> QUEUED --> CALLING --> READY --> RUNNING --> CHECKING --> DONE
     PREPARING     | OPENING  turn       file link    first file  last byte

    QUEUED ... CHECKING --link lost--> BROKEN --chat link--> (REOPENING) --> QUEUED again
    BROKEN, QUEUED ... CHECKING --a person--> PAUSED --> BROKEN;  --full disk--> HELD --> REOPENING
    from everywhere to DECLINED, CANCELLED, FAILED

An offer is stored before it is said.  It waits until there is a chat link, and until the peer has answered
enough of the offers before it; then its files are looked at once more, and it is said.

The receiver begins everything else: it opens its folders, waits for its turn and says ACCEPT; the sender
then makes a file link and sends when its own turn has come.

Nothing relies on a word having been heard.  On every new chat link each side says how each of its open
transfers stands (RESUME asks, PAUSE holds), and the other answers.  Who ends a transfer has it in mind
(``told`` is False) until the other side has processed the word that says so: until then it is said on
each new chat link, and counts as something that waits for this peer (``needs_contact``).
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import Any, ClassVar, TypeAlias

from chatnet.core import messages
from chatnet.core.events import TransferState
from chatnet.core.limits import SETTLE_SECONDS, PeerLimits
from chatnet.core.messages import Cancel, Decline, Message, Pause, Resume, Verified, Want
from chatnet.core.text import SafeText, safe_line
from chatnet.core.transfer.reasons import reason_of
from chatnet.core.transfer.transfer_events import (
    TIMER_OF_INPUT,
    Arm,
    ChatUp,
    Confirm,
    Contact,
    Disarm,
    Effect,
    Input,
    Objection,
    OutcomeHeard,
    Persist,
    Retry,
    Send,
    Tell,
    Timer,
    WordHeard,
)

OBSTACLES = (messages.NO_SPACE, messages.NO_INODES, messages.STORE)  # for which a receiver holds a transfer by itself


class Phase(StrEnum):
    """Finer than ``TransferState``, which is what people see."""

    WAITING = "waiting"  # outgoing: not said yet
    PREPARING = "preparing"  # outgoing: its files are looked at, to say it
    OFFERED = "offered"
    OPENING = "opening"  # incoming: accepted, the disk is looked at
    QUEUED = "queued"  # incoming: waits for its turn, the download is open
    CALLING = "calling"  # the acceptance is said, the file link is awaited
    READY = "ready"  # the file link is open; outgoing: waits for its turn, incoming: for the first file
    RUNNING = "running"
    CHECKING = "checking"
    BROKEN = "broken"  # waits for a chat link, for an answer on it, or for another try
    REOPENING = "reopening"  # incoming: the disk is looked at, to go on
    PAUSED = "paused"  # a person holds it, here or there
    HELD = "held"  # incoming: the disk holds it
    DONE = "done"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in ENDINGS


ENDINGS = (Phase.DONE, Phase.DECLINED, Phase.CANCELLED, Phase.FAILED)

# With these a file link ends its transfer: another link would end in the same way.
FATAL_ENDS = (messages.BAD_FRAME, messages.UNKNOWN_MESSAGE, messages.INTERNAL_ERROR)

STATE_OF: dict[Phase, TransferState] = {
    Phase.WAITING: TransferState.WAITING,
    Phase.PREPARING: TransferState.WAITING,
    Phase.OFFERED: TransferState.OFFERED,
    Phase.OPENING: TransferState.OFFERED,
    Phase.QUEUED: TransferState.QUEUED,
    Phase.CALLING: TransferState.QUEUED,
    Phase.READY: TransferState.QUEUED,
    Phase.RUNNING: TransferState.RUNNING,
    Phase.CHECKING: TransferState.CHECKING,
    Phase.BROKEN: TransferState.BROKEN,
    Phase.REOPENING: TransferState.BROKEN,
    Phase.PAUSED: TransferState.PAUSED,
    Phase.HELD: TransferState.PAUSED,
    Phase.DONE: TransferState.DONE,
    Phase.DECLINED: TransferState.DECLINED,
    Phase.CANCELLED: TransferState.CANCELLED,
    Phase.FAILED: TransferState.FAILED,
}


def phase_of(state: TransferState, kind: type[TransferMachine]) -> Phase:
    """Return the phase in which a transfer of this kind is recalled from its stored state.  ``Recalled`` follows."""
    return next(phase for phase in kind.PHASES if STATE_OF[phase] is state)


class PausedBy(IntFlag):
    """Who holds a transfer; the numbers stand in the store."""

    NOBODY = 0
    HERE = 1
    THERE = 2


@dataclass(frozen=True)
class Nothing:
    """A row that does nothing, and why."""

    why: str


# The machine and the input are those of the table's own class and row, which no type can say.
Handler: TypeAlias = Callable[[Any, Any], Iterator[Effect]]
Row: TypeAlias = Handler | Nothing
Table: TypeAlias = Mapping[tuple[Phase, type[Input]], Row]


def table_of(
    phases: tuple[Phase, ...], inputs: tuple[type[Input], ...], rows: Mapping[type[Input], Mapping[Any, Row]]
) -> Table:
    """Make the table with one row for each phase and input.  ``rows`` names phases alone or as tuples.

    Raises ValueError for a pair that is missing, stands twice, or is none of the machine's.
    """
    table: dict[tuple[Phase, type[Input]], Row] = {}
    for kind, of_phases in rows.items():
        for key, row in of_phases.items():
            for phase in key if isinstance(key, tuple) else (key,):
                if (phase, kind) in table or phase not in phases:
                    raise ValueError(f"{phase} x {kind.__name__} stands twice, or cannot be")
                table[phase, kind] = row
    missing = [f"{phase} x {kind.__name__}" for phase in phases for kind in inputs if (phase, kind) not in table]
    if missing:
        raise ValueError(f"{len(missing)} without a row: {', '.join(missing[:10])}")
    return table


def outcome_of(fid: bytes, outgoing: bool, state: TransferState, code: str) -> Message:
    """Return the message that says how a transfer has ended here.

    Of a done one a receiver says VERIFIED, and a sender CANCEL with LOST, as it has nothing left to give.
    """
    if state is TransferState.DONE:
        return Cancel(fid, messages.LOST) if outgoing else Verified(fid)
    if state is TransferState.DECLINED and not outgoing:
        return Decline(fid, code or messages.DECLINED)
    return Cancel(fid, code or messages.LOST)


def ending_of(code: str) -> Phase:
    """Return the phase of a transfer that the other side ended with CANCEL and this code."""
    return {messages.USER: Phase.CANCELLED, messages.DECLINED: Phase.DECLINED}.get(code, Phase.FAILED)


@dataclass
class Run:
    """What exists only from an acceptance until its file link has done its work or is gone."""

    token: bytes  # what the file link must show
    wants: tuple[Want, ...] = ()  # outgoing
    dialling: bool = False
    linked: bool = False  # the file link is open


@dataclass(eq=False)
class TransferMachine:
    """The base of both machines.  ``handle`` is the only way in."""

    TABLE: ClassVar[Table]
    PHASES: ClassVar[tuple[Phase, ...]]
    OUTGOING: ClassVar[bool]

    fid: bytes
    limits: PeerLimits
    phase: Phase = Phase.OFFERED
    code: str = ""
    reason: SafeText = field(default_factory=lambda: safe_line(""))
    paused: PausedBy = PausedBy.NOBODY
    told: bool = True  # the other side knows how it ended; of no meaning before
    linked: bool = False  # a chat link is open
    run: Run | None = None
    failures: int = 0  # in a row, since bytes went
    late: int = 0  # file links that did not come, in a row
    doubtful: bool = False  # recalled, or held or let go out of reach: not yet compared with the other side
    unsaved: bool = False  # the store did not take the last change
    armed: set[Timer | None] = field(default_factory=set)

    @property
    def state(self) -> TransferState:
        return STATE_OF[self.phase]

    @property
    def ended(self) -> bool:
        return self.phase.ended

    @property
    def needs_contact(self) -> bool:
        """Whether something of it waits for a chat link."""
        raise NotImplementedError

    @property
    def waits_to_be_offered(self) -> bool:
        """Whether it has not been said to the other side."""
        return False

    @property
    def awaits_answer(self) -> bool:
        """Whether it is, or is just being, offered by this side, and not answered."""
        return False

    def expects(self, token: bytes) -> bool:
        """Whether a file link that shows ``token`` is awaited now."""
        return self.phase is Phase.CALLING and self.run is not None and hmac.compare_digest(self.run.token, token)

    def handle(self, event: Input) -> tuple[Effect, ...]:
        """Return the effects of ``event``, to be carried out in this order.

        The machine's state is as if they already were.
        """
        self.armed.discard(TIMER_OF_INPUT.get(type(event)))
        row = self.TABLE[self.phase, type(event)]
        return () if isinstance(row, Nothing) else tuple(row(self, event))

    # --- parts of rows ---

    def _change(self, phase: Phase, code: str = "", by_me: bool = True) -> Iterator[Effect]:
        self._set(phase, code, by_me)
        yield Persist()
        yield Tell()

    def _set(self, phase: Phase, code: str = "", by_me: bool = True) -> None:
        self.phase, self.code, self.reason = phase, code, reason_of(code, self.OUTGOING, by_me)

    def _arm(self, timer: Timer, seconds: float) -> Iterator[Effect]:
        self.armed.add(timer)
        yield Arm(timer, seconds)

    def _disarm(self, *timers: Timer) -> Iterator[Effect]:
        for timer in timers:
            if timer in self.armed:
                self.armed.discard(timer)
                yield Disarm(timer)

    def _retry(self) -> Iterator[Effect]:
        self.armed.add(Timer.RETRY)
        yield Retry(self.failures)
        self.failures += 1

    def _doubt(self) -> Iterator[Effect]:
        """Ask for a chat link, because what is known here and there of the transfer may differ.

        Used after each start (the store may not have taken a last change), and after a message that was not sent.
        """
        self.doubtful = True
        yield Contact()

    def _compare(self) -> Iterator[Effect]:
        """Give the other side's store time to answer a question, or the answer to one, that was just sent."""
        if self.doubtful:
            yield from self._arm(Timer.ASK, SETTLE_SECONDS)

    def _confirm_compared(self, _: Input) -> Iterator[Effect]:
        yield Confirm(WordHeard())

    def _compared(self, _: Input) -> Iterator[Effect]:
        self.doubtful = False
        yield from ()

    def _waiting_linked(self, event: Input) -> Iterator[Effect]:
        """Handle a chat link while the transfer waits for a person, here or there."""
        self._note_link(event)
        yield from self._say_paused() if PausedBy.HERE in self.paused else self._ask()
        yield from self._compare()

    def _waiting_unlinked(self, event: Input) -> Iterator[Effect]:
        self._note_link(event)
        yield from self._disarm(Timer.ASK)
        if self.doubtful:
            yield Contact()

    def _object(self, code: str) -> Iterator[Effect]:
        yield Objection(code)

    def _ask(self, _: Input | None = None) -> Iterator[Effect]:
        """Ask the other side how the transfer stands there."""
        yield Send(Resume(self.fid))

    def _say_paused(self, _: Input | None = None) -> Iterator[Effect]:
        """Tell the other side that it is held here, and why; only over an open chat link."""
        code = self.code if self.code in OBSTACLES else messages.PAUSED
        yield Send(Pause(self.fid, messages.NO_SPACE if code == messages.NO_INODES else code))

    # --- outcomes ---

    def outcome(self) -> Message:
        """Return the message that says how it ended."""
        return outcome_of(self.fid, self.OUTGOING, self.state, self.code)

    def _say_outcome(self, _: Input | None = None) -> Iterator[Effect]:
        """Tell the other side how it ended, until that is known to be heard."""
        if self.linked:
            yield Send(self.outcome())
            yield Confirm(OutcomeHeard())
        else:
            yield Contact()

    def _answer_outcome(self, _: Input) -> Iterator[Effect]:
        """Send how the transfer ended here to the other side, which does not know.

        Its message shows that there is a link.
        """
        yield Send(self.outcome())
        if not self.told:
            yield Confirm(OutcomeHeard())

    def _repeat_outcome(self, event: Input) -> Iterator[Effect]:
        """Tell the outcome again on a new chat link, unless it was heard."""
        self._note_link(event)
        if not self.told:
            yield from self._say_outcome()

    def _known_there(self, _: Input) -> Iterator[Effect]:
        """Note that it has ended there too."""
        if not self.told:
            self.told = True
            yield Persist()

    def _miss_contact(self, event: Input) -> Iterator[Effect]:
        """Note that the chat link is lost, and ask for another while the other side does not know of the end."""
        self._note_link(event)
        if not self.told:
            yield Contact()

    # --- rows that are the same on both sides ---

    def _note_link(self, event: Input) -> None:
        self.linked = isinstance(event, ChatUp)

    def _link_noted(self, event: Input) -> Iterator[Effect]:
        self._note_link(event)
        yield from ()

    def _not_saved(self, _: Input) -> Iterator[Effect]:
        self.unsaved = True
        yield from ()

    def _save_again(self, _: Input) -> Iterator[Effect]:
        if self.unsaved:
            self.unsaved = False
            yield Persist()

    def _ended_already(self, _: Input) -> Iterator[Effect]:
        yield Objection("ended")

    def _answered_already(self, _: Input) -> Iterator[Effect]:
        yield Objection("answered")

    def _not_running(self, _: Input) -> Iterator[Effect]:
        yield Objection("not-running")
