"""Limits: each can be shown and changed, and they fit each other."""

from __future__ import annotations

import dataclasses

import pytest

from chatnet.core import limits
from chatnet.core.limits import LinkLimits, PeerLimits, RegistryLimits

ALL = [LinkLimits(), PeerLimits(), RegistryLimits()]


@pytest.mark.parametrize("some", ALL, ids=lambda some: type(some).__name__)
def test_every_limit_can_be_changed_by_its_name_and_no_other_changes(some: LinkLimits) -> None:
    for item in dataclasses.fields(some):
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
    with pytest.raises(ValueError, match="--limit"):
        PeerLimits().changed(assignment)


def test_a_limit_of_time_may_have_a_fraction() -> None:
    assert PeerLimits().changed("ping_seconds=0.5").ping_seconds == 0.5


@pytest.mark.parametrize("some", ALL, ids=lambda some: type(some).__name__)
def test_each_is_shown_with_its_value_and_its_reason(some: LinkLimits) -> None:
    rows = list(some.rows())
    for row, item in zip(rows, dataclasses.fields(some), strict=True):
        name, value, reason = row.split(maxsplit=2)
        assert (name, value) == (item.name, str(getattr(some, name)))
        assert len(reason) > 10
        assert "\n" not in row


@pytest.mark.parametrize("some", ALL, ids=lambda some: type(some).__name__)
def test_times_fit_each_other(some: LinkLimits) -> None:
    assert 2 * 1.2 * some.ping_seconds < some.silence_seconds  # one lost ping is no death
    assert some.close_seconds <= some.hello_seconds <= some.handshake_seconds


def test_a_page_of_the_list_fits_in_a_frame() -> None:
    assert limits.PAGE_BYTES < limits.MAX_FRAME
    assert limits.MAX_BODY_BYTES + 200 < limits.MAX_FRAME
    assert limits.MAX_FRAME_HELLO > limits.MAX_RECORD_BYTES + limits.MAX_FEATURES * (limits.MAX_FEATURE_CHARS + 1) + 400
    assert limits.MAX_PATH_PARTS * (limits.MAX_PATH_PART_BYTES + 3) + 100 < limits.MAX_FRAME
