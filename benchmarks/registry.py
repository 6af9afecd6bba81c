"""How a registry bears many peers: a storm of logins, one who joins, one who leaves, a restart, memory.

For each number N of --n a round is, on a registry with empty places:

    storm      N peers log in, --window of them at a time, until everyone knows everyone; their names
               are new, so each is committed
    join       one more logs in: from its HELLO until the last of the others was told; the median
               of --joins
    leave      it says goodbye: the same
    restart    SIGTERM, a new registry on the same places and port, and all come back at once with
               the cursors they had: until everyone knows everyone again

The registry is a real process, with everything on; the peers are one other process in C (load.c),
which does no more than TLS 1.3 with a certificate, HELLO, pings, and reading the list whole.
``answer_*`` is how soon the registry answers the ping of one of the peers meanwhile: its greatest
is what others see of a stall of its reactor, with the load's own delay in it.

The result is one line of JSON on standard output; how it goes is told on standard error.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import hub
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from support import (
    LISTEN,
    Load,
    Registry,
    Sample,
    compiled,
    cpu_seconds,
    in_turn,
    memory_mb,
    parser,
    report,
    stopped_after,
    summary,
    workplace,
)

from chatnet.core.limits import RegistryLimits
from chatnet.core.messages import RESUME, ROLE_REGISTRY, VERSION, Hello, VersionRange, encode
from chatnet.core.records import Endpoint, sign_record
from chatnet.net.certificate import certificate_of
from chatnet.net.identity import Identity

PORT = 40_000
HELLO_NILS = b"\xc0\xc0\xc0"  # since, fid and token: load.c puts a cursor in


def client(number: int) -> bytes:
    """One peer as load.c reads it."""
    identity = Identity(Ed25519PrivateKey.generate())
    certificate = certificate_of(identity.private_key).public_bytes(Encoding.DER)
    addresses = [Endpoint(bytes([10, 1, number >> 8 & 255, number & 255]), PORT), Endpoint(bytes([127, 0, 0, 1]), PORT)]
    name = f"peer{number:05d}"
    issued_ms = int(time.time() * 1000)
    record = sign_record(identity.public_key, identity.sign, name, addresses, 1, issued_ms)
    versions = VersionRange(VERSION, VERSION)
    hello = encode(Hello(versions, [RESUME], ROLE_REGISTRY, os.urandom(16), name, record))
    assert hello.endswith(HELLO_NILS)
    parts = [identity.private_key.private_bytes_raw(), bytes(identity.peer_id)]
    parts += [len(part).to_bytes(2, "big") + part for part in (certificate, hello)]
    return b"".join(parts)


class Round:
    """One round with ``n`` peers."""

    def __init__(self, options: argparse.Namespace, place: Path, program: Path, clients: Path, n: int) -> None:
        self._options = options
        self._place = place
        self._load = partial(Load, program, clients, place / "load.out")
        self._n = n
        self._sample: Sample = {}

    def run(self) -> Sample:
        self._sample = {}
        with tempfile.TemporaryDirectory(prefix="round-", dir=self._place) as made:
            load = self._load()
            with stopped_after(load):
                registry = self._start(Path(made), LISTEN)
                with stopped_after(registry):
                    empty_mb = memory_mb(registry.pid, "VmRSS")
                    self._log_in("storm", registry, load)
                    self._sample["kb_each"] = (memory_mb(registry.pid, "VmRSS") - empty_mb) * 1024 / self._n
                    self._come_and_go(registry, load)
                    load.ask("lost")
                    registry.stop()
                    load.answer()
                self._sample["peak_mb_registry"] = registry.peak_mb
                registry = self._start(Path(made), LISTEN.replace(":0:", f":{registry.port}:"))
                with stopped_after(registry):
                    self._log_in("restart", registry, load)
        sample = self._sample
        sample["restart_bytes_share"] = sample["restart_mb_told"] / sample["storm_mb_told"]
        return sample

    def _start(self, place: Path, listen: str) -> Registry:
        return Registry(place, changed_limits(self._options, self._n), listen)

    def _log_in(self, phase: str, registry: Registry, load: Load) -> None:
        used = cpu_seconds(registry.pid)
        answer = load.do("login", registry.port, self._n, self._options.window)
        answer["cpu_s_registry"] = cpu_seconds(registry.pid) - used
        self._sample |= {f"{phase}_{key}": value for key, value in answer.items()}

    def _come_and_go(self, registry: Registry, load: Load) -> None:
        """Joins and leaves, one after another, each by a peer that the registry knows since the first."""
        load.do("join", registry.port, self._n)  # its name is new: not what a return costs
        load.do("leave", self._n)
        found: dict[str, list[Sample]] = {"join": [], "leave": []}
        used = cpu_seconds(registry.pid)
        for _ in range(self._options.joins):
            found["join"].append(load.do("join", registry.port, self._n))
            found["leave"].append(load.do("leave", self._n))
        used = cpu_seconds(registry.pid) - used
        for phase, answers in found.items():
            for key in ("median_ms", "last_ms"):
                self._sample[f"{phase}_{key}"] = statistics.median(answer[key] for answer in answers)
        self._sample["join_and_leave_cpu_ms"] = 1000 * used / self._options.joins


def changed_limits(options: argparse.Namespace, n: int) -> list[str]:
    """Room for all, where the usual has not."""
    return [f"connections={n + 1}"] if n + 1 > RegistryLimits().connections else []


def measure(options: argparse.Namespace, place: Path) -> None:
    program = compiled("load.c", place)
    clients = place / "clients"
    with clients.open("wb") as file:
        for number in range(max(options.n) + 1):
            file.write(client(number))
    rounds = {f"{n} peers": Round(options, place, program, clients, n).run for n in options.n}
    rounds |= {f"uhub, {n} in clear": hub.contestant(options, place, n) for n in options.n if n <= options.hub}
    samples, left_out = in_turn(options.rounds, rounds)
    report(
        "registry",
        place,
        options.rounds,
        window=options.window,
        joins=options.joins,
        sync="SQLite WAL synchronous=FULL: each new name is committed before its peer is let in",
        limits_changed=sorted({limit for n in options.n for limit in changed_limits(options, n)}),
        runs=summary(samples),
        skipped=left_out,
    )


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--n", nargs="+", type=int, default=[1000], help="how many peers (default: 1000)")
    made.add_argument("--window", type=int, default=64, help="logins under way at once (default: 64)")
    made.add_argument("--joins", type=int, default=10, help="single joins and leaves in a round (default: 10)")
    made.add_argument("--hub", type=int, default=1000, help="uhub in turn with us, up to so many users (default: 1000)")
    options = made.parse_args()
    with workplace(options) as place:
        measure(options, place)


if __name__ == "__main__":
    main()
