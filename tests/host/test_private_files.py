"""Modes are set only on what is ours, by descriptor, and never through a link (fault B17)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from chatnet.host import logging as logs
from chatnet.host import paths as places
from chatnet.host import private_files
from chatnet.host.database import _make_private_database
from chatnet.host.log_file import RotatingFile
from chatnet.host.private_files import make_private, make_private_directory, make_private_file


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o277, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def regular(path: Path) -> None:
    path.write_bytes(b"theirs")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))  # another /dev/null
        os.close(os.open(path, os.O_WRONLY))
    except PermissionError:
        pytest.skip("only root can make a device, and not everywhere")


@pytest.fixture(params=[regular, fifo, device], ids=lambda make: make.__name__)
def theirs(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """What is not ours to change, with a mode that must stay."""
    path = tmp_path / "elsewhere"
    request.param(path)
    path.chmod(0o666)
    return path


def a_log(path: Path) -> None:
    log = logs.ProgramLog()
    log.open(path)
    for n in range(300):
        log({"log_format": "said", "log_time": float(n), "log_namespace": "x"})
    log.close()


@pytest.mark.parametrize("way", ["symbolic", "hard", "itself"])
@pytest.mark.parametrize("use", [a_log, make_private, _make_private_database], ids=lambda use: use.__name__.strip("_"))
def test_what_is_reached_by_our_name_keeps_its_mode(
    theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use: Callable[[Path], Any], way: str
) -> None:
    monkeypatch.setattr(logs, "LOG_BYTES", 1_000)
    ours = tmp_path / "place" / "ours"
    ours.parent.mkdir()
    if way == "itself" and theirs.is_file():
        pytest.skip("a regular file of ours by our name is ours")
    if way == "symbolic":
        ours.symlink_to(theirs)
    elif way == "hard":
        os.link(theirs, ours)
    else:
        os.rename(theirs, ours)
        theirs = ours
    kind = stat.S_IFMT(theirs.stat().st_mode)
    reader = os.open(theirs, os.O_RDONLY | os.O_NONBLOCK)
    try:
        use(ours)
    finally:
        os.close(reader)
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o666
    assert stat.S_IFMT(theirs.stat().st_mode) == kind
    if use is a_log and not (way == "hard" and kind == stat.S_IFREG):
        assert [path.name for path in ours.parent.iterdir()] == ["ours"]  # nothing was rotated
        assert kind != stat.S_IFREG or theirs.read_text().endswith("said\n")


def test_a_file_is_private_under_any_umask(tmp_path: Path, umask: int) -> None:
    assert make_private_file(tmp_path / "a")
    assert mode_of(tmp_path / "a") == 0o600
    assert not make_private_file(tmp_path / "a")
    if umask & 0o500 == 0 or os.geteuid() == 0:
        make_private_directory(tmp_path / "d")
        assert mode_of(tmp_path / "d") == 0o700
    with RotatingPlace(tmp_path / "log") as log:
        log.write(b"x" * 200)
        log.write(b"y")
    assert mode_of(tmp_path / "log") == mode_of(tmp_path / "log.1") == 0o600


class RotatingPlace:
    def __init__(self, path: Path) -> None:
        self._file = RotatingFile(path, 100, private=True)

    def __enter__(self) -> RotatingFile:
        return self._file

    def __exit__(self, *exc: object) -> None:
        self._file.close()


def test_a_file_of_ours_that_others_could_read_is_taken_from_them(tmp_path: Path) -> None:
    regular(tmp_path / "a")
    (tmp_path / "a").chmod(0o644)
    make_private(tmp_path / "a")
    assert mode_of(tmp_path / "a") == 0o600
    make_private(tmp_path / "not there")


def test_the_umask_of_the_process_is_never_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may make a file at that moment: a received one would lose all rights."""

    def changed(mask: int) -> int:
        raise AssertionError("the umask was changed")

    monkeypatch.setattr(os, "umask", changed)
    monkeypatch.setattr(logs, "LOG_BYTES", 1_000)
    a_log(tmp_path / "log")
    _make_private_database(tmp_path / "d" / "e.db")
    places.Roots(tmp_path / "c", tmp_path / "data", tmp_path / "state", tmp_path / "down").of("carol").prepare()


def test_no_path_is_given_to_chmod_anywhere() -> None:
    """By descriptor only, in the whole program."""
    root = Path(private_files.__file__).parent.parent
    for path in root.rglob("*.py"):
        text = path.read_text()
        assert "os.chmod(" not in text, path
        assert ".chmod(" not in text.replace("os.fchmod(", ""), path
        assert "os.umask(" not in text, path


def test_a_download_folder_that_cannot_be_made_stops_no_start(tmp_path: Path) -> None:
    """B8: somebody may never use it."""
    (tmp_path / "down").write_text("a file")
    roots = places.Roots(tmp_path / "c", tmp_path / "data", tmp_path / "state", tmp_path / "down")
    assert roots.of("carol").prepare()
    assert (tmp_path / "data" / "carol").is_dir()
