"""The document of the campaigns, made of their lines.

    python -m tests.campaigns.table [docs/campaigns.jsonl] [--into docs/campaigns.md]

Puts the table of all lines between the two marks of the document; every line is one row, a
campaign's control below its runs.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.campaigns.gate import HERE, ROOT

RECORD, DOCUMENT = ROOT / "docs" / "campaigns.jsonl", ROOT / "docs" / "campaigns.md"
BEGIN, END = "<!-- made by tests.campaigns.table -->", "<!-- made until here -->"
HEAD = ("campaign", "seed", "commit", "size", "figures", "took", "verdict")
NO_FIGURES = {"campaign", "control", "seed", "n", "unit", "commit", "seconds", "peak_kb", "verdict", "why", "limits"}
NAMES = {"stall_own_ms": "longest turn in ms", "growth_kb": "memory grew by kB", "resent_most": "most bytes sent again"}
MOST_PARTS = 7  # of one figure; more are summed up
LONGEST = 400  # characters of figures


def table(lines: Iterable[Mapping[str, Any]]) -> str:
    """Markdown."""
    ordered = sorted(lines, key=lambda line: (line["campaign"], bool(line.get("control"))))
    rows = [HEAD, ["---"] * len(HEAD), *map(row, ordered)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def row(line: Mapping[str, Any]) -> list[str]:
    number, _, rest = line["campaign"].partition("_")
    name = f"{number.upper()} {rest.replace('_', ' ')}".replace("C0", "C")
    figures = ", ".join(shown(key, value) for key, value in line.items() if key not in NO_FIGURES)
    if line.get("control"):
        name, figures = (
            f"{name}, control: {weakened(line['campaign'])}",
            ", ".join(filter(None, (line.get("why"), figures))),
        )
    elif "why" in line:
        figures = f"{line['why']}: {figures}"
    verdict = line["verdict"] if line["verdict"] in ("held", "shown") else f"**{line['verdict']}**"
    size = f"{line.get('n', 0):,} {line.get('unit', '')}"
    figures = figures if len(figures) <= LONGEST else figures[:LONGEST] + "…"
    took = f"{line.get('seconds', 0):.0f} s"
    cells = [name, line.get("seed", ""), line.get("commit", ""), size, figures, took, verdict]
    return [re.sub(r"[|\s]+", " ", str(cell)).strip() for cell in cells]


def shown(name: str, value: Any) -> str:
    name = NAMES.get(name, name.replace("_", " "))
    if isinstance(value, dict):
        if len(value) > MOST_PARTS:
            numbers = [part for part in value.values() if isinstance(part, int)]
            return f"{name} {sum(numbers):,} of {len(value)} kinds"
        return f"{name} ({', '.join(shown(str(key), part) for key, part in value.items())})"
    if isinstance(value, list):
        return f"{name} {' / '.join(map(str, value[:MOST_PARTS]))}"
    return f"{name} {value:,}" if isinstance(value, int | float) else f"{name} {value}"


def weakened(campaign: str) -> str:
    """What the control's build does, by the campaign's first lines."""
    words = ast.get_docstring(ast.parse((HERE / f"{campaign}.py").read_text())) or ""
    found = re.search(r"Control: (.*?)\.(\s|$)", words, re.DOTALL)
    return " ".join(found[1].split()) if found else "a harmless change"


def document(text: str, lines: Iterable[Mapping[str, Any]]) -> str:
    """``text`` with the table of ``lines`` between its marks."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table(lines)}\n{END}{rest.partition(END)[2]}"


def lines_of(record: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in record.read_text().splitlines() if line]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("record", type=Path, nargs="?", default=RECORD)
    parser.add_argument("--into", type=Path, default=DOCUMENT)
    given = parser.parse_args()
    given.into.write_text(document(given.into.read_text(), lines_of(given.record)))


if __name__ == "__main__":
    main()
