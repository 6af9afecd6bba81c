"""The console in a real terminal: what it draws and takes, and that it gives the terminal back whole."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable

import pytest

from tests.support.stage import Process, Stage, Terminal

pytestmark = pytest.mark.live


def by_keys(console: Terminal, registry: Process) -> None:
    console.type("\x03")
    console.shows("Press again to quit")
    console.type("\x03")


def by_command(console: Terminal, registry: Process) -> None:
    console.enter("/quit")


def by_f10(console: Terminal, registry: Process) -> None:
    console.type("\x1b[21~")


def by_end_of_input(console: Terminal, registry: Process) -> None:
    console.type("\x04")


def by_signal(console: Terminal, registry: Process) -> None:
    console.signal(signal.SIGTERM)


def by_hangup(console: Terminal, registry: Process) -> None:
    console.signal(signal.SIGHUP)


def by_interrupt(console: Terminal, registry: Process) -> None:
    console.signal(signal.SIGINT)


def without_registry(console: Terminal, registry: Process) -> None:
    registry.signal(signal.SIGKILL)
    console.shows("registry LOST")
    console.type("\x03\x03")


WAYS_OUT = (by_keys, by_command, by_f10, by_end_of_input, by_hangup, by_signal, by_interrupt, without_registry)


@pytest.fixture
def pair(stage: Stage) -> tuple[Terminal, Terminal]:
    """Two consoles that talk with each other."""
    stage.registry()
    ann, bob = stage.peer("ann"), stage.peer("bob")
    for one, other in ((ann, "bob"), (bob, "ann")):
        one.shows("registry up · 1 peer")
        one.enter(f"/msg {other}")
        one.shows(f"{other}>")
    return ann, bob


def test_every_way_out_leaves_the_terminal_whole(stage: Stage) -> None:
    registry = stage.registry()
    consoles: list[tuple[Terminal, Callable[[Terminal, Process], None]]] = [
        (stage.peer(f"ann-{number}"), leave) for number, leave in enumerate(WAYS_OUT)
    ]
    for console, _ in consoles:
        console.shows("registry up")
        assert console.modes[1049] or console.modes[47]
        assert console.modes[2004]
    for console, leave in consoles:
        leave(console, registry)
        assert console.ends() == {by_signal: -signal.SIGTERM, by_interrupt: -signal.SIGINT}.get(leave, 0)
        console.is_restored()
        assert "Traceback" not in console.text


def test_a_size_that_changes(pair: tuple[Terminal, Terminal]) -> None:
    ann, bob = pair
    ann.enter("one line of an ordinary length that has to be wrapped when there is little room for it")
    bob.shows("little room for it")
    for cols, rows in ((50, 14), (140, 40), (20, 5), (80, 24)):
        ann.raw.clear()
        ann.resize(cols, rows)
        ann.stage.until(lambda: ann.raw, "the screen is drawn anew")
        if cols >= 50:
            ann.shows("bob>")
            assert "Traceback" not in ann.text
            ann.stage.until(
                lambda cols=cols, rows=rows: (
                    [n for n, line in enumerate(ann.lines) if line.startswith("bob>")] == [rows - 2]
                    and any(len(line) > cols - 12 for line in ann.lines)
                ),
                f"the screen fills {cols}x{rows}",
            )
    ann.enter("still here")
    bob.shows("still here")


def test_a_paste_is_one_message(pair: tuple[Terminal, Terminal]) -> None:
    ann, bob = pair
    lines = [f"\tline {number}:\tof /quit a \x1b[31mpaste" for number in range(30)]
    ann.paste("\n".join(lines))
    ann.shows("line 29")
    assert "you" not in ann.text.replace("What you type", "")  # nothing was sent by it
    ann.type("\r")
    bob.shows("line 29:", "of /quit a")
    bob.type("\x1b[5~" * 6)
    bob.shows("line 0:")
    ann.type("\x1b[5~" * 6)
    ann.shows("✓", "line 0:")
    rows = [line for line in bob.lines if re.search(r"\d\d:\d\d ann ", line)]
    assert len(rows) == 1
    assert "line 0:" in rows[0]


def test_letters_of_the_world(pair: tuple[Terminal, Terminal]) -> None:
    ann, bob = pair
    words = "naïve 日本語 שלום 👍🏽 👩‍👩‍👧 e\u0301 \U0001fae8"
    ann.enter(words + " end")
    bob.shows("naïve", "日", "end")
    line = next(line for line in bob.lines if "naïve" in line)
    assert "ann" in line
    assert "│" in line
    bob.enter("👍👍👍")
    ann.stage.until(lambda: ann.text.count("👍") >= 3, "emoji come back")
    borders = {line.index("│") for line in ann.lines[2:-2] if "│" in line}
    assert len(borders) == 1


def test_hostile_text_moves_nothing(pair: tuple[Terminal, Terminal]) -> None:
    ann, bob = pair
    ann.paste("\x1b]0;gotcha\x07\x1b[2J\x1b[?1049l\u202egnp.exe\x9b31m end")
    ann.shows("end")
    ann.type("\r")
    bob.shows("end")
    assert bob.modes.get(1049, bob.modes.get(47))
    assert "gotcha" not in bob.screen.title
    bob.shows("ann>", "registry up")


def test_a_terminal_that_goes_away_ends_the_peer(stage: Stage) -> None:
    stage.registry()
    ann = stage.peer("ann")
    ann.shows("registry up")
    bob = stage.peer("bob")
    bob.shows("registry up · 1 peer", "ann")
    ann.hang_up()
    ann.ends()
    assert "critical" not in ann.log
    bob.shows("registry up · 0 peers")


def test_the_login_form(stage: Stage) -> None:
    stage.registry()
    taken = stage.headless("bob")
    stage.until(lambda: "registered at" in taken.log, "bob is there")
    stage.downloads.mkdir(exist_ok=True)
    carol = stage.terminal("-n", "chatpeer", "--registry", stage.join, "--data", "there", "--state", "also-there")
    carol.shows("log in", "Your name", "[ Login ]")
    assert "127.0.0.1" in carol.text
    carol.enter("No Name")
    carol.shows("cannot be a name")
    carol.type("\x7f" * 7)
    carol.enter("bob")
    carol.shows("belongs to another key")
    carol.type("\x7f" * 3)
    carol.enter("carol")
    carol.shows("registry up · 1 peer", "carol", "bob")
    carol.enter("/msg bob hello")
    stage.until(lambda: "✓" in carol.text, "it is delivered")
    carol.type("\x03\x03")
    assert carol.ends() == 0
    carol.is_restored()
    for place in ("there", "also-there"):  # nothing is left of bob
        assert [path.name for path in (stage.directory / place).iterdir()] == ["carol"]
