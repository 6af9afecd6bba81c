"""The people and their order on the screen, kept sorted while thousands come and go."""

from __future__ import annotations

from bisect import bisect_left, insort

from chatnet.console.shown import Place, ShownQuestions, Subject
from chatnet.core.events import Person
from chatnet.core.identity import short_text

_FORMER_NAMES = 1_000  # of those who are gone, and whose keys are remembered
_FEW = 64  # changes up to which inserting one by one beats sorting all


class Order:
    """PeerIDs by name: kept sorted, so that a list of thousands is never sorted for one change."""

    def __init__(self) -> None:
        self._keys: list[tuple[str, bytes]] = []

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> bytes:
        return self._keys[index][1]

    def index(self, key: tuple[str, bytes]) -> int | None:
        """Return its position; None if it is not there."""
        index = bisect_left(self._keys, key)
        return index if index < len(self._keys) and self._keys[index] == key else None

    def add(self, key: tuple[str, bytes]) -> None:
        insort(self._keys, key)

    def drop(self, key: tuple[str, bytes]) -> None:
        index = self.index(key)
        if index is not None:
            del self._keys[index]

    def fill(self, keys: list[tuple[str, bytes]]) -> None:
        self._keys = sorted(keys)


class PeopleOrder:
    """The people, and their order on the screen: online by name, then the others by name.

    Those who are only remembered stand in no list of the screen; their whole names are found.
    """

    def __init__(self, shown: ShownQuestions | None = None) -> None:
        self._shown = shown or ShownQuestions()
        self.people: dict[bytes, Person] = {}
        self._keys: dict[str, tuple[bytes, bytes | None]] = {}  # by name, also of those who are gone: key, new key
        self.online = Order()
        self.offline = Order()
        self.remembered = Order()
        self.version = 0

    def put(self, people: tuple[Person, ...]) -> None:
        """Replace what is known of each."""
        self.version += 1
        for person in people:
            self._note_keys(person)
        if len(people) > _FEW:
            self.people.update((person.peer, person) for person in people)
            for order in (self.online, self.offline, self.remembered):
                order.fill([(p.name, p.peer) for p in self.people.values() if self._order(p) is order])
            return
        for person in people:
            old = self.people.get(person.peer)
            self.people[person.peer] = person
            if old is not None:
                if old.name == person.name and self._order(old) is self._order(person):
                    continue
                self._order(old).drop((old.name, old.peer))
            self._order(person).add((person.name, person.peer))

    def drop(self, peer: bytes) -> None:
        person = self.people.pop(peer, None)
        if person is not None:
            self.version += 1
            self._shown.changed(Place(Subject.NAMED, person.name))
            self._order(person).drop((person.name, peer))

    def _note_keys(self, person: Person) -> None:
        """Tell if a name stands for another key than when it was last on the screen."""
        keys = (person.peer, person.new_key)
        if self._keys.setdefault(person.name, keys) != keys:
            self._keys[person.name] = keys
            self._shown.changed(Place(Subject.NAME, person.name))
        old = self.people.get(person.peer)
        if old is None or old.name != person.name:
            self._shown.changed(Place(Subject.NAMED, person.name))
            self._shown.changed(Place(Subject.NAMED, old.name if old is not None else person.name))
        if old is not None and old.new_key != person.new_key:
            self._shown.changed(Place(Subject.NEW_KEY, person.peer))
        if len(self._keys) > 2 * len(self.people) + _FORMER_NAMES:
            self._keys = {one.name: (one.peer, one.new_key) for one in self.people.values()}

    def _order(self, person: Person) -> Order:
        if person.online:
            return self.online
        return self.remembered if person.remembered else self.offline

    def name(self, peer: bytes) -> str:
        """Return the person's name, or the short key behind a question mark where the key is unknown."""
        person = self.people.get(peer)
        return person.name if person is not None else f"?{short_text(peer)}"

    def named_like(self, peer: bytes) -> Person | None:
        """Return the person whose name the key ``peer`` uses now although it is not theirs; None if there is nobody."""
        if not self.name(peer).startswith("?"):  # a name that something vouches for is its own
            return None
        return next((person for person in self.people.values() if person.other_key == peer), None)

    def find(self, who: str) -> Person | None:
        """Find a person by name, by the beginning of exactly one name, or by the short key; None if two would fit.

        Beginnings count only of the names that stand in the list of the screen.
        """
        plain = who.strip().lower()
        if not plain:
            return None
        begins = [person for person in self.people.values() if person.name.lower().startswith(plain)]
        named = [person for person in begins if person.name.lower() == plain]
        begins = [person for person in begins if not person.remembered]
        found = named or begins
        if not named and len(begins) != 1:
            found = [person for person in self.people.values() if short_text(person.peer).lower() == plain.lstrip("?")]
        return found[0] if len(found) == 1 else None

    def names(self) -> list[str]:
        """Return every name, sorted within each group: people online, people offline, people only remembered."""
        orders = (self.online, self.offline, self.remembered)
        return [self.people[order[i]].name for order in orders for i in range(len(order))]
