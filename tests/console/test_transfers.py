"""Offers, answers, progress, outcomes."""

from __future__ import annotations

from pathlib import Path

from chatnet.core.events import TransferState
from chatnet.core.text import safe_line
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB, ECHO = key_of("bob"), key_of("echo")


def test_alt_y_accepts_the_newest_offer_of_this_tab_only(console: Typist) -> None:
    console.type("<meta y>")
    assert "No offer of a file waits" in console.screen()
    console.peer.offered(ECHO, "other.bin", 10)
    newest = console.peer.offered(BOB, "newer.bin", 2_000_000)
    console.wait(0.1)
    console.type("/msg bob<enter>")
    screen = console.screen()
    assert screen.count("Alt-y accept   Alt-s save as…   Alt-n refuse") == 1
    assert "/accept 1   /refuse 1" in screen
    console.type("text<meta y>")
    assert "Only with an empty input" in console.screen()
    assert console.calls("accept") == []
    console.type("<ctrl u><meta y>")
    assert console.calls("accept") == [("accept", newest.fid, "")]
    console.wait(5)
    assert "/s" in console.screen()
    assert "█" in console.screen()
    console.wait(20)
    assert "✓ received, digest verified" in console.words()
    assert "saved as /tmp/Downloads/bob/newer.bin" in console.words()


def test_alt_n_refuses_and_alt_s_asks_for_a_directory(console: Typist, tmp_path: Path) -> None:
    console.type("/msg bob<enter><meta s>")
    assert console.view.input.text == "/accept 1 ~/"
    console.type(f"<backspace><backspace>{tmp_path}/new folder<enter>")
    fid = next(iter(console.peer.transfers))
    assert console.calls("accept") == [("accept", fid, f"{tmp_path}/new folder")]
    other = console.peer.offered(BOB, "b", 10)
    console.wait(0.1)
    console.type("<meta n>")
    assert console.calls("refuse") == [("refuse", other.fid)]


def test_an_offer_of_a_program_warns(console: Typist) -> None:
    console.peer.offered(BOB, "photo\u202egpj.exe", 10)
    console.wait(0.1)
    console.type("/msg bob<enter>")
    text = console.words()
    assert "it is a program: accept only if you asked for it" in text
    assert "\u202e" not in console.screen()


def test_outcomes_say_why(console: Typist) -> None:
    console.type("/msg bob<enter>")
    fid = next(iter(console.peer.transfers))
    console.peer.change_transfer(
        fid, state=TransferState.FAILED, done_bytes=600_000_000, reason=safe_line("the connection was lost")
    )
    console.settle()
    assert "✗ failed at 40 %: the connection was lost" in console.words()
    console.peer.change_transfer(fid, state=TransferState.CANCELLED, reason=safe_line("by bob"))
    console.settle()
    assert "✗ cancelled: by bob" in console.screen()


def test_the_tab_of_transfers_has_bars_and_keys(console: Typist) -> None:
    other = console.peer.offered(ECHO, "other.bin", 1000)
    mine = console.peer.offered(BOB, "mine.bin", 10**9, mine=True)
    console.peer.change_transfer(
        mine.fid,
        state=TransferState.RUNNING,
        done_bytes=61 * 10**7,
        bytes_per_second=48.0 * 2**20,
        seconds_left=11.0,
    )
    console.settle()
    console.type("<f4>")
    screen = console.screen()
    assert "1 active · 2 waiting · 0 finished" in screen
    assert "61 %   48 MiB/s   0:11 left" in screen
    assert "(list)" in screen
    console.type("c")
    assert console.calls("cancel") == [("cancel", mine.fid)]
    console.type("<down>y")
    assert console.calls("accept") == [("accept", other.fid, "")]
    console.type("<down>n")
    assert len(console.calls("refuse")) == 1
    console.type("n")
    assert "There is nothing to refuse here." in console.screen()
    console.wait(25)
    console.type("x")
    assert console.calls("forget_ended")
    assert "No transfers yet" in console.screen()


def test_the_list_keeps_the_keys_until_a_slash(console: Typist) -> None:
    console.type("<f4>abc")
    assert console.view.input.text == ""
    console.type("/net<enter>")
    assert "▸1 net◂" in console.lines()[1]
    console.type("<f4><enter>")
    assert "▸2 bob◂" in console.lines()[1]


def test_esc_leaves_the_command_line_of_the_list(console: Typist) -> None:
    console.type("<f4>/tra<esc>")
    assert console.view.input.text == "/tra"
    console.type("<ctrl u><esc>")
    assert "(list)" in console.screen()


def test_send_by_command(console: Typist, tmp_path: Path) -> None:
    (tmp_path / "photo one.jpg").write_bytes(b"x" * 100)
    console.type(f"/send bob '{tmp_path}/photo one.jpg'<enter>")
    assert console.calls("offer") == [("offer", BOB, (f"{tmp_path}/photo one.jpg",))]
    assert "photo one.jpg is offered to bob." in console.screen()
    console.type(f"/msg echo<enter>/send {tmp_path}/photo\\ one.jpg<enter>")
    assert console.calls("offer")[1] == ("offer", ECHO, (f"{tmp_path}/photo one.jpg",))


def test_a_missing_file_is_guessed_and_the_line_stays(console: Typist, tmp_path: Path) -> None:
    (tmp_path / "video.mkv").write_bytes(b"x")
    console.type(f"/send bob {tmp_path}/vidoe.mkv<enter>")
    assert "Did you mean video.mkv?" in " ".join(console.screen().split())
    assert console.view.input.text == f"/send bob {tmp_path}/vidoe.mkv"
    assert console.calls("offer") == []


def test_commands_by_number(console: Typist) -> None:
    console.type("/refuse 9<enter>")
    assert "There is no transfer 9" in console.screen()
    console.type("/refuse 1<enter>")
    assert len(console.calls("refuse")) == 1
    console.type("/accept<enter>")
    assert "No offer waits for an answer." in console.screen()
    console.type("/cancel<enter>")
    assert "No transfer is under way." in console.screen()
