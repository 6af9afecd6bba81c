"""C21: a terminal that stops reading.

A peer with the real console on a pty; its reader stops at random for seconds, as a suspended terminal or
a stalled ssh does, while another peer says one thing after the other and offers files.  Every message is
acknowledged within a second, every transfer is done before anybody reads on, the newest screen is drawn
once the terminal reads again, and no memory grows.  In the end the peer is told to go while nobody
reads: it goes, and the terminal is whole.  Control: a blocking write.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from tests.campaigns.c20_pauses import REGISTRY, Member
from tests.campaigns.harness import REQUESTS_FAR, Case, Figures, Stopwatch, check, main, memory_kb
from tests.support.stage import Stage, Terminal

NAME = "c21_terminal"
SIZES = {"ci": 3, "gate": 60, "nightly": 600}
UNIT = "stalls"
TIMED = True
LATE = "a message waited for the terminal"
SHOWN = (LATE,)

COLUMNS, ROWS = 120, 40
SHORTEST, LONGEST = 1.0, 4.0  # seconds that nobody reads
GAP_SECONDS = 0.03
WORDS = 7  # of a message, so that every row of the screen changes
ACKNOWLEDGED_SECONDS = 1.0
TRANSFER_SECONDS = 10.0
SHOWN_SECONDS = 3.0
FILE_BYTES = 1_048_576
GROWTH_KB = 10_240  # of the peer, in the last two thirds of all stalls
END_SECONDS = 10.0


class Talk:
    """What bob says, and what came of it."""

    def __init__(self, bob: Member) -> None:
        self.bob = bob
        self.number = 0
        self.said: dict[int, float] = {}  # by row: when it was stored
        self.delivered: dict[int, float] = {}
        self.ended: dict[str, str] = {}  # transfers, by title

    def say(self) -> None:
        self.number += 1
        self.bob.tell("say", to="ann", number=self.number, words=WORDS)

    def look(self) -> None:
        for line in self.bob.lines():
            if line["what"] == "done" and line["do"] == "say":
                self.said[line["n"]] = line["at"]
            elif line["what"] == "row" and line["state"] == "delivered":
                self.delivered[line["n"]] = line["at"]
            elif line["what"] == "transfer" and line["state"] in ("done", "failed", "declined", "cancelled"):
                self.ended[line["title"]] = line["state"]
            elif line["what"] == "failed":
                check(False, "bob could not do what he was told", words=line["why"])

    def waiting(self) -> int:
        return self.number - len(self.delivered.keys() & self.said.keys())  # the row of a file is delivered too

    def longest_wait(self, rows: set[int]) -> float:
        """Seconds from storing to delivery."""
        return max(self.delivered[n] - self.said[n] for n in rows & self.said.keys())


class Session:
    """Ann's console, bob, and a reader that stops."""

    def __init__(self, case: Case, weak: str = "") -> None:
        self.chance = case.chance
        place = case.directory / "stage"
        place.mkdir()
        (place / "routes").write_text("{}")
        self.stage = Stage(place)
        net = f"127.{20 + os.getpid() % 200}"
        self.registry = Member(REGISTRY, place, f"{net}.0", 1)
        self.registry.start()
        written = self.registry.home / "state" / "registry" / "join"
        self.stage.until(written.exists, "the registry wrote its join string")
        join = written.read_text().strip()
        command = ["-m", "tests.campaigns.subject", "peer", str(place / "ann.figures"), "--accept", "--console"]
        command += ["--weak", weak] if weak else []
        command += ["--", "--name", "ann", "--registry", join, "--listen", "tcp:0:interface=127.0.0.1"]
        for limit in ("offers_per_minute=1000", *REQUESTS_FAR):
            command += ["--limit", limit]
        self.ann: Terminal = self.stage.terminal(*command, profile="ann", size=(COLUMNS, ROWS), program=sys.executable)
        self.bob = Member("bob", place, f"{net}.1", 1)
        self.bob.start(join)
        self.talk = Talk(self.bob)
        self.worst_s = self.worst_shown_s = 0.0

    def begin(self) -> None:
        self.ann.shows("registry up · 1 peer")
        self.ann.enter("/msg bob")
        self.ann.shows("bob>")
        self.talk.say()
        self.ann.shows("number 1")

    def stall(self, number: int) -> None:
        """Nobody reads for some seconds, and all goes on."""
        title = f"file{number}.bin"
        path = self.bob.place / title
        path.write_bytes(random.Random(number).randbytes(FILE_BYTES))
        self._talk_for(0.2)
        self.ann.is_read = False
        before = set(self.talk.delivered)
        began = time.monotonic()
        waited = Stopwatch(self.ann.popen.pid, self.bob.pid)
        self._talk_for(self.chance.uniform(SHORTEST, LONGEST), title)
        while self.talk.waiting() or title not in self.talk.ended:
            self.talk.look()
            late = waited.seconds() > LONGEST + TRANSFER_SECONDS
            check(not late or not self.talk.waiting(), LATE, waiting=self.talk.waiting(), stall=number)
            check(not late, "a transfer waited for the terminal", stall=number)
            time.sleep(GAP_SECONDS)
        check(self.talk.ended[title] == "done", "the transfer failed", state=self.talk.ended[title])
        queued = time.monotonic() - began - waited.seconds()  # what other programs of this machine took
        longest = self.talk.longest_wait(set(self.talk.delivered) - before)
        self.worst_s = max(self.worst_s, longest)
        check(longest - queued <= ACKNOWLEDGED_SECONDS, LATE, seconds=longest, queued=queued, stall=number)
        self.ann.is_read = True
        again = Stopwatch(self.ann.popen.pid)
        self.stage.until(lambda: f"number {self.talk.number} " in self.ann.text, "the newest screen is drawn", 20)
        self.worst_shown_s = max(self.worst_shown_s, again.seconds())
        check(again.seconds() <= SHOWN_SECONDS, "the newest screen comes late", seconds=again.seconds())
        path.unlink()

    def _talk_for(self, seconds: float, title: str = "") -> None:
        """Say one thing after the other; offer a file in the middle."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.talk.say()
            self.talk.look()
            if title and time.monotonic() > end - seconds / 2:
                self.bob.tell("offer", to="ann", path=str(self.bob.place / title))
                title = ""
            if self.ann.is_read:
                self.ann.look()
            time.sleep(GAP_SECONDS)

    def leave(self) -> None:
        """Told to go while nobody reads."""
        self.ann.is_read = False
        self._talk_for(SHORTEST)
        began = time.monotonic()
        self.ann.signal(signal.SIGTERM)
        while self.ann.lives:
            check(time.monotonic() - began < END_SECONDS, "it does not end while the terminal is not read")
            time.sleep(GAP_SECONDS)
        self.ann.is_read = True
        self.ann.is_restored()

    def close(self) -> None:
        self.stage.close()
        for member in (self.bob, self.registry):
            member.kill()


def endure(case: Case, weak: str = "") -> Figures:
    session = Session(case, weak)
    try:
        session.begin()
        first = 0
        for number in range(case.n):
            session.stall(number)
            if number == case.n // 3:
                first = memory_kb(session.ann.popen.pid)
        growth = memory_kb(session.ann.popen.pid) - first
        check(growth <= GROWTH_KB, "memory grew", growth_kb=growth)
        words = (Path(session.stage.state) / "ann" / "log").read_text()
        check("Traceback" not in words, "an error was logged", words=words[-2000:])
        session.leave()
    finally:
        session.close()
    return {
        "said": session.talk.number,
        "transfers": len(session.talk.ended),
        "longest_ack_s": round(session.worst_s, 2),
        "newest_screen_after_s": round(session.worst_shown_s, 2),
        "growth_kb": growth,
    }


def run(case: Case) -> Figures:
    return endure(case)


def control(case: Case) -> Figures:
    return endure(case, weak="blocking-write")


if __name__ == "__main__":
    main(sys.modules[__name__])
