"""The column beside a wide pane: what is known about the person, the transfer or the network that is shown.

It shows only what exists: a fact that is not known has no row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import urwid

from chatnet.console.panes.base import PaneContext
from chatnet.console.widgets.base import Block, Box
from chatnet.console.widgets.text import Markup, Row, Rule, stack
from chatnet.console.widgets.wording import (
    age_text,
    amount_text,
    clock_text,
    count_text,
    date_text,
    rate_text,
    seen_text,
    size_text,
    transfer_state,
    waiting_text,
    warning_text,
    when_text,
)
from chatnet.core.events import Person, RegistryPhase, Transfer, VerifiedLevel
from chatnet.core.identity import grouped_text, prefix_text, short_text
from chatnet.core.text import quoted, safe_line, safe_text, shown_path

_LABEL_COLS = 10
_MOST_TRANSFERS = 8
_VERIFIED = {
    VerifiedLevel.BY_CODE: "verified: you compared a six-digit code",
    VerifiedLevel.BY_NUMBER: "verified: you compared all sixty digits",
}


class Facts:
    """Makes the rows about one thing; ``scene`` is what all panes share."""

    def __init__(self, scene: PaneContext) -> None:
        self._scene = scene

    def of_person(self, person: Person) -> Block:
        """Return the facts about a person: key and trust, the way to them, what waits and why, and their transfers."""
        return [*self._who(person), *self._way(person), *self._waiting(person), *self._transfers(person)]

    def of_transfer(self, transfer: Transfer) -> Block:
        """Return the facts about a transfer: what is sent, how far it is, and with whom."""
        person = self._scene.model.roster.people.get(transfer.peer)
        rows: list[Row | Rule] = [*self._what(transfer)]
        if person is not None:
            rows += [Row("", 0, ""), *self._who(person), *self._way(person), *self._waiting(person)]
        return rows

    def of_network(self) -> Block:
        """Return the facts about ourselves, the registry, the people, and the limits of all transfers."""
        return [*self._me(), *self._registry(), *self._all()]

    # --- a person ------------------------------------------------------------------------------

    def _who(self, person: Person) -> Iterator[Row | Rule]:
        signs, now_ms = self._scene.signs, self._scene.now_ms()
        yield _head(person.name)
        if person.new_key is not None:
            yield _line("state.error", f"{signs.alarm} KEY CHANGED, sending is held")
            yield _fact("new key", prefix_text(person.new_key), "state.error")
        if person.blocked:
            yield _line("state.error", f"{signs.failed} blocked: nothing is taken from this key")
        if person.verified:
            yield _line("state.good", f"{signs.verified} {_VERIFIED[person.verified]}")
        else:
            yield _line("state.wait", "not verified yet (/verify)")
        yield _fact("key", grouped_text(person.peer))
        if person.known_since_ms is not None:
            yield _fact("known", f"since {date_text(person.known_since_ms)}")
        yield _fact("presence", seen_text(person, now_ms))

    def _way(self, person: Person) -> Iterator[Row]:
        if person.listed_address:
            yield _fact("address", safe_line(person.listed_address))
        if not person.linked:
            return
        yield _fact("link", f"direct, encrypted, with {safe_line(person.address)}")
        if person.unanswered_since_ms is not None:
            since = clock_text(person.unanswered_since_ms, seconds=True)
            yield _fact("answer", f"none since {since}", "state.wait")
        elif person.rtt_ms is not None:
            yield _fact("answer", f"after {person.rtt_ms} ms")

    def _waiting(self, person: Person) -> Iterator[Row]:
        if person.waiting:
            yield _fact("waiting", count_text(person.waiting, "message"), "state.wait")
        if person.waiting and (why := waiting_text(person, self._scene.now_ms())):
            yield _fact("", why)
        if person.more_waits:
            yield _fact("waiting", "more of theirs, until you write to them", "state.wait")

    def _transfers(self, person: Person) -> Iterator[Row | Rule]:
        """Yield the rows for the person's transfers: the unfinished ones first, and the newest of each kind first."""
        theirs = [one for one in reversed(self._scene.model.transfers.values()) if one.peer == person.peer]
        theirs.sort(key=lambda one: one.state.ended)
        if theirs:
            yield Rule("transfers", self._scene.signs)
        for transfer in theirs[:_MOST_TRANSFERS]:
            yield self._title(transfer)
            yield self._state(transfer)
        if len(theirs) > _MOST_TRANSFERS:
            yield _line("text", f"{len(theirs) - _MOST_TRANSFERS} more: F4")

    # --- a transfer ----------------------------------------------------------------------------

    def _what(self, transfer: Transfer) -> Iterator[Row]:
        signs, now_ms = self._scene.signs, self._scene.now_ms()
        yield self._title(transfer)
        yield self._state(transfer)
        if amount := amount_text(transfer):
            yield _fact("holds", amount)
        names = [quoted(name) for name in transfer.names]
        if transfer.total_files > 1 and names:
            rest = transfer.total_files - len(names)
            yield _fact("files", "\n".join([*names, f"and {rest:,} more"] if rest > 0 else names))
        if transfer.done_files and transfer.total_files > 1:
            yield _fact("done", f"{count_text(transfer.done_files, 'file')} of {transfer.total_files:,}")
        if transfer.resumed_from:
            yield _fact("went on", f"from {size_text(transfer.resumed_from)}")
        if transfer.saved_to:
            yield _fact("saved as", shown_path(transfer.saved_to))
        if warning := warning_text(transfer):
            yield _line("state.error", f"{signs.alarm} {warning}")
        yield _fact("offered", when_text(transfer.offered_ms, now_ms))

    def _title(self, transfer: Transfer) -> Row:
        signs = self._scene.signs
        sign, look = (signs.outgoing, "name.own") if transfer.outgoing else (signs.incoming, "name.theirs")
        text = f"{quoted(transfer.title)}  {size_text(transfer.total_bytes)}"
        return Row((look, f" {sign} "), 3, ("text", text))

    def _state(self, transfer: Transfer) -> Row:
        words, look = transfer_state(transfer, self._scene.model.roster.name(transfer.peer), self._scene.signs)
        return Row("", 3, (look, words))

    # --- the network ---------------------------------------------------------------------------

    def _me(self) -> Iterator[Row]:
        me = self._scene.model.me
        if me is None:
            yield _head("not logged in")
            return
        yield _head(me.name)
        yield _fact("key", grouped_text(me.peer))
        yield _fact("listens", "\n".join(safe_line(address) for address in me.listening))
        yield _fact("receives", shown_path(me.downloads))
        if me.log_file:
            yield _fact("log", shown_path(me.log_file))

    def _registry(self) -> Iterator[Row | Rule]:
        registry, now_ms = self._scene.model.registry, self._scene.now_ms()
        yield Rule("registry", self._scene.signs)
        yield _fact("address", safe_line(registry.address))
        if registry.key is not None:
            yield _fact("key", short_text(registry.key))
        age = age_text((now_ms - registry.since_ms) / 1000)
        if registry.phase is RegistryPhase.UP:
            yield _fact("state", f"up for {age}", "state.good")
        else:
            yield _fact("state", f"{registry.phase.value.replace('-', ' ')} for {age}", "state.wait")
        if registry.reason:
            yield _fact("", safe_text(registry.reason))
        if registry.retry_at_ms is not None:
            yield _fact("next try", f"in {age_text((registry.retry_at_ms - now_ms) / 1000)}")

    def _all(self) -> Iterator[Row | Rule]:
        model = self._scene.model
        yield Rule("people and files", self._scene.signs)
        yield _fact("people", f"{len(model.roster.online)} online, {len(model.roster.offline)} offline")
        if model.requests:
            yield _fact("requests", f"{len(model.requests)}: /requests shows them", "state.wait")
        if unfinished := model.unfinished():
            yield _fact("files", count_text(unfinished, "transfer") + " not finished")
        yield _fact("limits", f"up {rate_text(model.speed_limits.up)}, down {rate_text(model.speed_limits.down)}")


class InfoColumn(Box):
    """The facts that ``about`` gives, as far as there is room for them."""

    _selectable = False

    def __init__(self, about: Callable[[], Block]) -> None:
        super().__init__()
        self._about = about

    def draw(self, cols: int, rows: int, focus: bool) -> urwid.Canvas:
        canvases: list[urwid.Canvas] = []
        height = 0
        for row in self._about():
            if height >= rows:
                break
            canvases.append(row.canvas(cols))
            height += canvases[-1].rows()
        return stack(canvases, cols, rows)


def _head(name: str) -> Row:
    return Row("", 1, ("tab.here", name))


def _line(look: str, text: str) -> Row:
    return Row("", 1, (look, text))


def _fact(label: str, text: str, look: str = "text") -> Row:
    prefix: Markup = ("group", f" {label}")
    return Row(prefix, _LABEL_COLS, (look, text))
