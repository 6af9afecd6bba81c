"""Who serves which role at a peer's port."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_twisted

from chatnet.core.errors import Refused
from chatnet.core.messages import ROLE_CHAT, ROLE_FILE, ROLE_PROBE, ROLE_REGISTRY, VERSION, Welcome
from chatnet.net.link import Link
from chatnet.peer.links.incoming import IncomingLinks
from tests.support.links import Recorder, Station, hello


class Hall:
    """A peer's port with a recorder behind each role, and somebody who dials it."""

    def __init__(self, hall: Station, reception: IncomingLinks, caller: Station) -> None:
        self.station, self.reception, self.caller = hall, reception, caller
        self.chat, self.file = Recorder(), Recorder()
        self.placed: list[Link] = []
        self.port = hall.listen()

    def open(self) -> None:
        self.reception.open(
            self.chat, self.file, lambda link: Welcome(VERSION, [], bytes(16), "bob"), self.placed.append
        )


@pytest_twisted.async_yield_fixture
async def hall() -> AsyncIterator[Hall]:
    from twisted.internet import reactor

    reception = IncomingLinks()
    hall = Hall(Station(reactor, reception), reception, Station(reactor))  # type: ignore[arg-type]
    yield hall
    await hall.caller.close()
    await hall.station.close()


@pytest_twisted.ensureDeferred
async def test_each_role_has_its_user(hall: Hall) -> None:
    hall.open()
    for role, user in ((ROLE_CHAT, hall.chat), (ROLE_FILE, hall.file)):
        link = await hall.caller.dial(hall.port, hall.station.peer, hello(role))
        await user.until(lambda user=user: len(user.links) == 1)
        assert link.is_open


@pytest_twisted.ensureDeferred
async def test_a_probe_is_greeted_and_does_not_stay(hall: Hall) -> None:
    hall.open()
    link = await hall.caller.dial(hall.port, hall.station.peer, hello(ROLE_PROBE))
    end = await link.when_gone().addTimeout(5, hall.station.reactor)
    assert (end.code, end.by_remote) == ("bye", True)
    assert hall.chat.links == hall.file.links == []
    assert len(hall.placed) == 1  # it counts while it is there


@pytest.mark.parametrize(("opened", "role", "code"), [(True, ROLE_REGISTRY, "role"), (False, ROLE_CHAT, "busy")])
@pytest_twisted.ensureDeferred
async def test_who_is_refused(hall: Hall, opened: bool, role: str, code: str) -> None:
    if opened:
        hall.open()
    with pytest.raises(Refused) as refusal:
        await hall.caller.dial(hall.port, hall.station.peer, hello(role))
    assert refusal.value.code == code
