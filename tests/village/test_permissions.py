"""Whatever the umask: what is ours is ours alone, and what is received follows it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted

from chatnet.core.errors import LocalError
from chatnet.core.events import MessageState, TransferState
from chatnet.host.logging import ProgramLog
from chatnet.net.identity import KEY_FILE
from chatnet.programs.registry import leave_join
from tests.support.village import Village, Villager
from tests.village.test_files import LARGE, made, offered


@pytest.fixture(params=[0o000, 0o077, 0o027])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def looser(*roots: Path) -> list[str]:
    """What others could open, or we could not, among all that is there."""
    found = []
    for root in roots:
        for path in [root, *root.rglob("*")]:
            facts = path.lstat()
            wanted = 0o700 if stat.S_ISDIR(facts.st_mode) else 0o600
            if stat.S_IMODE(facts.st_mode) != wanted:
                found.append(f"{stat.filemode(facts.st_mode)} {path.relative_to(root.parent)}")
    return found


def names(root: Path) -> set[str]:
    return {path.name for path in root.rglob("*") if path.is_file()}


async def busy_pair(village: Village) -> tuple[Villager, Villager, bytes]:
    """Two who have talked; a file has crossed, and a large one is on its way."""
    ann, bob = await village.people("ann", "bob")
    await village.done(ann.door.say(bob.chat, "hello"))
    await village.until(lambda: ann.states(bob.peer) == [MessageState.DELIVERED])
    small = await offered(village, ann, bob, made(village, "small.bin", 100))
    await village.done(bob.door.accept(small))
    await village.until(lambda: bob.transfers[small].state is TransferState.DONE)
    large = await offered(village, ann, bob, made(village, "large.bin", LARGE))
    await village.done(bob.door.accept(large))
    await village.until(lambda: bob.transfers[large].state is TransferState.RUNNING)
    return ann, bob, large


@pytest_twisted.ensureDeferred
async def test_profile_parts_and_exports_are_private(umask: int, village: Village) -> None:
    ann, bob, large = await busy_pair(village)
    for one in (ann, bob):
        assert looser(one.roots.data, one.roots.state) == []
    assert {"identity.key", "chatnet.db", "chatnet.db-wal", "chatnet.db-shm"} <= names(bob.roots.data)
    partial = bob.roots.downloads / ".partial"
    await village.until(lambda: len(names(partial)) == 1)
    assert looser(partial) == []
    (saved,) = (bob.roots.downloads / "ann").iterdir()
    assert stat.S_IMODE(saved.parent.stat().st_mode) == 0o777 & ~umask
    assert stat.S_IMODE(saved.stat().st_mode) == 0o666 & ~umask
    assert names(bob.roots.downloads / "ann") == {"small.bin"}
    await village.done(bob.door.cancel(large))

    exports = village.directory / "exports"
    exports.mkdir(0o700)
    exports.chmod(0o700)
    await village.done(ann.door.export(bob.chat, os.fsencode(exports / "talk.txt")))
    assert names(exports) == {"talk.txt"}
    assert looser(exports) == []


@pytest_twisted.ensureDeferred
async def test_the_registry_s_files_are_private(umask: int, village: Village) -> None:
    await village.people("ann")
    for suffix in ("", "-wal", "-shm"):
        path = village.directory / f"registry.db{suffix}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_join_file_is_private_and_whole(umask: int, tmp_path: Path) -> None:
    place = tmp_path / "join"
    for text in ("chatnet:127.0.0.1:9900/AAAA", "chatnet:127.0.0.1:9901/BBBB"):
        leave_join(place, text)
        assert place.read_text() == f"{text}\n"
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert names(tmp_path) == {"join"}


def test_the_log_and_those_before_it_are_private(umask: int, tmp_path: Path) -> None:
    log = ProgramLog()
    log.open(tmp_path / "log")
    log({"log_format": "one", "log_time": 1.0})
    assert log._file is not None
    log._file.rotate()
    log({"log_format": "two", "log_time": 2.0})
    log.close()
    assert names(tmp_path) == {"log", "log.1"}
    for name in ("log", "log.1"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o620])
@pytest_twisted.ensureDeferred
async def test_a_loose_key_is_refused(village: Village, mode: int) -> None:
    (ann,) = await village.people("ann")
    key = ann.node.places.data / KEY_FILE
    await ann.stop()
    key.chmod(mode)
    one = village.villager("ann").start(log_in=False)
    with pytest.raises(LocalError) as refusal:
        await village.done(one.door.login("ann", "tcp:127.0.1.1:9900"))
    assert refusal.value.code == "key"
    assert f"chmod 600 {key}" in refusal.value.text
    assert stat.S_IMODE(key.stat().st_mode) == mode
