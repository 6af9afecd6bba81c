"""Which theme the console has: what this start was told, what was chosen before, or what the terminal says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from chatnet.console.widgets.theme import THEMES, theme_of


class KeptChoice(Protocol):
    """Where a choice lasts until the next start."""

    def get(self) -> str:
        """The choice; empty when there is none."""

    def put(self, choice: str) -> None:
        """Keep it; empty: forget it.  Raises OSError."""


class ThemeChoice:
    """The theme of one console.

    ``told`` is what the command line or the environment says, ``configured`` what a file says; either may be
    empty.  Of what is known the first holds: told, chosen by a person and ``kept``, configured, and what
    ``environ`` says of the terminal.  A person's choice holds at once, also over what was told.
    """

    def __init__(
        self, environ: Mapping[str, str], told: str = "", configured: str = "", kept: KeptChoice | None = None
    ) -> None:
        self._environ, self._told, self._configured, self._kept = environ, told, configured, kept
        chosen = kept.get() if kept is not None else ""
        self.name = told or (chosen if chosen in THEMES else "") or self._usual()

    @property
    def needs_color(self) -> bool:
        """Whether the theme has colours although the environment asks for none."""
        return bool(self._environ.get("NO_COLOR")) and self.name != "mono"

    def choose(self, name: str) -> str:
        """Take the theme ``name`` from now on, or with an empty one what holds without a choice.

        Returns what stands against it at the next start, as "told" (another one is told at each start);
        empty when nothing does.  Raises OSError when the choice could not be kept; it holds all the same.
        """
        self.name = name or self._usual()
        if self._kept is not None:
            self._kept.put(name)
        return "told" if self._told not in ("", self.name) else ""

    def _usual(self) -> str:
        return self._configured or theme_of(self._environ)
