"""C39: a registry and a peer, attacked by 300 keys at once, at full speed, in every state of a connection.

From one source and from many, and with each message that a stranger may send: before HELLO, after
WELCOME, beside an unanswered offer, on links of files and probes, and at the registry.  All the while
memory and disk grow by at most 64 MiB, somebody known gets in within 2 s and delivers within 2 s, and
no turn of the reactor lasts longer than 50 ms; the times count at the size of the gate.  Afterwards
somebody known gets in, and a start takes no longer than before, and no more memory.  Control: the
budgets lifted, as in version 0.1.0, which had none: memory and disk grow.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.threads import deferToThread

from chatnet.core.budgets import PeerBudgets, Shares
from chatnet.core.errors import ChatnetError
from chatnet.core.identity import PeerID, conversation_of
from chatnet.core.messages import ROLE_CHAT, Ack, Message, Say
from chatnet.core.roles import EVERY_LINK, ROLES
from chatnet.net.identity import Identity
from tests.campaigns.attackers import AT_REGISTRY, ATTACKS, Attack
from tests.campaigns.field import ROOT, Subject, in_reactor, pause, until
from tests.campaigns.harness import Case, Failed, Figures, check, main
from tests.support.guests import Guest
from tests.support.links import Recorder, Station, hello, new_identity

NAME = "c39_budgets"
SIZES = {"ci": 1, "gate": 14, "nightly": 60}
UNIT = "seconds of each attack from one source, and from many"
SHOWN = ("a budget does not hold",)
TIMED = True

KEYS = 300
PROCESSES = 2
NAMES = 1_000_000  # that one of them may claim
GUESTS = 5  # by turns: one key is not let in again at once while its last connection may be there
GROWTH_MIB = 64
ENOUGH = 1.5  # times that much: shown, and the machine is not to be filled
IN_SECONDS = 2.0
DELIVERED_SECONDS = 2.0
PATIENCE_SECONDS = 4.0  # then it is not going to happen
GAP_SECONDS = 1.6  # between two visits of the known person: its address has a limit too
TURN_MS = 50.0
SETTLED_SECONDS = 20.0
STARTS = 3  # the quickest one counts; at a small size one is enough
SMALL = 2  # seconds: then each attack comes from one source or from many, by turns
SLOWER, SLOWER_BY_SECONDS = 1.2, 0.2
CONTROL_SECONDS = 40  # at most: until it is shown
IN_CONTROL = ("unfinished offers", "messages")
LIFTED = [
    *(f"{item.name}.{level}={2**50}" for item in dataclasses.fields(PeerBudgets) for level in Shares._fields),
    *(
        f"{name}=1000000000"
        for name in ("stranger_offer_files", "offers_pending", "offers_per_minute", "frames_per_second", "frames_burst")
    ),
]


def may_be_said() -> set[type[Message]]:
    """Every kind that a dialler may send without anything that only a person could give it."""
    kinds = {*EVERY_LINK}
    for name in (ROLE_CHAT, "registry", "probe"):
        kinds |= {*ROLES[name].from_dialler.kinds}
    return kinds


class Attackers:
    """The processes of the strangers."""

    def __init__(self, seed: int) -> None:
        command = [sys.executable, "-m", "tests.campaigns.attackers", str(KEYS // PROCESSES)]
        self._running = [
            subprocess.Popen(
                [*command, str(seed + number), str(number * NAMES)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for number in range(PROCESSES)
        ]
        for process in self._running:
            assert process.stdout is not None
            check(process.stdout.readline() == b"ready\n", "the attackers did not start")

    def begin(self, attack: Attack, port: int, victim: PeerID, source: str) -> None:
        """From ``source``, or from many if it is empty."""
        self._tell({"attack": attack.name, "port": port, "victim": victim.hex(), "source": source})

    async def stop(self) -> dict[str, int]:
        """What they did, all together."""
        self._tell({"stop": True})
        sums: dict[str, int] = {}
        for process in self._running:
            assert process.stdout is not None
            for what, count in json.loads(await deferToThread(process.stdout.readline)).items():
                sums[what] = sums.get(what, 0) + count
        return sums

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.communicate()

    def _tell(self, command: Any) -> None:
        for process in self._running:
            assert process.stdin is not None
            process.stdin.write(json.dumps(command).encode() + b"\n")
            process.stdin.flush()


class Known:
    """Somebody whom the victim has answered: comes again, says something, and goes."""

    def __init__(self, reactor: Any, identity: Identity, registry: Subject, peer: Subject) -> None:
        self._reactor, self._registry, self._peer = reactor, registry, peer
        self.identity = identity
        self._acks = 0
        self._station = Station(reactor, Recorder(on_message=self._heard), identity=self.identity)
        self._guests = deque([Guest(reactor, "known", identity), *(Guest(reactor, f"g{n}") for n in range(1, GUESTS))])

    async def befriend(self) -> PeerID:
        """Become known; the victim's key."""
        for guest in self._guests:
            await guest.join(self._registry.port)
        first = self._guests[0]
        await until(self._reactor, lambda: "victim" in first.names, 20, "the victim is not listed")
        victim = next(PeerID(entry.peer) for entry in first.list.values() if entry.name == "victim")
        answered = lambda: any(isinstance(one, Say) for one in self._station.user.messages)  # noqa: E731
        link = await self._station.dial(self._peer.port, victim, hello(ROLE_CHAT, name="known"))
        self._say(link)
        await until(self._reactor, answered, 20, "the known person was not answered")
        for one in (link, *(guest.link for guest in self._guests)):
            await self._leave(one)
        return victim

    async def visit(self, victim: PeerID) -> tuple[float, float]:
        """Seconds until it was let in by the peer, and from there until its message was stored; inf: not in time."""
        began = time.monotonic()
        link: Any = None
        while link is None:
            try:
                dialling = Deferred.fromCoroutine(
                    self._station.dial(self._peer.port, victim, hello(ROLE_CHAT, name="known"))
                )
                link = await dialling.addTimeout(PATIENCE_SECONDS, self._reactor)
            except (ChatnetError, TimeoutError):
                if time.monotonic() - began > PATIENCE_SECONDS:
                    return float("inf"), float("inf")
                await pause(self._reactor, 0.1)
        came = time.monotonic()
        acks = self._acks
        self._say(link)
        try:
            await until(self._reactor, lambda: self._acks > acks, PATIENCE_SECONDS, "not stored")
        except Failed:
            return came - began, float("inf")
        finally:
            await self._leave(link)
        return came - began, time.monotonic() - came

    async def sign_in(self) -> tuple[float, float]:
        """The same for the registry: seconds until WELCOME, and from there until the whole list was read."""
        self._guests.rotate()
        guest = self._guests[0]
        guest.pages.clear()
        began = time.monotonic()
        while True:
            try:
                await Deferred.fromCoroutine(guest.join(self._registry.port)).addTimeout(
                    PATIENCE_SECONDS, self._reactor
                )
                break
            except (ChatnetError, TimeoutError):
                if time.monotonic() - began > PATIENCE_SECONDS:
                    return float("inf"), float("inf")
                await pause(self._reactor, 0.1)
        came = time.monotonic()
        try:
            listed = lambda: guest.pages and not guest.pages[-1].more  # noqa: E731
            await until(self._reactor, listed, PATIENCE_SECONDS, "not listed")
        except Failed:
            return came - began, float("inf")
        finally:
            await self._leave(guest.link)
        return came - began, time.monotonic() - came

    async def close(self) -> None:
        for guest in self._guests:
            await guest.close()
        await self._station.close()

    def _say(self, link: Any) -> None:
        link.send(Say(conversation_of(self.identity.peer_id, link.peer), os.urandom(16), 1, "known"))

    async def _leave(self, link: Any) -> None:
        link.abort()
        await link.when_gone()

    def _heard(self, link: Any, message: Message) -> None:
        if isinstance(message, Ack):
            self._acks += 1
        elif isinstance(message, Say):
            link.send(Ack([message.id]))


def disk_bytes(place: Path) -> int:
    """What a program's files take."""
    found = 0
    for directory, _, files in os.walk(place):
        for name in files:
            with contextlib.suppress(OSError):  # gone meanwhile
                found += os.stat(os.path.join(directory, name)).st_blocks * 512
    return found


class Field:
    """The victims, and what has become of them."""

    def __init__(
        self, reactor: Any, case: Case, known: Known, attackers: Attackers, *victims: Subject, small: bool
    ) -> None:
        self.reactor, self.case, self.known, self.attackers = reactor, case, known, attackers
        self.registry, self.peer = victims
        self._is_timed = not small  # else others may be at work on the machine, and no clock decides
        self.attacks: dict[str, Figures] = {}
        self.broken: dict[str, list[str]] = {}

    async def attack(self, attack: Attack, source: str, victim: PeerID, seconds: float) -> None:
        """Let it go for so long, or until it has shown what it can."""
        subject = self.registry if attack.name in AT_REGISTRY else self.peer
        what = f"{attack.name}, {'one source' if source else 'many sources'}"
        before_kb, before_disk = subject.memory_kb(), disk_bytes(subject.place)
        os.kill(subject.pid, signal.SIGUSR1)
        memory, disk, came, delivered = 0, 0, 0.0, 0.0
        self.attackers.begin(attack, subject.port, victim, source)
        until_then = time.monotonic() + seconds
        visited = 0.0
        await pause(self.reactor, min(0.3, seconds / 3))
        while time.monotonic() < until_then and subject.lives:
            if time.monotonic() - visited > GAP_SECONDS:
                visited = time.monotonic()
                visit = self.known.sign_in if subject is self.registry else lambda: self.known.visit(victim)
                one, other = await visit()
                came, delivered = max(came, one), max(delivered, other)
            memory = max(memory, subject.memory_kb() - before_kb)
            disk = max(disk, disk_bytes(subject.place) - before_disk)
            if max(memory * 1024, disk) > ENOUGH * GROWTH_MIB * 2**20:
                break
            await pause(self.reactor, 0.1)
        said = await self.attackers.stop()
        lived = subject.lives
        settled = await self._settled(subject, victim) if lived else 0.0
        ended = time.time()
        told = lambda: subject.told_at() > ended or not subject.lives  # noqa: E731
        await until(self.reactor, told, SETTLED_SECONDS, "the victim tells nothing", attack=what)
        turn_ms = subject.figures()["stall_own_ms"]
        figures = {
            "memory_mib": round(memory / 1024),
            "disk_mib": round(disk / 2**20),
            "in_s": round(came, 2),
            "delivered_s": round(delivered, 2),
            "turn_ms": turn_ms,
            "settled_s": round(settled, 1),
        }
        self.attacks[what] = figures | {what.replace(" ", "_"): count for what, count in said.items()}
        check(said.get("connections", 0) > 0, "an attack that is none", attack=what, said=said)
        wrong = [
            *(["memory"] if memory > GROWTH_MIB * 1024 else []),
            *(["disk"] if disk > GROWTH_MIB * 2**20 else []),
            *(["not let in"] if self._is_timed and came > IN_SECONDS else []),
            *(["not delivered"] if self._is_timed and delivered > DELIVERED_SECONDS else []),
            *(["turn"] if self._is_timed and turn_ms > TURN_MS else []),
            *([] if lived else ["it has ended"]),
        ]
        if wrong:
            self.broken[what] = wrong

    async def _settled(self, subject: Subject, victim: PeerID) -> float:
        """Seconds until it serves as if nothing had been, so that the next attack is the only one."""
        began = time.monotonic()
        while time.monotonic() - began < SETTLED_SECONDS:
            visit = self.known.sign_in if subject is self.registry else lambda: self.known.visit(victim)
            if max(await visit()) < IN_SECONDS:
                break
            await pause(self.reactor, GAP_SECONDS)
        return time.monotonic() - began


def started(subject: Subject, times: int) -> tuple[float, int]:
    """What a start takes: seconds of a processor, at the quickest of so many, and KiB of memory."""
    found = []
    for _ in range(times):
        subject.stop()
        subject.start()
        user, system = Path(f"/proc/{subject.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        found.append(((int(user) + int(system)) / os.sysconf("SC_CLK_TCK"), subject.memory_kb()))
    return min(found)


@contextlib.contextmanager
def victims(case: Case, key: bytes, peer_limits: Sequence[str]) -> Iterator[tuple[Subject, Subject]]:
    counted = ["loopback=counted"]
    registry = Subject("registry", case.directory / "r", limits=counted).start()
    peer = Subject(
        "peer",
        case.directory / "p",
        name="victim",
        registry=registry.join,
        flags=["--answer", key.hex()],
        limits=[*counted, *peer_limits],
    )
    try:
        peer.start()
        yield registry, peer
    finally:
        peer.stop()
        registry.stop()


def order(names: Sequence[str], seed: int, small: bool) -> Iterator[tuple[Attack, str]]:
    """Each attack, and the address from which it comes, "" for many; every one from another network."""
    for turn in (0, 1):
        for number, name in enumerate(names):
            if not small or (number + seed) % 2 == turn:
                yield ATTACKS[name], "" if turn else f"127.1.{number}.1"


def attacked(case: Case, names: Sequence[str], seconds: float, peer_limits: Sequence[str], small: bool) -> Figures:
    """Every attack by its name."""
    attackers = Attackers(case.seed)
    starts = 1 if small else STARTS
    identity = new_identity()
    try:
        with victims(case, identity.peer_id, peer_limits) as (registry, peer):
            before = {one.name: started(one, starts) for one in (registry, peer)}

            async def work(reactor: Any) -> Figures:
                known = Known(reactor, identity, registry, peer)
                field = Field(reactor, case, known, attackers, registry, peer, small=small)
                try:
                    victim = await known.befriend()
                    start_kb = {one.name: one.memory_kb() for one in (registry, peer)}
                    await pause(reactor, 1.5)  # the watch of the turns begins a second after the start
                    for attack, source in order(names, case.seed, small):
                        await field.attack(attack, source, victim, seconds)
                    grown = {one.name: (one.memory_kb() - start_kb[one.name]) // 1024 for one in (registry, peer)}
                    for who, mib in grown.items():
                        if mib > GROWTH_MIB:
                            field.broken[f"all together, {who}"] = ["memory"]
                    errors = {one.name: one.figures()["first_error"][:500] for one in (registry, peer)}
                    for who, error in errors.items():
                        if error:
                            field.broken[f"{who} logged an error"] = [error]
                    return {"attacks": field.attacks, "broken": field.broken, "grown_mib": grown}
                finally:
                    await known.close()

            figures = in_reactor(work)
            after = {one.name: started(one, starts) for one in (registry, peer)}
            for who, (took, kb) in after.items():
                took_before, kb_before = before[who]
                if not small and took > took_before * SLOWER + SLOWER_BY_SECONDS:
                    figures["broken"][f"start of the {who}"] = [f"{took_before:.2f} s, then {took:.2f} s"]
                if kb - kb_before > GROWTH_MIB * 1024:
                    figures["broken"][f"memory of the {who} at its start"] = [f"{kb_before} KiB, then {kb} KiB"]
            figures["starts"] = {who: [before[who], after[who]] for who in after}
            check(not figures["broken"], "a budget does not hold", **figures)
            return figures
    finally:
        attackers.end()


def run(case: Case) -> Figures:
    said = {kind for attack in ATTACKS.values() for kind in attack.messages()}
    check(may_be_said() <= said, "a message that nobody says", kinds=sorted(map(str, may_be_said() - said)))
    return attacked(case, list(ATTACKS), case.n, [], small=case.n <= SMALL)


def control(case: Case) -> Figures:
    """Both memory and disk must be seen to grow."""
    try:
        return attacked(case, IN_CONTROL, CONTROL_SECONDS, LIFTED, small=True)
    except Failed as failed:
        wrong = {what for found in failed.figures.get("broken", {}).values() for what in found}
        if not {"memory", "disk"} <= wrong:
            return {"held all the same": sorted({"memory", "disk"} - wrong), "why": str(failed)} | failed.figures
        raise


if __name__ == "__main__":
    main(sys.modules[__name__])
