"""What strangers wrote, made fit for a screen, a log and a file name.

Only these functions make SafeText and SafeName, so that the type checker finds every place
where remote text would reach a screen or a path uncleaned.
"""

from __future__ import annotations

import re
import unicodedata
from posixpath import splitext
from typing import NewType

from chatnet.core.limits import MAX_BODY_BYTES, MAX_TEXT_BYTES

SafeText = NewType("SafeText", str)
SafeName = NewType("SafeName", str)

# Control, format, surrogate, private, unassigned, line and paragraph separators.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
MARKS = frozenset({"Mn", "Me", "Mc"})
JOINERS = "\u200c\u200d\ufe0f"  # needed by scripts and emoji, but only after a visible character
BLANK = "\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5"  # look like nothing, are not spaces
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
REPLACEMENT = "\ufffd"
MARKS_IN_TEXT = 4
MARKS_IN_NAME = 2
NAME_BYTES = 180
EXTENSION_BYTES = 24  # what is longer is no extension, and is cut with the rest
DEVICES = (  # Windows opens a device under these names, whatever the extension
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"com{c}" for c in "0123456789¹²³"}
    | {f"lpt{c}" for c in "0123456789¹²³"}
)
PROGRAM_SUFFIXES = frozenset(
    {
        ".exe",
        ".com",
        ".bat",
        ".cmd",
        ".msi",
        ".scr",
        ".pif",
        ".ps1",
        ".vbs",
        ".hta",
        ".wsf",
        ".cpl",
        ".dll",
        ".lnk",
        ".reg",
    }
    | {".sh", ".bash", ".py", ".pl", ".rb", ".js", ".jar", ".so", ".deb", ".rpm", ".run", ".appimage", ".desktop"}
    | {".app", ".dmg", ".pkg", ".apk"}
)


_IS_MARK = "\ue000"  # stands before each mark and joiner while a text is cleaned; itself it would be replaced
_MARKED = re.compile(f"(^|[^{_IS_MARK}])((?:{_IS_MARK}.)+)", re.DOTALL)
# Marks of which some are not shown: on nothing, on a blank, on a joiner, or too many.
_SURPLUS = re.compile(
    f"(?:^|\\s){_IS_MARK}|{_IS_MARK}\u200d{_IS_MARK}|(?:{_IS_MARK}.){{{MARKS_IN_TEXT + 1}}}", re.DOTALL
)


class _Replacements(dict[int, str]):
    """What stands in the place of each character, whatever stands beside it; for ``str.translate``."""

    MOST = 10_000  # of those looked up that are kept: about 1 MB

    def __missing__(self, code: int) -> str:
        if len(self) >= self.MOST:
            self.clear()
        c = chr(code)
        category = unicodedata.category(c)
        is_mark = (c in JOINERS or category in MARKS) and c not in BLANK
        new = self[code] = _IS_MARK + c if is_mark else self._new(c, category)
        return new

    def _new(self, c: str, category: str) -> str:
        raise NotImplementedError


class _Shown(_Replacements):
    """On a screen."""

    def __init__(self, newline: str) -> None:
        self._newline = newline

    def _new(self, c: str, category: str) -> str:
        if c == "\n":
            return self._newline
        if c == "\t":
            return "    "
        if category == "Cf" and c not in BIDI:
            return ""  # soft hyphen, tags: invisible, harmless, and gone
        if category == "Cn" and 0x1F000 <= ord(c) <= 0x1FAFF:
            return c  # an emoji newer than this Python's tables
        return REPLACEMENT if category in HIDDEN or c in BLANK else c


class _Escaped(_Replacements):
    """In JSON: what is not the same on a screen is escaped."""

    def _new(self, c: str, category: str) -> str:
        return _json_escape(c) if c in BLANK or category in HIDDEN else c


_SHOWN = {True: _Shown("\n"), False: _Shown("\u23ce")}
_ESCAPED = _Escaped()


def safe_text(text: str, limit: int = MAX_BODY_BYTES, newlines: bool = True) -> SafeText:
    """Text that cannot move the cursor, hide, or reorder what stands around it; idempotent."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return SafeText(text)
    shown = text[:limit].translate(_SHOWN[newlines])
    if _IS_MARK in shown:
        if _SURPLUS.search(shown):
            shown = _MARKED.sub(lambda found: "".join(_few_marks(*found.groups())[:2]), shown)
        else:
            shown = shown.replace(_IS_MARK, "")
    # A tab may have made it longer than the limit.
    return SafeText(shown[:limit] + ("\u2026" if len(text) > limit or len(shown) > limit else ""))


def _few_marks(base: str, marks: str) -> tuple[str, str, str]:
    """A character, those of its marks and joiners that are shown, and the others.

    What was dropped between them does not end them.  A mark with nothing before it would be drawn on the cell to
    its left, which is not ours.
    """
    if not base or base.isspace():
        return base, "", marks[1::2]
    marks = marks[1::2]
    first = marks[:MARKS_IN_TEXT]
    joiner = first.find("\u200d") + 1
    shown = first[:joiner] if joiner else first  # nothing stands on a joiner
    return base, shown, marks[len(shown) :]


def json_escaped(encoded: str) -> str:
    """A JSON document that says the same and is harmless where it is shown: in it stands escaped as ``\\uXXXX``
    whatever ``safe_text`` hides or replaces.

    ``encoded`` is JSON of one line, in which nothing but ASCII needs to be escaped already.
    """
    if encoded.isascii() and encoded.isprintable():
        return encoded
    new = encoded.translate(_ESCAPED)
    return _MARKED.sub(_escape_surplus, new) if _IS_MARK in new else new


def _escape_surplus(found: re.Match[str]) -> str:
    base, shown, surplus = _few_marks(*found.groups())
    return base + shown + "".join(map(_json_escape, surplus))


def _json_escape(c: str) -> str:
    units = c.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def safe_line(text: str, limit: int = 200) -> SafeText:
    """One short line: a reason, a name, an address, for the screen or the log."""
    return safe_text(text, limit, newlines=False)


def quoted(title: str) -> SafeText:
    """A title of somebody's choice as it stands in a sentence or a row: no title can look like words of ours."""
    return SafeText(f'"{safe_line(title).replace(chr(34), chr(39))}"')


def shown_path(path: bytes, limit: int = 1000) -> SafeText:
    """A path of this machine, for the screen or the log; bytes that are not UTF-8 become U+FFFD."""
    return safe_line(path.decode("utf-8", "replace"), limit)


def wire_line(text: str) -> str:
    """A reason as an ERROR carries it: one line of ASCII."""
    return safe_line(text).encode("ascii", "backslashreplace").decode()[:MAX_TEXT_BYTES]


_PLAIN_CHARS = 100
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


def safe_file_name(offered: str, fallback: str = "file") -> SafeName:
    """One path component that is harmless on Linux, macOS and Windows; idempotent; never raises."""
    if len(offered) <= _PLAIN_CHARS and _PLAIN_NAME.fullmatch(offered) and offered.split(".")[0].lower() not in DEVICES:
        return SafeName(offered)  # most names by far, and twenty times quicker
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", offered[:1024]))[-1]
    visible = "".join(c for c in last if unicodedata.category(c) not in HIDDEN)
    out: list[str] = []
    run = 0
    for c in unicodedata.normalize("NFC", visible):  # again: marks that have come together take another order
        category = unicodedata.category(c)
        run = run + 1 if category in MARKS else 0
        if run > MARKS_IN_NAME or (run and (not out or out[-1] == " ")):
            continue
        out.append("_" if c in '<>:"|?*' else " " if category == "Zs" else c)
    name = _without_edges(unicodedata.normalize("NFC", "".join(out)))
    if name.split(".")[0].rstrip(" ").lower() in DEVICES:
        name = "_" + name
    stem, extension = splitext(name)
    if len(extension.encode()) > EXTENSION_BYTES:
        stem, extension = name, ""
    while len((stem + extension).encode()) > NAME_BYTES:
        stem = stem[:-1]
    return SafeName((stem + extension).rstrip(". ") or fallback)


_NEVER_KEPT = re.compile(r'[<>:"|?*/\\]|^[-~. ]|[. ]$')


def gets_other_name(offered: str) -> bool:
    """Whether ``safe_file_name`` changes an offered name so that it can be seen: more than its form in Unicode.

    It says so of most names without making the other one, in a tenth of the time.
    """
    name = unicodedata.normalize("NFC", offered)
    if not name.isprintable() or _NEVER_KEPT.search(name) or len(name.encode()) > NAME_BYTES:
        return True
    if name.isascii() or not any(unicodedata.category(c) in MARKS for c in name):
        return name.split(".")[0].rstrip(" ").lower() in DEVICES
    return safe_file_name(offered) != name


def _without_edges(name: str) -> str:
    """No space, dot or mark at the edges that hides, or is read as an option; a lost base takes its marks along."""
    name = name.rstrip(". ")
    while name and (name[0] in "-~. " or unicodedata.category(name[0]) in MARKS):
        name = name[1:]
    return name


def name_warning(offered: str) -> str:
    """What to tell about an offered file name before it is accepted; empty when nothing."""
    warnings = []
    if any(c in BIDI or unicodedata.category(c) in HIDDEN for c in offered):
        warnings.append("hidden characters were taken out of the name")
    if splitext(safe_file_name(offered))[1].lower() in PROGRAM_SUFFIXES:
        warnings.append("it is a program: accept only if you asked for it")
    return "; ".join(warnings)
