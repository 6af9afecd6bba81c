"""The start of a program under twistd, and the words of the command line when it could not start.

In the foreground the terminal hears them from this process, in the background from the one in front.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core.errors import CannotListen, ChatnetError, system_reason
from chatnet.core.text import safe_line
from chatnet.host.exits import START_FAILED, complain, stop_with
from chatnet.host.start_report import StartReport

_PORT_ADVICE = {
    "in-use": "Stop it, or choose:",
    "needs-root": "Choose:",
    "not-permitted": "Choose another:",
    "no-such-address": "Try:",
}


class Start:
    """One start of ``command``; ``advice`` says what to do about an error, by its code."""

    log = Logger("chatnet.start")

    def __init__(self, command: str, daemon: bool, advice: Mapping[str, str]) -> None:
        self._command = command
        self._advice = advice
        self._report = StartReport() if daemon else None

    def run(self, start: Callable[[], None]) -> None:
        """Call ``start`` in ``startService``; if it raises anything, the process ends with one line and code 1."""
        try:
            start()
        except Exception as error:
            self._refuse(error)

    def done(self, line: str = "") -> None:
        """Report that the program runs.  ``line`` is shown in front of a background process, and nowhere else."""
        if self._report is not None:
            self._report.started(f"{self._command}: {line}" if line else "")

    def failed(self, reactor: Any, failure: Failure) -> None:
        """Stop in order, with one line and code 1, because the program cannot run although the reactor does."""
        assert failure.value is not None
        if not isinstance(failure.value, ChatnetError):
            self.log.failure("{command} could not start", failure, command=self._command)
        line = self.line(failure.value)
        if self._report is not None:
            self._report.failed(line)
        stop_with(reactor, START_FAILED, line)

    def line(self, error: BaseException) -> str:
        """Return what is said of ``error``."""
        return f"{self._command}: {self._words(error)}"

    def _refuse(self, error: Exception) -> NoReturn:
        if not isinstance(error, ChatnetError):
            self.log.failure("{command} could not start", command=self._command)
        line = self.line(error)
        if self._report is not None:
            self._report.failed(line)
            raise error  # twistd removes its pidfile
        complain(line)
        raise SystemExit(START_FAILED)

    def _words(self, error: BaseException) -> str:
        if isinstance(error, CannotListen) and error.code in _PORT_ADVICE:
            words = _PORT_ADVICE[error.code]
            advice = f"{words} --{error.setting} {error.instead}" if error.instead else "Choose another."
        elif isinstance(error, ChatnetError):
            advice = self._advice.get(error.code, "")
        elif isinstance(error, OSError):
            where = f"{error.filename}: " if error.filename else ""
            return f"cannot start: {safe_line(where)}{system_reason(error)}."
        else:
            return f"could not start: {safe_line(str(error))} ({type(error).__name__})."
        return f"{error.text} {advice}".rstrip()
