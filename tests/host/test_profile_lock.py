"""The lock of a profile."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from chatnet.core.errors import LocalError
from chatnet.host.profile_lock import ProfileLock

HOLDER = """
import os, sys
from pathlib import Path
from chatnet.host.profile_lock import ProfileLock
path = Path(sys.argv[1])
lock = ProfileLock(path, path.parent / "data", "carol")
lock.acquire()
if sys.argv[2] == "fork" and os.fork():
    os._exit(0)
print("held", flush=True)
sys.stdin.readline()
"""


def lock_in(directory: Path, state: str = "lock") -> ProfileLock:
    """The lock of a profile with the data directory ``data``."""
    return ProfileLock(directory / state, directory / "data", "carol")


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    return data


def holder(path: Path, how: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path), how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.communicate("\n", timeout=30)


def test_the_second_is_told_who_was_first(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock", "stay")
    try:
        with pytest.raises(LocalError) as caught:
            lock_in(tmp_path).acquire()
    finally:
        end(process)
    assert caught.value.code == "twin"
    assert caught.value.text == (f"carol is already running here (pid {process.pid}).")


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock", "stay")
    process.kill()
    process.communicate(timeout=30)
    lock = lock_in(tmp_path)
    lock.acquire()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_the_lock_outlives_the_parent_of_a_fork(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock", "fork")
    try:
        process.wait(timeout=30)  # the parent ended, the child still holds it
        with pytest.raises(LocalError, match="already running"):
            lock_in(tmp_path).acquire()
    finally:
        end(process)


def test_a_program_that_we_start_does_not_keep_it(tmp_path: Path) -> None:
    first, second = lock_in(tmp_path), lock_in(tmp_path)
    first.acquire()
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False, text=True)
    try:
        first.release()
        second.acquire()
        second.release()
    finally:
        end(child)


def test_release_and_again(tmp_path: Path) -> None:
    lock = lock_in(tmp_path)
    lock.release()
    lock.acquire()
    lock.acquire()
    assert lock.held
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
    lock.release()
    assert not lock.held
    assert (tmp_path / "lock").read_text() == ""
    lock.acquire()
    lock.release()


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalError, match="cannot open"):
        lock_in(tmp_path).acquire()
    assert not (tmp_path / "elsewhere").exists()


def test_a_lock_file_that_was_removed_lets_no_second_process_in(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock", "stay")
    try:
        (tmp_path / "lock").unlink()
        with pytest.raises(LocalError, match=r"^carol is already running here\.$") as caught:
            lock_in(tmp_path).acquire()
        assert not (tmp_path / "lock").exists()
    finally:
        end(process)
    assert caught.value.code == "twin"
    lock = lock_in(tmp_path)
    lock.acquire()
    lock.release()


def test_another_state_directory_lets_no_second_process_in(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("4711\n")  # of a process that was killed
    process = holder(tmp_path / "lock", "stay")
    try:
        with pytest.raises(LocalError, match=r"^carol is already running here\.$"):
            lock_in(tmp_path, "other").acquire()
    finally:
        end(process)


def test_another_data_directory_with_the_same_lock_file_neither(tmp_path: Path, data: Path) -> None:
    process = holder(tmp_path / "lock", "stay")
    try:
        data.rename(tmp_path / "moved")
        data.mkdir()
        with pytest.raises(LocalError, match=rf"running here \(pid {process.pid}\)\."):
            lock_in(tmp_path).acquire()
    finally:
        end(process)
    (tmp_path / "lock").unlink()
    lock_in(tmp_path).acquire()  # a refused one left nothing locked


@pytest.mark.parametrize("number", [errno.EBADF, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_that_cannot_lock_a_directory_has_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor, operation)

    real = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", flock)
    first = lock_in(tmp_path)
    first.acquire()
    with pytest.raises(LocalError, match="already running"):
        lock_in(tmp_path).acquire()
    first.release()


def test_a_full_disk_does_not_refuse_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    lock = lock_in(tmp_path)
    lock.acquire()
    lock.release()


def test_a_pipe_in_the_place_of_the_lock_is_refused_in_words(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(LocalError, match=r"lock is not a file\. Move it away\."):
        lock_in(tmp_path).acquire()
