"""What keys and commands do: ``key_…`` for the table of keys, ``cmd_…`` for the slash commands."""

from __future__ import annotations

from chatnet.console.actions.drafts import Desk
from chatnet.console.actions.keys import Trusting
from chatnet.console.actions.messaging import Talking
from chatnet.console.actions.navigation import Moving
from chatnet.console.actions.program import Program
from chatnet.console.actions.search import Finding
from chatnet.console.actions.transfers import Filing


class Actions(Moving, Talking, Trusting, Finding, Filing, Desk, Program):
    """All of them, over one set of hands."""
