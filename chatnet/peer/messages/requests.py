"""The first messages and offers of strangers: bounds what is kept of them, and carries out a person's decisions.

What comes from a stranger (see ``core.directory.roster.Standing``) is charged in the budgets of
``core.requests`` until a person here writes to them, accepts, refuses or blocks them.  Who stands in a list
of a registry is shown as a person all the same.  Everybody else is a request, of which only ``Request``
tells: no person, no message, no transfer.

Where there is no room, the link is closed with a code and a time, and nothing is acknowledged: the sender
keeps what it has, says why it waits, and tries again.  A link that was merely not read would not answer
pings either, so that the sender would take this side for dead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.budgets import Budgets, Claimant, Level
from chatnet.core.directory.roster import Standing
from chatnet.core.errors import LocalError
from chatnet.core.events import Event, MessageKind, Request, RequestsChanged
from chatnet.core.identity import ChatID, PeerID, chat_with, grouped_text, person_in, short_text
from chatnet.core.limits import HISTORY_PAGE, REQUEST_LINE_CHARS
from chatnet.core.requests import RequestLedger, request_bytes
from chatnet.core.text import safe_line
from chatnet.net.background import BackgroundTasks
from chatnet.net.link import Link
from chatnet.net.timers import cancel_timer
from chatnet.peer.directory.people import People
from chatnet.peer.store.history_rows import StoredMessage
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.requests import Source, StoredRequest


class NoRoom(NamedTuple):
    """Why nothing more is taken of a stranger: a code of ERROR, and a text for the log there."""

    code: str
    text: str


NO_ROOM_OF_KEY = NoRoom(messages.UNANSWERED, "no more is taken until what came before is answered here")
NO_ROOM_OF_ALL = NoRoom(messages.BUSY, "no more is taken of people who are not known here")
NO_SPACE = NoRoom(messages.STORE, "the disk has no space for people who are not known here")


class RequestsOwner(Protocol):
    """Who shows what is no request any more, and forgets what was deleted."""

    def request_shown(self, peer: PeerID, rows: list[StoredMessage]) -> None:
        """Called when this key is a person now.

        ``rows`` are the latest of its messages and offers, which nobody was told of.
        """

    def request_unwanted(self, peer: PeerID) -> None:
        """Called when what is kept of this key is about to be deleted: what is just being stored shall not stay."""

    def request_deleted(self, peer: PeerID) -> None:
        """Called when nothing is kept of this key any more."""


@dataclass
class _Kept:
    """The messages and offers that are kept of one stranger."""

    source: Source
    is_hidden: bool  # nobody was told of it as a person
    messages: int = 0
    offers: int = 0
    bytes: int = 0
    first_line: str = ""
    first_ms: int = 0
    last_ms: int = 0
    last_n: int = 0  # the last row that came while it was kept
    more: bool = False


class Requests:
    """Keeps, charges and tells of requests.  With fewer than ``reserve_bytes`` free on the disk it takes none."""

    log = Logger("chatnet.requests")

    def __init__(
        self,
        clock: Any,
        people: People,
        store: PeerStore,
        budgets: Budgets,
        reserve_bytes: int,
        emit: Callable[[Event], None],
        owner: RequestsOwner,
    ) -> None:
        self._clock = clock
        self._people = people
        self._roster = people.roster
        self._store = store
        self._most = budgets.requesters.shares.all
        self._ledger = RequestLedger(budgets.requests, budgets.request_bytes, budgets.requesters)
        self._reserve_bytes = reserve_bytes
        self._emit = emit
        self._owner = owner
        self._kept: dict[PeerID, _Kept] = {}
        self._telling: IDelayedCall | None = None
        self._tasks = BackgroundTasks(self.log)
        self._stopped = False

    async def recall(self, read_n: dict[ChatID, int]) -> None:
        """Read from disk, in sums, what is kept of strangers; the list is known by now.  Adds to ``read_n``."""
        stored = await self._store.requests.summary(self._most)
        for row in reversed(stored.latest):
            standing = self._roster.standing(row.peer)
            about = self._roster.acquaintance(row.peer)
            read_n[chat_with(row.peer)] = row.read_n
            if standing is not Standing.REQUESTER:
                about.talked, about.unread = True, row.unread
            if standing is Standing.KNOWN:
                await self._store.requests.accept(chat_with(row.peer))
                continue
            self._take_up(row, standing is Standing.REQUESTER)
        if stored.rest:  # of a program that had no budgets
            self._ledger.recall(Claimant(b"", "", known=False), stored.rest, stored.rest_bytes)

    def _take_up(self, row: StoredRequest, is_hidden: bool) -> None:
        """Charge what the store keeps of a stranger."""
        self._ledger.recall(Claimant(row.peer, row.host, known=False), row.messages + row.offers, row.bytes)
        self._roster.acquaintance(row.peer).requests = row.messages + row.offers
        self._kept[row.peer] = _Kept(
            Source(row.host, row.name),
            is_hidden,
            row.messages,
            row.offers,
            row.bytes,
            row.first_line,
            row.first_ms,
            row.last_ms,
            row.last_n,
        )

    def stop(self) -> None:
        """Stop: no timer and no task is left."""
        self._stopped = True
        cancel_timer(self._telling)
        self._tasks.stop()

    def all(self) -> tuple[Request, ...]:
        """Return all requests, the latest last."""
        found = [_request(peer, kept) for peer, kept in self._kept.items() if self._is_request(peer, kept)]
        return tuple(sorted(found, key=lambda request: request.last_ms)[-self._most :])

    def hides(self, peer: PeerID) -> bool:
        """Whether nobody is told of this key but as a request."""
        return self._roster.standing(peer) is Standing.REQUESTER

    # --- what comes -----------------------------------------------------------------------------

    async def has_space(self) -> bool:
        """Whether the disk has more free than its reserve."""
        free_bytes = await self._store.free_bytes()
        return free_bytes is None or free_bytes >= self._reserve_bytes

    def admit(self, link: Link, id: bytes, text: str, waits: bool = True) -> NoRoom | None:
        """Charge a message, or an offer with this title, of the stranger at ``link``; or return why there is no room.

        ``waits``: what finds no room waits at the other side.
        """
        peer, host = link.peer, link.remote[0]
        lacking = self._ledger.take(Claimant(peer, host, known=False), id, request_bytes(len(text.encode())))
        kept = self._kept.get(peer)
        if waits:
            self._more_waits(peer, lacking is not None)
        if lacking is None:
            if kept is None:
                self._kept[peer] = _Kept(Source(host, link.name), is_hidden=self.hides(peer))
            return None
        self.log.info("no room for the stranger at {link}: {sum} is used up", link=link, sum=lacking.value)
        return NO_ROOM_OF_KEY if lacking is Level.KEY else NO_ROOM_OF_ALL

    def _more_waits(self, peer: PeerID, waits: bool) -> None:
        """Whether more of theirs waits at their side is told with the request, or with the person."""
        kept = self._kept.get(peer)
        if kept is not None and kept.more != waits:
            kept.more = waits
            self._tell()
        if not self.hides(peer) and self._roster.acquaintance(peer).more_waits != waits:
            self._people.tell(peer, more_waits=waits)

    def is_charged(self, peer: PeerID, id: bytes) -> bool:
        """Whether this message or offer was admitted and is kept, or about to be."""
        return self._ledger.holds(peer, id)

    def give_back(self, peer: PeerID, id: bytes) -> None:
        """Free the share of something that was admitted and is not stored after all."""
        self._ledger.give_back(peer, id)
        if not self._ledger.held(peer):
            self._kept.pop(peer, None)

    def source(self, peer: PeerID) -> Source | None:
        """Return from where the stranger came of whom something is about to be stored; None for others."""
        kept = self._kept.get(peer)
        return kept.source if kept is not None else None

    def stored(self, row: StoredMessage) -> None:
        """Count a message or an offer of somebody that is in the store."""
        peer = person_in(row.chat)
        kept = self._kept.get(peer)
        if kept is None:
            return
        if not kept.first_ms or (row.kind is MessageKind.TEXT and not kept.messages):
            kept.first_line, kept.first_ms = row.body[:REQUEST_LINE_CHARS], kept.first_ms or row.stored_ms
        kept.messages += row.kind is MessageKind.TEXT
        kept.offers += row.kind is MessageKind.FILE
        kept.bytes += request_bytes(len(row.body.encode()))
        kept.last_ms, kept.last_n = row.stored_ms, row.n
        self._roster.acquaintance(peer).requests += 1
        kept.is_hidden = self.hides(peer)
        self._tell()

    # --- what a registry says, and what a person decides ------------------------------------------

    def list_changed(self, peers: set[PeerID]) -> None:
        """Note who came into the list or left it: a listed key is a person."""
        for peer in self._kept.keys() & peers:
            kept, is_hidden = self._kept[peer], self.hides(peer)
            if kept.is_hidden and not is_hidden:
                self._tasks.spawn(self._show(peer, kept.last_n), "showing what a stranger has sent")
            kept.is_hidden = is_hidden
            self._tell()

    async def accept(self, peer: bytes) -> None:
        """Accept them as a person from now on.  Raises LocalError("no-request") and StoreFailed."""
        known = self._known(peer)
        kept = self._kept[known]
        await self._store.requests.accept(chat_with(known))
        self._roster.acquaintance(known).accepted = True
        self._release(known)
        self._more_waits(known, False)
        if kept.is_hidden:
            await self._show(known, kept.last_n)

    async def refuse(self, peer: bytes) -> None:
        """Delete what is kept of them; they are not told, and may come again.

        Raises LocalError("no-request") and StoreFailed.
        """
        known = self._known(peer)
        await self._delete({known: self._ledger.held(known)})

    async def clear(self) -> None:
        """Refuse all requests.  Raises StoreFailed."""
        stored = await self._store.requests.peers() if self._ledger.held(b"") else []
        gone = {peer for peer in stored if peer not in self._kept and self.hides(peer)}
        gone |= {peer for peer, kept in self._kept.items() if self._is_request(peer, kept)}
        await self._delete({peer: self._ledger.held(peer) for peer in gone})
        self._ledger.release(b"")

    def settled(self, peer: PeerID) -> None:
        """Show what is kept of them, because a person here wrote to them or took something of theirs.

        The store knows of it.
        """
        kept = self._kept.get(peer)
        self._release(peer)
        self._more_waits(peer, False)
        if kept is not None and kept.is_hidden:
            self._tasks.spawn(self._show(peer, kept.last_n), "showing what a stranger has sent")

    def replaced(self, peer: PeerID) -> None:
        """Forget the request of a key for which another one was taken.

        What was kept of it is in the chat with that one.
        """
        self._release(peer)

    def blocked(self, peer: PeerID) -> None:
        """Forget the request of somebody whom a person here blocked; what was kept of it was deleted with that."""
        was_hidden = peer in self._kept and self._kept[peer].is_hidden
        self._release(peer)
        if was_hidden:
            self._owner.request_unwanted(peer)
            self._owner.request_deleted(peer)

    def unblocked(self, row: StoredRequest) -> None:
        """Take up what is kept of a requester who is blocked no more: that is a request again."""
        if row.peer not in self._kept:
            self._take_up(row, self.hides(row.peer))
        self._tell()

    async def _delete(self, held: dict[PeerID, set[bytes]]) -> None:
        for peer in held:
            self._owner.request_unwanted(peer)
        await self._store.requests.delete(held)
        for peer, ids in held.items():
            source = self.source(peer)
            self._release(peer, ids)
            if self._ledger.held(peer) and source is not None:  # something came meanwhile
                self._kept[peer] = _Kept(source, is_hidden=self.hides(peer))
            self._owner.request_deleted(peer)

    def _release(self, peer: PeerID, ids: set[bytes] | None = None) -> None:
        self._ledger.release(peer, ids)
        if self._kept.pop(peer, None) is not None:
            self._roster.acquaintance(peer).requests = 0
            self._tell()

    async def _show(self, peer: PeerID, last_n: int) -> None:
        """Tell what came up to row ``last_n``; what comes behind it is told as that of a person."""
        rows, _ = await self._store.messages.history(chat_with(peer), None, HISTORY_PAGE)
        self._owner.request_shown(peer, [row for row in rows if row.sender == peer and row.n <= last_n])
        # What came meanwhile was counted twice.
        self._people.tell(peer, unread=await self._store.conversations.mark_read(self._people.me, chat_with(peer), 0))

    def _known(self, peer: bytes) -> PeerID:
        known = PeerID(peer)
        if known not in self._kept:
            raise LocalError("no-request", f"There is no request of {short_text(known)}.")
        return known

    def _is_request(self, peer: PeerID, kept: _Kept) -> bool:
        return bool(kept.messages + kept.offers) and self.hides(peer) and peer not in self._roster.blocked

    def _tell(self) -> None:
        """Tell how the requests are now, soon, once for all that changes until then."""
        if self._telling is None and not self._stopped:
            self._telling = self._clock.callLater(0, self._tell_now)

    def _tell_now(self) -> None:
        self._telling = None
        self._emit(RequestsChanged(self.all()))


def _request(peer: PeerID, kept: _Kept) -> Request:
    return Request(
        peer,
        grouped_text(peer),
        safe_line(kept.source.name),
        kept.messages,
        kept.offers,
        kept.bytes,
        safe_line(kept.first_line, REQUEST_LINE_CHARS),
        kept.first_ms,
        kept.last_ms,
        kept.more,
    )
