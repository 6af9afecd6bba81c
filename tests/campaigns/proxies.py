"""TCP proxies whose network can be made bad: they delay, throttle, stall, cut, half-close and forget.

Each ``Proxy`` stands before one address of one program.  It runs in the asyncio loop of the campaign,
so that the programs behind it may be stopped while the network goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable

CHUNK_BYTES = 16_384
CONNECT_SECONDS = 30.0
LINGER_NOT = struct.pack("ii", 1, 0)  # SO_LINGER of no seconds: closing sends RST


class _Connection:
    """One connection through a proxy: the dialler's side and the listener's."""

    def __init__(self, proxy: Proxy, front: asyncio.StreamWriter, back: asyncio.StreamWriter) -> None:
        self.proxy, self.front, self.back = proxy, front, back
        self.inward_bytes = 0  # from the dialler to the listener
        self.closed_ways: set[bool] = set()  # directions (inward or not) that were half-closed
        self.forgotten = False  # one side is gone, and the other was not told

    def cut(self) -> None:
        """Reset both sides."""
        for writer in (self.front, self.back):
            _reset(writer)

    def half_close(self, inward: bool) -> None:
        """End one direction with FIN; what still comes in it is dropped."""
        self.closed_ways.add(inward)
        with contextlib.suppress(OSError, RuntimeError):
            (self.back if inward else self.front).write_eof()

    def forget(self, inward: bool) -> None:
        """Reset the listener's side (``inward``) or the dialler's; the other is not told."""
        self.forgotten = True
        _reset(self.back if inward else self.front)


class Proxy:
    """Forwards connections from a port of its own to ``target``.

    ``delay`` is in seconds and ``rate`` in bytes a second (None: as fast as it goes), both for each
    direction of each connection.  After ``stall`` nothing is forwarded, while ``refusing`` every new
    connection is reset.  ``fine`` ends all of that; a connection that was forgotten is reset as soon
    as something is sent over it, as a network does that has come back.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.port = 0
        self.delay = 0.0
        self.rate: float | None = None
        self.refusing = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._back = asyncio.Event()  # set when the weather becomes good
        self.connections: set[_Connection] = set()
        self.carried_bytes = 0
        self._triggers: list[tuple[int, Callable[[], None]]] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> Proxy:
        self._server = await asyncio.start_server(self._accepted, self.target[0], 0, limit=CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def close(self) -> None:
        """Cut everything; nothing is left running."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.cut()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def fine(self) -> None:
        """The weather is good again."""
        self.delay, self.rate, self.refusing = 0.0, None, False
        self._flowing.set()
        self._back.set()
        self._back.clear()
        self._triggers.clear()

    def stall(self) -> None:
        """Forward nothing from now on."""
        self._flowing.clear()

    def when_carried(self, inward_bytes: int, call: Callable[[], None]) -> None:
        """``call`` once, when the next new connection carries so many bytes to the target; 0: at its beginning."""
        self._triggers.append((inward_bytes, call))

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            _reset(writer)

    async def _serve(self, front_reader: asyncio.StreamReader, front: asyncio.StreamWriter) -> None:
        if self.refusing:
            return
        triggers, self._triggers = self._triggers, []
        for _, call in [one for one in triggers if one[0] == 0]:
            call()
        later = [one for one in triggers if one[0] > 0]
        opening = asyncio.open_connection(*self.target, limit=CHUNK_BYTES)
        back_reader, back = await asyncio.wait_for(opening, CONNECT_SECONDS)
        connection = _Connection(self, front, back)
        self.connections.add(connection)
        try:
            await asyncio.gather(
                self._carry(connection, front_reader, back, True, later),
                self._carry(connection, back_reader, front, False, []),
            )
        finally:
            self.connections.discard(connection)
            if not connection.forgotten:
                _reset(back)

    async def _carry(
        self,
        connection: _Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        inward: bool,
        triggers: list[tuple[int, Callable[[], None]]],
    ) -> None:
        """One direction, until its end; an error of either side ends both, as a network does."""
        try:
            while data := await reader.read(CHUNK_BYTES):
                if connection.forgotten:
                    await self._lost_in_the_network(connection)
                    return
                if inward:
                    connection.inward_bytes += len(data)
                    for one in [one for one in triggers if connection.inward_bytes >= one[0]]:
                        triggers.remove(one)
                        one[1]()
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                await self._flowing.wait()
                if inward in connection.closed_ways:
                    continue
                self.carried_bytes += len(data)
                writer.write(data)
                await writer.drain()
        except OSError:
            if not connection.forgotten:
                connection.cut()
            return
        if connection.forgotten:  # this side is the one that was reset
            return
        if inward not in connection.closed_ways:
            connection.half_close(inward)

    async def _lost_in_the_network(self, connection: _Connection) -> None:
        """Something was sent to who is gone: no answer, until the network is back and says so."""
        if self.refusing or not self._flowing.is_set():
            await self._back.wait()
        connection.cut()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    writer.transport.abort()
