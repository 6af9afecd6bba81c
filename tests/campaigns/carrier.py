"""A headless peer that a campaign lets carry files, and kills, as a process of its own.

    python -m tests.campaigns.carrier ROLE ORDERS [--weak WHAT] -- CHATPEER OPTIONS

``sender`` offers every file that appears in the directory ORDERS to the first person that it sees;
``receiver`` accepts every offer.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from twisted.internet.task import LoopingCall

from chatnet.core.events import Event, PeopleChanged, Transfer, TransferChanged, TransferState
from chatnet.core.messages import OfferedFile
from chatnet.peer.files import download, part_files

LOOK_SECONDS = 0.02
SPEED = 48 * 1_048_576  # bytes a second: a kill finds something under way
WEAKNESSES = ("trust-the-part",)


def weaken(what: str) -> None:
    """The control: a build that goes on with a part without reading it again."""
    if what != "trust-the-part":
        return
    honest = download.Download.end

    def reopened(
        self: part_files.PartFiles, index: int, file: OfferedFile, offset: int
    ) -> tuple[part_files.PartFile, Any]:
        name = self.name_of(index)
        fd = os.open(name, os.O_RDWR, dir_fd=self.folder)
        status = os.fstat(fd)
        os.lseek(fd, offset, os.SEEK_SET)
        return part_files.PartFile(index, file, name, fd, (status.st_dev, status.st_ino), offset, offset), _Whatever()

    def end(self: download.Download, digest: bytes) -> None:
        if isinstance(self._digest, _Whatever):
            self._digest.expected = digest
        honest(self, digest)

    part_files.PartFiles.reopened = reopened  # type: ignore[method-assign]
    download.Download.end = end  # type: ignore[method-assign]


class _Whatever:
    """The digest of what was not read: the one that is expected."""

    expected = b""

    def update(self, data: bytes) -> None: ...

    def digest(self) -> bytes:
        return self.expected


class Carrier:
    """An ordinary client of the door."""

    def __init__(self, door: Any, role: str, orders: Path) -> None:
        self._door, self._role, self._orders = door, role, orders
        self._to: bytes | None = None
        self._known: set[str] = set()
        self._looking = LoopingCall(self._look)
        door.subscribe(self._heard)

    def _heard(self, event: Event) -> None:
        if isinstance(event, TransferChanged):
            self._take(event.transfer)
        elif isinstance(event, PeopleChanged) and self._to is None and event.people:
            self._to = event.people[0].peer
            if self._role == "sender":
                limited = self._door.set_speed_limits(SPEED, None)
                limited.addCallback(lambda _: self._looking.start(LOOK_SECONDS))

    def _take(self, transfer: Transfer) -> None:
        self._known.add(transfer.title)
        if self._role == "receiver" and transfer.state is TransferState.OFFERED:
            self._door.accept(transfer.fid).addErrback(lambda failure: None)  # taken already, or it ended

    def _look(self) -> None:
        for path in sorted(self._orders.iterdir()):
            if path.name not in self._known and not path.name.startswith("."):
                self._known.add(path.name)
                offering = self._door.offer(self._to, (os.fsencode(path),))
                offering.addErrback(lambda failure, name=path.name: self._known.discard(name))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("sender", "receiver"))
    parser.add_argument("orders", type=Path)
    parser.add_argument("--weak", choices=WEAKNESSES)
    border = sys.argv.index("--")
    given = parser.parse_args(sys.argv[1:border])
    if given.weak:
        weaken(given.weak)

    from twisted.internet import reactor as any_reactor

    from chatnet.programs.peer import Options, makeService

    reactor: Any = any_reactor
    options = Options()
    options.parseOptions(sys.argv[border + 1 :])
    service: Any = makeService(options)
    Carrier(service.peer, given.role, given.orders)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    service.startService()
    reactor.run()


if __name__ == "__main__":
    main()
