"""What the registry keeps: which key each name belongs to, for ever."""

from __future__ import annotations

from typing import NamedTuple

from twisted.internet.defer import Deferred

from chatnet.core.errors import Refused
from chatnet.core.identity import PeerID
from chatnet.core.messages import KEY_BOUND, NAME_TAKEN
from chatnet.net.database import Connection, Database, Settings

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
)


class Claim(NamedTuple):
    """A name, and whose it is."""

    name: str
    peer: PeerID
    first_ms: int


class RegistryStore(Settings):
    """The registry's rows, over a Database with this module's MIGRATIONS."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._seen: dict[PeerID, int] = {}

    def load(self) -> Deferred[list[Claim]]:
        """Every claim, in no order."""

        def job(connection: Connection) -> list[Claim]:
            return [Claim(*row) for row in connection.execute("SELECT name, peer, first_ms FROM name")]

        return self._database.read(job)

    def claim(self, name: str, peer: PeerID, now_ms: int) -> Deferred[Claim]:
        """Bind ``name`` to ``peer``, or find it bound so; fires once it is on the disk.

        Fails with Refused("name-taken" | "key-bound") when either is bound otherwise.
        """

        def job(connection: Connection) -> Claim:
            connection.execute(
                "INSERT INTO name VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", (name, peer, now_ms, now_ms)
            )
            row = connection.execute("SELECT name, peer, first_ms FROM name WHERE name = ?", (name,)).fetchone()
            if row is None:
                raise Refused(KEY_BOUND, "this key has another name here already")
            if row[1] != peer:
                raise Refused(NAME_TAKEN, f"the name {name} belongs to another key")
            return Claim(*row)

        done = self._database.run(job)
        if self._seen:
            self.flush().addErrback(lambda _: None)  # if it fails, the claim says so; lost are only times
        return done

    def seen(self, peer: PeerID, now_ms: int) -> None:
        """``peer`` was here; written behind the next claim, or by ``flush``."""
        self._seen[peer] = now_ms

    def flush(self) -> Deferred[None]:
        """Write what ``seen`` has gathered: now and then, and before the database is closed."""
        seen, self._seen = self._seen, {}

        def job(connection: Connection) -> None:
            rows = ((at_ms, peer) for peer, at_ms in seen.items())
            connection.executemany("UPDATE name SET last_ms = ? WHERE peer = ?", rows)

        return self._database.run(job)
