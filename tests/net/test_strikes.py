"""Who broke the protocol too often is left alone, over real TLS; an honest program never is."""

from __future__ import annotations

import msgspec
import pytest
import pytest_twisted

from chatnet.core.errors import Refused, RemoteError
from chatnet.core.framing import frame
from chatnet.core.limits import MAX_RETRY_SECONDS, PeerLimits
from chatnet.core.messages import (
    BAD_FRAME,
    INTERNAL_ERROR,
    ROLE_CHAT,
    STRUCK,
    UNKNOWN_MESSAGE,
    Hello,
    Lookup,
    VersionRange,
    encode,
)
from tests.net.test_link import say
from tests.support.links import Recorder, Station, hello

NONSENSE = frame(b"\xc1")


async def spoil(foe: Station, victim: Station, port: int, data: bytes = NONSENSE) -> str:
    """One link that ends as ``data`` arrives; the code that it ends with."""
    link = await foe.dial(port, victim.peer)
    link.send_frames(data)
    return (await link.when_gone()).code


@pytest_twisted.ensureDeferred
async def test_the_third_frame_that_cannot_be_shuts_the_door_in_words(stations):
    mallory, carol, bob = stations(), stations(), stations()
    port = bob.listen()
    assert [await spoil(mallory, bob, port) for _ in range(3)] == [BAD_FRAME, BAD_FRAME, STRUCK]
    end = mallory.user.ends[-1]
    assert (end.by_remote, end.text) == (
        True,
        "your program broke the protocol too often; it may come again in 10 minutes",
    )
    assert 590 <= end.retry_after_s <= 600
    with pytest.raises(Refused) as caught:
        await mallory.dial(port, bob.peer)
    assert caught.value.code == STRUCK
    assert bob.factory.refusals == {STRUCK: 1}
    assert bob.factory.strikes == 3
    link = await carol.dial(port, bob.peer)  # nobody else is meant
    link.send(say("hello"))
    await bob.user.until(lambda: len(bob.user.messages) == 1)


@pytest_twisted.ensureDeferred
async def test_a_very_long_time_is_told_as_a_day(stations):
    """Or our own word would be a frame that cannot be."""
    mallory, bob = stations(), stations(limits=PeerLimits(strikes=1, strike_seconds=1e6))
    assert await spoil(mallory, bob, bob.listen()) == STRUCK
    assert mallory.user.ends[-1].retry_after_s == MAX_RETRY_SECONDS
    assert mallory.factory.strikes == 0


@pytest_twisted.ensureDeferred
async def test_it_is_not_dialled_either(stations):
    mallory, bob = stations(Recorder(on_message=lambda link, _: link.send_frames(NONSENSE))), stations()
    port = mallory.listen()
    for _ in range(3):
        link = await bob.dial(port, mallory.peer)
        link.send(say("hello"))
        await link.when_gone()
    heard = len(mallory.user.links)
    with pytest.raises(Refused) as caught:
        await bob.dial(port, mallory.peer)
    assert caught.value.text == "its program broke the protocol too often; it is dialled again in 10 minutes"
    assert len(mallory.user.links) == heard


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "refused",
    [Refused("busy", "come again", 1), Refused("version", "no"), RemoteError("bad-record", "older than the last")],
)
async def test_what_is_refused_is_no_strike(stations, refused):
    carol, bob = stations(), stations(Recorder(refuse=refused))
    port = bob.listen()
    for _ in range(5):
        with pytest.raises(Refused):
            await carol.dial(port, bob.peer)
    assert bob.factory.strikes == carol.factory.strikes == 0


@pytest_twisted.ensureDeferred
async def test_another_version_or_role_is_no_strike(stations):
    carol, bob = stations(), stations()
    port = bob.listen()
    later = Hello(VersionRange(2, 9), ["a/new-word"], ROLE_CHAT, b"i" * 16, "carol")
    for greeting in (later, hello("relay")) * 3:
        with pytest.raises(Refused):
            await carol.dial(port, bob.peer, greeting)
    assert bob.factory.strikes == 0


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(msgspec.msgpack.encode(["typing", 1]), id="a message of a newer version"),
        pytest.param(msgspec.msgpack.encode(["ping", 1, 2]), id="a field of a newer version"),
        pytest.param(encode(Lookup(b"p" * 32)), id="a message of another role"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_is_only_unknown_here_ends_the_link_and_is_no_strike(stations, body):
    """A faulty release of tomorrow must not ban its honest users."""
    carol, bob = stations(), stations()
    port = bob.listen()
    for _ in range(4):
        assert await spoil(carol, bob, port, frame(body)) == UNKNOWN_MESSAGE
    assert bob.factory.strikes == 0


@pytest_twisted.ensureDeferred
async def test_what_only_the_order_of_things_forbids_is_no_strike(stations):
    """Two sides' messages cross: what the user of a link does not take now ends it and nothing more."""

    def no(link, message):
        raise RemoteError(BAD_FRAME, "not now")

    carol, bob = stations(), stations(Recorder(on_message=no))
    port = bob.listen()
    for _ in range(4):
        assert await spoil(carol, bob, port, frame(encode(say("hello")))) == BAD_FRAME
    assert bob.factory.strikes == 0


@pytest_twisted.ensureDeferred
async def test_a_defect_of_ours_is_no_strike(stations):
    def break_down(link, message):
        raise KeyError("ours")

    carol, bob = stations(), stations(Recorder(on_message=break_down))
    port = bob.listen()
    for _ in range(4):
        assert await spoil(carol, bob, port, frame(encode(say("hello")))) == INTERNAL_ERROR
    assert bob.factory.strikes == 0
