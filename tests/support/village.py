"""A registry and peers in one process: real services and stores, lines in memory or real sockets, time by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from chatnet.core.events import (
    ChatMessage,
    ChatMoved,
    CodeReady,
    Event,
    Me,
    MessageAdded,
    MessageChanged,
    MessageState,
    Notice,
    PeopleChanged,
    Person,
    PersonGone,
    RegistryChanged,
    RegistryPhase,
    RegistryState,
    Request,
    RequestsChanged,
    Transfer,
    TransferChanged,
)
from chatnet.core.identity import ChatID, PeerID, chat_with
from chatnet.core.limits import PeerLimits, RegistryLimits
from chatnet.core.messages import ListEntry
from chatnet.core.records import endpoint
from chatnet.host.options import LogChoice
from chatnet.host.paths import Roots
from chatnet.net.identity import Identity
from chatnet.peer.directory.registry_address import RegistryAddress
from chatnet.peer.node import Node
from chatnet.peer.options import PeerSettings
from chatnet.peer.service import PeerService
from chatnet.registry.service import RegistryService
from tests.support.links import new_identity
from tests.support.memorynet import Machine, MemoryNet

START = 1_795_000_000.0  # the time of day when every clock shows 0
REGISTRY_HOST, REGISTRY_PORT = "127.0.1.1", 9900
NOWHERE = "127.0.1.9"  # where no registry is
PEER_PORT = 4000
STEP_SECONDS = 0.02
PATIENCE_SECONDS = 20.0  # of real time, before a condition has failed
TURN_SECONDS = 0.0005  # of real time, left to the threads between two looks


class Villager:
    """One peer: its directories and address for good, its service from ``start`` to ``stop``.

    What it is told is folded into ``people``, ``rows``, ``transfers`` and ``phases``, as a console does.
    """

    def __init__(self, village: Village, name: str, place: str, host: str, limits: PeerLimits) -> None:
        self.village = village
        self.name = name
        self.machine: Machine = village.net.machine(host)
        self.roots = Roots(*(village.directory / place / part for part in ("config.toml", "data", "state", "dl")))
        self.registry = RegistryAddress(REGISTRY_HOST, REGISTRY_PORT)
        self.limits = limits
        self.ports: tuple[int, ...] = (PEER_PORT,)  # each is an address that it publishes
        self.service: PeerService | None = None
        self.starts = 0
        self.wall_offset = 0.0  # seconds by which its time of day is wrong
        self.forget()

    def forget(self) -> None:
        """What it was told in a former run."""
        self.people: dict[bytes, Person] = {}
        self.rows: dict[int, ChatMessage] = {}
        self.added: list[ChatMessage] = []
        self.transfers: dict[bytes, Transfer] = {}
        self.phases: list[RegistryPhase] = []
        self.notices: list[str] = []
        self.codes: list[CodeReady] = []
        self.requests: tuple[Request, ...] = ()
        self.state: RegistryState | None = None

    # --- life ---

    def start(self, log_in: bool = True) -> Villager:
        """``log_in`` False: the form is shown, ``service.login`` goes on."""
        self.forget()
        self.starts += 1
        settings = PeerSettings(
            listen=tuple(f"tcp:{port}:interface={self.machine.host}" for port in self.ports),
            roots=self.roots,
            log=LogChoice(),
            daemon=False,
            warnings=(),
            name=self.name if log_in else "",
            registry=self.registry,
            headless=False,
            ascii=False,
            limits=self.limits,
        )
        self.service = PeerService(
            self.machine,
            settings,
            None,
            console=True,  # or a refusal would end the process
            wall=lambda: START + self.machine.seconds() + self.wall_offset,
            chance=random.Random(f"{self.roots.data} {self.starts}"),
        )
        subscription = self.service.subscribe(self._heard)
        self.state = subscription.snapshot.registry
        self.requests = subscription.snapshot.requests
        self.service.startService()
        return self

    async def stop(self) -> None:
        service, self.service = self.service, None
        if service is not None:
            if service._node is not None:
                contacts = getattr(service._node, "contacts", None)  # a start that was refused has none
                self.village.rescues += contacts.rescues if contacts is not None else 0
                self.village.strikes += service._node.dialler._settings.strikes.given
            await self.village.done(Deferred.fromCoroutine(service.stopService()))

    @property
    def door(self) -> PeerService:
        assert self.service is not None
        return self.service

    @property
    def has_begun(self) -> bool:
        """Whether there is a node."""
        return self.service is not None and self.service._node is not None

    @property
    def node(self) -> Node:
        """The inside, for what cannot be seen from the door."""
        assert self.door._node is not None
        return self.door._node

    @property
    def me(self) -> Me:
        me = self.door.subscribe(lambda event: None).snapshot.me
        assert me is not None
        return me

    @property
    def peer(self) -> PeerID:
        return self.node.me

    @property
    def chat(self) -> ChatID:
        """The chat that others have with it."""
        return chat_with(self.peer)

    # --- what it sees ---

    @property
    def phase(self) -> RegistryPhase | None:
        return self.state.phase if self.state else None

    @property
    def online(self) -> set[str]:
        return {person.name for person in self.people.values() if person.online}

    def knows(self, other: Villager) -> Person | None:
        return self.people.get(other.peer)

    def texts(self, other: bytes) -> list[str]:
        """The conversation with ``other``, in its order."""
        return [row.body for n, row in sorted(self.rows.items()) if row.chat == other]

    def states(self, other: bytes) -> list[MessageState]:
        return [row.state for n, row in sorted(self.rows.items()) if row.chat == other and row.mine]

    def only_transfer(self) -> Transfer:
        (transfer,) = self.transfers.values()
        return transfer

    def _heard(self, event: Event) -> None:
        match event:
            case PeopleChanged(people):
                self.people |= {person.peer: person for person in people}
            case PersonGone(peer):
                self.people.pop(peer, None)
            case MessageAdded(message):
                self.added.append(message)
                self.rows[message.n] = message
            case MessageChanged(_, n, state, reason):
                if n in self.rows:
                    self.rows[n] = _replaced(self.rows[n], state=state, reason=reason)
            case ChatMoved(former, chat):
                self.rows |= {n: _replaced(row, chat=chat) for n, row in self.rows.items() if row.chat == former}
            case RequestsChanged(requests):
                self.requests = requests
            case TransferChanged(transfer):
                self.transfers[transfer.fid] = transfer
            case RegistryChanged(registry):
                self.state = registry
                if not self.phases or self.phases[-1] is not registry.phase:
                    self.phases.append(registry.phase)
            case Notice(_, text):
                self.notices.append(text)
            case CodeReady():
                self.codes.append(event)
            case _:
                pass


class Village:
    """See the module; its starter calls ``close``.  With ``sockets`` every line is a pair of real sockets."""

    def __init__(self, reactor: Any, directory: Path, sockets: bool = False) -> None:
        self.reactor = reactor
        self.directory = directory
        self.net = MemoryNet(reactor, sockets)
        self.registry_machine = self.net.machine(REGISTRY_HOST)
        self.registry_identity: Identity = new_identity()
        self.registry: RegistryService | None = None
        self.villagers: list[Villager] = []
        self._registry_starts = 0
        self.strikes = 0  # given in all
        self.rescues = 0  # by the safety net of those who have stopped
        self.needs_rescue = False  # a test takes the rules away
        self.dishonest = False  # a test breaks the protocol, and earns strikes

    # --- who is there ---

    def open_registry(self, limits: RegistryLimits | None = None) -> RegistryService:
        self._registry_starts += 1
        chance = random.Random(self._registry_starts)
        self.registry = RegistryService(
            self.registry_machine,
            self.registry_identity,
            self.directory / "registry.db",
            limits or RegistryLimits(),
            (f"tcp:{REGISTRY_PORT}:interface={REGISTRY_HOST}",),
            wall=lambda: START + self.registry_machine.seconds(),
            token=chance.randbytes,
            jitter=chance.random,
        )
        self.registry.startService()
        return self.registry

    async def shut_registry(self) -> None:
        registry, self.registry = self.registry, None
        if registry is not None:
            self.strikes += registry._factory.strikes
            await self.until(lambda: registry.serving.called)  # a stop while it reads its names is not our subject
            await self.done(registry.stopService())

    async def kill_registry(self) -> None:
        """As by kill -9: the lines break without a word."""
        for end in list(self.net.ends):
            if end.host[0] == REGISTRY_HOST:
                end.broken(_broken())
                end.other.broken(_broken())
        await self.shut_registry()

    def villager(self, name: str, place: str = "", limits: PeerLimits | None = None) -> Villager:
        """A peer that is not started; ``place`` names its directories, if not ``name``."""
        host = f"127.0.0.{len(self.villagers) + 2}"
        one = Villager(self, name, place or name, host, limits or PeerLimits())
        one.machine.advance(self.registry_machine.seconds())
        self.villagers.append(one)
        return one

    async def stranger(self, name: str, *others: Villager) -> Villager:
        """A peer of no registry, which has the addresses of ``others``; in none of their lists."""
        one = self.villager(name)
        one.registry = RegistryAddress(NOWHERE, REGISTRY_PORT)
        one.start()
        await self.until(lambda: one.phase is RegistryPhase.LOST and all(other.has_begun for other in others))
        one.node.roster.restore(
            [ListEntry(other.peer, other.name, [endpoint(other.machine.host, PEER_PORT)], 1) for other in others]
        )
        return one

    async def people(self, *names: str) -> list[Villager]:
        """Peers that are here and see each other."""
        started = [self.villager(name).start() for name in names]
        await self.until(
            lambda: all(one.phase is RegistryPhase.UP and one.online == set(names) - {one.name} for one in started)
        )
        return started

    async def close(self) -> None:
        for host in tuple(self.net.frozen):
            self.thaw(host)
        for one in self.villagers:
            await one.stop()
        await self.shut_registry()
        await self.until(lambda: not self.net.ends)
        self.advance(0)  # what the last ends put off by a turn
        left = [call for machine in self.machines for call in machine.getDelayedCalls()]
        assert left == [], "a timer has outlived its owner"
        assert self.needs_rescue == (self.rescues > 0), "only the safety net found what waited, or it found nothing"
        assert self.dishonest == (self.strikes > 0), "an honest program was struck, or a dishonest one was not"

    # --- time ---

    @property
    def machines(self) -> list[Machine]:
        return [self.registry_machine, *(one.machine for one in self.villagers)]

    def advance(self, seconds: float) -> None:
        for machine in self.machines:
            machine.advance(seconds)

    def freeze(self, one: Villager) -> None:
        self.net.freeze(one.machine.host)

    def thaw(self, host: str) -> None:
        """The stopped machine goes on, and its clock shows at once what it missed."""
        self.net.thaw(host)
        machine = next(machine for machine in self.machines if machine.host == host)
        machine.advance(self.registry_machine.seconds() - machine.seconds())

    async def until(self, condition: Callable[[], Any], within: float = 10.0, step: float = STEP_SECONDS) -> None:
        """Let things happen until ``condition``, within ``within`` seconds of the village's time.

        That time runs far ahead of the threads of the disks.  When it is over while one of them still works,
        it goes on as slowly as the real one, so that what is armed then still comes.
        """
        passed, began = 0.0, self.reactor.seconds()
        while not condition():
            before = self.reactor.seconds()
            assert before - began < PATIENCE_SECONDS, f"it did not happen within {within:g} s"
            await deferLater(self.reactor, TURN_SECONDS)
            if passed < within:
                passed += step
                self.advance(step)
            else:
                self.advance(self.reactor.seconds() - before)

    async def pass_time(self, seconds: float, step: float = 0.5) -> None:
        """Time passes, in steps in which everything on its way arrives."""
        for _ in range(round(seconds / step)):
            self.advance(step)
            await self.settle()

    async def settle(self) -> None:
        """Everything that is on its way arrives."""
        quiet = 0
        while quiet < 2:
            await deferLater(self.reactor, 0)
            self.advance(0)
            quiet = quiet + 1 if self.net.quiet else 0

    async def done(self, work: Deferred[Any]) -> Any:
        """The result of something that needs time to pass."""
        outcome: list[Any] = []
        work.addBoth(outcome.append)
        await self.until(lambda: outcome)
        settled: Deferred[Any] = Deferred()
        settled.callback(outcome[0])
        return await settled


def _replaced(row: ChatMessage, **changes: Any) -> ChatMessage:
    return msgspec.structs.replace(row, **changes)


def _broken() -> Any:
    return Failure(ConnectionLost("the process there was killed"))
