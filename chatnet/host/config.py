"""Settings from several places: command line, environment, the user's file, the system's file.

Every value carries where it came from, so that a wrong one is named where the user can mend it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from chatnet.core.closest import did_you_mean
from chatnet.core.errors import LocalError
from chatnet.core.text import safe_line

T = TypeVar("T")

SECTIONS = ("peer", "registry")
LIMITS = "limits"  # a table of its own in each section
TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"", "0", "false", "no", "off"})


class BadSetting(LocalError):
    """A setting that cannot be; ``text`` names the place and what it must be."""

    def __init__(self, text: str) -> None:
        super().__init__("bad-setting", text)


@dataclass(frozen=True)
class Setting:
    """A value, and how its place is called: ``--listen``, ``CHATNET_DATA``, ``config F line 3: listen``."""

    value: Any
    place: str

    def wrong(self, what: str) -> BadSetting:
        """This place must be ``what``."""
        return BadSetting(f"{self.place} must be {what}, not {_shown(self.value)}")

    def checked(self, check: Callable[[str], T]) -> T:
        """``check`` of the text; its ValueError is told with the place."""
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
        """One text, or a list of them."""
        values = [self.value] if isinstance(self.value, str) else self.value
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.wrong("a text in quotes or a list of them")
        return tuple(values)

    def path(self) -> Path:
        if not self.text():
            raise self.wrong("a path")
        return Path(self.text()).expanduser().absolute()


@dataclass(frozen=True)
class ConfigFile:
    """One section of one TOML file."""

    path: Path
    section: str
    source: str
    document: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, section: str, required: bool = False) -> ConfigFile:
        """The file's section; a file that is not there is an empty one, unless ``required``."""
        try:
            source = path.read_text(encoding="utf-8")
            document = tomllib.loads(source)
        except (FileNotFoundError, NotADirectoryError):
            if required:
                raise BadSetting(f"config {path}: there is no such file") from None
            source, document = "", {}
        except OSError as error:
            raise BadSetting(f"config {path} cannot be read ({(error.strerror or str(error)).lower()})") from None
        except (ValueError, RecursionError) as error:  # not TOML, or not UTF-8
            raise BadSetting(f"config {path}: {safe_line(str(error))}") from None
        for name in SECTIONS:
            if not isinstance(document.get(name, {}), dict):
                raise BadSetting(f"config {path}{_line(source, '', name)}: {name} must be a section: [{name}]")
        return cls(path, section, source, document)

    def get(self, key: str) -> Setting | None:
        table = self.document.get(self.section, {})
        return Setting(table[key], self.place(self.section, key)) if key in table else None

    def limits(self) -> Iterator[Setting]:
        """``NAME=VALUE`` of each entry of ``[SECTION.limits]``, in the file's order."""
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
        """A warning for each section and each key of ours that means nothing, with the nearest that does."""
        for name in self.document:
            if name not in SECTIONS:
                yield _unknown(self.place("", name), "section", name, SECTIONS)
        known = tuple(known)
        for name in self.document.get(self.section, {}):
            if name not in known:
                yield _unknown(self.place(self.section, name), "key", name, known)

    def place(self, section: str, key: str) -> str:
        return f"config {self.path}{_line(self.source, section, key)}: {safe_line(key)}"


def from_environment(environ: Mapping[str, str], variable: str, kind: str = "text") -> Setting | None:
    """A variable as a value of ``kind`` text, flag or list (separated by blanks); unset or empty is none."""
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


def _line(source: str, section: str, key: str) -> str:
    """`` line 12`` where ``key`` of ``section`` stands, as far as plain reading shows it."""
    present = ""
    header = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]")
    entry = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]")
    for number, line in enumerate(source.splitlines(), 1):
        found = header.match(line)
        if found:
            present = re.sub(r"[\s\"']", "", found[1])
            if not section and present == key:
                return f" line {number}"
        elif present == section and entry.match(line):
            return f" line {number}"
    return ""
