"""All campaigns and their controls, one command; what must have run before an issue is called resolved.

    python -m tests.campaigns.gate --out gate.jsonl [--only c01,c09] [--seed 1] [--size gate]

Two at a time, the longest first, and those that say how long somebody waits alone at the end.  Each
line is appended to the file as it comes; ``tests.campaigns.table`` makes the document of them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CAMPAIGNS = sorted(path.stem for path in HERE.glob("c[0-9][0-9]_*.py") if "\nBY_HAND = True" not in path.read_text())
CONTROLLED = [name for name in CAMPAIGNS if "\ndef control(" in (HERE / f"{name}.py").read_text()]
ALONE = [name for name in CAMPAIGNS if "\nTIMED = True" in (HERE / f"{name}.py").read_text()]
# A slow machine makes an attack no weaker, unless the attack is that something happens at once.
CONTROLS_ALONE = [name for name in CAMPAIGNS if "\nTIMED_CONTROL = True" in (HERE / f"{name}.py").read_text()]
LONGEST = ("c20", "c39", "c09", "c10", "c01", "c11", "c14", "c15", "c03")
AT_ONCE = 2
GOOD = ("held", "shown")


def played(name: str, *options: str) -> dict[str, Any]:
    """The line of one campaign in a process of its own; of one that broke down, a line that says so."""
    command = [sys.executable, "-m", f"tests.campaigns.{name}", *options]
    ended = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    lines = ended.stdout.strip().splitlines()
    if not lines:
        return {"campaign": name, "options": options, "verdict": "broke down", "words": ended.stderr[-2000:]}
    line: dict[str, Any] = json.loads(lines[-1])
    return line


def jobs(names: Sequence[str], size: str, seed: int) -> list[tuple[str, ...]]:
    """Names with options, in the order of running; a control shows at its small size."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    found: list[tuple[str, ...]] = []
    for name in sorted(names, key=lambda name: rank.get(name[:3], len(rank))):
        found.append((name, "--size", size, "--seed", str(seed)))
    found += [(name, "--control", "--seed", str(seed)) for name in names if name in CONTROLLED]
    return found


def alone(job: Sequence[str]) -> bool:
    """Whether nothing else may run beside a job."""
    return job[0] in (CONTROLS_ALONE if "--control" in job else ALONE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", help="as c01,c09")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", choices=("ci", "gate", "nightly"), default="gate")
    given = parser.parse_args()
    chosen = [name for name in CAMPAIGNS if not given.only or name[:3] in given.only.split(",")]
    writing = threading.Lock()

    def one(job: tuple[str, ...]) -> bool:
        line = played(*job)
        with writing, open(given.out, "a") as out:
            out.write(json.dumps(line) + "\n")
            what = "control" if "--control" in job else line.get("n", "")
            print(f"{time.strftime('%H:%M:%S')} {job[0]:<20} {what!s:>8} {line['verdict']:>10}", end=" ")
            print(line.get("seconds", ""), line.get("why", ""), flush=True)
        return line["verdict"] in GOOD

    every = jobs(chosen, given.size, given.seed)
    good: list[bool] = []
    for some, at_once in (
        ([job for job in every if not alone(job)], AT_ONCE),
        ([job for job in every if alone(job)], 1),
    ):
        with ThreadPoolExecutor(at_once) as pool:
            good += pool.map(one, some)
    sys.exit(0 if all(good) else 1)


if __name__ == "__main__":
    main()
