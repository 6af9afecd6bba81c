"""Downloads for the tests of this folder, and what is on the disk then."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from blake3 import blake3

from chatnet.core.errors import StoreFailed
from chatnet.core.messages import OfferedFile
from chatnet.peer.files.download import Download, Former
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem


def offered(path: str | list[str], data: bytes = b"hello") -> OfferedFile:
    return OfferedFile(path.split("/") if isinstance(path, str) else path, len(data), 0)


class NoJournal:
    """For a download that no later process takes up."""

    def synced(self, index: int, part: str, count: int) -> None: ...

    def whole(
        self, files: Sequence[tuple[int, str, bytes, bytes]], placed: Sequence[tuple[int, bytes]] = ()
    ) -> None: ...

    def placed(self, files: Sequence[tuple[int, bytes]]) -> None: ...

    def reset(self, indices: Sequence[int]) -> None: ...


def new_download(
    place: DownloadTarget,
    files: Sequence[OfferedFile],
    filesystem: Filesystem | None = None,
    empty_folders: Sequence[tuple[str, ...]] = (),
) -> Download:
    """Of files of which nothing is there yet."""
    return Download(place, files, filesystem or Filesystem(), {}, NoJournal(), empty_folders)


def land(
    downloads: Path,
    files: Sequence[tuple[OfferedFile, bytes]],
    filesystem: Filesystem | None = None,
    directory: bytes = b"",
    empty_folders: Sequence[tuple[str, ...]] = (),
) -> Download:
    place = DownloadTarget(os.fsencode(downloads), "bob", directory)
    download = new_download(place, [file for file, _ in files], filesystem, empty_folders)
    try:
        for index, (_, data) in enumerate(files):
            download.begin(index)
            if data:
                download.write([data])
            download.end(blake3(data).digest())
            if download.due:
                download.settle()
        download.finish()
    except BaseException:
        download.discard()
        raise
    finally:
        download.close()
    return download


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below, by path; a link by where it points to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = b"-> " + os.fsencode(os.readlink(path))
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def no_links(old: str, new: str, source: int, folder: int) -> None:
    raise OSError(errno.EPERM, "no hard links here")


class Ending:
    """A journal whose process ends at one of its notes; ``former`` is what the next one reads."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.former: dict[int, Former] = {}

    def synced(self, index: int, part: str, count: int) -> None:
        self.former[index] = Former(synced=count)

    def whole(self, files: Sequence[tuple[int, str, bytes, bytes]], placed: Sequence[tuple[int, bytes]] = ()) -> None:
        for index, path in placed:
            self.former[index] = Former(final=path, done=True)
        for index, _, digest, folder in files:
            self.former[index] = Former(5, digest, folder)
        self._end("after whole")

    def placed(self, files: Sequence[tuple[int, bytes]]) -> None:
        self._end("before placed")
        for index, path in files:
            self.former[index] = Former(final=path, done=True)
        self._end("after placed")

    def reset(self, indices: Sequence[int]) -> None:
        for index in indices:
            self.former[index] = Former(final=self.former[index].final)

    def _end(self, here: str) -> None:
        if self.at == here:
            raise StoreFailed("store", "the process has ended")
