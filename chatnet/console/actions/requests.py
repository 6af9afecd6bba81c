"""Actions about requests, the first messages and offers of strangers."""

from __future__ import annotations

from chatnet.console.actions.base import ActionBase
from chatnet.console.commands import split_words
from chatnet.console.overlays.requests import RequestsView
from chatnet.core.events import HistoryPage, Request
from chatnet.core.identity import chat_with, short_text
from chatnet.core.limits import HISTORY_PAGE


class RequestActions(ActionBase):
    """The page of requests, and /requests.  Implements ``RequestDecisions``: each is about the key that was shown."""

    def cmd_requests(self, rest: str) -> None:
        words = split_words(rest)
        do = {"accept": self.accept_request, "refuse": self.refuse_request, "block": self.block_request}
        if not words:
            self.show_requests()
        elif words == ["clear"]:
            self.show_requests().ask_to_clear()
        elif len(words) == 2 and words[0] in do:
            request = self._model.request_numbered(int(words[1])) if words[1].isdecimal() else None
            if request is None:
                self._wrong(f"There is no request {words[1][:20]}; /requests shows their numbers.")
            else:
                do[words[0]](request)
        else:
            self._usage("requests")

    def show_requests(self) -> RequestsView:
        """Open the page of requests."""
        view = RequestsView(self._scene, self, self.view.back)
        view.double_click = self.is_double_click
        self.view.cover(view)
        return view

    def read_request(self, request: Request) -> None:
        view = self.view.overlay
        if not isinstance(view, RequestsView):
            return

        def came(page: HistoryPage) -> None:
            if self.view.overlay is view:
                view.show_messages(request, page)

        self._ask(self._api.history, chat_with(request.peer), None, HISTORY_PAGE, then=came)

    def accept_request(self, request: Request) -> None:
        def accepted(_: None) -> None:
            self.view.back()
            self.open_person(request.peer)
            self.view.say(f"?{short_text(request.peer)} is in the list of people now.")

        self._ask(self._api.accept_request, request.peer, then=accepted)

    def refuse_request(self, request: Request) -> None:
        key = short_text(request.peer)
        done = f"What {key} sent is deleted. They are not told, and may come again."
        self._ask(self._api.refuse_request, request.peer, then=lambda _: self.view.say(done))

    def block_request(self, request: Request) -> None:
        key = short_text(request.peer)
        done = f"{key} is blocked, and what they sent is deleted. /unblock ?{key} ends the block."
        self._ask(self._api.block, request.peer, True, then=lambda _: self.view.say(done))

    def clear_requests(self) -> None:
        self._ask(self._api.clear_requests, then=lambda _: self.view.say("All requests are deleted."))
