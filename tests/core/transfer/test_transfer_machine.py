"""States, words, titles, pages and speed of transfers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core import messages
from chatnet.core.errors import RemoteError
from chatnet.core.events import ENDED, TransferState
from chatnet.core.framing import frame
from chatnet.core.limits import (
    MAX_FRAME,
    MAX_OFFER_BYTES,
    MAX_OFFER_FILES,
    MAX_OFFER_PAGE_FILES,
    MAX_PATH_PART_BYTES,
    PeerLimits,
)
from chatnet.core.messages import Accept, Offer, OfferedFile, Want
from chatnet.core.transfer.offers import (
    AcceptAssembly,
    OfferAssembly,
    Summary,
    accept_pages,
    clean_path,
    offer_pages,
    offered_bytes,
)
from chatnet.core.transfer.queue import Pace, Rate, has_turn
from chatnet.core.transfer.transfer_machine import Step, after, ending_of, reason_of
from tests.support.wire import decode

FID = bytes(16)
TOKEN = bytes(range(32))

parts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80).filter(
    lambda part: len(part.encode()) <= MAX_PATH_PART_BYTES
)
offered = st.builds(
    OfferedFile,
    st.lists(parts, min_size=1, max_size=6),
    st.integers(0, 2**40),
    st.integers(0, 2**42),
)


def title(*paths: str) -> str:
    summary = Summary()
    for path in paths:
        summary.add(OfferedFile(path.split("/"), 1, 0))
    return summary.title


def through_the_wire(message: messages.Message) -> messages.Message:
    body = messages.encode(message)
    assert len(frame(body)) <= MAX_FRAME
    return decode(messages.ROLE_CHAT, body)


# --- states ---


def test_the_good_way_leads_to_done() -> None:
    state: TransferState | None = TransferState.OFFERED
    for step in (Step.ACCEPTED, Step.STARTED, Step.COMPLETE, Step.VERIFIED):
        assert state is not None
        state = after(state, step)
    assert state is TransferState.DONE


def test_whatever_is_open_can_be_cancelled_and_can_fail() -> None:
    for state in set(TransferState) - ENDED:
        assert after(state, Step.CANCELLED) is TransferState.CANCELLED
        assert after(state, Step.FAILED) is TransferState.FAILED


def test_nothing_moves_what_has_ended() -> None:
    assert [after(state, step) for state, step in itertools.product(ENDED, Step)] == [None] * len(ENDED) * len(Step)


def test_an_answer_that_comes_twice_changes_nothing() -> None:
    assert after(TransferState.QUEUED, Step.ACCEPTED) is None
    assert after(TransferState.RUNNING, Step.DECLINED) is None


# --- words ---


@pytest.mark.parametrize(
    ("code", "sender", "receiver"),
    [
        (messages.CHANGED, "a file changed while it was sent: send it again", "a file changed there"),
        (messages.NO_SPACE, "too little space on their disk", "too little space on this disk"),
        (messages.DECLINED, "they refused it", "you refused it"),
        (messages.DIGEST, "it arrived damaged", "what arrived is not what was sent"),
        (messages.LOST, "the connection broke", "the connection broke"),
    ],
)
def test_each_side_reads_its_own_words(code: str, sender: str, receiver: str) -> None:
    for by_me in (True, False):
        assert reason_of(code, True, by_me).startswith(sender)
        assert reason_of(code, False, by_me).startswith(receiver)


def test_a_cancel_says_who() -> None:
    assert reason_of(messages.USER, True, True) == "you cancelled it"
    assert reason_of(messages.USER, True, False) == "they cancelled it"
    assert ending_of(messages.USER) is Step.CANCELLED
    assert ending_of(messages.CHANGED) is Step.FAILED


def test_an_unknown_code_has_words_too() -> None:
    assert reason_of("moon-phase", False, False) == "they ended it (moon-phase)"
    assert reason_of("", False, False) == ""


# --- titles ---


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["video.mkv"], "video.mkv"),
        (["photos/a.jpg"], "photos/ (1)"),
        (["photos/a.jpg", "photos/x/b.jpg"], "photos/ (2)"),
        (["a.txt", "b.txt", "c.txt"], "a.txt and 2 more"),
        (["photos/a.jpg", "photos/b.jpg", "c.txt"], "photos/ and 1 more"),
        (["\x1b[31m../evil\u202egpj.exe"], "evilgpj.exe"),
    ],
)
def test_titles(paths: list[str], expected: str) -> None:
    if "/evil" in paths[0]:
        summary = Summary()
        summary.add(OfferedFile(paths, 1, 0))
        assert summary.title == expected
        assert "program" in summary.warning
        assert "hidden" in summary.warning
    else:
        assert title(*paths) == expected


def test_a_plain_name_has_no_warning_and_a_program_has() -> None:
    for name, warned in (("holiday 1.jpg", False), ("run.exe", True), ("notes", False), ("a\u200b.txt", True)):
        summary = Summary()
        summary.add(OfferedFile([name], 1, 0))
        assert bool(summary.warning) is warned, name


@given(st.lists(st.text(min_size=1), min_size=1, max_size=32))
def test_no_offered_path_leaves_the_folder(path: list[str]) -> None:
    for part in clean_path(path):
        assert part not in ("", ".", "..")
        assert not set(part) & set("/\\\0")
        assert len(part.encode()) <= 180


# --- pages ---


@given(st.lists(offered, min_size=1, max_size=60))
def test_an_offer_survives_its_pages(files: list[OfferedFile]) -> None:
    assembly = OfferAssembly(FID)
    whole = [assembly.add(page) for page in map(through_the_wire, offer_pages(FID, files)) if isinstance(page, Offer)]
    assert whole == [False] * (len(whole) - 1) + [True]
    assert assembly.files == files
    assert assembly.summary.size == sum(file.size for file in files)


def test_pages_are_cut_by_bytes_and_by_count() -> None:
    short = [OfferedFile(["a"], 0, 0)] * (2 * MAX_OFFER_PAGE_FILES)
    assert [len(page.files) for page in offer_pages(FID, short)] == [MAX_OFFER_PAGE_FILES] * 2
    long = [OfferedFile(["ü" * 127] * 32, 2**53, 2**53)] * 20
    pages = list(offer_pages(FID, long))
    assert sum(len(page.files) for page in pages) == 20
    assert len(pages) > 2
    for page in pages:
        through_the_wire(page)


@given(st.sets(st.integers(0, 2999), max_size=2500), st.integers(0, 7))
def test_an_answer_survives_its_pages(indexes: set[int], offset: int) -> None:
    files = [OfferedFile(["a"], 7, 0)] * 3000
    wants = [Want(index, offset) for index in sorted(indexes)]
    assembly = AcceptAssembly(files)
    pages = [page for page in map(through_the_wire, accept_pages(FID, TOKEN, wants)) if isinstance(page, Accept)]
    assert [assembly.add(page) for page in pages][-1] is True
    assert assembly.wants == wants
    assert assembly.token == TOKEN


@pytest.mark.parametrize("wants", [[Want(2, 0)], [Want(1, 0), Want(0, 0)], [Want(0, 0), Want(0, 0)], [Want(0, 8)]])
def test_an_answer_to_something_else_is_an_error(wants: list[Want]) -> None:
    assembly = AcceptAssembly([OfferedFile(["a"], 7, 0)] * 2)
    with pytest.raises(RemoteError):
        assembly.add(Accept(FID, TOKEN, wants, False))


def test_order_holds_over_pages_and_the_token_stays() -> None:
    assembly = AcceptAssembly([OfferedFile(["a"], 7, 0)] * 3)
    assert not assembly.add(Accept(FID, TOKEN, [Want(1, 0)], True))
    with pytest.raises(RemoteError):
        assembly.add(Accept(FID, TOKEN, [Want(1, 0)], False))
    with pytest.raises(RemoteError):
        assembly.add(Accept(FID, bytes(32), [Want(2, 0)], False))


def test_an_offer_is_bounded_in_files_and_in_bytes() -> None:
    page = Offer(FID, [OfferedFile(["a"], 0, 0)] * MAX_OFFER_PAGE_FILES, True)
    assembly = OfferAssembly(FID)
    for _ in range(MAX_OFFER_FILES // MAX_OFFER_PAGE_FILES):
        assembly.add(page)
    with pytest.raises(RemoteError, match="may hold"):
        assembly.add(page)
    long = Offer(FID, [OfferedFile(["n" * 255] * 32, 0, 0)] * 7, True)
    assembly = OfferAssembly(FID)
    for _ in range(MAX_OFFER_BYTES // offered_bytes(long.files[0]) // 7):
        assembly.add(long)
    with pytest.raises(RemoteError, match="may hold"):
        assembly.add(long)


def test_sizes_that_add_up_to_nonsense_are_refused() -> None:
    with pytest.raises(RemoteError):
        OfferAssembly(FID).add(Offer(FID, [OfferedFile(["a"], 2**53, 0)] * 2, False))


# --- speed and turns ---


def test_speed_is_that_of_the_last_seconds() -> None:
    rate = Rate(100.0)
    assert rate.per_second is None
    assert rate.seconds_left(10) is None
    for second in range(1, 11):
        rate.mark(100.0 + second, second * 1000)
    assert rate.per_second == pytest.approx(1000)
    assert rate.seconds_left(5000) == pytest.approx(5)
    for second in range(11, 31):
        rate.mark(100.0 + second, 10_000)
    assert rate.per_second == 0
    assert rate.seconds_left(1) is None


def test_speed_holds_few_marks() -> None:
    rate = Rate(0.0)
    for tick in range(10_000):
        rate.mark(tick / 4, tick)
    assert len(rate._marks) < 30


def test_turns_are_counted_for_each_and_for_all() -> None:
    limits = PeerLimits(transfers_per_peer=2, transfers=3)
    a, b, c = b"a", b"b", b"c"
    assert has_turn(a, [a], limits)
    assert not has_turn(a, [a, a], limits)
    assert has_turn(b, [a, a], limits)
    assert not has_turn(c, [a, a, b], limits)


# --- breaking off, and limits ---


@pytest.mark.parametrize("state", [TransferState.QUEUED, TransferState.RUNNING, TransferState.CHECKING])
def test_what_breaks_off_or_is_held_begins_anew_at_its_turn(state: TransferState) -> None:
    for step, rest in ((Step.BROKEN, TransferState.BROKEN), (Step.PAUSED, TransferState.PAUSED)):
        assert after(state, step) is rest
        assert after(rest, Step.RESUMED) is TransferState.QUEUED
        assert after(rest, Step.VERIFIED) is TransferState.DONE
    assert after(TransferState.PAUSED, Step.BROKEN) is TransferState.BROKEN


def test_an_offer_without_an_answer_does_not_break_off() -> None:
    assert after(TransferState.OFFERED, Step.BROKEN) is None
    assert after(TransferState.OFFERED, Step.PAUSED) is None
    assert after(TransferState.OFFERED, Step.VERIFIED) is None


@given(st.integers(1_000, 10**9), st.lists(st.integers(1, 100_000), min_size=2, max_size=50))
def test_a_limit_is_kept_over_any_sequence(rate: int, chunks: list[int]) -> None:
    pace, now = Pace(), 100.0
    pace.rate = rate
    for chunk in chunks:
        now += pace.delay(now)
        pace.spend(now, chunk)
    # All but the last were paid for before it went, less what a rest lets through at once.
    assert sum(chunks[:-1]) <= rate * (now - 100.0 + 0.1) * 1.001 + 1


def test_a_limit_that_is_lifted_forgets_its_debt() -> None:
    pace = Pace()
    pace.rate = 10
    pace.spend(0.0, 1_000)
    assert pace.delay(0.0) > 90
    pace.rate = None
    assert pace.delay(0.0) == 0
    pace.rate = 10
    assert pace.delay(0.0) == 0
