"""The whole screen: where things stand at each size, which tab is shown, who gets the keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import urwid

from chatnet.console.coach import Hint, OpenChat, OpenPage, Situation, hints
from chatnet.console.keymap import Context, Keymap
from chatnet.console.overlays.contents import ContentsView
from chatnet.console.overlays.file_picker import FilePicker
from chatnet.console.overlays.info import InfoPage
from chatnet.console.overlays.login import LoginForm
from chatnet.console.overlays.page import Page, TextPage
from chatnet.console.overlays.requests import RequestsView
from chatnet.console.overlays.safety_number import SafetyNumberSheet
from chatnet.console.overlays.search_results import ResultsView
from chatnet.console.panes.bars import Banner, Footer, Header, TabBar
from chatnet.console.panes.base import Pane, PaneContext
from chatnet.console.panes.conversation import ConversationPane
from chatnet.console.panes.info import Facts, InfoColumn
from chatnet.console.panes.network import NetPane
from chatnet.console.panes.people import PeopleList
from chatnet.console.panes.question import NO, YES, Question, QuestionBar
from chatnet.console.panes.transfers import TransfersPane
from chatnet.console.widgets.base import Block, Box, Scroller
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
INFO_COLS, INFO_FROM = 36, 132

_MOUSE_PRESS = "mouse press"
_WHILE_OVERLAY = ("f1", "ctrl c", "f10", "ctrl l", "ctrl z", "meta m")  # keys that hold whatever is open
_OVERLAYS: tuple[tuple[type[Box], Context], ...] = (
    (LoginForm, Context.FORM),
    (FilePicker, Context.PICKER),
    (ResultsView, Context.RESULTS),
    (RequestsView, Context.REQUESTS),
    (ContentsView, Context.CONTENTS),
    (SafetyNumberSheet, Context.DIGITS),  # which is a Page, too
    (Page, Context.PAGE),
)


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
        self._before = self.tab  # what Esc leads back to from a tab that is a list
        self.focus_on = Context.INPUT
        self.list_beside = True
        self.overlay: Box | None = None
        self.finder: FindBar | None = None
        self.banner = Banner(scene)
        self.tab_row = TabBar(scene, lambda: [tab.pane for tab in self.tabs], lambda: self.here)
        self.footer = Footer(scene, self._hints)
        self.question_bar = QuestionBar(scene, self._answered)
        self._wall = _Wall(scene)
        self._facts = Facts(scene)
        self.info = InfoColumn(self._about)
        self.info_beside = True

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
        """Return the index of a chat's tab, or None."""
        for index, tab in enumerate(self.tabs):
            if isinstance(tab.pane, ConversationPane) and tab.pane.chat == chat:
                return index
        return None

    def open(self, chat: ChatID) -> int:
        """Return the index of a chat's tab, and make the tab if it is not there. The tab is not shown by this."""
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
        """Make the tab of the chat ``former`` show ``chat``, with the texts of both inputs.

        Another tab of ``chat`` is closed.
        """
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
            self._before = self.tab
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
        """Close a chat's tab; return False if it stays."""
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
        """Show all of a message that is too long for its row."""
        title = f"All of the message, {count_text(len(text), 'character')}"
        self.cover(TextPage(title, text, self.scene.signs, self.back))

    # --- what happens outside ------------------------------------------------------------------

    @property
    def question(self) -> Question | None:
        """What is asked now, and is answered before anything else."""
        return self.question_bar.question

    def ask(self, question: Question | None) -> None:
        """Ask before something is done; None: nothing is asked any more."""
        self.question_bar.ask(question)
        self.changed()

    def say(self, text: str, warning: bool = False) -> None:
        """Show a line at the bottom, for some seconds."""
        self.footer.say(text, warning)
        self.changed()

    def outdate(self, chat: ChatID) -> None:
        """Remove the last line, because something in ``chat`` asks for an answer or has got one.

        What the line says may be out of date.  A warning stays for its time, since it may be about something else that
        has to be read.
        """
        if self.chat in (None, chat) and not self.footer.warning:
            self.footer.quiet()

    def refresh(self) -> None:
        """Draw again what is in view after the model has changed; rows that did not change are kept."""
        for widget in (self.header, self.tab_row, self.banner, self.tab.pane, self.info, self.footer):
            widget.changed()
        self.people.refresh()
        if self.overlay is not None:
            self.overlay.changed()
        self.question_bar.changed()
        self.changed()

    def tick(self) -> None:
        """Called once a second: draw again what shows a time."""
        self.footer.tick()
        self.header.changed()
        self.info.changed()
        if self.tab.pane is self.net or self.chat is not None:
            self.tab.pane.changed()
        if isinstance(self.overlay, InfoPage):
            self.overlay.changed()

    def context(self) -> Context:
        """Return the context that a key belongs to."""
        return self._overlay_context() or self.focus_on

    def _overlay_context(self) -> Context | None:
        """Return the context of the overlay.

        None without one, and for the help, which has the context of the tab below it.
        """
        return next((context for kind, context in _OVERLAYS if isinstance(self.overlay, kind)), None)

    def tab_before(self) -> int | None:
        """Return the number of the tab to which Esc leads, the first if that was closed; None where it stays here."""
        if self.context() is not Context.TRANSFERS or self.input.text:
            return None
        return next((index for index, tab in enumerate(self.tabs) if tab is self._before), 0)

    def back(self) -> None:
        """Go back, as Esc does: to the input, or to the list of a tab that is one; nothing is deleted."""
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
        """Show the people and focus them, as F2 does, or hide them again.

        On a small screen they take the place of the pane.
        """
        if self.focus_on is Context.PEOPLE:
            self.list_beside = self.size[0] < PEOPLE_BESIDE_FROM
            self.back()
        else:
            self.list_beside = True
            self.focus_on = Context.PEOPLE
            self.people.begin()
        self.refresh()

    def toggle_info(self) -> None:
        """Show or hide the column of facts, as F6 does; a window without room for it shows them on a page."""
        if self.size[0] >= INFO_FROM:
            self.info_beside = not self.info_beside
            self.refresh()
        else:
            self.cover(InfoPage(self.scene, self._about, self.back))

    def _about(self) -> Block:
        """Return the facts about the person selected in the list while it has the keys, else about the tab in view."""
        pane, chosen = self.tab.pane, self.people.chosen()
        if self.focus_on is Context.PEOPLE and chosen is not None:
            return self._facts.of_person(chosen)
        if isinstance(pane, ConversationPane) and pane.person is not None:
            return self._facts.of_person(pane.person)
        transfer = self.transfers.chosen() if pane is self.transfers else None
        return self._facts.of_transfer(transfer) if transfer is not None else self._facts.of_network()

    # --- drawing -------------------------------------------------------------------------------

    def render(self, size: Any, focus: bool = False) -> Any:
        """Draw again each time, without urwid's cache: this only puts together what its parts keep."""
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
        if place.widget is self.input and self.question is not None:
            focused = False  # no cursor: the next key is an answer
        return place.widget.render(place.size, focused), place.cols

    def _places(self, cols: int, rows: int) -> list[Layout]:
        below = self.footer if self.question is None else self.question_bar
        foot = below.needed_rows(cols)
        top = Layout(self.header, 0, 0, cols, 1)
        bottom = Layout(below, 0, rows - foot, cols, foot)
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
        right = cols - INFO_COLS if cols >= INFO_FROM and self.info_beside else cols
        if cols >= PEOPLE_BESIDE_FROM and self.list_beside:
            people = PEOPLE_COLS_WIDE if cols >= WIDE_FROM else PEOPLE_COLS
            places += [
                Layout(self.people, 0, body_top, people, body, Context.PEOPLE),
                Layout(self._wall, people, body_top, 1, body),
            ]
            left = people + 1
        elif self.focus_on is Context.PEOPLE:
            places.append(Layout(self.people, 0, body_top, right, body, Context.PEOPLE))
            left = right
        else:
            left = 0
        if left < right:
            places.append(Layout(pane, left, body_top, right - left, body, pane.context))
        if right < cols:
            places += [
                Layout(self._wall, right, body_top, 1, body),
                Layout(self.info, right + 1, body_top, cols - right - 1, body),
            ]
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

    def _hints(self) -> list[Hint]:
        return hints(self._situation())

    def _situation(self) -> Situation:
        """Return the situation on which the bottom line depends."""
        model, pane, context = self.scene.model, self.tab.pane, self.context()
        return Situation(
            context,
            typed=self.input.text,
            page=_open_page(self.overlay),
            reads_request=isinstance(self.overlay, RequestsView) and self.overlay.is_reading,
            transfer=self.transfers.chosen() if context is Context.TRANSFERS else None,
            some_ended=any(transfer.state.ended for transfer in model.transfers.values()),
            registry=model.registry if pane is self.net else None,
            requests=len(model.requests),
            chat=self._open_chat(pane) if isinstance(pane, ConversationPane) else None,
            news_elsewhere=any(
                tab.pane.news() for i, tab in enumerate(self.tabs) if i != self.here and tab.pane is not self.transfers
            ),
        )

    def _open_chat(self, pane: ConversationPane) -> OpenChat:
        offer = self.scene.model.offer_of(pane.chat)
        return OpenChat(pane.person, offer, pane.held(), pane.has_failed(), pane.at_end())

    # --- keys and mouse ------------------------------------------------------------------------

    def _answered(self, key: str) -> None:
        """Handle a click on an answer."""
        if key == YES:
            self._run("answer", key)
        else:
            self.ask(None)

    def _answer(self, question: Question, key: str) -> bool:
        """Whether a key was an answer; any other one says no, and goes on to do what it does."""
        if key in (YES, question.again):
            self._run("answer", key)
            if self.question is not question or not question.letter:
                self.refresh()
                return True
            # Too early to have been read: somebody types a name.
        self.ask(None)
        self.refresh()
        if question.letter and self.focus_on is Context.PEOPLE and key not in (NO, "esc"):
            return self.people.begin_filter(question.letter, key)
        return key in (NO, "esc")

    def key(self, key: str) -> str | None:
        if self.question is not None and self._answer(self.question, key):
            return None
        context = self.context()
        if self.overlay is not None:
            if not self.footer.warning:
                self.footer.quiet()
            own = self._overlay_context()
            leads_to_commands = key == "/" and own is not None and self._keymap.command(own, key)
            if key in _WHILE_OVERLAY or leads_to_commands:
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
            if not self.people.begin_filter("", key):
                self.people.key(key)
            self.info.changed()
        elif context is Context.TRANSFERS:
            self.transfers.key(key)
            self.info.changed()
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
                if event == _MOUSE_PRESS and button == 1 and place.widget is not self.question_bar:
                    self.ask(None)
                if event == _MOUSE_PRESS and button == 1 and place.focus is not None:
                    self.focus_on = place.focus
                at = (col - place.left, row - place.top)
                handled = place.widget.mouse_event(place.size, event, button, *at, True)
                if handled and event == _MOUSE_PRESS and button in (4, 5) and place.widget is self.tab.pane:
                    self._run("wheel", "")
                self.refresh()
                return bool(handled)
        return False


def _open_page(overlay: Box | None) -> OpenPage | None:
    if isinstance(overlay, Page):
        return OpenPage(overlay.keys, overlay.enter_shows, goes_on=not overlay.at_end())
    if isinstance(overlay, ContentsView):
        return OpenPage([("c", "next changed name")], goes_on=not overlay.is_all_in_view())
    return OpenPage(goes_on=not overlay.at_end()) if isinstance(overlay, Scroller) else None
