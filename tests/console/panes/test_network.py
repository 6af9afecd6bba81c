"""The net tab: what is there, and what to do when it is not."""

from __future__ import annotations

import msgspec
import pytest

from chatnet.console.panes.base import Launch
from chatnet.core.events import NoticeLevel, RegistryPhase
from chatnet.core.identity import key_text, short_text
from tests.support.scripted_peer import ScriptedPeer, furnished, key_of
from tests.support.typist import Typist, new_clock


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


def test_where_the_join_string_needs_two_rows_myid_is_named_which_has_it_in_one() -> None:
    console = Typist(size=(80, 24))
    join = f"chatnet:192.0.2.1:9900/{key_text(key_of('registry'))}"
    assert "twistd -n chatpeer --name YOU --registry JOIN" in console.screen()
    assert "/myid shows it in one row" in console.words()
    assert join not in "".join(line.strip() for line in console.screen().split("│"))
    console.type("/myid<enter>")
    assert any(join in line for line in console.lines())
    console.close()


def test_a_registry_that_was_never_found_is_said_with_what_to_do(console: Typist) -> None:
    console.peer.registry = msgspec.structs.replace(console.peer.registry, key=None)
    console.peer.put_registry(RegistryPhase.LOST, "connection refused", "refused-connection", 8)
    console.wait(0.1)
    assert "twistd -n chatregistry" in console.screen()
    assert "Wrong address? Quit, and start with --registry" in console.words()


@pytest.mark.parametrize("code", ["bad-record", "busy", "store", "struck"])
def test_a_registry_that_answers_no_for_a_while_has_answered(console: Typist, code: str) -> None:
    console.peer.registry = msgspec.structs.replace(console.peer.registry, key=None)
    console.peer.put_registry(RegistryPhase.LOST, "the record's seq 5 is below 7", code, 8)
    console.wait(0.1)
    assert "Registry 192.0.2.1:9900 refused this try (the record's seq 5 is below 7)." in console.words()
    assert "No answer" not in console.screen()
    assert "Not started yet?" not in console.screen()


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


@pytest.mark.parametrize("size", [(50, 14), (80, 24), (140, 40)])
def test_the_demo_names_nothing_that_outlives_it(size: tuple[int, int]) -> None:
    clock = new_clock()
    console = Typist(furnished(clock), size=size, clock=clock, launch=Launch(is_demo=True))
    seen = [console.all_words()]
    assert ("which deletes it all" if size[0] < 54 else "Welcome to the demo. Here you are carol") in seen[0]
    console.type("/myid<enter>")
    seen.append(console.all_words())
    assert "The registry of this demo, as long as it runs:" in seen[-1]
    console.type("<esc><ctrl z>")
    seen.append(console.all_words())
    assert "Ctrl-C twice ends the demo." in seen[-1]
    console.type("half a message<ctrl c>")
    seen.append(console.all_words())
    console.peer.people.clear()
    console.peer.registry = msgspec.structs.replace(console.peer.registry, key=None)
    console.peer.put_registry(RegistryPhase.LOST, "connection refused", "refused-connection", 8)
    console.wait(0.1)
    seen.append(console.all_words())
    assert not [word for screen in seen for word in ("twistd", "keep it", "next time") if word in screen]
    console.close()


def test_alone_in_the_demo_echo_is_awaited() -> None:
    console = Typist(launch=Launch(is_demo=True))
    assert "echo comes in a moment" in console.all_words()
    assert "twistd" not in console.all_words()
    console.close()


def test_commands_for_this_machine_can_be_typed_here() -> None:
    launch = Launch(".venv/bin/twistd")
    clock = new_clock()
    console = Typist(furnished(clock), clock=clock, launch=launch)
    assert ".venv/bin/twistd chatpeer --name carol" in console.words()
    console.type("<ctrl z>")
    assert ".venv/bin/twistd chatpeer --name carol" in " ".join(console.lines()[-2:])
    console.close()
    alone = ScriptedPeer(clock)
    for address, twistd in (("127.0.0.1:9901", ".venv/bin/twistd"), ("192.0.2.1:9900", "twistd")):
        alone.registry = msgspec.structs.replace(alone.registry, address=address)
        console = Typist(alone, size=(120, 24), clock=clock, launch=launch)
        assert f"   {twistd} -n chatpeer --name YOU" in console.screen()
        console.close()
