"""The threads in which the peer waits for its disk, so that the reactor never does."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

# Two for each file that comes; one slow disk (a stick, a network share) must not hold up the others' transfers.
THREADS = 8
STOP_SECONDS = 3.0  # at a stop, for what runs; a network share whose server is gone holds a thread for ever

P = ParamSpec("P")
T = TypeVar("T")


class _DiskThread(Thread):
    """The process ends without it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, daemon=True)


class _DiskThreads(ThreadPool):
    threadFactory = _DiskThread


class DiskPool:
    """At most ``threads`` threads, started and stopped by their owner."""

    log = Logger("chatnet.disk")

    def __init__(self, reactor: Any, threads: int = THREADS) -> None:
        self._reactor = reactor
        self._pool = _DiskThreads(minthreads=0, maxthreads=threads, name="chatnet-disk")

    def start(self) -> None:
        self._pool.start()

    def stop(self) -> None:
        """Wait for what runs, then end the threads; one that a disk holds for too long is left behind."""
        stopping = _DiskThread(target=self._pool.stop, name="chatnet-disk-stop")
        stopping.start()
        stopping.join(STOP_SECONDS)
        if stopping.is_alive():
            self.log.warn("a disk does not answer: the program ends without it")

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run ``work`` in a thread.  The Deferred fires in the reactor with its result or its exception."""
        return deferToThreadPool(self._reactor, self._pool, work, *args, **kwargs)
