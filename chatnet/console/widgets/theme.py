"""How things look: attributes named by meaning, and the signs that carry the state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Name, foreground and background on dark, foreground and background on light, without colour.  A terminal need
# not say which it is: those of dark can be read on light, too.
_LOOKS: tuple[tuple[str, str, str, str, str, str], ...] = (
    ("header", "white", "dark blue", "white", "dark blue", "standout"),
    ("header.alarm", "yellow,bold", "dark blue", "yellow,bold", "dark blue", "standout,bold"),
    ("tab", "default", "default", "dark gray", "default", "default"),
    ("tab.here", "default,bold", "default", "default,bold", "default", "bold,underline"),
    ("tab.news", "brown", "default", "brown", "default", "bold"),
    ("line", "dark gray", "default", "dark gray", "default", "default"),
    ("group", "dark cyan", "default", "dark blue", "default", "bold"),
    ("person", "default", "default", "default", "default", "default"),
    ("person.offline", "dark gray", "default", "dark gray", "default", "default"),
    ("person.news", "brown", "default", "brown", "default", "bold"),
    ("selected", "black", "light gray", "white", "dark gray", "standout"),
    ("time", "dark gray", "default", "dark gray", "default", "default"),
    ("name.theirs", "dark cyan", "default", "dark cyan", "default", "bold"),
    ("name.own", "dark green", "default", "dark green", "default", "default"),
    ("name.chatnet", "brown", "default", "brown", "default", "bold"),
    ("text", "default", "default", "default", "default", "default"),
    ("text.soft", "dark gray", "default", "dark gray", "default", "default"),
    ("key", "dark cyan", "default", "dark blue", "default", "bold"),
    ("state", "dark gray", "default", "dark gray", "default", "default"),
    ("state.good", "dark green", "default", "dark green", "default", "default"),
    ("state.wait", "brown", "default", "brown", "default", "default"),
    ("state.error", "light red", "default", "dark red", "default", "bold"),
    ("qr", "black", "white", "black", "white", "standout"),
    ("new", "light red", "default", "dark red", "default", "bold"),
    ("bar", "dark cyan", "default", "dark blue", "default", "default"),
    ("prompt", "dark cyan", "default", "dark blue", "default", "bold"),
    ("prompt.alarm", "light red", "default", "dark red", "default", "bold"),
    ("button", "black", "light gray", "white", "dark gray", "standout"),
    ("footer", "light gray", "dark gray", "black", "light gray", "standout"),
    ("footer.warning", "yellow,bold", "dark gray", "dark red,bold", "light gray", "standout,bold"),
    ("field", "white", "dark gray", "black", "light gray", "underline"),
    ("field.here", "black", "light cyan", "white", "dark blue", "standout"),
)


def palette(theme: str) -> list[tuple[str, str, str, str]]:
    """Rows for urwid's screen: name, foreground, background, and the look without colour."""
    light = theme == "light"
    return [(name, lf if light else df, lb if light else db, mono) for name, df, db, lf, lb, mono in _LOOKS]


def theme_of(environ: Mapping[str, str]) -> str:
    """``dark`` or ``light``: CHATNET_THEME, else what the terminal says of its background, else dark."""
    chosen = environ.get("CHATNET_THEME", "")
    if chosen in ("dark", "light"):
        return chosen
    background = environ.get("COLORFGBG", "").rpartition(";")[2]
    return "light" if background in ("7", "15") else "dark"


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
