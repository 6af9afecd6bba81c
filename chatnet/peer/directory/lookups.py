"""Looks up the signed records of pinned people at the registry, and applies those that verify."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.logger import Logger

from chatnet.core.directory.record_lookups import RecordLookups
from chatnet.core.directory.roster import Roster
from chatnet.core.errors import RemoteError
from chatnet.core.identity import PeerID, short_text
from chatnet.core.messages import Found, ListEntry
from chatnet.core.records import SignedRecord, verify_record
from chatnet.net.background import BackgroundTasks
from chatnet.peer.store.peer_store import PeerStore


class LookupsOwner(Protocol):
    """Who asks the registry, and hears what came of it."""

    @property
    def is_registered(self) -> bool:
        """Whether there is a link to the registry."""

    def ask_registry(self, peer: PeerID) -> None:
        """Send a LOOKUP."""

    def entry_corrected(self, entry: ListEntry) -> None:
        """Called when a verified record has corrected what is known of somebody."""


class Lookups:
    """Looks up records.  Those of people who are not pinned are neither asked for nor kept."""

    log = Logger("chatnet.lookups")

    def __init__(
        self, clock: Any, roster: Roster, store: PeerStore, tasks: BackgroundTasks, owner: LookupsOwner
    ) -> None:
        self._clock = clock
        self._roster = roster
        self._store = store
        self._tasks = tasks
        self._owner = owner
        self._rules = RecordLookups(clock.seconds())

    def want(self, peer: PeerID) -> None:
        """Ask for the record of ``peer``, about whom the list may be wrong, unless that was done a moment ago."""
        if self._roster.is_pinned(peer) and self._owner.is_registered and self._rules.ask(peer, self._clock.seconds()):
            self._owner.ask_registry(peer)

    def new_link(self) -> None:
        """Note that there is another link to the registry."""
        self._rules.new_link()

    def found(self, found: Found) -> None:
        """Take an answer of the registry. One that nobody asked for, or that is false, is passed over."""
        peer = PeerID(found.peer)
        if not self._rules.answered(peer) or found.record is None or not self._roster.is_pinned(peer):
            return
        try:
            fields = verify_record(found.record, peer)
        except RemoteError as error:
            self.log.warn("the registry has a false record of {peer}: {why}", peer=short_text(peer), why=error.text)
            return
        entry = self._roster.take_record(peer, fields)
        if entry is not None:
            self._tasks.spawn(self._keep(peer, found.record, fields.seq), "storing a record")
            self._owner.entry_corrected(entry)

    async def _keep(self, peer: PeerID, record: SignedRecord, seq: int) -> None:
        await self._store.peer_list.save_record(peer, record, seq)
