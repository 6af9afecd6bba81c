"""The last frame, and what has changed since."""

from __future__ import annotations

from chatnet.console.shown import MOST_SEEN, PROGRESS, Place, ShownQuestions, Subject, offer_question
from chatnet.core.events import Transfer, TransferState
from chatnet.core.limits import COMPARED_SECONDS, QUESTION_SECONDS
from tests.support.scripted_peer import ScriptedPeer, key_of
from tests.support.typist import new_clock

PLACE = Place(Subject.OFFER, b"chat")


def frame(shown: ShownQuestions, now: float, **questions: object) -> None:
    shown.drawn({Place(Subject[name]): question for name, question in questions.items()})
    shown.taken(now)


def test_a_change_is_settled_when_it_has_been_on_the_screen_for_a_while() -> None:
    shown = ShownQuestions()
    assert shown.is_settled(PLACE, now=0)
    shown.changed(PLACE)
    assert not shown.is_settled(PLACE, now=100)  # nobody has seen it
    shown.drawn({})
    assert not shown.is_settled(PLACE, now=100)  # the terminal has not taken it
    shown.taken(100)
    assert not shown.is_settled(PLACE, now=100 + QUESTION_SECONDS / 2)
    assert shown.is_settled(PLACE, now=100 + QUESTION_SECONDS)
    assert shown.is_settled(Place(Subject.OFFER, b"another chat"), now=100)


def test_a_second_change_waits_again() -> None:
    shown = ShownQuestions()
    for now in (100.0, 100.3):
        shown.changed(PLACE)
        frame(shown, now)
    assert not shown.is_settled(PLACE, now=100.5)
    assert shown.is_settled(PLACE, now=100.7)


def test_what_was_drawn_counts_when_the_terminal_has_it() -> None:
    shown, place = ShownQuestions(), Place(Subject.CHOSEN_PERSON)
    frame(shown, 1, CHOSEN_PERSON="bob")
    shown.drawn({place: "erin"})
    assert shown.shows(place, "bob")
    shown.taken(2)
    assert shown.shows(place, "erin")
    frame(shown, 3)
    assert not shown.shows(place, "erin")
    assert shown.has_shown(place, "erin")
    assert not shown.has_shown(place, "bob")


def test_digits_expire() -> None:
    shown, place = ShownQuestions(), Place(Subject.NUMBER)
    assert shown.compared(place, 1) is None
    frame(shown, 1, NUMBER="11111")
    frame(shown, 50)
    assert shown.compared(place, 1 + COMPARED_SECONDS) == "11111"
    assert shown.compared(place, 2 + COMPARED_SECONDS) is None
    frame(shown, 60, NUMBER=None)
    assert shown.compared(place, 61) is None


def test_what_is_remembered_is_bounded() -> None:
    shown = ShownQuestions()
    for number in range(2 * MOST_SEEN):
        shown.drawn({Place(Subject.TRANSFER, number.to_bytes(4)): number})
        shown.taken(number)
    assert len(shown._seen) == MOST_SEEN
    assert not shown.has_shown(Place(Subject.TRANSFER, bytes(4)), 0)


def test_an_offer_asks_the_same_however_far_it_has_come() -> None:
    peer = ScriptedPeer(new_clock())
    first = peer.offered(key_of("bob"), "a", 10)
    later = peer.change_transfer(first.fid, state=TransferState.RUNNING, done_bytes=5, paused_here=True)
    assert offer_question(first) == offer_question(later)
    for change in ({"title": "b"}, {"total_files": 2}, {"total_bytes": 11}, {"offered_ms": 1}, {"warning": "!"}):
        assert offer_question(first) != offer_question(peer.change_transfer(first.fid, **change))
    assert set(Transfer.__struct_fields__) >= PROGRESS
