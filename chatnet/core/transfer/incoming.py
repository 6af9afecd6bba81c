"""The rules of a transfer at the side that receives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from chatnet.core import messages
from chatnet.core.limits import LATE_LINKS, SPACE_SECONDS
from chatnet.core.transfer.transfer_events import (
    INPUTS,
    AskDue,
    AskTurn,
    ChatDown,
    ChatUp,
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
    LinkLate,
    LookForSpace,
    LookLate,
    OfferGranted,
    OpenDownload,
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
    RemoveParts,
    RetryDue,
    RunBegan,
    RunComplete,
    RunFailed,
    RunHindered,
    RunMismatched,
    RunRefused,
    RunRested,
    RunVerified,
    SayVerified,
    SendAccept,
    SpaceDue,
    SpaceSeen,
    StartReceiving,
    Stopping,
    StopRun,
    StoreBack,
    Tell,
    Timer,
    TurnGranted,
    Unsaved,
    WordHeard,
)
from chatnet.core.transfer.transfer_machine import (
    ENDINGS,
    FATAL_ENDS,
    OBSTACLES,
    Nothing,
    PausedBy,
    Phase,
    Run,
    TransferMachine,
    ending_of,
    table_of,
)

UNANSWERED = (Phase.OFFERED, Phase.OPENING)
WITH_LINK = (Phase.READY, Phase.RUNNING, Phase.CHECKING)
UNDER_WAY = (Phase.QUEUED, Phase.CALLING, *WITH_LINK)
RESTING = (Phase.BROKEN, Phase.REOPENING, Phase.PAUSED, Phase.HELD)
WAITING = (*UNANSWERED, Phase.PAUSED, Phase.HELD)
OPEN = (*UNANSWERED, *UNDER_WAY, *RESTING)
FRUITLESS = (Phase.DECLINED, Phase.CANCELLED, Phase.FAILED)

NOT_SENT = Nothing("only a receiver says so, to a sender")
NOT_ARMED = Nothing("this timer does not run in this phase")
NO_RUN = Nothing("the run was stopped, and says so late")
NO_LINK = Nothing("it has left this link already")


@dataclass(eq=False)
class IncomingTransfer(TransferMachine):
    """``working``: threads may still write for a run; ``opening``: one looks what the disk has."""

    OUTGOING: ClassVar[bool] = False
    PHASES: ClassVar[tuple[Phase, ...]] = (*OPEN, *ENDINGS)

    working: bool = False
    opening: bool = False

    @property
    def needs_contact(self) -> bool:
        if self.phase in WAITING:
            return self.doubtful
        return self.phase is Phase.BROKEN or (self.ended and not self.told)

    # --- parts ---

    def _release(self, keep: bool) -> Iterator[Effect]:
        yield from self._disarm(*Timer)
        if self.phase in UNDER_WAY:
            self.run = None
            yield FreeTurn()
            yield StopRun(keep)

    def _end(self, phase: Phase, code: str, by_me: bool, leave: Leave) -> Iterator[Effect]:
        linked = self.phase in WITH_LINK
        yield from self._release(keep=False)
        self.told, self.paused = not by_me, PausedBy.NOBODY
        yield from self._change(phase, code, by_me)
        if linked:
            yield LeaveLink(leave)
        if not self.working and not self.opening:
            yield RemoveParts()
        if by_me:
            yield from self._say_outcome()

    def _break(self, code: str, leave: Leave | None) -> Iterator[Effect]:
        linked = self.phase in WITH_LINK
        yield from self._release(keep=True)
        if linked and leave is not None:
            yield LeaveLink(leave)
        yield from self._change(Phase.BROKEN, code)
        if self.linked:
            yield from self._retry()
        else:
            yield Contact()

    def _stop_for(self, phase: Phase, by: PausedBy, code: str, leave: Leave) -> Iterator[Effect]:
        linked = self.phase in WITH_LINK
        yield from self._release(keep=True)
        if linked:
            yield LeaveLink(leave)
        self.paused = by
        yield from self._change(phase, code, by_me=PausedBy.HERE in by)

    def _hold(self, code: str) -> Iterator[Effect]:
        """Wait while the disk, or the store, takes nothing, and look again from time to time."""
        yield from self._stop_for(Phase.HELD, PausedBy.HERE, code, Leave.WAIT)
        yield from self._arm(Timer.SPACE, SPACE_SECONDS)
        yield from self._say_paused() if self.linked else self._doubt()

    def _open(self) -> Iterator[Effect]:
        """Look what the disk has, unless something else is there: its rest comes back to this."""
        yield from self._disarm(*Timer)
        if self.working or self.opening:
            if self.phase is not Phase.BROKEN:
                yield from self._change(Phase.BROKEN)
            return
        told = self.phase is Phase.BROKEN
        self.opening = True
        if told:
            self.phase = Phase.REOPENING
        else:
            yield from self._change(Phase.REOPENING)
        yield OpenDownload()

    def _go_on(self, _: Input | None = None) -> Iterator[Effect]:
        """Go on from BROKEN: the receiver begins, over an open chat link."""
        if self.linked:
            yield from self._open()
        else:
            yield Contact()

    def _finish(self) -> Iterator[Effect]:
        """Finish, as everything stands under its name; that is saved before it is said."""
        self.told = False
        yield from self._disarm(*Timer)
        self._set(Phase.DONE)
        yield Persist(then=tuple(self._say_outcome()))
        yield Tell()

    # --- a person ---

    def _accept(self, _: PersonAccepts) -> Iterator[Effect]:
        self.phase, self.opening = Phase.OPENING, True
        yield OpenDownload()

    def _refuse(self, _: Input) -> Iterator[Effect]:
        yield from self._end(Phase.DECLINED, messages.DECLINED, by_me=True, leave=Leave.WAIT)

    def _cancel(self, _: Input) -> Iterator[Effect]:
        yield from self._end(Phase.CANCELLED, messages.USER, by_me=True, leave=Leave.WAIT)

    def _pause(self, _: PersonPauses) -> Iterator[Effect]:
        if self.phase is Phase.PAUSED and PausedBy.HERE in self.paused:
            return
        others = self.paused & PausedBy.THERE
        yield from self._stop_for(Phase.PAUSED, PausedBy.HERE | others, messages.PAUSED, Leave.WAIT)
        if self.linked:
            yield from self._say_paused()
            yield from self._compare()
        else:
            yield from self._doubt()

    def _unpause(self, _: PersonResumes) -> Iterator[Effect]:
        was_here = PausedBy.HERE in self.paused
        self.paused &= ~PausedBy.HERE
        if self.paused:
            if was_here:
                yield from self._change(Phase.PAUSED, messages.PAUSED, by_me=False)
                yield from self._ask() if self.linked else self._doubt()
            yield from self._object("paused-there")
        else:
            yield from self._change(Phase.BROKEN)
            yield from self._go_on()

    def _look_again(self, _: Input) -> Iterator[Effect]:
        """Look again, because a person, or the disk, says that it may be possible now."""
        self.paused = PausedBy.NOBODY
        yield from self._open()

    # --- words ---

    def _cancelled(self, event: HeardCancel) -> Iterator[Effect]:
        yield from self._end(ending_of(event.code), event.code, by_me=False, leave=Leave.CUT)

    def _held_there(self, event: HeardPause) -> Iterator[Effect]:
        yield from self._stop_for(Phase.PAUSED, PausedBy.THERE, event.code, Leave.CUT)

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

    def _say_if_held(self, _: HeardDialMe) -> Iterator[Effect]:
        if PausedBy.HERE in self.paused:
            yield from self._say_paused()

    def _dial(self, _: HeardDialMe) -> Iterator[Effect]:
        assert self.run is not None
        if not self.run.dialling:
            self.run.dialling = True
            yield DialFile(self.run.token, self.limits.file_link_seconds)

    # --- chat links ---

    def _accept_on_link(self, event: ChatUp) -> Iterator[Effect]:
        """Accept again on a new chat link: the acceptance may have gone with the link before."""
        self._note_link(event)
        yield from self._accept_again(event)

    def _accept_again(self, _: Input) -> Iterator[Effect]:
        """Repeat the ACCEPT of the present run. That changes nothing if the sender has it already."""
        assert self.run is not None
        yield SendAccept(self.run.token)

    def _broken_linked(self, event: ChatUp) -> Iterator[Effect]:
        self._note_link(event)
        yield from self._go_on()

    def _broken_unlinked(self, event: ChatDown) -> Iterator[Effect]:
        self._note_link(event)
        yield from self._disarm(Timer.RETRY)
        yield Contact()

    def _call_unlinked(self, event: ChatDown) -> Iterator[Effect]:
        self._note_link(event)
        yield from self._break(messages.LOST, leave=None)

    def _retry_due(self, _: RetryDue) -> Iterator[Effect]:
        yield from self._go_on()

    # --- the file link and the run ---

    def _turn(self, event: TurnGranted) -> Iterator[Effect]:
        self.run = Run(event.token)
        self.phase, self.doubtful = Phase.CALLING, False  # the acceptance is a question too
        yield from self._arm(Timer.LINK, self.limits.file_link_seconds)
        yield SendAccept(event.token)

    def _free_turn(self, _: TurnGranted) -> Iterator[Effect]:
        yield FreeTurn()

    def _linked(self, _: FileLinkOpened) -> Iterator[Effect]:
        assert self.run is not None
        self.run.linked, self.run.dialling, self.late = True, False, 0
        yield from self._disarm(Timer.LINK)
        self.phase, self.working = Phase.READY, True
        yield StartReceiving()

    def _refuse_link(self, _: FileLinkOpened) -> Iterator[Effect]:
        yield RefuseLink()

    def _not_dialled(self, _: FileDialFailed) -> Iterator[Effect]:
        assert self.run is not None
        self.run.dialling = False  # the timer decides, or another DIALME
        yield from ()

    def _link_late(self, _: LinkLate) -> Iterator[Effect]:
        self.late += 1
        if self.late >= LATE_LINKS:
            yield from self._end(Phase.FAILED, messages.LATE, by_me=True, leave=Leave.CUT)
        else:
            yield from self._break(messages.LATE, leave=None)

    def _link_lost(self, event: FileLinkLost) -> Iterator[Effect]:
        assert self.run is not None
        if event.decided:  # everything has come, or the run is about to say what went wrong
            self.run.linked = False
        elif event.code in FATAL_ENDS:
            yield from self._release(keep=False)
            self.told, self.paused = False, PausedBy.NOBODY
            yield from self._change(Phase.FAILED, event.code, by_me=not event.by_remote)
            yield from self._say_outcome()
        else:
            yield from self._break(messages.LOST, leave=None)

    def _begin(self, _: RunBegan) -> Iterator[Effect]:
        self.failures = 0
        yield from self._change(Phase.RUNNING)

    def _complete(self, _: RunComplete) -> Iterator[Effect]:
        yield from self._change(Phase.CHECKING)

    def _verified(self, _: RunVerified) -> Iterator[Effect]:
        assert self.run is not None
        yield FreeTurn()
        if not self.run.linked:
            self.run = None
            yield from self._finish()
            return
        # A sender that has heard it says goodbye on the file link: no other word is needed then.
        self.told = False
        self._set(Phase.DONE)
        yield Persist(then=(SayVerified(),))
        yield Tell()
        yield from self._arm(Timer.LINK, self.limits.close_seconds)

    def _verified_heard(self, event: FileLinkLost) -> Iterator[Effect]:
        yield from self._disarm(Timer.LINK)
        self.run = None
        if event.by_remote and event.code == "bye":
            yield from self._known_there(event)
        else:
            yield from self._say_outcome()

    def _verified_unheard(self, _: LinkLate) -> Iterator[Effect]:
        self.run = None
        yield LeaveLink(Leave.CUT)
        yield from self._say_outcome()

    def _run_failed(self, event: RunFailed) -> Iterator[Effect]:
        yield from self._end(Phase.FAILED, event.code, by_me=True, leave=Leave.WAIT)

    def _run_hindered(self, event: RunHindered) -> Iterator[Effect]:
        if event.code in OBSTACLES:
            yield from self._hold(event.code)
        else:
            yield from self._break(event.code, Leave.CUT)

    def _mismatched(self, _: RunMismatched) -> Iterator[Effect]:
        yield from self._release(keep=True)
        yield LeaveLink(Leave.WAIT)
        yield from self._change(Phase.BROKEN)  # goes on when the run has come to rest

    def _rested(self, _: RunRested) -> Iterator[Effect]:
        self.working = False
        yield from ()

    def _rested_broken(self, _: RunRested) -> Iterator[Effect]:
        self.working = False
        if Timer.RETRY not in self.armed:
            yield from self._go_on()

    def _rested_ended(self, _: RunRested) -> Iterator[Effect]:
        self.working = False
        yield RemoveParts()

    # --- the download ---

    def _opened(self, event: DownloadOpened) -> Iterator[Effect]:
        self.opening = False
        yield from self._disarm(*Timer)
        if not event.missing:  # only the word was missing
            yield StopRun(keep=True)
            yield from self._finish()
        elif self.linked:
            yield from self._change(Phase.QUEUED)
            yield AskTurn()
        else:
            yield StopRun(keep=True)
            yield from self._change(Phase.BROKEN)
            yield Contact()

    def _opened_in_vain(self, _: DownloadOpened) -> Iterator[Effect]:
        self.opening = False
        yield StopRun(keep=True)

    def _opened_after_end(self, _: DownloadOpened) -> Iterator[Effect]:
        self.opening = False
        yield StopRun(keep=True)
        yield RemoveParts()

    def _offer_stands(self, _: Input) -> Iterator[Effect]:
        """Offer it to the user again, who is told why it could not be accepted."""
        self.phase, self.opening = Phase.OFFERED, False
        yield from ()

    def _not_opened(self, event: DownloadFailed) -> Iterator[Effect]:
        self.opening = False
        yield from self._end(Phase.FAILED, event.code, by_me=True, leave=Leave.CUT)

    def _not_opened_now(self, event: DownloadHindered) -> Iterator[Effect]:
        self.opening = False
        if event.code in OBSTACLES:
            yield from self._hold(event.code)
        else:
            yield from self._break(event.code, leave=None)
            if not self.linked:
                yield from self._retry()

    def _not_opened_in_vain(self, _: Input) -> Iterator[Effect]:
        self.opening = False
        yield from ()

    def _not_opened_after_end(self, _: Input) -> Iterator[Effect]:
        self.opening = False
        yield RemoveParts()

    def _space_due(self, _: SpaceDue) -> Iterator[Effect]:
        yield LookForSpace(self.code)

    def _space_seen(self, event: SpaceSeen) -> Iterator[Effect]:
        if event.enough:
            yield from self._look_again(event)
        else:
            yield from self._arm(Timer.SPACE, SPACE_SECONDS)

    def _store_back_held(self, event: StoreBack) -> Iterator[Effect]:
        yield from self._save_again(event)
        if self.code == messages.STORE:
            yield from self._look_again(event)

    # --- the process ---

    def _recall_offer(self, event: Recalled) -> Iterator[Effect]:
        yield from self._expire(event) if event.expired else self._doubt()

    def _recall_run(self, event: Recalled) -> Iterator[Effect]:
        if event.expired:
            yield from self._expire(event)
        else:
            yield from self._set_broken()

    def _set_broken(self) -> Iterator[Effect]:
        yield from self._change(Phase.BROKEN, messages.LOST)
        yield Contact()

    def _recall_broken(self, event: Recalled) -> Iterator[Effect]:
        yield from self._expire(event) if event.expired else self._go_on()

    def _recall_paused(self, event: Recalled) -> Iterator[Effect]:
        if event.expired:
            yield from self._expire(event)
            return
        yield from self._doubt()
        if self.code in OBSTACLES and PausedBy.HERE in self.paused:
            self.phase = Phase.HELD
            yield from self._arm(Timer.SPACE, SPACE_SECONDS)

    def _expire(self, _: Input) -> Iterator[Effect]:
        yield from self._disarm(*Timer)
        self.run = None
        self.told, self.paused = False, PausedBy.NOBODY
        # Not LOST: that asks a sender to say its offer again, and the two would never agree.
        yield from self._change(Phase.FAILED, messages.EXPIRED)
        yield RemoveParts()
        yield from self._say_outcome()

    def _recall_ended(self, event: Recalled) -> Iterator[Effect]:
        if self.phase is not Phase.DONE:
            yield RemoveParts()
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

    def _stop_done(self, _: Stopping) -> Iterator[Effect]:
        yield from self._disarm(*Timer)
        if self.run is not None:
            self.run = None
            yield LeaveLink(Leave.CUT)


T = IncomingTransfer

IncomingTransfer.TABLE = table_of(
    IncomingTransfer.PHASES,
    INPUTS,
    {
        PersonAccepts: {
            Phase.OFFERED: T._accept,
            Phase.OPENING: Nothing("it is accepted, and the disk is being looked at"),
            (*UNDER_WAY, *RESTING): T._answered_already,
            ENDINGS: T._answered_already,
        },
        PersonRefuses: {
            UNANSWERED: T._refuse,
            (*UNDER_WAY, *RESTING): T._answered_already,
            ENDINGS: T._answered_already,
        },
        PersonCancels: {OPEN: T._cancel, ENDINGS: Nothing("it has ended, which is what was asked for")},
        PersonShuns: {
            UNANSWERED: T._refuse,
            (*UNDER_WAY, *RESTING): T._cancel,
            ENDINGS: Nothing("it has ended"),
        },
        PersonPauses: {
            UNANSWERED: T._not_running,
            (*UNDER_WAY, *RESTING): T._pause,
            ENDINGS: T._ended_already,
        },
        PersonResumes: {
            UNANSWERED: T._not_running,
            UNDER_WAY: Nothing("it is on its way already"),
            Phase.BROKEN: T._go_on,
            Phase.REOPENING: Nothing("the disk is being looked at already"),
            Phase.PAUSED: T._unpause,
            Phase.HELD: T._look_again,
            ENDINGS: T._ended_already,
        },
        HeardAccept: {IncomingTransfer.PHASES: NOT_SENT},
        HeardDecline: {IncomingTransfer.PHASES: NOT_SENT},
        HeardDialMe: {
            UNANSWERED: Nothing("nothing was accepted that a link could be for"),
            Phase.CALLING: T._dial,
            WITH_LINK: Nothing("the link is there"),
            (Phase.QUEUED, Phase.BROKEN, Phase.REOPENING): Nothing("said of a former acceptance: a new one follows"),
            (Phase.PAUSED, Phase.HELD): T._say_if_held,
            ENDINGS: T._answer_outcome,
        },
        HeardCancel: {OPEN: T._cancelled, ENDINGS: T._known_there},
        HeardPause: {
            UNANSWERED: Nothing("it waits for our person; the acceptance will be answered so"),
            (*UNDER_WAY, Phase.BROKEN, Phase.REOPENING, Phase.HELD): T._held_there,
            Phase.PAUSED: T._held_there_too,
            ENDINGS: T._answer_outcome,
        },
        HeardResume: {
            UNANSWERED: Nothing("it waits for our person"),
            Phase.QUEUED: Nothing("it waits for its turn, and is accepted then"),
            Phase.CALLING: T._accept_again,
            WITH_LINK: Nothing("it runs; should the sender know better, the file link ends"),
            Phase.BROKEN: T._go_on,
            Phase.REOPENING: Nothing("it is about to go on"),
            Phase.PAUSED: T._let_go_there,
            Phase.HELD: T._say_paused,
            ENDINGS: T._answer_outcome,
        },
        HeardVerified: {IncomingTransfer.PHASES: NOT_SENT},
        ChatUp: {
            UNANSWERED: T._waiting_linked,
            Phase.QUEUED: Nothing("it has a link, and its acceptance asks when its turn has come"),
            Phase.CALLING: T._accept_on_link,
            WITH_LINK: T._link_noted,
            Phase.BROKEN: T._broken_linked,
            Phase.REOPENING: T._link_noted,
            (Phase.PAUSED, Phase.HELD): T._waiting_linked,
            ENDINGS: T._repeat_outcome,
        },
        ChatDown: {
            UNANSWERED: T._waiting_unlinked,
            (Phase.QUEUED, Phase.CALLING): T._call_unlinked,
            WITH_LINK: T._link_noted,
            Phase.BROKEN: T._broken_unlinked,
            Phase.REOPENING: T._link_noted,
            (Phase.PAUSED, Phase.HELD): T._waiting_unlinked,
            ENDINGS: T._miss_contact,
        },
        WordHeard: {
            WAITING: T._compared,
            (*UNDER_WAY, Phase.BROKEN, Phase.REOPENING): Nothing("it has gone on meanwhile"),
            ENDINGS: Nothing("it has ended meanwhile: that is what must be heard now"),
        },
        OutcomeHeard: {OPEN: Nothing("it has not ended"), ENDINGS: T._known_there},
        FileLinkOpened: {
            Phase.CALLING: T._linked,
            (*UNANSWERED, Phase.QUEUED, *WITH_LINK, *RESTING): T._refuse_link,
            ENDINGS: T._refuse_link,
        },
        FileLinkLost: {
            WITH_LINK: T._link_lost,
            (*UNANSWERED, Phase.QUEUED, Phase.CALLING, *RESTING): NO_LINK,
            Phase.DONE: T._verified_heard,
            FRUITLESS: NO_LINK,
        },
        FileDialFailed: {
            Phase.CALLING: T._not_dialled,
            WITH_LINK: Nothing("a link came by another way"),
            (*UNANSWERED, Phase.QUEUED, *RESTING): Nothing("the dial was given up"),
            ENDINGS: Nothing("the dial was given up"),
        },
        RunBegan: {
            Phase.READY: T._begin,
            (Phase.RUNNING, Phase.CHECKING): Nothing("it has begun"),
            (*UNANSWERED, Phase.QUEUED, Phase.CALLING, *RESTING): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunComplete: {
            (Phase.READY, Phase.RUNNING): T._complete,
            Phase.CHECKING: Nothing("it is complete"),
            (*UNANSWERED, Phase.QUEUED, Phase.CALLING, *RESTING): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunVerified: {
            WITH_LINK: T._verified,
            (*UNANSWERED, Phase.QUEUED, Phase.CALLING, *RESTING): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunFailed: {
            WITH_LINK: T._run_failed,
            (*UNANSWERED, Phase.QUEUED, Phase.CALLING, *RESTING): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunHindered: {
            WITH_LINK: T._run_hindered,
            (*UNANSWERED, Phase.QUEUED, Phase.CALLING, *RESTING): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunRefused: {IncomingTransfer.PHASES: Nothing("only a receiver rejects")},
        RunMismatched: {
            WITH_LINK: T._mismatched,
            (*UNANSWERED, Phase.QUEUED, Phase.CALLING, *RESTING): NO_RUN,
            ENDINGS: NO_RUN,
        },
        RunRested: {
            (*UNANSWERED, *UNDER_WAY, Phase.REOPENING, Phase.PAUSED, Phase.HELD): T._rested,
            Phase.BROKEN: T._rested_broken,
            Phase.DONE: T._rested,
            FRUITLESS: T._rested_ended,
        },
        DownloadOpened: {
            (Phase.OPENING, Phase.REOPENING, Phase.BROKEN): T._opened,
            (Phase.OFFERED, *UNDER_WAY, Phase.PAUSED, Phase.HELD): T._opened_in_vain,
            Phase.DONE: T._opened_in_vain,
            FRUITLESS: T._opened_after_end,
        },
        DownloadFailed: {
            Phase.OPENING: T._offer_stands,
            (Phase.REOPENING, Phase.BROKEN): T._not_opened,
            (Phase.OFFERED, *UNDER_WAY, Phase.PAUSED, Phase.HELD): T._not_opened_in_vain,
            Phase.DONE: T._not_opened_in_vain,
            FRUITLESS: T._not_opened_after_end,
        },
        DownloadHindered: {
            Phase.OPENING: T._offer_stands,
            (Phase.REOPENING, Phase.BROKEN): T._not_opened_now,
            (Phase.OFFERED, *UNDER_WAY, Phase.PAUSED, Phase.HELD): T._not_opened_in_vain,
            Phase.DONE: T._not_opened_in_vain,
            FRUITLESS: T._not_opened_after_end,
        },
        SpaceSeen: {
            Phase.HELD: T._space_seen,
            (*UNANSWERED, *UNDER_WAY, Phase.BROKEN, Phase.REOPENING, Phase.PAUSED): Nothing("nothing waits for space"),
            ENDINGS: Nothing("nothing waits for space"),
        },
        TurnGranted: {
            Phase.QUEUED: T._turn,
            (Phase.CALLING, *WITH_LINK): Nothing("it has its turn"),
            (*UNANSWERED, *RESTING): T._free_turn,
            ENDINGS: T._free_turn,
        },
        OfferGranted: {IncomingTransfer.PHASES: Nothing("only a sender offers")},
        FilesSeen: {IncomingTransfer.PHASES: Nothing("only a sender looks at what it sends")},
        Overdue: {
            Phase.OFFERED: T._expire,
            Phase.OPENING: Nothing("it is accepted, and the disk is being looked at"),
            (*UNDER_WAY, *RESTING): Nothing("it was accepted: only a start looks at its age"),
            ENDINGS: Nothing("it has ended"),
        },
        LinkLate: {
            Phase.CALLING: T._link_late,
            (*UNANSWERED, Phase.QUEUED, *WITH_LINK, *RESTING): NOT_ARMED,
            Phase.DONE: T._verified_unheard,
            FRUITLESS: NOT_ARMED,
        },
        RetryDue: {
            Phase.BROKEN: T._retry_due,
            (*UNANSWERED, *UNDER_WAY, Phase.REOPENING, Phase.PAUSED, Phase.HELD): NOT_ARMED,
            ENDINGS: NOT_ARMED,
        },
        AskDue: {
            WAITING: T._confirm_compared,
            (*UNDER_WAY, Phase.BROKEN, Phase.REOPENING): NOT_ARMED,
            ENDINGS: NOT_ARMED,
        },
        LookLate: {IncomingTransfer.PHASES: NOT_ARMED},
        SpaceDue: {
            Phase.HELD: T._space_due,
            (*UNANSWERED, *UNDER_WAY, Phase.BROKEN, Phase.REOPENING, Phase.PAUSED): NOT_ARMED,
            ENDINGS: NOT_ARMED,
        },
        Recalled: {
            Phase.OFFERED: T._recall_offer,
            (Phase.QUEUED, Phase.RUNNING, Phase.CHECKING): T._recall_run,
            Phase.BROKEN: T._recall_broken,
            (Phase.OPENING, Phase.CALLING, Phase.READY, Phase.REOPENING, Phase.HELD): Nothing(
                "the store holds no such phase"
            ),
            Phase.PAUSED: T._recall_paused,
            ENDINGS: T._recall_ended,
        },
        Unsaved: {IncomingTransfer.PHASES: T._not_saved},
        StoreBack: {
            (*UNANSWERED, *UNDER_WAY, Phase.BROKEN, Phase.REOPENING, Phase.PAUSED): T._save_again,
            Phase.HELD: T._store_back_held,
            ENDINGS: T._save_again,
        },
        Stopping: {
            UNANSWERED: T._stop_timers,
            UNDER_WAY: T._stop,
            (Phase.BROKEN, Phase.PAUSED, Phase.HELD): T._stop_timers,
            Phase.REOPENING: Nothing("the look at the disk ends by itself"),
            Phase.DONE: T._stop_done,
            FRUITLESS: Nothing("nothing of it runs"),
        },
    },
)
