"""Sizes, times and states as people read them."""

from __future__ import annotations

import re
import time

from chatnet.console.widgets.theme import Signs
from chatnet.core import messages
from chatnet.core.chats import came_late
from chatnet.core.events import ChatMessage, FileRule, MessageState, Person, RuleKind, Transfer, TransferState
from chatnet.core.text import quoted, safe_line

_AMOUNT = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([kmg])?(?:i?b)?(?:/s)?")


def size_text(size_bytes: int) -> str:
    """Return a size as text: ``1.4 GiB``, ``312 KiB``, ``17 B``."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    value = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1023.5:
            return f"{value:.1f} {unit}" if value < 9.95 else f"{value:.0f} {unit}"
    return f"{value / 1024:.0f} PiB"


def short_rate(bytes_per_second: float) -> str:
    """Return a rate for the header, ``48M``; ``0`` for nothing."""
    if bytes_per_second < 1:
        return "0"
    number, _, unit = size_text(int(bytes_per_second)).partition(" ")
    return number + (unit[0] if unit != "B" else "")


def left_text(seconds: float) -> str:
    """Return the time that is left: ``0:11``, ``12:05``, ``3:02:17``."""
    whole = max(0, round(seconds))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def age_text(seconds: float) -> str:
    """Return an age or a time to wait: ``40 s``, ``12 min``, ``3 h``, ``2 d``."""
    if seconds < 100:
        return f"{max(0, int(seconds))} s"
    if seconds < 6000:
        return f"{int(seconds // 60)} min"
    if seconds < 172_800:
        return f"{int(seconds // 3600)} h"
    return f"{int(seconds // 86_400)} d"


def clock_text(at_ms: int, seconds: bool = False) -> str:
    """Return the local time of day, ``17:02`` or ``17:02:45``."""
    return time.strftime("%H:%M:%S" if seconds else "%H:%M", time.localtime(at_ms / 1000))


def day_of(at_ms: int) -> tuple[int, int, int]:
    """Return the local year, month and day."""
    return time.localtime(at_ms / 1000)[:3]


def day_text(at_ms: int) -> str:
    """Return the local day: ``Sunday 22 November 2026``."""
    moment = time.localtime(at_ms / 1000)
    return f"{time.strftime('%A', moment)} {moment.tm_mday} {time.strftime('%B %Y', moment)}"


def date_text(at_ms: int) -> str:
    """Return the local date: ``3 May 2026``."""
    moment = time.localtime(at_ms / 1000)
    return f"{moment.tm_mday} {time.strftime('%b %Y', moment)}"


def when_text(at_ms: int, now_ms: int) -> str:
    """Return the time of day if it is of the same day as ``now_ms``, else the date as well."""
    if day_of(at_ms) == day_of(now_ms):
        return clock_text(at_ms)
    return f"{date_text(at_ms)} {clock_text(at_ms)}"


def late_text(message: ChatMessage, shown_ms: int) -> str:
    """Return when a message arrived that shows the time ``shown_ms`` and came much later; empty for others."""
    if message.mine or not came_late(shown_ms, message.stored_ms):
        return ""
    return f"arrived {when_text(message.stored_ms, shown_ms)}"


def count_text(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun: ``1 peer``, ``1,024 peers``, ``0 peers``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def message_state(message: ChatMessage, signs: Signs) -> tuple[str, str, str]:
    """Return sign, word and attribute of a message's state; the word is empty where the sign is enough."""
    match message.state:
        case MessageState.RECEIVED:
            return " ", "", "state"
        case MessageState.WAITING:
            return signs.waiting, "waiting", "state.wait"
        case MessageState.SENT:
            return signs.sent, "sent", "state"
        case MessageState.DELIVERED:
            return signs.delivered, "", "state.good"
        case MessageState.HELD:
            return signs.alarm, "held, not sent", "state.error"
        case MessageState.EXPIRED:
            return signs.failed, "expired, not delivered", "state.error"
        case MessageState.REFUSED:
            reason = safe_line(message.reason)
            return signs.failed, f"refused: {reason}" if reason else "refused", "state.error"


_WHY_WAITING = {
    "no-address": "no address of {name} is known yet",
    "not-dialable": "no address of {name} can be reached from this network",
    "too-soon": "{name} was dialled a moment ago",
    "unreachable": "nobody answers at {name}'s addresses",
    "wrong-key": "another key answers at {name}'s address",
    "busy": "{name} takes no more connections now",
    "refused-as-replaced": "another connection to {name} is about to open",
    "replaced-by-us": "another connection to {name} is about to open",
    "replaced-by-other": "another connection to {name} is about to open",
    "store": "{name}'s disk takes nothing now",
    "unknown-message": "the two programs are of different versions, and one did not know what the other said",
    "internal-error": "an internal error ended the connection",
    "struck": "{name}'s program is left alone for a while",
    "unanswered": "{name} takes no more until what you sent before is answered there",
    "version": "{name}'s program speaks another version",
    "stopping": "{name}'s program is ending",
    "elsewhere": "you also run somewhere else; /takeover takes your place here",
}


def waiting_text(person: Person, now_ms: int) -> str:
    """Return why what we wrote to a person is not delivered, and what happens next; empty while all goes well."""
    name = person.name
    if person.unanswered_since_ms is not None:
        since = clock_text(person.unanswered_since_ms, seconds=True)
        return f"{name} does not answer since {since}. What you wrote goes out again when {name} does."
    if person.linked:
        return ""
    if not person.online:
        seen = f" (last seen {when_text(person.last_seen_ms, now_ms)})" if person.last_seen_ms is not None else ""
        return f"waiting, {name} is offline{seen}. It will be sent when {name} is back, also after a restart."
    if not person.waiting_code:
        return ""
    why = _WHY_WAITING.get(person.waiting_code, "the connection to {name} is gone").format(name=name)
    if person.next_try_ms is None:
        return f"waiting: {why}."
    seconds = max(0, person.next_try_ms - now_ms) / 1000
    return f"waiting: {why}. Next try in {age_text(seconds)}."


def bar_text(done: int, total: int, width: int, signs: Signs) -> str:
    """Return a bar of ``width`` cells, filled as ``done`` of ``total`` is."""
    filled = width if total <= 0 else min(width, max(0, done * width // total))
    return signs.full * filled + signs.empty * (width - filled)


def percent(transfer: Transfer) -> int:
    """Return how much of a transfer is done, in percent, 0–100; a transfer of nothing is done."""
    if transfer.total_bytes <= 0:
        return 100
    return min(100, max(0, transfer.done_bytes * 100 // transfer.total_bytes))


def pace_text(transfer: Transfer) -> str:
    """Return how a running transfer is doing: ``61 %   48 MiB/s   0:11 left``."""
    parts = [f"{percent(transfer)} %"]
    if transfer.bytes_per_second is not None:
        parts.append(f"{size_text(int(transfer.bytes_per_second))}/s")
    if transfer.seconds_left is not None:
        parts.append(f"{left_text(transfer.seconds_left)} left")
    return "   ".join(parts)


def amount_text(transfer: Transfer) -> str:
    """Return how much is sent: ``312 files in 4 folders, 1 of them empty``; empty for one file in no folder."""
    folders = f" in {count_text(transfer.total_folders, 'folder')}"
    if transfer.total_files == 1 and not transfer.total_folders:
        return ""
    empty = transfer.details.empty_folders
    if empty:
        folders += f", {empty:,} of them empty"
    return count_text(transfer.total_files, "file") + (folders if transfer.total_folders else "")


def not_sent_text(transfer: Transfer) -> str:
    """Return what is left out: ``3 links and 2 empty folders are not sent.``; empty if nothing is."""
    details = transfer.details
    counts = (
        (details.links, "link"),
        (details.specials, "special file"),
        (0 if transfer.outgoing else details.unreadable, "unreadable item"),  # the sender's warning names them
        (details.unsent_folders, "empty folder"),
    )
    parts = [count_text(count, one) for count, one in counts if count]
    if not parts:
        return ""
    is_one = len(parts) == 1 and parts[0].startswith("1 ")
    if transfer.state is TransferState.DONE:
        are = "was" if is_one else "were"
    else:
        are = "is" if is_one else "are"
    return f"{' and '.join(filter(None, (', '.join(parts[:-1]), parts[-1])))} {are} not sent."


def warning_text(transfer: Transfer) -> str:
    """Return what to think of before an offer is accepted; empty once an incoming one has ended."""
    return "" if transfer.state.ended and not transfer.outgoing else safe_line(transfer.warning)


def details_text(transfer: Transfer, look: str) -> str:
    """Return what is to be known of an offer beside its files; ``look`` is the key or command that shows its names.

    For a transfer that is done the text says what happened; for one that ended otherwise it is empty.
    """
    is_done = transfer.state is TransferState.DONE
    if transfer.state.ended and not is_done:
        return ""
    details, sentences = transfer.details, [not_sent_text(transfer)]
    renamed = count_text(details.renamed, "name") if details.renamed else ""
    if renamed and transfer.outgoing:
        cannot = _by_number(details.renamed, "cannot be sent as it is and goes", "cannot be sent as they are and go")
        went = _by_number(details.renamed, "could not be sent as it is and", "could not be sent as they are and")
        sentences.append(f"{renamed} {f'{went} went' if is_done else cannot} out changed.")
    elif renamed and is_done:
        sentences.append(f"{renamed} {_by_number(details.renamed, 'was', 'were')} changed.")
    elif renamed:
        sentences.append(f"{renamed} will change here{f' ({look} shows which)' if look else ''}.")
    if details.executables:
        if transfer.outgoing:
            saved = "arrived" if is_done else _by_number(details.executables, "arrives", "arrive")
        elif is_done:
            saved = _by_number(details.executables, "was saved", "were saved")
        else:
            saved = _by_number(details.executables, "is saved", "are saved")
        sentences.append(f"{count_text(details.executables, 'executable file')} {saved} without that permission.")
    return " ".join(filter(None, sentences))


def _by_number(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def transfer_state(transfer: Transfer, name: str, signs: Signs) -> tuple[str, str]:
    """Return words and attribute of a transfer's state."""
    reason = safe_line(transfer.reason)
    because = f": {reason}" if reason else ""
    match transfer.state:
        case TransferState.WAITING:
            return (f"waits: {reason}" if reason else f"waits for {name}"), "state.wait"
        case TransferState.OFFERED:
            return (f"{name} must accept" if transfer.outgoing else "wants to send"), "state.wait"
        case TransferState.QUEUED:
            return "waits for its turn", "state.wait"
        case TransferState.RUNNING:
            return pace_text(transfer), "state"
        case TransferState.CHECKING:
            return "all there, checking the digest", "state"
        case TransferState.BROKEN:
            left = f"{percent(transfer)} %, "
            left += "no connection came" if transfer.code == messages.LATE else "connection lost"
            return f"{left}; continues by itself when {name} is back.", "state.wait"
        case TransferState.PAUSED:
            return f"{percent(transfer)} %, paused{because}", "state.wait"
        case TransferState.DONE:
            done = f"{signs.delivered} {'delivered' if transfer.outgoing else 'received'}, digest verified"
            return f"{done}; {reason}" if reason else done, "state.wait" if reason else "state.good"
        case TransferState.DECLINED:
            who = f"{name} did not take it" if transfer.outgoing else "you refused it"
            return f"{signs.failed} {who}{'' if transfer.code == messages.DECLINED else because}", "state.error"
        case TransferState.CANCELLED:
            cancelled = reason if transfer.code == messages.USER and reason else f"cancelled{because}"
            return f"{signs.failed} {cancelled}", "state.error"
        case TransferState.FAILED if transfer.code == messages.CHANGED and transfer.outgoing:
            when = "while" if transfer.done_bytes else "before"
            return (
                f"{signs.failed} {quoted(transfer.title)} changed {when} it was sent; /send offers it as it is now.",
                "state.error",
            )
        case TransferState.FAILED:
            return f"{signs.failed} failed at {percent(transfer)} %{because}", "state.error"


def rate_of(text: str) -> int | None:
    """Return ``2M``, ``300k``, ``1.5m``, ``off`` as bytes (0 for off); None for anything else."""
    if text.lower() == "off":
        return 0
    found = _AMOUNT.fullmatch(text.lower())
    return round(float(found[1]) * 1024 ** " kmg".index(found[2] or " ")) if found else None


def rate_text(rate: int | None) -> str:
    """Return a speed limit as text; ``rate`` is in bytes a second, None for no limit."""
    return "off" if rate is None else f"{size_text(rate)}/s"


def rule_text(rule: FileRule, name: str) -> str:
    """Return what happens to a person's offers."""
    match rule.kind:
        case RuleKind.ASK:
            return f"Offers from {name} wait for your answer."
        case RuleKind.REFUSE:
            return f"Offers from {name} are refused unasked."
        case RuleKind.AUTO:
            most = f" up to {size_text(rule.max_bytes)}" if rule.max_bytes else ""
            return f"Offers from {name}{most} are accepted unasked."


def seen_text(person: Person, now_ms: int) -> str:
    """Return when somebody was seen: ``online``, ``offline, last seen 16:20``."""
    if person.online:
        return "online"
    if person.last_seen_ms is None:
        return "offline"
    return f"offline, last seen {when_text(person.last_seen_ms, now_ms)}"
