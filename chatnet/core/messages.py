"""Every message on the wire, and what it means.

A frame holds one MessagePack array whose first element is the tag in the table.  Fields are
positional; a missing, surplus or wrongly typed field is an error.  A new message is a feature
word in HELLO and WELCOME and is sent only if both sides named it; HELLO and WELCOME themselves
get no new fields.

    tag       fields                                     sent by, when                     answered by
    hello     versions features role instance name       dialler, first                    welcome | error
              record since fid token
    welcome   version features instance name observed    listener, when it agrees          -
    error     code text retry_after_s                    either, last before it closes     -
    ping      n                                          either, after quiet seconds       pong, not within raw bytes
    pong      n                                          either                            -
    bye       -                                          either, before an orderly close   -

    role registry (a peer dialled a registry; record present, since optional)
    list      reset more joined left cursor              registry: snapshot pages, pushes  -
    lookup    peer                                       peer                              found
    found     peer record                                registry                          -
    announce  record                                     peer, when its addresses changed  -

    role chat (two peers)
    say       conversation id sent_ms body               either                            ack | nack
    ack       ids                                        receiver, once they are stored    -
    nack      id code                                    receiver, will never store it     -
    offer     fid files more                             sender of files, in pages         accept | decline
    accept    fid token wants more                       receiver, in pages                a file link
    decline   fid code                                   receiver                          -
    dialme    fid                                        sender that cannot dial           a file link
    offer-rest fid folders not_sent executables more     sender, behind the last offer     as the offer
              (feature offer-rest)
    cancel    fid code                                   either, at any time               -
    pause     fid code                                   either: holds it                  -
    resume    fid                                        either: holds it not any more     accept | verified | pause
    verified  fid                                        receiver, when asked: all final   -
    check     step value                                 either: commit, nonce, reveal     the next step

    role file (dialled by the sender, or by the receiver after dialme; fid and token present)
    file      index offset length                        sender, then `length` raw bytes   -
    end       index digest                               sender, behind the raw bytes      -
    verified  fid                                        receiver, all final               -
    reject    index code                                 receiver, gives up                -
    skip      index code                                 sender, in place of file or end:  -
              (feature skip)                             this file is not sent

    role probe (a registry dials back once, to the address it has seen, to prove it): hello, welcome, bye

Which kinds each side of a role may send stands in ``roles.py``, limits and times in ``limits.py``; the
prose is ``docs/protocol.md``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from chatnet.core.limits import (
    MAX_ACKS,
    MAX_BODY_BYTES,
    MAX_CURSOR_BYTES,
    MAX_ENDPOINTS,
    MAX_FEATURE_CHARS,
    MAX_FEATURES,
    MAX_NAME_CHARS,
    MAX_OFFER_PAGE_FILES,
    MAX_PAGE_ENTRIES,
    MAX_PATH_PART_BYTES,
    MAX_PATH_PARTS,
    MAX_RETRY_SECONDS,
    MAX_TEXT_BYTES,
)
from chatnet.core.records import Endpoint, Name, SignedRecord, UInt

ALPN = b"chatnet/1"
VERSION = 1

# The words of features.  Which of them a program names is for whoever composes it.
RESUME = "resume"  # pause and resume of transfers, verified on chat links
SKIP = "skip"  # a file that cannot be sent does not end its transfer
OFFER_REST = "offer-rest"  # an offer has empty folders, and says what is not sent

ROLE_REGISTRY = "registry"
ROLE_CHAT = "chat"
ROLE_FILE = "file"
ROLE_PROBE = "probe"

# --- codes ------------------------------------------------------------------------------------

# error
BAD_FRAME = "bad-frame"  # a frame or message that cannot be, or cannot come now
UNKNOWN_MESSAGE = "unknown-message"  # a message, or a field, that this version does not know here
INTERNAL_ERROR = "internal-error"  # this side met an internal error
BAD_RECORD = "bad-record"
BAD_NAME = "bad-name"
NAME_TAKEN = "name-taken"  # bound to another key
KEY_BOUND = "key-bound"  # this key is bound to another name
VERSION_UNKNOWN = "version"
ROLE_UNKNOWN = "role"
BUSY = "busy"  # a limit: come back after retry_after_s
REPLACED = "replaced"  # a newer link of the same key, or the other of two crossing dials
NOT_EXPECTED = "not-expected"  # a file link that nobody waits for; a peer we do not take
STOPPING = "stopping"
SELF = "self"  # dialled oneself
SLOW = "slow"  # did not read, or did not finish a frame
STORE = "store"  # the database cannot commit at present
STRUCK = "struck"  # this key broke the protocol too often lately
UNANSWERED = "unanswered"  # of somebody whom nobody here has answered no more is taken until a person does

# nack
NOT_ACCEPTED = "not-accepted"  # of this key nothing is taken
UNKNOWN_CONVERSATION = "unknown-conversation"  # the two keys of the link do not talk in it
CONFLICT = "conflict"  # the same id with another body

# decline, cancel, reject
DECLINED = "declined"
USER = "user"
NO_SPACE = "no-space"
DIGEST = "digest"
CHANGED = "changed"  # the source is not what was offered
UNREADABLE = "unreadable"
UNWRITABLE = "unwritable"
NO_FOLDER = "no-such-folder"  # the folder that the receiver's person chose is gone
LOST = "lost"  # the connection broke
LATE = "late"  # no file link came
EXPIRED = "expired"  # it waited too long to go on
PAUSED = "paused"  # a person's wish
TOO_MANY = "too-many"

# Never on the wire.
NO_INODES = "no-inodes"  # the disk has room for too few more files; the other side hears no-space
SLOW_DISK = "slow-disk"  # whether our files can be sent could not be looked up in time

# --- field types ------------------------------------------------------------------------------

Id16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Id32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Code = Annotated[str, Meta(pattern=r"^[a-z][a-z-]{0,31}\Z", max_length=32)]
Feature = Annotated[str, Meta(pattern=r"^[a-z0-9./-]+\Z", max_length=MAX_FEATURE_CHARS)]
Features = Annotated[list[Feature], Meta(max_length=MAX_FEATURES)]
Cursor = Annotated[bytes, Meta(max_length=MAX_CURSOR_BYTES)]


class Message(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One message; ``tag`` names it on the wire."""


class VersionRange(NamedTuple):
    lowest: UInt
    highest: UInt


class ListEntry(NamedTuple):
    """One peer in the list: about 90 bytes.

    The first ``proven`` endpoints answered the registry with the peer's key; it dials nothing but
    the address that it has seen.
    """

    peer: Id32
    name: Name
    endpoints: Annotated[list[Endpoint], Meta(max_length=MAX_ENDPOINTS + 1)]
    seq: UInt
    proven: Annotated[int, Meta(ge=0, le=MAX_ENDPOINTS + 1)] = 0


PathPart = Annotated[str, Meta(min_length=1, max_length=MAX_PATH_PART_BYTES)]


class OfferedFile(NamedTuple):
    """One file of an offer; ``path`` is relative, a component an element."""

    path: Annotated[list[PathPart], Meta(min_length=1, max_length=MAX_PATH_PARTS)]
    size: UInt
    mtime_ms: UInt


# A folder is at most as deep as one that holds a file.
FolderPath = Annotated[list[PathPart], Meta(min_length=1, max_length=MAX_PATH_PARTS - 1)]


class NotSent(NamedTuple):
    """How many things of what a sender has chosen are not in its offer."""

    links: UInt
    specials: UInt  # FIFOs, sockets, devices
    unreadable: UInt  # files and folders


class Want(NamedTuple):
    """A file the receiver wants, from ``offset`` on."""

    file: UInt  # its index in the offer
    offset: UInt


# --- every connection -------------------------------------------------------------------------


class Hello(Message, frozen=True, tag="hello"):
    versions: VersionRange
    features: Features
    role: Annotated[str, Meta(pattern=r"^[a-z]{1,16}\Z")]
    instance: Id16  # new at each start of the program
    name: Annotated[str, Meta(max_length=MAX_NAME_CHARS)]  # checked by the listener: a bad one has its own error
    record: SignedRecord | None = None
    since: Cursor | None = None
    fid: Id16 | None = None
    token: Id32 | None = None


class Welcome(Message, frozen=True, tag="welcome"):
    version: UInt
    features: Features
    instance: Id16
    name: Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
    observed: Endpoint | None = None  # the dialler's address as the listener sees it

    def __post_init__(self) -> None:
        if self.observed is not None:
            _check_ip(self.observed)


class Error(Message, frozen=True, tag="error"):
    code: Code
    text: Annotated[str, Meta(max_length=MAX_TEXT_BYTES)]
    retry_after_s: Annotated[int, Meta(ge=0, le=MAX_RETRY_SECONDS)] = 0

    def __post_init__(self) -> None:
        _check_utf8(self.text, MAX_TEXT_BYTES)


class Ping(Message, frozen=True, tag="ping"):
    n: UInt


class Pong(Message, frozen=True, tag="pong"):
    n: UInt


class Bye(Message, frozen=True, tag="bye"):
    pass


# --- role registry ----------------------------------------------------------------------------


class ListPage(Message, frozen=True, tag="list"):
    reset: bool  # forget the list you have: a snapshot begins
    more: bool  # the snapshot goes on in the next page
    joined: Annotated[list[ListEntry], Meta(max_length=MAX_PAGE_ENTRIES)]  # new, or changed
    left: Annotated[list[Id32], Meta(max_length=MAX_PAGE_ENTRIES)]
    cursor: Cursor

    def __post_init__(self) -> None:
        for entry in self.joined:
            for endpoint in entry.endpoints:
                _check_ip(endpoint)


class Lookup(Message, frozen=True, tag="lookup"):
    peer: Id32


class Found(Message, frozen=True, tag="found"):
    peer: Id32
    record: SignedRecord | None


class Announce(Message, frozen=True, tag="announce"):
    record: SignedRecord


# --- role chat --------------------------------------------------------------------------------


class Say(Message, frozen=True, tag="say"):
    conversation: Id32
    id: Id16
    sent_ms: UInt
    body: Annotated[str, Meta(min_length=1, max_length=MAX_BODY_BYTES)]

    def __post_init__(self) -> None:
        _check_utf8(self.body, MAX_BODY_BYTES)


class Ack(Message, frozen=True, tag="ack"):
    ids: Annotated[list[Id16], Meta(min_length=1, max_length=MAX_ACKS)]


class Nack(Message, frozen=True, tag="nack"):
    id: Id16
    code: Code


class Offer(Message, frozen=True, tag="offer"):
    fid: Id16
    files: Annotated[list[OfferedFile], Meta(min_length=1, max_length=MAX_OFFER_PAGE_FILES)]
    more: bool

    def __post_init__(self) -> None:
        for file in self.files:
            for part in file.path:
                _check_utf8(part, MAX_PATH_PART_BYTES)


class OfferRest(Message, frozen=True, tag="offer-rest"):
    """What belongs to an offer beside its files, in pages behind those with the files.

    The numbers are those of the last page.
    """

    fid: Id16
    folders: Annotated[list[FolderPath], Meta(max_length=MAX_OFFER_PAGE_FILES)]  # those with nothing in them
    not_sent: NotSent
    executables: UInt  # files that may be executed where they are
    more: bool

    def __post_init__(self) -> None:
        for path in self.folders:
            for part in path:
                _check_utf8(part, MAX_PATH_PART_BYTES)


class Accept(Message, frozen=True, tag="accept"):
    fid: Id16
    token: Id32
    wants: Annotated[list[Want], Meta(max_length=MAX_OFFER_PAGE_FILES)]
    more: bool


class Decline(Message, frozen=True, tag="decline"):
    fid: Id16
    code: Code


class DialMe(Message, frozen=True, tag="dialme"):
    fid: Id16


class Cancel(Message, frozen=True, tag="cancel"):
    fid: Id16
    code: Code


class Pause(Message, frozen=True, tag="pause"):
    """``code``: why, "paused" or what stands in the way."""

    fid: Id16
    code: Code


class Resume(Message, frozen=True, tag="resume"):
    fid: Id16


class CheckStep(IntEnum):
    """The steps of comparing a short code, in their order."""

    COMMIT = 1  # the commitment of who begins: 32 bytes
    NONCE = 2  # the nonce of the other: 16 bytes
    REVEAL = 3  # the nonce of who began: 16 bytes


class Check(Message, frozen=True, tag="check"):
    """One step of comparing a short code."""

    step: CheckStep
    value: Annotated[bytes, Meta(min_length=16, max_length=32)]

    def __post_init__(self) -> None:
        if len(self.value) != (32 if self.step is CheckStep.COMMIT else 16):
            raise ValueError("a value of another length than this step's")


# --- role file --------------------------------------------------------------------------------


class File(Message, frozen=True, tag="file"):
    index: UInt
    offset: UInt
    length: UInt


class End(Message, frozen=True, tag="end"):
    index: UInt
    digest: Id32  # BLAKE3 of the whole file


class Verified(Message, frozen=True, tag="verified"):
    fid: Id16


class Reject(Message, frozen=True, tag="reject"):
    index: UInt
    code: Code


class Skip(Message, frozen=True, tag="skip"):
    """In place of a FILE, or of the END behind its bytes: this file cannot be sent; the others follow."""

    index: UInt
    code: Code


_ENCODER = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Return the body of a frame with a message."""
    return _ENCODER.encode(message)


def _check_ip(endpoint: Endpoint) -> None:
    """Check the length of an address, of which msgspec knows a range and not two values.  Raises ValueError."""
    if len(endpoint.ip) not in (4, 16):
        raise ValueError("an address is neither 4 nor 16 bytes")


def _check_utf8(text: str, limit: int) -> None:
    """Check the bytes of a text, of which msgspec counts the code points.  Raises ValueError."""
    if len(text) * 4 > limit and len(text.encode()) > limit:
        raise ValueError(f"text above {limit} bytes")
