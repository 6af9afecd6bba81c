"""Rows for the tests of the store."""

from __future__ import annotations

from chatnet.core.events import MessageKind, MessageState, VerifiedLevel
from chatnet.core.messages import ListEntry, Say
from chatnet.core.records import Endpoint
from chatnet.peer.store.history_rows import NewMessage
from chatnet.peer.store.peer_store import PeerStore

ME, BOB, EVE = b"m" * 32, b"b" * 32, b"e" * 32
TALK, OTHER = b"T" * 32, b"O" * 32
REGISTRY, ANOTHER = b"R" * 32, b"A" * 32
NOT, BY_NUMBER = VerifiedLevel.NOT, VerifiedLevel.BY_NUMBER


def id16(n: int) -> bytes:
    return n.to_bytes(16, "big")


def entry(peer: bytes, seq: int, name: str = "bob", port: int = 1000) -> ListEntry:
    return ListEntry(peer, name, [Endpoint(b"\x7f\x00\x00\x01", port), Endpoint(b"\xfe" * 16, 2)], seq)


async def again(database) -> PeerStore:
    """The store after a restart."""
    await database.close()
    await database.open()
    return PeerStore(database)


def say(store, n: int, body: str = "hi", state=MessageState.WAITING, peer=BOB, conversation=TALK, at_ms=0):
    at_ms = at_ms or 1000 + n
    message = NewMessage(conversation, peer, ME, id16(n), MessageKind.TEXT, at_ms, at_ms, body, state)
    return store.messages.add_outgoing(message)


def hear(store, n: int, body: str = "ho", peer=BOB, conversation=TALK):
    said = Say(conversation, id16(n), 500 + n, body)
    return store.messages.add_incoming(peer, [said], 1000 + n).addCallback(lambda became: became[0])


def offer(sender, n: int, title: str, at_ms: int, state) -> NewMessage:
    return NewMessage(TALK, BOB, sender, id16(n), MessageKind.FILE, at_ms, at_ms, title, state)
