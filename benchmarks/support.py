"""What every benchmark here needs: a place, processes and what they cost, turns, one line of JSON.

Wall time is ``time.monotonic()``; CPU seconds are user + system of a process; the peak of memory
is VmHWM as the kernel counts it (``ru_maxrss`` would begin with that of the process that forked).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import platform
import select
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from OpenSSL import SSL

HERE = Path(__file__).parent
LISTEN = "tcp:0:backlog=1024:interface=127.0.0.1"  # the backlog of the usual ports; an endpoint's own is 50
START_SECONDS = 30.0
STOP_SECONDS = 20.0
LOOK_SECONDS = 0.05
PACKAGES = ("twisted", "pyopenssl", "cryptography", "msgspec", "blake3", "urwid")

Sample = dict[str, float]  # what one run measured: quantity, with its unit in the name -> number
Contestant = Callable[[], Sample]


class Skipped(Exception):
    """A contestant that is not on this machine, with the word why."""


class Failed(Exception):
    """A run that did not do what it was to do."""


# --- the command line and the place -------------------------------------------------------------


def parser(description: str | None) -> argparse.ArgumentParser:
    """With the options that all benchmarks have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=5, help="measured rounds, after one to warm up (default: 5)")
    made.add_argument("--work", type=Path, help="parent of the working directory (default: the system's temporary)")
    made.add_argument("--tmpfs", action="store_true", help="work in /dev/shm: what the disk costs is left out")
    return made


@contextlib.contextmanager
def workplace(options: argparse.Namespace) -> Iterator[Path]:
    """An empty directory that is gone afterwards; a signal that ends us ends what we started too."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda number, frame: sys.exit(128 + number))
    parent = Path("/dev/shm") if options.tmpfs else options.work
    with tempfile.TemporaryDirectory(prefix="chatnet-bench-", dir=parent, ignore_cleanup_errors=True) as made:
        yield Path(made)


def file_system(place: Path) -> str:
    """The kind of the file system at ``place``, e.g. ext4."""
    found = subprocess.run(["stat", "-f", "-c", "%T", str(place)], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


# --- processes ----------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """User + system so far, with the children that were waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[i]) for i in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, kind: str = "VmHWM") -> float:
    """The peak of memory, or with VmRSS the present; 0 for a process that has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(kind):
                return int(line.split()[1]) / 1024
    return 0.0


def busy_seconds() -> float:
    """CPU seconds of the whole machine that were not idle, those stolen by its host included."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")


class Process:
    """A child; ``wait`` or ``stop`` ends its life here."""

    def __init__(self, command: Sequence[object], *, output: Path | None = None, **how: Any) -> None:
        self.command = [str(word) for word in command]
        self.peak_mb = 0.0
        self.cpu = 0.0
        self.status: int | None = None
        self._output = output
        how.setdefault("stdin", subprocess.DEVNULL)
        with open(output or os.devnull, "ab") as to:
            how.setdefault("stdout", to)
            self.popen = subprocess.Popen(self.command, stderr=to, start_new_session=True, **how)
        self.pid = self.popen.pid
        self._ended = os.pidfd_open(self.pid)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def lives(self, seconds: float = 0.0) -> bool:
        """Whether it has not ended, ``seconds`` from now at the latest."""
        return self.status is None and not select.select([self._ended], [], [], seconds)[0]

    def wait(self, seconds: float) -> None:
        """Until it ends; afterwards ``status``, ``cpu`` and ``peak_mb`` are known.  Failed if that takes longer."""
        until = time.monotonic() + seconds
        while self.lives(max(0.0, until - time.monotonic())):
            if time.monotonic() > until:
                self.popen.kill()
                self._reap()
                raise Failed(f"{self.command[0]} did not end within {seconds:.0f} s{self.words()}")
        if self.status is None:
            self._reap()

    def succeed(self, seconds: float) -> None:
        """``wait``, and Failed unless it ended well."""
        self.wait(seconds)
        if self.status != 0:
            raise Failed(f"{' '.join(self.command[:3])} ended with {self.status}{self.words()}")

    def stop(self) -> None:
        """Ask it to end, and see to it."""
        if self.lives():
            self.popen.terminate()
        with contextlib.suppress(Failed):
            self.wait(STOP_SECONDS)

    def words(self) -> str:
        """The end of what it has said."""
        text = self._output.read_text(errors="replace") if self._output is not None else ""
        return f":\n{text[-2000:]}" if text else ""

    def _watch(self) -> None:
        """The peak is gone with the process: look at it from time to time."""
        while not select.select([self._ended], [], [], LOOK_SECONDS)[0]:
            self.peak_mb = max(self.peak_mb, memory_mb(self.pid))

    def _reap(self) -> None:
        self._watcher.join()
        _, status, used = os.wait4(self.pid, 0)
        self.status = self.popen.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = used.ru_utime + used.ru_stime
        os.close(self._ended)


@contextlib.contextmanager
def stopped_after(*processes: Process) -> Iterator[None]:
    """End them however the block ends, the last first."""
    try:
        yield
    finally:
        for process in reversed(processes):
            process.stop()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def await_port(port: int, process: Process) -> None:
    """Until ``process`` listens there.  Failed if it does not in time."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.lives(0.02):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
    raise Failed(f"{process.command[0]} does not listen{process.words()}")


def compiled(source: str, place: Path) -> Path:
    """The program of a C file beside this one.  Skipped without compiler or OpenSSL's headers."""
    program = place / Path(source).stem
    compiler = shutil.which("cc")
    if compiler is None:
        raise Skipped("no C compiler here")
    command = [compiler, "-O2", "-o", str(program), str(HERE / source), "-lssl", "-lcrypto"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Skipped(f"{source} does not compile (OpenSSL's headers?): {done.stderr[:200]}")
    return program


# --- the programs that are measured ---------------------------------------------------------------


def environment(place: Path) -> dict[str, str]:
    """Of a program that keeps everything below ``place`` and reads no configuration of the user."""
    theirs = {name: value for name, value in os.environ.items() if not name.startswith("CHATNET_")}
    path = os.pathsep.join([str(HERE.parent), *filter(None, [theirs.get("PYTHONPATH")])])
    config = place / "config.toml"
    config.touch()
    places = {f"CHATNET_{kind}": str(place / kind.lower()) for kind in ("DATA", "STATE", "DOWNLOADS")}
    return {**theirs, **places, "CHATNET_CONFIG": str(config), "PYTHONPATH": path, "LANG": "C.UTF-8"}


def limit_options(limits: Sequence[str]) -> list[str]:
    return [word for limit in limits for word in ("--limit", limit)]


class Registry(Process):
    """A real ``twistd -n chatregistry`` in ``place``; ``join`` is its join string."""

    def __init__(self, place: Path, limits: Sequence[str] = (), listen: str = LISTEN) -> None:
        twistd = Path(sys.executable).with_name("twistd")
        command = [twistd, "-n", "chatregistry", "--listen", listen, *limit_options(limits)]
        file = place / "state" / "registry" / "join"
        file.unlink(missing_ok=True)
        super().__init__(command, output=place / "registry.out", env=environment(place))
        until = time.monotonic() + START_SECONDS
        while not file.exists():
            if time.monotonic() > until or not self.lives(0.02):
                self.stop()
                raise Failed(f"the registry did not start{self.words()}")
        self.join = file.read_text().strip()

    @property
    def port(self) -> int:
        return int(self.join.rpartition("/")[0].rpartition(":")[2])


class Peer(Process):
    """A real headless peer that does what it is asked (``driven.py``)."""

    def __init__(self, place: Path, name: str, registry: str, limits: Sequence[str] = ()) -> None:
        command = [sys.executable, HERE / "driven.py", "--name", name, "--headless"]
        command += ["--registry", registry, "--listen", LISTEN, *limit_options(limits)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        super().__init__(command, output=place / f"{name}.out", env=environment(place), **pipes)
        self.name = name
        self.downloads = place / "downloads"
        self._answers: dict[int, dict[str, Any]] = {}
        self._asked = 0

    def ask(self, what: str, **arguments: Any) -> int:
        """Ask for something; its number for ``answer``."""
        self._asked += 1
        to = _open(self.popen.stdin)
        to.write(json.dumps({"id": self._asked, "do": what, **arguments}).encode() + b"\n")
        to.flush()
        return self._asked

    def answer(self, number: int) -> dict[str, Any]:
        """What came of it.  Failed if it failed."""
        while number not in self._answers:
            line = _open(self.popen.stdout).readline()
            if not line:
                self.stop()
                raise Failed(f"{self.name} has ended{self.words()}")
            answer = json.loads(line)
            self._answers[answer.pop("id")] = answer
        answer = self._answers.pop(number)
        if "error" in answer:
            raise Failed(f"{self.name}: {answer['error']}")
        return answer

    def do(self, what: str, **arguments: Any) -> dict[str, Any]:
        return self.answer(self.ask(what, **arguments))


def _open(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


@contextlib.contextmanager
def two_peers(place: Path, limits: Sequence[str] = ()) -> Iterator[tuple[Peer, Peer]]:
    """A registry and two linked peers, ``anna`` and ``bert``, each in a place of its own."""
    places = [place / name for name in ("registry", "anna", "bert")]
    for made in places:
        made.mkdir()
    registry = Registry(places[0])
    with contextlib.ExitStack() as running:
        running.enter_context(stopped_after(registry))
        anna, bert = Peer(places[1], "anna", registry.join, limits), Peer(places[2], "bert", registry.join, limits)
        running.enter_context(stopped_after(anna, bert))
        anna.do("meet", name="bert")
        bert.do("meet", name="anna")
        yield anna, bert


@contextlib.contextmanager
def costs(sample: Sample, **processes: int) -> Iterator[None]:
    """CPU seconds and peak memory of running processes during the block, added to ``sample`` by their roles."""
    before = {role: cpu_seconds(pid) for role, pid in processes.items()}
    yield
    for role, pid in processes.items():
        sample[f"cpu_s_{role}"] = cpu_seconds(pid) - before[role]
        sample[f"peak_mb_{role}"] = memory_mb(pid)


class Load(Process):
    """Many clients in one process in C, which answers a line with a line of JSON; see load.c and hub.c."""

    def __init__(self, program: Path, clients: Path, output: Path) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        super().__init__([program, clients], output=output, **pipes)

    def ask(self, *words: object) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(" ".join(map(str, words)) + "\n")
        self.popen.stdin.flush()

    def answer(self) -> Sample:
        """Failed if it could not, or if somebody was not told."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            raise Failed(f"the load has ended{self.words()}")
        answer: Sample = json.loads(line)
        if answer.pop("missed", 0) or "error" in answer:
            raise Failed(f"the load: {line}{self.words()}")
        return answer

    def do(self, *words: object) -> Sample:
        self.ask(*words)
        return self.answer()


# --- turns and results ----------------------------------------------------------------------------


def in_turn(rounds: int, contestants: Mapping[str, Contestant]) -> tuple[dict[str, list[Sample]], dict[str, str]]:
    """The samples of each: one run to warm up, then A B C, A B C, ...; and why others were left out."""
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    left_out: dict[str, str] = {}
    for number in range(rounds + 1):
        for name, run in contestants.items():
            if name in left_out:
                continue
            try:
                busy, began = busy_seconds(), time.monotonic()
                sample = run()
            except Skipped as reason:
                left_out[name] = str(reason)
                print(f"  {name}: skipped, {reason}", file=sys.stderr)
                continue
            cores = (os.cpu_count() or 1) * (time.monotonic() - began)
            sample["machine_busy"] = (busy_seconds() - busy) / cores
            if number:
                samples[name].append(sample)
            turn = f"round {number}" if number else "warm-up"
            print(f"  {turn:8} {name:14} {_in_words(sample)}", file=sys.stderr, flush=True)
    return {name: found for name, found in samples.items() if found}, left_out


def _in_words(sample: Sample) -> str:
    return "  ".join(f"{key} {value:,.4g}" for key, value in sample.items())


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "min": _rounded(min(values)),
        "median": _rounded(statistics.median(values)),
        "max": _rounded(max(values)),
    }


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(samples: Mapping[str, Sequence[Sample]]) -> dict[str, dict[str, dict[str, float]]]:
    """For each contestant and quantity: min, median, max."""
    return {
        name: {key: spread([sample[key] for sample in found]) for key in found[0]} for name, found in samples.items()
    }


def ratios(samples: Mapping[str, Sequence[Sample]], ours: str, quantity: str = "seconds") -> dict[str, object]:
    """How many times faster ``ours`` is than each other, round by round: 2 is half the time."""
    return {
        name: spread([theirs[quantity] / mine[quantity] for mine, theirs in zip(samples[ours], found, strict=True)])
        for name, found in samples.items()
        if name != ours
    }


def report(benchmark: str, place: Path, rounds: int, **results: Any) -> None:
    """The one line of JSON."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    line = {
        "benchmark": benchmark,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {
            "processor": processor,
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": platform.platform(),
            "file_system": file_system(place),
        },
        "versions": {
            "python": platform.python_version(),
            "openssl": SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode(),
            "sqlite": sqlite3.sqlite_version,
            **{name: importlib.metadata.version(name) for name in PACKAGES},
        },
        "rounds": rounds,
        **results,
    }
    print(json.dumps(line), flush=True)
