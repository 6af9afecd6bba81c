"""Our offers to one peer are made one after the other, at the pace that the other side takes."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from chatnet.core.bucket import TokenBucket
from chatnet.core.identity import PeerID
from chatnet.core.limits import PeerLimits
from chatnet.core.text import safe_line
from chatnet.core.transfer.outgoing import OutgoingTransfer
from chatnet.core.transfer.transfer_events import Input, OfferGranted
from chatnet.core.transfer.transfer_machine import Phase
from chatnet.peer.transfers import offering as offering_module
from chatnet.peer.transfers.managed import ManagedTransfer, OfferInfo, Outgoing
from chatnet.peer.transfers.offering import Offering
from chatnet.peer.transfers.table import TransferTable

DAVE = PeerID(b"d" * 32)


class Sender:
    """Makes each offer at once when it is let, and has an answer by then."""

    def __init__(self, waiting: int, limits: PeerLimits | None = None) -> None:
        self.clock = Clock()
        limits = limits or PeerLimits()
        nothing: Any = None
        self.table = TransferTable(self.clock, nothing, self, nothing, nothing, nothing, nothing)
        self.offering = Offering(self.clock, limits, self.table, self)
        self.made: list[float] = []  # when
        for number in range(waiting):
            fid = number.to_bytes(16, "big")
            info = OfferInfo(fid, DAVE, True, safe_line("a.txt"), (), safe_line(""), 1, 1, 0)
            self.table.enter(Outgoing(info, OutgoingTransfer(fid, limits)))

    def give(self, transfer: ManagedTransfer, event: Input) -> tuple[()]:
        assert event == OfferGranted()
        transfer.machine.phase = Phase.DECLINED
        self.made.append(self.clock.seconds())
        self.offering.made(transfer.peer)
        self.offering.ask(transfer.peer)
        return ()


def test_what_waited_is_offered_at_a_pace_that_a_program_of_version_0_1_0_takes() -> None:
    """It declines the sixth offer of a minute for good; each of ours is up to a second on its way."""
    sender = Sender(waiting=20)
    sender.offering.ask(DAVE)
    sender.clock.pump([0.1] * 3_000)
    assert len(sender.made) == 20
    theirs = TokenBucket(5 / 60, 5, 0.0)
    delays = [1.0, 1.0, 1.0, 1.0, 1.0, 0.0] * 4
    assert all(theirs.take(at + delay) for at, delay in zip(sender.made, delays, strict=False))
    assert sender.made[4] < 1  # as many at once as are taken
    assert sender.clock.getDelayedCalls() == []


def test_many_who_ask_in_one_turn_are_looked_at_once(monkeypatch: Any) -> None:
    """A link comes up with thousands of offers that wait, and each of them asks."""
    sender, looks = Sender(waiting=0), []
    monkeypatch.setattr(offering_module, "next_to_offer", lambda machines, limits: looks.append(machines))
    for _ in range(3_000):
        sender.offering.ask(DAVE)
    sender.clock.advance(0)
    assert len(looks) == 1


def test_no_timer_is_left() -> None:
    sender = Sender(waiting=6)
    sender.offering.ask(DAVE)
    sender.clock.pump([0.1] * 10)
    assert len(sender.made) == 5
    assert sender.clock.getDelayedCalls()
    sender.offering.stop()
    assert sender.clock.getDelayedCalls() == []
