"""Output whose reader stands still: nobody waits for it."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatnet.host import local_output
from chatnet.host.exits import LAST_WORDS_SECONDS
from chatnet.host.local_output import LineOutput, LocalOutput, write_now
from chatnet.host.logging import WAITING_LINES, ProgramLog

MORE_THAN_A_PIPE = 300_000  # bytes


def taken_by(output: LocalOutput) -> int:
    """How many bytes go until nothing is taken any more."""
    taken = 0
    while taken < 10_000_000 and (more := output.write(b"x" * 1000)):
        taken += more
    return taken


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
@pytest.mark.parametrize("own", [True, False], ids=["opened anew", "shared"])
def test_a_full_one_takes_nothing_and_the_shared_flag_stays(
    kind: str, own: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, writing = request.getfixturevalue(kind)
    if not own:
        monkeypatch.setattr(local_output.os, "open", _refused)
    output = LocalOutput(writing)
    monkeypatch.undo()
    try:
        assert 0 < taken_by(output) < 10_000_000
        assert os.get_blocking(writing)
        os.read(reading, 100_000)
        assert output.write_within(b"now", 5.0) == b""
    finally:
        output.close()


def _refused(*_: object, **__: object) -> int:
    raise PermissionError("as a terminal of another user")


def test_a_regular_file_takes_everything(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        output = LocalOutput(file.fileno())
        assert output.write(b"x" * MORE_THAN_A_PIPE) == MORE_THAN_A_PIPE
        output.close()


def test_one_that_nobody_can_read_any_more_says_so(pipe: tuple[int, int]) -> None:
    reading, writing = os.pipe()
    output = LocalOutput(writing)
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        output.write(b"x")
    output.close()
    os.close(writing)


def test_lines_wait_and_those_that_are_lost_are_counted(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    lines = LineOutput(lambda: LocalOutput(writing), kept=100)
    for number in range(3_000):
        lines.write(f"{number:099}")
    read = b""
    os.set_blocking(reading, False)
    for number in range(3_000, 3_010):
        read += os.read(reading, 1_000_000)
        lines.write(f"{number:099}")
    read += os.read(reading, 1_000_000)
    whole = read.decode().splitlines()
    (told,) = [at for at, line in enumerate(whole) if "lost" in line]
    numbers = [int(line) for at, line in enumerate(whole) if at != told]
    lost = int(whole[told].split()[0].removeprefix("("))
    assert numbers[:told] == list(range(told))  # before the pipe was full
    assert numbers[told:] == list(range(3_010 - (len(whole) - told - 1), 3_010))  # and the newest, without a gap
    assert lost == 3_010 - len(numbers)


def test_a_log_to_a_pipe_that_nobody_reads_ends_in_time() -> None:
    program = (
        "from chatnet.host.logging import ProgramLog\n"
        "log = ProgramLog('-')\n"
        "for n in range(5_000):\n"
        "    log({'log_format': 'x' * 100, 'log_time': float(n)})\n"
    )
    reading, writing = os.pipe()
    try:
        subprocess.run([sys.executable, "-c", program], stdout=writing, check=True, timeout=60)
        assert b"x" * 100 in os.read(reading, 1000)
    finally:
        os.close(reading)
        os.close(writing)


def test_a_fifo_as_log_is_written_to_once_somebody_reads_it(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o644)
    log = ProgramLog(str(fifo))
    log({"log_format": "before", "log_time": 1.0})
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    log({"log_format": "after", "log_time": 2.0})
    assert [line.split()[-1] for line in os.read(reading, 1000).decode().splitlines()] == ["before", "after"]
    os.close(reading)
    for number in range(2 * WAITING_LINES):
        log({"log_format": "nobody", "log_time": float(number)})  # the reader is gone: no SIGPIPE, no waiting
    log.close()
    assert stat.S_IMODE(fifo.stat().st_mode) == 0o644


def test_the_mode_of_a_device_behind_the_log_stays(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to("/dev/null")
    before = os.stat("/dev/null").st_mode
    log = ProgramLog()
    log.open(tmp_path / "log")
    log({"log_format": "hello", "log_time": 1.0})
    log.close()
    assert os.stat("/dev/null").st_mode == before


def test_last_words_do_not_wait_for_long(pipe: tuple[int, int]) -> None:
    _, writing = pipe
    taken_by(LocalOutput(writing))
    with os.fdopen(os.dup(writing), "w") as stream:
        began = time.monotonic()
        assert not write_now(stream, "goodbye\n" * 1000, LAST_WORDS_SECONDS)
        assert time.monotonic() - began < 5 * LAST_WORDS_SECONDS
        assert os.get_blocking(writing)
