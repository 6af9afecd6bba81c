"""Whatever is lost on the way, two machines come to agree once the links hold."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatnet.core.transfer import transfer_events as ev
from chatnet.core.transfer.transfer_machine import PausedBy, Phase
from tests.core.transfer.joined import World


def agreed(world: World) -> None:
    """Both sides know the same: it has ended, or it waits for the same person."""
    mine, theirs = world.sender.machine, world.receiver.machine
    story = (mine, theirs, world.sender.events[-12:], world.receiver.events[-12:])
    if theirs is None:
        assert mine.ended, story
        assert mine.told, story
        return
    if mine.phase is Phase.DONE and not theirs.ended:  # no store took that it has everything: it will see that
        assert theirs.phase is Phase.OFFERED or PausedBy.HERE in theirs.paused, story
        return
    assert mine.ended == theirs.ended, story
    if mine.ended:
        assert mine.told, story
        assert theirs.told, story
    elif theirs.phase is Phase.OFFERED:  # an acceptance that no store took ended with its process
        assert mine.phase in (Phase.OFFERED, Phase.BROKEN, Phase.PAUSED), story
    else:
        assert mine.phase is theirs.phase is Phase.PAUSED, story
        for one, other in ((mine, theirs), (theirs, mine)):
            if PausedBy.HERE in one.paused:
                assert PausedBy.THERE in other.paused or PausedBy.HERE in other.paused, story
        assert PausedBy.HERE in mine.paused | theirs.paused, story


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_two_machines_agree_once_the_links_hold(data: Any) -> None:
    world = World()
    for _ in range(data.draw(st.integers(0, 60))):
        possible = list(world.accidents(endings=data.draw(st.integers(0, 9)) == 9))
        possible[data.draw(st.integers(0, len(possible) - 1))][1]()
        world.check()
    world.settle()
    world.check()
    agreed(world)


def test_the_good_way() -> None:
    world = World()
    world.settle()
    assert world.receiver.machine.phase is Phase.OFFERED
    world.receiver.give(ev.PersonAccepts())
    world.settle()
    assert world.sender.machine.phase is world.receiver.machine.phase is Phase.DONE
    agreed(world)
