"""The main job with real processes: who is there, chat, files, and a registry that dies."""

from __future__ import annotations

import re
import signal

import pytest

from tests.support.stage import Process, Stage, Terminal

pytestmark = pytest.mark.live

QUICK = ("--limit", "silence_seconds=3", "--limit", "ping_seconds=1")
FILE_BYTES = 60_000_000
TALK_BYTES = 8_000  # more than the registry's links say by themselves meanwhile, far less than the file


def traffic(registry: Process) -> int:
    """Bytes in and out of the registry, by its log."""
    bytes_in, bytes_out = re.findall(r"traffic: \d+ peers, (\d+) bytes in, (\d+) bytes out", registry.log)[-1]
    return int(bytes_in) + int(bytes_out)


def large_file(stage: Stage) -> str:
    path = stage.directory / "large.bin"
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 4096)
        file.truncate(FILE_BYTES)
    return str(path)


def same_file(stage: Stage, sender: str) -> bool:
    got = stage.downloads / sender / "large.bin"
    return got.exists() and got.read_bytes() == (stage.directory / "large.bin").read_bytes()


def said(one: Terminal, words: str) -> str:
    """The row of ``one``'s screen that shows ``words``, with the sign of what became of them."""
    return "".join(line for line in one.lines if words in line)


def talk(one: Terminal, other: Terminal, words: str) -> None:
    """A message from ``one``, seen by ``other``, who has that conversation open afterwards."""
    one.enter(f"/msg {other.profile} {words}")
    one.stage.until(lambda: "✓" in said(one, words), f"'{words}' is delivered")
    other.enter(f"/msg {one.profile}")
    other.shows(words)


def test_three_from_one_directory(stage: Stage) -> None:
    registry = stage.registry("--limit", "traffic_log_seconds=0.2")
    ann, bob, carol = everybody = [stage.peer(name) for name in ("ann", "bob", "carol")]
    for one in everybody:
        one.shows("registry up · 2 peers", *({"ann", "bob", "carol"} - {one.profile}))
    talk(ann, bob, "hello bob")
    talk(bob, ann, "hello ann")
    stage.until(lambda: "traffic: 3 peers" in registry.log, "the registry tells its traffic")
    before = traffic(registry)

    ann.enter(f"/send bob {large_file(stage)}")
    bob.shows("large.bin", "57 MiB")
    bob.answer("\x1by")
    stage.until(lambda: ": done" in bob.log and ": done" in ann.log, "the file has crossed")
    assert same_file(stage, "ann")
    ann.type("\x1bt")
    ann.shows("1 finished", "✓ delivered")

    talk(carol, bob, "the last word")
    registry.signal(signal.SIGTERM)
    assert registry.ends() == -signal.SIGTERM  # twistd's way, after the orderly stop
    assert 0 < before <= traffic(registry) < before + TALK_BYTES
    for one in everybody:
        one.type("\x03\x03")
    assert [one.ends() for one in everybody] == [0, 0, 0]
    texts = "".join(process.log for process in stage.processes)
    assert "hello" not in texts  # no log holds what was said
    assert "last word" not in texts


def test_a_new_peer_is_seen_within_a_second_or_so(stage: Stage) -> None:
    stage.registry()
    ann = stage.peer("ann")
    ann.shows("registry up")
    bob = stage.headless("bob")
    stage.until(lambda: "registered at" in bob.log, "bob has registered")
    stage.until(lambda: "● bob" in ann.text, "ann sees bob", seconds=1.5)
    bob.signal(signal.SIGTERM)
    assert bob.ends() == -signal.SIGTERM
    stage.until(lambda: "● bob" not in ann.text, "bob has left", seconds=1.5)


def test_a_stopped_peer_leaves_and_is_back_when_it_goes_on(stage: Stage) -> None:
    stage.registry(*QUICK)
    ann, bob = stage.peer("ann", *QUICK), stage.peer("bob", *QUICK)
    for one in (ann, bob):
        one.shows("1 peer")
    talk(ann, bob, "are you there")
    bob.signal(signal.SIGSTOP)
    ann.shows("registry up · 0 peers")
    ann.enter("/msg bob still there?")
    # On the link that nobody has given up yet it is sent, without one it waits; it is delivered in neither case.
    stage.until(lambda: any(word in said(ann, "still there?") for word in ("sent", "waiting")), "it is on its way")
    bob.signal(signal.SIGCONT)
    bob.shows("registry up · 1 peer", "still there?")
    stage.until(lambda: "✓" in said(ann, "still there?"), "it is delivered")
    assert bob.text.count("still there?") == 1


def test_a_killed_registry_stops_neither_chat_nor_file_and_comes_back(stage: Stage) -> None:
    registry = stage.registry()
    port = stage.port
    ann, bob = stage.peer("ann"), stage.peer("bob")
    for one in (ann, bob):
        one.shows("1 peer")
    talk(ann, bob, "before")
    ann.enter(f"/send bob {large_file(stage)}")
    bob.shows("large.bin")
    bob.answer("\x1by")
    stage.until(lambda: ": running" in ann.log, "the file is on its way")
    ann.signal(signal.SIGSTOP)  # so that it is not there before the registry is gone
    registry.signal(signal.SIGKILL)
    assert registry.ends() == -signal.SIGKILL
    ann.signal(signal.SIGCONT)
    for one in (ann, bob):
        one.shows("registry LOST")
    stage.until(lambda: ": done" in ann.log and ": done" in bob.log, "the file has crossed")
    assert same_file(stage, "ann")
    talk(bob, ann, "in between")

    stage.registry(listen=f"tcp:{port}:interface=127.0.0.1")
    for one in (ann, bob):
        one.shows("registry up · 1 peer")
    talk(ann, bob, "afterwards")
    assert registry.log.count("registered ann") == registry.log.count("registered bob") == 2  # once at each
    for words in ("before", "in between", "afterwards"):
        assert (ann.text.count(words), bob.text.count(words)) == (1, 1)


def test_what_waits_goes_out_when_both_are_back(stage: Stage) -> None:
    stage.registry()
    ann, bob = stage.peer("ann"), stage.peer("bob")
    ann.shows("1 peer")
    talk(ann, bob, "hello")
    bob.type("\x03\x03")
    assert bob.ends() == 0
    ann.shows("0 peers")
    ann.enter("/msg bob for later")
    ann.shows("for later", "waiting")
    ann.type("\x03\x03")
    assert ann.ends() == 0
    ann, bob = stage.peer("ann"), stage.peer("bob")
    bob.shows("ann(1)")
    bob.enter("/msg ann")
    bob.shows("hello", "for later")
    ann.enter("/msg bob")
    stage.until(lambda: "for later" in ann.text and "waiting" not in ann.text, "it is delivered")
