"""The peer as a Twisted service, and the implementation of its API, ``PeerApi``.

It lives longer than a login: before one, and after one that was refused, there is no node.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core.budgets import Budget
from chatnet.core.errors import ChatnetError, LocalError, Refused, WrongKey
from chatnet.core.events import (
    AlertRules,
    AlertsChanged,
    ChatMessage,
    Event,
    Exported,
    FileRule,
    HistoryPage,
    LoggedIn,
    Me,
    OfferedNames,
    RegistryChanged,
    RegistryPhase,
    RegistryState,
    RequestsChanged,
    SafetyNumber,
    SearchPage,
    Snapshot,
    SpeedLimits,
    SpeedLimitsChanged,
    StoreChanged,
    TabsRestored,
    Transfer,
    TransferChanged,
    VerifiedLevel,
)
from chatnet.core.identity import ChatID
from chatnet.core.names import why_not_a_name
from chatnet.core.ports import REGISTRY_PORT
from chatnet.core.text import SafeText
from chatnet.host.event_feed import EventFeed, EventFeedSubscription
from chatnet.host.exits import stop
from chatnet.host.logging import ProgramLog
from chatnet.net.bind_errors import cannot_listen
from chatnet.peer.directory.registry_address import RegistryAddress, parse_registry_address
from chatnet.peer.node import Node
from chatnet.peer.options import PeerSettings

T = TypeVar("T")


class PeerService(Service):
    """Implements ``PeerApi``.  ``console``: whether a login form can ask again after a refusal.

    ``on_start`` hears how the login with the name of the settings ended: None, or why the peer cannot run.
    """

    log = Logger("chatnet.peer")

    def __init__(
        self,
        reactor: Any,
        settings: PeerSettings,
        log: ProgramLog | None,
        console: bool,
        wall: Callable[[], float] = time.time,
        chance: random.Random | None = None,
        on_start: Callable[[Failure | None], object] = lambda failure: None,
    ) -> None:
        self._reactor = reactor
        self._on_start = on_start
        self._settings = settings
        self._log = log
        self._console = console
        self._wall = wall
        self._chance = chance or random.SystemRandom()
        self._feed = EventFeed(reactor)
        self._node: Node | None = None
        self._me: Me | None = None
        self._refusal: RegistryState | None = None
        self._nodes: list[Node] = []  # made, and not yet known to be closed
        self._working: Deferred[Any] | None = None
        self._logging_in: Deferred[Me] | None = None

    def budgets(self) -> dict[str, Budget]:
        """Return each budget of whoever is logged in, by its name."""
        return self._node.budgets.all() if self._node is not None else {}

    # --- the service --------------------------------------------------------------------------

    def startService(self) -> None:
        """Start the service.  Raises ChatnetError if the profile that the settings name cannot be opened here."""
        super().startService()  # type: ignore[no-untyped-call]
        if not self._settings.name:
            return
        node = self._make_node(self._settings.name, self._settings.registry)
        self._working = Deferred.fromCoroutine(self._start(node))
        self._working.addCallbacks(self._on_start, self._start_failed)

    async def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        for work in (self._working, self._logging_in):
            if work is not None:
                work.cancel()
        for node in self._nodes:
            await node.close()

    async def _start(self, node: Node) -> None:
        """Log in with the name of the command line."""
        try:
            await node.open()
        except BaseException:
            await node.close()
            raise
        self._adopt(node)
        try:
            await node.sign_in()
        except WrongKey:
            pass  # its words are on the screen, and the known peers can be reached
        except Refused:
            if not self._console:
                raise
            if node.is_new:
                await self._give_up(node)

    def _start_failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, ChatnetError):
            self.log.error("{text}", text=error.text)
        elif not self.running:  # told to stop while it was still starting
            return
        self._on_start(failure)

    def _make_node(self, name: str, registry: RegistryAddress) -> Node:
        node = Node(self._reactor, self._settings, name, registry, self._feed.emit, self._wall, self._chance)
        try:
            node.prepare()
        except CannotListenError as error:
            raise cannot_listen(error, self._settings.listen[0], REGISTRY_PORT) from None
        if self._log is not None:
            self._log.open(node.places.log)
        self._nodes = [former for former in self._nodes if not former.is_closed] + [node]
        return node

    def _adopt(self, node: Node) -> None:
        self._node = node
        self._me = node.who(self._log.path if self._log is not None else None)
        self._feed.emit(LoggedIn(self._me))
        self._feed.emit(AlertsChanged(node.alerts.rules))
        self._feed.emit(RegistryChanged(node.registry_state))
        node.people.tell_all()
        for transfer in node.shown_transfers():
            self._feed.emit(TransferChanged(transfer))
        self._feed.emit(RequestsChanged(node.requests.all()))
        self._feed.emit(SpeedLimitsChanged(node.transfers.speed_limits()))
        self._feed.emit(TabsRestored(node.open_tabs.tabs()))
        if node.watch.trouble:
            self._feed.emit(StoreChanged(False, node.watch.trouble))

    async def _give_up(self, node: Node) -> None:
        """Undo what was made for this login, which the registry refused; the reason stays."""
        self._refusal = node.registry_state
        if self._node is node:
            self._node = self._me = None
        await node.undo()
        if self._log is not None:
            self._log.close()

    # --- the API ------------------------------------------------------------------------------

    def subscribe(self, listener: Callable[[Event], None]) -> EventFeedSubscription:
        return self._feed.subscribe(self._snapshot(), listener)

    def login(self, name: str, registry: str, presentation: str = "") -> Deferred[Me]:
        if self._logging_in is not None:
            return fail(LocalError("busy", "A login is under way. Wait for its end."))
        self._logging_in = Deferred.fromCoroutine(self._login(name.strip(), registry.strip()))
        return self._logging_in.addBoth(self._login_over)

    def say(self, chat: ChatID, body: str) -> Deferred[ChatMessage]:
        return self._with_node(lambda node: node.sending.say(chat, body))

    def resend(self, chat: ChatID, n: int) -> Deferred[None]:
        return self._with_node(lambda node: node.sending.resend(chat, n))

    def history(
        self, chat: ChatID, before: int | None = None, limit: int = 100, after: int | None = None
    ) -> Deferred[HistoryPage]:
        return self._with_node(lambda node: node.conversations.history(chat, before, limit, after))

    def search(
        self,
        text: str,
        chat: ChatID | None = None,
        since_ms: int | None = None,
        before_n: int | None = None,
        limit: int = 50,
        sender: bytes | None = None,
    ) -> Deferred[SearchPage]:
        return self._with_node(lambda node: node.archive.search(text, chat, since_ms, before_n, limit, sender))

    def export(self, chat: ChatID, file: bytes, format: str = "text") -> Deferred[Exported]:
        return self._with_node(lambda node: node.archive.export(chat, file, format))

    def set_tabs(self, chats: tuple[ChatID, ...]) -> Deferred[None]:
        return self._with_node(lambda node: node.open_tabs.set_tabs(chats))

    def set_draft(self, chat: ChatID, text: str) -> Deferred[None]:
        return self._with_node(lambda node: node.open_tabs.set_draft(chat, text))

    def set_alerts(self, rules: AlertRules) -> Deferred[AlertRules]:
        return self._with_node(lambda node: node.alerts.change(rules))

    def mark_read(self, chat: ChatID, n: int) -> Deferred[None]:
        return self._with_node(lambda node: node.conversations.mark_read(chat, n))

    def connect(self, peer: bytes) -> Deferred[None]:
        return self._with_node(lambda node: node.connect(peer))

    def offer(self, chat: ChatID, paths: tuple[bytes, ...]) -> Deferred[Transfer]:
        return self._with_node(lambda node: node.offer(chat, paths))

    def offer_text(self, chat: ChatID, text: str, name: str) -> Deferred[Transfer]:
        return self._with_node(lambda node: node.offer_text(chat, text, name))

    def accept(self, fid: bytes, directory: bytes = b"") -> Deferred[Transfer]:
        return self._with_node(lambda node: node.transfers.accept(fid, directory))

    def offered_names(self, fid: bytes, start: int = 0, limit: int = 200) -> Deferred[OfferedNames]:
        return self._with_node(lambda node: node.transfers.offered_names(fid, start, limit))

    def next_renamed(self, fid: bytes, start: int = 0) -> Deferred[int | None]:
        return self._with_node(lambda node: node.transfers.next_renamed(fid, start))

    def refuse(self, fid: bytes) -> Deferred[Transfer]:
        return self._with_node(lambda node: node.transfers.refuse(fid))

    def cancel(self, fid: bytes) -> Deferred[Transfer]:
        return self._with_node(lambda node: node.transfers.cancel(fid))

    def pause(self, fid: bytes) -> Deferred[Transfer]:
        return self._with_node(lambda node: node.transfers.pause(fid))

    def resume(self, fid: bytes) -> Deferred[Transfer]:
        return self._with_node(lambda node: node.transfers.resume(fid))

    def speed_limits(self) -> Deferred[SpeedLimits]:
        async def limits(node: Node) -> SpeedLimits:
            return node.transfers.speed_limits()

        return self._with_node(limits)

    def set_speed_limits(self, up: int | None, down: int | None) -> Deferred[SpeedLimits]:
        async def limit(node: Node) -> SpeedLimits:
            limits = await node.transfers.set_speed_limits(up, down)
            self._feed.emit(SpeedLimitsChanged(limits))
            return limits

        return self._with_node(limit)

    def rule(self, peer: bytes) -> Deferred[FileRule]:
        async def rule(node: Node) -> FileRule:
            return node.transfers.rule(node.people.known(peer))

        return self._with_node(rule)

    def set_rule(self, peer: bytes, rule: FileRule) -> Deferred[FileRule]:
        return self._with_node(lambda node: node.transfers.set_rule(node.people.known(peer), rule))

    def forget_ended(self) -> Deferred[None]:
        return self._with_node(lambda node: node.transfers.forget_ended())

    def trust(self, peer: bytes, prefix: str) -> Deferred[None]:
        return self._with_node(lambda node: node.trust.trust(peer, prefix))

    def keep_key(self, peer: bytes, key: bytes) -> Deferred[None]:
        return self._with_node(lambda node: node.trust.keep(peer, key))

    def safety_number(self, peer: bytes) -> Deferred[SafetyNumber]:
        async def number(node: Node) -> SafetyNumber:
            return node.trust.number(peer)

        return self._with_node(number)

    def check_live(self, peer: bytes) -> Deferred[str]:
        return self._with_node(lambda node: node.trust.check_live(peer))

    def confirm(self, peer: bytes, level: VerifiedLevel, name: str, key: bytes, code: str = "") -> Deferred[None]:
        return self._with_node(lambda node: node.trust.confirm(peer, level, name, key, code))

    def block(self, peer: bytes, blocked: bool) -> Deferred[None]:
        return self._with_node(lambda node: node.trust.block(peer, blocked))

    def accept_request(self, peer: bytes) -> Deferred[None]:
        return self._with_node(lambda node: node.requests.accept(peer))

    def refuse_request(self, peer: bytes) -> Deferred[None]:
        return self._with_node(lambda node: node.requests.refuse(peer))

    def clear_requests(self) -> Deferred[None]:
        return self._with_node(lambda node: node.requests.clear())

    def reconnect(self) -> Deferred[None]:
        async def reconnect(node: Node) -> None:
            node.registration.reconnect()

        return self._with_node(reconnect)

    def take_over(self) -> Deferred[None]:
        async def take_over(node: Node) -> None:
            node.take_over()

        return self._with_node(take_over)

    def quit(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._reactor.callLater(0, stop, self._reactor)
        done.callback(None)
        return done

    def _login_over(self, result: Me | Failure) -> Me | Failure:
        self._logging_in = None
        return result

    async def _login(self, name: str, registry: str) -> Me:
        reason = why_not_a_name(name)
        if reason:
            raise LocalError("bad-name", reason)
        try:
            address = parse_registry_address(registry) if registry else self._settings.registry
        except ValueError as error:
            raise LocalError("bad-registry", f"{error}.") from None
        if self._node is not None:
            former, self._node, self._me = self._node, None, None
            await former.close()
        node = self._make_node(name, address)
        try:
            await node.open()
            await node.sign_in()
        except WrongKey:
            pass
        except BaseException:
            await self._give_up(node) if node.is_open else await node.undo()
            raise
        self._adopt(node)
        assert self._me is not None
        return self._me

    def _with_node(self, work: Callable[[Node], Coroutine[Any, Any, T] | Deferred[T]]) -> Deferred[T]:
        if self._node is None:
            return fail(LocalError("not-logged-in", "Log in first."))
        working: Deferred[T] = maybeDeferred(work, self._node)  # type: ignore[call-overload]  # of both, not of either
        return working

    def _snapshot(self) -> Snapshot:
        node = self._node
        if node is None:
            return Snapshot(None, self._refusal or self._nowhere(), (), (), ())
        return Snapshot(
            me=self._me,
            registry=node.registry_state,
            people=node.people.all(),
            transfers=node.shown_transfers(),
            notices=tuple(node.notices.last),
            tabs=node.open_tabs.tabs(),
            store_trouble=node.watch.trouble,
            requests=node.requests.all(),
            alerts=node.alerts.rules,
            speed_limits=node.transfers.speed_limits(),
        )

    def _nowhere(self) -> RegistryState:
        """Return the state before the first login."""
        return RegistryState(
            phase=RegistryPhase.CONNECTING,
            address=self._settings.registry.shown,
            key=self._settings.registry.key,
            since_ms=round(self._wall() * 1000),
            retry_at_ms=None,
            reason=SafeText(""),
            code="",
            listed=0,
            first_seen=False,
        )
