"""The lines of JSON on standard input as tables in Markdown: each cell is the median (least – greatest)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

Runs = Mapping[str, Mapping[str, Mapping[str, float]]]

# Columns of one table; without these a registry's would not fit on a page.
PHASES = ("storm", "join", "leave", "restart")


def cell(spread: Mapping[str, float] | None) -> str:
    if spread is None:
        return ""
    least, median, greatest = (short(spread[key]) for key in ("min", "median", "max"))
    return median if least == greatest else f"{median} ({least} – {greatest})"


def short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(runs: Runs) -> Iterator[str]:
    """A row for each contestant, a column for each quantity."""
    quantities = list(dict.fromkeys(key for measured in runs.values() for key in measured))
    yield f"| | {' | '.join(key.replace('_', ' ') for key in quantities)} |"
    yield f"| --- |{' ---: |' * len(quantities)}"
    for name, measured in runs.items():
        yield f"| {name} | {' | '.join(cell(measured.get(key)) for key in quantities)} |"


def by_phase(runs: Runs) -> Iterator[tuple[str, Runs]]:
    """A registry's runs, a table for each phase and one for the rest."""

    def phase_of(key: str) -> str:
        return next((phase for phase in PHASES if key.startswith(f"{phase}_") and "and_leave" not in key), "all")

    for phase in (*PHASES, "all"):
        picked = {
            name: {key.removeprefix(f"{phase}_"): spread for key, spread in found.items() if phase_of(key) == phase}
            for name, found in runs.items()
        }
        if any(picked.values()):
            yield phase, picked


def section(line: Mapping[str, Any]) -> Iterator[str]:
    machine, versions = line["machine"], line["versions"]
    yield f"## {line['benchmark']}"
    yield ""
    yield (
        f"{line['date']}, {line['rounds']} rounds, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['file_system']}. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f". Sync: {line['sync']}. Limits changed: {', '.join(line['limits_changed']) or 'none'}."
    )
    for part, found in line.items():
        if not isinstance(found, dict) or part in ("machine", "versions", "skipped"):
            continue
        runs: Runs = found.get("runs", found)
        tables = by_phase(runs) if line["benchmark"] == "registry" else iter([(part, runs)])
        for title, picked in tables:
            yield from ("", f"**{title}**", "", *table(picked))
        for other, times in found.get("times_faster", {}).items():
            yield from ("", f"Times faster than {other}, turn by turn: {cell(times)}.")
    skipped = line.get("skipped", {}) | {
        k: v for part in line.values() if isinstance(part, dict) for k, v in part.get("skipped", {}).items()
    }
    for name, reason in skipped.items():
        yield from ("", f"Skipped: {name} ({reason}).")
    yield ""


def main() -> None:
    for line in sys.stdin:
        print("\n".join(section(json.loads(line))))


if __name__ == "__main__":
    main()
