"""The link to the registry: sign in, take the list, come back after a loss.

One attempt or one link at a time.  A refusal by name or a wrong key ends the tries until
somebody asks again; everything else is tried for ever, with jitter.  A record that is refused
was right but for its number: the next try brings one with a higher number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.backoff import Uniform, obeyed, registry_wait
from chatnet.core.errors import ChatnetError, Refused, RemoteError, StoreFailed, WrongKey
from chatnet.core.events import RegistryPhase, RegistryState
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import REGISTRY_STEADY_SECONDS
from chatnet.core.messages import Hello, ListPage, Message, Welcome
from chatnet.core.records import SignedRecord
from chatnet.core.text import SafeText, safe_line
from chatnet.net.dialling import Dialler
from chatnet.net.link import Link, LinkEnd
from chatnet.peer.directory.registry_address import RegistryAddress

# Codes after which trying again would change nothing.
FINAL = frozenset({messages.NAME_TAKEN, messages.KEY_BOUND, messages.BAD_NAME, messages.VERSION_UNKNOWN})


class Registration:
    """See the module.  The owner gives the hooks and calls ``start`` and ``stop``.

    ``hello(outdated)`` makes the HELLO of one attempt, with our record and the cursor of the list;
    ``outdated``: the registry knows a newer record of ours than it was told last.
    """

    log = Logger("chatnet.registration")

    def __init__(
        self,
        clock: Any,
        dialler: Dialler,
        place: RegistryAddress,
        *,
        hello: Callable[[bool], Awaitable[Hello]],
        remember_key: Callable[[PeerID], Awaitable[None]],
        listed: Callable[[], int],
        on_state: Callable[[RegistryState], None],
        on_page: Callable[[ListPage], None],
        wall_ms: Callable[[], int],
        uniform: Uniform,
    ) -> None:
        self.place = place
        self.link: Link | None = None
        self._clock = clock
        self._dialler = dialler
        self._hello = hello
        self._remember_key = remember_key
        self._listed = listed
        self._on_state = on_state
        self._on_page = on_page
        self._wall_ms = wall_ms
        self._uniform = uniform
        self._failures = 0
        self._retry: IDelayedCall | None = None
        self._steady: IDelayedCall | None = None
        self._attempt: Deferred[None] | None = None
        self._stopped = True
        self._first_seen = False
        self._outdated = False  # the registry knows a newer record of ours than we do
        self.state = self._state(RegistryPhase.CONNECTING)

    # --- what the owner calls -----------------------------------------------------------------

    async def start(self) -> None:
        """The first attempt.  Raises Refused or WrongKey when it was final, so that a login can
        be undone; returns when signed in, or when it will be tried again."""
        self._stopped = False
        self._attempt = Deferred.fromCoroutine(self._try(first=True))
        try:
            await self._attempt
        finally:
            self._attempt = None

    def reconnect(self) -> None:
        """Try at once, also after a refusal."""
        if self._stopped or self.link is not None or self._attempt is not None:
            return
        self._cancel_retry()
        self._begin()

    def recount(self) -> None:
        """The list has another length now."""
        if self._listed() != self.state.listed:
            self.state = msgspec.structs.replace(self.state, listed=self._listed())
            self._on_state(self.state)

    def announce(self, record: SignedRecord) -> None:
        """Tell the registry a newer record."""
        if self.link is not None:
            self.link.send(messages.Announce(record))

    async def stop(self) -> None:
        """Say goodbye; nothing of ours is left afterwards."""
        self._stopped = True
        self._cancel_retry()
        if self._attempt is not None:
            self._attempt.cancel()
        link = self.link
        if link is not None:
            link.leave()
            await link.when_gone()

    # --- attempts -----------------------------------------------------------------------------

    def _begin(self) -> None:
        self._retry = None
        attempt = Deferred.fromCoroutine(self._try(first=False))
        self._attempt = attempt
        attempt.addErrback(lambda failure: failure.trap(CancelledError))
        attempt.addErrback(lambda failure: self.log.failure("the registration met a defect of ours", failure))
        attempt.addBoth(self._attempt_over)

    def _attempt_over(self, _: object) -> None:
        self._attempt = None

    async def _try(self, first: bool) -> None:
        expected = self.place.key
        try:
            hello = await self._hello(self._outdated)
            self._outdated = False
            link = await self._dialler.dial_host(self.place.host, self.place.port, self, hello, expected)
        except ChatnetError as error:
            self._failed(error)
            if first and (error.code in FINAL or isinstance(error, WrongKey)):
                raise
            return
        if self._stopped or not link.is_open:
            link.leave()
            return
        if expected is None:
            self._first_seen = True
            self.place = dataclasses.replace(self.place, key=link.peer)
            try:
                await self._remember_key(link.peer)
            except StoreFailed as error:  # then the next start takes the key at first sight again
                self.log.warn("the registry's key could not be kept: {text}", text=error.text)
            self._tell(RegistryPhase.UP)

    def _failed(self, error: ChatnetError) -> None:
        if isinstance(error, WrongKey) and self.place.key is not None:
            self._tell(
                RegistryPhase.WRONG_KEY,
                f"This is not the registry you used before (key {short_text(self.place.key)} → "
                f"{short_text(error.seen)}). Not joining.",
                error.code,
            )
            return
        if error.code in FINAL:
            self._tell(RegistryPhase.REFUSED, error.text, error.code)
            return
        wait = registry_wait(max(self._failures, 1), self._listed(), self._uniform)
        if isinstance(error, Refused) and error.retry_after_s:
            wait = obeyed(error.retry_after_s, self._uniform)
        self._retry_in(wait, error.text, error.code)

    def _retry_in(self, wait: float, text: str, code: str) -> None:
        self._failures += 1
        self._outdated = code == messages.BAD_RECORD
        if self._stopped:
            return
        self._retry = self._clock.callLater(wait, self._begin)
        self._tell(RegistryPhase.LOST, text, code, self._wall_ms() + round(wait * 1000))

    def _cancel_retry(self) -> None:
        for timer in (self._retry, self._steady):
            if timer is not None and timer.active():
                timer.cancel()
        self._retry = self._steady = None

    # --- LinkUser -----------------------------------------------------------------------------

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        raise Refused(messages.ROLE_UNKNOWN, "a registration dials, it does not listen")

    def opened(self, link: Link) -> None:
        self.link = link
        self._steady = self._clock.callLater(REGISTRY_STEADY_SECONDS, self._held)
        self.log.info("registered at {place} with {key}", place=self.place.shown, key=short_text(link.peer))
        self._tell(RegistryPhase.UP)

    def received(self, link: Link, message: Message) -> None:
        if isinstance(message, ListPage):
            self._on_page(message)
            if message.more:  # a long list is taken a page a turn
                link.pause_reading("page")
                link.resume_reading("page")
        elif not isinstance(message, messages.Found):
            raise RemoteError(messages.BAD_FRAME, f"a registry does not send {type(message).__name__}")

    def lost(self, link: Link, end: LinkEnd) -> None:
        if link is not self.link:  # another one took its place
            return
        self.link = None
        if self._steady is not None and self._steady.active():
            self._steady.cancel()
        self._steady = None
        if self._stopped:
            return
        self.log.info("registry lost: {code} {text}", code=end.code, text=safe_line(end.text))
        if end.code in FINAL:
            self._tell(RegistryPhase.REFUSED, end.text, end.code)
            return
        wait = registry_wait(self._failures, self._listed(), self._uniform)
        if end.retry_after_s:
            wait = obeyed(end.retry_after_s, self._uniform)
        self._retry_in(wait, "the connection to the registry is gone", end.code)

    def _held(self) -> None:
        self._failures = 0

    # --- the state ----------------------------------------------------------------------------

    def _state(
        self, phase: RegistryPhase, text: str = "", code: str = "", retry_at_ms: int | None = None
    ) -> RegistryState:
        return RegistryState(
            phase=phase,
            address=self.place.shown,
            key=self.place.key,
            since_ms=self._wall_ms(),
            retry_at_ms=retry_at_ms,
            reason=safe_line(text) if text else SafeText(""),
            code=code,
            listed=self._listed(),
            first_seen=self._first_seen,
        )

    def _tell(self, phase: RegistryPhase, text: str = "", code: str = "", retry_at_ms: int | None = None) -> None:
        before, self.state = self.state, self._state(phase, text, code, retry_at_ms)
        if before.phase is phase:  # the phase goes on: since when it holds stays
            self.state = msgspec.structs.replace(self.state, since_ms=before.since_ms)
        self._on_state(self.state)
