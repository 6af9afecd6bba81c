"""The link to the registry: sign in, take the list, and show how it stands.

That the link is dialled again after a loss is ``net.persistent_link``.  A refusal by name or a
wrong key ends the attempts until somebody asks again.  A record that is refused was right but for
its number: the next attempt brings one with a higher number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.backoff import Uniform
from chatnet.core.errors import ChatnetError, Refused, RemoteError, StoreFailed, WrongKey
from chatnet.core.events import RegistryPhase, RegistryState
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import REGISTRY_STEADY_SECONDS
from chatnet.core.link_policy import Replacements
from chatnet.core.messages import Found, Hello, ListPage, Message
from chatnet.core.records import SignedRecord
from chatnet.core.registration_policy import TABLE, Action, attempt_end, next_step, registry_end
from chatnet.core.text import SafeText, safe_line
from chatnet.net.background import BackgroundTasks
from chatnet.net.dialling import Dialler
from chatnet.net.link import Link, LinkEnd, LinkUser
from chatnet.net.persistent_link import LinkLost, PersistentLink
from chatnet.peer.directory.registry_address import RegistryAddress

ELSEWHERE = "elsewhere"  # the code of a registration that gave way to another instance of our key


@dataclass(frozen=True)
class RegistryReconnectPolicy:
    """When to dial the registry again, by the table in ``core.registration_policy``.

    ``listed`` gives the length of the last list: the larger it is, the more peers come back at
    once, and the longer each waits.  ``uniform(low, high)`` is a source of chance; ``seconds`` the clock.
    """

    listed: Callable[[], int]
    uniform: Uniform
    seconds: Callable[[], float]
    replacements: Replacements = field(default_factory=Replacements)
    steady_seconds: float = REGISTRY_STEADY_SECONDS

    def wait_seconds(self, failures: int, error: ChatnetError) -> float | None:
        """Return the wait as ``ReconnectPolicy`` says.  Called once for each end."""
        if isinstance(error, LinkLost):
            again = error.code == messages.REPLACED and self.replacements.add("registry", self.seconds())
            end = registry_end(error.code, again=again)
        else:
            end = attempt_end(error)
        asked = error.retry_after_s if isinstance(error, Refused) else 0
        step = next_step(end, failures, self.listed(), asked, self.uniform)
        return None if step.action in (Action.FINAL, Action.NOTHING) else step.seconds


class RegistrationOwner(Protocol):
    """Who is signed in, and hears what the registry says."""

    async def registry_hello(self, outdated: bool) -> Hello:
        """Return the HELLO of one attempt, with our record and the cursor of the list.  Raises ChatnetError.

        ``outdated``: the registry knows a newer record of ours than it was told last.
        """

    async def remember_registry(self, key: PeerID) -> None:
        """Keep the key that answered first.  Raises StoreFailed."""

    def listed(self) -> int:
        """Return the length of the last list."""

    def registry_changed(self, state: RegistryState) -> None:
        """Called when the state of the registration has changed."""

    def registry_opened(self) -> None:
        """Called when a new link to the registry is open; what comes over it comes after this."""

    def list_page(self, page: ListPage) -> None:
        """Handle a page of the list.  Raises RemoteError if it cannot be one."""

    def record_found(self, found: Found) -> None:
        """Handle the registry's answer to a look-up, or its word that it answers them."""

    def registered_elsewhere(self) -> None:
        """Called when another instance of our key is signed in, and this one gives way."""

    def wall_ms(self) -> int:
        """Return the time of day, in milliseconds since the epoch."""


class Registration:
    """Keeps this peer signed in at one registry.  The owner calls ``start`` and ``stop``."""

    log = Logger("chatnet.registration")

    def __init__(
        self, clock: Any, dialler: Dialler, place: RegistryAddress, owner: RegistrationOwner, uniform: Uniform
    ) -> None:
        self.place = place
        self._dialler = dialler
        self._owner = owner
        self._tasks = BackgroundTasks(self.log)
        self._policy = RegistryReconnectPolicy(owner.listed, uniform, clock.seconds)
        self._connection = PersistentLink(clock, self._policy, self, "the registry")
        self._first_seen = False  # the registry's key was taken at first sight
        self._outdated = False  # the registry knows a newer record of ours than we do
        self.state = self._state(RegistryPhase.CONNECTING)

    # --- what the owner calls -----------------------------------------------------------------

    @property
    def link(self) -> Link | None:
        """The link to the registry, while we are signed in."""
        return self._connection.link

    async def start(self) -> None:
        """Make the first attempt; return when signed in, or when it will be tried again.

        Raises Refused or WrongKey when it was final, so that a login can be undone.
        """
        await self._connection.start()

    def reconnect(self) -> None:
        """Try at once, also after a refusal."""
        self._connection.retry_now()

    def take_over(self) -> None:
        """Register again, because the user wants to be here, whatever other instances of our key there are."""
        self._policy.replacements.clear()
        self.reconnect()

    def recount(self) -> None:
        """Tell the state of the registration if the list has another length now."""
        if self._owner.listed() != self.state.listed:
            self.state = msgspec.structs.replace(self.state, listed=self._owner.listed())
            self._owner.registry_changed(self.state)

    def announce(self, record: SignedRecord) -> None:
        """Tell the registry a newer record."""
        if self.link is not None:
            self.link.send(messages.Announce(record))

    def look_up(self, peer: PeerID) -> None:
        """Ask the registry for the signed record of ``peer``; nothing happens while there is no link."""
        if self.link is not None:
            self.link.send(messages.Lookup(peer))

    async def stop(self) -> None:
        """Say goodbye; nothing of ours is left afterwards."""
        self._tasks.stop()
        await self._connection.stop()

    # --- PersistentLinkOwner ------------------------------------------------------------------

    async def dial(self, user: LinkUser) -> Link:
        """Make one attempt to sign in.  Raises ChatnetError."""
        hello = await self._owner.registry_hello(self._outdated)
        self._outdated = False
        return await self._dialler.dial_host(self.place.host, self.place.port, user, hello, self.place.key)

    def opened(self, link: Link) -> None:
        self.log.info("registered at {place} with {key}", place=self.place.shown, key=short_text(link.peer))
        if self.place.key is None:
            self._first_seen = True
            self.place = dataclasses.replace(self.place, key=link.peer)
            self._tasks.spawn(self._remember(link.peer), "storing the registry's key")
        self._owner.registry_opened()
        self._tell(RegistryPhase.UP)

    def received(self, link: Link, message: Message) -> None:
        if isinstance(message, ListPage):
            self._owner.list_page(message)
            if message.more:  # a long list is taken a page a turn
                link.pause_reading("page")
                link.resume_reading("page")
        elif isinstance(message, Found):
            self._owner.record_found(message)
        else:
            raise RemoteError(messages.BAD_FRAME, f"a registry does not send {type(message).__name__}")

    def lost(self, link: Link, end: LinkEnd) -> None:
        self.log.info("registry lost: {code} {text}", code=end.code, text=safe_line(end.text))

    def waiting(self, error: ChatnetError, wait_seconds: float) -> None:
        self._outdated = self._outdated or TABLE[attempt_end(error)].action is Action.NEWER_RECORD
        text = "the connection to the registry is gone" if isinstance(error, LinkLost) else error.text
        self._tell(RegistryPhase.LOST, text, error.code, self._owner.wall_ms() + round(wait_seconds * 1000))

    def gave_up(self, error: ChatnetError) -> None:
        if isinstance(error, WrongKey) and self.place.key is not None:
            self._tell(
                RegistryPhase.WRONG_KEY,
                f"This is not the registry you used before (key {short_text(self.place.key)} → "
                f"{short_text(error.seen)}). Not joining.",
                error.code,
            )
        elif isinstance(error, LinkLost) and error.code == messages.REPLACED:
            self._tell(RegistryPhase.REFUSED, "this key also runs somewhere else", ELSEWHERE)
            self._owner.registered_elsewhere()
        else:
            self._tell(RegistryPhase.REFUSED, error.text, error.code)

    async def _remember(self, key: PeerID) -> None:
        try:
            await self._owner.remember_registry(key)
        except StoreFailed as error:  # then the next start takes the key at first sight again
            self.log.warn("the registry's key could not be kept: {text}", text=error.text)

    # --- the state ----------------------------------------------------------------------------

    def _state(
        self, phase: RegistryPhase, text: str = "", code: str = "", retry_at_ms: int | None = None
    ) -> RegistryState:
        return RegistryState(
            phase=phase,
            address=self.place.shown,
            key=self.place.key,
            since_ms=self._owner.wall_ms(),
            retry_at_ms=retry_at_ms,
            reason=safe_line(text) if text else SafeText(""),
            code=code,
            listed=self._owner.listed(),
            first_seen=self._first_seen,
        )

    def _tell(self, phase: RegistryPhase, text: str = "", code: str = "", retry_at_ms: int | None = None) -> None:
        before, self.state = self.state, self._state(phase, text, code, retry_at_ms)
        if before.phase is phase:  # the phase goes on: since when it holds stays
            self.state = msgspec.structs.replace(self.state, since_ms=before.since_ms)
        self._owner.registry_changed(self.state)
