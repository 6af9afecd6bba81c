"""C5: a registry is killed, and everybody comes back.

Many real registrations, each with its own key and its own list; the registry is killed with
SIGKILL and started again some seconds later.  Most are back soon and all in the end, they do not
come in one wave, and nobody's list is wrong or empty for long.  Control: without chance in the
waiting, all come in the same second.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from typing import Any

from chatnet.core.events import RegistryPhase, RegistryState
from chatnet.core.identity import PeerID
from chatnet.core.messages import ROLE_REGISTRY, Found, Hello, ListEntry, ListPage
from chatnet.core.records import endpoint, sign_record
from chatnet.net.dialling import Dialler
from chatnet.net.tls import TLS
from chatnet.peer.directory.registration import Registration
from chatnet.peer.directory.registry_address import RegistryAddress
from tests.campaigns.field import Complaints, Subject, in_reactor, pause, until
from tests.campaigns.harness import Case, Figures, check, main
from tests.campaigns.neighbours import Neighbours, neighbours
from tests.support.links import hello, new_identity, settings_for

NAME = "c05_herd"
SIZES = {"ci": 40, "gate": 300, "nightly": 2_000}
HONEST = {"gate": 1_000, "nightly": 1_000}
UNIT = "peers"
SHOWN = ("they came in one wave",)
TIMED = True
TIMED_CONTROL = True  # it shows a wave in one second

AWAY_SECONDS = {"ci": 2.0, "gate": 5.0}
MOST_BACK_SECONDS, ALL_BACK_SECONDS = 30.0, 90.0
CONTROL_PEERS = 170


class Sheep:
    """A registration and the list it keeps, as a node has them, without a node's disk."""

    def __init__(self, herd: Herd, number: int) -> None:
        self.herd, self.name = herd, f"sheep{number}"
        self.identity = new_identity()
        self.list: dict[bytes, ListEntry] = {}
        self.fresh: dict[bytes, ListEntry] | None = None  # a snapshot that is not whole yet
        self.cursor: bytes | None = None
        self.seq = 0
        self.registration = Registration(
            herd.reactor,
            Dialler(herd.reactor, TLS(self.identity), herd.settings),
            RegistryAddress("127.0.0.1", herd.registry.port),
            self,
            herd.uniform,
        )
        self.wrong_since: float | None = None
        self.wrong_worst = 0.0

    async def registry_hello(self, outdated: bool) -> Hello:
        self.herd.tries.append(time.monotonic())
        self.seq += 1
        key, sign = self.identity.public_key, self.identity.sign
        record = sign_record(key, sign, self.name, [endpoint("127.0.0.1", 40_000)], self.seq, 0)
        return hello(ROLE_REGISTRY, self.name, record=record, since=self.cursor)

    async def remember_registry(self, key: PeerID) -> None:
        """Its place remembers."""

    def registry_changed(self, state: RegistryState) -> None:
        check(state.phase is not RegistryPhase.REFUSED, "a peer was refused for good", reason=state.reason)

    def registry_opened(self) -> None:
        """Its list knows nothing of links."""

    def record_found(self, found: Found) -> None:
        """It asks for none."""

    def list_page(self, page: ListPage) -> None:
        if page.reset:
            self.fresh = {}
        target = self.list if self.fresh is None else self.fresh
        target.update((entry.peer, entry) for entry in page.joined)
        for gone in page.left:
            target.pop(gone, None)
        if self.fresh is not None and not page.more:
            self.list, self.fresh = self.fresh, None
        self.cursor = None if page.more else page.cursor

    def listed(self) -> int:
        return len(self.list)

    def registered_elsewhere(self) -> None:
        """Every sheep is there once."""

    def wall_ms(self) -> int:
        return int(time.time() * 1000)

    @property
    def is_back(self) -> bool:
        return self.registration.link is not None

    def look(self, now: float) -> bool:
        """Whether its list is everybody; since when it has not been."""
        right = len(self.list) == len(self.herd.sheep) + self.herd.those.count
        if right:
            self.wrong_since = None
        else:
            self.wrong_since = self.wrong_since or now
            self.wrong_worst = max(self.wrong_worst, now - self.wrong_since)
        return right


class Herd:
    def __init__(self, reactor: Any, case: Case, registry: Subject, jitter: bool, those: Neighbours) -> None:
        self.reactor, self.registry, self.those = reactor, registry, those
        self.settings = settings_for(reactor)
        self.away = AWAY_SECONDS["gate" if case.n >= SIZES["gate"] else "ci"]
        chance = random.Random(case.seed)
        self.uniform = chance.uniform if jitter else (lambda low, high: min(high, self.away + 1))
        self.tries: list[float] = []
        self.sheep = [Sheep(self, number) for number in range(case.n)]

    async def gather(self) -> None:
        """All come for the first time, a few at once."""
        for at in range(0, len(self.sheep), 20):
            for one in self.sheep[at : at + 20]:
                await one.registration.start()
        await until(self.reactor, self.all_right, 60, "the herd does not get together")

    def all_right(self) -> bool:
        now = time.monotonic()
        return all([one.look(now) for one in self.sheep])

    async def disperse(self) -> None:
        for one in self.sheep:
            await one.registration.stop()


def peak(times: list[float]) -> int:
    """The most in one second."""
    times = sorted(times)
    begin = most = 0
    for at, when in enumerate(times):
        while when - times[begin] > 1:
            begin += 1
        most = max(most, at - begin + 1)
    return most


async def restarted(reactor: Any, case: Case, registry: Subject, jitter: bool, those: Neighbours) -> Figures:
    complaints = Complaints()
    herd = Herd(reactor, case, registry, jitter, those)
    try:
        await herd.gather()
        await pause(reactor, 1)
        herd.tries.clear()
        registry.kill()
        await pause(reactor, herd.away)
        registry.begin()
        began = time.monotonic()
        await until(reactor, lambda: registry.serves, 30, "the registry did not start again")
        those.come_again(registry.port)
        most_back: float | None = None
        while True:
            now = time.monotonic()
            right, back = herd.all_right(), sum(one.is_back for one in herd.sheep)
            if most_back is None and back >= 0.95 * case.n:
                most_back = now - began
            if back == case.n and right:
                break
            check(now - began < ALL_BACK_SECONDS, "not all are back", back=back, right=right)
            check(registry.lives, "the registry has ended", words=registry.words())
            await pause(reactor, 0.1)
        all_back = time.monotonic() - began
        await pause(reactor, 1)
        in_a_second, allowed = peak(herd.tries), max(150, case.n // 5)
        tries = Counter(int(at - herd.tries[0]) for at in herd.tries)
        check((most_back or 0) <= MOST_BACK_SECONDS, "most are not back in time", most_back_s=most_back)
        check(in_a_second <= allowed, "they came in one wave", in_a_second=in_a_second, allowed=allowed)
        wrong = max(one.wrong_worst for one in herd.sheep)
        check(wrong <= ALL_BACK_SECONDS, "somebody's list was wrong for long", list_wrong_s=wrong)
        check(not complaints.texts, "an error was logged", first=complaints.texts[:1])
        return {
            "most_back_s": round(most_back or 0, 1),
            "all_back_s": round(all_back, 1),
            "tries": len(herd.tries),
            "tries_in_a_second": in_a_second,
            "tries_by_second": dict(sorted(tries.items())),
            "list_wrong_s": round(wrong, 1),
        }
    finally:
        await herd.disperse()


def attack(case: Case, jitter: bool = True) -> Figures:
    registry = Subject("registry", case.directory).start()
    try:
        with neighbours(case, registry.port) as those:
            figures = in_reactor(lambda reactor: restarted(reactor, case, registry, jitter, those)) | those.stayed()
        return figures | {"stall_own_ms": registry.healthy()["stall_own_ms"]}
    finally:
        registry.stop()


def run(case: Case) -> Figures:
    return attack(case)


def control(case: Case) -> Figures:
    case.n = CONTROL_PEERS
    return attack(case, jitter=False)


if __name__ == "__main__":
    main(sys.modules[__name__])
