"""Honest peers by the thousand, in one process of their own, beside an attack on a registry.

They are the load of the benchmark (``benchmarks/load.c``): TLS, HELLO, pings, and the list read
whole.  Whatever is done to the registry, it loses none of them.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from tests.campaigns.field import ROOT
from tests.campaigns.harness import Case, Figures, check

sys.path.append(str(ROOT / "benchmarks"))

WINDOW = 64  # logins under way at once


class Neighbours:
    """All of ``case.honest``; none is as good as some.  Who was quiet for so many seconds says that it lives."""

    def __init__(self, case: Case, quiet_seconds: float) -> None:
        self.count = case.honest
        self._quiet_seconds = quiet_seconds
        if self.count:
            from registry import Load, client
            from support import compiled

            clients = case.directory / "clients"
            clients.write_bytes(b"".join(map(client, range(self.count))))
            program = compiled("load.c", case.directory)
            self._load = Load(program, clients, case.directory / "load.out")
        self._came_again = False

    def come(self, port: int) -> None:
        """Log in, until each knows all; they stay."""
        if self.count:
            self._load.do("login", port, self.count, WINDOW)
            self._load.ask("stay", self._quiet_seconds)

    def come_again(self, port: int) -> None:
        """After they were lost; ``stayed`` waits for it."""
        if self.count:
            self._came_again = True
            self._load.ask("login", port, self.count, WINDOW)

    def stayed(self) -> Figures:
        """Failed if the registry has lost one."""
        if not self.count:
            return {}
        if self._came_again:
            self._load.answer()
            back = self._load.answer()
            return {"neighbours": self.count, "neighbours_back_s": round(back["seconds"], 1)}
        stayed = self._load.do("rest", 0) if self._load.lives() else {"lost": self.count}
        self._load.answer()
        check(not stayed["lost"], "honest peers were lost", lost=stayed["lost"])
        return {"neighbours": self.count, "neighbours_waited_ms": round(stayed.get("answer_worst_ms", 0))}

    def go(self) -> None:
        if self.count:
            self._load.stop()


@contextlib.contextmanager
def neighbours(case: Case, port: int, quiet_seconds: float = 20.0) -> Iterator[Neighbours]:
    """They are there, and go at the end."""
    those = Neighbours(case, quiet_seconds)
    try:
        those.come(port)
        yield those
    finally:
        those.go()
