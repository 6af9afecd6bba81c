"""Completion by Tab: commands, people, numbers of offers, paths."""

from __future__ import annotations

import os
from collections.abc import Iterable

from chatnet.console.commands import BY_NAME, COMMANDS, escaped, split_words
from chatnet.console.model import ConsoleModel

_MOST = 200  # candidates worth cycling through
_ENTRIES = 20_000  # of a directory that are looked at


class Completer:
    """Called by the editor with its text and cursor; gives whole texts with their cursors."""

    def __init__(self, model: ConsoleModel) -> None:
        self._model = model

    def __call__(self, text: str, pos: int) -> list[tuple[str, int]]:
        before, after = text[:pos], text[pos:]
        start, words = word_start(before)
        begin = before[start:]
        found = sorted(set(self._candidates(before, begin, words)))[:_MOST]
        if len(found) > 1:
            common = _common_start(found)
            if len(common) > len(begin):
                found = [common]
        return [(before[:start] + one + after, start + len(one)) for one in found]

    def _candidates(self, before: str, begin: str, words: int) -> Iterable[str]:
        if not before.startswith("/") or before.startswith("//"):
            return self._people(begin, ": " if words == 0 else " ") if begin else []
        if words == 0:
            return [f"/{c.name} " for c in COMMANDS if f"/{c.name}".startswith(begin)]
        command = BY_NAME.get(before[1:].split()[0])
        if command is None or not command.takes:
            return []
        if command.name == "msg" and words > 1:
            return []
        match command.takes[min(words, len(command.takes)) - 1]:
            case "person":
                return self._people(begin, " ")
            case "command":
                return [c.name for c in COMMANDS if c.name.startswith(begin)]
            case "number":
                return [n for n in (str(n) for n in self._model.numbers.values()) if n.startswith(begin)]
            case "request":
                numbers = (self._model.request_numbers[peer] for peer in self._model.requests)
                return [n for n in map(str, numbers) if n.startswith(begin)]
            case "directory":
                return self._paths(begin, directories=True)
            case "person-or-path":
                return [*self._people(begin, " "), *self._paths(begin)] if begin else self._people("", " ")
            case "key":
                return []
            case choices if "|" in choices:
                return [f"{word} " for word in choices.split("|") if word and word.startswith(begin)]
            case _:
                return self._paths(begin)

    def _people(self, begin: str, end: str) -> list[str]:
        return [name + end for name in self._model.roster.names() if name.startswith(begin.lower())]

    def _paths(self, begin: str, directories: bool = False) -> list[str]:
        typed = (split_words(begin) or [""])[0] if begin else ""
        head, _, tail = typed.rpartition("/")
        shown = f"{head}/" if "/" in typed else ""
        found: list[str] = []
        try:
            with os.scandir(os.path.expanduser(shown) or ".") as entries:
                for count, entry in enumerate(entries):
                    if count >= _ENTRIES:
                        break
                    if not entry.name.startswith(tail) or (entry.name.startswith(".") and not tail.startswith(".")):
                        continue
                    if not entry.name.isprintable():
                        continue
                    folder = entry.is_dir()
                    if folder or not directories:
                        found.append(escaped(shown + entry.name) + ("/" if folder else ""))
        except OSError:
            return []
        return found


def _common_start(found: list[str]) -> str:
    """Return the common beginning of all; ``found`` is sorted, so the first and the last decide."""
    first, last = found[0], found[-1]
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:length]


def word_start(before: str) -> tuple[int, int]:
    """Return where the word at the end of ``before`` begins, and how many words are before it."""
    start, words, i = 0, 0, 0
    while i < len(before):
        if before[i] == "\\":
            i += 2
            continue
        if before[i].isspace():
            if i > start:
                words += 1
            start = i + 1
        i += 1
    return start, words


def shown_candidates(candidates: list[tuple[str, int]], chosen: int) -> str:
    """The words of a completion for one line, the chosen one in brackets."""
    original, at = candidates[0]
    start, _ = word_start(original[:at])
    words = []
    for index, (text, pos) in enumerate(candidates[1:], 1):
        word = text[start:pos].rstrip()
        folder, slash = word.endswith("/"), word.rstrip("/").rfind("/")
        name = word.rstrip("/")[slash + 1 :] + ("/" if folder else "") if slash > 0 else word
        words.append(f"[{name}]" if index == chosen else f" {name} ")
    first = max(0, min(chosen - 2, len(words) - 12))
    return "".join(words[first : first + 12]).strip() + (f"  ({len(words)})" if len(words) > 12 else "")
