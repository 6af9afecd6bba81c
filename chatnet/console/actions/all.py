"""What keys and commands do: ``key_…`` for the table of keys, ``cmd_…`` for the slash commands."""

from __future__ import annotations

from chatnet.console.actions.alerts import AlertActions
from chatnet.console.actions.contents import ContentsActions
from chatnet.console.actions.drafts import DraftActions
from chatnet.console.actions.keys import KeyActions
from chatnet.console.actions.messaging import MessagingActions
from chatnet.console.actions.navigation import NavigationActions
from chatnet.console.actions.program import ProgramActions
from chatnet.console.actions.requests import RequestActions
from chatnet.console.actions.search import SearchActions
from chatnet.console.actions.transfers import TransferActions


class Actions(
    RequestActions,
    NavigationActions,
    MessagingActions,
    KeyActions,
    SearchActions,
    TransferActions,
    ContentsActions,
    DraftActions,
    AlertActions,
    ProgramActions,
):
    """The actions of all groups in one object."""
