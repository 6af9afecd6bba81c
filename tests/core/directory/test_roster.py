"""The peer's picture of the others: snapshots, pins, new keys, strangers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.directory import roster as module
from chatnet.core.directory.roster import Changes, Roster, Standing
from chatnet.core.errors import RemoteError
from chatnet.core.events import VerifiedLevel
from chatnet.core.identity import PeerID, short_text
from chatnet.core.messages import ListEntry, ListPage
from chatnet.core.records import Endpoint, RecordFields, endpoint

ME = PeerID(b"\xff" * 32)
CAROL, BOB, DAVE, MALLORY = (PeerID(bytes([n]) * 32) for n in (1, 2, 3, 66))
HERE, THERE = endpoint("192.0.2.1", 4000), endpoint("192.0.2.2", 4000)


def entry(peer: PeerID, name: str, seq: int = 1, where: object = HERE) -> ListEntry:
    return ListEntry(peer, name, [where], seq)  # type: ignore[list-item]


def page(*joined: ListEntry, left: tuple[PeerID, ...] = (), reset: bool = False, more: bool = False) -> ListPage:
    return ListPage(reset, more, list(joined), list(left), b"")


def roster(*entries: ListEntry) -> Roster:
    made = Roster(ME)
    made.apply(page(*entries, reset=True), 0)
    return made


def names(some: Roster) -> set[str]:
    """Those of the people that the screen lists."""
    return {some.name_of(peer) for peer in some.people() if not some.person(peer).remembered}


def remembered(some: Roster) -> set[str]:
    return {some.name_of(peer) for peer in some.people() if some.person(peer).remembered}


CAROL_ENTRY, BOB_ENTRY, DAVE_ENTRY = entry(CAROL, "carol"), entry(BOB, "bob"), entry(DAVE, "dave")


# --- the list ---------------------------------------------------------------------------------


def test_the_first_list() -> None:
    some = Roster(ME)
    changes = some.apply(page(CAROL_ENTRY, BOB_ENTRY, entry(ME, "myself"), reset=True), 5)
    assert changes == Changes(changed={CAROL, BOB}, came={CAROL, BOB})
    assert names(some) == {"carol", "bob"}
    assert some.person(CAROL).online
    assert some.person(CAROL).address == "192.0.2.1:4000"


def test_a_snapshot_in_pages_takes_nobody_away_before_its_last_page() -> None:
    some = roster(CAROL_ENTRY, BOB_ENTRY)
    changes = some.apply(page(BOB_ENTRY, reset=True, more=True), 10)
    assert changes.left == set()
    assert some.listed == {CAROL, BOB}
    some.apply(page(more=True), 10)
    assert some.listed == {CAROL, BOB}
    changes = some.apply(page(DAVE_ENTRY), 10)
    assert changes.left == {CAROL}
    assert some.listed == {BOB, DAVE}
    assert names(some) == {"bob", "dave"}


def test_a_snapshot_that_begins_again_forgets_its_first_half() -> None:
    some = roster(CAROL_ENTRY, BOB_ENTRY)
    some.apply(page(CAROL_ENTRY, reset=True, more=True), 10)
    some.apply(page(BOB_ENTRY, reset=True, more=True), 10)
    assert some.apply(page(), 10).left == {CAROL}


def test_who_leaves_within_a_snapshot_is_gone() -> None:
    some = roster()
    some.apply(page(CAROL_ENTRY, BOB_ENTRY, reset=True, more=True), 10)
    assert some.apply(page(left=(CAROL,)), 10).left == {CAROL}
    assert some.listed == {BOB}


def test_changes_of_the_list() -> None:
    some = roster(CAROL_ENTRY)
    assert some.apply(page(BOB_ENTRY, left=(CAROL,)), 77).left == {CAROL}
    assert names(some) == {"bob"}
    assert some.apply(page(left=(CAROL, DAVE)), 78) == Changes()


def test_the_newest_addresses_count() -> None:
    some = roster(CAROL_ENTRY)
    some.apply(page(entry(CAROL, "carol", 2, THERE)), 0)
    assert some.endpoints(CAROL) == [THERE]
    assert some.endpoints(DAVE) == []


def test_a_replayed_entry_with_a_lower_number_changes_nothing() -> None:
    some = roster(entry(CAROL, "carol", 5, THERE))
    assert some.apply(page(entry(CAROL, "mallory", 4, HERE)), 0) == Changes()
    assert some.endpoints(CAROL) == [THERE]
    assert some.name_of(CAROL) == "carol"


def test_a_lower_number_is_remembered_of_known_people_also_while_they_are_away() -> None:
    some = roster(entry(CAROL, "carol", 5, THERE))
    some.pin("carol", CAROL, 1)
    some.apply(page(left=(CAROL,)), 0)
    some.apply(page(entry(CAROL, "carol", 4, HERE)), 0)
    assert CAROL not in some.listed
    assert some.endpoints(CAROL) == [THERE]


def test_who_stands_in_the_last_list_alone_is_not_online_until_the_registry_tells() -> None:
    some = Roster(ME)
    some.restore([CAROL_ENTRY, BOB_ENTRY, DAVE_ENTRY], 77)
    assert some.listed == {CAROL, BOB, DAVE}
    assert [(some.person(one).online, some.person(one).last_seen_ms) for one in (CAROL, BOB)] == [(False, 77)] * 2
    assert names(some) == {"carol", "bob", "dave"}
    some.acquaintance(BOB).linked, some.acquaintance(BOB).address = True, "192.0.2.1:50412"
    assert some.person(BOB).online
    assert (some.person(BOB).address, some.person(BOB).listed_address) == ("192.0.2.1:50412", "192.0.2.1:4000")
    some.acquaintance(BOB).linked, some.acquaintance(BOB).address = False, ""
    some.acquaintance(BOB).last_seen_ms = 80
    assert (some.person(BOB).online, some.person(BOB).last_seen_ms) == (False, 80)
    assert some.apply(page(CAROL_ENTRY, left=(DAVE,), more=True), 90).changed == {CAROL, DAVE}
    assert [some.person(one).online for one in (CAROL, BOB, DAVE)] == [True, False, False]
    assert some.apply(page(), 91).changed == {BOB}  # the list is whole, and still has bob
    assert some.person(BOB).online
    assert some.person(CAROL).last_seen_ms is None


def test_a_snapshot_takes_away_who_stands_in_the_last_list_alone() -> None:
    some = Roster(ME)
    some.restore([CAROL_ENTRY, BOB_ENTRY], 77)
    some.apply(page(CAROL_ENTRY, reset=True, more=True), 90)
    assert [some.person(one).online for one in (CAROL, BOB)] == [True, False]
    assert some.apply(page(), 91).left == {BOB}
    assert [some.person(one).online for one in (CAROL, BOB)] == [True, False]


def test_a_number_orders_the_entries_of_one_link_and_one_snapshot_only() -> None:
    some = roster(entry(CAROL, "carol", 2**53, THERE))
    some.apply(page(entry(CAROL, "carol", 5, HERE), reset=True), 0)
    assert some.endpoints(CAROL) == [HERE]
    some.apply(page(entry(CAROL, "carol", 2**53, THERE)), 0)
    some.new_session()
    some.apply(page(entry(CAROL, "carol", 5, HERE)), 0)
    assert some.endpoints(CAROL) == [HERE]
    some.apply(page(entry(CAROL, "carol", 4, THERE)), 0)
    assert some.endpoints(CAROL) == [HERE]


def test_the_number_of_a_saved_entry_is_no_floor() -> None:
    some = Roster(ME)
    some.restore([entry(CAROL, "carol", 2**53, THERE)])
    some.apply(page(entry(CAROL, "carol", 5, HERE)), 0)
    assert some.endpoints(CAROL) == [HERE]


def record(seq: int, *endpoints: Endpoint) -> RecordFields:
    return RecordFields(1, "carol", list(endpoints), seq, 0)


def test_a_verified_record_is_a_floor_and_corrects_the_entry() -> None:
    some = roster(entry(CAROL, "carol", 2**53, THERE))
    some.pin("carol", CAROL, 1)
    assert some.take_record(CAROL, record(5, HERE)) == entry(CAROL, "carol", 5, HERE)
    assert some.endpoints(CAROL) == [HERE]
    some.new_session()
    some.apply(page(entry(CAROL, "carol", 4, THERE), reset=True), 0)
    assert some.endpoints(CAROL) == [HERE]
    assert some.take_record(CAROL, record(4, THERE)) is None
    some.apply(page(entry(CAROL, "carol", 6, THERE)), 0)
    assert some.endpoints(CAROL) == [THERE]


def test_a_record_of_the_same_number_adds_to_what_the_registry_has_seen() -> None:
    some = roster(ListEntry(CAROL, "carol", [THERE], 5, 1))
    some.pin("carol", CAROL, 1)
    assert some.take_record(CAROL, record(5, HERE, THERE)) == ListEntry(CAROL, "carol", [THERE, HERE], 5, 1)


def test_of_pinned_people_a_number_ahead_of_the_clock_is_doubtful() -> None:
    now_ms = 1_795_000_000_000
    some = Roster(ME)
    for who, name in ((CAROL, "carol"), (BOB, "bob")):
        some.pin(name, who, 1)
    some.has_record(BOB, 2**40)
    far = [entry(who, name, 2**40) for who, name in ((CAROL, "carol"), (BOB, "bob"), (DAVE, "dave"))]
    assert some.apply(page(*far), now_ms).doubtful == {CAROL}
    assert some.apply(page(entry(CAROL, "carol", 1_795_000_000)), now_ms).doubtful == {CAROL}  # it fell
    some.new_session()
    assert some.apply(page(entry(CAROL, "carol", 1_795_000_000), reset=True), now_ms).doubtful == set()


def test_a_list_may_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LIST_ENTRIES", 2)
    some = roster(CAROL_ENTRY, BOB_ENTRY)
    with pytest.raises(RemoteError) as caught:
        some.apply(page(DAVE_ENTRY), 0)
    assert caught.value.code == "too-many"


def test_the_list_from_disk_is_the_list_until_the_registry_says_otherwise() -> None:
    some = Roster(ME)
    some.restore([CAROL_ENTRY, BOB_ENTRY])
    assert names(some) == {"carol", "bob"}
    some.apply(page(BOB_ENTRY, reset=True), 0)
    assert names(some) == {"bob"}


PEERS = [PeerID(bytes([n]) * 32) for n in range(1, 9)]


@given(
    st.sets(st.integers(0, 7)),
    st.lists(st.tuples(st.sets(st.integers(0, 7)), st.booleans()), min_size=1, max_size=5),
)
def test_a_snapshot_leaves_exactly_whom_it_names(before: set[int], pages: list[tuple[set[int], bool]]) -> None:
    def entries(numbers: set[int]) -> list[ListEntry]:
        return [entry(PEERS[n], f"peer{n}") for n in numbers]

    some = roster(*entries(before))
    named: set[int] = set()
    for number, (joined, resets) in enumerate(pages):
        reset = resets or number == 0
        named = joined if reset else named | joined
        more = number < len(pages) - 1
        seen = set(some.listed)
        some.apply(page(*entries(joined), reset=reset, more=more), 0)
        assert not more or seen <= some.listed
    assert some.listed == {PEERS[n] for n in named}


# --- names and pins ---------------------------------------------------------------------------


def test_a_stranger_is_called_by_the_key() -> None:
    some = Roster(ME)
    assert some.vouched_name(CAROL) is None
    assert some.name_of(CAROL) == "?" + short_text(CAROL)
    assert not some.is_shown(CAROL)
    some.acquaintance(CAROL).linked = True
    assert names(some) == set(), "a request makes no person"
    some.acquaintance(CAROL).accepted = True
    assert names(some) == {"?" + short_text(CAROL)}


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("decided", ["", "written_to", "accepted", "verified"])
def test_what_a_key_is_to_the_person_here(listed: bool, pinned: bool, decided: str) -> None:
    some = roster(*([BOB_ENTRY] if listed else []))
    if pinned:
        some.pin("bob", BOB, 1)
    if decided == "verified":
        some.set_verified(BOB, VerifiedLevel.BY_CODE)
    elif decided:
        setattr(some.acquaintance(BOB), decided, True)
    some.acquaintance(BOB).linked = True
    expected = Standing.LISTED if listed or pinned else Standing.REQUESTER
    assert some.standing(BOB) is (Standing.KNOWN if decided else expected)
    assert some.is_shown(BOB) is (some.standing(BOB) is not Standing.REQUESTER)


def test_somebody_of_whom_nothing_is_known_is_a_requester_of_whom_nothing_is_kept() -> None:
    some = Roster(ME)
    assert some.standing(BOB) is Standing.REQUESTER
    assert some.acquainted() == []


def test_a_requester_is_kept_but_not_shown_and_a_blocked_one_is_shown() -> None:
    some = Roster(ME)
    some.acquaintance(BOB).requests = 1
    some.forget(BOB)
    assert some.is_known(BOB)
    assert some.people() == []
    some.blocked.add(BOB)
    assert some.people() == [BOB]


def test_known_people_stay_when_they_leave_and_others_do_not() -> None:
    some = roster(CAROL_ENTRY, BOB_ENTRY, DAVE_ENTRY)
    some.pin("carol", CAROL, 3)
    some.acquaintance(BOB).talked = some.acquaintance(BOB).written_to = True
    some.apply(page(left=(CAROL, BOB, DAVE)), 99)
    assert names(some) == {"carol", "bob"}
    person = some.person(CAROL)
    assert (person.name, person.online, person.last_seen_ms, person.known_since_ms) == ("carol", False, 99, 3)


def test_a_new_key_under_a_pinned_name_is_a_warning_and_no_person() -> None:
    some = roster(CAROL_ENTRY)
    some.pin("carol", CAROL, 1)
    changes = some.apply(page(entry(MALLORY, "carol"), left=(CAROL,)), 0)
    assert CAROL in changes.changed
    assert some.new_key(CAROL) == MALLORY
    assert some.person(CAROL).new_key == MALLORY
    assert some.name_of(CAROL) == "carol"
    assert some.vouched_name(MALLORY) is None
    assert some.name_of(MALLORY) == "?" + short_text(MALLORY)
    assert set(some.people()) == {CAROL}


def test_the_warning_ends_when_the_other_key_leaves() -> None:
    some = roster(entry(MALLORY, "carol"))
    some.pin("carol", CAROL, 1)
    assert some.new_key(CAROL) == MALLORY
    assert CAROL in some.apply(page(left=(MALLORY,)), 0).changed
    assert some.new_key(CAROL) is None


def test_a_new_pin_moves_the_name() -> None:
    some = roster(entry(MALLORY, "carol"))
    some.pin("carol", CAROL, 1)
    some.pin("carol", MALLORY, 2)
    assert some.pinned("carol") == MALLORY
    assert (some.is_pinned(CAROL), some.is_pinned(MALLORY)) == (False, True)
    assert (some.name_of(MALLORY), some.name_of(CAROL)) == ("carol", "?" + short_text(CAROL))
    assert some.new_key(MALLORY) is None


def test_a_pinned_person_keeps_the_name_whatever_the_list_says() -> None:
    some = roster(entry(CAROL, "caroline", 2))
    some.pin("carol", CAROL, 1)
    assert some.name_of(CAROL) == "carol"
    assert some.pinned("caroline") is None


def test_a_key_that_takes_another_name_gives_the_first_one_back() -> None:
    some = roster(CAROL_ENTRY)
    some.apply(page(entry(CAROL, "caroline", 2), entry(BOB, "carol")), 0)
    assert names(some) == {"caroline", "carol"}
    assert some.name_of(BOB) == "carol"


def test_of_two_keys_with_one_name_only_one_has_it() -> None:
    some = roster(CAROL_ENTRY, entry(MALLORY, "carol"))
    assert [some.vouched_name(peer) for peer in (CAROL, MALLORY)].count("carol") == 1
    assert len(some.people()) == 1


def test_oneself_is_nobody_in_it() -> None:
    some = roster(entry(ME, "carol"), CAROL_ENTRY)
    assert set(some.people()) == {CAROL}
    assert some.name_of(CAROL) == "carol"


def test_asking_who_is_awaited_makes_no_acquaintance() -> None:
    some = roster(CAROL_ENTRY, BOB_ENTRY)
    some.acquaintance(BOB).waiting = 2
    assert [some.waiting(peer) for peer in (CAROL, BOB, DAVE)] == [0, 2, 0]
    assert some.acquainted() == [BOB]
    assert set(some._acquaintances) == {BOB}


def test_a_rival_who_leaves_or_takes_another_name_leaves_the_pinned_one_alone() -> None:
    for parting in (page(left=(MALLORY,)), page(entry(MALLORY, "other", 2))):
        some = roster()
        some.pin("bob", BOB, 0)
        assert some.apply(page(entry(MALLORY, "bob")), 0).alone == set()
        changes = some.apply(parting, 0)
        assert (changes.alone, some.new_key(BOB)) == ({BOB}, None)
        assert BOB in changes.changed


def test_who_is_neither_listed_nor_known_is_forgotten() -> None:
    some = roster(CAROL_ENTRY)
    some.acquaintance(MALLORY).last_seen_ms = 5
    some.pin("bob", BOB, 0)
    some.acquaintance(BOB).unread = 1
    for peer in (CAROL, MALLORY, BOB):
        some.forget(peer)
    assert some.entries.keys() == {CAROL}
    assert some._acquaintances.keys() == {BOB}


@pytest.mark.parametrize("deed", ["written_to", "accepted"])
def test_what_a_person_here_decided_is_not_forgotten(deed: str) -> None:
    some = Roster(ME)
    setattr(some.acquaintance(MALLORY), deed, True)
    some.forget(MALLORY)
    assert some.standing(MALLORY) is Standing.KNOWN
    assert some.people() == [MALLORY]
    some.blocked.add(MALLORY)
    some.forget(MALLORY)
    some.blocked.discard(MALLORY)
    assert some.people() == [MALLORY]


# --- strangers --------------------------------------------------------------------------------


@pytest.mark.parametrize("deed", ["written_to", "accepted", "verified"])
def test_a_stranger_is_one_until_a_person_here_does_something(deed: str) -> None:
    some = roster(CAROL_ENTRY)
    some.acquaintance(CAROL).talked = True  # they wrote: that makes nobody known
    assert some.is_stranger(CAROL)
    if deed == "verified":
        some.set_verified(CAROL, VerifiedLevel.BY_NUMBER)
    else:
        setattr(some.acquaintance(CAROL), deed, True)
    assert not some.is_stranger(CAROL)


def test_a_question_whether_somebody_is_a_stranger_makes_no_acquaintance() -> None:
    some = Roster(ME)
    assert some.is_stranger(MALLORY)
    assert some.acquainted() == []


# --- who was listed and is not ------------------------------------------------------------------


def test_who_leaves_the_list_can_be_written_to() -> None:
    some = roster(BOB_ENTRY, DAVE_ENTRY)
    changes = some.apply(page(left=(DAVE,)), 77)
    assert changes.changed == {DAVE}
    some.forget(DAVE)
    assert (names(some), remembered(some)) == ({"bob"}, {"dave"})
    person = some.person(DAVE)
    assert (person.online, person.last_seen_ms) == (False, 77)
    assert some.endpoints(DAVE) == [HERE]
    assert some.standing(DAVE) is Standing.REQUESTER  # what they send is that of a stranger, as before
    some.acquaintance(DAVE).written_to = True
    assert not some.person(DAVE).remembered
    some.apply(page(DAVE_ENTRY), 78)
    assert (names(some), remembered(some)) == ({"bob", "dave"}, set())


def test_a_name_is_remembered_of_one_key_and_of_none_while_another_has_it() -> None:
    some = roster(DAVE_ENTRY)
    some.apply(page(left=(DAVE,)), 1)
    changes = some.apply(page(entry(MALLORY, "dave")), 2)
    assert changes.changed == {DAVE, MALLORY}
    assert not some.is_shown(DAVE)
    some.apply(page(left=(MALLORY,)), 3)
    assert [peer for peer in some.people() if some.person(peer).remembered] == [MALLORY]
    some.apply(page(DAVE_ENTRY), 4)
    some.apply(page(left=(DAVE,)), 5)
    assert [peer for peer in some.people() if some.person(peer).remembered] == [DAVE]


def test_so_many_are_remembered_and_the_longest_gone_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEOPLE_REMEMBERED", 2)
    some = roster(CAROL_ENTRY, BOB_ENTRY, DAVE_ENTRY)
    some.apply(page(left=(BOB,)), 1)
    some.apply(page(left=(DAVE,)), 2)
    changes = some.apply(page(left=(CAROL,)), 3)
    assert changes.changed == {BOB, CAROL}
    some.forget(BOB)
    assert remembered(some) == {"carol", "dave"}
    assert BOB not in some.entries
    assert BOB not in some.acquainted()


def test_who_had_left_is_known_again_after_a_restart() -> None:
    some = Roster(ME)
    some.restore([BOB_ENTRY])
    some.restore_former([(entry(MALLORY, "bob"), 1), (entry(ME, "myself"), 2), (DAVE_ENTRY, 3)])
    assert (names(some), remembered(some)) == ({"bob"}, {"dave"})
    assert some.person(DAVE).last_seen_ms == 3


def test_a_person_with_a_new_key_is_one_person() -> None:
    """B16."""
    some = roster(BOB_ENTRY)
    some.pin("bob", BOB, 1, VerifiedLevel.BY_NUMBER)
    some.apply(page(entry(MALLORY, "bob"), left=(BOB,)), 5)
    known = some.acquaintance(BOB)
    known.talked = known.written_to = known.accepted = True
    known.waiting, known.unread = 2, 3
    some.acquaintance(MALLORY).unread = 1
    some.unwanted.add(MALLORY)
    some.take_key("bob", BOB, MALLORY, 9, VerifiedLevel.NOT, waiting=2, unread=4)
    person = some.person(MALLORY)
    assert (person.name, person.waiting, person.unread, person.new_key) == ("bob", 2, 4, None)
    assert person.verified is VerifiedLevel.NOT
    assert some.standing(MALLORY) is Standing.KNOWN
    # Nothing that a person decided about the old key holds for it any more, and it is nobody's.
    assert some.standing(BOB) is Standing.REQUESTER
    assert some.people() == [MALLORY]
    assert not some.verified(BOB)


def test_who_had_another_key_is_meant_by_it_until_it_is_somebody_again() -> None:
    some = roster(BOB_ENTRY)
    some.pin("bob", BOB, 1)
    assert some.current(BOB) == BOB
    some.apply(page(entry(MALLORY, "bob")), 5)  # a false list: bob's old key stays in it
    some.take_key("bob", BOB, MALLORY, 9, VerifiedLevel.NOT, waiting=0, unread=0)
    assert [some.current(key) for key in (BOB, MALLORY, DAVE)] == [MALLORY, MALLORY, DAVE]
    some.take_key("bob", MALLORY, DAVE, 9, VerifiedLevel.NOT, waiting=0, unread=0)
    assert [some.current(key) for key in (BOB, MALLORY, DAVE)] == [DAVE] * 3
    some.blocked.add(BOB)
    assert some.current(BOB) == BOB
    some.blocked.clear()
    some.apply(page(entry(BOB, "robert")), 5)
    assert some.current(BOB) == BOB
    some.apply(page(left=(BOB,)), 5)
    some.acquaintance(MALLORY).accepted = True
    assert [some.current(key) for key in (MALLORY, DAVE)] == [MALLORY, DAVE]
    some.take_key("bob", DAVE, BOB, 9, VerifiedLevel.NOT, waiting=0, unread=0)
    assert [some.current(key) for key in (BOB, DAVE)] == [BOB, BOB]
