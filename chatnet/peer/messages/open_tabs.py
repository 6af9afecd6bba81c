"""The open tabs and unsent drafts of the console, which are restored after a restart."""

from __future__ import annotations

from collections.abc import Sequence

from chatnet.core.events import Tab
from chatnet.core.identity import ChatID, chat_with, person_in
from chatnet.core.limits import MAX_DRAFT_CHARS
from chatnet.peer.directory.people import People
from chatnet.peer.store.conversations import OpenTabRow
from chatnet.peer.store.peer_store import PeerStore


class OpenTabs:
    """Keeps the tabs and drafts of this profile in the store, and restores them at the login."""

    def __init__(self, people: People, store: PeerStore) -> None:
        self._people = people
        self._store = store
        self._rows: dict[ChatID, OpenTabRow] = {}

    async def recall(self) -> None:
        self._rows = {row.chat: row for row in await self._store.conversations.tabs()}

    def tabs(self) -> tuple[Tab, ...]:
        """Return the tabs from the left, then the closed ones with a draft.

        Whoever is neither known nor written to has none.
        """
        roster = self._people.roster
        return tuple(
            Tab(row.chat, row.draft, row.open)
            for row in self._rows.values()
            if row.draft or person_in(row.chat) in roster.entries or roster.is_known(person_in(row.chat))
        )

    def _present(self, chat: ChatID) -> ChatID:
        """Return the chat that ``chat`` has become part of; a client may not have heard of it yet."""
        return chat_with(self._people.roster.current(person_in(chat)))

    async def set_tabs(self, chats: Sequence[ChatID]) -> None:
        now = list(dict.fromkeys(self._present(chat) for chat in chats))
        drafts = {row.chat: row.draft for row in self._rows.values()}
        closed = {chat: OpenTabRow(chat, draft, False) for chat, draft in drafts.items() if draft and chat not in now}
        self._rows = {chat: OpenTabRow(chat, drafts.get(chat, ""), True) for chat in now} | closed
        await self._store.conversations.set_tabs(now)

    async def set_draft(self, chat: ChatID, text: str) -> None:
        if self._present(chat) != chat:
            return  # what it had is part of the other chat's draft
        draft = text[:MAX_DRAFT_CHARS].encode("utf-8", "replace").decode()
        row = self._rows.get(chat, OpenTabRow(chat, "", False))
        if draft or row.open:
            self._rows[chat] = row._replace(draft=draft)
        else:
            self._rows.pop(chat, None)
        await self._store.conversations.set_draft(chat, draft)
