"""The lifecycle of one transfer: interrupted, resumed, paused, unpaused, ended.

Every transfer ends in a named outcome that both sides are told: the one that ends it says so on the
chat link and keeps the file link until the other closes it, so that the reason arrives before the loss.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.backoff import Uniform
from chatnet.core.errors import ChatnetError, LocalError, StoreFailed
from chatnet.core.events import TransferState
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import LATE_LINKS, PeerLimits
from chatnet.core.messages import Cancel, Decline, DialMe, Pause, Resume, Verified
from chatnet.core.transfer.reasons import reason_of
from chatnet.core.transfer.transfer_machine import PausedBy, Step, ending_of
from chatnet.net.link import Link, LinkUser
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.files.download import Download
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem
from chatnet.peer.files.journal import StoreJournal
from chatnet.peer.files.part_files import remove_parts
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.transfers.background import TransferLinks, TransferTasks, done
from chatnet.peer.transfers.receiver import Receiver
from chatnet.peer.transfers.record import TransferRecord, former_files
from chatnet.peer.transfers.redial import Redial
from chatnet.peer.transfers.table import TransferTable


class Lifecycle:
    """``room`` is called when one less is under way; ``served`` gives what serves a file link that we dial."""

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        store: PeerStore,
        table: TransferTable,
        background: TransferTasks,
        links: TransferLinks,
        disk: DiskPool,
        filesystem: Filesystem,
        downloads: bytes,
        *,
        room: Callable[[], None],
        served: Callable[[bytes], LinkUser],
        uniform: Uniform = random.uniform,
    ) -> None:
        self.of_link: dict[Link, TransferRecord] = {}
        self.redial = Redial(
            clock,
            limits.retry_cap_seconds,
            uniform,
            connect=links.connect,
            waits=self.waits_for,
            go=self._continue,
            spawn=background.spawn,
        )
        self._clock = clock
        self._limits = limits
        self._store = store
        self._table = table
        self._background = background
        self._links = links
        self._disk = disk
        self._filesystem = filesystem
        self._downloads = downloads
        self._room = room
        self._served = served
        self._leaving: dict[Link, IDelayedCall] = {}  # of ended transfers, until the other side closes
        self._stopped = False

    def stop_all(self) -> list[Deferred[None]]:
        """Break everything off until the next start; fire when the disk is at rest."""
        self._stopped = True
        for entry in self._table.all_unfinished():
            if entry.under_way:
                self._table.move(entry, Step.BROKEN, messages.STOPPING)
                self._background.spawn(entry.peer, done(self._table.save(entry)))
                if link := self.release(entry, keep=True):
                    link.abort(messages.STOPPING, "the program ends")
        for link in tuple(self._leaving):
            link.abort(messages.STOPPING, "the program ends")
        return [entry.working for entry in self._table.entries.values() if entry.working is not None]

    def stop_timers(self) -> None:
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()
        self.redial.stop()

    # --- ending ---

    def decline(self, entry: TransferRecord) -> None:
        self.end(entry, Step.DECLINED, messages.DECLINED)
        self._background.send(entry.peer, Decline(entry.fid, messages.DECLINED))

    def give_up(self, entry: TransferRecord, code: str) -> None:
        """End it for a reason of this side, and say so."""
        self.end(entry, ending_of(code), code)
        self._background.send(entry.peer, Cancel(entry.fid, code))

    def end(self, entry: TransferRecord, step: Step, code: str = "", by_me: bool = True) -> None:
        if self._table.step(entry, step, code, by_me):
            self._release_ended(entry, by_me)

    def _release_ended(self, entry: TransferRecord, by_me: bool) -> None:
        """Give back what an ended transfer held.  Who ended it waits for the other to close."""
        finished, working = entry.state is TransferState.DONE, entry.working is not None
        rate = entry.rate
        if finished:
            entry.work = None  # it has ended by itself
        link = self.release(entry, keep=False)
        entry.rate = rate
        entry.files, entry.sources, entry.wants, entry.candidates_of = (), (), (), None
        if link is not None and finished and entry.outgoing:
            link.leave()
        elif link is not None:
            self.leave_link(link, by_me)
        if not entry.outgoing and not finished and not working and not entry.opening and entry.stem:
            self._background.spawn(entry.peer, done(self._disk.run(remove_parts, self.place(entry))))
        self._room()

    async def verified(self, entry: TransferRecord, link: Link | None) -> None:
        if entry.outgoing:
            entry.done_bytes = entry.total_bytes
            self.end(entry, Step.VERIFIED)
            return
        # What the other side relies on is durable already: each file under its name, noted in the journal.  If
        # the store does not take the end itself, the next process finds that out and says VERIFIED once more.
        if not self._table.move(entry, Step.VERIFIED):
            return
        try:
            await self._table.save(entry)
        except StoreFailed as error:
            self.log.warn("a finished transfer could not be marked: {text}", text=error.text)
        if link is not None and link.is_open:
            link.send(Verified(entry.fid))
        else:
            self._background.send(entry.peer, Verified(entry.fid))
        self._table.tell(entry)
        self._release_ended(entry, by_me=True)

    # --- breaking off, being held ---

    def break_off(self, entry: TransferRecord, code: str) -> None:
        """The link is gone: it goes on another time."""
        if link := self.release(entry, keep=True):
            link.abort(messages.LOST, "it goes on another time")
        self._table.step(entry, Step.BROKEN, code)
        self.redial.later(entry.peer)
        self._room()

    def pause(self, entry: TransferRecord, code: str) -> None:
        """Hold it, for a person's wish or for what is in its way here, and say so."""
        entry.paused |= PausedBy.HERE
        self._rest_paused(entry, code, by_me=True)
        self._background.send(entry.peer, Pause(entry.fid, code))

    def paused_there(self, entry: TransferRecord, code: str) -> None:
        entry.paused |= PausedBy.THERE
        if not entry.paused & PausedBy.HERE:
            self._rest_paused(entry, code, by_me=False)

    def _rest_paused(self, entry: TransferRecord, code: str, by_me: bool) -> None:
        if link := self.release(entry, keep=True):
            self.leave_link(link, by_me)
        if not self._table.step(entry, Step.PAUSED, code, by_me):  # it is already: somebody else holds it
            entry.code, entry.reason = code, reason_of(code, entry.outgoing, by_me)
            self._background.spawn(entry.peer, done(self._table.save(entry)))
            self._table.tell(entry)
        self._room()

    def unpause(self, entry: TransferRecord) -> None:
        """Somebody holds it no more."""
        if not entry.paused:
            self._table.step(entry, Step.BROKEN)
        else:
            self._rest_paused(entry, messages.PAUSED, by_me=bool(entry.paused & PausedBy.HERE))

    def block(self, entry: TransferRecord, error: ChatnetError) -> None:
        """What stands in a receiver's way: it is held where that may pass, else it ends."""
        if isinstance(error, StoreFailed) or error.code == messages.NO_SPACE:
            self.pause(entry, messages.STORE if isinstance(error, StoreFailed) else error.code)
        else:
            self.end(entry, Step.FAILED, error.code)
            self._background.send(entry.peer, Cancel(entry.fid, error.code))

    def release(self, entry: TransferRecord, keep: bool) -> Link | None:
        """Give back what a transfer holds while it is under way; its file link is the caller's to end.

        ``keep`` what the disk has of it, for another time.
        """
        entry.token, entry.answer, entry.rate = b"", None, None
        if entry.deadline is not None:
            entry.deadline.cancel()
            entry.deadline = None
        dialling, entry.dialling = entry.dialling, None
        if dialling is not None:
            dialling.cancel()
        if entry.download is not None:
            entry.download.close()
            entry.download = None
        work, entry.work = entry.work, None
        if isinstance(work, Receiver):
            work.stop(LocalError(entry.code, "it goes no further"), keep)
        elif work is not None:
            work.stop(LocalError(entry.code, "it goes no further"))
        link, entry.link = entry.link, None
        if link is not None:
            self.of_link.pop(link, None)
        return link

    # --- going on ---

    async def resume_incoming(self, entry: TransferRecord) -> None:
        """Take up a received transfer where the disk has it; nothing happens before the last run has come to rest."""
        if entry.state is not TransferState.BROKEN or entry.opening or entry.working is not None or self._stopped:
            return
        try:
            download = await self.open_download(entry)
        except (LocalError, StoreFailed) as error:
            if entry.state is TransferState.BROKEN:
                self.block(entry, error)
            return
        if entry.state is TransferState.BROKEN and not self._stopped:
            self.resume(entry, download, Step.RESUMED)
            return
        download.close()
        if entry.ended:
            await self._disk.run(remove_parts, self.place(entry))

    async def open_download(self, entry: TransferRecord) -> Download:
        entry.opening = True
        try:
            rows = await self._store.transfers.files(entry.peer, entry.fid)
            if entry.candidates_of is None:
                entry.candidates_of = await self._store.transfers.received_like(entry.peer, entry.fid)
            former = await self._disk.run(former_files, rows, entry.candidates_of)
            return await self._disk.run(
                Download, self.place(entry), entry.files, self._filesystem, former, self._journal(entry)
            )
        finally:
            entry.opening = False

    def resume(self, entry: TransferRecord, download: Download, step: Step) -> None:
        entry.download, entry.wants = download, download.wants
        download.placed = []
        self.count(entry, download.wanted_bytes)
        entry.done_files = download.done_files
        if download.wants:
            self._table.step(entry, step)
            self._room()
        else:  # everything was here; only the word was missing
            self._table.move(entry, step)
            entry.saved_to = download.saved_to
            self._background.spawn(entry.peer, self.verified(entry, None))

    def count(self, entry: TransferRecord, wanted_bytes: int) -> None:
        entry.done_bytes = entry.total_bytes - wanted_bytes
        entry.resumed_from = entry.done_bytes
        if entry.outgoing:
            entry.done_files = entry.total_files - len(entry.wants)

    def place(self, entry: TransferRecord) -> DownloadTarget:
        return DownloadTarget(self._downloads, entry.person, entry.directory, entry.stem)

    def _journal(self, entry: TransferRecord) -> StoreJournal:
        return StoreJournal(self._clock, self._store, entry.peer, entry.fid)

    def waits_for(self, peer: PeerID) -> bool:
        return any(entry.peer == peer and entry.state is TransferState.BROKEN for entry in self._table.all_unfinished())

    def _continue(self, peer: PeerID) -> None:
        """Over an open link: the receiver begins, the sender asks for it."""
        for entry in self._table.all_unfinished():
            if entry.peer == peer and entry.state is TransferState.BROKEN:
                if entry.outgoing:
                    self._background.send(peer, Resume(entry.fid))
                else:
                    self._background.spawn(entry.peer, self.resume_incoming(entry))

    # --- its file link ---

    def wait_for_link(self, entry: TransferRecord) -> None:
        entry.deadline = self._clock.callLater(self._limits.file_link_seconds, self._too_late, entry)

    def _too_late(self, entry: TransferRecord) -> None:
        entry.deadline = None
        entry.late += 1
        if entry.late >= LATE_LINKS:
            self.give_up(entry, messages.LATE)
        else:
            self.break_off(entry, messages.LATE)

    def dial(self, entry: TransferRecord, seconds: float) -> None:
        dial = self._links.dial_file(entry.peer, entry.fid, entry.token, self._served(entry.fid))
        entry.dialling = Deferred.fromCoroutine(dial).addTimeout(seconds, self._clock)
        self._background.spawn(entry.peer, self._dialled(entry, entry.dialling))

    async def _dialled(self, entry: TransferRecord, dialling: Deferred[Link]) -> None:
        try:
            await dialling
        except (ChatnetError, DeferredTimeout, CancelledError) as error:
            if entry.outgoing and entry.dialling is dialling and entry.token and entry.link is None:
                self.log.info(
                    "no file link to {peer} ({error}): they are asked", peer=short_text(entry.peer), error=error
                )
                self._background.send(entry.peer, DialMe(entry.fid))
        finally:
            if entry.dialling is dialling:
                entry.dialling = None

    def leave_link(self, link: Link, by_me: bool) -> None:
        """Leave a file link: who speaks first waits for the other to close."""
        if by_me and link.is_open:
            self._leaving[link] = self._clock.callLater(self._limits.close_seconds, self._cut, link)
        else:
            link.abort()

    def left(self, link: Link) -> TransferRecord | None:
        """A file link has ended: the transfer that it was for, unless that has no use for it any more."""
        timer = self._leaving.pop(link, None)
        if timer is not None:
            timer.cancel()
        entry = self.of_link.pop(link, None)
        if entry is None or entry.link is not link:
            return None
        entry.link = None
        return entry

    def _cut(self, link: Link) -> None:
        del self._leaving[link]
        link.abort()
