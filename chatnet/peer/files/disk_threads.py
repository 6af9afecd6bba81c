"""The threads in which the peer waits for its disk, so that the reactor never does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

# Two for each file that comes; one slow disk (a stick, a network share) must not hold up the others' transfers.
THREADS = 8

P = ParamSpec("P")
T = TypeVar("T")


class DiskPool:
    """A few threads, started and stopped by their owner."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=THREADS, name="chatnet-disk")

    def start(self) -> None:
        self._pool.start()

    def stop(self) -> None:
        """Wait for what runs, then end the threads."""
        self._pool.stop()

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """``work`` in a thread; fires in the reactor with its result or its exception."""
        return deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs)
