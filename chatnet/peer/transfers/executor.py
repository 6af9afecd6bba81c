"""Carries out what the machines of the transfers ask for: one table of effects, and no decision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.backoff import Uniform, peer_wait
from chatnet.core.identity import short_text
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import OFFER_REST
from chatnet.core.transfer import transfer_events as ev
from chatnet.core.transfer.offers import NO_REST, accept_pages, offer_pages
from chatnet.core.transfer.transfer_machine import TransferMachine
from chatnet.net.background import BackgroundTasks
from chatnet.net.link import LinkUser
from chatnet.net.timers import KeyedTimers, cancel_timer
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.files.filesystem import Filesystem
from chatnet.peer.files.source import trouble_of
from chatnet.peer.store.peer_store import PeerStore
from chatnet.peer.transfers.background import TransferTasks
from chatnet.peer.transfers.chat_line import ChatLine
from chatnet.peer.transfers.downloads import Downloads
from chatnet.peer.transfers.held_offers import HeldOffers
from chatnet.peer.transfers.managed import ManagedTransfer, Outgoing
from chatnet.peer.transfers.offering import Offering
from chatnet.peer.transfers.owner import TransferLinks, TransferListener
from chatnet.peer.transfers.preferences import TransferPreferences
from chatnet.peer.transfers.runs import Runs
from chatnet.peer.transfers.table import TransferTable
from chatnet.peer.transfers.turns import Turns

# For all looks at files that are offered: a disk that does not answer keeps these, and none of the downloads.
LOOK_THREADS = 4


class Executor:
    """The ``TransferOwner``.  ``served`` serves the file links that this side dials."""

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        store: PeerStore,
        links: TransferLinks,
        listener: TransferListener,
        held: HeldOffers,
        disk: DiskPool,
        filesystem: Filesystem,
        served: LinkUser,
        *,
        random_bytes: Callable[[int], bytes],
        uniform: Uniform,
        wall_ms: Callable[[], int],
        waiting_ms: Callable[[], int],
    ) -> None:
        self.tasks = TransferTasks(clock)
        self.preferences = TransferPreferences(store)
        self.table = TransferTable(clock, store, self, listener, held, wall_ms, waiting_ms)
        self.offering = Offering(clock, limits, self.table, self)
        self.turns = Turns(limits, self, random_bytes)
        self.runs = Runs(clock, limits, self, self.tasks, links, self.preferences, disk, served)
        self.downloads = Downloads(clock, store, self, self.tasks, disk, filesystem)
        self._clock = clock
        self._limits = limits
        self._contacts = KeyedTimers(clock, links.wake)
        self._looks = BackgroundTasks(self.log)  # not of a peer's tasks: one that hangs does not stop the reading
        self._look_threads = DiskPool(clock, LOOK_THREADS)
        self._uniform = uniform
        self._stopped = False

    def give(self, transfer: ManagedTransfer, event: ev.Input) -> tuple[ev.Effect, ...]:
        """Hand ``event`` to the transfer's machine and carry out what it asks for; nothing once all is stopped."""
        if self._stopped:
            return ()
        effects = transfer.machine.handle(event)
        self.carry_out(transfer, effects)
        return effects

    def give_all(self, event: ev.Input) -> None:
        """Give the same event to every transfer."""
        for transfer in self.table.all():
            self.give(transfer, event)

    def carry_out(self, transfer: ManagedTransfer, effects: tuple[ev.Effect, ...]) -> None:
        """Carry out ``effects`` in their order."""
        for effect in effects:
            _EFFECTS[type(effect)](self, transfer, effect)

    def start(self) -> None:
        """Start: from now on files can be looked at."""
        self._look_threads.start()

    def stop(self) -> None:
        """Put every transfer down until the next start; no timer and no link is left, threads may still work."""
        self.downloads.stop()
        self.give_all(ev.Stopping())
        self._stopped = True
        self.offering.stop()
        self._contacts.stop()
        self.runs.stop()
        self.table.stop()
        self._looks.stop()
        self._look_threads.stop()

    # --- words ----------------------------------------------------------------------------------

    def _line(self, transfer: ManagedTransfer) -> ChatLine | None:
        return self.tasks.lines.get(transfer.peer)

    def _send(self, transfer: ManagedTransfer, effect: ev.Send) -> None:
        if line := self._line(transfer):
            line.send(effect.message)

    def _let_offer(self, transfer: ManagedTransfer, _: ev.LetOffer) -> None:
        self.offering.ask(transfer.peer)

    def _look_at_files(self, transfer: Outgoing, _: ev.LookAtFiles) -> None:
        if not transfer.looking:
            transfer.looking = True
            self._looks.spawn(self._look(transfer), "looking at files to offer")

    async def _look(self, transfer: Outgoing) -> None:
        code = messages.INTERNAL_ERROR
        try:
            code = await self._look_threads.run(trouble_of, transfer.sources)
        finally:
            transfer.looking = False
            self.give(transfer, ev.FilesSeen(code))

    def _send_offer(self, transfer: Outgoing, _: ev.SendOffer) -> None:
        if line := self._line(transfer):
            knows_rest = OFFER_REST in line.link.features
            line.send_pages(offer_pages(transfer.fid, transfer.files, transfer.rest if knows_rest else NO_REST))
            if transfer.rest.folders and transfer.is_rest_unknown == knows_rest:
                transfer.is_rest_unknown = not knows_rest
                self._persist(transfer, ev.Persist((ev.Tell(),)))
            self._await_heard(line, transfer, ev.WordHeard())
            self.offering.made(transfer.peer)

    def _send_accept(self, transfer: ManagedTransfer, effect: ev.SendAccept) -> None:
        if (line := self._line(transfer)) and transfer.run is not None and transfer.run.download is not None:
            line.send_pages(accept_pages(transfer.fid, effect.token, transfer.run.download.wants))

    def _confirm(self, transfer: ManagedTransfer, effect: ev.Confirm) -> None:
        if line := self._line(transfer):
            self._await_heard(line, transfer, effect.heard)

    def _await_heard(self, line: ChatLine, transfer: ManagedTransfer, event: ev.Input) -> None:
        machine = transfer.machine
        line.confirm(lambda: self._heard(transfer, machine, event))

    def _heard(self, transfer: ManagedTransfer, machine: TransferMachine, event: ev.Input) -> None:
        """Give ``event`` to the transfer, unless another machine has taken the place of the one that asked for it."""
        if transfer.machine is machine:
            self.give(transfer, event)

    # --- timers and the store -------------------------------------------------------------------

    def _arm(self, transfer: ManagedTransfer, effect: ev.Arm) -> None:
        cancel_timer(transfer.timers.get(effect.timer))
        transfer.timers[effect.timer] = self._clock.callLater(effect.seconds, self._fire, transfer, effect.timer)

    def _retry(self, transfer: ManagedTransfer, effect: ev.Retry) -> None:
        seconds = peer_wait(effect.failures, self._limits.retry_cap_seconds, self._uniform)
        self._arm(transfer, ev.Arm(ev.Timer.RETRY, seconds))

    def _disarm(self, transfer: ManagedTransfer, effect: ev.Disarm) -> None:
        cancel_timer(transfer.timers.pop(effect.timer, None))

    def _fire(self, transfer: ManagedTransfer, timer: ev.Timer) -> None:
        del transfer.timers[timer]
        self.give(transfer, ev.INPUT_OF_TIMER[timer])

    def _persist(self, transfer: ManagedTransfer, effect: ev.Persist) -> None:
        self.tasks.spawn(transfer.peer, self._save(transfer, effect.then), "storing how a transfer stands")

    async def _save(self, transfer: ManagedTransfer, then: tuple[ev.Effect, ...]) -> None:
        await self.table.save(transfer)
        if not self._stopped:
            self.carry_out(transfer, then)

    # --- the rest -------------------------------------------------------------------------------

    def _stop_run(self, transfer: ManagedTransfer, effect: ev.StopRun) -> None:
        run, transfer.run = transfer.run, None
        if run is not None:
            run.stop(effect.keep)

    def _contact(self, transfer: ManagedTransfer, _: ev.Contact) -> None:
        self._contacts.arm(transfer.peer)

    def _objection(self, transfer: ManagedTransfer, effect: ev.Objection) -> None:
        self.log.debug("not possible for {peer}: {code}", peer=short_text(transfer.peer), code=effect.code)


# Machine, transfer and effect belong together, which no type of a table can say.
_EFFECTS: dict[type[ev.Effect], Callable[[Executor, Any, Any], None]] = {
    ev.Send: Executor._send,
    ev.LetOffer: Executor._let_offer,
    ev.LookAtFiles: Executor._look_at_files,
    ev.SendOffer: Executor._send_offer,
    ev.SendAccept: Executor._send_accept,
    ev.Confirm: Executor._confirm,
    ev.SayVerified: lambda executor, transfer, effect: executor.runs.say_verified(transfer),
    ev.DialFile: lambda executor, transfer, effect: executor.runs.dial(transfer, effect.token, effect.seconds),
    ev.StartSending: lambda executor, transfer, effect: executor.runs.send(transfer),
    ev.StartReceiving: lambda executor, transfer, effect: executor.runs.receive(transfer),
    ev.StopRun: Executor._stop_run,
    ev.LeaveLink: lambda executor, transfer, effect: executor.runs.leave(transfer, effect.how),
    ev.RefuseLink: lambda executor, transfer, effect: executor.runs.refuse(transfer),
    ev.OpenDownload: lambda executor, transfer, effect: executor.downloads.open(transfer),
    ev.RemoveParts: lambda executor, transfer, effect: executor.downloads.remove_parts(transfer),
    ev.LookForSpace: lambda executor, transfer, effect: executor.downloads.look_for_space(transfer, effect.code),
    ev.Arm: Executor._arm,
    ev.Retry: Executor._retry,
    ev.Disarm: Executor._disarm,
    ev.Persist: Executor._persist,
    ev.Tell: lambda executor, transfer, effect: executor.table.tell(transfer),
    ev.AskTurn: lambda executor, transfer, effect: executor.turns.ask(transfer),
    ev.FreeTurn: lambda executor, transfer, effect: executor.turns.free(transfer),
    ev.Contact: Executor._contact,
    ev.Objection: Executor._objection,
}
assert set(_EFFECTS) == set(ev.EFFECTS)
