"""Actions that search the history, export it, and send failed messages again."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta

from chatnet.console.actions.base import local_path
from chatnet.console.actions.subjects import SubjectActions
from chatnet.console.keymap import Context
from chatnet.console.overlays.search_results import ResultsView
from chatnet.console.panes.conversation import ConversationPane
from chatnet.console.widgets.find_bar import FindBar
from chatnet.console.widgets.wording import count_text
from chatnet.core.events import Exported, HistoryPage, SearchPage
from chatnet.core.identity import ChatID
from chatnet.core.text import shown_path

_AROUND = 60  # rows loaded on each side of one that is jumped to
_WORDS = re.compile(r'(?:[^\s"]|"[^"]*"?)+')


class SearchActions(SubjectActions):
    """F3 in one conversation, /search in all of them; /export and /resend."""

    # --- in this conversation ------------------------------------------------------------------

    def key_find(self, stroke: str) -> None:
        chat = self.view.chat
        if chat is None:
            self.view.say("F3 finds in a conversation; /search TEXT finds in all of them.", warning=True)
            return
        if self.view.finder is None or self.view.finder.chat != chat:
            self.view.finder = FindBar(chat, self._scene.signs)
        self.view.focus_on = Context.FIND
        self.view.refresh()

    def key_find_next(self, stroke: str) -> None:
        finder = self.view.finder
        if finder is None or not finder.text.strip() or finder.searching:
            return
        if finder.asked != finder.text:
            finder.begin()
            self._find_more(finder)
        elif finder.at + 1 < len(finder.found):
            self._find_show(finder, finder.at + 1)
        elif finder.before_n is not None:
            self._find_more(finder)
        elif finder.found:
            self.view.say("That was the oldest one. Enter begins at the newest again.")
            finder.at = -1
        else:
            self._find_more(finder)

    def key_find_previous(self, stroke: str) -> None:
        finder = self.view.finder
        if finder is None or not finder.found:
            return
        if finder.at > 0:
            self._find_show(finder, finder.at - 1)
        else:
            self.view.say("This is the newest one.")

    def _find_more(self, finder: FindBar) -> None:
        """Load the next page of what was found, and bring its first row into view."""
        asked, finder.searching = finder.asked, True

        def came(page: SearchPage) -> None:
            finder.searching = False
            if finder.asked != asked or self.view.finder is not finder:
                return
            finder.found += [message.n for message in page.messages]
            finder.before_n = page.before_n
            if page.messages:
                self._find_show(finder, finder.at + 1)
            elif page.before_n is not None:
                self._find_more(finder)
            elif not finder.found:
                self.view.say("Nothing here has these words. Esc, then /search, looks into all conversations.")
            self.view.refresh()

        def failed() -> None:
            finder.searching = False
            finder.asked = ""

        self._ask(self._api.search, asked, finder.chat, None, finder.before_n, then=came, failed=failed)

    def _find_show(self, finder: FindBar, index: int) -> None:
        finder.at = index
        self._jump(finder.chat, finder.found[index])
        self.view.focus_on = Context.FIND
        self.view.refresh()

    # --- everywhere ----------------------------------------------------------------------------

    def cmd_search(self, rest: str) -> None:
        words: list[str] = []
        sender: bytes | None = None
        since_ms: int | None = None
        for word in _WORDS.findall(rest):
            key, colon, value = word.partition(":")
            if colon and key == "from" and value:
                me = self._model.me
                person = None if value == "me" else self._somebody(value)
                if value != "me" and person is None:
                    return
                sender = person.peer if person is not None else me.peer if me is not None else None
            elif colon and key == "since" and value:
                since_ms = since_of(value, self._scene.now_ms())
                if since_ms is None:
                    self._wrong(f"'{value[:40]}' is no date: since:2026-05-31, since:today or since:7d")
                    return
            else:
                words.append(word)
        text = " ".join(words)
        if not text:
            self._usage("search")
            return

        def more(results: ResultsView) -> None:
            results.searching = True

            def came(page: SearchPage) -> None:
                if results.put(page) or self.view.overlay is not results:
                    self.view.refresh()
                else:
                    more(results)  # nothing among those it looked at: further back, then

            self._ask(
                self._api.search,
                text,
                None,
                since_ms,
                results.before_n,
                50,
                sender,
                then=came,
                failed=results.failed,
                advice={"empty": "What is looked for has a letter or a digit: /search TEXT"},
            )

        def chosen(chat: ChatID, n: int) -> None:
            self._jump(chat, n)

        results = ResultsView(rest.strip(), self._scene, chosen, more, self.view.back)
        self.view.cover(results)
        more(results)

    # --- to a row ------------------------------------------------------------------------------

    def _jump(self, chat: ChatID, n: int) -> None:
        """Show a chat with row ``n`` in the middle; it is loaded around it if it is far back."""
        self.view.overlay = None
        self.open_chat(chat)
        pane = self.view.tab.pane
        assert isinstance(pane, ConversationPane)
        if pane.show_row(n):
            self.view.refresh()
            return
        chat_rows = pane.chat_rows
        chat_rows.start_over()
        chat_rows.loading = True
        begun = chat_rows.cleared

        def failed() -> None:
            chat_rows.loading = False

        def older_came(older: HistoryPage) -> None:
            def newer_came(newer: HistoryPage) -> None:
                if chat_rows.cleared == begun:
                    chat_rows.put_window(older, newer)
                    pane.show_row(n)
                    self.view.refresh()

            self._ask(self._api.history, chat, None, _AROUND, n, then=newer_came, failed=failed)

        self._ask(self._api.history, chat, n + 1, _AROUND, then=older_came, failed=failed)

    # --- a file, and once more -------------------------------------------------------------------

    def cmd_export(self, rest: str) -> None:
        file, chat = rest.strip(), self.view.chat
        if not file:
            self._usage("export")
        elif chat is None:
            self._wrong("Nobody is chosen here: /export writes the conversation that is shown.")
        else:
            self.view.say("Writing the conversation…")
            form = "json" if file.lower().endswith(".json") else "text"

            def written(exported: Exported) -> None:
                self.view.say(f"{count_text(exported.messages, 'message')} written to {shown_path(exported.path)}")

            self._ask(self._api.export, chat, local_path(file), form, then=written, what="Not exported: ")

    def cmd_resend(self, rest: str) -> None:
        failed = self._failed_here()
        if not failed:
            return

        def goes(nothing: None) -> None:
            left = len(failed) - 1
            again = f"; {left} more failed, /resend takes the next" if left else ""
            self.view.say(f"Sent again{again}.")

        self._ask(self._api.resend, failed[-1].chat, failed[-1].n, then=goes, what="Not sent again: ")


def since_of(text: str, now_ms: int) -> int | None:
    """Return the beginning of a local day, in milliseconds since the epoch, or None.

    ``text`` is ``2026-05-31``, ``today``, ``yesterday`` or ``7d``; None is returned for anything else.
    """
    today = datetime.fromtimestamp(now_ms / 1000).date()
    days = {"today": 0, "yesterday": 1}.get(text)
    if days is None and re.fullmatch(r"[0-9]{1,4}d", text):
        days = int(text[:-1])
    try:
        day = today - timedelta(days) if days is not None else date.fromisoformat(text)
        return round(datetime.combine(day, datetime.min.time()).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None
