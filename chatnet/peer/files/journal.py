"""Stores the progress of a download, so that the next process can continue it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread

from chatnet.core.identity import PeerID
from chatnet.peer.store.peer_store import PeerStore


class Journal(Protocol):
    """Each call returns when it is written, and raises StoreFailed if it cannot be.

    ``whole`` is on disk then: a name comes only after it, and so is what it says of files ``placed`` before.  The
    others hold once a later one is; forgotten with the machine's power, bytes are sent again, or named files
    found again by what ``whole`` said.
    """

    def synced(self, index: int, part: str, count: int) -> None:
        """Note that the first ``count`` bytes of ``part`` are on the disk."""

    def whole(self, files: Sequence[tuple[int, str, bytes, bytes]], placed: Sequence[tuple[int, bytes]] = ()) -> None:
        """Store index, part, digest and folder of files that are there and verified, about to be named.

        ``placed`` are those before them, whose names are certain by now: one commit for both.
        """

    def placed(self, files: Sequence[tuple[int, bytes]]) -> None:
        """Store index and path of files that have their names, for certain."""

    def reset(self, indices: Sequence[int]) -> None:
        """Forget what ``synced`` and ``whole`` said of these files: it is true no more."""


class StoreJournal:
    """In the rows of one transfer; called in the disk's threads, never in the reactor's."""

    def __init__(self, reactor: Any, store: PeerStore, peer: PeerID, fid: bytes) -> None:
        self._reactor = reactor
        self._store = store
        self._peer = peer
        self._fid = fid

    def synced(self, index: int, part: str, count: int) -> None:
        self._wait(self._store.transfers.file_synced, index, part, count)

    def whole(self, files: Sequence[tuple[int, str, bytes, bytes]], placed: Sequence[tuple[int, bytes]] = ()) -> None:
        self._wait(self._store.transfers.files_whole, files, placed)

    def placed(self, files: Sequence[tuple[int, bytes]]) -> None:
        self._wait(self._store.transfers.files_done, files)

    def reset(self, indices: Sequence[int]) -> None:
        self._wait(self._store.transfers.reset_files, indices)

    def _wait(self, work: Callable[..., Deferred[None]], *what: Any) -> None:
        def begin() -> Deferred[None]:
            return work(self._peer, self._fid, *what)

        blockingCallFromThread(self._reactor, begin)  # type: ignore[arg-type]  # its types know no Deferred of None
