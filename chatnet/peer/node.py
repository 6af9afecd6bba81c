"""Everything that exists while somebody is logged in, and how its parts are connected.

    registry --pages--> Registration --> People, ListCache
    others   --links--> IncomingLinks --> ChatLinks --> ChatDispatch --> Inbox, Outbox, Transfers, ShortCodes
    a person --API----> Sending, Conversations, Transfers, Trust --> Contacts (dials for what waits)

A node is opened and closed as a whole; what outlives it is on disk.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from chatnet import __version__
from chatnet.core import messages
from chatnet.core.addresses import host_port, is_loopback
from chatnet.core.budgets import Budgets
from chatnet.core.dialrules import Network
from chatnet.core.errors import ChatnetError, LocalError, Refused, StoreFailed, TooSoon, Unreachable, WrongKey
from chatnet.core.events import (
    CodeReady,
    Me,
    RegistryChanged,
    RegistryState,
    Transfer,
    TransferChanged,
)
from chatnet.core.identity import ChatID, PeerID, short_text
from chatnet.core.known_sources import KnownSources
from chatnet.core.messages import (
    OFFER_REST,
    RESUME,
    ROLE_FILE,
    ROLE_REGISTRY,
    SKIP,
    Found,
    Hello,
    ListEntry,
    ListPage,
    Message,
    Pause,
    Resume,
    Verified,
)
from chatnet.core.records import SignedRecord
from chatnet.core.text import SafeText
from chatnet.host.database import Database
from chatnet.host.event_feed import Emitted
from chatnet.host.profile_lock import ProfileLock
from chatnet.net.background import BackgroundTasks
from chatnet.net.dialling import Dialler
from chatnet.net.identity import load_or_make_identity
from chatnet.net.interfaces import AddressWatch, own_networks, published_endpoints
from chatnet.net.link import Link, LinkEnd, LinkSettings, LinkUser
from chatnet.net.listening import LinkFactory, Listener
from chatnet.net.pulse import Pulse
from chatnet.net.tls import TLS
from chatnet.peer.alerts import AlertPreferences
from chatnet.peer.directory.list_cache import ListCache
from chatnet.peer.directory.lookups import Lookups
from chatnet.peer.directory.people import People
from chatnet.peer.directory.registration import Registration
from chatnet.peer.directory.registry_address import RegistryAddress
from chatnet.peer.directory.send_policy import SendPolicy
from chatnet.peer.dispatch import ChatDispatch
from chatnet.peer.links.chat_links import ChatLinks
from chatnet.peer.links.contacts import Contacts
from chatnet.peer.links.hello import HelloBuilder
from chatnet.peer.links.incoming import IncomingLinks
from chatnet.peer.messages.conversations import Conversations
from chatnet.peer.messages.expiry import Expiry
from chatnet.peer.messages.inbox import Inbox
from chatnet.peer.messages.open_tabs import OpenTabs
from chatnet.peer.messages.outbox import Outbox
from chatnet.peer.messages.requests import NO_SPACE, Requests
from chatnet.peer.messages.search_and_export import SearchAndExport
from chatnet.peer.messages.sending import Sending
from chatnet.peer.messages.waiting_clock import WaitingClock
from chatnet.peer.notices import Notices
from chatnet.peer.options import PeerSettings
from chatnet.peer.store.health import StoreHealth
from chatnet.peer.store.history_rows import StoredMessage
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.schema import MIGRATIONS
from chatnet.peer.transfers.file_links import FileLinkUser
from chatnet.peer.transfers.manager import Transfers
from chatnet.peer.trust.keys import Trust
from chatnet.peer.trust.short_code import ShortCodes

PORT_SETTING = "port"
FEATURES = frozenset({RESUME, SKIP, OFFER_REST})  # what a peer can do beyond version 1 of the protocol
OWNER_SETTING = "owner"  # the PeerID that the database belongs to; absent until this version has opened it
LONG_MESSAGES = b"long-messages"  # in the data directory: texts that were sent as files


class Node:
    """The parts of one login.  ``emit`` takes every event; ``wall`` is the time of day in seconds."""

    log = Logger("chatnet.node")

    def __init__(
        self,
        reactor: Any,
        settings: PeerSettings,
        name: str,
        registry: RegistryAddress,
        emit: Callable[[Emitted], None],
        wall: Callable[[], float],
        chance: random.Random,
    ) -> None:
        self.name = name
        self.places = settings.roots.of(name)
        self.notices = Notices(emit, self.wall_ms)
        self.is_new = False  # it had no directory for its data before
        self._made: frozenset[Path] = frozenset()  # the directories that were made for it
        self.is_open = False
        self.is_closed = False
        self._closing = False
        self._closed: list[Deferred[None]] = []  # who waits for the end of it
        self._reactor = reactor
        self._settings = settings
        self._registry = registry
        self._emit = emit
        self._wall = wall
        self._chance = chance
        self._lock = ProfileLock(self.places.lock, self.places.data, name)
        self._networks: list[Network] = []
        self._leaving: Deferred[None] | None = None  # the goodbye to the registry
        self._announced: SignedRecord | None = None  # what the registry was told last
        self._tasks = BackgroundTasks(self.log)
        self._closers: list[Callable[[], Any]] = [self._lock.release]  # in the order of opening

    # --- opening and closing --------------------------------------------------------------------

    def prepare(self) -> None:
        """Do what needs no waiting: directories, lock, key, and the ports that were named.

        Raises LocalError (profile in use, unusable directory or key) or CannotListenError.
        """
        self._made = self.places.prepare(umask=self._settings.umask)
        self.is_new = self.places.data in self._made
        try:
            self._lock.acquire()
            self.identity = load_or_make_identity(self.places.data, self.places.database)
            self.me = self.identity.peer_id
            if not self.identity.made and not self.places.database.exists():
                self.notices.history_missing()
            limits = self._settings.limits
            self.budgets = Budgets(limits.budgets, count_loopback=limits.loopback == "counted")
            self.pulse = Pulse(self._reactor)
            links = LinkSettings(limits, limits.queue_bytes, self.pulse, self._chance.random, struck=self._struck)
            tls = TLS(self.identity)
            self.reception = IncomingLinks()
            self.known_sources = KnownSources()
            factory = LinkFactory(
                links,
                self.reception,
                limits.unauthenticated,
                reserved=limits.reserved_unauthenticated,
                known=self.known_sources,
            )
            self.listener = Listener(self._reactor, tls, factory)
            self.dialler = Dialler(self._reactor, tls, links)
            if self._settings.listen:
                self.listener.listen(self._settings.listen)
        except BaseException:
            if self.is_new:
                self.places.remove(self._made)
            self._lock.release()
            raise

    async def open(self) -> None:
        """Read what is on disk, bind the port, and be ready for everybody.

        Raises StoreFailed, LocalError or CannotListenError; ``close`` is due also then.
        """
        self._closers.append(self._close_ports)
        database = Database(self.places.database, MIGRATIONS, self._reactor)
        self._closers.append(database.close)
        await database.open()
        self.store = PeerStore(database)
        await self._check_owner()
        await self._complete_chats()
        instance = self._chance.randbytes(16)
        self.hello_builder = HelloBuilder(self.identity, self.name, FEATURES, instance, self.store, self._wall)
        retry_seconds = self._settings.limits.store_retry_seconds
        self.watch = StoreHealth(self._reactor, self.store, retry_seconds, self._emit, self._store_changed)
        database.on_failure = self.watch.failed
        self._closers.append(self.watch.stop)
        self._closers.append(self._close_ports)  # before the store, which its links need
        if not self._settings.listen:
            await self._listen_where_we_were()
        self._networks = own_networks()
        await self._make_parts()
        await self.transfers.start()
        welcome = self.hello_builder.welcome
        self.reception.open(self.links, FileLinkUser(self.transfers, welcome=welcome), welcome, self.links.take_place)
        self.expiry.start()
        self.is_open = True
        self._tasks.spawn(self.store.search.index(), "indexing words")
        shown = ", ".join(self.listening)
        self.log.info("{name} {peer} listens on {shown}", name=self.name, peer=short_text(self.me), shown=shown)

    async def sign_in(self) -> None:
        """Make the first attempt at the registry.  Raises Refused or WrongKey when that was final."""
        self.contacts.start()
        await self.registration.start()

    async def close(self) -> None:
        """Say goodbye everywhere and leave nothing running.  Works from every stage of opening.

        Who waits may be cancelled; the closing goes on.
        """
        if not self._closing:
            self._closing = True
            Deferred.fromCoroutine(self._close())
        if not self.is_closed:
            waiting: Deferred[None] = Deferred()
            self._closed.append(waiting)
            await waiting

    async def _close(self) -> None:
        self.is_open = False
        while self._closers:
            try:
                closing = self._closers.pop()()
                if closing is not None:
                    await closing
            except Exception:  # the database and the lock are closed all the same
                self.log.failure("internal error while closing a part of the peer")
        self.is_closed = True
        for waiting in self._closed:
            if not waiting.called:
                waiting.callback(None)

    def _leave_registry(self) -> None:
        self._leaving = Deferred.fromCoroutine(self.registration.stop())

    async def _say_goodbye(self) -> None:
        """Leave everybody, side by side with the registry: the deadlines of the links do not add up."""
        goodbyes = [Deferred.fromCoroutine(self.links.stop())]
        if self._leaving is not None:
            goodbyes.append(self._leaving)
        await gatherResults(goodbyes)

    async def undo(self) -> None:
        """Close, and leave no trace of a profile that was made for nothing."""
        if self.is_new:
            self._closers.insert(1, lambda: self.places.remove(self._made))  # the last before the lock is released
        await self.close()

    async def _close_ports(self) -> None:
        await self.listener.close(lambda link: link.abort())

    async def _check_owner(self) -> None:
        """See that the database is that of our key.  Raises LocalError("key") if it is another's."""
        owner = await self.store.settings.get(OWNER_SETTING)
        if owner is None:
            with suppress(StoreFailed):  # then the next start says so
                await self.store.settings.put(OWNER_SETTING, self.me.hex())
        elif owner != self.me.hex():
            theirs, ours = short_text(PeerID(bytes.fromhex(owner))), short_text(self.me)
            raise LocalError(
                "key",
                f"{self.places.database} belongs to the key {theirs}, and the key in {self.places.data} is {ours}. "
                "Nothing was started. Put the right key back, or move the database away.",
            )

    async def _complete_chats(self) -> None:
        """Complete the rows of transfers.

        A former process may have been killed between storing a transfer and its row.
        """
        with suppress(StoreFailed):  # a later start does it
            if count := await self.store.messages.complete_file_rows(self.me):
                self.log.info("rows of transfers that were not up to date: {count}", count=count)

    async def _listen_where_we_were(self) -> None:
        """Listen on the port of the last time, so that others find us without a registry; else on another."""
        former = int(await self.store.settings.get(PORT_SETTING) or 0)
        try:
            self.listener.listen_everywhere(former)
        except CannotListenError:
            self.listener.listen_everywhere(0)
        if self.listener.port != former:
            await self.store.settings.put(PORT_SETTING, str(self.listener.port))

    async def _make_parts(self) -> None:
        limits, clock, wall_ms = self._settings.limits, self._reactor, self.wall_ms
        self.people = People(clock, self.me, self.store, self._emit, wall_ms)
        self._closers.append(self.people.stop)
        self.roster = self.people.roster
        read_n = await self.people.recall()
        saved = await self.store.peer_list.load()
        self.roster.restore(saved.entries, saved.saved_ms)
        self.roster.restore_former(saved.former)
        for peer in self.roster.acquainted():
            self._learn_sources(peer)
        self.keeper = ListCache(clock, self.store, saved.registry, saved.cursor)
        self._closers.append(lambda: self.keeper.flush(self.wall_ms()))
        if self._registry.key is None:
            pinned = await self.store.pins.registry_pin(self._registry.shown)
            self._registry = RegistryAddress(self._registry.host, self._registry.port, pinned)
        self.send_policy = SendPolicy(self.people)
        reserve_bytes = limits.free_bytes_reserve
        self.requests = Requests(clock, self.people, self.store, self.budgets, reserve_bytes, self._emit, self)
        self._closers.append(self.requests.stop)
        self.people.on_accepted = self._known_now
        self.people.on_blocked = self._blocked
        self.people.on_unblocked = self.requests.unblocked
        await self.requests.recall(read_n)
        self.conversations = Conversations(self.people, self.store, self.requests, read_n, self._emit)
        self._closers.append(self.conversations.stop)
        self._closers.append(self._tasks.stop)
        self.links = ChatLinks(
            clock,
            self.pulse,
            self.dialler,
            limits,
            self.roster,
            self.hello_builder,
            self,
            self.budgets.links,
            loopback=self._registry.host == "localhost" or is_loopback(self._registry.host),
        )
        self._closers.append(self._say_goodbye)
        self.contacts = Contacts(clock, limits, self.roster, self.links, self, self._chance.uniform, wall_ms)
        self._closers.append(self.contacts.stop)
        self.waiting_clock = await WaitingClock.recall(clock, self.store, wall_ms)
        self.inbox = Inbox(clock, limits, self.store, self.roster, self.requests, self.conversations, wall_ms)
        self._closers.append(self.inbox.stop)
        self.outbox = Outbox(
            clock,
            limits,
            self.store,
            self.people,
            self.links,
            self.contacts,
            self.conversations,
            random_bytes=self._chance.randbytes,
            wall_ms=wall_ms,
            waiting_ms=self.waiting_clock.ms,
        )
        self._closers.append(self.outbox.stop)
        self.sending = Sending(self.people, self.send_policy, self.conversations, self.outbox)
        self.expiry = Expiry(
            clock, limits, self.store, self.people, self.outbox, self.conversations, self.waiting_clock
        )
        self._closers.append(self.expiry.stop)
        await self.expiry.look()
        self.archive = SearchAndExport(clock, self.people, self.store, self.conversations.shown)
        self._closers.append(self.archive.stop)
        self.open_tabs = OpenTabs(self.people, self.store)
        await self.open_tabs.recall()
        self.alerts = AlertPreferences(self.store, self._emit)
        await self.alerts.recall()
        self.transfers = Transfers(
            clock,
            limits,
            self.store,
            os.fsencode(self.places.downloads),
            self,
            self,
            wall_ms=wall_ms,
            waiting_ms=self.waiting_clock.ms,
            random_bytes=self._chance.randbytes,
            uniform=self._chance.uniform,
            budgets=self.budgets,
            umask=self._settings.umask,
        )
        self._closers.append(self.transfers.stop)
        self.short_codes = ShortCodes(
            clock,
            limits,
            self.me,
            send=self.send,
            ready=lambda peer, code, asked: self._emit(CodeReady(peer, code, asked)),
            broken=lambda peer: self.notices.check_broken(peer, self.people.name_of(peer)),
            random_bytes=self._chance.randbytes,
        )
        self._closers.append(self.short_codes.stop)
        self.trust = Trust(
            self.people,
            self.store,
            self.conversations,
            self.outbox,
            self.short_codes,
            self.transfers,
            self.open_tabs,
            self,
            wall_ms,
            self.waiting_clock.ms,
        )
        self.dispatch = ChatDispatch(
            self.roster, self.inbox, self.outbox, self.transfers, self.short_codes, self._tasks
        )
        self.contacts.add(self.outbox)
        self.contacts.add(self.inbox)
        self.contacts.add(self.transfers)
        self.expiry.add(self.transfers)
        self.lookups = Lookups(clock, self.roster, self.store, self._tasks, self)
        self.registration = Registration(clock, self.dialler, self._registry, self, self._chance.uniform)
        self._closers.append(self._leave_registry)
        self.address_watch = AddressWatch(clock, self._addresses_changed)
        self._closers.append(self.address_watch.stop)

    # --- what we say about ourselves, and RegistrationOwner -------------------------------------

    @property
    def listening(self) -> tuple[str, ...]:
        return tuple(host_port(*address) for address in self.listener.addresses)

    @property
    def registry_state(self) -> RegistryState:
        return self.registration.state

    def who(self, log_file: Path | None) -> Me:
        return Me(
            peer=self.me,
            name=self.name,
            version=__version__,
            new_key=self.identity.made,
            data_dir=os.fsencode(self.places.data),
            downloads=os.fsencode(self.places.downloads),
            listening=self.listening,
            log_file=os.fsencode(log_file) if log_file is not None else b"",
        )

    def wall_ms(self) -> int:
        return round(self._wall() * 1000)

    async def registry_hello(self, outdated: bool) -> Hello:
        self._networks = own_networks()
        record = await self.hello_builder.record(published_endpoints(self.listener.addresses), outdated)
        self._announced = record
        same_registry = self.keeper.registry is not None and self.keeper.registry == self.registration.place.key
        since = self.keeper.cursor or None if same_registry else None
        return self.hello_builder.hello(ROLE_REGISTRY, record=record, since=since)

    def _addresses_changed(self) -> None:
        """Tell the registry, and try what waits at once, because the machine is in another network or has left one."""
        self._networks = own_networks()
        self._tasks.spawn(self._announce(), "announcing our addresses")
        self.contacts.network_changed()

    async def _announce(self) -> None:
        """Tell the registry our addresses if they are not those that it knows.  Raises StoreFailed."""
        record = await self.hello_builder.record(published_endpoints(self.listener.addresses), outdated=False)
        if record != self._announced:
            self._announced = record
            self.registration.announce(record)

    async def remember_registry(self, key: PeerID) -> None:
        await self.store.pins.pin_registry(self._registry.shown, key, self.wall_ms())

    def listed(self) -> int:
        return len(self.roster.listed)

    def registry_changed(self, state: RegistryState) -> None:
        self._emit(RegistryChanged(state))

    # --- the list -----------------------------------------------------------------------------

    def list_page(self, page: ListPage) -> None:
        registry = self.registration.place.key
        changes = self.roster.apply(page, self.wall_ms())
        if registry is not None:
            self.keeper.page(registry, page, self.wall_ms())
        for peer in changes.changed:
            self.people.tell(peer)
        self.registration.recount()
        for peer in changes.alone:
            self.outbox.rival_gone(peer)
        for peer in changes.came:
            self._learn_sources(peer)
            self.contacts.came_online(peer)
        for peer in changes.doubtful:
            self.lookups.want(peer)
        self.requests.list_changed(changes.came | changes.left)

    def registry_opened(self) -> None:
        self.roster.new_session()
        self.lookups.new_link()

    # --- signed records: LookupsOwner -----------------------------------------------------------

    @property
    def is_registered(self) -> bool:
        return self.registration.link is not None

    def record_found(self, found: Found) -> None:
        self.lookups.found(found)

    def ask_registry(self, peer: PeerID) -> None:
        self.registration.look_up(peer)

    def entry_corrected(self, entry: ListEntry) -> None:
        peer = PeerID(entry.peer)
        if peer in self.roster.listed:
            self.keeper.correct(entry, self.wall_ms())
        self._learn_sources(peer)
        self.people.tell(peer)
        self.contacts.came_online(peer)

    # --- links: ChatLinksOwner and ContactsOwner ------------------------------------------------

    def networks(self) -> list[Network]:
        return self._networks

    def chat_link_up(self, link: Link) -> None:
        self._learn_sources(link.peer, link)
        self.contacts.link_up(link)

    def chat_link_down(self, link: Link, end: LinkEnd) -> None:
        self._learn_sources(link.peer, link)
        self.contacts.link_down(link, end)

    def chat_message(self, link: Link, message: Message) -> None:
        self.dispatch.received(link, message)

    def chat_link_measured(self, link: Link) -> None:
        since = link.unanswered_since
        since_ms = None if since is None else self.wall_ms() - round((self._reactor.seconds() - since) * 1000)
        self.people.tell(link.peer, rtt_ms=link.rtt_ms if since is None else None, unanswered_since_ms=since_ms)

    def link_up(self, link: Link) -> None:
        self.notices.reached(link.peer)
        self.people.tell(link.peer, linked=True, address=link.address, rtt_ms=link.rtt_ms, unanswered_since_ms=None)

    def link_down(self, link: Link, end: LinkEnd) -> None:
        now_ms = self.wall_ms()
        self.people.tell(
            link.peer, linked=False, address="", rtt_ms=None, unanswered_since_ms=None, last_seen_ms=now_ms
        )

    def contact_changed(self, peer: PeerID, code: str, next_try_ms: int | None) -> None:
        self.people.tell(peer, waiting_code=code, next_try_ms=next_try_ms)

    def not_reached(self, peer: PeerID, error: ChatnetError) -> None:
        if isinstance(error, Unreachable | WrongKey) and not isinstance(error, TooSoon):
            self.lookups.want(peer)
        if peer in self.roster.listed and error.code != "too-soon":
            self.notices.not_reached(peer, self.roster.name_of(peer), error)

    def registered_elsewhere(self) -> None:
        self.contacts.give_way()
        self.runs_elsewhere()

    def runs_elsewhere(self) -> None:
        self.notices.runs_elsewhere(self.name)

    def _struck(self, peer: PeerID, seconds: int) -> None:
        if self.is_open:
            self.notices.struck(peer, self.roster.name_of(peer), seconds)

    def _store_changed(self, ok: bool) -> None:
        self.notices.store_changed(self.watch.trouble)
        if self.is_open:
            if ok:
                self.people.store_again()
                self.transfers.store_back()
                self._tasks.spawn(self._announce(), "announcing our addresses")
            self.outbox.store_changed(ok)

    # --- what the parts need of the links -------------------------------------------------------

    async def send(self, peer: PeerID, message: Message) -> None:
        """Send a message on the chat link, dialled if there is none, once it drains.  Raises ChatnetError."""
        link = await self.contacts.link_to(peer)
        if isinstance(message, Pause | Resume | Verified) and RESUME not in link.features:
            raise Refused(messages.VERSION_UNKNOWN, "the other side's program does not know this")
        await link.when_drained()
        if not link.is_open:
            raise Unreachable(messages.LOST, "the link ended")
        link.send(message)

    async def dial_file(self, peer: PeerID, fid: bytes, token: bytes, user: LinkUser) -> Link:
        """Dial a file link.  Raises Unreachable, WrongKey, Refused."""
        link = await self.links.dial(peer, user, self.hello_builder.hello(ROLE_FILE, fid=fid, token=token))
        self.links.proven(link)
        return link

    def wake(self, peer: PeerID) -> None:
        """See that there is a chat link in time, because something waits for ``peer``."""
        self.contacts.wake(peer)

    def transfer_changed(self, transfer: Transfer) -> None:
        """Pass a new or changed transfer on to the conversations."""
        self.conversations.transfer_changed(transfer)

    def folder_of(self, peer: bytes) -> str:
        """Return the name of a person's folder."""
        return self.people.folder_of(peer)

    def admit_offer(self, link: Link, fid: bytes, title: str) -> bool:
        """Whether there is room for one more offer of the person at ``link``."""
        return not self.roster.is_stranger(link.peer) or self.requests.admit(link, fid, title) is None

    async def check_space(self, peer: PeerID) -> None:
        """Look whether the disk has space for an offer of ``peer``.  Raises StoreFailed."""
        if self.roster.is_stranger(peer) and not await self.requests.has_space():
            raise StoreFailed(NO_SPACE.code, NO_SPACE.text)

    def offer_dropped(self, peer: PeerID, fid: bytes) -> None:
        """Give back the room of an offer that was admitted but is not stored after all."""
        self.requests.give_back(peer, fid)

    def offer_turned_down(self, link: Link, fid: bytes, title: SafeText, reason: SafeText) -> None:
        """Tell the chat of an offer that was declined unasked, unless it is a request or there is no room for a row."""
        peer = link.peer
        if self.requests.hides(peer):
            return
        if self.roster.is_stranger(peer) and self.requests.admit(link, fid, title, waits=False) is not None:
            return
        self.conversations.offer_turned_down(peer, fid, title, reason, self.wall_ms())

    # --- RequestsOwner --------------------------------------------------------------------------

    def request_shown(self, peer: PeerID, rows: list[StoredMessage]) -> None:
        """Show somebody's messages and offers, which are no requests any more."""
        self.people.pin_on_first_contact(peer)
        for row in rows:
            self.conversations.show(row)
        for transfer in self.transfers.snapshot():
            if transfer.peer == peer:
                self._emit(TransferChanged(transfer))
        self.people.tell(peer)

    def request_unwanted(self, peer: PeerID) -> None:
        """Drop the offers under way of a request that is about to be refused or cleared, or was blocked."""
        self.transfers.drop_offers_under_way(peer)

    def request_deleted(self, peer: PeerID) -> None:
        """Forget the offers of a request that was refused, cleared, or blocked."""
        self.transfers.forget_offers(peer)
        self.people.tell(peer)

    def _known_now(self, peer: PeerID) -> None:
        """Note that somebody is no stranger any more."""
        self.transfers.sender_accepted(peer)
        self.requests.settled(peer)
        self._learn_sources(peer, self.links.open_link(peer))

    def _blocked(self, peer: PeerID) -> None:
        """Forget the sources and the request of somebody who was blocked."""
        self.known_sources.forget(peer)
        self.requests.blocked(peer)

    def key_replaced(self, old: PeerID, new: PeerID) -> None:
        """Note that a person has the key ``new``, and ``old`` is nobody's.

        Nothing is kept of it, or done for it, as a person.
        """
        self.known_sources.forget(old)
        self.requests.replaced(old)
        self._tasks.spawn(self.alerts.take_key(old, new), "muting the new key of a person")

    def _learn_sources(self, peer: PeerID, link: Link | None = None) -> None:
        """Learn where somebody whom we know comes from: where ``link`` proved their key, and what the list says."""
        if self.roster.always_gets_in(peer):
            proven = [link.remote[0]] if link is not None else []
            self.known_sources.learn(peer, proven, [at.host for at in self.roster.endpoints(peer)])

    def offer_accepted(self, peer: PeerID) -> None:
        """Note that whoever made the offer is no stranger any more."""
        self.people.accept(peer)

    def is_stranger(self, peer: PeerID) -> bool:
        """Whether nobody here has written to this key, accepted anything of it, or verified it."""
        return self.roster.is_stranger(peer)

    # --- for the API --------------------------------------------------------------------------

    def take_over(self) -> None:
        """Be here again, after another instance of our key has taken our place."""
        self.contacts.take_over()
        self.registration.take_over()

    async def connect(self, peer: bytes) -> None:
        await self.contacts.link_to(self.people.known(peer))

    async def offer(self, chat: ChatID, paths: tuple[bytes, ...]) -> Transfer:
        return await self.transfers.offer(self._receiver(chat), paths)

    async def offer_text(self, chat: ChatID, text: str, name: str) -> Transfer:
        folder = os.path.join(os.fsencode(self.places.data), LONG_MESSAGES)
        return await self.transfers.offer_text(self._receiver(chat), folder, name, text)

    def shown_transfers(self) -> tuple[Transfer, ...]:
        """Return all transfers but those of requests."""
        return tuple(one for one in self.transfers.snapshot() if not self.requests.hides(PeerID(one.peer)))

    def receiver(self, peer: PeerID) -> PeerID:
        """Return the key that an offer for ``peer`` may be made to.  Raises LocalError: unknown-peer, held, blocked."""
        return self.send_policy.check_offer(peer)

    def _receiver(self, chat: ChatID) -> PeerID:
        """Return the person that files are offered to.  Raises LocalError: unknown-peer, held, blocked."""
        known = self.send_policy.check_offer(chat)
        self.people.pin_on_first_contact(known)
        self.people.accept(known)
        return known
