"""C9: SIGKILL and messages.

A talker and a hearer, real processes with real stores, are killed at random moments and at named
fault points.  Afterwards both run in peace until nothing waits.  Then: what was said is in both
histories exactly once and in its order, what was reported delivered is in the other's history, and
both databases are whole.  Before that the store alone, killed half as often and much faster: what it
has told is there, once.  Control: a hearer that acknowledges before it commits.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

from twisted.python.failure import Failure

from chatnet.core.identity import PeerID
from chatnet.core.messages import Say
from chatnet.host.database import Database
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.schema import MIGRATIONS
from tests.campaigns.driven import FAULTS, note
from tests.campaigns.harness import REQUESTS_FAR, Case, Failed, Figures, check, main

NAME = "c09_kills"
SIZES = {"ci": 14, "gate": 900, "nightly": 5_000}
UNIT = "rounds of kills"
SHOWN = ("what was delivered, or should be, is missing",)

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.02
STORED_AT_ONCE = 20
KILLS_PER_DATABASE = 50
WEAKEST = ("commit-before",)  # where a hearer that has acknowledged already loses the most


class Driven:
    """One peer that is started again and again."""

    def __init__(self, name: str, role: str, join: str, place: Path, weak: str = "") -> None:
        self.name, self.role, self.join, self.place, self.weak = name, role, join, place, weak
        self.ledger = place / f"{name}.ledger"
        self.database = place / "data" / name / "chatnet.db"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, first: int = 0, fault: str = "") -> None:
        command = [sys.executable, "-m", "tests.campaigns.driven", self.role, str(self.ledger)]
        command += ["--first", str(first)] + (["--fault", fault] if fault else [])
        command += ["--weak", self.weak] if self.weak else []
        command += [*self.options(), "--", *self.limits(), "--name", self.name, "--registry", self.join, "--headless"]
        command += ["--data", str(self.place / "data"), "--state", str(self.place / "state")]
        command += ["--downloads", str(self.place / "downloads"), "--listen", "tcp:0:interface=127.0.0.1"]
        with open(self.place / f"{self.name}.err", "ab") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)

    def options(self) -> list[str]:
        """More, for what drives it."""
        return []

    def limits(self) -> list[str]:
        """More, for the peer."""
        return [word for limit in REQUESTS_FAR for word in ("--limit", limit)]

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        self.kill()

    def lines(self) -> list[str]:
        return self.ledger.read_text().splitlines() if self.ledger.exists() else []

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(query).fetchall()


class Registry:
    def __init__(self, place: Path) -> None:
        self._join = place / "state" / "registry" / "join"
        twistd = Path(sys.executable).with_name("twistd")
        command = [str(twistd), "-n", "chatregistry", "--listen", "tcp:0:interface=127.0.0.1"]
        command += ["--data", str(place / "data"), "--state", str(place / "state")]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def join(self) -> str:
        until = time.monotonic() + PATIENCE_SECONDS
        while not self._join.exists():
            check(time.monotonic() < until and self._process.poll() is None, "the registry did not start")
            time.sleep(LOOK_SECONDS)
        return self._join.read_text().strip()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def attempted(talker: Driven) -> int:
    """The first number that was never tried."""
    return 1 + max((int(line.split()[1]) for line in talker.lines() if line.startswith("trying ")), default=-1)


def torment(case: Case, weak: str = "") -> Figures:
    place, chance = case.directory, case.chance
    registry = Registry(place)
    kills = faults = 0
    points = WEAKEST if weak else FAULTS
    try:
        join = registry.join()
        talker, hearer = Driven("talker", "talker", join, place), Driven("hearer", "hearer", join, place, weak)
        try:
            hearer.start()
            talker.start()
            for _ in range(case.n):
                victims = chance.choice([(talker,), (hearer,), (hearer,), (talker, hearer)])
                _until_talking(talker, hearer)
                _wait_for_end(victims[0], chance.uniform(0.0, 0.5))
                for victim in victims:
                    faults += victim.process is not None and victim.process.poll() == 77
                    victim.kill()
                    kills += 1
                point = f"{chance.choice(points)}:{chance.randint(1, 200)}" if chance.random() < 0.6 else ""
                for victim in victims:
                    victim.start(attempted(talker), point)
            talker.kill()
            hearer.kill()
            hearer.start()
            quiet = Driven("talker", "quiet", join, place)
            quiet.start()
            _until_nothing_waits(quiet)
            quiet.stop()
        finally:
            talker.stop()
            hearer.stop()
        return judge(talker, hearer) | {"kills": kills, "at_fault_points": faults}
    finally:
        registry.stop()


def judge(talker: Driven, hearer: Driven) -> Figures:
    """Both histories against the ledgers."""
    said = [int(line.split()[1]) for line in talker.lines() if line.startswith("said ")]
    row_of = {line.split()[2]: int(line.split()[1]) for line in talker.lines() if line.startswith("said ")}
    reported = {
        row_of[row]
        for line in talker.lines()
        if line.startswith("delivered-row ") and (row := line.split()[1]) in row_of
    }
    sent = _numbers(talker.rows("SELECT body FROM history ORDER BY n"))
    heard = _numbers(hearer.rows("SELECT body FROM history ORDER BY n"))
    check(len(said) > 100, "hardly anything was said: nothing is proven", said=len(said))
    for one in (talker, hearer):
        check(one.rows("PRAGMA integrity_check") == [("ok",)], f"the database of {one.name} is damaged")
    check(len(set(sent)) == len(sent), "a message stands twice in the talker's history")
    check(set(said) <= set(sent), "what was said is not in the history", missing=sorted(set(said) - set(sent))[:20])
    missing = sorted((reported | set(sent)) - set(heard))
    check(not missing, "what was delivered, or should be, is missing", missing=missing[:20], how_many=len(missing))
    check(len(set(heard)) == len(heard), "a message was doubled")
    check(heard == sorted(heard), "the order of one sender was not kept")
    return {"said": len(said), "reported_delivered": len(reported), "heard": len(heard)}


def _numbers(rows: list[tuple[object, ...]]) -> list[int]:
    return [int(str(body).split()[1]) for (body,) in rows if str(body).startswith("number ")]


def _until_talking(talker: Driven, hearer: Driven) -> None:
    """Until one more message was heard, or a fault point ended one of them."""
    before, until = len(hearer.lines()), time.monotonic() + PATIENCE_SECONDS
    while len(hearer.lines()) == before:
        if any(one.process is None or one.process.poll() is not None for one in (talker, hearer)):
            return
        check(time.monotonic() < until, "the two do not find each other again")
        time.sleep(LOOK_SECONDS)


def _wait_for_end(victim: Driven, seconds: float) -> None:
    """Until a fault point ended it, at most so long: the kill comes at a random moment."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        if victim.process is not None:
            victim.process.wait(seconds)


def _until_nothing_waits(talker: Driven) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(sqlite3.OperationalError):
            if talker.rows("SELECT COUNT(*) FROM outbox") == [(0,)]:
                return
        if time.monotonic() > until:
            raise Failed("messages still wait after both are back", left=talker.rows("SELECT COUNT(*) FROM outbox"))
        time.sleep(LOOK_SECONDS)


class Loop:
    """As much of a reactor as a store needs."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[..., object], tuple[Any, ...]]] = SimpleQueue()

    def callFromThread(self, call: Callable[..., object], *args: Any) -> None:
        self._calls.put((call, args))

    def run(self) -> None:
        while True:
            call, args = self._calls.get()
            call(*args)


def keep_storing(database: Path, ledger: Path, first: int) -> None:
    """Store one message after the other, some twice, and note what the store has told; never returns."""
    loop, notes = Loop(), os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    kept = Database(database, MIGRATIONS, cast(Any, loop))
    store, numbers = PeerStore(kept), itertools.count(first)

    def more(_: object) -> None:
        number = next(numbers)
        ids = (number, max(first, number - number % 3))
        says = [Say(bytes(32), id.to_bytes(16, "big"), 0, f"number {id}") for id in ids]
        storing = store.messages.add_incoming(PeerID(b"b" * 32), says, 0)
        storing.addCallback(lambda _: note(notes, f"stored {number}"))
        storing.addCallbacks(more, broken)

    def broken(failure: Failure) -> None:
        failure.printTraceback(sys.stderr)
        os._exit(1)

    kept.open().addCallbacks(lambda _: [more(None) for _ in range(STORED_AT_ONCE)], broken)
    loop.run()


def store_alone(case: Case, kills: int) -> Figures:
    """The store in a process of its own, again and again."""
    told = 0
    for number in range(kills):
        place = case.directory / f"store{number // KILLS_PER_DATABASE}"
        place.mkdir(exist_ok=True)
        database, ledger = place / "chatnet.db", place / "ledger"
        before = [int(line.split()[1]) for line in ledger.read_text().splitlines()] if ledger.exists() else []
        child = os.fork()
        if not child:
            try:
                keep_storing(database, ledger, max(before, default=-1) + 1)
            finally:
                os._exit(1)
        time.sleep(case.chance.uniform(0.01, 0.1))
        os.kill(child, signal.SIGKILL)
        check(os.waitpid(child, 0)[1] == signal.SIGKILL, "the store broke down")
        if number % KILLS_PER_DATABASE == KILLS_PER_DATABASE - 1 or number == kills - 1:
            told += judge_store(database, ledger)
    check(told > kills, "hardly anything was stored: nothing is proven", told=told)
    return {"kills_of_the_store": kills, "stored": told}


def judge_store(database: Path, ledger: Path) -> int:
    told = {int(line.split()[1]) for line in ledger.read_text().splitlines()} if ledger.exists() else set()
    with contextlib.closing(sqlite3.connect(database)) as connection:
        there = _numbers(connection.execute("SELECT body FROM history ORDER BY n").fetchall()) if told else []
        check(connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "the store is damaged")
    check(len(set(there)) == len(there), "the store has a message twice")
    check(told <= set(there), "what the store told is missing", missing=sorted(told - set(there))[:20])
    return len(told)


def run(case: Case) -> Figures:
    return store_alone(case, case.n // 2) | torment(case)


def control(case: Case) -> Figures:
    return torment(case, weak="ack-before-commit")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main(sys.modules[__name__])
