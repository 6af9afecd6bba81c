"""Pastes, growth, completion."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatnet.console.terminal import PASTE_SECONDS
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB = key_of("bob")


def test_a_paste_with_tabs_and_lines_is_one_message_on_enter(console: Typist) -> None:
    console.type("/msg bob<enter>")
    text = "def f():\n\treturn 1\n\n/quit\n\tend"
    console.paste(text)
    assert console.calls("say") == []
    assert console.peer.quits == 0
    assert "▸2 bob◂" in console.lines()[1]
    assert "5 lines were pasted" in console.screen()
    console.type("<enter>")
    assert console.calls("say") == [("say", BOB, text)]


def test_keys_around_a_paste_keep_their_order(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.press("a", "begin paste", "b", "enter", "f10", "meta 1", "end paste", "c")
    assert console.view.input.text == "ab\nc"
    assert console.peer.quits == 0


def test_a_paste_whose_end_never_comes_ends_with_the_silence(console: Typist) -> None:
    console.press("begin paste", "x", "y")
    assert console.view.input.text == ""
    console.wait(PASTE_SECONDS + 0.2)
    assert console.view.input.text == "xy"
    console.type("z")
    assert console.view.input.text == "xyz"


def test_mouse_events_inside_a_paste_do_nothing(console: Typist) -> None:
    console.press("begin paste", "x", ("mouse press", 1, 3, 1), "end paste")
    assert console.view.input.text == "x"


def test_a_paste_leaves_the_list(console: Typist) -> None:
    console.type("<f2>")
    console.paste("iss")
    assert console.view.input.text == "iss"


def test_control_characters_in_a_paste_are_dropped(console: Typist) -> None:
    console.paste("a\x1b\x07b\r\nc")
    assert console.view.input.text == "ab\nc"


def test_the_input_grows_to_six_rows_and_scrolls(console: Typist) -> None:
    console.type("/msg bob<enter>")
    for i in range(9):
        console.type(f"line{i}<meta enter>")
    rows = console.lines()
    assert sum(f"line{i}" in row for row in rows[-7:] for i in range(9)) == 5
    assert "line3" not in console.screen()
    console.type("<up>" * 8)
    assert "line1" in console.screen()
    console.resize(50, 14)
    console.type("x")
    assert "line" in console.lines()[-3]


def test_up_and_down_move_inside_a_long_text_first(console: Typist) -> None:
    console.type("/msg bob<enter>sent<enter>one<meta enter>two<up>X")
    assert console.view.input.text == "oneX\ntwo"
    console.type("<up>")
    assert console.view.input.text == "sent"


def test_tab_completes_commands_people_and_numbers(console: Typist) -> None:
    console.type("/ms<tab>")
    assert console.view.input.text == "/msg "
    console.type("wal<tab>")
    assert console.view.input.text == "/msg walter "
    console.type("<ctrl u>/accept <tab>")
    assert console.view.input.text == "/accept 1"
    console.type("<ctrl u>/re<tab>")
    assert console.view.input.text.startswith("/re")
    first = console.view.input.text
    console.type("<tab>")
    assert console.view.input.text != first
    console.type("<shift tab>")
    assert console.view.input.text == first
    console.type("<ctrl u>ecN<backspace><tab>")
    assert console.view.input.text == "echo: "


def test_several_candidates_are_shown(console: Typist) -> None:
    console.type("/msg e<tab>")
    assert "[echo] erin" in console.lines()[-1]
    console.type("<tab>")
    assert "echo [erin]" in console.lines()[-1]


def test_tab_completes_paths(console: Typist, tmp_path: Path) -> None:
    (tmp_path / "my photo.jpg").write_bytes(b"x")
    (tmp_path / "my folder").mkdir()
    console.type(f"/send bob {tmp_path}/my<tab>")
    assert console.view.input.text == f"/send bob {tmp_path}/my\\ "
    console.type("p<tab><enter>")
    assert console.calls("offer") == [("offer", BOB, (os.fsencode(tmp_path / "my photo.jpg"),))]
    console.type(f"/accept 1 {tmp_path}/m<tab>")
    assert console.view.input.text == f"/accept 1 {tmp_path}/my\\ folder/"


def test_tab_alone_changes_nothing(console: Typist) -> None:
    console.type("<tab>")
    assert console.view.input.text == ""
    assert "▸1 net◂" in console.lines()[1]


def test_ctrl_r_finds_what_was_sent(console: Typist) -> None:
    console.type("/msg bob<enter>apples and pears<enter>oranges<enter>apples again<enter>")
    console.type("apples<ctrl r>")
    assert console.view.input.text == "apples again"
    console.type("<ctrl r>")
    assert console.view.input.text == "apples and pears"
    console.type("<ctrl r>")
    assert console.view.input.text == "apples and pears"
    console.type("<down><down>")
    assert console.view.input.text == "apples again"


def test_history_of_the_input(console: Typist) -> None:
    console.type("/msg bob<enter>one<enter>two<enter>dra<up>")
    assert console.view.input.text == "two"
    console.type("<up>")
    assert console.view.input.text == "one"
    console.type("<down><down>")
    assert console.view.input.text == "dra"


def test_readline_keys(console: Typist) -> None:
    console.type("/msg bob<enter>one two three<ctrl w><ctrl w><ctrl y><ctrl a>X<ctrl e>Y<meta b><meta d>")
    assert console.view.input.text == "Xone two "


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
