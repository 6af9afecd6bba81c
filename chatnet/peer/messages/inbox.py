"""Incoming messages: stores and then acknowledges them, within limits on their rate and on what waits for the disk.

Those of one turn of the reactor are one job for the store and one ack.  From a blocked key nothing new is
taken; what it says again and is stored already is acknowledged, since that is the truth (fault A13).
From a stranger as many are taken as ``Requests`` has room for, one batch after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from chatnet.core import messages
from chatnet.core.bucket import Buckets
from chatnet.core.directory.roster import Roster
from chatnet.core.errors import StoreFailed
from chatnet.core.identity import PeerID, conversation_of
from chatnet.core.limits import MAX_ACKS, MAX_SOURCES, NO_ROOM_RETRY_SECONDS, STORING_ROWS, PeerLimits
from chatnet.core.messages import Ack, Nack, Say
from chatnet.host.database import Chain
from chatnet.net.background import BackgroundTasks
from chatnet.net.link import Link, LinkEnd
from chatnet.net.timers import cancel_timer
from chatnet.peer.messages.requests import NO_SPACE, Requests
from chatnet.peer.messages.row_listener import RowListener
from chatnet.peer.store.messages import Incoming
from chatnet.peer.store.peer_store import PeerStore

SHORTEST_HOLD_SECONDS = 0.05  # fewer turns for who sends at the limit


class _Inbound:
    """The incoming messages of one link.  Their rate is the peer's, so that another link does not reset it."""

    def __init__(self, conversation: bytes) -> None:
        self.conversation = conversation
        self.arrived: list[Say] = []  # in this turn of the reactor: stored together
        self.storing = 0  # with these
        self.chain = Chain()  # one that is not stored takes those behind it along: the order stays
        self.timers: set[IDelayedCall] = set()


class Inbox:
    """Stores and acknowledges incoming messages.  ``rows`` is told of every new row.

    It is a ``Waiter`` of ``Contacts`` that never waits for anybody.
    """

    log = Logger("chatnet.inbox")

    def __init__(
        self,
        clock: Any,
        limits: PeerLimits,
        store: PeerStore,
        roster: Roster,
        requests: Requests,
        rows: RowListener,
        wall_ms: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._store = store
        self._roster = roster
        self._requests = requests
        self._rows = rows
        self._wall_ms = wall_ms
        self._inbound: dict[Link, _Inbound] = {}
        self._known_rates = Buckets(limits.messages_per_second, limits.messages_burst, MAX_SOURCES)
        self._stranger_rates = Buckets(limits.stranger_messages_per_second, limits.stranger_messages_burst, MAX_SOURCES)
        self._tasks = BackgroundTasks(self.log)

    def waits_for(self, peer: PeerID) -> bool:
        """Return False: incoming messages wait at their senders."""
        return False

    def link_up(self, link: Link) -> None:
        inbound = self._inbound[link] = _Inbound(conversation_of(self._roster.me, link.peer))
        owed_seconds = self._rates(link.peer).spend(link.peer, self._clock.seconds(), 0)
        if owed_seconds > 0:
            self._hold(link, inbound, owed_seconds)

    def link_down(self, link: Link, end: LinkEnd) -> None:
        """Store what came, although it cannot be acknowledged: it need not come again."""
        self._drop(link)

    def _drop(self, link: Link) -> None:
        inbound = self._inbound.pop(link, None)
        if inbound is not None:
            for timer in inbound.timers:
                cancel_timer(timer)
            self._store_arrived(link, inbound)

    def stop(self) -> None:
        for link in tuple(self._inbound):
            self._drop(link)
        self._tasks.stop()

    def _rates(self, peer: PeerID) -> Buckets:
        return self._stranger_rates if self._roster.is_stranger(peer) else self._known_rates

    def say(self, link: Link, say: Say) -> None:
        peer, inbound = link.peer, self._inbound.get(link)
        if inbound is None:  # the link is on its way out: it will be sent again
            return
        if say.conversation != inbound.conversation:
            link.send(Nack(say.id, messages.UNKNOWN_CONVERSATION))
            return
        owed_seconds = self._rates(peer).spend(peer, self._clock.seconds())
        if owed_seconds > 0:
            self._hold(link, inbound, owed_seconds)
        inbound.storing += 1
        if inbound.storing >= STORING_ROWS:
            link.pause_reading("store")
        if not inbound.arrived:
            inbound.timers = {timer for timer in inbound.timers if timer.active()}
            inbound.timers.add(self._clock.callLater(0, self._store_arrived, link, inbound))
        inbound.arrived.append(say)

    def _store_arrived(self, link: Link, inbound: _Inbound) -> None:
        says, inbound.arrived = inbound.arrived, []
        if says and link.peer in self._roster.blocked:
            known = self._store.messages.heard_before(link.peer, says)
            known.addCallbacks(self._turn_away, self._failed, (link, inbound, says), {}, (link,), {})
            known.addErrback(lambda failure: self.log.failure("internal error while refusing a message", failure))
        elif says and self._roster.is_stranger(link.peer):
            link.pause_reading("request")
            taking = self._tasks.spawn(self._take_of_stranger(link, inbound, says), "storing messages of a stranger")
            taking.addBoth(lambda _: link.resume_reading("request"))
        elif says:
            adding = self._store.messages.add_incoming(link.peer, says, self._wall_ms(), inbound.chain)
            adding.addCallbacks(self._stored, self._failed, (link, inbound), {}, (link,), {})
            adding.addErrback(lambda failure: self.log.failure("internal error while storing a message", failure))

    async def _take_of_stranger(self, link: Link, inbound: _Inbound, says: list[Say]) -> None:
        """Store what there is room for, and acknowledge what came before; with the first other one the link ends."""
        requests, peer, no_room = self._requests, link.peer, None
        charged: list[bytes] = []
        taken: list[Say] = []
        stored: list[Incoming] = []
        try:
            has_space = await requests.has_space()
            known = await self._store.messages.heard_before(peer, says)
            if peer in self._roster.blocked:
                self._turn_away(known, link, inbound, says)
                return
            for say, is_stored in zip(says, known, strict=True):
                if is_stored or requests.is_charged(peer, say.id) or not self._roster.is_stranger(peer):
                    taken.append(say)
                    continue
                no_room = no_room or (requests.admit(link, say.id, say.body) if has_space else NO_SPACE)
                if no_room is None:
                    charged.append(say.id)
                    taken.append(say)
            if taken:
                adding = self._store.messages.add_incoming(
                    peer, taken, self._wall_ms(), inbound.chain, requests.source(peer)
                )
                stored = await adding
        except StoreFailed:
            self._failed(Failure(), link)
        finally:
            new = {incoming.message.id for incoming in stored if incoming.outcome == "stored"}
            for id in charged:
                if id not in new:
                    requests.give_back(peer, id)
        self._stored(stored, link, inbound)
        self._stored_some(len(says) - len(stored), link, inbound)
        if no_room is not None:
            link.close(no_room.code, no_room.text, NO_ROOM_RETRY_SECONDS)

    def _turn_away(self, known: list[bool], link: Link, inbound: _Inbound, says: list[Say]) -> None:
        """Take nothing new from a blocked key: acknowledge what is stored already, and refuse the rest."""
        self._stored_some(len(says), link, inbound)
        self._acknowledge(link, [say.id for say, stored in zip(says, known, strict=True) if stored])
        for say, stored in zip(says, known, strict=True):
            if not stored:
                link.send(Nack(say.id, messages.NOT_ACCEPTED))

    def _hold(self, link: Link, inbound: _Inbound, seconds: float) -> None:
        """Stop reading from a link that is too quick, until the bucket has a token again."""
        link.pause_reading("rate")

        def go_on() -> None:
            inbound.timers.discard(timer)
            link.resume_reading("rate")

        timer = self._clock.callLater(max(seconds, SHORTEST_HOLD_SECONDS), go_on)
        inbound.timers.add(timer)

    def _stored(self, stored: list[Incoming], link: Link, inbound: _Inbound) -> None:
        self._stored_some(len(stored), link, inbound)
        acks: list[bytes] = []
        for incoming in stored:
            row = incoming.message
            if incoming.outcome == "conflict":
                self.log.info("{link} sent two texts with one id", link=link)
                link.send(Nack(row.id, messages.CONFLICT))
                link.strike()
                continue
            acks.append(row.id)
            if incoming.outcome == "stored":
                self._rows.added(row)
        self._acknowledge(link, acks)

    def _stored_some(self, count: int, link: Link, inbound: _Inbound) -> None:
        inbound.storing -= count
        if inbound.storing < STORING_ROWS // 2:
            link.resume_reading("store")

    def _acknowledge(self, link: Link, ids: list[bytes]) -> None:
        for start in range(0, len(ids), MAX_ACKS):
            link.send(Ack(ids[start : start + MAX_ACKS]))

    def _failed(self, failure: Failure, link: Link) -> None:
        """Close the link, as a message could not be stored.

        Nothing is acknowledged, so the sender keeps it and sends it again.
        """
        if isinstance(failure.value, StoreFailed):
            self.log.info("not stored: {text}", text=failure.value.text)
        else:
            self.log.failure("internal error while storing a message", failure)
        link.close(messages.STORE, "cannot store messages at present", 5)
