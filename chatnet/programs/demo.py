"""Everything on one machine, for one person alone: ``make demo``.

A registry on a free port, the peer ``echo``, and the console as ``carol`` in this terminal, all
in a temporary directory; leaving the console ends everything that was started.

``echo`` is an ordinary client of ``peer/api.py``: it answers every message with its text, accepts
every file, and sends one small file when it is asked ``file please``.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.logger import Logger, globalLogBeginner
from twisted.python import usage
from twisted.python.failure import Failure

from chatnet.core.errors import system_reason
from chatnet.core.events import (
    ChatMessage,
    Event,
    MessageAdded,
    MessageKind,
    Transfer,
    TransferChanged,
    TransferState,
)
from chatnet.host.command_text import command_text
from chatnet.peer.api import PeerApi

FILE_REQUEST = "file please"
FILE_NAME = "hello-from-echo.txt"
FILE_TEXT = "This file came directly from the peer 'echo'.\n"
AFTERWARDS = """\
The demo is over: its registry and echo have ended, and nothing of it is left on the disk.
For real, each in a terminal of its own:
    {twistd} -n chatregistry
    {twistd} -n chatpeer --name YOU
"""
LISTEN = "tcp:0:interface=127.0.0.1"
START_SECONDS = 30.0  # a slow machine that compiles everything for the first time
STOP_SECONDS = 8.0  # more than an orderly stop takes
LOOK_SECONDS = 0.05


class Echo:
    """Answers what comes to a peer, each stored message once."""

    log = Logger("chatnet.programs.demo")

    def __init__(self, peer: PeerApi, directory: Path) -> None:
        self._peer = peer
        self._directory = directory  # where the file that it sends is made
        self._answered_n = 0  # rows rise in the order of storing, so one number remembers all
        self._accepted: set[bytes] = set()
        self._subscription = peer.subscribe(self._heard)
        for transfer in self._subscription.snapshot.transfers:
            self._take(transfer)

    def stop(self) -> None:
        self._subscription.cancel()

    def _heard(self, event: Event) -> None:
        if isinstance(event, MessageAdded):
            self._answer(event.message)
        elif isinstance(event, TransferChanged):
            self._take(event.transfer)

    def _answer(self, message: ChatMessage) -> None:
        if message.mine or message.kind is not MessageKind.TEXT or message.n <= self._answered_n:
            return
        self._answered_n = message.n
        self._logged(self._peer.say(message.chat, message.body), "answering")
        if message.body.strip().lower() == FILE_REQUEST:
            file = self._directory / FILE_NAME
            file.write_text(FILE_TEXT)
            self._logged(self._peer.offer(message.chat, (os.fsencode(file),)), "offering a file")

    def _take(self, transfer: Transfer) -> None:
        if transfer.state.ended:
            self._accepted.discard(transfer.fid)
        elif transfer.state is TransferState.OFFERED and not transfer.outgoing and transfer.fid not in self._accepted:
            self._accepted.add(transfer.fid)
            self._logged(self._peer.accept(transfer.fid), "accepting a file")

    def _logged(self, work: Deferred[Any], what: str) -> None:
        def failed(failure: Failure) -> None:
            self.log.failure("{what} failed", failure, what=what)

        work.addErrback(failed)


# --- the echo peer as a process of its own ----------------------------------------------------


def start_echo_peer(reactor: Any, arguments: Sequence[str]) -> IService:
    """Start a headless peer with ``arguments`` of chatpeer and an Echo that drives it, and return its service."""
    from chatnet.programs.peer import Options, PeerProgram

    twistd = usage.Options()
    twistd["nodaemon"] = 1
    options = Options()
    options.parent = twistd
    options.parseOptions(list(arguments))
    program = PeerProgram(reactor, options.settings)
    if program.log is not None:
        globalLogBeginner.beginLoggingTo([program.log], redirectStandardIO=False)
    program.startService()
    Echo(program.peer, options.settings.roots.of(options.settings.name).data)
    return program


def run_echo(arguments: Sequence[str]) -> None:
    """Be the echo peer until a signal ends this process."""
    from twisted.internet import reactor as any_reactor

    reactor: Any = any_reactor
    service = start_echo_peer(reactor, arguments)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


# --- the whole --------------------------------------------------------------------------------


class Demo:
    """The processes of one demonstration, all of which end with ``close``."""

    def __init__(self, directory: Path, twistd: Path) -> None:
        self._directory = directory
        self._twistd = str(twistd)
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self) -> int:
        """Start everything, and return the exit code of the console after the person has left it."""
        registry = self._behind("registry", [self._twistd, "-n", "chatregistry", "--listen", LISTEN])
        join = self._awaited(registry, self._directory / "state" / "registry" / "join")
        echo = [
            sys.executable,
            "-m",
            "chatnet.programs.demo",
            "echo",
            "--name",
            "echo",
            "--headless",
            "--registry",
            join,
        ]
        self._behind("echo", echo)
        console = self._start([self._twistd, "-n", "chatpeer", "--name", "carol", "--registry", join])
        return console.wait()

    def close(self) -> None:
        """End what was started, the console first, so that the terminal is whole again."""
        for process in reversed(self._processes):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _behind(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        """Start a process without this terminal: neither its Ctrl-C nor its words come here."""
        with open(self._directory / f"{name}.out", "wb") as output:
            return self._start(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _start(self, command: list[str], **how: Any) -> subprocess.Popen[bytes]:
        places = {f"CHATNET_{place}": str(self._directory / place.lower()) for place in ("DATA", "STATE", "DOWNLOADS")}
        # Nothing that the user has configured for real belongs here.
        theirs = {name: value for name, value in os.environ.items() if not name.startswith("CHATNET_")}
        keep = {name: os.environ[name] for name in ("CHATNET_ASCII", "CHATNET_THEME") if name in os.environ}
        config = self._directory / "config.toml"
        config.touch()
        environ = {**theirs, **keep, **places, "CHATNET_CONFIG": str(config), "CHATNET_DEMO": "1"}
        process = subprocess.Popen(command, env=environ, **how)
        self._processes.append(process)
        return process

    def _awaited(self, process: subprocess.Popen[bytes], file: Path) -> str:
        """Return the text of ``file`` once the process has written it.

        Raises RuntimeError if the process ends before, or is too slow.
        """
        watched = os.pidfd_open(process.pid)
        try:
            for _ in range(int(START_SECONDS / LOOK_SECONDS)):
                with contextlib.suppress(FileNotFoundError):
                    if text := file.read_text().strip():
                        return text
                if select.select([watched], [], [], LOOK_SECONDS)[0]:
                    break
        finally:
            os.close(watched)
        output = (self._directory / "registry.out").read_text(errors="replace")
        raise RuntimeError(f"the registry did not start:\n{output}")


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Turn signals that would end this process into SystemExit, once; Ctrl-C is the console's."""
    endings = (signal.SIGTERM, signal.SIGHUP)

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        for ending in endings:
            signal.signal(ending, signal.SIG_IGN)  # what follows is not to be interrupted
        raise SystemExit(128 + number)

    def pass_over(number: int, frame: FrameType | None) -> None:
        """Do nothing; SIG_IGN instead would be inherited by the console."""

    before = {number: signal.signal(number, leave) for number in endings}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, pass_over)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments: Sequence[str]) -> int:
    if arguments[:1] == ["echo"]:
        run_echo(arguments[1:])
        return 0
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("chatnet.programs.demo opens a console: start it in a terminal.", file=sys.stderr)
        return 1
    beside = Path(sys.executable).with_name("twistd")
    return show(beside if beside.exists() else Path(shutil.which("twistd") or "twistd"))


def show(twistd: Path) -> int:
    """Show the whole demonstration with this ``twistd``, and return the exit code of the console."""
    try:
        with orderly(), tempfile.TemporaryDirectory(prefix="chatnet-demo-", ignore_cleanup_errors=True) as directory:
            demo = Demo(Path(directory), twistd)
            try:
                code = demo.run()
            finally:
                demo.close()
    except RuntimeError as error:
        print(f"chatnet.programs.demo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"chatnet.programs.demo: {error.filename or 'cannot start'}: {system_reason(error)}", file=sys.stderr)
        return 1
    print(AFTERWARDS.format(twistd=command_text(twistd)))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
