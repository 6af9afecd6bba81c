"""What cannot be is said in one line, with exit code 1; what is hostile changes nothing."""

from __future__ import annotations

import os
import random
import re
import socket
import ssl

import pytest

from tests.support.stage import Process, Stage

pytestmark = pytest.mark.live


def refused(process: Process) -> str:
    """The one line that a start ended with."""
    assert process.ends() == 1, process.said
    (line,) = process.said.strip().splitlines()
    return line


def test_one_line_and_exit_code_1(stage: Stage) -> None:
    stage.registry()
    busy = stage.port
    peer = stage.headless("bob")
    stage.until(lambda: "registered at" in peer.log, "bob is there")
    starts: dict[str, tuple[Process, str]] = {
        "twin": (stage.headless("bob"), r"^chatpeer: .*bob.*pid \d+"),
        "busy registry": (
            stage.run(
                "-n", "chatregistry", "--state", "s", "--data", "d", "--listen", f"tcp:{busy}:interface=127.0.0.1"
            ),
            rf"^chatregistry: cannot listen on port {busy}: already in use.*Stop it, or choose: --listen tcp:\d+",
        ),
        "second registry": (stage.run("-n", "chatregistry", "--listen", "tcp:0"), r"^chatregistry: .*pid \d+"),
        "busy peer": (
            stage.headless("dave", "--listen", f"tcp:{busy}:interface=127.0.0.1"),
            rf"^chatpeer: cannot listen on port {busy}: already in use",
        ),
        "bad name": (stage.headless("No_Name"), r"^chatpeer: .*'No_Name' cannot be a name"),
        "reserved name": (stage.headless("registry"), r"^chatpeer: .*'registry' is reserved"),
        "bad listen": (
            stage.run("-n", "chatregistry", "--listen", "9900"),
            r"^chatregistry: .*Did you mean tcp:9900\?",
        ),
        "bad registry": (
            stage.run("-n", "chatpeer", "--headless", "--name", "erin", "--registry", "tcp:nowhere"),
            r"^chatpeer: .*registry",
        ),
        "no name": (stage.run("-n", "chatpeer", "--headless"), r"^chatpeer: without a console .*--name"),
        "bad limit": (stage.headless("erin", "--limit", "x=1"), r"^chatpeer: .*--limits"),
    }
    for what, (process, words) in starts.items():
        line = refused(process)
        assert re.search(words, line), f"{what}: {line}"
    assert peer.lives


def test_a_taken_name_without_a_console(stage: Stage) -> None:
    stage.registry()
    bob = stage.headless("bob")
    stage.until(lambda: "registered at" in bob.log, "bob is there")
    other = stage.headless("bob", "--data", "other", "--state", "other-state")
    assert "bob" in refused(other)
    assert bob.lives


def test_a_second_console_of_one_name(stage: Stage) -> None:
    stage.registry()
    ann = stage.peer("ann")
    ann.shows("registry up")
    twin = stage.peer("ann")
    assert twin.ends() == 1
    twin.look()
    assert re.search(r"chatpeer: .*ann.*pid \d+", twin.text.replace("\n", ""))
    assert 1049 not in twin.modes
    assert ann.lives


# --- hostile bytes --------------------------------------------------------------------------------

NOISE = random.Random(4711)
GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"\x00" * 4096,
    NOISE.randbytes(20_000),
    b"\x16\x03\x01\xff\xff" + NOISE.randbytes(2000),
    b"",
]


def throw(port: int, data: bytes) -> None:
    """Connect, say it, read until the other side has closed, or cut."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        try:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            while line.recv(65_536):
                pass
        except TimeoutError:
            raise
        except OSError:
            pass  # it was cut, sooner or later


def tls_without_a_certificate(port: int) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["chatnet/1"])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
        try:
            with context.wrap_socket(line) as secured:
                secured.sendall(os.urandom(1000))
                while secured.recv(4096):
                    pass
        except (ssl.SSLError, ConnectionError):
            pass


def test_hostile_bytes_at_both_ports(stage: Stage) -> None:
    registry = stage.registry()
    ann = stage.headless("ann")
    stage.until(lambda: "registered ann" in registry.log and "registered at" in ann.log, "ann is there")
    found = re.search(r"listens on [\d.]+:(\d+)", ann.log)
    assert found is not None
    for process, port in ((registry, stage.port), (ann, int(found[1]))):
        before = process.log.count("\n")
        for data in GARBAGE:
            throw(port, data)
        tls_without_a_certificate(port)

        def lines(process: Process = process, before: int = before) -> list[str]:
            return [line for line in process.log.splitlines()[before:] if "probe" not in line]

        stage.until(lambda lines=lines: len(lines()) >= len(GARBAGE) + 1, "each has its line")
        assert len(lines()) == len(GARBAGE) + 1
        assert all("dropped link nobody yet 127.0.0.1:" in line for line in lines())
    bob = stage.peer("bob")
    bob.shows("registry up · 1 peer")
    bob.enter("/msg ann hello")
    stage.until(lambda: "✓" in bob.text, "it is delivered")
    for process in (registry, ann):
        assert "Traceback" not in process.log
        assert process.said.count("Traceback") == 0
