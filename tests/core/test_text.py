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
    MARKS_OF_SCRIPT,
    NAME_BYTES,
    VISIBLE_FORMATS,
    gets_other_name,
    json_escaped,
    name_warning,
    quoted,
    safe_file_name,
    safe_line,
    safe_text,
    shown_path,
)

WALES = "\U0001f3f4\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"
FLAGS = [
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in code) + "\U000e007f" for code in ("gbeng", "gbsct", "gbwls")
]
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


def is_hidden(text: str, at: int) -> bool:
    """Whether a character is not shown and not one that may stand there: judged by its neighbours alone."""
    c = text[at]
    category = unicodedata.category(c)
    if category not in HIDDEN or c in JOINERS or c in VISIBLE_FORMATS or c == "\n":
        return c in BLANK
    if category == "Cn" and 0x1F000 <= ord(c) <= 0x1FAFF:
        return False
    flag = text.rfind("\U0001f3f4", 0, at)
    return flag < 0 or text[flag : flag + 7] not in FLAGS or at - flag > 6


def too_many_marks(text: str, most: int) -> bool:
    """Whether a character has more marks than any script needs, or marks stand on nothing."""
    return any(
        marks > most + MARKS_OF_SCRIPT or (marks and (not base or base.isspace()))
        for base, marks in runs_of_marks(text)
    )


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
    assert newlines or "\n" not in shown
    assert not set(shown) & set(BIDI)
    assert not any(is_hidden(shown, at) for at in range(len(shown)))
    shown.encode()  # no half of a pair


@settings(max_examples=500)
@given(TEXTS)
def test_few_marks_and_none_without_a_letter(text: str) -> None:
    assert not too_many_marks(safe_text(text), MARKS_IN_TEXT)


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
    assert not any(is_hidden(name, at) for at in range(len(name)))
    assert name.split(".")[0].rstrip(" ").lower() not in DEVICES
    assert not too_many_marks(name, MARKS_IN_NAME)
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
    for n in range(30):
        safe_text("".join(f"{chr(0x4E00 + n * 500 + k)}\ufe0f" for k in range(500)))
    most = cleaning._SHOWN[True].MOST
    assert len(cleaning._CLUSTERS) <= most
    assert len(cleaning._TRAITS) <= most


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


# --- scripts ---------------------------------------------------------------------------------------

WORDS = [
    "\u1019\u103c\u1014\u103a\u1019\u102c\u1014\u102d\u102f\u1004\u103a\u1004\u1036",  # Burmese: Myanmar
    "\u1019\u103c\u103e\u102f\u1036\u1037",  # five marks on one letter
    "\u1000\u103c\u102d\u102f\u1038\u1005\u102c\u1038",
    "\u0f56\u0f7c\u0f51\u0f0b\u0f66\u0f90\u0f51\u0f0b\u0f61\u0f72\u0f42",  # Tibetan: the Tibetan language
    "\u0f56\u0f66\u0f92\u0fb2\u0f74\u0f56\u0f66",
    "\u0f67\u0f90\u0fb5\u0fa8\u0fb3\u0fba\u0fbc\u0fbb\u0f82",  # the largest stack in use
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: I want
    "\u06a9\u062a\u0627\u0628\u200c\u0647\u0627\u06cc \u0645\u0646",  # my books
    "\u0647\u200d. 1405",  # the letter in the form of a beginning, for the Hijri year
    "\u0645\u064f\u062d\u064e\u0645\u0651\u064e\u062f\u064c",  # Arabic with its vowels
    "\u06dd\u0661",  # the end of a verse, and its number
    "\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd",  # Hebrew with its points
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0915\u094d\u0937",  # Hindi
    "\u0915\u094d\u200d\u0937 \u0915\u094d\u200c\u0937",  # the same letters half, and apart
    "\u0930\u094d\u200d\u092f",  # Marathi
    "\u09b0\u200d\u09cd\u09af\u09be\u09ac",  # Bengali: the joiner stands before the virama
    "\u0ba4\u0bae\u0bbf\u0bb4\u0bcd \u0b95\u0bcd\u200c\u0bb7",  # Tamil
    "\u0c24\u0c46\u0c32\u0c41\u0c17\u0c41",  # Telugu
    "\u0cb0\u200d\u0ccd\u0caf",  # Kannada
    "\u0d28\u0d4d\u200d",  # Malayalam
    "\u0dc1\u0dca\u200d\u0dbb\u0dd3 \u0dbd\u0d82\u0d9a\u0dcf",  # Sinhala: Sri Lanka
    "\u1797\u17b6\u179f\u17b6\u1781\u17d2\u1798\u17c2\u179a",  # Khmer
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0e17\u0e35\u0e48 \u0e19\u0e49\u0e33",  # Thai
    "\u0e9e\u0eb2\u0eaa\u0eb2\u0ea5\u0eb2\u0ea7",  # Lao
    "\u182a\u1820\u1836\u1822\u1828\u180e\u1820",  # Mongolian, with its vowel separator
    "\u1820\u180b\u1824",
    "\u12a0\u121b\u122d\u129b",  # Amharic
    "Ti\u1ebfng Vi\u1ec7t",
    "\u1ecd\u0300r\u1ecd\u0300",  # Yoruba
    "\u845b\U000e0100\u57ce",  # Japanese: a variant of a name's ideograph
    "\ud55c\uad6d\uc5b4",
    "\u0928\u0947\u092a\u093e\u0932\u0940",
    "\u0710\u0733\u0712",  # Syriac
]
PICTURES = [
    *FLAGS,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",  # a family
    "\U0001f469\U0001f3fd\u200d\U0001f680",  # a woman astronaut
    "\U0001f3f3\ufe0f\u200d\U0001f308",  # the rainbow flag
    "\U0001f642\u200d\u2194\ufe0f",  # a head that shakes
    "\u2764\ufe0f",
    "\u260e\ufe0e",  # a telephone, not in colour
    "1\ufe0f\u20e3",  # a key
    "\U0001f1e9\U0001f1ea",
    "\u2139\ufe0f",
]


@pytest.mark.parametrize("word", [*WORDS, *PICTURES])
def test_no_script_loses_a_mark_or_a_joiner_that_it_needs(word: str) -> None:
    """B11."""
    for text in (word, f"x {word} x", f"{word}\n{word}"):
        assert safe_text(text) == text
        assert json_escaped(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)


@pytest.mark.parametrize("word", [*WORDS, *PICTURES])
def test_a_file_keeps_its_name_in_every_script_without_a_warning(word: str) -> None:
    """B11."""
    name = unicodedata.normalize("NFC", f"{word}x.txt")
    assert safe_file_name(name) == name
    assert safe_file_name(name, "folder") == name
    assert name_warning(name) == ""
    assert quoted(safe_line(safe_file_name(name), 80)) == f'"{name}"'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pay\u200dpal b\u200cob", "paypal bob"),  # Latin letters do not join
        ("\u5b57\u200d\u5b57", "\u5b57\u5b57"),
        ("\u0645\u200c\u200c\u200d\u06cc", "\u0645\u200c\u06cc"),  # one joiner says it
        ("a\U000e0067\U000e0062\U000e007f", "a"),  # a text in tags that nobody sees
        ("\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in "ustx") + "\U000e007f", "\U0001f3f4"),
        (WALES[:-1], "\U0001f3f4"),
        (WALES + "\U000e0041", WALES),
        ("a" + "".join(chr(0xE0100 + n) for n in range(40)), "a"),  # bytes hidden in variants
        ("\u845b\U000e0100\U000e0101", "\u845b\U000e0100"),
        ("a\ufe0fb", "ab"),
        ("\u2764\ufe0f\ufe0f", "\u2764\ufe0f"),
        ("a\u034f\u0301", "a\u0301"),
        ("a\u180b\u180eb", "ab"),
        ("\u1019" + "\u0301" * 9, "\u1019" + "\u0301" * 4),
        ("\u1019" + "\u102f" * 20, "\u1019" + "\u102f" * 8),
        ("a" + "\u102f" * 20, "a" + "\u102f" * 4),
        ("\U0001f468\u200d\u0301\U0001f469", "\U0001f468\u200d\U0001f469"),
        (" \u200c\u064e", " "),
    ],
)
def test_what_means_nothing_where_it_stands_is_not_shown(text: str, shown: str) -> None:
    """B11: a text that looks like another one, or hides a third."""
    assert safe_text(text) == shown


def test_what_hides_in_a_name_is_taken_out_and_told() -> None:
    assert safe_file_name("in\u200dvoice\u200c.pdf") == "invoice.pdf"
    assert safe_file_name("\u3164a\u2800.txt") == "a.txt"
    assert "hidden" in name_warning("a\U000e0067\U000e007f.txt")
    assert "hidden" in name_warning("\u0645\u06cc\u202e.txt")
    assert "hidden" in name_warning("a\u2066.txt")
    assert name_warning("\u1781\u17d2\u1798\u17c2\u179a\u200b\u1797\u17b6.txt") == ""  # says where Khmer may break


@given(st.lists(st.sampled_from([*WORDS, *PICTURES]), min_size=1, max_size=40), st.integers(1, 60))
def test_words_that_are_cut_stay_what_they_are(words: list[str], limit: int) -> None:
    text = " ".join(words)
    shown = safe_text(text, limit)
    assert text.startswith(shown.removesuffix("\u2026").rstrip("".join(map(chr, range(0xE0020, 0xE0080)))))
    assert safe_text(shown, limit) == shown
    name = safe_file_name(text)
    assert len(name.encode()) <= NAME_BYTES
    assert safe_file_name(name) == name
    assert name_warning(text) == ""
