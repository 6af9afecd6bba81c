"""Rows of text as they look."""

from __future__ import annotations

import pytest

from chatnet.console.widgets.text import Row, Rule, cut, line, two_sided
from chatnet.console.widgets.theme import ASCII
from chatnet.core.text import safe_text


def looks(canvas: object) -> list[str]:
    return [b"".join(text for _, _, text in row).decode() for row in canvas.content()]  # type: ignore[attr-defined]


def attributes(canvas: object) -> list[tuple[object, str]]:
    (row,) = canvas.content()  # type: ignore[attr-defined]
    return [(attribute, text.decode()) for attribute, _, text in row]


@pytest.mark.parametrize(
    ("row", "rows"),
    [
        (Row("", 1, "hello world"), [" hello    ", " world    "]),
        (Row("ab ", 3, "hello wide"), ["ab hello  ", "   wide   "]),
        (Row("ab ", 3, "one\n\ntwo"), ["ab one    ", "          ", "   two    "]),
        (Row("much too long ", 14, "end"), ["much end  "]),
        (Row("a", 4, ""), ["a         "]),
        (Row("", 0, "你好你好你好"), ["你好你好你", "好        "]),
        (Row("✓ ", 2, "e\u0301👍🏽 family"), ["✓ e\u0301👍🏽     ", "  family  "]),
    ],
)
def test_later_lines_stand_below_the_first(row: Row, rows: list[str]) -> None:
    assert looks(row.canvas(10)) == rows
    assert row.canvas(10) is row.canvas(10)


def test_a_row_is_never_wider_than_its_text_may_be() -> None:
    assert looks(Row("", 2, "x" * 150).canvas(140))[0] == "  " + "x" * 100 + " " * 38


def test_a_line_is_cut_and_filled_and_keeps_its_looks() -> None:
    assert attributes(line([("key", "F1"), " help"], 10, "footer")) == [("key", "F1"), ("footer", " help   ")]
    assert looks(line("你好你", 5)) == ["你好 "]
    assert looks(line("one\ntwo", 5)) == ["one  "]
    assert looks(line("", 3)) == ["   "]
    assert looks(two_sided("a long left side", "right", 12)) == ["a long right"]


def test_a_rule_has_its_label_and_its_number() -> None:
    assert looks(Rule("new", ASCII, "3").canvas(14)) == ["- new ---- 3 -"]
    assert cut("abcdef", 4, ASCII) == "a..."


def test_a_text_that_urwid_measures_in_two_ways_stays_behind_its_prefix() -> None:
    odd = safe_text("x y \u137c\u2cea\u2a1b\u106a\u29da\u2228\u1538\u16ed\u209b\u15e2\xac\xc8\x8d\xee" * 3)
    for cols in range(2, 80):
        first, *later = looks(Row("11:06 bob ", 10, odd).canvas(cols))
        indent = min(10, cols // 2)
        assert first.startswith("11:06 bob "[:indent].rstrip())
        assert all(row.startswith(" " * indent) for row in later)
