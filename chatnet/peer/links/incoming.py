"""Chooses the part that serves an incoming connection, by the role that its HELLO names.

While the node is not ready, everybody is asked to come again.
"""

from __future__ import annotations

from collections.abc import Callable

from chatnet.core import messages
from chatnet.core.errors import Refused
from chatnet.core.messages import ROLE_CHAT, ROLE_FILE, ROLE_PROBE, Hello, Message, Welcome
from chatnet.net.link import Link, LinkEnd, LinkUser


class IncomingLinks:
    """The LinkUser of all that a peer's port accepts."""

    def __init__(self) -> None:
        self._chat: LinkUser | None = None
        self._file: LinkUser | None = None

    def open(
        self,
        chat: LinkUser,
        file: LinkUser,
        welcome: Callable[[Link], Welcome],
        take_place: Callable[[Link], None],
    ) -> None:
        """Serve everybody from now on.

        ``take_place`` gives a probe the place of a link, or raises Refused; ``chat`` sees to that by itself,
        and ``file`` takes one link for each transfer that has its turn.
        """
        self._welcome = welcome
        self._take_place = take_place
        self._chat = chat
        self._file = file

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        if self._chat is None or self._file is None:
            raise Refused(messages.BUSY, "starting", 1)
        if hello.role == ROLE_CHAT:
            return await self._chat.answer(link, hello)
        if hello.role == ROLE_FILE:
            return await self._file.answer(link, hello)
        if hello.role == ROLE_PROBE:  # a registry proves our address: the handshake was all it wants
            self._take_place(link)
            return self._welcome(link)
        raise Refused(messages.ROLE_UNKNOWN, "this is a peer, not a registry")

    def opened(self, link: Link) -> None:
        user = self._user(link)
        if user is not None:
            user.opened(link)
        else:  # a probe has got what it came for
            link.leave()

    def received(self, link: Link, message: Message) -> None:
        user = self._user(link)
        if user is not None:
            user.received(link, message)

    def lost(self, link: Link, end: LinkEnd) -> None:
        user = self._user(link)
        if user is not None:
            user.lost(link, end)

    def _user(self, link: Link) -> LinkUser | None:
        return {ROLE_CHAT: self._chat, ROLE_FILE: self._file}.get(link.role)
