"""Starts that cannot be, in front and in the background: one line, exit code 1, and nothing is left running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.test_refusals import refused
from tests.support.stage import TWISTD, Process, Stage

pytestmark = pytest.mark.live

LISTEN = ("--listen", "tcp:0:interface=127.0.0.1")


def run(stage: Stage, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself, seen through pipes."""
    return subprocess.run(
        command,
        env={**stage.environ, **environ},
        cwd=stage.directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )


def program(name: str) -> list[str]:
    """The command line of one program, without twistd's options."""
    if name == "chatregistry":
        return [name, *LISTEN]
    return [name, "--name", "carol", "--headless", "--registry", "127.0.0.1:1", *LISTEN]


def ended_in_background(stage: Stage, profile: str) -> None:
    """End what twistd left in the background, by the pid in its lock file."""
    pid = int((stage.state / profile / "lock").read_text())
    os.kill(pid, signal.SIGTERM)
    stage.until(lambda: not Path(f"/proc/{pid}").exists(), "it ended")


@pytest.mark.parametrize("name", ["chatregistry", "chatpeer"])
@pytest.mark.parametrize("how", [["-n"], []], ids=["foreground", "background"])
def test_no_room_for_a_key_is_one_line(stage: Stage, name: str, how: list[str]) -> None:
    program_line = " ".join(["exec", TWISTD, *how, *program(name)])
    done = run(stage, "/bin/sh", "-c", f"ulimit -f 0; {program_line}")
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert re.match(rf"{name}: cannot make the key .*: the system does not allow files of that size here\.", line), line


@pytest.mark.parametrize(("name", "how"), [("chatregistry", ["-n"]), ("chatpeer", [])])
def test_no_room_for_the_database_is_one_line(stage: Stage, name: str, how: list[str]) -> None:
    profile = "registry" if name == "chatregistry" else "carol"
    first = run(stage, TWISTD, *program(name))
    assert first.returncode == 0, first.stdout
    ended_in_background(stage, profile)
    program_line = " ".join(["exec", TWISTD, *how, *program(name)])
    done = run(stage, "/bin/sh", "-c", f"ulimit -f 0; {program_line}")
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{name}: the d"), line  # the disk, or the database


def test_a_peer_in_the_background_says_that_it_runs(stage: Stage) -> None:
    done = run(stage, TWISTD, *program("chatpeer"))
    assert (done.returncode, done.stdout) == (0, "chatpeer: carol is running without console\n")
    second = run(stage, TWISTD, *program("chatpeer"))
    assert second.returncode == 1
    assert re.fullmatch(
        r"chatpeer: carol is already running here \(pid \d+\)\. A second peer needs another --name\.\n", second.stdout
    )
    ended_in_background(stage, "carol")


def test_a_name_that_is_taken_is_one_line_in_the_background_too(stage: Stage) -> None:
    stage.registry()
    bob = stage.headless("bob")
    stage.until(lambda: "registered at" in bob.log, "bob is there")
    elsewhere = {"CHATNET_DATA": str(stage.directory / "d"), "CHATNET_STATE": str(stage.directory / "s")}
    lines = [
        run(stage, TWISTD, *how, "chatpeer", "--headless", "--name", "bob", "--registry", stage.join, **elsewhere)
        for how in (["-n"], [])
    ]
    assert [done.returncode for done in lines] == [1, 1]
    assert lines[0].stdout == lines[1].stdout
    assert "chatpeer: " in lines[0].stdout
    assert bob.lives


def test_a_lost_key_is_no_first_start(stage: Stage) -> None:
    stage.registry().close()
    assert run(stage, TWISTD, *program("chatpeer")).returncode == 0
    ended_in_background(stage, "carol")
    for name, profile, ways in (("chatregistry", "registry", ["-n"]), ("chatpeer", "carol", ["-n", ""])):
        key = stage.data / profile / "identity.key"
        key.unlink()
        for way in ways:
            done = run(stage, TWISTD, *filter(None, [way]), *program(name))
            assert done.returncode == 1
            assert re.fullmatch(rf"{name}: the key .* is missing, but .*chatnet\.db is there, .*\n", done.stdout)
        assert not key.exists()


def test_a_removed_lock_lets_nobody_in(stage: Stage) -> None:
    stage.registry()
    bob = stage.headless("bob")
    stage.until(lambda: "registered at" in bob.log, "bob is there")
    (stage.state / "bob" / "lock").unlink()
    assert refused(stage.headless("bob")) == (
        "chatpeer: bob is already running here. A second peer needs another --name."
    )
    assert refused(stage.headless("bob", "--state", "other")).startswith("chatpeer: bob is already running here.")
    (stage.state / "registry" / "lock").unlink()
    assert refused(stage.run("-n", "chatregistry", *LISTEN)) == (
        "chatregistry: registry is already running here. A second registry needs other --data and --state."
    )
    assert bob.lives


@pytest.mark.parametrize("name", ["chatregistry", "chatpeer"])
def test_a_configuration_that_never_ends_is_one_line(stage: Stage, name: str) -> None:
    config = stage.directory / "pipe"
    os.mkfifo(config)
    line = refused(stage.run("-n", *program(name), "--config", str(config)))
    assert line == f"{name}: config {config} is not a regular file"


@pytest.fixture
def _hangups_end_programs() -> Iterator[None]:
    """As in a terminal: programs inherit that a signal is ignored, as under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def starting_in_a_terminal(stage: Stage, name: str) -> Process:
    """A program that has just begun to note SIGHUP, and nothing else."""
    process = stage.terminal("-n", *program(name), profile="registry" if name == "chatregistry" else "carol")

    def notes_hangups() -> bool:
        caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{process.popen.pid}/status").read_text())
        return caught is not None and bool(int(caught[1], 16) & 1 << (signal.SIGHUP - 1))

    stage.until(notes_hangups, "it notes them")
    assert not process.log
    return process


@pytest.mark.usefixtures("_hangups_end_programs")
@pytest.mark.parametrize("name", ["chatregistry", "chatpeer"])
def test_a_hangup_while_it_starts_ends_nothing(stage: Stage, name: str) -> None:
    """From the moment at which a program of ours is chosen; before it there is only Python and Twisted."""
    process = starting_in_a_terminal(stage, name)
    process.signal(signal.SIGHUP)
    stage.until(lambda: "listen" in process.log, "it started")
    assert process.lives


@pytest.mark.usefixtures("_hangups_end_programs")
@pytest.mark.parametrize("name", ["chatregistry", "chatpeer"])
def test_a_terminal_that_is_closed_while_it_starts_ends_it_in_order(stage: Stage, name: str) -> None:
    process = starting_in_a_terminal(stage, name)
    process.hang_up()
    assert process.ends() == 0
    assert "Traceback" not in process.log


def test_what_is_wrong_with_the_start_is_on_the_screen_and_nothing_false_is_sent(stage: Stage) -> None:
    config = stage.directory / "mine.toml"
    config.write_text("[peer]\nhedless = true\n")
    stage.registry()
    bob = stage.peer("bob", "--config", str(config))
    bob.shows("registry up", "hedless is no key", "Did you mean", "headless?")
    stage.environ |= {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "1"}
    ann = stage.peer("ann")
    stage.environ["PYTHONUTF8"] = "0"
    carol = stage.peer("carol")
    ann.shows("registry up", "The locale is not UTF-8, so")
    carol.shows("registry up", "The locale is not UTF-8: what ascii")
    for peer in (ann, carol):
        peer.type("/msg bob café")
    carol.shows("was left out.")
    ann.type("\r")
    carol.type("\r")
    bob.enter("/msg ann")
    bob.shows("ann café")
    bob.enter("/msg carol")
    stage.until(lambda: re.search(r"carol caf$", bob.text, re.MULTILINE), "what could be typed is there")
