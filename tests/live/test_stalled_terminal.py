"""A terminal that nobody reads holds up its own screen and nothing else."""

from __future__ import annotations

import signal
import time

import pytest

from tests.support.stage import Stage, Terminal

pytestmark = pytest.mark.live

MESSAGES = 60  # with 19 rows of 80 columns each time, more than the system keeps of a terminal that is not read
LONG = " and many words more" * 3


@pytest.fixture
def pair(stage: Stage) -> tuple[Terminal, Terminal]:
    """Ann talks with bob, whose terminal nobody reads."""
    stage.registry()
    ann, bob = stage.peer("ann"), stage.peer("bob")
    for one, other in ((ann, "bob"), (bob, "ann")):
        one.shows("registry up · 1 peer")
        one.enter(f"/msg {other}")
        one.shows(f"{other}>")
    bob.enter("hello")  # of a stranger he would take twenty messages
    ann.shows("hello")
    bob.is_read = False
    for number in range(MESSAGES):
        ann.enter(f"number {number}{LONG}")
        ann.shows(f"number {number} and")
    return ann, bob


def test_what_is_said_meanwhile_is_acknowledged_and_shown_later(pair: tuple[Terminal, Terminal]) -> None:
    ann, bob = pair
    last = f"number {MESSAGES - 1} and"
    ann.stage.until(lambda: "✓" in next((line for line in ann.lines if last in line), ""), "the last is delivered", 5)
    assert last not in bob.text
    bob.is_read = True
    bob.shows(last)
    bob.enter("I am back")
    ann.shows("I am back")


def test_it_ends_in_time_and_leaves_the_terminal_whole(pair: tuple[Terminal, Terminal]) -> None:
    _, bob = pair
    began = time.monotonic()
    bob.signal(signal.SIGTERM)
    bob.ends()
    assert time.monotonic() - began < 10
    bob.is_read = True
    bob.is_restored()
