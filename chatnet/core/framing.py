"""Bytes to frames and back, from hostile input: linear time, bounded memory, a hard stop.

A frame is a 4-byte big-endian length, then that many bytes.  The limit depends on the state of
the connection (small before HELLO), so it is an attribute and not a constant.
"""

from __future__ import annotations

from chatnet.core.errors import BadFrame

PREFIX_BYTES = 4


def frame(body: bytes) -> bytes:
    """Return ``body`` with its length before it."""
    return len(body).to_bytes(PREFIX_BYTES, "big") + body


class Framer:
    """Bytes in, whole frames out.

    ``limit`` is the greatest accepted frame in bytes.  After an error, or after ``stop()``,
    nothing more is delivered, whatever is still in the buffer.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()
        self._wanted: int | None = None
        self._stopped = False

    @property
    def in_frame(self) -> bool:
        """Whether a frame has begun and is not complete: the frame timer runs while this holds."""
        return self._wanted is not None or bool(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take ``data`` in; ask for the frames with ``next_frame()``."""
        if not self._stopped:
            self._buffer += data

    def next_frame(self) -> bytes | None:
        """Return the next complete frame, or None. Between two calls the consumer may ``take`` or ``stop``.

        Raises BadFrame for a length of zero or above the limit.
        """
        if self._wanted is None:
            if len(self._buffer) < PREFIX_BYTES:
                return None
            wanted = int.from_bytes(self._buffer[:PREFIX_BYTES], "big")
            if not 1 <= wanted <= self.limit:
                self.stop()
                raise BadFrame(f"frame of {wanted} bytes, limit {self.limit}")
            self._wanted = wanted
            del self._buffer[:PREFIX_BYTES]
        if len(self._buffer) < self._wanted:
            return None
        body = bytes(memoryview(self._buffer)[: self._wanted])
        del self._buffer[: self._wanted]
        self._wanted = None
        return body

    def take(self, count: int) -> bytes:
        """Take up to ``count`` raw bytes that already lie behind the last frame: the head of a file."""
        head = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]
        return head

    def stop(self) -> None:
        """Deliver nothing any more."""
        self._stopped = True
        self._wanted = None
        self._buffer.clear()
