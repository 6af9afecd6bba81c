"""Guesses at what was meant."""

from __future__ import annotations

from itertools import count

from chatnet.core.closest import MOST_COMPARED, closest_match, did_you_mean


def test_the_closest_known_word() -> None:
    assert closest_match("regsitry", ("name", "registry", "registries")) == "registry"
    assert closest_match("zzz", ("registry",)) == ""
    assert closest_match("zzz", ()) == ""


def test_as_a_sentence() -> None:
    assert did_you_mean("regsitry", ("registry", "name")) == " Did you mean registry?"
    assert did_you_mean("zzz", ("registry",)) == ""


def test_no_more_words_than_that_are_compared() -> None:
    words = (f"{n:08x}" for n in count())
    assert closest_match("0000000g", words)
    assert next(words) == f"{MOST_COMPARED:08x}"
