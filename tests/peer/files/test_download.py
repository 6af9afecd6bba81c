"""Files that come in: private, bounded, whole or not there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blake3 import blake3

from chatnet.core.errors import LocalError, RemoteError
from chatnet.peer.files.download import GROUP_FILES
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem
from chatnet.peer.files.part_files import PARTIAL
from tests.peer.files.downloads import land, new_download, offered, open_descriptors, tree


def test_a_file_gets_its_final_name(tmp_path: Path) -> None:
    download = land(tmp_path / "down", [(offered("a.txt"), b"hello")])
    assert tree(tmp_path / "down") == {"bob/a.txt": b"hello"}
    assert download.saved_to == os.fsencode(tmp_path / "down" / "bob" / "a.txt")
    assert download.done_files == 1


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077, 0o777], ids=oct)
def test_what_is_received_follows_the_umask_and_what_is_ours_is_private(tmp_path: Path, umask: int) -> None:
    (tmp_path / "down").mkdir()
    old = os.umask(0o077)  # as twistd leaves it in the background
    try:
        files = [(offered("d/e/run.sh"), b"hello"), (offered("large", b"x" * 2_000_000), b"x" * 2_000_000)]
        land(tmp_path / "down", files, Filesystem(umask=umask))
    finally:
        os.umask(old)
    seen = set()
    for path in (tmp_path / "down").rglob("*"):
        private, usual = (0o700, 0o777) if path.is_dir() else (0o600, 0o666)
        mode = private if path.name == PARTIAL else private | (usual & ~umask)
        assert stat.S_IMODE(path.stat().st_mode) == mode, path
        seen.add(path.name)
    assert seen == {PARTIAL, "bob", "d", "e", "run.sh", "large"}


def test_the_usual_umask_is_that_of_the_process(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        land(tmp_path / "down", [(offered("a"), b"hello")])
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "down" / "bob" / "a").stat().st_mode) == 0o640


def test_a_folder_passes_its_group_on(tmp_path: Path) -> None:
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob").chmod(0o2775)
    land(tmp_path, [(offered("d/a"), b"hello")], Filesystem(umask=0o002))
    assert stat.S_IMODE((tmp_path / "bob" / "d").stat().st_mode) == 0o2775


def test_a_folder_that_was_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "bob").mkdir(0o711)
    land(tmp_path, [(offered("a"), b"hello")], Filesystem(umask=0))
    assert stat.S_IMODE((tmp_path / "bob").stat().st_mode) == 0o711


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    before = open_descriptors()
    land(tmp_path, [(offered(f"d/{n}/f"), b"hello") for n in range(10)])
    with pytest.raises(LocalError):
        land(tmp_path, [(offered("g", b""), b"x" * 10)], Filesystem(reserve_bytes=2**62))
    assert open_descriptors() == before


@pytest.mark.parametrize("where", ["bob", PARTIAL])
@pytest.mark.parametrize("what", ["link", "file"])
def test_a_link_or_a_file_in_place_of_our_own_folders_is_refused(tmp_path: Path, where: str, what: str) -> None:
    outside, down = tmp_path / "outside", tmp_path / "down"
    outside.mkdir()
    down.mkdir()
    if what == "link":
        (down / where).symlink_to(outside)
    else:
        (down / where).write_bytes(b"")
    before = open_descriptors()
    with pytest.raises(LocalError) as caught:
        land(down, [(offered("a"), b"hello")])
    assert caught.value.code == "unwritable"
    assert tree(outside) == {}
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [
        (errno.ENOSPC, "no-space", "the disk is full"),
        (errno.EDQUOT, "no-space", "the quota of the disk is used up"),
        (errno.EIO, "unwritable", "input/output error"),
    ],
)
def test_what_the_disk_refuses_is_said_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str, reason: str
) -> None:
    def refused(*args: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(LocalError) as caught:
        land(tmp_path / "down", [(offered("a"), b"hello")])
    assert (caught.value.code, caught.value.text) == (code, f"cannot write there ({reason})")


def test_a_wrong_digest_leaves_nothing(tmp_path: Path) -> None:
    download = new_download(DownloadTarget(os.fsencode(tmp_path), "bob"), [offered("a")])
    download.begin(0)
    download.write([b"hellO"])
    with pytest.raises(LocalError) as caught:
        download.end(blake3(b"hello").digest())
    assert caught.value.code == "digest"
    download.discard()
    download.close()
    assert tree(tmp_path) == {}


def test_more_bytes_than_offered_are_not_written(tmp_path: Path) -> None:
    download = new_download(DownloadTarget(os.fsencode(tmp_path), "bob"), [offered("a")])
    download.begin(0)
    with pytest.raises(RemoteError):
        download.write([b"hell", b"o!"])
    download.discard()
    download.close()
    assert tree(tmp_path) == {}


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    def space(fd: int) -> Any:
        return SimpleNamespace(f_bavail=10, f_frsize=4096, f_files=0)

    with pytest.raises(LocalError) as caught:
        land(tmp_path, [(offered("a"), b"hello")], Filesystem(space=space, reserve_bytes=40_960 - 4_100))
    assert caught.value.code == "no-space"
    assert caught.value.text == f"needs 4.0 KiB beside the 36.0 KiB that stay free; 40.0 KiB free in {tmp_path}/bob"
    assert tree(tmp_path) == {}
    land(tmp_path, [(offered("a"), b"hello")], Filesystem(space=space, reserve_bytes=40_960 - 4_101))


def test_small_files_come_in_groups(tmp_path: Path) -> None:
    count = 2 * GROUP_FILES + 3
    download = new_download(DownloadTarget(os.fsencode(tmp_path), "bob"), [offered(f"d/{n}") for n in range(count)])
    seen = []
    for index in range(count):
        download.begin(index)
        download.write([b"hello"])
        download.end(blake3(b"hello").digest())
        if download.due:
            download.settle()
        seen.append(download.done_files)
    assert sorted(set(seen)) == [0, GROUP_FILES, 2 * GROUP_FILES]
    download.finish()
    download.close()
    assert download.done_files == count
    assert len(tree(tmp_path)) == count


def test_a_folder_of_the_users_choice(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    assert land(tmp_path / "down", [(offered("a"), b"hello")], directory=os.fsencode(there)).saved_to == os.fsencode(
        there / "a"
    )
    with pytest.raises(LocalError) as caught:
        land(tmp_path / "down", [(offered("a"), b"hello")], directory=os.fsencode(tmp_path / "not there"))
    assert caught.value.code == "no-such-folder"


@pytest.mark.parametrize("what", ["read-only", "without parent", "a file", "parts read-only"])
def test_a_chosen_folder_does_not_need_the_usual_one(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B8: its parts lie in the chosen folder, when the usual one cannot hold them."""
    there, down = tmp_path / "there", tmp_path / "down"
    there.mkdir()
    if what == "read-only":
        down.mkdir(0o500)
    elif what == "parts read-only":
        (down / PARTIAL).mkdir(parents=True)
        (down / PARTIAL).chmod(0o500)
    elif what == "a file":
        down.write_bytes(b"mine")
    else:
        down = tmp_path / "not" / "there"
    honest_mkdir, honest_access = os.mkdir, os.access

    def mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:  # root may write everywhere
        if dir_fd is not None and not os.fstat(dir_fd).st_mode & 0o200:
            raise PermissionError(errno.EACCES, "read-only")
        honest_mkdir(path, mode, dir_fd=dir_fd)

    def access(path: Any, mode: int, *, dir_fd: int | None = None) -> bool:
        try:
            status = os.stat(path, dir_fd=dir_fd)
        except OSError:
            return False
        return bool(status.st_mode & 0o200) and honest_access(path, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(os, "access", access)
    before = open_descriptors()
    download = land(down, [(offered("a"), b"hello"), (offered("p/b"), b"hello")], directory=os.fsencode(there))
    assert download.done_files == 2
    assert tree(there) == {"a": b"hello", "p/b": b"hello"}
    assert open_descriptors() == before
    assert not (down / "bob").exists()
