"""Messages that nobody took for a month stop waiting, and say so."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core.errors import StoreFailed
from chatnet.core.events import MessageState
from chatnet.core.identity import person_in
from chatnet.core.limits import PeerLimits
from chatnet.net.background import BackgroundTasks
from chatnet.net.timers import cancel_timer
from chatnet.peer.directory.people import People
from chatnet.peer.messages.conversations import Conversations
from chatnet.peer.store.peer_store import PeerStore

_DAY_MS = 86_400_000


class Expiry:
    """Looks at the start, and again every ``expire_check_seconds``."""

    log = Logger("chatnet.expiry")

    def __init__(
        self, clock: Any, limits: PeerLimits, store: PeerStore, people: People, conversations: Conversations
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._store = store
        self._people = people
        self._conversations = conversations
        self._timer: IDelayedCall | None = None
        self._stopped = False
        self._tasks = BackgroundTasks(self.log)

    async def look(self, now_ms: int) -> None:
        """Let what is too old expire; a disk that takes nothing now is asked again later."""
        outbox, days = self._conversations.outbox, self._limits.expire_days
        reason = f"not taken for {days:g} days"
        try:
            gone = await self._store.messages.expire(now_ms - round(days * _DAY_MS), outbox.under_way(), reason)
            for chat in {row.chat for row in gone}:
                outbox.reread(person_in(chat))  # what was read ahead may be among them
            for row in gone:
                if row.n in outbox.under_way():  # sent in this moment: its acknowledgement decides
                    await self._store.messages.resend(row.chat, row.n, MessageState.WAITING, now_ms)
                    continue
                self._people.waiting_changed(person_in(row.chat), -1)
                self._conversations.changed(row.chat, row.n, row.state, row.reason)
        except StoreFailed as error:
            self.log.warn("nothing expired: {why}", why=error.text)

    def start(self) -> None:
        """Look again and again, from now on."""
        if not self._stopped:
            self._timer = self._clock.callLater(self._limits.expire_check_seconds, self._look_again)

    def stop(self) -> None:
        self._stopped = True
        cancel_timer(self._timer)
        self._tasks.stop()

    def _look_again(self) -> None:
        looking = self._tasks.spawn(self.look(self._conversations.wall_ms()), "looking for messages that expire")
        looking.addCallback(lambda _: self.start())
