"""The metrics of a peer: what any client of its API can see, and how full its budgets are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from twisted.application.service import Service

from chatnet.core.budgets import Budget
from chatnet.core.events import (
    ChatMessage,
    Event,
    MessageAdded,
    MessageKind,
    Notice,
    PeopleChanged,
    Person,
    PersonGone,
    Transfer,
    TransferChanged,
)
from chatnet.core.events import TransferState as State
from chatnet.core.messages import STRUCK
from chatnet.core.meters import Measure
from chatnet.peer.api import PeerApi


class PeerMeter(Service):
    """Counts what the API tells from its start to its stop.

    ``budgets`` gives each budget of the peer by its name; none while nobody is logged in.
    """

    def __init__(self, api: PeerApi, budgets: Callable[[], dict[str, Budget]]) -> None:
        self._api = api
        self._budgets = budgets
        self._people: dict[bytes, Person] = {}  # only those who are linked, or for whom something waits
        self._transfers: dict[bytes, State] = {}
        self._struck = 0
        self._messages: Counter[str] = Counter(dict.fromkeys(("in", "out"), 0))
        self._bytes: Counter[str] = Counter(dict.fromkeys(("in", "out"), 0))

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._subscription = self._api.subscribe(self._hear)
        snapshot = self._subscription.snapshot
        self._see(snapshot.people)
        self._transfers = {transfer.fid: transfer.state for transfer in snapshot.transfers}

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        self._subscription.cancel()

    def measures(self) -> Iterator[Measure]:
        people = self._people.values()
        yield Measure("peer_links", "People that a link is open to", sum(person.linked for person in people))
        yield Measure("peer_waiting", "Messages not yet delivered", sum(person.waiting for person in people))
        yield Measure("peer_messages", "Messages stored", self._messages, rises=True, label="direction")
        states = Counter(dict.fromkeys(map(str, State), 0)) + Counter(map(str, self._transfers.values()))
        yield Measure("peer_transfers", "Transfers by state", {str(s): states[str(s)] for s in State}, label="state")
        yield Measure("peer_bytes", "Bytes of messages and files", self._bytes, rises=True, label="direction")
        budgets = self._budgets()
        full = {name: budget.fullness() for name, budget in budgets.items()}
        yield Measure("peer_budget_full", "Used share of a budget at its fullest level", full, label="budget")
        refused = {f"{name}.{level}": count for name, one in budgets.items() for level, count in one.refused.items()}
        yield Measure("peer_budget_refusals", "Refusals by budget and level", refused, rises=True, label="level")
        yield Measure("peer_struck", "Keys refused because they broke the protocol", self._struck, rises=True)

    def _hear(self, event: Event) -> None:
        if isinstance(event, PeopleChanged):
            self._see(event.people)
        elif isinstance(event, PersonGone):
            self._people.pop(event.peer, None)
        elif isinstance(event, MessageAdded):
            self._count_message(event.message)
        elif isinstance(event, TransferChanged):
            self._count_transfer(event.transfer)
        elif isinstance(event, Notice):
            self._struck += event.code == STRUCK

    def _count_message(self, message: ChatMessage) -> None:
        direction = "out" if message.mine else "in"
        self._messages[direction] += 1
        if message.kind is MessageKind.TEXT:
            self._bytes[direction] += len(message.body.encode())

    def _count_transfer(self, transfer: Transfer) -> None:
        """Count the bytes of a transfer when it becomes done; those that were done at the login are not counted."""
        before = self._transfers.get(transfer.fid)
        self._transfers[transfer.fid] = transfer.state
        if transfer.state is State.DONE and before not in (None, State.DONE):
            self._bytes["out" if transfer.outgoing else "in"] += transfer.total_bytes

    def _see(self, people: tuple[Person, ...]) -> None:
        for person in people:
            if person.linked or person.waiting:
                self._people[person.peer] = person
            else:
                self._people.pop(person.peer, None)
