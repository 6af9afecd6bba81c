"""The list of people."""

from __future__ import annotations

import time

from chatnet.core.events import PersonGone
from tests.support.scripted_peer import ScriptedPeer, key_of, somebody
from tests.support.typist import Typist, new_clock


def crowd(count: int) -> Typist:
    clock = new_clock()
    peer = ScriptedPeer(clock)
    people = [somebody(f"guest{i:05d}", peer.now_ms(), online=i % 3 != 0) for i in range(count)]
    peer.people = {person.peer: person for person in people}
    return Typist(peer, clock=clock)


def test_groups_counts_and_marks(console: Typist) -> None:
    rows = [line[:20].rstrip() for line in console.lines()]
    assert " ONLINE          13" in rows
    assert " OFFLINE          2" in rows
    assert " ● dave           2" in rows
    assert " ● mallory        !" in rows
    assert " ○ alice         ▲1" in rows
    assert rows.index(" ● bob") < rows.index(" ● echo") < rows.index(" OFFLINE          2") < rows.index(" ○ walter")


def test_people_come_go_and_change_groups(console: Typist) -> None:
    peer = console.peer
    peer.put_people(somebody("zoe", peer.now_ms()))
    peer.change_person(key_of("bob"), online=False, linked=False)
    peer.emit(PersonGone(key_of("walter")))
    console.wait(0.1)
    rows = [line[:20].rstrip() for line in console.lines()]
    assert " ● zoe" in rows
    assert " ○ bob" in rows
    assert " ○ walter" not in rows
    assert " ONLINE          13" in rows


def test_keys_in_the_list(console: Typist) -> None:
    console.type("<f2><down><enter>")
    assert "▸2 dave◂" in console.lines()[1]
    assert "dave>" in console.screen()
    console.type("<f2>i")
    assert "dave: key" in console.screen() or "bob: key" in console.screen()
    console.type("<esc>typed")
    assert console.view.input.text == "typed"


def test_the_filter_narrows_and_opens(console: Typist) -> None:
    console.type("<f2>/er")
    assert "/ er" in console.screen()
    assert "● bob" not in console.screen()
    assert "○ walter" in console.screen()
    console.type("<backspace><backspace>ju<enter>")
    assert "▸2 judy◂" in console.lines()[1]
    assert "● bob" in console.screen()
    console.type("<f2>/zzz<esc>")
    assert "● bob" in console.screen()
    assert "judy>" in console.screen()


def test_s_in_the_list_sends_a_file(console: Typist) -> None:
    console.type("<f2>")
    console.type("s")
    assert "Send to bob:" in console.screen()


def test_a_double_click_opens_and_closes(console: Typist) -> None:
    console.click("● bob", times=2)
    assert "▸2 bob◂" in console.lines()[1]
    assert "bob>" in console.screen()
    console.wait(1)
    console.click("● bob", times=2)
    assert "bob" not in console.lines()[1]


def test_two_slow_clicks_or_clicks_on_two_rows_are_no_double_click(console: Typist) -> None:
    console.click("● bob")
    console.wait(0.6)
    console.click("● bob")
    console.wait(0.6)
    console.click("● echo")
    console.click("● erin")
    assert console.lines()[1].strip() == "▸1 net◂ 2 transfers(1)"


def test_the_wheel_scrolls_a_long_list() -> None:
    console = crowd(200)
    assert "guest00001" in console.screen()
    for _ in range(5):
        console.press(("mouse press", 5, 3, 10))
    assert not any(line.startswith(" ● guest00001") for line in console.lines())
    console.press(*[("mouse press", 4, 3, 10)] * 9)
    assert any(line.startswith(" ● guest00001") for line in console.lines())
    console.close()


def test_only_what_is_seen_is_made() -> None:
    """Rows of a list of ten thousand are counted, not timed: a key must not cost more for more people."""
    made: dict[int, int] = {}
    for count in (100, 10_000):
        console = crowd(count)
        calls = 0
        markup = console.view.people.markup

        def counted(index: int, cols: int, markup: object = markup) -> object:
            nonlocal calls
            calls += 1
            return markup(index, cols)  # type: ignore[operator]

        console.view.people.markup = counted
        console.type("abc<f2><down><end><up>")
        made[count] = calls
        assert calls < 24 * 12
        console.close()
    assert made[100] == made[10_000]


def test_ten_thousand_changes_at_once_are_quick_enough() -> None:
    console = crowd(10_000)
    peer = console.peer
    started = time.perf_counter()
    peer.put_people(*(somebody(f"guest{i:05d}", peer.now_ms(), unread=1) for i in range(10_000)))
    console.wait(0.1)
    assert "OFFLINE" not in console.screen()
    assert time.perf_counter() - started < 10  # only against something quadratic
    console.close()


def test_alt_g_goes_to_somebody_by_a_few_letters(console: Typist) -> None:
    console.type("half<meta g>jud<enter>")
    assert console.view.chat == key_of("judy")
    console.type("<meta 1>")
    assert console.view.input.text == "half"
