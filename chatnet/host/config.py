"""Settings from several places: command line, environment, the user's file, the system's file.

Every value carries where it came from, so that a wrong one is named where the user can mend it.
"""

from __future__ import annotations

import json
import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from chatnet.core.closest import did_you_mean
from chatnet.core.errors import LocalError, system_reason
from chatnet.core.limits import CONFIG_BYTES, CONFIG_LINE_CHARS, CONFIG_WARNINGS
from chatnet.core.text import safe_line

T = TypeVar("T")

SECTIONS = ("peer", "registry")
LIMITS = "limits"  # a table of its own in each section
_HEADER = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]")
_ENTRY = re.compile(r"\s*[\"']?([^\"'=.\s]+)[\"']?\s*[=.]")
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"", "0", "false", "no", "off"})


class BadSetting(LocalError):
    """A setting that cannot be; ``text`` names the place and what it must be."""

    def __init__(self, text: str) -> None:
        super().__init__("bad-setting", text)


@dataclass(frozen=True)
class Setting:
    """A value, and how its place is called: an option, a variable, or ``config F line 3: listen``."""

    value: Any
    place: str

    def wrong(self, what: str) -> BadSetting:
        """Return the error that this place must be ``what``."""
        return BadSetting(f"{self.place} must be {what}, not {_shown(self.value)}")

    def checked(self, check: Callable[[str], T]) -> T:
        """Return ``check`` of the text.  Raises BadSetting with the place for its ValueError."""
        try:
            return check(self.text())
        except ValueError as error:
            raise BadSetting(f"{self.place}: {error}") from None

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.wrong("a text in quotes")
        return self.value

    def flag(self) -> bool:
        if isinstance(self.value, bool):
            return self.value
        raise self.wrong("true or false")

    def texts(self) -> tuple[str, ...]:
        """Return one text, or a list of them, as a tuple.  Raises BadSetting for anything else."""
        values = [self.value] if isinstance(self.value, str) else self.value
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.wrong("a text in quotes or a list of them")
        return tuple(values)

    def path(self) -> Path:
        if not self.text() or "\0" in self.text():
            raise self.wrong("a path")
        try:
            return Path(self.text()).expanduser().absolute()
        except (RuntimeError, OSError):  # nobody has that home; the directory that we are in was removed
            raise self.wrong("an absolute path") from None


@dataclass(frozen=True)
class ConfigFile:
    """One section of one TOML file."""

    path: Path
    section: str
    source: str
    document: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, section: str, required: bool = False) -> ConfigFile:
        """Read the section of a file. A file that is not there is an empty one, unless ``required``.

        Raises BadSetting.
        """
        try:
            source = _read(path)
            document = tomllib.loads(source)
        except (FileNotFoundError, NotADirectoryError):
            if required:
                raise BadSetting(f"config {path}: there is no such file") from None
            source, document = "", {}
        except OSError as error:
            raise BadSetting(f"config {path} cannot be read ({system_reason(error)})") from None
        except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8
            raise BadSetting(f"config {path}: {safe_line(str(error))}") from None
        file = cls(path, section, source, document)
        for name in SECTIONS:
            if not isinstance(document.get(name, {}), dict):
                raise BadSetting(f"{file.place('', name)} must be a section: [{name}]")
        return file

    def get(self, key: str) -> Setting | None:
        table = self.document.get(self.section, {})
        return Setting(table[key], self.place(self.section, key)) if key in table else None

    def limits(self) -> Iterator[Setting]:
        """Yield ``NAME=VALUE`` of each entry of ``[SECTION.limits]``, in the file's order.  Raises BadSetting."""
        given = self.get(LIMITS)
        if given is None:
            return
        if not isinstance(given.value, dict):
            raise given.wrong(f"a table: [{self.section}.{LIMITS}]")
        for name, value in given.value.items():
            place = self.place(f"{self.section}.{LIMITS}", name)
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise Setting(value, place).wrong("a number")
            yield Setting(f"{name}={value}", place)

    def unknown(self, known: Iterable[str]) -> Iterator[str]:
        """Yield warnings about sections and keys of ours that mean nothing, with the nearest that do; a few of many."""
        known = tuple(known)
        sections = [name for name in self.document if name not in SECTIONS]
        keys = [name for name in self.document.get(self.section, {}) if name not in known]
        named: list[tuple[str, str, str, tuple[str, ...]]] = [("", "section", name, SECTIONS) for name in sections]
        named += [(self.section, "key", name, known) for name in keys]
        for section, kind, name, meant in named[:CONFIG_WARNINGS]:
            yield _unknown(self.place(section, name), kind, name, meant)
        if len(named) > CONFIG_WARNINGS:
            yield f"config {self.path}: {len(named) - CONFIG_WARNINGS} more were passed over."

    def place(self, section: str, key: str) -> str:
        number = self._lines.get((section, key))
        return f"config {self.path}{f' line {number}' if number is not None else ''}: {safe_line(key)}"

    @cached_property
    def _lines(self) -> Mapping[tuple[str, str], int]:
        """Where each section and key stands, as far as plain reading shows it."""
        return _lines_of(self.source)


def from_environment(environ: Mapping[str, str], variable: str, kind: str = "text") -> Setting | None:
    """Return a variable as a value of ``kind`` text, flag or list (separated by blanks); None if unset or empty."""
    text = environ.get(variable, "")
    if not text:
        return None
    value: Any = text
    if kind == "list":
        value = text.split()
    elif kind == "flag":
        lower = text.lower()
        value = True if lower in TRUE else False if lower in FALSE else text
    return Setting(value, variable)


def _unknown(place: str, kind: str, name: str, known: Iterable[str]) -> str:
    return f"{place} is no {kind} that is known, and was passed over.{did_you_mean(name, known)}"


def _shown(value: Any) -> str:
    try:
        return safe_line(json.dumps(value, ensure_ascii=False), 60)
    except TypeError:  # a TOML date
        return safe_line(str(value), 60)


def _lines_of(source: str) -> dict[tuple[str, str], int]:
    section = ""
    lines: dict[tuple[str, str], int] = {}
    for number, line in enumerate(source.splitlines(), 1):
        if header := _HEADER.match(line[:CONFIG_LINE_CHARS]):
            section = re.sub(r"[\s\"']", "", header[1])
            lines.setdefault(("", section), number)
        elif entry := _ENTRY.match(line[:CONFIG_LINE_CHARS]):
            lines.setdefault((section, entry[1]), number)
    return lines


def _read(path: Path) -> str:
    """Return the text of a regular file that is not larger than a configuration is.

    Raises OSError, BadSetting, or ValueError if it is not UTF-8.  A device may never end, and a pipe waits for
    its writer.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadSetting(f"config {path} is not a regular file")
        content = file.read(CONFIG_BYTES + 1)
    if len(content) > CONFIG_BYTES:
        raise BadSetting(f"config {path} is larger than {CONFIG_BYTES // 1024} KiB: that is no configuration")
    return content.decode("utf-8")
