"""Offers and their answers: the names people see, and the pages in which both travel."""

from __future__ import annotations

import re
import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from posixpath import splitext

import msgspec

from chatnet.core import messages
from chatnet.core.errors import RemoteError
from chatnet.core.limits import (
    DISK_BLOCK_BYTES,
    MAX_INTEGER,
    MAX_OFFER_BYTES,
    MAX_OFFER_FILES,
    MAX_OFFER_PAGE_FILES,
    MAX_SENT_INTEGER,
    OFFER_OVERHEAD,
    OFFER_PAGE_OVERHEAD,
    PAGE_BYTES,
)
from chatnet.core.messages import Accept, Offer, OfferedFile, Want
from chatnet.core.text import PROGRAM_SUFFIXES, SafeName, SafeText, name_warning, safe_file_name, safe_line

NAMES_SHOWN = 5
PACK_LEVEL = 1  # of zlib: a page of names costs half a millisecond, and takes a fifth of the memory

# --- names ------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ -]*(\.[A-Za-z0-9_-]+)*")


def clean_path(path: Sequence[str]) -> tuple[SafeName, ...]:
    """An offered path as it will stand on this disk: each component harmless by itself."""
    return (*(safe_file_name(part, "folder") for part in path[:-1]), safe_file_name(path[-1]))


class FolderCount:
    """The folders of an offer, counted as its files come, with no memory but the present folder.

    Senders walk through a folder before they come to the next.  A folder that an offer leaves and
    comes back to counts again, so that the number is never too small.
    """

    def __init__(self) -> None:
        self.count = 0
        self._here: Sequence[str] = ()

    def add(self, path: Sequence[str]) -> None:
        """Count the folders of ``path`` that the path before it was not in."""
        here = path[:-1]
        common = 0
        for one, other in zip(here, self._here, strict=False):
            if one != other:
                break
            common += 1
        self.count += len(here) - common
        self._here = here


class Summary:
    """What people see of an offer, gathered file by file; it takes no more memory for many files."""

    def __init__(self) -> None:
        self.files = 0
        self.size = 0
        self.warning = ""
        self.names: list[SafeText] = []
        self._folders = FolderCount()
        self._first: Sequence[str] = ()
        self._top = ""  # the first component of the last path
        self._tops = 0

    def add(self, file: OfferedFile) -> None:
        self.files += 1
        self.size += file.size
        self._folders.add(file.path)
        if self.files <= NAMES_SHOWN:
            self.names.append(safe_line("/".join(clean_path(file.path))))
        if self.files == 1:
            self._first = file.path
        if file.path[0] != self._top:
            self._top = file.path[0]
            self._tops += 1
        if not self.warning:
            self.warning = _warning(file.path)

    @property
    def folders(self) -> int:
        """How many folders the files lie in."""
        return self._folders.count

    def title_so_far(self) -> SafeText:
        """``photos/ and more``, while pages are missing, which nobody will count."""
        return safe_line(f"{self._shown_first()} and more") if self.files else safe_line("and more")

    def _shown_first(self) -> str:
        first, folder = self._first[0], len(self._first) > 1
        return safe_line(safe_file_name(first, "folder" if folder else "file"), 80) + ("/" if folder else "")

    @property
    def title(self) -> SafeText:
        """``video.mkv``, ``photos/ (312)``, ``a.txt and 2 more``."""
        folder = len(self._first) > 1
        shown = self._shown_first()
        if self._tops > 1:
            return safe_line(f"{shown} and {self._tops - 1} more")
        return safe_line(f"{shown} ({self.files})" if folder else shown)


def _warning(path: Sequence[str]) -> str:
    last = path[-1]
    if _PLAIN.fullmatch(last) and splitext(last)[1].lower() not in PROGRAM_SUFFIXES:
        return ""  # most names by far, and a hundred times quicker
    return name_warning(last)


def size_text(size: int) -> str:
    """``17 B``, ``1.4 GiB``."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def disk_bytes(size: int, files: int, folders: int) -> int:
    """What ``size`` bytes in so many files and folders take of a disk."""
    return size + DISK_BLOCK_BYTES * (files + folders)


# --- pages ------------------------------------------------------------------------------------


def offered_bytes(file: OfferedFile) -> int:
    """At most so many bytes on the wire."""
    return sum(map(len, map(str.encode, file.path))) + 3 * len(file.path) + 24


class OfferSize:
    """How much one offer is, and whether it is too much: the same for who sends it and who reads it.

    ``most`` is the greatest number of bytes: a reader takes one more than a sender says.
    """

    def __init__(self, most: int = MAX_SENT_INTEGER) -> None:
        self._most = most
        self._files = 0
        self._folders = FolderCount()
        self._bytes = 0
        self._names = 0

    @property
    def entries(self) -> int:
        """Files and folders so far."""
        return self._files + self._folders.count

    def add(self, file: OfferedFile) -> tuple[str, str] | None:
        """Count a file.  Returns a code and a sentence once the offer is more than one may be."""
        self._files += 1
        self._bytes += file.size
        self._names += offered_bytes(file)
        self._folders.add(file.path)
        if self.entries > MAX_OFFER_FILES:
            return messages.TOO_MANY, f"one offer holds at most {MAX_OFFER_FILES:,} files and folders"
        if self._names > MAX_OFFER_BYTES:
            return messages.TOO_MANY, f"the names of one offer take at most {size_text(MAX_OFFER_BYTES)}"
        if self._bytes > self._most:
            return (
                "too-large",
                f"one offer holds at most {self._most:,} bytes: '{safe_line(file.path[-1], 80)}' is too much",
            )
        return None


def offer_pages(fid: bytes, files: Sequence[OfferedFile]) -> Iterator[Offer]:
    """The OFFER frames of one offer, each well below the greatest frame."""
    page: list[OfferedFile] = []
    size = 0
    for file in files:
        more = offered_bytes(file)
        if page and (size + more > PAGE_BYTES or len(page) == MAX_OFFER_PAGE_FILES):
            yield Offer(fid, page, True)
            page, size = [], 0
        page.append(file)
        size += more
    yield Offer(fid, page, False)


def accept_pages(fid: bytes, token: bytes, wants: Sequence[Want]) -> Iterator[Accept]:
    """The ACCEPT frames: 1,000 wants are at most 19 kB."""
    for start in range(0, max(1, len(wants)), MAX_OFFER_PAGE_FILES):
        end = start + MAX_OFFER_PAGE_FILES
        yield Accept(fid, token, list(wants[start:end]), end < len(wants))


_packed_files = msgspec.msgpack.Decoder(list[OfferedFile])


def packed(files: Sequence[OfferedFile]) -> bytes:
    """A page of files as it is kept until its offer is accepted; ``unpacked`` reads it."""
    return zlib.compress(msgspec.msgpack.encode(files), PACK_LEVEL)


def unpacked(pages: Iterable[bytes]) -> Iterator[OfferedFile]:
    """The files of ``packed`` pages, with one page at a time in memory."""
    for page in pages:
        yield from _packed_files.decode(zlib.decompress(page))


class OfferAssembly:
    """The pages of one offer that has begun to come.

    Objects for each file would take twenty times the bytes of the wire, so the pages are kept
    ``packed``; ``held_bytes`` is what they take in memory, and later in the store.
    """

    def __init__(self, fid: bytes) -> None:
        self.fid = fid
        self.pages: list[bytes] = []
        self.summary = Summary()
        self.held_bytes = OFFER_OVERHEAD
        self._size = OfferSize(MAX_INTEGER)
        self._paths = array("q")  # their hashes

    @property
    def entries(self) -> int:
        """Files and folders so far."""
        return self._size.entries

    def add(self, page: Offer) -> bool:
        """Take a page; True with the last.

        Raises RemoteError: too-many above what an offer may hold; bad-frame, with the last page, when two
        files have the same path.
        """
        for file in page.files:
            if self._size.add(file):
                raise RemoteError(messages.TOO_MANY, "an offer of more files than one may hold")
            self.summary.add(file)
            self._paths.append(hash(tuple(file.path)))
        self.pages.append(packed(page.files))
        self.held_bytes += len(self.pages[-1]) + OFFER_PAGE_OVERHEAD + self._paths.itemsize * len(page.files)
        if page.more:
            return False
        if len(set(self._paths)) < len(self._paths):
            raise RemoteError(messages.BAD_FRAME, "an offer of two files with the same path")
        return True


class AcceptAssembly:
    """The pages of one answer: which of the offered files, from where."""

    def __init__(self, files: Sequence[OfferedFile]) -> None:
        self.token = b""
        self.wants: list[Want] = []
        self._files = files

    def add(self, page: Accept) -> bool:
        """Take a page; True with the last.

        Raises RemoteError("bad-frame") for what was not offered or is out of order, and for a want of nothing.
        """
        if self.token and page.token != self.token:
            raise RemoteError(messages.BAD_FRAME, "one answer with two tokens")
        self.token = page.token
        last = self.wants[-1].file if self.wants else -1
        for want in page.wants:
            if not last < want.file < len(self._files) or want.offset > self._files[want.file].size:
                raise RemoteError(messages.BAD_FRAME, "a wanted file that was not offered, or out of order")
            last = want.file
        self.wants.extend(page.wants)
        if not self.wants and not page.more:
            raise RemoteError(messages.BAD_FRAME, "an answer that wants nothing")
        return not page.more
