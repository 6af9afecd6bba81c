"""How a start that cannot be is worded by the command line."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from chatnet.core.errors import CannotListen, LocalError, StoreFailed
from chatnet.programs.start import Start

ADVICE = {"twin": "A second peer needs another --name."}


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (LocalError("twin", "carol is already running here."), f"carol is already running here. {ADVICE['twin']}"),
        (LocalError("key", "the key is missing."), "the key is missing."),
        (StoreFailed("no-space", "the disk is full"), "the disk is full"),
        (CannotListen("in-use", "port 7 is used.", "tcp:8"), "port 7 is used. Stop it, or choose: --listen tcp:8"),
        (
            CannotListen("in-use", "port 7 is used.", "tcp:8", setting="metrics"),
            "port 7 is used. Stop it, or choose: --metrics tcp:8",
        ),
        (CannotListen("in-use", "it is used."), "it is used. Choose another."),
        (CannotListen("needs-root", "it needs root.", "tcp:9909"), "it needs root. Choose: --listen tcp:9909"),
        (CannotListen("not-permitted", "no.", "tcp:9909"), "no. Choose another: --listen tcp:9909"),
        (CannotListen("no-such-address", "no.", "tcp:7"), "no. Try: --listen tcp:7"),
        (CannotListen("listen", "too many open files."), "too many open files."),
        (OSError(errno.ENOSPC, "No space left on device"), "cannot start: the disk is full."),
        (OSError(errno.ENOSPC, "No space left", "/a/b"), "cannot start: /a/b: the disk is full."),
        (OSError(errno.EACCES, "Permission denied", "/a"), "cannot start: /a: permission denied."),
        (ValueError("\x1b[2J"), "could not start: \ufffd[2J (ValueError)."),
    ],
)
def test_each_error_is_one_line_with_what_to_do(error: Exception, line: str) -> None:
    assert Start("chatpeer", False, ADVICE).line(error) == f"chatpeer: {line}"


@pytest.mark.parametrize("error", ["OSError(28, 'No space left on device')", "ValueError('the disk is full')"])
def test_whatever_stops_a_start_is_a_line_on_the_terminal_and_1(error: str) -> None:
    program = f"""
import io, sys
sys.stderr = io.StringIO()  # as under twistd's logging
from chatnet.programs.start import Start
def start():
    raise {error}
Start("chatregistry", False, {{}}).run(start)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("chatregistry: ")
    assert "the disk is full" in line


def test_a_start_that_succeeds_says_nothing_in_the_foreground(capfd: pytest.CaptureFixture[str]) -> None:
    start = Start("chatpeer", False, ADVICE)
    start.run(lambda: None)
    start.done("it runs")
    assert capfd.readouterr() == ("", "")
