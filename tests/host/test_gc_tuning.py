"""What the garbage collector looks at again."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from chatnet.host.gc_tuning import NOTICEABLE_SECONDS, freeze_long_lived


class Watch:
    """A clock that goes ``step`` seconds on each time it is looked at."""

    def __init__(self) -> None:
        self.step = 0.0
        self._now = 0.0

    def __call__(self) -> float:
        self._now += self.step
        return self._now


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    gc.disable()
    stop = freeze_long_lived(watch)
    yield watch
    stop()
    gc.enable()
    assert gc.get_freeze_count() == 0


class Thing:
    def __init__(self) -> None:
        self.itself = self


def test_what_survived_a_long_collection_is_not_looked_at_again(watch: Watch) -> None:
    thing, at_start = Thing(), gc.get_freeze_count()
    there = weakref.ref(thing)
    watch.step = NOTICEABLE_SECONDS
    gc.collect()
    assert gc.get_freeze_count() > at_start
    del thing
    gc.collect()
    assert there() is not None  # garbage now, and spared
    late = weakref.ref(Thing())
    gc.collect()
    assert late() is None


def test_what_there_is_at_the_start_is_not_looked_at(watch: Watch) -> None:
    assert gc.get_freeze_count() > len(gc.get_objects())


def test_short_and_partial_collections_spare_nothing(watch: Watch) -> None:
    at_start = gc.get_freeze_count()
    watch.step = NOTICEABLE_SECONDS / 2
    gc.collect()
    watch.step = NOTICEABLE_SECONDS * 2
    gc.collect(1)
    assert gc.get_freeze_count() <= at_start  # frozen objects may go
