"""Checks and stores what a person writes, and passes it to the outbox."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from chatnet.core.errors import LocalError
from chatnet.core.events import ChatMessage
from chatnet.core.identity import ChatID
from chatnet.core.limits import MAX_BODY_BYTES
from chatnet.peer.directory.people import People
from chatnet.peer.directory.send_policy import SendPolicy
from chatnet.peer.messages.conversations import Conversations
from chatnet.peer.messages.outbox import Outbox


class Sending:
    """Checks and stores what a person writes, and hands it to the outbox."""

    def __init__(self, people: People, send_policy: SendPolicy, conversations: Conversations, outbox: Outbox) -> None:
        self._people = people
        self._send_policy = send_policy
        self._conversations = conversations
        self._outbox = outbox

    def say(self, chat: ChatID, body: str) -> Deferred[ChatMessage]:
        """Send a text, and return its row as it was stored.

        Raises LocalError("unknown-peer" | "blocked" | "empty" | "too-long"); fails with StoreFailed.
        """
        known = self._send_policy.check(chat)
        encoded = body.encode("utf-8", "replace")
        body, size = encoded.decode(), len(encoded)
        if not body.strip():
            raise LocalError("empty", "There is nothing to send.")
        if size > MAX_BODY_BYTES:
            limit = MAX_BODY_BYTES // 1024
            raise LocalError("too-long", f"{-(-size // 1024)} KiB is too long for a message (limit {limit} KiB).")
        self._people.pin_on_first_contact(known)
        self._people.accept(known)
        return self._outbox.say(known, body).addCallback(self._conversations.shown)

    async def resend(self, chat: ChatID, n: int) -> None:
        """Send row ``n``, which was refused or has expired, again.

        Raises LocalError("unknown-peer" | "blocked" | "not-failed") and StoreFailed.
        """
        if await self._outbox.resend(self._send_policy.check(chat), n) is None:
            raise LocalError("not-failed", "This message has not failed: there is nothing to send again.")
