"""A registry that pushes a false entry: its number hides no true one, and the signed record is asked for."""

from __future__ import annotations

import pytest
import pytest_twisted

from chatnet.core.events import MessageState, RegistryPhase
from chatnet.core.limits import LOOKUP_SECONDS, MAX_INTEGER
from chatnet.core.records import endpoint
from chatnet.registry.service import RegistryService
from tests.support.village import Village, Villager

FOREIGN = endpoint("127.0.0.66", 4000)


async def acquainted(village: Village) -> tuple[Villager, Villager]:
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.say(bob.chat, "one"))
    await village.until(lambda: ann.states(bob.peer) == [MessageState.DELIVERED])
    return ann, bob


async def lied_to(village: Village, ann: Villager, bob: Villager, monkeypatch: pytest.MonkeyPatch) -> RegistryService:
    """A registry that says that bob is elsewhere, with the highest number, and has no record of him."""
    registry = village.registry
    assert registry is not None
    directory = registry._directory
    false = directory._present[bob.peer]._replace(endpoints=[FOREIGN], seq=MAX_INTEGER, proven=1)
    monkeypatch.setattr(directory, "record_of", lambda peer: None)
    directory._present[bob.peer] = false
    directory._log.put(bob.peer, false)
    registry._protocol._changed()
    await village.until(lambda: ann.node.roster.endpoints(bob.peer) == [FOREIGN])
    village.net.cut(ann.machine.host, bob.machine.host)
    await village.until(lambda: not ann.node.links.links)
    await village.done(ann.door.say(bob.chat, "two"))
    await village.pass_time(10)
    assert bob.texts(ann.peer) == ["one"]
    return registry


async def reached(village: Village, ann: Villager, bob: Villager, within: float) -> None:
    await village.until(lambda: "two" in bob.texts(ann.peer), within=within)
    assert FOREIGN not in ann.node.roster.endpoints(bob.peer)


@pytest_twisted.ensureDeferred
async def test_the_true_list_of_another_start_counts(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = await acquainted(village)
    await lied_to(village, ann, bob, monkeypatch)
    await village.kill_registry()
    village.open_registry()
    await reached(village, ann, bob, within=60)


@pytest_twisted.ensureDeferred
async def test_after_a_restart_of_the_peer_too(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = await acquainted(village)
    await lied_to(village, ann, bob, monkeypatch)
    await ann.stop()
    await village.kill_registry()
    village.open_registry()
    ann.start()
    await village.until(lambda: ann.phase is RegistryPhase.UP, within=60)
    await reached(village, ann, bob, within=60)


@pytest_twisted.ensureDeferred
async def test_a_record_that_holds_corrects_the_list(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = await acquainted(village)
    await lied_to(village, ann, bob, monkeypatch)
    monkeypatch.undo()  # the false entry stays, and so does the link
    await reached(village, ann, bob, within=4 * LOOKUP_SECONDS)
    # What was verified is kept: an older entry does not count after a restart.
    floor = ann.node.roster.entries[bob.peer].seq
    await village.until(lambda: ann.node.keeper._timer is None, within=5)
    await ann.stop()
    await village.shut_registry()
    ann.start()
    await village.until(lambda: ann.phase is RegistryPhase.LOST)
    assert ann.node.roster._floors == {bob.peer: floor}
    assert ann.node.roster.entries[bob.peer].seq == floor
    await village.done(ann.door.say(bob.chat, "three"))
    await village.until(lambda: "three" in bob.texts(ann.peer), within=60)


@pytest_twisted.ensureDeferred
async def test_a_jump_of_the_number_asks_at_once(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = await acquainted(village)
    asked: list[bytes] = []
    registry = village.registry
    assert registry is not None
    directory, record_of = registry._directory, registry._directory.record_of
    monkeypatch.setattr(directory, "record_of", lambda peer: (asked.append(peer), record_of(peer))[1])
    true = directory._present[bob.peer]
    for seq in (MAX_INTEGER - 1, MAX_INTEGER):
        directory._log.put(bob.peer, true._replace(endpoints=[FOREIGN], seq=seq))
        registry._protocol._changed()
        await village.pass_time(1)
    assert asked == [bob.peer]  # and the next time after a while
    assert ann.node.roster.entries[bob.peer].seq == MAX_INTEGER
