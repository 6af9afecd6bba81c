"""Words for a port that cannot be had."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from twisted.internet.error import CannotListenError

from chatnet.net.bind_errors import cannot_listen


def no_socket(port: int, number: int, text: str = "") -> CannotListenError:
    return CannotListenError("127.0.0.1", port, OSError(number, text or os.strerror(number)))


def test_a_busy_port_names_who_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        told = cannot_listen(no_socket(port, errno.EADDRINUSE), f"tcp:{port}", 9900)
    assert told.code == "in-use"
    assert told.text.startswith(f"cannot listen on port {port}: already in use (by pid {os.getpid()}, ")
    assert told.text.endswith(").")
    assert int(told.instead.removeprefix("tcp:")) > port


def test_the_advice_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        try:
            beside = socket.create_server(("127.0.0.1", port + 1))
        except OSError:
            pytest.skip("the next port is not ours to take")
        with beside:
            told = cannot_listen(no_socket(port, errno.EADDRINUSE), f"tcp:{port}", 9900)
    assert told.instead.startswith("tcp:")
    assert told.instead != f"tcp:{port + 1}"


@pytest.mark.parametrize(
    ("error", "endpoint", "code", "text", "instead"),
    [
        (
            no_socket(80, errno.EACCES),
            "tcp:80",
            "needs-root",
            "cannot listen on port 80: ports below 1024 need root.",
            "tcp:9900",
        ),
        (
            no_socket(9900, errno.EPERM),
            "tcp:9900",
            "not-permitted",
            "cannot listen on port 9900: not permitted.",
            "tcp:9900",
        ),
        (
            no_socket(7777, errno.EADDRNOTAVAIL),
            "tcp:7777:interface=192.0.2.1",
            "no-such-address",
            "cannot listen on tcp:7777:interface=192.0.2.1: this machine has no such address.",
            "tcp:7777",
        ),
        (
            OSError(errno.EMFILE, "Too many open files"),
            "tcp:port=7:interface=::1",
            "listen",
            "cannot listen on port 7: too many open files.",
            "",
        ),
        (
            OSError(errno.EADDRINUSE, "x"),
            "unix:/run/x",
            "in-use",
            "cannot listen on unix:/run/x: already in use.",
            "",
        ),
        (
            CannotListenError(None, "/run/x", "Cannot acquire lock"),  # Twisted's, of a unix socket that is in use
            "unix:/run/x:lockfile=1",
            "listen",
            "cannot listen on unix:/run/x:lockfile=1: cannot acquire lock.",
            "",
        ),
        (no_socket(7, 999, "odd\x1b[2J"), "tcp:7", "listen", "cannot listen on port 7: odd\ufffd[2j.", ""),
    ],
)
def test_a_code_and_words(error: Exception, endpoint: str, code: str, text: str, instead: str) -> None:
    told = cannot_listen(error, endpoint, 9900)
    assert (told.code, told.text, told.instead) == (code, text, instead)


def test_no_option_of_a_program_is_named_here() -> None:
    numbers = (errno.EADDRINUSE, errno.EACCES, errno.EPERM, errno.EADDRNOTAVAIL, errno.EMFILE)
    assert not any("--" in cannot_listen(no_socket(80, number), "tcp:80", 9900).text for number in numbers)
