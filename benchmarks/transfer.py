"""How fast files go from one peer to another, and how chat feels beside it.

    big      one file of --mib MiB: ours, the limit in C (limit.c), openssl, scp, magic-wormhole in turn
    small    --files files of 4 KiB in one folder: ours, a local `cp -r` that is synced, magic-wormhole
    chat     a message every 20 ms, typed to delivered: on a quiet link, and beside a running transfer

Ours is two real headless peers and a registry: mutual TLS 1.3, pinned keys, BLAKE3 verified, the file
synced under its final name; the time is from the offer to the sender's word that all is verified, so
offer, answer, dial and handshake are in it.  The limit syncs the file too, and hashes nothing; the
other programs do not sync.  Peaks of memory of our peers are over all rounds.

The result is one line of JSON on standard output; how it goes is told on standard error.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from support import (
    Contestant,
    Failed,
    Peer,
    Process,
    Sample,
    Skipped,
    await_port,
    compiled,
    costs,
    free_port,
    in_turn,
    parser,
    quantile,
    ratios,
    report,
    stopped_after,
    summary,
    two_peers,
    workplace,
)

RUN_SECONDS = 600.0
SMALL_BYTES = 4096
CHAT_EVERY = 0.02
# A benchmark offers more often than people do, and more files than strangers may.
OFFER_LIMITS = ("offers_per_minute=10000", "stranger_offer_files=100000", "offered_files.strangers=100000")
CHAT_LIMITS = ("messages_per_second=1000", "messages_burst=100000", "stranger_messages_per_second=1000")


def prepared(path: Path, keep: bool = False) -> None:
    """Nothing of an earlier run is there, nor on its way to the disk.

    A folder is moved away: ext4 looks at every inode that was removed in the last minutes before it
    makes a new one, which would cost more than the receiving.  So is what is to be kept: the disk
    frees a gigabyte for a third of a second, in which no commit ends.
    """
    if path.is_dir() or (keep and path.exists()):
        path.rename(path.with_name(f"{path.name}-{time.time_ns()}"))
    path.unlink(missing_ok=True)
    os.sync()


def make_big(path: Path, mib: int) -> None:
    with path.open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(1 << 20))


def make_small(folder: Path, files: int) -> None:
    folder.mkdir()
    for number in range(files):
        (folder / f"file-{number:05d}.bin").write_bytes(os.urandom(SMALL_BYTES))


# --- ours -----------------------------------------------------------------------------------------


class Ours:
    """Files from anna to bert."""

    def __init__(self, anna: Peer, bert: Peer) -> None:
        self._anna, self._bert = anna, bert
        self._checked = False

    def send(self, path: Path) -> Sample:
        received = self._bert.downloads / "anna" / path.name
        prepared(received)
        sample: Sample = {}
        with costs(sample, sender=self._anna.pid, receiver=self._bert.pid):
            done = self._anna.do("send", to="bert", path=str(path))
        sample["seconds"] = done["seconds"]
        sample |= rates(done["seconds"], done["bytes"], done["files"])
        if not self._checked:
            self._checked = True
            if not received.exists() or (received.is_file() and not filecmp.cmp(path, received, shallow=False)):
                raise Failed(f"{received} is not what was sent")
        return sample


def rates(seconds: float, size: int, files: int) -> Sample:
    return {"mb_per_s": size / seconds / 1e6} | ({"files_per_s": files / seconds} if files > 1 else {})


def size_and_files(path: Path) -> tuple[int, int]:
    if path.is_file():
        return path.stat().st_size, 1
    sizes = [file.stat().st_size for file in path.iterdir()]
    return sum(sizes), len(sizes)


# --- the others -----------------------------------------------------------------------------------


class Pair:
    """Another program's sender and receiver; the time is from the sender's start to the last end."""

    def __init__(self, place: Path, source: Path) -> None:
        self.place = place
        self.source = source
        self.received = place / "received"

    def run(self) -> Sample:
        prepared(self.received)
        receiver = self.receiver()
        with stopped_after(receiver):
            began = time.monotonic()
            sender = self.sender()
            with stopped_after(sender):
                sender.succeed(RUN_SECONDS)
                self.finish(receiver)
                seconds = time.monotonic() - began
        if size_and_files(self.received) != size_and_files(self.source):
            raise Failed(f"{type(self).__name__} did not bring it whole{sender.words()}{receiver.words()}")
        return {
            "cpu_s_sender": sender.cpu,
            "peak_mb_sender": sender.peak_mb,
            "cpu_s_receiver": receiver.cpu,
            "peak_mb_receiver": receiver.peak_mb,
            "seconds": seconds,
            **rates(seconds, *size_and_files(self.source)),
        }

    def receiver(self) -> Process:
        raise NotImplementedError

    def sender(self) -> Process:
        raise NotImplementedError

    def finish(self, receiver: Process) -> None:
        receiver.succeed(RUN_SECONDS)

    def output(self, side: str) -> Path:
        return self.place / f"{type(self).__name__}-{side}.out"

    def certificate(self, side: str) -> tuple[Path, Path]:
        """A self-signed certificate and its key, made once."""
        certificate, key = self.place / f"{side}.pem", self.place / f"{side}.key"
        if not certificate.exists():
            if shutil.which("openssl") is None:
                raise Skipped("openssl is not installed")
            made = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "365", "-subj", f"/CN={side}"]
            made += ["-keyout", str(key), "-out", str(certificate)]
            subprocess.run(made, check=True, capture_output=True)
        return certificate, key

    def credentials(self, side: str, other: str) -> list[Path]:
        return [*self.certificate(side), self.certificate(other)[0]]


class Limit(Pair):
    """TLS 1.3 to disk in C."""

    def __init__(self, place: Path, source: Path) -> None:
        super().__init__(place, source)
        self._program: Path | None = None
        self._port = 0

    def receiver(self) -> Process:
        self._program = self._program or compiled("limit.c", self.place)
        self._port = free_port()
        words = [self._program, "receive", self._port, self.received, *self.credentials("receiver", "sender")]
        receiver = Process(words, stdout=subprocess.PIPE)
        assert receiver.popen.stdout is not None
        receiver.popen.stdout.readline()  # READY
        return receiver

    def sender(self) -> Process:
        words = [self._program, "send", self._port, self.source, *self.credentials("sender", "receiver")]
        return Process(words, output=self.output("sender"))


class OpenSSL(Pair):
    """``openssl s_client`` into ``openssl s_server``, with certificates on both sides."""

    def receiver(self) -> Process:
        self._port = free_port()
        certificate, key, peer = self.credentials("receiver", "sender")
        words = ["openssl", "s_server", "-accept", f"127.0.0.1:{self._port}", "-cert", certificate, "-key", key]
        words += ["-CAfile", peer, "-Verify", 1, "-verify_return_error", "-quiet", "-naccept", 1, "-tls1_3"]
        with self.received.open("wb") as to:
            receiver = Process(words, output=self.output("receiver"), stdin=subprocess.PIPE, stdout=to)
        time.sleep(0.3)  # it takes one connection only, so it cannot be asked whether it listens
        return receiver

    def sender(self) -> Process:
        certificate, key, peer = self.credentials("sender", "receiver")
        words = ["openssl", "s_client", "-connect", f"127.0.0.1:{self._port}", "-cert", certificate, "-key", key]
        words += ["-CAfile", peer, "-verify_return_error", "-quiet", "-no_ign_eof", "-nocommands", "-tls1_3"]
        with self.source.open("rb") as source, open(os.devnull, "wb") as nowhere:
            return Process(words, output=self.output("sender"), stdin=source, stdout=nowhere)


class SCP(Pair):
    """``scp`` with the fastest cipher, to an ``sshd`` of its own."""

    def receiver(self) -> Process:
        sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if sshd is None or shutil.which("scp") is None:
            raise Skipped("sshd or scp is not installed")
        for key in ("host", "user"):
            if not (self.place / key).exists():
                made = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.place / key)]
                subprocess.run(made, check=True, capture_output=True)
        self._port = free_port()
        options = {
            "ListenAddress": "127.0.0.1",
            "AuthorizedKeysFile": self.place / "user.pub",
            "StrictModes": "no",
            "PidFile": "none",
            "UsePAM": "no",
            "PermitRootLogin": "yes",
            "Subsystem": "sftp internal-sftp",
        }
        words = [sshd, "-D", "-e", "-f", os.devnull, "-p", self._port, "-h", self.place / "host"]
        receiver = Process([*words, *ssh_options(options)], output=self.output("receiver"))
        try:
            await_port(self._port, receiver)
        except Failed as failure:  # it wants a directory or a user that are not here
            receiver.stop()
            raise Skipped(str(failure)) from None
        return receiver

    def sender(self) -> Process:
        known = {"StrictHostKeyChecking": "no", "UserKnownHostsFile": os.devnull, "LogLevel": "ERROR"}
        words = ["scp", "-q", "-c", "aes128-gcm@openssh.com", "-i", self.place / "user", "-P", self._port]
        words += [*ssh_options(known), self.source, f"127.0.0.1:{self.received}"]
        return Process(words, output=self.output("sender"))

    def finish(self, receiver: Process) -> None:
        """The file is whole when scp has ended; the server's children are counted when it ends."""
        time.sleep(0.1)
        receiver.stop()


def ssh_options(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


class Wormhole(Pair):
    """magic-wormhole by a direct connection, with a mailbox server of its own.

    The time is from the first byte that is there to the end of both: its start takes seconds.
    """

    def __init__(self, place: Path, source: Path, programs: Path) -> None:
        super().__init__(place, source)
        self._programs = programs
        self._codes = 0

    def run(self) -> Sample:
        prepared(self.received)
        if not (self._programs / "wormhole").exists():
            raise Skipped("magic-wormhole is not there: see --wormhole")
        port = free_port()
        databases = [f"--{kind}-db={self.place / kind}.db" for kind in ("channel", "usage")]
        words = [self._programs / "twist", "wormhole-mailbox", f"--port=tcp:{port}:interface=127.0.0.1", *databases]
        mailbox = Process(words, output=self.output("mailbox"))
        with stopped_after(mailbox):
            await_port(port, mailbox)
            return self._pass(port)

    def _pass(self, port: int) -> Sample:
        self._codes += 1
        base = [self._programs / "wormhole", f"--relay-url=ws://127.0.0.1:{port}/v1", "--transit-helper="]
        code = f"7-benchmark-{self._codes}"
        locale = {**os.environ, "LANG": "C.UTF-8"}
        into = [*base, "receive", "--hide-progress", "--accept-file", "-o", self.received, code]
        out = [*base, "send", "--hide-progress", "--code", code, self.source]
        receiver = Process(into, output=self.output("receiver"), env=locale, cwd=self.place)
        sender = Process(out, output=self.output("sender"), env=locale, cwd=self.place)
        with stopped_after(receiver, sender):
            began = time.monotonic()
            first = None
            while first is None and receiver.lives(0.002):
                if any(found.is_file() and found.stat().st_size for found in self.place.glob("received*")):
                    first = time.monotonic()
            receiver.succeed(RUN_SECONDS)
            sender.succeed(RUN_SECONDS)
            # A folder is packed and unpacked: its time is the whole command's.
            seconds = time.monotonic() - (first if first and self.source.is_file() else began)
        return {
            "cpu_s_sender": sender.cpu,
            "peak_mb_sender": sender.peak_mb,
            "cpu_s_receiver": receiver.cpu,
            "peak_mb_receiver": receiver.peak_mb,
            "seconds": seconds,
            **rates(seconds, *size_and_files(self.source)),
        }


def copy_and_sync(source: Path, received: Path) -> Sample:
    """What the file system needs for the same files by itself."""
    prepared(received)
    began = time.monotonic()
    copy = Process(["sh", "-c", 'cp -r "$1" "$2" && sync -f "$2"', "sh", source, received])
    copy.succeed(RUN_SECONDS)
    seconds = time.monotonic() - began
    return {"cpu_s_sender": copy.cpu, "seconds": seconds, **rates(seconds, *size_and_files(source))}


# --- chat beside a transfer -------------------------------------------------------------------------


def chat(anna: Peer, seconds: float) -> Sample:
    """The latency of messages during ``seconds``."""
    answer = anna.do("latency", to="bert", count=int(seconds / CHAT_EVERY), every=CHAT_EVERY)
    return latencies(answer["seconds"])


def latencies(seconds: list[float]) -> Sample:
    in_ms = [1000 * one for one in seconds]
    return {"p50_ms": quantile(in_ms, 0.5), "p99_ms": quantile(in_ms, 0.99), "worst_ms": max(in_ms)}


def chat_beside(anna: Peer, bert: Peer, source: Path, last: list[float]) -> Sample:
    """The same while ``source`` goes the same way, for about as long as that took the last time."""
    prepared(bert.downloads / "anna" / source.name, keep=True)
    sending = anna.ask("send", to="bert", path=str(source))
    sample = chat(anna, max(0.5, last[0] * 0.8))
    last[0] = anna.answer(sending)["seconds"]
    return sample | {"transfer_seconds": last[0]}


# --- all of it --------------------------------------------------------------------------------------


def measure(options: argparse.Namespace, place: Path) -> None:
    big, small = place / "big.bin", place / "small"
    if "big" in options.parts or "chat" in options.parts:
        make_big(big, options.mib)
    if "small" in options.parts:
        make_small(small, options.files)
    others = place / "others"
    others.mkdir()
    limits = OFFER_LIMITS + (CHAT_LIMITS if "chat" in options.parts else ())
    results: dict[str, object] = {}
    with two_peers(place, limits) as (anna, bert):
        ours = Ours(anna, bert)
        if "big" in options.parts:
            contestants: dict[str, Contestant] = {
                "ours": lambda: ours.send(big),
                "limit": Limit(others, big).run,
                "openssl": OpenSSL(others, big).run,
                "scp": SCP(others, big).run,
                "wormhole": Wormhole(others, big, options.wormhole).run,
            }
            results["big"] = compared(options, contestants)
        if "small" in options.parts:
            contestants = {
                "ours": lambda: ours.send(small),
                "cp and sync": lambda: copy_and_sync(small, others / "received"),
                "wormhole": Wormhole(others, small, options.wormhole).run,
            }
            results["small"] = compared(options, contestants)
        if "chat" in options.parts:
            last = [ours.send(big)["seconds"]]
            contestants = {
                "quiet": lambda: chat(anna, max(0.5, last[0] * 0.8)),
                "beside": lambda: chat_beside(anna, bert, big, last),
            }
            samples, _ = in_turn(options.rounds, contestants)
            results["chat"] = summary(samples)
    report(
        "transfer",
        place,
        options.rounds,
        big_mib=options.mib,
        small_files=options.files,
        sync="ours: fsync of each big file, one sync for 64 small ones, SQLite WAL FULL, marks NORMAL; limit: fsync",
        limits_changed=list(limits),
        **results,
    )


def compared(options: argparse.Namespace, contestants: dict[str, Contestant]) -> dict[str, object]:
    samples, left_out = in_turn(options.rounds, {k: v for k, v in contestants.items() if k not in options.without})
    return {"runs": summary(samples), "times_faster": ratios(samples, "ours"), "skipped": left_out}


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--parts", nargs="+", choices=("big", "small", "chat"), default=["big", "small", "chat"])
    made.add_argument("--mib", type=int, default=1024, help="size of the big file (default: 1024)")
    made.add_argument("--files", type=int, default=10_000, help="how many small ones (default: 10000)")
    made.add_argument("--without", nargs="+", default=[], help="contestants to leave out, e.g. wormhole")
    beside = Path(shutil.which("wormhole") or "wormhole").parent
    made.add_argument(
        "--wormhole",
        type=Path,
        default=beside,
        help="the bin directory of an environment with magic-wormhole and magic-wormhole-mailbox-server",
    )
    options = made.parse_args()
    with workplace(options) as place:
        measure(options, place)


if __name__ == "__main__":
    main()
