"""Rows of text as canvases: what everything on the screen is put together from.

They are made without urwid's text widget: its layout and caches cost more than a row is worth when
a page of them has to be there for the next key.
"""

from __future__ import annotations

from typing import Any

import urwid

from chatnet.console.widgets.theme import Signs

Markup = Any  # urwid's text markup: a str, (attribute, markup), or a list of them


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
        escaped = str(self.text).encode("ascii", "backslashreplace").decode()
        return urwid.Text("".join(c if " " <= c <= "~" or c == "\n" else "?" for c in escaped), wrap="any")


def line(markup: Markup, cols: int, attribute: str = "") -> urwid.CompositeCanvas:
    """One row of ``cols`` columns, cut where it is too long."""
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
    """One row with something at both ends; the left one gives way."""
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
    """Canvases next to each other, each with its columns."""
    if len(parts) == 1:
        return urwid.CompositeCanvas(parts[0][0])
    return urwid.CanvasJoin([(canvas, None, False, cols) for canvas, cols in parts])


def plain(markup: Markup) -> str:
    """The text of a markup."""
    return _taken_apart(markup)[0] if markup else ""


def _taken_apart(markup: Markup) -> tuple[str, list[tuple[Any, int]]]:
    """The text, and which look holds for how many of its characters."""
    text, runs = urwid.util.decompose_tagmarkup(markup)
    return str(text), runs


def width(markup: Markup) -> int:
    """Columns that a markup takes."""
    text = plain(markup)
    return int(urwid.calc_width(text, 0, len(text)))


def cut(text: str, cols: int, signs: Signs) -> str:
    """``text`` in at most ``cols`` columns; what is missing is shown by an ellipsis."""
    if width(text) <= cols:
        return text
    room = max(0, cols - width(signs.ellipsis))
    end, _ = urwid.calc_text_pos(text, 0, len(text), room)
    return text[:end] + signs.ellipsis[:cols]


def stack(canvases: list[urwid.Canvas], cols: int, rows: int, from_top: bool = True) -> urwid.CompositeCanvas:
    """Canvases below each other, filled up or cut to ``rows``; ``from_top=False`` cuts at the top."""
    if not canvases:
        return urwid.CompositeCanvas(urwid.SolidCanvas(" ", cols, rows))
    canvas = urwid.CanvasCombine([(one, None, False) for one in canvases])
    surplus = canvas.rows() - rows
    if surplus > 0:
        canvas.trim(0 if from_top else surplus, rows)
    elif surplus < 0:
        canvas.pad_trim_top_bottom(0, -surplus)
    return canvas


class _Hanging(urwid.StandardTextLayout):
    """A prefix, and lines that all begin behind it."""

    def __init__(self, prefix_chars: int, cols: int) -> None:
        super().__init__()
        self._chars, self._cols = prefix_chars, cols

    def lines(self, text: str, cols: int) -> list[list[Any]]:
        """Where each piece of ``text`` stands, as urwid's layouts say it."""
        indent = min(self._cols, cols // 2)
        end, taken = urwid.calc_text_pos(text, 0, self._chars, indent)
        first = [*([(taken, 0, end)] if end else []), (indent - taken, None)]
        body = self.layout(text[self._chars :], min(Row.TEXT_COLS, cols - indent), "left", "space")
        return [
            [*([(indent, None)] if number else first), *(self._moved(piece) for piece in pieces)]
            for number, pieces in enumerate(body)
        ]

    def _moved(self, piece: Any) -> Any:
        columns, start, *end = piece
        if start is None:
            return piece
        return (columns, start + self._chars, *(one + self._chars if isinstance(one, int) else one for one in end))


class Row:
    """A prefix, and text whose later lines stand below its first one, never wider than 100 columns."""

    TEXT_COLS = 100

    def __init__(self, prefix: Markup, prefix_cols: int, body: Markup) -> None:
        self._prefix, self._prefix_cols, self._body = prefix, prefix_cols, body
        self._kept: tuple[int, urwid.Canvas] | None = None

    def canvas(self, cols: int) -> urwid.Canvas:
        """As it looks in so many columns; kept, for it never changes."""
        if self._kept is None or self._kept[0] != cols:
            try:
                self._kept = cols, self._draw(cols)
            except Exception:  # urwid measures it in two ways, see GuardedText
                self._kept = cols, self._draw_apart(cols)
        return self._kept[1]

    def _draw_apart(self, cols: int) -> urwid.Canvas:
        """Prefix and text by themselves: the text stays in its place."""
        indent = min(self._prefix_cols, cols // 2)
        body = GuardedText(self._body).render((cols - indent,))
        return beside([(line(self._prefix, indent), indent), (body, cols - indent)]) if indent else body

    def _draw(self, cols: int) -> urwid.Canvas:
        text, runs = _taken_apart([self._prefix, self._body])
        layout = _Hanging(len(plain(self._prefix)), self._prefix_cols)
        return urwid.canvas.apply_text_layout(text, runs, layout.lines(text, cols), cols)


def rule(label: str, cols: int, signs: Signs, right: str = "") -> str:
    """``─ label ────────── right ─``."""
    start = f"{signs.rule} {label} " if label else ""
    end = f" {right} {signs.rule}" if right else ""
    return start + signs.rule * max(0, cols - width(start) - width(end)) + end


class Rule:
    """A line across, with a label."""

    def __init__(self, label: str, signs: Signs, right: str = "", attribute: str = "line") -> None:
        self._label, self._signs, self._right, self._attribute = label, signs, right, attribute

    def canvas(self, cols: int) -> urwid.Canvas:
        """As it looks in so many columns."""
        return line((self._attribute, rule(self._label, cols, self._signs, self._right)), cols)
