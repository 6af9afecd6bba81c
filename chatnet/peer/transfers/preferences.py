"""A person's settings for all transfers: speed limits, and whose offers are answered without asking."""

from __future__ import annotations

from chatnet.core.errors import LocalError
from chatnet.core.events import FileRule, SpeedLimits
from chatnet.core.identity import PeerID
from chatnet.core.limits import LEAST_SPEED
from chatnet.core.transfer.speed import Pace
from chatnet.peer.store.peer_store import PeerStore

SPEED_SETTINGS = ("speed_up", "speed_down")


class TransferPreferences:
    """They last; ``up`` and ``down`` are what all transfers together keep to."""

    def __init__(self, store: PeerStore) -> None:
        self.up, self.down = Pace(), Pace()
        self._store = store
        self._rules: dict[PeerID, FileRule] = {}

    async def recall(self) -> None:
        self._rules = await self._store.transfers.file_rules()
        for pace, name in zip((self.up, self.down), SPEED_SETTINGS, strict=True):
            pace.rate = int(await self._store.settings.get(name) or 0) or None

    def speed_limits(self) -> SpeedLimits:
        return SpeedLimits(self.up.rate, self.down.rate)

    def limit(self, up: int | None, down: int | None) -> None:
        """Limit the bytes a second, from now on.  Raises LocalError("too-slow")."""
        for speed in (up, down):
            if speed is not None and speed < LEAST_SPEED:
                raise LocalError("too-slow", f"{LEAST_SPEED // 1024} KiB/s is the lowest limit.")
        self.up.rate, self.down.rate = up, down

    async def keep_limits(self) -> None:
        for name, speed in zip(SPEED_SETTINGS, (self.up.rate, self.down.rate), strict=True):
            await self._store.settings.put(name, str(speed or 0))

    def rule(self, peer: bytes) -> FileRule:
        """Return the rule for the offers of ``peer``."""
        return self._rules.get(PeerID(peer), FileRule())

    async def set_rule(self, peer: bytes, rule: FileRule) -> FileRule:
        """Set the rule for offers of ``peer``, and return it; it holds from the next offer on.  Raises StoreFailed."""
        await self._store.transfers.set_file_rule(PeerID(peer), rule)
        self._rules[PeerID(peer)] = rule
        return rule

    def drop_rule(self, peer: PeerID) -> None:
        """Forget the rule for ``peer``: the store has none any more."""
        self._rules.pop(peer, None)
