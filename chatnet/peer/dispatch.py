"""Passes each message of a chat link to the part of the peer that handles it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chatnet.core import messages
from chatnet.core.directory.roster import Roster, Standing
from chatnet.core.errors import RemoteError
from chatnet.core.messages import (
    Accept,
    Ack,
    Cancel,
    Check,
    Decline,
    DialMe,
    Message,
    Nack,
    Offer,
    OfferRest,
    Pause,
    Resume,
    Say,
    Verified,
)
from chatnet.net.background import BackgroundTasks
from chatnet.net.link import Link
from chatnet.peer.messages.inbox import Inbox
from chatnet.peer.messages.outbox import Outbox
from chatnet.peer.transfers.manager import Transfers
from chatnet.peer.trust.short_code import ShortCodes


class ChatDispatch:
    """The table of the role ``chat``: a kind of message and the part that takes it."""

    def __init__(
        self,
        roster: Roster,
        inbox: Inbox,
        outbox: Outbox,
        transfers: Transfers,
        short_codes: ShortCodes,
        tasks: BackgroundTasks,
    ) -> None:
        self._roster = roster
        self._transfers = transfers
        self._short_codes = short_codes
        self._tasks = tasks
        self.table: dict[type[Message], Callable[[Link, Any], None]] = {
            Say: inbox.say,
            Ack: outbox.ack,
            Nack: outbox.nack,
            Offer: self._offer,
            OfferRest: self._offer,
            Accept: transfers.received,
            Decline: transfers.received,
            DialMe: transfers.received,
            Cancel: transfers.received,
            Pause: transfers.received,
            Resume: transfers.received,
            Verified: transfers.received,
            Check: self._check,
        }

    def received(self, link: Link, message: Message) -> None:
        """Hand a message to the part that takes it.  Raises RemoteError for a kind that none takes."""
        take = self.table.get(type(message))
        if take is None:
            raise RemoteError(messages.BAD_FRAME, f"{type(message).__name__} does not belong on a chat link")
        take(link, message)

    def _offer(self, link: Link, offer: Offer | OfferRest) -> None:
        if link.peer in self._roster.blocked:
            link.send(Decline(offer.fid, messages.DECLINED))
        else:
            self._transfers.received(link, offer)

    def _check(self, link: Link, check: Check) -> None:
        if link.peer in self._roster.blocked or self._roster.standing(link.peer) is Standing.REQUESTER:
            return
        self._tasks.spawn(self._short_codes.received(link.peer, check), "comparing a short code")
