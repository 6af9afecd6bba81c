"""Conversations as a whole, and what the screen had open of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from twisted.internet.defer import Deferred

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
        """All but requests, the latest first; one without a name of its own has that of the key's pin."""

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
        """The conversation exists, with this name, and something happened in it now."""

        return self._database.run(lambda connection: touch(connection, conversation, chat, name, now_ms))

    def written_to(self, me: PeerID) -> Deferred[set[ChatID]]:
        """Chats in which we ever wrote, or offered a file."""

        def job(connection: Connection) -> set[ChatID]:
            rows = connection.execute(
                "SELECT chat FROM conversation WHERE EXISTS (SELECT 1 FROM history"
                " WHERE history.conversation = conversation.conversation AND sender = ?)",
                (me,),
            )
            return {ChatID(chat) for (chat,) in rows}

        return self._database.read(job)

    def mark_read(self, chat: ChatID, n: int) -> Deferred[int]:
        """Rows up to ``n`` were seen; the mark never goes back.  Returns what is unread still."""

        def job(connection: Connection) -> int:
            row = connection.execute(
                "UPDATE conversation SET read_n = max(read_n, ?) WHERE chat = ? RETURNING conversation, read_n",
                (n, chat),
            ).fetchone()
            if row is None:
                return 0
            (unread,) = connection.execute(
                "SELECT COUNT(*) FROM history WHERE conversation = ? AND n > ? AND sender = ?", (*row, chat)
            ).fetchone()
            connection.execute("UPDATE conversation SET unread = ? WHERE chat = ?", (unread, chat))
            return int(unread)

        return self._database.run(job)

    def tabs(self) -> Deferred[list[OpenTabRow]]:
        """From the left; then those that are closed and have a draft."""

        def job(connection: Connection) -> list[OpenTabRow]:
            rows = connection.execute("SELECT chat, draft, place IS NOT NULL FROM tab ORDER BY place IS NULL, place")
            return [OpenTabRow(ChatID(chat), draft, bool(is_open)) for chat, draft, is_open in rows]

        return self._database.read(job)

    def set_tabs(self, chats: Sequence[ChatID]) -> Deferred[None]:
        """These tabs are open, from the left, and no others."""

        def job(connection: Connection) -> None:
            connection.execute("UPDATE tab SET place = NULL")
            connection.executemany(
                "INSERT INTO tab (chat, place) VALUES (?, ?) ON CONFLICT (chat) DO UPDATE SET place = excluded.place",
                ((chat, place) for place, chat in enumerate(chats)),
            )
            connection.execute("DELETE FROM tab WHERE place IS NULL AND draft = ''")

        return self._database.run(job)

    def set_draft(self, chat: ChatID, draft: str) -> Deferred[None]:
        """What stands in the input of ``chat``."""

        def job(connection: Connection) -> None:
            connection.execute(
                "INSERT INTO tab (chat, draft) VALUES (?, ?) ON CONFLICT (chat) DO UPDATE SET draft = excluded.draft",
                (chat, draft),
            )
            connection.execute("DELETE FROM tab WHERE place IS NULL AND draft = ''")

        return self._database.run(job)
