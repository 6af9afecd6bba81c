"""The index of the words in the history, and searches in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from chatnet.core.errors import StoreFailed
from chatnet.core.events import MessageKind, MessageState
from chatnet.core.identity import ChatID, PeerID
from chatnet.core.limits import CLOCK_SLACK_MS, INDEX_ROWS, SEARCH_PAGE, SEARCH_ROWS
from chatnet.core.text import SafeText, safe_text
from chatnet.host.database import Connection, Database
from chatnet.peer.store.history_rows import MESSAGE, StoredMessage
from chatnet.peer.store.search_query import Query


class SearchHits(NamedTuple):
    """A page of a search, the newest row first; the next one is below ``before_n``, None at the end."""

    rows: list[StoredMessage]
    before_n: int | None
    texts: tuple[SafeText, ...] = ()  # of the rows, as the screen may have them

    def to_show(self) -> SearchHits:
        """Return the hits with their texts to show.

        Call this outside of the reactor, which long texts would hold up.
        """
        return self._replace(texts=tuple(safe_text(row.body) for row in self.rows))


class SearchIndex:
    """Finds messages by their words.  A part of ``PeerStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._unindexed = 0  # rows stored since the last that was indexed, at most

    async def find(
        self,
        query: Query,
        chat: ChatID | None = None,
        wrote: Callable[[PeerID], bool] = lambda sender: True,
        since_ms: int | None = None,
        before_n: int | None = None,
        limit: int = SEARCH_PAGE,
    ) -> SearchHits:
        """Return the rows that ``query`` finds, the newest first, below row ``before_n``; ``wrote`` says whose.

        At most SEARCH_ROWS rows are looked at in one call, so that none lasts long: a page may be
        short, or empty, and there is more behind it.
        """
        limit = max(1, min(limit, SEARCH_PAGE))
        newest = 2**63 - 1 if before_n is None else before_n

        def job(connection: Connection) -> SearchHits:
            found: list[StoredMessage] = []
            looked_at, last_n = 0, newest
            for row in _candidates(connection, query, chat, newest):
                looked_at, last_n = looked_at + 1, row.n
                if since_ms is not None and row.stored_ms < since_ms:
                    if row.stored_ms < since_ms - CLOCK_SLACK_MS:
                        return SearchHits(found, None)  # what is below is older still
                elif chat in (None, row.chat) and wrote(row.sender) and query.is_in(row.body):
                    found.append(row._replace(kind=MessageKind(row.kind), state=MessageState(row.state)))
                    if len(found) == limit:
                        return SearchHits(found, last_n)
            return SearchHits(found, last_n if looked_at == SEARCH_ROWS else None)

        await self.index()
        return await self._database.read(lambda connection: job(connection).to_show())

    async def index(self) -> None:
        """Make all that is stored ready to be found; a disk that takes nothing leaves the newest rows out."""
        self._unindexed = 0
        with suppress(StoreFailed):
            while await self._database.run(_index):
                pass

    def count_unindexed(self, rows: int) -> None:
        """Note that rows were stored.  Many are indexed at once: one by one, indexing would cost more than storing."""
        self._unindexed += rows
        if self._unindexed >= INDEX_ROWS:
            self._unindexed = 0
            self._database.run(_index).addErrback(lambda failure: failure.trap(StoreFailed))


def _index(connection: Connection) -> bool:
    """Index the words of the next INDEX_ROWS rows, and return whether there may be more."""
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


def _candidates(connection: Connection, query: Query, chat: ChatID | None, before_n: int) -> Iterator[StoredMessage]:
    """Return the newest SEARCH_ROWS rows below ``before_n`` that have the words, read as they are needed."""
    columns = ", ".join(f"history.{column}" for column in MESSAGE.split(", "))
    values: tuple[Any, ...] = ()
    if query.words:
        rows = "history_text CROSS JOIN history ON history.n = history_text.rowid WHERE history_text MATCH ? AND"
        conversations = [] if chat is None else _conversations_of(connection, chat)
        if chat is not None and not conversations:
            return iter(())
        n, values = "history_text.rowid", (query.match(conversations),)
    elif chat is not None:
        rows, n, values = "history WHERE chat = ? AND", "n", (chat,)
    else:
        rows, n = "history WHERE", "n"
    return map(
        StoredMessage._make,
        connection.execute(
            f"SELECT {columns} FROM {rows} {n} < ? ORDER BY {n} DESC LIMIT ?", (*values, before_n, SEARCH_ROWS)
        ),
    )


def _conversations_of(connection: Connection, chat: ChatID) -> list[bytes]:
    """Return the ids on the wire of all that may stand in a chat: with the present key, and with former ones."""
    rows = connection.execute(
        "SELECT conversation FROM conversation WHERE chat = ?1"
        " UNION SELECT conversation FROM former_conversation WHERE chat = ?1",
        (chat,),
    )
    return [conversation for (conversation,) in rows]
