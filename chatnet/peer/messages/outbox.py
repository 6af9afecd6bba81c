"""Outgoing messages: stored, then shown, then sent; delivered when the other side has stored them.

Each person has a queue in the store, addressed to the key.  What goes out when is decided by one machine
a person (``core.delivery``); this module carries out its effects on the link, the store and the screen.
Who is dialled for what waits is the business of ``Contacts``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core import messages
from chatnet.core.delivery import (
    Await,
    Contact,
    Effect,
    MarkDelivered,
    MarkRefused,
    Outgoing,
    Read,
    ReadLater,
    Send,
    TellSent,
    TellWaiting,
)
from chatnet.core.errors import StoreFailed
from chatnet.core.events import MessageKind, MessageState
from chatnet.core.framing import frame
from chatnet.core.identity import PeerID, chat_with, conversation_of, person_in
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import Ack, Nack, Say
from chatnet.net.background import BackgroundTasks
from chatnet.net.link import Link, LinkEnd
from chatnet.net.timers import cancel_timer
from chatnet.peer.directory.people import People
from chatnet.peer.links.chat_links import ChatLinks
from chatnet.peer.links.contacts import Contacts
from chatnet.peer.messages.row_listener import RowListener
from chatnet.peer.store.history_rows import NewMessage, StoredMessage
from chatnet.peer.store.peer_store import PeerStore


class _Outbound:
    """The outgoing messages to one person."""

    def __init__(self, conversation: bytes, id_prefix: bytes, window: int) -> None:
        self.conversation = conversation
        self.machine: Outgoing[StoredMessage] = Outgoing(window)
        self.held = False  # what the machine was told about a new key
        self.stored: list[StoredMessage] = []  # in this turn of the reactor
        self.inputs: deque[Callable[[], list[Effect[StoredMessage]]]] = deque()
        self.is_fed = False
        self.timer: IDelayedCall | None = None
        self._id_prefix = id_prefix
        self._ids = 0

    def new_id(self) -> bytes:
        """Return a new id. Ids rise, so that both databases put neighbours next to each other: half the writing."""
        self._ids += 1
        return self._id_prefix + self._ids.to_bytes(8, "big")


class Outbox:
    """Stores and sends the messages of people here.  A ``Waiter`` of ``Contacts``.

    rows: hears of every row that came or changed.
    waiting_ms: the waiting clock, by which messages expire.
    """

    log = Logger("chatnet.outbox")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        store: PeerStore,
        people: People,
        links: ChatLinks,
        contacts: Contacts,
        rows: RowListener,
        *,
        random_bytes: Callable[[int], bytes],
        wall_ms: Callable[[], int],
        waiting_ms: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._store = store
        self._people = people
        self._roster = people.roster
        self._links = links
        self._contacts = contacts
        self._rows = rows
        self._random_bytes = random_bytes
        self._wall_ms = wall_ms
        self._waiting_ms = waiting_ms
        self._outbound: dict[PeerID, _Outbound] = {}
        self._undecided: dict[PeerID, list[tuple[str, Deferred[StoredMessage]]]] = {}  # see hold_back
        self._stored_for: list[PeerID] = []  # in this turn of the reactor
        self._storing: IDelayedCall | None = None
        self._tasks = BackgroundTasks(self.log)
        self._stopped = False
        self._store_works = True

    def stop(self) -> None:
        """Stop: no timer of ours is left; what waits is in the store."""
        self._stopped = True
        self._tasks.stop()
        cancel_timer(self._storing)
        for out in self._outbound.values():
            cancel_timer(out.timer)
            out.machine.stop()

    # --- messages that a person wrote -----------------------------------------------------------

    def say(self, peer: PeerID, body: str) -> Deferred[StoredMessage]:
        """Store a message and let it go; return its row as it was stored.  Fails with StoreFailed."""
        if peer in self._undecided:
            stored: Deferred[StoredMessage] = Deferred()
            self._undecided[peer].append((body, stored))
            return stored
        held, now, out = self._roster.new_key(peer) is not None, self._wall_ms(), self._out(peer)
        state = MessageState.HELD if held else MessageState.WAITING
        message = NewMessage(
            out.conversation, chat_with(peer), self._roster.me, out.new_id(), MessageKind.TEXT, now, now, body, state
        )
        return self._store.messages.add_outgoing(message, self._waiting_ms()).addCallback(self._said)

    def hold_back(self, peer: PeerID) -> None:
        """Hold back what is written to the person until ``let_go``, because another key is being taken for this one."""
        self._undecided.setdefault(peer, [])

    def let_go(self, peer: PeerID, to: PeerID) -> None:
        """Send what was held back for ``peer`` to ``to``."""
        for body, stored in self._undecided.pop(peer, []):
            self.say(to, body).chainDeferred(stored)

    def _said(self, row: StoredMessage) -> StoredMessage:
        peer = person_in(row.chat)
        self._roster.acquaintance(peer).written_to = True
        self._rows.added(row)
        self._people.waiting_changed(peer, 1)
        if not self._stored_for and not self._stopped:  # what one commit brought leaves together
            self._storing = self._clock.callLater(0, self._take_stored)
        stored = self._out(peer).stored
        if not stored:
            self._stored_for.append(peer)
        stored.append(row)
        return row

    def _take_stored(self) -> None:
        peers, self._stored_for = self._stored_for, []
        for peer in peers:
            out = self._out(peer)
            rows, out.stored = out.stored, []
            self._feed(peer, out, lambda out=out, rows=rows: out.machine.stored(rows))  # type: ignore[misc]

    async def resend(self, peer: PeerID, n: int) -> StoredMessage | None:
        """Let a message that failed wait again, and return its row; None when row ``n`` is none.

        Raises StoreFailed.
        """
        held = self._roster.new_key(peer) is not None
        state = MessageState.HELD if held else MessageState.WAITING
        row = await self._store.messages.resend(self._roster.me, chat_with(peer), n, state, self._waiting_ms())
        if row is not None:
            self._rows.changed(row.chat, n, state, "")
            self._people.waiting_changed(peer, 1)
            out = self._out(peer)
            self._feed(peer, out, lambda: out.machine.resent(n))
        return row

    async def release(self, peer: PeerID) -> None:
        """Release what was held for ``peer``, unless there is a new key again.  Raises StoreFailed."""
        if self._roster.new_key(peer) is None:
            for row in await self._store.messages.release(peer):
                self._rows.changed(row.chat, row.n, row.state, row.reason)
            self.changed(peer)

    def rival_gone(self, peer: PeerID) -> None:
        """Release what was held, because no other key is listed under this pinned person's name any more."""
        if self._roster.waiting(peer):
            self._tasks.spawn(self.release(peer), "releasing what was held")

    def changed(self, peer: PeerID) -> None:
        """Note that what waits for ``peer`` in the store has changed: nothing that was read ahead is sent."""
        out = self._out(peer)
        self._feed(peer, out, out.machine.changed)

    def under_way(self) -> set[int]:
        """Return the numbers of rows that were sent and not yet acknowledged."""
        return {row.n for out in self._outbound.values() for row in out.machine.under_way.values()}

    def store_changed(self, ok: bool) -> None:
        """Stop sending while the disk takes nothing: what is delivered then could not be noted."""
        self._store_works = ok
        for peer, out in list(self._outbound.items()):
            self._feed(peer, out, lambda out=out: out.machine.store_works(ok))  # type: ignore[misc]

    # --- Waiter -----------------------------------------------------------------------------------

    def waits_for(self, peer: PeerID) -> bool:
        """Whether messages to ``peer`` may go and have not gone."""
        return (
            not self._stopped
            and self._store_works
            and self._roster.waiting(peer) > 0
            and self._roster.new_key(peer) is None
        )

    def link_up(self, link: Link) -> None:
        out = self._out(link.peer)
        link.on_drained(lambda: self._feed(link.peer, out, out.machine.written))
        self._feed(link.peer, out, out.machine.link_up)

    def link_down(self, link: Link, end: LinkEnd) -> None:
        out = self._out(link.peer)
        self._feed(link.peer, out, out.machine.link_down)
        if not self._roster.waiting(link.peer):
            cancel_timer(out.timer)
            del self._outbound[link.peer]  # of strangers nothing is kept

    # --- what comes over a link -----------------------------------------------------------------

    def ack(self, link: Link, ack: Ack) -> None:
        """Note that the other side has stored messages of ours."""
        out = self._out(link.peer)
        self._feed(link.peer, out, lambda: out.machine.acknowledged(ack.ids))

    def nack(self, link: Link, nack: Nack) -> None:
        """Note that the other side will not store a message of ours."""
        out = self._out(link.peer)
        self._feed(link.peer, out, lambda: out.machine.refused(nack.id, nack.code))

    # --- the machine at work ----------------------------------------------------------------------

    def _feed(self, peer: PeerID, out: _Outbound, event: Callable[[], list[Effect[StoredMessage]]]) -> None:
        """Give the machine an input and carry its effects out; inputs that these cause come after them."""
        held = self._roster.new_key(peer) is not None
        if held is not out.held:
            out.held = held
            out.inputs.append(lambda: out.machine.key_held(held))
        out.inputs.append(event)
        if out.is_fed:
            return
        out.is_fed = True
        try:
            while out.inputs:
                for effect in out.inputs.popleft()():
                    _EFFECTS[type(effect)](self, peer, out, effect)
        finally:
            out.is_fed = False

    def _send(self, peer: PeerID, out: _Outbound, effect: Send[StoredMessage]) -> None:
        link = self._links.open_link(peer)
        if link is None:  # it is closing: its end puts these back, and decides when to dial again
            return
        link.send_frames(
            b"".join(
                [frame(messages.encode(Say(row.conversation, row.id, row.sent_ms, row.body))) for row in effect.rows]
            )
        )
        out.inputs.append(out.machine.congested if link.congested else out.machine.written)

    def _read(self, peer: PeerID, out: _Outbound, effect: Read) -> None:
        reading = self._store.messages.outbox(peer, effect.after_n, effect.limit)

        def read(rows: list[StoredMessage]) -> None:
            if self._outbound.get(peer) is out:  # else the link is gone, and nothing waited
                self._feed(peer, out, lambda: out.machine.rows_read(effect.after_n, rows))

        def failed(failure: Failure) -> None:
            self._on_failure(failure)
            if self._outbound.get(peer) is out:
                self._feed(peer, out, out.machine.read_failed)

        reading.addCallbacks(read, failed).addErrback(self._on_failure)

    def _read_later(self, peer: PeerID, out: _Outbound, effect: ReadLater) -> None:
        cancel_timer(out.timer)
        if not self._stopped:
            seconds = self._limits.store_retry_seconds
            out.timer = self._clock.callLater(seconds, self._feed, peer, out, out.machine.timer)

    def _contact(self, peer: PeerID, out: _Outbound, effect: Contact) -> None:
        self._contacts.wake(peer)

    def _await(self, peer: PeerID, out: _Outbound, effect: Await) -> None:
        link = self._links.open_link(peer)
        if link is not None:
            link.await_answer(effect.something)

    def _tell_sent(self, peer: PeerID, out: _Outbound, effect: TellSent[StoredMessage]) -> None:
        self._tell(effect.rows, MessageState.SENT)

    def _tell_waiting(self, peer: PeerID, out: _Outbound, effect: TellWaiting[StoredMessage]) -> None:
        self._tell(effect.rows, MessageState.WAITING)

    def _tell(self, rows: Sequence[StoredMessage], state: MessageState) -> None:
        for row in rows:
            self._rows.changed(row.chat, row.n, state, "")

    def _mark_delivered(self, peer: PeerID, out: _Outbound, effect: MarkDelivered) -> None:
        def delivered(rows: list[int]) -> None:
            self._people.waiting_changed(peer, -len(rows))
            chat = chat_with(peer)
            for n in rows:
                self._rows.changed(chat, n, MessageState.DELIVERED, "")

        self._store.messages.delivered(peer, effect.ids).addCallback(delivered).addErrback(self._on_failure)

    def _mark_refused(self, peer: PeerID, out: _Outbound, effect: MarkRefused) -> None:
        reason = f"{self._roster.name_of(peer)} did not take it."

        def refused(row: StoredMessage | None) -> None:
            if row is not None:
                self._people.waiting_changed(peer, -1)
                self._rows.changed(row.chat, row.n, MessageState.REFUSED, reason)

        self._store.messages.refused(peer, effect.id, reason).addCallback(refused).addErrback(self._on_failure)

    def _on_failure(self, failure: Failure) -> None:
        if isinstance(failure.value, StoreFailed):
            self.log.info("not stored: {text}", text=failure.value.text)
        else:
            self.log.failure("internal error while sending a message", failure)

    def _out(self, peer: PeerID) -> _Outbound:
        found = self._outbound.get(peer)
        if found is None:
            conversation = conversation_of(self._roster.me, peer)
            found = _Outbound(conversation, self._random_bytes(8), self._limits.send_window)
            self._outbound[peer] = found
            found.machine.store_works(self._store_works)
        return found


_EFFECTS: dict[type, Callable[..., None]] = {
    Send: Outbox._send,
    Read: Outbox._read,
    ReadLater: Outbox._read_later,
    Contact: Outbox._contact,
    TellSent: Outbox._tell_sent,
    TellWaiting: Outbox._tell_waiting,
    Await: Outbox._await,
    MarkDelivered: Outbox._mark_delivered,
    MarkRefused: Outbox._mark_refused,
}
