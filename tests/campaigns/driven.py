"""A headless peer that a campaign drives and kills, as a process of its own.

    python -m tests.campaigns.driven ROLE LEDGER [--fault POINT:COUNT] [--weak WHAT] [--weather FILE]
        -- CHATPEER OPTIONS

It writes what it was told by the door, one line a write, into LEDGER: what stands there happened
before the kill.  ROLE ``talker`` numbers its messages and says them to everybody it sees; ``hearer``
only listens.  A fault point ends the process, without any clean-up, at its COUNT-th passing.
FILE says what is wrong with the disk now: nothing, or one of WEATHERS.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chatnet.core.errors import ChatnetError
from chatnet.core.events import Event, MessageAdded, MessageChanged, MessageState, PeopleChanged, StoreChanged
from chatnet.core.messages import Ack, Say
from chatnet.host import database
from chatnet.net.link import Link
from chatnet.peer.messages.inbox import Inbox
from chatnet.peer.messages.outbox import Outbox
from chatnet.peer.store.messages import MessageRows

OUTSTANDING = 100  # messages that a talker lets wait
GAP_SECONDS = 0.002
HASTE_SECONDS = 0.02  # of the weakened hearer, between its ack and its store

FAULTS = (
    "commit-before",
    "commit-after",
    "send-say-before",
    "send-say-after",
    "send-ack-before",
    "send-ack-after",
    "take-before",
    "take-after",
    "acknowledged-before",
    "acknowledged-after",
    "delivered-before",
    "delivered-after",
)
WEAKNESSES = ("ack-before-commit",)
WEATHERS = ("full", "read-only", "io-error")
CLEAR = ("PRAGMA max_page_count = 1000000000", "PRAGMA query_only = OFF")


def install_fault(point: str, count: int) -> None:
    """End the process at the ``count``-th passing of ``point``."""
    left = [count]

    def pass_by() -> None:
        left[0] -= 1
        if left[0] <= 0:
            os._exit(77)

    def around(owner: Any, name: str, matches: Callable[..., bool] = lambda *_: True) -> None:
        whole = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if point.endswith("-before") and matches(*args):
                pass_by()
            result = whole(*args, **kwargs)
            if point.endswith("-after") and matches(*args):
                pass_by()
            return result

        setattr(owner, name, wrapped)

    if point.startswith("commit"):
        around(database, "_commit")
    elif point.startswith("send-say"):
        around(Link, "send_frames")  # only messages go so
    elif point.startswith("send-ack"):
        around(Link, "send", lambda link, message: isinstance(message, Ack))
    elif point.startswith("take"):
        around(Inbox, "say")
    elif point.startswith("acknowledged"):
        around(Outbox, "ack")
    elif point.startswith("delivered"):
        around(MessageRows, "delivered")


def weaken(what: str) -> None:
    """The control: a build that breaks the promise."""
    if what == "ack-before-commit":
        honest = Inbox.say

        def hasty(self: Inbox, link: Link, say: Say) -> None:
            link.send(Ack([say.id]))
            self._clock.callLater(HASTE_SECONDS, honest, self, link, say)

        Inbox.say = hasty  # type: ignore[method-assign]


class _Unwritable:
    """A connection whose commits end as on a broken disk."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, sql: str, *values: Any) -> Any:
        if sql == "COMMIT":
            self._connection.execute("ROLLBACK")
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
            raise error
        return self._connection.execute(sql, *values)


def install_weather(path: Path) -> None:
    """Before every commit the database is told what ``path`` says."""
    honest = database._commit
    sky = os.open(path, os.O_RDONLY)  # for good: there may be no descriptor left

    def commit(connection: Any, batch: Any) -> None:
        found = os.pread(sky, 100, 0).decode().strip()
        for pragma in CLEAR:
            connection.execute(pragma).fetchall()
        if found == "full":
            connection.execute("PRAGMA max_page_count = 1").fetchall()  # SQLite makes it what there is
        elif found == "read-only":
            connection.execute("PRAGMA query_only = ON")
        honest(_Unwritable(connection) if found == "io-error" else connection, batch)

    database._commit = commit


class Talker:
    """Says numbers to the first person it sees, a few milliseconds apart."""

    def __init__(self, reactor: Any, door: Any, ledger: int, first: int) -> None:
        self._reactor, self._door, self._ledger = reactor, door, ledger
        self._next = first
        self._open: set[int] = set()
        self._to: bytes | None = None
        door.subscribe(self._heard)

    def _heard(self, event: Event) -> None:
        if isinstance(event, PeopleChanged) and self._to is None and event.people:
            self._to = event.people[0].peer
            self._say()
        elif isinstance(event, MessageChanged) and event.state is MessageState.DELIVERED:
            note(self._ledger, f"delivered-row {event.n}")
            self._open.discard(event.n)

    def _say(self) -> None:
        if len(self._open) < OUTSTANDING:
            number, self._next = self._next, self._next + 1
            note(self._ledger, f"trying {number}")
            self._door.say(self._to, f"number {number}").addCallbacks(
                self._said, self._not_said, (number,), {}, (number,), {}
            )
        self._reactor.callLater(GAP_SECONDS, self._say)

    def _said(self, message: Any, number: int) -> None:
        note(self._ledger, f"said {number} {message.n}")
        self._open.add(message.n)

    def _not_said(self, failure: Any, number: int) -> None:
        note(self._ledger, f"failed {number} {failure.getErrorMessage()}")


def note(ledger: int, line: str) -> None:
    os.write(ledger, line.encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("talker", "hearer", "quiet"))
    parser.add_argument("ledger", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--fault", default="")
    parser.add_argument("--weak", choices=WEAKNESSES)
    parser.add_argument("--weather", type=Path)
    border = sys.argv.index("--")
    given = parser.parse_args(sys.argv[1:border])
    if given.fault:
        point, _, count = given.fault.partition(":")
        install_fault(point, int(count))
    if given.weak:
        weaken(given.weak)
    if given.weather:
        install_weather(given.weather)

    from twisted.internet import reactor as any_reactor

    from chatnet.programs.peer import Options, makeService

    reactor: Any = any_reactor
    options = Options()
    options.parseOptions(sys.argv[border + 1 :])
    service: Any = makeService(options)
    ledger = os.open(given.ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    accepted: set[bytes] = set()

    def heard(event: Event) -> None:
        if isinstance(event, MessageAdded) and not event.message.mine:
            note(ledger, f"heard {event.message.body}")
            if event.message.chat not in accepted:  # of a stranger less would be taken, and nothing on a full disk
                accepted.add(event.message.chat)
                service.peer.accept_request(event.message.chat).addErrback(lambda failure: failure.trap(ChatnetError))
        elif isinstance(event, StoreChanged):
            note(ledger, "store works" if event.ok else f"store fails: {event.text}")

    service.peer.subscribe(heard)
    if given.role == "talker":
        Talker(reactor, service.peer, ledger, given.first)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    service.startService()
    reactor.run()


if __name__ == "__main__":
    main()
