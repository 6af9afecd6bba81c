"""C12: nobody passes for somebody else.

In a village of whole peers, by chance: registries lose their names, other keys come as bob, bob
comes back, squatters try, ann trusts, keeps and restarts.  Every other key under a known name is
told, and nothing ann wrote reaches a key that she did not confirm.  Then a real registry: records
that are old or somebody else's are refused, and a name is bound even if SIGKILL comes right after
the WELCOME.  Control: a registry that answers before it has committed.
"""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter, defaultdict
from contextlib import closing
from functools import reduce
from typing import Any

from chatnet.core.errors import ChatnetError, LocalError
from chatnet.core.events import MessageState, RegistryPhase
from chatnet.core.identity import PeerID, prefix_text
from chatnet.core.limits import PeerLimits
from chatnet.core.records import SignedRecord, endpoint, sign_record
from chatnet.net.identity import Identity
from tests.campaigns.field import Complaints, Subject, in_reactor, pause, until
from tests.campaigns.harness import REQUESTS_FAR, Case, Figures, check, main
from tests.support.guests import Guest
from tests.support.links import new_identity
from tests.support.village import Village, Villager

NAME = "c12_identity"
SIZES = {"ci": 20, "gate": 300, "nightly": 10_000}
UNIT = "steps"
SHOWN = ("a welcomed name was given to another key after a kill",)

KEYS = 3
SETTLE_SECONDS = 12.0
OWNER = new_identity()
OVER = (MessageState.DELIVERED, MessageState.REFUSED, MessageState.EXPIRED)
STEPS = ("say", "say", "swap", "swap", "squat", "restart ann", "restart the registry", "trust", "trust wrongly", "keep")


class World:
    """Ann, and who uses the name bob."""

    def __init__(self, village: Village, case: Case) -> None:
        self.village, self.chance = village, case.chance
        self.ann = village.villager("ann")
        limits = reduce(PeerLimits.changed, REQUESTS_FAR, PeerLimits())
        self.bobs = [village.villager("bob", place=f"bob{number}", limits=limits) for number in range(KEYS)]
        self.keys: dict[Villager, PeerID] = {}
        self.here: Villager | None = None  # who is bob at present
        self.pinned = self.bobs[0]  # who is bob to ann
        self.allowed: dict[str, set[Villager]] = {}  # who may read a text
        self.unwanted: set[Villager] = set()  # whose keys ann has decided against
        self.read: dict[Villager, Counter[str]] = defaultdict(Counter)
        self.seen: dict[Villager, int] = defaultdict(int)
        self.counts: Counter[str] = Counter()
        self.history: list[str] = []

    async def begin(self) -> None:
        self.ann.start()
        await self.arrive(self.bobs[0])
        await self.village.until(lambda: self.keys[self.bobs[0]] in self.ann.people, within=60)
        await self.say("hello")
        await self.village.until(lambda: self._collect() or self.read[self.bobs[0]]["hello"], within=60)

    async def step(self, kind: str, number: int) -> None:
        self.counts[kind] += 1
        self.history.append(f"{number} {kind}")
        if kind == "say":
            await self.say(f"text {number}")
        elif kind == "swap":
            await self.depart()
            await self.lose_names()
            await self.arrive(self.chance.choice(self.bobs))
            assert self.here is not None
            self.history.append(f"{self.bobs.index(self.here)} is here")
        elif kind == "squat" and self.here is not None:
            await self.squat()
        elif kind == "restart ann":
            await self.ann.stop()
            self.ann.start()
            await self.village.until(lambda: self.ann.phase is RegistryPhase.UP, within=60)
        elif kind == "restart the registry":
            await self.village.shut_registry()
            self.village.open_registry()
        elif kind in ("trust", "trust wrongly", "keep"):
            await self.decide(kind)
        await self.village.pass_time(SETTLE_SECONDS, step=1)
        await self.village.until(self._settled, within=120)
        self.judge(kind)

    def _settled(self) -> bool:
        """Both are at the registry again: a disk that is slow takes no time of the village's."""
        both = [self.ann, self.here] if self.here is not None else [self.ann]
        up = all(one.phase is RegistryPhase.UP for one in both)
        return up and (self.here is None or self.here.peer in self.ann.node.roster.listed)

    async def say(self, text: str) -> None:
        self.allowed[text] = {self.pinned}
        await self.village.done(self.ann.door.say(self.keys[self.pinned], text))

    async def arrive(self, bob: Villager) -> None:
        bob.start()
        self.seen[bob] = 0
        self.here = bob
        await self.village.until(
            lambda: bob.phase is RegistryPhase.UP and self.ann.phase is RegistryPhase.UP, within=120
        )
        self.keys[bob] = bob.peer
        await self.village.until(lambda: bob.peer in self.ann.node.roster.listed, within=120)

    async def depart(self) -> None:
        if self.here is not None:
            bob, self.here = self.here, None
            self._collect()
            await bob.stop()
            self._collect()

    async def lose_names(self) -> None:
        await self.village.shut_registry()
        (self.village.directory / "registry.db").unlink()
        self.village.open_registry()

    async def squat(self) -> None:
        """Another key asks for a name that is bound, and gets nothing."""
        other = self.chance.choice([bob for bob in self.bobs if bob is not self.here])
        other.start()
        self.seen[other] = 0
        await self.village.until(lambda: other.phase in (RegistryPhase.REFUSED, RegistryPhase.UP), within=60)
        check(other.phase is RegistryPhase.REFUSED, "a squatter got a bound name")
        await other.stop()

    async def decide(self, kind: str) -> None:
        here, pinned = self.here, self.pinned
        if here is None or here is pinned:
            return
        work: Any
        waiting = await self.waiting()
        if kind == "trust":
            work = self.ann.door.trust(self.keys[pinned], prefix_text(self.keys[here]))
        elif kind == "keep":
            work = self.ann.door.keep_key(self.keys[pinned], self.keys[here])
        else:
            work = self.ann.door.trust(self.keys[pinned], prefix_text(self.keys[pinned]))
        try:
            await self.village.done(work)
        except LocalError as error:
            told = self._new_key()
            check(kind == "trust wrongly" or not told, "a decision was refused", kind=kind, code=error.code)
            return
        check(kind != "trust wrongly", "a wrong key was trusted")
        if kind == "keep":
            self.unwanted.add(here)
            return
        for text in waiting:
            self.allowed[text].add(here)
        self.pinned = here
        self.unwanted.discard(here)
        self.counts["trusted"] += 1

    def judge(self, kind: str) -> None:
        """Who has read what, and what ann was told."""
        self._collect()
        for bob, texts in self.read.items():
            for text, times in texts.items():
                why = "a text reached a key that was not confirmed"
                reader, allowed = self.bobs.index(bob), sorted(self.bobs.index(one) for one in self.allowed[text])
                fine = bob in self.allowed[text]
                check(fine, why, text=text, step=kind, reader=reader, allowed=allowed, **self._situation())
                check(times == 1, "a text came twice", text=text)
        here, pinned = self.here, self.pinned
        if here is not None and here is not pinned and here not in self.unwanted:
            why = "another key came under a known name, and nobody said so"
            check(self._new_key() == self.keys[here], why, step=kind, **self._situation())
            self.counts["warned"] += 1
        if here is pinned:
            check(self._new_key() is None, "a warning without a reason", step=kind, **self._situation())

    def _situation(self) -> Figures:
        number = {self.keys[bob]: number for number, bob in enumerate(self.bobs) if bob in self.keys}
        people = {
            number.get(PeerID(key), "?"): (one.name, one.online, number.get(PeerID(one.new_key or b"")), one.waiting)
            for key, one in self.ann.people.items()
        }
        here = self.bobs.index(self.here) if self.here is not None else None
        unwanted = [self.bobs.index(one) for one in self.unwanted]
        last = self.history[-40:]
        return {
            "here": here,
            "pinned": self.bobs.index(self.pinned),
            "people": people,
            "unwanted": unwanted,
            "last": last,
        }

    def _new_key(self) -> bytes | None:
        person = self.ann.people.get(self.keys[self.pinned])
        return person.new_key if person is not None else None

    def _collect(self) -> bool:
        """Note what the bobs have heard since the last time."""
        for bob in self.bobs:
            for row in bob.added[self.seen[bob] :]:
                if not row.mine:
                    self.read[bob][row.body] += 1
            self.seen[bob] = len(bob.added)
        return False

    async def end(self) -> None:
        """Ann's bob comes back, and has everything that was for him."""
        await self.depart()
        await self.lose_names()
        await self.arrive(self.pinned)
        for _ in range(100):
            if not (left := await self.waiting()):
                break
            await self.village.pass_time(SETTLE_SECONDS, step=1)
        check(not left, "what waited for bob does not come to him", left=len(left), **self._situation())
        self.judge("the end")
        stored = {bob: stored_texts(bob) for bob in self.bobs}
        lost = [text for text, allowed in self.allowed.items() if not any(text in stored[bob] for bob in allowed)]
        check(not lost, "texts are lost", lost=lost)
        foreign = [
            text for text, allowed in self.allowed.items() for bob in {*self.bobs} - allowed if text in stored[bob]
        ]
        check(not foreign, "texts stand in the history of a key that was not confirmed", texts=foreign)

    async def waiting(self) -> set[str]:
        """What ann's screen says of the texts for her bob that were not delivered."""
        found: set[str] = set()
        before: int | None = None
        while True:
            page = await self.village.done(self.ann.door.history(self.keys[self.pinned], before))
            found |= {row.body for row in page.messages if row.mine and row.state not in OVER}
            if not page.more:
                return found
            before = page.messages[0].n


def stored_texts(bob: Villager) -> set[str]:
    """What stands in bob's history: of what came while bob was ending nobody was told, and it is there."""
    path = bob.roots.of(bob.name).database
    if not path.exists():
        return set()
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        return {body for (body,) in database.execute("SELECT body FROM history")}


async def village_of(reactor: Any, case: Case) -> Figures:
    village = Village(reactor, case.directory / "village")
    (case.directory / "village").mkdir()
    village.open_registry()
    world = World(village, case)
    try:
        await world.begin()
        for number in range(case.n):
            await world.step(case.chance.choice(STEPS), number)
        await world.end()
        return {"steps": dict(world.counts), "texts": len(world.allowed)}
    finally:
        await village.close()


async def killed_after_welcome(reactor: Any, case: Case, registry: Subject, kills: int) -> Figures:
    """A name that was welcomed is bound, whatever comes; and what a record must not be."""
    for number in range(kills):
        owner, other = Guest(reactor, f"owner{number}"), Guest(reactor, f"owner{number}")
        await owner.join(registry.port)
        registry.kill()
        await owner.close()
        registry.begin()
        await until(reactor, lambda: registry.serves or not registry.lives, 60, "the registry does not come back")
        await refused(other, registry, "name-taken", "a welcomed name was given to another key after a kill")
        await owner.join(registry.port)
        await owner.close()
    guest = Guest(reactor, "replayed", OWNER, seq=5)
    await guest.join(registry.port)
    await guest.close()
    await pause(reactor, 0.3)
    for code, why, changes in records():
        await refused(guest, registry, code, why, **changes)
    await guest.close()
    return {"kills_after_welcome": kills}


def records() -> list[tuple[str, str, dict[str, Any]]]:
    """What the owner of a name, or who has his old words, must not bring; the code and the words for it."""
    thief = new_identity()

    def of(identity: Identity, seq: int, name: str = "replayed") -> SignedRecord:
        return sign_record(identity.public_key, identity.sign, name, [endpoint("127.0.0.1", 40_000)], seq, 0)

    forged = of(OWNER, 9)._replace(signature=b"s" * 64)
    second = {"name": "second", "record": of(OWNER, 9, "second")}
    return [
        ("bad-record", "an old record was taken", {"record": of(OWNER, 4)}),
        ("bad-record", "somebody else's record was taken", {"record": of(thief, 9)}),
        ("bad-record", "another name's record was taken", {"record": of(OWNER, 9, "other")}),
        ("bad-record", "a forged record was taken", {"record": forged}),
        ("key-bound", "a second name of one key was taken", second),
    ]


async def refused(guest: Guest, registry: Subject, code: str, why: str, **changes: Any) -> None:
    greeting = guest.greeting(**changes)
    try:
        await guest.join(registry.port, greeting)
    except ChatnetError as error:
        check(error.code == code, f"refused with another reason: {why}", code=error.code)
    else:
        await guest.close()
        check(False, why)


def attack(case: Case, weak: str = "", only_kills: bool = False) -> Figures:
    registry = Subject("registry", case.directory / "r", flags=["--weak", weak] if weak else ()).start()

    async def work(reactor: Any) -> Figures:
        complaints = Complaints()
        figures = await killed_after_welcome(reactor, case, registry, max(2, min(100, case.n // 10)))
        if not only_kills:
            figures |= await village_of(reactor, case)
        check(not complaints.texts, "an error was logged", first=complaints.texts[:1])
        return figures

    try:
        return in_reactor(work)
    finally:
        registry.stop()


def run(case: Case) -> Figures:
    return attack(case)


def control(case: Case) -> Figures:
    return attack(case, weak="welcome-before-commit", only_kills=True)


if __name__ == "__main__":
    main(sys.modules[__name__])
