"""What is pasted is taken out again by one key."""

from __future__ import annotations

import pytest

from tests.support.typist import Typist

LINES = "\n".join(f"line {number}" for number in range(40))


@pytest.mark.parametrize("undo", ["<ctrl _>", "<ctrl />"])
def test_one_key_takes_out_a_paste_of_forty_lines(console: Typist, undo: str) -> None:
    console.type("/msg bob<enter>before after")
    console.type("<meta b>")
    console.paste(LINES)
    assert console.view.input.text == f"before {LINES}after"
    said = "40 lines were pasted; Enter sends them as one message. Ctrl-_ takes them out again."
    assert said in " ".join(console.screen().split())
    console.type(undo)
    assert console.view.input.text == "before after"
    console.type("X")
    assert console.view.input.text == "before Xafter"
    console.type(undo * 2)
    assert console.view.input.text != "before Xafter", "what was typed before the paste can be undone, too"


def test_a_new_line_does_not_forget_what_can_be_undone(console: Typist) -> None:
    console.type("/msg bob<enter>one<meta enter>")
    console.type("<ctrl _>")
    assert console.view.input.text == "one"
    console.type("<ctrl _>")
    assert console.view.input.text == ""


def test_a_paste_into_the_line_of_f3_is_removed_by_one_key(console: Typist) -> None:
    console.type("/msg bob<enter><f3>")
    console.paste(LINES)
    assert console.view.finder.text.startswith("line 0 line 1")
    console.type("<ctrl u>")
    assert console.view.finder.text == ""
