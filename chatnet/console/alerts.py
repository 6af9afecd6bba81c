"""What a person is told while they look elsewhere: by the bell, and by a notice on the desktop.

Terminals show a notice for an escape sequence: OSC 9 (iTerm2, kitty, WezTerm, Windows Terminal and others) or
OSC 777 (rxvt-unicode, foot, VTE).  A terminal that knows neither passes over both; the few that would print them
get the bell alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from chatnet.console.widgets.wording import count_text
from chatnet.core.choices import Choice
from chatnet.core.events import AlertContent, ChatMessage, MessageKind, MessageState
from chatnet.core.limits import ALERT_CHARS, ALERT_SECONDS
from chatnet.core.text import quoted, safe_line

BELL = "\a"
_OSC, _ST = "\x1b]", "\x1b\\"
_PRINT_SEQUENCES = ("linux", "dumb", "fbterm", "cons", "vt1", "vt2", "vt3", "vt5")  # beginnings of TERM


class AlertQueue:
    """Collects what comes while the terminal has not the focus, and says what to tell of it.

    ``content`` is what a notice says, and ``muted`` has the PeerIDs of whom nothing is told.  Times are seconds of
    one clock.
    """

    def __init__(self, content: Choice[AlertContent], muted: Collection[bytes] = ()) -> None:
        self.content, self.muted = content, muted
        self.has_focus = True  # until the terminal says otherwise
        self._told_at = float("-inf")
        self._waiting: list[tuple[str, str]] = []  # not told yet: name and text; of many only the first ones count
        self._count = 0

    def focus(self, has_focus: bool) -> None:
        """Note that the terminal has the focus, or has lost it; with the focus, the waiting alerts are dropped."""
        self.has_focus = has_focus
        if has_focus:
            self._waiting.clear()
            self._count = 0

    def came(self, message: ChatMessage, name: str) -> None:
        """Queue an alert about a message or an offer of a person. Message requests never come here."""
        is_quiet = self.has_focus or self.content.value is AlertContent.OFF or message.chat in self.muted
        # What a rule refused asks for nothing.
        if is_quiet or message.mine or message.state is MessageState.REFUSED:
            return
        self._count += 1
        if len(self._waiting) < 2:
            body = f"offers {quoted(message.body)}" if message.kind is MessageKind.FILE else safe_line(message.body)
            self._waiting.append((name, body))

    def due(self, now: float) -> str | None:
        """Return the text of the alert that is due now; None for no alert, an empty text for the bell alone."""
        if not self._count or now - self._told_at < ALERT_SECONDS:
            return None
        self._told_at = now
        waiting, count = self._waiting[:], self._count
        self._waiting.clear()
        self._count = 0
        number = count_text(count, "new message")
        (name, body), *others = waiting
        match self.content.value:
            case AlertContent.OFF:
                return None
            case AlertContent.BELL:
                return ""
            case AlertContent.TEXT if count == 1:
                return f"{name}: {body}"
            case AlertContent.TEXT | AlertContent.NAME:
                return f"{name}{' and others' if others and others[0][0] != name else ''}: {number}"
            case AlertContent.COUNT:
                return number


def alert_sequence(text: str, environ: Mapping[str, str], is_utf8: bool) -> str:
    """Return the sequence that makes a terminal ring and show ``text``; with an empty text it only rings.

    The text has no character that could end or begin a sequence, whatever was in it.  ``is_utf8``: the terminal
    takes UTF-8; in another encoding a letter may be a byte that is a control character to the terminal.
    """
    term = environ.get("TERM", "")
    in_tmux = bool(environ.get("TMUX")) or term.startswith("tmux")
    in_screen = not in_tmux and (bool(environ.get("STY")) or term.startswith("screen"))
    if not text or not term or in_screen or term.startswith(_PRINT_SEQUENCES):
        return BELL
    shown = "".join(c for c in safe_line(text, ALERT_CHARS) if c.isprintable()).replace(";", ",")
    if not is_utf8:
        shown = shown.encode("ascii", "replace").decode()
    # The word at the start: what begins with a number means something else to some terminals, as "4;" a progress bar.
    nine, seven = f"{_OSC}9;chatnet: {shown}{_ST}", f"{_OSC}777;notify;chatnet;{shown}{_ST}"
    sequences = [seven] if _knows_777(environ) else [nine] if _knows_9(environ) else [nine, seven]
    if in_tmux:
        sequences = [f"\x1bPtmux;{one.replace(chr(27), chr(27) * 2)}{_ST}" for one in sequences]
    return BELL + "".join(sequences)


def _knows_777(environ: Mapping[str, str]) -> bool:
    return environ.get("TERM", "").startswith(("rxvt", "foot")) or "VTE_VERSION" in environ


def _knows_9(environ: Mapping[str, str]) -> bool:
    """Whether the terminal takes OSC 9.  Some of these take OSC 777, too, and would show the notice twice."""
    programs = ("iTerm.app", "WezTerm", "ghostty")
    return (
        environ.get("TERM_PROGRAM") in programs
        or environ.get("TERM", "").startswith(("xterm-kitty", "xterm-ghostty", "wezterm"))
        or any(name in environ for name in ("KITTY_WINDOW_ID", "WEZTERM_PANE", "WT_SESSION", "KONSOLE_VERSION"))
    )
