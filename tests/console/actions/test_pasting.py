"""What is pasted: taken out again by one key; a dropped file becomes an offer, after a question."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatnet.core.identity import short_text
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB = key_of("bob")
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


# --- files that are dropped on the window ----------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "my photo.jpg"
    path.write_bytes(b"x" * 2048)
    return path


def asked(console: Typist) -> bool:
    return f'Offer "my photo.jpg", 2.0 KiB to bob, key {short_text(BOB)}?' in " ".join(console.screen().split())


def test_a_dropped_file_is_offered_after_a_question(console: Typist, photo: Path) -> None:
    console.type("/msg bob<enter>")
    console.paste(f"'{photo}' ")
    assert asked(console)
    assert "[y offer] [n keep it as text]" in console.screen()
    assert console.calls("offer") == []
    console.type("y")
    assert console.calls("offer") == [("offer", BOB, (os.fsencode(photo),))]
    assert console.view.input.text == ""


@pytest.mark.parametrize("answer", ["n", "<esc>", " is where it is"])
def test_otherwise_the_path_is_a_text(console: Typist, photo: Path, answer: str) -> None:
    console.type("/msg bob<enter>")
    console.paste(str(photo))
    console.type(answer)
    assert not asked(console)
    assert console.calls("offer") == []
    assert console.view.input.text == str(photo) + (answer if answer.startswith(" ") else "")


def test_nothing_is_asked_of_what_is_no_file_or_stands_behind_a_text(console: Typist, photo: Path) -> None:
    console.type("/msg bob<enter>")
    for before, pasted in (("", f"{photo}.not"), ("look: ", str(photo)), ("/send ", f"'{photo}'"), ("", "/quit")):
        console.type("<ctrl u>" + before)
        console.paste(pasted)
        assert console.view.question is None
        assert console.view.input.text == before + pasted
    console.type("<ctrl u>/net<enter>")
    console.paste(str(photo))
    assert console.view.question is None, "nobody is chosen there"


def test_a_file_on_a_slow_disk_is_asked_about_only_if_nothing_was_typed_meanwhile(console: Typist, photo: Path) -> None:
    console.type("/msg bob<enter>")
    console.disk.holds = True
    console.paste(str(photo))
    console.disk.release()
    console.settle()
    assert asked(console)
    console.type("n<ctrl u>")
    console.paste(str(photo))
    console.type("!")
    console.disk.release()
    console.settle()
    assert console.view.question is None


def test_several_files_are_one_offer(console: Typist, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    console.type("/msg bob<enter>")
    console.paste(f"'{photo}' '{tmp_path}/b'")
    assert 'Offer "my photo.jpg" and 1 more, 2.0 KiB to bob' in " ".join(console.screen().split())
    console.type("y")
    assert console.calls("offer") == [("offer", BOB, (os.fsencode(photo), os.fsencode(tmp_path / "b")))]
