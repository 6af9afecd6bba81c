"""Words for a port that cannot be had."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from twisted.internet.error import CannotListenError

from chatnet.net.bind_errors import explain_bind_error


def no_socket(port: int, number: int, text: str = "") -> CannotListenError:
    return CannotListenError("127.0.0.1", port, OSError(number, text or os.strerror(number)))


def test_a_busy_port_names_who_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told = explain_bind_error(no_socket(port, errno.EADDRINUSE), f"tcp:{port}")
    start, advice = told.split(". Stop it, or choose: --listen tcp:")
    assert start.startswith(f"cannot listen on port {port}: already in use (by pid {os.getpid()}, ")
    assert int(advice) > port


def test_the_advice_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        try:
            beside = socket.create_server(("127.0.0.1", port + 1))
        except OSError:
            pytest.skip("the next port is not ours to take")
        with beside:
            told = explain_bind_error(no_socket(port, errno.EADDRINUSE), f"tcp:{port}")
    assert not told.endswith(f"tcp:{port + 1}")


@pytest.mark.parametrize(
    ("error", "endpoint", "told"),
    [
        (
            no_socket(80, errno.EACCES),
            "tcp:80",
            "cannot listen on port 80: ports below 1024 need root. Choose: --listen tcp:9900",
        ),
        (
            no_socket(9900, errno.EPERM),
            "tcp:9900",
            "cannot listen on port 9900: not permitted. Choose another: --listen tcp:9900",
        ),
        (
            no_socket(9900, errno.EADDRNOTAVAIL),
            "tcp:9900:interface=192.0.2.1",
            "cannot listen on tcp:9900:interface=192.0.2.1: this machine has no such address. Try: --listen tcp:9900",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "tcp:port=7:interface=::1",
            "cannot listen on port 7: too many open files.",
        ),
        (
            OSError(errno.EADDRINUSE, "x"),
            "unix:/run/x",
            "cannot listen on unix:/run/x: already in use. Choose another.",
        ),
        (no_socket(7, 999, "odd\x1b[2J"), "tcp:7", "cannot listen on port 7: odd\ufffd[2j."),
    ],
)
def test_words(error: Exception, endpoint: str, told: str) -> None:
    assert explain_bind_error(error, endpoint) == told
