"""What two people compare to know each other's key: the safety number, and the short code."""

from __future__ import annotations

import hashlib

from chatnet.core.identity import PeerID

_ROUNDS = 5200  # Signal's count: slow enough to make a search of look-alike keys dear


def safety_number(one: PeerID, other: PeerID) -> str:
    """Return 60 decimal digits that two people compare; the same on both sides.

    Signal's shape: 30 digits from each key by itself, the halves in order.  Not a hash of the
    pair: somebody in the middle chooses two keys, and against a hash of the pair needs only a
    collision; against halves a second preimage of each.
    """

    def half(peer_id: bytes) -> str:
        digest = b"chatnet safety number v1" + peer_id
        for _ in range(_ROUNDS):
            digest = hashlib.sha512(digest + peer_id).digest()
        return " ".join(f"{int.from_bytes(digest[i : i + 5], 'big') % 100_000:05d}" for i in range(0, 30, 5))

    return " ".join(sorted((half(one), half(other))))


def short_commitment(nonce: bytes) -> bytes:
    """Return what the first side says before it has seen the other's nonce."""
    return hashlib.sha256(b"chatnet short check v1 commit" + nonce).digest()


def short_code(one: PeerID, other: PeerID, first_nonce: bytes, second_nonce: bytes) -> str:
    """Return six digits that two people compare while both are on line.

    Safe in this order only: the first side sends ``short_commitment(first_nonce)``, the second its
    nonce, the first reveals its own and the second checks it against the commitment.  Nobody in
    the middle can steer the code then: one chance in a million an attempt.
    """
    low, high = sorted((one, other))
    digest = hashlib.sha256(b"chatnet short check v1" + low + high + first_nonce + second_nonce).digest()
    return f"{int.from_bytes(digest[:8], 'big') % 1_000_000:06d}"
