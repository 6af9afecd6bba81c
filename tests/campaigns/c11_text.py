"""C11: hostile names and texts.

Names and texts by the hundred thousand through the functions that clean them; rows drawn at every
width from 1 to 200; and the whole console on a terminal, where a terminal emulator reads what was
written.  Only the cells of the message may change there: not the header, the list of people, the
columns of time and name, the input, the title; and no byte of ours is a control but urwid's own.
Control: a console that shows texts as they came.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import pty
import random
import re
import sys
import termios
import unicodedata
from collections import Counter
from typing import Any

import pyte
import urwid

from chatnet.console.app import Console
from chatnet.console.panes import conversation
from chatnet.console.widgets.text import GuardedText, Row, cut, line, two_sided
from chatnet.console.widgets.theme import UNICODE
from chatnet.core.events import MessageState, NoticeLevel, RegistryPhase
from chatnet.core.text import (
    BIDI,
    DEVICES,
    MARKS_IN_NAME,
    MARKS_IN_TEXT,
    NAME_BYTES,
    name_warning,
    safe_file_name,
    safe_line,
    safe_text,
)
from tests.campaigns.harness import Case, Failed, Figures, check, main
from tests.core.test_text import HOSTILE, PICTURES, WORDS, is_hidden, too_many_marks
from tests.support import scripted_peer
from tests.support.scripted_peer import furnished, key_of
from tests.support.typist import new_clock

NAME = "c11_text"
CONTROL_SCREENS = 400  # one in twenty has something that the terminal must not get
SIZES = {"ci": 40, "gate": 2_000, "nightly": 50_000}
UNIT = "screens"
SHOWN = ("a text left its place",)

NAMES_PER_SCREEN, RENDERS_PER_SCREEN = 250, 100
WIDEST = 200
SCREENS_PER_CONSOLE = 40
TERMINALS = ((80, 24), (120, 30), (48, 12), (72, 20), (200, 40))

NAMES = [
    *(
        "../../etc/passwd",
        "..\\..\\boot.ini",
        "C:\\x",
        "\\\\host\\share\\x",
        "/",
        "..",
        ".",
        "",
        ".bashrc",
        "-rf",
        "~root",
    ),
    *(
        "a\0b",
        "con",
        "NUL .txt",
        "COM¹.log",
        "aux.tar.gz",
        "x:stream",
        "x::$DATA",
        "name. . .",
        "what?*.txt",
        "a" * 10_240,
    ),
    *(
        "gpj\u202egnp.exe",
        "\u2024\u2024/x",
        "\uff0e\uff0e\uff0fx",
        "e\u0301" * 200,
        "字" * 300,
        "\u200b.txt",
        " . .txt",
    ),
]
ESCAPES = [
    *(
        "\x1b[2J",
        "\x1b[1;1Howned",
        "\x1b]0;title\x07",
        "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
        "\x1b]52;c;eA==\x07",
    ),
    *(
        "\x9b1;1H",
        "\x9d0;title\x9c",
        "\x90q\x9c",
        "\x1bc",
        "\x1b[?1049l",
        "\x1b[6n",
        "\x1b(0qqq",
        "\x0e\x0f",
        "\x07",
        "\x08" * 60,
    ),
    *("\r", "\x0b\x0c", "\x85", "\x1b[999D!", "\x1b[5A", "\x1b[10L", "\x1b[1;3r", "\x1b#8", "\x7f", "\x1b[8;1;1t"),
]
WIDE = [
    *(
        "\U0001f468\u200d\U0001f469\u200d\U0001f467\ufe0f",
        "👋🏽",
        "🇩🇪",
        "❤\ufe0f",
        "1\ufe0f\u20e3",
        "क\u094d\u200dष",
        "\u1100\u1161",
    ),
    *WORDS,
    *PICTURES,
    *("שלום", "مرحبا", "字", "\u0e01\u0e33", "ﷺ", "\u1f100", "\U0001fae9", "𒐫", "\U00020000"),
]
_WRITTEN_BY_US = re.compile(
    r"\x1b\[[0-9;?>$]*[a-zA-Z]|\x1b\(B|\x1b[=>]|\x1b\]2;[^\x00-\x1f\x7f-\x9f]*(?:\x07|\x1b\\)|[\r\n\b\x0e\x0f]"
)
_UNKNOWN_TO_PYTE = re.compile(r"\x1b\[\?\d+\$p|\x1b\[[<>=][\d;]*[a-zA-Z]|\x1b\[\?[\d;]*[a-gi-km-zA-Z]")
_PREFIX = re.compile(r"(?:[ ✓·⌛✗↑↓▲!…] ?\d\d:\d\d(?::\d\d)? (?:bob|you) *|\s*|[─ ].*)$")
_COUNT = re.compile(r" \(\d+\)")  # of unread messages
_CLOCK = re.compile(r"\d\d:\d\d(?=\s*$)")


def anything(chance: random.Random, corpus: list[str]) -> str:
    """Pieces of the corpus between random characters of every kind."""
    pieces = []
    for _ in range(chance.randint(1, 6)):
        kind = chance.random()
        if kind < 0.55:
            pieces.append(chance.choice(corpus))
        elif kind < 0.7:
            pieces.append("".join(chr(chance.randrange(0x20, 0x7F)) for _ in range(chance.randint(1, 30))))
        else:
            top = chance.choice((0x100, 0x3000, 0x10000, 0x110000))
            pieces.append("".join(chr(chance.randrange(top)) for _ in range(chance.randint(1, 12))))
    return "".join(pieces) * (chance.randint(2, 12) if chance.random() < 0.1 else 1)


# --- the functions by themselves ------------------------------------------------------------------


def names(case: Case) -> Figures:
    corpus = [*NAMES, *HOSTILE, *ESCAPES, *WIDE]
    count = case.n * NAMES_PER_SCREEN
    for _ in range(count):
        raw = anything(case.chance, corpus)
        name, text, shown = safe_file_name(raw), safe_text(raw), safe_line(raw)
        wrong = fault_of_name(name) or fault_of_text(text, "\n") or fault_of_text(shown, "")
        if not wrong and (safe_file_name(name), safe_text(text), safe_line(shown)) != (name, text, shown):
            wrong = "cleaning twice changes it"
        name_warning(raw)
        check(not wrong, wrong, raw=ascii(raw), name=ascii(name), text=ascii(text))
    return {"names": count}


def fault_of_name(name: str) -> str:
    """What is wrong with a cleaned file name; empty when nothing."""
    if not name or set(name) & set('/\\\0<>:"|?*') or name[0] in ".-~ " or name[-1] in ". ":
        return "a name that is no harmless component"
    if len(name.encode()) > NAME_BYTES or unicodedata.normalize("NFC", name) != name:
        return "a name that is too long, or not NFC"
    if any(is_hidden(name, at) for at in range(len(name))) or name.split(".")[0].rstrip(" ").lower() in DEVICES:
        return "a name that hides something, or opens a device"
    if too_many_marks(name, MARKS_IN_NAME):
        return "a name with a heap of marks"
    return ""


def fault_of_text(text: str, allowed: str) -> str:
    for at, c in enumerate(text):
        if " " <= c <= "~" or c in allowed:
            continue
        if c == "\n" or c in BIDI or is_hidden(text, at):
            return f"a text with {c!a}"
    if not text.isascii() and too_many_marks(text, MARKS_IN_TEXT):
        return "a text with a heap of marks"
    return ""


# --- rows -----------------------------------------------------------------------------------------


def renders(case: Case) -> Figures:
    """Rows of the screen at every width: never an exception, never another width than asked for."""
    corpus = [*HOSTILE, *ESCAPES, *WIDE]
    count, plain = case.n * RENDERS_PER_SCREEN, [0]
    honest = GuardedText._plain

    def counted(text: GuardedText) -> urwid.Text:
        plain[0] += 1
        return honest(text)

    GuardedText._plain = counted  # type: ignore[method-assign, assignment]
    prefix = [("state", "✓"), ("time", " 11:06 "), ("name.theirs", "bob ")]
    for number in range(count):
        raw, cols = anything(case.chance, corpus), number % WIDEST + 1
        shown = safe_line(raw)
        try:
            canvases = (
                Row(prefix, 12, [("text", safe_text(raw)), ("state", "  ✓ sent")]).canvas(cols),
                line([("text", shown)], cols),
                two_sided(("text", shown), ("text", cut(shown, 12, UNICODE)), cols),
            )
            for canvas in canvases:
                check(
                    canvas.cols() == cols and all(cols in widths_of(row) for row in canvas.content()),
                    "a row has another width than asked for",
                    cols=cols,
                )
        except Failed as failure:
            failure.figures["raw"] = ascii(raw)
            raise
        except Exception as error:
            raise Failed("drawing raised", error=repr(error), raw=ascii(raw), cols=cols) from None
    GuardedText._plain = honest  # type: ignore[method-assign]
    return {"renders": count, "drawn_plain": plain[0]}


def widths_of(row: Any) -> tuple[int, int]:
    """Measured part by part, and as one text: a virama takes the blank behind it for a part of its letter.

    The terminal cuts what is too long, and nothing of ours stands to the right of a text.
    """
    parts = [part for _, _, part in row]
    whole = b"".join(parts)
    return sum(urwid.calc_width(part, 0, len(part)) for part in parts), urwid.calc_width(whole, 0, len(whole))


# --- the screen -----------------------------------------------------------------------------------


class Tape(io.StringIO):
    """The terminal's end to write to; what was written is read at the other end, ``ours``."""

    def __init__(self, ours: int, theirs: int) -> None:
        super().__init__()
        self._ours, self._theirs = ours, theirs
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        os.set_blocking(ours, False)

    def fileno(self) -> int:
        return self._theirs

    def isatty(self) -> bool:
        return True

    def taken(self) -> str:
        found: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._ours, 65_536):
                found.append(self._decoder.decode(data))
        return "".join(found)


class Stage:
    """A console in the middle of its day, on a pty, with bob's conversation open; its starter calls ``close``."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._ours, self._theirs = pty.openpty()
        termios.tcsetwinsize(self._ours, (size[1], size[0]))
        self._input = os.fdopen(self._theirs, "r", encoding="utf-8")
        attributes = termios.tcgetattr(self._theirs)
        attributes[1] &= ~termios.OPOST  # what is written is read as it is
        termios.tcsetattr(self._theirs, termios.TCSANOW, attributes)
        self.tape = Tape(self._ours, self._theirs)
        self.screen = pyte.Screen(*size)
        self._stream = pyte.Stream(self.screen)
        self.clock = new_clock()
        self.peer = furnished(self.clock)
        self.bob = key_of("bob")
        self.console = Console(self.peer, self.clock, input=self._input, output=self.tape)
        self.console.startService()
        for call, args, kwargs in self.clock.whenRunningHooks:
            call(*args, **kwargs)
        assert self.console.actions is not None
        self.view = self.console.actions.view
        self.view.show(self.view.open(self.bob))
        self.settle()
        self.peer.hear(self.bob, "an ordinary word")
        self.settle()
        shown = self.rows()
        self.left = next(row.index("│") + 1 for row in shown if "│" in row) if any("│" in row for row in shown) else 0
        self.top = next(number for number, row in enumerate(shown) if "bob" in row and "direct " in row) + 1
        self.bottom = next(number for number, row in enumerate(shown) if row.startswith("bob>"))
        ordinary = next(row for row in shown if "an ordinary word" in row)
        self.body = ordinary.index("an ordinary word")

    def settle(self) -> str:
        """Let it be drawn; what was written meanwhile."""
        written = ""
        for _ in range(6):
            self.clock.advance(0.02)
            written += self.tape.taken()
            while writers := self.clock.getWriters():  # the terminal has room again
                for writer in writers:
                    writer.doWrite()
                written += self.tape.taken()
        self._stream.feed(_UNKNOWN_TO_PYTE.sub("", written))
        return written

    def rows(self) -> list[str]:
        """Cells by their columns: a wide character takes one place and an empty one."""
        return ["".join((row[col].data or "\u2060")[:1] for col in range(self.screen.columns)) for row in self._cells()]

    def _cells(self) -> list[Any]:
        return [self.screen.buffer[number] for number in range(self.screen.lines)]

    def frame(self) -> tuple[Any, ...]:
        """Everything that no message may change."""
        rows = self.rows()
        head = [_CLOCK.sub("", row) for row in rows[: self.top]]
        people = [row[: self.left] for row in rows[self.top : self.bottom]]
        title = _COUNT.sub("", self.screen.title)
        return head, people, rows[self.bottom :], title, self.screen.cursor.x, self.screen.cursor.y

    def columns(self) -> list[str]:
        """The columns of time and name."""
        return [row[self.left : self.body] for row in self.rows()[self.top : self.bottom]]

    def close(self) -> None:
        self.console.stopService()
        self._input.close()
        os.close(self._ours)


def fault_of_written(written: str) -> str:
    try:
        written.encode()
    except UnicodeEncodeError:
        return "half of a pair was written"
    rest = _WRITTEN_BY_US.sub("", written)
    for c in rest:
        if c in BIDI or c < " " or "\x7f" <= c <= "\x9f" or c in "\u2028\u2029":
            return f"{c!a} was written"
    return ""


def screens(case: Case) -> Figures:
    """The first fault is told; ``faults`` counts them all."""
    corpus, chance = [*HOSTILE, *ESCAPES, *WIDE], case.chance
    faults: Counter[str] = Counter()
    example: Figures = {}
    shown = 0
    while shown < case.n:
        stage = Stage(TERMINALS[shown // SCREENS_PER_CONSOLE % len(TERMINALS)])
        try:
            for _ in range(min(SCREENS_PER_CONSOLE, case.n - shown)):
                raw, whole = anything(chance, corpus), stage.frame()
                wrong = one_screen(stage, chance, raw, whole)
                shown += 1
                if wrong:
                    faults[wrong] += 1
                    example = example or {"raw": ascii(raw), "terminal": stage.screen.columns, "rows": stage.rows()}
                    break  # what it spoiled stays spoiled: a new terminal
        finally:
            stage.close()
    figures = {"screens": shown, "faults": sum(faults.values())}
    check(not faults, "a text left its place", **figures, kinds=dict(faults), **example)
    return figures


def one_screen(stage: Stage, chance: random.Random, raw: str, whole: tuple[Any, ...]) -> str:
    """Show ``raw`` by one of the ways that lead to the screen; what is wrong then, or nothing."""
    way = chance.random()
    if way < 0.9:
        message = stage.peer.hear(stage.bob, raw)
        written = stage.settle()
        wrong = fault_of_written(written)
        if not wrong and stage.frame() != whole:
            wrong = "cells that are not the message's changed"
        if wrong or way < 0.85:
            return wrong or fault_of_columns(stage)
        stage.peer.set_state(message, MessageState.REFUSED, raw)
    elif way < 0.94:
        stage.peer.offered(stage.bob, raw.encode(errors="replace").decode(), 1000)  # as off the wire
    elif way < 0.97:
        stage.peer.put_notice(raw, NoticeLevel.WARNING)
    else:
        stage.peer.put_registry(RegistryPhase.LOST, raw, "lost", 8)
        wrong = fault_of_written(stage.settle())
        stage.peer.put_registry(RegistryPhase.UP)  # its seconds would be counted on every later screen
        if wrong:
            return wrong
    return fault_of_written(stage.settle()) or fault_of_columns(stage)


def fault_of_columns(stage: Stage) -> str:
    return "" if all(_PREFIX.match(one) for one in stage.columns()) else "the columns of time and name changed"


def run(case: Case) -> Figures:
    return names(case) | renders(case) | screens(case)


def control(case: Case) -> Figures:
    def raw(text: str, *_: object, **__: object) -> Any:
        return text

    for module in (conversation, scripted_peer):
        for name in ("safe_text", "safe_line"):
            setattr(module, name, raw)
    case.n = max(case.n, CONTROL_SCREENS)
    return screens(case)


if __name__ == "__main__":
    os.environ["TERM"], os.environ["LC_ALL"] = "xterm-256color", "C.UTF-8"
    main(sys.modules[__name__])
