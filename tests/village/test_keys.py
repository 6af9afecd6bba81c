"""Names and keys: who may have a name, whose key is believed, what is held back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from chatnet.core.errors import LocalError, Refused
from chatnet.core.events import Event, MessageState, RegistryChanged, RegistryPhase, TransferState
from chatnet.core.identity import key_text, short_text
from chatnet.core.limits import PeerLimits
from tests.support.links import new_identity
from tests.support.village import Village, Villager

JOIN = "tcp:127.0.1.1:9900"


async def impostor_of_bob(village: Village) -> tuple[Villager, Villager, Villager]:
    """Ann has talked to bob; the registry has lost its names; another key is listed as bob."""
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.say(bob.chat, "hello"))
    await village.until(lambda: ann.states(bob.peer) == [MessageState.DELIVERED])
    await bob.stop()
    await village.shut_registry()
    (village.directory / "registry.db").unlink()
    village.open_registry()
    await village.until(lambda: ann.phase is RegistryPhase.UP, within=60)
    impostor = village.villager("bob", place="impostor").start()
    await village.until(lambda: impostor.online == {"ann"})
    return ann, bob, impostor


@pytest_twisted.ensureDeferred
async def test_the_form_refuses_a_taken_name_and_leaves_nothing(village: Village) -> None:
    (bob,) = await village.people("bob")
    other = village.villager("bob", place="other").start(log_in=False)
    with pytest.raises(Refused) as refusal:
        await village.done(other.door.login("bob", JOIN))
    assert refusal.value.code == "name-taken"
    assert not (other.roots.data / "bob").exists()
    assert not (other.roots.state / "bob").exists()
    me = await village.done(other.door.login("bobby", JOIN))
    assert me.name == "bobby"
    await village.until(lambda: bob.online == {"bobby"} and other.online == {"bob"})


@pytest.mark.parametrize(
    ("name", "registry", "code"),
    [("Not A Name", JOIN, "bad-name"), ("registry", JOIN, "bad-name"), ("carol", "tcp:nowhere", "bad-registry")],
)
@pytest_twisted.ensureDeferred
async def test_the_form_says_what_cannot_be(village: Village, name: str, registry: str, code: str) -> None:
    other = village.villager("", place="other").start(log_in=False)
    with pytest.raises(LocalError) as refusal:
        await village.done(other.door.login(name, registry))
    assert refusal.value.code == code
    assert not other.roots.data.exists()


@pytest_twisted.ensureDeferred
async def test_the_form_says_that_the_profile_is_in_use(village: Village) -> None:
    (bob,) = await village.people("bob")
    twin = village.villager("bob").start(log_in=False)
    with pytest.raises(LocalError) as refusal:
        await village.done(twin.door.login("bob", JOIN))
    assert refusal.value.code == "twin"
    assert bob.phase is RegistryPhase.UP


@pytest_twisted.ensureDeferred
async def test_the_form_logs_in_without_a_registry_too(village: Village) -> None:
    await village.shut_registry()
    one = village.villager("", place="one").start(log_in=False)
    me = await village.done(one.door.login("carol", JOIN))
    assert me.name == "carol"
    assert me.new_key
    await village.until(lambda: one.phase is RegistryPhase.LOST)
    village.open_registry()
    await village.until(lambda: one.phase is RegistryPhase.UP, within=60)


@pytest_twisted.ensureDeferred
async def test_a_taken_name_on_the_command_line(village: Village) -> None:
    await village.people("bob")
    other = village.villager("bob", place="other").start()
    await village.until(lambda: other.phase is RegistryPhase.REFUSED)
    assert other.state is not None
    assert other.state.code == "name-taken"
    await village.until(lambda: not (other.roots.data / "bob").exists())
    with pytest.raises(LocalError):
        await village.done(other.door.say(bytes(32), "nobody is logged in"))


@pytest_twisted.ensureDeferred
async def test_a_stop_amid_the_refusal_of_a_name_still_leaves_nothing(village: Village) -> None:
    await village.people("bob")
    other = village.villager("bob", place="other").start()
    door, stopping = other.door, []

    def heard(event: Event) -> None:
        if isinstance(event, RegistryChanged) and event.registry.phase is RegistryPhase.REFUSED:
            assert (other.roots.data / "bob").exists()  # it is closing, and not closed
            stopping.append(Deferred.fromCoroutine(door.stopService()))

    door.subscribe(heard)
    with capturedLogs() as logged:
        await village.until(lambda: bool(stopping))
        await village.done(stopping[0])
    other.service = None
    assert not [event for event in logged if event.get("log_failure")]
    assert not (other.roots.data / "bob").exists()


@pytest_twisted.ensureDeferred
async def test_another_registry_key_is_not_joined(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.say(bob.chat, "hello"))
    await village.until(lambda: bob.texts(ann.peer) == ["hello"])
    await ann.stop()
    await village.shut_registry()
    former, village.registry_identity = village.registry_identity, new_identity()
    village.open_registry()
    ann.start()
    await village.until(lambda: ann.phase is RegistryPhase.WRONG_KEY)
    assert ann.state is not None
    assert short_text(former.peer_id) in ann.state.reason
    assert short_text(village.registry_identity.peer_id) in ann.state.reason
    await village.until(lambda: bob.phase is RegistryPhase.WRONG_KEY, within=60)
    await village.pass_time(600, step=2)
    assert village.registry is not None
    assert village.registry.present == 0
    # The others are reached all the same.
    await village.done(ann.door.say(bob.chat, "still here"))
    await village.until(lambda: bob.texts(ann.peer) == ["hello", "still here"])

    await village.shut_registry()
    village.registry_identity = former
    village.open_registry()
    await village.done(ann.door.reconnect())
    await village.until(lambda: ann.phase is RegistryPhase.UP)


@pytest_twisted.ensureDeferred
async def test_a_known_name_with_another_key_gets_nothing(village: Village) -> None:
    ann, _, impostor = await impostor_of_bob(village)
    key = next(iter(ann.people))
    await village.until(lambda: ann.people[key].new_key == impostor.peer)
    assert [person.name for person in ann.people.values()] == ["bob"]
    row = await village.done(ann.door.say(key, "for the real bob"))
    assert row.state is MessageState.HELD
    with pytest.raises(LocalError) as refusal:
        await village.done(ann.door.offer(key, (os.fsencode(village.directory / "registry.db"),)))
    assert refusal.value.code == "held"
    await village.pass_time(120)
    assert ann.states(key) == [MessageState.DELIVERED, MessageState.HELD]
    assert impostor.added == []
    assert not village.net.lines(ann.machine.host, impostor.machine.host)


@pytest_twisted.ensureDeferred
async def test_who_uses_a_known_name_is_not_taken_for_its_owner(village: Village) -> None:
    ann, _, impostor = await impostor_of_bob(village)
    key = next(iter(ann.people))
    await village.done(impostor.door.say(ann.chat, "it is me, bob"))
    await village.until(lambda: impostor.states(ann.peer) == [MessageState.DELIVERED])
    await village.until(lambda: ann.texts(impostor.peer) == ["it is me, bob"])
    assert ann.texts(key) == ["hello"]
    await village.until(lambda: impostor.peer in ann.people)
    assert ann.people[impostor.peer].name == "?" + short_text(impostor.peer)


@pytest_twisted.ensureDeferred
async def test_files_of_a_key_that_nothing_vouches_for_get_a_folder_of_their_own(village: Village) -> None:
    ann, _, impostor = await impostor_of_bob(village)
    path = village.directory / "photo.jpg"
    path.write_bytes(b"not from bob")
    transfer = await village.done(impostor.door.offer(ann.chat, (os.fsencode(path),)))
    await village.until(lambda: transfer.fid in ann.transfers)
    await village.done(ann.door.accept(transfer.fid))
    await village.until(lambda: ann.transfers[transfer.fid].state is TransferState.DONE)
    found = [saved.relative_to(ann.roots.downloads) for saved in ann.roots.downloads.rglob("photo.jpg")]
    assert found == [Path(f"bob-{key_text(impostor.peer)[:13]}", "photo.jpg")]


@pytest_twisted.ensureDeferred
async def test_a_peer_with_all_its_links_says_when_to_come_again(village: Village) -> None:
    bob = village.villager("bob", limits=PeerLimits().changed("links=1")).start()
    ann, carol = village.villager("ann").start(), village.villager("carol").start()
    await village.until(lambda: all("bob" in one.online for one in (ann, carol)))
    await village.done(ann.door.say(bob.chat, "first"))
    await village.until(lambda: bob.texts(ann.peer) == ["first"])
    await village.done(bob.door.say(ann.chat, "I know you, so that nobody takes your place"))
    await village.done(carol.door.say(bob.chat, "second"))
    await village.pass_time(40)
    assert bob.texts(carol.peer) == []
    assert any("too many links" in text for text in carol.notices)
    ann.node.links.links[bob.peer].leave()
    await village.until(lambda: bob.texts(carol.peer) == ["second"], within=60)


@pytest_twisted.ensureDeferred
async def test_so_many_dials_at_once(village: Village) -> None:
    ann = village.villager("ann", limits=PeerLimits(dials_at_once=2)).start()
    others = [village.villager(f"other{number}").start() for number in range(5)]
    await village.until(lambda: len(ann.online) == 5)
    for other in others:
        village.net.unplug(other.machine.host)
    for other in others:
        await village.done(ann.door.say(other.chat, "is anybody there?"))
    assert (ann.node.links._dials.tokens, len(ann.node.links._dials.waiting)) == (0, 3)
