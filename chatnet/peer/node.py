"""Everything that exists while somebody is logged in, and how its parts hear of each other.

    registry --pages--> Registration --> Roster, ListKeeper --> persons on the screen
    people   --links--> Reception --> ChatLinks --> Courier (messages), Transfers (files) --> Store

A node is opened and closed as a whole; what outlives it is on disk.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet import __version__
from chatnet.core import messages
from chatnet.core.dialrules import Network
from chatnet.core.errors import ChatnetError, LocalError, RemoteError, StoreFailed, WrongKey
from chatnet.core.events import (
    ChatMessage,
    CodeReady,
    Event,
    HistoryPage,
    Me,
    MessageAdded,
    MessageChanged,
    MessageKind,
    MessageState,
    Notice,
    NoticeLevel,
    PeopleChanged,
    Person,
    PersonGone,
    RegistryChanged,
    RegistryState,
    Traffic,
    Transfer,
    TransferChanged,
    TransferState,
)
from chatnet.core.identity import SHORT_CHARS, PeerID, conversation_of, key_text, safety_number, short_text
from chatnet.core.limits import MAX_BODY_BYTES, NOTICES, PEOPLE_PER_EVENT
from chatnet.core.messages import (
    FEATURES,
    ROLE_FILE,
    VERSION,
    Ack,
    Check,
    Decline,
    Hello,
    ListPage,
    Message,
    Nack,
    Offer,
    Say,
    VersionRange,
)
from chatnet.core.records import Endpoint, SignedRecord, sign_record, verify_record
from chatnet.core.roster import Changes, Roster
from chatnet.core.text import safe_line, safe_text
from chatnet.net.database import Database
from chatnet.net.dialling import Dialler
from chatnet.net.interfaces import own_networks, published_endpoints
from chatnet.net.keys import load_or_make_identity
from chatnet.net.link import Link, LinkEnd, LinkSettings, LinkUser
from chatnet.net.listening import LinkFactory, Listener
from chatnet.net.profile import ProfileLock
from chatnet.net.pulse import Pulse
from chatnet.net.tls import TLS
from chatnet.peer.address import RegistryAddress
from chatnet.peer.chatlinks import ChatLinks
from chatnet.peer.courier import Courier
from chatnet.peer.listkeeper import ListKeeper
from chatnet.peer.options import PeerSettings
from chatnet.peer.reception import FileDoor, Reception
from chatnet.peer.registration import Presence, Registration
from chatnet.peer.store import MIGRATIONS, PeerStore, StoredMessage
from chatnet.peer.transfers import Transfers
from chatnet.peer.verifying import Verifying

PORT_SETTING = "port"
BY_CODE, BY_NUMBER = 1, 2  # how people compared a key


class Node:
    """See the module.  ``emit`` takes every event; ``wall`` is the time of day in seconds."""

    log = Logger("chatnet.node")

    def __init__(
        self,
        reactor: Any,
        settings: PeerSettings,
        name: str,
        registry: RegistryAddress,
        emit: Callable[[Event], None],
        wall: Callable[[], float],
        chance: random.Random,
    ) -> None:
        self.name = name
        self.places = settings.roots.of(name)
        self.notices: deque[Notice] = deque(maxlen=NOTICES)
        self.is_new = False
        self._reactor = reactor
        self._settings = settings
        self._registry = registry
        self._emit = emit
        self._wall = wall
        self._chance = chance
        self._lock = ProfileLock(self.places.lock, name)
        self._instance = chance.randbytes(16)
        self._read_n: dict[PeerID, int] = {}
        self._dirty: dict[PeerID, None] = {}
        self._telling: IDelayedCall | None = None
        self._networks: list[Network] = []
        self._undialled: set[PeerID] = set()
        self._closed = False

    # --- opening ------------------------------------------------------------------------------

    def prepare(self) -> None:
        """What can be done at once: directories, lock, key, and the ports that were named.

        Raises LocalError (profile in use, unusable directory or key) or CannotListenError.
        """
        self.is_new = self.places.prepare()
        try:
            self._lock.acquire()
            self.identity = load_or_make_identity(self.places.data)
            self.me = self.identity.peer_id
            self.roster = Roster(self.me)
            self.pulse = Pulse(self._reactor)
            limits = self._settings.limits
            link_settings = LinkSettings(limits, limits.queue_bytes, self.pulse, self._chance.random)
            tls = TLS(self.identity)
            self.reception = Reception()
            factory = LinkFactory(link_settings, self.reception, limits.unauthenticated)
            self.listener = Listener(self._reactor, tls, factory)
            self.dialler = Dialler(self._reactor, tls, link_settings)
            if self._settings.listen:
                self.listener.listen(self._settings.listen)
        except BaseException:
            self._lock.release()
            raise

    async def open(self) -> None:
        """Read what is on disk, bind the port, and be ready for everybody.

        Raises StoreFailed, LocalError or CannotListenError.
        """
        self.database = Database(self.places.database, MIGRATIONS, self._reactor)
        await self.database.open()
        self.store = PeerStore(self.database)
        await self._recall()
        if not self._settings.listen:
            await self._listen_where_we_were()
        self._networks = own_networks()
        self._make_parts()
        await self.transfers.start()
        self.reception.open(self.links, FileDoor(self.transfers))
        self.log.info(
            "{name} {peer} listens on {addresses}",
            name=self.name,
            peer=short_text(self.me),
            addresses=", ".join(self.listening),
        )

    async def _recall(self) -> None:
        """The pins, the last list, the conversations."""
        for pin in await self.store.pins():
            if pin.current:
                self.roster.pin(pin.name, pin.peer, pin.first_ms, pin.verified)
        self.roster.blocked = await self.store.blocked()
        self.roster.unwanted = await self.store.unwanted_keys()
        saved = await self.store.load_list()
        if self._registry.key is None:
            pinned = await self.store.registry_pin(self._registry.shown)
            self._registry = RegistryAddress(self._registry.host, self._registry.port, pinned)
        self.roster.restore(saved.entries)
        self.keeper = ListKeeper(self._reactor, self.store, saved.registry, saved.cursor)
        for conversation in await self.store.conversations():
            about = self.roster.acquaintance(conversation.peer)
            about.talked = True
            about.unread = conversation.unread
            self._read_n[conversation.peer] = conversation.read_n
        for peer, count in (await self.store.waiting()).items():
            self.roster.acquaintance(peer).waiting = count

    async def _listen_where_we_were(self) -> None:
        """On the port we had before, so that we are found without a registry; else on another."""
        former = int(await self.store.get(PORT_SETTING) or 0)
        try:
            self.listener.listen_everywhere(former)
        except CannotListenError:
            self.listener.listen_everywhere(0)
        if self.listener.port != former:
            await self.store.put(PORT_SETTING, str(self.listener.port))

    def _make_parts(self) -> None:
        limits, uniform = self._settings.limits, self._chance.uniform
        self.links = ChatLinks(
            self._reactor,
            self.pulse,
            self.dialler,
            limits,
            self.roster,
            hello=self._hello,
            networks=lambda: self._networks,
            up=self._link_up,
            down=self._link_down,
            message=self._message,
            measured=lambda link: self._tell_person(link.peer, rtt_ms=link.rtt_ms),
        )
        self.courier = Courier(
            self._reactor,
            limits,
            self.store,
            self.roster,
            self.links,
            added=self._row_added,
            changed=self._row_changed,
            waiting=self._waiting_changed,
            undialled=self._not_reached,
            store_failed=self._store_failed,
            random_bytes=self._chance.randbytes,
            uniform=uniform,
            wall_ms=self.wall_ms,
        )
        self.transfers = Transfers(
            self._reactor,
            limits,
            self.store,
            self.places.downloads,
            self,
            random_bytes=self._chance.randbytes,
            changed=self._transfer_changed,
            person_folder=self._folder_of,
        )
        self.verifying = Verifying(
            self._reactor,
            limits,
            self.me,
            send=self.send,
            ready=lambda peer, code, asked: self._emit(CodeReady(peer, code, asked)),
            random_bytes=self._chance.randbytes,
        )
        self.registration = Registration(
            self._reactor,
            self.dialler,
            self._registry,
            presence=self._presence,
            remember_key=self._remember_registry,
            listed=lambda: len(self.roster.listed),
            on_state=lambda state: self._emit(RegistryChanged(state)),
            on_page=self._page,
            wall_ms=self.wall_ms,
            uniform=uniform,
        )

    async def sign_in(self) -> None:
        """The first attempt at the registry.  Raises Refused or WrongKey when that was final."""
        for peer, count in [(p, self.roster.acquaintance(p).waiting) for p in self.roster.people()]:
            if count:
                self.courier.came_online(peer)
        await self.registration.start()

    async def close(self) -> None:
        """Say goodbye everywhere and leave nothing running.  Works from every stage of opening."""
        if self._closed:
            return
        self._closed = True
        if self._telling is not None:
            self._telling.cancel()
        if hasattr(self, "registration"):
            self.courier.stop()
            self.verifying.stop()
            await self.registration.stop()
            await self.transfers.stop()
            await self.links.stop()
        if hasattr(self, "listener"):
            await self.listener.close(lambda link: link.abort())
        if hasattr(self, "keeper"):
            await self.keeper.flush(self.wall_ms())
        if hasattr(self, "database"):
            await self.database.close()
        self._lock.release()

    async def undo(self) -> None:
        """Close, and leave no trace of a profile that was made for nothing."""
        await self.close()
        if self.is_new:
            self.places.remove()

    # --- what we say about ourselves ------------------------------------------------------------

    @property
    def listening(self) -> tuple[str, ...]:
        return tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.listener.addresses)

    def who(self, log_file: str) -> Me:
        return Me(
            peer=self.me,
            name=self.name,
            version=__version__,
            new_key=self.identity.made,
            data_dir=str(self.places.data),
            downloads=str(self.places.downloads),
            listening=self.listening,
            log_file=log_file,
        )

    def _hello(self, role: str, **fields: Any) -> Hello:
        return Hello(VersionRange(VERSION, VERSION), list(FEATURES), role, self._instance, self.name, **fields)

    async def _presence(self) -> Presence:
        self._networks = own_networks()
        record = await self._record(published_endpoints(self.listener.addresses))
        same_registry = self.keeper.registry is not None and self.keeper.registry == self.registration.place.key
        since = self.keeper.cursor if same_registry and self.keeper.cursor else None
        return Presence(self.name, self._instance, record, since)

    async def _record(self, endpoints: list[Endpoint]) -> SignedRecord:
        """Our signed record; a new one, with a higher number, only if it says something new."""
        former = await self.store.record(self.me)
        if former is not None:
            said = _said_in(former, self.me)
            if said is not None and said == (self.name, endpoints):
                return former
        seq = await self.store.next_seq()
        record = sign_record(self.identity.public_key, self.identity.sign, self.name, endpoints, seq, self.wall_ms())
        await self.store.save_record(self.me, record, seq)
        return record

    async def _remember_registry(self, key: PeerID) -> None:
        await self.store.pin_registry(self._registry.shown, key, self.wall_ms())

    # --- the list -----------------------------------------------------------------------------

    def _page(self, page: ListPage) -> None:
        registry = self.registration.place.key or (self.registration.link.peer if self.registration.link else None)
        changes = self.roster.apply(page, self.wall_ms())
        if registry is not None:
            self.keeper.page(registry, page, self.wall_ms())
        self._tell_changes(changes)
        self.registration.recount()
        for peer in changes.came:
            if self.roster.acquaintance(peer).waiting:
                self.courier.came_online(peer)

    def _tell_changes(self, changes: Changes) -> None:
        for peer in changes.changed:
            self._tell_person(peer)

    # --- persons ------------------------------------------------------------------------------

    def people(self) -> tuple[Person, ...]:
        return tuple(self.roster.person(peer) for peer in self.roster.people())

    def _tell_person(self, peer: PeerID, **about: Any) -> None:
        """Tell how ``peer`` is now, soon; ``about`` are facts beyond the list."""
        for fact, value in about.items():
            setattr(self.roster.acquaintance(peer), fact, value)
        self._dirty[peer] = None
        if self._telling is None and not self._closed:
            self._telling = self._reactor.callLater(0, self._tell_people)

    def _tell_people(self) -> None:
        self._telling = None
        now, self._dirty = list(self._dirty)[:PEOPLE_PER_EVENT], dict.fromkeys(list(self._dirty)[PEOPLE_PER_EVENT:])
        self._emit(PeopleChanged(tuple(self.roster.person(peer) for peer in now if self.roster.is_shown(peer))))
        for peer in now:
            if not self.roster.is_shown(peer):
                self._emit(PersonGone(peer))
        if self._dirty:
            self._telling = self._reactor.callLater(0, self._tell_people)

    def check_known(self, peer: bytes) -> PeerID:
        """``peer`` as somebody we know; raises LocalError("unknown-peer")."""
        known = PeerID(peer)
        if known not in self.roster.entries and not self.roster.is_known(known):
            raise LocalError("unknown-peer", "Nobody with this key is known here.")
        return known

    async def _meet(self, peer: PeerID) -> None:
        """The first exchange binds the name to the key."""
        about = self.roster.acquaintance(peer)
        name = self.roster.vouched_name(peer)
        now = self.wall_ms()
        if name is not None and not self.roster.is_pinned(peer):
            self.roster.pin(name, peer, now)
            await self.store.add_pin(name, peer, now)
        if not about.talked:
            about.talked = True
            await self.store.touch_conversation(conversation_of(self.me, peer), peer, name or "", now)

    def _folder_of(self, peer: bytes) -> str:
        """Where files from a person go: an unproven key under a known name gets its own folder."""
        known = PeerID(peer)
        name = self.roster.vouched_name(known)
        if name is not None:
            return name
        entry = self.roster.entries.get(known)
        return f"{entry.name if entry else 'unknown'}-{short_text(known)[:4]}"

    # --- links --------------------------------------------------------------------------------

    def _link_up(self, link: Link) -> None:
        self._undialled.discard(link.peer)
        self._tell_person(link.peer, linked=True, address=link.address, rtt_ms=link.rtt_ms)
        self.courier.link_up(link)

    def _link_down(self, link: Link, end: LinkEnd) -> None:
        self._tell_person(link.peer, linked=False, address="", rtt_ms=None, last_seen_ms=self.wall_ms())
        self.courier.link_down(link, end)
        if end.code != messages.REPLACED:
            self.transfers.peer_unreachable(link.peer)

    def _message(self, link: Link, message: Message) -> None:
        if link.peer in self.roster.blocked and isinstance(message, Say | Offer | Check):
            self._turn_away(link, message)
        elif isinstance(message, Say | Ack | Nack):
            self.courier.received(link, message)
        elif isinstance(message, Check):
            checking = Deferred.fromCoroutine(self.verifying.received(link.peer, message))
            checking.addErrback(lambda failure: self.log.info("a check ended: {why}", why=failure.getErrorMessage()))
        else:
            self.transfers.received(link.peer, message)

    def _turn_away(self, link: Link, message: Message) -> None:
        """Nothing is taken from a blocked key; a block is not revealed."""
        if isinstance(message, Say):
            link.send(Nack(message.id, messages.NOT_ACCEPTED))
        elif isinstance(message, Offer):
            link.send(Decline(message.fid, messages.DECLINED))

    def _not_reached(self, peer: PeerID, error: ChatnetError) -> None:
        if peer in self._undialled or peer not in self.roster.listed:
            return
        self._undialled.add(peer)
        name = self.roster.name_of(peer)
        if isinstance(error, WrongKey):
            self.notice(NoticeLevel.WARNING, f"At {name}'s address another key answered. Nothing was sent.", peer)
        elif error.code != "too-soon":
            self.notice(NoticeLevel.INFO, f"{name} is listed but does not answer: {error.text}.", peer)

    # --- what Transfers needs of the links ------------------------------------------------------

    async def send(self, peer: PeerID, message: Message) -> None:
        """On the chat link, dialled if there is none, once it drains.  Raises ChatnetError."""
        link = await self.links.link_to(peer)
        await link.when_drained()
        link.send(message)

    async def dial_file(self, peer: PeerID, fid: bytes, token: bytes, user: LinkUser) -> Link:
        """A file link.  Raises Unreachable, WrongKey, Refused."""
        link = await self.links.dial(peer, user, self._hello(ROLE_FILE, fid=fid, token=token))
        self.links.proven(link)
        return link

    # --- messages -----------------------------------------------------------------------------

    async def say(self, peer: bytes, body: str) -> ChatMessage:
        known = self.check_known(peer)
        body = body.encode("utf-8", "replace").decode()
        size = len(body.encode())
        if not body.strip():
            raise LocalError("empty", "There is nothing to send.")
        if size > MAX_BODY_BYTES:
            raise LocalError(
                "too-long",
                f"{-(-size // 1000)} kB is too long for a message (limit {MAX_BODY_BYTES // 1024} KiB).",
            )
        if known in self.roster.blocked:
            name = self.roster.name_of(known)
            raise LocalError("blocked", f"You have blocked {name}. Nothing was sent: /unblock {name} first.")
        await self._meet(known)
        return self._shown(await self.courier.say(known, body))

    async def history(self, peer: bytes, before: int | None, limit: int) -> HistoryPage:
        known = PeerID(peer)
        rows, more = await self.store.history(conversation_of(self.me, known), before, limit)
        return HistoryPage(tuple(self._shown(row) for row in rows), more, self._read_n.get(known, 0))

    async def mark_read(self, peer: bytes, n: int) -> None:
        known = PeerID(peer)
        self._read_n[known] = max(self._read_n.get(known, 0), n)
        self._tell_person(known, unread=await self.store.mark_read(known, n))

    def _shown(self, row: StoredMessage) -> ChatMessage:
        return ChatMessage(
            n=row.n,
            peer=row.peer,
            kind=row.kind,
            id=row.id,
            mine=row.sender == self.me,
            sent_ms=row.sent_ms,
            stored_ms=row.stored_ms,
            body=safe_text(row.body),
            state=self.courier.state_of(row),
            reason=safe_line(row.reason),
        )

    def _row_added(self, row: StoredMessage) -> None:
        if row.sender != self.me:
            about = self.roster.acquaintance(row.peer)
            if not about.talked or not self.roster.is_pinned(row.peer):
                meeting = Deferred.fromCoroutine(self._meet(row.peer))
                meeting.addErrback(lambda failure: self.log.failure("a pin could not be stored", failure))
            self._tell_person(row.peer, unread=about.unread + 1)
        self._emit(MessageAdded(self._shown(row)))
        if row.kind is MessageKind.TEXT:
            size = len(row.body.encode())
            self._emit(Traffic(row.peer, row.sender == self.me, "message", size, row.stored_ms))

    def _row_changed(self, peer: PeerID, n: int, state: MessageState, reason: str) -> None:
        self._emit(MessageChanged(peer, n, state, safe_line(reason)))

    def _waiting_changed(self, peer: PeerID, by: int) -> None:
        if by:
            self._tell_person(peer, waiting=max(0, self.roster.acquaintance(peer).waiting + by))

    def _store_failed(self, error: StoreFailed) -> None:
        self.log.error("the store failed: {text}", text=error.text)
        self.notice(NoticeLevel.ERROR, error.text)

    # --- trust --------------------------------------------------------------------------------

    async def trust(self, peer: bytes, prefix: str) -> None:
        known, new = self._changed_key(peer)
        name = self.roster.name_of(known)
        if self.roster.verified(known):
            raise LocalError(
                "verified",
                f"{name}'s key was verified, so 8 characters are not enough for a new one. Compare the 60 digits:"
                f" /verify {name}",
            )
        if prefix.replace("-", "").upper() != key_text(new)[:SHORT_CHARS]:
            raise LocalError(
                "wrong-prefix",
                f"These are not the first {SHORT_CHARS} characters of {name}'s new key. Nothing changed.",
            )
        await self._take_key(known, new, 0)

    async def keep_key(self, peer: bytes) -> None:
        known, new = self._changed_key(peer)
        await self.store.add_unwanted_key(new, self.wall_ms())
        self.roster.unwanted.add(new)
        for row in await self.store.release(known):
            self._row_changed(known, row.n, row.state, row.reason)
        self._tell_person(known)
        self.courier.wake(known)

    async def safety_number(self, peer: bytes) -> str:
        known = self.check_known(peer)
        return safety_number(self.me, self.roster.new_key(known) or known)

    async def check_live(self, peer: bytes) -> str:
        known = self.check_known(peer)
        return await self.verifying.begin(known, self.roster.name_of(known))

    async def confirm(self, peer: bytes, level: int) -> None:
        known = self.check_known(peer)
        new, name = self.roster.new_key(known), self.roster.name_of(known)
        if level == BY_CODE and not self.verifying.was_compared(known):
            raise LocalError("no-check", f"No code was compared with {name} yet: /verify {name} live")
        if new is not None and level == BY_NUMBER:
            await self._take_key(known, new, level)
            return
        await self._meet(known)
        if self.roster.vouched_name(known) is None:
            raise LocalError("no-check", f"Nothing binds a name to {name}'s key yet, so there is nothing to mark.")
        await self.store.set_verified(name, known, level)
        self.roster.set_verified(known, level)
        self._tell_person(known)

    async def block(self, peer: bytes, blocked: bool) -> None:
        known = self.check_known(peer)
        await self.store.set_blocked(known, blocked, self.wall_ms())
        (self.roster.blocked.add if blocked else self.roster.blocked.discard)(known)
        self._tell_person(known)

    def _changed_key(self, peer: bytes) -> tuple[PeerID, PeerID]:
        known = self.check_known(peer)
        new = self.roster.new_key(known)
        if new is None:
            raise LocalError("no-new-key", f"{self.roster.name_of(known)} has no new key.")
        return known, new

    async def _take_key(self, old: PeerID, new: PeerID, verified: int) -> None:
        """The name is the new key's from now on; what waited for the old one goes to the new one."""
        name, now = self.roster.name_of(old), self.wall_ms()
        await self.store.trust(name, new, now)
        await self.store.set_verified(name, new, verified)
        self.roster.pin(name, new, now, verified)
        self.roster.acquaintance(new).talked = True
        conversation = conversation_of(self.me, new)
        await self.store.touch_conversation(conversation, new, name, now)
        reason = "sent to the new key instead"
        former, moved = await self.store.readdress(old, new, conversation, self.me, now, reason)
        for row in former:
            self._row_changed(old, row.n, row.state, row.reason)
        for row in moved:
            self._row_added(row)
        self._waiting_changed(old, -len(former))
        self._waiting_changed(new, len(moved))
        self._tell_person(old)
        self._tell_person(new)
        self.log.info("{name} is {new} now, was {old}", name=name, new=short_text(new), old=short_text(old))
        self.courier.wake(new)

    # --- files --------------------------------------------------------------------------------

    async def offer(self, peer: bytes, paths: tuple[str, ...]) -> Transfer:
        known = self.check_known(peer)
        if self.roster.new_key(known) is not None:
            raise LocalError("held", f"{self.roster.name_of(known)} has another key now. Nothing is sent to it.")
        await self._meet(known)
        return await self.transfers.offer(known, paths)

    def _transfer_changed(self, transfer: Transfer) -> None:
        """Every offer has a row in its conversation, and the row says how it ended."""
        self._emit(TransferChanged(transfer))
        peer = PeerID(transfer.peer)
        if transfer.state is TransferState.OFFERED:
            keeping = Deferred.fromCoroutine(self._keep_file_row(peer, transfer))
        elif transfer.state.ended:
            keeping = Deferred.fromCoroutine(self._end_file_row(peer, transfer))
            if transfer.state is TransferState.DONE:
                self._emit(Traffic(peer, transfer.outgoing, "file", transfer.total_bytes, self.wall_ms()))
        else:
            return
        keeping.addErrback(lambda failure: self.log.warn("a row was not kept: {why}", why=failure.getErrorMessage()))

    async def _keep_file_row(self, peer: PeerID, transfer: Transfer) -> None:
        await self._meet(peer)
        sender = self.me if transfer.outgoing else peer
        state = MessageState.SENT if transfer.outgoing else MessageState.RECEIVED
        self._row_added(
            await self.store.add_file_row(
                conversation_of(self.me, peer), peer, sender, transfer.fid, transfer.title, transfer.offered_ms, state
            )
        )

    async def _end_file_row(self, peer: PeerID, transfer: Transfer) -> None:
        state = MessageState.REFUSED
        if transfer.state is TransferState.DONE:
            state = MessageState.DELIVERED if transfer.outgoing else MessageState.RECEIVED
        row = await self.store.set_file_state(transfer.fid, state, transfer.reason or transfer.saved_to)
        if row is not None:
            self._row_changed(peer, row.n, row.state, row.reason)

    # --- words --------------------------------------------------------------------------------

    def notice(self, level: NoticeLevel, text: str, peer: PeerID | None = None) -> None:
        notice = Notice(level, safe_line(text, 400), self.wall_ms(), peer)
        self.notices.append(notice)
        self._emit(notice)

    def wall_ms(self) -> int:
        return round(self._wall() * 1000)

    @property
    def registry_state(self) -> RegistryState:
        return self.registration.state


def _said_in(record: SignedRecord, owner: PeerID) -> tuple[str, list[Endpoint]] | None:
    """Name and endpoints of a record of ours; None if it does not hold."""
    try:
        fields = verify_record(record, owner)
    except RemoteError:
        return None
    return fields.name, list(fields.endpoints)
