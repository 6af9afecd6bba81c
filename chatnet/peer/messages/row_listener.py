"""The interface of those who are told of new and changed rows of the history."""

from __future__ import annotations

from typing import Protocol

from chatnet.core.events import MessageState
from chatnet.core.identity import ChatID
from chatnet.peer.store.history_rows import StoredMessage


class RowListener(Protocol):
    """The calls of outbox, inbox and expiry."""

    def added(self, row: StoredMessage) -> None:
        """Called with a new row."""

    def changed(self, chat: ChatID, n: int, state: MessageState, reason: str) -> None:
        """Called when row ``n`` has another state; SENT is one that only the outbox knows."""
