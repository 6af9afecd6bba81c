"""Part files: those that somebody exchanged, and those that a lost database left."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from blake3 import blake3

from chatnet.core.errors import LocalError
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem
from chatnet.peer.files.part_files import PARTIAL, remove_orphans
from tests.peer.files.downloads import land, new_download, offered, tree


@pytest.mark.parametrize("what", ["link", "hardlink", "fifo"])
def test_a_part_that_somebody_exchanged_gets_no_final_name(tmp_path: Path, what: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    down = tmp_path / "down"
    files = [offered("a"), offered("b")]
    download = new_download(DownloadTarget(os.fsencode(down), "bob"), files)
    download.begin(0)
    download.write([b"hello"])
    download.end(blake3(b"hello").digest())
    (part,) = (down / PARTIAL).iterdir()
    part.unlink()
    if what == "link":
        part.symlink_to(victim)
    elif what == "hardlink":
        os.link(victim, part)
    else:
        os.mkfifo(part)
    with pytest.raises(LocalError) as caught:
        download.finish()
    assert caught.value.code == "unwritable"
    download.discard()
    download.close()
    assert list((down / "bob").iterdir()) == []
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("what", ["link", "hardlink", "fifo"])
def test_what_has_the_name_of_a_part_is_not_written_to(tmp_path: Path, what: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    down = tmp_path / "down"
    part = down / PARTIAL / ("01" * 8 + "0" * 16 + ".part")
    part.parent.mkdir(parents=True)
    if what == "link":
        part.symlink_to(victim)
    elif what == "hardlink":
        os.link(victim, part)
    else:
        os.mkfifo(part)
    land(down, [(offered("a"), b"hello")], Filesystem(random=lambda count: b"\1" * count))
    assert victim.read_bytes() == b"precious"
    assert tree(down) == {"bob/a": b"hello"}


def test_only_old_parts_of_ours_are_removed(tmp_path: Path) -> None:
    parts = tmp_path / PARTIAL
    parts.mkdir()
    old = time.time() - 31 * 86_400
    names = {"0" * 32 + ".part": True, "1" * 32 + ".part": False, "photo.jpg": True, "2" * 32 + ".part.txt": True}
    for name, aged in names.items():
        (parts / name).write_bytes(b"")
        if aged:
            os.utime(parts / name, (old, old))
    (parts / ("3" * 32 + ".part")).symlink_to(tmp_path)
    assert remove_orphans(os.fsencode(tmp_path)) == 1
    assert not (parts / ("0" * 32 + ".part")).exists()
    assert remove_orphans(os.fsencode(tmp_path / "not there")) == 0
