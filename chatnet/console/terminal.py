"""urwid under Twisted: errors neither reach the screen nor end the loop, and a paste is handled as a whole.

A terminal that nobody reads (suspended, a stalled ssh) holds up its own screen and nothing else.
"""

from __future__ import annotations

import re
import termios
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import urwid
from twisted.internet.interfaces import IWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatnet.core.limits import DRAW_REST, KEY_DRAW_REST, TERMINAL_BACKLOG_BYTES
from chatnet.host.local_output import LocalOutput

PASTE_BEGIN, PASTE_END = "begin paste", "end paste"
FOCUS_IN, FOCUS_OUT = "focus in", "focus out"
CANCEL_SEQUENCE = "\x18"  # CAN: what was begun of an escape sequence is none
SETTLE_SECONDS = 0.02  # for the sequences that give the terminal back: a turn of the reactor
WRAP_OFF, WRAP_ON = "\x1b[?7l", "\x1b[?7h"
BOLD_IS_BRIGHT = ("linux", "ansi")  # how TERM begins on terminals with eight colours
PASTE_SECONDS = 2.0  # a paste whose end mark does not come is over after this silence

_UTF8 = frozenset({"utf-8", "utf8", "utf"})

Input = str | tuple[str, int, int, int]


# urwid's name for a byte that is no part of a character in UTF-8.
_LONE_BYTE = re.compile(r"<(?:12[89]|1[3-9]\d|2\d\d)>")


def is_utf8_encoding() -> bool:
    """Whether the terminal's bytes are read and written as UTF-8."""
    return urwid.util.get_encoding() in _UTF8


def is_undecoded(key: Input) -> bool:
    """Whether ``key`` is a byte that the encoding of the terminal does not know.

    urwid names such bytes where the encoding is UTF-8; in every other it takes them for Latin-1, so that an é
    that the terminal sends in UTF-8 becomes two letters that nobody typed.
    """
    if not isinstance(key, str):
        return False
    stroke = key.removeprefix("meta ")
    if is_utf8_encoding():
        return _LONE_BYTE.fullmatch(stroke) is not None
    if len(stroke) != 1 or not "\x80" <= stroke <= "\xff":
        return False
    try:
        return len(stroke.encode(urwid.util.get_encoding())) != 1
    except UnicodeEncodeError:
        return True


def pasted_text(keys: Iterable[Input]) -> str:
    """Return the text that was pasted, from the keys that urwid made of it."""
    out = []
    for key in keys:
        if not isinstance(key, str):
            continue
        if len(key) == 1:
            out.append(key)
        elif key == "enter":
            out.append("\n")
        elif key == "tab":
            out.append("\t")
    return "".join(out)


@implementer(IWriteDescriptor)
class TerminalWriter:
    """Takes what urwid writes, and passes it to a terminal that may take it late.

    While something is left (``is_behind``) nobody should draw: at most one frame waits, and when it is out
    ``on_caught_up`` is called, for the newest to be drawn.  ``on_gone`` is called when the terminal is no more.
    """

    def __init__(self, reactor: Any, output: TextIO) -> None:
        self.on_caught_up: Callable[[], None] = lambda: None
        self.on_gone: Callable[[], None] = lambda: None
        self.is_spoilt = False  # something was dropped: the screen must be drawn whole
        self._reactor = reactor
        self._encoding = output.encoding or "utf-8"
        self._output = LocalOutput(output.fileno())
        self._text: list[str] = []  # not flushed
        self._left = b""
        self._watching = False

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not yet taken everything."""
        return bool(self._left)

    # --- a text stream, for urwid ---

    def write(self, text: str) -> None:
        self._text.append(text)

    def flush(self) -> None:
        """Write what the terminal takes; the rest follows.  Raises OSError when it is gone."""
        data = "".join(self._text).encode(self._encoding, "replace")
        self._text.clear()
        if len(self._left) + len(data) > TERMINAL_BACKLOG_BYTES and self._left:
            self.is_spoilt = True
            return
        self._left += data
        self._write_on()

    def fileno(self) -> int:
        """Return a descriptor of the terminal that nothing else uses."""
        return self._output.fd

    def start_over(self) -> None:
        """Forget what the terminal has not taken: what follows makes it whole."""
        if self._left:
            self._left = CANCEL_SEQUENCE.encode()
            self.is_spoilt = True
            with suppress(OSError, termios.error):
                termios.tcflush(self.fileno(), termios.TCOFLUSH)

    def settle(self) -> None:
        """Write what is left, as far as it is taken within SETTLE_SECONDS, and stop watching."""
        left, self._left = self._left, b""
        self._watch(False)
        with suppress(OSError):
            self._output.write_within(left, SETTLE_SECONDS)

    def close(self) -> None:
        """Drop what is not written yet, and close our descriptor: other programs may use the terminal again."""
        self._left = b""
        self._watch(False)
        self._output.close()

    def _write_on(self) -> None:
        try:
            while self._left and (taken := self._output.write(self._left)):
                self._left = self._left[taken:]
        except OSError:
            self._left = b""
            self._watch(False)
            raise
        self._watch(bool(self._left))

    def _watch(self, on: bool) -> None:
        if on != self._watching:
            self._watching = on
            (self._reactor.addWriter if on else self._reactor.removeWriter)(self)

    # --- the reactor tells that there is room ---

    def doWrite(self) -> None:
        try:
            self._write_on()
        except OSError:
            self.on_gone()
            return
        if not self._left:
            self.on_caught_up()

    def connectionLost(self, reason: Failure) -> None:
        self._left = b""
        self._watching = False
        self.on_gone()

    def logPrefix(self) -> str:
        return "terminal"


class PromptLoop(urwid.TwistedEventLoop):
    """Draws in the very next turn; urwid would wait four milliseconds after each key."""

    _idle_emulation_delay = 0.0


class DrawPace:
    """When the next draw may begin, so that drawing takes a share of the time at most, whatever it draws.

    ``seconds`` is a clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._ended, self._took = 0.0, 0.0

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Measure how long a draw takes, which happens inside of the context."""
        began = self._seconds()
        try:
            yield
        finally:
            self._ended = self._seconds()
            self._took = self._ended - began

    def wait_seconds(self, rest: float) -> float:
        """Return the seconds until a draw may begin that comes ``rest`` times what the last one took after its end."""
        return max(0.0, self._ended + rest * self._took - self._seconds())


class GuardedLoop(urwid.MainLoop):
    """A main loop that goes on whatever a handler or a widget raises.

    Keys are drawn at once, unless the last draw was a long one: then half of the time is left to others.
    """

    log = Logger()

    def __init__(
        self,
        widget: urwid.Widget,
        palette: Sequence[tuple[Any, ...]],
        screen: Any,
        reactor: Any,
        *,
        on_paste: Callable[[str], None],
        on_trouble: Callable[[str], None],
        on_input_closed: Callable[[], None],
        on_undecoded: Callable[[], None] = lambda: None,
        writer: TerminalWriter | None = None,
        on_caught_up: Callable[[], None] = lambda: None,
        on_frame: Callable[[], None] = lambda: None,
        on_focus: Callable[[bool], None] = lambda has_focus: None,
    ) -> None:
        loop = urwid.GuardedEventLoop(PromptLoop(reactor, manage_reactor=False), self._failed)
        super().__init__(widget, list(palette), screen=screen, event_loop=loop)
        self._reactor = reactor
        self._on_paste, self._on_trouble, self._on_input_closed = on_paste, on_trouble, on_input_closed
        self._on_undecoded = on_undecoded  # something was typed or pasted that is no character, and was left out
        self._paste: list[Input] | None = None
        self._paste_timer: Any = None
        self._draw_trouble = ""  # the last one, told once and not at every draw
        self._pace = DrawPace(reactor.seconds)
        self._key_timer: Any = None  # a key's draw that waits
        self._writer = writer
        self._on_caught_up = on_caught_up
        self._on_focus = on_focus
        self._on_frame = on_frame  # the terminal has the frame that was drawn last
        if writer is not None:
            writer.on_caught_up = self._caught_up
            writer.on_gone = on_input_closed

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not taken the last frame yet: then none is drawn, and the newest when it has."""
        return self._writer is not None and self._writer.is_behind

    def wait_seconds(self, rest: float = DRAW_REST) -> float:
        """Return the seconds until a draw may begin that comes ``rest`` times what the last one took after its end."""
        return self._pace.wait_seconds(rest)

    def entering_idle(self) -> None:
        """Draw what keys have changed, at once or when the last draw is long enough ago."""
        wait = self.wait_seconds(KEY_DRAW_REST)
        if not wait:
            super().entering_idle()
        elif self._key_timer is None:
            self._key_timer = self._reactor.callLater(wait, self._draw_keys)

    def _draw_keys(self) -> None:
        self._key_timer = None
        self.entering_idle()  # waits on if something else was drawn meanwhile

    def _caught_up(self) -> None:
        assert self._writer is not None
        if self._writer.is_spoilt:
            self._writer.is_spoilt = False
            self.screen.clear()
        else:
            self._on_frame()
        self._on_caught_up()

    def process_input(self, keys: Iterable[Input]) -> bool:
        """Handle keys one by one, each guarded. What is pasted is gathered, and nothing in it acts."""
        handled, undecoded = False, False
        for key in keys:
            if key in (FOCUS_IN, FOCUS_OUT):
                self._guarded(self._on_focus, key == FOCUS_IN)
            elif is_undecoded(key):
                undecoded = True
            elif key == PASTE_BEGIN and self._paste is None:
                self._paste = []
            elif key == PASTE_END:
                self._end_paste()
            elif self._paste is not None and key != "window resize":
                self._paste.append(key)
            else:
                handled = self._guarded(self._one, key) or handled
        if undecoded:
            handled = self._guarded(self._on_undecoded) or handled
        if self._paste_timer is not None:
            self._paste_timer.cancel()
            self._paste_timer = None
        if self._paste is not None:
            self._paste_timer = self._reactor.callLater(PASTE_SECONDS, self._paste_is_over)
        return handled

    def _paste_is_over(self) -> None:
        self._paste_timer = None
        self._end_paste()
        self.draw_screen()

    def _end_paste(self) -> None:
        keys, self._paste = self._paste, None
        if keys is not None:
            self._guarded(self._on_paste, pasted_text(keys))

    def _one(self, key: Input) -> bool:
        return super().process_input([key])

    def _guarded(self, call: Callable[..., Any], *args: Any) -> bool:
        try:
            return bool(call(*args))
        except Exception as error:
            self._failed(error)
            return True

    def _failed(self, error: Exception) -> None:
        if isinstance(error, urwid.InputClosedError):
            self._on_input_closed()
            return
        self.log.failure("console: {what}", what=type(error).__name__)
        self._on_trouble(f"Something went wrong in the console ({type(error).__name__}); /log says where to read more.")

    def draw_screen(self) -> None:
        """Draw, if the terminal has room for it; a screen that cannot be drawn says so instead."""
        if not self.screen.started or self.is_behind:
            return
        try:
            with self._pace.drawing():
                super().draw_screen()
            self._draw_trouble = ""
        except OSError:  # the terminal is gone
            self._on_input_closed()
        except Exception as error:
            trouble = repr(error)
            if trouble != self._draw_trouble:
                self._draw_trouble = trouble
                self.log.failure("console: the screen could not be drawn")
            size = self.screen.get_cols_rows()
            text = (
                f"The screen could not be drawn ({type(error).__name__}). Everything keeps running. Ctrl-C twice quits."
            )
            self.screen.draw_screen(size, urwid.Filler(urwid.Text(text), "top").render(size))
        if not self.is_behind:
            self._on_frame()

    def stop(self) -> None:
        """Give the terminal back."""
        for timer in (self._paste_timer, self._key_timer):
            if timer is not None:
                timer.cancel()
        self._paste_timer = self._key_timer = None
        super().stop()


class UnwrappedScreen(urwid.display.raw.Screen):
    """A terminal that cuts a row at its right edge.

    urwid and the terminal may count the columns of an emoji of several parts differently; a row that
    is longer there than here must not go on in the next one, over names and people.
    """

    def __init__(self, input: TextIO, writer: TerminalWriter, environ: Mapping[str, str]) -> None:
        super().__init__(input, writer, bracketed_paste_mode=True, focus_reporting=True, extended_keys=True)
        # Only there a bright colour is a bold one; elsewhere that may be the dark colour in bold.
        self.set_terminal_properties(bright_is_bold=environ.get("TERM", "").startswith(BOLD_IS_BRIGHT))
        self._writer = writer

    def alert(self, sequence: str) -> None:
        """Ring, or show a notice, unless the terminal is behind with what it has to show."""
        if self.started and not self._writer.is_behind:
            self.write(sequence)
            self.flush()

    def start(self, *args: Any, **kwargs: Any) -> Any:
        started = super().start(*args, **kwargs)
        self.write(WRAP_OFF)
        return started

    def stop(self) -> Any:
        """Give the terminal back; one that nobody reads gets the sequences for that instead of the last frame."""
        if not self.started:
            return super().stop()
        self._writer.start_over()
        self.write(WRAP_ON)
        try:
            return super().stop()
        finally:
            self._writer.settle()


def free_the_signal_keys(screen: Any, input: Any) -> None:
    """Let Ctrl-C, -\\, -S, -Q, -Z arrive as keys; urwid gives the terminal its own back at the end."""
    screen.tty_signal_keys("undefined", "undefined", "undefined", "undefined", "undefined", fileno=input.fileno())
