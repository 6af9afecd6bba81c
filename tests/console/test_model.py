"""The model folds events; people stay in order."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chatnet.console.model import ChatRows
from chatnet.console.people_order import PeopleOrder
from chatnet.console.shown import Place, ShownQuestions, Subject
from chatnet.core import limits
from chatnet.core.events import HistoryPage, MessageChanged, MessageState
from chatnet.core.identity import short_text
from chatnet.core.text import SafeText
from tests.support.scripted_peer import ScriptedPeer, key_of, somebody
from tests.support.typist import new_clock

BOB = key_of("bob")


@given(st.lists(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.booleans()), max_size=90), max_size=8))
def test_the_order_is_the_same_whatever_the_changes(batches: list[list[tuple[str, bool]]]) -> None:
    roster = PeopleOrder()
    last: dict[str, bool] = {}
    for batch in batches:
        unique = dict(batch)
        roster.put(tuple(somebody(name, 0, online=online) for name, online in unique.items()))
        last.update(unique)
    for order, online in ((roster.online, True), (roster.offline, False)):
        names = [roster.name(order[i]) for i in range(len(order))]
        assert names == sorted(name for name, is_online in last.items() if is_online is online)


def test_a_large_batch_is_sorted_once_and_right() -> None:
    roster = PeopleOrder()
    roster.put(tuple(somebody(f"n{i:04d}", 0, online=i % 2 == 0) for i in range(1000)))
    roster.put((somebody("n0000", 0, online=False),))
    roster.drop(key_of("n0002"))
    assert len(roster.online) == 498
    assert roster.name(roster.online[0]) == "n0004"
    assert roster.name(roster.offline[0]) == "n0000"


def test_two_keys_with_one_short_form_are_not_told_apart_by_it() -> None:
    roster, key = PeopleOrder(), key_of("a")
    twin = key[:6] + bytes(26)
    names = [f"?{short_text(one)}" for one in (key, twin)]
    assert names[0] == names[1]
    roster.put(tuple(somebody(name, 0, peer=one) for name, one in zip(names, (key, twin), strict=True)))
    assert roster.find(names[0]) is roster.find(names[0].lstrip("?").lower()) is None
    roster.drop(twin)
    found = roster.find(names[0])
    assert found is not None
    assert found.peer == key


def test_find_by_name_key_or_beginning() -> None:
    roster = PeopleOrder()
    people = [somebody(name, 0) for name in ("bob", "bobby", "carol")]
    roster.put(tuple(people))
    assert roster.find("BOB") == people[0]
    assert roster.find("ca") == people[2]
    assert roster.find("bobb") == people[1]
    assert roster.find("b") is None
    assert roster.find("") is None


def rows(count: int) -> tuple[ScriptedPeer, ChatRows]:
    peer = ScriptedPeer(new_clock())
    peer.people = {BOB: somebody("bob", 0)}
    for i in range(count):
        peer.stored(BOB, str(i))
    return peer, ChatRows(BOB)


def test_pages_and_new_rows_meet_without_gap_or_double() -> None:
    peer, chat_rows = rows(10)
    stored = peer.rows[BOB]
    chat_rows.add(stored[9])  # told while the page was under way
    assert chat_rows.put_page(HistoryPage(tuple(stored[4:10]), True, 7)) == 5
    assert [row.n for row in chat_rows.rows] == [5, 6, 7, 8, 9, 10]
    assert chat_rows.mark_n == 7
    assert chat_rows.put_page(HistoryPage(tuple(stored[:4]), False, 7)) == 4
    assert [row.n for row in chat_rows.rows] == list(range(1, 11))
    assert not chat_rows.more


def test_a_page_fills_what_the_store_had_meanwhile() -> None:
    peer, chat_rows = rows(6)
    stored = peer.rows[BOB]
    chat_rows.add(stored[3])
    chat_rows.put_page(HistoryPage(tuple(stored), False, 0))
    assert [row.n for row in chat_rows.rows] == [1, 2, 3, 4, 5, 6]


def test_states_change_rows_that_are_loaded_only() -> None:
    peer, chat_rows = rows(3)
    chat_rows.put_page(HistoryPage(tuple(peer.rows[BOB][1:]), True, 0))
    chat_rows.change(MessageChanged(BOB, 1, MessageState.DELIVERED, SafeText("")))
    chat_rows.change(MessageChanged(BOB, 3, MessageState.DELIVERED, SafeText("")))
    assert [row.state for row in chat_rows.rows] == [MessageState.RECEIVED, MessageState.DELIVERED]


def test_many_rows_are_trimmed_and_can_come_back() -> None:
    count = limits.LIVE_MESSAGES + limits.HISTORY_PAGE + 1
    peer, chat_rows = rows(count)
    chat_rows.put_page(HistoryPage(tuple(peer.rows[BOB]), False, 0))
    assert chat_rows.trim() == count - limits.LIVE_MESSAGES
    assert chat_rows.trim() == 0
    assert chat_rows.more


def test_a_name_is_told_when_it_stands_for_another_key_than_before() -> None:
    shown, bob, other = ShownQuestions(), somebody("bob", 0), somebody("bob", 0, peer=key_of("other"))
    roster, name = PeopleOrder(shown), Place(Subject.NAME, "bob")

    def is_told() -> bool:
        told = not shown.is_settled(name, now=0)
        shown.drawn({})
        shown.taken(0)
        shown.taken(10)
        return told

    roster.put((bob,))
    assert not is_told()  # nobody was called so before
    roster.drop(bob.peer)
    roster.put((bob,))
    assert not is_told()
    roster.drop(bob.peer)
    roster.put((other,))
    assert is_told()
    roster.put((msgspec.structs.replace(other, new_key=bob.peer),))
    assert is_told()
    roster.put((msgspec.structs.replace(other, unread=1, new_key=bob.peer),))
    assert not is_told()


def test_who_is_only_remembered_is_found_by_the_whole_name_and_stands_in_no_list() -> None:
    roster = PeopleOrder()
    dave, daisy = somebody("dave", 0, online=False, remembered=True), somebody("daisy", 0)
    roster.put((dave, daisy))
    assert (len(roster.online), len(roster.offline)) == (1, 0)
    assert roster.find("dave") == dave
    assert roster.find("da") == daisy
    assert roster.find("dav") is None
    assert roster.names() == ["daisy", "dave"]
    known = somebody("dave", 0, online=False)
    roster.put((known,))
    assert (len(roster.offline), roster.find("dav")) == (1, known)
    roster.put((dave,))
    assert len(roster.offline) == 0
    roster.drop(dave.peer)
    assert roster.names() == ["daisy"]
