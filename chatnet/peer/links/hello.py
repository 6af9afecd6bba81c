"""Makes the HELLO and WELCOME of a peer, and the signed record for a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from chatnet.core.errors import RemoteError
from chatnet.core.identity import PeerID
from chatnet.core.limits import SEQ_STEP
from chatnet.core.messages import VERSION, Hello, VersionRange, Welcome
from chatnet.core.records import Endpoint, SignedRecord, sign_record, verify_record
from chatnet.net.identity import Identity
from chatnet.net.link import Link
from chatnet.peer.store.peer_store import PeerStore


class HelloBuilder:
    """Makes every HELLO and WELCOME of one login.

    ``features`` are the words of what this program can do, told on every link; ``instance`` is 16
    bytes that are new at each start; ``wall`` gives the time of day in seconds.
    """

    def __init__(
        self,
        identity: Identity,
        name: str,
        features: Iterable[str],
        instance: bytes,
        store: PeerStore,
        wall: Callable[[], float],
    ) -> None:
        self.name = name
        self.features = frozenset(features)
        self.instance = instance
        self._identity = identity
        self._store = store
        self._wall = wall

    def welcome(self, link: Link) -> Welcome:
        return Welcome(VERSION, sorted(self.features), self.instance, self.name, link.observed)

    def hello(self, role: str, **fields: Any) -> Hello:
        return Hello(VersionRange(VERSION, VERSION), sorted(self.features), role, self.instance, self.name, **fields)

    async def record(self, endpoints: list[Endpoint], outdated: bool) -> SignedRecord:
        """Return our signed record: a new one, with a higher number, only if it says something new, or is ``outdated``.

        The number is the time where that is higher: with a key whose database was lost we are not older than we were.
        """
        me = self._identity.peer_id
        former = await self._store.peer_list.record(me)
        if not outdated and former is not None and _said_in(former, me) == (self.name, endpoints):
            return former
        now = self._wall()
        seq = await self._store.next_seq(round(now), SEQ_STEP if outdated else 1)
        key, sign = self._identity.public_key, self._identity.sign
        record = sign_record(key, sign, self.name, endpoints, seq, round(now * 1000))
        await self._store.peer_list.save_record(me, record, seq)
        return record


def _said_in(record: SignedRecord, owner: PeerID) -> tuple[str, list[Endpoint]] | None:
    """Return name and endpoints of a record of ours; None if it does not hold."""
    try:
        fields = verify_record(record, owner)
    except RemoteError:
        return None
    return fields.name, list(fields.endpoints)
