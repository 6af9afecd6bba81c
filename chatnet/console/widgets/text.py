"""Rows of text as canvases, from which everything on the screen is put together.

They are made without urwid's text widget: its layout and caches cost more than a row is worth when
a page of them has to be there for the next key.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import urwid
import wcwidth

from chatnet.console.widgets.theme import Signs
from chatnet.core import limits

Markup = Any  # urwid's text markup: a str, (attribute, markup), or a list of them
CHARS_A_COLUMN = 13  # of a row: a letter with its marks; more that takes no room goes on in the next row


class GuardedText(urwid.Text):
    """A text that can never take the screen down.

    urwid measures a text in two ways; on some remote texts the two disagree and drawing raises.
    Such a row is drawn in ``\\uXXXX`` form instead.
    """

    def render(self, size: Any, focus: bool = False) -> Any:
        try:
            return super().render(size, focus)
        except Exception:  # whatever it is, one row must not cost the screen
            return self._plain().render(size, focus)

    def rows(self, size: Any, focus: bool = False) -> int:
        return int(self.render(size, focus).rows())

    def _plain(self) -> urwid.Text:
        return urwid.Text(escaped(str(self.text)), wrap="any")


def escaped(text: str) -> str:
    """Return ``text`` in ASCII that every terminal counts alike: what is not in it as ``\\uXXXX``."""
    ascii_only = text.encode("ascii", "backslashreplace").decode()
    return "".join(c if " " <= c <= "~" or c == "\n" else "?" for c in ascii_only)


def line(markup: Markup, cols: int, attribute: str = "") -> urwid.CompositeCanvas:
    """Draw one row of ``cols`` columns, cut where it is too long."""
    try:
        return urwid.CompositeCanvas(_one_row(markup, cols, attribute or None))
    except Exception:  # urwid measures it in two ways, see GuardedText
        canvas = urwid.CompositeCanvas(GuardedText(markup, wrap="clip").render((cols,)))
        canvas.trim(0, 1)
        if attribute:
            canvas.fill_attr(attribute)
        return canvas


def _one_row(markup: Markup, cols: int, attribute: str | None) -> urwid.TextCanvas:
    text, runs = _taken_apart(markup)
    text = text.partition("\n")[0]
    end, taken = urwid.calc_text_pos(text, 0, len(text), cols)
    row, attrs, sets, at = b"", [], [], 0
    for look, length in [*runs, (None, end)]:
        piece, charset = urwid.apply_target_encoding(text[at : min(at + length, end)])
        if piece:
            row += piece
            attrs.append((look or attribute, len(piece)))
            sets += charset
        at += length
    blank = cols - taken
    return urwid.TextCanvas(
        [row + b" " * blank], attr=[[*attrs, (attribute, blank)]], cs=[[*sets, (None, blank)]], maxcol=cols
    )


def two_sided(left: Markup, right: Markup, cols: int, attribute: str = "") -> urwid.CompositeCanvas:
    """Draw one row with something at both ends; the left one gives way."""
    right_cols = min(cols, width(right))
    if right_cols == 0 or right_cols >= cols:
        return line(left if right_cols == 0 else right, cols, attribute)
    joined = urwid.CanvasJoin(
        [
            (line(left, cols - right_cols), None, False, cols - right_cols),
            (line(right, right_cols), None, False, right_cols),
        ]
    )
    if attribute:
        joined.fill_attr(attribute)
    return joined


def beside(parts: list[tuple[urwid.Canvas, int]]) -> urwid.CompositeCanvas:
    """Join canvases next to each other, each with its columns."""
    if len(parts) == 1:
        return urwid.CompositeCanvas(parts[0][0])
    return urwid.CanvasJoin([(canvas, None, False, cols) for canvas, cols in parts])


def plain(markup: Markup) -> str:
    """Return the text of a markup without its looks."""
    return _taken_apart(markup)[0] if markup else ""


def _taken_apart(markup: Markup) -> tuple[str, list[tuple[Any, int]]]:
    """Return the text, and which look holds for how many of its characters."""
    text, runs = urwid.util.decompose_tagmarkup(markup)
    return str(text), runs


def width(markup: Markup) -> int:
    """Return how many columns a markup takes."""
    text = plain(markup)
    return int(urwid.calc_width(text, 0, len(text)))


def cut(text: str, cols: int, signs: Signs) -> str:
    """Cut ``text`` to at most ``cols`` columns; an ellipsis shows that something is missing."""
    if width(text) <= cols and (text.isascii() or _fitting_everywhere(text, 0, len(text), cols) == len(text)):
        return text
    room = max(0, cols - width(signs.ellipsis))
    end, _ = urwid.calc_text_pos(text, 0, len(text), room)
    end = _fitting_everywhere(text, 0, end, room) if end else 0
    return text[:end] + signs.ellipsis[:cols]


def cut_inside(text: str, cols: int, signs: Signs) -> str:
    """Cut ``text`` to at most ``cols`` columns with its beginning and its end; an ellipsis shows what is missing."""
    if width(text) <= cols:
        return text
    head = cut(text, cols * 2 // 3, signs)
    start = len(text) - min(len(text), max(0, cols - width(head)))
    while width(text[start:]) > cols - width(head):
        start += 1
    return head + text[start:]


def stack(canvases: list[urwid.Canvas], cols: int, rows: int, from_top: bool = True) -> urwid.CompositeCanvas:
    """Stack canvases below each other, filled up or cut to ``rows``; ``from_top=False`` cuts at the top."""
    if not canvases:
        return urwid.CompositeCanvas(urwid.SolidCanvas(" ", cols, rows))
    canvas = urwid.CanvasCombine([(one, None, False) for one in canvases])
    surplus = canvas.rows() - rows
    if surplus > 0:
        canvas.trim(0 if from_top else surplus, rows)
    elif surplus < 0:
        canvas.pad_trim_top_bottom(0, -surplus)
    return canvas


def wrapped(text: str, cols: int) -> Iterator[tuple[int, int]]:
    """Yield the beginning and the end of each row of ``text`` in rows of at most ``cols`` columns.

    A row ends with its line, else at the last blank or behind the last wide character that fits, else where it is
    full.  Each row costs by its own columns, so a part of a text costs by the part; urwid's layout looks at the
    whole rest of a line for each of its rows.  Raises CanNotDisplayText for a character wider than ``cols``.
    """
    start = 0
    for text_line in text.split("\n"):
        line_end = start + len(text_line)
        while (end := _fitting(text, start, line_end, cols)) < line_end:
            break_at = _break(text, start, end)
            yield start, break_at
            start = break_at + (text[break_at] == " ")
        yield start, line_end
        start = line_end + 1


def _fitting(text: str, start: int, line_end: int, cols: int) -> int:
    """Return the end of what fits into ``cols`` columns.  Raises CanNotDisplayText if no character fits."""
    if 2 * (line_end - start) <= cols:  # no character has more than two columns
        return line_end
    end = min(line_end, start + cols)
    if text[start : end + 1].isascii():  # one more, which may be a mark
        return end
    end, _ = urwid.calc_text_pos(text, start, min(line_end, start + cols * CHARS_A_COLUMN), cols)
    if end == start < line_end:
        raise urwid.text_layout.CanNotDisplayText(f"{text[start]!r} is wider than {cols}")
    return _fitting_everywhere(text, start, end, cols)


def _fitting_everywhere(text: str, start: int, end: int, cols: int) -> int:
    """Return the end of what fits into ``cols`` columns even if a terminal counts the parts of a letter one by one.

    Terminals count Indic letters of several parts and emoji of several parts differently; what is too long for
    one of them would be cut off there.  Such a row leaves the last column free: the blanks behind it are written
    as an order to erase, which would take the character in that column along.  At least one character fits.
    urwid itself finds at times that more fits than it then counts.
    """
    alone, together = sum(map(_columns_alone, text[start:end])), _columns(text, start, end)
    if together <= cols and (alone < cols or alone == together):
        return end
    cols, at, taken = cols - 1, start, 0
    for part in wcwidth.iter_graphemes(text[start:end]):
        taken += max(_columns(part, 0, len(part)), sum(map(_columns_alone, part)))
        if taken > cols and at > start:
            break
        at += len(part)
    return at


def _columns_alone(c: str) -> int:
    """Return the columns of a character where nothing stands beside it; a mark that takes room has one."""
    return 1 if unicodedata.category(c) == "Mc" else max(0, wcwidth.wcwidth(c))


def _break(text: str, start: int, end: int) -> int:
    """Return where a row that is full at ``end`` ends; a blank there is not shown."""
    if text[end] == " ":
        return end
    blank = text.rfind(" ", start + 1, end)
    if not text.isascii():
        for at in range(end, max(start, blank), -1):
            if unicodedata.east_asian_width(text[at - 1]) in "WF" and urwid.calc_width(text, at, at + 1) > 0:
                return at
    return blank if blank > 0 else end


# Three blank lines or more, of which the last may end the text; possessive, so that the search is linear.
_BLANK_LINES = re.compile(r"^(?:[^\S\n]*+\n){3,}+(?:[^\S\n]*+\Z)?", re.MULTILINE)


def without_blank_lines(text: str, signs: Signs) -> str:
    """Return ``text`` with one line in the place of three blank ones or more."""

    def told(found: re.Match[str]) -> str:
        blank = found[0]
        at_end = found.end() == len(text)
        return f"{signs.ellipsis} {blank.count(chr(10)) + at_end} blank lines" + "\n" * (not at_end)

    return _BLANK_LINES.sub(told, text)


def _rows_follow(rows: int) -> Markup:
    return ("text.soft", f"({rows} more)")


class Row:
    """A prefix, and text whose later lines stand below its first one, never wider than 100 columns.

    Of more than MESSAGE_ROWS rows the first ones are made; what ``more`` says of the number of the others
    follows them.  ``end`` stands behind the text in either case.
    """

    TEXT_COLS = 100

    def __init__(
        self,
        prefix: Markup,
        prefix_cols: int,
        body: Markup,
        end: Markup = "",
        more: Callable[[int], Markup] = _rows_follow,
    ) -> None:
        self._prefix, self._prefix_cols, self._body, self._end, self._more = prefix, prefix_cols, body, end, more
        self._kept: tuple[int, urwid.Canvas] | None = None
        self.left_out = 0  # rows that are not shown, once it was drawn

    def canvas(self, cols: int) -> urwid.Canvas:
        """Return the canvas for so many columns; it is kept, since it never changes."""
        if self._kept is None or self._kept[0] != cols:
            try:
                self._kept = cols, self._draw(cols, self._body)
            except Exception:  # urwid measures it in two ways, see GuardedText
                self._kept = cols, self._draw(cols, escaped(plain(self._body)))
        return self._kept[1]

    def _draw(self, cols: int, body: Markup) -> urwid.Canvas:
        indent = min(self._prefix_cols, cols // 2)
        text, runs = _taken_apart([body, self._end])
        text_cols = max(1, min(self.TEXT_COLS, cols - indent))
        rows = wrapped(text, text_cols)
        shown = [*islice(rows, limits.MESSAGE_ROWS)]
        self.left_out = sum(1 for _ in rows)
        layout: Any = [[(_columns(text, start, end), start, end)] if end > start else [] for start, end in shown]
        canvas: urwid.Canvas = urwid.canvas.apply_text_layout(text, runs, layout, cols - indent)
        if self.left_out:
            after = Row("", 0, [self._more(self.left_out), self._end]).canvas(cols - indent)
            canvas = urwid.CanvasCombine([(canvas, None, False), (after, None, False)])
        return beside([(self._margin(indent, canvas.rows()), indent), (canvas, cols - indent)]) if indent else canvas

    def _margin(self, cols: int, rows: int) -> urwid.Canvas:
        """Draw the prefix, and blanks below it."""
        canvas = line(self._prefix, cols)
        canvas.pad_trim_top_bottom(0, rows - 1)
        return canvas


def _columns(text: str, start: int, end: int) -> int:
    return int(urwid.calc_width(text, start, end))


class Rule:
    """A line across, ``─ label ────────── right ─``; the label can be read where the line itself is faint."""

    def __init__(self, label: str, signs: Signs, right: str = "", attribute: str = "line") -> None:
        self._label: Markup = ("time" if attribute == "line" else attribute, label)
        self._sign, self._right, self._attribute = signs.rule, right, attribute

    def canvas(self, cols: int) -> urwid.Canvas:
        """Return the canvas for so many columns."""
        start = [(self._attribute, f"{self._sign} "), self._label, " "]
        end = f" {self._right} {self._sign}" if self._right else ""
        dashes = self._sign * max(0, cols - width(start) - width(end))
        return line([*start, (self._attribute, dashes + end)], cols)
