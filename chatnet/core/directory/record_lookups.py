"""When a peer asks the registry for somebody's signed record.  No I/O, no clock."""

from __future__ import annotations

from collections import OrderedDict

from chatnet.core.bucket import TokenBucket
from chatnet.core.identity import PeerID
from chatnet.core.limits import LOOKUP_SECONDS, LOOKUPS_BURST, LOOKUPS_PER_SECOND, MAX_SOURCES


class RecordLookups:
    """At most one look-up of a person under way, one in LOOKUP_SECONDS, and so many a second of all people.

    Times are seconds of any clock that does not go backwards.
    """

    def __init__(self, now: float) -> None:
        self._bucket = TokenBucket(LOOKUPS_PER_SECOND, LOOKUPS_BURST, now)
        self._last: OrderedDict[PeerID, float] = OrderedDict()  # when each was asked for; the latest ones
        self._open: set[PeerID] = set()

    def ask(self, peer: PeerID, now: float) -> bool:
        """Whether the record of ``peer`` may be asked for now; if so, it counts as asked for."""
        if peer in self._open or now - self._last.get(peer, float("-inf")) < LOOKUP_SECONDS:
            return False
        if not self._bucket.take(now):
            return False
        self._open.add(peer)
        self._last.pop(peer, None)
        self._last[peer] = now
        while len(self._last) > MAX_SOURCES:
            self._last.popitem(last=False)
        return True

    def answered(self, peer: PeerID) -> bool:
        """Note an answer; False if nobody had asked."""
        if peer not in self._open:
            return False
        self._open.discard(peer)
        return True

    def new_link(self) -> None:
        """Forget the lookups under way: there is another link to the registry, and they are not answered any more."""
        self._open.clear()
