"""C15: a disk that is full, read-only or broken, and no descriptors left.

A talker and a hearer, real processes, chat on while one of them has bad weather: its database takes
nothing, its file system is full (a small tmpfs, when we may mount one), or it may open no more files.
It must say so, acknowledge nothing that it did not store, keep the links that it has, and go on
without a restart when the weather clears; now and then it is killed in the middle instead.  In the
end both histories agree.  Control: a hearer that acknowledges before it commits.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.campaigns.c09_kills import Driven, Registry, attempted, judge
from tests.campaigns.driven import WEATHERS
from tests.campaigns.harness import Case, Figures, check, main, open_files

NAME = "c15_disk"
SIZES = {"ci": 5, "gate": 50, "nightly": 2_000}
UNIT = "spells of bad weather"
SHOWN = ("what was delivered, or should be, is missing",)

PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.02
RETRY_SECONDS = 0.5
SPELL_SECONDS = 0.4
DESCRIPTORS = 64
DISK_BYTES = 32 * 1024 * 1024


class Exposed(Driven):
    """One peer whose weather can be made."""

    def __init__(self, name: str, role: str, join: str, place: Path, weak: str = "") -> None:
        super().__init__(name, role, join, place, weak)
        self.sky = place / f"{name}.weather"
        self.sky.write_text("")

    def options(self) -> list[str]:
        return [*super().options(), "--weather", str(self.sky)]

    def limits(self) -> list[str]:
        reserve = ("--limit", "free_bytes_reserve=1")  # the first message is that of a stranger, and the disk is small
        return [*super().limits(), "--limit", f"store_retry_seconds={RETRY_SECONDS}", *reserve]

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def count(self, beginning: str) -> int:
        return sum(line.startswith(beginning) for line in self.lines())

    def set_weather(self, weather: str) -> None:
        """As long as any, in one write: it is read before every commit."""
        with open(self.sky, "r+b", buffering=0) as sky:
            sky.write(weather.encode().ljust(20))


def until(condition: Callable[[], object], why: str, **figures: object) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        check(time.monotonic() < end, why, **figures)
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """A tmpfs where the hearer's profile will be; None when we may not mount one."""
    place.mkdir(parents=True, mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "chatnet-campaign", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield place if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def fill(disk: Path) -> Path:
    """A file that takes all the space there is."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while True:
            file.write(bytes(65_536))
    with contextlib.suppress(OSError), open(filler, "ab", buffering=0) as file:
        while True:
            file.write(bytes(512))
    return filler


class Spells:
    """Bad weather for a talker and a hearer, one spell after the other."""

    def __init__(self, case: Case, talker: Exposed, hearer: Exposed, disk: Path | None) -> None:
        self.chance, self.talker, self.hearer, self.disk = case.chance, talker, hearer, disk
        self.seen: Counter[str] = Counter()

    def one(self, number: int, kill: bool) -> None:
        kinds = [*WEATHERS, "descriptors"] + (["tmpfs"] if self.disk is not None else [])
        kind = kinds[number % len(kinds)]
        self.seen[kind] += 1
        self.talks("before")
        if kind == "descriptors":
            self.no_descriptors(self.chance.choice((self.talker, self.hearer)))
        elif kind == "tmpfs":
            assert self.disk is not None
            before = self.hearer.count("store fails")
            filler = fill(self.disk)
            try:
                self.suffers(self.hearer, kill, before)
            finally:
                filler.unlink()
            self.recovers(self.hearer, kill)
        else:
            victim = self.hearer if kill else self.chance.choice((self.talker, self.hearer))
            before = victim.count("store fails")
            victim.set_weather(kind)
            self.suffers(victim, kill, before)
            victim.set_weather("")
            self.recovers(victim, kill)

    def talks(self, when: str) -> None:
        """Something new was heard, and something new is known to be delivered."""
        heard, told = self.hearer.count("heard "), self.talker.count("delivered-row ")
        until(
            lambda: self.hearer.count("heard ") > heard and self.talker.count("delivered-row ") > told,
            f"the two do not talk {when} the bad weather",
            seen=dict(self.seen),
            last=[one.lines()[-1:] for one in (self.talker, self.hearer)],
        )

    def suffers(self, victim: Exposed, kill: bool, before: int) -> None:
        """``before``: how often it had told of trouble when the weather was still good."""
        self.told = victim.count("store works")
        until(lambda: victim.count("store fails") > before or not victim.lives, "nobody was told of the trouble")
        check(victim.lives, "the disk cost the process", name=victim.name)
        time.sleep(self.chance.uniform(0, SPELL_SECONDS))
        if kill:
            victim.kill()
            self.seen["killed"] += 1

    def recovers(self, victim: Exposed, killed: bool) -> None:
        if killed:
            victim.start(attempted(self.talker))
        else:
            until(lambda: victim.count("store works") > self.told, "it does not go on by itself", name=victim.name)
        self.talks("after")

    def no_descriptors(self, victim: Exposed) -> None:
        """Not one more file or socket: who is linked talks on, and strangers are taken again afterwards."""
        assert victim.process is not None
        pid = victim.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(DESCRIPTORS, open_files(pid)), before[1]))
        port = listening_port(pid)
        strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(DESCRIPTORS)]
        try:
            self.talks("without descriptors, in")
            check(victim.lives, "a lack of descriptors cost the process", name=victim.name)
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
            for stranger in strangers:
                stranger.close()
        self.talks("after")


def listening_port(pid: int) -> int:
    """The TCP port that a process listens on, by its sockets."""
    mine = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            mine.add(os.readlink(descriptor))
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A" and f"socket:[{fields[9]}]" in mine:
            return int(fields[1].split(":")[1], 16)
    check(False, "it listens nowhere", pid=pid)
    return 0


def endure(case: Case, weak: str = "") -> Figures:
    place = case.directory
    with small_disk(place / "data" / "hearer") as disk:
        registry = Registry(place)
        try:
            join = registry.join()
            talker, hearer = Exposed("talker", "talker", join, place), Exposed("hearer", "hearer", join, place, weak)
            quiet = Exposed("talker", "quiet", join, place)
            spells = Spells(case, talker, hearer, disk)
            try:
                hearer.start()
                talker.start()
                for number in range(case.n):
                    spells.one(number, kill=bool(weak) or case.chance.random() < 0.2)
                talker.stop()
                quiet.start()
                until(lambda: _waiting(quiet) == 0, "messages still wait after all is well")
            finally:
                for one in (talker, quiet, hearer):
                    one.stop()
            figures = judge(talker, hearer)
            failed = {int(line.split()[1]) for line in talker.lines() if line.startswith("failed ")}
            bodies = {str(body) for (body,) in talker.rows("SELECT body FROM history")}
            stored = sorted(number for number in failed if f"number {number}" in bodies)
            check(not stored, "a line that was given back was stored all the same", stored=stored[:20])
            return figures | {"given_back": len(failed), "spells": dict(spells.seen)}
        finally:
            registry.stop()


def _waiting(one: Exposed) -> int:
    with contextlib.suppress(Exception):
        ((count,),) = one.rows("SELECT COUNT(*) FROM outbox")
        return int(str(count))
    return -1


def run(case: Case) -> Figures:
    return endure(case)


def control(case: Case) -> Figures:
    return endure(case, weak="ack-before-commit")


if __name__ == "__main__":
    main(sys.modules[__name__])
