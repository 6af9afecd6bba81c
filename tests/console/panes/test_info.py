"""The column of facts beside a wide pane, and the same facts as a page."""

from __future__ import annotations

import pytest

from chatnet.console.panes.info import Facts
from chatnet.console.window import INFO_COLS, INFO_FROM
from chatnet.core.events import RegistryPhase, TransferState, VerifiedLevel
from chatnet.core.identity import grouped_text, prefix_text
from tests.support.scripted_peer import key_of, somebody
from tests.support.typist import Typist

ALICE, BOB, MALLORY = key_of("alice"), key_of("bob"), key_of("mallory")


def column(console: Typist) -> str:
    """What the column of a ``wide`` screen says, without its line breaks."""
    return " ".join(" ".join(line.rpartition("│")[2].split()) for line in console.lines()[2:-2]).strip()


@pytest.fixture
def wide(console: Typist) -> Typist:
    console.resize(140, 40)
    return console


def test_the_column_is_there_from_132_columns(console: Typist) -> None:
    console.type("/msg bob<enter>")
    for cols, walls in ((INFO_FROM - 1, 1), (INFO_FROM, 2), (200, 2)):
        console.resize(cols, 30)
        row = next(line for line in console.lines() if line.startswith(" ● erin"))
        assert row.count("│") == walls, cols
    assert console.lines()[5][200 - INFO_COLS] == "│"


def test_a_person_with_a_link(wide: Typist) -> None:
    """Fault C20: 140×40 was mostly empty."""
    wide.peer.change_person(BOB, verified=VerifiedLevel.BY_NUMBER, address="192.0.2.20:50412")
    wide.type("/msg bob<enter>")
    found = column(wide)
    assert grouped_text(BOB) in found.replace("- ", "-")
    for fact in (
        "verified: you compared all sixty digits",
        "presence online",
        "address 192.0.2.20:34194",
        "link direct, encrypted, with 192.0.2.20:50412",
        "answer after 3 ms",
        "transfers",
        '"video.mkv" 1.4 GiB wants to send',
    ):
        assert fact in found, fact
    assert "waiting" not in found
    wide.peer.change_person(BOB, unanswered_since_ms=wide.peer.now_ms(), waiting=1)
    wide.settle()
    assert "answer none since" in column(wide)
    assert "bob does not answer since" in column(wide)


def test_what_waits_and_why(wide: Typist) -> None:
    wide.type("/msg alice<enter>")
    found = column(wide)
    assert "not verified yet (/verify)" in found
    assert "presence offline, last seen" in found
    assert "waiting 1 message waiting, alice is offline" in found
    assert "address" not in found
    assert "link" not in found
    wide.peer.change_person(
        ALICE, online=True, waiting_code="unreachable", next_try_ms=wide.peer.now_ms() + 20_000, more_waits=True
    )
    wide.settle()
    assert "Next try in 20 s" in column(wide) or "Next try in 19 s" in column(wide)
    wide.wait(5)
    assert "Next try in 15 s" in column(wide) or "Next try in 14 s" in column(wide)
    assert "more of theirs, until you write to them" in column(wide)


def test_a_changed_key_and_a_block(wide: Typist) -> None:
    wide.type("/msg mallory<enter>")
    assert f"! KEY CHANGED, sending is held new key {prefix_text(key_of('another mallory'))}" in column(wide)
    wide.peer.change_person(MALLORY, blocked=True)
    wide.settle()
    assert "✗ blocked: nothing is taken from this key" in column(wide)


def test_the_selected_person_while_the_list_has_the_keys(wide: Typist) -> None:
    wide.type("/msg bob<enter><f2><home>")
    assert column(wide).startswith("bob")
    wide.type("<down>")
    chosen = wide.view.people.chosen()
    assert chosen is not None
    assert column(wide).startswith(chosen.name)
    wide.type("<esc>")
    assert column(wide).startswith("bob")


def test_the_selected_transfer(wide: Typist) -> None:
    transfer = wide.peer.offered(ALICE, "photos/", 10**9, files=312, folders=4)
    wide.peer.change_transfer(
        transfer.fid,
        state=TransferState.BROKEN,
        code="timeout",
        done_bytes=22 * 10**7,
        done_files=80,
        resumed_from=10**8,
    )
    wide.settle()
    wide.type("<f4><home>")
    found = column(wide)
    for fact in ("312 files in 4 folders", "and 311 more", "80 files of 312", "went on from 95 MiB", "alice"):
        assert fact in found, fact
    wide.type("<down>")
    assert '"video.mkv"' in column(wide)


def test_the_network(wide: Typist) -> None:
    wide.type("/net<enter>")
    wide.type("/limit up 2M<enter>")
    wide.peer.ask("somebody", "hello")
    wide.settle()
    found = column(wide)
    for fact in ("carol", "listens 127.0.0.1:40112", "13 online, 2 offline", "up 2.0 MiB/s, down off", "1: /requests"):
        assert fact in found, fact
    wide.peer.put_registry(RegistryPhase.LOST, "connection refused", "refused-connection", 8)
    wide.wait(3)
    found = column(wide)
    assert "lost for" in found
    assert "connection refused next try in" in found


def test_the_key_hides_and_shows_the_column(wide: Typist) -> None:
    wide.type("/msg bob<enter><f6>")
    assert "presence" not in wide.screen()
    wide.type("<meta i>")
    assert "presence" in wide.screen()


@pytest.mark.parametrize(("cols", "rows"), [(50, 14), (80, 24), (131, 30)])
def test_without_room_the_facts_are_a_page(console: Typist, cols: int, rows: int) -> None:
    console.resize(cols, rows)
    console.type("/msg bob<enter><f6>")
    assert "What is known" in console.lines()[1]
    assert "not verified" in console.screen()
    console.peer.change_person(BOB, verified=VerifiedLevel.BY_CODE)
    console.settle()
    assert "you compared a six-digit code" in " ".join(console.screen().split())
    console.type("<f6>")
    assert "What is known" not in console.screen()
    assert "will do" in console.screen()


def test_many_transfers_are_counted_and_the_unfinished_come_first(wide: Typist) -> None:
    for number in range(12):
        done = wide.peer.offered(BOB, f"done{number}", 10, mine=True)
        wide.peer.change_transfer(done.fid, state=TransferState.DONE)
    wide.settle()
    wide.type("/msg bob<enter>")
    found = column(wide)
    assert found.index('"video.mkv"') < found.index('"done11"')
    assert "5 more: F4" in found


def test_a_stranger_of_whom_nothing_is_known_has_no_empty_rows(console: Typist) -> None:
    bare = somebody("?", 0, online=False, last_seen_ms=None, known_since_ms=None)
    labels = [row.canvas(35).text[0].decode().strip() for row in Facts(console.view.scene).of_person(bare)]
    assert all(labels)
    assert not any(label in ("address", "link", "answer", "known", "waiting") for label in labels)
