"""What a long history costs: starting, scrolling back, finding, and storing more.

    start      twistd -n chatpeer on a terminal, from the start of the process to the name in the drawn
               header, with --messages messages stored and with none, in turn
    scroll     pages of 100 rows backwards through the longest conversation, as the console asks for them
    search     the first page of what rare and frequent words, beginnings, phrases, signs and
               combinations find, with each query's worst in milliseconds
    store      arriving messages a second, with the index of words and without, in turn

The rows are written directly into a database of the real schema; what is measured asks the real
PeerService and PeerStore.  The words have the frequencies of a language (Zipf), 50,000 of them.

The result is one line of JSON on standard output; how it goes is told on standard error.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import itertools
import os
import pty
import random
import select
import signal
import sqlite3
import struct
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support import (
    Failed,
    Sample,
    environment,
    free_port,
    in_turn,
    parser,
    ratios,
    report,
    spread,
    summary,
    workplace,
)
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from chatnet.core.events import Event, TabsRestored
from chatnet.core.identity import PeerID, conversation_of
from chatnet.core.limits import INDEX_ROWS, PeerLimits
from chatnet.core.messages import Say
from chatnet.host.database import Database
from chatnet.host.options import LogChoice
from chatnet.host.paths import Roots
from chatnet.net.identity import load_or_make_identity
from chatnet.peer.directory.registry_address import RegistryAddress
from chatnet.peer.options import PeerSettings
from chatnet.peer.service import PeerService
from chatnet.peer.store.messages import MessageRows
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.schema import MIGRATIONS
from chatnet.peer.store.search_index import SearchIndex

DAY_MS = 86_400_000
WORDS = 50_000
OUTSTANDING = 256  # arriving messages on their way to the disk at once
START_SECONDS = 60.0


class Language:
    """Words by rank, the most frequent first, and texts made of them."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        lengths = [1 + min(9, rank.bit_length() // 2 + 1) for rank in range(WORDS)]
        made = ("".join(self._chance.choices(letters, k=length)) for length in lengths)
        self.words = list(dict.fromkeys(made))
        self._shares = list(itertools.accumulate(1 / rank for rank in range(1, len(self.words) + 1)))

    def text(self) -> str:
        return " ".join(self._chance.choices(self.words, cum_weights=self._shares, k=self._chance.randint(2, 16)))


def roots(place: Path) -> Roots:
    return Roots(place / "config.toml", place / "data", place / "state", place / "downloads")


def fill(place: Path, name: str, messages: int, people: int, seed: int) -> tuple[list[PeerID], Language]:
    """A profile with a history: who is in it, the one with the longest conversation first."""
    places = roots(place).of(name)
    places.prepare()
    me = load_or_make_identity(places.data).peer_id
    language, chance = Language(seed), random.Random(seed)
    peers = [PeerID(hashlib.sha256(f"{seed} {n}".encode()).digest()) for n in range(people)]
    talks = [conversation_of(me, peer) for peer in peers]
    now = round(time.time() * 1000)
    connection = sqlite3.connect(places.database, isolation_level=None)
    os.chmod(places.database, 0o600)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")
    for number, script in enumerate(MIGRATIONS, 1):
        connection.executescript(f"BEGIN;\n{script};\nPRAGMA user_version = {number};\nCOMMIT;")
    shares = list(itertools.accumulate(1 / (rank + 1) for rank in range(people)))

    def rows() -> Iterator[tuple[Any, ...]]:
        for n in range(messages):
            (who,) = chance.choices(range(people), cum_weights=shares)
            sender, state = (me, "delivered") if n % 3 == 0 else (peers[who], "received")
            at = now - (messages - n) * 30_000  # a million is a year
            body = language.text() + (" 👋" if n % 1000 == 0 else "")
            yield talks[who], peers[who], sender, chance.randbytes(16), "text", at, at, body, state

    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO history (conversation, chat, sender, id, kind, sent_ms, stored_ms, body, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows(),
    )
    connection.execute(
        "INSERT INTO conversation (conversation, chat, name, read_n, last_ms)"
        " SELECT conversation, chat, 'p' || row_number() OVER (), max(n), max(stored_ms) FROM history"
        " GROUP BY conversation"
    )
    connection.execute("INSERT INTO tab (chat, place, draft) VALUES (?, 0, 'half a thought')", (peers[0],))
    connection.execute("COMMIT")
    connection.close()
    return peers, language


# --- through the peer's door ----------------------------------------------------------------------


class TurnBudget:
    """The longest that the reactor did not turn."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._last = time.monotonic()
        self.longest_ms = 0.0
        self._timer = reactor.callLater(0, self._turn)

    def _turn(self) -> None:
        now = time.monotonic()
        self.longest_ms = max(self.longest_ms, (now - self._last) * 1000 - 1)
        self._last = now
        self._timer = self._reactor.callLater(0.001, self._turn)

    def stop(self) -> float:
        self._timer.cancel()
        return self.longest_ms


async def ask(reactor: Any, place: Path, name: str, peers: list[PeerID], language: Language, options: Any) -> Any:
    """What scrolling and searching take through the door of a PeerService."""
    settings = PeerSettings(
        listen=("tcp:0:interface=127.0.0.1",),
        roots=roots(place),
        log=LogChoice(),
        daemon=False,
        warnings=(),
        name=name,
        registry=RegistryAddress("127.0.0.1", free_port()),
        headless=True,
        ascii=False,
        limits=PeerLimits(),
    )
    service = PeerService(reactor, settings, None, console=True)
    restored: Deferred[None] = Deferred()

    def heard(event: Event) -> None:
        if isinstance(event, TabsRestored):
            restored.callback(None)

    service.subscribe(heard)
    service.startService()
    await restored
    began = time.monotonic()
    await service.search("index")  # waits for the whole index: what an update from the first step costs once
    indexed = time.monotonic() - began
    print(f"  indexed in {indexed:.1f} s", file=sys.stderr, flush=True)
    scroll, scroll_turn = await scrolled(reactor, service, peers[0], options.pages)
    search, search_turn = await searched(reactor, service, peers, language, options.rounds)
    await service.stopService()
    return {
        "index_once_s": round(indexed, 2),
        "scroll": {"runs": {"a page of 100": {"ms": scroll}}, "pages": options.pages},
        "search": {"runs": search},
        "search_worst_ms": max(found["ms"]["max"] for found in search.values()),
        "longest_turn_scroll_ms": round(scroll_turn, 2),
        "longest_turn_search_ms": round(search_turn, 2),
    }


async def scrolled(reactor: Any, service: PeerService, peer: PeerID, pages: int) -> tuple[dict[str, float], float]:
    turns, times, before = TurnBudget(reactor), [], None
    for _ in range(pages):
        began = time.monotonic()
        page = await service.history(peer, before, 100)
        times.append((time.monotonic() - began) * 1000)
        before = page.messages[0].n
        await deferLater(reactor, 0)
        if not page.more:
            break
    return spread(times), turns.stop()


async def searched(
    reactor: Any, service: PeerService, peers: list[PeerID], language: Language, rounds: int
) -> tuple[dict[str, dict[str, dict[str, float]]], float]:
    words, last = language.words, peers[-1]
    month = round(time.time() * 1000) - 30 * DAY_MS
    queries: dict[str, dict[str, Any]] = {
        "the most frequent word": {"text": f"{words[0]} "},
        "a rare word": {"text": f"{words[-50]} "},
        "no such word": {"text": "nosuchwordanywhere"},
        "a beginning": {"text": words[5000][:3]},
        "a frequent beginning": {"text": words[200][:3]},
        "two frequent words": {"text": f"{words[0]} {words[1]} "},
        "frequent and rare": {"text": f"{words[0]} {words[-50]} "},
        "a phrase": {"text": f'"{words[0]} {words[1]}"'},
        "frequent, the smallest conversation": {"text": f"{words[0]} ", "chat": last},
        "frequent, from one": {"text": f"{words[0]} ", "sender": last},
        "frequent, this month": {"text": f"{words[0]} ", "since_ms": month},
        "rare, this month": {"text": f"{words[-50]} ", "since_ms": month},
        "a sign": {"text": "👋"},
        "no such sign": {"text": "🦑"},
    }
    turns, found = TurnBudget(reactor), {}
    for name, query in queries.items():
        times, hits = [], 0
        for _ in range(max(5, rounds)):
            began = time.monotonic()
            page = await service.search(**query)
            times.append((time.monotonic() - began) * 1000)
            hits = len(page.messages)
            await deferLater(reactor, 0)
        found[name] = {"ms": spread(times), "found on the first page": spread([hits])}
        print(f"  search {name:36} {found[name]}", file=sys.stderr, flush=True)
    return found, turns.stop()


# --- storing --------------------------------------------------------------------------------------


class _Unindexed(PeerStore):
    """The control: no word is looked up."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.messages = MessageRows(database, _NoIndex(database))


class _NoIndex(SearchIndex):
    def count_unindexed(self, rows: int) -> None: ...


async def stored(reactor: Any, path: Path, kind: type[PeerStore], language: Language, messages: int) -> float:
    """Arriving messages a second."""
    database = Database(path, MIGRATIONS, reactor)
    await database.open()
    store, chance = kind(database), random.Random(path.name)
    bodies = [language.text() for _ in range(5_000)]
    peer, talk = PeerID(b"p" * 32), b"t" * 32
    began = time.monotonic()
    for start in range(0, messages, OUTSTANDING):
        await gatherResults(
            [
                store.messages.add_incoming(peer, [Say(talk, chance.randbytes(16), n, bodies[n % 5_000])], n)
                for n in range(start, min(start + OUTSTANDING, messages))
            ]
        )
    seconds = time.monotonic() - began
    await database.close()
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{path}{suffix}")
    return messages / seconds


async def storing(reactor: Any, place: Path, language: Language, options: argparse.Namespace) -> dict[str, Any]:
    rates: dict[str, list[Sample]] = {"with index": [], "without": []}
    for number in range(options.rounds + 1):
        for name, kind in (("with index", PeerStore), ("without", _Unindexed)):
            rate = await stored(reactor, place / "rate.db", kind, language, options.stored)
            print(f"  store {name:11} {rate:8.0f} messages/s", file=sys.stderr, flush=True)
            if number:
                rates[name].append({"messages_per_second": rate, "seconds": options.stored / rate})
    return {"runs": summary(rates), "times_faster": ratios(rates, "with index")}


# --- the real program on a terminal -----------------------------------------------------------------


def start(place: Path, name: str) -> Sample:
    """From the start of the process until the header names us."""
    command = [sys.executable, str(Path(sys.executable).parent / "twistd"), "-n", "chatpeer", "--name", name]
    command += ["--registry", f"tcp:127.0.0.1:{free_port()}", "--listen", "tcp:0:interface=127.0.0.1"]
    began = time.monotonic()
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        os.chdir(place)
        os.execvpe(command[0], command, {**environment(place), "TERM": "xterm-256color", "LANG": "C.UTF-8"})
    screen, seconds = b"", 0.0
    try:
        while f"chatnet  {name}".encode() not in screen:
            ready, _, _ = select.select([terminal], [], [], START_SECONDS)
            if not ready or time.monotonic() - began > START_SECONDS:
                raise Failed(f"no screen: {screen[-2000:]!r}")
            screen += os.read(terminal, 65_536)
        seconds = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(OSError):
            while os.read(terminal, 65_536):
                pass
        os.waitpid(pid, 0)
        os.close(terminal)
    return {"seconds": seconds}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--messages", type=int, default=1_000_000, help="in the history (default: 1000000)")
    made.add_argument("--people", type=int, default=50, help="in conversations of Zipf's sizes (default: 50)")
    made.add_argument("--pages", type=int, default=1_000, help="of 100 rows scrolled back (default: 1000)")
    made.add_argument("--stored", type=int, default=20_000, help="messages that arrive in a run (default: 20000)")
    made.add_argument("--seed", type=int, default=1)
    options = made.parse_args()
    with workplace(options) as place:
        measure(options, place)


def measure(options: argparse.Namespace, place: Path) -> None:
    began = time.monotonic()
    peers, language = fill(place, "many", options.messages, options.people, options.seed)
    print(f"  filled in {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)

    from twisted.internet import reactor

    results: dict[str, Any] = {}

    async def asked() -> None:
        try:
            results.update(await ask(reactor, place, "many", peers, language, options))
            results["store"] = await storing(reactor, place, language, options)
        finally:
            reactor.stop()  # type: ignore[attr-defined]

    failures: list[Any] = []
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(asked()).addErrback(failures.append))  # type: ignore[attr-defined]
    reactor.run()  # type: ignore[attr-defined]
    for failure in failures:
        failure.raiseException()
    size = roots(place).of("many").database.stat().st_size
    samples, _ = in_turn(options.rounds, {"none": lambda: start(place, "none"), "many": lambda: start(place, "many")})
    report(
        "history",
        place,
        options.rounds,
        messages=options.messages,
        people=options.people,
        seed=options.seed,
        database_mb=round(size / 1e6),
        index_rows=INDEX_ROWS,
        sync="SQLite WAL synchronous=FULL, but for filling",
        limits_changed=[],
        start={"runs": summary(samples), "times_faster": ratios(samples, "many")},
        **results,
    )


if __name__ == "__main__":
    main()
