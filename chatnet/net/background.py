"""Coroutines that nobody awaits: each has an owner, is logged when it fails, and is cancelled with its owner."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core.errors import ChatnetError
from chatnet.core.text import safe_line


class BackgroundTasks:
    """Owns coroutines that nobody waits for.  The owner calls ``stop``.

    ``log`` is the owner's, so that a line in the log says whose work it was.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._running: set[Deferred[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], what: str) -> Deferred[None]:
        """Run ``work`` until it ends; ``what`` says in a few words what it does, as "storing a row".

        An error of ours (ChatnetError) is a line in the log, any other exception a traceback under
        "internal error while WHAT".  The Deferred fires at the end, however that came, and never
        fails; cancelling it cancels the work.
        """
        running: Deferred[None] = Deferred.fromCoroutine(work)
        self._running.add(running)
        running.addErrback(self._failed, what)
        running.addBoth(self._ended, running)
        return running

    def stop(self) -> None:
        """Cancel everything that still runs."""
        for running in tuple(self._running):
            running.cancel()

    def _failed(self, failure: Failure, what: str) -> None:
        log_failure(self._log, failure, what)

    def _ended(self, _: None, running: Deferred[None]) -> None:
        self._running.discard(running)


def log_failure(log: Logger, failure: Failure, what: str) -> None:
    """Log one line for an error of ours, nothing for a cancelled task, and a traceback for every other exception."""
    if failure.check(CancelledError):
        return
    if failure.check(ChatnetError):
        log.info("{what} failed: {text}", what=what, text=safe_line(str(failure.value)))
    else:
        log.failure("internal error while {what}", failure, what=what)
