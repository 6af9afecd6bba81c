"""File links: which are admitted, and which transfer hears of what happens on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from chatnet.core import messages
from chatnet.core.errors import Refused
from chatnet.core.messages import Hello, Message, Welcome
from chatnet.net.link import Link, LinkEnd


class FileLinkOwner(Protocol):
    """Who knows the transfers that file links are for."""

    def expects(self, peer: bytes, fid: bytes | None, token: bytes | None) -> bool:
        """Whether a file link from ``peer`` with this token is waited for now."""

    def file_link_opened(self, link: Link, fid: bytes | None) -> None: ...

    def file_received(self, link: Link, message: Message) -> None:
        """Handle a message on a file link.  Raises RemoteError for what cannot be."""

    def file_link_lost(self, link: Link, end: LinkEnd) -> None: ...


class FileLinkUser:
    """The LinkUser of file links: with ``welcome`` of those that come in, without of those that are dialled."""

    def __init__(self, transfers: FileLinkOwner, welcome: Callable[[Link], Welcome] | None = None) -> None:
        self._transfers = transfers
        self._welcome = welcome

    async def answer(self, link: Link, hello: Hello) -> Welcome:
        if self._welcome is None or not self._transfers.expects(link.peer, hello.fid, hello.token):
            raise Refused(messages.NOT_EXPECTED, "nobody waits for this file link")
        return self._welcome(link)

    def opened(self, link: Link) -> None:
        self._transfers.file_link_opened(link, link.fid)

    def received(self, link: Link, message: Message) -> None:
        self._transfers.file_received(link, message)

    def lost(self, link: Link, end: LinkEnd) -> None:
        self._transfers.file_link_lost(link, end)
