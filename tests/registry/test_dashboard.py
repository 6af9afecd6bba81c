"""The dashboard asks for numbers that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest_twisted

from chatnet.core.limits import RegistryLimits
from chatnet.core.meters import Measure, Spread
from chatnet.peer.metering import PeerMeter
from chatnet.registry.service import RegistryService
from tests.support.links import new_identity
from tests.support.village import Village
from tests.village.conftest import village  # noqa: F401

DASHBOARD = Path(__file__).parent.parent.parent / "etc" / "grafana" / "chatnet.json"


def series(measures: Iterable[Measure]) -> set[str]:
    endings = {measure.name: measure for measure in measures}
    return {
        f"chatnet_{name}" + ("_bucket" if isinstance(measure.value, Spread) else "_total" if measure.rises else "")
        for name, measure in endings.items()
    }


@pytest_twisted.ensureDeferred
async def test_every_series_that_is_drawn_is_told(village: Village, tmp_path: Path) -> None:  # noqa: F811
    from twisted.internet import reactor

    registry = RegistryService(reactor, new_identity(), tmp_path / "unused.db", RegistryLimits())
    (ann,) = await village.people("ann")
    told = series(registry.meter.measures()) | series(PeerMeter(ann.door, ann.door.budgets).measures())
    told.add("chatnet_reactor_late_seconds_bucket")
    panels = json.loads(DASHBOARD.read_text())["panels"]
    drawn = {name for panel in panels for t in panel["targets"] for name in re.findall(r"chatnet_\w+", t["expr"])}
    assert drawn == told
