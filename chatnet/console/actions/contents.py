"""Looking at what an offer holds, before it is answered or later."""

from __future__ import annotations

from chatnet.console.actions.subjects import SubjectActions
from chatnet.console.commands import split_words
from chatnet.console.overlays.contents import ContentsView
from chatnet.core.events import OfferedNames, Transfer, TransferState
from chatnet.core.limits import OFFERED_NAMES_PAGE


class ContentsActions(SubjectActions):
    """The page of an offer's names.  Implements ``ContentsSource``."""

    def key_contents(self, stroke: str) -> None:
        self._show_contents(self._newest_here())

    def key_contents_selected(self, stroke: str) -> None:
        self._show_contents(self.view.transfers.chosen())

    def cmd_contents(self, rest: str) -> None:
        words = split_words(rest)
        if not words:
            self.key_contents("")
            return
        transfer = self._model.numbered(int(words[0])) if words[0].isdecimal() else None
        if transfer is None:
            self._wrong(f"There is no transfer {words[0][:20]}; F4 shows their numbers.")
        else:
            self._show_contents(transfer)

    def _newest_here(self) -> Transfer | None:
        """Return the offer of this tab that waits for an answer, else its newest transfer; in F4 the chosen one."""
        chat = self.view.chat
        if chat is None:
            return self.view.transfers.chosen() if self.view.tab.pane is self.view.transfers else None
        ours = [one for one in self._model.transfers.values() if one.peer == chat]
        return self._model.offer_of(chat) or (ours[-1] if ours else None)

    def _show_contents(self, transfer: Transfer | None) -> None:
        if transfer is None:
            self.view.say("No offer or transfer of files is here.")
        elif transfer.state.ended and transfer.state is not TransferState.DONE:
            self.view.say("The names of a transfer that has ended are not kept.")
        else:
            self.view.cover(ContentsView(transfer, self._scene, self))

    def load_contents(self, view: ContentsView, page: int) -> None:
        def came(found: OfferedNames) -> None:
            view.put(page, found)

        self._ask(
            self._api.offered_names,
            view.transfer.fid,
            page * OFFERED_NAMES_PAGE,
            OFFERED_NAMES_PAGE,
            then=came,
            failed=lambda: view.failed(page),
            what="The names could not be read: ",
        )

    def find_renamed(self, view: ContentsView, start: int) -> None:
        if view.transfer.outgoing or not view.transfer.details.renamed:
            self.view.say("No name changes here.")
            return

        def found(number: int | None) -> None:
            if self.view.overlay is not view:
                return
            if number is not None:
                view.choose(number)
            elif start > 0:
                self.find_renamed(view, 0)

        self._ask(self._api.next_renamed, view.transfer.fid, start, then=found)

    def close_contents(self) -> None:
        self.view.back()
