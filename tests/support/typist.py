"""Type into a console and read its screen, without a terminal and without waiting."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import urwid
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.testing import MemoryReactorClock
from urwid.testing import ScriptedScreen

from chatnet.console.app import Console, LoginDefaults
from chatnet.core.limits import QUESTION_SECONDS
from tests.support.scripted_peer import ScriptedPeer

START = 1_795_000_000.0  # a moment in November 2026

_NAMES = {"pgup": "page up", "pgdn": "page down", "space": " ", "lt": "<"}
_TOKEN = re.compile(r"<([a-z0-9 +._/-]+)>|(.)", re.DOTALL)


def strokes(typed: str) -> list[str]:
    """``hi<enter><meta a>`` as urwid's keys; ``<lt>`` is a ``<``."""
    return [_NAMES.get(name, name) if name else char for name, char in _TOKEN.findall(typed)]


class MemoryScreen(ScriptedScreen):
    """Holds what was drawn; input is fed by hand."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__(size=size)
        self.feed: Any = None
        self.title = ""
        self.mouse = False
        self.cleared = 0
        self.alerts: list[str] = []

    def hook_event_loop(self, event_loop: Any, callback: Any) -> None:
        # Through the loop, as input comes from a terminal: urwid draws after it.
        self.feed = lambda keys: event_loop.alarm(0, lambda: callback(keys, []))

    def unhook_event_loop(self, event_loop: Any) -> None:
        self.feed = None

    def draw_screen(self, size: tuple[int, int], canvas: urwid.Canvas) -> None:
        super().draw_screen(size, canvas)
        del self.canvases[:-1]

    def set_title(self, title: str) -> None:
        self.title = title

    def alert(self, sequence: str) -> None:
        self.alerts.append(sequence)

    def set_mouse_tracking(self, enable: bool = True) -> None:
        self.mouse = enable

    def clear(self) -> None:
        self.cleared += 1


class InlineDisk:
    """A disk that answers at once, or with ``holds`` when ``release`` is called."""

    def __init__(self) -> None:
        self.holds = False
        self._held: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self._held.append((done, partial(work, *args, **kwargs)))
        if not self.holds:
            self.release()
        return done

    def release(self) -> None:
        """What was asked for is done."""
        held, self._held = self._held, []
        for done, work in held:
            maybeDeferred(work).chainDeferred(done)


class Typist:
    """A console with somebody in front of it."""

    def __init__(
        self,
        peer: ScriptedPeer | None = None,
        size: tuple[int, int] = (80, 24),
        login: LoginDefaults | None = None,
        ascii_only: bool = False,
        clock: MemoryReactorClock | None = None,
        environ: Mapping[str, str] | None = None,
        **how: Any,
    ) -> None:
        self.clock = clock or new_clock()
        self.peer = peer or ScriptedPeer(self.clock)
        self.memory = MemoryScreen(size)
        self.disk = InlineDisk()
        self.console = Console(
            self.peer,
            self.clock,
            login=login,
            ascii_only=ascii_only,
            screen=self.memory,
            disk=self.disk,
            environ={"LANG": "C.UTF-8", "TERM": "xterm-256color"} if environ is None else environ,
            **how,
        )
        self.console.startService()
        for call, args, kwargs in self.clock.whenRunningHooks:
            call(*args, **kwargs)
        self.settle()

    @property
    def view(self) -> Any:
        assert self.console.actions is not None
        return self.console.actions.view

    def settle(self) -> None:
        """Let what is due within a blink happen."""
        for _ in range(6):
            self.clock.advance(0.02)

    def wait(self, seconds: float) -> None:
        """Time passes in small steps."""
        for _ in range(round(seconds * 20)):
            self.clock.advance(0.05)

    def type(self, typed: str) -> None:
        """Look at the screen, and press keys."""
        self.wait(QUESTION_SECONDS + 0.05)
        self.press(*strokes(typed))

    def press(self, *keys: Any) -> None:
        """Keys and mouse events as urwid gives them, in one batch."""
        self.memory.feed(list(keys))
        self.settle()

    def paste(self, text: str) -> None:
        """As the terminal sends it: marks around the keys."""
        names = {"\n": "enter", "\t": "tab"}
        self.press("begin paste", *(names.get(c, c) for c in text), "end paste")

    def click(self, text: str, times: int = 1, nth: int = 0) -> None:
        """Press and release the left button on the first character of some text."""
        found = [
            (row, at.start()) for row, line in enumerate(self.lines()) for at in re.finditer(re.escape(text), line)
        ]
        row, col = found[nth]
        for _ in range(times):
            self.press(("mouse press", 1, col, row), ("mouse release", 1, col, row))

    def resize(self, cols: int, rows: int) -> None:
        self.memory.size = (cols, rows)
        self.press("window resize")

    def lines(self) -> list[str]:
        """The rows of the screen."""
        return [line.rstrip() for line in self.memory.last_text]

    def screen(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines())

    def words(self) -> str:
        """The text beside the list of people, without its line breaks (at widths from 72 to 119)."""
        return " ".join(" ".join(line[21:].split()) for line in self.lines())

    def all_words(self) -> str:
        """The text of the whole screen, without its line breaks."""
        return " ".join(self.screen().split())

    def calls(self, name: str) -> list[tuple[Any, ...]]:
        """What the console asked the peer for."""
        return [call for call in self.peer.calls if call[0] == name]

    def close(self) -> None:
        """Leave; nothing of the console may be under way then."""
        self.console.stopService()
        left: Any = self.clock.getDelayedCalls()
        assert [call for call in left if call.func.__module__.startswith("chatnet")] == []


def new_clock() -> MemoryReactorClock:
    clock = MemoryReactorClock()
    clock.rightNow = START
    return clock
