"""Every end of an attempt at the registry, or of the link to it, has its answer."""

from __future__ import annotations

import pytest

from chatnet.core import messages
from chatnet.core.errors import Refused, RemoteError, StoreFailed, Unreachable, WrongKey
from chatnet.core.registration_policy import (
    CODES,
    TABLE,
    Action,
    Reason,
    RegistryEnd,
    attempt_end,
    next_step,
    registry_end,
)
from tests.core.test_link_policy import error_codes

LAST_ROWS = [
    pytest.param(end, row.reason, id=f"{end.name}: {row.reason.value}")
    for end, row in TABLE.items()
    if row.action in (Action.FINAL, Action.NOTHING)
]


def longest(low: float, high: float) -> float:
    return high


def test_the_table_is_total() -> None:
    assert set(TABLE) == set(RegistryEnd)
    assert {end for end in RegistryEnd} - set(CODES.values()) == {
        RegistryEnd.FOREIGN,
        RegistryEnd.UNKNOWN_CODE,
        RegistryEnd.ELSEWHERE,
        RegistryEnd.STORE_FAILED,
    }


@pytest.mark.parametrize(("end", "reason"), LAST_ROWS)
def test_the_tries_end_only_where_another_would_change_nothing(end: RegistryEnd, reason: Reason) -> None:
    assert {
        Reason.ANSWER_STANDS: {
            RegistryEnd.NAME_TAKEN,
            RegistryEnd.KEY_BOUND,
            RegistryEnd.BAD_NAME,
            RegistryEnd.VERSION,
        },
        Reason.KEY_DIFFERS: {RegistryEnd.WRONG_KEY},
        Reason.TWO_INSTANCES: {RegistryEnd.ELSEWHERE},
        Reason.PROGRAM_STOPS: {RegistryEnd.CANCELLED},
    }[reason] >= {end}
    assert next_step(end, 3, 100, 60, longest).seconds == 0


@pytest.mark.parametrize("end", [end for end, row in TABLE.items() if row.action not in (Action.FINAL, Action.NOTHING)])
def test_everything_else_is_tried_again(end: RegistryEnd) -> None:
    assert next_step(end, 0, 100, 0, longest).seconds == 1
    assert 1 < next_step(end, 50, 100, 0, longest).seconds <= 30


@pytest.mark.parametrize("end", [end for end, row in TABLE.items() if row.action in (Action.OBEY, Action.NEWER_RECORD)])
def test_the_registry_is_obeyed(end: RegistryEnd) -> None:
    assert next_step(end, 3, 100, 60, longest).seconds == pytest.approx(72)


@pytest.mark.parametrize("code", sorted(error_codes()))
def test_every_code_of_the_protocol_has_a_row_of_its_own(code: str) -> None:
    assert registry_end(code, again=False) is not RegistryEnd.UNKNOWN_CODE


def test_foreign_exceptions_do_not_end_the_tries() -> None:
    """Fault A10: a lack of file descriptors ended the loop."""
    assert attempt_end(OSError(24, "too many open files")) is RegistryEnd.FOREIGN
    assert attempt_end(KeyError("a defect")) is RegistryEnd.FOREIGN
    assert TABLE[RegistryEnd.FOREIGN].action is Action.RETRY


def test_how_attempts_fail() -> None:
    assert attempt_end(WrongKey("", b"")) is RegistryEnd.WRONG_KEY
    assert attempt_end(StoreFailed("store", "")) is RegistryEnd.STORE_FAILED
    assert attempt_end(Unreachable("connection-refused", "")) is RegistryEnd.UNREACHABLE
    assert attempt_end(RemoteError(messages.BAD_FRAME, "")) is RegistryEnd.BAD_FRAME
    assert attempt_end(Refused(messages.BAD_RECORD, "")) is RegistryEnd.BAD_RECORD
    assert attempt_end(Refused("full-moon", "")) is RegistryEnd.UNKNOWN_CODE
    assert TABLE[RegistryEnd.BAD_RECORD].action is Action.NEWER_RECORD


def test_the_second_replacement_ends_the_tries() -> None:
    assert TABLE[registry_end(messages.REPLACED, again=False)].action is Action.OBEY
    assert registry_end(messages.REPLACED, again=True) is RegistryEnd.ELSEWHERE
    assert registry_end("lost", again=True) is RegistryEnd.LOST
