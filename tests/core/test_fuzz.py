"""A hundred thousand damaged frames in every state: one kind of error comes out, and nothing is kept."""

from __future__ import annotations

import random
import tracemalloc

import msgspec
import pytest

from chatnet.core import messages as m
from chatnet.core.errors import RemoteError
from chatnet.core.framing import Framer, frame
from chatnet.core.limits import MAX_FRAME, MAX_FRAME_HELLO
from chatnet.core.records import Endpoint, SignedRecord
from chatnet.core.roles import DECODERS
from tests.support.wire import decode

SEED = 20_260_704
FRAMES = 100_000
STATES = sorted(DECODERS)
CHUNK = 16_384  # what one read of a socket brings

ID16, ID32 = b"i" * 16, b"p" * 32
HERE = Endpoint(b"\x0a\0\0\1", 4000)
RECORD = SignedRecord(ID32, b"\x95\x01\xa1a\x90\0\0", b"s" * 64)
WELL_FORMED = [
    m.Hello(m.VersionRange(1, 1), ["a"], m.ROLE_FILE, ID16, "carol", RECORD, b"c" * 24, ID16, ID32),
    m.Welcome(1, [], ID16, "bob", HERE),
    m.Error("busy", "come again", 5),
    m.Ping(1),
    m.Pong(2**53),
    m.Bye(),
    m.ListPage(True, False, [m.ListEntry(ID32, "carol", [HERE], 7)] * 3, [ID32] * 2, b"c" * 24),
    m.Lookup(ID32),
    m.Found(ID32, RECORD),
    m.Found(ID32, None),
    m.Announce(RECORD),
    m.Say(ID32, ID16, 1, "hello \U0001f44b"),
    m.Ack([ID16] * 4),
    m.Nack(ID16, "conflict"),
    m.Offer(ID16, [m.OfferedFile(["photos", "a.jpg"], 10, 1)] * 3, True),
    m.OfferRest(ID16, [["photos", "empty"]] * 3, m.NotSent(1, 2, 3), 4, False),
    m.Accept(ID16, ID32, [m.Want(0, 0)], False),
    m.Decline(ID16, "declined"),
    m.DialMe(ID16),
    m.Cancel(ID16, "user"),
    m.Pause(ID16, "paused"),
    m.Resume(ID16),
    m.Check(m.CheckStep.COMMIT, ID32),
    m.File(0, 0, 10),
    m.End(0, ID32),
    m.Verified(ID16),
    m.Reject(0, "digest"),
    m.Skip(0, "changed"),
]
assert {type(message) for message in WELL_FORMED} == set(m.Message.__subclasses__())
BODIES = [m.encode(message) for message in WELL_FORMED]
# Heads of every form of MessagePack, with lengths that lie, and a nest of arrays.
PIECES = [
    *(bytes([head]) for head in range(0xC0, 0x100)),
    *(bytes([head]) + b"\xff" * 4 for head in (0xC6, 0xC9, 0xDB, 0xDD, 0xDF)),
    *(bytes([head]) + b"\xff" * 2 for head in (0xC5, 0xC8, 0xDA, 0xDC, 0xDE)),
    b"\x91" * 300,
    b"\x81\xa0" * 300,
    b"\xcb\x7f\xf8\0\0\0\0\0\0",
    b"\xd3" + b"\xff" * 8,
    b"\xcf" + b"\xff" * 8,
    b"\xa2\xed\xa0",
    b"",
]


def damaged(dice: random.Random) -> bytes:
    """The body of a frame, mostly a message with something wrong in it."""
    body = bytearray(dice.choice(BODIES))
    for _ in range(dice.choice((0, 1, 1, 1, 2, 4))):
        place = dice.randrange(len(body) + 1)
        kind = dice.randrange(6)
        if kind == 0 and place < len(body):
            body[place] ^= 1 << dice.randrange(8)
        elif kind == 1:
            body[place:place] = dice.choice(PIECES)
        elif kind == 2:
            del body[place : place + dice.randrange(1, 9)]
        elif kind == 3:
            other = dice.choice(BODIES)
            body[place:] = other[dice.randrange(len(other)) :]
        elif kind == 4:
            body[place:place] = dice.randbytes(dice.randrange(1, 9))
        else:
            body[place : place + 1] = dice.choice(PIECES)
    return bytes(body)


def test_damaged_frames_in_every_state() -> None:
    dice = random.Random(SEED)
    good = bad = 0
    outcomes: set[tuple[str, bool]] = set()  # code, and whether the text is fit to be shown
    for number in range(FRAMES):
        body = damaged(dice)
        state = STATES[number % len(STATES)]
        framer = Framer(MAX_FRAME_HELLO if state.startswith("from-") else MAX_FRAME)
        framer.feed(frame(body))
        try:
            whole = framer.next_frame()
            assert whole is not None
            message = decode(state, whole)
        except RemoteError as error:
            bad += 1
            outcomes.add((error.code, error.text.isprintable()))
        else:
            good += 1
            assert isinstance(message, DECODERS[state].kinds)
            assert decode(state, m.encode(message)) == message
    assert outcomes == {("bad-frame", True), ("unknown-message", True)}
    assert min(good, bad) > FRAMES // 50  # both sides of the border were visited


def test_a_damaged_stream_ends_at_its_first_error_and_is_not_kept() -> None:
    dice = random.Random(SEED + 1)
    tracemalloc.start()
    try:
        for _ in range(300):
            state = dice.choice(STATES)
            framer = Framer(MAX_FRAME)
            stream = bytearray(b"".join(frame(damaged(dice)) for _ in range(60)))
            for _ in range(dice.randrange(3)):
                stream[dice.randrange(len(stream))] ^= 1 << dice.randrange(8)
            ended = False
            for start in range(0, len(stream), CHUNK):
                framer.feed(bytes(stream[start : start + CHUNK]))
                try:
                    while (body := framer.next_frame()) is not None:
                        assert not ended
                        decode(state, body)
                except RemoteError:
                    framer.stop()
                    ended = True
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000


@pytest.mark.parametrize("state", STATES)
def test_the_dearest_frame_costs_no_more_than_some_times_its_size(state: str) -> None:
    """Frames of nothing but smallest values: what a decoder without types would blow up."""
    fills = [b"\x80", b"\x90", b"\xa0", b"\xc4\0", b"\0", b"\xc0", b"\x93\x90\0\0", b"\xc4\x10" + ID16]
    tracemalloc.start()
    try:
        for fill in fills:
            for head in (b"", b"\x94\xa5offer\xc4\x10" + ID16, b"\x92\xa3ack", b"\x96\xa4list\xc2\xc2"):
                count = (MAX_FRAME - len(head) - 5) // len(fill)
                body = head + b"\xdd" + count.to_bytes(4, "big") + fill * count
                with pytest.raises(RemoteError):
                    decode(state, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * MAX_FRAME


def test_an_untyped_decoder_would_have_paid() -> None:
    """The measure above can fail: the same bytes decoded without types."""
    body = b"\xdd" + (60_000).to_bytes(4, "big") + b"\x80" * 60_000
    tracemalloc.start()
    try:
        msgspec.msgpack.decode(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak > 20 * MAX_FRAME
