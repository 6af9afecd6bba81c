"""Rows of text as they look."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import wcwidth
from hypothesis import given
from hypothesis import strategies as st

from chatnet.console.widgets.text import (
    Row,
    Rule,
    cut,
    cut_inside,
    line,
    two_sided,
    width,
    without_blank_lines,
    wrapped,
)
from chatnet.console.widgets.theme import ASCII, UNICODE
from chatnet.core.limits import MAX_BODY_BYTES, MESSAGE_ROWS
from chatnet.core.text import safe_line, safe_text
from tests.core.test_text import PICTURES, WORDS


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


COSTLY = {
    "blank lines": "\n" * MAX_BODY_BYTES,
    "short lines": "a\n" * (MAX_BODY_BYTES // 2),
    "unseen lines": "\u2800\n" * (MAX_BODY_BYTES // 4),
    "one line": "x" * MAX_BODY_BYTES,
    "replaced": "\u2800" * (MAX_BODY_BYTES // 3),
    "wide": "漢" * (MAX_BODY_BYTES // 3),
    "marks": "e\u0301\u0301\u0301\u0301" * (MAX_BODY_BYTES // 9),
    "joined": "\U0001f468\u200d" * (MAX_BODY_BYTES // 7),
    "flags": "\U0001f1e9\U0001f1ea" * (MAX_BODY_BYTES // 8),
    "tabs": "\t" * MAX_BODY_BYTES,
}


@pytest.mark.parametrize("what", COSTLY)
def test_a_message_costs_by_what_is_seen(what: str) -> None:
    text = safe_text(COSTLY[what])
    for cols in (28, 130):
        row = Row("12:00 bob  ", 11, text)
        with counted_calls() as calls:
            canvas = row.canvas(cols)
        assert canvas.rows() <= MESSAGE_ROWS + 1 + bool(row.left_out)
        assert calls[0] < 200_000  # urwid's own layout of the blank lines makes 600,000, in 0.15 s


@contextmanager
def counted_calls() -> Iterator[list[int]]:
    """How many functions are called meanwhile: the same on a quick machine and on a busy one."""
    calls = [0]

    def count(frame: object, event: str, argument: object) -> None:
        calls[0] += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def test_the_rows_that_are_left_out_are_counted_and_the_end_stays() -> None:
    row = Row("> ", 2, "a\n" * 300 + "b", ("state", " refused"), lambda rows: f"{rows} more")
    rows = looks(row.canvas(40))
    assert [one.rstrip() for one in rows[-2:]] == ["  a", "  101 more refused"]
    assert len(rows) == MESSAGE_ROWS + 1
    assert row.left_out == 101
    assert Row("> ", 2, "a", " refused").canvas(40).rows() == 1


SOME = ["a", "b", " ", "\n", "漢", "e\u0301", "👍", "👍\U0001f3fb", "👨\u200d👩", "🇩🇪"]


@given(st.lists(st.sampled_from(SOME), max_size=200).map("".join), st.integers(8, 30))
def test_wrapping_loses_nothing_but_blanks_and_line_ends(text: str, cols: int) -> None:
    at = 0
    for start, end in wrapped(text, cols):
        assert text[at:start] in ("", " ", "\n")
        assert "\n" not in text[start:end]
        assert line(text[start:end], cols).cols() == cols
        at = end
    assert at == len(text)


def test_many_blank_lines_are_one() -> None:
    assert without_blank_lines("a\n\n \n\t\nb\n\nc", ASCII) == "a\n... 3 blank lines\nb\n\nc"
    assert without_blank_lines("\n" * 16_384, ASCII) == "... 16385 blank lines"
    assert without_blank_lines("a\n\n\nb", ASCII) == "a\n\n\nb"


@given(st.text(max_size=60) | st.text("字a", max_size=60), st.integers(4, 40))
def test_a_text_that_is_cut_inside_fits_and_keeps_both_ends(text: str, cols: int) -> None:
    text = safe_line(text)
    new = cut_inside(text, cols, UNICODE)
    assert width(new) <= max(cols, 0)
    if width(text) <= cols:
        assert new == text
    elif text.isascii():
        assert new[: cols // 2 - 1] == text[: cols // 2 - 1]
        assert new[-1] == text[-1]


# Columns that tmux 3.3a counts, where that is not what urwid counts.
IN_TMUX = {
    "\u1000\u103c\u102d\u102f\u1038\u1005\u102c\u1038\u1019\u103e\u102f\u1036\u1037": 7,
    "\u0915\u094d\u0937\u0924\u094d\u0930\u093f\u092f \u0939\u093f\u0928\u094d\u0926\u0940": 12,
    "\u09b0\u200d\u09cd\u09af\u09be\u09ac \u09ac\u09be\u0982\u09b2\u09be": 10,
    "\u1797\u17b6\u179f\u17b6\u1781\u17d2\u1798\u17c2\u179a \u179f\u17d2\u178f\u17d2\u179a\u17b8": 12,
    "\U0001f469\U0001f3fd": 4,
    "\U0001f469\U0001f3fd\u200d\U0001f680": 4,
    "\u0dc1\u0dca\u200d\u0dbb\u0dd3 \u0dbd\u0d82\u0d9a\u0dcf": 6,
}


def by_parts(text: str) -> int:
    """Columns in a terminal that looks at each character alone."""
    return sum(1 if unicodedata.category(c) == "Mc" else max(0, wcwidth.wcwidth(c)) for c in text)


@pytest.mark.parametrize("word", IN_TMUX)
def test_no_terminal_cuts_a_row_off(word: str) -> None:
    """B11: they count letters and emoji of several parts differently."""
    assert max(by_parts(word), width(word)) >= IN_TMUX[word]
    text = " ".join([word] * 30)
    for cols in (7, 20, 47):
        rows = [text[start:end] for start, end in wrapped(text, cols)]
        assert "".join(rows).replace(" ", "") == text.replace(" ", "")
        assert all(width(row) <= cols and (by_parts(row) < cols or by_parts(row) == width(row)) for row in rows)
        assert by_parts(cut(text, cols, UNICODE)) <= cols


@given(st.lists(st.sampled_from([*WORDS, *PICTURES]), min_size=1, max_size=40), st.integers(8, 100))
def test_words_of_every_script_are_wrapped_whole(words: list[str], cols: int) -> None:
    text = "".join(words)
    rows = [text[start:end] for start, end in wrapped(text, cols)]
    assert "".join(rows).replace(" ", "") == text.replace(" ", "")
    assert all(width(row) <= cols for row in rows)
    assert all(by_parts(row) <= cols or len(list(wcwidth.iter_graphemes(row))) == 1 for row in rows)
