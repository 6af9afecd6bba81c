"""Files and directories that only their owner may open, whatever the umask.

A mode is set only on what is ours, and through its descriptor: never on what a path leads to at that
moment.  The name of a log, a database or a directory may be a link to a device or to somebody's file.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700
_OTHERS = 0o077


def make_private_file(path: Path) -> bool:
    """Make an empty file.  Returns False, and does nothing, when something has that name.  Raises OSError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, PRIVATE_FILE)
    except FileExistsError:
        return False
    try:
        os.fchmod(descriptor, PRIVATE_FILE)  # a strict umask may have taken our own rights away
    finally:
        os.close(descriptor)
    return True


def make_private(path: Path) -> None:
    """Take a file of ours from others, if there is one.

    Left alone are links, devices, pipes, files of others, and files that have another name elsewhere.  Raises
    nothing: what cannot be opened cannot be changed either.
    """
    try:
        if not _is_open_to_others(os.lstat(path)):  # closing a database gives up the locks that this process has on it
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if _is_open_to_others(os.fstat(descriptor)):
            os.fchmod(descriptor, PRIVATE_FILE)
    finally:
        os.close(descriptor)


def _is_open_to_others(status: os.stat_result) -> bool:
    ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1
    return ours and bool(status.st_mode & _OTHERS)


def make_private_directory(path: Path) -> None:
    """Make a directory.  Raises FileExistsError when something has that name, or another OSError."""
    os.mkdir(path, PRIVATE_DIRECTORY)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, PRIVATE_DIRECTORY)  # a strict umask may have taken our own rights away
    finally:
        os.close(descriptor)


def make_private_directories(path: Path) -> None:
    """Make ``path`` and what is missing above it; what is there stays as it is.  Raises OSError."""
    for directory in (*reversed(path.parents), path):
        if not directory.exists():
            make_private_directory(directory)
