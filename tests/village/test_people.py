"""Who is there: the list, goodbye, silence, a registry that goes and comes, a key that comes twice."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from chatnet.core.directory import roster as roster_module
from chatnet.core.errors import LocalError
from chatnet.core.events import MessageState, NoticeLevel, RegistryPhase
from chatnet.core.limits import RegistryLimits
from chatnet.net.identity import KEY_FILE
from tests.support.shortage import no_descriptors
from tests.support.village import Village

TEN = ("ann", "bob", "carol", "dave", "eve", "frank", "grace", "heidi", "ivan", "judy")


@pytest_twisted.ensureDeferred
async def test_ten_see_each_other(village: Village) -> None:
    everybody = await village.people(*TEN)
    assert [one.phase for one in everybody] == [RegistryPhase.UP] * 10
    assert all(one.state is not None and one.state.listed == 9 for one in everybody)


@pytest_twisted.ensureDeferred
async def test_who_quits_leaves_at_once(village: Village) -> None:
    ann, bob, carol = await village.people("ann", "bob", "carol")
    before = village.registry_machine.seconds()
    await carol.stop()
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"}, within=1)
    assert village.registry_machine.seconds() - before < 3


@pytest_twisted.ensureDeferred
async def test_who_is_silent_leaves_and_is_back_when_he_goes_on(village: Village) -> None:
    ann, bob, carol = await village.people("ann", "bob", "carol")
    host = carol.machine.host
    village.freeze(carol)
    await village.pass_time(40)
    assert ann.online == {"bob", "carol"}
    await village.pass_time(37)  # 75 s of silence, looked at once a second
    assert ann.online == {"bob"}
    assert bob.online == {"ann"}
    village.thaw(host)
    await village.until(lambda: ann.online == {"bob", "carol"} and carol.phase is RegistryPhase.UP, within=60)
    assert carol.online == {"ann", "bob"}
    assert RegistryPhase.LOST in carol.phases


@pytest_twisted.ensureDeferred
async def test_quiet_links_live(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.pass_time(1000, step=1)
    assert RegistryPhase.LOST not in ann.phases + bob.phases
    assert ann.online == {"bob"}
    assert bob.online == {"ann"}


@pytest_twisted.ensureDeferred
async def test_a_killed_registry_stops_no_chat_and_everybody_is_back_with_it(village: Village) -> None:
    ann, bob, carol = everybody = await village.people("ann", "bob", "carol")
    await village.done(ann.door.say(bob.chat, "before"))
    await village.until(lambda: bob.texts(ann.peer) == ["before"])
    await village.kill_registry()
    await village.until(lambda: all(one.phase is RegistryPhase.LOST for one in everybody), within=2)
    assert ann.state is not None
    assert ann.state.retry_at_ms is not None
    await village.done(ann.door.say(bob.chat, "on the link that is there"))
    await village.done(ann.door.say(carol.chat, "on a new one, by the last list"))
    await village.until(lambda: len(bob.texts(ann.peer)) == 2 and len(carol.texts(ann.peer)) == 1)
    await village.pass_time(120)
    assert [one.phase for one in everybody] == [RegistryPhase.LOST] * 3
    assert ann.online == {"bob", "carol"}  # the last list

    village.open_registry()
    await village.until(lambda: all(one.phase is RegistryPhase.UP for one in everybody), within=60)
    await village.until(lambda: all(len(one.online) == 2 for one in everybody))
    await village.pass_time(5)
    assert village.registry is not None
    assert village.registry.present == 3
    assert len(village.registry.links) == 3
    assert [len(one.people) for one in everybody] == [2, 2, 2]
    assert bob.texts(ann.peer) == ["before", "on the link that is there"]
    assert ann.states(bob.peer) == [MessageState.DELIVERED] * 2


@pytest_twisted.ensureDeferred
async def test_a_registry_that_stops_says_so_and_who_left_meanwhile_is_gone(village: Village) -> None:
    ann, bob, carol = await village.people("ann", "bob", "carol")
    await village.shut_registry()
    await village.until(lambda: ann.phase is RegistryPhase.LOST)
    await carol.stop()
    assert ann.online == {"bob", "carol"}  # nobody can know yet
    village.open_registry()
    await village.until(lambda: ann.phase is bob.phase is RegistryPhase.UP, within=60)
    grace = RegistryLimits().grace_seconds  # who was here is presumed to be so long
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"}, within=grace + 5, step=0.5)


@pytest_twisted.ensureDeferred
async def test_a_registry_away_for_hours_is_found_again(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.kill_registry()
    await village.pass_time(3 * 3600, step=15)
    village.open_registry()
    await village.until(lambda: ann.phase is RegistryPhase.UP and bob.phase is RegistryPhase.UP, within=60)
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"})


@pytest_twisted.ensureDeferred
async def test_a_peer_that_starts_without_a_registry_finds_it_later(village: Village) -> None:
    await village.shut_registry()
    ann = village.villager("ann").start()
    await village.until(lambda: ann.phase is RegistryPhase.LOST)
    assert ann.state is not None
    assert "refused" in ann.state.reason
    village.open_registry()
    await village.until(lambda: ann.phase is RegistryPhase.UP, within=60)


@pytest_twisted.ensureDeferred
async def test_a_new_start_of_a_crashed_peer_replaces_what_is_left_of_it(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(bob.door.say(ann.chat, "one"))
    await village.until(lambda: ann.texts(bob.peer) == ["one"])
    village.net.unplug(bob.machine.host)
    former = bob.peer
    await bob.stop()
    assert ann.online == {"bob"}  # nobody has heard of it
    await village.done(ann.door.say(former, "into the void"))
    assert ann.states(former) == [MessageState.SENT]

    village.net.replug(bob.machine.host)
    bob.start()
    await village.until(lambda: bob.phase is RegistryPhase.UP and bob.online == {"ann"}, within=60)
    await village.done(bob.door.say(ann.chat, "two"))
    await village.until(lambda: ann.texts(former) == ["one", "into the void", "two"])  # the order of storing here
    await village.until(lambda: ann.states(former) == [MessageState.DELIVERED])
    assert sorted(bob.texts(ann.peer)) == ["into the void", "two"]
    assert village.registry is not None
    assert village.registry.present == 2
    assert len(ann.node.links.links) == len(bob.node.links.links) == 1


@pytest_twisted.ensureDeferred
async def test_who_lost_the_database_but_not_the_key_is_listed_and_reached(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    key = bob.node.places.data / KEY_FILE
    seq = ann.node.roster.entries[bob.peer].seq
    await bob.stop()
    for file in key.parent.iterdir():
        if file != key:
            file.unlink()
    await village.pass_time(10)
    bob.start()
    await village.until(lambda: bob.online == {"ann"} and ann.online == {"bob"}, within=60)
    assert ann.node.roster.entries[bob.peer].seq > seq
    (notice,) = [notice for notice in bob.node.notices.last if notice.code == "history-missing"]
    assert notice.level is NoticeLevel.WARNING
    await village.done(ann.door.say(bob.chat, "hello"))
    await village.until(lambda: bob.texts(ann.peer) == ["hello"])


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("missing", [True, False], ids=["missing", "another"])
async def test_a_history_without_its_key_is_not_opened(village: Village, missing: bool) -> None:
    ann, bob = await village.people("ann", "bob")
    key, peer = bob.node.places.data / KEY_FILE, bob.peer
    kept = key.read_bytes()
    await bob.stop()
    key.unlink()
    if not missing:
        key.write_bytes((ann.node.places.data / KEY_FILE).read_bytes())
        key.chmod(0o600)
    bob.start(log_in=False)
    with pytest.raises(LocalError, match="is missing" if missing else "belongs to the key") as caught:
        await village.done(bob.door.login("bob", str(bob.registry)))
    assert caught.value.code == "key"
    await bob.stop()
    key.write_bytes(kept)
    key.chmod(0o600)
    bob.start()
    await village.until(lambda: bob.online == {"ann"})
    assert bob.peer == peer


@pytest_twisted.ensureDeferred
async def test_also_with_a_clock_that_went_back_by_years(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    data, seq = bob.node.places.data, ann.node.roster.entries[bob.peer].seq
    await bob.stop()
    for file in data.iterdir():
        if file.name != KEY_FILE:
            file.unlink()
    bob.wall_offset = -100_000_000.0
    bob.start()
    await village.until(lambda: bob.phase is RegistryPhase.LOST and bob.state is not None)
    assert bob.state is not None
    assert bob.state.code == "bad-record"
    await village.until(lambda: bob.online == {"ann"} and ann.online == {"bob"}, within=60)
    assert ann.node.roster.entries[bob.peer].seq > seq


@pytest_twisted.ensureDeferred
async def test_where_the_registry_reached_a_peer_is_marked_for_the_others(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.until(lambda: ann.node.roster.proven(bob.peer) == 1 and bob.node.roster.proven(ann.peer) == 1)
    await village.pass_time(10)
    assert len(village.net.lines("127.0.1.1", bob.machine.host)) == 1  # the probe did not stay
    # It holds over a restart of the reader, who is told only what changed since.
    await ann.stop()
    ann.start()
    await village.until(lambda: ann.online == {"bob"})
    assert ann.node.roster.proven(bob.peer) == 1


@pytest_twisted.ensureDeferred
async def test_also_when_the_registry_has_forgotten_and_only_the_others_remember(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    data, seq = bob.node.places.data, ann.node.roster.entries[bob.peer].seq
    await bob.stop()
    await village.shut_registry()
    for file in [*data.iterdir(), *village.directory.glob("registry.db*")]:
        if file.name != KEY_FILE:
            file.unlink()
    village.open_registry()
    await village.until(lambda: ann.phase is RegistryPhase.UP, within=60)
    await village.pass_time(2)  # the number of a record whose former is lost is the time in seconds
    bob.start()
    await village.until(lambda: bob.online == {"ann"} and ann.online == {"bob"}, within=60)
    assert ann.node.roster.entries[bob.peer].seq > seq


@pytest_twisted.ensureDeferred
async def test_a_peer_that_lacked_descriptors_while_the_registry_was_away_comes_back(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.shut_registry()
    await village.until(lambda: ann.phase is RegistryPhase.LOST and bob.phase is RegistryPhase.LOST)
    with no_descriptors():
        await village.until(lambda: ann.state and ann.state.code == "interfaces", within=60)
    assert ann.phase is RegistryPhase.LOST
    village.open_registry()
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"}, within=120)


@pytest_twisted.ensureDeferred
async def test_of_a_stranger_who_has_gone_the_name_is_kept_until_others_have_gone(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await village.people("ann", "bob")
    stranger = village.villager("mallory").start()
    await village.until(lambda: ann.online == {"bob", "mallory"} and stranger.online == {"ann", "bob"})
    await village.done(stranger.door.connect(ann.peer))
    await village.done(bob.door.say(ann.chat, "hello"))
    await village.until(lambda: bob.states(ann.peer) == [MessageState.DELIVERED])
    await village.until(lambda: ann.people[stranger.peer].linked)
    friend, gone = bob.peer, {stranger.peer, bob.peer}
    for one in (stranger, bob):
        await village.done(Deferred.fromCoroutine(one.node.registration.stop()))  # off the list, then off the link
        await village.until(lambda peer=one.peer: peer not in ann.node.roster.listed)
        await one.stop()
    await village.until(lambda: ann.online == set() and not ann.node.links.links)
    await village.pass_time(1)
    roster, outbox = ann.node.roster, ann.node.outbox
    assert not outbox._outbound.keys() & gone
    assert {peer for peer in gone if ann.people[peer].remembered} == gone - {friend}
    monkeypatch.setattr(roster_module, "PEOPLE_REMEMBERED", 1)
    carol = village.villager("carol").start()
    await village.until(lambda: ann.online == {"carol"})
    await carol.stop()
    await village.until(lambda: ann.online == set())
    await village.settle()
    assert ann.people.keys() & gone == {friend}
    assert roster.entries.keys() & gone == roster._acquaintances.keys() & gone == {friend}
