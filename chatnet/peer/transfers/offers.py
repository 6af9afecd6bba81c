"""Offers in pages, from and to each peer: put together, objected to, sent.

The pages of one offer stay together on a chat link; so each peer has one that comes and one that goes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.bucket import Buckets
from chatnet.core.errors import RemoteError, StoreFailed
from chatnet.core.events import TransferState
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import Decline, Offer
from chatnet.core.transfer.offers import OfferAssembly, offer_pages
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.transfers.background import TransferLinks, TransferTasks
from chatnet.peer.transfers.record import TransferRecord, file_rows, offered_record
from chatnet.peer.transfers.table import TransferTable

ASKERS = 10_000  # peers whose rate of offers is remembered


@dataclass(eq=False)
class _Asker:
    """Offers in pages, from and to one peer, that are under way."""

    assembly: OfferAssembly | None = None
    unwanted: bytes = b""  # the fid of an offer that was declined before its last page
    sending: DeferredLock = field(default_factory=DeferredLock)  # the pages of one offer stay together


class Offers:
    """``arrived`` gets each whole offer, once it is in the store."""

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        table: TransferTable,
        background: TransferTasks,
        links: TransferLinks,
        disk: DiskPool,
        arrived: Callable[[TransferRecord], Awaitable[None]],
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._table = table
        self._background = background
        self._links = links
        self._disk = disk
        self._arrived = arrived
        self._askers: dict[PeerID, _Asker] = {}
        self._offers = Buckets(limits.offers_per_minute / 60, limits.offers_per_minute, ASKERS)

    def forget(self) -> None:
        self._askers.clear()

    async def send(self, entry: TransferRecord) -> None:
        """All pages of one of ours.  Raises ChatnetError."""
        pages = offer_pages(entry.fid, entry.files)
        await self._asker(entry.peer).sending.run(
            lambda: Deferred.fromCoroutine(self._background.send_pages(entry.peer, pages))
        )

    def received(self, peer: PeerID, page: Offer) -> None:
        asker = self._asker(peer)
        if asker.unwanted == page.fid:
            asker.unwanted = page.fid if page.more else b""
            return
        if asker.assembly is None or asker.assembly.fid != page.fid:
            asker.assembly = None  # one that was broken off: its sender ended, or lost its link
            code = self._objection(peer, page.fid, asker)
            if code:
                self._turn_down(peer, page, code)
                return
            asker.assembly = OfferAssembly(page.fid)
        assembly = asker.assembly
        try:
            whole = assembly.add(page)
        except RemoteError as error:
            asker.assembly = None
            self._turn_down(peer, page, error.code)
            return
        if whole:
            asker.assembly = None
            entry = offered_record(page.fid, peer, False, assembly.summary, self._table.now_ms())
            entry.files = assembly.files
            self._table.entries[entry.fid] = entry
            self._background.spawn(entry.peer, self._take_offer(entry))

    def withdraw(self, peer: PeerID, fid: bytes) -> bool:
        """Whether the offer ``fid`` was still on its way here; then it comes no more."""
        asker = self._askers.get(peer)
        if asker is None or asker.assembly is None or asker.assembly.fid != fid:
            return False
        asker.assembly = None
        return True

    def link_lost(self, peer: PeerID) -> None:
        """What was on its way with the chat link does not come."""
        if peer in self._askers:
            self._askers[peer].assembly, self._askers[peer].unwanted = None, b""

    def _objection(self, peer: PeerID, fid: bytes, asker: _Asker) -> str:
        if fid in self._table.entries:
            return messages.CONFLICT
        pending = sum(
            1
            for entry in self._table.entries.values()
            if entry.peer == peer and not entry.outgoing and entry.state is TransferState.OFFERED
        )
        if pending >= self._limits.offers_pending or not self._offers.take(peer, self._clock.seconds()):
            return messages.TOO_MANY
        return ""

    def _turn_down(self, peer: PeerID, page: Offer, code: str) -> None:
        self.log.info("offer of {peer} not taken: {code}", peer=short_text(peer), code=code)
        if page.more:
            self._asker(peer).unwanted = page.fid
        self._background.send(peer, Decline(page.fid, code))

    async def _take_offer(self, entry: TransferRecord) -> None:
        try:
            rows = await self._disk.run(file_rows, entry.files)
            await self._table.keep(entry, rows)
        except (StoreFailed, sqlite3.IntegrityError) as error:  # full, or a fid that was used and forgotten
            del self._table.entries[entry.fid]
            code = messages.STORE if isinstance(error, StoreFailed) else messages.CONFLICT
            await self._links.send(entry.peer, Decline(entry.fid, code))
            return
        if entry.state is TransferState.OFFERED:
            await self._arrived(entry)

    def _asker(self, peer: PeerID) -> _Asker:
        if peer not in self._askers:
            for one, asker in tuple(self._askers.items()):
                if asker.assembly is None and not asker.unwanted and not asker.sending.locked:
                    del self._askers[one]
        return self._askers.setdefault(peer, _Asker())
