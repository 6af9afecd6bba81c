"""Completion by Tab: commands, people, numbers of offers, paths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from chatnet.console.commands import BY_NAME, COMMANDS, escaped, quoted_as, split_words
from chatnet.console.disk import Names, common_start, first_of
from chatnet.console.model import ConsoleModel

QUOTES = ("'", '"')
_AT_ONCE = 12  # candidates in the line that shows them


@dataclass(frozen=True)
class PathQuestion:
    """Which names of a folder Tab wants to know; ``shown`` is the folder as it was typed, with its slash."""

    shown: str
    begin: str
    only_folders: bool


class Completer:
    """Called by the editor with its text and cursor; gives whole texts with their cursors.

    Names of files come from the disk: ``look`` is told what to find out.  Until ``answer`` has it, there is nothing
    to complete, and whoever answers lets the key be pressed once more.
    """

    def __init__(self, model: ConsoleModel, look: Callable[[PathQuestion], None]) -> None:
        self._model, self._look = model, look
        self._answer: tuple[PathQuestion, Names] | None = None
        self.is_asking = False  # the editor waits for the candidates at this moment
        self.found = Names()  # at the last call

    def answer(self, question: PathQuestion, names: Names) -> None:
        """Store the names in a folder, which answer ``question``."""
        self._answer = question, names

    def __call__(self, text: str, pos: int) -> list[tuple[str, int]]:
        before, after = text[:pos], text[pos:]
        start, words = word_start(before)
        begin = before[start:]
        self.found = found = self._candidates(before, begin, words)
        candidates = found.first
        if found.count > 1 and len(found.common) > len(begin):
            candidates = (found.common,)
        return [(before[:start] + one + after, start + len(one)) for one in candidates]

    def _candidates(self, before: str, begin: str, words: int) -> Names:
        if not before.startswith("/") or before.startswith("//"):
            return first_of(self._people(begin, ": " if words == 0 else " ") if begin else [])
        if words == 0:
            return first_of([f"/{c.name} " for c in COMMANDS if f"/{c.name}".startswith(begin)])
        command = BY_NAME.get(before[1:].split()[0])
        if command is None or not command.takes:
            return Names()
        if command.name == "msg" and words > 1:
            return Names()
        match command.takes[min(words, len(command.takes)) - 1]:
            case "person":
                return first_of(self._people(begin, " "))
            case "command":
                return first_of([c.name for c in COMMANDS if c.name.startswith(begin)])
            case "number":
                return first_of([n for n in (str(n) for n in self._model.numbers.values()) if n.startswith(begin)])
            case "request":
                numbers = (self._model.request_numbers[peer] for peer in self._model.requests)
                return first_of([n for n in map(str, numbers) if n.startswith(begin)])
            case "directory":
                return self._paths(begin, only_folders=True)
            case "person-or-path":
                people = first_of(self._people(begin, " "))
                return _both(people, self._paths(begin)) if begin else people
            case "key":
                return Names()
            case choices if "|" in choices:
                return first_of([f"{word} " for word in choices.split("|") if word and word.startswith(begin)])
            case _:
                return self._paths(begin)

    def _people(self, begin: str, end: str) -> list[str]:
        names = (name for name in self._model.roster.names() if name.startswith(begin.lower()))
        return [name + end for name in dict.fromkeys(names)]

    def _paths(self, begin: str, only_folders: bool = False) -> Names:
        quote = begin[:1] if begin[:1] in QUOTES and not _is_closed(begin) else ""
        typed = (split_words(begin + quote) or [""])[0] if begin else ""
        head, slash, tail = typed.rpartition("/")
        question = PathQuestion(head + slash, tail, only_folders)
        if self._answer is None or self._answer[0] != question:
            self.is_asking = True
            try:
                self._look(question)
            finally:
                self.is_asking = False
        answer, self._answer = self._answer, None
        if answer is None or answer[0] != question:
            return Names()
        names = answer[1]
        if not quote:
            first = tuple(escaped(question.shown + name) for name in names.first)
            return Names(first, names.count, escaped(question.shown + names.common), names.is_whole)
        first = tuple(
            quoted_as(quote, question.shown + name) + ("" if name.endswith("/") else quote) for name in names.first
        )
        return Names(first, names.count, quoted_as(quote, question.shown + names.common), names.is_whole)


def _both(some: Names, others: Names) -> Names:
    """Return the candidates of two kinds together.

    If ``others`` are not all known, return them alone: it is not known then what all candidates begin with.
    """
    if not some.count or not others.is_whole:
        return others
    if not others.count:
        return some
    first = first_of(sorted((*some.first, *others.first))).first
    return Names(first, some.count + others.count, common_start(some.common, others.common))


def word_start(before: str) -> tuple[int, int]:
    """Return where the word at the end of ``before`` begins, and how many words are before it.

    In a command a word that begins with a quote ends behind the second one.
    """
    start, words, i = 0, 0, 0
    has_quotes = before.startswith("/") and not before.startswith("//")
    while i < len(before):
        if before[i] == "\\":
            i += 2
            continue
        if has_quotes and i == start and before[i] in QUOTES:
            i = _behind_quotes(before, i)
            continue
        if before[i].isspace():
            if i > start:
                words += 1
            start = i + 1
        i += 1
    return start, words


def _behind_quotes(text: str, start: int) -> int:
    """Return the index behind the quote that closes the one at ``start``; more than the length if there is none."""
    i = start + 1
    while i < len(text) and text[i] != text[start]:
        i += 2 if text[i] == "\\" and text[start] == '"' else 1
    return i + 1


def _is_closed(word: str) -> bool:
    return _behind_quotes(word, 0) <= len(word)


def shown_candidates(candidates: list[tuple[str, int]], chosen: int, count: int = 0) -> str:
    """Return the words of a completion as one line, the chosen one in brackets; ``count`` is how many fit in all."""
    original, at = candidates[0]
    start, _ = word_start(original[:at])
    words = []
    for index, (text, pos) in enumerate(candidates[1:], 1):
        word = text[start:pos].rstrip()
        if word[:1] in QUOTES:
            word = word.strip(word[0])
        folder, slash = word.endswith("/"), word.rstrip("/").rfind("/")
        name = word.rstrip("/")[slash + 1 :] + ("/" if folder else "") if slash > 0 else word
        words.append(f"[{name}]" if index == chosen else f" {name} ")
    first = max(0, min(chosen - 2, len(words) - _AT_ONCE))
    number = f"  ({len(words):,})" if len(words) > _AT_ONCE else ""
    if count > len(words):
        number = f"  (the first {len(words):,} of {count:,}: type more letters)"
    return "".join(words[first : first + _AT_ONCE]).strip() + number
