"""Programs on loopback for each test, closed at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest_twisted

from tests.support.links import Station


@pytest_twisted.async_yield_fixture
async def stations() -> AsyncIterator[Callable[..., Station]]:
    """Makes a station of the arguments of ``Station`` behind the reactor."""
    from twisted.internet import reactor

    made: list[Station] = []

    def make(*args: Any, **kwargs: Any) -> Station:
        made.append(Station(reactor, *args, **kwargs))
        return made[-1]

    yield make
    for station in made:
        await station.close()
