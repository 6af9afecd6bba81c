"""All transfers of a peer, either way: who offered what to whom, whose turn it is, how it ended.

The rules (states, words, pages) are ``core.transfer``; the bytes go through ``sender`` and
``receiver``.  This module passes what the person wants and what the other side says to the ``table``
(which there are), ``offers``, ``lifecycle`` (interrupted, resumed, paused, ended) and ``scheduler``.

One that lost its link goes on by itself, whoever was killed: both sides dial while something is
unfinished; when a chat link is up each says how it stands, and the receiver sends its ACCEPT again,
with what is missing.  So only the receiver begins anything, and only its disk counts.
"""

from __future__ import annotations

import hmac
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.backoff import Uniform, online_wait
from chatnet.core.errors import LocalError, Refused, RemoteError, StoreFailed, Unreachable
from chatnet.core.events import FileRule, RuleKind, SpeedLimits, Transfer, TransferState
from chatnet.core.identity import PeerID
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import (
    Accept,
    Cancel,
    Decline,
    DialMe,
    File,
    Hello,
    Message,
    Offer,
    Pause,
    Resume,
    Verified,
    Welcome,
)
from chatnet.core.text import safe_line
from chatnet.core.transfer.offers import AcceptAssembly
from chatnet.core.transfer.transfer_machine import PausedBy, Step, after, ending_of
from chatnet.net.link import Link, LinkEnd
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.files.filesystem import Filesystem, Space, known_space
from chatnet.peer.files.local_paths import absolute
from chatnet.peer.files.part_files import STEM_BYTES, remove_orphans, remove_parts
from chatnet.peer.files.text_file import write_text
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.transfers.background import TransferLinks, TransferTasks
from chatnet.peer.transfers.lifecycle import Lifecycle
from chatnet.peer.transfers.offers import Offers
from chatnet.peer.transfers.preferences import TransferPreferences
from chatnet.peer.transfers.receiver import pass_over
from chatnet.peer.transfers.record import TransferRecord, offered_record, prepare, recalled_record
from chatnet.peer.transfers.scheduler import Scheduler
from chatnet.peer.transfers.table import TransferTable

FID_BYTES = 16
_HINDRANCES = (messages.NO_SPACE, messages.STORE)  # why a receiver holds a transfer by itself


class Transfers:
    """See the module.  ``changed`` gets every new or changed transfer, once it is in the store.

    The owner passes on what comes over chat links (``received``), asks ``expects`` before it agrees
    to a file link, and passes on what happens on it (``file_link_opened``, ``file_received``,
    ``file_link_lost``).  ``person_folder`` gives the name of a person's folder, and of the person.
    """

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        reactor: Any,
        limits: PeerLimits,
        store: PeerStore,
        downloads: bytes,
        links: TransferLinks,
        *,
        changed: Callable[[Transfer], None],
        person_folder: Callable[[bytes], str],
        random_bytes: Callable[[int], bytes] = os.urandom,
        uniform: Uniform = random.uniform,
        listed: Callable[[], int] = lambda: 0,
        space: Space = known_space,
        disk: DiskPool | None = None,
    ) -> None:
        self._clock = reactor
        self._limits = limits
        self._store = store
        self._downloads = downloads
        self._person = person_folder
        self._random = random_bytes
        self._uniform = uniform
        self._listed = listed
        self._disk = disk or DiskPool(reactor)
        self._background = TransferTasks(reactor, links)
        self._table = TransferTable(reactor, store, self._background, changed)
        self._preferences = TransferPreferences(store)
        self._offers = Offers(reactor, limits, self._table, self._background, links, self._disk, self._apply_rule)
        self._lifecycle = Lifecycle(
            reactor,
            limits,
            store,
            self._table,
            self._background,
            links,
            self._disk,
            Filesystem(random_bytes, space, limits.free_bytes_reserve),
            downloads,
            room=lambda: self._scheduler.start_queued(),
            served=lambda fid: FileLinkUser(self, fid=fid),
            uniform=uniform,
        )
        self._scheduler = Scheduler(
            reactor, limits, self._table, self._background, self._lifecycle, self._preferences, self._disk, random_bytes
        )
        self._stopped = False

    # --- for the owner ------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what the former process left unfinished."""
        self._disk.start()
        await self._preferences.recall()
        rows = await self._store.transfers.all()
        await self._disk.run(remove_orphans, self._downloads, {row.stem for row in rows if not row.state.ended})
        for row in rows:
            files = [] if row.state.ended else await self._store.transfers.files(row.peer, row.fid)
            entry = await self._disk.run(recalled_record, row, files)
            self._table.entries[entry.fid] = entry
            await self._take_up_again(entry)

    async def _take_up_again(self, entry: TransferRecord) -> None:
        if entry.ended:
            await self._disk.run(remove_parts, self._lifecycle.place(entry))
            return
        too_old = self._table.now_ms() - entry.offered_ms > self._limits.expire_days * 86_400_000
        incomplete = entry.outgoing and len(entry.sources) < entry.total_files  # of a version that did not go on
        if too_old or incomplete:
            self._lifecycle.end(entry, Step.FAILED, messages.LOST)
        elif entry.under_way:
            self._table.step(entry, Step.BROKEN, messages.LOST)
        if entry.state is TransferState.BROKEN:
            self._lifecycle.redial.after(entry.peer, online_wait(self._listed(), self._uniform))

    async def stop(self) -> None:
        """Put everything down until the next start; fires when threads and timers are at rest."""
        if self._stopped:
            return
        self._stopped = True
        self._scheduler.stop()
        await gatherResults(self._lifecycle.stop_all())
        self._background.stop()
        self._lifecycle.stop_timers()
        self._offers.forget()
        self._table.stop()
        self._disk.stop()

    # --- for a person ---------------------------------------------------------------------------

    def snapshot(self) -> tuple[Transfer, ...]:
        """Every transfer that is not forgotten, in the order of offering."""
        return self._table.snapshot()

    async def offer(self, peer: bytes, paths: Sequence[bytes]) -> Transfer:
        """Offer files and folders.  Raises LocalError: offline, and what ``gather`` raises."""
        found, summary, rows = await self._disk.run(prepare, tuple(paths))
        entry = offered_record(self._random(FID_BYTES), PeerID(peer), True, summary, self._table.now_ms())
        entry.warning = safe_line(found.warning)  # about our own disk; the names are ours
        entry.sources = found.files
        entry.files = [file.offered for file in found.files]
        self._table.entries[entry.fid] = entry
        try:
            await self._offers.send(entry)
            await self._table.keep(entry, rows)
        except BaseException as error:
            del self._table.entries[entry.fid]
            if isinstance(error, Unreachable):
                text = f"{self._person(peer)} is offline: files need both of you there."
                raise LocalError("offline", text) from error
            if isinstance(error, StoreFailed):
                self._background.send(entry.peer, Cancel(entry.fid, messages.USER))
            raise
        return entry.snapshot()

    async def offer_text(self, peer: bytes, folder: bytes, name: str, text: str) -> Transfer:
        """Write ``text`` into a new file in ``folder`` and offer it; without an offer the file does not stay.

        Raises LocalError: unwritable, offline.
        """
        path = await self._disk.run(write_text, folder, name, text)
        try:
            return await self.offer(peer, [path])
        except BaseException:
            await self._disk.run(os.unlink, path)
            raise

    async def accept(self, fid: bytes, directory: bytes = b"") -> Transfer:
        """Take an offer, into ``directory`` or the usual place.

        Raises LocalError: unknown-transfer, ended, relative-path, no-space, unwritable, no-such-folder.
        """
        entry = self._table.offer_in(fid)
        directory = absolute(directory) if directory else b""
        if entry.opening:
            return entry.snapshot()
        entry.directory, entry.person = directory, self._person(entry.peer)
        entry.stem = self._random(STEM_BYTES).hex()
        try:
            download = await self._lifecycle.open_download(entry)
        except LocalError as error:
            if error.code == messages.NO_SPACE:
                raise LocalError(error.code, f"{entry.title} {error.text}") from None
            raise
        if entry.state is not TransferState.OFFERED or self._stopped:  # it ended meanwhile
            download.close()
            return entry.snapshot()
        self._lifecycle.resume(entry, download, Step.ACCEPTED)
        return entry.snapshot()

    async def refuse(self, fid: bytes) -> Transfer:
        """Do not take an offer.  Raises LocalError: unknown-transfer, ended."""
        entry = self._table.offer_in(fid)
        self._lifecycle.decline(entry)
        return entry.snapshot()

    async def cancel(self, fid: bytes) -> Transfer:
        """End a transfer, ours or theirs; one that has ended stays as it is.  Raises LocalError: unknown-transfer."""
        entry = self._table.known(fid)
        if not entry.ended:
            self._lifecycle.give_up(entry, messages.USER)
        return entry.snapshot()

    def end_all_with(self, peer: bytes) -> None:
        """The person wants nothing of ``peer`` any more: what is open ends as if it was cancelled by hand."""
        for entry in self._table.all_unfinished():
            if entry.peer != peer:
                continue
            if entry.state is TransferState.OFFERED and not entry.outgoing:
                self._lifecycle.decline(entry)
            else:
                self._lifecycle.give_up(entry, messages.USER)

    async def pause(self, fid: bytes) -> Transfer:
        """Hold a transfer until ``resume``.  Raises LocalError: unknown-transfer, ended, not-running."""
        entry = self._table.unfinished(fid)
        if entry.state is TransferState.OFFERED:
            raise LocalError("not-running", "There is nothing to pause before the offer is accepted.")
        if not entry.paused & PausedBy.HERE:
            self._lifecycle.pause(entry, messages.PAUSED)
        return entry.snapshot()

    async def resume(self, fid: bytes) -> Transfer:
        """Let it go on; a broken one is tried now.  Raises LocalError: unknown-transfer, ended, paused-there."""
        entry = self._table.unfinished(fid)
        if entry.paused & PausedBy.HERE:
            entry.paused &= ~PausedBy.HERE
            self._background.send(entry.peer, Resume(fid))
            self._lifecycle.unpause(entry)
        if entry.paused:
            name = self._person(entry.peer)
            raise LocalError("paused-there", f"{name} holds it too: it goes on when {name} lets it.")
        self._lifecycle.redial.now(entry.peer)
        return entry.snapshot()

    def speed_limits(self) -> SpeedLimits:
        return self._preferences.speed_limits()

    async def set_speed_limits(self, up: int | None, down: int | None) -> SpeedLimits:
        """Bytes a second of all transfers together, from now on.  Raises LocalError("too-slow")."""
        self._preferences.limit(up, down)
        for entry in self._table.all_unfinished():
            if entry.work is not None:
                entry.work.limit_changed()
        await self._preferences.keep_limits()
        return self.speed_limits()

    def rule(self, peer: bytes) -> FileRule:
        """What happens to the offers of ``peer``."""
        return self._preferences.rule(peer)

    async def set_rule(self, peer: bytes, rule: FileRule) -> FileRule:
        """From the next offer on."""
        return await self._preferences.set_rule(peer, rule)

    async def forget_ended(self) -> None:
        """Drop the ended transfers."""
        await self._table.forget_ended()

    # --- from chat links ----------------------------------------------------------------------

    def received(self, link: Link, message: Message) -> None:
        """OFFER, ACCEPT, DECLINE, DIALME, CANCEL, PAUSE, RESUME or VERIFIED; RemoteError for what cannot be."""
        who = link.peer
        if self._stopped:
            return
        self._background.throttle(link)
        if isinstance(message, Offer):
            self._offers.received(who, message)
        elif isinstance(message, Accept):
            self._on_accept(who, message)
        elif isinstance(message, Decline):
            if entry := self._table.find_open(who, message.fid, outgoing=True):
                self._lifecycle.end(entry, Step.DECLINED, message.code, by_me=False)
        elif isinstance(message, DialMe):
            entry = self._table.find_open(who, message.fid, outgoing=False)
            if entry and entry.token and entry.link is None and entry.dialling is None:
                self._lifecycle.dial(entry, self._limits.file_link_seconds)
        elif isinstance(message, Cancel):
            if self._offers.withdraw(who, message.fid):
                return
            if entry := self._table.find_open(who, message.fid):
                if message.code == messages.LOST and entry.outgoing and entry.state is TransferState.OFFERED:
                    self._background.spawn(entry.peer, self._offers.send(entry))  # it got lost with its link
                else:
                    self._lifecycle.end(entry, ending_of(message.code), message.code, by_me=False)
        elif isinstance(message, Pause):
            if (entry := self._table.find_open(who, message.fid)) and entry.state is not TransferState.OFFERED:
                self._lifecycle.paused_there(entry, message.code)
        elif isinstance(message, Resume):
            self._on_resume(who, message.fid)
        elif isinstance(message, Verified):
            entry = self._table.find_open(who, message.fid, outgoing=True)
            if entry and after(entry.state, Step.VERIFIED):
                entry.done_files, entry.done_bytes = entry.total_files, entry.total_bytes
                self._lifecycle.end(entry, Step.VERIFIED)

    def peer_reachable(self, peer: bytes) -> None:
        """A chat link to ``peer`` is open: each side says how its unfinished transfers stand."""
        who = PeerID(peer)
        self._lifecycle.redial.up(who)
        for entry in self._table.all_unfinished():
            if entry.peer != who or not entry.kept:
                continue
            entry.answer = None
            if entry.paused & PausedBy.HERE:
                self._background.send(
                    who, Pause(entry.fid, entry.code if entry.code in _HINDRANCES else messages.PAUSED)
                )
            elif entry.state is TransferState.OFFERED:
                if entry.outgoing:
                    self._background.send(who, Resume(entry.fid))
            elif entry.state is TransferState.PAUSED or (entry.outgoing and entry.state is TransferState.BROKEN):
                self._background.send(who, Resume(entry.fid))
            elif entry.state is TransferState.BROKEN:
                self._background.spawn(entry.peer, self._lifecycle.resume_incoming(entry))
            elif not entry.outgoing and entry.token and entry.link is None and entry.work is None:
                self._background.spawn(
                    entry.peer, self._scheduler.send_answer(entry)
                )  # it may have gone with the link before

    def peer_unreachable(self, peer: bytes) -> None:
        """The chat link to ``peer`` is gone: what was to begin by it breaks off; what has a file link runs on."""
        who = PeerID(peer)
        self._offers.link_lost(who)
        for entry in self._table.all_unfinished():
            if entry.peer != who or not entry.kept:
                continue
            entry.answer = None
            if entry.state is TransferState.QUEUED and entry.token and entry.link is None:
                self._lifecycle.break_off(entry, messages.LOST)
        self._lifecycle.redial.down(who)

    def came_online(self, peer: bytes) -> None:
        """A sign of life of ``peer``: one early try for what is unfinished."""
        who = PeerID(peer)
        if who not in self._lifecycle.redial.linked and self._lifecycle.waits_for(who):
            self._lifecycle.redial.after(who, online_wait(self._listed(), self._uniform))

    # --- from file links ----------------------------------------------------------------------

    def expects(self, peer: bytes, fid: bytes | None, token: bytes | None) -> bool:
        """Whether a file link from ``peer`` with this token is waited for now."""
        entry = self._table.find_open(PeerID(peer), fid or b"")
        return (
            entry is not None
            and entry.state is TransferState.QUEUED
            and entry.link is None
            and bool(entry.token)
            and hmac.compare_digest(entry.token, token or b"")
        )

    def file_link_opened(self, link: Link, fid: bytes | None) -> None:
        """A file link that was expected is open."""
        entry = self._table.find_open(link.peer, fid or b"")
        if entry is None or entry.link is not None or entry.state is not TransferState.QUEUED:
            link.close(messages.NOT_EXPECTED, "nobody waits for this any more")
            return
        entry.link = link
        entry.late = 0
        self._lifecycle.of_link[link] = entry
        if entry.deadline is not None:
            entry.deadline.cancel()
            entry.deadline = None
        if entry.outgoing:
            self._scheduler.start_queued()
        else:
            self._scheduler.receive(entry, link)

    def file_received(self, link: Link, message: Message) -> None:
        """A message on a file link; RemoteError for what cannot be."""
        entry = self._lifecycle.of_link.get(link)
        if entry is None or entry.ended:
            pass_over(link, message)
            return
        if entry.work is None:
            raise RemoteError(messages.BAD_FRAME, "nothing was sent that this could answer")
        if isinstance(message, File) and entry.state is TransferState.QUEUED and not entry.outgoing:
            self._scheduler.start(entry)
        entry.work.received(message)

    def file_link_lost(self, link: Link, end: LinkEnd) -> None:
        """A file link has ended."""
        entry = self._lifecycle.left(link)
        if entry is None or entry.ended:
            return
        if entry.work is not None and entry.work.decided:
            return  # a REJECT was faster than our own clearing up
        if end.code == messages.BAD_FRAME:
            self._lifecycle.end(entry, Step.FAILED, end.code, by_me=not end.by_remote)
            self._background.send(entry.peer, Cancel(entry.fid, end.code))
        else:
            self._lifecycle.break_off(entry, messages.LOST)

    # --- offers, answers, questions -------------------------------------------------------------

    async def _apply_rule(self, entry: TransferRecord) -> None:
        rule = self.rule(entry.peer)
        try:
            if rule.kind is RuleKind.REFUSE:
                await self.refuse(entry.fid)
            elif rule.kind is RuleKind.AUTO and (not rule.max_bytes or entry.total_bytes <= rule.max_bytes):
                await self.accept(entry.fid)
        except LocalError as error:  # too little space: the person decides
            self.log.info("an offer was not taken by its rule: {text}", text=error.text)

    def _on_accept(self, peer: PeerID, page: Accept) -> None:
        entry = self._table.find_open(peer, page.fid, outgoing=True)
        if entry is None:
            if not page.more:
                self._background.spawn(peer, self._tell_outcome(peer, page.fid))
            return
        entry.answer = entry.answer or AcceptAssembly(entry.files)
        if not entry.answer.add(page):
            return
        answer, entry.answer = entry.answer, None
        if answer.token == entry.token:
            return  # said twice
        if entry.paused & PausedBy.HERE:
            self._background.send(peer, Pause(entry.fid, messages.PAUSED))
            return
        entry.paused = PausedBy.NOBODY
        if entry.state is TransferState.OFFERED:
            step = Step.ACCEPTED
        else:
            step = Step.RESUMED
            if link := self._lifecycle.release(entry, keep=True):
                link.abort(messages.LOST, "a newer one takes its place")
            self._table.move(entry, Step.BROKEN, messages.LOST)
        entry.wants, entry.token = answer.wants, answer.token
        self._lifecycle.count(entry, sum(entry.files[want.file].size - want.offset for want in entry.wants))
        self._table.step(entry, step)
        self._lifecycle.wait_for_link(entry)
        self._lifecycle.dial(entry, self._limits.dial_me_seconds)

    def _on_resume(self, peer: PeerID, fid: bytes) -> None:
        entry = self._table.find_open(peer, fid)
        if entry is None:
            self._background.spawn(peer, self._tell_outcome(peer, fid))
        elif entry.paused & PausedBy.HERE:
            self._background.send(peer, Pause(fid, messages.PAUSED))
        elif entry.paused:
            entry.paused = PausedBy.NOBODY
            self._lifecycle.unpause(entry)
            self._lifecycle.redial.now(peer)
        elif not entry.outgoing and entry.state is TransferState.BROKEN:
            self._background.spawn(entry.peer, self._lifecycle.resume_incoming(entry))

    async def _tell_outcome(self, peer: PeerID, fid: bytes) -> None:
        """Somebody asks about a transfer that is not open here, perhaps from before we forgot it."""
        row = await self._store.transfers.find(peer, fid)
        if row is None or not row.state.ended:
            answer: Message = Cancel(fid, messages.LOST)
        elif row.state is TransferState.DONE:
            answer = Cancel(fid, messages.LOST) if row.outgoing else Verified(fid)
        elif row.state is TransferState.DECLINED and not row.outgoing:
            answer = Decline(fid, row.code)
        else:
            answer = Cancel(fid, row.code or messages.LOST)
        if fid not in self._table.entries or self._table.entries[fid].ended:
            self._background.send(peer, answer)


class FileLinkUser:
    """The LinkUser of file links: of those that come in, or with ``fid`` of one that is dialled for a transfer."""

    def __init__(
        self, transfers: Transfers, *, welcome: Callable[[Link], Welcome] | None = None, fid: bytes | None = None
    ) -> None:
        self._transfers = transfers
        self._welcome = welcome
        self._fid = fid

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        if self._welcome is None or not self._transfers.expects(link.peer, hello.fid, hello.token):
            raise Refused(messages.NOT_EXPECTED, "nobody waits for this file link")
        return self._welcome(link)

    def opened(self, link: Link) -> None:
        hello = link.greeting  # of a link that we dialled, the WELCOME
        self._transfers.file_link_opened(link, hello.fid if isinstance(hello, Hello) else self._fid)

    def received(self, link: Link, message: Message) -> None:
        self._transfers.file_received(link, message)

    def lost(self, link: Link, end: LinkEnd) -> None:
        self._transfers.file_link_lost(link, end)
