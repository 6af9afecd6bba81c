"""What strangers sent first: a list to look through, and the messages of one of them to read before deciding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import urwid

from chatnet.console.overlays.page import Page
from chatnet.console.panes.base import PaneContext
from chatnet.console.widgets.base import Box, LazyList
from chatnet.console.widgets.text import Markup, cut, line, stack, width
from chatnet.console.widgets.theme import Signs
from chatnet.console.widgets.wording import count_text, late_text, when_text
from chatnet.core.chats import written_ms
from chatnet.core.events import ChatMessage, HistoryPage, MessageKind, Request
from chatnet.core.identity import short_text
from chatnet.core.limits import REQUEST_CHARS, REQUEST_LINES
from chatnet.core.text import safe_line, safe_text

_ROWS_EACH = 2  # of the list: who it is, and the first line


class RequestDecisions(Protocol):
    """The decisions about requests."""

    def read_request(self, request: Request) -> None:
        """Bring what they sent to ``RequestsView.show_messages``."""

    def accept_request(self, request: Request) -> None: ...

    def refuse_request(self, request: Request) -> None:
        """Ask, then do it, as the two that follow."""

    def block_request(self, request: Request) -> None: ...

    def clear_requests(self) -> None: ...


class _Rows(LazyList):
    def __init__(self, view: RequestsView) -> None:
        super().__init__()
        self._view = view

    def count(self) -> int:
        return _ROWS_EACH * len(self._view.requests())

    def can_select(self, index: int) -> bool:
        return index % _ROWS_EACH == 0

    def markup(self, index: int, cols: int) -> Markup:
        request = self._view.requests()[index // _ROWS_EACH]
        return self._view.head(request, cols) if self.can_select(index) else self._view.first_line(request, cols)


class RequestsView(Box):
    """A list over the pane, the latest request first.

    What is chosen is a key, wherever it stands: when its request is gone, a decision is about nobody until
    another one was drawn as chosen.
    """

    def __init__(self, scene: PaneContext, decisions: RequestDecisions, close: Callable[[], None]) -> None:
        super().__init__()
        self.reading: bytes | None = None  # whose messages are shown, or asked for
        self._chosen: bytes | None = None
        self._page: Page | None = None
        self._scene, self._decisions, self._close = scene, decisions, close
        self._rows = _Rows(self)
        self._rows.on_click = self._clicked
        self.double_click: Callable[[object], bool] = lambda what: False

    @property
    def is_reading(self) -> bool:
        """Whether the messages of one are shown in place of the list."""
        return self._page is not None

    def requests(self) -> list[Request]:
        """Return the requests, the latest first."""
        return list(reversed(self._scene.model.requests.values()))

    def changed(self) -> None:
        self._rows.changed()
        if self._page is not None:
            self._page.changed()
        super().changed()

    # --- choosing ------------------------------------------------------------------------------

    def chosen(self) -> Request | None:
        """Return the request that was on the screen as the chosen one; None when it is gone, or there is none."""
        return self._scene.model.requests.get(self._chosen or b"")

    def _follow(self) -> None:
        """Keep the selection on its key although others come and go.

        If the key is gone, choose the request in its place.
        """
        requests = self.requests()
        request = self.chosen()
        if request is None and requests:
            request = requests[min(self._rows.selected // _ROWS_EACH, len(requests) - 1)]
        self._chosen = request.peer if request is not None else None
        self._rows.selected = _ROWS_EACH * requests.index(request) if request is not None else 0

    def _take_selected(self) -> None:
        requests = self.requests()
        if requests:
            self._chosen = requests[min(self._rows.selected // _ROWS_EACH, len(requests) - 1)].peer

    def _clicked(self, index: int) -> None:
        self._take_selected()
        request = self.chosen()
        if request is not None and self.double_click(("request", request.peer)):
            self._read(request)

    def _read(self, request: Request) -> None:
        self.reading = request.peer
        self._decisions.read_request(request)

    # --- keys and mouse ------------------------------------------------------------------------

    def key(self, key: str) -> str | None:
        self.changed()
        request = self.chosen()
        decide = {
            "a": self._decisions.accept_request,
            "r": self._decisions.refuse_request,
            "b": self._decisions.block_request,
        }
        if key in decide:
            if request is not None:
                decide[key](request)
        elif key == "c":
            self._decisions.clear_requests()
        elif self._page is not None:
            return self._page.key(key)
        elif key == "esc":
            self._close()
        elif key == "enter":
            if request is not None:
                self._read(request)
        else:
            self.reading = None
            self._follow()
            rest = self._rows.keypress(self._list_size(), key)
            self._take_selected()
            return rest
        return None

    def to_list(self) -> None:
        """Show the list, in place of the messages of one."""
        self._page, self.reading = None, None
        self.changed()

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if self._page is not None:
            return self._page.mouse(event, button, col, row)
        return row > 0 and self._rows.mouse_event(self._list_size(), event, button, col, row - 1, True)

    # --- drawing -------------------------------------------------------------------------------

    def _list_size(self) -> tuple[int, int]:
        return self.size[0], max(1, self.size[1] - 1)

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        if self._page is not None:
            page: urwid.Canvas = self._page.render((cols, rows), True)
            return page
        self._follow()
        count = len(self._scene.model.requests)
        title: Markup = [("group", " Requests  "), ("text.soft", "of people who stand in no list")]
        body: urwid.Canvas
        if not count:
            nobody = " Nobody. Who stands in no list, and writes to you or offers files, appears here."
            body = stack([line(("text.soft", nobody), cols)], cols, max(1, rows - 1))
        else:
            body = self._rows.render((cols, max(1, rows - 1)), True)
        return urwid.CanvasCombine([(line(title, cols), None, False), (body, None, False)])

    def head(self, request: Request, cols: int) -> Markup:
        """Return the line with number, key, claimed name, time and amount of a request."""
        number = self._scene.model.request_numbers[request.peer]
        start, key = f"{number:>3} ", short_text(request.peer)
        facts = f"{when_text(request.last_ms, self._scene.now_ms())}  {_how_much(request)} "
        name = cut(_claim(request), max(2, cols - width(start) - width(key) - width(facts) - 4), self._scene.signs)
        gap = " " * max(1, cols - width(start) - width(key) - width(name) - width(facts) - 2)
        return [("time", start), ("key", key), ("text.soft", f"  {name}{gap}"), ("text", facts)]

    def first_line(self, request: Request, cols: int) -> Markup:
        """Return the line with the beginning of what they wrote; for an offer, with its title in quotes."""
        text = safe_line(request.first_line)
        said = text if request.messages else f'offers "{text}"'
        return ("text", f"    {cut(said, max(4, cols - 5), self._scene.signs)}")

    def show_messages(self, request: Request, page: HistoryPage) -> None:
        """Show what a stranger sent, to be read before deciding; do nothing if another key was pressed meanwhile."""
        if self.reading != request.peer:
            return
        lines: list[Markup] = [
            ("key", request.key),
            ("text.soft", _about_name(request)),
            ("text.soft", "Nothing here tells them that you read it."),
            "",
        ]
        for message in page.messages:
            lines += self._message(message)
        if request.more:
            lines += ["", ("state.wait", "More of theirs waits at their side until you accept or refuse.")]
        title = f"{short_text(request.peer)} {_claim(request)}".rstrip()
        self._page = Page(title, lines, self._scene.signs, self.to_list)
        self.changed()

    def _message(self, message: ChatMessage) -> list[Markup]:
        at_ms = written_ms(message.sent_ms, message.stored_ms)
        late = late_text(message, at_ms)
        at: Markup = ("time", f"{when_text(at_ms, self._scene.now_ms())}  {f'({late})  ' if late else ''}")
        if message.kind is MessageKind.FILE:
            return [[at, ("name.theirs", f'offers "{safe_line(message.body)}"')]]
        first, *others = _shortened(safe_text(message.body), self._scene.signs)
        return [[at, ("text", first)], *(("text", text) for text in others)]


def request_text(request: Request) -> str:
    """Return key, claimed name and amount, as a question names a request."""
    return " ".join(filter(None, (short_text(request.peer), _claim(request), f"({_how_much(request)})")))


def _how_much(request: Request) -> str:
    parts = [count_text(request.messages, "message")] if request.messages else []
    parts += [count_text(request.offers, "offer")] if request.offers else []
    parts += ["more wait"] if request.more else []
    return ", ".join(parts)


def _claim(request: Request) -> str:
    return f'"{safe_line(request.name)}"' if request.name else ""


def _about_name(request: Request) -> str:
    if not request.name:
        return "They claim no name."
    return f"They call themselves {_claim(request)}; nobody vouches for that."


def _shortened(text: str, signs: Signs) -> list[str]:
    """Return the lines of a message that are worth laying out before it is accepted; at least one."""
    lines = text[:REQUEST_CHARS].split("\n", REQUEST_LINES)
    if len(lines) > REQUEST_LINES or len(text) > REQUEST_CHARS:
        lines[REQUEST_LINES:] = []
        lines.append(f"{signs.ellipsis} (longer: accept to read all of it)")
    return lines
