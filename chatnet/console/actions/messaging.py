"""Actions of the input: messages, commands and pastes go to the peer."""

from __future__ import annotations

from chatnet.console.actions.subjects import SubjectActions
from chatnet.console.commands import PlainText, RunCommand, understand
from chatnet.console.disk import dropped_paths
from chatnet.console.keymap import Context
from chatnet.console.overlays.login import LoginForm
from chatnet.console.panes.conversation import ConversationPane
from chatnet.console.widgets.input import InputRow
from chatnet.core import limits
from chatnet.core.identity import ChatID, chat_with


def body_bytes(text: str) -> int:
    """Return the size of a message with this text, in bytes."""
    return len(text.encode("utf-8", "surrogatepass"))


class MessagingActions(SubjectActions):
    """Sends or runs what is typed, or leaves it in the input."""

    def key_send(self, stroke: str) -> None:
        row = self.view.input
        if not row.text.strip():
            if isinstance(self.view.tab.pane, ConversationPane):
                self.view.tab.pane.open_long()
            return
        self.view.footer.quiet()
        match understand(row.text):
            case PlainText(text):
                self._say_here(text)
            case RunCommand(command, rest):
                self._typed = (row, row.take())
                if self.view.tab.pane.context is not Context.INPUT:
                    self.view.focus_on = self.view.tab.pane.context
                try:
                    getattr(self, f"cmd_{command.name}")(rest)
                finally:
                    self._typed = None
            case unknown:
                self.view.say(unknown.text, warning=True)

    def _say_here(self, text: str) -> None:
        chat = self.view.chat
        if chat is None:
            self._wrong("Nobody is chosen here: F2 and Enter pick a name, or type  /msg NAME text")
        elif self._fits(text):
            row = self.view.input
            row.take()
            self.view.tab.pane.to_end()
            self._say(chat, text, row)

    def _fits(self, text: str) -> bool:
        size = body_bytes(text)
        if size <= limits.MAX_BODY_BYTES:
            return True
        limit = limits.MAX_BODY_BYTES // 1024
        as_file = " Alt-s sends it as a file." if self.view.chat is not None and text == self.view.input.text else ""
        self._wrong(f"{-(-size // 1024)} KiB is too long for a message (limit {limit} KiB).{as_file}")
        return False

    def _say(self, chat: ChatID, text: str, row: InputRow) -> None:
        """Ask the peer to send; a text that it did not store stands in the input again."""

        def put_back() -> None:
            if row.text:
                row.remember(text)
            else:
                row.put(text)

        self._ask(self._api.say, chat, text, failed=put_back, what="Not sent: ")

    def cmd_msg(self, rest: str) -> None:
        who, _, text = rest.strip().partition(" ")
        if not who:
            self._usage("msg")
            return
        person = self._somebody(who)
        if person is None:
            return
        text = text.strip()
        if self._fits(text):
            self._typed = None  # from here on it is a message
            self.open_person(person.peer)
            if text:
                self._say(chat_with(person.peer), text, self.view.input)

    def cmd_say(self, rest: str) -> None:
        if not rest:
            self._usage("say")
        elif self.view.chat is None:
            self._say_here(rest)
        elif self._fits(rest):
            self._typed = None
            self._say(self.view.chat, rest, self.view.input)

    def key_new_line(self, stroke: str) -> None:
        self.view.input.insert("\n")

    def paste(self, text: str) -> None:
        """Insert pasted text, as one piece, into the input, the find bar or the form.

        An open question counts as answered with no, as it does with most keys.
        """
        self.view.ask(None)
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        overlay = self.view.overlay
        if isinstance(overlay, LoginForm):
            overlay.paste(text)
        elif self.view.finder is not None and self.view.context() is Context.FIND:
            self.view.finder.insert(text)
        elif overlay is not None:
            self.view.say("Paste again when this is closed (Esc).")
        elif len(text) + len(self.view.input.text) > limits.MAX_PASTE_CHARS:
            self.view.say(f"{len(text)} characters are too many for the input: send them as a file (F5).", True)
        else:
            self.view.focus_on = Context.INPUT
            row, chat = self.view.input, self.view.chat
            paths = dropped_paths(text) if chat is not None and not row.text else ()
            row.insert("".join(c for c in text if c in "\n\t" or c.isprintable() or ord(c) > 0xA0))
            lines = text.rstrip("\n").count("\n") + 1
            if lines > 1:
                self.view.say(f"{lines} lines were pasted; {self._enter_does()} Ctrl-_ takes them out again.")
            elif chat is not None and paths:
                self._ask_to_offer(chat, paths, row)

    def _enter_does(self) -> str:
        """Return what Enter would do with the text in the input."""
        match understand(self.view.input.text):
            case RunCommand(command):
                return f"Enter runs all of it as one /{command.name}."
            case PlainText() if self.view.chat is None:
                return "nobody is chosen here yet: F2 picks a name, /msg NAME begins a message."
            case PlainText():
                return "Enter sends them as one message."
            case _:
                return "it begins with a slash but is no command; one slash more before it, and Enter sends it as text."
