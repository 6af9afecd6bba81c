"""Actions about keys: take a new one, keep the old one, compare, block, show one's own."""

from __future__ import annotations

from chatnet.console.actions.subjects import SubjectActions
from chatnet.console.overlays.page import Page
from chatnet.console.overlays.safety_number import SafetyNumberSheet
from chatnet.console.panes.network import on_where, registry_join
from chatnet.console.panes.question import Question, asked_title
from chatnet.console.shown import Place, Subject
from chatnet.console.widgets.text import Markup
from chatnet.console.widgets.wording import count_text
from chatnet.core.events import CodeReady, Person, SafetyNumber, Transfer, VerifiedLevel
from chatnet.core.identity import chat_with, grouped_text, short_text

TITLES_ASKED = 2  # of the transfers that a block ends


class KeyActions(SubjectActions):
    """Commands and keys by which a person decides about keys."""

    # --- a key that changed -----------------------------------------------------------------------

    def cmd_trust(self, rest: str) -> None:
        who, _, prefix = rest.strip().partition(" ")
        is_here = bool(who) and not prefix.strip() and self.view.chat is not None
        if is_here:
            prefix = who
        if not prefix.strip():
            self._usage("trust")
            return
        person = self._person_here() if is_here else self._somebody(who)
        if person is not None:
            self._ask(
                self._api.trust, person.peer, prefix.strip(), then=lambda _: self._taken(person.name, person.new_key)
            )

    def _taken(self, name: str, key: bytes | None) -> None:
        if key is not None:
            self.open_person(key)
        self.view.say(f"The new key is {name}'s now, and what was held goes to it. /verify {name} compares it whole.")

    def key_keep_key(self, stroke: str) -> None:
        person = self._new_key_here()
        if person is None:
            return
        name = person.name
        way = f"/verify {name}, and a comparison, takes" if person.verified else "/trust takes"
        kept = f"The key you know stays {name}'s: what was held goes to it only. {way} the other one after all."
        self._ask(self._api.keep_key, person.peer, person.new_key, then=lambda _: self.view.say(kept))

    # --- comparing --------------------------------------------------------------------------------

    def cmd_verify(self, rest: str) -> None:
        words = rest.split()
        is_here = self.view.chat is not None and (not words or words[0] in ("same", "live"))
        who = "" if is_here or not words else words.pop(0)
        ways = {
            (): self._show_number,
            ("same",): self._same_number,
            ("same", "code"): self._same_code,
            ("live",): self._begin_code,
        }
        way = ways.get(tuple(words))
        if not (who or is_here) or way is None:
            self._usage("verify")
            return
        person = self._person_here() if is_here else self._somebody(who)
        if person is not None:
            way(person)

    def key_verify_selected(self, stroke: str) -> None:
        person = self._chosen_person()
        if person is not None:
            self._show_number(person)

    def _show_number(self, person: Person) -> None:
        def show(number: SafetyNumber) -> None:
            self._model.shown.changed(Place(Subject.NUMBER, number.peer))
            self.view.cover(SafetyNumberSheet(self._scene, number, self._my_name(), self, self.view.back))

        self._ask(self._api.safety_number, person.peer, then=show)

    def number_is_same(self, peer: bytes) -> None:
        person = self._model.roster.people.get(peer)
        number = self._compared_number(person) if person is not None else None
        if number is None or not self._is_settled(Place(Subject.NUMBER, peer)):
            return
        text = (
            f"Are all sixty digits the same on both screens? Then {number.name}, key {short_text(number.key)},"
            " is verified."
        )

        def same() -> None:
            now = self._model.roster.people.get(peer)
            if now is not None:
                self._same_number(now)

        self.view.ask(Question(lambda: text, "all the same", "not yet", same))

    def compare_by_code(self, peer: bytes) -> None:
        person = self._model.roster.people.get(peer)
        if person is not None:
            self.view.back()
            self._begin_code(person)

    def compare_again(self, peer: bytes) -> None:
        person = self._model.roster.people.get(peer)
        if person is not None:
            self._show_number(person)

    def _same_number(self, person: Person) -> None:
        def marked(_: None) -> None:
            if isinstance(self.view.overlay, SafetyNumberSheet):
                self.view.cover(None)
            if person.compared_key != person.peer:
                self.open_person(person.compared_key)
            self.view.say(f"{person.name} is verified: you compared all sixty digits.")

        number = self._compared_number(person)
        if number is not None:
            self._ask(self._api.confirm, number.peer, VerifiedLevel.BY_NUMBER, number.name, number.key, then=marked)

    def _same_code(self, person: Person) -> None:
        def marked(_: None) -> None:
            self._model.codes.pop(person.peer, None)
            self.view.refresh()
            self.view.say(f"{person.name} is verified: you compared the code.")

        code = self._compared_code(person)
        if code is not None:
            self._ask(
                self._api.confirm, person.peer, VerifiedLevel.BY_CODE, person.name, person.peer, code, then=marked
            )

    def _begin_code(self, person: Person) -> None:
        self.open_person(person.peer)
        self.view.say(f"Making a code with {person.name}: it appears on both screens.")
        self._ask(self._api.check_live, person.peer)

    def code_ready(self, event: CodeReady) -> None:
        """Show a code that is ready in the person's tab, where it stays until it is compared.

        The tab in view does not change.
        """
        person, chat = self._model.roster.people.get(event.peer), chat_with(event.peer)
        if person is None:
            return
        if self.view.tab_of(chat) is None and self.has_room_for_a_tab():
            self.view.open(chat)
        self.view.refresh()
        if self.view.chat != chat:
            asked = "The code is ready" if event.asked else f"{person.name} wants to compare a code with you"
            self.view.say(f"{asked}: it stands in the tab {person.name}.")

    # --- blocking ---------------------------------------------------------------------------------

    def cmd_block(self, rest: str) -> None:
        self._block_named("block", rest, True)

    def cmd_unblock(self, rest: str) -> None:
        self._block_named("unblock", rest, False)

    def key_block_selected(self, stroke: str) -> None:
        person = self._chosen_person()
        if person is not None:
            self._block(person, not person.blocked, stroke)

    def _block_named(self, command: str, rest: str, blocked: bool) -> None:
        who = rest.strip()
        person = self._somebody(who) if who else self._person_here(lambda: self._usage(command))
        if person is not None:
            self._block(person, blocked)

    def _block(self, person: Person, blocked: bool, letter: str = "") -> None:
        """Block, after a question, or end a block; ``letter`` is that of the list, if it was chosen there."""
        if not blocked:
            self._set_blocked(person, False)
            return

        def text() -> str:
            name = self._model.roster.name(person.peer)
            asked = f"Block {name}, key {short_text(person.peer)}? Nothing is taken from this key then."
            open_now = [
                one for one in self._model.transfers.values() if one.peer == person.peer and not one.state.ended
            ]
            if not open_now:
                return asked
            verb = "ends" if len(open_now) == 1 else "end"
            return f"{asked} {count_text(len(open_now), 'transfer')} with {name} {verb}: {_titles(open_now)}."

        self.view.ask(Question(text, "block", "do not", lambda: self._set_blocked(person, True, letter), letter=letter))

    def _set_blocked(self, person: Person, blocked: bool, letter: str = "") -> None:
        name = person.name
        ends = f"{letter} again ends it." if letter else f"/unblock {name} ends it."
        done = f"{name} is blocked: nothing is taken from this key. What {name} sends you is shown there as not taken."
        done = f"{done} {ends}" if blocked else f"{name} is not blocked any more."
        self._ask(self._api.block, person.peer, blocked, then=lambda _: self.view.say(done))

    # --- one's own --------------------------------------------------------------------------------

    def cmd_myid(self, rest: str) -> None:
        me, join = self._model.me, registry_join(self._model.registry)
        if me is None:
            self.view.say("Not logged in yet.")
            return
        lines: list[Markup] = [
            [("text", f"{me.name}, key "), ("key", short_text(me.peer)), ("text", ", whole:")],
            ("key", grouped_text(me.peer)),
        ]
        if join and self._scene.is_demo:
            lines += ["", ("text", "The registry of this demo, as long as it runs:"), ("key", f"  {join}"), ""]
        elif join:
            lines += [
                "",
                ("text", f"To join this network {on_where(self._model.registry)}:"),
                ("key", "twistd -n chatpeer --name YOU --registry \\"),
                ("key", join),
                "",
            ]
        self._show_sheet("Who you are", lines, join)

    # --- together ---------------------------------------------------------------------------------

    def _my_name(self) -> str:
        return self._model.me.name if self._model.me is not None else "YOU"

    def _show_sheet(self, title: str, lines: list[Markup], qr: str = "") -> None:
        self.view.cover(Page(title, lines, self._scene.signs, self.view.back, qr))


def _titles(transfers: list[Transfer]) -> str:
    """Return the first titles as a question names them, and how many more there are."""
    more = f" and {len(transfers) - TITLES_ASKED} more" if len(transfers) > TITLES_ASKED else ""
    return ", ".join(asked_title(one.title) for one in transfers[:TITLES_ASKED]) + more
