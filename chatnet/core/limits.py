"""Every number that limits something, with its reason.

Constants belong to the wire and cannot be changed alone; fields of ``RegistryLimits`` and
``PeerLimits`` are shown by ``--limits`` and changed by ``--limit NAME=VALUE``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from chatnet.core.budgets import PeerBudgets

# --- the wire: part of the protocol, the same for everybody (docs/protocol.md) ---------------

MAX_FRAME_HELLO = 4_096  # before WELCOME: what a stranger can make us hold
MAX_FRAME = 65_536  # afterwards: a full page of the list, or a message with its envelope
MAX_INTEGER = 2**53  # that is taken: exact in every language's number
MAX_SENT_INTEGER = 2**53 - 1  # that is said: with its neighbours exact in every language's number
MAX_STORED_INTEGER = 2**63 - 1  # that a column of the database holds, and a time of a file in nanoseconds
MAX_BODY_BYTES = 16_384  # one message, UTF-8
MAX_TEXT_BYTES = 200  # the reason in an ERROR
MAX_RETRY_SECONDS = 86_400  # that an ERROR may ask to wait
MAX_NAME_CHARS = 32
MAX_ENDPOINTS = 6  # in a record; the list's entry has one more, the observed one
MAX_CURSOR_BYTES = 64
MAX_FEATURES = 32
MAX_FEATURE_CHARS = 32
MAX_ACKS = 64  # ids in one ACK: one group commit's worth
MAX_PATH_PARTS = 32  # depth of a folder in an offer
MAX_PATH_PART_BYTES = 255  # what file systems allow in one component
MAX_PAGE_ENTRIES = 700  # entries of the usual 90 bytes in one frame
MAX_OFFER_PAGE_FILES = 1_000
MAX_OFFER_FILES = 100_000  # files and folders of one offer: a folder costs the receiver's disk what a file does
MAX_OFFER_BYTES = 16_777_216  # of their names
MAX_LIST_ENTRIES = 100_000  # a peer takes no longer list: about 30 MB in memory
MAX_RECORD_BYTES = 512

PAGE_BYTES = 48_000  # where a page of a list is cut: well below MAX_FRAME
FRAMES_PER_TURN = 64  # frames of one connection before the others have their turn
FRAMES_SHARE_SECONDS = 0.01  # of a turn of the reactor for the frames of all connections: a few of the dearest
WRITE_CHUNK_BYTES = 65_536  # FileSender's piece: fastest through TLS, see docs/benchmarks.md
EVENTS_PER_TURN = 200  # told to subscribers before the reactor turns: well under 20 ms
PEOPLE_PER_EVENT = 500  # persons in one event, so that a long list comes in slices
REGISTRY_STEADY_SECONDS = 60.0  # a registry that held so long counts as a good one again
READY_ROWS = 512  # messages to one person read ahead of the link
NO_ROOM_RETRY_SECONDS = 60  # after which somebody may try again for whom there is no room: a handshake a minute
MOST_AWAITED = 1_024  # questions of one kind on a link that may be unanswered: more than a window of messages
MAX_MESSAGE_VALUES = 32  # in the array of a message: three times as many as in the longest of today
WEB_CONNECTIONS = 8  # at a time to a page of ours: whoever reads here is one program or a few
WEB_SECONDS = 10.0  # for a connection to a page of ours, with all its requests
RANDOM_TRIES = 8  # of file names with 32 random bits, when these are taken
REQUEST_LINES = 40  # of one message that the page of requests shows
REQUEST_CHARS = 4_000
REQUEST_LINE_CHARS = 200  # of the first message of a stranger
STORING_ROWS = 256  # messages of one link on their way to the disk, before its reading stops
BACKGROUND_TASKS = 64  # for one peer: with more under way its chat link is not read; one commit's worth
LIST_SAVE_SECONDS = 2.0  # changes of the list gathered before they are saved
SEQ_STEP = 2**32  # to the next record's number when a registry knows a higher one: more than any clock was wrong by
SEQ_AHEAD_SECONDS = 86_400  # how far an honest record's number is ahead of our clock, but for steps: clocks differ
LOOKUP_SECONDS = 60.0  # between two look-ups of one person's record
LOOKUPS_PER_SECOND = 10  # of all people; the registry answers five times as many
LOOKUPS_BURST = 100
EPOCHS_KEPT = 64  # starts of a registry after which a cursor from before them is still understood
NOTICES = 200  # lines of the net tab kept for who subscribes later
ADDRESS_WATCH_SECONDS = 5.0  # between two looks at our own addresses: a third of a millisecond each
PROVE_SECONDS = 2.0  # for a link to prove that it lives when another one of its person comes: many round trips
REPLACEMENTS = 2  # by another instance of our own key, within the time below, after which this one gives way
REPLACEMENTS_SECONDS = 600.0  # far above the waits between two tries of a copy, far below a day's moving about
STOPPED_SECONDS = 10.0  # a beat so late tells that this program stood still: half of the time for an answer
WAKE_SECONDS = 2.0  # after a dial that failed, in which a new message does not dial again: a flood is not one of dials
INTERNAL_RETRY_SECONDS = 30  # that the other side is asked to wait after an internal error here
FALLBACK_RETRY_SECONDS = 30.0  # where an internal error hides how long a loop has to wait
STEADY_LINK_SECONDS = 10.0  # a chat link that held so long was a good one: the wait before the next dial is short
LOOK_AROUND_SECONDS = 60.0  # how often it is looked whether everything unfinished has a link, a dial or a timer
MAX_OFF_MS = 604_800_000  # of one stop count as waiting at most: a clock that was set wrongly must not expire all
PULSE_SECONDS = 1.0  # how often every link looks at the clock
BEATS_PER_TURN = 200  # links that do so before the reactor turns: 30 ms if each of them is cut
LINKS_CLOSING = 256  # that wait for the other side's goodbye; beyond that the oldest is cut: 20 MB
FLOOD_SECONDS = 30.0  # of frames above their rate without a break: then the link ends, however little of it is read
TURN_SHARE_SECONDS = 0.01  # of a turn of the reactor for handshakes and ends: about ten
ACCEPTS_PER_TURN = 128  # connections taken from the kernel in a turn: 5 ms; with fewer all would wait in its queue
WAITING_FOR_EACH_PLACE = 2  # connections for each place of an unproven one, a descriptor each: a herd of hundreds
MAX_KNOWN_KEYS = 10_000  # known keys whose addresses are remembered: about 5 MB
MAX_PROVEN_SOURCES = 4  # of each, the latest: at home, at work, on the way
KNOWN_SOURCE_PLACES = 8  # reserved places of one known source at a time: it may be shared with an attacker
FAREWELLS_PER_TURN = 100  # links that a program which ends says goodbye to: about 10 ms
NAMES_KEPT_PART = 10  # the last tenth of a registry's names is for networks that have none
NEARLY_FULL = 0.8  # of a registry's names: then its operator is told
FORMER_FIDS = 10_000  # of transfers that are dropped, and whose number no other one gets: about 2 MB
MAX_SOURCES = 10_000  # sources whose rate is remembered: about 3 MB
DATABASE_BUSY_MS = 5_000
GROUP_COMMIT_ROWS = 64  # writes gathered while one commit runs
TOGETHER_ROWS = 256  # messages that are one write: to show and send them is a turn of 10 ms
HISTORY_PAGE = 200  # rows a call of history() gives at most
INDEX_ROWS = 2_000  # rows whose words are indexed at once: about 20 ms of the store's thread
EXPORT_ROWS = 1_000  # rows read and written at once by an export
PROBE_BYTES = 65_536  # what the trial of a failing disk writes: more than a message needs
SEARCH_PAGE = 100  # rows a call of search() gives at most
SEARCH_ROWS = 10_000  # rows that one call looks at: well under 100 ms
CLOCK_SLACK_MS = 86_400_000  # how far a clock that was set may have put rows out of their order in time
MAX_DRAFT_CHARS = 1_000_000  # of a draft that are kept; longer is no draft
MAX_PASTE_CHARS = 65_536  # that the editor takes, four messages: each key lays it out anew
LIVE_MESSAGES = 500  # rows a pane keeps before it asks the store again
WRITE_BACK_BYTES = 524_288  # written and sent on to the disk; twice as much is what a commit beside it waits behind
LAST_DAY_MS = 253_402_128_000_000  # 31 December 9999: calendars end there
LATEST_FILE_MS = 4_102_444_800_000  # times of files from 2100 on are no times
LOG_BYTES = 5_000_000
LOG_FILES = 5
LAST_WORDS_SECONDS = 1.0  # that a program which ends waits for a terminal that does not read them
TERMINAL_BACKLOG_BYTES = 1_048_576  # not yet taken by the terminal: one frame of the largest, with colours
DOUBLE_CLICK_SECONDS = 0.4
QUESTION_SECONDS = 0.4  # on the screen before a key answers it: faster, the key was meant for what stood there before
COMPARED_SECONDS = 1_800.0  # after digits were on the screen they can be said to be the same: longer than any reading
DRAW_SECONDS = 0.03  # draws that were not caused by a key are gathered this long
DRAW_REST = 4.0  # times what the last draw took until the next one that no key caused: a fifth of the time is drawing
KEY_DRAW_REST = 1.0  # the same for a key: what is typed is seen soon, and half of the time is left for the network
MESSAGE_ROWS = 200  # of a message that are laid out, several screens: 5 ms at most; the rest when it is opened
ASK_SECONDS = 30.0  # between two questions on one chat link how a broken transfer stands: an answer may have failed
SETTLE_SECONDS = 5.0  # after the question about an offer: an answer out of the other side's store has come by then
SPACE_SECONDS = 5.0  # between two looks whether the disk has space again for what it holds up
DISK_BLOCK_BYTES = 4_096  # what a file or a folder takes of most disks beside its content
OFFER_OVERHEAD = 8_192  # bytes of memory for an offer beside its pages: what people see of it, and its rules
FREE_INODES = 1_000  # files that a transfer leaves room for on the disk
SPACE_LOOK_BYTES = 4_194_304  # of small files written between two looks at the free space
OFFER_PAGE_OVERHEAD = 128  # bytes of memory and disk for each page of an offer beside its content
LATE_LINKS = 5  # file links of one transfer that do not come, in a row, before it has failed
LEAST_SPEED = 16_384  # bytes a second that a speed limit may be: slower looks like a dead connection
PROGRESS_SECONDS = 0.25  # progress of a transfer is told at most four times a second


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    """The number ``text`` as the value of a limit; ValueError says what is wrong with it."""
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"--limit {name} is a number, not '{text}'") from None
    if not 0 < value < float("inf"):
        raise ValueError(f"--limit {name} must be above 0")
    return value


def _limit(default: Any, reason: str, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"reason": reason, "choices": choices})


@dataclass(frozen=True)
class LinkLimits:
    """What holds on every connection, whoever listens."""

    handshake_seconds: float = _limit(10.0, "from accept to a finished TLS handshake: stops slow handshakes")
    hello_seconds: float = _limit(5.0, "from there to the first frame")
    frame_seconds: float = _limit(30.0, "a frame once begun must be complete")
    ping_seconds: float = _limit(30.0, "a quiet link says so, spread by a fifth either way")
    silence_seconds: float = _limit(75.0, "nothing heard for so long: the other side is gone")
    awaited_ping_seconds: float = _limit(5.0, "a link with something unacknowledged is asked so soon whether it lives")
    awaited_silence_seconds: float = _limit(20.0, "nothing heard for so long while something is unacknowledged")
    drain_seconds: float = _limit(30.0, "a reader that takes nothing for so long is dropped")
    close_seconds: float = _limit(3.0, "an orderly close that the other side does not finish is cut")
    connect_seconds: float = _limit(5.0, "to one address, before the next failure is final")
    source_connects_per_minute: int = _limit(
        60, "new connections of one IPv4 address or IPv6 /64; a /24 or /56 has twice, a /48 four times as many"
    )
    source_connects_burst: int = _limit(200, "of those at once: an office behind one address that starts up")
    source_unauthenticated: int = _limit(100, "connections of one address that have not said HELLO; wider: as above")
    frames_per_second: float = _limit(20.0, "of one link that answer nothing and have no rate of their own")
    frames_burst: int = _limit(300, "of those at once; then its reading waits")
    strikes: int = _limit(3, "frames that cannot be, of one key within strike_seconds: then it is refused as long")
    strike_seconds: float = _limit(600.0, "of those: a defective program is not shut out for good")
    loopback: str = _limit("free", "'counted' puts the per-source limits on loopback too", ("free", "counted"))

    def changed(self, assignment: str) -> Self:
        """These limits with ``NAME=VALUE`` applied; ValueError says what is wrong."""
        name, equals, text = assignment.partition("=")
        known = {f.name: f for f in dataclasses.fields(self) if "reason" in f.metadata}
        if not equals or name not in known:
            raise ValueError(f"--limit takes NAME=VALUE with a NAME that --limits shows, not '{assignment}'")
        present = getattr(self, name)
        if isinstance(present, str):
            choices = known[name].metadata["choices"]
            if text not in choices:
                raise ValueError(f"--limit {name} is {' or '.join(map(repr, choices))}, not '{text}'")
            changes: dict[str, Any] = {name: text}
            return dataclasses.replace(self, **changes)
        changes = {name: _number(name, text, type(present))}
        return dataclasses.replace(self, **changes)

    def differences(self, other: Self) -> Iterator[tuple[str, Any, Any]]:
        """Name, value here and value there of each limit that is another there."""
        for item in dataclasses.fields(self):
            here, there = getattr(self, item.name), getattr(other, item.name)
            if here != there:
                yield item.name, here, there

    def rows(self) -> Iterator[str]:
        """One line a limit: name, value, reason."""
        for item in dataclasses.fields(self):
            if "reason" in item.metadata:
                yield f"{item.name:<30} {getattr(self, item.name)!s:>12}  {item.metadata['reason']}"


@dataclass(frozen=True)
class RegistryLimits(LinkLimits):
    """The registry's own."""

    frames_per_second: float = _limit(2.0, "of one peer, pings for the most part: 10,000 peers take half a processor")
    frames_burst: int = _limit(60, "of those at once; then its reading waits")
    unauthenticated: int = _limit(256, "handshakes and HELLOs under way in all: about 22 MB of buffers")
    reserved_unauthenticated: int = _limit(64, "more of those, for the addresses of registered peers")
    connections: int = _limit(10_000, "authenticated connections; also at most the file descriptors less 1,280")
    queue_bytes: int = _limit(262_144, "of answers to one peer not yet taken; pushes wait for the reader by themselves")
    send_buffer_bytes: int = _limit(131_072, "kernel memory for one reader that does not read")
    push_seconds: float = _limit(0.02, "changes gathered before they are told: coalesces a storm of logins")
    new_names_per_hour: int = _limit(
        200, "first claims from one IPv4 address or IPv6 /64; a /24 or /56 has twice, a /48 four times as many"
    )
    claims: int = _limit(100_000, "names bound in all; the last tenth is for networks that have none")
    lookups_per_second: int = _limit(50, "signed records asked for by one peer")
    lookups_burst: int = _limit(500, "of those at once")
    announces_per_minute: int = _limit(30, "changes of address by one peer; as many at once")
    departures: int = _limit(10_000, "peers that left and are remembered for who returns with an old cursor")
    grace_seconds: float = _limit(90.0, "who was here before a restart is presumed present, and leaves unless back")
    keep_seconds: float = _limit(0.25, "changes gathered before they are written: what a crash may lose")
    probe: str = _limit("on", "'off': addresses are not dialled back, and none is marked as proven", ("on", "off"))
    probes_at_once: int = _limit(16, "addresses dialled back at a time")
    probe_seconds: float = _limit(60.0, "between two probes of one key: against reflection")
    probe_timeout_seconds: float = _limit(5.0, "for a probed address to connect, greet and part")
    proofs_seconds: float = _limit(1.0, "proven addresses gathered before they are told: a storm costs a few pushes")
    replace_seconds: float = _limit(5.0, "between two replacements of one key's connection: two copies of a key")
    traffic_log_seconds: float = _limit(60.0, "between two lines with the bytes in and out, if they changed")


# Taken once, when the registry starts; every other limit is looked at when it is applied.
NEEDS_RESTART = frozenset(
    {"unauthenticated", "reserved_unauthenticated", "queue_bytes", "send_buffer_bytes", "push_seconds"}
    | {"new_names_per_hour", "departures", "grace_seconds", "traffic_log_seconds"}
)


@dataclass(frozen=True)
class PeerLimits(LinkLimits):
    """The peer's own; ``budgets`` are changed by ``NAME.LEVEL=VALUE``, or ``NAME=VALUE`` for the level ``all``."""

    budgets: PeerBudgets = field(default_factory=PeerBudgets)
    unauthenticated: int = _limit(32, "handshakes and HELLOs under way in all")
    reserved_unauthenticated: int = _limit(16, "more of those, for the addresses of known people")
    queue_bytes: int = _limit(1_048_576, "of frames to one peer not yet taken by the transport")
    dials_at_once: int = _limit(8, "dials under way")
    dials_per_minute: int = _limit(30, "to addresses that have not proven their key: against reflection")
    dial_spacing_seconds: float = _limit(5.0, "between two dials to one unproven address")
    dial_stagger_seconds: float = _limit(0.25, "before the next address of a peer is tried beside the first (RFC 8305)")
    idle_seconds: float = _limit(600.0, "a link without a message for so long is put down; the next one dials again")
    stranger_messages_per_second: int = _limit(50, "from somebody we never wrote to, by back-pressure")
    stranger_messages_burst: int = _limit(200, "of those at once")
    messages_per_second: int = _limit(2_000, "from the others, by back-pressure")
    messages_burst: int = _limit(4_000, "of those at once")
    offers_per_minute: int = _limit(5, "file offers from one peer")
    offers_pending: int = _limit(3, "unanswered offers from one peer")
    stranger_offer_files: int = _limit(1_000, "files and folders in one offer of a stranger: what a person looks at")
    offer_page_seconds: float = _limit(30.0, "for the next page of an offer whose last page has not come")
    transfers_per_peer: int = _limit(2, "running transfers with one peer, each way")
    transfers: int = _limit(4, "running transfers in all, each way")
    send_window: int = _limit(512, "messages sent to one peer and not yet acknowledged")
    dial_me_seconds: float = _limit(5.0, "a sender's dial before it asks the receiver to dial instead")
    file_link_seconds: float = _limit(30.0, "an accepted transfer's connection must have come")
    free_bytes_reserve: int = _limit(268_435_456, "space that a transfer leaves free on the disk")
    write_ahead_bytes: int = _limit(1_048_576, "of a file received and not yet written, before reading stops")
    checks_per_day: int = _limit(3, "short codes compared with one key: each is a chance in a million to be fooled")
    check_seconds: float = _limit(60.0, "for the three steps of a short code")
    retry_cap_seconds: float = _limit(900.0, "longest wait between two dials to a peer that does not answer")
    retry_listed_seconds: float = _limit(20.0, "the same while something waits and the peer is in the list")
    expire_days: float = _limit(30.0, "a message that nobody took for so long expires; its writer can send it again")
    expire_check_seconds: float = _limit(3_600.0, "between two looks for such messages")
    store_retry_seconds: float = _limit(5.0, "a disk that took nothing is tried again")

    def changed(self, assignment: str) -> Self:
        name, equals, text = assignment.partition("=")
        budget, dot, level = name.partition(".")
        levels = self.budgets.levels(budget)
        if not equals or not levels:
            return super().changed(assignment)
        if dot and level not in levels:
            raise ValueError(f"--limit {budget} has the levels {', '.join(levels)}, not '{level}'")
        value = int(_number(name, text, int))
        return dataclasses.replace(self, budgets=self.budgets.changed(budget, level or levels[0], value))

    def rows(self) -> Iterator[str]:
        """One line a limit, then one a budget: name, shares, unit and reason."""
        yield from super().rows()
        yield from self.budgets.rows()
