"""A speed limit around ``FileSender``: its pull production, driven as a push producer with pauses.

Without a limit the transport pulls by itself, which is quickest; a limit that comes while a file
runs takes the place of that, and stays (without delays, should it be lifted) to the file's end.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IConsumer, IDelayedCall, IProducer, IPushProducer
from zope.interface import implementer

from chatnet.core.limits import WRITE_CHUNK_BYTES
from chatnet.core.transfer.speed import Pace

LEAST_CHUNK_BYTES = 4_096
CHUNKS_PER_SECOND = 20  # of a slow transfer: small pieces, so that it does not go by jerks


def chunk_bytes(pace: Pace) -> int:
    """Return how many bytes one piece holds at the present limit."""
    if not pace.rate:
        return WRITE_CHUNK_BYTES
    return max(LEAST_CHUNK_BYTES, min(WRITE_CHUNK_BYTES, pace.rate // CHUNKS_PER_SECOND))


@implementer(IConsumer, IPushProducer)
class RateLimitedProducer:
    """Stands between one pull producer and its consumer."""

    def __init__(self, clock: Any, consumer: IConsumer, pace: Pace) -> None:
        self._clock = clock
        self._consumer: Any = consumer
        self._pace = pace
        self._producer: Any = None
        self._pushing = False
        self._paused = False
        self._timer: IDelayedCall | None = None

    def limit_changed(self) -> None:
        """Apply the limit that holds now."""
        if self._producer is None:
            return
        if self._pushing:
            self._go()
        elif self._pace.rate:
            self._push()

    # --- towards the producer ---

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        self._producer = producer
        if self._pace.rate:
            self._push()
        else:
            self._consumer.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        self._producer = None
        self._rest()
        self._consumer.unregisterProducer()

    def write(self, data: bytes) -> None:
        self._pace.spend(self._clock.seconds(), len(data))
        self._consumer.write(data)

    # --- towards the consumer ---

    def pauseProducing(self) -> None:
        self._paused = True
        self._rest()

    def resumeProducing(self) -> None:
        self._paused = False
        self._go()

    def stopProducing(self) -> None:
        producer, self._producer = self._producer, None
        self._rest()
        if producer is not None:
            producer.stopProducing()

    def _push(self) -> None:
        self._pushing = True
        self._consumer.registerProducer(self, True)
        self._go()

    def _go(self) -> None:
        """Schedule the next piece for when it may go; each goes in a turn of its own."""
        self._rest()
        if self._producer is not None and not self._paused:
            self._timer = self._clock.callLater(self._pace.delay(self._clock.seconds()), self._produce)

    def _produce(self) -> None:
        self._timer = None
        if self._producer is not None:
            self._producer.resumeProducing()
        if self._timer is None:
            self._go()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
