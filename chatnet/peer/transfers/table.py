"""The table of a peer's transfers, which keeps the store and the screen informed of each one's state."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from chatnet.core.errors import LocalError, StoreFailed
from chatnet.core.events import Transfer, TransferState
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import FORMER_FIDS, PROGRESS_SECONDS
from chatnet.core.transfer.transfer_events import Unsaved
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.transfers import FileRow
from chatnet.peer.transfers.held_offers import HeldOffers
from chatnet.peer.transfers.managed import Incoming, ManagedTransfer
from chatnet.peer.transfers.owner import TransferListener, TransferOwner

_LOGGED = frozenset({TransferState.RUNNING, *(state for state in TransferState if state.ended)})


class TransferTable:
    """``listener`` hears of every new or changed transfer, once it is in the store."""

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        clock: Any,
        store: PeerStore,
        owner: TransferOwner,
        listener: TransferListener,
        held: HeldOffers,
        wall_ms: Callable[[], int],
        waiting_ms: Callable[[], int],
    ) -> None:
        self.now_ms = wall_ms
        self.waiting_ms = waiting_ms
        self._clock = clock
        self._store = store
        self._owner = owner
        self._listener = listener
        self._held = held
        self._transfers: dict[bytes, ManagedTransfer] = {}
        self._of_peer: dict[PeerID, dict[bytes, ManagedTransfer]] = {}
        self._former: OrderedDict[bytes, tuple[PeerID, bool]] = OrderedDict()  # shown, and dropped; whether it was ours
        self._progress = LoopingCall(self._tell_progress)
        self._progress.clock = clock

    def stop(self) -> None:
        """Stop: no timer is left."""
        if self._progress.running:
            self._progress.stop()

    # --- looking up -----------------------------------------------------------------------------

    def __contains__(self, fid: bytes) -> bool:
        return fid in self._transfers

    def former_peer(self, fid: bytes) -> PeerID | None:
        """Return whose transfer was shown under this id before it was dropped: a person may still mean that one."""
        peer, _ = self._former.get(fid, (None, False))
        return peer

    def was_offered(self, peer: PeerID, fid: bytes) -> bool:
        """Whether ``peer`` had offered this, and it was dropped after it had been shown."""
        return self._former.get(fid) == (peer, False)

    def all(self) -> tuple[ManagedTransfer, ...]:
        """Return each transfer that the peer has to do with, shown or not."""
        return tuple(self._transfers.values())

    def of_peer(self, peer: PeerID) -> tuple[ManagedTransfer, ...]:
        """Return the transfers with this peer."""
        return tuple(self._of_peer.get(peer, {}).values())

    def find(self, peer: PeerID, fid: bytes) -> ManagedTransfer | None:
        """Return a transfer with this peer; None for that of somebody else."""
        transfer = self._transfers.get(fid)
        return transfer if transfer is not None and transfer.peer == peer else None

    def known(self, fid: bytes) -> ManagedTransfer:
        """Return a transfer that is shown.  Raises LocalError("unknown-transfer")."""
        transfer = self._transfers.get(fid)
        if transfer is None or not transfer.stored or transfer.forgotten:
            raise LocalError("unknown-transfer", "There is no such transfer.")
        return transfer

    def snapshot(self) -> tuple[Transfer, ...]:
        """Return every transfer that is shown, in the order of offering."""
        return tuple(one.snapshot() for one in self._transfers.values() if one.stored and not one.forgotten)

    # --- keeping --------------------------------------------------------------------------------

    def enter(self, transfer: ManagedTransfer) -> None:
        """Enter a transfer: from now on it hears what happens; it is shown when it is stored."""
        self._transfers[transfer.fid] = transfer
        self._of_peer.setdefault(transfer.peer, {})[transfer.fid] = transfer

    def take_key(self, transfer: ManagedTransfer, peer: PeerID) -> None:
        """Note that its person has the key ``peer`` now."""
        self._release(transfer)
        self._leave_peer(transfer)
        transfer.info = replace(transfer.info, peer=peer)
        self.enter(transfer)

    def _leave_peer(self, transfer: ManagedTransfer) -> None:
        of_peer = self._of_peer[transfer.peer]
        del of_peer[transfer.fid]
        if not of_peer:
            del self._of_peer[transfer.peer]

    def drop(self, transfer: ManagedTransfer) -> None:
        """Drop a transfer that is not there any more, or could not be stored."""
        if self._transfers.pop(transfer.fid, None) is not None:
            self._leave_peer(transfer)
            if transfer.stored:
                self._former[transfer.fid] = transfer.peer, transfer.info.outgoing
                if len(self._former) > FORMER_FIDS:
                    self._former.popitem(last=False)
        self._release(transfer)

    def _release(self, transfer: ManagedTransfer) -> None:
        if isinstance(transfer, Incoming):
            self._held.release(transfer.peer, transfer.fid)

    async def store(
        self,
        transfer: ManagedTransfer,
        rows: Sequence[FileRow] = (),
        pages: Sequence[bytes] = (),
        folder_pages: Sequence[bytes] = (),
    ) -> None:
        """Put a new transfer into the store, with its files or with packed pages of them; it is shown from then on.

        ``folder_pages`` are the packed pages of its empty folders.

        One that was dropped meanwhile is deleted again, and not shown.  Raises StoreFailed, or
        sqlite3.IntegrityError when its number is known.
        """
        info = transfer.info
        self.log.info(
            "offer {way} {peer} {fid}: {files} files in {folders} folders, {size} bytes",
            way="to" if info.outgoing else "from",
            peer=short_text(info.peer),
            fid=info.fid.hex()[:8],
            files=info.total_files,
            folders=info.total_folders,
            size=info.total_bytes,
        )
        transfer.since_ms = self.waiting_ms()
        await self._store.transfers.add(transfer.row(), rows, pages, folder_pages)
        if transfer.unwanted:
            await self._store.transfers.delete(transfer.peer, transfer.fid)
            return
        transfer.stored = True
        first = transfer.as_offered()
        self._listener.transfer_changed(first)  # whatever was faster than the store: the offer comes first
        if transfer.snapshot() != first:
            self._show(transfer)

    async def save(self, transfer: ManagedTransfer) -> None:
        """Save a transfer as it is now; a failure is given to its machine."""
        machine = transfer.machine
        if machine.state is not TransferState.OFFERED:
            self._release(transfer)
        if machine.ended:
            transfer.conclude(self.now_ms(), self.waiting_ms())
        row = transfer.row()
        try:
            saved = await self._store.transfers.update(
                row.peer,
                row.fid,
                state=row.state,
                code=row.code,
                reason=row.reason,
                saved_to=row.saved_to,
                directory=row.directory,
                stem=row.stem,
                paused=row.paused,
                person=row.person,
                told=row.told,
                ended_ms=row.ended_ms,
                since_ms=row.since_ms,
                details=row.details,
            )
        except StoreFailed as error:
            self.log.info("the state of a transfer was not stored: {text}", text=error.text)
            self._owner.give(transfer, Unsaved())
        else:
            if saved is None and transfer.stored and self.find(row.peer, row.fid) is transfer:
                self.log.warn("a transfer with {peer} is not in the store", peer=short_text(row.peer))
        if transfer.forgotten and machine.told:
            self.drop(transfer)

    async def forget_ended(self) -> None:
        """Drop the ended transfers; one whose end the other side does not know is only shown no more.

        One that still clears up goes the next time: who stops waits for it.
        """
        for transfer in self.all():
            if transfer.ended and transfer.stored:
                transfer.forgotten = not transfer.machine.told
                if transfer.machine.told and not transfer.working:
                    self.drop(transfer)
        await self._store.transfers.forget_ended()

    # --- telling --------------------------------------------------------------------------------

    def tell(self, transfer: ManagedTransfer) -> None:
        """Show how the transfer stands; if it is not stored yet, this follows then."""
        state, progress = transfer.machine.state, transfer.progress
        if state in _LOGGED:
            self.log.info(
                "{way} {peer} {fid}: {state} {code} ({files} files, {size} bytes)",
                way="to" if transfer.info.outgoing else "from",
                peer=short_text(transfer.peer),
                fid=transfer.fid.hex()[:8],
                state=state.value,
                code=transfer.machine.code,
                files=progress.files,
                size=progress.bytes,
            )
        if state is TransferState.RUNNING and not self._progress.running:
            self._progress.start(PROGRESS_SECONDS, now=False)
        self._show(transfer)

    def _show(self, transfer: ManagedTransfer) -> None:
        if transfer.stored and not transfer.forgotten:
            transfer.progress.told_bytes = transfer.progress.bytes
            self._listener.transfer_changed(transfer.snapshot())

    def _tell_progress(self) -> None:
        running = [one for one in self._transfers.values() if one.machine.state is TransferState.RUNNING]
        if not running:
            self._progress.stop()
        for transfer in running:
            progress, rate = transfer.progress, transfer.progress.rate
            if rate is None:
                continue
            moved, was = progress.told_bytes != progress.bytes, rate.per_second
            rate.mark(self._clock.seconds(), progress.bytes)
            if moved or was != rate.per_second:
                self._show(transfer)
