"""C4: connections that only wait, and peers that are frozen.

Silent TCP, half a ClientHello, a handshake and no HELLO, half a frame, one byte at a time, before
and after the WELCOME; and whole peers stopped by SIGSTOP.  All are closed within their limit and
two seconds, an honest peer comes in within one second meanwhile, and memory stays bounded.
Control: a build whose deadlines do nothing.

Below the gate's size the registry's limits are a fraction of the usual ones, and so is the wait.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from typing import Any

from chatnet.core.framing import frame
from chatnet.core.limits import PeerLimits, RegistryLimits
from chatnet.core.messages import encode
from chatnet.core.records import endpoint, sign_record
from chatnet.net.dialling import Dialler
from chatnet.net.identity import Identity
from chatnet.net.tls import TLS
from tests.campaigns.field import Foe, Foes, Subject, in_reactor, pause, until
from tests.campaigns.harness import Case, Figures, Stopwatch, check, main
from tests.campaigns.neighbours import neighbours
from tests.support.guests import Guest
from tests.support.links import hello, new_identity, settings_for

NAME = "c04_slowloris"
SIZES = {"ci": 60, "gate": 500, "nightly": 5_000}
HONEST = {"gate": 1_000, "nightly": 1_000}
UNIT = "connections at once"
SHOWN = ("a slow connection outlived its limit", "a frozen peer is still listed")
TIMED = True

SHORT = {"handshake_seconds": 3, "hello_seconds": 2, "frame_seconds": 4, "ping_seconds": 2, "silence_seconds": 5}
KINDS = ("silent", "half a ClientHello", "no HELLO", "half a HELLO", "half a frame", "byte by byte", "mute")
GRACE_SECONDS = 2.0 + 1.0  # and the pulse, which looks once a second
DRIP_SECONDS = 0.5
FROZEN = 2


class Slow:
    """One connection, and when it must be gone; which limit that is depends on where it stopped."""

    def __init__(self, foe: Foe, kind: str, limit: float) -> None:
        self.foe, self.kind = foe, kind
        self.began = time.monotonic()
        self.limit = limit + GRACE_SECONDS

    def look(self, now: float) -> bool:
        """Whether it is over."""
        waited = (self.foe.ended or now) - self.began
        check(waited <= self.limit, "a slow connection outlived its limit", kind=self.kind, lasted_s=waited)
        return self.foe.over


class Crowd:
    def __init__(self, reactor: Any, case: Case, registry: Subject, limits: RegistryLimits) -> None:
        self.reactor, self.chance, self.registry, self.limits = reactor, case.chance, registry, limits
        self.foes = Foes(reactor)
        self.slow: list[Slow] = []
        self.counts: Counter[str] = Counter()

    async def come(self, kind: str, number: int) -> None:
        limits, port = self.limits, self.registry.port
        source = f"127.0.0.{2 + number % 50}"
        self.counts[kind] += 1
        if kind in ("silent", "half a ClientHello"):
            foe = await self.foes.tcp(port, source)
            if kind != "silent":
                foe.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + self.chance.randbytes(100))
            self.slow.append(Slow(foe, kind, limits.handshake_seconds))
            return
        identity = new_identity()
        foe = await self.foes.tls(port, TLS(identity), source)
        if kind == "no HELLO":
            self.slow.append(Slow(foe, kind, limits.handshake_seconds + limits.hello_seconds))
            return
        await until(self.reactor, lambda: foe.shaken or foe.over, 20, "no handshake")
        greeting = self._greeting(identity, number)
        if kind == "half a HELLO":
            foe.say(greeting[: len(greeting) // 2])
            self.slow.append(Slow(foe, kind, limits.hello_seconds))
        elif kind == "byte by byte":
            self.slow.append(Slow(foe, kind, limits.hello_seconds))
            self._drip(foe, greeting)
        else:
            foe.say(greeting)
            await until(self.reactor, lambda: len(foe.got) > 4 or foe.over, 20, "no answer to a hello")
            if kind == "half a frame":
                foe.say(b"\0\0\1\0half a frame")
            limit = limits.frame_seconds if kind == "half a frame" else limits.silence_seconds
            self.slow.append(Slow(foe, kind, max(limit, limits.silence_seconds) if kind == "mute" else limit))

    def _drip(self, foe: Foe, rest: bytes) -> None:
        if rest and not foe.over:
            foe.say(rest[:1])
            self.reactor.callLater(DRIP_SECONDS, self._drip, foe, rest[1:])

    def _greeting(self, identity: Identity, number: int) -> bytes:
        name = f"slow{number}"
        record = sign_record(identity.public_key, identity.sign, name, [endpoint("127.0.0.1", 40_000)], 1, 0)
        return frame(encode(hello("registry", name=name, record=record)))


async def besieged(
    reactor: Any, case: Case, registry: Subject, limits: RegistryLimits, frozen: list[Subject]
) -> Figures:
    crowd = Crowd(reactor, case, registry, limits)
    guests: list[Guest] = []
    slowest = most = peak_kb = 0.0
    try:
        watcher = Guest(reactor, "watcher")
        guests.append(watcher)
        quick = settings_for(reactor, PeerLimits(ping_seconds=1))  # who only listens says that it lives
        watcher._dialler = Dialler(reactor, TLS(watcher.identity), quick)
        await watcher.join(registry.port)
        names = {one.name for one in frozen}
        await until(reactor, lambda: names <= watcher.names, 30, "the peers to freeze did not come")
        for one in frozen:
            os.kill(one.pid, signal.SIGSTOP)
        stopped = time.monotonic()
        before = registry.memory_kb()
        thawed = None
        number = 0
        while number < case.n:
            for _ in range(min(20, case.n - number)):
                await crowd.come(KINDS[number % len(KINDS)], number)
                number += 1
            slowest = max(slowest, await honest(reactor, registry, guests, number))
            peak_kb = max(peak_kb, registry.memory_kb() - before)
        while True:
            now = time.monotonic()
            open_now = sum(not one.look(now) for one in crowd.slow)
            most = max(most, open_now)
            peak_kb = max(peak_kb, registry.memory_kb() - before)
            if thawed is None and not names & watcher.names:
                thawed = now - stopped
            check(
                thawed is not None or now - stopped <= limits.silence_seconds + GRACE_SECONDS,
                "a frozen peer is still listed",
                listed=sorted(watcher.names & names),
            )
            if not open_now and thawed is not None:
                break
            slowest = max(slowest, await honest(reactor, registry, guests, number := number + 1))
            await pause(reactor, 0.25)
        check(slowest < 1.0, "an honest peer waited", honest_waited_s=slowest)
        check(peak_kb <= 90 * case.n + 30_000, "memory grew", growth_kb=peak_kb)
        return {
            "kinds": dict(crowd.counts),
            "open_at_most": most,
            "honest_waited_s": round(slowest, 3),
            "frozen_noticed_s": round(thawed or 0, 1),
            "growth_kb": peak_kb,
        }
    finally:
        await crowd.foes.close()
        for guest in guests:
            await guest.close()


async def honest(reactor: Any, registry: Subject, guests: list[Guest], number: int) -> float:
    """A newcomer is let in and told the list; the seconds that took, but for making its key and for a busy machine."""
    guest = Guest(reactor, f"honest{number}")
    guests.append(guest)
    greeting = guest.greeting()
    watch = Stopwatch(registry.pid)
    await guest.join(registry.port, greeting)
    await until(reactor, lambda: guest.name in guest.names, 20, "an honest peer was not listed")
    took = watch.seconds()
    await guest.close()
    guests.remove(guest)
    return took


def attack(case: Case, weak: str = "") -> Figures:
    changed = SHORT if case.n < SIZES["gate"] else {}
    limits = RegistryLimits()
    for name, value in changed.items():
        limits = limits.changed(f"{name}={value}")
    options = [f"{name}={value}" for name, value in changed.items()] + ["new_names_per_hour=100000"]
    registry = Subject("registry", case.directory / "r", limits=options, flags=["--weak", weak] if weak else ()).start()
    frozen = [
        Subject("peer", case.directory / f"p{number}", name=f"frozen{number}", registry=registry.join)
        for number in range(FROZEN)
    ]
    try:
        for one in frozen:
            one.begin()
        with neighbours(case, registry.port, limits.ping_seconds / 2) as those:
            figures = in_reactor(lambda reactor: besieged(reactor, case, registry, limits, frozen)) | those.stayed()
        healthy = registry.healthy()
        return figures | {"stall_own_ms": healthy["stall_own_ms"], "limits": changed or "the usual"}
    finally:
        for one in frozen:
            one.kill()
        registry.kill() if weak else registry.stop()  # without deadlines a goodbye lasts


def run(case: Case) -> Figures:
    return attack(case)


def control(case: Case) -> Figures:
    case.n = min(case.n, 14)
    return attack(case, weak="no-deadlines")


if __name__ == "__main__":
    main(sys.modules[__name__])
