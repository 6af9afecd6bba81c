"""The bad networks of C20 are bad in the way that they say, and its plans depend on the seed alone."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

import pytest

from tests.campaigns.c20_pauses import CI, GATE, Plan
from tests.campaigns.proxies import Proxy

SECONDS = 10.0  # before something has failed to happen
Work = Callable[[Proxy, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def through_a_proxy(work: Work, prepare: Callable[[Proxy], None] = lambda _: None) -> None:
    """Run ``work`` on the dialler's side of a connection to an echo server; the server counts what it lost."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data)
            writer.write(b"end")
            await writer.drain()
        except OSError:
            pass
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        proxy = await Proxy(server.sockets[0].getsockname()[:2]).open()
        prepare(proxy)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            await asyncio.wait_for(work(proxy, reader, writer), SECONDS)
            writer.close()
        finally:
            await proxy.close()
            server.close()

    asyncio.run(run())


async def said_and_heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes = b"hello") -> None:
    writer.write(data)
    assert await reader.readexactly(len(data)) == data


def test_it_carries_both_ways_and_an_end_through() -> None:
    async def work(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said_and_heard(reader, writer, random.Random(1).randbytes(200_000))
        writer.write_eof()
        assert await reader.read() == b"end"

    through_a_proxy(work)


def test_a_delay_holds_each_way_up() -> None:
    async def work(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.delay = 0.1
        began = time.monotonic()
        await said_and_heard(reader, writer)
        assert time.monotonic() - began >= 0.2

    through_a_proxy(work)


def test_a_rate_is_not_exceeded() -> None:
    async def work(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.rate = 200_000
        began = time.monotonic()
        await said_and_heard(reader, writer, bytes(40_000))
        assert time.monotonic() - began >= 0.2

    through_a_proxy(work)


def test_what_is_stalled_goes_on_in_good_weather() -> None:
    async def work(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proxy.stall()
        writer.write(b"hello")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        proxy.fine()
        assert await reader.readexactly(5) == b"hello"

    through_a_proxy(work)


def test_a_cut_is_a_reset() -> None:
    async def work(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said_and_heard(reader, writer)
        for connection in tuple(proxy.connections):
            connection.cut()
        with pytest.raises(ConnectionResetError):
            await reader.read(1)

    through_a_proxy(work)


def test_a_half_closed_way_ends_and_the_other_stays() -> None:
    async def work(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said_and_heard(reader, writer)
        for connection in tuple(proxy.connections):
            connection.half_close(inward=True)
        assert await reader.read(3) == b"end"  # the server heard the end, and its last word arrives
        writer.write(b"into the void")

    through_a_proxy(work)


def test_a_forgotten_side_hears_nothing_until_it_speaks() -> None:
    async def work(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said_and_heard(reader, writer)
        for connection in tuple(proxy.connections):
            connection.forget(inward=True)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.1)
        writer.write(b"anybody?")
        with pytest.raises(ConnectionResetError):
            await reader.read(1)

    through_a_proxy(work)


def test_who_is_refused_is_reset() -> None:
    async def work(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with pytest.raises(ConnectionResetError):
            await reader.read(1)

    def prepare(proxy: Proxy) -> None:
        proxy.refusing = True

    through_a_proxy(work, prepare)


def test_a_trigger_comes_once_at_its_byte() -> None:
    calls: list[str] = []

    def prepare(proxy: Proxy) -> None:
        proxy.when_carried(0, lambda: calls.append("at the beginning"))
        proxy.when_carried(8, lambda: calls.append("at the eighth"))

    async def work(proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said_and_heard(reader, writer)
        assert calls == ["at the beginning"]
        for _ in range(3):
            await said_and_heard(reader, writer)
        assert calls == ["at the beginning", "at the eighth"]

    through_a_proxy(work, prepare)


@pytest.mark.parametrize("shape", [CI, GATE], ids=["ci", "gate"])
def test_a_plan_depends_on_the_seed_alone(shape: object) -> None:
    assert isinstance(shape, type(CI))
    names = ("alice", "bob", "carol")

    def rounds(seed: int) -> list[object]:
        plan = Plan(random.Random(seed), shape, names)
        return [plan.round() for _ in range(20)]

    assert rounds(1) == rounds(1)
    assert rounds(1) != rounds(2)
    assert all(action.at >= 0 for actions in rounds(1) for action in actions)  # type: ignore[attr-defined]
