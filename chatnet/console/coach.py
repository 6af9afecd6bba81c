"""What can be done now: the keys and commands that the bottom line names, the most useful first."""

from __future__ import annotations

from collections.abc import Iterator

from chatnet.console.keymap import Context, hint
from chatnet.core.events import Person, RegistryPhase, RegistryState, Transfer, TransferState
from chatnet.core.messages import PAUSED

Hint = tuple[str, str]  # a key or command, and a word or two for what it does


def is_open_offer(transfer: Transfer) -> bool:
    """Whether it waits for our answer."""
    return transfer.state is TransferState.OFFERED and not transfer.outgoing


def can_pause(transfer: Transfer) -> bool:
    """Whether this side can hold it: not while an offer has no answer."""
    unanswered = transfer.state in (TransferState.OFFERED, TransferState.WAITING)
    return not (transfer.state.ended or unanswered or transfer.paused_here)


def can_resume(transfer: Transfer) -> bool:
    """Whether this side can let it go on, or try it now; not while only the other side holds it."""
    if transfer.state is TransferState.PAUSED:
        return transfer.paused_here or transfer.code != PAUSED
    return transfer.state is TransferState.BROKEN


def transfer_hints(chosen: Transfer | None, some_ended: bool) -> list[Hint]:
    """In the tab of transfers, where ``chosen`` is selected; ``some_ended``: there is one that can be cleared."""
    commands: list[str] = []
    if chosen is not None:
        if is_open_offer(chosen):
            commands += ["accept_selected", "refuse_selected", "contents_selected"]
        if can_resume(chosen):
            commands.append("resume_selected")
        if can_pause(chosen):
            commands.append("pause_selected")
        if not chosen.state.ended and not is_open_offer(chosen):
            commands.append("cancel_selected")
        commands.append("open_transfer")
    commands.append("limit")
    if some_ended:
        commands.append("forget_ended")
    return [hint(command, Context.TRANSFERS) for command in (*commands, "command_line", "back")]


def command_hints(typed: str) -> list[Hint]:
    """While the input holds a command; none while it does not."""
    if not typed.startswith("/") or typed.startswith("//"):
        return []
    return [("Enter", "run"), ("Tab", "complete"), ("Ctrl-U", "delete it"), hint("help")]


def network_hints(registry: RegistryState, requests: int) -> Iterator[Hint]:
    """In the first tab; ``requests``: how many there are."""
    if registry.phase is RegistryPhase.LOST:
        yield "/reconnect", "try now"
    if registry.phase is RegistryPhase.REFUSED and registry.code == "elsewhere":
        yield "/takeover", "be here"
    if requests:
        yield "/requests", "read them"


def person_hints(person: Person, has_failed: bool) -> Iterator[Hint]:
    """In a person's tab; ``has_failed``: the newest message of ours was not taken, or not in time."""
    if person.blocked:
        yield "/unblock", "take messages again"
    elif has_failed:
        yield "/resend", "send it again"
