"""Ways out, seen from outside: the words and the exit code."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_a_complaint_is_one_clean_line_on_the_terminal() -> None:
    done = run(
        "import sys, io; sys.stderr = io.StringIO()\n"  # as under twistd's logging
        "from chatnet.host.exits import complain\n"
        "complain('chatpeer: carol is already running here.\\x1b[2J')"
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "chatpeer: carol is already running here.\ufffd[2J\n"


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
