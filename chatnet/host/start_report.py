"""How the start of a background process ended, told by the process in front, which forked it.

twistd has such a report of its own, but cuts it after 100 bytes, shows it as a Python value, and sends it
before anything that takes its time, such as opening the database, has succeeded or failed.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress

from chatnet.core.limits import FAILED_START_SECONDS, START_REPORT_BYTES, START_WAIT_SECONDS
from chatnet.host.exits import START_FAILED, complain

_STARTED, _FAILED = b"0", b"1"
_INTERRUPTED = 130


class StartReport:
    """A line from the process behind the fork to the terminal, and the exit code of the process in front of it.

    Made before the fork.  The process in front then waits until ``started`` or ``failed`` is called behind it.
    If it is not within START_WAIT_SECONDS, or the process behind ends before, twistd's own report counts.
    """

    def __init__(self) -> None:
        self._front = os.getpid()
        self._reads, self._writes = os.pipe()
        os.register_at_fork(after_in_parent=self._wait)

    def started(self, line: str = "") -> None:
        """Let the process in front show ``line``, if there is one, and end with 0."""
        self._tell(_STARTED, line)
        self._close()

    def failed(self, line: str) -> None:
        """Let the process in front show ``line``, and end with 1 once this one has ended."""
        self._tell(_FAILED, line)

    def _tell(self, code: bytes, line: str) -> None:
        if self._writes >= 0:
            with suppress(OSError):  # nobody waits any more
                os.write(self._writes, (code + line.encode(errors="replace"))[:START_REPORT_BYTES])

    def _close(self) -> None:
        for descriptor in (self._reads, self._writes):
            if descriptor >= 0:
                os.close(descriptor)
        self._reads = self._writes = -1

    def _wait(self) -> None:
        if os.getpid() != self._front:  # twistd forks twice, and a program that runs may start others
            return
        os.close(self._writes)
        self._writes = -1
        try:
            told = self._read(START_WAIT_SECONDS)
            if not told:
                return
            if told.startswith(_FAILED):
                self._read(FAILED_START_SECONDS)  # until the process behind has ended, and closed its files
        except KeyboardInterrupt:
            os._exit(_INTERRUPTED)
        line = told[1:].decode(errors="replace")
        if line:
            complain(line)
        os._exit(START_FAILED if told.startswith(_FAILED) else 0)

    def _read(self, seconds: float) -> bytes:
        """Return what is told within ``seconds``; nothing when nothing more will be."""
        ready, _, _ = select.select([self._reads], [], [], seconds)
        return os.read(self._reads, START_REPORT_BYTES) if ready else b""
