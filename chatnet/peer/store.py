"""What a peer keeps: pins, the last list, the history with its outbox, conversations, transfers.

Every method returns a Deferred that fires after the commit, and fails with StoreFailed when
there was none.  Texts come out as they came in: who shows them cleans them.  Times are
milliseconds since the epoch, sizes bytes.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain as chained
from typing import Any, Literal, NamedTuple, TypedDict, Unpack

import msgspec
from twisted.internet.defer import Deferred

from chatnet.core.errors import StoreFailed
from chatnet.core.events import ENDED, FileRule, MessageKind, MessageState, RuleKind, TransferState
from chatnet.core.identity import PeerID
from chatnet.core.limits import CLOCK_SLACK_MS, HISTORY_PAGE, INDEX_ROWS, PROBE_BYTES, SEARCH_PAGE, SEARCH_ROWS
from chatnet.core.messages import Entry, Say
from chatnet.core.records import Endpoint, SignedRecord
from chatnet.net.database import Chain, Connection, Settings
from chatnet.peer.query import Query

MIGRATIONS = (
    Settings.TABLE
    + """
-- Which key a name belongs to.  A key that was replaced stays for the record.
CREATE TABLE pin (
    name TEXT NOT NULL,
    peer BLOB NOT NULL,
    first_ms INTEGER NOT NULL,
    verified INTEGER NOT NULL DEFAULT 0,  -- 0 seen, 1 and 2: how people compared it
    current INTEGER NOT NULL,
    PRIMARY KEY (name, peer)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX pin_current ON pin (name) WHERE current = 1;
CREATE INDEX pin_peer ON pin (peer);

CREATE TABLE registry_pin (
    address TEXT PRIMARY KEY,
    peer BLOB NOT NULL,
    first_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last list, and where in the registry's changes it stands.
CREATE TABLE list_state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    registry BLOB NOT NULL,
    cursor BLOB NOT NULL,
    saved_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE list_entry (
    peer BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    endpoints BLOB NOT NULL,  -- MessagePack
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Signed records that were verified; seq never falls.
CREATE TABLE record (
    peer BLOB PRIMARY KEY,
    seq INTEGER NOT NULL,
    key BLOB NOT NULL,
    payload BLOB NOT NULL,
    signature BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE conversation (
    conversation BLOB PRIMARY KEY,
    peer BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL DEFAULT '',
    read_n INTEGER NOT NULL DEFAULT 0,  -- the last row a person saw
    unread INTEGER NOT NULL DEFAULT 0,  -- rows of theirs behind it
    last_ms INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE history (
    n INTEGER PRIMARY KEY,
    conversation BLOB NOT NULL,
    peer BLOB NOT NULL,    -- the other person
    sender BLOB NOT NULL,
    id BLOB NOT NULL,
    kind TEXT NOT NULL,
    sent_ms INTEGER NOT NULL,    -- by the sender's clock
    stored_ms INTEGER NOT NULL,  -- by ours
    body TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    UNIQUE (conversation, sender, id)
) STRICT;
CREATE INDEX history_page ON history (conversation, n);
CREATE INDEX history_file ON history (id) WHERE kind = 'file';

-- Rows of the history that the other side has neither stored nor refused.
CREATE TABLE outbox (
    n INTEGER PRIMARY KEY REFERENCES history (n),
    peer BLOB NOT NULL,  -- the key it is for, whoever has the name now
    id BLOB NOT NULL
) STRICT;
CREATE INDEX outbox_order ON outbox (peer, n);
CREATE UNIQUE INDEX outbox_id ON outbox (peer, id);

CREATE TABLE transfer (
    t INTEGER PRIMARY KEY,
    peer BLOB NOT NULL,
    fid BLOB NOT NULL,
    outgoing INTEGER NOT NULL,
    title TEXT NOT NULL,
    total_files INTEGER NOT NULL,
    total_bytes INTEGER NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    saved_to BLOB NOT NULL,  -- a path: bytes, since paths need not be text
    offered_ms INTEGER NOT NULL,
    ended_ms INTEGER,
    forgotten INTEGER NOT NULL DEFAULT 0,
    UNIQUE (peer, fid)
) STRICT;
CREATE TABLE transfer_file (
    t INTEGER NOT NULL REFERENCES transfer (t) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    path BLOB NOT NULL,  -- the offered parts, MessagePack
    size INTEGER NOT NULL,
    mtime_ms INTEGER NOT NULL,
    source BLOB NOT NULL,  -- outgoing: the path read from
    part BLOB NOT NULL,    -- incoming: the file written to
    synced INTEGER NOT NULL,  -- bytes of part that are on the disk for certain
    final BLOB NOT NULL,   -- incoming: the name it has got
    done INTEGER NOT NULL,
    PRIMARY KEY (t, number)
) STRICT, WITHOUT ROWID;
""",
    """
CREATE TABLE block (
    peer BLOB PRIMARY KEY,
    since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
-- Keys that came under a pinned name and that the person decided against.
CREATE TABLE unwanted_key (
    peer BLOB PRIMARY KEY,
    since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
""",
    """
ALTER TABLE list_entry ADD COLUMN proven INTEGER NOT NULL DEFAULT 0;  -- of the endpoints, from the first on
""",
    """
-- The words of the history, up to row `indexed.n`.  `talk` is the conversation as a word of its
-- own, so that a search in one never walks through the others.  No trigger fills it: each savepoint
-- would write it out, and SQLite before 3.41 refuses FTS5 there with an untrusted schema.
CREATE VIRTUAL TABLE history_text USING fts5(
    body, talk, content = '', columnsize = 0, tokenize = "unicode61 remove_diacritics 2"
);
CREATE TABLE indexed (only INTEGER PRIMARY KEY CHECK (only = 1), n INTEGER NOT NULL) STRICT;
INSERT INTO indexed VALUES (1, 0);

-- Since when a row waits: a message that was sent again waits anew.
ALTER TABLE outbox ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
UPDATE outbox SET since_ms = (SELECT stored_ms FROM history WHERE history.n = outbox.n);

-- What the screen had open, and what was typed there and not sent.
CREATE TABLE tab (
    peer BLOB PRIMARY KEY,
    place INTEGER,  -- from the left; NULL when the tab is closed
    draft TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
""",
    """
-- What a transfer needs to go on after a restart.
ALTER TABLE transfer ADD COLUMN directory BLOB NOT NULL DEFAULT x'';
ALTER TABLE transfer ADD COLUMN stem TEXT NOT NULL DEFAULT '';
ALTER TABLE transfer ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE transfer_file ADD COLUMN mark BLOB NOT NULL DEFAULT x'';    -- outgoing: by which it is known unchanged
ALTER TABLE transfer_file ADD COLUMN digest BLOB NOT NULL DEFAULT x'';  -- incoming: verified, about to be named
CREATE TABLE file_rule (
    peer BLOB PRIMARY KEY,
    kind TEXT NOT NULL,
    max_bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
""",
    """
ALTER TABLE transfer ADD COLUMN person TEXT NOT NULL DEFAULT '';  -- incoming: the name of their folder
""",
)

WAITING_STATES = (MessageState.WAITING, MessageState.SENT, MessageState.HELD)

_MOST_VALUES = 10_000  # in one statement; SQLite takes 32,766
_ROWS_AT_ONCE = 64  # stored by one statement

_encode = msgspec.msgpack.encode
_endpoints = msgspec.msgpack.Decoder(list[Endpoint])
_path = msgspec.msgpack.Decoder(tuple[str, ...])


class Pin(NamedTuple):
    """A key that a name belongs to, or belonged to."""

    peer: PeerID
    name: str
    first_ms: int
    verified: int
    seq: int  # of the highest signed record seen; 0 when none was
    current: bool


class SavedList(NamedTuple):
    registry: PeerID | None
    cursor: bytes
    saved_ms: int
    entries: list[Entry]


class NewMessage(NamedTuple):
    """What becomes a row of the history."""

    conversation: bytes
    peer: PeerID
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
    conversation: bytes
    peer: PeerID
    sender: PeerID
    id: bytes
    kind: MessageKind
    sent_ms: int
    stored_ms: int
    body: str
    state: MessageState
    reason: str


class Incoming(NamedTuple):
    """What became of a message: ``message`` is the row that stands, also after a conflict."""

    outcome: Literal["stored", "duplicate", "conflict"]
    message: StoredMessage


class Conversation(NamedTuple):
    peer: PeerID
    name: str  # the last one known, may be empty
    read_n: int
    unread: int
    last_ms: int


class Found(NamedTuple):
    """A page of a search, the newest row first; the next one is below ``before_n``, None at the end."""

    rows: list[StoredMessage]
    before_n: int | None


class TabRow(NamedTuple):
    peer: PeerID
    draft: str
    open: bool


class TransferRow(NamedTuple):
    peer: PeerID
    fid: bytes
    outgoing: bool
    title: str
    total_files: int
    total_bytes: int
    state: TransferState
    code: str
    reason: str
    saved_to: str
    offered_ms: int
    ended_ms: int | None
    directory: str = ""  # incoming: the one that was chosen
    stem: str = ""  # incoming: how the names of its parts begin
    paused: int = 0  # 1: here, 2: there, 3: both
    person: str = ""  # incoming: the name of their folder


class TransferChanges(TypedDict, total=False):
    """What may change in a transfer."""

    state: TransferState
    code: str
    reason: str
    saved_to: str
    ended_ms: int | None
    directory: str
    stem: str
    paused: int
    person: str


class FileRow(NamedTuple):
    number: int
    path: tuple[str, ...]
    size: int
    mtime_ms: int
    source: str = ""
    part: str = ""
    synced: int = 0
    final: str = ""  # until it is done, the folder that it gets its name in
    done: bool = False
    mark: bytes = b""
    digest: bytes = b""


_MESSAGE = "n, conversation, peer, sender, id, kind, sent_ms, stored_ms, body, state, reason"
_TRANSFER = (
    "peer, fid, outgoing, title, total_files, total_bytes, state, code, reason, saved_to, offered_ms, ended_ms,"
    " directory, stem, paused, person"
)
_FILE = "number, path, size, mtime_ms, source, part, synced, final, done, mark, digest"


class PeerStore(Settings):
    """A peer's rows, over a Database with this module's MIGRATIONS."""

    _unindexed = 0  # rows stored since the last that was indexed, at most

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

    # --- pins ----------------------------------------------------------------------------------

    def pins(self) -> Deferred[list[Pin]]:
        """All, the oldest first."""
        return self._database.read(lambda connection: _pins(connection, "1 = 1"))

    def add_pin(self, name: str, peer: PeerID, now_ms: int) -> Deferred[Pin]:
        """Remember the first key of a name; the pin that stands, which may be another key's."""

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
        verified: int,
        conversation: bytes,
        sender: PeerID,
        now_ms: int,
        reason: str,
    ) -> Deferred[tuple[list[StoredMessage], list[StoredMessage]]]:
        """The name belongs to the new key from now on, and what waits for the old one waits for it.

        One commit: never the one without the other.  The old key's pin stays, not current.  What
        waits moves into ``conversation``, in its order.  Returns the former rows, which end as
        REFUSED with ``reason``, and the new ones.
        """

        def job(connection: Connection) -> tuple[list[StoredMessage], list[StoredMessage]]:
            connection.execute("UPDATE pin SET current = 0 WHERE name = ? AND peer != ?", (name, new))
            connection.execute(
                "INSERT INTO pin (name, peer, first_ms, verified, current) VALUES (?, ?, ?, ?, 1)"
                " ON CONFLICT (name, peer) DO UPDATE SET verified = excluded.verified, current = 1",
                (name, new, now_ms, verified),
            )
            connection.execute("DELETE FROM unwanted_key WHERE peer = ?", (new,))
            _touch(connection, conversation, new, name, now_ms)
            ids = [id for (id,) in connection.execute("SELECT id FROM outbox WHERE peer = ? ORDER BY n", (old,))]
            former: list[StoredMessage] = []
            for start in range(0, len(ids), _MOST_VALUES):
                settled = _settle(connection, old, ids[start : start + _MOST_VALUES], MessageState.REFUSED, reason)
                former += _rows(connection, settled)
            there = _present(connection, conversation, sender, ids)
            about = (MessageKind.TEXT, MessageState.WAITING)
            moved = _add(
                connection,
                [
                    NewMessage(conversation, new, sender, row.id, about[0], row.sent_ms, now_ms, row.body, about[1])
                    for row in former
                    if row.id not in there
                ],
            )
            _put_out(connection, moved)
            return former, moved

        return self._database.run(job)

    def set_verified(self, name: str, peer: PeerID, level: int) -> Deferred[None]:
        """How people compared this key: 0 not, 1 by the short code, 2 by the whole number."""

        def job(connection: Connection) -> None:
            connection.execute("UPDATE pin SET verified = ? WHERE name = ? AND peer = ?", (level, name, peer))

        return self._database.run(job)

    def blocked(self) -> Deferred[set[PeerID]]:
        return self._database.read(lambda c: {PeerID(peer) for (peer,) in c.execute("SELECT peer FROM block")})

    def set_blocked(self, peer: PeerID, blocked: bool, now_ms: int) -> Deferred[None]:
        def job(connection: Connection) -> None:
            if blocked:
                connection.execute("INSERT OR IGNORE INTO block VALUES (?, ?)", (peer, now_ms))
            else:
                connection.execute("DELETE FROM block WHERE peer = ?", (peer,))

        return self._database.run(job)

    def unwanted_keys(self) -> Deferred[set[PeerID]]:
        return self._database.read(lambda c: {PeerID(peer) for (peer,) in c.execute("SELECT peer FROM unwanted_key")})

    def add_unwanted_key(self, peer: PeerID, now_ms: int) -> Deferred[None]:
        def job(connection: Connection) -> None:
            connection.execute("INSERT OR IGNORE INTO unwanted_key VALUES (?, ?)", (peer, now_ms))

        return self._database.run(job)

    def registry_pin(self, address: str) -> Deferred[PeerID | None]:
        """The key that answered first at the address, or was last pinned there."""

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

    # --- the last list, and records ------------------------------------------------------------

    def load_list(self) -> Deferred[SavedList]:
        """The list as it was last saved; empty, without a registry, before that."""

        def job(connection: Connection) -> SavedList:
            state = connection.execute("SELECT registry, cursor, saved_ms FROM list_state").fetchone()
            rows = connection.execute("SELECT peer, name, endpoints, seq, proven FROM list_entry")
            entries = [
                Entry(peer, name, _endpoints.decode(blob), seq, proven) for peer, name, blob, seq, proven in rows
            ]
            registry, cursor, saved_ms = state or (None, b"", 0)
            return SavedList(registry, cursor, saved_ms, entries)

        return self._database.read(job)

    def save_list(
        self,
        registry: PeerID,
        reset: bool,
        joined: Sequence[Entry],
        left: Iterable[bytes],
        cursor: bytes,
        now_ms: int,
    ) -> Deferred[list[PeerID]]:
        """Apply a change, or with ``reset`` (also when the registry is another) a whole new list.

        Returns whose entries were older, by ``seq``, than what is kept: the kept ones stay.
        """

        def job(connection: Connection) -> list[PeerID]:
            former = connection.execute("SELECT registry FROM list_state").fetchone()
            if former is None or former[0] != registry:
                connection.execute("DELETE FROM list_entry")  # its numbers say nothing about this registry's
            kept: dict[bytes, int] = dict(connection.execute("SELECT peer, seq FROM list_entry"))
            verified: dict[bytes, int] = dict(connection.execute("SELECT peer, seq FROM record"))
            old = [e.peer for e in joined if e.seq < max(kept.get(e.peer, 0), verified.get(e.peer, 0))]
            refused = set(old)
            gone = kept.keys() - {e.peer for e in joined} if reset else left
            connection.executemany("DELETE FROM list_entry WHERE peer = ?", ((peer,) for peer in gone))
            connection.executemany(
                "INSERT OR REPLACE INTO list_entry (peer, name, endpoints, seq, proven) VALUES (?, ?, ?, ?, ?)",
                ((e.peer, e.name, _encode(e.endpoints), e.seq, e.proven) for e in joined if e.peer not in refused),
            )
            connection.execute("INSERT OR REPLACE INTO list_state VALUES (1, ?, ?, ?)", (registry, cursor, now_ms))
            return [PeerID(peer) for peer in old]

        return self._database.run(job)

    def save_record(self, peer: PeerID, record: SignedRecord, seq: int) -> Deferred[bool]:
        """Keep a verified record; False when one with a higher ``seq`` is kept."""

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

    # --- messages ------------------------------------------------------------------------------

    def add_outgoing(self, message: NewMessage) -> Deferred[StoredMessage]:
        """A message of ours, in the history and in the outbox.  Its id is new."""
        self._count_unindexed(1)
        return self._database.run_together(_add_outgoing, message)

    def add_incoming(
        self, peer: PeerID, says: Sequence[Say], now_ms: int, chain: Chain | None = None
    ) -> Deferred[list[Incoming]]:
        """What ``peer`` said in one conversation; the first body of an id stays.

        ``chain``: those that keep an order.
        """

        def job(connection: Connection) -> list[Incoming]:
            conversation = says[0].conversation
            present = _present(connection, conversation, peer, [say.id for say in says])
            new: dict[bytes, NewMessage] = {}
            for say in says:
                if say.id not in present and say.id not in new:
                    about = (conversation, peer, peer, say.id, MessageKind.TEXT)
                    new[say.id] = NewMessage(*about, say.sent_ms, now_ms, say.body, MessageState.RECEIVED)
            added = {row.id: row for row in _add(connection, list(new.values()))}
            present |= added
            # The first of an id takes the row that it has become; whoever comes again finds it there.
            return [
                Incoming("stored", row) if (row := added.pop(say.id, None)) is not None else _again(say, present)
                for say in says
            ]

        self._count_unindexed(len(says))
        return self._database.run(job, chain)

    def outbox(self, peer: PeerID, after_n: int, limit: int) -> Deferred[list[StoredMessage]]:
        """What ``peer`` has not stored yet, behind row ``after_n``, in rising ``n``."""
        columns = ", ".join(f"history.{column}" for column in _MESSAGE.split(", "))

        def job(connection: Connection) -> list[StoredMessage]:
            return _messages(
                connection,
                f"SELECT {columns} FROM outbox JOIN history USING (n)"
                " WHERE outbox.peer = ? AND outbox.n > ? ORDER BY outbox.n LIMIT ?",
                (peer, after_n, limit),
            )

        return self._database.read(job)

    def waiting(self) -> Deferred[dict[PeerID, int]]:
        """How many messages wait for whom."""

        def job(connection: Connection) -> dict[PeerID, int]:
            return {
                PeerID(peer): n for peer, n in connection.execute("SELECT peer, COUNT(*) FROM outbox GROUP BY peer")
            }

        return self._database.read(job)

    def delivered(self, peer: PeerID, ids: Sequence[bytes]) -> Deferred[list[int]]:
        """``peer`` has stored these: they leave the outbox.  Returns the ``n`` of the rows that changed."""
        return self._database.run(lambda c: _settle(c, peer, ids, MessageState.DELIVERED, ""))

    def refused(self, peer: PeerID, id: bytes, reason: str) -> Deferred[StoredMessage | None]:
        """``peer`` will never store it: it leaves the outbox.  None when it was not there."""
        return self._database.run(lambda c: _only(_rows(c, _settle(c, peer, [id], MessageState.REFUSED, reason))))

    def release(self, peer: PeerID) -> Deferred[list[StoredMessage]]:
        """What was held for ``peer`` waits like the rest.  Returns the rows that changed."""

        def job(connection: Connection) -> list[StoredMessage]:
            return _messages(
                connection,
                "UPDATE history SET state = ?, reason = '' WHERE state = ?"
                f" AND n IN (SELECT n FROM outbox WHERE peer = ?) RETURNING {_MESSAGE}",
                (MessageState.WAITING.value, MessageState.HELD.value, peer),
            )

        return self._database.run(job)

    def set_state(self, n: int, state: MessageState, reason: str = "") -> Deferred[StoredMessage | None]:
        """Another state of one row; a state that does not wait takes it out of the outbox.

        None, and nothing changed, when the row is not there, or is settled and would wait again.
        """

        def job(connection: Connection) -> StoredMessage | None:
            if state not in WAITING_STATES:
                connection.execute("DELETE FROM outbox WHERE n = ?", (n,))
            elif connection.execute("SELECT 1 FROM outbox WHERE n = ?", (n,)).fetchone() is None:
                return None
            return _only(
                _messages(
                    connection,
                    f"UPDATE history SET state = ?, reason = ? WHERE n = ? RETURNING {_MESSAGE}",
                    (state.value, reason, n),
                )
            )

        return self._database.run(job)

    def expire(self, before_ms: int, under_way: Collection[int], reason: str) -> Deferred[list[StoredMessage]]:
        """What waits since before ``before_ms`` waits no longer; the rows that changed.

        Rows whose ``n`` is ``under_way`` stay: their acknowledgement may be on its way.
        """

        def job(connection: Connection) -> list[StoredMessage]:
            old = [n for (n,) in connection.execute("SELECT n FROM outbox WHERE since_ms < ?", (before_ms,))]
            changed: list[StoredMessage] = []
            for n in (n for n in old if n not in under_way):
                connection.execute("DELETE FROM outbox WHERE n = ?", (n,))
                changed += _messages(
                    connection,
                    f"UPDATE history SET state = ?, reason = ? WHERE n = ? RETURNING {_MESSAGE}",
                    (MessageState.EXPIRED.value, reason, n),
                )
            return changed

        return self._database.run(job)

    def resend(self, peer: PeerID, n: int, state: MessageState, now_ms: int) -> Deferred[StoredMessage | None]:
        """A message of ours that was refused or expired waits again, with the id it had.

        None, and nothing changed, when row ``n`` of ``peer`` is no such message.
        """

        def job(connection: Connection) -> StoredMessage | None:
            message = _only(
                _messages(
                    connection,
                    "UPDATE history SET state = ?, reason = '' WHERE n = ? AND peer = ? AND sender != peer"
                    f" AND kind = 'text' AND state IN ('refused', 'expired') RETURNING {_MESSAGE}",
                    (state.value, n, peer),
                )
            )
            if message is not None:
                _put_out(connection, [message._replace(stored_ms=now_ms)])
            return message

        return self._database.run(job)

    def add_file_row(self, offer: NewMessage) -> Deferred[StoredMessage]:
        """An offer's row in the conversation; the row that stands when the offer has one already."""

        def job(connection: Connection) -> StoredMessage:
            present = _present(connection, offer.conversation, offer.sender, [offer.id])
            return present[offer.id] if present else _add(connection, [offer])[0]

        return self._database.run(job)

    def set_file_state(self, fid: bytes, state: MessageState, reason: str = "") -> Deferred[StoredMessage | None]:
        """Another state of an offer's row, the latest with this ``fid``."""

        def job(connection: Connection) -> StoredMessage | None:
            return _only(
                _messages(
                    connection,
                    "UPDATE history SET state = ?, reason = ?"
                    " WHERE n = (SELECT MAX(n) FROM history WHERE id = ? AND kind = 'file')"
                    f" RETURNING {_MESSAGE}",
                    (state.value, reason, fid),
                )
            )

        return self._database.run(job)

    def history(
        self, conversation: bytes, before: int | None, limit: int
    ) -> Deferred[tuple[list[StoredMessage], bool]]:
        """The last rows before row ``before`` in rising ``n``, and whether older ones exist."""
        limit = max(1, min(limit, HISTORY_PAGE))

        def job(connection: Connection) -> tuple[list[StoredMessage], bool]:
            rows = _messages(
                connection,
                f"SELECT {_MESSAGE} FROM history WHERE conversation = ? AND n < ? ORDER BY n DESC LIMIT ?",
                (conversation, 2**63 - 1 if before is None else before, limit + 1),
            )
            return rows[:limit][::-1], len(rows) > limit

        return self._database.read(job)

    def history_after(self, conversation: bytes, after: int, limit: int) -> Deferred[tuple[list[StoredMessage], bool]]:
        """The first rows behind row ``after`` in rising ``n``, and whether newer ones exist."""

        def job(connection: Connection) -> tuple[list[StoredMessage], bool]:
            rows = _messages(
                connection,
                f"SELECT {_MESSAGE} FROM history WHERE conversation = ? AND n > ? ORDER BY n LIMIT ?",
                (conversation, after, limit + 1),
            )
            return rows[:limit], len(rows) > limit

        return self._database.read(job)

    async def search(
        self,
        query: Query,
        conversation: bytes | None = None,
        sender: PeerID | None = None,
        since_ms: int | None = None,
        before_n: int | None = None,
        limit: int = SEARCH_PAGE,
    ) -> Found:
        """Rows that ``query`` finds, the newest first, below row ``before_n``.

        At most SEARCH_ROWS rows are looked at in one call, so that none lasts long: a page may be
        short, or empty, and there is more behind it.
        """
        limit = max(1, min(limit, SEARCH_PAGE))
        newest = 2**63 - 1 if before_n is None else before_n

        def job(connection: Connection) -> Found:
            found: list[StoredMessage] = []
            looked_at, last_n = 0, newest
            for row in _candidates(connection, query, conversation, newest):
                looked_at, last_n = looked_at + 1, row.n
                if since_ms is not None and row.stored_ms < since_ms:
                    if row.stored_ms < since_ms - CLOCK_SLACK_MS:
                        return Found(found, None)  # what is below is older still
                elif (
                    conversation in (None, row.conversation) and sender in (None, row.sender) and query.is_in(row.body)
                ):
                    found.append(row._replace(kind=MessageKind(row.kind), state=MessageState(row.state)))
                    if len(found) == limit:
                        return Found(found, last_n)
            return Found(found, last_n if looked_at == SEARCH_ROWS else None)

        await self.index()
        return await self._database.read(job)

    def probe(self) -> Deferred[None]:
        """Write more than a message has: a disk that fails, or is full, fails here too."""

        def write(connection: Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO setting VALUES ('probe', ?)", ("." * PROBE_BYTES,))

        def undo(connection: Connection) -> None:
            connection.execute("DELETE FROM setting WHERE key = 'probe'")

        return self._database.run(write).addCallback(lambda nothing: self._database.run(undo))

    async def index(self) -> None:
        """Make all that is stored ready to be found; a disk that takes nothing leaves the newest rows out."""
        self._unindexed = 0
        with suppress(StoreFailed):
            while await self._database.run(_index):
                pass

    def _count_unindexed(self, rows: int) -> None:
        """Index many rows at once: one by one it would cost more than storing them."""
        self._unindexed += rows
        if self._unindexed >= INDEX_ROWS:
            self._unindexed = 0
            self._database.run(_index).addErrback(lambda failure: failure.trap(StoreFailed))

    # --- conversations -------------------------------------------------------------------------

    def conversations(self) -> Deferred[list[Conversation]]:
        """All, the latest first; one without a name of its own has that of the key's pin."""

        def job(connection: Connection) -> list[Conversation]:
            rows = connection.execute(
                "SELECT peer, iif(name != '', name, coalesce("
                " (SELECT pin.name FROM pin WHERE pin.peer = conversation.peer ORDER BY current DESC, first_ms DESC),"
                " '')), read_n, unread, last_ms FROM conversation ORDER BY last_ms DESC"
            )
            return [Conversation(*row) for row in rows]

        return self._database.read(job)

    def touch_conversation(self, conversation: bytes, peer: PeerID, name: str, now_ms: int) -> Deferred[None]:
        """The conversation exists, with this name, and something happened in it now."""

        return self._database.run(lambda connection: _touch(connection, conversation, peer, name, now_ms))

    def written_to(self, me: PeerID) -> Deferred[set[PeerID]]:
        """Whom we ever wrote to, or offered a file."""

        def job(connection: Connection) -> set[PeerID]:
            rows = connection.execute(
                "SELECT peer FROM conversation WHERE EXISTS (SELECT 1 FROM history"
                " WHERE history.conversation = conversation.conversation AND sender = ?)",
                (me,),
            )
            return {PeerID(peer) for (peer,) in rows}

        return self._database.read(job)

    def mark_read(self, peer: PeerID, n: int) -> Deferred[int]:
        """Rows up to ``n`` were seen; the mark never goes back.  Returns what is unread still."""

        def job(connection: Connection) -> int:
            row = connection.execute(
                "UPDATE conversation SET read_n = max(read_n, ?) WHERE peer = ? RETURNING conversation, read_n",
                (n, peer),
            ).fetchone()
            if row is None:
                return 0
            (unread,) = connection.execute(
                "SELECT COUNT(*) FROM history WHERE conversation = ? AND n > ? AND sender = ?", (*row, peer)
            ).fetchone()
            connection.execute("UPDATE conversation SET unread = ? WHERE peer = ?", (unread, peer))
            return int(unread)

        return self._database.run(job)

    # --- what the screen had open --------------------------------------------------------------

    def tabs(self) -> Deferred[list[TabRow]]:
        """From the left; then those that are closed and have a draft."""

        def job(connection: Connection) -> list[TabRow]:
            rows = connection.execute("SELECT peer, draft, place IS NOT NULL FROM tab ORDER BY place IS NULL, place")
            return [TabRow(PeerID(peer), draft, bool(is_open)) for peer, draft, is_open in rows]

        return self._database.read(job)

    def set_tabs(self, peers: Sequence[PeerID]) -> Deferred[None]:
        """These tabs are open, from the left, and no others."""

        def job(connection: Connection) -> None:
            connection.execute("UPDATE tab SET place = NULL")
            connection.executemany(
                "INSERT INTO tab (peer, place) VALUES (?, ?) ON CONFLICT (peer) DO UPDATE SET place = excluded.place",
                ((peer, place) for place, peer in enumerate(peers)),
            )
            connection.execute("DELETE FROM tab WHERE place IS NULL AND draft = ''")

        return self._database.run(job)

    def set_draft(self, peer: PeerID, draft: str) -> Deferred[None]:
        """What stands in the input for ``peer``."""

        def job(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO tab (peer, draft) VALUES (?, ?) ON CONFLICT (peer) DO UPDATE SET draft = excluded.draft",
                (peer, draft),
            )
            connection.execute("DELETE FROM tab WHERE place IS NULL AND draft = ''")

        return self._database.run(job)

    # --- transfers -----------------------------------------------------------------------------

    def add_transfer(self, row: TransferRow, files: Sequence[FileRow]) -> Deferred[None]:
        """An offer, either way.  Fails with sqlite3.IntegrityError when ``(peer, fid)`` is known."""

        def job(connection: Connection) -> None:
            paths: dict[str, Any] = {"saved_to": os.fsencode(row.saved_to), "directory": os.fsencode(row.directory)}
            values = row._replace(**paths, state=row.state.value)  # type: ignore[arg-type]
            marks = ", ".join("?" * len(values))
            cursor = connection.execute(f"INSERT INTO transfer ({_TRANSFER}) VALUES ({marks})", values)
            connection.executemany(
                f"INSERT INTO transfer_file (t, {_FILE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                ((cursor.lastrowid, *_file_values(file)) for file in files),
            )

        return self._database.run(job)

    def update_transfer(
        self, peer: PeerID, fid: bytes, **changes: Unpack[TransferChanges]
    ) -> Deferred[TransferRow | None]:
        """Change the named columns; None when there is no such transfer."""
        values: dict[str, Any] = dict(changes)
        if unknown := values.keys() - TransferChanges.__annotations__.keys():
            raise TypeError(f"a transfer has no {unknown} to change")
        if "state" in values:
            values["state"] = changes["state"].value
        for column in ("saved_to", "directory"):
            if column in values:
                values[column] = os.fsencode(values[column])
        assignments = ", ".join(f"{column} = ?" for column in values) or "fid = fid"

        def job(connection: Connection) -> TransferRow | None:
            row = connection.execute(
                f"UPDATE transfer SET {assignments} WHERE peer = ? AND fid = ? RETURNING {_TRANSFER}",
                (*values.values(), peer, fid),
            ).fetchone()
            return None if row is None else _transfer(row)

        return self._database.run(job)

    def transfers(self) -> Deferred[list[TransferRow]]:
        """All that were not forgotten, in the order of offering."""

        def job(connection: Connection) -> list[TransferRow]:
            rows = connection.execute(f"SELECT {_TRANSFER} FROM transfer WHERE forgotten = 0 ORDER BY offered_ms, t")
            return [_transfer(row) for row in rows]

        return self._database.read(job)

    def transfer_files(self, peer: PeerID, fid: bytes) -> Deferred[list[FileRow]]:
        """The files of one transfer by their numbers; none once it is forgotten."""

        def job(connection: Connection) -> list[FileRow]:
            rows = connection.execute(
                f"SELECT {_FILE} FROM transfer_file JOIN transfer USING (t) WHERE peer = ? AND fid = ? ORDER BY number",
                (peer, fid),
            )
            return [_file(row) for row in rows]

        return self._database.read(job)

    def forget_ended(self) -> Deferred[None]:
        """Ended transfers leave ``transfers()``; their ids stay known."""
        ended = tuple(state.value for state in ENDED)
        these = f"transfer WHERE forgotten = 0 AND state IN ({', '.join('?' * len(ended))})"

        def job(connection: Connection) -> None:
            connection.execute(f"DELETE FROM transfer_file WHERE t IN (SELECT t FROM {these})", ended)
            connection.execute(f"UPDATE transfer SET forgotten = 1 WHERE t IN (SELECT t FROM {these})", ended)

        return self._database.run(job)

    def file_synced(self, peer: PeerID, fid: bytes, number: int, part: str, synced: int) -> Deferred[None]:
        """The first ``synced`` bytes of ``part`` are on the disk; forgotten, they are sent again."""

        def job(connection: Connection) -> None:
            connection.execute(
                "UPDATE transfer_file SET part = ?, synced = ?"
                " WHERE t = (SELECT t FROM transfer WHERE peer = ? AND fid = ?) AND number = ? AND digest = x''",
                (os.fsencode(part), synced, peer, fid, number),
            )

        return self._database.run(job, lasting=False)

    def files_whole(self, peer: PeerID, fid: bytes, files: Sequence[tuple[int, str, bytes, str]]) -> Deferred[None]:
        """These, ``(number, part, digest, folder)``, are on the disk and verified; their names come next."""

        def job(connection: Connection) -> None:
            connection.executemany(
                "UPDATE transfer_file SET part = ?, synced = size, digest = ?, final = ?"
                " WHERE t = (SELECT t FROM transfer WHERE peer = ? AND fid = ?) AND number = ?",
                [
                    (os.fsencode(part), digest, os.fsencode(folder), peer, fid, number)
                    for number, part, digest, folder in files
                ],
            )

        return self._database.run(job)

    def files_done(self, peer: PeerID, fid: bytes, files: Sequence[tuple[int, str]]) -> Deferred[None]:
        """These files, ``(number, final name)``, are verified and have their names; forgotten, they are found again."""

        def job(connection: Connection) -> None:
            connection.executemany(
                "UPDATE transfer_file SET done = 1, synced = size, part = x'', final = ?"
                " WHERE t = (SELECT t FROM transfer WHERE peer = ? AND fid = ?) AND number = ?",
                [(os.fsencode(final), peer, fid, number) for number, final in files],
            )

        return self._database.run(job, lasting=False)

    def transfer(self, peer: PeerID, fid: bytes) -> Deferred[TransferRow | None]:
        """One transfer, also a forgotten one."""

        def job(connection: Connection) -> TransferRow | None:
            row = connection.execute(
                f"SELECT {_TRANSFER} FROM transfer WHERE peer = ? AND fid = ?", (peer, fid)
            ).fetchone()
            return None if row is None else _transfer(row)

        return self._database.read(job)

    def received_files(self, peer: PeerID) -> Deferred[list[FileRow]]:
        """All files of this peer that stand under their final names, the oldest first."""

        def job(connection: Connection) -> list[FileRow]:
            rows = connection.execute(
                f"SELECT {_FILE} FROM transfer_file JOIN transfer USING (t)"
                " WHERE peer = ? AND outgoing = 0 AND done = 1 ORDER BY t, number",
                (peer,),
            )
            return [_file(row) for row in rows]

        return self._database.read(job)

    def file_rules(self) -> Deferred[dict[PeerID, FileRule]]:
        """By person, of whom there is one."""

        def job(connection: Connection) -> dict[PeerID, FileRule]:
            rows = connection.execute("SELECT peer, kind, max_bytes FROM file_rule")
            return {PeerID(peer): FileRule(RuleKind(kind), max_bytes) for peer, kind, max_bytes in rows}

        return self._database.read(job)

    def set_file_rule(self, peer: PeerID, rule: FileRule) -> Deferred[None]:
        def job(connection: Connection) -> None:
            connection.execute("DELETE FROM file_rule WHERE peer = ?", (peer,))
            if rule.kind is not RuleKind.ASK:
                connection.execute("INSERT INTO file_rule VALUES (?, ?, ?)", (peer, rule.kind.value, rule.max_bytes))

        return self._database.run(job)


# --- inside a job ------------------------------------------------------------------------------


def _pins(connection: Connection, condition: str, *values: Any) -> list[Pin]:
    rows = connection.execute(
        "SELECT peer, name, first_ms, verified, coalesce(seq, 0), current FROM pin LEFT JOIN record USING (peer)"
        f" WHERE {condition} ORDER BY first_ms",
        values,
    )
    return [
        Pin(peer, name, first_ms, verified, seq, bool(current)) for peer, name, first_ms, verified, seq, current in rows
    ]


def _messages(connection: Connection, sql: str, values: Sequence[Any]) -> list[StoredMessage]:
    """The rows of a statement that gives the columns of _MESSAGE."""
    found = (StoredMessage(*row) for row in connection.execute(sql, values))
    return [row._replace(kind=MessageKind(row.kind), state=MessageState(row.state)) for row in found]


def _touch(connection: Connection, conversation: bytes, peer: PeerID, name: str, now_ms: int) -> None:
    connection.execute(
        "INSERT INTO conversation (conversation, peer, name, last_ms) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (conversation) DO UPDATE SET name = excluded.name, last_ms = max(last_ms, excluded.last_ms)",
        (conversation, peer, name, now_ms),
    )


def _only(messages: list[StoredMessage]) -> StoredMessage | None:
    return messages[0] if messages else None


def _add(connection: Connection, messages: Sequence[NewMessage]) -> list[StoredMessage]:
    """New rows, counted in their conversations.  Raises IntegrityError when one is there.

    In few statements: each gives Python's lock away, and may wait for it longer than it works.
    """
    (last,) = connection.execute("SELECT coalesce(max(n), 0) FROM history").fetchone()
    added = [StoredMessage(n, *message, reason="") for n, message in enumerate(messages, last + 1)]
    _insert(connection, "history", _MESSAGE, added)
    for (conversation, peer), (unread, last_ms) in _tally(messages).items():
        connection.execute(
            "INSERT INTO conversation (conversation, peer, unread, last_ms) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (conversation) DO UPDATE"
            " SET unread = unread + excluded.unread, last_ms = max(last_ms, excluded.last_ms)",
            (conversation, peer, unread, last_ms),
        )
    return added


def _tally(messages: Sequence[NewMessage]) -> dict[tuple[bytes, PeerID], tuple[int, int]]:
    """By conversation and person: how many are theirs, and when the latest was stored."""
    tally: dict[tuple[bytes, PeerID], tuple[int, int]] = {}
    for message in messages:
        talk = message.conversation, message.peer
        unread, last_ms = tally.get(talk, (0, 0))
        tally[talk] = unread + (message.sender == message.peer), max(last_ms, message.stored_ms)
    return tally


def _insert(connection: Connection, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    """Many rows in one statement."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE]
        marks = ", ".join("?" * len(some[0]))
        connection.execute(
            f"INSERT INTO {table} ({columns}) VALUES ({'), ('.join([marks] * len(some))})", list(chained(*some))
        )


def _present(
    connection: Connection, conversation: bytes, sender: PeerID, ids: Sequence[bytes]
) -> dict[bytes, StoredMessage]:
    """The rows of these ids that are there already."""
    found: dict[bytes, StoredMessage] = {}
    for start in range(0, len(ids), _MOST_VALUES):
        some = ids[start : start + _MOST_VALUES]
        rows = _messages(
            connection,
            f"SELECT {_MESSAGE} FROM history WHERE conversation = ? AND sender = ? AND id IN ({_marks(some)})",
            (conversation, sender, *some),
        )
        found |= {row.id: row for row in rows}
    return found


def _again(say: Say, present: Mapping[bytes, StoredMessage]) -> Incoming:
    row = present[say.id]
    same = row.body == say.body and row.kind is MessageKind.TEXT
    return Incoming("duplicate" if same else "conflict", row)


def _index(connection: Connection) -> bool:
    """Look up the words of the next INDEX_ROWS rows; whether there may be more."""
    (done,) = connection.execute("SELECT n FROM indexed").fetchone()
    upto, count = connection.execute(
        "SELECT max(n), count(*) FROM (SELECT n FROM history WHERE n > ? ORDER BY n LIMIT ?)", (done, INDEX_ROWS)
    ).fetchone()
    if count:
        connection.execute(
            "INSERT INTO history_text (rowid, body, talk) SELECT n, body, hex(substr(conversation, 1, 6))"
            " FROM history WHERE n > ? AND n <= ?",
            (done, upto),
        )
        connection.execute("UPDATE indexed SET n = ?", (upto,))
    return bool(count == INDEX_ROWS)


def _add_outgoing(connection: Connection, messages: Sequence[NewMessage]) -> list[StoredMessage]:
    added = _add(connection, messages)
    _put_out(connection, added)
    return added


def _put_out(connection: Connection, messages: Sequence[StoredMessage]) -> None:
    """These wait for their receivers from now on, when they were stored."""
    rows = [(message.n, message.peer, message.id, message.stored_ms) for message in messages]
    _insert(connection, "outbox", "n, peer, id, since_ms", rows)


def _candidates(
    connection: Connection, query: Query, conversation: bytes | None, before_n: int
) -> Iterator[StoredMessage]:
    """The newest SEARCH_ROWS rows below ``before_n`` that have the words, read as they are needed."""
    columns = ", ".join(f"history.{column}" for column in _MESSAGE.split(", "))
    values: tuple[Any, ...] = ()
    if query.words:
        rows = "history_text CROSS JOIN history ON history.n = history_text.rowid WHERE history_text MATCH ? AND"
        n, values = "history_text.rowid", (query.match(conversation),)
    elif conversation is not None:
        rows, n, values = "history WHERE conversation = ? AND", "n", (conversation,)
    else:
        rows, n = "history WHERE", "n"
    return map(
        StoredMessage._make,
        connection.execute(
            f"SELECT {columns} FROM {rows} {n} < ? ORDER BY {n} DESC LIMIT ?", (*values, before_n, SEARCH_ROWS)
        ),
    )


def _settle(connection: Connection, peer: PeerID, ids: Sequence[bytes], state: MessageState, reason: str) -> list[int]:
    """Take these out of the outbox; the ``n`` of the rows that were there, in rising order."""
    waiting = f"SELECT json_group_array(n) FROM outbox WHERE peer = ? AND id IN ({_marks(ids)})"
    (found,) = connection.execute(waiting, (peer, *ids)).fetchone()
    numbers: list[int] = sorted(msgspec.json.decode(found))
    marks = _marks(numbers)
    connection.execute(
        f"UPDATE history SET state = ?, reason = ? WHERE n IN ({marks})", (state.value, reason, *numbers)
    )
    connection.execute(f"DELETE FROM outbox WHERE n IN ({marks})", numbers)
    return numbers


def _rows(connection: Connection, numbers: Sequence[int]) -> list[StoredMessage]:
    """These rows of the history, in rising ``n``."""
    return _messages(connection, f"SELECT {_MESSAGE} FROM history WHERE n IN ({_marks(numbers)}) ORDER BY n", numbers)


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _transfer(row: Sequence[Any]) -> TransferRow:
    found = TransferRow(*row)
    return found._replace(
        outgoing=bool(found.outgoing),
        state=TransferState(found.state),
        saved_to=os.fsdecode(found.saved_to),
        directory=os.fsdecode(found.directory),
    )


def _file_values(file: FileRow) -> tuple[Any, ...]:
    return (
        *(file.number, _encode(file.path), file.size, file.mtime_ms, os.fsencode(file.source), os.fsencode(file.part)),
        *(file.synced, os.fsencode(file.final), file.done, file.mark, file.digest),
    )


def _file(row: Sequence[Any]) -> FileRow:
    number, path, size, mtime_ms, source, part, synced, final, done, mark, digest = row
    source, part, final = map(os.fsdecode, (source, part, final))
    return FileRow(number, _path.decode(path), size, mtime_ms, source, part, synced, final, bool(done), mark, digest)
