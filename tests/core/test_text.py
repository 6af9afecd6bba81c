"""What strangers wrote: properties that hold for any text, and the worst of it by name."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatnet.core import text as cleaning
from chatnet.core.errors import LocalError
from chatnet.core.text import (
    BIDI,
    BLANK,
    DEVICES,
    HIDDEN,
    JOINERS,
    MARKS,
    MARKS_IN_NAME,
    MARKS_IN_TEXT,
    NAME_BYTES,
    gets_other_name,
    json_escaped,
    name_warning,
    quoted,
    safe_file_name,
    safe_line,
    safe_text,
    shown_path,
)

ZALGO = "a" + "\u0301" * 60
HOSTILE = [
    "\x1b[2J\x1b[H",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x9b31m",
    "\x1bP+q\x1b\\",
    "a\rb\bc\x7f",
    "\u202etxt.exe",
    "\u2066\u2067\u2068\u2069\u061c",
    "\u2028\u2029",
    "\ufeffx\u200bx\u2060x\u00adx",
    "\U000e0041\U000e007f",
    "\ud800 \udfff",
    "\ufdd0\ufffe\U0010ffff",
    "\ue000\U000f0000",
    "\u3164\u115f\u2800\u17b4",
    ZALGO,
    ("a" + "\u0301" * 4 + "\u00ad" + "\u0301" * 4 + "\u200b" + "\u0301" * 4) * 3,
    "\u0301 leading mark",
    " \u200d\u200d\ufe0f",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\ufe0f",
    "\U0001fae9 newer than the tables",
    "שלום مرحبا",
    "\t" * 50,
    "a\n\nb",
    "",
]
PIECES = st.sampled_from(
    [
        *HOSTILE,
        "a",
        "é",
        " ",
        ".",
        "-",
        "~",
        "/",
        "\\",
        "..",
        "\0",
        "CON",
        "nul",
        "COM¹",
        ".txt",
        "\u0301",
        "\u200d",
        "字",
        ":",
    ]
)
TEXTS = st.lists(
    PIECES | st.text(max_size=6) | st.text(st.characters(categories=["Mn", "Cf", "Zs", "Cs"]), max_size=6)
).map("".join)


def runs_of_marks(text: str) -> list[tuple[str, int]]:
    """``(base, number of marks and joiners behind it)``; base is empty at the beginning."""
    found = [("", 0)]
    for c in text:
        if c in JOINERS or unicodedata.category(c) in MARKS:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((c, 0))
    return found


@settings(max_examples=500)
@given(TEXTS, st.booleans())
def test_nothing_that_moves_hides_or_reorders(text: str, newlines: bool) -> None:
    shown = safe_text(text, newlines=newlines)
    for c in shown:
        if c in JOINERS or (c == "\n" and newlines):
            continue
        category = unicodedata.category(c)
        assert category not in HIDDEN or (category == "Cn" and 0x1F000 <= ord(c) <= 0x1FAFF)
        assert c not in BLANK
        assert c not in BIDI
    shown.encode()  # no half of a pair


@settings(max_examples=500)
@given(TEXTS)
def test_few_marks_and_none_without_a_letter(text: str) -> None:
    for base, marks in runs_of_marks(safe_text(text)):
        assert marks <= MARKS_IN_TEXT
        assert marks == 0 or (base and not base.isspace())


@settings(max_examples=500)
@given(TEXTS, st.integers(0, 40), st.booleans())
@example("\t" * 50, 40, True)
@example("a\u00ad" + "\u0301" * 9, 40, True)
def test_cleaning_twice_changes_nothing(text: str, limit: int, newlines: bool) -> None:
    once = safe_text(text, limit, newlines)
    assert safe_text(once, limit, newlines) == once
    assert len(once) <= limit + 1


@given(
    st.text(st.characters(categories=["L", "N", "P", "S"]), max_size=50).filter(lambda text: not set(text) & set(BLANK))
)
def test_plain_text_of_any_script_stays_as_it_is(text: str) -> None:
    assert safe_text(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\ufffd[2J"),
        ("a\tb\nc", "a    b\nc"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("\U0001fae8 a\u00adb \u202ex", "\U0001fae8 ab \ufffdx"),
        ("e\u0301", "e\u0301"),
        ("\u0301x", "x"),
        ("\ud800", "\ufffd"),
        ("\ufdd0", "\ufffd"),
        ("\u3164", "\ufffd"),
        ("x\u17b4", "x\ufffd"),
        (ZALGO, "a" + "\u0301" * 4),
        ("a" + ("\u0301" * 4 + "\u00ad") * 9, "a" + "\u0301" * 4),
    ],
)
def test_what_becomes_of_it(text: str, shown: str) -> None:
    assert safe_text(text) == shown


def test_long_text_is_cut_and_says_so() -> None:
    assert safe_text("x" * 11, 10) == "x" * 10 + "…"
    assert safe_text("x" * 10, 10) == "x" * 10
    assert safe_text("\t\t\t", 10) == " " * 10 + "…"
    assert len(safe_line("y" * 999)) == 201


def test_a_line_is_one_line() -> None:
    assert safe_line("a\nb\r\nc") == "a⏎b\ufffd⏎c"


@settings(max_examples=1000)
@given(TEXTS, st.sampled_from(["file", "folder"]))
@example("a." + "b" * 300, "file")
@example("a" + ("\u0301\u0301\u200b" * 5), "file")
@example("-\u0301a", "file")
@example("x" * 179 + "字.t", "file")
@example("x" * 178 + ". .txt", "file")
def test_a_file_name_is_one_harmless_component(text: str, fallback: str) -> None:
    name = safe_file_name(text, fallback)
    assert name
    assert not set(name) & set('/\\\0<>:"|?*')
    assert not name.startswith((".", "-", "~", " "))
    assert not name.endswith((".", " "))
    assert len(name.encode()) <= NAME_BYTES
    assert unicodedata.normalize("NFC", name) == name
    assert not any(unicodedata.category(c) in HIDDEN for c in name)
    assert name.split(".")[0].rstrip(" ").lower() not in DEVICES
    for base, marks in runs_of_marks(name):
        assert marks <= MARKS_IN_NAME
        assert marks == 0 or base
    assert safe_file_name(name, fallback) == name


@pytest.mark.parametrize(
    ("offered", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\Users\\x.txt", "x.txt"),
        ("/", "file"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("~root", "root"),
        ("a\0b", "ab"),
        ("con", "_con"),
        ("NUL .txt", "_NUL .txt"),
        ("COM¹.log", "_COM¹.log"),
        ("name. . .", "name"),
        ("what?*.txt", "what__.txt"),
        ("e\u0301.txt", "é.txt"),
        ("gpj\u202egnp.exe", "gpjgnp.exe"),
        ("\u0301a", "a"),
        ("a\u00a0b", "a b"),
        ("\u1ed5\u20f0\u200d\u0328", "\u01eb\u0302\u0309"),  # what it hid kept a mark from its place
    ],
)
def test_names_by_name(offered: str, name: str) -> None:
    assert safe_file_name(offered) == name


def test_a_long_name_keeps_its_extension_and_a_long_extension_is_none() -> None:
    assert safe_file_name("x" * 400 + ".tar.gz") == "x" * 177 + ".gz"
    assert safe_file_name("a." + "b" * 400) == "a." + "b" * 178
    assert safe_file_name("字" * 100 + ".txt") == "字" * 58 + ".txt"


@pytest.mark.parametrize("offered", ["a.exe", "photo.jpg.SH", "run.desktop", "x.exe ", "x.exe."])
def test_a_program_is_called_one(offered: str) -> None:
    assert "program" in name_warning(offered)


def test_warnings() -> None:
    assert name_warning("photo.jpg") == ""
    assert "hidden" in name_warning("photo\u202egpj.txt")
    assert name_warning("\u202eexe.exe").count(";") == 1


def test_a_path_is_shown_as_one_line_that_can_be_encoded() -> None:
    assert shown_path(b"/home/ann/caf\xc3\xa9.txt") == "/home/ann/café.txt"
    assert shown_path(b"/d\xff/a\nb\x1b[2J") == "/d\ufffd/a\u23ceb\ufffd[2J"
    assert shown_path(b"/" + b"x" * 50, 10) == "/xxxxxxxxx\u2026"


def test_the_text_of_an_error_can_be_encoded() -> None:
    assert LocalError("unwritable", "/d\udcff cannot be written").text == "/d? cannot be written"


def test_no_title_ends_its_own_quotes() -> None:
    """F14."""
    assert quoted("video.mkv") == '"video.mkv"'
    assert quoted('a"  \u2713 delivered') == '"a\'  \u2713 delivered"'


def test_many_different_characters_are_not_all_remembered() -> None:
    for start in range(0, 0x110000, 16_384):
        safe_text("".join(map(chr, range(start, min(start + 16_384, 0x110000)))))
    assert all(len(shown) <= shown.MOST for shown in cleaning._SHOWN.values())


@given(st.one_of(st.text(), st.text(st.sampled_from(["\u202e", "\x9b", "\u0301", "\u200d", "\\", '"', "a", "\n"]))))
@example("\ud800x\U000e0041\ufdd0\U0010ffff\x00\x7f\x9b\u202e\\\u2028\ue000\u0301")
@example("e" + "\u0301" * 6)
@example("\U0001f468\u200d\U0001f469 \u0915\u094d\u200d\u0937")
def test_escaped_json_says_the_same_and_shows_nothing_that_safe_text_hides(body: str) -> None:
    encoded = json_escaped(json.dumps({"text": body}, ensure_ascii=False))
    assert json.loads(encoded) == {"text": body}
    assert safe_text(encoded, len(encoded)) == encoded


def test_what_is_shown_is_not_escaped() -> None:
    plain = '"\u4f60\u597d e\u0301 \U0001f468\u200d\U0001f469"'
    assert json_escaped(plain) == plain
    assert json_escaped('"\x9b\u202e\U000e0041"') == r'"\u009b\u202e\udb40\udc41"'
    assert json_escaped('"e\u0301\u0301\u0301\u0301\u0301"') == '"e\u0301\u0301\u0301\u0301\\u0301"'


names = st.text(min_size=1, max_size=12) | st.text("a.- ~:<\u0338\u0301\u0e31e\u200d\u2000", min_size=1, max_size=8)


@given(names | st.sampled_from(sorted(cleaning.DEVICES)).flatmap(lambda name: st.sampled_from([name, f"{name} .x"])))
@example("<\u0338")
@example("n" * 181)
@example("e\u0301" * 90 + ".x")
@example("a." + "b" * 30)
def test_whether_a_name_changes_is_said_as_it_is_made(name: str) -> None:
    assert gets_other_name(name) is (safe_file_name(name) != unicodedata.normalize("NFC", name))
