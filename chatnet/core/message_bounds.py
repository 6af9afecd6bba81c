"""What bounds the cost of each kind of message, whoever sends it.

``BOUNDS`` has a row for each kind: what limits the memory, the disk, the processor and the attention of a
person that messages of this kind can take.  A kind without a row is refused by the tests.  The kinds whose
processor time is bounded by ``FRAMES`` share one rate on each link, unless they answer something that this
side has said: ``FrameAllowance`` is that rate.  No I/O, no clock.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from chatnet.core.bucket import TokenBucket
from chatnet.core.limits import FLOOD_SECONDS, MOST_AWAITED, LinkLimits
from chatnet.core.messages import (
    Accept,
    Ack,
    Announce,
    Bye,
    Cancel,
    Check,
    Decline,
    DialMe,
    End,
    Error,
    File,
    Found,
    Hello,
    ListPage,
    Lookup,
    Message,
    Nack,
    Offer,
    OfferRest,
    Pause,
    Ping,
    Pong,
    Reject,
    Resume,
    Say,
    Skip,
    Verified,
    Welcome,
)

NOTHING = ""  # it takes none
FRAMES = "frames_per_second"


class Bounds(NamedTuple):
    """The limit, the budget or the constant of ``core.limits`` that bounds each cost; NOTHING where there is none."""

    memory: str
    disk: str
    processor: str
    attention: str


BOUNDS: dict[type[Message], Bounds] = {
    # kind          memory              disk                  processor                       attention
    Hello: Bounds("unauthenticated", "new_names_per_hour", "source_connects_per_minute", "new_names_per_hour"),
    Welcome: Bounds("dials_at_once", NOTHING, "dials_per_minute", NOTHING),
    Error: Bounds("links", NOTHING, "source_connects_per_minute", NOTHING),  # ends the link
    Bye: Bounds("links", NOTHING, "source_connects_per_minute", NOTHING),  # ends the link
    Ping: Bounds("queue_bytes", NOTHING, FRAMES, NOTHING),
    Pong: Bounds(NOTHING, NOTHING, FRAMES, NOTHING),
    # role registry
    Lookup: Bounds("queue_bytes", NOTHING, "lookups_per_second", NOTHING),
    Announce: Bounds("connections", "keep_seconds", "announces_per_minute", NOTHING),
    # A registry that a person has chosen may tell changes as fast as they come.
    ListPage: Bounds("MAX_LIST_ENTRIES", "LIST_SAVE_SECONDS", "FRAMES_SHARE_SECONDS", "MAX_LIST_ENTRIES"),
    Found: Bounds(NOTHING, "LOOKUPS_PER_SECOND", FRAMES, NOTHING),
    # role chat
    Say: Bounds("request_bytes", "request_bytes", "stranger_messages_per_second", "requesters"),
    Ack: Bounds(NOTHING, NOTHING, FRAMES, NOTHING),
    Nack: Bounds(NOTHING, NOTHING, FRAMES, NOTHING),
    Offer: Bounds("offers", "offers", FRAMES, "offered_files"),
    OfferRest: Bounds("offers", "offers", FRAMES, "offered_files"),
    Accept: Bounds("MAX_OFFER_FILES", NOTHING, FRAMES, NOTHING),
    Decline: Bounds("BACKGROUND_TASKS", NOTHING, FRAMES, NOTHING),
    DialMe: Bounds("BACKGROUND_TASKS", NOTHING, FRAMES, NOTHING),
    Cancel: Bounds("BACKGROUND_TASKS", NOTHING, FRAMES, NOTHING),
    Pause: Bounds("BACKGROUND_TASKS", NOTHING, FRAMES, NOTHING),
    Resume: Bounds("BACKGROUND_TASKS", NOTHING, FRAMES, NOTHING),
    Check: Bounds("BACKGROUND_TASKS", NOTHING, FRAMES, "checks_per_day"),
    # role file: only of a transfer that was accepted, one link for each that has its turn
    File: Bounds("write_ahead_bytes", "free_bytes_reserve", "offered_files", NOTHING),
    End: Bounds("write_ahead_bytes", "free_bytes_reserve", "offered_files", NOTHING),
    Skip: Bounds(NOTHING, NOTHING, "offered_files", NOTHING),
    Verified: Bounds("BACKGROUND_TASKS", NOTHING, FRAMES, NOTHING),  # also of role chat
    Reject: Bounds(NOTHING, NOTHING, FRAMES, NOTHING),
}

# What each kind answers: as often as that was said, it may come.
ANSWERS: dict[type[Message], type[Message]] = {
    Pong: Ping,
    Ack: Say,
    Nack: Say,
    Accept: Offer,
    Decline: Offer,
    Found: Lookup,
}
_QUESTIONS = frozenset(ANSWERS.values())
_CHARGED = frozenset(kind for kind, bounds in BOUNDS.items() if bounds.processor == FRAMES)


class FrameAllowance:
    """How many frames one link may bring that no other rate bounds.

    Answers to what this side has said are free; all others have a rate.  Times are seconds of any clock that
    does not go backwards.
    """

    def __init__(self, limits: LinkLimits, now: float) -> None:
        self._bucket = TokenBucket(limits.frames_per_second, limits.frames_burst, now)
        self._awaited: Counter[type[Message]] = Counter()
        self._flooding_since: float | None = None

    def said(self, kind: type[Message]) -> None:
        """Note that this side has said a message of ``kind``."""
        if kind in _QUESTIONS and self._awaited[kind] < MOST_AWAITED:
            self._awaited[kind] += 1

    def heard(self, kind: type[Message], now: float) -> float:
        """Charge a message of ``kind`` that came, and return for how many seconds nothing more is to be read."""
        if kind not in _CHARGED:
            return 0.0
        question = ANSWERS.get(kind)
        if question is not None and self._awaited[question] > 0:
            self._awaited[question] -= 1
            return 0.0
        rest_seconds = self._bucket.spend(now)
        if rest_seconds == 0:
            self._flooding_since = None
        elif self._flooding_since is None:
            self._flooding_since = now
        return rest_seconds

    def is_flood(self, now: float) -> bool:
        """Whether more came than the rate allows for FLOOD_SECONDS without a break.

        What waits to be read would take hours at that rate, and nobody would see that the other side is gone.
        """
        return self._flooding_since is not None and now - self._flooding_since >= FLOOD_SECONDS
