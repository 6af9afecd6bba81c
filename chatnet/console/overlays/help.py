"""F1: every key and every command, from the two tables; typing narrows it down."""

from __future__ import annotations

from collections.abc import Callable

import urwid

from chatnet.console.commands import COMMANDS
from chatnet.console.keymap import help_rows
from chatnet.console.widgets.base import Block, Scroller
from chatnet.console.widgets.text import Markup, Row, line, stack

_KEY_COLS = 30


def help_lines() -> list[tuple[str, str, str]]:
    """Return the rows of the help: section, what to press or type, and what it does."""
    keys = [(str(context), shown, text) for context, shown, text in help_rows()]
    commands = [(f"{command.group} (commands)", command.shown, command.help) for command in COMMANDS]
    return keys + commands


def as_markdown() -> str:
    """Return the rows of the help as Markdown, for docs/keys.md."""
    out = [
        "# Keys and commands",
        "",
        "F1 in the console shows this; `chatnet/console/keymap.py` and `chatnet/console/commands.py` hold it.",
    ]
    section = ""
    for where, shown, text in help_lines():
        if where != section:
            section = where
            out += ["", f"## {section}", "", "| press or type | it does |", "| --- | --- |"]
        out.append(f"| `{shown}` | {text} |")
    return "\n".join(out) + "\n"


class HelpView(Scroller):
    """Scrolls; letters search; Esc closes."""

    def __init__(self, close: Callable[[], None], search: str = "", first: str = "") -> None:
        super().__init__()
        self.search = search
        self.close = close
        lines = help_lines()
        # What is focused comes first.
        self._lines = sorted(lines, key=lambda row: row[0] != first) if first else lines
        self.anchor = 0  # from the top
        self.to_start = True

    def _found(self) -> list[tuple[str, str, str]]:
        wanted = self.search.lower()
        return [row for row in self._lines if wanted in " ".join(row).lower()]

    def count(self) -> int:
        return len(self._found())

    def block(self, index: int) -> Block:
        found = self._found()
        section, shown, text = found[index]
        rows: list[Row] = []
        if index == 0 or found[index - 1][0] != section:
            rows += [Row("", 0, "")] if index else []
            rows.append(Row("", 1, ("group", section)))
        prefix: Markup = ("key", f"  {shown}")
        if len(shown) + 3 > _KEY_COLS:
            rows += [Row("", 0, prefix), Row("", _KEY_COLS, ("text", text))]
        else:
            rows.append(Row(prefix, _KEY_COLS, ("text", text)))
        return rows

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        head = line(
            [
                ("group", " Help  "),
                ("text.soft", "type to search: "),
                ("text", f"{self.search}_"),
                ("text.soft", "   Esc closes"),
            ],
            cols,
        )
        self.size = cols, max(1, rows - 1)
        if self.to_start:
            self._from_top(*self.size)
            self.to_start = False
        body: urwid.Canvas
        if not self.count():
            body = stack([line(("text.soft", " Nothing has these letters."), cols)], cols, self.size[1])
        else:
            body = super().draw(*self.size, focus)
        return urwid.CanvasCombine([(head, None, False), (body, None, False)])

    def key(self, key: str) -> str | None:
        height = max(1, self.size[1] - 1)
        steps = {"up": -1, "down": 1, "page up": -height, "page down": height, "home": -100_000, "end": 100_000}
        if key in steps:
            if key == "home":
                self.to_top()
            elif key == "end":
                self.to_end()
            else:
                self.scroll(steps[key])
        elif key in ("esc", "enter"):
            self.close()
        elif key == "backspace":
            self._look_for(self.search[:-1])
        elif len(key) == 1 and key.isprintable():
            self._look_for(self.search + key)
        else:
            return key
        return None

    def _look_for(self, search: str) -> None:
        self.search, self.to_start = search, True
        self.changed()
