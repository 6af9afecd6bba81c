"""What every campaign has in common: arguments, a seed, one JSON line, a verdict.

    python -m tests.campaigns.c01_frames --seed 7 --n 100000

A campaign is a module with ``NAME``, ``SIZES`` (``ci``, ``gate``, ``nightly``) of so many ``UNIT``,
``run(case) -> figures`` and, where its attack must be shown to succeed against a weakened build,
``control(case)`` with ``SHOWN``, the failures that show it.  ``run`` raises Failed when the property
does not hold.  What a failing case needs to happen again (seed, n, the input) is in the line.  One
with ``HONEST`` has so many honest peers connected meanwhile, by size.  One that says how long
somebody waits is ``TIMED``: it runs alone, and in memory, as a disk that others
keep busy is none of its business.  One that is run ``BY_HAND`` has sizes of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

# For a campaign in which somebody says much to a peer that never answers, and which is not about that.
REQUESTS_FAR = tuple(
    f"{budget}.{level}=1000000000"
    for budget in ("requests", "request_bytes")
    for level in ("all", "strangers", "key", "address")
)


class Failed(Exception):
    """The property does not hold; ``figures`` say where."""

    def __init__(self, why: str, **figures: Any) -> None:
        super().__init__(why)
        self.figures = figures


@dataclass
class Case:
    """One run: how large, which chances, and where it may write."""

    seed: int
    n: int
    directory: Path
    honest: int = 0  # peers that are connected all the while, and are none of the attack's
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)


def check(holds: bool, why: str, **figures: Any) -> None:
    """Fail the campaign unless ``holds``."""
    if not holds:
        raise Failed(why, **figures)


def peak_memory_kb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def memory_kb(pid: int | str = "self") -> int:
    """Resident memory now."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def open_files(pid: int | str = "self") -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


class StallWatch:
    """The longest turn of a reactor while it runs, in milliseconds.

    ``worst_own_ms`` leaves out what its thread waited for a processor that others had, in the machine or beside it.
    """

    TICK = 0.005

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._due = 0.0
        self._queued = 0.0
        self.worst_ms = 0.0
        self.worst_own_ms = 0.0
        self._timer: Any = None

    def start(self) -> StallWatch:
        self._arm()
        return self

    def forget(self) -> None:
        """Begin anew: the longest turn from now on."""
        self.worst_ms = self.worst_own_ms = 0.0

    def stop(self) -> float:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return round(self.worst_ms, 1)

    def _arm(self) -> None:
        self._due = time.monotonic() + self.TICK
        self._queued = _queued_ms() + _stolen_ms()
        self._timer = self._reactor.callLater(self.TICK, self._tick)

    def _tick(self) -> None:
        late_ms = (time.monotonic() - self._due) * 1000
        self.worst_ms = max(self.worst_ms, late_ms)
        self.worst_own_ms = max(self.worst_own_ms, late_ms - (_queued_ms() + _stolen_ms() - self._queued))
        self._arm()


class Stopwatch:
    """Seconds since it was made, less what this process and those of ``pids`` waited for a processor."""

    def __init__(self, *pids: int) -> None:
        self._schedules = ["thread-self", *map(str, pids)]
        self._began = self._own_time()

    def seconds(self) -> float:
        return max(0.0, self._own_time() - self._began)

    def _own_time(self) -> float:
        return time.monotonic() - (sum(map(_queued_ms, self._schedules)) + _stolen_ms()) / 1000


def _queued_ms(whose: str = "thread-self") -> float:
    """What this thread, or a process's first, has waited for a processor so far."""
    try:
        return int(Path(f"/proc/{whose}/schedstat").read_bytes().split()[1]) / 1e6
    except (OSError, IndexError):
        return 0.0


def _stolen_ms() -> float:
    """What the machine's host took from all processors so far."""
    try:
        with open("/proc/stat", "rb") as counters:
            return int(counters.readline().split()[8]) * 1000 / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0


def play(module: types.ModuleType, case: Case, control: bool = False) -> Figures:
    """Run it; the line's content, with ``verdict`` "held" or "failed", of a control "shown" or "not shown"."""
    began = time.monotonic()
    line = {"campaign": module.NAME, "control": control, "seed": case.seed, "n": case.n, "unit": module.UNIT}
    line["commit"] = commit()
    work: Callable[[Case], Figures] = module.control if control else module.run
    try:
        figures = work(case)
        verdict = "not shown" if control else "held"
    except Failed as failure:
        figures = failure.figures | {"why": str(failure)}
        verdict = "failed"
        if control:  # any other failure shows nothing
            verdict = "shown" if str(failure) in module.SHOWN else "not shown"
    took = round(time.monotonic() - began, 1)
    return line | figures | {"n": case.n, "seconds": took, "peak_kb": peak_memory_kb(), "verdict": verdict}


def commit() -> str:
    """The commit that runs; with a plus when files differ from it, documents aside."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/docs")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + "+" * bool(changed)


def main(module: types.ModuleType, arguments: Sequence[str] | None = None) -> None:
    """The command line of a campaign; exit status 1 when it failed."""
    parser = argparse.ArgumentParser(description=module.__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, help=f"size; else by name: {module.SIZES}")
    parser.add_argument("--size", choices=sorted(module.SIZES), default=next(iter(module.SIZES)))
    parser.add_argument("--honest", type=int, help="honest peers that are connected meanwhile; else by the size")
    parser.add_argument("--control", action="store_true", help="the weakened build, in which the attack must succeed")
    given = parser.parse_args(arguments)
    memory = "/dev/shm" if hasattr(module, "TIMED") and os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="chatnet-campaign-", dir=memory) as directory:
        honest = getattr(module, "HONEST", {}).get(given.size, 0) if given.honest is None else given.honest
        case = Case(given.seed, given.n or module.SIZES[given.size], Path(directory), honest)
        line = play(module, case, given.control)
    print(json.dumps(line, default=str), flush=True)
    sys.exit(0 if line["verdict"] in ("held", "shown") else 1)
