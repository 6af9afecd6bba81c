"""Which messages each side may send on a link: one row for each role that a HELLO can name.

A role has the kinds of messages that its dialler may send, those that its listener may send, and
the limits in which its links differ from all others.  Decoders are built from the rows, so that
nothing else knows a role by its name in order to read frames: a new role is a new row.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, cast

import msgspec

from chatnet.core.errors import BadFrame, UnknownMessage
from chatnet.core.limits import MAX_MESSAGE_VALUES
from chatnet.core.messages import (
    ROLE_CHAT,
    ROLE_FILE,
    ROLE_PROBE,
    ROLE_REGISTRY,
    Accept,
    Ack,
    Announce,
    Bye,
    Cancel,
    Check,
    Decline,
    DialMe,
    End,
    Error,
    File,
    Found,
    Hello,
    ListPage,
    Lookup,
    Message,
    Nack,
    Offer,
    OfferRest,
    Pause,
    Ping,
    Pong,
    Reject,
    Resume,
    Say,
    Skip,
    Verified,
    Welcome,
)
from chatnet.core.text import wire_line

Kinds = tuple[type[Message], ...]

# What each side of every open link may send, whatever its role.
EVERY_LINK: Kinds = (Ping, Pong, Bye, Error)

_CHAT: Kinds = (Say, Ack, Nack, Offer, OfferRest, Accept, Decline, DialMe, Cancel, Pause, Resume, Verified, Check)
_FILE: Kinds = (File, End, Verified, Reject, Skip)


_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)  # what msgspec can raise
FIXED_ARRAY, ARRAY_16, ARRAY_32 = 0x90, 0xDC, 0xDD  # the heads of a MessagePack array
_VALUES = msgspec.msgpack.Decoder(list[msgspec.Raw])
_TAG = msgspec.msgpack.Decoder(Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")])


class Decoder:
    """Reads frames that hold a message of one of ``kinds``, two or more; the protocol's vectors call it ``name``."""

    def __init__(self, name: str, kinds: Kinds) -> None:
        self.name = name
        self.kinds = kinds
        union: Any = functools.reduce(operator.or_, cast(Any, kinds))
        self._read: Callable[[bytes], Message] = msgspec.msgpack.Decoder(union).decode
        self._of_tag = {str(kind.__struct_config__.tag): kind for kind in kinds}

    def decode(self, body: bytes) -> Message:
        """Return the message in a frame's body.

        Raises UnknownMessage if only another version can read it, and BadFrame if none can, whatever the bytes are.
        This is the only place that decodes messages.
        """
        try:
            return self._read(body)
        except _UNREADABLE as error:
            unknown = self._unknown_part(body)
            if unknown:
                raise UnknownMessage(wire_line(f"this version knows no {unknown} here")) from None
            raise BadFrame(wire_line(f"not a message that can come here: {error}")) from None

    def _unknown_part(self, body: bytes) -> str:
        """Return what part of a body that cannot be read is new to this version; empty if it is no message at all.

        A well-formed message is new with another tag, or if it is one of ours with more fields behind the known ones.
        """
        if not 1 <= array_length(body) <= MAX_MESSAGE_VALUES:  # a long one would cost memory to look at
            return ""
        try:
            values = _VALUES.decode(body)
            tag = _TAG.decode(values[0])
            kind = self._of_tag.get(tag)
            if kind is None:
                return f"message '{tag}'"
            known = 1 + len(kind.__struct_fields__)
            if len(values) <= known:
                return ""
            self._read(msgspec.msgpack.encode(values[:known]))
        except _UNREADABLE:
            return ""
        return f"field {known} of '{tag}'"


def array_length(body: bytes) -> int:
    """Return how many values the MessagePack array at the start of ``body`` has; -1 if there is something else."""
    head = body[0] if body else 0
    if head & 0xF0 == FIXED_ARRAY:
        return head & 0x0F
    size = {ARRAY_16: 2, ARRAY_32: 4}.get(head, 0)
    return int.from_bytes(body[1 : 1 + size], "big") if size else -1


@dataclass(frozen=True)
class Role:
    """One row of the table: what each side may send on an open link, and where its limits differ.

    ``ping_seconds`` and ``silence_seconds`` take the place of the program's own limits on links of
    this role: after how long without a byte a side pings, and after how long it cuts a mute one.
    """

    name: str
    from_dialler: Decoder
    from_listener: Decoder
    ping_seconds: float | None = None
    silence_seconds: float | None = None

    @classmethod
    def of(
        cls,
        name: str,
        dialler: Kinds,
        listener: Kinds,
        *,
        ping_seconds: float | None = None,
        silence_seconds: float | None = None,
    ) -> Role:
        """Return the row of a role whose sides send these kinds, beside those of every link."""
        if dialler == listener:
            to = back = Decoder(name, dialler + EVERY_LINK)
        else:
            to, back = Decoder(f"to-{name}", dialler + EVERY_LINK), Decoder(f"from-{name}", listener + EVERY_LINK)
        return cls(name, to, back, ping_seconds, silence_seconds)


# Before a link is open: the first frame of each side.
FROM_DIALLER = Decoder("from-dialler", (Hello, Error))
FROM_LISTENER = Decoder("from-listener", (Welcome, Error))

ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        #       role           from the dialler    from the listener
        Role.of(ROLE_REGISTRY, (Lookup, Announce), (ListPage, Found)),
        Role.of(ROLE_CHAT, _CHAT, _CHAT),
        Role.of(ROLE_FILE, _FILE, _FILE),
        Role.of(ROLE_PROBE, (), ()),
    )
}

# Every decoder by its name.
DECODERS: dict[str, Decoder] = {decoder.name: decoder for decoder in (FROM_DIALLER, FROM_LISTENER)} | {
    decoder.name: decoder for role in ROLES.values() for decoder in (role.from_dialler, role.from_listener)
}
