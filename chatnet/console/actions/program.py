"""Help, leaving, logging in, and facts about this program."""

from __future__ import annotations

from chatnet import __version__
from chatnet.console.actions.base import ActionBase
from chatnet.console.commands import AUTO, BY_NAME
from chatnet.console.overlays.help import HelpView
from chatnet.console.overlays.login import LoginDefaults, LoginForm
from chatnet.console.panes.question import Question
from chatnet.console.widgets.wording import count_text
from chatnet.core.choices import Theme
from chatnet.core.errors import CannotListen, ChatnetError, system_reason
from chatnet.core.events import Me
from chatnet.core.text import safe_line, shown_path

QUIT_TWICE_SECONDS = 2.0
LOGIN_ADVICE = {  # by the code of a refusal
    "twin": "Choose another name.",
    "name-taken": "Another one makes a new key with an empty history; the registry's operator can free this one.",
}


class ProgramActions(ActionBase):
    """Commands and keys about the program itself."""

    typed_login: LoginDefaults | None = None  # the values of the form that was sent last

    def key_help(self, stroke: str) -> None:
        self._help()

    def _help(self, search: str = "") -> None:
        """Show the help over whatever is there, which is there again when the help is put away."""
        under = self.view.overlay
        if isinstance(under, HelpView):
            under.close()
            return

        def close() -> None:
            self.view.cover(under)

        self.view.cover(HelpView(close, search, str(self.view.context())))

    def cmd_help(self, rest: str) -> None:
        self._help(f"/{rest.strip().lstrip('/')}" if rest.strip() else "")

    def cmd_keys(self, rest: str) -> None:
        self._help()

    def key_mouse(self, stroke: str) -> None:
        self._mouse_on = not self._mouse_on
        self._terminal.set_mouse(self._mouse_on)
        self.view.say("The mouse is on." if self._mouse_on else "The mouse is off: the terminal's own selection works.")

    def cmd_mouse(self, rest: str) -> None:
        self.key_mouse("")

    def cmd_theme(self, rest: str) -> None:
        word = rest.strip().lower()
        if not word:
            self.view.say(f"The theme is {self._terminal.theme}. {BY_NAME['theme'].shown} takes another one.")
        elif word in (*Theme, AUTO):
            self._choose_theme(None if word == AUTO else Theme(word))
        else:
            self._usage("theme")

    def _choose_theme(self, theme: Theme | None) -> None:
        until, is_kept = "", True
        try:
            if not self._terminal.choose_theme(theme):
                until = " until you quit: --theme or CHATNET_THEME names another one at each start"
        except OSError as error:
            is_kept = False
            until = f" until you quit; it could not be kept ({safe_line(system_reason(error))})"
        self.view.say(f"The theme is {self._terminal.theme}{until}.", warning=not is_kept)

    def key_redraw(self, stroke: str) -> None:
        self._terminal.redraw()

    def key_back(self, stroke: str) -> None:
        before = self.view.tab_before()
        if before is not None:
            self._show(before)
        else:
            self.view.back()

    def key_delete_or_quit(self, stroke: str) -> None:
        row = self.view.input
        if row.text and row.editor.edit_pos == len(row.text):
            self.view.say("Ctrl-D quits when the input is empty; F10 quits, and keeps what is typed to somebody.")
        elif row.text:
            row.keypress((self.view.size[0],), stroke)
        else:
            self.key_quit(stroke)

    def _asked_before(self) -> bool:
        now = self._clock.seconds()
        again = bool(now - self._quit_asked <= QUIT_TWICE_SECONDS)
        self._quit_asked = now
        return again

    def _loss(self) -> str:
        running = len(self._model.active())
        if not running:
            return ""
        then = "ends with the demo" if self._scene.is_demo else "will go on next time"
        return f"{count_text(running, 'transfer')} {'is' if running == 1 else 'are'} under way and {then}"

    def _facts(self) -> str:
        """Return what a person may want to know before they leave."""
        return "; ".join(fact for fact in (self._loss(), self._unsent()) if fact)

    def _unsent(self) -> str:
        """Return what becomes of the text in the input when the program ends."""
        if not self.view.input.text.strip():
            return ""
        is_kept = self.view.chat is not None and not self._scene.is_demo
        return f"what you typed here is {'kept for next time' if is_kept else 'not kept'}"

    def key_quit(self, stroke: str) -> None:
        if not self._facts():
            self._quit()
            return

        def text() -> str:
            facts = self._facts()
            return f"Quit? {facts[0].upper()}{facts[1:]}." if facts else "Quit?"

        self.view.ask(Question(text, "quit", "stay", self._quit, again=stroke))

    def cmd_quit(self, rest: str) -> None:
        self.key_quit("")

    def key_quit_twice(self, stroke: str) -> None:
        if self._asked_before():
            self._quit()
        else:
            facts = self._facts()
            self.view.say(f"Press again to quit{f' ({facts})' if facts else ''}.", warning=True)

    def _quit(self) -> None:
        self.view.say("Leaving.")
        self._ask(self._api.quit)

    def key_no_stop(self, stroke: str) -> None:
        name = self._model.me.name if self._model.me is not None else "NAME"
        text = "Not stopped: it would halt every transfer. "
        if self._scene.is_demo:
            text += "Ctrl-C twice ends the demo."
        else:
            command = f"{self._scene.launch.twistd} chatpeer --name {name}"
            text += f"To stay online without a window: quit, then  {command}"
        self.view.say(text)

    def cmd_reconnect(self, rest: str) -> None:
        self.view.say("Trying the registry now.")
        self._ask(self._api.reconnect)

    def cmd_takeover(self, rest: str) -> None:
        self.view.say("Taking your place here: signing in now.")
        self._ask(self._api.take_over)

    def cmd_log(self, rest: str) -> None:
        me = self._model.me
        if me is None:
            self.view.say("The log begins when a name is known.")
        elif me.log_file:
            self.view.say(f"The log is {shown_path(me.log_file)}")
        else:
            self.view.say("The log goes where the program was told to write it.")

    def cmd_version(self, rest: str) -> None:
        self.view.say(f"chatnet {__version__}")

    def show_login(self, defaults: LoginDefaults, reason: str = "") -> None:
        """Show the login form, or show it again with the reason."""
        if isinstance(self.view.overlay, LoginForm):
            self.view.overlay.failed(reason)
            return
        form = LoginForm(defaults, lambda values: self._log_in(form, values), reason)
        self.view.cover(form)

    def _log_in(self, form: LoginForm, values: LoginDefaults) -> None:
        self.typed_login = values

        def done(me: Me) -> None:
            self._model.me = me
            if self.view.overlay is form:
                self.view.overlay = None
            self.view.refresh()

        def advice(error: ChatnetError) -> str:
            instead = error.instead if isinstance(error, CannotListen) else ""
            return f"Start again with --listen {instead}." if instead else LOGIN_ADVICE.get(error.code, "")

        self._ask(
            self._api.login,
            values.name,
            values.registry,
            then=done,
            tell=form.failed,
            advice=advice,
        )
