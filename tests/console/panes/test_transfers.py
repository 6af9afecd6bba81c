"""Offers, answers, progress, outcomes."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from twisted.internet.defer import fail

from chatnet.core.errors import LocalError
from chatnet.core.events import FileRule, MessageState, RuleKind, TransferState
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
    assert console.calls("accept") == [("accept", newest.fid, b"")]
    console.wait(5)
    assert "/s" in console.screen()
    assert "█" in console.screen()
    console.wait(20)
    assert "✓ received, digest verified" in console.words()
    assert "saved as /tmp/Downloads/bob/newer.bin" in console.words()


def test_alt_n_refuses_and_alt_s_asks_for_a_directory(console: Typist, tmp_path: Path) -> None:
    console.type("/msg bob<enter>")
    console.type("<meta s>")
    assert console.view.input.text == "/accept 1 ~/"
    console.type(f"<backspace><backspace>{tmp_path}/new folder<enter>")
    fid = next(iter(console.peer.transfers))
    assert console.calls("accept") == [("accept", fid, os.fsencode(tmp_path / "new folder"))]
    other = console.peer.offered(BOB, "b", 10)
    console.wait(0.1)
    console.type("<meta n>")
    assert console.calls("refuse") == [("refuse", other.fid)]


def test_an_absolute_path_behind_the_home_directory_that_alt_s_proposes_is_absolute(
    console: Typist, tmp_path: Path
) -> None:
    (tmp_path / "large").mkdir()
    console.type("/msg bob<enter>")
    console.type("<meta s>")
    console.type(f"{tmp_path}/la<tab>")
    assert console.view.input.text == f"/accept 1 ~/{tmp_path}/large/"
    console.type("<enter>")
    fid = next(iter(console.peer.transfers))
    assert console.calls("accept") == [("accept", fid, os.fsencode(tmp_path / "large"))]


def test_esc_leads_from_the_list_of_transfers_to_the_tab_before(console: Typist) -> None:
    console.type("/msg bob<enter>half a text<f4><esc>")
    assert console.view.chat == BOB
    assert console.view.input.text == "half a text"
    console.type("<ctrl u>more<f4>/limit<esc>")
    assert console.view.tab.pane is console.view.transfers
    console.type("<ctrl u><esc>")
    assert console.view.tab.pane is console.view.transfers
    console.type("<esc>")
    assert console.view.chat == BOB


def test_esc_in_the_list_of_transfers_leads_to_the_first_tab_once_the_other_is_closed(console: Typist) -> None:
    console.type("/msg bob<enter><f4>")
    console.view.close(1)
    console.settle()
    console.type("<esc>")
    assert console.view.tab.pane is console.view.net


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
    assert 'Cancel 3, "mine.bin" to bob, key' in console.screen()
    assert console.calls("cancel") == []
    console.type("y")
    assert console.calls("cancel") == [("cancel", mine.fid)]
    for key in ("<down>", "y"):
        console.type(key)
    assert console.calls("accept") == [("accept", other.fid, b"")]
    for key in ("<down>", "n"):
        console.type(key)
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
    assert console.calls("offer") == [("offer", BOB, (os.fsencode(tmp_path / "photo one.jpg"),))]
    assert '"photo one.jpg" waits for bob to accept.' in console.screen()
    console.type(f"/msg echo<enter>/send {tmp_path}/photo\\ one.jpg<enter>")
    assert console.calls("offer")[1] == ("offer", ECHO, (os.fsencode(tmp_path / "photo one.jpg"),))


def test_a_name_before_files_is_a_person_though_a_file_is_called_so(
    console: Typist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("bob", "plan"):
        (tmp_path / name).write_bytes(b"x")
    console.type("/msg echo<enter>/send bob plan<enter>")
    console.type("/msg echo<enter>/send ./bob plan<enter>")
    console.type("/msg echo<enter>/send bob<enter>")
    offers = [
        (person, tuple(os.fsdecode(os.path.basename(path)) for path in paths))
        for _, person, paths in console.calls("offer")
    ]
    assert offers == [(BOB, ("plan",)), (ECHO, ("bob", "plan")), (ECHO, ("bob",))]


def test_a_missing_file_is_guessed_and_the_line_stays(console: Typist, tmp_path: Path) -> None:
    (tmp_path / "video.mkv").write_bytes(b"x")
    console.type(f"/send bob {tmp_path}/vidoe.mkv<enter>")
    assert "Did you mean video.mkv?" in " ".join(console.screen().split())
    assert console.view.input.text == f"/send bob {tmp_path}/vidoe.mkv"
    assert console.calls("offer") == []


def test_commands_by_number(console: Typist) -> None:
    console.type("/refuse 9<enter>")
    assert "There is no transfer 9" in console.screen()
    console.type("<ctrl u>/refuse 1<enter>")
    assert "Number 1 has not been on the screen yet, as it is now: F4 shows it." in console.screen()
    console.type("<ctrl u>/transfers<enter>")
    console.type("/refuse 1<enter>")
    assert len(console.calls("refuse")) == 1
    console.type("/accept<enter>")
    assert "No offer waits for an answer." in console.screen()
    console.type("/cancel<enter>")
    assert "No transfer is under way." in console.screen()


def test_pause_and_resume_by_key_and_by_command(console: Typist) -> None:
    offer = console.peer.offered(BOB, "video.mkv", 1_000_000)
    console.wait(0.1)
    console.type("<f4>")
    console.type("y")
    console.type("p")
    console.wait(0.1)
    console.type("r")
    console.wait(0.1)
    assert console.calls("pause") == [("pause", offer.fid)]
    assert console.calls("resume") == [("resume", offer.fid)]
    console.type("<f4>/pause 2<enter>")
    assert len(console.calls("pause")) == 2
    console.peer.hold(offer.fid, by_me=False)
    console.peer.change_transfer(offer.fid, done_bytes=610_000)
    console.wait(0.1)
    assert "61 %, paused: they paused it" in console.words()
    console.type("/resume 2<enter>")
    assert len(console.calls("resume")) == 2
    assert "bob holds it too: it goes on when bob lets it." in console.screen()


def test_a_broken_transfer_says_that_it_continues(console: Typist) -> None:
    offer = console.peer.offered(BOB, "video.mkv", 1_000_000)
    console.peer.change_transfer(offer.fid, state=TransferState.BROKEN, code="lost", done_bytes=610_000)
    console.wait(0.1)
    console.type("<f4>")
    assert "61 %, connection lost; continues by itself when bob is back." in console.words()


def test_a_source_that_changed_is_named(console: Typist) -> None:
    offer = console.peer.offered(BOB, "notes.md", 10)
    console.peer.change_transfer(offer.fid, state=TransferState.FAILED, code="changed", outgoing=True)
    console.wait(0.1)
    console.type("<f4>")
    assert '"notes.md" changed before it was sent; /send offers it as it is now.' in console.words()
    console.peer.change_transfer(offer.fid, done_bytes=3)
    console.settle()
    assert '"notes.md" changed while it was sent; /send offers it as it is now.' in console.words()


def test_speed_limits(console: Typist) -> None:
    console.type("/limit up 2M<enter>")
    assert "Speed limits: up 2.0 MiB/s, down off." in console.screen()
    console.type("/limit down 300k<enter>/limit up off<enter>")
    assert console.calls("set_speed_limits")[-1] == ("set_speed_limits", None, 307_200)
    console.type("/limit up fast<enter>")
    assert "/limit [up|down RATE|off]" in console.screen()
    console.type("<f4>l")
    assert "Speed limits: up off, down 300 KiB/s." in console.screen()


def test_rules(console: Typist) -> None:
    console.type("/rule bob auto 10M<enter>")
    assert console.calls("set_rule") == [("set_rule", BOB, FileRule(RuleKind.AUTO, 10_485_760))]
    assert "Offers from bob up to 10 MiB are accepted unasked." in console.screen()
    console.type("/rule bob<enter>")
    assert "up to 10 MiB" in console.screen()
    console.type("/msg bob<enter>/rule refuse<enter>")
    assert "Offers from bob are refused unasked." in console.screen()
    console.type("/rule bob perhaps<enter>")
    assert len(console.calls("set_rule")) == 2


def test_a_path_with_blanks_is_told_to_be_quoted(console: Typist, tmp_path: Path) -> None:
    (tmp_path / "two words.txt").write_text("x")
    console.type(f"/send bob {tmp_path}/two words.txt<enter>")
    assert f'A name with blanks is put in quotes: "{tmp_path}/two words.txt"' in console.view.footer.status
    console.type(f'<ctrl u>/send bob "{tmp_path}/two words.txt"<enter>')
    assert console.calls("offer") == [("offer", BOB, (os.fsencode(tmp_path / "two words.txt"),))]


def test_a_text_too_long_for_a_message_goes_as_a_file(console: Typist) -> None:
    text = "long\n" * 5_000
    console.type("/msg bob<enter>")
    console.paste(text)
    console.type("<enter><meta s>")
    ((_, chat, sent, name),) = console.calls("offer_text")
    assert (chat, sent) == (BOB, text)
    assert re.fullmatch(r"message-\d{4}-\d\d-\d\d-\d{6}\.txt", name)
    assert console.view.input.text == ""


def test_a_long_text_that_is_not_offered_stands_in_the_input_again(console: Typist) -> None:
    text = "long\n" * 5_000
    console.type("/msg bob<enter>")
    console.paste(text)
    console.peer.fail_next = LocalError("offline", "bob is offline: files need both of you there.")
    console.type("<meta s>")
    assert len(console.calls("offer_text")) == 1
    assert console.view.input.text == text
    assert "Not sent: bob is offline" in console.screen()


def test_a_path_that_is_not_utf_8_is_shown(console: Typist) -> None:
    offer = console.peer.offered(BOB, "a.bin", 10)
    console.peer.change_transfer(offer.fid, state=TransferState.DONE, saved_to=b"/d\xff/bob/a.bin")
    console.wait(0.1)
    console.type("/msg bob<enter>")
    assert "saved as /d\ufffd/bob/a.bin" in console.screen()
    console.type("<f4>")
    assert "saved as /d\ufffd/bob/a.bin" in console.screen()


def test_a_long_path_is_whole_in_the_list_of_transfers(console: Typist) -> None:
    offer = console.peer.offered(BOB, "a" * 90 + ".bin", 2_000_000)
    console.wait(0.1)
    console.type("<f4>")
    console.type("y")
    console.wait(30)
    assert console.peer.transfers[offer.fid].state is TransferState.DONE
    assert ("a" * 90 + ".bin") in "".join(line.split("│")[-1].strip() for line in console.lines())


def test_help_over_the_list_of_transfers_does_not_promise_the_keys_of_the_list(console: Typist) -> None:
    console.type("<f4>")
    assert "accept" in console.lines()[-1]
    console.type("<f1>")
    assert "Esc back" in console.lines()[-1]
    assert "accept" not in console.lines()[-1]


def test_a_speed_limit_that_is_too_low_is_told_with_the_way_to_pause(
    console: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = LocalError("too-slow", "16 KiB/s is the lowest limit.")
    monkeypatch.setattr(console.peer, "set_speed_limits", lambda *_: fail(slow))
    console.type("/limit up 1k<enter>")
    assert "16 KiB/s is the lowest limit. /pause N holds a transfer." in console.all_words()


def test_a_file_for_somebody_who_is_away_waits(console: Typist, tmp_path: Path) -> None:
    alice = key_of("alice")
    assert not console.peer.people[alice].online
    (tmp_path / "notes.md").write_bytes(b"x")
    console.type("/msg alice<enter>")
    console.type(f"/send alice {tmp_path}/notes.md<enter>")
    assert '"notes.md" waits: it is offered when alice is back.' in console.screen()
    text = console.words()
    assert '"notes.md" 1 B waits for alice' in text
    assert "waiting, alice is offline" in text
    console.type("<f4>")
    assert "waits for alice" in console.words()
    (transfer,) = [one for one in console.peer.transfers.values() if one.peer == alice]
    console.peer.change_transfer(transfer.fid, reason=safe_line("a disk here does not answer"))
    console.wait(1)
    assert "waits: a disk here does not answer" in console.words()
    console.type("c")
    console.wait(1)
    console.type("y")
    assert console.calls("cancel") == [("cancel", transfer.fid)]


def test_an_offer_that_was_made_does_not_wait_to_be_sent(console: Typist) -> None:
    """The person went away before answering: the offer is there."""
    console.peer.offered(BOB, "notes.md", 10, mine=True)
    console.peer.change_person(BOB, online=False, linked=False)
    console.wait(0.1)
    console.type("/msg bob<enter>")
    text = console.words()
    assert "bob must accept" in text
    assert "It will be sent when" not in text


def test_an_offer_that_waits_for_answers_to_others_says_so(console: Typist) -> None:
    for number in range(4):
        offer = console.peer.offered(BOB, f"{number}.txt", 10, mine=True)
    row = next(row for row in console.peer.rows[BOB] if row.id == offer.fid)
    console.peer.change_transfer(offer.fid, state=TransferState.WAITING)
    console.peer.set_state(row, MessageState.WAITING)
    console.wait(0.1)
    console.type("/msg bob<enter>")
    assert "waiting: bob has to answer the offers before it." in console.words()
    for transfer in list(console.peer.transfers.values())[:-1]:
        console.peer.change_transfer(transfer.fid, state=TransferState.DECLINED)
    console.wait(0.1)
    assert "has to answer" not in console.words()
