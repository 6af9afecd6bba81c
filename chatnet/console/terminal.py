"""urwid under Twisted: nothing that fails reaches the screen or ends the loop, and a paste is one thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import urwid
from twisted.logger import Logger

PASTE_BEGIN, PASTE_END = "begin paste", "end paste"
WRAP_OFF, WRAP_ON = "\x1b[?7l", "\x1b[?7h"
PASTE_SECONDS = 2.0  # a paste whose end mark does not come is over after this silence

Input = str | tuple[str, int, int, int]


def pasted_text(keys: Iterable[Input]) -> str:
    """The text that was pasted, from the keys that urwid made of it."""
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


class PromptLoop(urwid.TwistedEventLoop):
    """Draws in the very next turn; urwid would wait four milliseconds after each key."""

    _idle_emulation_delay = 0.0


class GuardedLoop(urwid.MainLoop):
    """A main loop that goes on whatever a handler or a widget raises."""

    log = Logger()

    def __init__(
        self,
        widget: urwid.Widget,
        palette: list[tuple[str, str, str, str]],
        screen: Any,
        reactor: Any,
        *,
        on_paste: Callable[[str], None],
        on_trouble: Callable[[str], None],
        on_input_closed: Callable[[], None],
    ) -> None:
        loop = urwid.GuardedEventLoop(PromptLoop(reactor, manage_reactor=False), self._failed)
        super().__init__(widget, palette, screen=screen, event_loop=loop)
        self._reactor = reactor
        self._on_paste, self._on_trouble, self._on_input_closed = on_paste, on_trouble, on_input_closed
        self._paste: list[Input] | None = None
        self._paste_timer: Any = None
        self._draw_trouble = ""  # the last one, told once and not at every draw

    def process_input(self, keys: Iterable[Input]) -> bool:
        """Keys one by one, each guarded; what is pasted is gathered, and nothing in it acts."""
        handled = False
        for key in keys:
            if key == PASTE_BEGIN and self._paste is None:
                self._paste = []
            elif key == PASTE_END:
                self._end_paste()
            elif self._paste is not None and key != "window resize":
                self._paste.append(key)
            else:
                handled = self._guarded(self._one, key) or handled
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
        """Draw; a screen that cannot be drawn says so instead."""
        if not self.screen.started:
            return
        try:
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

    def stop(self) -> None:
        """Give the terminal back."""
        if self._paste_timer is not None:
            self._paste_timer.cancel()
            self._paste_timer = None
        super().stop()


class UnwrappedScreen(urwid.display.raw.Screen):
    """A terminal that cuts a row at its right edge.

    urwid and the terminal may count the columns of an emoji of several parts differently; a row that
    is longer there than here must not go on in the next one, over names and people.
    """

    def start(self, *args: Any, **kwargs: Any) -> Any:
        started = super().start(*args, **kwargs)
        self.write(WRAP_OFF)
        return started

    def stop(self) -> Any:
        if self.started:
            self.write(WRAP_ON)
        return super().stop()


def terminal_screen(input: Any, output: Any) -> Any:
    """The real screen, with every key a key."""
    screen = UnwrappedScreen(input, output, bracketed_paste_mode=True, focus_reporting=False, extended_keys=True)
    return screen


def free_the_signal_keys(screen: Any, input: Any) -> None:
    """Ctrl-C, -\\, -S, -Q, -Z arrive as keys; urwid gives the terminal its own back at the end."""
    screen.tty_signal_keys("undefined", "undefined", "undefined", "undefined", "undefined", fileno=input.fileno())
