"""C17: clocks that are wrong by years, and clocks that are set while everything runs.

A registry and a peer whose time of day is years off step back or forth in the middle of a session.
Nobody is dropped for it, messages and the list go on at once, and a timer that runs meanwhile ends
neither early nor late.  Control: timers by the time of day, as Twisted's are.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from chatnet.core.identity import conversation_of
from chatnet.core.messages import ROLE_CHAT, Ack, Say
from chatnet.core.records import endpoint
from tests.campaigns.field import Foes, Subject, in_reactor, pause, until
from tests.campaigns.harness import Case, Figures, check, main
from tests.support.guests import Guest
from tests.support.links import Recorder, Station, hello

NAME = "c17_clock"
SIZES = {"ci": 2, "gate": 6, "nightly": 6}
UNIT = "clocks"
SHOWN = ("a timer ends late", "a timer ended early", "a change was not told", "a message was not stored")

HOUR, YEAR = 3_600.0, 365.25 * 86_400
CLOCKS = (
    (10.0, -HOUR),  # years off, and seconds of the step
    (-10.0, HOUR),
    (0.0, -10 * YEAR),
    (0.0, 10 * YEAR),
    (0.0, -90.0),
    (0.0, 2.0),
)
LIMITS = ["handshake_seconds=4", "ping_seconds=2"]
HANDSHAKE_SECONDS, OFF_SECONDS = 4.0, 2.0
SOON_SECONDS = 2.0


@dataclass
class World:
    """One registry and one peer with the same clock."""

    years: float
    step: float
    registry: Subject
    peer: Subject


class Visitor:
    """Honest, with an honest clock: at the registry, at the peer, and waiting for a timer."""

    def __init__(self, reactor: Any, world: World) -> None:
        self.reactor, self.world = reactor, world
        self.guest = Guest(reactor, "visitor")
        self.station = Station(reactor, Recorder())
        self.foes = Foes(reactor)
        self.link: Any = None
        self.said = 0

    async def come(self) -> None:
        await self.guest.join(self.world.registry.port)
        await until(self.reactor, lambda: "victim" in self.guest.names, 20, "the peer is not listed", **self._which())
        self.link = await self.station.dial(self.world.peer.port, None, hello(ROLE_CHAT, name="visitor"))

    async def all_goes_on(self) -> None:
        """A message is stored, and a change is told."""
        self.said += 1
        self.link.send(
            Say(conversation_of(self.station.peer, self.link.peer), os.urandom(16), 1, f"number {self.said}")
        )
        self.guest.announce(endpoint("127.0.0.1", 30_000 + self.said))
        acks = lambda: sum(len(one.ids) for one in self.station.user.messages if isinstance(one, Ack))  # noqa: E731
        told = lambda: self.guest.list[self.guest.peer].seq == self.guest.seq  # noqa: E731
        await until(
            self.reactor, lambda: acks() == self.said, SOON_SECONDS, "a message was not stored", **self._which()
        )
        await until(self.reactor, told, SOON_SECONDS, "a change was not told", **self._which())

    async def session(self) -> float:
        """Before and after the step; how long a timer of 4 s took that the step fell into."""
        await self.all_goes_on()
        silent = await self.foes.tcp(self.world.registry.port)
        began = time.monotonic()
        await pause(self.reactor, 1)
        for one in (self.world.registry, self.world.peer):
            os.kill(one.pid, signal.SIGUSR2)
        await pause(self.reactor, 0.3)
        await self.all_goes_on()
        late = HANDSHAKE_SECONDS + OFF_SECONDS
        await until(self.reactor, lambda: silent.over, late, "a timer ends late", **self._which())
        took = time.monotonic() - began
        check(took >= HANDSHAKE_SECONDS - OFF_SECONDS, "a timer ended early", timer_of_4_s_took=took, **self._which())
        await pause(self.reactor, 1.5)  # the next looks at the clock
        await self.all_goes_on()
        check(self.guest.link.is_open and self.link.is_open, "somebody was dropped", **self._which())
        return took

    def _which(self) -> Figures:
        return {"years": self.world.years, "step": self.world.step}

    async def close(self) -> None:
        await self.foes.close()
        await self.guest.close()
        await self.station.close()


def attack(case: Case, weak: str = "") -> Figures:
    worlds = []
    for number, (years, step) in enumerate(CLOCKS[: case.n]):
        flags = ["--years", str(years), "--jump", str(step), *(["--weak", weak] if weak else [])]
        place = case.directory / str(number)
        registry = Subject("registry", place / "r", flags=flags, limits=LIMITS)
        worlds.append(World(years, step, registry, registry))

    async def session(reactor: Any, world: World) -> float:
        visitor = Visitor(reactor, world)
        try:
            await visitor.come()
            return round(await visitor.session(), 1)
        finally:
            await visitor.close()

    async def visit(reactor: Any) -> Figures:
        sessions = [Deferred.fromCoroutine(session(reactor, world)) for world in worlds]
        took = [await one for one in sessions]
        stalls = [
            max(world.registry.healthy()["stall_own_ms"], world.peer.healthy()["stall_own_ms"]) for world in worlds
        ]
        return {"clocks": len(worlds), "timer_of_4_s_took": took, "stall_own_ms": max(stalls)}

    try:
        for world in worlds:
            world.registry.begin()
        for world in worlds:
            registry = world.registry.wait()
            place, flags = registry.place.parent / "p", registry.flags
            world.peer = Subject("peer", place, name="victim", registry=registry.join, flags=flags, limits=LIMITS)
            world.peer.begin()
        for world in worlds:
            world.peer.wait()
        return in_reactor(visit)
    finally:
        for world in worlds:
            for one in (world.peer, world.registry):
                one.kill() if weak else one.stop()  # timers that stand still let nothing end


def run(case: Case) -> Figures:
    return attack(case)


def control(case: Case) -> Figures:
    case.n = 1
    return attack(case, weak="timers-by-wall-clock")


if __name__ == "__main__":
    main(sys.modules[__name__])
