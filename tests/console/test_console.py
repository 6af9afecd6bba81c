"""Typing, and what is on the screen then."""

from __future__ import annotations

import sys

import msgspec
import pytest

from chatnet.console.app import Console
from chatnet.core import limits
from chatnet.core.errors import LocalError, StoreFailed
from chatnet.core.events import MessageState, NoticeLevel, RegistryPhase, TransferState
from chatnet.core.identity import grouped_text, key_text, short_text
from tests.support.scripted_peer import ScriptedPeer, furnished, key_of, somebody
from tests.support.typist import MemoryScreen, Typist, new_clock

BOB, DAVE, ECHO, ALICE, MALLORY = (key_of(name) for name in ("bob", "dave", "echo", "alice", "mallory"))


def test_the_first_screen_says_what_is_and_what_to_do(console: Typist) -> None:
    screen = console.screen()
    for text in ("Welcome, carol. New key made:", "found, key remembered:", "13 people are here:", "F5, or  /send bob"):
        assert text in screen
    assert console.lines()[0].startswith(f" chatnet  carol {short_text(key_of('carol'))}")
    assert "registry up · 15 peers" in console.lines()[0]
    assert "bob is linked, direct." in screen
    assert console.memory.title == "carol (2) — chatnet"


def test_alone_the_command_for_another_machine_is_shown() -> None:
    console = Typist(size=(120, 24))
    assert "Nobody else is here yet. On another machine:" in console.screen()
    assert "twistd -n chatpeer --name YOU --registry \\" in console.screen()
    assert f"chatnet:192.0.2.1:9900/{key_text(key_of('registry'))}" in console.screen()
    console.close()


def test_a_message_is_shown_at_once_with_what_becomes_of_it(console: Typist) -> None:
    console.type("/msg echo<enter>hello<enter>")
    assert console.calls("say") == [("say", ECHO, "hello")]
    row = next(line for line in console.lines() if "you  hello" in line)
    assert "·" in row
    assert "waiting" in row
    console.wait(0.35)
    assert any("→" in line and "sent" in line for line in console.lines() if "you  hello" in line)
    console.wait(0.25)
    row = next(line for line in console.lines() if "you  hello" in line)
    assert "✓" in row
    assert "waiting" not in row
    assert "sent" not in row
    console.wait(0.5)
    assert "echo hello" in console.screen()


def test_alt_enter_makes_a_line_and_enter_sends_all(console: Typist) -> None:
    console.type("/msg bob<enter>one<meta enter>two")
    lines = console.lines()
    assert lines[-3].startswith("bob> one")
    assert lines[-2].startswith("     two")
    console.type("<enter>")
    assert console.calls("say")[-1] == ("say", BOB, "one\ntwo")


def test_a_refused_message_says_so_with_the_reason(console: Typist) -> None:
    console.type("/msg bob hi<enter>")
    console.peer.set_state(console.peer.rows[BOB][-1], MessageState.REFUSED, "not accepted")
    console.settle()
    assert "✗ refused: not accepted" in console.screen()


def test_too_long_says_the_sizes_and_the_text_stays(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.paste("x" * 61_000)
    console.type("<enter>")
    assert "61 kB is too long for a message (limit 16 KiB). Alt-s sends it as a file." in console.screen()
    assert console.view.input.text == "x" * 61_000
    assert console.calls("say") == []


@pytest.mark.parametrize("error", [StoreFailed("disk-full", "The disk is full."), LocalError("too-long", "Too long.")])
def test_what_was_not_stored_stands_in_the_input_again(console: Typist, error: StoreFailed) -> None:
    console.type("/msg bob<enter>")
    console.peer.fail_next = error
    console.type("precious<enter>")
    assert f"Not sent: {error.text}" in console.screen()
    assert console.view.input.text == "precious"


def test_what_was_not_stored_does_not_overwrite_what_was_typed_since(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.view.input.put("next")
    console.peer.fail_next = StoreFailed("disk-full", "The disk is full.")
    console.console.actions._say(BOB, "precious", console.view.input)
    console.settle()
    assert console.view.input.text == "next"
    console.type("<up>")
    assert console.view.input.text == "precious"


def test_an_exception_becomes_a_line_and_nothing_is_lost(console: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(peer: bytes, body: str) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(console.peer, "say", broken)
    console.type("/msg bob<enter>precious<enter>")
    assert "That did not work (RuntimeError)" in console.screen()
    assert console.view.input.text == "precious"
    assert "Traceback" not in console.screen()


def test_an_exception_in_a_key_handler_becomes_a_line(console: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.view, "show", lambda index: 1 / 0)
    console.type("<meta 2>abc")
    assert "Something went wrong in the console (ZeroDivisionError)" in console.screen()
    assert console.view.input.text == "abc"


def test_a_screen_that_cannot_be_drawn_says_so_and_comes_back(console: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(console.view.header, "draw", lambda *size: 1 / 0)
        console.wait(1.1)
        assert "could not be drawn (ZeroDivisionError)" in console.screen()
    console.wait(1.1)
    assert "chatnet  carol" in console.screen()


def test_unknown_commands_are_not_sent_and_stay(console: Typist) -> None:
    console.type("/msg bob<enter>/snd x<enter>")
    assert "No command /snd. Did you mean /send? (//snd … sends it as text)" in console.screen()
    assert console.view.input.text == "/snd x"
    assert console.calls("say") == []
    console.type("<ctrl u>//snd x<enter>/say /y<enter>")
    assert [call[2] for call in console.calls("say")] == ["/snd x", "/y"]


def test_text_without_a_person_is_not_sent_and_stays(console: Typist) -> None:
    console.type("hello<enter>")
    assert "Nobody is chosen here" in console.screen()
    assert console.view.input.text == "hello"


def test_msg_to_somebody_unknown_guesses(console: Typist) -> None:
    console.type("/msg hiedi yo<enter>")
    assert "Nobody here is called hiedi. Did you mean heidi?" in console.screen()


def test_history_of_the_input(console: Typist) -> None:
    console.type("/msg bob<enter>one<enter>two<enter>dra<up>")
    assert console.view.input.text == "two"
    console.type("<up>")
    assert console.view.input.text == "one"
    console.type("<down><down>")
    assert console.view.input.text == "dra"


def test_each_tab_keeps_its_draft(console: Typist) -> None:
    console.type("/msg bob<enter>for bob<meta 1>for net<meta 2>")
    assert console.view.input.text == "for bob"
    console.type("<meta 1>")
    assert console.view.input.text == "for net"


def test_readline_keys(console: Typist) -> None:
    console.type("/msg bob<enter>one two three<ctrl w><ctrl w><ctrl y><ctrl a>X<ctrl e>Y<meta b><meta d>")
    assert console.view.input.text == "Xone two "


# --- tabs -------------------------------------------------------------------------------------


def test_tabs_by_number_neighbours_and_unread(console: Typist) -> None:
    console.type("/msg bob<enter>/msg erin<enter>")
    assert console.lines()[1].strip() == "1 net  2 bob ▸3 erin◂ 4 transfers(1)"
    console.type("<meta 1>")
    assert "▸1 net◂" in console.lines()[1]
    console.type("<meta left>")
    assert "▸4 transfers(1)◂" in console.lines()[1]
    console.type("<ctrl n><ctrl n>")
    assert "▸2 bob◂" in console.lines()[1]
    console.type("<ctrl p><meta a>")
    assert "dave◂" in console.lines()[1]
    assert "hello?" in console.screen()
    console.wait(0.2)
    assert console.calls("mark_read")[-1][1] == DAVE
    console.type("<meta a>")
    assert "Nothing unread." in console.screen()
    console.type("<meta w>")
    assert "dave" not in console.lines()[1]


def test_net_and_transfers_stay(console: Typist) -> None:
    console.type("<meta w><meta 2><meta w>")
    assert console.lines()[1].strip() == "1 net ▸2 transfers(1)◂"


def test_a_message_opens_a_tab_in_the_background(console: Typist) -> None:
    console.peer.hear(key_of("erin"), "are you there?")
    console.wait(0.2)
    assert "▸1 net◂ 2 erin(1)" in console.lines()[1]
    assert console.memory.last_text[0] is not None
    console.type("<meta 2>")
    assert "are you there?" in console.screen()
    console.wait(0.2)
    assert "▸2 erin◂" in console.lines()[1]


def test_strangers_cannot_fill_the_row_of_tabs(console: Typist) -> None:
    people = [somebody(f"stranger{i:03d}", console.peer.now_ms()) for i in range(200)]
    console.peer.put_people(*people)
    for person in people:
        console.peer.hear(person.peer, "buy this")
    console.wait(0.2)
    assert len(console.view.tabs) == 50
    console.type("/msg stranger199<enter>")
    assert "buy this" in console.screen()


def test_a_flood_behind_another_tab_stays_short(console: Typist) -> None:
    for i in range(limits.LIVE_MESSAGES * 3):
        console.peer.hear(ECHO, f"flood {i}")
        if i % 100 == 0:
            console.settle()
    console.settle()
    assert len(console.console.model.chats[ECHO].rows) <= limits.LIVE_MESSAGES + limits.HISTORY_PAGE
    console.type("<meta a>")
    assert f"flood {limits.LIVE_MESSAGES * 3 - 1}" in console.screen()


def test_a_tab_is_switched_by_a_click(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.click("1 net")
    assert "▸1 net◂" in console.lines()[1]
    assert "Welcome" in console.screen()


def test_many_tabs_show_those_around_the_one_shown() -> None:
    clock = new_clock()
    peer = ScriptedPeer(clock)
    people = [somebody(f"person{i:02d}", peer.now_ms()) for i in range(30)]
    peer.people = {person.peer: person for person in people}
    console = Typist(peer, clock=clock)
    for person in people:
        console.type(f"/msg {person.name}<enter>")
    assert "▸31 person29◂" in console.lines()[1]
    assert console.lines()[1].startswith("‹")
    console.type("<meta 1>")
    assert console.lines()[1].rstrip().endswith("›")
    console.close()


# --- the header and the registry --------------------------------------------------------------


def test_a_registry_that_was_never_found_is_said_with_what_to_do(console: Typist) -> None:
    console.peer.registry = msgspec.structs.replace(console.peer.registry, key=None)
    console.peer.put_registry(RegistryPhase.LOST, "connection refused", "refused-connection", 8)
    console.wait(0.1)
    assert "twistd -n chatregistry" in console.screen()
    assert "Wrong address? Quit, and start with --registry" in console.words()


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


def test_a_wrong_registry_key_is_no_quiet_matter(console: Typist) -> None:
    console.peer.put_registry(RegistryPhase.WRONG_KEY, "This is not the registry you used before.")
    console.settle()
    assert "ANOTHER KEY" in console.lines()[0]
    assert "net!" in console.lines()[1]
    assert "This is not the registry you used before." in console.words()
    assert "start with the join string that it prints now" in console.words()


def test_rates_are_summed(console: Typist) -> None:
    for title in ("a", "b"):
        transfer = console.peer.offered(BOB, title, 10**9)
        console.peer.change_transfer(transfer.fid, state=TransferState.RUNNING, bytes_per_second=24 * 2.0**20)
    console.settle()
    assert "↓ 48M  ↑ 0" in console.lines()[0]


def test_notices_come_into_the_net_tab(console: Typist) -> None:
    console.peer.put_notice("the clock of bob is 2 h ahead", NoticeLevel.WARNING)
    console.wait(0.1)
    assert "! " in console.screen()
    assert "the clock of bob" in console.screen()


# --- facts and commands -----------------------------------------------------------------------


def test_facts_on_request(console: Typist) -> None:
    console.type("/myid<enter>")
    assert grouped_text(key_of("carol")) in console.screen().replace("\n", "")
    console.type("<esc>/log<enter>")
    assert "chatpeer.log" in console.screen()
    console.type("/version<enter>")
    assert "chatnet 0." in console.screen()
    console.type("/whois bob<enter>")
    assert grouped_text(BOB)[:30] in console.screen()
    console.type("/help send<enter>")
    assert "/send [WHO] PATH" in console.screen()
    console.type("<esc>/peers al<enter>")
    assert "/ al" in console.screen()
    console.type("<esc>/net<enter>/mouse<enter>")
    assert console.memory.mouse is False
    console.type("<meta m><ctrl l>")
    assert console.memory.mouse is True
    assert console.memory.cleared >= 1


def test_clear_empties_the_screen_and_paging_brings_it_back(console: Typist) -> None:
    console.type("/msg bob<enter>/clear<enter>")
    assert "tell me if it stutters" not in console.screen()
    console.type("<pgup>")
    console.settle()
    assert "tell me if it stutters" in console.screen()


# --- leaving ----------------------------------------------------------------------------------


def test_ctrl_c_twice_within_two_seconds_quits(console: Typist) -> None:
    console.type("<ctrl c>")
    assert "Press again to quit" in console.screen()
    console.wait(2.5)
    console.type("<ctrl c>")
    assert console.peer.quits == 0
    console.type("<ctrl c>")
    assert console.peer.quits == 1


@pytest.mark.parametrize("typed", ["<f10>", "<ctrl d>", "/quit<enter>"])
def test_one_key_quits_when_nothing_is_lost(console: Typist, typed: str) -> None:
    console.type(typed)
    assert console.peer.quits == 1


def test_quitting_asks_when_a_transfer_runs(console: Typist) -> None:
    transfer = console.peer.offered(BOB, "a", 10**9)
    console.peer.change_transfer(transfer.fid, state=TransferState.RUNNING)
    console.settle()
    console.type("<f10>")
    assert console.peer.quits == 0
    assert "1 transfer is under way" in console.screen()
    console.type("<f10>")
    assert console.peer.quits == 1


def test_ctrl_d_in_a_text_deletes_and_ctrl_z_does_not_stop(console: Typist) -> None:
    console.type("abc<ctrl a><ctrl d>")
    assert console.view.input.text == "bc"
    console.type("<ctrl z>")
    assert "Not stopped" in console.screen()
    assert console.peer.quits == 0


def test_stopping_ends_the_subscription_the_timers_and_the_screen() -> None:
    clock = new_clock()
    peer = furnished(clock)
    console = Typist(peer, clock=clock)
    assert peer.listeners() == 1
    assert console.memory.started
    console.close()
    assert peer.listeners() == 0
    assert not console.memory.started
    peer.hear(BOB, "too late")
    clock.advance(10)


def test_a_failure_at_the_start_leaves_the_peer_and_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = new_clock()
    peer = furnished(clock)
    screen = MemoryScreen((80, 24))
    monkeypatch.setattr(screen, "hook_event_loop", lambda *args: 1 / 0)
    console = Console(peer, clock, input=sys.stdin, output=sys.stdout, screen=screen)
    console.startService()
    for call, args, kwargs in clock.whenRunningHooks:
        call(*args, **kwargs)
    assert "the console could not be opened" in capsys.readouterr().out
    assert peer.listeners() == 0
    assert peer.quits == 0
    assert not screen.started
    console.stopService()


# --- sizes ------------------------------------------------------------------------------------


def test_layouts_by_size(console: Typist) -> None:
    console.type("/msg bob<enter>")
    assert any(line[20:21] == "│" for line in console.lines())
    console.resize(140, 40)
    assert any(line[26:27] == "│" for line in console.lines())
    assert "3 ms" in next(line for line in console.lines() if line.startswith(" ● bob"))
    console.resize(50, 14)
    assert "ONLINE" not in console.screen()
    assert console.lines()[0].startswith("carol")
    assert "reg up" in console.lines()[0]
    assert len(console.lines()) == 14
    assert "will do" in console.screen()
    console.type("<f2>")
    assert "ONLINE" in console.screen()
    console.type("<esc>")
    assert "ONLINE" not in console.screen()
    console.resize(39, 9)
    assert "40×10 needed (now 39×9). Everything" in console.screen()
    console.resize(80, 24)
    assert "ONLINE" in console.screen()


@pytest.mark.parametrize("cols", [40, 41, 50, 59, 60, 71, 72, 73, 80, 119, 120, 140, 200])
@pytest.mark.parametrize("rows", [10, 11, 14, 24, 60])
def test_everything_is_drawn_at_every_size(console: Typist, cols: int, rows: int) -> None:
    for typed in ("/msg bob<enter>", "<f1>", "<esc><f4>", "<f2>", "<esc><meta 1><f5>"):
        console.type(typed)
        console.resize(cols, rows)
        assert len(console.memory.last_text) == rows
        assert "could not be drawn" not in console.screen()
        assert "went wrong" not in console.screen()


def test_ascii_signs_only(console: Typist) -> None:
    clock = new_clock()
    plain = Typist(furnished(clock), ascii_only=True, clock=clock)
    plain.type("/msg echo hi<enter>")
    plain.wait(2)
    plain.peer.rows[BOB].clear()
    plain.type("<f4>")
    assert plain.screen().isascii()
    plain.close()


def test_held_sending_is_explained(console: Typist) -> None:
    console.type("/msg mallory<enter>")
    screen = console.screen()
    assert "mallory (held)>" in screen
    assert "KEY CHANGED" in screen
    assert short_text(MALLORY) in screen
    assert short_text(key_of("another mallory")) in screen
    assert "/trust mallory XXXXXXXX" in screen
    console.type("is it you?<enter>")
    assert "held, not sent" in console.screen()
    assert "mallory!" in console.lines()[1]


def test_offline_is_explained(console: Typist) -> None:
    console.type("/msg alice again<enter>")
    text = console.words()
    assert "· waiting, alice is offline (last seen" in text
    assert "It will be sent when alice is back, also after a restart." in text
    assert "▲2" in console.screen()


def test_limits_hold_for_what_is_kept(console: Typist) -> None:
    for i in range(limits.LIVE_MESSAGES * 2):
        console.peer.stored(ECHO, f"old {i}")
    console.type("/msg echo<enter>")
    for _ in range(60):
        console.type("<pgup>")
    chat_rows = console.view.tab.pane.chat_rows
    assert len(chat_rows.rows) > limits.LIVE_MESSAGES
    console.type("<meta end>")
    assert len(chat_rows.rows) <= limits.LIVE_MESSAGES + limits.HISTORY_PAGE
    assert "old 999" in console.screen()


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("/msg nobody hi", "Nobody here is called nobody."),
        ("/send bob nothing.bin", "no file 'nothing.bin'"),
        ("/trust mallory AAAAAAAA", "These are not the first 8 characters."),
        ("/limit sideways", "/limit [up|down RATE|off]"),
        ("/say", "/say TEXT"),
    ],
)
def test_a_command_that_cannot_be_done_stands_in_the_input_again(console: Typist, typed: str, words: str) -> None:
    console.type(f"{typed}<enter>")
    assert words in console.screen()
    assert console.view.input.text == typed


def test_a_name_before_a_path_that_nobody_has_is_said(console: Typist) -> None:
    console.type("/msg bob<enter>/send echoo /dev/null<enter>")
    assert "Nobody here is called echoo either." in console.words()


def test_a_message_that_is_too_long_for_msg_opens_nothing_and_stays(console: Typist) -> None:
    console.type("/msg bob ")
    console.paste("x" * 20_000)
    console.type("<enter>")
    assert "is too long for a message" in console.screen()
    assert console.view.chat is None
    assert console.view.input.text == "/msg bob " + "x" * 20_000


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("/msg bob<enter>", "2 lines were pasted; Enter sends them as one message."),
        ("/msg bob<enter>/say ", "2 lines were pasted; Enter runs all of it as one /say."),
        ("/msg bob<enter>/nothing ", "it begins with a slash but is no command"),
        ("", "2 lines were pasted; nobody is chosen here yet"),
    ],
)
def test_the_words_after_a_paste_say_what_enter_does(console: Typist, before: str, words: str) -> None:
    console.type(before)
    console.paste("one\ntwo")
    assert words in console.screen()


def test_help_comes_without_the_old_words_and_goes_to_where_one_was(console: Typist) -> None:
    console.type("/nothing<enter>")
    assert "No command /nothing." in console.screen()
    console.type("<f1>")
    assert "No command /nothing." not in console.screen()
    console.type("<f1>")
    assert console.view.overlay is None
    assert console.view.input.text == "/nothing"
    console.type("<ctrl u>/msg bob<enter><f5>")
    picker = console.view.overlay
    console.type("<f1>")
    assert "type to search" in console.screen()
    console.type("<esc>")
    assert console.view.overlay is picker


def test_leaving_says_what_becomes_of_what_is_typed(console: Typist) -> None:
    console.type("/msg bob<enter>half a thought<ctrl d>")
    assert "Ctrl-D quits when the input is empty" in console.screen()
    console.type("<ctrl c>")
    assert "Press again to quit (what you typed here is kept for next time)." in console.screen()
    console.type("<f10>")
    assert "Once more within two seconds quits (what you typed here is kept for next time)." in console.screen()
    assert console.calls("quit") == []
    console.type("<f10>")
    assert len(console.calls("quit")) == 1
