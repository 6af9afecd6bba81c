"""A second implementation of the peer's door, all in memory: people, echoes, offers, a registry that can go.

The console's tests drive it, and ``tests.support.show_console`` shows it in a terminal.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred, fail, succeed

from chatnet.core import limits
from chatnet.core.errors import ChatnetError, LocalError, Refused
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
    SafetyNumber,
    SearchPage,
    Snapshot,
    SpeedLimits,
    SpeedLimitsChanged,
    Tab,
    Transfer,
    TransferChanged,
    TransferState,
    VerifiedLevel,
)
from chatnet.core.identity import ChatID, PeerID, chat_with, grouped_text, is_prefix_of, short_text
from chatnet.core.names import why_not_a_name
from chatnet.core.text import SafeText, name_warning, safe_line, safe_text, shown_path
from chatnet.peer.api import Subscription

STEP_SECONDS = 0.25


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
        rtt_ms=None,
        last_seen_ms=now_ms - 2_400_000,
        unread=0,
        waiting=0,
        new_key=None,
        known_since_ms=now_ms - 86_400_000,
    )
    return msgspec.structs.replace(person, **changes)


class _Subscription(Subscription):
    def __init__(self, snapshot: Snapshot, end: Callable[[], None]) -> None:
        self.snapshot = snapshot
        self.cancel = end  # type: ignore[method-assign]


class ScriptedPeer:
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
        self.read_n: dict[bytes, int] = {}
        self.transfers: dict[bytes, Transfer] = {}
        self.contents: dict[bytes, list[OfferedName]] = {}
        self.notices: list[Notice] = []
        self.calls: list[tuple[Any, ...]] = []
        self.limits = SpeedLimits()
        self.rules: dict[bytes, FileRule] = {}
        self.taken_names = {"bob"}
        self.fail_next: ChatnetError | None = None  # the next say, history, offer_text or offered_names fails with it
        self.quits = 0
        self.code = "482913"  # the last one to compare
        self.tabs: tuple[Tab, ...] = ()
        self.store_trouble = SafeText("")
        self.requests: dict[bytes, Request] = {}
        self.alerts = AlertRules()
        self._n = 0
        self._listeners: list[Callable[[Event], None]] = []

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
        for listener in tuple(self._listeners):
            self.clock.callLater(0, self._tell, listener, event)

    def _tell(self, listener: Callable[[Event], None], event: Event) -> None:
        if listener in self._listeners:
            listener(event)

    def put_people(self, *people: Person) -> None:
        for person in people:
            self.people[person.peer] = person
        self.emit(PeopleChanged(people))

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
            listed=len(self.people),
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
        self.contents[fid] = list(contents)
        self._put_transfer(transfer)
        state = MessageState.SENT if mine and not waits else None
        self.emit(MessageAdded(self.stored(peer, title, mine=mine, state=state, kind=MessageKind.FILE, fid=fid)))
        return transfer

    def change_transfer(self, fid: bytes, **changes: Any) -> Transfer:
        return self._put_transfer(msgspec.structs.replace(self.transfers[fid], **changes))

    def _put_transfer(self, transfer: Transfer) -> Transfer:
        self.transfers[transfer.fid] = transfer
        self.emit(TransferChanged(transfer))
        return transfer

    def run_transfer(self, fid: bytes, bytes_per_second: int) -> None:
        """A quarter of a second of moving bytes, and so on until the end."""
        transfer = self.transfers[fid]
        if transfer.state.ended:
            return
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
        folder = transfer.saved_to or f"{self.directory}/Downloads/{self.people[transfer.peer].name}".encode()
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
        self._listeners.append(listener)
        snapshot = Snapshot(
            me=self.me,
            registry=msgspec.structs.replace(self.registry, listed=len(self.people)),
            people=tuple(self.people.values()),
            transfers=tuple(self.transfers.values()),
            notices=tuple(self.notices),
            tabs=self.tabs,
            store_trouble=self.store_trouble,
            requests=tuple(self.requests.values()),
            alerts=self.alerts,
            speed_limits=self.limits,
        )
        return _Subscription(snapshot, lambda: self._listeners.remove(listener))

    def listeners(self) -> int:
        return len(self._listeners)

    def login(self, name: str, registry: str, presentation: str = "") -> Deferred[Me]:
        self.calls.append(("login", name, registry, presentation))
        if reason := why_not_a_name(name):
            return fail(LocalError("bad-name", reason))
        answer: Deferred[Me] = Deferred()
        self.clock.callLater(STEP_SECONDS, self._answer_login, answer, name)
        return answer

    def _answer_login(self, answer: Deferred[Me], name: str) -> None:
        if name in self.taken_names:
            answer.errback(Refused("name-taken", f"The name {name} belongs to another key. Choose another name."))
            return
        self.me = self._me(name)
        self.emit(LoggedIn(self.me))
        answer.callback(self.me)

    def _failing(self) -> Deferred[Any] | None:
        error, self.fail_next = self.fail_next, None
        return fail(error) if error is not None else None

    def say(self, chat: ChatID, body: str) -> Deferred[ChatMessage]:
        self.calls.append(("say", chat, body))
        failing = self._failing()
        if failing is not None:
            return failing
        person = self.people[chat]
        held = person.new_key is not None
        message = self.stored(chat, body, mine=True, state=MessageState.HELD if held else None)
        self.emit(MessageAdded(message))
        if held:
            pass
        elif person.online:
            self.clock.callLater(STEP_SECONDS, self.set_state, message, MessageState.SENT)
            self.clock.callLater(STEP_SECONDS * 2, self.set_state, message, MessageState.DELIVERED)
            if person.name == "echo":
                self.clock.callLater(STEP_SECONDS * 3, self.hear, chat, body)
        else:
            self.change_person(chat, waiting=person.waiting + 1)
        return succeed(message)

    def resend(self, chat: ChatID, n: int) -> Deferred[None]:
        self.calls.append(("resend", chat, n))
        message = next(row for row in self.rows[chat] if row.n == n)
        self.set_state(message, MessageState.WAITING)
        return succeed(None)

    def search(
        self,
        text: str,
        chat: ChatID | None = None,
        since_ms: int | None = None,
        before_n: int | None = None,
        limit: int = 50,
        sender: bytes | None = None,
    ) -> Deferred[SearchPage]:
        self.calls.append(("search", text, chat, since_ms, before_n, limit, sender))
        found = [
            row
            for talk, rows in self.rows.items()
            for row in rows
            if all(word in row.body.lower() for word in text.lower().split())
            and chat in (None, talk)
            and row.stored_ms >= (since_ms or 0)
            and (before_n is None or row.n < before_n)
            and sender in (None, row.sender)
        ]
        found.sort(key=lambda row: -row.n)
        page = tuple(found[:limit])
        return succeed(SearchPage(page, page[-1].n if len(found) > limit else None))

    def export(self, chat: ChatID, file: bytes, format: str = "text") -> Deferred[Exported]:
        self.calls.append(("export", chat, file, format))
        return succeed(Exported(file, len(self.rows.get(chat, []))))

    def set_tabs(self, chats: tuple[ChatID, ...]) -> Deferred[None]:
        self.calls.append(("set_tabs", chats))
        return succeed(None)

    def set_alerts(self, rules: AlertRules) -> Deferred[AlertRules]:
        self.calls.append(("set_alerts", rules))
        self.alerts = rules
        self.emit(AlertsChanged(rules))
        return succeed(rules)

    def set_draft(self, chat: ChatID, text: str) -> Deferred[None]:
        self.calls.append(("set_draft", chat, text))
        return succeed(None)

    def history(
        self, chat: ChatID, before: int | None = None, limit: int = 100, after: int | None = None
    ) -> Deferred[HistoryPage]:
        self.calls.append(("history", chat, before, limit))
        failing = self._failing()
        if failing is not None:
            return failing
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
        return answer

    def mark_read(self, chat: ChatID, n: int) -> Deferred[None]:
        self.calls.append(("mark_read", chat, n))
        self.read_n[chat] = n
        if chat in self.people and self.people[chat].unread:
            self.change_person(chat, unread=0)
        return succeed(None)

    def connect(self, peer: bytes) -> Deferred[None]:
        self.calls.append(("connect", peer))
        return succeed(None)

    def offer(self, chat: ChatID, paths: tuple[bytes, ...]) -> Deferred[Transfer]:
        self.calls.append(("offer", chat, paths))
        missing = next((path for path in paths if not os.path.exists(path)), None)
        if missing is not None:
            return fail(LocalError("no-such-file", f"no file '{shown_path(missing)}'"))
        title = os.fsdecode(os.path.basename(paths[0])) + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
        size = sum(os.path.getsize(path) for path in paths)
        transfer = self.offered(chat, title, size, mine=True, files=len(paths))
        if self.people[chat].name == "echo":
            self.clock.callLater(STEP_SECONDS * 4, self.run_transfer, transfer.fid, max(1, size // 8))
        return succeed(transfer)

    def offer_text(self, chat: ChatID, text: str, name: str) -> Deferred[Transfer]:
        self.calls.append(("offer_text", chat, text, name))
        failing = self._failing()
        if failing is not None:
            return failing
        return succeed(self.offered(chat, name, len(text.encode()), mine=True))

    def accept(self, fid: bytes, directory: bytes = b"") -> Deferred[Transfer]:
        self.calls.append(("accept", fid, directory))
        transfer = self.change_transfer(fid, state=TransferState.QUEUED, saved_to=directory)
        self.clock.callLater(STEP_SECONDS, self.run_transfer, fid, max(1, transfer.total_bytes // 20))
        return succeed(transfer)

    def offered_names(self, fid: bytes, start: int = 0, limit: int = 200) -> Deferred[OfferedNames]:
        self.calls.append(("offered_names", fid, start, limit))
        error, self.fail_next = self.fail_next, None
        if error is not None:
            return fail(error)
        names = self.contents[fid]
        answer: Deferred[OfferedNames] = Deferred()
        self.clock.callLater(0, answer.callback, OfferedNames(tuple(names[start : start + limit]), len(names)))
        return answer

    def next_renamed(self, fid: bytes, start: int = 0) -> Deferred[int | None]:
        self.calls.append(("next_renamed", fid, start))
        names = enumerate(self.contents[fid])
        return succeed(next((number for number, name in names if number >= start and name.original), None))

    def refuse(self, fid: bytes) -> Deferred[Transfer]:
        self.calls.append(("refuse", fid))
        return succeed(self.change_transfer(fid, state=TransferState.DECLINED))

    def cancel(self, fid: bytes) -> Deferred[Transfer]:
        self.calls.append(("cancel", fid))
        reason = safe_line("by you")
        return succeed(self.change_transfer(fid, state=TransferState.CANCELLED, code="cancelled", reason=reason))

    def pause(self, fid: bytes) -> Deferred[Transfer]:
        self.calls.append(("pause", fid))
        return succeed(self.change_transfer(fid, state=TransferState.PAUSED, paused_here=True))

    def resume(self, fid: bytes) -> Deferred[Transfer]:
        self.calls.append(("resume", fid))
        return succeed(self.change_transfer(fid, state=TransferState.QUEUED, paused_here=False))

    def speed_limits(self) -> Deferred[SpeedLimits]:
        return succeed(self.limits)

    def set_speed_limits(self, up: int | None, down: int | None) -> Deferred[SpeedLimits]:
        self.calls.append(("set_speed_limits", up, down))
        self.limits = SpeedLimits(up, down)
        self.emit(SpeedLimitsChanged(self.limits))
        return succeed(self.limits)

    def rule(self, peer: bytes) -> Deferred[FileRule]:
        return succeed(self.rules.get(peer, FileRule()))

    def set_rule(self, peer: bytes, rule: FileRule) -> Deferred[FileRule]:
        self.calls.append(("set_rule", peer, rule))
        self.rules[peer] = rule
        return succeed(rule)

    def forget_ended(self) -> Deferred[None]:
        self.calls.append(("forget_ended",))
        self.transfers = {fid: transfer for fid, transfer in self.transfers.items() if not transfer.state.ended}
        return succeed(None)

    def trust(self, peer: bytes, prefix: str) -> Deferred[None]:
        self.calls.append(("trust", peer, prefix))
        new = self.people[peer].new_key
        if new is None:
            return fail(LocalError("no-new-key", "There is no new key."))
        if not is_prefix_of(prefix, new):
            return fail(LocalError("wrong-prefix", "These are not the first 16 characters. Nothing changed."))
        self._take_key(peer, new, VerifiedLevel.NOT)
        return succeed(None)

    def _take_key(self, peer: bytes, new: bytes, verified: VerifiedLevel) -> None:
        person, former, chat = self.people.pop(peer), chat_with(peer), chat_with(new)
        self.rows[chat] = [msgspec.structs.replace(row, chat=chat) for row in self.rows.pop(former, [])]
        self.emit(ChatMoved(former, chat))
        self.put_people(somebody(person.name, self.now_ms(), peer=new, verified=verified))
        self.emit(PersonGone(peer))

    def keep_key(self, peer: bytes, key: bytes) -> Deferred[None]:
        self.calls.append(("keep_key", peer, key))
        if key != self.people[peer].new_key:
            return fail(LocalError("another-key", "Yet another key uses the name now. Nothing changed."))
        self.change_person(peer, new_key=None)
        return succeed(None)

    def safety_number(self, peer: bytes) -> Deferred[SafetyNumber]:
        self.calls.append(("safety_number", peer))
        person = self.people[peer]
        digits = " ".join(f"{n:05d}" for n in range(11111, 11123))
        return succeed(SafetyNumber(peer, person.name, person.new_key or peer, digits))

    def check_live(self, peer: bytes) -> Deferred[str]:
        self.calls.append(("check_live", peer))
        failing = self._failing()
        if failing is not None:
            return failing
        self.emit(CodeReady(peer, self.code, asked=True))
        return succeed(self.code)

    def confirm(self, peer: bytes, level: VerifiedLevel, name: str, key: bytes, code: str = "") -> Deferred[None]:
        self.calls.append(("confirm", peer, level, name, key, code))
        new = self.people[peer].new_key if level is VerifiedLevel.BY_NUMBER else None
        if key != (new or peer):
            return fail(LocalError("another-key", "Another key has come since. Nothing changed."))
        if new is not None:
            self._take_key(peer, new, level)
        else:
            self.change_person(peer, verified=level)
        return succeed(None)

    def block(self, peer: bytes, blocked: bool) -> Deferred[None]:
        self.calls.append(("block", peer, blocked))
        if peer in self.requests:
            self._drop_request(peer)
            self.put_people(somebody(f"?{short_text(peer)}", self.now_ms(), online=False, peer=peer))
        self.change_person(peer, blocked=blocked)
        return succeed(None)

    def accept_request(self, peer: bytes) -> Deferred[None]:
        self.calls.append(("accept_request", peer))
        if peer not in self.requests:
            return fail(LocalError("no-request", f"There is no request of {short_text(peer)}."))
        del self.requests[peer]
        self._tell_requests()
        self.put_people(somebody(f"?{short_text(peer)}", self.now_ms(), peer=peer))
        return succeed(None)

    def refuse_request(self, peer: bytes) -> Deferred[None]:
        self.calls.append(("refuse_request", peer))
        self._drop_request(peer)
        return succeed(None)

    def clear_requests(self) -> Deferred[None]:
        self.calls.append(("clear_requests",))
        for peer in tuple(self.requests):
            self._drop_request(peer)
        return succeed(None)

    def _drop_request(self, peer: bytes) -> None:
        del self.requests[peer]
        self.rows.pop(peer, None)
        self._tell_requests()

    def take_over(self) -> Deferred[None]:
        self.calls.append(("take_over",))
        return succeed(None)

    def reconnect(self) -> Deferred[None]:
        self.calls.append(("reconnect",))
        self.put_registry(RegistryPhase.UP)
        return succeed(None)

    def quit(self) -> Deferred[None]:
        self.calls.append(("quit",))
        self.quits += 1
        return succeed(None)


def furnished(clock: Any, name: str = "carol", directory: str = "/tmp") -> ScriptedPeer:
    """A peer in the middle of its day."""
    peer = ScriptedPeer(clock, name, directory)
    now = peer.now_ms()
    names = ("echo", "erin", "frank", "grace", "heidi", "ivan", "judy", "niaj", "olivia", "peggy")
    people = [somebody(one, now) for one in names]
    people += [
        somebody("bob", now, linked=True, rtt_ms=3),
        somebody("dave", now, unread=2),
        somebody("mallory", now, new_key=key_of("another mallory")),
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
    peer.put_notice("bob is linked, direct.")
    return peer
