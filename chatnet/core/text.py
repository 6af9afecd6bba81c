"""Cleans texts of others for a screen, a log or a file name.

Only these functions make SafeText and SafeName, so that the type checker finds every place
where remote text would reach a screen or a path uncleaned.
"""

from __future__ import annotations

import re
import unicodedata
from posixpath import commonprefix, splitext
from typing import NamedTuple, NewType

from chatnet.core.limits import MAX_BODY_BYTES, MAX_TEXT_BYTES

SafeText = NewType("SafeText", str)
SafeName = NewType("SafeName", str)

# Control, format, surrogate, private, unassigned, line and paragraph separators.
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
MARKS = frozenset({"Mn", "Me", "Mc"})
JOINERS = "\u200c\u200d\u180e"  # say how letters join; shown nothing of themselves, and kept only where they say it
VISIBLE_FORMATS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
BLANK = "\u115f\u1160\u3164\uffa0\u2800\u17b4\u17b5"  # look like nothing, are not spaces
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
REPLACEMENT = "\ufffd"
MARKS_IN_TEXT = 4  # on one character, that do not belong to its script
MARKS_IN_NAME = 2
MARKS_OF_SCRIPT = 8  # that belong to the script of the character: as many as the largest Tibetan stack has
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
_IDEOGRAPHIC_VARIANTS = "".join(map(chr, range(0xE0100, 0xE01F0)))
_VARIANTS = "".join(map(chr, range(0xFE00, 0xFE0E)))
_TAGS = "".join(map(chr, range(0xE0020, 0xE0080)))
_OWN_UNSEEN = {"HEBREW": "\u034f", "MONGOLIAN": "\u180b\u180c\u180d\u180e\u180f"}  # by script
_UNSEEN_MARKS = frozenset(
    "\u200c\u200d\ufe0e\ufe0f" + _VARIANTS + _IDEOGRAPHIC_VARIANTS + _TAGS + "".join(_OWN_UNSEEN.values())
)
_UNSEEN = "".join(sorted(_UNSEEN_MARKS))
# A character with marks of which some may not be shown: on nothing, on a blank, unseen themselves, or many.
_DOUBTFUL = re.compile(
    f"(?:^|\\s)(?:{_IS_MARK}.)++"
    f"|[^{_IS_MARK}](?:(?:{_IS_MARK}[^{_UNSEEN}])*+{_IS_MARK}[{_UNSEEN}]|(?:{_IS_MARK}.){{{MARKS_IN_TEXT + 1}}})"
    f"(?:{_IS_MARK}.)*+",
    re.DOTALL,
)
# England, Scotland and Wales are a black flag and tags; no other sequence of tags has a picture of its own.
_FLAGS = tuple("".join(chr(0xE0000 + ord(c)) for c in code) + "\U000e007f" for code in ("gbeng", "gbsct", "gbwls"))
_IS_FLAG = re.compile(f"\U0001f3f4(?:{'|'.join(_FLAGS)})")
# Hidden characters of ordinary names: they say how letters join, or where a line may break.
_ORDINARY = frozenset(JOINERS + VISIBLE_FORMATS + "\u00ad\u200b\u2060")
_VIRAMA = 9  # the combining class of signs that take the vowel from a letter, so that it joins the next one
# Scripts in which joiners say how letters join, also without a virama.
_JOINING = frozenset(
    {"ARABIC", "MANDAIC", "MANICHAEAN", "MONGOLIAN", "NKO", "PHAGS-PA", "SYRIAC"}
    | {"BENGALI", "DEVANAGARI", "GUJARATI", "GURMUKHI", "KANNADA", "MALAYALAM", "ORIYA", "SINHALA", "TAMIL", "TELUGU"}
    | {"KHMER", "MYANMAR", "TIBETAN"}
)
_WITH_FORMATS = _JOINING | {"LAO", "THAI"}  # written with joiners, or without blanks and so with marks for a break


class _Replacements(dict[int, str]):
    """What stands in the place of each character, whatever stands beside it; for ``str.translate``."""

    MOST = 10_000  # of those looked up that are kept: about 1 MB

    def __missing__(self, code: int) -> str:
        if len(self) >= self.MOST:
            self.clear()
        c = chr(code)
        category = unicodedata.category(c)
        is_mark = (c in JOINERS or category in MARKS or c in _TAGS) and c not in BLANK
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
            return c if c in VISIBLE_FORMATS else ""  # soft hyphen and its like: invisible, harmless, and gone
        if category == "Cn" and 0x1F000 <= ord(c) <= 0x1FAFF:
            return c  # an emoji newer than this Python's tables
        return REPLACEMENT if category in HIDDEN or c in BLANK else c


class _Escaped(_Replacements):
    """In JSON: what is not the same on a screen is escaped."""

    def _new(self, c: str, category: str) -> str:
        return _json_escape(c) if c in BLANK or (category in HIDDEN and c not in VISIBLE_FORMATS) else c


_SHOWN = {True: _Shown("\n"), False: _Shown("\u23ce")}
_ESCAPED = _Escaped()


def safe_text(text: str, limit: int = MAX_BODY_BYTES, newlines: bool = True) -> SafeText:
    """Return text that cannot move the cursor, hide, or reorder what stands around it; idempotent."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return SafeText(text)
    shown = _without_surplus(text[:limit].translate(_SHOWN[newlines]))
    if len(shown) > limit:  # by its tabs
        return SafeText(safe_text(shown[:limit], limit, newlines) + "\u2026")
    return SafeText(shown + ("\u2026" if len(text) > limit else ""))


def _without_surplus(text: str) -> str:
    """Return a text whose marks follow ``_IS_MARK`` without that, and without the marks that are not shown."""
    if _IS_MARK not in text:
        return text
    return _DOUBTFUL.sub(_shown_cluster, text).replace(_IS_MARK, "")


def _shown_cluster(found: re.Match[str]) -> str:
    cluster = found[0]
    return _CLUSTERS[cluster] if len(cluster) <= _Clusters.LONGEST else _CLUSTERS.shown(cluster)


class _Clusters(dict[str, str]):
    """What is shown of a character with its marks, each after ``_IS_MARK``; a language has few of them."""

    LONGEST = 20  # of those that are kept; of which there are as many as of replacements

    def __missing__(self, cluster: str) -> str:
        if len(self) >= _Replacements.MOST:
            self.clear()
        shown = self[cluster] = self.shown(cluster)
        return shown

    def shown(self, cluster: str) -> str:
        """Return what is shown of ``cluster``, without keeping it."""
        base, _, marks = cluster.partition(_IS_MARK)
        return base + _marks_shown(base, marks[::2], MARKS_IN_TEXT)


_CLUSTERS = _Clusters()


def _marks_shown(base: str, marks: str, most: int) -> str:
    """Return those of the marks and joiners behind ``base`` that are shown: they belong there, and are few.

    A mark with nothing before it would be drawn on the cell to its left, which is not ours.  One that is not seen
    could make two texts look the same: it is shown only where it changes how the letters look.

    ``most``: marks of other scripts, and those that all scripts share.
    """
    if not base or base.isspace():
        return ""
    if base == "\U0001f3f4" and marks.startswith(_FLAGS):
        end = marks.index("\U000e007f") + 1
        return marks[:end] + _marks_shown("a", marks[end:], most)
    script, is_picture, variants = _TRAITS[base]
    shown, own, others, before = "", 0, 0, base
    for mark in marks:
        if mark in _UNSEEN_MARKS and not (
            mark in variants
            if before == base and mark not in "\u200c\u200d"
            else _joins(mark, script, is_picture, before)
        ):
            continue
        if mark in JOINERS or _TRAITS[mark].script == script:
            own += 1
        else:
            others += 1
        if own > MARKS_OF_SCRIPT or others > most:
            break
        shown, before = shown + mark, mark
        if is_picture and mark == "\u200d":
            break  # the next picture stands on it, and nothing else
    return shown


def _joins(mark: str, script: str, is_picture: bool, before: str) -> bool:
    """Whether an unseen mark that may follow another one means something there."""
    if mark in "\u200c\u200d":
        if before in JOINERS:
            return False
        return script in _JOINING or (is_picture and mark == "\u200d") or unicodedata.combining(before) == _VIRAMA
    return mark in _OWN_UNSEEN.get(script, "")


class _Traits(NamedTuple):
    """What decides whether a mark is kept: the script of the mark, and all three of the character before it."""

    script: str  # by the name of the character, as "MYANMAR"; for marks that all scripts share "COMBINING" or the like
    is_picture: bool  # may be a part of an emoji of several parts
    variants: str  # unseen marks that choose how it looks, next to it


class _AllTraits(dict[str, _Traits]):
    """By character."""

    def __missing__(self, c: str) -> _Traits:
        if len(self) >= _Replacements.MOST:
            self.clear()
        script = unicodedata.name(c, "").partition(" ")[0]
        script = "ARABIC" if script in ("SYRIAC", "THAANA") else script
        is_picture = unicodedata.category(c) == "So" or "\U0001f000" <= c <= "\U0001faff"
        variants = _VARIANTS + (_IDEOGRAPHIC_VARIANTS if script == "CJK" else "") + _OWN_UNSEEN.get(script, "")
        if not c.isalpha() or c == "\u2139":
            variants += "\ufe0e\ufe0f"  # as a letter, as a picture
        traits = self[c] = _Traits(script, is_picture, variants)
        return traits


_TRAITS = _AllTraits()


def json_escaped(encoded: str) -> str:
    """Return a JSON document that says the same as ``encoded`` and is harmless where it is shown.

    Whatever ``safe_text`` hides or replaces is escaped in it as ``\\uXXXX``.  ``encoded`` is JSON of one line, in which
    nothing but ASCII needs to be escaped already.
    """
    if encoded.isascii() and encoded.isprintable():
        return encoded
    new = encoded.translate(_ESCAPED)
    return _MARKED.sub(_escape_surplus, new) if _IS_MARK in new else new


def _escape_surplus(found: re.Match[str]) -> str:
    """Return a character with its marks; those from the first on that is not shown as it is are escaped."""
    base, marks = found[1], found[2][1::2]
    shown = commonprefix((marks, _marks_shown(base, marks, MARKS_IN_TEXT)))
    return base + shown + "".join(map(_json_escape, marks[len(shown) :]))


def _json_escape(c: str) -> str:
    units = c.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def safe_line(text: str, limit: int = 200) -> SafeText:
    """Return one short line: a reason, a name, an address, for the screen or the log."""
    return safe_text(text, limit, newlines=False)


def quoted(title: str) -> SafeText:
    """Return a title of somebody's choice in quotes, for a sentence or a row: it cannot look like words of ours."""
    return SafeText(f'"{safe_line(title).replace(chr(34), chr(39))}"')


def shown_path(path: bytes, limit: int = 1000) -> SafeText:
    """Return a path of this machine for the screen or the log; bytes that are not UTF-8 become U+FFFD."""
    return safe_line(path.decode("utf-8", "replace"), limit)


def wire_line(text: str) -> str:
    """Return a reason as an ERROR carries it: one line of ASCII."""
    return safe_line(text).encode("ascii", "backslashreplace").decode()[:MAX_TEXT_BYTES]


_PLAIN_CHARS = 100
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")


def safe_file_name(offered: str, fallback: str = "file") -> SafeName:
    """Return one path component that is harmless on Linux, macOS and Windows; idempotent; never raises."""
    if len(offered) <= _PLAIN_CHARS and _PLAIN_NAME.fullmatch(offered) and offered.split(".")[0].lower() not in DEVICES:
        return SafeName(offered)  # most names by far, and twenty times quicker
    name = _harmless(offered)
    if name.split(".")[0].rstrip(" ").lower() in DEVICES:
        name = "_" + name
    stem, extension = splitext(name)
    if len(extension.encode()) > EXTENSION_BYTES:
        stem, extension = name, ""
    if len(name.encode()) > NAME_BYTES:
        while len((stem + extension).encode()) > NAME_BYTES:
            stem = stem[:-1]
        name = _without_edges(_few_marks(stem)) + extension  # a sequence may have lost its end
    return SafeName(_without_edges(name) or fallback)


def _harmless(offered: str) -> str:
    """Return the last part of an offered path, of any length, in visible characters that no system takes for others."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", offered[:1024]))[-1]
    visible = "".join(c for c in last if _may_stand_in_name(c))
    while (name := _few_marks(unicodedata.normalize("NFC", visible))) != visible:
        visible = name  # marks that have come together may take another order
    return _without_edges(name)


def _may_stand_in_name(c: str) -> bool:
    if c in BLANK:
        return False
    category = unicodedata.category(c)
    return category not in HIDDEN or c in JOINERS or c in VISIBLE_FORMATS or c in _TAGS


def _few_marks(name: str) -> str:
    """Return a name without marks and joiners that are too many or mean nothing.

    Characters that a system keeps for itself are replaced.
    """
    out = []
    for c in name:
        category = unicodedata.category(c)
        if category in MARKS or (category == "Cf" and c not in VISIBLE_FORMATS):
            out.append(_IS_MARK + c)
        else:
            out.append("_" if c in '<>:"|?*' else " " if category == "Zs" else c)
    marked = "".join(out)
    return _MARKED.sub(lambda found: found[1] + _marks_shown(found[1], found[2][1::2], MARKS_IN_NAME), marked)


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
    """Remove spaces, dots, joiners and marks at the edges that hide, or are read as an option.

    A character that is lost takes its marks along.
    """
    name = name.rstrip(". " + JOINERS)
    while name and (name[0] in "-~. " + JOINERS or name[0] in _TAGS or unicodedata.category(name[0]) in MARKS):
        name = name[1:]
    return name


def _hides_something(offered: str) -> bool:
    """Whether a file name has hidden characters that nobody needs to write it."""
    hidden = {c for c in _IS_FLAG.sub("", offered) if unicodedata.category(c) in HIDDEN}
    if not hidden or not hidden <= _ORDINARY:
        return bool(hidden)
    if any(_TRAITS[c].script in _WITH_FORMATS for c in offered):
        return False
    kept = _harmless(offered)
    return any(offered.count(c) > kept.count(c) for c in hidden)


def name_warning(offered: str) -> str:
    """Return what to tell about an offered file name before it is accepted; empty when nothing."""
    warnings = []
    if _hides_something(offered):
        warnings.append("hidden characters were taken out of the name")
    if splitext(safe_file_name(offered))[1].lower() in PROGRAM_SUFFIXES:
        warnings.append("it is a program: accept only if you asked for it")
    return "; ".join(warnings)
