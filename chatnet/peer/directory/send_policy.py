"""Decides whether something may be sent to a person now, for messages and for files."""

from __future__ import annotations

from chatnet.core.errors import LocalError
from chatnet.core.identity import PeerID
from chatnet.peer.directory.people import People


class SendPolicy:
    """Checks a receiver before something is stored or offered for them."""

    def __init__(self, people: People) -> None:
        self._people = people

    def check(self, peer: bytes) -> PeerID:
        """Return ``peer`` if a message may go there; raise LocalError("unknown-peer" | "blocked") if not.

        A message to somebody whose key has changed may be written: it is held until the person has decided.
        What is for a key that another one was taken for goes to that one.
        """
        known = self._people.known(self._people.roster.current(PeerID(peer)))
        if known in self._people.roster.blocked:
            name = self._people.name_of(known)
            raise LocalError("blocked", f"You have blocked {name}.")
        return known

    def check_offer(self, peer: bytes) -> PeerID:
        """Check as ``check`` does, for files, which wait for one key.

        Raises also LocalError("held") if the key has changed.
        """
        known = self.check(peer)
        if self._people.roster.new_key(known) is not None:
            raise LocalError("held", f"{self._people.name_of(known)} has another key now. Nothing is sent to it.")
        return known
