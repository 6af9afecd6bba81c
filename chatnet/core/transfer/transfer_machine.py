"""The rules of a transfer: states, endings and their words, titles, pages, speed, turns.

    OFFERED --accepted--> QUEUED --started--> RUNNING --complete--> CHECKING --verified--> DONE
       | declined            |                   |                     |
       v                     +---- cancelled: CANCELLED, failed: FAILED (from everywhere)
    DECLINED

    QUEUED, RUNNING, CHECKING --broken--> BROKEN --resumed--> QUEUED
    these and BROKEN ---------paused--> PAUSED --broken (let go)--> BROKEN, --resumed--> QUEUED
    BROKEN, PAUSED, QUEUED --verified--> DONE: the receiver had everything already

The receiver sends ACCEPT when its own turn has come; the sender then connects at once and begins
when it has its turn.  So QUEUED is a waiting for either.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from enum import StrEnum

from chatnet.core import messages
from chatnet.core.errors import RemoteError
from chatnet.core.events import TransferState
from chatnet.core.limits import (
    MAX_INTEGER,
    MAX_OFFER_BYTES,
    MAX_OFFER_FILES,
    MAX_OFFER_PAGE_FILES,
    PAGE_BYTES,
    PeerLimits,
)
from chatnet.core.messages import Accept, Offer, OfferedFile, Want
from chatnet.core.text import SafeName, SafeText, name_warning, safe_file_name, safe_line

NAMES_SHOWN = 5
PACE_BURST_SECONDS = 0.1  # what a limit lets through at once after a rest
RATE_SECONDS = 5.0  # the speed is that of the last seconds: steady enough to read, quick enough to believe

# --- states -----------------------------------------------------------------------------------


class Step(StrEnum):
    """What may happen to a transfer."""

    ACCEPTED = "accepted"
    DECLINED = "declined"
    STARTED = "started"
    COMPLETE = "complete"  # the last byte was sent, or has come
    VERIFIED = "verified"
    CANCELLED = "cancelled"
    FAILED = "failed"
    BROKEN = "broken"  # its link is gone
    PAUSED = "paused"
    RESUMED = "resumed"


_ENDINGS = {Step.CANCELLED: TransferState.CANCELLED, Step.FAILED: TransferState.FAILED}
_OPEN = tuple(state for state in TransferState if not state.ended)
_UNDER_WAY = (TransferState.QUEUED, TransferState.RUNNING, TransferState.CHECKING)
_HALTED = (TransferState.BROKEN, TransferState.PAUSED)

TABLE: dict[tuple[TransferState, Step], TransferState] = {
    (TransferState.OFFERED, Step.ACCEPTED): TransferState.QUEUED,
    (TransferState.OFFERED, Step.DECLINED): TransferState.DECLINED,
    (TransferState.QUEUED, Step.STARTED): TransferState.RUNNING,
    (TransferState.RUNNING, Step.COMPLETE): TransferState.CHECKING,
    (TransferState.CHECKING, Step.VERIFIED): TransferState.DONE,
    **{(state, Step.BROKEN): TransferState.BROKEN for state in (*_UNDER_WAY, TransferState.PAUSED)},
    **{(state, Step.PAUSED): TransferState.PAUSED for state in (*_UNDER_WAY, TransferState.BROKEN)},
    **{(state, Step.RESUMED): TransferState.QUEUED for state in _HALTED},
    **{(state, Step.VERIFIED): TransferState.DONE for state in (*_HALTED, TransferState.QUEUED)},
    **{(state, step): ending for state in _OPEN for step, ending in _ENDINGS.items()},
}


def after(state: TransferState, step: Step) -> TransferState | None:
    """The state that follows; None where the step has come too late or too early and changes nothing.

    Both sides may speak at the same moment (a cancel crosses a verified): that is no error.
    """
    return TABLE.get((state, step))


# --- endings, in words ------------------------------------------------------------------------

# By code: for the side where it happened, then for the other one.
_AT_SENDER = {
    messages.CHANGED: (
        "a file changed while it was sent: send it again",
        "a file changed there while it was sent: ask for it again",
    ),
    messages.UNREADABLE: ("a file can no longer be read here", "a file can no longer be read there"),
}
_AT_RECEIVER = {
    messages.DECLINED: ("you refused it", "they refused it"),
    messages.NO_SPACE: ("too little space on this disk", "too little space on their disk"),
    messages.UNWRITABLE: ("it cannot be written here: look at the download folder", "it cannot be written there"),
    messages.TOO_MANY: (
        "they made more offers than are taken at a time",
        "they take no more offers at present: wait for an answer to those that are open",
    ),
    messages.STORE: ("the database could not keep it", "it could not be kept there: offer it again later"),
    messages.CONFLICT: ("it used the number of another transfer", "its number is in use there: offer it again"),
    messages.DIGEST: (
        "what arrived is not what was sent: nothing was kept of it",
        "it arrived damaged and was not kept: send it again",
    ),
}
_AT_EITHER = {
    messages.USER: ("you cancelled it", "they cancelled it"),
    messages.BAD_FRAME: ("the other side broke the protocol", "this side broke the protocol"),
    messages.PAUSED: ("you paused it", "they paused it"),
    messages.STOPPING: ("the program was ended here", "the program was ended there"),
}
_BETWEEN = {
    messages.LOST: "the connection broke before it was complete",
    messages.LATE: "no connection for it came in time",
}


def reason_of(code: str, outgoing: bool, by_me: bool) -> SafeText:
    """Why a transfer ended, for the person at this side; empty for an empty code.

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


def ending_of(code: str) -> Step:
    """The step that a CANCEL with this code means: a person's wish, or a fault."""
    return Step.CANCELLED if code == messages.USER else Step.FAILED


# --- names ------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ -]*(\.[A-Za-z0-9_-]+)*")
_HARMLESS_ENDS = frozenset({"txt", "md", "jpg", "jpeg", "png", "gif", "pdf", "mp3", "mp4", "mkv", "csv", "json"})


def clean_path(path: Sequence[str]) -> tuple[SafeName, ...]:
    """An offered path as it will stand on this disk: each component harmless by itself."""
    return (*(safe_file_name(part, "folder") for part in path[:-1]), safe_file_name(path[-1]))


class Summary:
    """What people see of an offer, gathered file by file: thousands of names are looked at in pages."""

    def __init__(self) -> None:
        self.files = 0
        self.size = 0
        self.warning = ""
        self.names: list[SafeText] = []
        self._tops: dict[str, bool] = {}  # the first component -> whether it is a folder

    def add(self, file: OfferedFile) -> None:
        self.files += 1
        self.size += file.size
        if self.files <= NAMES_SHOWN:
            self.names.append(safe_line("/".join(clean_path(file.path))))
        self._tops[file.path[0]] = len(file.path) > 1
        if not self.warning:
            self.warning = _warning(file.path)

    @property
    def title(self) -> SafeText:
        """``video.mkv``, ``photos/ (312)``, ``a.txt and 2 more``."""
        first, folder = next(iter(self._tops.items()))
        shown = safe_line(safe_file_name(first, "folder" if folder else "file"), 80) + ("/" if folder else "")
        if len(self._tops) > 1:
            return safe_line(f"{shown} and {len(self._tops) - 1} more")
        return safe_line(f"{shown} ({self.files})" if folder else shown)


def _warning(path: Sequence[str]) -> str:
    last = path[-1]
    if _PLAIN.fullmatch(last) and last.rpartition(".")[2].lower() in _HARMLESS_ENDS:
        return ""  # most names by far, and a hundred times quicker
    return name_warning(last)


def size_text(size: int) -> str:
    """``17 B``, ``1.4 GiB``."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


# --- pages ------------------------------------------------------------------------------------


def offered_bytes(file: OfferedFile) -> int:
    """At most so many bytes on the wire."""
    return sum(len(part.encode()) + 3 for part in file.path) + 24


def offer_pages(fid: bytes, files: Sequence[OfferedFile]) -> Iterator[Offer]:
    """The OFFER frames of one offer, each well below the greatest frame."""
    page: list[OfferedFile] = []
    size = 0
    for file in files:
        more = offered_bytes(file)
        if page and (size + more > PAGE_BYTES or len(page) == MAX_OFFER_PAGE_FILES):
            yield Offer(fid, page, True)
            page, size = [], 0
        page.append(file)
        size += more
    yield Offer(fid, page, False)


def accept_pages(fid: bytes, token: bytes, wants: Sequence[Want]) -> Iterator[Accept]:
    """The ACCEPT frames: 1,000 wants are at most 19 kB."""
    for start in range(0, max(1, len(wants)), MAX_OFFER_PAGE_FILES):
        end = start + MAX_OFFER_PAGE_FILES
        yield Accept(fid, token, list(wants[start:end]), end < len(wants))


class OfferAssembly:
    """The pages of one offer that has begun to come."""

    def __init__(self, fid: bytes) -> None:
        self.fid = fid
        self.files: list[OfferedFile] = []
        self.summary = Summary()
        self._bytes = 0

    def add(self, page: Offer) -> bool:
        """Take a page; True with the last.  RemoteError("too-many") above what an offer may hold."""
        for file in page.files:
            self._bytes += offered_bytes(file)
            self.files.append(file)
            self.summary.add(file)
        if len(self.files) > MAX_OFFER_FILES or self._bytes > MAX_OFFER_BYTES or self.summary.size > MAX_INTEGER:
            raise RemoteError(messages.TOO_MANY, "an offer of more files than one may hold")
        return not page.more


class AcceptAssembly:
    """The pages of one answer: which of the offered files, from where."""

    def __init__(self, files: Sequence[OfferedFile]) -> None:
        self.token = b""
        self.wants: list[Want] = []
        self._files = files

    def add(self, page: Accept) -> bool:
        """Take a page; True with the last.  RemoteError("bad-frame") for what was not offered, or out of order."""
        if self.token and page.token != self.token:
            raise RemoteError(messages.BAD_FRAME, "one answer with two tokens")
        self.token = page.token
        last = self.wants[-1].file if self.wants else -1
        for want in page.wants:
            if not last < want.file < len(self._files) or want.offset > self._files[want.file].size:
                raise RemoteError(messages.BAD_FRAME, "a wanted file that was not offered, or out of order")
            last = want.file
        self.wants.extend(page.wants)
        return not page.more


# --- speed ------------------------------------------------------------------------------------


class Rate:
    """Bytes per second over the last few seconds; the time, in seconds, is handed in."""

    def __init__(self, now: float, total: int = 0) -> None:
        self._marks: deque[tuple[float, int]] = deque([(now, total)])

    def mark(self, now: float, total: int) -> None:
        """``total`` bytes have gone by now; call it a few times a second."""
        self._marks.append((now, total))
        while len(self._marks) > 2 and now - self._marks[1][0] >= RATE_SECONDS:
            self._marks.popleft()

    @property
    def per_second(self) -> float | None:
        """None before there is anything to divide by."""
        (then, before), (now, total) = self._marks[0], self._marks[-1]
        return (total - before) / (now - then) if now > then else None

    def seconds_left(self, left: int) -> float | None:
        speed = self.per_second
        return left / speed if speed else None


class Pace:
    """A limit of bytes a second that may change at any time; the time, in seconds, is handed in."""

    def __init__(self) -> None:
        self.rate: int | None = None
        self._free_at = 0.0

    def spend(self, now: float, count: int) -> None:
        """``count`` bytes go now."""
        if self.rate:
            self._free_at = max(self._free_at, now - PACE_BURST_SECONDS) + count / self.rate

    def delay(self, now: float) -> float:
        """Seconds until the next ones may go."""
        if not self.rate:
            self._free_at = 0.0
            return 0.0
        return max(0.0, self._free_at - now)


# --- turns ------------------------------------------------------------------------------------


def has_turn(peer: bytes, running: Sequence[bytes], limits: PeerLimits) -> bool:
    """Whether one more transfer with ``peer`` may run, beside those with the peers ``running``, the same way."""
    return len(running) < limits.transfers and running.count(peer) < limits.transfers_per_peer
