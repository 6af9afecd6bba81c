"""All transfers of a peer, either way: who offered what to whom, whose turn it is, how it ended.

The rules (states, words, pages) are ``core.transfer``; the bytes go through ``sending`` and
``receiving``; this module holds what is under way and speaks with the other side.  Every transfer
ends in a named outcome that both sides are told: the one that ends it says so on the chat link and
keeps the file link until the other closes it, so that the reason arrives before the loss.

One that lost its link goes on by itself, whoever was killed: both sides dial while something is
unfinished; when a chat link is up each says how it stands, and the receiver sends its ACCEPT anew,
with what is missing.  So only the receiver begins anything, and only its disk counts.
"""

from __future__ import annotations

import hmac
import os
import random
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
from chatnet.core.backoff import Uniform, online_wait
from chatnet.core.bucket import Buckets
from chatnet.core.errors import ChatnetError, LocalError, Refused, RemoteError, StoreFailed, Unreachable
from chatnet.core.events import FileRule, RuleKind, SpeedLimits, Transfer, TransferState
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import LATE_LINKS, LEAST_SPEED, PROGRESS_SECONDS, PeerLimits
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
from chatnet.core.transfer import (
    AcceptAssembly,
    OfferAssembly,
    Pace,
    Rate,
    Step,
    accept_pages,
    after,
    ending_of,
    has_turn,
    offer_pages,
    reason_of,
)
from chatnet.net.link import Link, LinkEnd, LinkUser
from chatnet.peer.disk import Disk
from chatnet.peer.entry import (
    HERE,
    THERE,
    Entry,
    alike,
    file_rows,
    former_files,
    offered_entry,
    prepare,
    recalled_entry,
)
from chatnet.peer.ground import Ground, Place, Space
from chatnet.peer.journal import StoreJournal
from chatnet.peer.landing import Landing
from chatnet.peer.parts import STEM_BYTES, remove_orphans, remove_parts
from chatnet.peer.receiving import Receiving
from chatnet.peer.redial import Redial
from chatnet.peer.sending import Sending
from chatnet.peer.store import FileRow, PeerStore, TransferRow

FID_BYTES = 16
TOKEN_BYTES = 32
_HINDRANCES = (messages.NO_SPACE, messages.STORE)  # why a receiver holds a transfer by itself
ASKERS = 10_000  # peers whose rate of offers is remembered
SPEED_SETTINGS = ("speed_up", "speed_down")


class TransferLinks(Protocol):
    """The ways to the others."""

    async def send(self, peer: PeerID, message: Message) -> None:
        """Queue a message on the chat link, dialled if there is none, once that is not congested.

        Raises Unreachable, or another ChatnetError.
        """

    async def connect(self, peer: bytes) -> None:
        """See to an open chat link, dialled if there is none.  Raises ChatnetError."""

    async def dial_file(self, peer: PeerID, fid: bytes, token: bytes, user: LinkUser) -> Link:
        """An open link of role ``file`` that serves ``user``.  Raises ChatnetError."""


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
        uniform: Uniform = random.uniform,
        listed: Callable[[], int] = lambda: 0,
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
        self._uniform = uniform
        self._listed = listed
        self._ground = Ground(random_bytes, space, limits.free_bytes_reserve)
        self._disk = disk or Disk(reactor)
        self._entries: dict[bytes, Entry] = {}
        self._of_link: dict[Link, Entry] = {}
        self._leaving: dict[Link, IDelayedCall] = {}  # of ended transfers, until the other side closes
        self._redial = Redial(
            reactor,
            limits.retry_cap_seconds,
            uniform,
            connect=links.connect,
            waits=self._waits_for,
            go=self._continue,
            hold=self._hold,
        )
        self._askers: dict[PeerID, _Asker] = {}
        self._rules: dict[PeerID, FileRule] = {}
        self._up, self._down = Pace(), Pace()
        self._offers = Buckets(limits.offers_per_minute / 60, limits.offers_per_minute, ASKERS)
        self._saying: set[Deferred[None]] = set()
        self._progress = LoopingCall(self._tell_progress)
        self._progress.clock = reactor
        self._stopped = False

    # --- for the owner ------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what the former process left unfinished."""
        self._disk.start()
        self._rules = await self._store.file_rules()
        for pace, name in zip((self._up, self._down), SPEED_SETTINGS, strict=True):
            pace.rate = int(await self._store.get(name) or 0) or None
        rows = await self._store.transfers()
        await self._disk.run(remove_orphans, self._downloads, {row.stem for row in rows if not row.state.ended})
        for row in rows:
            files = [] if row.state.ended else await self._store.transfer_files(row.peer, row.fid)
            entry = await self._disk.run(recalled_entry, row, files)
            self._entries[entry.fid] = entry
            await self._take_up_again(entry)

    async def _take_up_again(self, entry: Entry) -> None:
        if entry.ended:
            await self._disk.run(remove_parts, self._place(entry))
            return
        too_old = self._now_ms() - entry.offered_ms > self._limits.expire_days * 86_400_000
        incomplete = entry.outgoing and len(entry.sources) < entry.total_files  # of a version that did not go on
        if too_old or incomplete:
            self._end(entry, Step.FAILED, messages.LOST)
        elif entry.under_way:
            self._step(entry, Step.BROKEN, messages.LOST)
        if entry.state is TransferState.BROKEN:
            self._redial.after(entry.peer, online_wait(self._listed(), self._uniform))

    async def stop(self) -> None:
        """Put everything down until the next start; fires when threads and timers are at rest."""
        if self._stopped:
            return
        self._stopped = True
        for entry in self._open_entries():
            if entry.under_way:
                self._move(entry, Step.BROKEN, messages.STOPPING)
                self._hold(_done(self._save(entry)))
                if link := self._halt(entry, keep=True):
                    link.abort(messages.STOPPING, "the program ends")
        for link in tuple(self._leaving):
            link.abort(messages.STOPPING, "the program ends")
        await gatherResults([entry.working for entry in self._entries.values() if entry.working is not None])
        for saying in tuple(self._saying):
            saying.cancel()
        for timer in self._leaving.values():
            timer.cancel()
        self._redial.stop()
        self._leaving.clear()
        self._askers.clear()
        if self._progress.running:
            self._progress.stop()
        self._disk.stop()

    def snapshot(self) -> tuple[Transfer, ...]:
        """Every transfer that is not forgotten, in the order of offering."""
        return tuple(entry.snapshot() for entry in self._entries.values() if entry.kept)

    async def offer(self, peer: bytes, paths: Sequence[str]) -> Transfer:
        """Offer files and folders.  Raises LocalError: no-such-file, unreadable, empty, too-many, too-deep, offline."""
        found, summary, rows = await self._disk.run(prepare, tuple(paths))
        entry = offered_entry(self._random(FID_BYTES), PeerID(peer), True, summary, self._now_ms())
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
        if entry.opening:
            return entry.snapshot()
        entry.directory, entry.person = directory, self._person(entry.peer)
        entry.stem = self._random(STEM_BYTES).hex()
        try:
            landing = await self._open_landing(entry)
        except LocalError as error:
            if error.code == messages.NO_SPACE:
                raise LocalError(error.code, f"{entry.title} {error.text}") from None
            raise
        if entry.state is not TransferState.OFFERED or self._stopped:  # it ended meanwhile
            landing.close()
            return entry.snapshot()
        self._take_up(entry, landing, Step.ACCEPTED)
        return entry.snapshot()

    async def refuse(self, fid: bytes) -> Transfer:
        """Do not take an offer.  Raises LocalError: unknown-transfer, ended."""
        entry = self._offer_in(fid)
        self._decline(entry)
        return entry.snapshot()

    async def cancel(self, fid: bytes) -> Transfer:
        """End a transfer, ours or theirs; one that has ended stays as it is.  Raises LocalError: unknown-transfer."""
        entry = self._known(fid)
        if not entry.ended:
            self._give_up(entry, messages.USER)
        return entry.snapshot()

    def end_all_with(self, peer: bytes) -> None:
        """The person wants nothing of ``peer`` any more: what is open ends as if it was cancelled by hand."""
        for entry in self._open_entries():
            if entry.peer != peer:
                continue
            if entry.state is TransferState.OFFERED and not entry.outgoing:
                self._decline(entry)
            else:
                self._give_up(entry, messages.USER)

    async def pause(self, fid: bytes) -> Transfer:
        """Hold a transfer until ``resume``.  Raises LocalError: unknown-transfer, ended, not-running."""
        entry = self._unfinished(fid)
        if entry.state is TransferState.OFFERED:
            raise LocalError("not-running", "There is nothing to pause before the offer is accepted.")
        if not entry.paused & HERE:
            self._pause(entry, messages.PAUSED)
        return entry.snapshot()

    async def resume(self, fid: bytes) -> Transfer:
        """Let it go on; a broken one is tried now.  Raises LocalError: unknown-transfer, ended, paused-there."""
        entry = self._unfinished(fid)
        if entry.paused & HERE:
            entry.paused &= ~HERE
            self._say(entry.peer, Resume(fid))
            self._lift(entry)
        if entry.paused:
            name = self._person(entry.peer)
            raise LocalError("paused-there", f"{name} holds it too: it goes on when {name} lets it.")
        self._redial.now(entry.peer)
        return entry.snapshot()

    def speed_limits(self) -> SpeedLimits:
        return SpeedLimits(self._up.rate, self._down.rate)

    async def set_speed_limits(self, up: int | None, down: int | None) -> SpeedLimits:
        """Bytes a second of all transfers together, from now on.  Raises LocalError("too-slow")."""
        for speed in (up, down):
            if speed is not None and speed < LEAST_SPEED:
                raise LocalError(
                    "too-slow", f"{LEAST_SPEED // 1024} KiB/s is the lowest limit; /pause holds a transfer."
                )
        self._up.rate, self._down.rate = up, down
        for entry in self._open_entries():
            if entry.work is not None:
                entry.work.limit_changed()
        for name, speed in zip(SPEED_SETTINGS, (up, down), strict=True):
            await self._store.put(name, str(speed or 0))
        return self.speed_limits()

    def rule(self, peer: bytes) -> FileRule:
        """What happens to the offers of ``peer``."""
        return self._rules.get(PeerID(peer), FileRule())

    async def set_rule(self, peer: bytes, rule: FileRule) -> FileRule:
        """From the next offer on."""
        await self._store.set_file_rule(PeerID(peer), rule)
        self._rules[PeerID(peer)] = rule
        return rule

    async def forget_ended(self) -> None:
        """Drop the ended transfers."""
        for fid in [entry.fid for entry in self._entries.values() if entry.ended and entry.kept]:
            del self._entries[fid]
        await self._store.forget_ended()

    # --- from chat links ----------------------------------------------------------------------

    def received(self, peer: bytes, message: Message) -> None:
        """OFFER, ACCEPT, DECLINE, DIALME, CANCEL, PAUSE, RESUME or VERIFIED; RemoteError for what cannot be."""
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
                if message.code == messages.LOST and entry.outgoing and entry.state is TransferState.OFFERED:
                    self._hold(self._offer_again(entry))
                else:
                    self._end(entry, ending_of(message.code), message.code, by_me=False)
        elif isinstance(message, Pause):
            if (entry := self._theirs(who, message.fid)) and entry.state is not TransferState.OFFERED:
                self._paused_there(entry, message.code)
        elif isinstance(message, Resume):
            self._on_resume(who, message.fid)
        elif isinstance(message, Verified):
            entry = self._theirs(who, message.fid, outgoing=True)
            if entry and after(entry.state, Step.VERIFIED):
                entry.done_files, entry.done_bytes = entry.total_files, entry.total_bytes
                self._end(entry, Step.VERIFIED)

    def peer_reachable(self, peer: bytes) -> None:
        """A chat link to ``peer`` is open: each side says how its unfinished transfers stand."""
        who = PeerID(peer)
        self._redial.up(who)
        for entry in self._open_entries():
            if entry.peer != who or not entry.kept:
                continue
            entry.answer = None
            if entry.paused & HERE:
                self._say(who, Pause(entry.fid, entry.code if entry.code in _HINDRANCES else messages.PAUSED))
            elif entry.state is TransferState.OFFERED:
                if entry.outgoing:
                    self._say(who, Resume(entry.fid))
            elif entry.state is TransferState.PAUSED or (entry.outgoing and entry.state is TransferState.BROKEN):
                self._say(who, Resume(entry.fid))
            elif entry.state is TransferState.BROKEN:
                self._hold(self._go_on(entry))
            elif not entry.outgoing and entry.token and entry.link is None and entry.work is None:
                self._hold(self._send_answer(entry))  # it may have gone with the link before

    def peer_unreachable(self, peer: bytes) -> None:
        """The chat link to ``peer`` is gone: what was to begin by it breaks off; what has a file link runs on."""
        who = PeerID(peer)
        if who in self._askers:
            self._askers[who].assembly, self._askers[who].unwanted = None, b""
        for entry in self._open_entries():
            if entry.peer != who or not entry.kept:
                continue
            entry.answer = None
            if entry.state is TransferState.QUEUED and entry.token and entry.link is None:
                self._break(entry, messages.LOST)
        self._redial.down(who)

    def came_online(self, peer: bytes) -> None:
        """A sign of life of ``peer``: one early try for what is unfinished."""
        who = PeerID(peer)
        if who not in self._redial.linked and self._waits_for(who):
            self._redial.after(who, online_wait(self._listed(), self._uniform))

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
        entry.late = 0
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
        if entry.ended:
            return
        if end.code == messages.BAD_FRAME:
            self._end(entry, Step.FAILED, end.code, by_me=not end.by_remote)
            self._say(entry.peer, Cancel(entry.fid, end.code))
        else:
            self._break(entry, messages.LOST)

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
            entry = offered_entry(page.fid, peer, False, assembly.summary, self._now_ms())
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

    async def _take_offer(self, entry: Entry) -> None:
        try:
            rows = await self._disk.run(file_rows, entry.files)
            await self._keep(entry, rows)
        except (StoreFailed, sqlite3.IntegrityError) as error:  # full, or a fid that was used and forgotten
            del self._entries[entry.fid]
            code = messages.STORE if isinstance(error, StoreFailed) else messages.CONFLICT
            await self._links.send(entry.peer, Decline(entry.fid, code))
            return
        if entry.state is TransferState.OFFERED:
            await self._apply_rule(entry)

    async def _apply_rule(self, entry: Entry) -> None:
        rule = self.rule(entry.peer)
        try:
            if rule.kind is RuleKind.REFUSE:
                await self.refuse(entry.fid)
            elif rule.kind is RuleKind.AUTO and (not rule.max_bytes or entry.total_bytes <= rule.max_bytes):
                await self.accept(entry.fid)
        except LocalError as error:  # too little space: the person decides
            self.log.info("an offer was not taken by its rule: {text}", text=error.text)

    async def _offer_again(self, entry: Entry) -> None:
        """An offer that got lost with its link."""
        pages = offer_pages(entry.fid, entry.files)
        sending = self._asker(entry.peer).sending
        await sending.run(lambda: Deferred.fromCoroutine(self._send_pages(entry.peer, pages)))

    def _on_accept(self, peer: PeerID, page: Accept) -> None:
        entry = self._theirs(peer, page.fid, outgoing=True)
        if entry is None:
            if not page.more:
                self._hold(self._tell_outcome(peer, page.fid))
            return
        entry.answer = entry.answer or AcceptAssembly(entry.files)
        if not entry.answer.add(page):
            return
        answer, entry.answer = entry.answer, None
        if answer.token == entry.token:
            return  # said twice
        if entry.paused & HERE:
            self._say(peer, Pause(entry.fid, messages.PAUSED))
            return
        entry.paused = 0
        if entry.state is TransferState.OFFERED:
            step = Step.ACCEPTED
        else:
            step = Step.RESUMED
            if link := self._halt(entry, keep=True):
                link.abort(messages.LOST, "a newer one takes its place")
            self._move(entry, Step.BROKEN, messages.LOST)
        entry.wants, entry.token = answer.wants, answer.token
        self._count(entry, sum(entry.files[want.file].size - want.offset for want in entry.wants))
        self._step(entry, step)
        self._wait_for_link(entry)
        self._dial(entry, self._limits.dial_me_seconds)

    # --- breaking off and going on --------------------------------------------------------------

    def _on_resume(self, peer: PeerID, fid: bytes) -> None:
        entry = self._theirs(peer, fid)
        if entry is None:
            self._hold(self._tell_outcome(peer, fid))
        elif entry.paused & HERE:
            self._say(peer, Pause(fid, messages.PAUSED))
        elif entry.paused:
            entry.paused = 0
            self._lift(entry)
            self._redial.now(peer)
        elif not entry.outgoing and entry.state is TransferState.BROKEN:
            self._hold(self._go_on(entry))

    async def _tell_outcome(self, peer: PeerID, fid: bytes) -> None:
        """Somebody asks about a transfer that is not open here, perhaps from before we forgot it."""
        row = await self._store.transfer(peer, fid)
        if row is None or not row.state.ended:
            answer: Message = Cancel(fid, messages.LOST)
        elif row.state is TransferState.DONE:
            answer = Cancel(fid, messages.LOST) if row.outgoing else Verified(fid)
        elif row.state is TransferState.DECLINED and not row.outgoing:
            answer = Decline(fid, row.code)
        else:
            answer = Cancel(fid, row.code or messages.LOST)
        if fid not in self._entries or self._entries[fid].ended:
            await self._links.send(peer, answer)

    def _break(self, entry: Entry, code: str) -> None:
        """The link is gone: it goes on another time."""
        if link := self._halt(entry, keep=True):
            link.abort(messages.LOST, "it goes on another time")
        self._step(entry, Step.BROKEN, code)
        self._redial.later(entry.peer)
        self._give_turns()

    def _pause(self, entry: Entry, code: str) -> None:
        """Hold it, for a person's wish or for what is in its way here, and say so."""
        entry.paused |= HERE
        self._rest_paused(entry, code, by_me=True)
        self._say(entry.peer, Pause(entry.fid, code))

    def _paused_there(self, entry: Entry, code: str) -> None:
        entry.paused |= THERE
        if not entry.paused & HERE:
            self._rest_paused(entry, code, by_me=False)

    def _rest_paused(self, entry: Entry, code: str, by_me: bool) -> None:
        if link := self._halt(entry, keep=True):
            self._part(link, by_me)
        if not self._step(entry, Step.PAUSED, code, by_me):  # it is already: somebody else holds it
            entry.code, entry.reason = code, reason_of(code, entry.outgoing, by_me)
            self._hold(_done(self._save(entry)))
            self._tell(entry)
        self._give_turns()

    def _lift(self, entry: Entry) -> None:
        """Somebody holds it no more."""
        if not entry.paused:
            self._step(entry, Step.BROKEN)
        else:
            self._rest_paused(entry, messages.PAUSED, by_me=bool(entry.paused & HERE))

    def _halt(self, entry: Entry, keep: bool) -> Link | None:
        """Give back what a transfer holds while it is under way; its file link is the caller's to end.

        ``keep`` what the disk has of it, for another time.
        """
        entry.token, entry.answer, entry.rate = b"", None, None
        if entry.deadline is not None:
            entry.deadline.cancel()
            entry.deadline = None
        dialling, entry.dialling = entry.dialling, None
        if dialling is not None:
            dialling.cancel()
        if entry.landing is not None:
            entry.landing.close()
            entry.landing = None
        work, entry.work = entry.work, None
        if isinstance(work, Receiving):
            work.stop(LocalError(entry.code, "it goes no further"), keep)
        elif work is not None:
            work.stop(LocalError(entry.code, "it goes no further"))
        link, entry.link = entry.link, None
        if link is not None:
            self._of_link.pop(link, None)
        return link

    async def _go_on(self, entry: Entry) -> None:
        """Take up a received transfer where the disk has it; nothing happens before the last run has come to rest."""
        if entry.state is not TransferState.BROKEN or entry.opening or entry.working is not None or self._stopped:
            return
        try:
            landing = await self._open_landing(entry)
        except LocalError as error:
            if entry.state is TransferState.BROKEN:
                self._hinder(entry, error)
            return
        except StoreFailed as error:
            if entry.state is TransferState.BROKEN:
                self._hinder(entry, error)
            return
        if entry.state is TransferState.BROKEN and not self._stopped:
            self._take_up(entry, landing, Step.RESUMED)
            return
        landing.close()
        if entry.ended:
            await self._disk.run(remove_parts, self._place(entry))

    async def _open_landing(self, entry: Entry) -> Landing:
        entry.opening = True
        try:
            rows = await self._store.transfer_files(entry.peer, entry.fid)
            if entry.likes is None:
                received = await self._store.received_files(entry.peer)
                entry.likes = await self._disk.run(alike, entry.files, received)
            former = await self._disk.run(former_files, rows, entry.likes)
            return await self._disk.run(
                Landing, self._place(entry), entry.files, self._ground, former, self._journal(entry)
            )
        finally:
            entry.opening = False

    def _take_up(self, entry: Entry, landing: Landing, step: Step) -> None:
        entry.landing, entry.wants = landing, landing.wants
        landing.placed = []
        self._count(entry, landing.wanted_bytes)
        entry.done_files = landing.done_files
        if landing.wants:
            self._step(entry, step)
            self._give_turns()
        else:  # everything was here; only the word was missing
            self._move(entry, step)
            entry.saved_to = landing.saved_to
            self._hold(self._verified(entry, None))

    def _count(self, entry: Entry, wanted_bytes: int) -> None:
        entry.done_bytes = entry.total_bytes - wanted_bytes
        entry.resumed_from = entry.done_bytes
        if entry.outgoing:
            entry.done_files = entry.total_files - len(entry.wants)

    def _place(self, entry: Entry) -> Place:
        return Place(self._downloads, entry.person, entry.directory, entry.stem)

    def _journal(self, entry: Entry) -> StoreJournal:
        return StoreJournal(self._clock, self._store, entry.peer, entry.fid)

    def _hinder(self, entry: Entry, error: ChatnetError) -> None:
        """What stands in a receiver's way: it is held where that may pass, else it ends."""
        if isinstance(error, StoreFailed) or error.code == messages.NO_SPACE:
            self._pause(entry, messages.STORE if isinstance(error, StoreFailed) else error.code)
        else:
            self._end(entry, Step.FAILED, error.code)
            self._say(entry.peer, Cancel(entry.fid, error.code))

    def _waits_for(self, peer: PeerID) -> bool:
        return any(entry.peer == peer and entry.state is TransferState.BROKEN for entry in self._entries.values())

    def _continue(self, peer: PeerID) -> None:
        """Over an open link: the receiver begins, the sender asks for it."""
        for entry in self._open_entries():
            if entry.peer == peer and entry.state is TransferState.BROKEN:
                if entry.outgoing:
                    self._say(peer, Resume(entry.fid))
                else:
                    self._hold(self._go_on(entry))

    # --- the file link ------------------------------------------------------------------------

    def _wait_for_link(self, entry: Entry) -> None:
        entry.deadline = self._clock.callLater(self._limits.file_link_seconds, self._too_late, entry)

    def _too_late(self, entry: Entry) -> None:
        entry.deadline = None
        entry.late += 1
        if entry.late >= LATE_LINKS:
            self._give_up(entry, messages.LATE)
        else:
            self._break(entry, messages.LATE)

    def _dial(self, entry: Entry, seconds: float) -> None:
        dial = self._links.dial_file(entry.peer, entry.fid, entry.token, _FileLinkUser(self, entry.fid))
        entry.dialling = Deferred.fromCoroutine(dial).addTimeout(seconds, self._clock)
        self._hold(self._dialled(entry, entry.dialling))

    async def _dialled(self, entry: Entry, dialling: Deferred[Link]) -> None:
        try:
            await dialling
        except (ChatnetError, DeferredTimeout, CancelledError) as error:
            if entry.outgoing and entry.dialling is dialling and entry.token and entry.link is None:
                self.log.info(
                    "no file link to {peer} ({error}): they are asked", peer=short_text(entry.peer), error=error
                )
                self._say(entry.peer, DialMe(entry.fid))
        finally:
            if entry.dialling is dialling:
                entry.dialling = None

    # --- turns --------------------------------------------------------------------------------

    def _give_turns(self) -> None:
        """Let begin what may: acceptances go out, files go out."""
        for entry in tuple(self._entries.values()):
            if entry.state is not TransferState.QUEUED or self._stopped:
                continue
            under_way = [e.peer for e in self._entries.values() if e.outgoing is entry.outgoing and e.has_place]
            if entry.has_place or not has_turn(entry.peer, under_way, self._limits):
                continue
            if not entry.outgoing:
                entry.token = self._random(TOKEN_BYTES)
                self._wait_for_link(entry)
                self._hold(self._send_answer(entry))
            elif entry.link is not None:
                self._send(entry, entry.link)

    async def _send_answer(self, entry: Entry) -> None:
        token = entry.token
        try:
            await self._send_pages(entry.peer, accept_pages(entry.fid, token, entry.wants))
        except ChatnetError:
            if entry.token == token and entry.link is None and entry.under_way:
                self._break(entry, messages.LOST)
                self._redial.failed(entry.peer)

    def _send(self, entry: Entry, link: Link) -> None:
        had = entry.done_files

        def sent(count: int) -> None:
            if entry.work is sending:
                entry.done_bytes += count
                entry.done_files = had + sending.done_files

        def complete() -> None:
            if entry.work is sending:
                self._complete(entry)

        sending = Sending(link, entry.sources, entry.wants, self._disk, self._clock, self._up, sent, complete)
        entry.work = sending
        self._start(entry)
        entry.working = Deferred.fromCoroutine(self._see_through(entry, sending))

    def _receive(self, entry: Entry, link: Link) -> None:
        def arrived(count: int) -> None:
            entry.done_bytes += count

        def settled(count: int) -> None:
            entry.done_files += count

        landing, entry.landing = entry.landing, None
        assert landing is not None
        receiving = Receiving(
            link,
            entry.files,
            entry.wants,
            landing,
            self._disk,
            self._limits.write_ahead_bytes,
            self._clock,
            self._down,
            arrived,
            settled,
            lambda: self._complete(entry),
        )
        entry.work = receiving
        entry.working = Deferred.fromCoroutine(self._see_through(entry, receiving, landing))

    async def _see_through(self, entry: Entry, work: Sending | Receiving, landing: Landing | None = None) -> None:
        link = entry.link
        try:
            await work.run()
        except ChatnetError as error:
            if entry.work is work:
                self._went_wrong(entry, link, error)
        except Exception:
            self.log.failure("a transfer met a defect of ours")
            if entry.work is work:
                self._give_up(entry, messages.UNREADABLE if entry.outgoing else messages.UNWRITABLE)
        else:
            if landing is None or not landing.unlike:
                entry.done_files = entry.total_files
                entry.saved_to = landing.saved_to if landing else ""
                await self._verified(entry, link)
        finally:
            if entry.work in (work, None):
                entry.working = None
            self._at_rest(entry, work, landing)

    def _went_wrong(self, entry: Entry, link: Link | None, error: ChatnetError) -> None:
        if isinstance(error, Refused):  # the receiver's REJECT
            self._end(entry, Step.FAILED, error.code, by_me=False)
        elif entry.outgoing and error.code == messages.LOST:
            self._break(entry, messages.LOST)
        elif entry.outgoing or not isinstance(error, LocalError | StoreFailed):
            self._give_up(entry, error.code)
        elif isinstance(error, LocalError) and error.code != messages.NO_SPACE and link is not None and link.is_open:
            self._end(entry, Step.FAILED, error.code)  # a REJECT has said it
        else:
            self._hinder(entry, error)

    def _at_rest(self, entry: Entry, work: Sending | Receiving, landing: Landing | None) -> None:
        """A run is over and the disk quiet: what waited for that may begin."""
        if landing is None or self._stopped:
            return
        if landing.unlike and entry.work is work:  # some files of before are not the same: they are wanted whole
            entry.likes = {index: path for index, path in (entry.likes or {}).items() if index not in landing.unlike}
            if link := self._halt(entry, keep=True):
                self._part(link, by_me=True)
            self._move(entry, Step.BROKEN)
            self._hold(self._go_on(entry))
        elif entry.state is TransferState.BROKEN and not self._redial.is_due(entry.peer):
            self._redial.now(entry.peer)
        elif entry.ended and entry.state is not TransferState.DONE:
            self._hold(_done(self._disk.run(remove_parts, self._place(entry))))

    async def _verified(self, entry: Entry, link: Link | None) -> None:
        if entry.outgoing:
            entry.done_bytes = entry.total_bytes
            self._end(entry, Step.VERIFIED)
            return
        # Committed, with everything before it, ahead of the word that the other side relies on.
        if not self._move(entry, Step.VERIFIED):
            return
        try:
            await self._save(entry)
        except StoreFailed as error:
            self.log.warn("a finished transfer could not be marked: {text}", text=error.text)
        if link is not None and link.is_open:
            link.send(Verified(entry.fid))
        else:
            self._say(entry.peer, Verified(entry.fid))
        self._tell(entry)
        self._let_go(entry, by_me=True)

    # --- steps --------------------------------------------------------------------------------

    def _start(self, entry: Entry) -> None:
        entry.rate = Rate(self._clock.seconds())
        self._step(entry, Step.STARTED)
        if not self._progress.running and not self._stopped:
            self._progress.start(PROGRESS_SECONDS, now=False)

    def _complete(self, entry: Entry) -> None:
        if entry.rate is not None:
            entry.rate.mark(self._clock.seconds(), entry.done_bytes)
        self._step(entry, Step.COMPLETE)

    def _decline(self, entry: Entry) -> None:
        self._end(entry, Step.DECLINED, messages.DECLINED)
        self._say(entry.peer, Decline(entry.fid, messages.DECLINED))

    def _give_up(self, entry: Entry, code: str) -> None:
        """End it for a reason of this side, and say so."""
        self._end(entry, ending_of(code), code)
        self._say(entry.peer, Cancel(entry.fid, code))

    def _end(self, entry: Entry, step: Step, code: str = "", by_me: bool = True) -> None:
        if self._step(entry, step, code, by_me):
            self._let_go(entry, by_me)

    def _step(self, entry: Entry, step: Step, code: str = "", by_me: bool = True) -> bool:
        if not self._move(entry, step, code, by_me):
            return False
        if entry.kept:
            self._hold(_done(self._save(entry)))
            self._tell(entry)
        return True

    def _move(self, entry: Entry, step: Step, code: str = "", by_me: bool = True) -> bool:
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

    def _let_go(self, entry: Entry, by_me: bool) -> None:
        """Give back what an ended transfer held.  Who ended it waits for the other to close."""
        done, working = entry.state is TransferState.DONE, entry.working is not None
        rate = entry.rate
        if done:
            entry.work = None  # it has ended by itself
        link = self._halt(entry, keep=False)
        entry.rate = rate
        entry.files, entry.sources, entry.wants, entry.likes = (), (), (), None
        if link is not None and done and entry.outgoing:
            link.leave()
        elif link is not None:
            self._part(link, by_me)
        if not entry.outgoing and not done and not working and not entry.opening and entry.stem:
            self._hold(_done(self._disk.run(remove_parts, self._place(entry))))
        self._give_turns()

    def _part(self, link: Link, by_me: bool) -> None:
        """Leave a file link: who speaks first waits for the other to close."""
        if by_me and link.is_open:
            self._leaving[link] = self._clock.callLater(self._limits.close_seconds, self._cut, link)
        else:
            link.abort()

    def _cut(self, link: Link) -> None:
        del self._leaving[link]
        link.abort()

    # --- telling and keeping ------------------------------------------------------------------

    def _tell(self, entry: Entry) -> None:
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

    async def _keep(self, entry: Entry, rows: list[FileRow]) -> None:
        row = entry.row()
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

    def _save(self, entry: Entry) -> Deferred[TransferRow | None]:
        return self._store.update_transfer(
            entry.peer,
            entry.fid,
            state=entry.state,
            code=entry.code,
            reason=entry.reason,
            saved_to=entry.saved_to,
            directory=entry.directory,
            stem=entry.stem,
            paused=entry.paused,
            person=entry.person,
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

    def _known(self, fid: bytes) -> Entry:
        entry = self._entries.get(fid)
        if entry is None or not entry.kept:
            raise LocalError("unknown-transfer", "There is no such transfer.")
        return entry

    def _unfinished(self, fid: bytes) -> Entry:
        entry = self._known(fid)
        if entry.ended:
            raise LocalError("ended", entry.reason or "That transfer has ended.")
        return entry

    def _offer_in(self, fid: bytes) -> Entry:
        entry = self._known(fid)
        if entry.outgoing:
            raise LocalError("unknown-transfer", "That offer is your own.")
        if entry.state is not TransferState.OFFERED:
            raise LocalError("ended", entry.reason or "That offer is answered already.")
        return entry

    def _theirs(self, peer: PeerID, fid: bytes, outgoing: bool | None = None) -> Entry | None:
        """A transfer with this peer that has not ended."""
        entry = self._entries.get(fid)
        if entry is None or entry.peer != peer or entry.ended or outgoing not in (None, entry.outgoing):
            return None
        return entry

    def _open_entries(self) -> list[Entry]:
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


async def _done(work: Deferred[Any]) -> None:
    await work
