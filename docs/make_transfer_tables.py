"""Writes the tables of section 9 in ``protocol.md``: what each side of a transfer answers, in every state.

They are derived from ``OutgoingTransfer.TABLE`` and ``IncomingTransfer.TABLE``: each row is what the machines do.
Run it where ``chatnet`` can be imported: ``python docs/make_transfer_tables.py``.  A test compares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from chatnet.core import messages as m
from chatnet.core.limits import LATE_LINKS, PeerLimits
from chatnet.core.transfer import transfer_events as ev
from chatnet.core.transfer.incoming import IncomingTransfer
from chatnet.core.transfer.outgoing import UNSAID, OutgoingTransfer
from chatnet.core.transfer.transfer_machine import PausedBy, Phase, Run, TransferMachine

FILE = Path(__file__).with_name("protocol.md")
FID, TOKEN, NEW_TOKEN = b"F" * 16, b"T" * 32, b"N" * 32
CODE = "code"  # stands for any code

PAUSED = {PausedBy.HERE: "paused here", PausedBy.THERE: "paused there", PausedBy.HERE | PausedBy.THERE: "paused both"}
GROUPS = {"paused": tuple(PAUSED.values()), "ended": ("done", "declined", "cancelled", "failed")}
WITH_LINK = (Phase.READY, Phase.RUNNING, Phase.CHECKING)
NAMES = {phase: phase.value for phase in Phase} | {
    Phase.OPENING: "accepted",
    Phase.READY: "linked",
    Phase.CHECKING: "running",
    Phase.REOPENING: "going on",
}


class State(NamedTuple):
    """A state as the document names it, and a machine that stands in it."""

    name: str
    machine: Callable[[], TransferMachine]


def states(kind: Any, *, unheard: bool = False) -> Iterator[State]:
    """Every state of a side in which the other can know of the transfer.

    With ``unheard`` the ended ones are not known there.
    """
    for phase in kind.PHASES:
        if phase in UNSAID:
            continue
        if unheard and kind.OUTGOING and phase is Phase.DONE:
            continue  # a sender has it from the receiver
        for paused in PAUSED if phase is Phase.PAUSED else (PausedBy.NOBODY,):

            def standing(phase: Phase = phase, paused: PausedBy = paused) -> TransferMachine:
                machine = kind(FID, PeerLimits(), phase, linked=True, paused=paused, told=not unheard)
                if phase in (Phase.CALLING, *WITH_LINK):
                    machine.run = Run(TOKEN, dialling=kind.OUTGOING, linked=phase in WITH_LINK)
                if phase in (Phase.DECLINED, Phase.FAILED):
                    machine.code = CODE
                if phase is Phase.CANCELLED:
                    machine.code = m.USER
                if phase is Phase.HELD:
                    machine.code, machine.paused = m.NO_SPACE, PausedBy.HERE
                if unheard and phase is Phase.DONE and not kind.OUTGOING:
                    machine.run = Run(TOKEN, linked=True)
                return machine

            yield State(PAUSED.get(paused) or NAMES[phase], standing)


def name_of(machine: TransferMachine) -> str:
    """The state in which a machine stands."""
    return PAUSED[machine.paused] if machine.phase is Phase.PAUSED else NAMES[machine.phase]


# --- what a side does ---------------------------------------------------------------------------

LEAVES = {
    ev.Leave.WAIT: "leaves the file link to the other to close",
    ev.Leave.BYE: "BYE on the file link",
    ev.Leave.CUT: "cuts the file link",
}


def said(message: m.Message) -> str:
    """A message, as the table names it."""
    tag = str(message.__struct_config__.tag).upper()
    code = getattr(message, "code", "")
    return tag if not code else f"{tag} with its code" if code == CODE else f"{tag} `{code}`"


def deeds(effects: tuple[ev.Effect, ...]) -> Iterator[str]:
    """What of these effects can be seen on the wire, in their order."""
    for effect in effects:
        match effect:
            case ev.Send(message):
                yield said(message)
            case ev.SendOffer():
                yield "OFFER"
            case ev.SendAccept(token):
                yield "the same ACCEPT" if token == TOKEN else "ACCEPT"
            case ev.SayVerified():
                yield "VERIFIED on the file link"
            case ev.DialFile():
                yield "dials a file link"
            case ev.LeaveLink(how):
                yield LEAVES[how]
            case ev.RefuseLink():
                yield "ERROR `not-expected`"
            case ev.OpenDownload():
                yield "looks at its disk"
            case ev.Retry():
                yield "goes on after a wait"
            case ev.Contact():
                yield "dials a chat link"
            case ev.Persist(then):
                yield from deeds(then)


def answer(state: State, event: ev.Input, late: int = 0) -> tuple[str, str]:
    """What a side in this state does about ``event``, and the state in which it stands then.

    ``late`` is how many file links in a row have not come before.
    """
    machine = state.machine()
    machine.late = late
    does = ", ".join(deeds(machine.handle(event)))
    after = name_of(machine)
    return does, "" if after == state.name else after


# --- what happens -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Happening:
    """Something that a side hears, or that happens there.

    ``only``: states in which it can be, all if empty.  ``unheard``: of the ended transfers, those that the other
    side does not know as ended.  ``late``: how many file links in a row have not come before.
    """

    label: str
    event: ev.Input
    only: tuple[str, ...] = ()
    unheard: bool = False
    late: int = 0


OVER_LINK = ("linked", "running")
RUNNING = ("calling", *OVER_LINK)
FROM_RECEIVER = [
    Happening("ACCEPT, another token", ev.HeardAccept(NEW_TOKEN)),
    Happening("ACCEPT, the token of the one before", ev.HeardAccept(TOKEN)),
    Happening("DECLINE", ev.HeardDecline(CODE)),
    Happening("CANCEL `user`", ev.HeardCancel(m.USER)),
    Happening("CANCEL `declined`", ev.HeardCancel(m.DECLINED)),
    Happening("CANCEL `lost`", ev.HeardCancel(m.LOST)),
    Happening("CANCEL, any other code", ev.HeardCancel(CODE)),
    Happening("PAUSE", ev.HeardPause(m.PAUSED)),
    Happening("RESUME", ev.HeardResume()),
    Happening("VERIFIED on the chat link", ev.HeardVerified()),
    Happening("DIALME", ev.HeardDialMe()),
]
AT_SENDER = [
    Happening("a chat link opens", ev.ChatUp(), unheard=True),
    Happening("the chat link is gone", ev.ChatDown(in_order=False)),
    Happening("a file link opens, with `fid` and the token", ev.FileLinkOpened()),
    Happening("its dial of a file link fails", ev.FileDialFailed(), ("calling",)),
    Happening("no file link after 30 s", ev.LinkLate(), ("calling",)),
    Happening("the same for the fifth time in a row", ev.LinkLate(), ("calling",), late=LATE_LINKS - 1),
    Happening("the file link is gone, or BYE on it", ev.FileLinkLost(m.LOST), OVER_LINK),
    Happening("`bad-frame` ends the file link", ev.FileLinkLost(m.BAD_FRAME), OVER_LINK),
    Happening("VERIFIED on the file link", ev.RunVerified(), ("running",)),
    Happening("REJECT", ev.RunRefused(CODE), OVER_LINK),
    Happening("it cannot send the rest, or has skipped every file", ev.RunFailed(CODE), ("running",)),
    Happening("its person cancels", ev.PersonCancels()),
    Happening("its person holds it", ev.PersonPauses(), (*RUNNING, "broken", *PAUSED.values())),
    Happening("its person lets it go on", ev.PersonResumes(), (*RUNNING, "broken", *PAUSED.values())),
]
FROM_SENDER = [
    Happening("DIALME", ev.HeardDialMe()),
    Happening("CANCEL `user`", ev.HeardCancel(m.USER)),
    Happening("CANCEL, any other code", ev.HeardCancel(CODE)),
    Happening("PAUSE", ev.HeardPause(m.PAUSED)),
    Happening("RESUME, or OFFER again", ev.HeardResume()),
    Happening("ACCEPT", ev.HeardAccept(NEW_TOKEN)),
    Happening("DECLINE", ev.HeardDecline(CODE)),
    Happening("VERIFIED", ev.HeardVerified()),
]
WITHOUT_OFFER = ("queued", *RUNNING, "broken", "going on", "held", *PAUSED.values())
AT_RECEIVER = [
    Happening("a chat link opens", ev.ChatUp(), unheard=True),
    Happening("the chat link is gone", ev.ChatDown(in_order=False)),
    Happening("its disk has all of it", ev.DownloadOpened(missing=False), ("going on",)),
    Happening("its disk lacks something", ev.DownloadOpened(missing=True), ("accepted", "going on")),
    Happening("its disk has no space now", ev.DownloadHindered(m.NO_SPACE), ("accepted", "going on")),
    Happening("its disk cannot take it", ev.DownloadFailed(CODE), ("accepted", "going on")),
    Happening("its turn comes", ev.TurnGranted(NEW_TOKEN), ("queued",)),
    Happening("a file link opens, with `fid` and the token", ev.FileLinkOpened()),
    Happening("its dial of a file link fails", ev.FileDialFailed(), ("calling",)),
    Happening("no file link after 30 s", ev.LinkLate(), ("calling",)),
    Happening("the same for the fifth time in a row", ev.LinkLate(), ("calling",), late=LATE_LINKS - 1),
    Happening("the file link is gone, or BYE on it", ev.FileLinkLost(m.LOST), OVER_LINK),
    Happening("`bad-frame` ends the file link", ev.FileLinkLost(m.BAD_FRAME), OVER_LINK),
    Happening("all files are final", ev.RunVerified(), OVER_LINK),
    Happening("BYE on the file link, after VERIFIED", ev.FileLinkLost("bye", by_remote=True), ("done",), unheard=True),
    Happening("the file link is gone, after VERIFIED", ev.FileLinkLost(m.LOST), ("done",), unheard=True),
    Happening("no BYE 3 s after VERIFIED", ev.LinkLate(), ("done",), unheard=True),
    Happening("a file of before was another", ev.RunMismatched(), OVER_LINK),
    Happening("its disk fills up", ev.RunHindered(m.NO_SPACE), OVER_LINK),
    Happening("it cannot keep it (after REJECT), or every file was skipped", ev.RunFailed(CODE), OVER_LINK),
    Happening("its disk has space again", ev.SpaceSeen(enough=True), ("held",)),
    Happening("its person accepts", ev.PersonAccepts(), ("offered",)),
    Happening("its person refuses", ev.PersonRefuses(), ("offered", "accepted")),
    Happening("its person cancels", ev.PersonCancels(), WITHOUT_OFFER),
    Happening("its person holds it", ev.PersonPauses(), WITHOUT_OFFER),
    Happening("its person lets it go on", ev.PersonResumes(), WITHOUT_OFFER),
]

# --- the tables ---------------------------------------------------------------------------------


def rows(kind: Any, happenings: list[Happening]) -> Iterator[tuple[str, str, str, str]]:
    """What happens, in which states, what the side does, how it stands then; states with one answer share a row."""
    for happening in happenings:
        by_answer: dict[tuple[str, str], list[str]] = {}
        of_state: dict[str, set[tuple[str, str]]] = {}
        for state in states(kind, unheard=happening.unheard):
            if happening.only and state.name not in happening.only:
                continue
            what = answer(state, happening.event, happening.late)
            of_state.setdefault(state.name, set()).add(what)
            names = by_answer.setdefault(what, [])
            if state.name not in names:
                names.append(state.name)
        mixed = [name for name, answers in of_state.items() if len(answers) > 1]
        if mixed:
            raise ValueError(f"{happening.label}: the state {mixed} has two answers: {of_state}")
        every = {state.name for state in states(kind)}
        for (does, then), names in by_answer.items():
            yield happening.label, grouped(names, every), does or "–", then or "–"


def grouped(names: list[str], every: set[str]) -> str:
    """States in the order of the machine, with one word for all paused ones, all ended ones, and all there are."""
    if set(names) == every:
        return "every state"
    for word, group in GROUPS.items():
        if set(group) <= set(names):
            names = [word if name == group[0] else name for name in names if name not in group[1:]]
    return ", ".join(names)


def table(kind: Any, head: str, happenings: list[Happening]) -> str:
    lines = [f"| {head} | in state | does | then |", "| --- | --- | --- | --- |"]
    before = ""
    for label, names, does, then in rows(kind, happenings):
        lines.append(f"| {label if label != before else ''} | {names} | {does} | {then} |")
        before = label
    return "\n".join(lines) + "\n"


def tables() -> dict[str, str]:
    """Every table, by the name in its marks."""
    return {
        "sender-hears": table(OutgoingTransfer, "the sender hears", FROM_RECEIVER),
        "at-sender": table(OutgoingTransfer, "at the sender", AT_SENDER),
        "receiver-hears": table(IncomingTransfer, "the receiver hears", FROM_SENDER),
        "at-receiver": table(IncomingTransfer, "at the receiver", AT_RECEIVER),
    }


def with_tables(text: str) -> str:
    """The document with its tables as they are today.  Raises ValueError for a mark that is missing."""
    for name, content in tables().items():
        begin, end = f"<!-- {name}: made by make_transfer_tables.py -->\n", f"<!-- end of {name} -->\n"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"protocol.md has no place for the table {name}")
        text = f"{before}{begin}\n{content}\n{end}{after}"
    return text


if __name__ == "__main__":
    FILE.write_text(with_tables(FILE.read_text(encoding="utf-8")), encoding="utf-8")
