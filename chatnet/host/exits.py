"""Ends the program with a message and an exit code, which twistd offers only before the reactor runs."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore

from chatnet.core.errors import CannotListen, ChatnetError, LocalError
from chatnet.core.limits import LAST_WORDS_SECONDS
from chatnet.core.text import safe_text
from chatnet.host.local_output import write_now

START_FAILED = 1
_ADVICE = {
    "in-use": "Stop it, or choose:",
    "needs-root": "Choose:",
    "not-permitted": "Choose another:",
    "no-such-address": "Try:",
}


def say(text: str) -> None:
    """Greet the person at the terminal, who may not read it; twistd's logging has ``sys.stdout`` by then."""
    write_now(sys.__stdout__, f"{text}\n")


def is_at_terminal() -> bool:
    """Whether standard input is a terminal that is still there."""
    try:
        os.tcgetpgrp(0)
    except OSError:
        return False
    return True


def complain(command: str, text: str) -> None:
    """One plain line on the terminal's error output."""
    write_now(sys.__stderr__, f"{command}: {safe_text(text)}\n", LAST_WORDS_SECONDS)


def refuse_start(command: str, error: ChatnetError, daemon: bool) -> NoReturn:
    """End a start that cannot be, from ``startService``: one plain line, exit code 1.

    A daemon has no terminal any more: twistd hands the error to the process that waits in front.
    """
    if isinstance(error, CannotListen):
        error = with_advice(error, "--listen")
    if daemon:
        raise error
    complain(command, error.text)
    raise SystemExit(START_FAILED)


def with_advice(error: CannotListen, option: str) -> LocalError:
    """``error`` with what to do about it, where ``option`` is what an endpoint is given by."""
    words = _ADVICE.get(error.code)
    if words is None:
        return error
    advice = f"{words} {option} {error.instead}" if error.instead else "Choose another."
    return LocalError(error.code, f"{error.text} {advice}")


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
    write_now(sys.__stderr__, f"{safe_text(line)}\n" if line else "", LAST_WORDS_SECONDS)
    os._exit(code)
