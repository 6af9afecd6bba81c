"""The tables of section 9 in ``docs/protocol.md`` are those of the machines."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chatnet.core.transfer import transfer_events as ev
from chatnet.core.transfer.incoming import IncomingTransfer
from chatnet.core.transfer.outgoing import OutgoingTransfer

DOCS = Path(__file__).parents[3] / "docs"
WORDS = {kind for kind in ev.INPUTS if kind.__name__.startswith("Heard")}


def loaded() -> ModuleType:
    """``docs/make_transfer_tables.py``, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("make_transfer_tables", DOCS / "make_transfer_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


TABLES = loaded()


def test_the_document_has_the_tables_as_they_are_today() -> None:
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    assert TABLES.with_tables(text) == text


def test_a_table_that_has_no_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="sender-hears"):
        TABLES.with_tables("nothing")


@pytest.mark.parametrize(
    ("kind", "happenings"),
    [(OutgoingTransfer, TABLES.FROM_RECEIVER), (IncomingTransfer, TABLES.FROM_SENDER)],
    ids=["sender", "receiver"],
)
def test_every_word_of_the_other_side_has_an_answer_in_every_state(kind: Any, happenings: list[Any]) -> None:
    everywhere = {state.name for state in TABLES.states(kind)}
    answered: dict[type[ev.Input], set[str]] = {}
    for happening in happenings:
        states = set(happening.only) or everywhere
        assert states <= everywhere
        answered.setdefault(type(happening.event), set()).update(states)
    assert answered == {word: everywhere for word in WORDS if word in answered}
    # What only the other kind of side says has one row at most: it is ignored.
    ignored = {word for word in WORDS - answered.keys()}
    for word in ignored:
        assert all(not callable(kind.TABLE[phase, word]) for phase in kind.PHASES)


def test_every_state_of_both_sides_has_a_name_of_its_own() -> None:
    for kind, count in ((OutgoingTransfer, 12), (IncomingTransfer, 16)):
        assert len({state.name for state in TABLES.states(kind)}) == count


def test_a_row_shows_everything_that_goes_over_the_wire() -> None:
    """An effect of a new kind is either shown, or known to stay at this side."""
    at_this_side = {ev.Arm, ev.Disarm, ev.Persist, ev.Tell, ev.StopRun, ev.FreeTurn, ev.AskTurn, ev.StartSending}
    at_this_side |= {
        ev.LetOffer,
        ev.LookAtFiles,
        ev.StartReceiving,
        ev.RemoveParts,
        ev.LookForSpace,
        ev.Objection,
        ev.Confirm,
    }
    shown = {ev.Send, ev.SendOffer, ev.SendAccept, ev.SayVerified, ev.DialFile, ev.LeaveLink, ev.RefuseLink}
    shown |= {ev.OpenDownload, ev.Retry, ev.Contact}
    assert set(ev.EFFECTS) == at_this_side | shown
