"""How things look: attributes named by meaning, and the signs that carry the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chatnet.core.choices import Theme

# Each look is a foreground, or "foreground on background"; without the latter the window's background stays.
#
# No text is dark gray ("bright black"): on many palettes that is the background, or nearly so.  Dark and light take
# only those of the sixteen colours that can be read on the usual palettes, which tests/console/widgets/test_theme.py
# knows.  A background is never one of the bright colours: the Linux console makes its text blink.
_LOOKS: tuple[tuple[str, str, str, str, str], ...] = (
    # name, dark, light, high contrast, without colour
    ("header", "white on dark blue", "white on dark blue", "black on white", "standout"),
    ("header.alarm", "white,bold on dark red", "white,bold on dark red", "black on yellow", "standout,bold"),
    ("tab", "default", "default", "white", "default"),
    ("tab.here", "default,bold", "default,bold", "white,bold,underline", "bold,underline"),
    ("tab.news", "brown", "dark magenta", "yellow,bold", "bold"),
    ("line", "default,faint", "default,faint", "white", "default"),
    ("group", "dark cyan", "dark blue", "cyan,bold", "bold"),
    ("person", "default", "default", "white", "default"),
    ("person.offline", "default", "default", "white", "default"),
    ("person.news", "brown", "dark magenta", "yellow,bold", "bold"),
    ("selected", "black on light gray", "white on dark blue", "black on white", "standout"),
    ("time", "default", "default", "white", "default"),
    ("name.theirs", "dark cyan", "dark blue", "cyan,bold", "bold"),
    ("name.own", "dark green", "default", "green", "default"),
    ("name.chatnet", "brown", "dark magenta", "yellow,bold", "bold"),
    ("text", "default", "default", "white", "default"),
    ("text.soft", "default", "default", "white", "default"),
    ("key", "dark cyan", "dark blue", "cyan,bold", "bold"),
    ("state", "default", "default", "white", "default"),
    ("state.good", "dark green", "dark blue", "green", "default"),
    ("state.wait", "brown", "dark magenta", "yellow", "default"),
    ("state.error", "light red", "dark red", "red,bold", "bold"),
    ("qr", "black on light gray", "black on light gray", "black on white", "standout"),
    ("new", "light red", "dark red", "red,bold", "bold"),
    ("bar", "dark cyan", "dark blue", "white", "default"),
    ("prompt", "dark cyan", "dark blue", "cyan,bold", "bold"),
    ("prompt.alarm", "light red", "dark red", "red,bold", "bold"),
    ("button", "black on dark cyan", "white on dark blue", "black on white", "standout"),
    ("footer", "black on light gray", "black on light gray", "black on white", "standout"),
    ("footer.warning", "white,bold on dark red", "white,bold on dark red", "black on yellow", "standout,bold"),
    ("field", "white on dark blue", "black,underline on light gray", "white,underline", "underline"),
    ("field.here", "black on light gray", "white on dark blue", "black on white", "standout"),
)

# High contrast paints its own background, and takes colours that the terminal's palette does not change where there
# are 256 of them; with sixteen it is black and white.  As text, as background, and as one of 256.
_FIXED = {
    "black": ("black", "black", "h16"),
    "white": ("white", "light gray", "h231"),
    "yellow": ("white", "light gray", "h226"),
    "cyan": ("white", "light gray", "h51"),
    "green": ("white", "light gray", "h120"),
    "red": ("white", "light gray", "h217"),
}

Entry = tuple[str | None, str, str, str, str, str]


def palette(theme: Theme) -> list[Entry]:
    """Return the rows for urwid's screen.

    Each has name, foreground, background, the look without colour, and both with 256 colours.  The name None is what
    has no look of its own.
    """
    if theme is Theme.HIGH_CONTRAST:
        return [_fixed(None, "white", "default"), *(_fixed(name, look, mono) for name, _, _, look, mono in _LOOKS)]
    looks = {
        Theme.DARK: [(name, dark) for name, dark, *_ in _LOOKS],
        Theme.LIGHT: [(name, light) for name, _, light, *_ in _LOOKS],
        Theme.MONO: [(name, _without_color(mono)) for name, *_, mono in _LOOKS],
    }[theme]
    monos = (mono for *_, mono in _LOOKS)
    return [
        _as_given(None, "default", "default"),
        *(_as_given(*look, mono) for look, mono in zip(looks, monos, strict=True)),
    ]


def _as_given(name: str | None, look: str, mono: str) -> Entry:
    """Return an entry in the colours of the terminal's palette."""
    foreground, background = _parts(look, "default")
    return name, foreground, background, mono, foreground, background


def _fixed(name: str | None, look: str, mono: str) -> Entry:
    """Return an entry in the colours of ``_FIXED``."""
    text, background = _parts(look, "black")
    color, *settings = text.split(",")
    basic, _, high = _FIXED[color]
    _, ground, high_ground = _FIXED[background]
    return name, ",".join([basic, *settings]), ground, mono, ",".join([high, *settings]), high_ground


def _parts(look: str, usual: str) -> tuple[str, str]:
    foreground, _, background = look.partition(" on ")
    return foreground, background or usual


def _without_color(mono: str) -> str:
    return mono if mono == "default" else f"default,{mono}"


def theme_of(environ: Mapping[str, str]) -> Theme:
    """Return the theme where nobody has chosen one: by NO_COLOR, by the terminal's background, else dark."""
    if environ.get("NO_COLOR"):
        return Theme.MONO
    background = environ.get("COLORFGBG", "").rpartition(";")[2]
    return Theme.LIGHT if background in ("7", "15") else Theme.DARK


@dataclass(frozen=True)
class Signs:
    """One character a state; the words beside them say the same."""

    online: str
    offline: str
    waiting: str
    sent: str
    delivered: str
    failed: str
    alarm: str
    incoming: str
    outgoing: str
    verified: str  # behind a name: people have compared the keys
    queued: str  # before the number of messages that wait for somebody
    below: str  # there are newer rows below
    here_left: str
    here_right: str
    more_left: str
    more_right: str
    rule: str
    wall: str
    full: str
    empty: str
    dot: str  # between two facts
    ellipsis: str


UNICODE = Signs(
    online="●",
    offline="○",
    waiting="·",
    sent="→",
    delivered="✓",
    failed="✗",
    alarm="!",
    incoming="↓",
    outgoing="↑",
    verified="✓",
    queued="▲",
    below="▼",
    here_left="▸",
    here_right="◂",
    more_left="‹",
    more_right="›",
    rule="─",
    wall="│",
    full="█",
    empty="░",
    dot="·",
    ellipsis="…",
)
ASCII = Signs(
    online="*",
    offline="o",
    waiting=".",
    sent=">",
    delivered="+",
    failed="x",
    alarm="!",
    incoming="<",
    outgoing="^",
    verified="+",
    queued="^",
    below="v",
    here_left="[",
    here_right="]",
    more_left="<",
    more_right=">",
    rule="-",
    wall="|",
    full="#",
    empty="-",
    dot="-",
    ellipsis="...",
)
