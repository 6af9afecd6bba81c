"""Strangers that attack one program with many keys, as a process of their own.

    python -m tests.campaigns.attackers KEYS SEED FIRST

It makes so many keys.  Each line on its standard input is a JSON object: ``{"attack": NAME, "port": N,
"victim": HEX, "source": HOST or ""}`` begins, from one address or many, ``{"stop": true}`` ends all connections and
is answered by a line of figures.  Frames are encoded before, and only their ids are new, so that the
attack is quicker than its victim.  FIRST is the number of the first name that is claimed.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IHandshakeListener, IPullProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from zope.interface import implementer

from chatnet.core.framing import frame
from chatnet.core.identity import PeerID, conversation_of
from chatnet.core.limits import MAX_BODY_BYTES, MAX_FRAME
from chatnet.core.messages import (
    OFFER_REST,
    RESUME,
    ROLE_CHAT,
    ROLE_FILE,
    ROLE_PROBE,
    ROLE_REGISTRY,
    SKIP,
    Accept,
    Ack,
    Announce,
    Bye,
    Cancel,
    Check,
    CheckStep,
    Decline,
    DialMe,
    Error,
    Hello,
    Lookup,
    Message,
    Nack,
    NotSent,
    Offer,
    OfferedFile,
    OfferRest,
    Pause,
    Ping,
    Pong,
    Resume,
    Say,
    Verified,
    Want,
    encode,
)
from chatnet.core.records import endpoint, sign_record
from chatnet.net.identity import Identity
from chatnet.net.tls import TLS
from tests.support.links import hello, new_identity

CHUNK_BYTES = 65_536
AGAIN_SECONDS = 0.02  # from the end of a connection to the next one with its key
LATER_SECONDS = 0.5  # the same where a link is wanted and was refused: dials would keep each other out
ID = b"\xa5" * 16  # stands for an id that is new in each frame
ID32 = ID * 2
NAME = "@" * 16  # stands for a part of a file's name that is new in each frame
ONE_OFFER = b"\x5a" * 16  # of which page after page comes, and never the last

Frames = Callable[[], bytes]  # some frames, new ones at each call


def endless(message: Message) -> Frames:
    """Frames of this message, again and again, with new ids and names in the places of ID and NAME."""
    parts = re.split(b"(%b|%b)" % (re.escape(ID), NAME.encode()), frame(encode(message)))
    times = max(1, CHUNK_BYTES // sum(map(len, parts)))

    def made() -> bytes:
        found: list[bytes] = []
        for _ in range(times):
            name = os.urandom(8).hex().encode()
            for part in parts:
                found.append(os.urandom(16) if part == ID else name if part == NAME.encode() else part)
        return b"".join(found)

    return made


def _page(path_parts: int, more: bool, name: str, fid: bytes = ID) -> Offer:
    """An offer of as many empty files as a frame holds, each below folders of its own; nobody can pack their names."""
    files: list[OfferedFile] = []
    chance, size = random.Random(name), 200
    while size < MAX_FRAME - 1_400 and len(files) < 1_000:
        path = [f"{NAME}{len(files)}", *(f"{chance.getrandbits(120):x}" for _ in range(path_parts - 2)), "f"]
        files.append(OfferedFile(path, 0, 1))
        size += sum(len(part) + 1 for part in path) + 12
    return Offer(fid, files, more)


def _empty_folders() -> OfferRest:
    """As many empty folders as a frame holds, each below folders of its own."""
    folders: list[list[str]] = []
    size = 200
    while size < MAX_FRAME - 1_400 and len(folders) < 1_000:
        path = [f"{NAME}{len(folders)}", *("d" * 15 for _ in range(29))]
        folders.append(path)
        size += sum(len(part) + 1 for part in path) + 4
    return OfferRest(ONE_OFFER, folders, NotSent(0, 0, 0), 0, True)


LONG = "\n" * MAX_BODY_BYTES
FIRST_OFFER = Offer(ID, [OfferedFile(["a.txt"], 10, 1)], False)

# What somebody says about transfers, checks and messages that the other side knows nothing of.
ANSWERS: tuple[Message, ...] = (
    Ack([ID]),
    Nack(ID, "conflict"),
    Accept(ID, ID32, [Want(0, 0)], False),
    Decline(ID, "declined"),
    DialMe(ID),
    Cancel(ID, "user"),
    Pause(ID, "paused"),
    Resume(ID),
    Verified(ID),
    Check(CheckStep.COMMIT, ID32),
    Check(CheckStep.NONCE, ID),
    Ping(1),
    Pong(1),
)


@dataclass(frozen=True)
class Attack:
    """What the connections say: ``role`` in HELLO, ``first`` once, then one of ``kinds`` endlessly.

    One that said all is held, or ``leaves``; of one that leaves ``first`` are alternatives.  Without a role one in
    three has no TLS, one says nothing, and one says ``first`` in place of HELLO.
    """

    name: str
    role: str = ROLE_CHAT
    kinds: tuple[Message | type[Message], ...] = ()  # a class: made with the key of the connection
    first: tuple[Message, ...] = ()
    leaves: bool = False

    def shakes(self, number: int) -> bool:
        """Whether this one of the connections has TLS."""
        return bool(self.role or number % 3)

    def messages(self) -> set[type[Message]]:
        """The kinds that it says after WELCOME."""
        return {one if isinstance(one, type) else type(one) for one in (*self.kinds, *self.first)}


ATTACKS = {
    attack.name: attack
    for attack in (
        Attack("before HELLO", role="", first=(Error("user", "x" * 200),)),
        Attack("links"),
        Attack("links that come and go", first=(Bye(), Error("user", "x" * 200)), leaves=True),
        Attack("messages", kinds=(Say(ID32, ID, 1, LONG),)),
        Attack("offers", kinds=(_page(32, False, "whole"), FIRST_OFFER)),
        Attack("empty folders", kinds=(_empty_folders(),), first=(_page(2, True, "head", ONE_OFFER),)),
        Attack("unfinished offers", kinds=(_page(32, True, "part", ONE_OFFER),)),
        Attack("answers to nothing", kinds=ANSWERS),
        Attack("answers beside an offer", kinds=ANSWERS, first=(FIRST_OFFER,)),
        Attack("file links", role=ROLE_FILE),
        Attack("probes", role=ROLE_PROBE, kinds=(Ping(1), Pong(1))),
        Attack("claims", role=ROLE_REGISTRY, leaves=True, first=(Bye(),)),
        Attack("requests at the registry", role=ROLE_REGISTRY, kinds=(Lookup(ID32), Announce, Ping(1), Pong(1))),
    )
}
AT_REGISTRY = ("claims", "requests at the registry")


@implementer(IHandshakeListener, IPullProducer)
class Attacker(Protocol):
    """One connection."""

    def __init__(self, crowd: Crowd, attack: Attack, number: int, identity: Identity) -> None:
        self._crowd, self._attack, self._number, self._identity = crowd, attack, number, identity
        self._frames: Frames | None = None
        self.welcomed = False

    def connectionMade(self) -> None:
        self._crowd.counts["connections"] += 1
        if not self._attack.shakes(self._number):
            self._say(b"\x16\x03\x01\x02\x00\x01")  # a handshake that never goes on

    def handshakeCompleted(self) -> None:
        if self._attack.role:
            self._say(frame(encode(self._crowd.greeting(self._attack.role, self._identity))))
        elif self._number % 3 == 1:
            self._go_on()

    def dataReceived(self, data: bytes) -> None:
        self._crowd.counts["heard bytes"] += len(data)
        if not self.welcomed and self._attack.role and b"welcome" in data[:20]:
            self.welcomed = True
            self._crowd.counts["welcomed"] += 1
            self._go_on()

    def connectionLost(self, reason: object = None) -> None:
        self._frames = None
        self._crowd.lost(self._attack, self._number, self)

    def _go_on(self) -> None:
        if self._attack.leaves:
            self._say(once(self._attack.first[self._number % len(self._attack.first)]))
        elif self._attack.first:
            self._say(b"".join(map(once, self._attack.first)))
        if self._attack.kinds:
            chosen = self._attack.kinds[self._number % len(self._attack.kinds)]
            self._frames = self._crowd.frames(chosen, self._identity)
        if self._frames is not None:
            cast(Any, self.transport).registerProducer(self, False)
        elif self._attack.leaves:
            cast(Any, self.transport).loseConnection()

    def _say(self, data: bytes) -> None:
        self._crowd.counts["said bytes"] += len(data)
        cast(Any, self.transport).write(data)

    def resumeProducing(self) -> None:
        if self._frames is not None:
            self._say(self._frames())

    def stopProducing(self) -> None:
        self._frames = None

    def cut(self) -> None:
        if self.transport is not None:
            cast(Any, self.transport).abortConnection()


def once(message: Message) -> bytes:
    """Its frame, with a new id."""
    return frame(encode(message)).replace(ID, os.urandom(16))


class _Given(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self._protocol


class Crowd(LineOnlyReceiver):
    """All connections of this process, a key each, dialled again when they end."""

    delimiter = b"\n"

    def __init__(self, reactor: Any, keys: int, seed: int, first: int) -> None:
        self.counts: Counter[str] = Counter()
        self._reactor = reactor
        self._chance = random.Random(seed)
        self._identities = [new_identity() for _ in range(keys)]
        self._tls = [TLS(identity) for identity in self._identities]
        self._named = first
        self._open: set[Attacker] = set()
        self._going: dict[str, Any] | None = None

    def connectionMade(self) -> None:
        self.sendLine(b"ready")

    def lineReceived(self, line: bytes) -> None:
        command = json.loads(line)
        if "stop" not in command:
            self._going = command
            self.counts.clear()
            for number in range(len(self._identities)):
                self._reactor.callLater(number / 1000, self._dial, command, number)
            return
        self._going = None
        for attacker in tuple(self._open):
            attacker.cut()
        self.sendLine(json.dumps(self.counts).encode())

    def connectionLost(self, reason: object = None) -> None:
        if self._reactor.running:
            self._reactor.stop()

    def greeting(self, role: str, identity: Identity) -> Hello:
        if role == ROLE_FILE:
            return hello(role, fid=os.urandom(16), token=os.urandom(32))
        if role != ROLE_REGISTRY:
            return hello(role, name="", features=[RESUME, SKIP, OFFER_REST])
        self._named += 1
        return hello(role, name=f"s{self._named}", record=self._record(identity, f"s{self._named}", 1))

    def frames(self, what: Message | type[Message], identity: Identity) -> Frames | None:
        """What a connection says without end, made for its key; None when the attack is over."""
        if self._going is None:
            return None
        if isinstance(what, Say):
            conversation = conversation_of(identity.peer_id, PeerID(bytes.fromhex(self._going["victim"])))
            return endless(Say(conversation, what.id, what.sent_ms, what.body))
        if isinstance(what, type):
            seq = iter(range(2, 2**53))
            return lambda: b"".join(
                frame(encode(Announce(self._record(identity, f"s{self._named}", next(seq))))) for _ in range(50)
            )
        return endless(what)

    def lost(self, attack: Attack, number: int, attacker: Attacker) -> None:
        self._open.discard(attacker)
        if self._going is not None and self._going["attack"] == attack.name:
            wait = LATER_SECONDS if attack.kinds and not attacker.welcomed else AGAIN_SECONDS
            self._reactor.callLater(wait, self._dial, self._going, number)

    def _record(self, identity: Identity, name: str, seq: int) -> Any:
        return sign_record(identity.public_key, identity.sign, name, [endpoint("127.0.0.1", 40_000)], seq, 0)

    def _dial(self, command: dict[str, Any], number: int) -> None:
        if self._going is not command:
            return
        attack = ATTACKS[command["attack"]]
        attacker = Attacker(self, attack, number, self._identities[number])
        factory: Any = _Given(attacker)
        if attack.shakes(number):
            factory = self._tls[number].wrap(factory, dialling=True)
        source = command["source"] or self._somewhere()
        endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", command["port"], timeout=5, bindAddress=(source, 0))
        dialling = endpoint.connect(factory)
        dialling.addCallbacks(
            lambda _: self._connected(command, attacker),
            lambda _: self._reactor.callLater(LATER_SECONDS, self._dial, command, number),
        )

    def _connected(self, command: dict[str, Any], attacker: Attacker) -> None:
        self._open.add(attacker)
        if self._going is not command:
            attacker.cut()

    def _somewhere(self) -> str:
        chance = self._chance
        return f"127.{chance.randrange(1, 255)}.{chance.randrange(255)}.{chance.randrange(1, 255)}"


def main() -> None:
    from twisted.internet import reactor as any_reactor

    reactor: Any = any_reactor
    keys, seed, first = map(int, sys.argv[1:4])
    StandardIO(Crowd(reactor, keys, seed, first))
    reactor.run()


if __name__ == "__main__":
    main()
