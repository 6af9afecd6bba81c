"""The signed record: what holds, and everything that does not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from chatnet.core.errors import RemoteError
from chatnet.core.identity import PeerID, peer_id_of
from chatnet.core.limits import MAX_ENDPOINTS, MAX_INTEGER, MAX_RECORD_BYTES
from chatnet.core.records import SIGNED_PREFIX, Endpoint, SignedRecord, endpoint, sign_record, verify_record

KEY = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
PUBLIC = KEY.public_key().public_bytes_raw()
PEER = peer_id_of(PUBLIC)
HERE = endpoint("192.0.2.1", 4000)

ENDPOINTS = st.builds(
    Endpoint, st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)), st.integers(1, 65535)
)


def signed(payload: bytes) -> SignedRecord:
    """A record whose signature holds, whatever it says."""
    return SignedRecord(PUBLIC, payload, KEY.sign(SIGNED_PREFIX + payload))


def refused(record: SignedRecord, expected: PeerID = PEER) -> str:
    with pytest.raises(RemoteError) as caught:
        verify_record(record, expected)
    assert caught.value.code == "bad-record"
    return caught.value.text


@settings(max_examples=40)
@given(
    st.lists(ENDPOINTS, min_size=1, max_size=MAX_ENDPOINTS), st.integers(0, MAX_INTEGER), st.integers(0, MAX_INTEGER)
)
def test_what_is_signed_is_what_is_read(endpoints: list[Endpoint], seq: int, issued_ms: int) -> None:
    record = sign_record(PUBLIC, KEY.sign, "carol", endpoints, seq, issued_ms)
    assert verify_record(record, PEER) == (1, "carol", endpoints, seq, issued_ms)
    assert len(record.payload) <= MAX_RECORD_BYTES


def test_the_greatest_record_fits() -> None:
    widest = [Endpoint(b"\xff" * 16, 65535)] * MAX_ENDPOINTS
    record = sign_record(PUBLIC, KEY.sign, "x" * 32, widest, MAX_INTEGER, MAX_INTEGER)
    assert len(record.payload) <= MAX_RECORD_BYTES
    verify_record(record, PEER)


def test_surplus_endpoints_are_not_signed() -> None:
    record = sign_record(PUBLIC, KEY.sign, "carol", [HERE] * 9, 1, 1)
    assert len(verify_record(record, PEER).endpoints) == MAX_ENDPOINTS


@given(st.integers(0, 10**6))
def test_one_flipped_bit_anywhere_and_it_does_not_hold(bit: int) -> None:
    good = sign_record(PUBLIC, KEY.sign, "carol", [HERE], 1, 1)
    flat = bytearray(b"".join(good))
    bit %= len(flat) * 8
    flat[bit // 8] ^= 1 << bit % 8
    end = 32 + len(good.payload)
    refused(SignedRecord(bytes(flat[:32]), bytes(flat[32:end]), bytes(flat[end:])))


def test_a_record_of_another_key() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\2" * 32)
    public = other.public_key().public_bytes_raw()
    assert "another key" in refused(sign_record(public, other.sign, "carol", [HERE], 1, 1))


def test_a_signature_without_the_prefix_is_none() -> None:
    payload = sign_record(PUBLIC, KEY.sign, "carol", [HERE], 1, 1).payload
    assert "InvalidSignature" in refused(SignedRecord(PUBLIC, payload, KEY.sign(payload)))


@pytest.mark.parametrize(
    "fields",
    [
        [2, "carol", [[b"1234", 1]], 1, 1],
        [1, "Carol", [[b"1234", 1]], 1, 1],
        [1, "carol\n", [[b"1234", 1]], 1, 1],
        [1, "admin", [[b"1234", 1]], 1, 1],
        [1, "x" * 33, [[b"1234", 1]], 1, 1],
        [1, "carol", [], 1, 1],
        [1, "carol", [[b"1234", 1]] * 7, 1, 1],
        [1, "carol", [[b"12345", 1]], 1, 1],
        [1, "carol", [[b"123", 1]], 1, 1],
        [1, "carol", [["1234", 1]], 1, 1],
        [1, "carol", [[b"1234", 0]], 1, 1],
        [1, "carol", [[b"1234", 65536]], 1, 1],
        [1, "carol", [[b"1234", 1, 1]], 1, 1],
        [1, "carol", [[b"1234", 1]], -1, 1],
        [1, "carol", [[b"1234", 1]], MAX_INTEGER + 1, 1],
        [1, "carol", [[b"1234", 1]], 1.0, 1],
        [1, "carol", [[b"1234", 1]], True, 1],
        [1, "carol", [[b"1234", 1]], 1],
        [1, "carol", [[b"1234", 1]], 1, 1, 1],
        {"version": 1},
        None,
    ],
)
def test_fields_that_cannot_be_do_not_hold_though_signed(fields: Any) -> None:
    refused(signed(msgspec.msgpack.encode(fields)))


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x91" * 400, b"\xdd\xff\xff\xff\xff"])
def test_payloads_that_are_no_message_do_not_hold_though_signed(payload: bytes) -> None:
    refused(signed(payload))


def test_bytes_behind_the_payload_do_not_hold_though_signed() -> None:
    payload = sign_record(PUBLIC, KEY.sign, "carol", [HERE], 1, 1).payload
    refused(signed(payload + b"\xc0"))


def test_endpoints_in_text() -> None:
    assert str(endpoint("192.0.2.1", 4000)) == "192.0.2.1:4000"
    assert str(endpoint("2001:db8::1", 4000)) == "[2001:db8::1]:4000"
    assert endpoint("::ffff:192.0.2.1", 4000) == HERE
    assert endpoint("fe80::1%eth0", 1).ip == endpoint("fe80::1", 1).ip
    with pytest.raises(ValueError, match="example"):
        endpoint("example.org", 1)
