"""A second implementation of the peer's API, all in memory: people, echoes, offers, a registry that can go.

The console's tests drive it, and ``tests.support.show_console`` shows it in a terminal.  It behaves as the
real peer does, which ``tests/contract`` holds; what the real one finds out from its disk or from the network
is said by ``fail_next`` here.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import re
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from chatnet.core import limits, messages
from chatnet.core.errors import ChatnetError, LocalError, Refused, StoreFailed, Unreachable
from chatnet.core.events import (
    NO_DETAILS,
    AlertRules,
    AlertsChanged,
    ChatMessage,
    ChatMoved,
    CodeReady,
    Event,
    Exported,
    FileRule,
    HistoryPage,
    LoggedIn,
    Me,
    MessageAdded,
    MessageChanged,
    MessageKind,
    MessageState,
    Notice,
    NoticeLevel,
    OfferDetails,
    OfferedName,
    OfferedNames,
    PeopleChanged,
    Person,
    PersonGone,
    RegistryChanged,
    RegistryPhase,
    RegistryState,
    Request,
    RequestsChanged,
    RuleKind,
    SafetyNumber,
    SearchPage,
    Snapshot,
    SpeedLimits,
    SpeedLimitsChanged,
    StoreChanged,
    Tab,
    TabsRestored,
    Transfer,
    TransferChanged,
    TransferState,
    VerifiedLevel,
)
from chatnet.core.identity import ChatID, PeerID, chat_with, grouped_text, is_prefix_of, short_text
from chatnet.core.names import why_not_a_name
from chatnet.core.text import SafeText, name_warning, safe_line, safe_text, shown_path
from chatnet.core.transfer.reasons import reason_of
from chatnet.peer.api import PeerApi, Subscription
from chatnet.peer.directory.registry_address import parse_registry_address
from chatnet.peer.files.local_paths import absolute
from chatnet.peer.store.search_query import understand_query
from chatnet.peer.transfers.managed import prepare

T = TypeVar("T")
P = ParamSpec("P")

STEP_SECONDS = 0.25
UNASKED = frozenset({"mark_read", "set_tabs", "set_draft"})  # calls that a console makes by itself


def key_of(name: str) -> PeerID:
    """A made-up PeerID, always the same for a name."""
    return PeerID(hashlib.sha256(name.encode()).digest())


def somebody(name: str, now_ms: int, online: bool = True, **changes: Any) -> Person:
    """A person with ordinary values."""
    person = Person(
        peer=key_of(name),
        name=name,
        online=online,
        linked=False,
        address="192.0.2.20:34194" if online else "",
        listed_address="192.0.2.20:34194" if online else "",
        rtt_ms=None,
        last_seen_ms=now_ms - 2_400_000,
        unread=0,
        waiting=0,
        new_key=None,
        known_since_ms=now_ms - 86_400_000,
    )
    return msgspec.structs.replace(person, **changes)


def answered(
    method: Callable[Concatenate[ScriptedPeer, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[ScriptedPeer, P], Deferred[T]]:
    """Make a call of the API out of a method: noted in ``calls``, and failing with what the method raises.

    While nobody is logged in it fails as the real one does.
    """
    signature = inspect.signature(method)

    async def checked(self: ScriptedPeer, *args: P.args, **kwargs: P.kwargs) -> T:
        self.check(method.__name__)
        return await method(self, *args, **kwargs)

    def call(self: ScriptedPeer, /, *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        self.calls.append((method.__name__, *given.args[1:]))
        return Deferred.fromCoroutine(checked(self, *args, **kwargs))

    return call


class _Subscription(Subscription):
    def __init__(self, peer: ScriptedPeer, snapshot: Snapshot, listener: Callable[[Event], None]) -> None:
        self.snapshot = snapshot
        self.listener: Callable[[Event], None] | None = listener
        self._peer = peer

    def cancel(self) -> None:
        self.listener = None
        self._peer.forget(self)


class ScriptedPeer(PeerApi):
    """Implements PeerApi; ``clock`` is a reactor or a test's clock."""

    def __init__(self, clock: Any, name: str = "carol", directory: str = "/tmp") -> None:
        self.clock = clock
        self.directory = directory
        self.me: Me | None = self._me(name) if name else None
        self.registry = RegistryState(
            phase=RegistryPhase.UP,
            address="192.0.2.1:9900",
            key=key_of("registry"),
            since_ms=self.now_ms(),
            retry_at_ms=None,
            reason=SafeText(""),
            code="",
            listed=0,
            first_seen=True,
        )
        self.people: dict[bytes, Person] = {}
        self.rows: dict[bytes, list[ChatMessage]] = {}
        self.successors: dict[bytes, bytes] = {}  # former key -> the one that was taken in its place
        self.read_n: dict[bytes, int] = {}
        self.transfers: dict[bytes, Transfer] = {}
        self.contents: dict[bytes, list[OfferedName]] = {}
        self.notices: list[Notice] = []
        self.calls: list[tuple[Any, ...]] = []
        self.limits = SpeedLimits()
        self.rules: dict[bytes, FileRule] = {}
        self.taken_names = {"bob"}
        self.fail_next: ChatnetError | None = None  # the next call fails with it, but for those of UNASKED
        self.quits = 0
        self.code = "482913"  # the next one to compare
        self.tabs: tuple[Tab, ...] = ()
        self.store_trouble = SafeText("")
        self.requests: dict[bytes, Request] = {}
        self.alerts = AlertRules()
        self._n = 0
        self._subscriptions: list[_Subscription] = []
        self._codes: dict[bytes, str] = {}  # the last one that was told with each person
        self._checks: dict[bytes, int] = {}
        self._checking: set[bytes] = set()
        self._folders: dict[bytes, bytes] = {}  # where accepted files go
        self._rates: dict[bytes, int] = {}
        self._mute: set[bytes] = set()  # they answer nothing
        self._nobody: set[bytes] = set()  # they are shown as long as they are blocked
        self._logging_in = False

    def now_ms(self) -> int:
        return int(self.clock.seconds() * 1000)

    def _me(self, name: str) -> Me:
        return Me(
            peer=key_of(name),
            name=name,
            version="0.1.0",
            new_key=True,
            data_dir=f"/home/{name}/.local/share/chatnet/{name}".encode(),
            downloads=f"{self.directory}/Downloads".encode(),
            listening=("127.0.0.1:40112",),
            log_file=f"/home/{name}/.local/state/chatnet/{name}/log".encode(),
        )

    # --- the script ----------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """Tell every listener, a turn later."""
        if isinstance(event, CodeReady):
            self._codes[event.peer] = event.code
        for subscription in tuple(self._subscriptions):
            self.clock.callLater(0, self._tell, subscription, event)

    def _tell(self, subscription: _Subscription, event: Event) -> None:
        if subscription.listener is not None:
            subscription.listener(event)

    def forget(self, subscription: _Subscription) -> None:
        """Tell nothing more there."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)

    def check(self, call: str) -> None:
        """Raises what the next ``call`` is to fail with, or LocalError("not-logged-in")."""
        if self.fail_next is not None and call not in UNASKED:
            error, self.fail_next = self.fail_next, None
            raise error
        if self.me is None and call not in ("login", "quit"):
            raise LocalError("not-logged-in", "Log in first.")

    def store_fails(self, trouble: str) -> None:
        """The disk takes nothing from now on, for the reason ``trouble``; an empty one: it does again."""
        self.store_trouble = safe_line(trouble)
        level = NoticeLevel.ERROR if trouble else NoticeLevel.INFO
        self.put_notice(trouble or "The disk takes what is written again.", level)
        self.emit(StoreChanged(not trouble, self.store_trouble))

    def _store(self) -> None:
        if self.store_trouble:
            raise StoreFailed("no-space", "the disk is full")

    def leave(self, peer: bytes) -> None:
        """They leave the list; who never wrote and was never written to is known no more."""
        if self.rows.get(peer):
            self.change_person(peer, online=False, linked=False, rtt_ms=None, last_seen_ms=self.now_ms())
        else:
            del self.people[peer]
            self.emit(PersonGone(peer))
            self._recount()

    def answered_there(self, fid: bytes, accept: bool) -> None:
        """They accept or refuse an offer of ours."""
        transfer = self.transfers[fid]
        if accept:
            self._accept(transfer)
        else:
            self._end_transfer(transfer, TransferState.DECLINED, messages.DECLINED, by_me=False)

    def mute(self, peer: bytes) -> None:
        """They take nothing of us, and answer nothing."""
        self._mute.add(peer)

    def put_people(self, *people: Person) -> None:
        for person in people:
            self.people[person.peer] = person
        self.emit(PeopleChanged(people))
        self._recount()

    def _recount(self) -> None:
        listed = self._listed()
        if listed != self.registry.listed:
            self.registry = msgspec.structs.replace(self.registry, listed=listed)
            self.emit(RegistryChanged(self.registry))

    def _listed(self) -> int:
        return sum(person.online for person in self.people.values())

    def ask(self, name: str, *texts: str, offers: int = 0, more: bool = False) -> bytes:
        """A stranger who calls itself ``name`` sends these messages; its key."""
        peer = key_of(f"stranger {name}")
        for text in texts:
            self.stored(peer, text)
        now, first = self.now_ms(), safe_line(texts[0] if texts else "a.txt")
        size = sum(map(len, texts))
        self.requests.pop(peer, None)
        self.requests[peer] = Request(
            peer, grouped_text(peer), safe_line(name), len(texts), offers, size, first, now, now, more
        )
        self._tell_requests()
        return peer

    def _tell_requests(self) -> None:
        self.emit(RequestsChanged(tuple(self.requests.values())))

    def change_person(self, peer: bytes, **changes: Any) -> None:
        self.put_people(msgspec.structs.replace(self.people[peer], **changes))

    def put_registry(self, phase: RegistryPhase, reason: str = "", code: str = "", retry_s: int | None = None) -> None:
        retry = None if retry_s is None else self.now_ms() + retry_s * 1000
        self.registry = msgspec.structs.replace(
            self.registry,
            phase=phase,
            since_ms=self.now_ms(),
            reason=safe_text(reason),
            code=code,
            retry_at_ms=retry,
            listed=self._listed(),
        )
        self.emit(RegistryChanged(self.registry))

    def put_notice(self, text: str, level: NoticeLevel = NoticeLevel.INFO) -> None:
        notice = Notice(level, safe_text(text), self.now_ms())
        self.notices.append(notice)
        self.emit(notice)

    def stored(
        self,
        peer: bytes,
        body: str,
        mine: bool = False,
        state: MessageState | None = None,
        kind: MessageKind = MessageKind.TEXT,
        fid: bytes = b"",
        at_ms: int | None = None,
        sent_ms: int | None = None,
    ) -> ChatMessage:
        """A row in the store; nobody is told.  It was written when it was stored, or at ``sent_ms``."""
        self._n += 1
        stored_ms = self.now_ms() if at_ms is None else at_ms
        message = ChatMessage(
            n=self._n,
            chat=chat_with(peer),
            sender=self.me.peer if mine and self.me is not None else peer,
            kind=kind,
            id=fid or self._n.to_bytes(16),
            mine=mine,
            sent_ms=stored_ms if sent_ms is None else sent_ms,
            stored_ms=stored_ms,
            body=safe_text(body),
            state=state or (MessageState.WAITING if mine else MessageState.RECEIVED),
            reason=SafeText(""),
        )
        self.rows.setdefault(peer, []).append(message)
        return message

    def hear(self, peer: bytes, body: str, sent_ms: int | None = None) -> ChatMessage:
        """They say something, written now or at ``sent_ms``."""
        message = self.stored(peer, body, sent_ms=sent_ms)
        self.change_person(peer, unread=self.people[peer].unread + 1)
        self.emit(MessageAdded(message))
        return message

    def set_state(self, message: ChatMessage, state: MessageState, reason: str = "") -> None:
        rows = self.rows[message.chat]
        index = next(i for i, row in enumerate(rows) if row.n == message.n)
        rows[index] = msgspec.structs.replace(rows[index], state=state, reason=safe_line(reason))
        self.emit(MessageChanged(message.chat, message.n, state, safe_line(reason)))

    def offered(
        self,
        peer: bytes,
        title: str,
        total_bytes: int,
        mine: bool = False,
        files: int = 1,
        folders: int = 0,
        details: OfferDetails = NO_DETAILS,
        contents: Sequence[OfferedName] = (),
    ) -> Transfer:
        """An offer, ours or theirs, with its row in the conversation; one to somebody who is away waits."""
        waits = mine and not self.people[peer].online
        fid = hashlib.sha256(f"{title}{len(self.transfers)}".encode()).digest()[:16]
        transfer = Transfer(
            fid=fid,
            peer=peer,
            outgoing=mine,
            title=safe_line(title),
            names=(safe_line(title),),
            warning=SafeText(name_warning(title)),
            total_files=files,
            total_bytes=total_bytes,
            done_files=0,
            done_bytes=0,
            bytes_per_second=None,
            seconds_left=None,
            state=TransferState.WAITING if waits else TransferState.OFFERED,
            code="",
            reason=SafeText(""),
            saved_to=b"",
            offered_ms=self.now_ms(),
            total_folders=folders,
            details=details,
        )
        rule = self.rules.get(peer, FileRule())
        if not mine and rule.kind is RuleKind.REFUSE:
            return transfer  # nobody here is told
        self.contents[fid] = list(contents) or [OfferedName(safe_line(title), SafeText(""), total_bytes, False)]
        self._put_transfer(transfer)
        state = MessageState.SENT if mine and not waits else None
        row = self.stored(peer, title, mine=mine, kind=MessageKind.FILE, fid=fid, state=state)
        if not mine and peer in self.people:
            self.change_person(peer, unread=self.people[peer].unread + 1)
        self.emit(MessageAdded(row))
        if not mine and rule.kind is RuleKind.AUTO and total_bytes <= (rule.max_bytes or total_bytes):
            self._accept(transfer)
        return transfer

    def change_transfer(self, fid: bytes, **changes: Any) -> Transfer:
        return self._put_transfer(msgspec.structs.replace(self.transfers[fid], **changes))

    def _put_transfer(self, transfer: Transfer) -> Transfer:
        """Its row in the conversation says how it ended."""
        self.transfers[transfer.fid] = transfer
        self.emit(TransferChanged(transfer))
        row = next((row for row in self.rows.get(transfer.peer, []) if row.id == transfer.fid), None)
        if transfer.state.ended and row is not None:
            state = MessageState.REFUSED
            if transfer.state is TransferState.DONE:
                state = MessageState.DELIVERED if transfer.outgoing else MessageState.RECEIVED
            self.set_state(row, state, transfer.reason or shown_path(transfer.saved_to))
        return transfer

    def run_transfer(self, fid: bytes, bytes_per_second: int) -> None:
        """A quarter of a second of moving bytes, and so on until the end."""
        transfer = self.transfers[fid]
        if transfer.state.ended or transfer.state is TransferState.PAUSED:
            return
        self._rates[fid] = bytes_per_second
        done = min(transfer.total_bytes, transfer.done_bytes + int(bytes_per_second * STEP_SECONDS))
        if done < transfer.total_bytes:
            left = (transfer.total_bytes - done) / bytes_per_second
            self.change_transfer(
                fid,
                state=TransferState.RUNNING,
                done_bytes=done,
                bytes_per_second=float(bytes_per_second),
                seconds_left=left,
            )
            self.clock.callLater(STEP_SECONDS, self.run_transfer, fid, bytes_per_second)
            return
        usual = f"{self.directory}/Downloads/{self.people[transfer.peer].name}".encode()
        folder = self._folders.get(fid, usual)
        self.change_transfer(
            fid,
            state=TransferState.DONE,
            done_bytes=done,
            done_files=transfer.total_files,
            bytes_per_second=None,
            seconds_left=None,
            saved_to=b"" if transfer.outgoing else os.path.join(folder, transfer.title.encode()),
        )

    # --- PeerApi -------------------------------------------------------------------------------

    def subscribe(self, listener: Callable[[Event], None]) -> Subscription:
        snapshot = Snapshot(
            me=self.me,
            registry=msgspec.structs.replace(self.registry, listed=self._listed()),
            people=tuple(self.people.values()),
            transfers=tuple(self.transfers.values()),
            notices=tuple(self.notices),
            tabs=self.tabs,
            store_trouble=self.store_trouble,
            requests=tuple(self.requests.values()),
            alerts=self.alerts,
            speed_limits=self.limits,
        )
        subscription = _Subscription(self, snapshot, listener)
        self._subscriptions.append(subscription)
        return subscription

    def listeners(self) -> int:
        return len(self._subscriptions)

    @answered
    async def login(self, name: str, registry: str, presentation: str = "") -> Me:
        if self._logging_in:
            raise LocalError("busy", "A login is under way. Wait for its end.")
        if reason := why_not_a_name(name):
            raise LocalError("bad-name", reason)
        try:
            parse_registry_address(registry)
        except ValueError as error:
            raise LocalError("bad-registry", f"{error}.") from None
        self._logging_in = True
        answer: Deferred[Me] = Deferred()
        self.clock.callLater(STEP_SECONDS, self._answer_login, answer, name)
        return await answer

    def _answer_login(self, answer: Deferred[Me], name: str) -> None:
        self._logging_in = False
        if name in self.taken_names:
            answer.errback(Refused("name-taken", f"The name {name} belongs to another key. Choose another name."))
            return
        self.me = self._me(name)
        self.emit(LoggedIn(self.me))
        self.emit(RegistryChanged(self.registry))
        self.emit(PeopleChanged(tuple(self.people.values())))
        for transfer in self.transfers.values():
            self.emit(TransferChanged(transfer))
        self._tell_requests()
        self.emit(SpeedLimitsChanged(self.limits))
        self.emit(TabsRestored(self.tabs))
        self.emit(AlertsChanged(self.alerts))
        answer.callback(self.me)

    def _known(self, peer: bytes) -> Person:
        if peer in self.requests:
            return somebody(f"?{short_text(peer)}", self.now_ms(), online=False, peer=peer)
        if peer not in self.people:
            raise LocalError("unknown-peer", "Nobody with this key is known here.")
        return self.people[peer]

    def _receiver(self, chat: ChatID) -> Person:
        person = self._known(chat if chat in self.people else self.successors.get(chat, chat))
        if person.blocked:
            raise LocalError("blocked", f"You have blocked {person.name}.")
        return person

    @answered
    async def say(self, chat: ChatID, body: str) -> ChatMessage:
        person = self._receiver(chat)
        chat = chat_with(person.peer)
        if not body.strip():
            raise LocalError("empty", "There is nothing to send.")
        if (size := len(body.encode("utf-8", "replace"))) > limits.MAX_BODY_BYTES:
            raise LocalError("too-long", f"{-(-size // 1024)} KiB is too long for a message (limit 16 KiB).")
        self._store()
        self._take_request(chat)
        held = person.new_key is not None
        message = self.stored(chat, body, mine=True, state=MessageState.HELD if held else None)
        self.emit(MessageAdded(message))
        self.change_person(chat, waiting=self.people[chat].waiting + 1)
        if not held:
            self._send(message)
        return message

    def _send(self, message: ChatMessage) -> None:
        """It goes out, if they are here; an echo comes back."""
        person = self.people[message.chat]
        if person.peer in self._mute:
            self.clock.callLater(STEP_SECONDS, self._end_message, message, MessageState.REFUSED)
        elif person.online:
            self.clock.callLater(STEP_SECONDS, self.set_state, message, MessageState.SENT)
            self.clock.callLater(STEP_SECONDS * 2, self._end_message, message, MessageState.DELIVERED)
            if person.name == "echo":
                self.clock.callLater(STEP_SECONDS * 3, self.hear, person.peer, message.body)

    def _end_message(self, message: ChatMessage, state: MessageState) -> None:
        person = self.people[message.chat]
        self.change_person(person.peer, waiting=max(0, person.waiting - 1))
        reason = f"{person.name} did not take it." if state is MessageState.REFUSED else ""
        self.set_state(message, state, reason)

    @answered
    async def resend(self, chat: ChatID, n: int) -> None:
        person = self._receiver(chat)
        chat = chat_with(person.peer)
        message = next((row for row in self.rows.get(chat, []) if row.n == n), None)
        if message is None or message.state not in (MessageState.REFUSED, MessageState.EXPIRED):
            raise LocalError("not-failed", "This message has not failed: there is nothing to send again.")
        self._store()
        self.set_state(message, MessageState.WAITING)
        self.change_person(chat, waiting=person.waiting + 1)
        self._send(message)

    @answered
    async def search(
        self,
        text: str,
        chat: ChatID | None = None,
        since_ms: int | None = None,
        before_n: int | None = None,
        limit: int = 50,
        sender: bytes | None = None,
    ) -> SearchPage:
        understand_query(text)
        parts = re.findall(r'"([^"]*)"|(\S+)', text.lower())
        words = [re.escape(quoted or word) for quoted, word in parts]
        is_whole = parts[-1][0] or text[-1].isspace()
        wanted = [rf"\b{word}" + (r"\b" if is_whole or word is not words[-1] else "") for word in words]
        found = [
            row
            for talk, rows in self.rows.items()
            for row in rows
            if all(re.search(word, row.body.lower()) for word in wanted)
            and chat in (None, talk)
            and row.stored_ms >= (since_ms or 0)
            and (before_n is None or row.n < before_n)
            and sender in (None, row.sender)
        ]
        found.sort(key=lambda row: -row.n)
        page = tuple(found[:limit])
        return SearchPage(page, page[-1].n if len(found) > limit else None)

    @answered
    async def export(self, chat: ChatID, file: bytes, format: str = "text") -> Exported:
        if format not in ("text", "json"):
            raise LocalError("bad-format", f"'{format}' is no format: text or json.")
        self._known(chat)
        path = absolute(file)
        _check_new(path)
        return Exported(path, len(self.rows.get(chat, [])))

    @answered
    async def set_tabs(self, chats: tuple[ChatID, ...]) -> None:
        self._store()
        drafts = {tab.chat: tab.draft for tab in self.tabs}
        closed = (Tab(chat, draft, False) for chat, draft in drafts.items() if draft and chat not in chats)
        self.tabs = (*(Tab(chat, drafts.get(chat, ""), True) for chat in dict.fromkeys(chats)), *closed)

    @answered
    async def set_draft(self, chat: ChatID, text: str) -> None:
        self._store()
        tabs = {tab.chat: tab for tab in self.tabs}
        tab = tabs.get(chat, Tab(chat, "", False))
        tabs[chat] = msgspec.structs.replace(tab, draft=text[: limits.MAX_DRAFT_CHARS])
        self.tabs = tuple(tab for tab in tabs.values() if tab.open or tab.draft)

    @answered
    async def history(
        self, chat: ChatID, before: int | None = None, limit: int = 100, after: int | None = None
    ) -> HistoryPage:
        rows = self.rows.get(chat, [])
        limit = min(limit, limits.HISTORY_PAGE)
        if before is not None:
            rows = [row for row in rows if row.n < before]
        if after is not None:
            rows = [row for row in rows if row.n > after]
        page = tuple(rows[-limit:] if after is None else rows[:limit])
        answer: Deferred[HistoryPage] = Deferred()
        found = HistoryPage(page, len(rows) > len(page), self.read_n.get(chat, 0))
        self.clock.callLater(0, answer.callback, found)
        return await answer

    @answered
    async def mark_read(self, chat: ChatID, n: int) -> None:
        self._store()
        read_n = self.read_n[chat] = max(n, self.read_n.get(chat, 0))
        if chat in self.people and self.people[chat].unread:
            unread = sum(1 for row in self.rows.get(chat, []) if not row.mine and row.n > read_n)
            self.change_person(chat, unread=unread)

    @answered
    async def connect(self, peer: bytes) -> None:
        person = self._known(peer)
        if not person.online:
            raise Unreachable("unreachable", "nobody answers at their addresses")
        self.change_person(peer, linked=True, rtt_ms=3)

    @answered
    async def offer(self, chat: ChatID, paths: tuple[bytes, ...]) -> Transfer:
        return self._offer(chat, paths)

    def _offer(self, chat: ChatID, paths: tuple[bytes, ...]) -> Transfer:
        person = self._may_offer(chat)
        found, summary, details, _, _ = prepare(paths)
        self._check_offer(person)
        files = (file.offered for file in found.files)
        transfer = self.offered(
            chat_with(person.peer),
            summary.title,
            summary.size,
            mine=True,
            files=summary.files,
            folders=summary.folders,
            details=details,
            contents=[OfferedName(safe_line("/".join(file.path)), SafeText(""), file.size, False) for file in files],
        )
        if person.name == "echo":
            self.clock.callLater(STEP_SECONDS * 4, self.run_transfer, transfer.fid, max(1, summary.size // 8))
        return self.change_transfer(transfer.fid, names=tuple(summary.names), warning=safe_line(found.warning))

    @answered
    async def offer_text(self, chat: ChatID, text: str, name: str) -> Transfer:
        person = self._may_offer(chat)
        self._check_offer(person)
        return self.offered(chat_with(person.peer), name, len(text.encode()), mine=True)

    def _may_offer(self, chat: ChatID) -> Person:
        person = self._receiver(chat)
        if person.new_key is not None:
            raise LocalError("held", f"{person.name} has another key now. Nothing is sent to it.")
        return person

    def _check_offer(self, person: Person) -> None:
        self._store()
        self._take_request(person.peer)

    def _transfer(self, fid: bytes) -> Transfer:
        if fid not in self.transfers:
            raise LocalError("unknown-transfer", "There is no such transfer.")
        return self.transfers[fid]

    def _open_transfer(self, fid: bytes) -> Transfer:
        transfer = self._transfer(fid)
        if transfer.state.ended:
            raise LocalError("ended", transfer.reason or "That transfer has ended.")
        return transfer

    def _open_offer(self, fid: bytes) -> Transfer:
        """An offer of theirs that nobody has answered."""
        if self._transfer(fid).outgoing:
            raise LocalError("unknown-transfer", "That offer is your own.")
        transfer = self._open_transfer(fid)
        if transfer.state is not TransferState.OFFERED:
            raise LocalError("ended", "That offer is answered already.")
        return transfer

    def _end_transfer(self, transfer: Transfer, state: TransferState, code: str, by_me: bool = True) -> Transfer:
        reason = reason_of(code, transfer.outgoing, by_me)
        return self.change_transfer(transfer.fid, state=state, code=code, reason=reason, paused_here=False)

    @answered
    async def accept(self, fid: bytes, directory: bytes = b"") -> Transfer:
        transfer = self._open_offer(fid)
        if directory:
            self._folders[fid] = absolute(directory)
        self._take_request(transfer.peer)
        return self._accept(transfer)

    def _accept(self, transfer: Transfer) -> Transfer:
        self._rates[transfer.fid] = max(1, transfer.total_bytes // 20)
        return self._go_on(transfer)

    def _go_on(self, transfer: Transfer) -> Transfer:
        self.clock.callLater(STEP_SECONDS, self.run_transfer, transfer.fid, self._rates.get(transfer.fid, 1_000_000))
        return self.change_transfer(
            transfer.fid, state=TransferState.QUEUED, code="", reason=SafeText(""), paused_here=False
        )

    @answered
    async def refuse(self, fid: bytes) -> Transfer:
        return self._end_transfer(self._open_offer(fid), TransferState.DECLINED, messages.DECLINED)

    @answered
    async def cancel(self, fid: bytes) -> Transfer:
        transfer = self._transfer(fid)
        return transfer if transfer.state.ended else self._cancel(transfer)

    def _cancel(self, transfer: Transfer, by_me: bool = True) -> Transfer:
        return self._end_transfer(transfer, TransferState.CANCELLED, messages.USER, by_me)

    def _running(self, fid: bytes) -> Transfer:
        transfer = self._open_transfer(fid)
        if transfer.state in (TransferState.OFFERED, TransferState.WAITING):
            raise LocalError("not-running", "There is nothing to pause or resume before the offer is accepted.")
        return transfer

    @answered
    async def offered_names(self, fid: bytes, start: int = 0, limit: int = 200) -> OfferedNames:
        names = self._names(fid)
        answer: Deferred[OfferedNames] = Deferred()
        self.clock.callLater(0, answer.callback, OfferedNames(tuple(names[start : start + limit]), len(names)))
        return await answer

    @answered
    async def next_renamed(self, fid: bytes, start: int = 0) -> int | None:
        names = enumerate(self._names(fid))
        return next((number for number, name in names if number >= start and name.original), None)

    def _names(self, fid: bytes) -> list[OfferedName]:
        transfer = self._transfer(fid)
        if transfer.state.ended and transfer.state is not TransferState.DONE:
            raise LocalError("ended", "Its names are not kept any more.")
        return self.contents[fid]

    @answered
    async def pause(self, fid: bytes) -> Transfer:
        return self.hold(self._running(fid).fid, by_me=True)

    def hold(self, fid: bytes, by_me: bool) -> Transfer:
        """One of the two sides pauses it."""
        transfer = self.transfers[fid]
        code, reason = messages.PAUSED, reason_of(messages.PAUSED, transfer.outgoing, by_me)
        return self.change_transfer(fid, state=TransferState.PAUSED, code=code, reason=reason, paused_here=by_me)

    @answered
    async def resume(self, fid: bytes) -> Transfer:
        transfer = self._running(fid)
        if transfer.state is TransferState.PAUSED and not transfer.paused_here and transfer.code == messages.PAUSED:
            name = self.people[transfer.peer].name
            raise LocalError("paused-there", f"{name} holds it too: it goes on when {name} lets it.")
        if transfer.state in (TransferState.PAUSED, TransferState.BROKEN):
            return self._go_on(transfer)
        return transfer

    @answered
    async def speed_limits(self) -> SpeedLimits:
        return self.limits

    @answered
    async def set_speed_limits(self, up: int | None, down: int | None) -> SpeedLimits:
        for speed in (up, down):
            if speed is not None and speed < limits.LEAST_SPEED:
                raise LocalError("too-slow", f"{limits.LEAST_SPEED // 1024} KiB/s is the lowest limit.")
        self._store()
        self.limits = SpeedLimits(up, down)
        self.emit(SpeedLimitsChanged(self.limits))
        return self.limits

    @answered
    async def set_alerts(self, rules: AlertRules) -> AlertRules:
        if len(rules.muted) > limits.MUTED:
            raise LocalError("too-many", f"{limits.MUTED} people can be muted, not more.")
        self._store()
        self.alerts = rules
        self.emit(AlertsChanged(rules))
        return rules

    @answered
    async def rule(self, peer: bytes) -> FileRule:
        return self.rules.get(self._known(peer).peer, FileRule())

    @answered
    async def set_rule(self, peer: bytes, rule: FileRule) -> FileRule:
        self._known(peer)
        self._store()
        self.rules[peer] = rule
        return rule

    @answered
    async def forget_ended(self) -> None:
        self._store()
        self.transfers = {fid: transfer for fid, transfer in self.transfers.items() if not transfer.state.ended}

    @answered
    async def trust(self, peer: bytes, prefix: str) -> None:
        person = self._known(peer)
        if person.new_key is None:
            raise LocalError("no-new-key", f"{person.name} has no new key.")
        if person.verified:
            text = f"{person.name}'s key was verified, so 16 characters are not enough for a new one."
            raise LocalError("verified", text)
        if not is_prefix_of(prefix, person.new_key):
            raise LocalError("wrong-prefix", "These are not the first 16 characters. Nothing changed.")
        self._take_key(peer, person.new_key, VerifiedLevel.NOT)

    def _take_key(self, peer: bytes, new: bytes, verified: VerifiedLevel) -> None:
        """The name is the new key's, and what was held goes to it."""
        self._store()
        person, former, chat = self.people.pop(peer), chat_with(peer), chat_with(new)
        self.rows[chat] = [msgspec.structs.replace(row, chat=chat) for row in self.rows.pop(former, [])]
        self.successors[former] = chat
        self.emit(ChatMoved(former, chat))
        self.put_people(somebody(person.name, self.now_ms(), peer=new, verified=verified, waiting=person.waiting))
        self.emit(PersonGone(peer))
        for row in [row for row in self.rows[chat] if row.state is MessageState.HELD]:
            self.set_state(row, MessageState.WAITING)
            self._send(row)

    @answered
    async def keep_key(self, peer: bytes, key: bytes) -> None:
        person = self._known(peer)
        if person.new_key is None:
            raise LocalError("no-new-key", f"{person.name} has no new key.")
        if key != person.new_key:
            raise LocalError("another-key", f"Yet another key uses the name {person.name} now. Nothing changed.")
        self._store()
        self.change_person(peer, new_key=None, other_key=key)
        for row in [row for row in self.rows.get(peer, []) if row.state is MessageState.HELD]:
            self.set_state(row, MessageState.WAITING)

    @answered
    async def safety_number(self, peer: bytes) -> SafetyNumber:
        person = self._known(peer)
        digits = " ".join(f"{n:05d}" for n in range(11111, 11123))
        return SafetyNumber(peer, person.name, person.compared_key, digits)

    @answered
    async def check_live(self, peer: bytes) -> str:
        person = self._known(peer)
        if peer in self._checking:
            raise LocalError("check-failed", f"A code with {person.name} is on its way already.")
        if self._checks.get(peer, 0) >= limits.PeerLimits().checks_per_day:
            raise LocalError("too-often", "3 codes a day with one person, and today's are used.")
        self._checks[peer] = self._checks.get(peer, 0) + 1
        if not person.online:
            raise Unreachable("unreachable", "nobody answers at their addresses")
        answer: Deferred[str] = Deferred()
        if peer in self._mute:
            self.clock.callLater(limits.PeerLimits().check_seconds, self._end_check, peer, answer)
        else:
            self.clock.callLater(0, self._end_check, peer, answer)
        self._checking.add(peer)
        return await answer

    def _end_check(self, peer: bytes, answer: Deferred[str]) -> None:
        self._checking.discard(peer)
        if peer in self._mute:
            answer.errback(LocalError("check-late", "The other side did not answer in time. Is the person there?"))
            return
        self.emit(CodeReady(peer, self.code, asked=True))
        answer.callback(self.code)

    @answered
    async def confirm(self, peer: bytes, level: VerifiedLevel, name: str, key: bytes, code: str = "") -> None:
        person = self._known(peer)
        compared = person.compared_key if level is VerifiedLevel.BY_NUMBER else peer
        shown = self._codes.get(peer, "")
        if level is VerifiedLevel.BY_CODE and not shown:
            raise LocalError("no-check", f"No code was compared with {person.name} yet.")
        if key != compared:
            raise LocalError("another-key", f"Another key has come since for {person.name}. Nothing changed.")
        if name != person.name:
            raise LocalError("another-name", f"This key is not called {name} any more. Nothing changed.")
        if level is VerifiedLevel.BY_CODE and code != shown:
            raise LocalError("another-code", f"Another code with {name} has come since. Nothing changed.")
        if compared != peer:
            self._take_key(peer, compared, level)
        else:
            self._store()
            self.change_person(peer, verified=level)

    @answered
    async def block(self, peer: bytes, blocked: bool) -> None:
        person = self._known(peer)
        self._store()
        for transfer in self.transfers.values():
            if blocked and transfer.peer == peer and not transfer.state.ended:
                self._cancel(transfer)
        if peer in self.requests:
            self._drop_request(peer)
            self._nobody.add(peer)
        self.put_people(msgspec.structs.replace(person, blocked=blocked))
        if not blocked and peer in self._nobody:
            self.leave(peer)

    @answered
    async def accept_request(self, peer: bytes) -> None:
        self._check_request(peer)
        self._store()
        self._take_request(peer)

    def _take_request(self, peer: bytes) -> None:
        """Whoever sent it is a person from now on, and what they sent is told."""
        if self.requests.pop(peer, None) is None:
            return
        self._tell_requests()
        rows = self.rows.get(peer, [])
        for row in rows:
            self.emit(MessageAdded(row))
        unread = sum(1 for row in rows if row.n > self.read_n.get(peer, 0))
        self.put_people(somebody(f"?{short_text(peer)}", self.now_ms(), peer=peer, unread=unread))

    @answered
    async def refuse_request(self, peer: bytes) -> None:
        self._check_request(peer)
        self._store()
        self._drop_request(peer)

    @answered
    async def clear_requests(self) -> None:
        self._store()
        for peer in tuple(self.requests):
            self._drop_request(peer)

    def _check_request(self, peer: bytes) -> None:
        if peer not in self.requests:
            raise LocalError("no-request", f"There is no request of {short_text(peer)}.")

    def _drop_request(self, peer: bytes) -> None:
        del self.requests[peer]
        self.rows.pop(peer, None)
        self._tell_requests()

    @answered
    async def take_over(self) -> None:
        """Nobody else is here."""

    @answered
    async def reconnect(self) -> None:
        self.put_registry(RegistryPhase.UP)

    @answered
    async def quit(self) -> None:
        self.quits += 1


def _check_new(path: bytes) -> None:
    """Raises LocalError where no new file can be made."""
    if os.path.lexists(path):
        raise LocalError("exists", f"{shown_path(path)} is there already and was not changed.")
    if not os.path.isdir(os.path.dirname(path)):
        raise LocalError("unwritable", f"{shown_path(path)} cannot be written. Choose another place.")


def furnished(clock: Any, name: str = "carol", directory: str = "/tmp") -> ScriptedPeer:
    """A peer in the middle of its day."""
    peer = ScriptedPeer(clock, name, directory)
    now = peer.now_ms()
    names = ("echo", "erin", "frank", "grace", "heidi", "ivan", "judy", "niaj", "olivia", "peggy")
    people = [somebody(one, now) for one in names]
    people += [
        somebody("bob", now, linked=True, rtt_ms=3),
        somebody("dave", now, unread=2),
        somebody("mallory", now, new_key=key_of("another mallory"), other_key=key_of("another mallory")),
        somebody("alice", now, online=False, waiting=1),
        somebody("walter", now, online=False),
    ]
    peer.people = {person.peer: person for person in people}
    bob, dave, alice = key_of("bob"), key_of("dave"), key_of("alice")
    hour = 3_600_000
    peer.stored(bob, "see you tomorrow", at_ms=now - 26 * hour)
    peer.stored(bob, "did the build finish?", mine=True, state=MessageState.DELIVERED, at_ms=now - hour)
    peer.stored(bob, "yes, log is at https://ci.example/b/1182", at_ms=now - hour + 60_000)
    peer.stored(
        bob, "two warnings:\n- unused import in peers.py\n- 你好.txt has no newline 👋🏽", at_ms=now - hour + 70_000
    )
    peer.read_n[bob] = 4
    peer.stored(bob, "sending you the video", at_ms=now - 300_000)
    peer.offered(bob, "video.mkv", 1_500_000_000)
    peer.stored(bob, "tell me if it stutters", at_ms=now - 200_000)
    peer.stored(bob, "will do", mine=True, state=MessageState.DELIVERED, at_ms=now - 100_000)
    peer.stored(dave, "lunch?", at_ms=now - 60_000)
    peer.stored(dave, "hello?", at_ms=now - 50_000)
    peer.stored(alice, "call me when you are back", mine=True, at_ms=now - 40_000)
    peer.stored(key_of("mallory"), "see you tomorrow", at_ms=now - 26 * hour)
    peer.change_person(bob, unread=0)
    peer.put_notice("bob is linked, direct.")
    return peer
