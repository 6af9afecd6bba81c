"""A conversation that is long, old, new, hostile."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatnet.console.model import ConsoleModel
from chatnet.console.panes.base import PaneContext
from chatnet.console.panes.conversation import ConversationPane
from chatnet.console.widgets.theme import UNICODE
from chatnet.console.widgets.wording import clock_text, date_text, day_text
from chatnet.core.events import HistoryPage, MessageKind, MessageState, Snapshot
from chatnet.core.identity import prefix_text, short_text
from chatnet.core.text import SafeText, safe_text
from tests.support.scripted_peer import ScriptedPeer, key_of, somebody
from tests.support.typist import START, Typist, new_clock

BOB, ECHO, MALLORY = key_of("bob"), key_of("echo"), key_of("mallory")

NASTY = [
    "\u0301",
    "\u200d",
    "\ufe0f",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "\U0001f3fb",
    "漢",
    "\u0bbf",
    "\u0e33",
    "שלום",
    "\u202e",
    "\x1b[31m",
    "\x9b",
    "\n",
    "\t",
    "\U0001f1e9\U0001f1ea",
    "\ue000",
    " ",
    "abc ",
    "\u3000",
    "e\u0301\u0301\u0301\u0301\u0301\u0301",
]
hostile = st.lists(st.one_of(st.sampled_from(NASTY), st.characters(exclude_categories=["Cs"])), max_size=40).map(
    "".join
)


def pane_of(bodies: list[str]) -> ConversationPane:
    clock = new_clock()
    peer = ScriptedPeer(clock)
    person = somebody("bob", peer.now_ms())
    peer.people = {person.peer: person}
    for body in bodies:
        peer.stored(BOB, "")
        # As if a peer had not cleaned it: the console does so itself.
        peer.rows[BOB][-1] = msgspec.structs.replace(peer.rows[BOB][-1], body=SafeText(body))
    snapshot: Snapshot = peer.subscribe(lambda event: None).snapshot
    scene = PaneContext(ConsoleModel(snapshot), UNICODE, lambda: int(START * 1000))
    pane = ConversationPane(scene, BOB)
    pane.chat_rows.put_page(HistoryPage(tuple(peer.rows[BOB]), False, 0))
    return pane


@settings(max_examples=150)
@given(st.lists(hostile, min_size=1, max_size=4), st.integers(1, 200), st.integers(1, 40))
def test_no_text_takes_the_screen_down_or_leaves_its_cells(bodies: list[str], cols: int, rows: int) -> None:
    pane = pane_of(bodies)
    canvas = pane.render((cols, rows))
    assert (canvas.cols(), canvas.rows()) == (cols, rows)
    text = b"".join(run for row in canvas.content() for _, _, run in row)
    assert not any(byte < 0x20 or byte == 0x7F for byte in text)
    decoded = text.decode()
    assert not any(c in decoded for c in "\u202e\u200e\u2066\x9b\u2028")


def test_new_since_stands_before_what_was_not_read(console: Typist) -> None:
    console.type("/msg bob<enter>")
    lines = console.lines()
    at = next(i for i, line in enumerate(lines) if "new since" in line)
    assert "sending you the video" in lines[at + 1]
    assert " 3 ─" in lines[at]
    console.type("<meta 1><meta 2>")
    assert "new since" not in console.screen()
    console.type("<meta 1>")
    console.peer.hear(BOB, "news")
    console.wait(0.1)
    console.type("<meta 2>")
    lines = console.lines()
    at = next(i for i, line in enumerate(lines) if "new since" in line)
    assert "news" in lines[at + 1]


def test_days_are_named(console: Typist) -> None:
    console.type("/msg bob<enter>")
    assert sum("November 2026" in line for line in console.lines()) == 2


def test_scrolling_back_asks_the_store_for_pages_and_new_rows_do_not_move_the_view() -> None:
    clock = new_clock()
    peer = ScriptedPeer(clock)
    peer.people = {ECHO: somebody("echo", peer.now_ms())}
    for i in range(100_000):
        peer.stored(ECHO, f"line {i}")
    console = Typist(peer, clock=clock)
    console.type("/msg echo<enter>")
    assert "line 99999" in console.screen()
    assert len(console.calls("history")) == 1
    for _ in range(12):
        console.type("<pgup>")
    before = [line for line in console.lines() if "line 9" in line]
    assert [call[2] for call in console.calls("history")] == [None, 99_901, 99_801]
    peer.hear(ECHO, "line new")
    console.wait(0.2)
    after = [line for line in console.lines() if "line 9" in line]
    assert [line[20:50] for line in before] == [line[20:50] for line in after]
    assert "▼ 1 new" in console.screen()
    assert "line new" not in console.screen()
    console.type("<meta end>")
    assert "line new" in console.screen()
    assert "▼" not in console.screen()
    console.close()


def test_pages_down_and_wheel_come_back_to_the_end() -> None:
    clock = new_clock()
    peer = ScriptedPeer(clock)
    peer.people = {ECHO: somebody("echo", peer.now_ms())}
    for i in range(90):
        peer.stored(ECHO, f"line {i}\nand more")
    console = Typist(peer, clock=clock)
    console.type("/msg echo<enter>")
    console.type("<pgup><pgup>")
    assert "line 89" not in console.screen()
    console.type("<pgdn><pgdn><pgdn>")
    assert "line 89" in console.screen()
    console.press(*[("mouse press", 4, 40, 10)] * 3)
    assert "line 89" not in console.screen()
    console.press(*[("mouse press", 5, 40, 10)] * 4)
    assert "line 89" in console.screen()
    console.type("<meta home>")
    assert "line 0" in console.screen()
    console.type("<pgup>")
    assert "line 0" in console.screen()
    console.close()


def test_rows_are_kept_while_nothing_changes(console: Typist) -> None:
    console.type("/msg bob<enter>")
    pane = console.view.tab.pane
    made = 0
    row = pane._row

    def counted(*args: object) -> object:
        nonlocal made
        made += 1
        return row(*args)

    pane._row = counted
    console.type("typing something")
    console.wait(2)
    assert made == 0
    console.peer.hear(BOB, "one more")
    console.wait(0.1)
    assert made == 1


def test_a_row_of_a_file_that_was_forgotten_keeps_its_title(console: Typist) -> None:
    console.type("/msg bob<enter>")
    fid = next(iter(console.peer.transfers))
    console.type("<meta n>")
    console.wait(0.1)
    assert "✗ you refused it" in console.screen()
    console.type("<f4>x<meta 2>")
    assert fid not in console.console.model.transfers
    assert "video.mkv" in console.screen()


def test_a_title_in_a_file_row_is_one_line() -> None:
    pane = pane_of(["a\nb"])
    row = pane.chat_rows.rows[0]
    pane.chat_rows.rows[0] = msgspec.structs.replace(row, kind=MessageKind.FILE)
    assert "a⏎b" in " ".join(line.decode() for line in pane.render((80, 10)).text)


def test_alt_u_brings_the_first_new_row_to_the_top(console: Typist) -> None:
    console.type("/msg echo<enter><meta u>")
    assert "Nothing is new in this tab." in console.screen()
    console.type("/msg bob<enter><meta 1><meta 3>")
    console.type("<meta 1>")
    for number in range(40):
        console.peer.hear(BOB, f"new {number}")
    console.wait(0.2)
    console.type("<meta a><meta u>")
    lines = console.lines()
    first = next(i for i, line in enumerate(lines) if "new since" in line)
    assert first <= 3
    assert "new 0" in lines[first + 1]
    assert "Alt-End newest" in console.screen()


def test_a_file_whose_transfer_is_cleared_says_what_became_of_it(console: Typist) -> None:
    console.peer.stored(BOB, "film.mp4", mine=True, kind=MessageKind.FILE, state=MessageState.REFUSED)
    row = console.peer.rows[BOB][-1]
    console.peer.rows[BOB][-1] = msgspec.structs.replace(row, reason=safe_text("you cancelled it"))
    console.type("/msg bob<enter>")
    assert '"film.mp4"  ✗ you cancelled it' in console.screen()


@pytest.mark.parametrize("open_transfer", [True, False])
def test_a_title_that_looks_like_a_state_stands_in_quotes(console: Typist, open_transfer: bool) -> None:
    """F14."""
    title = 'a.txt"   46 B   \u2713 received'
    if open_transfer:
        console.peer.offered(BOB, title, 46)
    else:
        console.peer.stored(BOB, title, kind=MessageKind.FILE)
    console.type("/msg bob<enter>")
    assert '"a.txt\'   46 B   \u2713 received"' in console.screen()


def test_files_and_folders_are_told_before_they_are_accepted(console: Typist) -> None:
    """F3."""
    console.peer.offered(BOB, "deep/ (1500)", 0, files=1_500, folders=46_511)
    console.type("/msg bob<enter>")
    assert '"deep/ (1500)" 0 B, 1,500 files in 46,511 folders wants to send' in console.words()
    console.type("<f4>")
    assert "wants to send 1,500 files in 46,511 folders" in console.words()


def test_held_sending_is_explained(console: Typist) -> None:
    console.type("/msg mallory<enter>")
    screen = console.screen()
    assert "mallory (held)>" in screen
    assert "KEY CHANGED" in screen
    assert short_text(MALLORY) in screen
    assert prefix_text(key_of("another mallory")) in screen
    assert "/trust mallory XXXX-XXXX-XXXX-XXXX" in screen
    console.type("is it you?<enter>")
    assert "held, not sent" in console.screen()
    assert "mallory!" in console.lines()[1]


def test_offline_is_explained(console: Typist) -> None:
    console.type("/msg alice again<enter>")
    text = console.words()
    assert "· waiting, alice is offline (last seen" in text
    assert "It will be sent when alice is back, also after a restart." in text
    assert "▲2" in console.screen()


def test_that_more_of_somebody_waits_is_said_below(console: Typist) -> None:
    console.type("/msg dave<enter>")
    console.peer.change_person(key_of("dave"), more_waits=True)
    console.wait(0.2)
    assert "dave has more to say: it waits at dave's side until you write to dave." in console.words()


def test_a_long_message_is_shown_in_part_and_opened_by_enter_or_a_click(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.peer.hear(BOB, "\n".join(f"line {number}" for number in range(1_000)))
    console.wait(1)
    assert "… 800 more rows · Enter shows all" in console.screen()
    assert "line 199" in console.screen()
    console.type("<enter>")
    assert "All of the message" in console.screen()
    assert "line 0" in console.screen()
    console.type("<end>")
    assert "line 999" in console.screen()
    console.type("<home>")
    assert "line 0" in console.screen()
    console.type("<esc>")
    console.click("more rows")
    assert "All of the message" in console.screen()
    console.close()


def test_blank_lines_are_told_and_shown_when_opened(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.peer.hear(BOB, "above" + "\n" * 6 + "below")
    console.wait(1)
    assert "… 5 blank lines" in console.screen()
    console.type("<enter>")
    lines = console.lines()
    at = next(number for number, text in enumerate(lines) if "above" in text)
    assert "below" in lines[at + 6]
    console.type("<esc>")
    console.peer.hear(BOB, "short")
    console.wait(1)
    console.click("short")
    assert "All of the message" not in console.screen()
    console.close()


def test_a_message_shows_when_it_was_written_and_when_it_arrived_late(console: Typist) -> None:
    """B13: the order is that of arrival."""
    now_ms = console.peer.now_ms()
    console.type("/msg bob<enter>")
    console.peer.hear(BOB, "in time", sent_ms=now_ms - 20_000)
    console.peer.hear(BOB, "an hour late", sent_ms=now_ms - 3_600_000)
    console.peer.hear(BOB, "two days late", sent_ms=now_ms - 2 * 86_400_000)
    console.peer.hear(BOB, "from tomorrow", sent_ms=now_ms + 86_400_000)
    console.peer.hear(BOB, "from 1970", sent_ms=0)
    console.settle()
    rows = {row[21:].strip() for row in console.lines()}
    shown = [row for row in console.lines() if " bob " in row[21:]]
    arrived = clock_text(now_ms)
    wanted = [
        f"{clock_text(now_ms - 20_000)} bob in time",
        f"{clock_text(now_ms - 3_600_000)} bob an hour late  (arrived {arrived})",
        f"{clock_text(now_ms)} bob two days late  (arrived {date_text(now_ms)} {arrived})",
        f"{arrived} bob from tomorrow",
        f"{arrived} bob from 1970",
    ]
    assert [row[21:].strip() for row in shown][-5:] == wanted
    days = [row for row in rows if day_text(now_ms - 2 * 86_400_000) in row]
    assert len(days) == 1
