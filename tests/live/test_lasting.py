"""What a restart, a newer program's database and a full disk leave behind: real processes, real files."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.stage import Stage

pytestmark = pytest.mark.live

LEAVE = "\x03\x03"


@pytest.fixture
def small_disk(stage: Stage) -> Iterator[Path]:
    """A file system of 4 MiB for carol's data; only root can have one."""
    place = stage.directory / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        for process in stage.processes:
            process.close()
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_newer_programs_database_is_refused_and_left_alone(stage: Stage) -> None:
    stage.registry()
    bob = stage.headless("bob")
    stage.until(lambda: "registered at" in bob.log, "bob is there")
    bob.close()
    (path,) = (stage.data / "bob").glob("*.db")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 999")
    before = path.read_bytes()
    for again in (stage.headless("bob"), stage.peer("bob")):
        assert again.ends() == 1
        again.look()
        said = again.text if hasattr(again, "text") else again.said
        words = " ".join(said.split())
        assert re.search(r"chatpeer: a newer chatnet wrote .* \(version 999, this one knows \d+\)", words)
        assert "nothing was changed" in words
    assert path.read_bytes() == before


def test_tabs_drafts_and_unread_marks_are_back(stage: Stage) -> None:
    stage.registry()
    ann, bob, eve = stage.peer("ann"), stage.peer("bob"), stage.peer("eve")
    ann.shows("bob", "eve")
    ann.enter("/msg eve")
    ann.enter("hello eve")
    eve.shows("2 ann")
    ann.enter("/msg bob")
    ann.type("half a tho")
    ann.shows("bob> half a tho")
    ann.type("\x1b1")
    bob.shows("ann")
    bob.enter("/msg ann")
    bob.enter("are you there?")
    ann.shows("3 bob(1)")
    ann.type(LEAVE)
    assert ann.ends() == 0
    ann = stage.peer("ann")
    ann.shows("2 eve", "3 bob(1)")
    ann.type("\x1b3")
    ann.shows("bob> half a tho", "are you there?")


def test_a_full_disk_is_a_banner_and_nothing_is_lost(stage: Stage, small_disk: Path) -> None:
    stage.registry()
    carol, dave = stage.peer("carol", "--data", str(small_disk)), stage.peer("dave")
    carol.shows("dave")
    dave.shows("carol")
    carol.enter("/msg dave")
    carol.enter("hello")  # on a disk below its reserve nothing is taken of strangers
    carol.shows("✓")
    dave.enter("/msg carol")
    dave.enter("one")
    dave.shows("✓")
    carol.shows("one")
    filler = small_disk / "filler"
    subprocess.run(
        ["dd", "if=/dev/zero", f"of={filler}", "bs=4096"], capture_output=True, check=False
    )  # until it is full
    sent = 0
    while "The disk is full" not in carol.text:  # pages that were there already take a little more
        sent += 1
        dave.enter(f"number {sent} " + "y" * 300)
        dave.shows(f"number {sent}")
        assert sent < 100
    carol.type("precious")
    carol.type("\r")
    carol.shows("Not sent", "dave> precious")
    filler.unlink()
    stage.until(lambda: "The disk is full" not in carol.text, "the banner goes by itself")
    carol.type("\r")
    dave.shows("precious")
    carol.shows(f"number {sent}")
    stage.until(lambda: "waiting" not in dave.text and "sent" not in dave.text, "all ticks are there", seconds=60)
