"""Actions about requests, the first messages and offers of strangers."""

from __future__ import annotations

from chatnet.console.actions.base import ActionBase
from chatnet.console.commands import split_words
from chatnet.console.overlays.requests import RequestsView, request_text
from chatnet.console.panes.question import Question
from chatnet.console.widgets.wording import count_text
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
            self.show_requests()
            self.clear_requests()
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

        def refuse() -> None:
            self._ask(self._api.refuse_request, request.peer, then=lambda _: self._request_is_gone(done))

        def text() -> str:
            return f"Refuse {self._as_it_is(request)}? What they sent is deleted."

        self.view.ask(Question(text, "delete", "keep", refuse))

    def block_request(self, request: Request) -> None:
        key = short_text(request.peer)
        done = f"{key} is blocked, and what they sent is deleted. /unblock ?{key} ends the block."

        def block() -> None:
            self._ask(self._api.block, request.peer, True, then=lambda _: self._request_is_gone(done))

        def text() -> str:
            return f"Block {self._as_it_is(request)}? What they sent is deleted, and nothing is taken from this key."

        self.view.ask(Question(text, "block", "do not", block))

    def _request_is_gone(self, done: str) -> None:
        if isinstance(self.view.overlay, RequestsView):
            self.view.overlay.to_list()
        self.view.say(done)

    def _as_it_is(self, request: Request) -> str:
        return request_text(self._model.requests.get(request.peer, request))

    def clear_requests(self) -> None:
        if not self._model.requests:
            return

        def text() -> str:
            return f"Delete {count_text(len(self._model.requests), 'request')}, read or not?"

        def clear() -> None:
            self._ask(self._api.clear_requests, then=lambda _: self._request_is_gone("All requests are deleted."))

        self.view.ask(Question(text, "delete all", "keep them", clear))
