"""Turns rows of the store into the messages and events that clients see."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from chatnet.core.errors import StoreFailed
from chatnet.core.events import (
    ChatMessage,
    ChatMoved,
    HistoryPage,
    MessageAdded,
    MessageChanged,
    MessageKind,
    MessageState,
    Transfer,
    TransferChanged,
    TransferState,
)
from chatnet.core.identity import ChatID, PeerID, chat_with, conversation_of, person_in
from chatnet.core.text import SafeText, safe_line, safe_text
from chatnet.host.event_feed import Emitted
from chatnet.net.background import BackgroundTasks
from chatnet.peer.directory.people import People
from chatnet.peer.messages.requests import Requests
from chatnet.peer.store.file_rows import file_row_state
from chatnet.peer.store.history_rows import NewMessage, StoredMessage
from chatnet.peer.store.peer_store import PeerStore


class Conversations:
    """Reads chats, and emits an event for each new or changed row that outbox and inbox report.

    Rows of requests are told by ``requests`` alone.
    """

    log = Logger("chatnet.conversations")

    def __init__(
        self,
        people: People,
        store: PeerStore,
        requests: Requests,
        read_n: dict[ChatID, int],
        emit: Callable[[Emitted], None],
    ) -> None:
        self._people = people
        self._store = store
        self._requests = requests
        self._read_n = read_n
        self._emit = emit
        self._moving: dict[ChatID, ChatID] = {}  # chats of which the store still moves rows into another
        self._sent: set[int] = set()  # rows under way: shown as sent, and stored as waiting
        self._tasks = BackgroundTasks(self.log)

    def stop(self) -> None:
        """Stop: nothing of ours is under way afterwards."""
        self._tasks.stop()

    # --- reading ------------------------------------------------------------------------------

    async def history(self, chat: ChatID, before: int | None, limit: int, after: int | None) -> HistoryPage:
        rows, more = await self._store.messages.history_to_show(chat, before, after, limit)
        return HistoryPage(tuple(self.shown(row, text) for row, text in rows), more, self._read_n.get(chat, 0))

    async def mark_read(self, chat: ChatID, n: int) -> None:
        self._read_n[chat] = max(self._read_n.get(chat, 0), n)
        self._people.tell(person_in(chat), unread=await self._store.conversations.mark_read(self._people.me, chat, n))

    def moved(self, former: ChatID, chat: ChatID, read_n: int) -> None:
        """Note that all of one chat is in another one now, which was read up to row ``read_n``.

        Until ``all_moved`` rows of the former chat may come that are to be in the other one, too.
        """
        self._moving[former] = chat
        self._read_n.pop(former, None)
        self._read_n[chat] = read_n
        self._emit(ChatMoved(former, chat))

    def all_moved(self, former: ChatID) -> None:
        """Note that a row of ``former`` that comes from now on is of that chat."""
        self._moving.pop(former, None)

    # --- rows ---------------------------------------------------------------------------------

    def shown(self, row: StoredMessage, text: SafeText | None = None) -> ChatMessage:
        """Return a row as the screen may have it, with ``text`` if that was cleaned already.

        The store keeps the original.
        """
        return ChatMessage(
            n=row.n,
            chat=row.chat,
            sender=row.sender,
            kind=row.kind,
            id=row.id,
            mine=row.sender == self._people.me,
            sent_ms=row.sent_ms,
            stored_ms=row.stored_ms,
            body=safe_text(row.body) if text is None else text,
            state=MessageState.SENT if row.n in self._sent else row.state,
            reason=safe_line(row.reason),
        )

    def added(self, row: StoredMessage) -> None:
        row = row._replace(chat=self._moving.get(row.chat, row.chat))
        theirs = row.sender != self._people.me
        if theirs:
            self._requests.stored(row)
        if not theirs or not self._requests.hides(person_in(row.chat)):
            self.show(row)

    def show(self, row: StoredMessage) -> None:
        """Tell of a row that nobody was told of yet."""
        if row.sender != self._people.me:
            peer = person_in(row.chat)
            about = self._people.roster.acquaintance(peer)
            if not about.talked or not self._people.roster.is_pinned(peer):
                self._people.pin_on_first_contact(peer)
            self._people.tell(peer, unread=about.unread + 1)
        self._emit(lambda: MessageAdded(self.shown(row)))

    def changed(self, chat: ChatID, n: int, state: MessageState, reason: str) -> None:
        if state is MessageState.SENT:
            self._sent.add(n)
        else:
            self._sent.discard(n)
        if not self._requests.hides(person_in(chat)):
            self._emit(MessageChanged(chat, n, state, safe_line(reason)))

    # --- files --------------------------------------------------------------------------------

    def transfer_changed(self, transfer: Transfer) -> None:
        """Keep the row that the offer has in its chat up to date: whether it waits here, and how it ended."""
        peer = PeerID(transfer.peer)
        if not self._requests.hides(peer):
            self._emit(TransferChanged(transfer))
        if transfer.state is (TransferState.WAITING if transfer.outgoing else TransferState.OFFERED):
            self._tasks.spawn(self._keep_file_row(peer, transfer), "storing the row of a transfer")
        elif transfer.state is TransferState.OFFERED:
            self._tasks.spawn(self._set_file_row(transfer, MessageState.SENT, ""), "storing that an offer is made")
        elif transfer.state.ended:
            self._tasks.spawn(self._end_file_row(transfer), "storing the end of a transfer")

    async def _keep_file_row(self, peer: PeerID, transfer: Transfer) -> None:
        if not self._requests.hides(peer):
            self._people.pin_on_first_contact(peer)
        me = self._people.me
        sender, state = (me, MessageState.WAITING) if transfer.outgoing else (peer, MessageState.RECEIVED)
        conversation, chat, now = conversation_of(me, peer), chat_with(peer), transfer.offered_ms
        offer = NewMessage(conversation, chat, sender, transfer.fid, MessageKind.FILE, now, now, transfer.title, state)
        source = None if transfer.outgoing else self._requests.source(peer)
        row = await self._store.messages.add_file_row(offer, source)
        if row is not None:
            self.added(row)

    def offer_turned_down(self, peer: PeerID, fid: bytes, title: str, reason: str, now_ms: int) -> None:
        """Store a row about an offer that nobody was asked about; it says why, and counts as read."""
        self._tasks.spawn(self._keep_refused_row(peer, fid, title, reason, now_ms), "storing a refused offer")

    async def _keep_refused_row(self, peer: PeerID, fid: bytes, title: str, reason: str, now_ms: int) -> None:
        self._people.pin_on_first_contact(peer)
        conversation, chat = conversation_of(self._people.me, peer), chat_with(peer)
        about = (MessageKind.FILE, now_ms, now_ms, title, MessageState.REFUSED)
        offer = NewMessage(conversation, chat, peer, fid, *about)
        try:
            row = await self._store.messages.add_refused_offer(offer, reason, self._requests.source(peer))
        except StoreFailed:
            row = None
        if row is None:
            self._requests.give_back(peer, fid)
            return
        self._requests.stored(row)
        self._emit(lambda: MessageAdded(self.shown(row)))

    async def _end_file_row(self, transfer: Transfer) -> None:
        about = (transfer.outgoing, transfer.state, transfer.reason, transfer.saved_to)
        await self._set_file_row(transfer, *file_row_state(*about))

    async def _set_file_row(self, transfer: Transfer, state: MessageState, reason: str) -> None:
        row = await self._store.messages.set_file_state(transfer.fid, state, reason)
        if row is not None:
            self.changed(row.chat, row.n, row.state, row.reason)
