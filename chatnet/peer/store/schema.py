"""The tables of a peer: each script brings the schema one version further."""

from __future__ import annotations

from chatnet.host.database import Settings

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
    """
-- What one talks in: a person now, later also a room.  `conversation` stays the id on the wire.
ALTER TABLE history RENAME COLUMN peer TO chat;
ALTER TABLE conversation RENAME COLUMN peer TO chat;
ALTER TABLE tab RENAME COLUMN peer TO chat;
""",
    """
-- Whether the other side knows how a transfer ended: until then it is said on each new link.
ALTER TABLE transfer ADD COLUMN told INTEGER NOT NULL DEFAULT 1;
-- What the waiting clock showed when it was offered, or when it ended.
ALTER TABLE transfer ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
UPDATE transfer SET since_ms = coalesce(ended_ms, offered_ms);
""",
    """
-- Whether a person here took a request or an offer of this chat, or wrote first.
ALTER TABLE conversation ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0;
-- Strangers whose messages and offers are kept until a person decides, and from where the first of them came.
CREATE TABLE request (
    peer BLOB PRIMARY KEY,
    host TEXT NOT NULL,
    name TEXT NOT NULL  -- which they claim
) STRICT, WITHOUT ROWID;
-- Who stood in a list of a registry, and so was shown as a person, and whose files were taken, goes on so.
UPDATE conversation SET accepted = 1 WHERE chat IN (SELECT peer FROM pin) OR chat IN
    (SELECT peer FROM transfer WHERE outgoing = 1 OR state NOT IN ('offered', 'declined', 'cancelled'));
INSERT INTO request (peer, host, name) SELECT chat, '', '' FROM conversation
    WHERE accepted = 0 AND chat NOT IN (SELECT peer FROM block)
    AND EXISTS (SELECT 1 FROM history WHERE history.conversation = conversation.conversation)
    AND NOT EXISTS (SELECT 1 FROM history WHERE history.conversation = conversation.conversation
        AND sender != conversation.chat);
""",
    """
-- What people see of an offer before they answer it: its files are not read for that.
ALTER TABLE transfer ADD COLUMN folders INTEGER NOT NULL DEFAULT 0;
ALTER TABLE transfer ADD COLUMN names BLOB NOT NULL DEFAULT x'';  -- the first few, MessagePack
ALTER TABLE transfer ADD COLUMN warning TEXT NOT NULL DEFAULT '';
-- The files of offers that came in and are not accepted: packed pages, which become rows of transfer_file.
CREATE TABLE offer_page (
    t INTEGER NOT NULL REFERENCES transfer (t) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    files BLOB NOT NULL,
    PRIMARY KEY (t, number)
) STRICT, WITHOUT ROWID;
""",
    """
-- What people see of an offer beside its files: MessagePack of OfferDetails, empty before there was such.
ALTER TABLE transfer ADD COLUMN details BLOB NOT NULL DEFAULT x'';
-- The empty folders of a transfer, either way, in packed pages.
CREATE TABLE folder_page (
    t INTEGER NOT NULL REFERENCES transfer (t) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    folders BLOB NOT NULL,
    PRIMARY KEY (t, number)
) STRICT, WITHOUT ROWID;
""",
    """
-- Who was in the list and is not, the latest of them: they can be written to.
CREATE TABLE former_entry (
    peer BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    endpoints BLOB NOT NULL,  -- MessagePack
    seq INTEGER NOT NULL,
    left_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
""",
    """
-- A person's history is in the chat of their current key, whichever key a row was exchanged with.
DROP INDEX history_page;
CREATE INDEX history_page ON history (chat, n);
-- The ids that conversations with a person's former keys have on the wire: by them a search finds their rows.
CREATE TABLE former_conversation (
    chat BLOB NOT NULL,
    conversation BLOB NOT NULL,
    PRIMARY KEY (chat, conversation)
) STRICT, WITHOUT ROWID;
""",
)
