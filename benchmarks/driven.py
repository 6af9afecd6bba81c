"""A real headless peer that does what it is asked over its standard input: an ordinary client of ``PeerApi``.

Started with the options of ``twistd chatpeer``.  A request is a line of JSON, ``{"id": 1, "do":
"say", ...}``, and so is its answer, with the same id; several may be under way at once.  Every
offer of a file is accepted.  Times are seconds, measured here, where the events arrive.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet import reactor as any_reactor
from twisted.internet import stdio, task
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import globalLogBeginner
from twisted.protocols.basic import LineReceiver
from twisted.python import usage
from twisted.python.failure import Failure

from chatnet.core.events import (
    Event,
    MessageChanged,
    MessageState,
    PeopleChanged,
    Person,
    Transfer,
    TransferChanged,
    TransferState,
)
from chatnet.peer.api import PeerApi
from chatnet.programs import peer as tap

reactor: Any = any_reactor
BODY = "A message of ordinary length, as people write them: not one word, and not a whole page."


class Requests:
    """What can be asked for, by name; each answers with a JSON object."""

    def __init__(self, peer: PeerApi) -> None:
        self._peer = peer
        self._people: dict[str, Person] = {}
        self._delivered: dict[int, Deferred[float]] = {}  # by row, from its storing to its delivery
        self._flood: Flood | None = None
        self._transfers: dict[bytes, Transfer] = {}
        self._changed: list[Deferred[None]] = []  # who waits for anything to change
        self.kinds: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            "meet": self.meet,
            "latency": self.latency,
            "flood": self.flood,
            "send": self.send,
        }
        subscription = peer.subscribe(self._heard)
        self._heard(PeopleChanged(subscription.snapshot.people))

    def _heard(self, event: Event) -> None:
        if isinstance(event, MessageChanged):
            if event.state is MessageState.DELIVERED:
                if event.n in self._delivered:
                    self._delivered.pop(event.n).callback(time.perf_counter())
                elif self._flood is not None and not self._flood.over.called:
                    self._flood.delivered()
            return
        if isinstance(event, PeopleChanged):
            self._people.update((person.name, person) for person in event.people)
        elif isinstance(event, TransferChanged):
            self._take(event.transfer)
        waiting, self._changed = self._changed, []
        for deferred in waiting:
            deferred.callback(None)

    def _take(self, transfer: Transfer) -> None:
        known = self._transfers.get(transfer.fid)
        self._transfers[transfer.fid] = transfer
        if known is None and not transfer.outgoing and transfer.state is TransferState.OFFERED:
            self._peer.accept(transfer.fid).addErrback(lambda failure: failure.printTraceback(sys.stderr))

    async def _change(self) -> None:
        self._changed.append(changed := Deferred[None]())
        await changed

    # --- requests -------------------------------------------------------------------------------

    async def meet(self, name: str) -> dict[str, Any]:
        """Wait until ``name`` is online, link, and say a word, so that neither is a stranger to the other."""
        while name not in self._people or not self._people[name].online:
            await self._change()
        await self._peer.connect(self._people[name].peer)
        await self._deliver(name)
        return {}

    async def latency(self, to: str, count: int, every: float) -> dict[str, Any]:
        """``count`` messages, one each ``every`` seconds; 0: each when the one before is delivered."""
        if not every:
            return {"seconds": [await self._deliver(to) for _ in range(count)]}
        under_way = []
        for _ in range(count):
            under_way.append(Deferred.fromCoroutine(self._deliver(to)))
            await task.deferLater(reactor, every)
        return {"seconds": await gatherResults(under_way)}

    async def flood(self, to: str, count: int, window: int) -> dict[str, Any]:
        """``count`` messages, at most ``window`` of them typed and not delivered."""
        began = time.perf_counter()
        self._flood = Flood(self._peer, self._people[to].peer, count, window)
        await self._flood.over
        return {"seconds": time.perf_counter() - began}

    async def send(self, to: str, path: str) -> dict[str, Any]:
        """Offer ``path`` and wait until the receiver has verified it."""
        began = time.perf_counter()
        offered = await self._peer.offer(self._people[to].peer, (os.fsencode(path),))
        while (transfer := self._transfers.get(offered.fid, offered)) and not transfer.state.ended:
            await self._change()
        seconds = time.perf_counter() - began
        if transfer.state is not TransferState.DONE:
            raise RuntimeError(f"the transfer ended {transfer.state}: {transfer.reason}")
        return {"seconds": seconds, "files": transfer.total_files, "bytes": transfer.total_bytes}

    async def _deliver(self, to: str) -> float:
        """Seconds from typing to the other side's word that it is stored there."""
        typed = time.perf_counter()
        message = await self._peer.say(self._people[to].peer, BODY)
        self._delivered[message.n] = delivered = Deferred[float]()
        return await delivered - typed


class Flood:
    """Messages typed as fast as they are delivered, with as little as can be of our own for each."""

    def __init__(self, peer: PeerApi, to: bytes, count: int, window: int) -> None:
        self.over: Deferred[None] = Deferred()
        self._peer = peer
        self._to = to
        self._untyped = count
        self._undelivered = count
        for _ in range(min(window, count)):
            self._type()

    def _type(self) -> None:
        self._untyped -= 1
        self._peer.say(self._to, BODY).addErrback(self._failed)

    def delivered(self) -> None:
        self._undelivered -= 1
        if self._untyped:
            self._type()
        if not self._undelivered:
            self.over.callback(None)

    def _failed(self, failure: Failure) -> None:
        if not self.over.called:
            self.over.errback(failure)


class RequestLines(LineReceiver):
    """Lines in, lines out; the end of the input is the end of the program."""

    delimiter = b"\n"

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def lineReceived(self, line: bytes) -> None:
        Deferred.fromCoroutine(self._run(**json.loads(line)))

    async def _run(self, id: int, do: str, **arguments: Any) -> None:
        try:
            answer = await self._requests.kinds[do](**arguments)
        except Exception as error:  # whatever it is, the other side waits for an answer
            answer = {"error": f"{type(error).__name__}: {error}"}
        self.sendLine(json.dumps({"id": id, **answer}).encode())  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: object = None) -> None:
        if reactor.running:
            reactor.stop()


def main() -> None:
    twistd = usage.Options()
    twistd["nodaemon"] = 1
    options = tap.Options()
    options.parent = twistd
    options.parseOptions(sys.argv[1:])
    program: Any = tap.makeService(options)
    globalLogBeginner.beginLoggingTo([program.log], redirectStandardIO=False)
    program.startService()
    reactor.addSystemEventTrigger("before", "shutdown", program.stopService)
    stdio.StandardIO(RequestLines(Requests(program.peer)))
    reactor.run()


if __name__ == "__main__":
    main()
