"""What keys and commands do: ``key_…`` for the table of keys, ``cmd_…`` for the slash commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet import __version__
from chatnet.console.commands import BY_NAME, Run, Say, did_you_mean, split_words, understand
from chatnet.console.completion import Completer
from chatnet.console.conversation import ConversationPane
from chatnet.console.help import HelpView
from chatnet.console.input import InputRow
from chatnet.console.keys import Context
from chatnet.console.login import LoginDefaults, LoginForm
from chatnet.console.panes import Scene
from chatnet.console.picker import FilePicker
from chatnet.console.view import View
from chatnet.console.words import count_text, seen_text
from chatnet.core import limits
from chatnet.core.errors import ChatnetError
from chatnet.core.events import HistoryPage, Me, Person, Transfer, TransferState
from chatnet.core.identity import grouped_text, short_text
from chatnet.core.text import safe_line
from chatnet.peer.api import PeerApi

QUIT_TWICE_SECONDS = 2.0
PASTE_CHARS = 1_000_000  # more than this is no message, and would only make the editor slow
PAGE_ROWS = 100


class Terminal(Protocol):
    """What the actions need of the screen."""

    def redraw(self) -> None:
        """Draw everything anew."""

    def set_mouse(self, on: bool) -> None:
        """Take the mouse, or leave it to the terminal."""

    def request_draw(self) -> None:
        """Draw soon."""


class Actions:
    """The hands of the console: they read the model, ask the peer, and change the view."""

    log = Logger()

    def __init__(self, api: PeerApi, scene: Scene, clock: Any, terminal: Terminal) -> None:
        self._api, self._scene, self._model = api, scene, scene.model
        self._clock, self._terminal = clock, terminal
        self._completer = Completer(scene.model)
        self._kills: list[str | bytes] = []
        self._mouse_on = True
        self._quit_asked: dict[str, float] = {}
        self._last_click: tuple[object, float] = (None, 0.0)
        self._directory = os.path.expanduser("~")
        self.view = View(scene, self.run, self._make_input)
        self.view.people.on_click = self._person_clicked
        self.view.tab_row.on_click = self._show

    def _make_input(self) -> InputRow:
        row = InputRow(self._completer, self._kills, lambda command: self.run(command, ""))
        return row

    def run(self, command: str, stroke: str) -> None:
        """Do what a key names."""
        do: Callable[[str], None] = getattr(self, f"key_{command}")
        do(stroke)

    def _ask(self, wanted: Deferred[Any], then: Callable[[Any], None] | None = None, what: str = "") -> None:
        """Wait for the peer; what it refuses is told in its own words, in the status line."""

        def failed(failure: Failure) -> None:
            error = failure.value
            if isinstance(error, ChatnetError):
                self.view.say(f"{what}{error.text}", warning=True)
            else:
                self.log.failure("console: a request failed", failure)
                self.view.say(what + _unexpected(error), warning=True)

        wanted.addCallback(then or (lambda result: None))
        wanted.addErrback(failed)
        wanted.addBoth(lambda result: self._terminal.request_draw())

    # --- tabs and people -----------------------------------------------------------------------

    def _show(self, index: int) -> None:
        self.view.show(index)
        self.look()

    def open_person(self, peer: bytes) -> None:
        """Show a person's tab."""
        self._show(self.view.open(peer))

    def look(self) -> None:
        """What is in view is loaded, and counts as read."""
        pane = self.view.tab.pane
        if not isinstance(pane, ConversationPane):
            return
        conversation = pane.conversation
        if not conversation.loaded and not conversation.loading:
            self._load(pane, None)
        if self.view.overlay is not None or not conversation.loaded or not pane.at_end():
            return
        pane.moved(-conversation.trim())
        if conversation.rows and conversation.last_n > conversation.told_n:
            conversation.told_n = conversation.last_n
            self._ask(self._api.mark_read(pane.peer, conversation.last_n))

    def _load(self, pane: ConversationPane, before: int | None) -> None:
        conversation = pane.conversation
        conversation.loading = True

        def came(page: HistoryPage) -> None:
            pane.moved(conversation.put_page(page))
            pane.changed()
            self.look()

        wanted = self._api.history(pane.peer, before, PAGE_ROWS)
        wanted.addErrback(self._not_loaded, conversation)
        self._ask(wanted, came, "The history could not be read: ")

    def _not_loaded(self, failure: Failure, conversation: Any) -> Failure:
        conversation.loading = False
        return failure

    def _scrolled(self) -> None:
        pane = self.view.tab.pane
        if isinstance(pane, ConversationPane):
            conversation = pane.conversation
            if conversation.more and conversation.loaded and not conversation.loading and pane.near_top():
                self._load(pane, conversation.rows[0].n if conversation.rows else None)
            self.look()

    def is_double_click(self, what: object) -> bool:
        """Whether the same thing was clicked a moment ago."""
        last, at = self._last_click
        now = self._clock.seconds()
        double = bool(last == what and now - at <= limits.DOUBLE_CLICK_SECONDS)
        self._last_click = (None, 0.0) if double else (what, now)
        return double

    def _person_clicked(self, index: int) -> None:
        peer = self.view.people.peer_at(index)
        if peer is None or not self.is_double_click(("person", peer)):
            return
        open_tab = self.view.tab_of(peer)
        if open_tab is not None:
            self.view.close(open_tab)
            self.look()
        else:
            self.open_person(peer)

    def key_wheel(self, stroke: str) -> None:
        self._scrolled()

    def key_go_to_tab(self, stroke: str) -> None:
        number = int(stroke[-1]) or 10
        if number <= len(self.view.tabs):
            self._show(number - 1)

    def key_previous_tab(self, stroke: str) -> None:
        self._show((self.view.here - 1) % len(self.view.tabs))

    def key_next_tab(self, stroke: str) -> None:
        self._show((self.view.here + 1) % len(self.view.tabs))

    def key_next_unread(self, stroke: str) -> None:
        tabs = self.view.tabs
        for step in range(1, len(tabs) + 1):
            index = (self.view.here + step) % len(tabs)
            if isinstance(tabs[index].pane, ConversationPane) and index != self.view.here and tabs[index].pane.news():
                self._show(index)
                return
        for person in self._model.roster.people.values():
            if person.unread and person.peer != self.view.peer:
                self.open_person(person.peer)
                return
        self.view.say("Nothing unread.")

    def key_close_tab(self, stroke: str) -> None:
        if not self.view.close(self.view.here):
            self.view.say("This tab stays; Alt-w closes conversations.")
        self.look()

    def key_page_up(self, stroke: str) -> None:
        self._page(-1)

    def key_page_down(self, stroke: str) -> None:
        self._page(1)

    def _page(self, pages: int) -> None:
        if self.view.context() is Context.PEOPLE:
            self.view.people.key("page up" if pages < 0 else "page down")
        else:
            self.view.tab.pane.page(pages)
            self._scrolled()

    def key_to_top(self, stroke: str) -> None:
        self.view.tab.pane.to_top()
        self._scrolled()

    def key_to_end(self, stroke: str) -> None:
        self.view.tab.pane.to_end()
        self._scrolled()

    def key_people(self, stroke: str) -> None:
        self.view.toggle_people()

    def key_open_selected(self, stroke: str) -> None:
        person = self.view.people.chosen()
        if person is not None:
            self.open_person(person.peer)

    def key_filter_people(self, stroke: str) -> None:
        self.view.people.filter = ""
        self.view.people.changed()

    def key_whois_selected(self, stroke: str) -> None:
        person = self.view.people.chosen()
        if person is not None:
            self._tell_who(person)

    def key_send_to_selected(self, stroke: str) -> None:
        person = self.view.people.chosen()
        if person is not None:
            self.open_person(person.peer)
            self.key_pick_file(stroke)

    # --- talking -------------------------------------------------------------------------------

    def key_send(self, stroke: str) -> None:
        row = self.view.input
        if not row.text.strip():
            return
        match understand(row.text):
            case Say(text):
                self._say_here(text)
            case Run(command, rest):
                row.take()
                if self.view.tab.pane.context is not Context.INPUT:
                    self.view.focus_on = self.view.tab.pane.context
                getattr(self, f"cmd_{command.name}")(rest)
            case unknown:
                self.view.say(unknown.text, warning=True)

    def _say_here(self, text: str) -> None:
        peer = self.view.peer
        if peer is None:
            self.view.say("Nobody is chosen here: F2 and Enter pick a name, or type  /msg NAME text", warning=True)
        elif self._fits(text):
            row = self.view.input
            row.take()
            self.view.tab.pane.to_end()
            self._say(peer, text, row)

    def _fits(self, text: str) -> bool:
        size = len(text.encode("utf-8", "surrogatepass"))
        if size <= limits.MAX_BODY_BYTES:
            return True
        limit = limits.MAX_BODY_BYTES // 1024
        self.view.say(f"{max(1, round(size / 1000))} kB is too long for a message (limit {limit} KiB).", warning=True)
        return False

    def _say(self, peer: bytes, text: str, row: InputRow) -> None:
        """Ask the peer to send; a text that it did not store stands in the input again."""

        def put_back(failure: Failure) -> Failure:
            if row.text:
                row.remember(text)
            else:
                row.put(text)
            return failure

        wanted = self._api.say(peer, text)
        wanted.addErrback(put_back)
        self._ask(wanted, what="Not sent: ")

    def key_new_line(self, stroke: str) -> None:
        self.view.input.insert("\n")

    def key_delete_or_quit(self, stroke: str) -> None:
        if self.view.input.text:
            self.view.input.keypress((self.view.size[0],), stroke)
        else:
            self.key_quit(stroke)

    def paste(self, text: str) -> None:
        """What was pasted, as one piece, into the input or the form."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        overlay = self.view.overlay
        if isinstance(overlay, LoginForm):
            overlay.paste(text)
        elif overlay is not None:
            self.view.say("Paste again when this is closed (Esc).")
        elif len(text) > PASTE_CHARS:
            self.view.say(f"{len(text)} characters are too many for the input: send them as a file (F5).", True)
        else:
            self.view.focus_on = Context.INPUT
            self.view.input.insert("".join(c for c in text if c in "\n\t" or c.isprintable() or ord(c) > 0xA0))
            lines = text.count("\n") + 1
            if lines > 1:
                self.view.say(f"{lines} lines were pasted; Enter sends them as one message.")

    # --- files ---------------------------------------------------------------------------------

    def key_pick_file(self, stroke: str) -> None:
        peer = self.view.peer
        if peer is None:
            self.view.say("Send to whom? Open a conversation first (F2, Enter), or type  /send NAME path", warning=True)
            return

        def chosen(paths: tuple[str, ...]) -> None:
            self.view.overlay = None
            self._directory = picker.directory
            self._offer(peer, paths)

        name = self._model.roster.name(peer)
        picker = FilePicker(self._directory, name, self._scene.signs, chosen, self.view.back)
        picker.double_click = self.is_double_click
        self.view.overlay = picker
        self.view.changed()

    def _offer(self, peer: bytes, paths: tuple[str, ...]) -> None:
        name = self._model.roster.name(peer)

        def offered(transfer: Transfer) -> None:
            self.view.say(f"{transfer.title} is offered to {name}.")

        self._ask(self._api.offer(peer, paths), offered)

    def _offer_here(self) -> Transfer | None:
        """The offer that Alt-y, Alt-n and Alt-s answer; None is told why."""
        if self.view.input.text:
            self.view.say("Only with an empty input: send or delete what is typed first.")
            return None
        peer = self.view.peer
        transfer = self._model.offer_of(peer) if peer is not None else None
        if transfer is None:
            self.view.say("No offer of a file waits for an answer in this tab.")
        return transfer

    def key_accept(self, stroke: str) -> None:
        transfer = self._offer_here()
        if transfer is not None:
            self._ask(self._api.accept(transfer.fid))

    def key_refuse(self, stroke: str) -> None:
        transfer = self._offer_here()
        if transfer is not None:
            self._ask(self._api.refuse(transfer.fid))

    def key_save_as(self, stroke: str) -> None:
        transfer = self._offer_here()
        if transfer is not None:
            self.view.focus_on = Context.INPUT
            self.view.input.put(f"/accept {self._model.numbers[transfer.fid]} ~/")
            self.view.say(f"Into which directory shall {transfer.title} go? Tab completes, Enter accepts.")

    def key_transfers(self, stroke: str) -> None:
        self._show(len(self.view.tabs) - 1)

    def key_open_transfer(self, stroke: str) -> None:
        transfer = self.view.transfers.chosen()
        if transfer is not None:
            self.open_person(transfer.peer)

    def key_accept_selected(self, stroke: str) -> None:
        self._answer(self.view.transfers.chosen(), self._api.accept, "to accept")

    def key_refuse_selected(self, stroke: str) -> None:
        self._answer(self.view.transfers.chosen(), self._api.refuse, "to refuse")

    def key_cancel_selected(self, stroke: str) -> None:
        self._cancel(self.view.transfers.chosen())

    def _answer(self, transfer: Transfer | None, answer: Callable[[bytes], Deferred[Transfer]], what: str) -> None:
        if transfer is None or transfer.outgoing or transfer.state is not TransferState.OFFERED:
            self.view.say(f"There is nothing {what} here.")
        else:
            self._ask(answer(transfer.fid))

    def _cancel(self, transfer: Transfer | None) -> None:
        if transfer is None or transfer.state.ended:
            self.view.say("There is nothing to cancel here.")
        else:
            self._ask(self._api.cancel(transfer.fid))

    def key_forget_ended(self, stroke: str) -> None:
        def forgotten(result: None) -> None:
            self._model.forget_ended()
            self.view.refresh()

        self._ask(self._api.forget_ended(), forgotten)

    def key_command_line(self, stroke: str) -> None:
        self.view.focus_on = Context.INPUT
        self.view.input.put("/")

    # --- the program ---------------------------------------------------------------------------

    def key_help(self, stroke: str) -> None:
        self._help()

    def _help(self, search: str = "") -> None:
        self.view.overlay = HelpView(self.view.back, search, str(self.view.context()))
        self.view.changed()

    def key_mouse(self, stroke: str) -> None:
        self._mouse_on = not self._mouse_on
        self._terminal.set_mouse(self._mouse_on)
        self.view.say("The mouse is on." if self._mouse_on else "The mouse is off: the terminal's own selection works.")

    def key_redraw(self, stroke: str) -> None:
        self._terminal.redraw()

    def key_back(self, stroke: str) -> None:
        self.view.back()

    def _asked_before(self, key: str) -> bool:
        now = self._clock.seconds()
        again = bool(now - self._quit_asked.get(key, float("-inf")) <= QUIT_TWICE_SECONDS)
        self._quit_asked[key] = now
        return again

    def _loss(self) -> str:
        running = len(self._model.active())
        if not running:
            return ""
        return f"{count_text(running, 'transfer')} {'is' if running == 1 else 'are'} under way and would end"

    def key_quit(self, stroke: str) -> None:
        loss = self._loss()
        if loss and not self._asked_before(stroke):
            self.view.say(f"{loss}. Once more within two seconds quits.", warning=True)
        else:
            self._quit()

    def key_quit_twice(self, stroke: str) -> None:
        if self._asked_before(stroke):
            self._quit()
        else:
            loss = self._loss()
            self.view.say(f"Press again to quit{f' ({loss})' if loss else ''}.", warning=True)

    def _quit(self) -> None:
        self.view.say("Leaving.")
        self._ask(self._api.quit())

    def key_no_stop(self, stroke: str) -> None:
        name = self._model.me.name if self._model.me is not None else "NAME"
        self.view.say(
            "Not stopped: it would halt every transfer. To stay online without a window: "
            f"quit, then  twistd chatpeer --name {name}"
        )

    # --- the login form ------------------------------------------------------------------------

    def show_login(self, defaults: LoginDefaults, reason: str = "") -> None:
        """The form, or the form again with the reason."""
        if isinstance(self.view.overlay, LoginForm):
            self.view.overlay.failed(reason)
            return
        form = LoginForm(defaults, lambda values: self._log_in(form, values), reason)
        self.view.overlay = form
        self.view.changed()

    def _log_in(self, form: LoginForm, values: LoginDefaults) -> None:
        def done(me: Me) -> None:
            self._model.me = me
            if self.view.overlay is form:
                self.view.overlay = None
            self.view.refresh()

        def failed(failure: Failure) -> None:
            error = failure.value
            if isinstance(error, ChatnetError):
                form.failed(error.text)
            else:
                self.log.failure("console: login failed", failure)
                form.failed(_unexpected(error))

        wanted = self._api.login(values.name, values.registry, values.presentation)
        wanted.addCallbacks(done, failed)
        wanted.addErrback(lambda failure: self.log.failure("console: login", failure))
        wanted.addBoth(lambda result: self._terminal.request_draw())

    # --- slash commands ------------------------------------------------------------------------

    def _somebody(self, who: str) -> Person | None:
        """A person by name or key; None is told."""
        person = self._model.roster.find(who)
        if person is None:
            near = did_you_mean(who.lower(), self._model.roster.names())
            guess = f" Did you mean {near}?" if near else " /peers shows who is here."
            self.view.say(f"Nobody here is called {who[:40]}.{guess}", warning=True)
        return person

    def cmd_msg(self, rest: str) -> None:
        who, _, text = rest.strip().partition(" ")
        if not who:
            self._usage("msg")
            return
        person = self._somebody(who)
        if person is None:
            return
        here = self.view.input
        self.open_person(person.peer)
        if not text.strip():
            return
        row = self.view.input
        if self._fits(text.strip()):
            self._say(person.peer, text.strip(), row)
        else:
            here.put(f"/msg {rest}")

    def cmd_say(self, rest: str) -> None:
        if not rest:
            self._usage("say")
        elif self.view.peer is None or not self._fits(rest):
            self.view.input.put(f"/say {rest}")
            if self.view.peer is None:
                self._say_here(rest)
        else:
            self._say(self.view.peer, rest, self.view.input)

    def _usage(self, name: str) -> None:
        command = BY_NAME[name]
        self.view.say(f"{command.shown}: {command.help}", warning=True)

    def cmd_close(self, rest: str) -> None:
        self.key_close_tab("")

    def cmd_clear(self, rest: str) -> None:
        pane = self.view.tab.pane
        if isinstance(pane, ConversationPane):
            conversation = pane.conversation
            conversation.rows.clear()
            conversation.more = True
            pane.to_end()
        elif pane is self.view.net:
            self._model.notices.clear()
            pane.to_end()
        self.view.refresh()

    def cmd_send(self, rest: str) -> None:
        words = split_words(rest)
        peer = self.view.peer
        if words and (peer is None or not os.path.exists(os.path.expanduser(words[0]))):
            person = self._model.roster.find(words[0])
            if person is not None:
                peer, words = person.peer, words[1:]
            elif peer is None:
                self._somebody(words[0])
                self.view.input.put(f"/send {rest}")
                return
        if peer is None:
            self._usage("send")
        elif not words:
            self.open_person(peer)
            self.key_pick_file("")
        else:
            paths = tuple(os.path.abspath(os.path.expanduser(word)) for word in words)
            missing = next((path for path in paths if not os.path.lexists(path)), None)
            if missing is not None:
                self.view.say(_no_such_file(missing), warning=True)
                self.view.input.put(f"/send {rest}")
            else:
                self._offer(peer, paths)

    def _by_number(self, words: list[str], waiting: bool) -> Transfer | None:
        """The transfer that a command names, or the obvious one; None is told."""
        if words:
            transfer = self._model.numbered(int(words[0])) if words[0].isdecimal() else None
            if transfer is None:
                self.view.say(f"There is no transfer {words[0][:20]}; F4 shows their numbers.", warning=True)
            return transfer
        fits = [t for t in self._model.transfers.values() if self._fits_command(t, waiting)]
        here = [t for t in fits if t.peer == self.view.peer]
        if not here and len(fits) != 1:
            what = "offer waits for an answer" if waiting else "transfer is under way"
            self.view.say("Which one? F4 shows their numbers." if fits else f"No {what}.", warning=True)
            return None
        return (here or fits)[-1]

    def _fits_command(self, transfer: Transfer, waiting: bool) -> bool:
        if waiting:
            return transfer.state is TransferState.OFFERED and not transfer.outgoing
        return not transfer.state.ended

    def cmd_accept(self, rest: str) -> None:
        words = split_words(rest)
        named = bool(words) and words[0].isdecimal()
        transfer = self._by_number(words[:1] if named else [], waiting=True)
        if transfer is None:
            return
        directory = " ".join(words[1:] if named else words)
        directory = os.path.abspath(os.path.expanduser(directory)) if directory else ""
        self._ask(self._api.accept(transfer.fid, directory))

    def cmd_refuse(self, rest: str) -> None:
        transfer = self._by_number(split_words(rest)[:1], waiting=True)
        if transfer is not None:
            self._ask(self._api.refuse(transfer.fid))

    def cmd_cancel(self, rest: str) -> None:
        transfer = self._by_number(split_words(rest)[:1], waiting=False)
        if transfer is not None:
            self._cancel(transfer)

    def cmd_transfers(self, rest: str) -> None:
        self.key_transfers("")

    def cmd_peers(self, rest: str) -> None:
        if self.view.focus_on is not Context.PEOPLE:
            self.view.toggle_people()
        if rest.strip():
            self.view.people.filter = rest.strip()
            self.view.people.select(1)

    def cmd_whois(self, rest: str) -> None:
        if rest.strip():
            person = self._somebody(rest.strip())
        else:
            person = self._model.roster.people.get(self.view.peer) if self.view.peer is not None else None
            if person is None:
                self._usage("whois")
        if person is not None:
            self._tell_who(person)

    def _tell_who(self, person: Person) -> None:
        facts = [f"{person.name}: key {grouped_text(person.peer)}", seen_text(person, self._scene.now_ms())]
        if person.linked:
            facts.append("linked")
        if person.address:
            facts.append(safe_line(person.address))
        if person.new_key is not None:
            facts.append(f"ANOTHER KEY uses the name now: {short_text(person.new_key)}")
        self.view.say(", ".join(facts))

    def cmd_myid(self, rest: str) -> None:
        me = self._model.me
        if me is None:
            self.view.say("Not logged in yet.")
        else:
            self.view.say(f"{me.name}: key {grouped_text(me.peer)}, short {short_text(me.peer)}")

    def cmd_net(self, rest: str) -> None:
        self._show(0)

    def cmd_reconnect(self, rest: str) -> None:
        self.view.say("Trying the registry now.")
        self._ask(self._api.reconnect())

    def cmd_log(self, rest: str) -> None:
        me = self._model.me
        self.view.say(f"The log is {me.log_file}" if me is not None else "The log begins when a name is known.")

    def cmd_help(self, rest: str) -> None:
        self._help(f"/{rest.strip().lstrip('/')}" if rest.strip() else "")

    def cmd_keys(self, rest: str) -> None:
        self._help()

    def cmd_mouse(self, rest: str) -> None:
        self.key_mouse("")

    def cmd_version(self, rest: str) -> None:
        self.view.say(f"chatnet {__version__}")

    def cmd_quit(self, rest: str) -> None:
        self.key_quit("/quit")


def _no_such_file(path: str) -> str:
    """What is missing, and the nearest name beside it."""
    directory, name = os.path.split(path)
    try:
        near = did_you_mean(name, os.listdir(directory)[:10_000])
    except OSError:
        near = ""
    shown = directory.replace(os.path.expanduser("~"), "~", 1)
    guess = f" Did you mean {safe_line(near)}?" if near else ""
    return f"/send: no file '{safe_line(name)}' in {safe_line(shown)}.{guess}"


def _unexpected(error: BaseException | None) -> str:
    return f"That did not work ({type(error).__name__}); /log says where to read more."
