"""The login form: name, registry, a button, and why it did not work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import urwid

from chatnet.console.widgets.base import Box
from chatnet.console.widgets.input import readline_keys
from chatnet.console.widgets.text import Markup, Row, beside, line, stack
from chatnet.core.text import safe_text


@dataclass(frozen=True)
class LoginDefaults:
    """The first values of the fields."""

    name: str = ""
    registry: str = ""


_FIELDS = (
    ("Your name", "What the others call you: 1 to 32 of a-z, 0-9, - and _."),
    ("Registry", "It knows who is here: HOST or HOST:PORT, or the join string that it printed when it was started."),
)
_LABEL_COLS = 10
_BUTTON = "[ Login ]"
_SIDE_BY_SIDE_FROM = 60


class _Field(urwid.Edit):
    _command_map = readline_keys()


class LoginForm(Box):
    """Two fields and a button; Tab, arrows and mouse move, Enter logs in."""

    def __init__(self, defaults: LoginDefaults, submit: Callable[[LoginDefaults], None], reason: str = "") -> None:
        super().__init__()
        values = (defaults.name, defaults.registry)
        kills: list[str | bytes] = []
        self.edits = [_Field(edit_text=value, wrap="clip", kill_buffer=kills) for value in values]
        self.at = 0  # the field, or the button behind the last one
        self.busy = False
        self._untouched = True  # what is typed first replaces the name that was proposed
        self.reason = reason
        self._submit = submit
        self._rows: list[tuple[int, int]] = []  # row of the form, and the field there

    def defaults(self) -> LoginDefaults:
        """Return the present values of the fields."""
        return LoginDefaults(*(str(edit.edit_text).strip() for edit in self.edits))

    def failed(self, reason: str) -> None:
        """Show the form again, with the reason above the fields."""
        self.busy = False
        self.reason = reason
        self.at = 0
        self.changed()

    def paste(self, text: str) -> None:
        """Insert pasted text into the field, without its line ends."""
        if self.at < len(self.edits) and not self.busy:
            self._touch(replace=True)
            self.edits[self.at].insert_text("".join(c for c in text if c.isprintable()).strip())
            self.changed()

    def key(self, key: str) -> str | None:
        if self.busy:
            return key
        self._touch(replace=len(key) == 1)
        steps = {"tab": 1, "down": 1, "shift tab": -1, "up": -1}
        if key in steps:
            self.at = (self.at + steps[key]) % (len(self.edits) + 1)
        elif key == "enter" or (key == " " and self.at == len(self.edits)):
            self._log_in()
        elif self.at < len(self.edits):
            if self.edits[self.at].keypress((max(1, self.size[0]),), key) is not None:
                return key
        else:
            return key
        self.changed()
        return None

    def _touch(self, replace: bool) -> None:
        if self._untouched and replace and self.at == 0:
            self.edits[0].set_edit_text("")
        self._untouched = False

    def _log_in(self) -> None:
        self.busy = True
        self.reason = ""
        self._submit(self.defaults())

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if event != "mouse press" or button != 1 or self.busy:
            return False
        self._touch(replace=False)
        for at, field in self._rows:
            if at == row:
                self.at = field
                if field == len(self.edits):
                    self._log_in()
                self.changed()
                return True
        return False

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        groups: list[list[tuple[urwid.Canvas, int | None]]] = [[(line(("group", " chatnet   log in"), cols), None)]]
        if self.reason:
            groups.append([(Row("", 1, ("state.error", safe_text(self.reason))).canvas(cols), None)])
        fields = enumerate(_FIELDS)
        groups.append([(canvas, at) for at, (label, _) in fields for canvas in self._field(at, label, cols)])
        button: Markup = ("field.here" if self.at == len(self.edits) else "button", _BUTTON)
        text: Markup = [" ", ("text.soft", "Logging in…")] if self.busy else [" ", button]
        groups.append([(line(text, cols), len(self.edits))])
        if self.at < len(_FIELDS):
            groups.append([(Row("", 1, ("text.soft", _FIELDS[self.at][1])).canvas(cols), None)])
        return self._spread(groups, cols, rows)

    def _spread(
        self, groups: list[list[tuple[urwid.Canvas, int | None]]], cols: int, rows: int
    ) -> urwid.CompositeCanvas:
        """Draw the groups below each other, with blank rows between them as far as there is room."""
        blanks = rows - sum(canvas.rows() for group in groups for canvas, _ in group)
        canvases: list[urwid.Canvas] = []
        height = 0
        self._rows = []
        for group in groups:
            if canvases and blanks > 0:
                canvases.append(line("", cols))
                blanks, height = blanks - 1, height + 1
            for canvas, field in group:
                canvases.append(canvas)
                if field is not None:
                    self._rows += [(height + offset, field) for offset in range(canvas.rows())]
                height += canvas.rows()
        return stack(canvases, cols, rows)

    def _field(self, index: int, label: str, cols: int) -> list[urwid.Canvas]:
        here = index == self.at and not self.busy
        beside_label = cols >= _SIDE_BY_SIDE_FROM
        label_cols = _LABEL_COLS + 1 if beside_label else 1
        edit_cols = max(1, min(60, cols - label_cols - 1))
        canvas = urwid.CompositeCanvas(self.edits[index].render((edit_cols,), here))
        canvas.fill_attr("field.here" if here else "field")
        left = line(f" {label}" if beside_label else "", label_cols)
        row = beside([(left, label_cols), (canvas, cols - label_cols)])
        return [row] if beside_label else [line(f" {label}", cols), row]
