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
from chatnet.core.directory.listed_endpoints import listed_endpoints
from chatnet.core.framing import frame
from chatnet.core.names import RESERVED_NAMES
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
        ("chat", m.OfferRest(FID, [["photos", "leer"], ["empty"]], m.NotSent(3, 1, 2), 4, False)),
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


def taken() -> list[tuple[str, str, bytes]]:
    """``(state, why, body)`` of bodies at the edge of what is taken; this program writes some of them otherwise."""
    id16, id32 = FID, TOKEN
    entry = [id32, "a", [[b"1234", 1]], 1]
    return [
        ("chat", "2**53 - 1, the greatest number that is said", raw("ping", 2**53 - 1)),
        ("chat", "2**53, which version 0.1.0 may say", raw("ping", 2**53)),
        ("chat", "the answer to that", raw("pong", 2**53)),
        ("chat", "a small number in nine bytes", b"\x92" + raw("ping")[1:] + b"\xcf" + bytes(7) + b"\x01"),
        ("chat", "an array and a text with long heads", b"\xdd\x00\x00\x00\x02\xdb\x00\x00\x00\x04ping\x01"),
        ("chat", "a body of 16,384 bytes in 8,192 letters", raw("say", id32, id16, 1, "é" * 8_192)),
        ("chat", "a body with a NUL and a noncharacter", raw("say", id32, id16, 0, "\x00\uffff")),
        ("chat", "64 ids in an ack", raw("ack", [id16] * 64)),
        ("chat", "a component of 255 bytes, 32 of them", raw("offer", id16, [[["a" * 255] * 32, 0, 0]], True)),
        (
            "chat",
            "a path that a receiver has to make harmless",
            raw("offer", id16, [[["..", "/", "\x00"], 0, 0]], False),
        ),
        ("chat", "a rest without an empty folder", raw("offer-rest", id16, [], [1, 0, 0], 0, False)),
        ("chat", "an empty folder of 31 components", raw("offer-rest", id16, [["a"] * 31], [0, 0, 0], 0, True)),
        ("chat", "a page of an acceptance without a want", raw("accept", id16, id32, [], True)),
        ("chat", "a code of the future", raw("cancel", id16, "moon-phase")),
        ("chat", "step 3 of a short code", raw("check", 3, id16)),
        ("from-dialler", "a hello without its optional fields", raw("hello", [1, 1], [], "chat", id16, "carol")),
        ("from-dialler", "nil for them", raw("hello", [1, 1], [], "chat", id16, "carol", None, None, None, None)),
        ("from-dialler", "a name of 32 characters in 64 bytes", raw("hello", [1, 1], [], "chat", id16, "é" * 32)),
        ("from-dialler", "a name that no grammar knows", raw("hello", [1, 1], [], "chat", id16, "")),
        ("from-dialler", "a feature of the future", raw("hello", [1, 9], ["a.b/c-9"], "chat", id16, "carol")),
        ("from-dialler", "a role of the future", raw("hello", [1, 1], [], "ring", id16, "carol")),
        ("from-dialler", "versions that no program has", raw("hello", [9, 0], [], "chat", id16, "carol")),
        ("from-dialler", "an error in place of hello", raw("error", "stopping", "")),
        ("from-dialler", "an empty cursor", raw("hello", [1, 1], [], "registry", id16, "a", list(record()), b"")),
        ("from-listener", "a welcome without an address", raw("welcome", 1, [], id16, "bob")),
        ("from-listener", "an error without a time", raw("error", "busy", "come again")),
        ("from-registry", "an entry without its mark", raw("list", True, False, [entry], [], b"")),
        ("from-registry", "more proven addresses than there are", raw("list", True, False, [[*entry, 7]], [], b"")),
        ("from-registry", "one ID in joined and left", raw("list", False, False, [entry], [id32], b"")),
        ("from-registry", "an entry with a reserved name", raw("list", True, False, [[id32, "admin", [], 1]], [], b"")),
    ]


def rejected() -> list[tuple[str, str, str, bytes]]:
    """``(state, why, code, body)`` of bodies that are errors.

    ``unknown-message`` is for what another version may say; a strike is for ``bad-frame`` alone.
    """
    bad = [(state, why, m.BAD_FRAME, body) for state, why, body in impossible()]
    return bad + [(state, why, m.UNKNOWN_MESSAGE, body) for state, why, body in unknown()]


def unknown() -> list[tuple[str, str, bytes]]:
    """Bodies that are well formed, and that this version does not know there."""
    id16, id32 = FID, TOKEN
    return [
        ("chat", "an unknown tag", raw("typing", 1)),
        ("chat", "an unknown tag with a map", raw("x2-y", {"a": [1.5, None]})),
        ("chat", "an unknown tag with an ext type", raw("x2-y", msgspec.msgpack.Ext(1, id16))),
        ("chat", "an unknown tag with a text that is not UTF-8", b"\x92" + raw("x2-y")[1:] + b"\xa2\xc3\x28"),
        ("chat", "an unknown tag and 31 values", raw("x2-y", *range(31))),
        ("chat", "a surplus field", raw("ping", 1, 2)),
        ("chat", "a surplus field that is a map", raw("ping", 1, {"a": 1.5})),
        ("chat", "a message of another role", raw("lookup", id32)),
        ("chat", "a hello on an open link", raw("hello", [1, 1], [], "chat", id16, "carol")),
        ("file", "a message of the chat link", raw("resume", id16)),
        ("probe", "a message of the chat link", raw("resume", id16)),
        ("from-registry", "what a peer says to a registry", raw("lookup", id32)),
        ("from-dialler", "a message before hello", raw("ping", 1)),
        ("from-dialler", "a bye in place of hello", raw("bye")),
        ("from-dialler", "ten fields", raw("hello", [1, 1], [], "chat", id16, "carol", None, None, None, None, None)),
        ("from-listener", "a bye in place of welcome", raw("bye")),
        ("from-listener", "a message before welcome", raw("say", id32, id16, 1, "hello")),
    ]


def impossible() -> list[tuple[str, str, bytes]]:
    """Bodies that no version says."""
    id16, id32 = FID, TOKEN
    page = [True, False, [], [], b""]
    return [
        ("chat", "no bytes", b""),
        ("chat", "a MessagePack head that does not exist", b"\xc1"),
        ("chat", "a map instead of an array", msgspec.msgpack.encode({"type": "ping", "n": 1})),
        ("chat", "no tag", raw(1)),
        ("chat", "a tag that is bytes", raw(b"ping", 1)),
        ("chat", "a field is missing", raw("ping")),
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
        ("chat", "a tag with a capital letter", raw("Ping", 1)),
        ("chat", "a surplus field behind a wrong one", raw("ping", -1, 2)),
        ("chat", "an unknown tag and 32 values", raw("x2-y", *range(32))),
        ("chat", "an unknown tag with a MessagePack head that does not exist", b"\x92" + raw("x2-y")[1:] + b"\xc1"),
        ("chat", "bytes behind an unknown message", raw("x2-y", 1) + b"\xc0"),
        ("chat", "nil for a number", raw("ping", None)),
        ("chat", "a commitment of 16 bytes", raw("check", 1, id16)),
        ("chat", "a nonce of 32 bytes", raw("check", 2, id32)),
        ("chat", "a reveal of 24 bytes", raw("check", 3, id32[:24])),
        ("chat", "step 4", raw("check", 4, id16)),
        ("chat", "an offer of nothing", raw("offer", id16, [], False)),
        ("chat", "1,001 files in a page", raw("offer", id16, [[["a"], 0, 0]] * 1_001, False)),
        ("chat", "a file with four fields", raw("offer", id16, [[["a"], 0, 0, 0]], False)),
        ("chat", "an empty path", raw("offer", id16, [[[], 1, 1]], False)),
        ("chat", "an empty component", raw("offer", id16, [[[""], 1, 1]], False)),
        ("chat", "33 components", raw("offer", id16, [[["a"] * 33, 1, 1]], False)),
        ("chat", "an empty folder of 32 components", raw("offer-rest", id16, [["a"] * 32], [0, 0, 0], 0, True)),
        ("chat", "an empty folder without a path", raw("offer-rest", id16, [[]], [0, 0, 0], 0, True)),
        ("chat", "two numbers of what is not sent", raw("offer-rest", id16, [["a"]], [0, 0], 0, True)),
        ("chat", "a component of 256 bytes", raw("offer", id16, [[["é" * 128], 1, 1]], False)),
        ("from-dialler", "a name of 33 characters", raw("hello", [1, 1], [], "chat", id16, "a" * 33)),
        ("from-dialler", "33 features", raw("hello", [1, 1], ["a"] * 33, "chat", id16, "carol")),
        ("from-dialler", "a cursor of 65 bytes", raw("hello", [1, 1], [], "chat", id16, "carol", None, b"c" * 65)),
        ("from-listener", "an address of 5 bytes", raw("welcome", 1, [], id16, "bob", [b"12345", 1])),
        ("from-listener", "an address of three fields", raw("welcome", 1, [], id16, "bob", [b"1234", 1, 1])),
        ("from-listener", "nil for the time of an error", raw("error", "busy", "", None)),
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
        ("from-registry", "nil for the mark", raw("list", *page[:2], [[id32, "a", [], 1, None]], [], b"")),
        ("from-registry", "an entry with six fields", raw("list", *page[:2], [[id32, "a", [], 1, 0, 0]], [], b"")),
        ("from-registry", "8 proven addresses", raw("list", *page[:2], [[id32, "a", [], 1, 8]], [], b"")),
    ]


def lists() -> list[dict[str, Any]]:
    """Pages in the order in which they come over one link, and who is present after each."""
    one, two, three = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32

    def entry(peer: bytes, seq: int = 5) -> m.ListEntry:
        return m.ListEntry(peer, f"peer{peer[0]}", [IPV4._replace(port=4000 + seq)], seq)

    def page(joined: list[m.ListEntry], left: list[bytes], *, reset: bool = False, more: bool = False) -> m.ListPage:
        return m.ListPage(reset, more, joined, left, b"")

    full = page([entry(one), entry(two)], [], reset=True)
    stories: dict[str, list[tuple[m.ListPage, dict[bytes, int]]]] = {
        "who is not present does not come by an entry below a verified record": [
            (page([entry(one, 8), entry(two)], [], reset=True), {two: 5}),
            (page([entry(one, 9)], []), {one: 9, two: 5}),
        ],
        "who is present stays when a snapshot has an entry below a verified record": [
            (page([entry(one, 9), entry(two)], [], reset=True), {one: 9, two: 5}),
            (page([entry(one, 8)], [], reset=True), {one: 9}),
        ],
        "an entry that left leaves its number, until a snapshot begins": [
            (full, {one: 5, two: 5}),
            (page([], [one]), {two: 5}),
            (page([entry(one, 4)], []), {two: 5}),
            (page([entry(one, 4)], [], reset=True), {one: 4}),
        ],
        "changes": [
            (full, {one: 5, two: 5}),
            (page([entry(three)], [one]), {two: 5, three: 5}),
            (page([entry(two, 6)], []), {two: 6, three: 5}),
            (page([], [one, two]), {three: 5}),
        ],
        "nobody of an older list goes before the last page of a snapshot": [
            (full, {one: 5, two: 5}),
            (page([entry(three)], [], reset=True, more=True), {one: 5, two: 5, three: 5}),
            (page([entry(one)], []), {one: 5, three: 5}),
        ],
        "a snapshot begins anew before it has ended": [
            (full, {one: 5, two: 5}),
            (page([entry(one)], [], reset=True, more=True), {one: 5, two: 5}),
            (page([entry(two)], [], reset=True, more=True), {one: 5, two: 5}),
            (page([], []), {two: 5}),
        ],
        "one ID in joined and left has left": [
            (full, {one: 5, two: 5}),
            (page([entry(three)], [three]), {one: 5, two: 5}),
        ],
        "an entry that joined and left within a snapshot": [
            (page([entry(one)], [], reset=True, more=True), {one: 5}),
            (page([entry(two)], [one]), {two: 5}),
        ],
        "an older entry is ignored, one with the same number is not": [
            (full, {one: 5, two: 5}),
            (page([entry(one, 4), entry(two, 5)], []), {one: 5, two: 5}),
        ],
    }
    return [
        {
            "why": why,
            "verified": [[one.hex(), 9]] if "verified record" in why else [],
            "pages": [
                {
                    "body": m.encode(page).hex(),
                    "present": [[peer.hex(), seq] for peer, seq in sorted(present.items())],
                }
                for page, present in story
            ],
        }
        for why, story in stories.items()
    ]


def listed() -> list[dict[str, Any]]:
    """Where a registry sees a peer, what its record claims, and what the list says."""
    cases = [
        ("192.0.2.9", ["192.0.2.7:4000", "[2001:db8::7]:4000"]),
        ("192.0.2.7", ["192.0.2.7:4000"]),
        ("::ffff:192.0.2.9", ["10.1.2.3:4000", "192.0.2.9:4000"]),
        ("192.0.2.9", ["127.0.0.1:4000", "[::1]:4000", "[fe80::1]:4000", "224.0.0.1:4000", "255.255.255.255:4000"]),
        ("192.0.2.9", ["0.0.0.0:4000", "0.1.2.3:4000", "[::]:4000", "240.0.0.1:4000", "192.0.2.8:80"]),
        ("127.0.0.1", ["127.0.0.1:4000", "[::1]:4001", "192.0.2.7:4000"]),
        ("192.0.2.9", [f"192.0.2.{number}:4000" for number in range(1, 7)]),
        ("192.0.2.9", ["[64:ff9b::1]:4000", "[100::1]:4000", "[::192.0.2.1]:4000", "[4000::1]:4000", "[2002::1]:4000"]),
        ("192.0.2.9", ["[fc00::1]:4000", "[fec0::1]:4000", "[ff02::1]:4000", "[::ffff:240.0.0.1]:4000"]),
    ]

    def parsed(text: str) -> Endpoint:
        host, _, port = text.rpartition(":")
        return endpoint(host.strip("[]"), int(port))

    return [
        {
            "seen_at": seen,
            "claimed": claimed,
            "listed": [str(e) for e in listed_endpoints([parsed(text) for text in claimed], endpoint(seen, 1).ip)],
        }
        for seen, claimed in cases
    ]


def names() -> dict[str, list[str]]:
    """Texts that are names, and texts that are none."""
    return {
        "valid": ["a", "7", "ab", "a-b_c", "a--b", "a" * 32],
        "invalid": ["", "A", "a" * 33, "-a", "a-", "_a", "a_", "a b", "a.b", "é", "a\n", "\u0661"],
        "reserved": sorted(RESERVED_NAMES),
    }


def key_texts() -> dict[str, Any]:
    """Ways to write carol's PeerID, and texts that are no key."""
    text = identity.key_text(peer("carol"))
    return {
        "of_carol": [text, text.lower(), identity.grouped_text(peer("carol")), f"-{text[:1]}-{text[1:].lower()}-"],
        "none": ["", text[:-1], text + "A", text[:-1] + "B", text[:-1] + "1", text[:-1] + "=", f" {text[1:]}"],
    }


def join_strings() -> dict[str, Any]:
    """Join strings of carol's key with what they say, and texts that are none."""
    text = identity.key_text(peer("carol"))
    taken = [
        (f"chatnet:localhost:1/{text}", "localhost", 1),
        (f" chatnet:192.0.2.7:65535/{identity.grouped_text(peer('carol')).lower()}\n", "192.0.2.7", 65535),
        (f"chatnet:[2001:db8::1]:9900/{text}", "2001:db8::1", 9900),
    ]
    none = ["", text, f"chatnet:localhost/{text}", f"localhost:9900/{text}", "chatnet:localhost:9900"]
    none += [f"chatnet:localhost:{port}/{text}" for port in ("0", "65536", "-1", "+1", "", "\u0661")]
    none += [f"chatnet:2001:db8::1:9900/{text}", f"chatnet::9900/{text}", f"chatnet:a b:9900/{text}"]
    none += [f"chatnet:localhost:9900/{text}{tail}" for tail in ("/", " x", "?a", "A")]
    none += [f"chatnet:localhost:9900/{text[:-1]}", f"chatnet:localhost:9900/{text[:-1]}B"]
    return {
        "of_carol": [{"text": text, "host": host, "port": port} for text, host, port in taken],
        "none": none,
    }


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
        "taken_messages": [{"state": state, "why": why, "body": body.hex()} for state, why, body in taken()],
        "rejected_messages": [
            {"state": state, "why": why, "code": code, "body": body.hex()} for state, why, code, body in rejected()
        ],
        "lists": lists(),
        "listed_endpoints": listed(),
        "names": names(),
        "key_texts": key_texts(),
        "join_strings": join_strings(),
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
