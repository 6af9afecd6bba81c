"""What a peer keeps, behind one door; each part has its file in ``stored``.

Every method returns a Deferred that fires after the commit, and fails with StoreFailed when
there was none.  Texts come out as they came in: who shows them cleans them.  Times are
milliseconds since the epoch, sizes bytes.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from chatnet.core.limits import PROBE_BYTES
from chatnet.host.database import Connection, Settings
from chatnet.peer.store.conversations import Conversation, ConversationRows, OpenTabRow
from chatnet.peer.store.history_rows import NewMessage, StoredMessage
from chatnet.peer.store.messages import Incoming, MessageRows
from chatnet.peer.store.peer_list import PeerListRows, SavedList
from chatnet.peer.store.pins import Pin, PinRows
from chatnet.peer.store.schema import MIGRATIONS
from chatnet.peer.store.search_index import SearchHits
from chatnet.peer.store.transfers import FileRow, TransferChanges, TransferRow, TransferRows

__all__ = (
    "MIGRATIONS",
    "Conversation",
    "FileRow",
    "Incoming",
    "NewMessage",
    "OpenTabRow",
    "PeerStore",
    "Pin",
    "SavedList",
    "SearchHits",
    "StoredMessage",
    "TransferChanges",
    "TransferRow",
)


class PeerStore(Settings, PinRows, PeerListRows, MessageRows, ConversationRows, TransferRows):
    """See the module.  Over a Database with MIGRATIONS."""

    def next_seq(self, at_least: int = 1, step: int = 1) -> Deferred[int]:
        """The number for our next record: ``step`` more than the last, and ``at_least`` this; never twice."""

        def job(connection: Connection) -> int:
            (value,) = connection.execute(
                "INSERT INTO setting VALUES ('seq', CAST(?1 AS TEXT)) ON CONFLICT (key) DO UPDATE"
                " SET value = CAST(max(CAST(value AS INTEGER) + ?2, ?1) AS TEXT) RETURNING value",
                (at_least, step),
            ).fetchone()
            return int(value)

        return self._database.run(job)

    def probe(self) -> Deferred[None]:
        """Write more than a message has: a disk that fails, or is full, fails here too."""

        def write(connection: Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO setting VALUES ('probe', ?)", ("." * PROBE_BYTES,))

        def undo(connection: Connection) -> None:
            connection.execute("DELETE FROM setting WHERE key = 'probe'")

        return self._database.run(write).addCallback(lambda nothing: self._database.run(undo))
