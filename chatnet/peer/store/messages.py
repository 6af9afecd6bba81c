"""Messages: the history of conversations, and what of it still waits for somebody."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

from twisted.internet.defer import Deferred

from chatnet.core.events import MessageKind, MessageState
from chatnet.core.identity import ChatID, PeerID, chat_with
from chatnet.core.limits import HISTORY_PAGE
from chatnet.core.messages import Say
from chatnet.core.text import SafeText, safe_text
from chatnet.host.database import Chain, Connection, Database
from chatnet.peer.store.file_rows import complete_file_rows
from chatnet.peer.store.history_rows import (
    MESSAGE,
    NewMessage,
    StoredMessage,
    add_messages,
    address_to,
    messages_at,
    only,
    present_messages,
    put_out,
    release_held,
    select_messages,
    settle,
)
from chatnet.peer.store.requests import Source, keep_source
from chatnet.peer.store.search_index import SearchIndex

Page = tuple[list[StoredMessage], bool]  # rows, and whether there are more in their direction
ShownRow = tuple[StoredMessage, SafeText]  # a row, and its text as the screen may have it


class Incoming(NamedTuple):
    """The outcome for a message that arrived: ``message`` is the row that stands, also after a conflict."""

    outcome: Literal["stored", "duplicate", "conflict"]
    message: StoredMessage


class MessageRows:
    """Messages in the history and in the outbox.  A part of ``PeerStore``.

    ``search`` is told how many rows are added, so that their words are found.
    """

    def __init__(self, database: Database, search: SearchIndex) -> None:
        self._database = database
        self._search = search

    def add_outgoing(self, message: NewMessage, since_ms: int | None = None) -> Deferred[StoredMessage]:
        """Add a message of ours to the history and to the outbox.  Its id is new.

        ``since_ms``: since when it waits, by the waiting clock; None: since it was stored.
        """
        self._search.count_unindexed(1)
        return self._database.run_together(_add_outgoing, (message, since_ms))

    def add_incoming(
        self,
        peer: PeerID,
        says: Sequence[Say],
        now_ms: int,
        chain: Chain | None = None,
        source: Source | None = None,
    ) -> Deferred[list[Incoming]]:
        """Store what ``peer`` said in one conversation; the first body of an id stays.

        ``chain``: those that keep an order.  ``source``: they are requests of a stranger, who came from there.
        """

        def job(connection: Connection) -> list[Incoming]:
            conversation = says[0].conversation
            present = present_messages(connection, conversation, peer, [say.id for say in says])
            new: dict[bytes, NewMessage] = {}
            for say in says:
                if say.id not in present and say.id not in new:
                    about = (conversation, chat_with(peer), peer, say.id, MessageKind.TEXT)
                    new[say.id] = NewMessage(*about, say.sent_ms, now_ms, say.body, MessageState.RECEIVED)
            added = {row.id: row for row in add_messages(connection, list(new.values()))}
            if added and source is not None:
                keep_source(connection, peer, source)
            present |= added
            # The first of an id takes the row that it has become; whoever comes again finds it there.
            return [
                Incoming("stored", row) if (row := added.pop(say.id, None)) is not None else _again(say, present)
                for say in says
            ]

        self._search.count_unindexed(len(says))
        return self._database.run(job, chain)

    def heard_before(self, peer: PeerID, says: Sequence[Say]) -> Deferred[list[bool]]:
        """Return which of these messages of ``peer``, all of one conversation, are in the history as they are."""

        def job(connection: Connection) -> list[bool]:
            present = present_messages(connection, says[0].conversation, peer, [say.id for say in says])
            return [say.id in present and _again(say, present).outcome == "duplicate" for say in says]

        return self._database.read(job)

    def outbox(self, peer: PeerID, after_n: int, limit: int) -> Deferred[list[StoredMessage]]:
        """Return what ``peer`` has not stored yet, behind row ``after_n``, in rising ``n``."""
        columns = ", ".join(f"history.{column}" for column in MESSAGE.split(", "))

        def job(connection: Connection) -> list[StoredMessage]:
            return select_messages(
                connection,
                f"SELECT {columns} FROM outbox JOIN history USING (n)"
                " WHERE outbox.peer = ? AND outbox.n > ? ORDER BY outbox.n LIMIT ?",
                (peer, after_n, limit),
            )

        return self._database.read(job)

    def waiting(self) -> Deferred[dict[PeerID, int]]:
        """Return how many messages wait for whom."""

        def job(connection: Connection) -> dict[PeerID, int]:
            return {
                PeerID(peer): n for peer, n in connection.execute("SELECT peer, COUNT(*) FROM outbox GROUP BY peer")
            }

        return self._database.read(job)

    def delivered(self, peer: PeerID, ids: Sequence[bytes]) -> Deferred[list[int]]:
        """Remove messages that ``peer`` has stored from the outbox.  Returns the ``n`` of the rows that changed."""
        return self._database.run(lambda c: settle(c, peer, ids, MessageState.DELIVERED, ""))

    def refused(self, peer: PeerID, id: bytes, reason: str) -> Deferred[StoredMessage | None]:
        """Remove a message that ``peer`` will never store from the outbox.  Returns its row, None without one."""
        return self._database.run(lambda c: only(messages_at(c, settle(c, peer, [id], MessageState.REFUSED, reason))))

    def release(self, peer: PeerID) -> Deferred[list[StoredMessage]]:
        """Let what was held for ``peer`` wait like the rest.  Returns the rows that changed."""

        return self._database.run(lambda connection: release_held(connection, peer))

    def expire(self, before_ms: int, under_way: Collection[int], reason: str) -> Deferred[list[StoredMessage]]:
        """Let expire what waits since before ``before_ms`` by the waiting clock.  Returns the rows that changed.

        Rows whose ``n`` is ``under_way`` stay: their acknowledgement may be on its way.
        """

        def job(connection: Connection) -> list[StoredMessage]:
            old = [n for (n,) in connection.execute("SELECT n FROM outbox WHERE since_ms < ?", (before_ms,))]
            changed: list[StoredMessage] = []
            for n in (n for n in old if n not in under_way):
                connection.execute("DELETE FROM outbox WHERE n = ?", (n,))
                changed += select_messages(
                    connection,
                    f"UPDATE history SET state = ?, reason = ? WHERE n = ? RETURNING {MESSAGE}",
                    (MessageState.EXPIRED.value, reason, n),
                )
            return changed

        return self._database.run(job)

    def resend(
        self, me: PeerID, chat: ChatID, n: int, state: MessageState, since_ms: int
    ) -> Deferred[StoredMessage | None]:
        """Let a message of ours that was refused or expired wait again, with the id it had, since ``since_ms``.

        It goes to the key that the chat has now.  None, and nothing changed, when row ``n`` of ``chat`` is no
        such message.
        """

        def job(connection: Connection) -> StoredMessage | None:
            changed = connection.execute(
                "UPDATE history SET state = ?, reason = '' WHERE n = ? AND chat = ? AND sender = ?"
                " AND kind = 'text' AND state IN ('refused', 'expired')",
                (state.value, n, chat, me),
            )
            if not changed.rowcount:
                return None
            (conversation,) = connection.execute(
                "SELECT conversation FROM conversation WHERE chat = ?", (chat,)
            ).fetchone()
            address_to(connection, conversation, [n])
            message = only(messages_at(connection, [n]))
            assert message is not None
            put_out(connection, [message], [since_ms])
            return message

        return self._database.run(job)

    def add_file_row(self, offer: NewMessage, source: Source | None = None) -> Deferred[StoredMessage | None]:
        """Add an offer's row to the conversation, and return it; None when the offer has one already.

        ``source``: it is a request of a stranger, who came from there.
        """

        def job(connection: Connection) -> StoredMessage | None:
            if present_messages(connection, offer.conversation, offer.sender, [offer.id]):
                return None
            if source is not None:
                keep_source(connection, offer.sender, source)
            return add_messages(connection, [offer])[0]

        return self._database.run(job)

    def complete_file_rows(self, me: PeerID) -> Deferred[int]:
        """Bring the rows of all offers to where their transfers stand; return how many were added or changed."""
        return self._database.run(lambda connection: complete_file_rows(connection, me))

    def add_refused_offer(
        self, offer: NewMessage, reason: str, source: Source | None = None
    ) -> Deferred[StoredMessage | None]:
        """Add the row of an offer that was not taken, for ``reason``; return None when the offer has a row already.

        ``source`` as in ``add_file_row``.
        """

        def job(connection: Connection) -> StoredMessage | None:
            if present_messages(connection, offer.conversation, offer.sender, [offer.id]):
                return None
            if source is not None:
                keep_source(connection, offer.sender, source)
            (row,) = add_messages(connection, [offer])
            connection.execute("UPDATE history SET reason = ? WHERE n = ?", (reason, row.n))
            return row._replace(reason=reason)

        return self._database.run(job)

    def set_file_state(self, fid: bytes, state: MessageState, reason: str = "") -> Deferred[StoredMessage | None]:
        """Set another state of an offer's row, the latest with this ``fid``."""

        def job(connection: Connection) -> StoredMessage | None:
            return only(
                select_messages(
                    connection,
                    "UPDATE history SET state = ?, reason = ?"
                    " WHERE n = (SELECT MAX(n) FROM history WHERE id = ? AND kind = 'file')"
                    f" RETURNING {MESSAGE}",
                    (state.value, reason, fid),
                )
            )

        return self._database.run(job)

    def history(self, chat: ChatID, before: int | None, limit: int) -> Deferred[Page]:
        """Return the last rows before row ``before`` in rising ``n``, and whether older ones exist."""
        return self._database.read(lambda connection: _before(connection, chat, before, limit))

    def history_after(self, chat: ChatID, after: int, limit: int) -> Deferred[Page]:
        """Return the first rows behind row ``after`` in rising ``n``, and whether newer ones exist."""
        return self._database.read(lambda connection: _after(connection, chat, after, limit))

    def history_to_show(
        self, chat: ChatID, before: int | None, after: int | None, limit: int
    ) -> Deferred[tuple[list[ShownRow], bool]]:
        """Return a page as ``history_after`` if ``after`` is a row, else as ``history``, with the texts to show.

        They are cleaned in the store's thread: a page of long texts would hold up the reactor.
        """

        def job(connection: Connection) -> tuple[list[ShownRow], bool]:
            if after is not None:
                rows, more = _after(connection, chat, after, min(limit, HISTORY_PAGE))
            else:
                rows, more = _before(connection, chat, before, limit)
            return [(row, safe_text(row.body)) for row in rows], more

        return self._database.read(job)


def _before(connection: Connection, chat: ChatID, before: int | None, limit: int) -> Page:
    limit = max(1, min(limit, HISTORY_PAGE))
    rows = select_messages(
        connection,
        f"SELECT {MESSAGE} FROM history WHERE chat = ? AND n < ? ORDER BY n DESC LIMIT ?",
        (chat, 2**63 - 1 if before is None else before, limit + 1),
    )
    return rows[:limit][::-1], len(rows) > limit


def _after(connection: Connection, chat: ChatID, after: int, limit: int) -> Page:
    rows = select_messages(
        connection,
        f"SELECT {MESSAGE} FROM history WHERE chat = ? AND n > ? ORDER BY n LIMIT ?",
        (chat, after, limit + 1),
    )
    return rows[:limit], len(rows) > limit


def _add_outgoing(connection: Connection, messages: Sequence[tuple[NewMessage, int | None]]) -> list[StoredMessage]:
    added = add_messages(connection, [message for message, _ in messages])
    put_out(connection, added, [since_ms for _, since_ms in messages])
    return added


def _again(say: Say, present: Mapping[bytes, StoredMessage]) -> Incoming:
    row = present[say.id]
    same = row.body == say.body and row.kind is MessageKind.TEXT
    return Incoming("duplicate" if same else "conflict", row)
