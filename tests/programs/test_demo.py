"""The demonstration: what echo answers, and that nothing is left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from chatnet.core.errors import StoreFailed
from chatnet.core.events import (
    ChatMessage,
    Event,
    MessageAdded,
    MessageKind,
    MessageState,
    RegistryPhase,
    RegistryState,
    Snapshot,
    Transfer,
    TransferChanged,
    TransferState,
)
from chatnet.core.identity import chat_with
from chatnet.core.text import SafeText
from chatnet.programs.demo import FILE_TEXT, Demo, Echo, show

BOB = chat_with(bytes(32))
ME = b"M" * 32


def message(n: int, body: str, mine: bool = False, kind: MessageKind = MessageKind.TEXT) -> ChatMessage:
    sender = ME if mine else BOB
    state = MessageState.WAITING if mine else MessageState.RECEIVED
    return ChatMessage(n, BOB, sender, kind, bytes(16), mine, 0, 0, SafeText(body), state, SafeText(""))


def transfer(fid: bytes, state: TransferState, outgoing: bool = False) -> Transfer:
    nothing = SafeText("")
    return Transfer(
        fid, BOB, outgoing, nothing, (), nothing, 1, 1, 0, 0, None, None, state, "", nothing, b"", offered_ms=0
    )


class Transcript:
    """A PeerApi that does what it is asked, and writes it down."""

    def __init__(self, *transfers: Transfer, answer: Callable[[], Deferred[None]] = lambda: succeed(None)) -> None:
        nowhere = RegistryState(RegistryPhase.UP, "", None, 0, None, SafeText(""), "", 0, False)
        self.snapshot = Snapshot(None, nowhere, (), transfers, ())
        self.asked: list[tuple[str, object]] = []
        self._answer = answer
        self._listener: Callable[[Event], None] = lambda event: None

    def subscribe(self, listener: Callable[[Event], None]) -> Transcript:
        self._listener = listener
        return self

    def cancel(self) -> None:
        self._listener = lambda event: None

    def tell(self, *events: Event) -> list[tuple[str, object]]:
        """What was asked because of these events."""
        self.asked = []
        for event in events:
            self._listener(event)
        return self.asked

    def say(self, peer: bytes, body: str) -> Deferred[None]:
        return self._asked("say", body)

    def offer(self, chat: bytes, paths: tuple[bytes, ...]) -> Deferred[None]:
        return self._asked("offer", paths)

    def accept(self, fid: bytes) -> Deferred[None]:
        return self._asked("accept", fid)

    def _asked(self, what: str, with_what: object) -> Deferred[None]:
        self.asked.append((what, with_what))
        return self._answer()


def test_every_message_comes_back_once(tmp_path: Path) -> None:
    peer = Transcript()
    Echo(peer, tmp_path)  # type: ignore[arg-type]
    hello = MessageAdded(message(4, "hello"))
    assert peer.tell(hello, hello, MessageAdded(message(5, "hello"))) == [("say", "hello"), ("say", "hello")]


def test_its_own_words_are_not_answered(tmp_path: Path) -> None:
    peer = Transcript()
    echo = Echo(peer, tmp_path)  # type: ignore[arg-type]
    assert peer.tell(MessageAdded(message(1, "hello", mine=True))) == []
    assert peer.tell(MessageAdded(message(2, "a.txt", kind=MessageKind.FILE))) == []
    echo.stop()
    assert peer.tell(MessageAdded(message(3, "hello"))) == []


def test_a_file_on_request(tmp_path: Path) -> None:
    peer = Transcript()
    Echo(peer, tmp_path)  # type: ignore[arg-type]
    said, (what, paths) = peer.tell(MessageAdded(message(1, " File please\n")))
    assert said == ("say", " File please\n")
    assert what == "offer"
    assert isinstance(paths, tuple)
    assert [Path(os.fsdecode(path)).read_text() for path in paths] == [FILE_TEXT]


def test_every_offer_is_taken_once(tmp_path: Path) -> None:
    peer = Transcript(transfer(b"a", TransferState.OFFERED), transfer(b"b", TransferState.OFFERED, outgoing=True))
    Echo(peer, tmp_path)  # type: ignore[arg-type]
    assert peer.asked == [("accept", b"a")]
    offered = TransferChanged(transfer(b"c", TransferState.OFFERED))
    running = TransferChanged(transfer(b"c", TransferState.RUNNING))
    done = TransferChanged(transfer(b"c", TransferState.DONE))
    assert peer.tell(offered, offered, running, done, done) == [("accept", b"c")]


def test_a_failure_does_not_silence_it(tmp_path: Path) -> None:
    peer = Transcript(answer=lambda: fail(StoreFailed("disk-full", "no space")))
    Echo(peer, tmp_path)  # type: ignore[arg-type]
    assert len(peer.tell(MessageAdded(message(1, "one")), MessageAdded(message(2, "two")))) == 2


# --- processes --------------------------------------------------------------------------------

TWISTD = """#!{python}
import os, pathlib, signal, sys
state = pathlib.Path(os.environ["CHATNET_STATE"]) / "registry"
print("pid", os.getpid(), flush=True)
if "chatregistry" in sys.argv:
    {registry}
    state.mkdir(parents=True)
    (state / "join").write_text("chatnet:127.0.0.1:1/{key}\\n")
    (state.parent.parent / "registry.pid").write_text(str(os.getpid()))
    signal.pause()
else:
    pid = int((state.parent.parent / "registry.pid").read_text())
    assert sys.argv[1:] == ["-n", "chatpeer", "--name", "carol", "--registry", "chatnet:127.0.0.1:1/{key}"]
    assert os.environ["CHATNET_CONFIG"].startswith(str(state.parent.parent))
    assert os.environ["CHATNET_DEMO"] == "1"
    with open({told!r}, "w") as told:
        told.write(f"{{pid}} {{os.getpid()}} {{state.parent.parent}}\\n")
    {console}
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    """A pipe in which the console's stand-in says who runs where."""
    pipe = tmp_path / "told"
    os.mkfifo(pipe)
    return pipe


def stand_in(tmp_path: Path, told: Path, console: str = "sys.exit(5)", registry: str = "pass") -> Path:
    program = tmp_path / "twistd"
    program.write_text(
        TWISTD.format(python=sys.executable, told=str(told), console=console, registry=registry, key="A" * 52)
    )
    program.chmod(0o755)
    return program


@contextlib.contextmanager
def demonstration(tmp_path: Path, twistd: Path) -> Iterator[subprocess.Popen[str]]:
    program = "import pathlib, sys; from chatnet.programs import demo; sys.exit(demo.show(pathlib.Path(sys.argv[1])))"
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(twistd)],
        env={**os.environ, "TMPDIR": str(tmp_path), "CHATNET_NAME": "somebody"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=60)


def said_by_console(told: Path) -> tuple[int, int, Path]:
    with open(os.open(told, os.O_RDWR | os.O_NONBLOCK)) as pipe:
        assert select.select([pipe], [], [], 60)[0], "the console did not start"
        registry, console, directory = pipe.readline().split()
    return int(registry), int(console), Path(directory)


def gone(pid: int) -> bool:
    """Whether a process ends within its time; it may be a stranger's child, so it is not waited for."""
    with contextlib.suppress(ProcessLookupError):
        watched = os.pidfd_open(pid)
        try:
            return bool(select.select([watched], [], [], 20)[0])
        finally:
            os.close(watched)
    return True


def test_leaving_the_console_ends_everything(tmp_path: Path, told: Path) -> None:
    with demonstration(tmp_path, stand_in(tmp_path, told)) as process:
        registry, console, directory = said_by_console(told)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (5, "")
    assert gone(registry)
    assert gone(console)
    assert not directory.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(tmp_path: Path, told: Path, number: signal.Signals) -> None:
    with demonstration(tmp_path, stand_in(tmp_path, told, console="signal.pause()")) as process:
        registry, console, directory = said_by_console(told)
        process.send_signal(signal.SIGINT)  # the console's own affair
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert gone(registry)
    assert gone(console)
    assert not directory.exists()


def test_a_registry_that_does_not_start_says_why(tmp_path: Path, told: Path) -> None:
    with demonstration(tmp_path, stand_in(tmp_path, told, registry="sys.exit('no port for you')")) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith("chatnet.programs.demo: the registry did not start:\n")
    assert "no port for you" in errors
    assert not list(tmp_path.glob("chatnet-demo-*"))


def test_a_disk_without_room_for_it_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(**_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/tmp/chatnet-demo-x")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    assert show(tmp_path / "twistd") == 1
    assert capsys.readouterr().err == "chatnet.programs.demo: /tmp/chatnet-demo-x: the disk is full\n"


def test_it_needs_a_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "chatnet.programs.demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "chatnet.programs.demo opens a console: start it in a terminal.\n"


def test_a_demo_that_never_began_closes(tmp_path: Path) -> None:
    Demo(tmp_path, tmp_path / "twistd").close()
