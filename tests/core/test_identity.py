"""Who somebody is, in bytes and in texts."""

from __future__ import annotations

import hashlib
import ipaddress
import re

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from chatnet.core.identity import (
    PeerID,
    conversation_of,
    grouped_text,
    join_string,
    key_text,
    parse_join_string,
    parse_key_text,
    peer_id_of,
    safety_number,
    same_id,
    short_text,
)
from chatnet.core.names import RESERVED_NAMES, is_valid_name, why_not_a_name

IDS = st.binary(min_size=32, max_size=32).map(PeerID)
ONE, OTHER = PeerID(b"\1" * 32), PeerID(b"\2" * 32)


@given(st.binary(min_size=32, max_size=32))
def test_the_hash_is_over_the_public_key_info_that_x509_has(seed: bytes) -> None:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    info = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert peer_id_of(public.public_bytes_raw()) == hashlib.sha256(info).digest()


@pytest.mark.parametrize("length", [0, 31, 33, 44])
def test_a_key_of_another_length_is_none(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        peer_id_of(b"k" * length)


@given(IDS)
def test_the_texts_of_a_key(peer: PeerID) -> None:
    text = key_text(peer)
    assert re.fullmatch("[A-Z2-7]{52}", text)
    assert grouped_text(peer).split("-") == [text[i : i + 4] for i in range(0, 52, 4)]
    assert short_text(peer) == f"{text[:4]}-{text[4:8]}"
    for written in (text, text.lower(), grouped_text(peer), grouped_text(peer).lower()):
        assert parse_key_text(written) == peer


@pytest.mark.parametrize(
    "text",
    ["", "A" * 51, "A" * 53, "A" * 51 + "1", "A" * 51 + "=", "A" * 51 + "é", "A" * 51 + "\n", "A" * 51 + "B"],
    ids=["empty", "short", "long", "digit-1", "padding", "accent", "newline", "stray-bits"],
)
def test_texts_that_are_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="key"):
        parse_key_text(text)


@given(IDS, st.integers(0, 51), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_no_two_texts_name_one_key(peer: PeerID, place: int, letter: str) -> None:
    text = key_text(peer)
    changed = text[:place] + letter + text[place + 1 :]
    if changed == text:
        return
    try:
        assert parse_key_text(changed) != peer
    except ValueError:
        assert place == 51  # the last character has four bits too many


@given(IDS, IDS)
def test_equality(one: PeerID, other: PeerID) -> None:
    assert same_id(one, bytes(one))
    assert same_id(one, other) == (one == other)


@given(IDS, IDS)
def test_a_conversation_is_the_same_from_both_sides(one: PeerID, other: PeerID) -> None:
    assert conversation_of(one, other) == conversation_of(other, one)
    assert len(conversation_of(one, other)) == 32


def test_conversations_differ() -> None:
    ids = [PeerID(bytes([n]) * 32) for n in range(6)]
    assert len({conversation_of(a, b) for a in ids for b in ids}) == 21


@settings(max_examples=10)
@given(IDS, IDS)
def test_a_safety_number_has_60_digits_and_two_equal_views(one: PeerID, other: PeerID) -> None:
    number = safety_number(one, other)
    assert number == safety_number(other, one)
    assert re.fullmatch(r"\d{5}( \d{5}){11}", number)


def test_each_half_of_a_safety_number_belongs_to_one_key() -> None:
    """Somebody in the middle must meet each half by itself, not their sum."""
    third = PeerID(b"\3" * 32)

    def halves(a: PeerID, b: PeerID) -> set[str]:
        number = safety_number(a, b)
        return {number[:35], number[36:]}

    shared = halves(ONE, OTHER) & halves(ONE, third)
    assert len(shared) == 1
    assert len(halves(ONE, OTHER) | halves(OTHER, third)) == 3


@given(st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?", fullmatch=True))
def test_names_by_the_grammar(name: str) -> None:
    assert is_valid_name(name) == (name not in RESERVED_NAMES)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        "a-",
        "_a",
        "a_",
        "A",
        "a b",
        "a.b",
        "a" * 33,
        "carol\n",
        "\ncarol",
        "carоl",
        "ｃarol",
        "é",
        *sorted(RESERVED_NAMES),
    ],
)
def test_names_that_nobody_may_have(name: str) -> None:
    assert not is_valid_name(name)
    reason = why_not_a_name(name)
    assert "is reserved" in reason if name in RESERVED_NAMES else "cannot be a name" in reason
    assert reason.isprintable()


def test_the_words_for_a_name_that_cannot_be() -> None:
    assert why_not_a_name("carol-2") == ""
    assert why_not_a_name("x y") == (
        "'x y' cannot be a name: 1 to 32 of a-z, 0-9, - and _, beginning and ending with a letter or digit."
    )
    assert why_not_a_name("admin") == "'admin' is reserved. Choose another name."


@given(
    st.one_of(st.ip_addresses().map(str), st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?", fullmatch=True)),
    st.integers(1, 65535),
    IDS,
)
def test_join_strings_there_and_back(host: str, port: int, peer: PeerID) -> None:
    text = join_string(host, port, peer)
    assert parse_join_string(text) == (host, port, peer)
    assert parse_join_string(f"  {text}\n") == (host, port, peer)


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert join_string(str(ipaddress.ip_address("2001:db8::1")), 9900, ONE).startswith("chatnet:[2001:db8::1]:9900/")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host:9900",
        "chatnet:host:9900",
        "chatnet:host:9900/",
        f"chatnet:host:0/{key_text(ONE)}",
        f"chatnet:host:65536/{key_text(ONE)}",
        f"chatnet:host:٩٩/{key_text(ONE)}",
        f"chatnet:2001:db8::1:9900/{key_text(ONE)}",
        f"chatnet:host:9900/{key_text(ONE)[:-1]}",
        f"chatnet:ho st:9900/{key_text(ONE)}",
        f"chatnet::9900/{key_text(ONE)}",
        f"chatnet:host:9900/{key_text(ONE)}/more",
        f"http:host:9900/{key_text(ONE)}",
    ],
)
def test_texts_that_are_no_join_string(text: str) -> None:
    with pytest.raises(ValueError, match=r"join string|port|key"):
        parse_join_string(text)
