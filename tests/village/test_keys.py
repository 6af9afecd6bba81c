"""Names and keys: who may have a name, whose key is believed, what is held back."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.logger import capturedLogs

from chatnet.core.errors import LocalError, Refused
from chatnet.core.events import MessageState, RegistryPhase
from chatnet.core.identity import short_text
from tests.support.links import new_identity
from tests.support.village import Village, Villager

JOIN = "tcp:127.0.1.1:9900"


async def impostor_of_bob(village: Village) -> tuple[Villager, Villager, Villager]:
    """Ann has talked to bob; the registry has lost its names; another key is listed as bob."""
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.say(bob.peer, "hello"))
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
    await village.until(lambda: other.phase is RegistryPhase.REFUSED)
    assert (other.roots.data / "bob").exists()  # it is closing, and not closed
    with capturedLogs() as logged:
        await other.stop()
    assert not [event for event in logged if event.get("log_failure")]
    assert not (other.roots.data / "bob").exists()


@pytest_twisted.ensureDeferred
async def test_another_registry_key_is_not_joined(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
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
    await village.done(ann.door.say(bob.peer, "still here"))
    await village.until(lambda: bob.texts(ann.peer) == ["still here"])

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
        await village.done(ann.door.offer(key, (str(village.directory / "registry.db"),)))
    assert refusal.value.code == "held"
    await village.pass_time(120)
    assert ann.states(key) == [MessageState.DELIVERED, MessageState.HELD]
    assert impostor.added == []
    assert not village.net.lines(ann.machine.host, impostor.machine.host)


@pytest_twisted.ensureDeferred
async def test_who_uses_a_known_name_is_not_taken_for_its_owner(village: Village) -> None:
    ann, _, impostor = await impostor_of_bob(village)
    key = next(iter(ann.people))
    await village.done(impostor.door.say(ann.peer, "it is me, bob"))
    await village.until(lambda: impostor.states(ann.peer) == [MessageState.DELIVERED])
    await village.until(lambda: ann.texts(impostor.peer) == ["it is me, bob"])
    assert ann.texts(key) == ["hello"]
    await village.until(lambda: impostor.peer in ann.people)
    assert ann.people[impostor.peer].name == "?" + short_text(impostor.peer)
