"""Offers and their answers: the names people see, and the pages in which both travel."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from posixpath import splitext

from chatnet.core import messages
from chatnet.core.errors import RemoteError
from chatnet.core.limits import (
    MAX_INTEGER,
    MAX_OFFER_BYTES,
    MAX_OFFER_FILES,
    MAX_OFFER_PAGE_FILES,
    MAX_SENT_INTEGER,
    PAGE_BYTES,
)
from chatnet.core.messages import Accept, Offer, OfferedFile, Want
from chatnet.core.text import PROGRAM_SUFFIXES, SafeName, SafeText, name_warning, safe_file_name, safe_line

NAMES_SHOWN = 5

# --- names ------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ -]*(\.[A-Za-z0-9_-]+)*")


def clean_path(path: Sequence[str]) -> tuple[SafeName, ...]:
    """An offered path as it will stand on this disk: each component harmless by itself."""
    return (*(safe_file_name(part, "folder") for part in path[:-1]), safe_file_name(path[-1]))


class Summary:
    """What people see of an offer, gathered file by file: thousands of names are looked at in pages."""

    def __init__(self) -> None:
        self.files = 0
        self.size = 0
        self.warning = ""
        self.names: list[SafeText] = []
        self._tops: dict[str, bool] = {}  # the first component -> whether it is a folder

    def add(self, file: OfferedFile) -> None:
        self.files += 1
        self.size += file.size
        if self.files <= NAMES_SHOWN:
            self.names.append(safe_line("/".join(clean_path(file.path))))
        self._tops[file.path[0]] = len(file.path) > 1
        if not self.warning:
            self.warning = _warning(file.path)

    @property
    def title(self) -> SafeText:
        """``video.mkv``, ``photos/ (312)``, ``a.txt and 2 more``."""
        first, folder = next(iter(self._tops.items()))
        shown = safe_line(safe_file_name(first, "folder" if folder else "file"), 80) + ("/" if folder else "")
        if len(self._tops) > 1:
            return safe_line(f"{shown} and {len(self._tops) - 1} more")
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


# --- pages ------------------------------------------------------------------------------------


def offered_bytes(file: OfferedFile) -> int:
    """At most so many bytes on the wire."""
    return sum(len(part.encode()) + 3 for part in file.path) + 24


class OfferSize:
    """How much one offer is, and whether it is too much: the same for who sends it and who reads it.

    ``most`` is the greatest number of bytes: a reader takes one more than a sender says.
    """

    def __init__(self, most: int = MAX_SENT_INTEGER) -> None:
        self._most = most
        self._files = 0
        self._bytes = 0
        self._names = 0

    def add(self, file: OfferedFile) -> tuple[str, str] | None:
        """Count a file.  Returns a code and a sentence once the offer is more than one may be."""
        self._files += 1
        self._bytes += file.size
        self._names += offered_bytes(file)
        if self._files > MAX_OFFER_FILES:
            return messages.TOO_MANY, f"one offer holds at most {MAX_OFFER_FILES:,} files"
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


class OfferAssembly:
    """The pages of one offer that has begun to come."""

    def __init__(self, fid: bytes) -> None:
        self.fid = fid
        self.files: list[OfferedFile] = []
        self.summary = Summary()
        self._size = OfferSize(MAX_INTEGER)

    def add(self, page: Offer) -> bool:
        """Take a page; True with the last.  RemoteError("too-many") above what an offer may hold."""
        for file in page.files:
            if self._size.add(file):
                raise RemoteError(messages.TOO_MANY, "an offer of more files than one may hold")
            self.files.append(file)
            self.summary.add(file)
        return not page.more


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
