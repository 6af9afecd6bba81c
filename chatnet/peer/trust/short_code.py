"""Compares a short code with a person who is online: commit, nonce, reveal.

The two nonces and both keys make six digits.  Who is in the middle has two keys and so two
different codes, and cannot steer either: ``core.safety_number.short_code``.

When both begin at once, the exchange of the smaller PeerID goes on and serves both.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from chatnet.core.errors import ChatnetError, LocalError
from chatnet.core.identity import PeerID
from chatnet.core.limits import MAX_SOURCES, PeerLimits
from chatnet.core.messages import Check, CheckStep, Message
from chatnet.core.safety_number import short_code, short_commitment
from chatnet.net.timers import cancel_timer

NONCE_BYTES = 16
DAY_SECONDS = 86_400.0


@dataclass
class _Exchange:
    """One code that is being made with one person."""

    nonce: bytes
    timer: IDelayedCall
    commitment: bytes = b""  # theirs, when theirs is the first nonce
    done: Deferred[str] | None = None  # somebody here waits for the code

    @property
    def ours(self) -> bool:
        return not self.commitment


class ShortCodes:
    """Runs the exchanges of short codes.

    ready: is called with each code: peer, code, whether this side began.
    broken: is called with a peer whose nonce is not the one that it committed to.
    """

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        me: PeerID,
        *,
        send: Callable[[PeerID, Message], Awaitable[None]],
        ready: Callable[[PeerID, str, bool], None],
        broken: Callable[[PeerID], None],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._me = me
        self._send = send
        self._ready = ready
        self._broken = broken
        self._random_bytes = random_bytes
        self._exchanges: dict[PeerID, _Exchange] = {}
        self._attempts: OrderedDict[PeerID, deque[float]] = OrderedDict()  # the least lately tried first
        self._shown: dict[PeerID, str] = {}  # the last code with each, which may be confirmed

    def stop(self) -> None:
        for peer in tuple(self._exchanges):
            self._end(peer, LocalError("stopped", "The program ends."))

    def shown(self, peer: PeerID) -> str:
        """Return the last code with ``peer`` in this run, so that a person may say it is the same; else empty."""
        return self._shown.get(peer, "")

    async def begin(self, peer: PeerID, name: str) -> str:
        """Begin an exchange, and return its six digits.

        Raises LocalError("too-often" | "check-late" | "check-failed"), ChatnetError.
        """
        done: Deferred[str] = Deferred()
        running = self._exchanges.get(peer)
        if running is not None:
            if running.done is not None:
                raise LocalError("check-failed", f"A code with {name} is on its way already.")
            running.done = done
            return await done
        if not self._may_try(peer):
            raise LocalError(
                "too-often",
                f"{self._limits.checks_per_day} codes a day with one person, and today's are used.",
            )
        exchange = self._exchanges[peer] = _Exchange(self._random_bytes(NONCE_BYTES), self._deadline(peer), done=done)
        try:
            await self._send(peer, Check(CheckStep.COMMIT, short_commitment(exchange.nonce)))
        except ChatnetError:
            if self._exchanges.get(peer) is exchange:
                self._close(peer)
                raise
        return await done

    async def received(self, peer: PeerID, check: Check) -> None:
        """Handle a step of theirs; one that does not belong to an exchange is ignored."""
        exchange = self._exchanges.get(peer)
        if check.step is CheckStep.COMMIT:
            await self._answer(peer, exchange, check.value)
        elif check.step is CheckStep.NONCE and exchange is not None and exchange.ours:
            self._close(peer)
            try:
                await self._send(peer, Check(CheckStep.REVEAL, exchange.nonce))
            except ChatnetError as error:
                if exchange.done is not None:
                    exchange.done.errback(error)
                return
            self._finish(peer, exchange, exchange.nonce, check.value)
        elif check.step is CheckStep.REVEAL and exchange is not None and not exchange.ours:
            if hmac.compare_digest(short_commitment(check.value), exchange.commitment):
                self._close(peer)
                self._finish(peer, exchange, check.value, exchange.nonce)
            else:
                self._broken(peer)
                self._end(peer, LocalError("check-failed", "The other side broke its word: there is no code."))

    async def _answer(self, peer: PeerID, exchange: _Exchange | None, commitment: bytes) -> None:
        """Answer an exchange that they begin.

        If we did too, one of the two stays, and who waits here waits for that.
        """
        done = None
        if exchange is not None and exchange.ours:
            if self._me < peer:
                return
            done, exchange.done = exchange.done, None
            self._close(peer)
        elif not self._may_try(peer):
            return
        else:
            self._end(peer, LocalError("check-failed", "Another check began."))
        nonce = self._random_bytes(NONCE_BYTES)
        self._exchanges[peer] = _Exchange(nonce, self._deadline(peer), commitment, done)
        await self._send(peer, Check(CheckStep.NONCE, nonce))

    def _finish(self, peer: PeerID, exchange: _Exchange, first: bytes, second: bytes) -> None:
        code = short_code(self._me, peer, first, second)
        self._shown[peer] = code
        self._ready(peer, code, exchange.done is not None)
        if exchange.done is not None:
            exchange.done.callback(code)

    def _may_try(self, peer: PeerID) -> bool:
        """Count an attempt, ours or theirs: each is a chance to be fooled."""
        now = self._clock.seconds()
        attempts = self._attempts.setdefault(peer, deque())
        self._attempts.move_to_end(peer)
        while len(self._attempts) > MAX_SOURCES:
            forgotten, _ = self._attempts.popitem(last=False)
            self._shown.pop(forgotten, None)
        while attempts and now - attempts[0] >= DAY_SECONDS:
            attempts.popleft()
        if len(attempts) >= self._limits.checks_per_day:
            return False
        attempts.append(now)
        return True

    def _deadline(self, peer: PeerID) -> IDelayedCall:
        late = LocalError("check-late", "The other side did not answer in time. Is the person there?")
        timer: IDelayedCall = self._clock.callLater(self._limits.check_seconds, self._end, peer, late)
        return timer

    def _end(self, peer: PeerID, error: LocalError) -> None:
        exchange = self._exchanges.get(peer)
        if exchange is None:
            return
        self._close(peer)
        if exchange.done is not None:
            exchange.done.errback(error)

    def _close(self, peer: PeerID) -> None:
        exchange = self._exchanges.pop(peer)
        cancel_timer(exchange.timer)
