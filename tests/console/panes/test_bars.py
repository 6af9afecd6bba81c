"""The header above the tabs."""

from __future__ import annotations

from chatnet.core.events import RegistryPhase, SpeedLimits, TransferState
from tests.support.scripted_peer import furnished, key_of
from tests.support.typist import Typist, new_clock

ALICE, BOB = key_of("alice"), key_of("bob")


def test_the_header_tells_the_age_of_a_loss_every_second(console: Typist) -> None:
    console.peer.put_registry(RegistryPhase.LOST, "connection refused", "refused-connection", 8)
    console.wait(0.1)
    assert "registry LOST 0 s · 13 reachable" in console.lines()[0]
    assert "No answer from registry 192.0.2.1:9900 (connection" in console.screen()
    console.wait(40)
    assert "registry LOST 40 s · 13 reachable" in console.lines()[0] or "LOST 39 s" in console.lines()[0]
    console.type("/reconnect<enter>")
    assert console.calls("reconnect") == [("reconnect",)]
    assert "registry up" in console.lines()[0]


def test_a_notice_goes_when_an_offer_asks_for_an_answer(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.view.say("bob is not blocked any more.")
    console.peer.offered(ALICE, "other.txt", 10)
    console.wait(0.1)
    assert "bob is not blocked any more." in console.lines()[-1]  # the offer is in another tab
    console.peer.offered(BOB, "a.txt", 10)
    console.wait(0.1)
    assert "Alt-y accept" in console.lines()[-1]


def test_a_notice_goes_when_the_transfer_has_ended_otherwise(console: Typist) -> None:
    offer = console.peer.offered(BOB, "b.txt", 10, mine=True)
    console.wait(0.1)
    console.type("/msg bob<enter>")
    console.view.say('"b.txt" waits for bob to accept.')
    console.peer.answered_there(offer.fid, accept=False)
    console.settle()
    assert "bob did not take it" in console.words()
    assert "waits for bob to accept" not in console.words()


def test_a_warning_stays_and_each_line_for_ten_seconds_at_most(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.view.say("The disk does not answer.", warning=True)
    console.peer.offered(BOB, "a.txt", 10)
    console.wait(8)
    assert "The disk does not answer." in console.lines()[-1]
    console.wait(3)
    assert "Alt-y accept" in console.lines()[-1]


def test_rates_are_summed(console: Typist) -> None:
    for title in ("a", "b"):
        transfer = console.peer.offered(BOB, title, 10**9)
        console.peer.change_transfer(transfer.fid, state=TransferState.RUNNING, bytes_per_second=24 * 2.0**20)
    console.settle()
    assert "↓ 48M  ↑ 0" in console.lines()[0]


def test_a_limit_that_holds_is_in_the_header_at_every_width(console: Typist) -> None:
    """Fault C20."""
    assert "/" not in console.lines()[0]
    console.type("/limit up 2M<enter>")
    assert "↓ 0  ↑ 0/2.0M" in console.lines()[0]
    transfer = console.peer.offered(BOB, "a", 10**9, mine=True)
    console.peer.change_transfer(transfer.fid, state=TransferState.RUNNING, bytes_per_second=1.2 * 2.0**20)
    console.settle()
    assert "↑ 1.2M/2.0M" in console.lines()[0]
    console.peer.put_registry(RegistryPhase.LOST, "connection refused", "refused-connection", 8)
    for cols, rows in ((140, 40), (80, 24), (50, 14)):
        console.resize(cols, rows)
        assert "↑ 1.2M/2.0M" in console.lines()[0], cols
        assert "LOST" in console.lines()[0]
    console.type("/limit up off<enter>")
    console.resize(80, 24)
    assert "2.0M" not in console.lines()[0]


def test_a_limit_from_before_is_in_the_header_at_once() -> None:
    clock = new_clock()
    peer = furnished(clock)
    peer.limits = SpeedLimits(None, 300 * 1024)
    console = Typist(peer, clock=clock)
    assert "↓ 0/300K  ↑ 0" in console.lines()[0]
    console.close()
