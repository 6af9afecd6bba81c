"""The login form."""

from __future__ import annotations

from twisted.internet.defer import fail

from chatnet.console.app import LoginDefaults
from chatnet.core.errors import CannotListen, LocalError
from chatnet.core.events import RegistryPhase
from chatnet.core.join_string import join_string
from tests.support.scripted_peer import ScriptedPeer, key_of
from tests.support.typist import Typist, new_clock


def form() -> Typist:
    clock = new_clock()
    return Typist(ScriptedPeer(clock, name=""), login=LoginDefaults("root", "127.0.0.1:9900"), clock=clock)


def test_defaults_stand_in_the_fields_and_enter_logs_in() -> None:
    console = form()
    screen = console.screen()
    for text in ("Your name", "root", "Registry", "127.0.0.1:9900", "[ Login ]"):
        assert text in screen
    assert "resentation" not in screen
    assert "Tab next field" in screen
    assert "registry" not in console.lines()[0]
    console.type("<ctrl a><ctrl k>carol<enter>")
    assert console.calls("login") == [("login", "carol", "127.0.0.1:9900", "")]
    assert "Logging in" in console.screen()
    console.wait(0.5)
    assert "Welcome, carol" in console.screen()
    console.close()


def test_refusals_stand_above_the_fields_and_the_form_is_there_again() -> None:
    console = form()
    console.press(*["backspace"] * 4)
    console.type("bob<enter>")
    console.wait(0.5)
    lines = console.lines()
    reason = next(i for i, line in enumerate(lines) if "The name bob belongs to another key." in line)
    field = next(i for i, line in enumerate(lines) if "Your name" in line)
    assert reason < field
    assert "Another one makes a new key with an empty history" in console.all_words()
    assert "bob" in lines[field]
    console.press(*["backspace"] * 3)
    console.type("x y<enter>")
    assert "'x y' cannot be a name" in console.screen()
    console.press(*["backspace"] * 3)
    console.type("xy<enter>")
    console.wait(0.5)
    assert "Welcome, xy" in console.screen()
    console.close()


def test_a_port_that_is_taken_is_told_with_the_option_that_chooses_another() -> None:
    console = form()
    taken = CannotListen("in-use", "cannot listen on port 7000: already in use.", "tcp:7001")
    console.peer.login = lambda name, registry, presentation="": fail(taken)  # type: ignore[method-assign]
    console.type("<enter>")
    console.wait(0.5)
    assert "port 7000: already in use. Start again with --listen tcp:7001." in " ".join(console.screen().split())
    console.close()


def test_tab_and_mouse_move_and_the_button_works() -> None:
    console = form()
    console.type("<tab><end>1")
    console.click("root")
    console.type("1")
    console.click("[ Login ]")
    assert console.calls("login")[0][2:] == ("127.0.0.1:99001", "")
    console.close()


def test_a_paste_goes_into_the_field_and_logs_nobody_in() -> None:
    console = form()
    console.type("<tab>")
    console.press(*["backspace"] * 14)
    console.paste("chatnet:192.0.2.1:9900/ABC\n")
    assert console.calls("login") == []
    assert "chatnet:192.0.2.1:9900/ABC" in console.screen()
    console.close()


def test_one_can_leave_from_the_form() -> None:
    console = form()
    console.type("<ctrl c><ctrl c>")
    assert console.peer.quits == 1
    console.close()


def test_a_name_taken_later_brings_the_form_again(console: Typist) -> None:
    reason = "The name carol belongs to another key. Choose another name."
    console.peer.put_registry(RegistryPhase.REFUSED, reason, "name-taken")
    console.settle()
    assert reason in console.all_words()
    assert "Another one makes a new key with an empty history" in console.all_words()
    assert "operator can free this one." in console.all_words()
    assert "[ Login ]" in console.screen()
    assert "192.0.2.1:9900" in console.screen()


def test_the_form_after_a_taken_name_has_the_registry_as_it_was_given() -> None:
    """Its key would be taken at first sight otherwise."""
    join = join_string("192.0.2.1", 9900, key_of("registry"))
    console = Typist(registry=join)
    console.peer.put_registry(RegistryPhase.REFUSED, "The name carol belongs to another key.", "name-taken")
    console.settle()
    console.type("carol2<enter>")
    assert console.calls("login") == [("login", "carol2", join, "")]
    console.close()


def test_the_form_after_a_taken_name_has_what_was_typed_before() -> None:
    join = join_string("192.0.2.1", 9900, key_of("registry"))
    console = form()
    console.type("bert<tab><ctrl a><ctrl k>")
    console.paste(join)
    console.type("<enter>")
    console.wait(0.5)
    assert "Welcome, bert" in console.screen()
    console.peer.put_registry(RegistryPhase.REFUSED, "The name bert belongs to another key.", "name-taken")
    console.settle()
    console.type("<enter>")
    assert console.calls("login") == [("login", "bert", join, "")] * 2
    console.close()


def test_the_form_fits_the_smallest_screen() -> None:
    console = form()
    console.resize(40, 10)
    screen = console.screen()
    for text in ("Your name", "root", "Registry", "[ Login ]"):
        assert text in screen
    console.close()


def test_each_field_is_explained_and_f1_helps_there() -> None:
    console = form()
    for words in ("What the others call you", "It knows who is here: HOST"):
        assert words in console.screen()
        console.type("<tab>")
    console.type("<shift tab><f1>")
    assert "In a form" in console.screen()
    console.type("<esc>")
    assert "[ Login ]" in console.screen()
    assert "It knows who is here: HOST" in console.screen()
    console.close()


def test_typing_replaces_the_name_that_was_proposed() -> None:
    console = form()
    console.type("carol<enter>")
    assert console.calls("login")[0][1] == "carol"
    console.close()
    console = form()
    console.type("<end>2<enter>")
    assert console.calls("login")[0][1] == "root2"
    console.close()


def test_a_name_that_runs_already_is_told_with_the_way_on() -> None:
    console = form()
    twin = LocalError("twin", "carol is already running here (pid 4711).")
    console.peer.login = lambda name, registry, presentation="": fail(twin)  # type: ignore[method-assign]
    console.type("<enter>")
    console.wait(0.5)
    assert "carol is already running here (pid 4711). Choose another name." in console.all_words()
    console.close()
