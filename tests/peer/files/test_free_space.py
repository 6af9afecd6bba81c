"""The room on a disk: bytes and inodes, for all transfers together."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blake3 import blake3

from chatnet.core.errors import NoSpace
from chatnet.core.limits import FREE_INODES, SPACE_LOOK_BYTES
from chatnet.core.messages import OfferedFile
from chatnet.peer.files.download import SMALL_BYTES, Download
from chatnet.peer.files.filesystem import FOLDER, DownloadTarget, Filesystem
from chatnet.peer.files.free_space import Room, free_room, has_space
from tests.peer.files.downloads import land, new_download, offered

BLOCK = 4_096
DATA = b"x" * 500_000


class Disk:
    """A disk of this much room; what is written below ``folder`` is taken from it."""

    def __init__(self, folder: Path, size: int, inodes: int = 0) -> None:
        self.folder, self.size, self.inodes = folder, size, inodes
        self.others = 0
        self.looks = 0
        self.least = size

    def space(self, fd: int) -> Any:
        self.looks += 1
        found = [path.lstat() for path in self.folder.rglob("*")]
        free = self.size - self.others - sum(status.st_size for status in found)
        self.least = min(self.least, free)
        inodes = self.inodes - len({status.st_ino for status in found})
        return SimpleNamespace(f_bavail=free, f_frsize=1, f_files=self.inodes, f_favail=inodes)


def begun(disk: Disk, filesystem: Filesystem, person: str, files: list[OfferedFile]) -> Download:
    return new_download(DownloadTarget(os.fsencode(disk.folder), person), files, filesystem)


def take(download: Download, data: bytes, indices: range) -> None:
    for index in indices:
        download.begin(index)
        download.write([data])
        download.end(blake3(data).digest())


def take_the_rest(download: Download, data: bytes, indices: range) -> None:
    take(download, data, indices)
    download.finish()


def test_a_block_is_counted_for_each_file_and_folder(tmp_path: Path) -> None:
    """F3: "1,500 files, 0 B", each below 31 folders of its own, took 184 MiB."""
    disk = Disk(tmp_path, 100 * BLOCK)
    filesystem = Filesystem(space=disk.space)
    files = [offered([str(n), *"abcdefgh", "f"], b"") for n in range(10)]
    with pytest.raises(NoSpace) as caught:
        begun(disk, filesystem, "bob", files)
    assert (caught.value.code, caught.value.needed) == ("no-space", 100 * BLOCK)
    begun(disk, filesystem, "bob", files[:8]).close()


def test_inodes_are_looked_at_before_and_while_it_runs(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 10**12, inodes=FREE_INODES + 100)
    filesystem = Filesystem(space=disk.space)
    small = [(offered(f"d/{n}"), b"hello") for n in range(200)]
    with pytest.raises(NoSpace) as caught:
        land(tmp_path, small, filesystem)
    assert caught.value.code == "no-inodes"
    assert caught.value.inodes == 201
    assert caught.value.text.startswith("needs room for 201 files and folders; the disk has room for ")
    disk.inodes += 200
    download = begun(disk, filesystem, "bob", [file for file, _ in small])
    take(download, b"hello", range(100))
    disk.inodes -= 150  # somebody else makes files
    with pytest.raises(NoSpace) as caught:
        take_the_rest(download, b"hello", range(100, 200))
    assert caught.value.code == "no-inodes"
    download.hold()
    download.close()


def test_a_disk_that_makes_inodes_as_they_are_needed_has_enough(tmp_path: Path) -> None:
    land(tmp_path, [(offered("a"), b"hello")], Filesystem(space=Disk(tmp_path, 10**9, inodes=0).space))


def test_transfers_together_never_go_below_the_reserve(tmp_path: Path) -> None:
    """F12: each of four looked for itself, and before a group of 64 files only."""
    disk = Disk(tmp_path, 100_000_000)
    filesystem = Filesystem(space=disk.space, reserve_bytes=10_000_000)
    files = [offered(f"d/{n}", DATA) for n in range(60)]
    running = [begun(disk, filesystem, f"p{n}", files) for n in range(2)]
    with pytest.raises(NoSpace) as caught:  # two of 30 MB run: the third has no room beside them
        begun(disk, filesystem, "p2", files)
    assert " beside the 9.5 MiB that stay free and 57.7 MiB of other transfers; " in caught.value.text
    fd = os.open(tmp_path, FOLDER)
    assert not has_space(filesystem, fd, caught.value)
    for download in running:
        take(download, DATA, range(30))
    with pytest.raises(NoSpace):  # what they have written is on the disk, what is to come is promised
        begun(disk, filesystem, "p2", files)
    running.pop().close()
    assert has_space(filesystem, fd, None)
    running.pop().close()
    os.close(fd)
    assert filesystem.account.promised(os.stat(tmp_path).st_dev) == Room(0, 0)


def test_the_disk_is_looked_at_before_every_few_mib_of_small_files(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 100_000_000)
    filesystem = Filesystem(space=disk.space, reserve_bytes=10_000_000)
    download = begun(disk, filesystem, "bob", [offered(f"d/{n}", DATA) for n in range(60)])
    looks = disk.looks
    take(download, DATA, range(20))
    assert disk.looks - looks == 20 * len(DATA) // SPACE_LOOK_BYTES
    disk.others = 75_000_000  # somebody else fills it: 15 MB are left above the reserve, 20 MB are to come
    with pytest.raises(NoSpace):
        take(download, DATA, range(20, 60))
    assert disk.least > filesystem.reserve_bytes - SPACE_LOOK_BYTES
    download.hold()
    download.close()


def test_what_is_skipped_is_promised_no_more(tmp_path: Path) -> None:
    disk = Disk(tmp_path, 100_000_000)
    filesystem = Filesystem(space=disk.space)
    large = OfferedFile(["d", "large"], 60_000_000, 0)
    download = begun(disk, filesystem, "bob", [large, offered("d/a")])
    download.skip(0)
    begun(disk, filesystem, "eve", [large]).close()
    take(download, b"hello", range(1, 2))
    download.finish()
    download.close()


def test_the_space_of_a_large_file_is_taken_once(tmp_path: Path) -> None:
    """Allocated at its beginning, it is on the disk and not promised any more."""
    disk = Disk(tmp_path, 10 * SMALL_BYTES)
    filesystem = Filesystem(space=disk.space)
    data = b"x" * (6 * SMALL_BYTES)
    download = begun(disk, filesystem, "bob", [offered("a", data)])
    download.begin(0)
    assert filesystem.account.promised(os.stat(tmp_path).st_dev).bytes == BLOCK
    begun(disk, filesystem, "eve", [offered("b", data[: 3 * SMALL_BYTES])]).close()
    download.write([data])
    download.end(blake3(data).digest())
    download.finish()
    download.close()


def test_a_file_system_that_knows_no_sizes_has_enough(tmp_path: Path) -> None:
    def space(fd: int) -> Any:
        raise OSError(38, "no such call")

    assert free_room(Filesystem(space=space), 0).bytes > 2**60
