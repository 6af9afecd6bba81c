"""Watches whether the disk accepts writes; the trouble is shown while it lasts, and ends by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from chatnet.core.errors import StoreFailed
from chatnet.core.events import Event, StoreChanged
from chatnet.core.text import SafeText, safe_line
from chatnet.net.retry import Retry
from chatnet.peer.store.peer_store import PeerStore


class StoreHealth:
    """Hears of every failure, and then tries the store until it writes again.

    ``changed(ok)`` is told of each change before the screen is.
    """

    log = Logger("chatnet.store")

    def __init__(
        self,
        clock: Any,
        store: PeerStore,
        retry_seconds: float,
        emit: Callable[[Event], None],
        changed: Callable[[bool], None],
    ) -> None:
        self.trouble = SafeText("")  # why nothing can be stored, for people; empty when all is well
        self._store = store
        self._retry_seconds = retry_seconds
        self._emit = emit
        self._changed = changed
        self._retry = Retry(clock, "trying the store", self._probe, self._still_fails)
        self._stopped = False

    def failed(self, error: StoreFailed) -> None:
        """Note that something was not stored, or could not be read, and try again from time to time."""
        if self._stopped:
            return
        trouble = safe_line(
            f"{error.text[:1].upper()}{error.text[1:]}. What was stored is safe, and what you type stays here;"
            f" tried again every {self._retry_seconds:g} s.",
            400,
        )
        if trouble != self.trouble:
            self.log.error("{text}", text=error.text)
            was_well, self.trouble = not self.trouble, trouble
            if was_well:
                self._changed(False)
            self._emit(StoreChanged(False, trouble))
        if not self._retry.is_alive:
            self._retry.later(self._retry_seconds)

    def stop(self) -> None:
        self._stopped = True
        self._retry.stop()

    async def _probe(self) -> None:
        await self._store.probe()
        if not self._stopped:
            self.log.info("the store accepts writes again")
            self.trouble = SafeText("")
            self._changed(True)
            self._emit(StoreChanged(True, SafeText("")))

    def _still_fails(self, error: BaseException) -> float:
        if isinstance(error, StoreFailed):
            self.failed(error)
        return self._retry_seconds
