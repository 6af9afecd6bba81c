"""Places of links at a peer: strangers share a part of them, and somebody known always gets in."""

from __future__ import annotations

import pytest
import pytest_twisted

from chatnet.core.errors import Refused
from chatnet.core.events import RegistryPhase
from chatnet.core.identity import chat_with
from chatnet.core.limits import PeerLimits
from chatnet.net.link import Link
from tests.support.strangers import Stranger
from tests.support.village import Village, Villager

FEW = PeerLimits(loopback="counted").changed("links=4").changed("links.strangers=3").changed("links.address=2")


async def dialled(village: Village, stranger: Stranger) -> Link:
    link: Link = await village.done(stranger.dial())
    return link


@pytest_twisted.ensureDeferred
async def test_somebody_known_gets_in_and_the_quietest_stranger_goes(village: Village) -> None:
    ann, bob = village.villager("ann").start(), village.villager("bob", limits=FEW).start()
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"})
    await village.done(bob.door.say(ann.chat, "now I know you"))
    await village.until(lambda: bob.texts(ann.peer) and ann.texts(bob.peer))
    await village.done(bob.door.say(ann.chat, "and again"))
    village.net.cut(ann.machine.host, bob.machine.host)
    await village.until(lambda: not bob.node.links.links)
    bob.node.budgets.links.shares = bob.node.budgets.links.shares._replace(all=3)
    strangers = [Stranger(village, bob, f"127.0.{n}.9") for n in range(3)]
    for one in strangers:
        await dialled(village, one)
        await village.pass_time(1)
    await village.done(ann.door.say(bob.chat, "let me in"))
    await village.until(lambda: "let me in" in bob.texts(ann.peer), within=5)
    await village.until(lambda: strangers[0].ends)
    assert [(end.code, end.by_remote) for end in strangers[0].ends] == [("busy", True)]
    assert strangers[0].ends[0].retry_after_s > 0
    assert strangers[1].ends == strangers[2].ends == []
    assert bob.node.budgets.links.held() == 3
    for one in strangers:
        await village.done(one.close())


@pytest_twisted.ensureDeferred
async def test_an_address_has_its_share_and_a_newcomer_displaces_the_greediest(village: Village) -> None:
    bob = village.villager("bob", limits=FEW).start()
    await village.until(lambda: bob.phase is RegistryPhase.UP)
    greedy = [Stranger(village, bob, "127.0.1.9") for _ in range(3)]
    for one in greedy[:2]:
        await dialled(village, one)
    with pytest.raises(Refused, match="from your address") as refused:
        await dialled(village, greedy[2])
    assert (refused.value.code, refused.value.retry_after_s) == ("busy", 60)
    other, newcomer = Stranger(village, bob, "127.0.2.9"), Stranger(village, bob, "127.0.3.9")
    await dialled(village, other)
    await dialled(village, newcomer)
    await village.until(lambda: greedy[0].ends)
    assert greedy[1].ends == other.ends == newcomer.ends == []
    assert bob.node.budgets.links.held() == 3
    for one in (*greedy, other, newcomer):
        await village.done(one.close())
    await village.until(lambda: bob.node.budgets.links.held() == 0)


@pytest_twisted.ensureDeferred
async def test_whoever_comes_waits_at_the_entrance_until_the_machine_has_time(village: Village) -> None:
    bob = village.villager("bob").start()
    await village.until(lambda: bob.phase is RegistryPhase.UP)
    await village.pass_time(1)  # the registry has dialled back
    village.freeze(bob)
    one = Stranger(village, bob, "127.0.9.9")
    dialling = one.dial()
    await village.pass_time(1)
    factory = bob.node.listener._factory
    assert (factory.waiting, factory.unproven) == (1, 0)
    village.thaw(bob.machine.host)
    await village.done(dialling)
    assert (factory.waiting, factory.unproven) == (0, 0)
    await village.done(one.close())


# --- from where known people come ---------------------------------------------------------------


def comes_first(bob: Villager, other: Villager) -> bool:
    """Whether bob serves what comes from the address of ``other`` before what comes from elsewhere."""
    return other.machine.host in bob.node.known_sources


@pytest_twisted.ensureDeferred
async def test_known_people_come_first_those_in_the_list_alone_do_not(village: Village) -> None:
    ann, bob, carol = await village.people("ann", "bob", "carol")
    assert not comes_first(bob, ann)
    await village.done(ann.door.say(bob.chat, "it is me"))
    await village.until(lambda: bob.texts(ann.peer))
    assert not comes_first(bob, ann)
    await village.done(bob.door.say(ann.chat, "I know you"))
    await village.until(lambda: ann.texts(bob.peer))
    assert comes_first(bob, ann)
    assert not comes_first(bob, carol)
    await village.done(bob.door.block(ann.peer, True))
    assert not comes_first(bob, ann)
    await ann.stop()
    await village.until(lambda: ann.name not in bob.online)
    assert not comes_first(bob, ann)


@pytest_twisted.ensureDeferred
async def test_a_start_knows_by_the_list_from_where_known_people_come(village: Village) -> None:
    ann, bob, carol = await village.people("ann", "bob", "carol")
    await village.done(bob.door.say(ann.chat, "I know you"))
    await village.until(lambda: ann.texts(bob.peer))
    await bob.stop()
    await village.shut_registry()
    bob.start()
    await village.until(lambda: bob.has_begun)
    assert comes_first(bob, ann)
    assert not comes_first(bob, carol)


@pytest_twisted.ensureDeferred
async def test_who_proves_a_key_that_is_known_at_a_new_address_comes_first_there(village: Village) -> None:
    bob = village.villager("bob").start()
    await village.until(lambda: bob.phase is RegistryPhase.UP)
    one = Stranger(village, bob, "127.0.9.9")
    await dialled(village, one)
    await village.done(bob.door.say(chat_with(one.peer), "I know you"))
    assert "127.0.9.9" in bob.node.known_sources
    bob.node.known_sources.forget(one.peer)
    assert not bob.node.links.links[one.peer].comes_first  # a stranger when it came
    await village.done(one.close())
    await village.until(lambda: "127.0.9.9" in bob.node.known_sources)
    await dialled(village, one)
    assert bob.node.links.links[one.peer].comes_first
    await village.done(one.close())


@pytest_twisted.ensureDeferred
async def test_a_registry_knows_from_where_its_peers_come_also_after_a_restart(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    assert village.registry is not None
    assert [host in village.registry._known_sources for host in (ann.machine.host, "127.0.9.9")] == [True, False]
    await village.shut_registry()
    registry = village.open_registry()
    await village.until(lambda: registry.serving.called)
    assert ann.machine.host in registry._known_sources
    await village.until(lambda: ann.phase is bob.phase is RegistryPhase.UP, within=60)
