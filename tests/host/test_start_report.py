"""What the process in front of a fork says and ends with, whatever becomes of the one behind it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# As twistd does it: forked twice, without a terminal, with a report of its own that is not to be seen.
PROGRAM = """
import os, sys, time
from chatnet.host.start_report import StartReport
report = StartReport()
if os.fork():
    print("twistd's own words", file=sys.stderr)
    os._exit(3)
os.setsid()
if os.fork():
    os._exit(0)
null = os.open("/dev/null", os.O_RDWR)
for fd in range(3):
    os.dup2(null, fd)
{behind}
"""


def ended(behind: str) -> subprocess.CompletedProcess[str]:
    """The process in front, once it has ended."""
    program = PROGRAM.format(behind=behind)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)


def test_a_start_that_failed_is_one_line_and_1() -> None:
    done = ended("report.failed('chatpeer: the disk is full.\\x1b[2J')\nraise SystemExit(1)")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "chatpeer: the disk is full.\ufffd[2J\n")


def test_a_long_line_is_not_cut() -> None:
    done = ended(f"report.failed('chatpeer: ' + {500 * 'x'!r})")
    assert done.stderr == f"chatpeer: {500 * 'x'}\n"


def test_the_process_in_front_ends_after_a_failed_one(tmp_path: Path) -> None:
    left = tmp_path / "left"
    done = ended(f"report.failed('no')\ntime.sleep(0.2)\nopen({str(left)!r}, 'w').close()")
    assert done.returncode == 1
    assert left.exists()


@pytest.mark.parametrize(("line", "said"), [("chatpeer: it runs", "chatpeer: it runs\n"), ("", "")])
def test_a_start_that_succeeded_ends_the_process_in_front_at_once(tmp_path: Path, line: str, said: str) -> None:
    pipe = tmp_path / "pipe"
    behind = f"os.mkfifo({str(pipe)!r})\nreport.started({line!r})\nopen({str(pipe)!r}).read()"
    done = ended(behind)  # though the one behind goes on
    pipe.write_text("")
    assert (done.returncode, done.stderr) == (0, said)


def test_without_a_word_twistds_own_report_counts() -> None:
    done = ended("os._exit(1)")
    assert (done.returncode, done.stderr) == (3, "twistd's own words\n")


def test_a_word_for_nobody_is_no_trouble() -> None:
    done = ended("report.started()\nreport.started()\nreport.failed('later')")
    assert done.returncode == 0
