"""C20: pauses, bad networks, kills, full disks, no descriptors and wrong clocks, all at once.

Sets of one registry and several peers, real processes that publish several addresses each, live
behind proxies.  In each round messages, offers and every decision about transfers fall into random
trouble: any process is stopped for up to 40 s or killed, addresses delay, throttle, stall, cut,
half-close or forget, disks fill, descriptors run out, clocks step.  Then everything runs again and the
weather is fine.  Within 60 s every message that its sender had stored is delivered exactly once and in
order, every transfer has ended or waits for a person, both sides agree about each (state and code), and
everybody is in everybody's list; no log has an internal error, and descriptors and processors are back
at rest.  Control: no dial after a link that ended as replaced; a refusal that is said once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.campaigns.c15_disk import fill
from tests.campaigns.driven import WEATHERS
from tests.campaigns.field import ROOT
from tests.campaigns.harness import REQUESTS_FAR, Case, Failed, Figures, check, main, memory_kb, open_files
from tests.campaigns.proxies import Proxy

NAME = "c20_pauses"
SIZES = {"ci": 4, "gate": 200, "nightly": 1_000}
UNIT = "rounds"
TIMED = True

NOT_DELIVERED = "a message is not delivered"
NOT_AGREED = "the two sides do not agree about a transfer"
REPLACED_SHOWN, REFUSAL_SHOWN = "a link that ended as replaced left a message waiting", "a refusal was never told"
SHOWN = (f"{REPLACED_SHOWN}; {REFUSAL_SHOWN}",)

RECOVERY_SECONDS = 60.0
START_SECONDS = 180.0  # for 50 programs that start at once
ANSWER_SECONDS = 20.0
POLL_SECONDS = 1.0
DIAL_SECONDS = 10.0  # that a stop waits for its dial
LOOK_SECONDS = 0.02
REST_SECONDS = 5.0
REST_CPU_SECONDS = 0.5  # of REST_SECONDS, for one process
SPARE_DESCRIPTORS = 8  # beside one link to each of the others
DISK_BYTES = 48 * 1024 * 1024
LARGEST_FILE = 3 * 1024 * 1024
NAMES = ("alice", "bob", "carol", "dave", "erin", "frank")
REGISTRY = "registry"
CROSSED = (("cancelled", "user"), ("declined", "declined"))  # both decided while they were apart: each knows its own
ENDED = ("done", "declined", "cancelled", "failed")
ERRORS = re.compile(r"internal error|Traceback|defect of ours|Unhandled")
LIMITS = (
    "offers_per_minute=1000",
    "offers_pending=1000",
    "free_bytes_reserve=1048576",
    *REQUESTS_FAR,
    "expire_check_seconds=2",  # of messages that wait for 30 days: no clock that is set makes one expire
)
LONG_STEP = 40 * 86_400.0  # of a clock: longer than a message waits before it expires


@dataclass(frozen=True)
class Shape:
    """How large a set is, and how rough a round."""

    sets: int
    peers: int
    addresses: int
    actions: int
    storm_seconds: float  # in which the actions begin
    longest_pause: float
    rest_every: int  # rounds between two looks at descriptors and processors
    killed: int = 0  # so many peers may be killed; 0: each of them, and the registry


CI = Shape(sets=2, peers=3, addresses=3, actions=24, storm_seconds=4, longest_pause=3, rest_every=2)
GATE = Shape(sets=10, peers=4, addresses=3, actions=40, storm_seconds=12, longest_pause=40, rest_every=4)
CI_ROUNDS = 10  # up to so many rounds are a CI run


# --- what happens in a round ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Action:
    """One thing that happens ``at`` so many seconds after the round's beginning."""

    at: float
    kind: str
    who: str
    facts: dict[str, Any] = field(default_factory=dict)


SAYS = ("say", "say", "say", "say")
OFFERS = ("offer", "offer", "offer", "decision while away", "decision while away")
DECISIONS = ("accept", "refuse", "cancel", "pause", "resume", "resume")
TROUBLES = ("stop", "stop", "stop at a dial", "stop at a dial", "kill", "network", "network", "network", "network")
RARE_TROUBLES = ("disk", "weather", "descriptors", "clock")
NETWORKS = ("delay", "throttle", "stall", "cut", "half-close", "forget", "refuse")


class Plan:
    """All actions of a set, by its chances alone: what is decided does not depend on what happened."""

    def __init__(self, chance: random.Random, shape: Shape, names: tuple[str, ...]) -> None:
        self._chance, self._shape, self._names = chance, shape, names
        self._mortal = names[-shape.killed :] if shape.killed else (*names, *names, REGISTRY)
        self._titles: list[tuple[str, str, str]] = []  # title, sender, receiver
        self._number = 0

    def round(self) -> list[Action]:
        self._titles = self._titles[-12:]
        kinds = (*SAYS, *OFFERS, *DECISIONS, *TROUBLES, *RARE_TROUBLES)
        actions = [*self._one("say", 0.0), *self._one("say", 0.0), *self._one("offer", 0.0)]  # before the trouble
        for at in sorted(self._chance.uniform(0, self._shape.storm_seconds) for _ in range(self._shape.actions)):
            actions += self._one(self._chance.choice(kinds), at)
        return sorted(actions, key=lambda action: action.at)

    def _one(self, kind: str, at: float) -> list[Action]:
        chance = self._chance
        who, other = chance.sample(self._names, 2)
        if kind == "say":
            said = []
            for _ in range(chance.choice((1, 1, 2, 5))):
                self._number += 1
                said.append(Action(at, kind, who, {"to": other, "number": self._number}))
            return said
        if kind == "decision while away":
            return self._while_away(at)
        if kind == "offer":
            title = f"t{len(self._titles)}-{self._next()}.bin"
            size = round(math.exp(chance.uniform(0, math.log(LARGEST_FILE))))
            self._titles.append((title, who, other))
            offer = Action(at, kind, who, {"to": other, "title": title, "size": size})
            how = chance.choice(("accept", "accept", "accept", "refuse", ""))
            answer = Action(0, "answer", other, {"title": title, "how": how, "after": round(self._log(0.01, 5), 3)})
            return [offer, answer] if how else [offer]
        if kind in DECISIONS:
            if not self._titles:
                return []
            title, sender, receiver = chance.choice(self._titles)
            whose = receiver if kind in ("accept", "refuse") else chance.choice((sender, receiver))
            return [Action(at, kind, whose, {"title": title})]
        seconds = round(self._log(0.1, self._shape.longest_pause), 2)
        if kind == "stop":
            return [Action(at, kind, chance.choice((*self._names, who, REGISTRY)), {"seconds": seconds})]
        if kind == "stop at a dial":
            facts = {"by": other, "seconds": seconds, "bytes": chance.choice((0, 0, 0, chance.randint(1, 3_000)))}
            self._number += 1
            said = {"to": who, "number": self._number}
            return [Action(at, kind, who, facts), Action(at + LOOK_SECONDS, "say", other, said)]
        if kind == "kill":
            mortal = (
                self._names[-self._shape.killed :] if self._shape.killed else (*self._names, *self._names, REGISTRY)
            )
            victim = chance.choice(mortal)
            return [Action(at, kind, victim, {"seconds": round(self._log(0.1, min(seconds * 2, 10)), 2)})]
        if kind == "network":
            how = chance.choice(NETWORKS)
            facts = {"how": how, "seconds": seconds, "address": chance.randrange(-1, self._shape.addresses)}
            facts |= {"delay": round(self._log(0.01, 2), 3), "rate": round(self._log(5_000, 500_000))}
            return [
                Action(at, kind, chance.choice((*self._names, REGISTRY)), facts | {"inward": chance.random() < 0.5})
            ]
        if kind == "weather":
            return [Action(at, kind, who, {"how": chance.choice(WEATHERS), "seconds": min(seconds, 10)})]
        if kind == "clock":
            step = chance.choice((self._log(1, LONG_STEP), LONG_STEP)) * chance.choice((-1, 1))
            return [Action(at, kind, chance.choice((*self._names, REGISTRY)), {"by": round(step, 1)})]
        return [Action(at, kind, who, {"seconds": min(seconds, 10)})]  # disk, descriptors

    def _while_away(self, at: float) -> list[Action]:
        """An offer, or one from before; one of the two is killed or stopped, and the other decides meanwhile."""
        chance = self._chance
        actions = self._one("offer", at) if not self._titles or chance.random() < 0.7 else []
        title, sender, receiver = self._titles[-1] if actions else chance.choice(self._titles)
        away, other = chance.sample((sender, receiver), 2)
        seconds = round(self._log(0.5, min(self._shape.longest_pause, 10)), 2)
        leaves = at + self._log(0.005, 1.5)
        mortal = not self._shape.killed or away in self._names[-self._shape.killed :]
        actions.append(
            Action(leaves, chance.choice(("kill", "stop") if mortal else ("stop",)), away, {"seconds": seconds})
        )
        decisions = ("cancel", "pause", "resume", *(("refuse", "accept") if other == receiver else ("cancel",)))
        decides = leaves + chance.uniform(0.1, seconds)
        actions.append(Action(decides, chance.choice(decisions), other, {"title": title}))
        if chance.random() < 0.3:
            actions.append(Action(leaves + seconds, chance.choice(("cancel", "pause")), away, {"title": title}))
        return actions

    def _log(self, least: float, most: float) -> float:
        return math.exp(self._chance.uniform(math.log(least), math.log(max(least, most))))

    def _next(self) -> int:
        self._number += 1
        return self._number


# --- the programs ----------------------------------------------------------------------------------------


class Member:
    """One program of a set, its addresses and its proxies; it is started again and again."""

    def __init__(self, name: str, place: Path, host: str, addresses: int, weak: str = "") -> None:
        self.name, self.place, self.weak = name, place, weak
        self.home = place / name  # what it stores; a small disk of its own, where we may mount one
        self.home.mkdir(mode=0o700)
        self.ledger, self.words = place / f"{name}.ledger", place / f"{name}.err"
        self.sky = place / f"{name}.weather"
        self.sky.write_text("")
        self.addresses = [_free_address(f"{host}.{last}") for last in range(1, addresses + 1)]
        self.proxies = [Proxy(address) for address in self.addresses]
        self.process: subprocess.Popen[bytes] | None = None
        self.resting_descriptors = 0
        self.clock_is_off = 0.0
        self.disk = False
        self.stops = 0  # pauses that hold it now
        self.filler: Path | None = None
        self._read = 0
        self._rest = b""
        self.last_state: dict[str, Any] = {}
        self._limit: tuple[int, int] | None = None

    def mount(self) -> None:
        """A tmpfs as its home, when we may."""
        options = f"size={DISK_BYTES},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "chatnet-campaign", str(self.home)]
        self.disk = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0

    def unmount(self) -> None:
        if self.disk:
            subprocess.run(["umount", "-l", str(self.home)], capture_output=True, check=False)
            self.disk = False

    def start(self, join: str = "") -> None:
        program = "registry" if self.name == REGISTRY else "peer"
        command = [sys.executable, "-m", "tests.campaigns.commanded", program, str(self.ledger)]
        command += ["--routes", str(self.place / "routes"), "--weather", str(self.sky)]
        command += ["--weak", self.weak] if self.weak and program == "peer" else []
        command += ["--", "--data", str(self.home / "data"), "--state", str(self.home / "state")]
        for host, port in self.addresses:
            command += ["--listen", f"tcp:{port}:interface={host}"]
        if program == "peer":
            command += ["--name", self.name, "--registry", join, "--headless"]
            command += ["--downloads", str(self.home / "downloads")]
            for limit in LIMITS:
                command += ["--limit", limit]
        with open(self.words, "ab") as words:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=words, stderr=words, bufsize=0
            )
        assert self.process.stdin is not None
        os.set_blocking(self.process.stdin.fileno(), False)
        self._limit, self.clock_is_off = None, 0.0

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tell(self, do: str, **facts: Any) -> None:
        """A command; lost when the program is dead, as a word that nobody hears."""
        assert self.process is not None
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps({"do": do, **facts}).encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def stop(self) -> None:
        self.stops += 1
        self.signal(signal.SIGSTOP)

    def cont(self) -> None:
        self.stops -= 1
        if self.stops <= 0:
            self.stops = 0
            self.signal(signal.SIGCONT)

    def kill(self) -> None:
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            if self.process.stdin is not None:
                with contextlib.suppress(OSError):
                    self.process.stdin.close()

    def set_weather(self, weather: str) -> None:
        with open(self.sky, "r+b", buffering=0) as sky:
            sky.write(weather.encode().ljust(20))

    @property
    def serves(self) -> bool:
        """Whether this process has opened everything; what it lacks before that may end it with a word."""
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() and self.lives else []
        began = [number for number, line in enumerate(lines) if f'"pid": {self.pid}' in line]
        return bool(began) and any('"what": "registry"' in line for line in lines[began[-1] :])

    def take_descriptors(self) -> None:
        if self.serves:
            self._limit = self._limit or resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (open_files(self.pid), self._limit[1]))

    def give_descriptors(self) -> None:
        if self._limit is not None and self.lives:
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, self._limit)
        self._limit = None

    def fill_disk(self) -> None:
        if self.disk and self.filler is None:
            self.filler = fill(self.home)

    def empty_disk(self) -> None:
        if self.filler is not None:
            self.filler.unlink(missing_ok=True)
            self.filler = None

    def lines(self) -> list[dict[str, Any]]:
        """What the ledger has since the last call."""
        if not self.ledger.exists():
            return []
        with open(self.ledger, "rb") as ledger:
            ledger.seek(self._read)
            data = ledger.read()
        self._read += len(data)
        whole, _, self._rest = (self._rest + data).rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines() if line]

    def log(self) -> str:
        state = self.home / "state"
        return "".join(path.read_text(errors="replace") for path in sorted(state.glob("*/log*")) if path.is_file())

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_address(host: str) -> tuple[str, int]:
    with socket.create_server((host, 0)) as server:
        return host, int(server.getsockname()[1])


# --- one set -----------------------------------------------------------------------------------------------


class Problem(Failed):
    """What is not as it should be."""


class Set:
    """One registry, its peers, and what happens to them; it fails with a Problem."""

    def __init__(self, number: int, seed: int | str, shape: Shape, directory: Path, weak: str = "") -> None:
        self.number, self.shape = number, shape
        self.place = directory / f"set{number}"
        self.place.mkdir()
        self.seed = f"{seed}/{number}"
        self.names = NAMES[: shape.peers]
        self.chance = random.Random(self.seed)
        self.plan = Plan(self.chance, shape, self.names)
        self.seen: Counter[str] = Counter()
        self.recoveries: list[float] = []
        self.rounds = 0
        self.said: dict[str, list[tuple[str, int]]] = {name: [] for name in self.names}  # stored, by the ledger
        self.offers: dict[str, tuple[str, str, Path]] = {}
        self.offered: set[str] = set()  # stored, by the ledger
        self._log = open(self.place / "actions.log", "a", buffering=1)  # noqa: SIM115 (until the set is closed)
        self._began = time.monotonic()
        net = f"127.{20 + os.getpid() % 200}"  # campaigns that run beside this one have others
        self.members = {
            name: Member(name, self.place, f"{net}.{number * 8 + at}", shape.addresses, weak)
            for at, name in enumerate(self.names)
        }
        self.registry = Member(REGISTRY, self.place, f"{net}.{number * 8 + 7}", 1)
        self.join = ""
        self._asked = 0

    def everybody(self) -> list[Member]:
        return [self.registry, *self.members.values()]

    def note(self, text: str) -> None:
        self._log.write(f"{time.monotonic() - self._began:8.2f} {text}\n")

    # --- beginning and end ---

    async def open(self) -> None:
        """Start all, and wait until everybody sees everybody."""
        routes: dict[str, int] = {}
        for member in self.everybody():
            for proxy in member.proxies:
                await proxy.open()
                routes[f"{proxy.target[0]}:{proxy.target[1]}"] = proxy.port
        (self.place / "routes").write_text(json.dumps(routes))
        for member in self.members.values():
            member.mount()
        self.registry.start()
        join = self.registry.home / "state" / "registry" / "join"
        await self.until(join.exists, START_SECONDS, "the registry did not start")
        self.join = join.read_text().strip()
        for member in self.members.values():
            member.start(self.join)
        await self.recover("the beginning", START_SECONDS)
        for member in self.everybody():
            member.resting_descriptors = open_files(member.pid)

    async def close(self) -> None:
        """End every process and proxy, whatever happened."""
        for member in self.everybody():
            member.signal(signal.SIGCONT)
            member.kill()
        for member in self.everybody():
            for proxy in member.proxies:
                await proxy.close()

    def clear(self) -> None:
        """Give the disks back, once what is on them was kept or is not needed."""
        self._log.close()
        for member in self.everybody():
            member.unmount()

    async def until(self, holds: Callable[[], object], seconds: float, why: str) -> None:
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise Problem(why)
            await asyncio.sleep(LOOK_SECONDS)

    # --- a round ---

    async def round(self) -> None:
        await self.perform(self.plan.round())
        self.rounds += 1
        await self.recover(f"round {self.rounds}")
        if self.rounds % self.shape.rest_every == 0:
            await self.rest()

    async def perform(self, actions: Iterable[Action]) -> None:
        """Let them happen, each at its time; everything that they began has ended afterwards."""
        began = time.monotonic()
        going: list[asyncio.Task[None]] = []
        for action in actions:
            await asyncio.sleep(max(0.0, began + action.at - time.monotonic()))
            going.append(asyncio.create_task(self._act(action)))
        await asyncio.gather(*going)
        self.fine()

    async def _act(self, action: Action) -> None:
        self.seen[action.kind] += 1
        self.note(f"{action.kind} {action.who} {json.dumps(action.facts)}")
        member = self.registry if action.who == REGISTRY else self.members[action.who]
        facts = action.facts
        if action.kind == "offer":
            path = self.place / facts["title"]
            path.write_bytes(random.Random(facts["title"]).randbytes(facts["size"]))
            self.offers[facts["title"]] = (action.who, facts["to"], path)
            member.tell("offer", to=facts["to"], path=str(path))
        elif action.kind in ("say", "answer", *DECISIONS):
            member.tell(action.kind, **facts)
        elif action.kind == "stop":
            await self._stopped(member, facts["seconds"])
        elif action.kind == "stop at a dial":
            dialled = asyncio.Event()
            for proxy in (*member.proxies, *self.members[facts["by"]].proxies):  # or there would be no dial
                for connection in tuple(proxy.connections):
                    connection.cut()
            for proxy in member.proxies:
                proxy.when_carried(facts["bytes"], lambda: self._stop_now(member, dialled))
            try:
                await asyncio.wait_for(dialled.wait(), DIAL_SECONDS)
            except TimeoutError:
                return
            finally:
                dialled.set()  # a later dial stops nobody, since nobody would let them go on
            self.seen["stopped at a dial"] += 1
            await asyncio.sleep(facts["seconds"])
            member.cont()
        elif action.kind == "kill":
            member.kill()
            await asyncio.sleep(facts["seconds"])
            if not member.lives:  # two kills may cross
                member.start(self.join)
        elif action.kind == "network":
            await self._network(member, facts)
        elif action.kind == "disk":
            member.fill_disk()
            await asyncio.sleep(facts["seconds"])
            member.empty_disk()
        elif action.kind == "weather":
            member.set_weather(facts["how"])
            await asyncio.sleep(facts["seconds"])
            member.set_weather("")
        elif action.kind == "descriptors":
            member.take_descriptors()
            await asyncio.sleep(facts["seconds"])
            member.give_descriptors()
        elif action.kind == "clock":
            member.clock_is_off += facts["by"]
            member.tell("clock", seconds=facts["by"])

    async def _stopped(self, member: Member, seconds: float) -> None:
        member.stop()
        await asyncio.sleep(seconds)
        member.cont()

    def _stop_now(self, member: Member, dialled: asyncio.Event) -> None:
        if not dialled.is_set():
            self.note(f"dialled {member.name}")
            member.stop()
            dialled.set()

    async def _network(self, member: Member, facts: dict[str, Any]) -> None:
        chosen = member.proxies if facts["address"] < 0 else [member.proxies[facts["address"] % len(member.proxies)]]
        how = facts["how"]
        for proxy in chosen:
            if how == "delay":
                proxy.delay = facts["delay"]
            elif how == "throttle":
                proxy.rate = facts["rate"]
            elif how == "stall":
                proxy.stall()
            elif how == "refuse":
                proxy.refusing = True
            for connection in tuple(proxy.connections):
                if how == "cut":
                    connection.cut()
                elif how == "half-close":
                    connection.half_close(facts["inward"])
                elif how == "forget":
                    connection.forget(facts["inward"])
        await asyncio.sleep(facts["seconds"] if how in ("delay", "throttle", "stall", "refuse") else 0)
        for proxy in chosen:
            proxy.fine()

    def fine(self) -> None:
        """Everything runs again, and the weather is good."""
        for member in self.everybody():
            for proxy in member.proxies:
                proxy.fine()
            member.stops = 0
            member.signal(signal.SIGCONT)
            member.empty_disk()
            member.set_weather("")
            member.give_descriptors()
            if member.clock_is_off:
                member.tell("clock", seconds=-member.clock_is_off)
                member.clock_is_off = 0.0
        self.note("fine")

    # --- what must hold ---

    async def recover(self, when: str, seconds: float = RECOVERY_SECONDS) -> None:
        """Wait until all is as it should be, from when every program runs: what a start costs is not counted."""
        await self.states(START_SECONDS)
        began = time.monotonic()
        while True:
            states = await self.states(ANSWER_SECONDS)
            problems = self.problems(states)
            if not problems:
                break
            if time.monotonic() - began > seconds:
                for problem in problems:
                    self.note(f"problem: {problem}")
                why, detail = problems[0]
                raise Problem(
                    why, when=when, detail=detail, others=[f"{why}: {detail}" for why, detail in problems[1:]]
                )
            await asyncio.sleep(POLL_SECONDS)
        took = time.monotonic() - began
        self.note(f"recovered from {when} in {took:.1f} s")
        if when != "the beginning":
            self.recoveries.append(round(took, 1))
        self._take_what_came(states)

    async def states(self, seconds: float) -> dict[str, dict[str, Any]]:
        """What every peer shows now."""
        end = time.monotonic() + seconds
        self._asked += 1
        for member in self.members.values():
            if not member.lives:
                raise Problem("a program has ended", who=member.name, words=member.words.read_text()[-1500:])
            member.tell("state", id=self._asked)
        if not self.registry.lives:
            raise Problem("a program has ended", who=REGISTRY, words=self.registry.words.read_text()[-1500:])
        found: dict[str, dict[str, Any]] = {}
        while len(found) < len(self.members):
            if time.monotonic() > end:
                raise Problem("a program does not answer", who=sorted(set(self.names) - set(found)))
            await asyncio.sleep(LOOK_SECONDS)
            for name, member in self.members.items():
                for line in member.lines():
                    if line["what"] == "state" and line["id"] == self._asked:
                        found[name] = line
                    elif line["what"] == "done" and line["do"] == "say":
                        self.said[name].append((line["to"], line["number"]))
                        self.seen["stored"] += 1
                    elif line["what"] == "done" and line["do"] == "offer":
                        self.offered.add(Path(line["path"]).name)
                        self.seen["offered"] += 1
                    elif line["what"] in ("failed", "done") and line["do"] not in ("say", "state"):
                        self.seen[f"{line['do']} {line['what']}"] += 1
                    elif line["what"] == "failed" and line["do"] == "state":
                        raise Problem("a program cannot say how it stands", who=name, words=line["why"])
        return found

    def problems(self, states: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
        """What is not as it should be: a reason of a few kinds, and the details."""
        found: list[tuple[str, str]] = []
        for name, state in states.items():
            if state["registry"] != "up":
                found.append(("a peer is not signed in", f"{name}: {state['registry']}"))
            missing = sorted(set(self.names) - {name} - set(state["online"]))
            if missing:
                found.append(("somebody is not in a list", f"{name} misses {', '.join(missing)}"))
        for sender in self.names:
            for receiver in self.names:
                if sender != receiver:
                    found += self._messages(sender, receiver, states)
        for title in self.offers:
            found += self._transfer(title, states)
        for member in self.everybody():
            errors = set(ERRORS.findall(member.log() + member.words.read_text(errors="replace")))
            if errors:
                found.insert(0, ("an internal error is in a log", f"{member.name}: {_first_error(member)}"))
        return found

    def _messages(self, sender: str, receiver: str, states: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
        here = [(body, state) for mine, body, state in states[sender]["rows"].get(receiver, []) if mine]
        there = [body for mine, body, state in states[receiver]["rows"].get(sender, []) if not mine]
        bodies = [body for body, _ in here]
        way = f"{sender} to {receiver}"
        lost = [number for to, number in self.said[sender] if to == receiver and f"number {number}" not in bodies]
        if lost:
            return [("what was said is not in the history", f"{way}: {lost}")]
        if len(set(there)) != len(there):
            return [("a message came twice", f"{way}: {[one for one, n in Counter(there).items() if n > 1]}")]
        late = [f"{body} {state}" for body, state in here if state != "delivered"]
        if late:
            linked = receiver in states[sender]["linked"]
            return [(NOT_DELIVERED, f"{way} ({'linked' if linked else 'no link'}): {late[:5]} of {len(late)}")]
        if bodies != there:
            return [("the order was not kept", f"{way}: {bodies[-20:]} there {there[-20:]}")]
        return []

    def _transfer(self, title: str, states: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
        sender, receiver, path = self.offers[title]
        here = _titled(states[sender], title)
        there = _titled(states[receiver], title)
        if here is None and there is None and title not in self.offered:
            return []  # it was never stored: the offer failed, or was lost with a kill
        shown = f"{title} {sender} to {receiver}: {_shown(here)} here, {_shown(there)} there"
        if here is None and there is not None and there["state"] in ENDED and title not in self.offered:
            return []  # it could not be stored, and was taken back
        if here is None:
            return [("an offer is not at its sender", shown)]
        if there is None:
            if here["state"] in ("cancelled", "declined", "failed"):
                return []  # ended before it was kept there
            return [("an offer did not arrive", shown)]
        if any(one["state"] == "paused" and one["code"] != "paused" for one in (here, there)):
            return [("a transfer waits, and for no person", shown)]
        if any(one["state"] not in (*ENDED, "offered", "paused") for one in (here, there)):
            return [("a transfer neither ended nor waits for a person", shown)]
        ends = (here["state"], here["code"]), (there["state"], there["code"])
        if ends[0] != ends[1] and ends != CROSSED:
            return [(NOT_AGREED, shown)]
        if there["state"] == "done" and path.exists():
            final = Path(there["saved_to"])
            final = final / title if final.is_dir() else final
            if final.read_bytes() != path.read_bytes():
                return [("a file is not what was sent", shown)]
        return []

    def _take_what_came(self, states: dict[str, dict[str, Any]]) -> None:
        """Count how the transfers ended, and make room: what is finished needs its files no more."""
        for title, (_, receiver, path) in list(self.offers.items()):
            there = _titled(states[receiver], title)
            if there is None or there["state"] in ENDED:
                self.seen[f"transfers {'never heard of' if there is None else there['state']}"] += path.exists()
                if there is not None and there["state"] == "done" and path.exists():
                    final = Path(there["saved_to"])
                    (final / title if final.is_dir() else final).unlink(missing_ok=True)
                path.unlink(missing_ok=True)

    async def rest(self) -> None:
        """Nobody holds descriptors or a processor without need."""
        for member in self.everybody():
            allowed = member.resting_descriptors + len(self.names) + SPARE_DESCRIPTORS
            held = open_files(member.pid)
            if held > allowed:
                figures = {"held": held, "allowed": allowed, "which": held_by(member.pid)}
                raise Problem("descriptors are not back at rest", who=member.name, **figures)
        before = {member.name: member.cpu_seconds() for member in self.everybody()}
        await asyncio.sleep(REST_SECONDS)
        for member in self.everybody():
            used = member.cpu_seconds() - before[member.name]
            self.seen["most cpu ms at rest"] = max(self.seen["most cpu ms at rest"], round(used * 1000))
            if used > REST_CPU_SECONDS:
                raise Problem("a processor is not back at rest", who=member.name, seconds=used)


def held_by(pid: int) -> list[str]:
    """What the descriptors of a process are."""
    found = []
    for one in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(one))
    return sorted(found)


def _titled(state: dict[str, Any], title: str) -> dict[str, Any] | None:
    found = [one for one in state["transfers"] if one["title"] == title]
    return found[-1] if found else None


def _shown(one: dict[str, Any] | None) -> str:
    return "unknown" if one is None else f"{one['state']} {one['code']}".strip()


def _first_error(member: Member) -> str:
    lines = (member.log() + member.words.read_text(errors="replace")).splitlines()
    at = next((number for number, line in enumerate(lines) if ERRORS.search(line)), 0)
    block = [lines[at]] if lines else []
    for line in lines[at + 1 : at + 60]:
        if not line.startswith("  "):
            break
        block.append(line.strip())
    return " | ".join([block[0], *block[-3:]])[:600] if block else ""


# --- all sets --------------------------------------------------------------------------------------------


class Sampler:
    """Memory and descriptors of every process, now and then."""

    def __init__(self, sets: list[Set], every_seconds: float) -> None:
        self._sets, self._every = sets, every_seconds
        self._began = time.monotonic()
        self._of: dict[str, list[tuple[float, int, int, int]]] = {}  # hours, kB, descriptors, pid

    async def run(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            hours = (time.monotonic() - self._began) / 3600
            for one in self._sets:
                for member in one.everybody():
                    with contextlib.suppress(OSError, AssertionError):
                        sample = (hours, pss_kb(member.pid), open_files(member.pid), member.pid)
                        self._of.setdefault(f"{one.number}/{member.name}", []).append(sample)

    def figures(self, least_seconds: float) -> Figures:
        """Slopes an hour of processes that lived for ``least_seconds``, their median and the worst."""
        memory, descriptors = [], []
        for samples in self._of.values():
            for pid in {sample[3] for sample in samples}:
                life = [sample for sample in samples if sample[3] == pid]
                life = life[len(life) // 5 :]  # what grows while it warms up is no slope
                if len(life) >= 3 and (life[-1][0] - life[0][0]) * 3600 >= least_seconds:
                    memory.append(slope([(hours, kb) for hours, kb, _, _ in life]))
                    descriptors.append(slope([(hours, count) for hours, _, count, _ in life]))
        if not memory:
            return {"lives_measured": 0}
        return {
            "lives_measured": len(memory),
            "kb_an_hour": {"median": round(statistics.median(memory)), "most": round(max(memory))},
            "descriptors_an_hour": {
                "median": round(statistics.median(descriptors), 2),
                "most": round(max(descriptors), 2),
            },
        }


def pss_kb(pid: int) -> int:
    """Memory that is this process's own, shared pages divided among those who share them."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return memory_kb(pid)


def slope(points: list[tuple[float, float]]) -> float:
    """Of the line of least squares."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    spread = statistics.pvariance(xs)
    if not spread:
        return 0.0
    mx, my = statistics.fmean(xs), statistics.fmean(ys)
    return statistics.fmean([(x - mx) * (y - my) for x, y in points]) / spread


def endure(
    case: Case, shape: Shape, rounds: Callable[[int], bool], sample_seconds: float = 0, slope_seconds: float = 0
) -> Figures:
    """Sets side by side; ``rounds`` tells, by those done in its set, whether another one is due.  Fails with all of it.

    What a set that failed leaves is kept in a directory that the figures name.
    """

    async def one(number: int, sets: list[Set]) -> Problem | None:
        this = Set(number, case.seed, shape, case.directory)
        sets.append(this)
        failure: Problem | None = None
        try:
            await this.open()
            while rounds(this.rounds):
                await this.round()
        except Problem as problem:
            failure = problem
            this.note(f"failed: {problem} {problem.figures}")
        finally:
            await this.close()
            if failure is not None:
                failure.figures["kept"] = str(keep(this, failure))
            this.clear()
        return failure

    async def every() -> tuple[list[Set], list[Problem | None], Figures]:
        sets: list[Set] = []
        sampler = Sampler(sets, sample_seconds)
        sampling = asyncio.create_task(sampler.run()) if sample_seconds else None
        try:
            failures = await asyncio.gather(*(one(number, sets) for number in range(shape.sets)))
        finally:
            if sampling is not None:
                sampling.cancel()
        return sets, list(failures), sampler.figures(slope_seconds) if sample_seconds else {}

    sets, failures, figures = asyncio.run(every())
    seen: Counter[str] = Counter()
    for this in sets:
        seen.update(this.seen)
    recoveries = [took for this in sets for took in this.recoveries]
    seen["most cpu ms at rest"] = max(this.seen["most cpu ms at rest"] for this in sets)
    figures |= {"sets": len(sets), "rounds_done": sum(this.rounds for this in sets)}
    if recoveries:
        figures["recovered_s"] = {"median": statistics.median(recoveries), "most": max(recoveries)}
    figures |= _grouped(seen)
    bad = [failure for failure in failures if failure is not None]
    if bad:
        whys = Counter(str(failure) for failure in bad)
        raise Failed(
            whys.most_common(1)[0][0],
            failed_sets=len(bad),
            whys=dict(whys),
            details=[failure.figures for failure in bad],
            **figures,
        )
    check(seen["stored"] > 0 and seen["transfers done"] > 0, "hardly anything was done: nothing is proven", **figures)
    return figures


def _grouped(seen: Counter[str]) -> Figures:
    transfers = {
        kind.removeprefix("transfers "): count for kind, count in seen.items() if kind.startswith("transfers ")
    }
    troubles = {kind: seen[kind] for kind in dict.fromkeys((*TROUBLES, *RARE_TROUBLES))}
    return {
        "said": seen["stored"],
        "transfers": transfers,
        "troubles": troubles,
        "stopped_at_a_dial": seen["stopped at a dial"],
        "cpu_at_rest_ms": seen["most cpu ms at rest"],
    }


def keep(this: Set, failure: Problem) -> Path:
    """Seed, actions, ledgers and logs of a set, where they stay."""
    kept = Path(tempfile.mkdtemp(prefix=f"chatnet-{NAME}-{this.seed.replace('/', '-')}-"))
    (kept / "verdict.json").write_text(
        json.dumps(
            {"seed": this.seed, "why": str(failure), "shape": asdict(this.shape), **failure.figures}, default=str
        )
    )
    for path in this.place.iterdir():
        if path.is_file() and path.suffix in (".log", ".ledger", ".err"):
            shutil.copy(path, kept / path.name)
    for member in this.everybody():
        for path in (member.home / "state").glob("*/log*"):
            shutil.copy(path, kept / f"{member.name}.{path.name}")
        for path in (member.home / "data").glob("*/*.db*"):
            shutil.copy(path, kept / f"{member.name}.{path.name}")
    return kept


def run(case: Case) -> Figures:
    shape = CI if case.n <= CI_ROUNDS else replace(GATE, sets=max(2, min(GATE.sets, case.n // 5)))
    each = -(-case.n // shape.sets)
    return endure(case, shape, lambda done: done < each)


# --- controls ----------------------------------------------------------------------------------------------

TRIES = 3
CONTROL_SECONDS = 15.0


def control(case: Case) -> Figures:
    """Both weakened builds, each by the smallest input that shows it, several tries side by side."""
    shape = Shape(TRIES, 2, 4, 0, 0, 0, 1)

    async def replaced(this: Set) -> None:
        """The listener is stopped while all of its addresses are dialled; it answers before that is heard."""
        slow = Action(0.0, "network", "bob", {"how": "delay", "delay": 0.2, "seconds": 5, "address": -1})
        stop = Action(0.0, "stop at a dial", "bob", {"by": "alice", "seconds": 1.5, "bytes": 0})
        await this.perform([slow, stop, Action(0.1, "say", "alice", {"to": "bob", "number": 1})])
        await this.recover("a stop at the first dial", CONTROL_SECONDS)

    async def refused(this: Set) -> None:
        """The sender is away while the receiver refuses."""
        title = "t.bin"
        await this.perform([Action(0.0, "offer", "alice", {"to": "bob", "title": title, "size": 1000})])
        end = time.monotonic() + CONTROL_SECONDS
        while _titled((await this.states(ANSWER_SECONDS))["bob"], title) is None:
            check(time.monotonic() < end, "the offer did not arrive")
        this.members["alice"].kill()
        await asyncio.sleep(0.5)
        this.members["bob"].tell("refuse", title=title)
        await asyncio.sleep(1.5)
        this.members["alice"].start(this.join)
        await this.recover("a refusal while the sender was away", CONTROL_SECONDS)

    async def one(number: int, weak: str, work: Callable[[Set], Any]) -> str:
        """What the weakened build did wrong."""
        this = Set(number, case.seed, shape, case.directory, weak)
        try:
            await this.open()
            await work(this)
        except Problem as problem:
            this.note(f"failed: {problem} {problem.figures}")
            return str(problem)
        finally:
            await this.close()
            this.clear()
        return "nothing"

    async def every() -> list[str]:
        first = [one(number, "replaced-is-final", replaced) for number in range(TRIES)]
        return await asyncio.gather(*first, one(TRIES, "refusal-said-once", refused))

    *of_replaced, of_refusal = asyncio.run(every())
    figures = {"after_replaced": of_replaced, "after_a_refusal": of_refusal}
    if NOT_DELIVERED in of_replaced and of_refusal == NOT_AGREED:
        raise Failed(SHOWN[0], **figures)
    return figures


if __name__ == "__main__":
    main(sys.modules[__name__])
