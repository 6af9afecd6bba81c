"""What a person sees and does about keys: changed, compared, blocked, one's own."""

from __future__ import annotations

import msgspec
import pytest
import segno

from chatnet.console.overlays.page import qr_rows
from chatnet.core.errors import LocalError
from chatnet.core.events import CodeReady, VerifiedLevel
from chatnet.core.identity import grouped_text, prefix_text, short_text
from chatnet.core.join_string import join_string
from tests.support.scripted_peer import key_of, somebody
from tests.support.typist import Typist

BOB, MALLORY, OTHER = key_of("bob"), key_of("mallory"), key_of("another mallory")
NUMBER = [f"{n}" for n in range(11111, 11123)]


def people_rows(console: Typist) -> list[str]:
    return [line[:20].rstrip() for line in console.lines()]


# --- a key that changed --------------------------------------------------------------------------


def test_a_changed_key_says_the_ways_on(console: Typist) -> None:
    console.type("/msg mallory<enter>")
    words = console.words()
    for part in (
        "another key than the mallory you know",
        f"known {short_text(MALLORY)}",
        f"new {prefix_text(OTHER)}",
        "read out the first 16 characters of /myid",
        "/trust mallory XXXX-XXXX-XXXX-XXXX",
        "Alt-k keep the old key",
        "Nothing you type here is sent until you choose.",
    ):
        assert part in words
    assert console.lines()[-1].startswith(" Sending is held until you choose  Alt-k keep the old key")
    assert console.lines()[-2].startswith("mallory (held)>")


def test_trust_takes_the_new_key_and_opens_its_tab(console: Typist) -> None:
    console.type(f"/msg mallory<enter>/trust mallory {prefix_text(OTHER)}<enter>")
    assert console.calls("trust") == [("trust", MALLORY, prefix_text(OTHER))]
    assert console.view.chat == OTHER
    assert "mallory>" in console.screen()
    assert "KEY CHANGED" not in console.screen()


def test_in_the_tab_the_name_need_not_be_typed(console: Typist) -> None:
    console.type(f"/msg mallory<enter>/trust {prefix_text(OTHER)}<enter>")
    assert console.calls("trust") == [("trust", MALLORY, prefix_text(OTHER))]


def test_wrong_letters_change_nothing_and_are_told(console: Typist) -> None:
    console.type(f"/msg mallory<enter>/trust mallory {short_text(OTHER)}<enter>")
    assert "These are not the first 16 characters." in console.screen()
    assert "KEY CHANGED" in console.screen()
    console.type("<ctrl u>/trust mallory<enter>")
    assert len(console.calls("trust")) == 2  # "mallory" was taken for the letters, and refused
    console.type("<ctrl u>/net<enter>/trust<enter>")
    assert "/trust [WHO] XXXX-XXXX-XXXX-XXXX" in console.screen()
    assert len(console.calls("trust")) == 2


def test_alt_k_keeps_the_old_key_and_does_nothing_elsewhere(console: Typist) -> None:
    console.type("/msg bob<enter><meta k>")
    assert console.calls("keep_key") == []
    assert "Nobody's key has changed here." in console.screen()
    console.type("/msg mallory<enter>")
    console.type("<meta k>")
    assert console.calls("keep_key") == [("keep_key", MALLORY, OTHER)]
    assert "KEY CHANGED" not in console.screen()
    assert "mallory>" in console.screen()


def test_a_verified_person_is_compared_again(console: Typist) -> None:
    console.peer.change_person(MALLORY, verified=VerifiedLevel.BY_NUMBER)
    console.type("/msg mallory<enter>")
    assert "/verify mallory take it, once you compared it as you did before" in console.words()
    assert "/trust" not in console.screen()
    assert "first 16 characters" not in console.words()
    console.type("/verify<enter>")
    assert "The number of mallory's NEW key and yours" in console.screen()
    assert "/verify mallory live" not in console.screen()
    console.type("<esc>/verify same<enter>")
    assert console.calls("confirm") == [("confirm", MALLORY, 2, "mallory", OTHER, "")]
    assert console.view.chat == OTHER
    assert "mallory ✓ verified" in console.screen()


def test_a_key_of_somebody_verified_that_was_not_kept_can_be_taken_later(console: Typist) -> None:
    console.peer.change_person(MALLORY, verified=VerifiedLevel.BY_NUMBER)
    console.type("/msg mallory<enter>")
    console.type("<meta k>")
    assert "/verify mallory, and a comparison, takes the other one after all." in console.all_words()
    assert "KEY CHANGED" not in console.screen()
    console.type("/verify<enter>")
    assert "The number of mallory's NEW key and yours" in console.screen()
    assert "You decided to keep the old key. Esc leaves it so." in console.all_words()
    assert [group for group in console.screen().split() if group in NUMBER] == NUMBER
    console.type("<esc>")
    assert console.calls("confirm") == []
    console.type("/verify same<enter>")
    assert console.calls("confirm") == [("confirm", MALLORY, 2, "mallory", OTHER, "")]
    assert console.view.chat == OTHER


def test_the_tab_of_a_key_that_uses_a_known_name_says_so(console: Typist) -> None:
    console.peer.put_people(somebody(f"?{short_text(OTHER)}", console.peer.now_ms(), peer=OTHER))
    note = "This key uses the name mallory now, but it is not the key of the mallory you know: see the tab mallory."
    console.type(f"/msg ?{short_text(OTHER)}<enter>")
    assert note in console.words()
    console.type("/msg bob<enter>")
    assert note not in console.words()
    console.peer.change_person(MALLORY, new_key=None, other_key=None)
    console.type(f"/msg ?{short_text(OTHER)}<enter>")
    assert note not in console.words()


# --- comparing -----------------------------------------------------------------------------------


def test_the_sixty_digits_and_what_to_do(console: Typist) -> None:
    console.type("/verify bob<enter>")
    lines = console.lines()
    shown = [group for line in lines for group in line.split() if group in NUMBER]
    assert shown == NUMBER
    assert all(len([g for g in line.split() if g in NUMBER]) in (0, 4) for line in lines)
    for part in ("/verify carol", "/verify bob same", "/verify bob live", "somebody is between you"):
        assert part in console.screen()
    console.type("<esc>")
    assert "11111" not in console.screen()


def test_the_same_marks_in_list_and_head(console: Typist) -> None:
    console.type("/msg bob<enter>")
    assert "verified" not in console.screen()
    console.type("/verify bob<enter>")
    console.type("<esc>/verify bob same<enter>")
    assert console.calls("confirm") == [("confirm", BOB, 2, "bob", BOB, "")]
    assert " ● bob ✓" in people_rows(console)
    assert "bob ✓ verified" in console.screen()
    assert "you compared all sixty digits" in console.screen()


def test_a_live_code_stands_until_it_is_compared(console: Typist) -> None:
    console.type("/verify bob live<enter>")
    assert console.calls("check_live") == [("check_live", BOB)]
    console.wait(30)
    assert "Code with bob: 482 913" in console.words()
    assert "/verify bob same code" in console.words()
    console.type("/verify same code<enter>")
    assert console.calls("confirm") == [("confirm", BOB, 1, "bob", BOB, "482913")]
    assert "482 913" not in console.screen()
    assert " ● bob ✓" in people_rows(console)
    console.type("/verify bob same code<enter>")
    assert len(console.calls("confirm")) == 1
    assert "bob is verified already." in console.screen()


def test_a_code_that_they_began_takes_nothing_from_who_types(console: Typist) -> None:
    console.type("/msg dave<enter>half a sen")
    console.peer.emit(CodeReady(BOB, "000123", asked=False))
    console.wait(0.1)
    assert "bob wants to compare a code with you: it stands in the tab bob." in console.screen()
    console.type("tence")
    assert "dave> half a sentence" in console.screen()
    console.type("<ctrl u>/msg bob<enter>")
    assert "Code with bob: 000 123" in console.words()


def test_a_code_with_somebody_unknown_shows_nothing(console: Typist) -> None:
    before = console.lines()
    console.peer.emit(CodeReady(key_of("nobody here"), "000123", asked=False))
    console.wait(0.1)
    assert console.lines() == before


def test_why_there_is_no_code_is_told(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.peer.fail_next = LocalError("check-late", "The other side did not answer in time.")
    console.type("/verify bob live<enter>")
    assert "The other side did not answer in time." in console.screen()


def test_what_verify_does_not_know(console: Typist) -> None:
    for typed in ("/verify", "/verify bob maybe", "/verify bob same number"):
        console.type(f"<ctrl u>{typed}<enter>")
        assert "/verify [WHO] [live | same | same code]" in console.screen()
    console.type("<ctrl u>/verify nobody<enter>")
    assert "Nobody here is called nobody." in console.screen()
    assert console.calls("confirm") == console.calls("safety_number") == console.calls("check_live") == []


def test_completion_knows_the_words(console: Typist) -> None:
    console.type("/ver<tab>bo<tab>l<tab>")
    assert "> /verify bob live" in console.screen()
    console.type("<ctrl u>/verify bob sa<tab>c<tab>")
    assert "> /verify bob same code" in console.screen()
    console.type("<ctrl u>/trust mal<tab>E<tab>")
    assert "> /trust mallory E" in console.screen()


# --- blocking ------------------------------------------------------------------------------------


def test_block_and_unblock(console: Typist) -> None:
    console.type("/block bob<enter>")
    console.type("y")
    assert console.calls("block") == [("block", BOB, True)]
    assert " ● bob            ✗" in people_rows(console)
    console.type("/msg bob<enter>")
    assert "bob ✗ blocked" in console.screen()
    console.type("/unblock<enter>")
    assert console.calls("block")[1:] == [("block", BOB, False)]
    assert "blocked" not in console.lines()[2]


def test_keys_of_the_list(console: Typist) -> None:
    console.type("<f2>")
    name = console.view.people.chosen().name
    console.type("b")
    console.type("y")
    assert console.calls("block") == [("block", key_of(name), True)]
    console.type("b")
    assert console.calls("block")[1:] == [("block", key_of(name), False)]
    console.type("v")
    assert f"The number of {name}'s key and yours" in console.screen()
    console.type("<esc>")


# --- one's own -----------------------------------------------------------------------------------


def test_my_key_whole_and_what_others_join_with(console: Typist) -> None:
    console.resize(100, 40)
    console.type("/myid<enter>")
    text = console.screen()
    assert console.peer.me is not None
    assert grouped_text(console.peer.me.peer) in text
    join = join_string("192.0.2.1", 9900, key_of("registry"))
    assert join in text
    for row in qr_rows(join):
        assert row.rstrip() in text


@pytest.mark.parametrize("rows", [23, 24])
def test_the_code_alone_has_room_in_80_columns(console: Typist, rows: int) -> None:
    """Fault C20; tmux takes one of 24 rows."""
    console.resize(80, rows)
    console.type("/myid<enter>")
    join = join_string("192.0.2.1", 9900, key_of("registry"))
    assert join in console.screen()
    assert "Enter shows the same as a QR code" in console.screen()
    assert console.lines()[-1].startswith(" Enter QR code  Esc back")
    assert "█" not in console.screen()
    console.type("<enter>")
    assert [line.strip() for line in console.lines()[1:-1]][: len(qr_rows(join))] == [
        row.strip() for row in qr_rows(join)
    ]
    assert join not in console.screen()
    assert console.lines()[-1].startswith(" Enter text  Esc back")
    console.resize(60, 16)
    assert "has room for a QR code" in console.screen()
    console.resize(80, rows)
    console.type("<enter><enter>")
    assert join in console.screen()
    console.type("<esc>")
    assert "Welcome, carol" in console.screen()


@pytest.mark.parametrize("host", ["192.168.100.100", "registry.some-office.example.org"])
def test_a_usual_address_has_room_in_24_rows_of_tmux(host: str) -> None:
    rows = qr_rows(join_string(host, 65535, key_of("registry")))
    assert len(rows) <= 24 - 3  # its status line, the header, the bottom line


def test_a_small_window_says_what_the_code_needs(console: Typist) -> None:
    console.resize(60, 16)
    console.type("/myid<enter><end>")
    assert "has room for a QR code" in console.screen()
    assert "█" not in console.screen()


def test_without_a_registry_there_is_the_key_alone(console: Typist) -> None:
    console.peer.registry = msgspec.structs.replace(console.peer.registry, key=None)
    console.peer.put_registry(console.peer.registry.phase)
    console.type("/myid<enter>")
    assert short_text(key_of("carol")) in console.screen()
    assert "chatnet:" not in console.screen()
    assert "▀" not in console.screen()


def test_the_code_is_drawn_as_it_is() -> None:
    text = join_string("2001:db8::7", 9900, key_of("registry"))
    drawn = qr_rows(text)
    dark = {" ": (0, 0), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}
    modules: list[list[int]] = []
    for row in drawn:
        pairs = [dark[character] for character in row]
        modules += [[top for top, _ in pairs], [bottom for _, bottom in pairs]]
    wanted = [[int(bit) for bit in row] for row in segno.make(text, error="l", micro=False).matrix]
    inside = [row[2:-2] for row in modules[2 : 2 + len(wanted)]]
    assert inside == wanted
    assert {len(row) for row in drawn} == {len(wanted) + 4}


def test_somebody_verified_offline_keeps_the_mark(console: Typist) -> None:
    console.peer.put_people(somebody("zoe", console.peer.now_ms(), online=False, verified=VerifiedLevel.BY_CODE))
    console.wait(0.1)
    assert " ○ zoe ✓" in people_rows(console)


def test_the_console_says_which_command_ends_a_block(console: Typist) -> None:
    """The peer knows no command: it says what is wrong, with a code."""
    console.type("/msg bob<enter>")
    console.peer.fail_next = LocalError("blocked", "You have blocked bob.")
    console.type("hello<enter>")
    assert "You have blocked bob. /unblock bob ends that." in console.screen()


def test_with_a_new_key_the_tab_goes_on_with_all_that_was_said(console: Typist) -> None:
    """B16: one person, one tab."""
    console.peer.stored(MALLORY, "from before", at_ms=console.peer.now_ms())
    console.type("/msg mallory<enter>")
    tabs = len(console.view.tabs)
    console.type(f"/trust {prefix_text(OTHER)}<enter>")
    assert "from before" in console.screen()
    assert len(console.view.tabs) == tabs
    assert console.view.chat == OTHER
    assert [row for row in people_rows(console) if "?" in row] == []
    assert short_text(MALLORY) not in console.screen()


def test_two_tabs_of_a_person_become_one_with_both_texts(console: Typist) -> None:
    console.peer.put_people(somebody("robert", console.peer.now_ms(), peer=OTHER))
    console.type("/msg robert<enter>second")
    console.type("<meta 1>/msg mallory<enter>first")
    console.peer._take_key(MALLORY, OTHER, VerifiedLevel.NOT)
    console.settle()
    assert console.view.tab_of(MALLORY) is None
    index = console.view.tab_of(OTHER)
    assert console.view.tabs[index].input.text == "first\nsecond"
    assert console.view.chat == OTHER


def test_a_draft_of_a_closed_tab_goes_along(console: Typist) -> None:
    console.type("/msg mallory<enter>half a tho<meta w>")
    console.peer._take_key(MALLORY, OTHER, VerifiedLevel.NOT)
    console.settle()
    console.type("/msg mallory<enter>")
    assert console.view.chat == OTHER
    assert console.view.input.text == "half a tho"
