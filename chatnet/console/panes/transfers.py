"""The tab of transfers: one row each, with a bar where bytes move."""

from __future__ import annotations

import textwrap
from typing import Any

import urwid

from chatnet.console.keymap import Context
from chatnet.console.panes.base import Pane, PaneContext
from chatnet.console.shown import Place, Subject, offer_question
from chatnet.console.widgets.text import Markup, Row, cut, line, plain, stack, width
from chatnet.console.widgets.wording import amount_text, bar_text, details_text, size_text, transfer_state, warning_text
from chatnet.core.events import Transfer, TransferState
from chatnet.core.text import quoted, safe_line, shown_path

_MOVING = (TransferState.RUNNING, TransferState.CHECKING)

_BAR_COLS = 30
_INDENT = 6  # columns of number and sign
_TITLE_COLS = 12  # a state stands beside the title if this much is left for that
_STATE_COLS = 44  # as much is kept for it in a wide window, so that the sizes stand below each other


class TransfersPane(Pane):
    """A list that takes keys; the newest transfer is the first."""

    context = Context.TRANSFERS

    def __init__(self, scene: PaneContext) -> None:
        super().__init__(scene)
        self.chosen_fid: bytes | None = None
        self._top = 0
        self._where: list[tuple[int, bytes]] = []  # row of the pane, and whose it is

    def title(self) -> str:
        return "transfers"

    def news(self) -> int:
        return self.scene.model.unfinished()

    # --- choosing ------------------------------------------------------------------------------

    def fids(self) -> list[bytes]:
        return list(reversed(self.scene.model.transfers))

    def chosen(self) -> Transfer | None:
        """Return the selected transfer, or None. If the selected one is gone, the first one is selected."""
        fids = self.fids()
        if not fids:
            return None
        if self.chosen_fid not in fids:
            if self.chosen_fid is not None:
                self.scene.model.shown.changed(Place(Subject.CHOSEN_TRANSFER))
            self.chosen_fid = fids[0]
        return self.scene.model.transfers[self.chosen_fid] if self.chosen_fid is not None else None

    def key(self, key: str) -> str | None:
        steps = {"up": -1, "down": 1, "home": -1_000_000, "end": 1_000_000}
        if key not in steps:
            return key
        self._step(steps[key])
        return None

    def scroll(self, rows: int) -> None:
        self._step(rows)

    def page(self, pages: int) -> None:
        self._step(pages * max(1, self.size[1] // 2))

    def to_end(self) -> None:
        self._step(1_000_000)

    def to_top(self) -> None:
        self._step(-1_000_000)

    def _step(self, by: int) -> None:
        chosen, fids = self.chosen(), self.fids()
        if chosen is not None:
            index = fids.index(chosen.fid)
            self.chosen_fid = fids[max(0, min(index + by, len(fids) - 1))]
            self.changed()

    # --- drawing -------------------------------------------------------------------------------

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        model, signs = self.scene.model, self.scene.signs
        fids, chosen = self.fids(), self.chosen()
        transfers = model.transfers.values()
        ended = sum(transfer.state.ended for transfer in transfers)
        moving = len(model.active())
        facts = f"{moving} active {signs.dot} {len(fids) - ended - moving} waiting {signs.dot} {ended} finished "
        head = line(("group", f" Transfers   {facts}"), cols)
        self.shows = questions = dict[Place, Any]()
        if not fids:
            text = Row("", 2, ("text.soft", "No transfers yet. F5 sends a file; offers from others appear here."))
            return stack([head, text.canvas(cols)], cols, rows)
        room = max(1, rows - 1)
        index = fids.index(chosen.fid) if chosen is not None else 0
        self._top = min(self._top, index)
        while self._top < index and self._rows(fids[self._top : index + 1]) > room:
            self._top += 1
        canvases: list[urwid.Canvas] = [head]
        height = 0
        self._where = []
        for fid in fids[self._top :]:
            if height >= room:
                break
            transfer = model.transfers[fid]
            block = self._block(transfer, cols, focus and fid == self.chosen_fid)
            taken = sum(canvas.rows() for canvas in block)
            self._where += [(1 + height + offset, fid) for offset in range(taken)]
            questions[Place(Subject.TRANSFER, fid)] = offer_question(transfer)
            if focus and fid == self.chosen_fid:
                questions[Place(Subject.CHOSEN_TRANSFER)] = fid
            canvases += block
            height += taken
        return stack(canvases, cols, rows)

    def _rows(self, fids: list[bytes]) -> int:
        blocks = (self._block(self.scene.model.transfers[fid], self.size[0], False) for fid in fids)
        return sum(canvas.rows() for block in blocks for canvas in block)

    def _block(self, transfer: Transfer, cols: int, chosen: bool) -> list[urwid.Canvas]:
        model, signs = self.scene.model, self.scene.signs
        name = model.roster.name(transfer.peer)
        words, attribute = transfer_state(transfer, name, signs)
        if transfer.state is TransferState.OFFERED and not transfer.outgoing and (amount := amount_text(transfer)):
            words = f"{words} {amount}"
        moving = transfer.state in _MOVING
        sign = signs.outgoing if transfer.outgoing else signs.incoming
        who, size = _filled(cut(name, 10, signs), 10), f"{size_text(transfer.total_bytes):>9}"
        room = cols - _INDENT - 12 - 10
        wide = room - _STATE_COLS - 2 >= _TITLE_COLS
        beside_title = wide and not moving and width(words) <= _STATE_COLS
        room = max(8, room - _STATE_COLS - 2 if wide else room)
        title = _filled(quoted(cut(safe_line(transfer.title), room - 2, signs)), room)
        start = f"{model.numbers[transfer.fid]:>3} {sign} "
        markup = [("time", start), ("name.theirs", who), f" {title} {size}"]
        if beside_title:
            markup.append((attribute, f"  {words}"))
        rows: list[urwid.Canvas] = [line(plain(markup) if chosen else markup, cols, "selected" if chosen else "")]
        if moving:
            rows.append(self._bar(transfer, (attribute, f"  {words}"), cols))
        elif not beside_title:
            for part in textwrap.wrap(words, max(20, cols - _INDENT)):
                rows.append(line((attribute, f"{' ' * _INDENT}{part}"), cols))
        if transfer.saved_to:
            saved: Markup = ("text.soft", f"saved as {shown_path(transfer.saved_to)}")
            rows.append(Row(" " * _INDENT, _INDENT, saved).canvas(cols))
        if warning := warning_text(transfer):
            rows.append(Row(" " * _INDENT, _INDENT, ("state.error", f"{signs.alarm} {warning}")).canvas(cols))
        if details := details_text(transfer, "v"):
            rows.append(Row(" " * _INDENT, _INDENT, ("state.wait", details)).canvas(cols))
        return rows

    def _bar(self, transfer: Transfer, words: Markup, cols: int) -> urwid.CompositeCanvas:
        bar_cols = max(1, min(_BAR_COLS, cols - _INDENT - width(words)))
        bar = bar_text(transfer.done_bytes, transfer.total_bytes, bar_cols, self.scene.signs)
        return line([" " * _INDENT, ("bar", bar), words], cols)

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if event != "mouse press":
            return False
        if button in (4, 5):
            self._step(-1 if button == 4 else 1)
            return True
        for at, fid in self._where:
            if at == row:
                self.chosen_fid = fid
                self.changed()
                return True
        return False


def _filled(text: str, cols: int) -> str:
    """Fill ``text`` up with spaces to ``cols`` columns."""
    return text + " " * (cols - width(text))
