"""Messages on their way out: stored, then shown, then sent; delivered when the other side has stored them.

Each person has a queue in the store, addressed to the key.  At most ``send_window`` messages are
under way to one person; a link that is lost puts them back.  The wire is at-least-once, the
history exactly once, since a message is unique by (conversation, sender, id).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core import messages
from chatnet.core.backoff import Uniform, obeyed, online_wait, peer_wait
from chatnet.core.directory.roster import Roster
from chatnet.core.errors import ChatnetError, Refused, StoreFailed
from chatnet.core.events import MessageKind, MessageState
from chatnet.core.framing import frame
from chatnet.core.identity import ChatID, PeerID, chat_with, conversation_of, person_in
from chatnet.core.limits import READY_ROWS, WRITE_CHUNK_BYTES, PeerLimits
from chatnet.core.messages import Ack, Nack, Say
from chatnet.net.background import BackgroundTasks
from chatnet.net.link import Link, LinkEnd
from chatnet.net.timers import cancel_timer
from chatnet.peer.links.chat_links import ChatLinks
from chatnet.peer.messages.inbox import Inbox
from chatnet.peer.store.history_rows import NewMessage, StoredMessage
from chatnet.peer.store.peer_store import PeerStore


class _Outbound:
    """What goes to one person."""

    def __init__(self, conversation: bytes, id_prefix: bytes) -> None:
        self.conversation = conversation
        self._id_prefix = id_prefix
        self._ids = 0
        self.sent: dict[bytes, StoredMessage] = {}  # on the link, not acknowledged
        self.ready: deque[StoredMessage] = deque()  # the next ones in their order
        self.upto_n = 0  # rows up to here were sent on this link, or are ready
        self.more = True  # the store may have rows behind ``upto_n``
        self.reading = False
        self.failures = 0
        self.retry: IDelayedCall | None = None
        self.dialling = False

    def new_id(self) -> bytes:
        """Rising, so that the databases on both sides put neighbours next to each other: half the writing."""
        self._ids += 1
        return self._id_prefix + self._ids.to_bytes(8, "big")

    def add(self, row: StoredMessage) -> None:
        """A row just stored; with too many, or some unread before it, the store keeps it for later."""
        if self.more or self.reading or len(self.ready) >= READY_ROWS:
            self.more = True
        else:
            self.ready.append(row)
            self.upto_n = row.n

    def reread(self, upto_n: int = 0) -> None:
        """Begin again behind row ``upto_n``, from the store."""
        self.ready.clear()
        self.upto_n, self.more = min(self.upto_n, upto_n), True


class Outbox:
    """See the module.  The owner hears of every row that came or changed."""

    log = Logger("chatnet.outbox")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        store: PeerStore,
        roster: Roster,
        links: ChatLinks,
        *,
        added: Callable[[StoredMessage], None],
        changed: Callable[[ChatID, int, MessageState, str], None],
        waiting: Callable[[PeerID, int], None],
        undialled: Callable[[PeerID, ChatnetError], None],
        store_failed: Callable[[StoreFailed], None],
        random_bytes: Callable[[int], bytes],
        uniform: Uniform,
        wall_ms: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._store = store
        self._roster = roster
        self._links = links
        self._added = added
        self._changed = changed
        self._waiting = waiting
        self._undialled = undialled
        self._store_failed = store_failed
        self._random_bytes = random_bytes
        self._uniform = uniform
        self._wall_ms = wall_ms
        self._outbound: dict[PeerID, _Outbound] = {}
        self._inbox = Inbox(
            clock, limits, store, roster, added=added, not_stored=self._on_store_failure, wall_ms=wall_ms
        )
        self._to_wake: dict[PeerID, None] = {}
        self._waking: IDelayedCall | None = None
        self._stopped = False
        self._tasks = BackgroundTasks(self.log)
        self._store_works = True

    def stop(self) -> None:
        """No timer of ours is left; what waits is in the store."""
        self._stopped = True
        cancel_timer(self._waking)
        for out in self._outbound.values():
            cancel_timer(out.retry)
        self._inbox.stop()
        self._tasks.stop()

    # --- out ----------------------------------------------------------------------------------

    def say(self, peer: PeerID, body: str) -> Deferred[StoredMessage]:
        """Store a message and let it go; the row as it was stored.  Fails with StoreFailed."""
        held, now, out = self._roster.new_key(peer) is not None, self._wall_ms(), self._out(peer)
        state = MessageState.HELD if held else MessageState.WAITING
        message = NewMessage(
            out.conversation, chat_with(peer), self._roster.me, out.new_id(), MessageKind.TEXT, now, now, body, state
        )
        return self._store.messages.add_outgoing(message).addCallback(self._said)

    def _said(self, row: StoredMessage) -> StoredMessage:
        peer = person_in(row.chat)
        self._roster.acquaintance(peer).written_to = True
        self._added(row)
        self._waiting(peer, 1)
        if row.state is MessageState.HELD:  # whose it will be is not decided: not to be read ahead
            self._out(peer).more = True
        else:
            self._out(peer).add(row)
        if not self._to_wake and not self._stopped:  # what one commit brought leaves together
            self._waking = self._clock.callLater(0, self._wake_all)
        self._to_wake[peer] = None
        return row

    def _wake_all(self) -> None:
        peers, self._to_wake = self._to_wake, {}
        for peer in peers:
            self.wake(peer)

    async def resend(self, peer: PeerID, n: int) -> StoredMessage | None:
        """A message that failed waits again; None when row ``n`` is none.  Raises StoreFailed."""
        held = self._roster.new_key(peer) is not None
        state = MessageState.HELD if held else MessageState.WAITING
        row = await self._store.messages.resend(chat_with(peer), n, state, self._wall_ms())
        if row is not None:
            self._changed(chat_with(peer), n, state, "")
            self._waiting(peer, 1)
            out = self._out(peer)
            out.reread(n - 1)
            self.wake(peer)
        return row

    async def release(self, peer: PeerID) -> None:
        """What was held for ``peer`` goes like the rest, unless there is a new key again.  Raises StoreFailed."""
        if self._roster.new_key(peer) is None:
            for row in await self._store.messages.release(peer):
                self._changed(chat_with(peer), row.n, row.state, row.reason)
            self.wake(peer)

    def rival_gone(self, peer: PeerID) -> None:
        """No other key is listed under this pinned person's name any more."""
        if self._roster.waiting(peer):
            self._tasks.spawn(self.release(peer), "releasing held messages")

    def reread(self, peer: PeerID) -> None:
        """What waits for ``peer`` in the store is not what it was: nothing that was read ahead is sent."""
        if peer in self._outbound:
            self._outbound[peer].reread()

    def under_way(self) -> set[int]:
        """Rows that were sent and not yet acknowledged."""
        return {row.n for out in self._outbound.values() for row in out.sent.values()}

    def store_changed(self, ok: bool) -> None:
        """While the disk takes nothing, nothing goes out: what is delivered then could not be noted."""
        self._store_works = ok
        if ok:
            for peer, out in list(self._outbound.items()):
                out.reread()
                self.wake(peer)

    def state_of(self, row: StoredMessage) -> MessageState:
        """The state to show: what is under way is known only here."""
        out = self._outbound.get(person_in(row.chat))
        return MessageState.SENT if out is not None and row.id in out.sent else row.state

    def wake(self, peer: PeerID) -> None:
        """Something waits for ``peer``, or may go again: send it, dialling if there is no link."""
        if self._stopped or not self._store_works or self._roster.new_key(peer) is not None:
            return
        if self._links.open_link(peer) is not None:
            self._pump(peer)
        else:
            self._dial(peer)

    def came_online(self, peer: PeerID) -> None:
        """The registry says that ``peer`` is back: one early try."""
        out = self._out(peer)
        out.failures = 0
        self._retry_in(peer, online_wait(len(self._roster.listed), self._uniform))

    def _pump(self, peer: PeerID) -> None:
        """Send what may go now, and read on if the store has more."""
        out = self._out(peer)
        self._send_ready(peer, out)
        if out.more and not out.reading and self._may_send(peer, out) is not None:
            out.reading = True
            self._tasks.spawn(self._read_and_send(peer, out), "reading the outbox")

    def _may_send(self, peer: PeerID, out: _Outbound) -> Link | None:
        """The link that takes more to ``peer`` now."""
        link = self._links.open_link(peer)
        if self._stopped or not self._store_works or link is None or link.congested:
            return None
        if len(out.sent) >= self._limits.send_window or self._roster.new_key(peer) is not None:
            return None
        return link

    def _send_ready(self, peer: PeerID, out: _Outbound) -> None:
        """Small messages leave together: one write, one TLS record for many."""
        while out.ready and (link := self._may_send(peer, out)) is not None:
            rows: list[StoredMessage] = []
            frames: list[bytes] = []
            size = 0
            room = self._limits.send_window - len(out.sent)
            while out.ready and len(rows) < room and size < WRITE_CHUNK_BYTES:
                row = out.ready.popleft()
                if row.id not in out.sent:  # a resend reads again what is under way
                    frames.append(frame(messages.encode(Say(row.conversation, row.id, row.sent_ms, row.body))))
                    size += len(frames[-1])
                    rows.append(row)
                    out.sent[row.id] = row
            link.send_frames(b"".join(frames))
            for row in rows:
                if row.id in out.sent:  # the link may have died of it
                    self._changed(row.chat, row.n, MessageState.SENT, "")

    async def _read_and_send(self, peer: PeerID, out: _Outbound) -> None:
        try:
            while out.more and self._may_send(peer, out) is not None:
                out.more = False
                after = out.upto_n
                rows = await self._store.messages.outbox(peer, after, READY_ROWS)
                if self._outbound.get(peer) is not out:  # the link is gone, and nothing waited
                    return
                if out.upto_n != after:  # begun again meanwhile
                    continue
                out.ready.extend(rows)
                out.upto_n = rows[-1].n if rows else after
                out.more = out.more or len(rows) == READY_ROWS
                self._send_ready(peer, out)
        except StoreFailed as error:
            out.more = True
            self._store_failed(error)
            self._retry_in(peer, peer_wait(out.failures, self._limits.retry_cap_seconds, self._uniform))
        finally:
            out.reading = False

    # --- dialling for what waits ----------------------------------------------------------------

    def _dial(self, peer: PeerID) -> None:
        out = self._out(peer)
        if out.dialling or self._roster.acquaintance(peer).waiting <= 0:
            return
        cancel_timer(out.retry)
        out.retry = None
        out.dialling = True
        self._links.link_to(peer).addCallbacks(self._dialled, self._not_dialled, (peer, out), {}, (peer, out), {})

    def _dialled(self, link: Link, peer: PeerID, out: _Outbound) -> None:
        out.dialling = False
        out.failures = 0

    def _not_dialled(self, failure: Failure, peer: PeerID, out: _Outbound) -> None:
        out.dialling = False
        if self._stopped or self._links.open_link(peer) is not None:
            return
        error = failure.value
        if not isinstance(error, ChatnetError):
            self.log.failure("internal error while dialling", failure)
            return
        out.failures += 1
        wait = peer_wait(out.failures, self._limits.retry_cap_seconds, self._uniform)
        asked = error.retry_after_s if isinstance(error, Refused) else 0
        self._retry_in(peer, max(wait, obeyed(asked, self._uniform)))
        self._undialled(peer, error)

    def _retry_in(self, peer: PeerID, seconds: float) -> None:
        out = self._out(peer)
        cancel_timer(out.retry)
        if not self._stopped and self._roster.acquaintance(peer).waiting > 0:
            out.retry = self._clock.callLater(seconds, self.wake, peer)

    # --- links --------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        out = self._out(link.peer)
        out.failures = 0
        cancel_timer(out.retry)
        out.retry = None
        self._put_back(link.peer, out)
        self._inbox.link_up(link)
        link.on_drained(lambda: self._pump(link.peer))
        self._pump(link.peer)

    def link_down(self, link: Link, end: LinkEnd) -> None:
        self._inbox.link_down(link)
        out = self._out(link.peer)
        self._put_back(link.peer, out)
        if not self._roster.waiting(link.peer):
            cancel_timer(out.retry)
            del self._outbound[link.peer]  # of strangers nothing is kept
            return
        if end.code not in (messages.REPLACED, messages.NOT_EXPECTED):
            wait = peer_wait(out.failures, self._limits.retry_cap_seconds, self._uniform)
            self._retry_in(link.peer, max(wait, obeyed(end.retry_after_s, self._uniform)))

    def _put_back(self, peer: PeerID, out: _Outbound) -> None:
        """What was under way waits again."""
        back, out.sent = out.sent, {}
        out.reread()
        for row in back.values():
            self._changed(chat_with(peer), row.n, MessageState.WAITING, "")

    # --- what comes over a link -----------------------------------------------------------------

    def received(self, link: Link, message: Say | Ack | Nack) -> None:
        if isinstance(message, Say):
            self._inbox.take(link, message)
        elif isinstance(message, Ack):
            self._acknowledged(link.peer, message.ids)
        else:
            self._not_taken(link.peer, message)

    def _acknowledged(self, peer: PeerID, ids: list[bytes]) -> None:
        out = self._out(peer)
        awaited = [id for id in ids if out.sent.pop(id, None) is not None]
        if not awaited:  # nothing of ours on this link: no work for the disk
            return
        self._store.messages.delivered(peer, awaited).addCallbacks(self._delivered, self._on_store_failure, (peer,))
        self._pump(peer)

    def _delivered(self, rows: list[int], peer: PeerID) -> None:
        self._waiting(peer, -len(rows))
        for n in rows:
            self._changed(chat_with(peer), n, MessageState.DELIVERED, "")

    def _not_taken(self, peer: PeerID, nack: Nack) -> None:
        if self._out(peer).sent.pop(nack.id, None) is None:
            return
        reason = f"{self._roster.name_of(peer)} did not take it."
        refusing = self._store.messages.refused(peer, nack.id, reason)

        def refused(row: StoredMessage | None) -> None:
            if row is not None:
                self._waiting(peer, -1)
                self._changed(chat_with(peer), row.n, MessageState.REFUSED, reason)

        refusing.addCallbacks(refused, self._on_store_failure)
        self._pump(peer)

    def _on_store_failure(self, failure: Failure) -> None:
        if isinstance(failure.value, StoreFailed):
            self._store_failed(failure.value)
        else:
            self.log.failure("internal error while storing", failure)

    def _out(self, peer: PeerID) -> _Outbound:
        found = self._outbound.get(peer)
        if found is None:
            found = self._outbound[peer] = _Outbound(conversation_of(self._roster.me, peer), self._random_bytes(8))
        return found
