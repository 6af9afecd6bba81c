"""How fast somebody may talk to one who does not know him, over however many links."""

from __future__ import annotations

import pytest_twisted

from chatnet.core.limits import PeerLimits
from tests.support.village import Village

RATE, BURST, MESSAGES = 1, 5, 60
STRICT = PeerLimits(stranger_messages_per_second=RATE, stranger_messages_burst=BURST).changed("requests.key=100")


@pytest_twisted.ensureDeferred
async def test_a_new_link_is_no_new_allowance(village: Village) -> None:
    ann, bob = village.villager("ann").start(), village.villager("bob", limits=STRICT).start()
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"})
    began, links = ann.machine.seconds(), 0
    for number in range(MESSAGES):
        await village.done(ann.door.say(bob.chat, f"{number}"))
    until = ann.machine.seconds() + 60  # the wait after a link that did not hold grows
    while ann.machine.seconds() < until:
        await village.pass_time(0.5)
        passed = ann.machine.seconds() - began
        assert len(bob.added) <= BURST + RATE * (passed + 2) + 1
        links += bool(village.net.lines(ann.machine.host, bob.machine.host))
        village.net.cut(ann.machine.host, bob.machine.host)
    assert links > BURST
    await village.until(lambda: len(bob.added) == MESSAGES, within=120)
    assert bob.texts(ann.peer) == [f"{number}" for number in range(MESSAGES)]
