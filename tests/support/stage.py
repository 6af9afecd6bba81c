"""Real ``twistd`` processes, some of them in a terminal of their own, all ended by who started them."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyte

import chatnet
from chatnet.core.limits import QUESTION_SECONDS

PATIENCE_SECONDS = 20.0  # before something has failed to happen
LOOK_SECONDS = 0.02
END_SECONDS = 8.0
TWISTD = str(Path(sys.executable).with_name("twistd"))

_REPORT = re.compile(rb"\x1b\[\?\d+\$p|\x1b\[[<>=][\d;]*[a-zA-Z]|\x1b\[\?[\d;]*[a-gi-km-zA-Z]")  # unknown to pyte
_MODE = re.compile(rb"\x1b\[\?([\d;]+)([hl])")
_UNFINISHED = re.compile(rb"\x1b(?:\[[?<>=]?[\d;]*\$?)?$")

CURSOR, MOUSE, ALTERNATE, PASTE = 25, (1000, 1002, 1003, 1006), (47, 1047, 1049), 2004


class Process:
    """One program; its words are in ``said`` once it has ended, its log in ``log``."""

    def __init__(self, stage: Stage, command: list[str], profile: str, **how: Any) -> None:
        self.stage = stage
        self.profile = profile
        self.output = stage.directory / f"{len(stage.processes)}-{profile or 'unnamed'}.out"
        self.popen = self._start(command, how)
        stage.processes.append(self)

    def _start(self, command: list[str], how: dict[str, Any]) -> subprocess.Popen[bytes]:
        with open(self.output, "wb") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **how,
            )

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    @property
    def log(self) -> str:
        """What the log of its profile holds."""
        try:
            return (self.stage.state / self.profile / "log").read_text()
        except FileNotFoundError:
            return ""

    @property
    def lives(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def ends(self) -> int:
        """Its exit code, once it has ended by itself."""
        self.stage.until(lambda: not self.lives, "the process ended")
        return self.popen.returncode

    def close(self) -> None:
        if self.lives:
            self.popen.send_signal(signal.SIGCONT)
            self.popen.terminate()
            try:
                self.popen.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()

    def look(self) -> None:
        """Take what it wrote."""


class Terminal(Process):
    """A program in a terminal of ``size`` (columns, rows), and what a person sees and types there."""

    def __init__(self, stage: Stage, command: list[str], profile: str, size: tuple[int, int], **how: Any) -> None:
        self.master, self._slave = os.openpty()
        self.screen = pyte.Screen(*size)
        self._stream = pyte.ByteStream(self.screen)
        self._held = b""
        self.is_read = True  # what it writes is taken; False: as a suspended terminal
        self.raw = bytearray()
        self._size(*size)
        self.before = termios.tcgetattr(self._slave)
        super().__init__(stage, command, profile, **how)

    def _start(self, command: list[str], how: dict[str, Any]) -> subprocess.Popen[bytes]:
        # The shell leads a session without a terminal; the one that it opens becomes its own.
        tty = os.ttyname(self._slave)
        shell = ["/bin/sh", "-c", 'exec "$@" <>"$0" >&0 2>&0', tty, *command]
        return subprocess.Popen(shell, start_new_session=True, **how)

    # --- what is seen ---

    @property
    def lines(self) -> list[str]:
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def modes(self) -> dict[int, bool]:
        """The private modes that it has set or reset, as they are now."""
        found: dict[int, bool] = {}
        for numbers, letter in _MODE.findall(bytes(self.raw)):
            for number in numbers.split(b";"):
                found[int(number)] = letter == b"h"
        return found

    def shows(self, *phrases: str) -> None:
        """Wait until all of them stand on the screen."""
        self.stage.until(lambda: all(phrase in self.text for phrase in phrases), f"the screen shows {phrases}")

    def is_restored(self) -> None:
        """The terminal is as it was: fails if anything was left behind."""
        self.look()
        modes = self.modes
        assert not any(modes.get(mode, False) for mode in (*MOUSE, *ALTERNATE, PASTE, 1004)), modes
        assert modes.get(CURSOR, True), modes
        assert termios.tcgetattr(self._slave) == self.before

    # --- what is typed ---

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def answer(self, stroke: str) -> None:
        """A key that answers a question which has just come: not before somebody can have read it."""
        read = time.monotonic() + 2 * QUESTION_SECONDS
        self.stage.until(lambda: time.monotonic() >= read, "the question was read")
        self.type(stroke)

    def enter(self, line: str) -> None:
        self.type(line + "\r")

    def paste(self, text: str) -> None:
        self.type(f"\x1b[200~{text}\x1b[201~")

    def resize(self, cols: int, rows: int) -> None:
        self.screen.resize(rows, cols)
        self._size(cols, rows)

    def hang_up(self) -> None:
        """The window is closed."""
        os.close(self.master)
        os.close(self._slave)
        self.master = -1

    def _size(self, cols: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    # --- the line ---

    def look(self) -> None:
        while self.is_read and self.master >= 0 and select.select([self.master], [], [], 0)[0]:
            data = os.read(self.master, 65_536)
            self.raw += data
            data = _REPORT.sub(b"", self._held + data)
            tail = _UNFINISHED.search(data)
            self._held = data[tail.start() :] if tail else b""
            self._stream.feed(data[: tail.start()] if tail else data)

    def close(self) -> None:
        self.is_read = True
        if self.lives:
            self.popen.send_signal(signal.SIGCONT)
            self.popen.terminate()
            until = time.monotonic() + END_SECONDS
            while self.lives and time.monotonic() < until:
                self.look()  # or its last words would have no room
                time.sleep(LOOK_SECONDS)
        super().close()
        if self.master >= 0:
            self.hang_up()


class Stage:
    """Everything of one test, in one directory.  ``close`` ends it all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data, self.state, self.downloads = (directory / part for part in ("data", "state", "downloads"))
        self.processes: list[Process] = []
        config = directory / "config.toml"
        config.touch()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("CHATNET_")}
        self.environ = {
            **inherited,
            "CHATNET_CONFIG": str(config),
            "CHATNET_DATA": str(self.data),
            "CHATNET_STATE": str(self.state),
            "CHATNET_DOWNLOADS": str(self.downloads),
            "PYTHONPATH": str(Path(chatnet.__file__).parent.parent),
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
            "TERM": "xterm-256color",
            "TMPDIR": str(directory),
        }

    # --- starting ---

    def run(self, *arguments: str, profile: str = "", program: str = TWISTD) -> Process:
        """A program without a terminal."""
        return Process(self, [program, *arguments], profile, env=self.environ, cwd=self.directory)

    def terminal(
        self, *arguments: str, profile: str = "", size: tuple[int, int] = (80, 24), program: str = TWISTD
    ) -> Terminal:
        return Terminal(self, [program, *arguments], profile, size, env=self.environ, cwd=self.directory)

    def registry(self, *options: str, listen: str = "tcp:0:interface=127.0.0.1") -> Process:
        """A registry that answers; ``join`` tells where."""
        process = self.run("-n", "chatregistry", "--listen", listen, *options, profile="registry")
        self.until(self._join_file.exists, "the registry wrote its join string")
        return process

    @property
    def _join_file(self) -> Path:
        return self.state / "registry" / "join"

    @property
    def join(self) -> str:
        return self._join_file.read_text().strip()

    @property
    def port(self) -> int:
        """The registry's."""
        return int(self.join.partition("/")[0].rpartition(":")[2])

    def peer(self, name: str, *options: str, size: tuple[int, int] = (80, 24)) -> Terminal:
        """A console that is starting as ``name``."""
        return self.terminal(
            "-n", "chatpeer", "--name", name, "--registry", self.join, *options, profile=name, size=size
        )

    def headless(self, name: str, *options: str) -> Process:
        return self.run("-n", "chatpeer", "--headless", "--name", name, "--registry", self.join, *options, profile=name)

    # --- waiting ---

    def until(self, condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Serve all terminals until ``condition``."""
        deadline = time.monotonic() + seconds
        while True:
            for process in self.processes:
                process.look()
            if condition():
                return
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{self.report()}"
            terminals = [process for process in self.processes if isinstance(process, Terminal) and process.is_read]
            masters = [terminal.master for terminal in terminals if terminal.master >= 0]
            select.select(masters, [], [], LOOK_SECONDS)

    def report(self) -> str:
        """Every screen and the end of every log, for who reads a failure."""
        parts = []
        for process in self.processes:
            seen = process.text if isinstance(process, Terminal) else process.said
            parts.append(f"--- {process.profile} ({process.popen.poll()})\n{seen}\n{process.log[-1500:]}")
        return "\n".join(parts)

    def close(self) -> None:
        for process in reversed(self.processes):
            process.close()
