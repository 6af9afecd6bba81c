"""Repeats an attempt after each failure of any kind, one attempt at a time.

Every loop of the program that tries something again is a ``Retry``: an exception that is not ours, such
as OSError for a lack of file descriptors, ends no loop (fault A10).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core.errors import ChatnetError
from chatnet.core.limits import FALLBACK_RETRY_SECONDS


class Retry:
    """Runs ``attempt`` when it is told to, and again as ``failed`` says.

    what: for the log, as in "internal error while ...".
    attempt: one try; it may raise anything.
    failed: hears of the exception, and returns the seconds until the next try, or None for no other one.
    """

    log = Logger("chatnet.retry")

    def __init__(
        self,
        clock: Any,
        what: str,
        attempt: Callable[[], Coroutine[Any, Any, None]],
        failed: Callable[[BaseException], float | None],
    ) -> None:
        self._clock = clock
        self._what = what
        self._attempt = attempt
        self._failed = failed
        self._trying = False
        self._running: Deferred[None] | None = None  # the attempt under way, once it has waited for something
        self._timer: IDelayedCall | None = None
        self._stopped = False

    @property
    def is_running(self) -> bool:
        """Whether an attempt is under way."""
        return self._trying

    @property
    def is_due(self) -> bool:
        """Whether a timer is set for the next attempt."""
        return self._timer is not None

    @property
    def is_alive(self) -> bool:
        """Whether an attempt is under way, or one is to come."""
        return self.is_running or self.is_due

    @property
    def seconds_left(self) -> float:
        """Seconds until the next attempt; 0 when none is due."""
        return max(0.0, self._timer.getTime() - self._clock.seconds()) if self._timer is not None else 0.0

    def now(self) -> None:
        """Try at once; nothing changes while an attempt is under way."""
        self.cancel()
        if not self._stopped and not self._trying:
            self._trying = True
            running = Deferred.fromCoroutine(self._run())
            self._running = running if self._trying else None

    def later(self, seconds: float) -> None:
        """Try so many seconds from now, and not before; nothing changes while an attempt is under way."""
        self.cancel()
        if not self._stopped and not self._trying:
            self._timer = self._clock.callLater(seconds, self._fire)

    def cancel(self) -> None:
        """Set no timer; an attempt that is under way goes on."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def stop(self) -> None:
        """Stop: no timer and no attempt is left."""
        self._stopped = True
        self.cancel()
        if self._running is not None:
            self._running.cancel()

    def _fire(self) -> None:
        self._timer = None
        self.now()

    async def _run(self) -> None:
        wait: float | None = None
        try:
            await self._attempt()
        except Exception as error:  # a lack of descriptors, a defect: nothing ends the loop
            wait = self._after(error)
        self._trying, self._running = False, None
        if wait is not None:
            self.later(wait)

    def _after(self, error: BaseException) -> float | None:
        if self._stopped:
            return None
        if not isinstance(error, ChatnetError):
            self.log.failure("internal error while {what}", Failure(error), what=self._what)
        try:
            return self._failed(error)
        except Exception:
            self.log.failure("internal error after {what}", what=self._what)
            return FALLBACK_RETRY_SECONDS
