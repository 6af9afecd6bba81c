"""Which theme the console has: what this start was told, what was chosen before, or what the terminal says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from chatnet.console.widgets.theme import theme_of
from chatnet.core.choices import Choice, Theme


class ChoiceStore(Protocol):
    """Where a choice lasts until the next start."""

    def get(self) -> str:
        """Return the choice; empty when there is none."""

    def put(self, choice: str) -> None:
        """Keep ``choice``, or with an empty one forget the former.  Raises OSError."""


class ThemeChoice:
    """The theme of one console, by the rule of ``Choice``.

    ``told`` is what the command line or the environment says, ``configured`` what a file says.  Where neither does
    and ``store`` has no choice, the theme is what ``environ`` says of the terminal.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        told: Theme | None = None,
        configured: Theme | None = None,
        store: ChoiceStore | None = None,
    ) -> None:
        self._environ, self._store = environ, store
        word = store.get() if store is not None else ""
        kept = Theme(word) if word in tuple(Theme) else None
        self._choice = Choice(told, configured or theme_of(environ), kept)

    @property
    def theme(self) -> Theme:
        """What holds now."""
        return self._choice.value

    @property
    def needs_color(self) -> bool:
        """Whether the theme has colours although the environment asks for none."""
        return bool(self._environ.get("NO_COLOR")) and self.theme is not Theme.MONO

    def choose(self, theme: Theme | None) -> bool:
        """Take a theme from now on, or with None what holds without a choice.

        Returns whether the next start has it, too.  Raises OSError when the choice could not be kept; it holds all
        the same.
        """
        self._choice.choose(theme)
        if self._store is not None:
            self._store.put(theme or "")
        return self._choice.lasts
