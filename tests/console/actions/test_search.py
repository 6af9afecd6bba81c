"""Finding, results, export, resend, restored tabs and drafts, and the banner."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from twisted.internet.defer import fail

from chatnet.console.actions.search import since_of
from chatnet.console.widgets.wording import clock_text
from chatnet.core import limits
from chatnet.core.errors import LocalError, StoreFailed
from chatnet.core.events import LoggedIn, MessageState, StoreChanged, Tab, TabsRestored
from chatnet.core.text import SafeText, safe_line
from tests.support.scripted_peer import ScriptedPeer, furnished, key_of, somebody
from tests.support.typist import Typist, new_clock

BOB, DAVE, ALICE = (key_of(name) for name in ("bob", "dave", "alice"))
FULL = "The disk is full: nothing can be stored until there is space again."


@pytest.fixture
def long() -> Iterator[Typist]:
    """A conversation of 2,000 rows; every hundredth has a word of its own."""
    clock = new_clock()
    peer = ScriptedPeer(clock)
    peer.people = {BOB: somebody("bob", peer.now_ms())}
    for number in range(2000):
        peer.stored(BOB, f"line {number}" + (f" needle{number}" if number % 100 == 0 else ""))
    console = Typist(peer, clock=clock)
    console.type("/msg bob<enter>")
    yield console
    console.close()


def test_f3_goes_back_from_one_to_the_next_and_shift_tab_forward(console: Typist) -> None:
    console.type("/msg bob<enter>half a thought<f3>")
    assert console.lines()[-2].startswith(" find>")
    assert "Enter next" in console.lines()[-1]
    console.type("will<enter>")
    assert console.calls("search") == [("search", "will", BOB, None, None, 50, None)]
    assert "1 of 1" in console.screen()
    console.type("<enter>")
    assert "oldest" in console.screen()
    console.type("<esc>")
    assert console.lines()[-2].startswith("bob> half a thought")


def test_a_find_far_back_loads_the_rows_around_it(long: Typist) -> None:
    long.type("<f3>needle<enter>")
    assert "1 of 20" in long.screen()
    assert "line 1900 needle1900" in long.screen()
    long.type("<enter>" * 15)
    assert "16 of 20" in long.screen()
    assert "line 400 needle400" in long.screen()
    assert "line 1999" not in long.screen()
    long.type("<shift tab>")
    assert "line 500 needle500" in long.screen()
    long.peer.hear(BOB, "something new")
    long.settle()
    assert "line 500 needle500" in long.screen()
    long.type("<esc>")
    for _ in range(6):
        long.type("<page down>")
    assert "line 600" in long.screen() or "line 59" in long.screen()
    long.type("<meta end>")
    assert "something new" in long.screen()
    assert len(long.view.tab.pane.chat_rows.rows) <= limits.LIVE_MESSAGES


def test_scrolling_down_from_a_find_reaches_the_newest_without_a_gap(long: Typist) -> None:
    long.type("<f3>needle1500<enter><esc>")
    assert "line 1500" in long.screen()
    for _ in range(60):
        long.type("<page down>")
    assert "line 1999" in long.screen()
    numbers = [row.n for row in long.view.tab.pane.chat_rows.rows]
    assert numbers == list(range(numbers[0], 2001))
    assert long.view.tab.pane.at_end()


def test_what_was_said_after_a_find_is_on_the_screen(long: Typist) -> None:
    long.type("<f3>needle100<enter><esc>my answer<enter>")
    assert "my answer" in long.screen()


def test_nothing_found_and_nowhere_to_find(console: Typist) -> None:
    console.type("<f3>")
    assert "/search TEXT finds in all" in console.screen()
    console.type("/msg bob<enter><ctrl f>zebra<enter>")
    assert "Nothing here has these words" in console.screen()


def test_search_lists_everybodys_and_enter_goes_there(console: Typist) -> None:
    console.type("/search see tomorrow<enter>")
    screen = console.screen()
    assert "Found: see tomorrow" in screen
    assert "2 messages" in screen
    console.type("<down><enter>")
    assert console.view.chat == BOB
    assert console.view.overlay is None
    assert console.view.tab.pane._found_n == 1


def test_a_result_shows_when_it_was_written_and_when_it_arrived_late(console: Typist) -> None:
    """B13."""
    now_ms = console.peer.now_ms()
    console.peer.hear(BOB, "a rare zebra " * 20, sent_ms=now_ms - 7_200_000)
    console.type("/search zebra<enter>")
    (row,) = [row for row in console.lines() if "a rare zebra" in row]
    assert row.split()[3] == clock_text(now_ms - 7_200_000)
    assert row.endswith(f"(arrived {clock_text(now_ms)})")


def test_search_from_and_since(console: Typist) -> None:
    console.type("/search from:dave lunch since:today<enter><esc>")
    (call,) = console.calls("search")
    day = datetime.fromtimestamp(console.peer.now_ms() / 1000).replace(hour=0, minute=0, second=0, microsecond=0)
    assert call == ("search", "lunch", None, round(day.timestamp() * 1000), None, 50, DAVE)
    console.type('/search "did the" from:me<enter><esc>')
    assert console.calls("search")[-1] == ("search", '"did the"', None, None, None, 50, key_of("carol"))
    for typed, words in (
        ("/search x since:soon", "is no date"),
        ("/search x from:nobody", "Nobody here is called"),
        ("/search", "/search TEXT"),
    ):
        console.type(f"<ctrl u>{typed}<enter>")
        assert words in console.screen()
        assert console.view.input.text == typed
    assert len(console.calls("search")) == 2


def test_results_come_in_pages(long: Typist) -> None:
    long.type("/search line<enter>")
    assert "50 messages and older ones" in long.screen()
    long.type("<page down>" * 3)
    assert len(long.calls("search")) >= 2
    assert long.calls("search")[1][4] == long.view.overlay.found[49].n
    found = [message.n for message in long.view.overlay.found]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)
    long.type("<esc>")
    assert long.view.overlay is None


def test_export_names_the_file(console: Typist) -> None:
    console.type("/msg bob<enter>/export talk.json<enter>")
    path = os.path.join(os.getcwd(), "talk.json")
    assert console.calls("export") == [("export", BOB, os.fsencode(path), "json")]
    assert f"8 messages written to {path}" in console.view.footer.status
    console.type("/export ~/talk.txt<enter>")
    assert console.calls("export")[1] == ("export", BOB, os.fsencode(Path.home() / "talk.txt"), "text")
    console.peer.export = lambda *args: (_ for _ in ()).throw(LocalError("exists", "x is there already"))  # type: ignore
    console.type("/export x.txt<enter>")
    assert "Not exported: x is there already" in console.screen()


def test_resend_takes_the_newest_that_failed(console: Typist) -> None:
    peer = console.peer
    old = peer.stored(ALICE, "first", mine=True, state=MessageState.EXPIRED)
    new = peer.stored(ALICE, "second", mine=True, state=MessageState.REFUSED)
    console.type("/msg alice<enter>")
    assert "expired, not delivered" in console.screen()
    console.type("/resend<enter>")
    assert console.calls("resend") == [("resend", ALICE, new.n)]
    assert "1 more failed" in console.screen()
    console.type("/resend<enter>")
    assert console.calls("resend")[-1] == ("resend", ALICE, old.n)
    console.type("/resend<enter>")
    assert "nothing to send again" in console.screen()
    assert len(console.calls("resend")) == 2


def test_tabs_and_drafts_come_back_and_nothing_is_told_before() -> None:
    clock = new_clock()
    peer = furnished(clock, name="")
    console = Typist(peer, clock=clock)
    console.wait(3)
    assert console.calls("set_tabs") == []
    peer.me = peer._me("carol")
    peer.emit(LoggedIn(peer.me))
    console.wait(3)
    assert console.calls("set_tabs") == []
    peer.emit(TabsRestored((Tab(DAVE, ""), Tab(BOB, "half a tho"), Tab(ALICE, "kept", open=False))))
    console.wait(3)
    assert "2 dave(2)  3 bob  4 transfers" in console.screen()
    assert console.calls("set_tabs") == console.calls("set_draft") == []
    console.type("<meta 3>")
    assert console.lines()[-2].startswith("bob> half a tho")
    console.type("ught")
    console.wait(1.5)
    assert console.calls("set_draft") == [("set_draft", BOB, "half a thought")]
    console.type("/msg alice<enter>" if not console.view.input.text else "<ctrl u>/msg alice<enter>")
    assert console.lines()[-2].startswith("alice> kept")
    console.wait(1.5)
    assert console.calls("set_tabs")[-1] == ("set_tabs", (DAVE, BOB, ALICE))
    assert console.calls("set_draft")[-1] == ("set_draft", BOB, "")
    console.type("<meta w>")
    console.close()
    assert console.calls("set_tabs")[-1] == ("set_tabs", (DAVE, BOB))
    assert ("set_draft", ALICE, "") not in console.calls("set_draft")


def test_what_the_disk_did_not_take_is_told_again(console: Typist) -> None:
    console.type("/msg bob<enter>secret")
    console.wait(1.5)
    told = console.peer.set_draft
    console.peer.set_draft = lambda *call: fail(StoreFailed("no-space", "full"))  # type: ignore[method-assign]
    console.type("<ctrl u>")
    console.wait(1.5)
    console.peer.set_draft = told  # type: ignore[method-assign]
    console.peer.calls.clear()
    console.wait(1.5)
    assert console.calls("set_draft") == [("set_draft", BOB, "")]
    assert console.calls("set_tabs") == [("set_tabs", (BOB,))]


def test_a_closed_tabs_text_waits_for_it_to_open_again(console: Typist) -> None:
    console.type("/msg bob<enter>unfinished<meta w>")
    assert "unfinished" not in console.screen()
    console.type("/msg bob<enter>")
    assert console.lines()[-2].startswith("bob> unfinished")


def test_the_banner_stands_while_the_disk_fails_and_the_line_stays_in_the_input(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.peer.emit(StoreChanged(False, safe_line(FULL)))
    console.settle()
    assert f"! {FULL}" in console.lines()[2]
    console.peer.fail_next = StoreFailed("no-space", "the disk is full")
    console.type("precious<enter>")
    assert console.lines()[-2].startswith("bob> precious")
    console.wait(30)
    assert f"! {FULL}" in console.lines()[2]
    assert console.calls("set_draft") == []
    console.peer.emit(StoreChanged(True, SafeText("")))
    console.settle()
    assert FULL not in console.screen()
    console.type("<enter>")
    assert console.calls("say")[-1] == ("say", BOB, "precious")
    assert "you precious" in console.screen()


def test_a_banner_from_before_the_console_and_on_a_small_screen() -> None:
    clock = new_clock()
    peer = furnished(clock)
    peer.store_trouble = safe_line(FULL)
    console = Typist(peer, clock=clock, size=(40, 12))
    assert "The disk is full" in console.screen()
    console.type("/msg bob<enter>")
    assert "bob>" in console.screen()
    console.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-31", datetime(2026, 5, 31)),
        ("today", datetime(2026, 11, 22)),
        ("yesterday", datetime(2026, 11, 21)),
        ("7d", datetime(2026, 11, 15)),
        ("2026-02-30", None),
        ("9999999d", None),
        ("soon", None),
    ],
)
def test_dates(text: str, expected: datetime | None) -> None:
    now = round(datetime(2026, 11, 22, 17, 2).timestamp() * 1000)
    assert since_of(text, now) == (None if expected is None else round(expected.timestamp() * 1000))


def test_a_search_for_nothing_is_told_with_the_way_to_search(console: Typist, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = LocalError("empty", "There is nothing to look for.")
    monkeypatch.setattr(console.peer, "search", lambda *_: fail(empty))
    console.type('/search ""<enter>')
    assert "There is nothing to look for." in console.all_words()
    assert "/search TEXT" in console.all_words()
