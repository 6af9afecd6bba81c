"""Decides which peers have a place for a link, and which link is closed when another one needs the place.

Strangers share a part of the places, with sums by key and source.  Somebody known gets in as long as a
stranger holds a place: the stranger that has been longest without a message goes.  Where the strangers'
places are all taken, a newcomer displaces the quietest link of the source that holds most, if its own holds
fewer.
No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import NamedTuple

from chatnet.core.budgets import Budget, Claimant, Level, greediest, sources_of
from chatnet.core.identity import PeerID

_SHARED = frozenset({Level.ALL, Level.STRANGERS})  # levels at which the end of another's link helps


class Placed(NamedTuple):
    """What became of a newcomer: the level at which there is no place for it, or the link that goes for it."""

    refused: Level | None = None
    evicted: Hashable | None = None


@dataclass
class _Place:
    who: Claimant
    heard: float  # when the last message went; before the first one, when the link got its place


class LinkPlaces:
    """The links of one program that have a place.

    A link is any object that names it.  ``is_known`` tells whether a key is known now: somebody who became
    known since their link came is no stranger any more, and the other way round.  Times are seconds of any
    clock that does not go backwards.
    """

    def __init__(self, budget: Budget, is_known: Callable[[PeerID], bool]) -> None:
        self._budget = budget
        self._is_known = is_known
        self._places: dict[Hashable, _Place] = {}

    def __len__(self) -> int:
        return len(self._places)

    def admit(self, link: Hashable, peer: PeerID, host: str, now: float) -> Placed:
        """Give ``link`` a place, or refuse it.  A link that is evicted for it has lost its place by then."""
        self._look_who_is_known()
        who = Claimant(peer, host, self._is_known(peer))
        lacking = self._budget.lacking(who)
        if not lacking:
            self._hold(link, who, now)
            return Placed()
        victim = self._victim(who) if _SHARED.issuperset(lacking) else None
        if victim is None:
            self._budget.refuse(lacking[0])
            return Placed(refused=lacking[0])
        self.release(victim)
        self._hold(link, who, now)
        return Placed(evicted=victim)

    def hold(self, link: Hashable, peer: PeerID, host: str, now: float) -> None:
        """Charge a link that this program dialled: it is wanted, whether or not there is a place."""
        self._hold(link, Claimant(peer, host, self._is_known(peer)), now)

    def heard(self, link: Hashable, now: float) -> None:
        """Note that a message went over ``link`` at ``now``."""
        place = self._places.get(link)
        if place is not None:
            place.heard = now

    def release(self, link: Hashable) -> None:
        """Release the place of a link that ends; do nothing if it has none."""
        if self._places.pop(link, None) is not None:
            self._budget.release(link)

    def _hold(self, link: Hashable, who: Claimant, now: float) -> None:
        self._places[link] = _Place(who, now)
        self._budget.charge(link, who)

    def _look_who_is_known(self) -> None:
        """Charge those who became known, or are not any more, as what they are now."""
        for link, place in self._places.items():
            known = self._is_known(PeerID(place.who.key))
            if known is not place.who.known:
                place.who = place.who._replace(known=known)
                self._budget.release(link)
                self._budget.charge(link, place.who)

    def _victim(self, newcomer: Claimant) -> Hashable | None:
        """Return the stranger's link to close for a newcomer; None where none has to be."""
        strangers = {link: sources_of(place.who.host) for link, place in self._places.items() if not place.who.known}
        links = list(strangers) if newcomer.known else greediest(strangers, sources_of(newcomer.host))
        return min(links, key=lambda link: self._places[link].heard, default=None)
