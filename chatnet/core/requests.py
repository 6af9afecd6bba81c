"""What the first messages and offers of strangers hold: three budgets that are charged together.

A stranger is somebody whom nobody here has written to or accepted.  Each message or offer of a stranger is
charged in ``requests``, its bytes on disk in ``request_bytes``, and the stranger in ``requesters``; it is
taken only if it fits into all three.  What is held is free again when a person decides.  No I/O, no clock.
"""

from __future__ import annotations

from chatnet.core.budgets import Budget, Claimant, Level

REQUEST_BYTES = 512  # of a stored row besides its text: its columns, its places in the indexes, its conversation
TEXT_COPIES = 2  # of the text on disk: the row, and its words in the search index


def request_bytes(text_bytes: int) -> int:
    """Return how many bytes a message with ``text_bytes`` of text, or an offer with such a title, takes on disk."""
    return REQUEST_BYTES + TEXT_COPIES * text_bytes


class RequestLedger:
    """Who holds what of the three budgets, by the id of each message and offer.

    What a restart finds is charged as one sum for each key: its ids are in the store.
    """

    def __init__(self, requests: Budget, request_bytes: Budget, requesters: Budget) -> None:
        self._requests = requests
        self._bytes = request_bytes
        self._requesters = requesters
        self._held: dict[bytes, set[bytes]] = {}  # key -> ids

    def holds(self, peer: bytes, id: bytes) -> bool:
        """Whether this message or offer is charged."""
        return id in self._held.get(peer, ())

    def take(self, who: Claimant, id: bytes, size: int) -> Level | None:
        """Charge one more, of ``size`` bytes on disk, or charge nothing and return the level that lacks room."""
        for budget, amount in ((self._requesters, who.key not in self._held), (self._requests, 1), (self._bytes, size)):
            lacking = budget.lacks(who, amount) if amount else None
            if lacking is not None:
                budget.refuse(lacking)
                return lacking
        self._charge(who, id, 1, size)
        return None

    def recall(self, who: Claimant, count: int, size: int) -> None:
        """Charge what a restart finds in the store, whether or not it fits."""
        self._charge(who, b"", count, size)

    def give_back(self, peer: bytes, id: bytes) -> None:
        """Give back the room of this one, which was not stored after all."""
        self.release(peer, {id})

    def held(self, peer: bytes) -> set[bytes]:
        """Return what ``peer`` holds now, for ``release``."""
        return set(self._held.get(peer, ()))

    def release(self, peer: bytes, ids: set[bytes] | None = None) -> None:
        """Release ``ids``, or with None all of ``peer``; what came since stays held."""
        held = self._held.get(peer)
        if held is None:
            return
        for id in tuple(held) if ids is None else held & ids:
            held.discard(id)
            self._requests.release((peer, id))
            self._bytes.release((peer, id))
        if not held:
            del self._held[peer]
            self._requesters.release(peer)

    def _charge(self, who: Claimant, id: bytes, count: int, size: int) -> None:
        if who.key not in self._held:
            self._held[who.key] = set()
            self._requesters.charge(who.key, who)
        self._held[who.key].add(id)
        self._requests.charge((who.key, id), who, count)
        self._bytes.charge((who.key, id), who, size)
