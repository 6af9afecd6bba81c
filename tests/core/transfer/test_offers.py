"""Titles and pages of offers, and the pages of their answers."""

from __future__ import annotations

import tracemalloc
from secrets import token_hex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatnet.core import messages
from chatnet.core.errors import RemoteError
from chatnet.core.events import OfferDetails
from chatnet.core.framing import frame
from chatnet.core.limits import (
    MAX_FRAME,
    MAX_INTEGER,
    MAX_OFFER_BYTES,
    MAX_OFFER_FILES,
    MAX_OFFER_PAGE_FILES,
    MAX_PATH_PART_BYTES,
    MAX_SENT_INTEGER,
    PACKED_HEAD_BYTES,
)
from chatnet.core.messages import Accept, NotSent, Offer, OfferedFile, OfferRest, Want
from chatnet.core.text import name_warning, safe_line
from chatnet.core.transfer.offers import (
    ALL_SENT,
    AcceptAssembly,
    OfferAssembly,
    OfferSize,
    Rest,
    Summary,
    accept_pages,
    clean_path,
    disk_bytes,
    offer_pages,
    offered_bytes,
    packed,
    packed_count,
    packed_pages,
    unpacked,
    unpacked_folders,
)
from tests.support.wire import decode

FID = bytes(16)

TOKEN = bytes(range(32))

parts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80).filter(
    lambda part: len(part.encode()) <= MAX_PATH_PART_BYTES
)

offered = st.builds(
    OfferedFile,
    st.lists(parts, min_size=1, max_size=6),
    st.integers(0, 2**40),
    st.integers(0, 2**42),
)


def title(*paths: str) -> str:
    summary = Summary()
    for path in paths:
        summary.add(OfferedFile(path.split("/"), 1, 0))
    return summary.title


def through_the_wire(message: messages.Message) -> messages.Message:
    body = messages.encode(message)
    assert len(frame(body)) <= MAX_FRAME
    return decode(messages.ROLE_CHAT, body)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["video.mkv"], "video.mkv"),
        (["photos/a.jpg"], "photos/ (1)"),
        (["photos/a.jpg", "photos/x/b.jpg"], "photos/ (2)"),
        (["a.txt", "b.txt", "c.txt"], "a.txt and 2 more"),
        (["photos/a.jpg", "photos/b.jpg", "c.txt"], "photos/ and 1 more"),
        (["\x1b[31m../evil\u202egpj.exe"], "evilgpj.exe"),
    ],
)
def test_titles(paths: list[str], expected: str) -> None:
    if "/evil" in paths[0]:
        summary = Summary()
        summary.add(OfferedFile(paths, 1, 0))
        assert summary.title == expected
        assert "program" in summary.warning
        assert "hidden" in summary.warning
    else:
        assert title(*paths) == expected


def test_a_plain_name_has_no_warning_and_a_program_has() -> None:
    for name, warned in (("holiday 1.jpg", False), ("run.exe", True), ("notes", False), ("a\u200b.txt", True)):
        summary = Summary()
        summary.add(OfferedFile([name], 1, 0))
        assert bool(summary.warning) is warned, name


def test_among_several_files_the_one_with_the_warning_is_named() -> None:
    summary = Summary()
    for path in (["p", "a.txt"], ["p", "tools", "run.sh"], ["p", "b.exe"]):
        summary.add(OfferedFile(path, 1, 0))
    assert summary.warning == f'"p/tools/run.sh": {name_warning("run.sh")}'
    summary = Summary()
    for path in (["a.txt"], ["p" * 150, "run" * 40 + ".sh"]):
        summary.add(OfferedFile(path, 1, 0))
    assert safe_line(summary.warning).endswith(name_warning("run.sh"))  # it is cut nowhere


@given(st.lists(st.text(min_size=1), min_size=1, max_size=32))
def test_no_offered_path_leaves_the_folder(path: list[str]) -> None:
    for part in clean_path(path):
        assert part not in ("", ".", "..")
        assert not set(part) & set("/\\\0")
        assert len(part.encode()) <= 180


@given(st.lists(offered, min_size=1, max_size=60, unique_by=lambda file: tuple(file.path)))
def test_an_offer_survives_its_pages(files: list[OfferedFile]) -> None:
    assembly = OfferAssembly(FID)
    whole = [assembly.add(page) for page in map(through_the_wire, offer_pages(FID, files)) if isinstance(page, Offer)]
    assert whole == [False] * (len(whole) - 1) + [True]
    assert list(unpacked(assembly.pages)) == files
    assert assembly.summary.size == sum(file.size for file in files)
    assert assembly.entries >= len(files) + assembly.summary.folders
    assert assembly.summary.folders == len({tuple(file.path[:n]) for file in files for n in range(1, len(file.path))})


def test_pages_are_cut_by_bytes_and_by_count() -> None:
    short = [OfferedFile(["a"], 0, 0)] * (2 * MAX_OFFER_PAGE_FILES)
    assert [len(page.files) for page in offer_pages(FID, short)] == [MAX_OFFER_PAGE_FILES] * 2
    long = [OfferedFile(["ü" * 127] * 32, 2**53, 2**53)] * 20
    pages = list(offer_pages(FID, long))
    assert sum(len(page.files) for page in pages) == 20
    assert len(pages) > 2
    for page in pages:
        through_the_wire(page)


@given(st.sets(st.integers(0, 2999), min_size=1, max_size=2500), st.integers(0, 7))
def test_an_answer_survives_its_pages(indexes: set[int], offset: int) -> None:
    files = [OfferedFile(["a"], 7, 0)] * 3000
    wants = [Want(index, offset) for index in sorted(indexes)]
    assembly = AcceptAssembly(files)
    pages = [page for page in map(through_the_wire, accept_pages(FID, TOKEN, wants)) if isinstance(page, Accept)]
    assert [assembly.add(page) for page in pages][-1] is True
    assert assembly.wants == wants
    assert assembly.token == TOKEN


@pytest.mark.parametrize("wants", [[], [Want(2, 0)], [Want(1, 0), Want(0, 0)], [Want(0, 0), Want(0, 0)], [Want(0, 8)]])
def test_an_answer_to_something_else_is_an_error(wants: list[Want]) -> None:
    assembly = AcceptAssembly([OfferedFile(["a"], 7, 0)] * 2)
    with pytest.raises(RemoteError):
        assembly.add(Accept(FID, TOKEN, wants, False))


def test_order_holds_over_pages_and_the_token_stays() -> None:
    assembly = AcceptAssembly([OfferedFile(["a"], 7, 0)] * 3)
    assert not assembly.add(Accept(FID, TOKEN, [Want(1, 0)], True))
    with pytest.raises(RemoteError):
        assembly.add(Accept(FID, TOKEN, [Want(1, 0)], False))
    with pytest.raises(RemoteError):
        assembly.add(Accept(FID, bytes(32), [Want(2, 0)], False))


def test_an_offer_is_bounded_in_files_and_in_bytes() -> None:
    page = Offer(FID, [OfferedFile(["a"], 0, 0)] * MAX_OFFER_PAGE_FILES, True)
    assembly = OfferAssembly(FID)
    for _ in range(MAX_OFFER_FILES // MAX_OFFER_PAGE_FILES):
        assembly.add(page)
    with pytest.raises(RemoteError, match="may hold"):
        assembly.add(page)
    # F3: 3,125 files with 31 folders each are 100,000 of what a disk has.
    deep = [OfferedFile([str(n), *"d" * 30, "f"], 0, 0) for n in range(MAX_OFFER_FILES // 32 + 1)]
    assembly = OfferAssembly(FID)
    for number, file in enumerate(deep[:-1]):
        assembly.add(Offer(FID, [file], True))
        assert assembly.entries == 32 * (number + 1)
    with pytest.raises(RemoteError, match="may hold"):
        assembly.add(Offer(FID, deep[-1:], True))
    long = Offer(FID, [OfferedFile(["n" * 255] * 32, 0, 0)] * 7, True)
    assembly = OfferAssembly(FID)
    for _ in range(MAX_OFFER_BYTES // offered_bytes(long.files[0].path) // 7):
        assembly.add(long)
    with pytest.raises(RemoteError, match="may hold"):
        assembly.add(long)


def test_sizes_that_add_up_to_nonsense_are_refused() -> None:
    with pytest.raises(RemoteError):
        OfferAssembly(FID).add(Offer(FID, [OfferedFile(["a"], 2**53, 0)] * 2, False))


@pytest.mark.parametrize(
    ("paths", "folders"),
    [
        (["a"], 0),
        (["d/a", "d/b"], 1),
        (["d/a", "d/e/b", "d/e/c", "d/f/g/h", "i"], 4),
        (["a/x", "b/x", "c"], 2),
        (["a/x/1", "b/x/1"], 4),  # the same name below another folder is another one
    ],
)
def test_folders_are_counted_as_their_files_come(paths: list[str], folders: int) -> None:
    summary, size = Summary(), OfferSize()
    for path in paths:
        file = OfferedFile(path.split("/"), 1, 0)
        summary.add(file)
        size.add(file)
    assert (summary.folders, size.entries) == (folders, folders + len(paths))


def test_a_folder_that_an_offer_comes_back_to_is_charged_again_and_shown_once() -> None:
    summary, size = Summary(), OfferSize()
    for path in ("a/1", "b/1", "a/2"):
        file = OfferedFile(path.split("/"), 1, 0)
        summary.add(file)
        size.add(file)
    summary.add_empty_folder(["a", "empty"])
    size.add_empty_folder(["a", "empty"])
    assert summary.folders == 3
    assert size.entries == 3 + 4


@pytest.mark.parametrize(
    ("files", "folders", "entries"),
    [
        (["a/b/1", "a/2", "3"], [], 5),
        (["photos/1"], ["photos/x"], 3),
        (["photos/1", "2"], ["photos/x", "new/y"], 7),
    ],
)
def test_the_examples_of_the_protocol_count_as_it_says(files: list[str], folders: list[str], entries: int) -> None:
    size = OfferSize()
    for file in files:
        size.add(OfferedFile(file.split("/"), 1, 0))
    for folder in folders:
        size.add_empty_folder(folder.split("/"))
    assert size.entries == entries


# --- what belongs to an offer beside its files ---

folder_trees = st.sets(st.lists(st.sampled_from("abc"), min_size=1, max_size=5).map(tuple), min_size=1, max_size=12)


@given(folder_trees, st.integers(0, 5), st.integers(0, 5))
def test_the_rest_of_an_offer_survives_its_pages(paths: set[tuple[str, ...]], links: int, executables: int) -> None:
    leaves = sorted(path for path in paths if not any(other[: len(path)] == path != other for other in paths))
    files = [OfferedFile([*leaves[0], "file"], 1, 0)]
    rest = Rest([list(path) for path in leaves[1:]], NotSent(links, 1, 2), executables)
    assembly = OfferAssembly(FID)
    pages = [through_the_wire(page) for page in offer_pages(FID, files, rest)]
    assert [assembly.add(page) for page in pages] == [False] * (len(pages) - 1) + [True]  # type: ignore[arg-type]
    assert [list(path) for path in unpacked_folders(assembly.folder_pages)] == rest.folders
    assert assembly.details == OfferDetails(len(rest.folders), 0, executables, links, 1, 2)
    assert assembly.summary.folders == len({path[:n] for path in leaves for n in range(1, len(path) + 1)})


def test_an_offer_without_a_rest_is_that_of_version_0_1_0() -> None:
    for rest in (Rest(), Rest([])):
        pages = list(offer_pages(FID, [OfferedFile(["a"], 1, 0)], rest))
        assert pages == [Offer(FID, [OfferedFile(["a"], 1, 0)], False)]


def test_the_numbers_stand_in_the_last_of_many_pages() -> None:
    folders = [[f"{number:04d}"] for number in range(2 * MAX_OFFER_PAGE_FILES + 1)]
    pages = list(offer_pages(FID, [OfferedFile(["a"], 1, 0)], Rest(folders, NotSent(1, 2, 3), 4)))
    assert [type(page) for page in pages] == [Offer, OfferRest, OfferRest, OfferRest]
    assert [page.more for page in pages] == [True, True, True, False]
    assert [(page.not_sent, page.executables) for page in pages if isinstance(page, OfferRest)] == [
        (ALL_SENT, 0),
        (ALL_SENT, 0),
        (NotSent(1, 2, 3), 4),
    ]


@pytest.mark.parametrize(
    ("files", "folders"),
    [
        (["a/f"], [["a"]]),  # holds a file
        (["a/f"], [["a", "f"]]),  # is one
        (["f"], [["a"], ["a"]]),  # twice
        (["f"], [["a"], ["a", "b"]]),  # holds a folder
        (["f"], [["a", "b"], ["a"]]),
    ],
)
def test_an_empty_folder_is_empty(files: list[str], folders: list[list[str]]) -> None:
    assembly = OfferAssembly(FID)
    assembly.add(Offer(FID, [OfferedFile(path.split("/"), 1, 0) for path in files], True))
    with pytest.raises(RemoteError) as caught:
        assembly.add(OfferRest(FID, folders, ALL_SENT, 0, False))
    assert caught.value.code == messages.BAD_FRAME


@pytest.mark.parametrize(("files", "folders"), [(["a", "a/b"], []), (["a"], [["a", "b"]])])
def test_a_path_through_that_of_a_file_is_no_error(files: list[str], folders: list[list[str]]) -> None:
    """What becomes of the names is the receiver's business."""
    assembly = OfferAssembly(FID)
    for page in offer_pages(FID, [OfferedFile(path.split("/"), 1, 0) for path in files], Rest(folders)):
        whole = assembly.add(page)
    assert whole


def test_the_rest_stands_behind_the_files() -> None:
    rest = OfferRest(FID, [], ALL_SENT, 0, True)
    with pytest.raises(RemoteError):
        OfferAssembly(FID).add(rest)
    assembly = OfferAssembly(FID)
    assembly.add(Offer(FID, [OfferedFile(["a"], 1, 0)], True))
    assembly.add(rest)
    with pytest.raises(RemoteError):
        assembly.add(Offer(FID, [OfferedFile(["b"], 1, 0)], False))


def test_empty_folders_are_bounded_and_charged_as_files_are() -> None:
    assembly = OfferAssembly(FID)
    assembly.add(Offer(FID, [OfferedFile(["a"], 1, 0)], True))
    before = assembly.held_bytes
    count = MAX_OFFER_FILES // MAX_OFFER_PAGE_FILES
    folders = [[[f"{page}-{number}"] for number in range(MAX_OFFER_PAGE_FILES)] for page in range(count)]
    pages = [OfferRest(FID, some, ALL_SENT, 0, True) for some in folders]
    for page in pages[:-1]:
        assembly.add(page)
    with pytest.raises(RemoteError, match="may hold"):
        assembly.add(pages[-1])
    assert assembly.entries == MAX_OFFER_FILES + 1
    assert assembly.held_bytes - before > Summary.FOLDER_BYTES * (MAX_OFFER_FILES - MAX_OFFER_PAGE_FILES)
    # F3: each costs the disk its own folders above, too.
    deep = OfferSize()
    assert [deep.add_empty_folder([str(n), *"d" * 30]) for n in range(10)] == [None] * 10
    assert deep.entries == 310


@pytest.mark.parametrize(
    ("paths", "renamed"),
    [
        (["a.txt", "b c.txt"], 0),
        ([".git/config", ".git/HEAD"], 1),  # the folder once
        (["d/.x/a:b", "d/.x/c", "d/.y"], 3),
        (["e\u0301.txt"], 0),  # another form of the same letters
        (["n" * 255], 1),
        ([".a/1", "b/1", ".a/2"], 1),
    ],
)
def test_names_that_change_are_counted_once(paths: list[str], renamed: int) -> None:
    """B3."""
    summary = Summary()
    for path in paths:
        summary.add(OfferedFile(path.split("/"), 1, 0))
    assert summary.details().renamed == renamed
    summary.add_empty_folder(["new", ".empty"])
    assert summary.details().renamed == renamed + 1


@given(st.lists(offered, max_size=40))
def test_the_head_of_a_packed_page_tells_how_many_it_holds(files: list[OfferedFile]) -> None:
    assert packed_count(packed(files)[:PACKED_HEAD_BYTES]) == len(files)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 1_000, 70_000])
def test_so_does_that_of_a_large_one(count: int) -> None:
    assert packed_count(packed([[token_hex(8)]] * count)[:PACKED_HEAD_BYTES]) == count
    noise = [[token_hex(8)] for _ in range(min(count, 1_000))]
    assert packed_count(packed(noise)[:PACKED_HEAD_BYTES]) == len(noise)
    assert list(unpacked_folders(packed_pages(noise))) == [tuple(path) for path in noise]


def test_files_and_folders_take_a_block_each() -> None:
    assert disk_bytes(10, 2, 3) == 10 + 5 * 4096


def test_two_files_with_one_path_are_no_offer() -> None:
    """F8: over pages as well; the same name in two folders, or a name that only looks the same, is no such pair."""
    assembly = OfferAssembly(FID)
    assert not assembly.add(Offer(FID, [OfferedFile(["p", "a"], 1, 0), OfferedFile(["q", "a"], 1, 0)], True))
    assert not assembly.add(Offer(FID, [OfferedFile(["p", "a\u200b"], 1, 0)], True))
    with pytest.raises(RemoteError) as caught:
        assembly.add(Offer(FID, [OfferedFile(["p", "a"], 2, 0)], False))
    assert caught.value.code == messages.BAD_FRAME


def test_an_offer_is_held_as_its_bytes() -> None:
    """F2: objects for each file took twenty times the bytes of the wire."""
    files = [OfferedFile([*(f"{n:05d}" for _ in range(31)), "f"], 0, 0) for n in range(2_900)]
    assembly = OfferAssembly(FID)
    tracemalloc.start()
    try:
        for page in offer_pages(FID, files):
            assembly.add(page)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held < 1.2 * assembly.held_bytes + 200_000  # what tracemalloc and the summary take
    assert assembly.held_bytes < sum(offered_bytes(file.path) for file in files)
    noise = [OfferedFile([token_hex(100)], 0, 0) for _ in range(1_000)]
    assembly = OfferAssembly(FID)
    for page in offer_pages(FID, noise):
        assembly.add(page)
    assert 100_000 < assembly.held_bytes < sum(offered_bytes(file.path) for file in noise)


plain = st.from_regex(
    r"[A-Za-z0-9_][A-Za-z0-9_ -]{0,9}(\.([A-Za-z0-9_-]{1,5}|[eE][xX][eE]|sh|desktop)){0,3}", fullmatch=True
)


@given(plain)
def test_the_quick_way_for_plain_names_says_the_same(name: str) -> None:
    summary = Summary()
    summary.add(OfferedFile([name], 1, 0))
    assert summary.warning == name_warning(name)


@given(
    st.lists(offered, min_size=1, max_size=3, unique_by=lambda file: tuple(file.path)),
    st.integers(MAX_SENT_INTEGER - 3, MAX_INTEGER + 3),
)
def test_what_a_sender_may_say_a_reader_takes(files: list[OfferedFile], size: int) -> None:
    """B4: the sums too; a reader takes one byte more, as programs of version 0.1.0 may say."""
    files = [*files, OfferedFile(["the", "last", "one"], max(0, size - sum(file.size for file in files)), 0)]
    total = sum(file.size for file in files)
    sender, assembly = OfferSize(), OfferAssembly(FID)
    refused = [objection for file in files if (objection := sender.add(file))]
    assert bool(refused) is (total > MAX_SENT_INTEGER)
    if total <= MAX_INTEGER:
        for page in offer_pages(FID, files):
            assembly.add(through_the_wire(page))  # type: ignore[arg-type]
    else:
        with pytest.raises(RemoteError):
            assembly.add(Offer(FID, files, False))


def test_names_that_are_too_much_for_one_offer_are_refused_where_they_are_offered() -> None:
    size = OfferSize()
    file = OfferedFile(["d" * MAX_PATH_PART_BYTES] * 31 + ["f"], 1, 0)
    count = MAX_OFFER_BYTES // offered_bytes(file.path)
    assert not any(size.add(file) for _ in range(count))
    refused = size.add(file)
    assert refused is not None
    assert refused[0] == "too-many"


def test_of_an_offer_whose_pages_do_not_come_the_title_counts_nothing() -> None:
    for paths, title in (
        ([["photos", "a.jpg"], ["photos", "b.jpg"]], "photos/ and more"),
        ([["a.txt"], ["b.txt"]], "a.txt and more"),
        ([], "and more"),
    ):
        summary = Summary()
        for path in paths:
            summary.add(OfferedFile(path, 1, 0))
        assert summary.title_so_far() == title
