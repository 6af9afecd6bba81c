"""Files between villagers: whole, or ended on both sides with a reason."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted

from chatnet.core import messages
from chatnet.core.errors import LocalError
from chatnet.core.events import MessageKind, MessageState, OfferDetails, TransferState
from tests.support.village import Village, Villager

LARGE = 40_000_000  # too long to be over before the test looks


def made(village: Village, name: str, size: int) -> bytes:
    path = village.directory / name
    path.write_bytes((name.encode() * (size // len(name) + 1))[:size])
    return os.fsencode(path)


async def offered(village: Village, one: Villager, other: Villager, *paths: bytes) -> bytes:
    """The fid of an offer that has arrived."""
    transfer = await village.done(one.door.offer(other.chat, paths))
    await village.until(lambda: transfer.fid in other.transfers)
    return bytes(transfer.fid)


async def running(village: Village, one: Villager, other: Villager) -> bytes:
    """The fid of a large transfer from ``one`` that is under way."""
    fid = await offered(village, one, other, made(village, "large.bin", LARGE))
    await village.done(other.door.accept(fid))
    await village.until(lambda: is_in(TransferState.RUNNING, fid, one, other))
    return fid


def is_in(state: TransferState, fid: bytes, *villagers: Villager) -> bool:
    return all(one.transfers[fid].state is state for one in villagers)


def received(one: Villager) -> list[Path]:
    """The files under final names."""
    return [path for path in (one.roots.downloads / "ann").rglob("*") if path.is_file()]


def parts(one: Villager) -> list[Path]:
    return [path for path in (one.roots.downloads / ".partial").rglob("*") if path.is_file()]


@pytest_twisted.ensureDeferred
async def test_files_and_a_folder_cross(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    (village.directory / "photos" / "2026").mkdir(parents=True)
    for name, size in (("photos/a.jpg", 300_000), ("photos/2026/b.jpg", 1), ("photos/2026/empty", 0)):
        made(village, name, size)
    fid = await offered(
        village, ann, bob, os.fsencode(village.directory / "photos"), made(village, "notes.txt", 5_000_000)
    )
    assert bob.transfers[fid].total_files == 4
    assert bob.transfers[fid].total_bytes == 5_300_001
    await village.done(bob.door.accept(fid))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=60)
    saved = bob.roots.downloads / "ann"
    for name in ("photos/a.jpg", "photos/2026/b.jpg", "photos/2026/empty", "notes.txt"):
        assert (saved / name).read_bytes() == (village.directory / name).read_bytes()
    assert parts(bob) == []
    for one, state in ((ann, MessageState.DELIVERED), (bob, MessageState.RECEIVED)):
        await village.until(
            lambda one=one, state=state: (
                [(row.kind, row.state) for row in one.rows.values()] == [(MessageKind.FILE, state)]
            )
        )


@pytest_twisted.ensureDeferred
async def test_a_broken_line_is_mended_and_it_goes_on(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await running(village, ann, bob)
    village.net.cut(ann.machine.host, bob.machine.host)
    await village.until(lambda: is_in(TransferState.BROKEN, fid, ann, bob))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=120)
    assert parts(bob) == []
    assert (bob.roots.downloads / "ann" / "large.bin").read_bytes() == (village.directory / "large.bin").read_bytes()


@pytest_twisted.ensureDeferred
async def test_silence_breaks_it_off_until_the_other_is_back(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await running(village, ann, bob)
    host = bob.machine.host
    village.freeze(bob)
    await village.pass_time(80)
    assert is_in(TransferState.BROKEN, fid, ann)
    village.thaw(host)
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=1200, step=0.2)
    assert parts(bob) == []


@pytest.mark.parametrize("by_sender", [True, False])
@pytest_twisted.ensureDeferred
async def test_either_side_cancels_and_both_know(village: Village, by_sender: bool) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await running(village, ann, bob)
    await village.done((ann if by_sender else bob).door.cancel(fid))
    await village.until(lambda: is_in(TransferState.CANCELLED, fid, ann, bob))
    assert all(one.transfers[fid].reason for one in (ann, bob))
    assert ann.transfers[fid].reason != bob.transfers[fid].reason  # who did it
    await village.until(lambda: parts(bob) == [])
    await village.until(
        lambda: all(row.state is MessageState.REFUSED for one in (ann, bob) for row in one.rows.values())
    )
    await village.settle()
    assert len(village.net.lines(ann.machine.host, bob.machine.host)) <= 2


@pytest_twisted.ensureDeferred
async def test_who_stops_a_folder_of_small_files_strikes_nobody(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    (village.directory / "many").mkdir()
    for number in range(400):
        (village.directory / "many" / f"{number}.bin").write_bytes(b"\xff" * 3_000)  # no frame begins so
    fid = await offered(village, ann, bob, os.fsencode(village.directory / "many"))
    await village.done(bob.door.accept(fid))
    for stop, state in ((bob.door.pause, TransferState.PAUSED), (bob.door.cancel, TransferState.CANCELLED)):
        before = len(received(bob))
        await village.until(lambda before=before: len(received(bob)) > before, step=0.01)
        await village.done(stop(fid))
        await village.until(lambda state=state: is_in(state, fid, ann, bob))
        await village.pass_time(5)
        assert is_in(state, fid, ann, bob)
        if state is TransferState.PAUSED:
            await village.done(bob.door.resume(fid))


@pytest_twisted.ensureDeferred
async def test_an_offer_that_ends_at_once_has_a_row_that_says_so(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    offer = await village.done(ann.door.offer(bob.chat, (made(village, "a.txt", 10),)))
    ended = ann.door.cancel(offer.fid)  # before anything of bob is stored
    await village.done(ended)
    await village.until(lambda: [row.state for row in ann.rows.values()] == [MessageState.REFUSED])
    page = await village.done(ann.door.history(bob.chat))
    assert [row.state for row in page.messages] == [MessageState.REFUSED]


@pytest_twisted.ensureDeferred
async def test_a_refused_offer(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    await village.done(bob.door.refuse(fid))
    await village.until(lambda: is_in(TransferState.DECLINED, fid, ann, bob))
    with pytest.raises(LocalError):
        await village.done(bob.door.accept(fid))


@pytest_twisted.ensureDeferred
async def test_a_stranger_offers_fewer_files_than_somebody_we_wrote_to(village: Village) -> None:
    """F2: and neither gets anything onto the disk before consent, which names files and folders."""
    ann, bob = await village.people("ann", "bob")
    folder = village.directory / "many" / "deep"
    folder.mkdir(parents=True)
    for number in range(999):
        (folder / f"{number:03d}").write_bytes(b"hello")
    transfer = await village.done(ann.door.offer(bob.chat, (os.fsencode(folder.parent),)))
    await village.until(lambda: is_in(TransferState.DECLINED, transfer.fid, ann), within=30)
    told = ann.transfers[transfer.fid]
    assert told.code == messages.TOO_MANY
    assert told.reason.startswith("they take no more of you at a time")
    assert bob.transfers == {}
    await village.done(bob.door.say(ann.chat, "do send them"))
    await village.until(lambda: "do send them" in ann.texts(bob.peer))
    fid = await offered(village, ann, bob, os.fsencode(folder.parent))
    assert (bob.transfers[fid].total_files, bob.transfers[fid].total_folders) == (999, 2)
    assert received(bob) == []
    await village.done(bob.door.accept(fid))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=60)
    assert len(received(bob)) == 999


def furnished(village: Village) -> bytes:
    """A folder with a file whose name changes, a link and an empty folder."""
    top = village.directory / "top"
    (top / "void").mkdir(parents=True)
    (top / "a:b").write_bytes(b"hello")
    (top / "link").symlink_to("a:b")
    return os.fsencode(top)


@pytest_twisted.ensureDeferred
async def test_what_an_offer_holds_is_seen_before_consent(village: Village) -> None:
    """B2, B3, C12."""
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, furnished(village))
    assert ann.transfers[fid].details == OfferDetails(empty_folders=1, links=1)
    assert bob.transfers[fid].details == OfferDetails(empty_folders=1, links=1, renamed=1)
    page = await village.done(bob.door.offered_names(fid))
    assert [(name.path, name.original, name.is_folder) for name in page.names] == [
        ("top/a_b", "top/a:b", False),
        ("top/void", "", True),
    ]
    assert await village.done(bob.door.next_renamed(fid)) == 0
    await village.done(bob.door.accept(fid))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob))
    assert (bob.roots.downloads / "ann" / "top" / "void").is_dir()


@pytest_twisted.ensureDeferred
async def test_towards_a_program_that_knows_no_empty_folders_the_sender_is_told(
    village: Village, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatnet.peer.node.FEATURES", frozenset({messages.RESUME, messages.SKIP}))
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, furnished(village))
    await village.until(lambda: ann.transfers[fid].details.unsent_folders == 1)
    assert bob.transfers[fid].details == OfferDetails(renamed=1)
    await village.done(bob.door.accept(fid))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob))
    assert ann.transfers[fid].details.unsent_folders == 1
    assert not (bob.roots.downloads / "ann" / "top" / "void").exists()


@pytest_twisted.ensureDeferred
async def test_a_transfer_goes_on_without_the_registry(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await running(village, ann, bob)
    await village.kill_registry()
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=120)
    assert (bob.roots.downloads / "ann" / "large.bin").stat().st_size == LARGE


@pytest.mark.parametrize("by_sender", [True, False])
@pytest_twisted.ensureDeferred
async def test_one_who_quits_finds_his_transfers_again(village: Village, by_sender: bool) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await running(village, ann, bob)
    one, other = (ann, bob) if by_sender else (bob, ann)
    await one.stop()
    await village.until(lambda: is_in(TransferState.BROKEN, fid, other))
    one.start()
    await village.until(lambda: fid in one.transfers and is_in(TransferState.DONE, fid, ann, bob), within=120)
    assert parts(bob) == []
    assert (bob.roots.downloads / "ann" / "large.bin").read_bytes() == (village.directory / "large.bin").read_bytes()
    for row in (*ann.rows.values(), *bob.rows.values()):
        assert row.kind is MessageKind.FILE


@pytest_twisted.ensureDeferred
async def test_an_idle_link_that_is_put_down_leaves_the_offer(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    await village.pass_time(700)
    assert not ann.node.links.links
    assert is_in(TransferState.OFFERED, fid, ann, bob)
    await village.done(bob.door.accept(fid))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob), within=60)


@pytest_twisted.ensureDeferred
async def test_what_is_not_there_is_offered_to_nobody(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    key = bob.peer
    await bob.stop()
    await village.until(lambda: ann.online == set())
    with pytest.raises(LocalError) as refusal:
        await village.done(ann.door.offer(key, (os.fsencode(village.directory / "nothing"),)))
    assert refusal.value.code == "no-such-file"


# --- paths ---------------------------------------------------------------------------------------


def content(path: bytes) -> bytes:
    return Path(os.fsdecode(path)).read_bytes()


def write(path: bytes, data: bytes) -> None:
    Path(os.fsdecode(path)).write_bytes(data)


@pytest_twisted.ensureDeferred
async def test_a_download_folder_that_is_not_utf_8(village: Village) -> None:
    bob = village.villager("bob")
    downloads = os.path.join(os.fsencode(bob.roots.downloads), b"d\xff")
    bob.roots = replace(bob.roots, downloads=Path(os.fsdecode(downloads)))
    bob.start()
    ann = village.villager("ann").start()
    await village.until(lambda: ann.online == {"bob"} and bob.online == {"ann"})
    assert bob.me.downloads == downloads
    fid = await running(village, ann, bob)
    await bob.stop()
    await village.until(lambda: is_in(TransferState.BROKEN, fid, ann))
    bob.start()
    await village.until(lambda: fid in bob.transfers and is_in(TransferState.DONE, fid, ann, bob), within=120)
    saved = os.path.join(downloads, b"ann", b"large.bin")
    assert bob.transfers[fid].resumed_from > 0
    assert bob.transfers[fid].saved_to == saved
    assert content(saved) == (village.directory / "large.bin").read_bytes()
    await village.settle()
    (row,) = (await village.done(bob.door.history(ann.chat))).messages
    assert (row.kind, row.state, row.id) == (MessageKind.FILE, MessageState.RECEIVED, fid)
    assert row.reason == saved.decode(errors="replace")


@pytest_twisted.ensureDeferred
async def test_files_and_folders_whose_paths_are_not_utf_8(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    chosen = os.path.join(os.fsencode(village.directory), b"\xfe")
    os.mkdir(chosen)
    source = os.path.join(chosen, b"a\xff.txt")
    write(source, b"hello")
    fid = await offered(village, ann, bob, source)
    await village.done(bob.door.accept(fid, chosen))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob))
    saved = os.path.join(chosen, "a\ufffd.txt".encode())
    assert bob.transfers[fid].saved_to == saved
    assert content(saved) == b"hello"
    talk = os.path.join(chosen, b"talk.txt")
    exported = await village.done(ann.door.export(bob.chat, talk))
    assert (exported.path, exported.messages) == (talk, 1)


@pytest_twisted.ensureDeferred
async def test_a_relative_path_is_refused(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    ann, bob = await village.people("ann", "bob")
    fid = await offered(village, ann, bob, made(village, "a.txt", 10))
    monkeypatch.chdir(village.directory)  # where the file is: the peer's own directory must not count
    for asked in (
        lambda: ann.door.offer(bob.chat, (b"a.txt",)),
        lambda: ann.door.offer(bob.chat, (b"~/a.txt",)),
        lambda: ann.door.export(bob.chat, b"talk.txt"),
        lambda: bob.door.accept(fid, b"."),
    ):
        with pytest.raises(LocalError) as refusal:
            await village.done(asked())
        assert refusal.value.code == "relative-path"
    assert not (village.directory / "talk.txt").exists()
    assert bob.transfers[fid].state is TransferState.OFFERED


@pytest_twisted.ensureDeferred
async def test_a_long_text_is_kept_and_offered_as_a_file(village: Village) -> None:
    ann, bob = await village.people("ann", "bob")
    text = "é\n" * 10_000
    transfer = await village.done(ann.door.offer_text(bob.chat, text, "../long.txt"))
    kept = Path(os.fsdecode(ann.me.data_dir)) / "long-messages" / "long.txt"
    assert kept.read_text() == text
    assert [path.stat().st_mode & 0o777 for path in (kept.parent, kept)] == [0o700, 0o600]
    await village.until(lambda: transfer.fid in bob.transfers)
    await village.done(bob.door.accept(transfer.fid))
    await village.until(lambda: is_in(TransferState.DONE, transfer.fid, ann, bob))
    assert (bob.roots.downloads / "ann" / "long.txt").read_text() == text
    with pytest.raises(LocalError) as refusal:
        await village.done(ann.door.offer_text(bob.chat, "another", "long.txt"))
    assert refusal.value.code == "unwritable"
    assert kept.read_text() == text
    chat = bob.chat
    await bob.stop()
    await village.until(lambda: ann.online == set())
    waiting = await village.done(ann.door.offer_text(chat, text, "second.txt"))
    assert waiting.state is TransferState.WAITING
    assert {path.name for path in kept.parent.iterdir()} == {"long.txt", "second.txt"}


@pytest_twisted.ensureDeferred
async def test_files_come_to_a_disk_that_lacks_all_niceties(village: Village, monkeypatch: pytest.MonkeyPatch) -> None:
    """B7: no times, no sync, no allocation: both sides are told that they are there, and they are."""

    def lacking(*args: object, **how: object) -> None:
        raise OSError(errno.EINVAL, "not here")

    ann, bob = await village.people("ann", "bob")
    for call in ("utime", "fsync", "fdatasync", "posix_fallocate"):
        monkeypatch.setattr(os, call, lacking)
    small, large = made(village, "small.bin", 100_000), made(village, "large.bin", 6_000_000)
    fid = await offered(village, ann, bob, small, large)
    await village.done(bob.door.accept(fid))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob))
    assert sorted(path.stat().st_size for path in received(bob)) == [100_000, 6_000_000]


@pytest_twisted.ensureDeferred
async def test_a_chosen_folder_is_enough(village: Village) -> None:
    """B8: something else lies where the usual download folder should be."""
    ann, bob = await village.people("ann", "bob")
    there = village.directory / "there"
    there.mkdir()
    bob.roots.downloads.rmdir()
    bob.roots.downloads.write_text("a file of mine")
    fid = await offered(village, ann, bob, made(village, "notes.txt", 5_000))
    with pytest.raises(LocalError):
        await village.done(bob.door.accept(fid))
    await village.done(bob.door.accept(fid, os.fsencode(there)))
    await village.until(lambda: is_in(TransferState.DONE, fid, ann, bob))
    assert (there / "notes.txt").stat().st_size == 5_000
    assert bob.roots.downloads.read_text() == "a file of mine"
