"""One connection that floods has its turn, and the others have theirs."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from chatnet.core.framing import frame
from chatnet.core.limits import FRAMES_PER_TURN, PeerLimits
from chatnet.core.messages import Ack, Message, encode
from chatnet.net import link as link_module
from chatnet.net.link import Link
from tests.support.links import Recorder, Station

FRAMES = 15_000  # of the flood, all there at once
PER_TURN = 2 * FRAMES_PER_TURN  # a link may be continued and have bytes come in the same turn
FEW_TURNS = 10  # for a ping and its pong between two who share a reactor with the flood


async def flooded_ping(reactor: Any) -> tuple[int, int, int]:
    """Turns of the reactor until a pong came, the frames of a flood delivered meanwhile, and those left then."""
    delivered = 0

    def count(link: Link, message: Message) -> None:
        nonlocal delivered
        delivered += 1

    unlimited = PeerLimits(frames_burst=2 * FRAMES)
    hub, flood, quiet = Station(reactor, Recorder(on_message=count), unlimited), Station(reactor), Station(reactor)
    port = hub.listen()
    try:
        flooding, asking = await flood.dial(port, hub.peer), await quiet.dial(port, hub.peer)
        flooding.send_frames(frame(encode(Ack([bytes(16)]))) * FRAMES)
        await hub.user.until(lambda: delivered > 0)
        before, turns = delivered, 0
        asking.ping()
        while asking.rtt_ms is None:
            turns += 1
            await deferLater(reactor, 0)
        return turns, delivered - before, FRAMES - delivered
    finally:
        for station in (flood, quiet, hub):
            await station.close()


@pytest_twisted.ensureDeferred
async def test_a_flood_does_not_hold_up_the_ping_of_another() -> None:
    from twisted.internet import reactor

    turns, meanwhile, left = await flooded_ping(reactor)
    assert left > 0
    assert turns <= FEW_TURNS
    assert meanwhile <= (turns + 1) * PER_TURN


@pytest_twisted.ensureDeferred
async def test_without_turns_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    from twisted.internet import reactor

    monkeypatch.setattr(link_module, "FRAMES_PER_TURN", FRAMES)
    turns, meanwhile, _ = await flooded_ping(reactor)
    assert meanwhile > (turns + 1) * PER_TURN
