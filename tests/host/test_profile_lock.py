"""The lock of a profile."""

from __future__ import annotations

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
lock = ProfileLock(Path(sys.argv[1]), "carol")
lock.acquire()
if sys.argv[2] == "fork" and os.fork():
    os._exit(0)
print("held", flush=True)
sys.stdin.readline()
"""


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
            ProfileLock(tmp_path / "lock", "carol").acquire()
    finally:
        end(process)
    assert caught.value.code == "twin"
    assert caught.value.text == (
        f"carol is already running here (pid {process.pid}). A second peer needs another --name."
    )


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock", "stay")
    process.kill()
    process.communicate(timeout=30)
    lock = ProfileLock(tmp_path / "lock", "carol")
    lock.acquire()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_the_lock_outlives_the_parent_of_a_fork(tmp_path: Path) -> None:
    process = holder(tmp_path / "lock", "fork")
    try:
        process.wait(timeout=30)  # the parent ended, the child still holds it
        with pytest.raises(LocalError, match="already running"):
            ProfileLock(tmp_path / "lock", "carol").acquire()
    finally:
        end(process)


def test_a_program_that_we_start_does_not_keep_it(tmp_path: Path) -> None:
    first, second = ProfileLock(tmp_path / "lock", "carol"), ProfileLock(tmp_path / "lock", "carol")
    first.acquire()
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False, text=True)
    try:
        first.release()
        second.acquire()
        second.release()
    finally:
        end(child)


def test_release_and_again(tmp_path: Path) -> None:
    lock = ProfileLock(tmp_path / "lock", "carol")
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


def test_the_registry_has_its_own_remedy(tmp_path: Path) -> None:
    first = ProfileLock(tmp_path / "lock", "registry")
    first.acquire()
    with pytest.raises(LocalError, match=rf"registry is already running here \(pid {os.getpid()}\)\. Use --state\."):
        ProfileLock(tmp_path / "lock", "registry", "Use --state.").acquire()
    first.release()


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LocalError, match="cannot open"):
        ProfileLock(tmp_path / "lock", "carol").acquire()
    assert not (tmp_path / "elsewhere").exists()
