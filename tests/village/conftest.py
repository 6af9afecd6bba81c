"""A village for each test, with its registry open, closed at the end with nothing left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from tests.support.village import Village


@pytest_twisted.async_yield_fixture
async def village(tmp_path: Path) -> AsyncIterator[Village]:
    from twisted.internet import reactor

    village = Village(reactor, tmp_path)
    village.open_registry()
    yield village
    await village.close()
