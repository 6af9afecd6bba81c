"""The whole screen: where things stand at each size, which tab is shown, who gets the keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import urwid

from chatnet.console.keymap import Context, Keymap, hint
from chatnet.console.overlays.file_picker import FilePicker
from chatnet.console.overlays.login import LoginForm
from chatnet.console.overlays.page import TextPage
from chatnet.console.overlays.requests import RequestsView
from chatnet.console.overlays.search_results import ResultsView
from chatnet.console.panes.bars import Banner, Footer, Header, TabBar
from chatnet.console.panes.base import Pane, PaneContext
from chatnet.console.panes.conversation import ConversationPane
from chatnet.console.panes.network import NetPane
from chatnet.console.panes.people import PeopleList
from chatnet.console.panes.transfers import TransfersPane
from chatnet.console.widgets.base import Box, Scroller
from chatnet.console.widgets.find_bar import FindBar
from chatnet.console.widgets.input import MAX_ROWS, InputRow
from chatnet.console.widgets.text import Markup, beside, cut, stack
from chatnet.console.widgets.wording import count_text
from chatnet.core.chats import joined_drafts
from chatnet.core.identity import ChatID
from chatnet.core.text import SafeText

MIN_COLS, MIN_ROWS = 40, 10
PEOPLE_BESIDE_FROM = 72  # columns from which the list of people stands beside the pane
PEOPLE_COLS, PEOPLE_COLS_WIDE, WIDE_FROM = 20, 26, 120

_MOUSE_PRESS = "mouse press"
_WHILE_OVERLAY = ("f1", "ctrl c", "f10", "ctrl l", "ctrl z", "meta m")  # keys that hold whatever is open
_PEOPLE_KEYS = (
    "open_selected",
    "filter_people",
    "whois_selected",
    "send_to_selected",
    "verify_selected",
    "block_selected",
    "back",
)
_TRANSFER_KEYS = (
    "open_transfer",
    "accept_selected",
    "refuse_selected",
    "cancel_selected",
    "forget_ended",
    "command_line",
    "back",
)
_OVERLAY_CONTEXTS = (Context.FORM, Context.PICKER, Context.RESULTS, Context.REQUESTS)
_FIXED_HINTS: dict[Context, list[tuple[str, str]]] = {
    Context.FORM: [("Enter", "log in"), ("Tab", "next field"), hint("help"), hint("quit")],
    Context.PICKER: [
        ("Enter", "send"),
        ("Space", "mark"),
        ("s", "send marked"),
        ("/", "filter"),
        ("Left", "folder above"),
        ("Esc", "back"),
    ],
    Context.FIND: [hint("find_next", Context.FIND), hint("find_previous", Context.FIND), hint("back")],
    Context.RESULTS: [("Enter", "open there"), ("Esc", "back")],
    Context.REQUESTS: [
        ("Enter", "read"),
        ("a", "accept"),
        ("r", "refuse"),
        ("b", "block"),
        ("c", "clear all"),
        ("Esc", "back"),
    ],
    Context.PEOPLE: [hint(name, Context.PEOPLE) for name in _PEOPLE_KEYS],
    Context.TRANSFERS: [hint(name, Context.TRANSFERS) for name in _TRANSFER_KEYS],
}


@dataclass
class WindowTab:
    """A pane and its own input."""

    pane: Pane
    input: InputRow


@dataclass(frozen=True)
class Layout:
    """A widget and its rectangle; ``rows`` of None: a flow widget."""

    widget: Any
    left: int
    top: int
    cols: int
    rows: int | None
    focus: Context | None = None  # what a click into it chooses

    @property
    def size(self) -> Any:
        return (self.cols,) if self.rows is None else (self.cols, self.rows)


class _Wall(Box):
    _selectable = False

    def __init__(self, scene: PaneContext) -> None:
        super().__init__()
        self._sign = scene.signs.wall

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        canvas = urwid.CompositeCanvas(urwid.SolidCanvas(self._sign, cols, rows))
        canvas.fill_attr("line")
        return canvas


class Window(Box):
    """The topmost widget."""

    no_cache = ("render",)

    def __init__(
        self,
        scene: PaneContext,
        run: Callable[[str, str], None],
        make_input: Callable[[], InputRow],
    ) -> None:
        super().__init__()
        self.scene = scene
        self._run, self._make_input = run, make_input
        self._keymap = Keymap()
        self.people = PeopleList(scene)
        self.header = Header(scene)
        self.net = NetPane(scene)
        self.transfers = TransfersPane(scene)
        self.tabs: list[WindowTab] = [WindowTab(self.net, make_input()), WindowTab(self.transfers, make_input())]
        self.here = 0
        self.focus_on = Context.INPUT
        self.list_beside = True
        self.overlay: Box | None = None
        self.finder: FindBar | None = None
        self.banner = Banner(scene)
        self.tab_row = TabBar(scene, lambda: [tab.pane for tab in self.tabs], lambda: self.here)
        self.footer = Footer(scene, self._hints)
        self._wall = _Wall(scene)

    # --- tabs ----------------------------------------------------------------------------------

    @property
    def tab(self) -> WindowTab:
        return self.tabs[self.here]

    @property
    def input(self) -> InputRow:
        return self.tab.input

    @property
    def chat(self) -> ChatID | None:
        """The chat that is shown."""
        pane = self.tab.pane
        return pane.chat if isinstance(pane, ConversationPane) else None

    def tab_of(self, chat: ChatID) -> int | None:
        """The number of a chat's tab."""
        for index, tab in enumerate(self.tabs):
            if isinstance(tab.pane, ConversationPane) and tab.pane.chat == chat:
                return index
        return None

    def open(self, chat: ChatID) -> int:
        """A chat's tab, made if it is not there; it is not shown by this."""
        index = self.tab_of(chat)
        if index is None:
            index = len(self.tabs) - 1  # the transfers stay last
            pane = ConversationPane(self.scene, chat, self._show_text)
            self.tabs.insert(index, WindowTab(pane, self._make_input()))
            if self.here >= index:
                self.here += 1
            self.refresh()
        return index

    def move_chat(self, former: ChatID, chat: ChatID) -> None:
        """The tab of the chat ``former`` shows ``chat``, with the texts of both inputs; another tab of it goes."""
        index, other = self.tab_of(former), self.tab_of(chat)
        if index is None:
            return
        tab, shown = self.tabs[index], self.tab
        tab.pane = ConversationPane(self.scene, chat, self._show_text)
        if other is not None:
            tab.input.put(joined_drafts(tab.input.text, self.tabs[other].input.text))
            shown = tab if shown is self.tabs[other] else shown
            del self.tabs[other]
        self.here = self.tabs.index(shown)
        self.show(self.here)

    def show(self, index: int) -> None:
        """Bring a tab to the front; its input, or its list, has the keys."""
        index = max(0, min(index, len(self.tabs) - 1))
        if index != self.here:
            self.tab.pane.left()
            self.here = index
        if self.finder is not None and self.finder.chat != self.chat:
            self.finder = None
        self.people.here = self.chat
        self.people.filter = None
        self.focus_on = self.tab.pane.context
        self.footer.quiet()
        self.refresh()

    def close(self, index: int) -> bool:
        """Close a chat's tab; False for one that stays."""
        if not isinstance(self.tabs[index].pane, ConversationPane):
            return False
        here = self.here
        del self.tabs[index]
        self.here = min(here, len(self.tabs) - 1) if here < index else max(0, here - 1)
        self.show(self.here)
        return True

    def cover(self, overlay: Box | None) -> None:
        """Put something over the tab, without an old line below it; None: the tab is there again as it was."""
        self.overlay = overlay
        self.footer.quiet()
        self.refresh()

    def _show_text(self, text: SafeText) -> None:
        """All of a message that is too long for its row."""
        title = f"All of the message, {count_text(len(text), 'character')}"
        self.cover(TextPage(title, text, self.scene.signs, self.back))

    # --- what happens outside ------------------------------------------------------------------

    def say(self, text: str, warning: bool = False) -> None:
        """A line at the bottom, for some seconds."""
        self.footer.say(text, warning)
        self.changed()

    def refresh(self) -> None:
        """The model changed: draw again what is in view, and keep the rows that did not change."""
        for widget in (self.header, self.tab_row, self.banner, self.tab.pane, self.footer):
            widget.changed()
        self.people.refresh()
        if self.overlay is not None:
            self.overlay.changed()
        self.changed()

    def tick(self) -> None:
        """Once a second."""
        self.footer.tick()
        self.header.changed()
        if self.tab.pane is self.net or self.chat is not None:
            self.tab.pane.changed()

    def context(self) -> Context:
        """Return the context that a key belongs to."""
        if isinstance(self.overlay, LoginForm):
            return Context.FORM
        if isinstance(self.overlay, FilePicker):
            return Context.PICKER
        if isinstance(self.overlay, ResultsView):
            return Context.RESULTS
        if isinstance(self.overlay, RequestsView):
            return Context.REQUESTS
        return self.focus_on

    def back(self) -> None:
        """Esc: to the input, or to the list of a tab that is one; nothing is deleted."""
        self.overlay = None
        self.finder = None
        self.people.filter = None
        if self.focus_on is Context.INPUT and not self.input.text:
            self.focus_on = self.tab.pane.context
        elif self.focus_on is not Context.INPUT:
            self.focus_on = Context.INPUT if self.focus_on is Context.PEOPLE else self.tab.pane.context
        if self.tab.pane.context is Context.TRANSFERS and not self.input.text:
            self.focus_on = Context.TRANSFERS
        self.footer.quiet()
        self.refresh()

    def toggle_people(self) -> None:
        """F2: show and focus; again: hide; on a small screen it takes the place of the pane."""
        if self.focus_on is Context.PEOPLE:
            self.list_beside = self.size[0] < PEOPLE_BESIDE_FROM
            self.back()
        else:
            self.list_beside = True
            self.focus_on = Context.PEOPLE
            self.people.begin()
        self.refresh()

    # --- drawing -------------------------------------------------------------------------------

    def render(self, size: Any, focus: bool = False) -> Any:
        """Never from urwid's cache: it only puts together what its parts keep."""
        self.size = cols, rows = size
        return self.draw(cols, rows, focus)

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        shown = self.scene.model.shown
        shown.drawn({})  # if it cannot be drawn
        if cols < MIN_COLS or rows < MIN_ROWS:
            text = f"{MIN_COLS}×{MIN_ROWS} needed (now {cols}×{rows}). Everything keeps running."
            return urwid.Filler(urwid.Text(text), "top").render((cols, rows))
        places = self._places(cols, rows)
        strips = groupby(places, lambda place: place.top)
        canvas = stack([beside([self._part(place) for place in strip]) for _, strip in strips], cols, rows)
        boxes = (place.widget for place in places if isinstance(place.widget, Box))
        shown.drawn({place: question for box in boxes for place, question in box.shows.items()})
        return canvas

    def _part(self, place: Layout) -> tuple[urwid.Canvas, int]:
        focused = (place.focus is not None and place.focus is self.context()) or place.widget is self.overlay
        return place.widget.render(place.size, focused), place.cols

    def _places(self, cols: int, rows: int) -> list[Layout]:
        foot = self.footer.needed_rows(cols)
        top = Layout(self.header, 0, 0, cols, 1)
        bottom = Layout(self.footer, 0, rows - foot, cols, foot)
        alarm = self.banner.needed_rows(cols)
        if self.overlay is not None:
            return [top, Layout(self.overlay, 0, 1, cols, rows - 1 - foot), bottom]
        finding = self.finder if self.focus_on is Context.FIND else None
        self.input.prompt = self._prompt()
        self.input.max_rows = max(1, min(MAX_ROWS, rows // 4))
        input_rows = 1 if finding is not None else self.input.rows((cols,))
        body_top = 2 + alarm
        body = rows - body_top - input_rows - foot
        places = [top, Layout(self.tab_row, 0, 1, cols, 1)]
        if alarm:
            places.append(Layout(self.banner, 0, 2, cols, alarm))
        pane = self.tab.pane
        if cols >= PEOPLE_BESIDE_FROM and self.list_beside:
            people = PEOPLE_COLS_WIDE if cols >= WIDE_FROM else PEOPLE_COLS
            places += [
                Layout(self.people, 0, body_top, people, body, Context.PEOPLE),
                Layout(self._wall, people, body_top, 1, body),
                Layout(pane, people + 1, body_top, cols - people - 1, body, pane.context),
            ]
        elif self.focus_on is Context.PEOPLE:
            places.append(Layout(self.people, 0, body_top, cols, body, Context.PEOPLE))
        else:
            places.append(Layout(pane, 0, body_top, cols, body, pane.context))
        if finding is not None:
            places.append(Layout(finding, 0, body_top + body, cols, None, Context.FIND))
        else:
            places.append(Layout(self.input, 0, body_top + body, cols, None, Context.INPUT))
        return [*places, bottom]

    def _prompt(self) -> Markup:
        if self.focus_on is not Context.INPUT:
            return ("text.soft", "(list) ")
        pane = self.tab.pane
        if isinstance(pane, ConversationPane):
            name = cut(pane.name, 16, self.scene.signs)
            return ("prompt.alarm", f"{name} (held)> ") if pane.held() else ("prompt", f"{name}> ")
        return ("prompt", "> ")

    def _hints(self) -> list[tuple[str, str]]:
        """The keys that make sense now, the most useful first."""
        model, chat = self.scene.model, self.chat
        context = self.context()
        if self.overlay is not None and context not in _OVERLAY_CONTEXTS:  # a page over a list: not the list's keys
            below = not isinstance(self.overlay, Scroller) or not self.overlay.at_end()
            return [("Esc", "back"), *([("PgDn", "more")] if below else [])]
        if isinstance(self.overlay, RequestsView) and self.overlay.is_reading:
            return _FIXED_HINTS[context][1:]
        if context in _FIXED_HINTS:
            return _FIXED_HINTS[context]
        hints: list[tuple[str, str]] = []
        pane = self.tab.pane
        if isinstance(pane, ConversationPane):
            if pane.held():
                hints += [("", "Sending is held until you choose"), hint("keep_key")]
            if chat is not None and model.offer_of(chat) is not None:
                hints += [hint("accept"), hint("save_as"), hint("refuse")]
            if not pane.at_end():
                hints.append(hint("to_end"))
        if any(tab.pane.news() for i, tab in enumerate(self.tabs) if i != self.here and tab.pane is not self.transfers):
            hints.append(hint("next_unread"))
        if chat is not None:
            hints += [hint("send"), hint("new_line")]
        return [*hints, hint("help"), hint("people"), hint("pick_file"), hint("transfers"), hint("quit")]

    # --- keys and mouse ------------------------------------------------------------------------

    def key(self, key: str) -> str | None:
        context = self.context()
        if self.overlay is not None:
            if not self.footer.warning:
                self.footer.quiet()
            if key in _WHILE_OVERLAY:
                self._run(self._keymap.command(context, key), key)
            else:
                self.overlay.keypress(self.size, key)
                self.refresh()
            return None
        if not self.footer.warning:
            self.footer.quiet()
        self.footer.changed()
        if context is Context.PEOPLE and self.people.type(key):
            return None
        command = self._keymap.command(context, key)
        if command:
            self._run(command, key)
            self.refresh()
        elif context is Context.PEOPLE:
            self.people.key(key)
        elif context is Context.TRANSFERS:
            self.transfers.key(key)
        elif context is Context.FIND and self.finder is not None:
            self.finder.keypress((self.size[0],), key)
        else:
            self.input.keypress((self.size[0],), key)
        return None

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        cols, rows = self.size
        if cols < MIN_COLS or rows < MIN_ROWS:
            return False
        for place in self._places(cols, rows):
            height = place.widget.rows((place.cols,)) if place.rows is None else place.rows
            if place.left <= col < place.left + place.cols and place.top <= row < place.top + height:
                if event == _MOUSE_PRESS and button == 1 and place.focus is not None:
                    self.focus_on = place.focus
                at = (col - place.left, row - place.top)
                handled = place.widget.mouse_event(place.size, event, button, *at, True)
                if handled and event == _MOUSE_PRESS and button in (4, 5) and place.widget is self.tab.pane:
                    self._run("wheel", "")
                self.refresh()
                return bool(handled)
        return False
