"""Rows of the history and of the outbox, as jobs of the store read and write them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain as chained
from typing import Any, NamedTuple

import msgspec

from chatnet.core.events import MessageKind, MessageState
from chatnet.core.identity import ChatID, PeerID, chat_with
from chatnet.host.database import Connection

MESSAGE = "n, conversation, chat, sender, id, kind, sent_ms, stored_ms, body, state, reason"
MOST_VALUES = 10_000  # in one statement; SQLite takes 32,766
_ROWS_AT_ONCE = 64  # stored by one statement


class NewMessage(NamedTuple):
    """A message that is to become a row of the history."""

    conversation: bytes  # the id on the wire
    chat: ChatID
    sender: PeerID
    id: bytes
    kind: MessageKind
    sent_ms: int
    stored_ms: int
    body: str
    state: MessageState


class StoredMessage(NamedTuple):
    """One row of the history; ``n`` rises in the order of storing."""

    n: int
    conversation: bytes  # the id on the wire
    chat: ChatID
    sender: PeerID
    id: bytes
    kind: MessageKind
    sent_ms: int
    stored_ms: int
    body: str
    state: MessageState
    reason: str


def select_messages(connection: Connection, sql: str, values: Sequence[Any]) -> list[StoredMessage]:
    """Return the rows of a statement that gives the columns of MESSAGE."""
    found = (StoredMessage(*row) for row in connection.execute(sql, values))
    return [row._replace(kind=MessageKind(row.kind), state=MessageState(row.state)) for row in found]


def messages_at(connection: Connection, numbers: Sequence[int]) -> list[StoredMessage]:
    """Return these rows of the history, in rising ``n``."""
    return select_messages(
        connection, f"SELECT {MESSAGE} FROM history WHERE n IN ({marks_for(numbers)}) ORDER BY n", numbers
    )


def present_messages(
    connection: Connection, conversation: bytes, sender: PeerID, ids: Sequence[bytes]
) -> dict[bytes, StoredMessage]:
    """Return the rows of these ids that are there already, by id."""
    found: dict[bytes, StoredMessage] = {}
    for start in range(0, len(ids), MOST_VALUES):
        some = ids[start : start + MOST_VALUES]
        rows = select_messages(
            connection,
            f"SELECT {MESSAGE} FROM history WHERE conversation = ? AND sender = ? AND id IN ({marks_for(some)})",
            (conversation, sender, *some),
        )
        found |= {row.id: row for row in rows}
    return found


def only(messages: list[StoredMessage]) -> StoredMessage | None:
    return messages[0] if messages else None


def add_messages(connection: Connection, messages: Sequence[NewMessage]) -> list[StoredMessage]:
    """Add new rows, counted in their conversations.  Raises IntegrityError when one is there.

    In few statements: each gives Python's lock away, and may wait for it longer than it works.
    """
    # The numbers of rows that were deleted are not given again.
    (last,) = connection.execute(
        "SELECT max(coalesce((SELECT max(n) FROM history), 0),"
        " coalesce((SELECT CAST(value AS INTEGER) FROM setting WHERE key = 'last_n'), 0))"
    ).fetchone()
    added = [StoredMessage(n, *message, reason="") for n, message in enumerate(messages, last + 1)]
    _insert(connection, "history", MESSAGE, added)
    for (conversation, chat), (unread, last_ms) in _tally(messages).items():
        connection.execute(
            "INSERT INTO conversation (conversation, chat, unread, last_ms) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (conversation) DO UPDATE"
            " SET unread = unread + excluded.unread, last_ms = max(last_ms, excluded.last_ms)",
            (conversation, chat, unread, last_ms),
        )
    return added


def _tally(messages: Sequence[NewMessage]) -> dict[tuple[bytes, ChatID], tuple[int, int]]:
    """Return by conversation and chat how many of theirs are to be read, and when the latest was stored."""
    tally: dict[tuple[bytes, ChatID], tuple[int, int]] = {}
    for message in messages:
        talk = message.conversation, message.chat
        unread, last_ms = tally.get(talk, (0, 0))
        is_news = chat_with(message.sender) == message.chat and message.state is not MessageState.REFUSED
        tally[talk] = unread + is_news, max(last_ms, message.stored_ms)
    return tally


def _insert(connection: Connection, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    """Insert many rows with few statements."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        marks = ", ".join("?" * len(some[0]))
        connection.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({'), ('.join([marks] * len(some))})", list(chained(*some))
        )


def put_out(connection: Connection, messages: Sequence[StoredMessage], since_ms: Sequence[int | None]) -> None:
    """Put messages into the outbox, each since its time by the waiting clock; None: since it was stored."""
    rows = [
        (message.n, message.chat, message.id, message.stored_ms if since is None else since)
        for message, since in zip(messages, since_ms, strict=True)
    ]
    _insert(connection, "outbox", "n, peer, id, since_ms", rows)


def address_to(connection: Connection, conversation: bytes, numbers: Sequence[int]) -> None:
    """Address rows of ours to ``conversation``, the one with the key that has the chat now.

    An id that a row has there already is replaced, since it would stand for two messages.
    """
    for start in range(0, len(numbers), MOST_VALUES):
        some = numbers[start : start + MOST_VALUES]
        connection.execute(
            "UPDATE history SET conversation = ?1, id = iif(EXISTS (SELECT 1 FROM history AS other"
            " WHERE other.conversation = ?1 AND other.sender = history.sender AND other.id = history.id),"
            " randomblob(16), id) WHERE conversation != ?1 AND n IN (SELECT value FROM json_each(?2))",
            (conversation, msgspec.json.encode(some).decode()),
        )


def release_held(connection: Connection, peer: PeerID) -> list[StoredMessage]:
    """Let what was held for ``peer`` wait like the rest.  Returns the rows that changed."""
    return select_messages(
        connection,
        "UPDATE history SET state = ?, reason = '' WHERE state = ?"
        f" AND n IN (SELECT n FROM outbox WHERE peer = ?) RETURNING {MESSAGE}",
        (MessageState.WAITING.value, MessageState.HELD.value, peer),
    )


def settle(connection: Connection, peer: PeerID, ids: Sequence[bytes], state: MessageState, reason: str) -> list[int]:
    """Take these out of the outbox, and return the ``n`` of the rows that were there, in rising order."""
    waiting = f"SELECT json_group_array(n) FROM outbox WHERE peer = ? AND id IN ({marks_for(ids)})"
    (found,) = connection.execute(waiting, (peer, *ids)).fetchone()
    numbers: list[int] = sorted(msgspec.json.decode(found))
    marks = marks_for(numbers)
    connection.execute(
        f"UPDATE history SET state = ?, reason = ? WHERE n IN ({marks})", (state.value, reason, *numbers)
    )
    connection.execute(f"DELETE FROM outbox WHERE n IN ({marks})", numbers)
    return numbers


def touch(connection: Connection, conversation: bytes, chat: ChatID, name: str, now_ms: int) -> None:
    connection.execute(
        "INSERT INTO conversation (conversation, chat, name, last_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (conversation) DO UPDATE SET name = excluded.name, last_ms = max(last_ms, excluded.last_ms)",
        (conversation, chat, name, now_ms),
    )


def marks_for(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))
