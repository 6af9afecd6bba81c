"""Every message: there and back, and the ways in which bytes are none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from chatnet.core import limits
from chatnet.core import messages as m
from chatnet.core.errors import RemoteError
from chatnet.core.roles import DECODERS
from tests.support.wire import FIELDS, KINDS, any_message, decode, state_of
from tests.support.wire import message as a_message

ID16, ID32 = b"i" * 16, b"p" * 32
pack = msgspec.msgpack.encode


def refused(state: str, body: bytes, *codes: str) -> str:
    """The text with which a body is refused, with one of ``codes``; without any, as what no version says."""
    with pytest.raises(RemoteError) as caught:
        decode(state, body)
    assert caught.value.code in (codes or (m.BAD_FRAME,))
    assert caught.value.text.isascii()
    assert len(caught.value.text) <= limits.MAX_TEXT_BYTES
    return caught.value.text


def taken(state: str, fields: list[Any]) -> m.Message:
    return decode(state, pack(fields))


def test_every_kind_of_message_is_generated() -> None:
    assert set(FIELDS) == set(KINDS)
    for tag, kind in KINDS.items():
        assert set(FIELDS[tag]) == set(kind.__struct_fields__)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(any_message())
def test_there_and_back(message: m.Message) -> None:
    body = m.encode(message)
    assert decode(state_of(type(message)), body) == message


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(any_message())
def test_a_message_is_an_array_of_its_tag_and_its_fields(message: m.Message) -> None:
    plain = msgspec.msgpack.decode(m.encode(message))
    assert plain[0] == message.__struct_config__.tag
    assert len(plain) == 1 + len(message.__struct_fields__)


@pytest.mark.parametrize("tag", sorted(KINDS))
def test_only_the_states_that_name_a_kind_take_it(tag: str) -> None:
    kind = KINDS[tag]

    @settings(max_examples=5)
    @given(a_message(tag))
    def tried(message: m.Message) -> None:
        for state, decoder in DECODERS.items():
            if kind in decoder.kinds:
                decode(state, m.encode(message))
            else:
                refused(state, m.encode(message), m.UNKNOWN_MESSAGE)

    tried()


@pytest.mark.parametrize("tag", sorted(KINDS))
def test_a_field_less_or_more_is_an_error(tag: str) -> None:
    kind = KINDS[tag]

    @settings(max_examples=5)
    @given(a_message(tag))
    def tried(message: m.Message) -> None:
        plain = msgspec.msgpack.decode(m.encode(message))
        state = state_of(kind)
        refused(state, pack([*plain, None]), m.UNKNOWN_MESSAGE)
        required = 1 + len(kind.__struct_fields__) - len(kind.__struct_defaults__)
        for length in range(required):
            refused(state, pack(plain[:length]))
        for length in range(required, len(plain)):
            decode(state, pack(plain[:length]))  # optional fields are the last

    tried()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x90",
        b"\xc0",
        pack("ping"),
        pack({"type": "ping", "n": 1}),
        pack([b"ping", 1]),
        pack([7, 1]),
        pack([1]),
        pack(["ping", 1]) + b"\xc0",
        pack(["ping", 1])[:-1],
    ],
)
def test_bytes_that_are_no_message(body: bytes) -> None:
    for state in DECODERS:
        refused(state, body)


def test_a_message_that_is_nowhere_known() -> None:
    for state in DECODERS:
        refused(state, pack(["no-such-message", 1]), m.UNKNOWN_MESSAGE)


@pytest.mark.parametrize("value", [-1, limits.MAX_INTEGER + 1, 2**64 - 1, -(2**63), 1.0, "1", True, None, float("nan")])
def test_numbers_that_are_none_of_ours(value: Any) -> None:
    refused("chat", pack(["ping", value]))


def test_numbers_at_their_ends() -> None:
    assert taken("chat", ["ping", 0]) == m.Ping(0)
    assert taken("chat", ["ping", limits.MAX_INTEGER]) == m.Ping(limits.MAX_INTEGER)
    assert decode("chat", b"\x92\xa4ping\xd3" + (5).to_bytes(8, "big")) == m.Ping(5)  # a longer form of 5


@pytest.mark.parametrize("length", [0, 15, 17])
def test_ids_have_their_length(length: int) -> None:
    refused("chat", pack(["dialme", b"f" * length]))
    refused("chat", pack(["ack", [b"f" * length]]))


def test_bytes_are_no_text_and_text_is_no_bytes() -> None:
    refused("chat", pack(["dialme", "f" * 16]))
    refused("chat", pack(["say", ID32, ID16, 1, b"body"]))


@pytest.mark.parametrize("letter", ["a", "é", "€", "\U0001f600"])
def test_a_body_is_limited_in_bytes_not_in_letters(letter: str) -> None:
    most = limits.MAX_BODY_BYTES // len(letter.encode())
    body = letter * most
    assert taken("chat", ["say", ID32, ID16, 1, body]) == m.Say(ID32, ID16, 1, body)
    refused("chat", pack(["say", ID32, ID16, 1, body + letter]))


def test_an_empty_body_is_none() -> None:
    refused("chat", pack(["say", ID32, ID16, 1, ""]))


def test_a_reason_is_limited_in_bytes() -> None:
    assert taken("from-listener", ["error", "busy", "é" * 100])
    refused("from-listener", pack(["error", "busy", "é" * 101]))


def test_a_path_is_limited_in_bytes_and_in_depth() -> None:
    def offer(path: list[str]) -> list[Any]:
        return ["offer", ID16, [[path, 1, 1]], False]

    assert taken("chat", offer(["é" * 127 + "a"]))
    refused("chat", pack(offer(["é" * 128])))
    assert taken("chat", offer(["a"] * limits.MAX_PATH_PARTS))
    refused("chat", pack(offer(["a"] * (limits.MAX_PATH_PARTS + 1))))
    refused("chat", pack(offer([])))
    refused("chat", pack(offer([""])))


@pytest.mark.parametrize(
    ("state", "field", "most", "item"),
    [
        ("chat", lambda items: ["ack", items], limits.MAX_ACKS, ID16),
        ("chat", lambda items: ["offer", ID16, items, False], limits.MAX_OFFER_PAGE_FILES, [["a"], 1, 1]),
        ("chat", lambda items: ["accept", ID16, ID32, items, False], limits.MAX_OFFER_PAGE_FILES, [0, 0]),
        (
            "from-registry",
            lambda items: ["list", False, False, items, [], b""],
            limits.MAX_PAGE_ENTRIES,
            [ID32, "a", [], 1],
        ),
        ("from-registry", lambda items: ["list", False, False, [], items, b""], limits.MAX_PAGE_ENTRIES, ID32),
        (
            "from-registry",
            lambda items: ["list", False, False, [[ID32, "a", items, 1]], [], b""],
            limits.MAX_ENDPOINTS + 1,
            [b"1234", 1],
        ),
        ("from-dialler", lambda items: ["hello", [1, 1], items, "chat", ID16, "a"], limits.MAX_FEATURES, "x"),
    ],
)
def test_lists_end(state: str, field: Any, most: int, item: Any) -> None:
    decode(state, pack(field([item] * most)))
    refused(state, pack(field([item] * (most + 1))))


@pytest.mark.parametrize("length", [4, 16])
def test_addresses_of_both_kinds(length: int) -> None:
    assert taken("from-listener", ["welcome", 1, [], ID16, "bob", [b"\1" * length, 4000]])
    assert taken("from-registry", ["list", True, False, [[ID32, "a", [[b"\1" * length, 1]], 1]], [], b""])


@pytest.mark.parametrize("length", [0, 3, 5, 15, 17])
def test_addresses_of_no_kind(length: int) -> None:
    refused("from-listener", pack(["welcome", 1, [], ID16, "bob", [b"\1" * length, 4000]]))
    refused("from-registry", pack(["list", True, False, [[ID32, "a", [[b"\1" * length, 1]], 1]], [], b""]))


@pytest.mark.parametrize("word", ["", "Busy", "-a", "a_b", "a" * 33, "busy\n", "b\x1b[2J"])
def test_codes_are_plain_words(word: str) -> None:
    refused("chat", pack(["nack", ID16, word]))


def test_a_check_has_three_steps() -> None:
    assert taken("chat", ["check", 1, ID32]) == m.Check(m.CheckStep.COMMIT, ID32)
    for step in (0, 4, -1, True, "1", 1.5):
        for value in (ID16, ID32):
            refused("chat", pack(["check", step, value]))


@pytest.mark.parametrize("name", ["", "Carol", "carol\n", "a" * 33, "-carol", "carol\x1b[2J"])
def test_a_listed_name_is_a_name(name: str) -> None:
    refused("from-registry", pack(["list", True, False, [[ID32, name, [], 1]], [], b""]))


def test_a_name_in_hello_is_for_the_listener_to_judge() -> None:
    assert taken("from-dialler", ["hello", [1, 1], [], "chat", ID16, "No Name!"])
    refused("from-dialler", pack(["hello", [1, 1], [], "chat", ID16, "a" * 33]))
    refused("from-dialler", pack(["hello", [1, 1], [], "chat\n", ID16, "a"]))


@pytest.mark.parametrize("text", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80", b"\xe2\x82"])
def test_text_that_is_not_utf_8(text: bytes) -> None:
    head = pack(["say", ID32, ID16, 1])
    refused("chat", b"\x95" + head[1:] + bytes([0xA0 | len(text)]) + text)


@pytest.mark.parametrize("depth", [10, 1_000, 60_000])
@pytest.mark.parametrize("nest", [b"\x91", b"\x81\xa1a"])
def test_nesting_is_an_error_and_nothing_else(nest: bytes, depth: int) -> None:
    for state in DECODERS:
        refused(state, nest * depth + b"\xc0")
        refused(state, b"\x92\xa4ping" + nest * depth + b"\xc0", m.BAD_FRAME, m.UNKNOWN_MESSAGE)


@pytest.mark.parametrize(
    "lie",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\1",
    ],
    ids=["array", "map", "text", "bytes", "ext"],
)
def test_lengths_of_four_gigabytes_cost_nothing(lie: bytes) -> None:
    for state in DECODERS:
        refused(state, lie)
        refused(state, b"\x92\xa4ping" + lie)
        refused(state, b"\x92" + lie)


@pytest.mark.parametrize("code", [-1, 0, 1, 127])
def test_ext_types_are_none_of_ours(code: int) -> None:
    ext = msgspec.msgpack.Ext(code, b"x" * 16)
    refused("chat", pack(ext))
    refused("chat", pack(["dialme", ext]))
    refused("chat", pack(["ping", ext]))


def test_an_error_text_cannot_carry_what_the_other_side_wrote_raw() -> None:
    text = refused("chat", pack(["\x1b]0;owned\x07\n", 1]))
    assert "\x1b" not in text
    assert "\n" not in text
