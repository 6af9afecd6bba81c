"""Our log: one private file a profile, rotated, and nothing in it that could move a cursor.

It waits in memory until the profile is known, since a peer may learn its name from a login form.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path

from twisted.application.service import MultiService
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, formatTime
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from zope.interface import implementer

from chatnet.core.limits import LOG_BYTES
from chatnet.core.text import safe_line
from chatnet.host.local_output import LineOutput, LocalOutput
from chatnet.host.log_file import RotatingFile

WAITING_LINES = 1_000  # kept in memory while there is no file
LINES_PER_SECOND = 10  # of one kind; the rest is counted
LINE_CHARS = 600
TRACEBACK_LINES = 60
TO_STDOUT = "-"


@implementer(ILogObserver)
class ProgramLog:
    """Twisted's log events as clean lines, in memory until ``open`` names a file.

    ``chosen`` is the user's own ``--logfile``, which wins over every ``open``; ``-`` is standard
    output.  May be called from any thread.
    """

    def __init__(self, chosen: str = "") -> None:
        self._chosen = chosen
        self._path: Path | None = Path(chosen) if chosen and chosen != TO_STDOUT else None
        self._file: RotatingFile | LineOutput | None = None
        self._waiting: deque[str] = deque(maxlen=WAITING_LINES)
        self._second = 0
        self._kinds: Counter[tuple[str, str]] = Counter()
        self._lock = threading.RLock()

    @property
    def place(self) -> str:
        """Return where the lines go, for people; empty while they wait in memory."""
        return self._chosen or str(self._path or "")

    @property
    def path(self) -> Path | None:
        """The file that the lines go to; None while they wait in memory, or go to standard output."""
        return self._path

    def open(self, path: Path) -> None:
        """Write into ``path`` from now on, after everything that waited; its directory must exist."""
        with self._lock:
            if not self._chosen:
                self._path = path
            waiting = list(self._waiting)
            self._waiting.clear()
            for line in waiting:
                self._write(line)

    def close(self) -> None:
        """Keep lines in memory again, because the profile was given up."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
            if not self._chosen:
                self._path = None

    def __call__(self, event: LogEvent) -> None:
        with self._lock:
            for line in self._limited(event):
                self._write(line)

    def _limited(self, event: LogEvent) -> Iterator[str]:
        """Yield the lines of an event, and before them a count of what was left out in an earlier second."""
        second = int(event.get("log_time", 0))
        if second != self._second:
            stamp = _stamp(float(self._second))
            for (namespace, form), count in self._kinds.items():
                if count > LINES_PER_SECOND:
                    more = count - LINES_PER_SECOND
                    yield f"{stamp} info {namespace}: {more} more like: {safe_line(form, LINE_CHARS)}"
            self._kinds.clear()
            self._second = second
        kind = (_namespace(event), str(event.get("log_format") or event.get("log_text") or ""))
        self._kinds[kind] += 1
        if self._kinds[kind] <= LINES_PER_SECOND:
            yield from lines_of(event)

    def _write(self, line: str) -> None:
        if self._path is None and self._chosen != TO_STDOUT:
            self._waiting.append(line)
            return
        # A full disk, or no descriptor left: the program is worth more than its log, and the
        # next line tries again.
        try:
            if self._file is None:
                self._file = _log_file(self._path, private=not self._chosen)
            if isinstance(self._file, LineOutput):
                self._file.write(line)
            else:
                self._file.write(f"{line}\n".encode())
        except (OSError, ValueError):
            self._file = None


class LoggedService(MultiService):
    """A program's services, and its log: twistd asks the Application it makes for an observer.

    So nothing global names our log, and the user's ``--logger`` and ``--syslog`` still win
    (``log`` is None then).
    """

    def __init__(self, log: ProgramLog | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.log = log

    def setServiceParent(self, parent: object) -> None:
        if self.log is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.log)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]


def lines_of(event: LogEvent) -> Iterator[str]:
    """Yield one event as clean lines: time, level, where, what; a traceback's lines are indented.

    The indentation is what keeps an exception's text from passing as a line of its own.
    """
    level = event.get("log_level") or LogLevel.info
    head = f"{_stamp(event.get('log_time'))} {level.name} {_namespace(event)}:"
    yield f"{head} {safe_line(formatEvent(event), LINE_CHARS)}"
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        for line in _traceback(failure)[-TRACEBACK_LINES:]:
            yield f"    {safe_line(line, LINE_CHARS)}"


def _traceback(failure: Failure) -> list[str]:
    try:
        return failure.getTraceback().splitlines()
    except Exception as error:  # an exception whose own text cannot be made
        return [f"no traceback: {type(error).__name__}"]


def _namespace(event: LogEvent) -> str:
    return safe_line(str(event.get("log_namespace") or event.get("log_system") or "-")).removeprefix("chatnet.")


def _stamp(seconds: float | None) -> str:
    return formatTime(seconds)


def _log_file(path: Path | None, private: bool) -> RotatingFile | LineOutput:
    """Return the log of a program at ``path``; None is standard output.

    A pipe, a FIFO or a device is written to as far as its reader takes it, and left as it is.
    """
    if path is None:
        return LineOutput(_standard_output, WAITING_LINES)
    try:
        is_plain = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        is_plain = True
    if not is_plain:
        return LineOutput(lambda: _opened(path), WAITING_LINES)
    return RotatingFile(path, LOG_BYTES, private)


def _standard_output() -> LocalOutput:
    """Open standard output.  Raises OSError where there is none."""
    if sys.__stdout__ is None:
        raise OSError(errno.EBADF, "there is no standard output")
    return LocalOutput(sys.__stdout__.fileno())


def _opened(path: Path) -> LocalOutput:
    """Open the output at ``path``.  Raises OSError, also for a FIFO that nobody reads."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return LocalOutput(fd)
    finally:
        os.close(fd)
