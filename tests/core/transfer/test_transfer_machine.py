"""Every phase of a transfer has its answer to everything that may happen."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from chatnet.core import messages
from chatnet.core.events import TransferState
from chatnet.core.limits import LOOK_SECONDS, SETTLE_SECONDS
from chatnet.core.messages import Cancel, Decline, DialMe, Pause, Resume, Verified
from chatnet.core.transfer import transfer_events as ev
from chatnet.core.transfer.incoming import IncomingTransfer
from chatnet.core.transfer.outgoing import OutgoingTransfer
from chatnet.core.transfer.transfer_machine import (
    STATE_OF,
    Nothing,
    PausedBy,
    Phase,
    Run,
    TransferMachine,
    phase_of,
    table_of,
)
from tests.core.transfer.joined import FID, LIMITS, FileLink, Side, World, waits_for

KINDS: tuple[type[TransferMachine], ...] = (OutgoingTransfer, IncomingTransfer)
EXAMPLES: dict[type[ev.Input], tuple[ev.Input, ...]] = {
    ev.HeardAccept: (ev.HeardAccept(b"T" * 32), ev.HeardAccept(b"N" * 32)),
    ev.HeardDecline: (ev.HeardDecline(messages.DECLINED), ev.HeardDecline(messages.TOO_MANY)),
    ev.HeardCancel: tuple(ev.HeardCancel(code) for code in (messages.USER, messages.LOST, messages.CHANGED)),
    ev.HeardPause: (ev.HeardPause(messages.PAUSED), ev.HeardPause(messages.NO_SPACE)),
    ev.ChatDown: (ev.ChatDown(in_order=True), ev.ChatDown(in_order=False)),
    ev.FileLinkLost: (
        ev.FileLinkLost(messages.LOST),
        ev.FileLinkLost(messages.BAD_FRAME),
        ev.FileLinkLost(messages.UNKNOWN_MESSAGE),
        ev.FileLinkLost(messages.INTERNAL_ERROR, by_remote=True),
        ev.FileLinkLost("bye", by_remote=True),
        ev.FileLinkLost(messages.LOST, decided=True),
    ),
    ev.RunFailed: (ev.RunFailed(messages.CHANGED),),
    ev.RunHindered: tuple(ev.RunHindered(code) for code in (messages.NO_SPACE, messages.STORE, messages.BUSY)),
    ev.RunRefused: (ev.RunRefused(messages.DIGEST),),
    ev.DownloadOpened: (ev.DownloadOpened(missing=True), ev.DownloadOpened(missing=False)),
    ev.DownloadFailed: (ev.DownloadFailed(messages.UNWRITABLE),),
    ev.DownloadHindered: tuple(ev.DownloadHindered(c) for c in (messages.NO_SPACE, messages.STORE, messages.BUSY)),
    ev.SpaceSeen: (ev.SpaceSeen(enough=True), ev.SpaceSeen(enough=False)),
    ev.TurnGranted: (ev.TurnGranted(b"T" * 32),),
    ev.FilesSeen: (ev.FilesSeen(""), ev.FilesSeen(messages.UNREADABLE)),
    ev.Recalled: (ev.Recalled(), ev.Recalled(expired=True)),
}
TIMERS_OF = {Phase.CALLING: ev.Timer.LINK, Phase.PREPARING: ev.Timer.LOOK, Phase.HELD: ev.Timer.SPACE}
UNANSWERED = (Phase.OFFERED, Phase.OPENING)
UNSAID = (Phase.WAITING, Phase.PREPARING)
WITH_LINK = (Phase.READY, Phase.RUNNING, Phase.CHECKING)


def examples(kind: type[ev.Input]) -> tuple[ev.Input, ...]:
    return EXAMPLES.get(kind) or (kind(),)


def states_of(kind: type[TransferMachine]) -> set[TransferState]:
    return {STATE_OF[phase] for phase in kind.PHASES}


def rows() -> list[Any]:
    return list(_rows())


def _rows() -> Iterator[Any]:
    for kind in KINDS:
        for (phase, event), row in kind.TABLE.items():
            does = f"nothing, {row.why}" if isinstance(row, Nothing) else row.__name__.strip("_")
            yield pytest.param(kind, phase, event, id=f"{kind.__name__} {phase} {event.__name__}: {does}")


def standing(kind: type[TransferMachine], phase: Phase) -> Iterator[Side]:
    """A side in this phase, in each way in which it can stand there, with what its owner has then."""
    outgoing = kind.OUTGOING
    under_way = phase in (Phase.QUEUED, Phase.CALLING, *WITH_LINK)
    for chat, paused, told, rest, sure, unsaved in itertools.product(
        (True, False),
        [PausedBy(n) for n in (1, 2, 3)] if phase is Phase.PAUSED else [PausedBy(phase is Phase.HELD)],
        (True, False) if phase.ended else (True,),
        ("", "working", "opening") if not outgoing and phase in (Phase.BROKEN, Phase.PAUSED, Phase.FAILED) else ("",),
        (True, False) if phase in (*UNANSWERED, Phase.WAITING, Phase.PAUSED, Phase.HELD, Phase.CALLING) else (True,),
        (True, False),
    ):
        if not chat and phase in (Phase.QUEUED, Phase.CALLING):
            continue  # they end with the chat link
        world = World()
        side = world.sender if outgoing else world.receiver
        side.forget()
        side.chat = world.chat if chat else 0
        machine: Any = kind(FID, LIMITS, phase, linked=chat, paused=paused, told=told)
        side.machine = machine
        if phase in (Phase.CALLING, *WITH_LINK):
            dialling = phase is Phase.CALLING and (outgoing or not sure)
            machine.run = Run(b"T" * 32, dialling=dialling, linked=phase in WITH_LINK)
            side.dialling = b"T" * 32 if machine.run.dialling else None
        if phase in WITH_LINK:
            side.link = FileLink()
            side.running = not outgoing or phase is not Phase.READY
        if under_way and (not outgoing or phase in WITH_LINK):
            waiting = phase is (Phase.READY if outgoing else Phase.QUEUED)
            side.turn = "asked" if waiting else "granted"
        if not outgoing:
            machine.working = side.working = rest == "working" or phase in WITH_LINK
            machine.opening = side.opening = rest == "opening" or phase in (Phase.OPENING, Phase.REOPENING)
            side.opened = phase in (Phase.QUEUED, Phase.CALLING)
        elif phase in UNSAID:
            machine.hindered = not sure
            side.let = chat and machine.waits_to_be_offered
            side.preparing = phase is Phase.PREPARING or machine.hindered
        elif phase is Phase.OFFERED:
            machine.confirmed = machine.settled = sure
        if phase in (Phase.PAUSED, Phase.HELD) or (phase in UNANSWERED and not outgoing):
            machine.doubtful = not sure
        timer = TIMERS_OF.get(phase)
        if phase is Phase.BROKEN and chat and not rest:
            timer = ev.Timer.RETRY
        asking = chat and not sure and phase not in (Phase.WAITING, Phase.CALLING)
        for one in {timer, ev.Timer.ASK if asking else None} - {None}:
            machine.armed.add(one)
            side.timers.add(one)
        if phase is Phase.HELD:
            machine.code = messages.NO_SPACE if chat else messages.STORE
        if phase is Phase.DONE and not outgoing and not told:
            machine.run, side.link = Run(b"T" * 32, linked=True), FileLink()
            machine.armed.add(ev.Timer.LINK)
            side.timers.add(ev.Timer.LINK)
        machine.unsaved = unsaved
        assert waits_for(side), (machine, "the test's own start")
        yield side


def happens(side: Side, event: ev.Input) -> None:
    """What an owner notes before it gives an input."""
    match event:
        case ev.ChatUp():
            side.chat = side.world.chat
        case ev.ChatDown():
            side.chat = 0
        case ev.FileLinkOpened():
            side.link = side.link or FileLink()
        case ev.FileLinkLost():
            side.link = None
        case ev.FileDialFailed():
            side.dialling = None
        case ev.RunVerified() | ev.RunFailed() | ev.RunHindered() | ev.RunRefused() | ev.RunMismatched():
            side.running = False
        case ev.RunRested():
            side.working = False
        case ev.DownloadOpened():
            side.opening, side.opened = False, True
        case ev.OfferGranted():
            side.let = False
        case ev.FilesSeen():
            side.preparing = False
        case ev.DownloadFailed() | ev.DownloadHindered():
            side.opening = False
        case ev.TurnGranted():
            side.turn = "granted"
        case _ if type(event) in ev.TIMER_OF_INPUT:
            side.timers.discard(ev.TIMER_OF_INPUT[type(event)])


def can_happen(side: Side, event: ev.Input) -> bool:
    """Whether an owner that keeps its word gives this input here; the row is there all the same."""
    running = side.running and side.machine.phase in (Phase.READY, Phase.RUNNING, Phase.CHECKING)
    match event:
        case ev.RunMismatched() if side.machine.OUTGOING:
            return False
        case ev.RunRefused():
            return running and bool(side.machine.OUTGOING)
        case ev.RunComplete() | ev.RunVerified() | ev.RunFailed() | ev.RunHindered() | ev.RunMismatched():
            return running or side.machine.phase not in WITH_LINK
        case ev.RunRested():
            return side.working and not running
        case ev.DownloadOpened() | ev.DownloadFailed() | ev.DownloadHindered():
            return side.opening
        case ev.TurnGranted():
            return side.turn == "asked"
        case ev.OfferGranted():
            return side.let
        case ev.FilesSeen():
            return side.preparing
        case ev.ChatDown():
            return bool(side.chat)
        case ev.FileLinkLost(decided=True):
            return not side.machine.OUTGOING and side.machine.phase is Phase.CHECKING
        case ev.FileLinkLost():
            return side.link is not None
        case ev.FileLinkOpened():
            return side.link is None
        case ev.FileDialFailed():
            return side.dialling is not None
        case ev.Recalled():
            return False  # see below
        case ev.HeardAccept() | ev.HeardPause() | ev.HeardResume() | ev.HeardDialMe() | ev.HeardVerified():
            return bool(side.chat)
        case ev.HeardCancel() | ev.HeardDecline() | ev.OutcomeHeard() | ev.WordHeard():
            return bool(side.chat)
        case _ if type(event) in ev.TIMER_OF_INPUT:
            return ev.TIMER_OF_INPUT[type(event)] in side.timers
        case _:
            return True


@pytest.mark.parametrize(("kind", "phase", "event"), rows())
def test_every_phase_answers_to_everything(kind: type[TransferMachine], phase: Phase, event: type[ev.Input]) -> None:
    """The answer is right; after it nothing waits for nothing, and each effect could be carried out where it came.

    What no owner that keeps its word gives in a phase, a late or a doubled report, has an answer all the same.
    """
    nothing = isinstance(kind.TABLE[phase, event], Nothing)
    for example in examples(event):
        for side in standing(kind, phase):
            before = copy.copy(side.machine)
            before.run = copy.copy(before.run)
            if not can_happen(side, example):
                before.working = before.opening = True  # it says so late
                side.machine = copy.copy(before)
                effects = side.machine.handle(example) if event is not ev.Recalled else ()
            else:
                happens(side, example)
                effects = side.give(example)
                if event is ev.Stopping:
                    left = (side.timers, side.running, side.opened, side.link, side.dialling)
                    assert left == (set(), False, False, None, None)
                else:
                    assert waits_for(side), (side.machine, effects)
            if nothing:
                assert effects == ()
                assert side.machine.phase is phase
            elif event is not ev.Recalled:
                right(before, example, side.machine, effects)


SAVED = {ev.Persist, ev.Tell}


def right(was: Any, event: ev.Input, now: Any, effects: tuple[ev.Effect, ...]) -> None:
    """Whether ``now`` and ``effects`` are the right answer of a transfer that stood as ``was``."""
    did = {type(effect) for effect in effects}
    objected = [effect.code for effect in effects if isinstance(effect, ev.Objection)]
    incoming, open_before = not was.OUTGOING, not was.ended
    match event:
        case ev.PersonAccepts() | ev.PersonRefuses() if was.OUTGOING:
            assert objected == ["own-offer"]
        case ev.PersonAccepts() if was.phase is Phase.OFFERED:
            assert now.opening
            assert did == {ev.OpenDownload}
        case ev.PersonAccepts():
            assert objected == ["answered"]
        case ev.PersonRefuses() if was.phase not in UNANSWERED:
            assert objected == ["answered"]
        case ev.PersonRefuses():
            ends(now, Phase.DECLINED, messages.DECLINED, False, effects)
        case ev.PersonShuns() if incoming and was.phase in UNANSWERED:
            ends(now, Phase.DECLINED, messages.DECLINED, False, effects)
        case ev.PersonCancels() | ev.PersonShuns():
            ends(now, Phase.CANCELLED, messages.USER, was.phase in UNSAID, effects)
        case ev.PersonPauses() | ev.PersonResumes() if was.phase in (*UNSAID, *UNANSWERED):
            assert objected == ["not-running"]
        case ev.PersonPauses() | ev.PersonResumes() if was.ended:
            assert objected == ["ended"]
        case ev.PersonPauses():
            assert (now.phase, PausedBy.HERE in now.paused) == (Phase.PAUSED, True)
            if was.phase is not Phase.PAUSED:
                assert did >= SAVED
                assert now.run is None
                assert (ev.Send(Pause(FID, messages.PAUSED)) in effects) is was.linked
                assert now.doubtful or was.linked
        case ev.PersonResumes() if PausedBy.THERE in was.paused:
            assert (now.paused, objected) == (PausedBy.THERE, ["paused-there"])
        case ev.PersonResumes() | ev.RetryDue():
            goes_on(was, now, effects)
        case ev.HeardAccept() if was.ended:
            assert ev.Send(now.outcome()) in effects
        case ev.HeardAccept() if PausedBy.HERE in was.paused:
            assert did == {ev.Send}
        case ev.HeardAccept() if was.run is not None and was.run.token == event.token:
            assert did == set()
        case ev.HeardAccept():
            assert (now.phase, now.run.token, now.paused) == (Phase.CALLING, event.token, PausedBy.NOBODY)
            assert did >= SAVED | {ev.Arm, ev.DialFile}
        case ev.HeardDialMe() if was.phase is Phase.CALLING and was.run.dialling:
            assert effects == ()
        case ev.HeardDialMe() if was.phase is Phase.CALLING:
            assert effects == (ev.DialFile(now.run.token, LIMITS.file_link_seconds),)
        case ev.HeardDialMe() | ev.HeardResume() if PausedBy.HERE in was.paused:
            assert isinstance(effects[-1].message, Pause)
            assert PausedBy.THERE not in now.paused or isinstance(event, ev.HeardDialMe)
        case ev.HeardDialMe() if was.phase is Phase.PAUSED:
            assert effects == ()
        case ev.HeardDecline() | ev.HeardCancel() | ev.HeardVerified() | ev.OutcomeHeard() if was.ended:
            assert now.told
            assert now.phase is was.phase
            assert did == (set() if was.told else {ev.Persist})
        case ev.HeardDecline(code):
            ends(now, Phase.DECLINED, code, True, effects)
        case ev.HeardVerified():
            ends(now, Phase.DONE, "", True, effects)
        case ev.HeardCancel(messages.LOST) if was.phase is Phase.OFFERED and was.OUTGOING:
            assert ev.SendOffer() in effects
            assert not now.confirmed
        case ev.HeardCancel(messages.LOST) if was.phase in UNSAID:
            assert (now.phase, effects) == (was.phase, ())
        case ev.HeardCancel(code):
            ends(now, Phase.CANCELLED if code == messages.USER else Phase.FAILED, code, True, effects)
        case ev.HeardPause() | ev.HeardResume() | ev.HeardDialMe() if was.ended:
            asks_back = was.OUTGOING and was.phase is Phase.DONE
            assert ev.Send(Resume(FID) if asks_back else now.outcome()) in effects
            assert (ev.Confirm(ev.OutcomeHeard()) in effects) is (not was.told and not asks_back)
        case ev.HeardPause():
            assert (now.phase, PausedBy.THERE in now.paused) == (Phase.PAUSED, True)
            assert now.run is None
        case ev.HeardResume() if was.phase is Phase.CALLING:
            assert effects == (ev.SendAccept(was.run.token),)
        case ev.HeardResume() if was.phase is Phase.BROKEN and was.OUTGOING:
            assert effects == (ev.Send(Resume(FID)),)
        case ev.HeardResume():
            goes_on(was, now, effects)
        case ev.ChatUp() if was.phase in UNSAID:
            assert (now.linked, now.phase) == (True, was.phase)
            assert did == ({ev.LetOffer} if was.phase is Phase.WAITING else set())
        case ev.ChatDown() if was.phase is Phase.PREPARING:
            assert (now.linked, now.phase, effects) == (False, Phase.PREPARING, ())
        case ev.OfferGranted():
            assert now.phase is (Phase.PREPARING if was.linked else Phase.WAITING)
            look = (ev.Arm(ev.Timer.LOOK, LOOK_SECONDS), ev.LookAtFiles())
            assert effects == (look if was.linked else (ev.Contact(),))
        case ev.LookLate():
            assert (now.phase, now.code, now.waits_to_be_offered) == (Phase.WAITING, messages.SLOW_DISK, False)
            assert did == SAVED | {ev.LetOffer}  # another one
            assert not now.needs_contact
        case ev.FilesSeen() if was.phase is Phase.WAITING and not was.hindered:
            assert effects == ()
        case ev.FilesSeen() if was.phase is Phase.WAITING:
            assert (now.phase, now.code, now.waits_to_be_offered) == (Phase.WAITING, "", True)
            assert did == SAVED | {ev.LetOffer if was.linked else ev.Contact}
        case ev.FilesSeen("") if was.linked:
            assert (now.phase, now.offering, now.confirmed) == (Phase.OFFERED, True, False)
            assert did == SAVED | {ev.Disarm, ev.SendOffer, ev.LetOffer}
        case ev.FilesSeen(""):
            assert (now.phase, effects) == (Phase.WAITING, (ev.Disarm(ev.Timer.LOOK), ev.Contact()))
        case ev.FilesSeen(code):
            ends(now, Phase.FAILED, code, True, effects)
        case ev.Overdue():
            ends(now, Phase.FAILED, messages.EXPIRED, was.phase in UNSAID, effects)
        case ev.ChatUp():
            assert now.linked
            links(was, now, effects)
        case ev.ChatDown(in_order):
            assert not now.linked
            assert (ev.Contact() in effects) is now.needs_contact
            if was.phase in (Phase.QUEUED, Phase.CALLING):
                assert (now.phase, now.code, now.run) == (Phase.BROKEN, messages.LOST, None)
            if was.phase is Phase.OFFERED and was.OUTGOING:
                assert now.confirmed is (in_order and was.settled)
        case ev.WordHeard() if was.OUTGOING and was.phase is Phase.OFFERED:
            assert now.confirmed
        case ev.WordHeard():
            assert not now.doubtful
        case ev.FileLinkOpened() if was.phase is Phase.CALLING:
            assert (now.phase, now.run.linked, now.late) == (Phase.READY, True, 0)
            assert did >= ({ev.StartReceiving} if incoming else {ev.AskTurn})
        case ev.FileLinkOpened():
            assert effects == (ev.RefuseLink(),)
        case ev.FileLinkLost() if was.phase is Phase.DONE:
            assert now.run is None
            assert now.told is (was.told or event.code == "bye")
        case ev.FileLinkLost(_, _, True):
            assert now.phase is was.phase
            assert was.OUTGOING or not now.run.linked
        case ev.FileLinkLost(messages.BAD_FRAME | messages.UNKNOWN_MESSAGE | messages.INTERNAL_ERROR as code):
            ends(now, Phase.FAILED, code, False, effects)
        case ev.FileLinkLost():
            breaks(now, messages.LOST, effects)
        case ev.FileDialFailed():
            assert not now.run.dialling
            assert incoming or ev.Send(DialMe(FID)) in effects
        case ev.RunBegan():
            assert now.state is TransferState.RUNNING
        case ev.RunComplete():
            assert now.state is TransferState.CHECKING
        case ev.RunVerified():
            assert (now.state, now.told) == (TransferState.DONE, was.OUTGOING)
            assert did >= SAVED
        case ev.RunFailed(code):
            ends(now, Phase.FAILED, code, False, effects)
        case ev.RunRefused(code):
            ends(now, Phase.FAILED, code, True, effects)
        case ev.RunHindered(messages.NO_SPACE | messages.STORE) if incoming:
            assert (now.phase, now.code, now.paused) == (Phase.HELD, event.code, PausedBy.HERE)
            assert ev.Timer.SPACE in now.armed
        case ev.RunHindered(code):
            breaks(now, code, effects)
        case ev.RunMismatched():
            assert (now.phase, now.run) == (Phase.BROKEN, None)
        case ev.RunRested():
            assert not now.working
            assert (ev.RemoveParts() in effects) is (was.ended and was.phase is not Phase.DONE)
            assert now.phase is was.phase or now.phase is Phase.REOPENING
        case ev.DownloadOpened(missing) if was.phase in (Phase.OPENING, Phase.REOPENING, Phase.BROKEN):
            assert not now.opening
            there = Phase.QUEUED if was.linked else Phase.BROKEN
            assert now.phase is (there if missing else Phase.DONE)
            assert did >= SAVED
        case ev.DownloadOpened():
            assert not now.opening
            assert now.phase is was.phase
            assert ev.StopRun(keep=True) in effects
            assert (ev.RemoveParts() in effects) is (was.ended and was.phase is not Phase.DONE)
        case ev.DownloadFailed() | ev.DownloadHindered() if was.phase is Phase.OPENING:
            assert (now.phase, now.opening, effects) == (Phase.OFFERED, False, ())
        case ev.DownloadFailed() if was.phase in (Phase.REOPENING, Phase.BROKEN):
            assert not now.opening
            ends(now, Phase.FAILED, event.code, False, effects)
        case ev.DownloadHindered(messages.BUSY) if was.phase in (Phase.REOPENING, Phase.BROKEN):
            breaks(now, messages.BUSY, effects)
            assert ev.Timer.RETRY in now.armed
        case ev.DownloadHindered() if was.phase in (Phase.REOPENING, Phase.BROKEN):
            assert (now.phase, now.code, now.opening) == (Phase.HELD, event.code, False)
        case ev.DownloadFailed() | ev.DownloadHindered():
            assert not now.opening
            assert (ev.RemoveParts() in effects) is (was.ended and was.phase is not Phase.DONE)
        case ev.SpaceDue():
            assert effects == (ev.LookForSpace(was.code),)
        case ev.SpaceSeen(enough):
            assert now.phase is (Phase.REOPENING if enough else Phase.HELD)
        case ev.TurnGranted() if was.phase is Phase.QUEUED:
            assert (now.phase, now.run.token) == (Phase.CALLING, event.token)
            assert ev.SendAccept(event.token) in effects
        case ev.TurnGranted() if was.phase is Phase.READY:
            assert now.state is TransferState.RUNNING
            assert did >= SAVED | {ev.StartSending}
        case ev.TurnGranted():
            assert effects == (ev.FreeTurn(),)
        case ev.LinkLate() if was.phase is Phase.DONE:
            assert did >= {ev.LeaveLink}
            assert now.run is None
        case ev.LinkLate():
            breaks(now, messages.LATE, effects)
            assert now.late == was.late + 1
        case ev.AskDue() if was.phase is Phase.BROKEN:
            goes_on(was, now, effects)
        case ev.AskDue() if was.phase is Phase.OFFERED and was.OUTGOING and was.confirmed:
            assert now.settled
        case ev.AskDue():
            assert effects == (ev.Confirm(ev.WordHeard()),)
        case ev.Unsaved():
            assert now.unsaved
            assert now.phase is was.phase
        case ev.StoreBack():
            assert not now.unsaved
            assert was.unsaved <= (ev.Persist() in effects)
            assert (now.phase is was.phase) is not (was.phase is Phase.HELD and was.code == messages.STORE)
        case ev.Stopping():
            assert now.armed == set()
            assert open_before is not now.ended
        case _:
            raise AssertionError(f"nobody has said what is right for {was.phase} and {event}")


def ends(now: Any, phase: Phase, code: str, told: bool, effects: tuple[ev.Effect, ...]) -> None:
    assert (now.phase, now.code, now.told) == (phase, code, told)
    assert (now.run, now.armed, now.paused) == (None, set(), PausedBy.NOBODY)
    assert {type(effect) for effect in effects} >= SAVED
    if not told:
        said = {ev.Send(now.outcome()), ev.Confirm(ev.OutcomeHeard())} if now.linked else {ev.Contact()}
        assert said <= {effect for effect in effects if not isinstance(effect, ev.Send | ev.Persist)} | said
        assert all(one in effects for one in said)


def breaks(now: Any, code: str, effects: tuple[ev.Effect, ...]) -> None:
    assert (now.phase, now.code, now.run) == (Phase.BROKEN, code, None)
    assert {type(effect) for effect in effects} >= SAVED
    assert ev.Timer.RETRY in now.armed or ev.Contact() in effects


def goes_on(was: Any, now: Any, effects: tuple[ev.Effect, ...]) -> None:
    """The receiver looks at its disk, the sender asks for that; without a link one is needed."""
    assert now.paused is PausedBy.NOBODY
    if not was.linked and was.phase is not Phase.HELD:
        assert ev.Contact() in effects
    elif was.OUTGOING:
        assert ev.Send(Resume(FID)) in effects
        assert ev.Timer.ASK in now.armed
    else:
        busy = was.working or was.opening
        assert now.phase is (Phase.BROKEN if busy else Phase.REOPENING)
        assert (ev.OpenDownload() in effects) is not busy


def links(was: Any, now: Any, effects: tuple[ev.Effect, ...]) -> None:
    """What is said on a new chat link."""
    said = [effect.message for effect in effects if isinstance(effect, ev.Send)]
    if was.ended:
        assert said == ([] if was.told else [now.outcome()])
    elif PausedBy.HERE in was.paused:
        assert [type(message) for message in said] == [Pause]
    elif was.OUTGOING or was.phase in (*UNANSWERED, Phase.PAUSED):
        assert said == [Resume(FID)]
    elif was.phase is Phase.CALLING:
        assert effects == (ev.SendAccept(was.run.token),)
    elif was.phase is Phase.BROKEN:
        linked = copy.copy(was)
        linked.linked = True
        goes_on(linked, now, effects)
    else:
        assert said == []


@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("paused", [0, 1, 2, 3])
@pytest.mark.parametrize(
    ("kind", "state"), [(kind, state) for kind in KINDS for state in TransferState if state in states_of(kind)]
)
def test_whatever_the_store_has_is_taken_up(
    kind: type[TransferMachine], state: TransferState, paused: int, told: bool, expired: bool
) -> None:
    world = World()
    side = world.sender if kind.OUTGOING else world.receiver
    side.forget()
    code = messages.NO_SPACE if state is TransferState.PAUSED else ""
    side.machine = kind(FID, LIMITS, phase_of(state, kind), code, paused=PausedBy(paused), told=told)
    side.give(ev.Recalled(expired))
    machine = side.machine
    assert machine.needs_contact or machine.ended
    assert waits_for(side)
    if state is TransferState.WAITING:
        assert (machine.state, machine.told) == (TransferState.FAILED if expired else state, expired or told)
    elif state.ended:
        assert machine.state is state
        assert machine.told is (told or expired)
    elif expired:
        assert (machine.state, machine.code, machine.told) == (TransferState.FAILED, messages.EXPIRED, False)
    elif state in (TransferState.OFFERED, TransferState.PAUSED):
        assert machine.state is state
        assert machine.paused == paused
    else:
        assert machine.state is TransferState.BROKEN


# --- the rows whose meaning is worth a sentence ---


def side_in(kind: type[TransferMachine], phase: Phase, chat: bool = True, **fields: Any) -> Side:
    """One that stands so, with everything else as it usually is."""
    for side in standing(kind, phase):
        if bool(side.chat) is chat and all(getattr(side.machine, name) == value for name, value in fields.items()):
            return side
    raise AssertionError("no such standing")


@pytest.mark.parametrize("kind", KINDS)
def test_an_outcome_is_said_on_each_link_until_it_is_heard(kind: type[TransferMachine]) -> None:
    side = side_in(kind, Phase.BROKEN, chat=False)
    side.give(ev.PersonCancels())
    assert (side.machine.told, side.machine.needs_contact, side.contact) == (False, True, True)
    said = (ev.Send(Cancel(FID, messages.USER)), ev.Confirm(ev.OutcomeHeard()))
    for _ in range(2):
        side.chat = side.world.chat
        assert side.give(ev.ChatUp()) == said
        side.chat = 0
        assert side.give(ev.ChatDown(in_order=False)) == (ev.Contact(),)
    side.chat = side.world.chat
    side.give(ev.ChatUp())
    assert side.give(ev.OutcomeHeard()) == (ev.Persist(),)
    assert not side.machine.needs_contact
    assert side.give(ev.ChatUp()) == ()


@pytest.mark.parametrize(
    ("phase", "code", "word"),
    [
        (Phase.DECLINED, messages.DECLINED, Decline(FID, messages.DECLINED)),
        (Phase.CANCELLED, messages.USER, Cancel(FID, messages.USER)),
        (Phase.FAILED, messages.DIGEST, Cancel(FID, messages.DIGEST)),
        (Phase.DONE, "", Verified(FID)),
    ],
)
@pytest.mark.parametrize("word_of_theirs", [ev.HeardResume(), ev.HeardPause(messages.PAUSED), ev.HeardDialMe()])
def test_a_word_about_what_has_ended_gets_the_outcome(
    phase: Phase, code: str, word: messages.Message, word_of_theirs: ev.Input
) -> None:
    side = side_in(IncomingTransfer, phase, told=True)
    side.machine.code = code
    assert side.give(word_of_theirs) == (ev.Send(word),)


def test_an_offer_that_got_lost_is_made_again_and_once() -> None:
    side = side_in(OutgoingTransfer, Phase.OFFERED, chat=False, confirmed=False)
    assert side.machine.needs_contact
    side.chat = side.world.chat
    assert side.give(ev.ChatUp())[0] == ev.Send(Resume(FID))
    assert ev.SendOffer() in side.give(ev.HeardCancel(messages.LOST))
    assert side.give(ev.HeardCancel(messages.LOST)) == ()
    side.give(ev.WordHeard())
    assert not side.machine.needs_contact
    side.chat = 0
    side.give(ev.ChatDown(in_order=True))  # it may not be in their store yet
    assert side.machine.needs_contact


def test_an_offer_that_stands_lets_an_idle_link_go() -> None:
    side = side_in(OutgoingTransfer, Phase.OFFERED, confirmed=True)
    assert side.give(ev.ChatDown(in_order=True)) == ()
    assert not side.machine.needs_contact
    side.give(ev.ChatUp())
    side.give(ev.ChatDown(in_order=False))
    assert side.machine.needs_contact


def test_a_full_disk_is_looked_at_until_it_has_space() -> None:
    side = side_in(IncomingTransfer, Phase.RUNNING)
    assert ev.Send(Pause(FID, messages.NO_SPACE)) in side.give(ev.RunHindered(messages.NO_SPACE))
    side.running = False
    assert (side.machine.state, side.machine.paused) == (TransferState.PAUSED, PausedBy.HERE)
    for _ in range(3):
        side.fire(ev.Timer.SPACE)
        side.space_seen(False)
    side.rest()
    side.fire(ev.Timer.SPACE)
    side.space_seen(True)
    assert (side.machine.phase, side.opening) == (Phase.REOPENING, True)


def test_a_lack_that_passes_breaks_it_off_and_it_goes_on() -> None:
    side = side_in(IncomingTransfer, Phase.RUNNING)
    side.end_run(ev.RunHindered(messages.BUSY))
    assert (side.machine.state, side.machine.code) == (TransferState.BROKEN, messages.BUSY)
    side.rest()
    side.fire(ev.Timer.RETRY)
    assert side.opening


def test_what_the_store_did_not_take_is_saved_later() -> None:
    side = side_in(IncomingTransfer, Phase.RUNNING)
    side.store_full = True
    side.give(ev.PersonCancels())
    assert side.row is None or side.row[0] is not Phase.CANCELLED
    side.mend()
    assert side.row is not None
    assert side.row[0] is Phase.CANCELLED


def test_five_links_that_do_not_come_are_enough() -> None:
    for kind in KINDS:
        side = side_in(kind, Phase.CALLING)
        side.machine.late = 4
        side.fire(ev.Timer.LINK)
        assert (side.machine.state, side.machine.code) == (TransferState.FAILED, messages.LATE)


def test_verified_is_heard_when_the_sender_says_goodbye() -> None:
    side = side_in(IncomingTransfer, Phase.CHECKING)
    side.running = False
    side.give(ev.RunVerified())
    assert (side.machine.phase, side.machine.told) == (Phase.DONE, False)
    side.link = None
    side.give(ev.FileLinkLost("bye", by_remote=True))
    assert side.machine.told
    assert side.timers == set()


def test_a_table_without_a_row_or_with_one_twice_cannot_be_made() -> None:
    row = Nothing("for this test")
    phases, inputs = (Phase.OFFERED, Phase.DONE), (ev.ChatUp,)
    with pytest.raises(ValueError, match="without a row"):
        table_of(phases, inputs, {ev.ChatUp: {Phase.OFFERED: row}})
    with pytest.raises(ValueError, match="stands twice"):
        table_of(phases, inputs, {ev.ChatUp: {phases: row, Phase.DONE: row}})


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_that_does_nothing_any_more_is_noticed(kind: type[TransferMachine], monkeypatch: Any) -> None:
    """The control of the tests above: each row, emptied, turns one of them red."""
    unnoticed = []
    for (phase, event), row in kind.TABLE.items():
        if isinstance(row, Nothing):
            continue
        with monkeypatch.context() as patched:
            patched.setitem(kind.TABLE, (phase, event), lambda machine, event: iter(()))
            try:
                test_every_phase_answers_to_everything(kind, phase, event)
                if event is ev.Recalled:
                    for state, paused, told, expired in itertools.product(
                        states_of(kind), range(4), *[(False, True)] * 2
                    ):
                        test_whatever_the_store_has_is_taken_up(kind, state, paused, told, expired)
            except (AssertionError, AttributeError, IndexError):
                continue
        unnoticed.append((phase, event))
    assert unnoticed == []


def test_a_doubt_stays_until_the_acceptance_is_said() -> None:
    """Recalled, accepted, and paused before its turn: how it stands there has not been asked."""
    machine = IncomingTransfer(FID, LIMITS)
    for event in (ev.Recalled(), ev.ChatUp(), ev.PersonAccepts(), ev.DownloadOpened(missing=True)):
        machine.handle(event)
    said = machine.handle(ev.PersonPauses())
    assert ev.Send(Pause(FID, messages.PAUSED)) in said
    assert ev.Arm(ev.Timer.ASK, SETTLE_SECONDS) in said
    machine.handle(ev.ChatDown(in_order=False))
    assert machine.needs_contact  # the answer, that it was cancelled there, may have been lost
