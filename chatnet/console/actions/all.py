"""What keys and commands do: ``key_…`` for the table of keys, ``cmd_…`` for the slash commands."""

from __future__ import annotations

from chatnet.console.desk import Desk
from chatnet.console.filing import Filing
from chatnet.console.finding import Finding
from chatnet.console.moving import Moving
from chatnet.console.program import Program
from chatnet.console.talking import Talking
from chatnet.console.trusting import Trusting


class Actions(Moving, Talking, Trusting, Finding, Filing, Desk, Program):
    """All of them, over one set of hands."""
