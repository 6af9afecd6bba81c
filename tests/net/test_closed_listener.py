"""A listener that accepts and closes at once, as one does that admits nobody more."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from chatnet.core.errors import Refused
from tests.support.links import Station

SOON_SECONDS = 3.0  # far below the time that a handshake may take


@pytest_twisted.ensureDeferred
async def test_a_dial_that_is_cut_as_it_connects_ends_at_once() -> None:
    """Connected and closed are told in one event then, and Twisted's transport acts on it after ours."""
    from twisted.internet import reactor

    ann = Station(reactor)
    with socket.create_server(("127.0.0.1", 0)) as server:
        dial = Deferred.fromCoroutine(ann.dial(server.getsockname()[1], None))
        reactor.callLater(0, lambda: server.accept()[0].close())  # behind the connect, before its event
        with pytest.raises(Refused) as caught:
            await dial.addTimeout(SOON_SECONDS, reactor)
    assert caught.value.code == "lost"
    await ann.close()
