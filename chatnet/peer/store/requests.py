"""Requests of strangers, kept until a person decides: summaries, accepting, deleting."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from twisted.internet.defer import Deferred

from chatnet.core.identity import ChatID, PeerID, chat_with
from chatnet.core.limits import REQUEST_LINE_CHARS
from chatnet.core.requests import REQUEST_BYTES, TEXT_COPIES
from chatnet.host.database import Connection, Database


class Source(NamedTuple):
    """From where a stranger's first message or offer came, and the name that it claims."""

    host: str
    name: str


class StoredRequest(NamedTuple):
    """The messages and offers of one stranger, in sums."""

    peer: PeerID
    host: str
    name: str  # which they claim
    messages: int
    offers: int
    bytes: int  # on disk, about
    first_line: str
    first_ms: int
    last_ms: int
    unread: int
    read_n: int  # the last row that a person saw
    last_n: int  # the last row


class StoredRequests(NamedTuple):
    """``latest``: some of the strangers, the latest first; of all the others ``rest`` messages and offers."""

    latest: list[StoredRequest]
    rest: int
    rest_bytes: int


_SUMS = (
    "COUNT(*), coalesce(SUM(kind = 'file'), 0),"
    f" coalesce(SUM({REQUEST_BYTES} + {TEXT_COPIES} * length(CAST(body AS BLOB))), 0)"
)
_REQUEST = "request.peer, host, request.name, unread, read_n FROM request JOIN conversation ON chat = request.peer"
_KEPT = "history JOIN request ON request.peer = history.chat"


class RequestRows:
    """Requests: history of strangers, and who they are.  A part of ``PeerStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def summary(self, limit: int) -> Deferred[StoredRequests]:
        """Return the ``limit`` strangers whose conversations are the latest, and sums for all the others."""

        def job(connection: Connection) -> StoredRequests:
            found = connection.execute(
                f"SELECT {_REQUEST} ORDER BY last_ms DESC, request.peer LIMIT ?", (limit,)
            ).fetchall()
            latest = [_summary(connection, *row) for row in found]
            count, _, size = connection.execute(f"SELECT {_SUMS} FROM {_KEPT}").fetchone()
            rest = count - sum(one.messages + one.offers for one in latest)
            return StoredRequests(latest, rest, size - sum(one.bytes for one in latest))

        return self._database.read(job)

    def accept(self, chat: ChatID) -> Deferred[None]:
        """Note that a person here took something of this key, or wrote to it: its messages are no request any more."""

        def job(connection: Connection) -> None:
            connection.execute("DELETE FROM request WHERE peer = ?", (chat,))
            connection.execute("UPDATE conversation SET accepted = 1 WHERE chat = ?", (chat,))

        return self._database.run(job)

    def peers(self) -> Deferred[list[PeerID]]:
        """Return all strangers of whom something is kept."""
        return self._database.read(lambda c: [PeerID(peer) for (peer,) in c.execute("SELECT peer FROM request")])

    def delete(self, peers: Collection[PeerID]) -> Deferred[None]:
        """Delete all that is kept of these strangers: messages, their words in the index, offers."""

        def job(connection: Connection) -> None:
            for peer in peers:
                delete_request(connection, peer)

        return self._database.run(job)


def keep_source(connection: Connection, peer: PeerID, source: Source) -> None:
    """Note that something is kept of a stranger, and from where the first of it came.

    Nothing is noted of somebody who was accepted while this waited for its turn.
    """
    connection.execute(
        "INSERT INTO request (peer, host, name) SELECT ?1, ?2, ?3"
        " WHERE NOT EXISTS (SELECT 1 FROM conversation WHERE chat = ?1 AND accepted = 1)"
        " ON CONFLICT (peer) DO UPDATE SET name = excluded.name",
        (peer, *source),
    )


def make_request(connection: Connection, peer: PeerID) -> StoredRequest | None:
    """Make a request of what is kept of somebody who was never accepted; return it, or None if nothing is kept."""
    connection.execute(
        "INSERT OR IGNORE INTO request (peer, host, name) SELECT chat, '', name FROM conversation"
        " WHERE chat = ? AND accepted = 0"
        " AND EXISTS (SELECT 1 FROM history WHERE history.chat = conversation.chat)",
        (chat_with(peer),),
    )
    row = connection.execute(f"SELECT {_REQUEST} WHERE request.peer = ?", (peer,)).fetchone()
    return None if row is None else _summary(connection, *row)


def delete_request(connection: Connection, peer: PeerID) -> None:
    """Delete all that is kept of a stranger; nothing if it is none."""
    if connection.execute("DELETE FROM request WHERE peer = ? RETURNING peer", (peer,)).fetchone() is None:
        return
    chat = chat_with(peer)
    (accepted,) = connection.execute("SELECT accepted FROM conversation WHERE chat = ?", (chat,)).fetchone()
    if accepted:
        return
    # The index has no copy of the texts, and takes words out only if it is told which.
    connection.execute(
        "INSERT INTO history_text (history_text, rowid, body, talk)"
        " SELECT 'delete', n, body, hex(substr(conversation, 1, 6)) FROM history"
        " WHERE chat = ? AND n <= (SELECT n FROM indexed)",
        (chat,),
    )
    # The number of a row is never given again.
    connection.execute(
        "INSERT INTO setting SELECT 'last_n', CAST(max(n) AS TEXT) FROM history HAVING max(n) IS NOT NULL"
        " ON CONFLICT (key) DO UPDATE"
        " SET value = CAST(max(CAST(value AS INTEGER), CAST(excluded.value AS INTEGER)) AS TEXT)"
    )
    for table in ("history", "conversation", "tab"):
        connection.execute(f"DELETE FROM {table} WHERE chat = ?", (chat,))
    connection.execute("DELETE FROM transfer WHERE peer = ? AND outgoing = 0", (peer,))


def _summary(connection: Connection, peer: PeerID, host: str, name: str, unread: int, read_n: int) -> StoredRequest:
    chat = chat_with(peer)
    count, offers, size = connection.execute(f"SELECT {_SUMS} FROM history WHERE chat = ?", (chat,)).fetchone()
    line, first_ms = connection.execute(
        "SELECT substr(body, 1, ?), stored_ms FROM history WHERE chat = ? ORDER BY kind = 'file', n LIMIT 1",
        (REQUEST_LINE_CHARS, chat),
    ).fetchone() or ("", 0)
    last_ms, last_n = connection.execute(
        "SELECT coalesce(max(stored_ms), 0), coalesce(max(n), 0) FROM history WHERE chat = ?", (chat,)
    ).fetchone()
    sums = count - offers, offers, size
    return StoredRequest(PeerID(peer), host, name, *sums, line, first_ms, last_ms, unread, read_n, last_n)
