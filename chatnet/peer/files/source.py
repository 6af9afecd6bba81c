"""Files that are sent; every function may wait for the disk.

What was offered is opened without following links, and is what was offered still when its last
byte was sent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from blake3 import blake3

from chatnet.core import messages
from chatnet.core.closest import closest_match
from chatnet.core.errors import LocalError, system_reason
from chatnet.core.limits import MAX_PATH_PART_BYTES, MAX_PATH_PARTS, MAX_SENT_INTEGER, MAX_STORED_INTEGER
from chatnet.core.messages import NotSent, OfferedFile
from chatnet.core.text import safe_line, shown_path
from chatnet.core.transfer.offers import OfferSize, Rest
from chatnet.peer.files.local_paths import absolute

HASH_BYTES = 1_048_576

# What a machine is short of for a while: descriptors, memory.
PASSING_ERRORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN})

_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


class Fingerprint(NamedTuple):
    """By which a file is known to be the same and unchanged.

    Size and time count: the numbers of the device and of the inode live as long as a mount does, and are
    kept for programs of version 0.1.0.  What is the same by these and is not, the digest finds.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int

    def fits(self, other: Fingerprint) -> bool:
        """Whether it is the same file, unchanged, for all that can be said before it is read."""
        return (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


class SourceFile(NamedTuple):
    """One file as it was when it was offered."""

    path: bytes
    offered: OfferedFile
    mark: Fingerprint


@dataclass
class Gathered:
    """What there is to offer; ``warning`` names what of it cannot be read.

    ``renamed`` files and folders have names that an offer cannot say: not UTF-8, too long, or twice in a folder.
    """

    files: list[SourceFile] = field(default_factory=list)
    empty_folders: list[list[str]] = field(default_factory=list)
    links: int = 0  # inside of folders
    specials: int = 0  # FIFOs, sockets and devices there
    executables: int = 0
    renamed: int = 0
    unread: list[str] = field(default_factory=list)  # the names of what cannot be read
    size: OfferSize = field(default_factory=OfferSize)

    @property
    def warning(self) -> str:
        if not self.unread:
            return ""
        more = f" and {len(self.unread) - 1} more" if len(self.unread) > 1 else ""
        others = f"the other {len(self.files)} files are offered"
        return f"cannot read '{safe_line(self.unread[0], 80)}'{more}; {others}"

    @property
    def rest(self) -> Rest:
        """What belongs to the offer beside its files."""
        return Rest(self.empty_folders, NotSent(self.links, self.specials, len(self.unread)), self.executables)

    def name(self, name: bytes, used: set[str]) -> str:
        """Return the name for the wire of a name of this disk, another one than those ``used`` in its folder."""
        new = _unused(wire_name(name), used)
        self.renamed += new.encode() != name
        return new

    def add(self, path: bytes, parts: list[str], status: os.stat_result) -> None:
        """Add a file.  Raises LocalError: too-many, too-large, too-deep."""
        if len(parts) > MAX_PATH_PARTS:
            raise _too_deep()
        mtime_ms = max(0, min(MAX_SENT_INTEGER, status.st_mtime_ns // 1_000_000))
        offered = OfferedFile(parts, status.st_size, mtime_ms)
        objection = self.size.add(offered)
        if objection:
            raise LocalError(*objection)
        self.files.append(SourceFile(path, offered, fingerprint_of(status)))
        self.executables += bool(status.st_mode & _EXECUTABLE)

    def add_empty_folder(self, parts: list[str]) -> None:
        """Add a folder of which nothing is offered.  Raises LocalError: too-many, too-deep."""
        if len(parts) >= MAX_PATH_PARTS:
            raise _too_deep()
        objection = self.size.add_empty_folder(parts)
        if objection:
            raise LocalError(*objection)
        self.empty_folders.append(parts)


def fingerprint_of(status: os.stat_result) -> Fingerprint:
    """Return the fingerprint of a file. A time that our records cannot hold becomes the nearest one that they can."""
    mtime_ns = max(-MAX_STORED_INTEGER, min(MAX_STORED_INTEGER, status.st_mtime_ns))
    return Fingerprint(status.st_dev, status.st_ino, status.st_size, mtime_ns)


def gather(paths: Sequence[bytes]) -> Gathered:
    """Gather the regular files and the empty folders at and below ``paths``, folders in order.

    Links inside folders are not followed: they, and whatever else is no file, are counted.

    Raises LocalError: relative-path, no-such-file, unreadable, empty, too-many, too-large, too-deep.
    """
    found = Gathered()
    names: set[str] = set()
    for given in paths:
        path = absolute(given)
        try:
            status = os.stat(path)
        except (OSError, ValueError) as error:
            raise _not_there(path, error) from None
        name = found.name(os.path.basename(path) or b"files", names)
        real = os.path.realpath(path)
        if stat.S_ISDIR(status.st_mode):
            _walk(real, [name], found)
        elif not stat.S_ISREG(status.st_mode):
            raise LocalError(messages.UNREADABLE, f"'{safe_line(name)}' is neither a file nor a folder")
        elif not os.access(real, os.R_OK):
            raise LocalError(messages.UNREADABLE, f"cannot read '{safe_line(name)}' (permission denied)")
        else:
            found.add(real, [name], status)
    if not found.files:
        nothing = "there is no file in it, and folders alone are not sent"
        raise LocalError("empty", f"cannot read '{safe_line(found.unread[0])}'" if found.unread else nothing)
    return found


def _walk(top: bytes, parts: list[str], found: Gathered) -> None:
    pending = [(top, parts)]
    while pending:
        folder, here = pending.pop()
        try:
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if error.errno in PASSING_ERRORS:  # it is not the folder's fault: nothing is left out in silence
                raise _unreadable(error) from None
            found.unread.append(here[-1])
            found.add_empty_folder(here)
            continue
        below: list[tuple[bytes, list[str]]] = []
        names: set[str] = set()
        before = len(found.files)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append((entry.path, [*here, found.name(entry.name, names)]))
            elif entry.is_file(follow_symlinks=False):
                _take(entry, here, names, found)
            elif entry.is_symlink():
                found.links += 1
            else:
                found.specials += 1
        if not below and len(found.files) == before:
            found.add_empty_folder(here)
        pending.extend(reversed(below))


def _take(entry: os.DirEntry[bytes], folder: list[str], names: set[str], found: Gathered) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
        is_readable = os.access(entry.path, os.R_OK)
    except OSError:
        is_readable = False
    if is_readable:
        found.add(entry.path, [*folder, found.name(entry.name, names)], status)
    else:
        found.unread.append(wire_name(entry.name))


def _too_deep() -> LocalError:
    return LocalError("too-deep", f"folders more than {MAX_PATH_PARTS - 1} deep cannot be offered")


def wire_name(name: bytes) -> str:
    """Return a name of this disk as UTF-8 that fits into an offer; bytes that are no UTF-8 become U+FFFD."""
    text = name.decode("utf-8", "replace")
    return text.encode()[:MAX_PATH_PART_BYTES].decode("utf-8", "ignore")


def _unused(name: str, used: set[str]) -> str:
    """Return ``name``, with a number if it is used in its folder already: no two files of an offer have one path."""
    stem, extension = os.path.splitext(name)
    number, candidate = 1, name
    while candidate in used:
        number += 1
        end = f" ({number}){extension}"
        fitting = stem.encode()[: max(0, MAX_PATH_PART_BYTES - len(end.encode()))].decode("utf-8", "ignore")
        candidate = f"{fitting}{end}" if len(end.encode()) < MAX_PATH_PART_BYTES else f"file ({number})"
    used.add(candidate)
    return candidate


def _not_there(path: bytes, error: OSError | ValueError) -> LocalError:
    folder, name = os.path.split(path)
    shown = safe_line(wire_name(name))
    if not isinstance(error, FileNotFoundError | NotADirectoryError | ValueError):
        return LocalError(messages.UNREADABLE, f"cannot read '{shown}' ({system_reason(error)})")
    near = ""
    with contextlib.suppress(OSError, ValueError):
        near = closest_match(wire_name(name), map(wire_name, os.listdir(folder)))
    hint = f" Did you mean {safe_line(near)}?" if near else ""
    return LocalError("no-such-file", f"no file '{shown}' in {shown_path(folder, 200)}.{hint}")


def _unreadable(error: OSError) -> LocalError:
    code = messages.BUSY if error.errno in PASSING_ERRORS else messages.UNREADABLE
    return LocalError(code, system_reason(error))


def trouble_of(files: Sequence[SourceFile]) -> str:
    """Return why none of these can be sent any more: the code of the first; empty once one is found that can."""
    trouble = ""
    for file in files:
        code = _trouble_of(file)
        if not code:
            return ""
        trouble = trouble or code
    return trouble


def _trouble_of(file: SourceFile) -> str:
    try:
        status = os.stat(file.path, follow_symlinks=False)
    except OSError as error:
        return "" if error.errno in PASSING_ERRORS else messages.UNREADABLE
    is_the_same = stat.S_ISREG(status.st_mode) and fingerprint_of(status).fits(file.mark)
    return "" if is_the_same else messages.CHANGED


class Source:
    """An open file on its way out: what ``FileSender`` reads from.

    ``read`` never raises (FileSender would never fire): it ends early, and ``trouble`` holds the
    code of what went wrong.
    """

    def __init__(self, file: SourceFile, offset: int = 0) -> None:
        """Open the file, and hash what the other side has already.  Raises LocalError(unreadable | changed)."""
        self.trouble = ""
        self.digest = blake3()
        self._mark = file.mark
        self._left = file.mark.size - offset
        try:
            self._fd = os.open(file.path, _READ)
        except OSError as error:
            raise _unreadable(error) from None
        try:
            if not self._is_the_same():
                raise LocalError(messages.CHANGED, "it is not the file that was offered")
            with contextlib.suppress(OSError):  # Nicety.READ_AHEAD: not worth a line in the log
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
            self._hash_head(offset)
        except OSError as error:
            self.close()
            raise _unreadable(error) from None
        except LocalError:
            self.close()
            raise

    def read(self, count: int) -> bytes:
        """Return the next bytes, at most ``count``; empty at the end, or when something is wrong."""
        if self.trouble or not self._left:
            return b""
        try:
            data = os.read(self._fd, min(count, self._left))
        except OSError:
            self.trouble = messages.UNREADABLE
            return b""
        if not data:
            self.trouble = messages.CHANGED  # it became shorter
        self._left -= len(data)
        return data

    def finish(self) -> bytes:
        """Return the digest of the whole file.

        Raises LocalError(changed | unreadable) if it is not what was offered.
        """
        if not self.trouble and not self._is_the_same():
            self.trouble = messages.CHANGED
        if self.trouble or self._left:
            raise LocalError(self.trouble or messages.LOST, "the file was not sent to its end")
        return self.digest.digest()

    @property
    def is_read(self) -> bool:
        """Whether every byte that was offered has been read."""
        return not self._left

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _is_the_same(self) -> bool:
        status = os.fstat(self._fd)
        return stat.S_ISREG(status.st_mode) and fingerprint_of(status).fits(self._mark)

    def _hash_head(self, offset: int) -> None:
        while offset:
            data = os.read(self._fd, min(HASH_BYTES, offset))
            if not data:
                raise LocalError(messages.CHANGED, "it became shorter")
            self.digest.update(data)
            offset -= len(data)


def open_sources(wanted: Sequence[tuple[SourceFile, int]]) -> list[Source | LocalError]:
    """Open several files from their offsets; in the place of one that cannot be sent stands why.

    Raises LocalError("busy"), with nothing open, when this machine is short of something.
    """
    opened: list[Source | LocalError] = []
    for file, offset in wanted:
        try:
            opened.append(Source(file, offset))
        except LocalError as error:
            if error.code != messages.BUSY:
                opened.append(error)
                continue
            close_sources(opened)
            raise
    return opened


def close_sources(sources: Sequence[Source | LocalError]) -> None:
    """Close those that are open."""
    for source in sources:
        if isinstance(source, Source):
            source.close()
