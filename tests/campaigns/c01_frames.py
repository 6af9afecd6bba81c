"""C1: fuzzed frames into every state of a link, in chunks of any size.

First the decoder alone: only RemoteError may come out of it, what only our own checks can refuse is
refused, and memory stays bounded.  Then real links to a real registry and a real peer, in every state
of the protocol: who sends a bad frame is dropped, the program lives, logs no error and never stalls,
and an honest message still arrives.
Control: messages without our checks of addresses and of the bytes of a text.
"""

from __future__ import annotations

import os
import random
import sys
from collections import Counter
from typing import Any

import msgspec

from chatnet.core import messages
from chatnet.core.errors import RemoteError
from chatnet.core.framing import Framer, frame
from chatnet.core.identity import conversation_of
from chatnet.core.limits import MAX_BODY_BYTES, MAX_FRAME, MAX_FRAME_HELLO, MAX_PATH_PART_BYTES, MAX_TEXT_BYTES
from chatnet.core.messages import ROLE_CHAT, ROLE_FILE, ROLE_PROBE, Accept, File, Offer, OfferedFile, Say, Welcome
from chatnet.core.records import endpoint, sign_record
from chatnet.core.roles import DECODERS, FROM_LISTENER
from chatnet.net.identity import Identity
from chatnet.net.tls import TLS
from tests.campaigns.field import Foe, Foes, Subject, in_reactor, until
from tests.campaigns.harness import REQUESTS_FAR, Case, Failed, Figures, check, main, memory_kb
from tests.core.test_fuzz import damaged
from tests.support.guests import Guest
from tests.support.links import Recorder, Station, hello, new_identity

NAME = "c01_frames"
SIZES = {"ci": 100_000, "gate": 5_000_000, "nightly": 50_000_000}
UNIT = "frames"
SHOWN = ("a message that cannot be was taken",)

GROWTH_KB = 16 * 1024
FRAMES_PER_SESSION = 12
DROP_SECONDS = 10.0
KEYS = 40
FORGIVING = "strikes=1000000"  # or the fourth bad frame of a key would meet a shut door; that is C7's

# Bodies of the right shape and types: the library takes them, and only our own checks refuse them.
ID16, ID32 = b"i" * 16, b"p" * 32
FORGED = [
    msgspec.msgpack.encode(fields)
    for fields in (
        *(["welcome", 1, [], ID16, "bob", [bytes(size), 4000]] for size in (5, 8, 15)),
        ["list", True, False, [[ID32, "carol", [[bytes(4), 4000], [bytes(7), 4000]], 1]], [], b""],
        ["error", "busy", "\u00e9" * (MAX_TEXT_BYTES // 2 + 1)],
        ["say", ID32, ID16, 1, "\u00e9" * (MAX_BODY_BYTES // 2 + 1)],
        ["offer", ID16, [[["a", "\u00e9" * (MAX_PATH_PART_BYTES // 2 + 1)], 10, 1]], False],
    )
]
FORGERIES = 0.02  # of all frames


def lying(chance: random.Random, body: bytes) -> bytes:
    """A frame whose length may lie."""
    whole = frame(body or b"\0")
    if chance.random() < 0.05:
        return chance.choice((0, 1, len(body) + 7, MAX_FRAME, MAX_FRAME + 1, 2**32 - 1)).to_bytes(4, "big") + body
    return whole


def decoded(case: Case) -> Figures:
    """The framer and the decoder by themselves, until so many frames were judged: none behind a length that lies is."""
    states = sorted(DECODERS)
    outcomes: Counter[str] = Counter()
    chance, before = case.chance, 0
    while outcomes.total() < case.n:
        state = chance.choice(states)
        framer = Framer(MAX_FRAME_HELLO if state.startswith("from-") and "registry" not in state else MAX_FRAME)
        bodies = [chance.choice(FORGED) if chance.random() < FORGERIES else damaged(chance) for _ in range(20)]
        batch = [lying(chance, body) for body in bodies]
        stream, at = b"".join(batch), 0
        try:
            while at < len(stream):
                step = chance.choice((1, 3, 17, 400, 9000))
                framer.feed(stream[at : at + step])
                at += step
                while (body := framer.next_frame()) is not None:
                    try:
                        DECODERS[state].decode(body)
                    except RemoteError:
                        outcomes["refused"] += 1
                    except Exception as error:
                        raise Failed(
                            "another error came out", error=repr(error), state=state, body=body.hex()
                        ) from None
                    else:
                        outcomes["taken"] += 1
                        check(body not in FORGED, "a message that cannot be was taken", state=state, body=body.hex())
        except RemoteError:
            outcomes["length refused"] += 1
        if not before and outcomes.total() > 20_000:
            before = memory_kb()
    growth = memory_kb() - before if before else 0
    check(growth <= GROWTH_KB, "memory grew", growth_kb=growth)
    check(outcomes["refused"] > case.n // 10, "hardly anything was refused: the mutations are too mild", **outcomes)
    return {"outcomes": dict(outcomes), "growth_kb": growth}


class Attack:
    """Hostile sessions against one registry and one peer."""

    def __init__(self, reactor: Any, case: Case, registry: Subject, peer: Subject) -> None:
        self.reactor, self.chance = reactor, case.chance
        self.registry, self.peer = registry, peer
        self.foes = Foes(reactor)
        self.keys = [new_identity() for _ in range(KEYS)]
        self.outcomes: Counter[str] = Counter()
        self.sessions = 0
        self.said = 0
        self.chat: Foe | None = None  # beside the link of a file

    async def session(self, state: str) -> None:
        """One link brought into ``state``, then damaged frames until it ends."""
        self.sessions += 1
        foe, kinds, first = await getattr(self, f"_{state}")()
        bodies = [damaged(self.chance) for _ in range(FRAMES_PER_SESSION)]
        stream = first + b"".join(frame(body or b"\0") for body in bodies)
        must_end = not first and any(_is_bad(kinds, body) for body in bodies)
        if self.chance.random() < 0.2:
            stream += self.chance.choice((b"\0\0\0\0", b"\xff\xff\xff\xff", (MAX_FRAME + 1).to_bytes(4, "big"))) + b"x"
            must_end = True
        while stream and not foe.over:
            step = self.chance.choice((1, 7, 100, 4000, 70_000))
            foe.say(stream[:step])
            stream = stream[step:]
        self.outcomes[f"{state}: {'bad' if must_end else 'any'}"] += 1
        if must_end and not first:
            figures = {"state": state, "bodies": [body.hex() for body in bodies]}
            await until(self.reactor, lambda: foe.over, DROP_SECONDS, "a bad frame was not the end", **figures)
        foe.cut()
        if self.chat is not None:
            self.chat.cut()
            self.chat = None

    async def honest(self, link: Any, hearer: Recorder, text: str) -> None:
        """A message is stored, in a second or so."""
        me = self.keys[0].peer_id
        link.send(Say(conversation_of(me, link.peer), os.urandom(16), 1, text))
        self.said += 1
        await until(self.reactor, lambda: _acks(hearer) == self.said, 10, "an honest message was not delivered")

    # --- states ---

    async def _stranger_at_registry(self) -> tuple[Foe, str, bytes]:
        return await self.foes.tls(self.registry.port, self._tls()), "from-dialler", b""

    async def _stranger_at_peer(self) -> tuple[Foe, str, bytes]:
        return await self.foes.tls(self.peer.port, self._tls()), "from-dialler", b""

    async def _registered(self) -> tuple[Foe, str, bytes]:
        identity = new_identity()
        name = f"foe{self.sessions}"
        record = sign_record(identity.public_key, identity.sign, name, [endpoint("127.0.0.1", 40_000)], 1, 0)
        greeting = hello("registry", name=name, record=record)
        return await self._greeted(self.registry.port, identity, greeting), "to-registry", b""

    async def _chatting(self) -> tuple[Foe, str, bytes]:
        return await self._greeted(self.peer.port, self.chance.choice(self.keys[1:]), hello(ROLE_CHAT)), ROLE_CHAT, b""

    async def _probing(self) -> tuple[Foe, str, bytes]:
        return await self._greeted(self.peer.port, new_identity(), hello(ROLE_PROBE)), ROLE_PROBE, b""

    async def _sending_a_file(self) -> tuple[Foe, str, bytes]:
        identity, fid = new_identity(), os.urandom(16)
        self.chat = chat = await self._greeted(self.peer.port, identity, hello(ROLE_CHAT))
        chat.say(frame(messages.encode(Offer(fid, [OfferedFile([f"file{self.sessions}"], 1000, 1)], False))))
        await until(self.reactor, lambda: _first(chat, Accept) or chat.over, 10, "the offer was not accepted")
        accept = _first(chat, Accept)
        check(accept is not None, "the offer was not accepted")
        greeting = hello(ROLE_FILE, fid=fid, token=accept.token)
        file = await self._greeted(self.peer.port, identity, greeting)
        first = frame(messages.encode(File(0, 0, 1000))) if self.chance.random() < 0.5 else b""
        return file, ROLE_FILE, first

    async def _greeted(self, port: int, identity: Identity, greeting: messages.Hello) -> Foe:
        foe = await self.foes.tls(port, TLS(identity))
        await until(self.reactor, lambda: foe.shaken or foe.over, 10, "no handshake")
        foe.say(frame(messages.encode(greeting)))
        await until(self.reactor, lambda: len(foe.got) > 4 or foe.over, 10, "no answer")
        check(_first(foe, Welcome) is not None, "an honest hello was refused", got=bytes(foe.got[:200]))
        return foe

    def _tls(self) -> TLS:
        return TLS(self.chance.choice(self.keys[1:]))


STATES = ("stranger_at_registry", "stranger_at_peer", "registered", "chatting", "probing", "sending_a_file")


def _is_bad(kinds: str, body: bytes) -> bool:
    try:
        DECODERS[kinds].decode(body)
    except RemoteError:
        return True
    return False


def _first(foe: Foe, kind: type[Any]) -> Any:
    for number, body in enumerate(foe.bodies()):
        message = (FROM_LISTENER if number == 0 else DECODERS[ROLE_CHAT]).decode(body)
        if isinstance(message, kind):
            return message
    return None


def _acks(hearer: Recorder) -> int:
    return sum(len(message.ids) for message in hearer.messages if isinstance(message, messages.Ack))


async def hostile_pages(reactor: Any, case: Case, peer_place: Any, sessions: int) -> Figures:
    """We are the registry: a restless peer comes again and again, and is told nonsense."""
    chance = case.chance
    counts: Counter[str] = Counter()

    class Teller(Recorder):
        def opened(self, link: Any) -> None:
            super().opened(link)
            counts["told"] += 1
            link.send_frames(b"".join(lying(chance, damaged(chance)) for _ in range(FRAMES_PER_SESSION)))
            reactor.callLater(0.02, link.abort)

    station = Station(reactor, Teller())
    station.listen()
    port = station.listener.port
    peer = Subject(
        "peer", peer_place, name="restless", registry=f"tcp:127.0.0.1:{port}", flags=["--restless"], limits=[FORGIVING]
    )
    try:
        peer.begin()
        enough = lambda: (counts["told"] >= sessions and peer.serves) or not peer.lives  # noqa: E731
        await until(reactor, enough, 60 + sessions, "it does not come again", told=counts["told"])
        figures = peer.healthy()
    finally:
        peer.stop()
        await station.close()
    return {"pages_told": counts["told"], "restless_stall_own_ms": figures["stall_own_ms"]}


def linked(case: Case) -> Figures:
    """Real links to real programs."""
    sessions = max(60, case.n // 1000)
    registry = Subject("registry", case.directory / "r", limits=["replace_seconds=0.001", FORGIVING]).start()
    peer = Subject(
        "peer",
        case.directory / "p",
        name="victim",
        registry=registry.join,
        flags=["--accept"],
        limits=[
            "free_bytes_reserve=1",
            "transfers=100000",
            "stranger_messages_per_second=1000",
            FORGIVING,
            *REQUESTS_FAR,
        ],
    )

    async def attack(reactor: Any) -> Figures:
        work = Attack(reactor, case, registry, peer)
        guest = Guest(reactor, "honest", work.keys[0])
        friend = Station(reactor)
        friend.identity, friend.dialler._tls = work.keys[0], TLS(work.keys[0])
        before = 0, 0
        try:
            await guest.join(registry.port)
            link = await friend.dial(peer.port, None, hello(ROLE_CHAT, name="honest"))
            for number in range(sessions):
                await work.session(STATES[number % len(STATES)])
                if number % 10 == 0:
                    await work.honest(link, friend.user, f"message {number}")
                if number == sessions // 4:
                    before = registry.memory_kb(), peer.memory_kb()
            growth = registry.memory_kb() - before[0], peer.memory_kb() - before[1]
            await work.honest(link, friend.user, "the last")
            check(guest.link.is_open, "the honest guest has lost the registry")
            pages = await hostile_pages(reactor, case, case.directory / "q", max(10, sessions // 6))
            check(max(growth) <= GROWTH_KB, "memory grew", growth_kb=growth)
            stall = max(one.healthy()["stall_own_ms"] for one in (registry, peer))
            return {
                "sessions": work.sessions,
                "states": dict(work.outcomes),
                "growth_linked_kb": growth,
                "honest_delivered": work.said,
                "stall_own_ms": stall,
            } | pages
        finally:
            await work.foes.close()
            await guest.close()
            await friend.close()

    try:
        peer.start()
        return in_reactor(attack)
    finally:
        peer.stop()
        registry.stop()


def run(case: Case) -> Figures:
    return decoded(case) | linked(case)


def control(case: Case) -> Figures:
    """Messages without our own checks: of any version of the library, what they alone refuse is taken."""
    messages._check_ip = messages._check_utf8 = lambda *_: None
    return decoded(case)


if __name__ == "__main__":
    main(sys.modules[__name__])
