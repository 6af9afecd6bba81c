"""Who somebody is, in bytes and in texts."""

from __future__ import annotations

import hashlib
import re

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.identity import (
    PeerID,
    conversation_of,
    grouped_text,
    key_text,
    parse_key_text,
    peer_id_of,
    same_id,
    short_text,
)

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
