"""What is read from the disk, and what strangers make us write to it."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from chatnet.core.errors import LocalError, RemoteError, StoreFailed
from chatnet.core.messages import OfferedFile, Want
from chatnet.peer.files import final_names as naming
from chatnet.peer.files.download import GROUP_FILES, SMALL_BYTES, Download, Former
from chatnet.peer.files.filesystem import DownloadTarget, Filesystem
from chatnet.peer.files.part_files import PARTIAL, remove_orphans
from chatnet.peer.files.source import Source, gather, open_sources, wire_name


def offered(path: str | list[str], data: bytes = b"hello") -> OfferedFile:
    return OfferedFile(path.split("/") if isinstance(path, str) else path, len(data), 0)


def land(
    downloads: Path,
    files: Sequence[tuple[OfferedFile, bytes]],
    filesystem: Filesystem | None = None,
    directory: bytes = b"",
) -> Download:
    download = Download(
        DownloadTarget(os.fsencode(downloads), "bob", directory),
        [file for file, _ in files],
        filesystem or Filesystem(),
    )
    try:
        for index, (_, data) in enumerate(files):
            download.begin(index)
            if data:
                download.write([data])
            download.end(blake3(data).digest())
        download.finish()
    except BaseException:
        download.discard()
        raise
    finally:
        download.close()
    return download


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below, by path; a link by where it points to."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = b"-> " + os.fsencode(os.readlink(path))
        elif path.is_file():
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- what is offered ---


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


# --- what is sent ---


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
    with pytest.raises(LocalError) as caught:
        open_sources([(offer[0], 0)])
    assert caught.value.code in ("changed", "unreadable")
    assert open_descriptors() == before


def test_opening_several_leaves_none_open_if_one_fails(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / name).write_bytes(b"1")
    offer = gather([os.fsencode(tmp_path)]).files
    os.unlink(tmp_path / "c")
    before = open_descriptors()
    with pytest.raises(LocalError):
        open_sources([(file, 0) for file in offer])
    assert open_descriptors() == before


# --- what is received ---


def test_a_file_gets_its_final_name(tmp_path: Path) -> None:
    download = land(tmp_path / "down", [(offered("a.txt"), b"hello")])
    assert tree(tmp_path / "down") == {"bob/a.txt": b"hello"}
    assert download.saved_to == os.fsencode(tmp_path / "down" / "bob" / "a.txt")
    assert download.done_files == 1


def test_modes_are_private_under_any_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        land(tmp_path / "down", [(offered("d/run.sh"), b"hello")])
    finally:
        os.umask(old)
    for path in (tmp_path / "down").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    before = open_descriptors()
    land(tmp_path, [(offered(f"d/{n}/f"), b"hello") for n in range(10)])
    with pytest.raises(LocalError):
        land(tmp_path, [(offered("g", b""), b"x" * 10)], Filesystem(reserve_bytes=2**62))
    assert open_descriptors() == before


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


def test_a_folder_is_made_anew_each_time(tmp_path: Path) -> None:
    files = [(offered("p/a"), b"hello"), (offered("p/s/b"), b"hello")]
    assert land(tmp_path, files).saved_to == os.fsencode(tmp_path / "bob" / "p")
    assert land(tmp_path, files).saved_to == os.fsencode(tmp_path / "bob" / "p (2)")
    assert set(tree(tmp_path)) == {"bob/p/a", "bob/p/s/b", "bob/p (2)/a", "bob/p (2)/s/b"}


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
    download = Download(DownloadTarget(os.fsencode(down), "bob"), files, Filesystem())
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


@pytest.mark.parametrize("where", ["bob", PARTIAL])
@pytest.mark.parametrize("what", ["link", "file"])
def test_a_link_or_a_file_in_place_of_our_own_folders_is_refused(tmp_path: Path, where: str, what: str) -> None:
    outside, down = tmp_path / "outside", tmp_path / "down"
    outside.mkdir()
    down.mkdir()
    if what == "link":
        (down / where).symlink_to(outside)
    else:
        (down / where).write_bytes(b"")
    before = open_descriptors()
    with pytest.raises(LocalError) as caught:
        land(down, [(offered("a"), b"hello")])
    assert caught.value.code == "unwritable"
    assert tree(outside) == {}
    assert open_descriptors() == before


@pytest.mark.parametrize("what", ["link", "hardlink", "fifo"])
def test_a_part_that_somebody_exchanged_gets_no_final_name(tmp_path: Path, what: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    down = tmp_path / "down"
    files = [offered("a"), offered("b")]
    download = Download(DownloadTarget(os.fsencode(down), "bob"), files, Filesystem())
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


def test_a_wrong_digest_leaves_nothing(tmp_path: Path) -> None:
    download = Download(DownloadTarget(os.fsencode(tmp_path), "bob"), [offered("a")], Filesystem())
    download.begin(0)
    download.write([b"hellO"])
    with pytest.raises(LocalError) as caught:
        download.end(blake3(b"hello").digest())
    assert caught.value.code == "digest"
    download.discard()
    download.close()
    assert tree(tmp_path) == {}


def test_more_bytes_than_offered_are_not_written(tmp_path: Path) -> None:
    download = Download(DownloadTarget(os.fsencode(tmp_path), "bob"), [offered("a")], Filesystem())
    download.begin(0)
    with pytest.raises(RemoteError):
        download.write([b"hell", b"o!"])
    download.discard()
    download.close()
    assert tree(tmp_path) == {}


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    def space(fd: int) -> Any:
        return SimpleNamespace(f_bavail=10, f_frsize=4096)

    with pytest.raises(LocalError) as caught:
        land(tmp_path, [(offered("a"), b"hello")], Filesystem(space=space, reserve_bytes=40_956))
    assert caught.value.code == "no-space"
    assert tree(tmp_path) == {}
    land(tmp_path, [(offered("a"), b"hello")], Filesystem(space=space, reserve_bytes=40_955))


def no_links(old: str, new: str, source: int, folder: int) -> None:
    raise OSError(errno.EPERM, "no hard links here")


def test_without_hard_links_nothing_is_replaced_either(tmp_path: Path) -> None:
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "a").write_bytes(b"mine")
    land(tmp_path, [(offered("a"), b"hello")], Filesystem(link=no_links))
    assert tree(tmp_path) == {"bob/a": b"mine", "bob/a (2)": b"hello"}


def test_without_hard_links_and_renaming_it_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda *args, **kwargs: object())  # a system library without either call
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "a").write_bytes(b"mine")
    land(tmp_path, [(offered("a"), b"hello"), (offered("c"), b"world")], Filesystem(link=no_links))
    assert tree(tmp_path) == {"bob/a": b"mine", "bob/a (2)": b"hello", "bob/c": b"world"}


def test_small_files_come_in_groups(tmp_path: Path) -> None:
    count = 2 * GROUP_FILES + 3
    download = Download(
        DownloadTarget(os.fsencode(tmp_path), "bob"), [offered(f"d/{n}") for n in range(count)], Filesystem()
    )
    seen = []
    for index in range(count):
        download.begin(index)
        download.write([b"hello"])
        download.end(blake3(b"hello").digest())
        seen.append(download.done_files)
    assert sorted(set(seen)) == [0, GROUP_FILES, 2 * GROUP_FILES]
    download.finish()
    download.close()
    assert download.done_files == count
    assert len(tree(tmp_path)) == count


def test_names_that_clean_to_the_same_stay_apart(tmp_path: Path) -> None:
    land(tmp_path, [(offered(["a?"]), b"hello"), (offered(["a*"]), b"hello"), (offered(["..", "x"]), b"hello")])
    assert set(tree(tmp_path)) == {"bob/a_", "bob/a_ (2)", "bob/folder/x"}


def test_a_folder_of_the_users_choice(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    assert land(tmp_path / "down", [(offered("a"), b"hello")], directory=os.fsencode(there)).saved_to == os.fsencode(
        there / "a"
    )
    with pytest.raises(LocalError) as caught:
        land(tmp_path / "down", [(offered("a"), b"hello")], directory=os.fsencode(tmp_path / "not there"))
    assert caught.value.code == "no-such-folder"


def failing(code: int) -> Callable[[str, str, int, int], None]:
    def fail(old: str, new: str, source: int, folder: int) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EINVAL, errno.EXDEV])
def test_without_links_and_without_such_a_rename(tmp_path: Path, code: int) -> None:
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "a").write_bytes(b"there before")
    filesystem = Filesystem(link=failing(errno.EXDEV), rename=failing(code))
    land(tmp_path, [(OfferedFile(["a"], 5, 1_600_000_000_000), b"hello"), (offered("p/b"), b"world")], filesystem)
    assert tree(tmp_path) == {"bob/a": b"there before", "bob/a (2)": b"hello", "bob/p/b": b"world"}
    assert (tmp_path / "bob" / "a (2)").stat().st_mtime == 1_600_000_000
    assert stat.S_IMODE((tmp_path / "bob" / "a (2)").stat().st_mode) == 0o600


class Killed(BaseException):
    """Stands for the end of the process: nobody clears up."""


@pytest.mark.parametrize("copied", [b"", b"hel", b"hello"])
def test_a_copy_that_is_killed_leaves_no_half_file_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copied: bytes
) -> None:
    filesystem = Filesystem(link=failing(errno.EXDEV), rename=failing(errno.EXDEV))
    journal, files = Ending(""), [offered("a")]
    place = DownloadTarget(os.fsencode(tmp_path), "bob", b"", "ab" * 8)
    download = Download(place, files, filesystem, {}, journal)
    download.begin(0)
    download.write([b"hello"])
    download.end(blake3(b"hello").digest())

    def copy_cut_short(old: str, new: str, source: int, folder: int) -> None:
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=folder)
        os.write(fd, copied)
        os.close(fd)
        raise Killed

    monkeypatch.setattr(naming, "copy", copy_cut_short)
    with pytest.raises(Killed):
        download.finish()
    download.close()
    assert not (tmp_path / "bob" / "a").exists()
    monkeypatch.undo()
    download = Download(place, files, filesystem, journal.former, journal)
    assert download.wants == []
    download.close()
    assert tree(tmp_path) == {"bob/a": b"hello"}
    assert [path.name for path in (tmp_path / "bob").iterdir()] == ["a"]


@settings(max_examples=60, deadline=None)
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


# --- orphans ---


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


# --- a process that ended on the way ---


class Ending:
    """A journal whose process ends at one of its notes; ``former`` is what the next one reads."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.former: dict[int, Former] = {}

    def synced(self, index: int, part: str, count: int) -> None:
        self.former[index] = Former(synced=count)

    def whole(self, files: Sequence[tuple[int, str, bytes, bytes]]) -> None:
        for index, _, digest, folder in files:
            self.former[index] = Former(5, digest, folder)
        self._end("after whole")

    def placed(self, files: Sequence[tuple[int, bytes]]) -> None:
        self._end("before placed")
        for index, path in files:
            self.former[index] = Former(final=path, done=True)
        self._end("after placed")

    def reset(self, indices: Sequence[int]) -> None:
        for index in indices:
            self.former[index] = Former(final=self.former[index].final)

    def _end(self, here: str) -> None:
        if self.at == here:
            raise StoreFailed("store", "the process has ended")


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


def test_a_whole_part_that_was_spoiled_begins_anew(tmp_path: Path) -> None:
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
