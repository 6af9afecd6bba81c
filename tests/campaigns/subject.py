"""A whole registry or headless peer that a campaign attacks, as a process of its own.

    python -m tests.campaigns.subject PROGRAM FIGURES [--weak WHAT] [--years N] [--jump SECONDS]
        [--accept] [--restless] [--echo] [--answer KEY] [--console] -- OPTIONS OF THE PROGRAM

Four times a second, and at the end, it writes what it has seen of itself into FIGURES: errors logged,
stalls of its reactor (SIGUSR1 forgets them), lines of its log, and how far strangers came.  Its
weaknesses are the builds in which an attack must succeed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogBeginner, globalLogPublisher
from twisted.python.failure import Failure

from chatnet.core.events import (
    Event,
    MessageAdded,
    RegistryChanged,
    RegistryPhase,
    RequestsChanged,
    TransferChanged,
    TransferState,
)
from chatnet.core.identity import peer_id_of
from chatnet.core.session import Effect
from chatnet.host.logging import ProgramLog
from chatnet.net import link as links
from tests.campaigns.harness import StallWatch

START_SECONDS = 3  # in which nothing is a stall: on a busy machine a start takes so long
TELL_SECONDS = 0.25
YEAR_SECONDS = 365.25 * 86_400
WEAKNESSES = (
    "any-handshake",
    "no-deadlines",
    "welcome-before-commit",
    "dial-on-push",
    "timers-by-wall-clock",
    "blocking-write",
)


class Seen:
    """What this process sees of itself."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter({"proven": 0, "asked": 0, "frames": 0, "app_bytes": 0, "lines": 0})
        self.errors: list[str] = []
        self._second, self._lines = 0, 0
        self.lines_worst_second = 0

    def watch(self) -> None:
        globalLogPublisher.addObserver(self._logged)
        ask = links._EFFECTS[Effect.ASK]

        def asked(link: links.Link) -> None:
            self.counts["asked"] += 1
            ask(link)

        links._EFFECTS[Effect.ASK] = asked
        self._count(links.Link, "_on_frame", "frames")
        self._count(links, "proven_peer", "proven", before=False)
        self._count(ProgramLog, "_write", "lines", also=self._line)
        received = links.Link.dataReceived

        def counted(link: links.Link, data: bytes) -> None:
            self.counts["app_bytes"] += len(data)
            received(link, data)

        links.Link.dataReceived = counted  # type: ignore[method-assign]

    def _count(self, owner: Any, name: str, what: str, before: bool = True, also: Any = None) -> None:
        whole = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.counts[what] += before
            if also is not None:
                also()
            result = whole(*args, **kwargs)
            self.counts[what] += not before
            return result

        setattr(owner, name, counted)

    def _line(self) -> None:
        second = int(time.monotonic())
        self._lines = self._lines + 1 if second == self._second else 1
        self._second = second
        self.lines_worst_second = max(self.lines_worst_second, self._lines)

    def _logged(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is None and event.get("log_level") not in (LogLevel.error, LogLevel.critical):
            return
        text = formatEvent(event)
        self.errors.append(f"{text} {failure.getTraceback() if isinstance(failure, Failure) else ''}")


class Clock:
    """The time of day of this process, wrong by ``years``; SIGUSR2 makes it step by ``jump`` seconds."""

    def __init__(self, years: float, jump: float) -> None:
        self._honest = time.time
        self._offset = years * YEAR_SECONDS
        self._jump = jump

    def __call__(self) -> float:
        return self._honest() + self._offset

    def install(self) -> None:
        time.time = self
        ReactorBase.seconds = staticmethod(self)  # it keeps the one that it found when it was imported
        signal.signal(signal.SIGUSR2, lambda *_: self.step(self._jump))

    def step(self, seconds: float) -> None:
        """Set the clock, forth or back."""
        self._offset += seconds


def weaken(what: str) -> None:
    """A build that breaks a promise."""
    if what == "any-handshake":

        def lenient(connection: SSL.Connection, expected: Any, *, dialled: bool) -> Any:
            certificate = connection.get_peer_certificate()
            raw = b"" if certificate is None else certificate.to_cryptography().fingerprint(_sha256())
            return peer_id_of(raw.ljust(32, b"\0")[:32]), raw

        links.proven_peer = lenient  # type: ignore[assignment]
    elif what == "no-deadlines":
        links.Link.beat = lambda *_: None  # type: ignore[method-assign, assignment]
    elif what == "welcome-before-commit":
        from chatnet.registry.store import RegistryStore

        claim = RegistryStore.claim

        def hasty(store: Any, *args: Any) -> Deferred[None]:
            from twisted.internet import reactor

            reactor.callLater(2, claim, store, *args)  # type: ignore[attr-defined]
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done

        RegistryStore.claim = hasty  # type: ignore[method-assign, assignment]
    elif what == "dial-on-push":
        from chatnet.peer.node import Node

        page = Node._page

        def eager(node: Any, pushed: Any) -> None:
            page(node, pushed)
            for entry in pushed.joined:
                node.contacts.link_to(entry.peer).addErrback(lambda _: None)

        Node._page = eager  # type: ignore[method-assign]
    elif what == "blocking-write":
        from chatnet.host.local_output import LocalOutput

        def patient(output: LocalOutput, data: bytes) -> int:
            os.set_blocking(output.fd, True)
            return os.write(output.fd, data) if data else 0

        LocalOutput.write = patient  # type: ignore[method-assign]
    elif what == "timers-by-wall-clock":
        from chatnet.programs import peer, registry

        registry.make_steady = peer.make_steady = lambda _: None


def _sha256() -> Any:
    from cryptography.hazmat.primitives.hashes import SHA256

    return SHA256()


def serve(door: Any, accept: bool, restless: bool, echo: bool, answer: bytes) -> None:
    """What a person would do at the peer's door; the key ``answer`` is answered, and known from then on."""

    def heard(event: Event) -> None:
        if accept and isinstance(event, RequestsChanged):
            for request in event.requests:
                door.accept_request(request.peer).addErrback(lambda _: None)
        elif accept and isinstance(event, TransferChanged):
            transfer = event.transfer
            if transfer.state is TransferState.OFFERED and not transfer.outgoing:
                door.accept(transfer.fid).addErrback(lambda _: None)
        elif restless and isinstance(event, RegistryChanged) and event.registry.phase is not RegistryPhase.UP:
            door.reconnect().addErrback(lambda _: None)
        elif isinstance(event, MessageAdded) and (echo or event.message.sender == answer) and not event.message.mine:
            door.say(event.message.chat, event.message.body).addErrback(lambda _: None)

    door.subscribe(heard)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=("registry", "peer"))
    parser.add_argument("figures", type=Path)
    parser.add_argument("--weak", choices=("", *WEAKNESSES), default="")
    parser.add_argument("--years", type=float, default=0)
    parser.add_argument("--jump", type=float, default=0)
    for flag in ("accept", "restless", "echo", "console"):
        parser.add_argument(f"--{flag}", action="store_true")
    parser.add_argument("--answer", type=bytes.fromhex, default=b"")
    border = sys.argv.index("--")
    given = parser.parse_args(sys.argv[1:border])
    if given.years or given.jump:
        Clock(given.years, given.jump).install()
    if given.weak:
        weaken(given.weak)
    seen = Seen()
    seen.watch()

    from twisted.internet import reactor as any_reactor

    from chatnet.programs import peer, registry

    reactor: Any = any_reactor
    options: Any = registry.RegistryOptions() if given.program == "registry" else peer.Options()
    options.parent = {"nodaemon": True} if given.console else None  # as twistd -n: in a terminal with the console
    options.parseOptions(sys.argv[border + 1 :])
    service: Any = (registry if given.program == "registry" else peer).makeService(options)
    observers = [service.log] if service.log is not None else []
    globalLogBeginner.beginLoggingTo(observers, discardBuffer=True, redirectStandardIO=False)
    stalls = StallWatch(reactor)
    signal.signal(signal.SIGUSR1, lambda *_: stalls.forget())

    def tell(again: bool = True) -> None:
        figures = dict(seen.counts) | {
            "errors": len(seen.errors),
            "first_error": seen.errors[0][:2000] if seen.errors else "",
            "open": given.program == "registry" or service.peer._node is not None,
            "stall_ms": round(stalls.worst_ms, 1),
            "stall_own_ms": round(stalls.worst_own_ms, 1),
            "lines_worst_second": seen.lines_worst_second,
        }
        unfinished = given.figures.with_suffix(".new")
        unfinished.write_text(json.dumps(figures))
        os.replace(unfinished, given.figures)
        if again:
            reactor.callLater(TELL_SECONDS, tell)

    if given.program == "peer":
        serve(service.peer, given.accept, given.restless, given.echo, given.answer)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.addSystemEventTrigger("after", "shutdown", tell, again=False)
    service.startService()
    reactor.callWhenRunning(tell)
    reactor.callLater(START_SECONDS, stalls.start)
    reactor.run()


if __name__ == "__main__":
    main()
