"""The input: an editor that grows, remembers what was sent, and ends with two buttons."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import urwid

from chatnet.console.widgets.text import GuardedText, Markup, beside, escaped, line, width, wrapped

MAX_ROWS = 6
HISTORY_LINES = 200
UNDO_STEPS = 200
_BUTTONS = (("send", "[Send]"), ("pick_file", "[Send file]"))
_BUTTONS_FROM_COLS = 60

Completer = Callable[[str, int], Sequence[tuple[str, int]]]


def readline_keys() -> urwid.CommandMap:
    """Return readline's keys for an editor; moving between widgets is ours, not urwid's."""
    commands = urwid.CommandMap()
    for stroke in ("tab", "shift tab", "ctrl n", "ctrl p", "ctrl l"):
        commands[stroke] = None
    commands.bind_readline()
    commands["ctrl /"] = commands["ctrl _"]  # the same key, to a terminal that tells them apart
    return commands


class _Wrapped(urwid.StandardTextLayout):
    """Where the rows of the editor begin, found in a time that grows with the text and not with its square."""

    def layout(self, text: Any, width: int, align: Any, wrap: Any) -> list[list[Any]]:
        rows: list[list[Any]] = []
        try:
            for start, end in wrapped(text, width):
                row: list[Any] = [(int(urwid.calc_width(text, start, end)), start, end)] if end > start else []
                if end == len(text) or text[end] in " \n":
                    row.append((0, end))  # the cursor may stand there
                rows.append(row)
        except urwid.text_layout.CanNotDisplayText:
            return [[]]
        return rows


class Editor(urwid.Edit):
    """urwid's editor with readline's keys; what it cannot draw it shows escaped."""

    _command_map = readline_keys()

    def __init__(self, completer: Completer, kills: list[str | bytes]) -> None:
        super().__init__(
            multiline=True,
            expand_tabs=False,
            text_completer=completer,
            undo_limit=UNDO_STEPS,
            kill_buffer=kills,
            layout=_Wrapped(),
        )

    def put_in(self, text: str) -> None:
        """Insert at the cursor, as one step that undo takes back."""
        with self._editing():
            self.insert_text(text)

    def part(self, cols: int, top: int, rows: int) -> urwid.CompositeCanvas:
        """Draw some of its rows in ``cols`` columns: a long text costs its layout alone."""
        layout = self.get_line_translation(cols)[top : top + rows]
        try:
            text, runs = self.get_text()
            canvas = urwid.CompositeCanvas(urwid.canvas.apply_text_layout(text, runs, layout, cols))
        except Exception:  # a text from the clipboard that urwid measures in two ways
            start = next((piece[1] for row in layout for piece in row if piece[1] is not None), 0)
            shown = escaped(self.edit_text[start : start + rows * cols])
            canvas = urwid.CompositeCanvas(GuardedText(shown, wrap="any").render((cols,)))
            canvas.trim(0, min(rows, canvas.rows()))
        canvas.pad_trim_top_bottom(0, len(layout) - canvas.rows())
        return canvas


class InputRow(urwid.Widget):
    """Prompt, editor and buttons; one for each tab, so that each keeps its draft."""

    no_cache = ("render",)  # what it shows is told to it, not to urwid
    _sizing = frozenset([urwid.Sizing.FLOW])
    _selectable = True

    def __init__(self, completer: Completer, kills: list[str | bytes], press: Callable[[str], None]) -> None:
        super().__init__()
        self.editor = Editor(completer, kills)
        self.prompt: Markup = "> "
        self.max_rows = MAX_ROWS
        self.history: deque[str] = deque(maxlen=HISTORY_LINES)
        self._press = press
        self._back = 0  # how far back in the history the text in the editor is from
        self._draft = ""
        self._top = 0  # first row of the editor in view
        self._spots: list[tuple[int, int, str]] = []  # where the buttons are: from, to, command

    # --- the text ------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        return str(self.editor.edit_text)

    def put(self, text: str) -> None:
        """Replace the text; the cursor stands behind it."""
        self.editor.set_edit_text(text, edit_pos=len(text))
        self._invalidate()

    def insert(self, text: str) -> None:
        """Put text in at the cursor; nothing in it acts, and undo takes it out as a whole."""
        self.editor.put_in(text)
        self._invalidate()

    def take(self) -> str:
        """Return the text, and move it from the input into the history."""
        text = self.text
        self.remember(text)
        self.put("")
        return text

    def remember(self, text: str) -> None:
        """Add ``text`` to the history, from which the Up key brings it back."""
        self._back = 0
        if text.strip() and (not self.history or self.history[-1] != text):
            self.history.append(text)

    def _recall(self, step: int) -> None:
        back = self._back + step
        if not 0 <= back <= len(self.history):
            return
        if self._back == 0:
            self._draft = self.text
        self._back = back
        self.put(self._draft if back == 0 else self.history[-back])

    def _find_sent(self) -> None:
        """Put the newest earlier line that contains what was typed into the input; after that, the next older one."""
        if self._back == 0:
            self._draft = self.text
        for back in range(self._back + 1, len(self.history) + 1):
            if self._draft in self.history[-back] and self.history[-back] != self.text:
                self._back = back
                self.put(self.history[-back])
                return

    # --- keys and mouse ------------------------------------------------------------------------

    def keypress(self, size: Any, key: str) -> str | None:
        cols = self._columns(size[0])[1]
        self._invalidate()
        if key == "ctrl r":
            self._find_sent()
            return None
        rest = self.editor.keypress((cols,), key)
        if rest in ("up", "down"):
            self._recall(1 if rest == "up" else -1)
            return None
        if rest is None and key not in ("up", "down"):
            self._back = 0
        return rest

    def mouse_event(self, size: Any, event: str, button: int, col: int, row: int, focus: bool) -> bool:
        if event != "mouse press" or button != 1:
            return False
        prompt_cols, edit_cols = self._columns(size[0])
        if col < prompt_cols + edit_cols:
            self.editor.mouse_event((edit_cols,), event, button, max(0, col - prompt_cols), row + self._top, True)
            self._invalidate()
            return True
        for start, end, command in self._spots:
            if start <= col < end and row == self.rows(size) - 1:
                self._press(command)
                return True
        return False

    # --- drawing -------------------------------------------------------------------------------

    def _columns(self, cols: int) -> tuple[int, int]:
        """Return the columns of the prompt and of the editor."""
        prompt_cols = min(width(self.prompt), cols // 2)
        buttons = sum(len(text) + 1 for _, text in _BUTTONS) if cols >= _BUTTONS_FROM_COLS else 0
        return prompt_cols, max(1, cols - prompt_cols - buttons)

    def rows(self, size: Any, focus: bool = False) -> int:
        edit_cols = self._columns(size[0])[1]
        return int(min(self.max_rows, self.editor.rows((edit_cols,))))

    def render(self, size: Any, focus: bool = False) -> Any:
        (cols,) = size
        prompt_cols, edit_cols = self._columns(cols)
        whole = self.editor.rows((edit_cols,))
        rows = min(self.max_rows, whole)
        cursor = self.editor.get_cursor_coords((edit_cols,)) if focus else None
        at = cursor[1] if cursor is not None else whole - 1
        self._top = max(0, min(max(self._top, at - rows + 1), at, whole - rows))
        canvas = self.editor.part(edit_cols, self._top, rows)
        if cursor is not None:
            canvas.cursor = cursor[0], at - self._top
        parts: list[tuple[urwid.Canvas, int]] = [(canvas, edit_cols)]
        if prompt_cols:
            parts.insert(0, (line(self.prompt, prompt_cols), prompt_cols))
        buttons_cols = cols - prompt_cols - edit_cols
        if buttons_cols:
            parts.append((self._buttons(cols - buttons_cols, buttons_cols, rows), buttons_cols))
        return beside(parts)

    def _buttons(self, start: int, cols: int, rows: int) -> urwid.Canvas:
        self._spots = []
        markup: list[Markup] = []
        for command, text in _BUTTONS:
            start += 1
            self._spots.append((start, start + len(text), command))
            start += len(text)
            markup += [" ", ("button", text)]
        canvas = urwid.CompositeCanvas(line(markup, cols))
        if rows > 1:
            canvas.pad_trim_top_bottom(rows - 1, 0)
        return canvas
