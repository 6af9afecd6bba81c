"""The rules of a transfer at the side that sends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from chatnet.core import messages
from chatnet.core.limits import ASK_SECONDS, LATE_LINKS, LOOK_SECONDS, SETTLE_SECONDS
from chatnet.core.messages import DialMe
from chatnet.core.transfer.transfer_events import (
    INPUTS,
    AskDue,
    AskTurn,
    ChatDown,
    ChatUp,
    Confirm,
    Contact,
    DialFile,
    DownloadFailed,
    DownloadHindered,
    DownloadOpened,
    Effect,
    FileDialFailed,
    FileLinkLost,
    FileLinkOpened,
    FilesSeen,
    FreeTurn,
    HeardAccept,
    HeardCancel,
    HeardDecline,
    HeardDialMe,
    HeardPause,
    HeardResume,
    HeardVerified,
    Input,
    Leave,
    LeaveLink,
    LetOffer,
    LinkLate,
    LookAtFiles,
    LookLate,
    OfferGranted,
    OutcomeHeard,
    Overdue,
    Persist,
    PersonAccepts,
    PersonCancels,
    PersonPauses,
    PersonRefuses,
    PersonResumes,
    PersonShuns,
    Recalled,
    RefuseLink,
    RetryDue,
    RunBegan,
    RunComplete,
    RunFailed,
    RunHindered,
    RunMismatched,
    RunRefused,
    RunRested,
    RunVerified,
    Send,
    SendOffer,
    SpaceDue,
    SpaceSeen,
    StartSending,
    Stopping,
    StopRun,
    StoreBack,
    Timer,
    TurnGranted,
    Unsaved,
    WordHeard,
)
from chatnet.core.transfer.transfer_machine import (
    ENDINGS,
    FATAL_ENDS,
    Nothing,
    PausedBy,
    Phase,
    Run,
    TransferMachine,
    ending_of,
    table_of,
)

WITH_LINK = (Phase.READY, Phase.RUNNING, Phase.CHECKING)
UNDER_WAY = (Phase.CALLING, *WITH_LINK)
UNSAID = (Phase.WAITING, Phase.PREPARING)
UNANSWERED = (*UNSAID, Phase.OFFERED)
OPEN = (*UNANSWERED, *UNDER_WAY, Phase.BROKEN, Phase.PAUSED)
FRUITLESS = (Phase.DECLINED, Phase.CANCELLED, Phase.FAILED)

NO_DOWNLOAD = Nothing("only a receiver opens a download")
NOT_ARMED = Nothing("this timer does not run in this phase")
NO_RUN = Nothing("the run was stopped, and says so late")
GOES_ON = Nothing("it is on its way already")
SAID = Nothing("it was said already")


@dataclass(eq=False)
class OutgoingTransfer(TransferMachine):
    """``confirmed``: the offer is known to be there; ``settled``: it stands there in the store, too;
    ``offering``: its pages are on their way; ``hindered``: it waits for the end of a look at its files, too.
    """

    OUTGOING: ClassVar[bool] = True
    PHASES: ClassVar[tuple[Phase, ...]] = (*OPEN, *ENDINGS)

    phase: Phase = Phase.WAITING
    confirmed: bool = False
    settled: bool = False
    offering: bool = False
    hindered: bool = False

    @property
    def needs_contact(self) -> bool:
        if self.phase is Phase.OFFERED:
            return not self.confirmed
        if self.phase is Phase.PAUSED:
            return self.doubtful
        return self.waits_to_be_offered or self.phase is Phase.BROKEN or (self.ended and not self.told)

    @property
    def is_unanswered(self) -> bool:
        """Whether the other side has not said what becomes of it."""
        return self.phase in UNANSWERED

    @property
    def waits_to_be_offered(self) -> bool:
        return self.phase is Phase.WAITING and not self.hindered

    @property
    def awaits_answer(self) -> bool:
        return self.phase in (Phase.PREPARING, Phase.OFFERED)

    def offer(self) -> tuple[Effect, ...]:
        """Return the effects that bring a new offer to the other side."""
        return (LetOffer(),) if self.linked else (Contact(),)

    # --- parts ---

    def _change(self, phase: Phase, code: str = "", by_me: bool = True) -> Iterator[Effect]:
        before = self.awaits_answer
        yield from super()._change(phase, code, by_me)
        if before and not self.awaits_answer:
            yield LetOffer()

    def _end_unsaid(self, phase: Phase, code: str) -> Iterator[Effect]:
        """End a transfer that the other side has not heard of, and need not."""
        self.told = True
        yield from self._disarm(Timer.LOOK)
        yield from self._change(phase, code)

    def _release(self, keep: bool) -> Iterator[Effect]:
        yield from self._disarm(*Timer)
        if self.phase in WITH_LINK:
            yield FreeTurn()
        if self.run is not None:
            self.run = None
            yield StopRun(keep)

    def _end(self, phase: Phase, code: str, by_me: bool, leave: Leave) -> Iterator[Effect]:
        linked = self.phase in WITH_LINK
        yield from self._release(keep=False)
        self.told, self.paused = not by_me, PausedBy.NOBODY
        yield from self._change(phase, code, by_me)
        if linked:
            yield LeaveLink(leave)
        if by_me:
            yield from self._say_outcome()

    def _go_on(self, _: Input | None = None) -> Iterator[Effect]:
        """Ask the receiver to go on, and ask again: only the receiver begins."""
        yield from self._disarm(Timer.RETRY)
        if self.linked:
            yield from self._ask()
            yield from self._arm(Timer.ASK, ASK_SECONDS)
        else:
            yield Contact()

    def _break(self, code: str, leave: Leave | None = Leave.CUT) -> Iterator[Effect]:
        linked = self.phase in WITH_LINK
        yield from self._release(keep=True)
        if linked and leave is not None:
            yield LeaveLink(leave)
        yield from self._change(Phase.BROKEN, code)
        if self.linked:
            yield from self._retry()
        else:
            yield Contact()

    def _hold(self, by: PausedBy, code: str, leave: Leave) -> Iterator[Effect]:
        linked = self.phase in WITH_LINK
        yield from self._release(keep=True)
        if linked:
            yield LeaveLink(leave)
        self.paused |= by
        yield from self._change(Phase.PAUSED, code, by_me=by is PausedBy.HERE)

    # --- a person ---

    def _withdraw(self, _: Input) -> Iterator[Effect]:
        yield from self._end_unsaid(Phase.CANCELLED, messages.USER)

    def _cancel(self, _: Input) -> Iterator[Effect]:
        yield from self._end(Phase.CANCELLED, messages.USER, by_me=True, leave=Leave.WAIT)

    def _pause(self, _: PersonPauses) -> Iterator[Effect]:
        if PausedBy.HERE in self.paused:
            return
        yield from self._hold(PausedBy.HERE, messages.PAUSED, Leave.WAIT)
        yield from self._say_paused() if self.linked else self._doubt()

    def _unpause(self, _: PersonResumes) -> Iterator[Effect]:
        if PausedBy.HERE in self.paused:
            self.paused &= ~PausedBy.HERE
            if self.paused:
                yield from self._change(Phase.PAUSED, messages.PAUSED, by_me=False)
                yield from self._ask() if self.linked else self._doubt()
        if self.paused:
            yield from self._object("paused-there")
        else:
            yield from self._change(Phase.BROKEN)
            yield from self._go_on()

    def _own_offer(self, _: Input) -> Iterator[Effect]:
        yield from self._object("own-offer")

    # --- words ---

    def _accepted(self, event: HeardAccept) -> Iterator[Effect]:
        yield from self._release(keep=True)
        self.paused, self.doubtful = PausedBy.NOBODY, False
        self.run = Run(event.token, tuple(event.wants), dialling=True)
        yield from self._change(Phase.CALLING)
        yield from self._arm(Timer.LINK, self.limits.file_link_seconds)
        yield DialFile(event.token, self.limits.dial_me_seconds)

    def _accepted_again(self, event: HeardAccept) -> Iterator[Effect]:
        if self.run is not None and event.token == self.run.token:
            return  # said twice
        if self.phase in WITH_LINK:
            yield LeaveLink(Leave.CUT)
        yield from self._accepted(event)

    def _accepted_while_paused(self, event: HeardAccept) -> Iterator[Effect]:
        if PausedBy.HERE in self.paused:
            yield from self._say_paused()
        else:
            yield from self._accepted(event)

    def _declined(self, event: HeardDecline) -> Iterator[Effect]:
        yield from self._end(Phase.DECLINED, event.code, by_me=False, leave=Leave.CUT)

    def _cancelled(self, event: HeardCancel) -> Iterator[Effect]:
        yield from self._end(ending_of(event.code), event.code, by_me=False, leave=Leave.CUT)

    def _cancelled_unsaid(self, event: HeardCancel) -> Iterator[Effect]:
        if event.code != messages.LOST:
            yield from self._cancelled(event)

    def _unknown_there(self, event: HeardCancel) -> Iterator[Effect]:
        if event.code != messages.LOST:
            yield from self._cancelled(event)
            return
        if self.offering:
            return  # an answer to a question from before
        self.offering = True
        self.confirmed = self.settled = False  # it got lost with its link, or with their store
        yield from self._disarm(Timer.ASK)
        yield SendOffer()

    def _held_there(self, event: HeardPause) -> Iterator[Effect]:
        yield from self._hold(PausedBy.THERE, event.code, Leave.CUT)

    def _held_there_too(self, event: HeardPause) -> Iterator[Effect]:
        if PausedBy.HERE in self.paused:
            if PausedBy.THERE not in self.paused:
                self.paused |= PausedBy.THERE
                yield Persist()
        elif self.code != event.code:
            yield from self._change(Phase.PAUSED, event.code, by_me=False)

    def _let_go_there(self, _: HeardResume) -> Iterator[Effect]:
        if PausedBy.HERE in self.paused:
            if PausedBy.THERE in self.paused:
                self.paused = PausedBy.HERE
                yield Persist()
            yield from self._say_paused()
        else:
            self.paused = PausedBy.NOBODY
            yield from self._change(Phase.BROKEN)
            yield from self._go_on()

    def _verified(self, _: Input) -> Iterator[Effect]:
        yield from self._end(Phase.DONE, "", by_me=False, leave=Leave.BYE)

    # --- the way to an offer ---

    def _ask_to_offer(self, event: ChatUp) -> Iterator[Effect]:
        self._note_link(event)
        yield LetOffer()

    def _unsaid_unlinked(self, event: ChatDown) -> Iterator[Effect]:
        self._note_link(event)
        if not self.hindered:
            yield Contact()

    def _prepare(self, _: OfferGranted) -> Iterator[Effect]:
        """Look at the files before they are offered: the transfer may have waited for long, and they may be gone."""
        if self.linked:
            self.phase = Phase.PREPARING
            yield from self._arm(Timer.LOOK, LOOK_SECONDS)
            yield LookAtFiles()
        else:
            yield Contact()

    def _look_late(self, _: LookLate) -> Iterator[Effect]:
        """Wait because the disk is slow to answer. Other transfers do not wait for this one meanwhile."""
        self.hindered = True
        yield from self._change(Phase.WAITING, messages.SLOW_DISK)

    def _look_over(self, _: FilesSeen) -> Iterator[Effect]:
        """Offer again if the look at the files was late: what it has found is old.

        The files are looked at once more before the offer.
        """
        if self.hindered:
            self.hindered = False
            yield from self._change(Phase.WAITING)
            yield from self.offer()

    def _files_seen(self, event: FilesSeen) -> Iterator[Effect]:
        yield from self._disarm(Timer.LOOK)
        if event.code:
            yield from self._end_unsaid(Phase.FAILED, event.code)
        elif self.linked:
            self.offering = True
            yield from self._change(Phase.OFFERED)
            yield SendOffer()
            yield LetOffer()
        else:
            self.phase = Phase.WAITING
            yield Contact()

    # --- chat links ---

    def _offer_again(self, event: ChatUp) -> Iterator[Effect]:
        """Whether the offer is known there is asked; an answer from their store may take a while."""
        self._note_link(event)
        self.offering = False
        yield from self._ask()
        yield from self._arm(Timer.ASK, SETTLE_SECONDS)

    def _offer_asked(self, _: AskDue) -> Iterator[Effect]:
        if self.confirmed:
            self.settled = True
        else:
            yield Confirm(WordHeard())

    def _offer_heard(self, _: WordHeard) -> Iterator[Effect]:
        self.confirmed, self.offering = True, False
        yield from self._arm(Timer.ASK, ASK_SECONDS)

    def _offer_unlinked(self, event: ChatDown) -> Iterator[Effect]:
        self._note_link(event)
        yield from self._disarm(Timer.ASK)
        self.offering = False
        if not (self.settled and event.in_order):
            self.confirmed = False
        if not self.confirmed:
            yield Contact()

    def _ask_on_link(self, event: ChatUp) -> Iterator[Effect]:
        self._note_link(event)
        yield from self._ask()

    def _broken_linked(self, event: ChatUp) -> Iterator[Effect]:
        self._note_link(event)
        yield from self._go_on()

    def _broken_unlinked(self, event: ChatDown) -> Iterator[Effect]:
        self._note_link(event)
        yield from self._disarm(Timer.ASK, Timer.RETRY)
        yield Contact()

    def _call_unlinked(self, event: ChatDown) -> Iterator[Effect]:
        self._note_link(event)
        yield from self._break(messages.LOST)

    def _ask_to_go_on(self, _: HeardResume) -> Iterator[Effect]:
        """Ask how the receiver stands: it believes that we hold it, or has forgotten that it has everything."""
        yield from self._ask()

    def _ask_again(self, _: AskDue) -> Iterator[Effect]:
        yield from self._go_on()

    def _retry_due(self, _: RetryDue) -> Iterator[Effect]:
        yield from self._go_on()

    # --- the file link and the run ---

    def _linked(self, _: FileLinkOpened) -> Iterator[Effect]:
        assert self.run is not None
        self.run.linked, self.run.dialling, self.late = True, False, 0
        yield from self._disarm(Timer.LINK)
        self.phase = Phase.READY
        yield AskTurn()

    def _refuse_link(self, _: FileLinkOpened) -> Iterator[Effect]:
        yield RefuseLink()

    def _not_dialled(self, _: FileDialFailed) -> Iterator[Effect]:
        assert self.run is not None
        if self.run.dialling:
            self.run.dialling = False
            if self.linked:
                yield Send(DialMe(self.fid))

    def _link_late(self, _: LinkLate) -> Iterator[Effect]:
        self.late += 1
        if self.late >= LATE_LINKS:
            yield from self._end(Phase.FAILED, messages.LATE, by_me=True, leave=Leave.CUT)
        else:
            yield from self._break(messages.LATE)

    def _link_lost(self, event: FileLinkLost) -> Iterator[Effect]:
        if event.decided:
            return  # the run is about to say how it ended
        if event.code in FATAL_ENDS:
            yield from self._release(keep=False)
            self.told, self.paused = False, PausedBy.NOBODY
            yield from self._change(Phase.FAILED, event.code, by_me=not event.by_remote)
            yield from self._say_outcome()
        else:
            yield from self._break(messages.LOST, leave=None)

    def _start(self, _: TurnGranted) -> Iterator[Effect]:
        self.failures = 0
        yield from self._change(Phase.RUNNING)
        yield StartSending()

    def _free_turn(self, _: TurnGranted) -> Iterator[Effect]:
        yield FreeTurn()

    def _complete(self, _: RunComplete) -> Iterator[Effect]:
        yield from self._change(Phase.CHECKING)

    def _run_failed(self, event: RunFailed) -> Iterator[Effect]:
        yield from self._end(Phase.FAILED, event.code, by_me=True, leave=Leave.WAIT)

    def _run_hindered(self, event: RunHindered) -> Iterator[Effect]:
        yield from self._break(event.code)

    def _run_refused(self, event: RunRefused) -> Iterator[Effect]:
        yield from self._end(Phase.FAILED, event.code, by_me=False, leave=Leave.CUT)

    # --- the process ---

    def _recall_waiting(self, event: Recalled) -> Iterator[Effect]:
        if event.expired:
            yield from self._expire(event)
        else:
            yield Contact()

    def _recall_run(self, event: Recalled) -> Iterator[Effect]:
        if event.expired:
            yield from self._expire(event)
        else:
            yield from self._change(Phase.BROKEN, messages.LOST)
            yield Contact()

    def _recall_paused(self, event: Recalled) -> Iterator[Effect]:
        yield from self._expire(event) if event.expired else self._doubt()

    def _recall_unsaid(self, event: Recalled) -> Iterator[Effect]:
        if event.expired:
            yield from self._expire_unsaid(event)
        else:
            yield Contact()

    def _expire_unsaid(self, _: Input) -> Iterator[Effect]:
        yield from self._end_unsaid(Phase.FAILED, messages.EXPIRED)

    def _expire(self, _: Input) -> Iterator[Effect]:
        yield from self._end(Phase.FAILED, messages.EXPIRED, by_me=True, leave=Leave.CUT)

    def _recall_ended(self, event: Recalled) -> Iterator[Effect]:
        if not self.told:
            if event.expired:
                yield from self._known_there(event)
            else:
                yield Contact()

    def _stop(self, _: Stopping) -> Iterator[Effect]:
        linked = self.phase in WITH_LINK
        yield from self._release(keep=True)
        if linked:
            yield LeaveLink(Leave.CUT)
        self._set(Phase.BROKEN, messages.STOPPING)
        yield Persist()

    def _stop_timers(self, _: Stopping) -> Iterator[Effect]:
        yield from self._disarm(*Timer)


T = OutgoingTransfer

OutgoingTransfer.TABLE = table_of(
    OutgoingTransfer.PHASES,
    INPUTS,
    {
        PersonAccepts: {OutgoingTransfer.PHASES: T._own_offer},
        PersonRefuses: {OutgoingTransfer.PHASES: T._own_offer},
        PersonCancels: {
            UNSAID: T._withdraw,
            (Phase.OFFERED, *UNDER_WAY, Phase.BROKEN, Phase.PAUSED): T._cancel,
            ENDINGS: Nothing("it has ended, which is what was asked for"),
        },
        PersonShuns: {
            UNSAID: T._withdraw,
            (Phase.OFFERED, *UNDER_WAY, Phase.BROKEN, Phase.PAUSED): T._cancel,
            ENDINGS: Nothing("it has ended"),
        },
        PersonPauses: {
            UNANSWERED: T._not_running,
            (*UNDER_WAY, Phase.BROKEN, Phase.PAUSED): T._pause,
            ENDINGS: T._ended_already,
        },
        PersonResumes: {
            UNANSWERED: T._not_running,
            UNDER_WAY: GOES_ON,
            Phase.BROKEN: T._go_on,
            Phase.PAUSED: T._unpause,
            ENDINGS: T._ended_already,
        },
        HeardAccept: {
            UNANSWERED: T._accepted,
            UNDER_WAY: T._accepted_again,
            Phase.BROKEN: T._accepted,
            Phase.PAUSED: T._accepted_while_paused,
            ENDINGS: T._answer_outcome,
        },
        HeardDecline: {OPEN: T._declined, ENDINGS: T._known_there},
        HeardDialMe: {OutgoingTransfer.PHASES: Nothing("only a sender asks to be dialled")},
        HeardCancel: {
            UNSAID: T._cancelled_unsaid,
            Phase.OFFERED: T._unknown_there,
            (*UNDER_WAY, Phase.BROKEN, Phase.PAUSED): T._cancelled,
            ENDINGS: T._known_there,
        },
        HeardPause: {
            (*UNANSWERED, *UNDER_WAY, Phase.BROKEN): T._held_there,
            Phase.PAUSED: T._held_there_too,
            Phase.DONE: Nothing("the receiver has everything, and sees so when it goes on"),
            FRUITLESS: T._answer_outcome,
        },
        HeardResume: {
            UNSAID: Nothing("it is about to be said, and that answers"),
            Phase.OFFERED: Nothing("it is open here too, and the receiver has the word"),
            UNDER_WAY: Nothing("it is on its way here; if not there, the file link's end or its timer decides"),
            Phase.BROKEN: T._ask_to_go_on,
            Phase.PAUSED: T._let_go_there,
            Phase.DONE: T._ask_to_go_on,
            FRUITLESS: T._answer_outcome,
        },
        HeardVerified: {OPEN: T._verified, ENDINGS: T._known_there},
        ChatUp: {
            Phase.WAITING: T._ask_to_offer,
            Phase.PREPARING: T._link_noted,
            Phase.OFFERED: T._offer_again,
            UNDER_WAY: T._ask_on_link,
            Phase.BROKEN: T._broken_linked,
            Phase.PAUSED: T._waiting_linked,
            ENDINGS: T._repeat_outcome,
        },
        ChatDown: {
            Phase.WAITING: T._unsaid_unlinked,
            Phase.PREPARING: T._link_noted,
            Phase.OFFERED: T._offer_unlinked,
            Phase.CALLING: T._call_unlinked,
            WITH_LINK: T._link_noted,
            Phase.BROKEN: T._broken_unlinked,
            Phase.PAUSED: T._waiting_unlinked,
            ENDINGS: T._miss_contact,
        },
        WordHeard: {
            UNSAID: Nothing("nothing was said of it on this link"),
            Phase.OFFERED: T._offer_heard,
            (*UNDER_WAY, Phase.BROKEN): Nothing("the answer was faster"),
            Phase.PAUSED: T._compared,
            ENDINGS: Nothing("it has ended meanwhile: that is what must be heard now"),
        },
        OutcomeHeard: {OPEN: Nothing("it has not ended"), ENDINGS: T._known_there},
        FileLinkOpened: {
            Phase.CALLING: T._linked,
            (*UNANSWERED, *WITH_LINK, Phase.BROKEN, Phase.PAUSED): T._refuse_link,
            ENDINGS: T._refuse_link,
        },
        FileLinkLost: {
            WITH_LINK: T._link_lost,
            (*UNANSWERED, Phase.CALLING, Phase.BROKEN, Phase.PAUSED): Nothing("it has left this link already"),
            ENDINGS: Nothing("it has left this link already"),
        },
        FileDialFailed: {
            Phase.CALLING: T._not_dialled,
            WITH_LINK: Nothing("a link came by another way"),
            (*UNANSWERED, Phase.BROKEN, Phase.PAUSED): Nothing("the dial was given up"),
            ENDINGS: Nothing("the dial was given up"),
        },
        RunBegan: {OutgoingTransfer.PHASES: Nothing("a sender begins when its turn has come")},
        RunComplete: {
            Phase.RUNNING: T._complete,
            (*UNANSWERED, Phase.CALLING, Phase.READY, Phase.CHECKING, Phase.BROKEN, Phase.PAUSED): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunVerified: {
            (Phase.RUNNING, Phase.CHECKING): T._verified,
            (*UNANSWERED, Phase.CALLING, Phase.READY, Phase.BROKEN, Phase.PAUSED): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunFailed: {
            (Phase.RUNNING, Phase.CHECKING): T._run_failed,
            (*UNANSWERED, Phase.CALLING, Phase.READY, Phase.BROKEN, Phase.PAUSED): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunHindered: {
            (Phase.RUNNING, Phase.CHECKING): T._run_hindered,
            (*UNANSWERED, Phase.CALLING, Phase.READY, Phase.BROKEN, Phase.PAUSED): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunRefused: {
            WITH_LINK: T._run_refused,
            (*UNANSWERED, Phase.CALLING, Phase.BROKEN, Phase.PAUSED): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunMismatched: {OutgoingTransfer.PHASES: Nothing("only a receiver compares with files of before")},
        RunRested: {OutgoingTransfer.PHASES: Nothing("nothing of a sender waits for its disk")},
        DownloadOpened: {OutgoingTransfer.PHASES: NO_DOWNLOAD},
        DownloadFailed: {OutgoingTransfer.PHASES: NO_DOWNLOAD},
        DownloadHindered: {OutgoingTransfer.PHASES: NO_DOWNLOAD},
        SpaceSeen: {OutgoingTransfer.PHASES: NO_DOWNLOAD},
        TurnGranted: {
            Phase.READY: T._start,
            (Phase.RUNNING, Phase.CHECKING): Nothing("it has its turn"),
            (*UNANSWERED, Phase.CALLING, Phase.BROKEN, Phase.PAUSED): T._free_turn,
            ENDINGS: T._free_turn,
        },
        OfferGranted: {
            Phase.WAITING: T._prepare,
            (Phase.PREPARING, Phase.OFFERED, *UNDER_WAY, Phase.BROKEN, Phase.PAUSED): SAID,
            ENDINGS: Nothing("it has ended"),
        },
        FilesSeen: {
            Phase.PREPARING: T._files_seen,
            Phase.WAITING: T._look_over,
            (Phase.OFFERED, *UNDER_WAY, Phase.BROKEN, Phase.PAUSED): Nothing("the answer was faster"),
            ENDINGS: Nothing("it has ended"),
        },
        Overdue: {
            UNSAID: T._expire_unsaid,
            Phase.OFFERED: T._expire,
            (*UNDER_WAY, Phase.BROKEN, Phase.PAUSED): Nothing("it was accepted: only a start looks at its age"),
            ENDINGS: Nothing("it has ended"),
        },
        LinkLate: {
            Phase.CALLING: T._link_late,
            (*UNANSWERED, *WITH_LINK, Phase.BROKEN, Phase.PAUSED): NOT_ARMED,
            ENDINGS: NOT_ARMED,
        },
        RetryDue: {
            Phase.BROKEN: T._retry_due,
            (*UNANSWERED, *UNDER_WAY, Phase.PAUSED): NOT_ARMED,
            ENDINGS: NOT_ARMED,
        },
        AskDue: {
            UNSAID: NOT_ARMED,
            Phase.OFFERED: T._offer_asked,
            Phase.BROKEN: T._ask_again,
            Phase.PAUSED: T._confirm_compared,
            UNDER_WAY: NOT_ARMED,
            ENDINGS: NOT_ARMED,
        },
        SpaceDue: {OutgoingTransfer.PHASES: NOT_ARMED},
        LookLate: {
            Phase.PREPARING: T._look_late,
            (Phase.WAITING, Phase.OFFERED, *UNDER_WAY, Phase.BROKEN, Phase.PAUSED): NOT_ARMED,
            ENDINGS: NOT_ARMED,
        },
        Recalled: {
            Phase.WAITING: T._recall_unsaid,
            Phase.OFFERED: T._recall_waiting,
            (Phase.CALLING, Phase.RUNNING, Phase.CHECKING): T._recall_run,
            Phase.BROKEN: T._recall_waiting,
            (Phase.PREPARING, Phase.READY): Nothing("the store holds no such phase"),
            Phase.PAUSED: T._recall_paused,
            ENDINGS: T._recall_ended,
        },
        Unsaved: {OutgoingTransfer.PHASES: T._not_saved},
        StoreBack: {OutgoingTransfer.PHASES: T._save_again},
        Stopping: {
            Phase.WAITING: Nothing("nothing of it runs but a look at its files that is late"),
            Phase.PREPARING: T._stop_timers,
            (Phase.OFFERED, Phase.BROKEN): T._stop_timers,
            UNDER_WAY: T._stop,
            Phase.PAUSED: T._stop_timers,
            ENDINGS: Nothing("nothing of it runs"),
        },
    },
)
