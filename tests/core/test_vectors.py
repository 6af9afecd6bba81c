"""``docs/protocol-vectors.json`` says what the wire is, and this program speaks it.

The first test makes the file anew; the others read it as a stranger's program would, from its
texts and numbers alone.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import ipaddress
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chatnet.core import identity, join_string, safety_number
from chatnet.core import messages as m
from chatnet.core.directory.listed_endpoints import listed_endpoints
from chatnet.core.directory.roster import Roster
from chatnet.core.errors import RemoteError
from chatnet.core.framing import Framer, frame
from chatnet.core.names import is_valid_name
from chatnet.core.records import Endpoint, SignedRecord, sign_record, verify_record
from tests.support.wire import decode

DOCS = Path(__file__).parents[2] / "docs"
VECTORS: dict[str, Any] = json.loads((DOCS / "protocol-vectors.json").read_text(encoding="ascii"))
KEYS = {key["who"]: key for key in VECTORS["keys"]}


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def values(plain: Any) -> Any:
    """A field as MessagePack has it, from its form in the file."""
    if isinstance(plain, dict):
        return unhex(plain["hex"])
    if isinstance(plain, list):
        return [values(item) for item in plain]
    return plain


def id_of(who: str) -> identity.PeerID:
    return identity.PeerID(unhex(KEYS[who]["peer_id"]))


def test_the_file_is_what_the_protocol_makes_today() -> None:
    spec = importlib.util.spec_from_file_location("make_vectors", DOCS / "make_vectors.py")
    assert spec is not None
    assert spec.loader is not None
    make_vectors = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_vectors)
    assert make_vectors.text() == (DOCS / "protocol-vectors.json").read_text(encoding="ascii")


def test_every_kind_of_message_is_there() -> None:
    tags = {str(kind.__struct_config__.tag) for kind in m.Message.__subclasses__()}
    assert {vector["tag"] for vector in VECTORS["messages"]} == tags


@pytest.mark.parametrize("key", VECTORS["keys"], ids=lambda key: key["who"])
def test_a_key_from_its_seed_to_its_join_string(key: dict[str, str]) -> None:
    public = Ed25519PrivateKey.from_private_bytes(unhex(key["seed"])).public_key().public_bytes_raw()
    assert public.hex() == key["public_key"]
    assert key["spki"] == "302a300506032b6570032100" + key["public_key"]
    peer = hashlib.sha256(unhex(key["spki"])).digest()
    assert peer.hex() == key["peer_id"]
    assert identity.peer_id_of(public) == peer
    assert base64.b32encode(peer).decode().rstrip("=") == key["text"] == identity.key_text(peer)
    assert (identity.grouped_text(peer), identity.short_text(peer)) == (key["grouped"], key["short"])
    assert join_string.parse_join_string(key["join_string"]) == ("chat.example.org", 9900, peer)
    assert join_string.parse_join_string(key["join_string_ipv6"]) == ("2001:db8::1", 9900, peer)


def test_what_two_people_share() -> None:
    pair = VECTORS["pair"]
    one, other = (id_of(who) for who in pair["people"])
    assert hashlib.sha256(min(one, other) + max(one, other)).hexdigest() == pair["conversation"]
    for a, b in ((one, other), (other, one)):
        assert identity.conversation_of(a, b).hex() == pair["conversation"]
        assert safety_number.safety_number(a, b) == pair["safety_number"]
        first, second = unhex(pair["first_nonce"]), unhex(pair["second_nonce"])
        assert safety_number.short_code(a, b, first, second) == pair["short_code"]
    assert safety_number.short_commitment(first).hex() == pair["commitment"]


def test_a_safety_number_by_the_words_of_the_document() -> None:
    halves = []
    for who in VECTORS["pair"]["people"]:
        peer = id_of(who)
        digest = b"chatnet safety number v1" + peer
        for _ in range(5200):
            digest = hashlib.sha512(digest + peer).digest()
        groups = [int.from_bytes(digest[start : start + 5], "big") % 100_000 for start in range(0, 30, 5)]
        halves.append(" ".join(f"{group:05}" for group in groups))
    assert " ".join(sorted(halves)) == VECTORS["pair"]["safety_number"]


def test_the_signed_record() -> None:
    vector = VECTORS["record"]
    key = Ed25519PrivateKey.from_private_bytes(unhex(KEYS[vector["who"]]["seed"]))
    endpoints = [Endpoint(unhex(ip), port) for ip, port, _ in vector["endpoints"]]
    assert [str(e) for e in endpoints] == [shown for *_, shown in vector["endpoints"]]
    made = sign_record(
        key.public_key().public_bytes_raw(), key.sign, vector["name"], endpoints, vector["seq"], vector["issued_ms"]
    )
    assert made.payload.hex() == vector["payload"]
    assert made.signature.hex() == vector["signature"]
    assert unhex(vector["signed_bytes"]) == b"chatnet peer-record v1\0" + made.payload
    fields = [1, vector["name"], [[e.ip, e.port] for e in endpoints], vector["seq"], vector["issued_ms"]]
    assert msgspec.msgpack.encode(fields) == made.payload
    assert verify_record(made, id_of(vector["who"])) == (1, "carol", endpoints, vector["seq"], vector["issued_ms"])


@pytest.mark.parametrize("vector", VECTORS["rejected_records"], ids=lambda vector: vector["why"])
def test_a_record_that_does_not_hold(vector: dict[str, str]) -> None:
    record = SignedRecord(unhex(vector["key"]), unhex(vector["payload"]), unhex(vector["signature"]))
    with pytest.raises(RemoteError):
        verify_record(record, id_of("carol"))


@pytest.mark.parametrize("vector", VECTORS["messages"], ids=lambda vector: vector["tag"])
def test_a_message_from_its_fields_and_from_its_bytes(vector: dict[str, Any]) -> None:
    body = unhex(vector["body"])
    fields = [values(field) for field in vector["fields"].values()]
    assert msgspec.msgpack.encode([vector["tag"], *fields]) == body
    assert len(body).to_bytes(4, "big") + body == unhex(vector["frame"]) == frame(body)
    message = decode(vector["state"], body)
    assert message.__struct_config__.tag == vector["tag"]
    assert list(message.__struct_fields__) == list(vector["fields"])
    assert msgspec.msgpack.decode(body) == [vector["tag"], *fields]
    assert m.encode(message) == body


@pytest.mark.parametrize("vector", VECTORS["rejected_messages"], ids=lambda vector: vector["why"])
def test_a_message_that_is_none(vector: dict[str, str]) -> None:
    with pytest.raises(RemoteError) as caught:
        decode(vector["state"], unhex(vector["body"]))
    assert caught.value.code == vector["code"]


@pytest.mark.parametrize("vector", VECTORS["taken_messages"], ids=lambda vector: vector["why"])
def test_a_message_at_the_edge(vector: dict[str, str]) -> None:
    body = unhex(vector["body"])
    message = decode(vector["state"], body)
    assert message.__struct_config__.tag == msgspec.msgpack.decode(body)[0]


@pytest.mark.parametrize("story", VECTORS["lists"], ids=lambda story: story["why"])
def test_pages_of_a_list_in_their_order(story: dict[str, Any]) -> None:
    roster = Roster(identity.PeerID(bytes(32)))
    for peer, seq in story["verified"]:
        roster.has_record(identity.PeerID(unhex(peer)), seq)
    for vector in story["pages"]:
        page = decode("from-registry", unhex(vector["body"]))
        assert isinstance(page, m.ListPage)
        roster.apply(page, 0)
        present = {peer.hex(): roster.entries[peer] for peer in roster.listed}
        assert {peer: entry.seq for peer, entry in present.items()} == dict(vector["present"])
        assert {peer: entry.endpoints[0].port - 4000 for peer, entry in present.items()} == dict(vector["present"])


@pytest.mark.parametrize("vector", VECTORS["listed_endpoints"], ids=lambda vector: ", ".join(vector["claimed"])[:40])
def test_the_addresses_that_a_list_shows(vector: dict[str, Any]) -> None:
    claimed = [(host.strip("[]"), int(port)) for host, _, port in (text.rpartition(":") for text in vector["claimed"])]
    seen = ipaddress.ip_address(vector["seen_at"]).packed
    shown = listed_endpoints([Endpoint(ipaddress.ip_address(host).packed, port) for host, port in claimed], seen)
    assert [str(e) for e in shown] == vector["listed"]


def test_names() -> None:
    vector = VECTORS["names"]
    assert {name: is_valid_name(name) for name in vector["valid"]} == dict.fromkeys(vector["valid"], True)
    refused = vector["invalid"] + vector["reserved"]
    assert {name: is_valid_name(name) for name in refused} == dict.fromkeys(refused, False)


def test_ways_to_write_a_key() -> None:
    vector = VECTORS["key_texts"]
    assert {identity.parse_key_text(text) for text in vector["of_carol"]} == {id_of("carol")}
    for text in vector["none"]:
        with pytest.raises(ValueError, match="key"):
            identity.parse_key_text(text)


def test_join_strings() -> None:
    vector = VECTORS["join_strings"]
    for taken in vector["of_carol"]:
        assert join_string.parse_join_string(taken["text"]) == (taken["host"], taken["port"], id_of("carol"))
    for text in vector["none"]:
        with pytest.raises(ValueError, match=r"join string|port|key"):
            join_string.parse_join_string(text)


def test_a_stream_of_frames() -> None:
    vector = VECTORS["frames"]
    framer = Framer(vector["limit"])
    framer.feed(unhex(vector["stream"]))
    assert [body.hex() for body in iter(framer.next_frame, None)] == vector["bodies"]


@pytest.mark.parametrize("vector", VECTORS["rejected_frames"], ids=lambda vector: vector["why"])
def test_a_frame_that_is_none(vector: dict[str, Any]) -> None:
    framer = Framer(vector["limit"])
    framer.feed(unhex(vector["stream"]))
    with pytest.raises(RemoteError):
        framer.next_frame()
