"""Ends the program with a message and an exit code, which twistd offers only before the reactor runs."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore

from chatnet.core.limits import LAST_WORDS_SECONDS
from chatnet.core.text import safe_text
from chatnet.host.local_output import write_now

START_FAILED = 1


def say(text: str) -> None:
    """Greet the person at the terminal, who may not read it; twistd's logging has ``sys.stdout`` by then."""
    write_now(sys.__stdout__, f"{text}\n")


def complain(line: str) -> None:
    """Write one plain line to the terminal's error output."""
    write_now(sys.__stderr__, f"{safe_text(line)}\n", LAST_WORDS_SECONDS)


def stop(reactor: IReactorCore) -> None:
    """Stop in order; a program that is stopping already goes on with that."""
    with suppress(ReactorNotRunning):
        reactor.stop()


def stop_with(reactor: IReactorCore, code: int, line: str = "") -> None:
    """Stop in order, and let the process end with ``code``, its last word ``line`` on stderr.

    twistd ends with 0 after every orderly stop; what is registered with atexit now runs before
    anything registered earlier, after the services have stopped and all threads have ended.
    """
    atexit.register(_end, code, line)
    if reactor.running:
        reactor.stop()
    else:
        reactor.callWhenRunning(reactor.stop)


def _end(code: int, line: str) -> None:
    write_now(sys.__stdout__, "")
    if line:
        complain(line)
    os._exit(code)
