"""C14: races on the file system.

While files land, somebody with the same rights puts links, hard links, folders and pipes in the
place of final names, parts, and folders, between any two calls to the system.  Whatever happens,
nothing outside the download folder changes, no file that was there is replaced, and what has a final
name is whole.  Control: names are given by os.replace.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import Any

from blake3 import blake3

from chatnet.core.errors import LocalError, RemoteError, StoreFailed
from chatnet.core.messages import OfferedFile
from chatnet.peer.files import download, final_names, part_files
from chatnet.peer.files import filesystem as filesystem_module
from chatnet.peer.files.download import Download, Former
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem
from chatnet.peer.files.part_files import PARTIAL
from tests.campaigns.harness import Case, Figures, check, main

NAME = "c14_races"
SIZES = {"ci": 1_000, "gate": 5_000, "nightly": 100_000}
UNIT = "landings"
SHOWN = ("a file that was there was changed", "a file that was there was replaced")

CALLS = frozenset(
    (
        *("open", "link", "unlink", "mkdir", "rmdir", "makedirs", "stat", "fstat", "listdir", "dup"),
        *("write", "writev", "ftruncate", "posix_fallocate", "fsync", "fdatasync"),
    )
)
SMALL, SYNC = 600, 1_000  # in place of the real sizes: both ways of a file with little data
STEM = "ab" * part_files.STEM_BYTES
OFFERED = (("a", 100), ("b", 2_500), ("p/c", 300), ("p/q/d", 1_500), ("p/e", 0))
PRECIOUS = {"bob/a": b"mine", "bob/p/c": b"mine too", "bob/b": b"also mine"}
VICTIM = b"precious" * 500


class Meddling:
    """The module ``os`` as the landing sees it, with somebody at work between its calls."""

    def __init__(self, case: Case, place: Path, odds: float) -> None:
        self._chance, self._odds = case.chance, odds
        self._down, self._outside = place / "down", place / "outside"
        self.attacks = 0
        self._busy = False

    def __getattr__(self, name: str) -> Any:
        honest = getattr(os, name)
        if name not in CALLS:
            return honest

        def call(*args: Any, **kwargs: Any) -> Any:
            self._meddle()
            result = None if name in ("fsync", "fdatasync") else honest(*args, **kwargs)  # no power is lost here
            self._meddle()
            return result

        return call

    def _meddle(self) -> None:
        if self._busy or self._chance.random() >= self._odds:
            return
        self._busy = True
        try:
            with contextlib.suppress(OSError):
                self._attack(self._target())
        finally:
            self._busy = False

    def _target(self) -> Path:
        parts = list((self._down / PARTIAL).glob("*")) if (self._down / PARTIAL).is_dir() else []
        names = [self._down / "bob" / path for path, _ in OFFERED]
        names += [path.with_name(f"{path.stem} (2)") for path in names]
        folders = [self._down / "bob", self._down / "bob" / "p", self._down / "bob" / "p" / "q", self._down / PARTIAL]
        coming = [self._down / PARTIAL / f"{STEM}{index:016x}.part" for index in range(len(OFFERED))]
        return self._chance.choice(self._chance.choice([names, folders, parts or coming, coming]))

    def _attack(self, path: Path) -> None:
        if path.parent.resolve() != path.parent:
            return  # an earlier link leads outside: that would be our own doing
        kind = self._chance.choice(["link", "folder link", "hard link", "folder", "pipe", "gone"])
        self.attacks += 1
        if os.path.lexists(path):
            os.rename(path, path.with_name(f"moved{self.attacks}-{path.name}"))
        if kind == "link":
            path.symlink_to(self._outside / self._chance.choice(["victim", "nothing"]))
        elif kind == "folder link":
            path.symlink_to(self._outside / self._chance.choice(["", "within"]))
        elif kind == "hard link":
            os.link(self._outside / "victim", path)
        elif kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)


class Notes:
    """A journal as a restarted process finds it; the process may end before or after each note."""

    def __init__(self, case: Case) -> None:
        self._chance = case.chance
        self.former: dict[int, Former] = {}

    def synced(self, index: int, part: str, count: int) -> None:
        self._end()
        self.former[index] = Former(synced=count)
        self._end()

    def whole(self, files: Any, placed: Any = ()) -> None:
        self._end()
        for index, path in placed:
            self.former[index] = Former(final=path, done=True)
        for index, _, digest, folder in files:
            self.former[index] = Former(OFFERED[index][1], digest, folder)
        self._end()

    def placed(self, files: Any) -> None:
        self._end()
        for index, path in files:
            self.former[index] = Former(final=path, done=True)
        self._end()

    def reset(self, indices: Any) -> None:
        self._end()
        for index in indices:
            self.former[index] = Former(final=self.former[index].final)
        self._end()

    def _end(self) -> None:
        if self._chance.random() < 0.02:
            raise StoreFailed("store", "the process has ended")


def tree(folder: Path) -> dict[str, tuple[Any, ...]]:
    """Everything below, as it is: kind, mode, time and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        kind = stat.S_IFMT(status.st_mode)
        content = blake3(path.read_bytes()).digest() if kind == stat.S_IFREG else b""
        time_ns = status.st_mtime_ns if kind == stat.S_IFREG else 0
        found[str(path.relative_to(folder))] = (kind, status.st_mode, time_ns, content)
    return found


def land(place: Path, case: Case, filesystem: Filesystem, notes: Notes) -> bool:
    """Receive everything, as far as it goes; whether it was received."""
    files = [OfferedFile(path.split("/"), size, 1_700_000_000_000) for path, size in OFFERED]
    try:
        target = DownloadTarget(os.fsencode(place / "down"), "bob", b"", STEM)
        here = Download(target, files, filesystem, notes.former, notes)
    except (LocalError, StoreFailed, OSError):
        return False
    stop = case.chance.randrange(12)
    try:
        for want in here.wants:
            here.begin(want.file, want.offset)
            data = content(want.file)
            for at in range(want.offset, len(data), 700):
                here.write([data[at : at + 700]])
                if mark := here.next_mark():
                    here.sync(mark)
                if not (stop := stop - 1):
                    here.hold()  # the process ends here, and another one goes on
                    return False
            here.end(blake3(data).digest())
            if here.due:
                here.settle()
        here.finish()
    except StoreFailed:
        return False
    except (LocalError, RemoteError):
        with contextlib.suppress(OSError):
            here.discard()
        return False
    else:
        return True
    finally:
        here.close()


def content(index: int) -> bytes:
    return bytes([65 + index]) * OFFERED[index][1]


def ordeal(case: Case, filesystem: Filesystem, odds: float) -> Figures:
    whole = {content(index) for index in range(len(OFFERED))} | set(PRECIOUS.values()) | {VICTIM}
    received = attacks = 0
    download.sync_all = lambda filesystem, folder, names: None
    download.SMALL_BYTES, download.SYNC_BYTES = SMALL, SYNC  # type: ignore[misc]
    for number in range(case.n):
        place = case.directory / str(number)
        (place / "outside" / "within").mkdir(parents=True)
        (place / "outside" / "victim").write_bytes(VICTIM)
        kept = {}
        for name, data in PRECIOUS.items():
            path = place / "down" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            kept[name] = os.open(path, os.O_RDONLY)  # wherever it is moved
        before, notes = tree(place / "outside"), Notes(case)
        meddling = Meddling(case, place, odds)
        _operate(meddling)
        try:
            received += any(land(place, case, filesystem, notes) for _ in range(3))
        finally:
            _operate(os)
        attacks += meddling.attacks
        check(tree(place / "outside") == before, "something outside was changed", number=number)
        for name, data in PRECIOUS.items():
            status = os.fstat(kept[name])
            check(os.pread(kept[name], 100, 0) == data, "a file that was there was changed", number=number, name=name)
            check(status.st_nlink > 0, "a file that was there was replaced", number=number, name=name)
            os.close(kept[name])
        for path in (place / "down").rglob("*"):
            named = path.is_file() and not path.is_symlink() and not path.name.endswith(".part")
            check(not named or path.read_bytes() in whole, "a half file has a name", number=number, path=str(path))
            if named and path.lstat().st_nlink == 1:
                check(not path.lstat().st_mode & 0o111, "a program has come", number=number, path=str(path))
        _remove(place)
    return {"received": received, "attacks": attacks}


def _operate(by: Any) -> None:
    """The system's calls of all that receives files go through ``by``."""
    for module in (download, part_files, final_names, filesystem_module):
        module.os = by


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            _remove(path)
        else:
            path.unlink()
    folder.rmdir()


def run(case: Case) -> Figures:
    figures = ordeal(case, Filesystem(), 0.01)
    check(figures["attacks"] > case.n, "hardly anybody was at work", **figures)
    check(figures["received"] > case.n // 20, "hardly anything was received", **figures)
    return figures


def control(case: Case) -> Figures:
    def replace(old: str, new: str, source: int, folder: int) -> None:
        os.replace(old, new, src_dir_fd=source, dst_dir_fd=folder)

    return ordeal(case, Filesystem(link=replace), 0.0)


if __name__ == "__main__":
    main(sys.modules[__name__])
