"""What the contract of the peer's API is made of: its calls, errors and events, and who notes that they were seen.

Everything has a name here: ``say`` for a call that went well, ``say: empty`` for one that failed with that code,
``MessageAdded`` for an event that came.  The names are those of ``PeerApi``, of its docstrings and of
``chatnet.core.events``, so that what is added there is missed in the contract at once.
"""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chatnet.core import events
from chatnet.core.errors import CannotListen, ChatnetError, Refused, StoreFailed, Unreachable, WrongKey
from chatnet.core.events import (
    AlertsChanged,
    ChatMessage,
    ChatMoved,
    CodeReady,
    Event,
    LoggedIn,
    MessageAdded,
    MessageChanged,
    Notice,
    PeopleChanged,
    PersonGone,
    RegistryChanged,
    RequestsChanged,
    Snapshot,
    SpeedLimitsChanged,
    StoreChanged,
    TabsRestored,
    Transfer,
    TransferChanged,
)
from chatnet.peer.api import PeerApi, Subscription

T = TypeVar("T")

CALLS: Mapping[str, Callable[..., Any]] = {
    name: call for name, call in inspect.getmembers(PeerApi, inspect.isfunction) if not name.startswith("_")
}
ALWAYS = frozenset({"subscribe", "login", "quit"})  # the calls that need no login
GENERAL = frozenset({"not-logged-in", "StoreFailed"})  # what the class says of all calls

_CODE = re.compile(r'"([a-z][a-z-]*)"')
_CLASSES = (
    CannotListen,
    Refused,
    StoreFailed,
    Unreachable,
    WrongKey,
)  # errors whose code says more than a client needs
_CLASS = re.compile(rf"\b({'|'.join(kind.__name__ for kind in _CLASSES)})\b")


def codes_of(call: str) -> frozenset[str]:
    """What the docstring of a call says that it fails with: codes, and names of classes."""
    _, _, told = (inspect.getdoc(CALLS[call]) or "").partition("Fails ")
    like = re.match(r"(?:like|as) ``(\w+)``", told)
    return frozenset(_CODE.findall(told)) | set(_CLASS.findall(told)) | (codes_of(like[1]) if like else frozenset())


def everything() -> frozenset[str]:
    """All calls, all of their failures, and all events."""
    names = {event.__name__ for event in Event.__subclasses__() if event.__module__ == events.__name__}
    return frozenset(names | CALLS.keys() | {f"{call}: {code}" for call in CALLS for code in codes_of(call)})


def code_of(error: ChatnetError) -> str:
    """As ``codes_of`` has it: the name of the class, or the code of a LocalError."""
    return next((kind.__name__ for kind in _CLASSES if isinstance(error, kind)), error.code)


class Picture:
    """What a client knows: a snapshot, and what it was told since."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.me = snapshot.me
        self.registry = snapshot.registry
        self.people = {person.peer: person for person in snapshot.people}
        self.transfers = {transfer.fid: transfer for transfer in snapshot.transfers}
        self.notices = list(snapshot.notices)
        self.requests = snapshot.requests
        self.store_trouble = snapshot.store_trouble
        self.speed_limits = snapshot.speed_limits
        self.alerts = snapshot.alerts
        self.rows: dict[int, ChatMessage] = {}
        self.codes: list[CodeReady] = []
        self.tabs = snapshot.tabs

    def fold(self, event: Event) -> None:
        """Take one event in."""
        match event:
            case LoggedIn(me):
                self.me = me
            case RegistryChanged(registry):
                self.registry = registry
            case PeopleChanged(people):
                self.people |= {person.peer: person for person in people}
            case PersonGone(peer):
                self.people.pop(peer, None)
            case TransferChanged(transfer):
                self.transfers[transfer.fid] = transfer
            case RequestsChanged(requests):
                self.requests = requests
            case StoreChanged(ok, text):
                assert ok == (text == ""), f"the store is told as {ok}: {text}"
                self.store_trouble = text
            case Notice():
                self.notices.append(event)
            case MessageAdded(message):
                assert message.n not in self.rows, "a row was told twice"
                self.rows[message.n] = message
            case MessageChanged(chat, n, state, reason):
                if n in self.rows:
                    assert self.rows[n].chat == chat, "a row has changed its chat"
                    self.rows[n] = _changed(self.rows[n], state=state, reason=reason)
            case ChatMoved(former, chat):
                moved = {n: _changed(row, chat=chat) for n, row in self.rows.items() if row.chat == former}
                self.rows |= moved
            case AlertsChanged(alerts):
                self.alerts = alerts
            case SpeedLimitsChanged(limits):
                self.speed_limits = limits
            case CodeReady():
                self.codes.append(event)
            case TabsRestored(tabs):
                self.tabs = tabs
            case _:
                raise AssertionError(f"{type(event).__name__} is not in the contract")

    def forget_ended(self) -> None:
        """As a client does that has asked for it."""
        self.transfers = {fid: transfer for fid, transfer in self.transfers.items() if not transfer.state.ended}

    def as_snapshot(self) -> dict[str, Any]:
        """What a fresh snapshot has to say of the same moment."""
        return {
            "me": self.me,
            "registry": self.registry,
            "people": self.people,
            "transfers": {fid: _still(transfer) for fid, transfer in self.transfers.items()},
            "notices": self.notices,
            "requests": self.requests,
            "store_trouble": self.store_trouble,
            "speed_limits": self.speed_limits,
            "alerts": self.alerts,
        }


def _still(transfer: Transfer) -> Transfer:
    """Without its speed, which is told now and then only."""
    return _changed(transfer, bytes_per_second=None, seconds_left=None, done_bytes=0, done_files=0)


def _changed(value: T, **changes: Any) -> T:
    return cast(T, msgspec.structs.replace(cast(Any, value), **changes))


class Recorder:
    """Passes calls on to a peer, and notes in ``seen`` what was seen of the API; ``picture`` is what it was told.

    Each result has the type that the API names, each failure is one that the docstring names, and no event comes
    amid a call.
    """

    def __init__(self, peer: PeerApi) -> None:
        self.seen: set[str] = set()
        self.heard: list[Event] = []
        self.faults: list[str] = []  # of events; whoever delivers them only logs what a listener raises
        self._peer = peer
        self._calling = 0
        self.subscription: Subscription = peer.subscribe(self._hear)
        self.picture = Picture(self.subscription.snapshot)

    @property
    def api(self) -> PeerApi:
        """What a test calls."""
        return cast(PeerApi, self)

    def __getattr__(self, name: str) -> Any:
        if name not in CALLS:
            raise AttributeError(name)
        return functools.partial(self._call, name)

    def _call(self, name: str, /, *args: Any, **kwargs: Any) -> Any:
        inspect.signature(CALLS[name]).bind(self, *args, **kwargs)
        self._calling += 1
        try:
            result = getattr(self._peer, name)(*args, **kwargs)
        finally:
            self._calling -= 1
        if name == "subscribe":
            self.seen.add(name)
            return result
        assert isinstance(result, Deferred), f"{name} gives no Deferred"
        return result.addCallbacks(self._went_well, self._failed, callbackArgs=(name,), errbackArgs=(name,))

    def _went_well(self, result: T, name: str) -> T:
        (kind,) = typing.get_args(typing.get_type_hints(CALLS[name])["return"])
        assert isinstance(result, kind or type(None)), f"{name} gives {result!r}"
        self.seen.add(name)
        if name == "forget_ended":
            self.picture.forget_ended()
        return result

    def _failed(self, failure: Failure, name: str) -> Failure:
        error = failure.value
        assert isinstance(error, ChatnetError), f"{name} fails with {failure.getTraceback()}"
        code = code_of(error)
        assert error.code, f"{name} fails without a code"
        assert error.text, f"{name} fails without words"
        general = GENERAL if name not in ALWAYS else frozenset()
        assert code in codes_of(name) | general, f"{name} fails with {code}, of which its docstring says nothing"
        self.seen.add(f"{name}: {code}")
        return failure

    def _hear(self, event: Event) -> None:
        self.seen.add(type(event).__name__)
        self.heard.append(event)
        try:
            assert not self._calling, f"{type(event).__name__} came amid a call"
            self.picture.fold(event)
        except AssertionError as fault:
            self.faults.append(str(fault))

    def check_snapshot(self) -> None:
        """A client that comes now knows the same as one that has heard everything."""
        assert not self.faults, self.faults
        fresh = self._peer.subscribe(lambda event: None)
        fresh.cancel()
        known, told = Picture(fresh.snapshot).as_snapshot(), self.picture.as_snapshot()
        assert known.keys() == told.keys()
        for name in known:
            assert known[name] == told[name], f"{name}: {known[name]} is not what was told: {told[name]}"
