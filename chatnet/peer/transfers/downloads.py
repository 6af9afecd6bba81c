"""The disk's side of incoming transfers: opened before a run, closed after it, removed at the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.errors import ChatnetError, LocalError, NoSpace, StoreFailed
from chatnet.core.messages import OfferedFile
from chatnet.core.transfer.transfer_events import (
    DownloadFailed,
    DownloadHindered,
    DownloadOpened,
    Input,
    SpaceSeen,
)
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.files.download import Download, Former
from chatnet.peer.files.filesystem import FOLDER, DownloadTarget, Filesystem
from chatnet.peer.files.free_space import has_space
from chatnet.peer.files.journal import StoreJournal
from chatnet.peer.files.part_files import remove_parts
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.transfers import FileRow
from chatnet.peer.transfers.background import TransferTasks
from chatnet.peer.transfers.managed import ActiveRun, Incoming
from chatnet.peer.transfers.owner import TransferOwner
from chatnet.peer.transfers.runs import PASSING


class Downloads:
    """Every method returns at once; what was found is given to the transfer's machine."""

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        clock: Any,
        store: PeerStore,
        owner: TransferOwner,
        tasks: TransferTasks,
        disk: DiskPool,
        filesystem: Filesystem,
    ) -> None:
        self._clock = clock
        self._store = store
        self._owner = owner
        self._tasks = tasks
        self._disk = disk
        self._filesystem = filesystem
        self._stopped = False

    def stop(self) -> None:
        """Stop: downloads that are being opened are closed again."""
        self._stopped = True

    # --- opening --------------------------------------------------------------------------------

    def open(self, transfer: Incoming) -> None:
        """Open the folders, and see what is there already."""
        opening: Deferred[ChatnetError | None] = Deferred()
        transfer.opening = opening
        self._tasks.spawn(transfer.peer, self._open(transfer, opening), "opening a download")

    async def _open(self, transfer: Incoming, opening: Deferred[ChatnetError | None]) -> None:
        error: ChatnetError | None = None
        event: Input
        try:
            download = await self._look(transfer)
        except StoreFailed as failed:
            error, event = failed, DownloadHindered(messages.STORE)
        except ChatnetError as failed:
            transfer.files = ()
            transfer.lacking = failed if isinstance(failed, NoSpace) else None
            error, event = failed, _not_opened(failed.code)
        except Exception:
            self.log.failure("internal error while opening a download")
            error = LocalError(messages.INTERNAL_ERROR, "an internal error")
            event = DownloadFailed(messages.INTERNAL_ERROR)
        else:
            event = DownloadOpened(bool(download.wants))
            if self._stopped:
                download.close()
            else:
                transfer.run = ActiveRun(download)
                transfer.count(len(transfer.files) - download.done_files, download.wanted_bytes)
                transfer.saved_to = download.saved_to
        transfer.opening = None
        self._owner.give(transfer, event)
        opening.callback(error)

    async def _look(self, transfer: Incoming) -> Download:
        assert transfer.target is not None
        await self._store.transfers.unpack(transfer.peer, transfer.fid)
        rows = await self._store.transfers.files(transfer.peer, transfer.fid)
        transfer.files = await self._disk.run(offered_files, rows)
        folders = await self._store.transfers.empty_folders(transfer.peer, transfer.fid)
        if transfer.candidates is None:
            transfer.candidates = await self._store.transfers.received_like(transfer.peer, transfer.fid)
        former = await self._disk.run(former_files, rows, transfer.candidates)
        journal = StoreJournal(self._clock, self._store, transfer.peer, transfer.fid)
        return await self._disk.run(
            Download, transfer.target, transfer.files, self._filesystem, former, journal, folders
        )

    # --- looking and clearing up ----------------------------------------------------------------

    def look_for_space(self, transfer: Incoming, code: str) -> None:
        """Look whether what stood in the way does so still."""
        look = self._store_works() if code == messages.STORE else self._disk.run(self._has_space, transfer)
        self._tasks.spawn(transfer.peer, self._looked(transfer, look), "looking for space")

    async def _looked(self, transfer: Incoming, look: Any) -> None:
        try:
            enough = await look
        except (OSError, ChatnetError):  # what it is stands in the log when it is opened
            enough = True
        self._owner.give(transfer, SpaceSeen(enough))

    async def _store_works(self) -> bool:
        try:
            await self._store.probe()
        except StoreFailed:
            return False
        return True

    def _has_space(self, transfer: Incoming) -> bool:
        assert transfer.target is not None
        fd = os.open(os.path.realpath(transfer.target.directory or transfer.target.downloads), FOLDER)
        try:
            return has_space(self._filesystem, fd, transfer.lacking)
        finally:
            os.close(fd)

    def remove_parts(self, transfer: Incoming) -> None:
        """Remove what has no final name."""
        if transfer.target is not None:
            self._tasks.spawn(transfer.peer, self._remove(transfer.target), "removing parts")

    async def _remove(self, target: DownloadTarget) -> None:
        await self._disk.run(remove_parts, target)


def _not_opened(code: str) -> Input:
    return DownloadHindered(code) if code in PASSING else DownloadFailed(code)


def offered_files(rows: Sequence[FileRow]) -> list[OfferedFile]:
    """Return the files of an offer as they were offered."""
    return [OfferedFile(list(row.path), row.size, row.mtime_ms) for row in rows]


def former_files(rows: Sequence[FileRow], candidates_of: dict[int, bytes]) -> dict[int, Former]:
    """Return, by number, what is left from before of the files that have something."""
    return {
        row.number: Former(
            row.synced, row.digest, row.final, row.done, b"" if row.done else candidates_of.get(row.number, b"")
        )
        for row in rows
        if row.synced or row.digest or row.done or row.number in candidates_of
    }
