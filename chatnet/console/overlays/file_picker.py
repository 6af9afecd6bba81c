"""The file picker: look through folders, mark files, send them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import urwid

from chatnet.console.shown import Place, Subject
from chatnet.console.widgets.base import Box, LazyList
from chatnet.console.widgets.text import Markup, cut, line, stack, width
from chatnet.console.widgets.theme import Signs
from chatnet.console.widgets.wording import size_text
from chatnet.core.errors import system_reason
from chatnet.core.limits import PICKER_NAMES
from chatnet.core.text import safe_line


class FileEntry(msgspec.Struct, frozen=True, gc=False):
    """One name in a folder."""

    name: str
    folder: bool
    size_bytes: int


@dataclass(frozen=True)
class Listing:
    """Folders first, then files, by name; ``problem`` says why there is none."""

    entries: tuple[FileEntry, ...] = ()
    is_whole: bool = True  # not, if the folder has more than PICKER_NAMES
    problem: str = ""


def entries_of(directory: str, hidden: bool) -> Listing:
    """Return the folders and files in a folder, at most PICKER_NAMES of them.  Waits for the disk."""
    found: dict[bool, list[FileEntry]] = {True: [], False: []}  # folders, and files
    is_whole = True
    try:
        with os.scandir(directory) as listing:
            for item in listing:
                if len(found[True]) + len(found[False]) >= PICKER_NAMES:
                    is_whole = False
                    break
                if item.name.startswith(".") and not hidden:
                    continue
                with suppress(OSError):  # it has gone meanwhile
                    folder = item.is_dir()
                    if folder or item.is_file():  # else a socket, a device, a dangling link
                        found[folder].append(FileEntry(item.name, folder, 0 if folder else item.stat().st_size))
    except OSError as error:
        return Listing(problem=f"Cannot read the folder ({system_reason(error)}): {safe_line(directory)}")
    for entries in found.values():  # each by texts alone: a sort holds Python's lock
        entries.sort(key=lambda entry: entry.name.lower())
    return Listing((*found[True], *found[False]), is_whole)


class _Rows(LazyList):
    def __init__(self, picker: FilePicker) -> None:
        super().__init__()
        self._picker = picker

    def count(self) -> int:
        return 1 + len(self._picker.entries)

    def markup(self, index: int, cols: int) -> Markup:
        if index == 0:
            return ("group", "     ..  (the folder above)")
        return self._picker.row(self._picker.entries[index - 1], cols)


class FilePicker(Box):
    """Arrows, Enter, Left, Space, or the mouse: a double click opens a folder or sends a file.

    ``look`` has ``entries_of`` done somewhere, and brings the listing; until it comes, what was shown before stays.
    """

    def __init__(
        self,
        directory: str,
        who: str,
        signs: Signs,
        look: Callable[[str, bool, Callable[[Listing], None]], None],
        chosen: Callable[[tuple[str, ...]], None],
        cancelled: Callable[[], None],
    ) -> None:
        super().__init__()
        self.directory = directory
        self.entries: Sequence[FileEntry] = ()  # that are shown
        self.letters: str | None = None  # only names with these are shown
        self._all: Sequence[FileEntry] = ()
        self._is_whole = True
        self._wanted: tuple[str, bool] | None = None  # the folder that is being read
        self._look = look
        self.marked: dict[str, None] = {}  # whole paths, in the order of marking
        self.problem = ""
        self._who, self._signs, self._chosen, self._cancelled = who, signs, chosen, cancelled
        self._hidden = False
        self._listing = _Rows(self)
        self.double_click: Callable[[object], bool] = lambda what: False
        self._listing.on_click = self._clicked
        self._read(directory)

    def _read(self, directory: str, stand_on: str = "") -> None:
        wanted = self._wanted = directory, self._hidden

        def came(listing: Listing) -> None:
            if self._wanted == wanted:
                self._wanted = None
                self._show(directory, listing, stand_on)

        self._look(directory, self._hidden, came)

    def _show(self, directory: str, listing: Listing, stand_on: str) -> None:
        self.changed()
        self.problem = listing.problem
        if listing.problem:
            return
        self.entries, self._all, self._is_whole = listing.entries, listing.entries, listing.is_whole
        self.directory, self.letters = directory, None
        names = [entry.name for entry in self.entries]
        self._listing.top = 0
        self._listing.selected = names.index(stand_on) + 1 if stand_on in names else min(1, len(names))

    def _path(self, entry: FileEntry) -> str:
        return os.path.join(self.directory, entry.name)

    def _here(self) -> FileEntry | None:
        index = self._listing.selected - 1
        return self.entries[index] if 0 <= index < len(self.entries) else None

    def changed(self) -> None:
        self._listing.changed()
        super().changed()

    # --- keys and mouse ------------------------------------------------------------------------

    def key(self, key: str) -> str | None:
        entry = self._here()
        self.changed()
        if self._typed(key):
            return None
        match key:
            case "/":
                self._narrow("")
            case "esc":
                self._cancelled()
            case "left" | "backspace":
                self._up()
            case "right" | "enter":
                self._open(send=key == "enter")
            case " " | "insert":
                if entry is not None:
                    self._mark(entry)
                self._listing.select(self._listing.selected + 1)
            case "s":
                marked = tuple(self.marked) or ((self._path(entry),) if entry is not None else ())
                if marked:
                    self._chosen(marked)
            case ".":
                self._hidden = not self._hidden
                self._read(self.directory, entry.name if entry is not None else "")
            case _:
                return self._listing.keypress(self._list_size(), key)
        return None

    def _typed(self, key: str) -> bool:
        """Whether a key was for the letters, while they are asked for."""
        if self.letters is None:
            return False
        if key == "esc":
            self._narrow(None)
        elif key == "backspace":
            self._narrow(self.letters[:-1])
        elif len(key) == 1 and key.isprintable():
            self._narrow(self.letters + key)
        else:
            return False
        return True

    def _narrow(self, letters: str | None) -> None:
        """Show the names with these letters; None: all of them."""
        self.letters = letters
        wanted = (letters or "").lower()
        self.entries = [entry for entry in self._all if wanted in entry.name.lower()]
        self._listing.top, self._listing.selected = 0, min(1, len(self.entries))

    def _up(self) -> None:
        above = os.path.dirname(self.directory.rstrip("/")) or "/"
        self._read(above, os.path.basename(self.directory.rstrip("/")))

    def _open(self, send: bool) -> None:
        entry = self._here()
        if entry is None:
            self._up()
        elif entry.folder:
            self._read(self._path(entry))
        elif send:
            self._chosen(tuple(self.marked) or (self._path(entry),))

    def _mark(self, entry: FileEntry) -> None:
        path = self._path(entry)
        if path in self.marked:
            del self.marked[path]
        else:
            self.marked[path] = None

    def _clicked(self, index: int) -> None:
        self.changed()
        if self.double_click(("picker", self.directory, index)):
            self._open(send=True)

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        cols, rows = self._list_size()
        if not 1 <= row <= rows:
            return False
        self.changed()
        if event == "mouse press" and button == 1 and col < 5:  # the mark itself
            index = self._listing.top + row - 1
            if 1 <= index <= len(self.entries):
                self._listing.selected = index
                self._mark(self.entries[index - 1])
                return True
        return self._listing.mouse_event((cols, rows), event, button, col, row - 1, True)

    # --- drawing -------------------------------------------------------------------------------

    def _list_size(self) -> tuple[int, int]:
        return self.size[0], max(1, self.size[1] - 2)

    def row(self, entry: FileEntry, cols: int) -> Markup:
        """Return the row of a file: its mark, name and size."""
        mark = "[x]" if self._path(entry) in self.marked else "[ ]"
        size = "folder" if entry.folder else size_text(entry.size_bytes)
        name = cut(safe_line(entry.name) + ("/" if entry.folder else ""), max(4, cols - 17), self._signs)
        gap = max(1, cols - 6 - width(name) - width(size))
        return ("key" if entry.folder else "text", f" {mark} {name}{' ' * gap}{size}")

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        self.shows = {Place(Subject.PICKER): self._who}
        head = line([("group", f" Send to {self._who}: "), ("text", safe_line(self.directory, 1000))], cols)
        count = f"{len(self.marked):,} marked" if self.marked else ""
        foot: Markup = ("state.error", f" {self.problem}") if self.problem else ("text.soft", f" {count}")
        if self._wanted is not None:
            foot = ("text.soft", f" Looking into {safe_line(self._wanted[0])}{self._signs.ellipsis}")
        elif not self._is_whole and not self.problem and self.letters is None:
            foot = ("state.wait", f" The folder has more names: these are {len(self._all):,} of them. {count}")
        if self.letters is not None:
            foot = [
                ("key", " / "),
                ("text", f"{self.letters}_"),
                ("text.soft", f"   {len(self.entries)} of {len(self._all)}"),
            ]
        body = self._listing.render((cols, max(1, rows - 2)), True)
        return stack([head, body, line(foot, cols)], cols, rows)
