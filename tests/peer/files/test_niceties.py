"""File systems that lack something: a nicety is noted and left out, a necessity ends the transfer."""

from __future__ import annotations

import ast
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from twisted.logger import LogEvent, globalLogPublisher

import chatnet.peer.files as package
from chatnet.core.errors import LocalError
from chatnet.core.limits import WRITE_BACK_BYTES
from chatnet.core.messages import OfferedFile
from chatnet.peer.files import filesystem as filesystem_module
from chatnet.peer.files.download import SMALL_BYTES
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem, write_back
from chatnet.peer.files.niceties import NECESSITIES, NICETIES, Niceties, Nicety
from tests.peer.files.downloads import land, new_download, offered, tree

BIG = b"0123456789abcdef" * (SMALL_BYTES // 16)


@pytest.fixture
def log() -> Any:
    lines: list[LogEvent] = []
    globalLogPublisher.addObserver(lines.append)
    yield lines
    globalLogPublisher.removeObserver(lines.append)


def failing(code: int) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def only_on_folders(call: Callable[[int], None], code: int) -> Callable[[int], None]:
    def sync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(code, os.strerror(code))
        call(fd)

    return sync


FILES = [
    (OfferedFile(["p", "a"], 5, 1_600_000_000_000), b"hello"),
    (offered("p/b"), b"world"),
    (offered("c", BIG), BIG),
]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["utime", "fsync", "fsync of a folder", "fdatasync", "posix_fallocate", "fstatvfs"])
def test_files_come_to_a_file_system_that_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[LogEvent], call: str, code: int
) -> None:
    """B7: each is noted once, and every file is there and told to be there."""
    name = call.split()[0]
    filesystem = Filesystem(space=failing(code)) if name == "fstatvfs" else Filesystem()
    if name != "fstatvfs":
        lacking = only_on_folders(os.fsync, code) if call.endswith("folder") else failing(code)
        monkeypatch.setattr(os, name, lacking)
    monkeypatch.setattr(filesystem_module, "_syncfs", failing(errno.ENOSYS))
    for number in range(2):
        download = land(tmp_path / str(number), FILES, filesystem)
        assert download.done_files == 3
        assert tree(tmp_path / str(number)) == {"bob/p/a": b"hello", "bob/p/b": b"world", "bob/c": BIG}
    said = [line["call"] for line in log if "niceties" in line["log_namespace"]]
    assert len(said) == len(set(said))
    if name != "fdatasync":  # marks alone need it, and this download had none
        assert any(name in calls for calls in said)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS])
@pytest.mark.parametrize("call", ["fsync", "posix_fallocate"])
def test_a_disk_that_is_full_or_broken_is_no_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    monkeypatch.setattr(os, call, failing(code))
    with pytest.raises(LocalError) as caught:
        land(tmp_path, [(offered("c", BIG), BIG)])
    assert caught.value.code == ("no-space" if code in (errno.ENOSPC, errno.EDQUOT) else "unwritable")


def test_a_part_that_cannot_be_removed_takes_nothing_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "unlink", failing(errno.EPERM))
    assert land(tmp_path, [(offered("a"), b"hello")]).done_files == 1
    assert (tmp_path / "bob" / "a").read_bytes() == b"hello"


def test_a_file_whose_inode_changes_with_its_name_is_known_by_its_content(
    tmp_path: Path,
) -> None:
    def link(old: str, new: str, source: int, folder: int) -> None:
        fd = os.open(old, os.O_RDONLY, dir_fd=source)
        made = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        os.write(made, os.read(fd, 100).replace(b"exchanged", b"Exchanged"))
        os.close(fd)
        os.close(made)

    land(tmp_path, [(offered("a"), b"hello")], Filesystem(link=link))
    assert tree(tmp_path) == {"bob/a": b"hello"}
    with pytest.raises(LocalError) as caught:
        land(tmp_path, [(offered("b", b"exchanged"), b"exchanged")], Filesystem(link=link))
    assert caught.value.code == "unwritable"
    assert not (tmp_path / "bob" / "b").exists()


@pytest.mark.parametrize("mtime_ns", [-(2**63), -1, 0, 2**63 - 1, 2**63, 55_841 * 31_556_952 * 10**9])
def test_a_time_that_this_system_cannot_set_is_left_out(tmp_path: Path, mtime_ns: int) -> None:
    """B5: the copy of a file, and its times, whatever they are."""
    with (tmp_path / "a").open("w") as file:
        Niceties().set_time_ns(file.fileno(), mtime_ns)
    assert (tmp_path / "a").exists()


@pytest.mark.parametrize("ms", [0, 1, 1_600_000_000_000, 4_102_444_800_000, 2**53 - 1, 2**53])
def test_every_offered_time_can_be_received(tmp_path: Path, ms: int) -> None:
    land(tmp_path, [(OfferedFile(["a"], 5, ms), b"hello")])
    set_ms = (tmp_path / "bob" / "a").stat().st_mtime_ns // 1_000_000
    assert (set_ms == ms) is (ms in (1, 1_600_000_000_000))


def test_each_call_to_the_file_system_stands_in_one_of_the_two_tables() -> None:
    known = {call for calls in NICETIES.values() for call in calls} | set(NECESSITIES)
    pure = {"fsencode", "fsdecode", "strerror", "geteuid", "urandom"}
    used = set()
    for path in Path(package.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                used.add(node.attr)
    used = {name for name in used if name.islower() and not name.endswith("_result")} - pure - {"path", "sep", "pardir"}
    assert used - known == set()
    assert known - used == {"syncfs", "renameat2", "sync_file_range"}  # by ctypes
    assert set(NICETIES) == set(Nicety)


# --- what is written goes to the disk as it comes ---


def test_a_growing_file_is_sent_to_the_disk_in_windows(tmp_path: Path) -> None:
    """No more than two windows are ever dirty: whoever commits beside it does not wait behind the whole file."""
    begun = waited = 0
    dirty = []

    def note(fd: int, start: int, end: int, before: int) -> None:
        nonlocal begun, waited
        assert start == begun
        begun, waited = end, start
        dirty.append(os.fstat(fd).st_size and end - before)

    data = BIG * 3
    download = new_download(
        DownloadTarget(os.fsencode(tmp_path), "bob"), [offered("a", data)], Filesystem(write_back=note)
    )
    download.begin(0)
    for at in range(0, len(data), 65_536):
        download.write([data[at : at + 65_536]])
        assert at + 65_536 - waited <= 2 * WRITE_BACK_BYTES + 65_536
    download.end(blake3(data).digest())
    download.close()
    assert begun == len(data)
    assert max(dirty) <= 2 * WRITE_BACK_BYTES


def test_the_real_call_and_its_lack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.write(BIG)
        file.flush()
        write_back(file.fileno(), 0, 65_536, 0)
        write_back(file.fileno(), 65_536, 131_072, 0)
        monkeypatch.setattr("ctypes.CDLL", lambda *args, **kwargs: object())
        write_back(file.fileno(), 131_072, 196_608, 65_536)
    assert (tmp_path / "a").read_bytes() == BIG
