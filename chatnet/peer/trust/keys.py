"""Decisions about keys: take a new one, keep the old one, compare, block.

The words for people are here, the exchange of a short code is ``short_codes``, the rule that holds
what is sent is ``core.roster`` (``new_key``).

Between what a person saw and what they say, a registry can put another key under the name.  So each
decision says which key it is about, and is refused when it would be about another one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from chatnet.core.directory.roster import Standing
from chatnet.core.errors import LocalError, StoreFailed
from chatnet.core.events import SafetyNumber, VerifiedLevel
from chatnet.core.identity import PREFIX_CHARS, PeerID, chat_with, conversation_of, is_prefix_of, short_text
from chatnet.core.safety_number import safety_number
from chatnet.peer.directory.people import People
from chatnet.peer.messages.conversations import Conversations
from chatnet.peer.messages.open_tabs import OpenTabs
from chatnet.peer.messages.outbox import Outbox
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.transfers.manager import Transfers
from chatnet.peer.trust.short_code import ShortCodes


class TrustOwner(Protocol):
    """Who knows what else depends on the key of a person."""

    def key_replaced(self, old: PeerID, new: PeerID) -> None:
        """Called when a person has the key ``new`` in the place of ``old``, which is nobody's from now on."""


class Trust:
    """Carries out what a person decides about a key: take it, keep the old one, mark it verified, block it."""

    log = Logger("chatnet.trust")

    def __init__(
        self,
        people: People,
        store: PeerStore,
        conversations: Conversations,
        outbox: Outbox,
        short_codes: ShortCodes,
        transfers: Transfers,
        open_tabs: OpenTabs,
        owner: TrustOwner,
        wall_ms: Callable[[], int],
        waiting_ms: Callable[[], int],
    ) -> None:
        self._people = people
        self._roster = people.roster
        self._store = store
        self._conversations = conversations
        self._outbox = outbox
        self._short_codes = short_codes
        self._transfers = transfers
        self._open_tabs = open_tabs
        self._owner = owner
        self._wall_ms = wall_ms
        self._waiting_ms = waiting_ms

    async def trust(self, peer: bytes, prefix: str) -> None:
        """Take the new key that begins with ``prefix``.  Raises LocalError: no-new-key, verified, wrong-prefix."""
        known, new = self._changed_key(peer)
        name = self._roster.name_of(known)
        if self._roster.verified(known):
            raise LocalError(
                "verified",
                f"{name}'s key was verified, so {PREFIX_CHARS} characters are not enough for a new one.",
            )
        if not is_prefix_of(prefix, new):
            raise LocalError(
                "wrong-prefix",
                f"These are not the first {PREFIX_CHARS} characters of {name}'s new key. Nothing changed.",
            )
        await self._take(known, new, VerifiedLevel.NOT)

    async def keep(self, peer: bytes, key: bytes) -> None:
        """Ignore the new key ``key``.  Raises LocalError: no-new-key, another-key."""
        known, new = self._changed_key(peer)
        name = self._roster.name_of(known)
        if new != key:
            raise LocalError("another-key", f"Yet another key uses the name {name} now. Nothing changed.")
        if new in self._roster.unwanted:
            raise LocalError("no-new-key", f"The key of {name} that you know is kept already.")
        await self._store.pins.add_unwanted_key(new, self._wall_ms())
        self._roster.unwanted.add(new)
        await self._outbox.release(known)
        self._people.tell(known)

    def number(self, peer: bytes) -> SafetyNumber:
        """Return what is to be compared with this person now."""
        known = self._people.known(peer)
        key = PeerID(self._roster.person(known).compared_key)
        return SafetyNumber(known, self._roster.name_of(known), key, safety_number(self._people.me, key))

    async def check_live(self, peer: bytes) -> str:
        """Make a short code about the key ``peer``.  Raises what ``ShortCodes.begin`` raises."""
        known = self._people.known(peer)
        return await self._short_codes.begin(known, self._roster.name_of(known))

    async def confirm(self, peer: bytes, level: VerifiedLevel, name: str, key: bytes, code: str) -> None:
        """Mark that ``key`` is the key of ``name``; a new one is taken.

        Raises LocalError: no-check, another-key, another-name, another-code.
        """
        known = self._people.known(peer)
        shown = self._short_codes.shown(known)
        by_number = level is VerifiedLevel.BY_NUMBER
        compared = PeerID(self._roster.person(known).compared_key) if by_number else known
        if level is VerifiedLevel.BY_CODE and not shown:
            raise LocalError("no-check", f"No code was compared with {name} yet.")
        if key != compared:
            raise LocalError("another-key", f"Another key has come since for {name}. Nothing changed.")
        if name != self._roster.name_of(known):
            raise LocalError("another-name", f"This key is not called {name} any more. Nothing changed.")
        if level is VerifiedLevel.BY_CODE and code != shown:
            raise LocalError("another-code", f"Another code with {name} has come since. Nothing changed.")
        if compared != known:
            await self._take(known, compared, level)
            return
        self._people.pin_on_first_contact(known)
        if self._roster.vouched_name(known) is None:
            raise LocalError("no-check", f"Nothing binds a name to {name}'s key yet, so there is nothing to mark.")
        await self._store.pins.set_verified(name, known, level)
        self._roster.set_verified(known, level)
        self._people.accept(known)
        self._people.tell(known)

    async def block(self, peer: bytes, blocked: bool) -> None:
        """Take nothing from the key ``peer`` any more, or again."""
        known = self._people.known(peer)
        is_requester = self._roster.standing(known) is Standing.REQUESTER
        if blocked and is_requester:
            self._transfers.drop_offers_under_way(known)
        request = await self._store.pins.set_blocked(known, blocked, self._wall_ms(), is_requester)
        (self._roster.blocked.add if blocked else self._roster.blocked.discard)(known)
        if blocked:
            self._transfers.end_all_with(known)
            self._people.on_blocked(known)
        if request is not None:
            self._people.on_unblocked(request)
        self._people.tell(known)

    def _changed_key(self, peer: bytes) -> tuple[PeerID, PeerID]:
        """Return the known key and its new one, also one that the user decided against.

        Raises LocalError("no-new-key").
        """
        known = self._people.known(peer)
        new = self._roster.rival(known)
        if new is None:
            raise LocalError("no-new-key", f"{self._roster.name_of(known)} has no new key.")
        return known, new

    async def _take(self, old: PeerID, new: PeerID, verified: VerifiedLevel) -> None:
        """Give the name to the new key, and let the chat with the old key go on as the chat with the new one.

        What was asked of the store before the commit was told, and stands behind it there, still names the old
        key: it is moved once more.  Raises StoreFailed; then nothing has changed.
        """
        name, now_ms, receiver = self._roster.name_of(old), self._wall_ms(), old
        former, chat = chat_with(old), chat_with(new)
        conversation = conversation_of(self._people.me, new)
        self._outbox.hold_back(old)
        try:
            taken = await self._store.pins.take_key(name, old, new, verified, conversation, now_ms, self._waiting_ms())
            self._roster.take_key(name, old, new, now_ms, verified, taken.waiting, taken.unread)
            self._conversations.moved(former, chat, taken.read_n)
            for row in taken.released:
                self._conversations.changed(row.chat, row.n, row.state, row.reason)
            self._owner.key_replaced(old, new)
            self._people.accept(new)
            self._people.tell(old)
            self._people.tell(new)
            self.log.info("{name} is {new} now, was {old}", name=name, new=short_text(new), old=short_text(old))
            receiver = new
            self._outbox.changed(old)
            self._outbox.changed(new)
            moving = self._store.pins.move_late_rows(old, new, conversation)
            self._transfers.take_key(old, new)
        finally:
            self._outbox.let_go(old, receiver)
        try:
            await moving
        except StoreFailed as error:  # the key is taken all the same
            self.log.warn("what came while a key was taken was not moved: {text}", text=error.text)
        self._conversations.all_moved(former)
        await self._open_tabs.recall()
