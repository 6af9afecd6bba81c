"""What /search found, the newest first; Enter goes to the conversation at that row."""

from __future__ import annotations

from collections.abc import Callable

import urwid

from chatnet.console.panes.base import PaneContext
from chatnet.console.widgets.base import Box, LazyList
from chatnet.console.widgets.text import Markup, cut, line, stack, width
from chatnet.console.widgets.wording import clock_text, count_text, date_text, late_text
from chatnet.core.chats import written_ms
from chatnet.core.events import ChatMessage, MessageKind, SearchPage
from chatnet.core.identity import ChatID
from chatnet.core.text import quoted, safe_line

_NAME_COLS = 12
_AHEAD = 20  # rows before the end at which the next page is asked for


class _Rows(LazyList):
    def __init__(self, results: ResultsView) -> None:
        super().__init__()
        self._results = results

    def count(self) -> int:
        return len(self._results.found)

    def markup(self, index: int, cols: int) -> Markup:
        return self._results.row(self._results.found[index], cols)


class ResultsView(Box):
    """A list over the pane; ``more`` asks for the next page, ``chosen`` gets chat and row."""

    def __init__(
        self,
        asked: str,
        scene: PaneContext,
        chosen: Callable[[ChatID, int], None],
        more: Callable[[ResultsView], None],
        close: Callable[[], None],
    ) -> None:
        super().__init__()
        self.found: list[ChatMessage] = []
        self.before_n: int | None = None  # where the next page begins; None at first, and at the end
        self.searching = False
        self._asked, self._scene = asked, scene
        self._chosen, self._more, self._close = chosen, more, close
        self._rows = _Rows(self)
        self._rows.on_click = lambda index: self._choose()

    def put(self, page: SearchPage) -> bool:
        """Add a page; return False when it had nothing and there are more."""
        self.found += page.messages
        self.before_n = page.before_n
        self.searching = not page.messages and page.before_n is not None
        self.changed()
        return not self.searching

    def failed(self) -> None:
        self.searching = False
        self.before_n = None

    def changed(self) -> None:
        self._rows.changed()
        super().changed()

    def row(self, message: ChatMessage, cols: int) -> Markup:
        signs, name = self._scene.signs, self._scene.model.roster.name(message.chat)
        who = cut(f"you {signs.more_right} {name}" if message.mine else name, _NAME_COLS, signs)
        who += " " * (_NAME_COLS - width(who))
        at_ms = written_ms(message.sent_ms, message.stored_ms)
        at, late = f" {date_text(at_ms):>11} {clock_text(at_ms)}  ", late_text(message, at_ms)
        late = late and f"  ({late})"
        is_file = message.kind is MessageKind.FILE
        body = quoted(message.body) if is_file else safe_line(message.body, 1000)
        return [
            ("time", at),
            ("name.own" if message.mine else "name.theirs", who),
            ("text", f"  {cut(body, max(4, cols - width(at) - _NAME_COLS - len(late) - 3), signs)}"),
            ("text.soft", late),
        ]

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        if self.searching:
            facts = f"looking{self._scene.signs.ellipsis}"
        else:
            facts = count_text(len(self.found), "message") + (" and older ones" if self.before_n is not None else "")
        asked = cut(safe_line(self._asked), max(8, cols - width(facts) - 20), self._scene.signs)
        head = line([("group", f" Found: {asked}  "), ("text.soft", facts)], cols)
        body: urwid.Canvas
        if not self.found:
            nothing = "" if self.searching else " Nothing has all these words. Fewer words find more."
            body = stack([line(("text.soft", nothing), cols)], cols, max(1, rows - 1))
        else:
            body = self._rows.render((cols, max(1, rows - 1)), True)
        return urwid.CanvasCombine([(head, None, False), (body, None, False)])

    def key(self, key: str) -> str | None:
        if key == "esc":
            self._close()
        elif key == "enter":
            self._choose()
        else:
            rest = self._rows.keypress((self.size[0], max(1, self.size[1] - 1)), key)
            self._look_ahead()
            return rest
        return None

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        size = (self.size[0], max(1, self.size[1] - 1))
        handled = row > 0 and self._rows.mouse_event(size, event, button, col, row - 1, True)
        self._look_ahead()
        return handled

    def _look_ahead(self) -> None:
        self.changed()
        if self._rows.selected + _AHEAD >= len(self.found) and self.before_n is not None and not self.searching:
            self._more(self)

    def _choose(self) -> None:
        if self.found:
            message = self.found[min(self._rows.selected, len(self.found) - 1)]
            self._chosen(message.chat, message.n)
