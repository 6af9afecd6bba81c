"""The people as clients see them: keeps the roster and the store in step, and emits the events."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core.directory.roster import Roster
from chatnet.core.errors import LocalError, StoreFailed
from chatnet.core.events import PeopleChanged, Person, PersonGone
from chatnet.core.identity import ChatID, PeerID, chat_with, conversation_of, key_text, person_in
from chatnet.core.limits import PEOPLE_PER_EVENT
from chatnet.host.event_feed import Emitted
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.requests import StoredRequest

FOLDER_KEY_CHARS = 13  # of a key in the name of its folder: 65 bits, which nobody finds again for another key


class People:
    """Keeps the roster and the store in step, and tells clients of every person that changed."""

    log = Logger("chatnet.people")

    def __init__(
        self, clock: Any, me: PeerID, store: PeerStore, emit: Callable[[Emitted], None], wall_ms: Callable[[], int]
    ) -> None:
        self.me = me
        self.roster = Roster(me)
        self._clock = clock
        self._store = store
        self._emit = emit
        self._wall_ms = wall_ms
        self._changed: dict[PeerID, None] = {}
        self._telling: IDelayedCall | None = None
        self._stopped = False
        self.on_accepted: Callable[[PeerID], None] = lambda peer: None  # hears who is no stranger any more
        self.on_blocked: Callable[[PeerID], None] = lambda peer: None  # hears of whom nothing is wanted any more
        self.on_unblocked: Callable[[StoredRequest], None] = lambda request: None  # hears of what is a request again
        self._unkept: list[Callable[[], Deferred[Any]]] = []  # of first exchanges, while the disk takes nothing

    async def recall(self) -> dict[ChatID, int]:
        """Read pins, blocks, conversations and what waits from disk, and return up to which row each chat was read."""
        roster = self.roster
        for pin in await self._store.pins.all():
            if pin.current:
                roster.pin(pin.name, pin.peer, pin.first_ms, pin.verified)
                roster.has_record(pin.peer, pin.seq)
        roster.blocked = await self._store.pins.blocked()
        roster.unwanted = await self._store.pins.unwanted_keys()
        read_n: dict[ChatID, int] = {}
        for conversation in await self._store.conversations.all():
            peer = person_in(conversation.chat)
            about = roster.acquaintance(peer)
            about.talked = True
            about.accepted = conversation.accepted
            about.unread = conversation.unread
            read_n[conversation.chat] = conversation.read_n
        for chat in await self._store.conversations.written_to(self.me):
            roster.acquaintance(person_in(chat)).written_to = True
        for peer, count in (await self._store.messages.waiting()).items():
            roster.acquaintance(peer).waiting = count
        return read_n

    def stop(self) -> None:
        self._stopped = True
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    # --- telling ------------------------------------------------------------------------------

    def all(self) -> tuple[Person, ...]:
        return tuple(self.roster.person(peer) for peer in self.roster.people())

    def tell(self, peer: PeerID, **about: Any) -> None:
        """Tell how ``peer`` is now, soon; ``about`` are facts of an PeerStats that changed."""
        for fact, value in about.items():
            setattr(self.roster.acquaintance(peer), fact, value)
        self._changed[peer] = None
        if self._telling is None and not self._stopped:
            self._telling = self._clock.callLater(0, self._tell_changed)

    def tell_all(self) -> None:
        """Tell how everybody is, ahead of whatever is told from now on; some of them in each event."""
        peers = self.roster.people()
        for start in range(0, len(peers), PEOPLE_PER_EVENT):
            self._emit(partial(self._all_of, peers[start : start + PEOPLE_PER_EVENT]))

    def _all_of(self, peers: list[PeerID]) -> PeopleChanged:
        return PeopleChanged(tuple(self.roster.person(peer) for peer in peers))

    def waiting_changed(self, peer: PeerID, by: int) -> None:
        if by:
            self.tell(peer, waiting=max(0, self.roster.acquaintance(peer).waiting + by))

    def _tell_changed(self) -> None:
        """Tell of at most PEOPLE_PER_EVENT people who changed; the next turn tells of the next."""
        self._telling = None
        now = [peer for peer, _ in zip(self._changed, range(PEOPLE_PER_EVENT), strict=False)]
        for peer in now:
            del self._changed[peer]
        shown = [peer for peer in now if self.roster.is_shown(peer)]
        if shown:
            self._emit(PeopleChanged(tuple(self.roster.person(peer) for peer in shown)))
        for peer in now:
            if not self.roster.is_shown(peer):
                self._emit(PersonGone(peer))
                self.roster.forget(peer)
        if self._changed:
            self._telling = self._clock.callLater(0, self._tell_changed)

    # --- knowing ------------------------------------------------------------------------------

    def known(self, peer: bytes) -> PeerID:
        """Return ``peer`` as somebody we know.  Raises LocalError("unknown-peer")."""
        known = PeerID(peer)
        if known not in self.roster.entries and not self.roster.is_known(known):
            raise LocalError("unknown-peer", "Nobody with this key is known here.")
        return known

    def name_of(self, peer: bytes) -> str:
        return self.roster.name_of(PeerID(peer))

    def pin_on_first_contact(self, peer: PeerID) -> None:
        """Bind the name to the key at the first exchange.

        The store is asked before this returns, so that it does this ahead of what is asked of it
        next; nobody waits for it, or a second message would overtake the first.
        """
        about, name, now = self.roster.acquaintance(peer), self.roster.vouched_name(peer), self._wall_ms()
        if name is not None and not self.roster.is_pinned(peer):
            self.roster.pin(name, peer, now)
            self._keep(lambda: self._store.pins.add(name, peer, now))
        if not about.talked:
            about.talked = True
            conversation = conversation_of(self.me, peer)
            self._keep(lambda: self._store.conversations.touch(conversation, chat_with(peer), name or "", now))

    def accept(self, peer: PeerID) -> None:
        """Note that a person here writes to ``peer``, or takes something of theirs.

        They are no stranger then, also after a restart.

        The store is asked before this returns, behind what ``pin_on_first_contact`` asked of it.
        """
        about = self.roster.acquaintance(peer)
        if not about.accepted:
            about.accepted = True
            self._keep(lambda: self._store.requests.accept(chat_with(peer)))
            self.on_accepted(peer)

    def store_again(self) -> None:
        """Store what the disk did not take before, because it takes things again."""
        unkept, self._unkept = self._unkept, []
        for write in unkept:
            self._keep(write)

    def _keep(self, write: Callable[[], Deferred[Any]]) -> None:
        write().addErrback(self._not_kept, write)

    def _not_kept(self, failure: Failure, write: Callable[[], Deferred[Any]]) -> None:
        if not failure.check(StoreFailed):
            self.log.failure("internal error while storing a first exchange", failure)
            return
        self.log.warn("a first exchange could not be stored: {why}", why=failure.getErrorMessage())
        self._unkept.append(write)

    def folder_of(self, peer: bytes) -> str:
        """Return the folder for a person's files: a key that nothing vouches for gets a folder of its own."""
        known = PeerID(peer)
        name = self.roster.vouched_name(known)
        if name is not None:
            return name
        entry = self.roster.entries.get(known)
        return f"{entry.name if entry else 'unknown'}-{key_text(known)[:FOLDER_KEY_CHARS]}"
