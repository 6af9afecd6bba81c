"""The header above the tabs."""

from __future__ import annotations

from chatnet.core.events import RegistryPhase, TransferState
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB = key_of("bob")


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


def test_rates_are_summed(console: Typist) -> None:
    for title in ("a", "b"):
        transfer = console.peer.offered(BOB, title, 10**9)
        console.peer.change_transfer(transfer.fid, state=TransferState.RUNNING, bytes_per_second=24 * 2.0**20)
    console.settle()
    assert "↓ 48M  ↑ 0" in console.lines()[0]
