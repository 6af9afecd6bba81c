"""A change of our own addresses is seen, and an error while looking ends no watch."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from chatnet.core.errors import LocalError
from chatnet.core.limits import ADDRESS_WATCH_SECONDS
from chatnet.net.interfaces import AddressWatch, own_addresses
from tests.support.shortage import no_descriptors

HOME, ROAD = frozenset({("192.0.2.7", 24)}), frozenset({("198.51.100.9", 24)})


def test_each_change_is_told_once() -> None:
    clock, present, told = Clock(), [HOME], []
    watch = AddressWatch(clock, lambda: told.append(clock.seconds()), lambda: present[0])
    clock.pump([ADDRESS_WATCH_SECONDS] * 2)
    assert told == []
    present[0] = ROAD
    clock.pump([ADDRESS_WATCH_SECONDS] * 3)
    assert told == [3 * ADDRESS_WATCH_SECONDS]
    watch.stop()
    assert clock.getDelayedCalls() == []


def test_a_lack_of_descriptors_ends_no_watch() -> None:
    clock, told = Clock(), []
    answers: list[frozenset[tuple[str, int]] | LocalError] = [HOME, LocalError("interfaces", "no descriptors"), ROAD]

    def read() -> frozenset[tuple[str, int]]:
        answer = answers.pop(0)
        if isinstance(answer, LocalError):
            raise answer
        return answer

    watch = AddressWatch(clock, lambda: told.append(1), read)
    clock.pump([ADDRESS_WATCH_SECONDS] * 2)
    assert told == [1]
    watch.stop()


def test_a_defect_in_who_hears_of_it_ends_no_watch() -> None:
    clock, present, told = Clock(), [HOME], []

    def changed() -> None:
        told.append(1)
        raise KeyError("a defect")

    watch = AddressWatch(clock, changed, lambda: present[0])
    for where in (ROAD, HOME):
        present[0] = where
        clock.advance(ADDRESS_WATCH_SECONDS)
    assert told == [1, 1]
    watch.stop()


def test_without_descriptors_the_addresses_cannot_be_read() -> None:
    with no_descriptors(), pytest.raises(LocalError) as refusal:
        own_addresses()
    assert refusal.value.code == "interfaces"
    assert refusal.value.text == "the addresses of this machine cannot be read: too many open files"


def test_this_machine_has_addresses() -> None:
    assert any(host == "127.0.0.1" for host, _ in own_addresses())
