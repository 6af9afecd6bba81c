"""Files and folders that are offered, and how they are read while they are sent."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import time
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from chatnet.core import messages
from chatnet.core.errors import LocalError
from chatnet.core.messages import NotSent
from chatnet.core.transfer.offers import OfferAssembly, Rest, offer_pages, unpacked
from chatnet.peer.files import source as source_module
from chatnet.peer.files.source import (
    Fingerprint,
    Gathered,
    Source,
    close_sources,
    fingerprint_of,
    gather,
    open_sources,
    trouble_of,
    wire_name,
)
from tests.peer.files.downloads import open_descriptors
from tests.support.wire import decode


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
    gathered = gather([os.fsencode(photos)])
    assert [found.offered.path for found in gathered.files] == [
        ["photos", "a.jpg"],
        ["photos", "b.jpg"],
        ["photos", "sub", "deep", "c.jpg"],
    ]
    assert gathered.rest == Rest([], NotSent(2, 1, 0), 0)


def test_what_a_folder_has_beside_files_is_counted(tmp_path: Path) -> None:
    """B2, B3: nothing is left out, or changed, without a word."""
    top = tmp_path / "top"
    for folder in ("a/b/empty", "links", "void"):
        (top / folder).mkdir(parents=True)
    (top / "a" / "f").write_bytes(b"1")
    (top / "run").write_bytes(b"2")
    (top / "run").chmod(0o700)
    (top / "links" / "dead").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(top / "s"))
        os.mkfifo(top / "p")
        Path(os.fsdecode(os.path.join(os.fsencode(top), b"bad\xff"))).write_bytes(b"3")
        gathered = gather([os.fsencode(top)])
    assert gathered.rest.folders == [["top", "a", "b", "empty"], ["top", "links"], ["top", "void"]]
    assert gathered.rest.not_sent == NotSent(1, 2, 0)
    assert (gathered.rest.executables, gathered.renamed) == (1, 1)
    assert ["top", "bad\ufffd"] in [found.offered.path for found in gathered.files]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_arrives_empty_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "top" / "secret").mkdir(parents=True)
    (tmp_path / "top" / "f").write_bytes(b"1")
    (tmp_path / "top" / "secret").chmod(0)
    try:
        gathered = gather([os.fsencode(tmp_path / "top")])
    finally:
        (tmp_path / "top" / "secret").chmod(0o700)
    assert gathered.rest == Rest([["top", "secret"]], NotSent(0, 0, 1), 0)
    assert gathered.warning == "cannot read 'secret'; the other 1 files are offered"


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
    assert (caught.value.code, caught.value.text) == ("busy", "too many open files")


def test_a_file_greater_than_an_offer_is_refused_with_a_sentence(tmp_path: Path) -> None:
    """B4: what our own reader would punish is not said."""
    sparse = tmp_path / "sparse"
    sparse.touch()
    try:
        os.truncate(sparse, 2**53 + 1)
    except OSError:
        pytest.skip("this file system has no such large files")
    for paths in ([sparse], [tmp_path]):
        with pytest.raises(LocalError) as caught:
            gather([os.fsencode(path) for path in paths])
        assert caught.value.code == "too-large"
        assert caught.value.text == "one offer holds at most 9,007,199,254,740,991 bytes: 'sparse' is too much"


def test_no_two_files_of_an_offer_have_one_path(tmp_path: Path) -> None:
    """F8: two equal paths are no offer, whichever files of this disk they are."""
    for folder in ("x", "y", "z"):
        (tmp_path / folder / "p").mkdir(parents=True)
        (tmp_path / folder / "a.txt").write_bytes(b"1")
        (tmp_path / folder / "p" / "b").write_bytes(b"1")
    (tmp_path / "x" / "p" / os.fsdecode(b"\xff")).write_bytes(b"1")  # two names that are one on the wire
    (tmp_path / "x" / "p" / os.fsdecode(b"\xfe")).write_bytes(b"1")
    given = [tmp_path / folder / name for folder in "xyz" for name in ("a.txt", "p")]
    found = ["/".join(file.offered.path) for file in gather([os.fsencode(path) for path in given]).files]
    assert sorted(found) == [
        "a (2).txt",
        "a (3).txt",
        "a.txt",
        "p (2)/b",
        "p (3)/b",
        "p/b",
        "p/\ufffd",
        "p/\ufffd (2)",
    ]
    long = os.fsencode(tmp_path / "x" / ("ü" * 127))
    Path(os.fsdecode(long)).write_bytes(b"1")
    first, second = gather([long, long]).files
    assert first.offered.path != second.offered.path
    assert len(second.offered.path[0].encode()) <= 255


def test_folders_count_as_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F3."""
    monkeypatch.setattr("chatnet.core.transfer.offers.MAX_OFFER_FILES", 5)
    (tmp_path / "p" / "q" / "r").mkdir(parents=True)
    (tmp_path / "p" / "q" / "r" / "a").write_bytes(b"1")
    (tmp_path / "p" / "b").write_bytes(b"1")
    assert len(gather([os.fsencode(tmp_path / "p")]).files) == 2
    (tmp_path / "p" / "c").write_bytes(b"1")
    with pytest.raises(LocalError) as caught:
        gather([os.fsencode(tmp_path / "p")])
    assert (caught.value.code, caught.value.text) == ("too-many", "one offer holds at most 5 files and folders")


class Entry:
    """The status of a file that no disk here holds."""

    def __init__(self, size: int = 3, mtime_ns: int = 0, device: int = 1) -> None:
        self.st_size, self.st_mtime_ns, self.st_dev, self.st_ino = size, mtime_ns, device, 2
        self.st_mode = 0o100600


@settings(max_examples=300)
@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4), st.integers(-(2**70), 2**70))
def test_whatever_a_disk_holds_is_refused_or_can_be_read(sizes: list[int], mtime_ns: int) -> None:
    """B4, B5: sender and reader have the same limits, also for the sum, and every time can be said and kept."""
    gathered = Gathered()
    found = gathered.files
    try:
        for number, size in enumerate(sizes):
            gathered.add(b"/f", [str(number)], Entry(size, mtime_ns))  # type: ignore[arg-type]
    except LocalError as error:
        refused = (error.code, sum(sizes) > 2**53 - 1)
    else:
        refused = ("", False)
    if refused[0]:
        assert refused == ("too-large", True)
        return
    assert sum(sizes) <= 2**53 - 1
    assembly = OfferAssembly(bytes(16))
    for page in offer_pages(bytes(16), [file.offered for file in found]):
        assert decode("chat", messages.encode(page)) == page
        assembly.add(page)
    assert [file.mtime_ms for file in unpacked(assembly.pages)] == [max(0, min(2**53 - 1, mtime_ns // 10**6))] * len(
        sizes
    )
    for file in found:
        kept = msgspec.msgpack.decode(msgspec.msgpack.encode(file.mark), type=Fingerprint)
        assert kept.fits(fingerprint_of(Entry(file.offered.size, mtime_ns)))  # type: ignore[arg-type]


def test_a_disk_that_is_mounted_again_has_the_same_file(tmp_path: Path) -> None:
    """B6: its device has another number, and so may have its inode."""
    (tmp_path / "f").write_bytes(b"0123456789")
    (found,) = gather([os.fsencode(tmp_path / "f")]).files
    mounted = found._replace(mark=found.mark._replace(device=found.mark.device + 1, inode=found.mark.inode + 7))
    source = Source(mounted, 4)
    assert source.read(10) == b"456789"
    source.digest.update(b"456789")
    assert source.finish() == blake3(b"0123456789").digest()
    source.close()
    for other in (found.mark._replace(size=11), found.mark._replace(mtime_ns=found.mark.mtime_ns + 1)):
        with pytest.raises(LocalError) as caught:
            Source(found._replace(mark=other))
        assert caught.value.code == "changed"


@pytest.mark.parametrize("seconds", [-(2**31), -1, 2**33, 55_841 * 31_556_952])
def test_a_file_of_any_year_is_offered_and_sent(tmp_path: Path, seconds: int) -> None:
    """B5: with the nearest time that can be said."""
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    try:
        os.utime(path, (seconds, seconds))
    except (OSError, OverflowError):
        pytest.skip("this file system has no such time")
    (found,) = gather([os.fsencode(path)]).files
    on_disk = path.stat().st_mtime_ns // 10**6
    assert found.offered.mtime_ms == max(0, on_disk)
    source = Source(found)
    assert source.read(3) == b"abc"
    source.close()


def test_what_waited_is_looked_at_before_it_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One file that can be sent is enough; what this machine is short of for a while is no trouble of a file."""
    paths = [tmp_path / name for name in ("a", "b")]
    for path in paths:
        path.write_bytes(b"abc")
    files = gather([os.fsencode(path) for path in paths]).files
    assert trouble_of(files) == ""
    paths[0].unlink()
    assert trouble_of(files) == ""
    paths[1].write_bytes(b"longer")
    assert trouble_of(files) == messages.UNREADABLE
    assert trouble_of(files[1:]) == messages.CHANGED
    paths[1].unlink()
    paths[1].symlink_to(tmp_path)
    assert trouble_of(files[1:]) == messages.CHANGED

    def short(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENFILE, "too many open files")

    monkeypatch.setattr(source_module.os, "stat", short)
    assert trouble_of(files) == ""
