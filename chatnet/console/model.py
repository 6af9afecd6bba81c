"""What the screen shows, as plain data: the snapshot, and every event folded into it."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

import msgspec

from chatnet.console.people_order import PeopleOrder
from chatnet.console.shown import Place, ShownQuestions, Subject, offer_question
from chatnet.core import limits
from chatnet.core.events import (
    AlertRules,
    AlertsChanged,
    ChatMessage,
    ChatMoved,
    CodeReady,
    Event,
    HistoryPage,
    LoggedIn,
    Me,
    MessageAdded,
    MessageChanged,
    MessageState,
    Notice,
    PeopleChanged,
    PersonGone,
    RegistryChanged,
    RegistryState,
    Request,
    RequestsChanged,
    Snapshot,
    SpeedLimitsChanged,
    StoreChanged,
    Transfer,
    TransferChanged,
    TransferState,
)
from chatnet.core.identity import ChatID

FAILED_STATES = (MessageState.REFUSED, MessageState.EXPIRED)  # of a message that can be sent again


@dataclass
class ChatRows:
    """The rows of one chat that are loaded: without a gap, and up to the newest unless ``newer``."""

    chat: ChatID
    rows: list[ChatMessage] = field(default_factory=list)
    more: bool = True  # older rows may exist
    loaded: bool = False  # the first page has come
    loading: bool = False  # a page was asked for
    newer: bool = False  # newer rows exist that are not here: one has jumped far back
    mark_n: int | None = None  # the "new since" line stands behind this row
    told_n: int = 0  # the last row that mark_read was called with
    cleared: int = 0
    version: int = 0

    @property
    def last_n(self) -> int:
        return self.rows[-1].n if self.rows else 0

    def add(self, message: ChatMessage) -> None:
        """Add a new row, or replace the row with the same number."""
        self.version += 1
        if self.newer and message.n > self.last_n:
            return  # it comes with the rows between
        if not self.rows or message.n > self.rows[-1].n:
            self.rows.append(message)
            return
        index = bisect_left(self.rows, message.n, key=lambda row: row.n)
        if index < len(self.rows) and self.rows[index].n == message.n:
            self.rows[index] = message
        elif index > 0 or not self.more:
            self.rows.insert(index, message)

    def change(self, event: MessageChanged) -> None:
        """Set another state of a row, if it is loaded."""
        index = bisect_left(self.rows, event.n, key=lambda row: row.n)
        if index < len(self.rows) and self.rows[index].n == event.n:
            self.version += 1
            self.rows[index] = msgspec.structs.replace(self.rows[index], state=event.state, reason=event.reason)

    def put_page(self, page: HistoryPage) -> int:
        """Put rows from the store before those here, or the newest at first, and return how many were put there."""
        self.version += 1
        self.loading = False
        if not self.loaded:
            self.loaded = True
            self.told_n = page.read_n
            newest = page.messages[-1].n if page.messages else 0
            self.mark_n = page.read_n if page.read_n and newest > page.read_n else None
        self.more = page.more
        first = self.rows[0].n if self.rows else None
        older = [row for row in page.messages if first is None or row.n < first]
        known = {row.n for row in self.rows}
        inside = [row for row in page.messages if first is not None and row.n > first and row.n not in known]
        self.rows[:0] = older
        for row in inside:
            self.add(row)
        return len(older)

    def put_window(self, older: HistoryPage, newer: HistoryPage) -> None:
        """Replace all rows by those around one in the middle of the history."""
        self.rows = [*older.messages, *newer.messages]
        self.more, self.newer = older.more, newer.more
        self.loaded, self.loading = True, False
        self.told_n = max(self.told_n, older.read_n)
        self.version += 1

    def put_newer(self, page: HistoryPage) -> None:
        """Append the rows that follow the loaded ones."""
        self.rows += [row for row in page.messages if row.n > self.last_n]
        self.newer, self.loading = page.more, False
        self.version += 1

    def start_over(self) -> None:
        """Forget the rows: the newest are loaded again when they are looked at."""
        self.clear()
        self.loaded = self.newer = False

    def clear(self) -> None:
        """Show nothing until somebody scrolls up; a page under way is for the rows that were."""
        self.rows.clear()
        self.more = self.loaded = True
        self.newer = False
        self.loading = False
        self.mark_n = None
        self.cleared += 1
        self.version += 1

    def trim(self) -> int:
        """Drop the oldest rows when many were read, and return how many were dropped."""
        surplus = len(self.rows) - limits.LIVE_MESSAGES
        if surplus <= limits.HISTORY_PAGE:
            return 0
        del self.rows[:surplus]
        self.more = True
        self.version += 1
        return surplus


class ConsoleModel:
    """Everything the console knows; panes read it and keep none of it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.me: Me | None = snapshot.me
        self.registry: RegistryState = snapshot.registry
        self.shown = ShownQuestions()
        self.roster = PeopleOrder(self.shown)
        self.roster.put(snapshot.people)
        self.transfers: dict[bytes, Transfer] = {transfer.fid: transfer for transfer in snapshot.transfers}
        self.numbers: dict[bytes, int] = {fid: i for i, fid in enumerate(self.transfers, 1)}
        self.notices: deque[Notice] = deque(snapshot.notices, maxlen=limits.LIVE_MESSAGES)
        self.chats: dict[ChatID, ChatRows] = {}
        self.codes: dict[bytes, str] = {}  # six digits to compare, by person, until they are
        self.store_trouble = str(snapshot.store_trouble)  # why nothing can be stored now
        self.speed_limits = snapshot.speed_limits
        self.requests: dict[bytes, Request] = {}  # by key, the latest last
        self.request_numbers: dict[bytes, int] = {}  # a number stays a key's
        self._put_requests(snapshot.requests)
        self.alerts: AlertRules = snapshot.alerts

    def fold(self, event: Event) -> None:
        """Apply an event."""
        match event:
            case MessageAdded(message):
                chat_rows = self.chats.get(message.chat)
                if chat_rows is not None:
                    chat_rows.add(message)
            case MessageChanged(chat=chat):
                if chat in self.chats:
                    self.chats[chat].change(event)
                if event.state in FAILED_STATES:
                    self.shown.changed(Place(Subject.FAILED, chat))
            case ChatMoved(former, chat):
                self.chats.pop(former, None)
                if chat in self.chats:
                    self.chats[chat].start_over()
            case TransferChanged(transfer):
                self._put_transfer(transfer)
            case PeopleChanged(people):
                self.roster.put(people)
            case PersonGone(peer):
                self.roster.drop(peer)
                self.codes.pop(peer, None)
            case RequestsChanged(requests):
                self._put_requests(requests)
            case RegistryChanged(registry):
                self.registry = registry
            case CodeReady(peer, code):
                if peer in self.roster.people:
                    self.codes[peer] = code
                    self.shown.changed(Place(Subject.CODE, peer))
            case AlertsChanged(alerts):
                self.alerts = alerts
            case SpeedLimitsChanged(speed_limits):
                self.speed_limits = speed_limits
            case LoggedIn(me):
                self.me = me
            case StoreChanged(ok, text):
                self.store_trouble = "" if ok else str(text)
                for chat_rows in self.chats.values():
                    chat_rows.told_n = 0  # what was read meanwhile is told again
            case Notice():
                self.notices.append(event)
            case _:
                pass

    def _put_transfer(self, transfer: Transfer) -> None:
        old = self.transfers.get(transfer.fid)
        offer = self.offer_of(transfer.peer) if old is None or old.state is not transfer.state else None
        self.transfers[transfer.fid] = transfer
        self.numbers.setdefault(transfer.fid, len(self.numbers) + 1)
        if transfer.state.ended and not (old is not None and old.state.ended):
            self.shown.changed(Place(Subject.ENDED))
        if old is None or offer_question(old) != offer_question(transfer):
            self.shown.changed(Place(Subject.TRANSFER, transfer.fid))
        if (old is None or old.state is not transfer.state) and self.offer_of(transfer.peer) is not offer:
            self.shown.changed(Place(Subject.OFFER, transfer.peer))

    def rows_of(self, chat: ChatID) -> ChatRows:
        """Return the loaded rows of one chat, which is added without rows if it is new."""
        return self.chats.setdefault(chat, ChatRows(chat))

    def forget_ended(self) -> None:
        """Drop the ended transfers."""
        for fid in [fid for fid, transfer in self.transfers.items() if transfer.state.ended]:
            del self.transfers[fid]

    def offer_of(self, peer: bytes) -> Transfer | None:
        """Return the newest offer of this person that waits for our answer, or None."""
        for transfer in reversed(self.transfers.values()):
            if transfer.peer == peer and not transfer.outgoing and transfer.state is TransferState.OFFERED:
                return transfer
        return None

    def numbered(self, number: int) -> Transfer | None:
        """Return the transfer that the screen shows under this number, or None."""
        for fid, transfer in self.transfers.items():
            if self.numbers.get(fid) == number:
                return transfer
        return None

    def request_numbered(self, number: int) -> Request | None:
        """Return the request that the screen shows under this number, or None."""
        for peer, request in self.requests.items():
            if self.request_numbers[peer] == number:
                return request
        return None

    def _put_requests(self, requests: tuple[Request, ...]) -> None:
        self.requests = {request.peer: request for request in requests}
        if not requests:
            self.request_numbers.clear()
        for peer in self.requests:
            self.request_numbers.setdefault(peer, max(self.request_numbers.values(), default=0) + 1)

    def active(self) -> list[Transfer]:
        """Return the transfers under way, in either direction."""
        moving = (TransferState.QUEUED, TransferState.RUNNING, TransferState.CHECKING)
        return [transfer for transfer in self.transfers.values() if transfer.state in moving]

    def unfinished(self) -> int:
        """Return how many transfers are neither ended nor merely offered, or to be offered, by us."""
        unanswered = (TransferState.WAITING, TransferState.OFFERED)
        return sum(not t.state.ended and not (t.outgoing and t.state in unanswered) for t in self.transfers.values())

    def rates(self) -> tuple[float, float]:
        """Return the bytes a second in and out, of all running transfers together."""
        down = up = 0.0
        for transfer in self.transfers.values():
            if transfer.state is TransferState.RUNNING and transfer.bytes_per_second:
                if transfer.outgoing:
                    up += transfer.bytes_per_second
                else:
                    down += transfer.bytes_per_second
        return down, up

    def unread(self) -> int:
        """Return how many messages from everybody nobody has seen yet."""
        return sum(person.unread for person in self.roster.people.values())
