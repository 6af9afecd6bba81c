"""The registry's store: the key of each name, for ever, and which peers were present lately."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred

from chatnet.core.directory.changelog import EpochSpan
from chatnet.core.directory.directory import Binding, SavedChange, SavedDirectory
from chatnet.core.errors import Refused
from chatnet.core.identity import PeerID
from chatnet.core.limits import EPOCHS_KEPT
from chatnet.core.messages import KEY_BOUND, NAME_TAKEN, ListEntry
from chatnet.core.records import SignedRecord
from chatnet.host.database import Connection, Database, Settings

MIGRATIONS = (
    Settings.TABLE
    + """
CREATE TABLE name (
    name TEXT PRIMARY KEY,
    peer BLOB NOT NULL UNIQUE,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL  -- when it was last here, to about the last claim or clean stop
) STRICT, WITHOUT ROWID;
""",
    """
CREATE TABLE change (  -- the latest of each peer: the list's change log as of the newest epoch's revision
    peer BLOB PRIMARY KEY,
    revision INTEGER NOT NULL,
    entry BLOB,  -- MessagePack; NULL: it left
    seq INTEGER NOT NULL,
    key BLOB NOT NULL,
    payload BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX departure ON change (revision) WHERE entry IS NULL;
CREATE TABLE epoch (
    n INTEGER PRIMARY KEY,
    epoch BLOB NOT NULL UNIQUE,
    upto INTEGER NOT NULL,  -- its last revision that is kept here
    floor INTEGER NOT NULL  -- departures up to this revision are forgotten
) STRICT;
""",
    """
-- The network that the name was claimed from: an IPv4 /24 or an IPv6 /48.  NULL: before this column, or not counted.
ALTER TABLE name ADD COLUMN network TEXT;
""",
)

_encode = msgspec.msgpack.encode
_entries = msgspec.msgpack.Decoder(ListEntry)


class RegistryStore(Settings):
    """The registry's rows, over a Database with this module's MIGRATIONS."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._seen: dict[PeerID, int] = {}

    def load(self) -> Deferred[list[Binding]]:
        """Return every name, in no order."""

        def job(connection: Connection) -> list[Binding]:
            return [Binding(*row) for row in connection.execute("SELECT name, peer, network FROM name")]

        return self._database.read(job)

    def claim(self, name: str, peer: PeerID, now_ms: int, network: str | None = None) -> Deferred[Binding]:
        """Bind ``name`` to ``peer``, or find it bound so; fires once it is on the disk.

        Fails with Refused("name-taken" | "key-bound") when either is bound otherwise.
        """

        def job(connection: Connection) -> Binding:
            connection.execute(
                "INSERT INTO name (name, peer, first_ms, last_ms, network) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (name, peer, now_ms, now_ms, network),
            )
            row = connection.execute("SELECT name, peer, network FROM name WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise Refused(KEY_BOUND, "this key has another name here already")
            if row[1] != peer:
                raise Refused(NAME_TAKEN, f"the name {name} belongs to another key")
            return Binding(*row)

        done = self._database.run(job)
        if self._seen:
            self.flush().addErrback(lambda _: None)  # if it fails, the claim says so; lost are only times
        return done

    def seen(self, peer: PeerID, now_ms: int) -> None:
        """Note that ``peer`` was here; written behind the next claim, or by ``flush``."""
        self._seen[peer] = now_ms

    def flush(self) -> Deferred[None]:
        """Write what ``seen`` has gathered: now and then, and before the database is closed."""
        seen, self._seen = self._seen, {}

        def job(connection: Connection) -> None:
            rows = ((at_ms, peer) for peer, at_ms in seen.items())
            connection.executemany("UPDATE name SET last_ms = ? WHERE peer = ?", rows)

        return self._database.run(job)

    # --- who was here -------------------------------------------------------------------------

    def load_list(self) -> Deferred[SavedDirectory]:
        """Return the list as it was last kept."""

        def job(connection: Connection) -> SavedDirectory:
            spans = connection.execute("SELECT epoch, upto, floor FROM epoch ORDER BY n").fetchall()
            rows = connection.execute(
                "SELECT revision, peer, entry, key, payload, signature, seq FROM change ORDER BY revision"
            )
            return SavedDirectory(
                [EpochSpan(epoch, upto) for epoch, upto, _ in spans],
                spans[-1][2] if spans else 0,
                [
                    SavedChange(
                        revision, peer, None if blob is None else _entries.decode(blob), SignedRecord(*record), seq
                    )
                    for revision, peer, blob, *record, seq in rows
                ],
            )

        return self._database.read(job)

    def keep_list(self, changed: SavedDirectory) -> Deferred[None]:
        """Bring what is kept up to ``changed``, all of it or nothing."""

        def job(connection: Connection) -> None:
            (span,) = changed.spans
            connection.execute(
                "INSERT INTO epoch (epoch, upto, floor) VALUES (?, ?, ?)"
                " ON CONFLICT (epoch) DO UPDATE SET upto = excluded.upto, floor = excluded.floor",
                (*span, changed.floor),
            )
            connection.execute("DELETE FROM epoch WHERE n <= (SELECT max(n) FROM epoch) - ?", (EPOCHS_KEPT,))
            if changed.whole:
                connection.execute("DELETE FROM change")
            connection.executemany(
                "INSERT OR REPLACE INTO change (revision, peer, entry, key, payload, signature, seq)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    (row.revision, row.peer, None if row.entry is None else _encode(row.entry), *row.record, row.seq)
                    for row in changed.rows
                ),
            )
            connection.execute("DELETE FROM change WHERE entry IS NULL AND revision <= ?", (changed.floor,))

        return self._database.run(job)
