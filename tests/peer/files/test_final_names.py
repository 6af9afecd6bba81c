"""Final names: nothing is replaced, and nothing is written outside the folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from chatnet.core.errors import LocalError, NoSpace, StoreFailed
from chatnet.core.transfer.offers import clean_path
from chatnet.peer.files.download import SMALL_BYTES, Download, Former
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem
from chatnet.peer.files.final_names import NUMBERS
from chatnet.peer.files.part_files import PARTIAL, STEM_BYTES
from tests.peer.files.downloads import Ending, NoJournal, land, new_download, offered, tree


def test_nothing_that_exists_is_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "bob"
    mine.mkdir()
    (mine / "a.txt").write_bytes(b"mine")
    (mine / "a (2).txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(mine / "a (3).txt")
    (mine / "a (4).txt").mkdir()
    download = land(tmp_path, [(offered("a.txt"), b"hello")])
    assert download.saved_to.endswith(b"a (5).txt")
    assert tree(tmp_path) == {"bob/a.txt": b"mine", "bob/a (2).txt": tree(tmp_path)["bob/a (2).txt"]} | {
        "bob/a (5).txt": b"hello"
    }
    assert not (tmp_path / "nowhere").exists()


def test_each_transfer_makes_a_folder_of_its_own(tmp_path: Path) -> None:
    files = [(offered("p/a"), b"hello"), (offered("p/s/b"), b"hello")]
    assert land(tmp_path, files).saved_to == os.fsencode(tmp_path / "bob" / "p")
    assert land(tmp_path, files).saved_to == os.fsencode(tmp_path / "bob" / "p (2)")
    assert set(tree(tmp_path)) == {"bob/p/a", "bob/p/s/b", "bob/p (2)/a", "bob/p (2)/s/b"}


def test_many_files_of_one_name_cost_no_more_than_others(tmp_path: Path) -> None:
    """F8: names are counted in memory; beyond the numbers a random one is taken."""
    tries = []

    def link(old: str, new: str, source: int, folder: int) -> None:
        tries.append(new)
        os.link(old, new, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)

    count = NUMBERS + 5
    same = [["p", "a" + "\u200b" * (n % 50) + "\u200c" * (n // 50) + ".txt"] for n in range(count)]
    filesystem = Filesystem(link=link)
    assert len({clean_path(path) for path in same}) == 1
    land(tmp_path, [(offered(path), b"hello") for path in same], filesystem)
    found = {path.name for path in (tmp_path / "bob" / "p").iterdir()}
    assert len(found) == count
    assert found >= {"a.txt", *(f"a ({n}).txt" for n in range(2, NUMBERS + 1))}
    assert len(tries) < 3 * count


def test_folders_of_one_name_too(tmp_path: Path) -> None:
    paths = [["p", "d" + "\u200b" * (n % 250) + "\u200c" * (n // 250), "f"] for n in range(NUMBERS + 5)]
    land(tmp_path, [(offered(path, b""), b"") for path in paths])
    folders = list((tmp_path / "bob" / "p").iterdir())
    assert len(folders) == len(paths)
    assert all(len(list(folder.iterdir())) == 1 for folder in folders)


def test_a_random_name_is_found_again_after_a_crash(tmp_path: Path) -> None:
    mine = tmp_path / "bob"
    mine.mkdir()
    for name in ("a", *(f"a ({n})" for n in range(2, NUMBERS + 1))):
        (mine / name).touch()
    ending = Ending("before placed")
    place = DownloadTarget(os.fsencode(tmp_path), "bob", stem="ab" * STEM_BYTES)
    download = Download(place, [offered("a")], Filesystem(), {}, ending)
    download.begin(0)
    download.write([b"hello"])
    download.end(blake3(b"hello").digest())
    with pytest.raises(StoreFailed):
        download.finish()
    download.close()
    again = Download(place, [offered("a")], Filesystem(), ending.former, NoJournal())
    assert again.wants == []
    again.close()
    assert [data for data in tree(tmp_path).values() if data] == [b"hello"]


def test_a_link_in_place_of_an_offered_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    down = tmp_path / "down"
    (down / "bob").mkdir(parents=True)
    (down / "bob" / "p").symlink_to(outside)
    land(down, [(offered("p/a"), b"hello")])
    assert tree(outside) == {}
    assert (down / "bob" / "p (2)" / "a").read_bytes() == b"hello"


def test_a_folder_exchanged_for_a_link_while_files_come_is_not_followed(tmp_path: Path) -> None:
    outside, down = tmp_path / "outside", tmp_path / "down"
    outside.mkdir()
    data = b"x" * SMALL_BYTES
    files = [offered("p/a", data), offered("q/b", data), offered("p/c", data)]
    download = new_download(DownloadTarget(os.fsencode(down), "bob"), files)
    for index in range(3):
        download.begin(index)
        download.write([data])
        if index < 2:
            download.end(blake3(data).digest())
    os.rename(down / "bob" / "p", down / "bob" / "old")
    (down / "bob" / "p").symlink_to(outside)
    with pytest.raises(LocalError) as caught:
        download.end(blake3(data).digest())
    assert caught.value.code == "unwritable"
    download.discard()
    download.close()
    assert tree(outside) == {}
    assert list((down / PARTIAL).iterdir()) == []


def test_names_that_clean_to_the_same_stay_apart(tmp_path: Path) -> None:
    land(tmp_path, [(offered(["a?"]), b"hello"), (offered(["a*"]), b"hello"), (offered(["..", "x"]), b"hello")])
    assert set(tree(tmp_path)) == {"bob/a_", "bob/a_ (2)", "bob/folder/x"}


@settings(max_examples=60)
@given(st.lists(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=4), min_size=1, max_size=5))
def test_no_offered_name_reaches_outside(paths: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as base:
        down = Path(base, "down")
        land(down, [(offered(path), b"hello") for path in paths])
        assert sorted(os.listdir(base)) == ["down"]
        assert sorted(os.listdir(down)) == [PARTIAL, "bob"]
        found = tree(down)
        assert len(found) == len(paths)
        assert set(found.values()) == {b"hello"}
        assert all(name.startswith("bob/") for name in found)
        assert not any(part.startswith(".") for name in found for part in name.split("/"))


def folders_of(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_dir() and PARTIAL not in path.parts}


def landed_with(downloads: Path, *empty: tuple[str, ...]) -> Download:
    """A file ``p/a`` and these empty folders."""
    place = DownloadTarget(os.fsencode(downloads), "bob")
    download = Download(place, [offered("p/a")], Filesystem(), {}, NoJournal(), empty)
    try:
        download.begin(0)
        download.write([b"hello"])
        download.end(blake3(b"hello").digest())
        download.finish()
    finally:
        download.close()
    return download


def test_empty_folders_are_made_with_the_last_file(tmp_path: Path) -> None:
    """B2: beside the files of the same offer, in folders of their own, and never over anything."""
    landed_with(tmp_path, ("p", "q", "r"), ("p", "s"), (".hidden",), ("..", "x"))
    assert folders_of(tmp_path / "bob") == {"p", "p/q", "p/q/r", "p/s", "hidden", "folder", "folder/x"}
    mine = tmp_path / "bob" / "kept"
    mine.mkdir()
    (mine / "mine").write_bytes(b"mine")
    (tmp_path / "bob" / "link").symlink_to(tmp_path)
    (tmp_path / "bob" / "file").write_bytes(b"")
    landed_with(tmp_path, ("kept",), ("link",), ("file",), ("p", "s"))
    new = {"kept (2)", "link (2)", "file (2)", "p (2)", "p (2)/s"}
    assert folders_of(tmp_path / "bob") >= new
    assert list(mine.iterdir()) == [mine / "mine"]


def test_an_empty_folder_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    """As after a crash behind its making: the offer is finished twice."""
    place = DownloadTarget(os.fsencode(tmp_path), "bob")
    file = offered("p/a")
    download = Download(place, [file], Filesystem(), {}, NoJournal(), [("p", "s"), ("t",)])
    download.begin(0)
    download.write([b"hello"])
    download.end(blake3(b"hello").digest())
    download.finish()
    download.close()
    done = Former(final=os.fsencode(tmp_path / "bob" / "p" / "a"), done=True)
    again = Download(place, [file], Filesystem(), {0: done}, NoJournal(), [("p", "s"), ("t",)])
    again.close()
    assert again.wants == []
    assert folders_of(tmp_path / "bob") == {"p", "p/s", "t"}


def test_empty_folders_need_room_on_the_disk_too(tmp_path: Path) -> None:
    def space(fd: int) -> Any:
        return SimpleNamespace(f_bavail=3, f_frsize=4096, f_files=0)

    place, filesystem = DownloadTarget(os.fsencode(tmp_path), "bob"), Filesystem(space=space)
    Download(place, [offered("a", b"")], filesystem, {}, NoJournal(), [("x", "y")]).close()
    with pytest.raises(NoSpace):
        Download(place, [offered("a", b"")], filesystem, {}, NoJournal(), [("x", "y"), ("z",)])
