"""The last list of a registry, and the signed records that were verified."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec
from twisted.internet.defer import Deferred

from chatnet.core.identity import PeerID
from chatnet.core.limits import PEOPLE_REMEMBERED
from chatnet.core.messages import ListEntry
from chatnet.core.records import Endpoint, SignedRecord
from chatnet.host.database import Connection, Database

_encode = msgspec.msgpack.encode
_endpoints = msgspec.msgpack.Decoder(list[Endpoint])


class SavedList(NamedTuple):
    registry: PeerID | None
    cursor: bytes
    saved_ms: int
    entries: list[ListEntry]
    former: list[tuple[ListEntry, int]]  # who left it, and when in milliseconds; the latest last


class PeerListRows:
    """The list of peers and signed records.  A part of ``PeerStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def load(self) -> Deferred[SavedList]:
        """Return the list as it was last saved; empty, without a registry, before that."""

        def job(connection: Connection) -> SavedList:
            state = connection.execute("SELECT registry, cursor, saved_ms FROM list_state").fetchone()
            rows = connection.execute("SELECT peer, name, endpoints, seq, proven FROM list_entry")
            entries = [
                ListEntry(peer, name, _endpoints.decode(blob), seq, proven) for peer, name, blob, seq, proven in rows
            ]
            registry, cursor, saved_ms = state or (None, b"", 0)
            rows = connection.execute("SELECT peer, name, endpoints, seq, left_ms FROM former_entry ORDER BY left_ms")
            former = [(ListEntry(peer, name, _endpoints.decode(blob), seq), at) for peer, name, blob, seq, at in rows]
            return SavedList(registry, cursor, saved_ms, entries, former)

        return self._database.read(job)

    def save(
        self,
        registry: PeerID,
        reset: bool,
        joined: Sequence[ListEntry],
        left: Iterable[bytes],
        cursor: bytes,
        now_ms: int,
        passed: Sequence[ListEntry] = (),
    ) -> Deferred[list[PeerID]]:
        """Apply a change, or with ``reset`` (also when the registry is another) a whole new list.

        An entry says nothing about a later one, since it is not signed.  Of those who leave, also of those who
        ``passed``, came and left since the last change, the latest PEOPLE_REMEMBERED are kept as former entries.
        Returns whose entries were older, by ``seq``, than their verified record: they are not kept.
        """

        def job(connection: Connection) -> list[PeerID]:
            former = connection.execute("SELECT registry FROM list_state").fetchone()
            if former is None or former[0] != registry:  # its numbers say nothing about this registry's
                every = (peer for (peer,) in connection.execute("SELECT peer FROM list_entry").fetchall())
                _leave(connection, every, now_ms)
                connection.execute("DELETE FROM list_entry")
            verified: dict[bytes, int] = dict(connection.execute("SELECT peer, seq FROM record"))
            old = [e.peer for e in joined if e.seq < verified.get(e.peer, 0)]
            refused = set(old)
            kept = [peer for (peer,) in connection.execute("SELECT peer FROM list_entry")] if reset else ()
            gone = set(kept) - {e.peer for e in joined} if reset else left
            gone = tuple(gone)
            connection.executemany(
                "INSERT OR REPLACE INTO former_entry (peer, name, endpoints, seq, left_ms) VALUES (?, ?, ?, ?, ?)",
                ((e.peer, e.name, _encode(e.endpoints), e.seq, now_ms) for e in passed[-PEOPLE_REMEMBERED:]),
            )
            _leave(connection, gone, now_ms)
            connection.executemany("DELETE FROM list_entry WHERE peer = ?", ((peer,) for peer in gone))
            connection.executemany(
                "DELETE FROM former_entry WHERE peer = ? OR name = ?", ((e.peer, e.name) for e in joined)
            )
            connection.executemany(
                "INSERT OR REPLACE INTO list_entry (peer, name, endpoints, seq, proven) VALUES (?, ?, ?, ?, ?)",
                ((e.peer, e.name, _encode(e.endpoints), e.seq, e.proven) for e in joined if e.peer not in refused),
            )
            connection.execute("INSERT OR REPLACE INTO list_state VALUES (1, ?, ?, ?)", (registry, cursor, now_ms))
            return [PeerID(peer) for peer in old]

        return self._database.run(job)

    def save_record(self, peer: PeerID, record: SignedRecord, seq: int) -> Deferred[bool]:
        """Keep a verified record; return False when one with a higher ``seq`` is kept."""

        def job(connection: Connection) -> bool:
            cursor = connection.execute(
                "INSERT INTO record VALUES (?, ?, ?, ?, ?) ON CONFLICT (peer) DO UPDATE SET seq = excluded.seq,"
                " key = excluded.key, payload = excluded.payload, signature = excluded.signature"
                " WHERE excluded.seq >= seq",
                (peer, seq, *record),
            )
            return cursor.rowcount == 1

        return self._database.run(job)

    def record(self, peer: PeerID) -> Deferred[SignedRecord | None]:
        def job(connection: Connection) -> SignedRecord | None:
            row = connection.execute("SELECT key, payload, signature FROM record WHERE peer = ?", (peer,)).fetchone()
            return None if row is None else SignedRecord(*row)

        return self._database.read(job)


def _leave(connection: Connection, peers: Iterable[bytes], now_ms: int) -> None:
    """Make former entries of those who are about to leave the list; the latest of them are kept."""
    connection.executemany(
        "INSERT OR REPLACE INTO former_entry (peer, name, endpoints, seq, left_ms)"
        " SELECT peer, name, endpoints, seq, ? FROM list_entry WHERE peer = ?",
        ((now_ms, peer) for peer in islice(peers, PEOPLE_REMEMBERED)),
    )
    connection.execute(
        "DELETE FROM former_entry WHERE peer NOT IN (SELECT peer FROM former_entry ORDER BY left_ms DESC LIMIT ?)",
        (PEOPLE_REMEMBERED,),
    )
