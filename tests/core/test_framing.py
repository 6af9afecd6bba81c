"""Frames: the same whatever the cuts, never more held than one frame, and silence after an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.errors import RemoteError
from chatnet.core.framing import PREFIX_BYTES, Framer, frame
from chatnet.core.limits import MAX_FRAME, MAX_FRAME_HELLO

BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def drain(framer: Framer) -> list[bytes]:
    return list(iter(framer.next_frame, None))


def test_a_frame_is_a_length_and_the_body() -> None:
    assert frame(b"\xc3") == b"\0\0\0\1\xc3"
    assert frame(b"x" * 0x1234)[:PREFIX_BYTES] == b"\0\0\x12\x34"


@given(BODIES, st.data())
def test_any_cuts_give_the_same_frames(bodies: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(frame(body) for body in bodies)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    framer = Framer(MAX_FRAME)
    got: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        framer.feed(stream[start:end])
        got += drain(framer)
    assert got == bodies
    assert not framer.in_frame


def test_byte_by_byte() -> None:
    framer = Framer(MAX_FRAME)
    got: list[bytes] = []
    for byte in frame(b"first") + frame(b"second"):
        framer.feed(bytes([byte]))
        got += drain(framer)
    assert got == [b"first", b"second"]


@given(st.binary(min_size=1, max_size=40), st.integers(0, 43))
def test_a_begun_frame_is_known_as_begun(body: bytes, sent: int) -> None:
    whole = frame(body)
    framer = Framer(MAX_FRAME)
    framer.feed(whole[:sent])
    complete = drain(framer)
    assert framer.in_frame == (0 < sent < len(whole))
    assert complete == ([body] if sent >= len(whole) else [])


@pytest.mark.parametrize("limit", [1, MAX_FRAME_HELLO, MAX_FRAME])
def test_the_limit_is_the_greatest_that_passes(limit: int) -> None:
    framer = Framer(limit)
    framer.feed(frame(b"x" * limit))
    assert drain(framer) == [b"x" * limit]
    framer.feed((limit + 1).to_bytes(4, "big"))
    with pytest.raises(RemoteError) as caught:
        framer.next_frame()
    assert caught.value.code == "bad-frame"


@pytest.mark.parametrize("length", [0, 2**31, 2**32 - 1])
def test_lengths_that_cannot_be(length: int) -> None:
    framer = Framer(MAX_FRAME)
    framer.feed(frame(b"before") + length.to_bytes(4, "big") + frame(b"behind"))
    assert framer.next_frame() == b"before"
    with pytest.raises(RemoteError):
        framer.next_frame()
    framer.feed(frame(b"later"))
    assert drain(framer) == []
    assert not framer.in_frame


def test_the_limit_may_rise_between_two_frames() -> None:
    framer = Framer(MAX_FRAME_HELLO)
    framer.feed(frame(b"hello") + frame(b"x" * MAX_FRAME))
    assert framer.next_frame() == b"hello"
    framer.limit = MAX_FRAME
    assert framer.next_frame() == b"x" * MAX_FRAME


def test_stop_between_two_frames_delivers_nothing_more() -> None:
    framer = Framer(MAX_FRAME)
    framer.feed(frame(b"one") + frame(b"two"))
    assert framer.next_frame() == b"one"
    framer.stop()
    assert framer.next_frame() is None
    framer.feed(frame(b"three"))
    assert framer.next_frame() is None
    assert framer.take(10) == b""


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 80))
def test_raw_bytes_between_two_frames(raw: bytes, with_frame: int, asked: int) -> None:
    """What of the raw bytes came with the frame before them is taken, and no byte of what follows."""
    stream = raw + frame(b"end")
    framer = Framer(MAX_FRAME)
    framer.feed(frame(b"file") + stream[:with_frame])
    assert framer.next_frame() == b"file"
    head = framer.take(min(asked, len(raw)))
    assert head == stream[: min(asked, len(raw), with_frame)]
    rest = raw[len(head) :]
    framer.feed(stream[with_frame:])
    assert framer.take(len(rest)) == rest
    assert drain(framer) == [b"end"]


def test_what_is_held_is_one_frame_whatever_has_passed() -> None:
    framer = Framer(MAX_FRAME)
    chunk = frame(b"x" * 1000) * 64
    for _ in range(200):
        framer.feed(chunk)
        assert len(drain(framer)) == 64
    framer.feed(MAX_FRAME.to_bytes(4, "big") + b"y" * (MAX_FRAME - 1))
    assert drain(framer) == []
    assert len(framer.take(2 * MAX_FRAME)) == MAX_FRAME - 1
