"""One link that is meant to stay: dialled, kept, and dialled again after every end that is not final.

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
from chatnet.net.background import log_failure
from chatnet.net.link import Link, LinkEnd, LinkUser
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
        """Seconds until the next attempt; None: ``error`` is final, trying again would change nothing.

        ``failures`` counts the attempts that failed and the links that were lost in a row, ``error``
        among them, except for the loss of a steady link, which comes with 0.
        """


class PersistentLinkOwner(Protocol):
    """Whom the link is for.  Nothing is called any more once the link was told to stop."""

    async def dial(self, user: LinkUser) -> Link:
        """Make one attempt: an open link that serves ``user``.

        Raises ChatnetError when nobody answers, or somebody says no.  Any other exception is
        logged as an internal error, and the attempts go on.
        """

    def opened(self, link: Link) -> None: ...

    def received(self, link: Link, message: Message) -> None: ...

    def lost(self, link: Link, end: LinkEnd) -> None:
        """The link ended; ``waiting`` or ``gave_up`` follows."""

    def waiting(self, error: ChatnetError, wait_seconds: float) -> None:
        """The next attempt begins in ``wait_seconds``, because of ``error``."""

    def gave_up(self, error: ChatnetError) -> None:
        """No attempt follows before ``retry_now``, because of ``error``."""


class PersistentLink:
    """Keeps one link for its owner, and is that link's LinkUser; ``what`` names the other side in the log."""

    log = Logger("chatnet.persistent_link")

    def __init__(self, clock: IReactorTime, policy: ReconnectPolicy, owner: PersistentLinkOwner, what: str) -> None:
        self.link: Link | None = None  # open, or on its way out
        self._clock = clock
        self._policy = policy
        self._owner = owner
        self._what = what
        self._failures = 0
        self._retry: IDelayedCall | None = None
        self._steady: IDelayedCall | None = None
        self._attempt: Deferred[None] | None = None
        self._trying = False
        self._loss: LinkLost | None = None  # of a link that came and went within the present attempt
        self._first: Deferred[None] | None = None  # who waits for the end of the first attempt
        self._stopped = True

    async def start(self) -> None:
        """Make the first attempt; return when the link is open, or will be tried again.

        Raises the ChatnetError of an attempt that was final, after ``gave_up`` has heard of it, and
        CancelledError if ``stop`` is called meanwhile.  Who cancels this only waits no longer.
        """
        self._stopped = False
        first = self._first = Deferred()
        self._begin()
        await first

    def retry_now(self) -> None:
        """Try at once, also after ``gave_up``; nothing happens while there is a link or an attempt."""
        if not self._stopped and self.link is None and not self._trying:
            self._begin()

    async def stop(self) -> None:
        """Say goodbye.  Afterwards no attempt, no timer and no link is left."""
        self._stopped = True
        self._cancel_timers()
        if self._first is not None:
            self._first.cancel()
        if self._attempt is not None:
            self._attempt.cancel()
        link = self.link
        if link is not None:
            link.leave()
            await link.when_gone()

    # --- attempts -----------------------------------------------------------------------------

    def _begin(self) -> None:
        self._cancel_timers()
        self._trying = True
        self._loss = None
        attempt = self._attempt = Deferred.fromCoroutine(self._try())
        attempt.addErrback(lambda failure: log_failure(self.log, failure, f"dialling {self._what}"))
        attempt.addBoth(self._attempt_over)

    def _attempt_over(self, _: object) -> None:
        self._attempt = None

    async def _try(self) -> None:
        error: ChatnetError | None = None
        try:
            await self._owner.dial(self)
        except ChatnetError as refusal:
            error = refusal
        except Exception as defect:  # also CancelledError: the attempts end with ``stop`` alone
            if not self._stopped:
                self.log.failure("internal error while dialling {what}", what=self._what)
            error = LocalError(INTERNAL_ERROR, f"internal error: {safe_line(str(defect)) or type(defect).__name__}")
        finally:
            self._trying = False
        if self._stopped:
            return
        if self.link is None:
            error = self._loss or error or LocalError(INTERNAL_ERROR, "internal error: the link did not open")
            if error is not self._loss and not self._failures:
                self._failures = 1
            if not self._try_later(error):
                self._first_over(error)
                return
        self._first_over(None)

    def _first_over(self, final: ChatnetError | None) -> None:
        first, self._first = self._first, None
        if first is None or first.called:
            return
        if final is None:
            first.callback(None)
        else:
            first.errback(final)

    def _try_later(self, error: ChatnetError) -> bool:
        """Whether another attempt will follow."""
        wait = self._policy.wait_seconds(self._failures, error)
        if wait is None:
            self._owner.gave_up(error)
            return False
        self._failures += 1
        self._retry = self._clock.callLater(wait, self._begin)
        self._owner.waiting(error, wait)
        return True

    def _held(self) -> None:
        self._failures = 0

    def _cancel_timers(self) -> None:
        cancel_timer(self._retry)
        cancel_timer(self._steady)
        self._retry = self._steady = None

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
            if not self._trying:
                self._try_later(self._loss)
