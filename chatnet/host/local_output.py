"""Output to terminals, pipes, FIFOs and devices that never blocks on a slow reader.

A terminal that is suspended, a stalled ssh or a pipe whose reader has stopped blocks an ordinary
write for as long as it lasts, and with it the reactor.  O_NONBLOCK belongs to the open file, which is
shared with the shell and with every other program on the same terminal; so it is set on an open file
of our own wherever the system gives us one.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

FULL = (errno.EAGAIN, errno.EWOULDBLOCK)


class LocalOutput:
    """Bytes to one descriptor, as many as it takes at once; its owner calls ``close``."""

    def __init__(self, fd: int) -> None:
        """Open the file behind ``fd`` again, or duplicate ``fd`` where the system refuses that.

        ``fd`` stays the caller's.  Raises OSError when it is closed.
        """
        self._waits = stat.S_ISREG(os.fstat(fd).st_mode)  # a regular file has no reader to wait for
        self._shared = False
        try:
            if self._waits:
                self.fd = os.dup(fd)
            else:
                self.fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:  # a socket, a terminal of another user, or no /proc
            self.fd = os.dup(fd)
            self._shared = True

    def write(self, data: bytes) -> int:
        """Write as much of ``data`` as is taken now, and return how many bytes that were, 0 when there is no room.

        Raises OSError when nobody can read it any more.
        """
        if not self._shared:
            return self._written(data)
        blocking = os.get_blocking(self.fd)
        os.set_blocking(self.fd, False)  # for this call alone: others use the same open file
        try:
            return self._written(data)
        finally:
            os.set_blocking(self.fd, blocking)

    def _written(self, data: bytes) -> int:
        try:
            return os.write(self.fd, data) if data else 0
        except OSError as error:
            if error.errno in FULL:
                return 0
            raise

    def write_within(self, data: bytes, seconds: float) -> bytes:
        """Write for at most ``seconds``, and return what was not taken.  Raises OSError as ``write`` does."""
        until = time.monotonic() + seconds
        while data := data[self.write(data) :]:
            left = until - time.monotonic()
            if left <= 0:
                break
            select.select([], [self.fd], [], left)
        return data

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class LineOutput:
    """Lines for whoever reads them, written as far as they are taken, each time that another one comes.

    The last ``kept`` lines that were not taken wait; how many are lost beyond them is told in their
    place.  ``open`` gives the output, and is called again after it has failed.
    """

    def __init__(self, open: Callable[[], LocalOutput], kept: int) -> None:
        self._open = open
        self._output: LocalOutput | None = None
        self._waiting: deque[bytes] = deque(maxlen=kept)
        self._rest = b""  # of a line that was taken in part
        self._lost = 0

    def write(self, line: str) -> None:
        """Write the line after those that wait, or let it wait."""
        self._lost += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(f"{line}\n".encode(errors="replace"))
        self._write_on()

    def close(self) -> None:
        """Try once more to write what waits."""
        self._write_on()
        self._drop()

    def _write_on(self) -> None:
        try:
            if self._output is None:
                self._output = self._open()
            while True:
                if not self._rest:
                    if self._lost:
                        self._rest = f"({self._lost} lines were lost: nobody read them)\n".encode()
                        self._lost = 0
                    elif self._waiting:
                        self._rest = self._waiting.popleft()
                    else:
                        return
                taken = self._output.write(self._rest)
                self._rest = self._rest[taken:]
                if self._rest:
                    return
        except (OSError, ValueError):  # nobody reads it, no descriptor is left: the next line tries again
            self._drop()

    def _drop(self) -> None:
        if self._output is not None:
            with suppress(OSError):
                self._output.close()
            self._output = None


def write_now(stream: TextIO | None, text: str, seconds: float = 0.0) -> bool:
    """Write a few words for a person at ``stream`` within ``seconds``, and return whether all of it was taken.

    A stream without a descriptor is written to as it is.
    """
    if stream is None:
        return False
    try:
        fd = stream.fileno()
    except (OSError, ValueError, AttributeError):
        stream.write(text)
        stream.flush()
        return True
    try:
        _flush(stream, fd)
        output = LocalOutput(fd)
    except OSError:
        return False
    try:
        return not output.write_within(text.encode(stream.encoding or "utf-8", "replace"), seconds)
    except OSError:
        return False
    finally:
        output.close()


def _flush(stream: TextIO, fd: int) -> None:
    """Write out what ``print`` left in the buffer, as far as it is taken."""
    blocking = os.get_blocking(fd)
    os.set_blocking(fd, False)
    try:
        stream.flush()
    except BlockingIOError:
        pass
    finally:
        os.set_blocking(fd, blocking)
