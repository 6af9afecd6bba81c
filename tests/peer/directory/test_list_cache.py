"""Which cursor a peer may name: that of a list that is whole."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.task import Clock

from chatnet.core.identity import PeerID
from chatnet.core.limits import LIST_SAVE_SECONDS
from chatnet.core.messages import ListEntry, ListPage
from chatnet.peer.directory.list_cache import ListCache

REGISTRY, SOMEBODY = PeerID(b"r" * 32), ListEntry(b"s" * 32, "somebody", [], 1)


@pytest.fixture
def keeper() -> ListCache:
    no_disk: Any = None  # a keeper whose clock stands still writes nothing
    return ListCache(Clock(), no_disk, REGISTRY, b"before")


def page(cursor: bytes, *, reset: bool = False, more: bool = False) -> ListPage:
    return ListPage(reset, more, [SOMEBODY], [], cursor)


def test_a_list_between_two_pages_has_no_cursor(keeper: ListCache) -> None:
    keeper.page(REGISTRY, page(b"half", more=True), 0)
    assert keeper.cursor == b""
    keeper.page(REGISTRY, page(b"whole"), 0)
    assert keeper.cursor == b"whole"


def test_a_snapshot_that_broke_off_is_asked_for_again(keeper: ListCache) -> None:
    keeper.page(REGISTRY, page(b"half", reset=True, more=True), 0)
    assert keeper.cursor == b""
    keeper.page(REGISTRY, page(b"half", reset=True, more=True), 0)
    keeper.page(REGISTRY, page(b"whole"), 0)
    assert keeper.cursor == b"whole"


def test_half_a_list_is_not_saved() -> None:
    clock, no_disk = Clock(), None
    keeper = ListCache(clock, no_disk, REGISTRY, b"before")  # type: ignore[arg-type]
    keeper.page(REGISTRY, page(b"whole"), 0)
    keeper.page(REGISTRY, page(b"half", more=True), 0)
    clock.advance(LIST_SAVE_SECONDS)  # would fail without a store
    assert keeper.cursor == b""
