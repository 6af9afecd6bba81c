"""Sends the messages of transfers to one peer over one chat link: in order, in pages, and no faster than it is read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import Logger

from chatnet.core.messages import RESUME, Message, Pause, Resume, Verified
from chatnet.net.background import BackgroundTasks
from chatnet.net.link import Link

_UNDER_RESUME = (Pause, Resume, Verified)


class ChatLine:
    """The queue in front of one chat link; it goes with the link.

    ``drained`` is called whenever the queue has become empty.
    """

    log = Logger("chatnet.transfers")

    def __init__(self, clock: Any, link: Link, tasks: BackgroundTasks, drained: Callable[[], None]) -> None:
        self.link = link
        self._clock = clock
        self._tasks = tasks
        self._drained = drained
        self._queue: deque[Iterator[Message] | Callable[[], None]] = deque()
        self._saying: Iterator[Message] | None = None  # pages, of which some were said
        self._busy = False

    @property
    def waiting(self) -> int:
        """Messages and sequences of pages that were not yet said."""
        return len(self._queue) + self._busy

    def send(self, message: Message) -> None:
        """Send a message after everything before. One that the other side's program does not know is left out."""
        if isinstance(message, _UNDER_RESUME) and RESUME not in self.link.features:
            return
        if not self._busy and not self.link.congested:
            self.link.send(message)
        else:
            self.send_pages(iter((message,)))

    def send_pages(self, pages: Iterator[Message]) -> None:
        """Send the messages of ``pages``, with nothing else of ours between them."""
        self._add(pages)

    def confirm(self, heard: Callable[[], None]) -> None:
        """Call ``heard`` once the other side has processed everything that was said before; never if the link ends."""

        def ask() -> None:
            self.link.confirmed().addCallback(lambda processed: heard() if processed else None)

        if self._busy:
            self._add(ask)
        else:
            ask()

    def drop(self) -> None:
        """Say nothing of what waits, and no further page; what waits for an answer never hears of one."""
        self._queue.clear()
        self._saying = None

    def _add(self, what: Iterator[Message] | Callable[[], None]) -> None:
        self._queue.append(what)
        if not self._busy:
            self._busy = True
            self._tasks.spawn(self._say(), "talking about transfers")

    async def _say(self) -> None:
        try:
            while self._queue and self.link.is_open:
                what = self._queue.popleft()
                if callable(what):
                    what()
                    continue
                self._saying = what
                for message in what:
                    await self.link.when_drained()
                    if self._saying is not what:
                        break
                    self.link.send(message)
                    await deferLater(self._clock, 0)  # a hundred pages are not one turn's work
        finally:
            self._busy = False
            self._queue.clear()
            self._drained()
