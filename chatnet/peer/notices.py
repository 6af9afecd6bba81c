"""Notices for the net tab: events that are neither a message nor a transfer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from chatnet.core import messages
from chatnet.core.errors import ChatnetError, WrongKey
from chatnet.core.events import Event, Notice, NoticeLevel
from chatnet.core.identity import PeerID
from chatnet.core.limits import NOTICES
from chatnet.core.strikes import in_words
from chatnet.core.text import safe_line


class Notices:
    """Tells them, and keeps the last for who subscribes later."""

    def __init__(self, emit: Callable[[Event], None], wall_ms: Callable[[], int]) -> None:
        self.last: deque[Notice] = deque(maxlen=NOTICES)
        self._emit = emit
        self._wall_ms = wall_ms
        self._unreached: set[PeerID] = set()

    def tell(self, level: NoticeLevel, text: str, peer: PeerID | None = None, code: str = "") -> None:
        notice = Notice(level, safe_line(text, 400), self._wall_ms(), peer, code)
        self.last.append(notice)
        self._emit(notice)

    def not_reached(self, peer: PeerID, name: str, error: ChatnetError) -> None:
        """Tell that a person was not reached; once, until they were reached again."""
        if peer in self._unreached:
            return
        self._unreached.add(peer)
        if isinstance(error, WrongKey):
            self.tell(NoticeLevel.WARNING, f"At {name}'s address another key answered. Nothing was sent.", peer)
        else:
            self.tell(NoticeLevel.INFO, f"{name} is listed but does not answer: {error.text}.", peer)

    def reached(self, peer: PeerID) -> None:
        self._unreached.discard(peer)

    def runs_elsewhere(self, name: str) -> None:
        """Tell that another instance of our own key takes our place again and again."""
        text = f"{name} also runs somewhere else. This one stops trying until you take it here."
        self.tell(NoticeLevel.WARNING, text, code="elsewhere")

    def history_missing(self) -> None:
        """Warn that there is a key without a database, as where only the key was copied."""
        text = (
            "Your key was here, but no history: whom you knew is unknown now, and the key that comes first under a "
            "name is taken for theirs. Compare keys."
        )
        self.tell(NoticeLevel.WARNING, text, code="history-missing")

    def struck(self, peer: PeerID, name: str, seconds: int) -> None:
        text = f"The program of {name} broke the protocol too often. It is left alone for {in_words(seconds)}."
        self.tell(NoticeLevel.WARNING, text, peer, messages.STRUCK)

    def check_broken(self, peer: PeerID, name: str) -> None:
        text = f"The check with {name} did not fit, and gave no code. Compare the 60 digits instead."
        self.tell(NoticeLevel.WARNING, text, peer, "check-failed")

    def store_changed(self, trouble: str) -> None:
        """Tell why nothing can be stored, or with an empty ``trouble`` that all is well again."""
        if trouble:
            self.tell(NoticeLevel.ERROR, trouble)
        else:
            self.tell(NoticeLevel.INFO, "The disk takes what is written again. Everything goes on.")
