"""Generated messages of every kind: what a well-behaved other side may send."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from chatnet.core import messages as m
from chatnet.core.limits import MAX_INTEGER
from chatnet.core.records import Endpoint, SignedRecord
from chatnet.core.roles import DECODERS

KINDS: dict[str, type[m.Message]] = {
    str(kind.__struct_config__.tag): kind for kind in sorted(m.Message.__subclasses__(), key=lambda kind: kind.__name__)
}


def state_of(kind: type[m.Message]) -> str:
    """A state whose decoder takes ``kind``."""
    return next(name for name, decoder in DECODERS.items() if kind in decoder.kinds)


def decode(state: str, body: bytes) -> m.Message:
    """What the decoder of that name makes of a frame's body."""
    return DECODERS[state].decode(body)


def of_bytes(length: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=length, max_size=length)


_uint = st.integers(0, MAX_INTEGER)
_id16, _id32 = of_bytes(16), of_bytes(32)
_name = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?", fullmatch=True)
_code = st.from_regex(r"[a-z][a-z-]{0,31}", fullmatch=True)
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
_features = st.lists(st.from_regex(r"[a-z0-9./-]{1,32}", fullmatch=True), max_size=3)
_endpoint = st.builds(Endpoint, of_bytes(4) | of_bytes(16), st.integers(1, 65535))
_record = st.builds(SignedRecord, _id32, st.binary(max_size=60), of_bytes(64))
_entry = st.builds(m.ListEntry, _id32, _name, st.lists(_endpoint, max_size=7), _uint, st.integers(0, 7))
_part = _text.filter(bool)
_file = st.builds(m.OfferedFile, st.lists(_part, min_size=1, max_size=4), _uint, _uint)
_folder = st.lists(_part, min_size=1, max_size=4)
_want = st.builds(m.Want, _uint, _uint)

FIELDS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "hello": {
        "versions": st.builds(m.VersionRange, _uint, _uint),
        "features": _features,
        "role": st.sampled_from(["registry", "chat", "file", "probe", "other"]),
        "instance": _id16,
        "name": _text,
        "record": st.none() | _record,
        "since": st.none() | st.binary(max_size=64),
        "fid": st.none() | _id16,
        "token": st.none() | _id32,
    },
    "welcome": {
        "version": _uint,
        "features": _features,
        "instance": _id16,
        "name": _text,
        "observed": st.none() | _endpoint,
    },
    "error": {"code": _code, "text": _text, "retry_after_s": st.integers(0, 86_400)},
    "ping": {"n": _uint},
    "pong": {"n": _uint},
    "bye": {},
    "list": {
        "reset": st.booleans(),
        "more": st.booleans(),
        "joined": st.lists(_entry, max_size=4),
        "left": st.lists(_id32, max_size=4),
        "cursor": st.binary(max_size=64),
    },
    "lookup": {"peer": _id32},
    "found": {"peer": _id32, "record": st.none() | _record},
    "announce": {"record": _record},
    "say": {"conversation": _id32, "id": _id16, "sent_ms": _uint, "body": _text.filter(bool)},
    "ack": {"ids": st.lists(_id16, min_size=1, max_size=64)},
    "nack": {"id": _id16, "code": _code},
    "offer": {"fid": _id16, "files": st.lists(_file, min_size=1, max_size=4), "more": st.booleans()},
    "offer-rest": {
        "fid": _id16,
        "folders": st.lists(_folder, max_size=4),
        "not_sent": st.builds(m.NotSent, _uint, _uint, _uint),
        "executables": _uint,
        "more": st.booleans(),
    },
    "accept": {"fid": _id16, "token": _id32, "wants": st.lists(_want, max_size=4), "more": st.booleans()},
    "decline": {"fid": _id16, "code": _code},
    "dialme": {"fid": _id16},
    "cancel": {"fid": _id16, "code": _code},
    "pause": {"fid": _id16, "code": _code},
    "resume": {"fid": _id16},
    "check": {"step": st.sampled_from(m.CheckStep), "value": st.binary(min_size=16, max_size=32)},
    "file": {"index": _uint, "offset": _uint, "length": _uint},
    "end": {"index": _uint, "digest": _id32},
    "verified": {"fid": _id16},
    "reject": {"index": _uint, "code": _code},
    "skip": {"index": _uint, "code": _code},
}


def message(tag: str) -> st.SearchStrategy[m.Message]:
    if tag == "check":  # the one message whose fields depend on each other
        nonces = st.sampled_from((m.CheckStep.NONCE, m.CheckStep.REVEAL))
        return st.builds(m.Check, st.just(m.CheckStep.COMMIT), _id32) | st.builds(m.Check, nonces, _id16)
    return st.builds(KINDS[tag], **FIELDS[tag])


def any_message() -> st.SearchStrategy[m.Message]:
    return st.sampled_from(sorted(FIELDS)).flatmap(message)
