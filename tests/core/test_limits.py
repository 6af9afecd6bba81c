"""Limits: each can be shown and changed, and they fit each other."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chatnet.core import limits
from chatnet.core.limits import LinkLimits, PeerLimits, RegistryLimits, UnknownLimit

ALL = [LinkLimits(), PeerLimits(), RegistryLimits()]


def numbers_of(some: LinkLimits) -> list[Any]:
    """The fields that are limits by themselves, and not the table of budgets."""
    return [item for item in dataclasses.fields(some) if item.name != "budgets"]


@pytest.mark.parametrize("some", ALL, ids=lambda some: type(some).__name__)
def test_every_limit_can_be_changed_by_its_name_and_no_other_changes(some: LinkLimits) -> None:
    for item in numbers_of(some):
        text = item.metadata["choices"][-1] if item.metadata["choices"] else "7"
        changed = some.changed(f"{item.name}={text}")
        assert str(getattr(changed, item.name)) in (text, "7.0")
        assert type(getattr(changed, item.name)) is type(getattr(some, item.name))
        assert dataclasses.replace(changed, **{item.name: getattr(some, item.name)}) == some


@pytest.mark.parametrize(
    "assignment",
    [
        "",
        "links",
        "links=",
        "=5",
        "no_such_limit=5",
        "links=many",
        "links=0",
        "links=-1",
        "links=1.5",
        "links.address=0",
        "links.nobody=5",
        "budgets=5",
        "transfers.all=5",
        "ping_seconds=nan",
        "ping_seconds=inf",
        "ping_seconds=0",
        "loopback=no",
        "loopback=on",
        "changed=5",
        "__class__=5",
    ],
)
def test_what_is_no_limit_is_said(assignment: str) -> None:
    with pytest.raises(ValueError, match=r"limit|NAME=VALUE|number|above 0|levels| or ") as caught:
        PeerLimits().changed(assignment)
    assert "--" not in str(caught.value)  # how a limit is given is for the command line to say


def test_a_name_that_is_close_to_a_limit_is_corrected() -> None:
    with pytest.raises(UnknownLimit, match=r"^there is no limit 'ping_second'\. Did you mean ping_seconds\?$"):
        PeerLimits().changed("ping_second=5")


def test_one_level_of_a_budget_can_be_changed() -> None:
    before = PeerLimits()
    after = before.changed("links.address=3").changed("requests=7")
    assert after.budgets.links == before.budgets.links._replace(address=3)
    assert after.budgets.requests == before.budgets.requests._replace(all=7)
    assert after.budgets.offers == before.budgets.offers


def test_each_budget_is_shown_with_its_shares_unit_and_reason() -> None:
    rows = [row for row in PeerLimits().rows() if row.startswith("links ")]
    assert rows == [
        f"{'links':<30} all 256, strangers 64, key 2, address 8 places: links; "
        "somebody known always gets in, and a quiet stranger's link is closed for them"
    ]


def test_a_limit_of_time_may_have_a_fraction() -> None:
    assert PeerLimits().changed("ping_seconds=0.5").ping_seconds == 0.5


@pytest.mark.parametrize("some", ALL, ids=lambda some: type(some).__name__)
def test_each_is_shown_with_its_value_and_its_reason(some: LinkLimits) -> None:
    rows, numbers = list(some.rows()), numbers_of(some)
    for row, item in zip(rows[: len(numbers)], numbers, strict=True):
        name, value, reason = row.split(maxsplit=2)
        assert (name, value) == (item.name, str(getattr(some, name)))
        assert len(reason) > 10
        assert "\n" not in row


@pytest.mark.parametrize("some", ALL, ids=lambda some: type(some).__name__)
def test_times_fit_each_other(some: LinkLimits) -> None:
    assert 2 * 1.2 * some.ping_seconds < some.silence_seconds  # one lost ping is no death
    assert some.close_seconds <= some.hello_seconds <= some.handshake_seconds


@pytest.mark.parametrize(
    ("asked", "files", "connections", "unauthenticated"),
    [
        ({}, 11_280, 10_000, 256),  # 10,000 + 3 x 256 + 64 + 256 + 192
        ({}, 11_279, 9_999, 256),
        ({}, 4_096, 3_074, 170),
        ({}, 1_024, 386, 42),
        ({}, 256, 1, 10),
        ({"connections": 100}, 1_024, 100, 42),
        ({"unauthenticated": 16}, 1_024, 464, 16),
        ({"unauthenticated": 2_000}, 16_512, 10_000, 2_000),
        ({"unauthenticated": 2_000}, 16_384, 10_000, 682),
    ],
)
def test_few_open_files_leave_less_room_for_strangers_first_and_then_for_peers(
    asked: dict[str, int], files: int, connections: int, unauthenticated: int
) -> None:
    given = RegistryLimits(**asked)  # type: ignore[arg-type]
    fitting = given.within(files)
    assert (fitting.connections, fitting.unauthenticated) == (connections, unauthenticated)
    assert fitting.files <= files or connections == 1
    assert (fitting is given) is (given.files <= files)


def test_a_page_of_the_list_fits_in_a_frame() -> None:
    assert limits.PAGE_BYTES < limits.MAX_FRAME
    assert limits.MAX_BODY_BYTES + 200 < limits.MAX_FRAME
    assert limits.MAX_FRAME_HELLO > limits.MAX_RECORD_BYTES + limits.MAX_FEATURES * (limits.MAX_FEATURE_CHARS + 1) + 400
    assert limits.MAX_PATH_PARTS * (limits.MAX_PATH_PART_BYTES + 3) + 100 < limits.MAX_FRAME
