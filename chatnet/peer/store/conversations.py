"""Conversations as a whole, and what the screen had open of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred

from chatnet.core.chats import joined_drafts
from chatnet.core.identity import ChatID, PeerID
from chatnet.host.database import Connection, Database
from chatnet.peer.store.history_rows import touch


class Conversation(NamedTuple):
    chat: ChatID
    name: str  # the last one known, may be empty
    read_n: int
    unread: int
    last_ms: int
    accepted: bool = False  # by a person here


class OpenTabRow(NamedTuple):
    chat: ChatID
    draft: str
    open: bool


class ConversationRows:
    """Conversations, and the tabs and drafts of the screen.  A part of ``PeerStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> Deferred[list[Conversation]]:
        """Return all conversations but requests, the latest first.

        One without a name of its own has that of the key's pin.
        """

        def job(connection: Connection) -> list[Conversation]:
            rows = connection.execute(
                "SELECT chat, iif(name != '', name, coalesce("
                " (SELECT pin.name FROM pin WHERE pin.peer = conversation.chat ORDER BY current DESC, first_ms DESC),"
                " '')), read_n, unread, last_ms, accepted FROM conversation"
                " WHERE accepted = 1 OR chat NOT IN (SELECT peer FROM request) ORDER BY last_ms DESC"
            )
            return [Conversation(*row)._replace(accepted=bool(row[-1])) for row in rows]

        return self._database.read(job)

    def touch(self, conversation: bytes, chat: ChatID, name: str, now_ms: int) -> Deferred[None]:
        """Note that the conversation exists, with this name, and that something happened in it now."""

        return self._database.run(lambda connection: touch(connection, conversation, chat, name, now_ms))

    def written_to(self, me: PeerID) -> Deferred[set[ChatID]]:
        """Return the chats in which we ever wrote, or offered a file."""

        def job(connection: Connection) -> set[ChatID]:
            rows = connection.execute(
                "SELECT chat FROM conversation WHERE EXISTS (SELECT 1 FROM history"
                " WHERE history.conversation = conversation.conversation AND sender = ?"
                " AND history.chat = conversation.chat)",
                (me,),
            )
            return {ChatID(chat) for (chat,) in rows}

        return self._database.read(job)

    def mark_read(self, me: PeerID, chat: ChatID, n: int) -> Deferred[int]:
        """Note that rows up to ``n`` were seen; the mark never goes back.

        Returns how many of theirs are unread still.
        """

        def job(connection: Connection) -> int:
            row = connection.execute(
                "UPDATE conversation SET read_n = max(read_n, ?) WHERE chat = ? RETURNING read_n",
                (n, chat),
            ).fetchone()
            if row is None:
                return 0
            (unread,) = connection.execute(
                "SELECT COUNT(*) FROM history WHERE chat = ? AND n > ? AND sender != ?", (chat, *row, me)
            ).fetchone()
            connection.execute("UPDATE conversation SET unread = ? WHERE chat = ?", (unread, chat))
            return int(unread)

        return self._database.run(job)

    def tabs(self) -> Deferred[list[OpenTabRow]]:
        """Return the tabs from the left; then those that are closed and have a draft."""

        def job(connection: Connection) -> list[OpenTabRow]:
            rows = connection.execute("SELECT chat, draft, place IS NOT NULL FROM tab ORDER BY place IS NULL, place")
            return [OpenTabRow(ChatID(chat), draft, bool(is_open)) for chat, draft, is_open in rows]

        return self._database.read(job)

    def set_tabs(self, chats: Sequence[ChatID]) -> Deferred[None]:
        """Save which tabs are open, from the left; no others are."""

        def job(connection: Connection) -> None:
            connection.execute("UPDATE tab SET place = NULL")
            connection.executemany(
                "INSERT INTO tab (chat, place) VALUES (?, ?) ON CONFLICT (chat) DO UPDATE SET place = excluded.place",
                ((chat, place) for place, chat in enumerate(chats)),
            )
            connection.execute("DELETE FROM tab WHERE place IS NULL AND draft = ''")

        return self._database.run(job)

    def set_draft(self, chat: ChatID, draft: str) -> Deferred[None]:
        """Save the text in the input of ``chat``."""

        def job(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO tab (chat, draft) VALUES (?, ?) ON CONFLICT (chat) DO UPDATE SET draft = excluded.draft",
                (chat, draft),
            )
            connection.execute("DELETE FROM tab WHERE place IS NULL AND draft = ''")

        return self._database.run(job)


def join_chats(
    connection: Connection, former: ChatID, chat: ChatID, conversation: bytes, name: str, now_ms: int
) -> tuple[int, int]:
    """Move all that is in the chat of a person's former key into ``chat``; rows keep their numbers.

    ``conversation`` is the id that ``chat`` has on the wire.  Returns the last row that was read, and how many of
    the person's are unread.
    """
    both = connection.execute(
        "DELETE FROM conversation WHERE chat IN (?, ?) RETURNING conversation, chat, read_n, unread", (former, chat)
    ).fetchall()
    # Of what was unread in either nothing counts as read.
    read_n = min((seen for *_, seen, unread in both if unread), default=max((row[2] for row in both), default=0))
    unread = sum(row[3] for row in both)
    connection.execute(
        "INSERT INTO conversation (conversation, chat, name, read_n, unread, last_ms, accepted)"
        " VALUES (?, ?, ?, ?, ?, ?, 1)",
        (conversation, chat, name, read_n, unread, now_ms),
    )
    connection.execute("UPDATE OR REPLACE former_conversation SET chat = ? WHERE chat = ?", (chat, former))
    connection.executemany(
        "INSERT OR IGNORE INTO former_conversation VALUES (?, ?)",
        ((chat, row[0]) for row in both if row[1] == former),
    )
    connection.execute("DELETE FROM request WHERE peer IN (?, ?)", (former, chat))
    connection.execute("UPDATE history SET chat = ? WHERE chat = ?", (chat, former))
    _join_tabs(connection, former, chat)
    return read_n, unread


def move_late(connection: Connection, former: ChatID, chat: ChatID) -> None:
    """Move rows that were stored in ``former`` after ``join_chats`` to ``chat``; what is unread of them stays so."""
    connection.execute("UPDATE history SET chat = ? WHERE chat = ?", (chat, former))
    connection.execute("DELETE FROM request WHERE peer = ?", (former,))
    late = connection.execute("DELETE FROM conversation WHERE chat = ? RETURNING conversation, unread", (former,))
    for conversation, unread in late.fetchall():
        connection.execute("UPDATE conversation SET unread = unread + ? WHERE chat = ?", (unread, chat))
        connection.execute("INSERT OR IGNORE INTO former_conversation VALUES (?, ?)", (chat, conversation))
    _join_tabs(connection, former, chat)


def _join_tabs(connection: Connection, former: ChatID, chat: ChatID) -> None:
    """Join two tabs into one, where the first of the two was, with both drafts."""
    tabs = connection.execute(
        "DELETE FROM tab WHERE chat IN (?, ?) RETURNING chat, place, draft", (former, chat)
    ).fetchall()
    if tabs:
        drafts = {tab: draft for tab, _, draft in tabs}
        place = min((place for _, place, _ in tabs if place is not None), default=None)
        connection.execute(
            "INSERT INTO tab (chat, place, draft) VALUES (?, ?, ?)",
            (chat, place, joined_drafts(drafts.get(former, ""), drafts.get(chat, ""))),
        )
