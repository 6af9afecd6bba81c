"""What can be done now: the keys and commands that the bottom line names, the most useful first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chatnet.console.keymap import Context, hint
from chatnet.core.events import Person, RegistryPhase, RegistryState, Transfer, TransferState
from chatnet.core.messages import PAUSED

Hint = tuple[str, str]  # a key or command, and a word or two for what it does


@dataclass(frozen=True)
class OpenPage:
    """A page over the tab, which is read; ``keys`` are what can be done there besides."""

    keys: Sequence[Hint] = ()
    enter_shows: str = ""  # empty: Enter closes it
    goes_on: bool = False  # below what is in view


@dataclass(frozen=True)
class OpenChat:
    """The chat in the tab that is shown."""

    person: Person | None
    offer: Transfer | None  # the newest one that waits for our answer
    is_held: bool  # nothing is sent, because another key uses the name
    has_failed: bool  # the newest message of ours was not taken, or not in time
    is_at_end: bool  # the newest row is in view


@dataclass(frozen=True)
class Situation:
    """Who gets the keys, and what there is to be done."""

    context: Context
    typed: str = ""  # in the input
    page: OpenPage | None = None
    reads_request: bool = False  # one of the requests is open
    transfer: Transfer | None = None  # the selected one
    some_ended: bool = False  # there is a transfer that can be cleared
    registry: RegistryState | None = None  # in the first tab
    requests: int = 0
    chat: OpenChat | None = None
    news_elsewhere: bool = False  # another tab has unread messages


_PEOPLE_KEYS = (
    "open_selected",
    "filter_people",
    "whois_selected",
    "send_to_selected",
    "verify_selected",
    "block_selected",
    "back",
)
_FIXED: dict[Context, list[Hint]] = {
    Context.FORM: [("Enter", "log in"), ("Tab", "next field"), hint("help"), hint("quit")],
    Context.PICKER: [
        ("Enter", "send"),
        ("Space", "mark"),
        ("s", "send marked"),
        ("/", "filter"),
        ("Left", "folder above"),
        ("Esc", "back"),
    ],
    Context.FIND: [hint("find_next", Context.FIND), hint("find_previous", Context.FIND), hint("back")],
    Context.RESULTS: [("Enter", "open there"), ("Esc", "back")],
    Context.REQUESTS: [
        ("Enter", "read"),
        ("a", "accept"),
        ("r", "refuse"),
        ("b", "block"),
        ("c", "clear all"),
        ("Esc", "back"),
    ],
    Context.PEOPLE: [hint(name, Context.PEOPLE) for name in _PEOPLE_KEYS],
}
_ALWAYS = [hint(command) for command in ("help", "people", "pick_file", "transfers", "info", "quit")]


def hints(now: Situation) -> list[Hint]:
    """Return the keys and commands that make sense in the situation ``now``."""
    if now.page is not None:
        return list(_page_hints(now.page))
    if now.context in _FIXED:
        return _FIXED[now.context][1 if now.reads_request else 0 :]
    if now.context is Context.TRANSFERS:
        return _transfer_hints(now.transfer, now.some_ended)
    return _command_hints(now.typed) or [*_tab_hints(now), *_ALWAYS]


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


def _page_hints(page: OpenPage) -> Iterator[Hint]:
    yield from page.keys
    if page.enter_shows:
        yield "Enter", page.enter_shows
    yield "Esc", "back"
    if page.goes_on:
        yield "PgDn", "more"


def _transfer_hints(chosen: Transfer | None, some_ended: bool) -> list[Hint]:
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


def _command_hints(typed: str) -> list[Hint]:
    """Return the hints for an input that holds a command; none if it does not."""
    if not typed.startswith("/") or typed.startswith("//"):
        return []
    return [("Enter", "run"), ("Tab", "complete"), ("Ctrl-U", "delete it"), hint("help")]


def _tab_hints(now: Situation) -> Iterator[Hint]:
    if now.registry is not None:
        yield from _network_hints(now.registry, now.requests)
    if now.chat is not None:
        yield from _chat_hints(now.chat)
    if now.news_elsewhere:
        yield hint("next_unread")
    if now.chat is not None:
        yield hint("send")
        yield hint("new_line")


def _network_hints(registry: RegistryState, requests: int) -> Iterator[Hint]:
    if registry.phase is RegistryPhase.LOST:
        yield "/reconnect", "try now"
    if registry.phase is RegistryPhase.REFUSED and registry.code == "elsewhere":
        yield "/takeover", "take your place here"
    if requests:
        yield "/requests", "read them"


def _chat_hints(chat: OpenChat) -> Iterator[Hint]:
    if chat.is_held:
        yield "", "Sending is held until you choose"
        yield hint("keep_key")
    if chat.offer is not None:
        commands = ["accept", "save_as", "refuse"]
        if chat.offer.total_files != 1 or chat.offer.total_folders:
            commands.append("contents")
        yield from map(hint, commands)
    if chat.person is not None and chat.person.blocked:
        yield "/unblock", "take messages again"
    elif chat.person is not None and chat.has_failed:
        yield "/resend", "send it again"
    if not chat.is_at_end:
        yield hint("to_end")
