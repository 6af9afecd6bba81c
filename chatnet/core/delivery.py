"""The outbox for one person, as a machine: stored messages go out, wait, and are settled.

``Outgoing.handle(input)`` gives the effects that the shell carries out.  What can go out is decided by
one ``Phase``; ``TABLE`` holds for every phase and input the operations that follow, and has no default
row.  A row without operations gives its reason.

    STORED --> in the store --rows read--> ready --sent--> under way --acknowledged--> settled
                    ^                                          |
                    +------- the link is gone, begin again ----+

The wire is at-least-once and the history exactly once, since a message is unique by (conversation,
sender, id).  At most ``window`` messages are under way; at most READY_ROWS are read ahead of the link,
so that a flood lies in the store and not in memory.  Inputs and effects carry batches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Protocol, TypeAlias, TypeVar

from chatnet.core.limits import READY_ROWS, WRITE_CHUNK_BYTES


class Letter(Protocol):
    """A stored message, as the machine needs it; ``n`` rises in the order of storing."""

    @property
    def n(self) -> int: ...
    @property
    def id(self) -> bytes: ...
    @property
    def body(self) -> str: ...


R = TypeVar("R", bound=Letter)


class Phase(Enum):
    """What stands between the outbox and the other side; of several obstacles the first one here."""

    STOPPED = "the program stops"
    STORE_DOWN = "the disk takes nothing: what is delivered then could not be noted"
    HELD = "the person has a new key, and nobody has decided about it"
    UNLINKED = "there is no link"
    FULL = "the transport asked us to wait"
    OPEN = "nothing: messages go out"


class Input(Enum):
    """What can happen; the arguments of each stand at its method in ``Outgoing``."""

    STORED = "messages were stored"
    RESENT = "a message that had failed waits again"
    CHANGED = "what waits in the store is not what it was"
    LINK_UP = "a link is open"
    LINK_DOWN = "the link is gone"
    CONGESTED = "the transport asks us to wait"
    WRITTEN = "the transport took what was sent"
    ACKNOWLEDGED = "the other side has stored messages"
    REFUSED = "the other side will not store a message"
    ROWS_READ = "rows were read from the store"
    READ_FAILED = "rows could not be read"
    TIMER = "it is time to read again"
    STORE_DOWN = "the disk takes nothing"
    STORE_UP = "the disk takes things again"
    KEY_HELD = "the person has a new key"
    KEY_RELEASED = "what was held may go"
    STOP = "the program stops"


# --- effects ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Send(Generic[R]):
    """Write these messages to the link, in one piece, then tell WRITTEN or CONGESTED."""

    rows: Sequence[R]


@dataclass(frozen=True)
class Read:
    """Read the next ``limit`` rows behind row ``after_n``; then tell ROWS_READ or READ_FAILED."""

    after_n: int
    limit: int


@dataclass(frozen=True)
class ReadLater:
    """Tell TIMER after a while."""


@dataclass(frozen=True)
class Contact:
    """Something waits and there is no link: see to one."""


@dataclass(frozen=True)
class TellSent(Generic[R]):
    """Show these as sent."""

    rows: Sequence[R]


@dataclass(frozen=True)
class TellWaiting(Generic[R]):
    """Show these as waiting: they were under way, and the link is gone."""

    rows: Sequence[R]


@dataclass(frozen=True)
class Await:
    """Whether something on the link is unacknowledged now, as its keep-alive needs to know."""

    something: bool


@dataclass(frozen=True)
class MarkDelivered:
    """Note in the store that these were delivered, and show it."""

    ids: Sequence[bytes]


@dataclass(frozen=True)
class MarkRefused:
    """Note in the store that this one was refused, and show it."""

    id: bytes
    code: str


Effect: TypeAlias = (
    "Send[R] | Read | ReadLater | Contact | TellSent[R] | TellWaiting[R] | Await | MarkDelivered | MarkRefused"
)


# --- the table ----------------------------------------------------------------------------------


class Nothing(Enum):
    """Why a row does nothing."""

    STOPPED = "the store has it, and the next start goes on"
    IN_STORE = "it lies in the store, and is read once the disk works again"
    UNDECIDED = "it lies in the store, until somebody has decided about the new key"
    NO_LINK = "there is no link that this could come from: it is one that ended meanwhile"
    ON_LINK = "it lies in the store, and is read again once there is a link"
    ON_DRAIN = "what lies in the store is read once the transport takes bytes again"
    IMPOSSIBLE = "the input itself leads to another phase, so that the two never meet"


class Do(Enum):
    """The operations of which rows are made; each is a method of ``Outgoing``."""

    QUEUE = "queue what was stored behind what is ready, or leave it in the store"
    REREAD = "forget what was read ahead"
    REREAD_FROM = "begin again at this row"
    TAKE_ROWS = "take the rows that were read"
    PUT_BACK = "what was under way waits again"
    SEND = "send what may go, and read on"
    TELL = "show what was sent"
    SETTLE = "what was acknowledged is delivered"
    TURN_DOWN = "what was refused is refused"
    CONTACT = "see to a link"
    RETRY_READ = "read the same rows again in a while"


Row: TypeAlias = tuple[Do, ...] | Nothing

_COLUMNS = (Phase.STOPPED, Phase.STORE_DOWN, Phase.HELD, Phase.UNLINKED, Phase.FULL, Phase.OPEN)
# The phase is the one that holds once the input has been noted: after LINK_UP there is a link, and so on.
_S = Nothing
_ROWS: dict[Input, tuple[Row, Row, Row, Row, Row, Row]] = {
    Input.STORED: (_S.STOPPED, _S.IN_STORE, _S.UNDECIDED, (Do.QUEUE, Do.CONTACT), (Do.QUEUE,), (Do.QUEUE, Do.SEND)),
    Input.RESENT: (_S.STOPPED, _S.IN_STORE, _S.UNDECIDED, (Do.CONTACT,), (Do.REREAD_FROM,), (Do.REREAD_FROM, Do.SEND)),
    Input.CHANGED: (_S.STOPPED, _S.IN_STORE, _S.UNDECIDED, (Do.CONTACT,), (Do.REREAD,), (Do.REREAD, Do.SEND)),
    Input.LINK_UP: (
        _S.STOPPED,
        (Do.PUT_BACK,),
        (Do.PUT_BACK,),
        _S.IMPOSSIBLE,
        _S.IMPOSSIBLE,
        (Do.PUT_BACK, Do.SEND),
    ),
    Input.LINK_DOWN: (_S.STOPPED, (Do.PUT_BACK,), (Do.PUT_BACK,), (Do.PUT_BACK,), _S.IMPOSSIBLE, _S.IMPOSSIBLE),
    Input.CONGESTED: (_S.STOPPED, (Do.TELL,), (Do.TELL,), _S.NO_LINK, (Do.TELL,), _S.IMPOSSIBLE),
    Input.WRITTEN: (_S.STOPPED, (Do.TELL,), (Do.TELL,), _S.NO_LINK, _S.IMPOSSIBLE, (Do.TELL, Do.SEND)),
    Input.ACKNOWLEDGED: (_S.STOPPED, (Do.SETTLE,), (Do.SETTLE,), _S.NO_LINK, (Do.SETTLE,), (Do.SETTLE, Do.SEND)),
    Input.REFUSED: (
        _S.STOPPED,
        (Do.TURN_DOWN,),
        (Do.TURN_DOWN,),
        _S.NO_LINK,
        (Do.TURN_DOWN,),
        (Do.TURN_DOWN, Do.SEND),
    ),
    Input.ROWS_READ: (_S.STOPPED, _S.IN_STORE, _S.UNDECIDED, _S.ON_LINK, (Do.TAKE_ROWS,), (Do.TAKE_ROWS, Do.SEND)),
    Input.READ_FAILED: (
        _S.STOPPED,
        _S.IN_STORE,
        _S.UNDECIDED,
        (Do.CONTACT,),
        (Do.RETRY_READ,),
        (Do.RETRY_READ,),
    ),
    Input.TIMER: (_S.STOPPED, _S.IN_STORE, _S.UNDECIDED, (Do.CONTACT,), _S.ON_DRAIN, (Do.SEND,)),
    Input.STORE_DOWN: (_S.STOPPED, _S.IN_STORE, _S.IMPOSSIBLE, _S.IMPOSSIBLE, _S.IMPOSSIBLE, _S.IMPOSSIBLE),
    Input.STORE_UP: (
        _S.STOPPED,
        _S.IMPOSSIBLE,
        _S.UNDECIDED,
        (Do.CONTACT,),
        (Do.REREAD,),
        (Do.REREAD, Do.SEND),
    ),
    Input.KEY_HELD: (_S.STOPPED, _S.IN_STORE, _S.UNDECIDED, _S.IMPOSSIBLE, _S.IMPOSSIBLE, _S.IMPOSSIBLE),
    Input.KEY_RELEASED: (
        _S.STOPPED,
        _S.IN_STORE,
        _S.IMPOSSIBLE,
        (Do.CONTACT,),
        (Do.REREAD,),
        (Do.REREAD, Do.SEND),
    ),
    Input.STOP: (_S.STOPPED, _S.IMPOSSIBLE, _S.IMPOSSIBLE, _S.IMPOSSIBLE, _S.IMPOSSIBLE, _S.IMPOSSIBLE),
}
TABLE: dict[tuple[Phase, Input], Row] = {
    (phase, event): row for event, rows in _ROWS.items() for phase, row in zip(_COLUMNS, rows, strict=True)
}


# --- the machine --------------------------------------------------------------------------------


class Outgoing(Generic[R]):
    """The messages to one person.  ``window``: how many may be under way at once."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._obstacles = {Phase.UNLINKED}
        self.phase = Phase.UNLINKED
        self.under_way: dict[bytes, R] = {}  # by id: on the link, not acknowledged
        self._ready: deque[R] = deque()  # the next ones in their order
        self._untold: list[R] = []  # sent, and not yet shown as sent
        self._upto_n = 0  # rows up to here were sent on this link, or are ready
        self._more = True  # the store may have rows behind ``_upto_n``
        self._reading = False
        self._stale = False  # what is being read was begun before the store changed
        self._awaiting = False  # what the link's keep-alive was told
        self._effects: list[Effect[R]] = []

    # --- inputs -----------------------------------------------------------------------------------

    def stored(self, rows: Sequence[R]) -> list[Effect[R]]:
        """Take messages that were just stored, in rising ``n``."""
        return self._handle(Input.STORED, rows)

    def resent(self, n: int) -> list[Effect[R]]:
        """Note that row ``n``, which had failed, waits again."""
        return self._handle(Input.RESENT, n)

    def changed(self) -> list[Effect[R]]:
        """Note that rows in the store have expired, or are to be sent to another key."""
        return self._handle(Input.CHANGED)

    def link_up(self) -> list[Effect[R]]:
        """Handle a link that has opened; it took the place of another one where there was one."""
        self._note(Phase.FULL, False)
        self._note(Phase.UNLINKED, False)
        return self._handle(Input.LINK_UP)

    def link_down(self) -> list[Effect[R]]:
        """Handle the end of the link, for whatever reason."""
        self._note(Phase.FULL, False)
        self._note(Phase.UNLINKED, True)
        return self._handle(Input.LINK_DOWN)

    def congested(self) -> list[Effect[R]]:
        """Wait, because the transport asks us to; ``written`` follows when it takes bytes again."""
        self._note(Phase.FULL, True)
        return self._handle(Input.CONGESTED)

    def written(self) -> list[Effect[R]]:
        """Note that the transport took what was sent, or takes bytes again."""
        self._note(Phase.FULL, False)
        return self._handle(Input.WRITTEN)

    def acknowledged(self, ids: Sequence[bytes]) -> list[Effect[R]]:
        """Note that the other side has stored these messages; ids that are not under way are ignored."""
        return self._handle(Input.ACKNOWLEDGED, ids)

    def refused(self, id: bytes, code: str) -> list[Effect[R]]:
        """Note that the other side will never store this message."""
        return self._handle(Input.REFUSED, (id, code))

    def rows_read(self, after_n: int, rows: Sequence[R]) -> list[Effect[R]]:
        """Handle the answer to ``Read(after_n)``."""
        self._reading = False
        return self._handle(Input.ROWS_READ, (after_n, rows))

    def read_failed(self) -> list[Effect[R]]:
        """Note that ``Read`` failed."""
        self._reading = False
        return self._handle(Input.READ_FAILED)

    def timer(self) -> list[Effect[R]]:
        """Handle the end of the time of ``ReadLater``."""
        return self._handle(Input.TIMER)

    def store_works(self, works: bool) -> list[Effect[R]]:
        """Note whether the store takes what is written."""
        return self._obstacle(Phase.STORE_DOWN, not works, Input.STORE_DOWN if not works else Input.STORE_UP)

    def key_held(self, held: bool) -> list[Effect[R]]:
        """Note whether somebody has to decide about a new key of this person."""
        return self._obstacle(Phase.HELD, held, Input.KEY_HELD if held else Input.KEY_RELEASED)

    def stop(self) -> list[Effect[R]]:
        """Stop: nothing is sent from now on."""
        return self._obstacle(Phase.STOPPED, True, Input.STOP)

    # --- the table at work ------------------------------------------------------------------------

    def _note(self, obstacle: Phase, present: bool) -> None:
        """Note that an obstacle is there, or gone. Inputs come for each message, this call seldom."""
        if (obstacle in self._obstacles) is not present:
            self._obstacles ^= {obstacle}
            self.phase = next(phase for phase in Phase if phase in self._obstacles or phase is Phase.OPEN)

    def _obstacle(self, phase: Phase, present: bool, event: Input) -> list[Effect[R]]:
        self._note(phase, present)
        return self._handle(event)

    def _handle(self, event: Input, about: object = None) -> list[Effect[R]]:
        operations = _RESOLVED[self.phase][event]
        if not operations:
            return []
        effects: list[Effect[R]] = []
        self._effects = effects
        for operation in operations:
            operation(self, about)
        awaiting = bool(self.under_way) and Phase.UNLINKED not in self._obstacles
        if awaiting is not self._awaiting:
            self._awaiting = awaiting
            effects.append(Await(awaiting))
        return effects

    def _queue(self, rows: Sequence[R]) -> None:
        for row in rows:
            if self._more or self._reading or len(self._ready) >= READY_ROWS:
                self._more = True  # what lies before it in the store goes first
            else:
                self._ready.append(row)
                self._upto_n = row.n

    def _reread(self, _: object) -> None:
        self._begin_behind(0)

    def _reread_from(self, n: int) -> None:
        self._begin_behind(min(self._upto_n, n - 1))

    def _begin_behind(self, n: int) -> None:
        self._ready.clear()
        self._upto_n, self._more, self._stale = n, True, self._reading

    def _take_rows(self, about: tuple[int, Sequence[R]]) -> None:
        after_n, rows = about
        stale, self._stale = self._stale, False
        if stale or after_n != self._upto_n:
            self._more = True
            return
        self._ready.extend(rows)
        if rows:
            self._upto_n = rows[-1].n
        self._more = self._more or len(rows) >= READY_ROWS

    def _put_back(self, _: object) -> None:
        back, self.under_way = list(self.under_way.values()), {}
        self._untold.clear()
        self._reread(None)
        if back:
            self._effects.append(TellWaiting(back))
        self._awaiting = False  # the new link's keep-alive knows of nothing yet

    def _send(self, _: object) -> None:
        """Send small messages together: one write, one TLS record for many."""
        room, size, ready = self._window - len(self.under_way), 0, self._ready
        rows: list[R] = []
        while ready and len(rows) < room and size < WRITE_CHUNK_BYTES:
            row = ready.popleft()
            if row.id not in self.under_way:  # a resend reads again what is under way
                rows.append(row)
                self.under_way[row.id] = row
                size += len(row.body)
        if rows:
            self._untold += rows
            self._effects.append(Send(rows))
        if not ready and self._more and not self._reading and len(self.under_way) < self._window:
            self._more, self._reading = False, True
            self._effects.append(Read(self._upto_n, READY_ROWS))

    def _tell(self, _: object) -> None:
        told, self._untold = [row for row in self._untold if row.id in self.under_way], []
        if told:
            self._effects.append(TellSent(told))

    def _settle(self, ids: Sequence[bytes]) -> None:
        awaited = [id for id in ids if self.under_way.pop(id, None) is not None]
        if awaited:  # of ids that are none of ours the disk need not hear
            self._effects.append(MarkDelivered(awaited))

    def _turn_down(self, about: tuple[bytes, str]) -> None:
        if self.under_way.pop(about[0], None) is not None:
            self._effects.append(MarkRefused(*about))

    def _contact(self, _: object) -> None:
        self._effects.append(Contact())

    def _retry_read(self, _: object) -> None:
        self._more, self._stale = True, False
        self._effects.append(ReadLater())


_OPERATIONS: dict[Do, Callable[..., None]] = {
    Do.QUEUE: Outgoing._queue,
    Do.REREAD: Outgoing._reread,
    Do.REREAD_FROM: Outgoing._reread_from,
    Do.TAKE_ROWS: Outgoing._take_rows,
    Do.PUT_BACK: Outgoing._put_back,
    Do.SEND: Outgoing._send,
    Do.TELL: Outgoing._tell,
    Do.SETTLE: Outgoing._settle,
    Do.TURN_DOWN: Outgoing._turn_down,
    Do.CONTACT: Outgoing._contact,
    Do.RETRY_READ: Outgoing._retry_read,
}
# The table with its operations looked up: rows are used for each message, and an enum's hash is slow.
_RESOLVED: dict[Phase, dict[Input, tuple[Callable[..., None], ...]]] = {
    phase: {
        event: () if isinstance(row := TABLE[phase, event], Nothing) else tuple(_OPERATIONS[do] for do in row)
        for event in Input
    }
    for phase in Phase
}
