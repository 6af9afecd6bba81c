"""The rows above and below the pane: own name and network state, the tabs, and the coach line."""

from __future__ import annotations

from collections.abc import Callable

import urwid

from chatnet.console.panes.base import Pane, PaneContext
from chatnet.console.widgets.base import Box
from chatnet.console.widgets.text import Markup, Row, cut, line, stack, two_sided, width
from chatnet.console.widgets.wording import age_text, clock_text, count_text, short_rate
from chatnet.core.events import RegistryPhase
from chatnet.core.identity import short_text
from chatnet.core.text import safe_line

STATUS_SECONDS = 10.0  # long enough to read two sentences, if no key and no event ends it before
MOST_STATUS_ROWS = 4


class Header(Box):
    """Our name and key, the registry and since when, who is here, the rates, the time."""

    _selectable = False

    def __init__(self, scene: PaneContext) -> None:
        super().__init__()
        self.scene = scene

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        model, signs, me = self.scene.model, self.scene.signs, self.scene.model.me
        small = cols < 72
        name = me.name if me is not None else "not logged in"
        key = f" {short_text(me.peer)}" if me is not None else ""
        registry, alarm = self.registry(small) if me is not None else ("", False)
        state, clock = ("header.alarm" if alarm else "header", registry), f"  {clock_text(self.scene.now_ms())} "
        down, up, limits = *model.rates(), model.speed_limits
        ways = [(signs.incoming, down, limits.down), (signs.outgoing, up, limits.up)]
        rates = "".join(_rate_text(*way) for way in ways)
        limited = "".join(_rate_text(*way) for way in ways if way[2] is not None)
        # Where there is no room the rates that have no limit give way first, the limits last.
        whole = name if small else f" chatnet  {name}{key}"
        choices = [(whole, rates + clock)]
        if limited:
            choices += [(whole, limited + clock), (name, limited + clock), (name, f"{limited} ")]
        for left, shown in (*choices, (whole, clock), (name, clock)):
            right: list[Markup] = [state, ("header", shown)]
            if width(left) + width(right) + 1 <= cols:
                break
        return two_sided(("header", left), right, cols, "header")

    def registry(self, small: bool) -> tuple[str, bool]:
        """Return the state of the registry, and whether it is a cause for alarm."""
        model, dot = self.scene.model, self.scene.signs.dot
        state = model.registry
        word = "reg" if small else "registry"
        age = age_text((self.scene.now_ms() - state.since_ms) / 1000)
        match state.phase:
            case RegistryPhase.CONNECTING:
                return f"{word} connecting {age}", False
            case RegistryPhase.UP:
                return f"{word} up {dot} {count_text(state.listed, 'peer')}", False
            case RegistryPhase.LOST:
                return f"{word} LOST {age} {dot} {len(model.roster.online)} reachable", True
            case RegistryPhase.REFUSED if state.code == "elsewhere":
                return f"{word} ELSEWHERE", True
            case RegistryPhase.REFUSED:
                return f"{word} REFUSED us", True
            case RegistryPhase.WRONG_KEY:
                return f"{word} has ANOTHER KEY", True


def _rate_text(sign: str, rate: float, limit: int | None) -> str:
    """Return a rate with its sign: ``↓ 1.2M``, or with a limit ``↓ 1.2M/2.0M``."""
    return f"  {sign} {short_rate(rate)}{f'/{short_rate(limit)}' if limit is not None else ''}"


class Banner(Box):
    """The row that says what is wrong with the disk, while something is."""

    _selectable = False

    def __init__(self, scene: PaneContext) -> None:
        super().__init__()
        self.scene = scene

    def needed_rows(self, cols: int) -> int:
        """Return how many rows the trouble needs; 0 when all is well."""
        return min(MOST_STATUS_ROWS, self._text().canvas(cols).rows()) if self.scene.model.store_trouble else 0

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        canvas = stack([self._text().canvas(cols)], cols, rows)
        canvas.fill_attr("header.alarm")
        return canvas

    def _text(self) -> Row:
        return Row(f" {self.scene.signs.alarm} ", 3, safe_line(self.scene.model.store_trouble, 400))


class TabBar(Box):
    """The tabs; as many of them as fit around the one that is shown."""

    _selectable = False

    def __init__(self, scene: PaneContext, panes: Callable[[], list[Pane]], here: Callable[[], int]) -> None:
        super().__init__()
        self.scene, self._panes, self._here = scene, panes, here
        self.on_click: Callable[[int], None] = lambda index: None
        self._spots: list[tuple[int, int, Pane]] = []  # from, to, whose tab was drawn there

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        signs, here = self.scene.signs, self._here()
        panes = self._panes()
        labels = [self._label(index, pane, index == here) for index, pane in enumerate(panes)]
        first = last = here
        room = cols - 4 - width(labels[here])
        while True:  # take in neighbours, right first, as long as one fits
            if last + 1 < len(labels) and width(labels[last + 1]) <= room:
                last += 1
                room -= width(labels[last])
            elif first > 0 and width(labels[first - 1]) <= room:
                first -= 1
                room -= width(labels[first])
            else:
                break
        markup: list[Markup] = [("tab", signs.more_left if first else " ")]
        at = 1
        self._spots = []
        for index in range(first, last + 1):
            markup.append(labels[index])
            self._spots.append((at, at + width(labels[index]), panes[index]))
            at += width(labels[index])
        if last + 1 < len(labels):
            markup.append(("tab", signs.more_right))
        return line(markup, cols)

    def _label(self, index: int, pane: Pane, here: bool) -> Markup:
        signs = self.scene.signs
        news = pane.news() if not here or pane.title() == "transfers" else 0
        text = f"{index + 1} {cut(pane.title(), 16, signs)}"
        text += f"({news})" if news else ""
        text += signs.alarm if pane.alarm() else ""
        if here:
            return ("tab.here", f"{signs.here_left}{text}{signs.here_right}")
        return ("tab.news" if news or pane.alarm() else "tab", f" {text} ")

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if event == "mouse press" and button == 1:
            panes = self._panes()
            for start, end, pane in self._spots:
                if start <= col < end and pane in panes:
                    self.on_click(panes.index(pane))
                    return True
        return False


class Footer(Box):
    """The last row: what just happened, for some seconds, else the keys that make sense now."""

    _selectable = False

    def __init__(self, scene: PaneContext, hints: Callable[[], list[tuple[str, str]]]) -> None:
        super().__init__()
        self.scene, self._hints = scene, hints
        self.status = ""
        self.warning = False
        self._until_ms = 0

    def say(self, text: str, warning: bool = False) -> None:
        """Show a line for some seconds."""
        self.status, self.warning = safe_line(text, 400), warning
        self._until_ms = self.scene.now_ms() + int(STATUS_SECONDS * 1000)
        self.changed()

    def quiet(self) -> None:
        """Show the coach again, in place of a status."""
        if self.status:
            self.status = ""
            self.changed()

    def tick(self) -> None:
        """Called once a second: remove a status whose time is over."""
        if self.status and self.scene.now_ms() >= self._until_ms:
            self.quiet()

    def needed_rows(self, cols: int) -> int:
        """Return how many rows the status needs, at most MOST_STATUS_ROWS; a long one needs more than the coach."""
        return min(MOST_STATUS_ROWS, Row("", 1, self.status).canvas(cols).rows())

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        if self.status:
            attribute = "footer.warning" if self.warning else "footer"
            text = stack([Row("", 1, self.status).canvas(cols)], cols, rows)
            text.fill_attr(attribute)
            return text
        shown = " "
        for key, word in self._hints():
            piece = f"{key} {word}".strip()
            if width(shown) + width(piece) + 2 > cols:
                break
            shown += ("" if shown == " " else "  ") + piece
        return line(shown, cols, "footer")
