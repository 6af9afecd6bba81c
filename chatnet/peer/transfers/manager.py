"""All transfers of a peer, in both directions: passes on the wishes of people and the messages of the other sides.

The rules are ``core.transfer.outgoing`` and ``core.transfer.incoming``: everything that happens is given to
the machine of its transfer, and the ``executor`` carries out what that asks for.  This module knows who may
say what about which transfer, and nothing of when.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.backoff import Uniform
from chatnet.core.budgets import Budgets
from chatnet.core.errors import ChatnetError, LocalError
from chatnet.core.events import FileRule, OfferedNames, RuleKind, SpeedLimits, Transfer, TransferState
from chatnet.core.identity import PeerID
from chatnet.core.limits import MAX_OFFER_PAGE_FILES, OFFERED_NAMES_PAGE, PeerLimits
from chatnet.core.messages import (
    Accept,
    Cancel,
    Decline,
    DialMe,
    Message,
    Offer,
    OfferRest,
    Pause,
    Resume,
    Verified,
)
from chatnet.core.text import SafeText, quoted
from chatnet.core.transfer import transfer_events as ev
from chatnet.core.transfer.outgoing import OutgoingTransfer
from chatnet.core.transfer.queue import needs_contact
from chatnet.core.transfer.transfer_machine import outcome_of
from chatnet.host.umask import process_umask
from chatnet.net.link import Link, LinkEnd
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem, Space, known_space
from chatnet.peer.files.local_paths import absolute
from chatnet.peer.files.part_files import STEM_BYTES, remove_orphans
from chatnet.peer.files.text_file import write_text
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.store.transfers import FileRow, TransferRow
from chatnet.peer.transfers.executor import Executor
from chatnet.peer.transfers.file_links import FileLinkUser
from chatnet.peer.transfers.held_offers import HeldOffers
from chatnet.peer.transfers.managed import Incoming, ManagedTransfer, Outgoing, offered, prepare
from chatnet.peer.transfers.offered_names import first_renamed, shown_names
from chatnet.peer.transfers.offers import Offers
from chatnet.peer.transfers.owner import TransferLinks, TransferListener
from chatnet.peer.transfers.recall import has_waited_too_long, is_given_up, recalled

FID_BYTES = 16
IN_ORDER = frozenset({"closed", "bye"})  # ends of a chat link with which nothing is lost
_OBJECTIONS = {
    "ended": ("ended", "That transfer has ended."),
    "answered": ("ended", "That offer is answered already."),
    "own-offer": ("unknown-transfer", "That offer is your own."),
    "not-running": ("not-running", "There is nothing to pause or resume before the offer is accepted."),
}


class Transfers:
    """Knows all transfers, and passes what happens to their machines.

    The owner passes on what comes over chat links (``link_up``, ``received``, ``link_down``) and gives file
    links to a ``FileLinkUser``.  ``wall_ms`` is the time of day, ``waiting_ms`` what the
    waiting clock shows, both in milliseconds.  ``umask`` holds for received files; None: that of the process.
    """

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        reactor: Any,
        limits: PeerLimits,
        store: PeerStore,
        downloads: bytes,
        links: TransferLinks,
        listener: TransferListener,
        *,
        wall_ms: Callable[[], int],
        waiting_ms: Callable[[], int],
        random_bytes: Callable[[int], bytes] = os.urandom,
        uniform: Uniform = random.uniform,
        space: Space = known_space,
        disk: DiskPool | None = None,
        budgets: Budgets | None = None,
        umask: int | None = None,
    ) -> None:
        self._limits = limits
        self._store = store
        self._downloads = downloads
        self._listener = listener
        self._random = random_bytes
        self._disk = disk or DiskPool(reactor)
        self._held = HeldOffers(budgets or Budgets(limits.budgets), limits, listener.is_stranger)
        self._executor = Executor(
            reactor,
            limits,
            store,
            links,
            listener,
            self._held,
            self._disk,
            Filesystem(
                random_bytes,
                space,
                limits.free_bytes_reserve,
                umask=process_umask() if umask is None else umask,
            ),
            FileLinkUser(self),
            random_bytes=random_bytes,
            uniform=uniform,
            wall_ms=wall_ms,
            waiting_ms=waiting_ms,
        )
        self._tasks = self._executor.tasks
        self._table = self._executor.table
        self._preferences = self._executor.preferences
        self._offers = Offers(reactor, limits, self._table, self._tasks, self._held, self._preferences, self)
        self._unstored: set[Outgoing] = set()  # ours that are just being stored, and that nobody hears of before
        self._stopped = False

    # --- for the owner ------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what the former process left unfinished."""
        self._disk.start()
        self._executor.start()
        await self._preferences.recall()
        rows = await self._store.transfers.all()
        await self._disk.run(remove_orphans, self._downloads, {row.stem for row in rows if not row.state.ended})
        sizes = await self._store.transfers.held()
        known: list[tuple[ManagedTransfer, TransferRow]] = []
        for row in rows:
            transfer = await self._recall(row)
            self._table.enter(transfer)
            known.append((transfer, row))
            if size := sizes.get((row.peer, row.fid)):
                entries = transfer.info.total_files + transfer.info.total_folders
                self._held.recall(row.peer, row.fid, size, entries)
        # Only now: the first of them may bring a link, over which the other side asks about all.
        for transfer, row in known:
            self._executor.give(
                transfer, ev.Recalled(is_given_up(transfer, row, self._limits, self._table.waiting_ms()))
            )

    async def _recall(self, row: TransferRow) -> ManagedTransfer:
        """Recall a transfer of a former process, with the files of none that still waits for an answer here."""
        files: list[FileRow] = []
        folders: list[tuple[str, ...]] = []
        progress = 0, 0
        if not row.state.ended:
            if not row.names:  # an older version stored it
                row = await self._store.transfers.summarise(row.peer, row.fid)
            if row.outgoing:
                files = await self._store.transfers.files(row.peer, row.fid)
                folders = await self._store.transfers.empty_folders(row.peer, row.fid)
            elif row.state is not TransferState.OFFERED:
                progress = await self._store.transfers.progress(row.peer, row.fid)
        return await self._disk.run(recalled, row, files, folders, progress, self._limits, self._downloads)

    async def stop(self) -> None:
        """Stop everything until the next start; fires when no thread and no timer works for it any more."""
        if self._stopped:
            return
        self._stopped = True
        self._offers.stop()
        self._executor.stop()
        await gatherResults([work for transfer in self._table.all() for work in transfer.working])
        self._tasks.stop()
        self._disk.stop()

    def expire(self) -> None:
        """Give up what has waited too long for an answer, or to be offered."""
        now_ms = self._table.waiting_ms()
        for transfer in self._table.all():
            if transfer.stored and has_waited_too_long(transfer.since_ms, self._limits, now_ms):
                self._executor.give(transfer, ev.Overdue())

    def store_back(self) -> None:
        """Save what the store did not take, because it writes again."""
        self._executor.give_all(ev.StoreBack())

    # --- for a person ---------------------------------------------------------------------------

    def snapshot(self) -> tuple[Transfer, ...]:
        """Return every transfer that is not forgotten, in the order of offering."""
        return self._table.snapshot()

    async def offer(self, peer: bytes, paths: Sequence[bytes]) -> Transfer:
        """Offer files and folders; while the person is away the offer waits.

        To look at them may take long: who gets the offer is decided behind it.  Raises what ``gather`` raises,
        and LocalError: unknown-peer, held, blocked.
        """
        made = await self._disk.run(prepare, tuple(paths))
        who = self._listener.receiver(PeerID(peer))
        fid = self._random(FID_BYTES)
        info = offered(fid, who, True, made.summary, made.details, self._table.now_ms(), made.found.warning)
        files = [file.offered for file in made.found.files]
        machine = OutgoingTransfer(fid, self._limits)
        transfer = Outgoing(info, machine, files, sources=made.found.files, rest=made.found.rest)
        self._unstored.add(transfer)
        try:
            await self._table.store(transfer, made.rows, folder_pages=made.folder_pages)
        finally:
            self._unstored.discard(transfer)
        if transfer.unwanted:
            raise LocalError("blocked", "The receiver was blocked meanwhile. Nothing is offered.")
        self._begin(transfer)
        return transfer.snapshot()

    def _begin(self, transfer: Outgoing) -> None:
        self._table.enter(transfer)
        transfer.machine.linked = transfer.peer in self._tasks.lines
        self._executor.carry_out(transfer, transfer.machine.offer())

    async def offer_text(self, peer: bytes, folder: bytes, name: str, text: str) -> Transfer:
        """Write ``text`` into a new file in ``folder`` and offer it; without an offer the file does not stay.

        Raises LocalError("unwritable").
        """
        path = await self._disk.run(write_text, folder, name, text)
        try:
            return await self.offer(peer, [path])
        except BaseException:
            await self._disk.run(os.unlink, path)
            raise

    async def accept(self, fid: bytes, directory: bytes = b"") -> Transfer:
        """Take an offer, into ``directory`` or the usual place.

        Raises LocalError: unknown-transfer, ended, relative-path, no-space, no-inodes, unwritable,
        no-such-folder, busy.
        """
        transfer = self._table.known(fid)
        directory = absolute(directory) if directory else b""
        effects = transfer.machine.handle(ev.PersonAccepts())
        if isinstance(transfer, Incoming) and ev.OpenDownload() in effects:
            person, stem = self._listener.folder_of(transfer.peer), self._random(STEM_BYTES).hex()
            transfer.target = DownloadTarget(self._downloads, person, directory, stem)
        self._executor.carry_out(transfer, effects)
        self._raise_objection(transfer, effects)
        opened = await self._opened(transfer)
        self._listener.offer_accepted(transfer.peer)
        return opened

    async def refuse(self, fid: bytes) -> Transfer:
        """Do not take an offer.  Raises LocalError: unknown-transfer, ended."""
        return self._want(fid, ev.PersonRefuses()).snapshot()

    async def cancel(self, fid: bytes) -> Transfer:
        """End a transfer, ours or theirs; one that has ended stays as it is.  Raises LocalError: unknown-transfer."""
        return self._want(fid, ev.PersonCancels()).snapshot()

    async def offered_names(self, fid: bytes, start: int, limit: int) -> OfferedNames:
        """Return at most ``limit`` of an offer's names, from number ``start`` on; the empty folders come last.

        Raises LocalError: unknown-transfer, ended.
        """
        transfer = self._with_names(fid)
        rows, total = await self._store.transfers.offered_rows(
            transfer.peer, fid, max(0, start), max(0, min(limit, OFFERED_NAMES_PAGE))
        )
        return OfferedNames(await self._disk.run(shown_names, rows, transfer.info.outgoing), total)

    async def next_renamed(self, fid: bytes, start: int) -> int | None:
        """Return the number of the first name from ``start`` on that is saved under another one; None without such.

        A folder that gets another name counts with the first file in it.  Raises LocalError: unknown-transfer, ended.
        """
        transfer = self._with_names(fid)
        above: tuple[str, ...]
        start, above = max(0, start), ()
        if start:
            before, _ = await self._store.transfers.offered_rows(transfer.peer, fid, start - 1, 1)
            above = before[0].path if before else ()
        while not transfer.info.outgoing:
            rows, _ = await self._store.transfers.offered_rows(transfer.peer, fid, start, MAX_OFFER_PAGE_FILES)
            if not rows:
                break
            found = await self._disk.run(first_renamed, rows, above)
            if found is not None:
                return start + found
            start, above = start + len(rows), rows[-1].path
        return None

    def _with_names(self, fid: bytes) -> ManagedTransfer:
        """Return a transfer of which all names are in the store.  Raises LocalError: unknown-transfer, ended."""
        transfer = self._table.known(fid)
        if transfer.ended and transfer.machine.state is not TransferState.DONE:
            raise LocalError("ended", "The names of a transfer that has ended are not kept.")
        return transfer

    def end_all_with(self, peer: bytes) -> None:
        """End what is open with ``peer``, of whom the user wants nothing any more, as if it was cancelled by hand."""
        for transfer in self._table.of_peer(PeerID(peer)):
            self._executor.give(transfer, ev.PersonShuns())
        for unstored in self._unstored:
            unstored.unwanted |= unstored.peer == peer

    def take_key(self, former: PeerID, peer: PeerID) -> None:
        """Handle that a person has the key ``peer`` in the place of ``former``, also in the store.

        Our offers that are not answered are made to it.  All else that is open ends: it was agreed with a key
        that is not this person's any more.  Each is saved, since a change of before may have missed its row.
        """
        self._preferences.drop_rule(former)
        for unstored in self._unstored:
            if unstored.peer == former:
                unstored.info = replace(unstored.info, peer=peer)
        if line := self._tasks.lines.get(former):
            line.drop()
        for transfer in self._table.of_peer(former):
            self._table.take_key(transfer, peer)
            self._executor.give(transfer, ev.ChatDown(True))  # nothing of it is on its way any more
            if isinstance(transfer, Outgoing) and transfer.machine.is_unanswered:
                transfer.machine, transfer.answer = OutgoingTransfer(transfer.fid, self._limits), None
                self._begin(transfer)
            else:
                self._executor.give(transfer, ev.PersonShuns())
                if peer in self._tasks.lines:
                    self._executor.give(transfer, ev.ChatUp())
            self._executor.carry_out(transfer, (ev.Persist(), ev.Tell()))

    def sender_accepted(self, peer: PeerID) -> None:
        """Count the unanswered offers of ``peer``, who is no stranger any more, no longer among those of strangers."""
        for transfer in self._table.of_peer(peer):
            self._held.sender_accepted(peer, transfer.fid)

    def drop_offers_under_way(self, peer: bytes) -> None:
        """Drop the offers of ``peer`` that are just being stored, so that they do not stay in the store."""
        for transfer in self._table.of_peer(PeerID(peer)):
            if isinstance(transfer, Incoming) and not transfer.stored:
                transfer.unwanted = True
                self._table.drop(transfer)

    def forget_offers(self, peer: bytes) -> None:
        """Forget the unanswered offers of ``peer``, which were deleted from the store.

        The peer is not told, and may make them again.
        """
        for transfer in self._table.of_peer(PeerID(peer)):
            is_offered = transfer.stored and transfer.machine.state is TransferState.OFFERED
            if isinstance(transfer, Incoming) and is_offered:
                self._table.drop(transfer)

    async def pause(self, fid: bytes) -> Transfer:
        """Hold a transfer until ``resume``.  Raises LocalError: unknown-transfer, ended, not-running."""
        return self._want(fid, ev.PersonPauses()).snapshot()

    async def resume(self, fid: bytes) -> Transfer:
        """Let a transfer go on; a broken one, or one that the disk held up, is tried now.

        Raises LocalError: unknown-transfer, ended, not-running, paused-there, no-space, no-inodes, store, busy.
        """
        return await self._opened(self._want(fid, ev.PersonResumes()))

    def speed_limits(self) -> SpeedLimits:
        """Return the limits of all transfers together."""
        return self._preferences.speed_limits()

    async def set_speed_limits(self, up: int | None, down: int | None) -> SpeedLimits:
        """Limit the bytes a second of all transfers together, from now on.  Raises LocalError("too-slow")."""
        self._preferences.limit(up, down)
        for transfer in self._table.all():
            self._executor.runs.limit_changed(transfer)
        await self._preferences.keep_limits()
        return self.speed_limits()

    def rule(self, peer: bytes) -> FileRule:
        """Return the rule for the offers of ``peer``."""
        return self._preferences.rule(peer)

    async def set_rule(self, peer: bytes, rule: FileRule) -> FileRule:
        """Set the rule for offers of ``peer``, and return it; it holds from the next offer on."""
        return await self._preferences.set_rule(peer, rule)

    async def forget_ended(self) -> None:
        """Drop the ended transfers."""
        await self._table.forget_ended()

    def _want(self, fid: bytes, wish: ev.Input) -> ManagedTransfer:
        transfer = self._table.known(fid)
        self._raise_objection(transfer, self._executor.give(transfer, wish))
        return transfer

    def _raise_objection(self, transfer: ManagedTransfer, effects: tuple[ev.Effect, ...]) -> None:
        name = self._listener.folder_of(transfer.peer)
        there = ("paused-there", f"{name} holds it too: it goes on when {name} lets it.")
        for effect in effects:
            if isinstance(effect, ev.Objection):
                code, text = (_OBJECTIONS | {"paused-there": there})[effect.code]
                raise LocalError(code, transfer.reason if code == "ended" and transfer.reason else text)

    async def _opened(self, transfer: ManagedTransfer) -> Transfer:
        """Return how the transfer stands once the disk was looked at, if it is.

        Raises LocalError with what that found.
        """
        error: ChatnetError | None = None
        if isinstance(transfer, Incoming) and transfer.opening is not None:
            error = await _shared(transfer)
        if error is not None:
            about_space = error.code in (messages.NO_SPACE, messages.NO_INODES)
            text = f"{quoted(transfer.info.title)} {error.text}" if about_space else error.text
            raise LocalError(error.code, text)
        return transfer.snapshot()

    # --- from chat links ----------------------------------------------------------------------

    def waits_for(self, peer: PeerID) -> bool:
        """Whether something unfinished with ``peer`` needs a chat link."""
        return needs_contact([transfer.machine for transfer in self._table.of_peer(peer)], self._limits)

    def link_up(self, link: Link) -> None:
        """Handle a chat link that is open, perhaps in the place of another: each side says how its transfers stand."""
        if self._stopped:
            return
        self._offers.link_down(link.peer)
        self._tasks.link_up(link)
        for transfer in self._table.of_peer(link.peer):
            if isinstance(transfer, Outgoing):
                transfer.answer = None
            self._executor.give(transfer, ev.ChatUp())

    def link_down(self, link: Link, end: LinkEnd) -> None:
        """Handle the end of a chat link. What was to begin by it breaks off; what has a file link runs on."""
        if self._tasks.link_down(link):
            self._offers.link_down(link.peer)
            for transfer in self._table.of_peer(link.peer):
                self._executor.give(transfer, ev.ChatDown(end.code in IN_ORDER))

    def received(self, link: Link, message: Message) -> None:
        """Handle a message about transfers.  Raises RemoteError for what cannot be."""
        if not self._stopped:
            self._tasks.throttle(link)
            _MESSAGES[type(message)](self, link, message)

    def _on_offer(self, link: Link, page: Offer | OfferRest) -> None:
        self._offers.received(link, page)

    def _on_accept(self, link: Link, page: Accept) -> None:
        transfer = self._table.find(link.peer, page.fid)
        if isinstance(transfer, Outgoing):
            if acceptance := transfer.acceptance(page):
                self._executor.give(transfer, acceptance)
        elif not page.more:
            self._hear(link.peer, page.fid, ev.HeardAccept(page.token))

    def _on_cancel(self, link: Link, message: Cancel) -> None:
        if not self._offers.withdraw(link.peer, message.fid, message.code):
            self._hear(link.peer, message.fid, ev.HeardCancel(message.code))

    def _hear(self, peer: PeerID, fid: bytes, word: ev.Input) -> None:
        """Handle a message about a transfer, or about one that is not here any more."""
        transfer = self._table.find(peer, fid)
        if transfer is not None:
            self._executor.give(transfer, word)
        elif isinstance(word, _QUESTIONS) and not self._offers.is_coming(peer, fid):
            if code := self._offers.withdrawn(peer, fid):
                self._say(peer, Cancel(fid, code))
            else:
                self._tasks.spawn(peer, self._tell_outcome(peer, fid), "answering about a transfer")

    async def _tell_outcome(self, peer: PeerID, fid: bytes) -> None:
        """Answer a question about a transfer that is not here, perhaps from before we forgot it."""
        row = await self._store.transfers.find(peer, fid)
        if self._table.find(peer, fid) is not None:
            return  # it came meanwhile, and says itself how it stands
        if row is None and self._table.was_offered(peer, fid):  # and deleted: LOST would bring it again at once
            self._say(peer, Decline(fid, messages.DECLINED))
        elif row is None:
            self._say(peer, Cancel(fid, messages.LOST))
        elif row.state.ended:
            self._say(peer, outcome_of(fid, row.outgoing, row.state, row.code))
        else:  # an open transfer is never called lost
            self.log.error("internal error: an open transfer is in the store alone")

    def _say(self, peer: PeerID, message: Message) -> None:
        if line := self._tasks.lines.get(peer):
            line.send(message)

    def admit_offer(self, link: Link, fid: bytes, title: str) -> bool:
        """Whether there is room for one more offer of the person at ``link``; it is charged if there is."""
        return self._listener.admit_offer(link, fid, title)

    async def check_space(self, peer: PeerID) -> None:
        """Look whether the disk has space for an offer of ``peer``.  Raises StoreFailed."""
        await self._listener.check_space(peer)

    def offer_dropped(self, peer: PeerID, fid: bytes) -> None:
        """Tell the listener that an offer that was admitted is not stored after all."""
        self._listener.offer_dropped(peer, fid)

    def offer_turned_down(self, link: Link, fid: bytes, title: SafeText, reason: SafeText) -> None:
        """Tell the listener that an offer was declined without anybody being asked."""
        self._listener.offer_turned_down(link, fid, title, reason)

    def offer_said_again(self, peer: PeerID, fid: bytes) -> None:
        """Tell a sender that repeats an offer known here how that stands, as if it had asked."""
        self._hear(peer, fid, ev.HeardResume())

    async def offer_arrived(self, transfer: Incoming) -> None:
        """Answer a whole offer in the store by the rule for this person; else the user answers it."""
        rule = self.rule(transfer.peer)
        try:
            if rule.kind is RuleKind.REFUSE:  # since its first page
                await self.refuse(transfer.fid)
            elif rule.kind is RuleKind.AUTO and (not rule.max_bytes or transfer.info.disk_bytes <= rule.max_bytes):
                await self.accept(transfer.fid)
        except LocalError as error:  # too little space: the person decides
            self.log.info("an offer was not taken by its rule: {text}", text=error.text)

    # --- from file links ----------------------------------------------------------------------

    def expects(self, peer: bytes, fid: bytes | None, token: bytes | None) -> bool:
        """Whether a file link from ``peer`` with this token is waited for now."""
        transfer = self._table.find(PeerID(peer), fid or b"")
        return transfer is not None and not self._stopped and transfer.machine.expects(token or b"")

    def file_link_opened(self, link: Link, fid: bytes | None) -> None:
        """Handle a file link that is open."""
        self._executor.runs.opened(None if self._stopped else self._table.find(link.peer, fid or b""), link)

    def file_received(self, link: Link, message: Message) -> None:
        """Handle a message on a file link.  Raises RemoteError for what cannot be."""
        self._executor.runs.received(link, message)

    def file_link_lost(self, link: Link, end: LinkEnd) -> None:
        """Handle the end of a file link."""
        self._executor.runs.lost(link, end)


# Each word but OFFER, OFFER-REST, ACCEPT and CANCEL goes straight to the machine of its transfer.
_MESSAGES: dict[type[Message], Callable[[Transfers, Link, Any], None]] = {
    Offer: Transfers._on_offer,
    OfferRest: Transfers._on_offer,
    Accept: Transfers._on_accept,
    Cancel: Transfers._on_cancel,
    Decline: lambda self, link, message: self._hear(link.peer, message.fid, ev.HeardDecline(message.code)),
    DialMe: lambda self, link, message: self._hear(link.peer, message.fid, ev.HeardDialMe()),
    Pause: lambda self, link, message: self._hear(link.peer, message.fid, ev.HeardPause(message.code)),
    Resume: lambda self, link, message: self._hear(link.peer, message.fid, ev.HeardResume()),
    Verified: lambda self, link, message: self._hear(link.peer, message.fid, ev.HeardVerified()),
}
# Words of somebody who has the transfer open.
_QUESTIONS = (ev.HeardAccept, ev.HeardDialMe, ev.HeardPause, ev.HeardResume)


async def _shared(transfer: Incoming) -> ChatnetError | None:
    """Return what the present look at the disk finds; several may wait for it."""
    assert transfer.opening is not None
    mine: Deferred[ChatnetError | None] = Deferred()

    def follow(error: ChatnetError | None) -> ChatnetError | None:
        mine.callback(error)
        return error

    transfer.opening.addCallback(follow)
    return await mine
