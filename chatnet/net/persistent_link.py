"""A persistent link, which is dialled again after every end that is not final.

There is one attempt or one link at a time.  When to try again, and after what never again, is the
policy's to say; where to dial, with which HELLO, and what the messages mean is the owner's.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.errors import ChatnetError, LocalError, Refused
from chatnet.core.messages import Hello, Message, Welcome
from chatnet.core.text import safe_line
from chatnet.net.link import Link, LinkEnd, LinkUser
from chatnet.net.retry import Retry
from chatnet.net.timers import cancel_timer

INTERNAL_ERROR = "internal"  # the code of an attempt that an exception of another kind than ChatnetError ended


class LinkLost(Refused):
    """The link was open, and ended with this code, text and retry_after_s."""


class ReconnectPolicy(Protocol):
    """When to dial again.  It decides and does nothing else: no timer, no I/O."""

    @property
    def steady_seconds(self) -> float:
        """After so long an open link is steady: the failures before it are forgotten."""

    def wait_seconds(self, failures: int, error: ChatnetError) -> float | None:
        """Return the seconds until the next attempt; None: ``error`` is final, trying again would change nothing.

        ``failures`` counts the attempts that failed and the links that were lost in a row, ``error``
        among them, except for the loss of a steady link, which comes with 0.
        """


class PersistentLinkOwner(Protocol):
    """Whom the link is for.  Nothing is called any more once the link was told to stop."""

    async def dial(self, user: LinkUser) -> Link:
        """Make one attempt, and return an open link that serves ``user``.

        Raises ChatnetError when nobody answers, or somebody says no.  Any other exception is
        logged as an internal error, and the attempts go on.
        """

    def opened(self, link: Link) -> None: ...

    def received(self, link: Link, message: Message) -> None: ...

    def lost(self, link: Link, end: LinkEnd) -> None:
        """Called when the link ended; ``waiting`` or ``gave_up`` follows."""

    def waiting(self, error: ChatnetError, wait_seconds: float) -> None:
        """Called when the next attempt begins in ``wait_seconds``, because of ``error``."""

    def gave_up(self, error: ChatnetError) -> None:
        """Called when no attempt follows before ``retry_now``, because of ``error``."""


class PersistentLink:
    """Keeps one link for its owner, and is that link's LinkUser; ``what`` names the other side in the log."""

    log = Logger("chatnet.persistent_link")

    def __init__(self, clock: IReactorTime, policy: ReconnectPolicy, owner: PersistentLinkOwner, what: str) -> None:
        self.link: Link | None = None  # open, or on its way out
        self._clock = clock
        self._policy = policy
        self._owner = owner
        self._failures = 0
        self._retry = Retry(clock, f"dialling {what}", self._attempt, self._failed)
        self._steady: IDelayedCall | None = None
        self._loss: LinkLost | None = None  # of a link that came and went within the present attempt
        self._first: Deferred[None] | None = None  # who waits for the end of the first attempt
        self._stopped = True

    async def start(self) -> None:
        """Make the first attempt; return when the link is open, or will be tried again.  Called once.

        Raises the ChatnetError of an attempt that was final, after ``gave_up`` has heard of it, and
        CancelledError if ``stop`` is called meanwhile.  Who cancels this only waits no longer.
        """
        self._stopped = False
        first = self._first = Deferred()
        self._retry.now()
        await first

    def retry_now(self) -> None:
        """Try at once, also after ``gave_up``; nothing happens while there is a link or an attempt."""
        if not self._stopped and self.link is None:
            self._retry.now()

    async def stop(self) -> None:
        """Say goodbye.  Afterwards no attempt, no timer and no link is left."""
        self._stopped = True
        cancel_timer(self._steady)
        if self._first is not None:
            self._first.cancel()
        self._retry.stop()
        link = self.link
        if link is not None:
            link.leave()
            await link.when_gone()

    # --- attempts -----------------------------------------------------------------------------

    async def _attempt(self) -> None:
        self._loss = None
        await self._owner.dial(self)
        if self.link is None and not self._stopped:
            raise self._loss or LocalError(INTERNAL_ERROR, "internal error: the link did not open")
        self._first_over(None)

    def _failed(self, error: BaseException) -> float | None:
        """Return the seconds until the next attempt; None if there is none."""
        if self.link is not None:  # it opened all the same
            self._first_over(None)
            return None
        known = self._loss or error
        if not isinstance(known, ChatnetError):  # also CancelledError: the attempts end with ``stop`` alone
            text = f"internal error: {safe_line(str(error)) or type(error).__name__}"
            known = LocalError(INTERNAL_ERROR, text)
        if known is not self._loss and not self._failures:
            self._failures = 1
        wait = self._wait(known)
        self._first_over(known if wait is None else None)
        return wait

    def _wait(self, error: ChatnetError) -> float | None:
        """Return the seconds until the next attempt, by the policy, and tell the owner of it."""
        wait = self._policy.wait_seconds(self._failures, error)
        if wait is None:
            self._owner.gave_up(error)
            return None
        self._failures += 1
        self._owner.waiting(error, wait)
        return wait

    def _first_over(self, final: ChatnetError | None) -> None:
        first, self._first = self._first, None
        if first is None or first.called:
            return
        if final is None:
            first.callback(None)
        else:
            first.errback(final)

    def _held(self) -> None:
        self._failures = 0

    # --- LinkUser -----------------------------------------------------------------------------

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        raise Refused(messages.ROLE_UNKNOWN, "this side dials, it does not listen")

    def opened(self, link: Link) -> None:
        if self._stopped:
            link.leave()
        elif self.link is None:  # of two addresses that answered, the dial leaves the second by itself
            self.link = link
            self._steady = self._clock.callLater(self._policy.steady_seconds, self._held)
            self._owner.opened(link)

    def received(self, link: Link, message: Message) -> None:
        if link is self.link and not self._stopped:
            self._owner.received(link, message)

    def lost(self, link: Link, end: LinkEnd) -> None:
        if link is not self.link:
            return
        self.link = None
        cancel_timer(self._steady)
        self._steady = None
        if self._stopped:
            return
        self._loss = LinkLost(end.code, end.text, end.retry_after_s)
        try:
            self._owner.lost(link, end)
        finally:
            wait = self._wait(self._loss) if not self._retry.is_running else None
            if wait is not None:
                self._retry.later(wait)
