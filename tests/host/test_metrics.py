"""The port for Prometheus: what it says, where it listens, that nothing is left of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.web.client import Agent, readBody
from twisted.web.http_headers import Headers

from chatnet.core.errors import CannotListen
from chatnet.core.meters import Measure, Spread
from chatnet.host.metrics import STALL_LOOK_SECONDS, MetricsService, StallWatch

SPREAD = Spread((0.1, 1.0))
SPREAD.add(0.5)
MEASURES = [
    Measure("peers", "how many", 3),
    Measure("joins", "since the start", 7, rises=True),
    Measure("refusals", "by reason", {"busy": 2, "name-taken": 1}, rises=True, label="reason"),
    Measure("push_seconds", "how long", SPREAD),
]


@pytest_twisted.async_yield_fixture
async def service() -> AsyncIterator[MetricsService]:
    from twisted.internet import reactor

    service = MetricsService(reactor, "tcp:0", lambda: MEASURES)
    service.startService()
    yield service
    await service.stopService()


async def get(port: int, path: str = "/metrics") -> tuple[int, str]:
    from twisted.internet import reactor

    response = await Agent(reactor).request(b"GET", f"http://127.0.0.1:{port}{path}".encode())
    return response.code, (await readBody(response)).decode()


async def samples(port: int) -> dict[tuple[str, str], float]:
    """Name and its one label's value -> number."""
    code, text = await get(port)
    assert code == 200
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest_twisted.ensureDeferred
async def test_what_is_counted_is_read_as_prometheus_words_it(service: MetricsService) -> None:
    found = await samples(service.port)
    assert found["chatnet_peers", ""] == 3
    assert found["chatnet_joins_total", ""] == 7
    assert found["chatnet_refusals_total", "name-taken"] == 1
    assert [found["chatnet_push_seconds_bucket", bound] for bound in ("0.1", "1.0", "+Inf")] == [0, 1, 1]
    assert found["chatnet_push_seconds_sum", ""] == 0.5
    assert ("chatnet_reactor_late_seconds_bucket", "+Inf") in found


@pytest_twisted.ensureDeferred
async def test_nothing_else_is_served_and_only_on_this_machine(service: MetricsService) -> None:
    assert (await get(service.port, "/"))[0] == 404
    assert service._web.address.host == "127.0.0.1"


@pytest_twisted.ensureDeferred
async def test_a_foreign_page_is_told_nothing(service: MetricsService) -> None:
    from twisted.internet import reactor

    url = f"http://127.0.0.1:{service.port}/metrics".encode()
    response = await Agent(reactor).request(b"GET", url, Headers({b"host": [b"evil.example"]}))
    assert response.code == 421
    assert b"chatnet_" not in await readBody(response)


@pytest_twisted.ensureDeferred
async def test_a_busy_port_is_one_plain_line(service: MetricsService) -> None:
    from twisted.internet import reactor

    with pytest.raises(CannotListen, match=rf"port {service.port}: already in use") as caught:
        MetricsService(reactor, f"tcp:{service.port}", list).startService()
    assert caught.value.setting == "metrics"  # not where the program listens for others


def test_a_turn_that_lasts_is_seen() -> None:
    clock = Clock()
    watch = StallWatch(clock)
    watch.start()
    clock.advance(STALL_LOOK_SECONDS)
    clock.advance(STALL_LOOK_SECONDS + 0.3)
    watch.stop()
    assert clock.getDelayedCalls() == []
    counts = dict(watch.late.cumulated())
    assert (counts["0.001"], counts["0.25"], counts["0.5"]) == (1, 1, 2)
