"""Offers that come in: pages put together, charged, objected to, slowed, stored.

The pages of one offer stay together on a chat link, so that each peer has one that is coming.  More offers
a minute than the limit are taken one after the other, when their time has come.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.bucket import Buckets
from chatnet.core.errors import RemoteError, StoreFailed
from chatnet.core.events import RuleKind, TransferState
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import Decline, Offer, OfferRest
from chatnet.core.text import SafeText
from chatnet.core.transfer.incoming import IncomingTransfer
from chatnet.core.transfer.offers import OfferAssembly, Summary
from chatnet.core.transfer.reasons import turned_down_reason
from chatnet.net.link import Link
from chatnet.net.timers import cancel_timer
from chatnet.peer.transfers.background import TransferTasks
from chatnet.peer.transfers.held_offers import HeldOffers
from chatnet.peer.transfers.managed import Incoming, offered
from chatnet.peer.transfers.preferences import TransferPreferences
from chatnet.peer.transfers.table import TransferTable

ASKERS = 10_000  # peers whose rate of offers is remembered
WITHDRAWN = 16  # offers of one peer that were cancelled on their way, and may be asked about


class OfferReceiver(Protocol):
    """Who decides about offers."""

    async def offer_arrived(self, transfer: Incoming) -> None:
        """Called when a whole offer is in the store, and nobody has answered it."""

    def admit_offer(self, link: Link, fid: bytes, title: str) -> bool:
        """Whether there is room for one more offer of the person at ``link``; it is charged if there is."""

    async def check_space(self, peer: PeerID) -> None:
        """Look whether the disk has space for an offer of ``peer``.  Raises StoreFailed."""

    def offer_dropped(self, peer: PeerID, fid: bytes) -> None:
        """Called when an offer that was admitted is not stored after all."""

    def offer_turned_down(self, link: Link, fid: bytes, title: SafeText, reason: SafeText) -> None:
        """Called when an offer was declined without anybody being asked; no more often than offers come."""

    def offer_said_again(self, peer: PeerID, fid: bytes) -> None:
        """Called when an offer came that is known here already: its sender has to be told how it stands."""


@dataclass(eq=False)
class _Asker:
    """The offers on their way from one peer, over one chat link."""

    link: Link
    assembly: OfferAssembly | None = None
    late: IDelayedCall | None = None  # for the next page of the assembly
    unwanted: bytes = b""  # the fid of an offer that was declined before its last page
    overdue: bytes = b""  # the fid of one whose next page did not come in time
    queue: deque[OfferAssembly] = field(default_factory=deque)  # whole, but too many a minute
    timer: IDelayedCall | None = None
    withdrawn: OrderedDict[bytes, str] = field(default_factory=OrderedDict)  # fid -> code


class Offers:
    """``receiver`` gets each whole offer, once it is in the store."""

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        table: TransferTable,
        tasks: TransferTasks,
        held: HeldOffers,
        preferences: TransferPreferences,
        receiver: OfferReceiver,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._table = table
        self._tasks = tasks
        self._held = held
        self._preferences = preferences
        self._receiver = receiver
        self._askers: dict[PeerID, _Asker] = {}
        self._rate = Buckets(limits.offers_per_minute / 60, limits.offers_per_minute, ASKERS)
        self._told_rate = Buckets(limits.offers_per_minute / 60, limits.offers_per_minute, ASKERS)

    def link_down(self, peer: PeerID) -> None:
        """Drop what was on its way over the chat link; its sender asks on the next one."""
        asker = self._askers.pop(peer, None)
        if asker is not None:
            self._give_up(asker)
            cancel_timer(asker.timer)
            for assembly in asker.queue:
                self._held.release(peer, assembly.fid)

    def stop(self) -> None:
        """Stop: no timer is left."""
        for peer in tuple(self._askers):
            self.link_down(peer)

    def received(self, link: Link, page: Offer | OfferRest) -> None:
        """Take a page."""
        peer = link.peer
        asker = self._askers.get(peer)
        if asker is None or asker.link is not link:
            self.link_down(peer)
            asker = self._askers[peer] = _Asker(link)
        if asker.unwanted == page.fid:
            asker.unwanted = page.fid if page.more else b""
            return
        if asker.overdue == page.fid:
            self._overdue(asker, page)
            return
        if asker.assembly is None or asker.assembly.fid != page.fid:
            self._give_up(asker)  # one that was broken off by its sender
            if self._is_known(peer, page.fid):
                asker.unwanted = page.fid if page.more else b""
                self._receiver.offer_said_again(peer, page.fid)
                return
            by_rule = self._preferences.rule(peer).kind is RuleKind.REFUSE
            code = self._objection(peer, page.fid, asker, by_rule)
            if code:
                summary = Summary()
                for file in page.files if isinstance(page, Offer) else ():
                    summary.add(file)
                self._turn_down(asker, page, code, summary, by_rule and code == messages.DECLINED)
                return
            asker.assembly = OfferAssembly(page.fid)
        self._assemble(asker, asker.assembly, page)

    def _assemble(self, asker: _Asker, assembly: OfferAssembly, page: Offer | OfferRest) -> None:
        cancel_timer(asker.late)
        asker.late = None
        had_entries = assembly.entries
        had_bytes = assembly.held_bytes if assembly.pages else 0
        try:
            whole = assembly.add(page)
        except RemoteError as error:  # no strike: programs of version 0.1.0 say two files with one path
            code = error.code
        else:
            more_bytes, more_entries = assembly.held_bytes - had_bytes, assembly.entries - had_entries
            code = self._held.take(asker.link, page.fid, more_bytes, more_entries, assembly.entries)
        if code:
            self._give_up(asker)
            self._turn_down(asker, page, code, assembly.summary)
        elif whole:
            asker.assembly = None
            asker.queue.append(assembly)
            self._take_queued(asker)
        else:
            asker.late = self._clock.callLater(self._limits.offer_page_seconds, self._page_late, asker)

    def _give_up(self, asker: _Asker) -> None:
        """Release all that is held of the offer that is coming."""
        cancel_timer(asker.late)
        asker.late = None
        if asker.assembly is not None:
            self._held.release(asker.link.peer, asker.assembly.fid)
            asker.assembly = None

    def _page_late(self, asker: _Asker) -> None:
        asker.late = None
        if asker.assembly is not None:
            self.log.info("offer of {peer} dropped: its next page is late", peer=short_text(asker.link.peer))
            asker.overdue = asker.assembly.fid
            self._give_up(asker)

    def _overdue(self, asker: _Asker, page: Offer | OfferRest) -> None:
        """Tell a slow sender, at the last page, that the offer is not here, so that it sends the offer again."""
        if not page.more:
            asker.overdue = b""
            self._receiver.offer_said_again(asker.link.peer, page.fid)

    def withdraw(self, peer: PeerID, fid: bytes, code: str) -> bool:
        """Whether the offer ``fid`` was still on its way here; then it comes no more."""
        asker = self._askers.get(peer)
        if asker is None:
            return False
        if asker.assembly is not None and asker.assembly.fid == fid:
            self._give_up(asker)
        elif any(assembly.fid == fid for assembly in asker.queue):
            asker.queue = deque(assembly for assembly in asker.queue if assembly.fid != fid)
            self._held.release(peer, fid)
        else:
            return False
        asker.withdrawn[fid] = code
        if len(asker.withdrawn) > WITHDRAWN:
            asker.withdrawn.popitem(last=False)
        return True

    def withdrawn(self, peer: PeerID, fid: bytes) -> str:
        """Return the code with which an offer was withdrawn; empty for any other one."""
        asker = self._askers.get(peer)
        return asker.withdrawn.get(fid, "") if asker is not None else ""

    def is_coming(self, peer: PeerID, fid: bytes) -> bool:
        """Whether this offer is on its way, or waits for its time."""
        asker = self._askers.get(peer)
        if asker is None:
            return False
        coming = asker.assembly is not None and asker.assembly.fid == fid
        return coming or any(assembly.fid == fid for assembly in asker.queue)

    def _is_known(self, peer: PeerID, fid: bytes) -> bool:
        """Whether this peer has offered ``fid`` before: after a lost link it cannot know whether we heard it."""
        transfer = self._table.find(peer, fid)
        former = self._table.former_peer(fid) == peer
        return self.is_coming(peer, fid) or former or (transfer is not None and not transfer.info.outgoing)

    def _is_taken(self, fid: bytes) -> bool:
        """Whether ``fid`` has named a transfer: no other one gets it, since a person may be about to answer that."""
        return fid in self._table or self._table.former_peer(fid) is not None

    def _objection(self, peer: PeerID, fid: bytes, asker: _Asker, by_rule: bool) -> str:
        if self._is_taken(fid):
            return messages.CONFLICT
        if by_rule:
            return messages.DECLINED
        pending = len(asker.queue) + sum(
            not transfer.info.outgoing and transfer.machine.state is TransferState.OFFERED
            for transfer in self._table.of_peer(peer)
        )
        return messages.TOO_MANY if pending >= self._limits.offers_pending else ""

    def _turn_down(
        self, asker: _Asker, page: Offer | OfferRest, code: str, summary: Summary, by_rule: bool = False
    ) -> None:
        peer = asker.link.peer
        self.log.info("offer of {peer} not taken: {code}", peer=short_text(peer), code=code)
        if page.more:
            asker.unwanted = page.fid
        self._say(peer, Decline(page.fid, code))
        if self._told_rate.take(peer, self._clock.seconds()):
            title = summary.title_so_far() if page.more or not summary.files else summary.title
            self._receiver.offer_turned_down(asker.link, page.fid, title, turned_down_reason(code, by_rule))

    def _decline_whole(self, peer: PeerID, fid: bytes, code: str) -> None:
        """Decline a whole offer, and release what it held."""
        self._held.release(peer, fid)
        self._say(peer, Decline(fid, code))

    def _say(self, peer: PeerID, word: Decline) -> None:
        if line := self._tasks.lines.get(peer):
            line.send(word)

    def _take_queued(self, asker: _Asker) -> None:
        """Take those whose time has come; a sender that is quicker waits."""
        cancel_timer(asker.timer)
        asker.timer = None
        peer, now = asker.link.peer, self._clock.seconds()
        while asker.queue and self._rate.take(peer, now):
            assembly = asker.queue.popleft()
            if self._is_taken(assembly.fid):  # by somebody else's offer, while this one waited
                self._decline_whole(peer, assembly.fid, messages.CONFLICT)
                continue
            if not self._receiver.admit_offer(asker.link, assembly.fid, assembly.summary.title):
                self._decline_whole(peer, assembly.fid, messages.TOO_MANY)
                continue
            info = offered(assembly.fid, peer, False, assembly.summary, assembly.details, self._table.now_ms())
            machine = IncomingTransfer(assembly.fid, self._limits, linked=True)
            transfer = Incoming(info, machine)
            self._table.enter(transfer)
            self._tasks.spawn(peer, self._take(transfer, assembly), "storing an offer")
        if asker.queue:
            asker.timer = self._clock.callLater(self._rate.delay(peer, now), self._take_queued, asker)

    async def _take(self, transfer: Incoming, assembly: OfferAssembly) -> None:
        try:
            await self._receiver.check_space(transfer.peer)
            await self._table.store(transfer, pages=assembly.pages, folder_pages=assembly.folder_pages)
        except StoreFailed:
            self._table.drop(transfer)
            self._receiver.offer_dropped(transfer.peer, transfer.fid)
            self._say(transfer.peer, Decline(transfer.fid, messages.STORE))
            return
        except sqlite3.IntegrityError:  # it was here before, and is forgotten
            self._table.drop(transfer)
            self._receiver.offer_dropped(transfer.peer, transfer.fid)
            self._receiver.offer_said_again(transfer.peer, transfer.fid)
            return
        if transfer.unwanted:
            self._receiver.offer_dropped(transfer.peer, transfer.fid)
        elif transfer.machine.state is TransferState.OFFERED:
            await self._receiver.offer_arrived(transfer)
