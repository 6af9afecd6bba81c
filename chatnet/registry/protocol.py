"""The registry's side of its links: admits peers, lists them, answers them, and removes them.

The rules are the directory's; bytes, pings and deadlines are the link's.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from chatnet.core import messages
from chatnet.core.addresses import is_loopback
from chatnet.core.bucket import TokenBucket
from chatnet.core.budgets import counted_sources
from chatnet.core.directory.directory import Binding, Claimed, Directory, SavedDirectory
from chatnet.core.errors import Refused, RemoteError, StoreFailed
from chatnet.core.identity import PeerID, short_text
from chatnet.core.known_sources import KnownSources
from chatnet.core.limits import NEARLY_FULL, RegistryLimits
from chatnet.core.messages import Announce, Found, Hello, Lookup, Message, Welcome
from chatnet.core.meters import Spread
from chatnet.core.records import Endpoint, RecordFields, SignedRecord
from chatnet.core.source_rates import SourceRates
from chatnet.net.dialling import Dialler
from chatnet.net.link import Link, LinkEnd
from chatnet.net.timers import cancel_timer
from chatnet.registry.probing import Prober
from chatnet.registry.pushing import Pusher
from chatnet.registry.snapshots import SnapshotWriter
from chatnet.registry.store import RegistryStore

EARLY_AT_ONCE = 20  # of those who waited for the start, in one turn: about 10 ms
FULL_RETRY_SECONDS = 60
STORE_RETRY_SECONDS = 30
_LOOPBACK_IP = bytes([127, 0, 0, 1])


@dataclass
class Admitted:
    """One peer that is let in, on one link; ``since`` is when, by the registry's clock."""

    link: Link
    record: SignedRecord
    fields: RecordFields
    since: float
    lookups: TokenBucket
    announces: TokenBucket
    resting: IDelayedCall | None = None  # until when nothing more is read from it

    def __str__(self) -> str:
        return f"{self.fields.name} {short_text(self.link.peer)} {self.link.address}"


class RegistryProtocol:
    """A LinkUser.

    ``wall_ms`` gives the time of day in milliseconds; ``instance`` is 16 bytes that are new at each
    start; ``known_sources`` hears where registered peers come from; ``features`` are the words of what this registry
    can do, told in every WELCOME.
    """

    log = Logger("chatnet.registry")

    def __init__(
        self,
        clock: IReactorTime,
        wall_ms: Callable[[], int],
        directory: Directory,
        store: RegistryStore,
        limits: RegistryLimits,
        instance: bytes,
        dialler: Dialler,
        known_sources: KnownSources,
        name: str = "registry",
        features: Iterable[str] = (),
    ) -> None:
        self._clock = clock
        self._wall_ms = wall_ms
        self._directory = directory
        self._store = store
        self._limits = limits
        self._instance = instance
        self._known_sources = known_sources
        self._name = name
        self._features = frozenset(features)
        self._pusher = Pusher(clock, directory, limits.push_seconds)
        self._keeper = SnapshotWriter(clock, directory, store, limits, self._changed)
        self._prober = Prober(clock, dialler, limits, instance, name, self._features, self._reached)
        self._counts_loopback = limits.loopback == "counted"
        self._new_names = SourceRates(
            limits.new_names_per_hour / 3600, limits.new_names_per_hour, count_loopback=self._counts_loopback
        )
        self._told_nearly_full = False
        self._early: deque[Deferred[None]] = deque()  # who came before the names were read
        self._begun = False
        self._answering: IDelayedCall | None = None
        self._admitted: set[Link] = set()  # from HELLO to the end of the connection
        self._let_in: dict[Link, Admitted] = {}
        self._present: dict[PeerID, Admitted] = {}  # the newest of each key
        self._ended_bytes = (0, 0)
        self.joins = self.leaves = 0
        self.refusals: Counter[str] = Counter()  # by code
        self._stopping = False

    def begin(self, bindings: Iterable[Binding], kept: SavedDirectory) -> None:
        """Begin with the names and the last list, which are read: answer those who wait, and all who come."""
        self._directory.load(bindings)
        self._look_how_full()
        self._keeper.begin(kept)
        self._begun = True
        self._answer_early()

    # --- the link's questions -----------------------------------------------------------------

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        """Let the peer in, or raise Refused or RemoteError with the reason."""
        try:
            return await self._welcome(link, hello)
        except (Refused, RemoteError) as error:
            self.refusals[error.code] += 1
            raise

    async def _welcome(self, link: Link, hello: Hello) -> Welcome:
        if hello.role != messages.ROLE_REGISTRY:
            raise Refused(messages.ROLE_UNKNOWN, "This is a registry: it keeps the list and carries nothing else.")
        if not self._begun:
            waiting: Deferred[None] = Deferred()
            self._early.append(waiting)
            await waiting
        self._admit(link)
        network = self._network_of(link)
        claimed = self._directory.claim(hello.name, link.peer, network)
        if hello.record is None:
            raise RemoteError(messages.BAD_RECORD, "a hello to a registry has a record")
        fields = self._directory.checked(hello.record, link.peer, hello.name)
        if claimed is Claimed.NEW:
            await self._commit(hello.name, link, network)
            self._directory.check_newest(hello.record, fields, link.peer)  # another may have come meanwhile
        else:
            self._store.seen(link.peer, self._wall_ms())
        if not link.gone.called:
            self._let_in[link] = self._newly_admitted(link, hello.record, fields)
        return Welcome(messages.VERSION, sorted(self._features), self._instance, self._name, link.observed)

    def opened(self, link: Link) -> None:
        """List the peer, which has its WELCOME, and tell it the list."""
        new, old = self._let_in[link], self._present.get(link.peer)
        self._present[link.peer] = new
        self.joins += 1
        self._known_sources.learn(link.peer, [link.remote[0]])
        self._list(new)
        self.log.info("registered {peer}", peer=new)
        if old is not None:
            self.log.info("replaced {peer}", peer=old)
            self._pusher.discard(old.link)
            old.link.close(messages.REPLACED, "This key has connected again; a key has one connection.")
        assert isinstance(link.greeting, Hello)
        self._pusher.add(link, self._directory.reader(link.greeting.since, is_local(link)))

    def received(self, link: Link, message: Message) -> None:
        admitted = self._let_in[link]
        if admitted is not self._present.get(link.peer):
            return  # replaced: its last words do not count
        if isinstance(message, Lookup):
            self._spend(admitted, admitted.lookups)
            link.send(Found(message.peer, self._directory.record_of(PeerID(message.peer))))
        elif isinstance(message, Announce):
            self._spend(admitted, admitted.announces)
            admitted.fields = self._directory.checked(message.record, link.peer, admitted.fields.name)
            admitted.record = message.record
            self._list(admitted)
            self.log.info("announced {peer}", peer=admitted)

    def lost(self, link: Link, end: LinkEnd) -> None:
        """Handle the end of a link, however it ended: the peer is gone unless it has a newer one."""
        admitted = self._let_in[link]
        cancel_timer(admitted.resting)
        self._known_sources.learn(link.peer, [link.remote[0]])
        if admitted is self._present.get(link.peer):
            del self._present[link.peer]
            self.leaves += 1
            self._pusher.discard(link)
            self._prober.forget(link.peer)
            if not self._stopping:
                self._directory.leave(link.peer)
                self._changed()
            self.log.info("left {peer}: {code}", peer=admitted, code=end.code)

    def stop(self) -> None:
        """Stop: all leave from now on, which is no change of the list, neither told nor kept."""
        self._stopping = True
        if self._answering is not None:
            self._answering.cancel()
            self._answering = None
        self._pusher.stop()
        self._keeper.stop()
        self._prober.stop()

    async def flush(self) -> None:
        """Write all that is known to disk.  Raises StoreFailed."""
        await self._keeper.flush()
        await self._store.flush()

    # --- what is counted ----------------------------------------------------------------------

    @property
    def listed(self) -> tuple[int, int]:
        """How many the list has, and how many of these are only presumed present."""
        return len(self._directory), self._directory.presumed

    @property
    def push_seconds(self) -> Spread:
        """From a change until the last was told."""
        return self._pusher.seconds

    def queues(self) -> tuple[int, int]:
        """Return how many are still to be told, and how many do not take what they are told."""
        return self._pusher.depths()

    @property
    def fullness(self) -> dict[str, float]:
        """How full what the limits ``claims`` and ``connections`` bound is; 1 is full."""
        connections = len(self._admitted) / self._limits.connections
        return {"claims": self._directory.names_share, "connections": connections}

    @property
    def refused_names(self) -> dict[str, int]:
        """How many new names were refused, by the level of the rate, or why there was none left."""
        return {**self._new_names.refused, **self._directory.refused_names}

    def traffic(self) -> tuple[int, int, int]:
        """Return the open connections, and the bytes in and out of all since the start, without TLS's own."""
        live = self._admitted
        bytes_in, bytes_out = self._ended_bytes
        return (
            len(self._present),
            bytes_in + sum(link.bytes_in for link in live),
            bytes_out + sum(link.bytes_out for link in live),
        )

    # --- letting in ---------------------------------------------------------------------------

    def _answer_early(self) -> None:
        """Answer some who came early in each turn: after a restart all come at once."""
        for _ in range(min(EARLY_AT_ONCE, len(self._early))):
            self._early.popleft().callback(None)
        more = self._early and not self._stopping
        self._answering = self._clock.callLater(0, self._answer_early) if more else None

    def _admit(self, link: Link) -> None:
        """Make sure that there is room, and follow the link to its end."""
        old = self._present.get(link.peer)
        if old is not None and old.link.is_open:
            rest = old.since + self._limits.replace_seconds - self._clock.seconds()
            if rest > 0:
                text = "This key is connected already, since a moment ago. Is it used twice?"
                raise Refused(messages.BUSY, text, math.ceil(rest))
        elif len(self._admitted) >= self._limits.connections:
            text = f"This registry is full: {self._limits.connections} peers are connected."
            raise Refused(messages.BUSY, text, FULL_RETRY_SECONDS)
        self._admitted.add(link)
        link.when_gone().addCallback(self._ended, link)

    async def _commit(self, name: str, link: Link, network: str | None) -> None:
        """Bind ``name`` to the key, on disk; raises Refused."""
        host, now = link.remote[0], self._clock.seconds()
        if not self._new_names.take(host, now):
            text = "Too many new names were claimed from your network lately. Log in with a name you have, or wait."
            raise Refused(messages.BUSY, text, math.ceil(self._new_names.delay(host, now)))
        self._directory.reserve(name, link.peer, network)
        try:
            await self._store.claim(name, link.peer, self._wall_ms(), network)
        except StoreFailed as error:
            self._directory.release(link.peer)
            self.log.error("the name {name} could not be stored: {text}", name=name, text=error.text)
            text = "The registry cannot store names at present."
            raise Refused(messages.STORE, text, STORE_RETRY_SECONDS) from None
        except BaseException:
            self._directory.release(link.peer)
            raise
        self._directory.confirm(link.peer)
        self.log.info("bound {name} to {key}", name=name, key=short_text(link.peer))
        self._look_how_full()

    def _look_how_full(self) -> None:
        """Tell the operator once when most names are taken, and again only after there was more room."""
        share, told = self._directory.names_share, self._told_nearly_full
        self._told_nearly_full = share >= NEARLY_FULL
        if self._told_nearly_full and not told:
            self.log.warn(
                "{percent} % of the names are taken (claims={claims}): when all are, no new peer is let in",
                percent=math.floor(share * 100),
                claims=self._limits.claims,
            )

    def _newly_admitted(self, link: Link, record: SignedRecord, fields: RecordFields) -> Admitted:
        now, limits = self._clock.seconds(), self._limits
        return Admitted(
            link,
            record,
            fields,
            since=now,
            lookups=TokenBucket(limits.lookups_per_second, limits.lookups_burst, now),
            announces=TokenBucket(limits.announces_per_minute / 60, limits.announces_per_minute, now),
        )

    def _network_of(self, link: Link) -> str | None:
        """Return the widest source of the other side; None for one that is not counted."""
        sources = counted_sources(link.remote[0], self._counts_loopback)
        return sources[-1][1] if sources else None

    def _ended(self, end: LinkEnd, link: Link) -> None:
        self._admitted.discard(link)
        self._let_in.pop(link, None)
        bytes_in, bytes_out = self._ended_bytes
        self._ended_bytes = bytes_in + link.bytes_in, bytes_out + link.bytes_out

    # --- while it is here ---------------------------------------------------------------------

    def _list(self, admitted: Admitted) -> None:
        peer, observed = admitted.link.peer, admitted.link.observed
        ip = observed.ip if observed is not None else _LOOPBACK_IP
        before = self._directory.revision
        entry = self._directory.join(admitted.record, admitted.fields, peer, ip)
        if self._directory.revision != before:
            self._changed()
        if observed is not None and entry.endpoints and entry.endpoints[0].ip == ip and not entry.proven:
            self._prober.want(peer, entry.endpoints[0])

    def _reached(self, answered: list[tuple[PeerID, Endpoint]]) -> None:
        """Note that these peers have proven their addresses."""
        for peer, at in answered:
            self._directory.prove(peer, at)
        self._changed()

    def _changed(self) -> None:
        """Let the pusher tell, and the keeper save, that the list changed."""
        self._pusher.changed()
        self._keeper.changed()

    def _spend(self, admitted: Admitted, bucket: TokenBucket) -> None:
        """Spend one token; who has none left is not read from until there is one."""
        now = self._clock.seconds()
        bucket.take(now)
        rest = bucket.delay(now)
        if rest > 0:
            link = admitted.link
            link.pause_reading("rate")
            admitted.resting = self._clock.callLater(rest, link.resume_reading, "rate")


def is_local(link: Link) -> bool:
    """Whether the other side is on this machine; a unix socket is too."""
    return link.observed is None or is_loopback(link.remote[0])
