"""Every end of a dial or a link has its answer, and of two links the right one stays."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from chatnet.core import link_policy, messages
from chatnet.core.errors import LocalError, Refused, RemoteError, StoreFailed, Unreachable, WrongKey
from chatnet.core.limits import REPLACEMENTS_SECONDS, PeerLimits
from chatnet.core.link_policy import (
    ADMISSION,
    DIAL_CODES,
    LOCAL_CODES,
    OPENING,
    REMOTE_CODES,
    TABLE,
    Action,
    Cap,
    End,
    LinkFacts,
    Present,
    Proof,
    Reason,
    Replacements,
    Step,
    Verdict,
    Waiting,
    dial_end,
    link_end,
    next_step,
    relation,
)

LIMITS = PeerLimits()
SOMETHING = (Waiting.UNLISTED, Waiting.LISTED)
IDLE_ROWS = [
    pytest.param(end, waiting, row.reason, id=f"{end.name}-{waiting.name}: {row.reason.value}")
    for (end, waiting), row in TABLE.items()
    if row.action in (Action.NOTHING, Action.STOP)
]


def longest(low: float, high: float) -> float:
    return high


def caps(cap: Cap) -> float:
    return float(getattr(LIMITS, cap.value)) if cap is not Cap.NONE else 0.0


def step(end: End, waiting: Waiting, failures: int = 0, retry_after_s: float = 0) -> Step:
    return next_step(end, waiting, failures, retry_after_s, caps, longest)


def error_codes() -> set[str]:
    """The codes of ERROR in ``messages``: those between its comments ``# error`` and ``# nack``."""
    source = Path(messages.__file__).read_text()
    section = source[source.index("\n# error\n") : source.index("\n# nack\n")]
    return {node.value.value for node in ast.parse(section).body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]


# --- what happens next --------------------------------------------------------------------------


def test_the_table_is_total() -> None:
    assert set(TABLE) == {(end, waiting) for end in End for waiting in Waiting}


@pytest.mark.parametrize(("end", "waiting", "reason"), IDLE_ROWS)
def test_a_row_after_which_nothing_is_tried_has_a_good_reason(end: End, waiting: Waiting, reason: Reason) -> None:
    allowed = {
        Reason.NOTHING_WAITS: waiting is Waiting.NOTHING,
        Reason.PROGRAM_STOPS: end is End.CANCELLED,
        Reason.TWO_INSTANCES: end is End.ELSEWHERE,
    }
    assert allowed[reason]


@pytest.mark.parametrize("end", [end for end in End if end not in (End.CANCELLED, End.ELSEWHERE)])
@pytest.mark.parametrize("waiting", SOMETHING)
def test_whatever_ends_while_something_waits_is_followed_by_another_try(end: End, waiting: Waiting) -> None:
    row = TABLE[end, waiting]
    assert row.action in (Action.REDIAL, Action.OBEY, Action.USE_LINK)
    assert 0 < step(end, waiting).seconds <= 2
    assert 0 < step(end, waiting, failures=30).seconds <= LIMITS.retry_cap_seconds


@pytest.mark.parametrize("end", list(End))
def test_a_listed_person_is_tried_within_twenty_seconds_unless_no_try_can_help(end: End) -> None:
    row = TABLE[end, Waiting.LISTED]
    if row.reason is Reason.NO_REMEDY:
        assert step(end, Waiting.LISTED, failures=30).seconds == 900
    elif row.action in (Action.REDIAL, Action.OBEY, Action.USE_LINK):
        assert step(end, Waiting.LISTED, failures=30).seconds == 20
        assert step(end, Waiting.UNLISTED, failures=30).seconds == 900


def test_a_replaced_link_is_followed_by_another_try() -> None:
    """Fault A1: this end of a link was answered by no rule."""
    for end in (End.REPLACED_BY_OTHER, End.REFUSED_AS_REPLACED, End.REPLACED_BY_US):
        assert step(end, Waiting.LISTED) == Step(Action.USE_LINK, Reason.OTHER_LINK, 2.0)
    assert step(link_end(messages.NOT_EXPECTED, by_remote=True), Waiting.LISTED).action is Action.REDIAL


@pytest.mark.parametrize("end", [end for end in End if TABLE[end, Waiting.LISTED].action is Action.OBEY])
def test_the_other_side_is_obeyed(end: End) -> None:
    for waiting in SOMETHING:
        assert step(end, waiting, retry_after_s=60).seconds == pytest.approx(72)
        assert step(end, waiting, failures=30, retry_after_s=1).seconds == (20 if waiting is Waiting.LISTED else 900)


def test_the_wait_grows() -> None:
    waits = [step(End.UNREACHABLE, Waiting.LISTED, failures).seconds for failures in range(7)]
    assert waits == [2, 4, 8, 16, 20, 20, 20]


@pytest.mark.parametrize("code", sorted(error_codes()))
def test_every_code_of_the_protocol_has_a_row_of_its_own(code: str) -> None:
    assert code in DIAL_CODES
    assert code in REMOTE_CODES
    assert code in LOCAL_CODES


def test_every_code_that_a_link_gives_itself_has_a_row() -> None:
    """The codes in ``LinkEnd(...)`` and ``Unreachable(...)`` all over the program."""
    root = Path(link_policy.__file__).parent.parent
    for place in [*root.glob("net/*.py"), *root.glob("peer/links/*.py")]:
        for call in ast.walk(ast.parse(place.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args:
                code = call.args[0].value if isinstance(call.args[0], ast.Constant) else None
                if call.func.id == "LinkEnd" and code is not None:
                    assert code in LOCAL_CODES | REMOTE_CODES, (place, code)
                if call.func.id in ("Unreachable", "TooSoon") and code is not None:
                    assert code in DIAL_CODES, (place, code)


def test_codes_of_the_future_and_foreign_exceptions_have_rows_of_their_own() -> None:
    assert dial_end(Refused("full-moon", "")) is End.UNKNOWN_CODE
    assert link_end("full-moon", by_remote=True) is End.UNKNOWN_CODE
    assert link_end("full-moon", by_remote=False) is End.UNKNOWN_CODE
    assert dial_end(OSError(24, "too many open files")) is End.FOREIGN
    assert dial_end(LocalError("odd", "")) is End.FOREIGN
    assert dial_end(StoreFailed("store", "")) is End.FOREIGN


def test_the_errors_of_a_dial() -> None:
    assert dial_end(WrongKey("", b"")) is End.WRONG_KEY
    assert dial_end(Unreachable("timed-out", "")) is End.UNREACHABLE
    assert dial_end(Unreachable("stopped", "")) is End.CANCELLED
    assert dial_end(RemoteError(messages.BAD_FRAME, "")) is End.BAD_FRAME
    assert dial_end(Refused(messages.REPLACED, "")) is End.REFUSED_AS_REPLACED


def test_a_replaced_link_knows_by_whom() -> None:
    assert link_end(messages.REPLACED, by_remote=True) is End.REPLACED_BY_OTHER
    assert link_end(messages.REPLACED, by_remote=False) is End.REPLACED_BY_US


# --- which of two stays -------------------------------------------------------------------------

ONE, OTHER = b"1" * 16, b"2" * 16


def test_the_tables_of_two_links_are_total() -> None:
    assert set(ADMISSION) == {(present, proof) for present in Present for proof in Proof}
    assert set(OPENING) == set(Present)


@pytest.mark.parametrize("present", list(Present))
def test_a_mute_link_always_gives_way_to_a_proven_one(present: Present) -> None:
    """Fault A11."""
    assert ADMISSION[present, Proof.MUTE] is Verdict.TAKE


@pytest.mark.parametrize("present", list(Present))
def test_one_that_was_asked_is_not_asked_again(present: Present) -> None:
    assert ADMISSION[present, Proof.ANSWERS] is not Verdict.ASK


def test_only_where_the_old_link_would_stay_it_is_asked() -> None:
    for present in Present:
        asks = ADMISSION[present, Proof.UNASKED] is Verdict.ASK
        assert asks is (ADMISSION[present, Proof.ANSWERS] is Verdict.KEEP)


def test_how_two_links_relate() -> None:
    mine, theirs = LinkFacts(ONE, dialled=True), LinkFacts(ONE, dialled=False)
    assert relation(None, theirs, True) is Present.ABSENT
    assert relation(LinkFacts(OTHER, dialled=True), theirs, True) is Present.OTHER_INSTANCE
    assert relation(theirs, theirs, True) is Present.SAME_WAY
    assert relation(mine, mine, False) is Present.SAME_WAY
    assert relation(mine, theirs, True) is Present.CROSSED_OLD_STAYS
    assert relation(mine, theirs, False) is Present.CROSSED_NEW_STAYS
    assert relation(theirs, mine, True) is Present.CROSSED_NEW_STAYS
    assert relation(theirs, mine, False) is Present.CROSSED_OLD_STAYS


@pytest.mark.parametrize("mine_is_smaller", [True, False])
def test_both_sides_keep_the_same_of_two_crossing_links(mine_is_smaller: bool) -> None:
    """Both links were welcomed before either side saw the other: each side opens them in its own order."""

    def survivor(smaller: bool, order: tuple[bool, bool]) -> bool:
        """Whether the link that stays was dialled by this side."""
        first, second = (LinkFacts(ONE, dialled) for dialled in order)
        verdict = OPENING[relation(first, second, smaller)]
        return second.dialled if verdict is Verdict.TAKE else first.dialled

    for here in ((True, False), (False, True)):
        for there in ((True, False), (False, True)):
            assert survivor(mine_is_smaller, here) is not survivor(not mine_is_smaller, there)
            assert survivor(mine_is_smaller, here) is mine_is_smaller


# --- two instances of one key -------------------------------------------------------------------


def test_the_second_replacement_within_ten_minutes_is_one_too_many() -> None:
    replacements = Replacements()
    assert not replacements.add(b"bob", 100.0)
    assert replacements.add(b"bob", 100.0 + REPLACEMENTS_SECONDS - 1)


def test_old_replacements_and_those_of_others_do_not_count() -> None:
    replacements = Replacements()
    assert not replacements.add(b"bob", 100.0)
    assert not replacements.add(b"eve", 110.0)
    assert not replacements.add(b"bob", 100.0 + REPLACEMENTS_SECONDS)


def test_who_takes_the_place_back_begins_anew() -> None:
    replacements = Replacements()
    replacements.add(b"bob", 100.0)
    replacements.clear()
    assert not replacements.add(b"bob", 101.0)
    assert replacements.add(b"bob", 102.0)
