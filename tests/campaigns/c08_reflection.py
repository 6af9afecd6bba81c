"""C8: nobody's list can aim the peers, or a registry, at a third party.

A hostile registry pushes many entries for one victim, and for every kind of address that must not
be dialled, to whole peers; some insist on talking to them.  Strangers sign records that name the
victim to an honest registry.  The victim is a listener on another loopback address: it hears
nothing because of a push, and at most one dial in 5 s of a peer that insists.  Control: peers that
dial whoever is listed.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from typing import Any

from twisted.internet.protocol import Factory, Protocol

from chatnet.core.events import RegistryPhase
from chatnet.core.limits import MAX_ENDPOINTS, PAGE_BYTES, PeerLimits
from chatnet.core.messages import ListEntry, ListPage
from chatnet.core.records import Endpoint, endpoint
from chatnet.host.options import LogChoice
from chatnet.host.paths import Roots
from chatnet.peer.directory.registry_address import RegistryAddress
from chatnet.peer.node import Node
from chatnet.peer.options import PeerSettings
from chatnet.peer.service import PeerService
from tests.campaigns.field import Complaints, Subject, in_reactor, pause, until
from tests.campaigns.harness import Case, Figures, check, main
from tests.campaigns.neighbours import neighbours
from tests.support.guests import Guest
from tests.support.links import Recorder, Station

NAME = "c08_reflection"
SIZES = {"ci": 6, "gate": 50, "nightly": 50}
HONEST = {"gate": 1_000, "nightly": 1_000}
UNIT = "peers"
SHOWN = ("a push made a peer dial the victim",)

VICTIM = "127.0.0.9"
ENTRIES = 1_000
SPACING_SECONDS = PeerLimits().dial_spacing_seconds
WATCH_SECONDS = {"ci": 6.0, "gate": 16.0}
FORBIDDEN = (
    "0.0.0.0", "0.1.2.3", "224.0.0.1", "239.255.255.250", "255.255.255.255", "169.254.1.1", "240.0.0.1",
    "::", "ff02::1", "fe80::1", "::ffff:127.0.0.9", "::ffff:10.0.0.1",
)  # fmt: skip


class Decoy(Factory):
    """The victim: counts who comes, and when."""

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self.came: list[float] = []
        self.port: Any = reactor.listenTCP(0, self, interface=VICTIM)
        self.number = self.port.getHost().port

    def buildProtocol(self, addr: object) -> Protocol:
        self.came.append(time.monotonic())
        return Protocol()


class Dials:
    """Every destination that this process dials, by wrapping the reactor."""

    def __init__(self, reactor: Any) -> None:
        self.at: dict[tuple[str, int], list[float]] = defaultdict(list)
        connect = reactor.connectTCP

        def noting(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
            self.at[host, port].append(time.monotonic())
            return connect(host, port, *args, **kwargs)

        reactor.connectTCP = noting


def hostile_list(decoy: int) -> list[ListPage]:
    entries = [
        ListEntry(os.urandom(32), f"friend{number}", [endpoint(VICTIM, decoy)] * (1 + number % MAX_ENDPOINTS), 1, 1)
        for number in range(ENTRIES)
    ]
    for number, host in enumerate(FORBIDDEN):
        entries.append(ListEntry(os.urandom(32), f"special{number}", [_raw(host, 4000)], 1))
    entries.append(ListEntry(os.urandom(32), "low", [endpoint(VICTIM, 22), endpoint(VICTIM, 1023)], 1))
    size = PAGE_BYTES // 200
    pages = [entries[at : at + size] for at in range(0, len(entries), size)]
    last = len(pages) - 1
    return [ListPage(at == 0, at < last, page, [], b"c" * 16) for at, page in enumerate(pages)]


def _raw(host: str, port: int) -> Endpoint:
    import ipaddress

    return Endpoint(ipaddress.ip_address(host).packed, port)


class HostileRegistry(Recorder):
    def __init__(self, pages: list[ListPage]) -> None:
        super().__init__()
        self._pages = pages

    def opened(self, link: Any) -> None:
        super().opened(link)
        for page in self._pages:
            link.send(page)


def peer_of(reactor: Any, case: Case, number: int, port: int) -> PeerService:
    place = case.directory / f"p{number}"
    settings = PeerSettings(
        listen=("tcp:0:interface=127.0.0.1",),
        roots=Roots(*(place / part for part in ("config.toml", "data", "state", "dl"))),
        log=LogChoice(),
        daemon=False,
        warnings=(),
        name=f"peer{number}",
        registry=RegistryAddress("127.0.0.1", port),
        headless=True,
        ascii=False,
        limits=PeerLimits(),
    )
    return PeerService(reactor, settings, None, console=True)


async def pushed(reactor: Any, case: Case) -> Figures:
    """A hostile registry and peers, of which every second one insists on an entry of the victim."""
    decoy, dials = Decoy(reactor), Dials(reactor)
    pages = hostile_list(decoy.number)
    station = Station(reactor, HostileRegistry(pages))
    port = station.listen()
    peers = [peer_of(reactor, case, number, port) for number in range(case.n)]
    try:
        for one in peers:
            one.startService()
        expected = sum(len(page.joined) for page in pages)
        told = lambda one: one._node is not None and len(one._node.roster.listed) == expected  # noqa: E731
        await until(reactor, lambda: all(map(told, peers)), 60 + case.n, "the list did not arrive")
        await pause(reactor, 2)
        check(not decoy.came, "a push made a peer dial the victim", dials=len(decoy.came))
        targets = [entry.peer for entry in pages[0].joined[:20]]
        special = [entry.peer for entry in pages[-1].joined if entry.name.startswith(("special", "low"))]
        insisting = peers[::2]
        seconds = WATCH_SECONDS["ci"] if case.n < SIZES["gate"] else WATCH_SECONDS["gate"]
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            for one in insisting:
                for peer in (*targets, *special):
                    one.connect(peer).addErrback(lambda _: None)
            await pause(reactor, 0.5)
        allowed = len(insisting) * (1 + int(seconds // SPACING_SECONDS))
        check(
            len(decoy.came) <= allowed,
            "more dials than one in 5 s of each peer",
            dials=len(decoy.came),
            allowed=allowed,
        )
        check(len(decoy.came) >= len(insisting), "those who insist do not dial at all: nothing is proven")
        never = [at for at in dials.at if at[1] < 1024 or (at[1] == 4000 and at[0] != VICTIM)]
        check(not never, "an address that must never be dialled was", dialled=never)
        phases = [one._snapshot().registry.phase for one in peers]
        check(all(phase is RegistryPhase.UP for phase in phases), "a peer has lost its registry")
        return {
            "entries": expected,
            "pushed_dials": 0,
            "insisting": len(insisting),
            "dials": len(decoy.came),
            "allowed": allowed,
        }
    finally:
        for one in peers:
            await one.stopService()
        await station.close()
        await decoy.port.stopListening()


async def announced(reactor: Any, registry: Subject, n: int) -> Figures:
    """An honest registry that is told the victim's address in signed records dials only whom it sees."""
    decoy, own = Decoy(reactor), Decoy(reactor)
    await own.port.stopListening()
    own.port = reactor.listenTCP(0, own, interface="127.0.0.1")
    mine = own.port.getHost().port
    guests = []
    try:
        for number in range(n):
            guest = Guest(reactor, f"guest{number}")
            guest.endpoints = [endpoint(VICTIM, decoy.number)] * 2
            if number % 2:
                guest.endpoints = [endpoint("127.0.0.1", mine), *guest.endpoints]
            guests.append(guest)
            await guest.join(registry.port)
            guest.announce(endpoint(VICTIM, decoy.number))
        await until(reactor, lambda: len(own.came) >= n // 2, 20, "the registry does not dial back: nothing is proven")
        await pause(reactor, 1)
        check(not decoy.came, "a registry dialled an address that it had not seen", dials=len(decoy.came))
        return {"announced": n, "dialled_back": len(own.came)}
    finally:
        for guest in guests:
            await guest.close()
        await decoy.port.stopListening()
        await own.port.stopListening()


def attack(case: Case) -> Figures:
    registry = Subject("registry", case.directory / "r").start()

    async def work(reactor: Any) -> Figures:
        complaints = Complaints()
        figures = await announced(reactor, registry, 10) | await pushed(reactor, case)
        check(not complaints.texts, "an error was logged", first=complaints.texts[:1])
        return figures

    try:
        with neighbours(case, registry.port) as those:
            figures = in_reactor(work) | those.stayed()
        return figures | {"registry_stall_own_ms": registry.healthy()["stall_own_ms"]}
    finally:
        registry.stop()


def run(case: Case) -> Figures:
    return attack(case)


def control(case: Case) -> Figures:
    page = Node.list_page

    def eager(node: Node, pushed: ListPage) -> None:
        page(node, pushed)
        for entry in pushed.joined:
            node.contacts.link_to(entry.peer).addErrback(lambda _: None)  # type: ignore[arg-type]

    Node.list_page = eager  # type: ignore[method-assign]
    return attack(case)


if __name__ == "__main__":
    main(sys.modules[__name__])
