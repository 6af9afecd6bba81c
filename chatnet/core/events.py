"""What the peer tells: frozen plain data, so that a socket can carry it.

Texts that came from others are SafeText here; a client may rely on it and cleans again at its
own edge.  Times are milliseconds since the epoch by this machine's clock, sizes bytes.
Local paths are absolute, and bytes as the file system has them (``os.fsencode``); ``shown_path``
makes text of them.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum

import msgspec

from chatnet.core.identity import ChatID
from chatnet.core.text import SafeText


class Plain(msgspec.Struct, frozen=True, gc=False):
    """Arguments, results and parts of events; no cycle can run through them, and there may be 10,000."""


class Event(msgspec.Struct, frozen=True, tag=True):
    """Something happened; sent to every subscriber, each a reactor turn later."""


# --- the registry -----------------------------------------------------------------------------


class RegistryPhase(StrEnum):
    CONNECTING = "connecting"  # the first try, nothing known yet
    UP = "up"
    LOST = "lost"  # was up, or never answered: trying again
    REFUSED = "refused"  # it said no, e.g. the name is taken; no further try
    WRONG_KEY = "wrong-key"  # another registry answered at the address; no further try


class RegistryState(Plain, frozen=True):
    phase: RegistryPhase
    address: str  # host:port
    key: bytes | None  # the registry's PeerID, once known
    since_ms: int  # when this phase began
    retry_at_ms: int | None  # when the next try is, while LOST
    reason: SafeText  # why, for people; empty when UP
    code: str  # why, for programs: a wire code, "refused-connection", "timeout", ...
    listed: int  # peers in the list, without ourselves
    first_seen: bool  # this registry's key was remembered just now


# --- people -----------------------------------------------------------------------------------


class VerifiedLevel(IntEnum):
    """How people have compared a key."""

    NOT = 0
    BY_CODE = 1  # the short code was the same on both sides
    BY_NUMBER = 2  # the whole safety number was


class Person(Plain, frozen=True):
    """Somebody we know: from the list, or from a conversation."""

    peer: bytes  # PeerID
    name: str  # the claim, or "?7K2F-QM4D" where nothing vouches for it
    online: bool  # linked, or in the list that the registry has told since the start
    linked: bool
    address: str  # where the link goes, or the first listed endpoint; may be empty
    rtt_ms: int | None  # of the link
    last_seen_ms: int | None
    unread: int
    waiting: int  # messages of ours not yet delivered
    new_key: bytes | None  # another key uses the name now: sending is held
    known_since_ms: int | None  # when the key was first pinned
    verified: VerifiedLevel = VerifiedLevel.NOT
    blocked: bool = False
    unanswered_since_ms: int | None = None  # of the link: since when the other side does not answer
    waiting_code: str = ""  # why what waits has to wait: an End of ``core.link_policy``, as "wrong-key"; may be empty
    next_try_ms: int | None = None  # when the next dial is, while something waits without a link
    more_waits: bool = False  # more of theirs waits at their side until somebody here writes to them or accepts them
    remembered: bool = False  # was listed and is not, and nobody here had to do with them: they can be written to
    listed_address: str = ""  # the first listed endpoint, where others dial; may be empty
    other_key: bytes | None = None  # as ``new_key``, but also while a person here has decided to keep the known one

    @property
    def compared_key(self) -> bytes:
        """The key whose number is compared: their own, or another one that only a comparison can bring to the name.

        Of somebody verified this is also one that was not kept, since nothing else than its number can take it.
        """
        return self.new_key or (self.other_key if self.verified else None) or self.peer


class Request(Plain, frozen=True):
    """What somebody sent who stands in no list, and whom nobody here has written to or accepted."""

    peer: bytes  # PeerID
    key: str  # in full, as people compare it
    name: SafeText  # which they claim, and nobody vouches for; may be empty
    messages: int
    offers: int
    bytes: int  # on disk, about
    first_line: SafeText
    first_ms: int
    last_ms: int
    more: bool = False  # more of theirs waits at their side, because there is no room for it here


class SafetyNumber(Plain, frozen=True):
    """What two people compare, and what it is about: that ``name`` is the name of ``key``."""

    peer: bytes  # the person who was asked about
    name: str
    key: bytes  # whose digits these are: ``Person.compared_key``
    digits: str  # 60 in twelve groups


# --- messages ---------------------------------------------------------------------------------


class MessageState(StrEnum):
    RECEIVED = "received"  # from them
    WAITING = "waiting"  # stored here, not sent yet
    SENT = "sent"  # written to the link
    DELIVERED = "delivered"  # stored there
    REFUSED = "refused"  # they will not take it; see reason
    HELD = "held"  # waits for a decision about a changed key
    EXPIRED = "expired"


class MessageKind(StrEnum):
    TEXT = "text"
    FILE = "file"  # an offer; ``id`` is the transfer's fid, ``body`` its title


class ChatMessage(Plain, frozen=True):
    """One row of a chat; ``n`` rises in the order of storing and never changes."""

    n: int
    chat: ChatID
    sender: bytes  # PeerID of the person who wrote it; ours where ``mine``
    kind: MessageKind
    id: bytes
    mine: bool
    sent_ms: int  # by the sender's clock; shown where ``core.chats.written_ms`` believes it
    stored_ms: int  # by ours
    body: SafeText
    state: MessageState
    reason: SafeText


class HistoryPage(Plain, frozen=True):
    """Rows in rising ``n``; ``more`` says whether older ones exist."""

    messages: tuple[ChatMessage, ...]
    more: bool
    read_n: int  # the last row that was marked read: the "new since" line stands behind it


class SearchPage(Plain, frozen=True):
    """Rows that were found, the newest first; the next page is below ``before_n``, None at the end.

    A page may be empty and not the last: one call looks at a limited number of rows.
    """

    messages: tuple[ChatMessage, ...]
    before_n: int | None


class Exported(Plain, frozen=True):
    """A file that was written."""

    path: bytes
    messages: int


class Tab(Plain, frozen=True):
    """A chat that was open, or had a text not yet sent, when the screen was last there."""

    chat: ChatID
    draft: str
    open: bool = True


# --- transfers --------------------------------------------------------------------------------


class TransferState(StrEnum):
    WAITING = "waiting"  # ours: not offered yet, since the person is away or has enough unanswered offers of ours
    OFFERED = "offered"  # the receiver has not answered
    QUEUED = "queued"  # accepted, waits for its turn or for its connection
    RUNNING = "running"
    CHECKING = "checking"  # all bytes are there, digest and disk are being settled
    BROKEN = "broken"  # the connection is lost: it goes on by itself when both are there
    PAUSED = "paused"  # a person, or a full disk, holds it; see code and reason
    DONE = "done"
    DECLINED = "declined"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in ENDED


ENDED = frozenset({TransferState.DONE, TransferState.DECLINED, TransferState.CANCELLED, TransferState.FAILED})


class OfferDetails(Plain, frozen=True):
    """What a person has to know of an offer beside its files: each is a number."""

    empty_folders: int = 0  # that belong to it
    renamed: int = 0  # files and folders: incoming those that get another name here, outgoing those that go out so
    executables: int = 0  # files that may be executed at the sender's, and not where they arrive
    links: int = 0  # of this and the following nothing is sent
    specials: int = 0  # FIFOs, sockets, devices
    unreadable: int = 0  # files and folders
    unsent_folders: int = 0  # outgoing: empty ones, which the other side's program does not know


NO_DETAILS = OfferDetails()


class OfferedName(Plain, frozen=True):
    """A file or an empty folder of an offer."""

    path: SafeText  # incoming: as it is saved here, if no such name is there already; outgoing: as it was offered
    original: SafeText  # the path as the sender has it, where it is another one, else empty
    size: int
    is_folder: bool


class OfferedNames(Plain, frozen=True):
    """Some of an offer's files and empty folders; ``total`` says how many it has."""

    names: tuple[OfferedName, ...]
    total: int


class Transfer(Plain, frozen=True):
    """One offer of one or more files, either way."""

    fid: bytes
    peer: bytes
    outgoing: bool
    title: SafeText  # "video.mkv", "photos/ (312)", "a.txt and 2 more"
    names: tuple[SafeText, ...]  # the first few
    warning: SafeText  # about a name; empty when nothing
    total_files: int
    total_bytes: int
    done_files: int
    done_bytes: int
    bytes_per_second: float | None
    seconds_left: float | None
    state: TransferState
    code: str  # the reason as a wire code; empty while it goes well
    reason: SafeText  # the reason for people
    saved_to: bytes  # directory or file, once DONE and incoming
    offered_ms: int
    resumed_from: int = 0  # bytes that were there when it last went on
    paused_here: bool = False  # this side holds it, and may let it go on
    total_folders: int = 0  # with the empty ones
    details: OfferDetails = NO_DETAILS


class SpeedLimits(Plain, frozen=True):
    """Bytes a second of all transfers together; None: as fast as it goes."""

    up: int | None = None
    down: int | None = None


class RuleKind(StrEnum):
    ASK = "ask"
    AUTO = "auto"  # accepted unasked
    REFUSE = "refuse"


class FileRule(Plain, frozen=True):
    """What happens to the offers of one person."""

    kind: RuleKind = RuleKind.ASK
    max_bytes: int = 0  # AUTO up to this size, above it asks; 0: any size


# --- everything at once -----------------------------------------------------------------------


class Me(Plain, frozen=True):
    peer: bytes
    name: str
    version: str
    new_key: bool  # made at this start
    data_dir: bytes
    downloads: bytes
    listening: tuple[str, ...]  # host:port
    log_file: bytes  # empty when the log goes to no file of ours


class AlertContent(StrEnum):
    """What a notice on the desktop says; each but the first two comes with the bell."""

    OFF = "off"
    BELL = "bell"  # the bell alone
    COUNT = "count"  # how many messages, not from whom
    NAME = "name"
    TEXT = "text"  # name, and what they wrote


class AlertRules(Plain, frozen=True):
    """Whether a person is told of what comes while they look elsewhere."""

    content: AlertContent | None = None  # None: as the configuration says
    muted: tuple[bytes, ...] = ()  # PeerIDs of whom nothing is told


class NoticeLevel(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Notice(Event, frozen=True):
    """A line for the net tab; ``peer`` when it concerns one conversation."""

    level: NoticeLevel
    text: SafeText
    at_ms: int
    peer: bytes | None = None
    code: str = ""  # the protocol's word for it, if it has one


class Snapshot(Plain, frozen=True):
    """The state at the moment of subscribing; every later change comes as an event."""

    me: Me | None  # None until somebody logged in
    registry: RegistryState
    people: tuple[Person, ...]
    transfers: tuple[Transfer, ...]
    notices: tuple[Notice, ...]
    tabs: tuple[Tab, ...] = ()  # from the left
    store_trouble: SafeText = SafeText("")  # why nothing can be stored now; empty when all is well
    requests: tuple[Request, ...] = ()  # the latest last; at most as many as the budget ``requesters`` has
    alerts: AlertRules = AlertRules()
    speed_limits: SpeedLimits = SpeedLimits()


class LoggedIn(Event, frozen=True):
    me: Me


class TabsRestored(Event, frozen=True):
    """What was open when this profile was last used; comes once, behind LoggedIn and the people."""

    tabs: tuple[Tab, ...]


class StoreChanged(Event, frozen=True):
    """The disk stopped taking what we write (``text`` says why, for people), or takes it again."""

    ok: bool
    text: SafeText


class RegistryChanged(Event, frozen=True):
    registry: RegistryState


class PeopleChanged(Event, frozen=True):
    """Persons as they are now; replaces what was known of each."""

    people: tuple[Person, ...]


class PersonGone(Event, frozen=True):
    """Left the list, no conversation keeps the person known, and the name is not remembered any more."""

    peer: bytes


class RequestsChanged(Event, frozen=True):
    """All requests as they are now, the latest last; at most as many as the budget ``requesters`` has.

    Of these people no other event tells, until a person accepts them or a registry lists them.
    """

    requests: tuple[Request, ...]


class MessageAdded(Event, frozen=True):
    message: ChatMessage


class MessageChanged(Event, frozen=True):
    """Another state of a row."""

    chat: ChatID
    n: int
    state: MessageState
    reason: SafeText


class ChatMoved(Event, frozen=True):
    """A person here took another key for somebody: all of the chat ``former`` is in ``chat`` now.

    That is the history, whose rows keep their ``n``, what waits, the draft, and the tab.
    """

    former: ChatID
    chat: ChatID


class TransferChanged(Event, frozen=True):
    transfer: Transfer


class AlertsChanged(Event, frozen=True):
    """The rules as they are now; comes behind LoggedIn, too."""

    alerts: AlertRules


class SpeedLimitsChanged(Event, frozen=True):
    """What holds for all transfers together from now on."""

    limits: SpeedLimits


class CodeReady(Event, frozen=True):
    """A short code to compare with the person, by voice: the same on both screens, or somebody is between."""

    peer: bytes
    code: str  # six digits
    asked: bool  # we began it
