"""Saves tabs and drafts with the peer while they change, and restores them after a restart."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from chatnet.console.actions.base import ActionBase
from chatnet.console.overlays.file_picker import FilePicker
from chatnet.console.panes.conversation import ConversationPane
from chatnet.core.chats import joined_drafts
from chatnet.core.errors import ChatnetError
from chatnet.core.events import Tab
from chatnet.core.identity import ChatID


class DraftActions(ActionBase):
    """Nothing is told before the former state was put back: it would be lost."""

    _restored = False
    _told_tabs: tuple[ChatID, ...] = ()

    def restore(self, tabs: tuple[Tab, ...]) -> None:
        """Open what was open; what was typed stands in its input, or waits for its tab."""
        for tab in tabs:
            self._told_drafts[tab.chat] = tab.draft
            if tab.open:
                row = self.view.tabs[self.view.open(tab.chat)].input
                if not row.text:
                    row.put(tab.draft)
            elif tab.draft:
                self._drafts[tab.chat] = tab.draft
        self._told_tabs = tuple(tab.chat for tab in tabs if tab.open)
        self._restored = True
        self.view.refresh()

    def chat_moved(self, former: ChatID, chat: ChatID) -> None:
        """Move tab and draft of a person whose other key was taken, as the peer has moved them already."""
        for drafts in (self._drafts, self._told_drafts):
            if former in drafts:
                drafts[chat] = joined_drafts(drafts.pop(former), drafts.get(chat, ""))
        self._told_tabs = tuple(dict.fromkeys(chat if one == former else one for one in self._told_tabs))
        if self.view.chat == former and isinstance(self.view.overlay, FilePicker):
            self.view.back()  # it would send to the key that it was opened for
        self.view.move_chat(former, chat)
        index, draft = self.view.tab_of(chat), self._drafts.get(chat)
        if index is not None and draft is not None:
            row = self.view.tabs[index].input
            row.put(joined_drafts(row.text, self._drafts.pop(chat)))
        self.look()

    def save_desk(self) -> None:
        """Tell the peer what changed since the last time; while the disk takes nothing, later."""
        if not self._restored or self._model.me is None or self._model.store_trouble:
            return
        open_now = {tab.pane.chat: tab.input for tab in self.view.tabs if isinstance(tab.pane, ConversationPane)}
        if self._told_tabs != tuple(open_now):
            self._told_tabs = tuple(open_now)
            self._keep(self._api.set_tabs(self._told_tabs))
        drafts = self._drafts | {chat: row.text for chat, row in open_now.items()}
        for chat in drafts.keys() | self._told_drafts.keys():
            draft = drafts.get(chat, "")
            if draft != self._told_drafts.get(chat, ""):
                self._told_drafts[chat] = draft
                self._keep(self._api.set_draft(chat, draft))

    def _keep(self, keeping: Deferred[None]) -> None:
        """Note when the peer could not keep something, which is then told again; nobody waits for this."""

        def failed(failure: Failure) -> None:
            self._told_tabs = (ChatID(b""),)
            self._told_drafts = dict.fromkeys(self._told_drafts, "\0")
            if not isinstance(failure.value, ChatnetError):
                self.log.failure("console: tabs or drafts were not kept", failure)

        keeping.addErrback(failed)
