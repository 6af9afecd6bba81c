"""Which names a peer may claim."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core.names import RESERVED_NAMES, is_valid_name, why_not_a_name


@given(st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,30}[a-z0-9])?", fullmatch=True))
def test_names_by_the_grammar(name: str) -> None:
    assert is_valid_name(name) == (name not in RESERVED_NAMES)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-a",
        "a-",
        "_a",
        "a_",
        "A",
        "a b",
        "a.b",
        "a" * 33,
        "carol\n",
        "\ncarol",
        "carоl",
        "ｃarol",
        "é",
        *sorted(RESERVED_NAMES),
    ],
)
def test_names_that_nobody_may_have(name: str) -> None:
    assert not is_valid_name(name)
    reason = why_not_a_name(name)
    assert "is reserved" in reason if name in RESERVED_NAMES else "cannot be a name" in reason
    assert reason.isprintable()


def test_the_words_for_a_name_that_cannot_be() -> None:
    assert why_not_a_name("carol-2") == ""
    assert why_not_a_name("x y") == (
        "'x y' cannot be a name: 1 to 32 of a-z, 0-9, - and _, beginning and ending with a letter or digit."
    )
    assert why_not_a_name("admin") == "'admin' is reserved. Choose another name."
