"""The life of a link, as a table.

    HANDSHAKE --authenticated--> HELLO --hello--> ANSWER --agreed--> OPEN      (listener)
    HANDSHAKE --authenticated--> WELCOME --welcome-----------------> OPEN      (dialler)
    any live state --close--> CLOSING --line lost--> CLOSED
    any state --deadline, line lost--> CLOSED

Every change of state happens here.  A pair that is not in ``TABLE`` is the other side's error.
The shell carries the effects out; each state that waits for the other side has a deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from chatnet.core.errors import RemoteError
from chatnet.core.limits import LinkLimits
from chatnet.core.messages import BAD_FRAME


class State(Enum):
    HANDSHAKE = "handshake"
    HELLO = "hello"  # listener: their first frame is due
    ANSWER = "answer"  # listener: our rules are deciding
    WELCOME = "welcome"  # dialler: their answer is due
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Input(Enum):
    AUTHENTICATED = "authenticated"
    HELLO = "hello"
    WELCOME = "welcome"
    AGREED = "agreed"
    CLOSE = "close"
    DEADLINE = "deadline"
    LINE_LOST = "line lost"


class Effect(Enum):
    SEND_HELLO = "send hello"
    ASK = "ask the rules about this hello"
    SEND_WELCOME = "send welcome"
    OPENED = "tell that the link is open"
    LOSE = "close in order"
    ABORT = "cut"
    ENDED = "tell that the link is gone"


Row: TypeAlias = tuple[State, tuple[Effect, ...]]

_GONE: Row = (State.CLOSED, (Effect.ENDED,))
_CUT: Row = (State.CLOSED, (Effect.ABORT, Effect.ENDED))

LISTENER: dict[tuple[State, Input], Row] = {
    (State.HANDSHAKE, Input.AUTHENTICATED): (State.HELLO, ()),
    (State.HELLO, Input.HELLO): (State.ANSWER, (Effect.ASK,)),
    (State.ANSWER, Input.AGREED): (State.OPEN, (Effect.SEND_WELCOME, Effect.OPENED)),
}
DIALLER: dict[tuple[State, Input], Row] = {
    (State.HANDSHAKE, Input.AUTHENTICATED): (State.WELCOME, (Effect.SEND_HELLO,)),
    (State.WELCOME, Input.WELCOME): (State.OPEN, (Effect.OPENED,)),
}
EITHER: dict[tuple[State, Input], Row] = {
    # Before the handshake is over nothing can be said in order.
    (State.HANDSHAKE, Input.CLOSE): _CUT,
    **{
        (state, Input.CLOSE): (State.CLOSING, (Effect.LOSE,))
        for state in (State.HELLO, State.ANSWER, State.WELCOME, State.OPEN)
    },
    (State.CLOSING, Input.CLOSE): (State.CLOSING, ()),
    (State.CLOSED, Input.CLOSE): (State.CLOSED, ()),
    **{(state, Input.DEADLINE): _CUT for state in State if state is not State.CLOSED},
    (State.CLOSED, Input.DEADLINE): (State.CLOSED, ()),
    **{(state, Input.LINE_LOST): _GONE for state in State if state is not State.CLOSED},
    (State.CLOSED, Input.LINE_LOST): (State.CLOSED, ()),
    # The rules answered after the link had gone.
    (State.CLOSING, Input.AGREED): (State.CLOSING, ()),
    (State.CLOSED, Input.AGREED): (State.CLOSED, ()),
}
TABLES = {True: DIALLER | EITHER, False: LISTENER | EITHER}


@dataclass
class Session:
    """Where one link stands."""

    dialled: bool
    state: State = State.HANDSHAKE

    def handle(self, event: Input) -> tuple[Effect, ...]:
        """Return the effects of ``event``, in order.  Raises RemoteError if it cannot come now."""
        row = TABLES[self.dialled].get((self.state, event))
        if row is None:
            raise RemoteError(BAD_FRAME, f"{event.value} cannot come in state {self.state.value}")
        self.state, effects = row
        return effects

    def deadline_seconds(self, limits: LinkLimits) -> float | None:
        """Return how many seconds this state may last; None: as long as the link lives."""
        if self.state is State.OPEN:  # asked of every link every second
            return None
        return {
            State.HANDSHAKE: limits.handshake_seconds,
            State.HELLO: limits.hello_seconds,
            State.WELCOME: limits.hello_seconds * 2,  # the listener's store may have to commit first
            State.ANSWER: limits.frame_seconds,
            State.CLOSING: limits.close_seconds,
        }.get(self.state)
