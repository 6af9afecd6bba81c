"""What every campaign has in common: arguments, a seed, one JSON line, a verdict.

    python -m tests.campaigns.c01_frames --seed 7 --n 100000

A campaign is a module with ``NAME``, ``SIZES`` (``ci``, ``gate``, ``nightly``), ``run(case) -> figures``
and, where its attack must be shown to succeed against a weakened build, ``control(case)``.  ``run``
raises Failed when the property does not hold.  What a failing case needs to happen again (seed, n,
the input) is in the line.
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

    def stop(self) -> float:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        return round(self.worst_ms, 1)

    def _arm(self) -> None:
        self._due = time.monotonic() + self.TICK
        self._queued = _queued_ms()
        self._timer = self._reactor.callLater(self.TICK, self._tick)

    def _tick(self) -> None:
        late_ms = (time.monotonic() - self._due) * 1000
        self.worst_ms = max(self.worst_ms, late_ms)
        self.worst_own_ms = max(self.worst_own_ms, late_ms - (_queued_ms() - self._queued))
        self._arm()


def _queued_ms() -> float:
    """What this thread has waited for a processor so far, and what the machine's host took from all."""
    try:
        queued = int(Path("/proc/thread-self/schedstat").read_bytes().split()[1]) / 1e6
        with open("/proc/stat", "rb") as counters:
            stolen = int(counters.readline().split()[8]) * 1000 / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0
    return queued + stolen


def play(module: types.ModuleType, case: Case, control: bool = False) -> Figures:
    """Run it; the line's content, with ``verdict`` "held", "failed" or, of a control, "shown"."""
    began, line = time.monotonic(), {"campaign": module.NAME, "seed": case.seed, "n": case.n}
    work: Callable[[Case], Figures] = module.control if control else module.run
    try:
        line |= work(case)
        verdict = "not shown" if control else "held"
    except Failed as failure:
        line |= failure.figures | {"why": str(failure)}
        verdict = "shown" if control else "failed"
    took = round(time.monotonic() - began, 1)
    return line | {"control": control, "seconds": took, "peak_kb": peak_memory_kb(), "verdict": verdict}


def commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def main(module: types.ModuleType, arguments: Sequence[str] | None = None) -> None:
    """The command line of a campaign; exit status 1 when it failed."""
    parser = argparse.ArgumentParser(description=module.__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n", type=int, help=f"size; else by name: {module.SIZES}")
    parser.add_argument("--size", choices=sorted(module.SIZES), default="ci")
    parser.add_argument("--control", action="store_true", help="the weakened build, in which the attack must succeed")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="chatnet-campaign-") as directory:
        case = Case(given.seed, given.n or module.SIZES[given.size], Path(directory))
        line = play(module, case, given.control)
    print(json.dumps(line | {"commit": commit()}, default=str), flush=True)
    sys.exit(0 if line["verdict"] in ("held", "shown") else 1)
