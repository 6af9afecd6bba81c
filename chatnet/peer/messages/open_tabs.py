"""What the screen had open, and what was typed there and not sent: there again after a restart."""

from __future__ import annotations

from collections.abc import Sequence

from chatnet.core.events import Tab
from chatnet.core.identity import PeerID
from chatnet.core.limits import MAX_DRAFT_CHARS
from chatnet.peer.directory.people import People
from chatnet.peer.store.peer_store import OpenTabRow, PeerStore


class OpenTabs:
    """See the module."""

    def __init__(self, people: People, store: PeerStore) -> None:
        self._people = people
        self._store = store
        self._rows: dict[PeerID, OpenTabRow] = {}

    async def recall(self) -> None:
        self._rows = {row.peer: row for row in await self._store.tabs()}

    def tabs(self) -> tuple[Tab, ...]:
        """From the left, then the closed ones with a draft; nobody who is neither known nor written to."""
        roster = self._people.roster
        return tuple(
            Tab(row.peer, row.draft, row.open)
            for row in self._rows.values()
            if row.draft or row.peer in roster.entries or roster.is_known(row.peer)
        )

    async def set_tabs(self, peers: Sequence[bytes]) -> None:
        now = [PeerID(peer) for peer in dict.fromkeys(peers)]
        drafts = {row.peer: row.draft for row in self._rows.values()}
        closed = {peer: OpenTabRow(peer, draft, False) for peer, draft in drafts.items() if draft and peer not in now}
        self._rows = {peer: OpenTabRow(peer, drafts.get(peer, ""), True) for peer in now} | closed
        await self._store.set_tabs(now)

    async def set_draft(self, peer: bytes, text: str) -> None:
        known = PeerID(peer)
        draft = text[:MAX_DRAFT_CHARS].encode("utf-8", "replace").decode()
        row = self._rows.get(known, OpenTabRow(known, "", False))
        if draft or row.open:
            self._rows[known] = row._replace(draft=draft)
        else:
            self._rows.pop(known, None)
        await self._store.set_draft(known, draft)
