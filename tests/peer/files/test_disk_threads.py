"""Threads that wait for a disk, also for one that never answers."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import pytest_twisted

from chatnet.peer.files import disk_threads
from chatnet.peer.files.disk_threads import DiskPool


@pytest_twisted.ensureDeferred
async def test_a_stop_waits_for_what_runs_and_not_for_a_disk_that_never_answers(monkeypatch: Any) -> None:
    from twisted.internet import reactor

    monkeypatch.setattr(disk_threads, "STOP_SECONDS", 0.2)
    began, answer = threading.Event(), threading.Event()

    def hang() -> bool:
        began.set()
        return answer.wait(20)

    pool = DiskPool(reactor, threads=1)
    pool.start()
    assert await pool.run(lambda: threading.current_thread().daemon)  # the process ends without it
    stuck = pool.run(hang)
    began.wait(20)
    pool.stop()
    assert not stuck.called
    answer.set()
    assert await stuck


@pytest.mark.parametrize("threads", [1, 3])
@pytest_twisted.ensureDeferred
async def test_as_many_threads_as_are_asked_for(threads: int) -> None:
    from twisted.internet import reactor

    pool, release = DiskPool(reactor, threads), threading.Event()
    pool.start()
    running = threading.Semaphore(0)

    def work() -> None:
        running.release()
        release.wait(20)

    all_of_them = [pool.run(work) for _ in range(5)]
    for _ in range(threads):
        assert running.acquire(timeout=20)
    assert not running.acquire(timeout=0.05)
    release.set()
    for one in all_of_them:
        await one
    pool.stop()
