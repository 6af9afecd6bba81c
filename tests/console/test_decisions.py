"""A key or a command decides about what was drawn: an event comes between the drawing and the key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from chatnet.console.commands import COMMANDS
from chatnet.console.keymap import KEYS, Context
from chatnet.core.events import CodeReady, MessageState, PersonGone, TransferState
from chatnet.core.identity import prefix_text
from chatnet.core.limits import COMPARED_SECONDS, QUESTION_SECONDS
from chatnet.core.text import safe_line
from tests.support.decisions import DECIDES_ABOUT
from tests.support.scripted_peer import key_of, somebody
from tests.support.typist import Typist

ALICE = key_of("alice")
BOB, ERIN, MALLORY, OTHER = key_of("bob"), key_of("erin"), key_of("mallory"), key_of("another mallory")
THIRD = key_of("a third mallory")

DECIDING_KEYS = {
    "accept",
    "refuse",
    "save_as",
    "keep_key",
    "send_to_selected",
    "verify_selected",
    "block_selected",
    "accept_selected",
    "refuse_selected",
    "cancel_selected",
    "pause_selected",
    "resume_selected",
    "forget_ended",
}
DECIDING_COMMANDS = {
    *("msg", "send", "accept", "refuse", "cancel", "pause", "resume", "rule", "whois", "trust", "verify"),
    *("block", "unblock", "resend", "mute", "unmute"),
}
ON_A_PAGE = {"requests"}  # the page of requests, whose own tests say that a decision is about the key that was drawn
# Others that reach the peer act on the tab that is shown, or on what is typed alone.
OTHER_KEYS = {
    *("", "send", "new_line", "delete_or_quit", "go_to_tab", "previous_tab", "next_tab", "next_unread", "to_unread"),
    *("go_to", "close_tab", "page_up", "page_down", "to_top", "to_end", "help", "people", "find", "transfers"),
    *("pick_file", "mouse", "redraw", "back", "quit", "quit_twice", "no_stop", "open_selected", "filter_people"),
    *("whois_selected", "info", "open_transfer", "limit", "command_line", "find_next", "find_previous"),
    *("contents", "contents_selected"),
}
OTHER_COMMANDS = {
    *("say", "close", "clear", "search", "export", "limit", "transfers", "peers", "myid", "net"),
    *("reconnect", "takeover", "log", "help", "keys", "mouse", "theme", "version", "quit", "notify", "contents"),
}


@dataclass(frozen=True)
class Case:
    """``before``: what is typed until the question is seen; ``event``: what comes then; ``key``: the decision."""

    before: tuple[str, ...]
    event: Callable[[Typist], Any]
    key: str
    says: str
    decides: bool = True  # without the event, the peer is asked
    asks: bool = False  # whether a question comes first


def another_offer(console: Typist) -> None:
    console.peer.offered(BOB, "virus.exe", 10)


def same_fid(console: Typist) -> None:
    """A peer that is defective, or older, gives one number to two offers."""
    offer = next(iter(console.peer.transfers.values()))
    console.peer.change_transfer(offer.fid, title=safe_line("virus.exe"))


def withdrawn(console: Typist) -> None:
    """The newest goes, and the one before is the newest."""
    *_, newest = console.peer.transfers
    console.peer.change_transfer(newest, state=TransferState.CANCELLED)


def third_key(console: Typist) -> None:
    console.peer.change_person(MALLORY, new_key=THIRD)


def new_key_of_bob(console: Typist) -> None:
    console.peer.change_person(BOB, new_key=OTHER)


def bob_is_another(console: Typist) -> None:
    """Nobody has talked to bob: the list gives the name to another key, and the first one another name."""
    peer = console.peer
    peer.put_people(
        msgspec.structs.replace(peer.people[BOB], name="robert"), somebody("bob", peer.now_ms(), peer=OTHER)
    )


def chosen_one_gone(console: Typist) -> None:
    peer = console.view.people.chosen().peer
    console.peer.people.pop(peer)
    console.peer.emit(PersonGone(peer))


def chosen_transfer_gone(console: Typist) -> None:
    """Another client of the peer has cleared the list."""
    fid = console.view.transfers.chosen_fid
    del console.console.model.transfers[fid]
    console.console.request_draw()


def another_code(console: Typist) -> None:
    console.peer.emit(CodeReady(BOB, "000123", asked=False))


def another_failed(console: Typist) -> None:
    rows = console.peer.rows[ALICE]
    console.peer.set_state(rows[-1], MessageState.REFUSED)


def walt_comes(console: Typist) -> None:
    """The letters were walter's, who goes."""
    console.peer.put_people(somebody("waldo", console.peer.now_ms()))
    console.peer.people.pop(key_of("walter"))
    console.peer.emit(PersonGone(key_of("walter")))


BOBS_TAB, LIST = ("/msg bob<enter>",), ("<f2>",)
AGAIN = "Another offer has come: look again, then press"
LIST_CHANGED = "The list has just changed: look again"
NAME_CHANGED = "Another key has just come for the name bob"
NOT_SEEN = "Number 1 has not been on the screen yet, as it is now"

CASES = {
    "Alt-y": Case(BOBS_TAB, another_offer, "<meta y>", f"{AGAIN} Alt-y."),
    "Alt-n": Case(BOBS_TAB, another_offer, "<meta n>", f"{AGAIN} Alt-n."),
    "Alt-s": Case(BOBS_TAB, another_offer, "<meta s>", f"{AGAIN} Alt-s.", decides=False),
    "Alt-y, one fid": Case(BOBS_TAB, same_fid, "<meta y>", f"{AGAIN} Alt-y."),
    "Alt-k": Case(("/msg mallory<enter>",), third_key, "<meta k>", "Another key has come: look again"),
    "b": Case(LIST, chosen_one_gone, "b", LIST_CHANGED, asks=True),
    "v": Case(LIST, chosen_one_gone, "v", LIST_CHANGED, decides=False),
    "s": Case(LIST, chosen_one_gone, "s", LIST_CHANGED, decides=False),
    "y": Case(("<f4>",), same_fid, "y", LIST_CHANGED),
    "n": Case(("<f4>",), same_fid, "n", LIST_CHANGED),
    "c": Case(("<f4>",), same_fid, "c", LIST_CHANGED, asks=True),
    "p": Case(("<f4>", "y"), same_fid, "p", LIST_CHANGED),
    "r": Case(("<f4>", "y", "p"), same_fid, "r", LIST_CHANGED),
    "/accept": Case((*BOBS_TAB, "/accept"), another_offer, "<enter>", f"{AGAIN} Enter."),
    "/refuse": Case((*BOBS_TAB, "/refuse"), another_offer, "<enter>", f"{AGAIN} Enter."),
    "/accept 1": Case(("<f4>", "/accept 1"), same_fid, "<enter>", NOT_SEEN),
    "/accept 1 in": Case(("<f4>", "/accept 1 /tmp/x"), same_fid, "<enter>", NOT_SEEN),
    "/refuse 1": Case(("<f4>", "/refuse 1"), same_fid, "<enter>", NOT_SEEN),
    "/cancel 1": Case(("<f4>", "/cancel 1"), same_fid, "<enter>", NOT_SEEN, asks=True),
    "/pause 1": Case(("<f4>", "/pause 1"), same_fid, "<enter>", NOT_SEEN),
    "/resume 1": Case(("<f4>", "y", "p", "/resume 1"), same_fid, "<enter>", NOT_SEEN),
    "/resend": Case(
        ("/msg alice<enter>", "/resend"), another_failed, "<enter>", "Another message has just failed", decides=True
    ),
    "/block by letters": Case(("/block wal",), walt_comes, "<enter>", "Another name that begins with wal", asks=True),
    "/msg by letters": Case(("/msg wal hi",), walt_comes, "<enter>", "Another name that begins with wal"),
    "/trust": Case((f"/trust bob {prefix_text(OTHER)}",), new_key_of_bob, "<enter>", NAME_CHANGED),
    "/block": Case(("/block bob",), bob_is_another, "<enter>", NAME_CHANGED, asks=True),
    "/block here": Case((*BOBS_TAB, "/block"), new_key_of_bob, "<enter>", NAME_CHANGED, asks=True),
    "/mute": Case(("/mute bob",), bob_is_another, "<enter>", NAME_CHANGED),
    "/unmute": Case(("/unmute bob",), bob_is_another, "<enter>", NAME_CHANGED),
    "/unblock": Case(("/unblock bob",), bob_is_another, "<enter>", NAME_CHANGED),
    "/rule": Case(("/rule bob auto",), bob_is_another, "<enter>", NAME_CHANGED),
    "/rule here": Case((*BOBS_TAB, "/rule auto"), new_key_of_bob, "<enter>", NAME_CHANGED),
    "/msg": Case(("/msg bob the password",), bob_is_another, "<enter>", NAME_CHANGED),
    "/send": Case(("/send bob /dev/null",), bob_is_another, "<enter>", NAME_CHANGED),
    "/verify": Case(("/verify bob",), bob_is_another, "<enter>", NAME_CHANGED, decides=False),
    "/whois": Case(("/whois bob",), bob_is_another, "<enter>", NAME_CHANGED, decides=False),
    "/verify live": Case(("/verify bob live",), bob_is_another, "<enter>", NAME_CHANGED),
    "/verify same": Case(("/verify bob<enter>", "<esc>/verify bob same"), new_key_of_bob, "<enter>", NAME_CHANGED),
    "/verify same code": Case(
        ("/verify bob live<enter>", "/verify same code"), another_code, "<enter>", "Another code has come since"
    ),
}


def decisions(console: Typist) -> list[tuple[Any, ...]]:
    return [call for call in console.peer.calls if call[0] in DECIDES_ABOUT or call[0] == "set_alerts"]


def prepare(console: Typist, case: Case) -> list[tuple[Any, ...]]:
    alice = console.peer.rows[ALICE]
    alice[:0] = [console.peer.stored(ALICE, "failed", mine=True, state=MessageState.EXPIRED)]
    console.peer.rows[ALICE].pop()
    for typed in case.before:
        console.type(typed)
    console.wait(1)
    return decisions(console)


def test_every_key_and_every_command_is_in_a_table() -> None:
    """A new one that decides about somebody or something belongs in CASES."""
    here = (Context.ANYWHERE, Context.INPUT, Context.PEOPLE, Context.TRANSFERS, Context.FIND)
    assert {key.command for key in KEYS if key.context in here} == DECIDING_KEYS | OTHER_KEYS
    assert {command.name for command in COMMANDS} == DECIDING_COMMANDS | OTHER_COMMANDS | ON_A_PAGE
    strokes = {key.strokes[0]: key.command for key in KEYS if key.command in DECIDING_KEYS}
    tried = {case.key.strip("<>") for case in CASES.values()}
    assert set(strokes) - {"x"} <= tried  # x has a test of its own
    assert {name.split()[0].strip("/") for name in CASES} >= DECIDING_COMMANDS


@pytest.mark.parametrize("case", CASES)
def test_without_an_event_it_is_decided(console: Typist, case: str) -> None:
    before = prepare(console, CASES[case])
    console.press(CASES[case].key.strip("<>"))
    if CASES[case].asks:
        assert decisions(console) == before
        console.type("y")
    assert (len(decisions(console)) > len(before)) is CASES[case].decides
    assert CASES[case].says not in console.screen()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("drawn", [False, True], ids=["not drawn yet", "drawn a moment ago"])
def test_an_event_between_drawing_and_key_is_no_subject_of_the_key(console: Typist, case: str, drawn: bool) -> None:
    this = CASES[case]
    before = prepare(console, this)
    this.event(console)
    if drawn:
        console.clock.advance(0)
        console.clock.advance(0.05)
        console.clock.advance(QUESTION_SECONDS / 2)
    else:
        console.clock.advance(0)  # the console has heard of it
    console.memory.feed([this.key.strip("<>")])
    console.settle()
    assert decisions(console) == before
    assert this.says in " ".join(console.view.footer.status.split())


@pytest.mark.parametrize("case", ["Alt-y", "Alt-k", "b", "y", "/accept", "/block", "/verify same code"])
def test_what_has_been_looked_at_is_decided(console: Typist, case: str) -> None:
    this = CASES[case]
    before = prepare(console, this)
    this.event(console)
    console.wait(1)
    if case == "/verify same code":
        console.press("enter")
        assert decisions(console)[len(before) :] == [("confirm", BOB, 1, "bob", BOB, "000123")]
        return
    console.press(this.key.strip("<>"))
    if this.asks:
        console.type("y")
    (call,) = decisions(console)[len(before) :]
    *_, newest = console.peer.transfers
    if case in ("Alt-y", "/accept"):
        assert call == ("accept", newest, b"")
    elif case == "Alt-k":
        assert call == ("keep_key", MALLORY, THIRD)
    elif case == "/block":
        assert call == ("block", OTHER, True)


# --- what is not in view --------------------------------------------------------------------------


def test_an_offer_out_of_view_is_shown_before_it_is_answered(console: Typist) -> None:
    for number in range(60):
        console.peer.hear(BOB, f"line {number}")
    console.type("/msg bob<enter>")
    assert "video.mkv" not in console.screen()
    console.type("<meta y>")
    assert console.calls("accept") == []
    assert "The offer was not in view: look at it, then press Alt-y." in console.screen()
    assert "video.mkv" in console.screen()
    console.type("<meta y>")
    assert len(console.calls("accept")) == 1


def test_keys_out_of_view_are_shown_before_one_is_kept(console: Typist) -> None:
    for number in range(60):
        console.peer.hear(MALLORY, f"line {number}")
    console.type("/msg mallory<enter>")
    console.type("<meta home>")
    assert prefix_text(OTHER) not in console.screen()
    console.type("<meta k>")
    assert console.calls("keep_key") == []
    assert prefix_text(OTHER) in console.screen()
    console.type("<meta k>")
    assert console.calls("keep_key") == [("keep_key", MALLORY, OTHER)]


def test_keys_in_one_batch_decide_nothing_that_was_never_drawn(console: Typist) -> None:
    console.type("/msg bob<enter><meta y><f4>y")
    console.type("<f2>b")
    assert decisions(console) == []


def test_an_answer_by_command_is_about_the_one_that_is_shown(console: Typist) -> None:
    console.peer.offered(ERIN, "other.bin", 10)
    console.type("/accept<enter>")
    assert "Which one? F4 shows their numbers." in console.screen()
    console.type("<ctrl u>/msg erin<enter>")
    console.type("/refuse<enter>")
    *_, erins = console.peer.transfers
    assert decisions(console) == [("refuse", erins)]


def test_an_older_offer_that_is_the_newest_again_is_looked_at_again(console: Typist) -> None:
    console.peer.offered(BOB, "small.txt", 10)
    console.type("/msg bob<enter>")
    console.wait(1)
    withdrawn(console)
    console.settle()
    console.press("meta y")
    assert decisions(console) == []
    console.type("<meta y>")
    assert decisions(console) == [("accept", next(iter(console.peer.transfers)), b"")]


def test_a_terminal_that_does_not_take_the_frame_has_shown_nothing(
    console: Typist, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.type("/msg bob<enter>")
    console.wait(1)
    monkeypatch.setattr(type(console.console._loop), "is_behind", property(lambda self: True))
    console.press("meta y")
    assert decisions(console) == []
    monkeypatch.undo()
    console.type("<meta y>")
    assert len(decisions(console)) == 1


def test_what_has_just_ended_is_not_cleared_unseen(console: Typist) -> None:
    console.type("<f4>")
    (fid,) = console.peer.transfers
    console.peer.change_transfer(fid, state=TransferState.FAILED)
    console.clock.advance(0)
    console.memory.feed(["x"])
    console.settle()
    assert console.calls("forget_ended") == []
    assert "A transfer has just ended: look again" in console.screen()
    console.type("x")
    assert len(console.calls("forget_ended")) == 1


# --- selections follow -----------------------------------------------------------------------------


def test_the_selection_of_people_is_a_person(console: Typist) -> None:
    console.type("<f2><down><down><down>")
    chosen = console.view.people.chosen().peer
    peer = console.peer
    peer.put_people(*(somebody(f"a{number}", peer.now_ms()) for number in range(5)))
    console.clock.advance(0)
    console.memory.feed(["b"])
    console.settle()
    console.type("y")
    assert console.calls("block") == [("block", chosen, True)]
    console.type("<up>")
    console.type("<down>")
    assert console.view.people.chosen().peer == chosen


def test_a_click_chooses_who_was_drawn_there(console: Typist) -> None:
    row = next(number for number, line in enumerate(console.lines()) if "● erin" in line)
    peer = console.peer
    peer.put_people(*(somebody(f"a{number}", peer.now_ms()) for number in range(5)))
    console.clock.advance(0)
    console.memory.feed([("mouse press", 1, 3, row)])
    console.settle()
    assert console.view.people.chosen().peer == ERIN


def test_a_click_on_a_tab_shows_the_one_that_was_drawn_there(console: Typist) -> None:
    col = console.lines()[1].index("transfers")
    console.peer.hear(ERIN, "hello")
    console.clock.advance(0)
    console.memory.feed([("mouse press", 1, col, 1)])
    console.settle()
    assert console.view.tab.pane is console.view.transfers


# --- the sheet with the digits ----------------------------------------------------------------------


def test_the_sheet_says_at_once_that_another_key_has_come_and_stays_void(console: Typist) -> None:
    console.type("/verify bob<enter>")
    assert "11111" in console.screen()
    new_key_of_bob(console)
    console.settle()
    screen = console.screen()
    assert "ANOTHER KEY HAS COME SINCE" in screen
    assert "11111" not in screen
    assert "-----  -----  -----  -----" in screen
    assert "/verify bob same" not in screen
    console.peer.change_person(BOB, new_key=None)
    console.settle()
    assert "ANOTHER KEY HAS COME SINCE" in console.screen()
    console.type("<esc>/verify bob same<enter>")
    assert decisions(console) == []
    assert "Another key has come since: compare again. /verify bob" in console.screen()
    console.type("<ctrl u>/verify bob<enter>")
    console.type("<esc>/verify bob same<enter>")
    assert decisions(console) == [("confirm", BOB, 2, "bob", BOB, "")]


@pytest.mark.parametrize("event", [new_key_of_bob, bob_is_another])
def test_digits_of_one_key_are_not_the_same_as_those_of_the_next(console: Typist, event: Callable[..., None]) -> None:
    console.type("/verify bob<enter>")
    console.type("<esc>")
    event(console)
    console.wait(1)
    console.type("/verify bob same<enter>")
    assert decisions(console) == []
    words = "Another key has come since: compare again." if event is new_key_of_bob else "No digits to compare"
    assert words in console.screen()
    if event is new_key_of_bob:
        console.type("<ctrl u>/verify bob<enter>")
        assert "The number of bob's NEW key and yours" in console.screen()
        console.type("<esc>/verify bob same<enter>")
        assert decisions(console) == [("confirm", BOB, 2, "bob", OTHER, "")]


def test_there_is_no_same_without_a_sheet_and_not_long_after_one(console: Typist) -> None:
    console.type("/verify bob same<enter>")
    assert "No digits to compare with bob were on the screen lately" in console.screen()
    console.type("<ctrl u>/verify bob<enter>")
    console.type("<esc>")
    console.clock.advance(COMPARED_SECONDS + 1)
    console.type("/verify bob same<enter>")
    console.type("<ctrl u>/verify erin same<enter>")
    assert decisions(console) == []


def test_there_is_no_same_code_that_was_not_shown(console: Typist) -> None:
    console.type("/verify bob same code<enter>")
    assert "No code with bob was on the screen lately" in console.screen()
    console.peer.emit(CodeReady(BOB, "000123", asked=False))
    console.type("<ctrl u>/verify bob same code<enter>")
    assert decisions(console) == []
