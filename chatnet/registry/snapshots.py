"""Saves the list with a short delay, so that a restart changes nothing for the subscribers.

Nothing is told later because it is not written yet.  A crash loses the last changes; whoever has
seen one of them is told the whole list, all others what changed (``core.changelog`` says why this
is right).  After a restart those who were here are presumed to be, for a time of grace.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatnet.core.directory.directory import Directory, SavedDirectory
from chatnet.core.errors import StoreFailed
from chatnet.core.limits import RegistryLimits
from chatnet.registry.store import RegistryStore

LEAVE_AT_ONCE = 200  # of those who did not come back, in one turn: some milliseconds


class SnapshotWriter:
    """Writes what changes; ``expire_presumed`` is called with each part of those who did not come back."""

    log = Logger("chatnet.registry")

    def __init__(
        self,
        clock: IReactorTime,
        directory: Directory,
        store: RegistryStore,
        limits: RegistryLimits,
        left: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._directory = directory
        self._store = store
        self._limits = limits
        self._left = left
        self._kept = -1  # the revision on disk; -1: not even this log's epoch
        self._next: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        self._grace: IDelayedCall | None = None
        self._begun = self._stopped = self._failing = False

    def begin(self, kept: SavedDirectory) -> None:
        """Go on from what was kept, or from what is left of it when the directory has the rest."""
        self._directory.restore(kept)
        self._begun = True
        if self._directory.presumed and not self._stopped:
            self._grace = self._clock.callLater(self._limits.grace_seconds, self._let_go, 0)
            self.log.info("{count} peers were here before the restart", count=self._directory.presumed)
        self.changed()

    def changed(self) -> None:
        """Schedule a save, because the directory changed."""
        if self._next is None and self._writing is None and self._begun and not self._stopped:
            self._next = self._clock.callLater(self._limits.keep_seconds, self._write)

    def stop(self) -> None:
        """Stop: no timer of ours runs afterwards; what is not written yet is for ``flush``."""
        self._stopped = True
        for timer in (self._next, self._grace):
            if timer is not None:
                timer.cancel()
        self._next = self._grace = None

    async def flush(self) -> None:
        """Write everything to the disk.  Raises StoreFailed."""
        if self._writing is not None:
            await self._writing
        if self._begun:
            await self._store.keep_list(self._directory.changed_since(self._kept))

    def _write(self) -> None:
        self._next = None
        self._writing = Deferred.fromCoroutine(self._written())

    async def _written(self) -> None:
        upto = self._directory.revision
        try:
            await self._store.keep_list(self._directory.changed_since(self._kept))
            self._kept, self._failing = upto, False
        except StoreFailed as error:
            if not self._failing:
                self.log.warn("the present peers could not be stored: {text}", text=error.text)
            self._failing = True
        except Exception:
            if not self._failing:
                self.log.failure("internal error while storing the present peers")
            self._failing = True
        self._writing = None
        if self._failing or self._directory.revision != upto:
            self.changed()

    def _let_go(self, before: int) -> None:
        """Remove the peers that did not come back, some in each turn."""
        gone = before + self._directory.expire_presumed(LEAVE_AT_ONCE)
        if self._directory.presumed:
            self._grace = self._clock.callLater(0, self._let_go, gone)
        else:
            self._grace = None
            self.log.info("{count} peers did not come back after the restart", count=gone)
        self._left()
