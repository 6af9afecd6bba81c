"""uhub, a presence server in C, under the same load as our registry: in clear, with no keys and no claims.

It is asked what the registry is asked, as far as it has it: N log in at once, one joins, one leaves.
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import ctypes.util
import hashlib
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from support import (
    Load,
    Process,
    Sample,
    Skipped,
    await_port,
    compiled,
    cpu_seconds,
    free_port,
    memory_mb,
    stopped_after,
)

TIGER = 306  # libgcrypt's number of the hash that ADC wants
PID_BYTES = 24

CONFIGURATION = """\
server_port={port}
server_bind_addr=127.0.0.1
server_listen_backlog=1024
max_users=15000
show_banner=0
hub_name=bench
file_acl={empty}
file_plugins={empty}
flood_ctl_interval=1
flood_ctl_connect=0
flood_ctl_chat=0
flood_ctl_update=0
flood_ctl_extras=0
flood_ctl_search=0
max_send_buffer=67108864
max_send_buffer_soft=60000000
max_recv_buffer=65536
low_bandwidth_mode=0
"""


def identities(count: int) -> str:
    """For each user a line with CID and PID: the CID is the Tiger hash of the PID, both in base 32."""
    library = ctypes.util.find_library("gcrypt")
    if library is None:
        raise Skipped("libgcrypt is not installed, and ADC wants Tiger hashes")
    gcrypt = ctypes.CDLL(library)
    gcrypt.gcry_check_version(None)
    hashed = ctypes.create_string_buffer(PID_BYTES)
    lines = []
    for number in range(count):
        pid = hashlib.sha256(b"%d" % number).digest()[:PID_BYTES]
        gcrypt.gcry_md_hash_buffer(TIGER, hashed, pid, PID_BYTES)
        lines.append(" ".join(base64.b32encode(one).decode().rstrip("=") for one in (hashed.raw, pid)))
    return "\n".join(lines) + "\n"


def contestant(options: argparse.Namespace, place: Path, n: int) -> Callable[[], Sample]:
    """One round with ``n`` users: the quantities that our registry's round has too."""

    def run() -> Sample:
        program = shutil.which("uhub")
        if program is None:
            raise Skipped("not installed")
        load_program = compiled("hub.c", place)
        with tempfile.TemporaryDirectory(prefix="hub-", dir=place) as made:
            here = Path(made)
            (here / "users").write_text(identities(n + 1))
            (here / "empty").touch()
            port = free_port()
            (here / "uhub.conf").write_text(CONFIGURATION.format(port=port, empty=here / "empty"))
            hub = Process([program, "-c", here / "uhub.conf"], output=here / "uhub.out")
            with stopped_after(hub):
                await_port(port, hub)
                load = Load(load_program, here / "users", here / "load.out")
                with stopped_after(load):
                    return _asked(options, hub, load, port, n)

    return run


def _asked(options: argparse.Namespace, hub: Process, load: Load, port: int, n: int) -> Sample:
    empty_mb = memory_mb(hub.pid, "VmRSS")
    used = cpu_seconds(hub.pid)
    storm = load.do("login", port, n, options.window)
    storm["cpu_s_registry"] = cpu_seconds(hub.pid) - used
    sample = {f"storm_{key}": value for key, value in storm.items()}
    sample["kb_each"] = (memory_mb(hub.pid, "VmRSS") - empty_mb) * 1024 / n
    used = cpu_seconds(hub.pid)
    answers = [(phase, load.do(*words)) for _ in range(options.joins) for phase, *words in _one_comes_and_goes(port, n)]
    used = cpu_seconds(hub.pid) - used
    for phase in ("join", "leave"):
        for key in ("median_ms", "last_ms"):
            sample[f"{phase}_{key}"] = statistics.median(answer[key] for named, answer in answers if named == phase)
    sample["join_and_leave_cpu_ms"] = 1000 * used / options.joins
    return sample


def _one_comes_and_goes(port: int, n: int) -> list[tuple[str, object, ...]]:
    return [("join", "join", port, n), ("leave", "leave", n)]
