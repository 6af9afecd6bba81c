"""The sheet with the digits: what it names can be done on it."""

from __future__ import annotations

import pytest

from chatnet.core.identity import short_text
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB, MALLORY, OTHER = key_of("bob"), key_of("mallory"), key_of("another mallory")


@pytest.fixture
def sheet(console: Typist) -> Typist:
    console.type("/verify bob<enter>")
    return console


def test_a_says_that_all_are_the_same_after_a_question(sheet: Typist) -> None:
    sheet.type("a")
    assert f"Are all sixty digits the same on both screens? Then bob, key {short_text(BOB)}," in " ".join(
        sheet.screen().split()
    )
    assert sheet.calls("confirm") == []
    assert "11111" in sheet.screen(), "the digits stay in view"
    sheet.type("y")
    assert sheet.calls("confirm") == [("confirm", BOB, 2, "bob", BOB, "")]
    assert "11111" not in sheet.screen()
    assert "bob is verified: you compared all sixty digits." in sheet.screen()


def test_not_yet_leaves_the_sheet(sheet: Typist) -> None:
    sheet.type("a")
    sheet.type("n")
    assert "11111" in sheet.screen()
    assert sheet.calls("confirm") == []


def test_l_makes_six_digits(sheet: Typist) -> None:
    sheet.type("l")
    assert sheet.calls("check_live") == [("check_live", BOB)]
    assert "Code with bob: 482 913" in sheet.words()


def test_a_new_key_is_named_and_taken_and_has_no_six_digits(console: Typist) -> None:
    console.type("/verify mallory<enter>")
    assert "mallory is verified, and the new key taken" in console.screen()
    console.type("l")
    assert console.calls("check_live") == []
    console.type("a")
    console.type("y")
    assert console.calls("confirm") == [("confirm", MALLORY, 2, "mallory", OTHER, "")]
    assert console.view.chat == OTHER


def test_what_is_void_cannot_be_the_same_and_v_compares_again(sheet: Typist) -> None:
    sheet.peer.change_person(BOB, new_key=OTHER)
    sheet.settle()
    sheet.type("a")
    sheet.type("y")
    assert sheet.calls("confirm") == []
    assert "compare again, from the first digit on" in sheet.screen()
    sheet.type("v")
    assert "The number of bob's NEW key and yours" in sheet.screen()


def test_another_key_that_comes_under_the_question_is_not_confirmed(sheet: Typist) -> None:
    sheet.type("a")
    sheet.wait(1)
    sheet.peer.change_person(BOB, new_key=OTHER)
    sheet.settle()
    sheet.press("y")
    assert sheet.calls("confirm") == []


def test_letters_of_a_name_verify_nobody(console: Typist) -> None:
    console.type("<f2>vay")
    assert console.calls("confirm") == []


def test_the_rows_can_be_clicked(sheet: Typist) -> None:
    sheet.wait(1)
    sheet.click("All are the same")
    assert "Are all sixty digits" in sheet.screen()
    sheet.type("n")
    sheet.click("Six digits instead")
    assert sheet.calls("check_live") == [("check_live", BOB)]


def test_the_footer_names_the_keys(sheet: Typist) -> None:
    assert sheet.lines()[-1].startswith(" a all the same  l six digits  Esc back")


@pytest.mark.parametrize("opened", ["/verify bob<enter>", "/myid<enter>", "/requests<enter>", "/search lunch<enter>"])
def test_a_slash_on_a_page_begins_a_command(console: Typist, opened: str) -> None:
    console.type(opened)
    assert console.view.overlay is not None
    console.type("/whois bob<enter>")
    assert "bob: key" in console.screen()


def test_in_the_help_a_slash_searches(console: Typist) -> None:
    console.type("<f4><f1>/ver")
    assert "type to search: /ver_" in console.screen()


@pytest.mark.parametrize("size", [(50, 14), (80, 24), (140, 40)])
def test_the_digits_are_in_view_at_each_size_and_beside_the_question(sheet: Typist, size: tuple[int, int]) -> None:
    sheet.resize(*size)
    assert all(str(group) in sheet.screen() for group in range(11111, 11123))
    sheet.type("a")
    assert all(str(group) in sheet.screen() for group in range(11111, 11123))
    assert "[y all the same] [n not yet]" in sheet.lines()[-1]
