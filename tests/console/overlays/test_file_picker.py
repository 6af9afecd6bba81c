"""The file picker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatnet.core.events import VerifiedLevel
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB = key_of("bob")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the picker starts."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.txt").write_text("deep")
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "b\x1b[31m.txt").write_text("b" * 2048)
    (tmp_path / ".hidden").write_text("h")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def picking(folder: Path, console: Typist) -> Typist:
    console.type("/msg bob<enter><f5>")
    return console


def test_it_shows_folders_files_and_sizes(picking: Typist, folder: Path) -> None:
    screen = picking.screen()
    assert "Send to bob:" in screen
    assert "sub/" in screen
    assert "2.0 KiB" in screen
    assert ".hidden" not in screen
    assert "pipe" not in screen
    assert "\x1b" not in screen
    picking.type(".")
    assert ".hidden" in picking.screen()


def test_enter_opens_a_folder_and_sends_a_file(picking: Typist, folder: Path) -> None:
    picking.type("<enter>")
    assert "deep.txt" in picking.screen()
    picking.type("<enter>")
    assert picking.calls("offer") == [("offer", BOB, (os.fsencode(f"{folder}/sub/deep.txt"),))]
    assert '"deep.txt" waits for bob to accept.' in picking.screen()
    picking.type("<ctrl o>")
    assert "deep.txt" in picking.screen()  # the last directory
    picking.type("<left>")
    assert "a.txt" in picking.screen()


def test_marks_are_sent_together_in_their_order(picking: Typist, folder: Path) -> None:
    picking.type("<down><space><up><up><space>")
    assert picking.lines()[-2].strip() == "2 marked"
    picking.type("s")
    assert picking.calls("offer") == [("offer", BOB, (os.fsencode(f"{folder}/a.txt"), os.fsencode(f"{folder}/sub")))]


def test_esc_closes_and_sends_nothing(picking: Typist) -> None:
    picking.type("<space><esc>")
    assert "Send to bob" not in picking.screen()
    assert picking.calls("offer") == []
    assert "bob>" in picking.screen()


def test_it_closes_when_another_key_is_taken_for_the_person(picking: Typist) -> None:
    picking.type("<space>")
    picking.peer._take_key(BOB, key_of("new bob"), VerifiedLevel.NOT)
    picking.settle()
    assert "Send to bob" not in picking.screen()
    picking.type("<f5>")
    assert "Send to bob" in picking.screen()


def test_mouse_marks_and_a_double_click_sends(picking: Typist, folder: Path) -> None:
    picking.click("[ ] a.txt")
    assert "[x] a.txt" in picking.screen()
    picking.click("[x] a.txt")
    picking.wait(1)
    picking.click("a.txt", times=2)
    assert picking.calls("offer") == [("offer", BOB, (os.fsencode(f"{folder}/a.txt"),))]


def test_a_folder_that_cannot_be_read_is_said(picking: Typist, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refused)
    picking.type("<enter>")
    assert "Cannot read the folder (permission denied): /" in picking.screen()
    assert "a.txt" in picking.screen()


def test_the_button_opens_it(folder: Path, console: Typist) -> None:
    console.click("[Send file]")
    assert "Send to whom?" in console.screen()
    console.type("/msg bob<enter>hello")
    console.click("[Send]")
    assert console.calls("say") == [("say", BOB, "hello")]
    console.click("[Send file]")
    assert "Send to bob:" in console.screen()


def test_letters_show_only_the_names_with_them(picking: Typist, folder: Path) -> None:
    picking.type("/SUB")
    assert "[ ] sub/" in picking.screen()
    assert "a.txt" not in picking.screen()
    assert "/ SUB_   1 of 3" in picking.screen()
    picking.type("<esc>")
    assert "a.txt" in picking.screen()
    picking.type("/a.t<enter>")
    assert picking.calls("offer") == [("offer", BOB, (os.fsencode(f"{folder}/a.txt"),))]
