"""C2: hostile handshakes against a real registry.

Strangers without certificate, with another protocol, another TLS, other keys, somebody else's
certificate, an old session in place of a certificate, HTTP, noise, a hello in 131,000 records, and
an honest one cut at every byte.  None is asked for its name, none delivers a byte, nothing is left
open, and none holds the reactor.  Control: a build that takes any handshake.
"""

from __future__ import annotations

import socket
import sys
import time
from collections import Counter
from collections.abc import Callable

from OpenSSL import SSL

from chatnet.core.framing import frame
from chatnet.core.messages import encode
from chatnet.core.records import endpoint, sign_record
from chatnet.net.certificate import certificate_of
from tests.campaigns.field import Subject
from tests.campaigns.harness import Case, Figures, check, main, open_files
from tests.net.test_tls import context, envelope, ours, p256, rsa_key, stolen_certificate
from tests.support.links import hello, new_identity

NAME = "c02_handshakes"
SIZES = {"ci": 12, "gate": 100, "nightly": 10_000}
UNIT = "handshakes of each kind"
SHOWN = (
    "a hostile handshake was answered",
    "an old session stood for a certificate",
    "a hostile handshake came as far as its name",
    "bytes of a hostile handshake were delivered",
)

GROWTH_KB = 5 * 1024
PATIENCE_SECONDS = 15.0
EVERY_BYTE = 100  # at this size the honest handshake is cut at every byte, below at some


def greeting() -> bytes:
    identity = new_identity()
    record = sign_record(identity.public_key, identity.sign, "mallory", [endpoint("127.0.0.1", 40_000)], 1, 0)
    return frame(encode(hello("registry", name="mallory", record=record)))


GREETING = greeting()
HELLO_BYTES = 131_000  # nearly the longest that OpenSSL reads
CRUMBS = b"".join(
    b"\x16\x03\x01\x00\x01" + bytes([byte]) for byte in b"\x01" + HELLO_BYTES.to_bytes(3, "big") + bytes(HELLO_BYTES)
)


class Stranger:
    """A client over a blocking socket whose flights are in our hands."""

    def __init__(self, made: SSL.Context, port: int, session: object = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        self.tls = SSL.Connection(made)
        self.tls.set_connect_state()
        if session is not None:
            self.tls.set_session(session)  # type: ignore[arg-type]

    def flight(self) -> bytes:
        """What it would send now; with the end of its handshake comes a greeting."""
        try:
            self.tls.do_handshake()
            self.tls.send(GREETING)
        except SSL.WantReadError:
            pass
        except SSL.Error:
            return b""
        try:
            return self.tls.bio_read(1 << 16)
        except SSL.WantReadError:
            return b""

    def hear(self) -> bool:
        """Take in what comes; False at the end."""
        try:
            data = self.socket.recv(1 << 16)
        except ConnectionError:
            return False
        if data:
            self.tls.bio_write(data)
        return bool(data)

    def go_through(self) -> int:
        """Shake hands until the other side closes; the bytes of its answer that were for us."""
        got = 0
        while not got:
            try:
                flight = self.flight()
                if flight:
                    self.socket.sendall(flight)
            except OSError:
                break
            if not self.hear():
                break
            try:
                got += len(self.tls.recv(1 << 16))
            except SSL.Error:
                pass
        self.socket.close()
        return got


def hostile_contexts() -> dict[str, Callable[[], SSL.Context]]:
    return {
        "no certificate": context,
        "TLS 1.2": lambda: ours(new_identity(), newest=SSL.TLS1_2_VERSION),
        "another ALPN": lambda: ours(new_identity(), alpn=[b"http/1.1"]),
        "no ALPN": lambda: ours(new_identity(), alpn=[]),
        "RSA": rsa_key,
        "P-256": p256,
        "a certificate without its key": stolen_certificate,
        "a key of nobody": lambda: context((key := new_identity().private_key), envelope(key), alpn=[b"chatnet/0"]),
    }


def raw(case: Case) -> bytes:
    chance = case.chance
    return chance.choice(
        (
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
            chance.randbytes(chance.randrange(1, 2000)),
            b"\x16\x03\x01\xff\xff" + chance.randbytes(500),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(505),
            b"\x15\x03\x03\x00\x02\x02\x28",
            GREETING,
            b"SSH-2.0-OpenSSH_9.7\r\n",
        )
    )


def say(port: int, data: bytes) -> None:
    """Say it, and listen until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as one:
        try:
            one.sendall(data)
            one.shutdown(socket.SHUT_WR)
            while one.recv(1 << 16):
                pass
        except OSError:
            pass


def flights(port: int) -> tuple[int, int]:
    """Lengths of the two flights of an honest handshake; the second has the greeting."""
    one = Stranger(ours(new_identity()), port)
    first = one.flight()
    one.socket.sendall(first)
    second = b""
    while not second:
        one.hear()
        second = one.flight()
    one.socket.close()
    return len(first), len(second)


def cut_at(port: int, at: int, made: SSL.Context) -> None:
    one = Stranger(made, port)
    first = one.flight()
    one.socket.sendall(first[:at])
    if at > len(first):
        second = b""
        while not second and one.hear():
            second = one.flight()
        one.socket.sendall(second[: at - len(first)])
    one.socket.close()


def old_session(port: int) -> tuple[SSL.Context, object, object]:
    """A session of an honest client, which must not stand for its certificate later.

    The client is kept: OpenSSL forgets the session of one that is freed without a shutdown.
    """
    identity, made = new_identity(), context()  # a session is good in its own context only
    one = Stranger(made, port)
    one.tls.use_certificate(certificate_of(identity.private_key))
    one.tls.use_privatekey(identity.private_key)
    while True:
        flight = one.flight()
        if flight:
            one.socket.sendall(flight)
        if one.tls.get_peer_certificate() is not None:
            break
        one.hear()
    one.socket.settimeout(1)
    try:
        one.hear()
        one.tls.recv(1)
    except (SSL.Error, TimeoutError):
        pass
    return made, one.tls.get_session(), one


def _looked_at(pid: int) -> int:
    time.sleep(0.02)
    return open_files(pid)


def attack(case: Case, weak: str = "") -> Figures:
    flags = ["--weak", weak] if weak else []
    limits = ["handshake_seconds=3", "hello_seconds=2"]
    registry = Subject("registry", case.directory, flags=flags, limits=limits).start()
    counts: Counter[str] = Counter()
    try:
        port = registry.port
        without, session, honest = old_session(port)
        first, second = flights(port)
        kinds = hostile_contexts()
        for made in kinds.values():
            Stranger(made(), port).go_through()  # what a first time costs is no leak
        time.sleep(1)
        before, files, memory = registry.figures(), open_files(registry.pid), registry.memory_kb()
        for kind, make in kinds.items():
            for number in range(case.n):
                if number % 20 == 0:
                    made = make()
                got = Stranger(made, port).go_through()
                check(got == 0, "a hostile handshake was answered", kind=kind, bytes=got)
                counts[kind] += 1
        for _ in range(case.n):
            got = Stranger(without, port, session).go_through()
            check(got == 0, "an old session stood for a certificate", bytes=got)
            counts["an old session"] += 1
            say(port, raw(case))
            counts["noise"] += 1
            say(port, CRUMBS)
            counts["a hello in crumbs"] += 1
        made = ours(new_identity())
        step = 1 if case.n >= EVERY_BYTE else 13
        rounds = max(1, case.n // 1000)
        for _ in range(rounds):
            for at in range(0, first + second - 1, step):
                cut_at(port, at, made)
                counts["cut"] += 1
        ended = time.monotonic() + PATIENCE_SECONDS
        while open_files(registry.pid) > files and time.monotonic() < ended:
            time.sleep(0.1)
        time.sleep(0.6)
        left = min(_looked_at(registry.pid) for _ in range(10)) - files  # it opens a file now and then
        figures, growth = registry.healthy(), registry.memory_kb() - memory
        asked = figures["asked"] - before["asked"]
        delivered = figures["app_bytes"] - before["app_bytes"]
        check(asked == 0, "a hostile handshake came as far as its name", asked=asked)
        check(delivered == 0, "bytes of a hostile handshake were delivered", bytes=delivered)
        check(left <= 0, "connections were left open", files=left)
        check(growth <= GROWTH_KB, "memory grew", growth_kb=growth)
        assert honest
        return {"kinds": dict(counts), "asked": asked, "bytes_delivered": delivered, "growth_kb": growth} | {
            "stall_own_ms": figures["stall_own_ms"]
        }
    finally:
        registry.stop()


def run(case: Case) -> Figures:
    return attack(case)


def control(case: Case) -> Figures:
    return attack(case, weak="any-handshake")


if __name__ == "__main__":
    main(sys.modules[__name__])
