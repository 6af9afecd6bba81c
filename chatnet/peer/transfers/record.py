"""One transfer as the peer holds it: what is under way, what the screen is told, what the store keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from chatnet.core.events import Transfer, TransferState
from chatnet.core.identity import PeerID
from chatnet.core.messages import OfferedFile, Want
from chatnet.core.text import SafeText, safe_line
from chatnet.core.transfer.offers import AcceptAssembly, Summary
from chatnet.core.transfer.speed import Rate
from chatnet.core.transfer.transfer_machine import PausedBy
from chatnet.net.link import Link
from chatnet.peer.files.download import Download, Former
from chatnet.peer.files.source import Fingerprint, Gathered, SourceFile, gather
from chatnet.peer.store.transfers import FileRow, TransferRow
from chatnet.peer.transfers.receiver import Receiver
from chatnet.peer.transfers.sender import Sender

_NOTHING = safe_line("")
_mark = msgspec.msgpack.Decoder(Fingerprint)


@dataclass(eq=False)
class TransferRecord:
    """One transfer.  What its later states need appears with them."""

    fid: bytes
    peer: PeerID
    outgoing: bool
    title: SafeText
    total_files: int
    total_bytes: int
    offered_ms: int
    names: tuple[SafeText, ...] = ()
    warning: SafeText = _NOTHING
    state: TransferState = TransferState.OFFERED
    code: str = ""
    reason: SafeText = _NOTHING
    saved_to: bytes = b""
    done_files: int = 0
    done_bytes: int = 0
    resumed_from: int = 0
    paused: PausedBy = PausedBy.NOBODY
    directory: bytes = b""  # incoming
    person: str = ""  # incoming, since the acceptance: the name of their folder, which stays
    stem: str = ""  # incoming, since the acceptance
    kept: bool = False  # in the store, and so shown
    files: Sequence[OfferedFile] = ()
    sources: Sequence[SourceFile] = ()  # outgoing
    candidates_of: dict[int, bytes] | None = None  # incoming: files of before that may be the same
    answer: AcceptAssembly | None = None  # outgoing, while its pages come
    wants: Sequence[Want] = ()
    token: bytes = b""  # since the acceptance: what a file link must show
    download: Download | None = None  # incoming, from the acceptance until a link came
    opening: bool = False  # incoming: the disk looks for what is there
    deadline: IDelayedCall | None = None
    dialling: Deferred[Link] | None = None
    link: Link | None = None
    work: Sender | Receiver | None = None
    working: Deferred[None] | None = None  # also while what was halted comes to rest
    late: int = 0  # file links that did not come, in a row
    rate: Rate | None = None
    told_bytes: int = -1

    @property
    def ended(self) -> bool:
        return self.state.ended

    @property
    def under_way(self) -> bool:
        return self.state in (TransferState.QUEUED, TransferState.RUNNING, TransferState.CHECKING)

    @property
    def has_place(self) -> bool:
        """Whether it counts among those that have their turn: the receiver's from its acceptance, the sender's

        from its start.
        """
        if not self.under_way:
            return False
        return self.work is not None if self.outgoing else bool(self.token)

    def snapshot(self) -> Transfer:
        running = self.state is TransferState.RUNNING
        return Transfer(
            self.fid,
            self.peer,
            self.outgoing,
            self.title,
            self.names,
            self.warning,
            self.total_files,
            self.total_bytes,
            self.done_files,
            self.done_bytes,
            self.rate.per_second if self.rate and (running or self.ended) else None,
            self.rate.seconds_left(self.total_bytes - self.done_bytes) if self.rate and running else None,
            self.state,
            self.code,
            self.reason,
            self.saved_to if self.state is TransferState.DONE and not self.outgoing else b"",
            self.offered_ms,
            self.resumed_from,
            bool(self.paused & PausedBy.HERE),
        )

    def row(self) -> TransferRow:
        return TransferRow(
            self.peer,
            self.fid,
            self.outgoing,
            self.title,
            self.total_files,
            self.total_bytes,
            self.state,
            self.code,
            self.reason,
            self.saved_to,
            self.offered_ms,
            None,
            self.directory,
            self.stem,
            self.paused,
            self.person,
        )


def offered_record(fid: bytes, peer: PeerID, outgoing: bool, summary: Summary, now_ms: int) -> TransferRecord:
    """A new one."""
    return TransferRecord(
        fid,
        peer,
        outgoing,
        summary.title,
        summary.files,
        summary.size,
        now_ms,
        tuple(summary.names),
        safe_line(summary.warning),
    )


def recalled_record(row: TransferRow, files: Sequence[FileRow]) -> TransferRecord:
    """One of a former process; ``files`` where it has not ended."""
    entry = TransferRecord(
        row.fid,
        row.peer,
        row.outgoing,
        safe_line(row.title),
        row.total_files,
        row.total_bytes,
        row.offered_ms,
        state=row.state,
        code=row.code,
        reason=safe_line(row.reason),
        saved_to=row.saved_to,
        directory=row.directory,
        stem=row.stem,
        paused=row.paused,
        person=row.person,
        kept=True,
    )
    if entry.state is TransferState.DONE:
        entry.done_files, entry.done_bytes = entry.total_files, entry.total_bytes
    if files:
        entry.files = [OfferedFile(list(file.path), file.size, file.mtime_ms) for file in files]
        summary = Summary()
        for file in entry.files:
            summary.add(file)
        entry.names = tuple(summary.names)
        if entry.outgoing:
            entry.sources = [
                SourceFile(file.source, offered, _mark.decode(file.mark))
                for file, offered in zip(files, entry.files, strict=True)
                if file.mark
            ]
        else:
            entry.warning = safe_line(summary.warning)
            entry.done_files = sum(file.done for file in files)
            entry.done_bytes = sum(file.size if file.done else file.synced for file in files)
    return entry


def prepare(paths: tuple[bytes, ...]) -> tuple[Gathered, Summary, list[FileRow]]:
    """What there is to offer, as people see it and as the store keeps it."""
    found = gather(paths)
    summary = Summary()
    for file in found.files:
        summary.add(file.offered)
    summary.warning = ""
    return found, summary, file_rows([file.offered for file in found.files], found.files)


def file_rows(files: Sequence[OfferedFile], sources: Sequence[SourceFile] = ()) -> list[FileRow]:
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


def former_files(rows: Sequence[FileRow], candidates_of: dict[int, bytes]) -> dict[int, Former]:
    """Return, by number, what is left from before of the files that have something."""
    return {
        row.number: Former(
            row.synced, row.digest, row.final, row.done, b"" if row.done else candidates_of.get(row.number, b"")
        )
        for row in rows
        if row.synced or row.digest or row.done or row.number in candidates_of
    }
