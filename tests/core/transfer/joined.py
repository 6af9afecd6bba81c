"""Two transfer machines joined by links that lose what is on them: a world of events, chosen one by one.

Each side has what its owner would have: timers, a turn, dials, a disk, a store.  ``Side.carry_out`` checks
that each effect can be carried out where it comes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from chatnet.core import messages
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import Accept, Cancel, Decline, DialMe, Offer, OfferedFile, Pause, Resume, Verified
from chatnet.core.transfer import transfer_events as ev
from chatnet.core.transfer.incoming import IncomingTransfer
from chatnet.core.transfer.outgoing import OutgoingTransfer
from chatnet.core.transfer.transfer_machine import PausedBy, Phase, TransferMachine, phase_of

FID = b"F" * 16
LIMITS = PeerLimits()
INPUT_OF_MESSAGE: dict[type, Callable[[Any], ev.Input]] = {
    Accept: lambda m: ev.HeardAccept(m.token, m.wants),
    Decline: lambda m: ev.HeardDecline(m.code),
    DialMe: lambda m: ev.HeardDialMe(),
    Cancel: lambda m: ev.HeardCancel(m.code),
    Pause: lambda m: ev.HeardPause(m.code),
    Resume: lambda m: ev.HeardResume(),
    Verified: lambda m: ev.HeardVerified(),
}
_numbers = itertools.count()


class FileLink:
    """``ends`` are the sides at which it is open."""

    def __init__(self) -> None:
        self.ends: set[Side] = set()
        self.verified = False  # said, and not yet heard
        self.code = messages.LOST  # how it is lost by who did not leave it
        self.whole = True


class Side:
    """One side: its machine, and what its owner has of it."""

    def __init__(self, world: World, kind: type[TransferMachine]) -> None:
        self.world = world
        self.kind = kind
        self.machine: Any = None
        self.row: tuple[Phase, str, PausedBy, bool] | None = None  # what the store has
        self.store_full = False
        self.events: list[str] = []
        self.forget()

    def forget(self) -> None:
        """What a process has in memory."""
        self.inbox: list[Any] = []
        self.chat = 0  # the number of the link that this side believes in; 0 is none
        self.timers: set[ev.Timer] = set()
        self.turn = ""
        self.dialling: bytes | None = None
        self.link: FileLink | None = None
        self.running = False
        self.working = False
        self.opening = False
        self.opened = False
        self.looking = False
        self.let = self.preparing = False  # room for an offer is due, the files are looked at
        self.contact = False

    @property
    def other(self) -> Side:
        return next(side for side in self.world.sides if side is not self)

    def make(self) -> None:
        self.machine = self.kind(FID, LIMITS, linked=bool(self.chat))
        self.save(())

    def restart(self) -> None:
        self.world.cut_chat()
        self.world.cut_file()
        self.forget()
        self.machine = None
        if self.row is not None:
            phase, code, paused, told = self.row
            self.machine = self.kind(FID, LIMITS, phase=phase_of(phase_state(phase), self.kind), code=code)
            self.machine.paused, self.machine.told = paused, told
            self.give(ev.Recalled())

    # --- inputs and effects ---

    def give(self, event: ev.Input) -> tuple[ev.Effect, ...]:
        self.events.append(f"{self.machine.phase} {event}")
        effects = tuple(self.machine.handle(event))
        self.carry_out(effects)
        return effects

    def carry_out(self, effects: tuple[ev.Effect, ...]) -> None:
        for effect in effects:
            getattr(self, f"on_{type(effect).__name__}")(effect)

    def say(self, what: Any) -> None:
        if self.chat and self.chat == self.world.chat:
            self.other.inbox.append((self.chat, what))

    def on_Send(self, effect: ev.Send) -> None:
        assert self.machine.linked or self.machine.phase is Phase.DONE
        self.say(effect.message)

    def on_LetOffer(self, effect: ev.LetOffer) -> None:
        self.let = self.machine.waits_to_be_offered

    def on_LookAtFiles(self, effect: ev.LookAtFiles) -> None:
        self.preparing = True

    def on_SendOffer(self, effect: ev.SendOffer) -> None:
        self.say(Offer(FID, [OfferedFile(["a"], 1, 0)], False))
        self.say(("ping", ev.WordHeard()))

    def on_SendAccept(self, effect: ev.SendAccept) -> None:
        assert self.machine.linked
        assert self.opened
        self.say(Accept(FID, effect.token, [], False))

    def on_Confirm(self, effect: ev.Confirm) -> None:
        self.say(("ping", effect.heard))

    def on_SayVerified(self, effect: ev.SayVerified) -> None:
        if self.link is not None:
            self.link.verified = True

    def on_DialFile(self, effect: ev.DialFile) -> None:
        assert self.dialling is None
        self.dialling = effect.token

    def on_StartSending(self, effect: ev.StartSending) -> None:
        assert self.link is not None
        self.running = True

    def on_StartReceiving(self, effect: ev.StartReceiving) -> None:
        assert self.link is not None
        assert self.opened
        assert not self.working
        self.opened, self.running, self.working = False, True, True

    def on_StopRun(self, effect: ev.StopRun) -> None:
        self.dialling = None
        self.running = self.opened = False

    def on_LeaveLink(self, effect: ev.LeaveLink) -> None:
        if self.link is not None:
            link, self.link = self.link, None
            link.ends.discard(self)
            link.whole = False
            link.code = "bye" if effect.how is ev.Leave.BYE else messages.LOST

    def on_RefuseLink(self, effect: ev.RefuseLink) -> None:
        self.on_LeaveLink(ev.LeaveLink(ev.Leave.CUT))

    def on_OpenDownload(self, effect: ev.OpenDownload) -> None:
        assert not self.opening
        assert not self.working
        assert not self.opened
        self.opening = True

    def on_RemoveParts(self, effect: ev.RemoveParts) -> None:
        assert not self.working
        assert not self.opening
        assert self.machine.phase is not Phase.DONE

    def on_LookForSpace(self, effect: ev.LookForSpace) -> None:
        self.looking = True

    def on_Arm(self, effect: ev.Arm) -> None:
        self.timers.add(effect.timer)

    def on_Retry(self, effect: ev.Retry) -> None:
        self.timers.add(ev.Timer.RETRY)

    def on_Disarm(self, effect: ev.Disarm) -> None:
        self.timers.remove(effect.timer)

    def on_Persist(self, effect: ev.Persist) -> None:
        self.save(effect.then)

    def save(self, then: tuple[ev.Effect, ...]) -> None:
        machine = self.machine
        if self.store_full:
            self.give(ev.Unsaved())
        else:
            self.row = (machine.phase, machine.code, machine.paused, machine.told)
        self.carry_out(then)

    def on_Tell(self, effect: ev.Tell) -> None: ...

    def on_AskTurn(self, effect: ev.AskTurn) -> None:
        assert not self.turn
        self.turn = "asked"

    def on_FreeTurn(self, effect: ev.FreeTurn) -> None:
        self.turn = ""

    def on_Contact(self, effect: ev.Contact) -> None:
        assert self.machine.needs_contact
        self.contact = True

    def on_Objection(self, effect: ev.Objection) -> None: ...

    # --- what may happen to this side next ---

    def steps(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """Everything that comes by itself, sooner or later, but for timers."""
        if self.inbox:
            yield "hear", self.hear
        if self.chat and self.chat != self.world.chat:
            yield "chat down", self.chat_down
        if self.machine is None:
            return
        if self.dialling is not None:
            yield "dialled", self.dialled
        if self.link is not None and not self.link.whole:
            yield "file link lost", self.file_link_lost
        elif self.link is not None and self.machine.OUTGOING and self.running:
            if self.machine.phase is Phase.RUNNING:
                yield "all sent", lambda: self.give(ev.RunComplete())
            elif self.link.verified:
                yield "verified there", self.verified_there
        elif self.link is not None and self.running and self.other.running:
            yield "receive", self.receive
        elif self.running and not self.machine.OUTGOING and self.machine.phase is Phase.CHECKING:
            yield "finish", self.finish
        if self.working and not self.running:
            yield "rest", self.rest
        if self.opening:
            yield "opened", self.open
        if self.let:
            yield "may offer", self.grant_offer
        if self.preparing:
            yield "files seen", self.files_seen
        if self.looking:
            yield "space seen", lambda: self.space_seen(True)
        if self.turn == "asked":
            yield "turn", self.grant

    def hear(self) -> None:
        number, what = self.inbox.pop(0)
        if number != self.world.chat or self.chat != number:
            return  # it went with its link
        if isinstance(what, tuple):
            if what[0] == "ping":
                self.say(("pong", what[1]))
            elif self.machine is not None:
                self.give(what[1])
        elif isinstance(what, Offer):
            if self.machine is not None:
                self.give(ev.HeardResume())  # said again: its sender hears how it stands
            elif not self.store_full:
                self.make()
            else:
                self.say(Decline(FID, messages.STORE))
        elif self.machine is not None:
            self.give(INPUT_OF_MESSAGE[type(what)](what))
        elif isinstance(what, Resume | Accept | DialMe | Pause):
            self.say(Cancel(FID, messages.LOST))

    def chat_down(self, in_order: bool = False) -> None:
        self.chat = 0
        self.inbox.clear()
        if self.machine is not None:
            self.give(ev.ChatDown(in_order))

    def dialled(self) -> None:
        token, self.dialling = self.dialling, None
        other = self.other
        if other.machine is None or not other.machine.expects(token) or self.link is not None or other.link is not None:
            self.give(ev.FileDialFailed())
            return
        self.link = other.link = self.world.file = FileLink()
        self.link.ends = {self, other}
        for side in (other, self):
            if side.link is not None:
                side.give(ev.FileLinkOpened())

    def file_link_lost(self) -> None:
        assert self.link is not None
        link, self.link = self.link, None
        decided = not self.machine.OUTGOING and self.machine.phase is Phase.CHECKING
        self.give(ev.FileLinkLost(link.code, by_remote=True, decided=decided))

    def verified_there(self) -> None:
        self.running = False
        self.give(ev.RunVerified())

    def receive(self) -> None:
        if self.machine.phase is Phase.READY:
            self.give(ev.RunBegan())
        elif self.machine.phase is Phase.RUNNING:
            self.give(ev.RunComplete())
        elif self.machine.phase is Phase.CHECKING:
            self.finish()

    def finish(self) -> None:
        self.world.received = True
        self.running = False
        self.give(ev.RunVerified())

    def rest(self) -> None:
        self.working = False
        self.give(ev.RunRested())

    def open(self, outcome: ev.Input | None = None) -> None:
        self.opening = False
        if outcome is None:
            outcome = ev.DownloadOpened(missing=not self.world.received)
        self.opened = isinstance(outcome, ev.DownloadOpened)
        self.give(outcome)

    def space_seen(self, enough: bool) -> None:
        self.looking = False
        self.give(ev.SpaceSeen(enough))

    def grant(self) -> None:
        self.turn = "granted"
        self.give(ev.TurnGranted(next(_numbers).to_bytes(32, "big")))

    def grant_offer(self) -> None:
        self.let = False
        self.give(ev.OfferGranted())

    def files_seen(self, code: str = "") -> None:
        self.preparing = False
        self.give(ev.FilesSeen(code))

    def fire(self, timer: ev.Timer) -> None:
        self.timers.remove(timer)
        self.give(ev.INPUT_OF_TIMER[timer])

    def end_run(self, event: ev.Input) -> None:
        self.running = False
        self.give(event)

    def mend(self) -> None:
        if self.store_full:
            self.store_full = False
            if self.machine is not None:
                self.give(ev.StoreBack())

    # --- what else may happen ---

    def endings(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """What ends it for good."""
        if self.machine is not None:
            for event in (ev.PersonCancels(), ev.PersonShuns(), ev.PersonRefuses()):
                yield str(event), lambda event=event: self.give(event)
            if self.preparing:
                yield "files gone", lambda: self.files_seen(messages.UNREADABLE)
            yield str(ev.Overdue()), lambda: self.give(ev.Overdue())
            if self.running:
                yield "failed", lambda: self.end_run(ev.RunFailed(messages.CHANGED))

    def accidents(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """What a person, the line, the disk or the end of a process may do."""
        yield "restart", self.restart
        if not self.store_full:
            yield "store full", lambda: setattr(self, "store_full", True)
        else:
            yield "store back", self.mend
        if self.machine is None:
            return
        for event in (ev.PersonPauses(), ev.PersonResumes(), ev.PersonAccepts()):
            yield str(event), lambda event=event: self.give(event)
        for timer in self.timers:
            yield f"fire {timer.name}", lambda timer=timer: self.fire(timer)
        if self.dialling is not None:
            yield "not dialled", self.not_dialled
        if self.running:
            for event in (ev.RunHindered("busy"), ev.RunHindered(messages.NO_SPACE)):
                if event.code != messages.NO_SPACE or not self.machine.OUTGOING:
                    yield str(event), lambda event=event: self.end_run(event)
            if not self.machine.OUTGOING:
                yield "mismatched", lambda: self.end_run(ev.RunMismatched())
        if self.opening:
            yield "not opened", lambda: self.open(ev.DownloadHindered(messages.NO_SPACE))
            yield "not opened now", lambda: self.open(ev.DownloadHindered("busy"))
        if self.looking:
            yield "no space", lambda: self.space_seen(False)

    def not_dialled(self) -> None:
        self.dialling = None
        self.give(ev.FileDialFailed())


class World:
    """A sender and a receiver.  An offer was just made over an open chat link."""

    def __init__(self) -> None:
        self.chat = 0
        self.file: FileLink | None = None
        self.received = False  # everything stands under its name at the receiver
        self.sender = Side.__new__(Side)
        self.receiver = Side.__new__(Side)
        self.sides = (self.sender, self.receiver)
        self.sender.__init__(self, OutgoingTransfer)  # type: ignore[misc]
        self.receiver.__init__(self, IncomingTransfer)  # type: ignore[misc]
        self.connect()
        self.sender.make()
        self.sender.carry_out(self.sender.machine.offer())

    def connect(self) -> None:
        """A new chat link, whatever became of the one before."""
        self.chat = next(_numbers) + 1
        for side in self.sides:
            side.chat, side.contact = self.chat, False
            side.inbox.clear()
        for side in self.sides:
            if side.machine is not None:
                side.give(ev.ChatUp())

    def cut_chat(self) -> None:
        self.chat = 0

    def cut_file(self) -> None:
        if self.file is not None:
            self.file.whole = False

    def close_chat(self) -> None:
        """A goodbye on both sides, when nothing is on its way."""
        self.chat = 0
        for side in self.sides:
            if side.chat:
                side.chat_down(in_order=True)

    def accidents(self, endings: bool) -> Iterator[tuple[str, Callable[[], Any]]]:
        for side in self.sides:
            for name, step in itertools.chain(side.steps(), side.accidents(), side.endings() if endings else ()):
                yield f"{side.kind.__name__} {name}", step
        yield "connect", self.connect
        if self.chat:
            yield "cut chat", self.cut_chat
            if not any(side.inbox for side in self.sides):
                yield "close chat", self.close_chat
        if self.file is not None and self.file.whole:
            yield "cut file", self.cut_file

    def settle(self, steps: int = 400) -> None:
        """From now on everything works: links hold, disks have space, and a link is made when somebody needs one."""
        times: Counter[tuple[type, ev.Timer]] = Counter()
        for side in self.sides:
            side.mend()
        for _ in range(steps):
            mine = [step for side in self.sides for _, step in side.steps()]
            if mine:
                mine[0]()
            elif not self.chat and any(side.machine is not None and side.machine.needs_contact for side in self.sides):
                self.connect()
            else:
                fired = [(side, timer) for side in self.sides for timer in side.timers]
                if not fired:
                    return
                side, timer = min(fired, key=lambda one: times[one[0].kind, one[1]])
                times[side.kind, timer] += 1
                side.fire(timer)

    def check(self) -> None:
        """Nothing waits for nothing."""
        for side in self.sides:
            if side.machine is not None:
                assert waits_for(side), (side.kind, side.machine, side.events[-8:])


def waits_for(side: Side) -> str:
    """What brings this side's transfer forward; empty when nothing does."""
    machine, phase = side.machine, side.machine.phase
    if side.chat and side.chat != side.world.chat:
        return "the chat link's end will be noticed"
    if machine.ended:
        if machine.told:
            return "nobody: it has ended, and is known to have"
        if machine.linked:
            return "the other side, over a live link" if side.chat else ""
        return "contact" if machine.needs_contact else ""
    if phase is Phase.WAITING:
        if machine.hindered:
            return "the disk" if side.preparing else ""
        if machine.linked:
            return "room for it" if side.let else ""
        return "contact" if machine.needs_contact else ""
    if phase is Phase.PREPARING:
        return "the disk" if side.preparing else ""
    if phase in (Phase.OFFERED, Phase.PAUSED):
        if phase is Phase.OFFERED and machine.OUTGOING and not machine.confirmed:
            if machine.linked:
                return "a live link" if side.chat else ""
            return "contact" if machine.needs_contact else ""
        return "a person"
    if phase in (Phase.OPENING, Phase.REOPENING):
        return "the disk" if side.opening else ""
    if phase is Phase.QUEUED or (phase is Phase.READY and machine.OUTGOING):
        return "its turn" if side.turn == "asked" else ""
    if phase is Phase.CALLING:
        return "a timer" if ev.Timer.LINK in side.timers else ""
    if phase in (Phase.READY, Phase.RUNNING, Phase.CHECKING):
        return "its run" if side.running else ""
    if phase is Phase.HELD:
        return "a timer" if ev.Timer.SPACE in side.timers or side.looking else ""
    assert phase is Phase.BROKEN
    if side.timers & {ev.Timer.RETRY, ev.Timer.ASK}:
        return "a timer"
    if not machine.linked:
        return "contact" if machine.needs_contact else ""
    return "the disk's rest" if side.working or side.opening else ""


def phase_state(phase: Phase) -> Any:
    """As the store keeps it."""
    from chatnet.core.transfer.transfer_machine import STATE_OF

    return STATE_OF[phase]
