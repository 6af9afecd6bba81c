"""Whose turn it is, and the run of one transfer from its first byte to the word that all is verified."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.errors import ChatnetError, LocalError, Refused, StoreFailed
from chatnet.core.events import TransferState
from chatnet.core.limits import PeerLimits
from chatnet.core.transfer.offers import accept_pages
from chatnet.core.transfer.queue import has_turn
from chatnet.core.transfer.speed import Rate
from chatnet.core.transfer.transfer_machine import Step
from chatnet.net.link import Link
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.files.download import Download
from chatnet.peer.files.part_files import remove_parts
from chatnet.peer.transfers.background import TransferTasks, done
from chatnet.peer.transfers.lifecycle import Lifecycle
from chatnet.peer.transfers.preferences import TransferPreferences
from chatnet.peer.transfers.receiver import Receiver
from chatnet.peer.transfers.record import TransferRecord
from chatnet.peer.transfers.sender import Sender
from chatnet.peer.transfers.table import TransferTable

TOKEN_BYTES = 32


class Scheduler:
    """See the module."""

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        table: TransferTable,
        background: TransferTasks,
        lifecycle: Lifecycle,
        preferences: TransferPreferences,
        disk: DiskPool,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._table = table
        self._background = background
        self._lifecycle = lifecycle
        self._preferences = preferences
        self._disk = disk
        self._random = random_bytes
        self._stopped = False

    def stop(self) -> None:
        """Begin nothing any more."""
        self._stopped = True

    def start_queued(self) -> None:
        """Let begin what may: acceptances go out, files go out."""
        for entry in tuple(self._table.entries.values()):
            if entry.state is not TransferState.QUEUED or self._stopped:
                continue
            under_way = [e.peer for e in self._table.entries.values() if e.outgoing is entry.outgoing and e.has_place]
            if entry.has_place or not has_turn(entry.peer, under_way, self._limits):
                continue
            if not entry.outgoing:
                entry.token = self._random(TOKEN_BYTES)
                self._lifecycle.wait_for_link(entry)
                self._background.spawn(entry.peer, self.send_answer(entry))
            elif entry.link is not None:
                self._send(entry, entry.link)

    async def send_answer(self, entry: TransferRecord) -> None:
        token = entry.token
        try:
            await self._background.send_pages(entry.peer, accept_pages(entry.fid, token, entry.wants))
        except ChatnetError:
            if entry.token == token and entry.link is None and entry.under_way:
                self._lifecycle.break_off(entry, messages.LOST)
                self._lifecycle.redial.failed(entry.peer)

    def start(self, entry: TransferRecord) -> None:
        entry.rate = Rate(self._clock.seconds())
        self._table.step(entry, Step.STARTED)
        if not self._stopped:
            self._table.tell_progress()

    def _send(self, entry: TransferRecord, link: Link) -> None:
        had = entry.done_files

        def sent(count: int) -> None:
            if entry.work is sending:
                entry.done_bytes += count
                entry.done_files = had + sending.done_files

        def complete() -> None:
            if entry.work is sending:
                self._complete(entry)

        sending = Sender(
            link, entry.sources, entry.wants, self._disk, self._clock, self._preferences.up, sent, complete
        )
        entry.work = sending
        self.start(entry)
        entry.working = Deferred.fromCoroutine(self._run_to_end(entry, sending))

    def receive(self, entry: TransferRecord, link: Link) -> None:
        def arrived(count: int) -> None:
            entry.done_bytes += count

        def settled(count: int) -> None:
            entry.done_files += count

        download, entry.download = entry.download, None
        assert download is not None
        receiving = Receiver(
            link,
            entry.files,
            entry.wants,
            download,
            self._disk,
            self._limits.write_ahead_bytes,
            self._clock,
            self._preferences.down,
            arrived,
            settled,
            lambda: self._complete(entry),
        )
        entry.work = receiving
        entry.working = Deferred.fromCoroutine(self._run_to_end(entry, receiving, download))

    async def _run_to_end(
        self, entry: TransferRecord, work: Sender | Receiver, download: Download | None = None
    ) -> None:
        link = entry.link
        try:
            await work.run()
        except ChatnetError as error:
            if entry.work is work:
                self._went_wrong(entry, link, error)
        except Exception:
            self.log.failure("internal error while running a transfer")
            if entry.work is work:
                self._lifecycle.give_up(entry, messages.UNREADABLE if entry.outgoing else messages.UNWRITABLE)
        else:
            if download is None or not download.mismatched:
                entry.done_files = entry.total_files
                entry.saved_to = download.saved_to if download else b""
                await self._lifecycle.verified(entry, link)
        finally:
            if entry.work in (work, None):
                entry.working = None
            self._on_run_ended(entry, work, download)

    def _went_wrong(self, entry: TransferRecord, link: Link | None, error: ChatnetError) -> None:
        if isinstance(error, Refused):  # the receiver's REJECT
            self._lifecycle.end(entry, Step.FAILED, error.code, by_me=False)
        elif entry.outgoing and error.code == messages.LOST:
            self._lifecycle.break_off(entry, messages.LOST)
        elif entry.outgoing or not isinstance(error, LocalError | StoreFailed):
            self._lifecycle.give_up(entry, error.code)
        elif isinstance(error, LocalError) and error.code != messages.NO_SPACE and link is not None and link.is_open:
            self._lifecycle.end(entry, Step.FAILED, error.code)  # a REJECT has said it
        else:
            self._lifecycle.block(entry, error)

    def _on_run_ended(self, entry: TransferRecord, work: Sender | Receiver, download: Download | None) -> None:
        """A run is over and the disk quiet: what waited for that may begin."""
        if download is None or self._stopped:
            return
        if download.mismatched and entry.work is work:  # some files of before are not the same: they are wanted whole
            entry.candidates_of = {
                index: path for index, path in (entry.candidates_of or {}).items() if index not in download.mismatched
            }
            if link := self._lifecycle.release(entry, keep=True):
                self._lifecycle.leave_link(link, by_me=True)
            self._table.move(entry, Step.BROKEN)
            self._background.spawn(entry.peer, self._lifecycle.resume_incoming(entry))
        elif entry.state is TransferState.BROKEN and not self._lifecycle.redial.is_due(entry.peer):
            self._lifecycle.redial.now(entry.peer)
        elif entry.ended and entry.state is not TransferState.DONE:
            self._background.spawn(entry.peer, done(self._disk.run(remove_parts, self._lifecycle.place(entry))))

    def _complete(self, entry: TransferRecord) -> None:
        if entry.rate is not None:
            entry.rate.mark(self._clock.seconds(), entry.done_bytes)
        self._table.step(entry, Step.COMPLETE)
