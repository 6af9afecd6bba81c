"""When a link asks for a sign of life, when it is given up, and since when the other side does not answer.

A quiet link is pinged after ``ping_seconds`` and given up after ``silence_seconds``.  While something
waits for an acknowledgement, or a proof of life was asked for, the times are short: then a person is
waiting.  Pure: ``now`` is in seconds of one monotonic clock.

Source: faults A5 and A11; decisions.md 13.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from chatnet.core.limits import STOPPED_SECONDS, LinkLimits


class Beat(Enum):
    """The actions that ``KeepAlive.beat`` asks for."""

    NOTHING = "nothing"
    PING = "ping the other side"
    GIVE_UP = "the other side is gone"


@dataclass(frozen=True)
class Times:
    """The seconds after which a quiet link is pinged, and given up."""

    ping_seconds: float
    silence_seconds: float


class KeepAlive:
    """The keep-alive of one open link.

    jitter: 0 to 1, spreads the pings of idle links by a fifth either way.
    """

    def __init__(self, limits: LinkLimits, jitter: float, now: float) -> None:
        self._spread = 0.8 + 0.4 * jitter
        self._idle = Times(limits.ping_seconds * self._spread, limits.silence_seconds)
        self._awaiting = Times(limits.awaited_ping_seconds, limits.awaited_silence_seconds)
        self._no_answer_seconds = limits.awaited_ping_seconds
        self._heard = now
        self._said = now
        self._moved = now  # when bytes last went out after the transport had been full
        self._asked_since: float | None = None  # the first thing said, after what was heard last, that wants an answer
        self._awaited_since: float | None = None  # since when something waits for its acknowledgement
        self._proof_until: float | None = None  # until when a proof of life has to come
        self._ping: tuple[int, float] | None = None  # number and time of the ping that is not answered
        self._pings = 0
        self._reading = True
        self._beaten = now
        self.rtt_ms: int | None = None  # of the last ping that was answered

    def set_idle(self, ping_seconds: float | None, silence_seconds: float | None) -> None:
        """Set the seconds of a link's role, where it has its own; they are known once HELLO was read."""
        if ping_seconds is not None:
            self._idle = Times(ping_seconds * self._spread, self._idle.silence_seconds)
        if silence_seconds is not None:
            self._idle = Times(self._idle.ping_seconds, silence_seconds)

    @property
    def silence_seconds(self) -> float:
        """How long the other side may be silent now."""
        return self._times()[0].silence_seconds

    # --- what happened --------------------------------------------------------------------------

    def heard(self, now: float) -> None:
        """Note that bytes came: the other side lives."""
        self._heard = now
        self._asked_since = None if self._awaited_since is None else now
        self._proof_until = None

    def said(self, now: float) -> None:
        """Note that bytes of ours were handed to the transport."""
        self._said = now

    def moved(self, now: float) -> None:
        """Note that the transport, which had been full, took bytes again: the other side's system reads."""
        self._moved = now

    def pinged(self, now: float) -> int:
        """Note that a ping goes out, and return its number."""
        self._pings += 1
        self._ping = (self._pings, now)
        self._asked(now)
        return self._pings

    def pong(self, number: int, now: float) -> bool:
        """Take a pong, and return whether it answers our last ping; then ``rtt_ms`` is new."""
        if self._ping is None or self._ping[0] != number:
            return False
        self.rtt_ms = round((now - self._ping[1]) * 1000)
        self._ping = None
        return True

    def awaits(self, something: bool, now: float) -> None:
        """Whether something that we said waits for its acknowledgement now."""
        if something:
            self._awaited_since = now if self._awaited_since is None else self._awaited_since
            self._asked(now)
        else:
            self._awaited_since = None
            self._asked_since = self._ping[1] if self._is_asking() and self._ping is not None else None

    def ask(self, now: float, seconds: float) -> int:
        """Give the other side ``seconds`` to prove that it lives, and return the number of the ping to send."""
        self._proof_until = now + seconds
        return self.pinged(now)

    def pause(self) -> None:
        """Stop counting silence, because we do not read."""
        self._reading = False

    def resume(self, now: float) -> None:
        """Count silence from now on, because we read again."""
        self._reading = True
        self._restart(now)

    # --- what follows ---------------------------------------------------------------------------

    def beat(self, now: float) -> Beat:
        """Return what is due; called about once a second.

        After a beat that is late by STOPPED_SECONDS this program itself had been stopped: what came
        meanwhile is still to be read, so that silence is counted from now.
        """
        stopped, self._beaten = now - self._beaten > STOPPED_SECONDS, now
        if stopped:
            self._restart(now)
        if not self._reading:
            return Beat.NOTHING
        times, since = self._times()
        if self._proof_until is not None and now >= self._proof_until:
            return Beat.GIVE_UP
        if now - since >= times.silence_seconds:
            return Beat.GIVE_UP
        quiet_since = since if self._awaited_since is not None else min(self._said, since)
        if not self._is_asking() and now - quiet_since >= times.ping_seconds:
            return Beat.PING
        return Beat.NOTHING

    def unanswered_since(self, now: float) -> float | None:
        """Return since when the other side has not answered, once that is worth saying; None while it answers.

        The time is that of the first thing which we said after we last heard something.
        """
        if not self._reading or self._asked_since is None or now - self._asked_since < self._no_answer_seconds:
            return None
        return self._asked_since

    def _times(self) -> tuple[Times, float]:
        """Return the times that hold now, and since when silence counts."""
        if self._awaited_since is None:
            return self._idle, self._heard
        return self._awaiting, max(self._heard, self._awaited_since, self._moved)

    def _is_asking(self) -> bool:
        """Whether a ping is under way: nothing was heard since it went out."""
        return self._ping is not None and self._ping[1] >= self._heard

    def _asked(self, now: float) -> None:
        if self._asked_since is None:
            self._asked_since = now

    def _restart(self, now: float) -> None:
        self._heard = max(self._heard, now)
        self._asked_since = now if self._asked_since is not None else None
        self._proof_until = None
