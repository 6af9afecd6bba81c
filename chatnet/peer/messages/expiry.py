"""Lets messages and offers of files expire that nobody has taken for 30 days."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core.errors import StoreFailed
from chatnet.core.events import MessageState
from chatnet.core.identity import person_in
from chatnet.core.limits import PeerLimits
from chatnet.net.background import BackgroundTasks
from chatnet.net.timers import cancel_timer
from chatnet.peer.directory.people import People
from chatnet.peer.messages.outbox import Outbox
from chatnet.peer.messages.row_listener import RowListener
from chatnet.peer.messages.waiting_clock import WaitingClock
from chatnet.peer.store.peer_store import PeerStore

_DAY_MS = 86_400_000


class Expiring(Protocol):
    """A part of the peer of which things wait, too."""

    def expire(self) -> None:
        """Give up what has waited too long."""


class Expiry:
    """Looks at the start, and again every ``expire_check_seconds``; then the waiting clock is saved as well."""

    log = Logger("chatnet.expiry")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        store: PeerStore,
        people: People,
        outbox: Outbox,
        rows: RowListener,
        waiting: WaitingClock,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._store = store
        self._people = people
        self._outbox = outbox
        self._rows = rows
        self._waiting = waiting
        self._parts: list[Expiring] = []
        self._tasks = BackgroundTasks(self.log)
        self._timer: IDelayedCall | None = None
        self._stopped = False

    def add(self, part: Expiring) -> None:
        """Ask this part as well, from the next look on."""
        self._parts.append(part)

    async def look(self) -> None:
        """Let what has waited too long expire; a disk that takes nothing now is asked again later."""
        outbox, days, now_ms = self._outbox, self._limits.expire_days, self._waiting.ms()
        reason = f"not taken for {days:g} days"
        try:
            await self._waiting.save()
            gone = await self._store.messages.expire(now_ms - round(days * _DAY_MS), outbox.under_way(), reason)
            for chat in {row.chat for row in gone}:
                outbox.changed(person_in(chat))  # what was read ahead may be among them
            for row in gone:
                if row.n in outbox.under_way():  # sent in this moment: its acknowledgement decides
                    await self._store.messages.resend(row.sender, row.chat, row.n, MessageState.WAITING, now_ms)
                    continue
                self._people.waiting_changed(person_in(row.chat), -1)
                self._rows.changed(row.chat, row.n, row.state, row.reason)
        except StoreFailed as error:
            self.log.warn("nothing expired: {why}", why=error.text)
        for part in self._parts:
            part.expire()

    def start(self) -> None:
        """Look again and again, from now on."""
        if not self._stopped:
            self._timer = self._clock.callLater(self._limits.expire_check_seconds, self._look_again)

    async def stop(self) -> None:
        """Stop: no timer is left, and the waiting clock is saved."""
        self._stopped = True
        cancel_timer(self._timer)
        self._tasks.stop()
        try:
            await self._waiting.save()
        except StoreFailed as error:
            self.log.warn("the waiting clock was not saved: {why}", why=error.text)

    def _look_again(self) -> None:
        self._tasks.spawn(self.look(), "expiring messages").addCallback(lambda _: self.start())
