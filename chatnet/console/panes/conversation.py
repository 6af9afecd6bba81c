"""A conversation: what was said, with whom, when, and what became of it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import islice
from typing import Any

import urwid

from chatnet.console.model import FAILED_STATES
from chatnet.console.panes.base import PaneContext, ScrollPane
from chatnet.console.shown import Place, Subject, offer_question
from chatnet.console.widgets.base import Block
from chatnet.console.widgets.text import Markup, Row, Rule, cut, line, two_sided, width, without_blank_lines
from chatnet.console.widgets.theme import Signs
from chatnet.console.widgets.wording import (
    amount_text,
    bar_text,
    clock_text,
    count_text,
    date_text,
    day_of,
    day_text,
    details_text,
    late_text,
    message_state,
    pace_text,
    seen_text,
    size_text,
    transfer_state,
    waiting_text,
    warning_text,
)
from chatnet.core import limits
from chatnet.core.chats import written_ms
from chatnet.core.events import ChatMessage, MessageKind, MessageState, Person, Transfer, TransferState
from chatnet.core.identity import ChatID, prefix_text, short_text
from chatnet.core.text import SafeText, quoted, safe_line, safe_text, shown_path

_NAME_COLS = 12  # a longer name is cut in the column; the title has it whole
_BAR_COLS = 30
_NEWEST = 20  # rows at the end that are looked at for what became of what we wrote
_UNDELIVERED = (MessageState.WAITING, MessageState.SENT)


class _MessageRow(Row):
    """A message, without many of its blank lines, and without the rows after the first 200."""

    def __init__(
        self,
        prefix: Markup,
        prefix_cols: int,
        text: SafeText,
        look: str,
        state: Markup,
        signs: Signs,
    ) -> None:
        shown = without_blank_lines(text, signs)
        super().__init__(prefix, prefix_cols, (look, shown), state, self._more_rows)
        self._signs = signs
        self.text = text
        self._is_whole = shown == text

    @property
    def is_whole(self) -> bool:
        """Whether the row shows all of the text, as drawn last."""
        return self._is_whole and not self.left_out

    def _more_rows(self, rows: int) -> Markup:
        signs = self._signs
        return [
            ("text.soft", f"{signs.ellipsis} {count_text(rows, 'more row')} {signs.dot} "),
            ("key", "Enter"),
            ("text.soft", " shows all"),
        ]


class ConversationPane(ScrollPane):
    """Rows of one chat, made when they come into view; ``open_text`` shows all of a message that is too long."""

    def __init__(
        self, scene: PaneContext, chat: ChatID, open_text: Callable[[SafeText], None] = lambda text: None
    ) -> None:
        super().__init__(scene)
        self.chat = chat
        self._open_text = open_text
        self.chat_rows = scene.model.rows_of(chat)
        self._seen_n = 0  # the newest row that was in view
        self._found_n = 0  # the row that was jumped to
        self._made: dict[int, tuple[tuple[Any, ...], Block]] = {}

    # --- the tab -------------------------------------------------------------------------------

    @property
    def person(self) -> Person | None:
        return self.scene.model.roster.people.get(self.chat)

    @property
    def name(self) -> str:
        return self.scene.model.roster.name(self.chat)

    def title(self) -> str:
        return self.name

    def news(self) -> int:
        return self.person.unread if self.person is not None else 0

    def alarm(self) -> bool:
        return self.held()

    def held(self) -> bool:
        """Whether nothing is sent, because another key uses the name."""
        return self.person is not None and self.person.new_key is not None

    def has_failed(self) -> bool:
        """Whether the last message of ours was refused or has expired, if it is one of the newest rows."""
        newest = (row for row in reversed(self.chat_rows.rows[-_NEWEST:]) if row.mine and row.kind is MessageKind.TEXT)
        return any(row.state in FAILED_STATES for row in islice(newest, 1))

    def left(self) -> None:
        self.chat_rows.mark_n = self.chat_rows.last_n or None

    # --- moving --------------------------------------------------------------------------------

    def at_end(self) -> bool:
        return super().at_end() and not self.chat_rows.newer

    def near_end(self) -> bool:
        """Whether fewer than two pages are below what is in view."""
        return self.anchor is None or self.anchor + 2 * self.size[1] >= self.count()

    def to_end(self) -> None:
        if self.chat_rows.newer or not self.chat_rows.loaded:  # also while a jump is under way
            self.chat_rows.start_over()
        self._found_n = 0
        super().to_end()

    def hold(self) -> None:
        """Keep what is in view where it is, because rows are put below."""
        if self.anchor is None and self.chat_rows.rows:
            self.anchor, self.hidden = len(self.chat_rows.rows) - 1, 0

    def show_row(self, n: int) -> bool:
        """Bring row ``n`` to the middle and mark it; return False when it is not loaded."""
        rows = self.chat_rows.rows
        index = bisect_left(rows, n, key=lambda row: row.n)
        if index == len(rows) or rows[index].n != n:
            return False
        self._found_n = n
        self.anchor, self.hidden = index, 0
        self.scroll(self.size[1] // 2)
        self.changed()
        return True

    def to_unread(self) -> bool:
        """Bring the "new since" line to the upper edge, if there is room below it; return False when nothing is new."""
        rows, mark = self.chat_rows.rows, self.chat_rows.mark_n
        index = bisect_right(rows, mark, key=lambda row: row.n) if mark is not None else 0
        if not index or index == len(rows):
            return False
        self.anchor, self.hidden = index, 0
        self.scroll(self.size[1] - self._height(index))
        return True

    # --- what is too long for a row ------------------------------------------------------------

    def open_long(self) -> bool:
        """Show all of the lowest message in view that is not shown whole; return False when there is none."""
        return any(self._open(row) for row in self.rows_in_view())

    def mouse(self, event: str, button: int, col: int, row: int) -> bool:
        if event != "mouse press" or button != 1:
            return super().mouse(event, button, col, row)
        head = _has_head(self.size[1])
        return self._open(self.at_row(row - head, self.size[1] - head)) if row >= head else False

    def _open(self, row: Row | Rule | None) -> bool:
        if not isinstance(row, _MessageRow) or row.is_whole:
            return False
        self._open_text(row.text)
        return True

    # --- drawing -------------------------------------------------------------------------------

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        head = _has_head(rows)
        body_rows = rows - head
        self.size = cols, body_rows
        body = super().draw(cols, body_rows, focus)
        self.shows = self._questions()
        if self.at_end():
            self._seen_n = self.chat_rows.last_n
        else:
            body = self._with_news_below(urwid.CompositeCanvas(body), cols, body_rows)
        if not head:
            return body
        return urwid.CanvasCombine([(self._head(cols), None, False), (body, None, False)])

    def _questions(self) -> dict[Place, Any]:
        """Return the questions that the blocks in view ask."""
        model, rows = self.scene.model, self.chat_rows.rows
        questions: dict[Place, Any] = {}
        for index in self.in_view:
            if index >= len(rows):
                questions |= self._tail_questions()
            elif transfer := self._transfer_in(rows[index]):
                questions[Place(Subject.TRANSFER, transfer.fid)] = offer_question(transfer)
                if model.offer_of(self.chat) is transfer:
                    questions[Place(Subject.OFFER, self.chat)] = offer_question(transfer)
        return questions

    def _tail_questions(self) -> dict[Place, Any]:
        if self.person is not None and self.person.new_key is not None:
            return {Place(Subject.NEW_KEY, self.chat): self.person.new_key}
        code = self.scene.model.codes.get(self.chat)
        return {Place(Subject.CODE, self.chat): code} if code is not None else {}

    def _transfer_in(self, message: ChatMessage) -> Transfer | None:
        """Return the transfer that a row is about, or None."""
        return self.scene.model.transfers.get(message.id) if message.kind is MessageKind.FILE else None

    def show_offer(self) -> None:
        """Bring the newest offer into view."""
        offer = self.scene.model.offer_of(self.chat)
        for row in self.chat_rows.rows:
            if offer is not None and self._transfer_in(row) is offer:
                self.show_row(row.n)
                return

    def _with_news_below(self, body: urwid.CompositeCanvas, cols: int, rows: int) -> urwid.CompositeCanvas:
        new = 0
        for message in reversed(self.chat_rows.rows):
            if message.n <= self._seen_n:
                break
            new += 1
        signs = self.scene.signs
        text = f" {signs.below} {new} new " if new else f" {signs.below} more below {signs.dot} Alt-End "
        if width(text) < cols and rows > 1:
            body.overlay(line(("new" if new else "time", text), width(text)), cols - width(text), rows - 1)
        return body

    def _head(self, cols: int) -> urwid.CompositeCanvas:
        signs, person = self.scene.signs, self.person
        left: list[Markup] = [("tab.here", f" {self.name}")]
        key: Markup = ("text.soft", f"  key {short_text(self.chat)}")
        if person is None:
            return line([*left, key], cols)
        if person.blocked:
            left.append(("state.error", f" {signs.failed} blocked"))
        if person.verified:
            left.append(("state.good", f" {signs.verified} verified"))
        if person.new_key is not None:
            held = ("state.error", f"  {signs.alarm} KEY CHANGED {signs.dot} sending is held ")
            return two_sided(left, held, cols)
        if person.linked:
            facts = [f"direct {safe_line(person.address)}"]
            if person.unanswered_since_ms is not None:
                facts.append(f"no answer since {clock_text(person.unanswered_since_ms, seconds=True)}")
            elif person.rtt_ms is not None:
                facts.append(f"{person.rtt_ms} ms")
            right = f" {signs.dot} ".join(facts)
        else:
            right = seen_text(person, self.scene.now_ms())
        if width([*left, key]) + width(right) + 3 <= cols:
            left.append(key)
        return two_sided(left, ("text.soft", f"  {right} "), cols)

    # --- the blocks ----------------------------------------------------------------------------

    def count(self) -> int:
        return len(self.chat_rows.rows) + 1

    def block(self, index: int) -> Block:
        rows = self.chat_rows.rows
        if index >= len(rows):
            return self._tail()
        message, at_ms = rows[index], self._shown_ms(index)
        before = rows[index - 1] if index else None
        new_day = before is None or day_of(self._shown_ms(index - 1)) != day_of(at_ms)
        mark = self.chat_rows.mark_n
        new_line = mark is not None and message.n > mark and (before is not None and before.n <= mark)
        transfer = self._transfer_in(message)
        newest_offer = transfer is not None and self.scene.model.offer_of(self.chat) is transfer
        cols = self.size[0]
        found = message.n == self._found_n
        key = (message, at_ms, transfer, new_day, new_line, newest_offer, cols, self.name, found)
        made = self._made.get(message.n)
        if made is not None and made[0] == key:
            return made[1]
        block: list[Row | Rule] = []
        if new_day:
            block.append(Rule(day_text(at_ms), self.scene.signs))
        if new_line:
            since = clock_text(self._shown_ms(index - 1)) if before is not None else ""
            new = sum(row.n > (mark or 0) and not row.mine for row in rows[index:])
            if new:
                block.append(Rule(f"new since {since}", self.scene.signs, str(new), "new"))
        block.append(self._row(message, at_ms, transfer, newest_offer, cols))
        if len(self._made) >= limits.LIVE_MESSAGES:
            self._made.clear()
        self._made[message.n] = (key, block)
        return block

    def _shown_ms(self, index: int) -> int:
        """Return the time that the row shows, in milliseconds since the epoch."""
        rows = self.chat_rows.rows
        before_ms = rows[index - 1].stored_ms if index else None
        return written_ms(rows[index].sent_ms, rows[index].stored_ms, before_ms)

    def _row(self, message: ChatMessage, at_ms: int, transfer: Transfer | None, newest_offer: bool, cols: int) -> Row:
        signs = self.scene.signs
        sign, word, attribute = message_state(message, signs)
        if message.kind is MessageKind.FILE:
            sign, attribute = (signs.outgoing, "name.own") if message.mine else (signs.incoming, "name.theirs")
            prefix = self._prefix(sign, attribute, message, at_ms, cols)
            return Row(prefix, width(prefix), self._file(message, transfer, newest_offer))
        prefix = self._prefix(sign, attribute, message, at_ms, cols)
        look = "selected" if message.n == self._found_n else "text"
        late = late_text(message, at_ms)
        state = [("text.soft", f"  ({late})" if late else ""), (attribute, f"  {word}" if word else "")]
        return _MessageRow(prefix, width(prefix), safe_text(message.body), look, state, signs)

    def _prefix(self, sign: str, attribute: str, message: ChatMessage, at_ms: int, cols: int) -> Markup:
        mine = message.mine
        name = cut("you" if mine else self.name, _NAME_COLS, self.scene.signs)
        name_cols = max(3, min(_NAME_COLS, width(self.name)))
        clock = clock_text(at_ms, seconds=cols >= 110)
        gap = " " if cols < 60 else "  "
        return [
            (attribute, sign),
            ("time", f" {clock} "),
            ("name.own" if mine else "name.theirs", name + " " * (name_cols - width(name)) + gap),
        ]

    def _file(self, message: ChatMessage, transfer: Transfer | None, newest_offer: bool) -> list[Markup]:
        signs = self.scene.signs
        if transfer is None:
            _, word, attribute = message_state(message, signs)
            if message.reason:  # refused, cancelled, broken: the reason says which
                word = f"{signs.failed} {safe_line(message.reason)}"
            return [("text", quoted(message.body)), (attribute, f"  {word}" if word else "")]
        number = self.scene.model.numbers.get(transfer.fid, 0)
        words, attribute = transfer_state(transfer, self.name, signs)
        body: list[Markup] = [("text", f"{quoted(transfer.title)}   {size_text(transfer.total_bytes)}")]
        if amount := amount_text(transfer):
            body.append(("text", f", {amount}"))
        if transfer.state is TransferState.RUNNING:
            bar_cols = _BAR_COLS if self.size[0] >= 80 else _BAR_COLS // 3
            bar = bar_text(transfer.done_bytes, transfer.total_bytes, bar_cols, signs)
            body += [("bar", f"\n{bar}"), ("state", f"  {pace_text(transfer)}")]
        else:
            body.append((attribute, f"   {words}"))
        if warning := warning_text(transfer):
            body.append(("state.error", f"\n{signs.alarm} {warning}"))
        is_waiting = transfer.state is TransferState.OFFERED and not transfer.outgoing
        if details := details_text(transfer, "Alt-v" if newest_offer else f"/contents {number}"):
            body.append(("state.wait", f"\n{details}"))
        if is_waiting and newest_offer:
            if amount:
                body += [("key", "\nAlt-v"), ("text", " contents")]
            for key, does in (("Alt-y", "accept"), ("Alt-s", f"save as{signs.ellipsis}"), ("Alt-n", "refuse")):
                body += ["\n" if key == "Alt-y" else "   ", ("key", key), ("text", f" {does}")]
        elif is_waiting:
            body.append(("text.soft", f"\n/accept {number}   /refuse {number}   /contents {number}"))
        if transfer.state is TransferState.DONE and transfer.saved_to:
            body.append(("text.soft", f"\nsaved as {shown_path(transfer.saved_to)}"))
        return body

    # --- what stands below the newest row ------------------------------------------------------

    def _tail(self) -> Block:
        return [*self._rival_note(), *self._own_tail()]

    def _rival_note(self) -> Block:
        """Return a note that this key uses a known person's name and is not theirs; empty when it does not."""
        known = self.scene.model.roster.named_like(self.chat)
        if known is None:
            return []
        signs, name = self.scene.signs, known.name
        text = f"This key uses the name {name} now, but it is not the key of the {name} you know: see the tab {name}."
        return [Row("", 2, ("state.error", f"{signs.alarm} {text}"))]

    def _own_tail(self) -> Block:
        if self.held():
            return self._held_note()
        if self.chat in self.scene.model.codes:
            return self._code_note(self.scene.model.codes[self.chat])
        note = self._waiting_note() or self._more_note()
        if note:
            return [Row("", 2, ("state.wait", note))]
        if self.chat_rows.loaded and not self.chat_rows.rows and not self.chat_rows.more:
            return [Row("", 2, ("text.soft", f"Nothing was said yet. What you type goes to {self.name} on Enter."))]
        return []

    def _waiting_note(self) -> str:
        """Return why our newest messages and offers wait; empty when they do not."""
        person, rows, signs, now_ms = self.person, self.chat_rows.rows, self.scene.signs, self.scene.now_ms()
        if person is None or not any(_is_undelivered(row) for row in rows[-_NEWEST:]):
            return ""
        why = waiting_text(person, now_ms)
        if not why and self._has_unanswered_offers():
            why = f"waiting: {person.name} has to answer the offers before it."
        return f"{signs.waiting} {why}" if why else ""

    def _has_unanswered_offers(self) -> bool:
        """Whether offers of ours wait for an answer, and others wait for that."""
        ours = {one.state for one in self.scene.model.transfers.values() if one.outgoing and one.peer == self.chat}
        return ours >= {TransferState.WAITING, TransferState.OFFERED}

    def _more_note(self) -> str:
        """Return a note that more of their messages wait at their side; empty when none do."""
        if self.person is None or not self.person.more_waits:
            return ""
        name = self.name
        return (
            f"{self.scene.signs.waiting} {name} has more to say: it waits at {name}'s side until you write to {name}."
        )

    def _held_note(self) -> Block:
        person, signs, cols = self.person, self.scene.signs, self.size[0]
        assert person is not None
        assert person.new_key is not None
        name = person.name
        since = f"   since {date_text(person.known_since_ms)}" if person.known_since_ms is not None else ""
        body: list[Markup] = [
            ("state.error", f"The peer that now uses the name '{name}' has another key than the {name} you know.\n"),
            ("text", "Usual cause: a new computer, a reinstall. Or: somebody else took the name.\n"),
            ("text", f"   known   {short_text(person.peer)}{since}\n"),
            ("text", f"   new     {prefix_text(person.new_key)}\n"),
            *self._ways_on(person),
            ("state.error", "Nothing you type here is sent until you choose."),
        ]
        prefix: Markup = [("state.error", signs.alarm), ("name.chatnet", " chatnet  ")]
        return [Row(prefix, width(prefix) if cols >= 40 else 2, body)]

    def _ways_on(self, person: Person) -> list[Markup]:
        """Return the lines that say by what a changed key is taken, or not."""
        name = person.name
        if person.verified:
            take: list[Markup] = [
                ("key", f"   /verify {name}"),
                ("text", "  take it, once you compared it as you did before\n"),
            ]
        else:
            take = [
                ("text", f"Ask {name} on another way, by phone, to read out the first 16 characters of /myid.\n"),
                ("key", f"   /trust {name} XXXX-XXXX-XXXX-XXXX"),
                ("text", "  take the new key\n"),
            ]
        return [*take, ("key", "   Alt-k"), ("text", "  keep the old key\n")]

    def _code_note(self, code: str) -> Block:
        name = self.name
        body: list[Markup] = [
            ("text", f"Code with {name}:  "),
            ("key", f"{code[:3]} {code[3:]}\n"),
            ("text", f"Tell it each other by voice: {name}'s screen must show the same.\n"),
            ("key", f"   /verify {name} same code"),
            ("text", "  it is the same\n"),
            ("text", "Another code there: somebody is between you."),
        ]
        prefix: Markup = [("state.wait", " "), ("name.chatnet", " chatnet  ")]
        return [Row(prefix, width(prefix) if self.size[0] >= 40 else 2, body)]


def _is_undelivered(row: ChatMessage) -> bool:
    """Whether a row of ours has not come to the other side; an offer that was made waits for an answer."""
    states = _UNDELIVERED if row.kind is MessageKind.TEXT else (MessageState.WAITING,)
    return row.mine and row.state in states


def _has_head(rows: int) -> bool:
    """Whether a pane of so many rows begins with a line about the person."""
    return rows >= 8
