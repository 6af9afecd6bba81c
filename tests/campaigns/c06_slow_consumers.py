"""C6: some peers stop reading while the list changes a hundred times a second.

The others are told as soon as before, the registry's memory and the kernel's for each stay bounded,
and who does not read is dropped in time.  Control: a registry that never drops a slow reader.

Below the gate's size the time to drain and the kernel's buffer are smaller, and the run shorter.
"""

from __future__ import annotations

import socket
import statistics
import sys
import time
from pathlib import Path
from typing import Any, cast

from chatnet.core.framing import frame
from chatnet.core.limits import RegistryLimits
from chatnet.core.messages import Announce, ListPage, Ping, encode
from chatnet.core.records import endpoint, sign_record
from chatnet.net.tls import TLS
from chatnet.net.transport import PIECE_BYTES
from tests.campaigns.field import Foe, Foes, Subject, in_reactor, pause, until
from tests.campaigns.harness import Case, Figures, check, main
from tests.campaigns.neighbours import neighbours
from tests.support.guests import Guest
from tests.support.links import hello, new_identity

NAME = "c06_slow_consumers"
SIZES = {"ci": 20, "gate": 200, "nightly": 2_000}
HONEST = {"gate": 1_000, "nightly": 1_000}
UNIT = "peers"
SHOWN = ("who does not read was not dropped",)
TIMED = True

CHANGES_PER_SECOND = 100
PING_SECONDS = 5.0
ANNOUNCERS = 5
GROWTH_KB = 20 * 1024
SHORT = ["drain_seconds=2", "send_buffer_bytes=4096"]
RATIO, SLACK_MS = 1.2, 5.0
LOOK_SECONDS = 0.25
GRACE_SECONDS = 2.0 + 1.0  # and the pulse, which looks once a second
KERNEL_BYTES = (
    3 * RegistryLimits().send_buffer_bytes
)  # the kernel doubles what it is asked for, and takes one more piece


class Unsent:
    """What the kernel holds for each of some connections of the registry, and since when it is no more."""

    def __init__(self, port: int, foes: list[Foe]) -> None:
        self._port = port
        self._theirs = {cast(Any, foe.transport).getHost().port for foe in foes}
        self._grew: dict[int, float] = {}
        self._bytes: dict[int, int] = {}
        self.most_bytes = 0
        self.longest_s = 0.0  # from the last byte that the kernel took to the end

    def look(self, now: float) -> bool:
        """Whether one of them is still there."""
        found = {}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, here, there, state, queues, *_ = line.split()
            if int(here[9:], 16) == self._port and int(there[9:], 16) in self._theirs and state == "01":
                found[int(there[9:], 16)] = int(queues[:8], 16)
        for port, waiting in found.items():
            if waiting > self._bytes.get(port, -1):
                self._bytes[port], self._grew[port] = waiting, now
            self.longest_s = max(self.longest_s, now - self._grew[port])
        self.most_bytes = max(self.most_bytes, *found.values(), 0)
        return bool(found)


class Crowd:
    def __init__(self, reactor: Any, case: Case, registry: Subject) -> None:
        self.reactor, self.n, self.registry = reactor, case.n, registry
        self.all = case.n + case.honest
        self.foes = Foes(reactor)
        self.announcers = [Guest(reactor, f"busy{number}") for number in range(ANNOUNCERS)]
        self.watcher = Guest(reactor, "watcher")
        self.watcher.on_message = self._heard
        self.readers: list[Foe] = []
        self.slow: list[Foe] = []
        self.sent: dict[tuple[bytes, int], float] = {}
        self.latencies: list[float] = []
        self.changes = 0
        self._running = True

    async def gather(self) -> None:
        for guest in (self.watcher, *self.announcers):
            await guest.join(self.registry.port)
        slow = max(2, self.n // 10)
        for number in range(self.n - slow - ANNOUNCERS - 1):
            self.readers.append(await self._reader(f"reader{number}"))
        for number in range(slow):
            self.slow.append(await self._reader(f"slow{number}"))
        await until(self.reactor, lambda: len(self.watcher.names) == self.all, 30, "they do not get together")

    async def _reader(self, name: str) -> Foe:
        """Reads and forgets."""
        identity = new_identity()
        record = sign_record(identity.public_key, identity.sign, name, [endpoint("127.0.0.1", 40_000)], 1, 0)
        foe = await self.foes.tls(self.registry.port, TLS(identity), keep=False)
        await until(self.reactor, lambda: foe.shaken, 20, "no handshake")
        foe.say(frame(encode(hello("registry", name=name, record=record))))
        await until(self.reactor, lambda: foe.heard_bytes > 0, 20, "no welcome")
        self._live(foe)
        return foe

    def _live(self, foe: Foe) -> None:
        """It says that it lives, also when it does not read."""
        if not foe.over and self._running:
            foe.say(frame(encode(Ping(1))))
            self.reactor.callLater(PING_SECONDS, self._live, foe)

    def _heard(self, link: Any, message: Any) -> None:
        self.watcher._take(link, message)
        if isinstance(message, ListPage):
            now = time.monotonic()
            for entry in message.joined:
                sent = self.sent.pop((entry.peer, entry.seq), None)
                if sent is not None:
                    self.latencies.append((now - sent) * 1000)

    async def churn(self, seconds: float, until_done: Any = lambda: False) -> float:
        """Announce so often; the median milliseconds until the watcher heard of a change."""
        self.latencies.clear()
        self.sent.clear()
        began, done = time.monotonic(), 0
        while time.monotonic() - began < seconds and not until_done():
            due = int((time.monotonic() - began) * CHANGES_PER_SECOND)
            while done < due:
                guest = self.announcers[done % ANNOUNCERS]
                done += 1
                port = 10_000 + done % 50_000
                addresses = [endpoint(f"2001:db8::{done % 60_000:x}:{part}", port) for part in range(5)]
                guest.endpoints, guest.seq = [endpoint("127.0.0.1", port), *addresses], guest.seq + 1
                self.sent[guest.peer, guest.seq] = time.monotonic()
                guest.link.send(Announce(guest.record()))
            await pause(self.reactor, 0.004)
        self.changes += done
        await pause(self.reactor, 0.2)
        check(bool(self.latencies), "nobody was told: nothing is proven")
        return statistics.median(self.latencies)

    def freeze(self) -> None:
        for foe in self.slow:
            transport: Any = foe.transport
            transport._socket.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            transport.pauseProducing()

    @property
    def still_listed(self) -> set[str]:
        return {name for name in self.watcher.names if name.startswith("slow")}

    async def close(self) -> None:
        self._running = False
        await self.foes.close()
        for guest in (self.watcher, *self.announcers):
            await guest.close()


def attack(case: Case, limits: list[str]) -> Figures:
    whole = case.n >= SIZES["gate"]
    options = ["announces_per_minute=1000000", "probe=off", *([] if whole else SHORT), *limits]
    registry = Subject("registry", case.directory, limits=options).start()
    seconds, patience = (60.0, 120.0) if whole else (2.0, 10.0)
    drain_seconds = RegistryLimits().drain_seconds if whole else 2.0

    async def work(reactor: Any) -> Figures:
        crowd = Crowd(reactor, case, registry)
        try:
            await crowd.gather()
            await crowd.churn(1)
            before_kb = registry.memory_kb()
            without = await crowd.churn(seconds / 2)
            unsent = Unsent(registry.port, crowd.slow)
            crowd.freeze()
            heard, began = crowd.readers[0].heard_bytes, time.monotonic()
            looked = began
            peak_kb = 0
            dropped: float | None = None

            def done() -> bool:
                nonlocal dropped, looked, peak_kb
                now = time.monotonic()
                if now - looked >= LOOK_SECONDS:
                    looked, peak_kb = now, max(peak_kb, registry.memory_kb() - before_kb)
                    if not unsent.look(now) and not crowd.still_listed:
                        dropped = dropped or now - began
                return dropped is not None and now - began >= seconds

            beside = await crowd.churn(patience, done)
            check(dropped is not None, "who does not read was not dropped", left=len(crowd.still_listed))
            told_per_second = (crowd.readers[0].heard_bytes - heard) / (time.monotonic() - began)
            allowed_s = drain_seconds + GRACE_SECONDS + PIECE_BYTES / told_per_second  # this much waits with us first
            check(unsent.longest_s <= allowed_s, "dropped late", mute_s=unsent.longest_s, allowed_s=allowed_s)
            check(unsent.most_bytes <= KERNEL_BYTES, "the kernel holds much", most_bytes=unsent.most_bytes)
            lost = sum(foe.over for foe in crowd.readers)
            check(not lost, "readers were dropped", lost=lost)
            check(beside <= RATIO * without + SLACK_MS, "the others were told later", before=without, beside=beside)
            check(peak_kb <= GROWTH_KB, "memory grew", growth_kb=peak_kb)
            return {
                "slow": len(crowd.slow),
                "changes": crowd.changes,
                "median_ms_without": round(without, 1),
                "median_ms_beside": round(beside, 1),
                "dropped_after_s": round(dropped or 0, 1),
                "took_nothing_for_s": round(unsent.longest_s, 1),
                "allowed_s": round(allowed_s, 1),
                "kernel_bytes_each": unsent.most_bytes,
                "growth_kb": peak_kb,
            }
        finally:
            await crowd.close()

    try:
        with neighbours(case, registry.port) as those:
            figures = in_reactor(work) | those.stayed()
        return figures | {"stall_own_ms": registry.healthy()["stall_own_ms"]}
    finally:
        registry.stop()


def run(case: Case) -> Figures:
    return attack(case, [])


def control(case: Case) -> Figures:
    case.n = SIZES["ci"]
    return attack(case, ["drain_seconds=1000000"])


if __name__ == "__main__":
    main(sys.modules[__name__])
