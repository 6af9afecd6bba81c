"""Owns all attempts to reach people: decides who is dialled when, for everything that waits.

Parts of the peer that have something unfinished with people register as ``Waiter`` and call ``wake`` when
something begins to wait.  The invariant: for everybody for whom something waits there is an open link, a
dial under way, or a timer, unless the rules say that only a person can decide.  It is kept after every end
of a link and of a dial, whatever its code, by the table in ``core.link_policy``; once a minute all are
looked at as a safety net, which writes a warning when it had to act.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.backoff import Uniform, online_wait
from chatnet.core.directory.roster import Roster
from chatnet.core.errors import ChatnetError, Refused, TooSoon, Unreachable
from chatnet.core.identity import PeerID, short_text
from chatnet.core.limits import LOOK_AROUND_SECONDS, STEADY_LINK_SECONDS, WAKE_SECONDS, PeerLimits
from chatnet.core.link_policy import (
    Action,
    Cap,
    End,
    Replacements,
    Waiting,
    dial_end,
    link_end,
    next_step,
)
from chatnet.net.link import Link, LinkEnd
from chatnet.net.retry import Retry
from chatnet.peer.links.chat_links import ChatLinks


class Waiter(Protocol):
    """A part of the peer that has things unfinished with people."""

    def waits_for(self, peer: PeerID) -> bool:
        """Whether something is unfinished with ``peer`` that needs a link."""

    def link_up(self, link: Link) -> None:
        """Called when a chat link is open; it may have taken the place of another one."""

    def link_down(self, link: Link, end: LinkEnd) -> None:
        """Called when a chat link is gone.  What follows is ``Contacts``' business."""


class ContactsOwner(Protocol):
    """Who hears of people that are reached, and of those that are not."""

    def link_up(self, link: Link) -> None:
        """Called when a chat link is open, before the waiters are."""

    def link_down(self, link: Link, end: LinkEnd) -> None:
        """Called when a chat link is gone, before the waiters are."""

    def contact_changed(self, peer: PeerID, code: str, next_try_ms: int | None) -> None:
        """Called with why what waits for ``peer`` has to wait (the name of an End), and when the next try is.

        The time is by the wall clock, in milliseconds.
        """

    def not_reached(self, peer: PeerID, error: ChatnetError) -> None:
        """Called when a dial for something that waits has failed."""

    def runs_elsewhere(self) -> None:
        """Called when another instance of our own key takes our place again and again: this one stops trying."""


class _Contact:
    """The state of the attempts to reach one person."""

    def __init__(self, retry: Retry) -> None:
        self.retry = retry
        self.asked: list[Deferred[Link]] = []  # they wait for the attempt
        self.failures = 0  # in a row: dials, and links that did not hold
        self.failed_at = float("-inf")
        self.up_since = 0.0
        self.action = Action.NOTHING  # what the last end was answered with
        self.elsewhere = False
        self.told: tuple[str, int | None] = ("", None)


class Contacts:
    """Dials people.  ``uniform(low, high)`` is the random function, ``wall_ms`` the time of day."""

    log = Logger("chatnet.contacts")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        roster: Roster,
        links: ChatLinks,
        owner: ContactsOwner,
        uniform: Uniform,
        wall_ms: Callable[[], int],
    ) -> None:
        self.replacements = Replacements()
        self.rescues = 0  # how often the safety net had to act: each is an internal error
        self._clock = clock
        self._limits = limits
        self._roster = roster
        self._links = links
        self._owner = owner
        self._uniform = uniform
        self._wall_ms = wall_ms
        self._waiters: list[Waiter] = []
        self._contacts: dict[PeerID, _Contact] = {}
        self._elsewhere = False
        self._stopped = False
        self._looking: IDelayedCall | None = None

    # --- what others call -----------------------------------------------------------------------

    def add(self, waiter: Waiter) -> None:
        """Register a part; it hears of every link from now on."""
        self._waiters.append(waiter)

    def start(self) -> None:
        """Dial for what has waited since the former start, and look around from now on."""
        for peer in self._roster.acquainted():
            if self._waits(peer):
                self.came_online(peer)
        self._looking = self._clock.callLater(LOOK_AROUND_SECONDS, self._look_around)

    def stop(self) -> None:
        """Stop: no timer and no dial is left; who waits for a link gets none."""
        self._stopped = True
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        for contact in tuple(self._contacts.values()):
            contact.retry.stop()
            _settle(contact, Unreachable("stopped", "the program stops"))

    def wake(self, peer: PeerID) -> None:
        """Dial ``peer`` now, for whom something begins to wait, unless there is a link or a dial already.

        Nothing changes where the other side asked us to wait, or has failed to answer a moment ago.
        """
        if not self._waits(peer):
            return
        contact = self._contact(peer)
        if self._gives_way(contact):
            self._tell(peer, contact, End.ELSEWHERE)
        elif not self._is_served(peer, contact, timers=False):
            told_to_wait = contact.action is Action.OBEY
            recently = self._clock.seconds() - contact.failed_at < WAKE_SECONDS
            if not contact.retry.is_due or not (told_to_wait or recently):
                contact.retry.now()

    def came_online(self, peer: PeerID) -> None:
        """Dial early once for what waits, because the registry says that ``peer`` is back, or has another address."""
        if not self._waits(peer):
            return
        contact = self._contact(peer)
        if not self._gives_way(contact) and not self._is_served(peer, contact, timers=False):
            contact.failures = 0
            wait = online_wait(len(self._roster.listed), self._uniform)
            contact.retry.later(min(wait, contact.retry.seconds_left) if contact.retry.is_due else wait)
            self._tell(peer, contact, None)

    def network_changed(self) -> None:
        """Try at once what waits, and ask every link for life, because our own addresses have changed."""
        for peer in self._roster.acquainted():
            self.came_online(peer)
        for link in tuple(self._links.links.values()):
            link.ping()

    def link_to(self, peer: PeerID) -> Deferred[Link]:
        """Return the open link to ``peer``, dialled if there is none.

        Fails with Unreachable, WrongKey, or Refused with the other side's code.
        """
        waiting: Deferred[Link] = Deferred()
        present = self._links.open_link(peer)
        contact = self._contact(peer)
        if present is not None:
            self._links.touch(present)
            waiting.callback(present)
        elif self._stopped:
            waiting.errback(Unreachable("stopped", "the program stops"))
        elif self._gives_way(contact):
            waiting.errback(Unreachable("elsewhere", "you also run somewhere else"))
        else:
            contact.asked.append(waiting)
            contact.retry.now()
        return waiting

    def give_way(self) -> None:
        """Dial nobody any more, because another instance of our key took our place at the registry too often."""
        self._elsewhere = True
        for contact in self._contacts.values():
            contact.retry.cancel()

    def take_over(self) -> None:
        """Dial again, because the user wants to be here, whatever other instances there are."""
        self._elsewhere = False
        self.replacements.clear()
        for contact in self._contacts.values():
            contact.elsewhere = False
        for peer in self._roster.acquainted():
            self.wake(peer)

    # --- from the links -------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """Handle a chat link that is open: every waiter may use it."""
        contact = self._contact(link.peer)
        contact.retry.cancel()
        contact.up_since = self._clock.seconds()
        contact.action = Action.NOTHING
        self._tell(link.peer, contact, None)
        _settle(contact, link)
        self._owner.link_up(link)
        for waiter in self._waiters:
            self._guard(waiter.link_up, link)

    def link_down(self, link: Link, end: LinkEnd) -> None:
        """Handle the end of a chat link, and dial for what waits as the table says."""
        contact, now = self._contact(link.peer), self._clock.seconds()
        if now - contact.up_since >= STEADY_LINK_SECONDS:
            contact.failures = 0
        self._owner.link_down(link, end)
        for waiter in self._waiters:
            self._guard(waiter.link_down, link, end)
        kind = link_end(end.code, end.by_remote)
        if self._is_by_another_instance(link, contact, kind) and self.replacements.add(link.peer, now):
            kind = End.ELSEWHERE
        if not self._stopped and not self._is_served(link.peer, contact, timers=False):
            wait = self._after(link.peer, contact, kind, end.retry_after_s)
            if wait is not None:
                contact.retry.later(wait)

    def _is_by_another_instance(self, link: Link, contact: _Contact, kind: End) -> bool:
        """Whether another instance of our key took our place: no other connection of ours can have done so."""
        return (
            kind is End.REPLACED_BY_OTHER
            and not link.has_siblings
            and self._links.open_link(link.peer) is None
            and not contact.retry.is_running
        )

    # --- dialling -------------------------------------------------------------------------------

    async def _attempt(self, peer: PeerID) -> None:
        contact = self._contact(peer)
        if not contact.asked and not self._waits(peer):  # it has expired, or is held for a decision
            self._tell(peer, contact, None)
            self._contacts.pop(peer, None)
            return
        link = await self._links.dial_chat(peer)
        present = self._links.open_link(peer)
        _settle(self._contact(peer), present or link)
        if present is None and peer not in self._links.links:  # of two it was the one that goes, and both are gone
            raise Refused(messages.REPLACED, "another link took its place")

    def _failed(self, peer: PeerID, error: BaseException) -> float | None:
        """Return the seconds until the next dial; None if there is none."""
        contact, present = self._contact(peer), self._links.open_link(peer)
        known = error if isinstance(error, ChatnetError) else Unreachable("internal", "an internal error")
        _settle(contact, present or known)
        if present is not None:
            return None
        contact.failed_at = self._clock.seconds()
        if self._waits(peer):
            self._owner.not_reached(peer, known)
        return self._after(peer, contact, dial_end(error), _asked_seconds(error))

    def _after(self, peer: PeerID, contact: _Contact, end: End, retry_after_s: float) -> float | None:
        """Return the seconds until the next dial after ``end``, by the table; None if there is none."""
        step = next_step(end, self._waiting(peer), contact.failures, retry_after_s, self._cap, self._uniform)
        contact.failures += end is not End.TOO_SOON
        contact.action = step.action
        if step.action is Action.STOP:
            contact.elsewhere = True
            self._owner.runs_elsewhere()
        tries = step.action in (Action.REDIAL, Action.OBEY, Action.USE_LINK)
        if not tries and not contact.elsewhere and not contact.asked:
            self._tell(peer, contact, None)
            self._contacts.pop(peer, None)  # of people for whom nothing waits nothing is kept
            return None
        self._tell(peer, contact, end, step.seconds if tries else None)
        return step.seconds if tries else None

    def _cap(self, cap: Cap) -> float:
        return {
            Cap.QUICK: self._limits.retry_listed_seconds,
            Cap.SLOW: self._limits.retry_cap_seconds,
            Cap.NONE: 0.0,
        }[cap]

    # --- what there is --------------------------------------------------------------------------

    def _waits(self, peer: PeerID) -> bool:
        return any(waiter.waits_for(peer) for waiter in self._waiters)

    def _waiting(self, peer: PeerID) -> Waiting:
        if not self._waits(peer):
            return Waiting.NOTHING
        return Waiting.LISTED if peer in self._roster.listed else Waiting.UNLISTED

    def _is_served(self, peer: PeerID, contact: _Contact, timers: bool = True) -> bool:
        """Whether there is a link, a dial under way or, if ``timers`` count, a timer."""
        retry = contact.retry
        return self._links.open_link(peer) is not None or retry.is_running or (timers and retry.is_due)

    def _gives_way(self, contact: _Contact) -> bool:
        return self._stopped or self._elsewhere or contact.elsewhere

    def _look_around(self) -> None:
        """Try to reach everybody for whom something waits without a link, a dial or a timer.

        This is repeated from time to time.
        """
        self._looking = self._clock.callLater(LOOK_AROUND_SECONDS, self._look_around)
        for peer in self._roster.acquainted():
            if self._waits(peer):
                contact = self._contact(peer)
                if not self._gives_way(contact) and not self._is_served(peer, contact):
                    self.rescues += 1
                    self.log.warn(
                        "nothing was under way to {peer}, although something waits for them", peer=short_text(peer)
                    )
                    contact.retry.now()

    def _contact(self, peer: PeerID) -> _Contact:
        found = self._contacts.get(peer)
        if found is None:
            retry = Retry(
                self._clock,
                f"dialling {short_text(peer)}",
                lambda: self._attempt(peer),
                lambda error: self._failed(peer, error),
            )
            found = self._contacts[peer] = _Contact(retry)
        return found

    def _tell(self, peer: PeerID, contact: _Contact, end: End | None, seconds: float | None = None) -> None:
        """Tell why ``peer`` has to be waited for; None: nothing stands in the way now."""
        code = end.name.lower().replace("_", "-") if end is not None and self._waits(peer) else ""
        at_ms = self._wall_ms() + round(seconds * 1000) if code and seconds is not None else None
        if contact.told != (code, at_ms):
            contact.told = (code, at_ms)
            self._owner.contact_changed(peer, code, at_ms)

    def _guard(self, hook: Callable[..., None], *about: Any) -> None:
        """Call ``hook``; an internal error in it is logged, so that the other parts are told as well."""
        try:
            hook(*about)
        except Exception:
            self.log.failure("internal error while telling a part of a link")


def _settle(contact: _Contact, outcome: Link | ChatnetError) -> None:
    """Give those who asked for a link what there is."""
    asked, contact.asked = contact.asked, []
    for waiting in asked:
        if isinstance(outcome, Link):
            waiting.callback(outcome)
        else:
            waiting.errback(outcome)


def _asked_seconds(error: BaseException) -> float:
    """Return how many seconds the other side, or a rule of ours, asked to wait; 0: none."""
    if isinstance(error, Refused):
        return error.retry_after_s
    return error.seconds if isinstance(error, TooSoon) else 0.0
