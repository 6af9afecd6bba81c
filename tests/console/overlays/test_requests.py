"""The page of requests: read, accept, refuse, block, clear."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chatnet.console.widgets.wording import clock_text
from chatnet.core.identity import short_text
from tests.support.scripted_peer import furnished, key_of
from tests.support.typist import Typist, new_clock

EVE, MALLORY = key_of("stranger eve"), key_of("stranger mallory")


@pytest.fixture
def asked() -> Iterator[Typist]:
    """Eve has asked, then mallory, who also offers a file."""
    clock = new_clock()
    peer = furnished(clock)
    peer.ask("eve", "let me in", "please")
    peer.ask("mallory", "free\x1b[31m money", offers=1, more=True)
    typist = Typist(peer, clock=clock)
    yield typist
    typist.close()


def rows(typist: Typist) -> list[str]:
    return [line[:20].rstrip() for line in typist.lines()]


def test_a_row_leads_to_the_requests_and_nothing_else_tells_of_them(console: Typist) -> None:
    before, tabs = console.lines()[0], len(console.view.tabs)
    console.peer.ask("eve", "let me in", "please")
    console.peer.ask("mallory", "money")
    console.wait(1)
    assert " Requests (2)" in rows(console)
    assert rows(console).index(" Requests (2)") == rows(console).index(" ONLINE          13") - 1
    assert (console.lines()[0], len(console.view.tabs)) == (before, tabs)
    assert "let me in" not in console.screen()


def test_without_requests_there_is_no_row(console: Typist) -> None:
    assert not any("Requests" in row for row in rows(console))
    console.type("/requests<enter>")
    assert "Nobody." in console.screen()


def test_each_is_shown_with_key_claimed_name_count_and_first_line(asked: Typist) -> None:
    asked.type("<f2><home><enter>")
    lines = asked.lines()
    head = next(line for line in lines if short_text(EVE) in line)
    assert '"eve"' in head
    assert "2 messages" in head
    assert lines[lines.index(head) + 1].strip() == "let me in"
    head = next(line for line in lines if short_text(MALLORY) in line)
    assert "1 message, 1 offer, more wait" in head
    assert lines.index(head) == 2, "the latest is the first"
    assert "\x1b" not in asked.screen()
    assert "a accept" in lines[-1]


@pytest.mark.parametrize("size", [(50, 14), (80, 24), (140, 40)])
def test_it_fits(asked: Typist, size: tuple[int, int]) -> None:
    asked.resize(*size)
    asked.type("/requests<enter>")
    assert all(word in asked.screen() for word in (short_text(EVE), short_text(MALLORY), '"eve"', "let me in"))


def test_a_message_shows_when_it_was_written(asked: Typist) -> None:
    """B13."""
    now_ms = asked.peer.now_ms()
    asked.peer.stored(EVE, "from an hour ago", sent_ms=now_ms - 3_600_000)
    asked.type("/requests<enter><down><enter>")
    wanted = f"{clock_text(now_ms - 3_600_000)}  (arrived {clock_text(now_ms)})  from an hour ago"
    assert wanted in asked.screen()


def test_enter_reads_before_one_decides(asked: Typist) -> None:
    asked.type("/requests<enter>")
    asked.type("<down><enter>")
    asked.wait(0.1)
    screen = asked.screen()
    assert "let me in" in screen
    assert "please" in screen
    assert "nobody vouches" in screen
    asked.type("<esc>")
    assert short_text(MALLORY) in asked.screen()
    assert not asked.calls("mark_read")


def test_a_accepts_and_opens_the_conversation(asked: Typist) -> None:
    asked.type("/requests<enter>")
    asked.type("<down>a")
    asked.wait(0.2)
    assert asked.calls("accept_request") == [("accept_request", EVE)]
    assert asked.view.chat == EVE
    assert "let me in" in asked.screen()
    assert " Requests (1)" in rows(asked)


def test_r_refuses_what_is_read(asked: Typist) -> None:
    asked.type("/requests<enter>")
    asked.type("<down><enter>")
    assert "please" in asked.screen()
    asked.type("r")
    assert f'Refuse {short_text(EVE)} "eve" (2 messages)? What they sent is deleted.' in asked.screen()
    assert "please" in asked.screen(), "what the question is about"
    assert not asked.calls("refuse_request")
    asked.type("y")
    assert asked.calls("refuse_request") == [("refuse_request", EVE)]
    assert "may come again" in asked.lines()[-1]
    assert short_text(EVE) not in "\n".join(asked.lines()[:-1])


def test_what_is_read_too_late_is_not_shown(asked: Typist) -> None:
    asked.type("/requests<enter>")
    asked.type("<down><enter><down>")
    asked.wait(0.2)
    assert "please" not in asked.screen()
    assert short_text(MALLORY) in asked.screen()


def test_b_blocks(asked: Typist) -> None:
    asked.type("/requests<enter>")
    asked.type("b")
    assert not asked.calls("block")
    asked.type("y")
    assert asked.calls("block") == [("block", MALLORY, True)]
    assert "/unblock" in asked.screen()
    asked.type("/unblock")
    assert asked.view.input.text == "/unblock", "what a screen names can be typed there"


def test_c_asks(asked: Typist) -> None:
    asked.type("/requests<enter>")
    asked.type("c")
    assert "Delete 2 requests, read or not?" in asked.screen()
    asked.type("<up>y")
    assert not asked.calls("clear_requests"), "another key was the answer no"
    asked.type("c")
    asked.peer.ask("trudy", "me too")
    asked.settle()
    asked.press("y")
    assert not asked.calls("clear_requests"), "it was about two of them"
    assert "Delete 3 requests, read or not?" in asked.screen()
    asked.type("y")
    assert asked.calls("clear_requests")
    asked.type("<esc>")
    assert not any("Requests" in row for row in rows(asked))


def test_the_selection_stays_with_its_key_when_another_one_comes(asked: Typist) -> None:
    asked.type("/requests<enter>")
    asked.type("<down>")
    asked.peer.ask("trudy", "me too")
    asked.wait(0.2)
    asked.type("r")
    asked.type("y")
    assert asked.calls("refuse_request") == [("refuse_request", EVE)]


def test_a_request_that_is_gone_while_it_is_read_decides_about_nobody(asked: Typist) -> None:
    asked.type("/requests<enter>")
    asked.type("<down><enter>")
    asked.peer._drop_request(EVE)
    asked.wait(0.2)
    asked.type("a")
    assert not asked.calls("accept_request")


def test_a_selected_request_that_is_gone_decides_about_nobody(asked: Typist) -> None:
    asked.type("/requests<enter>")
    asked.type("<down>")
    asked.peer._drop_request(EVE)
    asked.press("r")
    asked.wait(0.2)
    assert MALLORY not in [call[1] for call in asked.calls("refuse_request")]


def test_two_clicks_read(asked: Typist) -> None:
    asked.type("/requests<enter>")
    asked.click(short_text(EVE), times=2)
    assert "please" in asked.screen()


def test_a_long_message_is_shortened(console: Typist) -> None:
    console.peer.ask("eve", "\n" * 16_000)
    console.peer.ask("eve", "x" * 16_000)
    console.wait(0.2)
    console.type("/requests<enter>")
    console.type("<enter>")
    console.type("<end>")
    assert "accept to read all of it" in console.screen()


# --- the command ------------------------------------------------------------------------------


def test_the_command_decides_by_number_and_a_number_stays_a_keys(asked: Typist) -> None:
    asked.type("/requests refuse 1<enter>")
    asked.type("y")
    assert asked.calls("refuse_request") == [("refuse_request", EVE)]
    asked.type("/requests accept 1<enter>")
    assert "There is no request 1" in asked.screen()
    assert not asked.calls("accept_request")
    asked.type("<ctrl u>/requests accept 2<enter>")
    assert asked.calls("accept_request") == [("accept_request", MALLORY)]


def test_the_command_blocks_and_asks_before_it_clears(asked: Typist) -> None:
    asked.type("/requests block 2<enter>")
    asked.type("y")
    assert asked.calls("block") == [("block", MALLORY, True)]
    asked.type("/requests clear<enter>")
    assert not asked.calls("clear_requests")
    asked.type("y")
    assert asked.calls("clear_requests")


def test_what_the_command_does_not_know(asked: Typist) -> None:
    for words in ("delete 1", "accept", "accept eve", "clear 1"):
        asked.type(f"/requests {words}<enter>")
        assert "/requests [accept" in asked.screen() or "There is no request" in asked.screen()
        asked.type("<ctrl u>")
    assert not [call for call in asked.peer.calls if "request" in call[0]]


def test_tab_completes_words_and_numbers(asked: Typist) -> None:
    asked.type("/requests acc<tab>")
    assert asked.view.input.text == "/requests accept "
    asked.type("2<tab><enter>")
    assert asked.calls("accept_request") == [("accept_request", MALLORY)]


def test_the_row_that_comes_moves_no_selection(console: Typist) -> None:
    console.type("<f2><down>")
    before = console.view.people.chosen()
    console.peer.ask("eve", "hi")
    console.wait(0.2)
    assert console.view.people.chosen() == before
    console.peer._drop_request(EVE)
    console.wait(0.2)
    assert console.view.people.chosen() == before
