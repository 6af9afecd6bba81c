"""Writes ``protocol-vectors.json``: what the wire looks like, for whoever writes a second chatnet.

Run it where ``chatnet`` can be imported: ``python docs/make_vectors.py``.  The file is always the same
for the same protocol: a difference in it is a change of the wire.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chatnet.core import identity, join_string, limits, safety_number
from chatnet.core import messages as m
from chatnet.core.framing import frame
from chatnet.core.records import SIGNED_PREFIX, Endpoint, SignedRecord, endpoint, sign_record

FILE = Path(__file__).with_name("protocol-vectors.json")
SEEDS = {"carol": bytes(range(32)), "bob": bytes(range(32, 64)), "registry": bytes(range(64, 96))}

FID, TOKEN = bytes(range(16)), bytes(range(100, 132))
INSTANCE = bytes(range(200, 216))
IPV4, IPV6 = endpoint("192.0.2.7", 40123), endpoint("2001:db8::7", 40123)


def private(who: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(SEEDS[who])


def public(who: str) -> bytes:
    return private(who).public_key().public_bytes_raw()


def peer(who: str) -> identity.PeerID:
    return identity.peer_id_of(public(who))


def record(seq: int = 7, endpoints: tuple[Endpoint, ...] = (IPV4, IPV6)) -> SignedRecord:
    return sign_record(public("carol"), private("carol").sign, "carol", list(endpoints), seq, 1_750_000_000_000)


def plain(value: Any) -> Any:
    """``value`` for JSON: bytes as ``{"hex": …}``, structs as their fields in the order of the wire."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, m.Message):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def messages() -> list[tuple[str, m.Message]]:
    """Every kind of message, with a state in which it is taken."""
    conversation = identity.conversation_of(peer("carol"), peer("bob"))
    versions = m.VersionRange(1, 1)
    return [
        ("from-dialler", m.Hello(versions, [], m.ROLE_REGISTRY, INSTANCE, "carol", record(), b"cursor")),
        ("from-dialler", m.Hello(versions, [], m.ROLE_CHAT, INSTANCE, "carol")),
        ("from-dialler", m.Hello(versions, ["word"], m.ROLE_FILE, INSTANCE, "carol", None, None, FID, TOKEN)),
        ("from-dialler", m.Hello(versions, [], m.ROLE_PROBE, INSTANCE, "registry")),
        ("from-listener", m.Welcome(1, [], INSTANCE, "bob", IPV4)),
        ("from-listener", m.Welcome(1, [], INSTANCE, "bob", IPV6)),
        ("from-listener", m.Welcome(1, [], INSTANCE, "")),
        ("from-listener", m.Error(m.NAME_TAKEN, "The name carol belongs to another key.")),
        ("from-listener", m.Error(m.BUSY, "Too many.", 60)),
        ("chat", m.Ping(1)),
        ("chat", m.Pong(limits.MAX_INTEGER)),
        ("chat", m.Bye()),
        (
            "from-registry",
            m.ListPage(
                True,
                True,
                [m.ListEntry(peer("carol"), "carol", [IPV4, IPV6], 7, 1), m.ListEntry(peer("bob"), "bob", [], 0)],
                [],
                b"one",
            ),
        ),
        ("from-registry", m.ListPage(False, False, [], [peer("bob")], b"two")),
        ("to-registry", m.Lookup(peer("carol"))),
        ("from-registry", m.Found(peer("carol"), record())),
        ("from-registry", m.Found(peer("bob"), None)),
        ("to-registry", m.Announce(record())),
        ("chat", m.Say(conversation, FID, 1_750_000_000_123, "Grüße \U0001f44b")),
        ("chat", m.Ack([FID, INSTANCE])),
        ("chat", m.Nack(FID, m.CONFLICT)),
        (
            "chat",
            m.Offer(
                FID,
                [m.OfferedFile(["photos", "été.jpg"], 1_048_577, 1_700_000_000_000), m.OfferedFile(["a.txt"], 0, 0)],
                False,
            ),
        ),
        ("chat", m.Accept(FID, TOKEN, [m.Want(0, 0), m.Want(1, 0)], False)),
        ("chat", m.Decline(FID, m.DECLINED)),
        ("chat", m.DialMe(FID)),
        ("chat", m.Cancel(FID, m.USER)),
        ("chat", m.Pause(FID, m.PAUSED)),
        ("chat", m.Resume(FID)),
        ("chat", m.Verified(FID)),
        ("chat", m.Check(m.CheckStep.COMMIT, safety_number.short_commitment(FID))),
        ("chat", m.Check(m.CheckStep.NONCE, INSTANCE)),
        ("file", m.File(0, 0, 1_048_577)),
        ("file", m.End(0, bytes(32))),
        ("file", m.Verified(FID)),
        ("file", m.Reject(0, m.DIGEST)),
        ("file", m.Skip(1, m.CHANGED)),
    ]


def raw(*values: Any) -> bytes:
    return msgspec.msgpack.encode(list(values))


def rejected() -> list[tuple[str, str, bytes]]:
    """``(state, why, body)`` of bodies that are errors."""
    id16, id32 = FID, TOKEN
    page = [True, False, [], [], b""]
    return [
        ("chat", "no bytes", b""),
        ("chat", "a MessagePack head that does not exist", b"\xc1"),
        ("chat", "a map instead of an array", msgspec.msgpack.encode({"type": "ping", "n": 1})),
        ("chat", "no tag", raw(1)),
        ("chat", "an unknown tag", raw("typing", 1)),
        ("chat", "a tag that is bytes", raw(b"ping", 1)),
        ("chat", "a field is missing", raw("ping")),
        ("chat", "a surplus field", raw("ping", 1, 2)),
        ("chat", "bytes behind the message", raw("ping", 1) + b"\xc0"),
        ("chat", "cut short", raw("say", id32, id16, 1, "hello")[:-1]),
        ("chat", "a negative number", raw("ping", -1)),
        ("chat", "a number above 2**53", raw("ping", 2**53 + 1)),
        ("chat", "a float", raw("ping", 1.0)),
        ("chat", "a boolean instead of a number", raw("ping", True)),
        ("chat", "15 bytes where 16 belong", raw("dialme", id16[:15])),
        ("chat", "text where bytes belong", raw("dialme", "f" * 16)),
        ("chat", "bytes where text belongs", raw("say", id32, id16, 1, b"hello")),
        ("chat", "an empty body", raw("say", id32, id16, 1, "")),
        ("chat", "a body of 16,386 bytes in 8,193 letters", raw("say", id32, id16, 1, "é" * 8_193)),
        ("chat", "not UTF-8", b"\x95" + raw("say", id32, id16, 1)[1:] + b"\xa2\xc3\x28"),
        ("chat", "half of a surrogate pair", b"\x95" + raw("say", id32, id16, 1)[1:] + b"\xa3\xed\xa0\x80"),
        ("chat", "an ext type", raw("dialme", msgspec.msgpack.Ext(1, id16))),
        ("chat", "no id in an ack", raw("ack", [])),
        ("chat", "65 ids in an ack", raw("ack", [id16] * 65)),
        ("chat", "a code with a capital letter", raw("nack", id16, "Conflict")),
        ("chat", "a code with a newline", raw("nack", id16, "conflict\n")),
        ("chat", "an empty path", raw("offer", id16, [[[], 1, 1]], False)),
        ("chat", "an empty component", raw("offer", id16, [[[""], 1, 1]], False)),
        ("chat", "33 components", raw("offer", id16, [[["a"] * 33, 1, 1]], False)),
        ("chat", "a component of 256 bytes", raw("offer", id16, [[["é" * 128], 1, 1]], False)),
        ("chat", "a message of another role", raw("lookup", id32)),
        ("chat", "a hello on an open link", raw("hello", [1, 1], [], "chat", id16, "carol")),
        ("from-dialler", "a message before hello", raw("ping", 1)),
        ("from-dialler", "a name of 33 characters", raw("hello", [1, 1], [], "chat", id16, "a" * 33)),
        ("from-dialler", "33 features", raw("hello", [1, 1], ["a"] * 33, "chat", id16, "carol")),
        ("from-dialler", "a cursor of 65 bytes", raw("hello", [1, 1], [], "chat", id16, "carol", None, b"c" * 65)),
        ("from-listener", "an address of 5 bytes", raw("welcome", 1, [], id16, "bob", [b"12345", 1])),
        ("from-listener", "a port of 0", raw("welcome", 1, [], id16, "bob", [b"1234", 0])),
        ("from-listener", "a reason of 202 bytes", raw("error", "busy", "é" * 101)),
        ("from-listener", "a wait of more than a day", raw("error", "busy", "", 86_401)),
        ("from-registry", "a name with a capital", raw("list", *page[:2], [[id32, "Carol", [], 1]], [], b"")),
        ("from-registry", "a name with a newline", raw("list", *page[:2], [[id32, "carol\n", [], 1]], [], b"")),
        (
            "from-registry",
            "8 addresses in an entry",
            raw("list", *page[:2], [[id32, "a", [[b"1234", 1]] * 8, 1]], [], b""),
        ),
        ("from-registry", "8 proven addresses", raw("list", *page[:2], [[id32, "a", [], 1, 8]], [], b"")),
    ]


def rejected_records() -> list[tuple[str, SignedRecord]]:
    """Records of carol's key that do not hold, and why."""

    def signed(payload: bytes) -> SignedRecord:
        return SignedRecord(public("carol"), payload, private("carol").sign(SIGNED_PREFIX + payload))

    good = record()
    return [
        ("one bit of the payload is another", good._replace(payload=good.payload[:-1] + bytes([good.payload[-1] ^ 1]))),
        (
            "one bit of the signature is another",
            good._replace(signature=bytes([good.signature[0] ^ 1]) + good.signature[1:]),
        ),
        ("the key is another", good._replace(key=public("bob"))),
        ("signed without the prefix", good._replace(signature=private("carol").sign(good.payload))),
        ("version 2", signed(raw(2, "carol", [[b"1234", 1]], 7, 1))),
        ("a reserved name", signed(raw(1, "admin", [[b"1234", 1]], 7, 1))),
        ("no address", signed(raw(1, "carol", [], 7, 1))),
        ("seven addresses", signed(raw(1, "carol", [[b"1234", 1]] * 7, 7, 1))),
        ("an address of 5 bytes", signed(raw(1, "carol", [[b"12345", 1]], 7, 1))),
        ("a surplus field", signed(raw(1, "carol", [[b"1234", 1]], 7, 1, 0))),
        ("bytes behind the payload", signed(good.payload + b"\xc0")),
    ]


def vectors() -> dict[str, Any]:
    carol, bob = peer("carol"), peer("bob")
    good = record()
    tagged = [(state, str(message.__struct_config__.tag), message) for state, message in messages()]
    return {
        "protocol": m.ALPN.decode(),
        "version": m.VERSION,
        "keys": [
            {
                "who": who,
                "seed": seed.hex(),
                "public_key": public(who).hex(),
                "spki": (identity.ED25519_SPKI_PREFIX + public(who)).hex(),
                "peer_id": peer(who).hex(),
                "text": identity.key_text(peer(who)),
                "grouped": identity.grouped_text(peer(who)),
                "short": identity.short_text(peer(who)),
                "join_string": join_string.join_string("chat.example.org", 9900, peer(who)),
                "join_string_ipv6": join_string.join_string("2001:db8::1", 9900, peer(who)),
            }
            for who, seed in SEEDS.items()
        ],
        "pair": {
            "people": ["carol", "bob"],
            "conversation": identity.conversation_of(carol, bob).hex(),
            "safety_number": safety_number.safety_number(carol, bob),
            "first_nonce": FID.hex(),
            "second_nonce": INSTANCE.hex(),
            "commitment": safety_number.short_commitment(FID).hex(),
            "short_code": safety_number.short_code(carol, bob, FID, INSTANCE),
        },
        "record": {
            "who": "carol",
            "name": "carol",
            "endpoints": [[e.ip.hex(), e.port, str(e)] for e in (IPV4, IPV6)],
            "seq": 7,
            "issued_ms": 1_750_000_000_000,
            "payload": good.payload.hex(),
            "signed_bytes": (SIGNED_PREFIX + good.payload).hex(),
            "signature": good.signature.hex(),
        },
        "rejected_records": [
            {"why": why, "key": bad.key.hex(), "payload": bad.payload.hex(), "signature": bad.signature.hex()}
            for why, bad in rejected_records()
        ],
        "messages": [
            {
                "state": state,
                "tag": tag,
                "fields": plain(message),
                "body": m.encode(message).hex(),
                "frame": frame(m.encode(message)).hex(),
            }
            for state, tag, message in tagged
        ],
        "rejected_messages": [{"state": state, "why": why, "body": body.hex()} for state, why, body in rejected()],
        "frames": {
            "stream": b"".join(frame(m.encode(message)) for message in (m.Ping(1), m.Pong(1), m.Bye())).hex(),
            "bodies": [m.encode(message).hex() for message in (m.Ping(1), m.Pong(1), m.Bye())],
            "limit_before_open": limits.MAX_FRAME_HELLO,
            "limit": limits.MAX_FRAME,
        },
        "rejected_frames": [
            {"why": "a length of 0", "limit": limits.MAX_FRAME, "stream": "00000000"},
            {"why": "65,537 bytes on an open link", "limit": limits.MAX_FRAME, "stream": "00010001"},
            {"why": "4,097 bytes before the link is open", "limit": limits.MAX_FRAME_HELLO, "stream": "00001001"},
            {"why": "2**32 - 1 bytes", "limit": limits.MAX_FRAME, "stream": "ffffffff"},
            {"why": "another protocol: GET /", "limit": limits.MAX_FRAME_HELLO, "stream": b"GET / HTTP/1.1".hex()},
        ],
    }


def text() -> str:
    return json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="ascii")
