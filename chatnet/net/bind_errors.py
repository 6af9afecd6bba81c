"""Explains why a program cannot listen on a port, and which program has it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.internet.error import CannotListenError

from chatnet.core.errors import CannotListen, system_reason
from chatnet.core.text import safe_line

LISTENING = "0A"  # /proc/net/tcp's word for it
FIRST_FREE_FOR_ALL = 1024


def cannot_listen(error: Exception, endpoint: str, usual_port: int) -> CannotListen:
    """Return the meaning of a CannotListenError or OSError at ``endpoint``, in one plain line.

    ``usual_port`` is proposed where the given port is not permitted.  How such a proposal is given
    to the program is for the caller to say.
    """
    cause = error.socketError if isinstance(error, CannotListenError) else error
    number = getattr(cause, "errno", None)
    port = _port_of(error, endpoint)
    what = f"port {port}" if port is not None else endpoint
    if number == errno.EADDRINUSE:
        instead = f"tcp:{_free_beside(port)}" if port is not None else ""
        return CannotListen("in-use", f"cannot listen on {what}: already in use{_by_whom(port)}.", instead)
    if number in (errno.EACCES, errno.EPERM):
        if port is not None and port < FIRST_FREE_FOR_ALL:
            text = f"cannot listen on {what}: ports below 1024 need root."
            return CannotListen("needs-root", text, f"tcp:{usual_port}")
        return CannotListen("not-permitted", f"cannot listen on {what}: not permitted.", f"tcp:{usual_port}")
    if number == errno.EADDRNOTAVAIL:
        text = f"cannot listen on {endpoint}: this machine has no such address."
        return CannotListen("no-such-address", text, f"tcp:{port or usual_port}")
    reason = system_reason(cause) if isinstance(cause, OSError) else str(cause).lower()
    return CannotListen("listen", f"cannot listen on {what}: {safe_line(reason)}.")


def _port_of(error: Exception, endpoint: str) -> int | None:
    if isinstance(error, CannotListenError) and isinstance(error.port, int):
        return error.port
    found = re.match(r"(?:tcp6?|ssl):(?:port=)?(\d+)", endpoint)
    return int(found[1]) if found else None


def _free_beside(port: int) -> int:
    """Return the next port above ``port`` on which nothing listens now; 0 without one."""
    taken = {number for number, _ in _listening()}
    for candidate in range(port + 1, 65_536):
        if candidate not in taken:
            return candidate
    return 0


def _by_whom(port: int | None) -> str:
    """Return `` (by pid 4711, chatregistry)``, when the kernel lets us see it; else an empty text."""
    inodes = {inode for number, inode in _listening() if number == port}
    targets = {f"socket:[{inode}]" for inode in inodes}
    for process in Path("/proc").glob("[0-9]*") if targets else ():
        try:
            if any(os.readlink(file) in targets for file in (process / "fd").iterdir()):
                return f" (by pid {process.name}, {_program(process)})"
        except OSError:
            continue  # somebody else's process, or one that ended
    return ""


def _program(process: Path) -> str:
    arguments = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    for ours in ("chatregistry", "chatpeer"):
        if ours in arguments:
            return ours
    return safe_line((process / "comm").read_text(errors="replace").strip(), 40)


def _listening() -> Iterator[tuple[int, str]]:
    """Yield ``(port, inode)`` of every listening TCP socket of this machine; nothing where there is no /proc."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if len(fields) > 9 and fields[3] == LISTENING:
                yield int(fields[1].rsplit(":", 1)[1], 16), fields[9]
