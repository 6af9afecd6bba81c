"""Offers and their answers: the names people see, and the pages in which both travel."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from posixpath import splitext
from typing import NamedTuple, TypeVar

import msgspec

from chatnet.core import messages
from chatnet.core.errors import RemoteError
from chatnet.core.events import OfferDetails
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
from chatnet.core.messages import Accept, NotSent, Offer, OfferedFile, OfferRest, Want
from chatnet.core.roles import array_length
from chatnet.core.text import (
    PROGRAM_SUFFIXES,
    SafeName,
    SafeText,
    gets_other_name,
    name_warning,
    quoted,
    safe_file_name,
    safe_line,
)

T = TypeVar("T")

NAMES_SHOWN = 5
ALL_SENT = NotSent(0, 0, 0)
PACK_LEVEL = 1  # of zlib: a page of names costs half a millisecond, and takes a fifth of the memory

# --- names ------------------------------------------------------------------------------------


def clean_path(path: Sequence[str]) -> tuple[SafeName, ...]:
    """Return an offered path as it will stand on this disk: each component harmless by itself."""
    return (*clean_folder(path[:-1]), safe_file_name(path[-1]))


def clean_folder(path: Sequence[str]) -> tuple[SafeName, ...]:
    """Return the path of an offered folder as it will stand on this disk."""
    return tuple(safe_file_name(part, "folder") for part in path)


class FolderCount:
    """The folders of an offer, counted as its files come, with no memory but the present folder.

    Senders walk through a folder before they come to the next.  A folder that an offer leaves and
    comes back to counts again, so that the number is never too small.
    """

    def __init__(self) -> None:
        self.count = 0
        self._here: Sequence[str] = ()

    def add(self, path: Sequence[str]) -> range:
        """Count the folders above ``path`` that the path before it was not in.

        Returns how many components each of their own paths has.
        """
        here = path[:-1]
        common = 0
        for one, other in zip(here, self._here, strict=False):
            if one != other:
                break
            common += 1
        self.count += len(here) - common
        self._here = here
        return range(common + 1, len(here) + 1)


class Rest(NamedTuple):
    """What belongs to an offer beside its files: what ``OfferRest`` says."""

    folders: Sequence[Sequence[str]] = ()  # those with nothing in them
    not_sent: NotSent = ALL_SENT
    executables: int = 0

    @property
    def has_something(self) -> bool:
        return bool(self.folders or any(self.not_sent) or self.executables)


NO_REST = Rest()


class Summary:
    """What people see of an offer, gathered file by file, then folder by folder.

    It takes no more memory for many files, and ``FOLDER_BYTES`` for each folder.
    """

    FOLDER_BYTES = 8

    def __init__(self) -> None:
        self.files = 0
        self.size = 0
        self._warned: tuple[Sequence[str], str] | None = None  # the first path with a warning, and that
        self.names: list[SafeText] = []
        self._folders = FolderCount()
        self._here: list[int] = []  # the hashes of the present folder and of those above it, from the top
        self._first: Sequence[str] = ()
        self._top = ""  # the first component of the last path
        self._tops = 0
        self._renamed = 0  # but for the folders that hold something
        self._holding = array("q")  # hashes of the folders that hold something, some of them more than once
        self._holding_renamed = array("q")  # of these the ones that get another name
        self._empty = array("q")

    def add(self, file: OfferedFile) -> int:
        """Count a file.  Returns a hash of its path."""
        self.files += 1
        self.size += file.size
        hashed = self._enter(file.path)
        is_renamed = gets_other_name(file.path[-1])
        self._renamed += is_renamed
        if self.files <= NAMES_SHOWN:
            self.names.append(safe_line("/".join(clean_path(file.path))))
        if self.files == 1:
            self._first = file.path
        if file.path[0] != self._top:
            self._top = file.path[0]
            self._tops += 1
        if self._warned is None and (warning := _warning(file.path[-1], is_renamed)):
            self._warned = file.path, warning
        return hashed

    def add_empty_folder(self, path: Sequence[str]) -> None:
        """Count a folder with nothing in it."""
        if len(path) == 1:
            self._tops += 1
        self._empty.append(self._enter(path))
        self._renamed += gets_other_name(path[-1])

    def _enter(self, path: Sequence[str]) -> int:
        """Note the folders above ``path`` that are new.  Returns a hash of ``path``."""
        new = self._folders.add(path)
        del self._here[new.start - 1 :]
        for depth in new:
            folder = hash((self._here[-1] if self._here else 0, path[depth - 1]))
            self._here.append(folder)
            self._holding.append(folder)
            if gets_other_name(path[depth - 1]):
                self._holding_renamed.append(folder)
        return hash((self._here[-1] if self._here else 0, path[-1]))

    @property
    def folders(self) -> int:
        """How many folders there are, empty ones too."""
        return len(set(self._holding)) + len(self._empty)

    @property
    def folder_bytes(self) -> int:
        """At least what it takes of memory for the folders."""
        return self.FOLDER_BYTES * (len(self._holding) + len(self._holding_renamed) + len(self._empty))

    def are_empty(self, files: Iterable[int]) -> bool:
        """Whether each empty folder was named once, holds nothing, and has no path of ``files``, which are hashes."""
        if not self._empty:
            return True
        empty = set(self._empty)
        return len(empty) == len(self._empty) and empty.isdisjoint(self._holding) and empty.isdisjoint(files)

    def details(self, not_sent: NotSent = ALL_SENT, executables: int = 0) -> OfferDetails:
        """Return the numbers of the offer that people see."""
        renamed = self._renamed + len(set(self._holding_renamed))
        return OfferDetails(len(self._empty), renamed, executables, *not_sent)

    @property
    def warning(self) -> str:
        """What to think of before it is accepted; among several files it names the first that it is about."""
        if self._warned is None:
            return ""
        path, warning = self._warned
        if self.files == 1:
            return warning
        return f"{quoted(safe_line('/'.join(clean_path(path)), 80))}: {warning}"

    def title_so_far(self) -> SafeText:
        """Return ``photos/ and more``, while pages are missing, which nobody will count."""
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


def _warning(name: str, is_renamed: bool) -> str:
    if not is_renamed and splitext(name)[1].lower() not in PROGRAM_SUFFIXES:
        return ""  # most names by far, and a hundred times quicker
    return name_warning(name)


def size_text(size: int) -> str:
    """Return a size as text: ``17 B``, ``1.4 GiB``."""
    amount, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def disk_bytes(size: int, files: int, folders: int) -> int:
    """Return how many bytes of a disk ``size`` bytes in so many files and folders take."""
    return size + DISK_BLOCK_BYTES * (files + folders)


# --- pages ------------------------------------------------------------------------------------


def offered_bytes(path: Sequence[str]) -> int:
    """Return at most how many bytes a file, or an empty folder, takes on the wire."""
    return sum(map(len, map(str.encode, path))) + 3 * len(path) + 24


class OfferSize:
    """How much one offer is, and whether it is too much: the same for who sends it and who reads it.

    ``most`` is the greatest number of bytes: a reader takes one more than a sender says.
    """

    def __init__(self, most: int = MAX_SENT_INTEGER) -> None:
        self._most = most
        self._files = 0
        self._empty_folders = 0
        self._folders = FolderCount()
        self._bytes = 0
        self._names = 0

    @property
    def entries(self) -> int:
        """Files and folders so far."""
        return self._files + self._empty_folders + self._folders.count

    def add(self, file: OfferedFile) -> tuple[str, str] | None:
        """Count a file.  Returns a code and a sentence once the offer is more than one may be."""
        self._files += 1
        self._bytes += file.size
        return self._add(file.path)

    def add_empty_folder(self, path: Sequence[str]) -> tuple[str, str] | None:
        """Count a folder with nothing in it, as ``add`` does a file."""
        self._empty_folders += 1
        return self._add(path)

    def _add(self, path: Sequence[str]) -> tuple[str, str] | None:
        self._names += offered_bytes(path)
        self._folders.add(path)
        if self.entries > MAX_OFFER_FILES:
            return messages.TOO_MANY, f"one offer holds at most {MAX_OFFER_FILES:,} files and folders"
        if self._names > MAX_OFFER_BYTES:
            return messages.TOO_MANY, f"the names of one offer take at most {size_text(MAX_OFFER_BYTES)}"
        if self._bytes > self._most:
            return (
                "too-large",
                f"one offer holds at most {self._most:,} bytes: '{safe_line(path[-1], 80)}' is too much",
            )
        return None


def offer_pages(fid: bytes, files: Sequence[OfferedFile], rest: Rest = NO_REST) -> Iterator[Offer | OfferRest]:
    """Yield the frames of one offer, each well below the greatest frame: OFFER, then OFFER-REST for a ``rest``."""
    for page, more in _cut((file, file.path) for file in files):
        yield Offer(fid, page, more or rest.has_something)
    if rest.has_something:
        for folders, more in _cut((list(path), path) for path in rest.folders):
            if more:
                yield OfferRest(fid, folders, ALL_SENT, 0, True)
            else:
                yield OfferRest(fid, folders, rest.not_sent, rest.executables, False)


def _cut(items: Iterable[tuple[T, Sequence[str]]]) -> Iterator[tuple[list[T], bool]]:
    """Yield pages of things with their paths, and whether another one follows; one empty page of nothing."""
    page: list[T] = []
    size = 0
    for item, path in items:
        more = offered_bytes(path)
        if page and (size + more > PAGE_BYTES or len(page) == MAX_OFFER_PAGE_FILES):
            yield page, True
            page, size = [], 0
        page.append(item)
        size += more
    yield page, False


def accept_pages(fid: bytes, token: bytes, wants: Sequence[Want]) -> Iterator[Accept]:
    """Yield the ACCEPT frames: 1,000 wants are at most 19 kB."""
    for start in range(0, max(1, len(wants)), MAX_OFFER_PAGE_FILES):
        end = start + MAX_OFFER_PAGE_FILES
        yield Accept(fid, token, list(wants[start:end]), end < len(wants))


_packed_files = msgspec.msgpack.Decoder(list[OfferedFile])
_packed_folders = msgspec.msgpack.Decoder(list[tuple[str, ...]])


def packed(page: Sequence[OfferedFile] | Sequence[Sequence[str]]) -> bytes:
    """Pack a page of files as it is kept until its offer is accepted, or one of empty folders.

    ``unpacked`` and ``unpacked_folders`` read it.
    """
    return zlib.compress(msgspec.msgpack.encode(page), PACK_LEVEL)


def packed_pages(folders: Sequence[Sequence[str]]) -> list[bytes]:
    """Pack any number of empty folders into pages; into no page if there are none."""
    return [packed(page) for page, _ in _cut((path, path) for path in folders) if page]


def packed_count(start: bytes) -> int:
    """Return how many files or folders a ``packed`` page has, of which the first ``PACKED_HEAD_BYTES`` are enough."""
    return array_length(zlib.decompressobj().decompress(start, 5))


def unpacked_folders(pages: Iterable[bytes]) -> Iterator[tuple[str, ...]]:
    """Yield the folders of ``packed`` pages, with one page at a time in memory."""
    for page in pages:
        yield from _packed_folders.decode(zlib.decompress(page))


def unpacked(pages: Iterable[bytes]) -> Iterator[OfferedFile]:
    """Yield the files of ``packed`` pages, with one page at a time in memory."""
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
        self.folder_pages: list[bytes] = []
        self.summary = Summary()
        self.details = OfferDetails()  # once it is whole
        self.held_bytes = OFFER_OVERHEAD
        self._size = OfferSize(MAX_INTEGER)
        self._paths = array("q")  # their hashes
        self._has_rest = False
        self._numbers: tuple[NotSent, int] = (ALL_SENT, 0)

    @property
    def entries(self) -> int:
        """Files and folders so far."""
        return self._size.entries

    def add(self, page: Offer | OfferRest) -> bool:
        """Take a page, and return True with the last.

        Raises RemoteError: too-many above what an offer may hold; bad-frame for a page of the rest before one
        of files, or one of files after it, and with the last page, when two files have the same path or an empty
        folder is not empty.
        """
        had_bytes = self.summary.folder_bytes
        if isinstance(page, Offer):
            new = self._add_files(page)
        else:
            new = self._add_rest(page)
        self.held_bytes += len(new) + OFFER_PAGE_OVERHEAD + self.summary.folder_bytes - had_bytes
        if page.more:
            return False
        paths = set(self._paths)
        if len(paths) < len(self._paths):
            raise RemoteError(messages.BAD_FRAME, "an offer of two files with the same path")
        if not self.summary.are_empty(paths):
            raise RemoteError(messages.BAD_FRAME, "an offer of an empty folder that is not empty")
        self.details = self.summary.details(*self._numbers)
        return True

    def _add_files(self, page: Offer) -> bytes:
        if self._has_rest:
            raise RemoteError(messages.BAD_FRAME, "files of an offer behind its rest")
        for file in page.files:
            if self._size.add(file):
                raise RemoteError(messages.TOO_MANY, "an offer of more files than one may hold")
            self._paths.append(self.summary.add(file))
        self.pages.append(packed(page.files))
        self.held_bytes += self._paths.itemsize * len(page.files)
        return self.pages[-1]

    def _add_rest(self, page: OfferRest) -> bytes:
        if not self.pages:
            raise RemoteError(messages.BAD_FRAME, "the rest of an offer without files")
        self._has_rest = True
        self._numbers = page.not_sent, page.executables
        if not page.folders:
            return b""
        for path in page.folders:
            if self._size.add_empty_folder(path):
                raise RemoteError(messages.TOO_MANY, "an offer of more folders than one may hold")
            self.summary.add_empty_folder(path)
        self.folder_pages.append(packed(page.folders))
        return self.folder_pages[-1]


class AcceptAssembly:
    """The pages of one answer: which of the offered files, from where."""

    def __init__(self, files: Sequence[OfferedFile]) -> None:
        self.token = b""
        self.wants: list[Want] = []
        self._files = files

    def add(self, page: Accept) -> bool:
        """Take a page, and return True with the last.

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
