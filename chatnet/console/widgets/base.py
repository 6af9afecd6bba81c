"""The few widgets that everything on the screen is made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import urwid

from chatnet.console.widgets.text import Markup, Row, Rule, line, plain, stack

Block = Sequence[Row | Rule]
Drawn = tuple[Row | Rule, urwid.Canvas]


class Box(urwid.Widget):
    """A widget that fills a rectangle; ``draw``, ``key`` and ``mouse`` are what differs.

    What was drawn is kept until ``changed``: urwid's own cache forgets a widget whose parts were
    made for one drawing only, and then every key would cost the drawing of everything.
    """

    no_cache = ("render",)
    _sizing = frozenset([urwid.Sizing.BOX])
    _selectable = True
    size: tuple[int, int] = (80, 24)  # as drawn last
    shows: Mapping[Any, Hashable] = {}  # the questions in what was drawn last, by their places

    _kept: tuple[Any, urwid.Canvas] | None = None

    def render(self, size: Any, focus: bool = False) -> Any:
        if self._kept is None or self._kept[0] != (size, focus):
            self.size = cols, rows = size
            self._kept = (size, focus), self.draw(cols, rows, focus)
        return self._kept[1]

    def keypress(self, size: Any, key: str) -> str | None:
        self.size = size
        return self.key(key)

    def mouse_event(self, size: Any, event: str, button: int, col: int, row: int, focus: bool) -> bool:
        self.size = size
        return self.mouse(event, button, col, row)

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        """Return the canvas for ``cols`` × ``rows``."""
        raise NotImplementedError

    def key(self, key: str) -> str | None:
        """Act on a key and return None, or give it back."""
        return key

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        """Whether a mouse event meant something here."""
        return False

    def changed(self) -> None:
        """Draw again next time."""
        self._kept = None
        self._invalidate()


class LazyList(Box):
    """Rows of one line each, made only when they are seen; one of them is selected."""

    def __init__(self) -> None:
        super().__init__()
        self.selected = 0
        self.top = 0
        self.on_click: Callable[[int], None] = lambda index: None

    def count(self) -> int:
        raise NotImplementedError

    def markup(self, index: int, cols: int) -> Markup:
        """Return the text of a row."""
        raise NotImplementedError

    def can_select(self, index: int) -> bool:
        return True

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        count = self.count()
        self.selected = self._near(min(self.selected, count - 1))
        if focus:
            self.top = min(max(self.top, self.selected - rows + 1), self.selected)
        self.top = max(0, min(self.top, count - rows))
        if self.top == 1 and self.selected < rows:
            self.top = 0  # the heading above the first row stays in view
        lines: list[urwid.Canvas] = []
        for index in range(self.top, min(count, self.top + rows)):
            marked = focus and index == self.selected
            text = self.markup(index, cols)
            lines.append(line(plain(text) if marked else text, cols, "selected" if marked else ""))
        return stack(lines, cols, rows)

    def key(self, key: str) -> str | None:
        rows = max(1, self.size[1] - 1)
        steps = {"up": -1, "down": 1, "page up": -rows, "page down": rows, "home": -self.count(), "end": self.count()}
        if key not in steps:
            return key
        self.select(self.selected + steps[key], 1 if steps[key] > 0 else -1)
        return None

    def select(self, index: int, direction: int = 1) -> None:
        """Choose a row, or the nearest one that can be chosen."""
        self.selected = self._near(max(0, min(index, self.count() - 1)), direction)
        self.changed()

    def _near(self, index: int, direction: int = 1) -> int:
        count = self.count()
        for step in (direction, -direction):
            at = index
            while 0 <= at < count:
                if self.can_select(at):
                    return at
                at += step
        return max(0, index)

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if event != "mouse press":
            return False
        if button in (4, 5):
            step = -3 if button == 4 else 3
            self.top = max(0, min(self.top + step, self.count() - self.size[1]))
            self.changed()
            return True
        index = self.top + row
        if button != 1 or index >= self.count() or not self.can_select(index):
            return False
        self.selected = index
        self.changed()
        self.on_click(index)
        return True


class Scroller(Box):
    """Blocks of rows, of which the last one stands at the bottom, unless one has scrolled up."""

    anchor: int | None = None  # the block at the bottom edge; None: the newest, and it stays so
    hidden = 0  # rows of that block below the edge
    in_view: Sequence[int] = ()  # blocks that were drawn from their first row to their last, or as far as there is room
    _drawn: Sequence[tuple[Row | Rule, int]] = ()  # what was drawn last, from above, and how many rows each has

    def count(self) -> int:
        raise NotImplementedError

    def block(self, index: int) -> Block:
        """Return the rows of a block, from the top."""
        raise NotImplementedError

    def at_end(self) -> bool:
        """Whether the newest row is in view."""
        return self.anchor is None

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        count = self.count()
        last = count - 1 if self.anchor is None else min(self.anchor, count - 1)
        found, height = self._upward(last, self.hidden if self.anchor is not None else 0, cols, rows)
        if height < rows and self.anchor is not None:  # the top is in view: fill from there
            self._from_top(cols, rows)
            last = count - 1 if self.anchor is None else self.anchor
            found, height = self._upward(last, self.hidden, cols, rows)
        self._drawn = [(row, canvas.rows()) for row, canvas in found]
        return stack([canvas for _, canvas in found], cols, rows, from_top=False)

    def rows_in_view(self) -> list[Row | Rule]:
        """Return the rows that were drawn last, the lowest first."""
        return [row for row, _ in reversed(self._drawn)]

    def at_row(self, row: int, rows: int) -> Row | Rule | None:
        """Return what was drawn in the given one of ``rows`` rows."""
        row += max(0, sum(height for _, height in self._drawn) - rows)  # the first may begin above the edge
        for what, height in self._drawn:
            if row < height:
                return what
            row -= height
        return None

    def _upward(self, last: int, hidden: int, cols: int, rows: int) -> tuple[list[Drawn], int]:
        """Return enough rows with their canvases for ``rows``, and their height.

        They end ``hidden`` rows above the end of block ``last``.
        """
        found: list[Drawn] = []
        in_view: list[int] = []
        height = 0
        for index in range(last, -1, -1):
            cut = hidden
            for row in reversed(self.block(index)):
                canvas = row.canvas(cols)
                take = canvas.rows() - hidden
                if take <= 0:
                    hidden -= canvas.rows()
                    continue
                if hidden:
                    canvas = urwid.CompositeCanvas(canvas)
                    canvas.trim(0, take)
                    hidden = 0
                found.append((row, canvas))
                height += take
            if height == rows or (height < rows and not cut):
                in_view.append(index)
            if height >= rows:
                break
        found.reverse()
        self.in_view = in_view
        return found, height

    def _height(self, index: int) -> int:
        cols = self.size[0]
        return sum(row.canvas(cols).rows() for row in self.block(index))

    def _from_top(self, cols: int, rows: int) -> None:
        """Anchor the view such that the first row is at the upper edge."""
        height = 0
        for index in range(self.count()):
            height += self._height(index)
            if height >= rows:
                at_newest = index == self.count() - 1 and height == rows
                self.anchor, self.hidden = (None, 0) if at_newest else (index, height - rows)
                return
        self.anchor, self.hidden = None, 0

    def scroll(self, rows: int) -> None:
        """Move the view by ``rows``, negative is up."""
        count = self.count()
        if not count:
            return
        if self.anchor is None:
            if rows >= 0:
                return
            self.anchor, self.hidden = count - 1, 0
        self.hidden -= rows
        while self.hidden > 0 and self.hidden >= (height := self._height(self.anchor)):
            if self.anchor == 0:
                break
            self.hidden -= height
            self.anchor -= 1
        while self.hidden < 0 and self.anchor is not None:
            self.anchor += 1
            if self.anchor >= count:
                self.anchor, self.hidden = None, 0
            else:
                self.hidden += self._height(self.anchor)
        if self.anchor == count - 1 and self.hidden == 0:
            self.anchor = None
        if self.anchor is not None and self.anchor <= self.size[1] and not self._is_full():
            self._from_top(*self.size)
        self.changed()

    def page(self, pages: int) -> None:
        """Move by whole pages, keeping one row."""
        self.scroll(pages * max(1, self.size[1] - 1))

    def to_end(self) -> None:
        self.anchor, self.hidden = None, 0
        self.changed()

    def to_top(self) -> None:
        self._from_top(*self.size)
        self.changed()

    def moved(self, count: int) -> None:
        """Note that ``count`` blocks were put before the first one, or taken away (negative)."""
        if self.anchor is not None:
            self.anchor = max(0, self.anchor + count)

    def near_top(self) -> bool:
        """Whether fewer than two pages of blocks are above the lower edge."""
        last = self.count() if self.anchor is None else self.anchor
        return last < 2 * self.size[1]

    def _is_full(self) -> bool:
        """Whether the rows above the lower edge fill the view; each block has one at least."""
        assert self.anchor is not None
        return self._upward(self.anchor, self.hidden, *self.size)[1] >= self.size[1]

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if event != "mouse press" or button not in (4, 5):
            return False
        self.scroll(-3 if button == 4 else 3)
        return True
