"""A peer's view of the others: the list, the pins, which keys are known, and the name of each.

A name is believed for a key only if the pin says so, or, where the name has no pin, the present
list.  Everybody else is called by the short form of the key.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from chatnet.core.errors import RemoteError
from chatnet.core.events import Person, VerifiedLevel
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import MAX_ENDPOINTS, MAX_LIST_ENTRIES, PEOPLE_REMEMBERED, SEQ_AHEAD_SECONDS
from chatnet.core.messages import TOO_MANY, ListEntry, ListPage
from chatnet.core.records import Endpoint, RecordFields


class Standing(StrEnum):
    """What a key is to the person here; it decides where its messages and offers are shown, and who pays for them."""

    KNOWN = "known"  # somebody here wrote to it, accepted something of it, or verified it
    LISTED = "listed"  # a registry names it, or did when it first wrote: shown as a person, charged as a stranger
    REQUESTER = "requester"  # neither: what it sends are requests


@dataclass
class PeerStats:
    """The facts about one key that are not in the list."""

    unread: int = 0
    waiting: int = 0
    last_seen_ms: int | None = None
    linked: bool = False
    address: str = ""
    rtt_ms: int | None = None
    unanswered_since_ms: int | None = None  # of the link: since when the other side does not answer
    waiting_code: str = ""  # why what waits has to wait: an End of ``core.link_policy``
    next_try_ms: int | None = None  # when the next dial is
    talked: bool = False  # a conversation exists: stays known without the list
    written_to: bool = False  # we did
    accepted: bool = False  # a person here took a request or an offer of theirs
    more_waits: bool = False  # at their side, because there is no room for it here until a person decides
    requests: int = 0  # messages and offers that are kept of a stranger until a person decides

    @property
    def is_kept(self) -> bool:
        """Whether the key stays known without the list."""
        decided = self.written_to or self.accepted
        return decided or self.talked or self.linked or self.waiting > 0 or self.requests > 0


@dataclass
class Changes:
    """Whose ``Person`` is to be told again, who gave a sign of life, and who left the list."""

    changed: set[PeerID] = field(default_factory=set)
    came: set[PeerID] = field(default_factory=set)  # also somebody who was listed all the time
    left: set[PeerID] = field(default_factory=set)
    alone: set[PeerID] = field(default_factory=set)  # pinned people whose name a rival gave up
    doubtful: set[PeerID] = field(default_factory=set)  # pinned people whose entry is to be compared with their record


class Roster:
    """What a peer knows of the others.  ``me``, its own key, never appears in it."""

    def __init__(self, me: PeerID) -> None:
        self.me = me
        self.entries: dict[PeerID, ListEntry] = {}  # the last known entry of each key
        self.listed: set[PeerID] = set()
        self._presumed: set[PeerID] = set()  # of these, who stood in the last list and whom no registry has named since
        self._restored_ms = 0  # when that list was saved
        self._remembered: OrderedDict[PeerID, None] = OrderedDict()  # who left the list, the latest last
        self._remembered_by_name: dict[str, PeerID] = {}
        self._keys: dict[str, PeerID] = {}  # name -> key by the list
        self._pinned: dict[str, tuple[PeerID, int]] = {}  # name -> current key, since when
        self._pinned_name: dict[PeerID, str] = {}
        self.blocked: set[PeerID] = set()
        self.unwanted: set[PeerID] = set()  # keys under a pinned name that the person decided against
        self._verified: dict[PeerID, VerifiedLevel] = {}
        self._successors: dict[PeerID, PeerID] = {}  # former key -> the key that was taken in its place, in this run
        self._acquaintances: dict[PeerID, PeerStats] = {}
        self._snapshot: set[PeerID] | None = None  # keys seen in the pages of a snapshot so far
        self._told: set[PeerID] = set()  # on this link to the registry, since its last snapshot began
        self._floors: dict[PeerID, int] = {}  # the number of the newest record of each pinned person that was verified

    # --- the list -----------------------------------------------------------------------------

    def new_session(self) -> None:
        """Begin with another link to a registry: the numbers of entries that came before say nothing about it."""
        self._told.clear()

    def apply(self, page: ListPage, now_ms: int) -> Changes:
        """Take in one page, and return what it changed.

        Who a snapshot does not name leaves when its last page has come, so that nobody disappears for a moment.
        Raises RemoteError if the list grows beyond MAX_LIST_ENTRIES.
        """
        changes = Changes()
        if page.reset:
            self._snapshot = set()
            self._told.clear()
        for entry in page.joined:
            if self.is_pinned(PeerID(entry.peer)) and self._is_doubtful(entry, now_ms):
                changes.doubtful.add(PeerID(entry.peer))
            self._join(entry, changes)
        for gone in page.left:
            self._leave(PeerID(gone), now_ms, changes)
        if len(self.listed) > MAX_LIST_ENTRIES:
            raise RemoteError(TOO_MANY, f"the list has more than {MAX_LIST_ENTRIES} entries")
        if self._snapshot is not None:
            self._snapshot.update(PeerID(entry.peer) for entry in page.joined)
            if not page.more:
                for peer in self.listed - self._snapshot:
                    self._leave(peer, now_ms, changes)
                self._snapshot = None
        if self._presumed and not page.more:  # the list is whole now: who is still in it is here
            changes.changed |= self._presumed
            self._presumed.clear()
        return changes

    def restore(self, entries: list[ListEntry], saved_ms: int = 0) -> None:
        """Restore the last list, which the disk had saved at ``saved_ms``.

        Its people are not online until a registry says so.
        """
        changes = Changes()
        for entry in entries:
            self._join(entry, changes)
        self._told.clear()  # it came in an earlier session
        self._presumed, self._restored_ms = set(self.listed), saved_ms

    def restore_former(self, former: Sequence[tuple[ListEntry, int]]) -> None:
        """Restore from disk who had left the list, and when, in milliseconds; the latest last.

        Call ``restore`` first.
        """
        for entry, left_ms in former:
            peer = PeerID(entry.peer)
            if peer != self.me and peer not in self.listed and entry.name not in self._keys:
                self.entries[peer] = entry
                self.acquaintance(peer).last_seen_ms = left_ms
                self._remember(peer, Changes())

    def _join(self, entry: ListEntry, changes: Changes) -> None:
        peer = PeerID(entry.peer)
        if peer == self.me:
            return
        if self._is_older(entry):
            return
        known = self.entries.get(peer)
        changes.came.add(peer)
        self.listed.add(peer)
        self._presumed.discard(peer)
        for former in (peer, self._remembered_by_name.get(entry.name)):  # a name is one key's at a time
            if former is not None:
                self._stop_remembering(former, changes)
        if known is not None and known.name != entry.name:
            self._give_up_name(known, changes)
        self.entries[peer] = entry
        self._told.add(peer)
        self._keys[entry.name] = peer
        changes.changed.add(peer)
        pinned = self._pinned.get(entry.name)
        if pinned is not None:
            changes.changed.add(pinned[0])

    def _is_older(self, entry: ListEntry) -> bool:
        """Whether the entry is older than what is known: by a verified record, or by what this link has told.

        An entry is not signed: its number holds against nothing else, or one false entry would hide the true ones.
        """
        peer = PeerID(entry.peer)
        known = self.entries.get(peer)
        told = known.seq if known is not None and peer in self._told else 0
        return entry.seq < max(told, self._floors.get(peer, 0))

    def _is_doubtful(self, entry: ListEntry, now_ms: int) -> bool:
        """Whether the number is older than what was told, or ahead of the clock and not that of the verified record."""
        ahead = entry.seq > now_ms // 1000 + SEQ_AHEAD_SECONDS
        return self._is_older(entry) or (ahead and entry.seq != self._floors.get(PeerID(entry.peer)))

    # --- signed records -----------------------------------------------------------------------

    def has_record(self, peer: PeerID, seq: int) -> None:
        """Note that a record of a pinned person with the number ``seq`` is verified.

        Older entries do not count any more.
        """
        self._floors[peer] = max(seq, self._floors.get(peer, 0))

    def take_record(self, peer: PeerID, record: RecordFields) -> ListEntry | None:
        """Correct the entry of a pinned person by a record that was verified; None for one that is too old.

        The entry of the same number keeps its addresses before those of the record: the registry has seen one.
        """
        if record.seq < self._floors.get(peer, 0):
            return None
        self.has_record(peer, record.seq)
        entry = self.entries.get(peer)
        told = entry if entry is not None and entry.seq == record.seq else None
        endpoints = list(dict.fromkeys([*(told.endpoints if told else ()), *record.endpoints]))[: MAX_ENDPOINTS + 1]
        name = entry.name if entry is not None else record.name
        self.entries[peer] = entry = ListEntry(peer, name, endpoints, record.seq, told.proven if told else 0)
        return entry

    def _leave(self, peer: PeerID, now_ms: int, changes: Changes) -> None:
        if peer not in self.listed:
            return
        self.listed.discard(peer)
        self._presumed.discard(peer)
        changes.left.add(peer)
        changes.changed.add(peer)
        self.acquaintance(peer).last_seen_ms = now_ms
        self._give_up_name(self.entries[peer], changes)
        self._remember(peer, changes)

    def _remember(self, peer: PeerID, changes: Changes) -> None:
        """Remember name and addresses of somebody who was listed. Whoever is gone longest makes room for them."""
        name = self.entries[peer].name
        if name in self._remembered_by_name:
            self._stop_remembering(self._remembered_by_name[name], changes)
        self._remembered[peer] = None
        self._remembered_by_name[name] = peer
        if len(self._remembered) > PEOPLE_REMEMBERED:
            self._stop_remembering(next(iter(self._remembered)), changes)

    def _stop_remembering(self, peer: PeerID, changes: Changes) -> None:
        if peer in self._remembered:
            del self._remembered[peer]
            del self._remembered_by_name[self.entries[peer].name]
            changes.changed.add(peer)

    def _give_up_name(self, entry: ListEntry, changes: Changes) -> None:
        if self._keys.get(entry.name) == entry.peer:
            del self._keys[entry.name]
        pinned = self._pinned.get(entry.name)
        if pinned is not None:
            changes.changed.add(pinned[0])
            if pinned[0] != entry.peer:
                changes.alone.add(pinned[0])

    def forget(self, peer: PeerID) -> None:
        """Keep nothing of somebody who is neither listed nor known nor remembered."""
        if peer not in self.listed and peer not in self._remembered and not self.is_known(peer):
            self.entries.pop(peer, None)
            self._told.discard(peer)
            self._acquaintances.pop(peer, None)

    # --- pins ---------------------------------------------------------------------------------

    def pin(self, name: str, peer: PeerID, since_ms: int, verified: VerifiedLevel = VerifiedLevel.NOT) -> None:
        """Bind ``name`` to this key."""
        self._verified[peer] = verified
        before = self._pinned.get(name)
        if before is not None:
            self._pinned_name.pop(before[0], None)
        self._pinned[name] = (peer, since_ms)
        self._pinned_name[peer] = name

    def take_key(
        self, name: str, old: PeerID, new: PeerID, since_ms: int, verified: VerifiedLevel, waiting: int, unread: int
    ) -> None:
        """Give ``name`` to the new key, and all that was known of the person as well.

        ``waiting`` messages that waited for the old key wait for the new one; ``unread`` of the person's are not read.
        What the user decided about the old key itself, as that it was verified, does not go along.
        """
        self.pin(name, new, since_ms, verified)
        self._successors.pop(new, None)
        self._successors = {one: new if now == old else now for one, now in self._successors.items()} | {old: new}
        self.unwanted.discard(new)
        self._verified.pop(old, None)
        was, now = self.acquaintance(old), self.acquaintance(new)
        now.talked, now.written_to = True, now.written_to or was.written_to
        now.waiting, now.unread = now.waiting + waiting, unread
        was.talked = was.written_to = was.accepted = was.more_waits = False
        was.waiting, was.unread = max(0, was.waiting - waiting), 0

    def current(self, peer: PeerID) -> PeerID:
        """Return the key that was taken in the place of ``peer``, which a client may not have heard of yet.

        It is ``peer`` itself if none was taken, or if ``peer`` is somebody again: known, blocked, or listed under a
        name of their own.
        """
        is_somebody = peer in self.blocked or not self.is_stranger(peer) or self.vouched_name(peer) is not None
        return peer if is_somebody else self._successors.get(peer, peer)

    def pinned(self, name: str) -> PeerID | None:
        found = self._pinned.get(name)
        return found[0] if found else None

    def is_pinned(self, peer: PeerID) -> bool:
        return peer in self._pinned_name

    def vouched_name(self, peer: PeerID) -> str | None:
        """Return the name that pin or list give to this key; None where nothing vouches for one."""
        name = self._pinned_name.get(peer)
        if name is not None:
            return name
        entry = self.entries.get(peer)
        if entry is not None and entry.name not in self._pinned and self._keys.get(entry.name, peer) == peer:
            return entry.name
        return None

    def name_of(self, peer: PeerID) -> str:
        """Return what a person is called on the screen."""
        return self.vouched_name(peer) or "?" + short_text(peer)

    def rival(self, peer: PeerID) -> PeerID | None:
        """Return the other key that the list gives this pinned person's name to, or None."""
        name = self._pinned_name.get(peer)
        other = self._keys.get(name) if name else None
        return other if other != peer else None

    def new_key(self, peer: PeerID) -> PeerID | None:
        """Return the rival of this key, unless the user does not want it; else None."""
        rival = self.rival(peer)
        return rival if rival not in self.unwanted else None

    def verified(self, peer: PeerID) -> VerifiedLevel:
        """Return how this key was compared."""
        return self._verified.get(peer, VerifiedLevel.NOT)

    def set_verified(self, peer: PeerID, level: VerifiedLevel) -> None:
        self._verified[peer] = level

    # --- persons ------------------------------------------------------------------------------

    def acquaintance(self, peer: PeerID) -> PeerStats:
        found = self._acquaintances.get(peer)
        if found is None:
            found = self._acquaintances[peer] = PeerStats()
        return found

    def waiting(self, peer: PeerID) -> int:
        """Return how many messages wait for this key, without making an acquaintance of it."""
        found = self._acquaintances.get(peer)
        return found.waiting if found is not None else 0

    def acquainted(self) -> list[PeerID]:
        """Return the keys of which more is known than the list says."""
        return list(self._acquaintances)

    def is_known(self, peer: PeerID) -> bool:
        """Whether something is kept of a key that is not listed."""
        found = self._acquaintances.get(peer)
        return peer in self._pinned_name or peer in self.blocked or (found is not None and found.is_kept)

    def is_stranger(self, peer: PeerID) -> bool:
        """Whether nobody here has written to this key, accepted anything of it, or verified it."""
        found = self._acquaintances.get(peer)
        return not (self.verified(peer) or (found is not None and (found.written_to or found.accepted)))

    def always_gets_in(self, peer: PeerID) -> bool:
        """Whether this is somebody known, for whom strangers make room; not so who is blocked."""
        return not self.is_stranger(peer) and peer not in self.blocked

    def standing(self, peer: PeerID) -> Standing:
        """Return what this key is to the person here."""
        if not self.is_stranger(peer):
            return Standing.KNOWN
        return Standing.LISTED if peer in self.listed or peer in self._pinned_name else Standing.REQUESTER

    def is_shown(self, peer: PeerID) -> bool:
        """Whether the key stands in the list of people.

        A requester does not, unless it is blocked, so that the block can be ended.  A stranger under a pinned
        name is not another person: the known one has a new key.
        """
        if self.is_known(peer):
            return peer in self.blocked or self.standing(peer) is not Standing.REQUESTER
        was_listed = peer in self.listed or peer in self._remembered
        return was_listed and self.vouched_name(peer) is not None

    def people(self) -> list[PeerID]:
        known = self._acquaintances.keys() | self._pinned_name.keys() | self.blocked
        keys = self.listed | self._remembered.keys() | known
        return [peer for peer in keys if self.is_shown(peer)]

    def endpoints(self, peer: PeerID) -> list[Endpoint]:
        entry = self.entries.get(peer)
        return list(entry.endpoints) if entry else []

    def proven(self, peer: PeerID) -> int:
        """Return how many of the peer's endpoints, from the first on, the registry has reached."""
        entry = self.entries.get(peer)
        return entry.proven if entry else 0

    def _last_seen_ms(self, peer: PeerID, about: PeerStats) -> int | None:
        """Return when somebody was here last, or None.

        Whoever stands only in the last list was here at least when that was saved.
        """
        listed_ms = self._restored_ms if peer in self._presumed else 0
        return max(about.last_seen_ms or 0, listed_ms) or None

    def person(self, peer: PeerID) -> Person:
        about = self._acquaintances.get(peer) or PeerStats()
        entry = self.entries.get(peer)
        listed_address = str(entry.endpoints[0]) if entry and entry.endpoints else ""
        pinned = self._pinned.get(self._pinned_name.get(peer, ""))
        return Person(
            peer=peer,
            name=self.name_of(peer),
            online=(peer in self.listed and peer not in self._presumed) or about.linked,
            linked=about.linked,
            address=about.address or listed_address,
            listed_address=listed_address,
            rtt_ms=about.rtt_ms,
            last_seen_ms=self._last_seen_ms(peer, about),
            unread=about.unread,
            waiting=about.waiting,
            unanswered_since_ms=about.unanswered_since_ms,
            waiting_code=about.waiting_code,
            next_try_ms=about.next_try_ms,
            new_key=self.new_key(peer),
            other_key=self.rival(peer),
            known_since_ms=pinned[1] if pinned else None,
            verified=self.verified(peer),
            blocked=peer in self.blocked,
            more_waits=about.more_waits,
            remembered=peer in self._remembered and not self.is_known(peer),
        )
