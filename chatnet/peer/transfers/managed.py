"""One transfer as the peer holds it: its rules, what was offered, how far it has come, and what runs of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from chatnet.core.errors import ChatnetError, NoSpace
from chatnet.core.events import NO_DETAILS, OfferDetails, Transfer, TransferState
from chatnet.core.identity import PeerID
from chatnet.core.messages import Accept, OfferedFile
from chatnet.core.text import SafeText, safe_line
from chatnet.core.transfer.incoming import IncomingTransfer
from chatnet.core.transfer.offers import NO_REST, AcceptAssembly, Rest, Summary, disk_bytes, packed_pages
from chatnet.core.transfer.outgoing import OutgoingTransfer
from chatnet.core.transfer.reasons import skipped_text
from chatnet.core.transfer.speed import Rate
from chatnet.core.transfer.transfer_events import HeardAccept, Timer
from chatnet.core.transfer.transfer_machine import PausedBy, TransferMachine
from chatnet.net.link import Link
from chatnet.peer.files.download import Download
from chatnet.peer.files.filesystem import DownloadTarget
from chatnet.peer.files.source import Gathered, SourceFile, gather
from chatnet.peer.store.transfers import FileRow, TransferRow
from chatnet.peer.transfers.receiver import Receiver
from chatnet.peer.transfers.sender import Sender

_NOTHING = safe_line("")


@dataclass(frozen=True)
class OfferInfo:
    """The facts of an offer, which do not change."""

    fid: bytes
    peer: PeerID
    outgoing: bool
    title: SafeText
    names: tuple[SafeText, ...]
    warning: SafeText
    total_files: int
    total_bytes: int
    offered_ms: int
    total_folders: int = 0
    details: OfferDetails = NO_DETAILS

    @property
    def disk_bytes(self) -> int:
        """The space that all of it takes on a disk, in bytes."""
        return disk_bytes(self.total_bytes, self.total_files, self.total_folders)


@dataclass
class Progress:
    """How far it has come; ``rate`` is that of the last run, and counts its bytes alone."""

    files: int = 0
    bytes: int = 0
    resumed_from: int = 0
    rate: Rate | None = None
    told_bytes: int = -1


class ActiveRun:
    """The resources of one run; ``stop`` releases all of them."""

    def __init__(self, download: Download | None = None) -> None:
        self.download = download  # until a receiver has it
        self.dialling: Deferred[Link] | None = None
        self.work: Sender | Receiver | None = None

    def stop(self, keep: bool) -> None:
        """Go no further.  ``keep`` what the disk has, for another time."""
        dialling, self.dialling = self.dialling, None
        if dialling is not None:
            dialling.cancel()
        download, self.download = self.download, None
        if download is not None:
            download.close()
        if self.work is not None:
            self.work.stop(keep)


@dataclass(eq=False)
class ManagedTransfer:
    """The base of both ways.  ``file_links``: the one in use, behind it one that has just opened."""

    info: OfferInfo
    machine: TransferMachine
    files: Sequence[OfferedFile] = ()
    progress: Progress = field(default_factory=Progress)
    stored: bool = False  # and so shown
    unwanted: bool = False  # it was dropped while it was being stored
    forgotten: bool = False  # dropped by the person; kept until the other side knows how it ended
    run: ActiveRun | None = None
    file_links: list[Link] = field(default_factory=list)
    timers: dict[Timer, IDelayedCall] = field(default_factory=dict)
    working: set[Deferred[None]] = field(default_factory=set)  # runs that have not come to rest
    skipped: dict[int, str] = field(default_factory=dict)  # files that could not be sent, by number -> code
    note: SafeText = _NOTHING  # names them
    saved_to: bytes = b""
    ended_ms: int | None = None
    since_ms: int = 0  # what the waiting clock showed when it was offered, or when it ended

    @property
    def fid(self) -> bytes:
        return self.info.fid

    @property
    def peer(self) -> PeerID:
        return self.info.peer

    @property
    def ended(self) -> bool:
        return self.machine.ended

    @property
    def reason(self) -> SafeText:
        """Why it stands as it does, for people."""
        return self.note if self.note and self.machine.state is TransferState.DONE else self.machine.reason

    def skip(self, number: int, code: str) -> None:
        """Note that this file is not sent, for the reason in ``code``."""
        self.skipped[number] = code
        self.note = skipped_text(self.files, self.skipped)

    def snapshot(self) -> Transfer:
        """Return the transfer as people see it."""
        info, state, progress = self.info, self.machine.state, self.progress
        rate = progress.rate if state is TransferState.RUNNING or state.ended else None
        running = state is TransferState.RUNNING
        return Transfer(
            info.fid,
            info.peer,
            info.outgoing,
            info.title,
            info.names,
            info.warning,
            info.total_files,
            info.total_bytes,
            progress.files,
            progress.bytes,
            rate.per_second if rate is not None else None,
            rate.seconds_left(info.total_bytes - progress.bytes) if rate is not None and running else None,
            state,
            self.machine.code,
            self.reason,
            self.saved_to if state is TransferState.DONE and not info.outgoing else b"",
            info.offered_ms,
            progress.resumed_from,
            PausedBy.HERE in self.machine.paused,
            info.total_folders,
            self.details,
        )

    @property
    def details(self) -> OfferDetails:
        """What a person has to know of the offer beside its files."""
        return self.info.details

    def as_offered(self) -> Transfer:
        """Return the transfer in its first state, as it was when it was made here or came."""
        state = TransferState.WAITING if self.info.outgoing else TransferState.OFFERED
        return msgspec.structs.replace(self.snapshot(), state=state, code="", reason=_NOTHING)

    def row(self) -> TransferRow:
        """Return the row that the store keeps of the transfer."""
        info, machine = self.info, self.machine
        return TransferRow(
            info.peer,
            info.fid,
            info.outgoing,
            info.title,
            info.total_files,
            info.total_bytes,
            machine.state,
            machine.code,
            self.reason,
            self.saved_to,
            info.offered_ms,
            self.ended_ms,
            paused=machine.paused,
            told=machine.told,
            since_ms=self.since_ms,
            folders=info.total_folders,
            names=info.names,
            warning=info.warning,
            details=self.details,
        )

    def count(self, missing_files: int, missing_bytes: int) -> None:
        """Note how much a run that begins has to do."""
        self.progress.files = self.info.total_files - missing_files
        self.progress.bytes = self.progress.resumed_from = self.info.total_bytes - missing_bytes

    def begin(self, now: float) -> None:
        """Note that bytes go from now on."""
        self.progress.rate = Rate(now, self.progress.bytes)

    def conclude(self, now_ms: int, waiting_ms: int) -> None:
        """Count what is there at the end, and drop what only an open transfer needs."""
        if self.ended_ms is None:
            self.ended_ms, self.since_ms = now_ms, waiting_ms
            if self.machine.state is TransferState.DONE:
                self.progress.files = self.info.total_files - len(self.skipped)
                self.progress.bytes = self.info.total_bytes - sum(self.files[number].size for number in self.skipped)
            self.let_go()

    def let_go(self) -> None:
        """Drop what only an open transfer needs."""
        self.files = ()


@dataclass(eq=False)
class Outgoing(ManagedTransfer):
    """``answer`` are the pages of an acceptance that have come so far.

    ``rest`` is what is offered beside the files; ``is_rest_unknown`` that the other side's program did not know it.
    """

    machine: OutgoingTransfer
    sources: Sequence[SourceFile] = ()
    answer: AcceptAssembly | None = None
    rest: Rest = NO_REST
    is_rest_unknown: bool = False
    looking: bool = False  # a thread looks at its files, or is to

    @property
    def details(self) -> OfferDetails:
        details = self.info.details
        return msgspec.structs.replace(details, unsent_folders=details.empty_folders if self.is_rest_unknown else 0)

    def acceptance(self, page: Accept) -> HeardAccept | None:
        """Take a page, and return the whole acceptance with the last.  Raises RemoteError for what was not offered."""
        if self.ended:
            return None if page.more else HeardAccept(page.token)
        self.answer = self.answer or AcceptAssembly(self.files)
        if not self.answer.add(page):
            return None
        answer, self.answer = self.answer, None
        return HeardAccept(answer.token, tuple(answer.wants))

    def let_go(self) -> None:
        super().let_go()
        self.sources, self.answer, self.rest = (), None, NO_REST


@dataclass(eq=False)
class Incoming(ManagedTransfer):
    """``target`` is where it goes, once a person has said so; ``files`` are in the store alone until then.

    ``opening`` fires with what went wrong, or None, when the disk was looked at; ``lacking`` is what the disk
    had too little of when it was looked at last.
    """

    machine: IncomingTransfer
    target: DownloadTarget | None = None
    candidates: dict[int, bytes] | None = None  # files of before that may be the same, by number
    opening: Deferred[ChatnetError | None] | None = None
    lacking: NoSpace | None = None

    def row(self) -> TransferRow:
        row = super().row()
        if self.target is None:
            return row
        return row._replace(directory=self.target.directory, stem=self.target.stem, person=self.target.person)

    def let_go(self) -> None:
        super().let_go()
        self.candidates = None


def offered(
    fid: bytes,
    peer: PeerID,
    outgoing: bool,
    summary: Summary,
    details: OfferDetails,
    now_ms: int,
    warning: str = "",
) -> OfferInfo:
    """Return the facts about a new offer; ``warning`` takes the place of the one about its names."""
    return OfferInfo(
        fid,
        peer,
        outgoing,
        summary.title,
        tuple(summary.names),
        safe_line(warning or ("" if outgoing else summary.warning)),
        summary.files,
        summary.size,
        now_ms,
        summary.folders,
        details,
    )


class Prepared(NamedTuple):
    """What there is to offer, as people see it and as the store keeps it."""

    found: Gathered
    summary: Summary
    details: OfferDetails
    rows: list[FileRow]
    folder_pages: list[bytes]


def prepare(paths: tuple[bytes, ...]) -> Prepared:
    """Look what there is to offer; for the disk's threads.  Raises what ``gather`` does."""
    found = gather(paths)
    summary, rest = Summary(), found.rest
    for file in found.files:
        summary.add(file.offered)
    for folder in rest.folders:
        summary.add_empty_folder(folder)
    details = OfferDetails(len(rest.folders), found.renamed, rest.executables, *rest.not_sent)
    rows = file_rows([file.offered for file in found.files], found.files)
    return Prepared(found, summary, details, rows, packed_pages(rest.folders))


def file_rows(files: Sequence[OfferedFile], sources: Sequence[SourceFile] = ()) -> list[FileRow]:
    """Return the files of an offer as the store keeps them."""
    return [
        FileRow(
            number,
            tuple(file.path),
            file.size,
            file.mtime_ms,
            sources[number].path if sources else b"",
            mark=msgspec.msgpack.encode(sources[number].mark) if sources else b"",
        )
        for number, file in enumerate(files)
    ]
