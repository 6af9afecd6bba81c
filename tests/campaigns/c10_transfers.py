"""C10: SIGKILL and transfers.

A sender and a receiver, real processes with real disks, are killed at random moments of transfers
of random sizes.  Each transfer then ends by itself: the file is identical, under one name only, and
no part is left; until then there is no file at all.  What had been written and was not marked, so
that it is sent again, is less than 4 MiB at each kill.  A byte flipped in a part is found.
Control: a receiver that goes on with a part without reading it again.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from blake3 import blake3

from tests.campaigns.c09_kills import Registry
from tests.campaigns.harness import Case, Figures, check, main

NAME = "c10_transfers"
SIZES = {"ci": 24, "gate": 300, "nightly": 1_000}
UNIT = "transfers"

MIB = 1_048_576
WINDOW = 4 * MIB
PATIENCE_SECONDS = 90.0
LOOK_SECONDS = 0.02
CHUNK = 65_536
CORNERS = (0, 1, CHUNK - 1, CHUNK, CHUNK + 1, MIB - 1, MIB, MIB + 1, WINDOW - 1, WINDOW + 1)
DAMAGED = "a damaged part became a file"
SHOWN = (DAMAGED,)
ENDED = ("done", "failed", "cancelled", "declined")
SMALL_RUN = 30  # up to so many transfers the large ones are smaller


class Carried:
    """One peer that is started again and again."""

    def __init__(self, role: str, join: str, place: Path, weak: str = "") -> None:
        self.role, self.join, self.place, self.weak = role, join, place, weak
        self.database = place / "data" / role / "chatnet.db"
        self.downloads = place / f"{role}-downloads"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.campaigns.carrier", self.role, str(self.place / "orders")]
        command += ["--weak", self.weak] if self.weak else []
        command += ["--", "--name", self.role, "--registry", self.join, "--headless"]
        command += ["--data", str(self.place / "data"), "--state", str(self.place / "state")]
        command += ["--downloads", str(self.downloads), "--listen", "tcp:0:interface=127.0.0.1"]
        command += ["--limit", "offers_per_minute=1000"]
        with open(self.place / f"{self.role}.err", "ab") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(15)
        self.kill()

    def row(self, name: str) -> tuple[str, str, int, bool]:
        """State, code, bytes marked as safe and whether it is final, of the transfer of this file."""
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection,
        ):
            found = connection.execute(
                "SELECT state, code, coalesce(synced, 0), coalesce(done, 0)"
                " FROM transfer LEFT JOIN transfer_file USING (t) WHERE title = ?",
                (name,),
            ).fetchone()
            if found is not None:
                return found[0], found[1], found[2], bool(found[3])
        return "", "", 0, False

    def parts(self) -> list[Path]:
        folder = self.downloads / ".partial"
        return sorted(folder.iterdir()) if folder.exists() else []

    def finals(self) -> dict[str, Path]:
        """Also of the folder of a sender whose name was not known yet."""
        folders = [folder for folder in self.downloads.glob("*") if folder.name != ".partial"]
        return {path.name: path for folder in folders for path in folder.iterdir()}


class Ordeal:
    """All transfers of one run, one after the other."""

    def __init__(self, case: Case, weak: str, flips: float) -> None:
        self.chance, self.place, self.n, self.flips = case.chance, case.directory, case.n, flips
        self.figures: Figures = {"kills": 0, "flipped": 0, "fetched_anew": 0, "resent_most": 0, "bytes": 0}
        (self.place / "orders").mkdir()
        self.registry = Registry(self.place)
        join = self.registry.join()
        self.sender = Carried("sender", join, self.place)
        self.receiver = Carried("receiver", join, self.place, weak)

    def run(self) -> Figures:
        try:
            self.receiver.start()
            self.sender.start()
            for number in range(self.n):
                self._one(f"file{number}.bin")
            return self.figures
        finally:
            self.sender.stop()
            self.receiver.stop()
            self.registry.stop()

    def _size(self) -> int:
        if self.flips == 1.0:
            return self.chance.randint(12 * MIB, 24 * MIB)
        if self.chance.random() < 0.4:
            return self.chance.choice(CORNERS)
        return self.chance.randint(1, (24 if self.n <= SMALL_RUN else 64) * MIB)

    def _one(self, name: str) -> None:
        size = self._size()
        data = random.Random(self.chance.random()).randbytes(size)
        hidden = self.place / "orders" / f".{name}"
        hidden.write_bytes(data)
        hidden.rename(self.place / "orders" / name)
        self.figures["bytes"] += size
        flipped = False
        for _ in range(self.chance.randint(0, 3) if self.flips < 1 else 1):
            self._until(lambda: self.sender.row(name)[0] != "", "it was not offered", name)
            if self.flips == 1.0:
                self._until(lambda: self.receiver.row(name)[2] > 0, "no mark was made", name)
            elif self.chance.random() < 0.7:  # else whatever the peers do just then
                self._until(lambda: self.receiver.row(name)[0] in ("running", *ENDED), "it did not begin", name)
            victims = self.chance.choice([(self.sender,), (self.receiver,), (self.sender, self.receiver)])
            if self.flips == 1.0:
                victims = (self.receiver,)
            self._wait(name, self.chance.uniform(0.0, 0.4))
            for victim in victims:
                victim.kill()
                self.figures["kills"] += 1
            if self.receiver in victims:
                self._look_at_the_dead(name, data)
                flipped = flipped or self._flip(name)
            for victim in victims:
                victim.start()
        both = (self.sender, self.receiver)
        self._until(lambda: all(peer.row(name)[0] in ENDED for peer in both), "it did not end", name)
        self._judge(name, data, flipped)

    def _look_at_the_dead(self, name: str, data: bytes) -> None:
        """What the killed receiver left: no half file, and little that must be sent again."""
        _, _, synced, done = self.receiver.row(name)
        final = self.receiver.finals().get(name)
        check(final is None or final.read_bytes() == data, "a half file under its final name", name=name)
        if not done and final is None:
            for part in self.receiver.parts():
                written = synced
                with open(part, "rb") as opened:
                    opened.seek(synced)
                    while (piece := opened.read(4096)) and piece == data[written : written + len(piece)]:
                        written += len(piece)
                self.figures["resent_most"] = max(self.figures["resent_most"], written - synced)
                check(written - synced <= WINDOW, "more than the window was not marked", name=name, written=written)

    def _flip(self, name: str) -> bool:
        """One byte in what is marked as safe."""
        _, _, synced, done = self.receiver.row(name)
        if done or name in self.receiver.finals() or not synced or self.chance.random() >= self.flips:
            return False
        (part,) = self.receiver.parts()
        with open(part, "r+b") as opened:
            at = self.chance.randrange(synced)
            opened.seek(at)
            byte = opened.read(1)
            opened.seek(at)
            opened.write(bytes([byte[0] ^ 1]))
        self.figures["flipped"] += 1
        return True

    def _judge(self, name: str, data: bytes, flipped: bool) -> None:
        here, there = self.sender.row(name), self.receiver.row(name)
        finals = self.receiver.finals()
        copies = [found for found in finals if found.startswith(name.removesuffix(".bin") + " (")]
        check(not copies, "a doubled file", name=name, copies=copies)
        self._until(lambda: not self.receiver.parts(), "a part was left", name)
        if flipped and name in finals:  # a part that was whole is read again at the start, and fetched anew
            check(finals[name].read_bytes() == data, DAMAGED, name=name)
            self.figures["fetched_anew"] += 1
        elif flipped:
            check(here[:2] == there[:2] == ("failed", "digest"), "a damaged part was not said", here=here, there=there)
            return
        check(here[0] == there[0] == "done", "it did not arrive", name=name, here=here, there=there)
        check(name in finals, "no file", name=name)
        same = blake3(finals[name].read_bytes()).digest() == blake3(data).digest()
        check(same, "not what was sent", name=name)
        finals[name].unlink()
        (self.place / "orders" / name).unlink()

    def _wait(self, name: str, seconds: float) -> None:
        """So long, or until it has ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.receiver.row(name)[0] != "done":
            time.sleep(LOOK_SECONDS / 4)

    def _until(self, holds: object, why: str, name: str) -> None:
        assert callable(holds)
        until = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            late = time.monotonic() > until
            check(not late, why, name=name, sender=self.sender.row(name), receiver=self.receiver.row(name))
            time.sleep(LOOK_SECONDS)


def run(case: Case) -> Figures:
    figures = Ordeal(case, "", 0.2).run()
    check(figures["kills"] > 0, "nobody was killed")
    return figures


def control(case: Case) -> Figures:
    case.n = min(case.n, 3)
    return Ordeal(case, "trust-the-part", 1.0).run()


if __name__ == "__main__":
    main(sys.modules[__name__])
