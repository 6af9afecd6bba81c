"""How soon a message is there, how many go in a second, and how soon a key is drawn.

    latency    one message after another, from typing to *delivered*: stored on both disks and
               acknowledged.  The limit beside it: commits in SQLite, one here and then one there,
               in one process and without any network
    flood      --messages messages one way, at most --window of them typed and not delivered.  The limit:
               the same rows in commits of 64, one file after the other
    keys       a key in the console until its screen is drawn, urwid's own wait included, with --people in
               the list and --history messages in the conversation, on a screen in memory of --columns
               by --rows: writing a line, reading back in the conversation, walking through the list

Latency and flood are two real headless peers and a registry, over mutual TLS 1.3, with the limits on
the rate of messages changed (the line says how): a benchmark is quicker than people are.

The result is one line of JSON on standard output; how it goes is told on standard error.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urwid
from support import (
    Contestant,
    Peer,
    Sample,
    costs,
    in_turn,
    parser,
    quantile,
    ratios,
    report,
    summary,
    two_peers,
    workplace,
)
from twisted.internet.defer import Deferred, succeed
from twisted.internet.testing import MemoryReactorClock

from chatnet.console.app import Console
from chatnet.core.events import (
    ChatMessage,
    Event,
    HistoryPage,
    Me,
    MessageKind,
    MessageState,
    Person,
    RegistryPhase,
    RegistryState,
    Snapshot,
)
from chatnet.core.identity import ChatID, chat_with
from chatnet.core.limits import GROUP_COMMIT_ROWS
from chatnet.core.text import SafeText
from chatnet.host.gc_tuning import freeze_long_lived

LIMITS = (
    "messages_per_second=1000000",
    "messages_burst=1000000",
    "stranger_messages_per_second=1000000",
    "stranger_messages_burst=1000000",
)
CLOCK_STEP = 1 / 1024
BODY = "A message of ordinary length, as people write them: not one word, and not a whole page."


def in_ms(seconds: list[float]) -> Sample:
    values = [1000 * one for one in seconds]
    return {
        "p50_ms": quantile(values, 0.5),
        "p99_ms": quantile(values, 0.99),
        "worst_ms": max(values),
        "seconds": sum(seconds),
    }


# --- between two peers ------------------------------------------------------------------------------


def latency(anna: Peer, bert: Peer, count: int) -> Sample:
    sample: Sample = {}
    with costs(sample, sender=anna.pid, receiver=bert.pid):
        answer = anna.do("latency", to="bert", count=count, every=0)
    return in_ms(answer["seconds"]) | sample


def flood(anna: Peer, bert: Peer, count: int, window: int) -> Sample:
    sample: Sample = {}
    with costs(sample, sender=anna.pid, receiver=bert.pid):
        seconds = anna.do("flood", to="bert", count=count, window=window)["seconds"]
    return {"seconds": seconds, "messages_per_s": count / seconds} | sample


class TwoFiles:
    """The limit: what has to be committed, with nothing around it."""

    def __init__(self, place: Path) -> None:
        place.mkdir()
        self._files = [sqlite3.connect(place / name, isolation_level=None) for name in ("here", "there")]
        for file in self._files:
            file.executescript(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                "CREATE TABLE history(n INTEGER PRIMARY KEY, conversation, sender, id, body,"
                " UNIQUE(conversation, sender, id))"
            )

    def latency(self, count: int) -> Sample:
        return in_ms([self._commit(1) for _ in range(count)])

    def flood(self, count: int) -> Sample:
        groups = -(-count // GROUP_COMMIT_ROWS)
        seconds = sum(self._commit(GROUP_COMMIT_ROWS) for _ in range(groups))
        return {"seconds": seconds, "messages_per_s": groups * GROUP_COMMIT_ROWS / seconds}

    def _commit(self, rows: int) -> float:
        """Seconds for a commit of so many rows here, then one there."""
        values = [(bytes(32), bytes(32), os.urandom(16), BODY) for _ in range(rows)]
        began = time.perf_counter()
        for file in self._files:
            file.execute("BEGIN IMMEDIATE")
            file.executemany("INSERT INTO history(conversation, sender, id, body) VALUES (?, ?, ?, ?)", values)
            file.execute("COMMIT")
        return time.perf_counter() - began


# --- in the console -----------------------------------------------------------------------------------


def key_of(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


class CrowdedPeer:
    """As much of ``PeerApi`` as keys that are typed into a console ask for: everybody, and a long conversation."""

    def __init__(self, people: int, history: int, now_ms: int) -> None:
        self.friend = key_of("guest00000")
        self._history = history
        self._now_ms = now_ms
        nothing = SafeText("")
        self._me = key_of("carol")
        me = Me(self._me, "carol", "0", False, b"/tmp", b"/tmp", ("127.0.0.1:1",), b"/tmp/log")
        up = RegistryState(RegistryPhase.UP, "192.0.2.1:9900", bytes(32), now_ms, None, nothing, "", people, False)
        crowd = tuple(self._person(f"guest{number:05d}", now_ms) for number in range(people))
        self.snapshot = Snapshot(me, up, crowd, (), ())

    def _person(self, name: str, now_ms: int) -> Person:
        return Person(
            peer=key_of(name),
            name=name,
            online=True,
            linked=False,
            address="192.0.2.20:34194",
            rtt_ms=None,
            last_seen_ms=now_ms,
            unread=0,
            waiting=0,
            new_key=None,
            known_since_ms=now_ms,
        )

    def subscribe(self, listener: Callable[[Event], None]) -> CrowdedPeer:
        return self

    def cancel(self) -> None:
        """Nobody is told anything anyway."""

    def history(
        self, chat: ChatID, before: int | None = None, limit: int = 100, after: int | None = None
    ) -> Deferred[HistoryPage]:
        """Made when they are asked for, as the store does: what is not shown is not in memory."""
        assert after is None, "nothing here jumps back and comes forward again"
        end = 0 if chat != self.friend else self._history if before is None else before - 1
        first = max(0, end - limit)
        rows = tuple(self._row(n) for n in range(first + 1, end + 1))
        return succeed(HistoryPage(rows, first > 0, self._history))

    def _row(self, n: int) -> ChatMessage:
        mine, at_ms = n % 3 == 0, self._now_ms - (self._history - n) * 10_000
        return ChatMessage(
            n=n,
            chat=chat_with(self.friend),
            sender=self._me if mine else self.friend,
            kind=MessageKind.TEXT,
            id=n.to_bytes(16, "big"),
            mine=mine,
            sent_ms=at_ms,
            stored_ms=at_ms,
            body=SafeText(f"{n}: {BODY if n % 4 else BODY * 4}"),
            state=MessageState.DELIVERED if mine else MessageState.RECEIVED,
            reason=SafeText(""),
        )

    def mark_read(self, chat: ChatID, n: int) -> Deferred[None]:
        return succeed(None)

    def connect(self, peer: bytes) -> Deferred[None]:
        return succeed(None)

    def set_tabs(self, open: tuple[bytes, ...]) -> Deferred[None]:
        return succeed(None)

    def set_draft(self, peer: bytes, draft: str) -> Deferred[None]:
        return succeed(None)


class MemoryScreen(urwid.display.common.BaseScreen):
    """Takes every row of what is drawn, as a terminal does, and shows it to nobody."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.feed: Callable[[list[str]], object] | None = None
        self.drawn = 0
        self.rows: list[bytes] = []
        self._size = size

    def get_cols_rows(self) -> tuple[int, int]:
        return self._size

    def draw_screen(self, size: tuple[int, int], canvas: urwid.Canvas) -> None:
        self.rows = [b"".join(text for _, _, text in row) for row in canvas.content()]
        self.drawn += 1

    def hook_event_loop(self, event_loop: Any, callback: Callable[[list[str], list[int]], object]) -> None:
        # Through the loop, as input comes from a terminal: urwid draws after it.
        self.feed = lambda keys: event_loop.alarm(0, lambda: callback(keys, []))

    def unhook_event_loop(self, event_loop: object) -> None:
        self.feed = None

    def clear(self) -> None:
        """Nothing is remembered."""

    def set_mouse_tracking(self, enable: bool = True) -> None:
        """There is no mouse."""

    def set_title(self, title: str) -> None:
        """There is no title."""


class Typist:
    """A console with all that, and somebody who types into it."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._clock = MemoryReactorClock()
        self._clock.rightNow = time.time()
        peer: Any = CrowdedPeer(options.people, options.history, int(self._clock.rightNow * 1000))
        self._screen = MemoryScreen((options.columns, options.rows))
        self._console = Console(peer, self._clock, screen=self._screen)
        self._console.startService()
        for call, arguments, named in self._clock.whenRunningHooks:
            call(*arguments, **named)
        self._clock.pump([0.02] * 10)
        self.press(*"/msg guest00000", "enter")

    def press(self, *keys: str) -> list[float]:
        """Seconds from each key to its screen."""
        return [self._press(key) for key in keys]

    def _press(self, key: str) -> float:
        """With the time for which urwid waits between a key and its drawing, though nobody waits here."""
        before, clock = self._screen.drawn, self._clock
        assert self._screen.feed is not None
        began, waited = time.perf_counter(), clock.seconds()
        self._screen.feed([key])
        while self._screen.drawn == before:
            clock.advance(CLOCK_STEP)
        seconds = time.perf_counter() - began + clock.seconds() - waited
        clock.pump([0.01] * 4)  # what it caused besides happens before the next key
        return seconds

    def shows(self, text: str) -> bool:
        return any(text.encode() in row for row in self._screen.rows)

    def close(self) -> None:
        self._console.stopService()


def keys(options: argparse.Namespace) -> dict[str, Contestant]:
    """The kinds of keys, each of which leaves the screen as it was."""
    freeze_long_lived()  # as the program does
    typist = Typist(options)
    if not typist.shows(f"{options.history}: A message"):
        raise RuntimeError("the conversation is not on the screen")

    def writing() -> Sample:
        text = "what is written here is as long as a line "
        seconds = typist.press(*(text * 5))
        return in_ms(seconds + typist.press(*["backspace"] * 5 * len(text)))

    def reading() -> Sample:
        """Far enough that older rows are asked for."""
        up = typist.press(*["page up"] * 100)
        return in_ms(up + typist.press(*["page down"] * 110))

    def walking() -> Sample:
        """Through the list of people, and a filter that finds a few of them."""
        typist.press("meta p")
        seconds = typist.press(*["down"] * 200, *["up"] * 200)
        seconds += typist.press("/", *"0123", *["backspace"] * 4, "esc")
        typist.press("esc")
        return in_ms(seconds)

    return {"writing": writing, "reading": reading, "walking": walking}


# --- all of it --------------------------------------------------------------------------------------


def measure(options: argparse.Namespace, place: Path) -> None:
    results: dict[str, object] = {}
    if {"latency", "flood"} & set(options.parts):
        limit = TwoFiles(place / "limit")
        with two_peers(place, LIMITS) as (anna, bert):
            parts: dict[str, dict[str, Contestant]] = {
                "latency": {
                    "ours": lambda: latency(anna, bert, options.singles),
                    "limit": lambda: limit.latency(options.singles),
                },
                "flood": {
                    "ours": lambda: flood(anna, bert, options.messages, options.window),
                    "limit": lambda: limit.flood(options.messages),
                },
            }
            for part, contestants in parts.items():
                if part in options.parts:
                    samples, _ = in_turn(options.rounds, contestants)
                    results[part] = {"runs": summary(samples), "times_faster": ratios(samples, "ours")}
    if "keys" in options.parts:
        samples, _ = in_turn(options.rounds, keys(options))
        results["keys"] = summary(samples)
    report(
        "messages",
        place,
        options.rounds,
        messages=options.messages,
        window=options.window,
        people=options.people,
        history=options.history,
        screen=[options.columns, options.rows],
        sync="SQLite WAL synchronous=FULL, on both sides and in the limit",
        limits_changed=list(LIMITS),
        **results,
    )


def main() -> None:
    made = parser(__doc__)
    parts = ("latency", "flood", "keys")
    made.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    made.add_argument("--singles", type=int, default=500, help="messages whose latency is taken (default: 500)")
    made.add_argument("--messages", type=int, default=20_000, help="in one flood (default: 20000)")
    made.add_argument("--window", type=int, default=512, help="of them under way at once (default: 512)")
    made.add_argument("--people", type=int, default=10_000, help="in the list (default: 10000)")
    made.add_argument("--history", type=int, default=100_000, help="messages in the conversation (default: 100000)")
    made.add_argument("--columns", type=int, default=120)
    made.add_argument("--rows", type=int, default=40)
    options = made.parse_args()
    with workplace(options) as place:
        measure(options, place)


if __name__ == "__main__":
    main()
