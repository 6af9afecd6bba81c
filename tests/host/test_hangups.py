"""SIGHUP while a program starts, and afterwards."""

from __future__ import annotations

import os
import pty
import signal
from collections.abc import Callable, Iterator

import pytest

from chatnet.host.hangups import EarlyHangup, handle_hangups, note_hangups


class Reactor:
    """Calls at once what another thread asks for."""

    def callFromThread(self, call: Callable[[], object]) -> None:
        call()


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_one_that_comes_early_is_noted_and_ends_nothing() -> None:
    note_hangups()
    os.kill(os.getpid(), signal.SIGHUP)
    heard: list[int] = []
    early = handle_hangups(Reactor(), lambda: heard.append(1))
    assert early.came
    assert heard == []
    os.kill(os.getpid(), signal.SIGHUP)
    assert heard == [1]


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    note_hangups()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_nothing_came() -> None:
    note_hangups()
    assert not handle_hangups(Reactor(), lambda: None).came


def test_without_the_early_handler_nothing_was_noted() -> None:
    assert not handle_hangups(Reactor(), lambda: None).came


def test_a_terminal_that_was_closed_is_told_from_one_that_is_there() -> None:
    pid, master = pty.fork()
    if pid == 0:  # with the pty as its terminal
        early = EarlyHangup()
        signal.signal(signal.SIGHUP, early)
        there = early.in_terminal and not early.lost_terminal
        os.kill(os.getpid(), signal.SIGHUP)
        still = not early.lost_terminal
        early.came = False
        os.write(1, b"ready")
        while not early.came:
            signal.pause()
        os._exit(0 if there and still and early.lost_terminal else 1)
    assert os.read(master, 5) == b"ready"
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
