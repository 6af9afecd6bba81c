"""The chat links: at most one for each person, closed when idle.

When two dial each other at once, the link that the smaller PeerID dialled stays; both ends know it
without asking.  A new instance of a key replaces the old one, and a link that proves no life within
PROVE_SECONDS gives way to a new one.  The rules are ``core.link_policy``, who has a place is decided by
``core.link_places``; who is dialled when is the business of ``Contacts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.budgets import Budget, Level
from chatnet.core.dialrules import DialRules, Network, may_dial, preferred
from chatnet.core.directory.roster import Roster
from chatnet.core.errors import ChatnetError, Refused, TooSoon, Unreachable
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import NO_ROOM_RETRY_SECONDS, PROVE_SECONDS, PeerLimits
from chatnet.core.link_places import LinkPlaces
from chatnet.core.link_policy import ADMISSION, OPENING, LinkFacts, Proof, Verdict, relation
from chatnet.core.messages import ROLE_CHAT, Hello, Message, Welcome
from chatnet.core.records import endpoint
from chatnet.net.dialling import Dialler
from chatnet.net.link import First, Link, LinkEnd, LinkUser
from chatnet.net.pulse import Pulse
from chatnet.peer.links.hello import HelloBuilder

_NO_PLACE = {
    Level.ALL: "too many links",
    Level.STRANGERS: "too many links of people who are not known here",
    Level.KEY: "this key has links enough",
    Level.ADDRESS: "too many links from your address",
    Level.NETWORK: "too many links from your network",
    Level.SITE: "too many links from your network",
}


class ChatLinksOwner(Protocol):
    """Who hears of the chat links, and of what comes over them."""

    def networks(self) -> Sequence[Network]:
        """Return the networks of our own interfaces."""

    def chat_link_up(self, link: Link) -> None:
        """Called when a link is open.

        If it took the place of another one, ``chat_link_down`` was called for that before.
        """

    def chat_link_down(self, link: Link, end: LinkEnd) -> None:
        """Called when a link is gone for which ``chat_link_up`` was called."""

    def chat_message(self, link: Link, message: Message) -> None:
        """Handle a message.  Raises RemoteError to drop the link."""

    def chat_link_measured(self, link: Link) -> None:
        """Called when the round-trip time is another one, or the other side does not answer, or does so again."""


class ChatLinks:
    """Opens, keeps and closes the chat links.

    loopback: the registry is on this machine, so that others on it may be dialled.
    """

    log = Logger("chatnet.links")

    def __init__(
        self,
        clock: Any,
        pulse: Pulse,
        dialler: Dialler,
        limits: PeerLimits,
        roster: Roster,
        hello: HelloBuilder,
        owner: ChatLinksOwner,
        budget: Budget,
        *,
        loopback: bool,
    ) -> None:
        self.links: dict[PeerID, Link] = {}
        self._clock = clock
        self._pulse = pulse
        self._dialler = dialler
        self._limits = limits
        self._roster = roster
        self._hello = hello
        self._owner = owner
        self._loopback = loopback
        self._rules = DialRules(limits, clock.seconds())
        self._dials = DeferredSemaphore(limits.dials_at_once)
        self._places = LinkPlaces(budget, roster.always_gets_in)
        self._used: dict[Link, float] = {}
        self._told: dict[Link, tuple[int | None, float | None]] = {}
        self._stopped = False
        pulse.add(self)

    def open_link(self, peer: PeerID) -> Link | None:
        """Return the open chat link to ``peer``, or None; a link that is closing does not count."""
        link = self.links.get(peer)
        return link if link is not None and link.is_open else None

    # --- dialling -----------------------------------------------------------------------------

    async def dial_chat(self, peer: PeerID) -> Link:
        """Dial a new chat link; another one may be open when it is.

        Raises Unreachable, WrongKey, Refused, RemoteError.
        """
        return await self.dial(peer, self, self._hello.hello(ROLE_CHAT))

    async def dial(self, peer: PeerID, user: LinkUser, greeting: Hello) -> Link:
        """Dial a link of any role to ``peer``, by the rules for dialling."""
        addresses = self._addresses(peer)
        return await self._dials.run(
            lambda: Deferred.fromCoroutine(
                self._dialler.dial_any(
                    addresses, user, greeting, peer, self._limits.dial_stagger_seconds, self._failed_at
                )
            )
        )

    def _addresses(self, peer: PeerID) -> list[tuple[str, int]]:
        name, networks, now = self._roster.name_of(peer), self._owner.networks(), self._clock.seconds()
        listed = self._roster.endpoints(peer)
        if not listed:
            raise Unreachable("no-address", f"no address of {name} is known")
        allowed = [
            e
            for e in preferred(listed, networks, self._roster.proven(peer))
            if may_dial(e, networks, loopback=self._loopback)
        ]
        if not allowed:
            raise Unreachable("not-dialable", f"no address of {name} may be dialled from here")
        waits = {e: self._rules.wait(e, now) for e in allowed}
        ready = [e for e in allowed if waits[e] <= 0]
        if not ready:
            raise TooSoon(f"{name} was dialled a moment ago", min(waits.values()))
        return [(e.host, e.port) for e in ready]

    def _failed_at(self, address: tuple[str, int], error: ChatnetError) -> None:
        self._rules.disproven(endpoint(*address))

    def proven(self, link: Link) -> None:
        """Note that the expected key answered at the address that we dialled."""
        if link.dialled:
            self._rules.proven(endpoint(*link.remote))

    # --- LinkUser -----------------------------------------------------------------------------

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        if link.peer == self._roster.me:
            raise Refused(messages.SELF, "this is your own key")
        self.take_place(link)
        if await self._admission(link.peer, hello) is Verdict.KEEP:
            self._places.release(link)
            raise Refused(messages.REPLACED, "the other link stays")
        return self._hello.welcome(link)

    def take_place(self, link: Link) -> None:
        """Give a link that comes in a place until its end; a stranger's link may be closed for it.

        Raises Refused(BUSY) where there is none.
        """
        placed = self._places.admit(link, link.peer, link.remote[0], self._clock.seconds())
        if placed.refused is not None:
            raise Refused(messages.BUSY, _NO_PLACE[placed.refused], NO_ROOM_RETRY_SECONDS)
        link.put_first(First.KEY, self._roster.always_gets_in(link.peer))
        link.when_gone().addCallback(lambda _: self._places.release(link))
        if placed.evicted is not None:
            cast(Link, placed.evicted).close(messages.BUSY, "somebody else needs the place", NO_ROOM_RETRY_SECONDS)

    async def _admission(self, peer: PeerID, hello: Hello) -> Verdict:
        """Whether a new link of ``peer`` is taken; the one that is there may be asked whether it lives."""
        new, asked, proof = LinkFacts(hello.instance, dialled=False), None, Proof.UNASKED
        while True:
            present = self.open_link(peer)
            if present is not asked:  # it is another one than the one that was asked
                proof = Proof.UNASKED
            verdict = ADMISSION[relation(_facts(present), new, self._roster.me < peer), proof]
            if verdict is not Verdict.ASK or present is None:
                return verdict
            asked, lives = present, await present.ask(PROVE_SECONDS)
            proof = Proof.ANSWERS if lives else Proof.MUTE

    def opened(self, link: Link) -> None:
        if self._stopped:
            link.leave()
            return
        self.proven(link)
        present, new = self.open_link(link.peer), LinkFacts(link.instance, link.dialled)
        # A link that we have accepted was judged in ``answer``, a moment ago.
        how = relation(_facts(present), new, self._roster.me < link.peer)
        if link.dialled and OPENING[how] is Verdict.KEEP:
            link.close(messages.REPLACED, "the other link stays")
            return
        former = self.links.get(link.peer)
        if former is not None:
            self._forget(former, LinkEnd(messages.REPLACED, "a newer link took its place"))
            former.close(messages.REPLACED, "a newer link took its place")
        self.links[link.peer] = link
        if link.dialled:
            self._places.hold(link, link.peer, link.remote[0], self._clock.seconds())
        self.touch(link)
        self.log.info(
            "link up: {name} {peer} {way} {address}",
            name=self._roster.name_of(link.peer),
            peer=short_text(link.peer),
            way="to" if link.dialled else "from",
            address=link.address,
        )
        self._owner.chat_link_up(link)
        link.ping()

    def received(self, link: Link, message: Message) -> None:
        self.touch(link)
        self._owner.chat_message(link, message)

    def lost(self, link: Link, end: LinkEnd) -> None:
        self._forget(link, end)

    def _forget(self, link: Link, end: LinkEnd) -> None:
        self._used.pop(link, None)
        self._told.pop(link, None)
        self._places.release(link)
        if self.links.get(link.peer) is link:
            del self.links[link.peer]
            self.log.info(
                "link down: {name} {peer}: {code}",
                name=self._roster.name_of(link.peer),
                peer=short_text(link.peer),
                code=end.code,
            )
            self._owner.chat_link_down(link, end)

    # --- idle links ---------------------------------------------------------------------------

    def touch(self, link: Link) -> None:
        """Note that ``link`` is used now."""
        self._used[link] = now = self._clock.seconds()
        self._places.heard(link, now)

    def beat(self, now: float) -> None:
        for link in tuple(self.links.values()):
            if now - self._used.get(link, now) >= self._limits.idle_seconds:
                link.leave()
            elif (link.rtt_ms, link.unanswered_since) != self._told.get(link):
                self._told[link] = (link.rtt_ms, link.unanswered_since)
                self._owner.chat_link_measured(link)

    async def stop(self) -> None:
        """Say goodbye to everybody, side by side: each link ends in time by its own deadline."""
        self._stopped = True
        self._pulse.discard(self)
        leaving = tuple(self.links.values())
        for link in leaving:
            link.leave()
        await gatherResults([link.when_gone() for link in leaving])


def _facts(link: Link | None) -> LinkFacts | None:
    """Return the facts that decide about a link that is there."""
    return LinkFacts(link.instance, link.dialled) if link is not None else None
