"""The files of one accepted offer, on their way in over a file link.

What comes is handed to the disk's thread in order, one visit at a time; what comes during a visit,
or is too little for one, is gathered for the next.  Beside the visits another thread makes certain
what was written, and names the files that are whole; nothing more is written while too much is not
certain, or another group is whole.  While more than ``write_ahead_bytes`` wait, reading stops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core import messages
from chatnet.core.errors import ChatnetError, LocalError, RemoteError, StoreFailed
from chatnet.core.messages import End, File, Message, OfferedFile, Reject, Skip, Want
from chatnet.core.transfer.speed import Pace
from chatnet.net.link import Link
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.files.download import UNMARKED_BYTES, Download

JOB_BYTES = 512  # a job without bytes weighs so much: thousands of empty files wait in memory too
VISIT_BYTES = 262_144  # worth a visit to the disk's thread: two switches of threads cost as much as 64 KiB do
GATHER_SECONDS = 0.02  # less than that does not wait longer

_KEEPS = (messages.NO_SPACE, messages.NO_INODES, messages.BUSY)  # what has come is kept: it goes on another time


class Receiver:
    """``began`` is called with the first message of the sender, ``arrived`` with each number of bytes,
    ``settled`` with how many files have got their final names, ``complete`` when the last END has come.

    ``skip`` notes a file that the sender cannot send, and is None where its program may not say so.
    """

    log = Logger("chatnet.files")

    def __init__(
        self,
        link: Link,
        files: Sequence[OfferedFile],
        wants: Sequence[Want],
        download: Download,
        disk: DiskPool,
        write_ahead_bytes: int,
        clock: Any,
        pace: Pace,
        began: Callable[[], None],
        arrived: Callable[[int], None],
        settled: Callable[[int], None],
        complete: Callable[[], None],
        skip: Callable[[int, str], None] | None,
    ) -> None:
        self._link = link
        self._files = files
        self._wants = iter(wants)
        self._next: Want | None = next(self._wants, None)
        self._open: Want | None = None  # between FILE and END
        self._download = download
        self._disk = disk
        self._ahead = write_ahead_bytes
        self._clock = clock
        self._pace = pace
        self._waiting: IDelayedCall | None = None  # for the speed limit
        self._began: Callable[[], None] | None = began
        self._skip = skip
        self._skipped: dict[int, str] = {}
        self._arrived = arrived
        self._settled = settled
        self._complete = complete
        self._jobs: list[Callable[[], None]] = []
        self._chunks: list[bytes] = []  # of the present file, not yet made a job
        self._held = 0
        self._taken = 0  # of it, by the present visit
        self._busy = False
        self._gathering: IDelayedCall | None = None  # to visit with what there is
        self._beside: Deferred[None] | None = None  # what the other thread does
        self._told = download.done_files
        self._last = False  # everything has come
        self._error: ChatnetError | None = None
        self._keep = True  # after an error: what is here, for another time
        self._done: Deferred[None] = Deferred()

    async def run(self) -> None:
        """Run until every wanted file stands under its final name; the download is closed afterwards.

        Raises LocalError(unwritable | digest) after a REJECT was sent, LocalError when every file was
        skipped, or RemoteError; then what has no final name is removed.  It is kept for
        LocalError(no-space | no-inodes | busy), StoreFailed, and after ``stop`` as that says.
        """
        if self._next is None:  # the other side has nothing to send
            self._last_one()
        try:
            await self._done
        except ChatnetError:
            await self._rest()
            await self._disk.run(self._download.hold if self._keep else self._download.discard)
            raise
        finally:
            await self._rest()
            await self._disk.run(self._download.close)

    @property
    def decided(self) -> bool:
        """Whether the outcome stands, and ``run`` only clears up: the link's end changes nothing then."""
        return self._error is not None or self._last

    @property
    def mismatched(self) -> Sequence[int]:
        """Files of before that were not the same after all."""
        return self._download.mismatched

    @property
    def saved_to(self) -> bytes:
        """Where it lies, once everything is there."""
        return self._download.saved_to

    def received(self, message: Message) -> None:
        """Handle FILE and END or SKIP, in the order that was wanted.  Raises RemoteError for anything else."""
        if self._error is not None:
            pass_over(self._link, message)
            return
        began, self._began = self._began, None
        if began is not None:
            began()
        if isinstance(message, File) and self._open is None and self._next is not None:
            want = self._next
            expected = File(want.file, want.offset, self._files[want.file].size - want.offset)
            if message != expected:
                raise RemoteError(messages.BAD_FRAME, "not the file that comes next, or not its length")
            self._next, self._open = next(self._wants, None), want
            self._add(partial(self._download.begin, want.file, want.offset))
            self._link.expect_raw(message.length, self._raw)
        elif isinstance(message, End) and self._open is not None and message.index == self._open.file:
            self._open = None
            self._add(partial(self._download.end, message.digest))
            if self._next is None:
                self._last_one()
        elif isinstance(message, Skip) and self._skip is not None and self._skips(message.index):
            self._skipped[message.index] = message.code
            self._skip(message.index, message.code)
            self._add(partial(self._download.skip, message.index))
            if self._next is None:
                self._last_one()
        else:
            raise RemoteError(messages.BAD_FRAME, "that is not for the sender of files to say now")

    def _skips(self, index: int) -> bool:
        """Whether the file ``index`` is the one whose FILE, or END, is due; then that does not come."""
        if self._open is not None:
            due, self._open = self._open, None
        elif self._next is not None:
            due, self._next = self._next, next(self._wants, None)
        else:
            return False
        return due.file == index

    def limit_changed(self) -> None:
        """Apply the speed limit that holds now."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._read_on()

    def stop(self, keep: bool) -> None:
        """Take nothing more; ``run`` ends when the disk has done its work.  ``keep``: what has come stays."""
        if self._error is None:
            error = self._error = LocalError(messages.LOST, "it was stopped")
            self._keep = keep
            self._jobs.clear()
            self._chunks.clear()
            self._link.resume_reading("disk")  # what still comes is dropped, and the end is noticed
            if not self._busy and not self._done.called:
                self._done.errback(error)

    # --- to the disk ---

    def _raw(self, data: bytes) -> None:
        if self._error is not None:
            return
        self._chunks.append(data)
        self._held += len(data)
        self._arrived(len(data))
        now = self._clock.seconds()
        self._pace.spend(now, len(data))
        if self._waiting is None and self._pace.delay(now):
            self._link.pause_reading("limit")
            self._waiting = self._clock.callLater(self._pace.delay(now), self._read_on)
        if self._held > self._ahead:
            self._link.pause_reading("disk")
        self._visit()

    def _read_on(self) -> None:
        self._waiting = None
        self._link.resume_reading("limit")

    def _add(self, job: Callable[[], None]) -> None:
        self._gather()
        self._jobs.append(job)
        self._held += JOB_BYTES
        if self._held > self._ahead:
            self._link.pause_reading("disk")
        self._visit()

    def _gather(self) -> None:
        if self._chunks:
            self._jobs.append(partial(self._download.write, self._chunks))
            self._chunks = []

    def _last_one(self) -> None:
        if self._skipped and len(self._skipped) == len(self._files):
            self._go_wrong(LocalError(next(iter(self._skipped.values())), "no file of it can be sent"), reject=False)
            if not self._busy and not self._done.called:
                self._done.errback(self._error)
            return
        self._complete()
        self._last = True
        self._visit()

    def _visit(self) -> None:
        """Go to the disk, if it waits for us and there is enough to go for."""
        if self._held < VISIT_BYTES and not self._last:
            if self._gathering is None and self._held:
                self._gathering = self._clock.callLater(GATHER_SECONDS, self._gathered)
        elif not self._must_wait():
            self._go()

    def _gathered(self) -> None:
        self._gathering = None
        if not self._must_wait():
            self._go()

    def _must_wait(self) -> bool:
        """Return whether ``_visit`` must not be called now; it is called later, when it may be."""
        if self._busy or self._error is not None:
            return True
        return self._beside is not None and (self._download.due or self._download.unmarked >= UNMARKED_BYTES)

    def _go(self) -> None:
        self._gather()
        jobs, self._jobs, self._taken = self._jobs, [], self._held
        if jobs:
            self._busy = True
            self._disk.run(_work, jobs).addCallbacks(self._visited, self._failed)
        elif self._last and self._beside is None:
            self._busy = True
            self._disk.run(self._download.finish).addCallbacks(self._finished, self._failed)

    def _visited(self, _: None) -> None:
        self._busy = False
        if self._error is not None:
            self._done.errback(self._error)
            return
        self._held -= self._taken
        if self._held <= self._ahead // 2:
            self._link.resume_reading("disk")
        self._make_certain()
        self._visit()

    def _finished(self, _: None) -> None:
        self._busy = False
        self._tell_settled()
        if self._error is None:
            self._done.callback(None)
        else:
            self._done.errback(self._error)

    def _make_certain(self) -> None:
        """Make certain what was written, beside the next visits: the files that are whole, or a part of one."""
        if self._beside is not None:
            return
        if self._download.due:
            work = self._download.settle
        elif not self._busy and (mark := self._download.next_mark()):
            work = partial(self._download.sync, mark)
        else:
            return
        self._beside = self._disk.run(work).addCallbacks(self._made_certain, self._not_certain)

    def _made_certain(self, _: None) -> None:
        self._beside = None
        self._tell_settled()
        if self._error is None:
            self._make_certain()
            self._visit()

    def _not_certain(self, failure: Failure) -> None:
        self._beside = None
        self._go_wrong(self._known(failure))
        if not self._busy and not self._done.called:
            self._done.errback(self._error)

    async def _rest(self) -> None:
        """Stop the timers, and wait until no thread runs."""
        for timer in (self._waiting, self._gathering):
            if timer is not None:
                timer.cancel()
        self._waiting = self._gathering = None
        if self._beside is not None:
            resting: Deferred[None] = Deferred()
            self._beside.addBoth(resting.callback)
            await resting

    def _tell_settled(self) -> None:
        told, self._told = self._told, self._download.done_files
        if self._told > told:
            self._settled(self._told - told)

    def _failed(self, failure: Failure) -> None:
        self._busy = False
        self._go_wrong(self._known(failure))
        self._done.errback(self._error)

    def _known(self, failure: Failure) -> ChatnetError:
        if isinstance(failure.value, ChatnetError):
            return failure.value
        self.log.failure("internal error while writing a received file", failure)
        return LocalError(messages.INTERNAL_ERROR, "an internal error")

    def _go_wrong(self, error: ChatnetError, reject: bool = True) -> None:
        if self._error is None:
            self._keep = isinstance(error, StoreFailed) or error.code in _KEEPS
            if isinstance(error, LocalError) and not self._keep and reject:
                self._link.send(Reject(self._download.index, error.code))
            self._error = error
        self._tell_settled()
        self._jobs.clear()
        self._chunks.clear()
        self._link.resume_reading("disk")


def pass_over(link: Link, message: Message) -> None:
    """Drop what was on its way when it ended: the bytes behind a FILE too, which are no frames."""
    if isinstance(message, File):
        link.expect_raw(message.length, lambda data: None)


def _work(jobs: list[Callable[[], None]]) -> None:
    for job in jobs:
        job()
