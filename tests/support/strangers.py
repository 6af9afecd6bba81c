"""Somebody with a new key, on a machine of its own, who dials a villager."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from chatnet.core.identity import PeerID
from chatnet.core.messages import ROLE_CHAT
from chatnet.net.dialling import Dialler
from chatnet.net.link import Link
from chatnet.net.tls import TLS
from tests.support.links import Recorder, hello, new_identity, settings_for
from tests.support.village import PEER_PORT, Village, Villager


class Stranger(Recorder):
    """See the module; its starter calls ``close``.  Its clock is that of whom it dials."""

    def __init__(self, village: Village, whom: Villager, host: str) -> None:
        super().__init__()
        self._identity = new_identity()
        self._whom = whom
        machine = village.net.machine(host)
        machine.advance(whom.machine.seconds())
        self._dialler = Dialler(machine, TLS(self._identity), settings_for(whom.machine))
        self.dialled: list[Link] = []

    @property
    def peer(self) -> PeerID:
        return self._identity.peer_id

    def dial(self, role: str = ROLE_CHAT, **fields: Any) -> Deferred[Link]:
        """An open link; fails with Refused and the villager's reason."""
        return Deferred.fromCoroutine(self._dial(hello(role, name="stranger", **fields)))

    async def _dial(self, greeting: Any) -> Link:
        link = await self._dialler.dial_host(self._whom.machine.host, PEER_PORT, self, greeting, None)
        self.dialled.append(link)
        return link

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        for link in self.dialled:
            link.abort()
            await link.when_gone()
