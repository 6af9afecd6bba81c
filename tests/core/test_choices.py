"""Which of several values of a setting holds."""

from __future__ import annotations

import pytest

from chatnet.core.choices import Choice


@pytest.mark.parametrize(
    ("told", "kept", "value"),
    [(None, None, "usual"), (None, "kept", "kept"), ("told", None, "told"), ("told", "kept", "told")],
)
def test_the_start_wins_over_what_was_kept_and_that_over_the_file(
    told: str | None, kept: str | None, value: str
) -> None:
    assert Choice(told, "usual", kept).value == value


def test_a_choice_holds_at_once_and_a_start_that_is_told_takes_it_back() -> None:
    choice = Choice("told", "usual")
    assert choice.lasts
    choice.choose("chosen")
    assert (choice.value, choice.lasts) == ("chosen", False)
    choice.choose("told")
    assert (choice.value, choice.lasts) == ("told", True)
    choice.choose(None)
    assert (choice.value, choice.lasts) == ("usual", False)


def test_without_a_word_at_the_start_a_choice_lasts() -> None:
    choice: Choice[str] = Choice(None, "usual", "kept")
    choice.choose("chosen")
    assert (choice.value, choice.kept, choice.lasts) == ("chosen", "chosen", True)
    choice.choose(None)
    assert (choice.value, choice.kept, choice.lasts) == ("usual", None, True)
