"""Where attacks take place: real programs as processes, foes and honest guests in this one's reactor."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from chatnet.core.framing import Framer
from chatnet.core.limits import MAX_FRAME
from chatnet.net.tls import TLS
from tests.campaigns.harness import Figures, check, memory_kb
from tests.support.links import new_identity

LISTEN = "tcp:{port}:backlog=1024:interface=127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 30.0
LOOK_SECONDS = 0.02
ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Subject:
    """One program under attack, on a port of 127.0.0.1 that it keeps over restarts; its starter calls ``stop``."""

    def __init__(
        self,
        program: str,
        place: Path,
        *options: str,
        name: str = "",
        registry: str = "",
        flags: Sequence[str] = (),
        limits: Sequence[str] = (),
        listen: str = LISTEN,
    ) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.place, self.name = place, name or "registry"
        self.port = free_port()
        self.flags = flags
        self.process: subprocess.Popen[bytes] | None = None
        self._figures = place / f"{self.name}.figures"
        self._join = place / "state" / "registry" / "join"
        self._out = place / f"{self.name}.out"
        program_options = ["--listen", listen.format(port=self.port), *options]
        if program == "peer":
            program_options += ["--name", name, "--registry", registry, "--headless"]
        for limit in limits:
            program_options += ["--limit", limit]
        self._command = [sys.executable, "-m", "tests.campaigns.subject", program, str(self._figures), *flags, "--"]
        self._command += program_options

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def begin(self) -> None:
        """Start it, and do not wait."""
        self._join.unlink(missing_ok=True)
        self._figures.unlink(missing_ok=True)
        config = self.place / "config.toml"
        config.touch()
        theirs = {name: value for name, value in os.environ.items() if not name.startswith("CHATNET_")}
        theirs["CHATNET_CONFIG"] = str(config)
        for kind in ("DATA", "STATE", "DOWNLOADS"):
            theirs[f"CHATNET_{kind}"] = str(self.place / kind.lower())
        with open(self._out, "ab") as out:
            self.process = subprocess.Popen(
                self._command, cwd=ROOT, env=theirs, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def start(self) -> Subject:
        """Start it, and wait until it serves."""
        self.begin()
        return self.wait()

    def wait(self) -> Subject:
        """Until it serves."""
        until = time.monotonic() + START_SECONDS
        while not self.serves:
            check(time.monotonic() < until and self.lives, f"{self.name} did not start", words=self.words())
            time.sleep(LOOK_SECONDS)
        return self

    @property
    def serves(self) -> bool:
        if self.name == "registry":
            return self._join.exists()
        return self._figures.exists() and bool(self.figures()["open"])

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def join(self) -> str:
        return self._join.read_text().strip()

    def figures(self) -> Figures:
        return cast(Figures, json.loads(self._figures.read_text()))

    def told_at(self) -> float:
        """When it wrote its figures, by the time of day."""
        return self._figures.stat().st_mtime if self._figures.exists() else 0.0

    def words(self) -> str:
        return self._out.read_text(errors="replace")[-2000:]

    def log(self) -> str:
        place = self.place / "state" / self.name / "log"
        return place.read_text(errors="replace") if place.exists() else ""

    def memory_kb(self) -> int:
        return memory_kb(self.pid)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.kill()

    def healthy(self, stall_ms: float = 100.0) -> Figures:
        """Its figures; Failed unless it lives, logged no error, and never stalled."""
        check(self.lives, f"{self.name} has ended", words=self.words())
        figures = self.figures()
        check(not figures["errors"], f"{self.name} logged an error", first_error=figures["first_error"])
        check(figures["stall_own_ms"] < stall_ms, f"{self.name} stalled", stall_ms=figures["stall_own_ms"])
        return figures


# --- this process's reactor -----------------------------------------------------------------------


class Complaints:
    """Errors logged in this process."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        globalLogPublisher.addObserver(self._logged)

    def _logged(self, event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None or event.get("log_level") in (LogLevel.error, LogLevel.critical):
            trace = failure.getTraceback() if isinstance(failure, Failure) else ""
            self.texts.append(f"{formatEvent(event)} {trace}")


def in_reactor(work: Callable[[Any], Coroutine[Any, Any, Figures]]) -> Figures:
    """Run ``work(reactor)`` to its end; once in a process."""
    from twisted.internet import reactor as any_reactor

    reactor: Any = any_reactor
    outcome: list[Any] = []

    def begin() -> None:
        working = Deferred.fromCoroutine(work(reactor))
        working.addBoth(outcome.append)
        working.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()
    check(bool(outcome), "interrupted")
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()  # type: ignore[no-untyped-call]
    return cast(Figures, outcome[0])


async def pause(reactor: Any, seconds: float) -> None:
    await deferLater(reactor, seconds)


async def until(reactor: Any, condition: Callable[[], Any], seconds: float, why: str, **figures: Any) -> float:
    """Wait for ``condition``; how many seconds that took.  Failed with ``why`` if it takes longer than given."""
    began = time.monotonic()
    while not condition():
        check(time.monotonic() - began < seconds, why, **figures)
        await pause(reactor, 0.005)
    return time.monotonic() - began


# --- foes -------------------------------------------------------------------------------------------


@implementer(IHandshakeListener)
class Foe(Protocol):
    """A connection that says what it is told to, and keeps what it hears."""

    def __init__(self, keep: bool = True) -> None:
        self.got = bytearray()
        self.heard_bytes = 0
        self.shaken = False
        self.ended: float | None = None  # on the monotonic clock
        self._keep = keep

    def handshakeCompleted(self) -> None:
        self.shaken = True

    def dataReceived(self, data: bytes) -> None:
        self.heard_bytes += len(data)
        if self._keep:
            self.got += data

    def connectionLost(self, reason: object = None) -> None:
        self.ended = time.monotonic()

    @property
    def over(self) -> bool:
        return self.ended is not None

    def say(self, data: bytes) -> None:
        cast(Any, self.transport).write(data)

    def cut(self) -> None:
        if self.transport is not None and not self.over:
            cast(Any, self.transport).abortConnection()

    def bodies(self) -> list[bytes]:
        """The frames heard so far."""
        framer, found = Framer(MAX_FRAME), []
        framer.feed(bytes(self.got))
        while (body := framer.next_frame()) is not None:
            found.append(body)
        return found


class _Given(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self._protocol


class Foes:
    """Dials as anybody, and cuts all of its connections at the end."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.made: list[Foe] = []

    async def tcp(self, port: int, source: str = "127.0.0.1", keep: bool = True) -> Foe:
        """Without TLS.  Raises ConnectError."""
        return await self._connect(port, source, lambda factory: factory, Foe(keep))

    async def tls(self, port: int, tls: TLS | None = None, source: str = "127.0.0.1", keep: bool = True) -> Foe:
        """With a key; the handshake may still be under way.  Raises ConnectError."""
        made = tls or TLS(new_identity())
        return await self._connect(port, source, lambda factory: made.wrap(factory, dialling=True), Foe(keep))

    async def _connect(self, port: int, source: str, wrap: Callable[[Factory], Factory], foe: Foe) -> Foe:
        self.made.append(foe)
        endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", port, timeout=30, bindAddress=(source, 0))
        await endpoint.connect(wrap(_Given(foe)))
        return foe

    async def close(self) -> None:
        for foe in self.made:
            foe.cut()
        await pause(self._reactor, 0.05)
