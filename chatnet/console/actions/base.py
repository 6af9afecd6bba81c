"""The base of all actions: the peer, the model and the view, and how the peer is asked."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import urwid
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.console.commands import BY_NAME
from chatnet.console.completion import Completer, PathQuestion, shown_candidates
from chatnet.console.disk import Disk, Names, expanded, names_in
from chatnet.console.keymap import Context
from chatnet.console.panes.base import PaneContext
from chatnet.console.panes.conversation import ConversationPane
from chatnet.console.widgets.double_click import DoubleClick
from chatnet.console.widgets.input import Editor, InputRow
from chatnet.console.window import Window
from chatnet.core import limits
from chatnet.core.choices import Choice, Theme
from chatnet.core.errors import ChatnetError
from chatnet.core.events import AlertContent, ChatMessage, HistoryPage, MessageState
from chatnet.core.identity import ChatID, chat_with
from chatnet.peer.api import PeerApi

# What to do about a refusal, by its code: the peer says what is wrong, and knows no command.
USUAL_ADVICE = {
    "blocked": "/unblock {name} ends that.",
    "verified": "Compare the 60 digits: /verify {name}",
    "no-check": "Begin one: /verify {name} live",
    "too-often": "Compare the 60 digits instead: /verify {name}",
    "another-key": "Compare again: /verify {name}",
    "another-name": "Compare again: /verify {name}",
    "another-code": "Compare again: /verify {name} live",
}
MOST_TABS_UNASKED = 50  # strangers cannot fill the row of tabs; the list of people shows their messages too


class Terminal(Protocol):
    """The screen, as the actions use it."""

    def redraw(self) -> None:
        """Clear the screen and draw everything."""

    def set_mouse(self, on: bool) -> None:
        """Take the mouse, or leave it to the terminal."""

    def request_draw(self) -> None:
        """Draw soon."""

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not taken the newest frame yet."""

    @property
    def theme(self) -> Theme:
        """The theme that holds now."""

    def choose_theme(self, theme: Theme | None) -> bool:
        """Take a theme, None for the usual one, from now on, and return whether the next start has it, too.

        Raises OSError when it could not be kept; it is there all the same.
        """


class ActionBase:
    """They read the model, ask the peer, and change the view."""

    log = Logger()

    def __init__(
        self, api: PeerApi, scene: PaneContext, clock: Any, terminal: Terminal, disk: Disk, alerts: Choice[AlertContent]
    ) -> None:
        self._api, self._scene, self._model = api, scene, scene.model
        self._clock, self._terminal = clock, terminal
        self._disk = disk
        self._alert_content = alerts
        self._completer = Completer(scene.model, self._look_for_paths)
        self._looking: PathQuestion | None = None  # what Tab has asked the disk and does not know yet
        self._kills: list[str | bytes] = []
        self._drafts: dict[ChatID, str] = {}  # of chats whose tabs are closed
        self._told_drafts: dict[ChatID, str] = {}  # as the peer keeps them
        self._mouse_on = True
        self._quit_asked = float("-inf")  # when Ctrl-C was pressed last
        self._double_click = DoubleClick()
        self._typed: tuple[InputRow, str] | None = None  # the command that is being run, and where it stood
        self._directory = _here()
        self.view = Window(scene, self.run, self._make_input)
        self.view.people.on_click = self._person_clicked
        self.view.tab_row.on_click = self._show

    def _person_clicked(self, index: int) -> None:
        raise NotImplementedError

    def cmd_requests(self, rest: str) -> None:
        raise NotImplementedError

    def _ask_to_offer(self, chat: ChatID, paths: tuple[bytes, ...], row: InputRow) -> None:
        raise NotImplementedError

    def _make_input(self) -> InputRow:
        row = InputRow(self._completer, self._kills, lambda command: self.run(command, ""))
        urwid.connect_signal(row.editor, "completion_cycle", self._completing)
        return row

    def _completing(self, editor: Editor, cycle: tuple[tuple[tuple[str, int], ...], int] | None) -> None:
        if cycle is not None:
            candidates, chosen = cycle
            self.view.say(shown_candidates(list(candidates), chosen, self._completer.found.count))

    def _look_for_paths(self, question: PathQuestion) -> None:
        """Find out what Tab has to know of a folder, and press Tab again unless something else was typed meanwhile."""
        row = self.view.input
        before = row.text, row.editor.edit_pos
        if self._looking == question:
            self.view.say(f"Still looking into {question.shown or 'the folder'}{self._scene.signs.ellipsis}")
            return
        self._looking = question

        def came(names: Names) -> None:
            self._forget_looking(question)
            if not names.is_whole:
                most = f"{limits.FOLDER_NAMES_LOOKED_AT:,}"
                self.view.say(f"The folder has more than {most} names: Tab cannot tell which begin with these letters.")
            self._completer.answer(question, names)
            if not self._completer.is_asking and (row.text, row.editor.edit_pos) == before and row is self.view.input:
                row.keypress((self.view.size[0],), "tab")

        self._ask(
            self._disk.run,
            names_in,
            question.shown,
            question.begin,
            question.only_folders,
            then=came,
            failed=lambda: self._forget_looking(question),
        )

    def _forget_looking(self, question: PathQuestion) -> None:
        if self._looking == question:
            self._looking = None

    def run(self, command: str, stroke: str) -> None:
        """Do what a key names."""
        do: Callable[[str], None] = getattr(self, f"key_{command}")
        do(stroke)

    def _ask(
        self,
        call: Callable[..., Deferred[Any]],
        *args: Any,
        then: Callable[[Any], None] | None = None,
        failed: Callable[[], None] | None = None,
        what: str = "",
        advice: Mapping[str, str] | Callable[[ChatnetError], str] = MappingProxyType({}),
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """Ask the peer; ``then`` gets its answer, and what it refuses is told in its own words.

        ``advice``: what to do then, by the code of the refusal or by the error.  ``tell`` shows why it
        failed, in place of the status line.
        """
        typed = self._typed
        show = tell or functools.partial(self.view.say, warning=True)

        def refused(failure: Failure) -> None:
            self._put_back(typed)
            if failed is not None:
                failed()
            error = failure.value
            if isinstance(error, ChatnetError):
                text = error.text if error.text[-1:] in ".?!" else f"{error.text}."
                after = advice(error) if callable(advice) else advice.get(error.code, "")
                after = after or self._usual_advice(error, args)
                show(f"{what}{text} {after}".rstrip())
            else:
                self.log.failure("console: a request failed", failure)
                show(what + unexpected(error))

        def answered(result: Any) -> None:
            former, self._typed = self._typed, typed
            try:
                if then is not None:
                    then(result)
            finally:
                self._typed = former

        wanted = maybeDeferred(call, *args)
        wanted.addCallback(answered)
        wanted.addErrback(refused)
        wanted.addBoth(lambda result: self._terminal.request_draw())

    def _usual_advice(self, error: ChatnetError, args: Sequence[Any]) -> str:
        """Return what can be done about a refusal, as commands here; ``args`` begins with the person's key."""
        advice = USUAL_ADVICE.get(error.code, "")
        return advice.format(name=self._model.roster.name(args[0])) if advice else ""

    def _wrong(self, text: str) -> None:
        """Show why a command cannot be done, as a warning, and put the command back into the input."""
        self.view.say(text, warning=True)
        self._put_back(self._typed)

    def _put_back(self, typed: tuple[InputRow, str] | None) -> None:
        if typed is not None and not typed[0].text:
            row, line = typed
            row.put(line)
            if row is self.view.input:
                self.view.focus_on = Context.INPUT

    def _begin_command(self, start: str) -> None:
        """Put the beginning of a command into the input, from wherever; Up brings back what stood there."""
        row = self.view.input
        self.view.cover(None)
        self.view.focus_on = Context.INPUT
        if row.text:
            row.remember(row.text)
            self.view.say("Up brings back what was typed here.")
        row.put(start)

    def _show(self, index: int) -> None:
        self.view.show(index)
        self.look()

    def open_person(self, peer: bytes) -> None:
        """Show the tab of the chat with a person."""
        self.open_chat(chat_with(peer))

    def open_chat(self, chat: ChatID) -> None:
        """Show a chat's tab, with what was typed there before it was closed."""
        index = self.view.open(chat)
        draft = self._drafts.pop(chat, "")
        if draft and not self.view.tabs[index].input.text:
            self.view.tabs[index].input.put(draft)
        self._show(index)

    def _close_tab(self, index: int) -> bool:
        """Close a tab, and return False if it stays. A text not yet sent waits for the tab to open again."""
        tab = self.view.tabs[index]
        if not self.view.close(index):
            return False
        if isinstance(tab.pane, ConversationPane) and tab.input.text:
            self._drafts[tab.pane.chat] = tab.input.text
        return True

    def look(self) -> None:
        """Load what is in view, and mark it as read."""
        pane = self.view.tab.pane
        if not isinstance(pane, ConversationPane):
            return
        chat_rows = pane.chat_rows
        if not chat_rows.loaded and not chat_rows.loading:
            self._load(pane)
        if self.view.overlay is not None or not chat_rows.loaded or not pane.at_end():
            return
        pane.moved(-chat_rows.trim())
        if chat_rows.rows and chat_rows.last_n > chat_rows.told_n:
            chat_rows.told_n = chat_rows.last_n
            self._ask(self._api.mark_read, pane.chat, chat_rows.last_n)

    def has_room_for_a_tab(self) -> bool:
        """Return whether a tab may still be opened for a chat that the user did not ask for."""
        return len(self.view.tabs) < MOST_TABS_UNASKED

    def arrived(self, message: ChatMessage) -> None:
        """Handle a new row: open a tab behind the others if somebody wrote, and trim a pane that is at its end."""
        view = self.view
        index = view.tab_of(message.chat)
        calls = not message.mine and message.state is not MessageState.REFUSED  # unasked, as an offer may be
        if index is None and calls and self.has_room_for_a_tab():
            index = view.open(message.chat)
        pane = view.tabs[index].pane if index is not None else None
        if isinstance(pane, ConversationPane) and pane.at_end():
            pane.moved(-pane.chat_rows.trim())

    def _load(self, pane: ConversationPane, before: int | None = None, after: int | None = None) -> None:
        """Load rows of the history: the last ones, those before row ``before``, or those behind row ``after``."""
        chat_rows = pane.chat_rows
        chat_rows.loading = True
        cleared = chat_rows.cleared

        def came(page: HistoryPage) -> None:
            if chat_rows.cleared != cleared:
                return
            if after is None:
                pane.moved(chat_rows.put_page(page))
                pane.changed()
                self.look()
            else:
                pane.hold()
                chat_rows.put_newer(page)
                pane.changed()

        def failed() -> None:
            chat_rows.loading = False

        self._ask(
            self._api.history,
            pane.chat,
            before,
            limits.HISTORY_PAGE // 2,
            after,
            then=came,
            failed=failed,
            what="The history could not be read: ",
        )

    def _usage(self, name: str) -> None:
        command = BY_NAME[name]
        self._wrong(f"{command.shown}: {command.help}")

    def is_double_click(self, what: object) -> bool:
        """Whether the same thing was clicked a moment ago."""
        return self._double_click.is_second(what, self._clock.seconds())


def unexpected(error: BaseException | None) -> str:
    return f"That did not work ({type(error).__name__}); /log says where to read more."


def local_path(typed: str) -> bytes:
    """Return a typed path as the peer takes it: absolute, in bytes, with ``~`` and relative paths resolved."""
    return os.fsencode(os.path.abspath(os.path.join(_here(), expanded(typed))))


def _here() -> str:
    """Return the folder in which the program was started, if it still exists."""
    try:
        return os.getcwd()
    except OSError:
        return os.path.expanduser("~")
