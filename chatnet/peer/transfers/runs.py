"""The runs of transfers: dials, accepts and closes file links, and moves bytes over them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.errors import ChatnetError, Refused, RemoteError, StoreFailed
from chatnet.core.identity import short_text
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import SKIP, Message, Reject, Verified
from chatnet.core.transfer.transfer_events import (
    FileDialFailed,
    FileLinkLost,
    FileLinkOpened,
    Input,
    Leave,
    RunBegan,
    RunComplete,
    RunFailed,
    RunHindered,
    RunMismatched,
    RunRefused,
    RunRested,
    RunVerified,
)
from chatnet.net.link import Link, LinkEnd, LinkUser
from chatnet.net.timers import cancel_timer
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.transfers.background import TransferTasks
from chatnet.peer.transfers.managed import ActiveRun, Incoming, ManagedTransfer, Outgoing
from chatnet.peer.transfers.owner import TransferLinks, TransferOwner
from chatnet.peer.transfers.preferences import TransferPreferences
from chatnet.peer.transfers.receiver import Receiver, pass_over
from chatnet.peer.transfers.sender import Sender

# What stands in the way of a run and may pass; everything else ends its transfer.
PASSING = frozenset({messages.NO_SPACE, messages.NO_INODES, messages.STORE, messages.BUSY, messages.LOST})


class Runs:
    """``served`` serves the file links that this side dials."""

    log = Logger("chatnet.transfers")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        owner: TransferOwner,
        tasks: TransferTasks,
        links: TransferLinks,
        preferences: TransferPreferences,
        disk: DiskPool,
        served: LinkUser,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._owner = owner
        self._tasks = tasks
        self._links = links
        self._preferences = preferences
        self._disk = disk
        self._served = served
        self._of_link: dict[Link, ManagedTransfer] = {}
        self._leaving: dict[Link, IDelayedCall] = {}  # until the other side closes

    def stop(self) -> None:
        """Stop: no link of a transfer is left, and no timer."""
        for link in tuple(self._leaving):
            link.abort(messages.STOPPING, "the program ends")
        for timer in self._leaving.values():
            cancel_timer(timer)
        self._leaving.clear()

    # --- file links -----------------------------------------------------------------------------

    def dial(self, transfer: ManagedTransfer, token: bytes, seconds: float) -> None:
        """Dial a file link, for at most so many seconds."""
        run = transfer.run = transfer.run or ActiveRun()
        dial = self._links.dial_file(transfer.peer, transfer.fid, token, self._served)
        run.dialling = Deferred.fromCoroutine(dial).addTimeout(seconds, self._clock)
        self._tasks.spawn(transfer.peer, self._dialled(transfer, run, run.dialling), "dialling a file link")

    async def _dialled(self, transfer: ManagedTransfer, run: ActiveRun, dialling: Deferred[Link]) -> None:
        try:
            await dialling
        except (CancelledError, DeferredTimeout, ChatnetError, OSError) as error:  # such as too many open files
            self.log.info("no file link to {peer}: {error}", peer=short_text(transfer.peer), error=error)
        except Exception:  # whatever a dial meets, the transfer waits for another way
            self.log.failure("internal error while dialling a file link")
        else:
            run.dialling = None
            return
        if run.dialling is dialling:
            run.dialling = None
            self._owner.give(transfer, FileDialFailed())

    def opened(self, transfer: ManagedTransfer | None, link: Link) -> None:
        """Handle a file link that is open; the rules decide whether it is wanted."""
        if transfer is None:
            link.close(messages.NOT_EXPECTED, "nobody waits for this any more")
            return
        transfer.file_links.append(link)
        self._of_link[link] = transfer
        self._owner.give(transfer, FileLinkOpened())

    def received(self, link: Link, message: Message) -> None:
        """Handle a message on a file link.  Raises RemoteError for what cannot be."""
        transfer = self._of_link.get(link)
        if transfer is None:
            pass_over(link, message)
        elif transfer.run is not None and transfer.run.work is not None:
            transfer.run.work.received(message)
        elif isinstance(message, Reject) and transfer.info.outgoing:  # before our turn has come
            self._owner.give(transfer, RunRefused(message.code))
        else:
            raise RemoteError(messages.BAD_FRAME, "nothing was sent that this could answer")

    def lost(self, link: Link, end: LinkEnd) -> None:
        """Handle the end of a file link."""
        cancel_timer(self._leaving.pop(link, None))
        transfer = self._of_link.pop(link, None)
        if transfer is not None:
            transfer.file_links.remove(link)
            decided = transfer.run is not None and transfer.run.work is not None and transfer.run.work.decided
            self._owner.give(transfer, FileLinkLost(end.code, end.by_remote, decided))

    def refuse(self, transfer: ManagedTransfer) -> None:
        """Close the link that has opened last."""
        link = transfer.file_links.pop()
        del self._of_link[link]
        link.close(messages.NOT_EXPECTED, "nobody waits for this any more")

    def leave(self, transfer: ManagedTransfer, how: Leave) -> None:
        """Leave the file link in the way ``how``, if it is still there."""
        if transfer.file_links:
            link = transfer.file_links.pop(0)
            del self._of_link[link]
            _LEAVES[how](self, link)

    def say_verified(self, transfer: ManagedTransfer) -> None:
        """Send VERIFIED on the file link, if it is still there."""
        for link in transfer.file_links[:1]:
            link.send(Verified(transfer.fid))

    def _wait(self, link: Link) -> None:
        if link.is_open:
            self._leaving[link] = self._clock.callLater(self._limits.close_seconds, self._cut, link)
        else:
            link.abort()

    def _cut(self, link: Link) -> None:
        self._leaving.pop(link, None)
        link.abort()

    # --- bytes ----------------------------------------------------------------------------------

    def send(self, transfer: Outgoing) -> None:
        """Send what is wanted over the file link."""
        link, machine_run = transfer.file_links[0], transfer.machine.run
        assert machine_run is not None
        run = transfer.run = transfer.run or ActiveRun()
        wants = machine_run.wants
        transfer.count(len(wants), sum(transfer.files[want.file].size - want.offset for want in wants))
        progress, had = transfer.progress, transfer.progress.files

        def sent(count: int) -> None:
            if transfer.run is run:
                progress.bytes += count
                progress.files = had + sender.done_files

        sender = run.work = Sender(
            link,
            transfer.sources,
            wants,
            self._disk,
            self._clock,
            self._preferences.up,
            sent,
            lambda: self._complete(transfer, run),
            transfer.skipped,
            transfer.skip if SKIP in link.features else None,
        )
        transfer.begin(self._clock.seconds())
        self._own(transfer, self._run(transfer, run, sender))

    def receive(self, transfer: Incoming) -> None:
        """Receive what comes over the file link."""
        run = transfer.run
        assert run is not None
        assert run.download is not None
        download, run.download = run.download, None
        progress = transfer.progress

        def arrived(count: int) -> None:
            progress.bytes += count

        def settled(count: int) -> None:
            progress.files += count

        def began() -> None:
            transfer.begin(self._clock.seconds())
            self._owner.give(transfer, RunBegan())

        link = transfer.file_links[0]
        receiver = run.work = Receiver(
            link,
            transfer.files,
            download.wants,
            download,
            self._disk,
            self._limits.write_ahead_bytes,
            self._clock,
            self._preferences.down,
            began,
            arrived,
            settled,
            lambda: self._complete(transfer, run),
            transfer.skip if SKIP in link.features else None,
        )
        self._own(transfer, self._run(transfer, run, receiver))

    def limit_changed(self, transfer: ManagedTransfer) -> None:
        """Apply another speed limit from now on."""
        if transfer.run is not None and transfer.run.work is not None:
            transfer.run.work.limit_changed()

    def _complete(self, transfer: ManagedTransfer, run: ActiveRun) -> None:
        if transfer.run is run:
            if transfer.progress.rate is not None:
                transfer.progress.rate.mark(self._clock.seconds(), transfer.progress.bytes)
            self._owner.give(transfer, RunComplete())

    def _own(self, transfer: ManagedTransfer, running: Any) -> None:
        """Keep track of the work of a run, for which a stop waits: it may have a thread at the disk."""
        work: Deferred[None] = Deferred.fromCoroutine(running)
        transfer.working.add(work)
        work.addErrback(lambda failure: self.log.failure("internal error while running a transfer", failure))
        work.addCallback(lambda _: transfer.working.discard(work))

    async def _run(self, transfer: ManagedTransfer, run: ActiveRun, work: Sender | Receiver) -> None:
        ended = await self._outcome(transfer, work)
        if transfer.run is run:  # else it was stopped, and nobody asks
            transfer.run = None
            if isinstance(ended, RunVerified):
                transfer.saved_to = work.saved_to
            self._owner.give(transfer, ended)
        self._owner.give(transfer, RunRested())

    async def _outcome(self, transfer: ManagedTransfer, work: Sender | Receiver) -> Input:
        try:
            await work.run()
        except Refused as error:  # the receiver's REJECT
            return RunRefused(error.code)
        except StoreFailed:
            return RunHindered(messages.STORE)
        except ChatnetError as error:
            return RunHindered(error.code) if error.code in PASSING else RunFailed(error.code)
        except Exception:
            self.log.failure("internal error while running a transfer")
            return RunFailed(messages.INTERNAL_ERROR)
        if work.mismatched:
            assert isinstance(transfer, Incoming)
            transfer.candidates = {
                number: path for number, path in (transfer.candidates or {}).items() if number not in work.mismatched
            }
            return RunMismatched()
        return RunVerified()


_LEAVES: dict[Leave, Callable[[Runs, Link], None]] = {
    Leave.WAIT: Runs._wait,
    Leave.BYE: lambda runs, link: link.leave(),
    Leave.CUT: lambda runs, link: link.abort(messages.LOST, "it goes on another time"),
}
