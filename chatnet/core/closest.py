"""The known word that is closest to what somebody typed, for "Did you mean ...?"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

MOST_COMPARED = 10_000  # a folder may hold a million names


def closest_match(word: str, known: Iterable[str]) -> str:
    """Return the word of ``known`` that is closest to ``word``; empty when none is close."""
    near = difflib.get_close_matches(word, tuple(islice(known, MOST_COMPARED)), n=1)
    return near[0] if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return the closest match as a sentence behind a blank, `` Did you mean X?``; empty when none is close."""
    near = closest_match(word, known)
    return f" Did you mean {near}?" if near else ""
