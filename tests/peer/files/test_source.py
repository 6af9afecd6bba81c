"""Files and folders that are offered, and how they are read while they are sent."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import time
from pathlib import Path

import pytest
from blake3 import blake3

from chatnet.core.errors import LocalError
from chatnet.peer.files.source import Source, close_sources, gather, open_sources, wire_name
from tests.peer.files.downloads import open_descriptors


def test_a_file_is_offered_by_its_last_name(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_bytes(b"abc")
    (found,) = gather([os.fsencode(tmp_path / "notes.md")]).files
    assert found.offered.path == ["notes.md"]
    assert found.offered.size == 3
    assert abs(found.offered.mtime_ms - time.time() * 1000) < 60_000


def test_a_folder_is_offered_whole_and_its_links_are_not(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "sub" / "deep").mkdir(parents=True)
    (photos / "b.jpg").write_bytes(b"b")
    (photos / "a.jpg").write_bytes(b"a")
    (photos / "sub" / "deep" / "c.jpg").write_bytes(b"c")
    (tmp_path / "secret").write_bytes(b"s")
    (photos / "link").symlink_to(tmp_path / "secret")
    (photos / "loop").symlink_to(photos)
    os.mkfifo(photos / "pipe")
    assert [found.offered.path for found in gather([os.fsencode(photos)]).files] == [
        ["photos", "a.jpg"],
        ["photos", "b.jpg"],
        ["photos", "sub", "deep", "c.jpg"],
    ]


def test_a_link_that_the_user_names_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.bin").write_bytes(b"abc")
    (tmp_path / "alias.txt").symlink_to(tmp_path / "real.bin")
    (found,) = gather([os.fsencode(tmp_path / "alias.txt")]).files
    assert found.offered.path == ["alias.txt"]
    source = Source(found)
    assert source.read(10) == b"abc"
    source.close()


def test_what_is_not_there_is_said_with_a_guess(tmp_path: Path) -> None:
    (tmp_path / "video.mkv").write_bytes(b"")
    with pytest.raises(LocalError) as caught:
        gather([os.fsencode(tmp_path / "vidoe.mkv")])
    assert caught.value.code == "no-such-file"
    assert caught.value.text == f"no file 'vidoe.mkv' in {tmp_path}. Did you mean video.mkv?"


@pytest.mark.parametrize("kind", ["fifo", "empty"])
def test_pipes_and_empty_folders_are_not_offered(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "thing"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(LocalError) as caught:
        gather([os.fsencode(path)])
    assert caught.value.code == ("unreadable" if kind == "fifo" else "empty")


def test_a_folder_deeper_than_an_offer_is_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath("d", *["x"] * 32)
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"")
    with pytest.raises(LocalError) as caught:
        gather([os.fsencode(tmp_path / "d")])
    assert caught.value.code == "too-deep"


def test_a_name_that_is_no_utf8_goes_over_the_wire() -> None:
    name = wire_name(b"\xff" * 255)
    assert 1 <= len(name.encode()) <= 255


def source_of(path: Path) -> Source:
    return Source(gather([os.fsencode(path)]).files[0])


def test_a_source_gives_its_bytes_and_their_digest(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    source = source_of(path)
    sent = b""
    while data := source.read(4):
        source.digest.update(data)
        sent += data
    assert sent == b"0123456789"
    assert source.finish() == blake3(b"0123456789").digest()
    source.close()


def test_a_source_goes_on_from_an_offset_with_the_digest_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"0123456789")
    source = Source(gather([os.fsencode(path)]).files[0], 6)
    data = source.read(100)
    source.digest.update(data)
    assert data == b"6789"
    assert source.finish() == blake3(b"0123456789").digest()
    source.close()


@pytest.mark.parametrize("change", ["shorter", "longer", "rewritten"])
def test_a_source_that_changes_while_it_is_read_is_noticed(tmp_path: Path, change: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)
    source = source_of(path)
    source.read(10)
    if change == "shorter":
        os.truncate(path, 20)
    elif change == "longer":
        with path.open("ab") as more:
            more.write(b"y")
    else:
        path.write_bytes(b"z" * 100)
        os.utime(path, ns=(0, 0))
    total = 10
    while data := source.read(64):
        total += len(data)
    assert total <= 100
    with pytest.raises(LocalError) as caught:
        source.finish()
    assert caught.value.code == "changed"
    source.close()


@pytest.mark.parametrize("change", ["replaced", "link", "fifo", "gone"])
def test_what_took_the_place_of_an_offered_file_is_not_sent(tmp_path: Path, change: str) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"mine")
    (tmp_path / "secret").write_bytes(b"mine")
    offer = gather([os.fsencode(path)]).files
    before = open_descriptors()
    os.unlink(path)
    if change == "replaced":
        os.rename(tmp_path / "secret", path)
    elif change == "link":
        path.symlink_to(tmp_path / "secret")
    elif change == "fifo":
        os.mkfifo(path)  # opening it must not wait for a writer
    (found,) = open_sources([(offer[0], 0)])
    assert isinstance(found, LocalError)
    assert found.code in ("changed", "unreadable")
    assert open_descriptors() == before


def test_one_that_cannot_be_opened_is_named_and_the_others_are_open(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"1")
    offer = gather([os.fsencode(tmp_path)]).files
    os.unlink(tmp_path / "b")
    before = open_descriptors()
    found = open_sources([(file, 0) for file in offer])
    assert [getattr(one, "code", "open") for one in found] == ["open", "unreadable", "open"]
    close_sources(found)
    assert open_descriptors() == before


def test_too_few_descriptors_leave_none_open(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"1")
    offer = gather([os.fsencode(tmp_path)]).files
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 40, hard))
    held = []
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        os.close(held.pop())
        with pytest.raises(LocalError) as caught:
            open_sources([(file, 0) for file in offer])
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.code == "busy"
    assert open_descriptors() == before


def test_a_folder_that_cannot_be_looked_at_for_lack_of_descriptors_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"1")

    def scandir(path: bytes) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(LocalError) as caught:
        gather([os.fsencode(tmp_path)])
    assert caught.value.code == "busy"
