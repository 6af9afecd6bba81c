"""Every phase of a transfer has its answer to everything that may happen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from chatnet.core import messages
from chatnet.core.events import TransferState
from chatnet.core.messages import Cancel, Decline, Pause, Resume, Verified
from chatnet.core.transfer import transfer_events as ev
from chatnet.core.transfer.incoming import IncomingTransfer
from chatnet.core.transfer.outgoing import OutgoingTransfer
from chatnet.core.transfer.transfer_machine import Nothing, PausedBy, Phase, Run, TransferMachine, phase_of, table_of
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
    ev.Recalled: (ev.Recalled(), ev.Recalled(expired=True)),
}
TIMERS_OF = {Phase.CALLING: ev.Timer.LINK, Phase.HELD: ev.Timer.SPACE}
WITH_LINK = (Phase.READY, Phase.RUNNING, Phase.CHECKING)


def examples(kind: type[ev.Input]) -> tuple[ev.Input, ...]:
    return EXAMPLES.get(kind) or (kind(),)


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
    for chat, paused, told, rest, sure in itertools.product(
        (True, False),
        [PausedBy(n) for n in (1, 2, 3)] if phase is Phase.PAUSED else [PausedBy(phase is Phase.HELD)],
        (True, False) if phase.ended else (True,),
        ("", "working", "opening") if not outgoing and phase in (Phase.BROKEN, Phase.PAUSED, Phase.FAILED) else ("",),
        (True, False) if phase in (Phase.OFFERED, Phase.PAUSED) else (True,),
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
            machine.run = Run(b"T" * 32, dialling=phase is Phase.CALLING and outgoing, linked=phase in WITH_LINK)
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
        elif phase is Phase.OFFERED:
            machine.confirmed = machine.settled = sure
        if phase is Phase.PAUSED or (phase is Phase.OFFERED and not outgoing):
            machine.doubtful = not sure
        timer = TIMERS_OF.get(phase)
        if phase is Phase.BROKEN and chat and not rest:
            timer = ev.Timer.RETRY
        if timer is not None:
            machine.armed.add(timer)
            side.timers.add(timer)
        if phase is Phase.HELD:
            machine.code = messages.NO_SPACE
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
    """After it nothing waits for nothing, and each effect could be carried out where it came."""
    nothing = isinstance(kind.TABLE[phase, event], Nothing)
    for example in examples(event):
        for side in standing(kind, phase):
            if can_happen(side, example):
                happens(side, example)
                effects = side.give(example)
                if event is ev.Stopping:
                    assert [side.timers, side.running, side.opened, side.link, side.dialling] == [
                        set(),
                        False,
                        False,
                        None,
                        None,
                    ]
                else:
                    assert waits_for(side), (side.machine, effects)
                if nothing:
                    assert effects == ()
                    assert side.machine.phase is phase
                    assert isinstance(kind.TABLE[phase, event], Nothing)


@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("paused", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", list(TransferState))
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
    if state.ended:
        assert machine.state is state
        assert machine.told is (told or expired)
    elif expired:
        assert (machine.state, machine.code, machine.told) == (TransferState.FAILED, messages.LOST, False)
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
