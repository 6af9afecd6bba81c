"""The store of a peer: one object with a part for each kind of data, each part in its own file.

Every method returns a Deferred that fires after the commit, and fails with StoreFailed when
there was none.  Texts come out as they came in: who shows them cleans them.  Times are
milliseconds since the epoch, sizes bytes.
"""

from __future__ import annotations

import os

from twisted.internet.defer import Deferred

from chatnet.core.limits import MAX_SENT_INTEGER, PROBE_BYTES
from chatnet.host.database import Connection, Database, Settings
from chatnet.peer.store.conversations import ConversationRows
from chatnet.peer.store.messages import MessageRows
from chatnet.peer.store.peer_list import PeerListRows
from chatnet.peer.store.pins import PinRows
from chatnet.peer.store.requests import RequestRows
from chatnet.peer.store.search_index import SearchIndex
from chatnet.peer.store.transfers import TransferRows


class PeerStore:
    """The parts of the store, over one Database with the migrations of ``schema``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.settings = Settings(database)
        self.pins = PinRows(database)
        self.peer_list = PeerListRows(database)
        self.search = SearchIndex(database)
        self.messages = MessageRows(database, self.search)
        self.requests = RequestRows(database)
        self.conversations = ConversationRows(database)
        self.transfers = TransferRows(database)

    def next_seq(self, at_least: int = 1, step: int = 1) -> Deferred[int]:
        """Return the number for our next record: ``step`` more than the last, at least ``at_least``, never twice."""

        def job(connection: Connection) -> int:
            (value,) = connection.execute(
                "INSERT INTO setting VALUES ('seq', CAST(?1 AS TEXT)) ON CONFLICT (key) DO UPDATE"
                " SET value = CAST(min(max(CAST(value AS INTEGER) + ?2, ?1), ?3) AS TEXT) RETURNING value",
                (at_least, step, MAX_SENT_INTEGER),
            ).fetchone()
            return int(value)

        return self._database.run(job)

    def free_bytes(self) -> Deferred[int | None]:
        """Return the bytes that are free for us on the disk of the database; None if it does not know."""

        def job(connection: Connection) -> int | None:
            try:
                space = os.statvfs(self._database.path)
            except OSError:
                return None
            return space.f_bavail * space.f_frsize

        return self._database.read(job)

    def probe(self) -> Deferred[None]:
        """Write more than a message has: a disk that fails, or is full, fails here too."""

        def write(connection: Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO setting VALUES ('probe', ?)", ("." * PROBE_BYTES,))

        def undo(connection: Connection) -> None:
            connection.execute("DELETE FROM setting WHERE key = 'probe'")

        return self._database.run(write).addCallback(lambda nothing: self._database.run(undo))
