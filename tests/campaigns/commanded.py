"""A registry or a headless peer that does what it is told on its standard input, as a process of its own.

    python -m tests.campaigns.commanded peer|registry LEDGER [--routes FILE] [--weather FILE] [--weak WHAT]
        -- OPTIONS OF THE PROGRAM

Commands and the lines of LEDGER are JSON objects, one a line.  What stands in LEDGER was known before
a kill.  FILE of the routes maps "host:port" of an address to the port of the proxy before it; every
dial of this process takes that way, while the records still name the real addresses.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.stdio import StandardIO
from twisted.logger import globalLogBeginner
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from chatnet.core.events import (
    Event,
    MessageAdded,
    MessageChanged,
    MessageKind,
    PeopleChanged,
    Person,
    PersonGone,
    RegistryChanged,
    RegistryState,
    Transfer,
    TransferChanged,
    TransferState,
)
from chatnet.core.identity import chat_with
from tests.campaigns.subject import Clock

PAGE_ROWS = 200
COMMAND_BYTES = 1_048_576
WEAKNESSES = ("replaced-is-final", "refusal-said-once")
SAID_SECONDS = 1.0  # how long a refusal is still being said by the weakened build


# --- the network and the weakened builds -------------------------------------------------------------


def install_routes(path: Path) -> None:
    """Every dial goes to the proxy before the address."""
    from chatnet.net.dialling import Dialler

    routes: dict[str, int] = json.loads(path.read_text())
    honest = Dialler.endpoint
    Dialler.endpoint = lambda self, host, port: honest(  # type: ignore[method-assign]
        self, host, routes.get(f"{host}:{port}", port)
    )


def weaken(what: str) -> None:
    """The controls: builds in which something waits for ever."""
    if what == "replaced-is-final":
        _replaced_is_final()
    elif what == "refusal-said-once":
        _refusal_said_once()


def _replaced_is_final() -> None:
    """Version 0.1.0: a newer link takes the place of the one that is there, whose end is followed by no further dial.

    Until the next message, that is.
    """
    from chatnet.core import messages
    from chatnet.core.errors import Unreachable
    from chatnet.peer.links.chat_links import ChatLinks
    from chatnet.peer.messages.outbox import Outbox

    replaced: set[bytes] = set()
    hidden: set[bytes] = set()  # peers whose present link is no reason to refuse a new one
    forget, opened, dial, say = ChatLinks._forget, ChatLinks.opened, ChatLinks.dial, Outbox.say
    answer, open_link = ChatLinks.answer, ChatLinks.open_link

    async def taken(links: Any, link: Any, hello: Any) -> Any:
        hidden.add(link.peer)
        try:
            return await answer(links, link, hello)
        finally:
            hidden.discard(link.peer)

    def not_hidden(links: Any, peer: Any) -> Any:
        return None if peer in hidden else open_link(links, peer)

    def noted(links: Any, link: Any, end: Any) -> None:
        current = links.links.get(link.peer) is link
        if current and end.code == messages.REPLACED:
            replaced.add(link.peer)
        forget(links, link, end)

    def cleared(links: Any, link: Any) -> None:
        opened(links, link)
        if links.links.get(link.peer) is link:
            replaced.discard(link.peer)

    async def refused(links: Any, peer: Any, *args: Any) -> Any:
        if peer in replaced:
            raise Unreachable("replaced", "the weakened build does not dial again")
        return await dial(links, peer, *args)

    def said(outbox: Any, peer: Any, *args: Any) -> Any:
        replaced.discard(peer)
        return say(outbox, peer, *args)

    ChatLinks._forget, ChatLinks.opened = noted, cleared  # type: ignore[method-assign]
    ChatLinks.dial, Outbox.say = refused, said  # type: ignore[method-assign]
    ChatLinks.answer, ChatLinks.open_link = taken, not_hidden  # type: ignore[method-assign]


def _refusal_said_once() -> None:
    """A DECLINE leaves while the person refuses, or never."""
    import time

    from chatnet.core.messages import Decline
    from chatnet.net.link import Link
    from chatnet.peer.service import PeerService

    refused: dict[bytes, float] = {}
    send, refuse = Link.send, PeerService.refuse

    def noted(service: Any, fid: bytes) -> Any:
        refused[fid] = time.monotonic()
        return refuse(service, fid)

    def forgetful(link: Any, message: Any) -> None:
        late = isinstance(message, Decline) and time.monotonic() - refused.get(message.fid, 0) > SAID_SECONDS
        if not late:
            send(link, message)

    PeerService.refuse = noted  # type: ignore[method-assign]
    Link.send = forgetful  # type: ignore[method-assign]


# --- the peer, as a person would drive it ----------------------------------------------------------------


class Hands:
    """The peer's API, by names and titles: the only place here that calls it."""

    def __init__(self, api: Any, changed: Callable[[Event], None]) -> None:
        self._api = api
        self._changed = changed
        self._people: dict[bytes, Person] = {}
        self._transfers: dict[bytes, Transfer] = {}
        snapshot = api.subscribe(self._heard).snapshot
        self.registry: RegistryState = snapshot.registry
        for person in snapshot.people:
            self._people[person.peer] = person
        for transfer in snapshot.transfers:
            self._transfers[transfer.fid] = transfer

    def _heard(self, event: Event) -> None:
        match event:
            case PeopleChanged(people):
                self._people.update({person.peer: person for person in people})
            case PersonGone(peer):
                self._people.pop(peer, None)
            case TransferChanged(transfer):
                self._transfers[transfer.fid] = transfer
            case RegistryChanged(registry):
                self.registry = registry
            case _:
                pass
        self._changed(event)

    def name_of(self, peer: bytes) -> str:
        return self._people[peer].name if peer in self._people else "?"

    def people(self) -> list[Person]:
        return list(self._people.values())

    def transfers(self) -> list[Transfer]:
        return list(self._transfers.values())

    def titled(self, title: str) -> Transfer:
        """Raises LookupError."""
        found = [transfer for transfer in self._transfers.values() if transfer.title == title]
        if not found:
            raise LookupError(f"no transfer {title}")
        return found[-1]

    def _named(self, name: str) -> bytes:
        """Raises LookupError."""
        for person in self._people.values():
            if person.name == name:
                return person.peer
        raise LookupError(f"nobody is called {name}")

    def say(self, name: str, body: str) -> Deferred[Any]:
        saying: Deferred[Any] = self._api.say(chat_with(self._named(name)), body)
        return saying

    def offer(self, name: str, path: str) -> Deferred[Any]:
        offering: Deferred[Any] = self._api.offer(chat_with(self._named(name)), (os.fsencode(path),))
        return offering

    def decide(self, what: str, title: str) -> Deferred[Any]:
        """``what``: accept, refuse, cancel, pause or resume."""
        deciding: Deferred[Any] = getattr(self._api, what)(self.titled(title).fid)
        return deciding

    async def texts(self, peer: bytes) -> list[tuple[bool, str, str]]:
        """All messages of one conversation in their order: whether it is ours, its body, its state."""
        found: list[tuple[bool, str, str]] = []
        after, more = 0, True
        while more:
            page = await self._api.history(chat_with(peer), None, PAGE_ROWS, after)
            texts = [row for row in page.messages if row.kind is MessageKind.TEXT]
            found += [(row.mine, str(row.body), row.state.value) for row in texts]
            after, more = page.messages[-1].n if page.messages else after, page.more
        return found


class Commanded:
    """Does what stands on a line, and notes what came of it."""

    def __init__(self, reactor: Any, note: Callable[..., None], api: Any, clock: Clock) -> None:
        self._reactor, self._note, self._clock = reactor, note, clock
        self._seen: dict[bytes, tuple[str, str, bool]] = {}
        self._answers: dict[str, tuple[str, float]] = {}  # by title: what, and after how many seconds
        self._hands = Hands(api, self._heard) if api is not None else None

    def _heard(self, event: Event) -> None:
        assert self._hands is not None
        if isinstance(event, MessageAdded) and not event.message.mine:
            self._note("heard", body=str(event.message.body), by=self._hands.name_of(event.message.sender))
        elif isinstance(event, MessageChanged):
            self._note("row", n=event.n, state=event.state.value)
        elif isinstance(event, RegistryChanged):
            self._note("registry", phase=event.registry.phase.value, code=event.registry.code)
        elif isinstance(event, TransferChanged):
            self._transfer(event.transfer)

    def _transfer(self, transfer: Transfer) -> None:
        now = (transfer.state.value, transfer.code, transfer.paused_here)
        if self._seen.get(transfer.fid) != now:
            self._seen[transfer.fid] = now
            self._note("transfer", title=str(transfer.title), state=now[0], code=now[1], paused_here=now[2])
        if transfer.state is TransferState.OFFERED and not transfer.outgoing and transfer.title in self._answers:
            what, seconds = self._answers.pop(str(transfer.title))
            self._reactor.callLater(seconds, self.do, {"do": what, "title": str(transfer.title)})

    def do(self, command: dict[str, Any]) -> None:
        """Obey; whatever comes of it is noted."""
        try:
            self._obey(command)
        except LookupError as error:
            self._note("failed", **command, why=str(error))

    def _obey(self, command: dict[str, Any]) -> None:
        what = command["do"]
        if what == "clock":
            self._clock.step(command["seconds"])
            self._note("clock", **command)
            return
        assert self._hands is not None
        if what == "say":
            body = f"number {command['number']}{' many words' * command.get('words', 0)}"
            self._later(self._hands.say(command["to"], body), command)
        elif what == "offer":
            self._later(self._hands.offer(command["to"], command["path"]), command)
        elif what == "answer":
            self._answers[command["title"]] = (command["how"], command["after"])
        elif what == "state":
            self._later(Deferred.fromCoroutine(self._state(command["id"])), command)
        else:
            self._later(self._hands.decide(what, command["title"]), command)

    def _later(self, working: Deferred[Any], command: dict[str, Any]) -> None:
        def failed(failure: Failure) -> None:
            self._note("failed", **command, why=failure.getErrorMessage() or failure.type.__name__)

        def done(result: Any) -> None:
            if command["do"] == "say":
                self._note("done", n=result.n, **command)
            elif command["do"] != "state":  # its answer is a line of its own
                self._note("done", **command)

        working.addCallbacks(done, failed)

    async def _state(self, id: int) -> None:
        """Everything that a person could see."""
        hands = self._hands
        assert hands is not None
        rows = {person.name: await hands.texts(person.peer) for person in hands.people()}
        transfers = [
            {
                "title": str(one.title),
                "with": hands.name_of(one.peer),
                "outgoing": one.outgoing,
                "state": one.state.value,
                "code": one.code,
                "paused_here": one.paused_here,
                "saved_to": os.fsdecode(one.saved_to),
            }
            for one in hands.transfers()
        ]
        self._note(
            "state",
            id=id,
            registry=hands.registry.phase.value,
            online=sorted(person.name for person in hands.people() if person.online),
            linked=sorted(person.name for person in hands.people() if person.linked),
            transfers=transfers,
            rows=rows,
        )


class _Lines(LineOnlyReceiver):
    """Standard input."""

    delimiter = b"\n"
    MAX_LENGTH = COMMAND_BYTES

    def __init__(self, commanded: Commanded, stop: Callable[[], None]) -> None:
        self._commanded = commanded
        self._stop = stop

    def lineReceived(self, line: bytes) -> None:
        self._commanded.do(json.loads(line))

    def connectionLost(self, reason: object = None) -> None:
        """The campaign is gone."""
        self._stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=("registry", "peer"))
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--routes", type=Path)
    parser.add_argument("--weather", type=Path)
    parser.add_argument("--weak", choices=WEAKNESSES)
    border = sys.argv.index("--")
    given = parser.parse_args(sys.argv[1:border])
    clock = Clock(0, 0)
    clock.install()

    from twisted.internet import reactor as any_reactor

    from chatnet.host.exits import stop
    from chatnet.programs import peer, registry
    from tests.campaigns.driven import install_weather

    if given.routes:
        install_routes(given.routes)
    if given.weather:
        install_weather(given.weather)
    if given.weak:
        weaken(given.weak)
    reactor: Any = any_reactor
    options: Any = registry.RegistryOptions() if given.program == "registry" else peer.Options()
    options.parseOptions(sys.argv[border + 1 :])
    service: Any = (registry if given.program == "registry" else peer).makeService(options)
    globalLogBeginner.beginLoggingTo([service.log], discardBuffer=True, redirectStandardIO=False)
    ledger = os.open(given.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(what: str, **facts: Any) -> None:
        os.write(ledger, json.dumps({"what": what, "at": round(reactor.seconds(), 2), **facts}).encode() + b"\n")

    commanded = Commanded(reactor, note, service.peer if given.program == "peer" else None, clock)
    StandardIO(_Lines(commanded, lambda: stop(reactor)))
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    service.startService()
    note("begins", pid=os.getpid())
    reactor.run()


if __name__ == "__main__":
    main()
