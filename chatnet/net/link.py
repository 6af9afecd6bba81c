"""One connection between two programs: TLS, HELLO and WELCOME, frames, raw bytes, pings and deadlines.

The rules of its life are ``core.session``; what the messages mean is the business of its
``LinkUser``.  A link is *open* when HELLO and WELCOME went over it; nothing is delivered before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Flag, auto
from functools import cached_property
from typing import Any, Protocol, cast

from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from chatnet.core import messages
from chatnet.core.addresses import host_port
from chatnet.core.errors import BadFrame, ChatnetError, Refused, RemoteError, WrongKey
from chatnet.core.framing import Framer, frame
from chatnet.core.identity import PeerID, short_text
from chatnet.core.keepalive import Beat, KeepAlive
from chatnet.core.limits import (
    FRAMES_PER_TURN,
    INTERNAL_RETRY_SECONDS,
    MAX_FRAME,
    MAX_FRAME_HELLO,
    MAX_RETRY_SECONDS,
    MAX_TEXT_BYTES,
    NO_ROOM_RETRY_SECONDS,
    LinkLimits,
)
from chatnet.core.message_bounds import FrameAllowance
from chatnet.core.messages import Bye, Error, Hello, Message, Ping, Pong, Welcome
from chatnet.core.meters import Spread
from chatnet.core.records import Endpoint, endpoint
from chatnet.core.roles import FROM_DIALLER, FROM_LISTENER, ROLES
from chatnet.core.session import Effect, Input, Session, State
from chatnet.core.strikes import Strikes, refusal
from chatnet.core.text import safe_line, wire_line
from chatnet.net.frame_share import FrameShare
from chatnet.net.pulse import Pulse
from chatnet.net.timers import cancel_timer
from chatnet.net.tls import proven_peer


@dataclass(frozen=True)
class LinkEnd:
    """How a link ended: a wire code or ``bye``, ``lost``, ``silence``, ``timeout``, ``closed``."""

    code: str
    text: str
    by_remote: bool = False
    retry_after_s: int = 0


class LinkUser(Protocol):
    """The part of the program that a link serves."""

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        """Agree to a HELLO, or raise Refused; of a listener only.  The other's key is proven by now."""

    def opened(self, link: Link) -> None: ...

    def received(self, link: Link, message: Message) -> None:
        """Handle a message of the kinds of this link.  Raises RemoteError to drop the link."""

    def lost(self, link: Link, end: LinkEnd) -> None:
        """Called once for each link that was opened, after its end."""


class First(Flag):
    """Why a link comes before those of strangers."""

    DIALLED = auto()  # this program wanted it
    SOURCE = auto()  # it comes from a known source, and has not proven its key yet
    KEY = auto()  # its key always gets in


@dataclass(frozen=True)
class LinkSettings:
    """The settings that all links of one program share."""

    limits: LinkLimits
    queue_bytes: int  # frames not yet taken by the transport, before the reader is called slow
    pulse: Pulse
    jitter: Callable[[], float]  # 0 to 1, spreads the pings
    handshakes: Spread = field(default_factory=Spread)  # seconds from the connection to the proven key
    struck: Callable[[PeerID, int], None] = lambda peer, seconds: None  # hears of a key that is refused for so long

    @property
    def clock(self) -> IReactorTime:
        return self.pulse.clock

    @cached_property
    def frame_share(self) -> FrameShare:
        return FrameShare()

    @cached_property
    def strikes(self) -> Strikes:
        return Strikes(self.limits)


@implementer(IHandshakeListener, IPushProducer)
class Link(TwistedProtocol):
    """One connection.  ``hello`` is the first message of the side that dials; None on the listening side."""

    log = Logger("chatnet.link")

    def __init__(
        self,
        settings: LinkSettings,
        user: LinkUser,
        remote: tuple[str, int],
        hello: Hello | None = None,
        expected: PeerID | None = None,
    ) -> None:
        self.remote = remote
        self.dialled = hello is not None
        self.peer = PeerID(b"")
        self.public_key = b""
        self.role = hello.role if hello else ""
        self.features: frozenset[str] = frozenset()  # what both sides named; empty until the link is open
        self.name = ""  # what the other side calls itself
        self.instance = b""
        self.has_siblings = False  # the dial that made it had said HELLO at another address too
        self.bytes_in = 0
        self.bytes_out = 0
        self.congested = False  # the transport asked us to wait: ``on_drained`` tells when it goes on
        self.opening: Deferred[Link] = Deferred()  # dialler: fires when open, fails with why not
        self.greeting: Hello | Welcome | None = None  # the other side's first message
        self.on_proven: Callable[[Link], None] | None = None  # listener: key proven and hello read; may raise Refused
        self.on_closing: Callable[[Link], None] | None = None  # we close it in order, and wait for the other side
        self.gone: Deferred[LinkEnd] = Deferred()  # fires at the end, also of links that never opened
        self._settings = settings
        self._user = user
        self._hello = hello
        self._expected = expected
        self._first_by = First.DIALLED if self.dialled else First(0)
        self._session = Session(dialled=self.dialled)
        self._welcome: Welcome | None = None
        self._decoder = FROM_LISTENER if self.dialled else FROM_DIALLER
        self._framer = Framer(MAX_FRAME_HELLO)
        self._raw_left = 0
        self._raw_sink: Callable[[bytes], None] | None = None
        self._sending_raw = False
        self._told_opened = False
        self._told_why = False  # the log has the reason why it ended
        self._paused_by: set[str] = set()
        self._on_drained: Callable[[], None] | None = None
        self._drain_waiters: list[Deferred[None]] = []
        self._queued = 0
        self._end: LinkEnd | None = None
        self._failure: ChatnetError | None = None
        now = settings.clock.seconds()
        self._state_since = now
        self._said = now
        self._frame_since: float | None = None
        self._congested_since = 0.0
        self._keepalive = KeepAlive(settings.limits, settings.jitter(), now)
        self._allowance = FrameAllowance(settings.limits, now)
        self._resting: IDelayedCall | None = None  # until when nothing is read, since too many frames came
        self._asked: list[tuple[int, Deferred[bool], IDelayedCall]] = []  # proofs of life that are due
        self._unconfirmed: list[tuple[int, Deferred[bool]]] = []  # by the number of their ping

    # --- what users call ----------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        return self._session.state is State.OPEN

    @property
    def comes_first(self) -> bool:
        """Whether it has its turn before the links of strangers."""
        return bool(self._first_by)

    def put_first(self, why: First, holds: bool = True) -> None:
        """Have it come first because of ``why``, or no longer because of that."""
        self._first_by = self._first_by | why if holds else self._first_by & ~why

    @property
    def rtt_ms(self) -> int | None:
        """The last round-trip time; None before the first."""
        return self._keepalive.rtt_ms

    @property
    def said_hello(self) -> bool:
        """Whether the other side may know of this link."""
        return self._session.state is not State.HANDSHAKE

    @property
    def unanswered_since(self) -> float | None:
        """Since when the other side does not answer, in seconds of the clock; None while it does."""
        return self._keepalive.unanswered_since(self._settings.clock.seconds()) if self.is_open else None

    @property
    def address(self) -> str:
        """Return host and port of the other side, for people."""
        return host_port(*self.remote)

    @property
    def observed(self) -> Endpoint | None:
        """The other side's address as WELCOME tells it; None where there is none, as on a unix socket."""
        try:
            return endpoint(*self.remote)
        except ValueError:
            return None

    @property
    def fid(self) -> bytes | None:
        """The transfer that a file link is for, as the side said that dialled it."""
        hello = self._hello if self.dialled else self.greeting
        return hello.fid if isinstance(hello, Hello) else None

    def __str__(self) -> str:
        who = short_text(self.peer) if self.peer else "nobody yet"
        return f"{self.role or 'link'} {who} {self.address}"

    def send(self, message: Message) -> None:
        """Queue one message; nothing happens on a link that is not open."""
        if self._session.state is State.OPEN:
            self._allowance.said(type(message))
            self._write(frame(messages.encode(message)))

    def send_frames(self, frames: bytes) -> None:
        """Queue bytes that are frames already: what many links share is encoded once."""
        if self._session.state is State.OPEN:
            self._write(frames)

    def on_drained(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` each time the transport takes bytes again after ``congested``."""
        self._on_drained = callback

    def close(self, code: str, text: str, retry_after_s: int = 0) -> None:
        """Say why, then close; cut if the other side does not finish in time."""
        reason = text.encode()[:MAX_TEXT_BYTES].decode(errors="ignore")
        self._finish(LinkEnd(code, text), Error(code, reason, min(retry_after_s, MAX_RETRY_SECONDS)))

    def leave(self) -> None:
        """Say goodbye, then close."""
        self._finish(LinkEnd("closed", "closed by us"), Bye())

    def abort(self, code: str = "closed", text: str = "cut by us") -> None:
        """Cut at once."""
        self._give_up(LinkEnd(code, text))

    def strike(self) -> None:
        """Count a strike: the other side did what no honest program does.

        Once too often ends the link and bans its key.
        """
        strikes, now = self._settings.strikes, self._settings.clock.seconds()
        strikes.add(self.peer, now)
        ban_seconds = strikes.ban_seconds(self.peer, now)
        if ban_seconds and self._session.state not in (State.CLOSING, State.CLOSED):
            self.log.warn(
                "{link} broke the protocol too often: refused for {ban_seconds} s", link=self, ban_seconds=ban_seconds
            )
            self._settings.struck(self.peer, ban_seconds)
            last_word = refusal(ban_seconds)
            self.close(last_word.code, last_word.text, ban_seconds)

    def when_gone(self) -> Deferred[LinkEnd]:
        """Return a Deferred of the caller's own that fires at the end of the connection, whether it was open or not."""
        mine: Deferred[LinkEnd] = Deferred()

        def follow(end: LinkEnd) -> LinkEnd:
            mine.callback(end)
            return end

        self.gone.addCallback(follow)
        return mine

    def when_drained(self) -> Deferred[None]:
        """Return a Deferred that fires when the transport takes bytes, at once if it does, or when the link ends."""
        mine: Deferred[None] = Deferred()
        if self.congested and self.is_open:
            self._drain_waiters.append(mine)
        else:
            mine.callback(None)
        return mine

    def await_answer(self, something: bool) -> None:
        """Whether something that was said here is unacknowledged now: then a mute link is given up soon."""
        self._keepalive.awaits(something, self._settings.clock.seconds())

    def ask(self, seconds: float) -> Deferred[bool]:
        """Whether the other side proves within ``seconds`` that it lives, by answering a ping.

        False also at the end of the link.
        """
        proof: Deferred[bool] = Deferred()
        if not self.is_open:
            proof.callback(False)
            return proof
        clock = self._settings.clock
        number = self._keepalive.ask(clock.seconds(), seconds)
        self._asked.append((number, proof, clock.callLater(seconds, self._answer_asked, False, number)))
        self.send(Ping(number))
        return proof

    def confirmed(self) -> Deferred[bool]:
        """Return a Deferred that fires with True once the other side has processed everything that was sent so far.

        It processes frames in their order, so that its answer to a ping proves it.  False at the end of the link.
        """
        waiting: Deferred[bool] = Deferred()
        if not self.is_open:
            waiting.callback(False)
            return waiting
        number = self._keepalive.pinged(self._settings.clock.seconds())
        self._unconfirmed.append((number, waiting))
        self.send(Ping(number))
        return waiting

    def _confirm(self, number: float, processed: bool) -> None:
        """Tell whether what was sent before the ping with this number was processed, or never will be."""
        due = [waiting for n, waiting in self._unconfirmed if n <= number]
        self._unconfirmed = [(n, waiting) for n, waiting in self._unconfirmed if n > number]
        for waiting in due:
            waiting.callback(processed)

    def pause_reading(self, why: str = "user") -> None:
        """Take nothing from the other side until ``resume_reading`` with the same reason."""
        if not self._paused_by:
            self._keepalive.pause()
            self._pause_transport()
        self._paused_by.add(why)

    def resume_reading(self, why: str = "user") -> None:
        """Deliver what is there already in a later turn, then read on."""
        if self._reads_again(why):
            self._settings.clock.callLater(0, self._continue)

    def _reads_again(self, why: str) -> bool:
        """Whether nothing holds the reading up once ``why`` does not."""
        if why not in self._paused_by:
            return False
        self._paused_by.discard(why)
        if not self._paused_by:
            # While we did not listen nobody was silent, or slow.
            now = self._settings.clock.seconds()
            self._keepalive.resume(now)
            self._frame_since = now if self._frame_since is not None else None
        return not self._paused_by

    def _await_turn(self) -> None:
        """Stop reading until the other connections have had their turn."""
        self.pause_reading("turn")
        self._settings.frame_share.wait(self._settings.clock, self._have_turn, self.comes_first)

    def _have_turn(self) -> None:
        if self._reads_again("turn"):
            self._continue()

    def expect_raw(self, count: int, sink: Callable[[bytes], None]) -> None:
        """Pass the next ``count`` bytes behind the present frame to ``sink``; then frames go on."""
        self._raw_left = count
        self._raw_sink = sink if count else None

    @property
    def consumer(self) -> IConsumer:
        """For a pull producer like ``FileSender``; while it is registered we send no frame here."""
        return cast(IConsumer, _RawConsumer(self))

    # --- the line, called by Twisted ------------------------------------------------------------

    def connectionMade(self) -> None:
        self._settings.pulse.add(self)

    def handshakeCompleted(self) -> None:
        transport = cast(Any, self.transport)
        connection: SSL.Connection = transport.getHandle()
        try:
            self.peer, self.public_key = proven_peer(connection, self._expected, dialled=self.dialled)
        except (WrongKey, RemoteError) as error:
            self._failure = error
            # Never loseConnection: it would still deliver what came with the handshake.
            self._give_up(LinkEnd(error.code, error.text))
            return
        self._settings.handshakes.add(self._settings.clock.seconds() - self._state_since)
        transport.registerProducer(self, True)
        self._handle(Input.AUTHENTICATED)

    def dataReceived(self, data: bytes) -> None:
        self._keepalive.heard(self._settings.clock.seconds())
        self.bytes_in += len(data)
        if self._raw_left and not self._paused_by and not self._framer.in_frame:
            data = self._deliver_raw(data)
        if data:
            self._framer.feed(data)
            self._pump()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._end is None:
            self._end = LinkEnd("lost", safe_line(reason.getErrorMessage()), by_remote=True)
        self._handle(Input.LINE_LOST)

    def pauseProducing(self) -> None:
        if not self.congested:
            self.congested = True
            self._congested_since = self._settings.clock.seconds()

    def resumeProducing(self) -> None:
        self.congested = False
        self._queued = 0
        self._keepalive.moved(self._settings.clock.seconds())
        self._wake_drain_waiters()
        if self._on_drained is not None and self.is_open:
            self._on_drained()

    def stopProducing(self) -> None:
        """Called when the transport is closing; ``connectionLost`` follows."""

    # --- frames and raw bytes -------------------------------------------------------------------

    def _pump(self) -> None:
        delivered, clock, share = 0, self._settings.clock, self._settings.frame_share
        at = clock.seconds()
        try:
            if not self._paused_by and not share.has_time(at) and not (self.comes_first and not self.is_open):
                self._await_turn()
            while not self._paused_by and self._session.state not in (State.CLOSED, State.CLOSING):
                if self._raw_left:
                    head = self._framer.take(self._raw_left)
                    if not head:
                        break
                    self._deliver_raw(head)
                    continue
                body = self._framer.next_frame()
                if body is None:
                    break
                delivered += 1
                self._on_frame(body)
                before, at = at, clock.seconds()
                if not share.spend(at - before) or delivered >= FRAMES_PER_TURN:
                    self._await_turn()
        except RemoteError as error:
            self._drop(error)
        except Exception:
            self.log.failure("internal error while handling a message from {link}", link=self)
            self._drop(RemoteError(messages.INTERNAL_ERROR, "this side met an internal error"))
        if not self._framer.in_frame or self._raw_left:
            self._frame_since = None
        elif delivered or self._frame_since is None:
            self._frame_since = self._settings.clock.seconds()

    def _deliver_raw(self, data: bytes) -> bytes:
        """Hand raw bytes to the sink, and return what lies behind them."""
        sink, head = self._raw_sink, data[: self._raw_left] if len(data) > self._raw_left else data
        self._raw_left -= len(head)
        if not self._raw_left:
            self._raw_sink = None
        if sink is not None:
            try:
                sink(head)
            except RemoteError as error:
                self._drop(error)
        return data[len(head) :]

    def _on_frame(self, body: bytes) -> None:
        message = self._decoder.decode(body)
        now = self._settings.clock.seconds()
        rest_seconds = self._allowance.heard(type(message), now)
        if rest_seconds > 0 and self._allowance.is_flood(now):
            self.close(messages.BUSY, "too many frames that do nothing", NO_ROOM_RETRY_SECONDS)
            return
        if rest_seconds > 0:
            self.pause_reading("frames")
            cancel_timer(self._resting)
            self._resting = self._settings.clock.callLater(rest_seconds, self.resume_reading, "frames")
        if isinstance(message, Ping):
            if not self._sending_raw:
                self.send(Pong(message.n))
        elif isinstance(message, Pong):
            self._keepalive.pong(message.n, self._settings.clock.seconds())
            self._answer_asked(True, message.n)
            self._confirm(message.n, True)
        elif isinstance(message, Error):
            self._failure = Refused(message.code, safe_line(message.text), message.retry_after_s)
            self._end = LinkEnd(message.code, safe_line(message.text), True, message.retry_after_s)
            self._handle(Input.CLOSE)
        elif isinstance(message, Bye):
            self._end = LinkEnd("bye", "the other side said goodbye", by_remote=True)
            self._handle(Input.CLOSE)
        elif isinstance(message, Hello):
            lowest, highest = message.versions
            if not lowest <= messages.VERSION <= highest:
                raise RemoteError(messages.VERSION_UNKNOWN, f"this side speaks version {messages.VERSION} only")
            self._greet(message, message.role)
            self._handle(Input.HELLO)
        elif isinstance(message, Welcome):
            if message.version != messages.VERSION:
                raise RemoteError(messages.VERSION_UNKNOWN, "the other side chose a version that we did not offer")
            self._greet(message, self.role)
            self.features = frozenset(cast(Hello, self._hello).features).intersection(message.features)
            self._handle(Input.WELCOME)
        else:
            self._user.received(self, message)

    def _greet(self, greeting: Hello | Welcome, name: str) -> None:
        """Take the other side's first message; from now on the role called ``name`` says what may come."""
        role = ROLES.get(name)
        if role is None:
            raise RemoteError(messages.ROLE_UNKNOWN, "no such role")
        self.greeting = greeting
        self.role = name
        self.name = safe_line(greeting.name)
        self.instance = greeting.instance
        self._decoder = role.from_listener if self.dialled else role.from_dialler
        self._framer.limit = MAX_FRAME
        self._keepalive.set_idle(role.ping_seconds, role.silence_seconds)

    def _write(self, data: bytes) -> None:
        self.bytes_out += len(data)
        self._said = self._settings.clock.seconds()
        self._keepalive.said(self._said)
        if self.congested:
            self._queued += len(data)
            if self._queued > self._settings.queue_bytes:
                self._give_up(LinkEnd(messages.SLOW, "the other side does not read"))
                return
        cast(Any, self.transport).write(data)

    # --- life and death -------------------------------------------------------------------------

    def beat(self, now: float) -> None:
        """Called by the pulse: deadlines, pings, silence."""
        limits, state = self._settings.limits, self._session.state
        deadline = self._session.deadline_seconds(limits)
        if deadline is not None:
            if now - self._state_since >= deadline:
                self._end = self._end or LinkEnd("timeout", f"nothing came within {deadline:g} s ({state.value})")
                self._handle(Input.DEADLINE)
            return
        if state is not State.OPEN:
            return
        what = self._keepalive.beat(now)
        if what is Beat.GIVE_UP:
            self._give_up(LinkEnd("silence", f"nothing heard for {self._keepalive.silence_seconds:g} s"))
        elif self.congested and now - self._congested_since >= limits.drain_seconds:
            self._give_up(LinkEnd(messages.SLOW, f"nothing read for {limits.drain_seconds:g} s"))
        elif self._frame_since is not None and not self._paused_by and now - self._frame_since >= limits.frame_seconds:
            self._drop(RemoteError(messages.SLOW, f"a frame took more than {limits.frame_seconds:g} s"))
        elif self._sending_raw and now - self._said >= limits.drain_seconds:
            self._give_up(LinkEnd(messages.SLOW, f"nothing taken for {limits.drain_seconds:g} s"))
        elif what is Beat.PING:
            self.ping()

    def ping(self) -> None:
        """Ask for life; the answer also tells the round-trip time."""
        if not self._sending_raw:
            self.send(Ping(self._keepalive.pinged(self._settings.clock.seconds())))

    def _answer_asked(self, lives: bool, number: int) -> None:
        """Answer those who asked for a proof of life, up to the ping with this number."""
        answered = [one for one in self._asked if one[0] <= number]
        self._asked = [one for one in self._asked if one[0] > number]
        for _, proof, timer in answered:
            if timer.active():
                timer.cancel()
            proof.callback(lives)

    def _handle(self, event: Input) -> None:
        before = self._session.state
        effects = self._session.handle(event)
        if self._session.state is not before:
            self._state_since = self._settings.clock.seconds()
        for effect in effects:
            _EFFECTS[effect](self)

    def _drop(self, error: RemoteError) -> None:
        """Drop the link, because the other side broke the protocol."""
        self._log_drop(error.text)
        self._failure = self._failure or error
        self._framer.stop()
        if isinstance(error, BadFrame):
            self.strike()
        self._finish(LinkEnd(error.code, error.text), Error(error.code, wire_line(error.text)))

    def _log_drop(self, text: str) -> None:
        self._told_why = True
        self.log.info("dropped {link}: {text}", link=self, text=safe_line(text))

    def _finish(self, end: LinkEnd, last_word: Message) -> None:
        if self._session.state in (State.CLOSING, State.CLOSED):
            return
        if self._sending_raw:  # no frame can be said within raw bytes
            self._give_up(end)
            return
        self._end = self._end or end
        if self._session.state is not State.HANDSHAKE:
            self._write(frame(messages.encode(last_word)))
        self._handle(Input.CLOSE)

    def _give_up(self, end: LinkEnd) -> None:
        self._end = self._end or end
        self._handle(Input.DEADLINE)

    def _send_hello(self) -> None:
        assert self._hello is not None
        self._write(frame(messages.encode(self._hello)))

    def _ask(self) -> None:
        self.pause_reading("answer")
        deciding = Deferred.fromCoroutine(self._answer())
        deciding.addCallbacks(self._agree, self._disagree)
        deciding.addErrback(lambda failure: self.log.failure("{link} could not be opened", failure, link=self))

    async def _answer(self) -> Welcome:
        if self.on_proven is not None:
            self.on_proven(self)
        return await self._user.answer(self, cast(Hello, self.greeting))

    def _agree(self, welcome: Welcome) -> None:
        self._welcome = welcome
        self.features = frozenset(cast(Hello, self.greeting).features).intersection(welcome.features)
        self._handle(Input.AGREED)
        self.resume_reading("answer")

    def _disagree(self, failure: Failure) -> None:
        if isinstance(failure.value, Refused):
            no = failure.value
            self._told_why = True
            self.log.info("refused {link}: {code}", link=self, code=no.code)
            self.close(no.code, no.text, no.retry_after_s)
        elif isinstance(failure.value, RemoteError):
            self._drop(failure.value)
        else:
            self.log.failure("internal error while serving {link}", failure, link=self)
            self.close(messages.INTERNAL_ERROR, "this side met an internal error", INTERNAL_RETRY_SECONDS)

    def _send_welcome(self) -> None:
        assert self._welcome is not None
        self._write(frame(messages.encode(self._welcome)))

    def _tell_opened(self) -> None:
        self.log.debug("open {link}", link=self)
        self._told_opened = True
        self._user.opened(self)
        if self.dialled and not self.opening.called:
            self.opening.callback(self)

    def _lose(self) -> None:
        self._framer.stop()
        transport = cast(Any, self.transport)
        # A registered producer would hold the connection open, and so would a paused one that
        # never reads the other side's close_notify.
        transport.unregisterProducer()
        if self._paused_by:
            transport.resumeProducing()
        transport.loseConnection()
        if self.on_closing is not None:
            self.on_closing(self)

    def _abort(self) -> None:
        self._framer.stop()
        transport = cast(Any, self.transport)
        if transport is not None:
            transport.abortConnection()

    def _tell_ended(self) -> None:
        self._settings.pulse.discard(self)
        cancel_timer(self._resting)
        self._on_drained = None
        self._wake_drain_waiters()
        if self._asked:
            self._answer_asked(False, self._asked[-1][0])
        self._confirm(float("inf"), False)
        end = self._end or LinkEnd("lost", "the connection is gone", by_remote=True)
        if self._told_opened:
            self._user.lost(self, end)
        elif not self.dialled and not self._told_why:  # a stranger who came no further
            self._log_drop(end.text)
        if self.dialled and not self.opening.called:
            self.opening.errback(self._failure or Refused(end.code, end.text, end.retry_after_s))
        self.gone.callback(end)

    def _wake_drain_waiters(self) -> None:
        waiters, self._drain_waiters = self._drain_waiters, []
        for waiter in waiters:
            waiter.callback(None)

    def _pause_transport(self) -> None:
        if self.transport is not None and self._session.state is not State.CLOSED:
            cast(Any, self.transport).pauseProducing()

    def _continue(self) -> None:
        if not self._paused_by and self._session.state not in (State.CLOSED, State.CLOSING):
            self._pump()
            if not self._paused_by:
                cast(Any, self.transport).resumeProducing()


@implementer(IConsumer)
class _RawConsumer:
    """A link's transport as the consumer of one pull producer."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._link._sending_raw = True
        transport = cast(Any, self._link.transport)
        transport.unregisterProducer()
        self._link.congested = False
        transport.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        link = self._link
        link._sending_raw = False
        transport = cast(Any, link.transport)
        transport.unregisterProducer()
        if link.is_open:
            transport.registerProducer(link, True)

    def write(self, data: bytes) -> None:
        self._link._said = self._link._settings.clock.seconds()
        self._link._keepalive.said(self._link._said)
        self._link.bytes_out += len(data)
        cast(Any, self._link.transport).write(data)


_EFFECTS: dict[Effect, Callable[[Link], None]] = {
    Effect.SEND_HELLO: Link._send_hello,
    Effect.ASK: Link._ask,
    Effect.SEND_WELCOME: Link._send_welcome,
    Effect.OPENED: Link._tell_opened,
    Effect.LOSE: Link._lose,
    Effect.ABORT: Link._abort,
    Effect.ENDED: Link._tell_ended,
}
