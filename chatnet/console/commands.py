"""The one table of slash commands, and how a typed line is understood."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from chatnet.core.choices import Theme
from chatnet.core.closest import closest_match
from chatnet.core.events import AlertContent


@dataclass(frozen=True)
class Command:
    """``/name arguments``; ``takes`` says what Tab completes for each word, the last one for all that follow."""

    name: str
    arguments: str
    help: str
    group: str
    takes: tuple[str, ...] = ()  # "person", "path", "directory", "command", "number", "request", "key", or words with |

    @property
    def shown(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


AUTO = "auto"  # gives a choice back
_CONTENTS = "|".join((*AlertContent, AUTO))
_THEMES = "|".join((*Theme, AUTO))

COMMANDS: tuple[Command, ...] = (
    Command("msg", "WHO [TEXT]", "open the conversation with somebody, and send a text", "Talk", ("person",)),
    Command("say", "TEXT", "send a text that begins with a slash; //text does the same", "Talk"),
    Command("resend", "", "send your newest failed message here again", "Talk"),
    Command("close", "", "close this tab; the conversation stays in the history", "Talk"),
    Command("clear", "", "empty this screen; PgUp brings the history back", "Talk"),
    Command(
        "search",
        "TEXT [from:WHO] [since:DATE]",
        'find messages with all these words, or "these words together"',
        "Find",
    ),
    Command("export", "FILE", "write this conversation into a new file; FILE.json for programs", "Find", ("path",)),
    Command("send", "[WHO] PATH…", "offer files and folders", "Files", ("person-or-path", "path")),
    Command(
        "accept", "[N] [DIRECTORY]", "take an offer, into a directory of your choice", "Files", ("number", "directory")
    ),
    Command("refuse", "[N]", "do not take an offer", "Files", ("number",)),
    Command("contents", "[N]", "look what an offer or a transfer holds: all its names", "Files", ("number",)),
    Command("cancel", "[N]", "end a transfer", "Files", ("number",)),
    Command("pause", "[N]", "hold a transfer; it keeps what has come", "Files", ("number",)),
    Command("resume", "[N]", "let a transfer go on, or try a broken one now", "Files", ("number",)),
    Command("limit", "[up|down RATE|off]", "the speed of all transfers together, e.g. /limit up 2M", "Files"),
    Command("rule", "[WHO] [ask|auto [SIZE]|refuse]", "what happens to somebody's offers", "Files", ("person",)),
    Command("transfers", "", "the tab of transfers", "Files"),
    Command("peers", "[LETTERS]", "the list of people, or those whose names have these letters", "People"),
    Command("whois", "[WHO]", "key, address and presence of somebody", "People", ("person",)),
    Command(
        "trust",
        "[WHO] XXXX-XXXX-XXXX-XXXX",
        "take somebody's new key, by its first 16 characters",
        "People",
        ("person", "key"),
    ),
    Command(
        "verify",
        "[WHO] [live | same | same code]",
        "compare keys: sixty digits, or six while both are here; then say that they are the same",
        "People",
        ("person", "live|same", "code|"),
    ),
    Command(
        "block",
        "[WHO]",
        "take nothing from somebody any more, after a question; their screen says that you did not take it",
        "People",
        ("person",),
    ),
    Command("unblock", "[WHO]", "end that", "People", ("person",)),
    Command("mute", "[WHO]", "no notice tells of somebody's messages any more", "People", ("person",)),
    Command("unmute", "[WHO]", "end that", "People", ("person",)),
    Command(
        "requests",
        "[accept|refuse|block N | clear]",
        "what people sent who stand in no list: read it, and decide",
        "People",
        ("accept|refuse|block|clear", "request"),
    ),
    Command("myid", "", "your key, what others join with, and a QR code of that", "Me"),
    Command("net", "", "the first tab", "Network"),
    Command("reconnect", "", "try the registry now", "Network"),
    Command("takeover", "", "take your place here, when you also run somewhere else", "Network"),
    Command("log", "", "where the log file is", "Network"),
    Command("help", "[COMMAND]", "keys and commands", "Program", ("command",)),
    Command("keys", "", "the keys", "Program"),
    Command("mouse", "", "mouse on or off", "Program"),
    Command(
        "notify",
        f"[{_CONTENTS}]",
        "what is told while you look elsewhere, by the bell and a notice on the desktop, also next time; auto: as the"
        " configuration says",
        "Program",
        (_CONTENTS,),
    ),
    Command(
        "theme",
        f"[{_THEMES}]",
        "how the screen looks, also next time; auto: as the configuration or the terminal says",
        "Program",
        (_THEMES,),
    ),
    Command("version", "", "which chatnet this is", "Program"),
    Command("quit", "", "leave; asks when a transfer runs (it goes on next time)", "Program"),
)
BY_NAME = {command.name: command for command in COMMANDS}


@dataclass(frozen=True)
class PlainText:
    """The line is a message."""

    text: str


@dataclass(frozen=True)
class RunCommand:
    """The line is a command."""

    command: Command
    rest: str


@dataclass(frozen=True)
class UnknownCommand:
    """The line looks like a command and is none: it is never sent as a text."""

    text: str


def understand(typed: str) -> PlainText | RunCommand | UnknownCommand:
    """Return what a typed line asks for."""
    if not typed.startswith("/"):
        return PlainText(typed)
    if typed.startswith("//"):
        return PlainText(typed[1:])
    words = typed[1:].split(maxsplit=1)
    name = words[0] if words else ""
    command = BY_NAME.get(name.lower())
    if command is None:
        near = closest_match(name.lower(), BY_NAME)
        guess = f" Did you mean /{near}?" if near else " /help shows all of them."
        return UnknownCommand(
            f"No command /{name[:40]}.{guess} (//{name[:40]} {'… ' if len(words) > 1 else ''}sends it as text)"
        )
    return RunCommand(command, words[1] if len(words) > 1 else "")


def split_words(rest: str) -> list[str]:
    """Split a line into words, with quotes and backslashes as in a shell. An open quote is taken as it stands."""
    try:
        return shlex.split(rest)
    except ValueError:
        return rest.split()


def quoted_as(quote: str, word: str) -> str:
    """Return the beginning of a word in quotes, without the closing quote, as split_words reads it back."""
    if quote == '"':
        return '"' + "".join("\\" + c if c in '"\\' else c for c in word)
    return "'" + word.replace("'", "'\\''")


def escaped(word: str) -> str:
    """Return a word with backslashes where they are needed for split_words to give it back as one word."""
    return "".join("\\" + c if c in " \t'\"\\" else c for c in word)
