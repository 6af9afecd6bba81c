"""A pytest plugin that takes the effects of one row of a table away: ``-p tests.support.empty_row``.

``CHATNET_TEST_EMPTY_ROW`` names the row, as ``delivery:OPEN:STORED``, ``link_policy:LOST:LISTED`` or
``registration_policy:LOST``.  Campaign C19 uses it: whatever row is emptied, a village test has to fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from chatnet.core import delivery, link_policy, registration_policy

VARIABLE = "CHATNET_TEST_EMPTY_ROW"


def rows() -> Iterator[str]:
    """The names of all rows that do something."""
    for (phase, event), row in delivery.TABLE.items():
        if not isinstance(row, delivery.Nothing):
            yield f"delivery:{phase.name}:{event.name}"
    for (end, waiting), link_row in link_policy.TABLE.items():
        if link_row.action not in (link_policy.Action.NOTHING, link_policy.Action.STOP):
            yield f"link_policy:{end.name}:{waiting.name}"
    for registry_end, registry_row in registration_policy.TABLE.items():
        if registry_row.action not in (registration_policy.Action.NOTHING, registration_policy.Action.FINAL):
            yield f"registration_policy:{registry_end.name}"


def empty(name: str) -> None:
    """Take the effects of the row called ``name`` away, for this process."""
    table, *key = name.split(":")
    if table == "delivery":
        delivery.TABLE[delivery.Phase[key[0]], delivery.Input[key[1]]] = ()
    elif table == "link_policy":
        link_policy.TABLE[link_policy.End[key[0]], link_policy.Waiting[key[1]]] = link_policy.Row(
            link_policy.Action.NOTHING, link_policy.Cap.NONE, link_policy.Reason.NOTHING_WAITS
        )
    else:
        registration_policy.TABLE[registration_policy.RegistryEnd[key[0]]] = registration_policy.Row(
            registration_policy.Action.NOTHING, registration_policy.Reason.PROGRAM_STOPS
        )


if VARIABLE in os.environ:
    empty(os.environ[VARIABLE])
