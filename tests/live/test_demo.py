"""``python -m chatnet.programs.demo``, as somebody who tries it sees it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from chatnet.programs.demo import FILE_TEXT
from tests.support.stage import Stage

pytestmark = pytest.mark.live


def demo_pids(directory: Path) -> list[str]:
    """The processes that were started with this directory for their files."""
    needle, found = str(directory).encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if needle in (process / "environ").read_bytes() and int(process.name) != os.getpid():
                found.append(process.name)
        except OSError:
            continue
    return found


def test_one_person_alone_chats_and_exchanges_files(stage: Stage) -> None:
    demo = stage.terminal("-m", "chatnet.programs.demo", program=sys.executable)
    demo.shows("registry up · 1 peer", "echo")
    demo.enter("/msg echo hello, is anybody there?")
    stage.until(lambda: demo.text.count("hello, is anybody there?") == 2, "the message comes back")
    demo.shows("✓")
    (directory,) = stage.directory.glob("chatnet-demo-*")

    demo.enter("file please")
    demo.shows("hello-from-echo.txt")
    demo.answer("\x1by")
    stage.until(
        lambda: any(path.read_text() == FILE_TEXT for path in (directory / "downloads").rglob("*.txt")), "it came"
    )

    mine = stage.directory / "mine.txt"
    mine.write_text("from carol\n")
    demo.enter(f"/send echo {mine}")
    stage.until(
        lambda: any(path.read_text() == "from carol\n" for path in (directory / "downloads").rglob("mine.txt")), "sent"
    )
    demo.type("\x1bt")
    demo.shows("Transfers", "2 finished", "✓ delivered", "✓ received")

    demo.type("\x03\x03")
    assert demo.ends() == 0
    demo.is_restored()
    assert not list(stage.directory.glob("chatnet-demo-*"))
    stage.until(lambda: not demo_pids(directory), "everything has ended")
    assert "Traceback" not in demo.text
