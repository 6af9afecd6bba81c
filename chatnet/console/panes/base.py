"""The base class of the panes of all tabs, and what a pane may read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chatnet.console.keymap import Context
from chatnet.console.model import ConsoleModel
from chatnet.console.widgets.base import Box, Scroller
from chatnet.console.widgets.theme import Signs


@dataclass(frozen=True)
class Launch:
    """How the program was started, as far as the screen tells a person to start it again."""

    twistd: str = "twistd"  # the command, as it can be typed here
    is_demo: bool = False  # everything ends with this console: nothing is named that would outlive it


@dataclass(frozen=True)
class PaneContext:
    """The data that all panes share."""

    model: ConsoleModel
    signs: Signs
    now_ms: Callable[[], int]
    launch: Launch = Launch()

    @property
    def is_demo(self) -> bool:
        return self.launch.is_demo


class Pane(Box):
    """The body of a tab."""

    context = Context.INPUT  # where keys go when the tab is chosen

    def __init__(self, scene: PaneContext) -> None:
        super().__init__()
        self.scene = scene

    def title(self) -> str:
        """Return the word for the row of tabs."""
        raise NotImplementedError

    def news(self) -> int:
        """Return the number in brackets behind the title; 0 for none."""
        return 0

    def alarm(self) -> bool:
        """Whether something is wrong here."""
        return False

    def left(self) -> None:
        """Called when another tab is shown."""

    def scroll(self, rows: int) -> None:
        """Move the view, negative is up."""
        raise NotImplementedError

    def page(self, pages: int) -> None:
        """Move by whole pages."""
        raise NotImplementedError

    def to_top(self) -> None:
        raise NotImplementedError

    def to_end(self) -> None:
        raise NotImplementedError


class ScrollPane(Scroller, Pane):
    """A pane of blocks."""
