"""Identity: the hash of an Ed25519 public key, and its text forms for people.

A peer's identity is ``PeerID = SHA-256(SubjectPublicKeyInfo)``, 32 bytes.  Names are claims
beside it; their rules stand in ``names``.  What two people compare is in ``safety_number``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import NewType

PeerID = NewType("PeerID", bytes)
ChatID = NewType("ChatID", bytes)  # the PeerID of the person one talks with; later also the id of a room

PUBLIC_KEY_BYTES = 32
TEXT_CHARS = 52
SHORT_CHARS = 8
PREFIX_CHARS = 16

# RFC 8410, section 4: the DER SubjectPublicKeyInfo of an Ed25519 key is this, then the 32 key bytes.
ED25519_SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")


def peer_id_of(public_key: bytes) -> PeerID:
    """Return the PeerID of a raw 32-byte Ed25519 public key.  Raises ValueError on another length."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise ValueError(f"an Ed25519 public key has {PUBLIC_KEY_BYTES} bytes, not {len(public_key)}")
    return PeerID(hashlib.sha256(ED25519_SPKI_PREFIX + public_key).digest())


def key_text(peer_id: bytes) -> str:
    """Return all 52 base-32 characters (RFC 4648, no padding), which a join string carries."""
    return base64.b32encode(peer_id).decode("ascii").rstrip("=")


def grouped_text(peer_id: bytes) -> str:
    """Return the 52 characters in groups of four, for people."""
    text = key_text(peer_id)
    return "-".join(text[i : i + 4] for i in range(0, len(text), 4))


def short_text(peer_id: bytes) -> str:
    """Return the first 8 characters, ``7K2F-QM4D``, which tell keys apart but never verify one."""
    return grouped_text(peer_id)[: SHORT_CHARS + 1]


def prefix_text(peer_id: bytes) -> str:
    """Return the first 16 characters in fours, ``7K2F-QM4D-3XZA-91BC``: 80 bits, by which a person takes a new key.

    Eight characters would not do: an attacker can search for a key that has the same 40 bits.
    """
    return grouped_text(peer_id)[: PREFIX_CHARS + PREFIX_CHARS // 4 - 1]


def is_prefix_of(typed: str, peer_id: bytes) -> bool:
    """Whether ``typed`` are these 16 characters; case and hyphens do not matter."""
    return typed.replace("-", "").upper() == key_text(peer_id)[:PREFIX_CHARS]


def parse_key_text(text: str) -> PeerID:
    """Return the PeerID in 52 base-32 characters; case and hyphens do not matter.  Raises ValueError otherwise."""
    plain = text.replace("-", "").upper()
    if len(plain) != TEXT_CHARS or not re.fullmatch(r"[A-Z2-7]+", plain):
        raise ValueError(f"a key is {TEXT_CHARS} characters of A-Z and 2-7")
    raw = base64.b32decode(plain + "=" * (-len(plain) % 8))
    if key_text(raw) != plain:
        raise ValueError("this key has stray bits at its end: a character is wrong")
    return PeerID(raw)


def same_id(left: bytes, right: bytes) -> bool:
    """Compare two ids in constant time."""
    return hmac.compare_digest(left, right)


def chat_with(peer: bytes) -> ChatID:
    """Return the chat with a person, whose id is the person's current PeerID."""
    return ChatID(peer)


def person_in(chat: ChatID) -> PeerID:
    """Return the person whom one talks with in a chat of two."""
    return PeerID(chat)


def conversation_of(one: PeerID, other: PeerID) -> bytes:
    """Return the 32-byte id that the wire has for the conversation of two people, the same from both sides."""
    low, high = sorted((one, other))
    return hashlib.sha256(low + high).digest()
