"""The link to the registry: sign in, take the list, and show how it stands.

That the link is dialled again after a loss is ``net.persistent_link``.  A refusal by name or a
wrong key ends the attempts until somebody asks again.  A record that is refused was right but for
its number: the next attempt brings one with a higher number.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.backoff import Uniform, obeyed, registry_wait
from chatnet.core.errors import ChatnetError, Refused, RemoteError, StoreFailed, WrongKey
from chatnet.core.events import RegistryPhase, RegistryState
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import REGISTRY_STEADY_SECONDS
from chatnet.core.messages import Hello, ListPage, Message
from chatnet.core.records import SignedRecord
from chatnet.core.text import SafeText, safe_line
from chatnet.net.background import BackgroundTasks
from chatnet.net.dialling import Dialler
from chatnet.net.link import Link, LinkEnd, LinkUser
from chatnet.net.persistent_link import LinkLost, PersistentLink
from chatnet.peer.directory.registry_address import RegistryAddress

# Codes after which trying again would change nothing.
FINAL = frozenset({messages.NAME_TAKEN, messages.KEY_BOUND, messages.BAD_NAME, messages.VERSION_UNKNOWN})


@dataclass(frozen=True)
class RegistryReconnectPolicy:
    """When to dial the registry again.

    ``listed`` gives the length of the last list: the larger it is, the more peers come back at
    once, and the longer each waits.  ``uniform(low, high)`` is a source of chance.
    """

    listed: Callable[[], int]
    uniform: Uniform
    steady_seconds: float = REGISTRY_STEADY_SECONDS

    def wait_seconds(self, failures: int, error: ChatnetError) -> float | None:
        """See ``ReconnectPolicy``.  A wait that the registry asks for is obeyed."""
        if isinstance(error, WrongKey) or error.code in FINAL:
            return None
        if isinstance(error, Refused) and error.retry_after_s:
            return obeyed(error.retry_after_s, self.uniform)
        return registry_wait(failures, self.listed(), self.uniform)


class Registration:
    """Keeps this peer signed in at one registry.  The owner gives the hooks and calls ``start`` and ``stop``.

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
        self._dialler = dialler
        self._hello = hello
        self._remember_key = remember_key
        self._listed = listed
        self._on_state = on_state
        self._on_page = on_page
        self._wall_ms = wall_ms
        self._tasks = BackgroundTasks(self.log)
        self._connection = PersistentLink(clock, RegistryReconnectPolicy(listed, uniform), self, "the registry")
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
        self._tasks.stop()
        await self._connection.stop()

    # --- PersistentLinkOwner ------------------------------------------------------------------

    async def dial(self, user: LinkUser) -> Link:
        """One attempt to sign in.  Raises ChatnetError."""
        hello = await self._hello(self._outdated)
        self._outdated = False
        return await self._dialler.dial_host(self.place.host, self.place.port, user, hello, self.place.key)

    def opened(self, link: Link) -> None:
        self.log.info("registered at {place} with {key}", place=self.place.shown, key=short_text(link.peer))
        if self.place.key is None:
            self._first_seen = True
            self.place = dataclasses.replace(self.place, key=link.peer)
            self._tasks.spawn(self._remember(link.peer), "storing the registry's key")
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
        self.log.info("registry lost: {code} {text}", code=end.code, text=safe_line(end.text))

    def waiting(self, error: ChatnetError, wait_seconds: float) -> None:
        self._outdated = self._outdated or error.code == messages.BAD_RECORD
        text = "the connection to the registry is gone" if isinstance(error, LinkLost) else error.text
        self._tell(RegistryPhase.LOST, text, error.code, self._wall_ms() + round(wait_seconds * 1000))

    def gave_up(self, error: ChatnetError) -> None:
        if isinstance(error, WrongKey) and self.place.key is not None:
            self._tell(
                RegistryPhase.WRONG_KEY,
                f"This is not the registry you used before (key {short_text(self.place.key)} → "
                f"{short_text(error.seen)}). Not joining.",
                error.code,
            )
        else:
            self._tell(RegistryPhase.REFUSED, error.text, error.code)

    async def _remember(self, key: PeerID) -> None:
        try:
            await self._remember_key(key)
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
