"""What an offer holds, looked at before it is answered."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from chatnet.core.errors import LocalError
from chatnet.core.events import OfferDetails, OfferedName, Transfer, TransferState
from chatnet.core.limits import NAMES_PAGES_KEPT, OFFERED_NAMES_PAGE
from chatnet.core.text import safe_line
from tests.support.scripted_peer import key_of
from tests.support.typist import Typist

BOB = key_of("bob")


def name(path: str, original: str = "", size: int = 10, is_folder: bool = False) -> OfferedName:
    return OfferedName(safe_line(path, 1000), safe_line(original, 1000), size, is_folder)


FEW = [
    name("photos/a.jpg", size=2048),
    name("photos/git/config", "photos/.git/config"),
    name("photos/b_c", "photos/b:c"),
    name("photos/void", is_folder=True),
]


def offered(console: Typist, contents: Sequence[OfferedName] = FEW, **changes: int) -> Transfer:
    """Bob offers a folder, in the tab that is shown."""
    empty = sum(one.is_folder for one in contents)
    details = OfferDetails(empty_folders=empty, renamed=2, **changes)
    count = len(contents) - empty
    transfer = console.peer.offered(BOB, "photos/", 10**6, files=count, folders=3, details=details, contents=contents)
    console.wait(0.1)
    console.type("/msg bob<enter>")
    return transfer


@pytest.mark.parametrize("size", [(50, 14), (80, 24), (140, 40)])
def test_alt_v_shows_all_names_and_which_change(console: Typist, size: tuple[int, int]) -> None:
    console.resize(*size)
    offered(console)
    assert "Alt-v" in console.screen()
    assert "ill change here (Alt-v shows" in " ".join(console.screen().split())
    console.type("<meta v>")
    lines = console.lines()
    assert '"photos/"  1 of 4' in lines[1]
    assert [line.split() for line in lines[2:6]] == [
        ["2.0", "KiB", "photos/a.jpg"],
        ["10", "B", "!", "photos/git/config"],
        ["10", "B", "!", "photos/b_c"],
        ["folder", "photos/void/"],
    ]
    console.type("<down>")
    assert "offered as photos/.git/config saved as photos/git/config" in " ".join(console.screen().split())
    assert "c next changed name" in console.lines()[-1]
    assert "PgDn" not in console.lines()[-1]  # all are in view
    console.type("<esc>")
    assert console.view.overlay is None


def test_c_goes_from_one_changed_name_to_the_next_and_round(console: Typist) -> None:
    offered(console)
    console.type("<meta v>")
    for place in ("2 of 4", "3 of 4", "2 of 4"):
        console.type("c")
        assert place in console.lines()[1]


def test_of_a_hundred_thousand_names_only_those_in_view_are_loaded(console: Typist) -> None:
    """C12."""
    transfer = offered(console, [name(f"d/{number:06d}") for number in range(100_000)])
    console.type("/contents<enter>")
    assert "d/000000" in console.screen()
    assert "PgDn more" in console.lines()[-1]
    console.type("<end>")
    assert "d/099999" in console.screen()
    console.type("<page up>")
    console.type("<home>")
    last = 100_000 - OFFERED_NAMES_PAGE
    assert console.calls("offered_names") == [
        ("offered_names", transfer.fid, start, OFFERED_NAMES_PAGE) for start in (0, last)
    ]
    for _ in range(400):
        console.press("page down")
    assert f"d/{console.view.overlay._rows.selected:06d}" in console.screen()
    assert console.view.overlay._rows.selected > NAMES_PAGES_KEPT * OFFERED_NAMES_PAGE
    assert len(console.view.overlay._pages) == NAMES_PAGES_KEPT


def test_the_list_of_transfers_shows_them_too(console: Typist) -> None:
    offered(console, links=3, unreadable=1)
    console.type("<f4>")
    assert "3 links and 1 unreadable item are not sent." in console.words()
    assert "v contents" in console.screen()
    console.type("v")
    assert "photos/a.jpg" in console.screen()


def test_what_cannot_be_read_is_said_and_asked_for_again(console: Typist) -> None:
    offered(console)
    console.peer.fail_next = LocalError("store", "the disk does not answer")
    console.type("<meta v>")
    assert "The names could not be read: the disk does not answer." in console.screen()
    assert "photos/a.jpg" not in console.screen()
    console.type("<down>")
    assert "photos/a.jpg" in console.screen()


def test_a_transfer_that_ended_badly_has_no_names(console: Typist) -> None:
    transfer = offered(console)
    console.peer.change_transfer(transfer.fid, state=TransferState.CANCELLED)
    console.wait(0.1)
    console.type(f"/contents {console.console.model.numbers[transfer.fid]}<enter>")
    assert "are not kept" in console.screen()
    console.type("<ctrl u>/contents 99<enter>")
    assert "There is no transfer 99" in console.screen()


def test_a_hostile_name_moves_nothing(console: Typist) -> None:
    offered(console, [name("a\x1b[31m\u202eb", "c\n\x9b1m"), name("x" * 900)])
    console.type("<meta v>")
    assert "\x1b" not in console.screen()
    assert "\u202e" not in console.screen()
    console.type("<down>")
    assert "x" * 70 in console.screen()


@pytest.mark.parametrize("size", [(50, 14), (80, 24), (140, 40)])
def test_of_a_long_name_both_ends_are_seen_before_and_after(console: Typist, size: tuple[int, int]) -> None:
    console.resize(*size)
    offered(console, [name("p/" + "n" * 176 + ".txt", "p/" + "n" * 251 + ".txt")])
    console.type("<meta v>")
    text = "".join(line.strip() for line in console.lines()[-8:-1])
    assert "offered as p/nnn" in text
    assert "saved as   p/nnn" in text
    assert text.count("nnn.txt") == 2


def test_a_slash_begins_a_command(console: Typist) -> None:
    offered(console)
    console.type("<meta v>/whois bob<enter>")
    assert console.view.overlay is None
    assert "bob: key" in console.screen()
