"""Every number that limits something, with its reason.

Constants belong to the wire and cannot be changed alone; fields of ``RegistryLimits`` and
``PeerLimits`` are shown and changed by their names (``host/options.py``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

from chatnet.core.budgets import PeerBudgets
from chatnet.core.closest import did_you_mean

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
PEOPLE_REMEMBERED = 1_000  # who were listed and are not, the latest, so that one can write to them: 1 MB in memory
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
OWN_FILES = 192  # that a registry has open beside connections of others: database, log, ports, its own dials, metrics
FEW_FILES_PART = 8  # of the files that a registry may open one in so many is for strangers, where there are too few
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
OFFERED_NAMES_PAGE = 200  # names of an offer that a call gives at most: several screens
NAMES_PAGES_KEPT = 20  # of these that the console keeps of one offer
SHOWN_PATH_CHARS = 1_000  # of an offered path
HISTORY_PAGE = 200  # rows a call of history() gives at most
INDEX_ROWS = 2_000  # rows whose words are indexed at once: about 20 ms of the store's thread
EXPORT_ROWS = 1_000  # rows read and written at once by an export
PROBE_BYTES = 65_536  # what the trial of a failing disk writes: more than a message needs
SEARCH_PAGE = 100  # rows a call of search() gives at most
SEARCH_ROWS = 10_000  # rows that one call looks at: well under 100 ms
CLOCK_SLACK_MS = 86_400_000  # how far a clock that was set may have put rows out of their order in time
LATE_MS = 60_000  # a message that was stored so long after it was written is shown as late
OLDEST_WRITTEN_MS = 30 * 86_400_000  # before the row before it: an older time of writing is a wrong clock's
MAX_DRAFT_CHARS = 1_000_000  # of a draft that are kept; longer is no draft
MAX_PASTE_CHARS = 65_536  # that the editor takes, four messages: each key lays it out again
LIVE_MESSAGES = 500  # rows a pane keeps before it asks the store again
WRITE_BACK_BYTES = 524_288  # written and sent on to the disk; twice as much is what a commit beside it waits behind
LAST_DAY_MS = 253_402_128_000_000  # 31 December 9999: calendars end there
LATEST_FILE_MS = 4_102_444_800_000  # times of files from 2100 on are no times
CONFIG_BYTES = 131_072  # of a configuration file: the one in etc, with every setting and its comment, has 2 KB
CONFIG_LINE_CHARS = 200  # of a line of it, in which its key is looked for
CONFIG_WARNINGS = 10  # about one configuration file: more than fit on a screen help nobody
START_WAIT_SECONDS = 20.0  # that the process in front waits for the one behind: longer than a first try at the registry
START_REPORT_BYTES = 4_096  # from the process behind: PIPE_BUF of Linux, which is written whole or not at all
FAILED_START_SECONDS = 5.0  # that it waits for the end of one that could not start: as long as an orderly stop takes
LOG_BYTES = 5_000_000
LOG_FILES = 5
KEPT_CHOICE_BYTES = 256  # of the file of a choice that is kept: it is one word
LAST_WORDS_SECONDS = 1.0  # that a program which ends waits for a terminal that does not read them
TERMINAL_BACKLOG_BYTES = 1_048_576  # not yet taken by the terminal: one frame of the largest, with colours
DOUBLE_CLICK_SECONDS = 0.4
COMPLETIONS = 200  # of what Tab finds that are worth cycling through
FOLDER_NAMES_LOOKED_AT = 500_000  # by Tab, in a thread: under a second; of a larger folder it says nothing
PICKER_NAMES = 20_000  # of one folder that the file picker shows: more nobody looks through
FOLDER_THREADS = 4  # of the console that wait for a disk at a time: what is asked beyond that is refused
DROPPED_PATHS = 100  # files that are dropped on the window at once; more lines of paths are a text
ALERT_SECONDS = 5.0  # between two notices on the desktop: what comes meanwhile is told together
ALERT_CHARS = 120  # of a notice: about what a desktop shows
MUTED = 1_000  # people of whom no notice is given
WARNING_CHARS = 400  # of a warning about the start that the first tab shows: five rows
QUESTION_CHARS = 400  # of a question in the footer: as many rows as it has in a window of 80 columns
QUESTION_SECONDS = 0.4  # on the screen before a key answers it: faster, the key was meant for what stood there before
COMPARED_SECONDS = 1_800.0  # after digits were on the screen they can be said to be the same: longer than any reading
DRAW_SECONDS = 0.03  # draws that were not caused by a key are gathered this long
DRAW_REST = 4.0  # times what the last draw took until the next one that no key caused: a fifth of the time is drawing
KEY_DRAW_REST = 1.0  # the same for a key: what is typed is seen soon, and half of the time is left for the network
MESSAGE_ROWS = 200  # of a message that are laid out, several screens: 5 ms at most; the rest when it is opened
ASK_SECONDS = 30.0  # between two questions on one chat link how a broken transfer stands: an answer may have failed
OFFER_PACE = 0.9  # of the offers a minute that a peer takes, so many are made: they do not arrive evenly
LOOK_SECONDS = 20.0  # for a look whether the files of an offer can be sent; then others are offered before it
SETTLE_SECONDS = 5.0  # after the question about an offer: an answer out of the other side's store has come by then
SPACE_SECONDS = 5.0  # between two looks whether the disk has space again for what it holds up
DISK_BLOCK_BYTES = 4_096  # what a file or a folder takes of most disks beside its content
OFFER_OVERHEAD = 8_192  # bytes of memory for an offer beside its pages: what people see of it, and its rules
PACKED_HEAD_BYTES = 1_024  # of a packed page of it, which tell how many it holds: three times what zlib's tables take
FREE_INODES = 1_000  # files that a transfer leaves room for on the disk
SPACE_LOOK_BYTES = 4_194_304  # of small files written between two looks at the free space
OFFER_PAGE_OVERHEAD = 128  # bytes of memory and disk for each page of an offer beside its content
LATE_LINKS = 5  # file links of one transfer that do not come, in a row, before it has failed
LEAST_SPEED = 16_384  # bytes a second that a speed limit may be: slower looks like a dead connection
PROGRESS_SECONDS = 0.25  # progress of a transfer is told at most four times a second


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    """Return the number ``text`` as the value of a limit.  Raises ValueError, which says what is wrong with it."""
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"{name} is a number, not '{text}'") from None
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be above 0")
    return value


class UnknownLimit(ValueError):
    """There is no limit of that name."""


def _limit(default: Any, reason: str, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"reason": reason, "choices": choices})


@dataclass(frozen=True)
class LinkLimits:
    """The limits of every connection, in both programs."""

    handshake_seconds: float = _limit(10.0, "a TLS handshake that takes longer is ended")
    hello_seconds: float = _limit(5.0, "the first frame must have come so long after the handshake")
    frame_seconds: float = _limit(30.0, "a frame must be complete so long after its first byte")
    ping_seconds: float = _limit(30.0, "a PING is sent after so long without traffic, varied by a fifth either way")
    silence_seconds: float = _limit(75.0, "a link on which nothing is heard for so long is closed")
    awaited_ping_seconds: float = _limit(5.0, "the same as ping_seconds while something is unacknowledged")
    awaited_silence_seconds: float = _limit(20.0, "the same as silence_seconds while something is unacknowledged")
    drain_seconds: float = _limit(30.0, "a link whose other side reads nothing for so long is closed")
    close_seconds: float = _limit(3.0, "a close that the other side does not finish in this time is cut")
    connect_seconds: float = _limit(5.0, "an attempt to connect to one address fails after this time")
    source_connects_per_minute: int = _limit(
        60, "new connections of one IPv4 address or IPv6 /64; a /24 or /56 has twice, a /48 four times as many"
    )
    source_connects_burst: int = _limit(
        200, "new connections of one source at once: an office behind one address that starts up"
    )
    source_unauthenticated: int = _limit(100, "connections of one address that have not said HELLO; wider: as above")
    frames_per_second: float = _limit(20.0, "frames of one link that answer nothing and have no rate of their own")
    frames_burst: int = _limit(300, "such frames at once; then reading from the link waits")
    strikes: int = _limit(3, "protocol violations of one key within strike_seconds before it is refused")
    strike_seconds: float = _limit(600.0, "for so long a key is refused, and so long its violations count")
    loopback: str = _limit("free", "'counted': the limits for one source hold for loopback, too", ("free", "counted"))

    def changed(self, assignment: str) -> Self:
        """Return these limits with ``NAME=VALUE`` applied.

        Raises ValueError with a text for people, and UnknownLimit where it is NAME that is wrong.
        """
        name, equals, text = assignment.partition("=")
        known = {f.name: f for f in dataclasses.fields(self) if "reason" in f.metadata}
        if not equals:
            raise ValueError(f"'{assignment}' has not the form NAME=VALUE")
        if name not in known:
            raise UnknownLimit(f"there is no limit '{name}'.{did_you_mean(name, known)}")
        present = getattr(self, name)
        if isinstance(present, str):
            choices = known[name].metadata["choices"]
            if text not in choices:
                raise ValueError(f"{name} is {' or '.join(map(repr, choices))}, not '{text}'")
            changes: dict[str, Any] = {name: text}
            return dataclasses.replace(self, **changes)
        changes = {name: _number(name, text, type(present))}
        return dataclasses.replace(self, **changes)

    def differences(self, other: Self) -> Iterator[tuple[str, Any, Any]]:
        """Yield name, value here and value there of each limit that is another there."""
        for item in dataclasses.fields(self):
            here, there = getattr(self, item.name), getattr(other, item.name)
            if here != there:
                yield item.name, here, there

    def rows(self) -> Iterator[str]:
        """Yield one line a limit: name, value, reason."""
        for item in dataclasses.fields(self):
            if "reason" in item.metadata:
                yield f"{item.name:<30} {getattr(self, item.name)!s:>12}  {item.metadata['reason']}"


@dataclass(frozen=True)
class RegistryLimits(LinkLimits):
    """The limits of a registry."""

    frames_per_second: float = _limit(2.0, "frames of one peer, mostly pings: 10,000 peers take half a processor")
    frames_burst: int = _limit(60, "such frames at once; then reading from the peer waits")
    unauthenticated: int = _limit(256, "handshakes and HELLOs under way in all: about 22 MB of buffers")
    reserved_unauthenticated: int = _limit(64, "more of those, for the addresses of registered peers")
    connections: int = _limit(10_000, "authenticated connections; fewer where the system allows too few open files")
    queue_bytes: int = _limit(
        262_144, "answers to one peer that it has not read; pushes wait for the reader in any case"
    )
    send_buffer_bytes: int = _limit(131_072, "kernel memory for a peer that does not read")
    push_seconds: float = _limit(
        0.02, "changes are gathered so long before they are pushed, which coalesces a storm of logins"
    )
    new_names_per_hour: int = _limit(
        200, "first claims from one IPv4 address or IPv6 /64; a /24 or /56 has twice, a /48 four times as many"
    )
    claims: int = _limit(100_000, "names bound in all; the last tenth is for networks that have none")
    lookups_per_second: int = _limit(50, "lookups of signed records by one peer")
    lookups_burst: int = _limit(500, "lookups by one peer at once")
    announces_per_minute: int = _limit(30, "changes of address by one peer; as many at once")
    departures: int = _limit(
        10_000, "peers that left and are remembered for subscribers that return with an old cursor"
    )
    grace_seconds: float = _limit(
        90.0, "peers of before a restart stay listed so long, and leave if they do not return"
    )
    keep_seconds: float = _limit(0.25, "changes are gathered so long before they are saved; a crash may lose them")
    probe: str = _limit("on", "'off': addresses are not dialled back, and none is marked as proven", ("on", "off"))
    probes_at_once: int = _limit(16, "addresses dialled back at a time")
    probe_seconds: float = _limit(60.0, "between two probes of one key, against reflection attacks")
    probe_timeout_seconds: float = _limit(5.0, "for a probed address to connect and to answer HELLO")
    proofs_seconds: float = _limit(1.0, "proven addresses are gathered so long before they are pushed")
    replace_seconds: float = _limit(
        5.0, "between two replacements of one key's connection, as with two copies of a profile"
    )
    traffic_log_seconds: float = _limit(60.0, "between two log lines with the bytes in and out, if they changed")

    @property
    def files(self) -> int:
        """How many files may be open at a time: one for each connection, in whatever state, and our own."""
        unproven = self.unauthenticated * (1 + WAITING_FOR_EACH_PLACE) + self.reserved_unauthenticated
        return self.connections + unproven + LINKS_CLOSING + OWN_FILES

    def within(self, files: int) -> Self:
        """Return these limits where only so many ``files`` may be open.

        Those who have not proven a key yet give room first, down to their part; then fewer peers can be connected.
        """
        if self.files <= files:
            return self
        places = max(1, files // FEW_FILES_PART // (1 + WAITING_FOR_EACH_PLACE))
        less = dataclasses.replace(self, unauthenticated=min(self.unauthenticated, places))
        room = files - (less.files - less.connections)
        return dataclasses.replace(less, connections=max(1, min(less.connections, room)))


# Taken once, when the registry starts; every other limit is looked at when it is applied.
NEEDS_RESTART = frozenset(
    {"unauthenticated", "reserved_unauthenticated", "queue_bytes", "send_buffer_bytes", "push_seconds"}
    | {"new_names_per_hour", "departures", "grace_seconds", "traffic_log_seconds"}
)


@dataclass(frozen=True)
class PeerLimits(LinkLimits):
    """A peer's limits; ``budgets`` are changed by ``NAME.LEVEL=VALUE``, or ``NAME=VALUE`` for the level ``all``."""

    budgets: PeerBudgets = field(default_factory=PeerBudgets)
    unauthenticated: int = _limit(32, "handshakes and HELLOs under way in all")
    reserved_unauthenticated: int = _limit(16, "more of those, for the addresses of known people")
    queue_bytes: int = _limit(1_048_576, "frames to one peer that the transport has not taken")
    dials_at_once: int = _limit(8, "dials under way in all")
    dials_per_minute: int = _limit(30, "dials to addresses that have not proven their key, against reflection attacks")
    dial_spacing_seconds: float = _limit(5.0, "between two dials to one unproven address")
    dial_stagger_seconds: float = _limit(0.25, "before the next address of a peer is tried beside the first (RFC 8305)")
    idle_seconds: float = _limit(600.0, "a link without a message for so long is closed; the next message dials again")
    stranger_messages_per_second: int = _limit(50, "messages from a stranger; the rest waits at the sender")
    stranger_messages_burst: int = _limit(200, "messages from a stranger at once")
    messages_per_second: int = _limit(2_000, "messages from somebody known; the rest waits at the sender")
    messages_burst: int = _limit(4_000, "messages from somebody known at once")
    offers_per_minute: int = _limit(5, "file offers from one peer, and of ours to one: further ones of ours wait here")
    offers_pending: int = _limit(
        3, "unanswered offers from one peer, and of ours to one: further ones of ours wait here"
    )
    stranger_offer_files: int = _limit(
        1_000, "files and folders in one offer of a stranger: as many as a person looks through"
    )
    offer_page_seconds: float = _limit(30.0, "an offer whose next page does not come in this time is dropped")
    transfers_per_peer: int = _limit(2, "running transfers with one peer, each way")
    transfers: int = _limit(4, "running transfers in all, each way")
    send_window: int = _limit(512, "messages sent to one peer and not yet acknowledged")
    dial_me_seconds: float = _limit(5.0, "a sender that cannot connect in this time asks the receiver to dial instead")
    file_link_seconds: float = _limit(30.0, "the connection of an accepted transfer must have come after this time")
    free_bytes_reserve: int = _limit(268_435_456, "space that a transfer leaves free on the disk")
    write_ahead_bytes: int = _limit(1_048_576, "received and not yet written of a file; then reading waits")
    checks_per_day: int = _limit(
        3, "short codes compared with one key: each one is a chance in a million for an attacker"
    )
    check_seconds: float = _limit(60.0, "the three steps of a short code must be done in this time")
    retry_cap_seconds: float = _limit(900.0, "longest wait between two dials to a peer that does not answer")
    retry_listed_seconds: float = _limit(20.0, "the longest wait while something waits and the peer is in the list")
    expire_days: float = _limit(30.0, "a message or an offer that nobody took for so long expires")
    expire_check_seconds: float = _limit(3_600.0, "between two looks for messages and offers that have expired")
    store_retry_seconds: float = _limit(5.0, "a disk that did not take something is tried again after this time")

    def changed(self, assignment: str) -> Self:
        name, equals, text = assignment.partition("=")
        budget, dot, level = name.partition(".")
        levels = self.budgets.levels(budget)
        if not equals or not levels:
            return super().changed(assignment)
        if dot and level not in levels:
            raise ValueError(f"{budget} has the levels {', '.join(levels)}, not '{level}'")
        value = int(_number(name, text, int))
        return dataclasses.replace(self, budgets=self.budgets.changed(budget, level or levels[0], value))

    def rows(self) -> Iterator[str]:
        """Yield one line a limit, then one a budget: name, shares, unit and reason."""
        yield from super().rows()
        yield from self.budgets.rows()
