"""The registry's rules: which key a name belongs to, which peers are present, and what subscribers are told.

Names are bound for ever to the key that claims them first; the bindings outlive the process in
the registry's store.  Presence does too, a little behind: after a restart those who were here are
*presumed* present, as they were listed, until they come back or are let go.  The list that readers
get is the whole list, their own entry too, so that all get the same bytes; a peer leaves itself
out by its PeerID.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import islice
from typing import NamedTuple

from chatnet.core import messages
from chatnet.core.directory.changelog import ChangeLog, EpochSpan, Reader
from chatnet.core.directory.listed_endpoints import listed_endpoints
from chatnet.core.errors import Refused, RemoteError
from chatnet.core.identity import PeerID
from chatnet.core.limits import NAMES_KEPT_PART, RegistryLimits
from chatnet.core.messages import ListEntry
from chatnet.core.names import why_not_a_name
from chatnet.core.records import Endpoint, RecordFields, SignedRecord, verify_record
from chatnet.core.text import wire_line

FULL_RETRY_SECONDS = 3600


class Claimed(Enum):
    NEW = "new"  # to be committed before the peer is welcome
    KNOWN = "known"


class Binding(NamedTuple):
    """A name, whose it is, and the network that it was claimed from; None where that is not known or not counted."""

    name: str
    peer: PeerID
    network: str | None = None


class SavedChange(NamedTuple):
    """One peer's latest change as it is kept; no ``entry``: it left."""

    revision: int
    peer: PeerID
    entry: ListEntry | None
    record: SignedRecord
    seq: int


class SavedDirectory(NamedTuple):
    """The list as of the last span's end, or what changed in it since an earlier revision.

    Departures up to ``floor`` are forgotten; ``rows`` are in the order of their revisions, and with
    ``whole`` nothing else is kept.
    """

    spans: list[EpochSpan]
    floor: int
    rows: list[SavedChange]
    whole: bool = False

    def parts(self, most: int) -> Iterator[SavedDirectory]:
        """Yield copies with at most ``most`` of the rows each; at least one copy."""
        for at in range(0, max(1, len(self.rows)), most):
            yield self._replace(rows=self.rows[at : at + most])


class Directory:
    """``epoch``: 16 bytes that no other directory has."""

    def __init__(self, epoch: bytes, limits: RegistryLimits) -> None:
        self.refused_names: Counter[str] = Counter({"all": 0, "kept": 0})  # there is none left; only kept ones are
        self._limits = limits
        self._keys: dict[str, PeerID] = {}
        self._names: dict[PeerID, str] = {}
        self._networks: Counter[str] = Counter()  # how many names each has
        self._uncommitted: dict[PeerID, str | None] = {}  # with the network of the claim
        self._records: dict[PeerID, tuple[SignedRecord, int]] = {}  # with its seq; also of those who left lately
        self._present: dict[PeerID, ListEntry] = {}
        self._presumed: dict[PeerID, None] = {}  # those of them who have not come back since the restart
        self._log = ChangeLog(epoch, limits.departures)

    # --- names --------------------------------------------------------------------------------

    def load(self, bindings: Iterable[Binding]) -> None:
        """Take what the store knows, before the first claim."""
        for binding in bindings:
            self._bind(*binding)

    def claim(self, name: str, peer: PeerID, network: str | None = None) -> Claimed:
        """Whether ``peer`` may have ``name``; NEW is to be followed by ``reserve``.

        ``network`` is the widest source of the claim, None where sources are not counted.
        Raises Refused with BAD_NAME, NAME_TAKEN, KEY_BOUND, or BUSY when no more names fit.
        A claim is NEW until ``confirm``, so that nobody is welcome before the commit.
        """
        if reason := why_not_a_name(name):
            raise Refused(messages.BAD_NAME, wire_line(reason))
        owner, present_name = self._keys.get(name), self._names.get(peer)
        if owner is not None and owner != peer:
            raise Refused(messages.NAME_TAKEN, f"The name {name} belongs to another key. Choose another name.")
        if present_name is not None and present_name != name:
            text = f"This key belongs to the name {present_name}. Log in as {present_name}, or with another key."
            raise Refused(messages.KEY_BOUND, text)
        if owner is None:
            self._check_room(network)
        return Claimed.KNOWN if owner is not None and peer not in self._uncommitted else Claimed.NEW

    def reserve(self, name: str, peer: PeerID, network: str | None = None) -> None:
        """Keep ``name`` for ``peer`` while the commit runs."""
        if peer not in self._uncommitted:  # else it claims the same name over another link, too
            self._bind(name, peer, network)
            self._uncommitted[peer] = network

    def confirm(self, peer: PeerID) -> None:
        """Note that the claim of ``peer`` is committed."""
        self._uncommitted.pop(peer, None)

    def release(self, peer: PeerID) -> None:
        """Make the name free again, as its commit failed, unless another attempt succeeded meanwhile."""
        if peer in self._uncommitted:
            network = self._uncommitted.pop(peer)
            del self._keys[self._names.pop(peer)]
            if network is not None:
                self._networks[network] -= 1

    @property
    def names_share(self) -> float:
        """How full the registry is of names: 1 is full."""
        return len(self._keys) / self._limits.claims

    def _check_room(self, network: str | None) -> None:
        """Raise Refused where no name is left, or only names for networks that have none."""
        left = self._limits.claims - len(self._keys)
        if left <= 0:
            self.refused_names["all"] += 1
            text = "This registry has no room for another name. Log in with a name that you have, or ask its operator."
            raise Refused(messages.BUSY, text, FULL_RETRY_SECONDS)
        if left <= self._limits.claims // NAMES_KEPT_PART and network is not None and self._networks[network] > 0:
            self.refused_names["kept"] += 1
            text = "The last names here are kept for networks that have none; yours has some. Ask the operator."
            raise Refused(messages.BUSY, text, FULL_RETRY_SECONDS)

    def _bind(self, name: str, peer: PeerID, network: str | None) -> None:
        self._keys[name] = peer
        self._names[peer] = name
        if network is not None:
            self._networks[network] += 1

    # --- presence -----------------------------------------------------------------------------

    def checked(self, record: SignedRecord, peer: PeerID, name: str) -> RecordFields:
        """Return what the record says, if it is the peer's own, names it ``name`` and is no older than the last.

        Raises RemoteError("bad-record"): the program that made it is faulty or hostile.
        """
        fields = verify_record(record, peer)
        if fields.name != name:
            raise RemoteError(messages.BAD_RECORD, "the record has another name than the peer")
        self.check_newest(record, fields, peer)
        return fields

    def check_newest(self, record: SignedRecord, fields: RecordFields, peer: PeerID) -> None:
        """Raise RemoteError("bad-record") if a verified record is older than the last, or another with its seq."""
        if peer in self._records:
            last_record, last_seq = self._records[peer]
            if fields.seq < last_seq:
                raise RemoteError(messages.BAD_RECORD, f"the record's seq {fields.seq} is below {last_seq}")
            if fields.seq == last_seq and record.payload != last_record.payload:
                raise RemoteError(messages.BAD_RECORD, f"another record with the same seq {fields.seq}")

    def join(self, record: SignedRecord, fields: RecordFields, peer: PeerID, observed_ip: bytes) -> ListEntry:
        """List ``peer``, or change its entry, by a record that was ``checked``."""
        endpoints, before = listed_endpoints(fields.endpoints, observed_ip), self._present.get(peer)
        proven = before.proven if before is not None and before.endpoints[:1] == endpoints[:1] else 0
        self._records[peer] = record, fields.seq
        self._presumed.pop(peer, None)
        self._present[peer] = entry = ListEntry(peer, fields.name, endpoints, fields.seq, proven)
        self._log.put(peer, entry)
        return entry

    def prove(self, peer: PeerID, reached: Endpoint) -> bool:
        """Note that ``peer`` answered at ``reached``, the first of its endpoints; return False if that is old news."""
        entry = self._present.get(peer)
        if entry is None or entry.proven or entry.endpoints[:1] != [reached]:
            return False
        self._present[peer] = entry = entry._replace(proven=1)
        return self._log.put(peer, entry)

    def leave(self, peer: PeerID) -> None:
        """Take ``peer`` from the list; its record can be looked up for some time yet."""
        self._present.pop(peer, None)
        self._presumed.pop(peer, None)
        forgotten = self._log.remove(peer)
        if forgotten is not None:
            self._records.pop(forgotten, None)

    def record_of(self, peer: PeerID) -> SignedRecord | None:
        held = self._records.get(peer)
        return held[0] if held else None

    def __len__(self) -> int:
        """Return how many peers are listed."""
        return len(self._present)

    # --- restarts -----------------------------------------------------------------------------

    @property
    def presumed(self) -> int:
        """How many are listed only because they were before the restart."""
        return len(self._presumed)

    def restore(self, kept: SavedDirectory) -> None:
        """Go on from what an earlier directory left, or from another part of it, before anybody joins."""
        self._log.restore(kept.spans, kept.floor, ((row.revision, row.peer, row.entry) for row in kept.rows))
        for row in kept.rows:
            self._records[row.peer] = row.record, row.seq
            if row.entry is not None:
                self._present[row.peer] = row.entry
                self._presumed[row.peer] = None

    def expire_presumed(self, most: int) -> int:
        """Remove at most ``most`` of those who did not come back, and return how many left."""
        gone = list(islice(self._presumed, most))
        for peer in gone:
            self.leave(peer)
        return len(gone)

    def changed_since(self, revision: int) -> SavedDirectory:
        """Return what is to be saved beyond what ``revision`` had."""
        whole = self._log.has_forgotten(revision)
        rows = [
            SavedChange(change.revision, change.peer, change.inside, *self._records[change.peer])
            for change in self._log.kept_since(0 if whole else revision)
        ]
        return SavedDirectory([self._log.span], self._log.floor, rows, whole)

    # --- telling ------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """Rises with every change of the list."""
        return self._log.head

    def reader(self, since: bytes | None, local: bool) -> Reader:
        """Return the reader of a subscriber; ``since`` is its cursor, ``local`` whether it came over loopback."""
        return self._log.reader(since, local)

    def next_page(self, reader: Reader) -> bytes | None:
        """Return the next frame for ``reader``, which all share; None when it has read everything."""
        return self._log.next_page(reader)
