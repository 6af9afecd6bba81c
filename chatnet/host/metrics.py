"""The metrics of a program for Prometheus: ``GET /metrics`` on a port of its own.

``prometheus_client`` and ``twisted.web`` are imported only where such a port is wanted.  Everything
is read when it is asked for; the one thing that runs meanwhile is the watch for stalls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core.errors import CannotListen
from chatnet.core.meters import Measure, Spread
from chatnet.core.ports import METRICS_PORT
from chatnet.host.web import WebPort, own_host, quiet_site

PREFIX = "chatnet_"
STALL_LOOK_SECONDS = 0.1  # how often the watch looks: a stall shorter than this may be seen in part


class StallWatch:
    """How late the reactor comes to a timer: that long others wait too."""

    def __init__(self, clock: Any) -> None:
        self.late = Spread()
        self._clock = clock
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        self._next = self._clock.callLater(STALL_LOOK_SECONDS, self._look, self._clock.seconds() + STALL_LOOK_SECONDS)

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _look(self, due: float) -> None:
        self.late.add(max(0.0, self._clock.seconds() - due))
        self.start()


class MetricsService(Service):
    """``GET /metrics`` at ``endpoint``, a server endpoint string; ``tcp:`` without an interface means 127.0.0.1.

    ``startService`` raises LocalError, CannotListen among them.  ``measures`` is asked at each request.
    """

    log = Logger("chatnet.metrics")

    def __init__(self, reactor: Any, endpoint: str, measures: Callable[[], Iterable[Measure]]) -> None:
        self._measures = measures
        self._stalls = StallWatch(reactor)
        self._web = WebPort(reactor, endpoint, lambda: _site(self._all), METRICS_PORT)

    @property
    def port(self) -> int:
        """Its number, once it is bound."""
        return int(getattr(self._web.address, "port", 0))

    def startService(self) -> None:
        try:
            self._web.open()
        except CannotListen as error:
            raise CannotListen(error.code, error.text, error.instead, setting="metrics") from None
        self._stalls.start()
        super().startService()  # type: ignore[no-untyped-call]
        self.log.info("metrics at {where}", where=self._web.address)

    def stopService(self) -> Deferred[Any]:
        super().stopService()  # type: ignore[no-untyped-call]
        self._stalls.stop()
        return self._web.close()

    def _all(self) -> Iterable[Measure]:
        yield from self._measures()
        yield Measure("reactor_late_seconds", "How late the reactor came to a timer", self._stalls.late)


def _site(measures: Callable[[], Iterable[Measure]]) -> Any:
    """Return a site with nothing but ``/metrics``, asked for by an address, localhost or this machine's host name."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
    from twisted.web.resource import Resource

    class Collector:
        def collect(self) -> Iterable[Any]:
            for name, words, value, rises, label in measures():
                if isinstance(value, Spread):
                    yield HistogramMetricFamily(PREFIX + name, words, buckets=value.cumulated(), sum_value=value.total)
                    continue
                family = CounterMetricFamily if rises else GaugeMetricFamily
                if not isinstance(value, Mapping):
                    yield family(PREFIX + name, words, value=value)
                    continue
                labelled = family(PREFIX + name, words, labels=[label])
                for of, number in value.items():
                    labelled.add_metric([of], number)
                yield labelled

    class Page(Resource):
        isLeaf = True

        def render_GET(self, request: Any) -> bytes:
            request.setHeader(b"content-type", CONTENT_TYPE_LATEST.encode())
            return bytes(generate_latest(registry))

    registry = CollectorRegistry()
    registry.register(Collector())
    return quiet_site({b"metrics": Page()}, own_host)  # type: ignore[no-untyped-call]
