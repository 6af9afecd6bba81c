"""The files of one accepted offer, on their way out over a file link.

For each: FILE, the raw bytes by Twisted's ``FileSender``, END with the digest.  FileSender does
not close the file, never fires if reading fails, and says nothing about the length: opening,
closing, failure, length and digest belong to ``Source`` and to this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.protocols.basic import FileSender

from chatnet.core import messages
from chatnet.core.errors import ChatnetError, LocalError, Refused, RemoteError
from chatnet.core.messages import End, File, Message, Reject, Skip, Verified, Want
from chatnet.core.transfer.speed import Pace
from chatnet.net.link import Link
from chatnet.peer.files.disk_threads import DiskPool
from chatnet.peer.files.source import Source, SourceFile, close_sources, open_sources
from chatnet.peer.transfers.limited_producer import RateLimitedProducer, chunk_bytes

FILES_OPENED = 32  # opened in one visit to the disk's thread


class Sender:
    """``sent`` is called with each number of bytes on their way, ``complete`` after the last END.

    ``skipped`` are files that cannot be sent, by number -> code.  ``skip`` notes another one, and is None when
    the other side's program does not know SKIP: then one such file ends it all.
    """

    mismatched: Sequence[int] = ()  # only a receiver compares with files of before
    saved_to = b""

    def __init__(
        self,
        link: Link,
        files: Sequence[SourceFile],
        wants: Sequence[Want],
        disk: DiskPool,
        clock: Any,
        pace: Pace,
        sent: Callable[[int], None],
        complete: Callable[[], None],
        skipped: Mapping[int, str],
        skip: Callable[[int, str], None] | None,
    ) -> None:
        self.done_files = 0
        self._skipped = skipped
        self._skip = skip
        self._link = link
        self._files = files
        self._wants = wants
        self._disk = disk
        self._clock = clock
        self._pace = pace
        self._sent = sent
        self._complete = complete
        self._error: ChatnetError | None = None
        self._source: Source | None = None
        self._sender: FileSender | None = None
        self._paced: RateLimitedProducer | None = None
        self._waiting: Deferred[None] | None = None
        self._all_sent = False

    async def run(self) -> None:
        """Send what is wanted and wait until the receiver has verified it all.

        Raises LocalError(changed | unreadable) for a file of ours that is not skipped, or when all are,
        LocalError(lost) when it has to begin again without one, LocalError(busy) when this machine is short
        of something, Refused with the receiver's code when it rejects.  Leaves the link open.
        """
        for start in range(0, len(self._wants), FILES_OPENED):
            batch = self._wants[start : start + FILES_OPENED]
            sources = await self._disk.run(open_sources, [(self._files[want.file], want.offset) for want in batch])
            try:
                for want, source in zip(batch, sources, strict=True):
                    await self._send(want, source)
            finally:
                close_sources(sources)
        if len(self._skipped) == len(self._files):
            code = next(iter(self._skipped.values()))
            raise LocalError(code, "no file of it can be sent")
        self._all_sent = True
        self._complete()
        await self._wait()

    @property
    def decided(self) -> bool:
        """Whether the outcome stands: the link's end changes nothing then."""
        return self._error is not None

    def received(self, message: Message) -> None:
        """Handle VERIFIED or REJECT from the receiver.  Raises RemoteError for anything else, or too early."""
        if isinstance(message, Reject):
            self._stop(Refused(message.code, "the receiver gave up"))
        elif isinstance(message, Verified) and self._all_sent and self._waiting is not None:
            self._wake()
        else:
            raise RemoteError(messages.BAD_FRAME, "that is not for the receiver of files to say now")

    def stop(self, keep: bool) -> None:
        """Send nothing more; ``run`` comes to its end."""
        self._stop(LocalError(messages.LOST, "it was stopped"))

    def _stop(self, error: ChatnetError) -> None:
        if self._error is None:
            self._error = error
            if self._source is not None:
                self._source.trouble = messages.LOST  # FileSender comes to an end at its next reading
                if self._paced is not None:
                    self._paced.limit_changed()
            self._wake()

    def limit_changed(self) -> None:
        """Apply the speed limit that holds now."""
        if self._sender is not None and self._paced is not None:
            self._sender.CHUNK_SIZE = chunk_bytes(self._pace)
            self._paced.limit_changed()

    async def _send(self, want: Want, source: Source | LocalError) -> None:
        if self._error is None and self._link.congested:
            self._link.on_drained(self._wake)
            await self._wait()
            self._link.on_drained(None)
        self._check()
        if want.file in self._skipped:
            self._link.send(Skip(want.file, self._skipped[want.file]))
            return
        if isinstance(source, LocalError):
            self._leave_out(want, source)
            return
        length = self._files[want.file].mark.size - want.offset
        self._link.send(File(want.file, want.offset, length))
        if length:
            await self._send_raw(source)
        try:
            digest = source.finish()
        except LocalError as error:
            self._leave_out(want, error, said=source.is_read)
            return
        self._link.send(End(want.file, digest))
        self.done_files += 1

    def _leave_out(self, want: Want, error: LocalError, said: bool = True) -> None:
        """Leave out a file that cannot be sent, while the others can.

        Raises ``error`` where the other side does not know SKIP.  Unless all bytes were ``said`` that were announced,
        the link is of no use any more: what follows begins again without this file.
        """
        if self._skip is None:
            raise error
        self._skip(want.file, error.code)
        if not said:
            all_skipped = len(self._skipped) == len(self._files)
            raise error if all_skipped else LocalError(messages.LOST, "a file ended before it was sent") from error
        self._link.send(Skip(want.file, error.code))

    async def _send_raw(self, source: Source) -> None:
        def passing(data: bytes) -> bytes:
            source.digest.update(data)
            self._sent(len(data))
            return data

        self._sender = FileSender()
        self._sender.CHUNK_SIZE = chunk_bytes(self._pace)
        self._paced = RateLimitedProducer(self._clock, self._link.consumer, self._pace)
        self._source = source
        try:
            await self._sender.beginFileTransfer(source, self._paced, passing)
        except Exception as error:  # FileSender's own, when the connection ends: it has no narrower class
            self._check()
            raise LocalError(messages.LOST, "the connection broke") from error
        finally:
            self._source = self._sender = self._paced = None
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def _wait(self) -> None:
        """Wait until ``_wake``.  Raises what ``stop`` was given."""
        self._check()
        self._waiting = Deferred()
        try:
            await self._waiting
        finally:
            self._waiting = None
        self._check()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)
