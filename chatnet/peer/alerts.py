"""What a person wants to be told while they look elsewhere, kept with the profile for whatever front end tells it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chatnet.core.errors import LocalError
from chatnet.core.events import AlertRules, AlertsChanged, Event
from chatnet.core.identity import PeerID
from chatnet.core.limits import MUTED
from chatnet.peer.store.peer_store import PeerStore

SETTING = "alerts"


class AlertPreferences:
    """The rules, and their row in the store."""

    def __init__(self, store: PeerStore, emit: Callable[[Event], None]) -> None:
        self.rules = AlertRules()
        self._store, self._emit = store, emit

    async def recall(self) -> None:
        """Read what is kept; rules that cannot be read are none."""
        kept = await self._store.settings.get(SETTING)
        try:
            self.rules = msgspec.json.decode(kept, type=AlertRules) if kept else AlertRules()
        except msgspec.DecodeError:  # of a newer program
            self.rules = AlertRules()

    async def change(self, rules: AlertRules) -> AlertRules:
        """Keep the rules.  Raises LocalError("too-many"), or StoreFailed; then the former ones hold."""
        if len(rules.muted) > MUTED:
            raise LocalError("too-many", f"{MUTED} people can be muted, not more.")
        await self._store.settings.put(SETTING, msgspec.json.encode(rules).decode())
        self.rules = rules
        self._emit(AlertsChanged(rules))
        return rules

    async def take_key(self, old: PeerID, new: PeerID) -> None:
        """Keep somebody muted who was muted, under another key.  Raises StoreFailed."""
        if old in self.rules.muted:
            muted = dict.fromkeys(new if one == old else one for one in self.rules.muted)
            await self.change(msgspec.structs.replace(self.rules, muted=tuple(muted)))
