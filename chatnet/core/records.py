"""The signed peer record: a peer's own word about its name and addresses.

A record is ``(public key, payload, signature)``.  The payload is the MessagePack array
``[1, name, [[ip, port], ...], seq, issued_ms]``; the signature is Ed25519 over
``b"chatnet peer-record v1\\0" + payload``, the exact bytes, never re-encoded.  Of two records of
one key the higher ``seq`` wins, in whatever order they meet.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Annotated, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta

from chatnet.core.addresses import host_port, unmapped
from chatnet.core.errors import RemoteError
from chatnet.core.identity import PeerID, peer_id_of
from chatnet.core.limits import MAX_ENDPOINTS, MAX_INTEGER, MAX_NAME_CHARS, MAX_RECORD_BYTES
from chatnet.core.names import NAME_PATTERN, is_valid_name

SIGNED_PREFIX = b"chatnet peer-record v1\0"

Key32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
RecordPayload = Annotated[bytes, Meta(max_length=MAX_RECORD_BYTES)]
IP = Annotated[bytes, Meta(min_length=4, max_length=16)]
Port = Annotated[int, Meta(ge=1, le=65535)]
UInt = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]
Name = Annotated[str, Meta(pattern=NAME_PATTERN, max_length=MAX_NAME_CHARS)]


class Endpoint(NamedTuple):
    """Where a peer listens: 4 or 16 address bytes, and a port."""

    ip: IP
    port: Port

    @property
    def host(self) -> str:
        return str(ipaddress.ip_address(self.ip))

    def __str__(self) -> str:
        return host_port(self.host, self.port)


def endpoint(host: str, port: int) -> Endpoint:
    """Return the endpoint of an address in text, IPv4-mapped IPv6 unmapped.  Raises ValueError if it is none."""
    return Endpoint(unmapped(ipaddress.ip_address(host.partition("%")[0]).packed), port)


class SignedRecord(NamedTuple):
    """As it travels and is kept."""

    key: Key32
    payload: RecordPayload
    signature: Signature64


class RecordFields(NamedTuple):
    """What the payload says."""

    version: Annotated[int, Meta(ge=1, le=1)]
    name: Name
    endpoints: Annotated[list[Endpoint], Meta(min_length=1, max_length=MAX_ENDPOINTS)]
    seq: UInt
    issued_ms: UInt


_DECODER = msgspec.msgpack.Decoder(RecordFields)


def sign_record(
    key: bytes,
    sign: Callable[[bytes], bytes],
    name: str,
    endpoints: list[Endpoint],
    seq: int,
    issued_ms: int,
) -> SignedRecord:
    """Sign a record of the raw public ``key``; ``sign`` makes the 64-byte signature of its argument."""
    payload = msgspec.msgpack.encode(RecordFields(1, name, endpoints[:MAX_ENDPOINTS], seq, issued_ms))
    return SignedRecord(key, payload, sign(SIGNED_PREFIX + payload))


def verify_record(record: SignedRecord, expected: PeerID) -> RecordFields:
    """Return what the record says, once the key is the expected one and the signature holds.

    Raises RemoteError("bad-record") otherwise.
    """
    if peer_id_of(record.key) != expected:
        raise RemoteError("bad-record", "the record belongs to another key")
    try:
        Ed25519PublicKey.from_public_bytes(record.key).verify(record.signature, SIGNED_PREFIX + record.payload)
        fields = _DECODER.decode(record.payload)
    except (InvalidSignature, ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise RemoteError("bad-record", f"the record does not hold: {type(error).__name__}") from None
    if not is_valid_name(fields.name):
        raise RemoteError("bad-record", "the record's name is not allowed")
    if any(len(e.ip) not in (4, 16) for e in fields.endpoints):
        raise RemoteError("bad-record", "an address is neither 4 nor 16 bytes")
    return fields
