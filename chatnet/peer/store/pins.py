"""Pins, unwanted keys and blocks."""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from chatnet.core.events import VerifiedLevel
from chatnet.core.identity import PeerID, chat_with
from chatnet.host.database import Connection, Database
from chatnet.peer.store.conversations import join_chats, move_late
from chatnet.peer.store.history_rows import StoredMessage, address_to, release_held
from chatnet.peer.store.requests import StoredRequest, delete_request, make_request


class Pin(NamedTuple):
    """A key that a name belongs to, or belonged to."""

    peer: PeerID
    name: str
    first_ms: int
    verified: VerifiedLevel
    seq: int  # of the highest signed record seen; 0 when none was
    current: bool


class TakenKey(NamedTuple):
    """The outcome for the chat of a person who has another key now."""

    released: list[StoredMessage]  # were held for the old key, and wait now
    waiting: int  # all that wait for the new key and waited for the old one
    read_n: int  # the last row that a person saw
    unread: int


class PinRows:
    """Pins, blocks and unwanted keys.  A part of ``PeerStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Deferred[list[Pin]]:
        """Return all pins, the oldest first."""
        return self._database.read(lambda connection: _pins(connection, "1 = 1"))

    def add(self, name: str, peer: PeerID, now_ms: int) -> Deferred[Pin]:
        """Remember the first key of a name, and return the pin that stands, which may be another key's."""

        def job(connection: Connection) -> Pin:
            connection.execute(
                "INSERT INTO pin (name, peer, first_ms, current) SELECT ?, ?, ?, 1"
                " WHERE NOT EXISTS (SELECT 1 FROM pin WHERE name = ? AND current = 1)",
                (name, peer, now_ms, name),
            )
            return _pins(connection, "name = ? AND current = 1", name)[0]

        return self._database.run(job)

    def take_key(
        self,
        name: str,
        old: PeerID,
        new: PeerID,
        verified: VerifiedLevel,
        conversation: bytes,
        now_ms: int,
        since_ms: int,
    ) -> Deferred[TakenKey]:
        """Give the name to the new key, and all that was exchanged with the old one as well.

        One commit: never the one without the other.  The old key's pin stays, not current.  History, what
        waits, draft and tab move into the chat of the new key.  What waits goes out in ``conversation``, the
        one with the new key, and waits since ``since_ms`` by the waiting clock.  Transfers are the new key's.
        """

        def job(connection: Connection) -> TakenKey:
            connection.execute("UPDATE pin SET current = 0 WHERE name = ? AND peer != ?", (name, new))
            connection.execute(
                "INSERT INTO pin (name, peer, first_ms, verified, current) VALUES (?, ?, ?, ?, 1)"
                " ON CONFLICT (name, peer) DO UPDATE SET verified = excluded.verified, current = 1",
                (name, new, now_ms, verified),
            )
            connection.execute("DELETE FROM unwanted_key WHERE peer = ?", (new,))
            former, chat = chat_with(old), chat_with(new)
            numbers = [n for (n,) in connection.execute("SELECT n FROM outbox WHERE peer = ? ORDER BY n", (old,))]
            read_n, unread = join_chats(connection, former, chat, conversation, name, now_ms)
            address_to(connection, conversation, numbers)
            _move_transfers(connection, old, new, conversation)
            connection.execute(
                "UPDATE outbox SET peer = ?, since_ms = ?, id = (SELECT id FROM history WHERE history.n = outbox.n)"
                " WHERE peer = ?",
                (new, since_ms, old),
            )
            return TakenKey(release_held(connection, new), len(numbers), read_n, unread)

        return self._database.run(job)

    def move_late_rows(self, old: PeerID, new: PeerID, conversation: bytes) -> Deferred[None]:
        """Move what was stored for the old key behind the commit of ``take_key``, before the peer knew of it."""

        def job(connection: Connection) -> None:
            move_late(connection, chat_with(old), chat_with(new))
            _move_transfers(connection, old, new, conversation)

        return self._database.run(job)

    def set_verified(self, name: str, peer: PeerID, level: VerifiedLevel) -> Deferred[None]:
        """Remember how people compared this key."""

        def job(connection: Connection) -> None:
            connection.execute("UPDATE pin SET verified = ? WHERE name = ? AND peer = ?", (level, name, peer))

        return self._database.run(job)

    def blocked(self) -> Deferred[set[PeerID]]:
        return self._database.read(lambda c: {PeerID(peer) for (peer,) in c.execute("SELECT peer FROM block")})

    def set_blocked(
        self, peer: PeerID, blocked: bool, now_ms: int, is_requester: bool = False
    ) -> Deferred[StoredRequest | None]:
        """Begin or end a block.  What is blocked is no request any more.

        ``is_requester``: nothing is kept of it either, and what was kept nevertheless is a request again
        when the block ends: that one is returned.
        """

        def job(connection: Connection) -> StoredRequest | None:
            if blocked:
                if is_requester:
                    delete_request(connection, peer)
                connection.execute("DELETE FROM request WHERE peer = ?", (peer,))
                connection.execute("INSERT OR IGNORE INTO block VALUES (?, ?)", (peer, now_ms))
                return None
            connection.execute("DELETE FROM block WHERE peer = ?", (peer,))
            return make_request(connection, peer) if is_requester else None

        return self._database.run(job)

    def unwanted_keys(self) -> Deferred[set[PeerID]]:
        return self._database.read(lambda c: {PeerID(peer) for (peer,) in c.execute("SELECT peer FROM unwanted_key")})

    def add_unwanted_key(self, peer: PeerID, now_ms: int) -> Deferred[None]:
        def job(connection: Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO unwanted_key VALUES (?, ?)", (peer, now_ms))

        return self._database.run(job)

    def registry_pin(self, address: str) -> Deferred[PeerID | None]:
        """Return the key that answered first at the address, or was last pinned there; None if there is none."""

        def job(connection: Connection) -> PeerID | None:
            row = connection.execute("SELECT peer FROM registry_pin WHERE address = ?", (address,)).fetchone()
            return None if row is None else PeerID(row[0])

        return self._database.read(job)

    def pin_registry(self, address: str, peer: PeerID, now_ms: int) -> Deferred[None]:
        """Remember a registry's key; another one takes the former's place."""

        def job(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO registry_pin VALUES (?, ?, ?) ON CONFLICT (address) DO UPDATE"
                " SET peer = excluded.peer, first_ms = excluded.first_ms WHERE peer != excluded.peer",
                (address, peer, now_ms),
            )

        return self._database.run(job)


def _move_transfers(connection: Connection, old: PeerID, new: PeerID, conversation: bytes) -> None:
    """Move the transfers of the old key to the new one; rows of those that are offered to it go into ``conversation``.

    The rule for the offers of the old key ends: nobody has decided so about the new one.
    """
    offered = "SELECT fid FROM transfer WHERE peer = ? AND outgoing = 1 AND state IN ('offered', 'waiting')"
    files = connection.execute(f"SELECT n FROM history WHERE kind = 'file' AND id IN ({offered})", (old,))
    address_to(connection, conversation, [n for (n,) in files])
    connection.execute("UPDATE OR IGNORE transfer SET peer = ? WHERE peer = ?", (new, old))
    connection.execute("DELETE FROM file_rule WHERE peer = ?", (old,))


def _pins(connection: Connection, condition: str, *values: Any) -> list[Pin]:
    rows = connection.execute(
        "SELECT peer, name, first_ms, verified, coalesce(seq, 0), current FROM pin LEFT JOIN record USING (peer)"
        f" WHERE {condition} ORDER BY first_ms",
        values,
    )
    return [
        Pin(peer, name, first_ms, VerifiedLevel(verified), seq, bool(current))
        for peer, name, first_ms, verified, seq, current in rows
    ]
