"""Decides at the start of a peer whether a transfer of the former process is resumed or given up."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatnet.core.events import TransferState
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import NotSent, OfferedFile
from chatnet.core.text import safe_line
from chatnet.core.transfer.incoming import IncomingTransfer
from chatnet.core.transfer.offers import Rest
from chatnet.core.transfer.outgoing import OutgoingTransfer
from chatnet.core.transfer.transfer_machine import phase_of
from chatnet.peer.files.filesystem import DownloadTarget
from chatnet.peer.files.source import Fingerprint, SourceFile
from chatnet.peer.store.transfers import FileRow, TransferRow
from chatnet.peer.transfers.managed import Incoming, ManagedTransfer, OfferInfo, Outgoing

DAY_MS = 86_400_000
_mark = msgspec.msgpack.Decoder(Fingerprint)


def is_given_up(transfer: ManagedTransfer, row: TransferRow, limits: PeerLimits, waiting_ms: int) -> bool:
    """Whether a transfer has waited too long to go on, or was made by a version whose transfers did not.

    ``waiting_ms`` is what the waiting clock shows: a time of day that was set ends no transfer (fault A12).
    """
    return has_waited_too_long(row.since_ms, limits, waiting_ms) or not _can_go_on(transfer)


def has_waited_too_long(since_ms: int, limits: PeerLimits, waiting_ms: int) -> bool:
    """Whether a transfer that was offered or has ended when the waiting clock showed ``since_ms`` is given up now."""
    return waiting_ms - since_ms > limits.expire_days * DAY_MS


def _can_go_on(transfer: ManagedTransfer) -> bool:
    """Whether all of its sources are known: transfers of the first version did not go on."""
    if transfer.ended or not isinstance(transfer, Outgoing):
        return True
    return len(transfer.sources) == transfer.info.total_files


def recalled(
    row: TransferRow,
    rows: Sequence[FileRow],
    empty_folders: Sequence[tuple[str, ...]],
    progress: tuple[int, int],
    limits: PeerLimits,
    downloads: bytes,
) -> ManagedTransfer:
    """Recall a transfer of a former process; ``Recalled`` is to follow.

    ``rows`` and ``empty_folders`` are those of one that goes out and has not ended; ``progress`` are the files
    and bytes that are here of one that comes in: its files are read when it goes on.
    """
    names = tuple(map(safe_line, row.names))
    sums = (row.total_files, row.total_bytes, row.offered_ms, row.folders, row.details)
    info = OfferInfo(row.fid, row.peer, row.outgoing, safe_line(row.title), names, safe_line(row.warning), *sums)
    transfer = _recalled(row, rows, empty_folders, info, limits, downloads)
    transfer.stored, transfer.forgotten, transfer.saved_to = True, row.forgotten, row.saved_to
    transfer.ended_ms, transfer.since_ms = row.ended_ms, row.since_ms
    transfer.progress.files, transfer.progress.bytes = progress
    machine = transfer.machine
    machine.code, machine.reason, machine.paused, machine.told = row.code, safe_line(row.reason), row.paused, row.told
    if row.state is TransferState.DONE:
        transfer.progress.files, transfer.progress.bytes = row.total_files, row.total_bytes
    return transfer


def _recalled(
    row: TransferRow,
    rows: Sequence[FileRow],
    empty_folders: Sequence[tuple[str, ...]],
    info: OfferInfo,
    limits: PeerLimits,
    downloads: bytes,
) -> ManagedTransfer:
    if row.outgoing:
        files = [OfferedFile(list(file.path), file.size, file.mtime_ms) for file in rows]
        sources = [
            SourceFile(file.source, offer, _mark.decode(file.mark))
            for file, offer in zip(rows, files, strict=True)
            if file.mark
        ]
        machine = OutgoingTransfer(row.fid, limits, phase_of(row.state, OutgoingTransfer))
        numbers = row.details
        not_sent = NotSent(numbers.links, numbers.specials, numbers.unreadable)
        rest = Rest(empty_folders, not_sent, numbers.executables)
        return Outgoing(info, machine, files, sources=sources, rest=rest, is_rest_unknown=numbers.unsent_folders > 0)
    incoming = Incoming(info, IncomingTransfer(row.fid, limits, phase_of(row.state, IncomingTransfer)))
    if row.stem:
        incoming.target = DownloadTarget(downloads, row.person, row.directory, row.stem)
    return incoming
