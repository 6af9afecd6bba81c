"""The live list as one log of changes, shared by all subscribers.

State, not history: the log holds the *latest* change of each peer, in the order of these
changes.  A reader is a position in it.  Whoever reads from the beginning gets the whole list,
who reads from an earlier position gets what changed since; both walk over the same pages, whose
bytes are encoded once and shared, and nobody's unread pages are kept anywhere.

Why this converges: a reader at position *p* knows the latest state of every peer that changed
last at or before *p*; whatever changes after that gets a higher position and is read later.
A peer that left is a change too, remembered until so many others left after it; a reader who
would need a forgotten one begins again with a snapshot.  So memory is bounded by the list and
the remembered departures, whatever the readers do.

A log can go on from an earlier one, of a registry that was restarted: ``kept_since`` tells what is
to be kept for that, ``restore`` takes it.  The new log has an epoch of its own, so that a cursor is
never taken for another with the same number; one of an earlier log is understood up to the
revision that was kept.  What came after that is lost, and who has seen it begins again.

Pages are cut when the log is written, not when it is read, and a full one is encoded again only
when a peer in it changes.  A storm of logins therefore encodes each page once, not once for each
newcomer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from chatnet.core.addresses import is_loopback_ip
from chatnet.core.framing import frame
from chatnet.core.identity import PeerID
from chatnet.core.limits import MAX_PAGE_ENTRIES, PAGE_BYTES
from chatnet.core.messages import ListEntry, ListPage

EPOCH_BYTES = 16
REVISION_BYTES = 8
_TAG = ListPage.__struct_config__.tag
_RECENT_PIECES = 8  # parts of a page kept for the readers that stand at the same place in it


class Change(NamedTuple):
    """The latest state of one peer: as those on this machine see it, and as the others do."""

    revision: int
    peer: PeerID
    inside: ListEntry | None  # None: it left
    outside: ListEntry | None


class _Flavour(NamedTuple):
    """What makes the bytes of the same page different."""

    local: bool  # with loopback addresses
    reset: bool  # the first page of a snapshot
    departures: bool  # a snapshot does not speak of those who left before it began


_NEWS = {local: _Flavour(local, reset=False, departures=True) for local in (False, True)}


class _Segment:
    """The changes of one page: ``last`` is the position behind it, ``size`` its estimated bytes."""

    __slots__ = ("changes", "last", "pages", "size")

    def __init__(self, last: int) -> None:
        self.changes: dict[PeerID, Change] = {}
        self.last = last
        self.size = 0
        self.pages: dict[_Flavour, bytes] = {}


@dataclass
class Reader:
    """One subscriber's place in the log; only ``ChangeLog`` moves it."""

    local: bool  # it came over loopback, so it is shown loopback addresses
    position: int  # everything up to here has been read
    began: int = 0  # a snapshot began at this revision; departures before it do not matter
    reset: bool = False  # the next page begins a snapshot
    told: bool = False  # at least one page was read: a newcomer gets one even if nothing changed


class EpochSpan(NamedTuple):
    """A log, by its epoch, and the revision up to which it is known."""

    epoch: bytes
    upto: int


class ChangeLog:
    """``epoch`` is 16 bytes that no other log has; ``departures`` at least 1."""

    def __init__(
        self,
        epoch: bytes,
        departures: int,
        page_bytes: int = PAGE_BYTES,
        page_entries: int = MAX_PAGE_ENTRIES,
    ) -> None:
        if len(epoch) != EPOCH_BYTES:
            raise ValueError(f"an epoch has {EPOCH_BYTES} bytes")
        self.head = 0  # the revision of the newest change
        self._epoch = epoch
        self._former: dict[bytes, int] = {}  # earlier epochs, and up to where their revisions are ours
        self._most_departures = max(1, departures)
        self._page_bytes = page_bytes
        self._page_entries = page_entries
        self.floor = 0  # departures up to here may be forgotten
        self._revisions: dict[PeerID, int] = {}
        self._departed: OrderedDict[PeerID, None] = OrderedDict()  # in the order of leaving
        self._segments = [_Segment(0)]  # in order; the last is being written and never dropped
        self._pieces: OrderedDict[tuple[int, _Flavour], tuple[bytes, int]] = OrderedDict()  # up to where

    # --- writing ------------------------------------------------------------------------------

    def put(self, peer: PeerID, entry: ListEntry) -> bool:
        """List ``peer`` as ``entry``; return False if it was so already, so that there is no change."""
        revision = self._revisions.get(peer)
        if revision is not None and self._segment_of(revision).changes[peer].inside == entry:
            return False
        self._departed.pop(peer, None)
        self._append(peer, entry, _without_loopback(entry))
        return True

    def remove(self, peer: PeerID) -> PeerID | None:
        """Note that ``peer`` left, and return a peer whose departure is forgotten from now on, or None."""
        if peer not in self._revisions or peer in self._departed:
            return None
        self._append(peer, None, None)
        self._departed[peer] = None
        if len(self._departed) <= self._most_departures:
            return None
        forgotten, _ = self._departed.popitem(last=False)
        self.floor = self._revisions[forgotten]
        self._take_out(forgotten)
        return forgotten

    def _append(self, peer: PeerID, inside: ListEntry | None, outside: ListEntry | None) -> None:
        self._take_out(peer)
        self._place(Change(self.head + 1, peer, inside, outside))
        self._pieces.clear()

    def _place(self, change: Change) -> None:
        """Add ``change`` as the newest one."""
        size = _size(change.inside)
        tail = self._segments[-1]
        tail.pages.clear()
        if tail.changes and (tail.size + size > self._page_bytes or len(tail.changes) >= self._page_entries):
            tail = _Segment(self.head)
            self._segments.append(tail)
        self.head = change.revision
        tail.changes[change.peer] = change
        tail.last = self.head
        tail.size += size
        self._revisions[change.peer] = self.head

    def _take_out(self, peer: PeerID) -> None:
        revision = self._revisions.pop(peer, None)
        if revision is None:
            return
        index = self._index_of(revision)
        segment = self._segments[index]
        segment.size -= _size(segment.changes.pop(peer).inside)
        segment.pages.clear()
        self._tidy(index)

    def _tidy(self, index: int) -> None:
        """Join a page that became thin with a neighbour; the one being written stays as it is."""
        final = len(self._segments) - 1
        if index == final:
            return
        if not self._segments[index].changes:
            del self._segments[index]
            return
        for earlier in (index - 1, index):
            if earlier < 0 or earlier + 1 >= final:
                continue
            one, other = self._segments[earlier], self._segments[earlier + 1]
            if (
                one.size + other.size <= self._page_bytes // 2
                and len(one.changes) + len(other.changes) <= self._page_entries // 2
            ):
                one.changes.update(other.changes)
                one.size += other.size
                one.last = other.last
                one.pages.clear()
                del self._segments[earlier + 1]
                return

    def _index_of(self, revision: int) -> int:
        return bisect_left(self._segments, revision, key=lambda segment: segment.last)

    def _segment_of(self, revision: int) -> _Segment:
        return self._segments[self._index_of(revision)]

    # --- keeping ------------------------------------------------------------------------------

    @property
    def span(self) -> EpochSpan:
        return EpochSpan(self._epoch, self.head)

    def has_forgotten(self, revision: int) -> bool:
        """Whether a departure after ``revision`` may be forgotten: what was kept up to there cannot be gone on with."""
        return revision < self.floor

    def kept_since(self, revision: int) -> Iterator[Change]:
        """Yield every change after ``revision``, in their order.

        With those up to ``revision`` they are the whole log as of ``head``, once each takes the
        place of an earlier one of its peer, and departures up to ``floor`` are left out; unless
        the log ``has_forgotten`` what came after ``revision``.
        """
        for segment in self._segments[bisect_right(self._segments, revision, key=lambda segment: segment.last) :]:
            yield from (change for change in segment.changes.values() if change.revision > revision)

    def restore(
        self, spans: Iterable[EpochSpan], floor: int, changes: Iterable[tuple[int, PeerID, ListEntry | None]]
    ) -> None:
        """Go on from an earlier log, before anything is written to this one.

        ``spans`` are the earlier logs that followed one another, the last one as it was kept;
        ``changes`` what was kept of it: revision, peer and entry, in their order.  They may come in
        parts, the next by another call.
        """
        self._former = dict(spans)
        self.floor = floor
        self._segments[-1].last = max((change.revision for change in self._segments[-1].changes.values()), default=0)
        for revision, peer, entry in changes:
            self._place(Change(revision, peer, entry, None if entry is None else _without_loopback(entry)))
            if entry is None:
                self._departed[peer] = None
        self.head = self._segments[-1].last = max(self.head, *self._former.values(), 0)

    # --- reading ------------------------------------------------------------------------------

    def reader(self, since: bytes | None, local: bool) -> Reader:
        """Return a reader that goes on behind the cursor ``since``, or begins with a snapshot."""
        position = self._position(since)
        if position is None:
            return Reader(local, 0, began=self.head, reset=True)
        return Reader(local, position)

    def cursor(self, position: int) -> bytes:
        return self._epoch + position.to_bytes(REVISION_BYTES, "big")

    def waiting(self, reader: Reader) -> bool:
        """Whether ``next_page`` has something for the reader."""
        return not reader.told or reader.reset or reader.position < self.head

    def next_page(self, reader: Reader) -> bytes | None:
        """Return the frame with what comes next for ``reader``, which counts as read from then on; None at the end.

        Its ``more`` tells that another page follows at once.
        """
        if not self.waiting(reader):
            return None
        if reader.told and reader.position >= max(reader.began, self.floor):  # as nearly all, who stand at one place
            piece = self._pieces.get((reader.position, _NEWS[reader.local]))
            if piece is not None:
                page, reader.position = piece
                return page
        if max(reader.position, reader.began) < self.floor:  # it would need a departure that is forgotten
            reader.position, reader.began, reader.reset = 0, self.head, True
        index = bisect_right(self._segments, reader.position, key=lambda segment: segment.last)
        if index == len(self._segments):  # nothing changed since
            page = self._encoded([], self.head, _Flavour(reader.local, reader.reset, True), more=False)
        else:
            segment = self._segments[index]
            flavour = _Flavour(reader.local, reader.reset, segment.last > reader.began)
            begins = self._segments[index - 1].last if index else 0
            page = self._whole(segment, flavour) if reader.position <= begins else self._rest(segment, reader, flavour)
            reader.position = segment.last
        reader.reset = False
        reader.told = True
        return page

    def _whole(self, segment: _Segment, flavour: _Flavour) -> bytes:
        page = segment.pages.get(flavour)
        if page is None:
            page = self._encoded(list(segment.changes.values()), segment.last, flavour, self._more(segment))
            segment.pages[flavour] = page
        return page

    def _rest(self, segment: _Segment, reader: Reader, flavour: _Flavour) -> bytes:
        """Return the frame with the changes of ``segment`` that ``reader`` has not read.

        They are mostly the newest ones and the same for nearly all readers, so recent frames are kept.
        """
        place = (reader.position, flavour)
        piece = self._pieces.get(place)
        if piece is None:
            changes: list[Change] = []
            for change in reversed(segment.changes.values()):
                if change.revision <= reader.position:
                    break
                changes.append(change)
            piece = self._encoded(changes, segment.last, flavour, self._more(segment)), segment.last
            self._pieces[place] = piece
            if len(self._pieces) > _RECENT_PIECES:
                self._pieces.popitem(last=False)
        return piece[0]

    def _more(self, segment: _Segment) -> bool:
        return segment is not self._segments[-1]

    def _encoded(self, changes: list[Change], upto: int, flavour: _Flavour, more: bool) -> bytes:
        states = [(c.peer, c.inside if flavour.local else c.outside) for c in changes]
        joined = [entry for _, entry in states if entry is not None]
        left: list[bytes] = [peer for peer, entry in states if entry is None] if flavour.departures else []
        # A ListPage would check every address again; a tuple of its fields has the same bytes.
        return frame(msgspec.msgpack.encode((_TAG, flavour.reset, more, joined, left, self.cursor(upto))))

    def _position(self, cursor: bytes | None) -> int | None:
        """Return the position that a cursor of ours names, if departures since then are all remembered; else None."""
        if cursor is None or len(cursor) != EPOCH_BYTES + REVISION_BYTES:
            return None
        epoch, position = cursor[:EPOCH_BYTES], int.from_bytes(cursor[EPOCH_BYTES:], "big")
        upto = self.head if epoch == self._epoch else self._former.get(epoch, -1)
        return position if self.floor <= position <= upto else None


def _size(entry: ListEntry | None) -> int:
    """Return about the bytes of an entry, or of a departure, on the wire; never less."""
    if entry is None:
        return 34
    return 48 + len(entry.name) + sum(len(endpoint.ip) + 6 for endpoint in entry.endpoints)


def _without_loopback(entry: ListEntry) -> ListEntry:
    """Return ``entry`` as other machines see it."""
    outside = [endpoint for endpoint in entry.endpoints if not is_loopback_ip(endpoint.ip)]
    if len(outside) == len(entry.endpoints):
        return entry
    proven = sum(not is_loopback_ip(endpoint.ip) for endpoint in entry.endpoints[: entry.proven])
    return entry._replace(endpoints=outside, proven=proven)
