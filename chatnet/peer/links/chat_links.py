"""The chat links to the others: dialled when needed, one a person, put down when idle.

When two dial each other at once, the link dialled by the smaller PeerID stays; both ends know it
without asking.  A new instance of a key replaces the old one, whose link is half-open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.dialrules import DialRules, Network, may_dial, preferred
from chatnet.core.directory.roster import Roster
from chatnet.core.errors import ChatnetError, Refused, Unreachable
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import PeerLimits
from chatnet.core.messages import ROLE_CHAT, Hello, Message, Welcome
from chatnet.core.records import endpoint
from chatnet.net.background import BackgroundTasks
from chatnet.net.dialling import Dialler
from chatnet.net.link import Link, LinkEnd, LinkUser
from chatnet.net.pulse import Pulse


class ChatLinks:
    """See the module.  The owner is told of links that come and go, and of every message."""

    log = Logger("chatnet.links")

    def __init__(
        self,
        clock: Any,
        pulse: Pulse,
        dialler: Dialler,
        limits: PeerLimits,
        roster: Roster,
        *,
        hello: Callable[..., Hello],
        welcome: Callable[[Link], Welcome],
        networks: Callable[[], Sequence[Network]],
        loopback: bool,
        up: Callable[[Link], None],
        down: Callable[[Link, LinkEnd], None],
        message: Callable[[Link, Message], None],
        measured: Callable[[Link], None],
    ) -> None:
        self.links: dict[PeerID, Link] = {}
        self._clock = clock
        self._pulse = pulse
        self._dialler = dialler
        self._limits = limits
        self._roster = roster
        self._hello = hello
        self._welcome = welcome
        self._networks = networks
        self._loopback = loopback  # the registry is on this machine, so others on it may be dialled
        self._up = up
        self._down = down
        self._message = message
        self._measured = measured
        self._rules = DialRules(limits, clock.seconds())
        self._dialling: dict[PeerID, list[Deferred[Link]]] = {}
        self._attempts: dict[PeerID, Deferred[None]] = {}
        self._places = DeferredSemaphore(limits.dials_at_once)
        self._used: dict[Link, float] = {}
        self._told_rtt: dict[Link, int | None] = {}
        self._stopped = False
        self._tasks = BackgroundTasks(self.log)
        pulse.add(self)

    def open_link(self, peer: PeerID) -> Link | None:
        """Where something to ``peer`` may be said now; a link on its way out is none."""
        link = self.links.get(peer)
        return link if link is not None and link.is_open else None

    # --- dialling -----------------------------------------------------------------------------

    def link_to(self, peer: PeerID) -> Deferred[Link]:
        """The open link to ``peer``, dialled if there is none.

        Fails with Unreachable, WrongKey, or Refused with the other's code.
        """
        waiting: Deferred[Link] = Deferred()
        present = self.open_link(peer)
        if present is not None:
            self.touch(present)
            waiting.callback(present)
            return waiting
        self._dialling.setdefault(peer, []).append(waiting)
        if peer not in self._attempts:
            attempt = self._tasks.spawn(self._attempt(peer), "dialling a peer")
            self._attempts[peer] = attempt
            attempt.addCallback(self._attempt_over, peer)
        return waiting

    async def dial(self, peer: PeerID, user: LinkUser, greeting: Hello) -> Link:
        """A link of any role to ``peer``, by the rules for dialling."""
        addresses = self._addresses(peer)
        return await self._places.run(
            lambda: Deferred.fromCoroutine(
                self._dialler.dial_any(
                    addresses, user, greeting, peer, self._limits.dial_stagger_seconds, self._failed_at
                )
            )
        )

    async def _attempt(self, peer: PeerID) -> None:
        try:
            link = await self.dial(peer, self, self._hello(ROLE_CHAT))
        except ChatnetError as error:
            self._settle(peer, self.open_link(peer) or error)
        else:
            # Of two that crossed, ours may have been the one to go.
            self._settle(peer, self.open_link(peer) or link)

    def _attempt_over(self, _: None, peer: PeerID) -> None:
        self._attempts.pop(peer, None)
        self._settle(peer, Unreachable("stopped", "the dial was given up"))

    def _settle(self, peer: PeerID, outcome: Link | ChatnetError) -> None:
        for waiting in self._dialling.pop(peer, []):
            if isinstance(outcome, Link):
                waiting.callback(outcome)
            else:
                waiting.errback(outcome)

    def _addresses(self, peer: PeerID) -> list[tuple[str, int]]:
        name, networks, now = self._roster.name_of(peer), self._networks(), self._clock.seconds()
        listed = self._roster.endpoints(peer)
        if not listed:
            raise Unreachable("no-address", f"no address of {name} is known")
        allowed = [
            e
            for e in preferred(listed, networks, self._roster.proven(peer))
            if may_dial(e, networks, loopback=self._loopback)
        ]
        if not allowed:
            raise Unreachable("no-address", f"no address of {name} may be dialled from here")
        waits = {e: self._rules.wait(e, now) for e in allowed}
        ready = [e for e in allowed if waits[e] <= 0]
        if not ready:
            raise Unreachable("too-soon", f"{name} was dialled a moment ago")
        return [(e.host, e.port) for e in ready]

    def _failed_at(self, address: tuple[str, int], error: ChatnetError) -> None:
        self._rules.disproven(endpoint(*address))

    def proven(self, link: Link) -> None:
        """The expected key answered at the address that we dialled."""
        if link.dialled:
            self._rules.proven(endpoint(*link.remote))

    # --- LinkUser -----------------------------------------------------------------------------

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        if link.peer == self._roster.me:
            raise Refused(messages.SELF, "this is your own key")
        if len(self.links) >= self._limits.links and link.peer not in self.links:
            raise Refused(messages.BUSY, "too many links", 60)
        present = self.open_link(link.peer)
        if present is not None and present.instance == hello.instance and present.dialled and self._mine_stays(link):
            raise Refused(messages.REPLACED, "the other link stays")
        return self._welcome(link)

    def opened(self, link: Link) -> None:
        if self._stopped:
            link.leave()
            return
        self.proven(link)
        present = self.links.get(link.peer)
        if present is not None:
            crossed = present.is_open and present.instance == link.instance and present.dialled != link.dialled
            if crossed and present.dialled == self._mine_stays(link):
                link.close(messages.REPLACED, "the other link stays")
                return
            self._forget(present, LinkEnd(messages.REPLACED, "a newer link took its place"))
            present.close(messages.REPLACED, "a newer link took its place")
        self.links[link.peer] = link
        self.touch(link)
        self.log.info(
            "link up: {name} {peer} {way} {address}",
            name=self._roster.name_of(link.peer),
            peer=short_text(link.peer),
            way="to" if link.dialled else "from",
            address=link.address,
        )
        self._up(link)
        self._settle(link.peer, link)
        link.ping()

    def received(self, link: Link, message: Message) -> None:
        self.touch(link)
        self._message(link, message)

    def lost(self, link: Link, end: LinkEnd) -> None:
        self._forget(link, end)

    def _forget(self, link: Link, end: LinkEnd) -> None:
        self._used.pop(link, None)
        self._told_rtt.pop(link, None)
        if self.links.get(link.peer) is link:
            del self.links[link.peer]
            self.log.info(
                "link down: {name} {peer}: {code}",
                name=self._roster.name_of(link.peer),
                peer=short_text(link.peer),
                code=end.code,
            )
            self._down(link, end)

    def _mine_stays(self, link: Link) -> bool:
        return self._roster.me < link.peer

    # --- idle links ---------------------------------------------------------------------------

    def touch(self, link: Link) -> None:
        self._used[link] = self._clock.seconds()

    def beat(self, now: float) -> None:
        for link in tuple(self.links.values()):
            if now - self._used.get(link, now) >= self._limits.idle_seconds:
                link.leave()
            elif link.rtt_ms != self._told_rtt.get(link):
                self._told_rtt[link] = link.rtt_ms
                self._measured(link)

    async def stop(self) -> None:
        """Say goodbye to everybody."""
        self._stopped = True
        self._pulse.discard(self)
        self._tasks.stop()
        for link in tuple(self.links.values()):
            link.leave()
            await link.when_gone()
