"""When names are certain, and when their parts go: what a crash of the machine may take at each moment."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest
from blake3 import blake3

from chatnet.peer.files import filesystem as filesystem_module
from chatnet.peer.files.download import GROUP_FILES, Download
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem
from chatnet.peer.files.part_files import PARTIAL
from tests.peer.files.downloads import NoJournal, offered


class Watch(NoJournal):
    """What was synced, and what the journal heard, in their order."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, everything: bool) -> None:
        self.seen: list[str] = []
        self._root = root
        honest = os.fsync

        def fsync(fd: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{fd}"))
            kind = "folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file"
            self.seen.append(f"{kind} {path.relative_to(root) if kind == 'folder' else ''}".strip())
            honest(fd)

        def syncfs(folder: int) -> None:
            if not everything:
                raise OSError(38, "no such call")
            self.seen.append("everything")

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(filesystem_module, "_syncfs", syncfs)

    def whole(self, files: Sequence[tuple[int, str, bytes, bytes]], placed: Sequence[tuple[int, bytes]] = ()) -> None:
        self.seen.append(f"whole {len(files)}, placed {len(placed)}, parts {self._parts()}")

    def placed(self, files: Sequence[tuple[int, bytes]]) -> None:
        self.seen.append(f"placed {len(files)}, parts {self._parts()}")

    def _parts(self) -> int:
        return len(list((self._root / PARTIAL).iterdir()))


def received(root: Path, watch: Watch, count: int) -> None:
    files = [offered(f"p/q/{number}") for number in range(count)]
    download = Download(DownloadTarget(os.fsencode(root), "bob"), files, Filesystem(), {}, watch)
    for number in range(count):
        download.begin(number)
        download.write([b"hello"])
        download.end(blake3(b"hello").digest())
        if download.due:
            download.settle()
    download.finish()
    download.close()


def test_one_sync_of_everything_makes_a_group_and_the_names_before_it_certain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(tmp_path, monkeypatch, everything=True)
    received(tmp_path, watch, 2 * GROUP_FILES)
    folders = watch.seen[:0]
    assert watch.seen[0] == "everything"
    first = watch.seen.index(f"whole {GROUP_FILES}, placed 0, parts {GROUP_FILES}")
    folders = sorted(watch.seen[1:first])  # made for the first names
    assert folders == ["folder bob", "folder bob/p"]
    second = watch.seen[first + 1 :]
    assert second[:2] == ["everything", f"whole {GROUP_FILES}, placed {GROUP_FILES}, parts {2 * GROUP_FILES}"]
    assert second[2:] == ["folder bob/p/q", f"placed {GROUP_FILES}, parts {GROUP_FILES}"]
    assert list((tmp_path / PARTIAL).iterdir()) == []


def test_without_such_a_sync_each_folder_is_synced_before_its_names_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(tmp_path, monkeypatch, everything=False)
    received(tmp_path, watch, 2 * GROUP_FILES)
    assert watch.seen[:GROUP_FILES] == ["file"] * GROUP_FILES
    rest = [line for line in watch.seen if line != "file"]
    assert sorted(rest[:2]) == ["folder bob", "folder bob/p"]
    assert rest[2:] == [
        f"whole {GROUP_FILES}, placed 0, parts {GROUP_FILES}",
        "folder bob/p/q",
        f"whole {GROUP_FILES}, placed {GROUP_FILES}, parts {2 * GROUP_FILES}",
        "folder bob/p/q",
        f"placed {GROUP_FILES}, parts {GROUP_FILES}",
    ]
