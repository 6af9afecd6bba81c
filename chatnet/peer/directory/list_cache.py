"""The last list on disk, so that known peers are reached while the registry is away.

Changes are gathered: after a crash the registry's delta repeats what was not saved yet.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core.identity import PeerID
from chatnet.core.limits import LIST_SAVE_SECONDS, PEOPLE_REMEMBERED
from chatnet.core.messages import ListEntry, ListPage
from chatnet.peer.store.peer_store import PeerStore


class ListCache:
    """Saves what the pages say; ``cursor`` is what a registration may name as its ``since``."""

    log = Logger("chatnet.list")

    def __init__(self, clock: Any, store: PeerStore, registry: PeerID | None, cursor: bytes) -> None:
        self.registry = registry
        self.cursor = cursor
        self._clock = clock
        self._store = store
        self._reset = False
        self._joined: dict[bytes, ListEntry] = {}
        self._left: set[bytes] = set()
        self._passed: dict[bytes, ListEntry] = {}  # who came and left between two saves, the latest last
        self._in_snapshot = False
        self._whole = True  # what is on disk, with what is gathered, is the registry's list
        self._timer: IDelayedCall | None = None

    def page(self, registry: PeerID, page: ListPage, wall_ms: int) -> None:
        if page.reset or registry != self.registry:
            self.registry = registry
            self._reset = True
            self._joined.clear()
            self._left.clear()
        for entry in page.joined:
            self._joined[entry.peer] = entry
            self._left.discard(entry.peer)
            self._passed.pop(entry.peer, None)
        for gone in page.left:
            if passed := self._joined.pop(gone, None):
                self._passed[gone] = passed
                if len(self._passed) > PEOPLE_REMEMBERED:
                    del self._passed[next(iter(self._passed))]
            self._left.add(gone)
        self._in_snapshot = page.more
        if page.reset:
            self._whole = True
        # Between two pages our list is as of no cursor: a registry that dies now may never have kept
        # what the first of them said, and would not take it back.
        self.cursor = b"" if page.more or not self._whole else page.cursor
        if self.cursor and self._timer is None:
            self._timer = self._clock.callLater(LIST_SAVE_SECONDS, self._save, wall_ms)

    def correct(self, entry: ListEntry, wall_ms: int) -> None:
        """Save an entry that a verified record has corrected, if its peer is listed now."""
        self._joined[entry.peer] = entry
        if self.cursor and self._timer is None:
            self._timer = self._clock.callLater(LIST_SAVE_SECONDS, self._save, wall_ms)

    def flush(self, wall_ms: int) -> Deferred[Any]:
        """Save what is gathered; fires when it is on disk or has failed."""
        if self._timer is not None:
            self._timer.cancel()
            return self._save(wall_ms)
        return succeed(None)

    def _save(self, wall_ms: int) -> Deferred[Any]:
        self._timer = None
        if self._in_snapshot or self.registry is None or not self._whole:
            return succeed(None)  # half a list is no list
        joined, left, reset = list(self._joined.values()), list(self._left), self._reset
        passed = list(self._passed.values())
        self._joined, self._left, self._passed, self._reset = {}, set(), {}, False
        saving = self._store.peer_list.save(self.registry, reset, joined, left, self.cursor, wall_ms, passed)
        return saving.addErrback(self._not_saved)

    def _not_saved(self, failure: Any) -> None:
        # What is on disk and what we know have parted: until a whole list comes, none is saved.
        self.cursor, self._whole = b"", False
        self.log.warn("the list could not be saved: {reason}", reason=failure.getErrorMessage())
