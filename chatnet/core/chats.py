"""Rules of chats that the peer and its front ends share: which time a row shows, and one draft made of two."""

from __future__ import annotations

from chatnet.core.limits import LATE_MS, MAX_DRAFT_CHARS, OLDEST_WRITTEN_MS


def written_ms(sent_ms: int, stored_ms: int, before_ms: int | None = None) -> int:
    """Return the time that a row shows: when it was written, or when it was stored where that cannot be.

    ``sent_ms`` is the sender's word, ``stored_ms`` our own time.  A time of writing is not believed if it is later
    than ``stored_ms``, or more than 30 days before ``before_ms``, when the row before was stored (None: there is no
    such row, and ``stored_ms`` takes its place).  All are milliseconds since the epoch.
    """
    earliest = (stored_ms if before_ms is None else before_ms) - OLDEST_WRITTEN_MS
    return sent_ms if earliest <= sent_ms <= stored_ms else stored_ms


def came_late(shown_ms: int, stored_ms: int) -> bool:
    """Whether a row that shows ``shown_ms`` was stored so much later that people are told when."""
    return stored_ms - shown_ms >= LATE_MS


def joined_drafts(*drafts: str) -> str:
    """Return one draft that has all of these, each on a line of its own, cut to what is kept of a draft."""
    return "\n".join(dict.fromkeys(filter(None, drafts)))[:MAX_DRAFT_CHARS]
