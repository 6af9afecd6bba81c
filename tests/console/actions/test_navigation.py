"""Tabs: how they open, which one is shown, what is kept of them."""

from __future__ import annotations

from chatnet.core import limits
from chatnet.core.events import MessageAdded, MessageKind, MessageState
from tests.support.scripted_peer import ScriptedPeer, key_of, somebody
from tests.support.typist import Typist, new_clock

DAVE, ECHO = key_of("dave"), key_of("echo")


def test_each_tab_keeps_its_draft(console: Typist) -> None:
    console.type("/msg bob<enter>for bob<meta 1>for net<meta 2>")
    assert console.view.input.text == "for bob"
    console.type("<meta 1>")
    assert console.view.input.text == "for net"


def test_tabs_by_number_neighbours_and_unread(console: Typist) -> None:
    console.type("/msg bob<enter>/msg erin<enter>")
    assert console.lines()[1].strip() == "1 net  2 bob ▸3 erin◂ 4 transfers(1)"
    console.type("<meta 1>")
    assert "▸1 net◂" in console.lines()[1]
    console.type("<meta left>")
    assert "▸4 transfers(1)◂" in console.lines()[1]
    console.type("<ctrl n><ctrl n>")
    assert "▸2 bob◂" in console.lines()[1]
    console.type("<ctrl p><meta a>")
    assert "dave◂" in console.lines()[1]
    assert "hello?" in console.screen()
    console.wait(0.2)
    assert console.calls("mark_read")[-1][1] == DAVE
    console.type("<meta a>")
    assert "Nothing unread." in console.screen()
    console.type("<meta w>")
    assert "dave" not in console.lines()[1]


def test_net_and_transfers_stay(console: Typist) -> None:
    console.type("<meta w><meta 2><meta w>")
    assert console.lines()[1].strip() == "1 net ▸2 transfers(1)◂"


def test_a_message_opens_a_tab_in_the_background(console: Typist) -> None:
    console.peer.hear(key_of("erin"), "are you there?")
    console.wait(0.2)
    assert "▸1 net◂ 2 erin(1)" in console.lines()[1]
    assert console.memory.last_text[0] is not None
    console.type("<meta 2>")
    assert "are you there?" in console.screen()
    console.wait(0.2)
    assert "▸2 erin◂" in console.lines()[1]


def test_an_offer_that_was_refused_unasked_opens_no_tab(console: Typist) -> None:
    before = len(console.view.tabs)
    row = console.peer.stored(key_of("judy"), "a.txt", state=MessageState.REFUSED, kind=MessageKind.FILE)
    console.peer.emit(MessageAdded(row))
    console.wait(0.1)
    assert len(console.view.tabs) == before


def test_strangers_cannot_fill_the_row_of_tabs(console: Typist) -> None:
    people = [somebody(f"stranger{i:03d}", console.peer.now_ms()) for i in range(200)]
    console.peer.put_people(*people)
    for person in people:
        console.peer.hear(person.peer, "buy this")
    console.wait(0.2)
    assert len(console.view.tabs) == 50
    console.type("/msg stranger199<enter>")
    assert "buy this" in console.screen()


def test_a_flood_behind_another_tab_stays_short(console: Typist) -> None:
    for i in range(limits.LIVE_MESSAGES * 3):
        console.peer.hear(ECHO, f"flood {i}")
        if i % 100 == 0:
            console.settle()
    console.settle()
    assert len(console.console.model.chats[ECHO].rows) <= limits.LIVE_MESSAGES + limits.HISTORY_PAGE
    console.type("<meta a>")
    assert f"flood {limits.LIVE_MESSAGES * 3 - 1}" in console.screen()


def test_a_tab_is_switched_by_a_click(console: Typist) -> None:
    console.type("/msg bob<enter>")
    console.click("1 net")
    assert "▸1 net◂" in console.lines()[1]
    assert "Welcome" in console.screen()


def test_many_tabs_show_those_around_the_one_shown() -> None:
    clock = new_clock()
    peer = ScriptedPeer(clock)
    people = [somebody(f"person{i:02d}", peer.now_ms()) for i in range(30)]
    peer.people = {person.peer: person for person in people}
    console = Typist(peer, clock=clock)
    for person in people:
        console.type(f"/msg {person.name}<enter>")
    assert "▸31 person29◂" in console.lines()[1]
    assert console.lines()[1].startswith("‹")
    console.type("<meta 1>")
    assert console.lines()[1].rstrip().endswith("›")
    console.close()


def test_clear_empties_the_screen_and_paging_brings_it_back(console: Typist) -> None:
    console.type("/msg bob<enter>/clear<enter>")
    assert "tell me if it stutters" not in console.screen()
    console.type("<pgup>")
    console.settle()
    assert "tell me if it stutters" in console.screen()
