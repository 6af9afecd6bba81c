"""The transfers of a peer: which there are, how each stands, and that the store and the screen know it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from chatnet.core.errors import LocalError
from chatnet.core.events import Transfer, TransferState
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import PROGRESS_SECONDS
from chatnet.core.transfer.reasons import reason_of
from chatnet.core.transfer.transfer_machine import Step, after
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.transfers import FileRow, TransferRow
from chatnet.peer.transfers.background import TransferTasks, done
from chatnet.peer.transfers.record import TransferRecord


class TransferTable:
    """``changed`` gets every new or changed transfer, once it is in the store."""

    log = Logger("chatnet.transfers")

    def __init__(
        self, clock: Any, store: PeerStore, background: TransferTasks, changed: Callable[[Transfer], None]
    ) -> None:
        self.entries: dict[bytes, TransferRecord] = {}
        self._clock = clock
        self._store = store
        self._background = background
        self._changed = changed
        self._progress = LoopingCall(self._tell_progress)
        self._progress.clock = clock

    def stop(self) -> None:
        if self._progress.running:
            self._progress.stop()

    # --- looking up ---

    def snapshot(self) -> tuple[Transfer, ...]:
        """Every transfer that is not forgotten, in the order of offering."""
        return tuple(entry.snapshot() for entry in self.entries.values() if entry.kept)

    def known(self, fid: bytes) -> TransferRecord:
        entry = self.entries.get(fid)
        if entry is None or not entry.kept:
            raise LocalError("unknown-transfer", "There is no such transfer.")
        return entry

    def unfinished(self, fid: bytes) -> TransferRecord:
        entry = self.known(fid)
        if entry.ended:
            raise LocalError("ended", entry.reason or "That transfer has ended.")
        return entry

    def offer_in(self, fid: bytes) -> TransferRecord:
        entry = self.known(fid)
        if entry.outgoing:
            raise LocalError("unknown-transfer", "That offer is your own.")
        if entry.state is not TransferState.OFFERED:
            raise LocalError("ended", entry.reason or "That offer is answered already.")
        return entry

    def find_open(self, peer: PeerID, fid: bytes, outgoing: bool | None = None) -> TransferRecord | None:
        """A transfer with this peer that has not ended."""
        entry = self.entries.get(fid)
        if entry is None or entry.peer != peer or entry.ended or outgoing not in (None, entry.outgoing):
            return None
        return entry

    def all_unfinished(self) -> list[TransferRecord]:
        return [entry for entry in self.entries.values() if not entry.ended]

    # --- steps ---

    def step(self, entry: TransferRecord, step: Step, code: str = "", by_me: bool = True) -> bool:
        if not self.move(entry, step, code, by_me):
            return False
        if entry.kept:
            self._background.spawn(entry.peer, done(self.save(entry)))
            self.tell(entry)
        return True

    def move(self, entry: TransferRecord, step: Step, code: str = "", by_me: bool = True) -> bool:
        state = after(entry.state, step)
        if state is None:
            return False
        entry.state, entry.code = state, code
        entry.reason = reason_of(code, entry.outgoing, by_me)
        if state.ended or state is TransferState.RUNNING:
            self.log.info(
                "{way} {peer} {fid}: {state} {code} ({files} files, {size} bytes)",
                way="to" if entry.outgoing else "from",
                peer=short_text(entry.peer),
                fid=entry.fid.hex()[:8],
                state=state.value,
                code=code,
                files=entry.done_files,
                size=entry.done_bytes,
            )
        return True

    # --- telling and keeping ---

    async def keep(self, entry: TransferRecord, rows: list[FileRow]) -> None:
        row = entry.row()
        self.log.info(
            "offer {way} {peer} {fid}: {files} files, {size} bytes",
            way="to" if entry.outgoing else "from",
            peer=short_text(entry.peer),
            fid=entry.fid.hex()[:8],
            files=entry.total_files,
            size=entry.total_bytes,
        )
        before = entry.state
        await self._store.transfers.add(row, rows)
        entry.kept = True
        if entry.state is not before:  # it went on while it was stored
            await self.save(entry)
        self.tell(entry)

    def save(self, entry: TransferRecord) -> Deferred[TransferRow | None]:
        return self._store.transfers.update(
            entry.peer,
            entry.fid,
            state=entry.state,
            code=entry.code,
            reason=entry.reason,
            saved_to=entry.saved_to,
            directory=entry.directory,
            stem=entry.stem,
            paused=entry.paused,
            person=entry.person,
            ended_ms=self.now_ms() if entry.ended else None,
        )

    def tell(self, entry: TransferRecord) -> None:
        entry.told_bytes = entry.done_bytes
        self._changed(entry.snapshot())

    def tell_progress(self) -> None:
        """From time to time, while anything runs."""
        if not self._progress.running:
            self._progress.start(PROGRESS_SECONDS, now=False)

    def _tell_progress(self) -> None:
        running = [entry for entry in self.entries.values() if entry.state is TransferState.RUNNING and entry.rate]
        if not running:
            self._progress.stop()
        for entry in running:
            assert entry.rate is not None
            moved = entry.told_bytes != entry.done_bytes
            was = entry.rate.per_second
            entry.rate.mark(self._clock.seconds(), entry.done_bytes)
            if moved or was != entry.rate.per_second:
                self.tell(entry)

    async def forget_ended(self) -> None:
        """Drop the ended transfers; one that still clears up goes the next time: who stops waits for it."""
        for entry in tuple(self.entries.values()):
            if entry.ended and entry.kept and entry.working is None:
                del self.entries[entry.fid]
        await self._store.transfers.forget_ended()

    def now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)
