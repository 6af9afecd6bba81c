"""What the console asks the file system: in threads, since a folder on a slow disk may take minutes to answer."""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from chatnet.console.commands import split_words
from chatnet.core.errors import LocalError
from chatnet.core.limits import COMPLETIONS, DROPPED_PATHS, FOLDER_NAMES_LOOKED_AT, FOLDER_THREADS

P = ParamSpec("P")
T = TypeVar("T")


class Disk(Protocol):
    """Does work that waits for the file system."""

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Return a Deferred of what ``work`` returns or raises; LocalError("busy") when too much waits already."""


class DiskThreads:
    """Runs each piece of work in a thread of its own, at most FOLDER_THREADS at a time.

    A thread that waits for a dead network disk cannot be ended: it is a daemon, which no exit waits for.
    After ``close`` no result is told any more.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._running = 0
        self._is_closed = False

    def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        if self._running >= FOLDER_THREADS:
            return fail(LocalError("busy", "The disk does not answer: what was asked before still waits for it."))
        self._running += 1
        done: Deferred[T] = Deferred()

        def in_thread() -> None:
            try:
                result: T | Failure = work(*args, **kwargs)
            except BaseException:
                result = Failure()
            self._reactor.callFromThread(self._ended, done, result)

        threading.Thread(target=in_thread, name="chatnet-console-disk", daemon=True).start()
        return done

    def close(self) -> None:
        """Note that nobody waits for the disk any more."""
        self._is_closed = True

    def _ended(self, done: Deferred[Any], result: Any) -> None:
        self._running -= 1
        if not self._is_closed:
            done.callback(result)


# --- the names in a folder ------------------------------------------------------------------------


def expanded(path: str) -> str:
    """Return a path with ``~`` expanded. A path that begins with a slash and was typed behind ``~/`` is absolute."""
    return path[2:] if path.startswith("~//") else os.path.expanduser(path)


@dataclass(frozen=True)
class Names:
    """The first of the names that fit, in their order; folders end with a slash.

    ``common`` is what all of ``count`` names begin with.  If not ``is_whole``, the folder has more names than were
    looked at, and nothing can be said about all of them.
    """

    first: tuple[str, ...] = ()
    count: int = 0
    common: str = ""
    is_whole: bool = True


def first_of(names: Iterator[str] | list[str]) -> Names:
    """Return the first COMPLETIONS of the names, and what all of them begin with, in one pass."""
    least, most, count = "", "", 0

    def counted() -> Iterator[str]:
        nonlocal least, most, count
        for name in names:
            least = name if not count else min(least, name)
            most = max(most, name)
            count += 1
            yield name

    first = tuple(heapq.nsmallest(COMPLETIONS, counted()))
    return Names(first, count, common_start(least, most))


def common_start(one: str, other: str) -> str:
    """Return the common beginning of two names. Of sorted names, the first and the last decide for all."""
    length = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def names_in(folder: str, begin: str, only_folders: bool) -> Names:
    """Return the names in ``folder`` that begin with ``begin``; hidden ones only if ``begin`` has a dot.

    Waits for the disk.  A folder that cannot be read has no names.
    """
    is_whole = True

    def fitting(entries: Iterator[os.DirEntry[str]]) -> Iterator[str]:
        nonlocal is_whole
        for number, entry in enumerate(entries):
            if number >= FOLDER_NAMES_LOOKED_AT:
                is_whole = False
                return
            name = entry.name
            if not name.startswith(begin) or (name.startswith(".") and not begin) or not name.isprintable():
                continue
            try:
                is_folder = entry.is_dir()
            except OSError:  # of a link that leads in a circle, or to where nothing can be seen
                is_folder = False
            if is_folder or not only_folders:
                yield f"{name}/" if is_folder else name

    try:
        with os.scandir(expanded(folder) or ".") as entries:
            found = first_of(fitting(entries))
    except OSError:
        return Names()
    return found if is_whole else Names(is_whole=False)


# --- files that are dropped on the window -----------------------------------------------------------


def dropped_paths(text: str) -> tuple[bytes, ...]:
    """Return the absolute paths that a terminal pastes for files that are dropped on it; empty for any other text.

    Terminals write them in quotes, with backslashes, as they are, or as ``file://`` addresses.
    """
    text = text.strip()
    if not text or "\n" in text:
        return ()
    paths = (_path_of(text),) if text.startswith("/") and "\\" not in text else tuple(map(_path_of, split_words(text)))
    return tuple(map(os.fsencode, paths)) if 0 < len(paths) <= DROPPED_PATHS and all(paths) else ()


def _path_of(word: str) -> str:
    if word.startswith("file://"):
        try:
            address = urlsplit(word)
        except ValueError:
            return ""
        word = unquote(address.path) if address.hostname in (None, "localhost") else ""
    return word if word.startswith("/") and word.strip("/") and "\0" not in word else ""


def size_of_all(paths: tuple[bytes, ...]) -> int | None:
    """Return the bytes of the files, folders counting nothing; None if one is not there, or is neither.

    Waits for the disk.
    """
    total = 0
    for path in paths:
        if os.path.isfile(path):
            total += os.path.getsize(path)
        elif not os.path.isdir(path):
            return None
    return total
