"""Every campaign at its CI size, each in a process of its own, and its control beside it.

``CHATNET_NIGHTLY=1`` runs the nightly sizes instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CAMPAIGNS = sorted(path.stem for path in HERE.glob("c[0-9][0-9]_*.py"))
CONTROLLED = [name for name in CAMPAIGNS if "\ndef control(" in (HERE / f"{name}.py").read_text()]
SIZE = "nightly" if os.environ.get("CHATNET_NIGHTLY") else "ci"


def verdict_of(name: str, *options: str) -> dict[str, object]:
    command = [sys.executable, "-m", f"tests.campaigns.{name}", "--size", SIZE, *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = ended.stdout.strip().splitlines()
    assert lines, ended.stderr[-4000:]
    line: dict[str, object] = json.loads(lines[-1])
    print(json.dumps(line))
    return line


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_the_property_holds(name: str) -> None:
    line = verdict_of(name)
    assert line["verdict"] == "held", line


@pytest.mark.parametrize("name", CONTROLLED)
def test_the_attack_succeeds_against_the_weakened_build(name: str) -> None:
    line = verdict_of(name, "--control")
    assert line["verdict"] == "shown", line
