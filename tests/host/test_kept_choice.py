"""A choice in a file of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from chatnet.core.limits import KEPT_CHOICE_BYTES
from chatnet.host.kept_choice import KeptChoice


def test_it_is_kept_and_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "state" / "choice"
    assert KeptChoice(file).get() == ""
    KeptChoice(file).put("light")
    KeptChoice(file).put("mono")
    assert KeptChoice(file).get() == "mono"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(file.parent) == ["choice"]
    KeptChoice(file).put("")
    KeptChoice(file).put("")
    assert KeptChoice(file).get() == ""


def test_what_is_not_such_a_file_is_no_choice(tmp_path: Path) -> None:
    pipe, folder, long, bytes_ = (tmp_path / name for name in ("pipe", "folder", "long", "bytes"))
    os.mkfifo(pipe)
    folder.mkdir()
    long.write_text("x" * 10_000)
    bytes_.write_bytes(b"\xff\x00light")
    assert KeptChoice(pipe).get() == KeptChoice(folder).get() == KeptChoice(Path("/dev/zero")).get() == ""
    assert len(KeptChoice(long).get()) == KEPT_CHOICE_BYTES
    assert KeptChoice(bytes_).get() != "light"


def test_what_cannot_be_written_leaves_the_former(tmp_path: Path) -> None:
    file = tmp_path / "choice"
    KeptChoice(file).put("light")
    blocked = KeptChoice(tmp_path / "choice" / "below")
    with pytest.raises(OSError, match="Not a directory"):
        blocked.put("dark")
    assert KeptChoice(file).get() == "light"
    target = tmp_path / "target"
    target.mkdir()
    (target / "x").touch()
    with pytest.raises(OSError, match="directory"):
        KeptChoice(target).put("dark")
    assert sorted(os.listdir(tmp_path)) == ["choice", "target"]
