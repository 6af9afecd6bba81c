"""C3: somebody in the middle of a line.

On real sockets a proxy between two stations swaps the keys, cuts after n bytes, turns a bit, leaves
out, doubles or exchanges pieces, or replays an earlier session: the wrong key is never taken, and
what arrives is the beginning of what was sent.  Then two whole peers whose line is cut after n
bytes or tampered with, again and again: after healing every message is there once, in its order.
Control: a build that takes whatever key answers.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from chatnet.core.errors import ChatnetError, WrongKey
from chatnet.core.events import MessageState
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import Say
from chatnet.net import link as links
from tests.campaigns.field import Complaints, in_reactor, until
from tests.campaigns.harness import Case, Figures, check, main
from tests.support.links import Recorder, Station, hello
from tests.support.memorynet import _End
from tests.support.village import Village

NAME = "c03_middle"
SIZES = {"ci": 60, "gate": 2_000, "nightly": 50_000}
UNIT = "sessions"
SHOWN = ("the wrong key was taken",)

MESSAGES = 5
LIMITS = PeerLimits(handshake_seconds=1, hello_seconds=1, frame_seconds=1, ping_seconds=1, silence_seconds=2)
KINDS = ("nothing", "swap", "cut", "turn a bit", "leave out", "double", "exchange", "replay", "delay")
SESSION_BYTES = 6_000  # about what a session has, one way


class Ear(Protocol):
    """One side of the proxy."""

    def __init__(self, middle: Middle, way: int) -> None:
        self.middle, self.way = middle, way
        self.other: Ear | None = None
        self.waiting: list[bytes] = []
        self.late = 0.0  # until when what came before is held back

    def connectionMade(self) -> None:
        self.middle.ends.append(self)
        if self.other is None:  # somebody has dialled
            self.other = Ear(self.middle, 1)
            self.other.other = self
            endpoint = TCP4ClientEndpoint(self.middle.reactor, "127.0.0.1", self.middle.target)
            endpoint.connect(_Given(self.other)).addErrback(lambda _: self.transport.abortConnection())  # type: ignore[union-attr]
        else:
            for piece in self.other.waiting:
                self.transport.write(piece)  # type: ignore[union-attr]
            self.other.waiting.clear()

    def dataReceived(self, data: bytes) -> None:
        for piece in self.middle.tamper(self, data):
            self.hand_on(piece)

    def hand_on(self, piece: bytes) -> None:
        other = self.other
        if other is not None and other.transport is not None:
            other.transport.write(piece)  # type: ignore[attr-defined]
        else:
            self.waiting.append(piece)

    def connectionLost(self, reason: Failure | None = None) -> None:  # type: ignore[override]
        if self.other is not None and self.other.transport is not None:
            self.other.transport.abortConnection()  # type: ignore[attr-defined]


class _Given(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self._protocol


class Middle(Factory):
    """The proxy; ``kind`` says what it does, ``at`` behind how many bytes, ``way`` in which direction."""

    noisy = False

    def __init__(self, reactor: Any, chance: random.Random) -> None:
        self.reactor, self.chance = reactor, chance
        self.kind, self.at, self.way = "nothing", 0, 0
        self.target = 0
        self.ends: list[Ear] = []
        self.seen = [0, 0]
        self.recorded: list[bytes] = []  # what the dialler of an earlier session said
        self.recording = False
        self.done = False
        self.port: Any = reactor.listenTCP(0, self, interface="127.0.0.1")

    def buildProtocol(self, addr: object) -> Ear:
        return Ear(self, 0)

    def begin(self, kind: str, at: int, way: int, target: int) -> None:
        self.kind, self.at, self.way, self.target = kind, at, way, target
        self.seen, self.done = [0, 0], False

    def tamper(self, ear: Ear, data: bytes) -> list[bytes]:
        """What goes on of ``data``."""
        before = self.seen[ear.way]
        self.seen[ear.way] += len(data)
        if self.recording and ear.way == 0:
            self.recorded.append(data)
        if self.kind == "delay":
            now = self.reactor.seconds()
            ear.late = max(ear.late, now) + self.chance.random() * 0.01  # in order all the same
            self.reactor.callLater(ear.late - now, ear.hand_on, data)
            return []
        if ear.way != self.way or self.done or self.seen[ear.way] <= self.at or self.kind in ("nothing", "swap"):
            return [data]
        self.done = True
        inside = max(0, self.at - before)
        head, rest = data[:inside], data[inside:]
        if self.kind == "cut":
            ear.hand_on(head)
            for end in (ear, ear.other):
                if end is not None and end.transport is not None:
                    end.transport.loseConnection()
            return []
        if self.kind == "turn a bit":
            return [head, bytes([rest[0] ^ 1 << self.chance.randrange(8)]) + rest[1:]]
        if self.kind == "leave out":
            return [head, rest[self.chance.randint(1, 60) :]]
        if self.kind == "double":
            return [data, rest]
        return [head, rest[len(rest) // 2 :], rest[: len(rest) // 2]]

    async def close(self) -> None:
        for ear in self.ends:
            if ear.transport is not None:
                ear.transport.abortConnection()  # type: ignore[attr-defined]
        await self.port.stopListening()


class Sockets:
    """Sessions of two stations through a middle, and a third that would like to be one of them."""

    def __init__(self, reactor: Any, case: Case) -> None:
        self.reactor, self.chance = reactor, case.chance
        self.bob_user, self.mallory_user = Recorder(), Recorder()
        self.ann = Station(reactor, limits=LIMITS)
        self.bob, self.mallory = Station(reactor, self.bob_user, LIMITS), Station(reactor, self.mallory_user, LIMITS)
        self.port, self.foreign = self.bob.listen(), self.mallory.listen()
        self.middle = Middle(reactor, case.chance)
        self.outcomes: Counter[str] = Counter()

    async def session(self, number: int, kind: str, at: int, way: int) -> None:
        middle, bob, mallory = self.middle, self.bob_user, self.mallory_user
        if kind == "replay":
            await self._replay()
            return
        middle.recording = kind == "nothing" and not middle.recorded
        middle.begin(kind, at, way, self.foreign if kind == "swap" else self.port)
        links_before, before = len(bob.links), len(bob.messages)
        texts = [f"{number} {part} " + "x" * self.chance.randrange(300) for part in range(MESSAGES)]
        where = {"kind": kind, "at": at, "way": way}
        link = None
        try:
            link = await self.ann.dial(middle.port.getHost().port, self.bob.peer, hello())
        except ChatnetError as error:
            self.outcomes[f"{kind}: not opened"] += 1
            check(kind != "nothing" and kind != "delay", "an honest line was refused", error=repr(error), **where)
            check(kind != "swap" or isinstance(error, WrongKey), "swapped keys, another reason", error=repr(error))
        if link is not None:
            check(link.peer == self.bob.peer, "the wrong key was taken", **where)
            for text in texts:
                link.send(Say(b"c" * 32, os.urandom(16), 1, text))
            all_there = len(texts) + before
            await until(
                self.reactor, lambda: len(bob.messages) >= all_there or link.gone.called, 15, "it hangs", **where
            )
            link.leave()
            await until(self.reactor, lambda: link.gone.called, 15, "a link does not end", **where)
            self.outcomes[f"{kind}: opened"] += 1
        await until(self.reactor, lambda: len(bob.ends) == len(bob.links), 15, "bob's link does not end", **where)
        heard = [message.body for message in bob.messages[before:] if isinstance(message, Say)]
        check(heard == texts[: len(heard)], "something else arrived than was sent", heard=heard, **where)
        check(kind not in ("nothing", "delay") or heard == texts, "an honest line lost something", **where)
        check(all(one.peer == self.ann.peer for one in bob.links[links_before:]), "bob took another key", **where)
        check(not mallory.messages and not mallory.links, "mallory was told something", **where)
        middle.recording = False

    async def _replay(self) -> None:
        """All that ann said in an honest session, again."""
        bob = self.bob_user
        before = len(bob.links), len(bob.messages)
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port)
        ear = Protocol()
        gone: Deferred[None] = Deferred()
        ear.connectionLost = lambda reason: gone.callback(None)  # type: ignore[method-assign, assignment]
        await endpoint.connect(_Given(ear))
        for piece in self.middle.recorded:
            ear.transport.write(piece)  # type: ignore[union-attr]
        await until(self.reactor, lambda: gone.called, 15, "a replay is not refused")
        check((len(bob.links), len(bob.messages)) == before, "a replayed session was taken")
        self.outcomes["replay: not opened"] += 1

    async def close(self) -> None:
        await self.ann.close()
        await self.bob.close()
        await self.mallory.close()
        await self.middle.close()


class Tampered:
    """Wraps one end of a village's line: after some bytes it is cut, or one byte changes."""

    def __init__(self, village: Village, chance: random.Random) -> None:
        self.village, self.chance = village, chance
        self.armed: dict[_End, tuple[int, str]] = {}
        self.tampered = 0

    def arm(self, one: str, other: str) -> None:
        for end in self.village.net.lines(one, other):
            for side in (end, end.other):
                if side not in self.armed:
                    self.armed[side] = self.chance.randrange(1, 1_500), self.chance.choice(("cut", "turn", "leave out"))
                    self._wrap(side)

    def _wrap(self, end: _End) -> None:
        write = end.write

        def tampering(data: bytes) -> None:
            left, kind = self.armed.get(end, (1 << 40, "cut"))
            self.armed[end] = left - len(data), kind
            if left > len(data):
                write(data)
                return
            self.armed[end] = 1 << 40, kind
            self.tampered += 1
            head, rest = data[:left], data[left:]
            if kind == "cut":
                write(head)
                self.village.reactor.callLater(0, self.village.net.cut, end.host[0], end.peer[0])
            elif kind == "turn" and head:
                write(head[:-1] + bytes([head[-1] ^ 1 << self.chance.randrange(8)]) + rest)
            else:
                write(head[:-1] + rest)

        end.write = tampering  # type: ignore[method-assign]


PATIENCE_HALF_MINUTES = 240  # two of the longest waits between two dials, and then some


async def healed(reactor: Any, case: Case, place: Path, rounds: int) -> Figures:
    """Two whole peers on a line that breaks and lies; in the end everything is there once."""
    village = Village(reactor, place)
    village.open_registry()
    middle = Tampered(village, case.chance)
    try:
        ann, bob = await village.people("ann", "bob")
        said: dict[str, list[str]] = {"ann": [], "bob": []}
        for number in range(rounds):
            for one, other in ((ann, bob), (bob, ann)):
                for part in range(case.chance.randrange(1, 4)):
                    text = f"{number}.{part} " + "y" * case.chance.randrange(400)
                    said[one.name].append(text)
                    await village.done(one.door.say(other.chat, text))
            for _ in range(case.chance.randrange(1, 5)):
                middle.arm(ann.machine.host, bob.machine.host)
                await village.pass_time(case.chance.choice((0.5, 2, 4)), step=0.5)
        middle.armed.clear()
        quiet = lambda one, other: set(one.states(other.peer)) == {MessageState.DELIVERED}  # noqa: E731
        for _ in range(PATIENCE_HALF_MINUTES):
            if quiet(ann, bob) and quiet(bob, ann):
                break
            await village.pass_time(30, step=3)
        check(quiet(ann, bob) and quiet(bob, ann), "messages still wait on a whole line", tampered=middle.tampered)
        for one, other in ((ann, bob), (bob, ann)):
            heard = [row.body for row in other.added if not row.mine]
            check(heard == said[one.name], "lost, doubled or out of order", heard=len(heard), said=len(said[one.name]))
            check(set(other.people) == {one.peer}, "somebody else appeared", people=len(other.people))
        return {"tampered_lines": middle.tampered, "said": sum(map(len, said.values()))}
    finally:
        await village.close()


def attack(case: Case) -> Figures:
    async def work(reactor: Any) -> Figures:
        complaints = Complaints()
        sockets = Sockets(reactor, case)
        try:
            for number in range(case.n):
                kind = KINDS[number % len(KINDS)]
                at = case.chance.randrange(SESSION_BYTES) if case.n < 2_000 else number * SESSION_BYTES // case.n
                await sockets.session(number, kind, at, number // len(KINDS) % 2)
        finally:
            await sockets.close()
        figures = await healed(reactor, case, case.directory, max(20, case.n // 10))
        check(not complaints.texts, "an error was logged", first=complaints.texts[:1])
        return {"sessions": dict(sockets.outcomes)} | figures

    return in_reactor(work)


def run(case: Case) -> Figures:
    return attack(case)


def control(case: Case) -> Figures:
    proven = links.proven_peer
    links.proven_peer = lambda connection, expected, *, dialled: proven(connection, None, dialled=dialled)
    return attack(case)


if __name__ == "__main__":
    main(sys.modules[__name__])
