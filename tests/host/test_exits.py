"""Ways out, seen from outside: the words and the exit code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chatnet.core.errors import CannotListen, LocalError
from chatnet.host.exits import refuse_start, with_advice


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_a_refused_start_is_one_plain_line_and_1() -> None:
    done = run(
        "import sys, io; sys.stderr = io.StringIO()\n"  # as under twistd's logging
        "from chatnet.host.exits import refuse_start\n"
        "from chatnet.core.errors import LocalError\n"
        "refuse_start('chatpeer', LocalError('twin', 'carol is already running here.\\x1b[2J'), daemon=False)"
    )
    assert done.returncode == 1
    assert done.stderr == "chatpeer: carol is already running here.\ufffd[2J\n"


def test_a_daemon_leaves_the_words_to_twistd() -> None:
    error = LocalError("twin", "carol is already running here")
    with pytest.raises(LocalError) as caught:
        refuse_start("chatpeer", error, daemon=True)
    assert caught.value is error


def test_the_exit_code_after_an_orderly_stop() -> None:
    done = run(
        "import sys, io; sys.stdout = io.StringIO()\n"
        "from twisted.internet import reactor\n"
        "from chatnet.host.exits import say, stop_with\n"
        "reactor.addSystemEventTrigger('after', 'shutdown', say, 'stopped')\n"
        "reactor.callWhenRunning(stop_with, reactor, 3)\n"
        "reactor.run()\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "stopped\n", "")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CannotListen("in-use", "port 7 is used.", "tcp:8"), "port 7 is used. Stop it, or choose: --metrics tcp:8"),
        (CannotListen("in-use", "it is used."), "it is used. Choose another."),
        (CannotListen("needs-root", "it needs root.", "tcp:9909"), "it needs root. Choose: --metrics tcp:9909"),
        (CannotListen("not-permitted", "no.", "tcp:9909"), "no. Choose another: --metrics tcp:9909"),
        (CannotListen("no-such-address", "no.", "tcp:7"), "no. Try: --metrics tcp:7"),
        (CannotListen("listen", "too many open files."), "too many open files."),
    ],
)
def test_what_to_do_about_a_port_is_said_with_the_option_that_chooses_it(error: CannotListen, text: str) -> None:
    advised = with_advice(error, "--metrics")
    assert (advised.code, advised.text) == (error.code, text)


def test_a_start_without_its_port_is_refused_with_advice() -> None:
    with pytest.raises(LocalError) as caught:
        refuse_start("chatpeer", CannotListen("in-use", "port 7 is used.", "tcp:8"), daemon=True)
    assert caught.value.text == "port 7 is used. Stop it, or choose: --listen tcp:8"
