"""Disks without hard links, or without a rename that replaces nothing."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from blake3 import blake3

from chatnet.core.messages import OfferedFile
from chatnet.peer.files import final_names as naming
from chatnet.peer.files.download import Download
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem, write_chunks
from tests.peer.files.downloads import Ending, land, no_links, offered, tree


def test_without_hard_links_nothing_is_replaced_either(tmp_path: Path) -> None:
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "a").write_bytes(b"mine")
    land(tmp_path, [(offered("a"), b"hello")], Filesystem(link=no_links))
    assert tree(tmp_path) == {"bob/a": b"mine", "bob/a (2)": b"hello"}


def test_without_hard_links_and_renaming_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *args, **kwargs: object())  # a system library without either call
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "a").write_bytes(b"mine")
    land(tmp_path, [(offered("a"), b"hello"), (offered("c"), b"world")], Filesystem(link=no_links))
    assert tree(tmp_path) == {"bob/a": b"mine", "bob/a (2)": b"hello", "bob/c": b"world"}


@pytest.mark.parametrize("most", [1, 7, 100_000])
def test_chunks_are_written_one_behind_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Also by a system that takes less than it is given, and more of them than one call takes."""
    honest = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, chunks: honest(fd, [b"".join(chunks)[:most]]))
    chunks = [b"%d," % number for number in range(3_000)]
    fd = os.open(tmp_path / "a", os.O_WRONLY | os.O_CREAT)
    write_chunks(fd, chunks)
    os.close(fd)
    assert (tmp_path / "a").read_bytes() == b"".join(chunks)


def failing(code: int) -> Callable[[str, str, int, int], None]:
    def fail(old: str, new: str, source: int, folder: int) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EXDEV])
def test_without_links_and_without_such_a_rename(tmp_path: Path, code: int) -> None:
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "a").write_bytes(b"there before")
    filesystem = Filesystem(link=failing(errno.EXDEV), rename=failing(code), umask=0o027)
    land(tmp_path, [(OfferedFile(["a"], 5, 1_600_000_000_000), b"hello"), (offered("p/b"), b"world")], filesystem)
    assert tree(tmp_path) == {"bob/a": b"there before", "bob/a (2)": b"hello", "bob/p/b": b"world"}
    assert (tmp_path / "bob" / "a (2)").stat().st_mtime == 1_600_000_000
    assert stat.S_IMODE((tmp_path / "bob" / "a (2)").stat().st_mode) == 0o640


class Killed(BaseException):
    """Stands for the end of the process: nobody clears up."""


@pytest.mark.parametrize("copied", [b"", b"hel", b"hello"])
def test_a_copy_that_is_killed_leaves_no_half_file_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: bytes
) -> None:
    filesystem = Filesystem(link=failing(errno.EXDEV), rename=failing(errno.EXDEV))
    journal, files = Ending(""), [offered("a")]
    place = DownloadTarget(os.fsencode(tmp_path), "bob", b"", "ab" * 8)
    download = Download(place, files, filesystem, {}, journal)
    download.begin(0)
    download.write([b"hello"])
    download.end(blake3(b"hello").digest())

    def copy_cut_short(filesystem: Filesystem, old: str, new: str, source: int, folder: int) -> None:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        os.write(fd, copied)
        os.close(fd)
        raise Killed

    monkeypatch.setattr(naming, "copy", copy_cut_short)
    with pytest.raises(Killed):
        download.finish()
    download.close()
    assert not (tmp_path / "bob" / "a").exists()
    monkeypatch.undo()
    download = Download(place, files, filesystem, journal.former, journal)
    assert download.wants == []
    download.close()
    assert tree(tmp_path) == {"bob/a": b"hello"}
    assert [path.name for path in (tmp_path / "bob").iterdir()] == ["a"]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_received_name_is_the_same_bytes_in_every_locale(tmp_path: Path, locale: str) -> None:
    program = """
import sys
from pathlib import Path
from chatnet.peer.files.filesystem import Filesystem
from tests.peer.files.downloads import land, no_links, offered
down = Path(sys.argv[1])
for filesystem in (Filesystem(), Filesystem(link=no_links)):
    land(down, [(offered("caf\\xe9/\\u4e2d.txt"), b"hello")], filesystem, empty_folders=[("caf\\xe9", "\\xe9")])
"""
    environ = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(tmp_path) == {"bob/caf\xe9/\u4e2d.txt": b"hello", "bob/caf\xe9 (2)/\u4e2d.txt": b"hello"}
    assert (tmp_path / "bob" / "caf\xe9" / "\xe9").is_dir()
