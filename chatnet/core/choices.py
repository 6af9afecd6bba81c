"""What a person can choose while a program runs, although the start or a file chooses, too."""

from __future__ import annotations

from enum import StrEnum
from typing import Generic, TypeVar

T = TypeVar("T")


class Theme(StrEnum):
    """How the console looks."""

    DARK = "dark"
    LIGHT = "light"
    HIGH_CONTRAST = "high-contrast"
    MONO = "mono"


class Choice(Generic[T]):
    """A setting of which the first value holds that is there: told, kept, usual.

    ``told`` is what the command line or the environment says at this start, ``kept`` what the person has chosen
    before, and ``usual`` what a file or the program itself says.  What the person chooses now holds at once, also
    over ``told``.
    """

    def __init__(self, told: T | None, usual: T, kept: T | None = None) -> None:
        self.kept = kept
        self._told, self._usual = told, usual
        self._is_overruled = False  # told, by a choice since

    @property
    def value(self) -> T:
        """What holds now."""
        if self._told is not None and not self._is_overruled:
            return self._told
        return self._usual if self.kept is None else self.kept

    @property
    def lasts(self) -> bool:
        """Whether the next start has the same value, if it is told the same."""
        return self._told is None or self._told == self.value

    def choose(self, value: T | None) -> None:
        """Take a value from now on; None: the usual one."""
        self.kept, self._is_overruled = value, True
