from __future__ import annotations

import dataclasses
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from chatnet.core import messages
from chatnet.core.directory.changelog import Reader
from chatnet.core.directory.directory import Binding, Claimed, Directory
from chatnet.core.errors import Refused, RemoteError
from chatnet.core.framing import PREFIX_BYTES
from chatnet.core.identity import PeerID, peer_id_of
from chatnet.core.limits import MAX_TEXT_BYTES, RegistryLimits
from chatnet.core.messages import ListEntry, ListPage
from chatnet.core.records import Endpoint, SignedRecord, endpoint, sign_record
from tests.support.wire import decode

LIMITS = RegistryLimits()
THERE = endpoint("10.0.0.2", 1).ip


class Somebody:
    """A key with a name, who signs records; always the same for the same number."""

    def __init__(self, number: int, name: str = "") -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(number.to_bytes(32, "big"))
        self.key = self._private.public_key().public_bytes_raw()
        self.peer: PeerID = peer_id_of(self.key)
        self.name = name or f"peer{number}"

    def record(self, seq: int = 1, name: str = "", endpoints: list[Endpoint] | None = None) -> SignedRecord:
        where = endpoints or [endpoint("10.0.0.2", 4000)]
        return sign_record(self.key, self._private.sign, name or self.name, where, seq, 0)


CAROL, BOB = Somebody(1, "carol"), Somebody(2, "bob")


def directory(limits: RegistryLimits = LIMITS) -> Directory:
    return Directory(b"e" * 16, limits)


def join(rules: Directory, who: Somebody, seq: int = 1) -> None:
    record = who.record(seq)
    rules.join(record, rules.checked(record, who.peer, who.name), who.peer, THERE)


def claimed(rules: Directory, who: Somebody) -> None:
    assert rules.claim(who.name, who.peer) is Claimed.NEW
    rules.reserve(who.name, who.peer)
    rules.confirm(who.peer)


def refusal(rules: Directory, name: str, peer: PeerID) -> tuple[str, str]:
    with pytest.raises(Refused) as caught:
        rules.claim(name, peer)
    return caught.value.code, caught.value.text


# --- names --------------------------------------------------------------------------------------


def test_the_first_key_has_the_name_and_keeps_it() -> None:
    rules = directory()
    claimed(rules, CAROL)
    assert rules.claim("carol", CAROL.peer) is Claimed.KNOWN
    assert refusal(rules, "carol", BOB.peer) == (
        messages.NAME_TAKEN,
        "The name carol belongs to another key. Choose another name.",
    )


def test_a_key_has_one_name() -> None:
    rules = directory()
    claimed(rules, CAROL)
    code, text = refusal(rules, "bob", CAROL.peer)
    assert code == messages.KEY_BOUND
    assert "carol" in text


def test_bindings_come_from_the_store() -> None:
    rules = directory()
    rules.load([Binding("carol", CAROL.peer)])
    assert rules.claim("carol", CAROL.peer) is Claimed.KNOWN
    assert refusal(rules, "carol", BOB.peer)[0] == messages.NAME_TAKEN


def test_nobody_is_known_before_the_commit_but_the_name_is_kept() -> None:
    rules = directory()
    rules.reserve("carol", CAROL.peer)
    assert rules.claim("carol", CAROL.peer) is Claimed.NEW
    assert refusal(rules, "carol", BOB.peer)[0] == messages.NAME_TAKEN
    rules.release(CAROL.peer)
    assert rules.claim("carol", BOB.peer) is Claimed.NEW
    assert rules.claim("caroline", CAROL.peer) is Claimed.NEW


def test_a_failed_attempt_does_not_undo_one_that_succeeded() -> None:
    rules = directory()
    claimed(rules, CAROL)
    rules.release(CAROL.peer)
    assert rules.claim("carol", CAROL.peer) is Claimed.KNOWN


def test_no_more_names_than_the_limit() -> None:
    rules = directory(dataclasses.replace(LIMITS, claims=1))
    claimed(rules, CAROL)
    assert refusal(rules, "bob", BOB.peer)[0] == messages.BUSY
    assert rules.claim("carol", CAROL.peer) is Claimed.KNOWN


NETWORK, OTHER = "192.0.2.0/24", "198.51.100.0/24"


def test_the_last_tenth_of_the_names_is_for_networks_that_have_none() -> None:
    rules = directory(dataclasses.replace(LIMITS, claims=20))
    rules.load(Binding(f"n{number}", PeerID(bytes([number]) * 32), NETWORK) for number in range(100, 118))
    with pytest.raises(Refused, match="kept for networks that have none; yours has some") as caught:
        rules.claim("carol", CAROL.peer, NETWORK)
    assert (caught.value.code, caught.value.retry_after_s > 0) == (messages.BUSY, True)
    assert rules.claim("carol", CAROL.peer, OTHER) is Claimed.NEW
    rules.reserve("carol", CAROL.peer, OTHER)
    with pytest.raises(Refused):
        rules.claim("bob", BOB.peer, OTHER)
    rules.release(CAROL.peer)
    assert rules.claim("bob", BOB.peer, OTHER) is Claimed.NEW  # what was not stored is no name
    assert rules.claim("bob", BOB.peer, None) is Claimed.NEW  # where sources are not counted
    assert rules.refused_names == {"all": 0, "kept": 2}
    assert rules.names_share == 18 / 20


def test_a_name_that_is_claimed_over_two_links_is_one() -> None:
    rules = directory()
    rules.reserve("carol", CAROL.peer, NETWORK)
    rules.reserve("carol", CAROL.peer, OTHER)
    rules.release(CAROL.peer)
    rules.release(CAROL.peer)
    assert rules.names_share == 0
    assert not any(rules._networks.values())


@pytest.mark.parametrize(
    "name", ["", "x y", "-a", "a-", "Carol", "a" * 33, "admin", "registry", "zoë", "a\n", "\x1b[2J"]
)
def test_a_bad_name_is_refused_in_words_that_are_safe(name: str) -> None:
    code, text = refusal(directory(), name, CAROL.peer)
    assert code == messages.BAD_NAME
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= MAX_TEXT_BYTES


# --- records ------------------------------------------------------------------------------------


def test_a_record_must_be_of_the_key_and_of_the_name() -> None:
    rules = directory()
    with pytest.raises(RemoteError, match="another key"):
        rules.checked(BOB.record(), CAROL.peer, "bob")
    with pytest.raises(RemoteError, match="another name"):
        rules.checked(CAROL.record(name="bob"), CAROL.peer, "carol")


def test_a_record_does_not_go_back() -> None:
    rules = directory()
    join(rules, CAROL, seq=5)
    rules.leave(CAROL.peer)
    with pytest.raises(RemoteError, match="below 5"):
        rules.checked(CAROL.record(4), CAROL.peer, "carol")
    with pytest.raises(RemoteError, match="same seq"):
        rules.checked(CAROL.record(5, endpoints=[endpoint("10.0.0.3", 1)]), CAROL.peer, "carol")
    assert rules.checked(CAROL.record(5), CAROL.peer, "carol").seq == 5
    assert rules.checked(CAROL.record(6), CAROL.peer, "carol").seq == 6


def test_the_record_itself_can_be_looked_up_and_is_forgotten_in_time() -> None:
    rules = directory(dataclasses.replace(LIMITS, departures=1))
    join(rules, CAROL)
    assert rules.record_of(CAROL.peer) == CAROL.record()
    rules.leave(CAROL.peer)
    assert rules.record_of(CAROL.peer) == CAROL.record()
    assert rules.record_of(BOB.peer) is None
    join(rules, BOB)
    rules.leave(BOB.peer)
    assert rules.record_of(CAROL.peer) is None


# --- presence -----------------------------------------------------------------------------------


def read_all(rules: Directory, reader: Reader, known: dict[bytes, ListEntry]) -> None:
    while (data := rules.next_page(reader)) is not None:
        page = cast(ListPage, decode("from-registry", data[PREFIX_BYTES:]))
        if page.reset:
            known.clear()
        known.update((e.peer, e) for e in page.joined)
        for peer in page.left:
            known.pop(peer, None)


def test_everybody_is_told_the_whole_list_with_the_address_seen() -> None:
    rules = directory()
    join(rules, CAROL)
    join(rules, BOB, seq=3)
    known: dict[bytes, ListEntry] = {}
    reader = rules.reader(None, local=False)
    read_all(rules, reader, known)
    assert len(rules) == 2
    assert known[BOB.peer] == ListEntry(BOB.peer, "bob", [endpoint("10.0.0.2", 4000)], 3)
    rules.leave(BOB.peer)
    rules.leave(BOB.peer)
    read_all(rules, reader, known)
    assert len(rules) == 1
    assert set(known) == {CAROL.peer}


def test_the_same_registration_again_is_no_change() -> None:
    rules = directory()
    join(rules, CAROL)
    before = rules.revision
    join(rules, CAROL)
    assert rules.revision == before
    assert len(rules) == 1


PEOPLE = [Somebody(n) for n in range(1, 7)]
RECORDS = {(n, seq): PEOPLE[n].record(seq) for n in range(6) for seq in range(4)}


@settings(max_examples=150)
@given(
    departures=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.sampled_from(["join", "leave", "read"]), st.integers(0, 5), st.integers(0, 3)), min_size=20
    ),
)
def test_readers_anywhere_end_with_who_is_present(departures: int, steps: list[tuple[str, int, int]]) -> None:
    rules = directory(dataclasses.replace(LIMITS, departures=departures))
    present: dict[bytes, int] = {}
    lists: list[dict[bytes, ListEntry]] = [{} for _ in range(6)]
    readers = [rules.reader(None, local=True) for _ in range(6)]
    for action, n, seq in steps:
        who = PEOPLE[n]
        if action == "join":
            try:
                fields = rules.checked(RECORDS[n, seq], who.peer, who.name)
            except RemoteError:
                continue
            rules.join(RECORDS[n, seq], fields, who.peer, THERE)
            present[who.peer] = seq
        elif action == "leave":
            rules.leave(who.peer)
            present.pop(who.peer, None)
        else:
            read_all(rules, readers[n], lists[n])
    for reader, known in zip(readers, lists, strict=True):
        read_all(rules, reader, known)
        assert {peer: e.seq for peer, e in known.items()} == present
    assert len(rules) == len(present)


def test_a_mark_is_for_the_address_that_was_reached_while_it_holds() -> None:
    rules = directory()
    reached = endpoint("10.0.0.2", 4000)
    assert not rules.prove(BOB.peer, reached)
    join(rules, BOB)
    assert not rules.prove(BOB.peer, endpoint("10.0.0.2", 4001))
    before = rules.revision
    assert rules.prove(BOB.peer, reached)
    assert not rules.prove(BOB.peer, reached)
    assert rules.revision == before + 1
    join(rules, BOB, seq=2)
    assert not rules.prove(BOB.peer, reached)  # it is marked still
    rules.leave(BOB.peer)
    assert not rules.prove(BOB.peer, reached)
    join(rules, BOB, seq=3)
    assert rules.prove(BOB.peer, reached)


# --- restarts -----------------------------------------------------------------------------------


def test_after_a_restart_the_last_list_is_presumed_and_a_return_changes_nothing() -> None:
    before, after = directory(), Directory(b"f" * 16, LIMITS)
    join(before, CAROL)
    join(before, BOB, seq=3)
    after.restore(before.changed_since(-1))
    assert (len(after), after.presumed, after.revision) == (2, 2, before.revision)
    assert after.record_of(BOB.peer) == BOB.record(3)
    join(after, BOB, seq=3)
    assert (len(after), after.presumed, after.revision) == (2, 1, before.revision)
    assert after.expire_presumed(10) == 1
    assert (len(after), after.presumed, after.revision) == (1, 0, before.revision + 1)


def test_after_a_restart_an_older_record_is_still_an_older_one() -> None:
    before, after = directory(), Directory(b"f" * 16, LIMITS)
    join(before, CAROL, seq=5)
    before.leave(CAROL.peer)
    after.restore(before.changed_since(-1))
    assert (len(after), after.presumed) == (0, 0)
    with pytest.raises(RemoteError):
        join(after, CAROL, seq=4)


def test_what_changed_since_is_no_more_than_that() -> None:
    rules = directory()
    join(rules, CAROL)
    upto = rules.revision
    join(rules, BOB)
    rules.leave(BOB.peer)
    assert [(row.peer, row.entry, row.seq) for row in rules.changed_since(upto).rows] == [(BOB.peer, None, 1)]
    assert rules.changed_since(rules.revision).rows == []
