"""C16: the permissions of everything that is made.

A registry and two peers, real processes, run under umask 000, 077 and others; they talk, a file
crosses and a conversation is exported.  All the while everything in their directories is looked at:
files are 0600, directories 0700, also while they are made.  What is received follows the umask once it
is whole, and lies in a folder of mode 0700 before.  Then the key of each is opened to others:
it must not start, and must say why.  Control: a database that leaves its mode to the umask.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chatnet.core.events import Event, PeopleChanged, TransferChanged, TransferState
from chatnet.host import database
from tests.campaigns.c09_kills import Registry
from tests.campaigns.harness import Case, Figures, check, main

NAME = "c16_permissions"
UMASKS = (0o000, 0o077, 0o027, 0o022, 0o177, 0o777)
LOOSE = (0o640, 0o604, 0o660, 0o644, 0o620, 0o601)
SIZES = {"ci": 2, "gate": 4, "nightly": 4}
UNIT = "umasks"
SHOWN = ("others may open it",)

FILE_BYTES = 32 * 1024 * 1024
PATIENCE_SECONDS = 30.0
LOOK_SECONDS = 0.01


@contextlib.contextmanager
def umask(mode: int) -> Iterator[None]:
    before = os.umask(mode)
    try:
        yield
    finally:
        os.umask(before)


class Party:
    """One peer in a process of its own, that gives a file or takes it; its starter calls ``stop``."""

    def __init__(self, name: str, join: str, place: Path, mask: int, weak: bool = False) -> None:
        self.place, self.words = place, place / f"{name}.words"
        self.key = place / "data" / name / "identity.key"
        command = [sys.executable, "-m", "tests.campaigns.c16_permissions", "--party", name, str(place)]
        command += ["weak" if weak else "sound", "--", "--name", name, "--registry", join, "--headless"]
        command += ["--data", str(place / "data"), "--state", str(place / "state")]
        command += ["--downloads", str(place / "downloads"), "--listen", "tcp:0:interface=127.0.0.1"]
        with open(self.words, "wb") as words, umask(mask):
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=words, stderr=words)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def party(name: str, place: Path, weak: bool, options: list[str]) -> None:
    """The program of the process: ``giver`` offers, says and exports; ``taker`` accepts."""
    from twisted.internet import reactor as any_reactor

    from chatnet.programs import peer as tap

    if weak:
        database._make_private_database = lambda path: path.parent.mkdir(parents=True, exist_ok=True)
    reactor: Any = any_reactor
    parsed = tap.Options()
    parsed.parseOptions(options)
    service: Any = tap.makeService(parsed)
    door, begun = service.peer, []

    def exported(peer: bytes) -> None:
        done = door.export(peer, os.fsencode(place / "exports" / "talk.txt"))
        done.addCallback(lambda _: (place / f"{name}.done").touch())
        done.addErrback(lambda failure: print(failure.getErrorMessage(), flush=True))

    def heard(event: Event) -> None:
        if name == "giver" and isinstance(event, PeopleChanged) and event.people and not begun:
            begun.append(event.people[0].peer)
            door.say(begun[0], "a word before").addErrback(print)
            door.offer(begun[0], (os.fsencode(place / "gift.bin"),)).addErrback(print)
        elif isinstance(event, TransferChanged):
            transfer = event.transfer
            if transfer.state is TransferState.OFFERED and not transfer.outgoing:
                door.accept(transfer.fid).addErrback(print)
            elif transfer.state is TransferState.DONE and name == "giver" and len(begun) == 1:
                begun.append(transfer.peer)
                exported(transfer.peer)

    door.subscribe(heard)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    service.startService()
    reactor.run()


def look(place: Path, seen: set[str], mask: int) -> None:
    """Failed when something is there that others may open, or its owner may not."""
    received = place / "downloads"
    roots = [place / "data", place / "state", place / "exports", *(place / "downloads").glob("*")]
    for root in roots:
        for path in [root, *root.rglob("*")]:
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue
            if path in (place / "data", place / "state"):
                continue  # the user's own, which the tests of the places look at
            private, usual = (0o700, 0o777) if stat.S_ISDIR(mode) else (0o600, 0o666)
            allowed = {private}
            if path.is_relative_to(received) and path.name != ".partial":
                allowed.add(private | (usual & ~mask))
            shown = str(path.relative_to(place))
            seen.add(".part" if shown.endswith(".part") else shown)
            check(stat.S_IMODE(mode) in allowed, "others may open it", path=shown, mode=stat.filemode(mode))


def one_umask(place: Path, mask: int, weak: bool) -> set[str]:
    place.mkdir()
    (place / "exports").mkdir(0o700)
    with open(place / "gift.bin", "wb") as gift:
        gift.write(os.urandom(1024) * (FILE_BYTES // 1024))
    seen: set[str] = set()
    with umask(mask):
        registry = Registry(place)
    parties: list[Party] = []
    try:
        join = registry.join()
        parties = [Party(name, join, place, mask, weak) for name in ("taker", "giver")]
        until = time.monotonic() + PATIENCE_SECONDS
        while not (place / "giver.done").exists() or not any("talk.txt" in one for one in seen):
            look(place, seen, mask)
            words = [one.words.read_text()[-500:] for one in parties]
            check(time.monotonic() < until, "the file did not cross", umask=oct(mask), words=words)
            time.sleep(LOOK_SECONDS)
        look(place, seen, mask)
        for one in parties:
            one.stop()
        look(place, seen, mask)
        (gift,) = (place / "downloads" / "giver").iterdir()
        mode = stat.S_IMODE(gift.stat().st_mode)
        check(mode == 0o600 | (0o666 & ~mask), "a received file does not follow the umask", mode=oct(mode))
        if mask == 0:
            refused(parties[0], join, place)
    finally:
        for one in parties:
            one.stop()
        registry.stop()
    return seen


def refused(sound: Party, join: str, place: Path) -> None:
    """With a key that others may open it does not start, and leaves it as it is."""
    for mode in LOOSE:
        sound.key.chmod(mode)
        one = Party("taker", join, place, 0)
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.process.wait(PATIENCE_SECONDS)
            check(one.process.poll() is not None, "it runs with a loose key", mode=oct(mode))
            words = one.words.read_text()
            check("chmod 600" in words, "it does not say what is wrong with the key", words=words[-500:])
            check(stat.S_IMODE(sound.key.stat().st_mode) == mode, "the key's mode was changed")
        finally:
            one.stop()
    sound.key.chmod(0o600)


def endure(case: Case, weak: bool) -> Figures:
    seen: set[str] = set()
    for mask in UMASKS[: case.n]:
        seen |= one_umask(case.directory / f"{mask:03o}", mask, weak)
    for kind in ("identity.key", "chatnet.db-wal", ".part", "gift.bin", "talk.txt", "join", "registry"):
        check(any(kind in one for one in seen), "something was never seen: nothing is proven", kind=kind)
    return {"umasks": case.n, "kinds_of_files": len(seen), "loose_keys_refused": len(LOOSE)}


def run(case: Case) -> Figures:
    return endure(case, weak=False)


def control(case: Case) -> Figures:
    return endure(case, weak=True)


if __name__ == "__main__":
    if "--party" in sys.argv:
        border = sys.argv.index("--")
        party(sys.argv[2], Path(sys.argv[3]), sys.argv[4] == "weak", sys.argv[border + 1 :])
    else:
        main(sys.modules[__name__])
