"""Whether the disk takes what we write: a state that is shown while it does not, and ends by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core.errors import StoreFailed
from chatnet.core.events import Event, StoreChanged
from chatnet.core.text import SafeText, safe_line
from chatnet.net.timers import cancel_timer
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
        self._clock = clock
        self._store = store
        self._retry_seconds = retry_seconds
        self._emit = emit
        self._changed = changed
        self._timer: IDelayedCall | None = None
        self._stopped = False

    def failed(self, error: StoreFailed) -> None:
        """Something was not stored, or could not be read."""
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
        if self._timer is None:
            self._timer = self._clock.callLater(self._retry_seconds, self._try)

    def stop(self) -> None:
        self._stopped = True
        cancel_timer(self._timer)

    def _try(self) -> None:
        self._store.probe().addCallbacks(self._works, self._still_fails)

    def _works(self, nothing: None) -> None:
        self._timer = None
        if self._stopped:
            return
        self.log.info("the store writes again")
        self.trouble = SafeText("")
        self._changed(True)
        self._emit(StoreChanged(True, SafeText("")))

    def _still_fails(self, failure: Failure) -> None:
        self._timer = None
        if isinstance(failure.value, StoreFailed):
            self.failed(failure.value)
        else:
            self.log.failure("internal error while trying the store", failure)
