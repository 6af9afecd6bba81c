"""What waits in front of a chat link."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger

from chatnet.core.messages import Cancel, Message
from chatnet.net.background import BackgroundTasks
from chatnet.peer.transfers.chat_line import ChatLine

ONE, TWO, THREE, FOUR = (Cancel(bytes([n]) * 16, "user") for n in range(4))


class SlowLink:
    """Takes a message whenever ``drain`` is called."""

    features = frozenset[str]()
    is_open = True
    congested = False

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.asked: list[Deferred[bool]] = []
        self.drained: list[Deferred[None]] = []

    def send(self, message: Message) -> None:
        self.sent.append(message)

    def when_drained(self) -> Deferred[None]:
        self.drained.append(Deferred())
        return self.drained[-1]

    def drain(self, clock: Clock) -> None:
        self.drained.pop().callback(None)
        clock.advance(0)

    def confirmed(self) -> Deferred[bool]:
        self.asked.append(Deferred())
        return self.asked[-1]


def test_what_is_dropped_is_not_said() -> None:
    clock: Any = Clock()
    link: Any = SlowLink()
    heard: list[str] = []
    line = ChatLine(clock, link, BackgroundTasks(Logger()), lambda: None)
    line.send_pages(iter((ONE, TWO)))
    line.confirm(lambda: heard.append("pages"))
    line.send(THREE)
    link.drain(clock)
    line.drop()
    line.send(FOUR)  # of another matter
    line.confirm(lambda: heard.append("the other"))
    link.drain(clock)
    link.drain(clock)
    assert link.sent == [ONE, FOUR]
    for asked in link.asked:
        asked.callback(True)
    assert heard == ["the other"]
    assert line.waiting == 0
