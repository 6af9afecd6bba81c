"""Tabs, scrolling, and the list of people."""

from __future__ import annotations

from chatnet.console.actions.subjects import SubjectActions
from chatnet.console.keymap import Context
from chatnet.console.panes.conversation import ConversationPane
from chatnet.console.widgets.wording import rule_text, seen_text
from chatnet.core.events import Person
from chatnet.core.identity import chat_with, grouped_text, prefix_text
from chatnet.core.text import safe_line


class NavigationActions(SubjectActions):
    """Commands and keys that bring something into view."""

    def _person_clicked(self, index: int) -> None:
        if self.view.people.leads_to_requests(index) and self.is_double_click("requests"):
            self.cmd_requests("")
        peer = self.view.people.peer_at(index)
        if peer is None or not self.is_double_click(("person", peer)):
            return
        open_tab = self.view.tab_of(chat_with(peer))
        if open_tab is not None:
            self._close_tab(open_tab)
            self.look()
        else:
            self.open_person(peer)

    def key_wheel(self, stroke: str) -> None:
        self._scrolled()

    def _scrolled(self) -> None:
        pane = self.view.tab.pane
        if isinstance(pane, ConversationPane):
            chat_rows = pane.chat_rows
            if chat_rows.more and chat_rows.loaded and not chat_rows.loading and pane.near_top():
                self._load(pane, chat_rows.rows[0].n if chat_rows.rows else None)
            if chat_rows.newer and not chat_rows.loading and pane.near_end():
                self._load(pane, after=chat_rows.last_n)
            self.look()

    def key_go_to_tab(self, stroke: str) -> None:
        number = int(stroke[-1]) or 10
        if number <= len(self.view.tabs):
            self._show(number - 1)

    def key_previous_tab(self, stroke: str) -> None:
        self._show((self.view.here - 1) % len(self.view.tabs))

    def key_next_tab(self, stroke: str) -> None:
        self._show((self.view.here + 1) % len(self.view.tabs))

    def key_next_unread(self, stroke: str) -> None:
        tabs = self.view.tabs
        for step in range(1, len(tabs) + 1):
            index = (self.view.here + step) % len(tabs)
            if isinstance(tabs[index].pane, ConversationPane) and index != self.view.here and tabs[index].pane.news():
                self._show(index)
                return
        for person in self._model.roster.people.values():
            if person.unread and person.peer != self.view.chat:
                self.open_person(person.peer)
                return
        self.view.say("Nothing unread.")

    def key_to_unread(self, stroke: str) -> None:
        pane = self.view.tab.pane
        if not isinstance(pane, ConversationPane) or not pane.to_unread():
            self.view.say("Nothing is new in this tab.")
        self._scrolled()

    def key_go_to(self, stroke: str) -> None:
        if self.view.focus_on is not Context.PEOPLE:
            self.view.toggle_people()
        self.key_filter_people(stroke)

    def key_close_tab(self, stroke: str) -> None:
        if not self._close_tab(self.view.here):
            self.view.say("This tab stays; Alt-w closes conversations.")
        self.look()

    def cmd_close(self, rest: str) -> None:
        self.key_close_tab("")

    def cmd_net(self, rest: str) -> None:
        self._show(0)

    def key_page_up(self, stroke: str) -> None:
        self._page(-1)

    def key_page_down(self, stroke: str) -> None:
        self._page(1)

    def _page(self, pages: int) -> None:
        if self.view.context() is Context.PEOPLE:
            self.view.people.key("page up" if pages < 0 else "page down")
        else:
            self.view.tab.pane.page(pages)
            self._scrolled()

    def key_to_top(self, stroke: str) -> None:
        self.view.tab.pane.to_top()
        self._scrolled()

    def key_to_end(self, stroke: str) -> None:
        self.view.tab.pane.to_end()
        self._scrolled()

    def cmd_clear(self, rest: str) -> None:
        pane = self.view.tab.pane
        if isinstance(pane, ConversationPane):
            pane.chat_rows.clear()
            pane.to_end()
        elif pane is self.view.net:
            self._model.notices.clear()
            pane.to_end()
        self.view.refresh()

    def key_people(self, stroke: str) -> None:
        self.view.toggle_people()

    def key_info(self, stroke: str) -> None:
        self.view.toggle_info()

    def cmd_peers(self, rest: str) -> None:
        if self.view.focus_on is not Context.PEOPLE:
            self.view.toggle_people()
        if rest.strip():
            self.view.people.filter = rest.strip()
            self.view.people.select(1)

    def key_open_selected(self, stroke: str) -> None:
        if self.view.people.requests_chosen:
            self.cmd_requests("")
        person = self.view.people.chosen()
        if person is not None:
            self.open_person(person.peer)

    def key_filter_people(self, stroke: str) -> None:
        self.view.people.filter = ""
        self.view.people.changed()

    def key_whois_selected(self, stroke: str) -> None:
        person = self.view.people.chosen()
        if person is not None:
            self._tell_who(person)

    def cmd_whois(self, rest: str) -> None:
        who = rest.strip()
        person = self._somebody(who) if who else self._person_here(lambda: self._usage("whois"))
        if person is not None:
            self._tell_who(person)

    def _tell_who(self, person: Person) -> None:
        facts = [f"{person.name}: key {grouped_text(person.peer)}", "verified" if person.verified else "not verified"]
        if person.new_key is not None:
            facts.append(f"ANOTHER KEY uses the name now: {prefix_text(person.new_key)}")
        if person.blocked:
            facts.append("blocked")
        facts.append(seen_text(person, self._scene.now_ms()))
        if person.listed_address:
            facts.append(f"reached at {safe_line(person.listed_address)}")
        if person.linked:
            facts.append(f"linked with {safe_line(person.address)}")
        known = ", ".join(facts)
        self._ask(
            self._api.rule, person.peer, then=lambda rule: self.view.say(f"{known}. {rule_text(rule, person.name)}")
        )
