"""All transfers of a peer, either way: who offered what to whom, whose turn it is, how it ended.

The rules (states, words, pages) are ``core.transfer``; the bytes go through ``sending`` and
``receiving``; this module holds what is under way and speaks with the other side.  Every transfer
ends in a named outcome that both sides are told: the one that ends it says so on the chat link and
keeps the file link until the other closes it, so that the reason arrives before the loss.
"""

from __future__ import annotations

import hmac
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, DeferredLock, gatherResults
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core import messages
from chatnet.core.bucket import Buckets
from chatnet.core.errors import ChatnetError, LocalError, Refused, RemoteError, StoreFailed, Unreachable
from chatnet.core.events import Transfer, TransferState
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import PROGRESS_SECONDS, PeerLimits
from chatnet.core.messages import (
    Accept,
    Cancel,
    Decline,
    DialMe,
    File,
    Hello,
    Message,
    Offer,
    OfferedFile,
    Verified,
    Want,
    Welcome,
)
from chatnet.core.text import SafeText, safe_line
from chatnet.core.transfer import (
    AcceptAssembly,
    OfferAssembly,
    Rate,
    Step,
    Summary,
    accept_pages,
    after,
    ending_of,
    has_turn,
    offer_pages,
    reason_of,
)
from chatnet.net.link import Link, LinkEnd, LinkUser
from chatnet.peer.disk import Disk
from chatnet.peer.files import Gathered, Ground, Landing, SourceFile, Space, gather, remove_orphans
from chatnet.peer.receiving import Receiving
from chatnet.peer.sending import Sending
from chatnet.peer.store import FileRow, PeerStore, TransferRow

FID_BYTES = 16
TOKEN_BYTES = 32
ASKERS = 10_000  # peers whose rate of offers is remembered
_NOTHING = safe_line("")


class TransferLinks(Protocol):
    """The ways to the others."""

    async def send(self, peer: PeerID, message: Message) -> None:
        """Queue a message on the chat link, dialled if there is none, once that is not congested.

        Raises Unreachable, or another ChatnetError.
        """

    async def dial_file(self, peer: PeerID, fid: bytes, token: bytes, user: LinkUser) -> Link:
        """An open link of role ``file`` that serves ``user``.  Raises ChatnetError."""


@dataclass(eq=False)
class _Entry:
    """One transfer.  What its later states need appears with them."""

    fid: bytes
    peer: PeerID
    outgoing: bool
    title: SafeText
    total_files: int
    total_bytes: int
    offered_ms: int
    names: tuple[SafeText, ...] = ()
    warning: SafeText = _NOTHING
    state: TransferState = TransferState.OFFERED
    code: str = ""
    reason: SafeText = _NOTHING
    saved_to: str = ""
    done_files: int = 0
    done_bytes: int = 0
    kept: bool = False  # in the store, and so shown
    files: Sequence[OfferedFile] = ()
    sources: Sequence[SourceFile] = ()  # outgoing
    answer: AcceptAssembly | None = None  # outgoing, while its pages come
    wants: Sequence[Want] = ()
    token: bytes = b""  # since the acceptance: what a file link must show
    landing: Landing | None = None  # incoming, from the acceptance until a link came
    deadline: IDelayedCall | None = None
    dialling: Deferred[Link] | None = None
    link: Link | None = None
    work: Sending | Receiving | None = None
    working: Deferred[None] | None = None
    rate: Rate | None = None
    told_bytes: int = -1

    @property
    def ended(self) -> bool:
        return self.state.ended

    def snapshot(self) -> Transfer:
        speed = self.rate.per_second if self.rate else None
        running = self.rate is not None and self.state is TransferState.RUNNING
        left = self.rate.seconds_left(self.total_bytes - self.done_bytes) if self.rate and running else None
        return Transfer(
            self.fid,
            self.peer,
            self.outgoing,
            self.title,
            self.names,
            self.warning,
            self.total_files,
            self.total_bytes,
            self.done_files,
            self.done_bytes,
            speed,
            left,
            self.state,
            self.code,
            self.reason,
            self.saved_to if self.state is TransferState.DONE and not self.outgoing else "",
            self.offered_ms,
        )


@dataclass(eq=False)
class _Asker:
    """Offers in pages, from and to one peer, that are under way."""

    assembly: OfferAssembly | None = None
    unwanted: bytes = b""  # the fid of an offer that was declined before its last page
    sending: DeferredLock = field(default_factory=DeferredLock)  # the pages of one offer stay together


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
        downloads: Path,
        links: TransferLinks,
        *,
        changed: Callable[[Transfer], None],
        person_folder: Callable[[bytes], str],
        random_bytes: Callable[[int], bytes] = os.urandom,
        space: Space = os.fstatvfs,
        disk: Disk | None = None,
    ) -> None:
        self._clock = reactor
        self._limits = limits
        self._store = store
        self._downloads = str(downloads)
        self._links = links
        self._changed = changed
        self._person = person_folder
        self._random = random_bytes
        self._ground = Ground(random_bytes, space, limits.free_bytes_reserve)
        self._disk = disk or Disk(reactor)
        self._entries: dict[bytes, _Entry] = {}
        self._of_link: dict[Link, _Entry] = {}
        self._leaving: dict[Link, IDelayedCall] = {}  # of ended transfers, until the other side closes
        self._askers: dict[PeerID, _Asker] = {}
        self._offers = Buckets(limits.offers_per_minute / 60, limits.offers_per_minute, ASKERS)
        self._saying: set[Deferred[None]] = set()
        self._progress = LoopingCall(self._tell_progress)
        self._progress.clock = reactor
        self._stopped = False

    # --- for the owner ------------------------------------------------------------------------

    async def start(self) -> None:
        """Settle what the former process left open, and remove its old parts."""
        self._disk.start()
        await self._disk.run(remove_orphans, self._downloads)
        for row in await self._store.transfers():
            entry = _Entry(
                row.fid,
                row.peer,
                row.outgoing,
                safe_line(row.title),
                row.total_files,
                row.total_bytes,
                row.offered_ms,
                state=row.state,
                code=row.code,
                reason=safe_line(row.reason),
                saved_to=row.saved_to,
                kept=True,
            )
            if entry.state is TransferState.DONE:
                entry.done_files, entry.done_bytes = entry.total_files, entry.total_bytes
            self._entries[entry.fid] = entry
            if not entry.ended:
                self._end(entry, Step.FAILED, messages.LOST)

    async def stop(self) -> None:
        """End everything, for good; fires when threads and timers are at rest."""
        if self._stopped:
            return
        self._stopped = True
        for entry in self._open_entries():
            self._give_up(entry, messages.STOPPING)
        for link in tuple(self._of_link):
            link.abort(messages.STOPPING, "the program ends")
        await gatherResults([entry.working for entry in self._entries.values() if entry.working is not None])
        for saying in tuple(self._saying):
            saying.cancel()
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()
        if self._progress.running:
            self._progress.stop()
        self._disk.stop()

    def snapshot(self) -> tuple[Transfer, ...]:
        """Every transfer that is not forgotten, in the order of offering."""
        return tuple(entry.snapshot() for entry in self._entries.values() if entry.kept)

    async def offer(self, peer: bytes, paths: Sequence[str]) -> Transfer:
        """Offer files and folders.  Raises LocalError: no-such-file, unreadable, empty, too-many, too-deep, offline."""
        found, summary, rows = await self._disk.run(_prepare, tuple(paths))
        entry = self._new_entry(self._random(FID_BYTES), PeerID(peer), True, summary)
        entry.warning = safe_line(found.warning)  # about our own disk; the names are ours
        entry.sources = found.files
        entry.files = [file.offered for file in found.files]
        self._entries[entry.fid] = entry
        try:
            await self._asker(entry.peer).sending.run(
                lambda: Deferred.fromCoroutine(self._send_pages(entry.peer, offer_pages(entry.fid, entry.files)))
            )
            await self._keep(entry, rows)
        except BaseException as error:
            del self._entries[entry.fid]
            if isinstance(error, Unreachable):
                text = f"{self._person(peer)} is offline: files need both of you there."
                raise LocalError("offline", text) from error
            if isinstance(error, StoreFailed):
                self._say(entry.peer, Cancel(entry.fid, messages.USER))
            raise
        return entry.snapshot()

    async def accept(self, fid: bytes, directory: str = "") -> Transfer:
        """Take an offer.  Raises LocalError: unknown-transfer, ended, no-space, unwritable, no-such-folder."""
        entry = self._offer_in(fid)
        person = self._person(entry.peer)
        try:
            landing = await self._disk.run(Landing, self._downloads, person, directory, entry.files, self._ground)
        except LocalError as error:
            if error.code == messages.NO_SPACE:
                raise LocalError(error.code, f"{entry.title} {error.text}") from None
            raise
        if entry.state is not TransferState.OFFERED or self._stopped:  # it ended, or was taken twice, meanwhile
            landing.close()
            return entry.snapshot()
        entry.landing = landing
        entry.wants = [Want(index, 0) for index in range(len(entry.files))]
        self._step(entry, Step.ACCEPTED)
        self._give_turns()
        return entry.snapshot()

    async def refuse(self, fid: bytes) -> Transfer:
        """Do not take an offer.  Raises LocalError: unknown-transfer, ended."""
        entry = self._offer_in(fid)
        self._end(entry, Step.DECLINED, messages.DECLINED)
        self._say(entry.peer, Decline(fid, messages.DECLINED))
        return entry.snapshot()

    async def cancel(self, fid: bytes) -> Transfer:
        """End a transfer, ours or theirs; one that has ended stays as it is.  Raises LocalError: unknown-transfer."""
        entry = self._known(fid)
        if not entry.ended:
            self._give_up(entry, messages.USER)
        return entry.snapshot()

    async def forget_ended(self) -> None:
        """Drop the ended transfers."""
        for fid in [entry.fid for entry in self._entries.values() if entry.ended and entry.kept]:
            del self._entries[fid]
        await self._store.forget_ended()

    # --- from chat links ----------------------------------------------------------------------

    def received(self, peer: bytes, message: Message) -> None:
        """OFFER, ACCEPT, DECLINE, DIALME or CANCEL of ``peer``; RemoteError for what cannot be."""
        who = PeerID(peer)
        if self._stopped:
            return
        if isinstance(message, Offer):
            self._on_offer(who, message)
        elif isinstance(message, Accept):
            self._on_accept(who, message)
        elif isinstance(message, Decline):
            if entry := self._theirs(who, message.fid, outgoing=True):
                self._end(entry, Step.DECLINED, message.code, by_me=False)
        elif isinstance(message, DialMe):
            entry = self._theirs(who, message.fid, outgoing=False)
            if entry and entry.token and entry.link is None and entry.dialling is None:
                self._dial(entry, self._limits.file_link_seconds)
        elif isinstance(message, Cancel):
            asker = self._askers.get(who)
            if asker and asker.assembly and asker.assembly.fid == message.fid:
                asker.assembly = None
            elif entry := self._theirs(who, message.fid):
                self._end(entry, ending_of(message.code), message.code, by_me=False)

    def peer_unreachable(self, peer: bytes) -> None:
        """``peer`` went away: what has no file link of its own has nobody to wait for."""
        self._askers.pop(PeerID(peer), None)
        for entry in self._open_entries():
            if entry.peer == peer and entry.link is None and entry.kept:
                self._end(entry, Step.FAILED, messages.LOST)

    # --- from file links ----------------------------------------------------------------------

    def expects(self, peer: bytes, fid: bytes | None, token: bytes | None) -> bool:
        """Whether a file link from ``peer`` with this token is waited for now."""
        entry = self._theirs(PeerID(peer), fid or b"")
        return (
            entry is not None
            and entry.state is TransferState.QUEUED
            and entry.link is None
            and bool(entry.token)
            and hmac.compare_digest(entry.token, token or b"")
        )

    def file_link_opened(self, link: Link, fid: bytes | None) -> None:
        """A file link that was expected is open."""
        entry = self._theirs(link.peer, fid or b"")
        if entry is None or entry.link is not None or entry.state is not TransferState.QUEUED:
            link.close(messages.NOT_EXPECTED, "nobody waits for this any more")
            return
        entry.link = link
        self._of_link[link] = entry
        if entry.deadline is not None:
            entry.deadline.cancel()
            entry.deadline = None
        if entry.outgoing:
            self._give_turns()
        else:
            self._receive(entry, link)

    def file_received(self, link: Link, message: Message) -> None:
        """A message on a file link; RemoteError for what cannot be."""
        entry = self._of_link.get(link)
        if entry is None or entry.ended:
            return  # what was on its way when it ended
        if entry.work is None:
            raise RemoteError(messages.BAD_FRAME, "nothing was sent that this could answer")
        if isinstance(message, File) and entry.state is TransferState.QUEUED and not entry.outgoing:
            self._start(entry)
        entry.work.received(message)

    def file_link_lost(self, link: Link, end: LinkEnd) -> None:
        """A file link has ended."""
        timer = self._leaving.pop(link, None)
        if timer is not None:
            timer.cancel()
        entry = self._of_link.pop(link, None)
        if entry is None or entry.link is not link:
            return
        entry.link = None
        if entry.work is not None and entry.work.decided:
            return  # a REJECT was faster than our own clearing up
        if not entry.ended:
            code = end.code if end.code in (messages.BAD_FRAME, messages.STOPPING) else messages.LOST
            self._end(entry, Step.FAILED, code, by_me=not end.by_remote)
            self._say(entry.peer, Cancel(entry.fid, code))

    # --- offers and answers -------------------------------------------------------------------

    def _on_offer(self, peer: PeerID, page: Offer) -> None:
        asker = self._asker(peer)
        if asker.unwanted == page.fid:
            asker.unwanted = page.fid if page.more else b""
            return
        if asker.assembly is None or asker.assembly.fid != page.fid:
            asker.assembly = None  # one that was broken off: its sender ended, or lost its link
            code = self._objection(peer, page.fid, asker)
            if code:
                self._turn_down(peer, page, code)
                return
            asker.assembly = OfferAssembly(page.fid)
        assembly = asker.assembly
        try:
            whole = assembly.add(page)
        except RemoteError as error:
            asker.assembly = None
            self._turn_down(peer, page, error.code)
            return
        if whole:
            asker.assembly = None
            entry = self._new_entry(page.fid, peer, False, assembly.summary)
            entry.files = assembly.files
            self._entries[entry.fid] = entry
            self._hold(self._take_offer(entry))

    def _objection(self, peer: PeerID, fid: bytes, asker: _Asker) -> str:
        if fid in self._entries:
            return messages.CONFLICT
        pending = sum(
            1
            for entry in self._entries.values()
            if entry.peer == peer and not entry.outgoing and entry.state is TransferState.OFFERED
        )
        if pending >= self._limits.offers_pending or not self._offers.take(peer, self._clock.seconds()):
            return messages.TOO_MANY
        return ""

    def _turn_down(self, peer: PeerID, page: Offer, code: str) -> None:
        self.log.info("offer of {peer} not taken: {code}", peer=short_text(peer), code=code)
        if page.more:
            self._asker(peer).unwanted = page.fid
        self._say(peer, Decline(page.fid, code))

    async def _take_offer(self, entry: _Entry) -> None:
        try:
            rows = await self._disk.run(_file_rows, entry.files)
            await self._keep(entry, rows)
        except (StoreFailed, sqlite3.IntegrityError) as error:  # full, or a fid that was used and forgotten
            del self._entries[entry.fid]
            code = messages.STORE if isinstance(error, StoreFailed) else messages.CONFLICT
            await self._links.send(entry.peer, Decline(entry.fid, code))

    def _on_accept(self, peer: PeerID, page: Accept) -> None:
        entry = self._theirs(peer, page.fid, outgoing=True)
        if entry is None:
            if page.fid not in self._entries and not page.more:  # from before a restart
                self._say(peer, Cancel(page.fid, messages.LOST))
            return
        if entry.state is not TransferState.OFFERED:
            return
        entry.answer = entry.answer or AcceptAssembly(entry.files)
        if entry.answer.add(page):
            entry.wants, entry.token, entry.answer = entry.answer.wants, entry.answer.token, None
            self._step(entry, Step.ACCEPTED)
            self._wait_for_link(entry)
            self._dial(entry, self._limits.dial_me_seconds)

    # --- the file link ------------------------------------------------------------------------

    def _wait_for_link(self, entry: _Entry) -> None:
        entry.deadline = self._clock.callLater(self._limits.file_link_seconds, self._too_late, entry)

    def _too_late(self, entry: _Entry) -> None:
        entry.deadline = None
        self._give_up(entry, messages.LATE)

    def _dial(self, entry: _Entry, seconds: float) -> None:
        dial = self._links.dial_file(entry.peer, entry.fid, entry.token, _FileLinkUser(self, entry.fid))
        entry.dialling = Deferred.fromCoroutine(dial).addTimeout(seconds, self._clock)
        self._hold(self._dialled(entry, entry.dialling))

    async def _dialled(self, entry: _Entry, dialling: Deferred[Link]) -> None:
        try:
            await dialling
        except (ChatnetError, DeferredTimeout, CancelledError) as error:
            if entry.outgoing and not entry.ended and entry.link is None:
                self.log.info(
                    "no file link to {peer} ({error}): they are asked", peer=short_text(entry.peer), error=error
                )
                self._say(entry.peer, DialMe(entry.fid))
        finally:
            entry.dialling = None

    # --- turns --------------------------------------------------------------------------------

    def _give_turns(self) -> None:
        """Let begin what may: acceptances go out, files go out."""
        for entry in tuple(self._entries.values()):
            if entry.state is not TransferState.QUEUED or self._stopped:
                continue
            under_way = [e.peer for e in self._entries.values() if e.outgoing is entry.outgoing and _has_place(e)]
            if _has_place(entry) or not has_turn(entry.peer, under_way, self._limits):
                continue
            if not entry.outgoing:
                entry.token = self._random(TOKEN_BYTES)
                self._wait_for_link(entry)
                self._hold(self._send_answer(entry))
            elif entry.link is not None:
                self._send(entry, entry.link)

    async def _send_answer(self, entry: _Entry) -> None:
        try:
            await self._send_pages(entry.peer, accept_pages(entry.fid, entry.token, entry.wants))
        except ChatnetError:
            self._end(entry, Step.FAILED, messages.LOST)

    def _send(self, entry: _Entry, link: Link) -> None:
        def sent(count: int) -> None:
            entry.done_bytes += count
            entry.done_files = sending.done_files

        sending = Sending(link, entry.sources, entry.wants, self._disk, sent, lambda: self._complete(entry))
        entry.work = sending
        self._start(entry)
        entry.working = Deferred.fromCoroutine(self._see_through(entry, sending))

    def _receive(self, entry: _Entry, link: Link) -> None:
        def arrived(count: int) -> None:
            entry.done_bytes += count

        def settled(placed: list[tuple[int, str]]) -> None:
            entry.done_files += len(placed)
            self._hold(_done(self._store.files_done(entry.peer, entry.fid, placed)))

        landing, entry.landing = entry.landing, None
        assert landing is not None
        receiving = Receiving(
            link,
            entry.files,
            entry.wants,
            landing,
            self._disk,
            self._limits.write_ahead_bytes,
            arrived,
            settled,
            lambda: self._complete(entry),
        )
        entry.work = receiving
        entry.working = Deferred.fromCoroutine(self._see_through(entry, receiving, landing))

    async def _see_through(self, entry: _Entry, work: Sending | Receiving, landing: Landing | None = None) -> None:
        link = entry.link
        try:
            await work.run()
        except Refused as refusal:  # the receiver's REJECT
            self._end(entry, Step.FAILED, refusal.code, by_me=False)
        except ChatnetError as error:
            if entry.ended:
                return
            self._end(entry, Step.FAILED, error.code)
            if entry.outgoing:  # a receiver has sent its REJECT by now
                self._say(entry.peer, Cancel(entry.fid, error.code))
        except Exception:
            self.log.failure("a transfer met a defect of ours")
            self._give_up(entry, messages.UNREADABLE if entry.outgoing else messages.UNWRITABLE)
        else:
            entry.done_files = entry.total_files if landing else len(entry.wants)
            entry.saved_to = landing.saved_to if landing else ""
            await self._verified(entry, link)
        finally:
            entry.working = None

    async def _verified(self, entry: _Entry, link: Link | None) -> None:
        if entry.outgoing:
            self._end(entry, Step.VERIFIED)
            return
        # Committed, with everything before it, ahead of the word that the other side relies on.
        if not self._move(entry, Step.VERIFIED):
            return
        try:
            await self._save(entry)
        except StoreFailed as error:
            self.log.warn("a finished transfer could not be marked: {text}", text=error.text)
        if link is not None:
            link.send(Verified(entry.fid))
        self._tell(entry)
        self._let_go(entry, by_me=True)

    # --- steps --------------------------------------------------------------------------------

    def _start(self, entry: _Entry) -> None:
        entry.rate = Rate(self._clock.seconds())
        self._step(entry, Step.STARTED)
        if not self._progress.running and not self._stopped:
            self._progress.start(PROGRESS_SECONDS, now=False)

    def _complete(self, entry: _Entry) -> None:
        if entry.rate is not None:
            entry.rate.mark(self._clock.seconds(), entry.done_bytes)
        self._step(entry, Step.COMPLETE)

    def _give_up(self, entry: _Entry, code: str) -> None:
        """End it for a reason of this side, and say so."""
        self._end(entry, ending_of(code), code)
        self._say(entry.peer, Cancel(entry.fid, code))

    def _end(self, entry: _Entry, step: Step, code: str = "", by_me: bool = True) -> None:
        if self._step(entry, step, code, by_me):
            self._let_go(entry, by_me)

    def _step(self, entry: _Entry, step: Step, code: str = "", by_me: bool = True) -> bool:
        if not self._move(entry, step, code, by_me):
            return False
        if entry.kept:
            self._hold(_done(self._save(entry)))
            self._tell(entry)
        return True

    def _move(self, entry: _Entry, step: Step, code: str = "", by_me: bool = True) -> bool:
        state = after(entry.state, step)
        if state is None:
            return False
        entry.state, entry.code = state, code
        entry.reason = reason_of(code, entry.outgoing, by_me)
        if state.ended or state is TransferState.RUNNING:
            self.log.info(
                "{way} {peer} {fid}: {state} {code} ({files} files, {size} bytes)",
                way="to" if entry.outgoing else "from",
                peer=short_text(entry.peer),
                fid=entry.fid.hex()[:8],
                state=state.value,
                code=code,
                files=entry.done_files,
                size=entry.done_bytes,
            )
        return True

    def _let_go(self, entry: _Entry, by_me: bool) -> None:
        """Give back what an ended transfer held.  Who ended it waits for the other to close."""
        entry.token, entry.answer = b"", None
        if entry.deadline is not None:
            entry.deadline.cancel()
            entry.deadline = None
        if entry.dialling is not None:
            entry.dialling.cancel()
        if entry.landing is not None:
            entry.landing.close()
            entry.landing = None
        if entry.work is not None and entry.state is not TransferState.DONE:
            entry.work.stop(LocalError(entry.code, entry.reason))
        entry.work = None
        entry.files, entry.sources, entry.wants = (), (), ()
        link = entry.link
        if link is not None and link.is_open:
            if entry.state is TransferState.DONE and entry.outgoing:
                link.leave()
            elif by_me:
                self._leaving[link] = self._clock.callLater(self._limits.close_seconds, self._cut, link)
            else:
                link.abort()
        self._give_turns()

    def _cut(self, link: Link) -> None:
        del self._leaving[link]
        link.abort()

    # --- telling and keeping ------------------------------------------------------------------

    def _tell(self, entry: _Entry) -> None:
        entry.told_bytes = entry.done_bytes
        self._changed(entry.snapshot())

    def _tell_progress(self) -> None:
        running = [entry for entry in self._entries.values() if entry.state is TransferState.RUNNING and entry.rate]
        if not running:
            self._progress.stop()
        for entry in running:
            assert entry.rate is not None
            moved = entry.told_bytes != entry.done_bytes
            was = entry.rate.per_second
            entry.rate.mark(self._clock.seconds(), entry.done_bytes)
            if moved or was != entry.rate.per_second:
                self._tell(entry)

    async def _keep(self, entry: _Entry, rows: list[FileRow]) -> None:
        row = TransferRow(
            entry.peer,
            entry.fid,
            entry.outgoing,
            entry.title,
            entry.total_files,
            entry.total_bytes,
            entry.state,
            entry.code,
            entry.reason,
            "",
            entry.offered_ms,
            None,
        )
        self.log.info(
            "offer {way} {peer} {fid}: {files} files, {size} bytes",
            way="to" if entry.outgoing else "from",
            peer=short_text(entry.peer),
            fid=entry.fid.hex()[:8],
            files=entry.total_files,
            size=entry.total_bytes,
        )
        before = entry.state
        await self._store.add_transfer(row, rows)
        entry.kept = True
        if entry.state is not before:  # it went on while it was stored
            await self._save(entry)
        self._tell(entry)

    def _save(self, entry: _Entry) -> Deferred[TransferRow | None]:
        return self._store.update_transfer(
            entry.peer,
            entry.fid,
            state=entry.state,
            code=entry.code,
            reason=entry.reason,
            saved_to=entry.saved_to,
            ended_ms=self._now_ms() if entry.ended else None,
        )

    def _say(self, peer: PeerID, message: Message) -> None:
        """Send on the chat link, without waiting; if it cannot be, the file link's end will tell."""
        self._hold(self._links.send(peer, message))

    def _hold(self, work: Any) -> None:
        """Own what goes on by itself: its failure has a line in the log."""
        going: Deferred[None] = Deferred.fromCoroutine(work)
        self._saying.add(going)

        def failed(failure: Failure) -> None:
            if failure.check(ChatnetError, CancelledError):
                self.log.info("not said or not kept: {text}", text=safe_line(str(failure.value)))
            else:
                self.log.failure("a transfer met a defect of ours", failure)

        going.addErrback(failed).addCallback(lambda _: self._saying.discard(going))

    async def _send_pages(self, peer: PeerID, pages: Iterable[Message]) -> None:
        for page in pages:
            await self._links.send(peer, page)
            await deferLater(self._clock, 0)  # a hundred pages are not one turn's work

    # --- looking up ---------------------------------------------------------------------------

    def _new_entry(self, fid: bytes, peer: PeerID, outgoing: bool, summary: Summary) -> _Entry:
        return _Entry(
            fid,
            peer,
            outgoing,
            summary.title,
            summary.files,
            summary.size,
            self._now_ms(),
            tuple(summary.names),
            safe_line(summary.warning),
        )

    def _known(self, fid: bytes) -> _Entry:
        entry = self._entries.get(fid)
        if entry is None or not entry.kept:
            raise LocalError("unknown-transfer", "there is no such transfer")
        return entry

    def _offer_in(self, fid: bytes) -> _Entry:
        entry = self._known(fid)
        if entry.outgoing:
            raise LocalError("unknown-transfer", "that offer is your own")
        if entry.state is not TransferState.OFFERED:
            raise LocalError("ended", entry.reason or "that offer is answered already")
        return entry

    def _theirs(self, peer: PeerID, fid: bytes, outgoing: bool | None = None) -> _Entry | None:
        """A transfer with this peer that has not ended."""
        entry = self._entries.get(fid)
        if entry is None or entry.peer != peer or entry.ended or outgoing not in (None, entry.outgoing):
            return None
        return entry

    def _open_entries(self) -> list[_Entry]:
        return [entry for entry in self._entries.values() if not entry.ended]

    def _asker(self, peer: PeerID) -> _Asker:
        if peer not in self._askers:
            for one, asker in tuple(self._askers.items()):
                if asker.assembly is None and not asker.unwanted and not asker.sending.locked:
                    del self._askers[one]
        return self._askers.setdefault(peer, _Asker())

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)


class _FileLinkUser:
    """What a file link that we dialled serves."""

    def __init__(self, transfers: Transfers, fid: bytes) -> None:
        self._transfers = transfers
        self._fid = fid

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        raise Refused(messages.NOT_EXPECTED, "this side dialled")

    def opened(self, link: Link) -> None:
        self._transfers.file_link_opened(link, self._fid)

    def received(self, link: Link, message: Message) -> None:
        self._transfers.file_received(link, message)

    def lost(self, link: Link, end: LinkEnd) -> None:
        self._transfers.file_link_lost(link, end)


def _has_place(entry: _Entry) -> bool:
    """Whether it counts among those under way: the receiver's from its acceptance, the sender's from its start."""
    if entry.ended or entry.state is TransferState.OFFERED:
        return False
    return entry.work is not None if entry.outgoing else bool(entry.token)


def _prepare(paths: tuple[str, ...]) -> tuple[Gathered, Summary, list[FileRow]]:
    found = gather(paths)
    summary = Summary()
    for file in found.files:
        summary.add(file.offered)
    summary.warning = ""
    rows = _file_rows([file.offered for file in found.files], [file.path for file in found.files])
    return found, summary, rows


def _file_rows(files: Sequence[OfferedFile], sources: Sequence[str] = ()) -> list[FileRow]:
    return [
        FileRow(number, tuple(file.path), file.size, file.mtime_ms, sources[number] if sources else "")
        for number, file in enumerate(files)
    ]


async def _done(work: Deferred[Any]) -> None:
    await work
