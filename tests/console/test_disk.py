"""What the console asks the file system."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from chatnet.console import disk
from chatnet.console.disk import DiskThreads, Names, dropped_paths, first_of, names_in, size_of_all
from chatnet.core.errors import LocalError
from chatnet.core.limits import COMPLETIONS, FOLDER_THREADS


def test_all_names_decide_what_is_common_and_the_first_are_kept() -> None:
    names = [f"img{number:06d}.jpg" for number in range(150_000)]
    found = first_of(reversed(names))
    assert found == Names(tuple(names[:COMPLETIONS]), 150_000, "img")


def test_names_in_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", ".photo", "plan", "pho\x1bto"):
        (tmp_path / name).touch()
    folder = f"{tmp_path}/"
    assert names_in(folder, "p", False) == Names(("photo.jpg", "photos/", "plan"), 3, "p")
    assert names_in(folder, "ph", False).common == "photo"
    assert names_in(folder, "", True) == Names(("photos/",), 1, "photos/")
    assert names_in(folder, ".", False).first == (".photo",)
    assert names_in(f"{tmp_path}/nothing/", "", False) == Names()


def test_a_link_that_leads_in_a_circle_hides_no_other_name(tmp_path: Path) -> None:
    (tmp_path / "plan").touch()
    (tmp_path / "place").symlink_to(tmp_path / "place")
    assert names_in(f"{tmp_path}/", "pl", False).first == ("place", "plan")


def test_of_a_folder_with_too_many_names_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10):
        (tmp_path / f"only{number}").touch()
    monkeypatch.setattr(disk, "FOLDER_NAMES_LOOKED_AT", 9)
    assert names_in(f"{tmp_path}/", "only", False) == Names(is_whole=False)
    monkeypatch.setattr(disk, "FOLDER_NAMES_LOOKED_AT", 10)
    assert names_in(f"{tmp_path}/", "only", False).count == 10


@pytest.mark.parametrize(
    ("pasted", "paths"),
    [
        ("/home/carol/photo.jpg", ["/home/carol/photo.jpg"]),
        ("'/home/carol/my photo.jpg' ", ["/home/carol/my photo.jpg"]),
        ("/home/carol/my\\ photo.jpg", ["/home/carol/my photo.jpg"]),
        ("/home/carol/my photo.jpg\n", ["/home/carol/my photo.jpg"]),
        ("file:///home/carol/my%20photo.jpg", ["/home/carol/my photo.jpg"]),
        ("file://localhost/a/b", ["/a/b"]),
        ("'/a/b' '/a/c'", ["/a/b", "/a/c"]),
        ("", []),
        ("/", []),
        ("photo.jpg", []),
        ("/a/b\n/a/c", []),
        ("'/a/b' and c", []),
        ("file://elsewhere/a/b", []),
        ("file://[", []),
        ("/a\0b", []),
        ("'/a' " * 101, []),
    ],
)
def test_paths_that_a_terminal_pastes(pasted: str, paths: list[str]) -> None:
    assert dropped_paths(pasted) == tuple(map(os.fsencode, paths))


def test_the_size_of_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    (tmp_path / "b").write_bytes(b"345")
    os.mkfifo(tmp_path / "pipe")
    place = os.fsencode(tmp_path)
    assert size_of_all((place + b"/a", place + b"/b", place)) == 5
    assert size_of_all((place + b"/a", place + b"/c")) is None
    assert size_of_all((place + b"/pipe",)) is None


class FakeReactor:
    """Calls at once what comes from a thread, and says when."""

    def __init__(self) -> None:
        self.called = threading.Semaphore(0)

    def callFromThread(self, call: Any, *args: Any) -> None:
        call(*args)
        self.called.release()


def test_slow_work_is_done_in_threads_a_few_at_a_time() -> None:
    reactor, gate = FakeReactor(), threading.Event()
    threads = DiskThreads(reactor)
    results: list[Any] = []
    try:
        for number in range(FOLDER_THREADS):
            threads.run(lambda number=number: gate.wait(30) and number).addCallback(results.append)
        assert results == []
        refused: list[Any] = []
        threads.run(len, "").addErrback(refused.append)
        assert isinstance(refused[0].value, LocalError)
        assert refused[0].value.code == "busy"
    finally:
        gate.set()
    for _ in range(FOLDER_THREADS):
        assert reactor.called.acquire(timeout=30)
    assert sorted(results) == list(range(FOLDER_THREADS))
    failed: list[Any] = []
    threads.run(os.listdir, "/no such folder").addErrback(failed.append)
    assert reactor.called.acquire(timeout=30)
    assert failed[0].check(FileNotFoundError)


def test_nothing_is_told_after_the_end() -> None:
    reactor = FakeReactor()
    threads = DiskThreads(reactor)
    told: list[Any] = []
    gate = threading.Event()
    threads.run(gate.wait, 30).addBoth(told.append)
    threads.close()
    gate.set()
    assert reactor.called.acquire(timeout=30)
    assert told == []
