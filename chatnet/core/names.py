"""Which names a peer may claim."""

from __future__ import annotations

import re

from chatnet.core.text import safe_line

# \Z and not $: the latter also matches before a final newline.
NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9_-]{0,30}[a-z0-9])?\Z"
# Programs of the network, and words that mean somebody else in a sentence or a command.
RESERVED_NAMES = frozenset({"registry", "admin", "system", "me", "all", "here", "presentation", "relay"})

_NAME = re.compile(NAME_PATTERN)


def is_valid_name(name: str) -> bool:
    """Whether ``name`` may be claimed: the grammar, and not a reserved word."""
    return _NAME.fullmatch(name) is not None and name not in RESERVED_NAMES


def why_not_a_name(text: str) -> str:
    """Return why ``text`` cannot be claimed as a name, as one sentence for people; empty when it can be."""
    if is_valid_name(text):
        return ""
    shown = safe_line(text, 60)
    if text in RESERVED_NAMES:
        return f"'{shown}' is reserved. Choose another name."
    return f"'{shown}' cannot be a name: 1 to 32 of a-z, 0-9, - and _, beginning and ending with a letter or digit."
