"""The net tab: what is there, and what to do when it is not."""

from __future__ import annotations

import msgspec

from chatnet.core.events import NoticeLevel, RegistryPhase
from chatnet.core.identity import key_text, short_text
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist


def test_the_first_screen_says_what_is_and_what_to_do(console: Typist) -> None:
    screen = console.screen()
    for text in ("Welcome, carol. New key made:", "found, key remembered:", "13 people are here:", "F5, or  /send bob"):
        assert text in screen
    assert console.lines()[0].startswith(f" chatnet  carol {short_text(key_of('carol'))}")
    assert "registry up · 13 peers" in console.lines()[0]
    assert "bob is linked, direct." in screen
    assert console.memory.title == "carol (2) — chatnet"


def test_alone_the_command_for_another_machine_is_shown() -> None:
    console = Typist(size=(120, 24))
    assert "Nobody else is here yet. On another machine:" in console.screen()
    assert "twistd -n chatpeer --name YOU --registry \\" in console.screen()
    assert f"chatnet:192.0.2.1:9900/{key_text(key_of('registry'))}" in console.screen()
    console.close()


def test_a_registry_that_was_never_found_is_said_with_what_to_do(console: Typist) -> None:
    console.peer.registry = msgspec.structs.replace(console.peer.registry, key=None)
    console.peer.put_registry(RegistryPhase.LOST, "connection refused", "refused-connection", 8)
    console.wait(0.1)
    assert "twistd -n chatregistry" in console.screen()
    assert "Wrong address? Quit, and start with --registry" in console.words()


def test_a_wrong_registry_key_is_no_quiet_matter(console: Typist) -> None:
    console.peer.put_registry(RegistryPhase.WRONG_KEY, "This is not the registry you used before.")
    console.settle()
    assert "ANOTHER KEY" in console.lines()[0]
    assert "net!" in console.lines()[1]
    assert "This is not the registry you used before." in console.words()
    assert "start with the join string that it prints now" in console.words()


def test_notices_come_into_the_net_tab(console: Typist) -> None:
    console.peer.put_notice("the clock of bob is 2 h ahead", NoticeLevel.WARNING)
    console.wait(0.1)
    assert "! " in console.screen()
    assert "the clock of bob" in console.screen()


def test_a_second_place_is_said_with_the_way_back(console: Typist) -> None:
    console.peer.put_registry(RegistryPhase.REFUSED, "this key also runs somewhere else", "elsewhere")
    console.wait(0.1)
    assert "registry ELSEWHERE" in console.lines()[0]
    assert "carol also runs somewhere else" in console.words()
    console.type("/takeover<enter>")
    assert console.calls("take_over") == [("take_over",)]
