"""The reason for the state of a transfer, as a text for the person at this side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chatnet.core import messages
from chatnet.core.messages import OfferedFile
from chatnet.core.text import SafeText, quoted, safe_line
from chatnet.core.transfer.offers import NAMES_SHOWN, clean_path

# By code: for the side where it happened, then for the other one.
_AT_SENDER = {
    messages.CHANGED: (
        "a file has changed since it was offered: send it again",
        "a file has changed there since it was offered: ask for it again",
    ),
    messages.UNREADABLE: ("a file can no longer be read here", "a file can no longer be read there"),
    messages.SLOW_DISK: (
        "a disk here does not answer: it is offered once it does",
        "a disk there does not answer: it is offered once it does",
    ),
}
_AT_RECEIVER = {
    messages.DECLINED: ("you refused it", "they refused it"),
    messages.NO_SPACE: ("too little space on this disk", "too little space on their disk"),
    messages.NO_INODES: ("this disk has room for too few more files", "their disk has room for too few more files"),
    messages.UNWRITABLE: ("it cannot be written here: look at the download folder", "it cannot be written there"),
    messages.TOO_MANY: (
        "they made more offers than are taken at a time",
        "they take no more of you at a time: wait for an answer, offer less at once, or ask them to write to you first",
    ),
    messages.STORE: ("the database could not keep it", "it could not be kept there: offer it again later"),
    messages.CONFLICT: ("it used the number of another transfer", "its number is in use there: offer it again"),
    messages.DIGEST: (
        "what arrived is not what was sent: nothing was kept of it",
        "it arrived damaged and was not kept: send it again",
    ),
    messages.NO_FOLDER: ("the folder that was chosen for it is gone here", "it cannot be written there"),
}
_AT_EITHER = {
    messages.USER: ("you cancelled it", "they cancelled it"),
    messages.BAD_FRAME: ("the other side broke the protocol", "this side broke the protocol"),
    messages.UNKNOWN_MESSAGE: (
        "the other side's program said something that this version does not know",
        "this program said something that the other side's version does not know",
    ),
    messages.INTERNAL_ERROR: ("an internal error here: the log says more", "an internal error there"),
    messages.PAUSED: ("you paused it", "they paused it"),
    messages.BUSY: (
        "this machine is short of something, such as open files: it goes on by itself",
        "their machine is short of something: it goes on by itself",
    ),
    messages.STOPPING: ("the program was ended here", "the program was ended there"),
}
_BETWEEN = {
    messages.LOST: "the connection broke before it was complete",
    messages.LATE: "no connection for it came in time",
    messages.EXPIRED: "it waited too long",
}


def reason_of(code: str, outgoing: bool, by_me: bool) -> SafeText:
    """Return why a transfer ended, for the person at this side; empty for an empty code.

    ``by_me`` says which side found it; it decides only where the code leaves that open.
    """
    if not code:
        return safe_line("")
    if code in _BETWEEN:
        return safe_line(_BETWEEN[code])
    for place, here in ((_AT_SENDER, outgoing), (_AT_RECEIVER, not outgoing), (_AT_EITHER, by_me)):
        if code in place:
            return safe_line(place[code][0 if here else 1])
    return safe_line(f"they ended it ({code})")


_WHY_TURNED_DOWN = {
    messages.TOO_MANY: "it is more than is taken of them at a time",
    messages.STORE: "there is no room for it beside the other unanswered offers",
}


def turned_down_reason(code: str, by_rule: bool) -> SafeText:
    """Return why an offer was not taken here although nobody was asked."""
    if by_rule:
        return safe_line("your rule refuses what they offer")
    words = _WHY_TURNED_DOWN.get(code)
    return safe_line(words) if words else reason_of(code, outgoing=False, by_me=True)


_WHY_SKIPPED = {
    messages.CHANGED: "changed",
    messages.UNREADABLE: "cannot be read",
}


def skipped_text(files: Sequence[OfferedFile], skipped: Mapping[int, str]) -> SafeText:
    """Return which files of a done transfer could not be sent, and why; ``skipped`` gives codes by number."""
    named = [
        f"{quoted('/'.join(clean_path(files[number].path)))} ({_WHY_SKIPPED.get(code, code)})"
        for number, code in sorted(skipped.items())[:NAMES_SHOWN]
    ]
    more = f" and {len(skipped) - NAMES_SHOWN} more" if len(skipped) > NAMES_SHOWN else ""
    return safe_line(f"{len(skipped)} of {len(files)} not sent: {', '.join(named)}{more}", 400)
