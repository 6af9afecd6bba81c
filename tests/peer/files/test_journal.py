"""What the next process makes of a download that its journal tells of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from blake3 import blake3

from chatnet.core.errors import StoreFailed
from chatnet.core.messages import Want
from chatnet.peer.files.download import Download
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem
from chatnet.peer.files.part_files import PARTIAL
from tests.peer.files.downloads import Ending, no_links, offered, tree


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("name", ["a", "p/a"])
@pytest.mark.parametrize("at", ["after whole", "before placed", "after placed"])
def test_a_process_that_ended_while_it_named_a_file_leaves_one_file(
    tmp_path: Path, at: str, name: str, links: bool
) -> None:
    filesystem, journal = Filesystem() if links else Filesystem(link=no_links), Ending(at)
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "a").write_bytes(b"there before")
    place, files = DownloadTarget(os.fsencode(tmp_path), "bob", b"", "ab" * 8), [offered(name)]
    download = Download(place, files, filesystem, {}, journal)
    download.begin(0)
    download.write([b"hello"])
    download.end(blake3(b"hello").digest())
    with pytest.raises(StoreFailed):
        download.finish()
    download.close()
    journal.at = ""
    download = Download(place, files, filesystem, journal.former, journal)
    assert download.wants == []
    assert download.done_files == 1
    download.close()
    final = "bob/a (2)" if name == "a" else "bob/p/a"
    assert tree(tmp_path) == {"bob/a": b"there before", final: b"hello"}
    assert download.saved_to == os.fsencode(tmp_path / final)
    assert list((tmp_path / PARTIAL).iterdir()) == []


def test_a_corrupt_whole_part_is_fetched_again(tmp_path: Path) -> None:
    journal, files = Ending("after whole"), [offered("p/a")]
    place = DownloadTarget(os.fsencode(tmp_path), "bob", b"", "ab" * 8)
    download = Download(place, files, Filesystem(), {}, journal)
    download.begin(0)
    download.write([b"hello"])
    download.end(blake3(b"hello").digest())
    with pytest.raises(StoreFailed):
        download.finish()
    download.close()
    (part,) = (tmp_path / PARTIAL).iterdir()
    part.write_bytes(b"hellO")
    download = Download(place, files, Filesystem(), journal.former, journal)
    assert download.wants == [Want(0, 0)]
    assert journal.former[0].digest == b""
    download.close()
    assert tree(tmp_path) == {}
