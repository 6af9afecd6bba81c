"""A console in the middle of its day."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.scripted_peer import furnished
from tests.support.typist import Typist, new_clock


@pytest.fixture
def console() -> Iterator[Typist]:
    clock = new_clock()
    typist = Typist(furnished(clock), clock=clock)
    yield typist
    typist.close()
