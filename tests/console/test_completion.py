"""Tab: what is common is common to all, and a slow disk holds up nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatnet.console import disk
from chatnet.console.commands import split_words
from tests.support.scripted_peer import ScriptedPeer, key_of, somebody
from tests.support.typist import Typist, new_clock

BOB = key_of("bob")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the console is started."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_common_beginning_is_that_of_all_files_and_the_line_says_how_many(console: Typist, tmp_path: Path) -> None:
    for number in range(1_500):
        (tmp_path / f"img{number:06d}.jpg").touch()
    (tmp_path / "imz").touch()
    console.type(f"/send bob {tmp_path}/<tab>")
    assert console.view.input.text == f"/send bob {tmp_path}/im"
    console.type("<tab>")
    assert "(the first 200 of 1,501: type more letters)" in " ".join(console.screen().split())


def test_the_common_beginning_of_people_is_that_of_all(console: Typist) -> None:
    clock = new_clock()
    peer = ScriptedPeer(clock)
    people = [somebody(f"guest{number:04d}", peer.now_ms()) for number in range(300)]
    peer.people = {person.peer: person for person in people}
    crowd = Typist(peer, clock=clock)
    crowd.type("/msg g<tab>")
    assert crowd.view.input.text == "/msg guest0"
    crowd.close()


def test_of_too_large_a_folder_nothing_is_completed_and_that_is_said(
    console: Typist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        (tmp_path / f"img{number}").touch()
    monkeypatch.setattr(disk, "FOLDER_NAMES_LOOKED_AT", 5)
    console.type(f"/send bob {tmp_path}/im<tab>")
    assert console.view.input.text == f"/send bob {tmp_path}/im"
    assert "Tab cannot tell which begin with these letters." in " ".join(console.screen().split())


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ('"lo', '"long name (1).txt"'),
        ("'lo", "'long name (1).txt'"),
        ("lo", "long\\ name\\ (1).txt"),
        ('"long na', '"long name (1).txt"'),
        ("'a folder/i", "'a folder/it'\\''s.txt'"),
        ('"a folder/s', '"a folder/say \\"hi\\".txt"'),
        ('"a f', '"a folder/'),
        ('"tw', '"two wor'),
        ('"two words" "lo', '"two words" "long name (1).txt"'),
    ],
)
def test_a_name_is_completed_in_the_quotes_that_it_begins_with(
    console: Typist, folder: Path, typed: str, completed: str
) -> None:
    (folder / "a folder").mkdir()
    for name in ("long name (1).txt", "two words", "two worlds", "a folder/it's.txt", 'a folder/say "hi".txt'):
        (folder / name).touch()
    console.type(f"/send bob {typed}<tab>")
    assert console.view.input.text == f"/send bob {completed}"
    if completed.endswith(typed[0]):
        assert all((folder / word).is_file() for word in split_words(completed))


def test_quotes_in_a_message_are_letters(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.type("don't ali<tab>")
    assert console.view.input.text == "don't alice "


def test_a_slow_folder_holds_up_nothing_and_tab_is_answered_when_it_is_there(console: Typist, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    console.disk.holds = True
    console.type(f"/send bob {tmp_path}/ph<tab>")
    assert console.view.input.text == f"/send bob {tmp_path}/ph"
    console.peer.hear(BOB, "are you there?")
    console.wait(0.2)
    assert "bob(" in console.lines()[1]
    console.type("<tab>")
    assert f"Still looking into {tmp_path}/" in " ".join(console.screen().split())
    console.disk.release()
    console.settle()
    assert console.view.input.text == f"/send bob {tmp_path}/photo.jpg"


def test_what_was_typed_meanwhile_stays(console: Typist, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    console.disk.holds = True
    console.type(f"/send bob {tmp_path}/ph<tab>")
    console.type("ase")
    console.disk.release()
    console.settle()
    assert console.view.input.text == f"/send bob {tmp_path}/phase"
    console.type("<backspace><backspace><backspace><tab>")
    console.disk.release()
    console.settle()
    assert console.view.input.text == f"/send bob {tmp_path}/photo.jpg"


def test_names_with_blanks_of_people_and_files_together(
    console: Typist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "erase me").touch()
    console.type("/send er<tab>")
    assert "[erase me] erin" in console.lines()[-1].replace("\\", "")
    console.type("<ctrl u>/send era<tab>")
    assert console.view.input.text == "/send erase\\ me"


def test_sending_from_a_slow_disk_holds_up_nothing(console: Typist, tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    console.disk.holds = True
    console.type(f"/send bob {tmp_path}/a.txt<enter>")
    console.type("/msg dave<enter>")
    assert console.calls("offer") == []
    assert console.view.chat == key_of("dave")
    console.disk.release()
    assert console.calls("offer") == [("offer", BOB, (os.fsencode(tmp_path / "a.txt"),))]


def test_what_is_missing_on_a_slow_disk_stands_in_the_input_again(console: Typist, tmp_path: Path) -> None:
    console.disk.holds = True
    typed = f"/send bob {tmp_path}/nothing"
    console.type(f"{typed}<enter>")
    assert console.view.input.text == ""
    console.disk.release()
    console.settle()
    assert console.view.input.text == typed


def test_the_picker_waits_for_a_slow_folder_and_can_be_closed(folder: Path, console: Typist) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "deep.txt").touch()
    console.type("/msg bob<enter><f5>")
    console.disk.holds = True
    console.type("<enter>")
    assert "Looking into" in console.screen()
    assert "sub/" in console.screen(), "what was shown stays until the other folder is there"
    console.disk.release()
    console.settle()
    assert "deep.txt" in console.screen()
    console.type("<left>")
    console.type("<esc>")
    console.disk.release()
    console.settle()
    assert "bob>" in console.screen()


def test_the_picker_says_that_it_shows_a_part(folder: Path, console: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        (folder / f"img{number}").touch()
    monkeypatch.setattr("chatnet.console.overlays.file_picker.PICKER_NAMES", 5)
    console.type("/msg bob<enter><f5>")
    assert "The folder has more names: these are 5 of them." in console.screen()


def test_a_name_that_two_have_is_one_candidate(console: Typist) -> None:
    clock = new_clock()
    peer = ScriptedPeer(clock)
    people = [somebody("bob", peer.now_ms()), somebody("bob", peer.now_ms(), online=False, peer=key_of("another bob"))]
    peer.people = {person.peer: person for person in people}
    two = Typist(peer, clock=clock)
    two.type("/msg b<tab>")
    assert two.view.input.text == "/msg bob "
    two.close()
