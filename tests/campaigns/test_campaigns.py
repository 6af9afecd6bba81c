"""Every campaign at its CI size, each in a process of its own, and its control beside it.

``CHATNET_NIGHTLY=1`` runs the nightly sizes instead.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from tests.campaigns.gate import ALONE, CAMPAIGNS, CONTROLLED, CONTROLS_ALONE, played

SIZE = "nightly" if os.environ.get("CHATNET_NIGHTLY") else "ci"


def marked(names: list[str], alone: list[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.alone) if name in alone else name for name in names]


@pytest.mark.parametrize("name", marked(CAMPAIGNS, ALONE))
def test_the_property_holds(name: str) -> None:
    line = played(name, "--size", SIZE)
    print(json.dumps(line))
    assert line["verdict"] == "held", line


@pytest.mark.parametrize("name", marked(CONTROLLED, CONTROLS_ALONE))
def test_the_attack_succeeds_against_the_weakened_build(name: str) -> None:
    line = played(name, "--size", SIZE, "--control")
    print(json.dumps(line))
    assert line["verdict"] == "shown", line
