"""The table of roles: who may send what."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core import messages as m
from chatnet.core.errors import BadFrame, RemoteError, UnknownMessage
from chatnet.core.roles import DECODERS, EVERY_LINK, FROM_DIALLER, FROM_LISTENER, ROLES, Role
from tests.support import wire
from tests.support.wire import KINDS

PEER = bytes(32)
LOOKUP, FOUND = m.encode(m.Lookup(PEER)), m.encode(m.Found(PEER, None))


def test_every_role_of_the_protocol_has_a_row() -> None:
    assert list(ROLES) == [m.ROLE_REGISTRY, m.ROLE_CHAT, m.ROLE_FILE, m.ROLE_PROBE]
    assert all(name == role.name for name, role in ROLES.items())


def test_the_names_of_the_decoders_are_those_of_the_vectors() -> None:
    assert set(DECODERS) == {"from-dialler", "from-listener", "to-registry", "from-registry", "chat", "file", "probe"}


def test_the_sides_of_a_registry_link_send_different_things() -> None:
    registry = ROLES[m.ROLE_REGISTRY]
    assert registry.from_dialler.decode(LOOKUP) == m.Lookup(PEER)
    assert registry.from_listener.decode(FOUND) == m.Found(PEER, None)
    for decoder, body in ((registry.from_dialler, FOUND), (registry.from_listener, LOOKUP)):
        with pytest.raises(UnknownMessage):
            decoder.decode(body)


@pytest.mark.parametrize("name", [m.ROLE_CHAT, m.ROLE_FILE, m.ROLE_PROBE])
def test_elsewhere_both_sides_send_the_same(name: str) -> None:
    assert ROLES[name].from_dialler is ROLES[name].from_listener


@pytest.mark.parametrize("name", sorted(ROLES))
def test_an_open_link_of_every_role_lives_and_ends_alike(name: str) -> None:
    for decoder in (ROLES[name].from_dialler, ROLES[name].from_listener):
        assert set(EVERY_LINK) <= set(decoder.kinds)
        assert not {m.Hello, m.Welcome} & set(decoder.kinds)


def test_every_kind_of_message_may_come_somewhere() -> None:
    assert {kind for decoder in DECODERS.values() for kind in decoder.kinds} == set(KINDS.values())


def test_nothing_but_a_greeting_or_a_refusal_comes_first() -> None:
    assert FROM_DIALLER.kinds == (m.Hello, m.Error)
    assert FROM_LISTENER.kinds == (m.Welcome, m.Error)


def test_a_new_role_is_one_row() -> None:
    ring = Role.of("ring", (m.Lookup,), (m.Found,), ping_seconds=8, silence_seconds=20)
    assert (ring.from_dialler.name, ring.from_listener.name) == ("to-ring", "from-ring")
    assert ring.from_dialler.decode(LOOKUP) == m.Lookup(PEER)
    assert ring.from_listener.decode(m.encode(m.Ping(1))) == m.Ping(1)
    with pytest.raises(UnknownMessage):
        ring.from_listener.decode(LOOKUP)


def raw(*values: Any) -> bytes:
    return msgspec.msgpack.encode(list(values))


@pytest.mark.parametrize(
    "body",
    [
        raw("typing", True),
        raw("typing"),
        raw("typing", {"a": [1.5, None]}),
        raw("x2-y", b"\xff" * 60_000),
        LOOKUP,
        raw("ping", 1, 2),
        raw("ping", 1, {"a": 1}),
        raw("check", 2, b"n" * 16, []),
        raw("resume", b"f" * 16, msgspec.msgpack.Ext(1, b"")),
    ],
)
def test_what_another_version_may_say_is_unknown_and_no_offence(body: bytes) -> None:
    with pytest.raises(UnknownMessage) as caught:
        ROLES[m.ROLE_CHAT].from_dialler.decode(body)
    assert caught.value.code == m.UNKNOWN_MESSAGE
    assert not isinstance(caught.value, BadFrame)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x90",
        raw(1),
        raw(b"typing", 1),
        raw("Typing"),
        raw("typing\n"),
        raw("a" * 33),
        raw(""),
        raw("typing", 1) + b"\xc0",
        raw("typing", 1)[:-1],
        raw("ping"),
        raw("ping", "1"),
        raw("ping", "1", 2),
        raw("check", 1, b"n" * 16),
        raw("check", 1, b"n" * 16, 1),
        raw(["ping"], 1),
        msgspec.msgpack.encode({"ping": 1}),
        b"\x91" * 60_000,
        b"\x92\xa6typing" + b"\x91" * 60_000,
    ],
)
def test_what_no_version_can_say_is_an_offence(body: bytes) -> None:
    with pytest.raises(BadFrame) as caught:
        ROLES[m.ROLE_CHAT].from_dialler.decode(body)
    assert caught.value.code == m.BAD_FRAME


@given(st.binary(max_size=100) | wire.any_message().map(m.encode), st.sampled_from(sorted(DECODERS)))
def test_whatever_comes_is_read_unknown_or_an_offence(body: bytes, name: str) -> None:
    outcome: m.Message | RemoteError
    try:
        outcome = DECODERS[name].decode(body)
    except RemoteError as error:
        outcome = error
    assert isinstance(outcome, (*DECODERS[name].kinds, BadFrame, UnknownMessage))
