"""The one table of keys: dispatch, help, footer and documentation come from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby


class Context(StrEnum):
    """Where a key means something; ANYWHERE holds in all of them."""

    ANYWHERE = "Anywhere"
    INPUT = "In the input"
    PEOPLE = "In the list of people"
    TRANSFERS = "In the list of transfers"
    FIND = "While finding"
    RESULTS = "In what was found"
    REQUESTS = "In the requests"
    CONTENTS = "In the contents of an offer"
    FORM = "In a form"
    PICKER = "In the file picker"
    DIGITS = "Where digits are compared"
    PAGE = "On a page over the tab"
    QUESTION = "In a question"


@dataclass(frozen=True)
class Key:
    """Keystrokes (urwid's names) that do one thing."""

    context: Context
    strokes: tuple[str, ...]
    command: str  # a method of Actions; empty: the focused widget does it itself
    help: str
    hint: str = ""  # a word or two for the footer

    @property
    def shown(self) -> str:
        """The strokes as people write them."""
        names = [stroke_text(stroke) for stroke in self.strokes]
        if len(names) > 4:
            return f"{names[0]} … {names[-1]}"
        return ", ".join(names)


_MODIFIERS = {"meta": "Alt", "ctrl": "Ctrl", "shift": "Shift"}
_NAMES = {"page up": "PgUp", "page down": "PgDn", " ": "Space"}


def stroke_text(stroke: str) -> str:
    """Return a stroke as people read it: ``meta enter`` as ``Alt-Enter``."""
    rest, parts = stroke, []
    while rest.partition(" ")[0] in _MODIFIERS and rest.partition(" ")[2]:
        modifier, _, rest = rest.partition(" ")
        parts.append(_MODIFIERS[modifier])
    if rest in _NAMES:
        rest = _NAMES[rest]
    elif len(rest) > 1:
        rest = rest.capitalize()
    elif "Ctrl" in parts:
        rest = rest.upper()
    return "-".join([*parts, rest])


_ANY, _INPUT, _PEOPLE, _TRANSFERS = Context.ANYWHERE, Context.INPUT, Context.PEOPLE, Context.TRANSFERS
_FORM, _PICKER = Context.FORM, Context.PICKER
_DIGITS, _PAGE, _QUESTION = Context.DIGITS, Context.PAGE, Context.QUESTION
_FIND, _RESULTS, _REQUESTS, _CONTENTS = Context.FIND, Context.RESULTS, Context.REQUESTS, Context.CONTENTS

# A slash is a letter here, or means something else.  Everywhere else it begins a command.
_WITHOUT_COMMAND_LINE = (_ANY, _INPUT, _PEOPLE, _FIND, _FORM, _PICKER, _QUESTION)

_OWN_KEYS: tuple[Key, ...] = (
    Key(
        _INPUT,
        ("enter",),
        "send",
        "send the message, or run the command; when the input is empty: show all of a long message",
        "send",
    ),
    Key(_INPUT, ("meta enter", "shift enter", "ctrl enter"), "new_line", "a new line in the message", "new line"),
    Key(_INPUT, ("tab", "shift tab"), "", "complete a command, a name, a path; again for the next one", "complete"),
    Key(_INPUT, ("up", "down"), "", "a line up or down in a long input, else what you sent before"),
    Key(_INPUT, ("ctrl r",), "", "find what is typed in the lines you sent before; again for an older one"),
    Key(_INPUT, ("ctrl a", "ctrl e"), "", "to the start, to the end of the line"),
    Key(_INPUT, ("meta b", "meta f"), "", "a word back, a word on"),
    Key(_INPUT, ("ctrl w", "meta backspace", "meta d"), "", "delete a word"),
    Key(_INPUT, ("ctrl u", "ctrl k"), "", "delete to the start, to the end of the line"),
    Key(_INPUT, ("ctrl y",), "", "put back what was deleted"),
    Key(_INPUT, ("ctrl _", "ctrl /"), "", "undo: takes out a whole paste, too"),
    Key(_INPUT, ("ctrl d",), "delete_or_quit", "delete a character; quit when the input is empty"),
    Key(_ANY, tuple(f"meta {digit}" for digit in "1234567890"), "go_to_tab", "tab 1 … 10", "tab"),
    Key(_ANY, ("meta left", "ctrl p"), "previous_tab", "the tab to the left"),
    Key(_ANY, ("meta right", "ctrl n"), "next_tab", "the tab to the right"),
    Key(_ANY, ("meta a",), "next_unread", "the next person with unread messages", "next unread"),
    Key(_ANY, ("meta u",), "to_unread", "the first new message in this tab"),
    Key(_ANY, ("meta g",), "go_to", "go to somebody: a few letters of the name, then Enter"),
    Key(_ANY, ("meta w",), "close_tab", "close this tab; the conversation stays in the history", "close"),
    Key(_ANY, ("page up",), "page_up", "scroll up a page; older rows come from the history", "scroll"),
    Key(_ANY, ("page down",), "page_down", "scroll down a page"),
    Key(_ANY, ("meta home",), "to_top", "to the oldest row that is here"),
    Key(_ANY, ("meta end",), "to_end", "to the newest row", "newest"),
    Key(_ANY, ("meta y",), "accept", "accept the newest offer in this tab, when the input is empty", "accept"),
    Key(_ANY, ("meta n",), "refuse", "refuse it, when the input is empty", "refuse"),
    Key(
        _ANY,
        ("meta s",),
        "save_as",
        "save it elsewhere; with a text too long for a message: send that as a file",
        "save as…",
    ),
    Key(_ANY, ("meta v",), "contents", "look what the newest offer in this tab holds, before you answer", "contents"),
    Key(_ANY, ("meta k",), "keep_key", "keep the key you know, where somebody's key has changed", "keep the old key"),
    Key(_ANY, ("f1",), "help", "this help; /help does the same", "help"),
    Key(_ANY, ("f2", "meta p"), "people", "the list of people: show, focus, hide", "people"),
    Key(_ANY, ("f3", "ctrl f"), "find", "find in this conversation; /search finds in all", "find"),
    Key(_ANY, ("f4", "meta t"), "transfers", "the tab of transfers", "transfers"),
    Key(_ANY, ("f5", "ctrl o"), "pick_file", "send a file: opens the picker", "send file"),
    Key(
        _ANY, ("f6", "meta i"), "info", "what is known of the person, transfer or network: a column, or a page", "info"
    ),
    Key(_ANY, ("meta m",), "mouse", "mouse on or off (off: the terminal's own selection works)"),
    Key(_ANY, ("ctrl l",), "redraw", "clear the screen and draw it again"),
    Key(
        _ANY,
        ("esc",),
        "back",
        "back to the input, from the transfers to the tab before; never deletes anything",
        "back",
    ),
    Key(
        _ANY,
        ("f10",),
        "quit",
        "quit; asks when a transfer runs or a text is not sent (both are kept), and F10 again says yes",
        "quit",
    ),
    Key(_ANY, ("ctrl c",), "quit_twice", "twice within two seconds: quit"),
    Key(_ANY, ("ctrl z",), "no_stop", "does not stop the program, only says how to leave it running"),
    Key(_PEOPLE, ("enter",), "open_selected", "open the conversation, or the requests", "open"),
    Key(_PEOPLE, ("up", "down"), "", "choose a person"),
    Key(
        _PEOPLE,
        ("/",),
        "filter_people",
        "show only the names with these letters; a letter that does nothing here begins that, too",
        "filter",
    ),
    Key(_PEOPLE, ("i",), "whois_selected", "who is it", "who is it"),
    Key(_PEOPLE, ("s",), "send_to_selected", "send a file", "send file"),
    Key(_PEOPLE, ("v",), "verify_selected", "compare keys", "verify"),
    Key(_PEOPLE, ("b",), "block_selected", "block, after a question; or end a block", "block"),
    Key(_TRANSFERS, ("up", "down"), "", "choose a transfer"),
    Key(_TRANSFERS, ("enter",), "open_transfer", "open the conversation it belongs to", "open"),
    Key(_TRANSFERS, ("y",), "accept_selected", "accept the offer", "accept"),
    Key(_TRANSFERS, ("n",), "refuse_selected", "refuse the offer", "refuse"),
    Key(
        _TRANSFERS, ("v",), "contents_selected", "look what it holds: the names of files and empty folders", "contents"
    ),
    Key(_TRANSFERS, ("c",), "cancel_selected", "cancel the transfer, after a question", "cancel"),
    Key(_TRANSFERS, ("p",), "pause_selected", "hold the transfer", "pause"),
    Key(_TRANSFERS, ("r",), "resume_selected", "let it go on, or try a broken one now", "resume"),
    Key(_TRANSFERS, ("l",), "limit", "the speed limits", "speed"),
    Key(_TRANSFERS, ("x",), "forget_ended", "clear what has ended", "clear finished"),
    Key(_FIND, ("enter",), "find_next", "the next one, further back", "next"),
    Key(_FIND, ("shift tab",), "find_previous", "the one before, newer again", "previous"),
    Key(_RESULTS, ("up", "down"), "", "choose a message; older ones come at the end"),
    Key(_RESULTS, ("enter",), "", "open the conversation at that message"),
    Key(_REQUESTS, ("up", "down"), "", "choose a request"),
    Key(_REQUESTS, ("enter",), "", "read what they sent; they are not told"),
    Key(_REQUESTS, ("a",), "", "accept: they are in the list of people from now on"),
    Key(
        _REQUESTS, ("r",), "", "refuse: delete what they sent, after a question; they are not told, and may come again"
    ),
    Key(_REQUESTS, ("b",), "", "block this key, and delete what they sent, after a question"),
    Key(_REQUESTS, ("c",), "", "delete all requests, after a question"),
    Key(_CONTENTS, ("up", "down"), "", "choose a name; below the list it stands whole"),
    Key(_CONTENTS, ("c",), "", "the next name that is saved under another one"),
    Key(_FORM, ("tab", "down"), "", "the next field"),
    Key(_FORM, ("shift tab", "up"), "", "the field before"),
    Key(_FORM, ("enter",), "", "log in"),
    Key(_PICKER, ("up", "down"), "", "choose a file or folder"),
    Key(_PICKER, ("right", "enter"), "", "open the folder; Enter on a file sends it, or all that are marked"),
    Key(_PICKER, ("left", "backspace"), "", "the folder above"),
    Key(_PICKER, (" ", "insert"), "", "mark or unmark"),
    Key(_PICKER, ("s",), "", "send what is marked, a folder too"),
    Key(_PICKER, ("/",), "", "show only the names with these letters; Esc shows all again"),
    Key(_PICKER, (".",), "", "show or hide names that begin with a dot"),
    Key(_DIGITS, ("a",), "", "all are the same: the person is verified, after a question"),
    Key(_DIGITS, ("l",), "", "compare six digits instead, while both are here"),
    Key(_DIGITS, ("v",), "", "show the digits of the new key, when another one has come"),
    Key(_PAGE, ("up", "down"), "", "scroll"),
    Key(_QUESTION, ("y",), "answer", "yes; it counts once the question has been there for 0.4 seconds"),
    Key(_QUESTION, ("n",), "", "no; every other key says no, too, and then does what it does elsewhere"),
)


def _with_command_line(keys: Iterable[Key]) -> Iterator[Key]:
    """Yield the keys; behind those of each context with a command line, yield the slash that begins a command."""
    for context, those in groupby(keys, lambda key: key.context):
        yield from those
        if context not in _WITHOUT_COMMAND_LINE:
            yield Key(context, ("/",), "command_line", "open the command line", "command")


KEYS = tuple(_with_command_line(_OWN_KEYS))


class KeyConflict(Exception):
    """Two commands on one key."""


class Keymap:
    """Strokes to commands; built once, so that a conflict shows at start."""

    def __init__(self, keys: Iterable[Key] = KEYS) -> None:
        self._keys: dict[tuple[Context, str], Key] = {}
        for key in keys:
            for stroke in key.strokes:
                taken = self._keys.get((key.context, stroke)) or self._anywhere(key, stroke)
                if taken is not None:
                    raise KeyConflict(f"{stroke_text(stroke)} does both: '{taken.help}' and '{key.help}'")
                self._keys[key.context, stroke] = key

    def _anywhere(self, key: Key, stroke: str) -> Key | None:
        if key.context is not Context.ANYWHERE:
            return self._keys.get((Context.ANYWHERE, stroke))
        return next((other for (_, taken), other in self._keys.items() if taken == stroke), None)

    def command(self, context: Context, stroke: str) -> str:
        """Return the command of a stroke in this context, or an empty string."""
        key = self._keys.get((context, stroke)) or self._keys.get((Context.ANYWHERE, stroke))
        return key.command if key is not None else ""


def hint(command: str, context: Context | None = None) -> tuple[str, str]:
    """Return the first stroke and the word for the footer of a command. Raises KeyError when there is none."""
    for key in KEYS:
        if key.command == command and key.hint and (key.context is Context.ANYWHERE or context in (None, key.context)):
            return stroke_text(key.strokes[0]), key.hint
    raise KeyError(command)


def help_rows() -> list[tuple[Context, str, str]]:
    """Return context, keys and meaning of every row, in the order of the table."""
    return [(key.context, key.shown, key.help) for key in KEYS]
