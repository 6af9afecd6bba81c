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
from chatnet.core.transfer.queue import Rate, has_turn
from chatnet.core.transfer.transfer_machine import Step
from chatnet.net.link import Link
from chatnet.peer.files.disk_threads import Disk
from chatnet.peer.files.download import Landing
from chatnet.peer.files.part_files import remove_parts
from chatnet.peer.transfers.background import Errands, done
from chatnet.peer.transfers.lifecycle import Course
from chatnet.peer.transfers.preferences import Wishes
from chatnet.peer.transfers.receiver import Receiving
from chatnet.peer.transfers.record import Entry
from chatnet.peer.transfers.sender import Sending
from chatnet.peer.transfers.table import Ledger

TOKEN_BYTES = 32


class Runs:
    """See the module."""

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        ledger: Ledger,
        errands: Errands,
        course: Course,
        wishes: Wishes,
        disk: Disk,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._ledger = ledger
        self._errands = errands
        self._course = course
        self._wishes = wishes
        self._disk = disk
        self._random = random_bytes
        self._stopped = False

    def stop(self) -> None:
        """Begin nothing any more."""
        self._stopped = True

    def give_turns(self) -> None:
        """Let begin what may: acceptances go out, files go out."""
        for entry in tuple(self._ledger.entries.values()):
            if entry.state is not TransferState.QUEUED or self._stopped:
                continue
            under_way = [e.peer for e in self._ledger.entries.values() if e.outgoing is entry.outgoing and e.has_place]
            if entry.has_place or not has_turn(entry.peer, under_way, self._limits):
                continue
            if not entry.outgoing:
                entry.token = self._random(TOKEN_BYTES)
                self._course.wait_for_link(entry)
                self._errands.hold(entry.peer, self.send_answer(entry))
            elif entry.link is not None:
                self._send(entry, entry.link)

    async def send_answer(self, entry: Entry) -> None:
        token = entry.token
        try:
            await self._errands.send_pages(entry.peer, accept_pages(entry.fid, token, entry.wants))
        except ChatnetError:
            if entry.token == token and entry.link is None and entry.under_way:
                self._course.break_off(entry, messages.LOST)
                self._course.redial.failed(entry.peer)

    def start(self, entry: Entry) -> None:
        entry.rate = Rate(self._clock.seconds())
        self._ledger.step(entry, Step.STARTED)
        if not self._stopped:
            self._ledger.tell_progress()

    def _send(self, entry: Entry, link: Link) -> None:
        had = entry.done_files

        def sent(count: int) -> None:
            if entry.work is sending:
                entry.done_bytes += count
                entry.done_files = had + sending.done_files

        def complete() -> None:
            if entry.work is sending:
                self._complete(entry)

        sending = Sending(link, entry.sources, entry.wants, self._disk, self._clock, self._wishes.up, sent, complete)
        entry.work = sending
        self.start(entry)
        entry.working = Deferred.fromCoroutine(self._see_through(entry, sending))

    def receive(self, entry: Entry, link: Link) -> None:
        def arrived(count: int) -> None:
            entry.done_bytes += count

        def settled(count: int) -> None:
            entry.done_files += count

        landing, entry.landing = entry.landing, None
        assert landing is not None
        receiving = Receiving(
            link,
            entry.files,
            entry.wants,
            landing,
            self._disk,
            self._limits.write_ahead_bytes,
            self._clock,
            self._wishes.down,
            arrived,
            settled,
            lambda: self._complete(entry),
        )
        entry.work = receiving
        entry.working = Deferred.fromCoroutine(self._see_through(entry, receiving, landing))

    async def _see_through(self, entry: Entry, work: Sending | Receiving, landing: Landing | None = None) -> None:
        link = entry.link
        try:
            await work.run()
        except ChatnetError as error:
            if entry.work is work:
                self._went_wrong(entry, link, error)
        except Exception:
            self.log.failure("a transfer met a defect of ours")
            if entry.work is work:
                self._course.give_up(entry, messages.UNREADABLE if entry.outgoing else messages.UNWRITABLE)
        else:
            if landing is None or not landing.unlike:
                entry.done_files = entry.total_files
                entry.saved_to = landing.saved_to if landing else ""
                await self._course.verified(entry, link)
        finally:
            if entry.work in (work, None):
                entry.working = None
            self._at_rest(entry, work, landing)

    def _went_wrong(self, entry: Entry, link: Link | None, error: ChatnetError) -> None:
        if isinstance(error, Refused):  # the receiver's REJECT
            self._course.end(entry, Step.FAILED, error.code, by_me=False)
        elif entry.outgoing and error.code == messages.LOST:
            self._course.break_off(entry, messages.LOST)
        elif entry.outgoing or not isinstance(error, LocalError | StoreFailed):
            self._course.give_up(entry, error.code)
        elif isinstance(error, LocalError) and error.code != messages.NO_SPACE and link is not None and link.is_open:
            self._course.end(entry, Step.FAILED, error.code)  # a REJECT has said it
        else:
            self._course.hinder(entry, error)

    def _at_rest(self, entry: Entry, work: Sending | Receiving, landing: Landing | None) -> None:
        """A run is over and the disk quiet: what waited for that may begin."""
        if landing is None or self._stopped:
            return
        if landing.unlike and entry.work is work:  # some files of before are not the same: they are wanted whole
            entry.likes = {index: path for index, path in (entry.likes or {}).items() if index not in landing.unlike}
            if link := self._course.halt(entry, keep=True):
                self._course.part(link, by_me=True)
            self._ledger.move(entry, Step.BROKEN)
            self._errands.hold(entry.peer, self._course.go_on(entry))
        elif entry.state is TransferState.BROKEN and not self._course.redial.is_due(entry.peer):
            self._course.redial.now(entry.peer)
        elif entry.ended and entry.state is not TransferState.DONE:
            self._errands.hold(entry.peer, done(self._disk.run(remove_parts, self._course.place(entry))))

    def _complete(self, entry: Entry) -> None:
        if entry.rate is not None:
            entry.rate.mark(self._clock.seconds(), entry.done_bytes)
        self._ledger.step(entry, Step.COMPLETE)
