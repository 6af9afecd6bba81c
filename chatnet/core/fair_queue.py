"""A queue in which sources take turns, so that many items of one do not hold up those of the others."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class FairQueue(Generic[Item]):
    """A source that has nothing here comes first, and after each of its items behind all others."""

    def __init__(self) -> None:
        self._sources: OrderedDict[Hashable, dict[Item, None]] = OrderedDict()  # in the order of their turns
        self._source_of: dict[Item, Hashable] = {}

    def __len__(self) -> int:
        return len(self._source_of)

    def put(self, item: Item, source: Hashable) -> None:
        """Add an item; one that waits already keeps its place."""
        if item in self._source_of:
            return
        self._source_of[item] = source
        if source in self._sources:
            self._sources[source][item] = None
        else:
            self._sources[source] = {item: None}
            self._sources.move_to_end(source, last=False)

    def pop(self) -> Item:
        """Take the first item of the source whose turn it is.  Raises KeyError if the queue is empty."""
        source, items = self._sources.popitem(last=False)
        item = next(iter(items))
        del items[item], self._source_of[item]
        if items:
            self._sources[source] = items
        return item

    def discard(self, item: Item) -> None:
        """Take an item out, if it is there."""
        source = self._source_of.pop(item, None)
        if source is not None:
            del self._sources[source][item]
            if not self._sources[source]:
                del self._sources[source]
